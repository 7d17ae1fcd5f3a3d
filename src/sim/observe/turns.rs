//! Turns: whose time had come in each poll of egress.
//!
//! Consumes who was sent something that the clock, not an event, brings (heartbeat, K, an end); answers
//! whether a poll had served as many sessions as one poll serves: whoever else was due waits for the next.
//! One instant of the simulation is one poll.

use crate::types::Nanos;
use std::collections::VecDeque;

/// Sessions that one poll serves, where they are few (egress.rs).
const SERVED_MAX: u32 = 2;
/// Polls remembered: K is judged a few milliseconds after it was due.
const POLLS_MAX: usize = 256;

/// Polls in order of time, and the sessions served in each, one bit for each slot.
#[derive(Default)]
pub struct Turns {
    polls: VecDeque<(Nanos, u64)>,
}

impl Turns {
    /// Something that was due left for `slot` at `at`.
    pub fn served(&mut self, slot: usize, at: Nanos) {
        let bit = 1 << (slot % 64);
        match self.polls.back_mut() {
            Some((last, slots)) if *last == at => *slots |= bit,
            _ => {
                if self.polls.len() == POLLS_MAX {
                    self.polls.pop_front();
                }
                self.polls.push_back((at, bit));
            }
        }
    }

    /// True when the poll at `at` had no turn left for `slot`.
    pub fn were_taken(&self, slot: usize, at: Nanos) -> bool {
        let poll = self.polls.binary_search_by_key(&at, |poll| poll.0);
        let others = poll.map_or(0, |found| self.polls[found].1 & !(1 << (slot % 64)));
        others.count_ones() >= SERVED_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_serves_two_others() {
        let mut turns = Turns::default();
        turns.served(0, Nanos(5));
        turns.served(0, Nanos(5));
        turns.served(3, Nanos(5));
        assert!(!turns.were_taken(3, Nanos(5)));
        assert!(!turns.were_taken(1, Nanos(4)));
        turns.served(2, Nanos(5));
        turns.served(1, Nanos(9));
        assert!(turns.were_taken(1, Nanos(5)) && turns.were_taken(3, Nanos(5)));
        assert!(!turns.were_taken(3, Nanos(9)));
    }
}
