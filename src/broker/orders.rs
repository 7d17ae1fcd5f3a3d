//! Own orders and positions, rebuilt from reports alone.
//!
//! Consumes the reports of one session in order (from number 1, else what was before is unknown);
//! produces the state of each own order and the shares and cash that its executions moved. Must
//! not know how reports arrive. Allocates one map entry per live order.

use std::collections::BTreeMap;

use crate::types::*;
use crate::wire::ouch::Outbound;

/// State of an own order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OrderState {
    /// Open shares are left.
    Live,
    /// Nothing left: everything executed.
    Filled,
    /// Nothing left, the rest was cancelled.
    Canceled,
    /// A later order took its place.
    Replaced,
}

/// One own order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OwnOrder {
    /// Its reference.
    pub urn: Urn,
    /// Reference of the first order of the replace chain.
    pub first_urn: Urn,
    /// The exchange's reference, as on the feed.
    pub order_ref: OrderRef,
    /// Symbol.
    pub symbol: Symbol,
    /// Side.
    pub side: Side,
    /// Limit, or [`Price::MARKET`].
    pub price: Price,
    /// Open shares.
    pub open: Quantity,
    /// Shares executed in the whole replace chain: what `total` of replace and cancel counts from.
    pub executed: Quantity,
    /// Cash of those executions.
    pub notional: Notional,
    /// Account as named in the order; `None` = the session's default.
    pub account: Option<AccountName>,
    /// Free text of the last enter or replace.
    pub cl_ord_id: ClOrdId,
    /// State.
    pub state: OrderState,
}

/// Executions of one symbol, all own orders of this session together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Position {
    /// Shares bought.
    pub bought: u64,
    /// Shares sold.
    pub sold: u64,
    /// Cash paid.
    pub paid: u128,
    /// Cash received.
    pub received: u128,
}

impl Position {
    /// Shares bought less shares sold.
    pub fn net(&self) -> i64 {
        self.bought as i64 - self.sold as i64
    }

    /// Cash received less cash paid, in 1/10,000.
    pub fn cash(&self) -> i128 {
        self.received as i128 - self.paid as i128
    }
}

/// What a report changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// A new order lives.
    Accepted(OwnOrder),
    /// It traded; `state` is `Filled` when nothing is left.
    Executed {
        /// After the execution.
        order: OwnOrder,
        /// Shares of this execution.
        quantity: Quantity,
        /// Price of this execution.
        price: Price,
    },
    /// It lost open shares; `state` is `Canceled` when nothing is left.
    Canceled {
        /// After it.
        order: OwnOrder,
        /// Shares taken off.
        decrement: Quantity,
        /// `CancelReason` letter.
        reason: u8,
    },
    /// `new` took the place of `old`.
    Replaced {
        /// The old order, gone.
        old: OwnOrder,
        /// The new order.
        new: OwnOrder,
    },
    /// An order or replace was refused; no order changed.
    Rejected {
        /// Its reference.
        urn: Urn,
        /// `RejectReason` number.
        reason: u16,
    },
    /// A cancel was refused; no order changed.
    CancelRefused {
        /// The order that stays.
        urn: Urn,
    },
    /// A report about an order that is not known here: tracking began after its Accepted.
    Unknown(Urn),
}

/// Live orders and positions of one session.
#[derive(Clone, Debug, Default)]
pub struct OwnOrders {
    live: BTreeMap<Urn, OwnOrder>,
    positions: BTreeMap<Symbol, Position>,
}

impl OwnOrders {
    /// Nothing known yet.
    pub fn new() -> OwnOrders {
        OwnOrders::default()
    }

    /// Forgets everything: at `SessionChanged`, before the reports from 1 follow.
    pub fn clear(&mut self) {
        self.live.clear();
        self.positions.clear();
    }

    /// Applies the next report; `None` when it is about no order (S, Q, N). O(log orders).
    pub fn apply(&mut self, report: &Outbound) -> Option<Change> {
        match report {
            Outbound::Accepted(m) => {
                let order = OwnOrder {
                    urn: m.urn,
                    first_urn: m.urn,
                    order_ref: m.order_ref,
                    symbol: m.symbol,
                    side: m.side,
                    price: m.price,
                    open: m.quantity,
                    executed: Quantity(0),
                    notional: Notional(0),
                    account: m.appendage.account,
                    cl_ord_id: m.cl_ord_id,
                    state: OrderState::Live,
                };
                self.live.insert(m.urn, order);
                Some(Change::Accepted(order))
            }
            Outbound::Replaced(m) => {
                let Some(mut old) = self.live.remove(&m.old_urn) else {
                    return Some(Change::Unknown(m.old_urn));
                };
                let new = OwnOrder {
                    urn: m.urn,
                    order_ref: m.order_ref,
                    price: m.price,
                    open: m.quantity,
                    cl_ord_id: m.cl_ord_id,
                    ..old
                };
                old.open = Quantity(0);
                old.state = OrderState::Replaced;
                self.live.insert(m.urn, new);
                Some(Change::Replaced { old, new })
            }
            Outbound::Executed(m) => {
                let Some(order) = self.live.get_mut(&m.urn) else {
                    return Some(Change::Unknown(m.urn));
                };
                let cash = m.price.times(m.quantity);
                order.open.0 = order.open.0.saturating_sub(m.quantity.0);
                order.executed.0 = order.executed.0.saturating_add(m.quantity.0);
                order.notional.0 = order.notional.0.saturating_add(cash.0);
                if order.open.0 == 0 {
                    order.state = OrderState::Filled;
                }
                let order = *order;
                let position = self.positions.entry(order.symbol).or_default();
                match order.side {
                    Side::Buy => {
                        position.bought += m.quantity.0 as u64;
                        position.paid += cash.0 as u128;
                    }
                    Side::Sell => {
                        position.sold += m.quantity.0 as u64;
                        position.received += cash.0 as u128;
                    }
                }
                self.forget_if_done(&order);
                Some(Change::Executed { order, quantity: m.quantity, price: m.price })
            }
            Outbound::Canceled(m) => {
                let Some(order) = self.live.get_mut(&m.urn) else {
                    return Some(Change::Unknown(m.urn));
                };
                order.open.0 = order.open.0.saturating_sub(m.decrement.0);
                if order.open.0 == 0 {
                    order.state = OrderState::Canceled;
                }
                let order = *order;
                self.forget_if_done(&order);
                Some(Change::Canceled { order, decrement: m.decrement, reason: m.reason })
            }
            Outbound::Rejected(m) => Some(Change::Rejected { urn: m.urn, reason: m.reason }),
            Outbound::CancelRefused(m) => Some(Change::CancelRefused { urn: m.urn }),
            Outbound::SystemEvent(_) | Outbound::QueryResponse(_) | Outbound::NotApplied(_) => None,
        }
    }

    fn forget_if_done(&mut self, order: &OwnOrder) {
        if order.open.0 == 0 {
            self.live.remove(&order.urn);
        }
    }

    /// A live order.
    pub fn get(&self, urn: Urn) -> Option<&OwnOrder> {
        self.live.get(&urn)
    }

    /// Live orders, oldest reference first.
    pub fn live(&self) -> impl ExactSizeIterator<Item = &OwnOrder> {
        self.live.values()
    }

    /// Executions of a symbol since the first report applied.
    pub fn position(&self, symbol: Symbol) -> Position {
        self.positions.get(&symbol).copied().unwrap_or_default()
    }

    /// All symbols traded, by name.
    pub fn positions(&self) -> impl ExactSizeIterator<Item = (Symbol, Position)> + '_ {
        self.positions.iter().map(|(symbol, position)| (*symbol, *position))
    }
}
