//! One session, seen from outside: what left for it under which number, and what was said about it.
//!
//! Consumes the session's events and the datagrams sent to its broker; produces what contradicts.

use super::bytes::{self, Head, packet};
use super::live::Live;
use super::pace::{Owed, Pace};
use super::replays::Replays;
use super::rhythm::{Beats, Ends, Rhythm};
use super::stream::{Stream, hex};
use super::upstream::Taken;
use super::{Faults, Sent};
use crate::exchange::event::{EndedBy, Event, EventBody, LoggedIn};
use crate::types::*;
use crate::wire::session::{self, PacketKeys};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};

/// What was told in answer to this has come by then.
const ANSWER_NS: u64 = 100_000_000;
/// A message is under way for so long at most.
const UNDER_WAY_NS: u64 = 20_000_000;
/// Messages of a session under way at most, twice.
const WINDOW: u64 = 2_048;
/// A client sequence more than this above the next one is dropped.
const JUMP_MAX: u64 = 65_536;
/// Least time between two K, ns.
const APPLIED_NS: u64 = 1_000_000;
/// What had to wait for that leaves so much later at most.
const SCAN_NS: u64 = 50_000;

/// One login of the session.
struct Login {
    event: LoggedIn,
    applied: u64,
    command: u64,
    address: SocketAddrV4,
    keys: Option<PacketKeys>,
    /// Time of the login, and of the end of the binding.
    from: Nanos,
    until: Nanos,
    /// It ended by logoff or silence: J 'S' to what still comes.
    dead: bool,
}

/// One session of a day.
pub struct SessionWatch {
    slot: SessionSlot,
    name: [u8; 10],
    key: [u8; 32],
    /// Reports by number.
    pub reports: Stream,
    /// Command of each report.
    commands: Vec<u64>,
    logins: Vec<Login>,
    /// (applied, next report) as the log shows them -> first command after which they hold.
    places: BTreeMap<(u64, u64), u64>,
    place: (u64, u64),
    /// When applied-through moved, and to what.
    moved: Vec<(Nanos, u64)>,
    /// Client sequences that N covered.
    refused: BTreeSet<u64>,
    last_urn: u32,
    last_executed: u64,
    rhythm: Rhythm,
    /// Highest report that left: what is not above it is sent again.
    left: u64,
    /// What each K said was applied, and when.
    said: Vec<(Nanos, u64)>,
    pace: Pace,
    replays: Replays,
    /// Highest report seen leaving.
    highest: u64,
    /// Addresses and nonces of logins that others displaced.
    displaced: Vec<(SocketAddrV4, [u8; 16])>,
    ended: bool,
    /// When the end of the day ended its binding.
    served_since: Option<Nanos>,
    ends: Ends,
    /// Highest next report that an end carried.
    end_left: u64,
    /// When this life of the exchange told the end of the day first.
    end_told: Option<Nanos>,
    /// Generation of the last A.
    accepted_as: u32,
    /// The end that answers a logoff left then, and nobody logged in since.
    over: Option<Nanos>,
    live: Live,
    /// The log's times are the world's.
    on_time: bool,
    /// When the last message was taken.
    message_at: Nanos,
    /// What the last K said: applied, next report.
    last_said: (u64, u64),
    /// Commands that a K alone answers, and what they made applied.
    alone: VecDeque<(u64, u64)>,
    /// Of those: when K came, and the K before that.
    answered: Vec<(u64, Nanos, Option<Nanos>)>,
    /// From the last message on; `None` = it is not known when that was.
    beats: Option<Beats>,
    /// When something came, or left, that K may follow.
    asked_at: Nanos,
}

impl SessionWatch {
    /// Nothing seen yet.
    pub fn new(
        slot: SessionSlot,
        name: SessionName,
        key: [u8; 32],
        reports_kept: u64,
    ) -> SessionWatch {
        SessionWatch {
            slot,
            name: name.0,
            key,
            reports: Stream::default(),
            commands: Vec::new(),
            logins: Vec::new(),
            places: BTreeMap::from([((0, 1), 0)]),
            place: (0, 1),
            moved: Vec::new(),
            refused: BTreeSet::new(),
            last_urn: 0,
            last_executed: 0,
            rhythm: Rhythm::default(),
            left: 0,
            said: Vec::new(),
            pace: Pace::default(),
            replays: Replays::new(reports_kept),
            highest: 0,
            displaced: Vec::new(),
            ended: false,
            served_since: None,
            ends: Ends::default(),
            end_left: 0,
            end_told: None,
            accepted_as: 0,
            over: None,
            live: Live::default(),
            on_time: false,
            message_at: Nanos(0),
            last_said: (0, 0),
            alone: VecDeque::new(),
            answered: Vec::new(),
            beats: None,
            asked_at: Nanos(0),
        }
    }

    /// An event of the log that is addressed to this session. `client_seq`: of the message that
    /// caused it, when it is this session's. `on_time`: the log's times are the world's.
    pub fn on_event(
        &mut self,
        event: &Event,
        time: Nanos,
        midnight: Nanos,
        (client_seq, on_time): (Option<u64>, bool),
        faults: &mut Faults,
    ) {
        self.on_time = on_time;
        let who = self.slot.0;
        let report = bytes::report(event, time.since(midnight));
        if report.is_some() != (event.head.report != 0) {
            faults.add("an event is a report or is not", format!("session {who}: {event:?}"));
        }
        if let Some(bytes) = report {
            let next = self.reports.told() + 1;
            if event.head.report != next {
                let what = format!("session {who}: expected {next}, got {event:?}");
                faults.add("report numbers leave a gap", what);
            }
            if let Err(what) = self.reports.tell(bytes) {
                faults.add("a report left with other bytes", format!("session {who}: {what}"));
            }
            self.commands.push(event.head.command.0);
        }
        if on_time && self.bound(time).is_some() {
            if event.head.applied > self.place.0 {
                self.pace.moved(time, event.head.applied);
            }
            if event.head.report != 0 {
                self.live.owe(time, event.head.report);
            }
            if matches!(event.body, EventBody::Applied(_)) {
                self.alone.push_back((event.head.command.0, event.head.applied));
            }
        }
        if event.head.applied > self.place.0 {
            self.moved.push((time, event.head.applied));
        }
        self.place = (event.head.applied.max(self.place.0), self.reports.told() + 1);
        self.places.entry(self.place).or_insert(event.head.command.0);
        if let Some(seq) = client_seq {
            if seq < self.last_executed {
                let what = format!("session {who}: {seq} after {}: {event:?}", self.last_executed);
                faults.add("a client sequence was executed again", what);
            }
            self.last_executed = self.last_executed.max(seq);
        }
        let urn = match &event.body {
            EventBody::Accepted(m) => m.urn.0,
            EventBody::Replaced(m) => m.urn.0,
            EventBody::Rejected(m) => m.urn.0,
            _ => 0,
        };
        if urn != 0 {
            if urn <= self.last_urn {
                let what = format!("session {who}: {urn} after {}: {event:?}", self.last_urn);
                faults.add("a reference was used again", what);
            }
            self.last_urn = urn;
        }
        match &event.body {
            EventBody::NotApplied(m) => {
                self.refused.extend((0..m.count.min(70_000) as u64).map(|i| m.from + i));
            }
            EventBody::LoggedIn(m) => self.log_in(m, event, time),
            EventBody::SessionEnded(m) => {
                if let Some(login) = self.logins.last_mut() {
                    login.until = time;
                    login.dead = m.by != EndedBy::EndOfDay as u8;
                }
                self.pace.unbound(time);
                self.replays.unbound();
                self.alone.clear();
                if m.by == EndedBy::EndOfDay as u8 {
                    self.served_since = Some(time);
                    self.pace.end_day();
                }
                if m.by != EndedBy::Silence as u8 {
                    self.pace.owe(Owed::End, time);
                }
                if m.by == EndedBy::Logoff as u8 {
                    self.pace.log_off(time);
                }
            }
            EventBody::SessionMark(m) => self.ended |= m.code == b'E',
            _ => {}
        }
    }

    fn log_in(&mut self, m: &LoggedIn, event: &Event, time: Nanos) {
        // What is below comes only when it is asked for.
        self.left = self.left.max(m.next_report.saturating_sub(1));
        self.alone.clear();
        let address = SocketAddrV4::new(Ipv4Addr::from(m.ip), m.port);
        self.pace.unbound(time);
        self.replays.unbound();
        self.pace.owe(Owed::Accepted, time);
        if let Some(before) = self.logins.last_mut() {
            if before.until > time && before.address != address {
                self.displaced.push((before.address, before.event.client_nonce));
                self.pace.owe(Owed::Displaced, time);
            }
            before.until = before.until.min(time);
        }
        let keys = (m.flags & 2 != 0)
            .then(|| session::packet_keys(&self.key, &m.client_nonce, &m.server_nonce));
        self.logins.push(Login {
            event: *m,
            applied: event.head.applied,
            command: event.head.command.0,
            address,
            keys,
            from: time,
            until: Nanos(u64::MAX),
            dead: false,
        });
    }

    /// The login that is bound at `at`.
    fn bound(&self, at: Nanos) -> Option<&Login> {
        self.logins.iter().rev().find(|l| l.from <= at && at < l.until)
    }

    /// Generation, dead time (ns) and beginning of the binding at `at`.
    pub fn binding(&self, at: Nanos) -> Option<(u32, u64, Nanos)> {
        let login = self.bound(at)?;
        Some((login.event.generation, login.event.dead_time_ms as u64 * 1_000_000, login.from))
    }

    /// Whether a datagram of this session brings reports that left for the first time; `None`: only
    /// such as left before. Call it once for each, in order.
    pub fn brings(&mut self, sequence: u64, count: u16) -> Option<bool> {
        if count == 0 || count == 0xFFFF {
            return Some(false);
        }
        let last = sequence.saturating_add(count as u64 - 1);
        let new = last > self.left;
        self.left = self.left.max(last);
        new.then_some(true)
    }

    /// The exchange sent something under this session's name or one of its tokens. False: it is not
    /// about this session.
    pub fn on_sent(&mut self, sent: &Sent, disk: bool, faults: &mut Faults) -> bool {
        let Some(name) = sent.bytes.get(..10) else { return false };
        let downstream = name == self.name;
        if !downstream && !self.logins.iter().any(|l| l.event.token.0 == name) {
            return false;
        }
        let who = self.slot.0;
        // With a packet MAC of the binding at this address, or without one; behind A with its own.
        let accepted = |l: &&Login| l.event.generation >= self.accepted_as;
        let logins = self.logins.iter().filter(|l| l.address == sent.peer).filter(accepted);
        let body = logins.rev().find_map(|l| match &l.keys {
            None => Some(&sent.bytes[..]),
            Some(keys) => {
                let (body, tag) = sent.bytes.split_last_chunk::<8>()?;
                let right = session::packet_tag(&keys.server, body).to_be_bytes() == *tag;
                right.then_some(body)
            }
        });
        let plain = (!downstream).then_some(&sent.bytes[..]);
        let unsealed = plain.filter(|b| packet(b).is_some_and(|(_, b)| is_accepted(&b)));
        let Some(body) = unsealed.or(body) else {
            let what = format!("session {who}: to {}: {}", sent.peer, hex(&sent.bytes));
            faults.at("sent to a stranger, or without its MAC", what, sent.at);
            return true;
        };
        let Some((head, blocks)) = packet(body) else {
            let what = format!("session {who}: {}", hex(body));
            faults.at("sent something that is no packet", what, sent.at);
            return true;
        };
        if downstream {
            self.on_downstream(&head, sent, faults);
            for (block, number) in blocks.iter().zip(head.sequence..) {
                if let Err(what) = self.reports.see(number, block) {
                    let what = format!("session {who}: {what}");
                    faults.at("two contents under one report number", what, sent.at);
                }
                self.committed(self.command_of(number), sent, disk, "a report", faults);
            }
            if blocks.is_empty() && head.sequence > self.reports.told() + 1 {
                let (next, told) = (head.sequence, self.reports.told());
                let what = format!("session {who}: says next {next}, the log has {told} reports");
                faults.at("a heartbeat is ahead of the log", what, sent.at);
            }
        } else {
            for block in blocks {
                self.on_own_block(block, name, sent, disk, faults);
            }
        }
        true
    }

    /// Heartbeats and ends, reports of now and those that are sent again.
    fn on_downstream(&mut self, head: &Head, sent: &Sent, faults: &mut Faults) {
        if matches!(head.count, 0 | 0xFFFF) && head.sequence <= self.highest {
            let (who, next, left) = (self.slot.0, head.sequence, self.highest);
            let what = format!("session {who}: says next {next}, report {left} had left");
            faults.at("a heartbeat is behind what left", what, sent.at);
        }
        self.judge_end(head, sent, faults);
        if head.count == 0xFFFF && self.pace.owes_last(sent.at) && self.on_time {
            let what = format!("session {}: since the logoff", self.slot.0);
            faults.at("the end came before K", what, sent.at);
        }
        if head.count == 0xFFFF && !self.pace.may_end(sent.at) && self.on_time {
            let what = format!("session {}: report {} is next", self.slot.0, head.sequence);
            faults.at("an end was told too often", what, sent.at);
        }
        match head.count {
            0xFFFF => {
                self.end_left = self.end_left.max(head.sequence);
                // Those before, of a logoff, are another thing.
                if self.on_time && self.served_since.is_some_and(|since| since <= sent.at) {
                    let who = format!("session {}", self.slot.0);
                    if !self.pace.said_within(APPLIED_NS, sent.at) {
                        faults.at("the end of a day came without K", who.clone(), sent.at);
                    }
                    self.ends.on(sent.at, &who, faults);
                }
                if self.served_since.is_some_and(|since| since <= sent.at || !self.on_time) {
                    self.end_told.get_or_insert(sent.at);
                }
                return self.pace.told(Owed::End, sent.at);
            }
            _ => self.pace.told(Owed::Heartbeat, sent.at),
        }
        if head.count == 0 {
            // K goes with it, also to a login whose A an earlier life did not get to.
            self.asked_at = sent.at;
        }
        let accepted = self.bound(sent.at).filter(|l| l.event.generation == self.accepted_as);
        let idle_ns = accepted.map(Login::idle_ns);
        let last = (head.sequence + head.count as u64).saturating_sub(1);
        match idle_ns.filter(|_| self.on_time) {
            Some(idle_ns) if head.count == 0 => {
                self.pace.owe(Owed::Answer, sent.at);
                let beats = self.beats.as_mut();
                if let Some(early) = beats.and_then(|beats| beats.heartbeat(sent.at, idle_ns)) {
                    let what = format!("session {}: {} us", self.slot.0, early / 1_000);
                    faults.at("a heartbeat came too early", what, sent.at);
                }
            }
            // What was asked for puts no heartbeat off.
            Some(_)
                if last > self.highest
                    && !self.replays.may_answer(head.sequence, head.count, sent.at) =>
            {
                self.beats.get_or_insert_default().message(sent.at);
            }
            _ => self.beats = None,
        }
        if head.count > 0 {
            self.live.left(head.sequence, last);
            self.replays.left(sent.peer, head, sent.at);
        }
        if head.count > 0 && (last <= self.highest || self.is_before_login(last, sent)) {
            self.replays.sent(sent.peer, head, sent.at, self.slot.0, faults);
        }
        if head.count > 0 {
            self.highest = self.highest.max(last);
        }
    }

    /// True for reports up to `last` that the client who was accepted there last has to ask for: they are
    /// older than his login, whose A said which is the first that comes live (session.md, A).
    fn is_before_login(&self, last: u64, sent: &Sent) -> bool {
        let login = self.logins.iter().rev().find(|login| login.from <= sent.at);
        login.is_some_and(|login| {
            let accepted = login.event.generation == self.accepted_as;
            accepted && login.address == sent.peer && last < login.event.next_report
        })
    }

    /// Nobody who was accepted is told an end before his binding has one, and nothing comes behind
    /// the end that answers a logoff.
    fn judge_end(&mut self, head: &Head, sent: &Sent, faults: &mut Faults) {
        let (who, at, Head { sequence, count, .. }) = (self.slot.0, sent.at, *head);
        let login = self.logins.iter().rev().find(|login| login.from <= at);
        let Some(login) = login.filter(|_| self.on_time) else { return };
        let over = self.over.filter(|&over| login.from <= over);
        if count != 0xFFFF {
            if let Some(over) = over {
                let what = format!("session {who}: {count} from {sequence}, over since {}", over.0);
                faults.at("something left behind the end", what, at);
            }
        } else if login.until <= at {
            self.over = over.or(login.dead.then_some(at));
        } else if self.accepted_as == login.event.generation {
            let what = format!("session {who}: at {}", login.address);
            faults.at("an end was told to who is bound", what, at);
        }
    }

    fn command_of(&self, report: u64) -> u64 {
        self.commands.get((report as usize).wrapping_sub(1)).copied().unwrap_or(0)
    }

    fn on_own_block(
        &mut self,
        block: &[u8],
        token: &[u8],
        sent: &Sent,
        disk: bool,
        faults: &mut Faults,
    ) {
        let who = self.slot.0;
        let u64_at = |at: usize| {
            block.get(at..at + 8).map_or(0, |b| u64::from_be_bytes(b.try_into().expect("eight")))
        };
        match block {
            [b'K', ..] if block.len() == 21 => {
                let place = (u64_at(1), u64_at(9));
                if block[17..] != [0, 0, 0, 1] {
                    let what = format!("session {who}: epoch of one node is 1: {}", hex(block));
                    faults.at("K says what the log does not", what, sent.at);
                }
                self.said.push((sent.at, place.0));
                let before = self.pace.said(sent.at, place.0, who, faults);
                while let Some(&(command, applied)) = self.alone.front()
                    && applied <= place.0
                {
                    self.alone.pop_front();
                    self.answered.push((command, sent.at, before));
                }
                self.on_place(place, sent.at, faults);
                match self.places.get(&place) {
                    Some(&command) => self.committed(command, sent, disk, "K", faults),
                    None => {
                        let what = format!(
                            "session {who}: applied {} next report {}; the log is at {:?}",
                            place.0, place.1, self.place
                        );
                        faults.at("K says what the log does not", what, sent.at);
                    }
                }
            }
            [b'A', ..] if block.len() == 104 => {
                let login = self.logins.iter().find(|l| l.event.token.0 == token);
                let Some(login) = login else { return };
                let expected = self.accepted(login);
                let signed: &[u8; 104] = block.try_into().expect("its length was looked at");
                if block[..72] != expected[..] || !session::verify_accepted(&self.key, signed) {
                    let (expected, got) = (hex(&expected), hex(block));
                    let what = format!("session {who}: expected {expected}, got {got}");
                    faults.at("A says what the log does not", what, sent.at);
                }
                let (command, generation) = (login.command, login.event.generation);
                // What the binding before has still to get leaves before it ends.
                if let Some(number) = self.live.owes_below(login.event.next_report) {
                    let what = format!("session {who}: report {number} had not left");
                    faults.at("A overtakes reports", what, sent.at);
                }
                self.committed(command, sent, disk, "A", faults);
                self.accepted_as = generation;
                self.asked_at = sent.at;
                self.beats = None;
                self.pace.told(Owed::Accepted, sent.at);
            }
            _ => {
                let what = format!("session {who}: {}", hex(block));
                faults.at("sent an own block that is none", what, sent.at);
            }
        }
    }

    /// K goes forth, and behind the reports that it speaks of.
    fn on_place(&mut self, place: (u64, u64), at: Nanos, faults: &mut Faults) {
        let (who, last) = (self.slot.0, std::mem::replace(&mut self.last_said, place));
        let since = Nanos(at.0.saturating_sub(ANSWER_NS));
        if place.0 == last.0
            && self.asked_at < since
            && self.on_time
            && self.bound(at).is_some_and(|login| login.from < since)
            && !faults.excused(since, at)
        {
            let what = format!("session {who}: {place:?} again, asked at {}", self.asked_at.0);
            faults.at("K came without cause", what, at);
        }
        if place.0 < last.0 || place.1 < last.1 {
            let what = format!("session {who}: {place:?} after {last:?}");
            faults.at("K goes back", what, at);
        }
        if place.1 > self.left + 1 && self.on_time && self.bound(at).is_some() {
            let (next, left) = (place.1, self.left);
            let what = format!("session {who}: next report {next}, {left} left");
            faults.at("K overtakes its reports", what, at);
        }
    }

    /// A block that makes no report is answered with K in the same poll, once a millisecond: before
    /// anything leaves that a later command made. `left_after`: when the first such thing left, unless
    /// that poll had served as many as it may.
    pub fn judge_answers(
        &mut self,
        left_after: impl Fn(u64) -> Option<Nanos>,
        faults: &mut Faults,
    ) {
        for (command, at, before) in std::mem::take(&mut self.answered) {
            let Some(left) = left_after(command).filter(|left| *left < at) else { continue };
            if before.is_none_or(|before| before.plus(APPLIED_NS + SCAN_NS) <= left) {
                let (who, late) = (self.slot.0, at.since(left) / 1_000);
                let what = format!("session {who}: {late} us after what command {command} led to");
                faults.at("K came in a later poll", what, at);
            }
        }
    }

    /// A datagram was taken under the token of one of this session's logins: whether it must be
    /// answered (session.md 11, 14, 17).
    pub fn taken(&mut self, taken: &Taken) {
        let Taken { at, generation, head: Head { sequence, count, .. }, .. } = *taken;
        if count != 0 || sequence > self.said_applied(at) + 1 {
            self.asked_at = at;
        }
        let Some(login) = self.logins.last().filter(|l| l.event.generation == generation) else {
            return;
        };
        if login.until.plus(ANSWER_NS) <= at {
            if login.dead && !self.ended {
                self.pace.dead(at);
            }
            return;
        }
        if at < login.from || login.until <= at.plus(ANSWER_NS) {
            return;
        }
        let (said, applied) = (self.said_applied(at), self.applied_by(at));
        let under_way = if at.since(self.message_at) > UNDER_WAY_NS { 0 } else { WINDOW };
        if !matches!(count, 0 | 0xFFFF) {
            self.message_at = at;
        }
        let in_vain = match count {
            0 => sequence > applied + 1,
            0xFFFF => sequence <= said || sequence > applied + 1 + under_way,
            _ => sequence <= said || sequence > applied + JUMP_MAX + WINDOW,
        };
        if in_vain {
            self.pace.owe(Owed::Answer, at);
        }
    }

    /// Whether the first message of this datagram has to be sequenced, when there is room for it: it comes
    /// under a login that lasts, is no duplicate, and no jump from what K said. A logoff, when it carries
    /// what is next by all that is known.
    pub fn must_take(&self, taken: &Taken) -> bool {
        let Taken { at, generation, head: Head { sequence, count, .. }, .. } = *taken;
        let (said, applied) = (self.said_applied(at), self.applied_by(at));
        let lasts = self.bound(at).is_some_and(|login| {
            login.event.generation == generation && at.plus(ANSWER_NS) < login.until
        });
        let near = applied < sequence && sequence <= said + 1 + JUMP_MAX;
        let settled = said == applied && at.since(self.message_at) > ANSWER_NS;
        match count {
            0 => false,
            0xFFFF => lasts && settled && sequence == applied + 1,
            _ => lasts && near,
        }
    }

    /// An L of this user came from `from`. True: it is the live login's, and A is due again.
    pub fn is_again(&mut self, from: SocketAddrV4, nonce: &[u8], at: Nanos) -> bool {
        let again = self.is_own(from, nonce, at);
        if again {
            self.pace.owe(Owed::Accepted, at);
        }
        again
    }

    /// Whether an L from `from` with this nonce is the live login's.
    pub fn is_own(&self, from: SocketAddrV4, nonce: &[u8], at: Nanos) -> bool {
        self.bound(at).is_some_and(|login| {
            let settled = login.from.plus(ANSWER_NS) <= at && at.plus(ANSWER_NS) < login.until;
            settled && login.address == from && login.event.client_nonce[..] == *nonce
        })
    }

    /// Whether a login from `from` with this nonce took effect, and was not over for long at `at`.
    pub fn knows(&self, from: SocketAddrV4, nonce: &[u8], at: Nanos) -> bool {
        let mut logins = self.logins.iter().filter(|l| at < l.until.plus(ANSWER_NS));
        logins.any(|l| l.address == from && l.event.client_nonce[..] == *nonce)
    }

    /// Command of the last report in a datagram that brings new ones; `None` when they may have been
    /// asked for.
    pub fn last_command(&self, sequence: u64, count: u16, at: Nanos) -> Option<u64> {
        let live = !self.replays.may_answer(sequence, count, at);
        live.then(|| self.command_of((sequence + count as u64).saturating_sub(1)))
    }

    /// J 'S' left for a dead token of this session.
    pub fn told_dead(&mut self, at: Nanos) {
        self.pace.told(Owed::Dead, at);
    }

    /// A by its table in session.md, without the HMAC.
    fn accepted(&self, login: &Login) -> Vec<u8> {
        let m = &login.event;
        let mut out = vec![b'A', m.version, m.flags, 0];
        out.extend(m.token.0);
        out.extend(self.name);
        out.extend(m.next_report.to_be_bytes());
        out.extend(login.applied.to_be_bytes());
        out.extend(m.next_urn.to_be_bytes());
        out.extend(m.dead_time_ms.to_be_bytes());
        out.extend([0, 0, 0, 0, 0, 1]); // zero, epoch of one node
        out.extend(m.generation.to_be_bytes());
        out.extend(m.client_nonce);
        out
    }

    /// At level disk nothing leaves above the archived mark.
    fn committed(&self, command: u64, sent: &Sent, disk: bool, what: &str, faults: &mut Faults) {
        if disk && command > sent.archived {
            let (who, archived) = (self.slot.0, sent.archived);
            let what = format!("session {who}: {what} of command {command}, archived {archived}");
            faults.at("something left before its commit", what, sent.at);
        }
    }

    /// Client sequence that a K had said to be applied before `at`.
    pub fn said_applied(&self, at: Nanos) -> u64 {
        let before = self.said.partition_point(|said| said.0 < at);
        before.checked_sub(1).map_or(0, |last| self.said[last].1)
    }

    /// What was applied by then, at most: as of the last command sequenced by then.
    fn applied_by(&self, at: Nanos) -> u64 {
        let by = self.moved.partition_point(|moved| moved.0 <= at);
        by.checked_sub(1).map_or(0, |last| self.moved[last].1)
    }

    /// A message that a broker took for concluded; false = it was not.
    pub fn was_refused(&self, sequence: u64) -> bool {
        self.refused.contains(&sequence)
    }

    /// Client sequence applied through, as of the last event.
    pub fn applied(&self) -> u64 {
        self.place.0
    }

    /// Heartbeats of a bound session: what is due, judged up to `now`.
    pub fn judge_rhythm(&mut self, sends: &[(Nanos, bool)], now: Nanos, faults: &mut Faults) {
        let binding = self.bound(now).map(|login| (login.from, login.idle_ns()));
        let Some((from, idle_ns)) = binding else {
            self.rhythm.stop();
            return;
        };
        self.rhythm.start(from, idle_ns, false);
        for &(at, message) in sends.iter().filter(|s| s.0 >= from) {
            self.rhythm.on(at, message, &format!("session {}", self.slot.0), faults);
        }
        self.rhythm.until(now, &format!("session {}", self.slot.0), faults);
    }

    /// What a client must be told in time, judged up to `now`.
    pub fn judge_pace(&mut self, now: Nanos, faults: &mut Faults) {
        let who = self.slot.0;
        self.pace.until(now, who, faults);
        self.replays.until(now, self.reports.told(), who, faults);
        let name = format!("session {who}");
        self.live.until(now, "a report did not leave", &name, faults);
    }

    /// The end of a day is said every second, judged up to `now`, when it still ran.
    pub fn judge_ends(&mut self, now: Nanos, faults: &mut Faults) {
        self.ends.until(now, &format!("session {}", self.slot.0), faults);
    }

    /// The exchange was away and comes up: silence until now is nobody's fault, but who is bound is
    /// told at once.
    pub fn up(&mut self, now: Nanos) {
        self.left = self.left.max(self.reports.told());
        self.rhythm.excuse(now);
        self.replays.up();
        self.pace.up();
        self.live.up();
        self.ends.restart();
        self.end_told = None;
        self.alone.clear();
        self.answered.clear();
        self.asked_at = now;
        self.beats = None;
        if self.served_since.is_some() {
            self.pace.owe(Owed::End, now);
        } else if self.bound(now).is_some() {
            self.pace.owe(Owed::Heartbeat, now);
            self.pace.owe(Owed::Applied, now);
        }
    }

    /// The gateway received something under this session's name.
    pub fn asked(&mut self, from: SocketAddrV4, bytes: &[u8], at: Nanos) {
        if bytes.get(..10) == Some(&self.name[..])
            && let Some((head, _)) = bytes.get(..20).and_then(packet)
        {
            let login = self.bound(at).filter(|login| {
                login.from.plus(ANSWER_NS) <= at && at.plus(ANSWER_NS) < login.until
            });
            // The end of the day leaves his reports to who was bound.
            let last = self.logins.last().filter(|login| {
                self.served_since.is_some() && !login.dead && login.until.plus(ANSWER_NS) <= at
            });
            let login = login.or(last);
            let login = login.filter(|login| login.address == from && login.opens(bytes));
            let last = login.filter(|_| self.on_time).map(|_| self.highest);
            self.replays.asked(from, &head, at, last);
        }
    }

    /// Whether a login from `address` with this nonce was displaced by one from elsewhere; it is told
    /// so now, once.
    pub fn was_displaced(&mut self, address: SocketAddrV4, nonce: &[u8], at: Nanos) -> bool {
        let place = self.displaced.iter().position(|(a, n)| *a == address && n[..] == *nonce);
        let Some(place) = place else { return false };
        self.displaced.remove(place);
        self.pace.told(Owed::Displaced, at);
        true
    }

    /// The day was closed: whom its end unbound was told so behind the last report, however late.
    pub fn close(&self, faults: &mut Faults) {
        if self.served_since.is_some() && self.end_left <= self.reports.told() {
            let (who, last) = (self.slot.0, self.reports.told());
            let what = format!("session {who}: no end behind report {last}");
            faults.add("a day was closed before its end was told", what);
        }
    }

    /// When this life of the exchange told the end of the day first; `None`: nobody has to be told.
    pub fn end_told(&self) -> Option<Nanos> {
        self.end_told
    }

    /// Whether a login from `address` with this nonce is over.
    pub fn was_bound(&self, address: SocketAddrV4, nonce: &[u8]) -> bool {
        let over = |l: &&Login| l.until < Nanos(u64::MAX);
        let mut logins = self.logins.iter().filter(over);
        logins.any(|l| l.address == address && l.event.client_nonce[..] == *nonce)
    }

    /// When the end of the day ended the login from `address` with this nonce, if that was the only one.
    pub fn was_served(&self, address: SocketAddrV4, nonce: &[u8]) -> Option<Nanos> {
        let last = self.logins.last().filter(|login| self.served_since.is_some() && !login.dead)?;
        let same = |l: &&Login| l.address == address && l.event.client_nonce[..] == *nonce;
        let only = same(&last) && self.logins.iter().filter(same).count() == 1;
        only.then_some(last.until)
    }

    /// The client's time in its last login up to `at`, ns; 0 before the first.
    pub fn login_time(&self, at: Nanos) -> u64 {
        let login = self.logins.iter().rev().find(|l| l.from <= at);
        login.map_or(0, |l| l.event.login_time.0)
    }

    /// Which session.
    pub fn slot(&self) -> SessionSlot {
        self.slot
    }
}

impl Login {
    /// Longest time between two heartbeats, ns.
    fn idle_ns(&self) -> u64 {
        (self.event.dead_time_ms as u64 * 1_000_000 / 5).clamp(1_000_000, 1_000_000_000)
    }

    /// A request of 20 bytes, with a right MAC where there is one.
    fn opens(&self, bytes: &[u8]) -> bool {
        match &self.keys {
            None => bytes.len() == 20,
            Some(keys) => bytes.split_last_chunk::<8>().is_some_and(|(body, tag)| {
                let right = session::packet_tag(&keys.client, body).to_be_bytes() == *tag;
                right && body.len() == 20
            }),
        }
    }
}

fn is_accepted(blocks: &[&[u8]]) -> bool {
    matches!(blocks, [block] if block.len() == 104 && block[0] == b'A')
}
