//! The layers of the exchange that a stream can be fed to.

pub mod core;
pub mod matching;

use rialto::exchange::genesis::SymbolSpec;
use rialto::types::*;

use crate::stream::Stream;

/// Price units of one tick of the stream: 0.01, so that the exchange has its division to do.
pub const TICK: u32 = 100;
/// Ticks of the exchange's price pages.
const PAGE_TICKS: u32 = 512;

/// A symbol of the stream; its band reaches from the lowest to the highest price used.
pub fn symbol(stream: &Stream, index: u32) -> SymbolSpec {
    SymbolSpec {
        symbol: Alpha::new(&format!("S{index}")).expect("a short name"),
        tick: TICK,
        lot: 1,
        price_min: Price(stream.price_min.max(1) * TICK),
        price_max: Price(stream.price_max.max(1) * TICK),
        // Market orders of the streams take any price.
        protection: u32::MAX,
    }
}

/// Price pages that a symbol can need at once: all of its band, and those kept for near prices.
pub fn pages(stream: &Stream) -> u32 {
    (stream.price_max - stream.price_min) / PAGE_TICKS + 2 + 16
}

/// A price of the stream as the exchange has it.
pub fn price(ticks: u32) -> Price {
    Price(ticks * TICK)
}

/// Slots for every order that rests at once, and one for the one that is being handled.
pub fn slots(live_max: usize) -> u32 {
    (live_max + live_max / 8 + 64) as u32
}

/// Side of a step.
pub fn side(sell: bool) -> Side {
    if sell { Side::Sell } else { Side::Buy }
}
