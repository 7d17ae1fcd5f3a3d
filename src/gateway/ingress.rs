//! Ingress: datagrams in, commands out.
//!
//! Per poll at most one burst is received. A datagram that continues its session's numbers is decoded
//! where it was received; each block gets its verdict, and its fields are written into the command
//! ring or, with the sequencer on the same thread, into the log's record. One that comes before its
//! turn (or finds no room) is kept, and follows at the end of the burst in order of client sequence.
//! Order of the checks: address, token, MAC; shape of the datagram; sequence (duplicates and
//! impossible jumps); rate. All that it knows of the exchange is the [`SessionBoard`]: committed
//! values. Must not know what an order is worth, and sends nothing but H and J; reports and K are
//! egress'.

use super::asks::{self, Ask, ReplayAsk};
use super::pending::Pending;
use super::refusals::{Refusal, Refusals};
use super::session_auth::{Authenticator, Entropy, LoginVerdict, dead_time_granted};
use super::throttle::{Bucket, Throttle};
use super::translate::body_of;
use super::{GatewayConfig, JUMP_MAX, UNCOMMITTED_MAX};
use crate::agent::Agent;
use crate::board::{Binding, SessionBoard};
use crate::counters::counters;
use crate::exchange::command::{self, Command, Logoff, MessageHead, Verdict};
use crate::net::{BURST, Port};
use crate::planted::{self, Bug};
use crate::ring::Producer;
use crate::sequencer::Commands;
use crate::types::*;
use crate::wire::mold::{self, Header, Packet, PacketBuilder};
use crate::wire::session::{
    CHALLENGE_BYTES, Challenge, FLAG_PACKET_MAC, LOGIN_BYTES, Login, Nonce, PACKET_TAG_BYTES,
    PacketKeys, REFUSED_BYTES, Refused, RefusedCode, make_token, open_packet, packet_keys,
    same_token, token_slot,
};
use std::net::SocketAddrV4;
use std::sync::Arc;

counters! {
    /// What ingress did.
    pub struct IngressCounters("gateway_ingress") {
        datagrams: "datagrams received",
        malformed_datagrams: "dropped: blocks do not fill the datagram, too long, own block of no known kind",
        unknown_session: "dropped: neither a live token nor a downstream name nor a login",
        wrong_address: "dropped: token or name of a session that is bound to another address",
        bad_mac: "dropped: packet MAC wrong or missing",
        dead_tokens: "datagrams with the token of a dead binding",
        zero_sequence: "dropped: OUCH blocks with sequence 0",
        messages: "blocks sequenced",
        malformed_messages: "blocks sequenced with verdict Malformed",
        throttled_messages: "blocks sequenced with verdict Throttled",
        duplicates: "blocks dropped: at or below what is applied or under way",
        jumps: "blocks dropped: more than 65,536 above the next",
        floods: "datagrams dropped: second rate bucket empty, or more than 1,024 messages uncommitted",
        kept: "datagrams copied: they came before their turn, or found no room",
        reordered: "datagrams that stood behind a later one of the same burst",
        heartbeats: "client heartbeats",
        logoffs: "logoffs sequenced",
        logoffs_under_way: "logoffs dropped while the same one is being committed",
        replay_requests: "replay requests handed to egress",
        logins_received: "L received",
        logins_sequenced: "valid logins sequenced",
        challenges: "H sent",
        refusals: "J sent",
        silences: "valid-nonce L of a silenced address, or L while a login is under way",
        no_room: "cycles that left datagrams waiting for room in the command ring or log (nothing more is received before), and logins dropped for want of it",
        asks_lost: "asks to egress that found their ring full",
        halted: "blocks, logins and logoffs dropped: the exchange stands halted before a command",
        no_entropy: "logins dropped because the system gave no random numbers",
    }
}

/// A login or logoff that was sequenced is waited for this long before another one is.
const FLIGHT_NS: u64 = 100_000_000;
/// J 'S' to a dead token at most once in this time (session.md 17).
const DEAD_TOKEN_NS: u64 = 1_000_000_000;
/// Logins of one user: each is a command, so even the owner of the key may not flood the log.
const LOGINS: (u64, u64) = (10, 20);
/// Longest datagram without its MAC.
const KEPT_BYTES: usize = mold::PAYLOAD_BYTES_MAX;
/// Most blocks that one datagram can hold (all empty).
const BLOCKS_MAX: usize = (mold::PAYLOAD_BYTES_MAX - mold::HEADER_BYTES) / mold::LENGTH_BYTES;
const NO_PREVIOUS: u8 = u8::MAX;
const _: () = assert!(BURST < NO_PREVIOUS as usize);

/// Ingress of one gateway address. Its commands go into a ring, or to the sequencer that it owns and
/// whose agent it is then too. See the module's head.
pub struct Ingress<P: Port, C: Commands = Producer> {
    port: P,
    desk: Desk<C>,
    bytes: KeptBytes,
}

/// Bytes of the datagrams in [`Burst::kept`], by its index.
type KeptBytes = Box<[[u8; KEPT_BYTES]; BURST]>;

/// Everything but the port, which is borrowed while it hands out datagrams, and the bytes of those that are
/// kept.
struct Desk<C> {
    commands: C,
    asks: Producer,
    board: Arc<SessionBoard>,
    auth: Authenticator,
    entropy: Entropy,
    epoch: u32,
    sessions: Box<[Session]>,
    /// Downstream names, sorted, for replay requests.
    names: Box<[(SessionName, SessionSlot)]>,
    burst: Burst,
    replies: Vec<Reply>,
    refusals: Arc<Refusals>,
    counters: Arc<IngressCounters>,
}

/// What ingress knows of a session beside the board.
struct Session {
    /// Version of the board's binding that `binding` and `keys` were taken from.
    version: u64,
    binding: Binding,
    keys: Option<PacketKeys>,
    pending: Pending,
    throttle: Throttle,
    logins: Bucket,
    login_pushed: Option<(u32, Nanos)>,
    /// Generation and client's next of the logoff that was sequenced last, and when.
    logoff_pushed: Option<(u32, u64, Nanos)>,
    dead_told: Nanos,
    /// Index of the session's latest datagram among those that are kept of the present burst.
    last_kept: u8,
}

/// The datagrams of one receive burst that are checked and wait for their turn.
struct Burst {
    received: Nanos,
    kept: Vec<Kept>,
    /// Turn -> index into `kept`: same as arrival, but each session's own ones by sequence.
    order: [u8; BURST],
    next: usize,
    /// One of them found no room: who comes behind it waits too, or would overtake it.
    full: bool,
}

#[derive(Clone, Copy)]
struct Kept {
    slot: SessionSlot,
    header: Header,
    /// Login under whose token it came: sequenced under this one or not at all.
    generation: u32,
    len: u16,
    /// Blocks that are sequenced, or duplicates: the room ended behind them. 0 = not yet admitted.
    taken: u16,
    /// The previous turn of the same session, or [`NO_PREVIOUS`].
    previous: u8,
}

/// A datagram of a bound session whose shape is good.
#[derive(Clone, Copy)]
struct Datagram<'a> {
    slot: SessionSlot,
    header: Header,
    /// All of it but the MAC.
    bytes: &'a [u8],
    /// As [`Kept::taken`].
    taken: u16,
}

/// How a datagram's turn ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Turn {
    Done,
    /// There was room for so many blocks of it (as [`Kept::taken`]).
    NoRoom(u16),
}

/// H or J, sent after the burst: the port is borrowed while it is received.
#[derive(Clone, Copy)]
enum Reply {
    Challenge(SocketAddrV4, Nonce),
    Refused(SocketAddrV4, RefusedCode, Nonce),
}

impl<P: Port, C: Commands> Ingress<P, C> {
    /// Ingress that receives from `port`, puts commands into `commands` and asks egress through `asks`.
    pub fn new(
        config: &GatewayConfig,
        port: P,
        commands: C,
        asks: Producer,
        board: Arc<SessionBoard>,
        entropy: Entropy,
    ) -> Ingress<P, C> {
        let mut names: Vec<(SessionName, SessionSlot)> = config
            .sessions
            .iter()
            .enumerate()
            .map(|(i, s)| (s.name, SessionSlot(i as u16)))
            .collect();
        names.sort();
        let sessions = config.sessions.iter().map(|s| Session {
            version: u64::MAX,
            binding: Binding::NONE,
            keys: None,
            pending: Pending::new(),
            throttle: Throttle::new(s.rate),
            logins: Bucket::new(LOGINS.0, LOGINS.1),
            login_pushed: None,
            logoff_pushed: None,
            dead_told: Nanos(0),
            last_kept: NO_PREVIOUS,
        });
        let desk = Desk {
            commands,
            asks,
            board,
            auth: Authenticator::new(config),
            entropy,
            epoch: config.epoch,
            sessions: sessions.collect(),
            names: names.into(),
            burst: Burst {
                received: Nanos(0),
                kept: Vec::with_capacity(BURST),
                order: [0; BURST],
                next: 0,
                full: false,
            },
            replies: Vec::with_capacity(BURST),
            refusals: Refusals::new(),
            counters: Arc::default(),
        };
        Ingress { port, desk, bytes: Box::new([[0; KEPT_BYTES]; BURST]) }
    }

    /// Its counters.
    pub fn counters(&self) -> Arc<IngressCounters> {
        self.desk.counters.clone()
    }

    /// Logins that it refused.
    pub fn refusals(&self) -> Arc<Refusals> {
        self.desk.refusals.clone()
    }

    /// Descriptor to park on.
    pub fn poll_fd(&self) -> Option<std::os::fd::RawFd> {
        self.port.poll_fd()
    }

    fn poll(&mut self, now: Nanos) -> usize {
        let Ingress { port, desk, bytes: kept } = self;
        if !desk.burst.is_done() && !desk.sequence_burst(kept, now) {
            return 0; // still no room: the network is not read
        }
        desk.burst.begin(now);
        let received = port.receive(|bytes, from| desk.on_datagram(bytes, from, now, kept));
        desk.board.listen(now);
        if !desk.burst.is_done() {
            desk.order_burst();
            desk.sequence_burst(kept, now);
        }
        if !desk.replies.is_empty() {
            self.send_replies();
        }
        received
    }

    fn send_replies(&mut self) {
        let epoch = self.desk.epoch;
        for reply in self.desk.replies.drain(..) {
            let (to, len) = match reply {
                Reply::Challenge(to, _) => (to, CHALLENGE_BYTES),
                Reply::Refused(to, ..) => (to, REFUSED_BYTES),
            };
            self.port.send(to, |out| {
                let mut packet = PacketBuilder::new(out, SessionName::BLANK, 0);
                packet.push(len, |block| match reply {
                    Reply::Challenge(_, server_nonce) => {
                        Challenge { server_nonce }.write(block);
                    }
                    Reply::Refused(_, code, client_nonce) => {
                        Refused { code, epoch, client_nonce }.write(block);
                    }
                });
                packet.finish()
            });
        }
        self.port.flush();
    }
}

impl<P: Port, C: Commands> Agent for Ingress<P, C> {
    fn name(&self) -> &'static str {
        C::NAME
    }

    fn duty_cycle(&mut self, now: Nanos) -> usize {
        let received = self.poll(now);
        received + self.desk.commands.proceed(now)
    }

    fn housekeeping(&mut self, _now: Nanos) {
        self.desk.entropy.refill();
    }
}

impl Burst {
    #[inline]
    fn is_done(&self) -> bool {
        self.next == self.kept.len()
    }

    #[inline]
    fn begin(&mut self, now: Nanos) {
        self.received = now;
        self.kept.clear();
        self.next = 0;
        self.full = false;
    }
}

impl<C: Commands> Desk<C> {
    // ----- receiving: address, token, MAC, shape -----

    #[inline]
    fn on_datagram(&mut self, bytes: &[u8], from: SocketAddrV4, now: Nanos, kept: &mut KeptBytes) {
        self.counters.datagrams.add(1);
        let Some(header) = Header::read(bytes) else {
            self.counters.malformed_datagrams.add(1);
            return;
        };
        if let Some(slot) = self.slot_of_token(&header.session) {
            self.on_token(slot, bytes, from, now, kept);
        } else if header.session.is_blank() && header.sequence == 0 {
            self.on_own_block(bytes, from, now);
        } else if let Ok(at) = self.names.binary_search_by(|(n, _)| n.cmp(&header.session)) {
            self.on_name(self.names[at].1, bytes, from);
        } else {
            self.counters.unknown_session.add(1);
        }
    }

    /// Slot whose latest binding, live or dead, has this token.
    #[inline]
    fn slot_of_token(&mut self, token: &Token) -> Option<SessionSlot> {
        let slot = token_slot(token)?;
        if slot.0 as usize >= self.sessions.len() {
            return None;
        }
        self.refresh(slot);
        let binding = &self.sessions[slot.0 as usize].binding;
        (binding.generation != 0 && same_token(&binding.token, token)).then_some(slot)
    }

    /// Takes over a binding that changed on the board.
    #[inline]
    fn refresh(&mut self, slot: SessionSlot) {
        let session = &mut self.sessions[slot.0 as usize];
        if self.board.version(slot) == session.version {
            return;
        }
        let (version, binding) = self.board.binding(slot);
        if binding.generation != session.binding.generation {
            let key = self.auth.key(slot);
            session.keys = (binding.flags & FLAG_PACKET_MAC != 0)
                .then(|| packet_keys(key, &binding.client_nonce, &binding.server_nonce));
            session.pending.restart(self.board.applied(slot));
        }
        session.binding = binding;
        session.version = version;
    }

    /// Address and MAC of a session's datagram; the datagram without its tag.
    #[inline]
    fn admit<'a>(
        &mut self,
        slot: SessionSlot,
        bytes: &'a [u8],
        from: SocketAddrV4,
    ) -> Option<&'a [u8]> {
        let session = &self.sessions[slot.0 as usize];
        if session.binding.address != from && !planted::is(Bug::SpoofedSource) {
            self.counters.wrong_address.add(1);
            return None;
        }
        let Some(keys) = &session.keys else { return Some(bytes) };
        if bytes.len() > mold::PAYLOAD_BYTES_MAX + PACKET_TAG_BYTES {
            self.counters.malformed_datagrams.add(1);
            return None;
        }
        let opened = open_packet(&keys.client, bytes);
        if opened.is_none() {
            self.counters.bad_mac.add(1);
        }
        opened
    }

    #[inline]
    fn on_token(
        &mut self,
        slot: SessionSlot,
        bytes: &[u8],
        from: SocketAddrV4,
        now: Nanos,
        kept: &mut KeptBytes,
    ) {
        let Some(bytes) = self.admit(slot, bytes, from) else { return };
        let session = &mut self.sessions[slot.0 as usize];
        if !session.binding.bound {
            self.counters.dead_tokens.add(1);
            // After the end of the day egress goes on saying 0xFFFF: no J may come before it.
            let told = session.binding.served;
            if !told && now.since(session.dead_told) >= DEAD_TOKEN_NS {
                session.dead_told = now;
                let nonce = session.binding.client_nonce;
                self.refuse(from, RefusedCode::NoSession, nonce);
            }
            return;
        }
        self.board.hear(slot, now);
        let Ok((header, packet)) = mold::parse(bytes) else {
            self.counters.malformed_datagrams.add(1);
            return;
        };
        match packet {
            Packet::Request => self.counters.malformed_datagrams.add(1),
            Packet::Messages(_) if header.sequence == 0 => self.counters.zero_sequence.add(1),
            Packet::Messages(_) | Packet::Heartbeat | Packet::EndOfSession => {
                // At once, where its session's numbers stand in order.
                let session = &self.sessions[slot.0 as usize];
                let through = session.pending.through().max(self.board.applied(slot));
                let mut datagram = Datagram { slot, header, bytes, taken: 0 };
                if !self.burst.full
                    && session.last_kept == NO_PREVIOUS
                    && header.sequence <= through.saturating_add(1)
                {
                    match self.sequence(datagram, now) {
                        Turn::Done => return,
                        Turn::NoRoom(taken) => datagram.taken = taken,
                    }
                    self.burst.full = true;
                }
                self.keep(datagram, kept);
            }
        }
    }

    #[cold]
    fn keep(&mut self, datagram: Datagram<'_>, kept: &mut KeptBytes) {
        let Datagram { slot, header, bytes, taken } = datagram;
        let index = self.burst.kept.len();
        if index == BURST {
            // A port hands out at most one burst; a datagram more would be its mistake.
            self.counters.malformed_datagrams.add(1);
            return;
        }
        kept[index][..bytes.len()].copy_from_slice(bytes);
        self.counters.kept.add(1);
        self.burst.order[index] = index as u8;
        let session = &mut self.sessions[slot.0 as usize];
        let previous = std::mem::replace(&mut session.last_kept, index as u8);
        let generation = session.binding.generation;
        let len = bytes.len() as u16;
        self.burst.kept.push(Kept { slot, header, generation, len, taken, previous });
    }

    /// A replay request comes under the downstream name, from the bound address only, also after the
    /// end of the day. It does not count as a sign of life: the name is no secret.
    fn on_name(&mut self, slot: SessionSlot, bytes: &[u8], from: SocketAddrV4) {
        self.refresh(slot);
        let binding = &self.sessions[slot.0 as usize].binding;
        if !binding.bound && !binding.served {
            self.counters.unknown_session.add(1);
            return;
        }
        let Some(bytes) = self.admit(slot, bytes, from) else { return };
        match mold::parse(bytes) {
            Ok((header, Packet::Request)) => {
                self.counters.replay_requests.add(1);
                self.ask(Ask::Replay(ReplayAsk {
                    session: slot,
                    generation: self.sessions[slot.0 as usize].binding.generation,
                    from: header.sequence,
                    count: header.count,
                    bytes_max: 0,
                }));
            }
            _ => self.counters.malformed_datagrams.add(1),
        }
    }

    fn on_own_block(&mut self, bytes: &[u8], from: SocketAddrV4, now: Nanos) {
        let block = match mold::parse(bytes) {
            Ok((_, Packet::Messages(mut blocks))) if blocks.len() == 1 => blocks.next(),
            _ => None,
        };
        let block: Option<&[u8; LOGIN_BYTES]> = block.and_then(|b| b.try_into().ok());
        match block.and_then(|block| Some((block, Login::read(block)?))) {
            Some((block, login)) => self.on_login(block, &login, from, now),
            None => self.counters.malformed_datagrams.add(1),
        }
    }

    fn on_login(
        &mut self,
        block: &[u8; LOGIN_BYTES],
        login: &Login,
        from: SocketAddrV4,
        now: Nanos,
    ) {
        self.counters.logins_received.add(1);
        let binding = match self.auth.slot_of(&login.user) {
            Some(slot) => {
                self.refresh(slot);
                self.sessions[slot.0 as usize].binding
            }
            None => Binding::NONE,
        };
        let day_over = self.board.day_over();
        match self.auth.judge(block, login, from, &binding, day_over, now) {
            LoginVerdict::Again(slot) => self.ask(Ask::Accepted(slot)),
            LoginVerdict::Challenge(nonce) => {
                self.counters.challenges.add(1);
                self.reply(Reply::Challenge(from, nonce));
            }
            LoginVerdict::Refuse(why) => {
                self.refusals.note(Refusal { user: login.user, from, why });
                self.refuse(from, why.code(), login.client_nonce);
            }
            LoginVerdict::Silence => self.counters.silences.add(1),
            LoginVerdict::Valid(_) if self.board.halted() => self.counters.halted.add(1),
            LoginVerdict::Valid(slot) => self.push_login(slot, login, from, now),
        }
    }

    fn push_login(&mut self, slot: SessionSlot, login: &Login, from: SocketAddrV4, now: Nanos) {
        let session = &mut self.sessions[slot.0 as usize];
        let Some(generation) = session.binding.generation.checked_add(1) else { return };
        let under_way = session
            .login_pushed
            .is_some_and(|(g, at)| g == generation && now.since(at) < FLIGHT_NS);
        session.logins.pass(now);
        if under_way || !session.logins.take(1) {
            self.counters.silences.add(1);
            return;
        }
        let Some(token) = self.entropy.draw().and_then(|random| make_token(slot, random)) else {
            self.counters.no_entropy.add(1);
            return;
        };
        let command = Command::Login(command::Login {
            session: slot,
            flags: login.flags,
            version: login.version,
            generation,
            token,
            dead_time_ms: dead_time_granted(login.dead_time_ms),
            client_nonce: login.client_nonce,
            server_nonce: login.server_nonce,
            ip: from.ip().octets(),
            port: from.port(),
            zero: [0; 6],
            login_time: login.time,
            received: now,
        });
        if self.commands.put(&command, now) {
            self.sessions[slot.0 as usize].login_pushed = Some((generation, now));
            self.counters.logins_sequenced.add(1);
        } else {
            self.counters.no_room.add(1);
        }
    }

    fn refuse(&mut self, to: SocketAddrV4, code: RefusedCode, nonce: Nonce) {
        self.counters.refusals.add(1);
        self.reply(Reply::Refused(to, code, nonce));
    }

    fn reply(&mut self, reply: Reply) {
        if self.replies.len() < BURST {
            self.replies.push(reply);
        }
    }

    #[inline]
    fn ask(&mut self, ask: Ask) {
        if !asks::push(&mut self.asks, ask) {
            self.counters.asks_lost.add(1);
        }
    }

    // ----- sequencing: order within the session, duplicates, rate, commands -----

    /// Puts each session's datagrams of the burst in order of sequence, in the turns that this
    /// session has; other sessions' turns stay where they arrived.
    fn order_burst(&mut self) {
        let Burst { kept, order, .. } = &mut self.burst;
        for index in 0..kept.len() {
            self.sessions[kept[index].slot.0 as usize].last_kept = NO_PREVIOUS;
            let mut turn = index;
            // Insertion along the session's own turns. `previous` of a turn never changes: the
            // turn keeps its place, only which datagram takes it does.
            loop {
                let before = kept[turn].previous;
                if before == NO_PREVIOUS {
                    break;
                }
                let before = before as usize;
                let (a, b) = (order[before] as usize, order[turn] as usize);
                // One that has begun is admitted with all its blocks: they count before any other's.
                if kept[a].taken > 0 || kept[a].header.sequence <= kept[b].header.sequence {
                    break;
                }
                order.swap(before, turn);
                self.counters.reordered.add(1);
                turn = before;
            }
        }
    }

    /// Sequences what is kept; false when there is no room for all of it.
    fn sequence_burst(&mut self, kept: &KeptBytes, now: Nanos) -> bool {
        while !self.burst.is_done() {
            let index = self.burst.order[self.burst.next] as usize;
            let Kept { slot, header, generation, len, taken, .. } = self.burst.kept[index];
            if generation != self.sessions[slot.0 as usize].binding.generation {
                // A new login was seen in the same burst: under the new token the old one's numbers
                // may carry other messages (session.md, Login 4).
                self.counters.dead_tokens.add(1);
            } else {
                let bytes = &kept[index][..len as usize];
                let datagram = Datagram { slot, header, bytes, taken };
                if let Turn::NoRoom(taken) = self.sequence(datagram, now) {
                    self.burst.kept[index].taken = taken;
                    self.counters.no_room.add(1);
                    return false;
                }
            }
            self.burst.next += 1;
        }
        true
    }

    /// The turn of one datagram.
    #[inline]
    fn sequence(&mut self, datagram: Datagram<'_>, now: Nanos) -> Turn {
        let Datagram { slot, header, .. } = datagram;
        match header.count {
            mold::HEARTBEAT => {
                self.counters.heartbeats.add(1);
                if header.sequence > self.board.applied(slot).saturating_add(1) {
                    self.ask(Ask::Applied(slot));
                }
                Turn::Done
            }
            mold::END_OF_SESSION => self.sequence_logoff(slot, header.sequence, now),
            _ => self.sequence_messages(datagram, now),
        }
    }

    fn sequence_logoff(&mut self, slot: SessionSlot, client_next: u64, now: Nanos) -> Turn {
        if self.board.halted() {
            self.counters.halted.add(1);
            return Turn::Done;
        }
        let applied = self.board.applied(slot);
        let session = &mut self.sessions[slot.0 as usize];
        session.pending.settle(applied);
        if client_next != session.pending.through().saturating_add(1) {
            self.ask(Ask::Applied(slot));
            return Turn::Done;
        }
        let generation = session.binding.generation;
        let received = self.burst.received;
        // No rate holds logoffs: repeats that come before the commit may not fill the log.
        let under_way = session.logoff_pushed.is_some_and(|(g, next, at)| {
            (g, next) == (generation, client_next) && received.since(at) < FLIGHT_NS
        });
        if under_way {
            self.counters.logoffs_under_way.add(1);
            return Turn::Done;
        }
        let logoff = Logoff { session: slot, zero: [0; 2], generation, client_next, received };
        if !self.commands.put(&Command::Logoff(logoff), now) {
            return Turn::NoRoom(0);
        }
        session.logoff_pushed = Some((generation, client_next, received));
        self.counters.logoffs.add(1);
        Turn::Done
    }

    /// Number, rate and verdict of the blocks of one datagram; `bytes` were parsed before.
    #[inline]
    fn sequence_messages(&mut self, datagram: Datagram<'_>, now: Nanos) -> Turn {
        let Datagram { slot, header, bytes, taken } = datagram;
        let count = header.count as u64;
        if self.board.halted() {
            self.counters.halted.add(count - u64::from(taken));
            self.ask(Ask::Applied(slot));
            return Turn::Done;
        }
        if !self.commands.has_room() {
            return Turn::NoRoom(taken);
        }
        let received = self.burst.received;
        let skip = match taken {
            0 => match self.admit_messages(slot, header, received) {
                Some(duplicates) => duplicates,
                None => return Turn::Done,
            },
            taken => taken,
        };
        let session = &mut self.sessions[slot.0 as usize];
        let generation = session.binding.generation;
        let Ok(blocks) = mold::blocks(bytes) else { return Turn::Done };
        for (at, block) in (0..header.count).zip(blocks).skip(skip as usize) {
            if !self.commands.has_room() {
                return Turn::NoRoom(at);
            }
            let (mut verdict, body) = body_of(block);
            if !session.throttle.admit_block() {
                verdict = Verdict::Throttled;
            }
            match verdict {
                Verdict::Ok => {}
                Verdict::Malformed => self.counters.malformed_messages.add(1),
                Verdict::Throttled => self.counters.throttled_messages.add(1),
            }
            let client_seq = header.sequence.saturating_add(u64::from(at));
            let head = MessageHead {
                session: slot,
                verdict: verdict as u8,
                body: 0, // written with the body
                generation,
                client_seq,
                received,
            };
            let put = self.commands.put(&Command::Message(head, body), now);
            debug_assert!(put, "there was room");
            session.pending.push(client_seq);
            self.counters.messages.add(1);
        }
        Turn::Done
    }

    /// Whether blocks of this datagram are sequenced, and how many duplicates stand before them;
    /// `None` = none are.
    #[inline]
    fn admit_messages(
        &mut self,
        slot: SessionSlot,
        header: Header,
        received: Nanos,
    ) -> Option<u16> {
        let count = u64::from(header.count);
        let applied = self.board.applied(slot);
        let session = &mut self.sessions[slot.0 as usize];
        session.pending.settle(applied);

        // Numbers first .. first + count; those at or below one that is under way are duplicates, too:
        // sequenced again they would do nothing, and take tokens and room from what is new.
        let through = session.pending.through();
        let duplicates = through.saturating_add(1).saturating_sub(header.sequence).min(count);
        let fresh = count - duplicates;
        let first_fresh = header.sequence.saturating_add(duplicates);
        let jump = fresh > 0 && first_fresh - 1 > through.saturating_add(JUMP_MAX);
        self.counters.duplicates.add(duplicates);
        self.counters.jumps.add(if jump { fresh } else { 0 });
        // What is under way is answered when it is committed.
        if header.sequence <= applied || jump {
            self.ask(Ask::Applied(slot));
        }
        if fresh == 0 || jump {
            return None;
        }
        let session = &mut self.sessions[slot.0 as usize];
        if !session.pending.admits(fresh) || !session.throttle.admit_datagram(received, fresh) {
            self.counters.floods.add(1);
            return None;
        }
        Some(duplicates as u16)
    }
}

const _: () = assert!(BLOCKS_MAX < UNCOMMITTED_MAX);

#[cfg(test)]
#[path = "ingress_tests.rs"]
mod tests;
