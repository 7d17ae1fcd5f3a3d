//! `rialto shadow`: follows a day and writes snapshots; and its keeper, which `rialto run` has.

use super::text::{grouped, say};
use anyhow::Context;
use clap::Args;
use rialto::agent::Agent;
use rialto::clock::{Clock, SystemClock};
use rialto::shadow::{Shadow, ShadowError};
use rialto::snapshot;
use rialto::store::files;
use rialto::types::Nanos;
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Follows a day, does every command again and writes snapshots
///
/// `rialto run` starts one by itself. It only reads the logs; stopped or killed, it changes nothing
/// for the venue.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  rialto shadow data/2026-01-31
  rialto shadow data/2026-01-31 --once        one snapshot of what is there now")]
pub struct Arguments {
    /// The day's directory
    dir: PathBuf,
    /// Seconds from one snapshot to the next, when something was done
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    every_seconds: u64,
    /// Writes one snapshot after the last command that is there now, and ends
    #[arg(long)]
    once: bool,
    /// Ends when this process is no longer the parent
    #[arg(long, hide = true)]
    parent: Option<u32>,
}

/// Exit code of a shadow whose day says something else than its commands: starting it again is in
/// vain.
const DIVERGED: u8 = 3;
/// Below everything that has an answer to give (nice(2)).
const NICE: i32 = 10;
/// Nothing to do: look again after this.
const IDLE: Duration = Duration::from_millis(5);

pub fn run(a: Arguments) -> anyhow::Result<ExitCode> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, stop.clone()).context("handle signals")?;
    }
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    die_with(a.parent);
    let clock = SystemClock::new();
    let every_ns = a.every_seconds * 1_000_000_000;
    let (mut shadow, refused) = Shadow::open(files(), &a.dir, every_ns)
        .with_context(|| format!("{} cannot be shadowed", a.dir.display()))?;
    for refusal in refused {
        tracing::warn!("{} is passed over: {}", refusal.path.display(), refusal.why);
    }
    tracing::info!("shadow of {} from command {} on", a.dir.display(), shadow.applied().0);
    let (mut wanted, mut nice) = (false, false);
    while !stop.load(Ordering::Acquire) && !orphaned(a.parent) && !shadow.is_done() {
        if !nice && !shadow.is_far_behind() {
            nice = true;
            step_back();
        }
        let before = shadow.applied();
        let done = shadow.duty_cycle(clock.now());
        if let Some(fault) = shadow.fault() {
            tracing::error!("{fault}");
            let diverged = matches!(fault, ShadowError::Diverged { .. });
            return Ok(ExitCode::from(if diverged { DIVERGED } else { 1 }));
        }
        if a.once {
            if wanted && shadow.written() > rialto::types::Seq(0) && done == 0 {
                break;
            }
            if !wanted && done == 0 && shadow.applied() == before {
                wanted = true;
                shadow.want_snapshot();
                continue;
            }
        }
        if done == 0 {
            std::thread::sleep(IDLE);
        }
    }
    if a.once || shadow.is_done() {
        say!("snapshot after command {}", grouped(shadow.written().0));
    }
    Ok(ExitCode::SUCCESS)
}

/// Gives way to everybody. Not while the next start would have a lot to do: on a host that is busy a
/// shadow that gives way may never be level.
fn step_back() {
    // SAFETY: a plain system call on this process. Refused, it changes nothing that matters.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
}

/// Ends with the parent.
fn die_with(parent: Option<u32>) {
    if parent.is_some() {
        // SAFETY: as above.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    }
}

fn orphaned(parent: Option<u32>) -> bool {
    // SAFETY: no arguments, no failure.
    parent.is_some_and(|pid| unsafe { libc::getppid() }.unsigned_abs() != pid)
}

/// Keeps a shadow of the running day: starts it, starts it again when it dies, ends it.
pub struct Keeper {
    every_seconds: u64,
    dir: PathBuf,
    child: Option<Child>,
    clock: SystemClock,
    started: Nanos,
    pause_ns: u64,
    /// It found a difference: an alarm, and no further one is started.
    diverged: bool,
    failed_before: bool,
}

/// Wait before a shadow that died is started again: at first, and at most.
const PAUSE_NS: [u64; 2] = [1_000_000_000, 60_000_000_000];

impl Keeper {
    /// Of the day in `dir`; `every_seconds` 0 = no shadow.
    pub fn new(dir: &Path, every_seconds: u64) -> Keeper {
        Keeper {
            every_seconds,
            dir: dir.to_path_buf(),
            child: None,
            clock: SystemClock::new(),
            started: Nanos(0),
            pause_ns: 0,
            diverged: false,
            failed_before: false,
        }
    }

    /// Looks after it; call now and then.
    pub fn look(&mut self) {
        if self.every_seconds == 0 || self.diverged {
            return;
        }
        match &mut self.child {
            Some(child) => match child.try_wait() {
                Ok(None) => {}
                Ok(Some(code)) => self.died(code.code()),
                Err(_) => self.died(None),
            },
            None if self.clock.now().since(self.started) >= self.pause_ns => self.start(),
            None => {}
        }
    }

    fn died(&mut self, code: Option<i32>) {
        self.child = None;
        if code == Some(i32::from(DIVERGED)) {
            self.diverged = true;
            tracing::error!(
                "the shadow makes other events of this day's commands: no snapshots any more; \
                 `rialto replay {} --verify` shows where",
                self.dir.display()
            );
            return;
        }
        if code == Some(0) {
            // The day is over and its last snapshot written.
            self.every_seconds = 0;
            return;
        }
        let now = self.clock.now();
        let long = now.since(self.started) > PAUSE_NS[1];
        let twice = (self.pause_ns * 2).clamp(PAUSE_NS[0], PAUSE_NS[1]);
        self.pause_ns = if long { PAUSE_NS[0] } else { twice };
        if !std::mem::replace(&mut self.failed_before, true) || long {
            tracing::warn!("the shadow died; the venue is not concerned, another one is started");
        }
        self.started = now;
    }

    fn start(&mut self) {
        self.started = self.clock.now();
        let started = std::env::current_exe().and_then(|program| {
            Command::new(program)
                .arg("shadow")
                .arg(&self.dir)
                .args(["--every-seconds", &self.every_seconds.to_string()])
                .args(["--parent", &std::process::id().to_string()])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
        });
        match started {
            Ok(child) => self.child = Some(child),
            Err(error) => {
                self.pause_ns = (self.pause_ns * 2).clamp(PAUSE_NS[0], PAUSE_NS[1]);
                if !std::mem::replace(&mut self.failed_before, true) {
                    tracing::warn!("the shadow cannot be started: {error}; tried again");
                }
            }
        }
    }

    /// For status.json: the newest snapshot, its age, and whether a shadow runs.
    pub fn status(&self) -> Value {
        let newest = snapshot::list(&*files(), &self.dir).ok().and_then(|l| l.first().copied());
        let age = newest.and_then(|seq| {
            let meta = std::fs::metadata(self.dir.join(snapshot::name_of(seq))).ok()?;
            Some(meta.modified().ok()?.elapsed().unwrap_or_default().as_secs())
        });
        json!({
            "command": newest.map(|seq| seq.0),
            "age_s": age,
            "shadow_pid": self.child.as_ref().map(|child| child.id()),
            "diverged": self.diverged,
        })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may be in the middle of a snapshot: what it leaves is a file that nobody takes.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
