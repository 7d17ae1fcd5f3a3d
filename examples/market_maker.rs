//! A market maker: quotes both sides of one symbol around a middle that follows the trades, leans
//! against its own position, and takes its quotes with it when it goes.
//!
//!     cargo run --release --example market_maker -- --user BRVO01 --key 03*32 --symbol ALPH --mid 10.00
//!
//! What to look at: quotes move by replace, one message at a time, and never to a price at which
//! the two would trade with each other; the position is bounded by not quoting the side that would
//! enlarge it; cancel on disconnect is asked for, so that a crash leaves no quotes behind.

mod common;

use common::*;
use rialto::broker::*;
use rialto::clock::{Clock, SystemClock};
use rialto::net::UdpPort;
use rialto::types::*;
use std::time::Duration;

const USAGE: &str = "\
market_maker --user BRVO01 --key 03*32 --symbol ALPH --mid 10.00
  --mid PRICE        middle to begin with                    [10.00]
  --spread PRICE     between own bid and own offer           [0.04]
  --tick PRICE       the symbol's tick                       [0.01]
  --size SHARES      of each quote                           [500]
  --position SHARES  most that may be held or owed           [5000]
  --for TIME         such as 60s; then log off and end       [forever]
  --user U --key K --gateway IP:PORT                         [BRVO01 03*32 127.0.0.1:9001]
  --feed-a --feed-b --repair IP:PORT --interface IP          [those of rialto.toml]";

struct Settings {
    symbol: Symbol,
    spread: u32,
    tick: u32,
    size: u32,
    position_max: i64,
}

/// One side of the quote.
struct Quote {
    side: Side,
    /// Message under way: nothing else is sent for this side until it is settled.
    pending: Option<u64>,
    /// After a refusal: nothing before this.
    pause_until: Nanos,
}

fn main() {
    let mut options = Options::read(USAGE);
    let mut config = session(&mut options, "BRVO01", "03*32");
    config.cancel_on_disconnect = true;
    config.dead_time_ms = 1_000;
    config.keep_unsettled = false; // a quote that waited for a reconnect is worth nothing
    let settings = Settings {
        symbol: options.get("symbol", "ALPH", Symbol::new),
        spread: options.get("spread", "0.04", price).0,
        tick: options.get("tick", "0.01", price).0.max(1),
        size: options.get("size", "500", number) as u32,
        position_max: options.get("position", "5000", number) as i64,
    };
    let mut middle = options.get("mid", "10.00", price);
    let until = options.find("for", duration);
    let mut market = Market::join(&mut options, settings.symbol);
    options.done();

    let clock = SystemClock::new();
    let end = until.map(|ns| clock.now().plus(ns));
    let mut broker = connect(config);
    let mut own = OwnOrders::new();
    let mut quotes =
        [Side::Buy, Side::Sell].map(|side| Quote { side, pending: None, pause_until: Nanos(0) });
    let mut refused = None;
    let mut traded = 0;
    loop {
        let now = clock.now();
        market.poll(now);
        let trades = market.trades();
        if let (Some(last), true) = (trades.last, trades.shares != traded) {
            // A little towards each trade: following at once would let one large order push the
            // quotes in front of itself.
            traded = trades.shares;
            middle = Price((7 * middle.0 as u64 + last.0 as u64).div_euclid(8) as u32);
        }
        let work = broker.poll(now, |event| {
            tell(&event);
            match event {
                BrokerEvent::Report { report, .. } => match own.apply(&report) {
                    Some(Change::Executed { .. }) => {
                        let position = own.position(settings.symbol);
                        say!("{}; position {}", Words(&report), position.net());
                    }
                    Some(Change::Rejected { urn, .. }) => {
                        say!("{}", Words(&report));
                        refused = Some(urn);
                    }
                    _ => {}
                },
                BrokerEvent::Settled(settled) => {
                    for quote in &mut quotes {
                        if quote.pending == Some(settled.sequence) {
                            quote.pending = None;
                            if refused.take().is_some() {
                                quote.pause_until = now.plus(1_000_000_000);
                            }
                        }
                    }
                }
                BrokerEvent::SessionChanged { .. } => own.clear(),
                BrokerEvent::LoggedOff => std::process::exit(0),
                _ => {}
            }
        });
        if end.is_some_and(|end| now >= end) {
            broker.logoff(); // and the exchange cancels the quotes
        } else if broker.is_bound() && broker.is_caught_up() {
            for quote in &mut quotes {
                // Nothing until the last message is settled: both prices must be known.
                if broker.unsettled() == 0 {
                    keep_quoted(quote, &settings, middle, &own, &mut broker, now);
                }
            }
            broker.flush(now);
        }
        if work == 0 {
            std::thread::sleep(Duration::from_micros(100));
        }
    }
}

/// Sends what brings one side's order to where it should be, if anything is missing.
fn keep_quoted(
    quote: &mut Quote,
    settings: &Settings,
    middle: Price,
    own: &OwnOrders,
    broker: &mut Broker<UdpPort>,
    now: Nanos,
) {
    if quote.pending.is_some() || now < quote.pause_until {
        return;
    }
    let mut live = own.live().filter(|o| o.symbol == settings.symbol && o.side == quote.side);
    let order = live.next().copied();
    if let Some(stray) = live.next() {
        // From an earlier life of this program.
        quote.pending = broker.cancel(stray.urn, Quantity(0)).ok().map(|sent| sent.sequence);
        return;
    }
    let position = own.position(settings.symbol).net();
    let room = match quote.side {
        Side::Buy => settings.position_max - position,
        Side::Sell => settings.position_max + position,
    };
    let wanted = room.clamp(0, settings.size as i64) as u32;
    let target = price_of(quote.side, settings, middle, position);
    let opposite = |o: &&OwnOrder| o.symbol == settings.symbol && o.side != quote.side;
    let target = match (quote.side, own.live().find(opposite)) {
        (Side::Buy, Some(o)) => Price(target.0.min(o.price.0.saturating_sub(settings.tick))),
        (Side::Sell, Some(o)) => Price(target.0.max(o.price.0 + settings.tick)),
        (_, None) => target,
    };
    let sent = match order {
        None if wanted > 0 => {
            let order = NewOrder::limit(quote.side, settings.symbol, Quantity(wanted), target);
            broker.enter(&order)
        }
        Some(order) if wanted == 0 => broker.cancel(order.urn, Quantity(0)),
        Some(order) if order.price != target || order.open.0 < wanted / 2 => {
            let total = Quantity(order.executed.0.saturating_add(wanted));
            broker.replace(&ReplaceOrder::new(order.urn, total, target))
        }
        _ => return,
    };
    // Full window or no session: the next turn tries again.
    quote.pending = sent.ok().map(|sent| sent.sequence);
}

/// Half the spread from the middle, moved by up to the whole spread against the position.
fn price_of(side: Side, settings: &Settings, middle: Price, position: i64) -> Price {
    let middle = middle.0 as i64;
    let spread = settings.spread as i64;
    let lean = spread * position / settings.position_max.max(1);
    let half = match side {
        Side::Buy => -spread / 2,
        Side::Sell => spread / 2,
    };
    let tick = settings.tick as i64;
    let raw = middle - lean + half;
    let ticks = match side {
        Side::Buy => raw.div_euclid(tick),
        Side::Sell => (raw + tick - 1).div_euclid(tick),
    };
    Price((ticks * tick).clamp(tick, Price::MAX.0 as i64) as u32)
}
