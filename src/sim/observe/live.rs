//! Live: whether what the log says to somebody leaves by itself and in time: reports to who is bound,
//! messages on each line of the feed (session.md 15, feed.md).
//!
//! Consumes numbers with the time of their events, and the ranges that left; produces those that did
//! not. What an exchange that was down left unsaid is asked for, and is not judged here.

use super::Faults;
use crate::types::Nanos;
use std::collections::VecDeque;

/// So much later is not late: commit, engine and sender each wait for their turn.
const SLACK_NS: u64 = 60_000_000;

/// One stream of numbers.
#[derive(Default)]
pub struct Live {
    owed: VecDeque<(Nanos, u64)>,
}

impl Live {
    /// `number` has to leave from `since` on; numbers rise.
    pub fn owe(&mut self, since: Nanos, number: u64) {
        self.owed.push_back((since, number));
    }

    /// The numbers `first` to `last` left.
    pub fn left(&mut self, first: u64, last: u64) {
        match self.owed.front() {
            Some(owed) if owed.1 < first => self.owed.retain(|o| !(first..=last).contains(&o.1)),
            _ => {
                while self.owed.front().is_some_and(|owed| owed.1 <= last) {
                    self.owed.pop_front();
                }
            }
        }
    }

    /// The first number below `next` that has to leave still.
    pub fn owes_below(&self, next: u64) -> Option<u64> {
        self.owed.front().map(|owed| owed.1).filter(|&number| number < next)
    }

    /// The exchange comes up again.
    pub fn up(&mut self) {
        self.owed.clear();
    }

    /// Judges up to `now`.
    pub fn until(&mut self, now: Nanos, rule: &'static str, who: &str, faults: &mut Faults) {
        while let Some(&(since, number)) = self.owed.front()
            && now > since.plus(SLACK_NS)
        {
            self.owed.pop_front();
            if !faults.excused(since, since.plus(SLACK_NS)) {
                let what = format!("{who}: number {number} of {} has not left", since.0);
                faults.at(rule, what, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_was_passed_over_shows() {
        let (mut live, mut faults) = (Live::default(), Faults::default());
        for number in 1..=5 {
            live.owe(Nanos(number), number);
        }
        live.left(1, 2);
        live.left(4, 5);
        assert_eq!([3, 4].map(|next| live.owes_below(next)), [None, Some(3)]);
        live.until(Nanos(SLACK_NS), "late", "somebody", &mut faults);
        assert!(faults.found.is_empty());
        live.until(Nanos(SLACK_NS + 10), "late", "somebody", &mut faults);
        assert_eq!(faults.found.len(), 1);
        assert!(faults.found[0].what.contains("number 3"));
    }
}
