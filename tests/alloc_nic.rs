//! No allocation on the order path's thread of a whole venue over AF_XDP, once warm: the venue as it
//! is started, its threads and all, on one end of a veth pair; a broker and orders on the other.
//! A binary of its own: its threads are told apart by their names.

#[path = "it/counting.rs"]
mod counting;

use counting::calls_of;
use rialto::broker::{Broker, BrokerConfig, BrokerEvent, NewOrder};
use rialto::clock::{Clock, SystemClock};
use rialto::config::Config;
use rialto::host::wire::Wire;
use rialto::net::UdpPort;
use rialto::net::xdp::Path;
use rialto::topology::Venue;
use rialto::types::*;
use std::io::Write;
use std::net::SocketAddrV4;

/// Orders before counting begins: every buffer has been as long as it gets.
const WARM_UP: u64 = 5_000;
const ORDERS: u64 = 50_000;
/// Orders under way at a time.
const WINDOW: u64 = 64;
/// How long it may take at most, ns.
const PATIENCE_NS: u64 = 120_000_000_000;

#[test]
fn the_order_path_over_af_xdp_allocates_nothing() {
    let wire = match Wire::new() {
        Ok(wire) => wire,
        Err(why) => {
            // Past the test harness, which shows only what failing tests print.
            let _ = writeln!(std::io::stderr(), "SKIPPED: needs root and ip (iproute2): {why}");
            return;
        }
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rialto.toml");
    let text = std::fs::read_to_string("rialto.toml").unwrap();
    let text = text
        .replace("127.0.0.1\"]", &format!("{}\"]", wire.clients.ip))
        .replace("127.0.0.1", &wire.exchange.ip.to_string())
        .replace("degraded = false", "degraded = true")
        .replace("[snapshot]", "[network]\npath = \"af_xdp\"\n[snapshot]")
        // Segments end while it is counted, and all of them fit into the hot tier: a slow disk must
        // not have the venue refuse orders. The session may send as fast as it is answered.
        .replace("segment_mib = 16", "segment_mib = 1")
        .replace("hot_segments_max = 16", "hot_segments_max = 128")
        .replace("allow = [", "rate = 1000000\nburst = 1000000\nallow = [");
    std::fs::write(&path, text).unwrap();
    let mut config = Config::load(&path).unwrap();
    config.hot = rialto::config::HotTier::Directory(dir.path().join("hot"));
    let clock = SystemClock::new();
    let venue = wire.exchange.run(|| Venue::start(&config, clock)).unwrap().unwrap();
    assert_eq!(venue.path, Path::NativeCopy);
    let thread = thread_of("rialto-ingress");
    let gateway = config.gateway.listen;
    let (sent, before, after) = wire
        .clients
        .run(|| {
            let mut desk = Desk::connect(gateway, clock);
            desk.trade(WARM_UP);
            let before = calls_of(thread);
            desk.trade(ORDERS);
            (desk.accepted, before, calls_of(thread))
        })
        .unwrap();
    assert!(before > 0, "a thread that never allocated is not the one that was set up");
    println!("{sent} orders accepted; {} allocator calls in the last {ORDERS}", after - before);
    assert_eq!(sent, WARM_UP + ORDERS);
    assert_eq!(after - before, 0, "allocator calls on the order path's thread");
    venue.stop().unwrap();
}

/// Number of this process's thread of that name.
fn thread_of(name: &str) -> i32 {
    let named = |task: &std::fs::DirEntry| {
        let comm = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        comm.trim() == name
    };
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let found = tasks.into_iter().find(named).expect("a thread of that name");
    found.file_name().to_str().unwrap().parse().unwrap()
}

/// One broker that trades with itself: every second order takes what the one before it left.
struct Desk {
    broker: Broker<UdpPort>,
    clock: SystemClock,
    entered: u64,
    accepted: u64,
}

impl Desk {
    fn connect(gateway: SocketAddrV4, clock: SystemClock) -> Desk {
        let user = User::new("ALFA01").unwrap();
        let config = BrokerConfig::new(user, [1; 32], vec![gateway]);
        let port = UdpPort::bind(SocketAddrV4::new([0, 0, 0, 0].into(), 0)).unwrap();
        let broker = Broker::new(config, port).unwrap();
        let mut desk = Desk { broker, clock, entered: 0, accepted: 0 };
        let until = clock.now().plus(PATIENCE_NS);
        while !desk.broker.is_bound() || !desk.broker.is_caught_up() {
            desk.poll();
            assert!(clock.now() < until, "no login");
        }
        desk
    }

    fn poll(&mut self) {
        let accepted = &mut self.accepted;
        self.broker.poll(self.clock.now(), |event| {
            use rialto::wire::ouch::Outbound;
            match event {
                BrokerEvent::Report { report: Outbound::Accepted(_), .. } => *accepted += 1,
                BrokerEvent::Report { report: Outbound::Rejected(refusal), .. } => {
                    panic!("after {accepted} accepted: {refusal:?}")
                }
                _ => {}
            }
        });
    }

    /// So many orders more, each accepted before this returns.
    fn trade(&mut self, orders: u64) {
        let target = self.entered + orders;
        let until = self.clock.now().plus(PATIENCE_NS);
        while self.accepted < target {
            while self.entered < target && self.entered - self.accepted < WINDOW {
                let side = if self.entered.is_multiple_of(2) { Side::Sell } else { Side::Buy };
                let symbol = Symbol::new("ALPH").unwrap();
                let order = NewOrder::limit(side, symbol, Quantity(1), Price(100_000));
                self.broker.enter(&order).unwrap();
                self.entered += 1;
            }
            self.broker.flush(self.clock.now());
            self.poll();
            assert!(self.clock.now() < until, "{} of {target} accepted", self.accepted);
        }
    }
}
