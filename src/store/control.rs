//! The control page: how far both logs have got, shared with every process that reads them.
//!
//! Consumes marks from the writer, the committer and the archiver (one thread each); readers poll
//! them. Lies in the hot directory, so it lives exactly as long as the hot tier. Layout: `store.md`,
//! Control page.
//! How a mark's two words are stored and loaded: `publish`.

use super::publish::MarkCell;
use super::segment::sync_dir;
use super::{LogIndex, LogOptions, Mapping, OpenMode, Storage, StoreError};
use crate::types::{Nanos, Seq};
use std::io;
use std::mem::offset_of;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

const MAGIC: u64 = u64::from_le_bytes(*b"RIALTOCP");
const VERSION: u64 = 1;
/// File name in the hot directory.
pub(super) const FILE_NAME: &str = "control";
/// Bytes of the owner's path at most.
const OWNER_BYTES_MAX: usize = 1024;

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
    /// Bytes the hot tier of that log can hold for sure: the segment in which the archive stands may be
    /// held in vain.
    pub hot_bytes: u64,
}

impl Backlog {
    /// From this share on orders that add are refused, cancels go on. Percent.
    pub const CANCEL_ONLY_PERCENT: u64 = 50;
    /// From this share on everything halts. Percent.
    pub const HALT_PERCENT: u64 = 90;

    /// Share of the hot tier that is not archived, in percent, 0 ..= 100. A tier that holds nothing for
    /// sure is full of whatever there is.
    pub fn percent(&self) -> u64 {
        if self.bytes == 0 {
            return 0;
        }
        let share = u128::from(self.bytes) * 100 / u128::from(self.hot_bytes.max(1));
        share.min(100) as u64
    }
}

#[repr(C, align(128))]
struct LogCell {
    written: MarkCell<AtomicU64>,
    committed: MarkCell<AtomicU64>,
    archived: MarkCell<AtomicU64>,
    /// Constants of the log, and the archiver's figures.
    log_id: AtomicU64,
    segment_bytes: AtomicU64,
    hot_bytes: AtomicU64,
    /// Log position up to which the confirmed file on disk vouches.
    confirmed: AtomicU64,
    groups: AtomicU64,
    prepared: AtomicU64,
    unlinked: AtomicU64,
}

#[repr(C, align(128))]
struct Page {
    magic: AtomicU64,
    version: AtomicU64,
    pid: AtomicU64,
    started: AtomicU64,
    boot: AtomicU64,
    archive_errno: AtomicU64,
    prepare_errno: AtomicU64,
    archive_retry_errno: AtomicU64,
    owner_len: AtomicU64,
    logs: [LogCell; 2],
    counters: [AtomicU64; 64],
    owner: [AtomicU64; OWNER_BYTES_MAX / 8],
}

const _: () = {
    assert!(offset_of!(LogCell, committed) == 128 && offset_of!(LogCell, archived) == 256);
    assert!(offset_of!(LogCell, log_id) == 384 && size_of::<LogCell>() == 512);
    assert!(offset_of!(Page, logs) == 128 && offset_of!(Page, counters) == 1152);
    assert!(offset_of!(Page, owner) == 1664 && size_of::<Page>() <= PAGE_BYTES);
};
const PAGE_BYTES: usize = 4096;

/// The mapped control page.
pub struct Control {
    map: Mapping,
    writable: bool,
}

impl Control {
    /// Makes the page in `dir` for the day in `owner`; visible under its name only when complete.
    pub(super) fn create(
        storage: &dyn Storage,
        dir: &Path,
        owner: &Path,
        logs: [&LogOptions; 2],
        file_bytes: u64,
    ) -> Result<Control, StoreError> {
        let path = dir.join(FILE_NAME);
        let draft = dir.join("control.tmp");
        let io = |operation| {
            let draft = draft.clone();
            move |error| StoreError::io(operation, &draft, error)
        };
        let file = storage.open(&draft, OpenMode::Create).map_err(io("create"))?;
        file.set_len(file_bytes).map_err(io("extend"))?;
        file.allocate(0, file_bytes).map_err(io("allocate"))?;
        let map = file.map(PAGE_BYTES, true).map_err(io("map"))?;
        let control = Control { map, writable: true };
        control.set_owner(owner)?;
        let page = control.page();
        for options in logs {
            let cell = control.cell(options.log);
            cell.log_id.store(options.log_id, Ordering::Relaxed);
            cell.segment_bytes.store(options.segment_bytes, Ordering::Relaxed);
        }
        page.version.store(VERSION, Ordering::Relaxed);
        page.magic.store(MAGIC, Ordering::Release);
        // On a disk a power cut would leave its name without its bytes, and segments without it.
        file.sync_all().map_err(io("sync"))?;
        storage.rename(&draft, &path).map_err(io("rename"))?;
        sync_dir(storage, dir)?;
        Ok(control)
    }

    /// Opens the page in `dir`; `None` when there is none.
    pub(super) fn open(
        storage: &dyn Storage,
        dir: &Path,
        writable: bool,
    ) -> Result<Option<Control>, StoreError> {
        let path = dir.join(FILE_NAME);
        let mode = if writable { OpenMode::Write } else { OpenMode::Read };
        let file = match storage.open(&path, mode) {
            Ok(file) => file,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(StoreError::io("open", &path, error)),
        };
        let len = file.len().map_err(|e| StoreError::io("stat", &path, e))?;
        let bad = |why: &str| StoreError::NotALog { path: path.clone(), why: why.into() };
        if len < PAGE_BYTES as u64 {
            return Err(bad("shorter than a control page"));
        }
        let map = file.map(PAGE_BYTES, writable).map_err(|e| StoreError::io("map", &path, e))?;
        let control = Control { map, writable };
        if control.page().magic.load(Ordering::Acquire) != MAGIC {
            return Err(bad("no control page"));
        }
        if control.page().version.load(Ordering::Relaxed) != VERSION {
            return Err(bad("control page of another version"));
        }
        Ok(Some(control))
    }

    #[inline]
    fn page(&self) -> &Page {
        // SAFETY: the mapping is page-aligned, 4096 bytes long, and lives as long as `self`; Page is
        // repr(C), made of atomics only, at most 4096 bytes (asserted), so any bytes are valid and
        // other processes may store while we load. Stores go through `page_mut` checks.
        unsafe { &*self.map.base().cast::<Page>() }
    }

    #[inline]
    fn cell(&self, log: LogIndex) -> &LogCell {
        &self.page().logs[log as usize]
    }

    /// The cell for a store. A store into a read-only mapping would be a SIGSEGV: panic instead.
    #[inline]
    fn cell_mut(&self, log: LogIndex) -> &LogCell {
        assert!(self.writable, "marks are moved by the writing process only");
        self.cell(log)
    }

    /// Last record published by the writer.
    #[inline]
    pub fn written(&self, log: LogIndex) -> Mark {
        self.cell(log).written.load()
    }

    /// Last record readers may see.
    #[inline]
    pub fn committed(&self, log: LogIndex) -> Mark {
        self.cell(log).committed.load()
    }

    /// Position behind the last record readers may see: one load.
    #[inline]
    pub(super) fn committed_position(&self, log: LogIndex) -> u64 {
        self.cell(log).committed.position()
    }

    /// Last record on disk for sure.
    #[inline]
    pub fn archived(&self, log: LogIndex) -> Mark {
        self.cell(log).archived.load()
    }

    /// Log position up to which the archive itself says, durably, that it is whole; lags
    /// [`Control::archived`] by a few ms.
    pub fn confirmed(&self, log: LogIndex) -> u64 {
        self.cell(log).confirmed.load(Ordering::Acquire)
    }

    /// Moves the committed mark; only the log's writing thread. Never moves back: an older mark is
    /// ignored. Panics when opened read-only.
    #[inline]
    pub fn set_committed(&self, log: LogIndex, mark: Mark) {
        self.cell_mut(log).committed.raise(mark);
    }

    #[inline]
    pub(super) fn set_written(&self, log: LogIndex, mark: Mark) {
        self.cell_mut(log).written.store(mark);
    }

    pub(super) fn set_archived(&self, log: LogIndex, mark: Mark) {
        self.cell_mut(log).archived.store(mark);
    }

    pub(super) fn set_confirmed(&self, log: LogIndex, position: u64) {
        self.cell_mut(log).confirmed.store(position, Ordering::Release);
    }

    /// Moves the committed mark back, when recovery cuts what nobody was told.
    pub(super) fn lower_committed(&self, log: LogIndex, mark: Mark) {
        self.cell_mut(log).committed.lower(mark);
    }

    /// How far the archiver is behind.
    pub fn backlog(&self, log: LogIndex) -> Backlog {
        let cell = self.cell(log);
        let archived = self.archived(log).position;
        let hot_bytes = cell.hot_bytes.load(Ordering::Relaxed);
        let segment_bytes = cell.segment_bytes.load(Ordering::Relaxed);
        Backlog {
            bytes: self.written(log).position.saturating_sub(archived),
            hot_bytes: hot_bytes.saturating_sub(segment_bytes).max(hot_bytes / 2),
        }
    }

    /// System error number that stopped the archiver for good, `None` = it works. Never goes away
    /// within a run: a failed fdatasync may have dropped the very pages it failed on, and a second
    /// one would say ok.
    pub fn archive_failed(&self) -> Option<i32> {
        errno(&self.page().archive_errno)
    }

    /// System error number of the archiver's last attempt to make or write a file, which it tries
    /// again (disk full); `None` = it went well.
    pub fn archive_waits(&self) -> Option<i32> {
        errno(&self.page().archive_retry_errno)
    }

    /// System error number of the last attempt to prepare a hot segment, which is tried again (hot
    /// tier full); `None` = it went well.
    pub fn prepare_failed(&self) -> Option<i32> {
        errno(&self.page().prepare_errno)
    }

    pub(super) fn set_archive_failed(&self, error: i32) {
        self.page_mut().archive_errno.store(error as u32 as u64, Ordering::Release);
    }

    pub(super) fn set_archive_waits(&self, error: i32) {
        self.page_mut().archive_retry_errno.store(error as u32 as u64, Ordering::Release);
    }

    pub(super) fn set_prepare_failed(&self, error: i32) {
        self.page_mut().prepare_errno.store(error as u32 as u64, Ordering::Release);
    }

    /// Process that writes the logs, 0 = none (it ended in good order).
    pub fn writer_pid(&self) -> u32 {
        u32::try_from(self.page().pid.load(Ordering::Acquire)).unwrap_or(0)
    }

    /// When it started.
    pub fn started(&self) -> Nanos {
        Nanos(self.page().started.load(Ordering::Acquire))
    }

    /// One of 64 numbers that the writing process shows to others; `index` 0..64, else panics. Only
    /// the writing process may store.
    #[inline]
    pub fn counter(&self, index: usize) -> &AtomicU64 {
        &self.page().counters[index]
    }

    /// Groups archived, segments prepared, hot segments unlinked, in this run and earlier ones.
    pub fn archive_counts(&self, log: LogIndex) -> [u64; 3] {
        let cell = self.cell(log);
        [&cell.groups, &cell.prepared, &cell.unlinked].map(|c| c.load(Ordering::Relaxed))
    }

    pub(super) fn count_group(&self, log: LogIndex) {
        self.cell_mut(log).groups.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_prepared(&self, log: LogIndex) {
        self.cell_mut(log).prepared.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_unlinked(&self, log: LogIndex) {
        self.cell_mut(log).unlinked.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn log_id(&self, log: LogIndex) -> u64 {
        self.cell(log).log_id.load(Ordering::Relaxed)
    }

    /// Number of the boot in which the page was last written; after another boot its marks say
    /// nothing.
    pub(super) fn boot(&self) -> u64 {
        self.page().boot.load(Ordering::Relaxed)
    }

    /// The day's directory that this hot tier belongs to.
    pub(super) fn owner(&self) -> PathBuf {
        let page = self.page();
        let len = page.owner_len.load(Ordering::Relaxed).min(OWNER_BYTES_MAX as u64) as usize;
        let mut bytes: Vec<u8> =
            page.owner.iter().flat_map(|w| w.load(Ordering::Relaxed).to_le_bytes()).collect();
        bytes.truncate(len);
        PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes))
    }

    pub(super) fn set_owner(&self, owner: &Path) -> Result<(), StoreError> {
        let page = self.page_mut();
        let bytes = owner.as_os_str().as_encoded_bytes();
        if bytes.len() > OWNER_BYTES_MAX {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "path above 1024 bytes");
            return Err(StoreError::io("note in the control page", owner, error));
        }
        for (word, bytes) in page.owner.iter().zip(bytes.chunks(8)) {
            let mut le = [0; 8];
            le[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_le_bytes(le), Ordering::Relaxed);
        }
        page.owner_len.store(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn set_boot(&self, boot: u64) {
        self.page_mut().boot.store(boot, Ordering::Relaxed);
    }

    /// So many percent of the hot tier of a day that nobody writes are not archived.
    #[cfg(test)]
    pub(crate) fn pretend_backlog(&self, percent: u64) {
        let bytes = (self.backlog(LogIndex::Command).hot_bytes * percent).div_ceil(100);
        let archived = self.archived(LogIndex::Command);
        let position = archived.position + bytes;
        self.set_written(LogIndex::Command, Mark { position, ..archived });
    }

    #[cfg(test)]
    pub(super) fn pretend_reboot(&self) {
        self.page_mut().boot.fetch_add(1, Ordering::Relaxed);
    }

    /// A writing process takes over.
    pub(super) fn begin(&self, pid: u32, now: Nanos, boot: u64, hot_bytes: [u64; 2]) {
        let page = self.page_mut();
        for log in LogIndex::ALL {
            self.cell_mut(log).hot_bytes.store(hot_bytes[log as usize], Ordering::Relaxed);
        }
        page.archive_errno.store(0, Ordering::Relaxed);
        page.archive_retry_errno.store(0, Ordering::Relaxed);
        page.prepare_errno.store(0, Ordering::Relaxed);
        page.boot.store(boot, Ordering::Relaxed);
        page.started.store(now.0, Ordering::Relaxed);
        page.pid.store(u64::from(pid), Ordering::Release);
    }

    /// The writing process ends in good order.
    pub(super) fn end(&self) {
        self.page_mut().pid.store(0, Ordering::Release);
    }

    fn page_mut(&self) -> &Page {
        assert!(self.writable, "the control page is written by the writing process only");
        self.page()
    }
}

fn errno(word: &AtomicU64) -> Option<i32> {
    match word.load(Ordering::Acquire) as u32 as i32 {
        0 => None,
        error => Some(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_is_never_nothing_for_want_of_a_size() {
        for (bytes, hot_bytes, percent) in [
            (0, 0, 0),
            (0, 1_000, 0),
            (499, 1_000, 49),
            (500, 1_000, 50),
            (2_000, 1_000, 100),
            (1, 0, 100),
            (u64::MAX, u64::MAX, 100),
        ] {
            assert_eq!(Backlog { bytes, hot_bytes }.percent(), percent, "{bytes} of {hot_bytes}");
        }
    }
}
