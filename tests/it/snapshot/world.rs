//! A venue assembled on a simulated host, its shadow as another process of that host, and clients.

use crate::venue::client::*;
use rialto::agent::Agent;
use rialto::clock::{Clock, ManualClock};
use rialto::config::Config;
use rialto::exchange::command::{Command, Phase};
use rialto::exchange::event::Event;
use rialto::gateway::Entropy;
use rialto::net::{AnyPort, MemoryNetwork, MemoryPort, Port};
use rialto::replay::{Until, replay};
use rialto::shadow::Shadow;
use rialto::snapshot::{self, Refusal};
use rialto::store::*;
use rialto::topology::{Assembly, Ports, Surroundings, assemble};
use rialto::types::*;
use rialto::wire::mold::{self, Header};
use rialto::wire::ouch::Outbound;
use rialto::wire::session::{Accepted, Block};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub const MS: u64 = 1_000_000;
/// 2025-01-02, 09:00 UTC.
const START: Nanos = Nanos(1_735_776_000_000_000_000 + 9 * 3_600_000_000_000);
const REPAIR: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 9_100);
const DISK: &str = "/disk/data";

fn text(durability: &str) -> String {
    let mut text = format!(
        r#"
[venue]
name = "RIALTO"
data = "data"
hot = "/memory/hot"
durability = "{durability}"
open = "immediate"
test_keys = true
[capacity]
orders_max = 20000
segment_mib = 1
hot_segments_max = 8
[gateway]
listen = "10.0.0.1:9000"
key = "5555555555555555555555555555555555555555555555555555555555555555"
[feed]
interface = "10.0.0.1"
a = "239.1.1.1:26400"
b = "239.1.1.2:26400"
repair = "10.0.0.1:9100"
[[symbol]]
name = "AAPL"
[[symbol]]
name = "MSFT"
"#
    );
    for slot in 0..3 {
        let key = format!("{:02x}", slot + 1).repeat(32);
        text += &format!(
            r#"
[[firm]]
name = "F{slot:02}"
[[account]]
name = "A{slot:02}"
firm = "F{slot:02}"
cash = "10000000000.00"
shares = 100000000
[[session]]
user = "FIRM{slot:02}"
firm = "F{slot:02}"
account = "A{slot:02}"
key = "{key}"
allow = ["10.0.0.0/8"]
rate = 1000000
burst = 100000
"#
        );
    }
    text
}

pub struct World {
    pub storage: Arc<MemoryStorage>,
    pub clients: Vec<RawClient>,
    network: MemoryNetwork,
    clock: ManualClock,
    config: Config,
    venue: Option<Assembly>,
    subscriber: MemoryPort,
    urn: [u32; 2],
}

/// Files of the day's directory.
pub type Disk = (PathBuf, Vec<(std::ffi::OsString, Vec<u8>)>);

impl World {
    pub fn new(seed: u64, durability: &str) -> World {
        let config = Config::parse(Path::new("/disk/rialto.toml"), &text(durability))
            .unwrap_or_else(|e| panic!("{e}"));
        let network = MemoryNetwork::new();
        let client = |slot: usize| {
            let host = Ipv4Addr::new(10, 0, 1, slot as u8 + 1);
            RawClient::new(network.bind(SocketAddrV4::new(host, 5_000)).unwrap(), slot)
        };
        let clients = (0..2).map(client).collect();
        let host = Ipv4Addr::new(10, 0, 2, 1);
        let mut world = World {
            storage: Arc::new(MemoryStorage::new(seed, Path::new("/memory"))),
            clients,
            subscriber: network.bind(SocketAddrV4::new(host, 6_000)).unwrap(),
            network,
            clock: ManualClock::new(START),
            config,
            venue: None,
            urn: [0; 2],
        };
        world.start();
        while world.venue().status.phase() != Phase::Open {
            world.run(MS);
        }
        world
    }

    pub fn now(&self) -> Nanos {
        self.clock.now()
    }

    pub fn venue(&self) -> &Assembly {
        self.venue.as_ref().expect("the venue is up")
    }

    /// The venue's process comes up.
    pub fn start(&mut self) {
        assert!(self.venue.is_none());
        self.clock.advance(700 * MS);
        let feed = &self.config.feed;
        let surroundings = Surroundings {
            clock: self.clock.clone(),
            storage: self.storage.clone(),
            hot: PathBuf::from("/memory/hot"),
            ports: Ports {
                gateway: AnyPort::Memory(self.network.bind(self.config.gateway.listen).unwrap()),
                feed: AnyPort::Memory(self.network.multicast_sender(feed.interface).unwrap()),
                repair: AnyPort::Memory(self.network.bind(feed.repair).unwrap()),
            },
            entropy: Entropy::seeded(self.now().0),
        };
        let venue = assemble(&self.config, surroundings).unwrap_or_else(|e| panic!("start: {e}"));
        self.venue = Some(venue);
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.storage.crash();
        self.venue = None;
    }

    /// The host's power is gone; the memory tier with it.
    pub fn lose_power(&mut self) {
        self.storage.lose_power();
        self.venue = None;
    }

    pub fn lose_or_kill(&mut self, _choice: u64) {
        self.kill();
    }

    /// SIGTERM: the archive gets everything.
    pub fn stop_well(&mut self) {
        let Assembly { agents, preparer, day, .. } = self.venue.take().unwrap();
        drop((agents, preparer));
        assert!(day.seal().unwrap());
        drop(day);
        self.storage.crash();
    }

    pub fn cycle(&mut self) -> usize {
        let now = self.clock.now();
        let venue = self.venue.as_mut().unwrap();
        let mut done = 0;
        for placed in &mut venue.agents {
            done += placed.agent.duty_cycle(now);
        }
        if let Some(preparer) = &mut venue.preparer {
            done += preparer.duty_cycle(now);
        }
        done
    }

    pub fn run(&mut self, ns: u64) {
        let end = self.now().plus(ns);
        while self.now() < end {
            self.clock.advance(MS.min(end.since(self.now())));
            while self.cycle() > 0 {}
        }
        let venue = self.venue.as_mut().unwrap();
        for placed in &mut venue.agents {
            placed.agent.housekeeping(end);
        }
    }

    pub fn login(&mut self, slot: usize) -> Accepted {
        self.clock.advance(1_000);
        let client = &mut self.clients[slot];
        client.take();
        client.nonce += 1;
        let time = self.clock.now();
        let first = client.login_block(time, [0; 16]);
        client.send_own(&first.bytes());
        self.run(MS);
        let client = &mut self.clients[slot];
        client.receive();
        let challenge = client.inbox.drain(..).find_map(|r| match r {
            Received::Own(Block::Challenge(c)) => Some(c.server_nonce),
            _ => None,
        });
        client.raw.clear();
        let nonce = challenge.expect("a challenge");
        let second = client.login_block(time, nonce);
        let block = client.signed(&second);
        client.send_own(&block);
        self.run(MS);
        match self.clients[slot].receive_login(nonce) {
            Some(Block::Accepted(accepted)) => accepted,
            other => panic!("login answered by {other:?}"),
        }
    }

    /// `rounds` times: client 0 offers, one of two offers is taken by client 1, now and then a cancel.
    pub fn trade(&mut self, rounds: u32) {
        for round in 0..rounds {
            let [maker, taker] = &mut self.urn;
            let price = 1_000_000 + 100 * (round % 50);
            let offers = [sell(*maker + 1, price), sell(*maker + 2, 3_000_000)];
            let gone = cancel(*maker + 2);
            self.clients[0].send(&[&offers[0], &offers[1]]);
            if round % 8 != 0 {
                self.clients[0].send(&[&gone]);
            }
            let bids = [buy(*taker + 1, price), buy(*taker + 2, 500_000)];
            let gone = cancel(*taker + 2);
            self.clients[1].send(&[&bids[0], &bids[1]]);
            if round % 8 != 1 {
                self.clients[1].send(&[&gone]);
            }
            (*maker, *taker) = (*maker + 2, *taker + 2);
            self.run(MS);
        }
        self.clients.iter_mut().for_each(|client| drop(client.take()));
    }

    /// Number of the last report of a session.
    pub fn last_report(&self, slot: usize) -> u64 {
        self.venue().board.next_report(SessionSlot(slot as u16)) - 1
    }

    /// Asks for `count` reports from `from` on.
    pub fn reports(&mut self, slot: usize, from: u64, count: u16) -> Vec<(u64, Outbound)> {
        self.run(100 * MS);
        self.clients[slot].take();
        self.clients[slot].request(from, count);
        self.run(20 * MS);
        let mut reports = self.clients[slot].reports();
        reports.retain(|(number, _)| (from..from + u64::from(count)).contains(number));
        reports
    }

    /// Asks repair for `count` messages from `from` on: first number and payload of the answer.
    pub fn repair(&mut self, from: u64, count: u16) -> Option<(u64, Vec<u8>)> {
        let session = self.venue().genesis.feed_session();
        let mut bytes = [0; mold::HEADER_BYTES];
        Header { session, sequence: from, count }.write(&mut bytes);
        self.subscriber.send(REPAIR, |out| {
            out[..bytes.len()].copy_from_slice(&bytes);
            bytes.len()
        });
        self.subscriber.flush();
        self.run(100 * MS);
        let mut answer = None;
        self.subscriber.receive(|datagram, _| {
            let (header, _) = mold::parse(datagram).unwrap();
            answer = Some((header.sequence, datagram.to_vec()));
        });
        answer
    }

    pub fn day_dir(&self) -> PathBuf {
        Path::new(DISK).join("2025-01-02")
    }

    pub fn view(&self) -> DayView {
        DayView::open_in(Arc::new(self.storage.process()), &self.day_dir()).unwrap()
    }

    /// The logs agree, and the exchange that made them is sound.
    pub fn check_logs(&self) {
        let replayed = replay(&self.view(), Until::End, true, |_, _| {}, |_| {}).unwrap();
        replayed.exchange.check();
        assert_eq!(replayed.verified, replayed.events);
    }

    pub fn shadow(&self, storage: Arc<MemoryStorage>) -> (Shadow, Vec<Refusal>) {
        Shadow::open(storage, &self.day_dir(), 3_600_000_000_000).unwrap()
    }

    /// Lets a shadow catch up, and the archiver with it: 20 ms for commands, 50 more for their events.
    pub fn follow(&mut self, shadow: &mut Shadow) {
        for _ in 0..100 {
            self.run(MS);
            while shadow.duty_cycle(self.now()) > 0 {}
        }
    }

    /// A shadow's snapshot of what is there now.
    pub fn snapshot(&mut self) -> Seq {
        let (mut shadow, refused) = self.shadow(Arc::new(self.storage.process()));
        assert!(refused.is_empty(), "{refused:?}");
        while shadow.duty_cycle(self.now()) > 0 {}
        shadow.want_snapshot();
        self.follow(&mut shadow);
        assert!(shadow.fault().is_none(), "{:?}", shadow.fault());
        assert!(shadow.counters().snapshots.get() > 0, "no snapshot");
        shadow.written()
    }

    pub fn remove_snapshots(&self) {
        let dir = self.day_dir();
        for seq in snapshot::list(&*self.storage, &dir).unwrap() {
            self.storage.unlink(&dir.join(snapshot::name_of(seq))).unwrap();
        }
    }

    pub fn copy_disk(&self) -> Disk {
        (self.day_dir(), self.storage.look_at_all(&self.day_dir()))
    }

    /// The day's directory as it was, and no hot tier.
    pub fn put_disk(&self, (dir, files): &Disk) {
        self.storage.remove_all(dir).unwrap();
        self.storage.create_private_dir(dir).unwrap();
        for (name, bytes) in files {
            self.storage.put(&dir.join(name), bytes).unwrap();
        }
    }

    pub fn disk_is_full(&self, full: bool) {
        let mut faults = self.storage.faults(Tier::Disk);
        faults.limit_bytes = if full { 0 } else { u64::MAX };
        self.storage.set_faults(Tier::Disk, faults);
    }

    /// With no venue up: one event more than the commands give, then a command that gives one.
    pub fn forge_an_event(&self) {
        let spec = DaySpec {
            storage: self.storage.clone(),
            data: PathBuf::from(DISK),
            hot: PathBuf::from("/memory/hot"),
            name: "RIALTO".into(),
            date: "2025-01-02".into(),
            archive: true,
            segment_bytes: 1 << 20,
            hot_segments_max: 8,
        };
        let day = Day::open(&spec, self.now()).unwrap();
        let [commands, events] = LogIndex::ALL.map(|log| day.log(log));
        let (found, made) = (commands.recover().unwrap(), events.recover().unwrap());
        let mut reader = events.reader().unwrap();
        let mut last = None;
        while let Some(record) = reader.next().unwrap() {
            last = Event::decode(record.kind, record.payload);
        }
        let last = last.unwrap();
        let mut writer = events.writer(&made).unwrap();
        let size = last.size();
        writer.append(last.body.kind(), 0, self.now(), 1, size, |out| last.encode(out)).unwrap();
        day.control().set_committed(LogIndex::Event, writer.mark());
        let mut bytes = [0; 64];
        let (kind, len) = Command::Phase(Phase::Closed).encode(&mut bytes);
        let mut writer = commands.writer(&found).unwrap();
        let fill = |out: &mut [u8]| out.copy_from_slice(&bytes[..len]);
        writer.append(kind, 0, self.now(), 1, len, fill).unwrap();
        day.control().set_committed(LogIndex::Command, writer.mark());
    }
}
