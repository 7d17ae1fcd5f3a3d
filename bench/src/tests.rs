//! Small streams through everything: the generator gives the known flow, and both layers come to
//! exactly what the plain book says.

use crate::measure::{self, Engine};
use crate::scope::core::Core;
use crate::scope::matching::Matching;
use crate::stream::generate::{Recipe, generate};
use crate::stream::reference::Plan;

/// A recipe and what it comes to: fills, volume, notional, fill digest, resting orders, book digest.
fn check(recipe: Recipe, known: [u64; 6]) {
    let plan = Plan::of(generate(&recipe));
    let (fills, book) = (&plan.expected.fills, &plan.expected.book);
    let got = [fills.fills, fills.volume, fills.notional, fills.digest, book.live, book.digest];
    assert_eq!(got, known, "{recipe:?} came to {got:x?}");
    run::<Matching>(&plan);
    run::<Core>(&plan);
}

fn run<E: Engine>(plan: &Plan) {
    let measured = measure::run::<E>(plan, 1).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(measured.outcome, plan.expected);
    assert_eq!(measured.latency.len() as usize, plan.stream.steps.len() - plan.stream.prefill);
}

#[test]
fn limit_immediate_and_market_orders() {
    check(
        Recipe { seed: 5, symbols: 3, resting: 900, timed: 60_000, ..Recipe::default() },
        [10_759, 330_491, 6_613_465_126, 0x6886_3288_e371_f56e, 901, 0xb2fa_dfb8_1435_e5e9],
    );
}

#[test]
fn fill_or_kill_and_replaces_that_keep_their_place() {
    check(
        Recipe {
            seed: 6,
            symbols: 7,
            resting: 5_000,
            timed: 100_000,
            fok: 20,
            quantity_down: 300,
            ..Recipe::default()
        },
        [21_352, 649_258, 12_984_503_898, 0x85f7_eae3_8486_0ec1, 4_974, 0x492c_891f_d271_bed1],
    );
}
