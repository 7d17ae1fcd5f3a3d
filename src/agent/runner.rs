//! The runner: one thread that spins over agents, reads the clock once per cycle, counts.
//!
//! Consumes boxed agents and options; produces a handle that says how the thread ended. A panic in
//! an agent raises the shared stop flag, so that all runners of the process stop, and is told by
//! [`RunnerHandle::join`] with the agent's name. Must not know what agents do.

use std::any::Any;
use std::fmt;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use super::park::{Parking, set_timer_slack};
use super::{Agent, Gate, IdleStrategy, Scheduling, Stages, schedule, scheduled};
use crate::clock::{Clock, SystemClock};
use crate::types::Nanos;

/// Housekeeping is called about this often.
pub const HOUSEKEEPING_INTERVAL_NS: u64 = 10_000_000;

/// Default budget of one cycle: a quarter of the 200 us that a broker would notice.
pub const CYCLE_BUDGET_NS: u64 = 50_000;

/// Default of the longest park: bounds what a thread without a descriptor (engine, sequencer)
/// sleeps through.
pub const PARK_NS_MAX: u64 = 1_000_000;

/// How a runner runs.
#[derive(Clone)]
pub struct RunnerOptions {
    /// Clock; give all runners of a process copies of one.
    pub clock: SystemClock,
    /// Core to pin the thread to (one of [`usable_cores`]); `None` = where the kernel likes.
    pub core: Option<usize>,
    /// What zero work means.
    pub idle: IdleStrategy,
    /// Raised by whoever wants all runners to stop; raised by a runner whose agent panicked.
    pub stop: Arc<AtomicBool>,
    /// Descriptors that end a park when readable: `Port::poll_fd` of every port received on.
    pub park_fds: Vec<RawFd>,
    /// Longest park, ns; 200 us when an agent waits for the archiver. Each wake-up takes some
    /// microseconds of a CPU that is shared, so a thread that may be late should sleep on.
    pub park_ns_max: u64,
    /// A busy cycle longer than this counts as an overrun, ns.
    pub cycle_budget_ns: u64,
    /// Scheduling class; what the kernel refuses is told by [`RunnerHandle::scheduling`].
    pub scheduling: Scheduling,
    /// Passed before the first cycle.
    pub gate: Option<Arc<Gate>>,
    /// Where the time of a cycle goes is measured: a clock read behind each agent that works.
    pub stages: bool,
}

impl RunnerOptions {
    /// Unpinned, parks after 50 us of idling, default budgets.
    pub fn new(clock: SystemClock, stop: Arc<AtomicBool>) -> RunnerOptions {
        RunnerOptions {
            clock,
            core: None,
            idle: IdleStrategy::PARK,
            stop,
            park_fds: Vec::new(),
            park_ns_max: PARK_NS_MAX,
            cycle_budget_ns: CYCLE_BUDGET_NS,
            scheduling: Scheduling::Inherited,
            gate: None,
            stages: false,
        }
    }
}

/// What a runner counts; written by its thread only, read by anybody.
#[derive(Default, Debug)]
pub struct RunnerCounters {
    /// Duty cycles.
    pub cycles: AtomicU64,
    /// Cycles in which at least one agent did something.
    pub busy_cycles: AtomicU64,
    /// Items handled by all agents.
    pub work: AtomicU64,
    /// Longest busy cycle, ns (start of a busy cycle to the start of the next one).
    pub longest_cycle_ns: AtomicU64,
    /// Busy cycles longer than the budget.
    pub overruns: AtomicU64,
    /// Longest round of housekeeping, ns.
    pub longest_housekeeping_ns: AtomicU64,
    /// Times the thread waited in the kernel.
    pub parks: AtomicU64,
}

impl RunnerCounters {
    /// Names and values, in the order of the fields, for whoever prints them.
    pub fn values(&self) -> [(&'static str, u64); 7] {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("cycles", get(&self.cycles)),
            ("busy_cycles", get(&self.busy_cycles)),
            ("work", get(&self.work)),
            ("longest_cycle_ns", get(&self.longest_cycle_ns)),
            ("overruns", get(&self.overruns)),
            ("longest_housekeeping_ns", get(&self.longest_housekeeping_ns)),
            ("parks", get(&self.parks)),
        ]
    }
}

/// One writer per counter: a load and a store are enough, and cheaper than a locked add.
fn add(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
}

fn raise(counter: &AtomicU64, to: u64) {
    if to > counter.load(Ordering::Relaxed) {
        counter.store(to, Ordering::Relaxed);
    }
}

/// An agent panicked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentPanic {
    /// Runner's name.
    pub runner: String,
    /// Agent's name.
    pub agent: &'static str,
    /// The panic's message, where it was text.
    pub message: String,
}

impl fmt::Display for AgentPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "agent {} on runner {} panicked: {}", self.agent, self.runner, self.message)
    }
}

impl std::error::Error for AgentPanic {}

/// Agents that share a thread, in the order in which an order flows through them.
pub struct Runner {
    name: String,
    agents: Vec<Box<dyn Agent + Send>>,
    options: RunnerOptions,
    counters: Arc<RunnerCounters>,
    stages: Option<Arc<Stages>>,
    parking: Parking,
    /// Index of the agent that runs now: tells whose panic it was.
    current: usize,
    /// Start of the last cycle when it was busy; its end is the next reading of the clock.
    busy_since: Option<Nanos>,
    idle_since: Option<Nanos>,
    next_housekeeping: Nanos,
}

impl Runner {
    /// A runner for [`Runner::step`] or [`Runner::run_here`].
    pub fn new(
        name: impl Into<String>,
        agents: Vec<Box<dyn Agent + Send>>,
        options: RunnerOptions,
    ) -> Runner {
        let stages = options.stages.then(|| Stages::new(agents.iter().map(|agent| agent.name())));
        Runner {
            name: name.into(),
            agents,
            counters: Arc::new(RunnerCounters::default()),
            stages,
            parking: Parking::new(&options.park_fds),
            options,
            current: 0,
            busy_since: None,
            idle_since: None,
            next_housekeeping: Nanos(0),
        }
    }

    /// The counters, shared.
    pub fn counters(&self) -> Arc<RunnerCounters> {
        self.counters.clone()
    }

    /// Starts a thread named `name` (the kernel shows its first 15 bytes), pins it, and returns
    /// when it is about to enter its loop. Err: the host gives no thread.
    pub fn spawn(
        name: impl Into<String>,
        agents: Vec<Box<dyn Agent + Send>>,
        options: RunnerOptions,
    ) -> std::io::Result<RunnerHandle> {
        let mut runner = Runner::new(name, agents, options);
        let name = runner.name.clone();
        let (counters, stages) = (runner.counters(), runner.stages.clone());
        let (prepared_tx, prepared_rx) = mpsc::channel();
        let thread = std::thread::Builder::new().name(name.clone()).spawn(move || {
            let prepared = runner.prepare_thread();
            // The receiver waits below; it cannot be gone.
            let _ = prepared_tx.send(prepared);
            if let Some(gate) = &runner.options.gate {
                gate.pass();
            }
            runner.run()
        })?;
        // A thread that died before it answered is as good as not pinned; join tells why.
        let (pinned_core, scheduling, idle) = prepared_rx.recv().unwrap_or_default();
        Ok(RunnerHandle { name, pinned_core, scheduling, idle, counters, stages, thread })
    }

    /// Runs on the calling thread (pinning it when asked) until the stop flag is raised.
    pub fn run_here(mut self) -> Result<(), AgentPanic> {
        self.prepare_thread();
        self.run()
    }

    /// What the thread asks of the kernel before its loop: it may not ask later. The core it got, how it
    /// is scheduled, and what it does without work.
    fn prepare_thread(&mut self) -> (Option<usize>, Scheduling, IdleStrategy) {
        touch_stack();
        let core = self.options.core.filter(|&core| pin(core));
        // Spinning is for a core of one's own: without it, it would take everybody's.
        if core != self.options.core && self.options.idle == IdleStrategy::Spin {
            self.options.idle = IdleStrategy::PARK;
        }
        if matches!(self.options.idle, IdleStrategy::Park { .. }) {
            set_timer_slack(self.options.park_ns_max);
        }
        // What came of it is looked at; a refusal is the operator's to hear, not a reason to stop.
        let _ = schedule(self.options.scheduling);
        (core, scheduled(), self.options.idle)
    }

    fn run(&mut self) -> Result<(), AgentPanic> {
        // Agents are dropped after a panic and never called again, so their broken state is
        // not seen by anybody.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            while !self.options.stop.load(Ordering::Relaxed) {
                let now = self.options.clock.now();
                if self.step(now) == 0 {
                    self.idle(now);
                }
            }
        }));
        outcome.map_err(|payload| {
            self.options.stop.store(true, Ordering::SeqCst);
            AgentPanic {
                runner: self.name.clone(),
                agent: self.agents.get(self.current).map_or("none", |agent| agent.name()),
                message: panic_text(payload.as_ref()),
            }
        })
    }

    /// One duty cycle of every agent at time `now`, and housekeeping when it is due; returns the
    /// work done. Does not idle. For single-threaded tests with time of their own.
    #[inline]
    pub fn step(&mut self, now: Nanos) -> usize {
        if let Some(start) = self.busy_since.take() {
            let took = now.since(start);
            raise(&self.counters.longest_cycle_ns, took);
            if took > self.options.cycle_budget_ns {
                add(&self.counters.overruns, 1);
            }
        }
        let work = match self.stages.is_none() {
            true => self.cycle(now),
            false => self.measured_cycle(now),
        };
        add(&self.counters.cycles, 1);
        if work > 0 {
            add(&self.counters.busy_cycles, 1);
            add(&self.counters.work, work as u64);
            self.busy_since = Some(now);
            self.idle_since = None;
        }
        if now >= self.next_housekeeping {
            self.housekeeping(now);
        }
        work
    }

    #[inline]
    fn cycle(&mut self, now: Nanos) -> usize {
        let mut work = 0;
        for (index, agent) in self.agents.iter_mut().enumerate() {
            self.current = index;
            work += agent.duty_cycle(now);
        }
        work
    }

    /// The same, with the clock read behind each agent from the first that works on.
    fn measured_cycle(&mut self, now: Nanos) -> usize {
        let (mut work, mut last) = (0, now);
        let last_agent = self.agents.len().saturating_sub(1);
        for (index, agent) in self.agents.iter_mut().enumerate() {
            self.current = index;
            let done = agent.duty_cycle(now);
            work += done;
            if work > 0 {
                let (begun, stages) = (last, self.stages.as_deref());
                last = self.options.clock.now();
                if let Some(stages) = stages.filter(|_| done > 0) {
                    stages.record(index, last.since(begun));
                    // One who worked alone had nothing before it that an order waited for.
                    if index == last_agent && work > done {
                        stages.record_before_last(begun.since(now));
                    }
                }
            }
        }
        if let Some(stages) = self.stages.as_deref().filter(|_| work > 0) {
            stages.record_cycle(last.since(now));
        }
        work
    }

    #[cold]
    fn housekeeping(&mut self, now: Nanos) {
        let begun = self.options.clock.now();
        for (index, agent) in self.agents.iter_mut().enumerate() {
            self.current = index;
            agent.housekeeping(now);
        }
        self.next_housekeeping = now.plus(HOUSEKEEPING_INTERVAL_NS);
        let took = self.options.clock.now().since(begun);
        raise(&self.counters.longest_housekeeping_ns, took);
        // Housekeeping is not part of the cycle that it interrupts.
        self.busy_since = self.busy_since.map(|start| start.plus(took));
    }

    fn idle(&mut self, now: Nanos) {
        match self.options.idle {
            IdleStrategy::Spin => std::hint::spin_loop(),
            IdleStrategy::Yield => std::thread::yield_now(),
            IdleStrategy::Park { spin_ns } => {
                let since = *self.idle_since.get_or_insert(now);
                if now.since(since) < spin_ns {
                    std::hint::spin_loop();
                } else {
                    add(&self.counters.parks, 1);
                    let until_housekeeping = self.next_housekeeping.since(now);
                    self.parking.wait(self.options.park_ns_max.min(until_housekeeping));
                }
            }
        }
    }
}

/// A running runner, held by whoever started it.
#[derive(Debug)]
pub struct RunnerHandle {
    name: String,
    pinned_core: Option<usize>,
    scheduling: Scheduling,
    idle: IdleStrategy,
    counters: Arc<RunnerCounters>,
    stages: Option<Arc<Stages>>,
    thread: JoinHandle<Result<(), AgentPanic>>,
}

impl RunnerHandle {
    /// Runner's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the thread does without work: one that was to spin and got no core of its own parks.
    pub fn idle(&self) -> IdleStrategy {
        self.idle
    }

    /// Core that the thread is pinned to; `None` when not asked for, or refused by the host.
    pub fn pinned_core(&self) -> Option<usize> {
        self.pinned_core
    }

    /// How the kernel schedules the thread.
    pub fn scheduling(&self) -> Scheduling {
        self.scheduling
    }

    /// The counters, shared.
    pub fn counters(&self) -> Arc<RunnerCounters> {
        self.counters.clone()
    }

    /// Where the time of a cycle goes; `None` when it is not measured.
    pub fn stages(&self) -> Option<&Arc<Stages>> {
        self.stages.as_ref()
    }

    /// The thread has ended (stopped or panicked): join will not wait.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the thread's end; tells the panic that ended it. Does not raise the stop flag.
    pub fn join(self) -> Result<(), AgentPanic> {
        match self.thread.join() {
            Ok(outcome) => outcome,
            // A panic outside the agents: dropping one of them, or the runner itself.
            Err(payload) => Err(AgentPanic {
                runner: self.name,
                agent: "none",
                message: panic_text(payload.as_ref()),
            }),
        }
    }
}

/// Waits for all runners; the first panic in the order given is the result. As a panicking agent
/// raises the stop flag, all others end too and this returns: the owner then leaves with an error.
pub fn join_all(handles: Vec<RunnerHandle>) -> Result<(), AgentPanic> {
    let mut outcome = Ok(());
    for handle in handles {
        outcome = outcome.and(handle.join());
    }
    outcome
}

/// Numbers of the cores that the calling thread runs on, ascending; empty when the host does not say.
/// Isolated cores (isolcpus=) are not among them: nobody starts out there.
pub fn available_cores() -> Vec<usize> {
    let mut cores: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
    cores.sort_unstable();
    cores
}

/// The same, and those of `further` that a thread can be pinned to, which is tried: by threads that end
/// at once.
pub fn usable_cores(further: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut cores = available_cores();
    for core in further {
        let tried = || std::thread::Builder::new().spawn(move || pin(core)).ok()?.join().ok();
        if !cores.contains(&core) && tried() == Some(true) {
            cores.push(core);
        }
    }
    cores.sort_unstable();
    cores
}

/// Pins the calling thread; false when the host refuses.
pub fn pin(core: usize) -> bool {
    core_affinity::set_for_current(core_affinity::CoreId { id: core })
}

/// Stack that a cycle may need, touched before the first one: a page fault costs microseconds.
const STACK_BYTES: usize = 256 << 10;

#[inline(never)]
fn touch_stack() {
    std::hint::black_box(&mut [0u8; STACK_BYTES]);
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without text".to_owned()
    }
}

#[cfg(test)]
#[path = "runner_tests.rs"]
mod tests;
