//! A subscriber in one page: prints every message of the feed and the best prices as they change.
//!
//! ```text
//! cargo run --example feed_printer -- 239.192.0.1:9101 239.192.0.2:9102 127.0.0.1 127.0.0.1:9103
//! ```
//!
//! Arguments: line A, line B, address of the own interface, repair server; without any, those of
//! `rialto.toml`.

mod common;

use common::say;
use rialto::broker::Decimal;
use rialto::clock::{Clock, SystemClock};
use rialto::subscriber::{
    Bbo, BookMirror, Execution, FeedAddresses, FeedHandler, FeedListener, FeedOptions,
    MirrorListener, Top,
};
use rialto::types::*;
use rialto::wire::itch::Message;
use std::net::SocketAddrV4;
use std::process::ExitCode;

/// Everything the feed tells goes through here, once and in order.
#[derive(Default)]
struct Printer {
    books: BookMirror,
}

/// What the books tell while a message is applied.
struct Prices;

impl FeedListener for Printer {
    fn on_message(&mut self, sequence: u64, payload: &[u8], end_of_packet: bool) {
        match Message::decode(payload) {
            Ok(message) => say!("{sequence:>9}  {}", line(&message)),
            Err(error) => say!("{sequence:>9}  not a message of this feed: {error:?}"),
        }
        if let Err(error) = self.books.apply(payload, end_of_packet, &mut Prices) {
            eprintln!("the books are wrong from here on: {error}");
        }
    }

    fn on_session(&mut self, session: SessionName) {
        say!("session {session}");
        self.books.clear();
    }

    fn on_lost(&mut self, from: u64, count: u64) {
        eprintln!("{count} messages from {from} on are lost; the books are wrong from here on");
    }

    fn on_end(&mut self, next: u64) {
        say!("end of session after message {}, books {:016x}", next - 1, self.books.digest());
    }
}

impl MirrorListener for Prices {
    fn on_execution(&mut self, e: &Execution) {
        say!("           trade of symbol {}: {} at {}", e.locate.0, e.quantity.0, decimal(e.price));
    }

    fn on_bbo(&mut self, locate: Locate, bbo: &Bbo, _timestamp: u64) {
        let show = |top: Option<Top>| match top {
            Some(top) => format!("{} for {}", top.quantity, decimal(top.price)),
            None => "-".to_string(),
        };
        say!("           symbol {}: bid {}, offer {}", locate.0, show(bbo.bid), show(bbo.ask));
    }
}

fn decimal(price: Price) -> Decimal {
    Decimal(u64::from(price.0))
}

/// A message in words (`rialto::wire::itch` has every field).
fn line(message: &Message) -> String {
    match message {
        Message::System(m) => format!("system event {}", char::from(m.code)),
        Message::Directory(m) => format!("symbol {} is {}", m.prefix.locate.0, m.symbol),
        Message::TradingAction(m) => format!("{} is in state {}", m.symbol, char::from(m.state)),
        Message::Add(m) => format!(
            "{} {} {} at {}, order {}",
            if m.side == Side::Buy { "buy" } else { "sell" },
            m.quantity.0,
            m.symbol,
            decimal(m.price),
            m.order_ref.0
        ),
        Message::Executed(m) => format!("order {} executed: {}", m.order_ref.0, m.quantity.0),
        Message::ExecutedAt(m) => {
            format!("order {} executed: {} at {}", m.order_ref.0, m.quantity.0, decimal(m.price))
        }
        Message::Canceled(m) => format!("order {} less {}", m.order_ref.0, m.quantity.0),
        Message::Deleted(m) => format!("order {} gone", m.order_ref.0),
        Message::Replaced(m) => format!(
            "order {} is now {}: {} at {}",
            m.old_ref.0,
            m.order_ref.0,
            m.quantity.0,
            decimal(m.price)
        ),
    }
}

const USAGE: &str = "\
feed_printer [GROUP_A:PORT GROUP_B:PORT INTERFACE REPAIR:PORT]
  such as 239.192.0.1:9101 239.192.0.2:9102 127.0.0.1 127.0.0.1:9103, which is also what it takes
  without arguments; INTERFACE is the IPv4 address of this host's interface to the venue";

/// The venue that `rialto.toml` describes.
const EXAMPLE: [&str; 4] = ["239.192.0.1:9101", "239.192.0.2:9102", "127.0.0.1", "127.0.0.1:9103"];

/// What the command line names, or why it cannot be read.
fn addresses(arguments: &[String]) -> Result<FeedAddresses, String> {
    let texts = match arguments {
        [] => EXAMPLE,
        [a, b, interface, repair] => [a, b, interface, repair].map(String::as_str),
        _ => return Err(USAGE.into()),
    };
    let [group_a, group_b, interface, repair] = texts;
    let wrong = |text: &str, what: &str| format!("{text:?} is no {what}\n{USAGE}");
    let endpoint = |text: &str| {
        text.parse::<SocketAddrV4>().map_err(|_| wrong(text, "IPv4 address with a port"))
    };
    let interface = interface.parse().map_err(|_| wrong(interface, "IPv4 address"))?;
    let (group_a, group_b) = (endpoint(group_a)?, endpoint(group_b)?);
    Ok(FeedAddresses { group_a, group_b, interface, repair: vec![endpoint(repair)?] })
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|word| word == "--help" || word == "-h") {
        say!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match addresses(&arguments).and_then(|addresses| follow(&addresses)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// Prints until the session ends.
fn follow(addresses: &FeedAddresses) -> Result<(), String> {
    let joined = FeedHandler::join(addresses, FeedOptions::default());
    let mut handler = joined.map_err(|error| error.to_string())?;
    let mut printer = Printer::default();
    let clock = SystemClock::new();
    while !handler.finished() {
        if handler.poll(clock.now(), &mut printer) == 0 {
            std::thread::yield_now();
        }
    }
    let told = handler.counters();
    say!("{} messages, {} repaired, {} lost", told.messages, told.repaired, told.lost);
    Ok(())
}
