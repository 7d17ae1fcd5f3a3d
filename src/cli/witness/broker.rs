//! Brokers that trade at a steady rate and write down all that they send and are told.
//!
//! Orders, cancels and reductions are those of the synthetic flow; some cancels become replaces, now
//! and then a session asks a query. While the exchange is silent a session fills its window and then
//! passes rows over: nobody queues quotes for an exchange that does not answer.

use super::evidence::{EvidenceWriter, Witness};
use super::tap::{SharedCopies, TapPort};
use super::{PATIENCE_NS, QUIET_NS, Stop};
use crate::cli::text::say;
use anyhow::ensure;
use clap::Args;
use rialto::broker::*;
use rialto::clock::{Clock, SystemClock};
use rialto::config::Config;
use rialto::flow::{FlowCommand, FlowOp, Synthetic, SyntheticOptions};
use rialto::net::UdpPort;
use rialto::types::*;
use rialto::wire::ouch::{self, OUTBOUND_BYTES_MAX};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Args, Debug)]
pub struct Arguments {
    /// Configuration that names the gateway and the keys
    #[arg(long, default_value = "rialto.toml", value_name = "FILE")]
    config: PathBuf,
    /// Directory of the evidence, one file per session
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Sessions to log in as [default: all of the configuration]
    #[arg(long, value_name = "USER,...", value_delimiter = ',')]
    users: Vec<String>,
    /// Messages per second, over all sessions of this process
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rate: u64,
    /// Seed of the flow
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Messages without a conclusion at most, per session: a power of two
    #[arg(long, default_value_t = 1_024)]
    window: usize,
    /// Reports from the login on only: the day began without this broker
    #[arg(long)]
    live: bool,
    /// A MAC on every packet
    #[arg(long)]
    mac: bool,
}

/// An order as its broker knows it.
#[derive(Clone, Copy)]
struct Order {
    session: usize,
    urn: Urn,
    /// Shares entered less those taken off: what X and U state.
    total: u32,
}

struct Session {
    user: String,
    broker: Broker<TapPort<UdpPort>>,
    copies: SharedCopies,
    file: EvidenceWriter,
    /// Messages sent.
    sent: u64,
    /// Something waits for a flush.
    entered: bool,
    /// Next report when last looked at.
    heard: u64,
}

/// Seed of the symbols' prices: the same for all brokers, so that they meet.
const MARKET_SEED: u64 = 1;
/// Every so many messages of a session are followed by a query.
const QUERY_EVERY: u64 = 1_000;
/// Every so many cancelled orders are replaced instead.
const REPLACE_EVERY: u64 = 8;
/// Longest flow, seconds.
const SECONDS: u64 = 7_200;

pub fn run(a: Arguments, stop: Stop) -> anyhow::Result<ExitCode> {
    let config = Config::load(&a.config)?;
    std::fs::create_dir_all(&a.out)?;
    let clock = SystemClock::new();
    let mut sessions = sessions(&a, &config)?;
    let symbols: Vec<Symbol> = config.symbols.iter().map(|s| s.symbol).collect();
    let options =
        SyntheticOptions::random_symbols(MARKET_SEED, symbols.len() as u16, a.rate, SECONDS);
    let mut flow = Synthetic::new(&SyntheticOptions { seed: a.seed, ..options })?.peekable();
    let mut orders: BTreeMap<u64, Order> = BTreeMap::new();
    say!("trading as {} sessions", sessions.len());

    let (mut skipped, mut start) = (0u64, None);
    while !stop.came() {
        let now = clock.now();
        if start.is_none() && sessions.iter().all(|s| s.broker.is_bound()) {
            start = Some(now);
        }
        let mut work = 0;
        while let (Some(start), Some(row)) = (start, flow.peek())
            && start.plus(row.at_ns) <= now
        {
            skipped += u64::from(!send(row, &symbols, &mut orders, &mut sessions, now)?);
            flow.next();
            work += 1;
        }
        for session in &mut sessions {
            if std::mem::take(&mut session.entered) {
                session.broker.flush(now);
            }
            work += session.poll(clock.now())?;
        }
        if work == 0 {
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    let stopped = clock.now();
    let mut heard = stopped;
    let mut settled = false;
    while !settled && clock.now().since(stopped) < PATIENCE_NS {
        let mut work = 0;
        for session in &mut sessions {
            work += session.poll(clock.now())?;
            if session.moved() {
                heard = clock.now();
            }
        }
        let quiet = clock.now().since(heard) > QUIET_NS;
        settled =
            quiet && sessions.iter().all(|s| s.broker.unsettled() == 0 && s.broker.is_caught_up());
        if work == 0 {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    let sent: u64 = sessions.iter().map(|s| s.sent).sum();
    let open: usize = sessions.iter().map(|s| s.broker.unsettled()).sum();
    for session in sessions {
        session.finish(clock.now())?;
    }
    say!("sent {sent}, passed over {skipped}, without a conclusion {open}");
    Ok(if settled { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn sessions(a: &Arguments, config: &Config) -> anyhow::Result<Vec<Session>> {
    let wanted = |user: &str| a.users.is_empty() || a.users.iter().any(|u| u == user);
    let mut sessions = Vec::new();
    for session in &config.sessions {
        let user = session.spec.user;
        if !wanted(&user.text()) {
            continue;
        }
        let gateways = vec![config.gateway.public];
        let mut settings = BrokerConfig::new(user, session.key, gateways);
        settings.window = a.window;
        settings.packet_mac = a.mac;
        settings.start_at = if a.live { StartAt::Live } else { StartAt::Rebuild };
        let copies = SharedCopies::default();
        copies.borrow_mut().with_mac(a.mac);
        let port = UdpPort::bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0))?;
        let path = a.out.join(format!("{}.evidence", user.text()));
        sessions.push(Session {
            user: user.text(),
            broker: Broker::new(settings, TapPort::new(port, copies.clone()))?,
            copies,
            file: EvidenceWriter::create(&path, Witness::Broker, &user.text())?,
            sent: 0,
            entered: false,
            heard: 0,
        });
    }
    ensure!(!sessions.is_empty(), "--users names no session of {}", a.config.display());
    Ok(sessions)
}

/// Sends a row. False: its session's window is full, or it never was logged in.
fn send(
    row: &FlowCommand,
    symbols: &[Symbol],
    orders: &mut BTreeMap<u64, Order>,
    sessions: &mut [Session],
    now: Nanos,
) -> anyhow::Result<bool> {
    let symbol = symbols[row.symbol as usize];
    match row.op {
        FlowOp::New | FlowOp::Immediate => {
            let index = (row.order_id % sessions.len() as u64) as usize;
            let order = match row.op {
                FlowOp::New => NewOrder::limit(row.side, symbol, row.quantity, row.price),
                _ => NewOrder::immediate(row.side, symbol, row.quantity, row.price),
            };
            let Some(sent) = sessions[index].enter(&order, now)? else { return Ok(false) };
            if row.op == FlowOp::New {
                let order = Order { session: index, urn: sent.urn, total: row.quantity.0 };
                orders.insert(row.order_id, order);
            }
        }
        FlowOp::Cancel if row.order_id.is_multiple_of(REPLACE_EVERY) => {
            let Some(order) = orders.get_mut(&row.order_id) else { return Ok(true) };
            let price = Price(row.price.0 + 100);
            let replace = ReplaceOrder::new(order.urn, Quantity(order.total), price);
            let Some(sent) = sessions[order.session].replace(&replace, now)? else {
                return Ok(false);
            };
            order.urn = sent.urn;
        }
        FlowOp::Cancel => {
            let Some(order) = orders.get(&row.order_id).copied() else { return Ok(true) };
            if !sessions[order.session].cancel(order.urn, Quantity(0), now)? {
                return Ok(false);
            }
            orders.remove(&row.order_id);
        }
        FlowOp::Reduce => {
            let Some(order) = orders.get_mut(&row.order_id) else { return Ok(true) };
            let left = order.total.saturating_sub(row.quantity.0);
            if !sessions[order.session].cancel(order.urn, Quantity(left), now)? {
                return Ok(false);
            }
            order.total = left;
        }
    }
    Ok(true)
}

impl Session {
    fn enter(&mut self, order: &NewOrder, now: Nanos) -> anyhow::Result<Option<Sent>> {
        if self.sent % QUERY_EVERY == QUERY_EVERY - 1 {
            let sent = self.broker.query();
            self.note(sent, &ouch::Inbound::Query, now)?;
        }
        let sent = self.broker.enter(order);
        let urn = sent.map_or(Urn(0), |s| s.urn);
        let message = ouch::Inbound::Enter(ouch::Enter {
            urn,
            side: order.side.letter(),
            quantity: order.quantity,
            symbol: order.symbol,
            price: u64::from(order.price.0),
            tif: if order.tif == TimeInForce::Day { b'0' } else { b'3' },
            display: b'Y',
            capacity: order.capacity,
            iso: b'N',
            cross: b'N',
            cl_ord_id: order.cl_ord_id,
            appendage: ouch::Appendage { account: order.account, min_quantity: None },
        });
        self.note(sent, &message, now)
    }

    fn replace(&mut self, replace: &ReplaceOrder, now: Nanos) -> anyhow::Result<Option<Sent>> {
        let sent = self.broker.replace(replace);
        let urn = sent.map_or(Urn(0), |s| s.urn);
        let message = ouch::Inbound::Replace(ouch::Replace {
            old_urn: replace.old,
            urn,
            quantity: replace.total,
            price: u64::from(replace.price.0),
            tif: b'0',
            display: b'Y',
            iso: b'N',
            cl_ord_id: replace.cl_ord_id,
        });
        self.note(sent, &message, now)
    }

    fn cancel(&mut self, urn: Urn, total: Quantity, now: Nanos) -> anyhow::Result<bool> {
        let sent = self.broker.cancel(urn, total);
        let message = ouch::Inbound::Cancel(ouch::Cancel { urn, quantity: total });
        Ok(self.note(sent, &message, now)?.is_some())
    }

    /// Writes down a message that the connection took, as this process meant it.
    fn note(
        &mut self,
        sent: Result<Sent, SendError>,
        message: &ouch::Inbound,
        now: Nanos,
    ) -> anyhow::Result<Option<Sent>> {
        let sent = match sent {
            Ok(sent) => sent,
            Err(SendError::WindowFull | SendError::NotLoggedIn) => return Ok(None),
            Err(e) => anyhow::bail!("{} cannot send: {e}", self.user),
        };
        let mut bytes = [0; ouch::INBOUND_BYTES_MAX];
        let len = message.encode(&mut bytes);
        let (sequence, urn) = (sent.sequence.to_le_bytes(), sent.urn.0.to_le_bytes());
        self.file.append(b'M', now, &[&sequence, &urn, &bytes[..len]])?;
        self.sent += 1;
        self.entered = true;
        Ok(Some(sent))
    }

    fn poll(&mut self, now: Nanos) -> anyhow::Result<usize> {
        let Session { broker, copies, file, .. } = self;
        let mut fault = Ok(());
        let mut bytes = [0; OUTBOUND_BYTES_MAX];
        let work = broker.poll(now, |event| {
            let kept = keep(&event, now, file, copies, &mut bytes);
            if fault.is_ok() {
                fault = kept;
            }
        });
        fault?;
        for number in std::mem::take(&mut copies.borrow_mut().conflicts) {
            file.append(b'X', now, &[&number.to_le_bytes()])?;
        }
        Ok(work)
    }

    /// True when a report came since the last call.
    fn moved(&mut self) -> bool {
        let next = self.broker.next_report();
        std::mem::replace(&mut self.heard, next) != next
    }

    fn finish(self, now: Nanos) -> std::io::Result<()> {
        let repeated = self.copies.borrow().repeated;
        let figures = [
            self.broker.unsettled() as u64,
            self.broker.next_report(),
            repeated,
            self.broker.counters().logins,
        ];
        self.file.finish(now, &figures)
    }
}

fn keep(
    event: &BrokerEvent,
    now: Nanos,
    file: &mut EvidenceWriter,
    copies: &SharedCopies,
    bytes: &mut [u8; OUTBOUND_BYTES_MAX],
) -> std::io::Result<()> {
    match event {
        BrokerEvent::Report { number, report } => {
            let len = report.encode(bytes);
            // What the library read must be what the wire said, byte for byte.
            if !copies.borrow().holds(*number, &bytes[..len]) {
                file.append(b'X', now, &[&number.to_le_bytes()])?;
            }
            file.append(b'R', now, &[&number.to_le_bytes(), &bytes[..len]])
        }
        BrokerEvent::UnknownReport { number, letter } => {
            file.append(b'R', now, &[&number.to_le_bytes(), &[*letter]])
        }
        BrokerEvent::Settled(s) => {
            let how = match s.by {
                SettledBy::Report => b'R',
                SettledBy::Applied => b'K',
                SettledBy::NotApplied => b'N',
                SettledBy::Withdrawn => b'W',
                SettledBy::Unknown => b'?',
            };
            let parts = [&s.sequence.to_le_bytes()[..], &s.transmissions.to_le_bytes(), &[how]];
            file.append(b'K', now, &parts)
        }
        BrokerEvent::LoggedIn(l) => {
            copies.borrow_mut().follow(l.name);
            file.append(
                b'L',
                now,
                &[
                    &l.applied.to_le_bytes(),
                    &l.next_report.to_le_bytes(),
                    &l.next_urn.to_le_bytes(),
                    &l.generation.to_le_bytes(),
                    l.name.text().as_bytes(),
                ],
            )
        }
        BrokerEvent::Disconnected(gone) => {
            let why = match gone {
                Gone::Silence => b'S',
                Gone::TokenDead => b'T',
                Gone::Displaced => b'D',
            };
            file.append(b'G', now, &[&[why]])
        }
        BrokerEvent::SessionChanged { old, new } => {
            file.append(b'C', now, &[old.text().as_bytes(), new.text().as_bytes()])
        }
        BrokerEvent::Refused { .. } | BrokerEvent::LoggedOff | BrokerEvent::EndOfDay => Ok(()),
    }
}
