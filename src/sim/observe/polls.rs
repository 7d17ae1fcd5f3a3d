//! Polls of egress: what of the log left in which, and whose time had come in it.
//!
//! Consumes the reports that left live and who was sent something that the clock, not an event, brings
//! (heartbeat, K, an end); answers when something of a later command left, unless that poll had served as
//! many sessions as one poll serves: whoever else was due waits for the next. One instant of the
//! simulation is one poll.

use crate::types::Nanos;
use std::collections::VecDeque;

/// Sessions that one poll serves, where they are few (egress.rs).
const SERVED_MAX: u32 = 2;
/// Polls remembered: K is judged a few milliseconds after it was due.
const POLLS_MAX: usize = 256;
/// Commands remembered whose reports left.
const LEFT_MAX: usize = 4_096;

/// Polls in order of time.
#[derive(Default)]
pub struct Polls {
    /// Sessions served, one bit for each slot.
    served: VecDeque<(Nanos, u64)>,
    /// Commands in rising order, and when the first report of them or of a later one left live.
    left: VecDeque<(u64, Nanos)>,
}

impl Polls {
    /// Something that was due left for `slot` at `at`.
    pub fn served(&mut self, slot: usize, at: Nanos) {
        let bit = 1 << (slot % 64);
        match self.served.back_mut() {
            Some((last, slots)) if *last == at => *slots |= bit,
            _ => {
                if self.served.len() == POLLS_MAX {
                    self.served.pop_front();
                }
                self.served.push_back((at, bit));
            }
        }
    }

    /// A report of `command` left live at `at`.
    pub fn left(&mut self, command: u64, at: Nanos) {
        if self.left.back().is_none_or(|last| last.0 < command) {
            if self.left.len() == LEFT_MAX {
                self.left.pop_front();
            }
            self.left.push_back((command, at));
        }
    }

    /// When the first report of a command behind this one left; `None` also when that poll had no turn
    /// left for `slot`.
    pub fn left_after(&self, command: u64, slot: usize) -> Option<Nanos> {
        let first = self.left.partition_point(|left| left.0 <= command);
        let at = self.left.get(first)?.1;
        (!self.were_taken(slot, at)).then_some(at)
    }

    /// True when the turns of the poll at `at` were others'.
    fn were_taken(&self, slot: usize, at: Nanos) -> bool {
        let poll = self.served.binary_search_by_key(&at, |poll| poll.0);
        let others = poll.map_or(0, |found| self.served[found].1 & !(1 << (slot % 64)));
        others.count_ones() >= SERVED_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_serves_two_others() {
        let mut polls = Polls::default();
        polls.left(7, Nanos(5));
        polls.left(6, Nanos(6));
        polls.left(9, Nanos(9));
        polls.served(0, Nanos(5));
        polls.served(0, Nanos(5));
        polls.served(3, Nanos(5));
        assert_eq!([3, 1].map(|slot| polls.left_after(6, slot)), [Some(Nanos(5)), None]);
        polls.served(2, Nanos(5));
        polls.served(1, Nanos(9));
        assert_eq!([3, 1].map(|slot| polls.left_after(6, slot)), [None; 2]);
        assert_eq!([3, 1].map(|slot| polls.left_after(7, slot)), [Some(Nanos(9)); 2]);
        assert_eq!(polls.left_after(9, 1), None);
    }
}
