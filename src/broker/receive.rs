//! What arrives: every byte of it may be forged, doubled, late or broken.
//!
//! A datagram counts only when it comes from a listed gateway, is well-formed to the last byte,
//! carries this binding's name or token, and, if agreed, the right MAC. Anything else changes a
//! counter. Source: SESSION, Frames, Own blocks, items 5, 12, 16.

use std::net::SocketAddrV4;

use super::client::{Binding, Core, Logoff, Phase};
use super::config::StartAt;
use super::event::{BrokerEvent, Gone, LoggedIn};
use super::reports::{EARLY_BYTES, Place};
use crate::types::*;
use crate::wire::mold::{self, HEADER_BYTES, Header, LENGTH_BYTES, Packet};
use crate::wire::ouch::Outbound;
use crate::wire::session::{self, Block, RefusedCode};

/// A refusal that carries no nonce of ours is believed when nothing else is heard for this long:
/// several round trips, far below the dead time.
const DOUBT_NS: u64 = 50_000_000;
/// Wait after a refusal, doubled with each in a row.
const REFUSED_NS: u64 = 200_000_000;
/// Longest wait after a refusal. Ten failures a second from one address silence it (SESSION 2).
const REFUSED_NS_MAX: u64 = 5_000_000_000;

impl Core {
    /// Handles one datagram.
    pub fn on_datagram(
        &mut self,
        bytes: &[u8],
        from: SocketAddrV4,
        now: Nanos,
        on_event: &mut impl FnMut(BrokerEvent),
    ) {
        if !self.config.gateways.contains(&from) {
            self.counters.foreign += 1;
            return;
        }
        let Some(header) = Header::read(bytes) else {
            self.counters.malformed += 1;
            return;
        };
        if header.sequence == 0 {
            self.on_own(bytes, from, now, on_event);
        } else {
            self.on_downstream(bytes, header.session, now, on_event);
        }
    }

    /// Sequence 0: exactly one own block.
    fn on_own(
        &mut self,
        bytes: &[u8],
        from: SocketAddrV4,
        now: Nanos,
        on_event: &mut impl FnMut(BrokerEvent),
    ) {
        // K alone carries the packet MAC; its letter stands behind head and length.
        let is_applied = bytes.get(HEADER_BYTES + LENGTH_BYTES) == Some(&b'K');
        let bytes = if is_applied {
            match self.open(bytes) {
                Some(bytes) => bytes,
                None => return,
            }
        } else {
            bytes
        };
        let Some((header, block)) = one_block(bytes) else {
            self.counters.malformed += 1;
            return;
        };
        match Block::read(block) {
            Some(Block::Challenge(challenge)) => {
                if let Phase::Login(attempt) = &mut self.phase {
                    attempt.on_challenge(challenge.server_nonce);
                }
            }
            Some(Block::Accepted(accepted)) => {
                // Long enough: it was read.
                let Some(block) = block.first_chunk() else { return };
                if session::verify_accepted(&self.config.key, block)
                    && header.session == accepted.token
                    && accepted.version == session::VERSION
                {
                    self.on_accepted(&accepted, from, now, on_event);
                } else {
                    self.counters.malformed += 1;
                }
            }
            Some(Block::Refused(refused)) => self.on_refused(&refused, from, now, on_event),
            Some(Block::Applied(applied)) => self.on_applied(&applied, header.session, now),
            Some(Block::Login(_)) | None => self.counters.malformed += 1,
        }
    }

    /// Checks and takes off the packet MAC, if one was agreed.
    fn open<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let Phase::Bound(Binding { keys: Some(keys), .. }) = &self.phase else {
            return Some(bytes);
        };
        let opened = session::open_packet(&keys.server, bytes);
        if opened.is_none() {
            self.counters.bad_mac += 1;
        }
        opened
    }

    fn on_accepted(
        &mut self,
        accepted: &session::Accepted,
        from: SocketAddrV4,
        now: Nanos,
        on_event: &mut impl FnMut(BrokerEvent),
    ) {
        // A login that was given up may be committed after all, in the pause before the next attempt too:
        // its A comes late, or in answer to the first L under the same nonce.
        let (signed, took) = match &self.phase {
            Phase::Bound(_) | Phase::Stopped => return, // the same A again
            Phase::Waiting { .. } => (self.pending, None),
            Phase::Login(attempt) => (attempt.pending().or(self.pending), attempt.round_trip(now)),
        };
        let Some(signed) = signed.filter(|s| s.client_nonce == accepted.client_nonce) else {
            self.counters.wrong_session += 1;
            return;
        };
        let keys = (accepted.flags & session::FLAG_PACKET_MAC != 0).then(|| {
            session::packet_keys(&self.config.key, &signed.client_nonce, &signed.server_nonce)
        });
        self.pending = None;
        if let Some(ns) = took {
            self.round_trip.measured(ns);
        }
        let binding = Binding {
            name: accepted.downstream,
            token: accepted.token,
            keys,
            client_nonce: accepted.client_nonce,
            dead_ns: Core::dead_ns(accepted.dead_time_ms),
            last_heard: now,
            last_sign: now,
            quiet_step: 2,
            doubt: None,
            probed: false,
            logoff: if self.leaving { Logoff::Wanted } else { Logoff::No },
            ended: None,
        };
        self.phase = Phase::Bound(binding);
        self.failures = 0;
        self.repeats = 0;
        self.counters.logins += 1;
        if let Some(index) = self.config.gateways.iter().position(|gateway| *gateway == from) {
            self.gateway = index;
        }
        self.join_session(accepted, now, on_event);
        self.reports.confirm(accepted.next_report);
        self.add_horizon(accepted.applied, accepted.next_report);
        // What is left is repeated with care: nothing of it may fall behind a later number.
        self.recover_until = self.window.next();
        self.chunk = (self.window.settled(), now);
        self.chunk_wait_ns = self.round_trip.wait_ns();
        on_event(BrokerEvent::LoggedIn(LoggedIn {
            gateway: from,
            name: accepted.downstream,
            next_report: accepted.next_report,
            applied: accepted.applied,
            next_urn: accepted.next_urn,
            dead_time_ms: accepted.dead_time_ms,
            cancel_on_disconnect: accepted.flags & session::FLAG_CANCEL_ON_DISCONNECT != 0,
            packet_mac: accepted.flags & session::FLAG_PACKET_MAC != 0,
            epoch: accepted.epoch,
            generation: accepted.generation,
        }));
        self.conclude_applied(now, on_event);
    }

    /// Fits own numbers to those of the session that was logged in to: the same as before, the
    /// first one of this process, or one that numbers anew.
    fn join_session(
        &mut self,
        accepted: &session::Accepted,
        now: Nanos,
        on_event: &mut impl FnMut(BrokerEvent),
    ) {
        let new = accepted.downstream;
        let old = self.name.or(Some(self.config.wanted).filter(|wanted| !wanted.is_blank()));
        let first = self.name.is_none();
        let resume = match self.config.start_at {
            StartAt::Rebuild => 1,
            StartAt::Report(number) => number,
            StartAt::Live => accepted.next_report,
        };
        let lost = first && resume > accepted.next_report;
        let changed = old.filter(|old| *old != new || lost);
        self.name = Some(new);
        // The exchange numbers the logins it applies without a gap. Up to as many as were signed may be
        // our own, though their A was lost.
        let logins = accepted.generation.saturating_sub(self.generation);
        let signed = std::mem::take(&mut self.signed_logins);
        let (sure, maybe) = (logins == 1, (2..=signed).contains(&logins));
        self.generation = accepted.generation;
        let next_urn = match accepted.next_urn {
            0 => u32::MAX as u64 + 1,
            next => next as u64,
        };
        if let Some(old) = changed {
            on_event(BrokerEvent::SessionChanged { old, new });
            self.give_up_all(now, on_event);
            self.window.restart(accepted.applied);
            self.reports.restart(1);
            self.next_urn = next_urn;
            return;
        }
        if first {
            self.reports.restart(resume.min(accepted.next_report));
        } else {
            self.reports.rebind();
        }
        let used = accepted.applied >= self.window.settled();
        let above_is_ours = self.window.brings_from(accepted.applied, next_urn);
        if accepted.applied < self.window.next() && (sure || maybe && above_is_ours) {
            // Nothing is sent under a token whose A was lost, so that what is above `applied` was never
            // applied. But what `applied` is news of may be another process's under our numbers.
            if maybe && used {
                self.give_up(accepted.applied, now, on_event);
            }
            self.window.rebind(accepted.applied);
        } else {
            // Another process of this user was here. It may have put messages of its own under our
            // numbers and URNs: neither `applied` nor a report by name says anything of ours.
            self.give_up_all(now, on_event);
            self.window.restart(accepted.applied);
        }
        if !self.config.keep_unsettled {
            self.withdraw(now, on_event);
        }
        self.next_urn = self.next_urn.max(next_urn);
    }

    fn on_refused(
        &mut self,
        refused: &session::Refused,
        from: SocketAddrV4,
        now: Nanos,
        on_event: &mut impl FnMut(BrokerEvent),
    ) {
        let ours = refused.client_nonce;
        match &mut self.phase {
            Phase::Login(attempt) if ours == *attempt.client_nonce() => {
                // A repeat of an accepted login may be told that its time is not later.
                if refused.code == RefusedCode::Time && attempt.is_repeated() {
                    self.counters.hints_ignored += 1;
                    return;
                }
                self.pending = None;
                self.login_refused(refused.code, from, now, on_event);
            }
            Phase::Bound(binding) => {
                let gone = match refused.code {
                    RefusedCode::NoSession => Gone::TokenDead,
                    RefusedCode::BoundElsewhere => Gone::Displaced,
                    _ => {
                        self.counters.hints_ignored += 1;
                        return;
                    }
                };
                let blank = ours == [0; 16];
                if gone == Gone::TokenDead && matches!(binding.logoff, Logoff::Sent(_)) {
                    self.phase = Phase::Stopped;
                    on_event(BrokerEvent::LoggedOff);
                } else if ours == binding.client_nonce {
                    self.disconnect(gone, now, on_event);
                } else if blank && binding.doubt.is_none() {
                    binding.doubt = Some((now.plus(DOUBT_NS), gone));
                    binding.probed = false;
                } else {
                    self.counters.hints_ignored += 1;
                }
            }
            _ => self.counters.hints_ignored += 1,
        }
    }

    fn login_refused(
        &mut self,
        code: RefusedCode,
        gateway: SocketAddrV4,
        now: Nanos,
        on_event: &mut impl FnMut(BrokerEvent),
    ) {
        self.failures = self.failures.saturating_add(1);
        let rounds = self.failures as usize / self.config.gateways.len();
        let wait = if code == RefusedCode::NotLeader && rounds == 0 {
            0
        } else {
            (REFUSED_NS << rounds.min(8)).min(REFUSED_NS_MAX)
        };
        self.next_gateway();
        let retry_at = now.plus(wait);
        self.phase = Phase::Waiting { until: retry_at };
        on_event(BrokerEvent::Refused { gateway, why: code, retry_at });
    }

    fn on_applied(&mut self, applied: &session::Applied, token: Token, now: Nanos) {
        let Phase::Bound(binding) = &mut self.phase else {
            self.counters.wrong_session += 1;
            return;
        };
        if !session::same_token(&binding.token, &token) {
            self.counters.wrong_session += 1;
            return;
        }
        binding.heard(now);
        self.reports.learn(applied.next_report, binding.keys.is_some());
        self.add_horizon(applied.applied.min(self.window.next() - 1), applied.next_report);
        self.settle(applied.applied, now);
    }

    /// Numbered reports, heartbeats, end of session.
    fn on_downstream(
        &mut self,
        bytes: &[u8],
        name: SessionName,
        now: Nanos,
        on_event: &mut impl FnMut(BrokerEvent),
    ) {
        // Reports may overtake A. Without a binding nothing tells them from forged ones; they are
        // dropped and asked for after A.
        if !matches!(&self.phase, Phase::Bound(binding) if binding.name == name) {
            self.counters.wrong_session += 1;
            return;
        }
        let Some(bytes) = self.open(bytes) else { return };
        let Ok((header, packet)) = mold::parse(bytes) else {
            self.counters.malformed += 1;
            return;
        };
        let Phase::Bound(binding) = &mut self.phase else { return };
        let sealed = binding.keys.is_some();
        match packet {
            Packet::Request => {
                self.counters.malformed += 1;
                return;
            }
            Packet::Heartbeat => self.reports.learn(header.sequence, sealed),
            Packet::EndOfSession => {
                self.reports.confirm(header.sequence);
                if matches!(binding.logoff, Logoff::Sent(_)) {
                    self.phase = Phase::Stopped;
                    on_event(BrokerEvent::LoggedOff);
                    return;
                }
                binding.ended.get_or_insert(now);
            }
            Packet::Messages(blocks) => {
                let mut number = header.sequence;
                for block in blocks {
                    self.on_report(number, block, now, on_event);
                    number = number.saturating_add(1);
                }
                if sealed {
                    self.reports.confirm(number);
                }
            }
        }
        if let Phase::Bound(binding) = &mut self.phase {
            binding.heard(now);
        }
    }

    fn on_report(
        &mut self,
        number: u64,
        block: &[u8],
        now: Nanos,
        on_event: &mut impl FnMut(BrokerEvent),
    ) {
        match self.reports.place(number, block) {
            Place::Old => self.counters.duplicates += 1,
            Place::Early => self.counters.early += 1,
            Place::Now => {
                self.deliver(number, block, now, on_event);
                let mut kept = EARLY_BYTES;
                while let Some(len) = self.reports.early(&mut kept) {
                    self.deliver(self.reports.next(), &kept[..len], now, on_event);
                }
            }
        }
    }

    /// Hands out the report whose turn it is and draws its conclusions.
    fn deliver(
        &mut self,
        number: u64,
        block: &[u8],
        now: Nanos,
        on_event: &mut impl FnMut(BrokerEvent),
    ) {
        self.reports.advance();
        if let Phase::Bound(Binding { ended: Some(since), .. }) = &mut self.phase {
            *since = now;
        }
        let Ok(report) = Outbound::decode(block) else {
            let letter = block.first().copied().unwrap_or(0);
            on_event(BrokerEvent::UnknownReport { number, letter });
            return;
        };
        on_event(BrokerEvent::Report { number, report });
        let through = match report {
            Outbound::Accepted(m) => self.window.find_urn(m.urn),
            Outbound::Replaced(m) => self.window.find_urn(m.urn),
            Outbound::Rejected(m) => self.window.find_urn(m.urn),
            Outbound::NotApplied(m) => {
                self.window.mark_not_applied(m.from, m.count);
                m.from.checked_add(m.count as u64).map(|end| end.saturating_sub(1))
            }
            _ => None,
        };
        if let Some(through) = through {
            let named = !matches!(report, Outbound::NotApplied(_));
            if named {
                self.settle(through, now);
            } else if self.window.settle_through(through) {
                self.repeats = 0;
            }
            self.conclude(through, named.then_some(through), now, on_event);
        }
    }
}

impl Binding {
    fn heard(&mut self, now: Nanos) {
        self.last_heard = now;
        self.quiet_step = 2;
        self.doubt = None;
    }
}

/// The only block of a packet with sequence 0.
fn one_block(bytes: &[u8]) -> Option<(Header, &[u8])> {
    match mold::parse(bytes).ok()? {
        (header, Packet::Messages(mut blocks)) if header.count == 1 => {
            Some((header, blocks.next()?))
        }
        _ => None,
    }
}
