//! Snapshots, seen from outside: a file under its name is on the disk, the last three are kept, a start
//! takes the newest that is there and passes none over that nobody damaged (snapshot.md).
//!
//! Consumes the names in the day's directory and what of the files survives any power cut; produces what
//! contradicts. Must not know what is in them.

use super::World;
use super::host::Host;
use crate::store::LogIndex;
use crate::types::*;
use std::path::{Path, PathBuf};

/// So many are kept.
const KEPT: usize = 3;

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
        let damaged = std::mem::take(&mut self.snapshots.damaged);
        let known = if self.snapshots.day == day { self.snapshots.refused } else { refused };
        let newest = there.last().copied().unwrap_or(0);
        self.snapshots = SnapshotsSeen { day, there, refused, damaged: false };
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
