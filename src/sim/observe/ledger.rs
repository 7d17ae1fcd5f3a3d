//! Ledger: both logs of a day as another process reads them, held against the naive exchange.
//!
//! Consumes a [`DayView`] again and again; produces, for each new command and event, what
//! contradicts: a record that changed or vanished, numbers that leave a gap, events that the naive
//! model does not make of the commands, links, holds, state hashes.

use super::Faults;
use super::probe::probe;
use crate::exchange::command::{Command, MessageBody};
use crate::exchange::event::{Event, EventHead};
use crate::exchange::genesis::Genesis;
use crate::exchange::{Exchange, Naive};
use crate::store::{DayView, LogIndex};
use crate::subscriber::BookDigest;
use crate::types::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A record as it was read first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Time in its head.
    pub time: Nanos,
    /// Kind.
    pub kind: u16,
    /// Payload.
    pub payload: Box<[u8]>,
    /// Where it stands.
    pub position: u64,
}

/// Messages whose bodies are tried again on copies of the models.
const RECENT: usize = 64;

/// The logs of one day.
#[derive(Default)]
pub struct Ledger {
    /// Commands from number 1.
    pub commands: Vec<Kept>,
    /// Events from number 1.
    pub events: Vec<Kept>,
    /// The day's first record.
    pub genesis: Option<Genesis>,
    models: Option<Models>,
    /// Events that the commands make and the event log does not show yet.
    expected: VecDeque<(Nanos, Event)>,
    /// Position of the last report of each session.
    previous: Vec<u64>,
    /// State hashes told by the engine, by command.
    told_hashes: BTreeMap<u64, u64>,
    /// Digests of the naive books: last feed number -> digest.
    pub digests: BTreeMap<u64, u64>,
    feed: u64,
    digest_at: u64,
    /// Bodies of the last messages.
    recent: VecDeque<MessageBody>,
    /// Commands that are applied as void.
    voids: BTreeSet<u64>,
    /// The model cannot go on after a difference.
    broken: bool,
}

/// The naive exchange and a fast one of our own.
struct Models {
    naive: Naive,
    fast: Exchange,
}

impl Models {
    /// The fast exchange goes on from its own snapshot: what a snapshot forgets shows from here on.
    /// Returns a copy of it.
    fn go_through_a_snapshot(&mut self) -> Result<Exchange, String> {
        let mut bytes = Vec::new();
        self.fast.save(&mut bytes);
        let genesis = self.naive.genesis();
        let restore = || Exchange::restore(genesis, &bytes).map_err(|error| error.to_string());
        self.fast = restore()?;
        restore()
    }
}

impl Ledger {
    /// Reads what is new in the command log and hands each command with the events that the naive
    /// model makes of it, and whether it wants Continue then, to `on_command`.
    pub fn read_commands(
        &mut self,
        view: &DayView,
        faults: &mut Faults,
        mut on_command: impl FnMut(u64, &Kept, &Command<'_>, (&[Event], bool), &mut Faults),
    ) {
        let fresh = self.read(view, LogIndex::Command, faults);
        for seq in fresh {
            if self.broken {
                return;
            }
            let kept = self.commands[seq as usize - 1].clone();
            let Some(command) = Command::decode(kept.kind, &kept.payload) else {
                faults.add("a command cannot be read", format!("command {seq}: {kept:?}"));
                continue;
            };
            let made = self.apply(seq, kept.time, &command, faults);
            let wanted = self.naive().is_some_and(Naive::continue_wanted);
            on_command(seq, &kept, &command, (&made, wanted), faults);
            self.expected.extend(made.into_iter().map(|event| (kept.time, event)));
        }
    }

    /// Reads what is new in the event log and hands each event to `on_event`.
    pub fn read_events(
        &mut self,
        view: &DayView,
        faults: &mut Faults,
        mut on_event: impl FnMut(u64, &Kept, &Event, &mut Faults),
    ) {
        let fresh = self.read(view, LogIndex::Event, faults);
        for seq in fresh {
            let kept = &self.events[seq as usize - 1];
            let Some(event) = Event::decode(kept.kind, &kept.payload) else {
                faults.add("an event cannot be read", format!("event {seq}: {kept:?}"));
                continue;
            };
            match self.expected.pop_front() {
                _ if self.broken => {}
                None => faults.add(
                    "an event without a command",
                    format!("event {seq}: {event:?}, commands end at {}", self.commands.len()),
                ),
                Some((time, expected)) => {
                    let bare = Event { head: EventHead { previous: 0, ..event.head }, ..event };
                    if bare != expected || time != kept.time {
                        self.broken = true;
                        faults.add(
                            "events are not what the naive exchange makes",
                            format!(
                                "event {seq} at {}: expected {expected:?} at {}, got {bare:?}",
                                kept.time.0, time.0
                            ),
                        );
                    }
                }
            }
            if event.head.report != 0
                && let Some(previous) = self.previous.get_mut(event.head.session.0 as usize)
            {
                if event.head.previous != *previous {
                    faults.add(
                        "a report is not linked to the one before",
                        format!(
                            "event {seq}, session {}, report {}: expected {previous}, got {}",
                            event.head.session.0, event.head.report, event.head.previous
                        ),
                    );
                }
                *previous = kept.position;
            }
            on_event(seq, kept, &event, faults);
        }
    }

    /// This command, which was not read yet, is void.
    pub fn void(&mut self, command: u64) {
        self.voids.insert(command);
    }

    /// The engine told this hash.
    pub fn told_hash(&mut self, seq: u64, hash: u64, faults: &mut Faults) {
        let before = self.told_hashes.insert(seq, hash);
        let naive = self.naive().filter(|_| seq == self.commands.len() as u64);
        let naive = naive.map_or(hash, Naive::state_hash);
        if naive != hash {
            let what = format!("command {seq}: naive {naive:x}, engine {hash:x}");
            faults.add("state hashes differ", what);
        }
        if before.is_some_and(|before| before != hash) {
            faults.add(
                "two state hashes after one command",
                format!("command {seq}: {before:x?} and {hash:x}"),
            );
        }
    }

    /// The naive exchange after the last command read.
    pub fn naive(&self) -> Option<&Naive> {
        self.models.as_ref().filter(|_| !self.broken).map(|m| &m.naive)
    }

    /// Events that the event log still owes.
    pub fn owed(&self) -> usize {
        self.expected.len()
    }

    /// Reads a log from its first record: what was read before must stand there unchanged. Returns
    /// the numbers that are new.
    fn read(
        &mut self,
        view: &DayView,
        log: LogIndex,
        faults: &mut Faults,
    ) -> std::ops::RangeInclusive<u64> {
        let (known, name) = match log {
            LogIndex::Command => (&mut self.commands, "command"),
            LogIndex::Event => (&mut self.events, "event"),
        };
        let first = known.len() as u64 + 1;
        let mut reader = match view.log(log).reader() {
            Ok(reader) => reader,
            Err(error) => {
                faults.add("a log cannot be opened", format!("{name}: {error}"));
                return first..=first - 1;
            }
        };
        let (mut at, mut time_before) = (0u64, Nanos(0));
        loop {
            let record = match reader.next() {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(error) => {
                    faults.add("a log cannot be read", format!("{name} {}: {error}", at + 1));
                    return first..=known.len() as u64;
                }
            };
            at += 1;
            if time_before > record.time {
                let what = format!("{name} {at}: {} after {}", record.time.0, time_before.0);
                faults.add("time in a log runs back", what);
            }
            time_before = record.time;
            if record.seq.0 != at {
                let got = record.seq.0;
                faults.add("log numbers leave a gap", format!("{name}: expected {at}, got {got}"));
                return first..=known.len() as u64;
            }
            let (time, kind, position) = (record.time, record.kind, record.position);
            match known.get(at as usize - 1) {
                None => {
                    let payload = record.payload.into();
                    known.push(Kept { time, kind, payload, position });
                }
                Some(kept) => {
                    let same = *kept.payload == *record.payload
                        && (kept.time, kept.kind, kept.position) == (time, kind, position);
                    if !same {
                        let got = super::stream::hex(record.payload);
                        let what = format!("{name} {at}: was {kept:?}, is kind {kind} {got}");
                        faults.add("a committed record changed", what);
                        return first..=known.len() as u64;
                    }
                }
            }
        }
        if at + 1 < first {
            let what = format!("{name}: {} were committed, {at} are left", first - 1);
            faults.add("committed records vanished", what);
        }
        first..=known.len() as u64
    }

    /// Both models do the command; they must agree.
    fn apply(
        &mut self,
        seq: u64,
        time: Nanos,
        command: &Command<'_>,
        faults: &mut Faults,
    ) -> Vec<Event> {
        if self.models.is_none() {
            self.begin(seq, command, faults);
        }
        let Some(models) = &mut self.models else { return Vec::new() };
        let (mut made, mut fast) = (Vec::new(), Vec::new());
        if self.voids.contains(&seq) {
            models.naive.apply_void(Seq(seq), time, command, &mut made);
            models.fast.apply_void(Seq(seq), time, command, &mut fast);
        } else {
            models.naive.apply(Seq(seq), time, command, &mut made);
            models.fast.apply(Seq(seq), time, command, &mut fast);
        }
        if made != fast {
            let at = made.iter().zip(&fast).position(|(a, b)| a != b);
            let at = at.unwrap_or(made.len().min(fast.len()));
            self.broken = true;
            faults.add(
                "replay is not what the naive exchange makes",
                format!(
                    "command {seq} {command:?}, event {at}: expected {:?}, got {:?}",
                    made.get(at),
                    fast.get(at)
                ),
            );
            return made;
        }
        let told = self.told_hashes.get(&seq).copied();
        if told.is_some() || seq.is_multiple_of(64) {
            models.naive.check();
            models.fast.check();
            let (naive, fast) = (models.naive.state_hash(), models.fast.state_hash());
            if naive != fast || told.is_some_and(|told| told != naive) {
                self.broken = true;
                faults.add(
                    "state hashes differ",
                    format!("command {seq}: naive {naive:x}, replay {fast:x}, engine {told:x?}"),
                );
            }
        }
        if let Command::Message(_, body) = command {
            self.recent.truncate(RECENT - 1);
            self.recent.push_front(*body);
        }
        if seq.is_multiple_of(128) {
            match models.go_through_a_snapshot() {
                Ok(copy) if self.recent.len() == RECENT => {
                    let recent = self.recent.make_contiguous();
                    if let Err(what) = probe(models.naive.clone(), copy, recent, (seq, time)) {
                        self.broken = true;
                        faults.add("the exchange breaks a rule", what);
                    }
                }
                Ok(_) => {}
                Err(what) => {
                    self.broken = true;
                    let what = format!("after command {seq}: {what}");
                    faults.add("a snapshot cannot be taken up", what);
                }
            }
        }
        self.note_digest(&made);
        made
    }

    fn begin(&mut self, seq: u64, command: &Command<'_>, faults: &mut Faults) {
        let Command::Genesis(bytes) = command else {
            return faults.add("the first command is no Genesis", format!("{seq}: {command:?}"));
        };
        let made = Genesis::decode(bytes).and_then(|genesis| {
            let models = Models { naive: Naive::new(&genesis)?, fast: Exchange::new(&genesis)? };
            Ok((genesis, models))
        });
        match made {
            Ok((genesis, models)) => {
                self.previous = vec![0; genesis.sessions.len()];
                self.genesis = Some(genesis);
                self.models = Some(models);
            }
            Err(error) => faults.add("Genesis cannot be used", error.to_string()),
        }
    }

    /// Mirrors take a digest at the first end of a command after every `DIGEST_EVERY` messages.
    fn note_digest(&mut self, made: &[Event]) {
        let feed = made.iter().map(|e| e.head.feed).max().unwrap_or(0);
        self.feed = self.feed.max(feed);
        if feed == 0 || self.feed / super::DIGEST_EVERY == self.digest_at {
            return;
        }
        self.digest_at = self.feed / super::DIGEST_EVERY;
        self.digest_now();
    }

    /// Digest of the books after the last command read.
    pub fn digest_now(&mut self) {
        let Some(models) = &self.models else { return };
        let mut digest = BookDigest::default();
        for (i, _) in models.naive.genesis().symbols.iter().enumerate() {
            let locate = Locate(i as u16 + 1);
            for side in [Side::Buy, Side::Sell] {
                for o in models.naive.orders(locate, side) {
                    digest.order(locate, side, o.price, o.order_ref, o.open);
                }
            }
        }
        self.digests.insert(self.feed, digest.finish());
    }
}
