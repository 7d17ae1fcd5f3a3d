//! The four rings that a socket shares with the kernel, each with one producer and one consumer.
//!
//! Indices are free-running `u32` and wrap at 2^32: a position in the ring is `index & mask`, a
//! distance is `wrapping_sub`. Each side keeps its own index and a copy of the other's, and looks
//! at the shared word only when the copy says full or empty. Entries are published with a store
//! that releases, and read after a load that acquires, as the kernel does on its side.
//! Source: Documentation/networking/af_xdp.rst, tools/lib/bpf/xsk.h.

use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering, fence};

use crate::sys::Mapping;

/// Where a ring lies; the words belong to both sides.
struct Shared<T> {
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    entries: NonNull<T>,
    size: u32,
    /// Keeps the memory; in tests the ring's memory is a test's own.
    _mapping: Option<Mapping>,
}

// SAFETY: the pointers lead into the mapping that moves with them; each side of a ring has one
// owner, and words that both sides see are atomic.
unsafe impl<T: Send> Send for Shared<T> {}

impl<T: Copy> Shared<T> {
    /// Maps ring `page_offset` of socket `fd`, whose size was set to `size` entries.
    fn map(
        fd: BorrowedFd<'_>,
        page_offset: libc::off_t,
        offsets: &libc::xdp_ring_offset,
        size: u32,
    ) -> std::io::Result<Shared<T>> {
        let entries_bytes = size as usize * size_of::<T>();
        let bytes = offsets.desc as usize + entries_bytes;
        let mapping = Mapping::ring(bytes, fd, page_offset)?;
        let last = [offsets.producer, offsets.consumer, offsets.flags].into_iter().max();
        // A kernel that says otherwise is not one whose rings we can use.
        if last.is_none_or(|word| word as usize + 4 > bytes) || offsets.flags == 0 {
            return Err(std::io::Error::from_raw_os_error(libc::EOPNOTSUPP));
        }
        let start = mapping.start();
        // SAFETY: all four offsets lie within the mapping (checked above; the entries by its size),
        // and the kernel aligns them for their types.
        unsafe {
            Ok(Shared {
                producer: start.add(offsets.producer as usize).cast(),
                consumer: start.add(offsets.consumer as usize).cast(),
                flags: start.add(offsets.flags as usize).cast(),
                entries: start.add(offsets.desc as usize).cast(),
                size,
                _mapping: Some(mapping),
            })
        }
    }

    #[inline]
    fn producer(&self) -> &AtomicU32 {
        // SAFETY: points into the mapping for as long as self lives; both sides use it atomically.
        unsafe { self.producer.as_ref() }
    }

    #[inline]
    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as in `producer`.
        unsafe { self.consumer.as_ref() }
    }

    #[inline]
    fn needs_wakeup(&self) -> bool {
        // SAFETY: as in `producer`.
        let flags = unsafe { self.flags.as_ref() };
        flags.load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }

    #[inline]
    fn entry(&self, index: u32) -> NonNull<T> {
        // SAFETY: masked with size - 1 (a power of two), so it lies within the entries.
        unsafe { self.entries.add((index & (self.size - 1)) as usize) }
    }
}

/// Our end of a ring that we fill: fill ring, TX ring.
pub(crate) struct Producer<T> {
    shared: Shared<T>,
    /// Next entry to write.
    produced: u32,
    /// Up to where the kernel may read.
    published: u32,
    /// How far the kernel had read when we last looked.
    consumed: u32,
}

impl<T: Copy> Producer<T> {
    pub(crate) fn map(
        fd: BorrowedFd<'_>,
        page_offset: libc::off_t,
        offsets: &libc::xdp_ring_offset,
        size: u32,
    ) -> std::io::Result<Producer<T>> {
        Ok(Producer::over(Shared::map(fd, page_offset, offsets, size)?))
    }

    fn over(shared: Shared<T>) -> Producer<T> {
        let produced = shared.producer().load(Ordering::Relaxed);
        let consumed = shared.consumer().load(Ordering::Acquire);
        Producer { shared, produced, published: produced, consumed }
    }

    /// Entries that can be pushed. Looks at the kernel's index only when the copy says none.
    #[inline]
    pub(crate) fn room(&mut self) -> u32 {
        let room = self.room_cached();
        if room != 0 {
            return room;
        }
        self.consumed = self.shared.consumer().load(Ordering::Acquire);
        self.room_cached()
    }

    #[inline]
    fn room_cached(&self) -> u32 {
        // A consumer index that cannot be (ahead of us) counts as "full", not as a panic.
        self.shared.size.saturating_sub(self.produced.wrapping_sub(self.consumed))
    }

    /// Writes one entry; false when the ring is full. The kernel sees it after `publish`.
    #[inline]
    pub(crate) fn push(&mut self, value: T) -> bool {
        if self.room() == 0 {
            return false;
        }
        // SAFETY: the entry lies within the ring, and it is not the kernel's: there is room.
        unsafe { self.shared.entry(self.produced).write(value) };
        self.produced = self.produced.wrapping_add(1);
        true
    }

    /// Makes what was pushed visible to the kernel; returns how many entries are new.
    #[inline]
    pub(crate) fn publish(&mut self) -> u32 {
        let count = self.produced.wrapping_sub(self.published);
        if count != 0 {
            // Pairs with the kernel's acquiring load of the producer index.
            self.shared.producer().store(self.produced, Ordering::Release);
            self.published = self.produced;
        }
        count
    }

    /// Published entries that the kernel has not read yet.
    #[inline]
    pub(crate) fn unread(&mut self) -> u32 {
        self.consumed = self.shared.consumer().load(Ordering::Acquire);
        let unread = self.published.wrapping_sub(self.consumed);
        if unread > self.shared.size { 0 } else { unread }
    }

    /// Whether the kernel wants a system call before it reads on.
    #[inline]
    pub(crate) fn needs_wakeup(&self) -> bool {
        self.shared.needs_wakeup()
    }

    /// [`Producer::needs_wakeup`] right after a publish: the flag must not be read before the
    /// index is out, or both sides could wait for each other.
    #[inline]
    pub(crate) fn needs_wakeup_after_publish(&self) -> bool {
        fence(Ordering::SeqCst);
        self.shared.needs_wakeup()
    }
}

/// Our end of a ring that the kernel fills: RX ring, completion ring.
pub(crate) struct Consumer<T> {
    shared: Shared<T>,
    /// Next entry to read.
    consumed: u32,
    /// Up to where we told the kernel that we have read.
    published: u32,
    /// How far the kernel had written when we last looked.
    produced: u32,
}

impl<T: Copy> Consumer<T> {
    pub(crate) fn map(
        fd: BorrowedFd<'_>,
        page_offset: libc::off_t,
        offsets: &libc::xdp_ring_offset,
        size: u32,
    ) -> std::io::Result<Consumer<T>> {
        Ok(Consumer::over(Shared::map(fd, page_offset, offsets, size)?))
    }

    fn over(shared: Shared<T>) -> Consumer<T> {
        let consumed = shared.consumer().load(Ordering::Relaxed);
        let produced = shared.producer().load(Ordering::Acquire);
        Consumer { shared, consumed, published: consumed, produced }
    }

    /// Entries that can be popped. Looks at the kernel's index only when the copy says none.
    #[inline]
    pub(crate) fn available(&mut self) -> u32 {
        if self.consumed == self.produced {
            // Pairs with the kernel's releasing store: entries up to the index are written.
            self.produced = self.shared.producer().load(Ordering::Acquire);
        }
        let available = self.produced.wrapping_sub(self.consumed);
        // A producer index that cannot be counts as "nothing there".
        if available > self.shared.size { 0 } else { available }
    }

    /// Takes the oldest entry. Its slot goes back to the kernel with `publish`.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<T> {
        if self.available() == 0 {
            return None;
        }
        // SAFETY: the entry lies within the ring and the kernel has released it to us.
        let value = unsafe { self.shared.entry(self.consumed).read() };
        self.consumed = self.consumed.wrapping_add(1);
        Some(value)
    }

    /// Gives the slots of popped entries back to the kernel.
    #[inline]
    pub(crate) fn publish(&mut self) {
        if self.consumed != self.published {
            // Release: our reads of the slots are done before the kernel may write them again.
            self.shared.consumer().store(self.consumed, Ordering::Release);
            self.published = self.consumed;
        }
    }
}

#[cfg(test)]
mod tests;
