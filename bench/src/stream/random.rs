//! xoshiro256** seeded by splitmix64: integers only, so a seed means the same flow everywhere.

/// A stream of random numbers.
pub(super) struct Random {
    state: [u64; 4],
}

impl Random {
    /// The stream of a seed.
    pub(super) fn seeded(seed: u64) -> Random {
        let mut counter = seed;
        let state = std::array::from_fn(|_| {
            counter = counter.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let a = (counter ^ (counter >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let b = (a ^ (a >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            b ^ (b >> 31)
        });
        Random { state }
    }

    /// 64 random bits.
    pub(super) fn word(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let out = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        out
    }

    /// The upper 32 of 64 random bits.
    pub(super) fn half(&mut self) -> u64 {
        self.word() >> 32
    }

    /// Uniform below `n`, which is small against 2^32.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        (self.half() * n) >> 32
    }

    /// One random bit.
    pub(super) fn coin(&mut self) -> bool {
        self.word() & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First outputs of xoshiro256** from splitmix64(0), as published implementations give them.
    #[test]
    fn known_numbers() {
        let mut random = Random::seeded(0);
        assert_eq!(random.word(), 0x99EC_5F36_CB75_F2B4);
        assert_eq!(random.word(), 0xBF6E_1F78_4956_452A);
    }
}
