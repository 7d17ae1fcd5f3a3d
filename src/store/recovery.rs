//! What start finds in the logs.

use super::{Damage, Log, StoreError};
use crate::types::{Nanos, Seq};
use std::path::PathBuf;

/// What recovery found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovered {
    /// Number of the next record to write.
    pub next_seq: Seq,
    /// Log position behind the last record.
    pub position: u64,
    /// Records found.
    pub records: u64,
    /// Time of the last record, 0 = none.
    pub last_time: Nanos,
    /// Term of the last record.
    pub last_term: u32,
    /// What was cut off.
    pub cut: Option<Cut>,
    /// True when the hot tier was gone and the log continues from the archive.
    pub from_archive: bool,
}

/// A torn tail that was cut.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cut {
    /// Log position of the first bad record.
    pub at: u64,
    /// Its file.
    pub path: PathBuf,
    /// What was wrong.
    pub why: Damage,
}

pub(super) fn recover(_log: &Log) -> Result<Recovered, StoreError> {
    panic!("not yet")
}

pub(super) fn cut(
    _log: &Log,
    _recovered: Recovered,
    _position: u64,
    _next_seq: Seq,
) -> Result<Recovered, StoreError> {
    panic!("not yet")
}
