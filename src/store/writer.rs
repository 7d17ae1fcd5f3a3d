//! The one writer of a log.

use super::{AppendError, Log, Recovered, StoreError};
use crate::types::{Nanos, Seq};

/// Where an appended record lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    /// Its number.
    pub seq: Seq,
    /// Its start, log position.
    pub position: u64,
}

/// Appends records. One per log.
pub struct Writer {}

#[allow(unused_variables)]
impl Writer {
    /// Continues the log where recovery ended.
    pub fn open(log: &Log, recovered: &Recovered) -> Result<Writer, StoreError> {
        panic!("not yet")
    }
    /// Appends one record of `payload_len` bytes, which `fill` writes (all of them; they start as
    /// zeros), and publishes it as written (not as committed). O(1), no system call, no allocation.
    pub fn append(
        &mut self,
        kind: u16,
        flags: u16,
        time: Nanos,
        term: u32,
        payload_len: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<Appended, AppendError> {
        panic!("not yet")
    }
    /// Number of the next record.
    pub fn next_seq(&self) -> Seq {
        panic!("not yet")
    }
    /// Log position behind the last record.
    pub fn position(&self) -> u64 {
        panic!("not yet")
    }
    /// Bytes (as counted by `record_bytes`) that can be appended now without [`AppendError::Full`].
    /// Ask before work whose appends must not fail.
    pub fn room(&self) -> u64 {
        panic!("not yet")
    }
}
