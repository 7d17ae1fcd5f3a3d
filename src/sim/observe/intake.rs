//! Intake: whether what bound clients send is sequenced (session.md 8, 9, 18).
//!
//! Consumes messages and logins as they were taken from the port and as they stand in the log; produces
//! those that never got there. What may be dropped, a duplicate, a jump, too much at once, is not handed in.

use super::Faults;
use super::upstream::Taken;
use crate::exchange::command::{Login, Logoff, MessageHead};
use crate::types::*;
use std::collections::{BTreeSet, VecDeque};

/// What came is in the log within so long.
const SLACK_NS: u64 = 200_000_000;

/// A login that was sequenced is waited for so long.
const UNDER_WAY_NS: u64 = 100_000_000;
/// Logins of one user within [`RECENT_NS`] that are never too many.
const LOGINS_MAX: usize = 5;
const RECENT_NS: u64 = 2_000_000_000;

/// All sessions of a day.
#[derive(Default)]
pub struct Intake {
    /// First messages of datagrams that have to be sequenced, in order of time.
    owed: VecDeque<Taken>,
    /// Those of the log: when received, session, client sequence.
    sequenced: BTreeSet<(Nanos, u16, u64)>,
    owed_logins: VecDeque<(Nanos, SessionSlot)>,
    /// Logins of the log: when received, session, generation.
    logins: BTreeSet<(Nanos, u16, u32)>,
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

    /// A login of the log.
    pub fn logged_in(&mut self, login: &Login) {
        self.logins.insert((login.received, login.session.0, login.generation));
    }

    /// This login, which is right, has to be sequenced, unless one is under way or there were too many.
    /// `accepted`: the last that A had answered by then.
    pub fn owe_login(&mut self, at: Nanos, slot: SessionSlot, accepted: u32) {
        let since = (Nanos(at.0.saturating_sub(RECENT_NS)), 0, 0);
        let recent = self.logins.range(since..(at, 0, 0)).filter(|login| login.1 == slot.0);
        let (mut count, mut under_way) = (0, false);
        for &(received, _, generation) in recent {
            count += 1;
            under_way = generation > accepted && at.since(received) < UNDER_WAY_NS;
        }
        if count < LOGINS_MAX && !under_way {
            self.owed_logins.push_back((at, slot));
        }
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
        while let Some(&(at, slot)) = self.owed_logins.front()
            && at.plus(SLACK_NS) <= last
        {
            self.owed_logins.pop_front();
            let there = (at, slot.0, 0)..=(at, slot.0, u32::MAX);
            if self.logins.range(there).next().is_none() && !faults.excused(at, at.plus(SLACK_NS)) {
                let what = format!("session {}: L of {}", slot.0, at.0);
                faults.add("a right login was not sequenced", what);
            }
        }
        let recent = Nanos(last.0.saturating_sub(2 * RECENT_NS));
        self.logins = self.logins.split_off(&(recent, 0, 0));
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

    #[test]
    fn a_right_login_that_nothing_holds_up_is_sequenced() {
        let (mut intake, mut faults) = (Intake::default(), Faults::default());
        let mut owe = |ms: u64, accepted: u32, there: Option<u32>| {
            let at = Nanos(ms * 1_000_000);
            intake.owe_login(at, SessionSlot(3), accepted);
            intake.logins.extend(there.map(|generation| (at, 3, generation)));
            intake.until(at.plus(SLACK_NS), &mut faults);
            std::mem::take(&mut faults.found).len()
        };
        assert_eq!(owe(0, 0, Some(1)), 0);
        assert_eq!(owe(50, 0, None), 0, "under way");
        assert_eq!(owe(60, 1, None), 1, "it was answered");
        assert_eq!(owe(120, 0, None), 1, "it was not, for long");
        assert_eq!((1..=5).map(|n| owe(200 + u64::from(n), n, Some(n + 1))).sum::<usize>(), 0);
        assert_eq!(owe(400, 6, None), 0, "too many");
    }
}
