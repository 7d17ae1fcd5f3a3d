//! No allocation from received datagram to sent report and multicast, once warm.
//!
//! A counting allocator for the whole test binary, with a counter per thread; what is counted is the
//! duty cycles of the order path and nothing of the test's own. The network in memory takes its
//! buffers from a pool, so it needs no exception.

use crate::counting::calls;
use crate::venue::{MS, Options, Venue, client::*};
use rialto::gateway::Rate;
use rialto::net::capture::Capture;

/// Cycles of the order path until it is idle; allocator calls in them.
fn counted(venue: &mut Venue) -> u64 {
    let before = calls();
    while venue.cycle() > 0 {}
    calls() - before
}

#[test]
fn the_counter_counts() {
    let before = calls();
    drop(std::hint::black_box(vec![1u8, 2, 3]));
    assert_eq!(calls() - before, 2);
}

#[test]
fn nothing_is_allocated_between_datagram_and_report() {
    check(64 << 20, None);
}

#[test]
fn nothing_is_allocated_when_segments_roll_over() {
    check(256 << 10, None);
}

/// Into rings with room for everything, and into rings that are full after some rounds.
#[test]
fn nothing_is_allocated_while_all_of_it_is_captured() {
    for ring_bytes in [64 << 20, 64 << 10] {
        let capture = Capture::new(true, ring_bytes);
        check(64 << 20, Some(capture.clone()));
        let home = tempfile::tempdir().unwrap();
        let writer = capture.writer(crate::capture::files(home.path()), None).unwrap();
        let counters = writer.counters();
        assert_eq!(counters.lacking() > 0, ring_bytes < 1 << 20, "{}", counters.lacking());
        drop(writer);
        assert!(counters.written() > 100);
    }
}

fn check(segment_bytes: u64, capture: Option<Capture>) {
    let rate = Rate { per_second: 1_000_000, burst: 100_000 };
    let options = Options { rate, segment_bytes, capture, ..Options::default() };
    let mut venue = Venue::with(options);
    let (mut maker, mut taker) = (venue.client(0), venue.client(1));
    maker.login(&mut venue);
    taker.login(&mut venue);
    let mut total = 0;
    let mut worst = (0, 0);
    for round in 0..2_000u32 {
        // Rests, is replaced, trades, is cancelled; a refusal, a gap, nonsense, a repeat, a replay.
        let urn = round * 4;
        let orders =
            [sell(urn + 1, 1_000_000), replace(urn + 1, urn + 2, 1_000_100), buy(urn + 3, 999_000)];
        maker.send(&[&orders[0], &orders[1], &orders[2], &cancel(urn + 3), b"nonsense"]);
        taker.send(&[&buy(round * 2 + 1, 1_000_100), &buy(round * 2 + 2, 1)]);
        if round % 10 == 0 {
            taker.next += 3;
            maker.heartbeat();
            maker.request(round as u64 + 1, 5);
            let repeated = maker.packet(1, &[&orders[0]]);
            maker.send_raw(&repeated);
        }
        let here = counted(&mut venue);
        if round >= 200 {
            total += here;
            if here > 0 {
                worst = (round, here);
            }
        }
        maker.take();
        taker.take();
        venue.run(MS / 4);
    }
    assert_eq!(total, 0, "allocator calls in 1,800 rounds; last in round, calls: {worst:?}");
    assert!(venue.publisher.counters().messages.get() > 6_000);
    venue.engine.exchange().check();
}
