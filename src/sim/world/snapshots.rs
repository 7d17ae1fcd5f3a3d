//! Snapshots, seen from outside: a file under its name is on the disk, the last three are kept, a start
//! takes the newest that is there and passes none over that nobody damaged (snapshot.md).
//!
//! Consumes the names in the day's directory and what of the files survives any power cut; produces what
//! contradicts. Must not know what is in them.

use super::host::Host;
use super::{MS, World};
use crate::store::LogIndex;
use crate::types::*;
use std::path::{Path, PathBuf};

/// So many are kept.
const KEPT: usize = 3;

/// When a shadow that was away has caught up, so small a part of its cadence is enough.
const FAR: u64 = 10;

/// A snapshot that is due is taken within so long: the events of what was done are there.
const TAKEN_NS: u64 = 60 * MS;

/// Where the numbers of the last command and event covered stand (snapshot.md, File).
const COVERED_AT: [usize; 2] = [64, 112];

/// What the snapshots' observer remembers.
#[derive(Default)]
pub(super) struct SnapshotsSeen {
    day: PathBuf,
    /// Numbers of those that are there, ascending.
    there: Vec<u64>,
    /// Files that a start passed over.
    refused: usize,
    /// A byte of a snapshot was damaged since the last start.
    pub(super) damaged: bool,
}

/// What its observer knows of a shadow that is up.
#[derive(Default)]
pub(super) struct Follows {
    /// A snapshot is due after so many commands; 0 = nobody waits for so many.
    every: u64,
    /// The last command that a snapshot covers, or with which trouble was over.
    base: Seq,
    /// It had its first turn, in which it did what was there.
    began: bool,
    /// One is due: since when, and then what the archive must have before it is late.
    due: Option<(u64, Option<[Seq; 2]>)>,
}

impl Follows {
    /// One that begins behind the command `written`.
    pub(super) fn new(every: Option<u64>, written: Seq) -> Follows {
        Follows { every: every.unwrap_or(0), base: written, ..Follows::default() }
    }

    /// A snapshot covers `applied`, or none had to.
    fn begin_again(&mut self, applied: Seq) {
        (self.base, self.due) = (applied, None);
    }
}

/// Numbers of the snapshots of a day, ascending, and how many were passed over.
fn look(host: &Host, day: &Path) -> (Vec<u64>, usize) {
    let names = host.names(day);
    let number = |name: &String| -> Option<u64> {
        let digits = name.strip_prefix("snapshot-")?;
        if digits.len() == 20 { digits.parse().ok() } else { None }
    };
    let mut there: Vec<u64> = names.iter().filter_map(number).collect();
    there.sort_unstable();
    (there, names.iter().filter(|name| name.ends_with(".refused")).count())
}

impl World<'_> {
    /// The exchange has just started.
    pub(super) fn check_snapshots_taken(&mut self) {
        let Some(exchange) = &self.exchange else { return };
        let (day, taken) = (exchange.facts.day.clone(), exchange.facts.snapshot.0);
        let (there, refused) = look(&self.host, &day);
        let damaged = self.snapshots.damaged;
        let known = if self.snapshots.day == day { self.snapshots.refused } else { refused };
        let newest = there.last().copied().unwrap_or(0);
        self.snapshots = SnapshotsSeen { day, there, refused, ..SnapshotsSeen::default() };
        if self.host.is_troubled() {
            return; // a file may stay under its name
        }
        if refused > known && !damaged {
            self.violate("a good snapshot was passed over", format!("{refused}, before {known}"));
        }
        if newest != taken {
            let what = format!("the newest is {newest}, taken was {taken}");
            self.violate("a start did not take the newest snapshot", what);
        }
    }

    /// A snapshot was written: the archive has all that it covers (snapshot.md).
    pub(super) fn check_snapshot_archived(&mut self, command: Seq) {
        let Some(exchange) = &self.exchange else { return };
        let path = exchange.facts.day.join(format!("snapshot-{:020}", command.0));
        let Some(file) = self.host.look(&path) else { return };
        for (log, at) in LogIndex::ALL.into_iter().zip(COVERED_AT) {
            let Some(word) = file.get(at..).and_then(|rest| rest.first_chunk::<8>()) else {
                return;
            };
            let (covered, archived) =
                (u64::from_le_bytes(*word), exchange.control().archived(log).seq);
            if covered > archived.0 {
                let what = format!("{} {covered}, archived {}", log.name(), archived.0);
                return self.violate("a snapshot covers what is not archived", what);
            }
        }
    }

    /// The shadow had its turn: so many commands behind the newest snapshot another one is due, behind its
    /// first turn a tenth of them (snapshot.md).
    pub(super) fn check_snapshot_due(&mut self) {
        let (Some(shadow), Some(exchange)) = (&self.shadow, &self.exchange) else { return };
        let (applied, written) = (shadow.applied(), shadow.written());
        let follows = &mut self.follows;
        if follows.every == 0 {
            return;
        }
        if written > follows.base {
            follows.begin_again(written);
        }
        let first = !std::mem::replace(&mut follows.began, true);
        let most = if first { follows.every / FAR } else { follows.every };
        if self.host.is_troubled() {
            // A disk that takes none is asked by time only.
            return follows.begin_again(applied);
        }
        if follows.due.is_none() && applied.0.saturating_sub(follows.base.0) >= most {
            follows.due = Some((self.now, None));
        }
        let Some((since, covered)) = &mut follows.due else { return };
        if exchange.is_frozen_anywhere(self.now) {
            // Events that do not come, also for want of room.
            *since = self.now;
        }
        if self.now < *since + TAKEN_NS {
            return;
        }
        let control = exchange.control();
        // By now it was taken: it covers no more than this.
        let covered =
            covered.get_or_insert_with(|| LogIndex::ALL.map(|log| control.committed(log).seq));
        let archived = LogIndex::ALL.map(|log| control.archived(log).seq);
        if archived[0] < covered[0] || archived[1] < covered[1] {
            // It is written behind the archive.
            *since = self.now;
        } else {
            let ms = (self.now - *since) / MS;
            let what = format!("{} done, {} covered, due {ms} ms ago", applied.0, follows.base.0);
            self.violate("a snapshot is missing", what);
        }
    }

    /// While the exchange serves.
    pub(super) fn check_snapshots(&mut self) {
        let Some(exchange) = &self.exchange else { return };
        let day = exchange.facts.day.clone();
        if self.snapshots.day != day {
            return;
        }
        let (there, _) = look(&self.host, &day);
        let before = &self.snapshots.there;
        let Some(&newest) = there.last() else { return };
        if before.last() == Some(&newest) {
            return;
        }
        let least = KEPT.min(before.len() + 1);
        let few = there.len() < least;
        let (seen, wanted) = (there.len(), format!("{least} or more"));
        self.snapshots.there = there;
        if few {
            self.violate("older snapshots are not kept", format!("{seen} are there, not {wanted}"));
        }
        let path = day.join(format!("snapshot-{newest:020}"));
        if self.host.look(&path) != self.host.look_durable(&path) {
            self.violate("a snapshot is not on the disk", format!("{}", path.display()));
        } else if !self.host.has_durably(&path) {
            self.violate("a snapshot's name is not on the disk", format!("{}", path.display()));
        }
    }
}
