//! How far the feed has left: shared between publisher and repair.
//!
//! Consumes the publisher's progress; produces the highest number that repair may tell, so that
//! nobody hears a message privately before all hear it. In the control page it also outlives the
//! process: a restart then knows what may not have left. When this run said the end, and when repair
//! had all of it, is for whoever ends the day. Must not know messages.

use crate::store::Control;
use crate::types::Nanos;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Number of the last message handed to the host on both lines, and the times at which this run said the
/// end of the feed and could repair all of it. Cheap to clone.
#[derive(Clone)]
pub struct Released {
    left: Inner,
    end: Arc<End>,
}

/// Times of this run, 0 = not yet.
#[derive(Default)]
struct End {
    said: AtomicU64,
    repairable: AtomicU64,
}

#[derive(Clone)]
enum Inner {
    Memory(Arc<AtomicU64>),
    Page(Arc<Control>, usize),
}

impl Released {
    /// Shared within this process only.
    pub fn in_memory() -> Released {
        Released { left: Inner::Memory(Arc::new(AtomicU64::new(0))), end: Arc::default() }
    }

    /// Counter `index` of the control page: also seen by other processes, and kept over a restart
    /// as long as the page is.
    pub fn in_page(control: Arc<Control>, index: usize) -> Released {
        Released { left: Inner::Page(control, index), end: Arc::default() }
    }

    fn cell(&self) -> &AtomicU64 {
        match &self.left {
            Inner::Memory(cell) => cell,
            Inner::Page(control, index) => control.counter(*index),
        }
    }

    /// Last message that left, 0 = none, or not known.
    #[inline]
    pub fn get(&self) -> u64 {
        self.cell().load(Ordering::Acquire)
    }

    /// When this run said the end of session first: every message of the day had left by then.
    #[inline]
    pub fn end_said(&self) -> Option<Nanos> {
        time(&self.end.said)
    }

    /// When repair could answer for every message of the day, not before the end was said.
    #[inline]
    pub fn end_repairable(&self) -> Option<Nanos> {
        time(&self.end.repairable)
    }

    /// The end of session left. Only the publisher calls it.
    pub(super) fn say_end(&self, now: Nanos) {
        note(&self.end.said, now);
    }

    /// Repair knows every message of the day. Only the retransmitter calls it.
    pub fn can_repair_end(&self, now: Nanos) {
        note(&self.end.repairable, now);
    }

    /// Messages up to `feed` have left; a lower number than before (sent again) changes nothing.
    /// Only the publisher calls it.
    #[inline]
    pub(super) fn advance(&self, feed: u64) {
        if feed > self.get() {
            self.set(feed);
        }
    }

    /// Messages up to `feed`, and no more, have left.
    #[inline]
    pub(super) fn set(&self, feed: u64) {
        // Release: repair that sees the number also sees the event log as far.
        self.cell().store(feed, Ordering::Release);
    }
}

fn time(cell: &AtomicU64) -> Option<Nanos> {
    Some(Nanos(cell.load(Ordering::Acquire))).filter(|at| at.0 != 0)
}

/// Only the first time counts.
fn note(cell: &AtomicU64, now: Nanos) {
    if cell.load(Ordering::Relaxed) == 0 {
        cell.store(now.0.max(1), Ordering::Release);
    }
}
