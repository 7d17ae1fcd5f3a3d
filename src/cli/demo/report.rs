//! The verdict: what brokers and subscribers saw, held against the exchange's own log.

use super::desks::{Desks, ReportDigest};
use super::expect::{Quote, exact_matches, quotes_matched};
use super::judge::Seen;
use super::viewer::Viewed;
use crate::cli::text::{grouped, say};
use hdrhistogram::Histogram;
use rialto::exchange::Exchange;
use rialto::gateway::report_of;
use rialto::publisher::feed;
use rialto::replay::{Until, genesis, replay};
use rialto::store::DayView;
use rialto::subscriber::BookDigest;
use rialto::types::*;
use serde_json::{Value, json};
use std::path::Path;

/// All that is known at the end.
pub struct Evidence<'a> {
    pub desks: &'a Desks,
    pub seen: &'a Seen,
    pub viewed: &'a Viewed,
    pub status: &'a Value,
    pub day: &'a Path,
    pub feed_next: u64,
    pub nanos: u64,
    pub crashes: u32,
    pub oracle: Option<Vec<Quote>>,
}

/// Figures, all computed from the run.
pub struct Outcome {
    json: Value,
    faults: Vec<String>,
}

impl Outcome {
    /// Replays the day and compares.
    pub fn judge(e: Evidence<'_>) -> anyhow::Result<Outcome> {
        let view = DayView::open(e.day)?;
        let mut told: Vec<ReportDigest> = Vec::new();
        let mut published = 0;
        let mut bytes = [0; 64];
        let midnight = genesis(&view)?.midnight;
        let replayed = replay(
            &view,
            Until::End,
            true,
            |time, event| {
                if let Some(message) = feed::message(event, time, midnight) {
                    let len = message.encode(&mut bytes);
                    published = crc32c::crc32c_append(published, &bytes[..len]);
                }
                if let Some(report) = report_of(event, time.since(midnight)) {
                    let slot = event.head.session.0 as usize;
                    told.resize(told.len().max(slot + 1), ReportDigest::default());
                    told[slot].take(&report);
                }
            },
            |_| {},
        )?;
        let mut faults = Vec::new();
        let mut check = |ok: bool, what: &str| {
            if !ok {
                faults.push(what.to_string());
            }
            ok
        };
        let x = &replayed.exchange;
        let (digest, resting) = book_digest(x);
        let r = &e.seen.result;
        let book_equal =
            check(
                r["book_digest"] == format!("{digest:016x}"),
                "the book that the subscriber rebuilt is not the exchange's",
            ) & check(e.viewed.digest == digest, "the viewer's book is not the exchange's")
                & check(r["error"].is_null(), "the feed contradicted itself at the subscriber")
                & check(e.viewed.error.is_none(), "the feed contradicted itself at the viewer")
                & check(r["next"] == e.feed_next, "the subscriber is not at the end of the feed");
        check(
            replayed.feed_next == e.feed_next,
            "the log's feed is longer than what was published",
        );
        check(r["lost"] == 0 && e.viewed.counters.lost == 0, "market data was lost");
        check(resting == e.seen.book.len() as u64, "the subscriber's book has another size");
        let evidence = e.desks.evidence();
        told.resize(evidence.len(), ReportDigest::default());
        let messages_equal = check(
            r["checksum"] == published,
            "a feed message that the subscriber got is not the one in the log",
        );
        let reports_equal = check(
            told == evidence,
            "the reports that brokers hold are not those in the log, each once and in order",
        );
        let tally = e.desks.tally;
        let unanswered = tally.sent - tally.answered();
        check(unanswered == 0, "messages without an answer");

        let exact = exact_matches(&e.desks.expected, &e.seen.fills, |id| e.desks.reference(id));
        let expected = e.desks.expected.len() as u64;
        if expected > 0 {
            check(exact == expected, "a recorded execution hit another order or size");
        }
        let inside = &e.status["inside_ns"];
        let mut json = json!({
            "path": e.status["path"],
            "seconds": round3(e.nanos),
            "orders_sent": tally.sent,
            "acks": tally.acks,
            "rejects": tally.rejects,
            "not_applied": tally.not_applied,
            "unanswered": unanswered,
            "repeated": tally.repeated,
            "executions": tally.executions,
            "matches": e.seen.fills.len(),
            "matches_expected": expected,
            "matches_exact": exact,
            "shares": e.seen.fills.iter().map(|f| f.quantity as u64).sum::<u64>(),
            "resting": e.seen.book.len(),
            "feed": {
                "messages": r["messages"],
                "gaps": r["gaps"],
                "repaired": r["repaired"],
                "lost": r["lost"],
                "book_equal": book_equal,
                "messages_equal": messages_equal,
            },
            "latency_ns": { "wire": percentiles(&e.desks.latency), "inside": inside },
            "scheduling": e.status["scheduling"],
            "state_hash": format!("{:016x}", x.state_hash()),
            "commands": replayed.seq.0,
            "events": replayed.events,
            "events_verified": replayed.verified,
            "reports_equal": reports_equal,
            "restarts": e.crashes,
        });
        check(
            replayed.verified == replayed.events,
            "the event log lacks events of committed commands",
        );
        if let Some(oracle) = &e.oracle {
            json["quotes_expected"] = json!(oracle.len());
            json["quotes_matched"] = json!(quotes_matched(oracle, &e.seen.quotes));
        }
        Ok(Outcome { json, faults })
    }

    /// The figures.
    pub fn json(&self) -> &Value {
        &self.json
    }

    /// What is wrong; empty = the run is good.
    pub fn faults(&self) -> Vec<String> {
        self.faults.clone()
    }

    /// In words, for somebody who sees it for the first time.
    pub fn print(&self) {
        let j = &self.json;
        let n = |v: &Value| grouped(v.as_u64().unwrap_or(0));
        say!("");
        say!("What happened in {} s:", j["seconds"]);
        say!(
            "  brokers sent {} messages over UDP: {} acknowledged, {} rejected, {} not applied, {} without an answer",
            n(&j["orders_sent"]),
            n(&j["acks"]),
            n(&j["rejects"]),
            n(&j["not_applied"]),
            n(&j["unanswered"])
        );
        say!(
            "  {} matches of {} shares: {} executions reported, one to each side",
            n(&j["matches"]),
            n(&j["shares"]),
            n(&j["executions"])
        );
        let f = &j["feed"];
        say!(
            "  a subscriber that saw only the multicast received {} messages ({} gaps, {} messages repaired, {} lost)",
            n(&f["messages"]),
            n(&f["gaps"]),
            n(&f["repaired"]),
            n(&f["lost"])
        );
        say!(
            "  its book of {} resting orders {} the exchange's, order by order",
            n(&j["resting"]),
            if f["book_equal"] == true { "equals" } else { "DIFFERS from" }
        );
        if j["matches_expected"] != 0 {
            say!(
                "  {} of {} recorded executions hit exactly the recorded order and size",
                n(&j["matches_exact"]),
                n(&j["matches_expected"])
            );
        }
        if let Some(expected) = j["quotes_expected"].as_u64() {
            say!(
                "  {} of {} independent best-quote states were seen, in order",
                n(&j["quotes_matched"]),
                grouped(expected)
            );
        }
        if j["restarts"] != 0 {
            say!("  the exchange was ended and started again {} times under flow", j["restarts"]);
        }
        say!(
            "  replayed from its log: {} commands, {} events, all as recorded; state hash {}",
            n(&j["commands"]),
            n(&j["events_verified"]),
            j["state_hash"].as_str().unwrap_or("")
        );
        say!("Latency in us ({}):", j["scheduling"].as_str().unwrap_or("scheduling unknown"));
        for (key, what) in [
            ("wire", "order due at the broker -> its answer"),
            ("inside", "datagram received -> report handed to the socket"),
        ] {
            let l = &j["latency_ns"][key];
            let us = |p: &str| {
                let ns = l[p].as_u64().unwrap_or(0);
                format!("{}.{}", ns / 1_000, ns % 1_000 / 100)
            };
            say!(
                "  {what:<50} p50 {:>8}  p90 {:>8}  p99 {:>8}  p99.9 {:>8}  max {:>9}  ({} samples)",
                us("p50"),
                us("p90"),
                us("p99"),
                us("p999"),
                us("max"),
                n(&l["samples"])
            );
        }
    }
}

fn round3(nanos: u64) -> f64 {
    // For people and scripts, not for money.
    (nanos / 1_000_000) as f64 / 1_000.0
}

/// p50 to max of a histogram in the form that out.json uses.
pub fn percentiles(h: &Histogram<u64>) -> Value {
    let p = |q| h.value_at_quantile(q);
    json!({
        "p50": p(0.5), "p90": p(0.9), "p99": p(0.99), "p999": p(0.999),
        "max": h.max(), "samples": h.len(),
    })
}

/// Digest of the exchange's books, folded as a subscriber folds its mirror.
fn book_digest(x: &Exchange) -> (u64, u64) {
    let mut digest = BookDigest::default();
    let mut resting = 0;
    for l in 1..=x.genesis().symbols.len() as u16 {
        for side in [Side::Buy, Side::Sell] {
            for o in x.orders(Locate(l), side) {
                digest.order(Locate(l), side, o.price, o.order_ref, o.open);
                resting += 1;
            }
        }
    }
    (digest.finish(), resting)
}
