//! Client sequences: gaps, bursts out of order, duplicates, jumps; heartbeats and K on the wire.

use super::*;

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
    // The other session waits for nobody: its order was in its turn, those of this one were not.
    assert_eq!(counter(&venue, "kept"), 3);
    let order: Vec<u16> = venue
        .events()
        .iter()
        .filter(|(_, e)| e.body.kind() == 8)
        .map(|(_, e)| e.head.session.0)
        .collect();
    assert_eq!(order, [1, 0, 0, 0]);
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
