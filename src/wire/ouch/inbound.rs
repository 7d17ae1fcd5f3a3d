//! Messages of a client: O, U, X, Q.

use super::Appendage;
use super::appendage::tag_name;
use crate::types::{ClOrdId, Quantity, Symbol, Urn};
use zerocopy::big_endian::{U32, U64};

wire_bytes! {
    struct EnterBytes: 45 {
        0 letter: u8,
        1 urn: U32,
        5 side: u8,
        6 quantity: U32,
        10 symbol: Symbol,
        18 price: U64,
        26 tif: u8,
        27 display: u8,
        28 capacity: u8,
        29 iso: u8,
        30 cross: u8,
        31 cl_ord_id: ClOrdId,
    }
}

wire_bytes! {
    struct ReplaceBytes: 38 {
        0 letter: u8,
        1 old_urn: U32,
        5 urn: U32,
        9 quantity: U32,
        13 price: U64,
        21 tif: u8,
        22 display: u8,
        23 iso: u8,
        24 cl_ord_id: ClOrdId,
    }
}

wire_bytes! {
    struct CancelBytes: 9 {
        0 letter: u8,
        1 urn: U32,
        5 quantity: U32,
    }
}

/// Longest inbound message: an Enter with both tags.
pub const INBOUND_BYTES_MAX: usize = EnterBytes::SIZE + 2 + 12;

/// New order (O).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Enter {
    /// Client's reference.
    pub urn: Urn,
    /// Side letter, unchecked.
    pub side: u8,
    /// Shares, unchecked.
    pub quantity: Quantity,
    /// Symbol.
    pub symbol: Symbol,
    /// Limit in 1/10,000, or 0x7FFFFFFF for market; unchecked.
    pub price: u64,
    /// Time in force letter (`0` day, `3` IOC), unchecked.
    pub tif: u8,
    /// Display letter, unchecked.
    pub display: u8,
    /// Capacity letter, unchecked.
    pub capacity: u8,
    /// Intermarket sweep letter, unchecked.
    pub iso: u8,
    /// Cross letter, unchecked.
    pub cross: u8,
    /// Client order id, echoed.
    pub cl_ord_id: ClOrdId,
    /// Account and minimum quantity.
    pub appendage: Appendage,
}

/// Replace (U).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replace {
    /// Reference of the order to replace.
    pub old_urn: Urn,
    /// Reference of the new order.
    pub urn: Urn,
    /// Executed in the whole chain plus the open quantity wanted, unchecked.
    pub quantity: Quantity,
    /// Limit, unchecked.
    pub price: u64,
    /// Time in force letter, unchecked.
    pub tif: u8,
    /// Display letter, unchecked.
    pub display: u8,
    /// Intermarket sweep letter, unchecked.
    pub iso: u8,
    /// Client order id, echoed.
    pub cl_ord_id: ClOrdId,
}

/// Cancel (X).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cancel {
    /// Order to cancel.
    pub urn: Urn,
    /// Executed in the whole chain plus the open quantity that shall stay; 0 = nothing stays.
    pub quantity: Quantity,
}

/// A well-formed message of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inbound {
    /// O.
    Enter(Enter),
    /// U.
    Replace(Replace),
    /// X.
    Cancel(Cancel),
    /// Q: account query.
    Query,
}

/// Why a block is no message of OUCH 5.0 as offered here. What it gets: `ouch.md`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InboundError {
    /// No byte at all.
    Empty,
    /// First letter is none of O, U, X, Q.
    UnknownType(u8),
    /// Shorter than the fixed part.
    Length,
    /// What follows the fixed part is not u16 length and exactly that many bytes of whole tags.
    Appendage,
    /// The standard assigns no such tag.
    UnknownTag(u8),
    /// A tag of the standard that this message does not take here.
    UnsupportedTag(u8),
    /// The tag came twice.
    DoubledTag(u8),
    /// The tag's value has another length than the standard says.
    TagLength(u8),
}

impl InboundError {
    /// The standard's name of the tag that is at fault, where it has one.
    pub fn tag_name(self) -> Option<&'static str> {
        match self {
            InboundError::UnknownTag(tag)
            | InboundError::UnsupportedTag(tag)
            | InboundError::DoubledTag(tag)
            | InboundError::TagLength(tag) => tag_name(tag),
            _ => None,
        }
    }
}

impl std::fmt::Display for InboundError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.tag_name().unwrap_or("unassigned");
        match self {
            InboundError::Empty => write!(f, "empty block"),
            InboundError::UnknownType(letter) => {
                write!(f, "type '{}' is not offered", letter.escape_ascii())
            }
            InboundError::Length => write!(f, "shorter than the message's fixed part"),
            InboundError::Appendage => write!(f, "appendage is not filled exactly by its tags"),
            InboundError::UnknownTag(tag) => write!(f, "tag {tag} is not assigned"),
            InboundError::UnsupportedTag(tag) => write!(f, "tag {tag} ({name}) is not offered"),
            InboundError::DoubledTag(tag) => write!(f, "tag {tag} ({name}) came twice"),
            InboundError::TagLength(tag) => write!(f, "tag {tag} ({name}) has a wrong length"),
        }
    }
}

impl std::error::Error for InboundError {}

/// Reads one block of a client. O(tags); the order of the checks is type, length, appendage.
#[inline]
pub fn decode_inbound(block: &[u8]) -> Result<Inbound, InboundError> {
    match block.first() {
        None => Err(InboundError::Empty),
        Some(b'O') => {
            let (m, rest) = EnterBytes::get(block).ok_or(InboundError::Length)?;
            Ok(Inbound::Enter(Enter {
                urn: Urn(m.urn.get()),
                side: m.side,
                quantity: Quantity(m.quantity.get()),
                symbol: m.symbol,
                price: m.price.get(),
                tif: m.tif,
                display: m.display,
                capacity: m.capacity,
                iso: m.iso,
                cross: m.cross,
                cl_ord_id: m.cl_ord_id,
                appendage: Appendage::get(rest, true)?,
            }))
        }
        Some(b'U') => {
            let (m, rest) = ReplaceBytes::get(block).ok_or(InboundError::Length)?;
            Appendage::get(rest, false)?;
            Ok(Inbound::Replace(Replace {
                old_urn: Urn(m.old_urn.get()),
                urn: Urn(m.urn.get()),
                quantity: Quantity(m.quantity.get()),
                price: m.price.get(),
                tif: m.tif,
                display: m.display,
                iso: m.iso,
                cl_ord_id: m.cl_ord_id,
            }))
        }
        Some(b'X') => {
            let (m, rest) = CancelBytes::get(block).ok_or(InboundError::Length)?;
            Appendage::get(rest, false)?;
            Ok(Inbound::Cancel(Cancel {
                urn: Urn(m.urn.get()),
                quantity: Quantity(m.quantity.get()),
            }))
        }
        Some(b'Q') => {
            Appendage::get(block.get(1..).unwrap_or_default(), false)?;
            Ok(Inbound::Query)
        }
        Some(&letter) => Err(InboundError::UnknownType(letter)),
    }
}

/// What can still be read from a block that [`decode_inbound`] refused (SESSION 10): enough to
/// answer O and U with Rejected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed {
    /// Type letter; 0 when the block was empty.
    pub letter: u8,
    /// The new reference of an O of 5 bytes or more, of a U of 9 or more.
    pub urn: Option<Urn>,
    /// Client order id of an O or U that is long enough; else blank.
    pub cl_ord_id: ClOrdId,
}

/// Reads the fields of a malformed block. Never fails.
#[inline]
pub fn malformed_fields(block: &[u8]) -> Malformed {
    let letter = block.first().copied().unwrap_or(0);
    let (urn_at, id_at) = match letter {
        b'O' => {
            (core::mem::offset_of!(EnterBytes, urn), core::mem::offset_of!(EnterBytes, cl_ord_id))
        }
        b'U' => (
            core::mem::offset_of!(ReplaceBytes, urn),
            core::mem::offset_of!(ReplaceBytes, cl_ord_id),
        ),
        _ => return Malformed { letter, urn: None, cl_ord_id: ClOrdId::BLANK },
    };
    let urn = block
        .get(urn_at..)
        .and_then(|bytes| bytes.first_chunk::<4>())
        .map(|bytes| Urn(u32::from_be_bytes(*bytes)));
    let cl_ord_id = block
        .get(id_at..)
        .and_then(|bytes| bytes.first_chunk::<14>())
        .map_or(ClOrdId::BLANK, |bytes| crate::types::Alpha(*bytes));
    Malformed { letter, urn, cl_ord_id }
}

impl Inbound {
    /// Bytes that [`Inbound::encode`] writes, at most [`INBOUND_BYTES_MAX`].
    #[inline]
    pub fn size(&self) -> usize {
        match self {
            Inbound::Enter(m) => EnterBytes::SIZE + 2 + m.appendage.tag_bytes(),
            Inbound::Replace(_) => ReplaceBytes::SIZE + 2,
            Inbound::Cancel(_) => CancelBytes::SIZE,
            Inbound::Query => 1,
        }
    }

    /// Writes the message at the start of `out` (at least [`Inbound::size`] bytes, else panics);
    /// returns its length. O and U always carry the appendage's length field.
    #[inline]
    pub fn encode(&self, out: &mut [u8]) -> usize {
        match self {
            Inbound::Enter(m) => {
                let len = EnterBytes {
                    letter: b'O',
                    urn: m.urn.0.into(),
                    side: m.side,
                    quantity: m.quantity.0.into(),
                    symbol: m.symbol,
                    price: m.price.into(),
                    tif: m.tif,
                    display: m.display,
                    capacity: m.capacity,
                    iso: m.iso,
                    cross: m.cross,
                    cl_ord_id: m.cl_ord_id,
                }
                .put(out);
                len + m.appendage.put(&mut out[len..])
            }
            Inbound::Replace(m) => {
                let len = ReplaceBytes {
                    letter: b'U',
                    old_urn: m.old_urn.0.into(),
                    urn: m.urn.0.into(),
                    quantity: m.quantity.0.into(),
                    price: m.price.into(),
                    tif: m.tif,
                    display: m.display,
                    iso: m.iso,
                    cl_ord_id: m.cl_ord_id,
                }
                .put(out);
                len + Appendage::default().put(&mut out[len..])
            }
            Inbound::Cancel(m) => {
                CancelBytes { letter: b'X', urn: m.urn.0.into(), quantity: m.quantity.0.into() }
                    .put(out)
            }
            Inbound::Query => {
                out[0] = b'Q';
                1
            }
        }
    }
}
