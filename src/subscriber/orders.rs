//! The mirror's orders: a slab with queues through it, and a table from reference to slot.
//!
//! Consumes what the mirror tells it to add, reduce and remove; produces orders by reference and
//! in queue order. Grows by doubling, so its memory follows the open orders. Must not know ITCH.

use crate::types::{Locate, OrderRef, Price, Quantity, Side};

/// No order: end of a queue.
pub(super) const NONE: u32 = u32::MAX;

/// One order as the feed tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MirrorOrder {
    /// Reference.
    pub order_ref: OrderRef,
    /// Price.
    pub price: Price,
    /// Open shares.
    pub quantity: Quantity,
    /// Stock locate.
    pub locate: Locate,
    /// Side.
    pub side: Side,
    pub(super) before: u32,
    pub(super) after: u32,
}

/// All orders of the feed. Open addressing with linear probing; removal shifts back, so there are
/// no tombstones and the table does not rot over a day of adds and deletes.
pub(super) struct Orders {
    slab: Vec<MirrorOrder>,
    free: Vec<u32>,
    /// Slab index by hash of the reference, `NONE` = empty. Power of two, at most half full.
    table: Vec<u32>,
    shift: u32,
    count: usize,
}

impl Orders {
    /// Room for `orders` before the first growth.
    pub(super) fn with_capacity(orders: usize) -> Orders {
        let size = (orders.max(512) * 2).next_power_of_two();
        Orders {
            slab: Vec::with_capacity(orders),
            free: Vec::new(),
            table: vec![NONE; size],
            shift: 64 - size.trailing_zeros(),
            count: 0,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Fibonacci hashing: references of a venue are dense in some bits and constant in others.
    fn home(&self, order_ref: OrderRef) -> usize {
        let mixed = (order_ref.0 ^ (order_ref.0 >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed >> self.shift) as usize
    }

    fn mask(&self) -> usize {
        self.table.len() - 1
    }

    fn probe(&self, order_ref: OrderRef) -> Option<usize> {
        let mut at = self.home(order_ref);
        loop {
            let slot = self.table[at];
            if slot == NONE {
                return None;
            }
            if self.slab[slot as usize].order_ref == order_ref {
                return Some(at);
            }
            at = (at + 1) & self.mask();
        }
    }

    /// Slot of an order.
    pub(super) fn find(&self, order_ref: OrderRef) -> Option<u32> {
        self.probe(order_ref).map(|at| self.table[at])
    }

    pub(super) fn get(&self, slot: u32) -> &MirrorOrder {
        &self.slab[slot as usize]
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> &mut MirrorOrder {
        &mut self.slab[slot as usize]
    }

    /// Adds an order whose reference is not there yet (the caller asked `find`).
    pub(super) fn insert(&mut self, order: MirrorOrder) -> u32 {
        if (self.count + 1) * 2 > self.table.len() {
            self.grow();
        }
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slab[slot as usize] = order;
                slot
            }
            None => {
                self.slab.push(order);
                (self.slab.len() - 1) as u32
            }
        };
        self.count += 1;
        self.place(slot);
        slot
    }

    fn place(&mut self, slot: u32) {
        let mut at = self.home(self.slab[slot as usize].order_ref);
        while self.table[at] != NONE {
            at = (at + 1) & self.mask();
        }
        self.table[at] = slot;
    }

    /// Removes an order by its reference and returns it.
    pub(super) fn remove(&mut self, order_ref: OrderRef) -> Option<MirrorOrder> {
        let mut hole = self.probe(order_ref)?;
        let slot = self.table[hole];
        let mut at = hole;
        loop {
            at = (at + 1) & self.mask();
            let other = self.table[at];
            if other == NONE {
                break;
            }
            // It may move back when its home does not lie between the hole (excluded) and it.
            let home = self.home(self.slab[other as usize].order_ref);
            if at.wrapping_sub(home) & self.mask() >= at.wrapping_sub(hole) & self.mask() {
                self.table[hole] = other;
                hole = at;
            }
        }
        self.table[hole] = NONE;
        self.free.push(slot);
        self.count -= 1;
        Some(self.slab[slot as usize])
    }

    fn grow(&mut self) {
        let old = std::mem::take(&mut self.table);
        self.table = vec![NONE; old.len() * 2];
        self.shift -= 1;
        for slot in old.into_iter().filter(|&slot| slot != NONE) {
            self.place(slot);
        }
    }

    pub(super) fn clear(&mut self) {
        self.slab.clear();
        self.free.clear();
        self.table.fill(NONE);
        self.count = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn order(order_ref: u64) -> MirrorOrder {
        MirrorOrder {
            order_ref: OrderRef(order_ref),
            price: Price(order_ref as u32),
            quantity: Quantity(1),
            locate: Locate(1),
            side: Side::Buy,
            before: NONE,
            after: NONE,
        }
    }

    #[test]
    fn agrees_with_a_map_under_random_work() {
        let mut orders = Orders::with_capacity(0);
        let mut model = BTreeMap::new();
        let mut state = 7u64;
        for step in 0..60_000u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // Few keys so that they collide, shaped as references: count in the high half.
            let key = (((state >> 40) % 900) << 32) | ((state >> 33) % 3);
            match orders.find(OrderRef(key)) {
                Some(_) => {
                    assert_eq!(orders.remove(OrderRef(key)).map(|o| o.price.0), model.remove(&key));
                    assert!(orders.find(OrderRef(key)).is_none());
                }
                None => {
                    assert!(!model.contains_key(&key));
                    orders.insert(order(key));
                    model.insert(key, key as u32);
                }
            }
            if step % 1000 == 0 {
                assert_eq!(orders.count(), model.len());
                for &key in model.keys() {
                    let slot = orders.find(OrderRef(key)).expect("is there");
                    assert_eq!(orders.get(slot).order_ref.0, key);
                }
            }
        }
    }
}
