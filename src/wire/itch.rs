//! ITCH 5.0: the messages of the feed that the venue emits: S R H A E X D U.
//!
//! Consumes and produces one block's bytes. Source: Nasdaq TotalView-ITCH 5.0 (2026-02-19); tables
//! stand in `itch.md`. Must not know packets, sequence numbers or the event log.

use crate::types::{Alpha, Locate, MatchNumber, OrderRef, Price, Quantity, Side, Symbol};
use zerocopy::big_endian::{U16, U32, U64};

wire_bytes! {
    struct PrefixBytes: 11 {
        0 letter: u8,
        1 locate: U16,
        3 tracking: U16,
        5 timestamp: [u8; 6],
    }
}

wire_bytes! {
    struct SystemBytes: 12 {
        0 prefix: PrefixBytes,
        11 code: u8,
    }
}

wire_bytes! {
    struct DirectoryBytes: 39 {
        0 prefix: PrefixBytes,
        11 symbol: Symbol,
        19 market_category: u8,
        20 financial_status: u8,
        21 round_lot: U32,
        25 round_lots_only: u8,
        26 issue_class: u8,
        27 issue_sub_type: Alpha<2>,
        29 authenticity: u8,
        30 short_sale_threshold: u8,
        31 ipo: u8,
        32 luld_tier: u8,
        33 etp: u8,
        34 etp_leverage: U32,
        38 inverse: u8,
    }
}

wire_bytes! {
    struct TradingActionBytes: 25 {
        0 prefix: PrefixBytes,
        11 symbol: Symbol,
        19 state: u8,
        20 reserved: u8,
        21 reason: Alpha<4>,
    }
}

wire_bytes! {
    struct AddBytes: 36 {
        0 prefix: PrefixBytes,
        11 order_ref: U64,
        19 side: u8,
        20 quantity: U32,
        24 symbol: Symbol,
        32 price: U32,
    }
}

wire_bytes! {
    struct ExecutedBytes: 31 {
        0 prefix: PrefixBytes,
        11 order_ref: U64,
        19 quantity: U32,
        23 match_number: U64,
    }
}

wire_bytes! {
    struct ExecutedAtBytes: 36 {
        0 prefix: PrefixBytes,
        11 order_ref: U64,
        19 quantity: U32,
        23 match_number: U64,
        31 printable: u8,
        32 price: U32,
    }
}

wire_bytes! {
    struct CanceledBytes: 23 {
        0 prefix: PrefixBytes,
        11 order_ref: U64,
        19 quantity: U32,
    }
}

wire_bytes! {
    struct DeletedBytes: 19 {
        0 prefix: PrefixBytes,
        11 order_ref: U64,
    }
}

wire_bytes! {
    struct ReplacedBytes: 35 {
        0 prefix: PrefixBytes,
        11 old_ref: U64,
        19 order_ref: U64,
        27 quantity: U32,
        31 price: U32,
    }
}

/// Longest message that the venue emits: a stock directory.
pub const MESSAGE_BYTES_MAX: usize = DirectoryBytes::SIZE;
const _: () = assert!(AddBytes::SIZE <= MESSAGE_BYTES_MAX && ReplacedBytes::SIZE <= AddBytes::SIZE);
/// Timestamps stay below this: 48 bits on the wire.
pub const TIMESTAMP_LIMIT: u64 = 1 << 48;

/// What every message begins with, after its letter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Prefix {
    /// Symbol's number of the day; 0 = about none.
    pub locate: Locate,
    /// The venue: low 16 bits of the command's number, equal within one matching event.
    pub tracking: u16,
    /// Ns since midnight, below [`TIMESTAMP_LIMIT`]; higher bits are cut off when written.
    pub timestamp: u64,
}

/// System event (S).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct System {
    /// Locate 0, tracking, time.
    pub prefix: Prefix,
    /// O S Q M E C.
    pub code: u8,
}

/// A symbol of the day (R).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Directory {
    /// Locate, tracking, time.
    pub prefix: Prefix,
    /// Symbol.
    pub symbol: Symbol,
    /// Listing market's letter; blank = not available.
    pub market_category: u8,
    /// Financial status; `N` = normal.
    pub financial_status: u8,
    /// Round lot, shares.
    pub round_lot: u32,
    /// `Y`: orders only in round lots.
    pub round_lots_only: u8,
    /// Class of the issue: `C` common stock.
    pub issue_class: u8,
    /// Sub-type of the issue: `Z` not applicable.
    pub issue_sub_type: Alpha<2>,
    /// `P` production, `T` test.
    pub authenticity: u8,
    /// `Y` restricted, `N` not, blank not available.
    pub short_sale_threshold: u8,
    /// `Y`, `N`, `Z`, blank not available.
    pub ipo: u8,
    /// `1`, `2`, blank not applicable.
    pub luld_tier: u8,
    /// `Y`, `N`, blank not available.
    pub etp: u8,
    /// Leverage factor of an exchange-traded product.
    pub etp_leverage: u32,
    /// `Y` inverse product.
    pub inverse: u8,
}

impl Directory {
    /// Common stock of this venue: production, whole round lots only, everything else "not
    /// available" or "no".
    pub fn common_stock(prefix: Prefix, symbol: Symbol, round_lot: u32) -> Directory {
        Directory {
            prefix,
            symbol,
            market_category: b' ',
            financial_status: b'N',
            round_lot,
            round_lots_only: b'Y',
            issue_class: b'C',
            issue_sub_type: Alpha(*b"Z "),
            authenticity: b'P',
            short_sale_threshold: b'N',
            ipo: b'N',
            luld_tier: b' ',
            etp: b'N',
            etp_leverage: 0,
            inverse: b'N',
        }
    }
}

/// Trading state of a symbol (H).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TradingAction {
    /// Locate, tracking, time.
    pub prefix: Prefix,
    /// Symbol.
    pub symbol: Symbol,
    /// `H` halted, `T` trading (the standard also has P and Q).
    pub state: u8,
    /// Reason, blank when there is none.
    pub reason: Alpha<4>,
}

/// An order rests on the book (A).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Add {
    /// Locate, tracking, time.
    pub prefix: Prefix,
    /// Reference.
    pub order_ref: OrderRef,
    /// Side.
    pub side: Side,
    /// Shares that rest.
    pub quantity: Quantity,
    /// Symbol.
    pub symbol: Symbol,
    /// Price.
    pub price: Price,
}

/// A resting order traded at its own price (E).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Executed {
    /// Locate, tracking, time.
    pub prefix: Prefix,
    /// Reference of the resting order.
    pub order_ref: OrderRef,
    /// Shares; at 0 left the order is gone without a D.
    pub quantity: Quantity,
    /// As in both OUCH reports.
    pub match_number: MatchNumber,
}

/// A resting order traded at a price other than its own (C). The venue has no auctions and does not
/// emit it; a subscriber reads it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExecutedAt {
    /// Locate, tracking, time.
    pub prefix: Prefix,
    /// Reference of the resting order.
    pub order_ref: OrderRef,
    /// Shares; at 0 left the order is gone without a D.
    pub quantity: Quantity,
    /// As in both OUCH reports.
    pub match_number: MatchNumber,
    /// `Y`: counts into time and sales; `N`: told elsewhere in bulk.
    pub printable: u8,
    /// Price of the trade.
    pub price: Price,
}

/// A resting order lost some shares (X).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Canceled {
    /// Locate, tracking, time.
    pub prefix: Prefix,
    /// Reference.
    pub order_ref: OrderRef,
    /// Shares taken off.
    pub quantity: Quantity,
}

/// A resting order is gone (D).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deleted {
    /// Locate, tracking, time.
    pub prefix: Prefix,
    /// Reference.
    pub order_ref: OrderRef,
}

/// A resting order was replaced by one at the back of the queue (U); side and symbol are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replaced {
    /// Locate, tracking, time.
    pub prefix: Prefix,
    /// Reference that is gone.
    pub old_ref: OrderRef,
    /// Reference of the new order.
    pub order_ref: OrderRef,
    /// Shares that rest.
    pub quantity: Quantity,
    /// New price.
    pub price: Price,
}

/// A message of the feed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message {
    /// S.
    System(System),
    /// R.
    Directory(Directory),
    /// H.
    TradingAction(TradingAction),
    /// A.
    Add(Add),
    /// E.
    Executed(Executed),
    /// C.
    ExecutedAt(ExecutedAt),
    /// X.
    Canceled(Canceled),
    /// D.
    Deleted(Deleted),
    /// U.
    Replaced(Replaced),
}

/// Why a block of the feed cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ItchError {
    /// No byte at all.
    Empty,
    /// None of the letters above. A subscriber that only keeps books may pass over it.
    UnknownType(u8),
    /// The message has one length, and this is another.
    Length,
    /// A side other than B and S.
    Value,
}

#[inline]
fn put_prefix(letter: u8, prefix: &Prefix) -> PrefixBytes {
    let [_, _, timestamp @ ..] = prefix.timestamp.to_be_bytes();
    PrefixBytes {
        letter,
        locate: prefix.locate.0.into(),
        tracking: prefix.tracking.into(),
        timestamp,
    }
}

#[inline]
fn get_prefix(bytes: &PrefixBytes) -> Prefix {
    let [a, b, c, d, e, f] = bytes.timestamp;
    Prefix {
        locate: Locate(bytes.locate.get()),
        tracking: bytes.tracking.get(),
        timestamp: u64::from_be_bytes([0, 0, a, b, c, d, e, f]),
    }
}

impl Message {
    /// What the message begins with.
    #[inline]
    pub fn prefix(&self) -> &Prefix {
        match self {
            Message::System(m) => &m.prefix,
            Message::Directory(m) => &m.prefix,
            Message::TradingAction(m) => &m.prefix,
            Message::Add(m) => &m.prefix,
            Message::Executed(m) => &m.prefix,
            Message::ExecutedAt(m) => &m.prefix,
            Message::Canceled(m) => &m.prefix,
            Message::Deleted(m) => &m.prefix,
            Message::Replaced(m) => &m.prefix,
        }
    }

    /// Bytes that [`Message::encode`] writes, at most [`MESSAGE_BYTES_MAX`].
    #[inline]
    pub fn size(&self) -> usize {
        match self {
            Message::System(_) => SystemBytes::SIZE,
            Message::Directory(_) => DirectoryBytes::SIZE,
            Message::TradingAction(_) => TradingActionBytes::SIZE,
            Message::Add(_) => AddBytes::SIZE,
            Message::Executed(_) => ExecutedBytes::SIZE,
            Message::ExecutedAt(_) => ExecutedAtBytes::SIZE,
            Message::Canceled(_) => CanceledBytes::SIZE,
            Message::Deleted(_) => DeletedBytes::SIZE,
            Message::Replaced(_) => ReplacedBytes::SIZE,
        }
    }

    /// Writes the message at the start of `out` (at least [`Message::size`] bytes, else panics);
    /// returns its length.
    #[inline]
    pub fn encode(&self, out: &mut [u8]) -> usize {
        match self {
            Message::System(m) => {
                SystemBytes { prefix: put_prefix(b'S', &m.prefix), code: m.code }.put(out)
            }
            Message::Directory(m) => DirectoryBytes {
                prefix: put_prefix(b'R', &m.prefix),
                symbol: m.symbol,
                market_category: m.market_category,
                financial_status: m.financial_status,
                round_lot: m.round_lot.into(),
                round_lots_only: m.round_lots_only,
                issue_class: m.issue_class,
                issue_sub_type: m.issue_sub_type,
                authenticity: m.authenticity,
                short_sale_threshold: m.short_sale_threshold,
                ipo: m.ipo,
                luld_tier: m.luld_tier,
                etp: m.etp,
                etp_leverage: m.etp_leverage.into(),
                inverse: m.inverse,
            }
            .put(out),
            Message::TradingAction(m) => TradingActionBytes {
                prefix: put_prefix(b'H', &m.prefix),
                symbol: m.symbol,
                state: m.state,
                reserved: b' ',
                reason: m.reason,
            }
            .put(out),
            Message::Add(m) => AddBytes {
                prefix: put_prefix(b'A', &m.prefix),
                order_ref: m.order_ref.0.into(),
                side: m.side.letter(),
                quantity: m.quantity.0.into(),
                symbol: m.symbol,
                price: m.price.0.into(),
            }
            .put(out),
            Message::Executed(m) => ExecutedBytes {
                prefix: put_prefix(b'E', &m.prefix),
                order_ref: m.order_ref.0.into(),
                quantity: m.quantity.0.into(),
                match_number: m.match_number.0.into(),
            }
            .put(out),
            Message::ExecutedAt(m) => ExecutedAtBytes {
                prefix: put_prefix(b'C', &m.prefix),
                order_ref: m.order_ref.0.into(),
                quantity: m.quantity.0.into(),
                match_number: m.match_number.0.into(),
                printable: m.printable,
                price: m.price.0.into(),
            }
            .put(out),
            Message::Canceled(m) => CanceledBytes {
                prefix: put_prefix(b'X', &m.prefix),
                order_ref: m.order_ref.0.into(),
                quantity: m.quantity.0.into(),
            }
            .put(out),
            Message::Deleted(m) => DeletedBytes {
                prefix: put_prefix(b'D', &m.prefix),
                order_ref: m.order_ref.0.into(),
            }
            .put(out),
            Message::Replaced(m) => ReplacedBytes {
                prefix: put_prefix(b'U', &m.prefix),
                old_ref: m.old_ref.0.into(),
                order_ref: m.order_ref.0.into(),
                quantity: m.quantity.0.into(),
                price: m.price.0.into(),
            }
            .put(out),
        }
    }

    /// Reads one block of the feed. The length must be the message's own.
    #[inline]
    pub fn decode(block: &[u8]) -> Result<Message, ItchError> {
        use ItchError::Length;
        Ok(match block.first() {
            None => return Err(ItchError::Empty),
            Some(b'S') => {
                let m = SystemBytes::get_exact(block).ok_or(Length)?;
                Message::System(System { prefix: get_prefix(&m.prefix), code: m.code })
            }
            Some(b'R') => {
                let m = DirectoryBytes::get_exact(block).ok_or(Length)?;
                Message::Directory(Directory {
                    prefix: get_prefix(&m.prefix),
                    symbol: m.symbol,
                    market_category: m.market_category,
                    financial_status: m.financial_status,
                    round_lot: m.round_lot.get(),
                    round_lots_only: m.round_lots_only,
                    issue_class: m.issue_class,
                    issue_sub_type: m.issue_sub_type,
                    authenticity: m.authenticity,
                    short_sale_threshold: m.short_sale_threshold,
                    ipo: m.ipo,
                    luld_tier: m.luld_tier,
                    etp: m.etp,
                    etp_leverage: m.etp_leverage.get(),
                    inverse: m.inverse,
                })
            }
            Some(b'H') => {
                let m = TradingActionBytes::get_exact(block).ok_or(Length)?;
                Message::TradingAction(TradingAction {
                    prefix: get_prefix(&m.prefix),
                    symbol: m.symbol,
                    state: m.state,
                    reason: m.reason,
                })
            }
            Some(b'A') => {
                let m = AddBytes::get_exact(block).ok_or(Length)?;
                Message::Add(Add {
                    prefix: get_prefix(&m.prefix),
                    order_ref: OrderRef(m.order_ref.get()),
                    side: Side::from_letter(m.side).ok_or(ItchError::Value)?,
                    quantity: Quantity(m.quantity.get()),
                    symbol: m.symbol,
                    price: Price(m.price.get()),
                })
            }
            Some(b'E') => {
                let m = ExecutedBytes::get_exact(block).ok_or(Length)?;
                Message::Executed(Executed {
                    prefix: get_prefix(&m.prefix),
                    order_ref: OrderRef(m.order_ref.get()),
                    quantity: Quantity(m.quantity.get()),
                    match_number: MatchNumber(m.match_number.get()),
                })
            }
            Some(b'C') => {
                let m = ExecutedAtBytes::get_exact(block).ok_or(Length)?;
                Message::ExecutedAt(ExecutedAt {
                    prefix: get_prefix(&m.prefix),
                    order_ref: OrderRef(m.order_ref.get()),
                    quantity: Quantity(m.quantity.get()),
                    match_number: MatchNumber(m.match_number.get()),
                    printable: m.printable,
                    price: Price(m.price.get()),
                })
            }
            Some(b'X') => {
                let m = CanceledBytes::get_exact(block).ok_or(Length)?;
                Message::Canceled(Canceled {
                    prefix: get_prefix(&m.prefix),
                    order_ref: OrderRef(m.order_ref.get()),
                    quantity: Quantity(m.quantity.get()),
                })
            }
            Some(b'D') => {
                let m = DeletedBytes::get_exact(block).ok_or(Length)?;
                Message::Deleted(Deleted {
                    prefix: get_prefix(&m.prefix),
                    order_ref: OrderRef(m.order_ref.get()),
                })
            }
            Some(b'U') => {
                let m = ReplacedBytes::get_exact(block).ok_or(Length)?;
                Message::Replaced(Replaced {
                    prefix: get_prefix(&m.prefix),
                    old_ref: OrderRef(m.old_ref.get()),
                    order_ref: OrderRef(m.order_ref.get()),
                    quantity: Quantity(m.quantity.get()),
                    price: Price(m.price.get()),
                })
            }
            Some(&letter) => return Err(ItchError::UnknownType(letter)),
        })
    }
}
