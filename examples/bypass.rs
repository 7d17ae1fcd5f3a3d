//! An engine and a feed subscriber past the kernel's network stack: one NIC, one thread that spins,
//! orders, reports, lines A and B and repair over AF_XDP. Enters pairs of orders that trade with each
//! other, one pair in flight, and says what came of them.
//!
//! ```text
//! cargo run --release --example bypass -- --interface eth1 --gateway 10.0.0.2:9001 --repair 10.0.0.2:9103
//! ```
//!
//! It takes CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF, and a host other than the exchange's: a NIC does not
//! hear itself. While it runs nobody else on this host receives what is for its ports and the groups.

mod common;

use common::*;
use rialto::agent::{Agent, IdleStrategy, Runner, RunnerOptions};
use rialto::broker::{Broker, BrokerConfig, BrokerEvent, NewOrder, SettledBy};
use rialto::clock::{Clock, SystemClock};
use rialto::net::XdpPort;
use rialto::net::xdp::{Duties, Nic, NicConfig, PathWish, XdpError};
use rialto::subscriber::{FeedHandler, FeedListener, FeedOptions};
use rialto::types::*;
use rialto::wire::itch::Message;
use rialto::wire::ouch::Outbound;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const USAGE: &str = "bypass --interface NAME --gateway IP:PORT --repair IP:PORT [--pairs N]
  [--rate 2000]     pairs a second; a session may send 5,000 messages a second when nothing else is agreed
  [--path af_xdp] [--feed-a GROUP:PORT] [--feed-b GROUP:PORT] [--symbol ALPH] [--price 10.00]
  [--ports FIRST]   four UDP ports of this host from here on (20001)
  [--user ALFA01 --key HEX] [--other BRVO01 --other-key HEX]";

/// No answer for so long: something is wrong.
const PATIENCE_NS: u64 = 5_000_000_000;

/// What the feed has told.
#[derive(Default)]
struct Seen {
    executions: u64,
    lost: u64,
}

impl FeedListener for Seen {
    fn on_message(&mut self, _sequence: u64, payload: &[u8], _end_of_packet: bool) {
        let executed = matches!(Message::decode(payload), Ok(Message::Executed(_)));
        self.executions += u64::from(executed);
    }

    fn on_session(&mut self, session: SessionName) {
        say!("feed session {session}");
    }

    fn on_lost(&mut self, _from: u64, count: u64) {
        self.lost += count;
    }

    fn on_end(&mut self, _next: u64) {}
}

/// Both sessions, the feed and the NIC's own duties.
struct Engine {
    clock: SystemClock,
    buyer: Broker<XdpPort>,
    seller: Broker<XdpPort>,
    feed: FeedHandler<XdpPort>,
    seen: Seen,
    executions: u64,
    refusals: u64,
    /// Orders without a verdict.
    open: u64,
}

impl Engine {
    /// One cycle; the buyer's port does the NIC's duties for all of them.
    fn poll(&mut self) -> Nanos {
        let now = self.clock.now();
        let Engine { buyer, seller, feed, seen, executions, refusals, open, .. } = self;
        let mut take = |event: BrokerEvent| {
            tell(&event);
            match event {
                BrokerEvent::Report { report: Outbound::Executed(_), .. } => *executions += 1,
                BrokerEvent::Report { report: Outbound::Rejected(_), .. } => *refusals += 1,
                BrokerEvent::Settled(settled) => {
                    *open -= 1;
                    *refusals += u64::from(settled.by == SettledBy::NotApplied);
                }
                _ => {}
            }
        };
        // What the others have written leaves with the buyer's flush, which is in its poll: last.
        seller.poll(now, &mut take);
        feed.poll(now, seen);
        buyer.poll(now, &mut take);
        now
    }

    fn wait(&mut self, what: &str, done: impl Fn(&Engine) -> bool) {
        let begun = self.clock.now();
        while !done(self) {
            if self.poll().since(begun) > PATIENCE_NS {
                fail(&format!("in vain for 5 s: {what}"));
            }
        }
    }
}

fn main() {
    let mut options = Options::read(USAGE);
    let interface = options.get("interface", "", |t| (!t.is_empty()).then(|| t.to_string()));
    let path: PathWish = options.get("path", "af_xdp", |t| t.parse().ok());
    let group_a = options.get("feed-a", "239.192.0.1:9101", address);
    let group_b = options.get("feed-b", "239.192.0.2:9102", address);
    let repair = options.get("repair", "127.0.0.1:9103", address);
    let symbol = options.get("symbol", "ALPH", Symbol::new);
    let price = options.get("price", "10.00", price);
    let pairs = options.get("pairs", "1000", number);
    let gap_ns = 1_000_000_000 / options.get("rate", "2000", |t| number(t).filter(|&r| r > 0));
    let first = options.get("ports", "20001", |t| t.parse::<u16>().ok().filter(|p| *p < 65_000));
    let buyer = session(&mut options, "ALFA01", "01*32");
    let other = options.get("other", "BRVO01", User::new);
    let other_key = options.get("other-key", "03*32", key);
    options.done();
    let seller = BrokerConfig::new(other, other_key, buyer.gateways.clone());

    let own = own_address(&interface);
    let at = |offset| SocketAddrV4::new(own, first + offset);
    let mut nic = Nic::open(&NicConfig {
        interface,
        queues: vec![0],
        modes: path.modes(),
        destinations: vec![at(0), at(1), at(2), group_a, group_b],
        busy_poll: false,
    })
    .unwrap_or_else(|e| fail(&e.to_string()));
    say!("path {}", nic.path());
    let port = |made: Result<XdpPort, XdpError>| made.unwrap_or_else(|e| fail(&e.to_string()));
    let (buyer_port, seller_port) = (port(nic.bind(at(0))), port(nic.bind(at(1))));
    let request = port(nic.bind(at(2)));
    let (line_a, line_b) = (port(nic.join(group_a, own)), port(nic.join(group_b, own)));
    let Duties { receive, transmit, errand, park_fds, .. } =
        nic.start().unwrap_or_else(|e| fail(&e.to_string()));

    // Who has which Ethernet address is the kernel's to know, and another thread's to ask.
    let (clock, stop) = (SystemClock::new(), Arc::new(AtomicBool::new(false)));
    let options = RunnerOptions {
        park_fds,
        idle: IdleStrategy::Park { spin_ns: 0 },
        ..RunnerOptions::new(clock, stop.clone())
    };
    let errand: Box<dyn Agent + Send> = Box::new(errand);
    let errand =
        Runner::spawn("nic-errand", vec![errand], options).unwrap_or_else(|e| fail(&e.to_string()));

    let mut engine = Engine {
        clock,
        buyer: Broker::new(buyer, buyer_port.alone(receive, transmit))
            .unwrap_or_else(|e| fail(&e.to_string())),
        seller: Broker::new(seller, seller_port).unwrap_or_else(|e| fail(&e.to_string())),
        feed: FeedHandler::new(line_a, line_b, request, vec![repair], FeedOptions::default()),
        seen: Seen::default(),
        executions: 0,
        refusals: 0,
        open: 0,
    };
    engine.wait("both logins", |e| e.buyer.is_caught_up() && e.seller.is_caught_up());
    engine.wait("the feed", |e| e.feed.session().is_some() && e.feed.missing() == 0);
    // Today's earlier trades came by report and by repair.
    let (executions, traded) = (engine.executions, engine.seen.executions);
    let mut round_trips = Vec::with_capacity(pairs as usize);
    let mut begin = engine.clock.now();
    for pair in 1..=pairs {
        begin = begin.plus(gap_ns);
        while engine.poll() < begin {}
        let begun = engine.clock.now();
        let order = |side| NewOrder::limit(side, symbol, Quantity(1), price);
        let sent = [engine.seller.enter(&order(Side::Sell)), engine.buyer.enter(&order(Side::Buy))];
        if let Some(error) = sent.into_iter().find_map(Result::err) {
            fail(&format!("pair {pair}: {error}"));
        }
        engine.open += 2;
        engine.seller.flush(begun);
        engine.buyer.flush(begun);
        engine.wait("both verdicts", |e| e.open == 0);
        round_trips.push(engine.clock.now().since(begun));
    }
    engine.wait("every execution, on the feed and in reports", |e| {
        let all = e.seen.executions - traded >= pairs && e.executions - executions >= 2 * pairs;
        all || e.refusals > 0
    });
    stop.store(true, Ordering::Release);
    let _ = errand.join(); // a panic there has told itself
    round_trips.sort_unstable();
    let us =
        |part: usize| round_trips.get(round_trips.len() * part / 100).map_or(0, |ns| ns / 1_000);
    say!(
        "{pairs} pairs: {} executions reported, {} on the feed, {} refused; feed: repaired {}, lost {}; \
         pair p50 {} us, p99 {} us",
        engine.executions - executions,
        engine.seen.executions - traded,
        engine.refusals,
        engine.feed.counters().repaired,
        engine.seen.lost,
        us(50),
        us(99)
    );
    let right =
        engine.executions - executions == 2 * pairs && engine.refusals + engine.seen.lost == 0;
    std::process::exit(i32::from(!right));
}

/// IPv4 address of an interface.
fn own_address(interface: &str) -> Ipv4Addr {
    let found = af_xdp::Interface::named(interface).unwrap_or_else(|e| fail(&e.to_string()));
    let first = found.addresses.first();
    first.map_or_else(|| fail(&format!("{interface} has no IPv4 address")), |address| address.ip)
}
