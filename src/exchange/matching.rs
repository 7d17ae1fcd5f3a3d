//! Matching: the books of all symbols over one arena.
//!
//! The layer below sessions, funds and events, usable by itself: the exchange drives it with its own
//! checks around, the bench drives it bare. Consumes prices in ticks of a symbol and slots; produces
//! matches, maker by maker. Must not know who owns an order; the owner's fields travel untouched.

use super::arena::{Arena, Order};
use super::genesis::SymbolSpec;
use super::order_book::{Match, OrderBook};
use super::view::{LevelView, OrderView};
use crate::types::*;

/// Why a bare order was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// Unknown symbol.
    Symbol,
    /// Price outside the band or off the tick, or quantity 0.
    Terms,
    /// No free slot, or no page for the price.
    Full,
}

/// What became of a bare order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Submitted {
    /// Slot of what rests; `None` when nothing does.
    pub resting: Option<u32>,
    /// Shares that did not trade.
    pub left: Quantity,
}

/// A bare order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Submission {
    /// Symbol.
    pub locate: Locate,
    /// Side.
    pub side: Side,
    /// Limit.
    pub price: Price,
    /// Shares.
    pub quantity: Quantity,
    /// The caller's number for the order; stands in `Order::urn`.
    pub tag: Urn,
    /// True: what does not trade rests; false: it is dropped (IOC).
    pub rests: bool,
}

/// Books of all symbols.
pub struct Books {
    /// Every order.
    pub arena: Arena,
    books: Vec<OrderBook>,
    open_orders: u32,
    references: u32,
}

impl Books {
    /// Empty books for `symbols` (locate = index + 1), an arena of `slots` orders and
    /// `price_pages_max` pages of 512 ticks per symbol. Allocates and touches everything.
    pub fn new(symbols: &[SymbolSpec], slots: u32, price_pages_max: u32) -> Books {
        let books = symbols
            .iter()
            .map(|s| OrderBook::new(s.tick, s.price_min, s.price_max, price_pages_max))
            .collect();
        Books { arena: Arena::new(slots), books, open_orders: 0, references: 0 }
    }

    /// The book of a symbol.
    #[inline(always)]
    pub fn book(&self, locate: Locate) -> Option<&OrderBook> {
        self.books.get((locate.0 as usize).wrapping_sub(1))
    }

    /// Resting orders.
    pub fn open_orders(&self) -> u32 {
        self.open_orders
    }

    /// References issued.
    pub fn references(&self) -> u32 {
        self.references
    }

    /// Sets the references issued. For restoring.
    pub(super) fn set_references(&mut self, references: u32) {
        self.references = references;
    }

    /// The next reference's upper half; the caller has asked [`Books::references`] that it is not
    /// used up.
    #[inline(always)]
    pub(super) fn next_reference(&mut self) -> u32 {
        self.references += 1;
        self.references
    }

    /// The book of a locate that was checked.
    #[inline(always)]
    fn checked_book(books: &mut [OrderBook], locate: Locate) -> &mut OrderBook {
        &mut books[locate.0 as usize - 1]
    }

    /// Writes `order` into `slot` (taken from the arena) and puts it at the back of its level. O(1).
    #[inline(always)]
    pub(super) fn rest(&mut self, slot: u32, order: Order) {
        *self.arena.order_mut(slot) = order;
        Self::checked_book(&mut self.books, order.locate).insert(&mut self.arena, slot);
        self.open_orders += 1;
    }

    /// Takes a resting order out of its book; its line stays until the slot is given back. O(1).
    #[inline(always)]
    pub(super) fn remove(&mut self, slot: u32) {
        let locate = self.arena.order(slot).locate;
        Self::checked_book(&mut self.books, locate).remove(&mut self.arena, slot);
        self.open_orders -= 1;
    }

    /// Takes `by` shares, less than all, off a resting order; it keeps its place. O(1).
    #[inline(always)]
    pub fn reduce(&mut self, slot: u32, by: Quantity) {
        let locate = self.arena.order(slot).locate;
        Self::checked_book(&mut self.books, locate).reduce(&mut self.arena, slot, by);
    }

    /// Matches an incoming order of `side` up to `limit` (a level of the symbol); returns the shares
    /// left. O(1) per match.
    #[inline(always)]
    pub fn take(
        &mut self,
        locate: Locate,
        side: Side,
        limit: u32,
        quantity: Quantity,
        mut on_match: impl FnMut(&mut Arena, Match),
    ) -> Quantity {
        let Books { arena, books, open_orders, .. } = self;
        let book = Self::checked_book(books, locate);
        book.take(arena, side, limit, quantity, |arena, m| {
            *open_orders -= (m.leaves.0 == 0) as u32;
            on_match(arena, m);
        })
    }

    /// A bare order: matches, and rests what is left if wanted. O(1) plus O(1) per match.
    #[inline]
    pub fn submit(
        &mut self,
        new: Submission,
        on_match: impl FnMut(&mut Arena, Match),
    ) -> Result<Submitted, Refused> {
        let Submission { locate, side, price, quantity, tag, rests } = new;
        let book = self.book(locate).ok_or(Refused::Symbol)?;
        let level = book.level_of(price).filter(|_| quantity.0 > 0).ok_or(Refused::Terms)?;
        if rests && (!book.has_room(level) || self.arena.used() == self.arena.slots()) {
            return Err(Refused::Full);
        }
        let left = self.take(locate, side, level, quantity, on_match);
        if left.0 == 0 || !rests {
            return Ok(Submitted { resting: None, left });
        }
        let slot = self.arena.take().ok_or(Refused::Full)?;
        let reference = self.next_reference();
        let mut order = Order::new(locate, side, price, left);
        order.level = level;
        order.urn = tag;
        order.reference = reference;
        self.rest(slot, order);
        Ok(Submitted { resting: Some(slot), left })
    }

    /// Cancels a bare order; false when the slot holds none. O(1).
    #[inline]
    pub fn cancel(&mut self, slot: u32) -> bool {
        if self.arena.get(slot).is_none() {
            return false;
        }
        self.remove(slot);
        self.arena.give_back(slot);
        true
    }

    /// Cancels a bare order and submits another in its place (same symbol and side): new price,
    /// new quantity, back of the queue. `Refused::Terms` when the slot holds none.
    #[inline]
    pub fn replace(
        &mut self,
        slot: u32,
        price: Price,
        quantity: Quantity,
        on_match: impl FnMut(&mut Arena, Match),
    ) -> Result<Submitted, Refused> {
        let old = *self.arena.get(slot).ok_or(Refused::Terms)?;
        self.cancel(slot);
        let (locate, side, tag) = (old.locate, old.side, old.urn);
        self.submit(Submission { locate, side, price, quantity, tag, rests: true }, on_match)
    }

    /// Levels of one side, best first; none for an unknown symbol.
    pub fn levels(&self, locate: Locate, side: Side) -> impl Iterator<Item = LevelView> + '_ {
        self.book(locate).into_iter().flat_map(move |book| book.levels(&self.arena, side))
    }

    /// Resting orders of one side in price-time order; none for an unknown symbol.
    pub fn orders(&self, locate: Locate, side: Side) -> impl Iterator<Item = OrderView> + '_ {
        self.book(locate)
            .into_iter()
            .flat_map(move |book| book.slots(&self.arena, side))
            .map(|slot| self.arena.order(slot).view(slot))
    }

    /// Every resting order: by symbol, buy before sell, price ascending, queue order. Allocates.
    pub fn resting(&self) -> Vec<OrderView> {
        let mut out = Vec::with_capacity(self.open_orders as usize);
        for index in 0..self.books.len() {
            for side in [Side::Buy, Side::Sell] {
                let start = out.len();
                out.extend(self.orders(Locate(index as u16 + 1), side));
                if side == Side::Buy {
                    // Stable: the queue order of a price stays.
                    out[start..].sort_by_key(|order: &OrderView| order.price);
                }
            }
        }
        out
    }

    /// Panics when a book, its totals or the arena contradict each other. For tests.
    pub fn check(&self) {
        self.arena.check();
        let orders: u32 = self.books.iter().map(|book| book.check(&self.arena)).sum();
        assert_eq!(orders, self.open_orders, "count of resting orders");
        assert_eq!(orders, self.arena.used(), "slot in use without a resting order");
    }
}

#[cfg(test)]
#[path = "matching_tests.rs"]
mod tests;
