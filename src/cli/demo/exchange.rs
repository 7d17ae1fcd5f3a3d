//! The exchange of a demo: a child process that runs `rialto run`, as an operator would.

use super::interrupt::Interrupt;
use super::plan::Plan;
use anyhow::{Context, bail};
use rialto::host::wire;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, SystemTime};

/// How to end it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Signal {
    /// SIGTERM: goes silent.
    Term,
    /// SIGKILL: dies where it stands.
    Kill,
}

/// The running child.
pub struct Exchange {
    child: Child,
    lines: Receiver<String>,
    /// Directory of the day, from the ready line.
    pub day: PathBuf,
    /// The ready line itself.
    pub ready: String,
    loss_ppm: u32,
    config: PathBuf,
    side: Option<RawFd>,
}

impl Exchange {
    /// Starts it and waits until it is ready.
    pub fn start(plan: &Plan, loss_ppm: u32, interrupt: &Interrupt) -> anyhow::Result<Exchange> {
        let side = plan.wire.as_ref().map(|wire| wire.exchange.fd());
        let (child, lines) = spawn(&plan.config, loss_ppm, side)?;
        let mut exchange = Exchange {
            child,
            lines,
            day: PathBuf::new(),
            ready: String::new(),
            loss_ppm,
            config: plan.config.clone(),
            side,
        };
        exchange.wait_ready(interrupt)?;
        Ok(exchange)
    }

    /// Waits until the day, or the next one, is ready.
    pub fn wait_ready(&mut self, interrupt: &Interrupt) -> anyhow::Result<()> {
        let mut looks = 0;
        loop {
            match self.lines.recv_timeout(Duration::from_millis(100)) {
                Ok(line) => {
                    if let Some(day) = line.strip_prefix("day ") {
                        self.day = PathBuf::from(day);
                    } else if line.starts_with("ready") {
                        self.ready = line;
                        return Ok(());
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    interrupt.check()?;
                    looks += 1;
                    if looks == 600 {
                        bail!("the exchange is not ready after 60 s");
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait()?;
                    bail!(
                        "the exchange ended before it was ready: {status}; its reason stands above"
                    )
                }
            }
        }
    }

    /// The way that its datagrams take, from the ready line: "ready: orders on ADDRESS (PATH), ...".
    pub fn path(&self) -> &str {
        let rest = self.ready.split_once('(').map_or("", |(_, rest)| rest);
        rest.split_once(')').map_or("unknown", |(path, _)| path)
    }

    /// Name of the day.
    pub fn day_name(&self) -> String {
        self.day.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Ends the process and waits for its end.
    pub fn stop(&mut self, signal: Signal) -> anyhow::Result<()> {
        match signal {
            Signal::Kill => self.child.kill()?,
            Signal::Term => super::terminate(&self.child)?,
        }
        let status = self.child.wait()?;
        if signal == Signal::Term && !status.success() {
            bail!("the exchange ended with {status}");
        }
        Ok(())
    }

    /// Starts it again on the same day; does not wait.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        (self.child, self.lines) = spawn(&self.config, self.loss_ppm, self.side)?;
        Ok(())
    }

    /// Error when the process has ended by itself.
    pub fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => {
                bail!("the exchange ended by itself: {status}; its reason stands above")
            }
        }
    }

    /// When it last spoke about itself, and what it says at least as late as that.
    pub fn status(&self) -> anyhow::Result<(SystemTime, Value)> {
        let path = self.day.join("status.json");
        let read = || Ok((std::fs::metadata(&path)?.modified()?, std::fs::read_to_string(&path)?));
        let said: std::io::Result<(SystemTime, String)> = read();
        let (written, text) = said.with_context(|| format!("read {}", path.display()))?;
        let status = serde_json::from_str(&text);
        Ok((written, status.with_context(|| format!("{} is no JSON", path.display()))?))
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // Ended already on the good path; a demo that fails must not leave a venue behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(
    config: &PathBuf,
    loss_ppm: u32,
    side: Option<RawFd>,
) -> anyhow::Result<(Child, Receiver<String>)> {
    let program = std::env::current_exe().context("find this program's file")?;
    let mut command = Command::new(program);
    if let Some(side) = side {
        wire::place(&mut command, side);
    }
    let mut child = command
        .arg("run")
        .arg("--config")
        .arg(config)
        .arg("--loss-ppm")
        .arg(loss_ppm.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("start the exchange")?;
    let out = child.stdout.take().context("the exchange's output")?;
    let (tx, rx) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines() {
            let Ok(line) = line else { break };
            if tx.send(line).is_err() {
                break;
            }
        }
    });
    Ok((child, rx))
}
