//! `wire`: an order's way over a wire, there and back, beside the floor of this host.
//!
//! Makes two hosts and a wire between them (namespaces, veth), and has the same orders answered by
//! echoes, by a floor of AF_XDP alone, and by the venue, all in one run, round by round. Produces
//! JSON, percentile files and a chart. See the README beside this crate for what each row is.

mod args;
mod chart;
mod client;
mod echo;
mod flow;
mod hgrm;
mod judge;
mod login;
mod place;
mod raw;
mod results;
mod rows;
pub mod sustain;
mod svg;
mod text;
mod venue;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use serde_json::{Value, json};

use args::CommonArgs;
use place::{Place, check_interrupt};
use results::Results;
use rows::{Part, Plan, Row};

#[derive(Args)]
pub struct WireArgs {
    /// Rounds; each has every row
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    /// Two short rounds: checks that everything is answered, judges no time
    #[arg(long)]
    quick: bool,
    /// Where the chart goes (SVG)
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Directory for one percentile file per row and part
    #[arg(long, value_name = "DIR")]
    hgrm: Option<PathBuf>,
    /// Only these rows, and c: letters such as "cdf"
    #[arg(long, default_value = "abcdef")]
    rows: String,
    #[command(flatten)]
    common: CommonArgs,
}

/// Orders a second of the parts with a schedule.
const RATES: [u64; 4] = [10_000, 50_000, 100_000, 215_000];
/// Orders in a datagram of the packed parts.
const PACKED: usize = 25;

pub fn run(args: &WireArgs) -> Result<(), String> {
    let (one_ms, rate_ms) = if args.quick { (200, 100) } else { (300, 200) };
    // Packed first: a rate that floods a row comes last.
    let mut parts = vec![Part { rate: 0, packed: 1, ms: one_ms }];
    for packed in [PACKED, 1] {
        parts.extend(RATES.map(|rate| Part { rate, packed, ms: rate_ms }));
    }
    let plan = args.common.plan(parts)?;
    let rounds = if args.quick { 2 } else { args.rounds };
    let results = measure(&plan, rounds, &args.rows)?;
    let mut verdicts = judge::verdicts(&results);
    if args.quick {
        verdicts = verdicts.into_iter().map(judge::Verdict::unjudged).collect();
    }
    let conditions = conditions(&plan, &results, rounds);
    text::print(&results, &verdicts, &conditions);
    if let Some(dir) = &args.hgrm {
        write_percentiles(dir, &results)?;
    }
    if let Some(file) = &args.plot {
        let chart = chart::draw(&results, &verdicts, &text::lines(&conditions));
        std::fs::write(file, chart).map_err(|e| format!("write {}: {e}", file.display()))?;
    }
    let missed = verdicts.iter().filter(|v| v.held == Some(false));
    let missed: Vec<&str> = missed.map(|v| &*v.text).collect();
    let within = (!args.quick).then_some(missed.is_empty());
    let whole = json!({
        "rows": results.rows_json(),
        "ratios": results.ratios_json(),
        "stages_ns": results.stages_json(),
        "inside_ns": { "p50": results.inside("p50"), "p99": results.inside("p99") },
        "conditions": conditions,
        "within_targets": within,
        "missed_targets": missed,
    });
    write_json(args.common.json.as_deref(), &whole)?;
    // Times are told; that orders are answered is a matter of right and wrong.
    check(&results)
}

/// Every round of every row.
fn measure(plan: &Plan, rounds: u32, rows: &str) -> Result<Results, String> {
    let place = Place::make()?;
    let mut results = Results::new(&plan.parts);
    for round in 0..rounds {
        for group in groups(round, rows) {
            check_interrupt()?;
            for run in rows::round(&place, plan, &group)? {
                results.take(run);
            }
        }
        eprintln!("round {} of {rounds}", round + 1);
    }
    Ok(results)
}

/// Err: rows, samples or answers are missing where nothing excuses it.
fn check(results: &Results) -> Result<(), String> {
    let mut faults = Vec::new();
    for (index, part) in results.parts.iter().enumerate() {
        for row in Row::ALL {
            let Some(cell) = results.cell(row, index) else { continue };
            let (all, name) = (&cell.all, part.name());
            if all.latency.is_empty() {
                faults.push(format!("{} has no samples, {name}", row.letter()));
            }
            if part.loses_nothing() && all.unanswered + all.rejected + all.not_applied > 0 {
                faults.push(format!(
                    "{}: {} unanswered, {} rejected, {} not applied of {}, {name}",
                    row.letter(),
                    all.unanswered,
                    all.rejected,
                    all.not_applied,
                    all.sent
                ));
            }
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
}

/// Of the host, and of this run.
fn conditions(plan: &Plan, results: &Results, rounds: u32) -> Value {
    let mut all = crate::host::conditions(Some(plan.cpus.client), rounds as usize);
    all["server_cpu"] = plan.cpus.server.into();
    all["client_cpu"] = plan.cpus.client.into();
    all["scheduling"] = match plan.cpus.fifo {
        Some(priority) => format!("SCHED_FIFO {priority}, server's and client's thread").into(),
        None => "ordinary scheduling".into(),
    };
    all["path"] = results.paths[Row::VenueXdp.index()].clone().into();
    all["floor_path"] = results.paths[Row::Floor.index()].clone().into();
    all["wire"] = "veth pair between two network namespaces".into();
    all["rounds"] = rounds.into();
    all["sessions"] = plan.sessions.into();
    all["resting_orders"] = rows::BOOK_ORDERS.into();
    all["venue"] = "durability memory, funds and limits on, no snapshots, stages on".into();
    all
}

/// Servers of a round, and the rows that each has; another one begins in each round, so that none is
/// always the first on a warm or cold host.
fn groups(round: u32, rows: &str) -> Vec<Vec<Row>> {
    let wanted = |row: &Row| *row == Row::Floor || rows.contains(row.letter());
    let mut groups: Vec<Vec<Row>> = [
        &[Row::BlockingEcho][..],
        &[Row::SpinningEcho],
        &[Row::Floor],
        &[Row::VenueKernel],
        // The venue's stages are told of row f alone: it comes first.
        &[Row::VenueXdp, Row::VenueKernelClient],
    ]
    .map(|group| group.iter().copied().filter(wanted).collect())
    .into();
    groups.retain(|group: &Vec<Row>| !group.is_empty());
    let first = round as usize % groups.len();
    groups.rotate_left(first);
    groups
}

/// The venue's binary: beside this one. `cargo run` builds only what it runs, so that is built here.
fn venue_program() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|e| format!("find this program's file: {e}"))?;
    let program = own.with_file_name("rialto");
    if let Some(cargo) = std::env::var_os("CARGO") {
        let mut command = Command::new(cargo);
        command.args(["build", "--quiet", "--bin", "rialto"]);
        if own.parent().is_some_and(|dir| dir.ends_with("release")) {
            command.arg("--release");
        }
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
        let built = command.arg("--manifest-path").arg(manifest).status();
        if !built.map_err(|e| format!("run cargo: {e}"))?.success() {
            return Err("the venue does not build".into());
        }
    }
    match program.is_file() {
        true => Ok(program),
        false => Err(format!("{} is missing: cargo build --release", program.display())),
    }
}

fn write_percentiles(dir: &Path, results: &Results) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("write {}: {e}", dir.display());
    std::fs::create_dir_all(dir).map_err(failed)?;
    for (index, part) in results.parts.iter().enumerate() {
        for row in Row::ALL {
            let Some(cell) = results.cell(row, index) else { continue };
            let name = part.name().replace("/s", "").replace(' ', "-");
            let file = dir.join(format!("{}-{name}.hgrm", row.letter()));
            std::fs::write(file, hgrm::text(&cell.all.latency)).map_err(failed)?;
        }
    }
    Ok(())
}

/// JSON to a file, or to standard output for `-`.
fn write_json(file: Option<&Path>, value: &Value) -> Result<(), String> {
    let text = format!("{value:#}\n");
    match file {
        None => Ok(()),
        Some(path) if path == Path::new("-") => std::io::stdout()
            .write_all(text.as_bytes())
            .map_err(|e| format!("standard output: {e}")),
        Some(path) => {
            std::fs::write(path, text).map_err(|e| format!("write {}: {e}", path.display()))
        }
    }
}
