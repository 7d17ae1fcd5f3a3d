//! `rialto capture`: switches the capture of a running venue, or tells how it stands.

use super::text::{grouped, say, size};
use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use rialto::config::Config;
use rialto::net::capture::Switch;
use rialto::store::{FileStorage, newest_days};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Switches the capture of a running venue on or off, or tells how it stands
///
/// The venue must have been started with `--pcap` or with a directory in `[capture]`. What is captured
/// is order flow, with logins: the files are for whoever may see that.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  rialto capture on --config rialto.toml
  rialto capture status --config rialto.toml
  tshark -r DIR/rialto-000001-*.pcapng")]
pub struct Arguments {
    /// What to do
    verb: Verb,
    /// Configuration file of the venue
    #[arg(long, default_value = "rialto.toml")]
    config: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Verb {
    On,
    Off,
    Status,
}

/// The venue looks for requests every 100 ms, and writes its status every 200 ms.
const STEP: Duration = Duration::from_millis(50);
const STEPS: u32 = 40;

pub fn run(a: Arguments) -> anyhow::Result<ExitCode> {
    let config = Config::load(&a.config)?;
    if a.verb == Verb::Status {
        return tell(&config.data);
    }
    let on = a.verb == Verb::On;
    let switch = Switch::new(config.data.clone());
    switch.ask(on).with_context(|| format!("a request in {}", config.data.display()))?;
    for _ in 0..STEPS {
        if !switch.waits() {
            say!("the capture is {}", if on { "on" } else { "off" });
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(STEP);
    }
    if switch.withdraw() {
        bail!(
            "nobody took the request in {}: no venue runs on it, or it was started without --pcap \
             and [capture] directory, or the disk of its capture stands still",
            config.data.display()
        );
    }
    say!("the capture is {}", if on { "on" } else { "off" });
    Ok(ExitCode::SUCCESS)
}

fn tell(data: &Path) -> anyhow::Result<ExitCode> {
    let (newest, _) = newest_days(&FileStorage, data)?;
    let day = newest.with_context(|| format!("no day in {}", data.display()))?;
    let path = day.dir.join("status.json");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("{}: no venue has run", path.display()))?;
    let status: Value = serde_json::from_str(&text).context("status.json")?;
    let state = status["state"].as_str().unwrap_or("unknown");
    if status["capture"].is_null() {
        say!("the venue ({state}) has no capture");
        return Ok(ExitCode::from(1));
    }
    let counted = |name: &str| status["agents"]["capture"][name].as_u64().unwrap_or(0);
    let on = status["capture"]["on"].as_bool().unwrap_or(false);
    say!("the venue is {state}, its capture {}", if on { "on" } else { "off" });
    say!("  {:>12}  frames written", grouped(counted("frames_written")));
    say!("  {:>12}  in {} files", size(counted("bytes_written")), counted("files_opened"));
    say!("  {:>12}  frames lacking: no room in memory", grouped(counted("frames_dropped")));
    say!("  {:>12}  frames lacking: refused by the disk", grouped(counted("frames_unwritten")));
    if let Some(error) = status["capture"]["error"].as_i64() {
        let why = std::io::Error::from_raw_os_error(error as i32);
        say!("  the disk refuses at present: {why}");
    }
    Ok(ExitCode::SUCCESS)
}
