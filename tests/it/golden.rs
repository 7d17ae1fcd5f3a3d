//! Golden bytes of every message, both ways: written by hand from the standards, field by field.
//!
//! Each vector is also the table of its message: the offsets must add up, and the spec page beside
//! the codec must show the same rows. HMACs and SipHash tags of the worked login were computed
//! with another implementation (Python's `hmac`, and SipHash-2-4 from its paper).

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

// ---------------------------------------------------------------- OUCH, client to exchange

#[test]
fn ouch_enter() {
    let fields: Fields = &[
        (0, "type", "4f"),
        (1, "urn", "01020304"),
        (5, "side", "42"),
        (6, "quantity", "000f423f"),
        (10, "symbol", "4d53465420202020"),
        (18, "price", "000000007735939c"),
        (26, "tif", "30"),
        (27, "display", "59"),
        (28, "capacity", "50"),
        (29, "iso", "4e"),
        (30, "cross", "4e"),
        (31, "clordid", "6f726465722d3100000000000000"),
        (45, "appendage", "000c"),
        (47, "tag 2", "05 02 41434331"),
        (53, "tag 3", "05 03 00000064"),
    ];
    let mut cl_ord_id = [0; 14];
    cl_ord_id[..7].copy_from_slice(b"order-1");
    check_inbound(
        "### O: enter order",
        fields,
        ouch::Inbound::Enter(ouch::Enter {
            urn: Urn(0x0102_0304),
            side: b'B',
            quantity: Quantity(999_999),
            symbol: alpha("MSFT"),
            price: 0x7735_939C,
            tif: b'0',
            display: b'Y',
            capacity: b'P',
            iso: b'N',
            cross: b'N',
            cl_ord_id: Alpha(cl_ord_id),
            appendage: ouch::Appendage { account: Some(alpha("ACC1")), min_quantity: Some(100) },
        }),
    );
}

#[test]
fn ouch_replace() {
    let fields: Fields = &[
        (0, "type", "55"),
        (1, "old urn", "01020304"),
        (5, "urn", "05060708"),
        (9, "quantity", "000000c8"),
        (13, "price", "0000000000027100"),
        (21, "tif", "33"),
        (22, "display", "4e"),
        (23, "iso", "4e"),
        (24, "clordid", "4142434445464748494a4b4c4d4e"),
        (38, "appendage", "0000"),
    ];
    check_inbound(
        "### U: replace order",
        fields,
        ouch::Inbound::Replace(ouch::Replace {
            old_urn: Urn(0x0102_0304),
            urn: Urn(0x0506_0708),
            quantity: Quantity(200),
            price: 160_000,
            tif: b'3',
            display: b'N',
            iso: b'N',
            cl_ord_id: alpha("ABCDEFGHIJKLMN"),
        }),
    );
}

#[test]
fn ouch_cancel_and_query() {
    check_inbound(
        "### X: cancel order",
        &[(0, "type", "58"), (1, "urn", "ffffffff"), (5, "quantity", "0000000a")],
        ouch::Inbound::Cancel(ouch::Cancel { urn: Urn(u32::MAX), quantity: Quantity(10) }),
    );
    check_inbound("### Q: account query, 1 byte", &[(0, "type", "51")], ouch::Inbound::Query);
}

// ---------------------------------------------------------------- OUCH, exchange to client

/// 14:00 in ns since midnight.
const TWO_PM: u64 = 50_400_000_000_000;

#[test]
fn ouch_system_event() {
    check_outbound(
        "### S: system event",
        &[(0, "type", "53"), (1, "timestamp", "00002dd6aa18c000"), (9, "code", "45")],
        ouch::Outbound::SystemEvent(ouch::SystemEvent { timestamp: TWO_PM, code: b'E' }),
    );
}

#[test]
fn ouch_accepted() {
    let fields: Fields = &[
        (0, "type", "41"),
        (1, "timestamp", "00002dd6aa18c001"),
        (9, "urn", "01020304"),
        (13, "side", "53"),
        (14, "quantity", "00000064"),
        (18, "symbol", "4141504c20202020"),
        (26, "price", "000000007fffffff"),
        (34, "tif", "33"),
        (35, "display", "59"),
        (36, "order reference", "0000000200000001"),
        (44, "capacity", "41"),
        (45, "iso", "4e"),
        (46, "cross", "4e"),
        (47, "state", "4c"),
        (48, "clordid", "6d792d6f72646572202020202020"),
        (62, "appendage", "000c"),
        (64, "tag 2", "05 02 41433220"),
        (70, "tag 3", "05 03 00000064"),
    ];
    check_outbound(
        "### A: accepted",
        fields,
        ouch::Outbound::Accepted(ouch::Accepted {
            timestamp: TWO_PM + 1,
            urn: Urn(0x0102_0304),
            side: Side::Sell,
            quantity: Quantity(100),
            symbol: alpha("AAPL"),
            price: Price::MARKET,
            tif: b'3',
            display: b'Y',
            order_ref: OrderRef(0x2_0000_0001),
            capacity: b'A',
            iso: b'N',
            cross: b'N',
            state: b'L',
            cl_ord_id: alpha("my-order"),
            appendage: ouch::Appendage { account: Some(alpha("AC2")), min_quantity: Some(100) },
        }),
    );
}

#[test]
fn ouch_replaced() {
    let fields: Fields = &[
        (0, "type", "55"),
        (1, "timestamp", "00002dd6aa18c002"),
        (9, "old urn", "00000001"),
        (13, "urn", "00000002"),
        (17, "side", "42"),
        (18, "quantity", "00000190"),
        (22, "symbol", "4141504c20202020"),
        (30, "price", "000000000016ed24"),
        (38, "tif", "30"),
        (39, "display", "4e"),
        (40, "order reference", "0000000300000000"),
        (48, "capacity", "52"),
        (49, "iso", "4e"),
        (50, "cross", "4e"),
        (51, "state", "4c"),
        (52, "clordid", "7265706c61636564202020202020"),
        (66, "appendage", "0000"),
    ];
    check_outbound(
        "### U: replaced",
        fields,
        ouch::Outbound::Replaced(ouch::Replaced {
            timestamp: TWO_PM + 2,
            old_urn: Urn(1),
            urn: Urn(2),
            side: Side::Buy,
            quantity: Quantity(400),
            symbol: alpha("AAPL"),
            price: Price(1_502_500),
            tif: b'0',
            display: b'N',
            order_ref: OrderRef(0x3_0000_0000),
            capacity: b'R',
            iso: b'N',
            cross: b'N',
            state: b'L',
            cl_ord_id: alpha("replaced"),
        }),
    );
}

#[test]
fn ouch_canceled() {
    check_outbound(
        "### C: canceled",
        &[
            (0, "type", "43"),
            (1, "timestamp", "00002dd6aa18c003"),
            (9, "urn", "00000007"),
            (13, "decrement", "0000012c"),
            (17, "reason", "55"),
        ],
        ouch::Outbound::Canceled(ouch::Canceled {
            timestamp: TWO_PM + 3,
            urn: Urn(7),
            decrement: Quantity(300),
            reason: CancelReason::User as u8,
        }),
    );
}

#[test]
fn ouch_executed() {
    check_outbound(
        "### E: executed",
        &[
            (0, "type", "45"),
            (1, "timestamp", "00002dd6aa18c004"),
            (9, "urn", "00000007"),
            (13, "quantity", "00000064"),
            (17, "price", "000000000016ed24"),
            (25, "liquidity", "52"),
            (26, "match number", "0000000000000102"),
            (34, "appendage", "0000"),
        ],
        ouch::Outbound::Executed(ouch::Executed {
            timestamp: TWO_PM + 4,
            urn: Urn(7),
            quantity: Quantity(100),
            price: Price(1_502_500),
            liquidity: b'R',
            match_number: MatchNumber(0x102),
        }),
    );
}

#[test]
fn ouch_rejected() {
    check_outbound(
        "### J: rejected",
        &[
            (0, "type", "4a"),
            (1, "timestamp", "00002dd6aa18c005"),
            (9, "urn", "00000008"),
            (13, "reason", "0029"),
            (15, "clordid", "746f6f2d66617374202020202020"),
        ],
        ouch::Outbound::Rejected(ouch::Rejected {
            timestamp: TWO_PM + 5,
            urn: Urn(8),
            reason: RejectReason::PortRate as u16,
            cl_ord_id: alpha("too-fast"),
        }),
    );
}

#[test]
fn ouch_cancel_refused() {
    check_outbound(
        "### I: cancel refused",
        &[(0, "type", "49"), (1, "timestamp", "00002dd6aa18c006"), (9, "urn", "00000007")],
        ouch::Outbound::CancelRefused(ouch::CancelRefused { timestamp: TWO_PM + 6, urn: Urn(7) }),
    );
}

#[test]
fn ouch_query_response_and_not_applied() {
    check_outbound(
        "### Q: account query response",
        &[(0, "type", "51"), (1, "timestamp", "00002dd6aa18c006"), (9, "next urn", "00000009")],
        ouch::Outbound::QueryResponse(ouch::QueryResponse { timestamp: TWO_PM + 6, next_urn: 9 }),
    );
    check_outbound(
        "### N: not applied",
        &[
            (0, "type", "4e"),
            (1, "timestamp", "00002dd6aa18c007"),
            (9, "from", "0000000100000002"),
            (17, "count", "00010000"),
        ],
        ouch::Outbound::NotApplied(ouch::NotApplied {
            timestamp: TWO_PM + 7,
            from: 0x1_0000_0002,
            count: 65_536,
        }),
    );
}

// ---------------------------------------------------------------- OUCH, malformed

/// Fixed parts to which the rows below append.
const O_FIXED: &str = "4f 00000001 42 00000064 4141504c20202020 000000000016ed24 30 59 50 4e 4e
    69642020202020202020202020 20";
const U_FIXED: &str = "55 00000001 00000002 00000064 000000000016ed24 30 59 4e
    69642020202020202020202020 20";
const X_FIXED: &str = "58 00000001 00000000";

#[test]
fn ouch_malformed_input_is_refused_by_name() {
    use ouch::InboundError::*;
    let rows: &[(&str, &str, ouch::InboundError, Option<&str>)] = &[
        ("", "", Empty, None),
        ("", "4d 00000001 42 00000064", UnknownType(b'M'), None),
        ("", "4f 00000001", Length, None),
        ("", "55 00000001 00000002", Length, None),
        ("", "58 00000001 000000", Length, None),
        (O_FIXED, "00", Appendage, None),
        (O_FIXED, "0001", Appendage, None),
        (O_FIXED, "0000 00", Appendage, None),
        (O_FIXED, "0001 00", Appendage, None),
        (O_FIXED, "0001 05", Appendage, None),
        (O_FIXED, "0005 05 02 414343", Appendage, None),
        (O_FIXED, "0002 01 08", UnknownTag(8), None),
        (O_FIXED, "0002 01 00", UnknownTag(0), None),
        (O_FIXED, "0003 02 0c 50", UnsupportedTag(12), Some("PostOnly")),
        (O_FIXED, "000a 09 01 0000000000000001", UnsupportedTag(1), Some("SecondaryOrdRefNum")),
        (O_FIXED, "0003 02 1c 01", UnsupportedTag(28), Some("UserRefIndex")),
        (O_FIXED, "000c 05 02 41434331 05 02 41434331", DoubledTag(2), Some("Firm")),
        (O_FIXED, "0005 04 03 000064", TagLength(3), Some("MinQty")),
        (O_FIXED, "0002 01 02", TagLength(2), Some("Firm")),
        (U_FIXED, "0006 05 02 41434331", UnsupportedTag(2), Some("Firm")),
        (U_FIXED, "0006 05 03 00000064", UnsupportedTag(3), Some("MinQty")),
        (X_FIXED, "0006 05 02 41434331", UnsupportedTag(2), Some("Firm")),
        (X_FIXED, "00", Appendage, None),
        ("", "51 00", Appendage, None),
    ];
    for (fixed, rest, error, tag) in rows {
        let bytes = [hex(fixed), hex(rest)].concat();
        let got = ouch::decode_inbound(&bytes).expect_err(rest);
        assert_eq!(got, *error, "{fixed} {rest}");
        assert_eq!(got.tag_name(), *tag, "{fixed} {rest}");
        if let Some(name) = tag {
            assert!(got.to_string().contains(name), "{got}");
        }
    }
    // Without any appendage, and with an empty one where the standard of 2023 has none.
    for (fixed, rest) in [(O_FIXED, ""), (U_FIXED, ""), (X_FIXED, "0000"), ("51", "0000")] {
        assert!(ouch::decode_inbound(&[hex(fixed), hex(rest)].concat()).is_ok());
    }
}

#[test]
fn ouch_malformed_fields() {
    let blank = ClOrdId::BLANK;
    let id = alpha("id");
    let o = hex(O_FIXED);
    let u = hex(U_FIXED);
    let rows: &[(&[u8], u8, Option<u32>, ClOrdId)] = &[
        (&[], 0, None, blank),
        (&o[..4], b'O', None, blank),
        (&o[..5], b'O', Some(1), blank),
        (&o[..44], b'O', Some(1), blank),
        (&o, b'O', Some(1), id),
        (&u[..8], b'U', None, blank),
        (&u[..9], b'U', Some(2), blank),
        (&u[..37], b'U', Some(2), blank),
        (&u, b'U', Some(2), id),
        (b"X\0\0\0\x01", b'X', None, blank),
        (b"Zzzzzzzzz", b'Z', None, blank),
    ];
    for (bytes, letter, urn, cl_ord_id) in rows {
        let want = ouch::Malformed { letter: *letter, urn: urn.map(Urn), cl_ord_id: *cl_ord_id };
        assert_eq!(ouch::malformed_fields(bytes), want, "{}", text_hex(bytes));
    }
}

#[test]
fn ouch_page_lists_every_tag() {
    let mut last = 0;
    for tag in ouch::TAGS {
        assert!(tag.tag > last, "in the order of the numbers");
        last = tag.tag;
        let row = format!("| {} | {} | {} | ", tag.tag, tag.name, tag.value_bytes);
        let at = OUCH_PAGE.find(&row).unwrap_or_else(|| panic!("page lacks {row:?}"));
        let rest = &OUCH_PAGE[at + row.len()..];
        assert_eq!(rest.starts_with("unsupported"), !tag.offered, "{row}");
    }
}

#[test]
fn a_client_passes_over_tags_that_it_does_not_know() {
    let fixed = "41 0000000000000001 00000001 42 00000064 4141504c20202020 000000000016ed24 30 59
        0000000100000000 50 4e 4e 4c 6964202020202020202020202020";
    let bytes = [hex(fixed), hex("000a 02 0c 50 05 02 41434331 00")].concat();
    assert_eq!(ouch::Outbound::decode(&bytes), Err(ouch::OutboundError::Length));
    let bytes = [hex(fixed), hex("0009 02 0c 50 05 02 41434331")].concat();
    let Ok(ouch::Outbound::Accepted(accepted)) = ouch::Outbound::decode(&bytes) else {
        panic!("not read")
    };
    assert_eq!(accepted.appendage.account, Some(alpha("ACC1")));
    let bad = ["53 0000000000000001", "7a", ""];
    for bytes in bad {
        assert!(ouch::Outbound::decode(&hex(bytes)).is_err());
    }
}

// ---------------------------------------------------------------- ITCH

const PREFIX: itch::Prefix =
    itch::Prefix { locate: Locate(0x0102), tracking: 0x0304, timestamp: TWO_PM };

#[test]
fn itch_prefix() {
    let fields: Fields = &[
        (0, "type", "53"),
        (1, "locate", "0102"),
        (3, "tracking", "0304"),
        (5, "timestamp", "2dd6aa18c000"),
    ];
    check_page(ITCH_PAGE, "### Prefix", fields);
    let bytes = [join(fields), hex("4f")].concat();
    let message = itch::Message::decode(&bytes).unwrap();
    assert_eq!(*message.prefix(), PREFIX);
}

#[test]
fn itch_system() {
    check_itch(
        "### S: system event",
        &[(0, "prefix", "53 0102 0304 2dd6aa18c000"), (11, "code", "51")],
        itch::Message::System(itch::System { prefix: PREFIX, code: b'Q' }),
    );
}

#[test]
fn itch_directory() {
    let fields: Fields = &[
        (0, "prefix", "52 0102 0304 2dd6aa18c000"),
        (11, "symbol", "4141504c20202020"),
        (19, "market category", "20"),
        (20, "financial status", "4e"),
        (21, "round lot", "00000064"),
        (25, "round lots only", "59"),
        (26, "issue class", "43"),
        (27, "issue sub-type", "5a20"),
        (29, "authenticity", "50"),
        (30, "short sale threshold", "4e"),
        (31, "ipo", "4e"),
        (32, "luld tier", "20"),
        (33, "etp", "4e"),
        (34, "etp leverage", "00000000"),
        (38, "inverse", "4e"),
    ];
    check_itch(
        "### R: stock directory",
        fields,
        itch::Message::Directory(itch::Directory::common_stock(PREFIX, alpha("AAPL"), 100)),
    );
}

#[test]
fn itch_trading_action() {
    check_itch(
        "### H: trading action",
        &[
            (0, "prefix", "48 0102 0304 2dd6aa18c000"),
            (11, "symbol", "4141504c20202020"),
            (19, "state", "48"),
            (20, "reserved", "20"),
            (21, "reason", "54312020"),
        ],
        itch::Message::TradingAction(itch::TradingAction {
            prefix: PREFIX,
            symbol: alpha("AAPL"),
            state: b'H',
            reason: alpha("T1"),
        }),
    );
}

#[test]
fn itch_add() {
    check_itch(
        "### A: add order",
        &[
            (0, "prefix", "41 0102 0304 2dd6aa18c000"),
            (11, "order reference", "0000000200000001"),
            (19, "side", "53"),
            (20, "quantity", "00000064"),
            (24, "symbol", "4141504c20202020"),
            (32, "price", "0016ed24"),
        ],
        itch::Message::Add(itch::Add {
            prefix: PREFIX,
            order_ref: OrderRef(0x2_0000_0001),
            side: Side::Sell,
            quantity: Quantity(100),
            symbol: alpha("AAPL"),
            price: Price(1_502_500),
        }),
    );
}

#[test]
fn itch_executed_canceled_deleted() {
    check_itch(
        "### E: order executed",
        &[
            (0, "prefix", "45 0102 0304 2dd6aa18c000"),
            (11, "order reference", "0000000200000001"),
            (19, "quantity", "00000064"),
            (23, "match number", "0000000000000102"),
        ],
        itch::Message::Executed(itch::Executed {
            prefix: PREFIX,
            order_ref: OrderRef(0x2_0000_0001),
            quantity: Quantity(100),
            match_number: MatchNumber(0x102),
        }),
    );
    check_itch(
        "### C: order executed with price",
        &[
            (0, "prefix", "43 0102 0304 2dd6aa18c000"),
            (11, "order reference", "0000000200000001"),
            (19, "quantity", "00000064"),
            (23, "match number", "0000000000000102"),
            (31, "printable", "59"),
            (32, "price", "000186a0"),
        ],
        itch::Message::ExecutedAt(itch::ExecutedAt {
            prefix: PREFIX,
            order_ref: OrderRef(0x2_0000_0001),
            quantity: Quantity(100),
            match_number: MatchNumber(0x102),
            printable: b'Y',
            price: Price(100_000),
        }),
    );
    check_itch(
        "### X: order cancel",
        &[
            (0, "prefix", "58 0102 0304 2dd6aa18c000"),
            (11, "order reference", "0000000200000001"),
            (19, "quantity", "0000000a"),
        ],
        itch::Message::Canceled(itch::Canceled {
            prefix: PREFIX,
            order_ref: OrderRef(0x2_0000_0001),
            quantity: Quantity(10),
        }),
    );
    check_itch(
        "### D: order delete",
        &[(0, "prefix", "44 0102 0304 2dd6aa18c000"), (11, "order reference", "0000000200000001")],
        itch::Message::Deleted(itch::Deleted {
            prefix: PREFIX,
            order_ref: OrderRef(0x2_0000_0001),
        }),
    );
}

#[test]
fn itch_replaced() {
    check_itch(
        "### U: order replace",
        &[
            (0, "prefix", "55 0102 0304 2dd6aa18c000"),
            (11, "old reference", "0000000200000001"),
            (19, "order reference", "0000000300000000"),
            (27, "quantity", "00000190"),
            (31, "price", "0016ed24"),
        ],
        itch::Message::Replaced(itch::Replaced {
            prefix: PREFIX,
            old_ref: OrderRef(0x2_0000_0001),
            order_ref: OrderRef(0x3_0000_0000),
            quantity: Quantity(400),
            price: Price(1_502_500),
        }),
    );
}

// ---------------------------------------------------------------- MoldUDP64

#[test]
fn mold_packet() {
    let fields: Fields = &[
        (0, "session", "525354303031 41 303631"),
        (10, "sequence", "0000000100000002"),
        (18, "count", "0003"),
    ];
    check_page(MOLD_PAGE, "### Header", fields);
    check_page(MOLD_PAGE, "### Block", &[(0, "length", "0002")]);
    let session = session::stream_name(&alpha("RST001"), b'A', 61);
    let mut packet = mold::PacketBuilder::new([0; 64], session, 0x1_0000_0002);
    assert!(packet.push_bytes(b"ab"));
    assert!(packet.push_bytes(b""));
    assert!(packet.push_bytes(b"cde"));
    assert_eq!(packet.next_sequence(), 0x1_0000_0005);
    let bytes = [join(fields), hex("0002 6162 0000 0003 636465")].concat();
    assert_eq!(text_hex(packet.packet()), text_hex(&bytes));
    let blocks: Vec<&[u8]> = mold::blocks(&bytes).unwrap().collect();
    assert_eq!(blocks, [b"ab".as_slice(), b"", b"cde"]);
    let header = mold::Header { session, sequence: 0x1_0000_0002, count: 3 };
    assert_eq!(mold::Header::read(&bytes), Some(header));
}

#[test]
fn mold_kinds_and_bad_packets() {
    use mold::{BadPacket::*, Packet};
    let head = "202020202020202020200000000000000001";
    let parse = |rest: &str| {
        let bytes = [hex(head), hex(rest)].concat();
        mold::parse(&bytes).map(|(_, packet)| match packet {
            Packet::Heartbeat => "heartbeat".to_string(),
            Packet::EndOfSession => "end".to_string(),
            Packet::Request => "request".to_string(),
            Packet::Messages(blocks) => format!("{} blocks", blocks.len()),
        })
    };
    assert_eq!(parse("0000"), Ok("heartbeat".into()));
    assert_eq!(parse("ffff"), Ok("end".into()));
    assert_eq!(parse("0005"), Ok("request".into()));
    assert_eq!(parse("0001 0000"), Ok("1 blocks".into()));
    assert_eq!(parse("0002 0001 61 0000"), Ok("2 blocks".into()));
    let bad: &[(&str, mold::BadPacket)] = &[
        ("00", Short),
        ("0000 00", Blocks),
        ("0000 0000", Blocks),
        ("ffff 0000", Blocks),
        ("0001 00", Blocks),
        ("0001 0001", Blocks),
        ("0001 0002 61", Blocks),
        ("0001 0001 61 00", Blocks),
        ("0001 0000 0000", Blocks),
        ("0002 0000", Blocks),
        ("fffe 0000", Blocks),
    ];
    for (rest, error) in bad {
        assert_eq!(parse(rest), Err(*error), "{rest}");
    }
    assert_eq!(parse(&format!("0001 0564 {}", "61".repeat(1380))), Err(Long));
    assert_eq!(parse(&format!("0001 0562 {}", "61".repeat(1378))), Ok("1 blocks".into()));
    assert!(mold::blocks(&hex(&format!("{head} 0005"))).is_err(), "a request has no blocks");
}

#[test]
fn mold_packets_hold_1400_bytes() {
    let mut buffer = [0; 1472];
    let mut packet = mold::PacketBuilder::new(&mut buffer[..], SessionName::BLANK, 1);
    let mut adds = 0;
    while packet.push(36, |out| out.fill(b'A')) {
        adds += 1;
    }
    // 20 + 36 x 38 = 1,388.
    assert_eq!((adds, packet.len()), (36, 1388));
    assert!(!packet.push_bytes(&[0; 11]) && packet.push_bytes(&[0; 10]));
    assert_eq!((packet.finish(), packet.count()), (mold::PAYLOAD_BYTES_MAX, 37));
    packet.restart(SessionName::BLANK, 38);
    assert!(packet.is_empty() && packet.fits(mold::BLOCK_BYTES_MAX));
    assert!(!packet.fits(mold::BLOCK_BYTES_MAX + 1));
}

// ---------------------------------------------------------------- the session's own blocks

/// A nonce whose bytes count up from `first`.
fn count_up<const N: usize>(first: u8) -> [u8; N] {
    std::array::from_fn(|i| first + i as u8)
}

const CLIENT: ([u8; 4], u16) = ([198, 51, 100, 7], 40000);
const GATEWAY: ([u8; 4], u16) = ([192, 0, 2, 10], 9001);
const TIME: u64 = 1_772_460_000_000_000_000;

fn login() -> session::Login {
    session::Login {
        version: session::VERSION,
        flags: session::FLAG_CANCEL_ON_DISCONNECT,
        user: alpha("BRKR01"),
        wanted: SessionName::BLANK,
        next_report: 0,
        dead_time_ms: 5_000,
        time: Nanos(TIME),
        client_nonce: count_up(0xC0),
        server_nonce: [0; 16],
        hmac: [0; 32],
    }
}

#[test]
fn session_login() {
    let fields: Fields = &[
        (0, "type", "4c"),
        (1, "version", "01"),
        (2, "flags", "01"),
        (3, "zero", "00"),
        (4, "user", "42524b523031"),
        (10, "zero", "0000"),
        (12, "wanted", "20202020202020202020"),
        (22, "next report", "0000000000000000"),
        (30, "dead time", "1388"),
        (32, "time", "18990afaa696c000"),
        (40, "client nonce", "c0c1c2c3c4c5c6c7c8c9cacbcccdcecf"),
        (56, "server nonce", "00000000000000000000000000000000"),
        (72, "hmac", "0000000000000000000000000000000000000000000000000000000000000000"),
    ];
    check_page(SESSION_PAGE, "### L: login", fields);
    let bytes = join(fields);
    assert_eq!(text_hex(&login().bytes()), text_hex(&bytes));
    assert_eq!(session::Login::read(&bytes), Some(login()));
    assert_eq!(session::Block::read(&bytes), Some(session::Block::Login(login())));
    assert_eq!(session::Login::read(&bytes[..103]), None);
}

#[test]
fn session_challenge() {
    let fields: Fields =
        &[(0, "type", "48"), (1, "server nonce", "000102030405060708090a0b0c0d0e0f")];
    check_page(SESSION_PAGE, "### H: challenge", fields);
    let block = session::Block::Challenge(session::Challenge { server_nonce: count_up(0) });
    check_block(block, &join(fields));
}

fn accepted() -> session::Accepted {
    session::Accepted {
        version: session::VERSION,
        flags: session::FLAG_CANCEL_ON_DISCONNECT,
        token: alpha("03UfDVRKBz"),
        downstream: alpha("BRKR01A061"),
        next_report: 2,
        applied: 0,
        next_urn: 1,
        dead_time_ms: 5_000,
        epoch: 1,
        generation: 1,
        client_nonce: count_up(0xC0),
        hmac: [0; 32],
    }
}

#[test]
fn session_accepted() {
    let fields: Fields = &[
        (0, "type", "41"),
        (1, "version", "01"),
        (2, "flags", "01"),
        (3, "zero", "00"),
        (4, "token", "303355664456524b427a"),
        (14, "downstream", "42524b52303141303631"),
        (24, "next report", "0000000000000002"),
        (32, "applied", "0000000000000000"),
        (40, "next urn", "00000001"),
        (44, "dead time", "1388"),
        (46, "zero", "0000"),
        (48, "epoch", "00000001"),
        (52, "generation", "00000001"),
        (56, "client nonce", "c0c1c2c3c4c5c6c7c8c9cacbcccdcecf"),
        (72, "hmac", "0000000000000000000000000000000000000000000000000000000000000000"),
    ];
    check_page(SESSION_PAGE, "### A: accepted", fields);
    check_block(session::Block::Accepted(accepted()), &join(fields));
}

#[test]
fn session_refused_and_applied() {
    let fields: Fields = &[
        (0, "type", "4a"),
        (1, "code", "42"),
        (2, "zero", "0000"),
        (4, "epoch", "00000005"),
        (8, "client nonce", "c0c1c2c3c4c5c6c7c8c9cacbcccdcecf"),
    ];
    check_page(SESSION_PAGE, "### J: refused", fields);
    let refused = session::Refused {
        code: session::RefusedCode::BoundElsewhere,
        epoch: 5,
        client_nonce: count_up(0xC0),
    };
    check_block(session::Block::Refused(refused), &join(fields));
    let mut unknown = join(fields);
    unknown[1] = b'Z';
    assert_eq!(session::Block::read(&unknown), None);

    let fields: Fields = &[
        (0, "type", "4b"),
        (1, "applied", "0000000100000002"),
        (9, "next report", "0000000300000004"),
        (17, "epoch", "00000005"),
    ];
    check_page(SESSION_PAGE, "### K: applied", fields);
    let applied = session::Applied { applied: 0x1_0000_0002, next_report: 0x3_0000_0004, epoch: 5 };
    check_block(session::Block::Applied(applied), &join(fields));
}

#[track_caller]
fn check_block(block: session::Block, bytes: &[u8]) {
    let mut out = [0; session::BLOCK_BYTES_MAX];
    let len = block.write(&mut out);
    assert_eq!(text_hex(&out[..len]), text_hex(bytes));
    assert_eq!(session::Block::read(bytes), Some(block));
    assert_eq!(session::Block::read(&bytes[..bytes.len() - 1]), None);
    assert_eq!(session::Block::read(&[bytes, &[0]].concat()), None);
}

/// The page shows these bytes, blanks and line ends apart.
#[track_caller]
fn page_shows(bytes: &[u8]) {
    let page: String = SESSION_PAGE.chars().filter(|c| !c.is_whitespace()).collect();
    assert!(page.contains(&text_hex(bytes)), "session.md lacks {}", text_hex(bytes));
}

fn datagram(session: SessionName, sequence: u64, block: &[u8]) -> Vec<u8> {
    let mut packet = mold::PacketBuilder::new([0; 1400], session, sequence);
    assert!(packet.push_bytes(block));
    packet.packet().to_vec()
}

#[test]
fn session_worked_login() {
    let key: session::Key = count_up(0x00);
    let gateway_key: session::Key = count_up(0x80);
    let minute = (TIME / 60_000_000_000) as u32;
    assert_eq!(minute, 29_541_000);

    // 1. First L.
    page_shows(&datagram(SessionName::BLANK, 0, &login().bytes()));

    // 2. H.
    let user = login().user;
    let nonce = session::challenge_nonce(&gateway_key, CLIENT.0, CLIENT.1, &user, minute);
    assert_eq!(text_hex(&nonce), "d1ee05bd79bb0338c41d176f491526fc");
    let mut h = [0; session::CHALLENGE_BYTES];
    session::Challenge { server_nonce: nonce }.write(&mut h);
    page_shows(&datagram(SessionName::BLANK, 0, &h));
    let verify =
        |minute| session::verify_challenge(&gateway_key, CLIENT.0, CLIENT.1, &user, minute, &nonce);
    assert!(verify(minute) && verify(minute + 1));
    assert!(!verify(minute + 2) && !verify(minute - 1));

    // 3. Second L.
    let second = session::Login { server_nonce: nonce, ..login() };
    let l = second.signed(&key, GATEWAY.0, GATEWAY.1);
    let hmac = "b3203604d294503db1939fc4d05faa25b04436fbbabb569535adedb06c510263";
    assert_eq!(text_hex(&l[72..]), hmac);
    page_shows(&datagram(SessionName::BLANK, 0, &l));
    assert!(session::verify_login(&key, &l, GATEWAY.0, GATEWAY.1));
    assert!(!session::verify_login(&key, &l, GATEWAY.0, GATEWAY.1 + 1), "another port");
    assert!(!session::verify_login(&key, &l, CLIENT.0, GATEWAY.1), "another address");
    assert!(!session::verify_login(&gateway_key, &l, GATEWAY.0, GATEWAY.1), "another key");
    for at in 0..l.len() {
        let mut bad = l;
        bad[at] ^= 1;
        assert!(!session::verify_login(&key, &bad, GATEWAY.0, GATEWAY.1), "byte {at}");
    }

    // 4. A.
    let token = session::make_token(SessionSlot(3), 0x0123_4567_89AB_CDEF).unwrap();
    assert_eq!(token, accepted().token);
    let a = accepted().signed(&key);
    let hmac = "3338180a00bd23c4be08dafc971df98f53a7c8ab393ddbc1d67260920a8f90cf";
    assert_eq!(text_hex(&a[72..]), hmac);
    page_shows(&datagram(token, 0, &a));
    assert!(session::verify_accepted(&key, &a));
    for at in 0..a.len() {
        let mut bad = a;
        bad[at] ^= 0x80;
        assert!(!session::verify_accepted(&key, &bad), "byte {at}");
    }

    // 5. First order.
    let order = ouch::Inbound::Enter(ouch::Enter {
        urn: Urn(1),
        side: b'B',
        quantity: Quantity(100),
        symbol: alpha("AAPL"),
        price: 1_502_500,
        tif: b'0',
        display: b'Y',
        capacity: b'P',
        iso: b'N',
        cross: b'N',
        cl_ord_id: alpha("first-order"),
        appendage: ouch::Appendage::default(),
    });
    let mut out = [0; ouch::INBOUND_BYTES_MAX];
    let len = order.encode(&mut out);
    let order = datagram(token, 1, &out[..len]);
    assert_eq!(order.len(), 69);
    page_shows(&order);

    // 6. K, and 7. a heartbeat of the downstream.
    let mut k = [0; session::APPLIED_BYTES];
    session::Applied { applied: 1, next_report: 3, epoch: 1 }.write(&mut k);
    page_shows(&datagram(token, 0, &k));
    let mut heartbeat = mold::PacketBuilder::new([0; 20], session::stream_name(&user, b'A', 61), 2);
    page_shows(heartbeat.packet());

    // The packet MAC, had it been granted.
    let keys = session::packet_keys(&key, &login().client_nonce, &nonce);
    page_shows(&keys.client);
    page_shows(&keys.server);
    let check_tag = |key: &[u8; 16], bytes: &[u8], tag: u64| {
        assert_eq!(session::packet_tag(key, bytes), tag);
        page_shows(&tag.to_be_bytes());
        let mut sealed = [0; 1408];
        sealed[..bytes.len()].copy_from_slice(bytes);
        let len = session::seal_packet(key, &mut sealed, bytes.len());
        assert_eq!(sealed[bytes.len()..len], tag.to_be_bytes());
        assert_eq!(session::open_packet(key, &sealed[..len]), Some(bytes));
        assert_eq!(session::open_packet(key, bytes), None, "tag missing");
        for at in 0..len {
            let mut bad = sealed;
            bad[at] ^= 1;
            assert_eq!(session::open_packet(key, &bad[..len]), None, "byte {at}");
        }
    };
    check_tag(&keys.client, &order, 0xdd65_6fc0_1289_7717);
    check_tag(&keys.server, heartbeat.packet(), 0xa677_6ed0_8dec_e3a0);
}

#[test]
fn siphash_is_the_reference() {
    // Vector of the SipHash paper, appendix A.
    assert_eq!(session::packet_tag(&count_up(0), &count_up::<15>(0)), 0xa129_ca61_49be_45e5);
}

#[test]
fn tokens_name_their_slot() {
    for slot in [0, 1, 61, 62, 100, session::SLOTS_MAX - 1] {
        let token = session::make_token(SessionSlot(slot), u64::MAX / 3).unwrap();
        assert!(token.0.iter().all(u8::is_ascii_alphanumeric));
        assert_eq!(session::token_slot(&token), Some(SessionSlot(slot)));
        assert!(session::same_token(&token, &token));
    }
    assert_eq!(session::make_token(SessionSlot(session::SLOTS_MAX), 0), None);
    assert_eq!(session::make_token(SessionSlot(3843), u64::MAX), Some(alpha("zzHa16AHYF")));
    assert_eq!(session::token_slot(&SessionName::BLANK), None);
    assert_eq!(session::token_slot(&alpha("0-12345678")), None);
    let other = session::make_token(SessionSlot(0), 1).unwrap();
    assert!(!session::same_token(&session::make_token(SessionSlot(0), 2).unwrap(), &other));
    assert_eq!(session::stream_name(&alpha("AB"), b'C', 366), alpha("AB    C366"));
    assert_eq!(session::stream_name(&alpha("AB"), b'A', 7), alpha("AB    A007"));
}
