//! Price levels, and the pages that 512 of them stand in.
//!
//! A level is a queue of orders at one price. A page holds 512 neighbouring prices with one bitmap
//! per side, so that the next price with orders is a few instructions away, and the shares of each
//! side, so that fill-or-kill can skip whole pages. Both sides share a page: a price has bids or
//! offers, never both, and a market that moves through a price finds its line warm. Must not know
//! which page stands where; `order_book` does.

use super::arena::{Arena, NONE};
use crate::types::*;

/// Price levels of a page. 512 x 16 bytes = two small pages of memory; at a tick of 0.01 a page is
/// 5.12 wide, so the busy part of most books is one or two pages.
pub const PAGE_LEVELS: u32 = 512;

/// Orders at one price, oldest first.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    /// Oldest order, [`NONE`] when the level is empty.
    pub(super) head: u32,
    /// Youngest order.
    pub(super) tail: u32,
    /// Open shares of all of them.
    pub(super) quantity: u64,
}

const _: () = assert!(size_of::<Level>() == 16);

impl Level {
    const EMPTY: Level = Level { head: NONE, tail: NONE, quantity: 0 };

    /// Puts `slot` at the back. O(1).
    #[inline(always)]
    pub(super) fn push(&mut self, arena: &mut Arena, slot: u32) {
        let tail = self.tail;
        let order = arena.order_mut(slot);
        order.previous = tail;
        order.next = NONE;
        self.quantity += order.open.0 as u64;
        self.tail = slot;
        if tail == NONE {
            self.head = slot;
        } else {
            arena.order_mut(tail).next = slot;
        }
    }

    /// Takes `slot` out, wherever it stands. O(1).
    #[inline(always)]
    pub(super) fn unlink(&mut self, arena: &mut Arena, slot: u32) {
        let order = arena.order(slot);
        let (previous, next, open) = (order.previous, order.next, order.open);
        self.quantity -= open.0 as u64;
        if previous == NONE {
            self.head = next;
        } else {
            arena.order_mut(previous).next = next;
        }
        if next == NONE {
            self.tail = previous;
        } else {
            arena.order_mut(next).previous = previous;
        }
    }
}

/// 512 neighbouring levels.
#[repr(C, align(64))]
#[derive(Clone)]
pub(super) struct Page {
    /// One bit per level with orders, by side: a cache line each.
    occupied: [[u64; 8]; 2],
    /// One bit per word of `occupied` that is not 0, by side.
    summary: [u8; 2],
    /// Open shares, by side.
    pub(super) quantity: [u64; 2],
    /// The levels.
    pub(super) levels: [Level; PAGE_LEVELS as usize],
}

impl Page {
    pub(super) const EMPTY: Page = Page {
        occupied: [[0; 8]; 2],
        summary: [0; 2],
        quantity: [0; 2],
        levels: [Level::EMPTY; PAGE_LEVELS as usize],
    };

    /// The level at `offset` (the lowest 9 bits count).
    #[inline(always)]
    pub(super) fn level_mut(&mut self, offset: u32) -> &mut Level {
        &mut self.levels[(offset % PAGE_LEVELS) as usize]
    }

    /// The level at `offset`.
    #[inline(always)]
    pub(super) fn level(&self, offset: u32) -> &Level {
        &self.levels[(offset % PAGE_LEVELS) as usize]
    }

    /// Marks the level at `offset` as one with orders; true when it is the page's first on `side`.
    #[inline(always)]
    pub(super) fn mark(&mut self, side: Side, offset: u32) -> bool {
        let offset = offset % PAGE_LEVELS;
        let s = side.index();
        let first = self.summary[s] == 0;
        self.occupied[s][(offset / 64) as usize] |= 1 << (offset % 64);
        self.summary[s] |= 1 << (offset / 64);
        first
    }

    /// Marks the level at `offset` as empty; true when the page has none left on `side`.
    #[inline(always)]
    pub(super) fn unmark(&mut self, side: Side, offset: u32) -> bool {
        let offset = offset % PAGE_LEVELS;
        let s = side.index();
        let word = &mut self.occupied[s][(offset / 64) as usize];
        *word &= !(1 << (offset % 64));
        if *word == 0 {
            self.summary[s] &= !(1 << (offset / 64));
        }
        self.summary[s] == 0
    }

    /// True when neither side has orders here.
    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.summary == [0, 0]
    }

    /// Offset of the best level of `side`: highest bid, lowest offer. `None` when it has none.
    #[inline(always)]
    pub(super) fn best(&self, side: Side) -> Option<u32> {
        let s = side.index();
        let summary = self.summary[s];
        if summary == 0 {
            return None;
        }
        Some(match side {
            Side::Buy => {
                let word = 7 - summary.leading_zeros();
                word * 64 + 63 - self.occupied[s][word as usize].leading_zeros()
            }
            Side::Sell => {
                let word = summary.trailing_zeros();
                word * 64 + self.occupied[s][word as usize].trailing_zeros()
            }
        })
    }

    /// True when `other` has marked the same levels. For `check`.
    pub(super) fn same_marks(&self, other: &Page) -> bool {
        self.occupied == other.occupied && self.summary == other.summary
    }

    /// Offset of the best level of `side` that is worse than `offset`.
    pub(super) fn next_worse(&self, side: Side, offset: u32) -> Option<u32> {
        let s = side.index();
        let (word, bit) = (offset % PAGE_LEVELS / 64, offset % 64);
        let here = self.occupied[s][word as usize];
        match side {
            Side::Buy => {
                let below = here & ((1u64 << bit) - 1);
                if below != 0 {
                    return Some(word * 64 + 63 - below.leading_zeros());
                }
                let words = self.summary[s] & ((1u16 << word) - 1) as u8;
                let word = (words != 0).then(|| 7 - words.leading_zeros())?;
                Some(word * 64 + 63 - self.occupied[s][word as usize].leading_zeros())
            }
            Side::Sell => {
                let above = here & (!0u64 << bit << 1);
                if above != 0 {
                    return Some(word * 64 + above.trailing_zeros());
                }
                let words = self.summary[s] & (0xFFu16 << word << 1) as u8;
                let word = (words != 0).then(|| words.trailing_zeros())?;
                Some(word * 64 + self.occupied[s][word as usize].trailing_zeros())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bitmaps_find_the_best_and_the_next_on_both_sides() {
        let mut page = Box::new(Page::EMPTY);
        let offsets = [0, 1, 63, 64, 65, 200, 447, 448, 510, 511];
        for side in [Side::Buy, Side::Sell] {
            for (i, &offset) in offsets.iter().enumerate() {
                assert_eq!(page.mark(side, offset), i == 0);
            }
            let mut walked = Vec::new();
            let mut at = page.best(side);
            while let Some(offset) = at {
                walked.push(offset);
                at = page.next_worse(side, offset);
            }
            if side == Side::Buy {
                walked.reverse();
            }
            assert_eq!(walked, offsets);
        }
        for side in [Side::Buy, Side::Sell] {
            assert!(!page.is_empty());
            for (i, &offset) in offsets.iter().enumerate() {
                assert_eq!(page.unmark(side, offset), i + 1 == offsets.len());
            }
            assert_eq!(page.best(side), None);
        }
        assert!(page.is_empty());
    }

    #[test]
    fn a_level_unlinks_head_middle_and_tail() {
        for out in 0..3u32 {
            let mut arena = Arena::new(3);
            let mut level = Level::EMPTY;
            for _ in 0..3 {
                let slot = arena.take().unwrap();
                arena.order_mut(slot).open = Quantity(slot + 1);
                level.push(&mut arena, slot);
            }
            assert_eq!((level.head, level.tail, level.quantity), (0, 2, 6));
            level.unlink(&mut arena, out);
            assert_eq!(level.quantity, 6 - (out as u64 + 1));
            let mut left = Vec::new();
            let mut slot = level.head;
            let mut previous = NONE;
            while slot != NONE {
                assert_eq!(arena.order(slot).previous, previous);
                left.push(slot);
                previous = slot;
                slot = arena.order(slot).next;
            }
            assert_eq!(level.tail, previous);
            assert_eq!(left, (0..3).filter(|&s| s != out).collect::<Vec<_>>());
        }
    }
}
