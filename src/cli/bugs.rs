//! `rialto sim --bugs`: plants one known fault after the other and runs seeds until observers see it.
//!
//! Only in binaries with the feature `planted-bugs`. A seed counts when it fails with the bug and not
//! without it.

use rialto::clock::{Clock, SystemClock};
use rialto::planted::{self, Bug};
use rialto::sim::{self, Outcome, Plan, Reduction};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Each bug is found within so many seeds, or not at all.
const SEEDS_MAX: u64 = 200;

/// Runs every planted bug; exit code 1 when one was not found.
pub fn run(first: u64, jobs: usize) -> anyhow::Result<ExitCode> {
    println!("{}: {} bugs, at most {SEEDS_MAX} seeds each", planted::MARKER, Bug::ALL.len());
    let clock = SystemClock::new();
    let begun = clock.now();
    let (next, missed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let Some(&bug) = Bug::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = hunt(bug, first);
                    missed.fetch_add(found.is_none() as usize, Ordering::Relaxed);
                    println!("{}", line(bug, first, found));
                }
            });
        }
    });
    let missed = missed.into_inner();
    let seconds = clock.now().since(begun) / 1_000_000_000;
    println!("found {} of {}, {seconds} s", Bug::ALL.len() - missed, Bug::ALL.len());
    Ok(ExitCode::from((missed > 0) as u8))
}

/// The bug of this name, planted in the calling thread; false when there is none.
pub fn plant(name: &str) -> bool {
    let bug = Bug::ALL.iter().find(|bug| format!("{bug:?}") == name).copied();
    planted::plant(bug);
    bug.is_some()
}

fn hunt(bug: Bug, first: u64) -> Option<(u64, Outcome)> {
    (first..first + SEEDS_MAX).find_map(|seed| {
        let plan = Plan::draw(seed, Reduction::default());
        planted::plant(Some(bug));
        let outcome = super::sim::run_to_its_end(&plan, false);
        planted::plant(None);
        let fails = !outcome.violations.is_empty();
        (fails && super::sim::run_to_its_end(&plan, false).violations.is_empty())
            .then_some((seed, outcome))
    })
}

fn line(bug: Bug, first: u64, found: Option<(u64, Outcome)>) -> String {
    let name = format!("{bug:?}");
    match found {
        Some((seed, outcome)) => {
            let (rounds, nth) = (outcome.counts.rounds, seed - first + 1);
            let violation = &outcome.violations[0];
            format!(
                "{name:<25} seed {seed:>4} (number {nth}), {rounds:>6} steps: {}\n    {}\n    {}",
                violation.rule,
                bug.text(),
                violation.what.chars().take(200).collect::<String>()
            )
        }
        None => format!("{name:<25} NOT FOUND in {SEEDS_MAX} seeds\n    {}", bug.text()),
    }
}
