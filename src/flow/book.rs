//! A light price-time book: what a synthetic flow believes the venue's book to be.
//!
//! Cold code on ordered maps; the flow's commands, applied in order and without a refusal, lead
//! the venue to the same book. Must not know why commands are made.

use std::collections::{BTreeMap, VecDeque};

use crate::types::Side;

/// A resting order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resting {
    pub(super) order_id: u64,
    pub(super) side: Side,
    pub(super) price: u32,
    pub(super) open: u32,
}

/// Book of one symbol. Orders are named by their birth: the number of the symbol's command that
/// made them.
#[derive(Default)]
pub(super) struct Book {
    orders: BTreeMap<u64, Resting>,
    /// Births in order of time, per side and price.
    levels: [BTreeMap<u32, VecDeque<u64>>; 2],
    counts: [usize; 2],
}

impl Book {
    /// Resting orders of both sides.
    pub(super) fn resting(&self) -> usize {
        self.orders.len()
    }

    /// Resting orders of one side.
    pub(super) fn count(&self, side: Side) -> usize {
        self.counts[side.index()]
    }

    /// Best price of a side.
    pub(super) fn best(&self, side: Side) -> Option<u32> {
        let levels = &self.levels[side.index()];
        match side {
            Side::Buy => levels.last_key_value(),
            Side::Sell => levels.first_key_value(),
        }
        .map(|(&price, _)| price)
    }

    /// The youngest order born at or before `birth`, else the oldest there is.
    pub(super) fn born_about(&self, birth: u64) -> Option<(u64, Resting)> {
        let found = self.orders.range(..=birth).next_back().or_else(|| self.orders.iter().next());
        found.map(|(&birth, &order)| (birth, order))
    }

    /// Orders of a side, best price first, oldest first.
    pub(super) fn queue(&self, side: Side) -> impl Iterator<Item = (u64, Resting)> + '_ {
        let levels = &self.levels[side.index()];
        let (up, down) = match side {
            Side::Buy => (None, Some(levels.values().rev())),
            Side::Sell => (Some(levels.values()), None),
        };
        up.into_iter()
            .flatten()
            .chain(down.into_iter().flatten())
            .flatten()
            .map(|&birth| (birth, self.orders[&birth]))
    }

    /// Rests an order.
    pub(super) fn add(&mut self, birth: u64, order: Resting) {
        let side = order.side.index();
        self.levels[side].entry(order.price).or_default().push_back(birth);
        self.counts[side] += 1;
        let before = self.orders.insert(birth, order);
        assert!(before.is_none(), "two orders of one birth");
    }

    /// Takes `quantity` off an order, or all of it when there is less.
    pub(super) fn take(&mut self, birth: u64, quantity: u32) {
        let order = self.orders.get_mut(&birth).expect("the flow names live orders only");
        order.open = order.open.saturating_sub(quantity);
        if order.open > 0 {
            return;
        }
        let (side, price) = (order.side.index(), order.price);
        self.orders.remove(&birth);
        self.counts[side] -= 1;
        let level = self.levels[side].get_mut(&price).expect("an order has a level");
        let place = level.iter().position(|&b| b == birth).expect("an order is in its level");
        level.remove(place);
        if level.is_empty() {
            self.levels[side].remove(&price);
        }
    }
}
