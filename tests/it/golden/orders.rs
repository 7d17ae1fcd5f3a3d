//! OUCH 5.0: both directions, and what is refused.

use super::*;

// ----- client to exchange -----

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

// ----- exchange to client -----

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

// ----- malformed -----

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
