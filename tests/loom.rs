//! Every interleaving and every allowed stale read of the protocols between threads, by loom: the
//! ring, a record's publish, a log's marks, the hand-over of segments. The code under test is the
//! code that runs; only its atomics are loom's.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release --no-default-features --target-dir target/loom --test loom`
#![cfg(loom)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, AtomicU64};
use loom::thread;
use rialto::ring::{Consumer, Producer, ring};
use rialto::store::Mark;
use rialto::store::publish::{self, HandOver, MarkCell};
use rialto::types::Seq;

fn push(producer: &mut Producer, value: u64) -> bool {
    producer.try_push(value as u16, 8, |out| out.copy_from_slice(&value.to_le_bytes())).is_ok()
}

fn pop(consumer: &mut Consumer) -> Option<u64> {
    consumer.pop(|kind, bytes| {
        let value = u64::from_le_bytes(bytes.try_into().unwrap());
        assert_eq!(kind, value as u16, "kind and payload of one record");
        value
    })
}

/// Pushes `count` records through `slots` slots; each arrives once, whole, in order. loom's cells
/// fail the test when both ends touch a slot without an order between them.
fn ring_of(slots: usize, count: u64) {
    // Four switches that no one waits for: without a bound, minutes, and no other result was found.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(4);
    model.check(move || {
        let (mut producer, mut consumer) = ring(slots);
        let writer = thread::spawn(move || {
            for value in 1..=count {
                while !push(&mut producer, value) {
                    thread::yield_now();
                }
            }
        });
        let mut expected = 1;
        while expected <= count {
            match pop(&mut consumer) {
                Some(value) => {
                    assert_eq!(value, expected);
                    expected += 1;
                }
                None => thread::yield_now(),
            }
        }
        writer.join().unwrap();
        assert!(consumer.is_empty() && pop(&mut consumer).is_none());
    });
}

#[test]
fn ring_of_one_slot() {
    ring_of(1, 3);
}

#[test]
fn ring_of_two_slots_wraps() {
    ring_of(2, 3);
}

#[test]
fn ring_says_full_and_empty_only_when_it_is() {
    loom::model(|| {
        let (mut producer, mut consumer) = ring(2);
        assert!(push(&mut producer, 1));
        let reader = thread::spawn(move || {
            let first = pop(&mut consumer);
            assert_eq!(first, Some(1), "pushed before the thread began");
            let waiting = consumer.len() as u64;
            for value in 2..2 + waiting {
                assert_eq!(pop(&mut consumer), Some(value), "what len counted is there");
            }
            consumer
        });
        let free = producer.free() as u64;
        assert!((1..=2).contains(&free));
        for value in 2..2 + free {
            assert!(push(&mut producer, value), "what free counted is free");
        }
        let mut consumer = reader.join().unwrap();
        let mut left = 0;
        while pop(&mut consumer).is_some() {
            left += 1;
        }
        assert!(left <= free);
    });
}

/// Records of a log: each a length and some bytes, all zero until published.
struct Log {
    records: Vec<(AtomicU32, UnsafeCell<u64>)>,
    written: MarkCell<AtomicU64>,
    committed: MarkCell<AtomicU64>,
}

/// Bytes of a record here; record n lies at n x STRIDE.
const STRIDE: u64 = 32;

impl Log {
    fn new(records: usize) -> Arc<Log> {
        let record = |_| (AtomicU32::new(0), UnsafeCell::new(0));
        let records = (0..records).map(record).collect();
        Arc::new(Log { records, written: MarkCell::default(), committed: MarkCell::default() })
    }

    /// What the writer does: the record, then the written mark.
    fn append(&self, number: u64) -> Mark {
        let (length, bytes) = &self.records[number as usize - 1];
        publish::record(length, STRIDE as u32, || {
            // SAFETY: loom watches that nobody reads it before.
            bytes.with_mut(|bytes| unsafe { *bytes = number * 1_000 });
        });
        let mark = Mark { seq: Seq(number), position: number * STRIDE };
        self.written.store(mark);
        mark
    }

    /// The record that begins at `position`; `None` when nothing is published there.
    fn read(&self, position: u64) -> Option<u64> {
        let (length, bytes) = &self.records[(position / STRIDE) as usize];
        // SAFETY: loom watches that nobody writes it now or later.
        (publish::length(length) != 0).then(|| bytes.with(|bytes| unsafe { *bytes }))
    }
}

#[test]
fn a_published_length_shows_the_whole_record() {
    loom::model(|| {
        let log = Log::new(2);
        let writer = thread::spawn({
            let log = log.clone();
            move || {
                log.append(1);
                log.append(2);
            }
        });
        // A reader of everything whole (recovery, the archiver): no mark, only lengths.
        let mut next = 0;
        while next < 2 {
            let Some(value) = log.read(next * STRIDE) else { break };
            next += 1;
            assert_eq!(value, next * 1_000);
        }
        writer.join().unwrap();
        assert_eq!([log.read(0), log.read(STRIDE)], [Some(1_000), Some(2_000)]);
    });
}

#[test]
fn what_a_mark_counts_can_be_read() {
    loom::model(|| {
        let log = Log::new(2);
        let writer = thread::spawn({
            let log = log.clone();
            move || {
                for number in 1..=2 {
                    let mark = log.append(number);
                    log.committed.store(mark);
                }
            }
        });
        // A follower: position alone.
        let mut at = 0;
        for _ in 0..3 {
            let limit = log.committed.position();
            assert!(limit >= at, "the mark never goes back");
            while at < limit {
                assert_eq!(log.read(at), Some((at / STRIDE + 1) * 1_000), "committed, not there");
                at += STRIDE;
            }
            thread::yield_now();
        }
        writer.join().unwrap();
        assert_eq!(log.committed.load(), Mark { seq: Seq(2), position: 2 * STRIDE });
    });
}

#[test]
fn a_mark_never_shows_a_number_without_its_position() {
    loom::model(|| {
        let log = Log::new(2);
        let writer = thread::spawn({
            let log = log.clone();
            // `store`, not `raise`: its look at the old number would hide the reader's from loom's
            // search, which remembers only the last access of a word.
            move || {
                for number in 1..=2 {
                    let mark = log.append(number);
                    log.committed.store(mark);
                }
            }
        });
        let mark = log.committed.load();
        assert!(mark.position >= mark.seq.0 * STRIDE, "{mark:?}: the number is ahead");
        if mark.seq.0 > 0 {
            // Through the number alone, too, the bytes are seen.
            assert_eq!(log.read((mark.seq.0 - 1) * STRIDE), Some(mark.seq.0 * 1_000));
        }
        assert!(log.written.load().position >= mark.position, "committed and not written");
        writer.join().unwrap();
    });
}

#[test]
fn an_older_mark_moves_nothing_back() {
    loom::model(|| {
        let log = Log::new(2);
        let writer = thread::spawn({
            let log = log.clone();
            move || {
                let (first, second) = (log.append(1), log.append(2));
                log.committed.raise(second);
                log.committed.raise(first);
            }
        });
        let first = log.committed.position();
        thread::yield_now();
        assert!(log.committed.position() >= first);
        writer.join().unwrap();
        assert_eq!(log.committed.load(), Mark { seq: Seq(2), position: 2 * STRIDE });
    });
}

#[test]
fn a_counted_segment_is_in_the_writers_channel() {
    loom::model(|| {
        let (hand_over, for_writer) = HandOver::new(4);
        let hand_over = Arc::new(hand_over);
        hand_over.begin(0);
        let preparer = thread::spawn({
            let hand_over = hand_over.clone();
            move || {
                for index in 1..=2u64 {
                    // A prepared segment: touched and headed by the preparing thread.
                    let segment = UnsafeCell::new(0);
                    // SAFETY: loom watches.
                    segment.with_mut(|bytes| unsafe { *bytes = index });
                    hand_over.give(index, segment);
                }
            }
        });
        // The writer: as many as are counted can be taken without waiting.
        let ahead = hand_over.ready() - 1;
        for index in 1..=ahead {
            let segment = for_writer.try_recv().expect("counted and not there");
            // SAFETY: loom watches.
            assert_eq!(segment.with(|bytes| unsafe { *bytes }), index);
        }
        preparer.join().unwrap();
        assert_eq!(hand_over.ready(), 3);
    });
}

/// Values through a lane of two places: each arrives once, in order; what stays inside is dropped once.
#[test]
fn lane_hands_over_and_drops_the_rest() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(4);
    model.check(|| {
        let counted = std::sync::Arc::new(());
        let (mut sender, mut receiver) = rialto::lane::lane(2);
        let theirs = counted.clone();
        let writer = thread::spawn(move || {
            for value in 1..=3u64 {
                let mut waiting = (value, theirs.clone());
                while let Err(back) = sender.push(waiting) {
                    waiting = back;
                    thread::yield_now();
                }
            }
        });
        for expected in 1..=2 {
            let value = loop {
                match receiver.pop() {
                    Some((value, _)) => break value,
                    None => thread::yield_now(),
                }
            };
            assert_eq!(value, expected);
        }
        writer.join().unwrap();
        drop(receiver);
        assert_eq!(std::sync::Arc::strong_count(&counted), 1);
    });
}
