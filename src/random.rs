//! A small generator of numbers from a seed: simulated loss, synthetic flow, seeded tests.
//!
//! Consumes a seed; produces the same numbers on any machine. Whole numbers only. Not for secrets:
//! tokens, nonces and keys come from the host (getrandom). Names no other module.

/// splitmix64: one word of state, period 2^64. Source: S. Vigna, public domain.
#[derive(Clone, Copy, Debug)]
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> SplitMix64 {
        SplitMix64 { state: seed }
    }

    /// The next number, uniform in 0 ..= 2^64 - 1. O(1).
    #[inline]
    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First outputs of the published reference implementation for seed 0.
    #[test]
    fn gives_the_published_sequence() {
        let mut random = SplitMix64::new(0);
        assert_eq!(random.draw(), 0xE220_A839_7B1D_CDAF);
        assert_eq!(random.draw(), 0x6E78_9E6A_A1B9_65F4);
        assert_eq!(random.draw(), 0x06C4_5D18_8009_454F);
    }
}
