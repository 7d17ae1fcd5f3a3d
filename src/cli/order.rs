//! `rialto order`: one broker, by hand. Logs in, does one thing, prints every report in words,
//! logs off.

use super::text::{say, time_of_day};
use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use rialto::broker::*;
use rialto::clock::{Clock, SystemClock};
use rialto::config::{Config, parse_money};
use rialto::net::UdpPort;
use rialto::types::*;
use rialto::wire::session::RefusedCode;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// The exchange refused what was asked for.
const REFUSED: u8 = 3;
/// Arguments or configuration do not say who logs in where.
const WRONG: u8 = 2;
/// After a message is settled, reports are still printed for this long.
const AFTER_NS: u64 = 20_000_000;

/// Sends one order, cancel or replace by hand and prints every report in words
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  rialto order buy ALPH 100 10.05
  rialto order sell ALPH 40 10.05 --user BRVO01
  rialto order buy ALPH 500 market
  rialto order sell ALPH 10 9.99 --tif fok --user BRVO01
  rialto order list
  rialto order replace 1 50 10.06
  rialto order cancel 1
  rialto order list --gateway 10.1.0.5:9001 --user ALFA01 --key-file alfa01.key

A user has one login: this one takes over from a program that is logged in as the same user.
Exit code: 0 taken by the exchange, 3 refused by it, login included (or the order is not open),
1 not reached, 2 wrong arguments or configuration.")]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
    /// Configuration that names the gateway and the user's key
    #[arg(long, global = true, default_value = "rialto.toml", value_name = "FILE")]
    config: PathBuf,
    /// Session to log in as [default: the first one of the configuration]
    #[arg(long, global = true, value_parser = parse_user)]
    user: Option<User>,
    /// Gateway address, instead of the configuration's, with --user and --key-file; several are
    /// tried in turn
    #[arg(long, global = true, value_name = "IP:PORT", requires = "key_file")]
    gateway: Vec<SocketAddrV4>,
    /// File with the key in 64 hex digits, instead of the configuration's
    #[arg(long, global = true, value_name = "FILE", requires = "user")]
    key_file: Option<PathBuf>,
    /// Give up when the exchange is silent for this long
    #[arg(long, global = true, value_name = "MS", default_value_t = 3_000)]
    timeout_ms: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Lifetime {
    /// Rests until filled, cancelled, or the day ends
    Day,
    /// Trades at once as far as it can, the rest is cancelled
    Ioc,
    /// All at once or nothing
    Fok,
}

#[derive(Args, Debug)]
struct OrderArguments {
    /// Symbol, such as ALPH
    symbol: String,
    /// Shares
    #[arg(value_parser = whole, allow_negative_numbers = true)]
    quantity: u32,
    /// Limit, such as 10.05, or the word market
    #[arg(value_parser = parse_price, allow_negative_numbers = true)]
    price: Price,
    /// How long it lives; market orders are always ioc
    #[arg(long, value_enum, default_value = "day")]
    tif: Lifetime,
    /// Account [default: the session's]
    #[arg(long)]
    account: Option<String>,
    /// Text of up to 14 characters that comes back in reports
    #[arg(long, value_name = "TEXT", default_value = "")]
    id: String,
    /// Stay and print reports until nothing of the order is open
    #[arg(long)]
    follow: bool,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Buys
    Buy(OrderArguments),
    /// Sells shares that the account holds
    Sell(OrderArguments),
    /// Cancels an open order, or leaves fewer shares of it open
    Cancel {
        /// The order's reference, as printed when it was accepted
        #[arg(value_parser = whole, allow_negative_numbers = true)]
        urn: u32,
        /// Shares that stay open
        #[arg(long, value_name = "SHARES", default_value_t = 0)]
        keep: u32,
    },
    /// Replaces an open order by one with another price or quantity, at the back of the queue
    Replace {
        /// The order's reference, as printed when it was accepted
        #[arg(value_parser = whole, allow_negative_numbers = true)]
        urn: u32,
        /// Shares that shall be open
        #[arg(value_parser = whole, allow_negative_numbers = true)]
        quantity: u32,
        /// New limit
        #[arg(value_parser = parse_price, allow_negative_numbers = true)]
        price: Price,
        /// Stay and print reports until nothing of the order is open
        #[arg(long)]
        follow: bool,
    },
    /// Prints this session's open orders and what it traded today
    List,
}

pub fn run(a: Arguments) -> anyhow::Result<ExitCode> {
    let (user, key, gateways) = match connection(&a) {
        Ok(connection) => connection,
        Err(error) => {
            eprintln!("rialto: {error:#}");
            return Ok(ExitCode::from(WRONG));
        }
    };
    // Orders need no history; everything else is about orders of before.
    let start_at = match a.verb {
        Verb::Buy(_) | Verb::Sell(_) => StartAt::Live,
        _ => StartAt::Rebuild,
    };
    let config = BrokerConfig { start_at, ..BrokerConfig::new(user, key, gateways) };
    let port = UdpPort::bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0))?;
    let mut session = Session {
        broker: Broker::new(config, port)?,
        clock: SystemClock::new(),
        own: OwnOrders::new(),
        silent_after_ns: a.timeout_ms.saturating_mul(1_000_000),
        quiet: true,
        watched: [Urn(0); 2],
    };
    if let Some(why) = session.log_in()? {
        let gateway = session.broker.gateway();
        eprintln!("rialto: login at {gateway} refused: {}", refusal_text(why));
        return Ok(ExitCode::from(REFUSED));
    }
    let code = match a.verb {
        Verb::Buy(order) => session.enter(Side::Buy, &order),
        Verb::Sell(order) => session.enter(Side::Sell, &order),
        Verb::Cancel { urn, keep } => session.cancel(Urn(urn), keep),
        Verb::Replace { urn, quantity, price, follow } => {
            session.replace(Urn(urn), quantity, price, follow)
        }
        Verb::List => {
            session.list();
            Ok(ExitCode::SUCCESS)
        }
    };
    session.log_off();
    code
}

/// Who logs in where, from the options or the configuration.
fn connection(a: &Arguments) -> anyhow::Result<(User, [u8; 32], Vec<SocketAddrV4>)> {
    if let (Some(file), Some(user), false) = (&a.key_file, a.user, a.gateway.is_empty()) {
        return Ok((user, read_key(file)?, a.gateway.clone()));
    }
    let config = Config::load(&a.config).with_context(|| {
        format!(
            "{} gives no gateway and key; name the file with --config, or use --gateway with \
             --user and --key-file",
            a.config.display()
        )
    })?;
    let users = || {
        let names: Vec<String> = config.sessions.iter().map(|s| s.spec.user.text()).collect();
        names.join(", ")
    };
    let session = match a.user {
        None => config.sessions.first().context("the configuration has no [[session]]")?,
        Some(user) => config.sessions.iter().find(|s| s.spec.user == user).with_context(|| {
            format!("--user {user} is not in {}; it has {}", a.config.display(), users())
        })?,
    };
    let key = a.key_file.as_deref().map_or(Ok(session.key), read_key)?;
    Ok((session.spec.user, key, vec![config.gateway.public]))
}

fn read_key(file: &Path) -> anyhow::Result<[u8; 32]> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("--key-file {} cannot be read", file.display()))?;
    let text = text.trim().as_bytes();
    let digit = |i: usize| text.get(i).and_then(|c| (*c as char).to_digit(16));
    let mut key = [0; 32];
    for (i, byte) in key.iter_mut().enumerate() {
        match (digit(2 * i), digit(2 * i + 1)) {
            (Some(high), Some(low)) if text.len() == 64 => *byte = (high * 16 + low) as u8,
            _ => bail!("--key-file {}: must hold 64 hex digits", file.display()),
        }
    }
    Ok(key)
}

fn parse_user(text: &str) -> Result<User, String> {
    let user = User::new(text).filter(|user| !user.is_blank());
    user.ok_or_else(|| "must be 1 to 6 characters of A-Z and 0-9, such as ALFA01".into())
}

/// A whole number, as clap tells it otherwise in the words of a programmer.
fn whole(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "must be a whole number, such as 100".to_string())
}

fn parse_price(text: &str) -> Result<Price, String> {
    if text.eq_ignore_ascii_case("market") {
        return Ok(Price::MARKET);
    }
    parse_money(text)
        .and_then(|value| u32::try_from(value).ok())
        .map(Price)
        .filter(|price| *price <= Price::MAX)
        .ok_or_else(|| "must be such as 10.05, at most 199999.99, or the word market".into())
}

struct Session {
    broker: Broker<UdpPort>,
    clock: SystemClock,
    own: OwnOrders,
    silent_after_ns: u64,
    /// Reports of before are not printed.
    quiet: bool,
    /// Orders that this command is about.
    watched: [Urn; 2],
}

/// What one poll brought, as far as a verb waits for it.
#[derive(Default)]
struct Progress {
    settled: Option<Settled>,
    refused: Option<RefusedCode>,
    gone: Option<Gone>,
    rejected: bool,
    /// A watched order changed; with `canceled`, it lost shares.
    changed: bool,
    canceled: bool,
    any: bool,
}

impl Session {
    fn poll(&mut self) -> Progress {
        let mut progress = Progress::default();
        let (own, quiet, watched) = (&mut self.own, self.quiet, self.watched);
        let work = self.broker.poll(self.clock.now(), |event| {
            progress.any = true;
            match event {
                BrokerEvent::Report { report, .. } => {
                    if !quiet {
                        say!("{}  {}", time_of_day(report.timestamp()), Words(&report));
                    }
                    match own.apply(&report) {
                        Some(Change::Rejected { urn, .. }) => {
                            progress.rejected |= watched.contains(&urn);
                        }
                        Some(Change::Canceled { order, .. }) if watched.contains(&order.urn) => {
                            progress.changed = true;
                            progress.canceled = true;
                        }
                        Some(Change::Replaced { old, .. }) if watched.contains(&old.urn) => {
                            progress.changed = true;
                        }
                        _ => {}
                    }
                }
                BrokerEvent::Settled(settled) => progress.settled = Some(settled),
                BrokerEvent::Refused { why, .. } => progress.refused = Some(why),
                BrokerEvent::Disconnected(gone) => progress.gone = Some(gone),
                BrokerEvent::SessionChanged { .. } => own.clear(),
                BrokerEvent::LoggedIn(_)
                | BrokerEvent::LoggedOff
                | BrokerEvent::EndOfDay
                | BrokerEvent::UnknownReport { .. } => {}
            }
        });
        if work == 0 {
            std::thread::sleep(Duration::from_micros(100));
        }
        progress
    }

    /// Returns why the exchange refused.
    fn log_in(&mut self) -> anyhow::Result<Option<RefusedCode>> {
        let gateway = self.broker.gateway();
        let mut heard = self.clock.now();
        while !self.broker.is_caught_up() {
            let progress = self.poll();
            match progress.refused {
                None | Some(RefusedCode::NotLeader) => {}
                refused => return Ok(refused),
            }
            if progress.any {
                heard = self.clock.now();
            }
            if self.clock.now().since(heard) > self.silent_after_ns {
                bail!(
                    "no answer from {gateway} within {} ms: is the exchange running there \
                     (`rialto run`), and may UDP reach it? --gateway names another address",
                    self.silent_after_ns / 1_000_000
                );
            }
        }
        self.quiet = false;
        Ok(None)
    }

    fn enter(&mut self, side: Side, a: &OrderArguments) -> anyhow::Result<ExitCode> {
        let symbol = Symbol::new(&a.symbol)
            .with_context(|| format!("symbol {}: must be 1 to 8 characters", a.symbol))?;
        let cl_ord_id = ClOrdId::new(&a.id)
            .with_context(|| format!("--id {}: must be at most 14 characters", a.id))?;
        let account = a.account.as_deref().map(|text| {
            AccountName::new(text)
                .with_context(|| format!("--account {text}: must be 1 to 4 characters"))
        });
        let (price, quantity) = (a.price, Quantity(a.quantity));
        let order = match a.tif {
            Lifetime::Fok => NewOrder::fill_or_kill(side, symbol, quantity, price),
            Lifetime::Day if price != Price::MARKET => {
                NewOrder::limit(side, symbol, quantity, price)
            }
            Lifetime::Day | Lifetime::Ioc => NewOrder::immediate(side, symbol, quantity, price),
        };
        let order = NewOrder { account: account.transpose()?, cl_ord_id, ..order };
        let sent = self.broker.enter(&order)?;
        self.watched = [sent.urn; 2];
        self.wait(sent, sent.urn, a.follow)
    }

    /// The order, or else what is open, told.
    fn open_order(&self, urn: Urn) -> Option<OwnOrder> {
        let order = self.own.get(urn).copied();
        if order.is_none() {
            let open: Vec<String> = self.own.live().map(|o| o.urn.0.to_string()).collect();
            match open.as_slice() {
                [] => eprintln!("rialto: order {} is not open; no order is", urn.0),
                _ => eprintln!("rialto: order {} is not open; open are {}", urn.0, open.join(", ")),
            }
        }
        order
    }

    fn cancel(&mut self, urn: Urn, keep: u32) -> anyhow::Result<ExitCode> {
        let Some(order) = self.open_order(urn) else { return Ok(REFUSED.into()) };
        if keep >= order.open.0 {
            bail!("--keep {keep}: order {} has only {} shares open", urn.0, order.open.0);
        }
        let total = if keep == 0 { 0 } else { order.executed.0.saturating_add(keep) };
        let sent = self.broker.cancel(urn, Quantity(total))?;
        self.watched = [urn; 2];
        self.wait(sent, urn, false)
    }

    fn replace(
        &mut self,
        old: Urn,
        quantity: u32,
        price: Price,
        follow: bool,
    ) -> anyhow::Result<ExitCode> {
        let Some(order) = self.open_order(old) else { return Ok(REFUSED.into()) };
        let total = Quantity(order.executed.0.saturating_add(quantity));
        let mut replace = ReplaceOrder::new(old, total, price);
        replace.cl_ord_id = order.cl_ord_id;
        let sent = self.broker.replace(&replace)?;
        self.watched = [old, sent.urn];
        self.wait(sent, sent.urn, follow)
    }

    /// Prints reports until the message is settled, and what it caused is there.
    fn wait(&mut self, sent: Sent, urn: Urn, follow: bool) -> anyhow::Result<ExitCode> {
        let mut settled: Option<Settled> = None;
        let (mut rejected, mut changed, mut canceled) = (false, false, false);
        let mut heard = self.clock.now();
        loop {
            let progress = self.poll();
            rejected |= progress.rejected;
            changed |= progress.changed;
            canceled |= progress.canceled;
            if let Some(s) = progress.settled.filter(|s| s.sequence == sent.sequence) {
                settled = Some(s);
            }
            if progress.any {
                heard = self.clock.now();
            }
            match progress.gone {
                Some(Gone::Displaced) => bail!("another login of this user took over"),
                Some(Gone::Silence | Gone::TokenDead) => eprintln!("rialto: reconnecting"),
                None => {}
            }
            let now = self.clock.now();
            match settled {
                Some(s) => {
                    let open = self.own.get(urn).is_some();
                    let watching = follow && open && !self.is_over();
                    if now.since(s.at) > AFTER_NS && self.broker.is_caught_up() && !watching {
                        break;
                    }
                }
                None if now.since(heard) > self.silent_after_ns => bail!(
                    "no answer within {} ms: what became of the message is not known; \
                     `rialto order list` tells",
                    self.silent_after_ns / 1_000_000
                ),
                None => {}
            }
        }
        match settled.map(|s| s.by) {
            Some(SettledBy::Report | SettledBy::Applied) if rejected => Ok(REFUSED.into()),
            Some(SettledBy::Report) => Ok(ExitCode::SUCCESS),
            Some(SettledBy::Applied) if canceled && sent.urn != Urn(0) => {
                say!("the replace was not valid: the exchange cancelled the old order");
                Ok(REFUSED.into())
            }
            Some(SettledBy::Applied) if changed => Ok(ExitCode::SUCCESS),
            Some(SettledBy::Applied) => {
                say!("nothing changed: order {} was not open any more", urn.0);
                Ok(REFUSED.into())
            }
            Some(SettledBy::Unknown) => bail!(
                "what became of the message is not known, it may have been applied; look it up \
                 before you send it again: `rialto order list` tells"
            ),
            Some(SettledBy::NotApplied | SettledBy::Withdrawn) | None => {
                say!("not applied: the message was lost on its way; send it again");
                Ok(REFUSED.into())
            }
        }
    }

    fn is_over(&self) -> bool {
        self.broker.state() == State::Stopped
    }

    fn list(&self) {
        for o in self.own.live() {
            say!(
                "order {}: {} {} {} at {}, {} executed{}",
                o.urn.0,
                if o.side == Side::Buy { "buys" } else { "sells" },
                o.open.0,
                o.symbol,
                Decimal(o.price.0 as u64),
                o.executed.0,
                o.account.map_or(String::new(), |a| format!(", account {a}"))
            );
        }
        if self.own.live().len() == 0 {
            say!("no open order");
        }
        for (symbol, p) in self.own.positions() {
            say!(
                "{symbol}: bought {} for {}, sold {} for {}",
                p.bought,
                Decimal(p.paid as u64),
                p.sold,
                Decimal(p.received as u64)
            );
        }
    }

    /// Says goodbye; orders stay. An exchange that does not answer finds out by itself.
    fn log_off(&mut self) {
        self.broker.logoff();
        let from = self.clock.now();
        while !self.is_over() && self.clock.now().since(from) < 500_000_000 {
            self.poll();
        }
    }
}
