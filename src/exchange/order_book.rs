//! The order book of one symbol: a paged price ladder.
//!
//! Consumes orders that stand in the arena; produces price-time order. The index of a level is
//! price / tick; pages of 512 levels come from a pool of fixed size, so a price far away costs one
//! page, and a market that walks takes pages where it goes and leaves the empty ones behind: nothing
//! is ever re-centred or copied. The last pages of the pool are kept for prices near the best, so
//! that far prices cannot use up what the market needs. Every operation is O(1). Must not know
//! sessions, accounts or events.

use super::arena::{Arena, NONE};
use super::page_map::PageMap;
use super::price_level::{PAGE_LEVELS, Page};
use super::view::LevelView;
use crate::planted::{self, Bug};
use crate::types::*;

/// Pages of a pool that only near prices may take, where the pool is larger than
/// [`RESERVE_FROM`].
const RESERVED_PAGES: usize = 8;
/// Pools up to this size have no reserve.
const RESERVE_FROM: usize = 16;
/// Near: at most this many pages from the page of the best price of either side.
const NEAR_PAGES: u32 = 2;

const NO_PAGE: u16 = u16::MAX;

/// One match: an incoming order met the oldest order at the best price.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Match {
    /// Slot of the resting order; its line still says everything about it.
    pub slot: u32,
    /// Price of the resting order.
    pub price: Price,
    /// Shares.
    pub quantity: Quantity,
    /// Open shares of the resting order after the match; at 0 it leaves the book and its slot is
    /// free when the callback returns.
    pub leaves: Quantity,
}

/// Book of one symbol.
pub struct OrderBook {
    /// Best level of each side, [`NONE`] without orders.
    best: [u32; 2],
    tick: u32,
    first_page: u32,
    level_min: u32,
    level_max: u32,
    table: Vec<u16>,
    pages: Vec<Page>,
    free: Vec<u16>,
    /// Pages that the pool counts beyond those of the band: they exist only as a number.
    spare: usize,
    map: [PageMap; 2],
}

impl OrderBook {
    /// An empty book for prices `price_min..=price_max`, multiples of `tick` (at least 1), with a
    /// pool of `pages_max` pages (at most 60,000). Allocates and touches everything.
    pub fn new(tick: u32, price_min: Price, price_max: Price, pages_max: u32) -> OrderBook {
        assert!(tick > 0 && price_min <= price_max && pages_max < NO_PAGE as u32);
        let first_page = price_min.0 / tick / PAGE_LEVELS;
        let band = price_max.0 / tick / PAGE_LEVELS - first_page + 1;
        // Pages beyond the band's could never be used: they count, but take no memory.
        let spare = pages_max.saturating_sub(band) as usize;
        let pages_max = pages_max.min(band);
        OrderBook {
            best: [NONE; 2],
            tick,
            first_page,
            level_min: price_min.0 / tick,
            level_max: price_max.0 / tick,
            table: vec![NO_PAGE; band as usize],
            pages: vec![Page::EMPTY; pages_max as usize],
            free: (0..pages_max as u16).rev().collect(),
            spare,
            map: [PageMap::new(band), PageMap::new(band)],
        }
    }

    /// Best level of `side` in ticks.
    #[inline(always)]
    pub fn best_level(&self, side: Side) -> Option<u32> {
        let level = self.best[side.index()];
        (level != NONE).then_some(level)
    }

    /// Best price of `side` and its shares. O(1).
    pub fn best(&self, side: Side) -> Option<(Price, u64)> {
        let level = self.best_level(side)?;
        let quantity = self.page(level)?.level(level).quantity;
        Some((self.price(level), quantity))
    }

    /// Price of a level of this book's band.
    #[inline(always)]
    pub fn price(&self, level: u32) -> Price {
        Price(level * self.tick)
    }

    /// Level of a price of the band; `None` outside it or off the tick.
    #[inline]
    pub fn level_of(&self, price: Price) -> Option<u32> {
        let level = price.0 / self.tick;
        let inside = (self.level_min..=self.level_max).contains(&level);
        (inside && level * self.tick == price.0).then_some(level)
    }

    /// True when an order of `side` with limit `level` would trade at once.
    #[inline(always)]
    pub fn crosses(&self, side: Side, level: u32) -> bool {
        let best = self.best[side.opposite().index()];
        best != NONE && reaches(side, level, best)
    }

    /// True when an order at `level` (inside the band) would find a page. O(1).
    #[inline]
    pub fn has_room(&self, level: u32) -> bool {
        let number = level / PAGE_LEVELS;
        if self.table[(number - self.first_page) as usize] != NO_PAGE {
            return true;
        }
        let free = self.free.len() + self.spare;
        if self.pages.len() + self.spare <= RESERVE_FROM || free > RESERVED_PAGES {
            return free > 0;
        }
        let near = |best: u32| best != NONE && (best / PAGE_LEVELS).abs_diff(number) <= NEAR_PAGES;
        free > 0 && (near(self.best[0]) || near(self.best[1]))
    }

    /// True when an order at `level` (inside the band) has a page or gets one, near or far. For
    /// restoring, where the reserve was respected when the order came.
    pub(super) fn has_page(&self, level: u32) -> bool {
        let number = (level / PAGE_LEVELS - self.first_page) as usize;
        self.table[number] != NO_PAGE || !self.free.is_empty()
    }

    /// True when the best bid is not below the best offer.
    pub(super) fn is_crossed(&self) -> bool {
        self.best[0] != NONE && self.best[1] != NONE && self.best[0] >= self.best[1]
    }

    /// Puts the order in `slot` at the back of its level's queue. Its side, level and open shares
    /// are set; [`OrderBook::has_room`] said yes. O(1).
    #[inline]
    pub fn insert(&mut self, arena: &mut Arena, slot: u32) {
        let order = arena.order(slot);
        let (side, level, open) = (order.side, order.level, order.open);
        let number = (level / PAGE_LEVELS - self.first_page) as usize;
        let mut at = self.table[number];
        if at == NO_PAGE {
            at = self.free.pop().expect("has_room was asked");
            self.table[number] = at;
        }
        let page = &mut self.pages[at as usize];
        page.quantity[side.index()] += open.0 as u64;
        let queue = page.level_mut(level);
        let first = queue.head == NONE;
        queue.push(arena, slot);
        if first && page.mark(side, level) {
            self.map[side.index()].set(number as u32);
        }
        let best = &mut self.best[side.index()];
        if *best == NONE || better(side, level, *best) {
            *best = level;
        }
    }

    /// Takes the order in `slot` out of its queue. O(1).
    #[inline]
    pub fn remove(&mut self, arena: &mut Arena, slot: u32) {
        let order = arena.order(slot);
        let (side, level, open) = (order.side, order.level, order.open);
        let page = self.page_mut(level);
        page.quantity[side.index()] -= open.0 as u64;
        let queue = page.level_mut(level);
        queue.unlink(arena, slot);
        if queue.head == NONE {
            self.level_emptied(side, level);
        }
    }

    /// Lowers the open shares of the order in `slot` by `by`, less than all; it keeps its place.
    #[inline]
    pub fn reduce(&mut self, arena: &mut Arena, slot: u32, by: Quantity) {
        let order = arena.order_mut(slot);
        assert!(by < order.open, "reduce would empty the order");
        order.open.0 -= by.0;
        let (side, level) = (order.side, order.level);
        let page = self.page_mut(level);
        page.quantity[side.index()] -= by.0 as u64;
        page.level_mut(level).quantity -= by.0 as u64;
    }

    /// Matches an incoming order of `side` against the other side, best price first, oldest first,
    /// up to `limit` (a level) and `quantity`; returns the shares left. `on_match` is called for
    /// each match, after the books moved. O(1) per match.
    #[inline]
    pub fn take(
        &mut self,
        arena: &mut Arena,
        side: Side,
        limit: u32,
        quantity: Quantity,
        mut on_match: impl FnMut(&mut Arena, Match),
    ) -> Quantity {
        let maker_side = side.opposite();
        let mut left = quantity.0;
        while left > 0 {
            let level = self.best[maker_side.index()];
            if level == NONE || !reaches(side, limit, level) {
                break;
            }
            let price = self.price(level);
            let page = self.page_mut(level);
            let queue = &mut page.levels[(level % PAGE_LEVELS) as usize];
            let before = left;
            while left > 0 && queue.head != NONE {
                let slot = queue.head;
                let order = arena.order_mut(slot);
                let traded = order.open.0.min(left);
                assert!(traded > 0, "order without open shares in a queue");
                order.open.0 -= traded;
                left -= traded;
                let leaves = order.open;
                let next = order.next;
                if leaves.0 == 0 {
                    queue.head = next;
                    if next == NONE {
                        queue.tail = NONE;
                    } else {
                        arena.order_mut(next).previous = NONE;
                    }
                }
                on_match(arena, Match { slot, price, quantity: Quantity(traded), leaves });
                if leaves.0 == 0 {
                    arena.give_back(slot);
                } else if planted::is(Bug::PriorityAfterPartialFill) {
                    queue.unlink(arena, slot);
                    queue.push(arena, slot);
                }
            }
            let traded = (before - left) as u64;
            queue.quantity -= traded;
            page.quantity[maker_side.index()] -= traded;
            if queue.head == NONE {
                self.level_emptied(maker_side, level);
            }
        }
        Quantity(left)
    }

    /// True when at least `quantity` shares rest for an incoming order of `side` with `limit`.
    /// O(pages in use) and at most 512 levels: whole pages count by their totals.
    pub fn available(&self, side: Side, limit: u32, quantity: Quantity) -> bool {
        let maker_side = side.opposite();
        let map = &self.map[maker_side.index()];
        let mut wanted = quantity.0 as u64;
        let mut number = map.best(maker_side);
        let limit_number = limit / PAGE_LEVELS;
        while let Some(n) = number {
            let page_number = n + self.first_page;
            let page = &self.pages[self.table[n as usize] as usize];
            if page_number == limit_number {
                let mut offset = page.best(maker_side);
                while let Some(o) = offset {
                    if !reaches(side, limit, page_number * PAGE_LEVELS + o) {
                        return false;
                    }
                    wanted = wanted.saturating_sub(page.level(o).quantity);
                    if wanted == 0 {
                        return true;
                    }
                    offset = page.next_worse(maker_side, o);
                }
                return false;
            }
            if !reaches(side, limit_number, page_number) {
                return false;
            }
            wanted = wanted.saturating_sub(page.quantity[maker_side.index()]);
            if wanted == 0 {
                return true;
            }
            number = map.next_worse(maker_side, n);
        }
        wanted == 0
    }

    /// Levels of `side` with orders, best first, as ticks.
    fn level_indexes(&self, side: Side) -> impl Iterator<Item = u32> + '_ {
        std::iter::successors(self.best_level(side), move |&level| {
            let number = level / PAGE_LEVELS;
            let page = self.page(level)?;
            if let Some(offset) = page.next_worse(side, level) {
                return Some(number * PAGE_LEVELS + offset);
            }
            let map = &self.map[side.index()];
            let number = map.next_worse(side, number - self.first_page)? + self.first_page;
            let first = number * PAGE_LEVELS;
            Some(first + self.page(first)?.best(side)?)
        })
    }

    /// Slots of the orders of `side` in price-time order.
    pub fn slots<'a>(&'a self, arena: &'a Arena, side: Side) -> impl Iterator<Item = u32> + 'a {
        self.level_indexes(side).flat_map(move |level| {
            let head = self.page(level).map_or(NONE, |page| page.level(level).head);
            queue(arena, head)
        })
    }

    /// Levels of `side`, best first.
    pub fn levels<'a>(
        &'a self,
        arena: &'a Arena,
        side: Side,
    ) -> impl Iterator<Item = LevelView> + 'a {
        self.level_indexes(side).filter_map(move |level| {
            let queue_of = self.page(level)?.level(level);
            let count = queue(arena, queue_of.head).count() as u32;
            Some(LevelView { price: self.price(level), quantity: queue_of.quantity, count })
        })
    }

    #[inline(always)]
    fn page(&self, level: u32) -> Option<&Page> {
        let number = (level / PAGE_LEVELS).checked_sub(self.first_page)?;
        let at = *self.table.get(number as usize)?;
        self.pages.get(at as usize)
    }

    /// The page of a level that has orders.
    #[inline(always)]
    fn page_mut(&mut self, level: u32) -> &mut Page {
        let at = self.table[(level / PAGE_LEVELS - self.first_page) as usize];
        &mut self.pages[at as usize]
    }

    /// Bitmaps, best price and page pool after the last order of a level is gone. O(1).
    fn level_emptied(&mut self, side: Side, level: u32) {
        let number = level / PAGE_LEVELS - self.first_page;
        let at = self.table[number as usize];
        let page = &mut self.pages[at as usize];
        debug_assert_eq!(page.level(level).quantity, 0);
        if page.unmark(side, level) {
            self.map[side.index()].clear(number);
            if page.is_empty() {
                self.table[number as usize] = NO_PAGE;
                self.free.push(at);
            }
        }
        if self.best[side.index()] == level {
            self.best[side.index()] = self.find_best(side);
        }
    }

    #[inline]
    fn find_best(&self, side: Side) -> u32 {
        let Some(number) = self.map[side.index()].best(side) else { return NONE };
        let page = &self.pages[self.table[number as usize] as usize];
        let offset = page.best(side).expect("page in the map has orders");
        (number + self.first_page) * PAGE_LEVELS + offset
    }

    /// Panics with what is wrong when a total, a bitmap, a link or the best price does not fit the
    /// orders. Returns the number of orders. For tests.
    pub fn check(&self, arena: &Arena) -> u32 {
        let mut orders = 0;
        let mut pages_in_use = 0;
        let mut best = [NONE; 2];
        for (number, &at) in self.table.iter().enumerate() {
            if at == NO_PAGE {
                continue;
            }
            pages_in_use += 1;
            let page = &self.pages[at as usize];
            assert!(!page.is_empty(), "empty page {number} was not freed");
            let mut totals = [0u64; 2];
            let mut marked = Page::EMPTY;
            for offset in 0..PAGE_LEVELS {
                let level = page.level(offset);
                let mut quantity = 0;
                let mut previous = NONE;
                let mut reference = 0;
                for slot in queue(arena, level.head) {
                    let order = arena.order(slot);
                    let index = (number as u32 + self.first_page) * PAGE_LEVELS + offset;
                    assert_eq!(order.level, index, "order in the wrong level");
                    assert_eq!(order.price, self.price(index), "price and level differ");
                    assert_eq!(order.previous, previous, "queue link");
                    assert!(order.open.0 > 0, "order without open shares rests");
                    assert!(order.reference >= reference, "queue out of time order");
                    reference = order.reference;
                    previous = slot;
                    quantity += order.open.0 as u64;
                    totals[order.side.index()] += order.open.0 as u64;
                    marked.mark(order.side, offset);
                    orders += 1;
                    let side = order.side;
                    let b = &mut best[side.index()];
                    if *b == NONE || better(side, index, *b) {
                        *b = index;
                    }
                }
                assert_eq!(level.tail, previous, "tail of a level");
                assert_eq!(level.quantity, quantity, "shares of a level");
            }
            assert_eq!(page.quantity, totals, "shares of a page");
            assert!(page.same_marks(&marked), "bitmaps of a page");
            for side in [Side::Buy, Side::Sell] {
                let mapped = self.map[side.index()].contains(number as u32);
                assert_eq!(mapped, page.best(side).is_some(), "map of pages");
            }
        }
        assert_eq!(pages_in_use + self.free.len(), self.pages.len(), "pages lost");
        assert_eq!(self.best, best, "best prices");
        if best[0] != NONE && best[1] != NONE {
            assert!(best[0] < best[1], "book is crossed");
        }
        orders
    }
}

/// Slots of a queue, oldest first.
fn queue(arena: &Arena, head: u32) -> impl Iterator<Item = u32> + '_ {
    let some = |slot: u32| (slot != NONE).then_some(slot);
    std::iter::successors(some(head), move |&slot| some(arena.order(slot).next))
}

/// True when `a` is a better price than `b` for orders of `side`.
#[inline(always)]
fn better(side: Side, a: u32, b: u32) -> bool {
    match side {
        Side::Buy => a > b,
        Side::Sell => a < b,
    }
}

/// True when an incoming order of `side` with `limit` may trade at `level`.
#[inline(always)]
fn reaches(side: Side, limit: u32, level: u32) -> bool {
    match side {
        Side::Buy => level <= limit,
        Side::Sell => level >= limit,
    }
}
