//! The checks before an order is accepted, in the order of `exchange.md`.
//!
//! Consumes what a client sent, the symbol's rules, the account's limits and balances; produces the
//! terms of a good order, or the first reason against it. Changes nothing. O(1).

use super::arena::Order;
use super::command::{self, Enter, Phase, Replace};
use super::genesis::SymbolSpec;
use super::order_book::OrderBook;
use super::session::Session;
use super::state::State;
use crate::types::*;

/// Orders of this many shares and more are refused. Source: OUCH 5.0, Enter Order, Quantity.
pub(super) const QUANTITY_END: u32 = 1_000_000;
/// Time in force: day.
pub(super) const DAY: u8 = b'0';
/// Time in force: immediate or cancel.
pub(super) const IOC: u8 = b'3';

/// How far an order may trade.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Limit {
    /// A limit price and its level.
    Price(Price, u32),
    /// Market: the protection price, and the last level that it reaches.
    Protected(Price, u32),
    /// Market, and nothing to trade with.
    NoOpposite,
}

impl Limit {
    /// Price to reckon notional and funds with, if there is one.
    fn price(self) -> Option<Price> {
        match self {
            Limit::Price(price, _) | Limit::Protected(price, _) => Some(price),
            Limit::NoOpposite => None,
        }
    }
}

/// Terms of an order that passed every check.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) locate: Locate,
    pub(super) account: AccountSlot,
    pub(super) side: Side,
    pub(super) quantity: Quantity,
    pub(super) limit: Limit,
    /// What does not trade rests.
    pub(super) day: bool,
    /// All or nothing.
    pub(super) fill_or_kill: bool,
    /// It trades at once, with somebody.
    pub(super) crosses: bool,
}

/// Checks a new order; `Err` is the reason of Rejected.
#[inline(always)]
pub(super) fn check_enter(
    state: &State,
    session: &Session,
    m: &Enter,
) -> Result<Terms, RejectReason> {
    use RejectReason as R;
    if session.entry_closed || state.market.phase != Phase::Open {
        return Err(R::DestinationClosed);
    }
    if let Some(reason) = state.market.mode.refuses() {
        return Err(reason);
    }
    let locate = state.market.locate(m.symbol).ok_or(R::Symbol)?;
    let symbol = state.market.symbol(locate);
    if symbol.halted {
        return Err(R::Halted);
    }
    let spec = &symbol.spec;
    let side = Side::from_letter(m.side).ok_or(R::Side)?;
    if !matches!(m.display, b'Y' | b'N') {
        return Err(R::Display);
    }
    if !matches!(m.capacity, b'A' | b'P' | b'R' | b'O') {
        return Err(R::Other);
    }
    if m.iso != b'N' || m.cross != b'N' || !matches!(m.tif, DAY | IOC) {
        return Err(R::OrderType);
    }
    if !good_quantity(m.quantity, spec) {
        return Err(R::Quantity);
    }
    let fill_or_kill = m.flags & command::FLAG_MIN_QUANTITY != 0 && m.min_quantity.0 != 0;
    if fill_or_kill && (m.tif != IOC || m.min_quantity != m.quantity) {
        return Err(R::OrderType);
    }
    let book = state.books.book(locate).ok_or(R::Symbol)?;
    let limit = check_price(book, spec, side, m.price, m.tif)?;
    let account = if m.flags & command::FLAG_ACCOUNT == 0 {
        session.default_account
    } else {
        let account = state.market.account(m.account).ok_or(R::FirmNotAuthorised)?;
        if state.wallet.firm(account) != session.firm {
            return Err(R::FirmNotAuthorised);
        }
        account
    };
    let day = m.tif == DAY;
    let crosses = crosses(book, side, limit);
    let quantity = m.quantity;
    let terms = Terms { locate, account, side, quantity, limit, day, fill_or_kill, crosses };
    check_money(state, &terms, None)?;
    // One slot more than orders_max: an order that cannot rest finds one even in a full venue.
    let full = day && state.books.open_orders() >= state.orders_max;
    if full || !has_room(state, book, &terms) {
        return Err(R::ProcessingError);
    }
    Ok(terms)
}

/// Checks a replace of the live order `old`; `Err` cancels it. The old order is still in its book.
#[inline(always)]
pub(super) fn check_replace(
    state: &State,
    old: &Order,
    m: &Replace,
) -> Result<Terms, RejectReason> {
    use RejectReason as R;
    let (locate, side, account) = (old.locate, old.side, old.account);
    let spec = &state.market.symbol(locate).spec;
    if !matches!(m.display, b'Y' | b'N') {
        return Err(R::Display);
    }
    if m.iso != b'N' || !matches!(m.tif, DAY | IOC) {
        return Err(R::OrderType);
    }
    if m.quantity.0 >= QUANTITY_END || m.quantity <= old.executed {
        return Err(R::Quantity);
    }
    let quantity = Quantity(m.quantity.0 - old.executed.0);
    if !good_quantity(quantity, spec) {
        return Err(R::Quantity);
    }
    let book = state.books.book(locate).ok_or(R::Symbol)?;
    let limit = check_price(book, spec, side, m.price, m.tif)?;
    let day = m.tif == DAY;
    let crosses = crosses(book, side, limit);
    let terms = Terms { locate, account, side, quantity, limit, day, fill_or_kill: false, crosses };
    check_money(state, &terms, Some(old))?;
    if !has_room(state, book, &terms) {
        return Err(R::ProcessingError);
    }
    Ok(terms)
}

#[inline(always)]
fn good_quantity(quantity: Quantity, spec: &SymbolSpec) -> bool {
    // Most lots are 1: spare the division.
    (1..QUANTITY_END).contains(&quantity.0)
        && (spec.lot == 1 || quantity.0.is_multiple_of(spec.lot))
}

/// Checks 10: the price itself. `price` is the 8 bytes of the wire.
#[inline(always)]
fn check_price(
    book: &OrderBook,
    spec: &SymbolSpec,
    side: Side,
    price: u64,
    tif: u8,
) -> Result<Limit, RejectReason> {
    if price == Price::MARKET.0 as u64 {
        if tif != IOC {
            return Err(RejectReason::Price);
        }
        return Ok(protection(book, spec, side));
    }
    if price == 0 || price > Price::MAX.0 as u64 {
        return Err(RejectReason::Price);
    }
    let price = Price(price as u32); // at most Price::MAX
    let level = price.0 / spec.tick;
    if level * spec.tick != price.0 {
        return Err(RejectReason::Price);
    }
    if !(spec.price_min..=spec.price_max).contains(&price) {
        return Err(RejectReason::FatFinger);
    }
    Ok(Limit::Price(price, level))
}

/// How far a market order may trade: a distance from the best opposite price, inside the band.
#[inline(never)]
fn protection(book: &OrderBook, spec: &SymbolSpec, side: Side) -> Limit {
    let Some(best) = book.best_level(side.opposite()) else { return Limit::NoOpposite };
    let best = book.price(best);
    match side {
        Side::Buy => {
            let price = best.0.saturating_add(spec.protection).min(spec.price_max.0);
            Limit::Protected(Price(price), price / spec.tick)
        }
        Side::Sell => {
            let price = best.0.saturating_sub(spec.protection).max(spec.price_min.0);
            Limit::Protected(Price(price), price.div_ceil(spec.tick))
        }
    }
}

#[inline(always)]
fn crosses(book: &OrderBook, side: Side, limit: Limit) -> bool {
    match limit {
        Limit::Price(_, level) | Limit::Protected(_, level) => book.crosses(side, level),
        Limit::NoOpposite => false,
    }
}

/// Checks 12 and 13: limits, then funds. A replace frees what `old` held and counted.
#[inline(always)]
fn check_money(state: &State, terms: &Terms, old: Option<&Order>) -> Result<(), RejectReason> {
    use RejectReason as R;
    let Terms { locate, account, side, quantity, .. } = *terms;
    let wallet = &state.wallet;
    let limits = wallet.limits(account);
    let cost = terms.limit.price().map(|price| price.times(quantity));
    if limits.order_quantity_max != 0 && quantity.0 > limits.order_quantity_max {
        return Err(R::SharesThreshold);
    }
    if limits.order_notional_max.0 != 0 && cost.is_some_and(|cost| cost > limits.order_notional_max)
    {
        return Err(R::MaxNotional);
    }
    let freed_shares = old.map_or(0, |old| old.open.0 as u64);
    if limits.day_shares_max != 0 {
        let counted = wallet.day_shares(account, locate) - freed_shares;
        if counted + quantity.0 as u64 > limits.day_shares_max {
            return Err(R::VolumeLimit);
        }
    }
    let enough = match side {
        Side::Buy => {
            let freed_cash = old.map_or(0, |old| old.price.times(old.open).0);
            cost.is_none_or(|cost| wallet.free_cash(account) + freed_cash >= cost.0)
        }
        Side::Sell => wallet.free_shares(account, locate) + freed_shares >= quantity.0 as u64,
    };
    if enough { Ok(()) } else { Err(R::AggregateExposure) }
}

/// Check 14: a page for the price, and a reference left.
#[inline(always)]
fn has_room(state: &State, book: &OrderBook, terms: &Terms) -> bool {
    if state.books.references() == u32::MAX {
        return false;
    }
    match terms.limit {
        Limit::Price(_, level) if terms.day => book.has_room(level),
        _ => true,
    }
}
