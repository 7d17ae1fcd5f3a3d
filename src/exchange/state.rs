//! What orders change: market, books, wallet and the index of live orders, as one value that the
//! parts of the exchange hand to each other.
//!
//! Built by `exchange`, changed by `order_manager` and `mass`, read by `risk` and `check`. Holds no
//! rule of its own.

use super::market::Market;
use super::matching::Books;
use super::order_index::OrderIndex;
use super::wallet::Wallet;

/// The state behind every order.
pub(super) struct State {
    pub(super) market: Market,
    pub(super) books: Books,
    pub(super) wallet: Wallet,
    pub(super) index: OrderIndex,
    /// Resting orders' part of the entity sum.
    pub(super) orders_sum: u64,
    pub(super) orders_max: u32,
}
