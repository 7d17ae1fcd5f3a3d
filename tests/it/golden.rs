//! Golden bytes of every message, both ways: written by hand from the standards, field by field.
//!
//! Each vector is also the table of its message: the offsets must add up, and the spec page beside
//! the codec must show the same rows. HMACs and SipHash tags of the worked login were computed
//! with another implementation (Python's `hmac`, and SipHash-2-4 from its paper).

mod feed;
mod orders;
mod own_blocks;
mod packets;

use rialto::types::*;
use rialto::wire::{itch, mold, ouch, session};

/// (offset, field as named on the page, bytes in hex).
type Fields = &'static [(usize, &'static str, &'static str)];

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    assert!(digits.len().is_multiple_of(2), "odd hex: {text}");
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn text_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Joins the fields; their offsets must leave no gap.
fn join(fields: Fields) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (offset, name, value) in fields {
        assert_eq!(*offset, bytes.len(), "offset of {name}");
        bytes.extend(hex(value));
    }
    bytes
}

/// The page's table under `heading` has exactly the rows of the vector.
fn check_page(page: &str, heading: &str, fields: Fields) {
    let start = page.find(heading).unwrap_or_else(|| panic!("no heading {heading:?}"));
    let section = &page[start + heading.len()..];
    let section = &section[..section.find("\n#").unwrap_or(section.len())];
    let mut rows = section.lines().filter(|l| {
        l.strip_prefix("| ").is_some_and(|l| l.starts_with(|c: char| c.is_ascii_digit()))
    });
    for (offset, name, value) in fields {
        // The vector shows the appendage's tags as fields of their own.
        if name.starts_with("tag ") {
            continue;
        }
        let want = format!("| {offset} | {} | {name} |", hex(value).len());
        let row = rows.next().unwrap_or("");
        assert!(row.starts_with(&want), "{heading}: page has {row:?}, bytes say {want:?}");
    }
    assert_eq!(rows.next(), None, "{heading}: the page has more rows");
}

const OUCH_PAGE: &str = include_str!("../../src/wire/ouch.md");
const ITCH_PAGE: &str = include_str!("../../src/wire/itch.md");
const MOLD_PAGE: &str = include_str!("../../src/wire/mold.md");
const SESSION_PAGE: &str = include_str!("../../src/wire/session.md");

/// 14:00 in ns since midnight.
const TWO_PM: u64 = 50_400_000_000_000;

fn alpha<const N: usize>(text: &str) -> Alpha<N> {
    Alpha::new(text).unwrap()
}

#[track_caller]
fn check_inbound(heading: &str, fields: Fields, message: ouch::Inbound) {
    let bytes = join(fields);
    let mut out = [0xEE; ouch::INBOUND_BYTES_MAX];
    assert_eq!(message.size(), bytes.len());
    let len = message.encode(&mut out);
    assert_eq!(text_hex(&out[..len]), text_hex(&bytes), "{heading}: encoded");
    assert!(out[len..].iter().all(|&b| b == 0xEE), "{heading}: wrote beyond its size");
    assert_eq!(ouch::decode_inbound(&bytes), Ok(message), "{heading}: decoded");
    check_page(OUCH_PAGE, heading, fields);
}

#[track_caller]
fn check_outbound(heading: &str, fields: Fields, message: ouch::Outbound) {
    let bytes = join(fields);
    let mut out = [0xEE; ouch::OUTBOUND_BYTES_MAX];
    assert_eq!(message.size(), bytes.len());
    let len = message.encode(&mut out);
    assert_eq!(text_hex(&out[..len]), text_hex(&bytes), "{heading}: encoded");
    assert!(out[len..].iter().all(|&b| b == 0xEE), "{heading}: wrote beyond its size");
    assert_eq!(ouch::Outbound::decode(&bytes), Ok(message), "{heading}: decoded");
    check_page(OUCH_PAGE, heading, fields);
}

#[track_caller]
fn check_itch(heading: &str, fields: Fields, message: itch::Message) {
    let bytes = join(fields);
    let mut out = [0xEE; itch::MESSAGE_BYTES_MAX];
    assert_eq!(message.size(), bytes.len());
    let len = message.encode(&mut out);
    assert_eq!(text_hex(&out[..len]), text_hex(&bytes), "{heading}: encoded");
    assert!(out[len..].iter().all(|&b| b == 0xEE), "{heading}: wrote beyond its size");
    assert_eq!(itch::Message::decode(&bytes), Ok(message), "{heading}: decoded");
    check_page(ITCH_PAGE, heading, fields);
}
