//! The event store: two append-only logs of records in memory-mapped segments.
//!
//! Consumes bytes from one writer per log; hands them to any number of readers in this and other
//! processes, up to the commit mark of the control page; copies them to disk behind everyone's
//! back. Every byte on disk or in the hot tier is described in `store.md`. Must not know what a
//! record means: no orders, no commands, no events.

mod archived;
mod archiver;
mod confirmed;
mod control;
mod day;
mod ended;
mod error;
mod pool;
mod preparer;
#[cfg(loom)]
pub mod publish;
#[cfg(not(loom))]
mod publish;
mod reader;
mod record;
mod recovery;
mod retire;
mod segment;
mod storage;
mod target;
#[cfg(test)]
mod tests;
mod writer;

pub use archiver::{Archiver, ArchiverOptions};
pub use control::{Backlog, Control, Mark};
pub use day::{Day, DaySpec, DayView, Medium, memory_free_bytes};
pub use ended::{FoundDay, newest_days};
pub use error::{AppendError, Damage, ReadError, StoreError};
pub use preparer::Preparer;
pub use reader::Reader;
pub use record::{HEADER_BYTES, KIND_PAD, RECORD_ALIGN, RECORD_BYTES_MAX, Record, record_bytes};
pub use recovery::{Cut, Place, Recovered};
pub use retire::{Retired, retire_ended_days};
pub use storage::{
    Counts, Faults, FileStorage, FileSystem, Mapping, MemoryStorage, OpenMode, SimulatedCrash,
    Storage, StorageFile, Tier, files,
};
pub use writer::{Appended, Writer};

use crate::planted::{self, Bug};
use pool::Pool;
use segment::{SEGMENT_HEADER_BYTES, file_name};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Which of the two logs of a day.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum LogIndex {
    /// The commands: the truth.
    Command = 0,
    /// The events: what the exchange makes of the commands.
    Event = 1,
}

impl LogIndex {
    /// Both, in the order in which they are archived.
    pub const ALL: [LogIndex; 2] = [LogIndex::Command, LogIndex::Event];

    /// First part of the log's file names.
    pub const fn name(self) -> &'static str {
        match self {
            LogIndex::Command => "command",
            LogIndex::Event => "event",
        }
    }
}

/// Where a log lies and how it is cut into files.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Where all of it lies.
    pub storage: Arc<dyn Storage>,
    /// Which log.
    pub log: LogIndex,
    /// Directory of the hot segments; `None` when only the archive is read.
    pub hot: Option<PathBuf>,
    /// Directory of the archived segments; `None` = nothing is archived, nothing ever unlinked.
    pub archive: Option<PathBuf>,
    /// Size of a segment file, bytes; a multiple of 4096 (of the huge page on hugetlbfs).
    pub segment_bytes: u64,
    /// Random number of this log and day, in the header of every segment.
    pub log_id: u64,
    /// Hot segments that may exist at once, those prepared ahead included; at least 3.
    pub hot_segments_max: usize,
}

impl LogOptions {
    /// Segment index and offset of a position.
    #[inline]
    pub(crate) fn split(&self, position: u64) -> (u64, usize) {
        (position / self.segment_bytes, (position % self.segment_bytes) as usize)
    }

    /// The same place by the name it has everywhere: the first record of a segment lies behind the
    /// segment's header, and the end of a full segment is the beginning of the next.
    #[inline]
    pub(crate) fn normal(&self, position: u64) -> u64 {
        let (index, offset) = self.split(position);
        index * self.segment_bytes + offset.max(SEGMENT_HEADER_BYTES) as u64
    }

    /// Longest record that [`Writer::append`] takes, header included, bytes.
    pub fn record_bytes_max(&self) -> usize {
        let fits = self.segment_bytes - SEGMENT_HEADER_BYTES as u64;
        fits.min(RECORD_BYTES_MAX as u64) as usize
    }
}

/// One log of a day: options, marks, and the mappings that this process shares. Cheap to clone.
#[derive(Clone)]
pub struct Log {
    pub(crate) options: Arc<LogOptions>,
    pub(crate) control: Option<Arc<Control>>,
    /// Mappings shared within the writing process; `None` in others.
    pool: Option<Arc<Pool>>,
    /// Position up to which a bad record is damage and not a torn tail.
    confirmed: Arc<AtomicU64>,
    /// The hot tier was written in an earlier boot.
    hot_doubtful: bool,
}

impl Log {
    /// Where it lies.
    pub fn options(&self) -> &LogOptions {
        &self.options
    }

    /// The log as a snapshot is held against it. What a snapshot covers is archived; a hot tier on a disk
    /// may lack any page of it after a reboot: then the archive alone counts (store.md, Recovery 7).
    pub fn for_snapshots(&self) -> Log {
        match self.hot_doubtful {
            true => self.archive_alone(),
            false => self.clone(),
        }
    }

    /// The same without its hot tier.
    fn archive_alone(&self) -> Log {
        let options = LogOptions { hot: None, ..(*self.options).clone() };
        Log { options: Arc::new(options), ..self.clone() }
    }

    /// Its marks; `None` when only the archive is read.
    pub fn control(&self) -> Option<&Arc<Control>> {
        self.control.as_ref()
    }

    /// Finds the end of the log, cuts a torn tail, refuses damage. Only the writing process, before
    /// [`Log::writer`]. Cost: reads the whole log.
    pub fn recover(&self) -> Result<Recovered, StoreError> {
        recovery::recover(self, Place::START)
    }

    /// The same, but reads from the record `from` on, the last that a snapshot covers: what lies before
    /// it is neither read nor checked until a reader does, but its segments have to be there. Fails, and
    /// changes nothing, when that record is not there, or another one is. Above what the log itself
    /// confirms (this boot's committed mark, the confirmed file, the archive's group marks) a torn group
    /// may lie before it: then the whole log is read, which [`Recovered::read_from`] says. Cost: reads
    /// the rest of the log.
    pub fn recover_from(&self, from: Place) -> Result<Recovered, StoreError> {
        recovery::recover(self, from)
    }

    /// Cuts a recovered log back to `position`, the start of a record or the end, so that the next
    /// record is `next_seq`. For the event log, whose tail is rebuilt from commands.
    pub fn cut(
        &self,
        recovered: Recovered,
        position: u64,
        next_seq: crate::types::Seq,
    ) -> Result<Recovered, StoreError> {
        recovery::cut(self, recovered, position, next_seq)
    }

    /// The one writer, continuing where recovery ended.
    pub fn writer(&self, recovered: &Recovered) -> Result<Writer, StoreError> {
        Writer::open(self, recovered)
    }

    /// A reader at the first record that follows up to the committed mark (without a control page:
    /// to the last whole record).
    pub fn reader(&self) -> Result<Reader, StoreError> {
        Reader::open(self)
    }

    /// A reader at the first record that stops at the first record that is not whole, whatever the
    /// marks say. For recovery, in the writing process, between [`Log::recover`] and
    /// [`Log::writer`] (open another one afterwards: this one may have mapped an archived segment
    /// that is written on in the hot tier), and for archives.
    pub fn reader_unbounded(&self) -> Result<Reader, StoreError> {
        Reader::open_unbounded(self)
    }
}

/// When a command counts as committed on one node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CommitPolicy {
    /// At once: survives the process. Lost with the machine's memory: what the archiver has not
    /// written yet.
    Memory,
    /// After fdatasync by the archiver: survives the machine's memory.
    Disk,
}

impl CommitPolicy {
    /// Moves the committed mark of `log` to what this policy allows now and returns it. Called by
    /// the log's writing thread after its appends. O(1), no system call.
    #[inline]
    pub fn advance(self, control: &Control, log: LogIndex) -> Mark {
        let mark = match self {
            CommitPolicy::Memory => control.written(log),
            CommitPolicy::Disk if planted::is(Bug::ReplyBeforeCommit) => control.written(log),
            CommitPolicy::Disk => control.archived(log),
        };
        control.set_committed(log, mark);
        mark
    }
}
