//! What is observed: counters that one thread writes and anyone reads, and the receipt board.
//!
//! Each agent has its own struct of counters behind an `Arc`; the writer adds with plain loads and
//! stores (no locked instruction), readers see values that may be a moment old. Consumes and
//! produces numbers only; must not know what they mean, and never formats on the hot path.

use crate::types::{Nanos, Seq};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that exactly one thread changes.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. One writer only: a load and a store, no locked instruction.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Replaces the value: a gauge.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// Raises the value to `value` if it is below: a high-water mark.
    #[inline]
    pub fn raise(&self, value: u64) {
        if self.0.load(Relaxed) < value {
            self.0.store(value, Relaxed);
        }
    }

    /// The value, from any thread.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The counters of one agent, for whoever prints or exports them.
pub trait CounterSet: Send + Sync {
    /// Agent they belong to.
    fn agent(&self) -> &'static str;
    /// Calls `visit` with each name and value, in order of declaration.
    fn visit(&self, visit: &mut dyn FnMut(&'static str, u64));
    /// What a counter counts, in words; `None` for a name that is not in the set.
    fn help(&self, name: &str) -> Option<&'static str>;
}

/// Declares a struct of [`Counter`]s with [`CounterSet`]: `counters! { pub struct X("agent") { a:
/// "what a counts", } }`.
macro_rules! counters {
    ($(#[$meta:meta])* pub struct $name:ident($agent:literal) { $($field:ident: $help:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        pub struct $name {
            $( #[doc = $help] pub $field: $crate::counters::Counter, )*
        }

        impl $crate::counters::CounterSet for $name {
            fn agent(&self) -> &'static str {
                $agent
            }
            fn visit(&self, visit: &mut dyn FnMut(&'static str, u64)) {
                $( visit(stringify!($field), self.$field.get()); )*
            }
            fn help(&self, name: &str) -> Option<&'static str> {
                match name {
                    $( stringify!($field) => Some($help), )*
                    _ => None,
                }
            }
        }
    };
}
pub(crate) use counters;

/// When the datagram of each recent command was received: a ring by command sequence.
///
/// Written by the inbound sequencer, read by egress to measure datagram received -> report handed to
/// the socket. A slot that was overwritten meanwhile, or never written, reads as `None`.
#[derive(Debug)]
pub struct ReceiptBoard {
    slots: Box<[Receipt]>,
}

#[derive(Debug, Default)]
struct Receipt {
    seq: AtomicU64,
    received: AtomicU64,
}

impl ReceiptBoard {
    /// A board of `slots` commands, rounded up to a power of two (at least 2). Allocates and
    /// touches everything.
    pub fn new(slots: usize) -> Arc<ReceiptBoard> {
        let count = slots.max(2).next_power_of_two();
        Arc::new(ReceiptBoard { slots: (0..count).map(|_| Receipt::default()).collect() })
    }

    #[inline]
    fn slot(&self, seq: Seq) -> &Receipt {
        &self.slots[seq.0 as usize & (self.slots.len() - 1)]
    }

    /// Notes the receipt of command `seq`. One writer. O(1).
    #[inline]
    pub fn note(&self, seq: Seq, received: Nanos) {
        use std::sync::atomic::Ordering::Release;
        let slot = self.slot(seq);
        // A reader that finds `seq` has the time that was stored before it.
        slot.seq.store(0, Release);
        slot.received.store(received.0, Release);
        slot.seq.store(seq.0, Release);
    }

    /// Time of receipt of command `seq`, when it is still on the board. O(1).
    #[inline]
    pub fn received(&self, seq: Seq) -> Option<Nanos> {
        use std::sync::atomic::Ordering::Acquire;
        let slot = self.slot(seq);
        if slot.seq.load(Acquire) != seq.0 {
            return None;
        }
        let received = Nanos(slot.received.load(Acquire));
        // Read again: the slot may have been given to a later command between the two loads.
        (slot.seq.load(Acquire) == seq.0).then_some(received)
    }
}

/// Sub-buckets per power of two: values are told apart to 1/32 = 3%.
const SUB_BITS: u32 = 5;
const SUBS: usize = 1 << SUB_BITS;

/// Distribution of a duration in nanoseconds, in fixed buckets of at most 3% width. One writer.
#[derive(Debug)]
pub struct Distribution {
    buckets: Box<[Counter]>,
    count: Counter,
    max: Counter,
}

impl Distribution {
    /// Empty; 64 x 32 buckets, allocated and touched here.
    pub fn new() -> Arc<Distribution> {
        Arc::new(Distribution {
            buckets: (0..64 * SUBS).map(|_| Counter::default()).collect(),
            count: Counter::default(),
            max: Counter::default(),
        })
    }

    #[inline]
    fn index(ns: u64) -> usize {
        if ns < SUBS as u64 {
            return ns as usize;
        }
        let power = 63 - ns.leading_zeros();
        let sub = (ns >> (power - SUB_BITS)) as usize & (SUBS - 1);
        (power - SUB_BITS + 1) as usize * SUBS + sub
    }

    /// Largest value of a bucket.
    fn upper(index: usize) -> u64 {
        if index < SUBS {
            return index as u64;
        }
        let power = (index / SUBS) as u32 + SUB_BITS - 1;
        let step = 1u64 << (power - SUB_BITS);
        (1u64 << power) + (index % SUBS) as u64 * step + (step - 1)
    }

    /// Counts one value. O(1).
    #[inline]
    pub fn record(&self, ns: u64) {
        self.buckets[Self::index(ns)].add(1);
        self.count.add(1);
        self.max.raise(ns);
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.count.get()
    }

    /// Largest value seen, exact.
    pub fn max(&self) -> u64 {
        self.max.get()
    }

    /// Value below or at which `part` of a million lie (999_000 = p99.9), to 3% above the true one;
    /// 0 when empty. Walks all buckets: not for the hot path.
    pub fn at_per_million(&self, part: u64) -> u64 {
        let total: u64 = self.buckets.iter().map(Counter::get).sum();
        if total == 0 {
            return 0;
        }
        let wanted = (total as u128 * part as u128).div_ceil(1_000_000).max(1);
        let mut seen = 0u128;
        for (index, bucket) in self.buckets.iter().enumerate() {
            seen += bucket.get() as u128;
            if seen >= wanted {
                return Self::upper(index).min(self.max());
            }
        }
        self.max()
    }

    /// Calls `visit` with upper bound and count of each bucket that is not empty, rising.
    pub fn visit(&self, mut visit: impl FnMut(u64, u64)) {
        for (index, bucket) in self.buckets.iter().enumerate() {
            if bucket.get() > 0 {
                visit(Self::upper(index), bucket.get());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    counters! {
        /// Counters of the test.
        pub struct Sample("sample") { seen: "things seen", lost: "things lost", }
    }

    #[test]
    fn counters_are_listed_by_name() {
        let sample = Sample::default();
        sample.seen.add(3);
        sample.lost.raise(2);
        sample.lost.raise(1);
        let mut list = Vec::new();
        sample.visit(&mut |name, value| list.push((name, value)));
        assert_eq!(list, [("seen", 3), ("lost", 2)]);
        assert_eq!(sample.help("lost"), Some("things lost"));
        assert_eq!(sample.agent(), "sample");
    }

    #[test]
    fn receipts_of_overwritten_commands_are_gone() {
        let board = ReceiptBoard::new(4);
        board.note(Seq(1), Nanos(10));
        board.note(Seq(5), Nanos(50));
        assert_eq!(board.received(Seq(1)), None);
        assert_eq!(board.received(Seq(5)), Some(Nanos(50)));
        assert_eq!(board.received(Seq(2)), None);
    }

    #[test]
    fn distribution_is_exact_to_three_per_cent() {
        let d = Distribution::new();
        for ns in 1..=100_000 {
            d.record(ns);
        }
        for (part, true_value) in [(500_000, 50_000u64), (990_000, 99_000), (1_000_000, 100_000)] {
            let got = d.at_per_million(part);
            assert!(got >= true_value && got <= true_value + true_value / 30, "{part}: {got}");
        }
        assert_eq!(Distribution::index(u64::MAX), 60 * SUBS - 1);
        assert_eq!(Distribution::upper(60 * SUBS - 1), u64::MAX);
        assert_eq!(d.max(), 100_000);
    }
}
