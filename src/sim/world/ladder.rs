//! The ladder, seen from outside: an archive that is behind makes the venue take cancels only, and one
//! that has caught up lets it go (DESIGN.md 5, operate.md).
//!
//! Consumes the marks of both logs and the mode that the engine tells, every 50 ms; produces a mode that
//! has not followed for too long. Level `memory` alone: else a mode is not committed either.

use super::exchange::Exchange;
use super::{MS, World};
use crate::config::Durability;
use crate::exchange::command::Mode;
use crate::store::LogIndex;

/// Of the hot tier, percent: from here on cancels only; below that everything again. What is between,
/// and what is nearly full, is not judged.
const BEHIND: std::ops::Range<u64> = 50..85;
const CAUGHT_UP: std::ops::Range<u64> = 0..34;
/// A mode follows within so long.
const FOLLOWS_NS: u64 = 500 * MS;

/// Since when the mode is not what it should be.
#[derive(Default)]
pub(super) struct Ladder {
    since: Option<u64>,
}

impl World<'_> {
    /// Looks at marks and mode.
    pub(super) fn check_ladder(&mut self) {
        let wrong = self.exchange.as_ref().and_then(|exchange| self.wrong_mode(exchange));
        let Some(what) = wrong else { return self.ladder.since = None };
        if self.now - *self.ladder.since.get_or_insert(self.now) > FOLLOWS_NS {
            self.ladder.since = None;
            self.violate("the mode does not follow the archive", what);
        }
    }

    fn wrong_mode(&self, exchange: &Exchange) -> Option<String> {
        let status = exchange.status();
        let judged = self.plan.durability == Durability::Memory
            && !exchange.is_frozen(self.now)
            && exchange.facts.hot_missing_bytes == 0
            && !self.host.is_short_of_memory()
            && !status.day_ended();
        if !judged {
            return None;
        }
        let segment_bytes = self.plan.segment_bytes;
        let hot_bytes = segment_bytes * self.plan.hot_segments_max as u64;
        let share = |of: u64| {
            let control = exchange.control();
            let behind = LogIndex::ALL.map(|log| {
                let written = control.written(log).position;
                written.saturating_sub(control.archived(log).position) * 100 / of
            });
            behind[0].max(behind[1])
        };
        // With the segment that is being written, and without it.
        let (least, most) = (share(hot_bytes), share(hot_bytes - segment_bytes));
        let mode = status.mode();
        let wrong = match mode {
            Mode::Normal => BEHIND.contains(&least),
            Mode::CancelOnly | Mode::Halt => CAUGHT_UP.contains(&most),
        };
        wrong.then(|| format!("{mode:?} with {least} to {most} percent not archived"))
    }
}
