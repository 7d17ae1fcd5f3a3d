//! What others may read of an exchange: for replay, tools and tests.
//!
//! Plain values, copied out. Must not be used on the way of an order.

use crate::types::*;

/// A price level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LevelView {
    /// Price.
    pub price: Price,
    /// Shares of all its orders.
    pub quantity: u64,
    /// Orders.
    pub count: u32,
}

/// A resting order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OrderView {
    /// Reference.
    pub order_ref: OrderRef,
    /// Session that entered it.
    pub session: SessionSlot,
    /// Client's reference.
    pub urn: Urn,
    /// Account.
    pub account: AccountSlot,
    /// Symbol.
    pub locate: Locate,
    /// Side.
    pub side: Side,
    /// Price.
    pub price: Price,
    /// Open shares.
    pub open: Quantity,
    /// Shares executed in the whole replace chain.
    pub executed: Quantity,
}

/// An account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccountView {
    /// Cash that an order may hold.
    pub cash_free: Notional,
    /// Cash held by open buy orders.
    pub cash_held: Notional,
    /// Positions with shares, by locate.
    pub positions: Vec<PositionView>,
}

/// An account's shares of one symbol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PositionView {
    /// Symbol.
    pub locate: Locate,
    /// Shares that an order may hold.
    pub free: u64,
    /// Shares held by open sell orders.
    pub held: u64,
    /// Shares that count against the day's limit: executed today, and open.
    pub counted: u64,
}

/// A session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionView {
    /// Bound by a login.
    pub bound: bool,
    /// Login generation, 0 before the first.
    pub generation: u32,
    /// Next client sequence, from 1.
    pub next_client_seq: u64,
    /// Next report number.
    pub next_report: u64,
    /// Highest reference consumed, 0 = none.
    pub last_urn: Urn,
    /// True while a mass cancel of its orders goes on: Enter and Replace are refused.
    pub entry_closed: bool,
    /// Resting orders.
    pub open_orders: u32,
}
