//! Events: what the exchange makes of commands, as it stands in the event log.
//!
//! Every event is addressed to at most one session (then it has a report number) and says at most
//! one thing on the feed (then it has a feed number). Both numbers are assigned by the exchange,
//! so egress, publisher and repair count nothing. Must not know OUCH or ITCH bytes: egress and
//! publisher translate.
//!
//! | event | report to its session | feed |
//! |---|---|---|
//! | System | - | S |
//! | Directory | - | R |
//! | TradingAction | - | H |
//! | SessionMark | S | - |
//! | LoggedIn, SessionEnded, Applied | - (not numbered: A, J or close, K) | - |
//! | Accepted | A | A when `on_book`, else - |
//! | Executed | E | E when the order was resting (liquidity `A`), else - |
//! | Rested | - | A |
//! | Canceled | C | X (leaves > 0) or D when the order was resting, else - |
//! | Replaced | U | U when `on_book`, else D of the old reference |
//! | Rejected | J | - |
//! | NotApplied | N | - |
//! | QueryResponse | Q | - |
//! | CancelRefused | I | - |

use crate::types::*;

/// `EventHead::session` of an event that is addressed to no session.
pub const NO_SESSION: SessionSlot = SessionSlot(u16::MAX);

layout! {
    /// Head of every event payload. Time stands in the record's header (the command's time).
    pub struct EventHead: 48 {
        /// Command that caused the event.
        0 command: Seq,
        /// Session addressed, or [`NO_SESSION`].
        8 session: SessionSlot,
        /// Zero.
        10 zero: [u8; 2],
        /// Index of the event within its command, from 0.
        12 index: u32,
        /// Number in the session's downstream, from 1; 0 = not a report.
        16 report: u64,
        /// Number on the feed, from 1; 0 = nothing on the feed.
        24 feed: u64,
        /// Client sequence applied through, of the session addressed; 0 without one.
        32 applied: u64,
        /// Position in the event log of the session's previous report, 0 = none. Filled by
        /// sequencer::outbound; the exchange leaves it 0.
        40 previous: u64,
    }
}

layout! {
    /// System event of the feed. Codes as ITCH S: O S Q M E C.
    pub struct System: 8 {
        /// Code.
        0 code: u8,
        /// Zero.
        1 zero: [u8; 7],
    }
}

layout! {
    /// A symbol of the day.
    pub struct Directory: 16 {
        /// Stock locate.
        0 locate: Locate,
        /// Zero.
        2 zero: [u8; 2],
        /// Round lot, shares.
        4 lot: u32,
        /// Symbol.
        8 symbol: Symbol,
    }
}

layout! {
    /// Trading state of a symbol.
    pub struct TradingAction: 16 {
        /// Stock locate.
        0 locate: Locate,
        /// ITCH state letter: H, P or T.
        2 state: u8,
        /// Zero.
        3 zero: u8,
        /// ITCH reason.
        4 reason: Alpha<4>,
        /// Symbol.
        8 symbol: Symbol,
    }
}

layout! {
    /// First and last report of a session's day: `S`, `E`.
    pub struct SessionMark: 8 {
        /// Code.
        0 code: u8,
        /// Zero.
        1 zero: [u8; 7],
    }
}

layout! {
    /// A login took effect: what egress needs for A, and every gateway for the binding.
    pub struct LoggedIn: 80 {
        /// Login generation.
        0 generation: u32,
        /// Flags granted.
        4 flags: u8,
        /// Protocol version.
        5 version: u8,
        /// Dead time granted, ms.
        6 dead_time_ms: u16,
        /// Token.
        8 token: Token,
        /// Source port.
        18 port: u16,
        /// Source address.
        20 ip: [u8; 4],
        /// Client's nonce.
        24 client_nonce: [u8; 16],
        /// Gateway's nonce.
        40 server_nonce: [u8; 16],
        /// Next report number at this moment.
        56 next_report: u64,
        /// The client's time in L.
        64 login_time: Nanos,
        /// Next URN that is above the last; 0 = used up.
        72 next_urn: u32,
        /// Zero.
        76 zero: [u8; 4],
    }
}

/// Why a binding ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum EndedBy {
    /// Answered logoff.
    Logoff = 1,
    /// Silent for the dead time.
    Silence = 2,
    /// End of day.
    EndOfDay = 3,
}

layout! {
    /// A binding ended; its token is dead.
    pub struct SessionEnded: 8 {
        /// Generation that ended.
        0 generation: u32,
        /// [`EndedBy`].
        4 by: u8,
        /// Zero.
        5 zero: [u8; 3],
    }
}

layout! {
    /// A block was settled without a report: applied-through in the head moved.
    pub struct Applied: 8 {
        /// Next report number of the session.
        0 next_report: u64,
    }
}

layout! {
    /// A new order was accepted.
    pub struct Accepted: 64 {
        /// Reference.
        0 order_ref: OrderRef,
        /// Client's reference.
        8 urn: Urn,
        /// Shares.
        12 quantity: Quantity,
        /// Limit as entered (0x7FFFFFFF = market).
        16 price: Price,
        /// Stock locate.
        20 locate: Locate,
        /// Account.
        22 account: AccountSlot,
        /// Symbol.
        24 symbol: Symbol,
        /// Client order id.
        32 cl_ord_id: ClOrdId,
        /// Side.
        46 side: Side,
        /// Time in force, echoed.
        47 tif: u8,
        /// Display, echoed.
        48 display: u8,
        /// Capacity, echoed.
        49 capacity: u8,
        /// ISO, echoed.
        50 iso: u8,
        /// Cross, echoed.
        51 cross: u8,
        /// Order state: `L` live.
        52 state: u8,
        /// 1 when the whole order rests at once: the feed says A.
        53 on_book: u8,
        /// Tags that the order carried, to be echoed: command::FLAG_*.
        54 flags: u8,
        /// Zero.
        55 zero: u8,
        /// Account name as sent (tag 2).
        56 account_name: AccountName,
        /// Minimum quantity as sent (tag 3).
        60 min_quantity: Quantity,
    }
}

layout! {
    /// One side of a match. Two per match: first the resting order's, then the incoming one's.
    pub struct Executed: 40 {
        /// Reference of this side's order.
        0 order_ref: OrderRef,
        /// Match number, the same on both sides and on the feed.
        8 match_number: MatchNumber,
        /// Client's reference of this side's order.
        16 urn: Urn,
        /// Shares.
        20 quantity: Quantity,
        /// Price of the resting order.
        24 price: Price,
        /// Open shares after this execution.
        28 leaves: Quantity,
        /// Stock locate.
        32 locate: Locate,
        /// Account.
        34 account: AccountSlot,
        /// Side of this order.
        36 side: Side,
        /// `A` added liquidity (was resting), `R` removed.
        37 liquidity: u8,
        /// Zero.
        38 zero: [u8; 2],
    }
}

layout! {
    /// What is left of an order that traded on entry now rests.
    pub struct Rested: 28 {
        /// Reference.
        0 order_ref: OrderRef,
        /// Price.
        8 price: Price,
        /// Open shares.
        12 quantity: Quantity,
        /// Symbol.
        16 symbol: Symbol,
        /// Stock locate.
        24 locate: Locate,
        /// Side.
        26 side: Side,
        /// Zero.
        27 zero: u8,
    }
}

layout! {
    /// An order lost open shares without an execution.
    pub struct Canceled: 28 {
        /// Reference.
        0 order_ref: OrderRef,
        /// Client's reference.
        8 urn: Urn,
        /// Shares taken off.
        12 decrement: Quantity,
        /// Open shares after it.
        16 leaves: Quantity,
        /// Stock locate.
        20 locate: Locate,
        /// Account.
        22 account: AccountSlot,
        /// Side.
        24 side: Side,
        /// `CancelReason`.
        25 reason: u8,
        /// 1 when the order was resting: the feed says X or D.
        26 was_resting: u8,
        /// Zero.
        27 zero: u8,
    }
}

layout! {
    /// An order was replaced: a new reference at the back of the queue.
    pub struct Replaced: 68 {
        /// Reference of the old order, gone now.
        0 old_ref: OrderRef,
        /// Reference of the new order.
        8 order_ref: OrderRef,
        /// Old order's client reference.
        16 old_urn: Urn,
        /// New order's client reference.
        20 urn: Urn,
        /// Open shares of the new order.
        24 quantity: Quantity,
        /// New limit.
        28 price: Price,
        /// Stock locate.
        32 locate: Locate,
        /// Account.
        34 account: AccountSlot,
        /// Symbol.
        36 symbol: Symbol,
        /// Client order id.
        44 cl_ord_id: ClOrdId,
        /// Side.
        58 side: Side,
        /// Time in force, echoed.
        59 tif: u8,
        /// Display, echoed.
        60 display: u8,
        /// Capacity of the original order.
        61 capacity: u8,
        /// ISO, echoed.
        62 iso: u8,
        /// Cross of the original order.
        63 cross: u8,
        /// Order state: `L` live.
        64 state: u8,
        /// 1 when the whole new order rests at once: the feed says U; else it says D of the old.
        65 on_book: u8,
        /// Zero.
        66 zero: [u8; 2],
    }
}

layout! {
    /// An order or replace was refused.
    pub struct Rejected: 20 {
        /// Client's reference.
        0 urn: Urn,
        /// `RejectReason`.
        4 reason: u16,
        /// Client order id, blank where unknown.
        6 cl_ord_id: ClOrdId,
    }
}

layout! {
    /// Blocks `from .. from + count` were not applied.
    pub struct NotApplied: 12 {
        /// First client sequence.
        0 from: u64,
        /// How many.
        8 count: u32,
    }
}

layout! {
    /// Answer to an account query.
    pub struct QueryResponse: 4 {
        /// Next URN above the last; 0 = used up.
        0 next_urn: u32,
    }
}

layout! {
    /// A cancel was refused; the order stays as it is.
    pub struct CancelRefused: 4 {
        /// The order that should have been canceled.
        0 urn: Urn,
    }
}

macro_rules! events {
    ($($number:literal $name:ident),* $(,)?) => {
        /// What happened.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum EventBody {
            $(
                #[doc = concat!("See [`", stringify!($name), "`].")]
                $name($name),
            )*
        }

        $(
            impl From<$name> for EventBody {
                #[inline]
                fn from(body: $name) -> EventBody {
                    EventBody::$name(body)
                }
            }
        )*

        impl EventBody {
            /// Record kind in the event log.
            #[inline]
            pub fn kind(&self) -> u16 {
                match self { $( EventBody::$name(_) => $number, )* }
            }

            /// Bytes of the body in a payload.
            #[inline]
            pub fn size(&self) -> usize {
                match self { $( EventBody::$name(_) => $name::SIZE, )* }
            }

            #[inline]
            fn put(&self, out: &mut [u8]) {
                match self { $( EventBody::$name(b) => b.put(out), )* }
            }

            #[inline]
            fn get(kind: u16, bytes: &[u8]) -> Option<EventBody> {
                match kind { $( $number => $name::get(bytes).map(EventBody::$name), )* _ => None }
            }
        }
    };
}

events! {
    1 System, 2 Directory, 3 TradingAction, 4 SessionMark, 5 LoggedIn, 6 SessionEnded, 7 Applied,
    8 Accepted, 9 Executed, 10 Rested, 11 Canceled, 12 Replaced, 13 Rejected, 14 NotApplied,
    15 QueryResponse, 16 CancelRefused,
}

/// Longest event payload.
pub const EVENT_BYTES_MAX: usize = EventHead::SIZE + LoggedIn::SIZE;

/// One event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// Addresses and numbers.
    pub head: EventHead,
    /// What happened.
    pub body: EventBody,
}

impl Event {
    /// Bytes of the payload.
    #[inline]
    pub fn size(&self) -> usize {
        EventHead::SIZE + self.body.size()
    }

    /// Writes the payload into `out` (at least [`Event::size`] bytes).
    #[inline]
    pub fn encode(&self, out: &mut [u8]) {
        self.head.put(out);
        self.body.put(&mut out[EventHead::SIZE..]);
    }

    /// Reads an event from a record of the event log; `None` when it is none of ours.
    #[inline]
    pub fn decode(kind: u16, payload: &[u8]) -> Option<Event> {
        let head = EventHead::get(payload)?;
        let body = EventBody::get(kind, payload.get(EventHead::SIZE..)?)?;
        Some(Event { head, body })
    }
}

/// Where `apply` puts its events, in order.
pub trait EventSink {
    /// Takes one event of the command that is being applied; `time` is the command's.
    fn emit(&mut self, time: Nanos, event: &Event);
}

impl EventSink for Vec<Event> {
    fn emit(&mut self, _time: Nanos, event: &Event) {
        self.push(*event);
    }
}
