//! What a runner does in a cycle without work.

/// What zero work means to a runner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IdleStrategy {
    /// Try again at once: for an isolated core of one's own.
    Spin,
    /// Give the core to whoever else wants it, then try again.
    Yield,
    /// Spin for `spin_ns` after the last work, then wait in the kernel until a descriptor is
    /// readable or the park times out: for cores shared with others.
    Park {
        /// Idle time before the first park, ns.
        spin_ns: u64,
    },
}

impl IdleStrategy {
    /// Park after 50 us: a descheduled thread costs 5-50 us to wake, so spinning shorter saves
    /// nothing and spinning longer takes the core from its neighbours.
    pub const PARK: IdleStrategy = IdleStrategy::Park { spin_ns: 50_000 };
}

impl Default for IdleStrategy {
    fn default() -> Self {
        IdleStrategy::PARK
    }
}
