//! The feed's other side: what a subscriber links against.
//!
//! Consumes both multicast lines and repair through any [`Port`]; produces every message once and
//! in order ([`FeedHandler`]), and books built from them ([`BookMirror`]). Knows nothing of the
//! server; what it relies on stands in `docs/feed.md`.
//!
//! | module | job |
//! |---|---|
//! | [`arbiter`] | lines A, B and repair -> one stream in order |
//! | `window` | messages that came before their turn |
//! | `holes` | which numbers are missing |
//! | [`repair`] | what to ask for, how often |
//! | [`mirror`] | ITCH -> books, order by order |

#![forbid(unsafe_code)]

pub mod arbiter;
mod holes;
pub mod mirror;
mod orders;
pub mod repair;
mod window;

pub use arbiter::{FeedCounters, FeedListener, FeedOptions, Line};
pub use mirror::{Bbo, BookDigest, BookMirror, Execution, MirrorError, MirrorListener, Top};

use crate::net::Port;
use crate::net::UdpPort;
use crate::types::{Nanos, SessionName};
use crate::wire::mold::Header;
use arbiter::Arbiter;
use std::net::{Ipv4Addr, SocketAddrV4};

/// Bursts taken from each port in one poll: bounds a poll at 64 x 64 datagrams.
const BURSTS_MAX: usize = 64;

/// Where a feed is. What a venue tells its subscribers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FeedAddresses {
    /// Multicast group and port of line A.
    pub group_a: SocketAddrV4,
    /// Multicast group and port of line B.
    pub group_b: SocketAddrV4,
    /// Address of the own network interface on which the groups are joined.
    pub interface: Ipv4Addr,
    /// Repair servers, asked in turn when one is silent. Empty: no repair.
    pub repair: Vec<SocketAddrV4>,
}

/// Follows one feed: two joined ports, one port for repair.
pub struct FeedHandler<P: Port> {
    line_a: P,
    line_b: P,
    request: P,
    servers: Vec<SocketAddrV4>,
    arbiter: Arbiter,
    strangers: u64,
}

impl FeedHandler<UdpPort> {
    /// Joins both groups and binds a port for repair on the interface. The error names the address
    /// that failed.
    pub fn join(
        addresses: &FeedAddresses,
        options: FeedOptions,
    ) -> std::io::Result<FeedHandler<UdpPort>> {
        let line_a = UdpPort::join(addresses.group_a, addresses.interface)?;
        let line_b = UdpPort::join(addresses.group_b, addresses.interface)?;
        let request = UdpPort::bind(SocketAddrV4::new(addresses.interface, 0))?;
        Ok(FeedHandler::new(line_a, line_b, request, addresses.repair.clone(), options))
    }
}

impl<P: Port> FeedHandler<P> {
    /// Over ports that exist: two that receive lines A and B, one that sends requests to `servers`
    /// and receives their answers. Without servers what is missing on both lines is given up after
    /// 100 ms at most.
    pub fn new(
        line_a: P,
        line_b: P,
        request: P,
        servers: Vec<SocketAddrV4>,
        mut options: FeedOptions,
    ) -> FeedHandler<P> {
        if servers.is_empty() {
            options.give_up_ns = options.give_up_ns.min(100_000_000);
            options.repair.gap_wait_ns = u64::MAX; // nobody to ask
        }
        let arbiter = Arbiter::new(options);
        FeedHandler { line_a, line_b, request, servers, arbiter, strangers: 0 }
    }

    /// Takes what has arrived, delivers what is in order, sends the repair requests that are due.
    /// Returns the datagrams taken; never blocks. `now` is read once by the caller, from any clock
    /// that does not go back.
    pub fn poll(&mut self, now: Nanos, listener: &mut impl FeedListener) -> usize {
        let FeedHandler { line_a, line_b, request, servers, arbiter, strangers } = self;
        let mut taken = 0;
        for _ in 0..BURSTS_MAX {
            let mut burst = line_a.receive(|datagram, _| {
                arbiter.on_packet(Line::A, now, datagram, listener);
            });
            burst += line_b.receive(|datagram, _| {
                arbiter.on_packet(Line::B, now, datagram, listener);
            });
            burst += request.receive(|datagram, from| {
                if servers.contains(&from) {
                    arbiter.on_packet(Line::Repair, now, datagram, listener);
                } else {
                    *strangers += 1;
                }
            });
            taken += burst;
            if burst == 0 {
                break;
            }
        }
        let session = arbiter.session();
        arbiter.tick(now, listener, |ask| {
            let Some(session) = session else { return };
            let header = Header { session, sequence: ask.from, count: ask.count };
            request.send(servers[ask.server % servers.len()], |out| header.write(out));
        });
        request.flush();
        taken
    }

    /// What happened so far.
    pub fn counters(&self) -> FeedCounters {
        self.arbiter.counters()
    }

    /// Session followed, once one was heard.
    pub fn session(&self) -> Option<SessionName> {
        self.arbiter.session()
    }

    /// Number of the next message to be delivered.
    pub fn next(&self) -> u64 {
        self.arbiter.next()
    }

    /// Messages that are known to exist and have not come yet.
    pub fn missing(&self) -> u64 {
        self.arbiter.missing()
    }

    /// True when the session has ended and everything was delivered.
    pub fn finished(&self) -> bool {
        self.arbiter.finished()
    }

    /// Datagrams on the repair port that came from no repair server.
    pub fn strangers(&self) -> u64 {
        self.strangers
    }

    /// The three ports, A, B, repair: to park on, and for what they count.
    pub fn ports(&self) -> [&P; 3] {
        [&self.line_a, &self.line_b, &self.request]
    }
}
