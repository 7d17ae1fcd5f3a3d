//! The three journeys: order -> execution report; execution -> market data; event -> replica reader
//! and report. A whole venue on one thread each.

use crate::venue::{self, GROUP_A, GROUP_B, MS, Venue, client::*};
use rialto::exchange::event::EventBody;
use rialto::net::MemoryPort;
use rialto::store::{DayView, LogIndex};
use rialto::subscriber::{BookMirror, FeedHandler, FeedOptions};
use rialto::types::*;
use rialto::wire::itch::Message;
use rialto::wire::ouch::Outbound;
use std::net::{Ipv4Addr, SocketAddrV4};

#[test]
fn order_to_execution_report() {
    let mut venue = Venue::new();
    let (mut maker, mut taker) = (venue.client(0), venue.client(1));
    let accepted = maker.login(&mut venue);
    assert_eq!((accepted.next_report, accepted.applied, accepted.next_urn), (2, 0, 1));
    assert_eq!((accepted.generation, accepted.dead_time_ms, accepted.epoch), (1, 5_000, 1));
    assert_eq!(accepted.downstream.text(), "FIRM00A002");
    taker.login(&mut venue);

    maker.send(&[&sell(1, 1_000_000)]);
    venue.settle();
    assert_eq!(maker.letters(), "A");
    taker.send(&[&buy(1, 1_000_000)]);
    venue.settle();

    // The taker: accepted, then executed, at the price of the resting order; numbers go on from S.
    let reports = taker.reports();
    let [(2, Outbound::Accepted(accepted)), (3, Outbound::Executed(taken))] = &reports[..] else {
        panic!("{reports:?}");
    };
    assert_eq!((accepted.urn, accepted.cl_ord_id.text().as_str()), (Urn(1), "ORDER1"));
    assert_eq!((taken.price, taken.quantity), (Price(1_000_000), Quantity(100)));
    assert_eq!(taken.liquidity, b'R');
    let since_midnight = venue.now().since(venue::MIDNIGHT);
    assert!(taken.timestamp <= since_midnight && taken.timestamp + MS > since_midnight);
    // The maker: the same match.
    let reports = maker.reports();
    let [(3, Outbound::Executed(made))] = &reports[..] else { panic!("{reports:?}") };
    assert_eq!((made.match_number, made.liquidity), (taken.match_number, b'A'));

    // Settled: K tells it within a millisecond.
    venue.run(2 * MS);
    let applied = taker.take().iter().rev().find_map(|r| match r {
        Received::Own(rialto::wire::session::Block::Applied(k)) => Some((k.applied, k.next_report)),
        _ => None,
    });
    assert_eq!(applied, Some((1, 4)));
    assert_eq!(venue.egress.latency().count(), 2, "both commands were measured");
    venue.engine.exchange().check();
}

#[test]
fn execution_to_market_data() {
    let venue = Venue::new();
    let interface = Ipv4Addr::new(10, 0, 9, 9);
    let mut feed: FeedHandler<MemoryPort> = FeedHandler::new(
        venue.network.join(GROUP_A, interface).unwrap(),
        venue.network.join(GROUP_B, interface).unwrap(),
        venue.network.bind(SocketAddrV4::new(interface, 7_000)).unwrap(),
        Vec::new(),
        FeedOptions::default(),
    );
    // The publisher says the morning again to who was not there.
    let mut venue = venue.restart(0);
    let (mut maker, mut taker) = (venue.client(0), venue.client(1));
    maker.login(&mut venue);
    taker.login(&mut venue);
    maker.send(&[&sell(1, 1_000_000), &sell(2, 1_000_100)]);
    venue.settle();
    taker.send(&[&enter(1, b'B', 1_000_100, |o| o.quantity = Quantity(150))]);
    venue.settle();
    taker.send(&[&buy(2, 999_900)]);
    venue.settle();

    let mut messages = Vec::new();
    feed.poll(venue.now(), &mut |_: u64, payload: &[u8], _: bool| {
        messages.push(payload.to_vec());
    });
    let letters: String = messages.iter().map(|m| m[0] as char).collect();
    assert!(letters.ends_with("AAEEA"), "{letters}");
    let executed = |bytes: &Vec<u8>| match Message::decode(bytes).unwrap() {
        Message::Executed(e) => (e.quantity, e.match_number),
        other => panic!("{other:?}"),
    };
    let count = messages.len();
    let (first, second) = (executed(&messages[count - 3]), executed(&messages[count - 2]));
    assert_eq!((first.0, second.0), (Quantity(100), Quantity(50)));

    // The reports of the taker carry the same match numbers.
    let numbers: Vec<MatchNumber> = taker
        .reports()
        .iter()
        .filter_map(|(_, r)| match r {
            Outbound::Executed(e) => Some(e.match_number),
            _ => None,
        })
        .collect();
    assert_eq!(numbers, [first.1, second.1]);

    // A book built from the feed is the exchange's book.
    let mut mirror = BookMirror::new(1_000);
    for message in &messages {
        mirror.apply(message, true, &mut ()).unwrap();
    }
    let bbo = mirror.bbo(Locate(1)).unwrap();
    let best = venue.engine.exchange().best(Locate(1));
    let pair = |top: Option<rialto::subscriber::Top>| top.map(|t| (t.price, t.quantity));
    assert_eq!([pair(bbo.bid), pair(bbo.ask)], best);
    assert_eq!(best, [Some((Price(999_900), 100)), Some((Price(1_000_100), 50))]);
}

#[test]
fn event_to_replica_reader_and_report() {
    let mut venue = Venue::new();
    let (mut maker, mut taker) = (venue.client(0), venue.client(1));
    maker.login(&mut venue);
    taker.login(&mut venue);
    for urn in 1..=50 {
        maker.send(&[&sell(urn, 1_000_000 + 100 * urn)]);
        taker.send(&[&buy(urn, 1_000_000 + 100 * urn)]);
        venue.settle();
    }
    venue.run(10 * MS);

    // Another reader of the files sees every event, and each report links to the session's last.
    let events = venue.events();
    let mut last = vec![(0u64, 0u64); venue.genesis.sessions.len()];
    for (position, event) in &events {
        let head = event.head;
        if head.report == 0 {
            continue;
        }
        let (number, previous) = last[head.session.0 as usize];
        assert_eq!((head.report, head.previous), (number + 1, previous));
        last[head.session.0 as usize] = (head.report, *position);
    }
    // What went out is what stands in the log, number by number.
    let logged: Vec<(u64, u32)> = events
        .iter()
        .filter(|(_, e)| e.head.session == SessionSlot(1))
        .filter_map(|(_, e)| match &e.body {
            EventBody::Executed(x) => Some((e.head.report, x.quantity.0)),
            _ => None,
        })
        .collect();
    let sent: Vec<(u64, u32)> = taker
        .reports()
        .iter()
        .filter_map(|(n, r)| match r {
            Outbound::Executed(x) => Some((*n, x.quantity.0)),
            _ => None,
        })
        .collect();
    assert_eq!(logged.len(), 50);
    assert_eq!(logged, sent);

    // A replica that has only the command log comes to the same state.
    let view = DayView::open(&venue.day_dir()).unwrap();
    let mut commands = view.log(LogIndex::Command).reader().unwrap();
    let mut replica = rialto::exchange::Exchange::new(&venue.genesis).unwrap();
    let mut replayed = Vec::new();
    while let Some(record) = commands.next().unwrap() {
        let command =
            rialto::exchange::command::Command::decode(record.kind, record.payload).unwrap();
        replica.apply(record.seq, record.time, &command, &mut replayed);
    }
    assert_eq!(replica.state_hash(), venue.engine.exchange().state_hash());
    assert_eq!(replayed.len(), events.len());
    let (hashed, hash) = venue.status.state_hash();
    assert_eq!((hashed, hash), (venue.status.applied(), replica.state_hash()));
}

#[test]
fn sessions_resume_by_themselves_after_a_restart() {
    let mut venue = Venue::new();
    let (mut maker, mut taker) = (venue.client(0), venue.client(1));
    maker.login(&mut venue);
    taker.login(&mut venue);
    maker.send(&[&sell(1, 1_000_000), &sell(2, 1_000_100)]);
    taker.send(&[&buy(1, 1_000_000)]);
    venue.settle();
    let before = maker.reports();
    taker.take();

    // Away for longer than the dead time: nobody is dead for it.
    let mut venue = venue.restart(60_000 * MS);
    venue.settle();
    // Heartbeat and K at once to every bound client; no report unasked.
    let received = maker.take();
    assert!(received.contains(&Received::Heartbeat(5)), "{received:?}");
    assert!(received.iter().any(|r| matches!(r, Received::Own(_))), "{received:?}");
    assert!(!received.iter().any(|r| matches!(r, Received::Reports(..))), "{received:?}");
    assert!(taker.take().contains(&Received::Heartbeat(4)));

    // The token still holds; numbers go on; old reports can be had again, byte for byte.
    taker.send(&[&buy(2, 1_000_100)]);
    venue.settle();
    assert_eq!(taker.letters(), "AE");
    assert_eq!(maker.letters(), "E");
    maker.request(2, 3);
    venue.settle();
    assert_eq!(maker.reports(), before);
    venue.run(4_000 * MS);
    assert!(venue.board.binding(SessionSlot(0)).1.bound, "one dead time after coming back");
    venue.run(3_000 * MS);
    assert!(!venue.board.binding(SessionSlot(0)).1.bound, "silent for longer than that");
    venue.engine.exchange().check();
}
