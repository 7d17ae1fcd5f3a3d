//! The second subscriber, in a thread of the demo: rebuilds the books and shows them live.

use super::desks::Tally;
use super::interrupt::Interrupt;
use super::plan::Plan;
use crate::cli::mirror::SessionLog;
use crate::cli::text::{grouped, money};
use anyhow::bail;
use rialto::clock::{Clock, SystemClock};
use rialto::net::{AnyPort, LossyPort, UdpPort};
use rialto::subscriber::{
    BookMirror, Execution, FeedCounters, FeedHandler, FeedListener, FeedOptions, MirrorListener,
};
use rialto::types::SessionName;
use std::io::{IsTerminal, Write};
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Symbols shown live.
const SHOWN: usize = 5;

#[derive(Default)]
struct Shared {
    sent: AtomicU64,
    answered: AtomicU64,
    executions: AtomicU64,
    until: AtomicU64,
    sessions: AtomicU64,
}

/// The thread and what it is told.
pub struct Viewer {
    thread: JoinHandle<Viewed>,
    shared: Arc<Shared>,
    clock: SystemClock,
}

/// What it saw.
pub struct Viewed {
    /// Counters of the feed.
    pub counters: FeedCounters,
    /// Digest of the books.
    pub digest: u64,
    /// The sessions it followed.
    pub sessions: SessionLog,
    /// First contradiction in the feed.
    pub error: Option<String>,
}

#[derive(Default)]
struct Trades {
    count: u64,
    last: Option<Execution>,
}

impl MirrorListener for Trades {
    fn on_execution(&mut self, execution: &Execution) {
        self.count += 1;
        self.last = Some(*execution);
    }
}

struct Listener {
    mirror: BookMirror,
    trades: Trades,
    sessions: SessionLog,
    error: Option<String>,
}

impl FeedListener for Listener {
    fn on_message(&mut self, sequence: u64, payload: &[u8], end_of_packet: bool) {
        self.sessions.message(sequence, payload);
        if let Err(e) = self.mirror.apply(payload, end_of_packet, &mut self.trades)
            && self.error.is_none()
        {
            self.error = Some(format!("message {sequence}: {e}"));
        }
    }

    fn on_session(&mut self, session: SessionName) {
        self.sessions.begin(session);
        self.mirror.clear();
    }

    fn on_end(&mut self, next: u64) {
        self.sessions.end(next);
    }
}

impl Viewer {
    /// Joins the groups and starts the thread.
    pub fn start(plan: &Plan, clock: SystemClock, loss_ppm: u32) -> anyhow::Result<Viewer> {
        let lossy = |port: UdpPort, seed| match loss_ppm {
            0 => AnyPort::Udp(port),
            ppm => AnyPort::Lossy(LossyPort::new(port, seed, ppm)),
        };
        let interface = plan.own;
        let feed = FeedHandler::new(
            lossy(UdpPort::join(plan.groups[0], interface)?, 71),
            lossy(UdpPort::join(plan.groups[1], interface)?, 72),
            lossy(UdpPort::bind(SocketAddrV4::new(interface, 0))?, 73),
            vec![plan.repair],
            FeedOptions::default(),
        );
        let shared = Arc::new(Shared::default());
        shared.until.store(u64::MAX, Ordering::Relaxed);
        shared.sessions.store(u64::MAX, Ordering::Relaxed);
        let (told, time) = (shared.clone(), clock);
        let thread = std::thread::Builder::new()
            .name("viewer".into())
            .spawn(move || follow(feed, told, time))?;
        Ok(Viewer { thread, shared, clock })
    }

    /// Shows it the brokers' figures.
    pub fn tell(&self, tally: &Tally) {
        self.shared.sent.store(tally.sent, Ordering::Relaxed);
        self.shared.answered.store(tally.answered(), Ordering::Relaxed);
        self.shared.executions.store(tally.executions, Ordering::Relaxed);
    }

    /// Lets it go on to message `next - 1` and takes what it saw.
    pub fn finish(self, next: u64, interrupt: &Interrupt) -> anyhow::Result<Viewed> {
        self.shared.until.store(next, Ordering::Release);
        self.join(&format!("message {next} of the feed"), interrupt)
    }

    /// Lets it go on to the end of `days` sessions and takes what it saw.
    pub fn finish_days(self, days: u64, interrupt: &Interrupt) -> anyhow::Result<Viewed> {
        self.shared.sessions.store(days, Ordering::Release);
        self.join("the end of its last day", interrupt)
    }

    fn join(self, wanted: &str, interrupt: &Interrupt) -> anyhow::Result<Viewed> {
        let since = self.clock.now();
        while !self.thread.is_finished() {
            if self.clock.now().since(since) > 60_000_000_000 {
                bail!("the viewer did not reach {wanted} within 60 s");
            }
            interrupt.check()?;
            std::thread::sleep(Duration::from_millis(10));
        }
        match self.thread.join() {
            Ok(viewed) => Ok(viewed),
            Err(_) => bail!("the viewer panicked; its reason stands above"),
        }
    }
}

fn follow(mut feed: FeedHandler<AnyPort>, shared: Arc<Shared>, clock: SystemClock) -> Viewed {
    let mut listener = Listener {
        mirror: BookMirror::new(1 << 16),
        trades: Trades::default(),
        sessions: SessionLog::default(),
        error: None,
    };
    let mut screen = Screen { terminal: std::io::stdout().is_terminal(), lines: 0 };
    let start = clock.now();
    let interval = if screen.terminal { 200_000_000 } else { 1_000_000_000 };
    let mut next_view = start.plus(interval);
    while feed.next() < shared.until.load(Ordering::Acquire)
        && listener.sessions.ended() < shared.sessions.load(Ordering::Acquire)
    {
        let now = clock.now();
        if feed.poll(now, &mut listener) == 0 {
            std::thread::sleep(Duration::from_micros(500));
        }
        if now >= next_view {
            next_view = now.plus(interval);
            screen.show(&view(now.since(start), &feed, &listener, &shared));
        }
    }
    listener.mirror.end_of_command(&mut listener.trades);
    Viewed {
        counters: feed.counters(),
        digest: listener.mirror.digest(),
        sessions: listener.sessions,
        error: listener.error,
    }
}

fn view(ns: u64, feed: &FeedHandler<AnyPort>, seen: &Listener, shared: &Shared) -> Vec<String> {
    let get = |counter: &AtomicU64| grouped(counter.load(Ordering::Relaxed));
    let c = feed.counters();
    let mut lines = vec![format!(
        "{:>3} s  sent {:>9}  answered {:>9}  executions {:>8}  |  feed {:>9}  gaps {}  repaired {}",
        ns / 1_000_000_000,
        get(&shared.sent),
        get(&shared.answered),
        get(&shared.executions),
        grouped(c.messages),
        c.gaps,
        c.repaired
    )];
    for (locate, symbol) in seen.mirror.symbols().take(SHOWN) {
        let Some(bbo) = seen.mirror.bbo(locate) else { continue };
        let side = |top: Option<rialto::subscriber::Top>| match top {
            Some(t) => format!("{:>8} @ {:>9}", grouped(t.quantity), money(t.price.0 as u64)),
            None => format!("{:>20}", "-"),
        };
        lines.push(format!("       {:<8} {}  |  {}", symbol.symbol, side(bbo.bid), side(bbo.ask)));
    }
    lines
}

/// Redraws in place on a terminal; otherwise prints the first line of each view.
struct Screen {
    terminal: bool,
    lines: usize,
}

impl Screen {
    fn show(&mut self, view: &[String]) {
        let mut out = std::io::stdout().lock();
        // A closed pipe ends the view, not the demo.
        let _ = if self.terminal {
            let up = if self.lines > 0 { format!("\x1b[{}A", self.lines) } else { String::new() };
            self.lines = view.len();
            let text: String = view.iter().map(|l| format!("{l}\x1b[K\n")).collect();
            write!(out, "{up}{text}")
        } else {
            writeln!(out, "{}", view[0])
        };
        let _ = out.flush();
    }
}
