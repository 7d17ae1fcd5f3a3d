//! The preparer: makes segments ahead of the writers, unlinks archived ones.
//!
//! Consumes the written marks and the confirmed position; produces mapped, allocated, touched
//! segments for the writers. Works in small steps because it may share a thread with the archiver,
//! for which orders wait under `Disk`.

use super::segment::{Draft, file_name, list};
use super::{Control, Log, StoreError};
use crate::agent::Agent;
use crate::types::Nanos;
use std::sync::Arc;

/// Segments kept ready behind the one being written.
const AHEAD: u64 = 2;
/// Allocated and touched per cycle while one segment is ready: about 0.3 ms of page faults.
const STEP_BYTES: u64 = 1 << 20;
/// After a failure (hot tier full) tried again this much later.
const RETRY_NS: u64 = 100_000_000;

/// Prepares and unlinks the hot segments of both logs. Allocates memory and makes system calls: not
/// on the hot path's thread.
pub struct Preparer {
    control: Arc<Control>,
    logs: Vec<PreparedLog>,
}

struct PreparedLog {
    log: Log,
    draft: Option<Draft>,
    /// Lowest hot segment that still has a file.
    first_hot: u64,
    retry_at: Nanos,
}

impl Preparer {
    pub(super) fn new(control: Arc<Control>, logs: [&Log; 2]) -> Result<Preparer, StoreError> {
        let mut prepared = Vec::with_capacity(2);
        for log in logs {
            let hot = log.options.hot.as_deref().expect("a log opened for writing");
            let first_hot =
                list(&*log.options.storage, hot, log.options.log)?.first().copied().unwrap_or(0);
            prepared.push(PreparedLog {
                log: log.clone(),
                draft: None,
                first_hot,
                retry_at: Nanos(0),
            });
        }
        Ok(Preparer { control, logs: prepared })
    }

    /// One bounded step; returns steps taken.
    pub(super) fn step(&mut self, now: Nanos) -> usize {
        let mut steps = 0;
        for at in 0..self.logs.len() {
            if now < self.logs[at].retry_at {
                continue;
            }
            match self.logs[at].step(&self.control) {
                Ok(done) => steps += done,
                Err(error) => {
                    // A tier smaller than configured still works, with fewer archived segments hot.
                    if error.is_no_room() && self.make_room(at) {
                        steps += 1;
                        continue;
                    }
                    // What it has allocated may be what the other log lacks.
                    if let Some(draft) = self.logs[at].draft.take() {
                        draft.discard();
                    }
                    self.logs[at].retry_at = now.plus(RETRY_NS);
                    if self.control.prepare_failed().is_none() {
                        tracing::error!(%error, "cannot prepare a hot segment; trying on");
                    }
                    self.control.set_prepare_failed(error.errno().unwrap_or(libc::EIO));
                }
            }
        }
        steps
    }

    /// Unlinks the oldest archived segment of log `at`, or else of the other; false = there is none.
    fn make_room(&mut self, at: usize) -> bool {
        let control = &self.control;
        [at, 1 - at].into_iter().any(|at| {
            let log = &mut self.logs[at];
            let options = &log.log.options;
            let writing = options.split(control.written(options.log).position).0;
            log.may_unlink(control, writing) && log.unlink_oldest(control).is_ok()
        })
    }
}

impl PreparedLog {
    fn step(&mut self, control: &Control) -> Result<usize, StoreError> {
        let Some(pool) = &self.log.pool else { return Ok(0) };
        let options = &self.log.options;
        let log = options.log;
        let hot = options.hot.as_deref().expect("a log opened for writing");
        let next = pool.prepared();
        if next == 0 {
            return Ok(0); // the writer is not open yet
        }
        let writing = options.split(control.written(log).position).0;
        let mut steps = pool.release_below(self.first_hot);
        if next > writing + AHEAD {
            return Ok(steps);
        }
        if next - self.first_hot >= options.hot_segments_max as u64 {
            if !self.may_unlink(control, writing) {
                return Ok(steps);
            }
            self.unlink_oldest(control)?;
            return Ok(steps + 1);
        }
        let draft = match &mut self.draft {
            Some(draft) => draft,
            None => self.draft.insert(Draft::begin(hot, options, next)?),
        };
        // Nothing ready any more: the writer comes first.
        let urgent = next <= writing + 1;
        let ready = draft.advance(if urgent { u64::MAX } else { STEP_BYTES })?;
        steps += 1;
        if ready && let Some(draft) = self.draft.take() {
            pool.add(draft.finish(options, &[])?);
            control.count_prepared(log);
            control.set_prepare_failed(0);
        }
        Ok(steps)
    }

    fn unlink_oldest(&mut self, control: &Control) -> Result<(), StoreError> {
        let options = &self.log.options;
        let hot = options.hot.as_deref().expect("a log opened for writing");
        let path = hot.join(file_name(options.log, self.first_hot));
        match options.storage.unlink(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::io("unlink", &path, error));
            }
            _ => self.first_hot += 1,
        }
        control.count_unlinked(options.log);
        // The file's memory comes back with the last mapping.
        if let Some(pool) = &self.log.pool {
            pool.release_below(self.first_hot);
        }
        Ok(())
    }

    /// True when the oldest hot segment is on disk for sure, and no longer written.
    fn may_unlink(&self, control: &Control, writing: u64) -> bool {
        let end = (self.first_hot + 1) * self.log.options.segment_bytes;
        self.log.options.archive.is_some()
            && self.first_hot < writing
            && control.confirmed(self.log.options.log) >= end
    }
}

impl Agent for Preparer {
    fn name(&self) -> &'static str {
        "preparer"
    }

    fn duty_cycle(&mut self, now: Nanos) -> usize {
        self.step(now)
    }
}
