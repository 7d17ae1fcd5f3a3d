//! Whole venues as `assemble` makes them, on one thread, on a simulated host: a command that kills the
//! exchange, disks that fill up, slow down and fail, threads that stand still when the day ends.

mod disks;
mod ending;
mod joined;
mod void;

use super::{Assembly, Ports, StartError, Surroundings, assemble};
use crate::agent::Agent;
use crate::broker::{Broker, BrokerConfig, NewOrder, OwnOrders, Settled};
use crate::broker::{BrokerEvent, SettledBy};
use crate::clock::{Clock, ManualClock};
use crate::config::{AgentName, Config};
use crate::exchange::command::Mode;
use crate::exchange::event::Event;
use crate::gateway::Entropy;
use crate::net::{AnyPort, MemoryNetwork, MemoryPort};
use crate::store::{DayView, LogIndex, MemoryStorage};
use crate::types::*;
use crate::wire::ouch::Outbound;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

const MS: u64 = 1_000_000;
const S: u64 = 1_000 * MS;
const GATEWAY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 9_001);
const REPAIR: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 9_103);
/// 2025-01-02 09:30 UTC.
const START: Nanos = Nanos(1_735_810_200_000_000_000);
const DAY: &str = "/disk/data/2025-01-02";

/// Two firms with one session each; `more` is added to the venue's table.
fn config(more: &str, hot: &str) -> Config {
    let mut text = format!(
        "[venue]\nname = \"GUARD\"\ndata = \"/disk/data\"\nhot = \"{hot}\"\ntest_keys = true\n{more}\n\
         [capacity]\norders_max = 100000\nprice_pages_max = 16\nsegment_mib = 1\nhot_segments_max = 6\n\
         [gateway]\nlisten = \"{GATEWAY}\"\n\
         [feed]\ninterface = \"10.0.0.1\"\na = \"239.192.0.1:9101\"\nb = \"239.192.0.2:9102\"\n\
         repair = \"{REPAIR}\"\n[[symbol]]\nname = \"ALPH\"\n"
    );
    for (name, account, key) in [("ALFA", "A001", "01"), ("BRVO", "B001", "02")] {
        text += &format!(
            "[[firm]]\nname = \"{name}\"\n[[account]]\nname = \"{account}\"\nfirm = \"{name}\"\n\
             cash = \"100000000.00\"\nshares = 100000000\n\
             [[session]]\nuser = \"{name}01\"\nfirm = \"{name}\"\naccount = \"{account}\"\n\
             allow = [\"10.0.0.0/8\"]\nrate = 1000000\nburst = 100000\nkey = \"{}\"\n",
            key.repeat(32)
        );
    }
    for (name, key) in [("ANNA", "0a"), ("BERT", "0b"), ("CARL", "0c")] {
        text += &format!("[[operator]]\nname = \"{name}\"\nkey = \"{}\"\n", key.repeat(32));
    }
    Config::parse(Path::new("/disk/rialto.toml"), &text).unwrap_or_else(|e| panic!("{e}"))
}

/// A simulated host, the venue on it, and its brokers elsewhere.
struct World {
    storage: Arc<MemoryStorage>,
    network: MemoryNetwork,
    clock: ManualClock,
    config: Config,
    venue: Option<Assembly>,
    firms: Vec<Firm>,
    /// The archiver's thread stands in a sync until then.
    archiver_back: Nanos,
    /// False: the archiver's thread does not run.
    archiving: bool,
    /// The thread of this agent stands still.
    still: Option<AgentName>,
    /// What the last panic said.
    died: Option<String>,
    lives: u64,
}

impl World {
    fn new(config: Config) -> World {
        let network = MemoryNetwork::new();
        let firms = ["ALFA", "BRVO"].iter().zip(1..).map(|(name, n)| Firm::new(&network, name, n));
        World {
            storage: Arc::new(MemoryStorage::new(7, Path::new("/memory"))),
            clock: ManualClock::new(START),
            config,
            venue: None,
            firms: firms.collect(),
            network,
            archiver_back: Nanos(0),
            archiving: true,
            still: None,
            died: None,
            lives: 0,
        }
    }

    fn started(config: Config) -> World {
        let mut world = World::new(config);
        world.start().unwrap();
        world.run_until(2 * S, |world| world.firms.iter().all(|f| f.broker.is_bound()));
        world
    }

    /// Starts the venue; a panic of recovery kills it.
    fn start(&mut self) -> Result<(), StartError> {
        self.lives += 1;
        let surroundings = Surroundings {
            clock: self.clock.clone(),
            storage: self.storage.clone(),
            hot: self.config_hot(),
            ports: Ports {
                gateway: AnyPort::Memory(self.network.bind(GATEWAY).unwrap()),
                feed: AnyPort::Memory(self.network.multicast_sender(*GATEWAY.ip()).unwrap()),
                repair: AnyPort::Memory(self.network.bind(REPAIR).unwrap()),
            },
            entropy: Entropy::seeded(self.lives),
        };
        let config = &self.config;
        match catch_unwind(AssertUnwindSafe(|| assemble(config, surroundings))) {
            Ok(assembled) => self.venue = Some(assembled?),
            Err(panic) => self.die(panic),
        }
        Ok(())
    }

    fn config_hot(&self) -> std::path::PathBuf {
        match &self.config.hot {
            crate::config::HotTier::Directory(path) => path.clone(),
            crate::config::HotTier::Auto => unreachable!("these tests name it"),
        }
    }

    fn die(&mut self, panic: Box<dyn std::any::Any + Send>) {
        let text = panic.downcast_ref::<String>().cloned();
        self.died = Some(text.unwrap_or_else(|| "?".into()));
        self.kill();
    }

    /// The process dies, as by SIGKILL.
    fn kill(&mut self) {
        self.storage.crash();
        self.venue = None;
        self.archiver_back = Nanos(0);
    }

    /// One cycle of everybody. A venue whose agent panics is dead.
    fn step(&mut self) -> usize {
        let now = self.clock.now();
        let mut done = 0;
        for firm in &mut self.firms {
            done += firm.poll(now);
        }
        let archives = self.archiving && now >= self.archiver_back;
        let still = self.still;
        let Some(venue) = &mut self.venue else { return done };
        let cycle = catch_unwind(AssertUnwindSafe(|| {
            for placed in &mut venue.agents {
                if still == Some(placed.name) {
                    continue;
                }
                if placed.name != AgentName::Archiver {
                    done += placed.agent.duty_cycle(now);
                } else if archives {
                    placed.agent.duty_cycle(now);
                }
            }
            if let Some(preparer) = &mut venue.preparer {
                preparer.duty_cycle(now);
            }
        }));
        match cycle {
            Ok(()) => {
                let stall = self.storage.take_stall_ns();
                if stall > 0 {
                    self.archiver_back = now.plus(stall);
                }
            }
            Err(panic) => self.die(panic),
        }
        done
    }

    /// Lets `ns` pass in steps of half a millisecond.
    fn run(&mut self, ns: u64) {
        let end = self.clock.now().plus(ns);
        while self.clock.now() < end {
            self.clock.advance(MS / 2);
            for _ in 0..64 {
                if self.step() == 0 {
                    break;
                }
            }
        }
        if let Some(venue) = &mut self.venue {
            for placed in &mut venue.agents {
                placed.agent.housekeeping(end);
            }
        }
    }

    fn run_until(&mut self, ns: u64, done: impl Fn(&World) -> bool) {
        let end = self.clock.now().plus(ns);
        while !done(self) {
            assert!(self.clock.now() < end, "never");
            self.run(MS);
        }
    }

    fn venue(&self) -> &Assembly {
        self.venue.as_ref().expect("the venue runs")
    }

    fn mode(&self) -> Mode {
        self.venue().status.mode()
    }

    fn percent(&self) -> u64 {
        let control = self.venue().day.control();
        LogIndex::ALL.map(|log| control.backlog(log).percent()).into_iter().max().unwrap()
    }

    fn view(&self) -> DayView {
        DayView::open_in(self.storage.clone(), Path::new(DAY)).unwrap()
    }

    /// Every event that may be seen, by a reader of its own.
    fn events(&self) -> Vec<Event> {
        let mut reader = self.view().log(LogIndex::Event).reader().unwrap();
        let mut events = Vec::new();
        while let Some(record) = reader.next().unwrap() {
            events.push(Event::decode(record.kind, record.payload).expect("an event"));
        }
        events
    }

    /// Sends `count` orders that rest, of firm 0, in `ns`.
    fn rest_orders(&mut self, count: usize) {
        for _ in 0..count {
            while self.firms[0].broker.free() == 0 {
                self.run(MS);
            }
            self.firms[0].broker.enter(&order(Side::Sell, 11_0000)).unwrap();
        }
        self.run(MS);
    }
}

fn order(side: Side, price: u32) -> NewOrder {
    NewOrder::limit(side, Symbol::new("ALPH").unwrap(), Quantity(10), Price(price))
}

/// A broker's program: what its connection told it.
struct Firm {
    broker: Broker<MemoryPort>,
    own: OwnOrders,
    reports: Vec<(u64, Outbound)>,
    settled: Vec<Settled>,
    disconnects: usize,
}

impl Firm {
    fn new(network: &MemoryNetwork, name: &str, n: u8) -> Firm {
        let address = SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, n), 5_000);
        let user = User::new(&format!("{name}01")).unwrap();
        let mut config = BrokerConfig::new(user, [n; 32], vec![GATEWAY]);
        config.seed = Some(n.into());
        let broker = Broker::new(config, network.bind(address).unwrap()).unwrap();
        Firm {
            broker,
            own: OwnOrders::new(),
            reports: Vec::new(),
            settled: Vec::new(),
            disconnects: 0,
        }
    }

    fn poll(&mut self, now: Nanos) -> usize {
        let Firm { broker, own, reports, settled, disconnects } = self;
        broker.poll(now, |event| match event {
            BrokerEvent::Report { number, report } => {
                own.apply(&report);
                reports.push((number, report));
            }
            BrokerEvent::Settled(s) => settled.push(s),
            BrokerEvent::Disconnected(_) => *disconnects += 1,
            _ => {}
        })
    }

    /// Reports are numbered from 1 without a gap.
    fn check(&self) {
        for ((number, _), wanted) in self.reports.iter().zip(1..) {
            assert_eq!(*number, wanted);
        }
    }

    fn not_applied(&self) -> usize {
        self.settled.iter().filter(|s| s.by == SettledBy::NotApplied).count()
    }
}
