//! The control page: marks of both logs, shared with every process that reads them.

use super::LogIndex;
use crate::types::{Nanos, Seq};
use std::sync::atomic::AtomicU64;

/// How far a log has got: its last record, and the position behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Mark {
    /// Number of the last record, 0 = none.
    pub seq: Seq,
    /// Log position of the first byte behind it.
    pub position: u64,
}

/// How far the archiver is behind, for the ladder 50% cancel-only, 90% halt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Backlog {
    /// Bytes written and not archived.
    pub bytes: u64,
    /// Bytes the hot tier of that log can hold.
    pub hot_bytes: u64,
}

impl Backlog {
    /// Share of the hot tier that is not archived, in percent, 0 ..= 100.
    pub fn percent(&self) -> u64 {
        if self.hot_bytes == 0 { 0 } else { (self.bytes * 100 / self.hot_bytes).min(100) }
    }
}

/// The mapped control page.
pub struct Control {}

#[allow(unused_variables)]
impl Control {
    /// Last record published by the writer.
    pub fn written(&self, log: LogIndex) -> Mark {
        panic!("not yet")
    }
    /// Last record readers may see.
    pub fn committed(&self, log: LogIndex) -> Mark {
        panic!("not yet")
    }
    /// Last record on disk for sure.
    pub fn archived(&self, log: LogIndex) -> Mark {
        panic!("not yet")
    }
    /// Moves the committed mark; only the log's writing thread. Never moves back.
    pub fn set_committed(&self, log: LogIndex, mark: Mark) {
        panic!("not yet")
    }
    /// How far the archiver is behind.
    pub fn backlog(&self, log: LogIndex) -> Backlog {
        panic!("not yet")
    }
    /// System error number that stopped the archiver for good, `None` = it works.
    pub fn archive_failed(&self) -> Option<i32> {
        panic!("not yet")
    }
    /// Process that writes the logs, 0 = none.
    pub fn writer_pid(&self) -> u32 {
        panic!("not yet")
    }
    /// When it started.
    pub fn started(&self) -> Nanos {
        panic!("not yet")
    }
    /// One of 64 numbers that the writing process shows to others; `index` 0..64.
    pub fn counter(&self, index: usize) -> &AtomicU64 {
        panic!("not yet")
    }
}
