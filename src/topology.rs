//! Topology: a checked configuration -> agents, links, threads, in flow order. The only place where
//! agents meet.
//!
//! Consumes [`Config`]; produces a running [`Venue`]. Everything that can fail fails here, before
//! the first thread spins: addresses, logs, recovery, Genesis.

use crate::agent::{Agent, AgentPanic, IdleStrategy, Runner, RunnerHandle, RunnerOptions};
use crate::board::{EngineStatus, SessionBoard};
use crate::clock::{Clock, SystemClock};
use crate::config::{AgentName, Config, Durability, HotTier, Idle, Schedule, date_text};
use crate::counters::{CounterSet, Distribution, ReceiptBoard};
use crate::engine::{Engine, EngineError};
use crate::exchange::command::{Phase, kind};
use crate::exchange::genesis::{Genesis, GenesisError};
use crate::gateway::{self, Egress, EgressLinks, Entropy, Ingress, Network, Rate, Replayer};
use crate::net::{AnyPort, LossyPort, Port, UdpPort};
use crate::publisher::{Publisher, PublisherConfig, Released};
use crate::retransmitter::{self, Retransmitter, RetransmitterConfig};
use crate::ring::ring;
use crate::sequencer::inbound::{Inbound, InboundOptions};
use crate::sequencer::outbound::Outbound;
use crate::store::{
    Archiver, ArchiverOptions, CommitPolicy, Control, Cut, Day, DaySpec, LogIndex, Medium,
    Preparer, ReadError, Recovered, StoreError, memory_free_bytes, retire_ended_days,
};
use crate::timer::{self, Timer};
use crate::types::*;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Slots of the ring from a gateway to the sequencer: 64 datagrams of 64 blocks.
const GATEWAY_RING_SLOTS: usize = 4_096;
/// Slots of the timer's ring: a SessionDown for each of many sessions at once.
const TIMER_RING_SLOTS: usize = 1_024;
/// Commands whose receipt is remembered for the latency inside: a third of a second at peak.
const RECEIPT_SLOTS: usize = 65_536;
/// Spare counter of the control page that holds how far the feed has left.
const RELEASED_COUNTER: usize = 0;
/// Segments of each log that must fit before the hot tier goes to /dev/shm by itself.
const AUTO_HOT_SEGMENTS: u64 = 4;
/// Repair answers that a client may get at once, bytes: 16 packets.
const REPAIR_BURST_MIN: u64 = 16 * 1_400;
/// Term of a venue of one node.
const TERM: u32 = 1;
/// A thread that waits for the archiver (group commit) sleeps no longer than this.
const DISK_PARK_NS: u64 = 200_000;

/// Recovery of more commands than this takes a while and is told before it begins (about 1 s).
const RECOVERY_TOLD: u64 = 1_000_000;

/// Why a venue cannot start. Each names what is missing and what mends it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be bound, a group not be sent to.
    #[error("{what} {address}: {cause}; is another venue running, is the address this host's?")]
    Address {
        /// Which key of the configuration.
        what: &'static str,
        /// Its value.
        address: SocketAddrV4,
        /// The host's answer.
        cause: std::io::Error,
    },
    /// The logs cannot be opened or recovered.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The day's Genesis, in the log or from the configuration, is not usable.
    #[error("the day's first record: {0}")]
    Genesis(#[from] GenesisError),
    /// Replaying the day failed.
    #[error("recovery: {0}")]
    Engine(#[from] EngineError),
    /// The hot tier is not memory, and the configuration does not allow that.
    #[error(
        "the hot tier {path} lies on a disk: orders would wait for it. Put venue.hot on a tmpfs \
         such as /dev/shm, or set venue.degraded = true"
    )]
    Degraded {
        /// Directory.
        path: PathBuf,
    },
    /// At level `memory`, the hot tier of a day begun is gone, and the run before did not end well.
    #[error(
        "the hot tier of {day} is gone (reboot?) and durability is \"memory\": what left last \
         cannot be proven. `rialto replay {day}` shows what the disk has. To trade on, begin the \
         day anew under new session names: set venue.incarnation to the next letter"
    )]
    MemoryLost {
        /// The day's directory.
        day: PathBuf,
    },
    /// At level `disk`, commands of the run before cannot be committed.
    #[error(
        "the archive does not take what the last run wrote: {0}; make room on its disk and start again"
    )]
    Archive(std::io::Error),
    /// The log could not take the first record.
    #[error("the command log does not take Genesis: {0}")]
    FirstRecord(crate::store::AppendError),
    /// The host gives no thread, or no random numbers.
    #[error("{what}: {cause}")]
    Host {
        /// What was asked for.
        what: &'static str,
        /// The host's answer.
        cause: std::io::Error,
    },
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
    /// Bytes that the hot tier's file system lacks for the segments it may grow to; 0 = enough.
    pub hot_missing_bytes: u64,
    /// A torn tail that was cut off the command log.
    pub cut: Option<Cut>,
    /// Time that recovery took, ns.
    pub recovery_ns: u64,
    /// True when the configuration says something else than the day's Genesis: it counts tomorrow.
    pub configuration_differs: bool,
}

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
}

impl Venue {
    /// Starts everything; returns when the venue serves.
    pub fn start(config: &Config, clock: SystemClock) -> Result<Venue, StartError> {
        let begun = clock.now();
        let sockets = Sockets::bind(config)?;
        let mut day = open_day(config, begun)?;
        let (genesis, configuration_differs) = day.genesis(config, &clock)?;
        if day.found > RECOVERY_TOLD {
            tracing::info!("recovery: replaying {} commands of the day", day.found);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let mut agents = Agents::build(config, &clock, sockets, &mut day, &genesis)?;
        let facts = Facts {
            day: day.day.dir().to_path_buf(),
            medium: day.day.medium(),
            hot_missing_bytes: day.day.hot_missing_bytes(),
            commands: day.found,
            cut: day.cut.take(),
            recovery_ns: clock.now().since(begun),
            configuration_differs,
        };
        let mut runners = Vec::new();
        if let Some(preparer) = agents.preparer.take() {
            // On a thread of its own: a slow fdatasync of the archiver must not delay the segment
            // that the order path writes next.
            let options = RunnerOptions::new(clock, stop.clone());
            let handle = Runner::spawn("rialto-preparer", vec![Box::new(preparer)], options)
                .map_err(|cause| StartError::Host { what: "start a thread", cause })?;
            runners.push(handle);
        }
        for thread in &config.threads {
            let names: Vec<&str> = thread.agents.iter().map(|a| a.text()).collect();
            let mut options = RunnerOptions::new(clock, stop.clone());
            options.core = thread.cpu;
            options.idle = match thread.idle {
                Idle::Spin => IdleStrategy::Spin,
                Idle::Yield => IdleStrategy::Yield,
                Idle::Park => IdleStrategy::PARK,
            };
            if config.durability == Durability::Disk {
                options.park_ns_max = DISK_PARK_NS;
            }
            let mut placed: Vec<Box<dyn Agent + Send>> = Vec::new();
            for name in &thread.agents {
                let (agent, fd) = agents.take(*name);
                options.park_fds.extend(fd);
                placed.push(agent);
            }
            let first = names.first().copied().unwrap_or("idle");
            let handle = Runner::spawn(format!("rialto-{first}"), placed, options)
                .map_err(|cause| StartError::Host { what: "start a thread", cause })?;
            runners.push(handle);
        }
        Ok(Venue {
            runners,
            stop,
            day: day.day,
            facts,
            status: agents.status,
            inside: agents.inside,
            counters: agents.counters,
            released: agents.released,
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

    /// The control page: marks of both logs.
    pub fn control(&self) -> &Arc<Control> {
        self.day.control()
    }

    /// Goes silent: ends the threads; no message says so. Err: one had panicked. Afterwards the
    /// archive has everything, as far as the disk takes it.
    pub fn stop(self) -> Result<(), AgentPanic> {
        self.stop.store(true, Ordering::Release);
        crate::agent::join_all(self.runners)?;
        match self.day.seal() {
            Ok(true) => {}
            Ok(false) => tracing::warn!("the archive lacks what only the hot tier holds"),
            Err(error) => tracing::warn!("the archive lacks what only the hot tier holds: {error}"),
        }
        Ok(())
    }
}

struct Sockets {
    gateway: AnyPort,
    feed: AnyPort,
    repair: AnyPort,
}

impl Sockets {
    fn bind(config: &Config) -> Result<Sockets, StartError> {
        let lossy = |port: UdpPort, seed: u64| match config.loss_ppm {
            0 => AnyPort::Udp(port),
            ppm => AnyPort::Lossy(LossyPort::new(port, seed, ppm)),
        };
        let bind = |what, address, seed| {
            UdpPort::bind(address)
                .map(|port| lossy(port, seed))
                .map_err(|cause| StartError::Address { what, address, cause })
        };
        let feed = &config.feed;
        let multicast =
            UdpPort::multicast_sender(feed.interface, feed.ttl as u32).map_err(|cause| {
                let address = SocketAddrV4::new(feed.interface, 0);
                StartError::Address { what: "feed.interface", address, cause }
            })?;
        Ok(Sockets {
            gateway: bind("gateway.listen", config.gateway.listen, 11)?,
            feed: AnyPort::Udp(multicast),
            repair: bind("feed.repair", feed.repair, 12)?,
        })
    }
}

/// A day with both logs recovered.
struct OpenDay {
    day: Day,
    policy: CommitPolicy,
    commands: Recovered,
    events: Recovered,
    found: u64,
    cut: Option<Cut>,
    genesis: Option<Vec<u8>>,
}

fn open_day(config: &Config, now: Nanos) -> Result<OpenDay, StartError> {
    let (days, _) = config.trading_day(now);
    let mut date = date_text(days);
    if config.incarnation != b'A' {
        date = format!("{date}-{}", config.incarnation as char);
    }
    // Made first: the hot tier's name comes from where it really is.
    let _ = std::fs::create_dir_all(&config.data); // Day::open tells what is wrong with it
    let hot = match &config.hot {
        HotTier::Directory(path) => path.clone(),
        HotTier::Auto => auto_hot_tier(config),
    };
    let spec = DaySpec {
        data: config.data.clone(),
        hot,
        name: config.name.text(),
        date,
        archive: true,
        segment_bytes: config.segment_bytes,
        hot_segments_max: config.hot_segments_max,
    };
    for ended in retire_ended_days(&spec, now) {
        let (day, hot) = (ended.day.display(), ended.hot.display());
        match ended.outcome {
            Ok(true) => tracing::info!("{day} is over: its hot tier {hot} is given back"),
            Ok(false) => tracing::warn!("{day} is over, but its archive lacks what {hot} holds"),
            Err(error) => tracing::warn!("{day} is over, its hot tier {hot} stays: {error}"),
        }
    }
    let day = Day::open(&spec, now)?;
    if day.medium() == Medium::Degraded && !config.degraded_allowed {
        return Err(StartError::Degraded { path: day.hot_dir().to_path_buf() });
    }
    let policy = match config.durability {
        Durability::Memory => CommitPolicy::Memory,
        Durability::Disk => CommitPolicy::Disk,
    };
    let mut commands = day.log(LogIndex::Command).recover()?;
    let events = day.log(LogIndex::Event).recover()?;
    if policy == CommitPolicy::Memory && day.may_lack_records(&commands) {
        return Err(StartError::MemoryLost { day: day.dir().to_path_buf() });
    }
    let found = commands.next_seq.0 - 1;
    let genesis = match found {
        0 => None,
        _ => {
            let mut reader = day.log(LogIndex::Command).reader_unbounded()?;
            reader.next()?.filter(|r| r.kind == kind::GENESIS).map(|r| r.payload.to_vec())
        }
    };
    let cut = commands.cut.take();
    Ok(OpenDay { day, policy, commands, events, found, cut, genesis })
}

/// A directory of /dev/shm that belongs to this data directory: two venues on one host must not meet
/// there. The same data directory finds it again.
/// Where there is no tmpfs, or one too small for a few segments (containers often give 64 MiB), it
/// lies in the data directory: degraded, and told.
fn auto_hot_tier(config: &Config) -> PathBuf {
    let shm = Path::new("/dev/shm");
    let whole = std::path::absolute(&config.data).unwrap_or_else(|_| config.data.clone());
    let whole = whole.canonicalize().unwrap_or(whole);
    let name = crc32c::crc32c(whole.as_os_str().as_encoded_bytes());
    let hot = shm.join(format!("rialto-{name:08x}"));
    let wanted = 2 * AUTO_HOT_SEGMENTS * config.segment_bytes;
    if hot.is_dir() || memory_free_bytes(shm).is_some_and(|free| free >= wanted) {
        hot
    } else {
        config.data.join("hot")
    }
}

impl OpenDay {
    /// The Genesis that counts: the log's, else one of the configuration. True when the
    /// configuration would make another one now.
    fn genesis(
        &mut self,
        config: &Config,
        clock: &SystemClock,
    ) -> Result<(Genesis, bool), StartError> {
        let random = |what| {
            let mut bytes = [0; 8];
            getrandom::fill(&mut bytes)
                .map(|()| u64::from_le_bytes(bytes))
                .map_err(|e| StartError::Host { what, cause: std::io::Error::other(e.to_string()) })
        };
        let seed = random("random numbers for the day's tables")?;
        let fresh = config.genesis(clock.now(), config.incarnation, seed);
        match &self.genesis {
            None if self.found > 0 => Err(EngineError::NoGenesis.into()),
            None => {
                fresh.check()?;
                self.genesis = Some(fresh.encode());
                Ok((fresh, false))
            }
            Some(bytes) => {
                let day = Genesis::decode(bytes)?;
                let same = Genesis { hash_seed: day.hash_seed, midnight: day.midnight, ..fresh };
                let differs = same != day;
                Ok((day, differs))
            }
        }
    }
}

/// One agent, and the descriptor that its thread may wait on.
type Placed = (Box<dyn Agent + Send>, Option<std::os::fd::RawFd>);

struct Agents {
    placed: Vec<(AgentName, Placed)>,
    preparer: Option<Preparer>,
    status: Arc<EngineStatus>,
    inside: Arc<Distribution>,
    counters: Vec<Arc<dyn CounterSet>>,
    released: Released,
}

impl Agents {
    fn build(
        config: &Config,
        clock: &SystemClock,
        sockets: Sockets,
        day: &mut OpenDay,
        genesis: &Genesis,
    ) -> Result<Agents, StartError> {
        let control = day.day.control().clone();
        let (command_log, event_log) =
            (day.day.log(LogIndex::Command).clone(), day.day.log(LogIndex::Event).clone());
        let existing = event_log.reader_unbounded()?;
        let command_writer = command_log.writer(&day.commands)?;
        let event_writer = event_log.writer(&day.events)?;
        let mut archiver = day.day.archiver(ArchiverOptions::for_policy(day.policy))?;

        let sessions = genesis.sessions.len();
        let board = SessionBoard::new(sessions);
        let status = EngineStatus::new();
        let receipts = ReceiptBoard::new(RECEIPT_SLOTS);
        let (gateway_sequencer, from_gateway) = ring(GATEWAY_RING_SLOTS);
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
            rings: vec![from_gateway, from_timer],
        });
        if inbound.next_seq() == Seq(1) {
            let bytes = day.genesis.as_deref().unwrap_or_default();
            inbound
                .append_now(kind::GENESIS, bytes, clock.now())
                .map_err(StartError::FirstRecord)?;
        }
        commit_what_is_written(day.policy, &control, &mut archiver, clock)?;

        let outbound = Outbound::new(event_writer, existing, control.clone(), TERM, sessions);
        let engine =
            Engine::start(command_log.reader()?.trusted(), outbound, status.clone(), || {
                archiver.duty_cycle(clock.now());
            })?;

        let gateway_config = gateway_config(config, genesis)?;
        let entropy = Entropy::system()
            .map_err(|cause| StartError::Host { what: "random numbers for tokens", cause })?;
        let clone = |port: &AnyPort| {
            port.try_clone().map_err(|cause| StartError::Host {
                what: "a second handle on the gateway's socket",
                cause,
            })
        };
        let (egress_port, replayer_port) = (clone(&sockets.gateway)?, clone(&sockets.gateway)?);
        let gateway_fd = sockets.gateway.poll_fd();
        let ingress = Ingress::new(
            &gateway_config,
            sockets.gateway,
            gateway_sequencer,
            ingress_egress,
            board.clone(),
            entropy,
        );
        let links = EgressLinks {
            events: event_log.reader()?.trusted(),
            asks,
            replays: egress_replayer,
            board: board.clone(),
            receipts,
        };
        let mut egress = Egress::new(&gateway_config, egress_port, *clock, links);
        egress.recover(clock.now())?;
        let replayer = Replayer::new(
            &gateway_config,
            replayer_port,
            event_log.reader()?,
            event_log.reader()?,
            replays,
            board.clone(),
        );

        let released = Released::in_page(control, RELEASED_COUNTER);
        let publisher_config = PublisherConfig {
            group_a: config.feed.a,
            group_b: config.feed.b,
            session: genesis.feed_session(),
            midnight: genesis.midnight,
        };
        let mut publisher =
            Publisher::new(publisher_config, sockets.feed, None, &event_log, released.clone())?;
        publisher.resume()?;
        let mut repair = RetransmitterConfig::new(genesis.feed_session(), genesis.midnight);
        repair.per_client = retransmitter::Rate {
            bytes_per_second: config.feed.repair_bytes_per_second,
            // At least some packets at once, however low the rate.
            burst_bytes: (config.feed.repair_bytes_per_second / 8).max(REPAIR_BURST_MIN),
        };
        let repair_fd = sockets.repair.poll_fd();
        let retransmitter =
            Retransmitter::new(repair, sockets.repair, &event_log, released.clone())?;
        let timer = Timer::new(timer_sequencer, board, status.clone(), schedule(config, genesis));

        let preparer = archiver.take_preparer();
        let inside = egress.latency();
        let counters: Vec<Arc<dyn CounterSet>> = vec![
            ingress.counters(),
            inbound.counters(),
            engine.counters(),
            engine.outbound_counters(),
            publisher.counters(),
            egress.counters(),
            replayer.counters(),
            retransmitter.counters(),
            timer.counters(),
        ];
        let placed: Vec<(AgentName, Placed)> = vec![
            (AgentName::Ingress, (Box::new(ingress), gateway_fd)),
            (AgentName::Sequencer, (Box::new(inbound), None)),
            (AgentName::Engine, (Box::new(engine), None)),
            (AgentName::Publisher, (Box::new(publisher), None)),
            (AgentName::Egress, (Box::new(egress), None)),
            (AgentName::Timer, (Box::new(timer), None)),
            (AgentName::Replayer, (Box::new(replayer), None)),
            (AgentName::Retransmitter, (Box::new(retransmitter), repair_fd)),
            (AgentName::Archiver, (Box::new(archiver), None)),
        ];
        Ok(Agents { placed, preparer, status, inside, counters, released })
    }

    /// Takes an agent; the configuration places each exactly once.
    fn take(&mut self, name: AgentName) -> Placed {
        let at = self.placed.iter().position(|(n, _)| *n == name);
        self.placed.swap_remove(at.expect("the configuration places each agent once")).1
    }
}

/// Before the engine replays: what a dead process had written but not committed (level `disk`) goes
/// to disk now. It was acknowledged to nobody, but it is in the log, so it counts.
/// A disk that does not take it refuses the start: waiting here would be deaf to SIGTERM.
fn commit_what_is_written(
    policy: CommitPolicy,
    control: &Arc<Control>,
    archiver: &mut Archiver,
    clock: &SystemClock,
) -> Result<(), StartError> {
    loop {
        let mark = policy.advance(control, LogIndex::Command);
        if mark.seq == control.written(LogIndex::Command).seq {
            return Ok(());
        }
        if let Some(code) = control.archive_failed().or(control.archive_waits()) {
            return Err(StartError::Archive(std::io::Error::from_raw_os_error(code)));
        }
        archiver.duty_cycle(clock.now());
    }
}

fn gateway_config(
    config: &Config,
    genesis: &Genesis,
) -> Result<gateway::GatewayConfig, StartError> {
    let key = match config.gateway.key {
        Some(key) => key,
        None => {
            let mut key = [0; 32];
            getrandom::fill(&mut key).map_err(|e| StartError::Host {
                what: "a random gateway key",
                cause: std::io::Error::other(e.to_string()),
            })?;
            key
        }
    };
    let mut out = gateway::GatewayConfig::new(config.gateway.public, key, genesis.midnight);
    out.epoch = TERM;
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
