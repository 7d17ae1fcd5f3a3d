//! A broker: the real library, an order flow, and a journal that survives its process.
//!
//! Consumes reports; produces orders, and writes down every report and conclusion that the library
//! gave it. At times a second process of the same user takes the session over, it logs off, falls
//! silent for longer than its dead time, or hoards resting orders.

use super::flow::{Flow, Wish};
use crate::broker::*;
use crate::config::Config;
use crate::net::{MemoryNetwork, MemoryPort};
use crate::sim::observe::Shared;
use crate::sim::observe::seen::{Believed, Concluded, Delivered};
use crate::sim::plan::{Feature, Plan};
use crate::sim::{Actor, Dice, GATEWAY, Tally, broker_host};
use crate::types::*;
use crate::wire::ouch::{OUTBOUND_BYTES_MAX, Outbound};
use std::net::SocketAddrV4;

const MS: u64 = 1_000_000;
/// Resting orders that a hoarder wants: more than one command may cancel.
const HOARD: usize = 320;

/// What survives a crash: written with every report.
#[derive(Clone, Default)]
struct Journal {
    name: Option<SessionName>,
    next_report: u64,
    own: OwnOrders,
}

/// One process of the user.
struct Desk {
    broker: Broker<MemoryPort>,
    /// As far as reports were handled.
    journal: Journal,
    /// Logs in again then, when it stopped.
    login_at: Nanos,
    events: Vec<BrokerEvent>,
}

/// See the module's head.
pub struct BrokerActor {
    slot: usize,
    key: [u8; 32],
    user: User,
    plan: Plan,
    network: MemoryNetwork,
    flow: Flow,
    dice: Dice,
    seen: Shared,
    cancel_on_disconnect: bool,
    packet_mac: bool,
    hoards: bool,
    journal: Journal,
    desk: Option<Box<Desk>>,
    rival: Option<(Box<Desk>, Nanos)>,
    lives: u64,
    quiet: bool,
    stepped: Nanos,
    next_trade: Nanos,
    asleep_until: Nanos,
    believed_at: u64,
    /// Reports counted, by the highest number of the current name.
    counted: (Option<SessionName>, u64),
    tally: Tally,
}

impl BrokerActor {
    /// The broker of session `slot`.
    pub fn new(
        plan: &Plan,
        config: &Config,
        network: &MemoryNetwork,
        slot: usize,
        seen: Shared,
    ) -> BrokerActor {
        let mut dice = Dice::new(plan.seed, &format!("broker {slot}"));
        let cancel_on_disconnect = dice.percent(60) && plan.has(Feature::CancelOnDisconnect);
        BrokerActor {
            slot,
            key: config.sessions[slot].key,
            user: config.sessions[slot].spec.user,
            plan: plan.clone(),
            network: network.clone(),
            flow: Flow::new(plan, config, slot),
            seen,
            cancel_on_disconnect,
            // All or none: without it damaged datagrams must not get through to brokers.
            packet_mac: plan.has(Feature::PacketMac),
            hoards: dice.percent(50) && cancel_on_disconnect && !plan.has(Feature::SmallTables),
            dice,
            journal: Journal { next_report: 1, ..Journal::default() },
            desk: None,
            rival: None,
            lives: 0,
            quiet: false,
            stepped: Nanos(0),
            next_trade: Nanos(0),
            asleep_until: Nanos(0),
            believed_at: 0,
            counted: (None, 0),
            tally: Tally::default(),
        }
    }

    fn open(&mut self, rival: bool) -> Box<Desk> {
        self.lives += 1;
        let stored = self.plan.has(Feature::StoredReport) && !rival && self.dice.percent(60);
        let journal = match (stored, self.journal.name) {
            (true, Some(_)) => self.journal.clone(),
            _ => Journal { next_report: 1, ..Journal::default() },
        };
        let mut config = BrokerConfig::new(self.user, self.key, vec![GATEWAY]);
        config.cancel_on_disconnect = self.cancel_on_disconnect;
        config.packet_mac = self.packet_mac;
        config.dead_time_ms = self.dice.pick(&[0, 1_000, 1_000, 2_000, 20_000]);
        config.window = self.dice.pick(&[16, 128, 1_024]);
        config.keep_unsettled = !self.plan.has(Feature::Withdraw);
        if self.plan.has(Feature::RepeatPrevious) {
            config.repeat_previous = self.dice.between(1, 8) as u16;
        }
        if let Some(name) = journal.name {
            config.wanted = name;
            config.start_at = StartAt::Report(journal.next_report);
        }
        config.seed = Some(self.dice.draw());
        let port = 5_000 + (self.lives % 20_000) as u16;
        let address = SocketAddrV4::new(broker_host(self.slot), port);
        let port = self.network.bind(address).expect("each life has a port of its own");
        let broker = Broker::new(config, port).expect("settings that are allowed");
        Box::new(Desk { broker, journal, login_at: Nanos(0), events: Vec::new() })
    }

    /// One process polls and handles what it is told.
    fn run(&mut self, desk: &mut Desk, now: Nanos) -> usize {
        let mut events = std::mem::take(&mut desk.events);
        let mut done = desk.broker.poll(now, |event| events.push(event));
        for event in events.drain(..) {
            self.on_event(desk, &event, now);
        }
        desk.events = events;
        if desk.broker.state() == State::Stopped && now >= desk.login_at {
            desk.broker.login();
            desk.login_at = now.plus(500 * MS);
            done += 1;
        }
        done
    }

    fn on_event(&mut self, desk: &mut Desk, event: &BrokerEvent, now: Nanos) {
        let slot = SessionSlot(self.slot as u16);
        match event {
            BrokerEvent::LoggedIn(m) => {
                self.tally.logins += 1;
                desk.journal.name = Some(m.name);
            }
            BrokerEvent::SessionChanged { new, .. } => {
                desk.journal = Journal { name: Some(*new), next_report: 1, own: OwnOrders::new() };
            }
            BrokerEvent::Report { number, report } => {
                if *number != desk.journal.next_report {
                    let what = format!(
                        "{}: expected report {}, got {number}: {report:?}",
                        self.name(),
                        desk.journal.next_report
                    );
                    self.seen.borrow_mut().fault("a broker's reports leave a gap", what, now);
                }
                desk.journal.next_report = number + 1;
                desk.journal.own.apply(report);
                let Some(name) = desk.journal.name else { return };
                let mut bytes = vec![0; OUTBOUND_BYTES_MAX];
                let len = report.encode(&mut bytes);
                bytes.truncate(len);
                let delivered = Delivered { slot, name, number: *number, bytes };
                self.seen.borrow_mut().delivered.push(delivered);
                self.count(name, *number, report);
            }
            BrokerEvent::UnknownReport { number, letter } => {
                let what = format!("{}: report {number}, letter {letter}", self.name());
                self.seen.borrow_mut().fault("a report cannot be read", what, now);
            }
            BrokerEvent::Settled(m) => {
                let Some(name) = desk.journal.name else { return };
                let concluded = Concluded { slot, name, sequence: m.sequence, by: m.by };
                self.seen.borrow_mut().concluded.push(concluded);
            }
            BrokerEvent::Disconnected(_) | BrokerEvent::LoggedOff | BrokerEvent::EndOfDay => {
                desk.login_at = now.plus(self.dice.between(50, 800) * MS);
            }
            BrokerEvent::Refused { .. } => {}
        }
    }

    /// Each report once, however often it is replayed.
    fn count(&mut self, name: SessionName, number: u64, report: &Outbound) {
        if self.counted.0 != Some(name) {
            self.counted = (Some(name), 0);
        }
        if number <= self.counted.1 {
            return;
        }
        self.counted.1 = number;
        self.tally.reports += 1;
        self.tally.executions += matches!(report, Outbound::Executed(_)) as u64;
        self.tally.rejects += matches!(report, Outbound::Rejected(_)) as u64;
    }

    fn trade(&mut self, now: Nanos) {
        let Some(desk) = &mut self.desk else { return };
        if !desk.broker.is_bound() {
            return;
        }
        let own: Vec<OwnOrder> = desk.journal.own.live().copied().collect();
        let hoarding = self.hoards && own.len() < HOARD;
        let burst = self.plan.has(Feature::Burst) && self.dice.percent(3);
        let messages = match (burst, hoarding) {
            (true, _) => self.dice.between(30, 160),
            (_, true) => 16,
            _ => self.dice.between(1, 6),
        };
        for index in 0..messages {
            let far = hoarding && index % 2 == 0;
            let wish = match far {
                true => Wish::Enter(self.flow.far(&mut self.dice)),
                false => self.flow.wish(&mut self.dice, &own),
            };
            let sent = match wish {
                Wish::Enter(order) => desk.broker.enter(&order).map(|_| (1, 0)),
                Wish::Replace(replace) => desk.broker.replace(&replace).map(|_| (0, 1)),
                Wish::Cancel(urn, total) => desk.broker.cancel(urn, total).map(|_| (0, 1)),
                Wish::Query => desk.broker.query().map(|_| (0, 0)),
            };
            let Ok((orders, changes)) = sent else { break };
            self.tally.orders += orders;
            self.tally.changes += changes;
            // Some go alone, most together.
            if self.dice.percent(20) {
                desk.broker.flush(now);
            }
        }
        desk.broker.flush(now);
        if self.hoards && own.len() >= HOARD {
            // Enough: the session dies, and its orders with it.
            self.hoards = false;
            self.asleep_until = now.plus(self.dice.between(1_300, 2_500) * MS);
        }
        // Half of the time is kept for when the exchange is away.
        let all = self.plan.run_ns / self.plan.orders.max(500) * self.plan.brokers as u64;
        let gap = all.max(MS) * 2;
        self.next_trade = now.plus(self.dice.between(gap / 4, gap * 7 / 4));
        self.whim(now);
    }

    /// Now and then something else than trading.
    fn whim(&mut self, now: Nanos) {
        let roll = self.dice.below(1_000);
        if roll < 6 && self.plan.has(Feature::Logoff) {
            if let Some(desk) = &mut self.desk {
                desk.broker.logoff();
            }
        } else if roll < 12 && self.plan.has(Feature::Takeover) && self.rival.is_none() {
            let until = now.plus(self.dice.between(20, 900) * MS);
            self.rival = Some((self.open(true), until));
        } else if roll < 16 && self.plan.has(Feature::CancelOnDisconnect) {
            self.asleep_until = now.plus(self.dice.between(300, 2_500) * MS);
        }
    }

    fn believe(&mut self) {
        let Some(desk) = &self.desk else { return };
        let journal = &desk.journal;
        let (Some(name), true) = (journal.name, desk.broker.is_caught_up()) else { return };
        if self.believed_at == journal.next_report || desk.broker.unsettled() > 0 {
            return;
        }
        self.believed_at = journal.next_report;
        let live = journal.own.live();
        let mut orders: Vec<_> = live.map(|o| (o.urn, o.order_ref, o.open, o.price)).collect();
        orders.sort();
        let slot = SessionSlot(self.slot as u16);
        let believed = Believed { slot, name, next_report: journal.next_report, orders };
        self.seen.borrow_mut().believed.push(believed);
    }
}

impl Actor for BrokerActor {
    fn name(&self) -> String {
        format!("broker {}", self.slot)
    }

    fn step(&mut self, now: Nanos) -> usize {
        self.stepped = now;
        if now < self.asleep_until {
            return 0;
        }
        let mut done = 0;
        if let Some((mut rival, until)) = self.rival.take() {
            done += self.run(&mut rival, now);
            if now < until && !self.quiet {
                self.rival = Some((rival, until));
            }
        }
        let Some(mut desk) = self.desk.take() else { return done };
        done += self.run(&mut desk, now);
        self.desk = Some(desk);
        if self.quiet {
            self.believe();
        } else if now >= self.next_trade {
            self.trade(now);
            done += 1;
        }
        done
    }

    fn wake(&self) -> Nanos {
        let trade = if self.quiet { Nanos(u64::MAX) } else { self.next_trade };
        // Not bound yet, it looks again with the next ordinary step.
        trade.max(self.asleep_until).max(self.stepped.plus(MS))
    }

    fn crash(&mut self) {
        if let Some(desk) = self.desk.take() {
            self.journal = desk.journal; // written with every report
        }
        self.rival = None;
    }

    fn restart(&mut self, now: Nanos) {
        self.crash();
        self.asleep_until = Nanos(0);
        self.next_trade = now.plus(self.dice.between(1, 50) * MS);
        self.believed_at = 0;
        self.desk = Some(self.open(false));
    }

    fn quiesce(&mut self) {
        self.quiet = true;
        self.rival = None;
        self.asleep_until = Nanos(0);
        self.believed_at = 0;
    }

    fn unfinished(&self) -> Option<String> {
        let Some(desk) = &self.desk else { return Some("is down".into()) };
        let broker = &desk.broker;
        match broker.state() {
            State::Bound if broker.unsettled() > 0 => {
                Some(format!("{} messages are not settled", broker.unsettled()))
            }
            State::Bound if !broker.is_caught_up() => Some("misses reports".into()),
            State::Bound => None,
            state => Some(format!("is not bound: {state:?}")),
        }
    }

    fn tally(&self, tally: &mut Tally) {
        tally.orders += self.tally.orders;
        tally.changes += self.tally.changes;
        tally.reports += self.tally.reports;
        tally.executions += self.tally.executions;
        tally.rejects += self.tally.rejects;
        tally.logins += self.tally.logins;
    }
}
