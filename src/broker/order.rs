//! Orders as a broker thinks of them, and the OUCH messages they become.

use crate::types::*;
use crate::wire::ouch;

/// How long an order lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TimeInForce {
    /// Rests until filled, cancelled, or the day ends.
    #[default]
    Day,
    /// Trades at once as far as it can; the rest is cancelled.
    Immediate,
}

impl TimeInForce {
    fn letter(self) -> u8 {
        match self {
            TimeInForce::Day => b'0',
            TimeInForce::Immediate => b'3',
        }
    }
}

/// A new order. The exchange checks everything; nothing is checked here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewOrder {
    /// Side.
    pub side: Side,
    /// Symbol.
    pub symbol: Symbol,
    /// Shares, 1..1,000,000, a multiple of the symbol's lot.
    pub quantity: Quantity,
    /// Limit, or [`Price::MARKET`] (with [`TimeInForce::Immediate`]).
    pub price: Price,
    /// How long it lives.
    pub tif: TimeInForce,
    /// Account; `None` = the session's default account.
    pub account: Option<AccountName>,
    /// Only if at least this many trade at once; `Some(quantity)` with IOC is fill or kill.
    pub min_quantity: Option<Quantity>,
    /// `A` agent, `P` principal, `R` riskless, `O` other.
    pub capacity: u8,
    /// Free text, echoed in reports.
    pub cl_ord_id: ClOrdId,
}

impl NewOrder {
    /// A limit order for the day, as principal, on the default account.
    pub fn limit(side: Side, symbol: Symbol, quantity: Quantity, price: Price) -> NewOrder {
        NewOrder {
            side,
            symbol,
            quantity,
            price,
            tif: TimeInForce::Day,
            account: None,
            min_quantity: None,
            capacity: b'P',
            cl_ord_id: ClOrdId::BLANK,
        }
    }

    /// A limit order that trades at once or is cancelled.
    pub fn immediate(side: Side, symbol: Symbol, quantity: Quantity, price: Price) -> NewOrder {
        NewOrder { tif: TimeInForce::Immediate, ..NewOrder::limit(side, symbol, quantity, price) }
    }

    /// A market order: trades as far as the protection price, the rest is cancelled.
    pub fn market(side: Side, symbol: Symbol, quantity: Quantity) -> NewOrder {
        NewOrder::immediate(side, symbol, quantity, Price::MARKET)
    }

    /// All of it at once or nothing.
    pub fn fill_or_kill(side: Side, symbol: Symbol, quantity: Quantity, price: Price) -> NewOrder {
        NewOrder {
            min_quantity: Some(quantity),
            ..NewOrder::immediate(side, symbol, quantity, price)
        }
    }

    pub(super) fn message(&self, urn: Urn) -> ouch::Inbound {
        ouch::Inbound::Enter(ouch::Enter {
            urn,
            side: self.side.letter(),
            quantity: self.quantity,
            symbol: self.symbol,
            price: self.price.0 as u64,
            tif: self.tif.letter(),
            display: b'Y',
            capacity: self.capacity,
            iso: b'N',
            cross: b'N',
            cl_ord_id: self.cl_ord_id,
            appendage: ouch::Appendage {
                account: self.account,
                min_quantity: self.min_quantity.map(|q| q.0),
            },
        })
    }
}

/// A replace: the old order leaves, a new one takes its place at the back of the queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplaceOrder {
    /// URN of the live order.
    pub old: Urn,
    /// Everything executed in the whole replace chain plus the open quantity wanted.
    pub total: Quantity,
    /// New limit.
    pub price: Price,
    /// How long the new order lives.
    pub tif: TimeInForce,
    /// Free text, echoed in reports.
    pub cl_ord_id: ClOrdId,
}

impl ReplaceOrder {
    /// A replace that stays for the day.
    pub fn new(old: Urn, total: Quantity, price: Price) -> ReplaceOrder {
        ReplaceOrder { old, total, price, tif: TimeInForce::Day, cl_ord_id: ClOrdId::BLANK }
    }

    pub(super) fn message(&self, urn: Urn) -> ouch::Inbound {
        ouch::Inbound::Replace(ouch::Replace {
            old_urn: self.old,
            urn,
            quantity: self.total,
            price: self.price.0 as u64,
            tif: self.tif.letter(),
            display: b'Y',
            iso: b'N',
            cl_ord_id: self.cl_ord_id,
        })
    }
}

/// What a verb returns: the numbers under which its message will be known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    /// Client sequence.
    pub sequence: u64,
    /// URN; 0 for cancel and query.
    pub urn: Urn,
}

/// Why a message was not taken. Nothing was sent and no number was used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SendError {
    /// Never logged in yet, logging off, displaced, or the day is over.
    #[error("not logged in: poll until LoggedIn")]
    NotLoggedIn,
    /// As many unsettled messages as the window holds: the exchange does not answer fast enough.
    #[error("window full: wait for Settled, or configure a larger window")]
    WindowFull,
    /// All 2^32 - 1 references of the session and day are used.
    #[error("user reference numbers are used up for today")]
    UrnsUsedUp,
}
