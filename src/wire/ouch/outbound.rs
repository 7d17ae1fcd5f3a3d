//! Reports of the exchange: S, A, U, C, E, J, I, Q, and our own N.

use super::Appendage;
use crate::types::{ClOrdId, MatchNumber, OrderRef, Price, Quantity, Side, Symbol, Urn};
use zerocopy::big_endian::{U16, U32, U64};

wire_bytes! {
    struct SystemEventBytes: 10 {
        0 letter: u8,
        1 timestamp: U64,
        9 code: u8,
    }
}

wire_bytes! {
    struct AcceptedBytes: 62 {
        0 letter: u8,
        1 timestamp: U64,
        9 urn: U32,
        13 side: u8,
        14 quantity: U32,
        18 symbol: Symbol,
        26 price: U64,
        34 tif: u8,
        35 display: u8,
        36 order_ref: U64,
        44 capacity: u8,
        45 iso: u8,
        46 cross: u8,
        47 state: u8,
        48 cl_ord_id: ClOrdId,
    }
}

wire_bytes! {
    struct ReplacedBytes: 66 {
        0 letter: u8,
        1 timestamp: U64,
        9 old_urn: U32,
        13 urn: U32,
        17 side: u8,
        18 quantity: U32,
        22 symbol: Symbol,
        30 price: U64,
        38 tif: u8,
        39 display: u8,
        40 order_ref: U64,
        48 capacity: u8,
        49 iso: u8,
        50 cross: u8,
        51 state: u8,
        52 cl_ord_id: ClOrdId,
    }
}

wire_bytes! {
    struct CanceledBytes: 18 {
        0 letter: u8,
        1 timestamp: U64,
        9 urn: U32,
        13 decrement: U32,
        17 reason: u8,
    }
}

wire_bytes! {
    struct ExecutedBytes: 34 {
        0 letter: u8,
        1 timestamp: U64,
        9 urn: U32,
        13 quantity: U32,
        17 price: U64,
        25 liquidity: u8,
        26 match_number: U64,
    }
}

wire_bytes! {
    struct RejectedBytes: 29 {
        0 letter: u8,
        1 timestamp: U64,
        9 urn: U32,
        13 reason: U16,
        15 cl_ord_id: ClOrdId,
    }
}

wire_bytes! {
    struct CancelRefusedBytes: 13 {
        0 letter: u8,
        1 timestamp: U64,
        9 urn: U32,
    }
}

wire_bytes! {
    struct QueryResponseBytes: 13 {
        0 letter: u8,
        1 timestamp: U64,
        9 next_urn: U32,
    }
}

wire_bytes! {
    struct NotAppliedBytes: 21 {
        0 letter: u8,
        1 timestamp: U64,
        9 from: U64,
        17 count: U32,
    }
}

/// Longest report: an Accepted with both tags. (Replaced carries none.)
pub const OUTBOUND_BYTES_MAX: usize = AcceptedBytes::SIZE + 2 + 12;
const _: () = assert!(ReplacedBytes::SIZE + 2 <= OUTBOUND_BYTES_MAX);

/// First (`S`) or last (`E`) report of the day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SystemEvent {
    /// Ns since midnight.
    pub timestamp: u64,
    /// `S` or `E`.
    pub code: u8,
}

/// A new order was accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// Ns since midnight.
    pub timestamp: u64,
    /// Client's reference.
    pub urn: Urn,
    /// Side.
    pub side: Side,
    /// Shares accepted.
    pub quantity: Quantity,
    /// Symbol.
    pub symbol: Symbol,
    /// Limit as entered.
    pub price: Price,
    /// Time in force, echoed.
    pub tif: u8,
    /// Display, echoed.
    pub display: u8,
    /// The exchange's reference, as on the feed.
    pub order_ref: OrderRef,
    /// Capacity, echoed.
    pub capacity: u8,
    /// Intermarket sweep, echoed.
    pub iso: u8,
    /// Cross, echoed.
    pub cross: u8,
    /// `L` live, `D` dead.
    pub state: u8,
    /// Client order id, echoed.
    pub cl_ord_id: ClOrdId,
    /// Tags, echoed.
    pub appendage: Appendage,
}

/// An order was replaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replaced {
    /// Ns since midnight.
    pub timestamp: u64,
    /// Reference of the old order.
    pub old_urn: Urn,
    /// Reference of the new order.
    pub urn: Urn,
    /// Side.
    pub side: Side,
    /// Open shares of the new order.
    pub quantity: Quantity,
    /// Symbol.
    pub symbol: Symbol,
    /// New limit.
    pub price: Price,
    /// Time in force, echoed.
    pub tif: u8,
    /// Display, echoed.
    pub display: u8,
    /// The exchange's reference of the new order.
    pub order_ref: OrderRef,
    /// Capacity of the original order.
    pub capacity: u8,
    /// Intermarket sweep, echoed.
    pub iso: u8,
    /// Cross of the original order.
    pub cross: u8,
    /// `L` live, `D` dead.
    pub state: u8,
    /// Client order id, echoed.
    pub cl_ord_id: ClOrdId,
}

/// An order lost open shares without an execution.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Canceled {
    /// Ns since midnight.
    pub timestamp: u64,
    /// Client's reference.
    pub urn: Urn,
    /// Shares taken off.
    pub decrement: Quantity,
    /// `CancelReason` letter.
    pub reason: u8,
}

/// An order traded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Executed {
    /// Ns since midnight.
    pub timestamp: u64,
    /// Client's reference.
    pub urn: Urn,
    /// Shares.
    pub quantity: Quantity,
    /// Price of the resting order.
    pub price: Price,
    /// `A` added liquidity, `R` removed it.
    pub liquidity: u8,
    /// The same on both sides and on the feed.
    pub match_number: MatchNumber,
}

/// An order or replace was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rejected {
    /// Ns since midnight.
    pub timestamp: u64,
    /// Client's reference.
    pub urn: Urn,
    /// `RejectReason` number.
    pub reason: u16,
    /// Client order id, blank where unknown.
    pub cl_ord_id: ClOrdId,
}

/// A cancel was refused; the order stays as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CancelRefused {
    /// Ns since midnight.
    pub timestamp: u64,
    /// The order that should have been canceled.
    pub urn: Urn,
}

/// Answer to an account query.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueryResponse {
    /// Ns since midnight.
    pub timestamp: u64,
    /// Next reference above the last; 0 = used up.
    pub next_urn: u32,
}

/// Own report: client blocks `from .. from + count` were not and will not be applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotApplied {
    /// Ns since midnight.
    pub timestamp: u64,
    /// First client sequence.
    pub from: u64,
    /// How many.
    pub count: u32,
}

/// A report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outbound {
    /// S.
    SystemEvent(SystemEvent),
    /// A.
    Accepted(Accepted),
    /// U.
    Replaced(Replaced),
    /// C.
    Canceled(Canceled),
    /// E.
    Executed(Executed),
    /// J.
    Rejected(Rejected),
    /// I.
    CancelRefused(CancelRefused),
    /// Q.
    QueryResponse(QueryResponse),
    /// N, own.
    NotApplied(NotApplied),
}

/// Why a client cannot read a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OutboundError {
    /// No byte at all.
    Empty,
    /// None of the letters above.
    UnknownType(u8),
    /// Shorter than the fixed part, or what follows is not a well-formed appendage.
    Length,
    /// A side other than B and S, or a price above 32 bits.
    Value,
}

impl Outbound {
    /// Bytes that [`Outbound::encode`] writes, at most [`OUTBOUND_BYTES_MAX`].
    #[inline]
    pub fn size(&self) -> usize {
        match self {
            Outbound::SystemEvent(_) => SystemEventBytes::SIZE,
            Outbound::Accepted(m) => AcceptedBytes::SIZE + 2 + m.appendage.tag_bytes(),
            Outbound::Replaced(_) => ReplacedBytes::SIZE + 2,
            Outbound::Canceled(_) => CanceledBytes::SIZE,
            Outbound::Executed(_) => ExecutedBytes::SIZE + 2,
            Outbound::Rejected(_) => RejectedBytes::SIZE,
            Outbound::CancelRefused(_) => CancelRefusedBytes::SIZE,
            Outbound::QueryResponse(_) => QueryResponseBytes::SIZE,
            Outbound::NotApplied(_) => NotAppliedBytes::SIZE,
        }
    }

    /// Ns since midnight.
    #[inline]
    pub fn timestamp(&self) -> u64 {
        match self {
            Outbound::SystemEvent(m) => m.timestamp,
            Outbound::Accepted(m) => m.timestamp,
            Outbound::Replaced(m) => m.timestamp,
            Outbound::Canceled(m) => m.timestamp,
            Outbound::Executed(m) => m.timestamp,
            Outbound::Rejected(m) => m.timestamp,
            Outbound::CancelRefused(m) => m.timestamp,
            Outbound::QueryResponse(m) => m.timestamp,
            Outbound::NotApplied(m) => m.timestamp,
        }
    }

    /// Writes the report at the start of `out` (at least [`Outbound::size`] bytes, else panics);
    /// returns its length.
    #[inline]
    pub fn encode(&self, out: &mut [u8]) -> usize {
        match self {
            Outbound::SystemEvent(m) => {
                SystemEventBytes { letter: b'S', timestamp: m.timestamp.into(), code: m.code }
                    .put(out)
            }
            Outbound::Accepted(m) => {
                let len = AcceptedBytes {
                    letter: b'A',
                    timestamp: m.timestamp.into(),
                    urn: m.urn.0.into(),
                    side: m.side.letter(),
                    quantity: m.quantity.0.into(),
                    symbol: m.symbol,
                    price: u64::from(m.price.0).into(),
                    tif: m.tif,
                    display: m.display,
                    order_ref: m.order_ref.0.into(),
                    capacity: m.capacity,
                    iso: m.iso,
                    cross: m.cross,
                    state: m.state,
                    cl_ord_id: m.cl_ord_id,
                }
                .put(out);
                len + m.appendage.put(&mut out[len..])
            }
            Outbound::Replaced(m) => {
                let len = ReplacedBytes {
                    letter: b'U',
                    timestamp: m.timestamp.into(),
                    old_urn: m.old_urn.0.into(),
                    urn: m.urn.0.into(),
                    side: m.side.letter(),
                    quantity: m.quantity.0.into(),
                    symbol: m.symbol,
                    price: u64::from(m.price.0).into(),
                    tif: m.tif,
                    display: m.display,
                    order_ref: m.order_ref.0.into(),
                    capacity: m.capacity,
                    iso: m.iso,
                    cross: m.cross,
                    state: m.state,
                    cl_ord_id: m.cl_ord_id,
                }
                .put(out);
                len + Appendage::default().put(&mut out[len..])
            }
            Outbound::Canceled(m) => CanceledBytes {
                letter: b'C',
                timestamp: m.timestamp.into(),
                urn: m.urn.0.into(),
                decrement: m.decrement.0.into(),
                reason: m.reason,
            }
            .put(out),
            Outbound::Executed(m) => {
                let len = ExecutedBytes {
                    letter: b'E',
                    timestamp: m.timestamp.into(),
                    urn: m.urn.0.into(),
                    quantity: m.quantity.0.into(),
                    price: u64::from(m.price.0).into(),
                    liquidity: m.liquidity,
                    match_number: m.match_number.0.into(),
                }
                .put(out);
                len + Appendage::default().put(&mut out[len..])
            }
            Outbound::Rejected(m) => RejectedBytes {
                letter: b'J',
                timestamp: m.timestamp.into(),
                urn: m.urn.0.into(),
                reason: m.reason.into(),
                cl_ord_id: m.cl_ord_id,
            }
            .put(out),
            Outbound::CancelRefused(m) => CancelRefusedBytes {
                letter: b'I',
                timestamp: m.timestamp.into(),
                urn: m.urn.0.into(),
            }
            .put(out),
            Outbound::QueryResponse(m) => QueryResponseBytes {
                letter: b'Q',
                timestamp: m.timestamp.into(),
                next_urn: m.next_urn.into(),
            }
            .put(out),
            Outbound::NotApplied(m) => NotAppliedBytes {
                letter: b'N',
                timestamp: m.timestamp.into(),
                from: m.from.into(),
                count: m.count.into(),
            }
            .put(out),
        }
    }

    /// Reads one block of the downstream. Tags that are not known are passed over, and every
    /// message may carry an appendage, so that a later version of the standard can be read.
    pub fn decode(block: &[u8]) -> Result<Outbound, OutboundError> {
        use OutboundError::{Length, Value};
        let side = |letter| Side::from_letter(letter).ok_or(Value);
        let price = |price: U64| u32::try_from(price.get()).map(Price).map_err(|_| Value);
        let (report, rest) = match block.first() {
            None => return Err(OutboundError::Empty),
            Some(b'S') => {
                let (m, rest) = SystemEventBytes::get(block).ok_or(Length)?;
                let report = SystemEvent { timestamp: m.timestamp.get(), code: m.code };
                (Outbound::SystemEvent(report), rest)
            }
            Some(b'A') => {
                let (m, rest) = AcceptedBytes::get(block).ok_or(Length)?;
                let report = Accepted {
                    timestamp: m.timestamp.get(),
                    urn: Urn(m.urn.get()),
                    side: side(m.side)?,
                    quantity: Quantity(m.quantity.get()),
                    symbol: m.symbol,
                    price: price(m.price)?,
                    tif: m.tif,
                    display: m.display,
                    order_ref: OrderRef(m.order_ref.get()),
                    capacity: m.capacity,
                    iso: m.iso,
                    cross: m.cross,
                    state: m.state,
                    cl_ord_id: m.cl_ord_id,
                    appendage: Appendage::get_lenient(rest).ok_or(Length)?,
                };
                return Ok(Outbound::Accepted(report));
            }
            Some(b'U') => {
                let (m, rest) = ReplacedBytes::get(block).ok_or(Length)?;
                let report = Replaced {
                    timestamp: m.timestamp.get(),
                    old_urn: Urn(m.old_urn.get()),
                    urn: Urn(m.urn.get()),
                    side: side(m.side)?,
                    quantity: Quantity(m.quantity.get()),
                    symbol: m.symbol,
                    price: price(m.price)?,
                    tif: m.tif,
                    display: m.display,
                    order_ref: OrderRef(m.order_ref.get()),
                    capacity: m.capacity,
                    iso: m.iso,
                    cross: m.cross,
                    state: m.state,
                    cl_ord_id: m.cl_ord_id,
                };
                (Outbound::Replaced(report), rest)
            }
            Some(b'C') => {
                let (m, rest) = CanceledBytes::get(block).ok_or(Length)?;
                let report = Canceled {
                    timestamp: m.timestamp.get(),
                    urn: Urn(m.urn.get()),
                    decrement: Quantity(m.decrement.get()),
                    reason: m.reason,
                };
                (Outbound::Canceled(report), rest)
            }
            Some(b'E') => {
                let (m, rest) = ExecutedBytes::get(block).ok_or(Length)?;
                let report = Executed {
                    timestamp: m.timestamp.get(),
                    urn: Urn(m.urn.get()),
                    quantity: Quantity(m.quantity.get()),
                    price: price(m.price)?,
                    liquidity: m.liquidity,
                    match_number: MatchNumber(m.match_number.get()),
                };
                (Outbound::Executed(report), rest)
            }
            Some(b'J') => {
                let (m, rest) = RejectedBytes::get(block).ok_or(Length)?;
                let report = Rejected {
                    timestamp: m.timestamp.get(),
                    urn: Urn(m.urn.get()),
                    reason: m.reason.get(),
                    cl_ord_id: m.cl_ord_id,
                };
                (Outbound::Rejected(report), rest)
            }
            Some(b'I') => {
                let (m, rest) = CancelRefusedBytes::get(block).ok_or(Length)?;
                let report = CancelRefused { timestamp: m.timestamp.get(), urn: Urn(m.urn.get()) };
                (Outbound::CancelRefused(report), rest)
            }
            Some(b'Q') => {
                let (m, rest) = QueryResponseBytes::get(block).ok_or(Length)?;
                let report =
                    QueryResponse { timestamp: m.timestamp.get(), next_urn: m.next_urn.get() };
                (Outbound::QueryResponse(report), rest)
            }
            Some(b'N') => {
                let (m, rest) = NotAppliedBytes::get(block).ok_or(Length)?;
                let report = NotApplied {
                    timestamp: m.timestamp.get(),
                    from: m.from.get(),
                    count: m.count.get(),
                };
                (Outbound::NotApplied(report), rest)
            }
            Some(&letter) => return Err(OutboundError::UnknownType(letter)),
        };
        Appendage::get_lenient(rest).ok_or(Length)?;
        Ok(report)
    }
}
