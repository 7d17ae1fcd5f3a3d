//! One attempt to log in at one gateway: L -> H -> L -> A or J.
//!
//! Consumes the gateway's answers and the time; produces the L to send next and when. Must not
//! know sockets or messages. Source: SESSION, Login.

use crate::random::SplitMix64;
use crate::types::*;
use crate::wire::session::{self, LOGIN_BYTES, Login, Nonce};
use std::net::SocketAddrV4;

use super::config::BrokerConfig;

/// First wait for an answer to an L, doubled with each repeat.
const RETRY_NS: u64 = 20_000_000;
/// First Ls (zero nonce) sent before the next gateway is tried: 20 + 40 + 80 ms.
const HELLO_TRIES: u32 = 3;
/// Signed Ls sent before the next gateway is tried: 20 + 40 + 80 + 160 ms, then each 320 ms, 3.5 s in all.
/// The gateway lives, as it has answered, and a login is a command that has to be committed first: by
/// a slow disk in seconds. Less than the 5 s after which its time is refused.
const SIGNED_TRIES: u32 = 14;
/// Longest wait between two of them.
const SIGNED_WAIT_NS: u64 = 320_000_000;

/// Source of client nonces.
#[derive(Debug)]
pub(super) enum Entropy {
    /// The operating system's.
    System,
    /// From a seed: tests and simulation.
    Seeded(SplitMix64),
}

impl Entropy {
    pub fn new(seed: Option<u64>) -> Entropy {
        seed.map_or(Entropy::System, |seed| Entropy::Seeded(SplitMix64::new(seed)))
    }

    pub fn next(&mut self) -> u64 {
        match self {
            // Without randomness from the host no login can be made safely; it never fails on
            // Linux once the system is up.
            Entropy::System => getrandom::u64().expect("the host's random source"),
            Entropy::Seeded(random) => random.draw(),
        }
    }

    pub fn nonce(&mut self) -> Nonce {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&self.next().to_be_bytes());
        nonce[8..].copy_from_slice(&self.next().to_be_bytes());
        nonce
    }
}

/// What the timer wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Nothing yet.
    Wait,
    /// Send [`Attempt::block`].
    Send,
    /// This gateway does not answer.
    GiveUp,
}

/// Nonces of a signed login: what its A is known by, and what its packet keys are made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub client_nonce: Nonce,
    pub server_nonce: Nonce,
}

/// State of the attempt.
#[derive(Debug)]
pub(super) struct Attempt {
    login: Login,
    block: [u8; LOGIN_BYTES],
    /// A challenge other than the one signed, for the next repeat.
    newer: Option<Nonce>,
    signed: bool,
    sends: u32,
    due: bool,
    last_send: Nanos,
}

impl Attempt {
    /// Starts with a nonce, a fresh one unless the exchange may still accept an earlier attempt's: the
    /// answer to that one is then known. The first L is due at once.
    pub fn new(config: &BrokerConfig, client_nonce: Nonce, next_report: u64) -> Attempt {
        let mut flags = 0;
        if config.cancel_on_disconnect {
            flags |= session::FLAG_CANCEL_ON_DISCONNECT;
        }
        if config.packet_mac {
            flags |= session::FLAG_PACKET_MAC;
        }
        let login = Login {
            version: session::VERSION,
            flags,
            user: config.user,
            wanted: config.wanted,
            next_report,
            dead_time_ms: config.dead_time_ms,
            time: Nanos(0),
            client_nonce,
            server_nonce: [0; 16],
            hmac: [0; 32],
        };
        let block = login.bytes();
        let last_send = Nanos(0);
        Attempt { login, block, newer: None, signed: false, sends: 0, due: true, last_send }
    }

    /// The nonce by which answers are known.
    pub fn client_nonce(&self) -> &Nonce {
        &self.login.client_nonce
    }

    /// What may be committed, once a signed L was sent: only then an A is taken.
    pub fn pending(&self) -> Option<Pending> {
        let Login { client_nonce, server_nonce, .. } = self.login;
        self.signed.then_some(Pending { client_nonce, server_nonce })
    }

    /// True when more than one signed L was sent: a refusal of the time may then answer a repeat
    /// of a login that was accepted.
    pub fn is_repeated(&self) -> bool {
        self.signed && self.sends > 1
    }

    /// Time since the signed L, if it was sent once: a login is committed like any message, so its
    /// answer takes as long as theirs.
    pub fn round_trip(&self, now: Nanos) -> Option<u64> {
        (self.signed && self.sends == 1).then(|| now.since(self.last_send))
    }

    /// The L to send.
    pub fn block(&self) -> &[u8; LOGIN_BYTES] {
        &self.block
    }

    /// H arrived. The first one is signed at once; another one, which says that ours was stale,
    /// at the next repeat, so that a forged H cannot push a login aside that is under way.
    pub fn on_challenge(&mut self, nonce: Nonce) {
        if nonce == [0; 16] {
            return;
        }
        if self.login.server_nonce == [0; 16] {
            self.newer = Some(nonce);
            self.due = true;
        } else if nonce != self.login.server_nonce {
            self.newer = Some(nonce);
        }
    }

    /// What is to be done now. `last_time` is the time of the user's last L and is moved on: each
    /// signing carries a later one.
    pub fn step(
        &mut self,
        now: Nanos,
        key: &session::Key,
        gateway: SocketAddrV4,
        last_time: &mut Nanos,
    ) -> Step {
        if !self.due {
            let wait = (RETRY_NS << self.sends.saturating_sub(1).min(8)).min(SIGNED_WAIT_NS);
            if now.since(self.last_send) < wait {
                return Step::Wait;
            }
            if self.sends >= if self.signed { SIGNED_TRIES } else { HELLO_TRIES } {
                return Step::GiveUp;
            }
        }
        if let Some(nonce) = self.newer.take() {
            if !self.signed {
                self.sends = 0;
            }
            *last_time = now.max(last_time.plus(1));
            self.login.time = *last_time;
            self.login.server_nonce = nonce;
            self.block = self.login.signed(key, gateway.ip().octets(), gateway.port());
            self.signed = true;
        } else if !self.signed {
            self.login.time = now;
            self.block = self.login.bytes();
        }
        self.due = false;
        self.sends += 1;
        self.last_send = now;
        Step::Send
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt() -> (Attempt, SocketAddrV4) {
        let gateway = "127.0.0.1:9001".parse().unwrap();
        let user = User::new("ALFA01").unwrap();
        (Attempt::new(&BrokerConfig::new(user, [1; 32], vec![gateway]), [7; 16], 0), gateway)
    }

    #[test]
    fn an_unanswered_gateway_is_given_up() {
        let (mut attempt, gateway) = attempt();
        let (mut sends, mut last) = (0, Nanos(0));
        for ms in 0.. {
            match attempt.step(Nanos(ms * 1_000_000), &[1; 32], gateway, &mut last) {
                Step::Send => sends += 1,
                Step::Wait => {}
                Step::GiveUp => {
                    assert_eq!((sends, ms), (HELLO_TRIES, 140));
                    break;
                }
            }
        }
    }

    #[test]
    fn a_repeat_is_the_same_bytes_and_a_new_challenge_is_signed_with_a_later_time() {
        let (mut attempt, gateway) = attempt();
        let key = [1; 32];
        let mut last = Nanos(0);
        let now = Nanos(5_000_000_000);
        assert_eq!(attempt.step(now, &key, gateway, &mut last), Step::Send);
        assert!(attempt.pending().is_none());
        attempt.on_challenge([9; 16]);
        assert_eq!(attempt.step(now, &key, gateway, &mut last), Step::Send);
        assert_eq!(last, now);
        let first = *attempt.block();
        assert!(session::verify_login(&key, &first, [127, 0, 0, 1], 9001));
        attempt.on_challenge([9; 16]);
        assert_eq!(attempt.step(now, &key, gateway, &mut last), Step::Wait);
        let later = now.plus(RETRY_NS);
        assert_eq!(attempt.step(later, &key, gateway, &mut last), Step::Send);
        assert_eq!(*attempt.block(), first);
        attempt.on_challenge([8; 16]);
        assert_eq!(attempt.step(later, &key, gateway, &mut last), Step::Wait);
        let later = later.plus(2 * RETRY_NS);
        assert_eq!(attempt.step(later, &key, gateway, &mut last), Step::Send);
        assert_ne!(*attempt.block(), first);
        assert_eq!(last, later);
        assert!(session::verify_login(&key, attempt.block(), [127, 0, 0, 1], 9001));
    }
}
