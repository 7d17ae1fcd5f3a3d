//! Egress: committed events in, datagrams out.
//!
//! Follows the event log; keeps each session's place (binding, numbers, recent reports), sends live
//! reports, A, J 'B', heartbeats, K, the end of a session, and recent reports again. It is the only
//! writer of the [`SessionBoard`]. Order in a poll: reports, heartbeat, K, end; then replays. Must
//! not know how an event came about, and counts nothing itself: all numbers are the exchange's.

use super::GatewayConfig;
use super::asks::{self, Ask, ReplayAsk};
use super::client::{Client, REPLAYS_MAX, Replay, address_of};
use super::packets::{self, DATAGRAM_BYTES, REPORTS_PER_DATAGRAM};
use super::reports::ReportMemory;
use super::translate::report_of;
use crate::agent::Agent;
use crate::board::{Binding, SessionBoard};
use crate::clock::Clock;
use crate::counters::{Distribution, ReceiptBoard, counters};
use crate::exchange::event::{Event, EventBody, LoggedIn, NO_SESSION};
use crate::net::Port;
use crate::planted::{self, Bug};
use crate::ring::{Consumer, Producer};
use crate::store::{ReadError, Reader};
use crate::types::*;
use crate::wire::mold::{END_OF_SESSION, HEARTBEAT};
use crate::wire::session::RefusedCode;
use std::collections::VecDeque;
use std::sync::Arc;

counters! {
    /// What egress did.
    pub struct EgressCounters("gateway_egress") {
        events: "events read from the event log",
        reports: "reports sent live",
        report_packets: "datagrams with live reports",
        heartbeats: "heartbeats sent",
        applied_sent: "K sent",
        accepted_sent: "A sent",
        displaced: "J 'B' sent to an address that another login displaced",
        ends: "datagrams with count 0xFFFF sent",
        replayed_reports: "reports sent again from memory",
        replay_packets: "datagrams of replays from memory",
        replay_refused: "replay requests beyond what exists, the rate or 16 waiting, or of another login",
        replay_handed_on: "replay requests for older reports, handed to the replayer",
        replay_lost: "replay requests that found the replayer's ring full",
        undecodable: "event records that are none of ours, passed over",
    }
}

/// Events taken per duty cycle at most.
const BATCH: usize = 256;
/// Asks taken per duty cycle at most: one receive burst.
const ASKS: usize = 64;
/// Replay packets per duty cycle: a replay may not hold up live reports (8 x about 1 us).
const REPLAY_PACKETS: usize = 8;
/// Deadlines of sessions are looked at no more often than this; a heartbeat may be so much late, and a
/// few cycles more where many are due.
const SCAN_NS: u64 = 50_000;
/// Of those that are due, so many are served in one cycle, and one in 32 sessions: sessions that once
/// came due together do so again every millisecond, and their frames in one hand-over to the NIC would
/// hold up an order for 20 us (16 sessions).
const TIMED_PER_CYCLE: usize = 2;

/// Egress of one gateway address. See the module's head.
pub struct Egress<P: Port, C: Clock> {
    port: P,
    clock: C,
    events: Reader,
    asks: Consumer,
    replays: Producer,
    table: Table,
    counters: Arc<EgressCounters>,
    latency: Arc<Distribution>,
    receipts: Arc<ReceiptBoard>,
}

/// What egress is wired to.
pub struct EgressLinks {
    /// Reader of the event log, at its first record.
    pub events: Reader,
    /// Asks of ingress.
    pub asks: Consumer,
    /// Requests for old reports, to the replayer.
    pub replays: Producer,
    /// Written by egress alone.
    pub board: Arc<SessionBoard>,
    /// Times of receipt, from the inbound sequencer.
    pub receipts: Arc<ReceiptBoard>,
}

/// What a snapshot says of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResumedSession {
    /// Client sequence applied through.
    pub applied: u64,
    /// Next report number.
    pub next_report: u64,
    /// Position of its last LoggedIn, 0 = none.
    pub login: u64,
    /// Position of the SessionEnded behind that, 0 = none.
    pub ended: u64,
}

/// The sessions, and who of them has something to do.
struct Table {
    board: Arc<SessionBoard>,
    clients: Box<[Client]>,
    memory: ReportMemory,
    /// Earliest deadline of all sessions, or earlier.
    next_deadline: Nanos,
    not_before: Nanos,
    /// Where the scan of the sessions goes on; 0 = none is under way.
    scan: usize,
    /// Sessions with reports to send in this cycle.
    dirty: Vec<SessionSlot>,
    /// Sessions with a deadline that is due in this very cycle.
    urgent: Vec<SessionSlot>,
    /// Sessions with a replay under way.
    replaying: VecDeque<SessionSlot>,
    /// Commands whose reports go out in this cycle, for the latency.
    measured: Vec<Seq>,
    midnight: Nanos,
    epoch: u32,
    replay_packets_max: u16,
    /// The day is over, and not all have been told so yet.
    ending: bool,
}

impl<P: Port, C: Clock> Egress<P, C> {
    /// Egress that sends from `port` (a second handle on ingress' socket). Call [`Egress::recover`]
    /// before the first duty cycle.
    pub fn new(config: &GatewayConfig, port: P, clock: C, links: EgressLinks) -> Egress<P, C> {
        let EgressLinks { events, asks, replays, board, receipts } = links;
        let sessions = config.sessions.len();
        let kept = config.reports_kept.max(2 * BATCH);
        let clients = config.sessions.iter().map(|s| Client::new(s, config));
        let table = Table {
            board,
            clients: clients.collect(),
            memory: ReportMemory::new(sessions, kept),
            next_deadline: Nanos(u64::MAX),
            not_before: Nanos(0),
            scan: 0,
            dirty: Vec::with_capacity(sessions),
            urgent: Vec::with_capacity(sessions),
            replaying: VecDeque::with_capacity(sessions),
            measured: Vec::with_capacity(BATCH),
            midnight: config.midnight,
            epoch: config.epoch,
            replay_packets_max: config.replay_packets_max.min(u16::MAX as usize) as u16,
            ending: false,
        };
        Egress {
            port,
            clock,
            events,
            asks,
            replays,
            table,
            counters: Arc::default(),
            latency: Distribution::new(),
            receipts,
        }
    }

    /// Its counters.
    pub fn counters(&self) -> Arc<EgressCounters> {
        self.counters.clone()
    }

    /// Distribution of datagram received -> report handed to the socket, ns.
    pub fn latency(&self) -> Arc<Distribution> {
        self.latency.clone()
    }

    /// From a snapshot: the place of session `slot` is told by its numbers and by where its last login
    /// and end stand in the event log. Older reports than `from.next_report` are not in memory: the
    /// replayer has them. Before [`Egress::recover`].
    pub fn resume(&mut self, slot: SessionSlot, from: &ResumedSession) -> Result<(), ReadError> {
        for position in [from.login, from.ended] {
            if position == 0 {
                continue;
            }
            self.events.seek(position);
            if let Some(record) = self.events.next()?
                && let Some(event) = Event::decode(record.kind, record.payload)
                && event.head.session == slot
            {
                let time = record.time;
                self.table.note(&event, time, None);
            }
        }
        if let Some(client) = self.table.clients.get_mut(slot.0 as usize) {
            client.applied = from.applied;
            client.next_report = from.next_report;
            client.remembered_from = from.next_report;
            self.table.board.advance(slot, from.applied, from.next_report);
        }
        Ok(())
    }

    /// From a snapshot, after every session's [`Egress::resume`]: [`Egress::recover`] reads behind
    /// event `seq` only, which ends at `position`. `day_ended`: the sessions were told so.
    pub fn resume_behind(&mut self, seq: Seq, position: u64, day_ended: bool) {
        self.events.seek_record(position, Seq(seq.0 + 1));
        if day_ended {
            self.table.ending = true;
            self.table.board.end_day();
        }
    }

    /// Rebuilds every session's place from the event log up to its commit mark, sending nothing;
    /// then every bound client is due a heartbeat and K at `now`. Call after the engine's recovery.
    /// Returns the events read. Cost: the whole day's events.
    pub fn recover(&mut self, now: Nanos) -> Result<u64, ReadError> {
        let mut count = 0;
        while let Some(record) = self.events.next()? {
            count += 1;
            match Event::decode(record.kind, record.payload) {
                Some(event) => self.table.note(&event, record.time, None),
                None => self.counters.undecodable.add(1),
            }
        }
        self.counters.events.add(count);
        for client in self.table.clients.iter_mut() {
            client.announce(now);
        }
        self.table.dirty.clear();
        self.table.urgent.clear();
        self.table.measured.clear();
        self.table.next_deadline = now;
        Ok(count)
    }

    fn follow_events(&mut self, now: Nanos) -> usize {
        let mut done = 0;
        while done < BATCH {
            let record = match self.events.next() {
                Ok(Some(record)) => record,
                Ok(None) => break,
                // Our own memory is damaged: a broker must not be told less than was done.
                Err(error) => panic!("egress cannot read the event log: {error}"),
            };
            done += 1;
            let time = record.time;
            let Some(event) = Event::decode(record.kind, record.payload) else {
                self.counters.undecodable.add(1);
                continue;
            };
            // What a binding has still to get goes out before the binding changes.
            let changes = matches!(event.body, EventBody::LoggedIn(_) | EventBody::SessionEnded(_));
            if changes && !planted::is(Bug::HeldBack) {
                self.send_live(event.head.session, now);
            }
            self.table.note(&event, time, Some(now));
            match event.body {
                EventBody::LoggedIn(_) => self.send_login(event.head.session, now),
                EventBody::SessionEnded(_) | EventBody::Applied(_) => {
                    self.table.schedule(event.head.session, now)
                }
                _ => {}
            }
        }
        self.counters.events.add(done as u64);
        done
    }

    /// A to the new address, J 'B' to the one it displaced.
    fn send_login(&mut self, slot: SessionSlot, now: Nanos) {
        let epoch = self.table.epoch;
        let Some(client) = self.table.clients.get_mut(slot.0 as usize) else { return };
        if let Some((address, nonce)) = client.displaced.take() {
            let code = RefusedCode::BoundElsewhere;
            packets::send_refused(&mut self.port, address, code, epoch, nonce);
            self.counters.displaced.add(1);
        }
        packets::send_accepted(&mut self.port, client);
        self.counters.accepted_sent.add(1);
        self.table.schedule(slot, now);
    }

    fn take_asks(&mut self, now: Nanos) -> usize {
        let mut done = 0;
        while done < ASKS {
            let Some(ask) = asks::pop(&mut self.asks) else { break };
            done += 1;
            match ask {
                Ask::Applied(slot) => {
                    if let Some(client) = self.table.clients.get_mut(slot.0 as usize)
                        && client.bound
                    {
                        client.want_applied(now);
                        self.table.schedule(slot, now);
                    }
                }
                Ask::Accepted(slot) => {
                    if let Some(client) = self.table.clients.get_mut(slot.0 as usize)
                        && client.bound
                    {
                        packets::send_accepted(&mut self.port, client);
                        self.counters.accepted_sent.add(1);
                    }
                }
                Ask::Replay(replay) => self.begin_replay(replay, now),
            }
        }
        done
    }

    fn begin_replay(&mut self, ask: ReplayAsk, now: Nanos) {
        let kept = self.table.memory.kept();
        let packets_max = self.table.replay_packets_max;
        let Some(client) = self.table.clients.get_mut(ask.session.0 as usize) else { return };
        let known = ask.from >= 1 && ask.from < client.next_report;
        client.replay_bytes.pass(now);
        let bytes = client.replay_bytes.level();
        let open = client.bound || client.served;
        let stale = !open || client.generation != ask.generation;
        if stale || !known || bytes < DATAGRAM_BYTES {
            self.counters.replay_refused.add(1);
            return;
        }
        let end = client.next_report.min(ask.from + ask.count as u64);
        if client.next_report - ask.from <= kept && ask.from >= client.remembered_from {
            if client.replays.len() == REPLAYS_MAX {
                self.counters.replay_refused.add(1);
                return;
            }
            let next = ask.from + planted::is(Bug::ReplaySkipsOne) as u64;
            client.replays.push_back(Replay { next, end, packets: packets_max });
            if !client.replaying {
                client.replaying = true;
                self.table.replaying.push_back(ask.session);
            }
            return;
        }
        // No more than the answer can need: the rate is one of bytes, not of requests.
        let packets = (end - ask.from).div_ceil(REPORTS_PER_DATAGRAM).min(packets_max as u64);
        let bytes_max = bytes.min(packets * DATAGRAM_BYTES);
        // Nor beyond what was there when he asked: the replayer may have read on, past the binding's end.
        let count = (end - ask.from) as u16;
        let handed = Ask::Replay(ReplayAsk { count, bytes_max: bytes_max as u32, ..ask });
        if asks::push(&mut self.replays, handed) {
            client.replay_bytes.take(bytes_max);
            self.counters.replay_handed_on.add(1);
        } else {
            self.counters.replay_lost.add(1);
        }
    }

    /// Sends up to `REPLAY_PACKETS` packets, the sessions in turn.
    fn replay(&mut self) -> usize {
        let mut sent = 0;
        while sent < REPLAY_PACKETS {
            let Some(slot) = self.table.replaying.pop_front() else { break };
            let Table { clients, memory, replaying, .. } = &mut self.table;
            let client = &mut clients[slot.0 as usize];
            // A binding's end and a new login clear its requests.
            let Some(&Replay { next: from, end, packets }) = client.replays.front() else {
                client.replaying = false;
                continue;
            };
            replaying.push_back(slot);
            let oldest = client.next_report.saturating_sub(memory.kept());
            let oldest = oldest.max(client.remembered_from);
            // Beyond the rate: silence, the client asks again.
            if from < oldest || !client.replay_bytes.take(DATAGRAM_BYTES) {
                client.replays.pop_front();
                continue;
            }
            let next = packets::send_reports(&mut self.port, client, memory, slot, from, end);
            self.counters.replayed_reports.add(next - from);
            self.counters.replay_packets.add(1);
            sent += 1;
            if next < end && packets > 1 {
                client.replays[0] = Replay { next, end, packets: packets - 1 };
            } else {
                client.replays.pop_front();
            }
        }
        sent
    }

    /// Reports of one session that were not sent yet, to who is bound.
    fn send_live(&mut self, slot: SessionSlot, now: Nanos) {
        let Table { clients, memory, next_deadline, .. } = &mut self.table;
        let Some(client) = clients.get_mut(slot.0 as usize) else { return };
        if !client.bound || client.next_live >= client.next_report {
            return;
        }
        while client.next_live < client.next_report {
            let (from, end) = (client.next_live, client.next_report);
            client.next_live =
                packets::send_reports(&mut self.port, client, memory, slot, from, end);
            self.counters.reports.add(client.next_live - from);
            self.counters.report_packets.add(1);
        }
        client.reports_sent(now);
        *next_deadline = (*next_deadline).min(client.deadline());
    }

    fn send_dirty(&mut self, now: Nanos) {
        while let Some(slot) = self.table.dirty.pop() {
            self.table.clients[slot.0 as usize].dirty = false;
            self.send_live(slot, now);
        }
    }

    /// Heartbeat, K and end of the sessions whose time has come.
    fn send_due(&mut self, now: Nanos) -> usize {
        let mut sent = 0;
        while let Some(slot) = self.table.urgent.pop() {
            self.table.clients[slot.0 as usize].urgent = false;
            sent += self.send_timed(slot.0 as usize, now);
        }
        if self.table.scan == 0 {
            if now < self.table.next_deadline || now < self.table.not_before {
                return sent;
            }
            self.table.not_before = now.plus(SCAN_NS);
            self.table.next_deadline = Nanos(u64::MAX);
        }
        sent + self.scan(now)
    }

    /// Serves sessions that are due, from where the last cycle stopped.
    fn scan(&mut self, now: Nanos) -> usize {
        let (mut sent, mut served) = (0, 0);
        let sessions = self.table.clients.len();
        let most = TIMED_PER_CYCLE + sessions / 32;
        for index in self.table.scan..sessions {
            if self.table.clients[index].deadline() <= now {
                if served == most {
                    self.table.scan = index;
                    return sent;
                }
                served += 1;
                sent += self.send_timed(index, now);
            }
            // Sessions already passed may get a nearer deadline meanwhile: whoever gives it sees to that.
            let deadline = self.table.clients[index].deadline();
            self.table.next_deadline = self.table.next_deadline.min(deadline);
        }
        self.table.scan = 0;
        sent
    }

    fn send_timed(&mut self, index: usize, now: Nanos) -> usize {
        let client = &mut self.table.clients[index];
        let due = client.take_due(now);
        if due.heartbeat {
            packets::send_head(&mut self.port, client, client.next_report, HEARTBEAT);
            self.counters.heartbeats.add(1);
        }
        if due.applied {
            packets::send_applied(&mut self.port, client, self.table.epoch);
            self.counters.applied_sent.add(1);
        }
        if due.end {
            packets::send_head(&mut self.port, client, client.end_number, END_OF_SESSION);
            self.counters.ends.add(1);
        }
        due.heartbeat as usize + due.applied as usize + due.end as usize
    }

    fn measure(&mut self) {
        if self.table.measured.is_empty() {
            return;
        }
        let sent = self.clock.now();
        for seq in self.table.measured.drain(..) {
            if let Some(received) = self.receipts.received(seq) {
                self.latency.record(sent.since(received));
            }
        }
    }
}

impl<P: Port, C: Clock> Agent for Egress<P, C> {
    fn name(&self) -> &'static str {
        "gateway_egress"
    }

    fn duty_cycle(&mut self, now: Nanos) -> usize {
        let mut done = self.follow_events(now);
        let drained = done < BATCH;
        self.send_dirty(now);
        done += self.take_asks(now);
        done += self.send_due(now);
        done += self.replay();
        if done > 0 {
            self.port.flush();
            self.measure();
        }
        // The commit mark moves by whole commands: all that the end is was read.
        if self.table.ending && drained {
            self.table.end_told(now);
        }
        done
    }
}

impl Table {
    /// Takes one event into the tables. `live`: the time of this cycle, or `None` in recovery.
    #[inline]
    fn note(&mut self, event: &Event, time: Nanos, live: Option<Nanos>) {
        let slot = event.head.session;
        if slot == NO_SESSION {
            return;
        }
        let Some(client) = self.clients.get_mut(slot.0 as usize) else { return };
        let moved = event.head.applied > client.applied;
        client.applied = client.applied.max(event.head.applied);
        if event.head.report != 0 {
            let timestamp = time.since(self.midnight);
            if let Some(report) = report_of(event, timestamp) {
                self.memory.put(slot, event.head.report, |out| report.encode(out));
                client.next_report = event.head.report + 1;
                if client.bound && live.is_some() && !client.dirty {
                    client.dirty = true;
                    self.dirty.push(slot);
                }
            }
        }
        // Numbers before bindings: whoever sees a binding sees at least its numbers.
        self.board.advance(slot, client.applied, client.next_report);
        match &event.body {
            EventBody::LoggedIn(login) => {
                client.log_in(login, event.head.applied, self.epoch, live);
                self.board.bind(slot, &binding_of(login));
                if let Some(now) = live {
                    self.board.hear(slot, now);
                }
            }
            EventBody::SessionEnded(ended) => {
                client.end(ended, live);
                let (_, binding) = self.board.binding(slot);
                let served = client.served;
                self.board.bind(slot, &Binding { bound: false, served, ..binding });
            }
            EventBody::SessionMark(mark) if mark.code == b'E' => {
                self.ending = true;
                self.board.end_day();
            }
            EventBody::Applied(_) => {
                if let Some(now) = live.filter(|_| !planted::is(Bug::AnsweredLater)) {
                    client.want_applied(now);
                }
            }
            _ => {}
        }
        if let Some(now) = live {
            if moved {
                client.applied_moved(now);
            }
            if event.head.report != 0 && client.bound {
                let command = event.head.command;
                if self.measured.last() != Some(&command) && self.measured.len() < BATCH {
                    self.measured.push(command);
                }
            }
            self.next_deadline = self.next_deadline.min(client.deadline());
        }
    }

    /// Notes it when nobody is left whom the end has to be told. Cost: O(sessions).
    #[cold]
    fn end_told(&mut self, now: Nanos) {
        if !self.clients.iter().any(Client::owes_end) {
            self.ending = false;
            self.board.tell_end(now);
        }
    }

    /// The session's deadline may have come nearer, perhaps to this cycle.
    fn schedule(&mut self, slot: SessionSlot, now: Nanos) {
        if let Some(client) = self.clients.get_mut(slot.0 as usize) {
            let deadline = client.deadline();
            self.next_deadline = self.next_deadline.min(deadline);
            if deadline <= now && !client.urgent {
                client.urgent = true;
                self.urgent.push(slot);
            }
        }
    }
}

fn binding_of(login: &LoggedIn) -> Binding {
    Binding {
        bound: true,
        served: false,
        generation: login.generation,
        flags: login.flags,
        dead_time_ms: login.dead_time_ms,
        token: login.token,
        address: address_of(login),
        client_nonce: login.client_nonce,
        server_nonce: login.server_nonce,
        login_time: login.login_time,
    }
}
