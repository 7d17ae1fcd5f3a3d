//! `mutate`: the mutator of `tests/it/mutate`, which is a part of this binary too, at full length.
//!
//! Consumes a seed and a count; prints what every decoder, the gateway and the retransmitter
//! answered, row by row. A violation panics with the seed and the bytes; a row at 0 fails the run.

// The harness is written for the tests, which use all of it.
#[allow(dead_code)]
#[path = "../../tests/it/mutate/mod.rs"]
pub mod mutants;

use clap::{Args, ValueEnum};
use mutants::{Tally, decoders, gateway, repair};
use std::time::Instant;

/// What the mutants go through.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Through {
    /// All of them.
    All,
    /// Each decoder by itself.
    Decoders,
    /// A whole venue.
    Gateway,
    /// The retransmitter.
    Repair,
}

#[derive(Args)]
pub struct MutateArgs {
    /// Mutants for each decoder, for the gateway and for the retransmitter
    #[arg(long, default_value_t = 10_000_000, value_name = "N")]
    count: u64,
    /// Seed of every choice
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What they go through
    #[arg(long, value_enum, default_value = "all")]
    through: Through,
    /// Decoders whose name contains this
    #[arg(long, default_value = "", value_name = "TEXT")]
    only: String,
}

#[allow(clippy::disallowed_methods)] // progress of a tool, told to a person
pub fn run(args: &MutateArgs) -> Result<(), String> {
    let wanted = |through| [Through::All, through].contains(&args.through);
    let mut never = Vec::new();
    let started = Instant::now();
    println!("seed {}, {} mutants each", args.seed, args.count);
    if wanted(Through::Decoders) {
        let told = |name: &str, tally: &Tally| {
            println!("\ndecoder {name}: {} mutants\n{}", tally.mutants, tally.table());
        };
        never.extend(decoders::run(args.seed, args.count, &args.only, told));
    }
    if wanted(Through::Gateway) {
        let mut said = Instant::now();
        let tally = gateway::run(args.seed, args.count, |round, tally| {
            if said.elapsed().as_secs() >= 20 {
                said = Instant::now();
                eprintln!("gateway: round {round}, {} mutants so far", tally.mutants);
            }
        });
        println!("\ngateway: {} mutants\n{}", tally.mutants, tally.table());
        never.extend(tally.never().iter().map(|row| format!("gateway: {row}")));
    }
    if wanted(Through::Repair) {
        let tally = repair::run(args.seed, args.count);
        println!("\nretransmitter: {} mutants\n{}", tally.mutants, tally.table());
        never.extend(tally.never().iter().map(|row| format!("repair: {row}")));
    }
    if !never.is_empty() {
        return Err(format!("no mutant came to:\n  {}", never.join("\n  ")));
    }
    println!("no violation, every reason hit, {} s", started.elapsed().as_secs());
    Ok(())
}
