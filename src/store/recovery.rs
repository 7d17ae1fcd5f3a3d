//! What start finds in the logs, and what it does about a torn tail.
//!
//! Consumes the segments of hot tier and archive, the confirmed file and the control page of an
//! earlier run; produces the place where the writer continues, with nothing but zeros behind it.
//! Rules: `store.md`, Recovery. Runs in the writing process, before any writer is open.

use super::confirmed::ConfirmedFile;
use super::reader::open_file;
use super::segment::{SEGMENT_HEADER_BYTES, Segment, file_name, list, sync_dir};
use super::target::{clear_marks, vouched};
use super::{Damage, Log, LogOptions, Mark, OpenMode, ReadError, Reader, Storage, StoreError};
use crate::planted::{self, Bug};
use crate::types::{Nanos, Seq};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What recovery found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovered {
    /// Number of the next record to write.
    pub next_seq: Seq,
    /// Log position behind the last record.
    pub position: u64,
    /// Log position from which on records were read; those before were vouched for.
    pub read_from: u64,
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
    /// What was wrong; `Absent` = bytes of a record that was never published.
    pub why: Damage,
}

/// A record from which on recovery reads: it is known to be whole, and nothing before it is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Its number.
    pub seq: Seq,
    /// Its start, log position.
    pub position: u64,
}

impl Place {
    /// The whole log.
    pub const START: Place = Place { seq: Seq(1), position: 0 };
}

/// What a walk over the records found.
struct Walk {
    /// Where it began.
    from: u64,
    next_seq: u64,
    position: u64,
    time: u64,
    term: u32,
    why: Option<Damage>,
}

/// See [`Log::recover`] and [`Log::recover_from`].
pub(super) fn recover(log: &Log, wanted: Place) -> Result<Recovered, StoreError> {
    let mut log = log.clone();
    let options = Arc::clone(&log.options);
    let hot = options.hot.clone().expect("a log opened for writing");
    if let Some(dir) = &options.archive {
        let indices = list(&*options.storage, dir, options.log)?;
        log.confirmed.fetch_max(vouched(dir, &options, &indices)?, Ordering::AcqRel);
    }
    // Above what is confirmed a torn group may lie before a record that is whole, and in a doubtful hot
    // tier a missing page: readers come to it later.
    let confirmed = wanted.position < log.confirmed.load(Ordering::Acquire);
    let from = if confirmed && !log.hot_doubtful { wanted } else { Place::START };
    segments_before(&options, options.split(from.position).0)?;
    let mut walk = walk(&log, from);
    if log.hot_doubtful {
        walk = prefer_archive(&mut log, &hot, from, walk)?;
    }
    let walk = walk?;
    if wanted != Place::START && walk.next_seq <= wanted.seq.0 {
        // Before anything is cut: there is no such record.
        return Err(damaged(&log, &walk, wanted.position));
    }
    let hot_segments = list(&*options.storage, &hot, options.log)?;
    let from_archive = hot_segments.is_empty() && walk.next_seq > 1;

    let (index, offset) = options.split(walk.position);
    refuse_later_records(&log, index, &walk)?;
    let mut cleared = false;
    if let Some(dir) = &options.archive {
        cleared |= clear_archive(dir, &options, index, offset, Marks::Keep)?;
    }
    cleared |= clear_hot(&hot, &options, index, offset)?;
    let why = walk.why.unwrap_or(Damage::Absent);
    let cut = (cleared || why != Damage::Absent).then(|| Cut {
        at: walk.position,
        path: place(&options, index),
        why,
    });

    confirm(&log, &walk, from_archive)?;
    Ok(Recovered {
        next_seq: Seq(walk.next_seq),
        position: walk.position,
        read_from: walk.from,
        records: walk.next_seq - 1,
        last_time: Nanos(walk.time),
        last_term: walk.term,
        cut,
        from_archive,
    })
}

/// See [`Log::cut`].
pub(super) fn cut(
    log: &Log,
    mut recovered: Recovered,
    position: u64,
    next_seq: Seq,
) -> Result<Recovered, StoreError> {
    let options = &log.options;
    let position = options.normal(position);
    if position >= recovered.position {
        return Ok(recovered);
    }
    let hot = options.hot.as_deref().expect("a log opened for writing");
    let mark = Mark { seq: Seq(next_seq.0.saturating_sub(1)), position };
    // First take back what is said about the tail, then the tail, and that where it is read last: a
    // crash between leaves a log that recovery accepts.
    lower_confirmed(log, mark)?;
    let (index, offset) = options.split(position);
    if let Some(dir) = &options.archive {
        clear_archive(dir, options, index, offset, Marks::Clear)?;
    }
    clear_hot(hot, options, index, offset)?;
    recovered.records -= recovered.next_seq.0.saturating_sub(next_seq.0).min(recovered.records);
    recovered.next_seq = next_seq;
    recovered.position = position;
    Ok(recovered)
}

/// Reads every record from there on, checksums, numbers and terms.
fn walk(log: &Log, from: Place) -> Result<Walk, StoreError> {
    let mut reader = Reader::open_unbounded(log)?;
    reader.seek_record(from.position, from.seq);
    let mut walk = Walk {
        from: from.position,
        next_seq: from.seq.0,
        position: 0,
        time: 0,
        term: 0,
        why: None,
    };
    loop {
        let position = reader.position();
        let found = match reader.next() {
            Ok(Some(record)) if record.term < walk.term => Err(Damage::Term),
            Ok(Some(record)) => {
                walk.next_seq = record.seq.0 + 1;
                walk.time = record.time.0;
                walk.term = record.term;
                continue;
            }
            Ok(None) => Ok(()),
            Err(ReadError::Damaged { why, .. }) => Err(why),
            Err(ReadError::Open(error)) => return Err(*error),
        };
        // A term that went back was read and has to be given back; else the reader stands still.
        let went_back = found == Err(Damage::Term);
        walk.position = log.options.normal(if went_back { position } else { reader.position() });
        walk.why = found.err().or(reader.stopped());
        let confirmed = log.confirmed.load(Ordering::Acquire);
        if walk.position < log.options.normal(confirmed) && confirmed > 0 {
            return Err(damaged(log, &walk, confirmed));
        }
        return Ok(walk);
    }
}

fn damaged(log: &Log, walk: &Walk, confirmed: u64) -> StoreError {
    let (index, offset) = log.options.split(walk.position);
    StoreError::Damaged {
        path: place(&log.options, index),
        offset: offset as u64,
        position: walk.position,
        confirmed,
        why: walk.why.unwrap_or(Damage::Absent),
    }
}

/// The file that holds segment `index`, as far as there is one.
fn place(options: &LogOptions, index: u64) -> PathBuf {
    let name = file_name(options.log, index);
    let mut dirs = [&options.hot, &options.archive].into_iter().flatten().map(|d| d.join(&name));
    dirs.find(|p| options.storage.exists(p)).unwrap_or_else(|| name.into())
}

/// After a reboot a hot tier on a disk (degraded) holds whatever the kernel had written back. The
/// archive decides unless the hot tier holds more whole records.
fn prefer_archive(
    log: &mut Log,
    hot: &Path,
    from: Place,
    with_hot: Result<Walk, StoreError>,
) -> Result<Result<Walk, StoreError>, StoreError> {
    if log.options.archive.is_none() {
        return Ok(with_hot);
    }
    let archived = walk(&log.archive_alone(), from);
    let hot_is_longer = match (&with_hot, &archived) {
        (Ok(with_hot), Ok(archived)) => with_hot.position > archived.position,
        // Neither is good: say what is wrong with the one that is closer.
        (_, Err(_)) => true,
        (Err(_), Ok(_)) => false,
    };
    if hot_is_longer {
        return Ok(with_hot);
    }
    for index in list(&*log.options.storage, hot, log.options.log)?.into_iter().rev() {
        unlink(&*log.options.storage, &hot.join(file_name(log.options.log, index)))?;
    }
    Ok(archived)
}

/// Segments before `end` are not read, but they have to be there: replay and readers want them.
fn segments_before(options: &LogOptions, end: u64) -> Result<(), StoreError> {
    let mut found = Vec::new();
    for dir in [&options.hot, &options.archive].into_iter().flatten() {
        found.extend(list(&*options.storage, dir, options.log)?);
    }
    match (0..end).find(|index| !found.contains(index)) {
        None => Ok(()),
        Some(index) => {
            let dir = options.archive.as_ref().or(options.hot.as_ref());
            let name = file_name(options.log, index);
            let path = dir.map(|d| d.join(&name)).unwrap_or_else(|| name.into());
            Err(StoreError::Missing { path })
        }
    }
}

/// The tail is cut only if it is the tail. The archiver begins a segment when the one before it is
/// synced whole, and the writer when it has filled it: records in a later segment say that the
/// earlier one was whole once.
fn refuse_later_records(log: &Log, index: u64, walk: &Walk) -> Result<(), StoreError> {
    let options = &log.options;
    // Pages of a hot tier on a disk came back from a power cut in any order: they say nothing.
    let hot = options.hot.as_ref().filter(|_| !log.hot_doubtful);
    for dir in [hot, options.archive.as_ref()].into_iter().flatten() {
        for later in list(&*options.storage, dir, options.log)?.into_iter().filter(|&i| i > index) {
            let Some(segment) = Segment::open(dir, options, later, false)? else { continue };
            if segment.header(SEGMENT_HEADER_BYTES, true).is_ok() {
                return Err(damaged(log, walk, later * options.segment_bytes));
            }
        }
    }
    Ok(())
}

/// Zeroes the hot tier from there on; true when something was not zero.
fn clear_hot(
    hot: &Path,
    options: &LogOptions,
    index: u64,
    offset: usize,
) -> Result<bool, StoreError> {
    let storage = &*options.storage;
    for later in list(storage, hot, options.log)?.into_iter().rev().filter(|&i| i > index) {
        unlink(storage, &hot.join(file_name(options.log, later)))?;
    }
    match Segment::open(hot, options, index, true)? {
        // SAFETY: no writer is open in this process, the data directory's lock keeps others out, and
        // readers stop at the committed mark, which is not behind this place.
        Some(segment) => Ok(unsafe { segment.clear_from(offset) }),
        None => Ok(false),
    }
}

/// Whether the group marks of a segment hold when its tail is cleared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Marks {
    Keep,
    Clear,
}

/// Zeroes the archive from there on, durably; true when something was not zero.
fn clear_archive(
    dir: &Path,
    options: &LogOptions,
    index: u64,
    offset: usize,
    marks: Marks,
) -> Result<bool, StoreError> {
    let storage = &*options.storage;
    let later: Vec<u64> =
        list(storage, dir, options.log)?.into_iter().filter(|&i| i > index).collect();
    for &later in later.iter().rev() {
        unlink(storage, &dir.join(file_name(options.log, later)))?;
    }
    if !later.is_empty() {
        sync_dir(storage, dir)?;
    }
    let path = dir.join(file_name(options.log, index));
    if !storage.exists(&path) {
        return Ok(false);
    }
    let file =
        storage.open(&path, OpenMode::Write).map_err(|e| StoreError::io("open", &path, e))?;
    if marks == Marks::Clear {
        clear_marks(&*file, options).map_err(|e| StoreError::io("clear", &path, e))?;
    }
    let mut cleared = false;
    let mut block = [0u8; 64 << 10];
    let zeros = [0u8; 64 << 10];
    let mut at = offset as u64;
    loop {
        let rest = options.segment_bytes.saturating_sub(at).min(block.len() as u64) as usize;
        let len =
            file.read_at(&mut block[..rest], at).map_err(|e| StoreError::io("read", &path, e))?;
        if len == 0 {
            break;
        }
        let stale = block[..len].iter().any(|&b| b != 0);
        if stale && !planted::is(Bug::TailNotCleared) {
            cleared = true;
            file.write_all_at(&zeros[..len], at).map_err(|e| StoreError::io("clear", &path, e))?;
        }
        at += len as u64;
    }
    // Also when nothing was cleared: the records before may be in the page cache only.
    file.sync_data().map_err(|e| StoreError::io("sync", &path, e))?;
    Ok(cleared)
}

fn unlink(storage: &dyn Storage, path: &Path) -> Result<(), StoreError> {
    storage.unlink(path).map_err(|e| StoreError::io("unlink", path, e))
}

/// Sets archived and confirmed marks to what the archive holds for sure.
fn confirm(log: &Log, walk: &Walk, from_archive: bool) -> Result<(), StoreError> {
    let Some(control) = &log.control else { return Ok(()) };
    // A page of an earlier boot may say more than the logs hold.
    let end = Mark { seq: Seq(walk.next_seq - 1), position: walk.position };
    control.lower_committed(log.options.log, end);
    let Some(dir) = &log.options.archive else { return Ok(()) };
    let mut file = ConfirmedFile::open(&*log.options.storage, dir, log.options.log)?;
    if from_archive && walk.position > file.state().position {
        // All that was read came from the archive, and `clear_archive` has just synced its last
        // file. The one before it was synced before the last was begun.
        file.store(log.options.log, walk.position, walk.next_seq - 1)?;
        log.confirmed.store(walk.position, Ordering::Release);
    } else {
        // Hot segments go by it.
        file.sync()?;
    }
    let state = *file.state();
    let mark = Mark { seq: Seq(state.seq), position: state.position };
    control.set_archived(log.options.log, mark);
    control.set_confirmed(log.options.log, state.position);
    Ok(())
}

fn lower_confirmed(log: &Log, mark: Mark) -> Result<(), StoreError> {
    let lowered: &AtomicU64 = &log.confirmed;
    lowered.fetch_min(mark.position, Ordering::AcqRel);
    let Some(control) = &log.control else { return Ok(()) };
    control.lower_committed(log.options.log, mark);
    let Some(dir) = &log.options.archive else { return Ok(()) };
    let mut file = ConfirmedFile::open(&*log.options.storage, dir, log.options.log)?;
    if file.state().position > mark.position {
        file.store(log.options.log, mark.position, mark.seq.0)?;
    }
    let state = *file.state();
    control.set_archived(log.options.log, Mark { seq: Seq(state.seq), position: state.position });
    control.set_confirmed(log.options.log, state.position);
    Ok(())
}

/// Segment `index` for the archiver: shared, hot or archived.
pub(super) fn source(log: &Log, index: u64) -> Result<Option<Arc<Segment>>, StoreError> {
    if let Some(pool) = &log.pool
        && let super::pool::Lookup::Found(segment) = pool.try_get(index)
    {
        return Ok(Some(segment));
    }
    Ok(open_file(log, index)?.map(Arc::new))
}
