//! `rialto config check`: is the file good, and what does a day take?

use super::text::{grouped, say, size};
use clap::{Args, Subcommand};
use rialto::config::{Config, Durability};
use rialto::topology::host_notes;
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "Examples:
  rialto config check
  rialto config check --config /etc/rialto/rialto.toml";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Reads the file and tells every fault at once; else memory and disk that a day takes
    ///
    /// Nothing is started. What this host lacks for it is told as a start here would tell it, and is no
    /// fault: the file may be for another host. Exit code 1 when there is a fault.
    #[command(after_help = EXAMPLES)]
    Check {
        /// Configuration file
        #[arg(long, default_value = "rialto.toml")]
        config: PathBuf,
        /// The same, without the option's name
        #[arg(value_name = "FILE", conflicts_with = "config")]
        file: Option<PathBuf>,
    },
}

pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Verb::Check { config, file } = arguments.verb;
    let config = Config::load(&file.unwrap_or(config))?;
    let s = config.sizing();
    say!("{}: good", config.path.display());
    say!(
        "  venue {}: {} symbols, {} firms, {} accounts, {} sessions",
        config.name,
        config.symbols.len(),
        config.firms.len(),
        config.accounts.len(),
        config.sessions.len()
    );
    say!("  orders in on {}, feed {} and {}", config.gateway.listen, config.feed.a, config.feed.b);
    let survives = match config.durability {
        Durability::Memory => "memory: what was acknowledged survives the death of the process",
        Durability::Disk => "disk: what was acknowledged survives the loss of the machine's memory",
    };
    say!("  durability {survives}");
    say!("  a day of {} messages (capacity.orders_per_day) takes", grouped(s.orders_per_day));
    say!("    disk    {:>9}  command log", size(s.command_log));
    say!("    disk    {:>9}  event log", size(s.event_log));
    say!("    memory  {:>9}  hot tier of both logs (shared memory)", size(s.hot_tier));
    say!("    memory  {:>9}  orders, price pages and indices", size(s.tables));
    if let Some(capture) = &config.capture {
        let most = capture.file_bytes_max * capture.files_max as u64;
        say!("    disk    {:>9}  files of the capture at most", size(most));
    }
    let notes = host_notes(&config);
    if !notes.is_empty() {
        say!("  on this host `rialto run` would warn, or fail:");
        notes.iter().for_each(|note| say!("    {note}"));
    }
    Ok(ExitCode::SUCCESS)
}
