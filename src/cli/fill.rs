//! `rialto fill`: a long day in a short time, to measure starts with. Hidden: no use for a day that
//! counts.

use super::text::{grouped, say};
use anyhow::{Context, bail};
use clap::Args;
use rialto::clock::{Clock, SystemClock};
use rialto::config::Config;
use rialto::topology::Filler;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

/// Fills a new day with synthetic commands and leaves it like a venue that was killed
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  rialto fill --config rialto.toml --commands 30000000
  rialto fill --config rialto.toml --commands 30000000 --tail 0    no snapshot: all is replayed")]
pub struct Arguments {
    /// Configuration file; its data directory has no day of today yet
    #[arg(long, default_value = "rialto.toml")]
    config: PathBuf,
    /// Commands of the day
    #[arg(long, default_value_t = 1_000_000)]
    commands: u64,
    /// Commands behind the snapshot, 15 s at 215,000 a second; 0 = no snapshot is made
    #[arg(long, default_value_t = 3_225_000)]
    tail: u64,
    /// Same seed, same flow
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub fn run(a: Arguments) -> anyhow::Result<ExitCode> {
    let config = Config::load(&a.config)?;
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    let clock = SystemClock::new();
    let begun = clock.now();
    let mut filler = Filler::open(&config, clock, a.seed)?;
    say!("day {}", filler.dir().display());
    let tell = |filler: &Filler| {
        let (applied, resting) = filler.progress();
        let ms = clock.now().since(begun) / 1_000_000;
        say!("{} commands, {} orders rest, {} ms", grouped(applied), grouped(resting.into()), ms);
    };
    let pause = if a.tail == 0 { 0 } else { a.commands.saturating_sub(a.tail) };
    let mut at = 0;
    while at < a.commands {
        let step = at + 2_000_000;
        at = if at < pause { step.min(pause) } else { step.min(a.commands) };
        if !filler.fill_to(at)? {
            bail!("a thread ended");
        }
        tell(&filler);
        if at == pause {
            let program = std::env::current_exe().context("find this program")?;
            let shadow = std::process::Command::new(program)
                .arg("shadow")
                .arg(filler.dir())
                .arg("--once")
                .status()
                .context("start the shadow")?;
            if !shadow.success() {
                bail!("the shadow failed: {shadow}");
            }
            tell(&filler);
        }
    }
    say!("state hash {:016x}", filler.state_hash());
    filler.end()?;
    Ok(ExitCode::SUCCESS)
}
