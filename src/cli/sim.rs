//! `rialto sim`: the venue's agents on one thread, with simulated network, storage and time.

use anyhow::Context;
use clap::Args;
use rialto::clock::{Clock, SystemClock};
use rialto::sim::{self, CRASHES_MIN, ORDERS_MIN, Outcome, Plan, Reduction, Summary};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// Lines of a history that are printed.
const HISTORY_LINES: usize = 120;
/// Failing seeds that are told; the run ends with the last of them.
const FAILURES_MAX: u64 = 5;
/// Real time within which a seed ends; most take a fraction of a second.
const REAL_TIME_MAX: Duration = Duration::from_secs(180);

/// Runs simulated venues under faults and checks what must hold
///
/// One seed decides everything: configuration, order flow, faults, the order in which agents run.
/// Exit code 1 when anything did not hold; then the smallest plan found that still fails is printed
/// with the command that runs it again. A seed that proves little for want of orders or crashes is a
/// failure too.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    rialto sim --seeds 1000           the first thousand seeds\n  \
    rialto sim --seed 17              one seed, with its history; twice gives the same trace\n  \
    rialto sim --seed 17 --off loss   the same without lost datagrams")]
pub struct Arguments {
    /// Seeds to run.
    #[arg(long, default_value_t = 100, conflicts_with = "seed")]
    seeds: u64,
    /// First of them.
    #[arg(long, default_value_t = 1, conflicts_with = "seed")]
    first: u64,
    /// Runs this seed alone and prints what happened.
    #[arg(long)]
    seed: Option<u64>,
    /// Threads; each runs seeds of its own.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Features to switch off, separated by commas.
    #[arg(long)]
    off: Option<String>,
    /// Incidents that stay, by number; "none" for none.
    #[arg(long)]
    incidents: Option<String>,
    /// Healing begins after so many milliseconds.
    #[arg(long)]
    run_ms: Option<u64>,
    /// Prints failing seeds as they are, without looking for smaller plans.
    #[arg(long)]
    no_shrink: bool,
    /// Plants known faults one after the other; each must be found within 200 seeds.
    #[cfg(feature = "planted-bugs")]
    #[arg(long)]
    bugs: bool,
    /// Plants one of them while a seed runs alone.
    #[cfg(feature = "planted-bugs")]
    #[arg(long, requires = "seed")]
    plant: Option<String>,
}

pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let text = |t: &Option<String>| t.clone();
    let (off, incidents) = (text(&arguments.off), text(&arguments.incidents));
    let reduction = Reduction::parse(off.as_deref(), incidents.as_deref(), arguments.run_ms)
        .map_err(anyhow::Error::msg)?;
    sim::capture_panics();
    #[cfg(feature = "planted-bugs")]
    {
        if arguments.bugs {
            return super::bugs::run(arguments.first, arguments.jobs);
        }
        if let Some(name) = &arguments.plant {
            anyhow::ensure!(super::bugs::plant(name), "{name}: no planted bug has this name");
        }
    }
    match arguments.seed {
        Some(seed) => one(seed, reduction),
        None => many(&arguments, &reduction),
    }
}

/// Runs a plan. A step of it that never ends cannot be a violation: it is told here, and the process
/// ends with exit code 1.
pub(super) fn run_to_its_end(plan: &Plan, history: bool) -> Outcome {
    let (ended, waits) = mpsc::channel::<()>();
    let (seed, command) = (plan.seed, plan.command());
    let guard = std::thread::spawn(move || {
        if waits.recv_timeout(REAL_TIME_MAX) == Err(RecvTimeoutError::Timeout) {
            let s = REAL_TIME_MAX.as_secs();
            println!("seed {seed}: a step does not end: the seed has run for {s} s");
            println!("  again: {command}\n");
            std::process::exit(1);
        }
    });
    let outcome = sim::run(plan, history);
    drop(ended);
    // It has nothing to say.
    let _ = guard.join();
    outcome
}

fn one(seed: u64, reduction: Reduction) -> anyhow::Result<ExitCode> {
    let all: Vec<usize> =
        Plan::draw(seed, Reduction::default()).incidents.iter().map(|i| i.number).collect();
    if let Some(unknown) = reduction.incidents.iter().flatten().find(|n| !all.contains(n)) {
        anyhow::bail!("--incidents {unknown}: seed {seed} has none of this number, but {all:?}");
    }
    let plan = Plan::draw(seed, reduction);
    println!("{}", plan.command());
    let outcome = run_to_its_end(&plan, true);
    print_history(&outcome);
    let mut summary = Summary::default();
    summary.add(&outcome);
    println!("{summary}");
    Ok(ExitCode::from(u8::from(!outcome.violations.is_empty())))
}

fn many(arguments: &Arguments, reduction: &Reduction) -> anyhow::Result<ExitCode> {
    let clock = SystemClock::new();
    let begun = clock.now();
    let (next, failures) = (AtomicU64::new(0), AtomicU64::new(0));
    let (whole, poor) = (*reduction == Reduction::default(), AtomicBool::new(false));
    let work = || {
        let mut summary = Summary::default();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= arguments.seeds || failures.load(Ordering::Relaxed) >= FAILURES_MAX {
                return summary;
            }
            let plan = Plan::draw(arguments.first + index, reduction.clone());
            let outcome = run_to_its_end(&plan, false);
            summary.add(&outcome);
            if !outcome.violations.is_empty() {
                let count = failures.fetch_add(1, Ordering::Relaxed);
                tell_failure(&plan, &outcome, count == 0 && !arguments.no_shrink);
            } else if whole && !outcome.has_enough() {
                poor.store(true, Ordering::Relaxed);
                println!(
                    "seed {} proves little: {} of {ORDERS_MIN} orders, {} of {CRASHES_MIN} crashes",
                    plan.seed,
                    outcome.tally.orders,
                    outcome.counts.all_crashes(),
                );
            }
        }
    };
    let mut summary = Summary::default();
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let threads: Vec<_> = (0..arguments.jobs.max(1)).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            let part = thread.join().ok().context("a thread of the simulation panicked")?;
            summary.merge(&part);
        }
        Ok(())
    })?;
    let real_ns = clock.now().since(begun).max(1);
    println!("{summary}");
    let times = summary.counts.simulated_ns / real_ns;
    println!(
        "real time            {:>10}.{} s  simulated time is {times} x real, {} jobs",
        real_ns / 1_000_000_000,
        real_ns / 100_000_000 % 10,
        arguments.jobs.max(1)
    );
    Ok(ExitCode::from(u8::from(poor.into_inner() || summary.violations > 0)))
}

fn tell_failure(plan: &Plan, outcome: &Outcome, smaller: bool) {
    for violation in &outcome.violations {
        println!("seed {}: {}: {}", plan.seed, violation.rule, violation.what);
    }
    if !smaller {
        println!("  again: {}\n", plan.command());
        return;
    }
    let (reduction, outcome) = sim::shrink(plan, outcome);
    let plan = Plan::draw(plan.seed, reduction);
    println!("smallest plan found: {} incidents", plan.incidents.len());
    print_history(&outcome);
    println!("  again: {}\n", plan.command());
}

fn print_history(outcome: &Outcome) {
    let lines = &outcome.history;
    let skipped = lines.len().saturating_sub(HISTORY_LINES);
    if skipped > 0 {
        println!("({skipped} lines before)");
    }
    for line in &lines[skipped..] {
        println!("{line}");
    }
}
