//! Sequences, verdicts, logins, cancel on disconnect.

use super::super::fixture;
use super::super::mass::STEP_ORDERS;
use super::{Case, check, check_on};
use crate::types::*;

#[test]
fn gaps_duplicates_and_jumps() {
    check(
        &fixture::genesis(),
        &[
            ("0 Q seq=1", &["s0 r2 a1 Query 1"]),
            ("0 Q seq=1", &[]),
            ("0 Q seq=0", &[]),
            // A gap: N stands before the block's own report, and carries what was applied before it.
            ("0 Q seq=5", &["s0 r3 a4 NotApplied 2 3", "s0 r4 a5 Query 1"]),
            // The block itself says nothing: Applied follows N.
            ("0 X 1 0 seq=7", &["s0 r5 a6 NotApplied 6 1", "s0 a7 Applied 6"]),
            // More than 65,536 above the next is dropped; exactly that is a gap.
            ("0 Q seq=65545", &[]),
            ("0 Q seq=18446744073709551615", &[]),
            ("0 Q seq=65544", &["s0 r6 a65543 NotApplied 8 65536", "s0 r7 a65544 Query 1"]),
            // Unknown session, stale and future generation.
            ("9 Q seq=1", &[]),
            ("1 Q gen=0 seq=1", &[]),
            ("1 Q gen=2 seq=1", &[]),
            ("1 Q seq=1", &["s1 r2 a1 Query 1"]),
        ],
    );
}

#[test]
fn malformed_and_throttled_blocks() {
    check(
        &fixture::genesis(),
        &[
            ("0 ? O 5 verdict=1 id=BAD", &["s0 r2 a1 Rejected 5 000f \"BAD\""]),
            ("0 ? O 5 verdict=1", &["s0 a2 Applied 3"]),
            ("0 ? U 6 verdict=1", &["s0 r3 a3 Rejected 6 000f \"\""]),
            ("0 ? O - verdict=1", &["s0 r4 a4 NotApplied 4 1"]),
            ("0 ? X 9 verdict=1", &["s0 r5 a5 NotApplied 5 1"]),
            ("0 ? Z - verdict=1", &["s0 r6 a6 NotApplied 6 1"]),
            // Combinations that no gateway makes.
            ("0 O 9 B 1 AAPL 20000 verdict=1", &["s0 r7 a7 NotApplied 7 1"]),
            ("0 O 9 B 1 AAPL 20000 verdict=200", &["s0 r8 a8 NotApplied 8 1"]),
            ("0 ? O 9 verdict=0", &["s0 r9 a9 Rejected 9 000f \"\""]),
            // Throttled.
            ("0 O 10 B 1 AAPL 20000 verdict=2 id=FAST", &["s0 r10 a10 Rejected 10 0029 \"FAST\""]),
            ("0 O 10 B 1 AAPL 20000 verdict=2", &["s0 a11 Applied 11"]),
            ("0 Q verdict=2", &["s0 r11 a12 NotApplied 12 1"]),
            ("0 ? O 20 verdict=2", &["s0 r12 a13 NotApplied 13 1"]),
            (
                "0 O 11 B 5 AAPL 20000",
                &["s0 r13 f8 a14 Accepted 1.0 urn 11 B 5 AAPL @20000 account 0 book"],
            ),
            ("0 X 11 3 verdict=2", &["s0 r14 f9 a15 Canceled 1.0 urn 11 -2 leaves 3 U book"]),
            (
                "0 U 11 12 9 20000 verdict=2",
                &["s0 r15 f10 a16 Canceled 1.0 urn 11 -3 leaves 0 Z book"],
            ),
            ("0 U 11 12 9 20000 verdict=2", &["s0 a17 Applied 16"]),
            ("0 Q", &["s0 r16 a18 Query 12"]),
        ],
    );
}

#[test]
fn logins_need_the_next_generation_and_a_later_time() {
    let mut case = Case::start(&fixture::genesis());
    check_on(
        &mut case,
        &[
            ("0 Q gen=0", &[]),
            ("login 0 gen=2 time=10", &[]),
            ("login 0 gen=0 time=10", &[]),
            ("login 7 gen=1 time=10", &[]),
            ("login 0 gen=1 time=0 flags=3", &["s0 a0 LoggedIn 1 flags 3 report 2 urn 1"]),
            ("login 0 gen=1 time=20", &[]),
            ("login 0 gen=2 time=0", &[]),
            ("0 Q gen=1 seq=1", &["s0 r2 a1 Query 1"]),
            ("0 O 5 B 1 AAPL 20000 gen=1 seq=2", &["s0 r3 a2 Rejected 5 0002 \"\""]),
            // Displaced: no end of the old binding is said, its messages are ignored.
            ("login 0 gen=2 time=1", &["s0 a2 LoggedIn 2 flags 0 report 4 urn 6"]),
            ("0 Q gen=1 seq=3", &[]),
            ("0 Q gen=2 seq=3", &["s0 r4 a3 Query 6"]),
            // Logoff: only with our next.
            ("logoff 0 3 gen=2", &[]),
            ("logoff 0 4 gen=1", &[]),
            ("logoff 9 4 gen=1", &[]),
            ("logoff 0 4 gen=2", &["s0 a3 Ended 2 by 1"]),
            ("logoff 0 4 gen=2", &[]),
            ("0 Q gen=2 seq=4", &[]),
            ("down 0 gen=2", &[]),
            ("login 0 gen=3 time=2", &["s0 a3 LoggedIn 3 flags 0 report 5 urn 6"]),
            ("down 0 gen=2", &[]),
            ("down 9 gen=2", &[]),
            ("down 0 gen=3", &["s0 a3 Ended 3 by 2"]),
        ],
    );
}

#[test]
fn orders_stay_without_cancel_on_disconnect() {
    let mut case = Case::start(&fixture::genesis());
    case.run("phase open");
    check_on(
        &mut case,
        &[
            ("login 0 gen=1 time=1", &["s0 a0 LoggedIn 1 flags 0 report 2 urn 1"]),
            (
                "0 O 1 B 5 AAPL 20000",
                &["s0 r2 f8 a1 Accepted 1.0 urn 1 B 5 AAPL @20000 account 0 book"],
            ),
            ("down 0", &["s0 a1 Ended 1 by 2"]),
            ("login 2 gen=1 time=1", &["s2 a0 LoggedIn 1 flags 0 report 2 urn 1"]),
            // Reports go on being numbered while nobody is bound.
            (
                "2 O 1 S 5 AAPL 20000",
                &[
                    "s2 r2 a1 Accepted 2.1 urn 1 S 5 AAPL @20000 account 2 -",
                    "s0 r3 f9 a1 Executed 1.0 urn 1 B 5 @20000 leaves 0 match 1 A",
                    "s2 r3 a1 Executed 2.1 urn 1 S 5 @20000 leaves 0 match 1 R",
                ],
            ),
        ],
    );
}

/// 600 orders: 256, 256, 88, oldest first; meanwhile entry is closed, cancels pass, others trade.
#[test]
fn cancel_on_disconnect_goes_on_in_bounded_steps() {
    let mut case = Case::open(&fixture::genesis());
    for urn in 1..=600 {
        let side = if urn % 2 == 0 { "B 1 AAPL 20000" } else { "S 1 AAPL 20100" };
        assert_eq!(case.run(&format!("0 O {urn} {side}")).len(), 1);
    }
    assert_eq!(case.run("2 O 1 B 1 AAPL 15000").len(), 1);
    // Replaced: now the youngest.
    assert_eq!(case.run("0 U 1 601 1 20100").len(), 1);
    let down = case.run("down 0");
    assert_eq!(down.len(), 1 + STEP_ORDERS as usize);
    assert_eq!(down[0], "s0 a601 Ended 1 by 2");
    assert_eq!(down[1], "s0 r603 f610 a601 Canceled 2.1 urn 2 -1 leaves 0 Z book");
    assert_eq!(down[256], "s0 r858 f865 a601 Canceled 257.256 urn 257 -1 leaves 0 Z book");
    assert!(case.exchange.continue_wanted());
    assert!(case.exchange.session(SessionSlot(0)).unwrap().entry_closed);
    check_on(
        &mut case,
        &[
            ("login 0 gen=2 time=2 flags=1", &["s0 a601 LoggedIn 2 flags 1 report 859 urn 602"]),
            ("0 O 602 B 1 AAPL 20000 id=WAIT", &["s0 r859 a602 Rejected 602 0002 \"WAIT\""]),
            ("0 U 601 603 5 20100", &["s0 r860 a603 Rejected 603 0002 \"\""]),
            ("0 U 1 604 5 20100", &["s0 a604 Applied 861"]),
            ("0 X 600 0", &["s0 r861 f866 a605 Canceled 600.599 urn 600 -1 leaves 0 U book"]),
            (
                "2 O 2 B 1 AAPL 20100",
                &[
                    "s2 r3 a2 Accepted 603.599 urn 2 B 1 AAPL @20100 account 2 -",
                    "s0 r862 f867 a605 Executed 259.258 urn 259 S 1 @20100 leaves 0 match 1 A",
                    "s2 r4 a2 Executed 603.599 urn 2 B 1 @20100 leaves 0 match 1 R",
                ],
            ),
            // Down again while it goes on: nothing starts anew.
            ("down 0", &["s0 a605 Ended 2 by 2"]),
        ],
    );
    // A second session falls behind it and waits its turn.
    for urn in 1..=300 {
        case.run(&format!("1 O {urn} B 1 AAPL 19000"));
    }
    assert_eq!(case.run("down 1").len(), 1 + STEP_ORDERS as usize);
    let first = case.run("continue");
    assert_eq!(first.len(), STEP_ORDERS as usize);
    assert!(first.iter().all(|event| event.starts_with("s0 ")));
    // What is left of the first (600 - 2 gone above - 512), then the second's 44, in one command.
    let second = case.run("continue");
    let of = |slot: &str| second.iter().filter(|event| event.starts_with(slot)).count();
    assert_eq!((of("s0 "), of("s1 ")), (600 - 2 - 512, 44));
    assert!(second[600 - 2 - 512 - 1].contains(" urn 601 "), "the replaced order went last");
    assert!(!case.exchange.continue_wanted());
    assert_eq!(case.run("continue"), [""; 0]);
    assert_eq!(case.exchange.open_orders(), 1);
    case.run("login 0 gen=3 time=3");
    assert!(case.run("0 O 604 B 1 AAPL 20000")[0].contains("Accepted"));
}

#[test]
fn exactly_one_step_needs_no_continue() {
    let mut case = Case::open(&fixture::genesis());
    for urn in 1..=STEP_ORDERS {
        case.run(&format!("0 O {urn} B 1 AAPL 20000"));
    }
    assert_eq!(case.run(&format!("logoff 0 {}", STEP_ORDERS + 1)).len(), 1 + STEP_ORDERS as usize);
    assert!(!case.exchange.continue_wanted());
    assert_eq!(case.exchange.open_orders(), 0);
}

#[test]
fn a_budget_used_up_by_the_last_order_still_finds_the_next_session_without_any() {
    let genesis = fixture::genesis();
    let mut case = Case::open(&genesis);
    for urn in 1..=2 * STEP_ORDERS {
        case.run(&format!("0 O {urn} B 1 AAPL 20000"));
    }
    for urn in 1..=STEP_ORDERS + 1 {
        case.run(&format!("1 O {urn} B 1 AAPL 20000"));
    }
    assert_eq!(case.run("down 0").len(), 1 + STEP_ORDERS as usize);
    assert_eq!(case.run("down 1").len(), 1 + STEP_ORDERS as usize);
    // The second comes back and cancels its last order by itself; its entry is still closed.
    case.run("login 1 gen=2 time=9");
    assert!(case.run(&format!("1 X {} 0", STEP_ORDERS + 1))[0].ends_with("U book"));
    let refused = format!("s1 r516 a259 Rejected 300 0002 {:?}", "");
    assert_eq!(case.run("1 O 300 B 1 AAPL 20000"), [refused]);
    let step = case.run("continue");
    assert_eq!(step.len(), STEP_ORDERS as usize);
    assert!(step.iter().all(|event| event.starts_with("s0 ") && event.ends_with("Z book")));
    assert!(!case.exchange.continue_wanted(), "the same command found the second without orders");
    assert!(case.run("1 O 301 B 1 AAPL 20000")[0].contains("Accepted"));
}
