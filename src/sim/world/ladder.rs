//! The ladder, seen from outside: an archive that is behind makes the venue take cancels only, then
//! nothing, and one that has caught up lets it go (store.md, Backlog; operate.md).
//!
//! Consumes the marks of both logs and the mode that the engine tells; produces a mode that has not
//! followed for too long, or that came or went too early. How long is judged at level `memory` alone:
//! else a mode is not committed either.

use super::exchange::Exchange;
use super::{MS, World};
use crate::config::Durability;
use crate::exchange::command::Mode;
use crate::store::LogIndex;

/// Time between two looks.
const LOOK_NS: u64 = 5 * MS;
/// Of the hot tier, percent: the least that each mode may be left with, and the most. Two percent off
/// the rungs, as the timer looks at other times.
const NORMAL: std::ops::RangeInclusive<u64> = 0..=51;
const CANCEL_ONLY: std::ops::RangeInclusive<u64> = 33..=91;
const HALT: std::ops::RangeInclusive<u64> = 73..=FULL;
/// A mode is left for the one below when the backlog has been so small since it began, percent, give or
/// take four.
const LEAVES: [(Mode, Mode, u64); 2] =
    [(Mode::CancelOnly, Mode::Normal, 38), (Mode::Halt, Mode::CancelOnly, 78)];
/// A mode begins when the backlog has been so large since the one before it began, percent. The backlog
/// is known to the byte; two percent are left to the reckoning.
const BEGINS: [(Mode, u64); 2] = [(Mode::CancelOnly, 48), (Mode::Halt, 88)];
/// Beyond that the logs may have no room for the command that changes the mode.
const FULL: u64 = 96;
/// A mode follows within so long.
const FOLLOWS_NS: u64 = 200 * MS;
/// What is in the log then is behind the command that changes the mode.
const SAID_NS: u64 = 100 * MS;
/// One that was said a moment before is said again after 200 ms.
const AGAIN_NS: u64 = 250 * MS;

/// What the ladder's observer remembers.
#[derive(Default)]
pub(super) struct Ladder {
    look_at: u64,
    /// The mode, and since when.
    mode: Option<(Mode, u64)>,
    /// The smallest backlog since then, percent.
    least: u64,
    /// The largest since then, bytes, less what came since the last look.
    most: u64,
    /// The largest since the last look, bytes.
    lately: u64,
    /// Since when the mode is not what it should be.
    since: Option<u64>,
    /// The last command in the log a while after that.
    said: Option<u64>,
}

impl World<'_> {
    /// The archiver is about to go on: between its turns the backlog only grows, so what stands now is
    /// the most that the timer may have seen since the turn before.
    pub(super) fn note_backlog(&mut self) {
        let behind = self.exchange.as_ref().map_or(0, |exchange| self.behind(exchange));
        self.ladder.lately = self.ladder.lately.max(behind);
    }

    /// Looks at marks and mode.
    pub(super) fn check_ladder(&mut self) {
        let mode = self.exchange.as_ref().map(|exchange| exchange.status().mode());
        let before = self.ladder.mode.map(|before| before.0);
        // Only who has to come back is held against the least.
        let low = self.exchange.as_ref().filter(|_| mode != Some(Mode::Normal));
        let percent = low.map_or(0, |exchange| self.backlog(exchange));
        let least = self.ladder.least;
        if mode != before {
            self.check_beginning(before, mode);
            self.ladder.mode = mode.map(|mode| (mode, self.now));
            self.ladder.least = u64::MAX;
            // The mode may have begun anywhere in the last round.
            self.ladder.most = 0;
        }
        self.ladder.most = self.ladder.most.max(std::mem::take(&mut self.ladder.lately));
        self.ladder.least = self.ladder.least.min(percent);
        for (left, begun, most) in LEAVES {
            if before == Some(left) && mode == Some(begun) && least > most {
                let what = format!("{left:?} ends, {least} percent were not archived or more");
                self.violate("the mode changed too early", what);
            }
        }
        if self.now < self.ladder.look_at {
            return;
        }
        self.ladder.look_at = self.now + LOOK_NS;
        let wrong = self.exchange.as_ref().and_then(|exchange| self.wrong_mode(exchange));
        let (Some(what), Some(exchange)) = (wrong, &self.exchange) else {
            (self.ladder.since, self.ladder.said) = (None, None);
            return;
        };
        let settled = self.ladder.mode.map_or(0, |mode| mode.1 + AGAIN_NS);
        let since = *self.ladder.since.get_or_insert(self.now);
        let for_ns = self.now.saturating_sub(since.max(settled));
        if for_ns < SAID_NS {
            return;
        }
        let written = exchange.control().written(LogIndex::Command).seq.0;
        let said = *self.ladder.said.get_or_insert(written);
        // While the logs have no room no mode can change.
        let goes_on = written > said && exchange.status().state_hash().0.0 > said;
        if goes_on && for_ns > FOLLOWS_NS {
            self.violate("the mode does not follow the archive", what);
        }
    }

    /// A mode that is above the one before it has a backlog that calls for it. One that a start finds has
    /// none before it.
    fn check_beginning(&mut self, before: Option<Mode>, mode: Option<Mode>) {
        self.note_backlog();
        let (Some(before), Some(mode), Some(exchange)) = (before, mode, &self.exchange) else {
            return;
        };
        let most = self.percent(exchange, self.ladder.most.max(self.ladder.lately));
        if BEGINS.iter().any(|(begun, from)| *begun == mode && mode > before && most < *from) {
            let what = format!(
                "{before:?} gives way to {mode:?}, at most {most} percent were not archived"
            );
            self.violate("the mode changed too early", what);
        }
    }

    fn wrong_mode(&self, exchange: &Exchange) -> Option<String> {
        let status = exchange.status();
        let judged = self.plan.durability == Durability::Memory
            && !exchange.is_frozen(self.now)
            && exchange.facts.hot_missing_bytes == 0
            && !self.host.is_short_of_hot_room()
            && !status.day_ended();
        if !judged {
            return None;
        }
        let percent = self.backlog(exchange);
        let mode = status.mode();
        let right = match mode {
            Mode::Normal => NORMAL,
            Mode::CancelOnly => CANCEL_ONLY,
            Mode::Halt => HALT,
        };
        let wrong = percent <= FULL && !right.contains(&percent);
        wrong.then(|| format!("{mode:?} with {percent} percent not archived"))
    }

    /// What is not archived, percent of the hot tier.
    fn backlog(&self, exchange: &Exchange) -> u64 {
        self.percent(exchange, self.behind(exchange))
    }

    /// So many bytes of one log, percent of its hot tier.
    fn percent(&self, exchange: &Exchange, bytes: u64) -> u64 {
        let segment = self.plan.segment_bytes;
        // What the start found missing is missing to both logs alike.
        let missing = exchange.facts.hot_missing_bytes / 2;
        let hot = (segment * self.plan.hot_segments_max as u64).saturating_sub(missing);
        // The segment in which the archive stands is held whole.
        (bytes * 100).checked_div(hot.saturating_sub(segment).max(hot / 2)).unwrap_or(0)
    }

    /// What is not archived, bytes of the log that has more of it.
    fn behind(&self, exchange: &Exchange) -> u64 {
        let control = exchange.control();
        let behind = LogIndex::ALL.map(|log| {
            control.written(log).position.saturating_sub(control.archived(log).position)
        });
        behind[0].max(behind[1])
    }
}
