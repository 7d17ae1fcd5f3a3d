//! ITCH 5.0.

use super::*;

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
