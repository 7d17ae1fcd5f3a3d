//! Frames on their way to the writer: a ring of words, one producer, one consumer.
//!
//! Consumes and produces frames with what is known of them ([`Head`]). As in [`crate::ring`], the
//! producer alone writes `tail`, the consumer alone writes `head`, both only grow and wrap. Frames are
//! copied word by word into as much room as they take, so that short ones do not pay for long ones;
//! the words are atomics, so there is nothing unsafe. Full is an answer, not a wait. No allocation
//! after [`ring`]. Must not know files.

use super::Direction;
use crate::sync::{Arc, AtomicU64, AtomicUsize, Ordering};
use crate::types::Nanos;
use std::net::{Ipv4Addr, SocketAddrV4};

/// Words before the bytes: time; then length, flags and drops.
const HEAD_WORDS: usize = 2;
/// Words of source and destination, where there are any.
const ENDS_WORDS: usize = 2;
/// Longest frame that a record can say.
const BYTES_MAX: usize = u16::MAX as usize;

const OUTBOUND: u64 = 1 << 16;
const HAS_ENDS: u64 = 1 << 17;

/// What is known of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    /// Start of the cycle that took or sent it.
    pub(super) time: Nanos,
    /// Which way it went.
    pub(super) direction: Direction,
    /// Source and destination of a datagram without headers; `None`: the bytes are a whole frame.
    pub(super) ends: Option<(SocketAddrV4, SocketAddrV4)>,
    /// Frames of this tap that found no room since the one before.
    pub(super) dropped: u32,
}

/// Alone on its pair of cache lines.
#[repr(align(128))]
struct Padded<T>(T);

struct Shared {
    head: Padded<AtomicUsize>,
    tail: Padded<AtomicUsize>,
    words: Box<[AtomicU64]>,
}

impl Shared {
    #[inline]
    fn word(&self, at: usize) -> &AtomicU64 {
        &self.words[at & (self.words.len() - 1)]
    }
}

/// The writing end.
pub(super) struct Sender {
    shared: Arc<Shared>,
    tail: usize,
    /// `shared.head` as last seen.
    head: usize,
}

/// The reading end.
pub(super) struct Receiver {
    shared: Arc<Shared>,
    head: usize,
    /// `shared.tail` as last seen.
    tail: usize,
}

/// A ring of at least `bytes`, a power of two; all memory touched.
pub(super) fn ring(bytes: usize) -> (Sender, Receiver) {
    let words = bytes.div_ceil(8).next_power_of_two().max(8);
    let shared = Arc::new(Shared {
        head: Padded(AtomicUsize::new(0)),
        tail: Padded(AtomicUsize::new(0)),
        words: (0..words).map(|_| AtomicU64::new(0)).collect(),
    });
    (Sender { shared: shared.clone(), tail: 0, head: 0 }, Receiver { shared, head: 0, tail: 0 })
}

impl Sender {
    /// Copies a frame in; false when there is no room for it (or it is longer than 65,535 bytes).
    /// A store for each 8 bytes.
    #[inline]
    pub(super) fn push(&mut self, head: &Head, bytes: &[u8]) -> bool {
        let ends = if head.ends.is_some() { ENDS_WORDS } else { 0 };
        let words = HEAD_WORDS + ends + bytes.len().div_ceil(8);
        let places = self.shared.words.len();
        if self.tail.wrapping_sub(self.head) + words > places {
            self.head = self.shared.head.0.load(Ordering::Acquire);
            if self.tail.wrapping_sub(self.head) + words > places {
                return false;
            }
        }
        if bytes.len() > BYTES_MAX {
            return false;
        }
        let mut flags = if head.direction == Direction::Sent { OUTBOUND } else { 0 };
        let mut at = self.tail;
        // Relaxed: what is written is handed over with `tail`.
        let mut put = |word: u64| {
            self.shared.word(at).store(word, Ordering::Relaxed);
            at = at.wrapping_add(1);
        };
        put(head.time.0);
        if head.ends.is_some() {
            flags |= HAS_ENDS;
        }
        put(bytes.len() as u64 | flags | u64::from(head.dropped) << 32);
        if let Some((from, to)) = head.ends {
            put(end_word(from));
            put(end_word(to));
        }
        let (whole, rest) = bytes.as_chunks::<8>();
        for chunk in whole {
            put(u64::from_le_bytes(*chunk));
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            put(u64::from_le_bytes(last));
        }
        self.tail = at;
        self.shared.tail.0.store(at, Ordering::Release);
        true
    }
}

impl Receiver {
    /// Time of the oldest frame; `None` when there is none.
    pub(super) fn peek(&mut self) -> Option<Nanos> {
        if self.head == self.tail {
            self.tail = self.shared.tail.0.load(Ordering::Acquire);
            if self.head == self.tail {
                return None;
            }
        }
        Some(Nanos(self.shared.word(self.head).load(Ordering::Relaxed)))
    }

    /// Takes the oldest frame: its bytes replace what is in `bytes`.
    pub(super) fn pop(&mut self, bytes: &mut Vec<u8>) -> Option<Head> {
        let time = self.peek()?;
        let mut at = self.head.wrapping_add(1);
        let mut get = || {
            let word = self.shared.word(at).load(Ordering::Relaxed);
            at = at.wrapping_add(1);
            word
        };
        let second = get();
        let length = (second & BYTES_MAX as u64) as usize;
        let ends = (second & HAS_ENDS != 0).then(|| (end_of(get()), end_of(get())));
        bytes.clear();
        for _ in 0..length.div_ceil(8) {
            bytes.extend_from_slice(&get().to_le_bytes());
        }
        bytes.truncate(length);
        self.head = at;
        self.shared.head.0.store(at, Ordering::Release);
        let direction = if second & OUTBOUND != 0 { Direction::Sent } else { Direction::Received };
        Some(Head { time, direction, ends, dropped: (second >> 32) as u32 })
    }
}

fn end_word(end: SocketAddrV4) -> u64 {
    u64::from(u32::from(*end.ip())) << 16 | u64::from(end.port())
}

fn end_of(word: u64) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from((word >> 16) as u32), word as u16)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn head(time: u64) -> Head {
        Head { time: Nanos(time), direction: Direction::Received, ends: None, dropped: 0 }
    }

    #[test]
    fn what_goes_in_comes_out_around_the_end_of_the_ring() {
        let (mut sender, mut receiver) = ring(512);
        let ends = ("10.0.0.1:9".parse().unwrap(), "239.255.255.255:65535".parse().unwrap());
        let mut out = Vec::new();
        for i in 0..1_000u64 {
            let bytes: Vec<u8> = (0..i % 100).map(|b| (b * 7 + i) as u8).collect();
            let direction = if i % 3 == 0 { Direction::Sent } else { Direction::Received };
            let dropped = if i % 5 == 0 { u32::MAX } else { i as u32 };
            let sent =
                Head { time: Nanos(i), direction, ends: (i % 2 == 0).then_some(ends), dropped };
            assert!(sender.push(&sent, &bytes));
            assert_eq!(receiver.peek(), Some(Nanos(i)));
            assert_eq!(receiver.pop(&mut out), Some(sent));
            assert_eq!(out, bytes);
        }
        assert_eq!(receiver.pop(&mut out), None);
    }

    #[test]
    fn full_is_an_answer_and_harms_nothing() {
        let (mut sender, mut receiver) = ring(256); // 32 words: 8 records of 2 + 2
        let mut taken = 0;
        while sender.push(&head(taken), &[taken as u8; 16]) {
            taken += 1;
        }
        assert_eq!(taken, 8);
        assert!(!sender.push(&head(9), &[0; 1_000]), "longer than the ring");
        let mut out = Vec::new();
        assert_eq!(receiver.pop(&mut out).unwrap().time, Nanos(0));
        assert!(sender.push(&head(8), &[8; 16]));
        for i in 1..=8 {
            assert_eq!(receiver.pop(&mut out), Some(head(i)));
            assert_eq!(out, [i as u8; 16]);
        }
        assert_eq!(receiver.pop(&mut out), None);
    }

    #[test]
    fn no_frame_is_torn_between_two_threads() {
        let (mut sender, mut receiver) = ring(1_024);
        let producer = std::thread::spawn(move || {
            let mut bytes = [0; 120];
            for i in 0..100_000u64 {
                bytes.fill(i as u8);
                while !sender.push(&head(i), &bytes[..(i % 120) as usize]) {
                    std::thread::yield_now();
                }
            }
        });
        let (mut expected, mut out) = (0, Vec::new());
        while expected < 100_000 {
            match receiver.pop(&mut out) {
                Some(found) => {
                    assert_eq!(found, head(expected));
                    assert_eq!(out.len() as u64, expected % 120);
                    assert!(out.iter().all(|&b| b == expected as u8));
                    expected += 1;
                }
                None => std::thread::yield_now(),
            }
        }
        producer.join().unwrap();
    }
}
