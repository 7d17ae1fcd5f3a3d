//! A counting allocator for a whole test binary, with a counter per thread.
#![allow(dead_code)] // each binary uses its part

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

/// Calls of this thread so far.
pub fn calls() -> u64 {
    CALLS.with(Cell::get)
}
