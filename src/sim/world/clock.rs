//! The clock of one life of the exchange's process: anchored when it starts, like `SystemClock`.

use crate::clock::Clock;
use crate::types::Nanos;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Moved by the world; during a start, when nobody moves it, each look at it takes a microsecond.
#[derive(Clone, Debug)]
pub(super) struct ProcessClock {
    now: Arc<AtomicU64>,
    look_ns: Arc<AtomicU64>,
}

impl ProcessClock {
    /// Stands at `now`; looks take time until the first [`ProcessClock::set`].
    pub(super) fn new(now: u64) -> ProcessClock {
        ProcessClock { now: Arc::new(now.into()), look_ns: Arc::new(1_000.into()) }
    }

    /// Moves to `now`, never back.
    pub(super) fn set(&self, now: u64) {
        self.look_ns.store(0, Ordering::Relaxed);
        self.now.fetch_max(now, Ordering::Relaxed);
    }
}

impl Clock for ProcessClock {
    fn now(&self) -> Nanos {
        let look = self.look_ns.load(Ordering::Relaxed);
        Nanos(self.now.fetch_add(look, Ordering::Relaxed) + look)
    }
}
