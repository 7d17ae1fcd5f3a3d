//! One log on its way to the disk: groups of records, and what the confirmed file says about them.
//!
//! Consumes the published records of a log; produces synced groups in its archived segments and the
//! archived mark. Checks every record on its way: nothing damaged goes to disk. Must not know the
//! other log, nor when it is its turn.

use super::confirmed::ConfirmedFile;
use super::record::{HEADER_BYTES, KIND_PAD};
use super::recovery::source;
use super::segment::{Segment, file_name};
use super::target::{Failure, Target};
use super::{ArchiverOptions, Control, Damage, Log, LogIndex, Mark, StorageFile, StoreError};
use crate::planted::{self, Bug};
use crate::types::{Nanos, Seq};
use std::io;
use std::sync::Arc;

/// A group of this size is written at once, and none is longer (but always one record): fdatasync takes
/// 213 us at 4 KiB, 244 us at 64 KiB, 605 us at 1 MiB (p50 on a virtual disk). Events get fewer turns,
/// so longer ones.
const GROUP_BYTES_MAX: [usize; 2] = [1 << 20, 4 << 20];
/// So is a group that fills this share of the hot tier: its room is for slow disks, not for waiting.
const GROUP_SHARE: u64 = 8;

/// What makes a group durable; tests put in others.
pub(super) type SyncCall = fn(&dyn StorageFile) -> io::Result<()>;

/// A log, its place in the archive, and its confirmed file.
pub(super) struct ArchivedLog {
    pub(super) log: Log,
    pub(super) position: u64,
    pub(super) retry_at: Nanos,
    /// The last group could not be written; told once.
    pub(super) waits: bool,
    pub(super) confirmed_at: Nanos,
    pub(super) sync: SyncCall,
    /// A group is written when its first record has waited so long, or when it has so many bytes.
    group_wait_ns: u64,
    group_bytes: u64,
    seq: u64,
    source: Option<Arc<Segment>>,
    target: Option<Target>,
    /// The next segment's file, made in a quiet moment: its syncs would stand before a commit.
    next_target: Option<NextTarget>,
    look_ahead_at: Nanos,
    pending_since: Option<Nanos>,
    confirmed: ConfirmedFile,
}

/// A file made ahead, by one sync at a time.
enum NextTarget {
    Draft(Target),
    Ready(Target),
}

impl NextTarget {
    fn index(&self) -> u64 {
        match self {
            NextTarget::Draft(target) | NextTarget::Ready(target) => target.index,
        }
    }
}

impl ArchivedLog {
    /// Continues where the confirmed file says; `None` without an archive.
    pub(super) fn open(
        log: &Log,
        control: &Control,
        waits: &ArchiverOptions,
    ) -> Result<Option<ArchivedLog>, StoreError> {
        let Some(dir) = &log.options.archive else { return Ok(None) };
        let confirmed = ConfirmedFile::open(&*log.options.storage, dir, log.options.log)?;
        let state = *confirmed.state();
        let hot_bytes = control.backlog(log.options.log).hot_bytes;
        Ok(Some(ArchivedLog {
            log: log.clone(),
            group_wait_ns: match log.options.log {
                LogIndex::Command => waits.command_wait_ns,
                LogIndex::Event => waits.event_wait_ns,
            },
            group_bytes: (hot_bytes / GROUP_SHARE)
                .min(GROUP_BYTES_MAX[log.options.log as usize] as u64),
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
        }))
    }

    /// True when a group up to `target` is worth its fdatasync now; `wanted`: somebody waits for it.
    pub(super) fn due(&mut self, target: u64, wanted: bool, now: Nanos) -> bool {
        if target <= self.position || now < self.retry_at {
            return false;
        }
        let since = *self.pending_since.get_or_insert(now);
        wanted || self.is_group(target) || now.since(since) >= self.group_wait_ns
    }

    /// True when there is so much up to `target` that a group does not wait for more.
    pub(super) fn is_group(&self, target: u64) -> bool {
        target.saturating_sub(self.position) >= self.group_bytes
    }

    /// Writes and syncs the next group, at most up to `target`, and moves the archived mark;
    /// returns its records (a pad is one). One sync, when the file was made ahead.
    pub(super) fn group(&mut self, control: &Control, target: u64) -> Result<usize, Failure> {
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
            && (end - start < GROUP_BYTES_MAX[options.log as usize])
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

        let (position, last) = (self.position, self.seq);
        let sync: SyncCall = if planted::is(Bug::NoSync) { |_| Ok(()) } else { self.sync };
        let copied = copy_end - start - 32 * usize::from(planted::is(Bug::ShortWrite));
        let target = self.target(index)?;
        target.mark(&options, position, last).map_err(Failure::Later)?;
        let io = |operation, error| StoreError::io(operation, target.path(), error);
        target
            .file
            .write_all_at(segment.published(start, copied), start as u64)
            .map_err(|e| Failure::Later(io("write", e)))?;
        sync(&*target.file).map_err(|e| Failure::Final(io("sync", e)))?;

        self.seq = seq;
        self.position = options.normal(index * options.segment_bytes + end as u64);
        self.pending_since = None;
        control.set_archived(options.log, Mark { seq: Seq(seq), position: self.position });
        control.count_group(options.log);
        Ok(records)
    }

    /// The archive file of segment `index`.
    fn target(&mut self, index: u64) -> Result<&mut Target, Failure> {
        let target = match self.target.take() {
            Some(target) if target.index == index => target,
            _ => {
                let options = &self.log.options;
                let dir = options.archive.as_deref().expect("only archived logs are here");
                match self.next_target.take() {
                    Some(NextTarget::Ready(target)) if target.index == index => target,
                    Some(NextTarget::Draft(target)) if target.index == index => {
                        target.publish(dir, options)?;
                        target
                    }
                    _ => Target::open(dir, options, index)?,
                }
            }
        };
        Ok(self.target.insert(target))
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

    /// Makes the file that is written next: this segment's when there is none yet, the next one's when
    /// this one is half full. One sync at most; true when it did something. A failure that may pass is
    /// met again, and reported, when the file is needed; an error is for good.
    pub(super) fn look_ahead(&mut self, now: Nanos, retry_ns: u64) -> Result<bool, StoreError> {
        let options = &self.log.options;
        let (index, offset) = options.split(self.position);
        let open = self.target.as_ref().is_some_and(|t| t.index == index);
        let half_full = offset as u64 > options.segment_bytes / 2;
        let wanted = index + u64::from(open);
        if (open && !half_full) || now < self.look_ahead_at {
            return Ok(false);
        }
        let Some(dir) = &options.archive else { return Ok(false) };
        let next = match self.next_target.take().filter(|n| n.index() == wanted) {
            Some(NextTarget::Ready(target)) => {
                self.next_target = Some(NextTarget::Ready(target));
                return Ok(false);
            }
            Some(NextTarget::Draft(target)) => {
                target.publish(dir, options).map(|()| NextTarget::Ready(target))
            }
            None => match Target::existing(dir, options, wanted) {
                Ok(Some(target)) => Ok(NextTarget::Ready(target)),
                Ok(None) => Target::draft(dir, options, wanted).map(NextTarget::Draft),
                Err(error) => Err(error),
            }
            .map_err(Failure::Later),
        };
        match next {
            Ok(next) => self.next_target = Some(next),
            Err(Failure::Later(_)) => self.look_ahead_at = now.plus(retry_ns),
            Err(Failure::Final(error)) => return Err(error),
        }
        Ok(true)
    }

    /// True when the next group has a file to go to.
    pub(super) fn has_file(&self) -> bool {
        let index = self.log.options.split(self.position).0;
        let ready = matches!(&self.next_target, Some(NextTarget::Ready(t)) if t.index == index);
        ready || self.target.as_ref().is_some_and(|t| t.index == index)
    }

    /// True when the confirmed file says less than the archive has.
    pub(super) fn is_ahead(&self) -> bool {
        self.position != self.confirmed.state().position && self.seq > 0
    }

    /// True when a confirmed file of now would let go of a hot segment.
    pub(super) fn would_free_segment(&self) -> bool {
        let segment = |position| self.log.options.split(position).0;
        segment(self.position) > segment(self.confirmed.state().position)
    }

    /// Says durably what is archived.
    pub(super) fn confirm(&mut self, control: &Control) -> Result<(), StoreError> {
        if self.is_ahead() {
            self.confirmed.store(self.log.options.log, self.position, self.seq)?;
            control.set_confirmed(self.log.options.log, self.position);
        }
        Ok(())
    }
}
