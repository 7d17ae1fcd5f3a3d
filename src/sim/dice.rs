//! Dice: every choice of the simulation, from a seed.
//!
//! Consumes a seed and a purpose; produces choices. Each purpose has a stream of its own, so that a
//! choice more in one place changes nothing in another. Whole numbers only.

use crate::random::SplitMix64;

/// A stream of choices.
#[derive(Clone, Copy, Debug)]
pub struct Dice(SplitMix64);

impl Dice {
    /// The stream of `seed` for one purpose.
    pub fn new(seed: u64, purpose: &str) -> Dice {
        // FNV-1a of the purpose, so that streams do not run side by side.
        let mut hash = 0xCBF2_9CE4_8422_2325u64;
        for byte in purpose.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
        let mut first = SplitMix64::new(seed ^ hash);
        Dice(SplitMix64::new(first.draw()))
    }

    /// Any number.
    pub fn draw(&mut self) -> u64 {
        self.0.draw()
    }

    /// Below `n`; 0 when `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { ((u128::from(self.0.draw()) * u128::from(n)) >> 64) as u64 }
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// From `low` to `high`, small ones as likely as great ones: uniform in the number of bits.
    pub fn magnitude(&mut self, low: u64, high: u64) -> u64 {
        let low = low.max(1);
        let steps = (high / low).max(1).ilog2() as u64;
        let base = low << self.below(steps + 1);
        self.between(base, (base * 2).min(high).max(base))
    }

    /// True in `percent` of a hundred cases.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// True in `per_million` of a million cases; draws nothing for 0.
    pub fn chance(&mut self, per_million: u32) -> bool {
        per_million != 0 && self.below(1_000_000) < u64::from(per_million)
    }

    /// One of a list that is not empty.
    pub fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }

    /// Into random order.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            let other = self.below(last as u64 + 1) as usize;
            list.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_have_streams_of_their_own() {
        let take = |seed, purpose| {
            let mut dice = Dice::new(seed, purpose);
            (0..4).map(|_| dice.draw()).collect::<Vec<_>>()
        };
        assert_eq!(take(1, "a"), take(1, "a"));
        assert_ne!(take(1, "a"), take(1, "b"));
        assert_ne!(take(1, "a"), take(2, "a"));
    }

    #[test]
    fn choices_stay_in_their_bounds() {
        let mut dice = Dice::new(7, "bounds");
        for _ in 0..10_000 {
            assert!(dice.below(3) < 3);
            assert!((5..=9).contains(&dice.between(5, 9)));
            assert!((10..=5_000).contains(&dice.magnitude(10, 5_000)));
            assert!(!dice.chance(0) && dice.chance(1_000_000));
        }
        assert_eq!((dice.below(0), dice.between(4, 4)), (0, 4));
    }
}
