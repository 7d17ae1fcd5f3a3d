//! `status.json`: where the venue stands, for operators and tools.
//!
//! Consumes counters, boards and marks of a running venue; produces one JSON object. Must not change
//! anything of the venue.

use super::keeper::Shadows;
use anyhow::Context;
use rialto::agent::{IdleStrategy, RunnerHandle};
use rialto::config::{AgentName, Config, ThreadConfig};
use rialto::counters::Distribution;
use rialto::exchange::command::Mode;
use rialto::host::sandbox::{Layer, Sandbox};
use rialto::store::LogIndex;
use rialto::topology::Venue;
use serde_json::{Map, Value, json};
use std::path::Path;

/// Each `[[thread]]` and what runs it; threads that the venue adds by itself come before these.
pub(super) fn threads<'a>(
    config: &'a Config,
    venue: &'a Venue,
) -> impl Iterator<Item = (&'a ThreadConfig, &'a RunnerHandle)> {
    let own = venue.runners().len() - config.threads.len();
    config.threads.iter().zip(&venue.runners()[own..])
}

/// The scheduling mode that latencies were taken in, in words.
pub(super) fn scheduling(config: &Config, venue: &Venue, cpus: usize) -> String {
    let each = threads(config, venue).map(|(_, runner)| {
        let cpu = runner.pinned_core().map_or(String::new(), |cpu| format!(" on CPU {cpu}"));
        let idle = match runner.idle() {
            IdleStrategy::Spin => "spin",
            IdleStrategy::Yield => "yield",
            IdleStrategy::Park { .. } => "park",
        };
        format!("{idle}, {}{cpu}", runner.scheduling())
    });
    let each: Vec<String> = each.collect();
    format!("{} threads ({}), {cpus} CPUs", config.threads.len(), each.join("; "))
}

/// Everything at this moment. `state`: running, over, ended, stopped.
pub(super) fn status(
    config: &Config,
    venue: &Venue,
    scheduling: &str,
    (sandbox, shadows): (&Sandbox, &Shadows),
    state: &str,
) -> Value {
    let mut agents = Map::new();
    for set in &venue.counters {
        let mut values = Map::new();
        set.visit(&mut |name, value| {
            values.insert(name.into(), value.into());
        });
        agents.insert(set.agent().into(), values.into());
    }
    let mut by_thread = Map::new();
    let mut stages = Map::new();
    for runner in venue.runners() {
        let mut values: Map<String, Value> =
            runner.counters().values().iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        values.insert("cpu".into(), runner.pinned_core().into());
        values.insert("scheduling".into(), runner.scheduling().to_string().into());
        by_thread.insert(runner.name().into(), values.into());
        if let Some(measured) = runner.stages() {
            for (agent, distribution) in measured.agents() {
                stages.insert(agent.into(), percentiles(distribution));
            }
        }
    }
    // Where one thread takes an order from frame to report, its cycle is the order's residence.
    let completes = |t: &ThreadConfig| {
        t.agents.contains(&AgentName::Ingress) && t.agents.contains(&AgentName::Egress)
    };
    let path = threads(config, venue).find(|(thread, _)| completes(thread));
    if let Some(measured) = path.and_then(|(_, runner)| runner.stages()) {
        stages.insert("residence".into(), percentiles(measured.cycle()));
        stages.insert("residence_before_last".into(), percentiles(measured.before_last()));
    }
    let control = venue.control();
    let log = |log| {
        json!({
            "written": control.written(log).seq.0,
            "committed": control.committed(log).seq.0,
            "archived": control.archived(log).seq.0,
            "backlog_percent": control.backlog(log).percent(),
        })
    };
    let layers = sandbox.layers();
    let layer = |(name, layer): &(&str, &Layer)| ((*name).to_string(), layer.text().into());
    let layers: Map<String, Value> = layers.iter().map(layer).collect();
    let sandbox = sandbox.is_wanted().then_some(layers);
    let capture = venue.capture().map(|c| json!({ "on": c.is_on(), "error": c.error() }));
    let (hashed, state_hash) = venue.status.state_hash();
    json!({
        "state": state,
        "halted_before": venue.status.halted_before().map(|seq| seq.0),
        "mode": mode_text(venue.status.mode()),
        "pid": std::process::id(),
        "path": venue.path.to_string(),
        "scheduling": scheduling,
        "commands_applied": venue.status.applied().0,
        "open_orders": venue.status.open_orders(),
        "state_hash": { "command": hashed.0, "hash": format!("{state_hash:016x}") },
        "snapshot": shadows.status(),
        "sandbox": sandbox,
        "capture": capture,
        "feed_next": venue.released.get() + 1,
        "command_log": log(LogIndex::Command),
        "event_log": log(LogIndex::Event),
        "archive_error": control.archive_failed(),
        "archive_waits": control.archive_waits(),
        "hot_tier_waits": control.prepare_failed(),
        "inside_ns": percentiles(&venue.inside),
        "stages_ns": stages,
        "memory_locked": venue.memory_locked.text(),
        "agents": agents,
        "threads": by_thread,
    })
}

/// What the venue takes, in a word.
fn mode_text(mode: Mode) -> &'static str {
    match mode {
        Mode::Normal => "normal",
        Mode::CancelOnly => "cancel_only",
        Mode::Halt => "halt",
    }
}

fn percentiles(d: &Distribution) -> Value {
    let at = |per_million| d.at_per_million(per_million);
    json!({
        "p50": at(500_000), "p90": at(900_000), "p99": at(990_000), "p999": at(999_000),
        "max": d.max(), "samples": d.count(),
    })
}

/// Whole or not at all, for whoever reads at the same time.
pub(super) fn write_status(path: &Path, status: &Value) -> anyhow::Result<()> {
    let temporary = path.with_extension("json.new");
    std::fs::write(&temporary, format!("{status:#}\n"))
        .and_then(|()| std::fs::rename(&temporary, path))
        .with_context(|| format!("write {}", path.display()))
}
