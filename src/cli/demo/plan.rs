//! What a demo runs on: ports, groups, directories and the configuration that the exchange gets.

use anyhow::Context;
use rialto::clock::{Clock, SystemClock};
use rialto::host::wire::Wire;
use rialto::net::xdp::PathWish;
use rialto::store::memory_free_bytes;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::{Path, PathBuf};

/// Brokers of a demo, each a firm with one account and one session.
pub const BROKERS: usize = 4;

/// Opening cash of each, whole units; shares of every symbol; shares per order at most.
pub const CASH: u64 = 100_000_000_000;
pub const SHARES: u64 = 1_000_000_000;
pub const QUANTITY_MAX: u32 = 500_000;

/// Hot tier of both logs: a minute at 43,000 orders a second.
const HOT_BYTES: u64 = 1 << 30;
const SEGMENT_BYTES: u64 = 32 << 20;

/// Where everything is.
pub struct Plan {
    /// Directory of this run: configuration, logs, mirrors' results.
    pub dir: PathBuf,
    /// Hot tier of the logs.
    pub hot: PathBuf,
    /// Gateway.
    pub gateway: SocketAddrV4,
    /// Repair.
    pub repair: SocketAddrV4,
    /// Lines A and B.
    pub groups: [SocketAddrV4; 2],
    /// Configuration file.
    pub config: PathBuf,
    /// Longest that a broker waits before it repeats: losses make round trips long, not the path.
    pub resend_max_ns: u64,
    /// Seconds that a day lasts, of several; 0 = one day without end.
    pub day_seconds: u64,
    /// Symbols, locate = index + 1.
    pub symbols: Vec<String>,
    /// Where brokers and subscribers are.
    pub own: Ipv4Addr,
    /// Two hosts and a wire; `None`: everything on loopback.
    pub wire: Option<Wire>,
    /// Ways that the exchange may take.
    pub path: PathWish,
    /// Why everything is on loopback.
    pub why_loopback: String,
}

/// User name of a broker's session.
pub fn user(broker: usize) -> String {
    format!("BRK{:03}", broker + 1)
}

/// Test key of a broker's session: nothing secret in a demo on loopback.
pub fn key(broker: usize) -> [u8; 32] {
    [broker as u8 + 1; 32]
}

impl Plan {
    /// Finds free ports, makes the directory and writes the configuration.
    ///
    /// For AF_XDP it makes two hosts and a wire, and moves the calling thread to the clients' side.
    pub fn make(
        symbols: Vec<String>,
        durability: &str,
        day_seconds: u64,
        path: PathWish,
    ) -> anyhow::Result<Plan> {
        let (wire, why_loopback) = match path {
            PathWish::Udp => (None, "as asked".into()),
            _ => match Wire::new() {
                Ok(wire) => {
                    wire.clients.enter().context("enter a network namespace")?;
                    (Some(wire), String::new())
                }
                Err(error) if path.allows_udp() => (None, format!("AF_XDP over veth: {error}")),
                Err(error) => {
                    return Err(error).with_context(|| format!("--path {path} needs a veth pair"));
                }
            },
        };
        let own = wire.as_ref().map_or(Ipv4Addr::LOCALHOST, |w| w.clients.ip);
        let exchange = wire.as_ref().map_or(Ipv4Addr::LOCALHOST, |w| w.exchange.ip);
        let path = if wire.is_some() { path } else { PathWish::Udp };
        let id = std::process::id();
        let dir = std::env::temp_dir().join(format!("rialto-demo-{id}"));
        std::fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        let shm = Path::new("/dev/shm");
        // Everything of a short run fits; a container with less gets the hot tier on its disk.
        let hot = match memory_free_bytes(shm) {
            Some(free) if free >= HOT_BYTES => shm.join(format!("rialto-demo-{id}")),
            _ => dir.join("hot"),
        };
        let [gateway, repair, line_a, line_b] = free_ports()?;
        let host = |port| SocketAddrV4::new(exchange, port);
        // Organisation-local scope (RFC 2365), a pair per process, so that demos do not mix.
        let pair = (id % 250) as u8;
        let group = |line, port| SocketAddrV4::new(Ipv4Addr::new(239, 192, pair, line), port);
        let plan = Plan {
            config: dir.join("rialto.toml"),
            dir,
            hot,
            gateway: host(gateway),
            repair: host(repair),
            groups: [group(1, line_a), group(2, line_b)],
            // Group commits of a slow disk take longer than any hop on loopback.
            resend_max_ns: if durability == "disk" { 1_000_000_000 } else { 5_000_000 },
            day_seconds,
            symbols,
            own,
            wire,
            path,
            why_loopback,
        };
        std::fs::write(&plan.config, plan.text(durability))
            .with_context(|| format!("write {}", plan.config.display()))?;
        Ok(plan)
    }

    /// Takes everything away again.
    pub fn remove(&self) {
        // Nothing of the demo is worth an error at its end.
        let _ = std::fs::remove_dir_all(&self.dir);
        let _ = std::fs::remove_dir_all(&self.hot);
    }

    fn text(&self, durability: &str) -> String {
        // It is noon at the demo's venue: none of its restarts finds that the day is over.
        let second = (SystemClock::new().now().0 / 1_000_000_000 % 86_400) as i64;
        let noon = (43_200 - second) / 60;
        let mut t = String::new();
        let _ = write!(
            t,
            "# Written by `rialto demo`.\n[venue]\nname = \"RIALTO\"\ndata = \"data\"\nhot = {:?}\ndegraded = true\n\
             durability = \"{durability}\"\ntest_keys = true\n\
             zone_offset_minutes = {noon}\ntrial_day_seconds = {}\nlinger_seconds = 1\n\n[capacity]\norders_max = 400000\n\
             price_pages_max = 256\nsegment_mib = {}\nhot_segments_max = {}\n\n[gateway]\n\
             listen = \"{}\"\n\n[feed]\na = \"{}\"\nb = \"{}\"\nrepair = \"{}\"\n\
             interface = \"{}\"\nrepair_bytes_per_second = 50000000\n\n[network]\npath = \"{}\"\n",
            self.hot,
            self.day_seconds,
            SEGMENT_BYTES >> 20,
            HOT_BYTES / 2 / SEGMENT_BYTES,
            self.gateway,
            self.groups[0],
            self.groups[1],
            self.repair,
            self.gateway.ip(),
            self.path
        );
        for symbol in &self.symbols {
            let _ = write!(t, "\n[[symbol]]\nname = \"{symbol}\"\nprotection = \"5.00\"\n");
        }
        for broker in 0..BROKERS {
            let (firm, user) = (format!("FRM{}", broker + 1), user(broker));
            let _ = write!(
                t,
                "\n[[firm]]\nname = \"{firm}\"\n\n[[account]]\nname = \"ACC{}\"\nfirm = \"{firm}\"\n\
                 cash = \"{CASH}.00\"\nshares = {SHARES}\norder_quantity_max = {QUANTITY_MAX}\n\n\
                 [[session]]\nuser = \"{user}\"\nfirm = \"{firm}\"\naccount = \"ACC{}\"\nkey = \"{}\"\n\
                 allow = [\"{}\"]\nrate = 1000000\nburst = 1000000\n",
                broker + 1,
                broker + 1,
                format!("{:02x}", broker + 1).repeat(32),
                self.own,
            );
        }
        t
    }
}

fn free_ports() -> anyhow::Result<[u16; 4]> {
    // Held together until all are known, so that the kernel gives four different ones.
    let mut held = Vec::new();
    let mut ports = [0; 4];
    for port in &mut ports {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
            .context("no UDP socket on 127.0.0.1: the demo needs the loopback interface")?;
        *port = socket.local_addr()?.port();
        held.push(socket);
    }
    Ok(ports)
}
