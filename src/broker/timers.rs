//! What is due: logins, messages and their repeats, replay requests, heartbeats, logoff, death.
//!
//! Source: SESSION 13 (repeats), 14 (logoff), 15 (replay), 17 (dead time).

use super::client::{Binding, Core, Logoff, Phase};
use super::event::{BrokerEvent, Gone};
use super::login::{Attempt, Step};
use crate::net::Port;
use crate::types::*;
use crate::wire::mold::{END_OF_SESSION, HEARTBEAT, Header, PAYLOAD_BYTES_MAX, PacketBuilder};
use crate::wire::session::{self, PACKET_TAG_BYTES};

/// Repeats at one address before the next one of the list is used (SESSION 13).
const REPEATS_PER_GATEWAY: u32 = 3;
/// Repeats of one datagram after which each further one waits twice as long.
const PATIENT_AFTER: u32 = 2 * REPEATS_PER_GATEWAY;
/// Wait after every gateway of the list was silent, doubled with each round.
const ROUND_NS: u64 = 100_000_000;
/// Longest wait between rounds.
const ROUND_NS_MAX: u64 = 1_000_000_000;
/// Longest pause between datagrams that the exchange takes for signs of life (SESSION 17).
const HEARTBEAT_NS_MAX: u64 = 1_000_000_000;
/// An unanswered logoff is repeated after this.
const LOGOFF_NS: u64 = 20_000_000;

impl Core {
    /// Everything that time brings.
    pub fn on_time(
        &mut self,
        now: Nanos,
        port: &mut impl Port,
        on_event: &mut impl FnMut(BrokerEvent),
    ) {
        match &self.phase {
            Phase::Stopped => return,
            Phase::Waiting { until } => {
                if now < *until {
                    return;
                }
                let next_report = if self.name.is_some() { self.reports.next() } else { 0 };
                let nonce = match self.pending {
                    Some(pending) => pending.client_nonce,
                    None => self.entropy.nonce(),
                };
                self.phase = Phase::Login(Attempt::new(&self.config, nonce, next_report));
            }
            Phase::Login(_) | Phase::Bound(_) => {}
        }
        match self.phase {
            Phase::Login(_) => self.drive_login(now, port),
            Phase::Bound(_) => self.drive_bound(now, port, on_event),
            Phase::Stopped | Phase::Waiting { .. } => {}
        }
    }

    fn drive_login(&mut self, now: Nanos, port: &mut impl Port) {
        let gateway = self.config.gateways[self.gateway];
        let Phase::Login(attempt) = &mut self.phase else { return };
        let signed_at = self.last_login_time;
        let step = attempt.step(now, &self.config.key, gateway, &mut self.last_login_time);
        if self.last_login_time != signed_at {
            self.signed_logins = self.signed_logins.saturating_add(1);
        }
        match step {
            Step::Wait => {}
            Step::Send => {
                let block = *attempt.block();
                self.counters.sent += 1;
                port.send(gateway, |out| {
                    let mut packet = PacketBuilder::new(out, SessionName::BLANK, 0);
                    packet.push_bytes(&block);
                    packet.finish()
                });
            }
            Step::GiveUp => {
                // It may be committed yet: another nonce would displace it, and be displaced in turn.
                self.pending = attempt.pending().or(self.pending);
                self.failures = self.failures.saturating_add(1);
                self.next_gateway();
                let count = self.config.gateways.len() as u32;
                let wait = if self.failures.is_multiple_of(count) {
                    let round = (ROUND_NS << (self.failures / count).min(8)).min(ROUND_NS_MAX);
                    // Jitter, so that a whole market does not come back in the same microsecond.
                    round / 2 + self.entropy.next() % (round / 2)
                } else {
                    0
                };
                self.phase = Phase::Waiting { until: now.plus(wait) };
            }
        }
    }

    fn drive_bound(
        &mut self,
        now: Nanos,
        port: &mut impl Port,
        on_event: &mut impl FnMut(BrokerEvent),
    ) {
        self.conclude_applied(now, on_event);
        if let Some(gone) = self.doubt(now, port) {
            self.disconnect(gone, now, on_event);
            return;
        }
        let Phase::Bound(binding) = &self.phase else { return };
        let (dead_ns, ended) = (binding.dead_ns, binding.ended);
        let quiet = now.since(binding.last_heard);
        if let Some(since) = ended
            && (self.reports.missing() == 0 || now.since(since) > dead_ns)
        {
            self.phase = Phase::Stopped;
            // What K settled and no report concluded shows, too, that reports are missing: then nothing
            // can be said of any message.
            if self.reports.missing() == 0 && self.window.all_concluded() {
                self.withdraw(now, on_event);
            } else {
                self.give_up_all(now, on_event);
            }
            on_event(BrokerEvent::EndOfDay);
            return;
        }
        if quiet > dead_ns {
            self.disconnect(Gone::Silence, now, on_event);
            return;
        }
        self.leave_quiet_gateway(quiet, now, port);
        self.request_replay(now, port);
        if ended.is_none() {
            self.transmit(now, port);
            self.drive_logoff(now, port);
        }
        let Phase::Bound(binding) = &self.phase else { return };
        if now.since(binding.last_sign) >= (dead_ns / 5).min(HEARTBEAT_NS_MAX) {
            self.send_head(self.window.cursor(), HEARTBEAT, now, port);
        }
    }

    /// Answers a refusal that anybody may have sent: asks for a report the exchange must have,
    /// and believes the refusal when nothing at all comes back. Returns what to believe.
    fn doubt(&mut self, now: Nanos, port: &mut impl Port) -> Option<Gone> {
        let Phase::Bound(binding) = &mut self.phase else { return None };
        let (until, gone) = binding.doubt?;
        if now >= until {
            return Some(gone);
        }
        if !binding.probed {
            binding.probed = true;
            let last = self.reports.next().saturating_sub(1).max(1);
            self.send_request(last, 1, port);
        }
        None
    }

    /// From two fifths of the dead time on, each further fifth of silence tries the next address:
    /// the exchange may live while a gateway does not.
    fn leave_quiet_gateway(&mut self, quiet: u64, now: Nanos, port: &mut impl Port) {
        let Phase::Bound(binding) = &mut self.phase else { return };
        if quiet >= binding.quiet_step * (binding.dead_ns / 5) {
            binding.quiet_step += 1;
            self.next_gateway();
            self.send_head(self.window.cursor(), HEARTBEAT, now, port);
        }
    }

    fn request_replay(&mut self, now: Nanos, port: &mut impl Port) {
        if let Some((first, count)) = self.reports.request(now) {
            if self.reports.tries() > 1 && self.reports.tries() % REPEATS_PER_GATEWAY == 1 {
                self.next_gateway();
            }
            self.send_request(first, count, port);
        }
    }

    /// A request shows the downstream name, not the token: the exchange takes it for no sign of life, so
    /// heartbeats go on beside it.
    fn send_request(&mut self, first: u64, count: u16, port: &mut impl Port) {
        self.counters.replay_requests += 1;
        let Phase::Bound(binding) = &self.phase else { return };
        let header = Header { session: binding.name, sequence: first, count };
        self.send_sealed(port, |out| header.write(out));
    }

    /// Heartbeat or logoff.
    fn send_head(&mut self, sequence: u64, count: u16, now: Nanos, port: &mut impl Port) {
        let Phase::Bound(binding) = &mut self.phase else { return };
        binding.last_sign = now;
        let header = Header { session: binding.token, sequence, count };
        self.send_sealed(port, |out| header.write(out));
    }

    /// Sends one datagram of the binding, with its MAC if one was agreed.
    fn send_sealed(&mut self, port: &mut impl Port, fill: impl FnOnce(&mut [u8]) -> usize) {
        let gateway = self.config.gateways[self.gateway];
        let Phase::Bound(binding) = &self.phase else { return };
        self.counters.sent += 1;
        port.send(gateway, |out| {
            let len = fill(out);
            seal(binding, out, len)
        });
    }

    fn drive_logoff(&mut self, now: Nanos, port: &mut impl Port) {
        let Phase::Bound(binding) = &mut self.phase else { return };
        let due = match binding.logoff {
            Logoff::No => false,
            Logoff::Wanted => self.window.unsettled() == 0 && self.reports.missing() == 0,
            Logoff::Sent(at) => now.since(at) >= LOGOFF_NS,
        };
        if due {
            binding.logoff = Logoff::Sent(now);
            self.send_head(self.window.next(), END_OF_SESSION, now, port);
        }
    }

    /// Sends new messages, and repeats unsettled ones whose time has come.
    ///
    /// New messages go out in order, as many to a datagram as fit. When the oldest one stays
    /// unsettled for too long, new ones wait and one datagram at a time is repeated from the
    /// oldest on: the exchange never applies a number below one it has applied, so whatever
    /// overtakes an unsettled message kills it.
    pub fn transmit(&mut self, now: Nanos, port: &mut impl Port) {
        let Phase::Bound(binding) = &self.phase else { return };
        if binding.ended.is_some() {
            return;
        }
        let settled = self.window.settled();
        if settled < self.recover_until {
            let timed_out = now.since(self.chunk.1) >= self.chunk_wait_ns;
            if settled >= self.chunk.0 {
                self.chunk_wait_ns = self.round_trip.wait_ns();
                self.chunk_repeats = 0;
                self.send_chunk(now, port);
            } else if timed_out {
                self.chunk_repeats += 1;
                if self.chunk_repeats > PATIENT_AFTER {
                    // Answers take longer than ever before (a slow disk): ask less and less often.
                    let most = self.config.resend_max_ns.max(self.config.resend_after_ns);
                    self.chunk_wait_ns = (2 * self.chunk_wait_ns).min(most);
                }
                self.count_repeat();
                self.send_chunk(now, port);
            }
            return;
        }
        let cursor = self.window.cursor();
        let wait_ns = self.round_trip.wait_ns();
        if settled < cursor
            && let Some(oldest) = self.window.slot(settled)
            && now.since(oldest.last_sent) >= wait_ns
        {
            self.recover_until = cursor;
            self.chunk_wait_ns = wait_ns;
            self.chunk_repeats = 0;
            self.round_trip.ran_out();
            self.count_repeat();
            self.send_chunk(now, port);
            return;
        }
        while self.window.cursor() < self.window.next() {
            let cursor = self.window.cursor();
            let first = cursor.saturating_sub(self.config.repeat_previous as u64).max(settled);
            self.send_messages(first, false, now, port);
        }
    }

    /// One datagram of a careful repetition, from the oldest unsettled message on.
    fn send_chunk(&mut self, now: Nanos, port: &mut impl Port) {
        let end = self.send_messages(self.window.settled(), true, now, port);
        self.chunk = (end, now);
    }

    fn count_repeat(&mut self) {
        self.counters.repeats += 1;
        self.repeats = self.repeats.saturating_add(1);
        if self.repeats > REPEATS_PER_GATEWAY {
            self.repeats = 1;
            self.next_gateway();
        }
    }

    /// One datagram with as many messages from `first` on as fit; returns the number after them.
    /// `repeat`: what was sent before was waited for in vain.
    fn send_messages(&mut self, first: u64, repeat: bool, now: Nanos, port: &mut impl Port) -> u64 {
        let gateway = self.config.gateways[self.gateway];
        let Phase::Bound(binding) = &mut self.phase else { return first };
        let window = &self.window;
        let mut end = first;
        port.send(gateway, |out| {
            let mut packet = PacketBuilder::new(&mut *out, binding.token, first);
            while let Some(slot) = window.slot(end) {
                if !packet.push_bytes(slot.message()) {
                    break;
                }
                end += 1;
            }
            let len = if packet.is_empty() { 0 } else { packet.finish() };
            if len == 0 { 0 } else { seal(binding, out, len) }
        });
        if end > first {
            binding.last_sign = now;
            self.counters.sent += 1;
            for sequence in first..end {
                self.window.transmitted(sequence, repeat, now);
            }
        }
        end
    }
}

/// Appends the packet MAC, if one was agreed.
fn seal(binding: &Binding, out: &mut [u8], len: usize) -> usize {
    debug_assert!(len <= PAYLOAD_BYTES_MAX && len + PACKET_TAG_BYTES <= out.len());
    match &binding.keys {
        Some(keys) => session::seal_packet(&keys.client, out, len),
        None => len,
    }
}
