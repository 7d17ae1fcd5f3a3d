//! Agents and runners: what runs, on which thread, and what an idle cycle does.
//!
//! An agent does a bounded piece of work per duty cycle and says how much. A runner owns one thread,
//! reads the clock once per cycle and spins over its agents. Must not know what agents do.

mod gate;
mod idle;
mod park;
mod runner;
mod scheduling;
mod stages;

pub use gate::Gate;
pub use idle::IdleStrategy;
pub use runner::*;
pub use scheduling::{Scheduling, schedule, scheduled};
pub use stages::Stages;

use crate::types::Nanos;

/// Something that is polled. Never blocks.
pub trait Agent {
    /// Name for threads, counters and logs.
    fn name(&self) -> &'static str;

    /// Does a bounded piece of work; returns how many items were handled, 0 = nothing to do.
    /// `now` was read once for this cycle.
    fn duty_cycle(&mut self, now: Nanos) -> usize;

    /// Rare work: heartbeats' bookkeeping, metrics. Called about every 10 ms, off the hot path.
    fn housekeeping(&mut self, _now: Nanos) {}
}
