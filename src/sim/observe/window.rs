//! Window: how many messages of a session were under way at once (session.md 18).
//!
//! Consumes a session's sequenced messages with the time at which they were, and what was applied when;
//! produces the first one that the gateway had to drop. One that waited for room is let in when there is,
//! by what was applied then and not when it came.

use crate::types::Nanos;
use std::collections::VecDeque;

/// Uncommitted messages of a session at most.
const UNCOMMITTED_MAX: usize = 1_024;

/// One session under one login.
#[derive(Default)]
pub struct Window {
    under_way: VecDeque<u64>,
    /// Applied-through and the time of the command that moved it there.
    applied: VecDeque<(Nanos, u64)>,
    through: u64,
    /// Every message of this login since the last that could not be under way any more.
    taken: VecDeque<u64>,
}

impl Window {
    /// A new login, or a new life of the exchange: what was under way is gone.
    pub fn restart(&mut self) {
        self.under_way.clear();
        self.taken.clear();
    }

    /// Whether so many blocks more could be taken by who knew that everything through `applied` was
    /// applied, and perhaps more. The gateway forgets messages in the order in which it took them.
    pub fn had_room(&self, applied: u64, blocks: u64) -> bool {
        let forgotten = self.taken.iter().take_while(|&&sequence| sequence <= applied).count();
        (self.taken.len() - forgotten) as u64 + blocks <= UNCOMMITTED_MAX as u64
    }

    /// A command of time `time` moved applied-through to `applied`.
    pub fn applied(&mut self, time: Nanos, applied: u64) {
        if self.applied.back().is_none_or(|last| last.1 < applied) {
            self.applied.push_back((time, applied));
        }
    }

    /// A message that was appended at `time`; call it before its own effect is noted. Returns how many were
    /// under way with it, when those are too many. What a command of the same time did counts as seen by
    /// the gateway: it is in doubt.
    pub fn message(&mut self, time: Nanos, sequence: u64) -> Option<usize> {
        while let Some(&(at, applied)) = self.applied.front()
            && at <= time
        {
            self.through = self.through.max(applied);
            self.applied.pop_front();
        }
        while self.under_way.front().is_some_and(|&first| first <= self.through) {
            self.under_way.pop_front();
        }
        self.under_way.push_back(sequence);
        if self.taken.len() == 4 * UNCOMMITTED_MAX {
            self.taken.pop_front();
        }
        self.taken.push_back(sequence);
        (self.under_way.len() > UNCOMMITTED_MAX).then_some(self.under_way.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_than_allowed_shows() {
        let mut window = Window::default();
        for sequence in 1..=1_024 {
            assert_eq!(window.message(Nanos(5), sequence), None);
        }
        window.applied(Nanos(6), 1);
        assert_eq!(window.message(Nanos(5), 1_025), Some(1_025));
        assert_eq!(window.message(Nanos(6), 1_026), Some(1_025));
        window.applied(Nanos(7), 1_026);
        assert_eq!(window.message(Nanos(7), 1_027), None);
        assert!(!window.had_room(0, 1));
        assert!(window.had_room(3, 0));
        assert!(!window.had_room(3, 1));
        assert!(window.had_room(4, 1));
        window.restart();
        assert_eq!(window.message(Nanos(7), 1_028), None);
    }
}
