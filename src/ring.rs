//! The ring from a gateway (or the timer) to the sequencer, and from ingress to egress and replayer: one
//! producer, one consumer.
//!
//! Carries short records of (kind, payload) in fixed slots; knows neither orders nor sockets.
//! Every slot, index and cached index has its own cache line, so that the two threads meet only
//! where a record is really handed over. Full is an answer, not a wait. No allocation after
//! [`ring`].
//!
//! Protocol: the producer alone writes `tail`, the consumer alone writes `head`; both only grow
//! (and wrap with the integer). Slots `head..tail` belong to the consumer, all others to the
//! producer. Storing `tail` with Release hands a filled slot over (paired with the consumer's
//! Acquire load); storing `head` with Release hands an emptied one back.

use crate::sync::{Arc, AtomicUsize, Ordering, UnsafeCell};
use std::convert::Infallible;

/// Bytes of one slot: two cache lines (adjacent-line prefetch fetches them as a pair).
pub const SLOT_BYTES: usize = 128;
/// Bytes of the slot's head: kind u16, length u16, padding u32.
pub const SLOT_HEAD_BYTES: usize = 8;
/// Longest payload of one record.
pub const PAYLOAD_BYTES_MAX: usize = SLOT_BYTES - SLOT_HEAD_BYTES;

/// The ring has no free slot; nothing was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

#[repr(C, align(128))]
struct Slot {
    kind: u16,
    length: u16,
    padding: u32,
    payload: [u8; PAYLOAD_BYTES_MAX],
}

const _: () = assert!(size_of::<Slot>() == SLOT_BYTES && align_of::<Slot>() == SLOT_BYTES);

/// Alone on its pair of cache lines.
#[repr(align(128))]
struct Padded<T>(T);

struct Shared {
    /// Count of records ever popped (wrapping). Written by the consumer.
    head: Padded<AtomicUsize>,
    /// Count of records ever pushed (wrapping). Written by the producer.
    tail: Padded<AtomicUsize>,
    slots: Box<[UnsafeCell<Slot>]>,
}

// SAFETY: a slot is touched by the side that owns it by the protocol in the module's head only;
// ownership passes with a Release store and an Acquire load of an index, so accesses to the same
// slot never run at the same time and are ordered.
unsafe impl Sync for Shared {}
// SAFETY: nothing in it is tied to a thread.
unsafe impl Send for Shared {}

/// The writing end. One thread at a time (`&mut`), may move between threads.
pub struct Producer {
    shared: Arc<Shared>,
    mask: usize,
    /// Own copy of `shared.tail`.
    tail: usize,
    /// `shared.head` as last seen; reloaded only when the ring looks full.
    head_seen: usize,
}

/// The reading end. One thread at a time (`&mut`), may move between threads.
pub struct Consumer {
    shared: Arc<Shared>,
    mask: usize,
    /// Own copy of `shared.head`.
    head: usize,
    /// `shared.tail` as last seen; reloaded only when the ring looks empty.
    tail_seen: usize,
}

/// A ring of `slots` records, a power of two (else panics: configuration checks it before).
/// Allocates and touches all of its memory.
pub fn ring(slots: usize) -> (Producer, Consumer) {
    assert!(slots.is_power_of_two(), "ring of {slots} slots: not a power of two");
    let slots_boxed = (0..slots)
        .map(|_| {
            UnsafeCell::new(Slot {
                kind: 0,
                length: 0,
                padding: 0,
                payload: [0; PAYLOAD_BYTES_MAX],
            })
        })
        .collect();
    let shared = Arc::new(Shared {
        head: Padded(AtomicUsize::new(0)),
        tail: Padded(AtomicUsize::new(0)),
        slots: slots_boxed,
    });
    let mask = slots - 1;
    (
        Producer { shared: shared.clone(), mask, tail: 0, head_seen: 0 },
        Consumer { shared, mask, head: 0, tail_seen: 0 },
    )
}

impl Producer {
    /// Writes one record: `fill` gets exactly `payload_len` bytes (old content, to be overwritten
    /// in full). O(1), never waits.
    ///
    /// Panics when `payload_len` is beyond [`PAYLOAD_BYTES_MAX`]: the caller's bug. When `fill`
    /// panics, nothing was pushed.
    #[inline]
    pub fn try_push(
        &mut self,
        kind: u16,
        payload_len: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<(), Full> {
        assert!(payload_len <= PAYLOAD_BYTES_MAX, "payload longer than a ring slot");
        if self.tail.wrapping_sub(self.head_seen) > self.mask {
            self.head_seen = self.shared.head.0.load(Ordering::Acquire);
            if self.tail.wrapping_sub(self.head_seen) > self.mask {
                return Err(Full);
            }
        }
        self.shared.slots[self.tail & self.mask].with_mut(|slot| {
            // SAFETY: `tail - head <= mask`, so this slot is outside `head..tail` and the
            // producer's; there is only one producer and it is borrowed mutably; the Acquire load
            // of `head` above ordered the consumer's last read of the slot before this write.
            let slot = unsafe { &mut *slot };
            slot.kind = kind;
            slot.length = payload_len as u16;
            fill(&mut slot.payload[..payload_len]);
        });
        self.tail = self.tail.wrapping_add(1);
        self.shared.tail.0.store(self.tail, Ordering::Release);
        Ok(())
    }

    /// Free slots at this moment; the consumer can only make it more.
    #[inline]
    pub fn free(&self) -> usize {
        let used = self.tail.wrapping_sub(self.shared.head.0.load(Ordering::Acquire));
        self.mask + 1 - used
    }

    /// Whether one more record fits. Looks at the consumer's index only where there seems to be no room.
    #[inline]
    pub fn has_room(&self) -> bool {
        self.tail.wrapping_sub(self.head_seen) <= self.mask || self.free() > 0
    }
}

impl Consumer {
    /// Takes the oldest record, hands its kind and payload to `f` and returns what `f` returns;
    /// `None` when the ring is empty. O(1), never waits. When `f` panics the record stays.
    #[inline]
    pub fn pop<R>(&mut self, f: impl FnOnce(u16, &[u8]) -> R) -> Option<R> {
        match self.try_pop(|kind, payload| Ok::<R, Infallible>(f(kind, payload)))? {
            Ok(result) => Some(result),
        }
    }

    /// As [`Consumer::pop`], but the record is taken only when `f` could use it: on Err it stays the
    /// oldest. Nobody needs a place of his own for what he cannot pass on yet.
    #[inline]
    pub fn try_pop<R, E>(
        &mut self,
        f: impl FnOnce(u16, &[u8]) -> Result<R, E>,
    ) -> Option<Result<R, E>> {
        if self.head == self.tail_seen {
            self.tail_seen = self.shared.tail.0.load(Ordering::Acquire);
            if self.head == self.tail_seen {
                return None;
            }
        }
        let result = self.shared.slots[self.head & self.mask].with(|slot| {
            // SAFETY: `head != tail`, so this slot is inside `head..tail` and the consumer's; the
            // Acquire load of `tail` ordered the producer's writes before this read.
            let slot = unsafe { &*slot };
            f(slot.kind, &slot.payload[..usize::from(slot.length)])
        });
        if result.is_ok() {
            self.head = self.head.wrapping_add(1);
            self.shared.head.0.store(self.head, Ordering::Release);
        }
        Some(result)
    }

    /// Records waiting at this moment; the producer can only make it more.
    #[inline]
    pub fn len(&self) -> usize {
        self.shared.tail.0.load(Ordering::Acquire).wrapping_sub(self.head)
    }

    /// Nothing waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn push(producer: &mut Producer, value: u64) -> Result<(), Full> {
        producer.try_push(7, 8, |payload| payload.copy_from_slice(&value.to_le_bytes()))
    }

    fn value(kind: u16, payload: &[u8]) -> u64 {
        assert_eq!(kind, 7);
        u64::from_le_bytes(payload.try_into().unwrap())
    }

    #[test]
    fn empty_full_and_order() {
        let (mut producer, mut consumer) = ring(4);
        assert_eq!(consumer.pop(value), None);
        assert!(consumer.is_empty());
        for round in 0..100u64 {
            for i in 0..4 {
                assert_eq!(producer.free(), 4 - i);
                assert!(producer.has_room());
                push(&mut producer, round * 4 + i as u64).unwrap();
            }
            assert!(producer.free() == 0 && !producer.has_room());
            assert_eq!(push(&mut producer, 999), Err(Full));
            assert_eq!(consumer.len(), 4);
            for i in 0..4 {
                assert_eq!(consumer.pop(value), Some(round * 4 + i));
            }
            assert_eq!(consumer.pop(value), None);
        }
    }

    #[test]
    fn what_cannot_be_used_yet_stays() {
        let (mut producer, mut consumer) = ring(2);
        assert_eq!(consumer.try_pop(|_, _| Err::<(), _>(())), None);
        push(&mut producer, 1).unwrap();
        push(&mut producer, 2).unwrap();
        for _ in 0..3 {
            assert_eq!(consumer.try_pop(|kind, p| Err::<(), _>(value(kind, p))), Some(Err(1)));
            assert_eq!((consumer.len(), producer.free()), (2, 0));
        }
        assert_eq!(consumer.try_pop(|kind, p| Ok::<_, ()>(value(kind, p))), Some(Ok(1)));
        assert_eq!((consumer.pop(value), consumer.pop(value)), (Some(2), None));
    }

    #[test]
    fn one_slot_is_a_ring_too() {
        let (mut producer, mut consumer) = ring(1);
        for i in 0..10 {
            push(&mut producer, i).unwrap();
            assert_eq!(push(&mut producer, i), Err(Full));
            assert_eq!(consumer.pop(value), Some(i));
            assert_eq!(consumer.pop(value), None);
        }
    }

    #[test]
    fn payloads_of_every_length() {
        let (mut producer, mut consumer) = ring(2);
        for length in 0..=PAYLOAD_BYTES_MAX {
            producer.try_push(length as u16, length, |p| p.fill(length as u8)).unwrap();
            let seen = consumer.pop(|kind, p| {
                assert!(p.iter().all(|&b| b == length as u8));
                (kind, p.len())
            });
            assert_eq!(seen, Some((length as u16, length)));
        }
    }

    #[test]
    #[should_panic(expected = "not a power of two")]
    fn slots_must_be_a_power_of_two() {
        ring(12);
    }

    #[test]
    #[should_panic(expected = "longer than a ring slot")]
    fn too_long_is_the_callers_bug() {
        let (mut producer, _consumer) = ring(2);
        let _ = producer.try_push(1, PAYLOAD_BYTES_MAX + 1, |_| ());
    }

    #[test]
    fn panicking_fill_pushes_nothing() {
        let (mut producer, mut consumer) = ring(2);
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _ = producer.try_push(1, 8, |_| panic!("on purpose"));
        }));
        assert!(caught.is_err());
        assert_eq!(consumer.len(), 0);
        push(&mut producer, 3).unwrap();
        assert_eq!(consumer.pop(value), Some(3));
    }

    /// Two threads, small ring: every record arrives once, in order, whole.
    #[test]
    fn two_threads() {
        const COUNT: u64 = 200_000;
        let (mut producer, mut consumer) = ring(64);
        let writer = std::thread::spawn(move || {
            for i in 0..COUNT {
                let length = (i % 14) as usize * 8 + 8;
                while producer
                    .try_push(i as u16, length, |p| {
                        for word in p.chunks_exact_mut(8) {
                            word.copy_from_slice(&i.to_le_bytes());
                        }
                    })
                    .is_err()
                {
                    std::thread::yield_now();
                }
            }
        });
        let mut expected = 0u64;
        while expected < COUNT {
            let popped = consumer.pop(|kind, p| {
                assert_eq!(kind, expected as u16);
                assert_eq!(p.len(), (expected % 14) as usize * 8 + 8);
                for word in p.chunks_exact(8) {
                    assert_eq!(u64::from_le_bytes(word.try_into().unwrap()), expected);
                }
            });
            match popped {
                Some(()) => expected += 1,
                None => std::thread::yield_now(),
            }
        }
        writer.join().unwrap();
        assert!(consumer.is_empty());
    }
}
