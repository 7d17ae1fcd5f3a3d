//! Genesis, phases, halts, the end of the day.

use super::super::fixture;
use super::super::mass::STEP_ORDERS;
use super::{Case, check, check_on};
use crate::exchange::Exchange;
use crate::exchange::command::Command;
use crate::exchange::event::Event;
use crate::types::*;

#[test]
fn genesis_says_the_opening_events_once() {
    let genesis = fixture::genesis();
    let mut exchange = Exchange::new(&genesis).unwrap();
    let mut apply = |command: &Command<'_>| {
        let mut events: Vec<Event> = Vec::new();
        exchange.apply(Seq(1), Nanos(5), command, &mut events);
        exchange.check();
        events.iter().map(super::text::show).collect::<Vec<_>>()
    };
    assert_eq!(apply(&Command::EndOfDay), [""; 0], "before Genesis nothing happens");
    assert_eq!(
        apply(&Command::Genesis(&genesis.encode())),
        [
            "f1 System O",
            "f2 Directory 1 AAPL lot 1",
            "f3 Directory 2 LOTS lot 10",
            "f4 Trading AAPL T",
            "f5 Trading LOTS T",
            "f6 System S",
            "s0 r1 a0 Mark S",
            "s1 r1 a0 Mark S",
            "s2 r1 a0 Mark S",
        ]
    );
    assert_eq!(apply(&Command::Genesis(&genesis.encode())), [""; 0]);
}

#[test]
fn phases_say_q_and_m_once() {
    let mut case = Case::start(&fixture::genesis());
    case.run("login 0 gen=1 time=1");
    check_on(
        &mut case,
        &[
            ("tick", &[]),
            ("continue", &[]),
            ("0 O 1 B 1 AAPL 20000", &["s0 r2 a1 Rejected 1 0002 \"\""]),
            ("phase open", &["f7 System Q"]),
            ("phase open", &[]),
            (
                "0 O 2 B 1 AAPL 20000",
                &["s0 r3 f8 a2 Accepted 1.0 urn 2 B 1 AAPL @20000 account 0 book"],
            ),
            ("phase preopen", &[]),
            ("0 O 3 B 1 AAPL 20000", &["s0 r4 a3 Rejected 3 0002 \"\""]),
            ("phase closed", &["f9 System M"]),
            ("0 O 4 B 1 AAPL 20000", &["s0 r5 a4 Rejected 4 0002 \"\""]),
            ("0 X 2 0", &["s0 r6 f10 a5 Canceled 1.0 urn 2 -1 leaves 0 U book"]),
            ("phase open", &[]),
            (
                "0 O 5 B 1 AAPL 20000",
                &["s0 r7 f11 a6 Accepted 2.0 urn 5 B 1 AAPL @20000 account 0 book"],
            ),
            ("phase closed", &[]),
            (
                "end",
                &[
                    "s0 r8 f12 a6 Canceled 2.0 urn 5 -1 leaves 0 E book",
                    "f13 System E",
                    "f14 System C",
                    "s0 r9 a6 Mark E",
                    "s1 r2 a0 Mark E",
                    "s2 r2 a0 Mark E",
                    "s0 a6 Ended 1 by 3",
                ],
            ),
        ],
    );
}

#[test]
fn halts_are_per_symbol() {
    check(
        &fixture::genesis(),
        &[
            ("state 0 H", &[]),
            ("state 3 H", &[]),
            ("state 65535 H", &[]),
            ("state 1 P", &[]),
            ("state 1 H", &["f8 Trading AAPL H"]),
            ("0 O 1 B 1 AAPL 20000", &["s0 r2 a1 Rejected 1 0007 \"\""]),
            (
                "0 O 2 B 10 LOTS 50000",
                &["s0 r3 f9 a2 Accepted 1.0 urn 2 B 10 LOTS @50000 account 0 book"],
            ),
            ("state 1 H", &["f10 Trading AAPL H"]),
            ("state 1 T", &["f11 Trading AAPL T"]),
            (
                "0 O 3 B 1 AAPL 20000",
                &["s0 r4 f12 a3 Accepted 2.1 urn 3 B 1 AAPL @20000 account 0 book"],
            ),
        ],
    );
}

#[test]
fn the_end_of_the_day_expires_in_steps_and_then_says_so() {
    let mut case = Case::open(&fixture::genesis());
    for urn in 1..=300 {
        case.run(&format!("1 O {urn} B 1 AAPL 20000"));
    }
    for urn in 1..=300 {
        case.run(&format!("0 O {urn} B 1 AAPL 20000"));
    }
    // A mass cancel that waits is forgotten: its orders expire with the others.
    case.run("down 0");
    assert!(case.exchange.continue_wanted());
    let first = case.run("end");
    assert_eq!(first.len(), STEP_ORDERS as usize);
    assert!(first[0].starts_with("s0 ") && first[0].ends_with("E book"));
    assert!(first[44].starts_with("s1 "));
    check_on(
        &mut case,
        &[
            ("1 X 300 0", &[]),
            ("0 Q", &[]),
            ("login 0 gen=2 time=9", &[]),
            ("logoff 1 1", &[]),
            ("down 1", &[]),
            ("phase open", &[]),
            ("state 1 H", &[]),
            ("end", &[]),
            ("tick", &[]),
        ],
    );
    assert!(case.exchange.continue_wanted());
    let last = case.run("continue");
    let expired = 344 - STEP_ORDERS as usize;
    assert!(last[..expired].iter().all(|event| event.ends_with("E book")));
    assert_eq!(
        last[expired..],
        [
            "f1208 System M",
            "f1209 System E",
            "f1210 System C",
            "s0 r602 a300 Mark E",
            "s1 r602 a300 Mark E",
            "s2 r2 a0 Mark E",
            "s1 a300 Ended 1 by 3",
            "s2 a0 Ended 1 by 3",
        ]
    );
    assert!(!case.exchange.continue_wanted());
    check_on(&mut case, &[("continue", &[]), ("2 Q", &[]), ("end", &[])]);
}

#[test]
fn modes_refuse_each_with_its_own_reason() {
    check(
        &fixture::genesis(),
        &[
            (
                "0 O 1 B 10 AAPL 20000",
                &["s0 r2 f8 a1 Accepted 1.0 urn 1 B 10 AAPL @20000 account 0 book"],
            ),
            ("mode normal", &[]),
            ("mode cancels", &["f9 Trading AAPL P", "f10 Trading LOTS P"]),
            ("mode cancels", &[]),
            ("0 O 2 B 1 AAPL 20000", &["s0 r3 a2 Rejected 2 0022 \"\""]),
            ("0 O 3 B 1 NONE 20000", &["s0 r4 a3 Rejected 3 0022 \"\""]),
            ("0 U 1 4 5 20000", &["s0 r5 a4 Rejected 4 0022 \"\""]),
            ("0 X 1 9", &["s0 r6 f11 a5 Canceled 1.0 urn 1 -1 leaves 9 U book"]),
            ("0 Q", &["s0 r7 a6 Query 5"]),
            // A symbol that is halted for itself says nothing when the mode changes.
            ("state 2 H", &["f12 Trading LOTS H"]),
            ("mode halt", &["f13 Trading AAPL H"]),
            ("0 O 5 B 1 AAPL 20000", &["s0 r8 a7 Rejected 5 0007 \"\""]),
            ("0 U 1 6 5 20000", &["s0 r9 a8 Rejected 6 0007 \"\""]),
            ("0 X 1 0", &["s0 r10 a9 CancelRefused 1"]),
            ("0 X 1 9", &["s0 a10 Applied 11"]),
            ("0 X 2 0", &["s0 a11 Applied 11"]),
            ("0 U 1 7 5 20000 verdict=2", &["s0 r11 a12 CancelRefused 1"]),
            ("0 Q", &["s0 r12 a13 Query 7"]),
            ("state 2 T", &["f14 Trading LOTS H"]),
            ("mode cancels", &["f15 Trading AAPL P", "f16 Trading LOTS P"]),
            ("0 X 1 8", &["s0 r13 f17 a14 Canceled 1.0 urn 1 -1 leaves 8 U book"]),
            ("phase closed", &["f18 System M"]),
            ("0 O 7 B 1 AAPL 20000", &["s0 r14 a15 Rejected 7 0002 \"\""]),
            ("0 U 1 8 5 20000", &["s0 r15 a16 Rejected 8 0015 \"\""]),
            ("phase open", &[]),
            ("mode normal", &["f19 Trading AAPL T", "f20 Trading LOTS T"]),
            (
                "2 O 1 S 8 AAPL 20000",
                &[
                    "s2 r2 a1 Accepted 2.1 urn 1 S 8 AAPL @20000 account 2 -",
                    "s0 r16 f21 a16 Executed 1.0 urn 1 B 8 @20000 leaves 0 match 1 A",
                    "s2 r3 a1 Executed 2.1 urn 1 S 8 @20000 leaves 0 match 1 R",
                ],
            ),
        ],
    );
}

#[test]
fn in_a_halt_a_lost_session_keeps_its_orders_until_the_halt_ends() {
    let mut case = Case::open(&fixture::genesis());
    case.run("0 O 1 B 10 AAPL 20000");
    case.run("mode halt");
    assert_eq!(case.run("down 1"), ["s1 a0 Ended 1 by 2"], "it has no orders: nothing waits");
    assert_eq!(case.run("down 0"), ["s0 a1 Ended 1 by 2"]);
    assert!(!case.exchange.continue_wanted(), "nothing may go on in a halt");
    assert_eq!(case.run("continue"), [""; 0]);
    case.run("mode cancels");
    assert!(case.exchange.continue_wanted());
    assert_eq!(case.run("continue"), ["s0 r3 f13 a1 Canceled 1.0 urn 1 -10 leaves 0 Z book"]);
    assert!(!case.exchange.continue_wanted());
}

#[test]
fn the_day_ends_in_a_halt_too() {
    let mut case = Case::open(&fixture::genesis());
    case.run("0 O 1 B 10 AAPL 20000");
    case.run("mode halt");
    let events = case.run("end");
    assert_eq!(events[0], "s0 r3 f11 a1 Canceled 1.0 urn 1 -10 leaves 0 E book");
    assert_eq!(case.run("mode normal"), [""; 0], "the day is over");
}

#[test]
fn the_mode_shows_in_the_state_hash_even_when_nobody_hears_of_it() {
    let hash = |mode: &str| {
        let mut case = Case::open(&fixture::genesis());
        case.run("state 1 H");
        case.run("state 2 H");
        assert_eq!(case.run(mode), [""; 0]);
        case.exchange.state_hash()
    };
    assert_ne!(hash("mode halt"), hash("mode cancels"));
    assert_ne!(hash("mode normal"), hash("mode cancels"));
}
