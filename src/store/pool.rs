//! Mappings of hot segments that the threads of the writing process share.
//!
//! Whoever prepares a segment has mapped and touched it; the writer gets that very mapping through
//! a channel, in-process readers find it here, and so neither maps, faults nor unmaps anything on
//! its way from one segment to the next. The pool keeps every mapping alive until its file is
//! unlinked and nobody else holds it, so the munmap is the preparing thread's too.

use super::publish::{HandOver, Receiver};
use super::segment::Segment;
use super::{Control, StorageFile};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

/// What a reader finds.
pub(super) enum Lookup {
    /// The mapping.
    Found(Arc<Segment>),
    /// Not among the shared ones.
    Absent,
    /// Another thread looks just now: ask again.
    Busy,
}

/// The right to write a day: the locks of its data and hot directory. Held by everything that could
/// still write (writers, archiver, preparer reach it through the pool), not only by `Day`.
pub(super) struct Hold {
    pub(super) control: Arc<Control>,
    pub(super) locks: [Box<dyn StorageFile>; 2],
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.control.end();
        for lock in &self.locks {
            lock.unlock();
        }
    }
}

/// The shared mappings of one log.
pub(super) struct Pool {
    _hold: Arc<Hold>,
    segments: Mutex<Vec<Arc<Segment>>>,
    to_writer: HandOver<Arc<Segment>>,
    for_writer: Mutex<Option<Receiver<Arc<Segment>>>>,
}

impl Pool {
    pub(super) fn new(hold: Arc<Hold>, hot_segments_max: usize) -> Pool {
        // The writer is never more segments behind than may exist.
        let (to_writer, for_writer) = HandOver::new(hot_segments_max + 2);
        Pool {
            _hold: hold,
            segments: Mutex::new(Vec::with_capacity(hot_segments_max + 2)),
            to_writer,
            for_writer: Mutex::new(Some(for_writer)),
        }
    }

    /// The lock is held for a few instructions, and what it guards is whole after each of them.
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Segment>>> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer's end; `None` when it was taken.
    pub(super) fn take_writer_end(&self) -> Option<Receiver<Arc<Segment>>> {
        self.for_writer.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Shares the segment that the writer begins with.
    pub(super) fn start(&self, segment: Segment) -> Arc<Segment> {
        let segment = Arc::new(segment);
        self.lock().push(Arc::clone(&segment));
        self.to_writer.begin(segment.index());
        segment
    }

    /// Shares the next segment and passes it to the writer.
    pub(super) fn add(&self, segment: Segment) {
        let index = segment.index();
        assert_eq!(index, self.prepared(), "segments are prepared in order");
        let segment = Arc::new(segment);
        self.lock().push(Arc::clone(&segment));
        self.to_writer.give(index, segment);
    }

    /// Index behind the last segment that is ready; 0 before the writer is open.
    #[inline]
    pub(super) fn prepared(&self) -> u64 {
        self.to_writer.ready()
    }

    /// Segment `index`, never waiting.
    pub(super) fn try_get(&self, index: u64) -> Lookup {
        let segments = match self.segments.try_lock() {
            Ok(segments) => segments,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Lookup::Busy,
        };
        match segments.iter().find(|s| s.index() == index) {
            Some(segment) => Lookup::Found(Arc::clone(segment)),
            None => Lookup::Absent,
        }
    }

    /// Unmaps segments below `index` that nobody else holds; returns how many.
    pub(super) fn release_below(&self, index: u64) -> usize {
        let mut released = 0;
        loop {
            // Out of the guard before the munmap: readers try this lock.
            let idle = {
                let mut segments = self.lock();
                let at =
                    segments.iter().position(|s| s.index() < index && Arc::strong_count(s) == 1);
                at.map(|at| segments.swap_remove(at))
            };
            match idle {
                Some(segment) => drop(segment),
                None => return released,
            }
            released += 1;
        }
    }
}
