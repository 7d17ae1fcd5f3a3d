//! `rialto mirror` (not in the help): a subscriber in a process of its own, for the demo and suites.
//!
//! Sees nothing but the multicast lines and repair. Rebuilds the books, and on "until N" on its
//! standard input goes on to message N - 1, writes down what it saw and ends. With `--sessions N` it
//! follows the feed through N days and ends with the last one's end.

use anyhow::Context;
use clap::Args;
use rialto::clock::{Clock, SystemClock};
use rialto::net::{AnyPort, LossyPort, UdpPort};
use rialto::subscriber::{
    Bbo, BookMirror, Execution, FeedHandler, FeedListener, FeedOptions, MirrorListener,
};
use rialto::types::*;
use std::fs::File;
use std::io::{BufRead, BufWriter, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Rebuilds the books from the feed and writes them down
#[derive(Args, Debug)]
pub struct Arguments {
    #[arg(long)]
    group_a: SocketAddrV4,
    #[arg(long)]
    group_b: SocketAddrV4,
    #[arg(long)]
    repair: SocketAddrV4,
    #[arg(long, default_value = "127.0.0.1")]
    interface: Ipv4Addr,
    /// Share of datagrams to drop, parts per million
    #[arg(long, default_value_t = 0)]
    loss_ppm: u32,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Directory for result.json, fills.csv, book.csv, quotes.csv
    #[arg(long)]
    out: PathBuf,
    /// Write the distinct best-quote states of the first symbol
    #[arg(long)]
    quotes: bool,
    /// End with the end of so many sessions
    #[arg(long, default_value_t = u64::MAX)]
    sessions: u64,
}

struct Listener {
    mirror: BookMirror,
    /// CRC-32C over every message in order: evidence that none was changed.
    checksum: u32,
    sessions: SessionLog,
    seen: Seen,
    error: Option<String>,
}

/// What each session of a feed was, in order.
#[derive(Default)]
pub(in crate::cli) struct SessionLog(pub Vec<SessionSeen>);

/// One session as a subscriber had it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(in crate::cli) struct SessionSeen {
    /// Its name.
    pub name: String,
    /// Number of its first message.
    pub first: u64,
    /// Messages.
    pub messages: u64,
    /// CRC-32C over them.
    pub checksum: u32,
    /// Its end came, and with it the next number.
    pub end: Option<u64>,
}

impl SessionLog {
    /// Another session begins.
    pub fn begin(&mut self, name: SessionName) {
        self.0.push(SessionSeen { name: name.text(), ..SessionSeen::default() });
    }

    /// The next message.
    pub fn message(&mut self, sequence: u64, payload: &[u8]) {
        let Some(last) = self.0.last_mut() else { return };
        if last.messages == 0 {
            last.first = sequence;
        }
        last.messages += 1;
        last.checksum = crc32c::crc32c_append(last.checksum, payload);
    }

    /// The session's end.
    pub fn end(&mut self, next: u64) {
        if let Some(last) = self.0.last_mut() {
            last.end = Some(next);
        }
    }

    /// How many have ended.
    pub fn ended(&self) -> u64 {
        self.0.iter().filter(|s| s.end.is_some()).count() as u64
    }

    /// For a file.
    fn json(&self) -> serde_json::Value {
        let one = |s: &SessionSeen| {
            serde_json::json!({
                "name": s.name,
                "first": s.first,
                "messages": s.messages,
                "checksum": s.checksum,
                "end": s.end,
            })
        };
        self.0.iter().map(one).collect()
    }

    /// Back from the file.
    pub fn read(value: &serde_json::Value) -> Option<SessionLog> {
        let one = |v: &serde_json::Value| {
            Some(SessionSeen {
                name: v["name"].as_str()?.to_string(),
                first: v["first"].as_u64()?,
                messages: v["messages"].as_u64()?,
                checksum: v["checksum"].as_u64()? as u32,
                end: v["end"].as_u64(),
            })
        };
        value.as_array()?.iter().map(one).collect::<Option<Vec<_>>>().map(SessionLog)
    }
}

/// What the mirror tells while it is built.
struct Seen {
    fills: BufWriter<File>,
    quotes: Option<BufWriter<File>>,
    executions: u64,
    shares: u64,
    last_quote: [u64; 4],
    states: u64,
}

impl MirrorListener for Seen {
    fn on_execution(&mut self, e: &Execution) {
        self.executions += 1;
        self.shares += e.quantity.0 as u64;
        // A full disk shows as a short file, and the parent counts the lines.
        let _ = writeln!(
            self.fills,
            "{},{},{},{}",
            e.order_ref.0, e.quantity.0, e.price.0, e.match_number.0
        );
    }

    fn on_bbo(&mut self, locate: Locate, bbo: &Bbo, _timestamp: u64) {
        let (Some(out), Some(ask), Some(bid)) = (self.quotes.as_mut(), bbo.ask, bbo.bid) else {
            return;
        };
        let state = [ask.price.0 as u64, ask.quantity, bid.price.0 as u64, bid.quantity];
        if locate == Locate(1) && state != self.last_quote {
            self.last_quote = state;
            self.states += 1;
            let _ = writeln!(out, "{},{},{},{}", state[0], state[1], state[2], state[3]);
        }
    }
}

impl FeedListener for Listener {
    fn on_message(&mut self, sequence: u64, payload: &[u8], end_of_packet: bool) {
        self.checksum = crc32c::crc32c_append(self.checksum, payload);
        self.sessions.message(sequence, payload);
        if let Err(e) = self.mirror.apply(payload, end_of_packet, &mut self.seen)
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

pub fn run(a: Arguments) -> anyhow::Result<ExitCode> {
    let create = |name: &str| -> anyhow::Result<BufWriter<File>> {
        let path = a.out.join(name);
        let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(BufWriter::new(file))
    };
    std::fs::create_dir_all(&a.out)?;
    let lossy = |port: UdpPort, salt: u64| match a.loss_ppm {
        0 => AnyPort::Udp(port),
        ppm => AnyPort::Lossy(LossyPort::new(port, a.seed.wrapping_mul(31) ^ salt, ppm)),
    };
    let mut feed = FeedHandler::new(
        lossy(UdpPort::join(a.group_a, a.interface)?, 1),
        lossy(UdpPort::join(a.group_b, a.interface)?, 2),
        lossy(UdpPort::bind(SocketAddrV4::new(a.interface, 0))?, 3),
        vec![a.repair],
        FeedOptions::default(),
    );
    let seen = Seen {
        fills: create("fills.csv")?,
        quotes: if a.quotes { Some(create("quotes.csv")?) } else { None },
        executions: 0,
        shares: 0,
        last_quote: [0; 4],
        states: 0,
    };
    let (mirror, sessions) = (BookMirror::new(1 << 16), SessionLog::default());
    let mut listener = Listener { mirror, checksum: 0, sessions, seen, error: None };
    println!("listening");

    let until = Arc::new(AtomicU64::new(u64::MAX));
    let wanted = until.clone();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            if let Some(n) = line.strip_prefix("until ").and_then(|n| n.parse().ok()) {
                wanted.store(n, Ordering::Release);
            }
        }
        // The parent is gone: so is the reason to be here.
        if wanted.load(Ordering::Acquire) == u64::MAX {
            std::process::exit(3);
        }
    });

    let clock = SystemClock::new();
    while feed.next() < until.load(Ordering::Acquire) && listener.sessions.ended() < a.sessions {
        if feed.poll(clock.now(), &mut listener) == 0 {
            std::thread::sleep(Duration::from_micros(100));
        }
    }
    listener.mirror.end_of_command(&mut listener.seen);
    listener.seen.fills.flush()?;
    if let Some(quotes) = &mut listener.seen.quotes {
        quotes.flush()?;
    }
    let mirror = &listener.mirror;
    let mut book = create("book.csv")?;
    for (locate, _) in mirror.symbols() {
        for side in [Side::Buy, Side::Sell] {
            let levels: Vec<Price> = mirror.levels(locate, side).map(|l| l.price).collect();
            for price in levels {
                for order in mirror.queue(locate, side, price) {
                    writeln!(
                        book,
                        "{},{},{},{},{}",
                        locate.0,
                        side.letter() as char,
                        price.0,
                        order.order_ref.0,
                        order.quantity.0
                    )?;
                }
            }
        }
    }
    book.flush()?;
    let c = feed.counters();
    let result = serde_json::json!({
        "next": feed.next(),
        "messages": c.messages,
        "gaps": c.gaps,
        "repaired": c.repaired,
        "lost": c.lost,
        "duplicates": c.duplicates,
        "requests": c.requests,
        "executions": listener.seen.executions,
        "shares": listener.seen.shares,
        "quotes": listener.seen.states,
        "resting": mirror.open_orders(),
        "book_digest": format!("{:016x}", mirror.digest()),
        "checksum": listener.checksum,
        "sessions": listener.sessions.json(),
        "error": listener.error,
    });
    let path = a.out.join("result.json");
    std::fs::write(&path, format!("{result:#}\n"))
        .with_context(|| format!("write {}", path.display()))?;
    Ok(ExitCode::SUCCESS)
}
