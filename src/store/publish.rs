//! How a record, a mark and a segment pass from the writer to readers: the order of the stores and
//! what each of them orders, and nothing else.
//!
//! Consumes atomic words and somebody's writes; produces the promise that who sees the word sees the
//! writes. Generic over the word, so that the very functions which run on mapped memory are run by
//! loom in `tests/loom.rs` too. Must not know files, mappings or what a record means.

#[cfg(loom)]
use loom::sync::atomic::{AtomicU32, AtomicU64};
#[cfg(loom)]
pub use looms::Receiver;
#[cfg(loom)]
use looms::{SyncSender, sync_channel};
#[cfg(not(loom))]
pub use std::sync::mpsc::Receiver;
#[cfg(not(loom))]
use std::sync::{
    atomic::AtomicU64,
    mpsc::{SyncSender, sync_channel},
};

use super::Mark;
use crate::types::Seq;
use std::sync::atomic::Ordering;

/// An atomic word in memory that writer and readers share.
pub trait Word {
    /// What it holds.
    type Value: Copy;
    /// Atomic load.
    fn load(&self, order: Ordering) -> Self::Value;
    /// Atomic store.
    fn store(&self, value: Self::Value, order: Ordering);
}

macro_rules! word {
    ($($atomic:ty: $value:ty),*) => { $(
        impl Word for $atomic {
            type Value = $value;
            #[inline(always)]
            fn load(&self, order: Ordering) -> $value {
                <$atomic>::load(self, order)
            }
            #[inline(always)]
            fn store(&self, value: $value, order: Ordering) {
                <$atomic>::store(self, value, order);
            }
        }
    )* };
}

word!(std::sync::atomic::AtomicU32: u32, std::sync::atomic::AtomicU64: u64);
#[cfg(loom)]
word!(AtomicU32: u32, AtomicU64: u64);

/// Publishes a record: `write` writes all of it but its length, then the length is stored. One
/// writer; the length was 0 and `write`'s bytes were read by nobody.
#[inline(always)]
pub fn record<W: Word>(length: &W, value: W::Value, write: impl FnOnce()) {
    write();
    // Release, last: who loads this length has everything that `write` wrote.
    length.store(value, Ordering::Release);
}

/// Length of a record; unless it is 0, all bytes of the record may be read.
#[inline(always)]
pub fn length<W: Word>(length: &W) -> W::Value {
    length.load(Ordering::Acquire)
}

/// How far a log has got, in two words with one writer. Two cache lines: the processor fetches lines
/// in pairs, and each mark has its own writer.
///
/// Both are stored with Release, position first, so whoever sees the number also sees the position,
/// and whoever sees either sees the bytes. The pair may mix an older number with a newer position,
/// never the other way round.
#[repr(C, align(128))]
#[derive(Default)]
pub struct MarkCell<W> {
    seq: W,
    position: W,
}

impl<W: Word<Value = u64>> MarkCell<W> {
    /// The mark.
    #[inline]
    pub fn load(&self) -> Mark {
        let seq = Seq(self.seq.load(Ordering::Acquire));
        Mark { seq, position: self.position() }
    }

    /// The position alone: one load.
    #[inline]
    pub fn position(&self) -> u64 {
        self.position.load(Ordering::Acquire)
    }

    /// Replaces the mark by a later one.
    #[inline]
    pub fn store(&self, mark: Mark) {
        self.position.store(mark.position, Ordering::Release);
        self.seq.store(mark.seq.0, Ordering::Release);
    }

    /// Moves the mark on; an older mark than the present one is ignored.
    #[inline]
    pub fn raise(&self, mark: Mark) {
        if mark.seq.0 > self.seq.load(Ordering::Relaxed) {
            self.store(mark);
        }
    }

    /// Moves the mark back, when recovery cuts what nobody was told; a later mark is ignored. Each word
    /// by itself: a process killed between the two stores leaves the old position, which the next start
    /// takes back.
    pub fn lower(&self, mark: Mark) {
        if mark.seq.0 < self.seq.load(Ordering::Relaxed) {
            self.seq.store(mark.seq.0, Ordering::Release);
        }
        if mark.position < self.position.load(Ordering::Relaxed) {
            self.position.store(mark.position, Ordering::Release);
        }
    }
}

/// Hands prepared segments to the writer: a channel, and a count that says without a lock how many
/// came through it.
pub struct HandOver<T> {
    /// Index behind the last segment that is ready to be written, consecutive.
    ready: AtomicU64,
    to_writer: SyncSender<T>,
}

impl<T> HandOver<T> {
    /// At most `capacity` segments wait at a time.
    pub fn new(capacity: usize) -> (HandOver<T>, Receiver<T>) {
        let (to_writer, for_writer) = sync_channel(capacity);
        (HandOver { ready: AtomicU64::new(0), to_writer }, for_writer)
    }

    /// Index behind the last segment that is ready; those below it that the writer has not taken yet
    /// are in its channel.
    #[inline]
    pub fn ready(&self) -> u64 {
        self.ready.load(Ordering::Acquire)
    }

    /// The writer has segment `index` already.
    pub fn begin(&self, index: u64) {
        self.ready.store(index + 1, Ordering::Release);
    }

    /// Passes segment `index` on. Panics when more wait than may. One thread.
    pub fn give(&self, index: u64, segment: T) {
        let sent = self.to_writer.try_send(segment);
        assert!(
            !matches!(sent, Err(std::sync::mpsc::TrySendError::Full(_))),
            "more segments prepared than may exist"
        );
        // Release: a writer that sees the count also finds the segment in its channel.
        self.ready.store(index + 1, Ordering::Release);
    }
}

/// The channel over loom's mutex: loom's own neither has a bound nor tells its explorer that a look
/// into it depends on what is sent.
#[cfg(loom)]
mod looms {
    use loom::sync::{Arc, Mutex};
    use std::collections::VecDeque;
    use std::sync::mpsc::{TryRecvError, TrySendError};

    pub struct SyncSender<T>(Arc<Mutex<VecDeque<T>>>, usize);
    /// The writer's end.
    pub struct Receiver<T>(Arc<Mutex<VecDeque<T>>>);

    pub fn sync_channel<T>(capacity: usize) -> (SyncSender<T>, Receiver<T>) {
        let queue = Arc::new(Mutex::new(VecDeque::new()));
        (SyncSender(queue.clone(), capacity), Receiver(queue))
    }

    impl<T> SyncSender<T> {
        pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
            let mut queue = self.0.lock().expect("no panic inside");
            if queue.len() == self.1 {
                return Err(TrySendError::Full(value));
            }
            queue.push_back(value);
            Ok(())
        }
    }

    impl<T> Receiver<T> {
        /// The next one, if it is there.
        pub fn try_recv(&self) -> Result<T, TryRecvError> {
            self.0.lock().expect("no panic inside").pop_front().ok_or(TryRecvError::Empty)
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_lowered_by_the_word() {
        let mark = |seq, position| Mark { seq: Seq(seq), position };
        for (before, to, after) in [
            (mark(10, 100), mark(5, 50), mark(5, 50)),
            (mark(10, 100), mark(10, 100), mark(10, 100)),
            (mark(10, 100), mark(11, 110), mark(10, 100)),
            // Killed after the first store: the second is made up for, whatever was found meanwhile.
            (mark(5, 100), mark(5, 50), mark(5, 50)),
            (mark(5, 100), mark(7, 70), mark(5, 70)),
        ] {
            let cell = MarkCell::<AtomicU64>::default();
            cell.store(before);
            cell.lower(to);
            assert_eq!(cell.load(), after, "{before:?} to {to:?}");
        }
    }
}
