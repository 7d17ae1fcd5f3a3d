//! Snapshots: a start is the newest good one and the log behind it, however long the day.
//!
//! Produces and consumes files `snapshot-<seq>` in the day's directory, through `store::Storage`:
//! the exchange after a command, where that command and its last event stand in the logs, and the
//! [`Trail`]: what egress, replayer and repair would otherwise have to read the whole event log for.
//! Layout and rules: `snapshot.md`. [`load`] and [`set_aside`] are what the venue does with them,
//! [`crate::shadow`] who writes them. Must not know agents; whatever is in a file, the answer is a
//! snapshot or a reason against it, never a panic.

mod file;
mod start;
#[cfg(test)]
mod tests;
mod trail;

pub use file::{KEPT, Snapshot, SnapshotError, list, name_of, prune, read, write};
pub use start::{Loaded, Refusal, load, set_aside};
pub use trail::{FEED_STRIDE, REPORT_STRIDE, SessionTrail, Trail};

use crate::types::*;

/// A log up to a record, and what proves that a log found later is that one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reach {
    /// Random number of the log.
    pub log_id: u64,
    /// The last record covered.
    pub seq: Seq,
    /// Where it starts.
    pub start: u64,
    /// Where the next one starts.
    pub end: u64,
    /// Its time.
    pub time: Nanos,
    /// CRC32C of its payload.
    pub checksum: u32,
}
