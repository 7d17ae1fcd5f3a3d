//! The order manager: new orders, replaces and cancels, from the message to the last event.
//!
//! Consumes messages of a bound session whose sequence was handled; changes books, wallet, index and
//! session lists together, and emits what happened. The order of the steps is the order of the events
//! in `exchange.md`. Each is O(1) plus O(1) per match.

use super::arena::{Order, order_ref};
use super::command::{Cancel, Enter, Mode, Phase, Replace};
use super::event::*;
use super::order_book::Match;
use super::output::Output;
use super::risk::{self, Limit, Terms};
use super::state::State;
use super::state_hash::order_key;
use crate::planted::{self, Bug};
use crate::types::*;

/// An accepted order while it is worked.
struct Incoming {
    slot: u32,
    reference: u32,
    session: SessionSlot,
    urn: Urn,
    symbol: Symbol,
    capacity: u8,
    cross: u8,
    /// Executed in the chain before it.
    executed: Quantity,
    terms: Terms,
}

impl Incoming {
    #[inline(always)]
    fn order_ref(&self) -> OrderRef {
        order_ref(self.reference, self.slot)
    }

    /// Canceled for `decrement` shares that never rested.
    fn dropped(&self, decrement: Quantity, reason: CancelReason) -> Canceled {
        Canceled {
            order_ref: self.order_ref(),
            urn: self.urn,
            decrement,
            leaves: Quantity(0),
            locate: self.terms.locate,
            account: self.terms.account,
            side: self.terms.side,
            reason: reason as u8,
            was_resting: 0,
            zero: 0,
        }
    }
}

/// Price as entered: 0x7FFFFFFF for a market order.
#[inline(always)]
fn entered_price(limit: Limit) -> Price {
    match limit {
        Limit::Price(price, _) => price,
        Limit::Protected(..) | Limit::NoOpposite => Price::MARKET,
    }
}

/// A new order whose reference is above the last and consumed.
#[inline(always)]
pub(super) fn enter<S: EventSink>(
    state: &mut State,
    out: &mut Output<'_, S>,
    session: SessionSlot,
    m: &Enter,
) {
    let terms = match risk::check_enter(state, out.sessions.row(session), m) {
        Ok(terms) => terms,
        Err(reason) => return reject(out, session, m.urn, reason, m.cl_ord_id),
    };
    let slot = state.books.arena.take().expect("capacity was checked");
    let reference = state.books.next_reference();
    let on_book = terms.day && !terms.crosses;
    state.wallet.accept(terms.account, terms.locate, terms.quantity);
    let accepted = Accepted {
        order_ref: order_ref(reference, slot),
        urn: m.urn,
        quantity: terms.quantity,
        price: entered_price(terms.limit),
        locate: terms.locate,
        account: terms.account,
        symbol: m.symbol,
        cl_ord_id: m.cl_ord_id,
        side: terms.side,
        tif: m.tif,
        display: m.display,
        capacity: m.capacity,
        iso: m.iso,
        cross: m.cross,
        state: b'L',
        on_book: on_book as u8,
        flags: m.flags,
        zero: 0,
        account_name: m.account,
        min_quantity: m.min_quantity,
    };
    out.report(session, on_book, accepted);
    let incoming = Incoming {
        slot,
        reference,
        session,
        urn: m.urn,
        symbol: m.symbol,
        capacity: m.capacity,
        cross: m.cross,
        executed: Quantity(0),
        terms,
    };
    work(state, out, &incoming);
}

/// Matches an accepted order and rests or drops what is left.
#[inline(always)]
fn work<S: EventSink>(state: &mut State, out: &mut Output<'_, S>, incoming: &Incoming) {
    let terms = &incoming.terms;
    if !terms.crosses && terms.day {
        return rest(state, out, incoming, terms.quantity);
    }
    let quantity = terms.quantity;
    let left = match terms.limit {
        Limit::Price(_, level) | Limit::Protected(_, level) if terms.crosses => {
            let some_do = planted::is(Bug::FillOrKillInPart);
            if terms.fill_or_kill && !some_do && !available(state, terms, level) {
                return discard(state, out, incoming, quantity, CancelReason::Immediate);
            }
            execute(state, out, incoming, level)
        }
        _ => quantity,
    };
    if left.0 == 0 {
        state.books.arena.give_back(incoming.slot);
    } else if terms.day {
        rest(state, out, incoming, left);
        out.public(Rested {
            order_ref: incoming.order_ref(),
            price: entered_price(terms.limit),
            quantity: left,
            symbol: incoming.symbol,
            locate: terms.locate,
            side: terms.side,
            zero: 0,
        });
    } else if terms.fill_or_kill || matches!(terms.limit, Limit::Price(..)) {
        discard(state, out, incoming, left, CancelReason::Immediate);
    } else {
        discard(state, out, incoming, left, CancelReason::Collar);
    }
}

/// Fill or kill: can all of it trade?
#[inline(never)]
fn available(state: &State, terms: &Terms, level: u32) -> bool {
    let book = state.books.book(terms.locate).expect("locate was checked");
    book.available(terms.side, level, terms.quantity)
}

/// Matches up to `level`; emits both executions of each match; returns the shares left.
#[inline(always)]
fn execute<S: EventSink>(
    state: &mut State,
    out: &mut Output<'_, S>,
    incoming: &Incoming,
    level: u32,
) -> Quantity {
    let State { books, wallet, index, orders_sum, .. } = state;
    let Terms { locate, account, side, quantity, .. } = incoming.terms;
    let mut open = quantity;
    let mut paid = Notional(0);
    let left = books.take(locate, side, level, quantity, |arena, m: Match| {
        let cash = m.price.times(m.quantity);
        open.0 -= m.quantity.0;
        paid.0 += cash.0;
        let maker = arena.order_mut(m.slot);
        maker.executed.0 += m.quantity.0;
        let maker = *maker;
        let maker_ref = maker.order_ref(m.slot);
        let key = order_key(maker_ref);
        *orders_sum = orders_sum.wrapping_sub(key.wrapping_mul(m.quantity.0 as u64));
        wallet.settle_maker(maker.account, locate, maker.side, m.quantity, cash);
        if m.leaves.0 == 0 {
            index.remove(maker.session, maker.urn, m.slot);
            out.sessions.unlink(arena, m.slot);
        }
        let match_number = out.next_match();
        let maker_executed = Executed {
            order_ref: maker_ref,
            match_number,
            urn: maker.urn,
            quantity: m.quantity,
            price: m.price,
            leaves: m.leaves,
            locate,
            account: maker.account,
            side: maker.side,
            liquidity: b'A',
            zero: [0; 2],
        };
        out.report(maker.session, true, maker_executed);
        let taker_executed = Executed {
            order_ref: incoming.order_ref(),
            urn: incoming.urn,
            leaves: open,
            account,
            side,
            liquidity: b'R',
            ..maker_executed
        };
        out.report(incoming.session, false, taker_executed);
    });
    let traded = Quantity(quantity.0 - left.0);
    wallet.settle_taker(account, locate, side, traded, paid);
    left
}

/// Puts what is left of a day order into its book, the index and its session's list.
#[inline(always)]
fn rest<S: EventSink>(
    state: &mut State,
    out: &mut Output<'_, S>,
    incoming: &Incoming,
    open: Quantity,
) {
    let Terms { locate, account, side, quantity, limit, .. } = incoming.terms;
    let Limit::Price(price, level) = limit else { unreachable!("only limit orders rest") };
    let mut order = Order::new(locate, side, price, open);
    order.level = level;
    order.urn = incoming.urn;
    order.session = incoming.session;
    order.account = account;
    order.capacity = incoming.capacity;
    order.cross = incoming.cross;
    order.executed = Quantity(incoming.executed.0 + quantity.0 - open.0);
    order.reference = incoming.reference;
    state.wallet.hold(account, locate, side, price, open);
    state.index.insert(incoming.session, incoming.urn, incoming.slot);
    let key = order_key(incoming.order_ref());
    state.orders_sum = state.orders_sum.wrapping_add(key.wrapping_mul(open.0 as u64));
    state.books.rest(incoming.slot, order);
    out.sessions.link(&mut state.books.arena, incoming.slot);
}

/// Ends an accepted order that does not rest: its last shares are canceled, its slot is free.
#[inline(always)]
fn discard<S: EventSink>(
    state: &mut State,
    out: &mut Output<'_, S>,
    incoming: &Incoming,
    left: Quantity,
    reason: CancelReason,
) {
    state.wallet.drop_open(incoming.terms.account, incoming.terms.locate, left);
    state.books.arena.give_back(incoming.slot);
    out.report(incoming.session, false, incoming.dropped(left, reason));
}

/// A replace: one of four outcomes (`exchange.md`).
#[inline(always)]
pub(super) fn replace<S: EventSink>(
    state: &mut State,
    out: &mut Output<'_, S>,
    session: SessionSlot,
    m: &Replace,
) {
    let row = out.sessions.row_mut(session);
    let live = state.index.get(&state.books.arena, session, m.old_urn);
    let Some(old_slot) = live.filter(|_| m.urn > row.last_urn) else { return };
    let old = *state.books.arena.order(old_slot);
    let refused = if row.entry_closed {
        Some(RejectReason::DestinationClosed)
    } else if state.market.phase != Phase::Open || state.market.symbol(old.locate).halted {
        Some(RejectReason::ReplaceNotAllowed)
    } else {
        state.market.mode.refuses()
    };
    if let Some(reason) = refused {
        row.last_urn = m.urn;
        return reject(out, session, m.urn, reason, m.cl_ord_id);
    }
    let Ok(terms) = risk::check_replace(state, &old, m) else {
        return cancel_all(state, out, old_slot, CancelReason::User);
    };
    out.sessions.row_mut(session).last_urn = m.urn;
    unrest(state, out, old_slot, &old);
    let slot = state.books.arena.take().expect("the old order's slot is free");
    let reference = state.books.next_reference();
    let on_book = terms.day && !terms.crosses;
    let symbol = state.market.symbol(terms.locate).spec.symbol;
    state.wallet.accept(terms.account, terms.locate, terms.quantity);
    let replaced = Replaced {
        old_ref: old.order_ref(old_slot),
        order_ref: order_ref(reference, slot),
        old_urn: m.old_urn,
        urn: m.urn,
        quantity: terms.quantity,
        price: entered_price(terms.limit),
        locate: terms.locate,
        account: terms.account,
        symbol,
        cl_ord_id: m.cl_ord_id,
        side: terms.side,
        tif: m.tif,
        display: m.display,
        capacity: old.capacity,
        iso: m.iso,
        cross: old.cross,
        state: b'L',
        on_book: on_book as u8,
        zero: [0; 2],
    };
    // On the feed either way: U, or D of the old order.
    out.report(session, true, replaced);
    let incoming = Incoming {
        slot,
        reference,
        session,
        urn: m.urn,
        symbol,
        capacity: old.capacity,
        cross: old.cross,
        executed: old.executed,
        terms,
    };
    work(state, out, &incoming);
}

/// A cancel: down to the open shares that the client wants to keep.
#[inline(always)]
pub(super) fn cancel<S: EventSink>(
    state: &mut State,
    out: &mut Output<'_, S>,
    session: SessionSlot,
    m: &Cancel,
) {
    let Some(slot) = state.index.get(&state.books.arena, session, m.urn) else { return };
    let order = *state.books.arena.order(slot);
    let keep = m.quantity.0.saturating_sub(order.executed.0);
    if keep >= order.open.0 {
        return;
    }
    if state.market.mode == Mode::Halt {
        return out.report(session, false, CancelRefused { urn: m.urn });
    }
    if keep == 0 {
        return cancel_all(state, out, slot, CancelReason::User);
    }
    let by = Quantity(order.open.0 - keep);
    let freed = if planted::is(Bug::CancelReleasesAll) { order.open } else { by };
    state.wallet.release(order.account, order.locate, order.side, order.price, freed);
    let key = order_key(order.order_ref(slot));
    state.orders_sum = state.orders_sum.wrapping_sub(key.wrapping_mul(by.0 as u64));
    state.books.reduce(slot, by);
    let canceled = canceled(&order, slot, by, Quantity(keep), CancelReason::User);
    out.report(session, true, canceled);
}

/// A throttled replace: the old order is canceled if it is live; in a halt it is refused like a cancel.
pub(super) fn cancel_replaced<S: EventSink>(
    state: &mut State,
    out: &mut Output<'_, S>,
    session: SessionSlot,
    m: &Replace,
) {
    let Some(slot) = state.index.get(&state.books.arena, session, m.old_urn) else { return };
    if state.market.mode == Mode::Halt {
        return out.report(session, false, CancelRefused { urn: m.old_urn });
    }
    cancel_all(state, out, slot, CancelReason::System);
}

/// Cancels all of a resting order and says so.
#[inline]
pub(super) fn cancel_all<S: EventSink>(
    state: &mut State,
    out: &mut Output<'_, S>,
    slot: u32,
    reason: CancelReason,
) {
    let order = *state.books.arena.order(slot);
    unrest(state, out, slot, &order);
    let canceled = canceled(&order, slot, order.open, Quantity(0), reason);
    out.report(order.session, true, canceled);
}

/// Takes a resting order out of everything and frees its slot. `order` is a copy of it.
#[inline(always)]
fn unrest<S: EventSink>(state: &mut State, out: &mut Output<'_, S>, slot: u32, order: &Order) {
    state.wallet.release(order.account, order.locate, order.side, order.price, order.open);
    state.index.remove(order.session, order.urn, slot);
    out.sessions.unlink(&mut state.books.arena, slot);
    let key = order_key(order.order_ref(slot));
    state.orders_sum = state.orders_sum.wrapping_sub(key.wrapping_mul(order.open.0 as u64));
    state.books.remove(slot);
    state.books.arena.give_back(slot);
}

#[inline(always)]
fn canceled(
    order: &Order,
    slot: u32,
    decrement: Quantity,
    leaves: Quantity,
    reason: CancelReason,
) -> Canceled {
    Canceled {
        order_ref: order.order_ref(slot),
        urn: order.urn,
        decrement,
        leaves,
        locate: order.locate,
        account: order.account,
        side: order.side,
        reason: reason as u8,
        was_resting: 1,
        zero: 0,
    }
}

/// Refuses a message whose reference is consumed by it.
#[inline(never)]
pub(super) fn reject<S: EventSink>(
    out: &mut Output<'_, S>,
    session: SessionSlot,
    urn: Urn,
    reason: RejectReason,
    cl_ord_id: ClOrdId,
) {
    out.report(session, false, Rejected { urn, reason: reason as u16, cl_ord_id });
}
