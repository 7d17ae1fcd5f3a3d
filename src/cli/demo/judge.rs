//! A subscriber in a process of its own, and what it wrote down.

use super::expect::{Fill, Quote};
use super::interrupt::Interrupt;
use super::plan::Plan;
use anyhow::{Context, bail};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// The child.
pub struct Judge {
    child: Child,
    stdin: ChildStdin,
    out: PathBuf,
}

/// What it saw.
pub struct Seen {
    /// result.json.
    pub result: Value,
    /// Executions in the order of the feed.
    pub fills: Vec<Fill>,
    /// Distinct best-quote states of the first symbol.
    pub quotes: Vec<Quote>,
    /// Resting orders: locate, side letter, price, reference, open shares; in queue order.
    pub book: Vec<[u64; 5]>,
}

impl Judge {
    /// Starts it and waits until it has joined the groups. `days`: it ends by itself with so many.
    pub fn start(
        plan: &Plan,
        loss_ppm: u32,
        quotes: bool,
        days: Option<u64>,
    ) -> anyhow::Result<Judge> {
        let out = plan.dir.join("mirror");
        let program = std::env::current_exe().context("find this program's file")?;
        let mut command = Command::new(program);
        command
            .arg("mirror")
            .args(["--group-a", &plan.groups[0].to_string()])
            .args(["--group-b", &plan.groups[1].to_string()])
            .args(["--repair", &plan.repair.to_string()])
            .args(["--interface", &plan.own.to_string()])
            .args(["--loss-ppm", &loss_ppm.to_string()])
            .arg("--out")
            .arg(&out)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if quotes {
            command.arg("--quotes");
        }
        if let Some(days) = days {
            command.args(["--sessions", &days.to_string()]);
        }
        let mut child = command.spawn().context("start the subscriber")?;
        let stdin = child.stdin.take().context("the subscriber's input")?;
        let mut lines = BufReader::new(child.stdout.take().context("the subscriber's output")?);
        let mut line = String::new();
        lines.read_line(&mut line)?;
        if line.trim() != "listening" {
            let _ = child.kill();
            bail!("the subscriber did not start; its reason stands above");
        }
        Ok(Judge { child, stdin, out })
    }

    /// Lets it go on to message `next - 1`, and reads what it wrote.
    pub fn finish(mut self, next: u64, interrupt: &Interrupt) -> anyhow::Result<Seen> {
        writeln!(self.stdin, "until {next}")?;
        self.stdin.flush()?;
        self.read(&format!("message {next} of the feed"), interrupt)
    }

    /// Waits for its last day's end, and reads what it wrote.
    pub fn finish_days(self, interrupt: &Interrupt) -> anyhow::Result<Seen> {
        self.read("the end of its last day", interrupt)
    }

    #[allow(clippy::disallowed_methods)] // a deadline of a tool, not time of the venue
    fn read(mut self, wanted: &str, interrupt: &Interrupt) -> anyhow::Result<Seen> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                let _ = self.child.kill();
                bail!("the subscriber did not reach {wanted} within 60 s");
            }
            interrupt.check()?;
            std::thread::sleep(Duration::from_millis(10));
        }
        let read = |name: &str| {
            let path = self.out.join(name);
            std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
        };
        let result = serde_json::from_str(&read("result.json")?)?;
        let fills = numbers::<4>(&read("fills.csv")?)?
            .into_iter()
            .map(|[order_ref, quantity, price, match_number]| Fill {
                order_ref,
                quantity: quantity as u32,
                price: price as u32,
                match_number,
            })
            .collect();
        let quotes = match self.out.join("quotes.csv").exists() {
            true => numbers(&read("quotes.csv")?)?,
            false => Vec::new(),
        };
        Ok(Seen { result, fills, quotes, book: numbers(&read("book.csv")?)? })
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it has ended already on the good path
        let _ = self.child.wait();
    }
}

fn numbers<const N: usize>(text: &str) -> anyhow::Result<Vec<[u64; N]>> {
    let mut rows = Vec::new();
    for line in text.lines() {
        let mut row = [0; N];
        let mut fields = line.split(',');
        for value in &mut row {
            let field = fields.next().with_context(|| format!("short line {line:?}"))?;
            *value = match field {
                "B" | "S" => field.as_bytes()[0] as u64,
                _ => field.parse().with_context(|| format!("line {line:?}"))?,
            };
        }
        rows.push(row);
    }
    Ok(rows)
}
