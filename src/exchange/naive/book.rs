//! The books: who rests where, what crosses, and what a match does to both sides.

use std::collections::BTreeSet;

use super::{Naive, Order};
use crate::exchange::event::{Canceled, Executed};
use crate::types::*;

/// Ticks of one price page.
const PAGE_TICKS: u32 = 512;
/// Pages of a symbol's pool that are kept for prices near the market.
const NEAR_PAGES_KEPT: usize = 8;
/// Pools up to this size keep none.
const SMALL_POOL: usize = 16;
/// How many pages away from a best price is still near.
const NEAR: u32 = 2;

impl Naive {
    pub(super) fn levels_of(&self, locate: Locate, side: Side) -> &super::Levels {
        &self.books[locate.0 as usize - 1][side.index()]
    }

    fn levels_mut(&mut self, locate: Locate, side: Side) -> &mut super::Levels {
        &mut self.books[locate.0 as usize - 1][side.index()]
    }

    /// Best price of a side: highest bid, lowest offer.
    pub(super) fn best_price(&self, locate: Locate, side: Side) -> Option<u32> {
        let levels = self.levels_of(locate, side);
        match side {
            Side::Buy => levels.keys().next_back().copied(),
            Side::Sell => levels.keys().next().copied(),
        }
    }

    /// True when an order of `side` with this limit would trade at `price`.
    fn is_within(side: Side, limit: u32, price: u32) -> bool {
        match side {
            Side::Buy => price <= limit,
            Side::Sell => price >= limit,
        }
    }

    /// True when an order of `side` with this limit would trade at once.
    pub(super) fn crosses(&self, locate: Locate, side: Side, limit: u32) -> bool {
        self.best_price(locate, side.opposite()).is_some_and(|p| Self::is_within(side, limit, p))
    }

    /// Shares that an order of `side` with this limit could get now.
    pub(super) fn available(&self, locate: Locate, side: Side, limit: u32) -> u64 {
        self.orders
            .values()
            .filter(|o| o.locate == locate && o.side == side.opposite())
            .filter(|o| Self::is_within(side, limit, o.price.0))
            .map(|o| u64::from(o.open))
            .sum()
    }

    /// The live order of a session under this client reference.
    pub(super) fn find(&self, slot: SessionSlot, urn: Urn) -> Option<OrderRef> {
        self.orders.iter().find(|(_, o)| o.session == slot && o.urn == urn).map(|(r, _)| *r)
    }

    /// Next order reference: count of references, and the slot on top of the stack of free ones.
    pub(super) fn take_ref(&mut self) -> OrderRef {
        let slot = self.free_slots.pop().unwrap_or_else(|| {
            self.slots_used += 1;
            self.slots_used - 1
        });
        self.refs_issued += 1;
        OrderRef(u64::from(self.refs_issued) << 32 | u64::from(slot))
    }

    pub(super) fn give_back(&mut self, order_ref: OrderRef) {
        self.free_slots.push(order_ref.0 as u32);
    }

    /// Puts an order at the back of its price's queue.
    pub(super) fn rest(&mut self, order_ref: OrderRef, order: Order) {
        let levels = self.levels_mut(order.locate, order.side);
        levels.entry(order.price.0).or_default().push_back(order_ref);
        self.orders.insert(order_ref, order);
    }

    /// Takes an order off the book and gives its slot back.
    pub(super) fn remove(&mut self, order_ref: OrderRef) -> Order {
        let order = self.orders.remove(&order_ref).expect("an open order");
        let levels = self.levels_mut(order.locate, order.side);
        let queue = levels.get_mut(&order.price.0).expect("the level of an open order");
        queue.retain(|&r| r != order_ref);
        if queue.is_empty() {
            levels.remove(&order.price.0);
        }
        self.give_back(order_ref);
        order
    }

    /// Cancels all of a resting order.
    pub(super) fn cancel_resting(&mut self, order_ref: OrderRef, reason: CancelReason) {
        let order = self.remove(order_ref);
        self.report_canceled(order_ref, &order, order.open, 0, reason, true);
    }

    pub(super) fn report_canceled(
        &mut self,
        order_ref: OrderRef,
        order: &Order,
        decrement: u32,
        leaves: u32,
        reason: CancelReason,
        was_resting: bool,
    ) {
        self.report(
            order.session,
            Canceled {
                order_ref,
                urn: order.urn,
                decrement: Quantity(decrement),
                leaves: Quantity(leaves),
                locate: order.locate,
                account: order.account,
                side: order.side,
                reason: reason as u8,
                was_resting: was_resting as u8,
                zero: 0,
            },
        );
    }

    /// Trades an incoming order, which is not on the book, while it crosses: best price first,
    /// oldest first, at the price of the resting order.
    pub(super) fn trade(&mut self, taker_ref: OrderRef, taker: &mut Order) {
        while taker.open > 0 && self.crosses(taker.locate, taker.side, taker.price.0) {
            let resting = taker.side.opposite();
            let price = self.best_price(taker.locate, resting).expect("it crosses");
            let maker_ref = self.levels_of(taker.locate, resting)[&price][0];
            let maker = self.orders.get_mut(&maker_ref).expect("an open order");
            let quantity = maker.open.min(taker.open);
            for order in [&mut *maker, &mut *taker] {
                order.open -= quantity;
                order.executed += quantity;
            }
            let maker = *maker;
            if maker.open == 0 {
                self.remove(maker_ref);
            }
            self.matches += 1;
            self.settle(&maker, taker, price, quantity);
            self.report_executed(maker_ref, &maker, price, quantity, b'A');
            self.report_executed(taker_ref, taker, price, quantity, b'R');
        }
    }

    fn report_executed(
        &mut self,
        order_ref: OrderRef,
        order: &Order,
        price: u32,
        quantity: u32,
        liquidity: u8,
    ) {
        let match_number = MatchNumber(self.matches);
        self.report(
            order.session,
            Executed {
                order_ref,
                match_number,
                urn: order.urn,
                quantity: Quantity(quantity),
                price: Price(price),
                leaves: Quantity(order.open),
                locate: order.locate,
                account: order.account,
                side: order.side,
                liquidity,
                zero: [0; 2],
            },
        );
    }

    /// Cash goes from buyer to seller, shares from seller to buyer.
    fn settle(&mut self, one: &Order, other: &Order, price: u32, quantity: u32) {
        let (buyer, seller) = if one.side == Side::Buy { (one, other) } else { (other, one) };
        let index = one.locate.0 as usize - 1;
        let cash = u64::from(price) * u64::from(quantity);
        let shares = u64::from(quantity);

        let account = &mut self.accounts[buyer.account.0 as usize];
        account.cash -= cash;
        account.shares[index] += shares;
        account.executed[index] += shares;

        let account = &mut self.accounts[seller.account.0 as usize];
        account.shares[index] -= shares;
        account.cash += cash;
        account.executed[index] += shares;
    }

    /// True when a level at `price` can be had: its page is in use, or one is left that may go to a
    /// price that far from the market.
    pub(super) fn has_page(&self, locate: Locate, price: u32) -> bool {
        let tick = self.genesis.symbols[locate.0 as usize - 1].tick;
        let page_of = |price: u32| price / tick / PAGE_TICKS;
        let page = page_of(price);
        let orders = self.orders.values().filter(|o| o.locate == locate);
        let used: BTreeSet<u32> = orders.map(|o| page_of(o.price.0)).collect();
        if used.contains(&page) {
            return true;
        }
        let pool = self.genesis.capacities.price_pages_max as usize;
        let left = pool - used.len();
        let near = [Side::Buy, Side::Sell].into_iter().any(|side| {
            self.best_price(locate, side).is_some_and(|best| page_of(best).abs_diff(page) <= NEAR)
        });
        if near || pool <= SMALL_POOL { left >= 1 } else { left > NEAR_PAGES_KEPT }
    }
}
