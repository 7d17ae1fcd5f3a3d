//! The arena: every order of the venue, one cache line each.
//!
//! Consumes the capacity of the day; produces slots. Links are 32-bit slot numbers instead of
//! pointers: half the size, checked on use, and the same in every process that replays the log.
//! Free slots form a stack inside the unused lines: handed out 0, 1, 2, ... at first, later the one
//! that was freed last comes first, because its line is still warm. Must not know sessions' or
//! books' rules; both keep their links here so that one line says everything about an order.

use super::view::OrderView;
use crate::types::*;

/// No slot: the end of a list.
pub const NONE: u32 = u32::MAX;

/// One order: 64 bytes, one cache line.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// Next younger order of the same level, [`NONE`] at its tail; next free slot when unused.
    pub(super) next: u32,
    /// Next older order of the same level, [`NONE`] at its head.
    pub(super) previous: u32,
    /// Price in ticks: index of the level.
    pub(super) level: u32,
    /// Limit price.
    pub price: Price,
    /// Open shares; 0 when the slot is unused.
    pub open: Quantity,
    /// Client's reference.
    pub urn: Urn,
    /// Session that entered it.
    pub session: SessionSlot,
    /// Account.
    pub account: AccountSlot,
    /// Symbol.
    pub locate: Locate,
    /// Side.
    pub side: Side,
    /// Capacity letter, echoed by a replace.
    pub capacity: u8,
    /// Shares executed in the whole replace chain.
    pub executed: Quantity,
    /// Upper half of the order reference: count of references issued before and with it.
    pub reference: u32,
    /// Next younger order of the same session.
    pub(super) session_next: u32,
    /// Next older order of the same session.
    pub(super) session_previous: u32,
    /// Cross letter, echoed by a replace.
    pub cross: u8,
}

const _: () = assert!(size_of::<Order>() == 64 && align_of::<Order>() == 64);

impl Order {
    /// An order that is not in any list yet.
    pub fn new(locate: Locate, side: Side, price: Price, open: Quantity) -> Order {
        Order {
            next: NONE,
            previous: NONE,
            level: 0,
            price,
            open,
            urn: Urn(0),
            session: SessionSlot(0),
            account: AccountSlot(0),
            locate,
            side,
            capacity: b'A',
            executed: Quantity(0),
            reference: 0,
            session_next: NONE,
            session_previous: NONE,
            cross: b'N',
        }
    }

    /// The exchange's reference of the order in `slot`.
    #[inline(always)]
    pub fn order_ref(&self, slot: u32) -> OrderRef {
        order_ref(self.reference, slot)
    }

    /// Copy for readers outside.
    pub fn view(&self, slot: u32) -> OrderView {
        OrderView {
            order_ref: self.order_ref(slot),
            session: self.session,
            urn: self.urn,
            account: self.account,
            locate: self.locate,
            side: self.side,
            price: self.price,
            open: self.open,
            executed: self.executed,
        }
    }
}

/// Reference from its two halves.
#[inline(always)]
pub fn order_ref(reference: u32, slot: u32) -> OrderRef {
    OrderRef((reference as u64) << 32 | slot as u64)
}

/// All orders of the venue.
pub struct Arena {
    orders: Vec<Order>,
    free: u32,
    used: u32,
}

impl Arena {
    /// `slots` unused orders, every line touched. Allocates; nothing else here does.
    pub fn new(slots: u32) -> Arena {
        let unused = Order::new(Locate(0), Side::Buy, Price(0), Quantity(0));
        let orders = (0..slots)
            .map(|slot| Order { next: if slot + 1 < slots { slot + 1 } else { NONE }, ..unused })
            .collect();
        Arena { orders, free: if slots > 0 { 0 } else { NONE }, used: 0 }
    }

    /// Slots in use.
    pub fn used(&self) -> u32 {
        self.used
    }

    /// Slots in all.
    pub fn slots(&self) -> u32 {
        self.orders.len() as u32
    }

    /// Takes a slot; `None` when all are used. Its line is whatever was there, with `open` 0. O(1).
    #[inline(always)]
    pub(super) fn take(&mut self) -> Option<u32> {
        let slot = self.free;
        let order = self.orders.get(slot as usize)?;
        self.free = order.next;
        self.used += 1;
        Some(slot)
    }

    /// Gives a slot back; the next `take` returns it. The order must be out of every list. O(1).
    #[inline(always)]
    pub(super) fn give_back(&mut self, slot: u32) {
        let order = &mut self.orders[slot as usize];
        order.open = Quantity(0);
        order.next = self.free;
        self.free = slot;
        self.used -= 1;
    }

    /// Free slots, the next one to be taken first. For snapshots.
    pub(super) fn free(&self) -> impl Iterator<Item = u32> + '_ {
        let some = |slot: u32| (slot != NONE).then_some(slot);
        std::iter::successors(some(self.free), move |&slot| some(self.order(slot).next))
    }

    /// Sets the free slots of a new arena: `listed`, the next one to be taken first, then `fresh` and
    /// all above it. The caller has checked that each slot is named once at most; the others are in
    /// use. For restoring.
    pub(super) fn set_free(&mut self, listed: &[u32], fresh: u32) {
        let slots = self.slots();
        self.used = fresh - listed.len() as u32;
        self.free = if fresh < slots { fresh } else { NONE };
        for &slot in listed.iter().rev() {
            let next = self.free;
            self.order_mut(slot).next = next;
            self.free = slot;
        }
    }

    /// The order in `slot`, which came from this arena.
    #[inline(always)]
    pub fn order(&self, slot: u32) -> &Order {
        &self.orders[slot as usize]
    }

    /// The order in `slot`, to change it.
    #[inline(always)]
    pub(super) fn order_mut(&mut self, slot: u32) -> &mut Order {
        &mut self.orders[slot as usize]
    }

    /// The order in a slot that somebody outside named; `None` when unused or out of range.
    #[inline(always)]
    pub fn get(&self, slot: u32) -> Option<&Order> {
        self.orders.get(slot as usize).filter(|order| order.open.0 > 0)
    }

    /// Panics unless free and used slots add up and no slot is free twice. For tests.
    pub fn check(&self) {
        let mut free = 0;
        let mut slot = self.free;
        while slot != NONE {
            assert_eq!(self.order(slot).open.0, 0, "free slot {slot} has open shares");
            free += 1;
            assert!(free <= self.slots(), "free list goes in a circle");
            slot = self.order(slot).next;
        }
        assert_eq!(free + self.used, self.slots(), "slots lost");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_come_in_order_and_the_last_freed_comes_first() {
        let mut arena = Arena::new(4);
        let taken: Vec<_> = (0..4).map(|_| arena.take().unwrap()).collect();
        assert_eq!(taken, [0, 1, 2, 3]);
        assert_eq!(arena.take(), None);
        arena.give_back(1);
        arena.give_back(3);
        arena.check();
        assert_eq!([arena.take(), arena.take(), arena.take()], [Some(3), Some(1), None]);
        arena.check();
    }

    #[test]
    fn outside_slots_are_checked() {
        let mut arena = Arena::new(2);
        assert!(arena.get(0).is_none());
        assert!(arena.get(7).is_none());
        assert!(arena.get(NONE).is_none());
        let slot = arena.take().unwrap();
        arena.order_mut(slot).open = Quantity(5);
        assert_eq!(arena.get(slot).unwrap().open, Quantity(5));
        arena.give_back(slot);
        assert!(arena.get(slot).is_none());
    }
}
