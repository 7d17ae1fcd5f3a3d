//! Session authentication: what a login gets, before any table of the exchange is touched.
//!
//! Consumes an L, its source and the committed binding of its user; produces a verdict. The checks
//! and their order are session.md, Login 1-4. Must not know sockets or rings. All comparisons of
//! secrets are constant-time (in `wire::session`).

use super::{GatewayConfig, Network, Why};
use crate::board::Binding;
use crate::random::SplitMix64;
use crate::types::*;
use crate::wire::session::{
    FLAG_CANCEL_ON_DISCONNECT, FLAG_PACKET_MAC, LOGIN_BYTES, Login, Nonce, VERSION,
    challenge_nonce, verify_challenge, verify_login,
};
use std::net::SocketAddrV4;

/// L's time may differ from ours by this much (session.md, Login 2).
const TIME_WINDOW_NS: u64 = 5_000_000_000;
/// 'A' failures in a second from one address that silence it (session.md, Login 2).
const FAILURES_MAX: usize = 10;
const SECOND_NS: u64 = 1_000_000_000;
const MINUTE_NS: u64 = 60_000_000_000;

/// What an L gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LoginVerdict {
    /// The stored A of the live login again.
    Again(SessionSlot),
    /// H with this nonce.
    Challenge(Nonce),
    /// J with the code of this.
    Refuse(Why),
    /// Nothing.
    Silence,
    /// Valid: to be sequenced.
    Valid(SessionSlot),
}

/// Users, keys and the memory of failures.
pub struct Authenticator {
    public: SocketAddrV4,
    gateway_key: [u8; 32],
    /// Sorted by name.
    users: Box<[(User, SessionSlot)]>,
    keys: Box<[[u8; 32]]>,
    allow: Box<[Box<[Network]>]>,
    open: Box<[bool]>,
    failures: Failures,
}

impl Authenticator {
    /// From the configuration.
    pub fn new(config: &GatewayConfig) -> Authenticator {
        let sessions = &config.sessions;
        let mut users: Vec<(User, SessionSlot)> =
            sessions.iter().enumerate().map(|(i, s)| (s.user, SessionSlot(i as u16))).collect();
        users.sort();
        Authenticator {
            public: config.public,
            gateway_key: config.gateway_key,
            users: users.into(),
            keys: sessions.iter().map(|s| s.key).collect(),
            allow: sessions.iter().map(|s| s.allow.clone().into()).collect(),
            open: sessions.iter().map(|s| s.open).collect(),
            failures: Failures::new(),
        }
    }

    /// Slot of a user. O(log users).
    pub fn slot_of(&self, user: &User) -> Option<SessionSlot> {
        let at = self.users.binary_search_by(|(name, _)| name.cmp(user)).ok()?;
        Some(self.users[at].1)
    }

    /// Key of a session; `slot` is one of [`Authenticator::slot_of`].
    pub fn key(&self, slot: SessionSlot) -> &[u8; 32] {
        &self.keys[slot.0 as usize]
    }

    /// Judges an L. `binding` is the committed binding of its user, `NONE` for an unknown one.
    /// Cost: up to three HMACs, about 1.5 us.
    pub fn judge(
        &mut self,
        block: &[u8; LOGIN_BYTES],
        login: &Login,
        from: SocketAddrV4,
        binding: &Binding,
        day_over: bool,
        now: Nanos,
    ) -> LoginVerdict {
        let slot = self.slot_of(&login.user);
        let same_login =
            binding.bound && binding.client_nonce == login.client_nonce && binding.address == from;
        if let (Some(slot), true) = (slot, same_login) {
            return LoginVerdict::Again(slot);
        }
        let (ip, port) = (from.ip().octets(), from.port());
        let minute = (now.0 / MINUTE_NS) as u32;
        // A nonce that this source cannot have got from us proves nothing about the source: H,
        // whatever else is wrong, so that a spoofed L learns and costs nothing.
        let (key, user, nonce) = (&self.gateway_key, &login.user, &login.server_nonce);
        if *nonce == [0; 16] || !verify_challenge(key, ip, port, user, minute, nonce) {
            return LoginVerdict::Challenge(challenge_nonce(key, ip, port, user, minute));
        }
        if self.failures.silenced(from, now) {
            return LoginVerdict::Silence;
        }
        let slot = match self.authorised(slot, block, login, from) {
            Ok(slot) => slot,
            Err(why) => {
                self.failures.note(from, now);
                return LoginVerdict::Refuse(why);
            }
        };
        let skew = now.since(login.time).max(login.time.since(now));
        if skew > TIME_WINDOW_NS || login.time <= binding.login_time {
            return LoginVerdict::Refuse(Why::Time);
        }
        if day_over {
            return LoginVerdict::Refuse(Why::DayOver);
        }
        if !self.open[slot.0 as usize] {
            return LoginVerdict::Refuse(Why::Closed);
        }
        LoginVerdict::Valid(slot)
    }

    fn authorised(
        &self,
        slot: Option<SessionSlot>,
        block: &[u8; LOGIN_BYTES],
        login: &Login,
        from: SocketAddrV4,
    ) -> Result<SessionSlot, Why> {
        let known_flags = FLAG_CANCEL_ON_DISCONNECT | FLAG_PACKET_MAC;
        let well_formed = login.version == VERSION && login.flags & !known_flags == 0;
        let index = slot.map_or(usize::MAX, |slot| slot.0 as usize);
        let allowed =
            self.allow.get(index).is_some_and(|list| list.iter().any(|n| n.contains(*from.ip())));
        // An unknown user costs the same HMAC as a known one: the answer's time tells nothing.
        let nobody = [0; 32];
        let key = self.keys.get(index).unwrap_or(&nobody);
        let signed = verify_login(key, block, self.public.ip().octets(), self.public.port());
        match slot {
            None => Err(Why::User),
            Some(_) if !allowed => Err(Why::Source),
            Some(_) if !well_formed => Err(Why::Form),
            Some(_) if !signed => Err(Why::Key),
            Some(slot) => Ok(slot),
        }
    }
}

/// Failures per IPv4 address: a fixed table of 4 places for each of 256 hash values. Only a source
/// that received an H can fail, so the table cannot be flooded with spoofed addresses.
struct Failures {
    places: Box<[[Failure; 4]; 256]>,
}

/// The last failures of one address: any ten of them within a second silence it.
#[derive(Clone, Copy, Default)]
struct Failure {
    ip: u32,
    /// Failures ever; the n-th stands in `times[n % FAILURES_MAX]`.
    count: usize,
    times: [Nanos; FAILURES_MAX],
    last: Nanos,
    silent_until: Nanos,
}

impl Failures {
    fn new() -> Failures {
        Failures { places: Box::new([[Failure::default(); 4]; 256]) }
    }

    fn row(&mut self, ip: u32) -> &mut [Failure; 4] {
        // Fibonacci hashing: neighbours in one network spread over the rows.
        &mut self.places[(ip.wrapping_mul(0x9E37_79B9) >> 24) as usize]
    }

    fn silenced(&mut self, from: SocketAddrV4, now: Nanos) -> bool {
        let ip = u32::from(*from.ip());
        self.row(ip).iter().any(|f| f.ip == ip && f.count > 0 && now < f.silent_until)
    }

    fn note(&mut self, from: SocketAddrV4, now: Nanos) {
        let ip = u32::from(*from.ip());
        let row = self.row(ip);
        let at = match row.iter().position(|f| f.ip == ip && f.count > 0) {
            Some(at) => at,
            None => {
                // The place that was used longest ago.
                let oldest = (0..4).min_by_key(|&i| row[i].last.max(row[i].silent_until));
                let at = oldest.unwrap_or(0);
                row[at] = Failure { ip, ..Failure::default() };
                at
            }
        };
        let failure = &mut row[at];
        failure.times[failure.count % FAILURES_MAX] = now;
        failure.last = now;
        failure.count += 1;
        // The place that the next one takes holds the tenth last.
        let tenth_last = failure.times[failure.count % FAILURES_MAX];
        if failure.count >= FAILURES_MAX && now.since(tenth_last) < SECOND_NS {
            failure.silent_until = now.plus(SECOND_NS);
        }
    }
}

/// Dead time granted for the one wanted: 0 = 5,000 ms, else clamped to 1,000 ..= 15,000
/// (session.md 17).
pub fn dead_time_granted(wanted_ms: u16) -> u16 {
    if wanted_ms == 0 { 5_000 } else { wanted_ms.clamp(1_000, 15_000) }
}

/// Random numbers for tokens: a pool that is refilled outside the order path.
pub struct Entropy {
    source: Source,
}

enum Source {
    System { pool: Box<[u64; 128]>, left: usize },
    Seeded(SplitMix64),
}

impl Entropy {
    /// From the operating system. Errors when it has none.
    pub fn system() -> std::io::Result<Entropy> {
        let mut entropy = Entropy { source: Source::System { pool: Box::new([0; 128]), left: 0 } };
        if entropy.refill() { Ok(entropy) } else { Err(std::io::Error::other("getrandom failed")) }
    }

    /// The same numbers for the same seed: tests and simulation only.
    pub fn seeded(seed: u64) -> Entropy {
        Entropy { source: Source::Seeded(SplitMix64::new(seed)) }
    }

    /// Fills the pool when it is half empty: one system call. False when the system has none.
    pub fn refill(&mut self) -> bool {
        let Source::System { pool, left } = &mut self.source else { return true };
        if *left > pool.len() / 2 {
            return true;
        }
        let mut bytes = [0; 1024];
        if getrandom::fill(&mut bytes).is_err() {
            return false;
        }
        for (number, chunk) in pool.iter_mut().zip(bytes.chunks_exact(8)) {
            *number = u64::from_le_bytes(chunk.try_into().expect("8 bytes"));
        }
        *left = pool.len();
        true
    }

    /// The next number; `None` when the pool is empty and the system gives nothing.
    pub fn draw(&mut self) -> Option<u64> {
        if let Source::System { left: 0, .. } = self.source {
            self.refill();
        }
        match &mut self.source {
            Source::System { pool, left } => {
                *left = left.checked_sub(1)?;
                Some(std::mem::take(&mut pool[*left]))
            }
            Source::Seeded(random) => Some(random.draw()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::{Rate, SessionConfig};
    use std::net::Ipv4Addr;

    const PUBLIC: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 9000);
    const CLIENT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, 1), 5000);
    const NOW: Nanos = Nanos(1_700_000_000_000_000_000);

    fn authenticator() -> Authenticator {
        let mut config = GatewayConfig::new(PUBLIC, [9; 32], Nanos(0));
        for (user, key) in [("ZULU01", 1), ("ALFA01", 2)] {
            config.sessions.push(SessionConfig {
                user: User::new(user).unwrap(),
                name: SessionName::BLANK,
                key: [key; 32],
                allow: vec![Network { address: Ipv4Addr::new(10, 0, 1, 0), prefix: 24 }],
                rate: Rate::default(),
                open: true,
            });
        }
        Authenticator::new(&config)
    }

    fn login(auth: &Authenticator, from: SocketAddrV4) -> Login {
        login_as(auth, "ALFA01", from)
    }

    fn login_as(auth: &Authenticator, user: &str, from: SocketAddrV4) -> Login {
        let user = User::new(user).unwrap();
        let minute = (NOW.0 / MINUTE_NS) as u32;
        let nonce =
            challenge_nonce(&auth.gateway_key, from.ip().octets(), from.port(), &user, minute);
        Login {
            version: 1,
            flags: 0,
            user,
            wanted: SessionName::BLANK,
            next_report: 0,
            dead_time_ms: 0,
            time: NOW,
            client_nonce: [5; 16],
            server_nonce: nonce,
            hmac: [0; 32],
        }
    }

    fn judge(auth: &mut Authenticator, l: &Login, from: SocketAddrV4, key: u8) -> LoginVerdict {
        let block = l.signed(&[key; 32], PUBLIC.ip().octets(), PUBLIC.port());
        let signed = Login::read(&block).unwrap();
        auth.judge(&block, &signed, from, &Binding::NONE, false, NOW)
    }

    #[test]
    fn each_check_has_its_answer() {
        let mut auth = authenticator();
        let good = login(&auth, CLIENT);
        let refuse = LoginVerdict::Refuse;
        assert_eq!(judge(&mut auth, &good, CLIENT, 2), LoginVerdict::Valid(SessionSlot(1)));
        let first = Login { server_nonce: [0; 16], ..good };
        let challenge = LoginVerdict::Challenge(good.server_nonce);
        assert_eq!(judge(&mut auth, &first, CLIENT, 2), challenge);
        // Another source cannot use this nonce: it gets its own H.
        let other = SocketAddrV4::new(*CLIENT.ip(), 5001);
        assert!(matches!(judge(&mut auth, &good, other, 2), LoginVerdict::Challenge(_)));
        assert_eq!(judge(&mut auth, &good, CLIENT, 1), refuse(Why::Key));
        assert_eq!(judge(&mut auth, &Login { version: 2, ..good }, CLIENT, 2), refuse(Why::Form));
        assert_eq!(judge(&mut auth, &Login { flags: 4, ..good }, CLIENT, 2), refuse(Why::Form));
        let stranger = login_as(&auth, "ALFA02", CLIENT);
        assert_eq!(judge(&mut auth, &stranger, CLIENT, 2), refuse(Why::User));
        let foreign = SocketAddrV4::new(Ipv4Addr::new(10, 0, 2, 1), 5000);
        let l = login(&auth, foreign);
        assert_eq!(judge(&mut auth, &l, foreign, 2), refuse(Why::Source));
        for time in [NOW.0 - 5_000_000_001, NOW.0 + 5_000_000_001] {
            let l = Login { time: Nanos(time), ..good };
            assert_eq!(judge(&mut auth, &l, CLIENT, 2), refuse(Why::Time));
        }
        auth.open[1] = false;
        assert_eq!(judge(&mut auth, &good, CLIENT, 2), refuse(Why::Closed));
    }

    #[test]
    fn live_login_again_and_replayed_login() {
        let mut auth = authenticator();
        let good = login(&auth, CLIENT);
        let block = good.signed(&[2; 32], PUBLIC.ip().octets(), PUBLIC.port());
        let binding = Binding {
            bound: true,
            client_nonce: good.client_nonce,
            address: CLIENT,
            login_time: good.time,
            ..Binding::NONE
        };
        let verdict = auth.judge(&block, &good, CLIENT, &binding, false, NOW);
        assert_eq!(verdict, LoginVerdict::Again(SessionSlot(1)));
        // The same bytes after another login took over: time is not later.
        let later = Binding { client_nonce: [6; 16], ..binding };
        let verdict = auth.judge(&block, &good, CLIENT, &later, false, NOW);
        assert_eq!(verdict, LoginVerdict::Refuse(Why::Time));
    }

    #[test]
    fn ten_failures_silence_an_address_for_a_second() {
        let mut auth = authenticator();
        let good = login(&auth, CLIENT);
        for _ in 0..10 {
            let verdict = judge(&mut auth, &good, CLIENT, 1);
            assert_eq!(verdict, LoginVerdict::Refuse(Why::Key));
        }
        assert_eq!(judge(&mut auth, &good, CLIENT, 2), LoginVerdict::Silence);
        // H is never silenced, nor is another address.
        let first = Login { server_nonce: [0; 16], ..good };
        assert!(matches!(judge(&mut auth, &first, CLIENT, 2), LoginVerdict::Challenge(_)));
        let other = SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, 2), 5000);
        let l = login(&auth, other);
        assert!(matches!(judge(&mut auth, &l, other, 2), LoginVerdict::Valid(_)));
        let block = good.signed(&[2; 32], PUBLIC.ip().octets(), PUBLIC.port());
        let signed = Login::read(&block).unwrap();
        let later = NOW.plus(SECOND_NS);
        let verdict = auth.judge(&block, &signed, CLIENT, &Binding::NONE, false, later);
        assert_eq!(verdict, LoginVerdict::Valid(SessionSlot(1)));
    }

    #[test]
    fn any_ten_failures_within_a_second_silence_not_only_those_of_one_count() {
        let mut failures = Failures::new();
        let at = |ms: u64| NOW.plus(ms * 1_000_000);
        // One that would start a fixed second, nine at its end, nine more in the next.
        failures.note(CLIENT, at(0));
        for ms in 900..908 {
            failures.note(CLIENT, at(ms));
        }
        failures.note(CLIENT, at(1_001));
        assert!(!failures.silenced(CLIENT, at(1_002)), "nine within the last second");
        failures.note(CLIENT, at(1_100));
        assert!(failures.silenced(CLIENT, at(1_101)));
        assert!(!failures.silenced(CLIENT, at(2_100)));
        // Nine a second go on for ever.
        for ms in 0..50 {
            failures.note(CLIENT, at(5_000 + 112 * ms));
            assert!(!failures.silenced(CLIENT, at(5_000 + 112 * ms)));
        }
    }

    #[test]
    fn dead_times_are_clamped() {
        let granted: Vec<u16> = [0, 1, 1_000, 7_000, 60_000].map(dead_time_granted).into();
        assert_eq!(granted, [5_000, 1_000, 1_000, 7_000, 15_000]);
    }

    #[test]
    fn entropy_does_not_repeat() {
        let mut entropy = Entropy::system().unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..300 {
            assert!(seen.insert(entropy.draw().unwrap()));
        }
        assert_eq!(Entropy::seeded(1).draw(), Entropy::seeded(1).draw());
    }
}
