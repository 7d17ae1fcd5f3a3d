//! Draws a stream: books held near a target size around a slowly walking middle.
//!
//! Per symbol (drawn with weight 1/rank) mostly passive orders and cancels in balance, some replaces,
//! cancels that come too late, and orders that cross. Passive prices lie `scale * x / (1 - x)` from the
//! middle, x uniform: dense near the touch with a long thin tail. Half of the victims of cancel and
//! replace are among the newest orders. The order of the draws is part of the format: the same
//! recipe gives the same bytes, here and in any other generator of such streams.

use super::random::Random;
use super::reference::Reference;
use super::{Action, Kind, Step, Stream};

/// Where the middle of every symbol starts, in ticks.
const MIDDLE: i64 = 20_000;
/// How far it walks from there.
const WALK_MAX: i64 = 2_000;
/// How many of the newest orders count as recent; also how many finished ids are remembered.
const RECENT: usize = 64;
/// A book of this few orders is not cancelled from.
const BOOK_MIN: usize = 10;
/// From this quantity on an order is a sweep and reaches far.
const SWEEP: u32 = 500;

// Shares of the commands in per mille, in the order in which they are tried; fill or kill comes from the
// recipe, and what is left is shared by passive orders and cancels.
const IMMEDIATE: u64 = 30;
const MARKET: u64 = 5;
const CROSSING: u64 = 75;
const REPLACE: u64 = 50;
const LATE_CANCEL: u64 = 10;

/// What a stream is drawn from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recipe {
    /// Seed of every choice.
    pub seed: u64,
    /// Symbols.
    pub symbols: u32,
    /// Orders that rest before the timed part, over all symbols (at least 20 in each).
    pub resting: u64,
    /// Timed commands.
    pub timed: u64,
    /// Owners.
    pub owners: u32,
    /// Scale of the distance from the middle, in ticks.
    pub scale: u64,
    /// Largest distance from the middle, in ticks.
    pub distance_max: u64,
    /// Replaces that only take quantity away, per mille.
    pub quantity_down: u64,
    /// Fill-or-kill orders, per mille of the commands.
    pub fok: u64,
}

impl Default for Recipe {
    fn default() -> Recipe {
        Recipe {
            seed: 1,
            symbols: 1,
            resting: 1_000,
            timed: 3_000_000,
            owners: 1_000,
            scale: 60,
            distance_max: 4_000,
            quantity_down: 0,
            fok: 0,
        }
    }
}

/// What a timed command is going to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    Passive,
    Cross(Kind),
    Cancel,
    LateCancel,
    Replace,
}

struct Generator<'a> {
    recipe: &'a Recipe,
    random: Random,
    book: Reference,
    /// By symbol.
    middle: Vec<i64>,
    /// By symbol: resting orders wanted.
    target: Vec<usize>,
    /// By symbol: ids that finished lately.
    finished: Vec<Vec<u32>>,
    steps: Vec<Step>,
    next_id: u32,
}

/// Draws the stream of a recipe. Cost: seconds and about 100 bytes per command.
pub fn generate(recipe: &Recipe) -> Stream {
    let symbols = recipe.symbols as usize;
    let weights: Vec<u64> = (1..=u64::from(recipe.symbols)).map(|rank| 1_000_000 / rank).collect();
    let total: u64 = weights.iter().sum();
    let target = weights.iter().map(|w| (recipe.resting * w / total).max(20) as usize).collect();
    let ids = recipe.resting * 2 + recipe.timed + 64 * u64::from(recipe.symbols);
    let mut generator = Generator {
        recipe,
        random: Random::seeded(recipe.seed),
        book: Reference::new(symbols, ids as usize),
        middle: vec![MIDDLE; symbols],
        target,
        finished: vec![Vec::new(); symbols],
        steps: Vec::new(),
        next_id: 1,
    };
    generator.prefill();
    let prefill = generator.steps.len();
    for _ in 0..recipe.timed {
        let mut at = generator.random.below(total);
        let symbol = weights.iter().position(|&weight| {
            let here = at < weight;
            at = at.wrapping_sub(weight);
            here
        });
        generator.timed(symbol.unwrap_or(0) as u16);
    }
    let prices = || generator.steps.iter().map(|s| s.price).filter(|&p| p > 0);
    let (price_min, price_max) = (prices().min().unwrap_or(0), prices().max().unwrap_or(0));
    Stream {
        seed: recipe.seed,
        symbols: recipe.symbols,
        owners: recipe.owners,
        price_min,
        price_max,
        id_max: generator.next_id - 1,
        prefill,
        steps: generator.steps,
    }
}

impl Generator<'_> {
    /// Passive orders until every book has its target, symbols shuffled.
    fn prefill(&mut self) {
        let mut order: Vec<u16> = Vec::new();
        for (symbol, &count) in self.target.iter().enumerate() {
            order.resize(order.len() + count, symbol as u16);
        }
        for last in (1..order.len()).rev() {
            let other = self.random.below(last as u64 + 1) as usize;
            order.swap(last, other);
        }
        for symbol in order {
            let sell = self.random.coin();
            let price = self.passive_price(symbol, sell);
            let quantity = self.lots();
            let step = self.new_order(symbol, sell, Kind::Limit, price, quantity);
            self.push(Step { prefill: true, ..step });
        }
    }

    fn timed(&mut self, symbol: u16) {
        let s = symbol as usize;
        if self.random.below(64) == 0 {
            let step = if self.random.coin() { -1 } else { 1 };
            let walked = self.middle[s] + step;
            self.middle[s] = walked.clamp(MIDDLE - WALK_MAX, MIDDLE + WALK_MAX);
        }
        let sell = self.random.coin();
        let choice = self.choose(symbol, sell);
        let step = match choice {
            Choice::Passive => {
                let quantity = self.lots();
                let owner = self.owner(sell);
                let price = self.passive_price(symbol, sell);
                self.take_id(symbol, sell, Kind::Limit, price, quantity, owner)
            }
            Choice::Cross(kind) => self.crossing(symbol, sell, kind),
            Choice::Cancel | Choice::Replace => self.change(symbol, choice),
            Choice::LateCancel => {
                let ids = &self.finished[s];
                let id = ids[self.random.below(ids.len() as u64) as usize];
                let owner = self.book.known(id).owner;
                let sell = owner & 1 == 1;
                Step {
                    action: Action::Cancel,
                    sell,
                    prefill: false,
                    symbol,
                    id,
                    price: 0,
                    quantity: 0,
                    owner,
                }
            }
        };
        self.push(step);
        let ends = match choice {
            Choice::Passive | Choice::Cross(_) => self.book.known(step.id).open == 0,
            Choice::Cancel => true,
            Choice::LateCancel | Choice::Replace => false,
        };
        if ends {
            let ids = &mut self.finished[s];
            if ids.len() < RECENT {
                ids.push(step.id);
            } else {
                ids[self.random.below(RECENT as u64) as usize] = step.id;
            }
        }
    }

    fn choose(&mut self, symbol: u16, sell: bool) -> Choice {
        let s = symbol as usize;
        let live = self.book.resting(symbol).len();
        let dice = self.random.below(1000);
        let aggressive = IMMEDIATE + MARKET + self.recipe.fok + CROSSING;
        if dice < aggressive && self.book.best(symbol, !sell).is_some() {
            return Choice::Cross(if dice < IMMEDIATE {
                Kind::Immediate
            } else if dice < IMMEDIATE + MARKET {
                Kind::Market
            } else if dice < IMMEDIATE + MARKET + self.recipe.fok {
                Kind::FillOrKill
            } else {
                Kind::Limit
            });
        }
        if dice < aggressive + REPLACE && live > BOOK_MIN {
            return Choice::Replace;
        }
        if dice < aggressive + REPLACE + LATE_CANCEL && !self.finished[s].is_empty() {
            return Choice::LateCancel;
        }
        // Passive orders also make up for what trades take; the further from the target, the more.
        let target = self.target[s];
        let slack = target / 50;
        let passive = match live {
            n if n > target + slack => 30,
            n if n + slack < target => 80,
            _ => 55,
        };
        let passive = self.random.below(100) < passive;
        if passive || live <= BOOK_MIN { Choice::Passive } else { Choice::Cancel }
    }

    /// An order that meets the other side: a few ticks through, or a sweep.
    fn crossing(&mut self, symbol: u16, sell: bool, kind: Kind) -> Step {
        let mut quantity = self.lots();
        let owner = self.owner(sell);
        if self.random.below(50) == 0 {
            quantity = SWEEP + self.random.below(u64::from(SWEEP)) as u32;
        }
        let reach = if quantity >= SWEEP { 200 } else { self.random.below(4) as u32 };
        let best = self.book.best(symbol, !sell).unwrap_or(0);
        let price = match kind {
            Kind::Market => 0,
            _ if sell => best - reach,
            _ => best + reach,
        };
        self.take_id(symbol, sell, kind, price, quantity, owner)
    }

    /// A cancel or replace of a resting order.
    fn change(&mut self, symbol: u16, choice: Choice) -> Step {
        let live = self.book.resting(symbol).len() as u64;
        let place = if self.random.coin() {
            self.random.below(live)
        } else {
            live - 1 - self.random.below(live.min(RECENT as u64))
        };
        let id = self.book.resting(symbol)[place as usize];
        let old = *self.book.known(id);
        let mut step = Step {
            action: Action::Cancel,
            sell: old.sell,
            prefill: false,
            symbol,
            id,
            price: old.price,
            quantity: 0,
            owner: old.owner,
        };
        if choice == Choice::Replace {
            step.action = Action::Replace;
            let down = self.random.below(1000) < self.recipe.quantity_down && old.open > 1;
            if down {
                step.quantity = 1 + self.random.below(u64::from(old.open) - 1) as u32;
            } else {
                step.quantity = self.lots();
                step.price = self.passive_price(symbol, old.sell);
                // Never the same price with more shares: engines differ on what that does to the place.
                if step.price == old.price {
                    step.price = if old.sell { old.price + 1 } else { old.price - 1 };
                }
            }
        }
        step
    }

    /// A price that does not cross.
    fn passive_price(&mut self, symbol: u16, sell: bool) -> u32 {
        let x = self.random.half();
        let far = self.recipe.scale * x / ((1 << 32) - x);
        // The tail ends on 64 prices, not on one.
        let away = far.min(self.recipe.distance_max - 1 - (x & 63)) as i64;
        let middle = self.middle[symbol as usize];
        let best = self.book.best(symbol, !sell);
        if sell {
            let price = (middle + 1 + away) as u32;
            best.map_or(price, |bid| price.max(bid + 1))
        } else {
            let price = (middle - 1 - away) as u32;
            best.map_or(price, |offer| price.min(offer - 1))
        }
    }

    /// An ordinary quantity.
    fn lots(&mut self) -> u32 {
        1 + self.random.below(100) as u32
    }

    fn owner(&mut self, sell: bool) -> u32 {
        let pair = self.random.below(u64::from(self.recipe.owners) / 2) as u32;
        2 * pair + u32::from(sell)
    }

    fn new_order(
        &mut self,
        symbol: u16,
        sell: bool,
        kind: Kind,
        price: u32,
        quantity: u32,
    ) -> Step {
        let owner = self.owner(sell);
        self.take_id(symbol, sell, kind, price, quantity, owner)
    }

    fn take_id(
        &mut self,
        symbol: u16,
        sell: bool,
        kind: Kind,
        price: u32,
        quantity: u32,
        owner: u32,
    ) -> Step {
        let id = self.next_id;
        self.next_id += 1;
        let action = Action::New(kind);
        Step { action, sell, prefill: false, symbol, id, price, quantity, owner }
    }

    fn push(&mut self, step: Step) {
        self.book.apply(&step, |_| {});
        self.steps.push(step);
    }
}
