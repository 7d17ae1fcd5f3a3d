//! The feed, seen from outside: what left on the lines and as repair under which number.
//!
//! Consumes the events of the log that say something on the feed, and the datagrams of publisher and
//! retransmitter; produces what contradicts.

use super::bytes::{self, packet};
use super::live::Live;
use super::rhythm::Rhythm;
use super::stream::{Stream, hex};
use super::{Faults, Sent};
use crate::exchange::event::{Event, EventBody};
use crate::types::*;

/// Count of an end of session.
const END: u16 = 0xFFFF;
/// It follows the last message within so long.
const END_NS: u64 = 60_000_000;

/// Where a datagram of the feed went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FeedPath {
    /// Line A.
    A,
    /// Line B.
    B,
    /// An answer of the repair service.
    Repair,
}

/// The feed of a day.
pub struct FeedWatch {
    name: [u8; 10],
    /// Messages by number.
    pub messages: Stream,
    /// Command of each message.
    commands: Vec<u64>,
    /// Which messages left on A, on B.
    left: [Vec<bool>; 2],
    rhythm: [Rhythm; 2],
    quiet: bool,
    ended: bool,
    /// Since when each line owes the end of session.
    end_owed: [Option<Nanos>; 2],
    live: [Live; 2],
}

impl FeedWatch {
    /// Nothing seen yet.
    pub fn new(name: SessionName) -> FeedWatch {
        FeedWatch {
            name: name.0,
            messages: Stream::default(),
            commands: Vec::new(),
            left: Default::default(),
            rhythm: Default::default(),
            quiet: false,
            ended: false,
            end_owed: [None; 2],
            live: Default::default(),
        }
    }

    /// An event of the log. `on_time`: its times are the world's.
    pub fn on_event(
        &mut self,
        event: &Event,
        time: Nanos,
        (midnight, on_time): (Nanos, bool),
        faults: &mut Faults,
    ) {
        let message = bytes::message(event, time.since(midnight));
        if message.is_some() != (event.head.feed != 0) {
            faults.add("an event is on the feed or is not", format!("{event:?}"));
        }
        let Some(bytes) = message else { return };
        let next = self.messages.told() + 1;
        if event.head.feed != next {
            let what = format!("expected {next}, got {event:?}");
            faults.add("feed numbers leave a gap", what);
        }
        if let Err(what) = self.messages.tell(bytes) {
            faults.add("a feed message left with other bytes", what);
        }
        self.commands.push(event.head.command.0);
        if on_time {
            self.live.iter_mut().for_each(|line| line.owe(time, event.head.feed));
        }
        if matches!(event.body, EventBody::System(s) if s.code == b'C') {
            self.ended = true;
            self.end_owed = [Some(time); 2];
        }
    }

    /// Publisher or retransmitter sent something. False: it is another session's.
    pub fn on_sent(
        &mut self,
        sent: &Sent,
        path: FeedPath,
        disk: bool,
        faults: &mut Faults,
    ) -> bool {
        let Some((head, blocks)) = packet(&sent.bytes) else {
            faults.at("sent something that is no packet", hex(&sent.bytes), sent.at);
            return true;
        };
        if head.session != self.name {
            return false;
        }
        for (block, number) in blocks.iter().zip(head.sequence..) {
            if let Err(what) = self.messages.see(number, block) {
                faults.at(
                    "two contents under one feed number",
                    format!("{path:?}: {what}"),
                    sent.at,
                );
            }
            let command = self.commands.get((number as usize).wrapping_sub(1)).copied();
            if disk && command.is_some_and(|c| c > sent.archived) {
                let (command, archived) = (command.unwrap_or(0), sent.archived);
                let what =
                    format!("{path:?}: message {number} of command {command}, archived {archived}");
                faults.at("something left before its commit", what, sent.at);
            }
            let line = match path {
                FeedPath::A => &mut self.left[0],
                FeedPath::B => &mut self.left[1],
                FeedPath::Repair => {
                    self.repaired_before_all(number, sent, faults);
                    continue;
                }
            };
            let at = (number as usize).wrapping_sub(1);
            if at < 1 << 28 {
                if line.len() <= at {
                    line.resize(at + 1, false);
                }
                line[at] = true;
            }
        }
        if let Some(line) = (path != FeedPath::Repair).then_some(path as usize) {
            self.on_line(line, head.sequence, blocks.len() as u64, sent, faults);
        }
        if head.count == END {
            match path {
                FeedPath::A => self.end_owed[0] = None,
                FeedPath::B => self.end_owed[1] = None,
                FeedPath::Repair => {}
            }
        }
        if blocks.is_empty() && head.sequence > self.messages.told() + 1 {
            let (next, told) = (head.sequence, self.messages.told());
            let what = format!("{path:?} says next {next}, the log has {told} messages");
            faults.at("a heartbeat is ahead of the log", what, sent.at);
        }
        true
    }

    /// A packet of a line: a heartbeat is not behind what left, and no command is split over two packets
    /// unless it begins one (feed.md).
    fn on_line(&mut self, line: usize, first: u64, count: u64, sent: &Sent, faults: &mut Faults) {
        let name = ["A", "B"][line];
        if count == 0 {
            let left = self.left[line].len() as u64;
            if first <= left {
                let what = format!("line {name} says next {first}, message {left} had left");
                faults.at("a heartbeat is behind what left", what, sent.at);
            }
            return;
        }
        self.live[line].left(first, first + count - 1);
        let command = |number: u64| self.commands.get((number as usize).wrapping_sub(1)).copied();
        let (last, next) = (command(first + count - 1), command(first + count));
        if last.is_some() && last == next && command(first) != last {
            let what = format!("line {name}: {count} messages from {first}, command {last:?}");
            faults.at("a command is split over two packets", what, sent.at);
        }
    }

    /// True for this feed's name.
    pub fn is_named(&self, session: &[u8; 10]) -> bool {
        *session == self.name
    }

    /// Last message that left on both lines.
    pub fn left_on_both(&self) -> u64 {
        self.left[0].len().min(self.left[1].len()) as u64
    }

    /// Nobody hears a message privately before it left for all.
    fn repaired_before_all(&self, number: u64, sent: &Sent, faults: &mut Faults) {
        let at = (number as usize).wrapping_sub(1);
        if !self.left.iter().all(|line| line.get(at) == Some(&true)) {
            let what = format!("message {number} had not left on both lines");
            faults.at("repaired before it left", what, sent.at);
        }
    }

    /// Everything is over: each message left on both lines.
    pub fn finish(&self, faults: &mut Faults) {
        for (line, name) in self.left.iter().zip(["A", "B"]) {
            let told = self.messages.told() as usize;
            let missing = (0..told).find(|&at| line.get(at) != Some(&true));
            if let Some(at) = missing {
                let what = format!("line {name}: message {} of {told} never left", at + 1);
                faults.add("a feed message never left", what);
            }
        }
    }

    /// Heartbeats of both lines, judged up to `now`. `sends`: time, line B?, with messages?
    pub fn judge_rhythm(
        &mut self,
        sends: &[(Nanos, bool, bool)],
        since: Nanos,
        now: Nanos,
        faults: &mut Faults,
    ) {
        for (live, name) in self.live.iter_mut().zip(["line A", "line B"]) {
            live.until(now, "a feed message did not leave", name, faults);
        }
        for (owed, name) in self.end_owed.iter_mut().zip(["A", "B"]) {
            if let Some(since) = *owed
                && now > since.plus(END_NS)
            {
                *owed = None;
                if !faults.stalled(since, since.plus(END_NS)) {
                    let what = format!("line {name}: the last message is of {}", since.0);
                    faults.at("the feed's end was not told", what, now);
                }
            }
        }
        if self.quiet {
            return;
        }
        for (line, name) in [(0, "line A"), (1, "line B")] {
            let rhythm = &mut self.rhythm[line];
            rhythm.start(since, 1_000_000_000, true);
            for &(at, b, message) in sends {
                if b as usize == line {
                    rhythm.on(at, message, name, faults);
                }
            }
            if !self.ended {
                rhythm.until(now, name, faults);
            }
        }
        // The last message was told: nobody has to be told anything more.
        self.quiet = self.ended;
    }

    /// The exchange was away: silence until now is nobody's fault.
    pub fn excuse(&mut self, now: Nanos) {
        // An ended day that is served again says so again.
        self.end_owed = [self.ended.then_some(now); 2];
        self.live.iter_mut().for_each(Live::up);
        for rhythm in &mut self.rhythm {
            rhythm.excuse(now);
        }
    }
}
