//! The way out: every event passes here and gets its numbers.
//!
//! Consumes event bodies with the session they address and whether the feed says them; assigns
//! index, report and feed numbers, runs the state hash's chain, hands the event to the sink. Which
//! event is a report and which is on the feed is the table in `event.rs`; its methods follow it. Must
//! not know why an event happened.

use super::event::*;
use super::session::Sessions;
use super::state_hash;
use crate::types::*;

/// Counters that outlive a command.
pub(super) struct Numbers {
    /// State hash's chain over all events.
    pub(super) chain: u64,
    /// Last feed number.
    pub(super) feed: u64,
    /// Last match number.
    pub(super) matches: u64,
}

impl Numbers {
    pub(super) fn new() -> Numbers {
        Numbers { chain: state_hash::CHAIN_START, feed: 0, matches: 0 }
    }
}

/// Output of one command.
pub(super) struct Output<'a, S: EventSink> {
    pub(super) sessions: &'a mut Sessions,
    pub(super) numbers: &'a mut Numbers,
    pub(super) sink: &'a mut S,
    pub(super) command: Seq,
    pub(super) time: Nanos,
    /// Events so far.
    pub(super) index: u32,
}

impl<S: EventSink> Output<'_, S> {
    /// A report: addressed to `session`, numbered in its downstream.
    #[inline(always)]
    pub(super) fn report(
        &mut self,
        session: SessionSlot,
        on_feed: bool,
        body: impl Into<EventBody>,
    ) {
        let row = self.sessions.row_mut(session);
        let report = row.next_report;
        row.next_report += 1;
        let applied = row.applied();
        self.emit(session, report, applied, on_feed, body.into());
    }

    /// Addressed to `session`, without a report number.
    #[inline(always)]
    pub(super) fn notice(&mut self, session: SessionSlot, body: impl Into<EventBody>) {
        let applied = self.sessions.row(session).applied();
        self.emit(session, 0, applied, false, body.into());
    }

    /// Addressed to nobody, on the feed.
    #[inline(always)]
    pub(super) fn public(&mut self, body: impl Into<EventBody>) {
        self.emit(NO_SESSION, 0, 0, true, body.into());
    }

    /// The next match number.
    #[inline(always)]
    pub(super) fn next_match(&mut self) -> MatchNumber {
        self.numbers.matches += 1;
        MatchNumber(self.numbers.matches)
    }

    #[inline(always)]
    fn emit(
        &mut self,
        session: SessionSlot,
        report: u64,
        applied: u64,
        on_feed: bool,
        body: EventBody,
    ) {
        let feed = if on_feed {
            self.numbers.feed += 1;
            self.numbers.feed
        } else {
            0
        };
        let (command, index) = (self.command, self.index);
        self.index += 1;
        let head =
            EventHead { command, session, zero: [0; 2], index, report, feed, applied, previous: 0 };
        let event = Event { head, body };
        self.numbers.chain = state_hash::chain_event(self.numbers.chain, &event);
        self.sink.emit(self.time, &event);
    }
}
