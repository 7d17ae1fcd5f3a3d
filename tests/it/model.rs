//! The exchange against its naive model: after every command the same events, heads included, the
//! same state hash, and both keep their invariants.
//!
//! Every choice comes from one number. `RIALTO_MODEL_SEED=N` runs that day alone, and
//! `RIALTO_MODEL_DAYS=N` more days than the usual ones.

mod day;
mod flow;
mod pair;
mod source;

use std::collections::BTreeMap;

use proptest::prelude::*;

use day::Kind;
use flow::Flow;
use pair::Pair;
use source::{Bytes, Xorshift};

/// Commands of one seeded day; orders pile up over twice as many.
fn commands(kind: Kind) -> usize {
    if kind == Kind::Crowded { 3_000 } else { 1_500 }
}

/// Days of each kind that an ordinary test run goes through.
fn days(kind: Kind) -> u64 {
    if kind == Kind::Crowded { 10 } else { 40 }
}

/// Runs one day of a kind; the seed decides everything else.
fn run_day(kind: Kind, seed: u64) -> Pair {
    let mut source = Xorshift::new(seed);
    let genesis = day::draw(kind, &mut source);
    let mut flow = Flow::draw(kind, &mut source);
    let mut pair = Pair::new(&genesis);
    pair.note(format!("RIALTO_MODEL_SEED={seed} cargo test --test it model::{}", kind.test()));
    for _ in 0..commands(kind) {
        flow.step(&mut pair, &mut source);
    }
    flow.finish(&mut pair);
    pair
}

fn run_days(kind: Kind) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("RIALTO_MODEL_SEED") {
        run_day(kind, seed);
        return;
    }
    for seed in 0..number("RIALTO_MODEL_DAYS").unwrap_or(days(kind)) {
        run_day(kind, seed);
    }
}

/// Funds, limits and tables that are never in the way.
#[test]
fn ample_days() {
    run_days(Kind::Ample);
}

/// Everything runs out: cash, shares, limits, open orders, price pages.
#[test]
fn scarce_days() {
    run_days(Kind::Scarce);
}

/// Prices far apart, few price pages.
#[test]
fn wide_days() {
    run_days(Kind::Wide);
}

/// More orders per session than one command may cancel.
#[test]
fn crowded_days() {
    run_days(Kind::Crowded);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..Default::default() })]

    /// The same flow, driven by bytes that shrink: a failure comes back as few, plain commands.
    #[test]
    fn any_commands(
        kind in prop_oneof![Just(Kind::Ample), Just(Kind::Scarce), Just(Kind::Wide)],
        setup in prop::array::uniform32(any::<u8>()),
        steps in prop::collection::vec(prop::array::uniform24(any::<u8>()), 1..160),
    ) {
        let mut source = Bytes::new(&setup);
        let genesis = day::draw(kind, &mut source);
        let mut flow = Flow::draw(kind, &mut source);
        let mut pair = Pair::new(&genesis);
        for step in &steps {
            flow.step(&mut pair, &mut Bytes::new(step));
        }
        flow.finish(&mut pair);
    }
}

/// What the days are worth: everything that an exchange can say is said often enough.
#[test]
fn days_see_everything() {
    let mut seen = BTreeMap::<String, u64>::new();
    for kind in [Kind::Ample, Kind::Scarce, Kind::Wide, Kind::Crowded] {
        for seed in 100..108 {
            for (what, count) in run_day(kind, seed).seen() {
                *seen.entry(what.clone()).or_default() += count;
            }
        }
    }
    let rows = [
        ("Accepted", 5000),
        ("Applied", 2000),
        ("Canceled E resting", 500),
        ("Canceled I new", 500),
        ("Canceled K new", 20),
        ("Canceled U resting", 500),
        ("Canceled Z resting", 1000),
        ("Executed", 3000),
        ("LoggedIn", 500),
        ("NotApplied", 1000),
        ("QueryResponse", 100),
        ("Replaced", 1000),
        ("Rested", 200),
        ("SessionEnded 1", 40),
        ("SessionEnded 2", 80),
        ("SessionEnded 3", 40),
        ("TradingAction", 300),
        ("a mass action goes on", 10),
    ];
    let reasons = [
        "0002", "0003", "0007", "0009", "000a", "000c", "000f", "0013", "0015", "0017", "001d",
        "001e", "001f", "0020", "0024", "0025", "0026", "0029",
    ];
    let rejected = reasons.map(|reason| (format!("Rejected {reason}"), 20));
    let rows = rows.map(|(what, least)| (what.to_string(), least));
    for (what, least) in rows.into_iter().chain(rejected) {
        let count = seen.get(&what).copied().unwrap_or(0);
        assert!(count >= least, "{what}: {count}, wanted {least}; all: {seen:#?}");
    }
}
