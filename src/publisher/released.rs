//! How far the feed has left: shared between publisher and repair.
//!
//! Consumes the publisher's progress; produces the highest number that repair may tell, so that
//! nobody hears a message privately before all hear it. In the control page it also outlives the
//! process: a restart then knows what may not have left. Must not know messages.

use crate::store::Control;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Number of the last message handed to the host on both lines. Cheap to clone.
#[derive(Clone)]
pub struct Released(Inner);

#[derive(Clone)]
enum Inner {
    Memory(Arc<AtomicU64>),
    Page(Arc<Control>, usize),
}

impl Released {
    /// Shared within this process only.
    pub fn in_memory() -> Released {
        Released(Inner::Memory(Arc::new(AtomicU64::new(0))))
    }

    /// Counter `index` of the control page: also seen by other processes, and kept over a restart
    /// as long as the page is.
    pub fn in_page(control: Arc<Control>, index: usize) -> Released {
        Released(Inner::Page(control, index))
    }

    fn cell(&self) -> &AtomicU64 {
        match &self.0 {
            Inner::Memory(cell) => cell,
            Inner::Page(control, index) => control.counter(*index),
        }
    }

    /// Last message that left, 0 = none, or not known.
    #[inline]
    pub fn get(&self) -> u64 {
        self.cell().load(Ordering::Acquire)
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
