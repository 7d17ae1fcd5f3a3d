//! The connection: verbs for the application, one `poll` that does everything else.
//!
//! Consumes datagrams of the gateways and the application's orders; produces datagrams and
//! [`BrokerEvent`]s. Has no thread and no clock: the caller polls with the time. Must not know
//! anything of the exchange's inside. Nothing is allocated per message.

use std::net::SocketAddrV4;
use std::os::fd::RawFd;

use super::config::{BrokerConfig, ConfigErrors, DEAD_TIME_MS_DEFAULT};
use super::event::{BrokerEvent, Gone, Settled, SettledBy};
use super::login::{Attempt, Entropy, Pending};
use super::order::{NewOrder, ReplaceOrder, SendError, Sent};
use super::reports::Reports;
use super::round_trip::RoundTrip;
use super::window::{Slot, Window};
use crate::net::Port;
use crate::types::*;
use crate::wire::ouch;
use crate::wire::session::{Nonce, PacketKeys};

/// What the connection is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Nothing, until [`Broker::login`]: displaced, logged off, or the day is over.
    Stopped,
    /// Logging in, or waiting to try again.
    LoggingIn,
    /// Bound: messages go out at once.
    Bound,
    /// A logoff was asked for. A binding that is lost before it is answered is renewed first.
    LoggingOff,
}

/// Counts since construction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BrokerCounters {
    /// Datagrams received.
    pub received: u64,
    /// Datagrams sent.
    pub sent: u64,
    /// Dropped: from an address that is no listed gateway.
    pub foreign: u64,
    /// Dropped: no packet, no block of ours, or an A with a wrong HMAC.
    pub malformed: u64,
    /// Dropped: packet MAC wrong or missing.
    pub bad_mac: u64,
    /// Dropped: another session's name or token, or no binding to take it.
    pub wrong_session: u64,
    /// Refusals that were not about this login or binding, or not believed.
    pub hints_ignored: u64,
    /// Reports that were delivered or kept already.
    pub duplicates: u64,
    /// Reports that came before their turn.
    pub early: u64,
    /// Replay requests sent.
    pub replay_requests: u64,
    /// Datagrams repeated because nothing settled their messages in time.
    pub repeats: u64,
    /// Logins accepted.
    pub logins: u64,
}

/// What a login gave.
#[derive(Debug)]
pub(super) struct Binding {
    pub name: SessionName,
    pub token: Token,
    pub keys: Option<PacketKeys>,
    pub client_nonce: Nonce,
    pub dead_ns: u64,
    pub last_heard: Nanos,
    /// Time of the last datagram that carried the token: what the exchange takes for a sign of life.
    pub last_sign: Nanos,
    /// When silence next moves traffic to another gateway address.
    pub quiet_step: u64,
    /// A refusal that anybody could have sent: believed unless something is heard before this.
    pub doubt: Option<(Nanos, Gone)>,
    /// The probe that answers the doubt has been sent.
    pub probed: bool,
    pub logoff: Logoff,
    /// End of session was seen: then, or when the last report came since.
    pub ended: Option<Nanos>,
}

/// How far a logoff is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Logoff {
    No,
    /// Waits for everything unsettled.
    Wanted,
    /// Sent at this time, repeated until answered.
    Sent(Nanos),
}

#[derive(Debug)]
pub(super) enum Phase {
    Stopped,
    /// Back-off.
    Waiting {
        until: Nanos,
    },
    Login(Attempt),
    Bound(Binding),
}

/// What K said: messages through `applied` are concluded once reports below `next_report` are here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Horizon {
    applied: u64,
    next_report: u64,
}

/// Horizons kept apart; more are merged, which only delays a conclusion.
const HORIZONS: usize = 8;

/// Everything but the port, so that both can be borrowed at once.
#[derive(Debug)]
pub(super) struct Core {
    pub config: BrokerConfig,
    pub entropy: Entropy,
    pub phase: Phase,
    /// Index of the gateway in use.
    pub gateway: usize,
    /// Gateways that did not answer in a row, and refusals: the back-off grows with it.
    pub failures: u32,
    pub last_login_time: Nanos,
    /// A signed login that was given up, neither accepted nor refused: it may be committed yet.
    pub pending: Option<Pending>,
    /// Name of the last binding.
    pub name: Option<SessionName>,
    /// Its login generation, 0 = none.
    pub generation: u32,
    /// Logins signed since its A: as many generations may be our own.
    pub signed_logins: u32,
    /// A logoff was asked for: the next binding is to be left, too.
    pub leaving: bool,
    pub window: Window,
    pub reports: Reports,
    /// Next reference; above `u32::MAX` = used up.
    pub next_urn: u64,
    horizons: [Horizon; HORIZONS],
    horizon_count: usize,
    pub round_trip: RoundTrip,
    /// Careful repetition: one datagram at a time until this number is settled.
    pub recover_until: u64,
    /// End (exclusive) and time of the last datagram of a careful repetition.
    pub chunk: (u64, Nanos),
    /// Wait before each repeat of it.
    pub chunk_wait_ns: u64,
    /// Times that it was repeated.
    pub chunk_repeats: u32,
    /// Repeats in a row without progress.
    pub repeats: u32,
    pub counters: BrokerCounters,
}

/// A broker's session with the exchange over one port.
#[derive(Debug)]
pub struct Broker<P> {
    port: P,
    core: Core,
}

impl<P: Port> Broker<P> {
    /// Checks the settings and allocates everything. Logging in begins with the first poll.
    pub fn new(config: BrokerConfig, port: P) -> Result<Broker<P>, ConfigErrors> {
        config.check()?;
        let core = Core {
            entropy: Entropy::new(config.seed),
            phase: Phase::Waiting { until: Nanos(0) },
            gateway: 0,
            failures: 0,
            last_login_time: Nanos(0),
            pending: None,
            name: None,
            generation: 0,
            signed_logins: 0,
            leaving: false,
            window: Window::new(config.window),
            reports: Reports::new(),
            next_urn: 1,
            horizons: [Horizon::default(); HORIZONS],
            horizon_count: 0,
            round_trip: RoundTrip::new(config.resend_after_ns, config.resend_max_ns),
            recover_until: 0,
            chunk: (0, Nanos(0)),
            chunk_wait_ns: config.resend_after_ns,
            chunk_repeats: 0,
            repeats: 0,
            counters: BrokerCounters::default(),
            config,
        };
        Ok(Broker { port, core })
    }

    /// Receives at most one burst of datagrams, tells `on_event` what happened, then sends what is
    /// due: login, messages, repeats, replay requests, heartbeats. Call it all the time, at the
    /// latest every millisecond; `now` must not run backwards and must be wall time within 5 s
    /// (logins carry it). Returns datagrams received and sent, 0 = idle.
    pub fn poll(&mut self, now: Nanos, mut on_event: impl FnMut(BrokerEvent)) -> usize {
        let core = &mut self.core;
        let sent = core.counters.sent;
        let received =
            self.port.receive(|bytes, from| core.on_datagram(bytes, from, now, &mut on_event));
        core.counters.received += received as u64;
        core.on_time(now, &mut self.port, &mut on_event);
        self.port.flush();
        received + (core.counters.sent - sent) as usize
    }

    /// Sends what was entered since the last poll or flush, packed into as few datagrams as it
    /// fits. `poll` does it too; this is for sending without receiving first.
    pub fn flush(&mut self, now: Nanos) {
        self.core.transmit(now, &mut self.port);
        self.port.flush();
    }

    /// Takes a new order; it leaves with the next `flush` or `poll`. O(1).
    pub fn enter(&mut self, order: &NewOrder) -> Result<Sent, SendError> {
        self.core.take_with_urn(b'O', |urn| order.message(urn))
    }

    /// Takes a replace; it leaves with the next `flush` or `poll`. O(1).
    pub fn replace(&mut self, replace: &ReplaceOrder) -> Result<Sent, SendError> {
        self.core.take_with_urn(b'U', |urn| replace.message(urn))
    }

    /// Takes a cancel: afterwards at most `total` shares, all executed ones of the replace chain
    /// included, are or will be executed; 0 = cancel what is open. O(1).
    pub fn cancel(&mut self, urn: Urn, total: Quantity) -> Result<Sent, SendError> {
        let message = ouch::Inbound::Cancel(ouch::Cancel { urn, quantity: total });
        self.core.take(b'X', Urn(0), &message)
    }

    /// Asks for the next URN; answered by a `QueryResponse` report. O(1).
    pub fn query(&mut self) -> Result<Sent, SendError> {
        self.core.take(b'Q', Urn(0), &ouch::Inbound::Query)
    }

    /// Logs off once everything sent is settled; `LoggedOff` follows. Orders stay in the book
    /// unless cancel on disconnect was granted. When the binding is lost first, logs in and then off.
    /// Does nothing before the first login and while stopped.
    pub fn logoff(&mut self) {
        if self.core.name.is_none() || matches!(self.core.phase, Phase::Stopped) {
            return;
        }
        self.core.leaving = true;
        if let Phase::Bound(binding) = &mut self.core.phase
            && binding.logoff == Logoff::No
        {
            binding.logoff = Logoff::Wanted;
        }
    }

    /// Starts logging in again after `Displaced`, `LoggedOff` or `EndOfDay`. Does nothing while
    /// logging in or bound.
    pub fn login(&mut self) {
        if matches!(self.core.phase, Phase::Stopped) {
            self.core.failures = 0;
            self.core.leaving = false;
            self.core.phase = Phase::Waiting { until: Nanos(0) };
        }
    }

    /// What the connection is doing.
    pub fn state(&self) -> State {
        match &self.core.phase {
            Phase::Stopped => State::Stopped,
            _ if self.core.leaving => State::LoggingOff,
            Phase::Waiting { .. } | Phase::Login(_) => State::LoggingIn,
            Phase::Bound(_) => State::Bound,
        }
    }

    /// True while messages go out at once.
    pub fn is_bound(&self) -> bool {
        self.state() == State::Bound
    }

    /// True when every report known to exist was delivered, at least all of before the login: after a
    /// start with `Rebuild`, own orders are whole.
    pub fn is_caught_up(&self) -> bool {
        matches!(self.core.phase, Phase::Bound(_)) && self.core.reports.missing() == 0
    }

    /// Messages that may be taken before `WindowFull`.
    pub fn free(&self) -> usize {
        self.core.window.free()
    }

    /// Messages not known to be applied.
    pub fn unsettled(&self) -> usize {
        self.core.window.unsettled()
    }

    /// Client sequence of the next message.
    pub fn next_sequence(&self) -> u64 {
        self.core.window.next()
    }

    /// URN of the next order or replace; `None` when used up.
    pub fn next_urn(&self) -> Option<Urn> {
        u32::try_from(self.core.next_urn).ok().map(Urn)
    }

    /// Number of the next report to be delivered: what to persist for `StartAt::Report`.
    pub fn next_report(&self) -> u64 {
        self.core.reports.next()
    }

    /// Downstream name of the last login, to be persisted with it.
    pub fn session_name(&self) -> Option<SessionName> {
        self.core.name
    }

    /// Gateway in use.
    pub fn gateway(&self) -> SocketAddrV4 {
        self.core.config.gateways[self.core.gateway]
    }

    /// How long an unsettled message is waited for before it is repeated, ns: follows the round trips
    /// (see [`BrokerConfig::resend_after_ns`]).
    pub fn resend_after_ns(&self) -> u64 {
        self.core.round_trip.wait_ns()
    }

    /// Counts since construction.
    pub fn counters(&self) -> BrokerCounters {
        self.core.counters
    }

    /// The port, for its own counters.
    pub fn port(&self) -> &P {
        &self.port
    }

    /// Descriptor to wait on between polls.
    pub fn poll_fd(&self) -> Option<RawFd> {
        self.port.poll_fd()
    }
}

impl Core {
    fn may_take(&self) -> bool {
        match &self.phase {
            Phase::Stopped => false,
            Phase::Bound(binding) => !self.leaving && binding.ended.is_none(),
            Phase::Waiting { .. } | Phase::Login(_) => {
                self.name.is_some() && self.config.keep_unsettled && !self.leaving
            }
        }
    }

    fn take(&mut self, kind: u8, urn: Urn, message: &ouch::Inbound) -> Result<Sent, SendError> {
        if !self.may_take() {
            return Err(SendError::NotLoggedIn);
        }
        let sequence =
            self.window.push(kind, urn, |out| message.encode(out)).ok_or(SendError::WindowFull)?;
        Ok(Sent { sequence, urn })
    }

    fn take_with_urn(
        &mut self,
        kind: u8,
        message: impl FnOnce(Urn) -> ouch::Inbound,
    ) -> Result<Sent, SendError> {
        if !self.may_take() {
            return Err(SendError::NotLoggedIn);
        }
        let urn = Urn(u32::try_from(self.next_urn).map_err(|_| SendError::UrnsUsedUp)?);
        let sent = self.take(kind, urn, &message(urn))?;
        self.next_urn += 1;
        Ok(sent)
    }

    /// Dead time in ns as granted; an exchange that grants less than a second is not believed.
    pub fn dead_ns(granted_ms: u16) -> u64 {
        let ms = if granted_ms == 0 { DEAD_TIME_MS_DEFAULT } else { granted_ms.max(1_000) };
        ms as u64 * 1_000_000
    }

    /// K, or a report by name, settled everything through `through`: how long did the oldest take?
    pub fn settle(&mut self, through: u64, now: Nanos) {
        let oldest = self.window.slot(self.window.settled());
        let took = oldest.filter(|slot| slot.is_clean()).map(|slot| now.since(slot.first_sent));
        if self.window.settle_through(through) {
            self.repeats = 0;
            if let Some(ns) = took {
                self.round_trip.measured(ns);
            }
        }
    }

    /// Notes what a K or A said about messages and the reports that belong to them.
    pub fn add_horizon(&mut self, applied: u64, next_report: u64) {
        if let Some(last) = self.horizons[..self.horizon_count].last_mut() {
            if applied <= last.applied {
                return;
            }
            if self.horizon_count == HORIZONS {
                *last = Horizon { applied, next_report };
                return;
            }
        }
        self.horizons[self.horizon_count] = Horizon { applied, next_report };
        self.horizon_count += 1;
    }

    /// Forgets what K and A said.
    pub fn clear_horizons(&mut self) {
        self.horizon_count = 0;
    }

    /// Concludes messages whose reports are all here.
    pub fn conclude_applied(&mut self, now: Nanos, on_event: &mut impl FnMut(BrokerEvent)) {
        let next = self.reports.next();
        let reached = self.horizons[..self.horizon_count]
            .iter()
            .take_while(|h| h.next_report <= next)
            .count();
        if reached > 0 {
            let through = self.horizons[reached - 1].applied;
            self.horizons.copy_within(reached..self.horizon_count, 0);
            self.horizon_count -= reached;
            self.conclude(through, None, now, on_event);
        }
    }

    /// Concludes messages through `through`; the one numbered `named` was named by a report.
    pub fn conclude(
        &mut self,
        through: u64,
        named: Option<u64>,
        now: Nanos,
        on_event: &mut impl FnMut(BrokerEvent),
    ) {
        while let Some((sequence, slot)) = self.window.conclude_next(through) {
            let by = match (slot.not_applied, named == Some(sequence)) {
                (true, _) => SettledBy::NotApplied,
                (false, true) => SettledBy::Report,
                (false, false) => SettledBy::Applied,
            };
            on_event(BrokerEvent::Settled(settled(sequence, &slot, by, now)));
        }
    }

    /// Gives every message up: what became of it only the reports that follow tell.
    pub fn give_up_all(&mut self, now: Nanos, on_event: &mut impl FnMut(BrokerEvent)) {
        self.give_up(u64::MAX, now, on_event);
    }

    /// The same for messages through `through` only.
    pub fn give_up(&mut self, through: u64, now: Nanos, on_event: &mut impl FnMut(BrokerEvent)) {
        while let Some((sequence, slot)) = self.window.conclude_next(through) {
            let by = SettledBy::Unknown;
            on_event(BrokerEvent::Settled(settled(sequence, &slot, by, now)));
        }
        self.clear_horizons();
    }

    /// Takes back what is not known to be applied.
    pub fn withdraw(&mut self, now: Nanos, on_event: &mut impl FnMut(BrokerEvent)) {
        while let Some((sequence, slot)) = self.window.withdraw_last() {
            let by = SettledBy::Withdrawn;
            on_event(BrokerEvent::Settled(settled(sequence, &slot, by, now)));
        }
    }

    /// The binding is gone and the next login begins at once, at the next gateway.
    pub fn disconnect(&mut self, gone: Gone, now: Nanos, on_event: &mut impl FnMut(BrokerEvent)) {
        self.phase = match gone {
            Gone::Displaced => Phase::Stopped,
            Gone::Silence | Gone::TokenDead => Phase::Waiting { until: now },
        };
        if gone == Gone::Silence {
            self.next_gateway();
        }
        on_event(BrokerEvent::Disconnected(gone));
    }

    /// Goes on to the next address of the list (the same one if alone).
    pub fn next_gateway(&mut self) {
        self.gateway = (self.gateway + 1) % self.config.gateways.len();
    }
}

fn settled(sequence: u64, slot: &Slot, by: SettledBy, at: Nanos) -> Settled {
    Settled {
        sequence,
        urn: slot.urn,
        kind: slot.kind,
        first_sent: slot.first_sent,
        at,
        transmissions: slot.transmissions,
        by,
    }
}
