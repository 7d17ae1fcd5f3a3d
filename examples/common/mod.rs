//! What the example programs share: options as `--name value` pairs, and joining the venue.
#![allow(dead_code)] // each program uses its part

use rialto::broker::{Broker, BrokerConfig, BrokerEvent, Gone, refusal_text};
use rialto::net::UdpPort;
use rialto::subscriber::{
    BookMirror, Execution, FeedAddresses, FeedHandler, FeedListener, FeedOptions, MirrorListener,
};
use rialto::types::*;
use std::io::Write;
use std::net::SocketAddrV4;
use std::process::exit;

/// `println!` for somebody who may stop reading (`| head`): then the program ends.
macro_rules! say {
    ($($text:tt)*) => { $crate::common::print_line(format_args!($($text)*)) };
}
pub(crate) use say;

/// See the macro.
pub fn print_line(line: std::fmt::Arguments<'_>) {
    if writeln!(std::io::stdout(), "{line}").is_err() {
        exit(0)
    }
}

/// Prints what is wrong and how to do it right, and ends.
pub fn fail(what: &str) -> ! {
    eprintln!("{what}");
    exit(1)
}

/// `--name value` pairs of the command line.
pub struct Options {
    pairs: Vec<(String, String)>,
    usage: &'static str,
}

impl Options {
    pub fn read(usage: &'static str) -> Options {
        let mut pairs = Vec::new();
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            match (name.strip_prefix("--"), arguments.next()) {
                (Some(name), Some(value)) => pairs.push((name.to_string(), value)),
                _ => fail(usage),
            }
        }
        Options { pairs, usage }
    }

    /// The value of `--name`, read by `parse`; `default` when it is not given.
    pub fn get<T>(&mut self, name: &str, default: &str, parse: fn(&str) -> Option<T>) -> T {
        let given = self.pairs.iter().position(|(n, _)| n == name);
        let text = given.map_or(default.to_string(), |at| self.pairs.remove(at).1);
        parse(&text).unwrap_or_else(|| fail(&format!("--{name} {text:?}?\n{}", self.usage)))
    }

    /// As `get`, for an option that may be left out.
    pub fn find<T>(&mut self, name: &str, parse: fn(&str) -> Option<T>) -> Option<T> {
        self.pairs.iter().any(|(n, _)| n == name).then(|| self.get(name, "", parse))
    }

    /// No other options were given.
    pub fn done(self) {
        if let Some((name, _)) = self.pairs.first() {
            fail(&format!("unknown option --{name}\n{}", self.usage));
        }
    }
}

pub fn number(text: &str) -> Option<u64> {
    text.replace('_', "").parse().ok()
}

/// `10.05` -> 1/10,000.
pub fn price(text: &str) -> Option<Price> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let part: u32 = format!("{part:0<4}").get(..4)?.parse().ok()?;
    whole.parse::<u32>().ok()?.checked_mul(10_000)?.checked_add(part).map(Price)
}

/// `500ms`, `30s`, `5m` -> ns.
pub fn duration(text: &str) -> Option<u64> {
    let units = [("ms", 1_000_000), ("s", 1_000_000_000), ("m", 60_000_000_000)];
    units.iter().find_map(|(unit, ns)| number(text.strip_suffix(unit)?)?.checked_mul(*ns))
}

pub fn address(text: &str) -> Option<SocketAddrV4> {
    text.parse().ok()
}

/// 64 hex digits, or one byte 32 times as `01*32`.
pub fn key(text: &str) -> Option<[u8; 32]> {
    let text = match text.strip_suffix("*32") {
        Some(byte) => byte.repeat(32),
        None => text.to_string(),
    };
    let mut key = [0; 32];
    for (i, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    (text.len() == 64).then_some(key)
}

/// The session named by `--user`, `--key` and `--gateway`.
pub fn session(options: &mut Options, user: &str, user_key: &str) -> BrokerConfig {
    let user = options.get("user", user, User::new);
    let key = options.get("key", user_key, key);
    let gateway = options.get("gateway", "127.0.0.1:9001", address);
    BrokerConfig::new(user, key, vec![gateway])
}

/// A session over a socket of its own.
pub fn connect(config: BrokerConfig) -> Broker<UdpPort> {
    let any = SocketAddrV4::new(std::net::Ipv4Addr::UNSPECIFIED, 0);
    let port = UdpPort::bind(any).unwrap_or_else(|e| fail(&e.to_string()));
    Broker::new(config, port).unwrap_or_else(|e| fail(&e.to_string()))
}

/// Tells of the session itself; ends the program when another login took over.
pub fn tell(event: &BrokerEvent) {
    match event {
        BrokerEvent::LoggedIn(l) => say!("logged in at {} as {}", l.gateway, l.name),
        BrokerEvent::Refused { why, .. } => say!("login refused: {}", refusal_text(*why)),
        BrokerEvent::Disconnected(Gone::Displaced) => fail("another login of this user took over"),
        BrokerEvent::Disconnected(gone) => say!("disconnected ({gone:?}), logging in again"),
        BrokerEvent::EndOfDay => {
            say!("the day is over");
            exit(0)
        }
        _ => {}
    }
}

/// The venue's feed as far as these programs need it: the books, and the trades of one symbol.
pub struct Market {
    feed: Option<FeedHandler<UdpPort>>,
    books: BookMirror,
    trades: Trades,
}

/// Trades of one symbol since the program began.
pub struct Trades {
    symbol: Symbol,
    locate: Option<Locate>,
    pub last: Option<Price>,
    pub shares: u64,
    pub cash: u128,
}

impl MirrorListener for Trades {
    fn on_execution(&mut self, e: &Execution) {
        if self.locate == Some(e.locate) {
            self.last = Some(e.price);
            self.shares += e.quantity.0 as u64;
            self.cash += e.price.times(e.quantity).0 as u128;
        }
    }
}

struct Listener<'a>(&'a mut BookMirror, &'a mut Trades);

impl FeedListener for Listener<'_> {
    fn on_message(&mut self, _sequence: u64, payload: &[u8], end_of_packet: bool) {
        let Listener(books, trades) = self;
        // A message that contradicts the feed leaves the books as they were.
        if let Err(error) = books.apply(payload, end_of_packet, *trades) {
            eprintln!("feed: {error}");
        }
        trades.locate = trades.locate.or_else(|| books.locate(trades.symbol));
    }

    fn on_session(&mut self, _session: SessionName) {
        self.0.clear();
        self.1.locate = None;
    }
}

impl Market {
    /// Joins the feed of `--feed-a`, `--feed-b`, `--repair`, `--interface`; without it (no
    /// multicast here) the program goes on and sees its own reports only.
    pub fn join(options: &mut Options, symbol: Symbol) -> Market {
        let addresses = FeedAddresses {
            group_a: options.get("feed-a", "239.192.0.1:9101", address),
            group_b: options.get("feed-b", "239.192.0.2:9102", address),
            interface: options.get("interface", "127.0.0.1", |t| t.parse().ok()),
            repair: vec![options.get("repair", "127.0.0.1:9103", address)],
        };
        let feed = FeedHandler::join(&addresses, FeedOptions::default())
            .map_err(|error| say!("no market data: {error}"))
            .ok();
        let trades = Trades { symbol, locate: None, last: None, shares: 0, cash: 0 };
        Market { feed, books: BookMirror::new(0), trades }
    }

    pub fn poll(&mut self, now: Nanos) {
        if let Some(feed) = &mut self.feed {
            feed.poll(now, &mut Listener(&mut self.books, &mut self.trades));
        }
    }

    pub fn has_feed(&self) -> bool {
        self.feed.is_some()
    }

    pub fn trades(&self) -> &Trades {
        &self.trades
    }

    /// Trades from here on only: those of earlier today came by repair.
    pub fn forget_trades(&mut self) {
        self.trades.shares = 0;
        self.trades.cash = 0;
    }

    /// True when everything known of the feed is here (or there is no feed).
    pub fn is_caught_up(&self) -> bool {
        self.feed.as_ref().is_none_or(|feed| feed.missing() == 0 && feed.session().is_some())
    }

    /// Best bid and offer of the symbol.
    pub fn best(&self) -> (Option<Price>, Option<Price>) {
        let Some(locate) = self.trades.locate else { return (None, None) };
        let bbo = self.books.bbo(locate);
        let bbo = bbo.unwrap_or_default();
        (bbo.bid.map(|top| top.price), bbo.ask.map(|top| top.price))
    }
}
