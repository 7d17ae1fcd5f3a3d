//! rialto-bench: measurements that anyone can repeat.
//!
//! Feeds a deterministic stream to a layer of the exchange, compares what it came to with a plain
//! reference book, and says how long it took, under which conditions.

mod flood;
mod frames;
mod host;
mod measure;
mod mutate;
mod report;
mod scope;
mod status;
mod stream;
#[cfg(test)]
mod tests;
mod ticks;
mod wire;
// The tests' whole venue on one thread, for `mutate`.
#[allow(dead_code)]
#[path = "../../tests/it/venue/mod.rs"]
mod venue;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::Value;

use stream::Stream;
use stream::generate::{Recipe, generate};
use stream::preset::Preset;
use stream::reference::Plan;
use ticks::Scale;

/// Measurements of rialto that anyone can repeat.
#[derive(Parser)]
#[command(name = "rialto-bench", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Matching and the whole of apply, on one core
    Core(CoreArgs),
    /// Writes a stream file
    Stream(StreamArgs),
    /// Mutated datagrams through every decoder and a whole venue; fails on any violation
    Mutate(mutate::MutateArgs),
    /// Attackers at a running venue, and what well-behaved brokers notice of them
    Flood(flood::FloodArgs),
    /// Hostile Ethernet frames at a venue over AF_XDP: tests/frames.sh
    Frames(frames::FramesArgs),
    /// The other end of the TCP connection beside `frames`
    #[command(hide = true)]
    FramesEcho(frames::EchoArgs),
    /// An order's way over a wire and back, beside the floor of this host; needs root
    Wire(wire::WireArgs),
    /// Rates that must hold for many seconds over AF_XDP, and the highest that does; needs root
    Sustain(wire::sustain::SustainArgs),
    /// One attacker of `flood`
    #[command(hide = true)]
    Attacker(flood::AttackerArgs),
}

/// Which layers are measured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scopes {
    /// Both.
    All,
    /// The bare books.
    Matching,
    /// All of apply.
    Core,
}

#[derive(Args)]
struct CoreArgs {
    /// Standard stream, generated on the spot
    #[arg(long, value_enum, default_value = "single", conflicts_with = "stream")]
    preset: Preset,
    /// Stream file instead of a preset
    #[arg(long, value_name = "FILE")]
    stream: Option<PathBuf>,
    /// Throughput passes
    #[arg(long, default_value_t = 3, value_name = "N")]
    reps: usize,
    /// Layers to measure
    #[arg(long, value_enum, default_value = "all")]
    scope: Scopes,
    /// Core to pin to [default: the last one]
    #[arg(long, value_name = "N")]
    core: Option<usize>,
    /// Where the JSON goes, - for standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Args)]
struct StreamArgs {
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Seed of every choice
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Symbols
    #[arg(long, default_value_t = 1)]
    symbols: u16,
    /// Orders resting before the timed part
    #[arg(long, default_value_t = 1_000)]
    resting: u32,
    /// Timed commands
    #[arg(long, default_value_t = 3_000_000)]
    timed: u32,
    /// Replaces that only take quantity away, per mille of replaces
    #[arg(long, default_value_t = 0)]
    qty_down: u64,
    /// Fill-or-kill orders, per mille of commands
    #[arg(long, default_value_t = 0)]
    fok: u64,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Core(args) => core(&args),
        Command::Stream(args) => write_stream(&args),
        Command::Mutate(args) => mutate::run(&args),
        Command::Flood(args) => flood::run(&args),
        Command::Frames(args) => frames::run(&args),
        Command::FramesEcho(args) => frames::echo(&args),
        Command::Wire(args) => wire::run(&args),
        Command::Sustain(args) => wire::sustain::run(&args),
        Command::Attacker(args) => flood::attack(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rialto-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn core(args: &CoreArgs) -> Result<(), String> {
    let pinned = host::pin(args.core);
    if args.core.is_some() && pinned.is_none() {
        return Err("--core: no such core, or the host does not allow pinning".into());
    }
    let (name, stream) = match &args.stream {
        Some(path) => (path.display().to_string(), read(path)?),
        None => (args.preset.name().to_string(), generate(&args.preset.recipe())),
    };
    let source = (if args.stream.is_some() { "stream" } else { "preset" }, name.as_str());
    let plan = Plan::of(stream);
    if args.stream.is_none() && !args.preset.is_known(&plan.expected) {
        return Err(format!("preset {name} is not the known stream: {:x?}", plan.expected));
    }

    let scale = Scale::measure();
    let conditions = host::conditions(pinned, args.reps.max(1));
    eprintln!(
        "{name}: {} prefill, {} timed, {} symbols, at most {} resting; {} fills, digest {:016x}",
        plan.stream.prefill,
        plan.stream.steps.len() - plan.stream.prefill,
        plan.stream.symbols,
        plan.live_max,
        plan.expected.fills.fills,
        plan.expected.fills.digest
    );
    eprintln!(
        "{}; core {}; {}; kernel {}",
        conditions["cpu"].as_str().unwrap_or("unknown processor"),
        pinned.map_or("not pinned".to_string(), |core| core.to_string()),
        conditions["scheduling"].as_str().unwrap_or("?"),
        conditions["kernel"].as_str().unwrap_or("?")
    );

    let mut objects: Vec<Value> = Vec::new();
    let mut take = |measured: measure::Measured| {
        eprintln!("{}", report::text(&measured, &scale));
        objects.push(report::json(&measured, source, &scale, &conditions));
    };
    if args.scope != Scopes::Core {
        take(measure::run::<scope::matching::Matching>(&plan, args.reps)?);
    }
    if args.scope != Scopes::Matching {
        take(measure::run::<scope::core::Core>(&plan, args.reps)?);
    }
    let text = format!("{:#}\n", Value::Array(objects));
    match &args.json {
        None => Ok(()),
        Some(path) if path == Path::new("-") => std::io::stdout()
            .write_all(text.as_bytes())
            .map_err(|e| format!("standard output: {e}")),
        Some(path) => {
            std::fs::write(path, text).map_err(|e| format!("write {}: {e}", path.display()))
        }
    }
}

fn read(path: &Path) -> Result<Stream, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("read {}: {e}", path.display()))?;
    Stream::parse(&bytes).map_err(|e| format!("{}: {e}", path.display()))
}

fn write_stream(args: &StreamArgs) -> Result<(), String> {
    let stream = generate(&Recipe {
        seed: args.seed,
        symbols: u32::from(args.symbols.max(1)),
        resting: u64::from(args.resting),
        timed: u64::from(args.timed),
        quantity_down: args.qty_down,
        fok: args.fok,
        ..Recipe::default()
    });
    let failed = |e: std::io::Error| format!("write {}: {e}", args.out.display());
    let mut file = std::io::BufWriter::new(std::fs::File::create(&args.out).map_err(failed)?);
    stream.write(&mut file).map_err(failed)?;
    file.flush().map_err(failed)
}
