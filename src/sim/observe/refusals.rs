//! Refusals: whether H and J answer something, and say what is true (session.md Own blocks, Login, 17).
//!
//! Consumes the datagrams that reached the gateway and the unsequenced ones that left under no name;
//! produces answers to nobody, codes without cause, J 'S' more often than once a second, and logins that
//! got neither H nor J nor A though one was due. Reads L
//! with its own table; HMACs are `upstream`'s.

use super::bytes::packet;
use super::session::SessionWatch;
use super::stream::hex;
use super::upstream::{is_valid_nonce, nonce_for};
use super::{Faults, Sent};
use crate::sim::{GATEWAY, user};
use crate::types::*;
use crate::wire::session;
use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};

const SECOND: u64 = 1_000_000_000;
/// A login's time may be off by so much.
const CLOCK_NS: u64 = 5 * SECOND;
/// First octets of the hosts that may log in.
const ALLOWED: [u8; 2] = [10, 1];
/// An answer comes within so long.
const SLACK_NS: u64 = 60_000_000;
/// So many J 'A' within a second silence a host.
const FAILURES_MAX: usize = 10;
/// Of a login that took effect so long ago, the gateway knows.
const KNOWN_NS: u64 = 100_000_000;
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

    fn user(&self) -> User {
        Alpha(self.block[4..10].try_into().expect("six bytes"))
    }

    /// The nonce is one that was made for this user at this address.
    fn has_nonce(&self, from: SocketAddrV4) -> bool {
        is_valid_nonce(from, &self.user(), self.at, &self.block[56..72])
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
    /// L without a valid nonce, less H that left.
    unchallenged: i64,
    logins: Vec<Received>,
    /// Last J 'S' for a dead token.
    told_dead: Option<Nanos>,
    /// Since when H or J is owed, for each L, and whether also to who is silenced.
    owed: VecDeque<(Nanos, bool)>,
}

/// The gateway's answers to whoever sends.
#[derive(Default)]
pub struct Refusals {
    peers: BTreeMap<SocketAddrV4, Peer>,
    /// L that came and were not looked at yet.
    fresh: VecDeque<(SocketAddrV4, Nanos, [u8; 104])>,
    /// Times of the last J 'A' to a host.
    failures: BTreeMap<Ipv4Addr, VecDeque<Nanos>>,
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
            if head.sequence == 0 && block[0] == b'L' {
                self.fresh.push_back((from, at, *block));
            }
            if peer.logins.len() == LOGINS_MAX {
                peer.logins.remove(0);
            }
            peer.logins.push(Received { at, block: *block });
        }
    }

    /// The exchange comes up: its counts of a second begin anew.
    pub fn up(&mut self) {
        self.failures.clear();
        for peer in self.peers.values_mut() {
            peer.told_dead = None;
            peer.owed.clear();
        }
    }

    /// What the L that came up to `until` are owed: A again to the live login's own, H to whoever has
    /// no nonce for this user, J to whoever cannot log in. A right one is a command.
    pub fn expect(&mut self, until: Nanos, sessions: &mut [SessionWatch], keys: &[[u8; 32]]) {
        while let Some(&(from, at, block)) = self.fresh.front()
            && at <= until
        {
            self.fresh.pop_front();
            let login = Received { at, block };
            let nonce = login.client_nonce();
            let named = (0..keys.len()).find(|&slot| user(slot).0 == block[4..10]);
            let session = named.and_then(|slot| sessions.get_mut(slot));
            let fresh = !login.has_nonce(from);
            let (mut known, mut late) = (false, login.time().abs_diff(at.0) > CLOCK_NS);
            if let Some(session) = session {
                known = session.is_again(from, nonce, at) || session.knows(from, nonce, at);
                let settled = Nanos(at.0.saturating_sub(KNOWN_NS));
                late |= login.time() <= session.login_time(settled);
            }
            let peer = self.peers.entry(from).or_default();
            peer.unchallenged += i64::from(fresh);
            if !known && (fresh || late || !login.is_right(from, keys)) {
                peer.owed.push_back((at, fresh));
            }
        }
    }

    /// Judges up to `now` what was never answered.
    pub fn until(&mut self, now: Nanos, faults: &mut Faults) {
        for (to, peer) in &mut self.peers {
            while let Some(&(since, always)) = peer.owed.front()
                && now > since.plus(SLACK_NS)
            {
                peer.owed.pop_front();
                let failures = self.failures.get(to.ip()).into_iter().flatten();
                let failures: Vec<Nanos> = failures.copied().collect();
                // Ten within a second, the last of them at most a second ago.
                let silenced = !always
                    && failures.windows(FAILURES_MAX).any(|ten| {
                        let (first, last) = (ten[0], ten[FAILURES_MAX - 1]);
                        last.since(first) <= SECOND + SLACK_NS
                            && last <= since.plus(SLACK_NS)
                            && since <= last.plus(SECOND + SLACK_NS)
                    });
                if !silenced && !faults.excused(since, since.plus(SLACK_NS)) {
                    let what = format!("{to}: L of {}", since.0);
                    faults.at("a login was not answered", what, now);
                }
            }
        }
    }

    /// An H or a J left. `over`: the day had ended by then.
    pub fn judge(
        &mut self,
        sent: &Sent,
        sessions: &mut [SessionWatch],
        keys: &[[u8; 32]],
        (over, clocks_agree): (bool, bool),
        faults: &mut Faults,
    ) {
        if clocks_agree {
            // A later answer pays for nothing that is overdue.
            self.until(sent.at, faults);
        }
        let block = match packet(&sent.bytes) {
            Some((head, blocks)) if head.sequence == 0 && blocks.len() == 1 => blocks[0],
            _ => &[],
        };
        let to = sent.peer;
        if block.starts_with(b"JA") {
            let failures = self.failures.entry(*to.ip()).or_default();
            let tenth_last = failures.len().checked_sub(FAILURES_MAX).map(|at| failures[at]);
            if tenth_last.is_some_and(|failed| sent.at.since(failed) < SECOND) {
                faults.at("a silenced host got J 'A'", format!("{to}"), sent.at);
            }
            failures.push_back(sent.at);
            if failures.len() > 40 * FAILURES_MAX {
                failures.pop_front();
            }
        }
        let peer = self.peers.entry(to).or_default();
        // H answers who has no nonce, else one of another user; J who has one.
        let challenge = block.starts_with(b"H");
        let owed = |o: &(Nanos, bool)| o.0 <= sent.at && o.1 == challenge;
        let other = |o: &(Nanos, bool)| o.0 <= sent.at && challenge;
        let place = peer.owed.iter().position(owed);
        if let Some(place) = place.or_else(|| peer.owed.iter().position(other))
            && !block.starts_with(b"JB")
        {
            peer.owed.remove(place);
        }
        let why = match block {
            [b'H', nonce @ ..] if block.len() == 17 => {
                peer.unchallenged -= 1;
                let mut users = peer.logins.iter().rev().map(Received::user);
                let named = users.any(|user| nonce_for(to, &user, sent.at, 0)[..] == *nonce);
                let why = match (clocks_agree, peer.unchallenged < 0, named) {
                    (true, true, _) => Some("each login had a valid nonce"),
                    (true, _, false) => Some("no user whom it named has this nonce"),
                    _ => None,
                };
                why.or(peer.answer())
            }
            [b'J', b'B', 0, 0, 0, 0, 0, 1, ..] if block.len() == 24 => {
                let told = sessions.iter_mut().any(|s| s.was_displaced(to, &block[8..24], sent.at));
                (!told).then_some("nobody displaced it")
            }
            [b'J', code, 0, 0, 0, 0, 0, 1, nonce @ ..] if block.len() == 24 => {
                let mut login = peer.logins.iter().filter(|l| l.client_nonce() == nonce);
                let dead = sessions.iter().any(|s| s.was_bound(to, nonce));
                let late = |l: &Received| {
                    let off = l.time().abs_diff(l.at.0) > CLOCK_NS;
                    let last = sessions.iter().find(|s| user(s.slot().0 as usize) == l.user());
                    let again = last.is_some_and(|s| s.login_time(sent.at) >= l.time());
                    // The live login's own is answered with A.
                    let own = last.is_some_and(|s| s.is_own(to, nonce, l.at));
                    (off || again && !own) && l.has_nonce(to)
                };
                let why = match code {
                    b'A' => (!login
                        .any(|l| !l.is_right(to, keys) && (!clocks_agree || l.has_nonce(to))))
                    .then_some("no login with this nonce is wrong and may be told so"),
                    b'T' => (clocks_agree && !login.any(late)
                        || !clocks_agree && login.next().is_none())
                    .then_some("no login with this nonce is out of time"),
                    b'S' => {
                        let of = sessions.iter_mut().filter(|s| s.was_bound(to, nonce));
                        of.for_each(|s| s.told_dead(sent.at));
                        let last = peer.told_dead.replace(sent.at);
                        let often = last.is_some_and(|last| sent.at.since(last) < SECOND);
                        let served = sessions.iter().find_map(|s| s.was_served(to, nonce));
                        let asks = |since| {
                            let mut own = peer.logins.iter();
                            own.any(|l| l.client_nonce() == nonce && l.at >= since)
                        };
                        match (dead, often) {
                            _ if clocks_agree && served.is_some_and(|since| !asks(since)) => {
                                Some("the end of the day told it, and its reports can be had")
                            }
                            // Every login is refused so.
                            _ if over => None,
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
