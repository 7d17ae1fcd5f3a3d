//! A scripted exchange side: the rules of the session page in their plainest form, one user, any
//! number of gateway addresses, and knobs for everything that can go wrong.

use rialto::broker::*;
use rialto::net::{MemoryNetwork, MemoryPort, Port};
use rialto::types::*;
use rialto::wire::mold::{self, END_OF_SESSION, HEARTBEAT, Header, Packet, PacketBuilder};
use rialto::wire::ouch::{self, Inbound, Outbound};
use rialto::wire::session::{self, Block, RefusedCode};
use std::collections::VecDeque;
use std::net::SocketAddrV4;

pub const KEY: [u8; 32] = [1; 32];
pub const GATEWAY_KEY: [u8; 32] = [0xEE; 32];
pub const CLIENT: &str = "10.0.0.9:5000";
pub const GATEWAYS: [&str; 2] = ["10.0.0.1:9001", "10.0.0.2:9001"];
/// 2026-01-31 09:30 UTC, day 31 of its year.
pub const START: Nanos = Nanos(1_769_851_800_000_000_000);
pub const MS: u64 = 1_000_000;

fn time_of_day(now: Nanos) -> u64 {
    now.0 % 86_400_000_000_000
}

pub fn address(text: &str) -> SocketAddrV4 {
    text.parse().unwrap()
}

pub fn user() -> User {
    User::new("ALFA01").unwrap()
}

struct Bound {
    at: SocketAddrV4,
    client_nonce: session::Nonce,
    keys: Option<session::PacketKeys>,
    token: Token,
    accepted: [u8; session::ACCEPTED_BYTES],
}

/// What the exchange applied, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Done {
    pub sequence: u64,
    pub bytes: Vec<u8>,
}

pub struct Fake<P> {
    pub ports: Vec<P>,
    bound: Option<Bound>,
    pub generation: u32,
    last_time: Nanos,
    now: Nanos,
    pub name: SessionName,
    pub next: u64,
    pub last_urn: u32,
    pub live: Vec<Urn>,
    traded: Vec<(Urn, u32)>,
    pub reports: Vec<Vec<u8>>,
    pub done: Vec<Done>,
    /// Every datagram received: gateway index and bytes.
    pub received: Vec<(usize, Vec<u8>)>,
    /// Every datagram sent.
    pub sent: Vec<Vec<u8>>,
    /// Gateway that last heard a valid datagram: it sends.
    pub via: usize,
    /// Reports sent so far of the live stream.
    sent_reports: usize,
    last_sent: Nanos,
    // Knobs.
    pub answers_login: bool,
    pub refuses: Option<RefusedCode>,
    pub wrong_accept_hmac: bool,
    /// Applies messages and sends K.
    pub applies: bool,
    pub sends_reports: bool,
    pub sends_applied: bool,
    pub heartbeats: bool,
    pub answers_replay: bool,
    pub loses_inbound: bool,
    /// Time from the arrival of a datagram to the answer.
    pub commit_ns: u64,
    /// Arrived and not handled yet: when it is, gateway index, bytes, source.
    committing: VecDeque<(Nanos, usize, Vec<u8>, SocketAddrV4)>,
}

impl<P: Port> Fake<P> {
    /// An exchange with a day that has begun, behind these gateways.
    pub fn new(ports: Vec<P>) -> Fake<P> {
        let mut fake = Fake {
            ports,
            bound: None,
            generation: 0,
            last_time: Nanos(0),
            now: START,
            name: session::stream_name(&user(), b'A', 31),
            next: 1,
            last_urn: 0,
            live: Vec::new(),
            traded: Vec::new(),
            reports: Vec::new(),
            done: Vec::new(),
            received: Vec::new(),
            sent: Vec::new(),
            via: 0,
            sent_reports: 0,
            last_sent: START,
            answers_login: true,
            refuses: None,
            wrong_accept_hmac: false,
            applies: true,
            sends_reports: true,
            sends_applied: true,
            heartbeats: true,
            answers_replay: true,
            loses_inbound: false,
            commit_ns: 0,
            committing: VecDeque::new(),
        };
        fake.report(Outbound::SystemEvent(ouch::SystemEvent {
            timestamp: time_of_day(START),
            code: b'S',
        }));
        fake
    }

    /// Time of the pump that is going on, as reports say it.
    fn stamp(&self) -> u64 {
        time_of_day(self.now)
    }

    /// Adds a report; it leaves with the next pump.
    pub fn report(&mut self, report: Outbound) {
        let mut out = [0; ouch::OUTBOUND_BYTES_MAX];
        let len = report.encode(&mut out);
        self.reports.push(out[..len].to_vec());
    }

    pub fn executed(&mut self, urn: Urn, quantity: u32, match_number: u64) {
        self.traded.push((urn, quantity));
        self.report(Outbound::Executed(ouch::Executed {
            timestamp: self.stamp(),
            urn,
            quantity: Quantity(quantity),
            price: Price(10_0000),
            liquidity: b'A',
            match_number: MatchNumber(match_number),
        }));
    }

    pub fn client_nonce(&self) -> session::Nonce {
        self.bound.as_ref().unwrap().client_nonce
    }

    pub fn is_bound(&self) -> bool {
        self.bound.is_some()
    }

    /// The exchange considers the session dead.
    pub fn kill(&mut self) {
        self.bound = None;
    }

    /// Receives everything, applies, sends what is due.
    pub fn pump(&mut self, now: Nanos) {
        self.now = now;
        let due = now.plus(self.commit_ns);
        let waiting = &mut self.committing;
        for (index, port) in self.ports.iter_mut().enumerate() {
            while port.receive(|b, from| waiting.push_back((due, index, b.to_vec(), from))) > 0 {}
        }
        let mut acknowledge = false;
        while self.committing.front().is_some_and(|waiting| waiting.0 <= now)
            && let Some((_, index, bytes, from)) = self.committing.pop_front()
        {
            self.received.push((index, bytes.clone()));
            if !self.loses_inbound {
                acknowledge |= self.on_datagram(index, &bytes, from, now);
            }
        }
        self.send_live(now);
        if acknowledge && self.sends_applied {
            self.send_applied(now);
        }
        if self.heartbeats && self.bound.is_some() && now.since(self.last_sent) >= 200 * MS {
            self.send_heartbeat(now);
        }
        self.ports.iter_mut().for_each(Port::flush);
    }

    fn on_datagram(&mut self, index: usize, raw: &[u8], from: SocketAddrV4, now: Nanos) -> bool {
        if raw.len() == 126 && raw[10..18] == [0; 8] {
            self.on_login(index, raw, from, now);
            return false;
        }
        let Some(bound) = &self.bound else {
            self.refuse(index, from, RefusedCode::NoSession, [0; 16]);
            return false;
        };
        let bytes = match bound.keys {
            Some(keys) => session::open_packet(&keys.client, raw).expect("client's MAC").to_vec(),
            None => raw.to_vec(),
        };
        let (header, packet) = mold::parse(&bytes).expect("the client sends well-formed packets");
        let alive = self.bound.as_ref().is_some_and(|b| b.at == from);
        if let (Packet::Request, true) = (&packet, alive && header.session == self.name) {
            self.via = index;
            if self.answers_replay {
                self.replay(header.sequence, header.count, now);
            }
            return false;
        }
        if !alive || self.bound.as_ref().is_some_and(|b| b.token != header.session) {
            self.refuse(index, from, RefusedCode::NoSession, [0; 16]);
            return false;
        }
        self.via = index;
        match packet {
            Packet::Heartbeat => header.sequence > self.next,
            Packet::EndOfSession => {
                if header.sequence == self.next {
                    self.send_applied(now);
                    for _ in 0..3 {
                        self.send_head(END_OF_SESSION, now);
                    }
                    self.bound = None;
                }
                true
            }
            Packet::Request => false,
            Packet::Messages(blocks) => {
                if !self.applies {
                    return false;
                }
                for (sequence, block) in (header.sequence..).zip(blocks) {
                    self.on_message(sequence, block);
                }
                true
            }
        }
    }

    fn on_login(&mut self, index: usize, raw: &[u8], from: SocketAddrV4, now: Nanos) {
        let Some(Block::Login(login)) = Block::read(&raw[22..]) else { panic!("an L") };
        if !self.answers_login {
            return;
        }
        assert_eq!(login.user, user());
        let minute = (now.0 / 60_000_000_000) as u32;
        let ip = from.ip().octets();
        let nonce = session::challenge_nonce(&GATEWAY_KEY, ip, from.port(), &login.user, minute);
        if let Some(bound) = &self.bound
            && (bound.client_nonce, bound.at) == (login.client_nonce, from)
        {
            let (token, accepted) = (bound.token, bound.accepted);
            self.send_own(index, from, token, &accepted);
            return;
        }
        if login.server_nonce != nonce {
            let mut out = [0; session::CHALLENGE_BYTES];
            session::Challenge { server_nonce: nonce }.write(&mut out);
            self.send_own(index, from, SessionName::BLANK, &out);
            return;
        }
        let gateway = self.ports[index].local();
        let block = raw[22..].first_chunk().unwrap();
        let code = if !session::verify_login(&KEY, block, gateway.ip().octets(), gateway.port()) {
            Some(RefusedCode::NotAuthorised)
        } else if login.time <= self.last_time || now.since(login.time) > 5_000 * MS {
            Some(RefusedCode::Time)
        } else {
            self.refuses
        };
        if let Some(code) = code {
            self.refuse(index, from, code, login.client_nonce);
            return;
        }
        self.last_time = login.time;
        self.generation += 1;
        let random = (self.generation as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let token = session::make_token(SessionSlot(0), random).unwrap();
        let accepted = session::Accepted {
            version: 1,
            flags: login.flags,
            token,
            downstream: self.name,
            next_report: self.reports.len() as u64 + 1,
            applied: self.next - 1,
            next_urn: self.last_urn.wrapping_add(1),
            dead_time_ms: if login.dead_time_ms == 0 { 5_000 } else { login.dead_time_ms },
            epoch: 1,
            generation: self.generation,
            client_nonce: login.client_nonce,
            hmac: [0; 32],
        };
        let key = if self.wrong_accept_hmac { [9; 32] } else { KEY };
        let accepted = accepted.signed(&key);
        let keys = (login.flags & session::FLAG_PACKET_MAC != 0)
            .then(|| session::packet_keys(&KEY, &login.client_nonce, &login.server_nonce));
        let client_nonce = login.client_nonce;
        self.bound = Some(Bound { at: from, client_nonce, keys, token, accepted });
        self.via = index;
        self.sent_reports = self.reports.len();
        self.last_sent = now;
        self.send_own(index, from, token, &accepted);
    }

    fn on_message(&mut self, sequence: u64, block: &[u8]) {
        if sequence < self.next {
            return;
        }
        if sequence > self.next {
            self.report(Outbound::NotApplied(ouch::NotApplied {
                timestamp: self.stamp(),
                from: self.next,
                count: (sequence - self.next) as u32,
            }));
        }
        self.next = sequence + 1;
        self.done.push(Done { sequence, bytes: block.to_vec() });
        match ouch::decode_inbound(block).expect("the client sends what is offered") {
            Inbound::Enter(m) if m.urn.0 > self.last_urn => {
                self.last_urn = m.urn.0;
                if m.quantity.0 == 0 {
                    self.report(Outbound::Rejected(ouch::Rejected {
                        timestamp: self.stamp(),
                        urn: m.urn,
                        reason: RejectReason::Quantity as u16,
                        cl_ord_id: m.cl_ord_id,
                    }));
                    return;
                }
                self.live.push(m.urn);
                self.report(Outbound::Accepted(ouch::Accepted {
                    timestamp: self.stamp(),
                    urn: m.urn,
                    side: Side::from_letter(m.side).unwrap(),
                    quantity: m.quantity,
                    symbol: m.symbol,
                    price: Price(m.price as u32),
                    tif: m.tif,
                    display: m.display,
                    order_ref: OrderRef((m.urn.0 as u64) << 32),
                    capacity: m.capacity,
                    iso: m.iso,
                    cross: m.cross,
                    state: b'L',
                    cl_ord_id: m.cl_ord_id,
                    appendage: m.appendage,
                }));
            }
            Inbound::Replace(m) if m.urn.0 > self.last_urn => {
                let Some(at) = self.live.iter().position(|urn| *urn == m.old_urn) else { return };
                self.live[at] = m.urn;
                self.last_urn = m.urn.0;
                self.report(Outbound::Replaced(ouch::Replaced {
                    timestamp: self.stamp(),
                    old_urn: m.old_urn,
                    urn: m.urn,
                    side: Side::Buy,
                    quantity: m.quantity,
                    symbol: Symbol::new("ALPH").unwrap(),
                    price: Price(m.price as u32),
                    tif: m.tif,
                    display: m.display,
                    order_ref: OrderRef((m.urn.0 as u64) << 32),
                    capacity: b'P',
                    iso: m.iso,
                    cross: b'N',
                    state: b'L',
                    cl_ord_id: m.cl_ord_id,
                }));
            }
            Inbound::Cancel(m) => {
                let Some(at) = self.live.iter().position(|urn| *urn == m.urn) else { return };
                self.live.remove(at);
                let traded: u32 =
                    self.traded.iter().filter(|(urn, _)| *urn == m.urn).map(|(_, q)| q).sum();
                self.report(Outbound::Canceled(ouch::Canceled {
                    timestamp: self.stamp(),
                    urn: m.urn,
                    decrement: Quantity(100 - traded),
                    reason: b'U',
                }));
            }
            Inbound::Query => self.report(Outbound::QueryResponse(ouch::QueryResponse {
                timestamp: self.stamp(),
                next_urn: self.last_urn + 1,
            })),
            Inbound::Enter(_) | Inbound::Replace(_) => {}
        }
    }

    fn send_live(&mut self, now: Nanos) {
        if self.bound.is_none() {
            return;
        }
        let end = self.reports.len();
        if self.sends_reports {
            let mut first = self.sent_reports;
            while first < end {
                first += self.send_reports(first, end, now);
            }
        }
        self.sent_reports = end;
    }

    fn replay(&mut self, first: u64, count: u16, now: Nanos) {
        let end = (first - 1 + count as u64).min(self.reports.len() as u64) as usize;
        let mut at = first as usize - 1;
        for _ in 0..64 {
            if at >= end {
                break;
            }
            at += self.send_reports(at, end, now);
        }
    }

    /// One packet of reports `at..end` (indices); returns how many went into it.
    fn send_reports(&mut self, at: usize, end: usize, now: Nanos) -> usize {
        let mut packet = PacketBuilder::new([0; 1400], self.name, at as u64 + 1);
        while at + (packet.count() as usize) < end
            && packet.push_bytes(&self.reports[at + packet.count() as usize])
        {}
        let count = packet.count() as usize;
        let bytes = packet.packet().to_vec();
        self.send_down(&bytes, now);
        count
    }

    pub fn send_applied(&mut self, now: Nanos) {
        let Some(bound) = &self.bound else { return };
        let applied = session::Applied {
            applied: self.next - 1,
            next_report: self.reports.len() as u64 + 1,
            epoch: 1,
        };
        let mut out = [0; session::APPLIED_BYTES];
        applied.write(&mut out);
        let mut packet = PacketBuilder::new([0; 64], bound.token, 0);
        packet.push_bytes(&out);
        let bytes = packet.packet().to_vec();
        self.send_down(&bytes, now);
    }

    pub fn send_heartbeat(&mut self, now: Nanos) {
        self.send_head(HEARTBEAT, now);
    }

    pub fn send_end_of_day(&mut self, now: Nanos) {
        self.send_head(END_OF_SESSION, now);
    }

    fn send_head(&mut self, count: u16, now: Nanos) {
        let sequence = self.reports.len() as u64 + 1;
        let mut out = [0; 20];
        Header { session: self.name, sequence, count }.write(&mut out);
        self.send_down(&out, now);
    }

    /// To the bound client, sealed if agreed.
    pub fn send_down(&mut self, bytes: &[u8], now: Nanos) {
        let Some(bound) = &self.bound else { return };
        let (at, keys) = (bound.at, bound.keys);
        self.last_sent = now;
        let mut sealed = [0; 1472];
        sealed[..bytes.len()].copy_from_slice(bytes);
        let len = match keys {
            Some(keys) => session::seal_packet(&keys.server, &mut sealed, bytes.len()),
            None => bytes.len(),
        };
        self.sent.push(sealed[..len].to_vec());
        let port = &mut self.ports[self.via];
        port.send(at, |out| {
            out[..len].copy_from_slice(&sealed[..len]);
            len
        });
        port.flush();
    }

    pub fn refuse(
        &mut self,
        index: usize,
        to: SocketAddrV4,
        code: RefusedCode,
        client_nonce: session::Nonce,
    ) {
        let mut out = [0; session::REFUSED_BYTES];
        session::Refused { code, epoch: 1, client_nonce }.write(&mut out);
        self.send_own(index, to, SessionName::BLANK, &out);
    }

    fn send_own(&mut self, index: usize, to: SocketAddrV4, name: SessionName, block: &[u8]) {
        let mut packet = PacketBuilder::new([0; 256], name, 0);
        packet.push_bytes(block);
        self.sent.push(packet.packet().to_vec());
        let port = &mut self.ports[index];
        port.send(to, |out| {
            let bytes = packet.packet();
            out[..bytes.len()].copy_from_slice(bytes);
            bytes.len()
        });
        port.flush();
    }
}

/// Broker, scripted exchange and a hand-moved clock.
pub struct Bench {
    pub network: MemoryNetwork,
    pub fake: Fake<MemoryPort>,
    pub broker: Broker<MemoryPort>,
    pub now: Nanos,
    pub events: Vec<BrokerEvent>,
}

pub fn config() -> BrokerConfig {
    let gateways = GATEWAYS.iter().map(|a| address(a)).collect();
    BrokerConfig { seed: Some(7), ..BrokerConfig::new(user(), KEY, gateways) }
}

impl Bench {
    pub fn new(config: BrokerConfig) -> Bench {
        Bench::on(MemoryNetwork::new(), config)
    }

    pub fn on(network: MemoryNetwork, config: BrokerConfig) -> Bench {
        let ports = GATEWAYS.iter().map(|a| network.bind(address(a)).unwrap()).collect();
        let fake = Fake::new(ports);
        let port = network.bind(address(CLIENT)).unwrap();
        let broker = Broker::new(config, port).unwrap();
        Bench { network, fake, broker, now: START, events: Vec::new() }
    }

    /// Logged in and caught up; events so far are thrown away.
    pub fn bound(config: BrokerConfig) -> Bench {
        let mut bench = Bench::new(config);
        bench.run_until(1_000, |b| b.broker.is_caught_up());
        bench.events.clear();
        bench.fake.received.clear();
        bench
    }

    /// Broker, then exchange, then broker, at one instant.
    pub fn step(&mut self) {
        let events = &mut self.events;
        self.broker.poll(self.now, |event| events.push(event));
        self.fake.pump(self.now);
        self.broker.poll(self.now, |event| events.push(event));
    }

    /// Moves time on by `ns`, then steps.
    pub fn advance(&mut self, ns: u64) {
        self.now = self.now.plus(ns);
        self.step();
    }

    /// Steps every 100 us for `ms`.
    pub fn run(&mut self, ms: u64) {
        for _ in 0..ms * 10 {
            self.advance(MS / 10);
        }
    }

    /// Steps every 100 us until `done`; panics after `ms`.
    pub fn run_until(&mut self, ms: u64, mut done: impl FnMut(&Bench) -> bool) {
        for _ in 0..ms * 10 {
            self.step();
            if done(self) {
                return;
            }
            self.now = self.now.plus(MS / 10);
        }
        panic!("not within {ms} ms; events: {:#?}", self.events);
    }

    pub fn enter(&mut self) -> Sent {
        self.broker.enter(&order()).unwrap()
    }

    /// Sends raw bytes to the client from any address.
    pub fn inject(&mut self, from: &str, bytes: &[u8]) {
        let from = address(from);
        match GATEWAYS.iter().position(|a| address(a) == from) {
            Some(index) => send_raw(&mut self.fake.ports[index], bytes),
            None => send_raw(&mut self.network.bind(from).unwrap(), bytes),
        }
    }

    /// Numbers of the reports delivered.
    pub fn delivered(&self) -> Vec<u64> {
        let number = |event: &BrokerEvent| match event {
            BrokerEvent::Report { number, .. } | BrokerEvent::UnknownReport { number, .. } => {
                Some(*number)
            }
            _ => None,
        };
        self.events.iter().filter_map(number).collect()
    }

    /// Messages concluded: sequence and how.
    pub fn settled(&self) -> Vec<(u64, SettledBy)> {
        let settled = |event: &BrokerEvent| match event {
            BrokerEvent::Settled(s) => Some((s.sequence, s.by)),
            _ => None,
        };
        self.events.iter().filter_map(settled).collect()
    }

    pub fn has(&self, what: impl Fn(&BrokerEvent) -> bool) -> bool {
        self.events.iter().any(what)
    }
}

fn send_raw(port: &mut MemoryPort, bytes: &[u8]) {
    port.send(address(CLIENT), |out| {
        out[..bytes.len()].copy_from_slice(bytes);
        bytes.len()
    });
    port.flush();
}

pub fn order() -> NewOrder {
    let symbol = Symbol::new("ALPH").unwrap();
    NewOrder::limit(Side::Buy, symbol, Quantity(100), Price(10_0000))
}
