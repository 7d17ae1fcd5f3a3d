//! `rialto shadow`: follows a day and writes snapshots.

use super::text::{grouped, say};
use anyhow::Context;
use clap::Args;
use rialto::agent::Agent;
use rialto::clock::{Clock, SystemClock};
use rialto::config::SandboxWish;
use rialto::host::sandbox::Sandbox;
use rialto::shadow::{Shadow, ShadowError};
use rialto::store::{DayView, LogIndex, files};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
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
pub(super) const DIVERGED: u8 = 3;
/// Exit code of a shadow that SIGTERM ended (128 + 15) before the day's last snapshot.
const STOPPED: u8 = 143;
/// Below everything that has an answer to give (nice(2)).
const NICE: i32 = 10;
/// Nothing to do: look again after this.
const IDLE: Duration = Duration::from_millis(10);

pub fn run(a: Arguments) -> anyhow::Result<ExitCode> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        // A terminal's Ctrl-C and a service manager's SIGTERM reach the whole group: a kept shadow ends
        // when its keeper says so, else its end would look like a death.
        let flag = if a.parent.is_some() { Arc::default() } else { stop.clone() };
        signal_hook::flag::register(signal, flag).context("handle signals")?;
    }
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    die_with(a.parent);
    if a.parent.is_some() {
        // What it reads comes from the venue, which is in a sandbox too: one may not be the other's
        // way out. Before it reads more than where the logs lie.
        confine(&a.dir).with_context(|| format!("{} cannot be shadowed", a.dir.display()))?;
    }
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
        return Ok(ExitCode::SUCCESS);
    }
    // Told to stop in the middle of a day: whoever keeps it starts another one.
    Ok(ExitCode::from(STOPPED))
}

/// Gives away whatever takes more than the day's files, as far as the kernel can.
fn confine(dir: &Path) -> anyhow::Result<()> {
    let view = DayView::open(dir)?;
    let hot = view.log(LogIndex::Command).options().hot.as_deref();
    let dirs: Vec<&Path> = [dir].into_iter().chain(hot).collect();
    let mut sandbox = Sandbox::new(SandboxWish::Auto, Vec::new());
    sandbox.before_threads(&dirs)?;
    sandbox.after_threads()?;
    Ok(())
}

/// Gives way to everybody. Not while the next start would have a lot to do: on a host that is busy a
/// shadow that gives way may never be level.
fn step_back() {
    // SAFETY: a plain system call on this process. Refused, it changes nothing that matters.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
}

/// Ends with the parent.
pub(super) fn die_with(parent: Option<u32>) {
    if parent.is_some() {
        // SAFETY: as above.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    }
}

/// The parent has gone.
pub(super) fn orphaned(parent: Option<u32>) -> bool {
    // SAFETY: no arguments, no failure.
    parent.is_some_and(|pid| unsafe { libc::getppid() }.unsigned_abs() != pid)
}
