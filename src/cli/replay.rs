//! `rialto replay`: any past state of a day, and the proof that its two logs agree.

use super::record::plain;
use super::text::{counted, grouped, money, parse_time, say, time_of_day};
use anyhow::{Context, bail};
use clap::Args;
use rialto::exchange::Exchange;
use rialto::exchange::event::{Event, EventBody};
use rialto::replay::{Replayed, Until, genesis, replay};
use rialto::store::DayView;
use rialto::types::*;
use std::path::PathBuf;
use std::process::ExitCode;

/// Rebuilds a day's state from its command log and shows it
///
/// Needs nothing but the day's directory; the exchange may be running.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  rialto replay data/2026-01-31                         state at the end of the log
  rialto replay data/2026-01-31 --verify                does the event log say the same?
  rialto replay data/2026-01-31 --at 120000 --book ALPH the book after command 120,000
  rialto replay data/2026-01-31 --at 10:15:00.25 --account A001
  rialto replay data/2026-01-31 --order 8589934594      everything that happened to one order")]
pub struct Arguments {
    /// The day's directory
    dir: PathBuf,
    /// Compare every event with the event log; exit code 1 when one differs
    #[arg(long)]
    verify: bool,
    /// Stop after this command's number, or at this time of day (HH:MM:SS[.fraction], venue's zone)
    #[arg(long, value_name = "SEQ|TIME")]
    at: Option<String>,
    /// Show this symbol's book
    #[arg(long, value_name = "SYMBOL", conflicts_with_all = ["order", "account"])]
    book: Option<String>,
    /// Show what happened to this order reference, and how it stands
    #[arg(long, value_name = "REFERENCE", conflicts_with = "account")]
    order: Option<u64>,
    /// Show this account's cash, shares and open orders
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// One JSON object instead of text (state only)
    #[arg(long, conflicts_with_all = ["book", "order", "account"])]
    json: bool,
}

pub fn run(a: Arguments) -> anyhow::Result<ExitCode> {
    let view = DayView::open(&a.dir).with_context(|| {
        format!("{} cannot be read as a day's directory, such as data/2026-01-31", a.dir.display())
    })?;
    let until = match &a.at {
        None => Until::End,
        Some(text) if text.contains(':') => {
            let of_day = parse_time(text)
                .with_context(|| format!("--at {text}: write HH:MM:SS[.fraction], or a number"))?;
            Until::Time(genesis(&view)?.midnight.plus(of_day))
        }
        Some(text) => Until::Seq(Seq(text
            .parse()
            .with_context(|| format!("--at {text}: write a command's number, or HH:MM:SS"))?)),
    };
    let mut history: Vec<(Nanos, Event)> = Vec::new();
    let on_event = |time: Nanos, event: &Event| {
        if a.order.is_some_and(|wanted| concerns(event, OrderRef(wanted))) {
            history.push((time, *event));
        }
    };
    let done = replay(&view, until, a.verify, on_event, |seq| {
        eprintln!("replayed {} commands", grouped(seq.0));
    })?;
    let x = &done.exchange;
    if a.json {
        say!("{:#}", state_json(&done));
    } else {
        print_state(&done, a.verify);
        if let Some(symbol) = &a.book {
            print_book(x, symbol)?;
        }
        if let Some(reference) = a.order {
            print_order(x, OrderRef(reference), &history)?;
        }
        if let Some(account) = &a.account {
            print_account(x, account)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn state_json(done: &Replayed) -> serde_json::Value {
    serde_json::json!({
        "commands": done.seq.0,
        "time_ns": done.time.0,
        "events": done.events,
        "verified": done.verified,
        "feed_next": done.feed_next,
        "halted_before": done.halted_before.map(|seq| seq.0),
        "resting": done.exchange.open_orders(),
        "state_hash": format!("{:016x}", done.exchange.state_hash()),
    })
}

fn print_state(done: &Replayed, verify: bool) {
    let x = &done.exchange;
    let at = time_of_day(done.time.since(x.genesis().midnight));
    say!("after command {} at {at}:", grouped(done.seq.0));
    if let Some(seq) = done.halted_before {
        say!("  command {} killed the exchange and is not void: not applied", grouped(seq.0));
    }
    say!("  events made    {:>15}", grouped(done.events));
    if verify {
        say!("  agreed         {:>15}  with the event log, byte for byte", grouped(done.verified));
        if done.verified < done.events {
            let missing = done.events - done.verified;
            say!("  not there yet  {:>15}  the next start writes them", grouped(missing));
        }
    }
    say!("  resting orders {:>15}", grouped(x.open_orders() as u64));
    say!("  next on feed   {:>15}", grouped(done.feed_next));
    say!("  state hash    {:016x}", x.state_hash());
}

fn locate_of(x: &Exchange, symbol: &str) -> anyhow::Result<Locate> {
    let symbols = &x.genesis().symbols;
    match symbols.iter().position(|s| s.symbol.text() == symbol) {
        Some(i) => Ok(Locate(i as u16 + 1)),
        None => {
            let known: Vec<String> = symbols.iter().map(|s| s.symbol.text()).collect();
            bail!("symbol {symbol} is not traded on this day; there are: {}", known.join(", "))
        }
    }
}

fn print_book(x: &Exchange, symbol: &str) -> anyhow::Result<()> {
    let locate = locate_of(x, symbol)?;
    for (side, name) in [(Side::Sell, "offers"), (Side::Buy, "bids")] {
        say!("  {symbol} {name}, best first:");
        for level in x.levels(locate, side) {
            say!(
                "    {:>12}  {:>12} shares in {}",
                money(level.price.0 as u64),
                grouped(level.quantity),
                counted(level.count as u64, "order")
            );
        }
    }
    Ok(())
}

/// True when the event is about this order.
fn concerns(event: &Event, reference: OrderRef) -> bool {
    match event.body {
        EventBody::Accepted(b) => b.order_ref == reference,
        EventBody::Executed(b) => b.order_ref == reference,
        EventBody::Rested(b) => b.order_ref == reference,
        EventBody::Canceled(b) => b.order_ref == reference,
        EventBody::Replaced(b) => b.order_ref == reference || b.old_ref == reference,
        _ => false,
    }
}

fn print_order(
    x: &Exchange,
    reference: OrderRef,
    history: &[(Nanos, Event)],
) -> anyhow::Result<()> {
    if history.is_empty() {
        bail!("no order has reference {} up to there; `rialto log` lists them", reference.0);
    }
    let midnight = x.genesis().midnight;
    for (time, event) in history {
        let at = time_of_day(time.since(midnight));
        let what = plain(&format!("{:?}", event.body));
        say!("  {at}  command {:>9}  {what}", event.head.command.0);
    }
    let symbols = x.genesis().symbols.len() as u16;
    let resting = (1..=symbols)
        .flat_map(|l| [Side::Buy, Side::Sell].map(|side| (Locate(l), side)))
        .flat_map(|(l, side)| x.orders(l, side).collect::<Vec<_>>())
        .find(|o| o.order_ref == reference);
    match resting {
        Some(o) => say!("  rests: {} open at {}", o.open.0, money(o.price.0 as u64)),
        None => say!("  does not rest"),
    }
    Ok(())
}

fn print_account(x: &Exchange, name: &str) -> anyhow::Result<()> {
    let genesis = x.genesis();
    let Some(slot) = genesis.accounts.iter().position(|a| a.name.text() == name) else {
        let known: Vec<String> = genesis.accounts.iter().map(|a| a.name.text()).collect();
        bail!("account {name} does not exist on this day; there are: {}", known.join(", "))
    };
    let Some(account) = x.account(AccountSlot(slot as u16)) else { return Ok(()) };
    say!("  account {name}");
    say!("    cash free {:>18}", money(account.cash_free.0));
    say!("    cash held {:>18}", money(account.cash_held.0));
    for p in &account.positions {
        let symbol = genesis.symbols[p.locate.0 as usize - 1].symbol;
        say!("    {symbol:<8}  {:>12} free {:>12} held", grouped(p.free), grouped(p.held));
    }
    for l in 1..=genesis.symbols.len() as u16 {
        for side in [Side::Buy, Side::Sell] {
            for o in x.orders(Locate(l), side).filter(|o| o.account.0 as usize == slot) {
                say!(
                    "    order {} {} {} {} at {}",
                    o.order_ref.0,
                    if side == Side::Buy { "buy" } else { "sell" },
                    o.open.0,
                    genesis.symbols[l as usize - 1].symbol.text(),
                    money(o.price.0 as u64)
                );
            }
        }
    }
    Ok(())
}
