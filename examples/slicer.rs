//! A slicer: works one large order in small pieces, evenly over time or as a share of the volume
//! that the market trades, and tells how the price compares.
//!
//!     cargo run --release --example slicer -- --symbol ALPH --buy 1000 --over 30s
//!     cargo run --release --example slicer -- --symbol ALPH --sell 1000 --share 10 --over 5m
//!
//! Each piece is immediate or cancel, so nothing of the parent order is ever left in the book, and
//! only one piece is under way at a time: what is not done is known before more is sent.

mod common;

use common::*;
use rialto::broker::*;
use rialto::clock::{Clock, SystemClock};
use rialto::types::*;
use std::process::exit;
use std::time::Duration;

const USAGE: &str = "\
slicer --symbol ALPH --buy 1000 --over 30s
  --buy SHARES | --sell SHARES   the whole order
  --over TIME        even pieces over this time; with --share the time limit   [30s]
  --share PERCENT    instead of even pieces: this share of the market's volume
  --limit PRICE      never worse than this                                     [none: market]
  --piece SHARES     most in one piece                                         [1000]
  --every TIME       between pieces                                            [500ms]
  --user U --key K --gateway IP:PORT            [ALFA01 01*32 127.0.0.1:9001]
  --feed-a --feed-b --repair IP:PORT --interface IP   [those of rialto.toml]";

struct Parent {
    side: Side,
    symbol: Symbol,
    quantity: u64,
    over_ns: u64,
    share: Option<u64>,
    limit: Price,
    piece_max: u64,
    every_ns: u64,
}

impl Parent {
    /// Shares that should be executed by now.
    fn scheduled(&self, elapsed_ns: u64, others_volume: u64) -> u64 {
        let due = match self.share {
            None => {
                (self.quantity as u128 * elapsed_ns.min(self.over_ns) as u128
                    / self.over_ns as u128) as u64
            }
            // Own trades are volume too: share = own / (own + others').
            Some(share) => others_volume.saturating_mul(share) / (100 - share),
        };
        due.min(self.quantity)
    }
}

fn main() {
    let mut options = Options::read(USAGE);
    let config = BrokerConfig {
        start_at: StartAt::Live, // this program is about its own pieces only
        cancel_on_disconnect: true,
        keep_unsettled: false,
        ..session(&mut options, "ALFA01", "01*32")
    };
    let (buy, sell) = (options.find("buy", number), options.find("sell", number));
    let (side, quantity) = match (buy, sell) {
        (Some(quantity), None) if quantity > 0 => (Side::Buy, quantity),
        (None, Some(quantity)) if quantity > 0 => (Side::Sell, quantity),
        _ => fail(USAGE),
    };
    let parent = Parent {
        side,
        symbol: options.get("symbol", "ALPH", Symbol::new),
        quantity,
        over_ns: options.get("over", "30s", duration).max(1),
        share: options.find("share", |t| number(t).filter(|share| (1..=90).contains(share))),
        limit: options.find("limit", price).unwrap_or(Price::MARKET),
        piece_max: options.get("piece", "1000", number).clamp(1, 999_999),
        every_ns: options.get("every", "500ms", duration),
    };
    let mut market = Market::join(&mut options, parent.symbol);
    options.done();
    if parent.share.is_some() && !market.has_feed() {
        fail("--share needs market data; give --feed-a, --feed-b, --repair and --interface");
    }

    let clock = SystemClock::new();
    let mut broker = connect(config);
    let mut own = OwnOrders::new();
    let mut started: Option<Nanos> = None;
    let mut next_piece = Nanos(0);
    let mut pending: Option<Sent> = None;
    let (mut rejected, mut lost) = (false, false);
    let mut arrival = (None, None);
    loop {
        let now = clock.now();
        market.poll(now);
        let work = broker.poll(now, |event| {
            tell(&event);
            match event {
                BrokerEvent::Report { report, .. } => match own.apply(&report) {
                    Some(Change::Executed { .. }) => say!("{}", Words(&report)),
                    Some(Change::Rejected { .. }) => {
                        say!("{}", Words(&report));
                        rejected = true;
                    }
                    _ => {}
                },
                BrokerEvent::Settled(settled)
                    if pending.is_some_and(|sent| sent.sequence == settled.sequence)
                        && settled.by != SettledBy::Report =>
                {
                    // Nothing of it was done. Or that is unknown: then its reports, if there are any, come
                    // before this is caught up, and no other piece goes out until then.
                    pending = None;
                }
                // Reports of before cannot be had any more: how much of the order is done is not known.
                BrokerEvent::SessionChanged { .. } if started.is_some() => {
                    say!("the session is another one: look up what is done before you go on");
                    lost = true;
                }
                BrokerEvent::LoggedOff => exit(0),
                _ => {}
            }
        });
        if work == 0 {
            std::thread::sleep(Duration::from_micros(200));
        }
        if broker.state() == State::LoggingOff {
            continue;
        }
        // A piece is over when its order is: filled, cancelled or refused.
        if let Some(sent) = pending
            && broker.unsettled() == 0
            && own.get(sent.urn).is_none()
        {
            pending = None;
        }
        if lost || rejected && pending.is_none() {
            report(&own, &parent, &market, arrival);
            broker.logoff();
            continue;
        }
        if !broker.is_caught_up() || !broker.is_bound() || pending.is_some() {
            continue;
        }
        let Some(start) = started else {
            if market.is_caught_up() {
                market.forget_trades();
                arrival = market.best();
                started = Some(now);
                next_piece = now.plus(parent.every_ns);
            }
            continue;
        };
        let position = own.position(parent.symbol);
        let done = position.bought + position.sold;
        let elapsed = now.since(start);
        if done >= parent.quantity || elapsed > parent.over_ns.saturating_add(parent.every_ns) {
            report(&own, &parent, &market, arrival);
            broker.logoff();
            continue;
        }
        if now < next_piece {
            continue;
        }
        let others = market.trades().shares.saturating_sub(done);
        let due = parent.scheduled(elapsed, others).saturating_sub(done).min(parent.piece_max);
        if due > 0 {
            let quantity = Quantity(due as u32);
            let order = NewOrder::immediate(parent.side, parent.symbol, quantity, parent.limit);
            pending = broker.enter(&order).ok();
            broker.flush(now);
            next_piece = now.plus(parent.every_ns);
        }
    }
}

/// Average cash per share in 1/10,000.
fn average(cash: u128, shares: u64) -> u64 {
    (cash / shares.max(1) as u128) as u64
}

fn report(
    own: &OwnOrders,
    parent: &Parent,
    market: &Market,
    arrival: (Option<Price>, Option<Price>),
) {
    let p = own.position(parent.symbol);
    let (done, cash) = (p.bought + p.sold, p.paid + p.received);
    say!("{done} of {} {} done", parent.quantity, parent.symbol);
    if done > 0 {
        say!("average price        {}", Decimal(average(cash, done)));
    }
    if let (Some(bid), Some(ask)) = arrival {
        let middle = (bid.0 as u64 + ask.0 as u64) / 2;
        say!("middle when it began {}", Decimal(middle));
    }
    let trades = market.trades();
    if trades.shares > 0 {
        say!("market's average     {}", Decimal(average(trades.cash, trades.shares)));
        say!("share of its volume  {} %", done * 100 / trades.shares.max(done).max(1));
    }
}
