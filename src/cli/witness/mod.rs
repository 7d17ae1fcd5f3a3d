//! `rialto witness` (not in the help): brokers and subscribers of the suites, in processes of their own,
//! that keep evidence of all they sent and received. `rialto audit` holds it against the logs.

mod broker;
pub mod evidence;
mod feed;
mod tap;

use anyhow::Context;
use clap::{Args, Subcommand};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Keeps evidence as a broker or as a subscriber, until SIGTERM
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  rialto witness broker --config rialto.toml --out evidence --rate 10000
  rialto witness feed --config rialto.toml --out evidence --name SUB1")]
pub struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand, Debug)]
enum Role {
    /// Several sessions of one process that trade at a steady rate
    Broker(broker::Arguments),
    /// A subscriber of the feed
    Feed(feed::Arguments),
}

/// Nothing new for this long, and nothing missing: heartbeats of a second have told the end.
const QUIET_NS: u64 = 2_500_000_000;
/// Patience after SIGTERM.
const PATIENCE_NS: u64 = 60_000_000_000;

pub fn run(a: Arguments) -> anyhow::Result<ExitCode> {
    let stop = Stop::watch()?;
    match a.role {
        Role::Broker(a) => broker::run(a, stop),
        Role::Feed(a) => feed::run(a, stop),
    }
}

/// SIGTERM or SIGINT came: bring it to an end, then write it down.
#[derive(Clone)]
struct Stop(Arc<AtomicBool>);

impl Stop {
    fn watch() -> anyhow::Result<Stop> {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
            signal_hook::flag::register(signal, stop.clone()).context("handle signals")?;
        }
        Ok(Stop(stop))
    }

    fn came(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
