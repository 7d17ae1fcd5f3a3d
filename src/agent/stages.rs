//! Where the time of a busy cycle goes: one distribution per agent of a thread.
//!
//! Written by the runner's thread, read by anybody. An agent that had nothing to do is not counted, so
//! that each distribution is of work done; with one order in flight that is the order's residence in
//! each stage. Must not know what the agents are.

use crate::counters::Distribution;
use std::sync::Arc;

/// Durations of one runner's agents and of its cycles, ns.
#[derive(Debug)]
pub struct Stages {
    agents: Vec<(&'static str, Arc<Distribution>)>,
    cycle: Arc<Distribution>,
    before_last: Arc<Distribution>,
}

impl Stages {
    /// Empty; allocates and touches everything.
    pub(super) fn new(agents: impl Iterator<Item = &'static str>) -> Arc<Stages> {
        let agents = agents.map(|name| (name, Distribution::new())).collect();
        Arc::new(Stages { agents, cycle: Distribution::new(), before_last: Distribution::new() })
    }

    /// Agent `index` of the runner has worked for `ns`. Includes idle agents right before it, and the
    /// clock's own time.
    #[inline]
    pub(super) fn record(&self, index: usize, ns: u64) {
        self.agents[index].1.record(ns);
    }

    #[inline]
    pub(super) fn record_cycle(&self, ns: u64) {
        self.cycle.record(ns);
    }

    #[inline]
    pub(super) fn record_before_last(&self, ns: u64) {
        self.before_last.record(ns);
    }

    /// Name and distribution of each agent, in the order of a cycle.
    pub fn agents(&self) -> impl Iterator<Item = (&'static str, &Distribution)> {
        self.agents.iter().map(|(name, distribution)| (*name, distribution.as_ref()))
    }

    /// From the clock's reading at the start of a busy cycle to the end of its last agent.
    pub fn cycle(&self) -> &Distribution {
        &self.cycle
    }

    /// The same to the moment before its last agent, in cycles in which that one worked too, behind another: over AF_XDP
    /// that is the transmitting duty, whose time is the kernel's.
    pub fn before_last(&self) -> &Distribution {
        &self.before_last
    }
}
