//! Which pages of a symbol's price band have orders, per side: three bitmaps over each other.
//!
//! A band has at most 65,537 pages (levels 0 to 2^25), so a word over 17 words over 1,025 words finds
//! the best page in three steps. Bands of up to 64 pages, the usual ones, touch one line.

use crate::types::Side;

/// Pages of one side that have orders.
pub(super) struct PageMap {
    top: u64,
    middle: [u64; 17],
    words: Vec<u64>,
}

/// Pages of the widest band.
pub(super) const PAGES_MAX: u32 = 64 * 64 * 16 + 1;

impl PageMap {
    /// For a band of `pages` pages, at most [`PAGES_MAX`].
    pub(super) fn new(pages: u32) -> PageMap {
        assert!(pages <= PAGES_MAX, "band of {pages} pages");
        let mut words = Vec::with_capacity(pages.div_ceil(64) as usize);
        std::hint::black_box(&mut words).resize(pages.div_ceil(64) as usize, 0);
        PageMap { top: 0, middle: [0; 17], words }
    }

    #[inline]
    pub(super) fn set(&mut self, page: u32) {
        self.words[(page / 64) as usize] |= 1 << (page % 64);
        self.middle[(page / 4096) as usize] |= 1 << (page / 64 % 64);
        self.top |= 1 << (page / 4096);
    }

    #[inline]
    pub(super) fn clear(&mut self, page: u32) {
        let word = &mut self.words[(page / 64) as usize];
        *word &= !(1 << (page % 64));
        if *word != 0 {
            return;
        }
        let middle = &mut self.middle[(page / 4096) as usize];
        *middle &= !(1 << (page / 64 % 64));
        if *middle == 0 {
            self.top &= !(1 << (page / 4096));
        }
    }

    /// True when `page` is set.
    pub(super) fn contains(&self, page: u32) -> bool {
        self.words[(page / 64) as usize] >> (page % 64) & 1 == 1
    }

    /// Best page: the highest for bids, the lowest for offers.
    #[inline]
    pub(super) fn best(&self, side: Side) -> Option<u32> {
        if self.top == 0 {
            return None;
        }
        Some(match side {
            Side::Buy => {
                let m = 63 - self.top.leading_zeros();
                let w = m * 64 + 63 - self.middle[m as usize].leading_zeros();
                w * 64 + 63 - self.words[w as usize].leading_zeros()
            }
            Side::Sell => {
                let m = self.top.trailing_zeros();
                let w = m * 64 + self.middle[m as usize].trailing_zeros();
                w * 64 + self.words[w as usize].trailing_zeros()
            }
        })
    }

    /// Best page that is worse than `page`.
    pub(super) fn next_worse(&self, side: Side, page: u32) -> Option<u32> {
        let (w, m) = (page / 64, page / 4096);
        let here = masked(side, self.words[w as usize], page % 64);
        if here != 0 {
            return Some(w * 64 + pick(side, here));
        }
        let here = masked(side, self.middle[m as usize], w % 64);
        if here != 0 {
            let w = m * 64 + pick(side, here);
            return Some(w * 64 + pick(side, self.words[w as usize]));
        }
        let here = masked(side, self.top, m);
        if here == 0 {
            return None;
        }
        let m = pick(side, here);
        let w = m * 64 + pick(side, self.middle[m as usize]);
        Some(w * 64 + pick(side, self.words[w as usize]))
    }
}

/// Bits of `word` that are worse than `bit`.
#[inline]
fn masked(side: Side, word: u64, bit: u32) -> u64 {
    match side {
        Side::Buy => word & ((1u64 << bit) - 1),
        Side::Sell => word & (!0u64 << bit << 1),
    }
}

/// Best bit of a word that is not 0.
#[inline]
fn pick(side: Side, word: u64) -> u32 {
    match side {
        Side::Buy => 63 - word.leading_zeros(),
        Side::Sell => word.trailing_zeros(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_the_same_pages_as_a_sorted_list() {
        let pages = [0, 1, 63, 64, 4095, 4096, 9000, 40_000, 65_535, 65_536];
        let mut map = PageMap::new(PAGES_MAX);
        for page in pages {
            map.set(page);
        }
        for side in [Side::Buy, Side::Sell] {
            let mut walked = Vec::new();
            let mut at = map.best(side);
            while let Some(page) = at {
                walked.push(page);
                at = map.next_worse(side, page);
            }
            if side == Side::Buy {
                walked.reverse();
            }
            assert_eq!(walked, pages);
        }
        for (i, page) in pages.into_iter().enumerate() {
            assert_eq!(map.best(Side::Sell), Some(pages[i]));
            map.clear(page);
        }
        assert_eq!((map.best(Side::Buy), map.best(Side::Sell)), (None, None));
    }
}
