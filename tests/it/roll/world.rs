//! The surroundings of a venue that rolls: lives of its process, brokers, a subscriber.

use rialto::agent::Agent;
use rialto::broker::*;
use rialto::clock::{Clock, ManualClock};
use rialto::config::Config;
use rialto::exchange::Exchange;
use rialto::exchange::event::Event;
use rialto::gateway::Entropy;
use rialto::net::{AnyPort, MemoryNetwork, MemoryPort};
use rialto::replay::{Until, replay};
use rialto::store::{DayView, LogIndex, files};
use rialto::subscriber::{BookMirror, FeedHandler, FeedListener, FeedOptions};
use rialto::topology::{Assembly, Ports, StartError, Surroundings, assemble, close_day};
use rialto::types::*;
use rialto::wire::ouch::Outbound;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

/// 2025-01-02, midnight UTC.
pub const MIDNIGHT: Nanos = Nanos(1_735_776_000_000_000_000);
pub const HOUR: u64 = 3_600_000_000_000;
pub const MS: u64 = 1_000_000;
pub const SECOND: u64 = 1_000 * MS;

/// Three firms, days from 8 to 17 o'clock, market open from 9 to 16:30.
pub const TEXT: &str = r#"
[venue]
name = "RIALTO"
data = "data"
begin = "08:00"
open = "09:00"
close = "16:30"
end = "17:00"
linger_seconds = 10
degraded = true
test_keys = true
[capacity]
orders_max = 20000
segment_mib = 1
hot_segments_max = 16
[gateway]
listen = "10.0.0.1:9000"
[feed]
interface = "10.0.0.1"
a = "239.1.1.1:26400"
b = "239.1.1.2:26400"
repair = "10.0.0.1:9100"
[[symbol]]
name = "AAPL"
price_max = "1000.00"
[[symbol]]
name = "MSFT"
price_max = "1000.00"
[[firm]]
name = "F00"
[[firm]]
name = "F01"
[[account]]
name = "A00"
firm = "F00"
cash = "1000000.00"
shares = 100000
order_quantity_max = 5000
[[account]]
name = "A01"
firm = "F01"
cash = "2000000.00"
shares = 200000
[[account]]
name = "A02"
firm = "F01"
[[session]]
user = "FIRM00"
firm = "F00"
account = "A00"
rate = 1000000
burst = 1000000
key = "0101010101010101010101010101010101010101010101010101010101010101"
allow = ["10.0.0.0/8"]
[[session]]
user = "FIRM01"
firm = "F01"
account = "A01"
rate = 1000000
burst = 1000000
key = "0202020202020202020202020202020202020202020202020202020202020202"
allow = ["10.0.0.0/8"]
"#;

pub fn symbol(name: &str) -> Symbol {
    Symbol::new(name).unwrap()
}

pub fn order(side: Side, name: &str, quantity: u32, price: u32) -> NewOrder {
    NewOrder::limit(side, symbol(name), Quantity(quantity), Price(price))
}

/// A broker of the library, and all it was told.
pub struct Firm {
    pub broker: Broker<MemoryPort>,
    pub events: Vec<BrokerEvent>,
}

impl Firm {
    pub fn new(world: &World, slot: u8, change: impl FnOnce(&mut BrokerConfig)) -> Firm {
        let address = SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, slot + 1), 5_000);
        let user = User::new(&format!("FIRM{slot:02}")).unwrap();
        let gateway = world.config.gateway.listen;
        let mut config = BrokerConfig::new(user, [slot + 1; 32], vec![gateway]);
        config.seed = Some(slot as u64 + 1);
        change(&mut config);
        let broker = Broker::new(config, world.network.bind(address).unwrap()).unwrap();
        Firm { broker, events: Vec::new() }
    }

    pub fn reports(&self) -> impl Iterator<Item = (u64, Outbound)> + '_ {
        self.events.iter().filter_map(|e| match e {
            BrokerEvent::Report { number, report } => Some((*number, *report)),
            _ => None,
        })
    }

    pub fn settled(&self) -> impl Iterator<Item = Settled> + '_ {
        self.events.iter().filter_map(|e| match e {
            BrokerEvent::Settled(settled) => Some(*settled),
            _ => None,
        })
    }

    pub fn has(&self, wanted: BrokerEvent) -> bool {
        self.events.contains(&wanted)
    }
}

/// What a subscriber of the library heard, by session.
#[derive(Default)]
pub struct Heard {
    pub sessions: Vec<(SessionName, u64)>,
    pub ends: Vec<u64>,
    pub books: BookMirror,
}

impl FeedListener for Heard {
    fn on_message(&mut self, sequence: u64, payload: &[u8], end_of_packet: bool) {
        let (_, last) = self.sessions.last_mut().expect("a session first");
        *last += 1;
        assert_eq!(sequence, *last, "each message once, in order, from 1");
        self.books.apply(payload, end_of_packet, &mut ()).expect("a correct feed");
    }
    fn on_session(&mut self, session: SessionName) {
        self.sessions.push((session, 0));
        self.books.clear();
    }
    fn on_lost(&mut self, from: u64, count: u64) {
        panic!("{count} messages from {from} on were given up");
    }
    fn on_end(&mut self, next: u64) {
        self.ends.push(next);
    }
}

/// A venue's process, dead or alive, and who is around it.
pub struct World {
    pub home: tempfile::TempDir,
    pub network: MemoryNetwork,
    pub clock: ManualClock,
    pub config: Config,
    pub venue: Option<Assembly>,
    pub firms: Vec<Firm>,
    pub feed: FeedHandler<MemoryPort>,
    pub heard: Heard,
}

pub const SUBSCRIBER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 1);

impl World {
    pub fn new(text: &str, now: Nanos) -> World {
        let home = tempfile::tempdir().unwrap();
        let config = config(home.path(), text);
        let network = MemoryNetwork::new();
        let feed = FeedHandler::new(
            network.join(config.feed.a, SUBSCRIBER).unwrap(),
            network.join(config.feed.b, SUBSCRIBER).unwrap(),
            network.bind(SocketAddrV4::new(SUBSCRIBER, 7_000)).unwrap(),
            vec![config.feed.repair],
            FeedOptions::default(),
        );
        let (clock, firms) = (ManualClock::new(now), Vec::new());
        let heard = Heard::default();
        World { home, network, clock, config, venue: None, firms, feed, heard }
    }

    /// The day of 2025-01-02 with the market open and both firms logged in.
    pub fn open(text: &str) -> World {
        let mut world = World::new(text, MIDNIGHT.plus(9 * HOUR));
        world.start().unwrap();
        world.firms = vec![Firm::new(&world, 0, |_| {}), Firm::new(&world, 1, |_| {})];
        world.until(|w| w.firms.iter().all(|f| f.broker.is_caught_up()));
        world.run(100 * MS);
        world
    }

    pub fn now(&self) -> Nanos {
        self.clock.now()
    }

    pub fn venue(&mut self) -> &mut Assembly {
        self.venue.as_mut().expect("it runs")
    }

    pub fn configure(&mut self, change: impl FnOnce(&str) -> String) {
        self.config = config(self.home.path(), &change(TEXT));
    }

    /// The process starts.
    pub fn start(&mut self) -> Result<(), StartError> {
        assert!(self.venue.is_none());
        let feed = &self.config.feed;
        let surroundings = Surroundings {
            clock: self.clock.clone(),
            storage: files(),
            hot: self.home.path().join("hot"),
            ports: Ports {
                gateway: AnyPort::Memory(self.network.bind(self.config.gateway.listen).unwrap()),
                feed: AnyPort::Memory(self.network.multicast_sender(feed.interface).unwrap()),
                repair: AnyPort::Memory(self.network.bind(feed.repair).unwrap()),
            },
            entropy: Entropy::seeded(self.now().0),
        };
        self.venue = Some(assemble(&self.config, surroundings)?);
        Ok(())
    }

    /// The process dies between two steps.
    pub fn crash(&mut self) {
        self.venue = None;
    }

    /// One step of one agent: `turn` counts them.
    pub fn step_agent(&mut self, turn: usize) {
        let now = self.now();
        let venue = self.venue();
        let at = turn % (venue.agents.len() + 1);
        match venue.agents.get_mut(at) {
            Some(placed) => {
                placed.agent.duty_cycle(now);
                placed.agent.housekeeping(now);
            }
            None => {
                let preparer = venue.preparer.as_mut();
                preparer.map(|p| p.duty_cycle(now));
            }
        }
    }

    /// Everybody does what there is to do now.
    pub fn settle(&mut self) {
        for _ in 0..200 {
            let now = self.now();
            let mut work = 0;
            if let Some(venue) = &mut self.venue {
                for placed in &mut venue.agents {
                    work += placed.agent.duty_cycle(now);
                    placed.agent.housekeeping(now);
                }
                work += venue.preparer.as_mut().map_or(0, |p| p.duty_cycle(now));
            }
            for firm in &mut self.firms {
                let events = &mut firm.events;
                work += firm.broker.poll(now, |event| events.push(event));
            }
            work += self.feed.poll(now, &mut self.heard);
            if work == 0 {
                return;
            }
        }
    }

    /// Lets `ns` pass.
    pub fn run(&mut self, ns: u64) {
        let end = self.now().plus(ns);
        while self.now() < end {
            let left = end.since(self.now());
            self.clock.advance(if left > 100 * MS { 5 * MS } else { MS.min(left) });
            self.settle();
        }
    }

    pub fn until(&mut self, done: impl Fn(&World) -> bool) {
        let since = self.now();
        while !done(self) {
            assert!(self.now().since(since) < 60 * SECOND, "not within a minute");
            self.run(MS);
        }
    }

    /// Hours go by at once to shortly before `at`: everybody finds everybody again, and reaches it.
    pub fn skip_to(&mut self, at: Nanos) {
        self.clock.set(Nanos(at.0 - 3 * SECOND));
        self.run(3 * SECOND);
    }

    /// True once the day is over at the exchange.
    pub fn over(&self) -> bool {
        self.venue.as_ref().is_some_and(|v| v.status.day_over().is_some())
    }

    /// The process ends work on a day that is over and served, as `rialto run` does.
    pub fn end_day(&mut self) -> PathBuf {
        let Assembly { agents, preparer, day, status, facts, .. } = self.venue.take().unwrap();
        drop((agents, preparer));
        let over = status.day_over().map(|_| status.state_hash().1);
        assert!(over.is_some(), "the day is not over");
        assert!(close_day(day, over).unwrap());
        facts.day
    }

    /// Over, served, closed.
    pub fn roll_off(&mut self) -> PathBuf {
        self.until(World::over);
        self.run(self.config.day.linger_ns);
        self.end_day()
    }

    pub fn day(&self, name: &str) -> PathBuf {
        self.home.path().join("data").join(name)
    }
}

pub fn config(dir: &Path, text: &str) -> Config {
    Config::parse(&dir.join("rialto.toml"), text).unwrap_or_else(|e| panic!("{e}"))
}

/// The exchange of a day as its log says, the event log verified, and the Genesis records in it.
pub fn replayed(dir: &Path) -> (Exchange, Vec<Event>) {
    let view = DayView::open(dir).unwrap();
    let mut events = Vec::new();
    let done = replay(&view, Until::End, true, |_, e| events.push(*e), |_| {}).unwrap();
    let mut reader = view.log(LogIndex::Command).reader().unwrap();
    let mut genesis = 0;
    while let Some(record) = reader.next().unwrap() {
        genesis += usize::from(record.kind == rialto::exchange::command::kind::GENESIS);
    }
    assert_eq!(genesis, 1, "one Genesis a day");
    (done.exchange, events)
}

/// Cash and shares by name; nothing may be held.
pub type Holdings = BTreeMap<String, (u64, BTreeMap<String, u64>)>;

pub fn holdings(exchange: &Exchange) -> Holdings {
    let genesis = exchange.genesis();
    let mut all = Holdings::new();
    for (slot, spec) in (0u16..).zip(&genesis.accounts) {
        let view = exchange.account(AccountSlot(slot)).unwrap();
        assert_eq!(view.cash_held, Notional(0));
        let mut shares = BTreeMap::new();
        for p in view.positions {
            assert_eq!(p.held, 0);
            let name = genesis.symbols[p.locate.0 as usize - 1].symbol.text();
            if p.free > 0 {
                shares.insert(name, p.free);
            }
        }
        all.insert(spec.name.text(), (view.cash_free.0, shares));
    }
    all
}

/// The same of what a Genesis opens with.
pub fn opening(genesis: &rialto::exchange::genesis::Genesis) -> Holdings {
    let name = |l: Locate| genesis.symbols[l.0 as usize - 1].symbol.text();
    let account = |a: &rialto::exchange::genesis::AccountSpec| {
        let shares = a.positions.iter().filter(|p| p.1 > 0).map(|&(l, n)| (name(l), n));
        (a.name.text(), (a.cash.0, shares.collect()))
    };
    genesis.accounts.iter().map(account).collect()
}
