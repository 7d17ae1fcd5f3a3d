//! Gateway: where order-entry datagrams come in and reports go out (session.md, the exchange side).
//!
//! ```text
//!   datagrams -> Ingress -> command ring -> sequencer::inbound
//!                   |  ^
//!              asks |  | SessionBoard (bindings, applied-through: committed values only)
//!                   v  |
//!   datagrams <- Egress <- event log            Replayer <- event log (old reports, own thread)
//! ```
//!
//! Consumes datagrams and committed events; produces commands and datagrams. Must not know how the
//! exchange decides: it gives a verdict on form and rate, never on sequence numbers or orders.

pub mod egress;
pub mod ingress;
pub mod refusals;
pub mod replay;
pub mod session_auth;
pub mod throttle;

mod asks;
mod client;
mod packets;
mod pending;
mod reports;
mod translate;

pub use egress::{Egress, EgressCounters, EgressLinks, ResumedSession};
pub use ingress::{Ingress, IngressCounters};
pub use refusals::{Refusal, Refusals, Why};
pub use replay::{Replayer, ReplayerCounters};
pub use session_auth::Entropy;
pub use translate::report_of;

use crate::types::*;
use std::net::{Ipv4Addr, SocketAddrV4};

/// Reports that egress keeps in memory per session, unless configured otherwise (session.md 15).
pub const REPORTS_KEPT: usize = 4_096;
/// Uncommitted messages of one session beyond which its datagrams are dropped (session.md 18).
pub const UNCOMMITTED_MAX: usize = 1_024;
/// A client sequence more than this above the next one is dropped and counted (session.md 9).
pub const JUMP_MAX: u64 = 65_536;
/// Slots of the rings between ingress, egress and replayer that `topology` should make: one burst
/// of 64 datagrams asks at most 64 times.
pub const ASK_SLOTS: usize = 1_024;

/// Everything that the agents of one gateway are told at construction.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Address that clients send to and put into the HMAC of L (behind NAT the public one).
    pub public: SocketAddrV4,
    /// Key of H's nonces; all gateways of the venue share it.
    pub gateway_key: [u8; 32],
    /// Raft term modulo 2^32, 1 on one node: shown in A, J and K.
    pub epoch: u32,
    /// Midnight of the trading date in the venue's zone: base of OUCH timestamps.
    pub midnight: Nanos,
    /// Sessions; the index is the slot, as in Genesis.
    pub sessions: Vec<SessionConfig>,
    /// Account names by [`AccountSlot`], as in Genesis (reserved for reports that name them).
    pub accounts: Vec<AccountName>,
    /// Recent reports kept in memory per session, a power of two, at least 512.
    pub reports_kept: usize,
    /// Bytes per second of replay answers per session (10 MB/s in session.md 15).
    pub replay_bytes_per_second: u64,
    /// Most datagrams that one replay request is answered with (64 in session.md 15).
    pub replay_packets_max: usize,
}

impl GatewayConfig {
    /// A configuration with the stated defaults and no sessions yet.
    pub fn new(public: SocketAddrV4, gateway_key: [u8; 32], midnight: Nanos) -> GatewayConfig {
        GatewayConfig {
            public,
            gateway_key,
            epoch: 1,
            midnight,
            sessions: Vec::new(),
            accounts: Vec::new(),
            reports_kept: REPORTS_KEPT,
            replay_bytes_per_second: 10_000_000,
            replay_packets_max: 64,
        }
    }
}

/// One order-entry session as the gateway sees it.
#[derive(Clone)]
pub struct SessionConfig {
    /// User name.
    pub user: User,
    /// Downstream session name of the day (`Genesis::downstream_name`).
    pub name: SessionName,
    /// The session's key; never in a log.
    pub key: [u8; 32],
    /// Sources that may log in; empty = none may.
    pub allow: Vec<Network>,
    /// Message rate.
    pub rate: Rate,
    /// False: J 'S' to every login (the user is closed).
    pub open: bool,
}

impl std::fmt::Debug for SessionConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key stays out of every log and panic message.
        f.debug_struct("SessionConfig")
            .field("user", &self.user)
            .field("name", &self.name)
            .field("allow", &self.allow)
            .field("rate", &self.rate)
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}

/// An IPv4 network: address and prefix length 0 ..= 32.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    /// Address; bits beyond the prefix are ignored.
    pub address: Ipv4Addr,
    /// Leading bits that must agree; more than 32 is taken as 32.
    pub prefix: u8,
}

impl Network {
    /// True when `ip` lies in the network.
    pub fn contains(&self, ip: Ipv4Addr) -> bool {
        let shift = 32 - self.prefix.min(32) as u32;
        let network = u32::from(self.address) ^ u32::from(ip);
        network.checked_shr(shift).unwrap_or(0) == 0
    }
}

/// Messages per second and burst of a session (session.md 18).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// Tokens that come back per second, at least 1.
    pub per_second: u32,
    /// Tokens at most, at least 1.
    pub burst: u32,
}

impl Default for Rate {
    /// 5,000 a second, burst 500 (session.md 18).
    fn default() -> Rate {
        Rate { per_second: 5_000, burst: 500 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_by_prefix() {
        let net = |a: [u8; 4], prefix| Network { address: Ipv4Addr::from(a), prefix };
        assert!(net([10, 1, 2, 3], 8).contains(Ipv4Addr::new(10, 9, 9, 9)));
        assert!(!net([10, 1, 2, 3], 16).contains(Ipv4Addr::new(10, 9, 9, 9)));
        assert!(net([10, 1, 2, 3], 32).contains(Ipv4Addr::new(10, 1, 2, 3)));
        assert!(!net([10, 1, 2, 3], 32).contains(Ipv4Addr::new(10, 1, 2, 2)));
        assert!(net([0, 0, 0, 0], 0).contains(Ipv4Addr::new(255, 1, 2, 2)));
    }
}
