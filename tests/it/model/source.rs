//! Where the choices of a generated day come from: a seed, or bytes that proptest can shrink.

/// A stream of choices.
pub trait Source {
    /// A number below `n` (`n` >= 1).
    fn below(&mut self, n: u64) -> u64;

    /// True once in `n` times. From exhausted bytes: never.
    fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == n - 1
    }

    /// One of the values.
    fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u64) as usize]
    }
}

/// xorshift64*: a seed gives the same numbers on any machine.
pub struct Xorshift(u64);

impl Xorshift {
    /// Seeds that stand next to each other give unrelated streams.
    pub fn new(seed: u64) -> Xorshift {
        let z = (seed.wrapping_add(0x9E37_79B9_7F4A_7C15)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        Xorshift((z ^ (z >> 29)) | 1)
    }
}

impl Source for Xorshift {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let word = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D);
        ((u128::from(word) * u128::from(n)) >> 64) as u64
    }
}

/// Bytes, one or two per choice; zeros when they are used up.
pub struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    /// Reads `bytes` from the front.
    pub fn new(bytes: &'a [u8]) -> Bytes<'a> {
        Bytes(bytes)
    }

    fn byte(&mut self) -> u64 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        u64::from(first)
    }
}

impl Source for Bytes<'_> {
    fn below(&mut self, n: u64) -> u64 {
        if n <= 1 {
            return 0;
        }
        if n <= 256 { self.byte() % n } else { (self.byte() << 8 | self.byte()) % n }
    }
}
