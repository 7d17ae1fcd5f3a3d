//! Arbitration: packets of both lines and of repair in, every message once and in order out.
//!
//! Consumes datagrams with the line they came on; produces calls of a [`FeedListener`] and repair
//! requests. Every number from the next one to deliver up to the highest one known is either kept
//! in the window or stands in the set of holes. Must not know sockets or ITCH.

use super::holes::{Hole, Holes};
use super::repair::{Ask, RepairOptions, Requests};
use super::window::{Stored, Window};
use crate::types::{Nanos, SessionName};
use crate::wire::mold::{self, Packet};

/// Where a datagram came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Line {
    /// Multicast line A.
    A,
    /// Multicast line B.
    B,
    /// Unicast answer of a repair server.
    Repair,
}

/// What a subscriber gets. All calls come from `poll`, in the order of the feed.
pub trait FeedListener {
    /// The next message, without gap or repetition. `end_of_packet`: it was the last of its packet
    /// as sent (then a command of the exchange ends here, unless it filled whole packets), or the
    /// last one known of when it came by repair.
    fn on_message(&mut self, sequence: u64, payload: &[u8], end_of_packet: bool);

    /// A session begins: the first one heard, or the next day's. Numbers start again.
    fn on_session(&mut self, _session: SessionName) {}

    /// Messages `from .. from + count` will never come: repair was impossible for the stated time.
    /// What was built from the feed is wrong from here on.
    fn on_lost(&mut self, _from: u64, _count: u64) {}

    /// The exchange ended the session and every message before `next` was delivered.
    fn on_end(&mut self, _next: u64) {}
}

impl<F: FnMut(u64, &[u8], bool)> FeedListener for F {
    fn on_message(&mut self, sequence: u64, payload: &[u8], end_of_packet: bool) {
        self(sequence, payload, end_of_packet);
    }
}

/// How a subscriber listens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FeedOptions {
    /// Session to follow. `None`: the first one heard, and the next one once that has ended or has
    /// been silent for 3 s.
    pub session: Option<SessionName>,
    /// First message wanted; what was sent before one joined comes by repair. 0 = from now on.
    pub from: u64,
    /// Messages kept while an earlier one is missing, 64 bytes each, taken only when needed. The
    /// default (2^21) holds 7 s of the stated peak of 280,000 messages a second.
    pub window_messages: u64,
    /// Repair.
    pub repair: RepairOptions,
    /// A message is given up as lost when it has been missing for this long and no repair server
    /// gave anything for this long.
    pub give_up_ns: u64,
}

impl Default for FeedOptions {
    fn default() -> Self {
        FeedOptions {
            session: None,
            from: 1,
            window_messages: 1 << 21,
            repair: RepairOptions::default(),
            give_up_ns: 10_000_000_000,
        }
    }
}

/// What happened so far. Only ever counts up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FeedCounters {
    /// Messages delivered.
    pub messages: u64,
    /// Packets of line A, heartbeats included.
    pub packets_a: u64,
    /// Packets of line B, heartbeats included.
    pub packets_b: u64,
    /// Packets of repair servers.
    pub packets_repair: u64,
    /// Heartbeats and ends of session.
    pub heartbeats: u64,
    /// Times that messages were missing on both lines and had to be asked for, or given up.
    pub gaps: u64,
    /// Messages that came by repair.
    pub repaired: u64,
    /// Messages given up.
    pub lost: u64,
    /// Messages that had come before (the other line's copy).
    pub duplicates: u64,
    /// Messages dropped because they were too far ahead of a missing one; they are repaired later.
    pub refused: u64,
    /// Datagrams that are no MoldUDP64 packet.
    pub malformed: u64,
    /// Packets of another session.
    pub foreign: u64,
    /// Repair requests sent.
    pub requests: u64,
    /// Repair requests that were not answered in time.
    pub timeouts: u64,
}

/// With no packet of its session for this long a subscriber takes up another one: three heartbeats
/// of one second.
const SESSION_SILENCE_NS: u64 = 3_000_000_000;

/// A packet may not jump further ahead than this; one that does is damaged or hostile. 2^40
/// messages are more than a month at the stated peak.
const JUMP_MAX: u64 = 1 << 40;

/// Touching holes noticed within this time are one hole: the default wait before asking.
const JOIN_NS: u64 = 100_000;

/// The state of one followed feed.
pub struct Arbiter {
    options: FeedOptions,
    session: Option<SessionName>,
    previous: Option<SessionName>,
    last_heard: Nanos,
    /// Next number to deliver; 0 = from the first packet heard on.
    next: u64,
    /// One above the highest number known to exist.
    end: u64,
    /// Number in the end-of-session packet.
    final_next: Option<u64>,
    finished: bool,
    window: Window,
    holes: Holes,
    requests: Requests,
    last_progress: Nanos,
    counters: FeedCounters,
}

impl Arbiter {
    /// Nothing heard yet.
    pub fn new(options: FeedOptions) -> Arbiter {
        Arbiter {
            options,
            session: None,
            previous: None,
            last_heard: Nanos(0),
            next: options.from,
            end: options.from,
            final_next: None,
            finished: false,
            window: Window::new(options.window_messages),
            holes: Holes::default(),
            requests: Requests::new(options.repair),
            last_progress: Nanos(0),
            counters: FeedCounters::default(),
        }
    }

    /// What happened so far.
    pub fn counters(&self) -> FeedCounters {
        FeedCounters {
            requests: self.requests.sent,
            timeouts: self.requests.timeouts,
            ..self.counters
        }
    }

    /// Session followed, once one was heard.
    pub fn session(&self) -> Option<SessionName> {
        self.session
    }

    /// Number of the next message to be delivered; 0 before the first packet of a feed that is
    /// followed from now on.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Messages that are known to exist and have not come yet.
    pub fn missing(&self) -> u64 {
        self.holes.missing()
    }

    /// True when the session has ended and everything was delivered.
    pub fn finished(&self) -> bool {
        self.finished
    }

    /// Takes one datagram. Any bytes: what is no packet of this feed is counted and dropped.
    pub fn on_packet(
        &mut self,
        line: Line,
        now: Nanos,
        datagram: &[u8],
        listener: &mut impl FeedListener,
    ) {
        match line {
            Line::A => self.counters.packets_a += 1,
            Line::B => self.counters.packets_b += 1,
            Line::Repair => self.counters.packets_repair += 1,
        }
        let Ok((header, packet)) = mold::parse(datagram) else {
            self.counters.malformed += 1;
            return;
        };
        let count = if let Packet::Messages(_) = packet { u64::from(header.count) } else { 0 };
        let plausible = header.sequence.checked_add(count).is_some_and(|to| {
            let base = if self.next == 0 { header.sequence } else { self.next };
            header.sequence > 0 && to <= base.saturating_add(JUMP_MAX)
        });
        // A repair server answers what was asked for and nothing else.
        let unasked = line == Line::Repair
            && (count == 0 || header.sequence.saturating_add(count) > self.end);
        if !plausible || unasked || matches!(packet, Packet::Request) {
            self.counters.malformed += 1;
            return;
        }
        if !self.admit(header.session, line, now, listener) {
            self.counters.foreign += 1;
            return;
        }
        if self.next == 0 {
            (self.next, self.end) = (header.sequence, header.sequence);
        }
        match packet {
            Packet::Messages(blocks) => {
                self.on_messages(line, now, header.sequence, blocks, listener);
            }
            Packet::Heartbeat | Packet::EndOfSession | Packet::Request => {
                self.counters.heartbeats += 1;
                self.known_to(header.sequence, now, JOIN_NS);
                if let Packet::EndOfSession = packet {
                    self.final_next = Some(header.sequence);
                }
            }
        }
        self.finish_if_done(listener);
    }

    /// Whether a packet belongs to the feed followed. May begin another session.
    fn admit(
        &mut self,
        session: SessionName,
        line: Line,
        now: Nanos,
        listener: &mut impl FeedListener,
    ) -> bool {
        if self.session == Some(session) {
            if line != Line::Repair {
                self.last_heard = now;
            }
            return true;
        }
        if line == Line::Repair || self.options.session.is_some_and(|pinned| pinned != session) {
            return false;
        }
        if self.session.is_some() {
            let silent = now.since(self.last_heard) >= SESSION_SILENCE_NS;
            if self.previous == Some(session) || !(self.finished || silent) {
                return false;
            }
            self.leave(listener);
        }
        self.session = Some(session);
        self.last_heard = now;
        listener.on_session(session);
        true
    }

    /// Leaves a session; what is still missing of it can never be had again.
    fn leave(&mut self, listener: &mut impl FeedListener) {
        while let Some(hole) = self.holes.first() {
            self.lose(hole, listener);
        }
        self.previous = self.session;
        self.window.clear();
        self.holes.clear();
        self.requests.clear();
        (self.next, self.end) = (1, 1);
        self.final_next = None;
        self.finished = false;
    }

    /// Messages below `to` exist; they are missing since `now`, or since those before them when that is at
    /// most `join_ns` ago.
    fn known_to(&mut self, to: u64, now: Nanos, join_ns: u64) {
        if to > self.end {
            self.holes.push(self.end, to, now, join_ns);
            self.end = to;
        }
    }

    fn on_messages(
        &mut self,
        line: Line,
        now: Nanos,
        first: u64,
        blocks: mold::Blocks<'_>,
        listener: &mut impl FeedListener,
    ) {
        let to = first + blocks.len() as u64;
        if to <= self.next {
            self.counters.duplicates += blocks.len() as u64;
            return;
        }
        self.known_to(first, now, JOIN_NS);
        let mut fresh = 0;
        for (sequence, block) in (first..).zip(blocks) {
            if sequence < self.next {
                self.counters.duplicates += 1;
                continue;
            }
            let known = sequence < self.end;
            let last = if line == Line::Repair { self.end } else { to };
            let end_of_packet = sequence + 1 == last;
            if sequence == self.next {
                if known {
                    self.holes.fill(sequence, sequence + 1);
                }
                self.end = self.end.max(sequence + 1);
                self.next += 1;
                fresh += 1;
                self.counters.messages += 1;
                listener.on_message(sequence, block, end_of_packet);
                self.drain(listener);
                continue;
            }
            match self.window.store(self.next, sequence, block, end_of_packet) {
                Stored::Kept => {
                    fresh += 1;
                    if known {
                        self.holes.fill(sequence, sequence + 1);
                    }
                }
                Stored::Duplicate => self.counters.duplicates += 1,
                Stored::Refused => {
                    self.counters.refused += 1;
                    // However long that goes on, it is one hole: nothing waits for these alone.
                    self.known_to(sequence + 1, now, u64::MAX);
                }
            }
            self.end = self.end.max(sequence + 1);
        }
        if line == Line::Repair && fresh > 0 {
            self.counters.repaired += fresh;
            self.last_progress = now;
            self.requests.on_progress();
        }
    }

    /// Delivers what is in the window from the next number on.
    #[inline]
    fn drain(&mut self, listener: &mut impl FeedListener) {
        while let Some((payload, end_of_packet)) = self.window.take(self.next) {
            listener.on_message(self.next, payload, end_of_packet);
            self.counters.messages += 1;
            self.next += 1;
        }
    }

    fn finish_if_done(&mut self, listener: &mut impl FeedListener) {
        if !self.finished && self.final_next.is_some_and(|last| self.next >= last) {
            self.finished = true;
            listener.on_end(self.next);
        }
    }

    /// Gives up the lowest hole, which begins at the next number to deliver.
    fn lose(&mut self, hole: Hole, listener: &mut impl FeedListener) {
        debug_assert_eq!(hole.from, self.next, "the lowest hole begins at the next number");
        self.holes.fill(hole.from, hole.to);
        self.counters.gaps += u64::from(!hole.asked);
        self.counters.lost += hole.to - hole.from;
        self.next = hole.to;
        listener.on_lost(hole.from, hole.to - hole.from);
        self.drain(listener);
    }

    /// What time brings: repair requests that are due, and messages to be given up. Call it after
    /// the datagrams of a poll.
    pub fn tick(&mut self, now: Nanos, listener: &mut impl FeedListener, send: impl FnMut(Ask)) {
        if self.holes.is_empty() {
            self.last_progress = now;
            if self.requests.under_way() > 0 {
                self.requests.clear();
            }
            return;
        }
        if now.since(self.last_progress) >= self.options.give_up_ns {
            while let Some(hole) = self.holes.first()
                && now.since(hole.since) >= self.options.give_up_ns
            {
                self.lose(hole, listener);
            }
            self.finish_if_done(listener);
        }
        let limit = self.window.limit(self.next);
        self.counters.gaps += self.requests.plan(now, &mut self.holes, limit, send);
    }
}

#[cfg(test)]
mod tests;
