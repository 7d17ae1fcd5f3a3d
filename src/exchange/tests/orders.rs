//! Orders, matches, cancels and replaces.

use super::super::fixture;
use super::{Case, check};
use crate::types::*;

#[test]
fn a_day_order_rests_trades_or_does_both() {
    let case = check(
        &fixture::genesis(),
        &[
            (
                "0 O 1 S 10 AAPL 20100",
                &["s0 r2 f8 a1 Accepted 1.0 urn 1 S 10 AAPL @20100 account 0 book"],
            ),
            (
                "1 O 1 S 10 AAPL 20000",
                &["s1 r2 f9 a1 Accepted 2.1 urn 1 S 10 AAPL @20000 account 0 book"],
            ),
            (
                "0 O 2 S 10 AAPL 20000",
                &["s0 r3 f10 a2 Accepted 3.2 urn 2 S 10 AAPL @20000 account 0 book"],
            ),
            // Best price first, oldest first, at the resting price; the rest rests.
            (
                "2 O 1 B 35 AAPL 20100",
                &[
                    "s2 r2 a1 Accepted 4.3 urn 1 B 35 AAPL @20100 account 2 -",
                    "s1 r3 f11 a1 Executed 2.1 urn 1 S 10 @20000 leaves 0 match 1 A",
                    "s2 r3 a1 Executed 4.3 urn 1 B 10 @20000 leaves 25 match 1 R",
                    "s0 r4 f12 a2 Executed 3.2 urn 2 S 10 @20000 leaves 0 match 2 A",
                    "s2 r4 a1 Executed 4.3 urn 1 B 10 @20000 leaves 15 match 2 R",
                    "s0 r5 f13 a2 Executed 1.0 urn 1 S 10 @20100 leaves 0 match 3 A",
                    "s2 r5 a1 Executed 4.3 urn 1 B 10 @20100 leaves 5 match 3 R",
                    "f14 Rested 4.3 B 5 @20100",
                ],
            ),
            // A partial execution of the resting order keeps its place.
            (
                "2 O 2 B 5 AAPL 20100",
                &["s2 r6 f15 a2 Accepted 5.0 urn 2 B 5 AAPL @20100 account 2 book"],
            ),
            (
                "0 O 3 S 2 AAPL 20100",
                &[
                    "s0 r6 a3 Accepted 6.2 urn 3 S 2 AAPL @20100 account 0 -",
                    "s2 r7 f16 a2 Executed 4.3 urn 1 B 2 @20100 leaves 3 match 4 A",
                    "s0 r7 a3 Executed 6.2 urn 3 S 2 @20100 leaves 0 match 4 R",
                ],
            ),
            // Somebody trades with himself: nothing prevents it yet.
            (
                "2 O 3 S 4 AAPL 20000",
                &[
                    "s2 r8 a3 Accepted 7.2 urn 3 S 4 AAPL @20000 account 2 -",
                    "s2 r9 f17 a3 Executed 4.3 urn 1 B 3 @20100 leaves 0 match 5 A",
                    "s2 r10 a3 Executed 7.2 urn 3 S 3 @20100 leaves 1 match 5 R",
                    "s2 r11 f18 a3 Executed 5.0 urn 2 B 1 @20100 leaves 4 match 6 A",
                    "s2 r12 a3 Executed 7.2 urn 3 S 1 @20100 leaves 0 match 6 R",
                ],
            ),
        ],
    );
    assert_eq!(case.exchange.best(Locate(1)), [Some((Price(20_100), 4)), None]);
    assert_eq!(case.exchange.best(Locate(9)), [None, None]);
    // Bought 30 at 2.00 .. 2.01 and sold 2: the buyer paid the resting prices.
    let buyer = case.exchange.account(AccountSlot(2)).unwrap();
    let opening = fixture::genesis().accounts[2].cash.0;
    assert_eq!(buyer.cash_free.0 + buyer.cash_held.0, opening - 20 * 20_000 - 12 * 20_100);
    assert_eq!(buyer.cash_held.0, 4 * 20_100);
}

#[test]
fn immediate_orders_and_fill_or_kill() {
    check(
        &fixture::genesis(),
        &[
            (
                "0 O 1 S 10 AAPL 20000",
                &["s0 r2 f8 a1 Accepted 1.0 urn 1 S 10 AAPL @20000 account 0 book"],
            ),
            (
                "0 O 2 S 10 AAPL 20100",
                &["s0 r3 f9 a2 Accepted 2.1 urn 2 S 10 AAPL @20100 account 0 book"],
            ),
            (
                "2 O 1 B 4 AAPL 19900 tif=3",
                &[
                    "s2 r2 a1 Accepted 3.2 urn 1 B 4 AAPL @19900 account 2 -",
                    "s2 r3 a1 Canceled 3.2 urn 1 -4 leaves 0 I",
                ],
            ),
            (
                "2 O 2 B 14 AAPL 20000 tif=3",
                &[
                    "s2 r4 a2 Accepted 4.2 urn 2 B 14 AAPL @20000 account 2 -",
                    "s0 r4 f10 a2 Executed 1.0 urn 1 S 10 @20000 leaves 0 match 1 A",
                    "s2 r5 a2 Executed 4.2 urn 2 B 10 @20000 leaves 4 match 1 R",
                    "s2 r6 a2 Canceled 4.2 urn 2 -4 leaves 0 I",
                ],
            ),
            // Fill or kill: 11 wanted, 10 there.
            (
                "2 O 3 B 11 AAPL 20100 tif=3 min=11",
                &[
                    "s2 r7 a3 Accepted 5.2 urn 3 B 11 AAPL @20100 account 2 -",
                    "s2 r8 a3 Canceled 5.2 urn 3 -11 leaves 0 I",
                ],
            ),
            (
                "2 O 4 B 10 AAPL 20000 tif=3 min=10",
                &[
                    "s2 r9 a4 Accepted 6.2 urn 4 B 10 AAPL @20000 account 2 -",
                    "s2 r10 a4 Canceled 6.2 urn 4 -10 leaves 0 I",
                ],
            ),
            (
                "2 O 5 B 10 AAPL 20100 tif=3 min=10",
                &[
                    "s2 r11 a5 Accepted 7.2 urn 5 B 10 AAPL @20100 account 2 -",
                    "s0 r5 f11 a2 Executed 2.1 urn 2 S 10 @20100 leaves 0 match 2 A",
                    "s2 r12 a5 Executed 7.2 urn 5 B 10 @20100 leaves 0 match 2 R",
                ],
            ),
        ],
    );
}

#[test]
fn market_orders_stop_at_the_protection_price() {
    check(
        &fixture::genesis(),
        &[
            // Nothing on the other side: K, for fill or kill I.
            (
                "2 O 1 B 5 AAPL market tif=3",
                &[
                    "s2 r2 a1 Accepted 1.0 urn 1 B 5 AAPL @2147483647 account 2 -",
                    "s2 r3 a1 Canceled 1.0 urn 1 -5 leaves 0 K",
                ],
            ),
            (
                "2 O 2 S 5 AAPL market tif=3 min=5",
                &[
                    "s2 r4 a2 Accepted 2.0 urn 2 S 5 AAPL @2147483647 account 2 -",
                    "s2 r5 a2 Canceled 2.0 urn 2 -5 leaves 0 I",
                ],
            ),
            // A sell needs its shares even then.
            ("2 O 3 S 6000 LOTS market tif=3", &["s2 r6 a3 Rejected 3 0020 \"\""]),
            // 5.00 best, 0.12 protection: 5.10 is reached, 5.15 is not.
            (
                "0 O 1 S 10 LOTS 50000",
                &["s0 r2 f8 a1 Accepted 3.0 urn 1 S 10 LOTS @50000 account 0 book"],
            ),
            (
                "0 O 2 S 10 LOTS 51000",
                &["s0 r3 f9 a2 Accepted 4.1 urn 2 S 10 LOTS @51000 account 0 book"],
            ),
            (
                "0 O 3 S 10 LOTS 51500",
                &["s0 r4 f10 a3 Accepted 5.2 urn 3 S 10 LOTS @51500 account 0 book"],
            ),
            (
                "2 O 4 B 30 LOTS market tif=3",
                &[
                    "s2 r7 a4 Accepted 6.3 urn 4 B 30 LOTS @2147483647 account 2 -",
                    "s0 r5 f11 a3 Executed 3.0 urn 1 S 10 @50000 leaves 0 match 1 A",
                    "s2 r8 a4 Executed 6.3 urn 4 B 10 @50000 leaves 20 match 1 R",
                    "s0 r6 f12 a3 Executed 4.1 urn 2 S 10 @51000 leaves 0 match 2 A",
                    "s2 r9 a4 Executed 6.3 urn 4 B 10 @51000 leaves 10 match 2 R",
                    "s2 r10 a4 Canceled 6.3 urn 4 -10 leaves 0 K",
                ],
            ),
            // Down: 49.95 best (band 5.00 to 50.00), 49.83 reached, so 49.85 is and 49.80 is not.
            ("0 X 3 0", &["s0 r7 f13 a4 Canceled 5.2 urn 3 -10 leaves 0 U book"]),
            (
                "0 O 5 B 10 LOTS 499500",
                &["s0 r8 f14 a5 Accepted 7.2 urn 5 B 10 LOTS @499500 account 0 book"],
            ),
            (
                "0 O 6 B 10 LOTS 498500",
                &["s0 r9 f15 a6 Accepted 8.3 urn 6 B 10 LOTS @498500 account 0 book"],
            ),
            (
                "0 O 7 B 10 LOTS 498000",
                &["s0 r10 f16 a7 Accepted 9.1 urn 7 B 10 LOTS @498000 account 0 book"],
            ),
            (
                "2 O 5 S 30 LOTS market tif=3",
                &[
                    "s2 r11 a5 Accepted 10.0 urn 5 S 30 LOTS @2147483647 account 2 -",
                    "s0 r11 f17 a7 Executed 7.2 urn 5 B 10 @499500 leaves 0 match 3 A",
                    "s2 r12 a5 Executed 10.0 urn 5 S 10 @499500 leaves 20 match 3 R",
                    "s0 r12 f18 a7 Executed 8.3 urn 6 B 10 @498500 leaves 0 match 4 A",
                    "s2 r13 a5 Executed 10.0 urn 5 S 10 @498500 leaves 10 match 4 R",
                    "s2 r14 a5 Canceled 10.0 urn 5 -10 leaves 0 K",
                ],
            ),
        ],
    );
}

#[test]
fn a_cancel_down_keeps_its_place_and_counts_the_chain() {
    check(
        &fixture::genesis(),
        &[
            (
                "0 O 1 B 10 AAPL 20000",
                &["s0 r2 f8 a1 Accepted 1.0 urn 1 B 10 AAPL @20000 account 0 book"],
            ),
            (
                "0 O 2 B 10 AAPL 20000",
                &["s0 r3 f9 a2 Accepted 2.1 urn 2 B 10 AAPL @20000 account 0 book"],
            ),
            ("0 X 1 12", &["s0 a3 Applied 4"]),
            ("0 X 1 10", &["s0 a4 Applied 4"]),
            ("0 X 1 7", &["s0 r4 f10 a5 Canceled 1.0 urn 1 -3 leaves 7 U book"]),
            (
                "2 O 1 S 2 AAPL 20000",
                &[
                    "s2 r2 a1 Accepted 3.2 urn 1 S 2 AAPL @20000 account 2 -",
                    "s0 r5 f11 a5 Executed 1.0 urn 1 B 2 @20000 leaves 5 match 1 A",
                    "s2 r3 a1 Executed 3.2 urn 1 S 2 @20000 leaves 0 match 1 R",
                ],
            ),
            // Total 6, of which 2 are executed: 4 stay open.
            ("0 X 1 6", &["s0 r6 f12 a6 Canceled 1.0 urn 1 -1 leaves 4 U book"]),
            ("0 X 1 2", &["s0 r7 f13 a7 Canceled 1.0 urn 1 -4 leaves 0 U book"]),
            ("0 X 1 0", &["s0 a8 Applied 8"]),
            // Nobody else's, and none that never was.
            ("1 X 2 0", &["s1 a1 Applied 2"]),
            ("0 X 77 0", &["s0 a9 Applied 8"]),
        ],
    );
}

#[test]
fn a_replace_has_four_outcomes() {
    check(
        &fixture::genesis(),
        &[
            (
                "0 O 1 B 10 AAPL 20000 capacity=P",
                &["s0 r2 f8 a1 Accepted 1.0 urn 1 B 10 AAPL @20000 account 0 book"],
            ),
            (
                "0 O 2 B 10 AAPL 20000",
                &["s0 r3 f9 a2 Accepted 2.1 urn 2 B 10 AAPL @20000 account 0 book"],
            ),
            // 1: the old order is dead, or the new reference is not above the last.
            ("0 U 9 10 5 20000", &["s0 a3 Applied 4"]),
            ("0 U 1 2 5 20000", &["s0 a4 Applied 4"]),
            // 4: a new order at the back of the queue.
            ("0 U 1 3 8 20000", &["s0 r4 f10 a5 Replaced 1.0 urn 1 by 3.0 urn 3 B 8 @20000 book"]),
            (
                "2 O 1 S 12 AAPL 20000",
                &[
                    "s2 r2 a1 Accepted 4.2 urn 1 S 12 AAPL @20000 account 2 -",
                    "s0 r5 f11 a5 Executed 2.1 urn 2 B 10 @20000 leaves 0 match 1 A",
                    "s2 r3 a1 Executed 4.2 urn 1 S 10 @20000 leaves 2 match 1 R",
                    "s0 r6 f12 a5 Executed 3.0 urn 3 B 2 @20000 leaves 6 match 2 A",
                    "s2 r4 a1 Executed 4.2 urn 1 S 2 @20000 leaves 0 match 2 R",
                ],
            ),
            // The total counts what was executed: 20 - 2 = 18 open.
            (
                "0 U 3 4 20 19900",
                &["s0 r7 f13 a6 Replaced 3.0 urn 3 by 5.0 urn 4 B 18 @19900 book"],
            ),
            // 4 with a match: D of the old, executions, what rests.
            (
                "2 O 2 S 5 AAPL 20300",
                &["s2 r5 f14 a2 Accepted 6.2 urn 2 S 5 AAPL @20300 account 2 book"],
            ),
            (
                "0 U 4 5 20 20300",
                &[
                    "s0 r8 f15 a7 Replaced 5.0 urn 4 by 7.0 urn 5 B 18 @20300 -",
                    "s2 r6 f16 a2 Executed 6.2 urn 2 S 5 @20300 leaves 0 match 3 A",
                    "s0 r9 a7 Executed 7.0 urn 5 B 5 @20300 leaves 13 match 3 R",
                    "f17 Rested 7.0 B 13 @20300",
                ],
            ),
            // 4 as immediate: what does not trade is gone.
            (
                "0 U 5 6 20 19000 tif=3",
                &[
                    "s0 r10 f18 a8 Replaced 7.0 urn 5 by 8.0 urn 6 B 13 @19000 -",
                    "s0 r11 a8 Canceled 8.0 urn 6 -13 leaves 0 I",
                ],
            ),
            (
                "0 O 7 B 10 AAPL 20000",
                &["s0 r12 f19 a9 Accepted 9.0 urn 7 B 10 AAPL @20000 account 0 book"],
            ),
            (
                "0 U 7 8 10 market tif=3",
                &[
                    "s0 r13 f20 a10 Replaced 9.0 urn 7 by 10.0 urn 8 B 10 @2147483647 -",
                    "s0 r14 a10 Canceled 10.0 urn 8 -10 leaves 0 K",
                ],
            ),
            // 3: not now; the reference is consumed, the old order stays.
            (
                "0 O 9 B 10 AAPL 20000",
                &["s0 r15 f21 a11 Accepted 11.0 urn 9 B 10 AAPL @20000 account 0 book"],
            ),
            ("state 1 H", &["f22 Trading AAPL H"]),
            ("0 U 9 10 5 20000 id=NEW", &["s0 r16 a12 Rejected 10 0015 \"NEW\""]),
            ("0 U 9 10 5 20000", &["s0 a13 Applied 17"]),
            ("0 X 9 9", &["s0 r17 f23 a14 Canceled 11.0 urn 9 -1 leaves 9 U book"]),
            ("state 1 T", &["f24 Trading AAPL T"]),
            ("phase closed", &["f25 System M"]),
            ("0 U 9 11 5 20000", &["s0 r18 a15 Rejected 11 0015 \"\""]),
        ],
    );
}

#[test]
fn an_invalid_replace_cancels_the_old_order() {
    let rows = [
        "10 20050",           // off the tick
        "10 0",               // no price
        "10 10000100",        // outside the band
        "10 market",          // market needs IOC
        "0 20000",            // no quantity
        "3 20000",            // not above what is executed
        "1000000 20000",      // too large
        "4294967295 20000",   // far too large
        "10 20000 display=A", // not offered
        "10 20000 iso=Y",     // not offered
        "10 20000 tif=6",     // not offered
        "999999 9999900",     // more cash than there is
    ];
    let mut genesis = fixture::genesis();
    genesis.accounts[0].cash.0 = 1_000_000_000;
    for row in rows {
        let mut case = Case::open(&genesis);
        case.run("0 O 1 B 10 AAPL 20000");
        case.run("2 O 1 S 3 AAPL 20000");
        assert_eq!(
            case.run(&format!("0 U 1 2 {row}")),
            ["s0 r4 f10 a2 Canceled 1.0 urn 1 -7 leaves 0 U book"],
            "{row}"
        );
        // The reference is not consumed.
        assert_eq!(case.run("0 Q"), ["s0 r5 a3 Query 2"], "{row}");
    }
    check(
        &fixture::genesis(),
        &[
            (
                "0 O 1 B 20 LOTS 50000",
                &["s0 r2 f8 a1 Accepted 1.0 urn 1 B 20 LOTS @50000 account 0 book"],
            ),
            // Open quantity off the lot: a cancel may leave it, a replace may not ask for it.
            ("0 X 1 15", &["s0 r3 f9 a2 Canceled 1.0 urn 1 -5 leaves 15 U book"]),
            ("0 U 1 2 15 50000", &["s0 r4 f10 a3 Canceled 1.0 urn 1 -15 leaves 0 U book"]),
        ],
    );
}

#[test]
fn the_largest_reference_is_the_last() {
    check(
        &fixture::genesis(),
        &[
            (
                "0 O 4294967294 B 1 AAPL 20000",
                &["s0 r2 f8 a1 Accepted 1.0 urn 4294967294 B 1 AAPL @20000 account 0 book"],
            ),
            ("0 Q", &["s0 r3 a2 Query 4294967295"]),
            (
                "0 U 4294967294 4294967295 2 20000",
                &["s0 r4 f9 a3 Replaced 1.0 urn 4294967294 by 2.0 urn 4294967295 B 2 @20000 book"],
            ),
            ("0 Q", &["s0 r5 a4 Query 0"]),
            ("0 O 4294967295 B 1 AAPL 20000", &["s0 a5 Applied 6"]),
            ("0 X 4294967295 0", &["s0 r6 f10 a6 Canceled 2.0 urn 4294967295 -2 leaves 0 U book"]),
        ],
    );
}

/// The worked cases of `exchange.md`, as they stand there.
#[test]
fn worked_cases_of_the_page() {
    let page = include_str!("../exchange.md");
    let table = page.split("## Worked cases").nth(1).expect("the section");
    let mut case = Case::open(&fixture::genesis());
    let mut rows = 0;
    for line in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let events = case.run(cells[1].trim_matches('`'));
        let events: Vec<String> = events.iter().map(|event| format!("`{event}`")).collect();
        assert_eq!(cells[2], events.join("<br>"), "{line}");
        rows += 1;
    }
    assert_eq!(rows, 16);
}
