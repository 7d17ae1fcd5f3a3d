//! Client reference -> live order.
//!
//! A session's references increase, so most are found in a window of the session: the cell at
//! reference modulo window. A cell that an older live order still holds sends the newer one to one
//! fixed open-addressed table for all sessions, keyed with the day's seed; so a hostile choice of
//! references costs a probe or two and never memory. Every operation is O(1); nothing allocates
//! after `new`.

use super::arena::{Arena, NONE};
use super::state_hash::mix;
use crate::types::*;

/// Cells of a session's window at least: a quiet session among many.
const WINDOW_MIN: u64 = 64;
/// Cells at most: 4 MiB per session. Against 65,536 it saves 10% of apply at 10,000 live orders of 8
/// sessions and 20% at 1,000,000, where older orders would fall out of the window into the table.
const WINDOW_MAX: u64 = 1 << 20;

#[derive(Clone, Copy)]
struct Entry {
    /// Session and reference; 0 = empty (a live order's reference is above 0).
    key: u64,
    slot: u32,
}

/// The index of all sessions.
pub(super) struct OrderIndex {
    windows: Vec<u32>,
    window_mask: u32,
    window_shift: u32,
    table: Vec<Entry>,
    table_mask: usize,
    in_table: u32,
    seed: u64,
}

#[inline(always)]
fn key(session: SessionSlot, urn: Urn) -> u64 {
    (session.0 as u64) << 32 | urn.0 as u64
}

impl OrderIndex {
    /// For `sessions` sessions and at most `orders_max` live orders. Allocates and touches.
    pub(super) fn new(sessions: usize, orders_max: u32, seed: u64) -> OrderIndex {
        let share = 2 * orders_max as u64 / sessions.max(1) as u64;
        let window = share.clamp(WINDOW_MIN, WINDOW_MAX).next_power_of_two();
        let capacity = (2 * orders_max as usize).next_power_of_two().max(16);
        let mut table = Vec::with_capacity(capacity);
        // Through black_box: zeroed pages of the allocator would be touched by the first orders.
        std::hint::black_box(&mut table).resize(capacity, Entry { key: 0, slot: NONE });
        OrderIndex {
            windows: vec![NONE; sessions * window as usize],
            window_mask: window as u32 - 1,
            window_shift: window.trailing_zeros(),
            table,
            table_mask: capacity - 1,
            in_table: 0,
            seed,
        }
    }

    /// The live order of (session, urn). `session` is one of ours.
    #[inline(always)]
    pub(super) fn get(&self, arena: &Arena, session: SessionSlot, urn: Urn) -> Option<u32> {
        let slot = self.windows[self.cell(session, urn)];
        if let Some(order) = arena.get(slot)
            && order.urn == urn
        {
            debug_assert_eq!(order.session, session);
            return Some(slot);
        }
        if self.in_table == 0 {
            return None;
        }
        self.find(key(session, urn)).map(|at| self.table[at].slot)
    }

    /// Adds a live order that is not in the index.
    #[inline(always)]
    pub(super) fn insert(&mut self, session: SessionSlot, urn: Urn, slot: u32) {
        let cell = self.cell(session, urn);
        if self.windows[cell] == NONE {
            self.windows[cell] = slot;
        } else {
            self.insert_in_table(key(session, urn), slot);
        }
    }

    /// Removes a live order.
    #[inline(always)]
    pub(super) fn remove(&mut self, session: SessionSlot, urn: Urn, slot: u32) {
        let cell = self.cell(session, urn);
        if self.windows[cell] == slot {
            self.windows[cell] = NONE;
        } else {
            self.remove_from_table(key(session, urn));
        }
    }

    #[inline(always)]
    fn cell(&self, session: SessionSlot, urn: Urn) -> usize {
        ((session.0 as usize) << self.window_shift) + (urn.0 & self.window_mask) as usize
    }

    #[inline(always)]
    fn home(&self, key: u64) -> usize {
        mix(key ^ self.seed, 0x9E37_79B9_7F4A_7C15) as usize & self.table_mask
    }

    /// Position of `key`. At most half of the table is used, so an empty entry ends every search.
    fn find(&self, key: u64) -> Option<usize> {
        let mut at = self.home(key);
        while self.table[at].key != 0 {
            if self.table[at].key == key {
                return Some(at);
            }
            at = (at + 1) & self.table_mask;
        }
        None
    }

    #[inline(never)]
    fn insert_in_table(&mut self, key: u64, slot: u32) {
        assert!(
            (self.in_table as usize) <= self.table_mask / 2,
            "more live orders than orders_max"
        );
        let mut at = self.home(key);
        while self.table[at].key != 0 {
            assert_ne!(self.table[at].key, key, "reference is live already");
            at = (at + 1) & self.table_mask;
        }
        self.table[at] = Entry { key, slot };
        self.in_table += 1;
    }

    /// Backward shift: entries behind the hole move up until one stands at its home.
    #[inline(never)]
    fn remove_from_table(&mut self, key: u64) {
        let mut hole = self.find(key).expect("live order is in the index");
        let mut at = hole;
        loop {
            at = (at + 1) & self.table_mask;
            let entry = self.table[at];
            if entry.key == 0 {
                break;
            }
            let from_home = at.wrapping_sub(self.home(entry.key)) & self.table_mask;
            let from_hole = at.wrapping_sub(hole) & self.table_mask;
            if from_home >= from_hole {
                self.table[hole] = entry;
                hole = at;
            }
        }
        self.table[hole] = Entry { key: 0, slot: NONE };
        self.in_table -= 1;
    }

    /// Live orders in window cells and table together. O(size); for `check`.
    pub(super) fn count(&self) -> u32 {
        let cells = self.windows.iter().filter(|&&slot| slot != NONE).count() as u32;
        let entries = self.table.iter().filter(|entry| entry.key != 0).count() as u32;
        assert_eq!(entries, self.in_table, "count of table entries");
        cells + entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Random adds and removes of few references over few cells, compared with a map.
    #[test]
    fn equals_a_map_under_collisions() {
        for seed in 0..8u64 {
            let orders_max = 256;
            let mut arena = Arena::new(orders_max);
            let mut index = OrderIndex::new(4, orders_max, seed);
            let mut model: BTreeMap<(u16, u32), u32> = BTreeMap::new();
            let mut draw = seed;
            for _ in 0..20_000 {
                draw = mix(draw ^ 0xA5A5_5A5A_1234_4321, 0x9E37_79B9_7F4A_7C15).wrapping_add(1);
                let session = SessionSlot((draw % 4) as u16);
                // Multiples of the window collide; some are as far away as references go.
                let urn = Urn(match draw >> 8 & 3 {
                    0 => (draw >> 16 & 63) as u32 + 1,
                    1 => ((draw >> 16 & 63) as u32 + 1) * 128,
                    2 => u32::MAX - (draw >> 16 & 63) as u32 * 128,
                    _ => ((draw >> 16 & 63) as u32 + 1) * 65_536,
                });
                let id = (session.0, urn.0);
                assert_eq!(index.get(&arena, session, urn), model.get(&id).copied());
                if let Some(slot) = model.remove(&id) {
                    index.remove(session, urn, slot);
                    arena.give_back(slot);
                } else if let Some(slot) = arena.take() {
                    let order = arena.order_mut(slot);
                    (order.open, order.session, order.urn) = (Quantity(1), session, urn);
                    index.insert(session, urn, slot);
                    model.insert(id, slot);
                }
                assert_eq!(index.get(&arena, session, urn), model.get(&id).copied());
            }
            assert_eq!(index.count() as usize, model.len());
            for (&(session, urn), &slot) in &model {
                assert_eq!(index.get(&arena, SessionSlot(session), Urn(urn)), Some(slot));
            }
        }
    }
}
