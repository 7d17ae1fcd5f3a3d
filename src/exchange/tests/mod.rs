//! The exchange's rules as rows: one command, the whole list of its events.

mod day;
mod orders;
mod refusals;
mod sessions;
mod text;

use super::Exchange;
use super::command::Command;
use super::event::{Event, EventBody};
use super::fixture;
use super::genesis::Genesis;
use crate::types::*;

/// One exchange under test.
pub(super) struct Case {
    pub(super) exchange: Exchange,
    seq: u64,
    /// Next client sequence and generation by session.
    clients: Vec<(u64, u32)>,
}

impl Case {
    /// After Genesis; nobody logged in, market not open.
    pub(super) fn start(genesis: &Genesis) -> Case {
        let exchange = Exchange::new(genesis).unwrap();
        let clients = vec![(1, 0); genesis.sessions.len()];
        let mut case = Case { exchange, seq: 0, clients };
        case.apply(&Command::Genesis(&genesis.encode()));
        case
    }

    /// Market open, every session logged in, with cancel on disconnect, under generation 1.
    pub(super) fn open(genesis: &Genesis) -> Case {
        let mut case = Case::start(genesis);
        for slot in 0..genesis.sessions.len() {
            case.run(&format!("login {slot} gen=1 time=1 flags=1"));
        }
        case.run("phase open");
        case
    }

    /// Applies one command and checks the whole state.
    pub(super) fn apply(&mut self, command: &Command<'_>) -> Vec<Event> {
        self.seq += 1;
        let mut events: Vec<Event> = Vec::new();
        self.exchange.apply(Seq(self.seq), Nanos(1_000 + self.seq), command, &mut events);
        self.exchange.check();
        for (index, event) in (0u32..).zip(&events) {
            assert_eq!((event.head.command, event.head.index), (Seq(self.seq), index));
            assert_eq!((event.head.previous, event.head.zero), (0, [0; 2]));
        }
        events
    }

    /// Applies one command given as text; its events as text.
    pub(super) fn run(&mut self, line: &str) -> Vec<String> {
        let command = text::parse(line, &mut self.clients);
        self.apply(&command).iter().map(text::show).collect()
    }
}

/// Runs rows of `command => events` (one event per line, `-` for none) on an open market.
#[track_caller]
pub(super) fn check(genesis: &Genesis, rows: &[(&str, &[&str])]) -> Case {
    let mut case = Case::open(genesis);
    check_on(&mut case, rows);
    case
}

/// Runs rows on a case.
#[track_caller]
pub(super) fn check_on(case: &mut Case, rows: &[(&str, &[&str])]) {
    for (command, events) in rows {
        assert_eq!(case.run(command), *events, "after {command:?}");
    }
}

#[test]
fn same_commands_same_hash_and_one_difference_another() {
    let run = |quantity: u32| {
        let mut case = Case::open(&fixture::genesis());
        case.run("0 O 1 B 100 AAPL 20000");
        case.run(&format!("2 O 1 S {quantity} AAPL 20000"));
        case.exchange.state_hash()
    };
    assert_eq!(run(40), run(40));
    assert_ne!(run(40), run(41));
}

#[test]
fn every_number_in_the_heads_has_no_gap() {
    let mut case = Case::open(&fixture::genesis());
    let mut reports = [1u64; 3];
    let (mut feed, mut matches) = (7, 0); // after O, 2 R, 2 H, S, Q
    for urn in 1..200u32 {
        let side = ["B", "S"][(urn % 2) as usize];
        let line = format!("{} O {urn} {side} {} AAPL {}", urn % 3, urn, 20_000 + urn % 5 * 100);
        let command = text::parse(&line, &mut case.clients);
        for event in case.apply(&command) {
            if event.head.report != 0 {
                let report = &mut reports[event.head.session.0 as usize];
                *report += 1;
                assert_eq!(event.head.report, *report);
            }
            if event.head.feed != 0 {
                feed += 1;
                assert_eq!(event.head.feed, feed);
            }
            if let EventBody::Executed(executed) = event.body
                && executed.liquidity == b'A'
            {
                matches += 1;
                assert_eq!(executed.match_number, MatchNumber(matches));
            }
        }
    }
    assert!(matches > 50);
}

#[test]
#[should_panic(expected = "Genesis of another day")]
fn a_genesis_of_other_bytes_is_our_fault() {
    let mut other = fixture::genesis();
    other.day_of_year = 2;
    let mut exchange = Exchange::new(&fixture::genesis()).unwrap();
    let mut events: Vec<Event> = Vec::new();
    exchange.apply(Seq(1), Nanos(1), &Command::Genesis(&other.encode()), &mut events);
}
