//! SessionBoard: what egress learns from committed events, for ingress and timer to read.
//!
//! Per slot: the binding (a sequence lock over eight words), the client sequence applied through,
//! the next report, and when the session was last heard (written by ingress). Egress is the only
//! writer of all but the last. Everything on it is committed: ingress draws the next login
//! generation, drops duplicates and checks tokens by it. Must not know datagrams or commands.

use crate::types::*;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

/// The committed binding of a session, or what is left of the last one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Binding {
    /// False: nobody is bound; the other fields tell the last binding (its token is dead).
    pub bound: bool,
    /// Login generation, 0 = never logged in.
    pub generation: u32,
    /// Ended by the end of the day: what it has not got yet can still be had.
    pub served: bool,
    /// Flags granted.
    pub flags: u8,
    /// Dead time granted, ms.
    pub dead_time_ms: u16,
    /// Token.
    pub token: Token,
    /// The client's address.
    pub address: SocketAddrV4,
    /// Client's nonce of the login.
    pub client_nonce: [u8; 16],
    /// Gateway's nonce of the login.
    pub server_nonce: [u8; 16],
    /// The client's time in L: the next login's must be later.
    pub login_time: Nanos,
}

impl Binding {
    /// Nobody ever logged in.
    pub const NONE: Binding = Binding {
        bound: false,
        generation: 0,
        served: false,
        flags: 0,
        dead_time_ms: 0,
        token: Alpha([0; 10]),
        address: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
        client_nonce: [0; 16],
        server_nonce: [0; 16],
        login_time: Nanos(0),
    };
}

const WORDS: usize = 8;

fn pack(b: &Binding) -> [u64; WORDS] {
    let token = &b.token.0;
    let word = |bytes: &[u8]| {
        let mut out = [0; 8];
        out[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(out)
    };
    let ip = u32::from(*b.address.ip()) as u64;
    [
        b.generation as u64
            | (b.flags as u64) << 32
            | (b.bound as u64) << 40
            | (b.served as u64) << 41
            | (b.dead_time_ms as u64) << 48,
        word(&token[..8]),
        word(&token[8..]) | (b.address.port() as u64) << 16 | ip << 32,
        word(&b.client_nonce[..8]),
        word(&b.client_nonce[8..]),
        word(&b.server_nonce[..8]),
        word(&b.server_nonce[8..]),
        b.login_time.0,
    ]
}

fn unpack(w: &[u64; WORDS]) -> Binding {
    let mut token = [0; 10];
    token[..8].copy_from_slice(&w[1].to_le_bytes());
    token[8..].copy_from_slice(&w[2].to_le_bytes()[..2]);
    let nonce = |low: u64, high: u64| {
        let mut out = [0; 16];
        out[..8].copy_from_slice(&low.to_le_bytes());
        out[8..].copy_from_slice(&high.to_le_bytes());
        out
    };
    Binding {
        bound: (w[0] >> 40) & 1 == 1,
        served: (w[0] >> 41) & 1 == 1,
        generation: w[0] as u32,
        flags: (w[0] >> 32) as u8,
        dead_time_ms: (w[0] >> 48) as u16,
        token: Alpha(token),
        address: SocketAddrV4::new(Ipv4Addr::from((w[2] >> 32) as u32), (w[2] >> 16) as u16),
        client_nonce: nonce(w[3], w[4]),
        server_nonce: nonce(w[5], w[6]),
        login_time: Nanos(w[7]),
    }
}

/// One session's place. Egress' words and ingress' word are on lines of their own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Place {
    /// Odd while the words are being written.
    version: AtomicU64,
    words: [AtomicU64; WORDS],
    applied: AtomicU64,
    next_report: AtomicU64,
    heard: Heard,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Heard(AtomicU64);

/// The table. See the module's head.
#[derive(Debug)]
pub struct SessionBoard {
    places: Box<[Place]>,
    day_over: AtomicBool,
    /// When each session that the end of the day unbound had been told so; 0 = not yet.
    end_told: AtomicU64,
    /// Nothing new is taken: see [`SessionBoard::halt`].
    halted: AtomicBool,
    /// When an ingress last read the network.
    listened: Heard,
}

impl SessionBoard {
    /// A board of `sessions` slots; allocates and touches everything.
    pub fn new(sessions: usize) -> Arc<SessionBoard> {
        let places: Box<[Place]> = (0..sessions).map(|_| Place::default()).collect();
        for place in &places {
            place.next_report.store(1, Ordering::Relaxed);
        }
        Arc::new(SessionBoard {
            places,
            day_over: AtomicBool::new(false),
            end_told: AtomicU64::new(0),
            halted: AtomicBool::new(false),
            listened: Heard::default(),
        })
    }

    /// Number of slots.
    pub fn sessions(&self) -> usize {
        self.places.len()
    }

    /// Version of the slot's binding: changes with every [`SessionBoard::bind`]; even when stable.
    /// A slot outside the table reads 0.
    #[inline]
    pub fn version(&self, slot: SessionSlot) -> u64 {
        self.places.get(slot.0 as usize).map_or(0, |p| p.version.load(Ordering::Acquire))
    }

    /// The binding, never a mixture of two. [`Binding::NONE`] for a slot outside the table. Retries
    /// while egress writes (eight stores).
    #[inline]
    pub fn binding(&self, slot: SessionSlot) -> (u64, Binding) {
        let Some(place) = self.places.get(slot.0 as usize) else { return (0, Binding::NONE) };
        loop {
            let before = place.version.load(Ordering::Acquire);
            if before & 1 == 0 {
                let mut words = [0; WORDS];
                for (word, shared) in words.iter_mut().zip(&place.words) {
                    *word = shared.load(Ordering::Relaxed);
                }
                // The loads above may not sink below the second look at the version.
                fence(Ordering::Acquire);
                if place.version.load(Ordering::Relaxed) == before {
                    return (before, unpack(&words));
                }
            }
            std::hint::spin_loop();
        }
    }

    /// Replaces the binding. Egress only.
    pub fn bind(&self, slot: SessionSlot, binding: &Binding) {
        let Some(place) = self.places.get(slot.0 as usize) else { return };
        let version = place.version.load(Ordering::Relaxed);
        place.version.store(version + 1, Ordering::Relaxed);
        // The odd version is seen before any of the new words.
        fence(Ordering::Release);
        for (shared, word) in place.words.iter().zip(pack(binding)) {
            shared.store(word, Ordering::Relaxed);
        }
        place.version.store(version + 2, Ordering::Release);
    }

    /// Client sequence applied through, committed.
    #[inline]
    pub fn applied(&self, slot: SessionSlot) -> u64 {
        self.places.get(slot.0 as usize).map_or(0, |p| p.applied.load(Ordering::Acquire))
    }

    /// Next report number, committed.
    #[inline]
    pub fn next_report(&self, slot: SessionSlot) -> u64 {
        self.places.get(slot.0 as usize).map_or(0, |p| p.next_report.load(Ordering::Acquire))
    }

    /// Sets applied-through and next report. Egress only.
    #[inline]
    pub fn advance(&self, slot: SessionSlot, applied: u64, next_report: u64) {
        if let Some(place) = self.places.get(slot.0 as usize) {
            place.applied.store(applied, Ordering::Release);
            place.next_report.store(next_report, Ordering::Release);
        }
    }

    /// Notes a valid datagram of the bound client at `now`. Any gateway's ingress.
    #[inline]
    pub fn hear(&self, slot: SessionSlot, now: Nanos) {
        if let Some(place) = self.places.get(slot.0 as usize) {
            place.heard.0.store(now.0, Ordering::Relaxed);
        }
    }

    /// When a valid datagram of the session was last received; 0 = never.
    #[inline]
    pub fn last_heard(&self, slot: SessionSlot) -> Nanos {
        Nanos(self.places.get(slot.0 as usize).map_or(0, |p| p.heard.0.load(Ordering::Relaxed)))
    }

    /// Notes that the network is being read at `now`: who is not heard then is silent. Any gateway's
    /// ingress.
    #[inline]
    pub fn listen(&self, now: Nanos) {
        self.listened.0.store(now.0, Ordering::Relaxed);
    }

    /// When the network was last read; 0 = never.
    #[inline]
    pub fn last_listened(&self) -> Nanos {
        Nanos(self.listened.0.load(Ordering::Relaxed))
    }

    /// The exchange stands halted before a command: nothing new is taken. Topology only, before ingress
    /// runs.
    pub fn halt(&self) {
        self.halted.store(true, Ordering::Release);
    }

    /// True when nothing new is taken.
    #[inline]
    pub fn halted(&self) -> bool {
        self.halted.load(Ordering::Relaxed)
    }

    /// The day is over: logins get J 'S'. Egress only.
    pub fn end_day(&self) {
        self.day_over.store(true, Ordering::Release);
    }

    /// Every session that the end of the day unbound has been told so in this run. Egress only.
    pub fn tell_end(&self, now: Nanos) {
        self.end_told.store(now.0.max(1), Ordering::Release);
    }

    /// When that was; at once where there is no session.
    pub fn end_told(&self) -> Option<Nanos> {
        let at = self.end_told.load(Ordering::Acquire);
        (at != 0 || self.places.is_empty()).then_some(Nanos(at))
    }

    /// True after end of day.
    #[inline]
    pub fn day_over(&self) -> bool {
        self.day_over.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(n: u8) -> Binding {
        Binding {
            bound: n % 2 == 1,
            generation: n as u32,
            served: n % 3 == 1,
            flags: n % 4,
            dead_time_ms: 1_000 + n as u16,
            token: Alpha([n; 10]),
            address: SocketAddrV4::new(Ipv4Addr::new(10, n, 2, 3), 4_000 + n as u16),
            client_nonce: [n; 16],
            server_nonce: [n; 16],
            login_time: Nanos(n as u64),
        }
    }

    #[test]
    fn binding_round_trips() {
        let board = SessionBoard::new(2);
        assert_eq!(board.binding(SessionSlot(1)), (0, unpack(&[0; 8])));
        board.bind(SessionSlot(1), &sample(7));
        assert_eq!(board.binding(SessionSlot(1)), (2, sample(7)));
        assert_eq!(board.version(SessionSlot(1)), 2);
        assert_eq!(board.binding(SessionSlot(9)).1, Binding::NONE);
    }

    #[test]
    fn readers_never_see_two_bindings_mixed() {
        let board = SessionBoard::new(1);
        let slot = SessionSlot(0);
        board.bind(slot, &sample(0));
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for n in 0..20_000u32 {
                    board.bind(slot, &sample((n % 200) as u8));
                }
            });
            while !writer.is_finished() {
                let (_, seen) = board.binding(slot);
                assert_eq!(seen, sample(seen.generation as u8));
            }
        });
    }
}
