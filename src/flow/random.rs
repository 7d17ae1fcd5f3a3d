//! Randomness of a synthetic flow: whole numbers only, so that a seed means the same everywhere.

use crate::random::SplitMix64;

/// What a flow draws from its seed.
#[derive(Clone, Debug)]
pub(super) struct Random(SplitMix64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(SplitMix64::new(seed))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0.draw()
    }

    /// Uniform in `0..bound`; `bound` > 0. The bias of 2^-64 x bound is of no account here.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// True in `share` of `of` cases.
    pub(super) fn chance(&mut self, share: u64, of: u64) -> bool {
        self.below(of) < share
    }

    /// A value of a measured distribution, see [`Quantiles`].
    pub(super) fn draw(&mut self, quantiles: Quantiles) -> u64 {
        let rank = self.below(RANKS);
        let after = quantiles.partition_point(|&(at, _)| at <= rank).clamp(1, quantiles.len() - 1);
        let (low_rank, low) = quantiles[after - 1];
        let (high_rank, high) = quantiles[after];
        low + (high - low) * (rank - low_rank) / (high_rank - low_rank)
    }
}

/// Ranks of a [`Quantiles`] table: 1,000 = 1%.
pub(super) const RANKS: u64 = 100_000;

/// A measured distribution: (rank, value), both ascending, rank from 0 to [`RANKS`]; linear
/// between.
pub(super) type Quantiles = &'static [(u64, u64)];
