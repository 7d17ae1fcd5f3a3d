//! Synthetic order flow: the shape of a real hour at any rate, for any number of symbols.
//!
//! Consumes a seed and options; produces [`FlowCommand`]s in order of time, the same ones for the
//! same options on any machine. Keeps a light book per symbol, so that aggressive orders meet
//! somebody and passive ones do not, provided that the venue takes every command, in order. Must
//! not know how the commands are sent.

use super::book::{Book, Resting};
use super::random::{RANKS, Random};
use super::schedule::Schedule;
use super::{FlowCommand, FlowOp, shape};
use crate::types::{Price, Quantity, Side};

/// A symbol of the flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SymbolFlow {
    /// Price about which the market opens; a multiple of the tick inside the band.
    pub start: Price,
    /// Price step.
    pub tick: Price,
    /// Lowest price of an order; a multiple of the tick.
    pub lowest: Price,
    /// Highest price of an order; a multiple of the tick.
    pub highest: Price,
    /// Quantities are multiples of it.
    pub lot: Quantity,
    /// Share of this symbol in the flow: weight / sum of weights.
    pub weight: u32,
}

impl SymbolFlow {
    /// A symbol about `start` with a tick of 0.01, a lot of 1, a band of a fifth either way and
    /// weight 1. `start` is cut to the tick; below 0.10 it becomes 0.10.
    pub fn about(start: Price) -> SymbolFlow {
        const TICK: u32 = 100;
        let cut = |price: u32| price / TICK * TICK;
        let start = cut(start.0.clamp(10 * TICK, Price::MAX.0));
        SymbolFlow {
            start: Price(start),
            tick: Price(TICK),
            lowest: Price(cut(start - start / 5).max(TICK)),
            highest: Price(cut(start.saturating_add(start / 5).min(Price::MAX.0))),
            lot: Quantity(1),
            weight: 1,
        }
    }
}

/// What flow to make.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyntheticOptions {
    /// Same seed and options, same flow.
    pub seed: u64,
    /// Commands per second over all symbols, on average.
    pub rate: u64,
    /// Length; the flow has exactly `rate * seconds` commands, all of them before its end.
    pub seconds: u64,
    /// The symbols, at most 65,535.
    pub symbols: Vec<SymbolFlow>,
    /// Orders that rest per symbol once the book is built. `None`: as in the measured hour, but
    /// no more than 2% of the flow's commands, so that a short flow is not all building.
    pub resting: Option<u64>,
}

impl SyntheticOptions {
    /// `symbols` symbols with random start prices (10.00 to 510.00) and weights (1 to 100).
    pub fn random_symbols(seed: u64, symbols: u16, rate: u64, seconds: u64) -> SyntheticOptions {
        let mut random = Random::new(seed ^ 0x5359_4D42_4F4C_5321);
        let symbols = (0..symbols)
            .map(|_| SymbolFlow {
                weight: 1 + random.below(100) as u32,
                ..SymbolFlow::about(Price(100_000 + random.below(50_001) as u32 * 100))
            })
            .collect();
        SyntheticOptions { seed, rate, seconds, symbols, resting: None }
    }

    /// Gives every symbol a weight of 1 to 100, drawn from the seed.
    pub fn randomise_weights(&mut self) {
        let mut random = Random::new(self.seed ^ 0x5745_4947_4854_5321);
        for symbol in &mut self.symbols {
            symbol.weight = 1 + random.below(100) as u32;
        }
    }

    fn check(&self) -> Result<(), SyntheticOptionsError> {
        let refuse = |what: String| Err(SyntheticOptionsError(what));
        if self.rate == 0 || self.rate > 100_000_000 {
            return refuse(format!("rate is {}, must be 1 to 100000000 per second", self.rate));
        }
        if self.seconds == 0 || self.seconds > 86_400 {
            return refuse(format!("seconds are {}, must be 1 to 86400", self.seconds));
        }
        if self.symbols.is_empty() || self.symbols.len() > usize::from(u16::MAX) {
            return refuse(format!("{} symbols, must be 1 to 65535", self.symbols.len()));
        }
        for (index, symbol) in self.symbols.iter().enumerate() {
            let SymbolFlow { start, tick, lowest, highest, lot, .. } = *symbol;
            let on_tick = |price: Price| price.0.is_multiple_of(tick.0);
            if tick.0 == 0 || ![start, lowest, highest].into_iter().all(on_tick) {
                return refuse(format!(
                    "symbol {index}: start, lowest and highest must be multiples of the tick {}",
                    tick.0
                ));
            }
            let room = lowest.0 >= tick.0
                && lowest < start
                && start < highest
                && highest <= Price::MAX
                && highest.0 - lowest.0 >= 4 * tick.0;
            if !room {
                return refuse(format!(
                    "symbol {index}: prices must be tick <= lowest < start < highest <= {}, with \
                     at least 4 ticks between lowest and highest; they are {} < {} < {}",
                    Price::MAX.0,
                    lowest.0,
                    start.0,
                    highest.0
                ));
            }
            if lot.0 == 0 || lot.0 > 10_000 {
                return refuse(format!("symbol {index}: lot is {}, must be 1 to 10000", lot.0));
            }
        }
        if self.symbols.iter().all(|symbol| symbol.weight == 0) {
            return refuse("weights are all 0, at least one must be more".to_owned());
        }
        Ok(())
    }
}

/// Options that cannot be met: which, and what is allowed.
#[derive(thiserror::Error, Clone, PartialEq, Eq, Debug)]
#[error("synthetic flow: {0}")]
pub struct SyntheticOptionsError(String);

/// What the flow has done so far, and what a venue that took all of it must have done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// New orders that rest.
    pub new: u64,
    /// Cancels.
    pub cancels: u64,
    /// Reductions.
    pub reductions: u64,
    /// Immediate-or-cancel orders.
    pub immediate: u64,
    /// Matches of two orders.
    pub executions: u64,
    /// Shares matched.
    pub executed_shares: u64,
    /// Orders resting now.
    pub resting: u64,
}

impl Totals {
    /// Commands made.
    pub fn commands(&self) -> u64 {
        self.new + self.cancels + self.reductions + self.immediate
    }
}

/// One symbol: its options, its book, how many commands it had.
struct Market {
    symbol: SymbolFlow,
    book: Book,
    commands: u64,
    /// Which way the market leans now, -[`LEAN`] (down) to [`LEAN`] (up).
    lean: i64,
}

/// Largest lean, per 1,000: with it four of five aggressive orders are on one side.
const LEAN: i64 = 300;
/// Commands between changes of the lean, on average. Prices within 10,000 commands then span 70 to
/// 190 ticks (the hour: 101 to 319); with 500 it was 44 to 127.
const LEAN_COMMANDS: u64 = 2_000;

/// The flow, an iterator.
pub struct Synthetic {
    schedule: Schedule,
    random: Random,
    markets: Vec<Market>,
    resting: u64,
    next_order: u64,
    totals: Totals,
}

impl Synthetic {
    /// Checks the options and sets up the schedule (O(seconds) memory and work).
    pub fn new(options: &SyntheticOptions) -> Result<Synthetic, SyntheticOptionsError> {
        options.check()?;
        let total = options.rate * options.seconds;
        let symbols = options.symbols.len() as u64;
        let resting = options
            .resting
            .unwrap_or_else(|| (total / symbols / 50).clamp(10, shape::RESTING))
            .max(2);
        let mut sum = 0;
        let weights = options
            .symbols
            .iter()
            .map(|symbol| {
                sum += u64::from(symbol.weight);
                sum
            })
            .collect();
        let markets = options
            .symbols
            .iter()
            .map(|&symbol| Market { symbol, book: Book::default(), commands: 0, lean: 0 })
            .collect();
        Ok(Synthetic {
            schedule: Schedule::new(options.seed, options.rate, options.seconds, weights),
            random: Random::new(options.seed ^ 0x464C_4F57_464C_4F57),
            markets,
            resting,
            next_order: 1,
            totals: Totals::default(),
        })
    }

    /// Totals up to the last command taken from the iterator.
    pub fn totals(&self) -> Totals {
        self.totals
    }
}

impl Iterator for Synthetic {
    type Item = FlowCommand;

    fn next(&mut self) -> Option<FlowCommand> {
        let (at_ns, index) = self.schedule.next()?;
        let Synthetic { random, markets, resting, next_order, totals, .. } = self;
        let market = &mut markets[usize::from(index)];
        market.commands += 1;
        if random.chance(1, LEAN_COMMANDS) {
            market.lean = random.below(2 * LEAN as u64 + 1) as i64 - LEAN;
        }
        let before = market.book.resting() as u64;
        let mut maker =
            Maker { random, market, target: *resting, next_order, totals, at_ns, symbol: index };
        let command = maker.command();
        let after = market.book.resting() as u64;
        totals.resting = totals.resting + after - before;
        Some(command)
    }
}

/// Makes one command.
struct Maker<'a> {
    random: &'a mut Random,
    market: &'a mut Market,
    target: u64,
    next_order: &'a mut u64,
    totals: &'a mut Totals,
    at_ns: u64,
    symbol: u16,
}

impl Maker<'_> {
    fn command(&mut self) -> FlowCommand {
        let rank = self.random.below(RANKS);
        let made = if rank < shape::IMMEDIATE_RANK {
            self.immediate()
        } else if rank < shape::IMMEDIATE_RANK + shape::REDUCE_RANK {
            self.reduce()
        } else if self.cancel_wanted() {
            self.cancel()
        } else {
            None
        };
        // Nothing to meet, reduce or cancel: the book is being built.
        made.unwrap_or_else(|| self.new_order())
    }

    /// Cancels and new orders keep the balance that holds the book at its size: at the target
    /// both come about equally often, far below nearly all are new, far above nearly all cancel.
    fn cancel_wanted(&mut self) -> bool {
        let resting = self.market.book.resting() as u64;
        // 480.5 of 1,000 in the hour; +- 450 for a book of twice the target, or an empty one.
        let tilt = (resting.min(2 * self.target) * 450) / self.target;
        self.random.chance(30 + tilt, 1_000)
    }

    fn new_order(&mut self) -> FlowCommand {
        let side = self.passive_side();
        let price = self.passive_price(side);
        let quantity = self.shares();
        let order_id = self.take_order_id();
        let order = Resting { order_id, side, price, open: quantity };
        self.market.book.add(self.market.commands, order);
        self.totals.new += 1;
        self.made(FlowOp::New, order, quantity, None)
    }

    fn cancel(&mut self) -> Option<FlowCommand> {
        let (birth, order) = self.some_order()?;
        self.market.book.take(birth, order.open);
        self.totals.cancels += 1;
        Some(self.made(FlowOp::Cancel, order, order.open, None))
    }

    fn reduce(&mut self) -> Option<FlowCommand> {
        let (birth, order) = self.some_order()?;
        // 9 of 10 reductions of the hour took half.
        let lot = self.market.symbol.lot.0;
        let half = order.open / 2 / lot * lot;
        if half == 0 {
            return self.cancel();
        }
        self.market.book.take(birth, half);
        self.totals.reductions += 1;
        Some(self.made(FlowOp::Reduce, order, half, None))
    }

    /// An order that meets the best resting ones, each in full but perhaps the last.
    fn immediate(&mut self) -> Option<FlowCommand> {
        let side = self.aggressive_side();
        let wanted = pick(self.random, shape::SWEEP);
        let partial = self.random.chance(shape::PARTIAL_RANK, RANKS);
        let lot = self.market.symbol.lot.0;
        let met: Vec<_> = self.market.book.queue(side.opposite()).take(wanted as usize).collect();
        let (_, last) = *met.last()?;
        let mut quantity: u32 = 0;
        for (i, &(birth, order)) in met.iter().enumerate() {
            let mut share = order.open;
            if partial && i + 1 == met.len() && order.open > lot {
                // A quarter to three quarters of it, at least a lot.
                let quarters = 1 + self.random.below(3) as u32;
                share = (order.open / 4 * quarters / lot * lot).max(lot);
            }
            quantity += share;
            self.market.book.take(birth, share);
        }
        self.totals.immediate += 1;
        self.totals.executions += met.len() as u64;
        self.totals.executed_shares += u64::from(quantity);
        let expected = if met.len() == 1 { Some(last.order_id) } else { None };
        let order_id = self.take_order_id();
        let order = Resting { order_id, side, price: last.price, open: quantity };
        Some(self.made(FlowOp::Immediate, order, quantity, expected))
    }

    fn made(
        &self,
        op: FlowOp,
        order: Resting,
        quantity: u32,
        expect_resting: Option<u64>,
    ) -> FlowCommand {
        FlowCommand {
            at_ns: self.at_ns,
            symbol: self.symbol,
            op,
            order_id: order.order_id,
            side: order.side,
            price: Price(order.price),
            quantity: Quantity(quantity),
            expect_resting,
        }
    }

    fn take_order_id(&mut self) -> u64 {
        let order_id = *self.next_order;
        *self.next_order += 1;
        order_id
    }

    /// A live order of a measured age; or, the more often the narrower the spread is, one at the
    /// best price of either side (about 18% of the hour's cancels were at the best price).
    fn some_order(&mut self) -> Option<(u64, Resting)> {
        if let Some(spread) = self.spread_ticks() {
            let narrow = shape::SPREAD_TICKS.saturating_sub(spread);
            if self.random.chance(narrow * 6, shape::SPREAD_TICKS * 10) {
                // Quotes are taken away from in front of a moving market.
                let side = self.side(500 - self.market.lean);
                return self.market.book.queue(side).next();
            }
        }
        let age = self.random.draw(shape::CANCEL_AGE);
        self.market.book.born_about(self.market.commands.saturating_sub(age))
    }

    fn spread_ticks(&self) -> Option<u64> {
        let book = &self.market.book;
        let (bid, ask) = (book.best(Side::Buy)?, book.best(Side::Sell)?);
        Some(u64::from((ask - bid) / self.market.symbol.tick.0))
    }

    /// About either side alike, but never let one side fall below a quarter of the target.
    fn passive_side(&mut self) -> Side {
        let floor = (self.target / 4).max(1) as usize;
        let book = &self.market.book;
        let (buys, sells) = (book.count(Side::Buy), book.count(Side::Sell));
        if buys.min(sells) < floor {
            return if buys <= sells { Side::Buy } else { Side::Sell };
        }
        self.side(500 + self.market.lean / 3)
    }

    /// Buy in `buys` of 1,000 cases.
    fn side(&mut self, buys: i64) -> Side {
        if self.random.chance(buys.clamp(0, 1_000) as u64, 1_000) { Side::Buy } else { Side::Sell }
    }

    /// As the market leans; the further it is from its start, the more push back: at half the
    /// band's width as much as the largest lean.
    fn aggressive_side(&mut self) -> Side {
        let SymbolFlow { start, lowest, highest, .. } = self.market.symbol;
        let book = &self.market.book;
        let bid = i64::from(book.best(Side::Buy).unwrap_or(start.0));
        let away = bid - i64::from(start.0);
        let width = i64::from(if away < 0 { start.0 - lowest.0 } else { highest.0 - start.0 });
        let back = (away * 2 * LEAN / width.max(1)).clamp(-LEAN, LEAN);
        self.side(500 + self.market.lean - back)
    }

    /// A price that does not meet the other side, at a measured distance from the own best.
    fn passive_price(&mut self, side: Side) -> u32 {
        let SymbolFlow { start, tick, lowest, highest, .. } = self.market.symbol;
        let (own, other) = (self.market.book.best(side), self.market.book.best(side.opposite()));
        // Everything in ticks, and "up" is towards the other side.
        let tick = i64::from(tick.0);
        let up = if side == Side::Buy { 1 } else { -1 };
        let ticks = |price: u32| i64::from(price) / tick;
        let spread = shape::SPREAD_TICKS as i64;
        let own = match (own, other) {
            (Some(own), _) => ticks(own),
            (None, Some(other)) => ticks(other) - up * spread,
            (None, None) => ticks(start.0) - up * spread / 2,
        };
        let room = match other {
            Some(other) => (ticks(other) - own) * up,
            None => spread,
        };
        let rank = self.random.below(RANKS);
        // The narrower the spread, the less there is to gain by improving: without that, spreads
        // fall to one tick and stay there.
        let worth = self.random.chance(room.max(0) as u64, shape::SPREAD_TICKS);
        let forward = if rank < shape::IMPROVE_RANK && worth {
            let share = self.random.draw(shape::IMPROVE_PERMILLE) as i64;
            (room * share / 1_000).max(1).min(room - 1)
        } else if rank < shape::IMPROVE_RANK + shape::JOIN_RANK {
            0
        } else {
            -(self.random.draw(shape::BEHIND_TICKS) as i64)
        };
        let (lowest, highest) = (ticks(lowest.0), ticks(highest.0));
        let wished = (own + forward * up).clamp(lowest, highest);
        // At the edge of the band the clamp may have met the other side.
        let safe = match other {
            Some(other) if side == Side::Buy => wished.min(ticks(other) - 1),
            Some(other) => wished.max(ticks(other) + 1),
            None => wished,
        };
        (safe.clamp(1, i64::from(Price::MAX.0) / tick) * tick) as u32
    }

    /// Shares of a new order, a multiple of the lot.
    fn shares(&mut self) -> u32 {
        let listed: u64 = shape::SHARES.iter().map(|&(weight, _)| weight).sum();
        let shares = if self.random.chance(listed, RANKS) {
            pick(self.random, shape::SHARES)
        } else {
            self.random.draw(shape::OTHER_SHARES)
        };
        (shares as u32).next_multiple_of(self.market.symbol.lot.0)
    }
}

/// One of the values, by weight.
fn pick(random: &mut Random, weighted: &[(u64, u64)]) -> u64 {
    let total = weighted.iter().map(|&(weight, _)| weight).sum();
    let mut at = random.below(total);
    for &(weight, value) in weighted {
        if at < weight {
            return value;
        }
        at -= weight;
    }
    unreachable!("the weights add up to their sum")
}

#[cfg(test)]
#[path = "synthetic_tests.rs"]
mod tests;
