//! Readers of a log.

use super::{Log, ReadError, Record, StoreError};
use crate::types::Seq;

/// Follows a log. Any number per log, in any process.
pub struct Reader {}

#[allow(unused_variables, clippy::should_implement_trait)]
impl Reader {
    /// See [`Log::reader`].
    pub fn open(log: &Log) -> Result<Reader, StoreError> {
        panic!("not yet")
    }
    /// See [`Log::reader_unbounded`].
    pub fn open_unbounded(log: &Log) -> Result<Reader, StoreError> {
        panic!("not yet")
    }
    /// Skips checksums: for readers in the writing process, whose memory it is.
    pub fn trusted(self) -> Reader {
        panic!("not yet")
    }
    /// The next record, `None` when the reader has caught up with its bound (ask again later).
    /// O(1), no system call or allocation but at a segment's end.
    pub fn next(&mut self) -> Result<Option<Record<'_>>, ReadError> {
        panic!("not yet")
    }
    /// Log position of the next record to read.
    pub fn position(&self) -> u64 {
        panic!("not yet")
    }
    /// Goes to `position`, the start of a record (`Record::position`, `Appended::position`), or the
    /// end of the log (`Mark::position`); 0 = first record.
    pub fn seek(&mut self, position: u64) {
        panic!("not yet")
    }
    /// Goes to record `seq`; false (and where it was) when the log does not have it yet. Cold: walks
    /// one segment.
    pub fn seek_seq(&mut self, seq: Seq) -> Result<bool, ReadError> {
        panic!("not yet")
    }
}
