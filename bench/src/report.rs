//! Numbers for programs (JSON) and for people (text).

use serde_json::{Value, json};

use crate::measure::{Measured, Pass};
use crate::ticks::Scale;

/// Quantiles of a report, by name.
const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999), ("p9999", 0.9999)];

/// One decimal is more than the clock can tell.
fn round(ns: f64) -> f64 {
    (ns * 10.0).round() / 10.0
}

fn pass(pass: &Pass) -> Value {
    json!({
        "ns_per_op": round(pass.wall_ns),
        "cpu_ns_per_op": round(pass.cpu_ns),
        "preempted": pass.preempted,
    })
}

/// One scope as a JSON object. `source` names the stream: key and value.
pub fn json(measured: &Measured, source: (&str, &str), scale: &Scale, conditions: &Value) -> Value {
    let (fills, book) = (&measured.outcome.fills, &measured.outcome.book);
    let mut object = json!({
        "scope": measured.scope,
        "commands": measured.latency.len(),
        "fills": fills.fills,
        "volume": fills.volume,
        "notional": fills.notional,
        "fill_digest": format!("{:016x}", fills.digest),
        "book_digest": format!("{:016x}", book.digest),
        "live": book.live,
        "levels": book.levels,
        "ns_per_op": round(measured.best_ns()),
        "ns_per_op_mean": round(measured.mean_ns()),
        "cpu_ns_per_op": round(measured.best_cpu_ns()),
        "passes": measured.passes.iter().map(pass).collect::<Vec<_>>(),
        "latency_preempted": measured.latency_preempted,
        "max": round(scale.ns(measured.latency_max)),
        "clock_overhead_ns": round(scale.overhead as f64 / scale.per_ns),
        "conditions": conditions,
    });
    object[source.0] = json!(source.1);
    for (name, quantile) in QUANTILES {
        object[name] = json!(round(measured.quantile_ns(scale, quantile)));
    }
    object
}

/// One scope as a line.
pub fn text(measured: &Measured, scale: &Scale) -> String {
    let best = measured.best_ns();
    let mut line = format!(
        "{:<9} {:7.1} ns/op ({:5.2} M/s), mean {:7.1}, core time {:7.1} |",
        measured.scope,
        best,
        1e3 / best,
        measured.mean_ns(),
        measured.best_cpu_ns()
    );
    for (name, quantile) in QUANTILES {
        line += &format!(" {name} {:.0}", measured.quantile_ns(scale, quantile));
    }
    line += &format!(" max {:.0} ns", scale.ns(measured.latency_max));
    let lost: u64 = measured.passes.iter().map(|pass| pass.preempted).sum();
    let lost = lost + measured.latency_preempted;
    if lost > 0 {
        // Throughput and the far tail then say more about the neighbours than about the code.
        line += &format!("; not a quiet host: the core was lost {lost} times");
    }
    line
}
