//! Which numbers are missing: a small ordered set of ranges.
//!
//! Consumes ranges that turned out missing and ranges that arrived; produces the missing ones from
//! the lowest on. Empty while nothing is lost, so the fast path asks one question. Must not know
//! messages or sockets.

use crate::types::Nanos;
use std::collections::BTreeMap;

/// Numbers `from .. to`, missing since `since`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hole {
    /// First missing number.
    pub from: u64,
    /// First number above it that is not missing.
    pub to: u64,
    /// When it was noticed.
    pub since: Nanos,
    /// True once it has been asked for.
    pub asked: bool,
}

/// Disjoint holes by their first number.
#[derive(Default)]
pub struct Holes {
    by_from: BTreeMap<u64, Hole>,
}

impl Holes {
    /// True when nothing is missing.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.by_from.is_empty()
    }

    /// Number of holes.
    pub fn count(&self) -> usize {
        self.by_from.len()
    }

    /// Numbers missing in all.
    pub fn missing(&self) -> u64 {
        self.by_from.values().map(|h| h.to - h.from).sum()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.by_from.clear();
    }

    /// Adds a hole above all others; it is joined to the last one when it touches it and that one
    /// was noticed at most `join_ns` ago, so that a long outage is one hole and not thousands. With
    /// `u64::MAX` whenever they touch.
    pub fn push(&mut self, from: u64, to: u64, since: Nanos, join_ns: u64) {
        if from >= to {
            return;
        }
        if let Some(mut last) = self.by_from.last_entry() {
            let last = last.get_mut();
            debug_assert!(last.to <= from, "holes are pushed in order");
            if last.to == from && since.since(last.since) <= join_ns {
                last.to = to;
                return;
            }
        }
        self.by_from.insert(from, Hole { from, to, since, asked: false });
    }

    /// Takes `from .. to` out of the set: these numbers arrived, or are given up. Returns how many
    /// of them were missing. O(holes touched x log holes).
    pub fn fill(&mut self, from: u64, to: u64) -> u64 {
        let mut filled = 0;
        while let Some(hole) = self.overlapping(from, to) {
            self.by_from.remove(&hole.from);
            let (low, high) = (hole.from.max(from), hole.to.min(to));
            filled += high - low;
            if hole.from < low {
                self.by_from.insert(hole.from, Hole { to: low, ..hole });
            }
            if high < hole.to {
                self.by_from.insert(high, Hole { from: high, ..hole });
            }
        }
        filled
    }

    /// The highest hole that shares a number with `from .. to`.
    pub fn overlapping(&self, from: u64, to: u64) -> Option<Hole> {
        if from >= to {
            return None;
        }
        self.by_from.range(..to).next_back().map(|(_, h)| *h).filter(|h| h.to > from)
    }

    /// The lowest hole.
    #[inline]
    pub fn first(&self) -> Option<Hole> {
        self.by_from.first_key_value().map(|(_, h)| *h)
    }

    /// Holes from the lowest on.
    pub fn iter(&self) -> impl Iterator<Item = Hole> + '_ {
        self.by_from.values().copied()
    }

    /// Holes from the lowest on, to be marked as asked for. Their ranges must not be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Hole> + '_ {
        self.by_from.values_mut()
    }

    /// The lowest missing number in `from .. to`. O(log holes).
    pub fn lowest_in(&self, from: u64, to: u64) -> Option<u64> {
        if let Some((_, hole)) = self.by_from.range(..=from).next_back()
            && hole.to > from
        {
            return (from < to).then_some(from);
        }
        self.by_from.range(from..).next().map(|(&low, _)| low).filter(|&low| low < to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(holes: &Holes) -> Vec<(u64, u64)> {
        holes.iter().map(|h| (h.from, h.to)).collect()
    }

    #[test]
    fn filling_cuts_and_splits() {
        let mut holes = Holes::default();
        holes.push(10, 20, Nanos(0), 0);
        holes.push(30, 40, Nanos(0), 0);
        assert_eq!(holes.fill(0, 10), 0);
        assert_eq!(holes.fill(14, 16), 2);
        assert_eq!(ranges(&holes), [(10, 14), (16, 20), (30, 40)]);
        assert_eq!(holes.fill(12, 35), 2 + 4 + 5);
        assert_eq!(ranges(&holes), [(10, 12), (35, 40)]);
        assert_eq!(holes.missing(), 7);
        assert_eq!(holes.lowest_in(0, 10), None);
        assert_eq!(holes.lowest_in(0, 11), Some(10));
        assert_eq!(holes.lowest_in(11, 100), Some(11));
        assert_eq!(holes.lowest_in(12, 100), Some(35));
        assert_eq!(holes.lowest_in(40, 100), None);
        assert_eq!(holes.fill(0, u64::MAX), 7);
        assert!(holes.is_empty());
    }

    #[test]
    fn touching_holes_join_while_young() {
        let mut holes = Holes::default();
        holes.push(1, 5, Nanos(0), 100);
        holes.push(5, 9, Nanos(100), 100);
        holes.push(9, 11, Nanos(101), 100);
        holes.push(11, 11, Nanos(101), 100);
        assert_eq!(ranges(&holes), [(1, 9), (9, 11)]);
    }
}
