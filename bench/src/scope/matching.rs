//! Scope "matching": the bare books. No sessions, funds, limits or events; the engine finds the slot of an
//! order in a dense table of ids, as any user of the layer would.

use rialto::exchange::matching::{Books, Submission};
use rialto::types::*;

use super::{TICK, pages, price, side, slots, symbol};
use crate::measure::Engine;
use crate::stream::digest::{BookTotals, Fill, Outcome, Totals};
use crate::stream::reference::Plan;
use crate::stream::{Action, Kind};

/// No slot.
const NONE: u32 = u32::MAX;

/// A command as the books take it.
pub enum Command {
    /// A new order; `whole` = fill or kill.
    Submit { new: Submission, whole: bool },
    /// Takes an order off.
    Cancel { id: u32 },
    /// Lowers the open shares, in place.
    Reduce { id: u32, open: u32 },
    /// New price and open shares, back of the queue.
    Replace { id: u32, price: Price, open: u32 },
}

/// The books and a table of where each id rests.
pub struct Matching {
    books: Books,
    slot_of: Vec<u32>,
    fills: Vec<Fill>,
}

impl Engine for Matching {
    const SCOPE: &'static str = "matching";
    type Command = Command;

    fn translate(plan: &Plan) -> Vec<Command> {
        let stream = &plan.stream;
        let steps = stream.steps.iter().zip(&plan.before);
        let translated = steps.map(|(step, before)| match step.action {
            Action::New(kind) => {
                let limit = match (kind, step.sell) {
                    (Kind::Market, true) => stream.price_min,
                    (Kind::Market, false) => stream.price_max,
                    _ => step.price,
                };
                let new = Submission {
                    locate: Locate(step.symbol + 1),
                    side: side(step.sell),
                    price: price(limit),
                    quantity: Quantity(step.quantity),
                    tag: Urn(step.id),
                    rests: kind == Kind::Limit,
                };
                Command::Submit { new, whole: kind == Kind::FillOrKill }
            }
            Action::Cancel => Command::Cancel { id: step.id },
            Action::Replace if before.keeps_place => {
                Command::Reduce { id: step.id, open: step.quantity }
            }
            Action::Replace => {
                Command::Replace { id: step.id, price: price(step.price), open: step.quantity }
            }
        });
        translated.collect()
    }

    fn fresh(plan: &Plan) -> Matching {
        let stream = &plan.stream;
        let symbols: Vec<_> = (0..stream.symbols).map(|i| symbol(stream, i)).collect();
        // Written to, so that no page is touched for the first time while the clock runs.
        let mut fills = vec![
            Fill { taker: 1, maker: 1, price: 1, quantity: 1 };
            plan.expected.fills.fills as usize + 1
        ];
        fills.clear();
        Matching {
            books: Books::new(&symbols, slots(plan.live_max), pages(stream)),
            slot_of: std::iter::repeat_n(NONE, stream.id_max as usize + 1).collect(),
            fills,
        }
    }

    #[inline(always)]
    fn apply(&mut self, command: &Command) {
        let Matching { books, slot_of, fills } = self;
        match *command {
            Command::Submit { new, whole } => {
                if whole && !can_fill(books, &new) {
                    return;
                }
                let taker = new.tag.0;
                let done = books.submit(new, |arena, m| {
                    let maker = arena.order(m.slot).urn.0;
                    if m.leaves.0 == 0 {
                        slot_of[maker as usize] = NONE;
                    }
                    fills.push(Fill { taker, maker, price: m.price.0, quantity: m.quantity.0 });
                });
                if let Ok(submitted) = done
                    && let Some(slot) = submitted.resting
                {
                    slot_of[taker as usize] = slot;
                }
            }
            Command::Cancel { id } => {
                let slot = std::mem::replace(&mut slot_of[id as usize], NONE);
                std::hint::black_box(books.cancel(slot));
            }
            Command::Reduce { id, open } => {
                let slot = slot_of[id as usize];
                if let Some(order) = books.arena.get(slot)
                    && order.open.0 > open
                {
                    let by = Quantity(order.open.0 - open);
                    books.reduce(slot, by);
                }
            }
            Command::Replace { id, price, open } => {
                let slot = slot_of[id as usize];
                let done = books.replace(slot, price, Quantity(open), |arena, m| {
                    let maker = arena.order(m.slot).urn.0;
                    if m.leaves.0 == 0 {
                        slot_of[maker as usize] = NONE;
                    }
                    fills.push(Fill { taker: id, maker, price: m.price.0, quantity: m.quantity.0 });
                });
                if let Ok(submitted) = done {
                    slot_of[id as usize] = submitted.resting.unwrap_or(NONE);
                }
            }
        }
    }

    fn start_timed(&mut self) {
        self.fills.clear();
    }

    fn outcome(&self, _plan: &Plan) -> Outcome {
        let mut fills = Totals::default();
        for fill in &self.fills {
            fills.add(Fill { price: fill.price / TICK, ..*fill });
        }
        let mut book = BookTotals::default();
        for order in self.books.resting() {
            let symbol = u64::from(order.locate.0 - 1);
            let sell = order.side == Side::Sell;
            book.add(symbol, sell, order.price.0 / TICK, order.urn.0, order.open.0);
        }
        Outcome { fills, book }
    }
}

/// Whether a fill-or-kill order would be filled.
#[inline(always)]
fn can_fill(books: &Books, new: &Submission) -> bool {
    let Some(book) = books.book(new.locate) else { return false };
    let Some(level) = book.level_of(new.price) else { return false };
    book.available(new.side, level, new.quantity)
}
