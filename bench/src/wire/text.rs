//! The results for people: tables, ratios, stages, verdicts, conditions.

use serde_json::Value;

use super::judge::Verdict;
use super::results::{BEFORE_KICK, Quantile, RESIDENCE, Results, STAGES};
use super::rows::Row;

/// Everything to standard error.
pub fn print(results: &Results, verdicts: &[Verdict], conditions: &Value) {
    eprintln!("\nus from due to answer; x c: median over rounds of the ratio to the floor");
    for index in 0..results.parts.len() {
        table(results, index);
    }
    eprintln!("\ninside the venue, one order in flight, ns      p50      p99    p99.9      max");
    let mut missing = true;
    for stage in STAGES.iter().chain([&BEFORE_KICK, &RESIDENCE]) {
        let figures = ["p50", "p99", "p999", "max"].map(|figure| results.stage(stage, figure));
        if let [Some(p50), Some(p99), Some(p999), Some(max)] = figures {
            missing = false;
            eprintln!("  {stage:<40} {p50:8.0} {p99:8.0} {p999:8.0} {max:8.0}");
        }
    }
    if missing {
        eprintln!("  this venue says nothing of its stages: status.json has no stages_ns");
    }
    if let (Some(p50), Some(p99)) = (results.inside("p50"), results.inside("p99")) {
        eprintln!("  {:<40} {p50:8.0} {p99:8.0}", "received to report written, no kick");
    }
    if let Some(text) = super::chart::whereabouts(results) {
        eprintln!("  {text}");
    }
    eprintln!();
    for verdict in verdicts {
        eprintln!("{:<10} {}", verdict.word(), verdict.text);
    }
    for line in lines(conditions) {
        eprintln!("{line}");
    }
}

fn table(results: &Results, index: usize) {
    let part = &results.parts[index];
    eprintln!(
        "\n{:<38} {:>8} {:>8} {:>8} {:>9} {:>9}   x c p50   p99",
        part.name(),
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max"
    );
    for row in Row::ALL {
        let Some(cell) = results.cell(row, index) else { continue };
        let (all, latency) = (&cell.all, &cell.all.latency);
        let us = |ns: u64| ns as f64 / 1_000.0;
        let at = |q| us(latency.value_at_quantile(q));
        let ratio = |q| results.ratio(row, Row::Floor, index, q);
        eprint!(
            "  {} {:<34} {:8.2} {:8.2} {:8.2} {:9.1} {:9.1}   {:7.2} {:5.2}",
            row.letter(),
            row.title(),
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.999),
            us(latency.max()),
            ratio(Quantile::P50),
            ratio(Quantile::P99)
        );
        if all.unanswered + all.rejected > 0 {
            let (lost, sent) = (all.unanswered, all.sent);
            eprint!("  {lost} of {sent} unanswered, {} rejected", all.rejected);
        }
        if !results.is_reached(row, index) {
            eprint!("  {:.0}/s, not the rate", all.rate());
        }
        eprintln!();
    }
}

/// The conditions, as many to a line as belong together.
pub fn lines(conditions: &Value) -> Vec<String> {
    let text = |key: &str| match &conditions[key] {
        Value::String(text) => text.clone(),
        Value::Null => "none".into(),
        other => other.to_string(),
    };
    vec![
        format!(
            "{}, {} cores{}, kernel {}, load {}; {}",
            text("cpu"),
            text("cores"),
            if conditions["virtual_machine"] == true { " (virtual)" } else { "" },
            text("kernel"),
            text("load"),
            text("date")
        ),
        format!(
            "{}; server on CPU {}, client on CPU {}, isolated: {}; {}; {} rounds, rows interleaved",
            text("wire"),
            text("server_cpu"),
            text("client_cpu"),
            text("isolated_cores"),
            text("scheduling"),
            text("rounds")
        ),
        format!(
            "paths: f {}, c {}; venue: {}; {} sessions, {} orders resting before",
            text("path"),
            text("floor_path"),
            text("venue"),
            text("sessions"),
            text("resting_orders")
        ),
    ]
}
