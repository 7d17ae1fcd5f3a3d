//! Pace: what a client must be told, and when (session.md 11, 14, 17, Login 1, 3 and 4): K within a
//! millisecond of what was applied and never twice in one, and in answer to what was sent in vain; A and
//! J 'B' for a login; J 'S' for a dead token; the end that a logoff or the end of the day is; heartbeat
//! and K at once after a restart.
//!
//! Consumes one session's events and what left for it; produces what came too late, or never. Times in
//! which the exchange was down or stood still are excused from outside.

use super::Faults;
use crate::types::Nanos;
use std::collections::VecDeque;

const MS: u64 = 1_000_000;
/// So much later is not late: commit, engine and egress each wait for their turn.
const SLACK_NS: u64 = 60 * MS;
/// Least time between two K.
const APPLIED_NS: u64 = MS;
/// A logoff is answered with so many ends, the last of them 10 ms after the first.
const LOGOFF_ENDS: u8 = 3;
/// Least time between two J 'S'.
const SECOND_NS: u64 = 1_000 * MS;

/// What a client must be told once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owed {
    /// A, to who logged in.
    Accepted,
    /// J 'B', to whom that displaced.
    Displaced,
    /// Count 0xFFFF, to who logged off or when the day ended.
    End,
    /// A heartbeat or a report, to who is bound when the exchange comes up.
    Heartbeat,
    /// K, to the same.
    Applied,
    /// K, to whom sent a duplicate, a jump, a wrong logoff, or a heartbeat that is ahead; with each
    /// heartbeat of ours.
    Answer,
    /// J 'S', to whom sends under a dead token.
    Dead,
}

struct Debt {
    what: Owed,
    since: Nanos,
    /// Nobody has to be told any more.
    until: Nanos,
}

/// One session.
#[derive(Default)]
pub struct Pace {
    debts: Vec<Debt>,
    /// Applied-through as it moved, until a K said so.
    moves: VecDeque<(Nanos, u64)>,
    last_applied: Option<Nanos>,
    last_dead: Option<Nanos>,
    /// A logoff was answered then; so many ends are still to come.
    ends: Option<(Nanos, u8)>,
    /// A logoff took effect then; so many ends may still be told.
    may_end: Option<(Nanos, u8)>,
    /// A logoff took effect then; K goes before its end.
    last_owed: Option<Nanos>,
    /// K goes with each end of a day.
    day_over: bool,
}

impl Pace {
    /// Applied-through moved to `applied` for who is bound.
    pub fn moved(&mut self, at: Nanos, applied: u64) {
        self.moves.push_back((at, applied));
    }

    /// Another binding from `at` on, or none: what was owed to the one before is not, any more.
    pub fn unbound(&mut self, at: Nanos) {
        self.moves.clear();
        self.ends = None;
        self.may_end = None;
        self.last_owed = None;
        for debt in &mut self.debts {
            debt.until = debt.until.min(at);
        }
    }

    /// The day is over for this session.
    pub fn end_day(&mut self) {
        self.day_over = true;
    }

    /// This must be told from `since` on.
    pub fn owe(&mut self, what: Owed, since: Nanos) {
        self.debts.push(Debt { what, since, until: Nanos(u64::MAX) });
    }

    /// The exchange comes up: what a life before owed is forgotten.
    pub fn up(&mut self) {
        self.debts.clear();
        self.moves.clear();
        self.last_applied = None;
        self.last_dead = None;
        self.ends = None;
        self.may_end = None;
        self.last_owed = None;
    }

    /// A logoff took effect: the end is told three times.
    pub fn log_off(&mut self, at: Nanos) {
        self.ends = Some((at, LOGOFF_ENDS));
        self.may_end = self.ends;
        self.last_owed = Some(at);
    }

    /// An end leaves at `at`: false when a logoff was answered with as many already.
    pub fn may_end(&mut self, at: Nanos) -> bool {
        let Some((_, left)) = self.may_end.as_mut().filter(|m| m.0 <= at) else { return true };
        let may = *left > 0;
        *left = left.saturating_sub(1);
        may
    }

    /// True when the end that leaves at `at` has no K before it.
    pub fn owes_last(&self, at: Nanos) -> bool {
        self.last_owed.is_some_and(|since| since <= at)
    }

    /// True when K left within so long before `at`.
    pub fn said_within(&self, ns: u64, at: Nanos) -> bool {
        self.last_applied.is_some_and(|last| at.since(last) <= ns)
    }

    /// A datagram under a dead token was taken: J 'S' is due, at most once a second.
    pub fn dead(&mut self, at: Nanos) {
        if self.last_dead.is_none_or(|last| at.since(last) > SECOND_NS) {
            self.owe(Owed::Dead, at);
        }
    }

    /// This was told at `at`.
    pub fn told(&mut self, what: Owed, at: Nanos) {
        if what == Owed::Dead {
            self.last_dead = Some(at);
        }
        if what == Owed::End
            && let Some((_, left)) = &mut self.ends
        {
            *left = left.saturating_sub(1);
        }
        self.debts.retain(|d| d.what != what || at < d.since);
    }

    /// K said that everything through `applied` is applied. Returns when the K before left.
    pub fn said(
        &mut self,
        at: Nanos,
        applied: u64,
        who: u16,
        faults: &mut Faults,
    ) -> Option<Nanos> {
        self.told(Owed::Applied, at);
        self.told(Owed::Answer, at);
        self.last_owed = self.last_owed.filter(|since| at < *since);
        let before = self.last_applied.replace(at);
        if let Some(last) = before
            && at.since(last) < APPLIED_NS
            && !self.day_over
        {
            let what = format!("session {who}: {} us after the one before", at.since(last) / 1_000);
            faults.at("K twice in a millisecond", what, at);
        }
        while let Some(&(since, moved)) = self.moves.front()
            && moved <= applied
        {
            self.moves.pop_front();
            if at.since(since) > SLACK_NS && !faults.excused(since, at) {
                let late = at.since(since) / 1_000;
                let what = format!("session {who}: {moved} was applied {late} us before");
                faults.at("K came too late", what, at);
            }
        }
        before
    }

    /// Judges up to `now` what was never told.
    pub fn until(&mut self, now: Nanos, who: u16, faults: &mut Faults) {
        if let Some((since, left)) = self.ends
            && now > since.plus(2 * SLACK_NS)
        {
            self.ends = None;
            if left > 0 && !faults.stalled(since, since.plus(2 * SLACK_NS)) {
                let what = format!("session {who}: {left} of {LOGOFF_ENDS} are missing");
                faults.at("a logoff's ends were not told", what, now);
            }
        }
        self.debts.retain(|debt| {
            let due = debt.since.plus(SLACK_NS);
            if now <= due {
                return true;
            }
            if debt.until > due && !faults.stalled(debt.since, due) {
                let what = format!("session {who}: {:?} since {}", debt.what, debt.since.0);
                faults.at("a client was not told", what, now);
            }
            false
        });
        if let Some(&(since, applied)) = self.moves.front()
            && now.since(since) > SLACK_NS
        {
            self.moves.clear();
            if !faults.excused(since, now) {
                let what = format!("session {who}: no K since {applied} was applied");
                faults.at("K came too late", what, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logoff_has_three_ends() {
        let mut pace = Pace::default();
        assert!(pace.may_end(Nanos(1)), "nobody logged off");
        pace.log_off(Nanos(5));
        // One of a logoff before.
        assert!(pace.may_end(Nanos(4)));
        let told: Vec<bool> = (5..9).map(|at| pace.may_end(Nanos(at))).collect();
        assert_eq!(told, [true, true, true, false]);
        pace.unbound(Nanos(9));
        assert!(pace.may_end(Nanos(10)));
    }
}
