//! Messages of this client that are not concluded yet: a ring of fixed slots, by sequence number.
//!
//! ```text
//!        base          settled         cursor            next
//!  ------|--------------|---------------|-----------------|------>  client sequence
//!        applied, but    transmitted,    taken, not yet
//!        its reports are  not known      transmitted
//!        not all here     applied
//! ```
//!
//! A number gets its bytes once and never others (session.md 4 and 13): repeats copy the slot.
//! Consumes encoded messages and what the exchange said about numbers; produces slots to send and
//! conclusions in order. Must not know sockets or time sources.

use crate::types::*;

/// Bytes of the longest message sent: Enter with both appendage tags is 47 + 6 + 6.
pub(super) const MESSAGE_BYTES_MAX: usize = 64;

/// One message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    bytes: [u8; MESSAGE_BYTES_MAX],
    len: u8,
    /// Type letter: O, U, X, Q.
    pub kind: u8,
    /// Times transmitted.
    pub transmissions: u16,
    /// URN that the message brings, 0 for X and Q.
    pub urn: Urn,
    /// First transmission.
    pub first_sent: Nanos,
    /// Last transmission.
    pub last_sent: Nanos,
    /// An N covered it.
    pub not_applied: bool,
    /// Transmitted again after a wait in vain.
    repeated: bool,
}

impl Slot {
    const EMPTY: Slot = Slot {
        bytes: [0; MESSAGE_BYTES_MAX],
        len: 0,
        kind: 0,
        transmissions: 0,
        urn: Urn(0),
        first_sent: Nanos(0),
        last_sent: Nanos(0),
        not_applied: false,
        repeated: false,
    };

    /// Transmitted, and never waited for in vain: its answer tells a round trip.
    pub fn is_clean(&self) -> bool {
        self.transmissions > 0 && !self.repeated
    }

    /// The message as it goes on the wire.
    pub fn message(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }
}

/// The ring. Every number `base..next` has a slot.
#[derive(Debug)]
pub(super) struct Window {
    slots: Box<[Slot]>,
    base: u64,
    settled: u64,
    cursor: u64,
    next: u64,
}

impl Window {
    /// A ring of `capacity` slots (a power of two); numbers start at 1. Allocates once.
    pub fn new(capacity: usize) -> Window {
        assert!(capacity.is_power_of_two(), "checked by BrokerConfig::check");
        Window {
            slots: vec![Slot::EMPTY; capacity].into_boxed_slice(),
            base: 1,
            settled: 1,
            cursor: 1,
            next: 1,
        }
    }

    fn index(&self, sequence: u64) -> usize {
        (sequence as usize) & (self.slots.len() - 1)
    }

    /// Lowest number not known to be applied (or not applied).
    pub fn settled(&self) -> u64 {
        self.settled
    }

    /// Lowest number never transmitted in this binding.
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Number of the next message.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Messages that may still be taken.
    pub fn free(&self) -> usize {
        self.slots.len() - (self.next - self.base) as usize
    }

    /// Messages transmitted or waiting and not known to be applied.
    pub fn unsettled(&self) -> usize {
        (self.next - self.settled) as usize
    }

    /// True when nothing is known to be applied whose reports are not all here.
    pub fn all_concluded(&self) -> bool {
        self.base == self.settled
    }

    /// Slot of a number in `base..next`.
    pub fn slot(&self, sequence: u64) -> Option<&Slot> {
        (self.base..self.next).contains(&sequence).then(|| &self.slots[self.index(sequence)])
    }

    /// Takes a message; `None` when the ring is full. `fill` writes it and returns its length.
    pub fn push(
        &mut self,
        kind: u8,
        urn: Urn,
        fill: impl FnOnce(&mut [u8]) -> usize,
    ) -> Option<u64> {
        if self.free() == 0 {
            return None;
        }
        let sequence = self.next;
        let index = self.index(sequence);
        let slot = &mut self.slots[index];
        *slot = Slot { kind, urn, ..Slot::EMPTY };
        let len = fill(&mut slot.bytes);
        assert!(0 < len && len <= MESSAGE_BYTES_MAX, "message longer than a slot");
        slot.len = len as u8;
        self.next += 1;
        Some(sequence)
    }

    /// Notes that `sequence` was handed to the socket; `repeat`: after a wait in vain, if it was before.
    pub fn transmitted(&mut self, sequence: u64, repeat: bool, now: Nanos) {
        debug_assert!((self.base..self.next).contains(&sequence));
        let index = self.index(sequence);
        let slot = &mut self.slots[index];
        if slot.transmissions == 0 {
            slot.first_sent = now;
        }
        slot.repeated |= repeat && slot.transmissions > 0;
        slot.transmissions = slot.transmissions.saturating_add(1);
        slot.last_sent = now;
        self.cursor = self.cursor.max(sequence + 1);
    }

    /// The exchange applied (or skipped) everything through `applied`; true when that is news.
    /// Numbers never taken are not believed: a forged or foreign mark cannot run ahead of `next`.
    pub fn settle_through(&mut self, applied: u64) -> bool {
        let settled = applied.saturating_add(1).min(self.next);
        if settled <= self.settled {
            return false;
        }
        self.settled = settled;
        self.cursor = self.cursor.max(settled);
        true
    }

    /// Number of the message that brought `urn`; a scan from the oldest, where it nearly always is.
    pub fn find_urn(&self, urn: Urn) -> Option<u64> {
        if urn == Urn(0) {
            return None; // X and Q bring none
        }
        (self.base..self.next).find(|&sequence| self.slots[self.index(sequence)].urn == urn)
    }

    /// True when every URN that a message above `applied` brings is still free, `next_urn` being the next.
    pub fn brings_from(&self, applied: u64, next_urn: u64) -> bool {
        let above = applied.saturating_add(1).max(self.base)..self.next;
        let mut urns = above.map(|sequence| self.slots[self.index(sequence)].urn);
        urns.all(|urn| urn == Urn(0) || urn.0 as u64 >= next_urn)
    }

    /// Marks numbers of `from..from + count` that are in the ring as not applied.
    pub fn mark_not_applied(&mut self, from: u64, count: u32) {
        let end = from.saturating_add(count as u64).min(self.next);
        for sequence in from.max(self.base)..end {
            let index = self.index(sequence);
            self.slots[index].not_applied = true;
        }
    }

    /// Frees the oldest message and hands it out, if its number is at or below `through`.
    pub fn conclude_next(&mut self, through: u64) -> Option<(u64, Slot)> {
        if self.base > through || self.base == self.next {
            return None;
        }
        let sequence = self.base;
        let slot = self.slots[self.index(sequence)];
        self.base += 1;
        self.settled = self.settled.max(self.base);
        self.cursor = self.cursor.max(self.base);
        Some((sequence, slot))
    }

    /// Takes back the youngest message that is not known to be applied.
    pub fn withdraw_last(&mut self) -> Option<(u64, Slot)> {
        if self.next == self.settled {
            return None;
        }
        self.next -= 1;
        self.cursor = self.cursor.min(self.next);
        Some((self.next, self.slots[self.index(self.next)]))
    }

    /// A new binding in which the exchange has applied through `applied`: what is above it is to
    /// be transmitted again from there. Numbers that others used up are skipped when the ring
    /// holds nothing of its own.
    pub fn rebind(&mut self, applied: u64) {
        if self.base == self.next {
            let next = applied.saturating_add(1);
            (self.base, self.settled, self.cursor, self.next) = (next, next, next, next);
        } else {
            self.settle_through(applied);
            self.cursor = self.settled;
        }
    }

    /// Forgets everything and goes on after `applied`; the caller has handed out all slots.
    pub fn restart(&mut self, applied: u64) {
        self.base = self.next;
        self.rebind(applied);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(window: &mut Window, urn: u32) -> Option<u64> {
        window.push(b'O', Urn(urn), |out| {
            out[..4].copy_from_slice(&urn.to_be_bytes());
            4
        })
    }

    #[test]
    fn a_full_ring_refuses_and_conclusions_free_it() {
        let mut window = Window::new(4);
        for urn in 1..=4 {
            assert_eq!(push(&mut window, urn), Some(urn as u64));
        }
        assert_eq!(push(&mut window, 5), None);
        assert!(window.settle_through(2));
        assert_eq!(push(&mut window, 5), None, "settled is not concluded");
        assert_eq!(window.conclude_next(2).unwrap().1.urn, Urn(1));
        assert_eq!(window.conclude_next(2).unwrap().0, 2);
        assert!(window.conclude_next(2).is_none());
        assert_eq!(push(&mut window, 5), Some(5));
        assert_eq!(window.slot(5).unwrap().message(), 5u32.to_be_bytes());
        assert!(window.slot(2).is_none());
    }

    #[test]
    fn marks_never_run_ahead_of_what_was_taken() {
        let mut window = Window::new(4);
        push(&mut window, 1);
        assert!(window.settle_through(u64::MAX));
        assert_eq!(window.settled(), 2);
        assert!(!window.settle_through(1));
        assert_eq!(window.unsettled(), 0);
    }

    #[test]
    fn a_new_binding_transmits_again_from_above_the_applied_mark() {
        let mut window = Window::new(8);
        for urn in 1..=5 {
            let sequence = push(&mut window, urn).unwrap();
            window.transmitted(sequence, false, Nanos(urn as u64));
        }
        assert_eq!(window.cursor(), 6);
        window.rebind(3);
        assert_eq!((window.settled(), window.cursor(), window.next()), (4, 4, 6));
        window.rebind(9);
        assert_eq!(window.unsettled(), 0);
        while window.conclude_next(9).is_some() {}
        window.rebind(9);
        assert_eq!(window.next(), 10);
    }
}
