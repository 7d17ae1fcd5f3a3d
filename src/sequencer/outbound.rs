//! Outbound sequencer: the exchange's events into the event log.
//!
//! Consumes events as `apply` emits them; gives each its number, links each report to the previous
//! one of its session, and moves the commit mark once per command, so that readers never see half a
//! command. At start it first compares what the commands give with what the log already holds, byte
//! for byte, and appends what is missing. Must not know what an event says.

use crate::counters::counters;
use crate::exchange::event::{EVENT_BYTES_MAX, Event, EventSink};
use crate::planted::{self, Bug};
use crate::store::{AppendError, Control, LogIndex, ReadError, Reader, Writer};
use crate::types::*;
use std::collections::VecDeque;
use std::sync::Arc;

counters! {
    /// What the outbound sequencer did.
    pub struct OutboundCounters("sequencer_outbound") {
        events: "events appended to the event log",
        compared: "events compared with the existing log at start",
        spilled: "events kept in memory because the event log had no room (archiver behind)",
    }
}

/// Events that are kept in memory without allocating while the log has no room.
const SPILL_EVENTS: usize = 4_096;

/// Why the event log is not what the commands give. Start is refused.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// The log holds something else.
    #[error(
        "event {event} in the log is not what command {command} gives: the command log, the event \
         log or the program is not the one that wrote the day"
    )]
    Mismatch {
        /// Number of the event.
        event: u64,
        /// Command that gave it now.
        command: u64,
    },
    /// The log holds events of commands that the command log does not have.
    #[error(
        "the event log has {surplus} or more events beyond the last command ({command}), from event \
         {event} on: the command log has lost its tail"
    )]
    Surplus {
        /// First event that no command gives.
        event: u64,
        /// Events left, at least.
        surplus: u64,
        /// Last command.
        command: u64,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

struct Spilled {
    time: Nanos,
    event: Event,
}

/// The outbound sequencer. See the module's head.
pub struct Outbound {
    writer: Writer,
    control: Arc<Control>,
    term: u32,
    /// Position of the last report of each session, 0 = none.
    previous: Vec<u64>,
    /// Existing records still to be compared; `None` = live.
    existing: Option<Reader>,
    fault: Option<OutboundError>,
    spill: VecDeque<Spilled>,
    counters: Arc<OutboundCounters>,
}

impl Outbound {
    /// Writes behind what the log already holds. `existing` reads the log from its first record to
    /// its end (`Log::reader_unbounded`); events are compared with it until it is used up. `sessions`
    /// as in Genesis. Marks what is there as committed only as commands are done again.
    pub fn new(
        writer: Writer,
        existing: Reader,
        control: Arc<Control>,
        term: u32,
        sessions: usize,
    ) -> Outbound {
        Outbound {
            writer,
            control,
            term,
            previous: vec![0; sessions],
            existing: Some(existing),
            fault: None,
            spill: VecDeque::with_capacity(SPILL_EVENTS),
            counters: Arc::default(),
        }
    }

    /// Goes on from a snapshot: `positions` of the last report of each session, 0 = none; `existing`
    /// reads on behind the last event covered.
    pub fn resume(mut self, positions: impl Iterator<Item = u64>) -> Outbound {
        for (previous, position) in self.previous.iter_mut().zip(positions) {
            *previous = position;
        }
        self
    }

    /// Its counters.
    pub fn counters(&self) -> Arc<OutboundCounters> {
        self.counters.clone()
    }

    /// False while events wait in memory for room in the log: no command should be applied.
    #[inline]
    pub fn ready(&mut self) -> bool {
        if !self.spill.is_empty() {
            self.drain_spill();
        }
        self.spill.is_empty()
    }

    /// The command is done: its events may be read. Nothing is shown while a part of them waits.
    #[inline]
    pub fn end_of_command(&mut self) {
        if self.spill.is_empty() && self.existing.is_none() {
            self.control.set_committed(LogIndex::Event, self.control.written(LogIndex::Event));
        }
    }

    /// A fault found while comparing; taken once.
    pub fn fault(&mut self) -> Option<OutboundError> {
        self.fault.take()
    }

    /// All commands of the log were done again: what is left to compare would be events without a
    /// command. Goes live. `command` is the last one.
    pub fn go_live(&mut self, command: Seq) -> Result<(), OutboundError> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        if let Some(existing) = &mut self.existing
            && let Some(record) = existing.next()?
        {
            let event = record.seq.0;
            let surplus = self.writer.next_seq().0.saturating_sub(event);
            return Err(OutboundError::Surplus { event, surplus, command: command.0 });
        }
        self.existing = None;
        self.end_of_command();
        Ok(())
    }

    /// Compares `event` with the next existing record; true = it was there (or differed, which is
    /// kept as the fault), false = the log ends before it.
    fn compare(&mut self, time: Nanos, event: &mut Event) -> bool {
        let Some(existing) = &mut self.existing else { return false };
        if self.fault.is_some() {
            return true;
        }
        let mut bytes = [0; EVENT_BYTES_MAX];
        let size = event.size();
        event.encode(&mut bytes[..size]);
        let found = match existing.next() {
            Ok(Some(record)) => record,
            Ok(None) => {
                self.existing = None;
                return false;
            }
            Err(error) => {
                self.fault = Some(error.into());
                return true;
            }
        };
        let same = found.kind == event.body.kind()
            && found.time == time
            && found.payload == &bytes[..size];
        if !same {
            self.fault =
                Some(OutboundError::Mismatch { event: found.seq.0, command: event.head.command.0 });
        }
        if event.head.report != 0
            && !planted::is(Bug::LinkLostAtRestart)
            && let Some(previous) = self.previous.get_mut(event.head.session.0 as usize)
        {
            *previous = found.position;
        }
        self.counters.compared.add(1);
        true
    }

    #[inline]
    fn link(&self, event: &mut Event) {
        if event.head.report != 0 {
            let slot = event.head.session.0 as usize;
            event.head.previous = self.previous.get(slot).copied().unwrap_or(0);
        }
    }

    #[inline]
    fn append(&mut self, time: Nanos, event: &Event) -> bool {
        let mut event = *event;
        self.link(&mut event);
        let size = event.size();
        let appended =
            self.writer.append(event.body.kind(), 0, time, self.term, size, |out: &mut [u8]| {
                event.encode(out)
            });
        match appended {
            Ok(appended) => {
                if event.head.report != 0 {
                    let slot = event.head.session.0 as usize;
                    if let Some(previous) = self.previous.get_mut(slot) {
                        *previous = appended.position;
                    }
                }
                self.counters.events.add(1);
                true
            }
            Err(AppendError::Full) => false,
            // An event is shorter than any segment: a wrong segment size is our own fault.
            Err(AppendError::TooLong) => panic!("event longer than a segment"),
        }
    }

    fn drain_spill(&mut self) {
        while let Some(first) = self.spill.pop_front() {
            if !self.append(first.time, &first.event) {
                self.spill.push_front(first);
                return;
            }
        }
        self.end_of_command();
    }
}

impl EventSink for Outbound {
    #[inline]
    fn emit(&mut self, time: Nanos, event: &Event) {
        if self.existing.is_some() {
            let mut linked = *event;
            self.link(&mut linked);
            if self.compare(time, &mut linked) {
                return;
            }
        }
        if !self.spill.is_empty() || !self.append(time, event) {
            // A command cannot be taken back half-way, so its events wait in memory and the engine
            // applies nothing more until they are in the log.
            self.spill.push_back(Spilled { time, event: *event });
            self.counters.spilled.add(1);
        }
    }
}
