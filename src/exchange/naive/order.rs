//! Orders: new, replace and cancel, with every check in the order in which it is answered.

use super::{Naive, Order};
use crate::exchange::command::*;
use crate::exchange::event::{Accepted, CancelRefused, Replaced, Rested};
use crate::exchange::genesis::SymbolSpec;
use crate::types::*;

/// Order quantities stay below this.
const QUANTITY_END: u32 = 1_000_000;
/// Time in force: day.
const TIF_DAY: u8 = b'0';
/// Time in force: immediate or cancel.
const TIF_IOC: u8 = b'3';

/// What kind of order it is, as far as its price decides.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pricing {
    /// Trades at this price or better.
    Limit(u32),
    /// Market order: trades as far as this protection price.
    Market(u32),
    /// Market order with nobody on the other side: there is nothing to measure protection from.
    MarketAlone,
}

/// A new order that has passed all checks, or the new half of a replace.
struct Incoming {
    order: Order,
    pricing: Pricing,
    tif: u8,
    fill_or_kill: bool,
}

impl Naive {
    pub(super) fn on_enter(&mut self, slot: SessionSlot, m: &Enter) {
        if !self.consume(slot, m.urn) {
            return;
        }
        match self.check_enter(slot, m) {
            Err(reason) => self.reject(slot, m.urn, m.cl_ord_id, reason),
            Ok(incoming) => {
                let order_ref = self.take_ref();
                let order = incoming.order;
                let on_book = self.rests_at_once(&incoming) as u8;
                self.report(
                    slot,
                    Accepted {
                        order_ref,
                        urn: m.urn,
                        quantity: m.quantity,
                        price: Price(m.price as u32),
                        locate: order.locate,
                        account: order.account,
                        symbol: m.symbol,
                        cl_ord_id: m.cl_ord_id,
                        side: order.side,
                        tif: m.tif,
                        display: m.display,
                        capacity: m.capacity,
                        iso: m.iso,
                        cross: m.cross,
                        state: b'L',
                        on_book,
                        flags: m.flags,
                        zero: 0,
                        account_name: m.account,
                        min_quantity: m.min_quantity,
                    },
                );
                self.work(order_ref, incoming);
            }
        }
    }

    fn check_enter(&self, slot: SessionSlot, m: &Enter) -> Result<Incoming, RejectReason> {
        use RejectReason as No;
        if self.phase != Phase::Open || self.is_entry_closed(slot) {
            return Err(No::DestinationClosed);
        }
        match self.mode {
            Mode::Normal => {}
            Mode::CancelOnly => return Err(No::CancelsOnly),
            Mode::Halt => return Err(No::Halted),
        }
        let index = self.genesis.symbols.iter().position(|s| s.symbol == m.symbol);
        let index = index.ok_or(No::Symbol)?;
        let locate = Locate(index as u16 + 1);
        if self.halted[index] {
            return Err(No::Halted);
        }
        let side = Side::from_letter(m.side).ok_or(No::Side)?;
        if !matches!(m.display, b'Y' | b'N') {
            return Err(No::Display);
        }
        if !matches!(m.capacity, b'A' | b'P' | b'R' | b'O') {
            return Err(No::Other);
        }
        if m.iso != b'N' || m.cross != b'N' || !matches!(m.tif, TIF_DAY | TIF_IOC) {
            return Err(No::OrderType);
        }
        let spec = self.genesis.symbols[index];
        let quantity = m.quantity.0;
        if quantity == 0 || quantity >= QUANTITY_END || !quantity.is_multiple_of(spec.lot) {
            return Err(No::Quantity);
        }
        let minimum = if m.flags & FLAG_MIN_QUANTITY != 0 { m.min_quantity.0 } else { 0 };
        if minimum != 0 && (m.tif != TIF_IOC || minimum != quantity) {
            return Err(No::OrderType);
        }
        let pricing = self.check_price(&spec, locate, side, m.price, m.tif)?;
        let account = self.check_account(slot, m)?;
        self.check_limits(account, locate, side, quantity, pricing, None)?;
        if m.tif == TIF_DAY && self.orders.len() == self.genesis.capacities.orders_max as usize {
            return Err(No::ProcessingError);
        }
        self.check_capacity(locate, pricing, m.tif)?;
        let order = Order {
            session: slot,
            urn: m.urn,
            account,
            locate,
            side,
            price: Price(pricing.limit()),
            open: quantity,
            executed: 0,
            capacity: m.capacity,
            cross: m.cross,
        };
        Ok(Incoming { order, pricing, tif: m.tif, fill_or_kill: minimum != 0 })
    }

    fn check_price(
        &self,
        spec: &SymbolSpec,
        locate: Locate,
        side: Side,
        price: u64,
        tif: u8,
    ) -> Result<Pricing, RejectReason> {
        let band = spec.price_min.0..=spec.price_max.0;
        if price == u64::from(Price::MARKET.0) {
            if tif != TIF_IOC {
                return Err(RejectReason::Price);
            }
            let Some(best) = self.best_price(locate, side.opposite()) else {
                return Ok(Pricing::MarketAlone);
            };
            let limit = match side {
                Side::Buy => best.saturating_add(spec.protection),
                Side::Sell => best.saturating_sub(spec.protection),
            };
            return Ok(Pricing::Market(limit.clamp(*band.start(), *band.end())));
        }
        if price == 0 || price > u64::from(Price::MAX.0) {
            return Err(RejectReason::Price);
        }
        let price = price as u32;
        if !price.is_multiple_of(spec.tick) {
            return Err(RejectReason::Price);
        }
        if !band.contains(&price) {
            return Err(RejectReason::FatFinger);
        }
        Ok(Pricing::Limit(price))
    }

    fn check_account(&self, slot: SessionSlot, m: &Enter) -> Result<AccountSlot, RejectReason> {
        let session = &self.genesis.sessions[slot.0 as usize];
        if m.flags & FLAG_ACCOUNT == 0 {
            return Ok(session.default_account);
        }
        let accounts = &self.genesis.accounts;
        match accounts.iter().position(|a| a.name == m.account && a.firm == session.firm) {
            Some(index) => Ok(AccountSlot(index as u16)),
            None => Err(RejectReason::FirmNotAuthorised),
        }
    }

    /// Limits and funds of an account, were the order `without` not there.
    fn check_limits(
        &self,
        account: AccountSlot,
        locate: Locate,
        side: Side,
        quantity: u32,
        pricing: Pricing,
        without: Option<OrderRef>,
    ) -> Result<(), RejectReason> {
        let limits = self.genesis.accounts[account.0 as usize].limits;
        let over = |amount: u64, limit: u64| limit != 0 && amount > limit;
        let cost = match pricing {
            Pricing::MarketAlone => None,
            Pricing::Limit(price) | Pricing::Market(price) => {
                Some(u64::from(price) * u64::from(quantity))
            }
        };
        if over(u64::from(quantity), u64::from(limits.order_quantity_max)) {
            return Err(RejectReason::SharesThreshold);
        }
        if cost.is_some_and(|cost| over(cost, limits.order_notional_max.0)) {
            return Err(RejectReason::MaxNotional);
        }
        let counted = self.day_shares(account, locate, without);
        if over(counted + u64::from(quantity), limits.day_shares_max) {
            return Err(RejectReason::VolumeLimit);
        }
        let enough = match side {
            Side::Buy => cost.is_none_or(|cost| self.cash_free(account, without) >= cost),
            Side::Sell => self.shares_free(account, locate, without) >= u64::from(quantity),
        };
        if enough { Ok(()) } else { Err(RejectReason::AggregateExposure) }
    }

    /// Shares executed today and open, one order left out.
    pub(super) fn day_shares(
        &self,
        account: AccountSlot,
        locate: Locate,
        without: Option<OrderRef>,
    ) -> u64 {
        let executed = self.accounts[account.0 as usize].executed[locate.0 as usize - 1];
        let open = self
            .orders
            .iter()
            .filter(|(r, o)| o.account == account && o.locate == locate && Some(**r) != without)
            .map(|(_, o)| u64::from(o.open));
        executed + open.sum::<u64>()
    }

    /// Price page and reference; the old order of a replace still stands in its place.
    fn check_capacity(
        &self,
        locate: Locate,
        pricing: Pricing,
        tif: u8,
    ) -> Result<(), RejectReason> {
        let no_page = tif == TIF_DAY && !self.has_page(locate, pricing.limit());
        if no_page || self.refs_issued == u32::MAX {
            return Err(RejectReason::ProcessingError);
        }
        Ok(())
    }

    /// True when all of the order rests without trading.
    fn rests_at_once(&self, incoming: &Incoming) -> bool {
        let o = &incoming.order;
        incoming.tif == TIF_DAY && !self.crosses(o.locate, o.side, o.price.0)
    }

    /// Trades an order that was just accepted, then rests it or cancels what is left.
    fn work(&mut self, order_ref: OrderRef, incoming: Incoming) {
        let on_book = self.rests_at_once(&incoming);
        let Incoming { mut order, pricing, tif, fill_or_kill } = incoming;
        let mut left_reason = match pricing {
            Pricing::Limit(_) => CancelReason::Immediate,
            Pricing::Market(_) | Pricing::MarketAlone => CancelReason::Collar,
        };
        let available = match pricing {
            Pricing::MarketAlone => 0,
            _ => self.available(order.locate, order.side, order.price.0),
        };
        if fill_or_kill && available < u64::from(order.open) {
            left_reason = CancelReason::Immediate;
        } else if available > 0 {
            self.trade(order_ref, &mut order);
        }
        if order.open == 0 {
            self.give_back(order_ref);
        } else if tif == TIF_IOC {
            self.give_back(order_ref);
            self.report_canceled(order_ref, &order, order.open, 0, left_reason, false);
        } else {
            self.rest(order_ref, order);
            if !on_book {
                let symbol = self.genesis.symbols[order.locate.0 as usize - 1].symbol;
                self.say(Rested {
                    order_ref,
                    price: order.price,
                    quantity: Quantity(order.open),
                    symbol,
                    locate: order.locate,
                    side: order.side,
                    zero: 0,
                });
            }
        }
    }

    pub(super) fn on_cancel(&mut self, slot: SessionSlot, m: &Cancel) {
        let Some(order_ref) = self.find(slot, m.urn) else { return };
        let halted = self.mode == Mode::Halt;
        let order = self.orders.get_mut(&order_ref).expect("an open order");
        let wanted = m.quantity.0.saturating_sub(order.executed);
        if wanted >= order.open {
            return;
        }
        if halted {
            self.report(slot, CancelRefused { urn: m.urn });
            return;
        }
        if wanted == 0 {
            self.cancel_resting(order_ref, CancelReason::User);
            return;
        }
        let decrement = order.open - wanted;
        order.open = wanted;
        let order = *order;
        self.report_canceled(order_ref, &order, decrement, wanted, CancelReason::User, true);
    }

    pub(super) fn on_replace(&mut self, slot: SessionSlot, m: &Replace) {
        let Some(old_ref) = self.find(slot, m.old_urn) else { return };
        if m.urn.0 <= self.state_of(slot).last_urn {
            return;
        }
        let old = self.orders[&old_ref];
        if self.is_entry_closed(slot) {
            self.consume(slot, m.urn);
            self.reject(slot, m.urn, m.cl_ord_id, RejectReason::DestinationClosed);
            return;
        }
        if self.phase != Phase::Open || self.halted[old.locate.0 as usize - 1] {
            self.consume(slot, m.urn);
            self.reject(slot, m.urn, m.cl_ord_id, RejectReason::ReplaceNotAllowed);
            return;
        }
        if self.mode != Mode::Normal {
            let why = match self.mode {
                Mode::Halt => RejectReason::Halted,
                _ => RejectReason::CancelsOnly,
            };
            self.consume(slot, m.urn);
            self.reject(slot, m.urn, m.cl_ord_id, why);
            return;
        }
        let Ok(incoming) = self.check_replace(old_ref, m) else {
            self.cancel_resting(old_ref, CancelReason::User);
            return;
        };
        self.consume(slot, m.urn);
        self.remove(old_ref);
        let order_ref = self.take_ref();
        let order = incoming.order;
        let on_book = self.rests_at_once(&incoming) as u8;
        self.report(
            slot,
            Replaced {
                old_ref,
                order_ref,
                old_urn: m.old_urn,
                urn: m.urn,
                quantity: Quantity(order.open),
                price: Price(m.price as u32),
                locate: order.locate,
                account: order.account,
                symbol: self.genesis.symbols[order.locate.0 as usize - 1].symbol,
                cl_ord_id: m.cl_ord_id,
                side: order.side,
                tif: m.tif,
                display: m.display,
                capacity: order.capacity,
                iso: m.iso,
                cross: order.cross,
                state: b'L',
                on_book,
                zero: [0; 2],
            },
        );
        self.work(order_ref, incoming);
    }

    /// The new half of a replace. Which check fails does not show: the answer is always Canceled.
    fn check_replace(&self, old_ref: OrderRef, m: &Replace) -> Result<Incoming, RejectReason> {
        use RejectReason as No;
        let old = self.orders[&old_ref];
        let spec = self.genesis.symbols[old.locate.0 as usize - 1];
        if !matches!(m.display, b'Y' | b'N') {
            return Err(No::Display);
        }
        if m.iso != b'N' || !matches!(m.tif, TIF_DAY | TIF_IOC) {
            return Err(No::OrderType);
        }
        let total = m.quantity.0;
        let open = total.saturating_sub(old.executed);
        if total >= QUANTITY_END || open == 0 || !open.is_multiple_of(spec.lot) {
            return Err(No::Quantity);
        }
        let pricing = self.check_price(&spec, old.locate, old.side, m.price, m.tif)?;
        let without = Some(old_ref);
        self.check_limits(old.account, old.locate, old.side, open, pricing, without)?;
        self.check_capacity(old.locate, pricing, m.tif)?;
        let order = Order { urn: m.urn, price: Price(pricing.limit()), open, ..old };
        Ok(Incoming { order, pricing, tif: m.tif, fill_or_kill: false })
    }
}

impl Pricing {
    /// Price up to which it trades; 0, and not used, for a market order that stands alone.
    fn limit(self) -> u32 {
        match self {
            Pricing::Limit(price) | Pricing::Market(price) => price,
            Pricing::MarketAlone => 0,
        }
    }
}
