//! The transmitting half: TX ring and completion ring.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use super::{Copying, Shared, Statistics};
use crate::device::VLAN_BYTES;
use crate::error::{Error, Result};
use crate::ring::{Consumer, Producer};
use crate::sys;
use crate::umem::{Frame, Umem};

/// System calls per [`Tx::kick`] at most. In copy mode one call takes 32 frames (all of them since
/// Linux 6.18), and ends early with each frame that the device's queue refuses.
const KICKS_MAX: u32 = 64;

/// What the transmitting half has done since it was opened.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TxCounters {
    /// Frames handed to the TX ring.
    pub frames: u64,
    /// Frames that were taken back from the kernel ([`Tx::complete`]): sent, or dropped by the
    /// device's queue.
    pub completed: u64,
    /// Frames refused because they are longer than the interface takes.
    pub too_long: u64,
    /// Times there was no free frame.
    pub exhausted: u64,
    /// System calls to wake the kernel's transmit side.
    pub kicks: u64,
    /// Kicks answered EAGAIN: the kernel goes on at the next one.
    pub again: u64,
    /// Of these, that took no frame at all: the send buffer is full until completions come.
    pub stuck: u64,
    /// Kicks answered EBUSY: the device's queue dropped one frame each.
    pub dropped: u64,
    /// Kicks answered ENOBUFS or ENOMEM: the kernel was short of memory, nothing is lost.
    pub no_memory: u64,
    /// Kicks refused otherwise (the interface is down, the socket gone).
    pub errors: u64,
    /// `errno` of the last refusal that counts in `errors`, 0: none yet.
    pub last_errno: i32,
    /// Completions whose address is not in the UMEM: a frame is lost to the pool.
    pub invalid: u64,
}

impl TxCounters {
    /// Kicks that took nothing, or lost a frame. Not those that the kernel ended early (32 frames a call
    /// before Linux 6.18): the next one goes on.
    pub fn refused(&self) -> u64 {
        self.errors + self.dropped + self.no_memory + self.stuck
    }

    fn count_again(&mut self, progress: bool) {
        self.again += 1;
        self.stuck += u64::from(!progress);
    }
}

/// The frame is longer than the interface takes; it went back to the pool. The kernel would drop it
/// and count nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooLong {
    /// Bytes of the frame.
    pub length: usize,
    /// Most bytes of a frame.
    pub max: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a frame of {} bytes, the interface takes {}", self.length, self.max)
    }
}

impl std::error::Error for TooLong {}

/// Transmitting half of a [`super::Socket`]. Its calls allocate nothing and take no lock; only
/// [`Tx::kick`] makes system calls.
pub struct Tx {
    shared: Arc<Shared>,
    ring: Producer<libc::xdp_desc>,
    completion: Consumer<u64>,
    /// Frames to write into, last in first out: the one that is likely in the cache. Room for all
    /// frames of the UMEM, as received ones may end here.
    free: Vec<Frame>,
    in_flight: u32,
    /// Frames that the completion ring can hold; more must not be on their way.
    in_flight_max: u32,
    frame_max: u32,
    counters: TxCounters,
}

impl Tx {
    pub(super) fn new(
        shared: Arc<Shared>,
        ring: Producer<libc::xdp_desc>,
        completion: Consumer<u64>,
        frames: Vec<Frame>,
        frame_max: u32,
    ) -> Tx {
        let mut free = Vec::with_capacity(shared.umem.frame_count() as usize);
        let in_flight_max = frames.len().next_power_of_two() as u32;
        free.extend(frames.into_iter().rev());
        let counters = TxCounters::default();
        Tx { shared, ring, completion, free, in_flight: 0, in_flight_max, frame_max, counters }
    }

    /// A frame to write into with [`Tx::buffer`], then to [`Tx::commit`] or [`Tx::cancel`]. Reaps
    /// completions when none is free. None: all are on their way; kick, and try later.
    #[inline]
    pub fn reserve(&mut self) -> Option<Frame> {
        if self.free.is_empty() && self.complete() == 0 {
            self.counters.exhausted += 1;
            return None;
        }
        self.free.pop()
    }

    /// The whole chunk of a reserved frame: [`Umem::frame_size`] bytes of old content. The Ethernet
    /// header starts at 0.
    #[inline]
    pub fn buffer<'a>(&'a self, frame: &'a mut Frame) -> &'a mut [u8] {
        self.shared.umem.buffer(frame)
    }

    /// Queues a reserved frame of which `length` bytes were written. The kernel sees it after
    /// [`Tx::kick`]. `Err`: too long for the interface, and counted; nothing was queued.
    #[inline]
    pub fn commit(&mut self, mut frame: Frame, length: usize) -> std::result::Result<(), TooLong> {
        if !self.shared.umem.set_length(&mut frame, length) {
            return Err(self.too_long(frame, length));
        }
        // A reserved frame always finds room, unless received ones were submitted beside it.
        self.submit(frame)
    }

    /// Queues a frame with the window it has: a received one (of any socket on this UMEM) after its
    /// bytes were changed in place. Its chunk joins this half's pool when it is sent; when all
    /// places on the way are taken it does so at once, unsent, and counts as dropped.
    #[inline]
    pub fn submit(&mut self, frame: Frame) -> std::result::Result<(), TooLong> {
        let length = frame.len();
        if length > self.frame_max as usize && !self.fits_with_tag(&frame) {
            return Err(self.too_long(frame, length));
        }
        if self.in_flight == self.in_flight_max {
            self.complete();
        }
        let address = self.shared.umem.address(&frame);
        let descriptor = libc::xdp_desc { addr: address, len: length as u32, options: 0 };
        if self.in_flight == self.in_flight_max || !self.ring.push(descriptor) {
            self.counters.dropped += 1;
            self.free.push(frame);
            return Ok(());
        }
        // The chunk is the kernel's now: this handle ends here, the completion makes a new one.
        self.in_flight += 1;
        self.counters.frames += 1;
        Ok(())
    }

    /// Gives a reserved frame back unsent. (Or takes a frame of the same UMEM into the pool.)
    #[inline]
    pub fn cancel(&mut self, frame: Frame) {
        let _checked = self.shared.umem.address(&frame); // panics when it is another UMEM's
        self.free.push(frame);
    }

    /// Reserve, write, commit in one: `fill` gets the chunk and returns the length, 0 for "nothing
    /// after all". False when no frame was free or the length is more than the interface takes.
    #[inline]
    pub fn send(&mut self, fill: impl FnOnce(&mut [u8]) -> usize) -> bool {
        let Some(mut frame) = self.reserve() else { return false };
        let length = fill(self.buffer(&mut frame));
        if length == 0 {
            self.cancel(frame);
            return true;
        }
        self.commit(frame, length).is_ok()
    }

    /// An 802.1Q tag comes on top of the MTU.
    #[cold]
    fn fits_with_tag(&self, frame: &Frame) -> bool {
        let tagged = self.shared.umem.data(frame).get(12..14) == Some(&[0x81, 0x00]);
        tagged && frame.len() <= (self.frame_max + VLAN_BYTES) as usize
    }

    #[cold]
    fn too_long(&mut self, frame: Frame, length: usize) -> TooLong {
        self.free.push(frame);
        self.counters.too_long += 1;
        TooLong { length, max: self.frame_max as usize }
    }

    /// Shows queued frames to the kernel and wakes it if it wants that. Returns how many frames it
    /// has not read yet: they go with the next kick. Call it at the end of every duty cycle, also
    /// when nothing was queued in it; costs two comparisons when nothing is on its way.
    #[inline]
    pub fn kick(&mut self) -> u32 {
        if self.in_flight == 0 {
            return 0;
        }
        self.ring.publish();
        let unread = self.ring.unread();
        if unread == 0 {
            return 0;
        }
        // Without the need_wakeup protocol, and while we are the ones who poll, only a call helps.
        let asks = self.shared.need_wakeup && !self.shared.busy_poll;
        if asks && !self.ring.needs_wakeup_after_publish() {
            return unread;
        }
        self.wake(unread)
    }

    fn wake(&mut self, mut unread: u32) -> u32 {
        for _ in 0..KICKS_MAX {
            self.counters.kicks += 1;
            let errno = sys::kick_transmit(self.shared.fd.as_raw_fd());
            let before = std::mem::replace(&mut unread, self.ring.unread());
            match errno {
                0 => return unread,
                libc::EAGAIN => {
                    self.counters.count_again(unread != before);
                    if unread == before {
                        return unread; // no progress: its buffers are full until completions come
                    }
                }
                // The frame is completed but not sent; those behind it wait for another call. The
                // kernel's index may lag after this, so it does not say whether to go on.
                libc::EBUSY => self.counters.dropped += 1,
                libc::ENOBUFS | libc::ENOMEM => {
                    self.counters.no_memory += 1;
                    return unread;
                }
                errno => {
                    self.counters.errors += 1;
                    self.counters.last_errno = errno;
                    return unread;
                }
            }
        }
        unread
    }

    /// Takes frames back that were sent. Returns how many.
    #[inline]
    pub fn complete(&mut self) -> usize {
        let mut count = 0;
        while let Some(address) = self.completion.pop() {
            count += 1;
            match self.shared.umem.frame(address) {
                // Within capacity: there are no more frames than the UMEM has.
                Some(frame) if self.free.len() < self.free.capacity() => self.free.push(frame),
                _ => self.counters.invalid += 1,
            }
        }
        if count != 0 {
            self.completion.publish();
            self.in_flight = self.in_flight.saturating_sub(count as u32);
            self.counters.completed += count as u64;
        }
        count
    }

    /// Takes a frame out of the pool for good, e.g. to [`super::Rx::release`] it: how a received
    /// frame that was transmitted goes home.
    #[inline]
    pub fn take_free(&mut self) -> Option<Frame> {
        self.free.pop()
    }

    /// Frames that can be reserved without reaping.
    #[inline]
    pub fn free_frames(&self) -> usize {
        self.free.len()
    }

    /// Frames that the kernel has, or has given back without our having looked.
    #[inline]
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Longest frame, bytes: MTU and Ethernet header; a tagged one may have 4 more.
    pub fn frame_max(&self) -> u32 {
        self.frame_max
    }

    /// Sends `frame` until the device took one, at most for `deadline`: whether this queue transmits
    /// at all. Some drivers take tens of seconds after a bind, some never do; one without carrier
    /// takes frames and drops them. See [`crate::packet::probe`] for a frame that harms nobody.
    /// For the start, with nothing else on its way: it sleeps a millisecond between looks.
    pub fn probe(&mut self, frame: &[u8], deadline: Duration) -> Result<()> {
        let waited_ms = u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX);
        // What the counters were when a probe was sent that has not come back.
        let mut sent = None;
        for _ in 0..=waited_ms {
            let (completed, dropped) = *sent.get_or_insert_with(|| {
                let before = (self.counters.completed, self.counters.dropped);
                self.send(|buffer| match buffer.get_mut(..frame.len()) {
                    Some(place) => {
                        place.copy_from_slice(frame);
                        frame.len()
                    }
                    None => usize::MAX,
                });
                before
            });
            self.kick();
            self.complete();
            if self.counters.completed > completed {
                if self.counters.dropped == dropped {
                    return Ok(());
                }
                sent = None;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(Error::ProbeFailed {
            interface: self.shared.interface.clone(),
            queue: self.shared.queue,
            waited_ms,
        })
    }

    /// What this half has done.
    pub fn counters(&self) -> TxCounters {
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

impl AsFd for Tx {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.fd.as_fd()
    }
}

impl fmt::Debug for Tx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx")
            .field("interface", &self.shared.interface)
            .field("queue", &self.shared.queue)
            .field("in_flight", &self.in_flight)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kick_that_the_kernel_ends_early_is_not_refused() {
        let mut counters = TxCounters::default();
        counters.count_again(true);
        assert_eq!((counters.again, counters.refused()), (1, 0));
        counters.count_again(false);
        assert_eq!((counters.again, counters.refused()), (2, 1));
        counters = TxCounters { errors: 1, dropped: 2, no_memory: 4, stuck: 8, ..counters };
        assert_eq!(counters.refused(), 15);
    }
}
