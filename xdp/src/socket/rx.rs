//! The receiving half: RX ring and fill ring.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;

use super::{Copying, Shared, Statistics};
use crate::ring::{Consumer, Producer};
use crate::sys;
use crate::umem::{Frame, Umem};

/// Frames after which a batch gives back what it is done with. A batch goes on as long as frames
/// arrive, so without this it could hold them all, and the kernel drop what comes. 16: a quarter of
/// the usual batch; the store costs below 1 ns.
const PUBLISH_EVERY: usize = 16;

/// What the receiving half has done since it was opened.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct RxCounters {
    /// Frames received.
    pub frames: u64,
    /// Descriptors whose address or length does not fit the UMEM: not delivered.
    pub invalid: u64,
    /// System calls to wake the kernel's receive side.
    pub wakeups: u64,
    /// Of these, refused (the interface is down, the socket gone).
    pub wakeup_errors: u64,
    /// `errno` of the last refusal, 0: none yet.
    pub last_errno: i32,
}

/// Receiving half of a [`super::Socket`]. Its calls allocate nothing, take no lock, and make a
/// system call only when the kernel asks for one.
pub struct Rx {
    shared: Arc<Shared>,
    ring: Consumer<libc::xdp_desc>,
    fill: Producer<u64>,
    /// Frames that found the fill ring full: possible only when frames of another half came here.
    spare: Vec<Frame>,
    counters: RxCounters,
}

impl Rx {
    pub(super) fn new(
        shared: Arc<Shared>,
        ring: Consumer<libc::xdp_desc>,
        fill: Producer<u64>,
    ) -> Rx {
        let spare = Vec::with_capacity(shared.umem.frame_count() as usize);
        Rx { shared, ring, fill, spare, counters: RxCounters::default() }
    }

    /// Receives at most `max` frames: calls `on_frame` with the bytes of each, in place, and gives
    /// the frames back to the kernel, also while the call lasts. Returns how many there were.
    #[inline]
    pub fn receive(&mut self, max: usize, mut on_frame: impl FnMut(&[u8])) -> usize {
        let mut count = 0;
        while count < max {
            let Some(frame) = self.next() else { break };
            count += 1;
            on_frame(self.shared.umem.data(&frame));
            self.give(frame);
            if count.is_multiple_of(PUBLISH_EVERY) {
                self.publish();
            }
        }
        self.publish();
        count
    }

    /// Takes the oldest received frame, to be kept, or changed and transmitted. Return it with
    /// [`Rx::release`] (or through [`super::Tx::submit`] and [`super::Tx::take_free`]), and call
    /// [`Rx::publish`] after a batch: the kernel drops what arrives when it has no frame.
    #[inline]
    pub fn take(&mut self) -> Option<Frame> {
        self.next()
    }

    /// The bytes of a frame.
    #[inline]
    pub fn data<'a>(&'a self, frame: &'a Frame) -> &'a [u8] {
        self.shared.umem.data(frame)
    }

    /// Gives a frame back to be received into; the kernel sees it after [`Rx::publish`].
    #[inline]
    pub fn release(&mut self, frame: Frame) {
        self.give(frame);
    }

    /// Tells the kernel about taken and released frames, and wakes it when it wants that. Costs two
    /// comparisons when there is nothing to tell.
    #[inline]
    pub fn publish(&mut self) {
        self.ring.publish();
        while !self.spare.is_empty() && self.fill.room() != 0 {
            if let Some(frame) = self.spare.pop() {
                self.give(frame);
            }
        }
        if self.fill.publish() != 0 {
            if self.shared.need_wakeup && self.fill.needs_wakeup_after_publish() {
                return self.wake();
            }
        } else if self.shared.need_wakeup && self.fill.needs_wakeup() {
            return self.wake();
        }
        // Under preferred busy polling nothing arrives unless somebody polls.
        if self.shared.busy_poll && self.ring.available() == 0 {
            self.wake();
        }
    }

    #[inline]
    fn next(&mut self) -> Option<Frame> {
        loop {
            let descriptor = self.ring.pop()?;
            if let Some(frame) = self.shared.umem.received(descriptor.addr, descriptor.len) {
                self.counters.frames += 1;
                return Some(frame);
            }
            self.counters.invalid += 1;
            // The chunk itself, when there is one, is ours again.
            if let Some(frame) = self.shared.umem.frame(descriptor.addr) {
                self.give(frame);
            }
        }
    }

    #[inline]
    fn give(&mut self, frame: Frame) {
        // The fill ring names chunks; where in the chunk a frame starts is the kernel's choice.
        let address = self.shared.umem.address(&frame);
        let chunk = address & !(u64::from(self.shared.umem.frame_size()) - 1);
        if !self.fill.push(chunk) {
            // Within capacity: there are no more frames than the UMEM has.
            self.spare.push(frame);
        }
    }

    /// Wakes the kernel's receive side. [`Rx::publish`] and [`Rx::receive`] do it when needed.
    #[cold]
    pub fn wake(&mut self) {
        self.counters.wakeups += 1;
        match sys::kick_receive(self.shared.fd.as_raw_fd()) {
            0 | libc::EAGAIN => {}
            errno => {
                self.counters.wakeup_errors += 1;
                self.counters.last_errno = errno;
            }
        }
    }

    /// What this half has done.
    pub fn counters(&self) -> RxCounters {
        self.counters
    }

    /// The kernel's counters of the socket. Costs a system call.
    pub fn statistics(&self) -> std::io::Result<Statistics> {
        Statistics::read(self.as_fd())
    }

    /// The queue.
    pub fn queue(&self) -> u32 {
        self.shared.queue
    }

    /// Whether the kernel copies: what it says, not what was asked for.
    pub fn copying(&self) -> Copying {
        self.shared.copying
    }

    /// The memory that frames live in.
    pub fn umem(&self) -> &Umem {
        &self.shared.umem
    }
}

impl AsFd for Rx {
    /// Readable when a frame waits. In copy mode a `poll` on it also transmits what is queued.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.fd.as_fd()
    }
}

impl fmt::Debug for Rx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rx")
            .field("interface", &self.shared.interface)
            .field("queue", &self.shared.queue)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}
