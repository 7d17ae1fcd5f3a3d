//! `rialto capture`: switches the capture of a running venue, or tells how it stands.

use super::text::{counted, grouped, say, size};
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
/// A status older than this is that of a venue that was killed, or whose disk is full.
const STALE: Duration = Duration::from_secs(3);

pub fn run(a: Arguments) -> anyhow::Result<ExitCode> {
    let config = Config::load(&a.config)?;
    let data = &config.data;
    match a.verb {
        Verb::Status => tell(data),
        Verb::On => switch(data, true),
        Verb::Off => switch(data, false),
    }
}

fn switch(data: &Path, on: bool) -> anyhow::Result<ExitCode> {
    if let Some(why) = Standing::read(data)?.refusal() {
        bail!("{}: {why}", data.display());
    }
    let switch = Switch::new(data.into());
    switch.ask(on).with_context(|| format!("a request in {}", data.display()))?;
    if !within(|| !switch.waits()) && switch.withdraw() {
        match Standing::read(data)? {
            now if now.is_stale() => bail!("{}: {}", data.display(), now.stale()),
            now => bail!(
                "{}: {}",
                data.display(),
                now.refusal()
                    .unwrap_or("the venue does not answer: it was killed, or the disk of its capture stands still")
            ),
        }
    }
    // Whoever asks for the status next is told what was done here.
    let told = within(|| Standing::read(data).is_ok_and(|now| now.is_on() == Some(on)));
    let but = if told { "" } else { ", though status.json does not say so yet" };
    say!("the capture is {}{but}", word(on));
    Ok(ExitCode::SUCCESS)
}

/// Waits until `done`; false when a venue that gets on would have done it by now.
fn within(done: impl Fn() -> bool) -> bool {
    for _ in 0..STEPS {
        if done() {
            return true;
        }
        std::thread::sleep(STEP);
    }
    done()
}

fn word(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

/// What the newest day's status file says, and how old it is.
struct Standing {
    status: Value,
    age: Duration,
}

impl Standing {
    fn read(data: &Path) -> anyhow::Result<Standing> {
        let (newest, _) = newest_days(&FileStorage, data)?;
        let day = newest.with_context(|| format!("{}: no venue has run", data.display()))?;
        let path = day.dir.join("status.json");
        let at = || format!("{}: no venue has served", path.display());
        let text = std::fs::read_to_string(&path).with_context(at)?;
        let written =
            std::fs::metadata(&path).and_then(|found| found.modified()).with_context(at)?;
        let status = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        // A clock that was set back: as good as new.
        Ok(Standing { status, age: written.elapsed().unwrap_or_default() })
    }

    /// `running`, `over`, `stopped`, `ended` or `died` (by its own fault: exit code 1).
    fn state(&self) -> &str {
        self.status["state"].as_str().unwrap_or("unknown")
    }

    /// True when the venue says it runs but has not said so for a while.
    fn is_stale(&self) -> bool {
        self.age > STALE && !matches!(self.state(), "stopped" | "ended" | "died")
    }

    fn stale(&self) -> String {
        let seconds = self.age.as_secs();
        format!(
            "no venue serves here, or its disk is full: nothing was heard of it for {seconds} s"
        )
    }

    /// Whether it captures; `None` = it cannot.
    fn is_on(&self) -> Option<bool> {
        self.status["capture"]["on"].as_bool()
    }

    /// Why a request would be in vain, where that is known beforehand.
    fn refusal(&self) -> Option<&'static str> {
        match self.state() {
            "stopped" | "ended" | "died" => Some("no venue serves here"),
            _ if !self.is_stale() && self.is_on().is_none() => Some(
                "the venue was started without capture: start it again with --pcap DIR, or with a \
                 directory in [capture]",
            ),
            _ => None,
        }
    }
}

fn tell(data: &Path) -> anyhow::Result<ExitCode> {
    let now = Standing::read(data)?;
    let (state, status) = (now.state(), &now.status);
    if now.is_stale() {
        say!("{}", now.stale());
    }
    let Some(on) = now.is_on() else {
        say!("the venue ({state}) has no capture");
        return Ok(ExitCode::from(1));
    };
    let counter = |name: &str| status["agents"]["capture"][name].as_u64().unwrap_or(0);
    say!("the venue is {state}, its capture {}", word(on));
    say!("  {:>12}  frames written", grouped(counter("frames_written")));
    say!(
        "  {:>12}  in {}",
        size(counter("bytes_written")),
        counted(counter("files_opened"), "file")
    );
    say!("  {:>12}  frames lacking: no room in memory", grouped(counter("frames_dropped")));
    say!("  {:>12}  frames lacking: refused by the disk", grouped(counter("frames_unwritten")));
    if let Some(error) = status["capture"]["error"].as_i64() {
        let why = std::io::Error::from_raw_os_error(error as i32);
        say!("  the disk refuses at present: {why}");
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_request_would_meet_is_known_beforehand() {
        let of = |status: Value, seconds| Standing { status, age: Duration::from_secs(seconds) };
        let captures = json!({ "on": false, "error": null });
        for (state, capture, seconds, refusal) in [
            ("running", &captures, 0, None),
            ("over", &captures, 0, None),
            ("running", &Value::Null, 0, Some("without capture")),
            // What a venue that was killed could do says nothing of the next one.
            ("running", &Value::Null, 60, None),
            ("stopped", &captures, 0, Some("no venue serves")),
            ("ended", &Value::Null, 60, Some("no venue serves")),
            ("died", &Value::Null, 60, Some("no venue serves")),
        ] {
            let standing = of(json!({ "state": state, "capture": capture }), seconds);
            let found = standing.refusal();
            assert_eq!(found.is_some(), refusal.is_some(), "{state} {capture}: {found:?}");
            assert!(found.unwrap_or("").contains(refusal.unwrap_or("")), "{found:?}");
            assert_eq!(standing.is_stale(), state == "running" && seconds > 3);
        }
    }
}
