//! The exchange's process: its threads, how they are stepped, how it starts and dies.

use super::clock::ProcessClock;
use super::poison::next_message;
use super::{MS, World};
use crate::agent::{Agent, HOUSEKEEPING_INTERVAL_NS};
use crate::board::EngineStatus;
use crate::clock::Clock;
use crate::config::{AgentName, Durability};
use crate::engine::EngineError;
use crate::gateway::Entropy;
use crate::net::AnyPort;
use crate::replay::ReplayError;
use crate::sim::{Dice, EXCHANGE, GATEWAY, Happening, REPAIR, When};
use crate::store::{Control, Day, LogIndex, ReadError, StoreError};
use crate::topology::{
    Assembly, Ending, Facts, Ports, StartError, Surroundings, assemble, close_day,
};
use crate::types::*;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

/// Turns that the archiver has before a process dies behind what it wrote.
const ARCHIVER_TURNS: u64 = 8;

/// One configured thread.
struct Thread {
    agents: Vec<Box<dyn Agent + Send>>,
    frozen_until: u64,
    housekeeping_at: u64,
}

/// One life of the process.
pub(super) struct Exchange {
    threads: Vec<Thread>,
    clock: ProcessClock,
    /// Its clock against true time.
    pub offset_ns: i64,
    status: Arc<EngineStatus>,
    ending: Ending,
    pub facts: Facts,
    /// Last: agents hold mappings of its files.
    pub day: Day,
}

impl Exchange {
    fn new(
        mut assembly: Assembly,
        plan_threads: &[Vec<usize>],
        clock: ProcessClock,
        offset_ns: i64,
    ) -> Exchange {
        let thread = |agents| Thread { agents, frozen_until: 0, housekeeping_at: 0 };
        let mut threads: Vec<Thread> = plan_threads
            .iter()
            .map(|names| {
                let names: Vec<AgentName> = names.iter().map(|&i| AgentName::ALL[i]).collect();
                thread(assembly.take(&names).into_iter().map(|placed| placed.agent).collect())
            })
            .collect();
        if let Some(preparer) = assembly.preparer.take() {
            threads.push(thread(vec![Box::new(preparer)]));
        }
        let Assembly { status, ending, facts, day, .. } = assembly;
        Exchange { threads, clock, offset_ns, status, ending, facts, day }
    }

    pub(super) fn threads(&self) -> usize {
        self.threads.len()
    }

    pub(super) fn thread_name(&self, thread: usize) -> String {
        let names: Vec<&str> = self.threads[thread].agents.iter().map(|a| a.name()).collect();
        names.join("+")
    }

    /// Returns the names of the agents that stand still.
    pub(super) fn freeze(&mut self, thread: Option<usize>, until: u64) -> Vec<&'static str> {
        let count = self.threads.len();
        let mut agents = Vec::new();
        for (index, other) in self.threads.iter_mut().enumerate() {
            if thread.is_none_or(|t| t % count == index) {
                other.frozen_until = other.frozen_until.max(until);
                agents.extend(other.agents.iter().map(|agent| agent.name()));
            }
        }
        agents
    }

    /// True while a thread stands still, those apart that nobody on the way of an order waits for.
    pub(super) fn is_frozen(&self, now: u64) -> bool {
        let aside = |agent: &dyn Agent| matches!(agent.name(), "archiver" | "preparer");
        let mut frozen = self.threads.iter().filter(|thread| thread.frozen_until > now);
        frozen.any(|thread| !thread.agents.iter().all(|agent| aside(&**agent)))
    }

    /// True while any thread stands still.
    pub(super) fn is_frozen_anywhere(&self, now: u64) -> bool {
        self.threads.iter().any(|thread| thread.frozen_until > now)
    }

    pub(super) fn thaw(&mut self) {
        self.threads.iter_mut().for_each(|t| t.frozen_until = 0);
    }

    pub(super) fn control(&self) -> &Arc<Control> {
        self.day.control()
    }

    /// Last command that anybody else can read.
    pub(super) fn committed(&self) -> Seq {
        self.control().committed(LogIndex::Command).seq
    }

    /// Where the engine stands.
    pub(super) fn status(&self) -> &EngineStatus {
        &self.status
    }

    /// The last command whose state hash the engine told, and that hash.
    pub(super) fn state_hash(&self) -> Option<(Seq, u64)> {
        Some(self.status.state_hash())
    }
}

/// How a start, or a step, ended otherwise than well.
enum Death {
    /// As planned.
    Simulated,
    /// A panic of ours.
    Panic(String),
}

impl Death {
    fn of(payload: Box<dyn Any + Send>) -> Death {
        if super::host::is_simulated_crash(payload.as_ref()) {
            return Death::Simulated;
        }
        Death::Panic(panic_text(payload))
    }
}

/// What a panic said, and where.
pub(super) fn panic_text(payload: Box<dyn Any + Send>) -> String {
    let text = payload.downcast_ref::<&str>().map(|s| s.to_string());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    let text = text.unwrap_or_else(|| "no text".into());
    let place = crate::sim::panics::last_place().unwrap_or_else(|| "place unknown".into());
    format!("{text} ({place})")
}

impl World<'_> {
    /// One cycle of a thread. The process may die in it.
    pub(super) fn step_thread(&mut self, index: usize) -> u64 {
        if index == self.archiver_thread() {
            self.note_backlog();
        }
        let now = self.now;
        let Some(exchange) = &mut self.exchange else { return 0 };
        let own_now = Nanos(now.wrapping_add_signed(exchange.offset_ns));
        exchange.clock.set(own_now.0);
        let Some(thread) = exchange.threads.get_mut(index) else { return 0 };
        if thread.frozen_until > now {
            return 0;
        }
        let (doom, poison, host) = (&mut self.doom, &self.poison, &self.host);
        let (status, day, shown) = (&exchange.status, &exchange.day, self.shown);
        let mut killer = None;
        let mut name = "";
        let result = catch_unwind(AssertUnwindSafe(|| {
            let mut work = 0;
            for agent in &mut thread.agents {
                if let Some(steps) = doom {
                    if *steps == 0 {
                        return None;
                    }
                    *steps -= 1;
                }
                name = agent.name();
                // A death that no disk can note has no second one.
                let deadly = poison.as_ref().filter(|_| name == "engine" && !host.is_troubled());
                killer = deadly.and_then(|_| next_message(host, day, status, shown));
                if killer.is_some() && deadly.is_some_and(|poison| !poison.behind) {
                    return None;
                }
                work += agent.duty_cycle(own_now);
                if killer.is_some() {
                    return None;
                }
            }
            if now >= thread.housekeeping_at {
                thread.housekeeping_at = now + HOUSEKEEPING_INTERVAL_NS;
                for agent in &mut thread.agents {
                    name = agent.name();
                    agent.housekeeping(own_now);
                }
            }
            Some(work as u64)
        }));
        let stall = self.host.take_stall_ns();
        if stall > 0 {
            thread.frozen_until = now + stall;
        }
        let archived = exchange.day.control().archived(LogIndex::Command).seq;
        self.show_datagrams(archived);
        match result {
            Ok(Some(work)) => return work,
            Ok(None) => {
                self.counts.crashes += u64::from(!self.power_fails);
                if killer.is_some() && self.poison.is_some_and(|poison| poison.behind) {
                    self.archive_on(own_now);
                }
                let down_ns = killer.map_or(self.crash_down, |killer| self.kill_by(killer));
                self.die(down_ns, Happening::Crashed);
            }
            Err(payload) => match Death::of(payload) {
                Death::Simulated => {
                    self.counts.crashes_in_storage += u64::from(!self.power_fails);
                    self.note(|_| format!("dies inside storage, in {name}"));
                    self.die(self.crash_down, Happening::Crashed);
                }
                Death::Panic(text) => {
                    self.violate("an agent panicked", format!("{name}: {text}"));
                    self.die(MS, Happening::Crashed);
                }
            },
        }
        0
    }

    /// The archiver's thread: the last of the plan's.
    pub(super) fn archiver_thread(&self) -> usize {
        self.plan.threads.len() - 1
    }

    /// The archiver goes on for a while.
    fn archive_on(&mut self, now: Nanos) {
        let archiver = self.archiver_thread();
        let Some(exchange) = &mut self.exchange else { return };
        let agents = &mut exchange.threads[archiver].agents;
        let result = catch_unwind(AssertUnwindSafe(|| {
            for agent in agents {
                for step in 1..=ARCHIVER_TURNS {
                    agent.duty_cycle(now.plus(step * 20 * MS));
                }
            }
        }));
        self.host.take_stall_ns();
        if let Err(payload) = result
            && let Death::Panic(text) = Death::of(payload)
        {
            self.violate("an agent panicked", format!("archiver: {text}"));
        }
    }

    /// The process is dead: nothing of it reaches anything any more. It is down for a while.
    pub(super) fn die(&mut self, down_ns: u64, happening: Happening) {
        self.kill_shadow();
        self.host.kill();
        self.tear_a_tail();
        self.exchange = None;
        self.doom = None;
        self.host.crash_at(None);
        self.host.crash_at_sync(None);
        self.start_at = self.now + down_ns;
        self.mix(0xDEAD);
        if !std::mem::take(&mut self.power_fails) {
            return self.tell(happening);
        }
        match self.plan.durability {
            Durability::Memory => self.counts.power_losses_memory += 1,
            Durability::Disk => self.counts.power_losses_disk += 1,
        }
        self.lose_power();
        self.power_was_away = true;
        self.tell(Happening::PowerLost);
    }

    /// The machine has no power. Of what was damaged before only what the archive holds must still be
    /// missed: no start has to read what a hot tier had.
    fn lose_power(&mut self) {
        if let Some(damage) = self.damage.take_if(|damage| damage.is_hot()) {
            self.host.mend(&damage);
        }
        self.host.lose_power();
        if let Some(damage) = &mut self.damage {
            self.host.spoil_copy(damage);
        }
    }

    /// Every third death comes in the middle of an append.
    fn tear_a_tail(&mut self) {
        let Some(exchange) = &self.exchange else { return };
        if !self.chance.percent(33) {
            return;
        }
        let log = if self.chance.percent(60) { LogIndex::Command } else { LogIndex::Event };
        let written = exchange.control().written(log).position;
        let bytes: Vec<u8> =
            (0..self.chance.between(1, 200)).map(|_| self.chance.draw() as u8).collect();
        let segment_bytes = self.plan.segment_bytes;
        self.host.tear(log, exchange.day.hot_dir(), written, segment_bytes, &bytes);
    }

    /// An ended day was served long enough: the next one begins.
    pub(super) fn end_day_when_served(&mut self) {
        let Some(exchange) = &self.exchange else { return };
        let own_now = Nanos(self.now.wrapping_add_signed(exchange.offset_ns));
        let linger_ns = self.config.day.linger_ns;
        if !exchange.ending.is_served(exchange.facts.ready, linger_ns, own_now) {
            self.tell(Happening::Closed { linger_ns });
            let (doomed, down_ns) = self.crash_closing.take().unzip();
            self.crash_stop = doomed;
            self.stop_exchange(down_ns.unwrap_or(MS), true);
        }
    }

    /// The thread that this agent runs on, when none of the others does.
    pub(super) fn thread_without(&self, agent: &str, others: &[&str]) -> Option<usize> {
        let on = |thread: &Thread, name| thread.agents.iter().any(|agent| agent.name() == name);
        let mut threads = self.exchange.as_ref()?.threads.iter();
        threads.position(|thread| on(thread, agent) && !others.iter().any(|name| on(thread, name)))
    }

    /// SIGTERM, or the end of a day: everything is archived, as far as the disk takes it.
    pub(super) fn stop_exchange(&mut self, down_ns: u64, end: bool) {
        self.kill_shadow();
        let Some(exchange) = self.exchange.take() else { return };
        let doomed = self.crash_stop.take();
        let power = doomed.is_some_and(|(_, power)| power);
        self.host.crash_at(doomed.map(|(operation, _)| operation));
        self.host.crash_at_sync(None);
        let dir = exchange.facts.day.clone();
        // Stopped before it could die: it dies another time.
        if self.doom.take().is_some() {
            self.put_off.extend(self.doomed_by.take());
        }
        self.power_fails = false;
        let Exchange { threads, day, status, .. } = exchange;
        let control = day.control().clone();
        let over = status.day_over().filter(|_| end).map(|_| status.state_hash().1);
        let result = catch_unwind(AssertUnwindSafe(move || {
            drop(threads);
            close_day(day, over)
        }));
        self.host.take_stall_ns();
        self.counts.stops += 1;
        self.start_at = self.now + down_ns;
        self.mix(0x570B);
        self.host.crash_at(None);
        match result {
            Ok(closed) => {
                let works = !self.host.is_troubled() && control.archive_failed().is_none();
                if works && !matches!(closed, Ok(true)) {
                    self.violate("a stop did not archive everything", format!("{closed:?}"));
                }
            }
            Err(payload) => match Death::of(payload) {
                Death::Simulated => {
                    self.power_fails = power;
                    self.counts.crashes_in_storage += u64::from(!self.power_fails);
                    self.note(|_| "dies while it stops".into());
                    self.die(down_ns, Happening::Crashed);
                    return self.check_ended(&dir);
                }
                Death::Panic(text) => {
                    self.violate("an agent panicked", format!("while stopping: {text}"));
                }
            },
        }
        self.host.kill();
        self.tell(Happening::Stopped);
        if power && self.violations.is_empty() {
            // It ended before it could die: then the machine does, with everything in the archive.
            self.power_fails = true;
            self.die(down_ns, Happening::PowerLost);
        }
        self.check_ended(&dir);
    }

    /// A start, with everything that may come of it.
    pub(super) fn start_exchange(&mut self) {
        self.lives_begun += 1;
        let doomed = self.crash_start.take();
        self.host.crash_at(doomed.map(|(operation, ..)| operation));
        let wall = self.now.wrapping_add_signed(self.wall_ns);
        let clock = ProcessClock::new(wall);
        let network = &self.network;
        let bind = || -> std::io::Result<Ports> {
            Ok(Ports {
                gateway: AnyPort::Memory(network.bind(GATEWAY)?),
                feed: AnyPort::Memory(network.multicast_sender(EXCHANGE)?),
                repair: AnyPort::Memory(network.bind(REPAIR)?),
            })
        };
        let ports = match bind() {
            Ok(ports) => ports,
            Err(error) => return self.violate("the simulated network", error.to_string()),
        };
        let surroundings = Surroundings {
            clock: clock.clone(),
            storage: self.host.storage(),
            hot: self.host.hot(),
            ports,
            entropy: Entropy::seeded(
                Dice::new(self.plan.seed, "entropy").draw() ^ self.lives_begun,
            ),
        };
        let config = &self.config;
        let result = catch_unwind(AssertUnwindSafe(|| assemble(config, surroundings)));
        let stall = self.host.take_stall_ns();
        // Who died while he started cannot say any more how far he had archived.
        let archived = match &result {
            Ok(Ok(assembly)) => assembly.day.control().archived(LogIndex::Command).seq,
            _ => Seq(u64::MAX),
        };
        self.show_datagrams(archived);
        let took = clock.now().0.saturating_sub(wall) + stall;
        match result {
            Ok(Ok(assembly)) => {
                self.host.crash_at(None);
                let exchange = Exchange::new(assembly, &self.plan.threads, clock, self.wall_ns);
                self.serve(exchange, took);
            }
            Ok(Err(error)) => {
                self.host.kill();
                self.host.crash_at(None);
                self.refused(error);
            }
            Err(payload) => match Death::of(payload) {
                Death::Simulated => {
                    let (_, down_ns, power) = doomed.unwrap_or((0, MS, false));
                    self.power_fails = power;
                    self.counts.crashes_in_recovery += u64::from(!power);
                    self.note(|_| "dies while it starts".into());
                    self.die(down_ns, Happening::Crashed);
                }
                Death::Panic(text) => {
                    self.violate("an agent panicked", format!("while starting: {text}"));
                    self.die(MS, Happening::Crashed);
                }
            },
        }
    }

    fn serve(&mut self, mut exchange: Exchange, took: u64) {
        self.now += took;
        exchange.facts.ready = Nanos(self.now.wrapping_add_signed(exchange.offset_ns));
        let facts = &exchange.facts;
        self.counts.starts += 1;
        self.counts.tails_cut += u64::from(facts.cut.is_some());
        let from_snapshot = facts.snapshot.0 > 0;
        self.counts.snapshots_used += u64::from(from_snapshot);
        let (day, commands) = (facts.day.clone(), facts.commands);
        if self.days.last() != Some(&day) {
            self.counts.days_rolled += u64::from(facts.carried_from.is_some());
            if incarnation_of(&day) > b'A' && !self.given_up {
                self.violate("a day began anew without an operator's word", format!("{day:?}"));
            }
            self.days.push(day.clone());
        }
        self.given_up = false;
        self.power_was_away = false;
        self.over_looks = 0;
        self.exchange = Some(exchange);
        self.check_drill();
        self.mix(0x5EA7 ^ commands << 16);
        if let Some(damage) = self.damage.take() {
            self.host.mend(&damage);
            // Behind a snapshot nobody reads it; the observers must not trip over it.
            if !from_snapshot {
                self.violate("a start with damaged confirmed bytes", format!("{damage:?}"));
            }
        }
        let begun = Nanos(self.now - took);
        self.tell(Happening::Up { day, commands, begun });
        self.check_tails();
        self.check_given_back();
        self.check_snapshots_taken();
        self.check_confirmed();
        self.check(When::AfterStart);
    }

    /// A day may lack what level `memory` had acknowledged: the power was away, and its archive is not
    /// known to have everything (store.md, Recovery 8).
    fn may_lack_records(&self, day: &Path) -> bool {
        self.power_was_away
            && self.plan.durability == Durability::Memory
            && self.host.look(&day.join("sealed")).is_none()
    }

    /// A refused start: what an operator would do.
    fn refused(&mut self, error: StartError) {
        self.note(|_| format!("start refused: {error}"));
        self.mix(0x0EF5);
        self.start_at = self.now + 100 * MS;
        match &error {
            StartError::MemoryLost { day, wanted } if self.may_lack_records(day) => {
                self.counts.incarnations += 1;
                self.given_up = true;
                // Nobody takes it out again: it stands there on later days.
                let next = *wanted as u8;
                if next > b'Z' {
                    return self.violate("the world", "out of incarnations".into());
                }
                self.config = super::operator::config(self.plan, &self.host, next);
                // Nobody serves from that day any more.
                if let Some(damage) = self.damage.take() {
                    self.host.mend(&damage);
                }
                self.tell(Happening::MemoryLost { day: day.clone() });
            }
            StartError::BetweenDays { .. } => {}
            _ if self.host.is_troubled() && is_of_storage(&error) => {
                self.counts.starts_put_off += 1;
            }
            // By recovery or, behind a snapshot, by whoever reads the record.
            _ if self.damage.as_ref().is_some_and(|damage| damage.is_named(&error)) => {
                self.counts.damages_refused += 1;
                if let Some(damage) = self.damage.take() {
                    self.host.mend(&damage);
                }
            }
            _ => self.violate("a start was refused", error.to_string()),
        }
    }
}

/// True when a start gave up on what the storage refused it.
fn is_of_storage(error: &StartError) -> bool {
    match error {
        StartError::Store(cause) => matches!(cause, StoreError::Io { .. }),
        StartError::Read(ReadError::Open(cause)) => matches!(**cause, StoreError::Io { .. }),
        StartError::EndedDay { cause, .. } => !matches!(
            cause,
            ReplayError::Store(StoreError::Damaged { .. })
                | ReplayError::Read(ReadError::Damaged { .. })
        ),
        StartError::Archive(_) | StartError::Guard(_) | StartError::FirstRecord(_) => true,
        // The archive, which would make room, takes nothing.
        StartError::Engine(EngineError::NoRoom { .. }) => true,
        _ => false,
    }
}

/// `2025-01-02` -> A, `2025-01-02-B` -> B.
fn incarnation_of(day: &Path) -> u8 {
    let name = day.file_name().unwrap_or_default().as_encoded_bytes();
    name.get(11).copied().unwrap_or(b'A')
}
