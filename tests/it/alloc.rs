//! No allocation from received datagram to sent report and multicast, once warm.
//!
//! A counting allocator for the whole test binary, with a counter per thread; what is counted is the
//! duty cycles of the order path and nothing of the test's own. The network in memory takes its
//! buffers from a pool, so it needs no exception.

use crate::venue::{MS, Options, Venue, client::*};
use rialto::gateway::Rate;
use rialto::net::capture::Capture;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering::Relaxed};

struct Counting;

thread_local! {
    // Const and without a destructor: the allocator may use it at any time of a thread's life.
    static CALLS: Cell<u64> = const { Cell::new(0) };
    /// The thread's place in `THREADS`.
    static PLACE: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Number of a thread and its calls, for who asks about another thread than his own.
struct Thread(AtomicI32, AtomicU64);

/// The first threads of the process; later ones are not asked about.
static THREADS: [Thread; 256] = [const { Thread(AtomicI32::new(0), AtomicU64::new(0)) }; 256];
static PLACES: AtomicUsize = AtomicUsize::new(0);

fn count() {
    // `try_with` fails only while the thread ends: nobody measures then.
    let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
    let _ = PLACE.try_with(|place| {
        if place.get() == usize::MAX {
            place.set(PLACES.fetch_add(1, Relaxed));
            if let Some(thread) = THREADS.get(place.get()) {
                // SAFETY: no arguments, no memory.
                thread.0.store(unsafe { libc::gettid() }, Relaxed);
            }
        }
        if let Some(thread) = THREADS.get(place.get()) {
            thread.1.fetch_add(1, Relaxed);
        }
    });
}

/// Calls of the thread of this number (gettid) so far. Panics when it has not made any, or came late.
pub fn calls_of(tid: i32) -> u64 {
    let thread = THREADS.iter().rev().find(|thread| thread.0.load(Relaxed) == tid);
    thread.expect("a thread among the first").1.load(Relaxed)
}

// SAFETY: every call goes to the system allocator with the same arguments; counting touches a
// thread-local number only and does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above; `pointer` came from `System` through this allocator.
        unsafe { System.realloc(pointer, layout, size) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: as above; `pointer` came from `System` through this allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn calls() -> u64 {
    CALLS.with(Cell::get)
}

/// Cycles of the order path until it is idle; allocator calls in them.
fn counted(venue: &mut Venue) -> u64 {
    let before = calls();
    while venue.cycle() > 0 {}
    calls() - before
}

#[test]
fn the_counter_counts() {
    let before = calls();
    drop(std::hint::black_box(vec![1u8, 2, 3]));
    assert_eq!(calls() - before, 2);
}

#[test]
fn nothing_is_allocated_between_datagram_and_report() {
    check(64 << 20, None);
}

#[test]
fn nothing_is_allocated_when_segments_roll_over() {
    check(256 << 10, None);
}

/// Into rings with room for everything, and into rings that are full after some rounds.
#[test]
fn nothing_is_allocated_while_all_of_it_is_captured() {
    for ring_bytes in [64 << 20, 64 << 10] {
        let capture = Capture::new(true, ring_bytes);
        check(64 << 20, Some(capture.clone()));
        let home = tempfile::tempdir().unwrap();
        let writer = capture.writer(crate::capture::files(home.path()), None).unwrap();
        let counters = writer.counters();
        assert_eq!(counters.lacking() > 0, ring_bytes < 1 << 20, "{}", counters.lacking());
        drop(writer);
        assert!(counters.written() > 100);
    }
}

fn check(segment_bytes: u64, capture: Option<Capture>) {
    let rate = Rate { per_second: 1_000_000, burst: 100_000 };
    let options = Options { rate, segment_bytes, capture, ..Options::default() };
    let mut venue = Venue::with(options);
    let (mut maker, mut taker) = (venue.client(0), venue.client(1));
    maker.login(&mut venue);
    taker.login(&mut venue);
    let mut total = 0;
    let mut worst = (0, 0);
    for round in 0..2_000u32 {
        // Rests, is replaced, trades, is cancelled; a refusal, a gap, nonsense, a repeat, a replay.
        let urn = round * 4;
        let orders =
            [sell(urn + 1, 1_000_000), replace(urn + 1, urn + 2, 1_000_100), buy(urn + 3, 999_000)];
        maker.send(&[&orders[0], &orders[1], &orders[2], &cancel(urn + 3), b"nonsense"]);
        taker.send(&[&buy(round * 2 + 1, 1_000_100), &buy(round * 2 + 2, 1)]);
        if round % 10 == 0 {
            taker.next += 3;
            maker.heartbeat();
            maker.request(round as u64 + 1, 5);
            let repeated = maker.packet(1, &[&orders[0]]);
            maker.send_raw(&repeated);
        }
        let here = counted(&mut venue);
        if round >= 200 {
            total += here;
            if here > 0 {
                worst = (round, here);
            }
        }
        maker.take();
        taker.take();
        venue.run(MS / 4);
    }
    assert_eq!(total, 0, "allocator calls in 1,800 rounds; last in round, calls: {worst:?}");
    assert!(venue.publisher.counters().messages.get() > 6_000);
    venue.engine.exchange().check();
}
