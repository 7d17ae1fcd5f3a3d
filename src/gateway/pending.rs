//! Pending: how many messages of a session are sequenced or on their way and not yet committed.
//!
//! A fixed queue of client sequences per session, in the order pushed; the front leaves when the
//! committed applied-through reaches it. Knows numbers only.

use super::UNCOMMITTED_MAX;

/// Uncommitted messages of one session.
#[derive(Debug)]
pub(super) struct Pending {
    sequences: Box<[u64; UNCOMMITTED_MAX]>,
    head: usize,
    len: usize,
    /// Highest sequence pushed under this login, or what was applied before it.
    through: u64,
}

impl Pending {
    pub(super) fn new() -> Pending {
        Pending { sequences: Box::new([0; UNCOMMITTED_MAX]), head: 0, len: 0, through: 0 }
    }

    /// A new login: what was under way under the old one is ignored by the exchange.
    pub(super) fn restart(&mut self, applied: u64) {
        self.len = 0;
        self.through = applied;
    }

    /// Takes out what is applied. O(number taken out).
    #[inline]
    pub(super) fn settle(&mut self, applied: u64) {
        while self.len > 0 && self.sequences[self.head] <= applied {
            self.head = (self.head + 1) % UNCOMMITTED_MAX;
            self.len -= 1;
        }
        self.through = self.through.max(applied);
    }

    /// True when `n` more may be pushed.
    #[inline]
    pub(super) fn admits(&self, n: u64) -> bool {
        self.len as u64 + n <= UNCOMMITTED_MAX as u64
    }

    /// Notes a message that was pushed; the caller asked [`Pending::admits`].
    #[inline]
    pub(super) fn push(&mut self, sequence: u64) {
        debug_assert!(self.len < UNCOMMITTED_MAX);
        self.sequences[(self.head + self.len) % UNCOMMITTED_MAX] = sequence;
        self.len += 1;
        self.through = self.through.max(sequence);
    }

    /// Highest client sequence that is applied or under way.
    #[inline]
    pub(super) fn through(&self) -> u64 {
        self.through
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_under_way() {
        let mut pending = Pending::new();
        for sequence in 1..=UNCOMMITTED_MAX as u64 {
            assert!(pending.admits(1));
            pending.push(sequence);
        }
        assert!(!pending.admits(1));
        pending.settle(10);
        assert!(pending.admits(10));
        assert!(!pending.admits(11));
        pending.settle(UNCOMMITTED_MAX as u64);
        assert!(pending.admits(UNCOMMITTED_MAX as u64));
        assert_eq!(pending.through(), UNCOMMITTED_MAX as u64);
        pending.restart(5);
        assert_eq!(pending.through(), 5);
    }
}
