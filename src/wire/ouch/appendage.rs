//! The optional appendage: u16 length, then tags of (u8 length of the rest, u8 tag, value).
//!
//! Every tag of the standard is known by name and length, so that one which is not offered is
//! refused by its name and a wrong length is told from an unknown tag.

use super::InboundError;
use crate::types::{AccountName, Alpha};

/// A tag of OUCH 5.0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tag {
    /// Number on the wire.
    pub tag: u8,
    /// Name in the standard.
    pub name: &'static str,
    /// Bytes of the value.
    pub value_bytes: u8,
    /// Taken on Enter; every other message takes none.
    pub offered: bool,
}

const fn tag(tag: u8, name: &'static str, value_bytes: u8, offered: bool) -> Tag {
    Tag { tag, name, value_bytes, offered }
}

/// All tags in the order of their numbers; 8, 19-21 are not assigned. 26-28 came after the text of
/// April 2023.
pub const TAGS: [Tag; 24] = [
    tag(1, "SecondaryOrdRefNum", 8, false),
    tag(2, "Firm", 4, true),
    tag(3, "MinQty", 4, true),
    tag(4, "CustomerType", 1, false),
    tag(5, "MaxFloor", 4, false),
    tag(6, "PriceType", 1, false),
    tag(7, "PegOffset", 4, false),
    tag(9, "DiscretionPrice", 8, false),
    tag(10, "DiscretionPriceType", 1, false),
    tag(11, "DiscretionPegOffset", 4, false),
    tag(12, "PostOnly", 1, false),
    tag(13, "RandomReserves", 4, false),
    tag(14, "Route", 4, false),
    tag(15, "ExpireTime", 4, false),
    tag(16, "TradeNow", 1, false),
    tag(17, "HandleInst", 1, false),
    tag(18, "BboWeightIndicator", 1, false),
    tag(22, "DisplayQuantity", 4, false),
    tag(23, "DisplayPrice", 8, false),
    tag(24, "GroupId", 2, false),
    tag(25, "SharesLocated", 1, false),
    tag(26, "LocateBroker", 4, false),
    tag(27, "Side", 1, false),
    tag(28, "UserRefIndex", 1, false),
];

const FIRM: u8 = 2;
const MIN_QTY: u8 = 3;

/// The table's row of `number`; `None` for a number that the standard does not assign.
fn row(number: u8) -> Option<&'static Tag> {
    TAGS.iter().find(|tag| tag.tag == number)
}

/// Name of a tag in the standard; `None` for a number that it does not assign.
pub fn tag_name(number: u8) -> Option<&'static str> {
    row(number).map(|tag| tag.name)
}

/// The tags that the venue offers, as sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Appendage {
    /// Tag 2, Firm: the account. Absent = the session's default account.
    pub account: Option<AccountName>,
    /// Tag 3, MinQty, shares.
    pub min_quantity: Option<u32>,
}

impl Appendage {
    /// Bytes of the tags, the u16 length before them not counted.
    #[inline]
    pub fn tag_bytes(&self) -> usize {
        6 * (usize::from(self.account.is_some()) + usize::from(self.min_quantity.is_some()))
    }

    /// Writes u16 length and tags (in the order of their numbers) at the start of `out`; returns
    /// the bytes written, at most 14.
    #[inline]
    pub(super) fn put(&self, out: &mut [u8]) -> usize {
        let len = self.tag_bytes();
        out[..2].copy_from_slice(&(len as u16).to_be_bytes());
        let mut at = 2;
        if let Some(account) = self.account {
            out[at..at + 2].copy_from_slice(&[5, FIRM]);
            out[at + 2..at + 6].copy_from_slice(&account.0);
            at += 6;
        }
        if let Some(min_quantity) = self.min_quantity {
            out[at..at + 2].copy_from_slice(&[5, MIN_QTY]);
            out[at + 2..at + 6].copy_from_slice(&min_quantity.to_be_bytes());
            at += 6;
        }
        at
    }

    /// Reads what follows a message's fixed part: nothing at all, or u16 length and exactly so
    /// many bytes of tags. `offered`: the message takes the offered tags; else every tag is
    /// unsupported on it.
    #[inline]
    pub(super) fn get(bytes: &[u8], offered: bool) -> Result<Appendage, InboundError> {
        let mut appendage = Appendage::default();
        for found in tags(bytes)? {
            let (number, value) = found?;
            let Some(tag) = row(number) else {
                return Err(InboundError::UnknownTag(number));
            };
            if !(tag.offered && offered) {
                return Err(InboundError::UnsupportedTag(number));
            }
            let doubled = match number {
                FIRM => appendage.account.is_some(),
                _ => appendage.min_quantity.is_some(),
            };
            if doubled {
                return Err(InboundError::DoubledTag(number));
            }
            let value: [u8; 4] = value.try_into().map_err(|_| InboundError::TagLength(number))?;
            match number {
                FIRM => appendage.account = Some(Alpha(value)),
                _ => appendage.min_quantity = Some(u32::from_be_bytes(value)),
            }
        }
        Ok(appendage)
    }

    /// As [`Appendage::get`], for a client that reads reports: tags that it does not know are
    /// passed over, so that the venue may add some. `None` when the lengths do not add up.
    #[inline]
    pub(super) fn get_lenient(bytes: &[u8]) -> Option<Appendage> {
        let mut appendage = Appendage::default();
        for found in tags(bytes).ok()? {
            match found.ok()? {
                (FIRM, value) => {
                    appendage.account = Some(Alpha(value.try_into().ok()?));
                }
                (MIN_QTY, value) => {
                    appendage.min_quantity = Some(u32::from_be_bytes(value.try_into().ok()?));
                }
                _ => {}
            }
        }
        Some(appendage)
    }
}

/// Walks the tags behind a fixed part: (number, value) each, or an error and then nothing more.
#[inline]
fn tags(bytes: &[u8]) -> Result<Tags<'_>, InboundError> {
    if bytes.is_empty() {
        return Ok(Tags { rest: &[] });
    }
    let (length, rest) = bytes.split_first_chunk::<2>().ok_or(InboundError::Appendage)?;
    if usize::from(u16::from_be_bytes(*length)) != rest.len() {
        return Err(InboundError::Appendage);
    }
    Ok(Tags { rest })
}

struct Tags<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Tags<'a> {
    type Item = Result<(u8, &'a [u8]), InboundError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (&length, rest) = self.rest.split_first()?;
        self.rest = &[];
        let Some((tag, rest)) = rest.split_at_checked(usize::from(length)) else {
            return Some(Err(InboundError::Appendage));
        };
        // A length of 0 has no room for the tag's number.
        let Some((&number, value)) = tag.split_first() else {
            return Some(Err(InboundError::Appendage));
        };
        self.rest = rest;
        Some(Ok((number, value)))
    }
}
