//! Token buckets: how many messages a session may send (session.md 18), and how many bytes it may
//! ask to be replayed (15).
//!
//! Pure arithmetic over the time passed in; one bucket is two words. Knows nothing of messages.

use super::Rate;
use crate::planted::{self, Bug};
use crate::types::Nanos;

/// A token bucket. Tokens are counted in billionths, so that one nanosecond at one token per second
/// is exact.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    per_second: u64,
    capacity: u128,
    level: u128,
    last: Nanos,
}

const TOKEN: u128 = 1_000_000_000;

impl Bucket {
    /// A full bucket of `burst` tokens to which `per_second` come back.
    pub fn new(per_second: u64, burst: u64) -> Bucket {
        let capacity = burst as u128 * TOKEN;
        Bucket { per_second, capacity, level: capacity, last: Nanos(0) }
    }

    /// Lets the time up to `now` pass; an earlier `now` than before adds nothing.
    #[inline]
    pub fn pass(&mut self, now: Nanos) {
        let elapsed = now.since(self.last);
        if elapsed > 0 {
            let gained = elapsed as u128 * self.per_second as u128;
            self.level = (self.level + gained).min(self.capacity);
            self.last = now;
        }
    }

    /// Takes `n` tokens, or none when fewer are there. Call [`Bucket::pass`] first.
    #[inline]
    pub fn take(&mut self, n: u64) -> bool {
        let wanted = n as u128 * TOKEN;
        let enough = self.level >= wanted;
        if enough {
            self.level -= wanted;
        }
        enough
    }

    /// Takes `n` tokens, or all of a full bucket that never holds as many. Call [`Bucket::pass`] first.
    #[inline]
    pub fn take_up_to_burst(&mut self, n: u64) -> bool {
        self.take(n.min((self.capacity / TOKEN) as u64))
    }

    /// Whole tokens in the bucket.
    #[inline]
    pub fn level(&self) -> u64 {
        (self.level / TOKEN) as u64
    }
}

/// The two buckets of a session: the first decides the verdict, the second (twice rate and burst)
/// whether a datagram is sequenced at all.
#[derive(Clone, Copy, Debug)]
pub struct Throttle {
    verdict: Bucket,
    flood: Bucket,
}

impl Throttle {
    /// Full buckets for `rate`.
    pub fn new(rate: Rate) -> Throttle {
        let (per_second, burst) = (rate.per_second.max(1) as u64, rate.burst.max(1) as u64);
        Throttle {
            verdict: Bucket::new(per_second, burst),
            flood: Bucket::new(2 * per_second, 2 * burst),
        }
    }

    /// Admits a datagram with `blocks` blocks that are no duplicates; false = drop it whole, nothing
    /// was taken. A datagram with more blocks than the second bucket ever holds passes when that is
    /// full: dropped, it would be repeated in vain for ever.
    #[inline]
    pub fn admit_datagram(&mut self, now: Nanos, blocks: u64) -> bool {
        self.verdict.pass(now);
        self.flood.pass(now);
        self.flood.take_up_to_burst(blocks)
    }

    /// Takes the token of one block of an admitted datagram; false = verdict Throttled.
    #[inline]
    pub fn admit_block(&mut self) -> bool {
        planted::is(Bug::ThrottleNeverTakes) || self.verdict.take(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burst_then_rate() {
        let mut throttle = Throttle::new(Rate { per_second: 1_000, burst: 3 });
        let start = Nanos(1_000_000_000_000);
        assert!(throttle.admit_datagram(start, 5));
        let verdicts: Vec<bool> = (0..5).map(|_| throttle.admit_block()).collect();
        assert_eq!(verdicts, [true, true, true, false, false]);
        // The second bucket held 6.
        assert!(!throttle.admit_datagram(start, 2));
        assert!(throttle.admit_datagram(start, 1));
        // One millisecond brings one token, and two of the second bucket.
        let later = start.plus(1_000_000);
        assert!(throttle.admit_datagram(later, 2));
        assert!(throttle.admit_block());
        assert!(!throttle.admit_block());
    }

    #[test]
    fn time_never_runs_backwards_or_overflows() {
        let mut bucket = Bucket::new(u64::MAX >> 1, 10);
        bucket.pass(Nanos(u64::MAX));
        assert!(bucket.take(10));
        bucket.pass(Nanos(5));
        assert!(!bucket.take(1));
        assert_eq!(bucket.level(), 0);
    }
}
