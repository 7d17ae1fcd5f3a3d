//! Replay: any past state of a day, from its command log alone.
//!
//! Consumes a day's directory, running or stopped; produces the exchange as it stood after a
//! command, and, when asked, the proof that the event log says what these commands make. Needs no
//! configuration: Genesis is the first record. Cold: allocates, reads whole logs.

use crate::exchange::Exchange;
use crate::exchange::command::Command;
use crate::exchange::event::{Event, EventHead, EventSink};
use crate::exchange::genesis::{Genesis, GenesisError};
use crate::guard::{Crash, Voids, command_checksum, crash};
use crate::store::{DayView, LogIndex, ReadError, Reader, StoreError};
use crate::types::*;

/// Where to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// At the last committed command.
    End,
    /// After this command.
    Seq(Seq),
    /// After the last command not later than this.
    Time(Nanos),
}

/// Why a day cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The directory is no day, or a file of it cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record is damaged.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file that says which commands are void, or which one killed the exchange, cannot be read.
    #[error("void commands: {0}")]
    Voids(#[source] std::io::Error),
    /// The first record is no Genesis of this program.
    #[error("the first command: {0}")]
    Genesis(#[from] GenesisError),
    /// The log is empty, or its first record is another command.
    #[error("the command log does not start with a Genesis record")]
    NoGenesis,
    /// A record of the command log is no command.
    #[error("command {seq} of kind {kind} cannot be read")]
    Unreadable {
        /// Its number.
        seq: u64,
        /// Its kind.
        kind: u16,
    },
    /// The event log says something else than the commands make.
    #[error(
        "the logs do not agree at event {event} (command {command}): the event log has {found}, \
         replay makes {made}"
    )]
    Differs {
        /// Number of the event.
        event: u64,
        /// Command that caused it.
        command: u64,
        /// What stands in the log.
        found: String,
        /// What replay makes.
        made: String,
    },
}

/// A day replayed.
pub struct Replayed {
    /// The exchange after the last command applied.
    pub exchange: Exchange,
    /// Last command applied.
    pub seq: Seq,
    /// Its time.
    pub time: Nanos,
    /// Events made.
    pub events: u64,
    /// Events that the event log holds and that agreed byte for byte (0 without verification).
    pub verified: u64,
    /// Next number of the feed.
    pub feed_next: u64,
    /// The command that killed the exchange and is not void: replay stands before it, as a start does.
    pub halted_before: Option<Seq>,
}

/// The day's Genesis.
pub fn genesis(view: &DayView) -> Result<Genesis, ReplayError> {
    let mut commands = view.log(LogIndex::Command).reader()?;
    match commands.next()?.and_then(|first| Command::decode(first.kind, first.payload)) {
        Some(Command::Genesis(bytes)) => Ok(Genesis::decode(bytes)?),
        _ => Err(ReplayError::NoGenesis),
    }
}

/// The day's void commands: whoever applies its commands applies these as void.
pub fn voids(view: &DayView) -> std::io::Result<Voids> {
    let options = view.log(LogIndex::Command).options();
    match &options.archive {
        Some(dir) => Voids::load(&*options.storage, dir, options.log_id),
        None => Ok(Voids::none()),
    }
}

/// The command that killed the exchange, as far as no run got past it and nobody made it void.
fn poison(view: &DayView, voids: &Voids) -> std::io::Result<Option<Crash>> {
    let options = view.log(LogIndex::Command).options();
    let Some(dir) = &options.archive else { return Ok(None) };
    let found = crash::read(&*options.storage, dir)?;
    Ok(found.filter(|c| c.log_id == options.log_id && !voids.contains(c.command)))
}

/// Replays the day up to `until`, or to the command that killed the exchange; hands each event to `on_event`. With `verify`, each event is
/// compared with the record of the event log (all but the link to the session's previous report,
/// which is a position); events that the log does not hold yet are no difference: recovery writes
/// them.
pub fn replay(
    view: &DayView,
    until: Until,
    verify: bool,
    mut on_event: impl FnMut(Nanos, &Event),
    mut progress: impl FnMut(Seq),
) -> Result<Replayed, ReplayError> {
    let mut exchange = Exchange::new(&genesis(view)?)?;
    let voids = voids(view).map_err(ReplayError::Voids)?;
    let poison = poison(view, &voids).map_err(ReplayError::Voids)?;
    let mut halted_before = None;
    let mut commands = view.log(LogIndex::Command).reader()?;
    let (mut seq, mut time) = (Seq(0), Nanos(0));
    let log = if verify { Some(view.log(LogIndex::Event).reader()?) } else { None };
    let mut sink =
        Checker { log, made: 0, verified: 0, feed: 0, fault: None, on_event: &mut on_event };
    while let Some(record) = commands.next()? {
        match until {
            Until::Seq(last) if record.seq > last => break,
            Until::Time(last) if record.time > last => break,
            _ => {}
        }
        if let Some(crash) = poison.as_ref().filter(|crash| crash.command == record.seq)
            && command_checksum(record.seq, record.kind, record.payload) == crash.checksum
        {
            halted_before = Some(record.seq);
            break;
        }
        let command = Command::decode(record.kind, record.payload)
            .ok_or(ReplayError::Unreadable { seq: record.seq.0, kind: record.kind })?;
        (seq, time) = (record.seq, record.time);
        match voids.contains(seq) {
            false => exchange.apply(seq, time, &command, &mut sink),
            true => exchange.apply_void(seq, time, &command, &mut sink),
        }
        if let Some(fault) = sink.fault.take() {
            return Err(fault);
        }
        if seq.0.is_multiple_of(1 << 20) {
            progress(seq);
        }
    }
    let (events, verified, feed_next) = (sink.made, sink.verified, sink.feed + 1);
    Ok(Replayed { exchange, seq, time, events, verified, feed_next, halted_before })
}

struct Checker<'a, F> {
    log: Option<Reader>,
    made: u64,
    verified: u64,
    feed: u64,
    fault: Option<ReplayError>,
    on_event: &'a mut F,
}

impl<F: FnMut(Nanos, &Event)> EventSink for Checker<'_, F> {
    fn emit(&mut self, time: Nanos, event: &Event) {
        self.made += 1;
        self.feed = self.feed.max(event.head.feed);
        (self.on_event)(time, event);
        let Some(log) = self.log.as_mut() else { return };
        if self.fault.is_some() {
            return;
        }
        match log.next() {
            Err(e) => self.fault = Some(e.into()),
            Ok(None) => self.log = None,
            Ok(Some(record)) => {
                let found = Event::decode(record.kind, record.payload);
                let same = found.is_some_and(|found| {
                    let head = EventHead { previous: 0, ..found.head };
                    Event { head, body: found.body } == *event
                }) && record.time == time
                    && record.payload.len() == event.size();
                if same {
                    self.verified += 1;
                } else {
                    let found = match found {
                        Some(found) => format!("{found:?} at {}", record.time.0),
                        None => format!("a record of kind {}", record.kind),
                    };
                    self.fault = Some(ReplayError::Differs {
                        event: record.seq.0,
                        command: event.head.command.0,
                        found,
                        made: format!("{event:?} at {}", time.0),
                    });
                }
            }
        }
    }
}
