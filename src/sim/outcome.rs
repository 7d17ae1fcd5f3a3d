//! Outcome: what a run, or many, came to.

use super::{CRASHES_MIN, ORDERS_MIN, Tally, Violation};
use crate::net::NetworkCounts;
use std::fmt;

/// Counts of what the world did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Simulated time, ns.
    pub simulated_ns: u64,
    /// Rounds of the scheduler.
    pub rounds: u64,
    /// Starts of the exchange that ended in serving.
    pub starts: u64,
    /// Deaths of the exchange between two duty cycles.
    pub crashes: u64,
    /// Deaths inside a storage operation while it served.
    pub crashes_in_storage: u64,
    /// Deaths inside a storage operation while it started.
    pub crashes_in_recovery: u64,
    /// Stops in good order.
    pub stops: u64,
    /// Power cuts at level `memory`.
    pub power_losses_memory: u64,
    /// Power cuts at level `disk`.
    pub power_losses_disk: u64,
    /// Starts refused because memory was lost; the next incarnation began.
    pub incarnations: u64,
    /// Starts refused for want of room or because the disk failed; tried again.
    pub starts_put_off: u64,
    /// Deaths of a member's message.
    pub poisoned: u64,
    /// Starts that stood before it.
    pub stood_before: u64,
    /// Confirmed bytes damaged.
    pub damages: u64,
    /// Of those, starts refused that named the damage.
    pub damages_refused: u64,
    /// Torn tails cut off.
    pub tails_cut: u64,
    /// Starts from a snapshot.
    pub snapshots_used: u64,
    /// Days rolled.
    pub days_rolled: u64,
    /// Deaths of brokers and subscribers.
    pub actor_crashes: u64,
    /// Times that the exchange, or a thread of it, stood still.
    pub freezes: u64,
    /// Links cut.
    pub cuts: u64,
    /// Steps of the wall clock.
    pub clock_steps: u64,
    /// Times that a disk or memory was full, slow or failed.
    pub disk_faults: u64,
    /// Commands in the logs.
    pub commands: u64,
    /// Runs in which the exchange was in cancel-only mode.
    pub cancel_only: u64,
    /// Runs in which it was halted.
    pub halted: u64,
}

macro_rules! add_fields {
    ($to:expr, $from:expr, $($field:ident)*) => { $($to.$field += $from.$field;)* };
}

impl Counts {
    /// Adds another run's.
    pub fn add(&mut self, other: &Counts) {
        add_fields!(self, other,
            simulated_ns rounds starts crashes crashes_in_storage crashes_in_recovery stops
            power_losses_memory power_losses_disk incarnations starts_put_off poisoned
            stood_before damages
            damages_refused tails_cut snapshots_used days_rolled actor_crashes freezes cuts
            clock_steps disk_faults commands cancel_only halted);
    }

    /// Deaths of the exchange without warning.
    pub fn all_crashes(&self) -> u64 {
        self.crashes
            + self.crashes_in_storage
            + self.crashes_in_recovery
            + self.power_losses_memory
            + self.power_losses_disk
            + self.damages
    }
}

impl Tally {
    /// Adds another's.
    pub fn add(&mut self, other: &Tally) {
        add_fields!(self, other,
            orders changes reports executions rejects logins feed_messages repaired hostile);
    }
}

/// What one seed came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Hash over every delivery, every agent's work and every crash.
    pub trace: u64,
    /// What the world did.
    pub counts: Counts,
    /// What the network did.
    pub network: NetworkCounts,
    /// What the actors did.
    pub tally: Tally,
    /// What did not hold; the run ends with the first.
    pub violations: Vec<Violation>,
    /// What happened, line by line, when asked for.
    pub history: Vec<String>,
}

impl Outcome {
    /// It had what every whole plan has.
    pub fn has_enough(&self) -> bool {
        self.tally.orders >= ORDERS_MIN && self.counts.all_crashes() >= CRASHES_MIN
    }
}

/// What many seeds came to.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Seeds run.
    pub seeds: u64,
    /// Fewest orders of a seed.
    pub orders_min: u64,
    /// Fewest crashes of a seed.
    pub crashes_min: u64,
    /// Violations.
    pub violations: u64,
    /// Sums.
    pub counts: Counts,
    /// Sums.
    pub network: NetworkCounts,
    /// Sums.
    pub tally: Tally,
    /// Sum of the trace hashes: the same for the same seeds in any order.
    pub trace: u64,
}

impl Summary {
    /// Adds one seed's outcome.
    pub fn add(&mut self, outcome: &Outcome) {
        let (orders, crashes) = (outcome.tally.orders, outcome.counts.all_crashes());
        let first = self.seeds == 0;
        self.orders_min = if first { orders } else { self.orders_min.min(orders) };
        self.crashes_min = if first { crashes } else { self.crashes_min.min(crashes) };
        self.seeds += 1;
        self.violations += outcome.violations.len() as u64;
        self.counts.add(&outcome.counts);
        self.network.add(&outcome.network);
        self.tally.add(&outcome.tally);
        self.trace = self.trace.wrapping_add(outcome.trace);
    }

    /// Adds another thread's sums.
    pub fn merge(&mut self, other: &Summary) {
        if other.seeds == 0 {
            return;
        }
        let least = |a: u64, b: u64, seeds| if seeds == 0 { b } else { a.min(b) };
        self.orders_min = least(self.orders_min, other.orders_min, self.seeds);
        self.crashes_min = least(self.crashes_min, other.crashes_min, self.seeds);
        self.seeds += other.seeds;
        self.violations += other.violations;
        self.counts.add(&other.counts);
        self.network.add(&other.network);
        self.tally.add(&other.tally);
        self.trace = self.trace.wrapping_add(other.trace);
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (c, n, t) = (&self.counts, &self.network, &self.tally);
        let hours = c.simulated_ns as f64 / 3.6e12;
        writeln!(f, "seeds                {:>12}", self.seeds)?;
        writeln!(f, "simulated hours      {hours:>12.2}")?;
        writeln!(f, "orders               {:>12}   at least {} a seed", t.orders, self.orders_min)?;
        writeln!(f, "  replaces, cancels  {:>12}", t.changes)?;
        writeln!(
            f,
            "  reports            {:>12}   executions {}, refusals {}",
            t.reports, t.executions, t.rejects
        )?;
        writeln!(f, "  logins             {:>12}", t.logins)?;
        writeln!(f, "feed messages        {:>12}   repaired {}", t.feed_messages, t.repaired)?;
        writeln!(
            f,
            "crashes              {:>12}   at least {} a seed",
            c.all_crashes(),
            self.crashes_min
        )?;
        writeln!(f, "  between cycles     {:>12}", c.crashes)?;
        writeln!(
            f,
            "  inside storage     {:>12}   while starting {}",
            c.crashes_in_storage, c.crashes_in_recovery
        )?;
        writeln!(
            f,
            "  power cuts         {:>12}   memory {}, disk {}",
            c.power_losses_memory + c.power_losses_disk,
            c.power_losses_memory,
            c.power_losses_disk
        )?;
        writeln!(f, "  brokers, readers   {:>12}", c.actor_crashes)?;
        writeln!(
            f,
            "starts               {:>12}   put off {}, after a stop {}",
            c.starts, c.starts_put_off, c.stops
        )?;
        writeln!(f, "  torn tails cut     {:>12}", c.tails_cut)?;
        writeln!(f, "  new incarnations   {:>12}", c.incarnations)?;
        writeln!(
            f,
            "  poison             {:>12}   stood before it {}",
            c.poisoned, c.stood_before
        )?;
        writeln!(f, "  confirmed damage   {:>12}   refused {}", c.damages, c.damages_refused)?;
        writeln!(f, "  from snapshots     {:>12}", c.snapshots_used)?;
        writeln!(f, "days rolled          {:>12}", c.days_rolled)?;
        writeln!(
            f,
            "modes                {:>12}   cancel-only, halted {}",
            c.cancel_only, c.halted
        )?;
        writeln!(
            f,
            "freezes              {:>12}   clock steps {}, disk faults {}, cut links {}",
            c.freezes, c.clock_steps, c.disk_faults, c.cuts
        )?;
        writeln!(f, "datagrams            {:>12}   hostile {}", n.sent, t.hostile)?;
        writeln!(
            f,
            "  dropped            {:>12}   by chance {}, cut {}, nobody there {}, queue full {}",
            n.dropped(),
            n.lost,
            n.cut,
            n.nobody,
            n.overflowed
        )?;
        writeln!(
            f,
            "  duplicated         {:>12}   late {}, corrupted {}, cut short {}",
            n.duplicated, n.late, n.corrupted, n.truncated
        )?;
        writeln!(f, "trace                {:>12}", format!("{:016x}", self.trace))?;
        write!(f, "violations           {:>12}", self.violations)
    }
}
