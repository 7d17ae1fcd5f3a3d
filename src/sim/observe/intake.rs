//! Intake: whether what bound clients send is sequenced (session.md 9, 18).
//!
//! Consumes messages and logoffs as they were taken from the port and as they stand in the log; produces
//! those that never got there. What may be dropped, a duplicate, a jump, too much at once, is not handed in.

use super::Faults;
use super::upstream::Taken;
use crate::exchange::command::{Logoff, MessageHead};
use crate::types::*;
use std::collections::{BTreeSet, VecDeque};

/// What came is in the log within so long.
const SLACK_NS: u64 = 200_000_000;

/// All sessions of a day.
#[derive(Default)]
pub struct Intake {
    /// First messages of datagrams that have to be sequenced, in order of time.
    owed: VecDeque<Taken>,
    /// Those of the log: when received, session, client sequence.
    sequenced: BTreeSet<(Nanos, u16, u64)>,
}

impl Intake {
    /// The exchange comes up: what it had not sequenced is lost.
    pub fn up(&mut self) {
        *self = Intake::default();
    }

    /// A message of the log.
    pub fn sequenced(&mut self, head: &MessageHead) {
        self.sequenced.insert((head.received, head.session.0, head.client_seq));
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
        while let Some(&Taken { at, slot, generation, head }) = self.owed.front()
            && at.plus(SLACK_NS) <= last
        {
            self.owed.pop_front();
            let there = self.sequenced.contains(&(at, slot.0, head.sequence));
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
                intake.sequenced.insert((Nanos(at), 3, sequence));
            }
        }
        intake.until(Nanos(SLACK_NS), &mut faults);
        assert!(faults.found.is_empty());
        intake.until(Nanos(SLACK_NS + 5), &mut faults);
        assert_eq!(faults.found.len(), 1);
        assert!(faults.found[0].what.contains("from 8 "));
    }
}
