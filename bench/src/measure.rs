//! The measuring loop: throughput first, latency on a fresh engine.
//!
//! Consumes a plan and an engine; produces the outcome, which must equal the plan's, and the times.
//! Must not know what the engine does.

use hdrhistogram::Histogram;

use crate::host::Usage;
use crate::stream::digest::Outcome;
use crate::stream::reference::Plan;
use crate::ticks::{self, Scale};

/// A layer that can be fed a stream.
pub trait Engine {
    /// Name of the layer in reports.
    const SCOPE: &'static str;
    /// A command as the layer takes it.
    type Command;

    /// Translates the stream, one command per step; not timed.
    fn translate(plan: &Plan) -> Vec<Self::Command>;

    /// A fresh engine, ready for the first command of the prefill; not timed.
    fn fresh(plan: &Plan) -> Self;

    /// Applies one command: what is measured.
    fn apply(&mut self, command: &Self::Command);

    /// Forgets the fills of the prefill.
    fn start_timed(&mut self);

    /// What it has come to; not timed.
    fn outcome(&self, plan: &Plan) -> Outcome;
}

/// One throughput pass.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// Nanoseconds per command by the clock on the wall.
    pub wall_ns: f64,
    /// Nanoseconds per command that the thread had its core: the same on a quiet host.
    pub cpu_ns: f64,
    /// Times the thread lost its core to somebody else.
    pub preempted: u64,
}

/// What one scope came to.
pub struct Measured {
    /// Name of the layer.
    pub scope: &'static str,
    /// Fills and book, equal in every pass.
    pub outcome: Outcome,
    /// Throughput passes, all commands of the timed part in one go.
    pub passes: Vec<Pass>,
    /// Times the latency pass lost its core to somebody else: each is one of the longest commands.
    pub latency_preempted: u64,
    /// Time of each command in ticks.
    pub latency: Histogram<u64>,
    /// Longest of them, exactly.
    pub latency_max: u64,
}

/// Runs `reps` throughput passes and one latency pass. The error says in what the outcomes differ.
pub fn run<E: Engine>(plan: &Plan, reps: usize) -> Result<Measured, String> {
    let commands = E::translate(plan);
    let (prefill, timed) = commands.split_at(plan.stream.prefill);
    let prepared = || {
        let mut engine = E::fresh(plan);
        for command in prefill {
            engine.apply(command);
        }
        engine.start_timed();
        engine
    };

    let mut passes = Vec::new();
    let mut outcome = Outcome::default();
    for _ in 0..reps.max(1) {
        let mut engine = prepared();
        let usage = Usage::now();
        #[allow(clippy::disallowed_methods)]
        // a measuring tool: there is no agent to hand time down
        let before = std::time::Instant::now();
        for command in timed {
            engine.apply(command);
        }
        let wall_ns = before.elapsed().as_nanos() as f64;
        let used = Usage::now();
        let each = 1.0 / timed.len().max(1) as f64;
        passes.push(Pass {
            wall_ns: wall_ns * each,
            cpu_ns: (used.cpu_ns - usage.cpu_ns) as f64 * each,
            preempted: used.preempted - usage.preempted,
        });
        outcome = engine.outcome(plan);
        expect_same::<E>(&outcome, plan)?;
    }

    let mut engine = prepared();
    // One word per command, written before: recording must not fault pages in between.
    let mut taken = vec![u32::MAX; timed.len()];
    let usage = Usage::now();
    for (command, taken) in timed.iter().zip(&mut taken) {
        let before = ticks::start();
        engine.apply(command);
        let after = ticks::stop();
        *taken = u32::try_from(after - before).unwrap_or(u32::MAX);
    }
    let latency_preempted = Usage::now().preempted - usage.preempted;
    expect_same::<E>(&engine.outcome(plan), plan)?;
    // Three digits: 0.1% of each value. Bounds given: recording must not saturate below the longest.
    let mut latency = Histogram::new_with_bounds(1, u64::from(u32::MAX), 3)
        .map_err(|error| format!("histogram: {error}"))?;
    for &ticks in &taken {
        latency.saturating_record(u64::from(ticks));
    }
    let latency_max = u64::from(taken.iter().copied().max().unwrap_or(0));
    Ok(Measured { scope: E::SCOPE, outcome, passes, latency_preempted, latency, latency_max })
}

fn expect_same<E: Engine>(got: &Outcome, plan: &Plan) -> Result<(), String> {
    if *got == plan.expected {
        return Ok(());
    }
    Err(format!("{}: got {got:x?}, the reference book says {:x?}", E::SCOPE, plan.expected))
}

impl Measured {
    /// Nanoseconds below which the share `quantile` of the commands stayed.
    pub fn quantile_ns(&self, scale: &Scale, quantile: f64) -> f64 {
        scale.ns(self.latency.value_at_quantile(quantile))
    }

    /// Nanoseconds per command of the fastest throughput pass.
    pub fn best_ns(&self) -> f64 {
        self.passes.iter().map(|pass| pass.wall_ns).fold(f64::INFINITY, f64::min)
    }

    /// Nanoseconds of core time per command of the pass that used least.
    pub fn best_cpu_ns(&self) -> f64 {
        self.passes.iter().map(|pass| pass.cpu_ns).fold(f64::INFINITY, f64::min)
    }

    /// Nanoseconds per command over all throughput passes.
    pub fn mean_ns(&self) -> f64 {
        self.passes.iter().map(|pass| pass.wall_ns).sum::<f64>() / self.passes.len() as f64
    }
}
