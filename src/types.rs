//! The venue's words as types: prices, quantities, names, numbers.
//!
//! Consumes nothing, names no other module. Everything here is `Copy`, has one unit, and is
//! what wire, exchange and agents speak between themselves.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Price in 1/10,000 of the venue's currency (ITCH and OUCH "Price(4)"), 0 ..= [`Price::MAX`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Price(pub u32);

impl Price {
    /// Highest limit price OUCH 5.0 admits: 199,999.9900 (0x7735939C).
    pub const MAX: Price = Price(0x7735_939C);
    /// OUCH's code for "market" (0x7FFFFFFF); never a price of the book.
    pub const MARKET: Price = Price(0x7FFF_FFFF);

    /// Cash that `quantity` shares cost at this price. Cannot overflow: 2^31 x 2^32 < 2^63.
    #[inline]
    pub fn times(self, quantity: Quantity) -> Notional {
        Notional(self.0 as u64 * quantity.0 as u64)
    }
}

/// Number of shares.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Quantity(pub u32);

/// Amount of cash in 1/10,000 of the venue's currency.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Notional(pub u64);

/// Number of a record in one of the two logs, from 1; 0 = none yet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Seq(pub u64);

/// Nanoseconds since 1970-01-01 00:00 UTC (monotonic, anchored to wall time at start).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Nanos(pub u64);

impl Nanos {
    /// Time from `earlier` to `self`, 0 when `earlier` is later.
    #[inline]
    pub fn since(self, earlier: Nanos) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// `self` moved by `ns` nanoseconds, held at the type's end.
    #[inline]
    pub fn plus(self, ns: u64) -> Nanos {
        Nanos(self.0.saturating_add(ns))
    }
}

/// Stock locate of ITCH: 1 ..= symbols, constant within the day; 0 = not about a symbol.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Locate(pub u16);

/// Index of a session in Genesis (and in the gateway's table), from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct SessionSlot(pub u16);

/// Index of an account in Genesis, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct AccountSlot(pub u16);

/// OUCH UserRefNum: the client's reference of an order, strictly increasing per session and day.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Urn(pub u32);

/// The exchange's order reference: count of references issued today << 32 | arena slot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct OrderRef(pub u64);

/// Number of a match, from 1 per day; both executions and ITCH E carry the same one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct MatchNumber(pub u64);

/// Side of an order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
#[repr(u8)]
pub enum Side {
    /// Bid.
    Buy = b'B',
    /// Offer, of shares the account holds.
    Sell = b'S',
}

impl Side {
    /// From the wire's letter; short sales (`T`, `E`) are not a side here.
    #[inline]
    pub fn from_letter(letter: u8) -> Option<Side> {
        match letter {
            b'B' => Some(Side::Buy),
            b'S' => Some(Side::Sell),
            _ => None,
        }
    }

    /// The wire's letter.
    #[inline]
    pub fn letter(self) -> u8 {
        self as u8
    }

    /// The other side.
    #[inline]
    pub fn opposite(self) -> Side {
        match self {
            Side::Buy => Side::Sell,
            Side::Sell => Side::Buy,
        }
    }

    /// 0 for buy, 1 for sell: index into two-element arrays.
    #[inline]
    pub fn index(self) -> usize {
        match self {
            Side::Buy => 0,
            Side::Sell => 1,
        }
    }
}

/// Left-justified, blank-padded ASCII field of `N` bytes.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(transparent)]
pub struct Alpha<const N: usize>(pub [u8; N]);

impl<const N: usize> Alpha<N> {
    /// All blanks.
    pub const BLANK: Alpha<N> = Alpha([b' '; N]);

    /// `text` padded with blanks; `None` when too long or not printable ASCII.
    pub fn new(text: &str) -> Option<Alpha<N>> {
        let bytes = text.as_bytes();
        if bytes.len() > N || bytes.iter().any(|b| !(0x20..0x7f).contains(b)) {
            return None;
        }
        let mut out = [b' '; N];
        out[..bytes.len()].copy_from_slice(bytes);
        Some(Alpha(out))
    }

    /// The text without trailing blanks; bytes that are not printable ASCII are shown as `?`.
    pub fn text(&self) -> String {
        let end = self.0.iter().rposition(|&b| b != b' ').map_or(0, |i| i + 1);
        self.0[..end]
            .iter()
            .map(|&b| if (0x20..0x7f).contains(&b) { b as char } else { '?' })
            .collect()
    }

    /// True when every byte is a blank.
    #[inline]
    pub fn is_blank(&self) -> bool {
        self.0.iter().all(|&b| b == b' ')
    }
}

impl<const N: usize> Default for Alpha<N> {
    fn default() -> Self {
        Self::BLANK
    }
}

impl<const N: usize> std::fmt::Debug for Alpha<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.text())
    }
}

impl<const N: usize> std::fmt::Display for Alpha<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.text())
    }
}

/// Stock symbol, 8 characters.
pub type Symbol = Alpha<8>;
/// OUCH "Firm" (appendage tag 2): the account's name, 4 characters.
pub type AccountName = Alpha<4>;
/// User name of a session, 6 characters of A-Z and 0-9.
pub type User = Alpha<6>;
/// Client order id, 14 characters, not checked for uniqueness.
pub type ClOrdId = Alpha<14>;
/// MoldUDP64 session name (downstream name, feed session), 10 characters.
pub type SessionName = Alpha<10>;
/// Upstream token: 2 characters slot, 8 random, base62.
pub type Token = Alpha<10>;

/// OUCH reject reasons that the venue uses. Source: Ouch.v5.0, appendix of reject codes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
#[repr(u16)]
pub enum RejectReason {
    /// Market not open, or the day is over.
    DestinationClosed = 0x0002,
    /// Display other than Y or N (attribution is not offered).
    Display = 0x0003,
    /// Symbol halted, or the whole venue.
    Halted = 0x0007,
    /// Side other than B or S.
    Side = 0x0009,
    /// A table of the exchange is full (orders, price pages).
    ProcessingError = 0x000A,
    /// Account unknown, or not one of the session's firm.
    FirmNotAuthorised = 0x000C,
    /// Malformed message; a tag unknown, unsupported, doubled or of wrong length; other field.
    Other = 0x000F,
    /// Quantity 0, 1,000,000 or more, or not a multiple of the lot.
    Quantity = 0x0013,
    /// Replace not allowed now (symbol halted, market closed).
    ReplaceNotAllowed = 0x0015,
    /// Symbol unknown.
    Symbol = 0x0017,
    /// Price 0, above the maximum or off the tick; market price without IOC.
    Price = 0x001D,
    /// Order larger than the account's limit on shares per order.
    SharesThreshold = 0x001E,
    /// Order larger than the account's limit on notional per order.
    MaxNotional = 0x001F,
    /// Not enough free cash or shares.
    AggregateExposure = 0x0020,
    /// The venue takes cancels only just now. The standard's name: restricted stock.
    CancelsOnly = 0x0022,
    /// Time in force, cross, ISO, minimum quantity not offered.
    OrderType = 0x0024,
    /// The account's limit on shares of this symbol and day is used up.
    VolumeLimit = 0x0025,
    /// Price outside the symbol's band.
    FatFinger = 0x0026,
    /// The session's message rate is used up.
    PortRate = 0x0029,
}

/// OUCH cancel reasons that the venue uses. Source: Ouch.v5.0, Canceled.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
#[repr(u8)]
pub enum CancelReason {
    /// User asked (cancel, or an invalid replace of a live order).
    User = b'U',
    /// IOC remainder, or fill-or-kill unmet.
    Immediate = b'I',
    /// Market order's remainder beyond the protection price.
    Collar = b'K',
    /// System: throttled replace, cancel on disconnect.
    System = b'Z',
    /// End of day.
    Closed = b'E',
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alpha_pads_and_refuses() {
        assert_eq!(Symbol::new("AAPL").unwrap().0, *b"AAPL    ");
        assert_eq!(Symbol::new("AAPL").unwrap().text(), "AAPL");
        assert!(Symbol::new("TOOLONGNAME").is_none());
        assert!(Symbol::new("A\n").is_none());
    }

    #[test]
    fn notional_of_the_largest_order_fits() {
        assert_eq!(Price::MAX.times(Quantity(999_999)).0, 0x7735_939C * 999_999);
    }
}
