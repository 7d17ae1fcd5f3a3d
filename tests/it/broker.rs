//! The broker's client against a scripted exchange side over a network in memory: what a loss, a
//! doubling, a forgery or a death does, and what it must not do.

mod fake;
#[cfg(feature = "cli")]
mod programs;
mod real;
mod worked;

use fake::*;
use rialto::broker::*;
use rialto::net::MemoryNetwork;
use rialto::types::*;
use rialto::wire::mold::{Header, PacketBuilder};
use rialto::wire::ouch::Outbound;
use rialto::wire::session::RefusedCode;

fn is_logged_in(event: &BrokerEvent) -> bool {
    matches!(event, BrokerEvent::LoggedIn(_))
}

fn is_gone(gone: Gone) -> impl Fn(&BrokerEvent) -> bool {
    move |event| *event == BrokerEvent::Disconnected(gone)
}

/// Messages in the datagrams that gateway `index` received: first sequence and blocks.
fn sequences(bench: &Bench) -> Vec<(usize, u64, u16)> {
    let header = |(index, bytes): &(usize, Vec<u8>)| {
        let header = Header::read(bytes).unwrap();
        (*index, header.sequence, header.count)
    };
    let messages =
        |(_, sequence, count): &(usize, u64, u16)| *sequence > 0 && *count > 0 && *count < u16::MAX;
    let token = |(_, bytes): &&(usize, Vec<u8>)| bytes[..10] != bench.fake.name.0;
    bench.fake.received.iter().filter(token).map(header).filter(messages).collect()
}

#[test]
fn login_order_report_settled() {
    let mut bench = Bench::new(config());
    assert_eq!(bench.broker.enter(&order()), Err(SendError::NotLoggedIn));
    bench.run_until(10, |b| b.broker.is_caught_up());
    assert!(is_logged_in(&bench.events[0]));
    assert_eq!(bench.delivered(), [1], "the day's first report was asked for");
    let sent = bench.enter();
    assert_eq!((sent.sequence, sent.urn), (1, Urn(1)));
    bench.step();
    assert_eq!(bench.delivered(), [1, 2]);
    assert_eq!(bench.settled(), [(1, SettledBy::Report)]);
    let Some(BrokerEvent::Settled(s)) = bench.events.last() else { panic!() };
    assert_eq!((s.kind, s.first_sent, s.transmissions), (b'O', bench.now, 1));
}

#[test]
fn several_messages_share_a_datagram() {
    let mut bench = Bench::bound(config());
    for _ in 0..30 {
        bench.enter();
    }
    bench.step();
    assert_eq!(sequences(&bench), [(0, 1, 28), (0, 29, 2)], "20 + 28 x 49 are 1,392");
    assert!(bench.fake.received.iter().all(|(_, bytes)| bytes.len() <= 1_400));
    assert_eq!(bench.settled().len(), 30);
}

#[test]
fn superfluous_messages_are_concluded_by_the_applied_mark_alone() {
    let mut bench = Bench::bound(config());
    let first = bench.enter();
    bench.step();
    bench.broker.cancel(first.urn, Quantity(0)).unwrap();
    bench.broker.cancel(first.urn, Quantity(0)).unwrap();
    let dead = ReplaceOrder::new(first.urn, Quantity(50), Price(9_0000));
    bench.broker.replace(&dead).unwrap();
    bench.broker.query().unwrap();
    bench.run(1);
    use SettledBy::*;
    assert_eq!(
        bench.settled(),
        [(1, Report), (2, Applied), (3, Applied), (4, Applied), (5, Applied)]
    );
    assert_eq!(bench.delivered(), [2, 3, 4], "accepted, canceled, query's answer");
}

#[test]
fn applied_is_concluded_only_after_its_reports() {
    let mut bench = Bench::bound(config());
    let urn = bench.enter().urn;
    bench.step();
    bench.events.clear();
    bench.fake.sends_reports = false;
    bench.fake.answers_replay = false;
    bench.broker.cancel(urn, Quantity(0)).unwrap();
    bench.run(3);
    assert_eq!(bench.broker.unsettled(), 0, "K stops the repeats");
    assert_eq!(bench.events, [], "but its report is not here");
    bench.fake.answers_replay = true;
    bench.run(20);
    assert_eq!(bench.delivered(), [3]);
    assert_eq!(bench.settled(), [(2, SettledBy::Applied)]);
    assert_eq!(sequences(&bench).len(), 2, "no repeat");
}

#[test]
fn lost_message_is_repeated_with_the_same_bytes_then_at_the_next_gateway() {
    let mut bench = Bench::bound(config());
    bench.fake.loses_inbound = true;
    bench.enter();
    bench.run(3);
    bench.enter();
    bench.run(27);
    let sent = sequences(&bench);
    assert_eq!(sent[..2], [(0, 1, 1), (0, 2, 1)]);
    assert!(sent[2..].iter().all(|(_, first, count)| (*first, *count) == (1, 2)), "{sent:?}");
    let gateways: Vec<usize> = sent.iter().map(|(index, ..)| *index).collect();
    assert_eq!(gateways, [0, 0, 0, 0, 0, 1, 1], "three repeats, then the next address");
    let repeats: Vec<_> = bench.fake.received.iter().filter(|(_, b)| b.len() > 120).collect();
    assert!(repeats.iter().all(|(_, bytes)| *bytes == repeats[0].1));
    bench.fake.loses_inbound = false;
    bench.run(10);
    assert_eq!(bench.settled(), [(1, SettledBy::Report), (2, SettledBy::Report)]);
    assert_eq!(bench.fake.done.len(), 2, "applied once");
}

/// One order a millisecond.
fn enter_for(bench: &mut Bench, ms: u64) {
    for _ in 0..ms {
        bench.enter();
        bench.run(1);
    }
}

#[test]
fn nothing_is_repeated_where_every_answer_waits_for_the_disk() {
    let mut bench = Bench::new(config());
    bench.fake.commit_ns = 15 * MS;
    bench.run_until(1_000, |b| b.broker.is_caught_up());
    let wait = bench.broker.resend_after_ns();
    assert!((30 * MS..31 * MS).contains(&wait), "{wait}: the login was the first round trip");
    enter_for(&mut bench, 500);
    bench.run(50);
    assert_eq!((bench.broker.counters().repeats, bench.broker.unsettled()), (0, 0));
    // A lost datagram is repeated after twice the round trip.
    bench.fake.loses_inbound = true;
    bench.enter();
    bench.run(20);
    bench.fake.loses_inbound = false;
    bench.run(50);
    assert_eq!((bench.broker.counters().repeats, bench.broker.unsettled()), (1, 0));
}

#[test]
fn the_wait_before_a_repeat_follows_the_round_trip_up_and_down() {
    let mut bench = Bench::bound(config());
    assert_eq!(bench.broker.resend_after_ns(), 5 * MS);
    enter_for(&mut bench, 20);
    bench.fake.commit_ns = 15 * MS;
    enter_for(&mut bench, 200);
    let repeats = bench.broker.counters().repeats;
    assert!((1..=20).contains(&repeats), "{repeats}");
    enter_for(&mut bench, 500);
    assert_eq!(bench.broker.counters().repeats, repeats, "measured by now");
    let wait = bench.broker.resend_after_ns();
    assert!((30 * MS..32 * MS).contains(&wait), "{wait}");
    bench.fake.commit_ns = 0;
    bench.run(20);
    enter_for(&mut bench, 3_000);
    assert_eq!(bench.broker.resend_after_ns(), 5 * MS);
    assert_eq!(bench.fake.done.len(), 3_720, "applied once each");
}

#[test]
fn new_messages_wait_while_an_old_one_is_repeated() {
    let mut bench = Bench::bound(config());
    bench.fake.loses_inbound = true;
    bench.enter();
    bench.run(6);
    for _ in 0..100 {
        bench.enter();
    }
    bench.run(2);
    bench.fake.loses_inbound = false;
    bench.run(20);
    assert!(bench.settled().iter().all(|(_, by)| *by == SettledBy::Report));
    assert_eq!(bench.settled().len(), 101);
    assert_eq!(bench.broker.unsettled(), 0);
}

#[test]
fn an_overtaken_message_is_told_and_never_applied() {
    let mut bench = Bench::bound(config());
    bench.fake.loses_inbound = true;
    bench.enter();
    bench.step();
    bench.fake.loses_inbound = false;
    let second = bench.enter();
    bench.step();
    assert_eq!(bench.settled(), [(1, SettledBy::NotApplied), (2, SettledBy::Report)]);
    let position = |what: fn(&BrokerEvent) -> bool| bench.events.iter().position(what).unwrap();
    let told = position(|e| {
        matches!(e, BrokerEvent::Report { report: Outbound::NotApplied(n), .. }
            if (n.from, n.count) == (1, 1))
    });
    assert!(told < position(|e| matches!(e, BrokerEvent::Settled(_))));
    assert_eq!(bench.fake.live, [second.urn]);
    let again = bench.enter();
    assert_eq!((again.sequence, again.urn), (3, Urn(3)), "wanted still: under a new reference");
}

#[test]
fn previous_messages_in_each_datagram_survive_single_losses() {
    let mut bench = Bench::bound(BrokerConfig { repeat_previous: 2, ..config() });
    bench.fake.loses_inbound = true;
    bench.enter();
    bench.step();
    bench.fake.loses_inbound = false;
    bench.enter();
    bench.step();
    assert_eq!(bench.settled(), [(1, SettledBy::Report), (2, SettledBy::Report)]);
}

#[test]
fn a_full_window_refuses() {
    let mut bench = Bench::bound(BrokerConfig { window: 4, ..config() });
    bench.fake.loses_inbound = true;
    for _ in 0..4 {
        bench.enter();
    }
    let next = bench.broker.next_urn();
    assert_eq!(bench.broker.enter(&order()), Err(SendError::WindowFull));
    assert_eq!(bench.broker.next_urn(), next, "nothing used up");
    bench.fake.loses_inbound = false;
    bench.step();
    assert_eq!(bench.broker.free(), 4);
}

#[test]
fn doubled_and_reordered_reports_come_once_in_order() {
    let mut bench = Bench::bound(config());
    bench.fake.sends_reports = false;
    bench.fake.sends_applied = false;
    bench.fake.answers_replay = false;
    for _ in 0..5 {
        bench.enter();
    }
    bench.step();
    let packet = |first: usize, count: usize| {
        let mut packet = PacketBuilder::new([0; 1400], bench.fake.name, first as u64);
        for report in &bench.fake.reports[first - 1..first - 1 + count] {
            packet.push_bytes(report);
        }
        packet.packet().to_vec()
    };
    for bytes in
        [packet(5, 2), packet(4, 1), packet(5, 1), packet(1, 2), packet(2, 4), packet(6, 1)]
    {
        bench.inject(GATEWAYS[1], &bytes);
    }
    bench.step();
    assert_eq!(bench.delivered(), [2, 3, 4, 5, 6]);
    assert_eq!(bench.settled().len(), 5);
}

#[test]
fn a_lost_tail_is_seen_by_the_heartbeat() {
    let mut bench = Bench::bound(config());
    bench.fake.sends_reports = false;
    let urn = Urn(1);
    bench.enter();
    bench.step();
    bench.fake.executed(urn, 10, 1);
    bench.fake.sends_applied = false;
    bench.step();
    bench.events.clear();
    bench.run(300);
    assert_eq!(bench.delivered(), [3]);
    assert!(bench.broker.counters().replay_requests >= 1);
}

#[test]
fn a_long_day_is_rebuilt_in_chunks_and_own_orders_with_it() {
    let mut bench = Bench::new(config());
    for i in 0..3_000u32 {
        bench.fake.next += 1;
        bench.fake.last_urn += 1;
        bench.fake.live.push(Urn(i + 1));
        bench.fake.report(accepted_report(i + 1));
        bench.fake.executed(Urn(i + 1), 40, i as u64 + 1);
    }
    bench.run_until(200, |b| b.broker.is_caught_up());
    assert_eq!(bench.delivered(), (1..=6_001).collect::<Vec<u64>>());
    let mut own = OwnOrders::new();
    for event in &bench.events {
        if let BrokerEvent::Report { report, .. } = event {
            own.apply(report);
        }
    }
    assert_eq!(own.live().len(), 3_000);
    assert!(own.live().all(|o| (o.open, o.executed) == (Quantity(60), Quantity(40))));
    assert_eq!(own.position(Symbol::new("ALPH").unwrap()).net(), 120_000);
    let sent = bench.enter();
    assert_eq!((sent.sequence, sent.urn), (3_001, Urn(3_001)), "goes on where the day was");
}

fn accepted_report(urn: u32) -> Outbound {
    Outbound::Accepted(rialto::wire::ouch::Accepted {
        timestamp: 1,
        urn: Urn(urn),
        side: Side::Buy,
        quantity: Quantity(100),
        symbol: Symbol::new("ALPH").unwrap(),
        price: Price(10_0000),
        tif: b'0',
        display: b'Y',
        order_ref: OrderRef(urn as u64),
        capacity: b'P',
        iso: b'N',
        cross: b'N',
        state: b'L',
        cl_ord_id: ClOrdId::BLANK,
        appendage: Default::default(),
    })
}

#[test]
fn live_and_numbered_starts_ask_for_no_more_than_they_want() {
    for (start_at, wanted) in
        [(StartAt::Live, vec![]), (StartAt::Report(2), vec![2, 3]), (StartAt::Report(4), vec![])]
    {
        let mut bench = Bench::new(BrokerConfig { start_at, ..config() });
        bench.fake.report(accepted_report(1));
        bench.fake.executed(Urn(1), 1, 1);
        bench.run(20);
        assert!(bench.broker.is_caught_up());
        assert_eq!(bench.delivered(), wanted, "{start_at:?}");
    }
}

#[test]
fn reports_that_overtake_the_login_are_dropped_and_fetched() {
    let mut bench = Bench::new(config());
    let name = bench.fake.name;
    let first = bench.fake.reports[0].clone();
    let early = |number: u64| {
        let mut packet = PacketBuilder::new([0; 1400], name, number);
        packet.push_bytes(&first);
        packet.packet().to_vec()
    };
    bench.inject(GATEWAYS[0], &early(1));
    bench.broker.poll(bench.now, |event| panic!("{event:?}"));
    bench.inject(GATEWAYS[0], &early(2));
    bench.broker.poll(bench.now, |event| panic!("{event:?}"));
    assert_eq!(bench.broker.counters().wrong_session, 2);
    bench.run_until(10, |b| b.broker.is_caught_up());
    assert_eq!(bench.delivered(), [1]);
}

#[test]
fn silence_then_login_then_everything_above_the_applied_mark_goes_out_again() {
    let mut bench = Bench::bound(BrokerConfig { dead_time_ms: 1_000, ..config() });
    // The first is applied, but nobody says so; the second never arrives.
    bench.fake.sends_reports = false;
    bench.fake.sends_applied = false;
    bench.fake.heartbeats = false;
    bench.fake.answers_replay = false;
    bench.enter();
    bench.step();
    bench.fake.loses_inbound = true;
    bench.enter();
    bench.run(1_100);
    assert!(bench.has(is_gone(Gone::Silence)));
    assert_eq!(bench.broker.state(), State::LoggingIn);
    bench.enter();
    bench.fake.loses_inbound = false;
    bench.fake.sends_reports = true;
    bench.fake.sends_applied = true;
    bench.fake.heartbeats = true;
    bench.fake.answers_replay = true;
    bench.fake.received.clear();
    bench.run(1_500);
    assert!(bench.has(is_logged_in));
    let sent = sequences(&bench);
    assert_eq!(sent.iter().map(|s| (s.1, s.2)).collect::<Vec<_>>(), [(2, 2)]);
    assert_eq!(bench.delivered(), [2, 3, 4]);
    assert_eq!(bench.settled().iter().map(|s| s.0).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(bench.fake.done.iter().map(|d| d.sequence).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn unsettled_messages_can_be_taken_back_at_a_reconnect() {
    let mut bench =
        Bench::bound(BrokerConfig { dead_time_ms: 1_000, keep_unsettled: false, ..config() });
    bench.fake.loses_inbound = true;
    bench.fake.heartbeats = false;
    bench.enter();
    bench.run(1_500);
    assert_eq!(bench.broker.enter(&order()), Err(SendError::NotLoggedIn));
    bench.fake.loses_inbound = false;
    bench.fake.heartbeats = true;
    bench.run(1_500);
    assert_eq!(bench.settled(), [(1, SettledBy::Withdrawn)]);
    assert_eq!(bench.enter().sequence, 1, "the number is free: it was never applied");
    bench.step();
    assert_eq!(bench.settled()[1..], [(1, SettledBy::Report)]);
}

#[test]
fn a_dead_gateway_is_left_before_the_session_dies() {
    let mut bench = Bench::bound(config());
    bench.network.set_cut(address(GATEWAYS[0]), true);
    bench.run(4_500);
    assert_eq!(bench.broker.gateway(), address(GATEWAYS[1]));
    bench.enter();
    bench.run(300);
    assert_eq!(bench.settled(), [(1, SettledBy::Report)]);
    assert!(!bench.has(|e| matches!(e, BrokerEvent::Disconnected(_))));
}

#[test]
fn a_silent_gateway_at_login_is_passed_over() {
    let mut bench = Bench::new(config());
    bench.network.set_cut(address(GATEWAYS[0]), true);
    bench.run_until(300, |b| b.broker.is_bound());
    assert_eq!(bench.broker.gateway(), address(GATEWAYS[1]));
}

#[test]
fn a_lost_accept_is_sent_again_for_the_same_login() {
    let mut bench = Bench::new(config());
    let poll = |b: &mut Bench| b.broker.poll(b.now, |_| {});
    poll(&mut bench);
    bench.fake.pump(bench.now);
    poll(&mut bench); // the signed L is on its way
    bench.network.set_loss(1_000_000);
    bench.fake.pump(bench.now);
    bench.network.set_loss(0);
    assert!(bench.fake.is_bound());
    poll(&mut bench);
    assert!(!bench.broker.is_bound());
    bench.run_until(100, |b| b.broker.is_bound());
    assert_eq!(bench.fake.generation, 1, "one login, answered twice");
    assert_eq!(bench.broker.counters().logins, 1);
}

#[test]
fn a_login_committed_between_two_attempts_is_taken() {
    for packet_mac in [false, true] {
        let mut bench = Bench::new(BrokerConfig { packet_mac, ..config() });
        let poll = |b: &mut Bench| b.broker.poll(b.now, |_| {});
        poll(&mut bench);
        bench.fake.pump(bench.now);
        poll(&mut bench); // the signed L is on its way
        let signed = bench.now;
        while bench.now.since(signed) < 3_530 * MS {
            bench.now = bench.now.plus(MS / 10);
            poll(&mut bench);
        }
        // Committed now, in the pause after the attempt was given up; its A is lost.
        bench.network.set_loss(1_000_000);
        bench.fake.pump(bench.now);
        bench.network.set_loss(0);
        assert!(bench.fake.is_bound());
        bench.run(2_000);
        assert_eq!(bench.fake.generation, 1, "one login");
        assert!(bench.broker.is_caught_up());
        bench.enter();
        bench.run(1);
        assert_eq!(bench.settled(), [(1, SettledBy::Report)]);
    }
}

#[test]
fn refusals_are_told_and_tried_again() {
    for code in [
        RefusedCode::NotAuthorised,
        RefusedCode::NoSession,
        RefusedCode::Time,
        RefusedCode::BoundElsewhere,
        RefusedCode::NotLeader,
    ] {
        let mut bench = Bench::new(config());
        bench.fake.refuses = Some(code);
        bench.run(1_000);
        let told = |e: &BrokerEvent| matches!(e, BrokerEvent::Refused { why, .. } if *why == code);
        assert!(bench.has(told), "{code:?}");
        assert!(bench.events.len() < 12, "backs off: {code:?} {}", bench.events.len());
        bench.fake.refuses = None;
        bench.run_until(6_000, |b| b.broker.is_bound());
    }
}

#[test]
fn a_wrong_key_is_refused_by_either_side() {
    let mut bench = Bench::new(BrokerConfig { key: [2; 32], ..config() });
    bench.run(300);
    let told =
        |e: &BrokerEvent| matches!(e, BrokerEvent::Refused { why: RefusedCode::NotAuthorised, .. });
    assert!(bench.has(told));

    let mut bench = Bench::new(config());
    bench.fake.wrong_accept_hmac = true;
    bench.run(300);
    assert!(!bench.broker.is_bound(), "an exchange without the key is not believed");
    assert!(bench.broker.counters().malformed > 0);
}

#[test]
fn dead_token_is_believed_with_our_nonce_and_doubted_without() {
    let mut bench = Bench::bound(config());
    let nonce = bench.fake.client_nonce();
    bench.fake.refuse(0, address(CLIENT), RefusedCode::NoSession, nonce);
    bench.step();
    assert!(bench.has(is_gone(Gone::TokenDead)));
    bench.run_until(100, |b| b.broker.is_bound());

    // Forged: the exchange still answers.
    bench.events.clear();
    bench.fake.refuse(0, address(CLIENT), RefusedCode::NoSession, [0; 16]);
    bench.fake.refuse(0, address(CLIENT), RefusedCode::NoSession, [5; 16]);
    bench.fake.refuse(0, address(CLIENT), RefusedCode::BoundElsewhere, [0; 16]);
    bench.run(200);
    assert!(!bench.has(|e| matches!(e, BrokerEvent::Disconnected(_))));
    assert!(bench.broker.is_bound());

    // True, without a nonce.
    bench.fake.kill();
    bench.enter();
    bench.run(200);
    assert!(bench.has(is_gone(Gone::TokenDead)));
    assert!(bench.broker.is_bound());
    assert_eq!(bench.settled(), [(1, SettledBy::Report)]);
}

#[test]
fn displaced_stays_down_until_told() {
    let mut bench = Bench::bound(config());
    let nonce = bench.fake.client_nonce();
    bench.fake.kill();
    bench.fake.next += 5;
    bench.fake.last_urn += 5;
    bench.fake.refuse(0, address(CLIENT), RefusedCode::BoundElsewhere, nonce);
    bench.run(500);
    assert!(bench.has(is_gone(Gone::Displaced)));
    assert_eq!(bench.broker.state(), State::Stopped);
    assert_eq!(bench.broker.enter(&order()), Err(SendError::NotLoggedIn));
    bench.broker.login();
    bench.run_until(100, |b| b.broker.is_bound());
    let sent = bench.enter();
    assert_eq!((sent.sequence, sent.urn), (6, Urn(6)), "above what the other one used");
}

#[test]
fn numbers_used_by_another_process_are_not_sent_again() {
    let mut bench = Bench::bound(config());
    bench.fake.loses_inbound = true;
    bench.enter();
    bench.step();
    let nonce = bench.fake.client_nonce();
    bench.fake.kill();
    bench.fake.loses_inbound = false;
    bench.fake.next = 10;
    bench.fake.last_urn = 10;
    bench.fake.refuse(0, address(CLIENT), RefusedCode::BoundElsewhere, nonce);
    bench.step();
    bench.broker.login();
    bench.run_until(100, |b| b.broker.is_bound());
    assert_eq!(bench.settled(), [(1, SettledBy::Unknown)]);
    assert_eq!(bench.enter().sequence, 10);
    bench.run(10);
    assert_eq!(bench.settled()[1..], [(10, SettledBy::Report)]);
}

#[test]
fn an_own_login_whose_answer_was_lost_leaves_what_is_above_the_applied_mark() {
    let mut bench = Bench::bound(config());
    bench.fake.sends_reports = false;
    bench.fake.sends_applied = false;
    bench.fake.answers_replay = false;
    bench.enter();
    bench.step(); // applied, and nobody says so
    bench.fake.loses_inbound = true;
    bench.enter();
    bench.run(1);
    bench.fake.loses_inbound = false;
    let nonce = bench.fake.client_nonce();
    bench.fake.kill();
    bench.fake.refuse(0, address(CLIENT), RefusedCode::NoSession, nonce);
    bench.step(); // the signed L is on its way
    bench.network.set_loss(1_000_000);
    let now = bench.now;
    bench.fake.pump(now);
    bench.network.set_loss(0);
    assert_eq!(bench.fake.generation, 2);
    bench.fake.kill(); // and this binding dies before its A is repeated
    bench.fake.sends_reports = true;
    bench.fake.sends_applied = true;
    bench.fake.answers_replay = true;
    bench.run(6_000);
    assert_eq!(bench.fake.generation, 3);
    assert_eq!(bench.settled(), [(1, SettledBy::Unknown), (2, SettledBy::Report)]);
    assert_eq!(bench.fake.done.len(), 2);
}

#[test]
fn another_name_starts_anew() {
    let mut bench = Bench::bound(config());
    bench.fake.loses_inbound = true;
    bench.enter();
    bench.step();
    let nonce = bench.fake.client_nonce();
    bench.fake.kill();
    bench.fake.loses_inbound = false;
    let old = bench.fake.name;
    let new = rialto::wire::session::stream_name(&user(), b'B', 31);
    bench.fake.name = new;
    bench.fake.refuse(0, address(CLIENT), RefusedCode::NoSession, nonce);
    bench.run_until(100, |b| b.broker.is_caught_up());
    assert!(bench.has(|e| *e == BrokerEvent::SessionChanged { old, new }));
    assert_eq!(bench.settled(), [(1, SettledBy::Unknown)]);
    assert_eq!(bench.delivered(), [1], "numbered anew");
    assert_eq!(bench.broker.session_name(), Some(new));
}

#[test]
fn a_persisted_name_of_another_day_is_told() {
    let yesterday = SessionName::new("ALFA01A030").unwrap();
    let start_at = StartAt::Report(500);
    let mut bench = Bench::new(BrokerConfig { wanted: yesterday, start_at, ..config() });
    bench.run_until(100, |b| b.broker.is_caught_up());
    let old = yesterday;
    assert!(bench.has(|e| matches!(e, BrokerEvent::SessionChanged { old: o, .. } if *o == old)));
    assert_eq!(bench.delivered(), [1]);
}

#[test]
fn logoff_waits_for_messages_and_is_repeated_until_answered() {
    let mut bench = Bench::bound(config());
    bench.fake.loses_inbound = true;
    bench.enter();
    bench.broker.logoff();
    bench.run(20);
    assert_eq!(bench.broker.state(), State::LoggingOff);
    assert_eq!(bench.broker.enter(&order()), Err(SendError::NotLoggedIn));
    bench.fake.loses_inbound = false;
    bench.run(100);
    assert_eq!(bench.settled(), [(1, SettledBy::Report)]);
    assert_eq!(bench.events.last(), Some(&BrokerEvent::LoggedOff));
    assert!(!bench.fake.is_bound());
    assert_eq!(bench.broker.state(), State::Stopped);
    bench.broker.login();
    bench.run_until(100, |b| b.broker.is_bound());
}

#[test]
fn a_logoff_outlives_a_reconnect() {
    let mut bench = Bench::bound(config());
    bench.fake.loses_inbound = true;
    bench.enter();
    bench.broker.logoff();
    bench.run(20);
    let nonce = bench.fake.client_nonce();
    bench.fake.kill();
    bench.fake.refuse(0, address(CLIENT), RefusedCode::NoSession, nonce);
    bench.run(5);
    assert!(bench.has(is_gone(Gone::TokenDead)));
    assert_eq!(bench.broker.state(), State::LoggingOff);
    assert_eq!(bench.broker.enter(&order()), Err(SendError::NotLoggedIn));
    bench.fake.loses_inbound = false;
    bench.run(1_000);
    assert_eq!(bench.settled(), [(1, SettledBy::Report)]);
    assert_eq!(bench.events.last(), Some(&BrokerEvent::LoggedOff));
    bench.broker.login();
    bench.run_until(100, |b| b.broker.is_bound());
    bench.run(100);
    assert!(bench.broker.is_bound(), "the wish is fulfilled");
}

#[test]
fn end_of_day_comes_after_its_last_report() {
    let mut bench = Bench::bound(config());
    bench.fake.sends_reports = false;
    bench.fake.report(Outbound::SystemEvent(rialto::wire::ouch::SystemEvent {
        timestamp: 5,
        code: b'E',
    }));
    bench.step();
    let now = bench.now;
    bench.fake.send_end_of_day(now);
    bench.run(20);
    assert_eq!(bench.delivered(), [2]);
    assert_eq!(bench.events.last(), Some(&BrokerEvent::EndOfDay));
    assert_eq!(bench.broker.state(), State::Stopped);
}

#[test]
fn the_last_reports_of_a_day_are_asked_for_until_the_dead_time_brings_none() {
    let mut bench = Bench::bound(config());
    bench.fake.sends_reports = false;
    bench.fake.answers_replay = false;
    bench.enter();
    bench.run(1); // applied, and K says so; its report is lost
    bench.fake.executed(Urn(1), 100, 1);
    bench.fake.report(Outbound::SystemEvent(rialto::wire::ouch::SystemEvent {
        timestamp: 5,
        code: b'E',
    }));
    bench.step();
    let now = bench.now;
    bench.fake.send_applied(now);
    bench.fake.send_end_of_day(now);
    bench.run(2_000);
    bench.fake.answers_replay = true;
    bench.run(1_000);
    assert_eq!(bench.delivered(), [2, 3, 4]);
    assert_eq!(bench.settled(), [(1, SettledBy::Report)]);
    assert_eq!(bench.events.last(), Some(&BrokerEvent::EndOfDay));
}

#[test]
fn a_day_that_ends_without_its_reports_concludes_every_message_as_unknown() {
    let mut bench = Bench::bound(config());
    bench.fake.sends_reports = false;
    bench.fake.answers_replay = false;
    bench.enter();
    bench.run(1); // applied, and K says so
    bench.fake.loses_inbound = true;
    bench.enter();
    bench.run(1);
    let now = bench.now;
    bench.fake.send_end_of_day(now);
    bench.run(8_000);
    assert_eq!(bench.settled(), [(1, SettledBy::Unknown), (2, SettledBy::Unknown)]);
    assert_eq!(bench.events.last(), Some(&BrokerEvent::EndOfDay));
}

#[test]
fn packet_mac_covers_both_directions() {
    let mut bench = Bench::bound(BrokerConfig { packet_mac: true, ..config() });
    let urn = bench.enter().urn;
    bench.step();
    bench.broker.cancel(urn, Quantity(0)).unwrap();
    bench.run(1_500);
    assert_eq!(bench.settled(), [(1, SettledBy::Report), (2, SettledBy::Applied)]);
    assert_eq!(bench.broker.counters().bad_mac, 0);

    // The same report without a tag, and with a changed byte.
    let mut packet = PacketBuilder::new([0; 1400], bench.fake.name, 4);
    packet.push_bytes(&bench.fake.reports[0]);
    let mut bytes = packet.packet().to_vec();
    bench.inject(GATEWAYS[0], &bytes);
    bytes.extend([0; 8]);
    bench.inject(GATEWAYS[0], &bytes);
    bench.events.clear();
    bench.step();
    assert_eq!(bench.events, []);
    assert_eq!(bench.broker.counters().bad_mac, 2);
    bench.broker.logoff();
    bench.run(50);
    assert_eq!(bench.broker.state(), State::Stopped);
}

#[test]
fn heartbeats_keep_an_idle_session_alive() {
    let mut bench = Bench::bound(BrokerConfig { dead_time_ms: 1_000, ..config() });
    bench.run(5_000);
    assert_eq!(bench.events, []);
    let beats = bench.fake.received.iter().filter(|(_, b)| b.len() == 20).count();
    assert!((24..=26).contains(&beats), "every fifth of the dead time: {beats}");
}

#[test]
fn forged_and_broken_datagrams_change_nothing() {
    let mut bench = Bench::bound(config());
    bench.enter();
    bench.step();
    bench.events.clear();
    let mut state = 1u64;
    let mut random = move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize
    };
    // From strangers: even a perfect report.
    let mut packet = PacketBuilder::new([0; 1400], bench.fake.name, 3);
    packet.push_bytes(&bench.fake.reports[1]);
    let perfect = packet.packet().to_vec();
    bench.inject("10.0.0.66:9001", &perfect);
    bench.inject("10.0.0.1:9002", &perfect);
    bench.step();
    assert_eq!(bench.broker.counters().foreign, 2);
    // From a gateway's address: another session's name, cut, lengthened, flipped, noise.
    let mut other = perfect.clone();
    other[5] ^= 1;
    bench.inject(GATEWAYS[0], &other);
    for round in 0..3_000 {
        let mut bytes = match round % 3 {
            0 => (0..random() % 200).map(|_| random() as u8).collect(),
            1 => perfect[..random() % perfect.len()].to_vec(),
            _ => [&perfect[..], &vec![0; 1 + random() % 50]].concat(),
        };
        if round % 2 == 0 && bytes.len() >= 18 {
            bytes[10..18].fill(0); // own blocks
        }
        bench.inject(GATEWAYS[0], &bytes);
        if round % 50 == 0 {
            bench.step();
        }
    }
    bench.run(20);
    assert_eq!(bench.events, [], "no report, no disconnect");
    let sent = bench.enter();
    bench.step();
    assert_eq!(bench.settled(), [(sent.sequence, SettledBy::Report)]);
}

#[test]
fn forged_marks_do_not_settle_or_stall() {
    let mut bench = Bench::bound(config());
    let name = bench.fake.name;
    let mut out = [0; 20];
    Header { session: name, sequence: u64::MAX, count: 0 }.write(&mut out);
    bench.inject(GATEWAYS[0], &out);
    bench.run(10);
    let sent = bench.enter();
    bench.run(5);
    assert_eq!(bench.settled(), [(sent.sequence, SettledBy::Report)]);
    bench.run(3_000);
    assert!(bench.broker.is_caught_up(), "the number nobody can deliver is forgotten");
}

#[test]
fn a_forged_mark_is_forgotten_also_while_reports_come() {
    let mut bench = Bench::bound(config());
    let name = bench.fake.name;
    let mut out = [0; 20];
    Header { session: name, sequence: u64::MAX, count: 0 }.write(&mut out);
    bench.inject(GATEWAYS[0], &out);
    for _ in 0..60 {
        bench.enter();
        bench.run(500);
    }
    assert!(bench.broker.is_caught_up());
}

#[test]
fn not_caught_up_while_most_of_the_day_is_missing() {
    let mut bench = Bench::new(config());
    for urn in 1..=3_000 {
        bench.fake.report(accepted_report(urn));
    }
    bench.fake.answers_replay = false;
    bench.fake.heartbeats = false; // the exchange is being restarted, say: 1.4 s of nothing
    bench.run_until(100, |b| b.broker.is_bound());
    for _ in 0..14_000 {
        bench.advance(MS / 10);
        let delivered = bench.delivered().len();
        assert!(!bench.broker.is_caught_up(), "{delivered} of 3,001 reports are here");
    }
}

/// Whatever the network loses: reports come in order exactly once, each message is concluded
/// exactly once and truthfully, and nothing is applied twice or late.
#[test]
fn loss_costs_time_but_never_truth() {
    for seed in 0..20u64 {
        let loss = [20_000, 100_000, 300_000][seed as usize % 3];
        let network = MemoryNetwork::with_loss(seed, loss);
        let repeat_previous = (seed % 3) as u16;
        let packet_mac = seed % 5 == 4;
        let config = BrokerConfig { repeat_previous, packet_mac, ..config() };
        let mut bench = Bench::on(network, config);
        bench.run_until(20_000, |b| b.broker.is_bound());
        let mut sent = 0;
        for round in 0..2_000u64 {
            if (round * 7 + seed) % 3 == 0 && bench.broker.enter(&order()).is_ok() {
                sent += 1;
            }
            if seed % 4 == 3 && round % 500 == 499 {
                bench.fake.kill(); // the binding, not what was applied
            }
            bench.advance(MS / 4);
        }
        bench.network.set_loss(0);
        bench.run_until(20_000, |b| b.broker.unsettled() == 0 && b.broker.is_caught_up());
        bench.run(300);
        let reports = bench.fake.reports.len() as u64;
        assert_eq!(bench.delivered(), (1..=reports).collect::<Vec<_>>(), "seed {seed}");
        let settled = bench.settled();
        assert_eq!(settled.len(), sent, "seed {seed}");
        assert!(settled.windows(2).all(|w| w[0].0 + 1 == w[1].0), "seed {seed}");
        let done: Vec<u64> = bench.fake.done.iter().map(|d| d.sequence).collect();
        assert!(done.windows(2).all(|w| w[0] < w[1]), "seed {seed}");
        let told: Vec<u64> = settled
            .iter()
            .filter(|(_, by)| *by != SettledBy::NotApplied)
            .map(|(sequence, _)| *sequence)
            .collect();
        println!("seed {seed}: {sent} sent, {} done {:?}", done.len(), bench.broker.counters());
        assert_eq!(told, done, "seed {seed}: what was told applied was applied, and only that");
    }
}
