//! Client: egress' state of one session, and when which datagram to it is due.
//!
//! Pure bookkeeping over the time passed in: reports' numbers, K's and heartbeats' deadlines
//! (session.md 11, 14, 16, 17). Sends nothing.

use super::throttle::Bucket;
use super::{GatewayConfig, SessionConfig};
use crate::exchange::event::{EndedBy, LoggedIn, SessionEnded};
use crate::types::*;
use crate::wire::session::{ACCEPTED_BYTES, Accepted, FLAG_PACKET_MAC, Nonce, packet_keys};
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};

const NEVER: Nanos = Nanos(u64::MAX);
const MS: u64 = 1_000_000;
/// Heartbeats after the last report: 1, 10, 100 ms after it (session.md 16); here as steps.
const HEARTBEAT_STEPS: [u64; 3] = [MS, 9 * MS, 90 * MS];
/// Later ones at most this far apart.
const HEARTBEAT_NS_MAX: u64 = 1_000 * MS;
/// K at most once, and when applied-through moved at least once, in this time (session.md 11).
const APPLIED_NS: u64 = MS;
/// Replay requests of one session that wait at a time: a client that misses several stretches asks
/// for all of them at once.
pub(super) const REPLAYS_MAX: usize = 16;
/// The three 0xFFFF of an answered logoff: at once, 1 ms, 10 ms.
const LOGOFF_STEPS: [u64; 2] = [MS, 9 * MS];
/// Those of a day's end: at once, 1, 10, 100 ms, then every second while the ended day is served.
const END_STEPS: [u64; 3] = [MS, 9 * MS, 90 * MS];
const END_NS: u64 = 1_000 * MS;

/// See the module's head.
pub(super) struct Client {
    pub(super) name: SessionName,
    key: [u8; 32],
    pub(super) bound: bool,
    /// The end of the day ended the binding: its reports can still be had.
    pub(super) served: bool,
    pub(super) generation: u32,
    pub(super) token: Token,
    pub(super) address: SocketAddrV4,
    pub(super) client_nonce: Nonce,
    /// Key of the packet MAC for what we send; `None` = not granted.
    pub(super) seal: Option<[u8; 16]>,
    /// The A of the latest login, as sent.
    pub(super) accepted: [u8; ACCEPTED_BYTES],
    /// Whom the latest login displaced, until told.
    pub(super) displaced: Option<(SocketAddrV4, Nonce)>,
    pub(super) applied: u64,
    pub(super) next_report: u64,
    /// Oldest report that may be in memory.
    pub(super) remembered_from: u64,
    /// Next report to send live.
    pub(super) next_live: u64,
    pub(super) dirty: bool,
    pub(super) urgent: bool,
    idle_ns: u64,
    heartbeat_at: Nanos,
    heartbeat_step: usize,
    applied_at: Nanos,
    applied_sent: Nanos,
    end_at: Nanos,
    end_step: usize,
    /// Next report number that the 0xFFFF packets carry.
    pub(super) end_number: u64,
    pub(super) replay_bytes: Bucket,
    /// Requests being answered from memory, in order of arrival.
    pub(super) replays: VecDeque<Replay>,
    /// Stands in egress' list of sessions with replays.
    pub(super) replaying: bool,
}

/// What is left of one replay request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Replay {
    /// Next report to send.
    pub(super) next: u64,
    /// The one after the last.
    pub(super) end: u64,
    /// Datagrams that may still be sent for it.
    pub(super) packets: u16,
}

/// What is due to a client now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Due {
    pub(super) heartbeat: bool,
    pub(super) applied: bool,
    pub(super) end: bool,
}

/// Source address of a login.
pub(super) fn address_of(login: &LoggedIn) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from(login.ip), login.port)
}

impl Client {
    pub(super) fn new(session: &SessionConfig, config: &GatewayConfig) -> Client {
        let per_second = config.replay_bytes_per_second;
        // 10 ms worth, and room for one whole answer.
        let answer = (config.replay_packets_max * crate::wire::mold::PAYLOAD_BYTES_MAX) as u64;
        Client {
            name: session.name,
            key: session.key,
            bound: false,
            served: false,
            generation: 0,
            token: Token::BLANK,
            address: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
            client_nonce: [0; 16],
            seal: None,
            accepted: [0; ACCEPTED_BYTES],
            displaced: None,
            applied: 0,
            next_report: 1,
            remembered_from: 1,
            next_live: 1,
            dirty: false,
            urgent: false,
            idle_ns: HEARTBEAT_NS_MAX,
            heartbeat_at: NEVER,
            heartbeat_step: 0,
            applied_at: NEVER,
            applied_sent: Nanos(0),
            end_at: NEVER,
            end_step: 0,
            end_number: 0,
            replay_bytes: Bucket::new(per_second, (per_second / 100).max(answer)),
            replays: VecDeque::with_capacity(REPLAYS_MAX),
            replaying: false,
        }
    }

    /// A login took effect. `live`: the time, or `None` in recovery, when nobody is told.
    pub(super) fn log_in(
        &mut self,
        login: &LoggedIn,
        applied: u64,
        epoch: u32,
        live: Option<Nanos>,
    ) {
        let address = address_of(login);
        if self.bound && self.address != address && live.is_some() {
            self.displaced = Some((self.address, self.client_nonce));
        }
        self.bound = true;
        self.served = false;
        self.generation = login.generation;
        self.token = login.token;
        self.address = address;
        self.client_nonce = login.client_nonce;
        self.seal = (login.flags & FLAG_PACKET_MAC != 0)
            .then(|| packet_keys(&self.key, &login.client_nonce, &login.server_nonce).server);
        self.accepted = Accepted {
            version: login.version,
            flags: login.flags,
            token: login.token,
            downstream: self.name,
            next_report: login.next_report,
            applied,
            next_urn: login.next_urn,
            dead_time_ms: login.dead_time_ms,
            epoch,
            generation: login.generation,
            client_nonce: login.client_nonce,
            hmac: [0; 32],
        }
        .signed(&self.key);
        self.next_live = login.next_report;
        self.idle_ns = (login.dead_time_ms as u64 * MS / 5).clamp(MS, HEARTBEAT_NS_MAX);
        self.end_at = NEVER;
        self.applied_at = NEVER;
        self.replays.clear();
        self.restart_heartbeats(live);
    }

    /// The binding ended.
    pub(super) fn end(&mut self, ended: &SessionEnded, live: Option<Nanos>) {
        self.bound = false;
        self.replays.clear();
        self.heartbeat_at = NEVER;
        self.applied_at = NEVER;
        self.end_at = NEVER;
        self.served = ended.by == EndedBy::EndOfDay as u8;
        let told = self.served || ended.by == EndedBy::Logoff as u8;
        if let (Some(now), true) = (live, told) {
            self.tell_end(now);
        }
    }

    /// The end of the day is still to be told to this client.
    pub(super) fn owes_end(&self) -> bool {
        self.served && self.end_step == 0
    }

    fn tell_end(&mut self, now: Nanos) {
        self.want_applied(now);
        // K first, then the end.
        self.end_at = self.applied_at;
        self.end_step = 0;
        self.end_number = self.next_report;
    }

    /// After a restart of the exchange: heartbeat and K at once to who is bound, the end to whom the
    /// end of the day unbound; live reports go on with the next one.
    pub(super) fn announce(&mut self, now: Nanos) {
        self.dirty = false;
        self.urgent = false;
        self.next_live = self.next_report;
        if self.bound {
            self.heartbeat_at = now;
            self.heartbeat_step = 0;
            self.applied_at = now;
        }
        if self.served {
            self.tell_end(now);
        }
    }

    fn restart_heartbeats(&mut self, live: Option<Nanos>) {
        self.heartbeat_step = 0;
        self.heartbeat_at = live.map_or(NEVER, |now| now.plus(HEARTBEAT_STEPS[0]));
    }

    /// Reports were sent at `now`.
    #[inline]
    pub(super) fn reports_sent(&mut self, now: Nanos) {
        self.restart_heartbeats(Some(now));
    }

    /// K is wanted as soon as the limit of one per millisecond allows.
    #[inline]
    pub(super) fn want_applied(&mut self, now: Nanos) {
        self.applied_at = self.applied_at.min(now.max(self.applied_sent.plus(APPLIED_NS)));
    }

    /// Applied-through moved: K within a millisecond.
    #[inline]
    pub(super) fn applied_moved(&mut self, now: Nanos) {
        if self.bound {
            self.applied_at = self.applied_at.min(now.plus(APPLIED_NS));
        }
    }

    /// When something is due next.
    #[inline]
    pub(super) fn deadline(&self) -> Nanos {
        self.heartbeat_at.min(self.applied_at).min(self.end_at)
    }

    /// What is due at `now`; the caller sends it, in the order heartbeat, K, end.
    pub(super) fn take_due(&mut self, now: Nanos) -> Due {
        let mut due = Due::default();
        if self.heartbeat_at <= now {
            due.heartbeat = true;
            self.heartbeat_step += 1;
            let step = HEARTBEAT_STEPS.get(self.heartbeat_step).copied();
            self.heartbeat_at = now.plus(step.unwrap_or(self.idle_ns).min(self.idle_ns));
            self.want_applied(now);
        }
        if self.applied_at <= now {
            due.applied = true;
            self.applied_sent = now;
            self.applied_at = NEVER;
        }
        if self.end_at <= now {
            due.end = true;
            // With every end of a day what was applied: it settles what the client still wonders about.
            due.applied |= self.served;
            let (steps, later): (&[u64], _) = match self.served {
                true => (&END_STEPS, now.plus(END_NS)),
                false => (&LOGOFF_STEPS, NEVER),
            };
            self.end_at = steps.get(self.end_step).map_or(later, |&step| now.plus(step));
            self.end_step += 1;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Rate;

    fn client() -> Client {
        let config =
            GatewayConfig::new(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1), [0; 32], Nanos(0));
        let session = SessionConfig {
            user: User::new("ALFA01").unwrap(),
            name: SessionName::new("ALFA01A001").unwrap(),
            key: [1; 32],
            allow: Vec::new(),
            rate: Rate::default(),
            open: true,
        };
        Client::new(&session, &config)
    }

    fn logged_in(dead_time_ms: u16) -> LoggedIn {
        LoggedIn {
            generation: 1,
            flags: 0,
            version: 1,
            dead_time_ms,
            token: Token::new("00abcdefgh").unwrap(),
            port: 5,
            ip: [10, 0, 0, 1],
            client_nonce: [1; 16],
            server_nonce: [2; 16],
            next_report: 2,
            login_time: Nanos(1),
            next_urn: 1,
            zero: [0; 4],
        }
    }

    /// Times in ms at which heartbeat and K fall due after `from`, up to `until`.
    fn times(client: &mut Client, from: Nanos, until_ms: u64) -> (Vec<u64>, Vec<u64>) {
        let (mut heartbeats, mut applied) = (Vec::new(), Vec::new());
        loop {
            let at = client.deadline();
            if at > from.plus(until_ms * MS) {
                return (heartbeats, applied);
            }
            let due = client.take_due(at);
            let ms = at.since(from) / MS;
            if due.heartbeat {
                heartbeats.push(ms);
            }
            if due.applied {
                applied.push(ms);
            }
        }
    }

    #[test]
    fn heartbeats_at_1_10_100_ms_then_every_second_or_fifth_of_the_dead_time() {
        let start = Nanos(1_000_000_000_000);
        let mut c = client();
        c.log_in(&logged_in(15_000), 0, 1, Some(start));
        let (heartbeats, applied) = times(&mut c, start, 3_500);
        assert_eq!(heartbeats, [1, 10, 100, 1100, 2100, 3100]);
        assert_eq!(applied, heartbeats, "K comes with the heartbeats");
        c.log_in(&logged_in(1_000), 0, 1, Some(start));
        assert_eq!(times(&mut c, start, 700).0, [1, 10, 100, 300, 500, 700]);
    }

    #[test]
    fn k_at_once_when_wanted_but_once_a_millisecond() {
        let start = Nanos(1_000_000_000_000);
        let mut c = client();
        c.log_in(&logged_in(15_000), 0, 1, Some(start));
        c.heartbeat_at = NEVER;
        c.want_applied(start);
        assert!(c.take_due(start).applied);
        c.want_applied(start);
        assert!(!c.take_due(start).applied);
        assert!(c.take_due(start.plus(MS)).applied);
        c.applied_moved(start.plus(2 * MS));
        assert_eq!(c.deadline(), start.plus(3 * MS));
        c.want_applied(start.plus(2 * MS));
        assert_eq!(c.deadline(), start.plus(2 * MS));
    }

    #[test]
    fn answered_logoff_is_told_three_times_after_k() {
        let start = Nanos(1_000_000_000_000);
        let mut c = client();
        c.log_in(&logged_in(15_000), 0, 1, Some(start));
        let by = EndedBy::Logoff as u8;
        c.end(&SessionEnded { generation: 1, by, zero: [0; 3] }, Some(start));
        let due = c.take_due(start);
        assert_eq!(due, Due { heartbeat: false, applied: true, end: true });
        assert!(c.take_due(start.plus(MS)).end);
        assert!(c.take_due(start.plus(10 * MS)).end);
        assert_eq!(c.deadline(), NEVER);
        // The end of the day is told as long as the day is served, and again after a restart.
        c.log_in(&logged_in(15_000), 0, 1, Some(start));
        let by = EndedBy::EndOfDay as u8;
        c.end(&SessionEnded { generation: 1, by, zero: [0; 3] }, None);
        assert_eq!(c.deadline(), NEVER, "nobody is told in recovery");
        let later = start.plus(20 * MS);
        c.announce(later);
        for ms in [0, 1, 10, 100, 1_100, 2_100, 3_100] {
            assert_eq!(c.deadline(), later.plus(ms * MS));
            let due = c.take_due(later.plus(ms * MS));
            assert_eq!(due, Due { heartbeat: false, applied: true, end: true });
        }
        // Silence is told by nothing but J 'S' to what still comes.
        c.log_in(&logged_in(15_000), 0, 1, Some(start));
        let by = EndedBy::Silence as u8;
        c.end(&SessionEnded { generation: 1, by, zero: [0; 3] }, Some(start));
        assert_eq!(c.deadline(), NEVER);
    }
}
