//! The queue of datagrams that wait for the kernel, and what its refusals mean.
//!
//! Consumes filled messages; hands them in order to a function that is the kernel (or a test's
//! script of errors). Must not know sockets.

use std::net::SocketAddrV4;

use super::messages::Messages;
use crate::net::port::{BURST, DATAGRAM_BYTES_MAX};

/// Datagrams that wait at most for a kernel without room; the next one is dropped and counted.
/// Four bursts: more would be old news by the time they leave.
pub const QUEUED_MAX: usize = 4 * BURST;

/// Slots of the queue, and one more in which a datagram is made that is dropped: `fill` is called
/// exactly once for each, whatever becomes of it.
pub(super) const SLOTS: usize = QUEUED_MAX + 1;

/// Datagrams on their way out, circular in slots `0..QUEUED_MAX`.
pub(super) struct TransmitQueue {
    messages: Messages<SLOTS>,
    /// Slot of the oldest one.
    first: usize,
    /// How many.
    queued: usize,
    /// Queued since the last attempt to send.
    fresh: usize,
    /// Given up.
    dropped: u64,
}

impl TransmitQueue {
    /// Empty; all memory allocated and touched.
    pub(super) fn new() -> TransmitQueue {
        TransmitQueue { messages: Messages::new(), first: 0, queued: 0, fresh: 0, dropped: 0 }
    }

    #[inline]
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    #[inline]
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Queues what `fill` makes, or drops it when the queue is full even now. True when a burst
    /// has come together and should be flushed.
    #[inline]
    pub(super) fn push(&mut self, to: SocketAddrV4, fill: impl FnOnce(&mut [u8]) -> usize) -> bool {
        let full = self.queued == QUEUED_MAX;
        let slot = if full { QUEUED_MAX } else { (self.first + self.queued) % QUEUED_MAX };
        let length = fill(self.messages.buffer(slot));
        assert!(length <= DATAGRAM_BYTES_MAX, "datagram longer than its buffer");
        if length == 0 {
            return false;
        }
        if full {
            self.dropped += 1;
            return false;
        }
        self.messages.address_to(slot, to, length);
        self.queued += 1;
        self.fresh += 1;
        self.fresh >= BURST
    }

    /// Hands runs of messages to `kernel(messages, first, count)`, which says how many it took or
    /// the errno of the first, until the queue is empty or the kernel has no room.
    #[inline]
    pub(super) fn flush(
        &mut self,
        mut kernel: impl FnMut(&mut Messages<SLOTS>, usize, usize) -> Result<usize, i32>,
    ) {
        self.fresh = 0;
        let mut retried = false;
        while self.queued > 0 {
            let run = self.queued.min(QUEUED_MAX - self.first).min(BURST);
            match kernel(&mut self.messages, self.first, run) {
                Ok(0) => return,
                Ok(sent) => {
                    self.forget(sent);
                    retried = false;
                }
                // No room in the socket's buffer: stays queued for the next flush. EWOULDBLOCK is
                // the same number on Linux.
                Err(libc::EAGAIN) => return,
                // A pending error of the socket (ICMP for an earlier datagram) or a signal says
                // nothing about this datagram: try it once more.
                Err(libc::ECONNREFUSED | libc::EINTR) if !retried => retried = true,
                // This datagram cannot go (no route, filtered, no buffers ...); the next may.
                Err(_) => {
                    self.forget(1);
                    self.dropped += 1;
                    retried = false;
                }
            }
        }
    }

    /// The oldest `count` are done with.
    #[inline]
    fn forget(&mut self, count: usize) {
        assert!(count <= self.queued);
        self.first = (self.first + count) % QUEUED_MAX;
        self.queued -= count;
        if self.queued == 0 {
            // Start over at the first slots: they are warm in the cache.
            self.first = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO: SocketAddrV4 = SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 9);

    /// Queues `values`, each as one byte.
    fn push(queue: &mut TransmitQueue, values: std::ops::Range<u16>) {
        for value in values {
            queue.push(TO, |bytes| {
                bytes[..2].copy_from_slice(&value.to_be_bytes());
                2
            });
        }
    }

    /// Flushes against a kernel that answers by `script` (then takes everything); returns what
    /// it took.
    fn flush(queue: &mut TransmitQueue, script: &[Result<usize, i32>]) -> Vec<u16> {
        let mut script = script.iter();
        let mut taken = Vec::new();
        queue.flush(|messages, first, count| {
            let answer = script.next().map_or(Ok(count), |answer| answer.map(|n| n.min(count)));
            for i in 0..answer.unwrap_or(0) {
                let bytes = messages.buffer(first + i);
                taken.push(u16::from_be_bytes([bytes[0], bytes[1]]));
            }
            answer
        });
        taken
    }

    #[test]
    fn no_room_is_retried_at_the_next_flush_in_order() {
        let mut queue = TransmitQueue::new();
        push(&mut queue, 0..10);
        assert_eq!(flush(&mut queue, &[Ok(3), Err(libc::EAGAIN)]), [0, 1, 2]);
        assert_eq!(queue.queued(), 7);
        push(&mut queue, 10..12);
        assert_eq!(flush(&mut queue, &[]), (3..12).collect::<Vec<_>>());
        assert_eq!((queue.queued(), queue.dropped()), (0, 0));
    }

    #[test]
    fn a_full_queue_drops_the_newest_and_counts() {
        let mut queue = TransmitQueue::new();
        let full = QUEUED_MAX as u16;
        push(&mut queue, 0..full);
        assert!(flush(&mut queue, &[Err(libc::EAGAIN)]).is_empty());
        push(&mut queue, full..full + 5);
        assert_eq!((queue.queued(), queue.dropped()), (QUEUED_MAX, 5));
        // Half of it goes; the queue wraps around its end and keeps the order.
        let half = flush(&mut queue, &[Ok(64), Ok(64), Err(libc::EAGAIN)]);
        assert_eq!(half, (0..full / 2).collect::<Vec<_>>());
        push(&mut queue, 1000..1010);
        let expected: Vec<_> = (full / 2..full).chain(1000..1010).collect();
        assert_eq!(flush(&mut queue, &[]), expected);
    }

    #[test]
    fn a_refused_datagram_is_dropped_alone() {
        for errno in [libc::EPERM, libc::ENOBUFS, libc::EMSGSIZE, libc::ENETUNREACH, libc::EINVAL] {
            let mut queue = TransmitQueue::new();
            push(&mut queue, 0..4);
            assert_eq!(flush(&mut queue, &[Ok(1), Err(errno)]), [0, 2, 3]);
            assert_eq!((queue.queued(), queue.dropped()), (0, 1));
        }
    }

    #[test]
    fn a_pending_error_costs_nothing_once() {
        for errno in [libc::ECONNREFUSED, libc::EINTR] {
            let mut queue = TransmitQueue::new();
            push(&mut queue, 0..3);
            assert_eq!(flush(&mut queue, &[Err(errno)]), [0, 1, 2]);
            push(&mut queue, 3..6);
            assert_eq!(flush(&mut queue, &[Err(errno), Err(errno)]), [4, 5]);
            assert_eq!(queue.dropped(), 1);
        }
    }

    #[test]
    fn a_burst_asks_to_be_flushed() {
        let mut queue = TransmitQueue::new();
        for i in 1..=BURST {
            assert_eq!(queue.push(TO, |_| 1), i == BURST);
        }
        assert!(!queue.push(TO, |_| 0));
        assert_eq!(queue.queued(), BURST);
    }

    #[test]
    #[should_panic(expected = "longer than its buffer")]
    fn a_lying_fill_is_the_callers_bug() {
        TransmitQueue::new().push(TO, |_| DATAGRAM_BYTES_MAX + 1);
    }
}
