//! Round trip: how long messages take to be settled, and so how long one is waited for before it is
//! repeated (SESSION 13: twice the p99.9 round trip).
//!
//! Consumes the times of messages that were settled without a repeat, and the waits that ran out;
//! produces the next wait. Three words, no history. Must not know messages or sockets.

/// A shorter round trip pulls the estimate down by this part (2^-10) of the difference: of a thousand
/// round trips about the longest counts.
const DECAY_SHIFT: u32 = 10;
/// Doublings beyond which the wait has reached its bound anyway.
const DOUBLINGS_MAX: u32 = 20;

/// See the module's head.
#[derive(Clone, Copy, Debug)]
pub(super) struct RoundTrip {
    /// The configured wait: never shorter.
    floor_ns: u64,
    /// The configured bound, at least the floor: never longer.
    ceiling_ns: u64,
    /// Estimate of p99.9; 0 = nothing measured.
    high_ns: u64,
    /// Waits that ran out since the last measurement.
    doublings: u32,
}

impl RoundTrip {
    pub fn new(floor_ns: u64, ceiling_ns: u64) -> RoundTrip {
        RoundTrip { floor_ns, ceiling_ns: ceiling_ns.max(floor_ns), high_ns: 0, doublings: 0 }
    }

    /// How long to wait before a message is repeated.
    pub fn wait_ns(&self) -> u64 {
        let wait = self.high_ns.saturating_mul(2).max(self.floor_ns);
        wait.saturating_mul(1 << self.doublings).min(self.ceiling_ns)
    }

    /// A message that was not repeated was settled after `ns`. What was repeated says nothing: the
    /// answer may be to either transmission.
    pub fn measured(&mut self, ns: u64) {
        if self.high_ns == 0 {
            self.high_ns = ns.min(self.ceiling_ns / 2);
        } else if ns > self.high_ns {
            // Longer than the wait only when the application did not poll: not the network's.
            self.high_ns = ns.min(self.wait_ns());
        } else {
            self.high_ns -= (self.high_ns - ns) >> DECAY_SHIFT;
        }
        self.doublings = 0;
    }

    /// A wait ran out. Round trips that became longer than it would never be measured, because
    /// everything is repeated: so it doubles until one is.
    pub fn ran_out(&mut self) {
        self.doublings = (self.doublings + 1).min(DOUBLINGS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn the_wait_is_twice_the_longest_of_many_and_never_below_the_configured_one() {
        let mut trip = RoundTrip::new(5 * MS, 1_000 * MS);
        for _ in 0..1_000 {
            trip.measured(MS);
        }
        assert_eq!(trip.wait_ns(), 5 * MS);
        trip.measured(4 * MS);
        assert_eq!(trip.wait_ns(), 8 * MS);
        for _ in 0..500 {
            trip.measured(MS);
        }
        assert!(trip.wait_ns() > 5 * MS, "one of 500 still counts");
        for _ in 0..2_000 {
            trip.measured(MS);
        }
        assert_eq!(trip.wait_ns(), 5 * MS);
        // The application slept for a minute: at most a doubling.
        trip.measured(60_000 * MS);
        assert_eq!(trip.wait_ns(), 10 * MS);
    }

    #[test]
    fn waits_that_run_out_double_up_to_a_second_until_something_is_measured() {
        let mut trip = RoundTrip::new(5 * MS, 1_000 * MS);
        let waits: Vec<u64> = (0..10)
            .map(|_| {
                trip.ran_out();
                trip.wait_ns() / MS
            })
            .collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 1_000, 1_000, 1_000]);
        trip.measured(15 * MS);
        assert_eq!(trip.wait_ns(), 30 * MS);
        assert_eq!(RoundTrip::new(10_000 * MS, 1_000 * MS).wait_ns(), 10_000 * MS);
        for _ in 0..100 {
            trip.ran_out();
        }
        assert_eq!(trip.wait_ns(), 1_000 * MS);
    }
}
