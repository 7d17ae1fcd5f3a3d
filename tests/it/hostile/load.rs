//! Too much at a time: rates, rings, replay requests, a client that never reads.

use super::*;

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
    assert!(counter(&venue, "no_room") > 0);
    assert!(counter(&venue, "messages") <= 1_024);
    venue.sequencing = true;
    venue.settle();
    for client in &mut clients {
        assert_eq!(client.letters(), "A".repeat(400));
    }
    venue.engine.exchange().check();
}

#[test]
fn a_datagram_for_which_there_is_no_room_at_once_is_taken_in_parts() {
    let rate = Rate { per_second: 1_000_000, burst: 100_000 };
    let (mut venue, mut client) =
        with_client(Options { rate, command_slots: 8, ..Options::default() });
    let mut other = venue.client(1);
    other.login(&mut venue);
    let orders: Vec<Vec<u8>> = (1..=20).map(|urn| buy(urn, 1_000)).collect();
    let blocks: Vec<&[u8]> = orders.iter().map(|b| &b[..]).collect();
    venue.sequencing = false;
    let large = client.packet(1, &blocks);
    let behind = client.packet(21, &[&buy(21, 1_000)]);
    client.send_raw(&behind);
    client.send_raw(&large);
    client.send_raw(&large);
    other.send(&[&buy(1, 1_000)]);
    for _ in 0..10 {
        venue.cycle();
    }
    assert_eq!(counter(&venue, "messages"), 8);
    venue.sequencing = true;
    venue.settle();
    assert!(counter(&venue, "no_room") > 2);
    let reports = client.reports();
    let urns: Vec<u32> = reports
        .iter()
        .map(|(_, report)| match report {
            Outbound::Accepted(a) => a.urn.0,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(urns, (1..=21).collect::<Vec<u32>>());
    assert_eq!(other.letters(), "A");
    venue.engine.exchange().check();
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
