//! The simulator: a handful of seeds hold, and a seed gives the same trace twice. `rialto sim` runs
//! thousands.

use rialto::sim::{Outcome, Plan, Reduction, run};

fn outcome(seed: u64, run_ms: Option<u64>) -> Outcome {
    run(&Plan::draw(seed, Reduction { run_ms, ..Reduction::default() }), false)
}

#[test]
fn seeds_hold() {
    for seed in 1..=4 {
        let outcome = outcome(seed, None);
        assert!(
            outcome.violations.is_empty(),
            "seed {seed}: {:#?}\nagain: rialto sim --seed {seed}",
            outcome.violations
        );
        assert!(outcome.tally.orders >= 1_000, "seed {seed}: {:?}", outcome.tally);
        assert!(outcome.counts.all_crashes() >= 2, "seed {seed}: {:?}", outcome.counts);
    }
}

#[test]
fn a_seed_gives_the_same_trace_twice_and_another_one_another() {
    let traces: Vec<u64> = [5, 6, 7]
        .map(|seed| {
            let (first, again) = (outcome(seed, Some(2_000)), outcome(seed, Some(2_000)));
            assert_eq!(first.trace, again.trace, "seed {seed}");
            assert_eq!(first.counts, again.counts, "seed {seed}");
            assert_eq!(first.network, again.network, "seed {seed}");
            first.trace
        })
        .to_vec();
    assert!(traces[0] != traces[1] && traces[1] != traces[2], "{traces:?}");
}

#[test]
fn a_history_changes_nothing() {
    let plan = Plan::draw(8, Reduction { run_ms: Some(1_000), ..Reduction::default() });
    let (silent, told) = (run(&plan, false), run(&plan, true));
    assert_eq!(silent.trace, told.trace);
    assert!(silent.history.is_empty() && !told.history.is_empty());
}
