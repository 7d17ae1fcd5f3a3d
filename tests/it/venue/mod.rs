//! A whole venue on one thread: real agents, real logs in a temporary directory, a network in
//! memory, a clock that is moved by hand. And a raw client that sends exactly the bytes it is told.

pub mod client;

use client::RawClient;

use rialto::agent::Agent;
use rialto::board::{EngineStatus, SessionBoard};
use rialto::clock::{Clock, ManualClock};
use rialto::counters::ReceiptBoard;
use rialto::engine::{Engine, EngineError};
use rialto::exchange::command::{Command, kind};
use rialto::exchange::event::Event;
use rialto::exchange::genesis::*;
use rialto::gateway::*;
use rialto::net::capture::{Capture, CycleStart};
use rialto::net::{CapturedPort, MemoryNetwork, MemoryPort};
use rialto::publisher::{Publisher, PublisherConfig, Released};
use rialto::ring::ring;
use rialto::sequencer::{Inbound, InboundOptions, Outbound};
use rialto::store::*;
use rialto::timer::{Schedule, Timer};
use rialto::types::*;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Port of the agents, captured when the options say so.
type Port = CapturedPort<MemoryPort>;

pub const GATEWAY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 9_000);
/// Key of the challenges.
pub const GATEWAY_KEY: [u8; 32] = [0x55; 32];
pub const GROUP_A: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 1, 1, 1), 26_400);
pub const GROUP_B: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 1, 1, 2), 26_400);
pub const MIDNIGHT: Nanos = Nanos(1_735_776_000_000_000_000);
/// 09:30 of that day: when a venue's clock starts.
pub const START: Nanos = Nanos(MIDNIGHT.0 + 34_200_000_000_000);
pub const MS: u64 = 1_000_000;

/// What a test may want otherwise.
#[derive(Clone)]
pub struct Options {
    pub rate: Rate,
    pub sessions: usize,
    pub command_slots: usize,
    pub reports_kept: usize,
    /// Bytes per second of one session's replay.
    pub replay_rate: u64,
    pub schedule: Schedule,
    pub segment_bytes: u64,
    pub hot_segments_max: usize,
    /// The day, for so many sessions.
    pub genesis: fn(usize) -> Genesis,
    /// Capture of all ports.
    pub capture: Option<Capture>,
    /// A session with a rate of its own.
    pub slow: Option<(usize, Rate)>,
    /// A session whose user is closed.
    pub closed: Option<usize>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            rate: Rate::default(),
            sessions: 4,
            command_slots: 4_096,
            reports_kept: 4_096,
            replay_rate: 10_000_000,
            schedule: Schedule::OpenAtOnce,
            segment_bytes: 4 << 20,
            hot_segments_max: 8,
            genesis,
            capture: None,
            slow: None,
            closed: None,
        }
    }
}

impl Options {
    /// The logs' place below `dir`.
    pub fn spec(&self, dir: &Path) -> DaySpec {
        DaySpec {
            segment_bytes: self.segment_bytes,
            hot_segments_max: self.hot_segments_max,
            ..DaySpec::small(dir)
        }
    }
}

pub fn key(slot: usize) -> [u8; 32] {
    [slot as u8 + 1; 32]
}

pub fn user(slot: usize) -> User {
    User::new(&format!("FIRM{slot:02}")).unwrap()
}

/// `sessions` firms with one session and one account each, two symbols, plenty of everything.
pub fn genesis(sessions: usize) -> Genesis {
    let symbol = |name| SymbolSpec {
        symbol: Symbol::new(name).unwrap(),
        tick: 100,
        lot: 1,
        price_min: Price(100),
        price_max: Price(20_000_000),
        protection: 50_000,
    };
    Genesis {
        core_version: CORE_VERSION,
        midnight: MIDNIGHT,
        day_of_year: 2,
        incarnation: b'A',
        feed_name: Alpha::new("RIALTO").unwrap(),
        hash_seed: 7,
        capacities: Capacities { orders_max: 20_000, price_pages_max: 64 },
        symbols: vec![symbol("AAPL"), symbol("MSFT")],
        firms: (0..sessions).map(|i| Alpha::new(&format!("F{i:02}")).unwrap()).collect(),
        accounts: (0..sessions)
            .map(|i| AccountSpec {
                name: AccountName::new(&format!("A{i:02}")).unwrap(),
                firm: i as u16,
                cash: Notional(1 << 50),
                limits: Limits::default(),
                positions: vec![(Locate(1), 1 << 40), (Locate(2), 1 << 40)],
            })
            .collect(),
        sessions: (0..sessions)
            .map(|i| SessionSpec {
                user: user(i),
                firm: i as u16,
                default_account: AccountSlot(i as u16),
            })
            .collect(),
    }
}

pub struct Venue {
    pub network: MemoryNetwork,
    pub clock: ManualClock,
    pub genesis: Genesis,
    pub board: Arc<SessionBoard>,
    pub status: Arc<EngineStatus>,
    pub ingress: Ingress<Port>,
    pub egress: Egress<Port, ManualClock>,
    pub replayer: Replayer<Port>,
    pub inbound: Inbound,
    pub engine: Engine,
    pub publisher: Publisher<Port>,
    pub timer: Timer,
    pub archiver: Archiver,
    pub preparer: Preparer,
    /// False: the sequencer and what follows stand still; rings fill.
    pub sequencing: bool,
    /// False: the archiver stands still; no segment is prepared, logs fill.
    pub archiving: bool,
    /// False: the archiver stands still, but segments are prepared, as by the thread of its own that a
    /// real venue has.
    pub copying: bool,
    day: Day,
    options: Options,
    home: Home,
    cycles: u64,
}

/// The directory outlives the agents, and a restart takes it over.
struct Home(Option<tempfile::TempDir>);

impl Home {
    fn path(&self) -> &Path {
        self.0.as_ref().unwrap().path()
    }
}

impl Venue {
    pub fn new() -> Venue {
        Venue::with(Options::default())
    }

    /// A new day, with the market open and every agent idle.
    pub fn with(options: Options) -> Venue {
        let home = Home(Some(tempfile::tempdir().unwrap()));
        let clock = ManualClock::new(START);
        let mut venue = Venue::open(home, MemoryNetwork::new(), clock, options).unwrap();
        venue.settle();
        venue
    }

    /// The process dies between two cycles and comes up again `away_ns` later on the same logs.
    pub fn restart(self, away_ns: u64) -> Venue {
        self.try_restart(away_ns, |_| {}).unwrap()
    }

    /// As [`Venue::restart`]; `meddle` may do something to the directory in between.
    pub fn try_restart(
        mut self,
        away_ns: u64,
        meddle: impl FnOnce(&Path),
    ) -> Result<Venue, EngineError> {
        let home = Home(self.home.0.take());
        let (network, clock, options) =
            (self.network.clone(), self.clock.clone(), self.options.clone());
        drop(self);
        clock.advance(away_ns);
        meddle(home.path());
        Venue::open(home, network, clock, options)
    }

    fn open(
        home: Home,
        network: MemoryNetwork,
        clock: ManualClock,
        options: Options,
    ) -> Result<Venue, EngineError> {
        let now = clock.now();
        let day = Day::open(&options.spec(home.path()), now).unwrap();
        let (commands, events) = (day.log(LogIndex::Command), day.log(LogIndex::Event));
        let control = day.control().clone();
        let commands_found = commands.recover().unwrap();
        let events_found = events.recover().unwrap();
        let existing = events.reader_unbounded().unwrap();
        let command_writer = commands.writer(&commands_found).unwrap();
        let event_writer = events.writer(&events_found).unwrap();
        let mut archiver = day.archiver(ArchiverOptions::for_policy(CommitPolicy::Memory)).unwrap();

        let genesis = (options.genesis)(options.sessions);
        let board = SessionBoard::new(options.sessions);
        let status = EngineStatus::new();
        let receipts = ReceiptBoard::new(8_192);
        let (gateway_sequencer, sequencer_gateway) = ring(options.command_slots);
        let (timer_sequencer, sequencer_timer) = ring(64);
        let (ingress_egress, egress_ingress) = ring(ASK_SLOTS);
        let (egress_replayer, replayer_egress) = ring(64);

        let mut inbound = Inbound::new(InboundOptions {
            writer: command_writer,
            control: control.clone(),
            policy: CommitPolicy::Memory,
            term: 1,
            last_time: commands_found.last_time,
            receipts: receipts.clone(),
            rings: vec![sequencer_gateway, sequencer_timer],
        });
        if inbound.next_seq() == Seq(1) {
            inbound.append_now(kind::GENESIS, &genesis.encode(), now).unwrap();
        }
        inbound.duty_cycle(now);
        let outbound = Outbound::new(event_writer, existing, control.clone(), 1, options.sessions);
        let engine =
            Engine::start(commands.reader().unwrap().trusted(), outbound, status.clone(), || {
                archiver.duty_cycle(now);
                true
            })?;

        let mut config = GatewayConfig::new(GATEWAY, GATEWAY_KEY, MIDNIGHT);
        config.reports_kept = options.reports_kept;
        config.replay_bytes_per_second = options.replay_rate;
        config.sessions = (0..options.sessions)
            .map(|i| SessionConfig {
                user: user(i),
                name: genesis.downstream_name(SessionSlot(i as u16)).unwrap(),
                key: key(i),
                allow: vec![Network { address: Ipv4Addr::new(10, 0, 0, 0), prefix: 8 }],
                rate: options.slow.filter(|slow| slow.0 == i).map_or(options.rate, |slow| slow.1),
                open: options.closed != Some(i),
            })
            .collect();
        let tap = |name| options.capture.as_ref().map(|capture| capture.tap(name, "memory"));
        let port = CapturedPort::new(network.bind(GATEWAY).unwrap(), tap("gateway"));
        let mut egress = Egress::new(
            &config,
            port.try_clone().unwrap(),
            clock.clone(),
            EgressLinks {
                events: events.reader().unwrap().trusted(),
                asks: egress_ingress,
                replays: egress_replayer,
                board: board.clone(),
                receipts,
            },
        );
        egress.recover(now).unwrap();
        let replayer = Replayer::new(
            &config,
            port.try_clone().unwrap(),
            events.reader().unwrap(),
            events.reader().unwrap(),
            replayer_egress,
            board.clone(),
        );
        let ingress = Ingress::new(
            &config,
            port,
            gateway_sequencer,
            ingress_egress,
            board.clone(),
            Entropy::seeded(now.0),
        );
        let publisher_config = PublisherConfig {
            group_a: GROUP_A,
            group_b: GROUP_B,
            session: genesis.feed_session(),
            midnight: MIDNIGHT,
        };
        let feed_port = network.multicast_sender(*GATEWAY.ip()).unwrap();
        let feed_port = CapturedPort::new(feed_port, tap("feed"));
        let mut publisher =
            Publisher::new(publisher_config, feed_port, None, events, Released::in_memory())
                .unwrap();
        publisher.resume().unwrap();
        let timer =
            Timer::new(timer_sequencer, board.clone(), status.clone(), options.schedule.clone())
                .with_ladder(control);
        let preparer = archiver.take_preparer().expect("nobody took it yet");
        Ok(Venue {
            network,
            clock,
            genesis,
            board,
            status,
            ingress,
            egress,
            replayer,
            inbound,
            engine,
            publisher,
            timer,
            archiver,
            preparer,
            sequencing: true,
            archiving: true,
            copying: true,
            day,
            options,
            home,
            cycles: 0,
        })
    }

    pub fn now(&self) -> Nanos {
        self.clock.now()
    }

    /// One duty cycle of every agent of the order path, in flow order, at the present time.
    pub fn cycle(&mut self) -> usize {
        let now = self.now();
        CycleStart.duty_cycle(now);
        let mut done = self.ingress.duty_cycle(now);
        if self.sequencing {
            done += self.timer.duty_cycle(now);
            done += self.inbound.duty_cycle(now);
            done += self.engine.duty_cycle(now);
            done += self.publisher.duty_cycle(now);
        }
        done + self.egress.duty_cycle(now)
    }

    /// One duty cycle of every agent, helpers' threads included.
    pub fn step(&mut self) -> usize {
        let now = self.now();
        let mut done = self.cycle();
        done += self.replayer.duty_cycle(now);
        if self.archiving && self.cycles.is_multiple_of(16) {
            self.preparer.duty_cycle(now);
            if self.copying {
                self.archiver.duty_cycle(now);
            }
        }
        self.cycles += 1;
        done
    }

    /// Steps until nobody has anything to do at the present time.
    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            if self.step() == 0 {
                return;
            }
        }
        panic!("the venue does not come to rest");
    }

    /// Lets `ns` pass in steps of 100 us.
    pub fn run(&mut self, ns: u64) {
        let end = self.now().plus(ns);
        while self.now() < end {
            self.clock.advance(100_000.min(end.since(self.now())));
            self.settle();
        }
        self.engine.housekeeping(end);
        self.ingress.housekeeping(end);
    }

    /// Sequences a command from outside the rings (EndOfDay, SymbolState).
    pub fn command(&mut self, command: &Command) {
        let mut bytes = [0; 128];
        let (kind, len) = command.encode(&mut bytes);
        self.inbound.append_now(kind, &bytes[..len], self.clock.now()).unwrap();
        self.settle();
    }

    /// A client of session `slot` at 10.0.1.(slot + 1), port 5000.
    pub fn client(&self, slot: usize) -> RawClient {
        self.client_at(slot, SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, slot as u8 + 1), 5_000))
    }

    pub fn client_at(&self, slot: usize, address: SocketAddrV4) -> RawClient {
        RawClient::new(self.network.bind(address).unwrap(), slot)
    }

    /// Every event of the day so far, with the log position of its record, by a reader of its own
    /// that goes through the files as another process would.
    pub fn events(&self) -> Vec<(u64, Event)> {
        let view = DayView::open(self.day.dir()).unwrap();
        let mut reader = view.log(LogIndex::Event).reader().unwrap();
        let mut events = Vec::new();
        while let Some(record) = reader.next().unwrap() {
            events.push((
                record.position,
                Event::decode(record.kind, record.payload).expect("an event"),
            ));
        }
        events
    }

    pub fn control(&self) -> Arc<Control> {
        self.day.control().clone()
    }

    pub fn day_dir(&self) -> PathBuf {
        self.day.dir().to_path_buf()
    }
}
