//! A raw client: a member with a right key and no library, who sends whatever bytes he likes.
//!
//! Consumes H, A and K; produces logins, orders, blocks that are none, duplicates with the same and
//! with other contents, gaps, jumps, numbers near 2^64, old tokens, huge references, wrong logoffs, wrong
//! logins (also under another user's name, or no later than the last), logins with nonces that were used
//! before, and requests, also from the address that his next login displaces. Now and then he sends one
//! thing alone, so that nothing else brings the answer that it is due, or logs off while he is answered,
//! and on at once. Some chat: far more messages than anybody else in a row; then, and when the day is
//! over, they ask for reports and do nothing else. What the exchange makes of it is judged by the observers.

use super::flow::{Flow, Wish};
use super::questions::{self, Question};
use crate::broker::{NewOrder, TimeInForce};
use crate::config::Config;
use crate::net::{MemoryNetwork, MemoryPort, Port};
use crate::sim::plan::Plan;
use crate::sim::{Actor, Dice, GATEWAY, Tally, broker_host, hostile_host, user};
use crate::types::*;
use crate::wire::mold::{Header, PacketBuilder};
use crate::wire::ouch::{Appendage, Cancel, Enter, INBOUND_BYTES_MAX, Inbound, Replace};
use crate::wire::session::{Accepted, Applied, Challenge, LOGIN_BYTES, Login, VERSION};
use std::collections::VecDeque;
use std::net::SocketAddrV4;

const MS: u64 = 1_000_000;
/// Messages of a chat: its reports fill more packets than one request may be answered with.
const CHAT: u32 = 4_000;
/// It is over when there are so many reports.
const CHAT_REPORTS: u64 = 3_600;
/// So many of the last reports are asked for elsewhere: a venue that started lately has few in memory.
const DEPTHS: [u64; 3] = [300, 900, CHAT_REPORTS];
/// Reports are never that many more from one datagram to the next.
const JUMP_MAX: u64 = 10_000;
/// More failing logins at once than a host may have in a second.
const WRONG_LOGINS: usize = 14;
/// Requests at the edge of memory while reports come, behind as many small ones: they wait for their turn.
const EDGY_REQUESTS: usize = 4;
/// Requests for all reports at once: the answers to them take more than one cycle of egress.
const GREEDY_REQUESTS: usize = 6;
/// Hosts from here on are those of strangers who have a member's token and key.
const STRAY_HOSTS: usize = 100;
/// So long nothing else is under way, or due: longer than the last of the early heartbeats.
const ALONE_NS: u64 = 160 * MS;
/// So long an answer is waited for.
const ANSWER_NS: u64 = 120 * MS;

/// See the module's head.
pub struct RawClient {
    slot: usize,
    /// Sessions of the venue.
    sessions: usize,
    user: User,
    key: [u8; 32],
    network: MemoryNetwork,
    flow: Flow,
    dice: Dice,
    port: Option<MemoryPort>,
    nonce: [u8; 16],
    /// Of the last H to this port.
    server_nonce: Option<[u8; 16]>,
    login: Option<Login>,
    /// The L that he sent for it.
    signed: Option<[u8; LOGIN_BYTES]>,
    /// Time of the last login that was accepted.
    accepted: Nanos,
    token: Option<Token>,
    old_token: Token,
    downstream: SessionName,
    /// Next client sequence, as far as he cares.
    next: u64,
    /// What was said to be applied.
    applied: u64,
    urn: u32,
    last_block: Vec<u8>,
    /// The address that the login under way displaces, which goes on asking until then.
    displaced: Option<(MemoryPort, Nanos)>,
    /// It asks once, for everything.
    greedy: bool,
    /// The L that displaces it, a step later: its requests are being answered then.
    held: Option<[u8; LOGIN_BYTES]>,
    /// The next thing is sent alone.
    alone: bool,
    /// Said that he logs off, or was silent for long, and is not accepted anew.
    left: bool,
    /// Logs off then.
    leaves_at: Nanos,
    /// Asks for reports then, having heard the end, or having chatted.
    asks_at: Nanos,
    /// What he asks for, one after the other and nothing between.
    questions: VecDeque<Question>,
    /// Reports of his that the exchange has in memory.
    kept: u64,
    /// While he sulks, somebody elsewhere says that he is him.
    stray: Option<MemoryPort>,
    /// Highest report seen.
    reports: u64,
    /// Messages still to chat, once it has begun.
    chat: u32,
    chat_at: Nanos,
    /// Time from one message of it to the next: a little more than the rate allows.
    chat_gap_ns: u64,
    /// Its orders rest until the next message cancels them.
    chat_rests: bool,
    /// Sends nothing but requests until then, or nothing at all.
    sulks_until: Nanos,
    mute: bool,
    /// And what else, again and again.
    mood: Mood,
    lives: u64,
    next_send: Nanos,
    next_login: Nanos,
    quiet: bool,
    tally: Tally,
}

/// How he sulks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    /// He asks for reports, which is no sign of life.
    Silent,
    /// He sends the L of his login as well.
    Insists,
    /// He sends what is nothing under his token.
    Murmurs,
}

impl RawClient {
    /// The member of session `slot`.
    pub fn new(plan: &Plan, config: &Config, network: &MemoryNetwork, slot: usize) -> RawClient {
        RawClient {
            slot,
            sessions: config.sessions.len(),
            user: config.sessions[slot].spec.user,
            key: config.sessions[slot].key,
            network: network.clone(),
            flow: Flow::new(plan, config, slot),
            dice: Dice::new(plan.seed, &format!("raw {slot}")),
            port: None,
            nonce: [0; 16],
            server_nonce: None,
            login: None,
            signed: None,
            accepted: Nanos(0),
            token: None,
            old_token: Token::BLANK,
            downstream: SessionName::BLANK,
            next: 1,
            applied: 0,
            urn: 1,
            last_block: Vec::new(),
            displaced: None,
            greedy: false,
            held: None,
            alone: false,
            left: false,
            leaves_at: Nanos(u64::MAX),
            asks_at: Nanos(u64::MAX),
            questions: VecDeque::new(),
            kept: plan.reports_in_memory(),
            stray: None,
            reports: 0,
            chat: 0,
            chat_at: Nanos(u64::MAX),
            chat_gap_ns: 600_000_000 / u64::from(plan.rate.0.max(1)),
            chat_rests: false,
            sulks_until: Nanos(0),
            mood: Mood::Silent,
            mute: false,
            lives: 0,
            next_send: Nanos(0),
            next_login: Nanos(0),
            quiet: false,
            tally: Tally::default(),
        }
    }

    fn receive(&mut self, now: Nanos) -> usize {
        let Some(mut port) = self.port.take() else { return 0 };
        let mut own = Vec::new();
        let (downstream, mut reports) = (self.downstream, self.reports);
        let mut ended = false;
        let received = port.receive(|bytes, _| {
            // Own blocks only; of reports the numbers alone are his concern.
            if let Some(block) = bytes.get(22..).filter(|_| bytes[10..18] == [0; 8]) {
                own.push(block.to_vec());
            } else if let Some(head) = Header::read(bytes).filter(|h| h.session == downstream) {
                ended |= head.count == u16::MAX;
                let count = if head.count == u16::MAX { 0 } else { u64::from(head.count) };
                let last = (head.sequence + count).saturating_sub(1);
                // Not what a bit made of it on its way.
                reports = if last < reports + JUMP_MAX { reports.max(last) } else { reports };
            }
        });
        self.reports = reports;
        if ended && !self.left && self.asks_at == Nanos(u64::MAX) {
            self.asks_at = now.plus(ANSWER_NS);
            match self.dice.percent(50) {
                true => self.draw_questions(),
                false => self.next_login = self.next_login.max(self.asks_at.plus(MS)),
            }
        }
        for block in own {
            if let (Some(h), Some(login)) = (Challenge::read(&block), &self.login) {
                let login = Login { server_nonce: h.server_nonce, ..*login };
                self.server_nonce = Some(h.server_nonce);
                if let Some((old, until)) = &mut self.displaced {
                    *until = now.plus(15 * MS);
                    if self.greedy {
                        let sequence = self.reports.saturating_sub(self.dice.pick(&DEPTHS)).max(1);
                        let head = Header { session: downstream, sequence, count: 0xFFFE };
                        for _ in 0..GREEDY_REQUESTS {
                            old.send(GATEWAY, |out| head.write(out));
                        }
                        old.flush();
                    }
                }
                let times = if self.dice.percent(8) { WRONG_LOGINS } else { 1 };
                let wrong = times > 1 || self.dice.percent(25);
                for _ in 0..times {
                    let signed = match wrong {
                        false => login.signed(&self.key, GATEWAY.ip().octets(), GATEWAY.port()),
                        true => self.wrong_login(&login, times > 1),
                    };
                    match self.greedy && self.displaced.is_some() && !wrong {
                        true => self.held = Some(signed),
                        false => send(&mut port, SessionName::BLANK, 0, &[&signed]),
                    }
                    self.signed = (!wrong).then_some(signed);
                }
            } else if let Some(a) = Accepted::read(&block) {
                if a.client_nonce == self.nonce && Some(a.token) != self.token {
                    self.old_token = self.token.unwrap_or(Token::BLANK);
                    self.token = Some(a.token);
                    if self.downstream != a.downstream {
                        (self.downstream, self.reports) = (a.downstream, 0);
                        let chats = self.dice.percent(60);
                        let wait = self.dice.between(500, 3_000) * MS;
                        self.chat = if chats { CHAT } else { 0 };
                        self.chat_rests = self.dice.percent(50);
                        self.chat_at = now.plus(wait);
                    }
                    self.left = false;
                    self.next = a.applied + 1;
                    self.applied = a.applied;
                    self.accepted = self.login.map_or(self.accepted, |login| login.time);
                    self.urn = a.next_urn.max(1);
                    self.tally.logins += 1;
                    self.next_login = now.plus(self.dice.between(400, 6_000) * MS);
                }
            } else if let Some(k) = Applied::read(&block) {
                self.applied = k.applied;
                if self.dice.percent(50) {
                    self.next = self.next.max(k.applied.saturating_add(1));
                }
            }
        }
        self.port = Some(port);
        received
    }

    /// A login that cannot be taken: of another version, with a flag that is none, signed with another
    /// key; unless it must be one that fails, also of another time, no later than the last one, or under
    /// the name of a user whom the nonce was not made for.
    fn wrong_login(&mut self, login: &Login, fails: bool) -> [u8; LOGIN_BYTES] {
        let (mut login, mut key) = (*login, self.key);
        match self.dice.below(if fails { 3 } else { 7 }) {
            0 => login.version = VERSION + 1,
            1 => login.flags |= 4,
            2 => key[0] ^= 1,
            3 if self.dice.percent(50) => {
                login.time = login.time.plus(self.dice.between(5_200, 6_000) * MS);
            }
            3 => {
                let off_ns = self.dice.between(5_001, 6_000) * MS;
                login.time = Nanos(login.time.0.saturating_sub(off_ns));
            }
            4 => login.time = self.accepted,
            5 => login.time = Nanos(self.accepted.0.saturating_sub(self.dice.below(MS))),
            _ => login.user = user(self.dice.below(self.sessions as u64) as usize),
        }
        login.signed(&key, GATEWAY.ip().octets(), GATEWAY.port())
    }

    /// Logs in from elsewhere; what he was goes on asking for reports.
    fn move_on(&mut self, now: Nanos) {
        self.lives += 1;
        let address =
            SocketAddrV4::new(broker_host(self.slot), 5_000 + (self.lives % 20_000) as u16);
        let port = self.network.bind(address).expect("each life has a port of its own");
        self.displaced = self.port.replace(port).map(|port| (port, now.plus(30 * MS)));
        self.greedy = self.dice.percent(50);
        self.server_nonce = None;
    }

    fn begin_login(&mut self, now: Nanos) {
        if self.token.is_some() && self.dice.percent(40) {
            self.move_on(now);
        }
        self.signed = None;
        // Some nonces were used before.
        if !self.dice.percent(10) {
            let drawn = self.dice.draw().to_be_bytes();
            let bytes = drawn.iter().chain(&[7; 8]);
            bytes.zip(&mut self.nonce).for_each(|(byte, place)| *place = *byte);
        }
        let login = Login {
            flags: self.dice.below(2) as u8,
            dead_time_ms: self.dice.pick(&[0, 1, 1_500]),
            client_nonce: self.nonce,
            ..self.blank_login(now)
        };
        self.login = Some(login);
        self.next_login = now.plus(200 * MS);
        let known = self.server_nonce.filter(|_| self.dice.percent(30));
        let block = match known {
            None => login.bytes(),
            Some(server_nonce) => {
                let (ip, port) = (GATEWAY.ip().octets(), GATEWAY.port());
                Login { server_nonce, ..login }.signed(&self.key, ip, port)
            }
        };
        if let Some(port) = &mut self.port {
            send(port, SessionName::BLANK, 0, &[&block]);
        }
    }

    /// A block that a library would send, or nearly.
    fn block(&mut self) -> Vec<u8> {
        let mut out = vec![0; INBOUND_BYTES_MAX];
        let urn = Urn(self.urn);
        let message = match self.flow.wish(&mut self.dice, &[]) {
            Wish::Enter(order) => {
                self.urn = self.urn.saturating_add(1 + self.dice.below(3) as u32);
                self.tally.orders += 1;
                Inbound::Enter(self.enter(&order, urn))
            }
            _ if self.dice.percent(30) => Inbound::Replace(Replace {
                old_urn: Urn(self.dice.between(1, self.urn as u64) as u32),
                urn,
                quantity: Quantity(self.dice.below(100) as u32),
                price: 100_000,
                tif: self.dice.pick(b"0003X"),
                display: self.dice.pick(b"YYYNQ"),
                iso: self.dice.pick(b"NNNY"),
                cl_ord_id: ClOrdId::BLANK,
            }),
            _ => Inbound::Cancel(Cancel {
                urn: Urn(self.dice.between(1, self.urn as u64) as u32),
                quantity: Quantity(self.dice.below(20) as u32),
            }),
        };
        let len = message.encode(&mut out);
        out.truncate(len);
        match self.dice.below(12) {
            0 => out.truncate(self.dice.below(len as u64) as usize),
            1 => out[0] = self.dice.pick(b"ZAKNq\0"),
            2 => out.extend([3, 9, 9]),
            3 => {
                let at = self.dice.below(len as u64) as usize;
                out[at] = self.dice.draw() as u8;
            }
            _ => {}
        }
        out
    }

    fn enter(&mut self, order: &NewOrder, urn: Urn) -> Enter {
        let mut odd = |usual: u8, others: &[u8]| {
            if self.dice.percent(6) { self.dice.pick(others) } else { usual }
        };
        let side = odd(order.side.letter(), b"TE?");
        let (display, iso, cross) = (odd(b'Y', b"NA"), odd(b'N', b"Y"), odd(b'N', b"O"));
        let tif = if order.tif == TimeInForce::Day { b'0' } else { b'3' };
        let tif = odd(tif, b"56");
        Enter {
            urn,
            side,
            quantity: order.quantity,
            symbol: order.symbol,
            price: u64::from(order.price.0) + (self.dice.percent(2) as u64) * (1 << 33),
            tif,
            display,
            capacity: order.capacity,
            iso,
            cross,
            cl_ord_id: order.cl_ord_id,
            appendage: Appendage {
                account: order.account,
                min_quantity: order.min_quantity.map(|q| q.0),
            },
        }
    }

    fn mischief(&mut self) {
        let Some(token) = self.token else { return };
        let block = self.block();
        let mut sequence = self.next;
        let mut session = token;
        match self.dice.below(24) {
            // The same number again: same bytes, or others.
            0 => sequence = self.next.saturating_sub(1).max(1),
            1 => {
                let again = std::mem::take(&mut self.last_block);
                sequence = self.next.saturating_sub(1).max(1);
                self.put(session, sequence, &[&again]);
            }
            2 => sequence = self.next + self.dice.between(1, 6),
            3 => sequence = self.next + 65_536 + self.dice.below(3),
            4 => sequence = u64::MAX - self.dice.below(3),
            5 => session = self.old_token,
            // After those few orders he is refused for the rest of the day.
            6 if self.dice.percent(4) => self.urn = self.urn.max(u32::MAX - 40),
            roll @ (7 | 8) => {
                let count = if roll == 7 { 0 } else { 0xFFFF };
                let next = self.next + self.dice.below(3);
                return self.head(token, next, count);
            }
            9 => {
                let few = self.dice.magnitude(1, 600) as u16;
                let count = self.dice.pick(&[few, few, 0xFFFE]);
                let any = self.dice.between(0, self.reports + 2);
                let first = self.dice.pick(&[any, any, self.reports.min(1)]);
                // Some ask for the same again and again.
                for _ in 0..self.dice.pick(&[1, 1, 1, 8]) {
                    self.head(self.downstream, first, count);
                }
                return;
            }
            12 if self.dice.percent(8) => return self.flood(token),
            10 => sequence = 0,
            11 => {
                let all: Vec<Vec<u8>> =
                    (0..self.dice.between(2, 12)).map(|_| self.block()).collect();
                let all: Vec<&[u8]> = all.iter().map(|b| &b[..]).collect();
                self.put(session, sequence, &all);
                self.next += all.len() as u64;
                return;
            }
            _ => {}
        }
        self.put(session, sequence, &[&block]);
        if session == token && sequence >= self.next && sequence - self.next <= 6 {
            self.next = sequence + 1;
        }
        self.last_block = block;
    }

    /// More at once than may be under way: what is beyond that is dropped, from some message on.
    fn flood(&mut self, token: SessionName) {
        let query = [b'Q'];
        let many = [&query[..]; 100];
        for blocks in std::iter::repeat_n(100, 10).chain(std::iter::repeat_n(1, 40)) {
            self.put(token, self.next, &many[..blocks]);
            self.next += blocks as u64;
        }
    }

    /// One more message: an immediate order that finds nobody, which is two reports; or one that rests, and
    /// then its cancel.
    fn say_one(&mut self, now: Nanos) {
        let Some(token) = self.token else { return };
        let message = match self.chat_rests && self.chat.is_multiple_of(2) {
            true => {
                let (urn, quantity) = (Urn(self.urn.saturating_sub(1)), Quantity(0));
                Inbound::Cancel(Cancel { urn, quantity })
            }
            false => {
                let mut order = self.flow.far(&mut self.dice);
                if !self.chat_rests {
                    order.tif = TimeInForce::Immediate;
                }
                self.tally.orders += 1;
                self.urn = self.urn.saturating_add(1);
                Inbound::Enter(self.enter(&order, Urn(self.urn - 1)))
            }
        };
        let mut block = vec![0; INBOUND_BYTES_MAX];
        let len = message.encode(&mut block);
        self.put(token, self.next, &[&block[..len]]);
        self.next += 1;
        self.chat -= 1;
        self.chat_at = now.plus(self.chat_gap_ns);
        if self.reports > self.kept && self.dice.percent(1) {
            self.ask_for_the_oldest();
        }
        if self.reports >= CHAT_REPORTS {
            self.chat = 0;
        }
        if self.chat == 0 {
            self.draw_questions();
            self.asks_at = now.plus(ALONE_NS);
        }
    }

    /// What is in memory just now, and will not be for long.
    fn ask_for_the_oldest(&mut self) {
        for _ in 0..EDGY_REQUESTS {
            self.head(self.downstream, self.reports, 1);
        }
        let oldest = self.reports + 1 - self.kept + self.dice.below(64);
        for _ in 0..EDGY_REQUESTS {
            self.head(self.downstream, oldest, questions::ALL);
        }
    }

    fn draw_questions(&mut self) {
        self.questions = questions::draw(&mut self.dice, self.reports, self.kept).into();
    }

    /// One thing alone: what must be answered with K, A or the end.
    fn say_alone(&mut self, now: Nanos) {
        let Some(token) = self.token else { return };
        self.next = self.applied + 1;
        let (before, beyond) = (self.applied.max(1), self.next + self.dice.between(1, 5));
        let block = self.block();
        match self.dice.below(9) {
            0 => self.head(token, before, 0xFFFF),
            1 => self.head(token, beyond, 0xFFFF),
            2 => self.head(token, self.next + 1, 0),
            3 => self.put(token, before, &[&block]),
            4 => {
                // As far as he may go, or one too far, or more.
                let jump = 65_536 + self.dice.pick(&[0, 0, 1, 4_464]);
                self.put(token, self.next + jump, &[&block]);
            }
            // As if A had been lost.
            5 | 6 => {
                if let (Some(port), Some(signed)) = (&mut self.port, &self.signed) {
                    send(port, SessionName::BLANK, 0, &[signed]);
                }
            }
            // Off and on again while he is still answered, and told the end.
            _ => {
                let first = self.reports.saturating_sub(self.dice.pick(&DEPTHS)).max(1);
                for _ in 0..GREEDY_REQUESTS {
                    self.head(self.downstream, first, 0xFFFE);
                }
                match self.dice.percent(50) {
                    true => self.leave(now),
                    false => self.leaves_at = now.plus(self.dice.magnitude(MS / 100, MS)),
                }
            }
        }
    }

    /// Off, and on again at once.
    fn leave(&mut self, now: Nanos) {
        self.leaves_at = Nanos(u64::MAX);
        if let Some(token) = self.token {
            // Some say it twice.
            self.left = true;
            for _ in 0..self.dice.between(1, 2) {
                self.head(token, self.next, 0xFFFF);
            }
            self.next_login = now.plus(self.dice.below(5 * MS));
        }
    }

    /// The next question; without any, some reports, the last and any others: of a day's end all can be had.
    fn ask_next(&mut self, now: Nanos) {
        self.asks_at = Nanos(u64::MAX);
        if let Some(Question { first, count, times }) = self.questions.pop_front() {
            for _ in 0..times {
                self.head(self.downstream, first, count);
            }
            // The answer to the last one comes before anything else, too.
            self.asks_at = now.plus(ANSWER_NS);
            return;
        }
        let last = self.reports.saturating_sub(39).max(1);
        let any = self.dice.between(1, self.reports.max(1));
        for first in [last, any] {
            self.head(self.downstream, first, 40);
        }
    }

    /// Somebody at a host that may not log in has his token, and his key.
    fn pretend(&mut self, now: Nanos) {
        let Some(session) = self.token else { return };
        let address = SocketAddrV4::new(hostile_host(STRAY_HOSTS + self.slot), 5_000);
        let mut port = match self.stray.take() {
            Some(port) => port,
            None => self.network.bind(address).expect("nobody else is at this host"),
        };
        let mut server_nonce = [0; 16];
        port.receive(|bytes, _| {
            let challenge = bytes.get(22..).and_then(Challenge::read);
            server_nonce = challenge.map_or(server_nonce, |h| h.server_nonce);
        });
        if server_nonce != [0; 16] || self.dice.percent(10) {
            let client_nonce = [self.dice.draw() as u8; 16];
            let login = Login { client_nonce, server_nonce, ..self.blank_login(now) };
            let signed = login.signed(&self.key, GATEWAY.ip().octets(), GATEWAY.port());
            send(&mut port, SessionName::BLANK, 0, &[&signed]);
        }
        let sequence = self.next;
        port.send(GATEWAY, |out| Header { session, sequence, count: 0 }.write(out));
        port.flush();
        self.stray = Some(port);
    }

    fn blank_login(&self, now: Nanos) -> Login {
        Login {
            version: VERSION,
            flags: 0,
            user: self.user,
            wanted: SessionName::BLANK,
            next_report: 0,
            dead_time_ms: 0,
            time: now,
            client_nonce: [0; 16],
            server_nonce: [0; 16],
            hmac: [0; 32],
        }
    }

    /// The displaced address asks for a few reports.
    fn ask_displaced(&mut self, now: Nanos) {
        let sequence = self.dice.between(1, self.reports.max(1));
        let head = Header { session: self.downstream, sequence, count: 40 };
        match &mut self.displaced {
            Some((port, until)) if now < *until => {
                if !self.greedy {
                    port.send(GATEWAY, |out| head.write(out));
                    port.flush();
                }
            }
            _ => self.displaced = None,
        }
    }

    /// What he sends while he sulks: nothing, his L, which is no sign of life, or what is one and says
    /// nothing.
    fn murmur(&mut self) {
        let (Some(port), Some(token)) = (&mut self.port, self.token) else { return };
        match (self.mood, &self.signed) {
            (Mood::Insists, Some(signed)) => send(port, SessionName::BLANK, 0, &[signed]),
            (Mood::Murmurs, _) if self.dice.percent(50) => send(port, token, 0, &[b"Q"]),
            (Mood::Murmurs, _) => port.send(GATEWAY, |out| {
                let len = Header { session: token, sequence: 1, count: 1 }.write(out);
                out[len] = 0;
                len + 1
            }),
            _ => {}
        }
    }

    fn put(&mut self, session: SessionName, sequence: u64, blocks: &[&[u8]]) {
        if let Some(port) = &mut self.port {
            send(port, session, sequence, blocks);
        }
    }

    fn head(&mut self, session: SessionName, sequence: u64, count: u16) {
        if let Some(port) = &mut self.port {
            port.send(GATEWAY, |out| Header { session, sequence, count }.write(out));
        }
    }
}

fn send(port: &mut MemoryPort, session: SessionName, sequence: u64, blocks: &[&[u8]]) {
    port.send(GATEWAY, |out| {
        let mut packet = PacketBuilder::new(out, session, sequence);
        for block in blocks {
            packet.push_bytes(block);
        }
        packet.finish()
    });
}

impl Actor for RawClient {
    fn name(&self) -> String {
        format!("raw client {}", self.slot)
    }

    fn step(&mut self, now: Nanos) -> usize {
        if let (Some(signed), Some(port)) = (self.held.take(), &mut self.port) {
            send(port, SessionName::BLANK, 0, &[&signed]);
        }
        let mut done = self.receive(now);
        if !self.quiet {
            if self.displaced.is_some() {
                self.ask_displaced(now);
                done += 1;
            }
            let may_chat = self.chat > 0 && self.token.is_some() && now >= self.sulks_until;
            let may_chat = may_chat && !self.alone && !self.left;
            if may_chat && now >= self.chat_at && self.questions.is_empty() {
                self.say_one(now);
                done += 1;
            }
            // Who asks does nothing else.
            let asks = !self.questions.is_empty();
            let sulks = now < self.sulks_until || asks;
            if now >= self.asks_at {
                self.ask_next(now);
                done += 1;
            }
            if now >= self.next_login && !sulks {
                self.begin_login(now);
                done += 1;
            }
            if now >= self.leaves_at && !asks {
                self.leave(now);
                done += 1;
            }
            if now >= self.next_send && self.alone && !sulks {
                self.alone = false;
                self.say_alone(now);
                self.next_send = now.plus(ANSWER_NS);
                done += 1;
            } else if now >= self.next_send && !asks {
                if sulks && self.mute {
                    // Long enough to be taken for dead; then he logs in, as one who was not heard for long.
                    self.next_login = self.sulks_until;
                } else if sulks {
                    self.head(self.downstream, 1, 3);
                    self.pretend(now);
                    self.murmur();
                } else {
                    self.stray = None;
                }
                for _ in 0..self.dice.between(1, 4) * u64::from(!sulks) {
                    self.mischief();
                }
                if !sulks && self.dice.percent(2) {
                    self.mute = self.dice.percent(40);
                    self.left |= self.mute;
                    self.sulks_until = now.plus(if self.mute { 1_700 } else { 4_500 } * MS);
                    self.mood = self.dice.pick(&[Mood::Silent, Mood::Insists, Mood::Murmurs]);
                }
                self.next_send = now.plus(self.dice.between(5, 60) * MS);
                self.alone = self.dice.percent(5);
                if self.alone {
                    self.next_send = now.plus(ALONE_NS);
                }
                done += 1;
            }
        }
        if let Some(port) = &mut self.port {
            port.flush();
        }
        done
    }

    fn wake(&self) -> Nanos {
        match self.quiet {
            true => Nanos(u64::MAX),
            false if self.displaced.is_some() => Nanos(0),
            false if !self.questions.is_empty() => self.asks_at,
            false if self.sulks_until > self.next_login => self.next_send,
            false if self.chat > 0 && self.token.is_some() && !self.alone && !self.left => {
                self.next_send.min(self.next_login).min(self.chat_at).min(self.asks_at)
            }
            false => self.next_send.min(self.next_login).min(self.leaves_at).min(self.asks_at),
        }
    }

    fn crash(&mut self) {
        self.port = None;
        self.displaced = None;
        self.held = None;
        self.stray = None;
        self.server_nonce = None;
        self.leaves_at = Nanos(u64::MAX);
        self.asks_at = Nanos(u64::MAX);
        self.questions.clear();
        self.token = None;
    }

    fn restart(&mut self, now: Nanos) {
        self.crash();
        self.lives += 1;
        let address =
            SocketAddrV4::new(broker_host(self.slot), 5_000 + (self.lives % 20_000) as u16);
        self.port = Some(self.network.bind(address).expect("each life has a port of its own"));
        self.next_login = now.plus(MS);
        self.next_send = now.plus(20 * MS);
    }

    fn quiesce(&mut self) {
        self.quiet = true;
    }

    fn unfinished(&self) -> Option<String> {
        None
    }

    fn tally(&self, tally: &mut Tally) {
        tally.orders += self.tally.orders;
        tally.logins += self.tally.logins;
    }
}
