//! The broker's client against the real exchange side: gateway, sequencer, logs, engine, egress.

use crate::venue::{GATEWAY, MS, Options, Venue, key, user};
use rialto::agent::Agent;
use rialto::broker::*;
use rialto::exchange::event::{Event, EventBody};
use rialto::net::MemoryPort;
use rialto::types::*;
use rialto::wire::ouch::Outbound;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};

struct Firm {
    slot: u16,
    broker: Broker<MemoryPort>,
    own: OwnOrders,
    reports: Vec<(u64, Outbound)>,
    settled: Vec<Settled>,
    other: Vec<BrokerEvent>,
}

impl Firm {
    fn new(venue: &Venue, slot: u16, change: impl FnOnce(&mut BrokerConfig)) -> Firm {
        Firm::at(venue, slot, slot as u8 + 1, change)
    }

    fn at(venue: &Venue, slot: u16, host: u8, change: impl FnOnce(&mut BrokerConfig)) -> Firm {
        let address = SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, host), 5_000);
        let mut config = BrokerConfig::new(user(slot as usize), key(slot as usize), vec![GATEWAY]);
        config.seed = Some(slot as u64 + venue.now().0);
        change(&mut config);
        let broker = Broker::new(config, venue.network.bind(address).unwrap()).unwrap();
        let (reports, settled, other) = (Vec::new(), Vec::new(), Vec::new());
        Firm { slot, broker, own: OwnOrders::new(), reports, settled, other }
    }

    fn poll(&mut self, now: Nanos) -> usize {
        let Firm { broker, own, reports, settled, other, .. } = self;
        broker.poll(now, |event| match event {
            BrokerEvent::Report { number, report } => {
                own.apply(&report);
                reports.push((number, report));
            }
            BrokerEvent::Settled(s) => settled.push(s),
            event => other.push(event),
        })
    }

    fn letters(&self) -> String {
        self.reports.iter().map(|(_, report)| crate::venue::client::letter(report)).collect()
    }
}

/// Lets `ns` pass in steps of 100 us (long times: 2 ms), in which everybody does what there is to
/// do.
fn run(venue: &mut Venue, firms: &mut [Firm], ns: u64) {
    let end = venue.now().plus(ns);
    let step = if ns > 100 * MS { 2 * MS } else { MS / 10 };
    loop {
        for _ in 0..100 {
            let now = venue.now();
            let mut work = 0;
            for firm in firms.iter_mut() {
                work += firm.poll(now);
            }
            work += venue.cycle();
            work += venue.replayer.duty_cycle(now);
            if work == 0 {
                break;
            }
        }
        if venue.now() >= end {
            if ns > 100 * MS {
                venue.archiver.duty_cycle(end); // waits for the disk
            }
            return;
        }
        venue.clock.advance(step);
    }
}

fn run_until(venue: &mut Venue, firms: &mut [Firm], done: impl Fn(&[Firm]) -> bool) {
    for _ in 0..20_000 {
        if done(firms) {
            return;
        }
        run(venue, firms, MS);
    }
    let states: Vec<_> = firms
        .iter()
        .map(|f| (f.broker.state(), f.broker.unsettled(), f.broker.counters()))
        .collect();
    panic!("never: {states:?}");
}

fn limit(side: Side, quantity: u32, price: u32) -> NewOrder {
    let symbol = Symbol::new("AAPL").unwrap();
    NewOrder::limit(side, symbol, Quantity(quantity), Price(price))
}

fn all_caught_up(firms: &[Firm]) -> bool {
    firms.iter().all(|f| f.broker.is_caught_up() && f.broker.unsettled() == 0)
}

/// What the log says that a session was told, in order.
fn told(events: &[(u64, Event)], slot: u16) -> Vec<Event> {
    let reports = events.iter().map(|(_, event)| *event);
    reports.filter(|e| e.head.session.0 == slot && e.head.report > 0).collect()
}

#[test]
fn a_day_of_two_brokers() {
    let mut venue = Venue::new();
    let mut firms = [Firm::new(&venue, 0, |_| {}), Firm::new(&venue, 1, |c| c.packet_mac = true)];
    run_until(&mut venue, &mut firms, all_caught_up);
    let ask = firms[0].broker.enter(&limit(Side::Sell, 100, 1_000_000)).unwrap();
    run(&mut venue, &mut firms, MS);
    firms[1].broker.enter(&limit(Side::Buy, 40, 1_000_000)).unwrap();
    run(&mut venue, &mut firms, MS);
    assert_eq!((firms[0].letters(), firms[1].letters()), ("SAE".into(), "SAE".into()));
    let symbol = Symbol::new("AAPL").unwrap();
    assert_eq!(firms[0].own.position(symbol).net(), -40);
    assert_eq!(firms[1].own.position(symbol).cash(), -40_000_000);

    let total = Quantity(40 + 50);
    let new =
        firms[0].broker.replace(&ReplaceOrder::new(ask.urn, total, Price(1_000_100))).unwrap();
    firms[0].broker.query().unwrap();
    firms[0].broker.cancel(ask.urn, Quantity(0)).unwrap(); // gone already
    firms[0].broker.cancel(new.urn, Quantity(40 + 10)).unwrap();
    run(&mut venue, &mut firms, 2 * MS);
    assert_eq!(firms[0].letters(), "SAEUQC");
    let order = *firms[0].own.get(new.urn).unwrap();
    assert_eq!((order.open, order.executed), (Quantity(10), Quantity(40)));
    let by: Vec<SettledBy> = firms[0].settled.iter().map(|s| s.by).collect();
    use SettledBy::*;
    assert_eq!(by, [Report, Report, Applied, Applied, Applied]);
    assert!(firms[0].settled.iter().all(|s| s.transmissions == 1), "{:?}", firms[0].settled);

    // Idle for ten seconds: alive on both sides, nothing repeated.
    run(&mut venue, &mut firms, 10_000 * MS);
    assert!(firms.iter().all(|f| f.other.len() == 1 && f.broker.counters().repeats == 0));

    firms.iter_mut().for_each(|f| f.broker.logoff());
    run(&mut venue, &mut firms, 100 * MS);
    assert!(firms.iter().all(|f| f.other.last() == Some(&BrokerEvent::LoggedOff)));
    firms.iter_mut().for_each(|f| f.broker.login());
    run_until(&mut venue, &mut firms, all_caught_up);
    let sent = firms[0].broker.enter(&limit(Side::Sell, 1, 1_000_000)).unwrap();
    assert_eq!((sent.sequence, sent.urn), (6, Urn(3)));
    run(&mut venue, &mut firms, 2 * MS);
    assert_eq!(firms[0].letters(), "SAEUQCA");
    venue.engine.exchange().check();
}

#[test]
fn a_new_process_rebuilds_its_orders_and_takes_over() {
    let mut venue = Venue::new();
    let mut firms = vec![Firm::new(&venue, 0, |_| {})];
    run_until(&mut venue, &mut firms, all_caught_up);
    for i in 0..300 {
        firms[0].broker.enter(&limit(Side::Buy, 10, 990_000 + i * 100)).unwrap();
        run(&mut venue, &mut firms, MS);
    }
    let before: Vec<OwnOrder> = firms[0].own.live().copied().collect();
    // The process is gone without a word; a new one comes up at another port.
    drop(firms.pop());
    let mut again = Firm::new(&venue, 0, |_| {});
    assert_eq!(again.own.live().len(), 0);
    run_until(&mut venue, std::slice::from_mut(&mut again), all_caught_up);
    let after: Vec<OwnOrder> = again.own.live().copied().collect();
    assert_eq!(after, before);
    let sent = again.broker.cancel(before[7].urn, Quantity(0)).unwrap();
    assert_eq!(sent.sequence, 301);
    run(&mut venue, std::slice::from_mut(&mut again), 2 * MS);
    assert_eq!(again.own.live().len(), 299);
}

#[test]
fn cancel_on_disconnect_after_silence() {
    let mut venue = Venue::new();
    let mut firms = [Firm::new(&venue, 0, |c| {
        c.cancel_on_disconnect = true;
        c.dead_time_ms = 1_000;
    })];
    run_until(&mut venue, &mut firms, all_caught_up);
    firms[0].broker.enter(&limit(Side::Buy, 10, 990_000)).unwrap();
    run(&mut venue, &mut firms, 2 * MS);
    venue.network.set_cut(GATEWAY, true);
    run(&mut venue, &mut firms, 3_000 * MS);
    assert!(firms[0].other.contains(&BrokerEvent::Disconnected(Gone::Silence)));
    venue.network.set_cut(GATEWAY, false);
    run_until(&mut venue, &mut firms, all_caught_up);
    assert_eq!(firms[0].letters(), "SAC");
    assert_eq!(firms[0].own.live().len(), 0);
}

/// Datagrams lost both ways, sessions cut, the exchange restarted: each broker ends with exactly
/// the reports of the log, in order, and with the orders that the exchange has.
#[test]
fn loss_cuts_and_restarts_change_nothing_that_counts() {
    for seed in 0..6u64 {
        let mut venue = Venue::with(Options { reports_kept: 64, ..Options::default() });
        let mut firms: Vec<Firm> = (0..3)
            .map(|slot| {
                Firm::new(&venue, slot, |c| {
                    c.packet_mac = slot as u64 == seed % 3;
                    c.dead_time_ms = 1_000;
                })
            })
            .collect();
        run_until(&mut venue, &mut firms, all_caught_up);
        venue.network.set_loss([10_000, 50_000, 200_000, 100_000][seed as usize % 4]);
        let mut state = seed;
        let mut random = move |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        for round in 0..800u64 {
            let firm = &mut firms[random(3) as usize];
            let live: Vec<Urn> = firm.own.live().map(|o| o.urn).collect();
            let pick = |random: &mut dyn FnMut(u64) -> u64| {
                live.get(random(live.len().max(1) as u64) as usize).copied()
            };
            let price = 1_000_000 + random(20) as u32 * 100;
            let quantity = 1 + random(200) as u32;
            // A full window or a logout refuses; then there is nothing to check.
            let _ = match random(10) {
                0..5 => {
                    let side = if random(2) == 0 { Side::Buy } else { Side::Sell };
                    firm.broker.enter(&limit(side, quantity, price))
                }
                5 | 6 => {
                    let urn = pick(&mut random).unwrap_or(Urn(1));
                    firm.broker.cancel(urn, Quantity(0))
                }
                7 | 8 => {
                    let old = pick(&mut random).unwrap_or(Urn(1));
                    firm.broker.replace(&ReplaceOrder::new(old, Quantity(quantity), Price(price)))
                }
                _ => firm.broker.query(),
            };
            run(&mut venue, &mut firms, random(5) * MS / 4);
            if round % 250 == 249 {
                match seed % 2 {
                    0 => venue = venue.restart(50 * MS),
                    _ => {
                        venue.network.set_cut(GATEWAY, true);
                        run(&mut venue, &mut firms, 1_300 * MS);
                        venue.network.set_cut(GATEWAY, false);
                        run(&mut venue, &mut firms, 800 * MS);
                    }
                }
            }
        }
        venue.network.set_loss(0);
        run_until(&mut venue, &mut firms, all_caught_up);
        run(&mut venue, &mut firms, 1_200 * MS);
        let events = venue.events();
        for firm in &firms {
            let told = told(&events, firm.slot);
            let numbers: Vec<u64> = firm.reports.iter().map(|(number, _)| *number).collect();
            assert_eq!(numbers, (1..=told.len() as u64).collect::<Vec<_>>(), "seed {seed}");
            for (event, (number, report)) in told.iter().zip(&firm.reports) {
                assert_eq!(event.head.report, *number);
                assert!(same(&event.body, report), "seed {seed}: {event:?} told as {report:?}");
            }
            // Every message was concluded once, in order, and orders truthfully.
            let sequences: Vec<u64> = firm.settled.iter().map(|s| s.sequence).collect();
            assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>(), "seed {seed}");
            let answered: BTreeSet<Urn> = told.iter().filter_map(|e| answer(&e.body)).collect();
            let entered = firm.settled.iter().filter(|s| s.kind == b'O');
            for s in entered {
                let lost = s.by == SettledBy::NotApplied;
                assert_eq!(answered.contains(&s.urn), !lost, "seed {seed}: {s:?}");
            }
            // Own orders are the exchange's orders.
            let mut expected = BTreeSet::new();
            let exchange = venue.engine.exchange();
            for side in [Side::Buy, Side::Sell] {
                for order in exchange.orders(Locate(1), side) {
                    if order.session.0 == firm.slot {
                        expected.insert((order.urn, order.open, order.price));
                    }
                }
            }
            let own: BTreeSet<_> = firm.own.live().map(|o| (o.urn, o.open, o.price)).collect();
            assert_eq!(own, expected, "seed {seed}");
        }
        venue.engine.exchange().check();
        for firm in &firms {
            println!("seed {seed}: {} reports, {:?}", firm.reports.len(), firm.broker.counters());
        }
    }
}

fn answer(body: &EventBody) -> Option<Urn> {
    match body {
        EventBody::Accepted(m) => Some(m.urn),
        EventBody::Rejected(m) => Some(m.urn),
        _ => None,
    }
}

#[test]
fn a_rebuild_longer_than_the_dead_time_keeps_the_session() {
    let mut venue = Venue::with(Options {
        rate: rialto::gateway::Rate { per_second: 1_000_000, burst: 100_000 },
        reports_kept: 512, // nearly all of the day comes from the archive
        replay_rate: 1_000_000,
        segment_bytes: 64 << 20,
        ..Options::default()
    });
    let mut firms = vec![Firm::new(&venue, 0, |_| {})];
    run_until(&mut venue, &mut firms, all_caught_up);
    firms[0].broker.enter(&limit(Side::Buy, 10, 500_000)).unwrap();
    run(&mut venue, &mut firms, MS);
    let symbol = Symbol::new("AAPL").unwrap();
    for _ in 0..200 {
        for _ in 0..250 {
            let order = NewOrder::immediate(Side::Buy, symbol, Quantity(1), Price(490_000));
            firms[0].broker.enter(&order).unwrap();
        }
        run(&mut venue, &mut firms, 2 * MS);
    }
    firms.clear();
    firms.push(Firm::new(&venue, 0, |c| {
        c.cancel_on_disconnect = true;
        c.dead_time_ms = 1_000;
    }));
    let start = venue.now();
    run_until(&mut venue, &mut firms, all_caught_up);
    let took = venue.now().since(start) / MS;
    assert!(took > 2_000, "{took} ms: no rebuild long enough to show it");
    assert_eq!(firms[0].own.live().len(), 1, "nobody disconnected: the order stays");
    assert_eq!(firms[0].broker.counters().logins, 1);
}

#[test]
fn what_another_process_did_under_a_number_is_not_told_as_ones_own() {
    let mut venue = Venue::new();
    let mut firms = vec![Firm::at(&venue, 0, 1, |_| {})];
    run_until(&mut venue, &mut firms, all_caught_up);
    let live = firms[0].broker.enter(&limit(Side::Buy, 5, 980_000)).unwrap();
    run(&mut venue, &mut firms, 2 * MS);
    let first = "10.0.1.1:5000".parse().unwrap();
    venue.network.set_cut(first, true);
    firms[0].broker.cancel(live.urn, Quantity(0)).unwrap();
    firms[0].broker.enter(&limit(Side::Buy, 100, 990_000)).unwrap();
    run(&mut venue, &mut firms, MS);
    // Another process takes over, uses the same two numbers and the same URN, and dies.
    firms.push(Firm::at(&venue, 0, 77, |_| {}));
    run_until(&mut venue, &mut firms, |f| f[1].broker.is_caught_up());
    firms[1].broker.query().unwrap();
    firms[1].broker.enter(&limit(Side::Sell, 7, 1_010_000)).unwrap();
    run(&mut venue, &mut firms, 2 * MS);
    firms.truncate(1);
    venue.network.set_cut(first, false);
    run(&mut venue, &mut firms, 12_000 * MS);
    let told: Vec<_> = firms[0].settled.iter().map(|s| (s.sequence, s.by)).collect();
    use SettledBy::*;
    assert_eq!(told, [(1, Report), (2, Unknown), (3, Unknown)]);
    assert_eq!(firms[0].own.live().len(), 2, "the own one and the other process's");
    let next = firms[0].broker.enter(&limit(Side::Buy, 100, 990_000)).unwrap();
    assert_eq!((next.sequence, next.urn), (4, Urn(3)));
    run(&mut venue, &mut firms, 2 * MS);
    assert_eq!(firms[0].settled.last().map(|s| (s.sequence, s.by)), Some((4, Report)));
}

fn same(body: &EventBody, report: &Outbound) -> bool {
    match (body, report) {
        (EventBody::SessionMark(a), Outbound::SystemEvent(b)) => a.code == b.code,
        (EventBody::Accepted(a), Outbound::Accepted(b)) => {
            (a.urn, a.order_ref, a.quantity) == (b.urn, b.order_ref, b.quantity)
        }
        (EventBody::Executed(a), Outbound::Executed(b)) => {
            (a.urn, a.match_number, a.quantity) == (b.urn, b.match_number, b.quantity)
        }
        (EventBody::Canceled(a), Outbound::Canceled(b)) => {
            (a.urn, a.decrement, a.reason) == (b.urn, b.decrement, b.reason)
        }
        (EventBody::Replaced(a), Outbound::Replaced(b)) => {
            (a.old_urn, a.urn, a.quantity) == (b.old_urn, b.urn, b.quantity)
        }
        (EventBody::Rejected(a), Outbound::Rejected(b)) => (a.urn, a.reason) == (b.urn, b.reason),
        (EventBody::NotApplied(a), Outbound::NotApplied(b)) => {
            (a.from, a.count) == (b.from, b.count)
        }
        (EventBody::QueryResponse(a), Outbound::QueryResponse(b)) => a.next_urn == b.next_urn,
        _ => false,
    }
}
