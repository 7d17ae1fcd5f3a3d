//! UMEM: the memory that frames live in, cut into chunks of one size, and [`Frame`], the right to
//! use one chunk.
//!
//! A chunk is at any time the kernel's or one `Frame`'s. A `Frame` cannot be copied: handing it to
//! a ring moves it away, and the kernel's completion makes a new one. So nobody can write into a
//! frame that is being transmitted, or use one twice.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::abi::XDP_PACKET_HEADROOM;
use crate::error::{Error, Result};
use crate::sys::{self, Mapping};

/// Bytes of a huge page as used here.
pub const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Whether the UMEM lies on pages of 2 MiB: fewer TLB misses, and a random read of a large area is
/// about a third cheaper.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HugePages {
    /// Huge pages, or an error.
    Require,
    /// Huge pages when enough are free, else ordinary ones; [`Umem::pages`] says which.
    Prefer,
    /// Ordinary pages.
    Never,
}

/// The pages that a UMEM got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pages {
    /// 2 MiB.
    Huge,
    /// The machine's ordinary size, 4 KiB on x86.
    Base,
}

/// Size and place of a [`Umem`].
#[derive(Clone, Copy, Debug)]
pub struct UmemConfig {
    /// Bytes of a chunk, 2048 or 4096. A received frame starts 256 bytes into its chunk, so 2048
    /// carries frames up to 1792 bytes.
    pub frame_size: u32,
    /// Chunks; at least one for every frame of every socket on this UMEM.
    pub frame_count: u32,
    /// Which pages.
    pub huge_pages: HugePages,
}

/// Memory for frames, shared by every handle on it. Cloning copies the handle.
#[derive(Clone, Debug)]
pub struct Umem {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    memory: Mapping,
    id: u32,
    frame_size: u32,
    frame_count: u32,
    pages: Pages,
    free: Mutex<Vec<u32>>,
    /// Bound sockets that have this memory registered: the next one shares their registration.
    sockets: Mutex<Vec<Weak<OwnedFd>>>,
}

/// The right to use one chunk of a [`Umem`], with the window of bytes that count: what was
/// received, or what is to be transmitted. 12 bytes, moved and never copied. A frame that is
/// dropped is lost to its pool (not to memory): hand it to `release`, `commit` or `cancel`.
#[derive(Debug)]
#[must_use = "a frame that is dropped is lost to its pool"]
pub struct Frame {
    umem: u32,
    index: u32,
    offset: u16,
    length: u16,
}

impl Frame {
    /// Bytes in the window.
    #[inline]
    pub fn len(&self) -> usize {
        usize::from(self.length)
    }

    /// Whether the window is empty.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl Umem {
    /// Maps the memory, every page present. Frees it when the last handle (sockets hold one each)
    /// is dropped.
    pub fn new(config: &UmemConfig) -> Result<Umem> {
        static NEXT_ID: AtomicU32 = AtomicU32::new(1);
        let UmemConfig { frame_size, frame_count, huge_pages } = *config;
        if frame_size != 2048 && frame_size != 4096 {
            return Err(Error::config("frame_size", format!("{frame_size} is not 2048 or 4096")));
        }
        if frame_count == 0 || frame_count > 1 << 20 {
            return Err(Error::config("frame_count", format!("{frame_count} is not 1..=2^20")));
        }
        let bytes = frame_size as usize * frame_count as usize;
        let (memory, pages) = map(bytes, huge_pages)?;
        memory.not_dumped();
        // Taken from the end: the first socket gets chunks 0, 1, 2 ...
        let free = (0..frame_count).rev().collect();
        Ok(Umem {
            inner: Arc::new(Inner {
                memory,
                id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
                frame_size,
                frame_count,
                pages,
                free: Mutex::new(free),
                sockets: Mutex::new(Vec::new()),
            }),
        })
    }

    /// Which pages the memory got.
    pub fn pages(&self) -> Pages {
        self.inner.pages
    }

    /// Bytes of a chunk.
    #[inline]
    pub fn frame_size(&self) -> u32 {
        self.inner.frame_size
    }

    /// Chunks.
    pub fn frame_count(&self) -> u32 {
        self.inner.frame_count
    }

    /// Longest frame that can be received: a chunk less the kernel's 256 bytes in front.
    pub fn receive_max(&self) -> u32 {
        self.inner.frame_size - XDP_PACKET_HEADROOM
    }

    /// Chunks that no socket has taken yet. Chunks of a closed socket do not come back: a driver
    /// may still write into them for some milliseconds.
    pub fn free_frames(&self) -> u32 {
        self.free().len() as u32
    }

    /// The bytes in the frame's window. Panics when the frame is another UMEM's.
    #[inline]
    pub fn data<'a>(&'a self, frame: &'a Frame) -> &'a [u8] {
        let start = self.window(frame);
        // SAFETY: `window` checked that the range lies in the chunk; the chunk is this frame's
        // alone, and nobody can get `&mut` to it while `frame` is borrowed.
        unsafe { std::slice::from_raw_parts(start, usize::from(frame.length)) }
    }

    /// The bytes in the frame's window, to be changed. Panics when the frame is another UMEM's.
    #[inline]
    pub fn data_mut<'a>(&'a self, frame: &'a mut Frame) -> &'a mut [u8] {
        let start = self.window(frame);
        // SAFETY: as in `data`, and `frame` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(start, usize::from(frame.length)) }
    }

    /// The whole chunk, to be written; the window becomes empty at its start. Old content.
    /// Panics when the frame is another UMEM's.
    #[inline]
    pub fn buffer<'a>(&'a self, frame: &'a mut Frame) -> &'a mut [u8] {
        frame.offset = 0;
        frame.length = 0;
        let start = self.window(frame);
        // SAFETY: a whole chunk, this frame's alone, and `frame` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(start, self.inner.frame_size as usize) }
    }

    #[inline]
    fn window(&self, frame: &Frame) -> *mut u8 {
        let inner = &*self.inner;
        assert!(frame.umem == inner.id, "frame of another UMEM");
        debug_assert!(
            frame.index < inner.frame_count
                && u32::from(frame.offset) + u32::from(frame.length) <= inner.frame_size
        );
        let at = frame.index as usize * inner.frame_size as usize + usize::from(frame.offset);
        // SAFETY: a frame is made by `frame` and `received` only, which check that its window lies
        // within a chunk of the memory.
        unsafe { inner.memory.start().as_ptr().add(at) }
    }

    /// Address of the frame's window, as rings name it: bytes from the start of the UMEM.
    /// Panics when the frame is another UMEM's.
    #[inline]
    pub(crate) fn address(&self, frame: &Frame) -> u64 {
        assert!(frame.umem == self.inner.id, "frame of another UMEM");
        u64::from(frame.index) * u64::from(self.inner.frame_size) + u64::from(frame.offset)
    }

    /// The frame whose chunk holds `address`, window empty; None when there is no such chunk.
    /// The caller must have got the address from the kernel, once.
    #[inline]
    pub(crate) fn frame(&self, address: u64) -> Option<Frame> {
        self.received(address, 0)
    }

    /// The frame with the window that a descriptor names; None when it is not within one chunk.
    #[inline]
    pub(crate) fn received(&self, address: u64, length: u32) -> Option<Frame> {
        let size = u64::from(self.inner.frame_size);
        let index = address >> self.inner.frame_size.trailing_zeros();
        let offset = address & (size - 1);
        if index >= u64::from(self.inner.frame_count) || u64::from(length) > size - offset {
            return None;
        }
        Some(Frame {
            umem: self.inner.id,
            index: index as u32,   // < frame_count
            offset: offset as u16, // < frame_size <= 4096
            length: length as u16, // <= frame_size
        })
    }

    /// Sets the window of a frame that was written from the start of its chunk. False when it is
    /// longer than the chunk.
    #[inline]
    pub(crate) fn set_length(&self, frame: &mut Frame, length: usize) -> bool {
        if length > self.inner.frame_size as usize - usize::from(frame.offset) {
            return false;
        }
        frame.length = length as u16; // <= 4096
        true
    }

    /// Takes `count` frames out of the pool of free ones.
    pub(crate) fn take(&self, count: u32) -> Result<Vec<Frame>> {
        let mut free = self.free();
        if (free.len() as u64) < u64::from(count) {
            return Err(Error::UmemExhausted { asked: count, free: free.len() as u32 });
        }
        let rest = free.len() - count as usize;
        let umem = self.inner.id;
        Ok(free
            .drain(rest..)
            .rev()
            .map(|index| Frame { umem, index, offset: 0, length: 0 })
            .collect())
    }

    /// Puts back frames that no kernel has seen.
    pub(crate) fn put_back(&self, frames: Vec<Frame>) {
        self.free().extend(frames.into_iter().rev().map(|frame| frame.index));
    }

    fn free(&self) -> MutexGuard<'_, Vec<u32>> {
        self.inner.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A bound socket that has this memory registered, if one is open.
    pub(crate) fn registered(&self) -> Option<Arc<OwnedFd>> {
        let mut sockets = self.inner.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.retain(|socket| socket.strong_count() != 0);
        sockets.iter().find_map(Weak::upgrade)
    }

    /// Remembers a socket that is bound with this memory.
    pub(crate) fn bound(&self, socket: &Arc<OwnedFd>) {
        let mut sockets = self.inner.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.push(Arc::downgrade(socket));
    }

    /// Registers the memory with a socket that is not bound yet.
    pub(crate) fn register(&self, socket: &OwnedFd) -> Result<()> {
        let length = u64::from(self.inner.frame_size) * u64::from(self.inner.frame_count);
        let registration = libc::xdp_umem_reg {
            addr: self.inner.memory.start().as_ptr() as u64,
            len: length,
            chunk_size: self.inner.frame_size,
            headroom: 0,
            flags: 0,
            tx_metadata_len: 0,
        };
        let result =
            sys::set_option(socket.as_fd(), libc::SOL_XDP, libc::XDP_UMEM_REG, &registration);
        result.map_err(|error| match error.raw_os_error() {
            Some(libc::ENOBUFS) => Error::Memlock { bytes: length, limit: sys::memlock_limit() },
            _ => Error::os("registering", format!("a UMEM of {length} bytes"), error),
        })
    }
}

fn map(bytes: usize, huge_pages: HugePages) -> Result<(Mapping, Pages)> {
    if huge_pages != HugePages::Never {
        let rounded = bytes.next_multiple_of(HUGE_PAGE_BYTES);
        let flags = libc::MAP_HUGETLB | libc::MAP_HUGE_2MB;
        match Mapping::anonymous(rounded, flags) {
            Ok(memory) => return Ok((memory, Pages::Huge)),
            Err(_) if huge_pages == HugePages::Prefer => {}
            Err(_) => return Err(Error::HugePages { bytes: rounded as u64 }),
        }
    }
    let rounded = bytes.next_multiple_of(sys::page_size());
    let memory = Mapping::anonymous(rounded, 0)
        .map_err(|error| Error::os("mapping", format!("a UMEM of {rounded} bytes"), error))?;
    Ok((memory, Pages::Base))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn umem(frame_size: u32, frame_count: u32) -> Umem {
        Umem::new(&UmemConfig { frame_size, frame_count, huge_pages: HugePages::Never }).unwrap()
    }

    #[test]
    fn frames_are_taken_once_and_hold_their_own_bytes() {
        let umem = umem(2048, 8);
        let mut frames = umem.take(8).unwrap();
        assert!(matches!(umem.take(1), Err(Error::UmemExhausted { asked: 1, free: 0 })));
        for (i, frame) in frames.iter_mut().enumerate() {
            umem.buffer(frame).fill(i as u8);
            assert!(umem.set_length(frame, 2048));
            assert!(!umem.set_length(frame, 2049));
        }
        for (i, frame) in frames.iter().enumerate() {
            assert!(umem.data(frame).iter().all(|&byte| byte == i as u8));
            assert_eq!(umem.address(frame), i as u64 * 2048);
        }
        umem.put_back(frames);
        assert_eq!(umem.free_frames(), 8);
        assert_eq!(umem.address(&umem.take(1).unwrap()[0]), 0);
    }

    #[test]
    fn addresses_of_the_kernel_are_checked_against_the_chunks() {
        let umem = umem(2048, 4);
        let cases = [
            (0, 2048, true),
            (256, 1792, true),
            (256, 1793, false),
            (2047, 1, true),
            (2047, 2, false),
            (3 * 2048 + 256, 60, true),
            (4 * 2048, 0, false),
            (4 * 2048 - 1, 1, true),
            (u64::MAX, 0, false),
            (u64::MAX, u32::MAX, false),
            (1 << 48, 60, false),
            (0, u32::MAX, false),
        ];
        for (address, length, accepted) in cases {
            let frame = umem.received(address, length);
            assert_eq!(frame.is_some(), accepted, "{address} {length}");
            if let Some(frame) = frame {
                assert_eq!(umem.address(&frame), address);
                assert_eq!(umem.data(&frame).len(), length as usize);
            }
        }
    }

    #[test]
    #[should_panic(expected = "another UMEM")]
    fn a_frame_of_another_umem_is_our_fault() {
        let frame = umem(2048, 1).take(1).unwrap().remove(0);
        umem(2048, 1).data(&frame);
    }

    #[test]
    fn sizes_that_the_kernel_refuses_are_told_apart() {
        for (frame_size, frame_count) in [(1024, 1), (8192, 1), (0, 1), (3000, 1), (2048, 0)] {
            let config = UmemConfig { frame_size, frame_count, huge_pages: HugePages::Never };
            assert!(matches!(Umem::new(&config), Err(Error::Config { .. })), "{config:?}");
        }
        assert_eq!(umem(4096, 3).receive_max(), 3840);
        assert_eq!(umem(2048, 3).pages(), Pages::Base);
    }
}
