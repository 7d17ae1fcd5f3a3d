//! What the exchange says of an archive that waits, seen from outside: an operator is told while a disk
//! takes nothing, and no longer than that (operate.md, status.json).
//!
//! Consumes the marks of both logs and what the control page tells; produces an archive that stands still
//! without a word, and a word that outlived its cause.

use super::{MS, World};
use crate::store::{LogIndex, Tier};

/// An archive that stands still is told within so long.
const TOLD_NS: u64 = 500 * MS;

/// What its observer remembers.
#[derive(Default)]
pub(super) struct Waits {
    archived: [u64; 2],
    /// Since when it has stood there, without a word.
    since: u64,
}

impl World<'_> {
    /// While the disk takes nothing, what is behind does not stay so in silence.
    pub(super) fn check_waits(&mut self) {
        let Some(exchange) = &self.exchange else {
            self.waits = Waits { since: self.now, ..Waits::default() };
            return;
        };
        let control = exchange.control();
        let archived = LogIndex::ALL.map(|log| control.archived(log).position);
        let behind = LogIndex::ALL.map(|log| control.written(log).position) != archived;
        let silent = control.archive_waits().is_none() && control.archive_failed().is_none();
        let stands = behind
            && silent
            && archived == self.waits.archived
            && self.host.takes_nothing(Tier::Disk)
            && !exchange.is_frozen_anywhere(self.now);
        self.waits.archived = archived;
        if !stands {
            self.waits.since = self.now;
        } else if self.now - self.waits.since > TOLD_NS {
            let what = format!("archived through {archived:?} since {}", self.waits.since);
            self.violate("an archive that waits is not told", what);
        }
    }

    /// Healing is over and everything is archived: nothing waits.
    pub(super) fn check_waits_no_more(&mut self) {
        let Some(exchange) = &self.exchange else { return };
        let control = exchange.control();
        let all = |log| control.archived(log) == control.written(log);
        if let Some(code) = control.archive_waits().filter(|_| LogIndex::ALL.into_iter().all(all)) {
            self.violate("an archive that has everything is said to wait", format!("errno {code}"));
        }
    }
}
