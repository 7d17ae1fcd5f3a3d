//! Assembly: a checked configuration and its surroundings -> agents and the links between them, in
//! flow order. The only place where agents meet.
//!
//! Consumes [`Config`] and [`Surroundings`]; everything from outside comes in through those, so that
//! a simulator assembles the very same agents. Produces an [`Assembly`]: nothing runs yet. Must not
//! know threads or sockets.

use super::day::{commit_what_is_written, open_day};
use super::{Ending, StartError, promise, recover};
use crate::agent::Agent;
use crate::board::{EngineStatus, SessionBoard};
use crate::clock::Clock;
use crate::config::{AgentName, Config, Schedule};
use crate::counters::{CounterSet, Distribution, ReceiptBoard};
use crate::exchange::command::{Phase, kind};
use crate::exchange::genesis::Genesis;
use crate::gateway::{self, Egress, EgressLinks, Entropy, Ingress, Network, Rate, Replayer};
use crate::guard::Crash;
use crate::net::{AnyPort, Port};
use crate::publisher::{Publisher, PublisherConfig, Released};
use crate::retransmitter::{self, Retransmitter, RetransmitterConfig};
use crate::ring::ring;
use crate::sequencer::inbound::{Inbound, InboundOptions};
use crate::store::{ArchiverOptions, CommitPolicy, Cut, Day, LogIndex, Medium, Preparer, Storage};
use crate::timer::{self, Timer};
use crate::types::*;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::Arc;

/// Slots of the ring from a gateway to the sequencer: 64 datagrams of 64 blocks.
const GATEWAY_RING_SLOTS: usize = 4_096;
/// Slots of the timer's ring: a SessionDown for each of many sessions at once.
const TIMER_RING_SLOTS: usize = 1_024;
/// Commands whose receipt is remembered for the latency inside: a third of a second at peak.
const RECEIPT_SLOTS: usize = 65_536;
/// Spare counter of the control page that holds how far the feed has left.
const RELEASED_COUNTER: usize = 0;
/// Repair answers that a client may get at once, bytes: 16 packets.
const REPAIR_BURST_MIN: u64 = 16 * 1_400;
/// A start whose event log has had no room for so long is given up: the archive's disk is full, not
/// slow. Longer than a few syncs of a bad disk.
const ROOM_WAIT_NS: u64 = 10_000_000_000;
/// Term of a venue of one node.
const TERM: u32 = 1;
/// Recovery of more commands than this takes a while and is told before it begins (about 1 s).
const RECOVERY_TOLD: u64 = 1_000_000;

/// Where datagrams come in and go out.
pub struct Ports {
    /// Orders and reports.
    pub gateway: AnyPort,
    /// Sends lines A and B.
    pub feed: AnyPort,
    /// Repair requests and their answers.
    pub repair: AnyPort,
}

/// Everything that reaches a venue from outside.
pub struct Surroundings<C> {
    /// Time.
    pub clock: C,
    /// Files of the logs.
    pub storage: Arc<dyn Storage>,
    /// Root of the hot tier of a day that begins.
    pub hot: PathBuf,
    /// Network.
    pub ports: Ports,
    /// Random numbers: the day's hash seed, the gateway's key, tokens.
    pub entropy: Entropy,
}

/// One agent, and the descriptor that its thread may wait on.
pub struct PlacedAgent {
    /// Which.
    pub name: AgentName,
    /// It.
    pub agent: Box<dyn Agent + Send>,
    /// Readable when it has something to receive.
    pub poll_fd: Option<RawFd>,
}

/// A venue that stands still: whoever calls its agents makes it run.
pub struct Assembly {
    /// The agents, in flow order.
    pub agents: Vec<PlacedAgent>,
    /// Prepares segments ahead, apart from the archiver: a slow disk must not delay it. On a thread
    /// (or in a step) of its own.
    pub preparer: Option<Preparer>,
    /// The day's logs; drop it after the agents.
    pub day: Day,
    /// The day's Genesis.
    pub genesis: Genesis,
    /// What the start found.
    pub facts: Facts,
    /// Bindings of the sessions.
    pub board: Arc<SessionBoard>,
    /// Where the engine stands.
    pub status: Arc<EngineStatus>,
    /// Datagram received -> report handed to the port.
    pub inside: Arc<Distribution>,
    /// Counters of the agents.
    pub counters: Vec<Arc<dyn CounterSet>>,
    /// How far the feed has left.
    pub released: Released,
    /// Where the end of the day stands.
    pub ending: Ending,
    /// Logins that were refused.
    pub refusals: Arc<gateway::Refusals>,
}

impl Assembly {
    /// Takes the agents of one thread; the configuration places each exactly once. A sequencer that
    /// ingress owns is not among them: ingress is its agent.
    pub fn take(&mut self, names: &[AgentName]) -> Vec<PlacedAgent> {
        let take = |name: &AgentName| {
            let at = self.agents.iter().position(|a| a.name == *name)?;
            Some(self.agents.remove(at))
        };
        names.iter().filter_map(take).collect()
    }
}

/// Facts of a start, for the line that says ready.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Directory of the day.
    pub day: PathBuf,
    /// What the hot tier lies on.
    pub medium: Medium,
    /// Commands found in the log.
    pub commands: u64,
    /// Of these, commands that a snapshot covered; 0 = all were done again.
    pub snapshot: Seq,
    /// Bytes that the hot tier's file system lacks for the segments it may grow to; 0 = enough.
    pub hot_missing_bytes: u64,
    /// A torn tail that was cut off the command log.
    pub cut: Option<Cut>,
    /// Time that recovery took, ns.
    pub recovery_ns: u64,
    /// When it was over.
    pub ready: Nanos,
    /// Its parts in their order, with the time each took, ns.
    pub recovery_parts: Vec<(&'static str, u64)>,
    /// The command before which the venue stands, and what it did to earlier runs.
    pub halted: Option<Crash>,
    /// True when the configuration says something else than the day's Genesis: it counts tomorrow.
    pub configuration_differs: bool,
    /// The ended day that this one began with the holdings of; `None` when it was begun before, or
    /// is the first.
    pub carried_from: Option<PathBuf>,
    /// When the day ends; `None` = not by itself.
    pub ends: Option<Nanos>,
    /// Its end had come before the start: it was opened to be ended.
    pub ended_late: bool,
}

/// Opens the day, recovers it and wires its agents. On return everything found in the command log is
/// applied.
pub fn assemble<C: Clock + Clone + Send + 'static>(
    config: &Config,
    surroundings: Surroundings<C>,
) -> Result<Assembly, StartError> {
    let Surroundings { clock, storage, hot, ports, mut entropy } = surroundings;
    let begun = clock.now();
    let mut parts = Parts { all: Vec::new(), last: begun };
    let mut day = open_day(config, storage, &hot, begun)?;
    parts.note("logs", clock.now());
    let (genesis, configuration_differs) = day.genesis(config, clock.now(), draw(&mut entropy)?)?;
    let loaded = day.snapshot.take();
    let behind = day.found - loaded.as_ref().map_or(0, |l| l.commands().seq.0);
    if behind > RECOVERY_TOLD {
        tracing::info!("recovery: replaying {behind} of {} commands of the day", day.found);
    }
    let control = day.day.control().clone();
    let (command_log, event_log) =
        (day.day.log(LogIndex::Command).clone(), day.day.log(LogIndex::Event).clone());
    if day.policy == CommitPolicy::Memory {
        promise::note_memory(&*day.storage, day.day.dir())?;
    }
    let existing = event_log.reader_unbounded()?;
    let command_writer = command_log.writer(&day.commands)?;
    let event_writer = event_log.writer(&day.events)?;
    let mut archiver = day.day.archiver(ArchiverOptions::for_policy(day.policy))?;

    let sessions = genesis.sessions.len();
    let board = SessionBoard::new(sessions);
    let status = EngineStatus::new();
    let receipts = ReceiptBoard::new(RECEIPT_SLOTS);
    // On one thread ingress needs no ring to the sequencer: it owns it.
    let front = [AgentName::Ingress, AgentName::Sequencer];
    let joined = config.threads.iter().any(|t| front.iter().all(|name| t.agents.contains(name)));
    let (gateway_sequencer, from_gateway) = (!joined).then(|| ring(GATEWAY_RING_SLOTS)).unzip();
    let (timer_sequencer, from_timer) = ring(TIMER_RING_SLOTS);
    let (ingress_egress, asks) = ring(gateway::ASK_SLOTS);
    let (egress_replayer, replays) = ring(gateway::ASK_SLOTS);

    let mut inbound = Inbound::new(InboundOptions {
        writer: command_writer,
        control: control.clone(),
        policy: day.policy,
        term: TERM,
        last_time: day.commands.last_time,
        receipts: receipts.clone(),
        rings: from_gateway.into_iter().chain([from_timer]).collect(),
    });
    if inbound.next_seq() == Seq(1) {
        let bytes = day.genesis.as_deref().unwrap_or_default();
        // The day begins when the start took it up: whoever reads the record counts from there too.
        inbound.append_now(kind::GENESIS, bytes, day.begun).map_err(StartError::FirstRecord)?;
    }
    if control.archived(LogIndex::Command).seq == Seq(0) {
        // Whatever memory loses from here on, the disk knows that the day was begun: it is not begun
        // under the same names again.
        archiver.drain()?;
    }
    commit_what_is_written(day.policy, &control, &mut archiver, &clock)?;
    if day.policy == CommitPolicy::Disk {
        promise::note_disk(&*day.storage, day.day.dir())?;
    }

    parts.note("writers", clock.now());
    let outbound = recover::outbound(
        loaded.as_ref(),
        event_writer,
        existing,
        control.clone(),
        (TERM, sessions),
    );
    let guard = day.guard.clone();
    // Waits as long as the disk gets on: a slow one is no reason not to start.
    let mut stuck = (Seq(0), clock.now());
    let (engine, resumed) =
        recover::engine(loaded, &command_log, outbound, status.clone(), guard, || {
            let now = clock.now();
            archiver.duty_cycle(now);
            let written = control.written(LogIndex::Event).seq;
            if written != stuck.0 {
                stuck = (written, now);
            }
            now.since(stuck.1) < ROOM_WAIT_NS
        })?;
    parts.note("commands", clock.now());
    if status.halted_before().is_some() {
        board.halt();
    }

    let ends = day.ends(config);
    if !status.day_ended() {
        day.refuse_passed(ends)?;
    }
    let ended_late = ends.is_some_and(|end| clock.now() >= end) && !status.day_ended();
    if ended_late {
        // Before anything that clients may have sent meanwhile.
        inbound.append_now(kind::END_OF_DAY, &[], clock.now()).map_err(StartError::FirstRecord)?;
    }

    let gateway_config = gateway_config(config, &genesis, &mut entropy)?;
    let clone = |port: &AnyPort| {
        port.try_clone().map_err(|cause| StartError::Host {
            what: "a second handle on the gateway's socket",
            cause,
        })
    };
    let (egress_port, replayer_port) = (clone(&ports.gateway)?, clone(&ports.gateway)?);
    let gateway_fd = ports.gateway.poll_fd();
    let inbound_counters = inbound.counters();
    let (port, facts) = (ports.gateway, board.clone());
    let (told, ingress, inbound): (_, Box<dyn Agent + Send>, _) = match gateway_sequencer {
        Some(ring) => {
            let new = Ingress::new(&gateway_config, port, ring, ingress_egress, facts, entropy);
            ((new.counters(), new.refusals()), Box::new(new), Some(inbound))
        }
        None => {
            let new = Ingress::new(&gateway_config, port, inbound, ingress_egress, facts, entropy);
            ((new.counters(), new.refusals()), Box::new(new), None)
        }
    };
    let (ingress_counters, refusals) = told;
    let links = EgressLinks {
        events: event_log.reader()?.trusted(),
        asks,
        replays: egress_replayer,
        board: board.clone(),
        receipts,
    };
    let mut egress = Egress::new(&gateway_config, egress_port, clock.clone(), links);
    if let Some(resumed) = &resumed {
        resumed.egress(&mut egress)?;
    }
    egress.recover(clock.now())?;
    parts.note("sessions", clock.now());
    let mut replayer = Replayer::new(
        &gateway_config,
        replayer_port,
        event_log.reader()?.trusted(),
        event_log.reader()?,
        replays,
        board.clone(),
    );

    if let Some(resumed) = &resumed {
        resumed.replayer(&mut replayer);
    }

    let released = Released::in_page(control, RELEASED_COUNTER);
    let publisher_config = PublisherConfig {
        group_a: config.feed.a,
        group_b: config.feed.b,
        session: genesis.feed_session(),
        midnight: genesis.midnight,
    };
    let mut publisher =
        Publisher::new(publisher_config, ports.feed, None, &event_log, released.clone())?;
    publisher.resume()?;
    let mut repair = RetransmitterConfig::new(genesis.feed_session(), genesis.midnight);
    repair.per_client = retransmitter::Rate {
        bytes_per_second: config.feed.repair_bytes_per_second,
        // At least some packets at once, however low the rate.
        burst_bytes: (config.feed.repair_bytes_per_second / 8).max(REPAIR_BURST_MIN),
    };
    let repair_fd = ports.repair.poll_fd();
    let mut retransmitter = Retransmitter::new(repair, ports.repair, &event_log, released.clone())?;
    if let Some(resumed) = &resumed {
        resumed.retransmitter(&mut retransmitter);
    }
    let timer =
        Timer::new(timer_sequencer, board.clone(), status.clone(), schedule(config, &genesis))
            .with_ladder(day.day.control().clone())
            .ends(ends);

    parts.note("feed", clock.now());
    let preparer = archiver.take_preparer();
    let inside = egress.latency();
    let counters: Vec<Arc<dyn CounterSet>> = vec![
        ingress_counters,
        inbound_counters,
        engine.counters(),
        engine.outbound_counters(),
        publisher.counters(),
        egress.counters(),
        replayer.counters(),
        retransmitter.counters(),
        timer.counters(),
    ];
    let agent = |name, agent: Box<dyn Agent + Send>, poll_fd| PlacedAgent { name, agent, poll_fd };
    let mut agents = vec![agent(AgentName::Ingress, ingress, gateway_fd)];
    agents.extend(inbound.map(|inbound| agent(AgentName::Sequencer, Box::new(inbound), None)));
    agents.extend([
        agent(AgentName::Engine, Box::new(engine), None),
        agent(AgentName::Publisher, Box::new(publisher), None),
        agent(AgentName::Egress, Box::new(egress), None),
        agent(AgentName::Timer, Box::new(timer), None),
        agent(AgentName::Replayer, Box::new(replayer), None),
        agent(AgentName::Retransmitter, Box::new(retransmitter), repair_fd),
        agent(AgentName::Archiver, Box::new(archiver), None),
    ]);
    let facts = Facts {
        day: day.day.dir().to_path_buf(),
        medium: day.day.medium(),
        hot_missing_bytes: day.day.hot_missing_bytes(),
        commands: day.found,
        snapshot: resumed.as_ref().map_or(Seq(0), |r| r.commands()),
        cut: day.cut.take(),
        recovery_ns: clock.now().since(begun),
        ready: clock.now(),
        recovery_parts: parts.all,
        halted: day.guard.halted_before().and(day.guard.crash().cloned()),
        configuration_differs,
        carried_from: day.plan.from.filter(|_| day.found == 0).map(|ended| ended.dir),
        ends,
        ended_late,
    };
    let ending = Ending::new(status.clone(), board.clone(), released.clone());
    Ok(Assembly {
        agents,
        preparer,
        day: day.day,
        genesis,
        facts,
        board,
        status,
        inside,
        counters,
        released,
        ending,
        refusals,
    })
}

/// Where the time of a start goes.
struct Parts {
    all: Vec<(&'static str, u64)>,
    last: Nanos,
}

impl Parts {
    fn note(&mut self, name: &'static str, now: Nanos) {
        self.all.push((name, now.since(self.last)));
        self.last = now;
    }
}

fn draw(entropy: &mut Entropy) -> Result<u64, StartError> {
    entropy.draw().ok_or_else(|| StartError::Host {
        what: "random numbers",
        cause: std::io::Error::other("the host gives none"),
    })
}

fn gateway_config(
    config: &Config,
    genesis: &Genesis,
    entropy: &mut Entropy,
) -> Result<gateway::GatewayConfig, StartError> {
    let key = match config.gateway.key {
        Some(key) => key,
        None => {
            let mut key = [0; 32];
            for chunk in key.chunks_exact_mut(8) {
                chunk.copy_from_slice(&draw(entropy)?.to_le_bytes());
            }
            key
        }
    };
    let mut out = gateway::GatewayConfig::new(config.gateway.public, key, genesis.midnight);
    out.epoch = TERM;
    out.reports_kept = config.reports_kept.unwrap_or(out.reports_kept);
    out.accounts = genesis.accounts.iter().map(|a| a.name).collect();
    for (i, spec) in genesis.sessions.iter().enumerate() {
        let name = genesis.downstream_name(SessionSlot(i as u16)).unwrap_or_default();
        // Sessions are the day's (Genesis); keys and rates are the configuration's. A user that the
        // configuration no longer has is closed.
        let known = config.sessions.iter().find(|s| s.spec.user == spec.user);
        out.sessions.push(gateway::SessionConfig {
            user: spec.user,
            name,
            key: known.map_or([0; 32], |s| s.key),
            allow: known
                .map(|s| s.allow.iter().map(|&(address, prefix)| Network { address, prefix }))
                .into_iter()
                .flatten()
                .collect(),
            rate: known.map_or(Rate::default(), |s| Rate { per_second: s.rate, burst: s.burst }),
            open: known.is_some(),
        });
    }
    Ok(out)
}

fn schedule(config: &Config, genesis: &Genesis) -> timer::Schedule {
    match config.schedule {
        Schedule::Immediate => timer::Schedule::OpenAtOnce,
        Schedule::Daily { open, close } => {
            let at = |s: u32| genesis.midnight.plus(s as u64 * 1_000_000_000);
            timer::Schedule::Times(vec![(at(open), Phase::Open), (at(close), Phase::Closed)])
        }
    }
}
