//! World: runs a plan. Processes, threads, time, crashes; one thread, one order of events.
//!
//! Consumes a [`Plan`]; produces an [`Outcome`]. A round steps every thread of the exchange and every
//! actor that is up and not frozen, in an order drawn anew; then time moves on: a little when there
//! was work, else to the next thing that can happen. Must not know what agents and actors do.

mod clock;
mod disk;
mod exchange;
mod host;
mod incidents;
mod ladder;
mod operator;
mod poison;
mod shadow;
mod snapshots;
mod waits;

use super::outcome::{Counts, Outcome};
use super::plan::{CRASHES_MIN, Incident, MS, ORDERS_MIN, Plan, Reduction, What};
use super::{
    Actor, Cast, Dice, EXCHANGE, Evidence, GATEWAY, Happening, Observer, Stage, Tally, Tap,
    Violation, When,
};
use crate::config::Config;
use crate::net::{MemoryNetwork, Taps};
use crate::shadow::Shadow;
use crate::types::*;
use disk::DiskSeen;
use exchange::Exchange;
use host::Host;
use ladder::Ladder;
use poison::{Drill, Poison};
use snapshots::{Follows, SnapshotsSeen};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use waits::Waits;

/// Healing must be over after so long: longer than any back-off and any dead time together.
const HEALING_MAX: u64 = 60_000 * MS;
/// And takes so long at least: whoever lost the last message hears a heartbeat.
const HEALING_MIN: u64 = 1_200 * MS;
/// A run that never enters the orders of its plan is healed after so many times its planned length.
const RUN_MAX: u64 = 12;
/// And one that has not even had what every run has, after so many: ended days that are served for
/// long may take most of the time.
const RUN_MAX_POOR: u64 = 48;
/// A round in which something was done takes so long at most.
const BUSY_STEP_MAX: u64 = 400_000;
/// Time between two looks of the observer.
const CHECKPOINT: u64 = 2_000 * MS;
/// Time between two looks of the operator.
const OPERATOR: u64 = 50 * MS;
/// Number of a crash that no plan has.
const ADDED_INCIDENT: usize = 1_000;
/// Steps kept for the history.
const STEPS_KEPT: usize = 40;

/// Number of the shadow behind those of the threads and of the actors.
const SHADOW: u16 = 0xFFF;

/// An actor and whether it lives.
struct Life {
    actor: Box<dyn Actor>,
    up: bool,
    /// When it comes up again, while it is down.
    restart_at: u64,
}

/// What ends at a time set before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    Cut {
        actor: usize,
    },
    ClockStep,
    DiskFull,
    MemoryFull,
    SlowDisk,
    DiskError,
    /// The feed's thread stands still, and now the exchange dies.
    FeedBehind {
        down_ns: u64,
    },
}

/// Everything of one run.
struct World<'p> {
    plan: &'p Plan,
    config: Config,
    network: MemoryNetwork,
    host: Host,
    /// True time.
    now: u64,
    schedule: Dice,
    exchange: Option<Exchange>,
    /// The shadow's process, beside the exchange's.
    shadow: Option<Shadow>,
    /// Choices that have nothing to do with the order of steps.
    chance: Dice,
    /// When the exchange comes up again, while it is down.
    start_at: u64,
    /// Lives of the exchange so far: seeds its random numbers.
    lives_begun: u64,
    /// Agent steps until it dies.
    doom: Option<u64>,
    doomed_by: Option<Incident>,
    /// How far the machine's wall clock is off, ns.
    wall_ns: i64,
    /// The power was away since the exchange last served: memory is gone, and what a hot tier on a disk
    /// has left says nothing.
    power_was_away: bool,
    /// The operator agreed that the day is given up.
    given_up: bool,
    /// The next start dies at this storage operation, down for so long afterwards, power cut or not.
    crash_start: Option<(u64, u64, bool)>,
    /// The stop dies in this storage operation, power cut or not.
    crash_stop: Option<(u64, bool)>,
    /// The next closing of a day does, and is down for so long.
    crash_closing: Option<((u64, bool), u64)>,
    /// Rounds for which damage was put off.
    damage_looks: u32,
    /// Looks of the operator at a day that was over, since it or a start.
    over_looks: u64,
    /// What happens when a day is over.
    fail_when_over: Option<Incident>,
    /// What stands still when a day is about to end.
    freeze_over_end: Option<Incident>,
    /// A member's message kills the exchange as soon as one is about to be applied.
    poison: Option<Poison>,
    /// What one that did has led to.
    drill: Option<Drill>,
    /// Commands that the observers may have read.
    shown: Seq,
    /// The next death takes the power with it.
    power_fails: bool,
    /// How long it is down when a planned death inside storage comes.
    crash_down: u64,
    damage: Option<host::Damaged>,
    actors: Vec<Life>,
    observer: Box<dyn Observer>,
    next_incident: usize,
    /// Crashes whose time came while the exchange was down.
    put_off: Vec<Incident>,
    endings: Vec<(u64, Ending)>,
    checkpoint_at: u64,
    operator_at: u64,
    healing_since: Option<u64>,
    days: Vec<PathBuf>,
    counts: Counts,
    trace: u64,
    violations: Vec<Violation>,
    history: Option<Vec<String>>,
    steps: VecDeque<(u64, u16, u64)>,
    /// Seen in this run: cancels only, halted.
    modes: [bool; 2],
    ladder: Ladder,
    disk_seen: [DiskSeen; 2],
    /// Since when a log lacks its next segment though archived ones are in its way.
    cramped_since: Option<u64>,
    /// When archived events are held against the commands again.
    explained_at: u64,
    snapshots: SnapshotsSeen,
    follows: Follows,
    waits: Waits,
    order: Vec<u16>,
    taps: Taps,
    /// Since when datagrams wait at the gateway and nobody takes one.
    unread_since: Option<u64>,
}

/// Runs a plan to its end, or to its first violation. With `history` what happened is told line by
/// line; the run is the same.
pub fn run(plan: &Plan, history: bool) -> Outcome {
    let mut world = World::new(plan, history);
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| world.run())) {
        // An agent that panics is caught where it steps: this is the simulator itself.
        world.violate("the world panicked", exchange::panic_text(payload));
    }
    world.outcome()
}

impl<'p> World<'p> {
    fn new(plan: &'p Plan, history: bool) -> World<'p> {
        let host = Host::new(Dice::new(plan.seed, "storage").draw(), plan);
        let config = operator::config(plan, &host, b'A');
        let network = MemoryNetwork::simulated(Dice::new(plan.seed, "flight").draw());
        network.set_links(plan.network.links());
        // As a socket of the default size: 208 KiB.
        network.set_waiting_max(256);
        network.tap(EXCHANGE);
        let Cast { actors, observer } =
            super::actors::cast(&Stage { plan, config: &config, network: &network });
        let life = |actor| Life { actor, up: false, restart_at: plan.start };
        World {
            plan,
            config,
            network,
            host,
            now: plan.start,
            schedule: Dice::new(plan.seed, "schedule"),
            exchange: None,
            shadow: None,
            chance: Dice::new(plan.seed, "chance"),
            start_at: plan.start,
            lives_begun: 0,
            doom: None,
            doomed_by: None,
            wall_ns: 0,
            power_was_away: false,
            given_up: false,
            crash_start: None,
            crash_stop: None,
            crash_closing: None,
            damage_looks: 0,
            fail_when_over: None,
            freeze_over_end: None,
            over_looks: 0,
            poison: None,
            drill: None,
            shown: Seq(0),
            power_fails: false,
            crash_down: 0,
            damage: None,
            actors: actors.into_iter().map(life).collect(),
            observer,
            next_incident: 0,
            put_off: Vec::new(),
            endings: Vec::new(),
            checkpoint_at: plan.start + CHECKPOINT,
            operator_at: plan.start,
            healing_since: None,
            days: Vec::new(),
            counts: Counts::default(),
            trace: 0,
            violations: Vec::new(),
            history: history.then(Vec::new),
            steps: VecDeque::new(),
            modes: [false; 2],
            ladder: Ladder::default(),
            disk_seen: [DiskSeen::default(); 2],
            cramped_since: None,
            explained_at: plan.start,
            snapshots: SnapshotsSeen::default(),
            follows: Follows::default(),
            waits: Waits::default(),
            order: Vec::new(),
            taps: Taps::default(),
            unread_since: None,
        }
    }

    fn run(&mut self) {
        if self.history.is_some() {
            let names: Vec<&str> = self.plan.features.list().map(|f| f.text()).collect();
            self.note(|_| format!("features: {}", names.join(", ")));
        }
        while self.violations.is_empty() && !self.is_over() {
            self.happen();
            let arrives = self.network.advance(self.now);
            let work = self.round();
            self.check_ladder();
            self.check_reading();
            if self.now >= self.checkpoint_at {
                self.checkpoint_at = self.now + CHECKPOINT;
                self.check_confirmed();
                self.check(When::Checkpoint);
            }
            self.counts.rounds += 1;
            self.move_on(work, arrives);
        }
        if self.violations.is_empty() {
            self.finish();
        }
    }

    fn outcome(mut self) -> Outcome {
        let mut tally = Tally::default();
        for life in &self.actors {
            life.actor.tally(&mut tally);
        }
        self.counts.simulated_ns = self.now - self.plan.start;
        self.counts.cancel_only = u64::from(self.modes[0]);
        self.counts.halted = u64::from(self.modes[1]);
        self.mix(self.network.trace());
        for step in std::mem::take(&mut self.steps) {
            let (at, entity, work) = step;
            let name = self.entity_name(entity);
            let line = format!("{} {name} did {work}", self.clock_text(at));
            self.history.iter_mut().for_each(|h| h.push(line.clone()));
        }
        for violation in &self.violations {
            let line = format!(
                "{} VIOLATION {}: {}",
                self.clock_text(violation.at.0),
                violation.rule,
                violation.what
            );
            self.history.iter_mut().for_each(|h| h.push(line.clone()));
        }
        // Agents may hold mappings of the simulated host: they go first, as after a crash.
        self.kill_shadow();
        self.host.kill();
        self.exchange = None;
        Outcome {
            trace: self.trace,
            counts: self.counts,
            network: self.network.counts(),
            tally,
            violations: self.violations,
            history: self.history.unwrap_or_default(),
        }
    }

    /// Incidents, endings and restarts that are due.
    fn happen(&mut self) {
        while self.healing_since.is_none()
            && let Some(incident) = self.plan.incidents.get(self.next_incident)
            && self.plan.start + incident.at_ns <= self.now
        {
            self.next_incident += 1;
            self.strike(*incident);
        }
        if self.exchange.is_some()
            && self.doom.is_none()
            && self.healing_since.is_none()
            && let Some(incident) = self.put_off.pop()
        {
            self.strike(incident);
        }
        self.end_what_is_due();
        if self.exchange.is_none() && self.start_at <= self.now {
            self.start_exchange();
            // A start takes its time.
            self.end_what_is_due();
        }
        for index in 0..self.actors.len() {
            let life = &mut self.actors[index];
            if !life.up && life.restart_at <= self.now {
                life.up = true;
                life.actor.restart(Nanos(self.now));
                self.note(|w| format!("{} starts", w.actors[index].actor.name()));
                self.mix(0xA110_0000 + index as u64);
            }
        }
        if self.now >= self.operator_at {
            self.operator_at = self.now + OPERATOR;
            self.operate();
        }
        if self.healing_since.is_none() && self.is_time_to_heal() {
            if self.owes_crashes() && !self.has_run_for_long() {
                let what = What::Crash { down_ns: 20 * MS };
                self.strike(Incident {
                    number: ADDED_INCIDENT,
                    at_ns: self.now - self.plan.start,
                    what,
                });
            } else {
                self.heal();
            }
        }
    }

    fn end_what_is_due(&mut self) {
        let mut index = 0;
        while index < self.endings.len() {
            if self.endings[index].0 <= self.now {
                let (_, ending) = self.endings.remove(index);
                self.end(ending);
            } else {
                index += 1;
            }
        }
    }

    fn is_time_to_heal(&self) -> bool {
        let ran = self.now - self.plan.start;
        let had_all = self.put_off.is_empty() && self.doom.is_none();
        ran >= self.plan.run_ns
            && (had_all && self.orders() >= self.plan.orders || self.has_run_for_long())
    }

    fn has_run_for_long(&self) -> bool {
        let ran = self.now - self.plan.start;
        let is_poor = || self.orders() < self.plan.orders.min(ORDERS_MIN) || self.owes_crashes();
        let poor = ran >= self.plan.run_ns * RUN_MAX && is_poor();
        ran >= self.plan.run_ns * if poor { RUN_MAX_POOR } else { RUN_MAX }
    }

    /// A whole plan has two crashes of the exchange at least, also where its own fell into each other.
    fn owes_crashes(&self) -> bool {
        self.plan.reduction == Reduction::default() && self.counts.all_crashes() < CRASHES_MIN
    }

    fn orders(&self) -> u64 {
        let mut tally = Tally::default();
        for life in &self.actors {
            life.actor.tally(&mut tally);
        }
        tally.orders
    }

    /// Every thread of the exchange and every actor once, in random order; some threads not at all, or
    /// several times.
    fn round(&mut self) -> u64 {
        let threads = self.exchange.as_ref().map_or(0, Exchange::threads);
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        order.extend((0..threads as u16).chain((0..self.actors.len() as u16).map(|a| a + 0x100)));
        if self.shadow.is_some() {
            order.push(0x100 + SHADOW);
        }
        self.schedule.shuffle(&mut order);
        let mut work = 0;
        for &entity in &order {
            let done = match entity.checked_sub(0x100) {
                Some(SHADOW) => self.step_shadow(),
                Some(actor) => self.step_actor(actor as usize),
                None => {
                    let times = match self.schedule.below(8) {
                        0 => 0,
                        1 => self.schedule.between(2, 4),
                        _ => 1,
                    };
                    let mut done = 0;
                    for _ in 0..times {
                        done += self.step_thread(entity as usize);
                    }
                    done
                }
            };
            if done > 0 {
                self.mix(self.now ^ (u64::from(entity) << 48) ^ (done << 32));
                if self.history.is_some() {
                    if self.steps.len() == STEPS_KEPT {
                        self.steps.pop_front();
                    }
                    self.steps.push_back((self.now, entity, done));
                }
            }
            work += done;
        }
        self.order = order;
        work
    }

    fn step_actor(&mut self, index: usize) -> u64 {
        let life = &mut self.actors[index];
        if !life.up {
            return 0;
        }
        life.actor.step(Nanos(self.now)) as u64
    }

    /// A little when there was work; else to the next thing that can happen.
    fn move_on(&mut self, work: u64, arrives: Option<u64>) {
        if work > 0 {
            self.now += self.schedule.magnitude(1_000, BUSY_STEP_MAX);
            return;
        }
        let mut next = self.now + self.plan.idle_ns;
        let mut at = |time: u64| next = next.min(time);
        arrives.into_iter().for_each(&mut at);
        self.endings.iter().for_each(|(time, _)| at(*time));
        if let Some(incident) = self.plan.incidents.get(self.next_incident) {
            at(self.plan.start + incident.at_ns);
        }
        if self.exchange.is_none() {
            at(self.start_at);
        }
        for life in &self.actors {
            at(if life.up { life.actor.wake().0 } else { life.restart_at });
        }
        self.now = next.max(self.now + 1_000);
    }

    fn is_over(&mut self) -> bool {
        let Some(since) = self.healing_since else { return false };
        // Everybody has what he wants, and a while later still.
        let waiting = match &self.exchange {
            None => Some("the exchange is down".to_string()),
            Some(_) => self.actors.iter().find_map(|life| {
                let what = if life.up { life.actor.unfinished() } else { Some("down".into()) };
                what.map(|what| format!("{}: {what}", life.actor.name()))
            }),
        };
        match waiting {
            None => self.now >= since + HEALING_MIN,
            Some(what) if self.now >= since + HEALING_MAX => {
                self.violate("no progress after healing", what);
                true
            }
            Some(_) => false,
        }
    }

    /// Healing is over: everything is compared, then the exchange is stopped and started once more.
    fn finish(&mut self) {
        // An actor may have sent something in the last round.
        if !self.quiet() {
            return self
                .violate("no progress after healing", "the engine is behind its log".into());
        }
        self.check_waits_no_more();
        self.check(When::End);
        if !self.violations.is_empty() {
            return;
        }
        let before = self.exchange.as_ref().and_then(Exchange::state_hash);
        self.stop_exchange(0, false);
        self.start_exchange();
        let after = self.exchange.as_ref().and_then(Exchange::state_hash);
        if self.violations.is_empty() && before != after {
            self.violate("a restart changed the state", format!("{before:?}, then {after:?}"));
        }
    }

    fn check(&mut self, when: When) {
        self.shown = self.exchange.as_ref().map_or(Seq(0), Exchange::committed);
        let host = &self.host;
        let open = |dir: &Path| host.view(dir);
        let state_hash = self.exchange.as_ref().and_then(Exchange::state_hash);
        let evidence = Evidence { days: &self.days, state_hash, open: &open };
        let found = self.observer.check(when, &evidence, Nanos(self.now));
        self.violations.extend(found);
    }

    fn tell(&mut self, happening: Happening) {
        self.observer.on(&happening, Nanos(self.now));
        self.note(|_| format!("{happening:?}"));
    }

    /// Shows the observer what passed the exchange's ports.
    fn show_datagrams(&mut self, archived: Seq) {
        self.network.swap_taps(&mut self.taps);
        if self.taps.is_empty() {
            return;
        }
        let (observer, now) = (&mut self.observer, Nanos(self.now));
        let mut read = false;
        self.taps.each(|sent, local, peer, bytes| {
            read |= !sent && local == GATEWAY;
            observer.on_datagram(&Tap { sent, local, peer, bytes, archived }, now);
        });
        if let Some(since) = self.unread_since.filter(|_| read) {
            self.unread_since = None;
            let since = Nanos(since);
            self.observer.on(&Happening::Unread { since }, now);
        }
    }

    /// Notes when what waits at the gateway is taken again.
    fn check_reading(&mut self) {
        if self.exchange.is_none() {
            self.unread_since = None;
        } else if self.unread_since.is_none() && self.network.waits(GATEWAY) {
            self.unread_since = Some(self.now);
        }
    }

    fn violate(&mut self, rule: &'static str, what: String) {
        self.violations.push(Violation { rule, what, at: Nanos(self.now) });
    }

    fn mix(&mut self, word: u64) {
        self.trace = (self.trace.rotate_left(5) ^ word).wrapping_mul(0x517C_C1B7_2722_0A95);
    }

    fn note(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.history.is_some() {
            let line = format!("{} {}", self.clock_text(self.now), line(self));
            self.history.iter_mut().for_each(|h| h.push(line.clone()));
        }
    }

    /// Seconds since the start of the run.
    fn clock_text(&self, at: u64) -> String {
        let ns = at.saturating_sub(self.plan.start);
        format!("{:>4}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
    }

    fn entity_name(&self, entity: u16) -> String {
        match entity.checked_sub(0x100) {
            Some(SHADOW) => "shadow".into(),
            Some(actor) => self.actors[actor as usize].actor.name(),
            None => match &self.exchange {
                Some(exchange) => exchange.thread_name(entity as usize),
                None => format!("thread {entity}"),
            },
        }
    }
}
