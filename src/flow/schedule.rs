//! When the commands of a synthetic flow come, and for which symbol: bursts with a bound.
//!
//! The time is cut into buckets of 50 ms. Each gets a count by the measured distribution of rates,
//! at most twice the mean: so any 100 ms (which touch three buckets) hold at most three times the
//! mean, and the counts add up exactly. Inside a bucket commands come in measured bursts, each of
//! one symbol, at measured gaps, compressed as much as the rate per symbol is above the measured
//! one. Whole numbers only.

use super::random::Random;
use super::shape;

/// Length of a bucket, ns.
const BUCKET_NS: u64 = 50_000_000;
const BUCKETS_PER_S: u64 = 1_000_000_000 / BUCKET_NS;

/// Times and symbols, in order of time.
pub(super) struct Schedule {
    random: Random,
    counts: Vec<u32>,
    bucket: usize,
    /// Running sum of the symbols' weights.
    weights: Vec<u64>,
    /// Real time per scheduled time: gaps are divided by it.
    compression: u64,
    /// Present bucket: (ns, order of making, symbol).
    slots: Vec<(u64, u32, u16)>,
    next: usize,
}

impl Schedule {
    /// `rate` x `seconds` slots (the caller checked that it fits, and that no number is 0).
    pub(super) fn new(seed: u64, rate: u64, seconds: u64, weights: Vec<u64>) -> Schedule {
        let mut random = Random::new(seed);
        let counts = counts(&mut random, rate, seconds);
        let per_symbol = rate / weights.len() as u64;
        Schedule {
            random,
            counts,
            bucket: 0,
            compression: (per_symbol / shape::RATE_PER_S).max(1),
            weights,
            slots: Vec::new(),
            next: 0,
        }
    }

    fn fill(&mut self) {
        let count = self.counts[self.bucket];
        let start = self.bucket as u64 * BUCKET_NS;
        self.bucket += 1;
        self.slots.clear();
        self.next = 0;
        let mut made = 0;
        while made < count {
            let burst = (self.random.draw(shape::BURST) as u32).min(count - made);
            let symbol = self.symbol();
            let mut at = self.random.below(BUCKET_NS);
            for _ in 0..burst {
                self.slots.push((start + at.min(BUCKET_NS - 1), made, symbol));
                made += 1;
                at += self.random.draw(shape::GAP_NS) / self.compression;
            }
        }
        self.slots.sort_unstable();
    }

    fn symbol(&mut self) -> u16 {
        let total = self.weights[self.weights.len() - 1];
        let at = self.random.below(total);
        self.weights.partition_point(|&sum| sum <= at) as u16
    }
}

impl Iterator for Schedule {
    type Item = (u64, u16);

    fn next(&mut self) -> Option<(u64, u16)> {
        while self.next == self.slots.len() {
            if self.bucket == self.counts.len() {
                return None;
            }
            self.fill();
        }
        let (at, _, symbol) = self.slots[self.next];
        self.next += 1;
        Some((at, symbol))
    }
}

/// Commands of each bucket: shares of the measured distribution, capped, exact in sum.
fn counts(random: &mut Random, rate: u64, seconds: u64) -> Vec<u32> {
    let buckets = seconds * BUCKETS_PER_S;
    let total = rate * seconds;
    let cap = (2 * rate).div_ceil(BUCKETS_PER_S);
    let shares: Vec<u64> = (0..buckets).map(|_| random.draw(shape::RATE_PERMILLE)).collect();
    // What a bucket gets when the shares are multiplied by `factor` / 2^20 commands.
    let gets = |share: u64, factor: u64| {
        let exact = (u128::from(share) * u128::from(factor)) >> 20;
        exact.min(u128::from(cap)) as u64
    };
    // The largest factor that does not give out too much; the sum grows with it.
    let (mut low, mut high) = (0u64, 1u64 << 62);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        let sum: u64 = shares.iter().map(|&share| gets(share, middle)).sum();
        if sum <= total { low = middle } else { high = middle }
    }
    let mut counts: Vec<u64> = shares.iter().map(|&share| gets(share, low)).collect();
    let mut left = total - counts.iter().sum::<u64>();
    // Rounding leaves less than one per bucket, all-capped buckets leave room elsewhere: the cap
    // times the buckets is at least the total, so this ends.
    while left > 0 {
        let start = random.below(buckets) as usize;
        let length = counts.len();
        for i in (start..length).chain(0..start) {
            if left > 0 && counts[i] < cap {
                counts[i] += 1;
                left -= 1;
            }
        }
    }
    counts.into_iter().map(|count| count as u32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_exact_and_bounded_at_any_rate() {
        for (rate, seconds) in [(1, 1), (7, 3), (100, 20), (999, 2), (43_000, 2), (215_000, 1)] {
            let slots: Vec<_> = Schedule::new(1, rate, seconds, vec![1, 2, 5]).collect();
            assert_eq!(slots.len() as u64, rate * seconds);
            assert!(slots.is_sorted_by_key(|&(at, _)| at));
            assert!(slots.last().unwrap().0 < seconds * 1_000_000_000);
            assert!(slots.iter().all(|&(_, symbol)| symbol < 3));
            // Any 100 ms, wherever they start. A rate below 20/s has less than one per bucket.
            let bound = (3 * rate).div_ceil(10).max(3) as usize + 3;
            let mut first = 0;
            for (i, &(at, _)) in slots.iter().enumerate() {
                while at - slots[first].0 >= 100_000_000 {
                    first += 1;
                }
                assert!(i + 1 - first <= bound, "rate {rate}: {} in 100 ms", i + 1 - first);
            }
        }
    }

    #[test]
    fn it_comes_in_bursts_of_one_symbol() {
        // 40 times the hour's rate: the hour's gaps below 1 ms are below 25 us here.
        let slots: Vec<_> = Schedule::new(9, 1_000, 20, vec![1]).collect();
        let short = slots.windows(2).filter(|pair| pair[1].0 - pair[0].0 < 25_000).count();
        // In the hour 60% of all gaps; evenly spread it would be 2.5%.
        let share = short * 100 / slots.len();
        assert!((45..70).contains(&share), "{share}%");
    }
}
