//! Pages that several mappings share: what a simulated file is made of.
//!
//! Consumes a size; produces base and length, and further mappings of the same pages. A mapping through
//! which a process that died could write is detached: it keeps its address and bytes, and nobody sees any
//! more what is done to them. That takes real mappings: what a process maps is written by plain stores, which
//! nothing could intercept.

use std::io;
use std::ptr::NonNull;

/// Smallest page.
pub(super) const PAGE_BYTES: usize = 4096;

/// One mapping of shared pages; unmapped when dropped. The pages live as long as any of theirs.
pub(super) struct Region {
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: plain memory at a fixed address; who reads and writes it answers for the order.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// New pages, all zero. `bytes` is rounded up to whole pages.
    pub(super) fn new(bytes: usize) -> io::Result<Region> {
        let bytes = bytes.max(1).next_multiple_of(PAGE_BYTES);
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new anonymous mapping, at an address that the kernel chooses.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, kind, -1, 0) };
        Region::at(base, bytes)
    }

    fn at(base: *mut libc::c_void, bytes: usize) -> io::Result<Region> {
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Region { base, bytes })
    }

    /// Another mapping of the same pages.
    pub(super) fn alias(&self) -> io::Result<Region> {
        let base = self.base.as_ptr().cast();
        // SAFETY: an old size of 0 on a shared mapping leaves it alone and maps its pages once more,
        // at an address that the kernel chooses. Source: mremap(2).
        let base = unsafe { libc::mremap(base, 0, self.bytes, libc::MREMAP_MAYMOVE) };
        Region::at(base, self.bytes)
    }

    /// Stores through it are a fault from now on.
    pub(super) fn protect(&self) -> io::Result<()> {
        let base = self.base.as_ptr().cast();
        // SAFETY: our own mapping, whole.
        match unsafe { libc::mprotect(base, self.bytes, libc::PROT_READ) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Puts pages of its own under this mapping, with the same bytes: what happens in it is nobody
    /// else's business from now on. Nobody may store into it meanwhile.
    pub(super) fn detach(&self) {
        let kept = self.bytes().to_vec();
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
        let base = self.base.as_ptr();
        // SAFETY: replaces our own mapping, whole, by private pages at the same address.
        let got = unsafe { libc::mmap(base.cast(), self.bytes, access, kind, -1, 0) };
        assert!(got == base.cast(), "detach: {}", io::Error::last_os_error());
        for (at, page) in kept.chunks(PAGE_BYTES).enumerate() {
            if page.iter().any(|&b| b != 0) {
                // SAFETY: inside the mapping just made; the source is memory of its own.
                unsafe {
                    let to = base.add(at * PAGE_BYTES);
                    to.copy_from_nonoverlapping(page.as_ptr(), page.len());
                }
            }
        }
    }

    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    /// All its bytes. In a simulation everything runs on one thread; with threads, what another
    /// mapping is storing meanwhile is read as torn as from a file.
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: mapped, readable, and never unmapped before `self` is dropped.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.bytes) }
    }

    /// Writes `bytes` at `at`. Panics outside.
    pub(super) fn write(&self, at: usize, bytes: &[u8]) {
        assert!(at <= self.bytes && bytes.len() <= self.bytes - at);
        // SAFETY: inside the mapping; `copy` allows for any overlap.
        unsafe { self.base.as_ptr().add(at).copy_from(bytes.as_ptr(), bytes.len()) };
    }

    /// Zeroes everything from `at` on.
    pub(super) fn clear_from(&self, at: usize) {
        let at = at.min(self.bytes);
        // SAFETY: inside the mapping.
        unsafe { self.base.as_ptr().add(at).write_bytes(0, self.bytes - at) };
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: our own mapping, whole, and nobody has its address any more. A failure leaves it.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_share_until_they_are_detached() {
        let file = Region::new(2 * PAGE_BYTES).unwrap();
        let [dead, alive] = [(); 2].map(|()| file.alias().unwrap());
        dead.write(10, b"both");
        assert_eq!((&alive.bytes()[10..14], &file.bytes()[10..14]), (&b"both"[..], &b"both"[..]));
        dead.detach();
        assert_eq!(&dead.bytes()[10..14], b"both");
        dead.write(10, b"lost");
        alive.write(5_000, b"seen");
        assert_eq!(
            (&file.bytes()[10..14], &file.bytes()[5_000..5_004]),
            (&b"both"[..], &b"seen"[..])
        );
        assert_eq!(dead.bytes()[5_000..5_004], [0; 4]);
        drop(file);
        assert_eq!(&alive.bytes()[5_000..5_004], b"seen", "pages outlive the first mapping");
    }
}
