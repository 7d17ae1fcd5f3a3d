//! The only door for time: a monotonic clock anchored to wall time, and a hand-moved one for tests.
//!
//! Produces [`Nanos`]; consumes the host's clocks. A runner reads it once per cycle and passes the
//! value down; the exchange never sees it. Must not know what time is used for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::types::Nanos;

/// Source of time.
pub trait Clock {
    /// Nanoseconds since 1970-01-01 00:00 UTC; never goes backwards. O(1), no allocation.
    fn now(&self) -> Nanos;
}

/// The host's monotonic clock, anchored to wall time once, at construction.
///
/// A later step of the wall clock is not followed (it would reorder the day); it can be seen in
/// [`SystemClock::wall_step_ns`]. Copies share the anchor, so all threads of a process that were
/// given copies of one clock speak the same time.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    anchor: Instant,
    wall_at_anchor_ns: u64,
}

impl SystemClock {
    /// Anchors to the present wall time. A wall clock before 1970 counts as 1970.
    #[allow(clippy::disallowed_methods)] // the door itself
    pub fn new() -> SystemClock {
        SystemClock { anchor: Instant::now(), wall_at_anchor_ns: wall_ns() }
    }

    /// How far the wall clock has moved against this one since the anchor, in ns (positive: wall
    /// is ahead). Small values are slewing; beyond 100 ms somebody stepped the clock. Cold.
    pub fn wall_step_ns(&self) -> i64 {
        let difference = i128::from(wall_ns()) - i128::from(self.now().0);
        difference.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    #[inline]
    fn now(&self) -> Nanos {
        // 2^64 ns are 584 years: the cast holds for any uptime.
        Nanos(self.wall_at_anchor_ns.saturating_add(self.anchor.elapsed().as_nanos() as u64))
    }
}

#[allow(clippy::disallowed_methods)] // the door itself
fn wall_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64)
}

/// A clock that stands still until it is moved. Clones show the same time (tests, simulation).
#[derive(Clone, Debug, Default)]
pub struct ManualClock {
    now: Arc<AtomicU64>,
}

impl ManualClock {
    /// Stands at `now`.
    pub fn new(now: Nanos) -> ManualClock {
        ManualClock { now: Arc::new(AtomicU64::new(now.0)) }
    }

    /// Moves to `now`. Panics when that would be backwards: no caller may make time run back.
    pub fn set(&self, now: Nanos) {
        let before = self.now.swap(now.0, Ordering::Relaxed);
        assert!(before <= now.0, "manual clock moved back from {before} to {}", now.0);
    }

    /// Moves on by `ns` and returns the new time.
    pub fn advance(&self, ns: u64) -> Nanos {
        Nanos(self.now.fetch_add(ns, Ordering::Relaxed) + ns)
    }
}

impl Clock for ManualClock {
    #[inline]
    fn now(&self) -> Nanos {
        Nanos(self.now.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_clock_is_monotone_and_near_wall_time() {
        let clock = SystemClock::new();
        let copy = clock;
        let mut last = clock.now();
        for _ in 0..10_000 {
            let now = copy.now();
            assert!(now >= last);
            last = now;
        }
        // 2020-01-01; and within a minute of the wall, however slow the machine is.
        assert!(last.0 > 1_577_836_800_000_000_000);
        assert!(clock.wall_step_ns().abs() < 60_000_000_000);
    }

    #[test]
    fn manual_clock_moves_by_hand_only() {
        let clock = ManualClock::new(Nanos(5));
        let twin = clock.clone();
        assert_eq!(clock.now(), Nanos(5));
        assert_eq!(clock.advance(10), Nanos(15));
        assert_eq!(twin.now(), Nanos(15));
        twin.set(Nanos(15));
        twin.set(Nanos(20));
        assert_eq!(clock.now(), Nanos(20));
    }

    #[test]
    #[should_panic(expected = "moved back")]
    fn manual_clock_refuses_to_go_back() {
        ManualClock::new(Nanos(5)).set(Nanos(4));
    }
}
