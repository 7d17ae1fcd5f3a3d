//! A plain order book, correct first: says what a stream comes to, and draws victims for the generator.
//!
//! Ordered maps of queues, and one record per order id. Replays a stream for the plan that engines need
//! to translate it: how much of an order was executed when it is replaced, and whether it still lived.

use std::collections::{BTreeMap, VecDeque};

use super::digest::{BookTotals, Fill, Outcome};
use super::{Action, Kind, Step, Stream};

/// What is known of an order id.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known {
    /// Symbol.
    pub symbol: u16,
    /// True for an offer.
    pub sell: bool,
    /// Price in ticks.
    pub price: u32,
    /// Shares still open; 0 = not resting.
    pub open: u32,
    /// Shares executed so far, over all replaces.
    pub executed: u32,
    /// Owner.
    pub owner: u32,
    /// Where it stands in its symbol's list of resting orders.
    place: u32,
}

/// Resting ids of one side by price.
type Levels = BTreeMap<u32, VecDeque<u32>>;

/// The books of all symbols.
pub struct Reference {
    /// By symbol: bids, offers.
    books: Vec<[Levels; 2]>,
    /// By symbol: resting ids; a removed one is overwritten by the last, which gives the generator its
    /// "newest" end.
    resting: Vec<Vec<u32>>,
    /// By id.
    known: Vec<Known>,
    live: usize,
}

impl Reference {
    /// Empty books for ids up to `id_max`.
    pub fn new(symbols: usize, id_max: usize) -> Reference {
        Reference {
            books: vec![Default::default(); symbols],
            resting: vec![Vec::new(); symbols],
            known: vec![Known::default(); id_max + 1],
            live: 0,
        }
    }

    /// Resting orders of all symbols.
    pub fn live(&self) -> usize {
        self.live
    }

    /// What is known of an id.
    pub fn known(&self, id: u32) -> &Known {
        &self.known[id as usize]
    }

    /// Resting ids of a symbol.
    pub fn resting(&self, symbol: u16) -> &[u32] {
        &self.resting[symbol as usize]
    }

    /// Best price of a side.
    pub fn best(&self, symbol: u16, sell: bool) -> Option<u32> {
        let levels = &self.books[symbol as usize][sell as usize];
        if sell { levels.keys().next().copied() } else { levels.keys().next_back().copied() }
    }

    /// Applies one step; false when it named an order that does not rest.
    pub fn apply(&mut self, step: &Step, mut on_fill: impl FnMut(Fill)) -> bool {
        if let Action::New(kind) = step.action {
            let order = Known {
                symbol: step.symbol,
                sell: step.sell,
                price: step.price,
                open: step.quantity,
                owner: step.owner,
                ..Known::default()
            };
            self.enter(step.id, order, kind, &mut on_fill);
            return true;
        }
        let old = self.known[step.id as usize];
        if old.open == 0 {
            return false;
        }
        if step.action == Action::Replace && keeps_place(&old, step) {
            self.known[step.id as usize].open = step.quantity;
            return true;
        }
        self.leave(step.id);
        if step.action == Action::Replace {
            let order = Known { price: step.price, open: step.quantity, ..old };
            self.enter(step.id, order, Kind::Limit, &mut on_fill);
        } else {
            self.known[step.id as usize].open = 0;
        }
        true
    }

    /// Trades an order, then rests what is left of a limit order.
    fn enter(&mut self, id: u32, mut order: Known, kind: Kind, on_fill: &mut impl FnMut(Fill)) {
        let reaches = |price: u32| match kind {
            Kind::Market => true,
            _ if order.sell => price >= order.price,
            _ => price <= order.price,
        };
        let wanted = order.open;
        if kind != Kind::FillOrKill || self.within(&order, reaches) >= u64::from(wanted) {
            while let Some(price) = self.best(order.symbol, !order.sell).filter(|&p| reaches(p)) {
                if order.open == 0 {
                    break;
                }
                let maker = self.books[order.symbol as usize][!order.sell as usize][&price][0];
                let resting = &mut self.known[maker as usize];
                let quantity = order.open.min(resting.open);
                let done = quantity == resting.open;
                resting.open -= quantity;
                resting.executed += quantity;
                order.open -= quantity;
                order.executed += quantity;
                if done {
                    self.leave(maker);
                }
                on_fill(Fill { taker: id, maker, price, quantity });
            }
        }
        if kind != Kind::Limit {
            order.open = 0;
        }
        if order.open > 0 {
            let list = &mut self.resting[order.symbol as usize];
            order.place = list.len() as u32;
            list.push(id);
            let levels = &mut self.books[order.symbol as usize][order.sell as usize];
            levels.entry(order.price).or_default().push_back(id);
            self.live += 1;
        }
        self.known[id as usize] = order;
    }

    /// Shares on the other side at prices that `reaches` accepts.
    fn within(&self, order: &Known, reaches: impl Fn(u32) -> bool) -> u64 {
        let levels = &self.books[order.symbol as usize][!order.sell as usize];
        let ids = levels.iter().filter(|(price, _)| reaches(**price)).flat_map(|(_, queue)| queue);
        ids.map(|&id| u64::from(self.known[id as usize].open)).sum()
    }

    /// Takes an id out of its level and its list.
    fn leave(&mut self, id: u32) {
        let order = self.known[id as usize];
        let levels = &mut self.books[order.symbol as usize][order.sell as usize];
        if let Some(queue) = levels.get_mut(&order.price) {
            if let Some(at) = queue.iter().position(|&other| other == id) {
                queue.remove(at);
            }
            if queue.is_empty() {
                levels.remove(&order.price);
            }
        }
        let list = &mut self.resting[order.symbol as usize];
        list.swap_remove(order.place as usize);
        if let Some(&moved) = list.get(order.place as usize) {
            self.known[moved as usize].place = order.place;
        }
        self.live -= 1;
    }

    /// What rests now.
    pub fn book(&self) -> BookTotals {
        let mut totals = BookTotals::default();
        for (symbol, book) in self.books.iter().enumerate() {
            for (side, levels) in book.iter().enumerate() {
                for (&price, queue) in levels {
                    for &id in queue {
                        let open = self.known[id as usize].open;
                        totals.add(symbol as u64, side == 1, price, id, open);
                    }
                }
            }
        }
        totals
    }
}

/// True when a replace leaves the order where it stands in its queue.
fn keeps_place(old: &Known, step: &Step) -> bool {
    step.price == old.price && step.quantity <= old.open
}

/// What an engine's translator has to know about a cancel or replace before it happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Before {
    /// Shares of the order executed so far.
    pub executed: u32,
    /// The order rests.
    pub lives: bool,
    /// The replace leaves it in its place: it only takes shares away.
    pub keeps_place: bool,
}

/// A stream and all that follows from it.
pub struct Plan {
    /// The stream.
    pub stream: Stream,
    /// One per step.
    pub before: Vec<Before>,
    /// What every engine must come to.
    pub expected: Outcome,
    /// Most orders that rested at once.
    pub live_max: usize,
}

impl Plan {
    /// Replays a stream through the reference book.
    pub fn of(stream: Stream) -> Plan {
        let mut reference = Reference::new(stream.symbols as usize, stream.id_max as usize);
        let mut before = Vec::with_capacity(stream.steps.len());
        let mut expected = Outcome::default();
        let mut live_max = 0;
        for (i, step) in stream.steps.iter().enumerate() {
            let known = reference.known(step.id);
            before.push(Before {
                executed: known.executed,
                lives: known.open > 0,
                keeps_place: keeps_place(known, step),
            });
            reference.apply(step, |fill| {
                if i >= stream.prefill {
                    expected.fills.add(fill);
                }
            });
            live_max = live_max.max(reference.live());
        }
        expected.book = reference.book();
        Plan { stream, before, expected, live_max }
    }
}
