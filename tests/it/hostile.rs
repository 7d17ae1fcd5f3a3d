//! What bad input gets at the gateway: the rows of the design's table that concern sessions, each
//! against a whole venue. After every test the exchange's invariants must hold.

use crate::venue::{MS, Options, Venue, client::*};
use rialto::agent::Agent;
use rialto::counters::CounterSet;
use rialto::exchange::command::{Command, Phase};
use rialto::gateway::Rate;
use rialto::net::Port;
use rialto::types::*;
use rialto::wire::ouch::Outbound;
use rialto::wire::session::*;
use std::net::{Ipv4Addr, SocketAddrV4};

fn counter(venue: &Venue, name: &str) -> u64 {
    let mut found = None;
    let sets: [&dyn CounterSet; 3] =
        [&*venue.ingress.counters(), &*venue.egress.counters(), &*venue.replayer.counters()];
    for set in sets {
        set.visit(&mut |n, value| {
            if n == name {
                found = Some(value);
            }
        });
    }
    found.unwrap_or_else(|| panic!("no counter {name}"))
}

fn refused(received: &[Received]) -> Vec<RefusedCode> {
    received
        .iter()
        .filter_map(|r| match r {
            Received::Own(Block::Refused(j)) => Some(j.code),
            _ => None,
        })
        .collect()
}

fn applied(received: &[Received]) -> Vec<(u64, u64)> {
    received
        .iter()
        .filter_map(|r| match r {
            Received::Own(Block::Applied(k)) => Some((k.applied, k.next_report)),
            _ => None,
        })
        .collect()
}

fn rejects(client: &mut RawClient) -> Vec<(u32, u16)> {
    client
        .reports()
        .iter()
        .filter_map(|(_, r)| match r {
            Outbound::Rejected(j) => Some((j.urn.0, j.reason)),
            _ => None,
        })
        .collect()
}

fn not_applied(client: &mut RawClient) -> Vec<(u64, u32)> {
    client
        .reports()
        .iter()
        .filter_map(|(_, r)| match r {
            Outbound::NotApplied(n) => Some((n.from, n.count)),
            _ => None,
        })
        .collect()
}

/// A venue with session 0 logged in, its inbox empty.
fn with_client(options: Options) -> (Venue, RawClient) {
    let mut venue = Venue::with(options);
    let mut client = venue.client(0);
    client.login(&mut venue);
    venue.run(2 * MS);
    client.take();
    (venue, client)
}

#[test]
fn gaps_are_told_and_later_blocks_stand() {
    let (mut venue, mut client) = with_client(Options::default());
    client.send_at(4, &[&buy(1, 1_000)]);
    venue.settle();
    let reports = client.reports();
    let [(2, Outbound::NotApplied(n)), (3, Outbound::Accepted(a))] = &reports[..] else {
        panic!("{reports:?}");
    };
    assert_eq!((n.from, n.count, a.urn), (1, 3, Urn(1)));
    // What was missing comes too late: nothing, and K.
    client.send_at(1, &[&buy(2, 1_000)]);
    venue.run(2 * MS);
    let received = client.take();
    assert_eq!(applied(&received).last(), Some(&(4, 4)));
    assert!(!received.iter().any(|r| matches!(r, Received::Reports(..))));
    assert_eq!(counter(&venue, "duplicates"), 1);
    venue.engine.exchange().check();
}

#[test]
fn one_burst_is_put_in_order_but_nothing_is_held() {
    let (mut venue, mut client) = with_client(Options::default());
    let mut other = venue.client(1);
    other.login(&mut venue);
    let (third, first) = (client.packet(3, &[&buy(3, 1_000)]), client.packet(1, &[&buy(1, 1_000)]));
    let second = client.packet(2, &[&buy(2, 1_000)]);
    client.send_raw(&third);
    other.send(&[&buy(1, 1_000)]);
    client.send_raw(&first);
    client.send_raw(&second);
    venue.settle();
    assert_eq!(client.letters(), "AAA");
    assert!(counter(&venue, "reordered") >= 2);
    // The other session kept its place: between this one's first and second turn.
    let order: Vec<u16> = venue
        .events()
        .iter()
        .filter(|(_, e)| e.body.kind() == 8)
        .map(|(_, e)| e.head.session.0)
        .collect();
    assert_eq!(order, [0, 1, 0, 0]);
    // In two polls the later one is gone for good.
    client.send_at(5, &[&buy(5, 1_000)]);
    venue.settle();
    client.send_at(4, &[&buy(6, 1_000)]);
    venue.settle();
    assert_eq!(client.letters(), "NA");
}

#[test]
fn duplicates_fill_no_log() {
    let (mut venue, mut client) = with_client(Options::default());
    let packet = client.packet(1, &[&buy(1, 1_000), &buy(2, 1_000)]);
    client.send_raw(&packet);
    venue.settle();
    let next = venue.inbound.next_seq();
    for _ in 0..1_000 {
        client.send_raw(&packet);
    }
    venue.settle();
    assert_eq!(venue.inbound.next_seq(), next);
    assert_eq!(counter(&venue, "duplicates"), 2_000);
    let received = client.take();
    assert!(applied(&received).len() <= 2, "one K per millisecond");
    // Half old, half new: the new half counts.
    client.send_at(2, &[&buy(2, 1_000), &buy(3, 1_000)]);
    venue.settle();
    assert_eq!(client.letters(), "A");
}

#[test]
fn sequences_beyond_the_jump_and_near_the_end_of_numbers() {
    let (mut venue, mut client) = with_client(Options::default());
    let next = venue.inbound.next_seq();
    for sequence in [1 + 65_537, u64::MAX - 1, u64::MAX, 1 << 63] {
        client.send_at(sequence, &[&buy(1, 1_000), &buy(2, 1_000), b""]);
        client.send_head(client.token, sequence, 0);
        client.send_head(client.token, sequence, 0xFFFF);
        client.request(sequence, 10);
        venue.run(2 * MS);
    }
    assert_eq!(venue.inbound.next_seq(), next);
    assert_eq!(counter(&venue, "jumps"), 12);
    let received = client.take();
    assert!(!applied(&received).is_empty() && applied(&received).iter().all(|k| *k == (0, 2)));
    // Exactly 65,536 above the next is a gap like any other.
    client.send_at(1 + 65_536, &[&buy(1, 1_000)]);
    venue.settle();
    assert_eq!(client.letters(), "NA");
    // OUCH under sequence 0.
    client.send_at(0, &[&buy(2, 1_000)]);
    venue.settle();
    assert_eq!(counter(&venue, "zero_sequence"), 1);
}

/// What a client receives in the next `ms`, with the time in units of 100 us.
fn timed(venue: &mut Venue, client: &mut RawClient, ms: u64) -> Vec<(u64, Received)> {
    let mut seen = Vec::new();
    for tick in 1..=ms * 10 {
        venue.run(MS / 10);
        seen.extend(client.take().into_iter().map(|received| (tick, received)));
    }
    seen
}

fn ticks_of(seen: &[(u64, Received)], wanted: impl Fn(&Received) -> bool) -> Vec<u64> {
    seen.iter().filter(|(_, r)| wanted(r)).map(|(tick, _)| *tick).collect()
}

#[test]
fn heartbeats_and_applied_marks_keep_their_rates_on_the_wire() {
    let is_heartbeat = |r: &Received| matches!(r, Received::Heartbeat(_));
    let is_mark = |r: &Received| matches!(r, Received::Own(Block::Applied(_)));
    let mut venue = Venue::new();
    let mut client = venue.client(0);
    client.login(&mut venue);
    // From A on, before there is a report 2.
    let seen = timed(&mut venue, &mut client, 1_200);
    assert_eq!(ticks_of(&seen, is_heartbeat), [10, 100, 1_000, 11_000]);
    assert!(seen.iter().all(|(_, r)| !is_heartbeat(r) || *r == Received::Heartbeat(2)));
    assert_eq!(ticks_of(&seen, is_mark), [10, 100, 1_000, 11_000], "with the heartbeats");
    // A block without report: at once, with a lost tail too.
    client.send(&[&cancel(77)]);
    venue.settle();
    assert_eq!(applied(&client.take()), [(1, 2)]);
    venue.run(5 * MS);
    client.take();
    client.send_head(client.token, 9, 0);
    venue.settle();
    assert_eq!(applied(&client.take()), [(1, 2)]);
    venue.run(5 * MS);
    client.take();
    // Orders, duplicates and lost tails without end: one a millisecond, after the reports.
    let mut marks = Vec::new();
    for tick in 0..300u32 {
        client.send(&[&buy(1 + tick, 1_000)]);
        client.send_at(1, &[&cancel(77)]);
        client.send_head(client.token, 1_000, 0);
        venue.run(MS / 10);
        let received = client.take();
        let at = received.iter().position(is_mark);
        let report = received.iter().rposition(|r| matches!(r, Received::Reports(..)));
        assert!(report.is_some() && at.is_none_or(|at| Some(at) > report), "{received:?}");
        marks.extend(at.map(|_| tick));
    }
    assert!(marks.windows(2).all(|w| w[1] - w[0] == 10), "{marks:?}");
    assert_eq!(marks.len(), 30);
}

#[test]
fn malformed_blocks_by_the_table() {
    let (mut venue, mut client) = with_client(Options::default());
    let long_tag = [&buy(8, 1_000)[..45], &[0, 4, 3, 200, 0, 0]].concat();
    let blocks: [&[u8]; 9] = [
        b"",
        b"Z",
        b"O\0\0\0",
        b"O\0\0\0\x05",
        b"U\0\0\0\x01\0\0\0\x06",
        b"X\0\0",
        b"Qx",
        &long_tag,
        b"O\0\0\0\x05",
    ];
    client.send(&blocks);
    venue.settle();
    let reports = client.reports();
    let told: Vec<(char, u64)> = reports
        .iter()
        .map(|(_, r)| match r {
            Outbound::NotApplied(n) => ('N', n.from),
            Outbound::Rejected(j) => {
                assert_eq!(j.reason, RejectReason::Other as u16);
                ('J', j.urn.0 as u64)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    // `Qx`: a query with something behind it is no query; the last O names a used reference.
    let expected = [('N', 1), ('N', 2), ('N', 3), ('J', 5), ('J', 6), ('N', 6), ('N', 7), ('J', 8)];
    assert_eq!(told, expected);
    venue.run(2 * MS);
    assert_eq!(applied(&client.take()).last().map(|k| k.0), Some(9));
}

#[test]
fn malformed_datagrams_change_nothing() {
    let (mut venue, mut client) = with_client(Options::default());
    let next = venue.inbound.next_seq();
    let good = client.packet(1, &[&buy(1, 1_000)]);
    let mut wrong = Vec::new();
    for cut in 0..good.len() {
        wrong.push(good[..cut].to_vec());
    }
    wrong.push([&good[..], b"x"].concat());
    wrong.push(vec![0; 1_472]);
    wrong.push(vec![b' '; 1_472]);
    let mut count = good.clone();
    count[19] = 2;
    wrong.push(count);
    for bytes in &wrong {
        client.send_raw(bytes);
        venue.settle();
    }
    assert_eq!(venue.inbound.next_seq(), next);
    // An own block of the exchange, a login of another length, two blocks in one.
    client.send_own(b"K23456789012345678901");
    client.send_own(&[b'L'; 103]);
    client.send_own(b"");
    venue.settle();
    assert_eq!(client.take(), []);
    assert_eq!(venue.inbound.next_seq(), next);
    client.send_raw(&good);
    venue.settle();
    assert_eq!(client.letters(), "A");
}

#[test]
fn references_up_to_the_last_and_not_beyond() {
    let (mut venue, mut client) = with_client(Options::default());
    client.send(&[&buy(u32::MAX, 1_000), &buy(1, 1_000), &buy(0, 1_000), b"Q"]);
    venue.settle();
    let reports = client.reports();
    let [(2, Outbound::Accepted(a)), (3, Outbound::QueryResponse(q))] = &reports[..] else {
        panic!("{reports:?}");
    };
    assert_eq!((a.urn, q.next_urn), (Urn(u32::MAX), 0));
    client.send(&[&cancel(u32::MAX)]);
    venue.settle();
    assert_eq!(client.letters(), "C");
    // A used-up session logs in again and learns it.
    assert_eq!(client.login(&mut venue).next_urn, 0);
}

#[test]
fn logins_that_are_not_valid() {
    let mut venue = Venue::new();
    let mut client = venue.client(0);
    client.key = [0xEE; 32];
    let Some(Block::Refused(j)) = client.try_login(&mut venue) else { panic!("not refused") };
    assert_eq!((j.code, j.client_nonce), (RefusedCode::NotAuthorised, [client.nonce; 16]));
    let mut stranger = venue.client_at(0, SocketAddrV4::new(Ipv4Addr::new(192, 168, 0, 1), 5_000));
    let Some(Block::Refused(j)) = stranger.try_login(&mut venue) else { panic!("not refused") };
    assert_eq!(j.code, RefusedCode::NotAuthorised);
    // Ten failures: silence, even for the right key, for a second; H still comes.
    for _ in 1..10 {
        client.try_login(&mut venue);
    }
    client.key = crate::venue::key(0);
    assert_eq!(client.try_login(&mut venue), None);
    assert!(counter(&venue, "silences") > 0);
    venue.run(1_001 * MS);
    client.login(&mut venue);
    // A bound session is never silenced.
    client.send(&[&buy(1, 1_000)]);
    venue.settle();
    assert_eq!(client.letters(), "A");
}

#[test]
fn a_stale_challenge_gets_a_new_one_whatever_else_is_wrong() {
    let mut venue = Venue::new();
    let mut client = venue.client(0);
    client.nonce = 1;
    let first = client.login_block(venue.now(), [0; 16]);
    client.send_own(&first.bytes());
    venue.settle();
    let challenges = |client: &mut RawClient| -> Vec<[u8; 16]> {
        let own = |r: &Received| match r {
            Received::Own(Block::Challenge(c)) => Some(c.server_nonce),
            _ => None,
        };
        client.take().iter().filter_map(own).collect()
    };
    let stale = challenges(&mut client)[0];
    venue.clock.advance(120_000 * MS);
    // A right login under it, and twenty with a wrong key: none is a failure.
    let login = client.login_block(venue.now(), stale);
    let signed = client.signed(&login);
    client.send_own(&signed);
    client.key = [0xEE; 32];
    let forged = client.signed(&login);
    for _ in 0..20 {
        client.send_own(&forged);
    }
    venue.settle();
    let fresh = challenges(&mut client);
    assert_eq!(fresh.len(), 21);
    assert!(fresh.iter().all(|nonce| *nonce == fresh[0] && *nonce != stale));
    // The new one is good for the rest of its minute and the next.
    venue.clock.advance(60_000 * MS);
    client.key = crate::venue::key(0);
    let login = client.login_block(venue.now(), fresh[0]);
    let signed = client.signed(&login);
    client.send_own(&signed);
    venue.settle();
    assert!(matches!(client.receive_login(fresh[0]), Some(Block::Accepted(_))));
}

#[test]
fn replayed_login_gets_the_stored_answer_then_nothing_of_use() {
    let mut venue = Venue::new();
    let mut client = venue.client(0);
    venue.clock.advance(1_000);
    client.nonce = 1;
    let first = client.login_block(venue.now(), [0; 16]);
    client.send_own(&first.bytes());
    venue.settle();
    let nonce = match &client.take()[..] {
        [Received::Own(Block::Challenge(c))] => c.server_nonce,
        other => panic!("{other:?}"),
    };
    let login = client.login_block(venue.now(), nonce);
    let signed = client.signed(&login);
    client.send_own(&signed);
    client.send_own(&signed); // repeated before the first was committed
    venue.settle();
    client.receive();
    let stored = client.raw[0].clone();
    let Some(Block::Accepted(accepted)) = client.receive_login(nonce) else { panic!("no A") };
    client.send(&[&buy(1, 1_000)]);
    venue.settle();
    client.take();
    // The same bytes from the same source: the same A, byte for byte, and no new generation.
    client.send_own(&signed);
    venue.settle();
    client.receive();
    assert_eq!(client.raw, [stored]);
    client.take();
    assert_eq!(venue.board.binding(SessionSlot(0)).1.generation, accepted.generation);
    // From another source they get H: the nonce is not that source's.
    let mut thief = venue.client_at(0, SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, 77), 5_000));
    thief.send_own(&signed);
    venue.settle();
    assert!(matches!(&thief.take()[..], [Received::Own(Block::Challenge(_))]));
    // After another login the old bytes have an old time.
    client.login(&mut venue);
    client.send_own(&signed);
    venue.settle();
    assert_eq!(refused(&client.take()), [RefusedCode::Time]);
}

#[test]
fn spoofed_sources_and_foreign_tokens() {
    let (mut venue, mut client) = with_client(Options::default());
    let next = venue.inbound.next_seq();
    let mut spoofer = venue.client_at(0, SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, 1), 5_001));
    let order = client.packet(1, &[&buy(1, 1_000)]);
    spoofer.send_raw(&order);
    spoofer.accepted = client.accepted;
    spoofer.request(1, 1);
    // A token of another slot, of no slot, and one guessed.
    let mut foreign = client.token;
    foreign.0[1] = b'1';
    let mut none = client.token;
    none.0[..2].copy_from_slice(b"zz");
    let mut guessed = client.token;
    guessed.0[9] = if guessed.0[9] == b'A' { b'B' } else { b'A' };
    for token in [foreign, none, guessed, Alpha([0xFF; 10])] {
        let mut bytes = order.clone();
        bytes[..10].copy_from_slice(&token.0);
        client.send_raw(&bytes);
    }
    venue.settle();
    assert_eq!(spoofer.take(), []);
    assert_eq!(client.take(), []);
    assert_eq!(venue.inbound.next_seq(), next);
    assert_eq!(counter(&venue, "wrong_address"), 2);
    assert_eq!(counter(&venue, "unknown_session"), 4);
}

#[test]
fn takeover_tells_the_displaced_once_and_ends_its_token() {
    let (mut venue, mut old) = with_client(Options::default());
    old.send(&[&buy(1, 1_000)]);
    venue.settle();
    assert_eq!(old.letters(), "A");
    let mut new = venue.client_at(0, SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, 99), 6_000));
    new.nonce = 50;
    let accepted = new.login(&mut venue);
    assert_eq!((accepted.applied, accepted.next_report, accepted.generation), (1, 3, 2));
    let told = old.take();
    assert_eq!(refused(&told), [RefusedCode::BoundElsewhere]);
    old.send(&[&buy(2, 1_000)]);
    old.heartbeat();
    venue.run(5 * MS);
    assert_eq!(old.take(), [], "without a login it is dropped unanswered");
    // The order of the old binding goes on reporting, to the new one.
    new.send(&[&cancel(1)]);
    venue.settle();
    assert_eq!(new.letters(), "C");
}

#[test]
fn an_old_token_says_nothing_after_a_new_login() {
    let (mut venue, mut client) = with_client(Options::default());
    let stale = client.packet(1, &[&buy(1, 1_000)]);
    client.login(&mut venue);
    client.send_raw(&stale);
    client.send(&[&buy(7, 1_000)]);
    venue.settle();
    let reports = client.reports();
    let [(2, Outbound::Accepted(a))] = &reports[..] else { panic!("{reports:?}") };
    assert_eq!(a.urn, Urn(7));
}

#[test]
fn dead_session_cancels_its_orders_and_its_token_is_refused() {
    let mut venue = Venue::new();
    let mut client = venue.client(0);
    client.flags = FLAG_CANCEL_ON_DISCONNECT;
    client.dead_time_ms = 10;
    assert_eq!(client.login(&mut venue).dead_time_ms, 1_000);
    // More than one bounded step's worth.
    for urn in 1..=300 {
        client.send(&[&buy(urn, 1_000)]);
        venue.run(MS / 5);
    }
    assert_eq!(venue.engine.exchange().open_orders(), 300);
    venue.run(900 * MS);
    client.heartbeat();
    venue.run(900 * MS);
    assert!(venue.board.binding(SessionSlot(0)).1.bound, "a heartbeat is a sign of life");
    venue.run(200 * MS);
    assert!(!venue.board.binding(SessionSlot(0)).1.bound);
    assert_eq!(venue.engine.exchange().open_orders(), 0);
    client.take();
    for _ in 0..5 {
        client.heartbeat();
        client.send(&[&buy(1_000, 1_000)]);
        venue.run(100 * MS);
    }
    assert_eq!(refused(&client.take()), [RefusedCode::NoSession]);
    venue.run(600 * MS);
    client.heartbeat();
    venue.settle();
    assert_eq!(refused(&client.take()), [RefusedCode::NoSession], "at most one a second");
    // The cancels were numbered while nobody was bound, and can be had.
    let accepted = client.login(&mut venue);
    assert_eq!(accepted.next_report, 602);
    client.request(302, 300);
    venue.settle();
    assert_eq!(client.letters(), "C".repeat(300));
    venue.engine.exchange().check();
}

#[test]
fn logoff_must_carry_the_next_number() {
    let mut venue = Venue::new();
    let mut client = venue.client(0);
    client.flags = FLAG_CANCEL_ON_DISCONNECT;
    client.login(&mut venue);
    client.send(&[&buy(1, 1_000)]);
    venue.settle();
    client.next += 1;
    client.logoff();
    venue.run(2 * MS);
    let received = client.take();
    assert!(!applied(&received).is_empty());
    assert!(!received.iter().any(|r| matches!(r, Received::End(_))));
    client.next -= 1;
    client.logoff();
    venue.run(20 * MS);
    let received = client.take();
    let end = received.iter().position(|r| matches!(r, Received::End(3))).unwrap();
    assert!(matches!(received[end - 1], Received::Own(Block::Applied(_))), "{received:?}");
    assert_eq!(received.iter().filter(|r| matches!(r, Received::End(3))).count(), 3);
    assert_eq!(venue.engine.exchange().open_orders(), 0);
    client.logoff();
    venue.settle();
    assert_eq!(refused(&client.take()), [RefusedCode::NoSession]);
}

#[test]
fn logoffs_repeated_before_the_commit_fill_no_log() {
    let (mut venue, mut client) = with_client(Options::default());
    venue.sequencing = false;
    for _ in 0..1_000 {
        client.logoff();
        venue.ingress.duty_cycle(venue.now());
    }
    venue.sequencing = true;
    venue.run(20 * MS);
    assert_eq!(counter(&venue, "logoffs"), 1);
    assert_eq!(counter(&venue, "logoffs_under_way"), 999);
    let received = client.take();
    assert_eq!(received.iter().filter(|r| matches!(r, Received::End(2))).count(), 3);
    client.login(&mut venue);
    client.logoff();
    venue.run(20 * MS);
    assert_eq!(counter(&venue, "logoffs"), 2, "of another login");
}

#[test]
fn throttle_verdicts() {
    let rate = Rate { per_second: 10, burst: 4 };
    let (mut venue, mut client) = with_client(Options { rate, ..Options::default() });
    client.send(&[&buy(1, 1_000), &buy(2, 1_100), &buy(3, 1_200), &buy(4, 1_300)]);
    venue.settle();
    assert_eq!(client.letters(), "AAAA");
    // Empty: O refused and its reference used, U taken as cancel of the old, X passes, Q not applied.
    client.send(&[&buy(5, 1_000), &replace(1, 6, 1_500), &cancel(2), b"Q"]);
    venue.settle();
    let reports = client.reports();
    let told: Vec<String> = reports
        .iter()
        .map(|(_, r)| match r {
            Outbound::Rejected(j) => format!("J{}:{:#x}", j.urn.0, j.reason),
            Outbound::Canceled(c) => format!("C{}{}", c.urn.0, c.reason as char),
            Outbound::NotApplied(n) => format!("N{},{}", n.from, n.count),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, ["J5:0x29", "C1Z", "C2U", "N8,1"]);
    // The second bucket held eight, and eight were sent: dropped whole, the gap shows as N.
    client.send(&[&buy(7, 1_000)]);
    venue.settle();
    assert_eq!((client.letters().as_str(), counter(&venue, "floods")), ("", 1));
    venue.run(200 * MS);
    client.send(&[&buy(8, 1_000)]);
    venue.settle();
    assert_eq!(not_applied(&mut client), [(9, 1)]);
}

#[test]
fn a_datagram_longer_than_the_burst_is_throttled_not_dropped_for_ever() {
    let rate = Rate { per_second: 10, burst: 2 };
    let (mut venue, mut client) = with_client(Options { rate, ..Options::default() });
    let orders: Vec<Vec<u8>> = (1..=6).map(|urn| buy(urn, 1_000)).collect();
    let blocks: Vec<&[u8]> = orders.iter().map(|b| &b[..]).collect();
    client.send(&blocks);
    venue.settle();
    assert_eq!(client.letters(), "AAJJJJ", "a full second bucket admits any one datagram");
    client.send(&[&buy(7, 1_000)]);
    venue.settle();
    assert_eq!((client.letters().as_str(), counter(&venue, "floods")), ("", 1), "then it is empty");
}

#[test]
fn too_many_uncommitted_messages_are_dropped() {
    let rate = Rate { per_second: 1_000_000, burst: 100_000 };
    let (mut venue, mut client) = with_client(Options { rate, ..Options::default() });
    venue.sequencing = false;
    let orders: Vec<Vec<u8>> = (0..1_040).map(|i| buy(1 + i, 1_000)).collect();
    for eight in orders.chunks(8) {
        let blocks: Vec<&[u8]> = eight.iter().map(|b| &b[..]).collect();
        client.send(&blocks);
    }
    venue.settle();
    assert_eq!(counter(&venue, "messages"), 1_024);
    assert_eq!(counter(&venue, "floods"), 2);
    venue.sequencing = true;
    venue.settle();
    assert_eq!(client.letters(), "A".repeat(1_024));
    client.send(&[&buy(5_000, 1_000)]);
    venue.settle();
    assert_eq!(client.letters(), "NA");
    venue.engine.exchange().check();
}

#[test]
fn a_full_ring_stops_the_reading_and_loses_nothing() {
    let rate = Rate { per_second: 1_000_000, burst: 100_000 };
    let options = Options { rate, command_slots: 1_024, ..Options::default() };
    let mut venue = Venue::with(options);
    let mut clients: Vec<RawClient> = (0..4).map(|i| venue.client(i)).collect();
    for client in &mut clients {
        client.login(&mut venue);
    }
    venue.sequencing = false;
    for urn in 1..=400 {
        for client in &mut clients {
            client.send(&[&buy(urn, 1_000)]);
        }
        venue.cycle();
    }
    assert!(counter(&venue, "ring_full") > 0);
    assert!(counter(&venue, "messages") <= 1_024);
    venue.sequencing = true;
    venue.settle();
    for client in &mut clients {
        assert_eq!(client.letters(), "A".repeat(400));
    }
    venue.engine.exchange().check();
}

#[test]
fn packet_mac_both_ways() {
    let mut venue = Venue::new();
    let mut client = venue.client(0);
    client.flags = FLAG_PACKET_MAC;
    assert_eq!(client.login(&mut venue).flags, FLAG_PACKET_MAC);
    // The inbox of a client with keys refuses whatever carries no right MAC.
    client.send(&[&buy(1, 1_000)]);
    venue.run(20 * MS);
    assert!(client.letters().starts_with('A'));
    client.request(1, 2);
    venue.settle();
    assert_eq!(client.letters(), "SA");
    let next = venue.inbound.next_seq();
    let good = client.packet(2, &[&buy(2, 1_000)]);
    for at in [0usize, 19, 40, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        client.send_raw(&bad);
    }
    client.send_raw(&good[..good.len() - 8]);
    venue.settle();
    assert_eq!(venue.inbound.next_seq(), next);
    assert!(counter(&venue, "bad_mac") >= 4);
    client.send_raw(&good);
    venue.settle();
    assert_eq!(client.letters(), "A");
    // A full datagram of 1,400 bytes and its tag is one datagram.
    let order = buy(3, 1_000);
    let blocks: Vec<&[u8]> = (0..28).map(|_| &order[..]).collect();
    assert!(client.packet(3, &blocks).len() > 1_380);
    client.send_at(3, &blocks);
    venue.settle();
    assert_eq!(client.letters(), "A");
}

#[test]
fn replay_requests_are_bounded() {
    let rate = Rate { per_second: 1_000_000, burst: 100_000 };
    let options = Options { rate, reports_kept: 512, ..Options::default() };
    let (mut venue, mut client) = with_client(options);
    for round in 0..250u32 {
        let orders: Vec<Vec<u8>> = (1..=16).map(|i| buy(round * 16 + i, 1_000)).collect();
        let blocks: Vec<&[u8]> = orders.iter().map(|b| &b[..]).collect();
        client.send(&blocks);
        venue.settle();
    }
    venue.run(10 * MS);
    let live = client.reports();
    assert_eq!(live.len(), 4_000);
    // Recent ones from memory, older ones from the log: the same bytes and numbers.
    for (from, count) in [(3_900, 50), (4_001, 1), (2, 1), (255, 3), (256, 1), (500, 200)] {
        client.request(from, count);
        venue.settle();
        let expected: Vec<_> =
            live.iter().filter(|(n, _)| (from..from + count as u64).contains(n)).cloned().collect();
        assert_eq!(client.reports(), expected, "from {from}");
        venue.run(20 * MS);
        client.take();
    }
    assert!(counter(&venue, "replay_handed_on") > 0 && counter(&venue, "broken_links") == 0);
    // Never more than 64 packets for one request.
    client.request(2, 0xFFFE);
    venue.settle();
    client.receive();
    let packets = client.inbox.iter().filter(|r| matches!(r, Received::Reports(..))).count();
    assert!((1..=64).contains(&packets), "{packets}");
    client.take();
    // Beyond the last, number 0, nobody's name: silence.
    client.request(4_002, 5);
    client.request(0, 5);
    client.request(u64::MAX, 0xFFFE);
    venue.settle();
    assert_eq!(client.take(), []);
    // 10 MB/s: a flood of requests in one second does not get more.
    let mut bytes = 0;
    for _ in 0..500 {
        client.request(3_600, 0xFFFE);
        venue.run(MS / 5);
        client.receive();
        bytes += client.raw.drain(..).map(|d| d.len()).sum::<usize>();
        client.inbox.clear();
    }
    assert!(bytes < 1_200_000, "{bytes} bytes in 100 ms");
    venue.engine.exchange().check();
}

#[test]
fn several_replay_requests_at_once_are_all_answered() {
    let rate = Rate { per_second: 1_000_000, burst: 100_000 };
    let options = Options { rate, reports_kept: 512, ..Options::default() };
    let (mut venue, mut client) = with_client(options);
    for round in 0..100u32 {
        let orders: Vec<Vec<u8>> = (1..=16).map(|i| buy(round * 16 + i, 1_000)).collect();
        let blocks: Vec<&[u8]> = orders.iter().map(|b| &b[..]).collect();
        client.send(&blocks);
        venue.settle();
    }
    venue.run(20 * MS);
    client.take();
    let numbers = |client: &mut RawClient| -> Vec<u64> {
        client.reports().iter().map(|(number, _)| *number).collect()
    };
    // Holes of what is in memory, asked for in one burst.
    for from in [1_500, 1_503, 1_506] {
        client.request(from, 2);
    }
    venue.settle();
    assert_eq!(numbers(&mut client), [1_500, 1_501, 1_503, 1_504, 1_506, 1_507]);
    // Holes of what is not: small answers cost few bytes of the rate.
    venue.run(20 * MS);
    client.take();
    for from in (10..30).step_by(2) {
        client.request(from, 1);
    }
    venue.settle();
    assert_eq!(numbers(&mut client), (10..30).step_by(2).collect::<Vec<_>>());
    // Sixteen wait at most: more in one burst are for the client to repeat.
    venue.run(20 * MS);
    client.take();
    for from in 1_500..1_530 {
        client.request(from, 1);
    }
    venue.settle();
    let answered = numbers(&mut client).len();
    assert!((16..30).contains(&answered), "{answered}");
    assert!(counter(&venue, "replay_refused") > 0);
}

#[test]
fn silence_while_the_exchange_does_not_read_ends_no_session() {
    let rate = Rate { per_second: 1_000_000, burst: 100_000 };
    let options = Options { rate, command_slots: 1_024, ..Options::default() };
    let (mut venue, mut client) = with_client(options);
    client.dead_time_ms = 1_000;
    client.login(&mut venue);
    let mut other = venue.client(1);
    other.login(&mut venue);
    // The sequencer stands still, the command ring fills, the network is not read for two seconds.
    venue.sequencing = false;
    for urn in 1..=1_100 {
        other.send(&[&buy(urn, 1_000)]);
        venue.ingress.duty_cycle(venue.now());
    }
    for _ in 0..20 {
        client.heartbeat();
        venue.clock.advance(100 * MS);
        venue.timer.duty_cycle(venue.now());
        venue.ingress.duty_cycle(venue.now());
    }
    venue.sequencing = true;
    venue.run(100 * MS);
    assert!(venue.board.binding(SessionSlot(0)).1.bound, "it spoke all the time");
    venue.run(1_300 * MS);
    assert!(!venue.board.binding(SessionSlot(0)).1.bound, "from then on silence counts");
}

#[test]
fn a_client_that_never_reads_slows_nobody() {
    let (mut venue, mut deaf) = with_client(Options::default());
    let mut other = venue.client(1);
    other.login(&mut venue);
    for urn in 1..=400 {
        deaf.send(&[&sell(urn, 1_000_000)]);
        other.send(&[&buy(urn, 1_000_000)]);
        venue.run(MS);
    }
    assert_eq!(other.letters(), "AE".repeat(400));
    // It has lost nothing: what it did not read can be had.
    drop(deaf.take());
    deaf.request(2, 10);
    venue.settle();
    assert_eq!(deaf.letters().len(), 10);
}

#[test]
fn closed_market_and_the_end_of_the_day() {
    let (mut venue, mut client) = with_client(Options::default());
    client.send(&[&buy(1, 1_000)]);
    venue.settle();
    client.take();
    venue.command(&Command::Phase(Phase::Closed));
    client.send(&[&buy(2, 1_000)]);
    venue.settle();
    let closed = RejectReason::DestinationClosed as u16;
    assert_eq!(rejects(&mut client), [(2, closed)]);
    venue.command(&Command::EndOfDay);
    venue.run(20 * MS);
    let received = client.take();
    let reports: String = received
        .iter()
        .filter_map(|r| match r {
            Received::Reports(_, blocks) => Some(blocks.iter().map(letter).collect::<String>()),
            _ => None,
        })
        .collect();
    assert_eq!(reports, "CS");
    assert_eq!(received.iter().filter(|r| matches!(r, Received::End(6))).count(), 3);
    client.send(&[&buy(3, 1_000)]);
    venue.settle();
    assert_eq!(refused(&client.take()), [RefusedCode::NoSession]);
    let Some(Block::Refused(j)) = client.try_login(&mut venue) else { panic!("not refused") };
    assert_eq!(j.code, RefusedCode::NoSession);
}

#[test]
fn noise_from_everywhere_changes_nothing() {
    let (mut venue, mut client) = with_client(Options::default());
    let next = venue.inbound.next_seq();
    let mut noise = venue.network.bind(SocketAddrV4::new(Ipv4Addr::new(10, 9, 9, 9), 1)).unwrap();
    let good = client.packet(1, &[&buy(1, 1_000)]);
    let mut state = 1u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..2_000 {
        let len = random() as usize % 200;
        let from_good = round % 2 == 0;
        noise.send(client.gateway, |out| {
            for (i, byte) in out[..len].iter_mut().enumerate() {
                *byte = if from_good && i < good.len() { good[i] } else { random() as u8 };
            }
            len
        });
        if round % 64 == 0 {
            noise.flush();
            venue.settle();
        }
    }
    noise.flush();
    venue.settle();
    assert_eq!(venue.inbound.next_seq(), next);
    client.send_raw(&good);
    venue.settle();
    assert_eq!(client.letters(), "A");
}
