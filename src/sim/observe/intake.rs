//! Intake: whether what bound clients send is sequenced (session.md 9, 18).
//!
//! Consumes messages and logoffs as they were taken from the port and as they stand in the log; produces
//! those that never got there. What may be dropped, a duplicate, a jump, too much at once, is not handed in.

use super::Faults;
use super::upstream::Taken;
use crate::exchange::command::{Logoff, MessageHead};
use crate::types::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Numbers of a login that are remembered: more than can be under way.
const HIGHEST_KEPT: usize = 4_096;

/// What came is in the log within so long.
const SLACK_NS: u64 = 200_000_000;

/// All sessions of a day.
#[derive(Default)]
pub struct Intake {
    /// First messages of datagrams that have to be sequenced, in order of time.
    owed: VecDeque<Taken>,
    /// Those of the log: when received, session, client sequence.
    sequenced: BTreeSet<(Nanos, u16, u64)>,
    /// Of each login the highest client sequences of the log, ascending, and when they were received.
    highest: BTreeMap<(u16, u32), VecDeque<(u64, Nanos)>>,
}

impl Intake {
    /// The exchange comes up: what it had not sequenced is lost.
    pub fn up(&mut self) {
        self.owed.clear();
        self.sequenced.clear();
    }

    /// A message of the log. Under one login numbers only rise there: what is at or below one that is under
    /// way is dropped.
    pub fn sequenced(&mut self, seq: u64, head: &MessageHead, faults: &mut Faults) {
        self.sequenced.insert((head.received, head.session.0, head.client_seq));
        let highest = self.highest.entry((head.session.0, head.generation)).or_default();
        if let Some((before, _)) = highest.back().filter(|last| last.0 >= head.client_seq) {
            faults
                .add("a repeat reached the log", format!("command {seq}: {head:?} after {before}"));
        }
        if highest.len() == HIGHEST_KEPT {
            highest.pop_front();
        }
        highest.push_back((head.client_seq, head.received));
    }

    /// A number at or above this one was taken before, under the same login.
    fn is_repeat(&self, taken: &Taken) -> bool {
        let highest = self.highest.get(&(taken.slot.0, taken.generation));
        highest.is_some_and(|highest| {
            let from = highest.partition_point(|(sequence, _)| *sequence < taken.head.sequence);
            highest.range(from..).any(|(_, received)| *received <= taken.at)
        })
    }

    /// A logoff of the log.
    pub fn logged_off(&mut self, m: &Logoff) {
        self.sequenced.insert((m.received, m.session.0, m.client_next));
    }

    /// The first message of this datagram, or the logoff that it is, has to be sequenced.
    pub fn owe(&mut self, taken: &Taken) {
        self.owed.push_back(*taken);
    }

    /// Judges what came long before `last`, the time of the log's last command.
    pub fn until(&mut self, last: Nanos, faults: &mut Faults) {
        while let Some(&taken) = self.owed.front()
            && taken.at.plus(SLACK_NS) <= last
        {
            self.owed.pop_front();
            let Taken { at, slot, generation, head } = taken;
            let there =
                self.sequenced.contains(&(at, slot.0, head.sequence)) || self.is_repeat(&taken);
            if !there && !faults.excused(at, at.plus(SLACK_NS)) {
                let what = format!(
                    "session {}, login {generation}: count {} from {} came at {}",
                    slot.0, head.count, head.sequence, at.0
                );
                faults.add("a message was not sequenced", what);
            }
        }
        let first = self.owed.front().map_or(last, |owed| owed.at);
        self.sequenced = self.sequenced.split_off(&(first, 0, 0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::observe::bytes::Head;
    use crate::types::SessionSlot;

    #[test]
    fn a_message_that_never_got_to_the_log_shows() {
        let (mut intake, mut faults) = (Intake::default(), Faults::default());
        for (at, sequence) in [(1, 7), (1, 8), (2, 9)] {
            let head = Head { session: [b'0'; 10], sequence, count: 1 };
            intake.owe(&Taken { at: Nanos(at), slot: SessionSlot(3), generation: 1, head });
            if sequence != 8 {
                intake.sequenced(sequence, &message(at, sequence), &mut faults);
            }
        }
        intake.until(Nanos(SLACK_NS), &mut faults);
        assert!(faults.found.is_empty());
        intake.until(Nanos(SLACK_NS + 5), &mut faults);
        assert_eq!(faults.found.len(), 1);
        assert!(faults.found[0].what.contains("from 8 "));
    }

    #[test]
    fn a_repeat_need_not_be_in_the_log_and_may_not() {
        let (mut intake, mut faults) = (Intake::default(), Faults::default());
        intake.sequenced(1, &message(5, 9), &mut faults);
        for (at, sequence) in [(6, 8), (6, 9)] {
            let head = Head { session: [b'0'; 10], sequence, count: 1 };
            intake.owe(&Taken { at: Nanos(at), slot: SessionSlot(3), generation: 1, head });
        }
        intake.until(Nanos(2 * SLACK_NS), &mut faults);
        assert!(faults.found.is_empty());
        intake.sequenced(2, &message(7, 10), &mut faults);
        assert!(faults.found.is_empty());
        intake.sequenced(3, &message(8, 10), &mut faults);
        assert_eq!(faults.found[0].rule, "a repeat reached the log");
    }

    fn message(at: u64, client_seq: u64) -> MessageHead {
        MessageHead {
            session: SessionSlot(3),
            verdict: 0,
            body: 0,
            generation: 1,
            client_seq,
            received: Nanos(at),
        }
    }
}
