//! Refusals: whether H and J answer something, and say what is true (session.md Own blocks, Login, 17).
//!
//! Consumes the datagrams that reached the gateway and the unsequenced ones that left under no name;
//! produces answers to nobody, codes without cause, and J 'S' more often than once a second. Reads L
//! with its own table; HMACs are `upstream`'s.

use super::bytes::packet;
use super::session::SessionWatch;
use super::stream::hex;
use super::{Faults, Sent};
use crate::sim::{GATEWAY, user};
use crate::types::*;
use crate::wire::session;
use std::collections::BTreeMap;
use std::net::SocketAddrV4;

const SECOND: u64 = 1_000_000_000;
/// A login's time may be off by so much.
const CLOCK_NS: u64 = 5 * SECOND;
/// First octets of the hosts that may log in.
const ALLOWED: [u8; 2] = [10, 1];
/// L remembered of one address.
const LOGINS_MAX: usize = 1_024;

struct Received {
    at: Nanos,
    block: [u8; 104],
}

impl Received {
    fn client_nonce(&self) -> &[u8] {
        &self.block[40..56]
    }

    fn time(&self) -> u64 {
        u64::from_be_bytes(self.block[32..40].try_into().expect("eight bytes"))
    }

    /// Nothing of it can be refused as not authorised.
    fn is_right(&self, from: SocketAddrV4, keys: &[[u8; 32]]) -> bool {
        let named = (0..keys.len()).find(|&slot| user(slot).0 == self.block[4..10]);
        let signed = named.is_some_and(|slot| {
            let (ip, port) = (GATEWAY.ip().octets(), GATEWAY.port());
            session::login_hmac(&keys[slot], &self.block, ip, port) == self.block[72..]
        });
        signed && self.block[1] == 1 && self.block[2] <= 3 && from.ip().octets()[..2] == ALLOWED
    }
}

/// What one address sent and was answered.
#[derive(Default)]
struct Peer {
    /// Datagrams received from it, less answers that left.
    unanswered: i64,
    logins: Vec<Received>,
    /// Last J 'S' for a dead token.
    told_dead: Option<Nanos>,
}

/// The gateway's answers to whoever sends.
#[derive(Default)]
pub struct Refusals {
    peers: BTreeMap<SocketAddrV4, Peer>,
}

impl Refusals {
    /// The gateway received a datagram.
    pub fn received(&mut self, from: SocketAddrV4, bytes: &[u8], at: Nanos) {
        let peer = self.peers.entry(from).or_default();
        peer.unanswered += 1;
        if let Some((head, blocks)) = packet(bytes)
            && head.session == *b"          "
            && let [block] = blocks[..]
            && let Ok(block) = <&[u8; 104]>::try_from(block)
        {
            if peer.logins.len() == LOGINS_MAX {
                peer.logins.remove(0);
            }
            peer.logins.push(Received { at, block: *block });
        }
    }

    /// The exchange comes up: its counts of a second begin anew.
    pub fn up(&mut self) {
        self.peers.values_mut().for_each(|peer| peer.told_dead = None);
    }

    /// An H or a J left. `over`: the day has ended.
    pub fn judge(
        &mut self,
        sent: &Sent,
        sessions: &mut [SessionWatch],
        keys: &[[u8; 32]],
        (over, clocks_agree): (bool, bool),
        faults: &mut Faults,
    ) {
        let block = match packet(&sent.bytes) {
            Some((head, blocks)) if head.sequence == 0 && blocks.len() == 1 => blocks[0],
            _ => &[],
        };
        let to = sent.peer;
        let peer = self.peers.entry(to).or_default();
        let why = match block {
            [b'H', ..] if block.len() == 17 => peer.answer(),
            [b'J', b'B', ..] if block.len() == 24 => {
                let told = sessions.iter_mut().any(|s| s.was_displaced(to, &block[8..24], sent.at));
                (!told).then_some("nobody displaced it")
            }
            [b'J', code, 0, 0, 0, 0, 0, 1, nonce @ ..] if block.len() == 24 => {
                let mut login = peer.logins.iter().filter(|l| l.client_nonce() == nonce);
                let dead = sessions.iter().any(|s| s.was_bound(to, nonce));
                let late = |l: &Received| {
                    let off = l.time().abs_diff(l.at.0) > CLOCK_NS;
                    off || sessions.iter().any(|s| s.last_login_time() >= l.time())
                };
                let why = match code {
                    b'A' => login
                        .all(|l| l.is_right(to, keys))
                        .then_some("every login with this nonce is right, or there is none"),
                    b'T' => (clocks_agree && !login.any(late)
                        || !clocks_agree && login.next().is_none())
                    .then_some("no login with this nonce is out of time"),
                    b'S' if over => None,
                    b'S' => {
                        let last = peer.told_dead.replace(sent.at);
                        let often = last.is_some_and(|last| sent.at.since(last) < SECOND);
                        match (dead, often) {
                            (false, _) => Some("it never was bound under this nonce"),
                            (_, true) => Some("it was told so within the last second"),
                            _ => None,
                        }
                    }
                    _ => Some("no such code on one node"),
                };
                why.or(peer.answer())
            }
            _ => Some("no block that may stand under no name"),
        };
        if let Some(why) = why {
            let what = format!("to {to}: {}: {why}", hex(&sent.bytes));
            faults.at("a refusal without cause", what, sent.at);
        }
    }
}

impl Peer {
    /// One datagram, at most one answer.
    fn answer(&mut self) -> Option<&'static str> {
        self.unanswered -= 1;
        (self.unanswered < 0).then_some("more answers than datagrams")
    }
}
