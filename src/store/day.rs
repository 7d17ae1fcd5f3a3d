//! A day's directory: where the logs of one trading day lie.

use super::{Archiver, ArchiverOptions, Control, Log, LogIndex, StoreError};
use crate::types::Nanos;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the hot tier lies on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Medium {
    /// Memory in huge pages: fastest.
    HugePages,
    /// Memory (tmpfs, /dev/shm).
    Memory,
    /// Anything else: works, with stalls of milliseconds. Deserves a warning.
    Degraded,
}

/// Names and sizes of a day to write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DaySpec {
    /// Data directory: one subdirectory per day.
    pub data: PathBuf,
    /// Root of the hot tier, for example /dev/shm/rialto.
    pub hot: PathBuf,
    /// Name of this exchange: letters, digits, `-`, `_`.
    pub name: String,
    /// Day, YYYY-MM-DD.
    pub date: String,
    /// False = the hot tier is all there is (benchmarks).
    pub archive: bool,
    /// Size of a segment of either log, bytes; a multiple of 4096. A day begun keeps its size.
    pub segment_bytes: u64,
    /// Hot segments of either log that may exist at once; at least 3.
    pub hot_segments_max: usize,
}

impl DaySpec {
    /// A small day below `dir`, hot tier and all: for tests and trials.
    pub fn small(dir: &Path) -> DaySpec {
        DaySpec {
            data: dir.join("data"),
            hot: dir.join("hot"),
            name: "test".into(),
            date: "2025-01-02".into(),
            archive: true,
            segment_bytes: 1 << 20,
            hot_segments_max: 4,
        }
    }
}

/// A day open for writing; holds the lock of its data directory.
pub struct Day {}

#[allow(unused_variables)]
impl Day {
    /// Opens or begins the day. Refuses a data directory that another process writes.
    pub fn open(spec: &DaySpec, now: Nanos) -> Result<Day, StoreError> {
        panic!("not yet")
    }
    /// One of its logs.
    pub fn log(&self, log: LogIndex) -> &Log {
        panic!("not yet")
    }
    /// The control page.
    pub fn control(&self) -> &Arc<Control> {
        panic!("not yet")
    }
    /// The archiver; call after both logs are recovered and their writers open. One per day.
    pub fn archiver(&self, options: ArchiverOptions) -> Result<Archiver, StoreError> {
        panic!("not yet")
    }
    /// What the hot tier lies on.
    pub fn medium(&self) -> Medium {
        panic!("not yet")
    }
    /// The day's directory.
    pub fn dir(&self) -> &Path {
        panic!("not yet")
    }
    /// The day's hot directory.
    pub fn hot_dir(&self) -> &Path {
        panic!("not yet")
    }
}

/// A day open for reading: running, stopped, without hot tier, or copied elsewhere.
pub struct DayView {}

#[allow(unused_variables)]
impl DayView {
    /// Opens the day whose directory is `dir`.
    pub fn open(dir: &Path) -> Result<DayView, StoreError> {
        panic!("not yet")
    }
    /// One of its logs.
    pub fn log(&self, log: LogIndex) -> &Log {
        panic!("not yet")
    }
    /// The control page, `None` when the hot tier is gone.
    pub fn control(&self) -> Option<&Arc<Control>> {
        panic!("not yet")
    }
    /// True while an exchange writes the day.
    pub fn is_running(&self) -> bool {
        panic!("not yet")
    }
}
