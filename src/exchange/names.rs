//! A fixed table from names to small numbers: symbols to locates, account names to slots.
//!
//! Filled at start, read per message. Open addressing at a quarter load or less, keyed with the
//! day's seed, so a name that a client invents costs a probe or two.

use super::state_hash::mix;

/// No value: not in the table.
const ABSENT: u16 = u16::MAX;

pub(super) struct Names {
    seed: u64,
    mask: usize,
    entries: Vec<(u64, u16)>,
}

impl Names {
    /// Room for `count` names. Allocates.
    pub(super) fn new(count: usize, seed: u64) -> Names {
        let capacity = (count * 4).next_power_of_two().max(8);
        Names { seed, mask: capacity - 1, entries: vec![(0, ABSENT); capacity] }
    }

    /// Adds a name; false when it is there already. At most `count` of `new` are added.
    pub(super) fn insert(&mut self, name: u64, value: u16) -> bool {
        let mut at = self.start(name);
        while self.entries[at].1 != ABSENT {
            if self.entries[at].0 == name {
                return false;
            }
            at = (at + 1) & self.mask;
        }
        self.entries[at] = (name, value);
        true
    }

    /// The value of a name.
    #[inline(always)]
    pub(super) fn get(&self, name: u64) -> Option<u16> {
        let mut at = self.start(name);
        loop {
            let (key, value) = self.entries[at];
            if value == ABSENT {
                return None;
            }
            if key == name {
                return Some(value);
            }
            at = (at + 1) & self.mask;
        }
    }

    #[inline(always)]
    fn start(&self, name: u64) -> usize {
        mix(name ^ self.seed, 0x9E37_79B9_7F4A_7C15) as usize & self.mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_added_and_nothing_else() {
        let mut names = Names::new(1000, 7);
        for i in 0..1000u64 {
            assert!(names.insert(i * 1_000_003, i as u16));
        }
        assert!(!names.insert(0, 5));
        for i in 0..1000u64 {
            assert_eq!(names.get(i * 1_000_003), Some(i as u16));
            assert_eq!(names.get(i * 1_000_003 + 1), None);
        }
    }
}
