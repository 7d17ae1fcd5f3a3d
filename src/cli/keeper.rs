//! The shadow's keeper: a small process beside the venue that starts `rialto shadow`, starts it again
//! when it dies, and ends it.
//!
//! The venue may start no program once it has given its privileges away, so it starts this one first.
//! Consumes lines of its input: `EVERY DIR` (keep a shadow of that day) and `none`; produces lines on
//! its output: `pid N`, `none`, `diverged`. Ends with its input, or with the venue. Opens no file and
//! no socket, and has no capability.

use super::shadow::{DIVERGED, die_with, orphaned};
use anyhow::Context;
use clap::Args;
use rialto::clock::{Clock, SystemClock};
use rialto::host::sandbox;
use rialto::snapshot;
use rialto::store::files;
use rialto::types::Nanos;
use serde_json::{Value, json};
use std::io::{ErrorKind, IsTerminal, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Keeps a shadow of the running day
#[derive(Args, Debug)]
pub struct Arguments {
    /// Ends when this process is no longer the parent
    #[arg(long)]
    parent: u32,
}

/// How often it looks after the shadow.
const LOOK: Duration = Duration::from_millis(200);

pub fn run(a: Arguments) -> anyhow::Result<ExitCode> {
    die_with(Some(a.parent));
    sandbox::drop_capabilities(); // what is left of them harms nobody
    // A terminal's Ctrl-C and a service manager's SIGTERM are for the venue: the end of the input says
    // when to go.
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        let unread = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal, unread).context("handle signals")?;
    }
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    let (tx, lines) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            let Ok(line) = line else { break };
            if tx.send(line).is_err() {
                break;
            }
        }
    });
    let mut keeper: Option<Keeper> = None;
    let mut told = String::new();
    while !orphaned(Some(a.parent)) {
        match lines.recv_timeout(LOOK) {
            Ok(line) => {
                // The one before ends first.
                keeper = None;
                if let Some((every, dir)) = line.split_once(' ') {
                    let every = every.parse().with_context(|| format!("{line:?} says no time"))?;
                    keeper = Some(Keeper::new(Path::new(dir), every));
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        let mut state = "none".to_string();
        if let Some(keeper) = &mut keeper {
            keeper.look();
            match &keeper.child {
                _ if keeper.diverged => state = "diverged".into(),
                Some(child) => state = format!("pid {}", child.id()),
                None => {}
            }
        }
        if state != told {
            println!("{state}");
            told = state;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The venue's end of it.
pub struct Shadows {
    process: Option<(Child, ChildStdin, ChildStdout)>,
    dir: PathBuf,
    /// Read and not yet a whole line.
    partial: Vec<u8>,
    pid: Option<u32>,
    diverged: bool,
}

impl Shadows {
    /// Starts the keeper; `wanted` false = none, and no shadow either.
    pub fn start(wanted: bool) -> anyhow::Result<Shadows> {
        let process = wanted.then(spawn).transpose().context("start the shadow's keeper")?;
        let (dir, partial) = (PathBuf::new(), Vec::new());
        Ok(Shadows { process, dir, partial, pid: None, diverged: false })
    }

    /// From now on the shadow is of the day in `dir`; `every_seconds` 0 = no shadow.
    pub fn keep(&mut self, dir: &Path, every_seconds: u64) {
        self.dir = dir.to_path_buf();
        match every_seconds {
            0 => self.say("none"),
            every => self.say(&format!("{every} {}", dir.display())),
        }
    }

    /// Ends the shadow: it may be in the middle of a snapshot, which leaves a file that nobody takes.
    pub fn none(&mut self) {
        self.say("none");
    }

    fn say(&mut self, line: &str) {
        (self.pid, self.diverged) = (None, false);
        if let Some((_, input, _)) = &mut self.process
            && let Err(error) = writeln!(input, "{line}")
        {
            tracing::warn!("the shadow's keeper is gone ({error}): no snapshots until a restart");
            self.process = None;
        }
    }

    /// Reads what the keeper said; never waits.
    pub fn look(&mut self) {
        let Some((_, _, output)) = &mut self.process else { return };
        let mut bytes = [0; 256];
        loop {
            match output.read(&mut bytes) {
                Ok(0) => {
                    tracing::warn!("the shadow's keeper is gone: no snapshots until a restart");
                    (self.process, self.pid) = (None, None);
                    return;
                }
                Ok(n) => self.partial.extend_from_slice(&bytes[..n]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break, // nothing more for now
            }
        }
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            self.pid = line.trim().strip_prefix("pid ").and_then(|pid| pid.parse().ok());
            self.diverged = line.trim() == "diverged";
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
            "shadow_pid": self.pid,
            "diverged": self.diverged,
        })
    }
}

impl Drop for Shadows {
    fn drop(&mut self) {
        if let Some((mut child, input, _)) = self.process.take() {
            drop(input);
            // It ends with its input; its own child before it.
            let _ = child.wait();
        }
    }
}

fn spawn() -> anyhow::Result<(Child, ChildStdin, ChildStdout)> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("keeper")
        .args(["--parent", &std::process::id().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let input = child.stdin.take().context("the keeper's input")?;
    let output = child.stdout.take().context("the keeper's output")?;
    // SAFETY: an open descriptor and plain integers.
    match unsafe { libc::fcntl(output.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) } {
        0 => Ok((child, input, output)),
        _ => Err(std::io::Error::last_os_error().into()),
    }
}

/// A shadow of one day: starts it, starts it again when it dies, ends it.
struct Keeper {
    every_seconds: u64,
    dir: PathBuf,
    child: Option<Child>,
    clock: SystemClock,
    started: Nanos,
    pause_ns: u64,
    /// It found a difference: an alarm, and no further one is started.
    diverged: bool,
    failed_before: bool,
    /// It could not be started, and that is told.
    unstartable: bool,
}

/// Wait before a shadow that died is started again: at first, and at most.
const PAUSE_NS: [u64; 2] = [1_000_000_000, 60_000_000_000];

impl Keeper {
    /// Of the day in `dir`; `every_seconds` 0 = no shadow.
    fn new(dir: &Path, every_seconds: u64) -> Keeper {
        Keeper {
            every_seconds,
            dir: dir.to_path_buf(),
            child: None,
            clock: SystemClock::new(),
            started: Nanos(0),
            pause_ns: 0,
            diverged: false,
            failed_before: false,
            unstartable: false,
        }
    }

    /// Looks after it; call now and then.
    fn look(&mut self) {
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
        // The program of this process, also when an upgrade has put another file in its place.
        let started = Command::new("/proc/self/exe")
            .arg0("rialto")
            .arg("shadow")
            .arg(&self.dir)
            .args(["--every-seconds", &self.every_seconds.to_string()])
            .args(["--parent", &std::process::id().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        match started {
            Ok(child) => {
                self.child = Some(child);
                self.unstartable = false;
            }
            Err(error) => {
                self.pause_ns = (self.pause_ns * 2).clamp(PAUSE_NS[0], PAUSE_NS[1]);
                if !std::mem::replace(&mut self.unstartable, true) {
                    tracing::warn!("the shadow cannot be started: {error}; tried again");
                }
            }
        }
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
