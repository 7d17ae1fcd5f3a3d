//! The day's logs against all evidence: reports and feed made again from the command log, record by
//! record, and the messages of the command log counted by the rules of the session (session.md 9).

use super::Faults;
use super::broker_file::BrokerFile;
use crate::cli::witness::evidence::{EvidenceReader, FIGURES};
use anyhow::Context;
use rialto::exchange::command::{Command, MessageBody, MessageHead, Verdict};
use rialto::exchange::event::{Event, EventBody};
use rialto::gateway::report_of;
use rialto::publisher::feed;
use rialto::replay::{Until, genesis, replay};
use rialto::store::{DayView, LogIndex, Reader};
use rialto::subscriber::{BookDigest, BookMirror, MirrorListener};
use rialto::types::*;
use rialto::wire::itch;
use rialto::wire::ouch::{Inbound, OUTBOUND_BYTES_MAX};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Figures of the comparison.
#[derive(Default)]
pub struct Told {
    /// Messages that their broker holds as applied and the log does not have.
    pub missing: u64,
    /// Messages that the log applied more than once, and repetitions that had an effect.
    pub doubled: u64,
    pub matches: u64,
    pub feed_messages: u64,
    pub gaps: u64,
    pub repaired: u64,
    pub copies: u64,
    pub commands: u64,
    pub events: u64,
    pub verified: u64,
    pub book_equal: bool,
    pub state_hash: u64,
}

pub fn audit(
    dir: &Path,
    partial: bool,
    brokers: &mut BTreeMap<String, BrokerFile>,
    subscribers: &[PathBuf],
    faults: &mut Faults,
) -> anyhow::Result<Told> {
    let view = DayView::open(dir).with_context(|| format!("{} is no day", dir.display()))?;
    let genesis = genesis(&view)?;
    let mut told = Told::default();
    let mut auditor = Auditor {
        partial,
        midnight: genesis.midnight,
        sessions: Vec::new(),
        subscribers: Vec::new(),
        commands: view.log(LogIndex::Command).reader()?,
        last: None,
        mirror: BookMirror::new(1 << 16),
        matches: Vec::new(),
        broken: None,
    };
    for spec in &genesis.sessions {
        let name = spec.user.text();
        let stream = match brokers.get(&name) {
            Some(file) => Some(Stream::open(&file.path, b'R')?),
            None => None,
        };
        auditor.sessions.push(Session { name, stream, ..Session::default() });
    }
    for name in brokers.keys() {
        if !genesis.sessions.iter().any(|s| s.user.text() == *name) {
            faults.add(|| format!("{name} has evidence and is no session of this day"));
        }
    }
    for path in subscribers {
        auditor.subscribers.push(Stream::open(path, b'F')?);
    }
    let replayed = replay(
        &view,
        Until::End,
        true,
        |time, event| auditor.event(time, event, brokers, &mut told, faults),
        |_| {},
    )?;
    auditor.catch_up(None, brokers, &mut told, faults);
    if let Some(error) = auditor.broken.take() {
        return Err(error);
    }
    told.commands = replayed.seq.0;
    (told.events, told.verified) = (replayed.events, replayed.verified);
    told.state_hash = replayed.exchange.state_hash();
    if told.verified != told.events {
        faults.add(|| format!("the event log lacks {} events", told.events - told.verified));
    }
    let covered = auditor.end(brokers, &mut told, faults);
    conclusions(brokers, &mut told, faults);
    if covered {
        auditor.pair_matches(brokers, faults);
    }
    told.matches = auditor.matches.iter().filter(|m| m.feed > 0).count() as u64;
    if !auditor.subscribers.is_empty() && !partial {
        let digest = book_digest(&replayed.exchange);
        told.book_equal = auditor.mirror.digest() == digest;
        if !told.book_equal {
            faults.add(|| "the book that the feed makes is not the book of the log".into());
        }
    }
    Ok(told)
}

/// The records of one letter of one file, one after the other.
struct Stream {
    name: String,
    reader: EvidenceReader,
    letter: u8,
    number: u64,
    bytes: Vec<u8>,
    /// The last record was taken.
    done: bool,
    /// The subscriber's figures.
    end: [u64; 6],
    /// Other records that are faults.
    lost: u64,
    conflicts: u64,
}

impl Stream {
    fn open(path: &Path, letter: u8) -> anyhow::Result<Stream> {
        let reader = EvidenceReader::open(path)?;
        let mut stream = Stream {
            name: reader.name.clone(),
            reader,
            letter,
            number: 0,
            bytes: Vec::new(),
            done: false,
            end: [0; 6],
            lost: 0,
            conflicts: 0,
        };
        stream.advance()?;
        Ok(stream)
    }

    fn advance(&mut self) -> anyhow::Result<()> {
        loop {
            let Some(record) = self.reader.next()? else {
                self.done = true;
                return Ok(());
            };
            match record.letter {
                letter if letter == self.letter => {
                    self.number = record.number(0);
                    self.bytes.clear();
                    self.bytes.extend_from_slice(record.rest(8));
                    return Ok(());
                }
                b'E' => {
                    for (i, figure) in self.end.iter_mut().enumerate() {
                        *figure = record.number(FIGURES + 8 * i);
                    }
                }
                b'Y' => self.lost += record.number(8),
                b'X' => self.conflicts += 1,
                _ => {}
            }
        }
    }

    /// Compares with what the log makes under `number`, and goes on. `began`: something of this
    /// stream was compared before. What stands before the first one is no fault of a stream that
    /// may begin in the middle.
    fn compare(
        &mut self,
        number: u64,
        bytes: &[u8],
        may_begin_later: bool,
        what: &str,
        faults: &mut Faults,
    ) -> anyhow::Result<()> {
        let name = &self.name;
        if self.done {
            faults.add(|| format!("{name} lacks {what} {number} of the log"));
        } else if self.number > number {
            if !may_begin_later {
                faults.add(|| format!("{name} lacks {what} {number} of the log"));
            }
        } else if self.number < number {
            let held = self.number;
            faults.add(|| format!("{name} holds {what} {held} twice, or the log lacks it"));
            self.advance()?;
        } else {
            if self.bytes != bytes {
                faults.add(|| format!("{name} holds another {what} {number} than the log"));
            }
            self.advance()?;
        }
        Ok(())
    }
}

/// A session by the rules of the session, not by the exchange.
#[derive(Default)]
struct Session {
    name: String,
    stream: Option<Stream>,
    generation: u32,
    /// Client sequence of the next message that is applied.
    next: u64,
    reports: u64,
    told: bool,
}

/// Match number: who heard of it, with how many shares.
#[derive(Clone, Copy, Default)]
struct Match {
    feed: u8,
    shares: u32,
    brokers: u8,
}

struct Auditor {
    partial: bool,
    midnight: Nanos,
    sessions: Vec<Session>,
    subscribers: Vec<Stream>,
    commands: Reader,
    /// The last command read: number, and whether it may have an effect.
    last: Option<(Seq, bool)>,
    mirror: BookMirror,
    matches: Vec<Match>,
    broken: Option<anyhow::Error>,
}

struct Nobody;
impl MirrorListener for Nobody {}

impl Auditor {
    fn event(
        &mut self,
        time: Nanos,
        event: &Event,
        brokers: &mut BTreeMap<String, BrokerFile>,
        told: &mut Told,
        faults: &mut Faults,
    ) {
        self.catch_up(Some(event.head.command), brokers, told, faults);
        let heard = event.head.report != 0 || event.head.feed != 0;
        if heard && self.last.is_some_and(|(_, may_act)| !may_act) {
            told.doubled += 1;
            let command = event.head.command.0;
            faults.add(|| format!("command {command} is a repetition and had an effect"));
        }
        if let Some(session) = self.sessions.get_mut(event.head.session.0 as usize) {
            match &event.body {
                EventBody::LoggedIn(login) => session.generation = login.generation,
                EventBody::SessionEnded(_) => session.generation = NOT_BOUND,
                _ => {}
            }
        }
        let done =
            self.reports(time, event, faults).and_then(|()| self.feed(time, event, told, faults));
        if let (Err(error), None) = (done, &self.broken) {
            self.broken = Some(error);
        }
    }

    fn reports(&mut self, time: Nanos, event: &Event, faults: &mut Faults) -> anyhow::Result<()> {
        let Some(report) = report_of(event, time.since(self.midnight)) else { return Ok(()) };
        let Some(session) = self.sessions.get_mut(event.head.session.0 as usize) else {
            return Ok(());
        };
        session.reports += 1;
        let mut bytes = [0; OUTBOUND_BYTES_MAX];
        let len = report.encode(&mut bytes);
        let number = event.head.report;
        match &mut session.stream {
            Some(stream) => stream.compare(number, &bytes[..len], self.partial, "report", faults),
            None => {
                // The first report of a day says that it began: a session that never came has it.
                if number > 1 && !self.partial && !std::mem::replace(&mut session.told, true) {
                    let name = &session.name;
                    faults.add(|| format!("{name} has reports and no evidence"));
                }
                Ok(())
            }
        }
    }

    fn feed(
        &mut self,
        time: Nanos,
        event: &Event,
        told: &mut Told,
        faults: &mut Faults,
    ) -> anyhow::Result<()> {
        let Some(message) = feed::message(event, time, self.midnight) else { return Ok(()) };
        let mut bytes = [0; 64];
        let len = message.encode(&mut bytes);
        told.feed_messages += 1;
        if let itch::Message::Executed(m) = &message {
            let entry = slot(&mut self.matches, m.match_number.0);
            entry.feed = entry.feed.saturating_add(1);
            entry.shares = m.quantity.0;
        }
        // The book is made of what the first subscriber holds.
        if let Some(first) = self.subscribers.first()
            && first.number == event.head.feed
            && !first.done
            && !self.partial
            && let Err(e) = self.mirror.apply(&first.bytes, false, &mut Nobody)
        {
            let number = first.number;
            faults.add(|| format!("the feed contradicts itself at message {number}: {e}"));
        }
        for stream in &mut self.subscribers {
            stream.compare(event.head.feed, &bytes[..len], self.partial, "message", faults)?;
        }
        Ok(())
    }

    /// Reads commands through `until`, all without it, and applies the session's rules to each.
    fn catch_up(
        &mut self,
        until: Option<Seq>,
        brokers: &mut BTreeMap<String, BrokerFile>,
        told: &mut Told,
        faults: &mut Faults,
    ) {
        while until.is_none_or(|until| self.last.is_none_or(|(seq, _)| seq < until)) {
            let record = match self.commands.next() {
                Ok(Some(record)) => record,
                Ok(None) => return,
                Err(error) => {
                    self.broken.get_or_insert(error.into());
                    return;
                }
            };
            let mut may_act = true;
            if let Some(Command::Message(head, body)) = Command::decode(record.kind, record.payload)
                && let Some(session) = self.sessions.get_mut(head.session.0 as usize)
            {
                may_act = session.applies(&head);
                if may_act && let Some(file) = brokers.get_mut(&session.name) {
                    // Before this evidence begins, the session's messages are somebody else's.
                    if !self.partial || head.client_seq >= file.first_sequence {
                        applied(file, &session.name, &head, &body, told, faults);
                    }
                }
            }
            self.last = Some((record.seq, may_act));
        }
    }

    /// All streams are at their ends; true when every session's whole day is in evidence.
    fn end(
        &mut self,
        brokers: &BTreeMap<String, BrokerFile>,
        told: &mut Told,
        faults: &mut Faults,
    ) -> bool {
        let mut covered = true;
        for session in &self.sessions {
            let Some(stream) = &session.stream else {
                covered &= session.reports <= 1;
                continue;
            };
            covered &= brokers.get(&session.name).is_some_and(|b| b.first_report <= 1);
            if !stream.done {
                let (name, number) = (&session.name, stream.number);
                faults.add(|| format!("{name} holds report {number}, which the log does not have"));
            }
        }
        for stream in &self.subscribers {
            let name = &stream.name;
            if !stream.done {
                let number = stream.number;
                faults
                    .add(|| format!("{name} holds message {number}, which the log does not have"));
            }
            let [_, missing, gaps, repaired, lost, copies] = stream.end;
            if missing + lost + stream.lost > 0 {
                faults.add(|| format!("{name}: {missing} messages missing, {lost} lost"));
            }
            if stream.conflicts > 0 {
                let n = stream.conflicts;
                faults.add(|| format!("{name}: {n} messages came with two contents"));
            }
            told.gaps += gaps;
            told.repaired += repaired;
            told.copies += copies;
        }
        covered
    }

    /// Each match: told to both sides and once on the feed, with the same shares.
    fn pair_matches(&mut self, brokers: &BTreeMap<String, BrokerFile>, faults: &mut Faults) {
        for (name, file) in brokers {
            for &(number, shares) in &file.executions {
                let entry = slot(&mut self.matches, number);
                entry.brokers = entry.brokers.saturating_add(1);
                if entry.shares != shares {
                    let feed = entry.shares;
                    faults.add(|| {
                        format!(
                            "match {number} is of {shares} shares at {name}, {feed} on the feed"
                        )
                    });
                }
            }
        }
        for (number, entry) in self.matches.iter().enumerate() {
            let heard = (entry.feed, entry.brokers);
            if heard != (0, 0) && heard != (1, 2) {
                faults.add(|| {
                    format!(
                        "match {number} was told {} times on the feed, to {} brokers",
                        heard.0, heard.1
                    )
                });
            }
        }
    }
}

fn slot(matches: &mut Vec<Match>, number: u64) -> &mut Match {
    let index = number as usize;
    if index >= matches.len() {
        matches.resize(index + 1, Match::default());
    }
    &mut matches[index]
}

/// Generation of a session that nobody is bound to.
const NOT_BOUND: u32 = u32::MAX;
/// Furthest jump ahead that is not dropped (session.md 9).
const AHEAD_MAX: u64 = 65_536;

impl Session {
    /// Whether a block is applied: of the live generation, and not below the next number.
    fn applies(&mut self, head: &MessageHead) -> bool {
        let next = self.next.max(1);
        let applies = head.generation == self.generation
            && head.client_seq >= next
            && head.client_seq - next <= AHEAD_MAX;
        if applies {
            self.next = head.client_seq + 1;
        }
        applies
    }
}

/// The log applies a message of a broker whose evidence is here: it is what the broker sent.
fn applied(
    file: &mut BrokerFile,
    name: &str,
    head: &MessageHead,
    body: &MessageBody,
    told: &mut Told,
    faults: &mut Faults,
) {
    let sequence = head.client_seq;
    let Some(message) = file.sent(sequence) else {
        faults.add(|| format!("the log applied message {sequence} of {name}, who never sent it"));
        return;
    };
    message.applied = message.applied.saturating_add(1);
    if message.applied > 1 {
        told.doubled += 1;
        faults.add(|| format!("the log applied message {sequence} of {name} twice"));
    }
    if head.verdict == Verdict::Ok as u8 && !same(&message.inbound, body) {
        faults.add(|| {
            format!("message {sequence} of {name}: sent {:?}, logged {body:?}", message.inbound)
        });
    }
}

/// The fields that say what is wanted.
fn same(sent: &Inbound, logged: &MessageBody) -> bool {
    match (sent, logged) {
        (Inbound::Enter(s), MessageBody::Enter(l)) => {
            (s.urn, s.side, s.quantity, s.symbol, s.price, s.tif)
                == (l.urn, l.side, l.quantity, l.symbol, l.price, l.tif)
        }
        (Inbound::Replace(s), MessageBody::Replace(l)) => {
            (s.old_urn, s.urn, s.quantity, s.price) == (l.old_urn, l.urn, l.quantity, l.price)
        }
        (Inbound::Cancel(s), MessageBody::Cancel(l)) => (s.urn, s.quantity) == (l.urn, l.quantity),
        (Inbound::Query, MessageBody::Query) => true,
        _ => false,
    }
}

/// What each broker was told of its messages, against what the log applied.
fn conclusions(brokers: &BTreeMap<String, BrokerFile>, told: &mut Told, faults: &mut Faults) {
    for (name, file) in brokers {
        for (sequence, message) in (file.first_sequence..).zip(&file.messages) {
            match message.conclusion {
                b'R' | b'K' if message.applied == 0 => {
                    told.missing += 1;
                    faults.add(|| {
                        format!(
                            "message {sequence} of {name} was acknowledged and is not in the log"
                        )
                    });
                }
                b'N' if message.applied > 0 => {
                    faults.add(|| {
                        format!("message {sequence} of {name} was not applied, says N; the log did")
                    });
                }
                _ => {}
            }
        }
    }
}

/// Digest of the exchange's books, folded as a subscriber folds its mirror.
fn book_digest(x: &rialto::exchange::Exchange) -> u64 {
    let mut digest = BookDigest::default();
    for l in 1..=x.genesis().symbols.len() as u16 {
        for side in [Side::Buy, Side::Sell] {
            for o in x.orders(Locate(l), side) {
                digest.order(Locate(l), side, o.price, o.order_ref, o.open);
            }
        }
    }
    digest.finish()
}
