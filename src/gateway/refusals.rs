//! Refused logins, for whoever tells the operator: how many there were, and the latest one.
//!
//! Ingress notes each one with some plain stores, behind three HMACs; a cold thread looks now and then and
//! may miss all but the last. Must not know logs, and never holds a key, a nonce or an HMAC.

use crate::types::{Alpha, User};
use crate::wire::session::RefusedCode;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Why a login is refused. The broker learns [`Why::code`] and no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// No session has this user.
    User,
    /// The session's `allow` does not have the source.
    Source,
    /// A version or flags that we do not know.
    Form,
    /// The HMAC is not that of the session's key over our public address.
    Key,
    /// Its time is too far from ours, or not later than that of the user's last login.
    Time,
    /// The day is over.
    DayOver,
    /// The configuration no longer has the user.
    Closed,
}

impl Why {
    const ALL: [Why; 7] =
        [Why::User, Why::Source, Why::Form, Why::Key, Why::Time, Why::DayOver, Why::Closed];

    /// What J says (session.md, Own blocks).
    pub fn code(self) -> RefusedCode {
        match self {
            Why::User | Why::Source | Why::Form | Why::Key => RefusedCode::NotAuthorised,
            Why::Time => RefusedCode::Time,
            Why::DayOver | Why::Closed => RefusedCode::NoSession,
        }
    }

    /// For the operator.
    pub fn text(self) -> &'static str {
        match self {
            Why::User => "no [[session]] has this user",
            Why::Source => "the session's allow does not have this address",
            Why::Form => "a version or flags that this venue does not know",
            Why::Key => "another key, or signed for another address than gateway.public",
            Why::Time => {
                "its clock is more than 5 s off, or its time is not later than the last login's"
            }
            Why::DayOver => "the day is over",
            Why::Closed => "the configuration no longer has this user",
        }
    }
}

/// One refused login.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// User as it was named: any bytes.
    pub user: User,
    /// Where it came from; a source that has proven to receive there.
    pub from: SocketAddrV4,
    /// Why.
    pub why: Why,
}

/// How many there were and the latest one. One writer, any number of readers.
#[derive(Debug, Default)]
pub struct Refusals {
    /// Twice the count; odd while the rest is being written.
    version: AtomicU64,
    user: AtomicU64,
    /// Address << 16 | port.
    from: AtomicU64,
    /// Index into [`Why::ALL`].
    why: AtomicU64,
}

impl Refusals {
    /// None yet.
    pub fn new() -> Arc<Refusals> {
        Arc::default()
    }

    /// One more. One writer; plain stores.
    pub fn note(&self, refusal: Refusal) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version + 1, Ordering::Relaxed);
        // Whoever sees one of the stores below sees the odd version.
        fence(Ordering::Release);
        let mut user = [0; 8];
        user[..6].copy_from_slice(&refusal.user.0);
        self.user.store(u64::from_le_bytes(user), Ordering::Relaxed);
        let ip = u64::from(u32::from(*refusal.from.ip()));
        self.from.store(ip << 16 | u64::from(refusal.from.port()), Ordering::Relaxed);
        let why = Why::ALL.iter().position(|&why| why == refusal.why).unwrap_or(0);
        self.why.store(why as u64, Ordering::Relaxed);
        self.version.store(version + 2, Ordering::Release);
    }

    /// The count and the latest one; `None` when there is none, or it is being written just now.
    pub fn latest(&self) -> Option<(u64, Refusal)> {
        let version = self.version.load(Ordering::Acquire);
        let user = self.user.load(Ordering::Relaxed).to_le_bytes();
        let from = self.from.load(Ordering::Relaxed);
        let why = self.why.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        if version == 0 || version % 2 == 1 || self.version.load(Ordering::Relaxed) != version {
            return None;
        }
        let [a, b, c, d, e, f, _, _] = user;
        let ip = Ipv4Addr::from((from >> 16) as u32);
        let refusal = Refusal {
            user: Alpha([a, b, c, d, e, f]),
            from: SocketAddrV4::new(ip, from as u16),
            why: Why::ALL[why as usize % Why::ALL.len()],
        };
        Some((version / 2, refusal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    fn nth(n: u64) -> Refusal {
        Refusal {
            user: User::new(&format!("{:06}", n % 1_000_000)).unwrap(),
            from: SocketAddrV4::new(Ipv4Addr::from(n as u32), n as u16),
            why: Why::ALL[n as usize % Why::ALL.len()],
        }
    }

    #[test]
    fn the_latest_is_told_with_the_count() {
        let refusals = Refusals::default();
        assert_eq!(refusals.latest(), None);
        for n in 1..=20 {
            refusals.note(nth(n));
            assert_eq!(refusals.latest(), Some((n, nth(n))));
        }
    }

    #[test]
    fn a_reader_never_sees_parts_of_two() {
        const ALL: u64 = 200_000;
        let refusals = Refusals::new();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (1..=ALL).for_each(|n| refusals.note(nth(n)));
                done.store(true, Ordering::Release);
            });
            while !done.load(Ordering::Acquire) {
                if let Some((n, refusal)) = refusals.latest() {
                    assert_eq!(refusal, nth(n));
                }
            }
        });
        assert_eq!(refusals.latest(), Some((ALL, nth(ALL))));
    }
}
