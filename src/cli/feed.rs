//! `rialto feed`: what a subscriber sees.
//!
//! Follows both lines with repair, as any subscriber's program would, and shows the messages, a
//! book, or records the day. Everything is done by [`FeedHandler`] and [`BookMirror`]; this file
//! is arguments and presentation.

use super::text::{grouped, money, say, time_of_day};
use anyhow::{Context, bail};
use clap::Args;
use rialto::agent::{Agent, Runner, RunnerOptions};
use rialto::clock::SystemClock;
use rialto::config::Config;
use rialto::net::{LossyPort, Port, UdpPort};
use rialto::subscriber::{
    BookMirror, Execution, FeedAddresses, FeedCounters, FeedHandler, FeedListener, FeedOptions,
    MirrorListener, Top,
};
use rialto::types::*;
use rialto::wire::itch::{Message, Prefix};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Shows the market-data feed as a subscriber sees it: messages, or the book of a symbol
///
/// Joins both multicast lines, takes each message from whichever line has it first, repairs what
/// both lost, and tells every message once and in order. The exchange need not run on this host.
/// Ends with the trading day. Exit code 1: messages were lost, or nothing was heard.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  rialto feed                              every message from now on, one per line
  rialto feed --from 1                     the whole day: what was sent before comes by repair
  rialto feed --book ALPH                  the book of ALPH, live, with the last trades
  rialto feed --record day.itch --from 1   also write the day: u16 length + message (BINARYFILE)
  rialto feed --loss 0.2 --from 1 --quiet --json --seconds 10   throw every fifth datagram away
  rialto feed --group-a 239.192.0.1:9101 --group-b 239.192.0.2:9102 \\
      --request 10.1.0.1:9103 --interface 10.1.0.7")]
pub struct Arguments {
    /// Configuration of the exchange: groups, repair address and interface are read from it
    #[arg(long, default_value = "rialto.toml", value_name = "FILE")]
    config: PathBuf,
    /// Line A; with --group-b, instead of a configuration
    #[arg(long, value_name = "GROUP:PORT", requires = "group_b")]
    group_a: Option<SocketAddrV4>,
    /// Line B
    #[arg(long, value_name = "GROUP:PORT", requires = "group_a")]
    group_b: Option<SocketAddrV4>,
    /// Repair server; may be given more than once, asked in turn when one is silent
    #[arg(long, value_name = "ADDRESS:PORT")]
    request: Vec<SocketAddrV4>,
    /// Address of the network interface on which the groups are joined
    #[arg(long, value_name = "ADDRESS")]
    interface: Option<Ipv4Addr>,
    /// Follow this session only (10 characters); else the first heard, or the next where its end was missed
    #[arg(long)]
    session: Option<String>,
    /// First message wanted; 0 = from now on. A book needs the day from 1 [default: 0, 1 with --book]
    #[arg(long, value_name = "NUMBER")]
    from: Option<u64>,
    /// Show the book of this symbol instead of messages
    #[arg(long, value_name = "SYMBOL")]
    book: Option<String>,
    /// Price levels of each side that --book shows
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=100))]
    levels: u16,
    /// Write the messages to this file, each as u16 length and bytes: a day file of ITCH 5.0
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Show no messages, only the summary at the end
    #[arg(long, conflicts_with = "book")]
    quiet: bool,
    /// The summary as one JSON object; with --quiet nothing else stands on standard output
    #[arg(long)]
    json: bool,
    /// Stop after so many messages
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Stop after so many seconds
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Throw away this share of all datagrams received, repair included (0.05 = every twentieth)
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    loss: f64,
}

/// Runs the command. Exit code 1 when messages were lost or contradict each other, or no session was
/// heard.
pub fn run(a: Arguments) -> anyhow::Result<ExitCode> {
    let addresses = addresses(&a)?;
    let options = options(&a)?;
    let drop_per_million = per_million(a.loss)?;
    let handler = join(&addresses, options, drop_per_million)?;
    let record = match &a.record {
        None => None,
        Some(path) => {
            let file = File::create(path)
                .with_context(|| format!("{} cannot be written", path.display()))?;
            Some(BufWriter::with_capacity(1 << 20, file))
        }
    };
    let symbol = match &a.book {
        None => None,
        Some(name) => Some(
            Symbol::new(name)
                .with_context(|| format!("--book {name}: a symbol has up to 8 characters"))?,
        ),
    };
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, stop.clone()).context("signals cannot be caught")?;
    }
    if !a.json {
        eprintln!(
            "feed {} and {} on {}, repair {}",
            addresses.group_a,
            addresses.group_b,
            addresses.interface,
            match addresses.repair.as_slice() {
                [] => "none".to_string(),
                servers => servers.iter().map(|s| s.to_string()).collect::<Vec<_>>().join(", "),
            }
        );
    }
    let clock = SystemClock::new();
    let mut runner = RunnerOptions::new(clock, stop.clone());
    runner.park_fds = handler.ports().into_iter().filter_map(|p| p.poll_fd()).collect();
    let outcome = Arc::new(Mutex::new(Outcome::default()));
    let follower = Follower {
        handler,
        view: View {
            symbol,
            levels: a.levels as usize,
            quiet: a.quiet,
            whole: options.from == 1,
            record,
            mirror: BookMirror::default(),
            trades: VecDeque::new(),
            out: BufWriter::with_capacity(1 << 16, io::stdout()),
            live: io::stdout().is_terminal(),
            locate: None,
            told: 0,
            told_max: a.count.unwrap_or(u64::MAX),
            changed: false,
            failure: None,
            contradiction: None,
        },
        from: options.from,
        started: None,
        drawn: Nanos(0),
        run_ns: a.seconds.map_or(u64::MAX, |s| s.saturating_mul(1_000_000_000)),
        stop,
        outcome: outcome.clone(),
    };
    Runner::new("feed", vec![Box::new(follower)], runner).run_here()?;
    let outcome = std::mem::take(&mut *outcome.lock().unwrap_or_else(|e| e.into_inner()));
    match outcome.failure {
        // Whoever read our output has seen enough.
        Some(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
        Some(error) => return Err(error).context("output cannot be written"),
        None if a.json => {
            say!("{}", outcome.json());
            if let Some(why) = outcome.why_none() {
                eprintln!("{why}");
            }
        }
        None => say!("{}", outcome.text()),
    }
    Ok(if outcome.is_good() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Where the feed is: options first, then the configuration.
fn addresses(a: &Arguments) -> anyhow::Result<FeedAddresses> {
    if let (Some(group_a), Some(group_b)) = (a.group_a, a.group_b) {
        for (name, group) in [("--group-a", group_a), ("--group-b", group_b)] {
            if !group.ip().is_multicast() {
                bail!("{name} {group}: must be a multicast group, 224.0.0.0 to 239.255.255.255");
            }
        }
        let interface = a.interface.unwrap_or(Ipv4Addr::UNSPECIFIED);
        return Ok(FeedAddresses { group_a, group_b, interface, repair: a.request.clone() });
    }
    let config = Config::load(&a.config)
        .context("give --group-a and --group-b to follow a feed without a configuration")?;
    Ok(FeedAddresses {
        group_a: config.feed.a,
        group_b: config.feed.b,
        interface: a.interface.unwrap_or(config.feed.interface),
        repair: if a.request.is_empty() { vec![config.feed.repair] } else { a.request.clone() },
    })
}

fn options(a: &Arguments) -> anyhow::Result<FeedOptions> {
    let session = match &a.session {
        None => None,
        Some(name) if name.len() == 10 => SessionName::new(name),
        Some(name) => bail!("--session {name}: a session name has 10 characters, as RIALTOA318"),
    };
    let from = a.from.unwrap_or(u64::from(a.book.is_some()));
    if a.book.is_some() && from != 1 {
        bail!(
            "--from {from}: a book needs the day from message 1, which is the default with --book"
        );
    }
    Ok(FeedOptions { session, from, ..FeedOptions::default() })
}

fn per_million(share: f64) -> anyhow::Result<u32> {
    if !(0.0..1.0).contains(&share) {
        bail!("--loss {share}: must be a share from 0 to below 1, as 0.05");
    }
    // In range by the check above.
    Ok((share * 1e6) as u32)
}

type TestPort = LossyPort<UdpPort>;

fn join(
    addresses: &FeedAddresses,
    options: FeedOptions,
    drop_per_million: u32,
) -> anyhow::Result<FeedHandler<TestPort>> {
    let FeedAddresses { group_a, group_b, interface, repair } = addresses.clone();
    let lossy = |port: UdpPort, seed| LossyPort::new(port, seed, drop_per_million);
    let line_a = UdpPort::join(group_a, interface)?;
    let line_b = UdpPort::join(group_b, interface)?;
    let request = UdpPort::bind(SocketAddrV4::new(interface, 0))?;
    Ok(FeedHandler::new(lossy(line_a, 1), lossy(line_b, 2), lossy(request, 3), repair, options))
}

/// How it went.
#[derive(Default)]
struct Outcome {
    counters: FeedCounters,
    session: Option<SessionName>,
    /// First message wanted; 0 = from now on.
    from: u64,
    next: u64,
    missing: u64,
    ended: bool,
    open_orders: usize,
    digest: Option<u64>,
    contradiction: Option<String>,
    failure: Option<io::Error>,
}

impl Outcome {
    fn session(&self) -> String {
        self.session.map_or_else(|| "-".into(), |s| s.text())
    }

    fn is_good(&self) -> bool {
        self.session.is_some() && self.counters.lost == 0 && self.contradiction.is_none()
    }

    fn json(&self) -> String {
        let c = &self.counters;
        serde_json::json!({
            "session": self.session.map(|s| s.text()),
            "next": self.next,
            "ended": self.ended,
            "messages": c.messages,
            "packets_a": c.packets_a,
            "packets_b": c.packets_b,
            "packets_repair": c.packets_repair,
            "heartbeats": c.heartbeats,
            "gaps": c.gaps,
            "repaired": c.repaired,
            "lost": c.lost,
            "missing": self.missing,
            "duplicates": c.duplicates,
            "refused": c.refused,
            "malformed": c.malformed,
            "foreign": c.foreign,
            "requests": c.requests,
            "timeouts": c.timeouts,
            "open_orders": self.open_orders,
            "digest": self.digest.map(|d| format!("{d:016x}")),
            "contradiction": self.contradiction,
        })
        .to_string()
    }

    /// Why no message came, where that is known.
    fn why_none(&self) -> Option<String> {
        let c = &self.counters;
        Some(match self.session {
            _ if c.messages > 0 => return None,
            None if c.foreign > 0 => {
                "only other sessions were heard: without --session the first one is taken".into()
            }
            None => "nothing was heard of it: does the venue run, and do its groups reach this interface?"
                .into(),
            Some(_) if c.lost > 0 && c.requests == 0 => {
                "nobody was asked for what is lost: --request names a repair server".into()
            }
            Some(_) if self.missing > 0 && c.packets_repair == 0 => {
                "no repair server has answered".into()
            }
            Some(_) if self.missing == 0 && self.next <= self.from => {
                format!("it has not come to message {} yet", grouped(self.from))
            }
            Some(_) => return None,
        })
    }

    fn text(&self) -> String {
        let c = &self.counters;
        let mut text = format!(
            "session {}: {} messages, next {}{}\n\
             packets A {}, B {}, repair {}; gaps {}, repaired {}, lost {}",
            self.session(),
            grouped(c.messages),
            grouped(self.next),
            if self.ended { ", ended" } else { "" },
            grouped(c.packets_a),
            grouped(c.packets_b),
            grouped(c.packets_repair),
            grouped(c.gaps),
            grouped(c.repaired),
            grouped(c.lost),
        );
        if self.missing > 0 {
            let _ = write!(text, ", still missing {}", grouped(self.missing));
        }
        if c.malformed + c.foreign > 0 {
            let _ = write!(text, "; dropped: malformed {}, foreign {}", c.malformed, c.foreign);
        }
        if let Some(why) = self.why_none() {
            let _ = write!(text, "\n{why}");
        }
        if let Some(digest) = self.digest {
            let orders = grouped(self.open_orders as u64);
            let _ = write!(text, "\nbooks: {orders} open orders, digest {digest:016x}");
        }
        if let Some(contradiction) = &self.contradiction {
            let _ = write!(text, "\nthe books are wrong: {contradiction}");
        }
        text
    }
}

/// The agent: polls, draws, knows when to stop.
struct Follower {
    handler: FeedHandler<TestPort>,
    view: View,
    from: u64,
    started: Option<Nanos>,
    drawn: Nanos,
    run_ns: u64,
    stop: Arc<AtomicBool>,
    outcome: Arc<Mutex<Outcome>>,
}

/// Pictures of a book per second: more cannot be read.
const DRAW_INTERVAL_NS: u64 = 200_000_000;

impl Agent for Follower {
    fn name(&self) -> &'static str {
        "feed"
    }

    fn duty_cycle(&mut self, now: Nanos) -> usize {
        let started = *self.started.get_or_insert(now);
        let taken = self.handler.poll(now, &mut self.view);
        let view = &mut self.view;
        if view.changed && view.live && now.since(self.drawn) >= DRAW_INTERVAL_NS {
            self.drawn = now;
            view.draw(&self.handler.counters());
        }
        if taken == 0 {
            view.flush();
        }
        let done = self.handler.finished()
            || view.told >= view.told_max
            || view.failure.is_some()
            || view.contradiction.is_some()
            || now.since(started) >= self.run_ns;
        if done {
            self.stop.store(true, Ordering::Relaxed);
        }
        taken
    }

    fn housekeeping(&mut self, _now: Nanos) {
        // Else only the next message would find out, and on a quiet line there is none for hours.
        if !self.view.quiet && reader_gone() {
            self.view.failure.get_or_insert(io::ErrorKind::BrokenPipe.into());
        }
    }
}

/// True when nobody can read standard output any more: a pipe without a reader, a terminal that is
/// closed. One system call.
fn reader_gone() -> bool {
    let mut polled = libc::pollfd { fd: io::stdout().as_raw_fd(), events: 0, revents: 0 };
    // SAFETY: `polled` is one pollfd, exclusively borrowed; a timeout of 0 returns at once (poll(2)).
    let found = unsafe { libc::poll(&mut polled, 1, 0) };
    found > 0 && polled.revents & (libc::POLLERR | libc::POLLHUP) != 0
}

impl Drop for Follower {
    /// The runner drops its agents when it stops: the last word.
    fn drop(&mut self) {
        let view = &mut self.view;
        if view.symbol.is_some() {
            view.draw(&self.handler.counters());
        }
        view.flush();
        let followed = view.whole && view.contradiction.is_none();
        let mut outcome = self.outcome.lock().unwrap_or_else(|e| e.into_inner());
        *outcome = Outcome {
            counters: FeedCounters { messages: view.told, ..self.handler.counters() },
            session: self.handler.session(),
            from: self.from,
            next: self.handler.next(),
            missing: self.handler.missing(),
            ended: self.handler.finished(),
            open_orders: view.mirror.open_orders(),
            digest: followed.then(|| view.mirror.digest()),
            contradiction: view.contradiction.take(),
            failure: view.failure.take(),
        };
    }
}

/// What is shown and kept.
struct View {
    symbol: Option<Symbol>,
    levels: usize,
    quiet: bool,
    /// Followed from 1: the books can be built.
    whole: bool,
    record: Option<BufWriter<File>>,
    mirror: BookMirror,
    trades: VecDeque<Execution>,
    out: BufWriter<io::Stdout>,
    /// Standard output is a terminal: draw over the last picture.
    live: bool,
    /// Locate of `symbol`, once the directory said it.
    locate: Option<Locate>,
    told: u64,
    told_max: u64,
    changed: bool,
    failure: Option<io::Error>,
    contradiction: Option<String>,
}

/// Trades shown below a book.
const TRADES_SHOWN: usize = 5;

struct Trades<'a> {
    locate: Option<Locate>,
    trades: &'a mut VecDeque<Execution>,
}

impl MirrorListener for Trades<'_> {
    fn on_execution(&mut self, execution: &Execution) {
        if self.locate == Some(execution.locate) {
            self.trades.push_front(*execution);
            self.trades.truncate(TRADES_SHOWN);
        }
    }
}

impl FeedListener for View {
    fn on_message(&mut self, sequence: u64, payload: &[u8], end_of_packet: bool) {
        if self.told >= self.told_max || self.contradiction.is_some() {
            return;
        }
        self.told += 1;
        if let Some(record) = &mut self.record
            && let Err(error) = write_block(record, payload)
        {
            self.failure = Some(error);
        }
        if self.whole {
            if self.locate.is_none() {
                self.locate = self.symbol.and_then(|s| self.mirror.locate(s));
            }
            let mut trades = Trades { locate: self.locate, trades: &mut self.trades };
            if let Err(error) = self.mirror.apply(payload, end_of_packet, &mut trades) {
                self.contradiction = Some(format!("message {sequence}: {error}"));
            }
            self.changed = true;
        }
        if self.symbol.is_none() && !self.quiet {
            let line = line(sequence, payload);
            self.keep(|out| writeln!(out, "{line}"));
        }
    }

    fn on_session(&mut self, session: SessionName) {
        self.mirror.clear();
        self.trades.clear();
        self.locate = None;
        if self.symbol.is_none() && !self.quiet {
            self.keep(|out| writeln!(out, "session {}", session.text()));
        }
    }

    fn on_lost(&mut self, from: u64, count: u64) {
        let last = from + count - 1;
        if self.whole {
            self.contradiction = Some(format!("messages {from} to {last} are lost"));
        }
        self.keep(|out| writeln!(out, "lost {from} to {last}"));
    }

    fn on_end(&mut self, next: u64) {
        if self.symbol.is_none() && !self.quiet {
            self.keep(|out| writeln!(out, "end of session, next {next}"));
        }
    }
}

/// BINARYFILE: length, message.
fn write_block(out: &mut impl Write, payload: &[u8]) -> io::Result<()> {
    // A message of a packet is shorter than 1,400 bytes.
    out.write_all(&(payload.len() as u16).to_be_bytes())?;
    out.write_all(payload)
}

impl View {
    fn keep(&mut self, write: impl FnOnce(&mut BufWriter<io::Stdout>) -> io::Result<()>) {
        if let Err(error) = write(&mut self.out) {
            self.failure.get_or_insert(error);
        }
    }

    fn flush(&mut self) {
        self.keep(|out| out.flush());
        if let Some(record) = &mut self.record
            && let Err(error) = record.flush()
        {
            self.failure.get_or_insert(error);
        }
    }

    fn draw(&mut self, counters: &FeedCounters) {
        self.changed = false;
        let Some(symbol) = self.symbol else { return };
        let picture = picture(&self.mirror, symbol, self.levels, &self.trades, counters);
        let clear = if self.live { "\x1b[H\x1b[2J" } else { "" };
        self.keep(|out| {
            write!(out, "{clear}{picture}")?;
            out.flush()
        });
    }
}

/// The ladder: bids left, offers right, best in the first line.
fn picture(
    mirror: &BookMirror,
    symbol: Symbol,
    levels: usize,
    trades: &VecDeque<Execution>,
    c: &FeedCounters,
) -> String {
    let mut text = String::new();
    let Some(locate) = mirror.locate(symbol) else {
        let known: Vec<String> = mirror.symbols().map(|s| s.1.symbol.to_string()).collect();
        let known = if known.is_empty() { "nothing yet".into() } else { known.join(", ") };
        return format!("{symbol}: not in the directory of this session, which has {known}\n");
    };
    let state = mirror.symbols().find(|s| s.0 == locate).map_or(0, |s| s.1.state);
    let state = match state {
        b'T' => "trading",
        b'H' => "halted",
        b'P' => "paused",
        _ => "state unknown",
    };
    let _ = writeln!(
        text,
        "{}  {state}   {} messages, gaps {}, repaired {}, lost {}",
        symbol.text(),
        grouped(c.messages),
        c.gaps,
        c.repaired,
        c.lost
    );
    let _ = writeln!(
        text,
        "{:>7} {:>11} {:>12} | {:<12} {:>11} {:>7}",
        "orders", "shares", "bid", "offer", "shares", "orders"
    );
    let mut bids = mirror.levels(locate, Side::Buy);
    let mut asks = mirror.levels(locate, Side::Sell);
    for _ in 0..levels {
        let (bid, ask) = (bids.next(), asks.next());
        if bid.is_none() && ask.is_none() {
            break;
        }
        let price = |t: Top| money(u64::from(t.price.0));
        let bid = bid.map_or(format!("{:32}", ""), |t| {
            format!("{:>7} {:>11} {:>12}", t.orders, grouped(t.quantity), price(t))
        });
        let ask = ask.map_or(String::new(), |t| {
            format!("{:<12} {:>11} {:>7}", price(t), grouped(t.quantity), t.orders)
        });
        let _ = writeln!(text, "{}", format!("{bid} | {ask}").trim_end());
    }
    for trade in trades {
        let _ = writeln!(
            text,
            "{} match {}: {} at {}, {}",
            time_of_day(trade.timestamp),
            trade.match_number.0,
            grouped(u64::from(trade.quantity.0)),
            money(u64::from(trade.price.0)),
            if trade.side == Side::Buy { "sold into the bid" } else { "bought from the offer" }
        );
    }
    text
}

/// One message as people read it.
fn line(sequence: u64, payload: &[u8]) -> String {
    let Ok(message) = Message::decode(payload) else {
        let hex: String = payload.iter().take(40).map(|b| format!("{b:02x}")).collect();
        return format!("{sequence:>9} not ITCH as sent here: {hex}");
    };
    let Prefix { locate, tracking, timestamp } = *message.prefix();
    let body = match message {
        Message::System(m) => format!("S system {}", m.code as char),
        Message::Directory(m) => format!("R {} is {}, lot {}", locate.0, m.symbol, m.round_lot),
        Message::TradingAction(m) => {
            format!("H {} {} {}", m.symbol, m.state as char, m.reason).trim_end().to_string()
        }
        Message::Add(m) => format!(
            "A {} {} {} {} at {}",
            m.order_ref.0,
            m.symbol.text(),
            m.side.letter() as char,
            m.quantity.0,
            money(u64::from(m.price.0))
        ),
        Message::Executed(m) => {
            format!("E {} {} match {}", m.order_ref.0, m.quantity.0, m.match_number.0)
        }
        Message::ExecutedAt(m) => format!(
            "C {} {} at {} match {}",
            m.order_ref.0,
            m.quantity.0,
            money(u64::from(m.price.0)),
            m.match_number.0
        ),
        Message::Canceled(m) => format!("X {} less {}", m.order_ref.0, m.quantity.0),
        Message::Deleted(m) => format!("D {}", m.order_ref.0),
        Message::Replaced(m) => format!(
            "U {} -> {} {} at {}",
            m.old_ref.0,
            m.order_ref.0,
            m.quantity.0,
            money(u64::from(m.price.0))
        ),
    };
    format!("{sequence:>9} {} {tracking:>5} {:>3} {body}", time_of_day(timestamp), locate.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sees_no_message_is_told_why() {
        let session = SessionName::new("RIALTOA318");
        let none = FeedCounters::default();
        let foreign = FeedCounters { foreign: 4, ..none };
        let lost = FeedCounters { lost: 24, ..none };
        let asked = FeedCounters { requests: 3, ..none };
        let answered = FeedCounters { packets_repair: 1, ..asked };
        for (session, counters, from, next, missing, why) in [
            (None, none, 0, 0, 0, Some("nothing was heard")),
            (None, foreign, 0, 0, 0, Some("only other sessions")),
            (session, none, 900, 900, 0, Some("not come to message 900")),
            (session, lost, 1, 25, 0, Some("nobody was asked")),
            (session, asked, 900, 900, 5, Some("no repair server has answered")),
            (session, answered, 900, 900, 5, None),
            (session, none, 0, 25, 0, None),
        ] {
            let found = Outcome { session, counters, from, next, missing, ..Outcome::default() };
            let text = found.text();
            assert_eq!(text.lines().nth(2).is_some(), why.is_some(), "{text}");
            assert!(text.contains(why.unwrap_or("")), "{text}");
            assert_eq!(found.is_good(), session.is_some() && counters.lost == 0, "{text}");
        }
    }
}
