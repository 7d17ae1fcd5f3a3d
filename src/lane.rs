//! A lane: one producer, one consumer, things that are moved and not copied (frames).
//!
//! The same protocol as [`crate::ring`], for values instead of records: the producer alone writes
//! `tail`, the consumer alone writes `head`, both only grow and wrap. Full is an answer, not a wait.
//! No allocation after [`lane`]. What is still inside is dropped with the last end.

use crate::sync::{Arc, AtomicUsize, Ordering, UnsafeCell};
use std::mem::MaybeUninit;

/// Alone on its pair of cache lines.
#[repr(align(128))]
struct Padded<T>(T);

struct Shared<T> {
    head: Padded<AtomicUsize>,
    tail: Padded<AtomicUsize>,
    places: Box<[UnsafeCell<MaybeUninit<T>>]>,
}

// SAFETY: a place is touched by the side that owns it by the protocol only; ownership passes with a
// Release store and an Acquire load of an index.
unsafe impl<T: Send> Sync for Shared<T> {}
// SAFETY: it owns `T`s, which may be sent, and nothing else that is tied to a thread.
unsafe impl<T: Send> Send for Shared<T> {}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // Both ends are gone: dropping the last handle on this has seen what they stored.
        let mut at = self.head.0.load(Ordering::Relaxed);
        let tail = self.tail.0.load(Ordering::Relaxed);
        let mask = self.places.len() - 1;
        while at != tail {
            // SAFETY: places `head..tail` hold values, and nobody else is left.
            self.places[at & mask].with_mut(|place| unsafe { (*place).assume_init_drop() });
            at = at.wrapping_add(1);
        }
    }
}

/// The writing end.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
    tail: usize,
    /// `shared.head` as last seen.
    head: usize,
}

/// The reading end.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    head: usize,
    /// `shared.tail` as last seen.
    tail: usize,
}

/// A lane for at least `places` values.
pub fn lane<T: Send>(places: usize) -> (Sender<T>, Receiver<T>) {
    let places = places.next_power_of_two().max(2);
    let shared = Arc::new(Shared {
        head: Padded(AtomicUsize::new(0)),
        tail: Padded(AtomicUsize::new(0)),
        places: (0..places).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect(),
    });
    (Sender { shared: shared.clone(), tail: 0, head: 0 }, Receiver { shared, head: 0, tail: 0 })
}

impl<T: Send> Sender<T> {
    /// Hands `value` over at once; gives it back when the lane is full.
    #[inline]
    pub fn push(&mut self, value: T) -> Result<(), T> {
        let places = self.shared.places.len();
        if self.tail.wrapping_sub(self.head) == places {
            self.head = self.shared.head.0.load(Ordering::Acquire);
            if self.tail.wrapping_sub(self.head) == places {
                return Err(value);
            }
        }
        // SAFETY: outside `head..tail`, so it is the producer's, and empty.
        self.shared.places[self.tail & (places - 1)].with_mut(|place| unsafe {
            (*place).write(value);
        });
        self.tail = self.tail.wrapping_add(1);
        self.shared.tail.0.store(self.tail, Ordering::Release);
        Ok(())
    }
}

impl<T: Send> Receiver<T> {
    /// The oldest value.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        if self.head == self.tail {
            self.tail = self.shared.tail.0.load(Ordering::Acquire);
            if self.head == self.tail {
                return None;
            }
        }
        let place = &self.shared.places[self.head & (self.shared.places.len() - 1)];
        // SAFETY: inside `head..tail`, so it is the consumer's and was written before `tail` was
        // stored; it is read out once, as `head` moves on.
        let value = place.with(|place| unsafe { (*place).assume_init_read() });
        self.head = self.head.wrapping_add(1);
        self.shared.head.0.store(self.head, Ordering::Release);
        Some(value)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn values_come_in_order_and_full_gives_them_back() {
        let (mut sender, mut receiver) = lane::<Box<u32>>(4);
        for round in 0..100 {
            for i in 0..4 {
                assert_eq!(sender.push(Box::new(round * 4 + i)), Ok(()));
            }
            assert_eq!(sender.push(Box::new(0)), Err(Box::new(0)));
            for i in 0..4 {
                assert_eq!(receiver.pop(), Some(Box::new(round * 4 + i)));
            }
            assert_eq!(receiver.pop(), None);
        }
    }

    #[test]
    fn what_is_inside_is_dropped_once() {
        let counted = Arc::new(());
        let (mut sender, mut receiver) = lane(8);
        for _ in 0..5 {
            assert!(sender.push(counted.clone()).is_ok());
        }
        drop(receiver.pop());
        drop((sender, receiver));
        assert_eq!(Arc::strong_count(&counted), 1);
    }

    #[test]
    fn two_threads_lose_nothing() {
        let (mut sender, mut receiver) = lane(16);
        let producer = std::thread::spawn(move || {
            for i in 0..100_000u64 {
                let mut value = i;
                while let Err(back) = sender.push(value) {
                    value = back;
                    std::thread::yield_now();
                }
            }
        });
        let mut expected = 0;
        while expected < 100_000 {
            match receiver.pop() {
                Some(value) => {
                    assert_eq!(value, expected);
                    expected += 1;
                }
                None => std::thread::yield_now(),
            }
        }
        producer.join().unwrap();
    }
}
