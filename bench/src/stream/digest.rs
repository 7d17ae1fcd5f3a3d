//! What every engine must agree on: totals and digests of the fills, and of the book that is left.

/// 2^64 / golden ratio, odd: spreads each step of a fold over all bits.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

fn fold(digest: u64, word: u64) -> u64 {
    (digest.rotate_left(5) ^ word).wrapping_mul(SPREAD)
}

/// One fill.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fill {
    /// Id of the incoming order.
    pub taker: u32,
    /// Id of the resting order.
    pub maker: u32,
    /// Price in ticks.
    pub price: u32,
    /// Shares.
    pub quantity: u32,
}

/// Sums over fills.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Fills.
    pub fills: u64,
    /// Shares.
    pub volume: u64,
    /// Price x quantity in ticks.
    pub notional: u64,
    /// Digest over the fills in their order.
    pub digest: u64,
}

impl Totals {
    /// Counts one more fill.
    pub fn add(&mut self, fill: Fill) {
        let (price, quantity) = (u64::from(fill.price), u64::from(fill.quantity));
        self.fills += 1;
        self.volume += quantity;
        self.notional += price * quantity;
        let ids = u64::from(fill.taker) ^ u64::from(fill.maker).rotate_left(20);
        self.digest = fold(self.digest, ids ^ (price << 40) ^ (quantity << 8));
    }
}

/// Sums over the orders that rest at the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BookTotals {
    /// Resting orders.
    pub live: u64,
    /// Price levels with orders.
    pub levels: u64,
    /// Digest over the orders.
    pub digest: u64,
    last: Option<(u64, bool, u32)>,
}

impl BookTotals {
    /// Counts one more resting order. They come by symbol (from 0), buy side first, prices ascending,
    /// in queue order.
    pub fn add(&mut self, symbol: u64, sell: bool, price: u32, id: u32, open: u32) {
        let level = (symbol, sell, price);
        self.live += 1;
        if self.last.replace(level) != Some(level) {
            self.levels += 1;
        }
        for word in [symbol, u64::from(sell), u64::from(price), u64::from(id), u64::from(open)] {
            self.digest = fold(self.digest, word);
        }
    }
}

/// What a run of a stream comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// Fills of the timed part.
    pub fills: Totals,
    /// Book at the end.
    pub book: BookTotals,
}
