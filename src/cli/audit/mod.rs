//! `rialto audit`: what brokers and subscribers kept, held against a day's logs.
//!
//! Consumes evidence files (`witness/evidence.md`) and a day's directory; produces figures and every
//! fault found. Takes nobody's word: reports and feed are made again from the command log, whether a
//! message was applied once is counted from the log by the rules of the session, not by the exchange.

mod broker_file;
mod day;
mod restarts;

use super::text::{grouped, say};
use super::witness::evidence::{EvidenceReader, Witness};
use anyhow::{Context, ensure};
use broker_file::BrokerFile;
use clap::Args;
use restarts::Restarts;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

/// Holds the evidence of brokers and subscribers against a day's logs
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  rialto audit data/2026-01-31 evidence/*.evidence
  rialto audit data/2026-01-31 evidence/*.evidence --kills kills --json verdict.json
  rialto audit data/2026-01-31 --partial evidence/ALFA01.evidence

Exit code: 0 everything agrees, 1 it does not, and each fault is told.")]
pub struct Arguments {
    /// The day's directory
    dir: PathBuf,
    /// Evidence files
    #[arg(required = true)]
    evidence: Vec<PathBuf>,
    /// Evidence may begin in the middle of the day, and sessions may have none
    #[arg(long)]
    partial: bool,
    /// File with a line `kill TOLD DEAD` per kill of the exchange (ns since 1970 UTC): tells how long
    /// each restart took, from the kill to the first acknowledgement of an order sent after the death
    #[arg(long, value_name = "FILE")]
    kills: Option<PathBuf>,
    /// Write the figures as one JSON object
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Faults told one by one; more are only counted.
const TOLD_MAX: usize = 20;

/// What is wrong.
#[derive(Default)]
pub struct Faults {
    count: u64,
    told: Vec<String>,
}

impl Faults {
    /// Notes a fault.
    pub fn add(&mut self, what: impl FnOnce() -> String) {
        self.count += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push(what());
        }
    }
}

pub fn run(a: Arguments) -> anyhow::Result<ExitCode> {
    let mut faults = Faults::default();
    let mut restarts = Restarts::read(a.kills.as_deref())?;
    let mut brokers: BTreeMap<String, BrokerFile> = BTreeMap::new();
    let mut subscribers = Vec::new();
    for path in &a.evidence {
        let reader = EvidenceReader::open(path)?;
        match reader.witness {
            Witness::Broker => {
                let name = reader.name.clone();
                let file = BrokerFile::read(path, reader, &mut restarts, &mut faults)?;
                let before = brokers.insert(name, file);
                ensure!(before.is_none(), "{} is about a session named before", path.display());
            }
            Witness::Subscriber => subscribers.push(path.clone()),
        }
    }
    let told = day::audit(&a.dir, a.partial, &mut brokers, &subscribers, &mut faults)?;
    let sum = |f: fn(&BrokerFile) -> u64| brokers.values().map(f).sum::<u64>();
    let times = restarts.times();
    let figures = json!({
        "sessions": brokers.len(),
        "subscribers": subscribers.len(),
        "messages": sum(|b| b.messages.len() as u64),
        "acknowledged": sum(|b| b.acknowledged),
        "rejected": sum(|b| b.rejected),
        "not_applied": sum(|b| b.not_applied),
        "without_conclusion": sum(|b| b.open),
        "repeated": sum(|b| b.transmitted_again),
        "logins": sum(|b| b.logins),
        "reports": sum(|b| b.reports),
        "report_copies": sum(|b| b.copies),
        "missing": told.missing,
        "doubled": told.doubled,
        "matches": told.matches,
        "feed_messages": told.feed_messages,
        "feed_gaps": told.gaps,
        "feed_repaired": told.repaired,
        "feed_copies": told.copies,
        "commands": told.commands,
        "events": told.events,
        "events_verified": told.verified,
        "book_equal": told.book_equal,
        "state_hash": format!("{:016x}", told.state_hash),
        "kills": restarts.kills(),
        "kills_during_restart": times.interrupted,
        "restart_ms": {
            "p50": times.p50_ms, "max": times.max_ms, "slowest_kill": times.slowest_kill,
            "samples": times.samples,
        },
        "faults": faults.count,
    });
    let n = |key: &str| grouped(figures[key].as_u64().unwrap_or(0));
    say!(
        "evidence of {} sessions and {} subscribers, against {} commands and {} events:",
        n("sessions"),
        n("subscribers"),
        n("commands"),
        n("events")
    );
    say!(
        "  messages {}: acknowledged {}, rejected {}, not applied {}, without a conclusion {}",
        n("messages"),
        n("acknowledged"),
        n("rejected"),
        n("not_applied"),
        n("without_conclusion")
    );
    say!(
        "  acknowledged and missing {}, executed twice {}; {} messages were sent again, {} logins",
        n("missing"),
        n("doubled"),
        n("repeated"),
        n("logins")
    );
    say!(
        "  reports {}, each once and as logged; {} further copies, all the same",
        n("reports"),
        n("report_copies")
    );
    say!(
        "  feed of {} messages, contiguous and as logged; {} gaps, {} repaired, {} further copies, \
         all the same",
        n("feed_messages"),
        n("feed_gaps"),
        n("feed_repaired"),
        n("feed_copies")
    );
    say!("  {} matches, each told once to both sides and once on the feed", n("matches"));
    say!("  replay agrees with {} of {} events", n("events_verified"), n("events"));
    if restarts.kills() > 0 {
        say!(
            "  {} kills, {} of them before the restart had answered; restart_ms p50 {} max {} (kill {}; {} samples)",
            n("kills"),
            n("kills_during_restart"),
            times.p50_ms,
            times.max_ms,
            times.slowest_kill,
            times.samples
        );
    }
    if let Some(path) = &a.json {
        std::fs::write(path, format!("{figures:#}\n"))
            .with_context(|| format!("write {}", path.display()))?;
    }
    for fault in &faults.told {
        eprintln!("FAULT: {fault}");
    }
    if faults.count > faults.told.len() as u64 {
        eprintln!("FAULT: and {} more", faults.count - faults.told.len() as u64);
    }
    say!("{}", if faults.count == 0 { "everything agrees" } else { "IT DOES NOT AGREE" });
    Ok(if faults.count == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
