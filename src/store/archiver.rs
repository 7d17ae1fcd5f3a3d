//! The archiver: copies both logs from the hot tier to disk.
//!
//! Consumes what the writers have published (committed or not: under `Disk` the commit waits for
//! this); produces segment files of the same bytes, the archived mark after fdatasync, and the
//! confirmed file. Checks every record on its way: nothing damaged goes to disk. May block, so it
//! runs on a thread of its own; nobody on the order path waits for it but the commit under `Disk`.
//!
//! A write that fails is tried again (the same bytes at the same place), a failed fdatasync never:
//! the kernel may have dropped the pages it failed on and would call the next one a success.

use super::confirmed::ConfirmedFile;
use super::preparer::Preparer;
use super::record::{HEADER_BYTES, KIND_PAD};
use super::recovery::source;
use super::segment::{
    SEGMENT_HEADER_BYTES, Segment, check_header, file_name, header_bytes, sync_dir,
};
use super::{
    CommitPolicy, Control, Damage, Log, LogIndex, Mark, OpenMode, StorageFile, StoreError,
};
use crate::agent::Agent;
use crate::planted::{self, Bug};
use crate::types::{Nanos, Seq};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A group of this size is written at once: 64 to 256 KiB cost hardly more than 4 KiB (fdatasync
/// p50 213 us at 4 KiB, 244 us at 64 KiB on a virtual disk).
const GROUP_BYTES: u64 = 256 << 10;
/// A group is not longer than this (but always one record): 605 us at 1 MiB, and six times the
/// throughput of 64 KiB when the archiver has to catch up.
const GROUP_BYTES_MAX: usize = 1 << 20;
/// Nobody waits for events on disk, and their fdatasync would delay the commands'.
const EVENT_GROUP_WAIT_NS: u64 = 2_000_000;
/// The confirmed file follows the archived mark this often. Between, a crash of the machine finds
/// records on disk that were synced and are taken for an unconfirmed tail: kept when whole.
const CONFIRM_INTERVAL_NS: u64 = 5_000_000;
/// After a failure that may pass (disk full) tried again this much later.
const RETRY_NS: u64 = 100_000_000;

/// How the archiver groups writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArchiverOptions {
    /// Time to wait for more bytes before a group is written; 0 = at once. Nanoseconds.
    pub group_wait_ns: u64,
}

impl ArchiverOptions {
    /// 1 ms under `Memory`, at once under `Disk`, where orders wait for it.
    pub fn for_policy(policy: CommitPolicy) -> ArchiverOptions {
        ArchiverOptions {
            group_wait_ns: match policy {
                CommitPolicy::Memory => 1_000_000,
                CommitPolicy::Disk => 0,
            },
        }
    }
}

/// The archiver of a day. May block: a thread of its own.
pub struct Archiver {
    control: Arc<Control>,
    /// Command log, event log; none without an archive.
    logs: Vec<ArchivedLog>,
    preparer: Option<Preparer>,
    /// What the event log may be archived to once the commands are archived to the second: events
    /// never outrun the commands that explain them.
    events_after: Option<(u64, u64)>,
    #[cfg(test)]
    abandoned: bool,
}

struct ArchivedLog {
    log: Log,
    group_wait_ns: u64,
    position: u64,
    seq: u64,
    source: Option<Arc<Segment>>,
    target: Option<(u64, Box<dyn StorageFile>)>,
    /// The next segment's file, made in a quiet moment: its fsyncs would stand before a commit.
    next_target: Option<(u64, Box<dyn StorageFile>)>,
    pending_since: Option<Nanos>,
    confirmed: ConfirmedFile,
    confirmed_at: Nanos,
    retry_at: Nanos,
    /// The last group could not be written; told once.
    waits: bool,
    look_ahead_at: Nanos,
    sync: SyncCall,
}

/// What makes a group durable; tests put in others.
type SyncCall = fn(&dyn StorageFile) -> io::Result<()>;

/// Why a group did not get to disk.
enum Failure {
    /// May pass: nothing was called durable, nothing is lost.
    Later(StoreError),
    /// For good.
    Final(StoreError),
}

impl Archiver {
    pub(super) fn new(
        control: Arc<Control>,
        logs: [&Log; 2],
        options: ArchiverOptions,
    ) -> Result<Archiver, StoreError> {
        let mut archived = Vec::new();
        for log in logs {
            let Some(dir) = &log.options.archive else { continue };
            let confirmed = ConfirmedFile::open(&*log.options.storage, dir, log.options.log)?;
            let state = *confirmed.state();
            archived.push(ArchivedLog {
                log: log.clone(),
                group_wait_ns: match log.options.log {
                    LogIndex::Command => options.group_wait_ns,
                    LogIndex::Event => options.group_wait_ns.max(EVENT_GROUP_WAIT_NS),
                },
                position: log.options.normal(state.position),
                seq: state.seq,
                source: None,
                target: None,
                next_target: None,
                pending_since: None,
                confirmed,
                confirmed_at: Nanos(0),
                retry_at: Nanos(0),
                waits: false,
                look_ahead_at: Nanos(0),
                sync: |file| file.sync_data(),
            });
        }
        let preparer = Some(Preparer::new(Arc::clone(&control), logs)?);
        Ok(Archiver {
            control,
            logs: archived,
            preparer,
            events_after: None,
            #[cfg(test)]
            abandoned: false,
        })
    }

    /// Takes the preparing of hot segments out, for a thread of its own: then a disk that takes
    /// seconds for an fdatasync cannot delay it.
    pub fn take_preparer(&mut self) -> Option<Preparer> {
        self.preparer.take()
    }

    /// Archives and confirms everything written so far, waiting as long as it takes. For an orderly
    /// end, after the writers have stopped.
    pub fn drain(&mut self) -> Result<(), StoreError> {
        for at in 0..self.logs.len() {
            let log = &mut self.logs[at];
            let target = self.control.written(log.log.options.log).position;
            if self.control.archive_failed().is_some() {
                break; // its error was reported when it happened
            }
            while log.position < target {
                match log.group(&self.control, target) {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(Failure::Later(error)) => return Err(error),
                    Err(Failure::Final(error)) => {
                        self.control.set_archive_failed(error.errno().unwrap_or(libc::EIO));
                        return Err(error);
                    }
                }
            }
            log.confirm(&self.control)?;
        }
        Ok(())
    }

    /// Ends as a killed process does: without draining.
    #[cfg(test)]
    pub(super) fn abandon(mut self) {
        self.abandoned = true;
    }

    /// What fdatasync answers from now on.
    #[cfg(test)]
    pub(super) fn fail_syncs(&mut self, sync: SyncCall) {
        for log in &mut self.logs {
            log.sync = sync;
        }
    }

    fn archive(&mut self, at: usize, target: u64, now: Nanos) -> usize {
        let log = &mut self.logs[at];
        if !log.due(target, now) {
            return 0;
        }
        match log.group(&self.control, target) {
            Ok(records) => {
                log.pending_since = None;
                if log.waits {
                    log.waits = false;
                    tracing::info!("the archive of the {} log goes on", log.log.options.log.name());
                    if !self.logs.iter().any(|l| l.waits) {
                        self.control.set_archive_waits(0);
                    }
                }
                records
            }
            Err(Failure::Later(error)) => {
                log.retry_at = now.plus(RETRY_NS);
                if !log.waits {
                    log.waits = true;
                    tracing::error!(%error, "the archive waits; trying on");
                }
                self.control.set_archive_waits(error.errno().unwrap_or(libc::EIO));
                0
            }
            Err(Failure::Final(error)) => {
                tracing::error!(%error, "the archive has failed for good");
                self.control.set_archive_failed(error.errno().unwrap_or(libc::EIO));
                0
            }
        }
    }

    fn archive_both(&mut self, now: Nanos) -> usize {
        if self.logs.len() < 2 || self.control.archive_failed().is_some() {
            return 0;
        }
        if self.events_after.is_none() {
            // Events first: the commands read afterwards include the ones that made them.
            let events = self.control.written(LogIndex::Event).position;
            let commands = self.control.written(LogIndex::Command).position;
            self.events_after = Some((events, commands));
        }
        let commands = self.control.written(LogIndex::Command).position;
        let mut records = self.archive(0, commands, now);
        if let Some((events, commands)) = self.events_after
            && self.logs[0].position >= commands
        {
            records += self.archive(1, events, now);
            if self.logs[1].position >= events {
                self.events_after = None;
            }
        }
        if records == 0 {
            for log in self.logs.iter_mut().filter(|l| now >= l.look_ahead_at) {
                if log.look_ahead().is_err() {
                    // Met again, and reported, when the file is needed.
                    log.look_ahead_at = now.plus(RETRY_NS);
                }
            }
        }
        for log in &mut self.logs {
            let due = now.since(log.confirmed_at) >= CONFIRM_INTERVAL_NS;
            if due && log.position != log.confirmed.state().position {
                log.confirmed_at = now;
                if let Err(error) = log.confirm(&self.control) {
                    tracing::error!(%error, "the archive has failed for good");
                    self.control.set_archive_failed(error.errno().unwrap_or(libc::EIO));
                }
            }
        }
        records
    }
}

impl ArchivedLog {
    /// True when a group up to `target` is worth its fdatasync now.
    fn due(&mut self, target: u64, now: Nanos) -> bool {
        if target <= self.position || now < self.retry_at {
            return false;
        }
        let since = *self.pending_since.get_or_insert(now);
        target - self.position >= GROUP_BYTES || now.since(since) >= self.group_wait_ns
    }

    /// Writes and syncs the next group, at most up to `target`, and moves the archived mark;
    /// returns its records (a pad is one).
    fn group(&mut self, control: &Control, target: u64) -> Result<usize, Failure> {
        let options = Arc::clone(&self.log.options);
        let (index, start) = options.split(self.position);
        let segment = match &self.source {
            Some(segment) if segment.index() == index => Arc::clone(segment),
            _ => {
                let found = source(&self.log, index).map_err(Failure::Later)?;
                let missing = || StoreError::Missing { path: file_name(options.log, index).into() };
                let segment = found.ok_or_else(|| Failure::Final(missing()))?;
                Arc::clone(self.source.insert(segment))
            }
        };

        let segment_end = options.segment_bytes as usize;
        let (mut end, mut seq, mut records) = (start, self.seq, 0);
        let mut copy_end = start;
        while end < segment_end
            && index * options.segment_bytes + (end as u64) < target
            && (end - start < GROUP_BYTES_MAX)
        {
            let damaged = |why| Failure::Final(self.damaged(&segment, index, end, why));
            let header = segment.header(end, true).map_err(damaged)?;
            if header.seq != seq + 1 {
                return Err(damaged(Damage::Sequence));
            }
            end += header.stride();
            records += 1;
            if header.kind == KIND_PAD {
                copy_end += HEADER_BYTES; // the rest of a pad is zero on both sides
            } else {
                seq = header.seq;
                copy_end = end;
            }
        }
        if records == 0 {
            return Ok(0);
        }

        let file = match &self.target {
            Some((at, file)) if *at == index => file,
            _ => {
                let dir = options.archive.as_deref().expect("only archived logs are here");
                let file = match self.next_target.take() {
                    Some((at, file)) if at == index => file,
                    _ => open_target(dir, &self.log, index).map_err(Failure::Later)?,
                };
                &self.target.insert((index, file)).1
            }
        };
        let path = || {
            let dir = options.archive.clone().unwrap_or_default();
            dir.join(file_name(options.log, index))
        };
        let copied = copy_end - start - 32 * planted::is(Bug::ShortWrite) as usize;
        file.write_all_at(segment.published(start, copied), start as u64)
            .map_err(|e| Failure::Later(StoreError::io("write", &path(), e)))?;
        let sync: SyncCall = if planted::is(Bug::NoSync) { |_| Ok(()) } else { self.sync };
        sync(&**file).map_err(|e| Failure::Final(StoreError::io("sync", &path(), e)))?;

        self.seq = seq;
        self.position = options.normal(index * options.segment_bytes + end as u64);
        control.set_archived(options.log, Mark { seq: Seq(seq), position: self.position });
        control.count_group(options.log);
        Ok(records)
    }

    fn damaged(&self, segment: &Segment, index: u64, offset: usize, why: Damage) -> StoreError {
        let position = index * self.log.options.segment_bytes + offset as u64;
        StoreError::Damaged {
            path: segment.path().into(),
            offset: offset as u64,
            position,
            confirmed: position,
            why,
        }
    }

    /// Makes the next segment's file when this one is half full.
    fn look_ahead(&mut self) -> Result<(), StoreError> {
        let options = &self.log.options;
        let (index, offset) = options.split(self.position);
        let half_full = offset as u64 > options.segment_bytes / 2;
        let made = self.next_target.as_ref().is_some_and(|(at, _)| *at == index + 1);
        if half_full
            && !made
            && let Some(dir) = &options.archive
        {
            self.next_target = Some((index + 1, open_target(dir, &self.log, index + 1)?));
        }
        Ok(())
    }

    /// Says durably what is archived.
    fn confirm(&mut self, control: &Control) -> Result<(), StoreError> {
        if self.position != self.confirmed.state().position && self.seq > 0 {
            self.confirmed.store(self.log.options.log, self.position, self.seq)?;
            control.set_confirmed(self.log.options.log, self.position);
        }
        Ok(())
    }
}

/// The archive file of segment `index`, made when it is not there: allocated and headed under
/// another name first, so that whoever finds it by name finds it complete.
fn open_target(dir: &Path, log: &Log, index: u64) -> Result<Box<dyn StorageFile>, StoreError> {
    let options = &log.options;
    let path = dir.join(file_name(options.log, index));
    match options.storage.open(&path, OpenMode::Write) {
        Ok(file) => {
            let mut header = [0; SEGMENT_HEADER_BYTES];
            file.read_exact_at(&mut header, 0).map_err(|e| StoreError::io("read", &path, e))?;
            check_header(&header, options, index, &path)?;
            // Shorter when it was copied here by hand; never sparse.
            file.allocate(0, options.segment_bytes)
                .map_err(|e| StoreError::io("allocate", &path, e))?;
            return Ok(file);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(StoreError::io("open", &path, error)),
    }
    let draft = path.with_extension("tmp");
    let io = |operation| {
        let draft = draft.clone();
        move |error| StoreError::io(operation, &draft, error)
    };
    let file = options.storage.open(&draft, OpenMode::Create).map_err(io("create"))?;
    file.allocate(0, options.segment_bytes).map_err(io("allocate"))?;
    file.write_all_at(&header_bytes(options, index), 0).map_err(io("write"))?;
    file.sync_all().map_err(io("sync"))?;
    options.storage.rename(&draft, &path).map_err(io("rename"))?;
    sync_dir(&*options.storage, dir)?;
    Ok(file)
}

impl Agent for Archiver {
    fn name(&self) -> &'static str {
        "archiver"
    }

    fn duty_cycle(&mut self, now: Nanos) -> usize {
        let prepared = self.preparer.as_mut().map_or(0, |p| p.step(now));
        prepared + self.archive_both(now)
    }
}

impl Drop for Archiver {
    /// Leaves as little unarchived as possible, whoever forgot to drain.
    fn drop(&mut self) {
        #[cfg(test)]
        if self.abandoned {
            return;
        }
        if !std::thread::panicking() && self.drain().is_err() {
            // Nobody is left to tell, and the hot tier still holds what is missing.
        }
    }
}
