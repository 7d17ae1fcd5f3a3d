//! `rialto demo`: the whole venue on one machine, and what came of it.
//!
//! Starts the exchange as an operator would (a process of its own), four brokers and two
//! subscribers on real sockets, one of them in a process that sees nothing but the multicast; runs
//! order flow; then holds what subscribers and brokers saw against the exchange's own log.

mod days;
mod desks;
mod exchange;
mod expect;
mod interrupt;
mod judge;
mod plan;
mod report;
mod viewer;

use super::text::{grouped, say};
use anyhow::{Context, bail};
use clap::Args;
use desks::Desks;
use exchange::{Exchange, Signal};
use interrupt::Interrupt;
use judge::Judge;
use plan::Plan;
use report::Outcome;
use rialto::clock::{Clock, SystemClock};
use rialto::flow::{BboReader, CommandReader, FlowCommand, Synthetic, SyntheticOptions};
use rialto::net::xdp::PathWish;
use rialto::types::*;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode};
use std::time::{Duration, SystemTime};
use viewer::Viewer;

/// Runs a whole market on this machine and explains what happened
///
/// Without options: synthetic order flow shaped like a real hour of Nasdaq, for some seconds. Needs
/// no root and no network beyond loopback.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  rialto demo
  rialto demo --symbols 100 --rate 43000 --seconds 20 --json out.json
  rialto demo --data hour_commands.csv.gz --bbo hour_bbo.csv.gz --loss 0.05
  rialto demo --crash 3                      kill -9 the exchange three times under flow
  rialto demo --days 2                       two trading days: what is carried, what starts anew")]
pub struct Arguments {
    /// Recorded order flow in the command CSV format, gzip or plain: one order in flight, so that
    /// the order of arrival is the recorded one
    #[arg(long, value_name = "FILE", conflicts_with_all = ["symbols", "rate", "seconds"])]
    data: Option<PathBuf>,
    /// Best-quote states to find in the feed (CSV ask_e4,ask_qty,bid_e4,bid_qty)
    #[arg(long, value_name = "FILE", requires = "data")]
    bbo: Option<PathBuf>,
    /// Stop after N rows of the data
    #[arg(long, value_name = "N", requires = "data")]
    rows: Option<u64>,
    /// Symbols of the synthetic flow
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    symbols: u16,
    /// Orders per second
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    rate: u64,
    /// Length of the flow, seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Trading days, each with the flow once: the exchange ends one and begins the next
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with_all = ["data", "crash"],
          value_parser = clap::value_parser!(u64).range(1..=30))]
    days: u64,
    /// Seed of the synthetic flow and of losses
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Share of datagrams that every receiver drops, in every direction
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share)]
    loss: u32,
    /// End the exchange N times under flow and start it again
    #[arg(long, value_name = "N", default_value_t = 0)]
    crash: u32,
    /// How it is ended
    #[arg(long, value_enum, default_value = "kill")]
    signal: Signal,
    /// Durability level of the exchange: memory or disk
    #[arg(long, default_value = "memory", value_parser = ["memory", "disk"])]
    durability: String,
    /// Way of the exchange's datagrams: auto (AF_XDP over veth where this user may, else sockets on
    /// loopback), udp, af_xdp, af_xdp:native, af_xdp:native:zero-copy, af_xdp:native:copy, af_xdp:generic
    #[arg(long, default_value = "auto")]
    path: PathWish,
    /// Write the figures as one JSON object
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Keep the directory of the run (logs, mirrors) and say where it is
    #[arg(long)]
    keep: bool,
}

/// "0.05" -> 50,000 parts per million, without floating point.
fn share(text: &str) -> Result<u32, String> {
    let units = rialto::config::parse_money(text).filter(|&u| u <= 5_000);
    units.map(|u| u as u32 * 100).ok_or_else(|| "write a share from 0 to 0.5, such as 0.05".into())
}

/// Sends SIGTERM to a child.
pub(super) fn terminate(child: &Child) -> std::io::Result<()> {
    // SAFETY: kill takes plain integers; the child is ours and not waited for yet, so its pid has
    // not been given to another process.
    match unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGTERM) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// A day of several lasts longer than its flow by this, seconds: logins, last answers.
const DAY_SLACK: u64 = 4;

/// Answers that may take this long are waited for at the end.
const PATIENCE_NS: u64 = 60_000_000_000;

pub fn run(a: Arguments) -> anyhow::Result<ExitCode> {
    let symbols = match &a.data {
        Some(_) => vec!["AAPL".to_string()],
        None => (0..a.symbols).map(symbol_name).collect(),
    };
    // Files first: a fault in a name is told at once.
    let oracle = match &a.bbo {
        Some(path) => Some(oracle(path)?),
        None => None,
    };
    let rows = match &a.data {
        Some(path) => Some((path.as_path(), CommandReader::open(path)?)),
        None => None,
    };
    let interrupt = Interrupt::watch()?;
    let day_seconds = if a.days > 1 { a.seconds + DAY_SLACK } else { 0 };
    let plan = Plan::make(symbols, &a.durability, day_seconds, a.path)?;
    let done = match a.days {
        1 => run_in(&a, rows, oracle, &plan, &interrupt),
        _ => run_days(&a, &plan, &interrupt),
    };
    if a.keep {
        say!("kept: {} and {}", plan.dir.display(), plan.hot.display());
    } else {
        plan.remove();
    }
    match (done, interrupt.signal()) {
        // Whatever failed did so because it was told to stop, here or in a child.
        (Err(_), Some(signal)) => {
            eprintln!("rialto: interrupted; the exchange and the subscriber are ended");
            Ok(ExitCode::from(128 + signal))
        }
        (done, _) => done,
    }
}

/// AAA, AAB, ...: names that nobody mistakes for a listed company's.
fn symbol_name(index: u16) -> String {
    let letter = |n: u16| (b'A' + (n % 26) as u8) as char;
    format!("SYM{}{}", letter(index / 26), letter(index))
}

/// The way that the exchange's datagrams take, and why no better one.
fn path_line(plan: &Plan, exchange: &Exchange) -> String {
    match &plan.wire {
        Some(_) => format!("path: {} over veth", exchange.path()),
        None => format!("path: udp on loopback ({})", plan.why_loopback),
    }
}

fn run_in(
    a: &Arguments,
    rows: Option<(&Path, CommandReader)>,
    oracle: Option<Vec<expect::Quote>>,
    plan: &Plan,
    interrupt: &Interrupt,
) -> anyhow::Result<ExitCode> {
    say!("rialto demo: a stock exchange, four brokers and two subscribers on this machine");
    // Subscribers first: then the first message of the day is no gap.
    let clock = SystemClock::new();
    let judge = Judge::start(plan, a.loss, a.data.is_some(), None)?;
    let viewer = Viewer::start(plan, clock, a.loss)?;
    let mut exchange = Exchange::start(plan, a.loss, interrupt)?;
    say!("{}", path_line(plan, &exchange));
    say!("exchange: {}", exchange.ready);
    let mut desks = Desks::new(plan, clock, a.loss, a.data.is_some())?;
    desks.log_in(interrupt)?;
    say!(
        "brokers: 4 logged in; subscribers: 2 listening on {} and {}",
        plan.groups[0],
        plan.groups[1]
    );

    let mut crashes = Crashes::new(a, &clock, interrupt.clone());
    let begin = clock.now();
    match rows {
        Some((path, rows)) => {
            say!("flow: {}, one order in flight", path.display());
            let limit = a.rows.unwrap_or(u64::MAX);
            one_in_flight(rows, limit, &mut desks, &clock, &viewer, &mut exchange, &mut crashes)?;
        }
        None => {
            say!(
                "flow: {} orders a second in {} symbols for {} s, open loop, seed {}",
                grouped(a.rate),
                a.symbols,
                a.seconds,
                a.seed
            );
            let options = SyntheticOptions::random_symbols(a.seed, a.symbols, a.rate, a.seconds);
            open_loop(
                Synthetic::new(&options)?,
                &mut desks,
                &clock,
                &viewer,
                &mut exchange,
                &mut crashes,
            )?;
        }
    }
    let waiting_since = clock.now();
    while desks.unanswered() > 0 && clock.now().since(waiting_since) < PATIENCE_NS {
        if desks.poll() == 0 {
            std::thread::yield_now();
        }
        viewer.tell(&desks.tally);
        interrupt.check()?;
    }
    let nanos = clock.now().since(begin);
    exchange.check()?;

    let feed_next = settled_feed(&exchange, &mut desks, interrupt)?;
    let seen = judge.finish(feed_next, interrupt)?;
    let viewed = viewer.finish(feed_next, interrupt)?;
    let (_, status) = exchange.status()?;
    exchange.stop(Signal::Term)?;
    let outcome = Outcome::judge(report::Evidence {
        desks: &desks,
        seen: &seen,
        viewed: &viewed,
        status: &status,
        day: &exchange.day,
        feed_next,
        nanos,
        crashes: crashes.restarts(),
        oracle,
    })?;
    outcome.print();
    if let Some(path) = &a.json {
        let text = format!("{:#}\n", outcome.json());
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    let faults = outcome.faults();
    for fault in &faults {
        eprintln!("FAULT: {fault}");
    }
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Several days, one after the other, in one process of the exchange.
fn run_days(a: &Arguments, plan: &Plan, interrupt: &Interrupt) -> anyhow::Result<ExitCode> {
    say!("rialto demo: a stock exchange over {} days, four brokers and two subscribers", a.days);
    let clock = SystemClock::new();
    let judge = Judge::start(plan, a.loss, false, Some(a.days))?;
    let viewer = Viewer::start(plan, clock, a.loss)?;
    let mut exchange = Exchange::start(plan, a.loss, interrupt)?;
    let mut desks = Desks::new(plan, clock, a.loss, false)?;
    let mut crashes = Crashes::new(a, &clock, interrupt.clone());
    let mut days = Vec::new();
    for day in 0..a.days {
        if day > 0 {
            exchange.wait_ready(interrupt)?;
        } else {
            say!("{}", path_line(plan, &exchange));
        }
        say!("exchange: day {}, {}", exchange.day_name(), exchange.ready);
        desks.log_in(interrupt)?;
        say!(
            "flow: {} orders a second in {} symbols for {} s, seed {}",
            grouped(a.rate),
            a.symbols,
            a.seconds,
            a.seed + day
        );
        let before = desks.tally;
        let options = SyntheticOptions::random_symbols(a.seed + day, a.symbols, a.rate, a.seconds);
        let flow = Synthetic::new(&options)?;
        open_loop(flow, &mut desks, &clock, &viewer, &mut exchange, &mut crashes)?;
        let dir = exchange.day.clone();
        let limit_ns = plan.day_seconds * 1_000_000_000 + PATIENCE_NS;
        days.push(days::end(dir, &mut desks, before, &viewer, limit_ns, interrupt)?);
        say!("exchange: day {} is over", exchange.day_name());
    }
    let seen = judge.finish_days(interrupt)?;
    let viewed = viewer.finish_days(a.days, interrupt)?;
    exchange.stop(Signal::Term)?;
    let outcome = days::judge(plan, &days, &seen, &viewed, exchange.path())?;
    outcome.print();
    if let Some(path) = &a.json {
        let text = format!("{:#}\n", outcome.json);
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    for fault in &outcome.faults {
        eprintln!("FAULT: {fault}");
    }
    Ok(if outcome.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Best-quote states of a file.
fn oracle(path: &Path) -> anyhow::Result<Vec<expect::Quote>> {
    let mut states = Vec::new();
    for state in BboReader::open(path)? {
        let s = state?;
        states.push([s.ask.0 as u64, s.ask_quantity, s.bid.0 as u64, s.bid_quantity]);
    }
    Ok(states)
}

/// Waits until the exchange has published all that it will: two of its statuses that agree.
fn settled_feed(
    exchange: &Exchange,
    desks: &mut Desks,
    interrupt: &Interrupt,
) -> anyhow::Result<u64> {
    let mut last: Option<(SystemTime, u64)> = None;
    for _ in 0..100 {
        for _ in 0..30 {
            desks.poll();
            std::thread::sleep(Duration::from_millis(10));
            interrupt.check()?;
        }
        let (written, status) = exchange.status()?;
        let next = status["feed_next"].as_u64().context("feed_next in the exchange's status")?;
        match last {
            // It has had no CPU since: the same words again say nothing.
            Some((before, _)) if before == written => {}
            Some((_, before)) if before == next => return Ok(next),
            _ => last = Some((written, next)),
        }
    }
    bail!("the feed does not come to rest")
}

fn one_in_flight(
    rows: CommandReader,
    limit: u64,
    desks: &mut Desks,
    clock: &SystemClock,
    viewer: &Viewer,
    exchange: &mut Exchange,
    crashes: &mut Crashes,
) -> anyhow::Result<()> {
    for (i, row) in rows.enumerate() {
        if i as u64 >= limit {
            break;
        }
        let row: FlowCommand = row?;
        while !desks.send(&row, clock.now())? {
            desks.poll();
        }
        desks.flush();
        let since = clock.now();
        while !desks.idle() {
            if desks.poll() == 0 {
                std::thread::yield_now();
            }
            if clock.now().since(since) > PATIENCE_NS {
                bail!("row {} has no answer after 15 s", i + 1);
            }
            crashes.step(clock, exchange)?;
        }
        viewer.tell(&desks.tally);
        crashes.step(clock, exchange)?;
    }
    crashes.finish(exchange)
}

fn open_loop(
    flow: Synthetic,
    desks: &mut Desks,
    clock: &SystemClock,
    viewer: &Viewer,
    exchange: &mut Exchange,
    crashes: &mut Crashes,
) -> anyhow::Result<()> {
    let start = clock.now();
    let mut flow = flow.peekable();
    while let Some(row) = flow.peek() {
        let mut sent = false;
        let now = clock.now();
        let mut due = start.plus(row.at_ns);
        while due <= now {
            let Some(row) = flow.peek() else { break };
            due = start.plus(row.at_ns);
            if due > now || !desks.send(row, due)? {
                break;
            }
            sent = true;
            flow.next();
        }
        if sent {
            desks.flush();
        }
        if desks.poll() == 0 && !sent {
            std::thread::yield_now();
        }
        viewer.tell(&desks.tally);
        crashes.step(clock, exchange)?;
    }
    crashes.finish(exchange)
}

/// When the exchange is ended and started again.
struct Crashes {
    left: u32,
    done: u32,
    signal: Signal,
    next: Nanos,
    gap_ns: u64,
    interrupt: Interrupt,
}

impl Crashes {
    fn new(a: &Arguments, clock: &SystemClock, interrupt: Interrupt) -> Crashes {
        // Spread over the flow, away from its ends; odd steps, so that they fall anywhere.
        let length = if a.data.is_some() { 4_000_000_000 } else { a.seconds * 1_000_000_000 };
        let gap_ns = length * 10 / (a.crash as u64 * 10 + 13);
        let next = clock.now().plus(gap_ns + a.seed % 1_000 * 1_000_003);
        Crashes { left: a.crash, done: 0, signal: a.signal, next, gap_ns, interrupt }
    }

    /// Ends the exchange when it is time to; error when the demo itself is to stop.
    fn step(&mut self, clock: &SystemClock, exchange: &mut Exchange) -> anyhow::Result<()> {
        self.interrupt.check()?;
        let now = clock.now();
        if self.left == 0 || now < self.next {
            return Ok(());
        }
        exchange.stop(self.signal)?;
        exchange.restart()?;
        self.left -= 1;
        self.done += 1;
        self.next = clock.now().plus(self.gap_ns);
        Ok(())
    }

    /// A flow that ended early still gets its crashes.
    fn finish(&mut self, exchange: &mut Exchange) -> anyhow::Result<()> {
        while self.left > 0 {
            exchange.stop(self.signal)?;
            exchange.restart()?;
            self.left -= 1;
            self.done += 1;
        }
        Ok(())
    }

    fn restarts(&self) -> u32 {
        self.done
    }
}
