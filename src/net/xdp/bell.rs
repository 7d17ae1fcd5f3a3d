//! Wakes the thread of a port when frames have come for it, or something waits in the kernel's socket
//! beside it: eventfd(2) beside the lane.
//!
//! The receiving duty stands on the thread of the first port. The others' threads sleep, and nothing
//! that the kernel knows of tells them. Any number may ring. A bell costs the ringer one system call for
//! the first frames after the sleeper has looked, and nothing until he looks again: whoever floods that
//! port costs the order path no more than a call for each time that its thread wakes.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One of its ends; all are the same.
#[derive(Clone)]
pub(super) struct Bell {
    fd: Arc<OwnedFd>,
    /// Rung, and not looked at since.
    rung: Arc<AtomicBool>,
}

impl Bell {
    pub(super) fn new() -> io::Result<Bell> {
        // SAFETY: integers only.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor that nobody else owns.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Bell { fd: Arc::new(fd), rung: Arc::new(AtomicBool::new(false)) })
    }

    /// Readable while it rings.
    pub(super) fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Behind the frames that it rings for.
    #[inline]
    pub(super) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.write();
        }
    }

    /// Before the frames are looked for. Reads the descriptor first: rung in between, it is the swap
    /// that makes the frames of that ringer visible, as he writes no second time. A ringer who has not
    /// written yet is left to be answered next time: else his writing would be read by nobody, and the
    /// descriptor stay readable.
    #[inline]
    pub(super) fn answer(&self) {
        if self.rung.load(Ordering::Acquire) && self.read() {
            self.rung.swap(false, Ordering::AcqRel);
        }
    }

    #[cold]
    fn write(&self) {
        let one = 1u64;
        // SAFETY: eight bytes that live through the call. It cannot be full: one per answer.
        let _ = unsafe { libc::write(self.fd(), (&raw const one).cast(), size_of::<u64>()) };
    }

    /// Whether it was written to.
    #[cold]
    fn read(&self) -> bool {
        let mut count = 0u64;
        // SAFETY: eight bytes that live through the call.
        unsafe { libc::read(self.fd(), (&raw mut count).cast(), size_of::<u64>()) == 8 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rings(bell: &Bell) -> bool {
        super::super::nic::is_readable(bell.fd())
    }

    #[test]
    fn it_rings_until_it_is_answered() {
        let bell = Bell::new().unwrap();
        let other = bell.clone();
        assert!(!rings(&bell));
        other.ring();
        other.ring();
        assert!(rings(&bell));
        bell.answer();
        assert!(!rings(&bell));
        bell.answer();
        other.ring();
        assert!(rings(&bell));
    }

    /// The ringer is stopped between his mark and his write; the sleeper looks in between.
    #[test]
    fn a_ring_that_comes_late_is_answered_too() {
        let bell = Bell::new().unwrap();
        bell.rung.store(true, Ordering::Release);
        bell.answer();
        bell.write();
        assert!(rings(&bell));
        bell.answer();
        assert!(!rings(&bell), "readable for ever: its thread sleeps no more");
        bell.ring();
        assert!(rings(&bell));
    }

    /// What was pushed before a ring is seen by whoever sleeps only on the descriptor.
    #[test]
    fn nobody_sleeps_through_it() {
        const COUNT: u64 = 20_000;
        let bell = Bell::new().unwrap();
        let (mut sender, mut receiver) = crate::lane::lane(COUNT as usize);
        let ringer = bell.clone();
        let thread = std::thread::spawn(move || {
            for i in 0..COUNT {
                assert!(sender.push(i).is_ok());
                ringer.ring();
                if i % 7 == 0 {
                    std::thread::yield_now();
                }
            }
        });
        let mut seen = 0;
        while seen < COUNT {
            let mut poll = libc::pollfd { fd: bell.fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one entry, which lives through the call.
            let woken = unsafe { libc::poll(&raw mut poll, 1, 10_000) };
            assert_eq!(woken, 1, "asleep after {seen} of {COUNT}");
            bell.answer();
            while receiver.pop().is_some() {
                seen += 1;
            }
        }
        thread.join().unwrap();
    }
}
