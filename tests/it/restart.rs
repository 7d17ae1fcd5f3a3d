//! Death and return: what the logs give back, and what start refuses.

use crate::venue::{MS, Options, Venue, client::*};
use rialto::engine::EngineError;
use rialto::gateway::Rate;
use rialto::sequencer::OutboundError;
use rialto::store::{Day, DayView, LogIndex};
use rialto::types::*;
use std::path::Path;

fn options() -> Options {
    Options { rate: Rate { per_second: 1_000_000, burst: 100_000 }, ..Options::default() }
}

/// A venue that has traded, and its clients.
fn traded(options: Options) -> (Venue, RawClient, RawClient) {
    let mut venue = Venue::with(options);
    let (mut maker, mut taker) = (venue.client(0), venue.client(1));
    maker.login(&mut venue);
    taker.login(&mut venue);
    for urn in 1..=40 {
        maker.send(&[&sell(2 * urn, 1_000_000 + 100 * urn), &sell(2 * urn + 1, 2_000_000)]);
        taker.send(&[&buy(urn, 1_000_000 + 100 * urn)]);
        venue.settle();
    }
    (venue, maker, taker)
}

/// Opens the day as its writer and does something to the event log.
fn with_event_log(dir: &Path, then: impl FnOnce(&rialto::store::Log)) {
    let day = Day::open(&options().spec(dir), Nanos(1)).unwrap();
    then(day.log(LogIndex::Event));
}

#[test]
fn the_event_log_is_rebuilt_from_commands_byte_for_byte() {
    let (venue, ..) = traded(options());
    let before = venue.events();
    let hash = venue.engine.exchange().state_hash();
    // Half of the events are gone: a death between the two logs, and worse.
    let venue = venue.try_restart(0, |dir| {
        with_event_log(dir, |log| {
            let found = log.recover().unwrap();
            let (position, event) = (before[before.len() / 2].0, before.len() as u64 / 2 + 1);
            log.cut(found, position, Seq(event)).unwrap();
        });
    });
    let venue = venue.unwrap();
    assert_eq!(venue.events(), before);
    assert_eq!(venue.engine.exchange().state_hash(), hash);
    assert!(venue.engine.outbound_counters().compared.get() >= before.len() as u64 / 2);
    // And once more, with everything there.
    let venue = venue.restart(MS);
    assert_eq!(venue.events(), before);
    assert_eq!(venue.engine.outbound_counters().events.get(), 0);
}

#[test]
fn a_different_event_log_refuses_the_start() {
    let (venue, ..) = traded(options());
    let before = venue.events();
    let result = venue.try_restart(0, |dir| {
        with_event_log(dir, |log| {
            let found = log.recover().unwrap();
            let last = before.last().unwrap();
            let found = log.cut(found, last.0, Seq(before.len() as u64)).unwrap();
            let mut writer = log.writer(&found).unwrap();
            let mut event = last.1;
            event.head.applied += 1;
            let time = Nanos(1);
            let size = event.size();
            writer.append(event.body.kind(), 0, time, 1, size, |out| event.encode(out)).unwrap();
        });
    });
    let Err(EngineError::Outbound(OutboundError::Mismatch { event, .. })) = result else {
        panic!("started on a foreign event log");
    };
    assert_eq!(event, before.len() as u64);
}

#[test]
fn events_without_commands_refuse_the_start() {
    let (venue, ..) = traded(options());
    let count = venue.events().len() as u64;
    let last = venue.events().last().unwrap().1;
    let result = venue.try_restart(0, |dir| {
        with_event_log(dir, |log| {
            let found = log.recover().unwrap();
            let mut writer = log.writer(&found).unwrap();
            let size = last.size();
            writer.append(last.body.kind(), 0, Nanos(1), 1, size, |out| last.encode(out)).unwrap();
        });
    });
    let Err(EngineError::Outbound(OutboundError::Surplus { event, surplus, .. })) = result else {
        panic!("started with events that no command gave");
    };
    assert_eq!((event, surplus), (count + 1, 1));
}

#[test]
fn many_lives_one_day() {
    let (mut venue, mut maker, mut taker) = traded(options());
    let mut matches = 40;
    for life in 0..6u64 {
        let urn = 1_000 + life as u32;
        maker.take();
        taker.take();
        // What was sent into the dead time between is lost or waits in the socket: repeat it.
        let order = taker.packet(taker.next, &[&buy(urn, 2_000_000)]);
        venue = venue.restart(life * 700 * MS);
        taker.send_raw(&order);
        taker.send_raw(&order);
        taker.next += 1;
        matches += 1;
        venue.settle();
        assert_eq!(taker.letters(), "AE", "life {life}");
        assert_eq!(maker.letters(), "E", "life {life}");
        venue.engine.exchange().check();
    }
    let executed = venue.events().iter().filter(|(_, e)| e.body.kind() == 9).count();
    assert_eq!(executed, 2 * matches);
    // A login after restarts goes on from the committed generation.
    assert_eq!(maker.login(&mut venue).generation, 2);
}

#[test]
fn full_logs_stop_the_reading_and_lose_nothing() {
    let options =
        Options { segment_bytes: 64 << 10, hot_segments_max: 3, command_slots: 1_024, ..options() };
    let mut venue = Venue::with(options);
    let (mut maker, mut taker) = (venue.client(0), venue.client(1));
    maker.login(&mut venue);
    taker.login(&mut venue);
    venue.archiving = false;
    for urn in 1..=1_000 {
        maker.send(&[&sell(urn, 1_000_000)]);
        taker.send(&[&buy(urn, 1_000_000)]);
        venue.cycle();
    }
    assert!(venue.inbound.counters().log_full.get() > 0, "the command log was full");
    venue.archiving = true;
    venue.run(1_000 * MS);
    let told = |client: &mut RawClient| {
        let letters = client.letters();
        let count = |l| letters.chars().filter(|&c| c == l).count();
        (count('A'), count('E'), count('N'))
    };
    assert_eq!(told(&mut maker), (1_000, 1_000, 0));
    assert_eq!(told(&mut taker), (1_000, 1_000, 0));
    venue.engine.exchange().check();
}

#[test]
fn one_command_with_more_events_than_the_log_has_room_for() {
    let options = Options { segment_bytes: 64 << 10, hot_segments_max: 3, ..options() };
    let mut venue = Venue::with(options);
    let (mut maker, mut taker) = (venue.client(0), venue.client(1));
    maker.login(&mut venue);
    taker.login(&mut venue);
    for hundred in 0..15u32 {
        for urn in 1..=100 {
            let order = enter(hundred * 100 + urn, b'S', 1_000_000, |o| o.quantity = Quantity(1));
            maker.send(&[&order]);
        }
        venue.run(MS);
    }
    venue.archiving = false;
    // 1,500 matches, 3,001 events, half a megabyte: far more than the segments that are there.
    taker.send(&[&enter(1, b'B', 1_000_000, |o| o.quantity = Quantity(1_500))]);
    for _ in 0..50 {
        venue.cycle();
    }
    assert!(venue.engine.outbound_counters().spilled.get() > 0);
    assert_eq!(taker.letters(), "", "nothing of half a command is shown");
    venue.archiving = true;
    venue.run(1_000 * MS);
    assert_eq!(taker.letters(), format!("A{}", "E".repeat(1_500)));
    // Old reports come from the archive when the hot tier has let go of them.
    maker.take();
    maker.request(2, 20);
    venue.run(10 * MS);
    assert_eq!(maker.letters(), "A".repeat(20));
    venue.engine.exchange().check();
}

#[test]
fn damage_in_the_memory_of_a_live_log_stops_the_engine_loudly() {
    let (mut venue, ..) = traded(options());
    let hot = std::fs::read_to_string(venue.day_dir().join("hot")).unwrap();
    let segment = Path::new(hot.trim()).join("command-0000000000.seg");
    let file = std::fs::OpenOptions::new().write(true).open(segment).unwrap();
    let seq = venue.inbound.next_seq();
    let view = DayView::open(&venue.day_dir()).unwrap();
    let written = view.control().unwrap().written(LogIndex::Command).position;
    venue.inbound.append_now(rialto::exchange::command::kind::TICK, &[], Nanos(u64::MAX)).unwrap();
    // Its number, in the record's header.
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xAA; 8], written + 8).unwrap();
    let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        rialto::agent::Agent::duty_cycle(&mut venue.engine, Nanos(1))
    }));
    let message = *died.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("engine cannot read the command log"), "{message}");
    assert!(venue.engine.status().applied() < seq, "nothing of it was applied");
}
