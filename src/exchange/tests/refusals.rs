//! Every reason, and the order in which the checks stand.

use super::super::fixture;
use super::{Case, check, check_on};
use crate::types::RejectReason as R;

/// An order that has every fault behind check `n`: the reason of check `n` must win.
#[test]
fn each_reason_in_the_order_of_the_checks() {
    // Rows: what is still wrong, from all of it to nothing.
    let rows: [(&str, R); 17] = [
        ("T 0 NOSUCH 0 display=A capacity=X iso=Y min=3 account=B1", R::Symbol),
        ("T 0 HALT 0 display=A capacity=X iso=Y min=3 account=B1", R::Halted),
        ("T 0 LOTS 0 display=A capacity=X iso=Y min=3 account=B1", R::Side),
        ("B 0 LOTS 0 display=A capacity=X iso=Y min=3 account=B1", R::Display),
        ("B 0 LOTS 0 capacity=X iso=Y min=3 account=B1", R::Other),
        ("B 0 LOTS 0 iso=Y min=3 account=B1", R::OrderType),
        ("B 0 LOTS 0 cross=O min=3 account=B1", R::OrderType),
        ("B 0 LOTS 0 tif=5 min=3 account=B1", R::OrderType),
        ("B 0 LOTS 0 min=3 account=B1", R::Quantity),
        ("B 10 LOTS 0 min=3 account=B1", R::OrderType),
        ("B 10 LOTS 0 account=B1", R::Price),
        ("B 10 LOTS 500500 account=B1", R::FatFinger),
        ("B 10 LOTS 500000 account=B1", R::FirmNotAuthorised),
        ("B 510 LOTS 500000 account=A2", R::SharesThreshold),
        ("B 500 LOTS 500000 account=A2", R::MaxNotional),
        ("B 200 LOTS 500000 account=A2", R::VolumeLimit),
        ("S 10 LOTS 500000 account=A3", R::AggregateExposure),
    ];
    let mut genesis = fixture::genesis();
    let mut halted = genesis.symbols[0];
    halted.symbol = crate::types::Symbol::new("HALT").unwrap();
    genesis.symbols.push(halted);
    genesis.accounts[1].limits.order_notional_max.0 = 100_000_000;
    genesis.accounts[1].limits.day_shares_max = 250;
    let mut poor = genesis.accounts[0].clone();
    poor.name = crate::types::AccountName::new("A3").unwrap();
    poor.positions.clear();
    genesis.accounts.push(poor);
    let mut case = Case::open(&genesis);
    case.run("state 3 H");
    case.run("0 O 1 B 100 LOTS 50000 account=A2");
    let mut urn = 1;
    for (what, reason) in rows {
        urn += 1;
        let words: Vec<&str> = what.splitn(5, ' ').collect();
        let rest = words.get(4).copied().unwrap_or("");
        let line = format!(
            "0 O {urn} {} {} {} {} {rest} id=X{urn}",
            words[0], words[1], words[2], words[3]
        );
        let want =
            format!("s0 r{} a{urn} Rejected {urn} {:04x} \"X{urn}\"", urn + 1, reason as u16);
        assert_eq!(case.run(&line), [want], "{line}");
    }
    case.run("phase closed");
    let events = case.run("0 O 99 T 0 NOSUCH 0");
    assert_eq!(events, ["s0 r20 a19 Rejected 99 0002 \"\""]);
}

#[test]
fn borders_of_quantity_and_price() {
    let refused = |reason: R| format!("Rejected {:04x}", reason as u16);
    let rows = [
        ("B 0 AAPL 20000", refused(R::Quantity)),
        ("B 999999 AAPL 20000", "Accepted".into()),
        ("B 1000000 AAPL 20000", refused(R::Quantity)),
        ("B 4294967295 AAPL 20000", refused(R::Quantity)),
        ("B 15 LOTS 50000", refused(R::Quantity)),
        ("B 20 LOTS 50000", "Accepted".into()),
        ("B 1 AAPL 20050", refused(R::Price)),
        ("B 1 AAPL 9900", refused(R::FatFinger)),
        ("B 1 AAPL 10000", "Accepted".into()),
        ("B 1 AAPL 10000000", "Accepted".into()),
        ("B 1 AAPL 10000100", refused(R::FatFinger)),
        ("B 1 AAPL 1999999900", refused(R::FatFinger)),
        ("B 1 AAPL 2000000000", refused(R::Price)),
        ("B 1 AAPL 4294987296", refused(R::Price)), // 2^32 + 20,000
        ("B 1 AAPL 18446744073709551615", refused(R::Price)),
        ("B 1 AAPL market", refused(R::Price)),
        ("B 1 AAPL 20000 min=0", "Accepted".into()),
        ("B 1 AAPL 20000 min=1", refused(R::OrderType)),
        ("B 5 AAPL 20000 tif=3 min=4", refused(R::OrderType)),
        ("B 1 AAPL 20000 account=A2", "Accepted".into()),
        ("B 1 AAPL 20000 account=B1", refused(R::FirmNotAuthorised)),
        ("B 1 AAPL 20000 account=", refused(R::FirmNotAuthorised)),
        ("B 1 AAPL 20000 display=N", "Accepted".into()),
        ("E 1 AAPL 20000", refused(R::Side)),
    ];
    let mut case = Case::open(&fixture::genesis());
    for (i, (what, want)) in rows.iter().enumerate() {
        let events = case.run(&format!("0 O {} {what}", i + 1));
        let said = events[0]
            .split(' ')
            .filter(|w| !w.starts_with(['s', 'r', 'a', 'f']))
            .collect::<Vec<_>>();
        let said =
            if said[0] == "Accepted" { "Accepted".into() } else { format!("Rejected {}", said[2]) };
        assert_eq!(said, *want, "{what}");
    }
}

#[test]
fn limits_count_what_is_open_and_executed_today() {
    check(
        &fixture::genesis(),
        &[
            // A2: 500 per order, 1,000 a day.
            (
                "0 O 1 B 500 AAPL 20000 account=A2",
                &["s0 r2 f8 a1 Accepted 1.0 urn 1 B 500 AAPL @20000 account 1 book"],
            ),
            (
                "0 O 2 S 400 AAPL 30000 account=A2",
                &["s0 r3 f9 a2 Accepted 2.1 urn 2 S 400 AAPL @30000 account 1 book"],
            ),
            ("0 O 3 S 101 AAPL 30000 account=A2", &["s0 r4 a3 Rejected 3 0025 \"\""]),
            // What is canceled no longer counts; what is executed does.
            ("0 X 1 300", &["s0 r5 f10 a4 Canceled 1.0 urn 1 -200 leaves 300 U book"]),
            (
                "0 O 5 S 300 AAPL 30000 account=A2",
                &["s0 r6 f11 a5 Accepted 3.2 urn 5 S 300 AAPL @30000 account 1 book"],
            ),
            (
                "2 O 1 S 300 AAPL 20000",
                &[
                    "s2 r2 a1 Accepted 4.3 urn 1 S 300 AAPL @20000 account 2 -",
                    "s0 r7 f12 a5 Executed 1.0 urn 1 B 300 @20000 leaves 0 match 1 A",
                    "s2 r3 a1 Executed 4.3 urn 1 S 300 @20000 leaves 0 match 1 R",
                ],
            ),
            ("0 O 6 B 1 AAPL 20000 account=A2", &["s0 r8 a6 Rejected 6 0025 \"\""]),
            // The other symbol has a count of its own.
            (
                "0 O 7 B 10 LOTS 50000 account=A2",
                &["s0 r9 f13 a7 Accepted 5.3 urn 7 B 10 LOTS @50000 account 1 book"],
            ),
            // A replace counts the old order as freed.
            (
                "0 U 5 8 300 30100",
                &["s0 r10 f14 a8 Replaced 3.2 urn 5 by 6.2 urn 8 S 300 @30100 book"],
            ),
        ],
    );
}

#[test]
fn full_tables_are_processing_errors_and_immediate_orders_still_pass() {
    let mut genesis = fixture::genesis();
    genesis.capacities.orders_max = 2;
    genesis.capacities.price_pages_max = 1;
    check(
        &genesis,
        &[
            (
                "0 O 1 S 5 AAPL 20000",
                &["s0 r2 f8 a1 Accepted 1.0 urn 1 S 5 AAPL @20000 account 0 book"],
            ),
            // No page: another 512 ticks.
            ("0 O 2 S 5 AAPL 90000", &["s0 r3 a2 Rejected 2 000a \"\""]),
            (
                "0 O 3 B 5 AAPL 10000",
                &["s0 r4 f9 a3 Accepted 2.1 urn 3 B 5 AAPL @10000 account 0 book"],
            ),
            // No slot.
            ("0 O 4 B 5 AAPL 10000", &["s0 r5 a4 Rejected 4 000a \"\""]),
            (
                "2 O 1 B 9 AAPL 90000 tif=3",
                &[
                    "s2 r2 a1 Accepted 3.2 urn 1 B 9 AAPL @90000 account 2 -",
                    "s0 r6 f10 a4 Executed 1.0 urn 1 S 5 @20000 leaves 0 match 1 A",
                    "s2 r3 a1 Executed 3.2 urn 1 B 5 @20000 leaves 4 match 1 R",
                    "s2 r4 a1 Canceled 3.2 urn 1 -4 leaves 0 I",
                ],
            ),
            // A replace in a full venue finds the old order's slot; one without a page is invalid.
            (
                "0 O 5 B 5 AAPL 10000",
                &["s0 r7 f11 a5 Accepted 4.2 urn 5 B 5 AAPL @10000 account 0 book"],
            ),
            ("0 U 5 6 5 10100", &["s0 r8 f12 a6 Replaced 4.2 urn 5 by 5.2 urn 6 B 5 @10100 book"]),
            ("0 U 6 7 5 90000", &["s0 r9 f13 a7 Canceled 5.2 urn 6 -5 leaves 0 U book"]),
        ],
    );
}

#[test]
fn funds_are_what_is_free() {
    let mut genesis = fixture::genesis();
    genesis.accounts[0].cash.0 = 100_000;
    genesis.accounts[0].positions = vec![(crate::types::Locate(1), 10)];
    let mut case = check(
        &genesis,
        &[
            (
                "0 O 1 B 4 AAPL 20000",
                &["s0 r2 f8 a1 Accepted 1.0 urn 1 B 4 AAPL @20000 account 0 book"],
            ),
            ("0 O 2 B 2 AAPL 10100", &["s0 r3 a2 Rejected 2 0020 \"\""]),
            (
                "0 O 3 B 2 AAPL 10000",
                &["s0 r4 f9 a3 Accepted 2.1 urn 3 B 2 AAPL @10000 account 0 book"],
            ),
            // The old order's hold is freed first.
            ("0 U 1 4 8 10000", &["s0 r5 f10 a4 Replaced 1.0 urn 1 by 3.0 urn 4 B 8 @10000 book"]),
            ("0 O 5 S 11 AAPL 30000", &["s0 r6 a5 Rejected 5 0020 \"\""]),
            (
                "0 O 6 S 10 AAPL 30000",
                &["s0 r7 f11 a6 Accepted 4.2 urn 6 S 10 AAPL @30000 account 0 book"],
            ),
            ("0 U 6 7 11 30000", &["s0 r8 f12 a7 Canceled 4.2 urn 6 -10 leaves 0 U book"]),
            // A market buy needs the protection price: 2.00 + 1.00.
            ("0 X 4 0", &["s0 r9 f13 a8 Canceled 3.0 urn 4 -8 leaves 0 U book"]),
            ("0 X 3 0", &["s0 r10 f14 a9 Canceled 2.1 urn 3 -2 leaves 0 U book"]),
            (
                "2 O 1 S 9 AAPL 20000",
                &["s2 r2 f15 a1 Accepted 5.1 urn 1 S 9 AAPL @20000 account 2 book"],
            ),
            ("0 O 10 B 4 AAPL market tif=3", &["s0 r11 a10 Rejected 10 0020 \"\""]),
        ],
    );
    check_on(
        &mut case,
        &[(
            "0 O 11 B 3 AAPL market tif=3",
            &[
                "s0 r12 a11 Accepted 6.0 urn 11 B 3 AAPL @2147483647 account 0 -",
                "s2 r3 f16 a1 Executed 5.1 urn 1 S 3 @20000 leaves 6 match 1 A",
                "s0 r13 a11 Executed 6.0 urn 11 B 3 @20000 leaves 0 match 1 R",
            ],
        )],
    );
    let account = case.exchange.account(crate::types::AccountSlot(0)).unwrap();
    assert_eq!((account.cash_free.0, account.cash_held.0), (40_000, 0));
    assert_eq!((account.positions[0].free, account.positions[0].held), (13, 0));
}
