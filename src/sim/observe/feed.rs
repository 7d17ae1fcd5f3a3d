//! The feed, seen from outside: what left on the lines and as repair under which number.
//!
//! Consumes the events of the log that say something on the feed, and the datagrams of publisher and
//! retransmitter; produces what contradicts.

use super::bytes::{self, packet};
use super::live::Live;
use super::rhythm::{Beats, Ends, Rhythm};
use super::stream::{Stream, hex};
use super::{Faults, Sent};
use crate::exchange::event::{Event, EventBody};
use crate::types::*;

/// Longest packet.
const PACKET_BYTES: usize = 1_400;
/// Messages that are sent again after a start, at least.
const RESENT: u64 = 1_024;
/// Count of an end of session.
const END: u16 = 0xFFFF;
/// A message was heard of within so long: the world runs so much longer when all is healed.
const HEARD_NS: u64 = 600_000_000;
/// Another session was taken up by then: it is not before the one before was silent for 3 s.
const TAKEN_UP_NS: u64 = 4_500_000_000;
/// Time from one heartbeat of an idle line to the next.
const IDLE_NS: u64 = 1_000_000_000;
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
    /// When each left last.
    left_at: Vec<Nanos>,
    rhythm: [Rhythm; 2],
    beats: [Beats; 2],
    /// The datagram that left on one line and not yet on the other.
    half: Option<(usize, Vec<u8>)>,
    /// The line that had the last datagram first.
    first_on: Option<usize>,
    /// First messages that may leave next, after a start.
    resumes: Vec<u64>,
    quiet: bool,
    ended: bool,
    /// Since when each line owes the end of session.
    end_owed: [Option<Nanos>; 2],
    ends: [Ends; 2],
    /// The end of session left on A, on B.
    end_left: [bool; 2],
    /// When this life of the exchange said it first.
    end_told: Option<Nanos>,
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
            left_at: Vec::new(),
            rhythm: [Rhythm::of("publisher"), Rhythm::of("publisher")],
            beats: Default::default(),
            half: None,
            first_on: None,
            resumes: Vec::new(),
            quiet: false,
            ended: false,
            end_owed: [None; 2],
            ends: Default::default(),
            end_left: [false; 2],
            end_told: None,
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
            self.end_owed = [on_time.then_some(time); 2];
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
                if self.left_at.len() <= at {
                    self.left_at.resize(at + 1, sent.at);
                }
                self.left_at[at] = sent.at;
            }
        }
        if let Some(line) = (path != FeedPath::Repair).then_some(path as usize) {
            self.on_line(line, head.sequence, blocks.len() as u64, sent, faults);
            self.on_beat(line, head.count, sent, faults);
        }
        if head.count == END && path != FeedPath::Repair {
            self.end_owed[path as usize] = None;
            self.end_left[path as usize] = true;
            self.end_told.get_or_insert(sent.at);
            self.ends[path as usize].on(sent.at, "the feed", faults);
        }
        if blocks.is_empty() && head.sequence > self.messages.told() + 1 {
            let (next, told) = (head.sequence, self.messages.told());
            let what = format!("{path:?} says next {next}, the log has {told} messages");
            faults.at("a heartbeat is ahead of the log", what, sent.at);
        }
        true
    }

    /// Heartbeats are no more than feed.md says. The first end of session leaves at once.
    fn on_beat(&mut self, line: usize, count: u16, sent: &Sent, faults: &mut Faults) {
        let beats = &mut self.beats[line];
        match count {
            0 => {
                if let Some(early) = beats.heartbeat(sent.at, IDLE_NS) {
                    let what = format!("line {}: {} us", ["A", "B"][line], early / 1_000);
                    faults.at("a heartbeat is too early", what, sent.at);
                }
            }
            END => beats.restart(),
            _ => beats.message(sent.at),
        }
    }

    /// Both lines have the same, and take turns in having it first (feed.md).
    fn on_pair(&mut self, line: usize, sent: &Sent, faults: &mut Faults) {
        let Some((first_on, bytes)) = self.half.take() else {
            self.half = Some((line, sent.bytes.clone()));
            return;
        };
        if first_on == line || bytes != sent.bytes {
            let what =
                format!("{} on line {first_on}, {} on {line}", hex(&bytes), hex(&sent.bytes));
            faults.at("A and B are not the same", what, sent.at);
        }
        if self.first_on.replace(first_on) == Some(first_on) {
            let what = format!("line {first_on}: {}", hex(&bytes));
            faults.at("one line is first twice", what, sent.at);
        }
    }

    /// A packet of a line: a heartbeat is not behind what left, no command is split over two packets
    /// unless it fills one, and after a start the last messages come again (feed.md).
    fn on_line(&mut self, line: usize, first: u64, count: u64, sent: &Sent, faults: &mut Faults) {
        let name = ["A", "B"][line];
        self.on_pair(line, sent, faults);
        if count == 0 {
            let left = self.left[line].len() as u64;
            if first <= left {
                let what = format!("line {name} says next {first}, message {left} had left");
                faults.at("a heartbeat is behind what left", what, sent.at);
            }
            return;
        }
        let may = std::mem::take(&mut self.resumes);
        if !may.is_empty() && !may.contains(&first) {
            let what = format!("line {name}: {first} is the first, {may:?} may be");
            faults.at("the feed goes on elsewhere after a start", what, sent.at);
        }
        self.live[line].left(first, first + count - 1);
        let command = |number: u64| self.commands.get((number as usize).wrapping_sub(1)).copied();
        let (last, next) = (command(first + count - 1), command(first + count));
        let room = self
            .messages
            .get(first + count)
            .is_some_and(|message| sent.bytes.len() + 2 + message.len() <= PACKET_BYTES);
        if last.is_some() && last == next && (command(first) != last || room) {
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

    /// The message that a subscriber who is at `last` of `session` should have heard long ago.
    /// Until `healed` somebody may have kept an old session alive with packets of it.
    pub fn unheard(
        &self,
        (session, last): (SessionName, u64),
        healed: Nanos,
        now: Nanos,
    ) -> Option<u64> {
        let (last, since, wait) = match self.is_named(&session.0) {
            true => (last, Nanos(0), HEARD_NS),
            false => (0, healed, TAKEN_UP_NS),
        };
        let left = *self.left_at.get(last as usize)?;
        (now > left.max(since).plus(wait)).then_some(last + 1)
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

    /// The day was closed: its end left on both lines, however late.
    pub fn close(&self, faults: &mut Faults) {
        for (left, name) in self.end_left.iter().zip(["A", "B"]) {
            if !left {
                faults.add("a day was closed before its end was told", format!("line {name}"));
            }
        }
    }

    /// When this life of the exchange said the end of session first.
    pub fn end_told(&self) -> Option<Nanos> {
        self.end_told
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
            rhythm.start(since, IDLE_NS, true);
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

    /// The end of a day is said every second, judged up to `now`, when it still ran.
    pub fn judge_ends(&mut self, now: Nanos, faults: &mut Faults) {
        for ends in &mut self.ends {
            ends.until(now, "the feed", faults);
        }
    }

    /// The exchange was away: silence until now is nobody's fault.
    pub fn excuse(&mut self, now: Nanos, power_lost: bool) {
        let told = self.messages.told();
        let resent = (told + 1).saturating_sub(RESENT).max(1);
        let next = resent.min(self.left_on_both() + 1);
        // With the machine's memory goes the note of what had left. Where a life began that sent nothing is
        // what it noted.
        self.resumes.extend([next, if power_lost { resent } else { next }]);
        (self.half, self.first_on) = (None, None);
        self.beats.iter_mut().for_each(Beats::restart);
        // An ended day that is served again says so again.
        self.end_owed = [self.ended.then_some(now); 2];
        self.ends.iter_mut().for_each(Ends::restart);
        self.end_told = None;
        self.live.iter_mut().for_each(Live::up);
        for rhythm in &mut self.rhythm {
            rhythm.excuse(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::{GROUP_A, GROUP_B, REPAIR};

    /// Heartbeats on these lines, a second apart; the rules that they break.
    fn broken(lines: &[FeedPath], next: impl Fn(usize) -> u64) -> Vec<&'static str> {
        let (mut feed, mut faults) = (FeedWatch::new(Alpha(*b"RIALTOA002")), Faults::default());
        for (number, &path) in lines.iter().enumerate() {
            let mut bytes = b"RIALTOA002".to_vec();
            bytes.extend(next(number).to_be_bytes());
            bytes.extend([0; 2]);
            let at = Nanos((number as u64 / 2 + 1) * IDLE_NS);
            let peer = if path == FeedPath::A { GROUP_A } else { GROUP_B };
            let sent = Sent { at, local: REPAIR, peer, bytes, archived: 0 };
            assert!(feed.on_sent(&sent, path, false, &mut faults));
        }
        faults.found.iter().map(|fault| fault.rule).collect()
    }

    #[test]
    fn lines_have_the_same_and_take_turns() {
        use FeedPath::{A, B};
        assert_eq!(broken(&[A, B, B, A, A, B], |_| 1), [""; 0]);
        assert_eq!(broken(&[A, B, A, B], |_| 1), ["one line is first twice"]);
        // A heartbeat is lost on B: the next one of A takes its place.
        assert_eq!(broken(&[A, A], |_| 1)[0], "A and B are not the same");
    }
}
