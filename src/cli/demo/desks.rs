//! The brokers of a demo: rows of order flow in, orders over UDP, answers counted and timed.

use super::expect::ExpectedFill;
use super::interrupt::Interrupt;
use super::plan::{BROKERS, Plan, key, user};
use anyhow::{Context, bail};
use hdrhistogram::Histogram;
use rialto::broker::{
    Broker, BrokerConfig, BrokerEvent, LoggedIn, NewOrder, OwnOrders, SendError, Settled,
    SettledBy, TimeInForce,
};
use rialto::clock::{Clock, SystemClock};
use rialto::flow::{FlowCommand, FlowOp};
use rialto::net::{AnyPort, LossyPort, UdpPort};
use rialto::types::*;
use rialto::wire::ouch::Outbound;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddrV4;

/// What was sent and what came of it.
#[derive(Clone, Copy, Default, Debug)]
pub struct Tally {
    /// Messages sent, each counted once.
    pub sent: u64,
    /// Answered: accepted, or applied.
    pub acks: u64,
    /// Answered with Rejected.
    pub rejects: u64,
    /// Answered with NotApplied.
    pub not_applied: u64,
    /// Executed reports received.
    pub executions: u64,
    /// Messages sent more than once.
    pub repeated: u64,
}

impl Tally {
    /// Messages with an answer.
    pub fn answered(&self) -> u64 {
        self.acks + self.rejects + self.not_applied
    }
}

/// An order as the desks know it.
struct Order {
    broker: usize,
    urn: Urn,
    /// Shares entered less those taken off: what X states (session.md 20).
    total: u32,
    reference: Option<OrderRef>,
}

/// A message without its answer.
struct Pending {
    /// When it should have gone out.
    intended: Nanos,
    /// Order that it cancels or reduces.
    cancels: Option<Urn>,
    timed: bool,
}

/// One broker.
struct Desk {
    broker: Broker<AnyPort>,
    pending: VecDeque<Pending>,
    /// Client sequence of the first of `pending`.
    first: u64,
    /// Row's order id by URN - 1.
    ids: Vec<u64>,
    /// Reference that the last Rejected named: its message is concluded right after it.
    rejected: Urn,
    /// Digest of every report in order: evidence held against the log at the end.
    reports: ReportDigest,
    /// Of several days: what this one moved, the first login to it, whether it has ended.
    own: OwnOrders,
    login: Option<LoggedIn>,
    ended: bool,
}

/// What a broker knows of a day that is over.
pub struct DeskDay {
    /// First login to it.
    pub login: Option<LoggedIn>,
    /// Every report of it.
    pub reports: ReportDigest,
    /// What its executions moved.
    pub own: OwnOrders,
}

/// What a session was told: how many reports, and a checksum of their bytes in order.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ReportDigest {
    /// Reports.
    pub count: u64,
    checksum: u32,
}

impl ReportDigest {
    /// Takes the next report.
    pub fn take(&mut self, report: &Outbound) {
        let mut bytes = [0; rialto::wire::ouch::OUTBOUND_BYTES_MAX];
        let len = report.encode(&mut bytes);
        self.count += 1;
        self.checksum = crc32c::crc32c_append(self.checksum, &bytes[..len]);
    }
}

/// All brokers of a demo.
pub struct Desks {
    desks: Vec<Desk>,
    orders: BTreeMap<u64, Order>,
    symbols: Vec<Symbol>,
    clock: SystemClock,
    /// Rows say which resting order they should hit.
    recorded: bool,
    /// Several days: what each moves is worked out, and orders after the end are let go.
    days: bool,
    /// Figures.
    pub tally: Tally,
    /// Intended send time to answer, ns.
    pub latency: Histogram<u64>,
    /// Immediate rows in order, with the matches that reports told.
    pub expected: Vec<ExpectedFill>,
    /// Index into `expected` by broker and URN of an immediate order.
    immediate: BTreeMap<(usize, u32), usize>,
}

impl Desks {
    /// Binds a socket per broker; nothing is sent yet.
    pub fn new(
        plan: &Plan,
        clock: SystemClock,
        loss_ppm: u32,
        recorded: bool,
    ) -> anyhow::Result<Desks> {
        let mut desks = Vec::new();
        for i in 0..BROKERS {
            let port = UdpPort::bind(SocketAddrV4::new(plan.own, 0))?;
            let port = match loss_ppm {
                0 => AnyPort::Udp(port),
                ppm => AnyPort::Lossy(LossyPort::new(port, 1_000 + i as u64, ppm)),
            };
            let name = User::new(&user(i)).context("user name")?;
            let mut config = BrokerConfig::new(name, key(i), vec![plan.gateway]);
            config.resend_max_ns = plan.resend_max_ns;
            desks.push(Desk {
                broker: Broker::new(config, port)?,
                pending: VecDeque::new(),
                first: 1,
                ids: Vec::new(),
                rejected: Urn(0),
                reports: ReportDigest::default(),
                own: OwnOrders::new(),
                login: None,
                ended: false,
            });
        }
        let symbols = plan.symbols.iter().filter_map(|s| Symbol::new(s)).collect();
        Ok(Desks {
            desks,
            orders: BTreeMap::new(),
            symbols,
            clock,
            recorded,
            days: plan.day_seconds > 0,
            tally: Tally::default(),
            latency: Histogram::new_with_bounds(1, 60_000_000_000, 3)?,
            expected: Vec::new(),
            immediate: BTreeMap::new(),
        })
    }

    /// Polls until every broker is logged in.
    pub fn log_in(&mut self, interrupt: &Interrupt) -> anyhow::Result<()> {
        let deadline = self.clock.now().plus(60_000_000_000);
        while !self.desks.iter().all(|d| d.broker.is_bound()) {
            if self.poll() == 0 {
                std::thread::yield_now();
            }
            if self.clock.now() > deadline {
                bail!("not every broker is logged in after 60 s");
            }
            interrupt.check()?;
        }
        Ok(())
    }

    /// True when every broker has all of the day, which is over.
    pub fn ended(&self) -> bool {
        self.desks.iter().all(|d| d.ended)
    }

    /// Takes what is known of a day that is over, forgets it, and begins to log in to the next.
    pub fn next_day(&mut self) -> Vec<DeskDay> {
        self.orders.clear();
        let close = |desk: &mut Desk| {
            desk.broker.login();
            desk.pending.clear();
            (desk.first, desk.ended) = (1, false);
            desk.ids.clear();
            desk.rejected = Urn(0);
            DeskDay {
                login: desk.login.take(),
                reports: std::mem::take(&mut desk.reports),
                own: std::mem::take(&mut desk.own),
            }
        };
        self.desks.iter_mut().map(close).collect()
    }

    /// Messages without an answer.
    pub fn unanswered(&self) -> usize {
        self.desks.iter().map(|d| d.pending.len()).sum()
    }

    /// True when nothing waits that has not been answered, a cancel by its report included.
    pub fn idle(&self) -> bool {
        self.desks.iter().all(|d| d.pending.iter().all(|p| p.timed))
    }

    /// Evidence of each session, in the order of slots.
    pub fn evidence(&self) -> Vec<ReportDigest> {
        self.desks.iter().map(|d| d.reports).collect()
    }

    /// The exchange's reference of a row's order.
    pub fn reference(&self, id: u64) -> Option<u64> {
        self.orders.get(&id).and_then(|o| o.reference).map(|r| r.0)
    }

    /// Sends one row, which should have gone out at `intended`. False: the window of its broker is
    /// full, try again after a poll. A row about an order that was never entered is passed over.
    pub fn send(&mut self, row: &FlowCommand, intended: Nanos) -> anyhow::Result<bool> {
        let (index, cancels, result) = match row.op {
            FlowOp::New | FlowOp::Immediate => {
                let index = (row.order_id % BROKERS as u64) as usize;
                let symbol = self.symbols[row.symbol as usize];
                let mut order = NewOrder::limit(row.side, symbol, row.quantity, row.price);
                if row.op == FlowOp::Immediate {
                    order.tif = TimeInForce::Immediate;
                }
                (index, None, self.desks[index].broker.enter(&order))
            }
            FlowOp::Cancel | FlowOp::Reduce => {
                let Some(order) = self.orders.get_mut(&row.order_id) else { return Ok(true) };
                let left = match row.op {
                    FlowOp::Cancel => 0,
                    _ => order.total.saturating_sub(row.quantity.0),
                };
                let result = self.desks[order.broker].broker.cancel(order.urn, Quantity(left));
                if result.is_ok() {
                    order.total = left;
                }
                (order.broker, Some(order.urn), result)
            }
        };
        let sent = match result {
            Ok(sent) => sent,
            Err(SendError::WindowFull) => return Ok(false),
            Err(SendError::NotLoggedIn) if self.days => return Ok(true),
            Err(e) => bail!("broker {} cannot send: {e}", user(index)),
        };
        let desk = &mut self.desks[index];
        debug_assert_eq!(sent.sequence, desk.first + desk.pending.len() as u64);
        desk.pending.push_back(Pending { intended, cancels, timed: false });
        self.tally.sent += 1;
        if cancels.is_none() {
            desk.ids.resize(sent.urn.0 as usize, 0);
            desk.ids[sent.urn.0 as usize - 1] = row.order_id;
            let order =
                Order { broker: index, urn: sent.urn, total: row.quantity.0, reference: None };
            self.orders.insert(row.order_id, order);
        }
        // A synthetic flow names an order too, but with orders in flight nothing is promised of it.
        if let (true, FlowOp::Immediate, Some(resting)) =
            (self.recorded, row.op, row.expect_resting)
        {
            self.immediate.insert((index, sent.urn.0), self.expected.len());
            let quantity = row.quantity.0;
            self.expected.push(ExpectedFill { resting, quantity, matches: Vec::new() });
        }
        Ok(true)
    }

    /// Hands what was sent to the sockets.
    pub fn flush(&mut self) {
        let now = self.clock.now();
        for desk in &mut self.desks {
            desk.broker.flush(now);
        }
    }

    /// Takes what has arrived; returns how much it was.
    pub fn poll(&mut self) -> usize {
        let Desks { desks, orders, tally, latency, expected, immediate, clock, days, .. } = self;
        let mut work = 0;
        for (index, desk) in desks.iter_mut().enumerate() {
            let Desk { broker, pending, first, ids, rejected, reports, own, login, ended } = desk;
            work += broker.poll(clock.now(), |event| match event {
                BrokerEvent::Report { report, .. } => {
                    reports.take(&report);
                    if *days {
                        own.apply(&report);
                    }
                    match report {
                        Outbound::Accepted(a) => {
                            let id = ids.get(a.urn.0 as usize - 1);
                            if let Some(order) = id.and_then(|id| orders.get_mut(id)) {
                                order.reference = Some(a.order_ref);
                            }
                        }
                        Outbound::Executed(e) => {
                            tally.executions += 1;
                            if let Some(&row) = immediate.get(&(index, e.urn.0)) {
                                expected[row].matches.push(e.match_number.0);
                            }
                        }
                        Outbound::Rejected(r) => *rejected = r.urn,
                        // A cancel is answered by its report; K, which concludes it, comes later.
                        Outbound::Canceled(c) => {
                            let waiting =
                                pending.iter_mut().find(|p| p.cancels == Some(c.urn) && !p.timed);
                            if let Some(p) = waiting {
                                p.timed = true;
                                let _ = latency.record(clock.now().since(p.intended));
                            }
                        }
                        _ => {}
                    }
                }
                BrokerEvent::Settled(s) => {
                    conclude(s, *rejected, pending, first, tally, |p| {
                        let _ = latency.record(clock.now().since(p.intended));
                    });
                }
                BrokerEvent::LoggedIn(l) => {
                    login.get_or_insert(l);
                }
                BrokerEvent::EndOfDay => *ended = true,
                _ => {}
            });
        }
        work
    }
}

/// Counts a concluded message; all before it were concluded before it.
fn conclude(
    s: Settled,
    rejected: Urn,
    pending: &mut VecDeque<Pending>,
    first: &mut u64,
    tally: &mut Tally,
    mut time: impl FnMut(&Pending),
) {
    if s.by == SettledBy::Withdrawn {
        // The day ended before it: the last one first.
        tally.not_applied += u64::from(pending.pop_back().is_some());
        return;
    }
    debug_assert_eq!(s.sequence, *first);
    let Some(message) = pending.pop_front() else { return };
    *first += 1;
    if !message.timed {
        time(&message);
    }
    tally.repeated += u64::from(s.transmissions > 1);
    match s.by {
        SettledBy::Report if s.urn == rejected => tally.rejects += 1,
        SettledBy::Report | SettledBy::Applied => tally.acks += 1,
        SettledBy::NotApplied => tally.not_applied += 1,
        // Nobody knows: stays out of the three, and so shows as unanswered.
        SettledBy::Withdrawn | SettledBy::Unknown => {}
    }
}
