//! The day's roll, whole venues: assembled from a configuration on a network in memory and a clock
//! moved by hand, with brokers and a subscriber of the libraries. `world` has the surroundings.

mod crash;
mod rules;
mod world;

use rialto::broker::{BrokerEvent, NewOrder, SettledBy};
use rialto::exchange::event::EventBody;
use rialto::exchange::genesis::Limits;
use rialto::store::{DayView, LogIndex};
use rialto::topology::{Next, StartError, next_day};
use rialto::types::*;
use rialto::wire::ouch::Outbound;
use std::collections::BTreeMap;
use world::*;

fn name(text: &str) -> SessionName {
    SessionName::new(text).unwrap()
}

/// Trades a little and leaves orders of both firms in the book.
fn trade(world: &mut World) {
    let enter = |world: &mut World, firm: usize, order: NewOrder| {
        world.firms[firm].broker.enter(&order).unwrap();
        world.settle();
    };
    enter(world, 0, order(Side::Sell, "AAPL", 300, 50_0000));
    enter(world, 1, order(Side::Buy, "AAPL", 100, 50_0000));
    enter(world, 1, order(Side::Buy, "AAPL", 50, 51_0000));
    enter(world, 0, order(Side::Buy, "MSFT", 70, 20_0000));
    enter(world, 1, order(Side::Sell, "MSFT", 20, 19_0000));
    enter(world, 1, order(Side::Sell, "MSFT", 500, 21_0000));
    world.run(10 * MS);
}

/// What [`trade`] moves, worked out by hand: 150 AAPL at 50.00, 20 MSFT at 20.00.
fn moved(days: u64) -> Holdings {
    let account = |name: &str, cash: u64, aapl: u64, msft: u64| {
        let shares = [("AAPL".to_string(), aapl), ("MSFT".to_string(), msft)];
        let shares: BTreeMap<String, u64> = shares.into_iter().filter(|s| s.1 > 0).collect();
        (name.to_string(), (cash, shares))
    };
    let cash = (150 * 500_000 - 20 * 200_000) * days;
    Holdings::from([
        account("A00", 10_000_000_000 + cash, 100_000 - 150 * days, 100_000 + 20 * days),
        account("A01", 20_000_000_000 - cash, 200_000 + 150 * days, 200_000 - 20 * days),
        account("A02", 0, 0, 0),
    ])
}

#[test]
fn cash_and_shares_are_carried_and_every_number_starts_anew() {
    let mut world = World::open(TEXT);
    for day in 1..=3u64 {
        let date = format!("2025-01-0{}", day + 1);
        let session = format!("00{}", day + 1);
        let genesis = world.venue().genesis.clone();
        assert_eq!(opening(&genesis), moved(day - 1));
        assert_eq!(genesis.accounts[0].limits.order_quantity_max, 5_000);
        assert_eq!(genesis.accounts[1].limits, Limits::default());
        assert_eq!(genesis.feed_session(), name(&format!("RIALTOA{session}")));
        for firm in &world.firms {
            let login = firm.events.iter().rev().find_map(|e| match e {
                BrokerEvent::LoggedIn(login) => Some(*login),
                _ => None,
            });
            let login = login.unwrap();
            assert!(login.name.text().ends_with(&format!("A{session}")), "{login:?}");
            // Report 1 is the day's start; nothing else has happened yet.
            assert_eq!((login.generation, login.next_urn, login.next_report), (1, 1, 2));
            assert_eq!(login.applied, 0);
            assert_eq!(firm.broker.next_sequence(), 1);
        }
        trade(&mut world);
        assert!(world.heard.books.open_orders() > 0, "orders rest when the day ends");
        world.skip_to(MIDNIGHT.plus((day - 1) * 24 * HOUR + 16 * HOUR + HOUR / 2));
        world.run(SECOND);
        world.skip_to(MIDNIGHT.plus((day - 1) * 24 * HOUR + 17 * HOUR));
        let ended = world.roll_off();
        assert!(ended.ends_with(&date));
        let (exchange, _) = replayed(&ended);
        assert_eq!(holdings(&exchange), moved(day));
        assert!(!world.home.path().join("hot").join(format!("RIALTO-{date}")).exists());
        for firm in &world.firms {
            assert_eq!(firm.events.last(), Some(&BrokerEvent::EndOfDay));
            let last = firm.reports().last().unwrap();
            assert!(matches!(last.1, Outbound::SystemEvent(s) if s.code == b'E'), "{last:?}");
        }
        assert_eq!(world.heard.ends.len(), day as usize);
        assert_eq!(world.heard.books.open_orders(), 0);

        // The evening: nobody serves. At eight the next day begins.
        let Ok(Next::Wait { until, plan }) =
            next_day(&world.config, &*rialto::store::files(), world.now())
        else {
            panic!("the evening is no trading day")
        };
        assert_eq!(until, MIDNIGHT.plus(day * 24 * HOUR + 8 * HOUR));
        assert_eq!(plan.name(), format!("2025-01-0{}", day + 2));
        assert!(matches!(world.start(), Err(StartError::BetweenDays { .. })));
        for firm in &mut world.firms {
            firm.events.clear();
            firm.broker.login();
        }
        world.run(SECOND);
        world.clock.set(until);
        world.start().unwrap();
        world.until(|w| w.firms.iter().all(|f| f.broker.is_caught_up()));
        for firm in &world.firms {
            let changed = |e: &BrokerEvent| matches!(e, BrokerEvent::SessionChanged { .. });
            assert!(firm.events.iter().any(changed));
        }
        world.skip_to(until.plus(HOUR));
        world.run(SECOND);
    }
    let sessions: Vec<String> = world.heard.sessions.iter().map(|s| s.0.text()).collect();
    assert_eq!(sessions, ["RIALTOA002", "RIALTOA003", "RIALTOA004", "RIALTOA005"]);
}

#[test]
fn the_old_name_is_answered_with_the_new_one() {
    let mut world = World::open(TEXT);
    trade(&mut world);
    world.skip_to(MIDNIGHT.plus(17 * HOUR));
    world.roll_off();
    world.firms.clear();
    world.clock.set(MIDNIGHT.plus(33 * HOUR));
    world.start().unwrap();
    let old = name("FIRM00A002");
    let firm = Firm::new(&world, 0, |config| {
        config.wanted = old;
        config.start_at = rialto::broker::StartAt::Report(9);
    });
    world.firms = vec![firm];
    world.until(|w| w.firms[0].broker.is_caught_up());
    let new = name("FIRM00A003");
    assert!(world.firms[0].has(BrokerEvent::SessionChanged { old, new }));
    let numbers: Vec<u64> = world.firms[0].reports().map(|r| r.0).collect();
    assert_eq!(numbers, [1]);
    let urn = world.firms[0].broker.enter(&order(Side::Sell, "AAPL", 1, 50_0000)).unwrap().urn;
    assert_eq!(urn, Urn(1));
}

#[test]
fn many_orders_expire_in_bounded_steps() {
    let mut world = World::open(TEXT);
    const ORDERS: u32 = 10_500;
    for i in 0..ORDERS {
        let firm = (i % 2) as usize;
        let side = if firm == 0 { Side::Sell } else { Side::Buy };
        let price = if firm == 0 { 60_0000 } else { 1_0000 } + i / 100 * 100;
        while world.firms[firm].broker.enter(&order(side, "MSFT", 1, price)).is_err() {
            world.run(MS);
        }
    }
    world.until(|w| w.firms.iter().all(|f| f.broker.unsettled() == 0));
    assert_eq!(world.heard.books.open_orders(), ORDERS as usize);
    world.skip_to(MIDNIGHT.plus(17 * HOUR));
    let dir = world.roll_off();
    let (exchange, events) = replayed(&dir);
    assert_eq!(exchange.open_orders(), 0);
    let mut expired: BTreeMap<Seq, u32> = BTreeMap::new();
    for event in &events {
        if let EventBody::Canceled(canceled) = &event.body {
            assert_eq!(canceled.reason, CancelReason::Closed as u8, "{canceled:?}");
            *expired.entry(event.head.command).or_default() += 1;
        }
    }
    assert_eq!(expired.values().sum::<u32>(), ORDERS);
    assert_eq!(expired.len() as u32, ORDERS.div_ceil(256), "each step as long as it may be");
    assert!(expired.values().all(|&n| n <= 256));
    assert_eq!(holdings(&exchange), moved(0), "what orders held is free again");
    for firm in &world.firms {
        let canceled = firm.reports().filter(|r| matches!(r.1, Outbound::Canceled(_))).count();
        assert_eq!(canceled as u32, ORDERS / 2);
        assert_eq!(firm.events.last(), Some(&BrokerEvent::EndOfDay));
    }
}

#[test]
fn orders_in_flight_at_the_end_are_applied_or_taken_back_never_both() {
    let mut world = World::open(TEXT);
    world.skip_to(MIDNIGHT.plus(17 * HOUR - 20 * MS));
    let mut sent = 0;
    // The end falls somewhere among these.
    while !world.over() {
        for firm in &mut world.firms {
            for _ in 0..3 {
                sent +=
                    usize::from(firm.broker.enter(&order(Side::Buy, "AAPL", 1, 1_0000)).is_ok());
            }
        }
        // Brokers send, the venue's agents take their turns, nobody waits for rest.
        let now = world.clock.advance(MS);
        for firm in &mut world.firms {
            let events = &mut firm.events;
            firm.broker.poll(now, |event| events.push(event));
        }
        for turn in 0..10 {
            world.step_agent(turn);
        }
    }
    let dir = world.roll_off();
    let (exchange, events) = replayed(&dir);
    let accepted = events.iter().filter(|e| matches!(e.body, EventBody::Accepted(_))).count();
    let (mut reported, mut withdrawn) = (0, 0);
    for firm in &world.firms {
        assert_eq!(firm.events.last(), Some(&BrokerEvent::EndOfDay));
        for settled in firm.settled() {
            match settled.by {
                SettledBy::Report => reported += 1,
                SettledBy::Withdrawn => withdrawn += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    println!("{sent} sent, {reported} applied, {withdrawn} taken back");
    assert_eq!(reported + withdrawn, sent, "each message is concluded once");
    // Market closed since 16:30: all that was applied was refused or accepted by a report.
    let rejected = events.iter().filter(|e| matches!(e.body, EventBody::Rejected(_))).count();
    assert_eq!(accepted + rejected, reported);
    assert!(reported > 0 && withdrawn > 0, "the end fell among them");
    assert_eq!(holdings(&exchange), moved(0));
}

#[test]
fn an_ended_day_still_answers_replay_and_repair() {
    let mut world = World::open(TEXT);
    trade(&mut world);
    // One firm and the subscriber are cut off when the day ends, for less than the dead time.
    world.skip_to(MIDNIGHT.plus(17 * HOUR - 100 * MS));
    world.run(90 * MS);
    let firm = "10.0.1.1:5000".parse().unwrap();
    let cut = |world: &World, cut| {
        world.network.set_cut(firm, cut);
        world.network.set_cut(world.config.feed.a, cut);
        world.network.set_cut(world.config.feed.b, cut);
    };
    cut(&world, true);
    world.until(World::over);
    world.run(3 * SECOND);
    assert!(!world.firms[0].has(BrokerEvent::EndOfDay));
    assert_eq!(world.firms[1].events.last(), Some(&BrokerEvent::EndOfDay));
    assert_eq!(world.heard.ends, [0u64; 0]);
    cut(&world, false);
    world.run(1_200 * MS);
    assert_eq!(world.firms[0].events.last(), Some(&BrokerEvent::EndOfDay));
    let numbers: Vec<u64> = world.firms[0].reports().map(|r| r.0).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    let last = world.firms[0].reports().last().unwrap();
    assert!(matches!(last.1, Outbound::SystemEvent(s) if s.code == b'E'), "{last:?}");
    assert_eq!(world.heard.ends.len(), 1);
    assert!(world.feed.counters().repaired > 0);
    assert!(world.venue().status.day_over().is_some());
    // A login to a day that is over is refused; the next one is logged in to by itself.
    world.firms[0].broker.login();
    world.run(SECOND);
    assert!(!world.firms[0].broker.is_bound());
    assert!(world.firms[0].events.iter().any(|e| matches!(e, BrokerEvent::Refused { .. })));
    // And it is told the end again by the next process, should this one die now.
    world.crash();
    world.start().unwrap();
    assert!(world.over());
    let before = world.heard.sessions.clone();
    world.run(SECOND);
    assert_eq!(world.heard.sessions, before);
    assert!(!world.day("2025-01-02").join("ended").exists(), "only when it was served");
    world.end_day();
    assert!(world.day("2025-01-02").join("ended").exists());
}

#[test]
fn a_day_that_nobody_ended_is_ended_before_the_next_begins() {
    let mut world = World::open(TEXT);
    trade(&mut world);
    world.crash();
    // Down over the end of the day and the whole next date.
    world.clock.set(MIDNIGHT.plus(2 * 24 * HOUR + 10 * HOUR));
    world.start().unwrap();
    let facts = &world.venue().facts;
    assert!(facts.ended_late && facts.day.ends_with("2025-01-02"), "{facts:?}");
    world.firms[0].broker.enter(&order(Side::Buy, "AAPL", 1, 90_0000)).unwrap();
    let ended = world.roll_off();
    let (exchange, events) = replayed(&ended);
    assert_eq!(holdings(&exchange), moved(1));
    assert!(
        !events.iter().any(|e| matches!(e.body, EventBody::Accepted(a) if a.price.0 == 90_0000))
    );
    world.firms.clear();
    world.start().unwrap();
    let facts = world.venue().facts.clone();
    assert!(facts.day.ends_with("2025-01-04"), "{facts:?}");
    assert_eq!(facts.carried_from.as_deref(), Some(world.day("2025-01-02").as_path()));
    assert_eq!(opening(&world.venue().genesis), moved(1));
    // Once only: a restart finds it begun.
    world.run(SECOND);
    world.crash();
    world.start().unwrap();
    assert_eq!(world.venue().facts.carried_from, None);
    assert!(!world.venue().facts.configuration_differs);
    let view = DayView::open(&world.day("2025-01-04")).unwrap();
    assert!(view.log(LogIndex::Command).reader().unwrap().next().unwrap().is_some());
}
