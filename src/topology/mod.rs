//! Topology: a checked configuration -> agents, links, threads, in flow order. The only place where
//! agents meet.
//!
//! Consumes [`Config`]; produces a running [`Venue`]. Everything that can fail fails here, before
//! the first thread spins: addresses, logs, recovery, Genesis. [`assemble()`] does the same without
//! threads, and takes everything from outside through [`Surroundings`].

mod assemble;
mod calendar;
mod capture;
mod carry;
mod consent;
mod day;
mod ending;
mod error;
mod fill;
mod host;
mod notes;
mod place;
mod promise;
mod recover;
#[cfg(test)]
mod tests;

pub use assemble::{Assembly, Facts, PlacedAgent, Ports, Surroundings, assemble};
pub use calendar::{DayPlan, Next, next_day};
pub use carry::{Carried, CarryError};
pub use day::{close_day, rehearse};
pub use ending::Ending;
pub use error::StartError;
pub use fill::Filler;
pub use host::hot_place;
pub use notes::host_notes;

use crate::agent::{Agent, AgentPanic, Gate, Runner, RunnerHandle, RunnerOptions, usable_cores};
use crate::board::EngineStatus;
use crate::clock::SystemClock;
use crate::config::{AgentName, Config, Idle, LockMemory, SandboxWish};
use crate::counters::{CounterSet, Distribution};
use crate::gateway::Refusals;
use crate::host::Live;
use crate::host::realtime::{Locked, isolated, lock_memory};
use crate::host::sandbox::Sandbox;
use crate::net::capture::{CaptureCounters, CycleStart};
use crate::net::xdp::{Duties, Nic, Path};
use crate::publisher::Released;
use crate::store::{Control, Day};
use crate::types::Nanos;
use capture::Recorder;
use place::{COLD_PARK_NS, PATIENT, Placement, Waiting, thread_name};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A running venue.
pub struct Venue {
    runners: Vec<RunnerHandle>,
    stop: Arc<AtomicBool>,
    day: Day,
    /// What the start found.
    pub facts: Facts,
    /// Where the engine stands.
    pub status: Arc<EngineStatus>,
    /// Datagram received -> report handed to the socket.
    pub inside: Arc<Distribution>,
    /// Counters of the agents.
    pub counters: Vec<Arc<dyn CounterSet>>,
    /// How far the feed has left.
    pub released: Released,
    /// Where the end of the day stands.
    pub ending: Ending,
    /// Logins that were refused.
    pub refusals: Arc<Refusals>,
    /// The way that datagrams take.
    pub path: Path,
    /// Better ways that were tried, and why each was refused.
    pub path_refusals: Vec<String>,
    /// What this host does not give the threads that the configuration asks for, a sentence each.
    pub host_notes: Vec<String>,
    /// Memory that stays in memory.
    pub memory_locked: Locked,
    recorder: Option<Recorder>,
}

/// Threads that wait at the gate. A start that fails lets them through to their end: asleep for ever
/// they would hold the day's files.
struct Started {
    handles: Vec<RunnerHandle>,
    recorder: Option<Recorder>,
    stop: Arc<AtomicBool>,
    gate: Arc<Gate>,
}

impl Started {
    fn push(&mut self, handle: RunnerHandle) {
        self.handles.push(handle);
    }

    /// Lets them run.
    fn release(mut self) -> (Vec<RunnerHandle>, Option<Recorder>) {
        self.gate.open();
        (std::mem::take(&mut self.handles), self.recorder.take())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if self.handles.is_empty() && self.recorder.is_none() {
            return;
        }
        self.stop.store(true, Ordering::Release);
        self.gate.open();
        // What made the start fail is the error to tell.
        crate::agent::join_all(std::mem::take(&mut self.handles)).ok();
        if let Some(recorder) = self.recorder.take() {
            recorder.end();
        }
    }
}

/// Locks the process' memory as the configuration wishes; what could not be is a note, or no start.
fn lock(config: &Config, notes: &mut Vec<String>) -> Result<Locked, StartError> {
    let spins = config.threads.iter().any(|thread| thread.idle == Idle::Spin);
    match config.host.lock_memory {
        LockMemory::Off => Ok(Locked::Nothing),
        LockMemory::Auto if !spins => Ok(Locked::Nothing),
        wish => match lock_memory() {
            Ok(locked) => Ok(locked),
            Err(cause) if wish == LockMemory::On => {
                let what =
                    "[host] lock_memory = \"on\" (it takes CAP_IPC_LOCK or LimitMEMLOCK=infinity)";
                Err(StartError::Host { what, cause })
            }
            Err(error) => {
                notes.push(format!(
                    "memory is not locked: {error}. It takes CAP_IPC_LOCK or LimitMEMLOCK=infinity"
                ));
                Ok(Locked::Nothing)
            }
        },
    }
}

impl Venue {
    /// Starts everything; returns when the venue serves.
    pub fn start(config: &Config, clock: SystemClock) -> Result<Venue, StartError> {
        Venue::start_in(config, clock, &mut Sandbox::new(SandboxWish::Off, Vec::new()))
    }

    /// As [`Venue::start`]; then the process is inside `sandbox` and can start no further venue.
    pub fn start_in(
        config: &Config,
        clock: SystemClock,
        sandbox: &mut Sandbox,
    ) -> Result<Venue, StartError> {
        let capture = capture::capture(config);
        let (surroundings, way) = host::surroundings(config, clock, capture.as_ref())?;
        let mut assembly = assemble(config, surroundings)?;
        // Behind the assembly: each of its ports has its lanes by now.
        let duties = way.nic.map(Nic::start).transpose();
        let mut duties =
            duties.map_err(|cause| StartError::Path { path: config.network.path.text(), cause })?;
        let writer = capture::writer(config, capture)?;
        let usable = usable_cores(config.threads.iter().filter_map(|thread| thread.cpu));
        let mut placement = Placement::of(config, &usable, &isolated(&Live::host()));
        let memory_locked = lock(config, &mut placement.notes)?;
        let raised = placement.raise();
        // Threads inherit what their maker has given up.
        let hot = assembly.day.hot_dir();
        let mut dirs = vec![config.data.as_path(), hot.parent().unwrap_or(hot)];
        dirs.extend(config.capture.as_ref().map(|capture| capture.directory.as_path()));
        sandbox.before_threads(&dirs)?;
        let stop = Arc::new(AtomicBool::new(false));
        let gate = Arc::new(Gate::default());
        let plain = || RunnerOptions {
            gate: Some(gate.clone()),
            scheduling: raised.own,
            idle: PATIENT,
            park_ns_max: COLD_PARK_NS,
            ..RunnerOptions::new(clock, stop.clone())
        };
        let mut runners =
            Started { handles: Vec::new(), recorder: None, stop: stop.clone(), gate: gate.clone() };
        if let Some(preparer) = assembly.preparer.take() {
            // On a thread of its own: a slow fdatasync of the archiver must not delay the segment
            // that the order path writes next.
            let handle = Runner::spawn("rialto-preparer", vec![Box::new(preparer)], plain())
                .map_err(|cause| StartError::Host { what: "start a thread", cause })?;
            runners.push(handle);
        }
        runners.recorder = writer.map(|writer| Recorder::start(writer, plain())).transpose()?;
        if let Some(recorder) = &runners.recorder {
            assembly.counters.push(recorder.counters.clone());
        }
        let (mut receive, mut transmit) = (None, None);
        if let Some(Duties { receive: r, transmit: t, errand, park_fds, counters }) = duties.take()
        {
            let options = RunnerOptions { park_fds, ..plain() };
            let handle = Runner::spawn("rialto-nic", vec![Box::new(errand)], options)
                .map_err(|cause| StartError::Host { what: "start a thread", cause })?;
            runners.push(handle);
            assembly.counters.push(counters);
            (receive, transmit) = (Some(r), Some(t));
        }
        for (thread, scheduling) in config.threads.iter().zip(&placement.scheduling) {
            let waiting = Waiting::of(thread, config.durability);
            let mut options = RunnerOptions {
                core: thread.cpu,
                idle: waiting.idle,
                park_ns_max: waiting.park_ns,
                cycle_budget_ns: thread.cycle_budget_ns,
                scheduling: *scheduling,
                stages: config.observe.stages,
                ..plain()
            };
            let mut placed: Vec<Box<dyn Agent + Send>> = Vec::new();
            if runners.recorder.is_some() {
                placed.push(Box::new(CycleStart));
            }
            let has = |name| thread.agents.contains(&name);
            // Frames come in before the first who reads them, and leave behind the last who writes.
            if let Some(receive) = receive.take_if(|_| has(AgentName::Ingress)) {
                placed.push(Box::new(receive));
            }
            for found in assembly.take(&thread.agents) {
                options.park_fds.extend(found.poll_fd);
                placed.push(found.agent);
            }
            if let Some(transmit) = transmit.take_if(|_| has(AgentName::Egress)) {
                placed.push(Box::new(transmit));
            }
            let handle = Runner::spawn(thread_name(thread), placed, options)
                .map_err(|cause| StartError::Host { what: "start a thread", cause })?;
            runners.push(handle);
        }
        // This thread comes down first: soon somebody spins before everybody else, and the filter
        // lets nobody change his class.
        drop(raised);
        sandbox.after_threads()?;
        let (runners, recorder) = runners.release();
        Ok(Venue {
            runners,
            stop,
            day: assembly.day,
            facts: assembly.facts,
            status: assembly.status,
            inside: assembly.inside,
            counters: assembly.counters,
            released: assembly.released,
            ending: assembly.ending,
            refusals: assembly.refusals,
            path: way.path,
            path_refusals: way.why,
            host_notes: placement.notes,
            memory_locked,
            recorder,
        })
    }

    /// False once any thread has ended.
    pub fn is_running(&self) -> bool {
        !self.stop.load(Ordering::Acquire) && self.runners.iter().all(|r| !r.is_finished())
    }

    /// Threads, for their counters.
    pub fn runners(&self) -> &[RunnerHandle] {
        &self.runners
    }

    /// Counters of the capture, if there is one.
    pub fn capture(&self) -> Option<Arc<CaptureCounters>> {
        self.recorder.as_ref().map(|recorder| recorder.counters.clone())
    }

    /// The control page: marks of both logs.
    pub fn control(&self) -> &Arc<Control> {
        self.day.control()
    }

    /// False once the day is over, told and was served for `linger_ns`: [`Ending::is_served`]. Then
    /// [`Venue::end`].
    pub fn is_served(&self, linger_ns: u64, now: Nanos) -> bool {
        self.ending.is_served(self.facts.ready, linger_ns, now)
    }

    /// Goes silent: ends the threads; no message says so. Err: one had panicked. Afterwards the
    /// archive has everything, as far as the disk takes it; false when it has not.
    pub fn stop(self) -> Result<bool, AgentPanic> {
        self.close(false)
    }

    /// As [`Venue::stop`], and a day that is over is noted as ended, so that the next one can begin.
    pub fn end(self) -> Result<bool, AgentPanic> {
        self.close(true)
    }

    fn close(self, end: bool) -> Result<bool, AgentPanic> {
        self.stop.store(true, Ordering::Release);
        let joined = crate::agent::join_all(self.runners);
        if let Some(recorder) = self.recorder {
            recorder.end();
        }
        joined?;
        let over = self.status.day_over().filter(|_| end).map(|_| self.status.state_hash().1);
        match close_day(self.day, over) {
            Ok(true) => return Ok(true),
            Ok(false) => tracing::warn!("the archive lacks what only the hot tier holds"),
            Err(error) => tracing::warn!("the archive lacks what only the hot tier holds: {error}"),
        }
        Ok(false)
    }
}
