//! The archiver falls behind: what brokers and subscribers see on the way up and down again, and that
//! nothing is lost when the hot tier is full to the last byte.

use crate::venue::{MS, Options, Venue, client::*};
use rialto::agent::Agent;
use rialto::exchange::command::Mode;
use rialto::exchange::event::EventBody;
use rialto::gateway::Rate;
use rialto::replay::{Until, replay};
use rialto::store::{Control, DayView, LogIndex};
use rialto::types::*;
use rialto::wire::ouch::Outbound;

fn options() -> Options {
    Options {
        rate: Rate { per_second: 1_000_000, burst: 100_000 },
        segment_bytes: 64 << 10,
        hot_segments_max: 8,
        command_slots: 1_024,
        ..Options::default()
    }
}

fn percent(venue: &Venue) -> u64 {
    let view = DayView::open(&venue.day_dir()).unwrap();
    let control: &Control = view.control().unwrap();
    LogIndex::ALL.map(|log| control.backlog(log).percent()).into_iter().max().unwrap()
}

/// Sends resting orders, one datagram of ten at a time, until the mode stands; every report so far.
fn flood(
    venue: &mut Venue,
    client: &mut RawClient,
    urn: &mut u32,
    mode: Mode,
) -> Vec<(u64, Outbound)> {
    let mut reports = Vec::new();
    for _ in 0..2_000 {
        if venue.status.mode() == mode {
            venue.settle();
            reports.extend(client.reports());
            return reports;
        }
        let orders: Vec<Vec<u8>> = (*urn..*urn + 10).map(|urn| sell(urn, 1_000_000)).collect();
        *urn += 10;
        let blocks: Vec<&[u8]> = orders.iter().map(|order| &order[..]).collect();
        client.send(&blocks);
        venue.run(5 * MS);
        reports.extend(client.reports());
    }
    panic!("never {mode:?}: {} percent", percent(venue));
}

fn reason(report: &Outbound) -> Option<u16> {
    match report {
        Outbound::Rejected(rejected) => Some(rejected.reason),
        _ => None,
    }
}

/// What the feed says of the first symbol, in order, without the opening.
fn states(venue: &Venue) -> String {
    let events = venue.events();
    let letter = |body: &EventBody| match body {
        EventBody::TradingAction(m) if m.locate == Locate(1) => Some(m.state as char),
        _ => None,
    };
    events.iter().filter_map(|(_, event)| letter(&event.body)).skip(1).collect()
}

#[test]
fn cancels_only_then_a_halt_then_everything_again() {
    let mut venue = Venue::with(options());
    let mut maker = venue.client(0);
    maker.login(&mut venue);
    let mut urn = 1;
    venue.copying = false;

    let mut reports = flood(&mut venue, &mut maker, &mut urn, Mode::CancelOnly);
    let at = percent(&venue);
    assert!((50..90).contains(&at), "cancels only at {at} percent");
    assert!(reports.iter().all(|(_, report)| matches!(report, Outbound::Accepted(_))));

    // Orders and replaces are refused, each with the mode's reason; cancels go on.
    maker.send(&[&sell(urn, 1_000_000), &replace(1, urn + 1, 1_000_100), &cancel(2)]);
    urn += 2;
    venue.run(MS);
    let told = maker.reports();
    assert_eq!(told.iter().filter_map(|(_, r)| reason(r)).collect::<Vec<_>>(), [0x22, 0x22]);
    assert!(matches!(told[2].1, Outbound::Canceled(c) if c.urn == Urn(2)));
    reports.extend(told);

    let told = flood(&mut venue, &mut maker, &mut urn, Mode::Halt);
    assert!(told.iter().all(|(_, report)| reason(report) == Some(0x22)), "refused, nothing else");
    reports.extend(told);
    assert!((90..=100).contains(&percent(&venue)));
    maker.send(&[&sell(urn, 1_000_000), &replace(1, urn + 1, 1_000_100), &cancel(1)]);
    urn += 2;
    venue.run(MS);
    let told = maker.reports();
    assert_eq!(told.iter().filter_map(|(_, r)| reason(r)).collect::<Vec<_>>(), [0x07, 0x07]);
    assert!(matches!(told[2].1, Outbound::CancelRefused(c) if c.urn == Urn(1)));
    reports.extend(told);
    // Reports are served, and so are logins.
    maker.request(2, 3);
    venue.run(MS);
    assert_eq!(maker.letters(), "AAA");
    let mut other = venue.client(1);
    other.login(&mut venue);

    // The archiver is back: through CancelOnly to Normal, by itself.
    venue.copying = true;
    venue.run(500 * MS);
    assert_eq!(venue.status.mode(), Mode::Normal);
    assert_eq!(states(&venue), "PHPT");
    other.send(&[&buy(1, 1_000_000)]);
    venue.run(MS);
    assert_eq!(other.letters(), "AE");
    reports.extend(maker.reports());
    let numbers: Vec<u64> = reports.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (2..2 + numbers.len() as u64).collect::<Vec<_>>(), "each report once");
    venue.engine.exchange().check();

    // The mode is the log's: another life stands where this one stood, and replay agrees.
    venue.copying = false;
    flood(&mut venue, &mut maker, &mut urn, Mode::CancelOnly);
    let hash = venue.engine.exchange().state_hash();
    let venue = venue.restart(MS);
    assert_eq!(venue.status.mode(), Mode::CancelOnly);
    assert_eq!(venue.engine.exchange().state_hash(), hash);
    let view = DayView::open(&venue.day_dir()).unwrap();
    let replayed = replay(&view, Until::End, true, |_, _| {}, |_| {}).unwrap();
    assert_eq!(replayed.exchange.state_hash(), hash);
    assert_eq!(replayed.verified, replayed.events);
}

#[test]
fn a_hot_tier_full_to_the_last_byte_stops_the_reading_and_then_goes_on() {
    let mut venue = Venue::with(options());
    let mut maker = venue.client(0);
    maker.login(&mut venue);
    let mut urn = 1;
    venue.copying = false;
    let mut reports = flood(&mut venue, &mut maker, &mut urn, Mode::Halt);
    // Refusals take room too: a broker that goes on fills the rest. Then his datagrams are no longer
    // taken: too much of his is under way, or the ring is full.
    let stopped = |venue: &Venue| {
        let counters = venue.ingress.counters();
        counters.no_room.get() + counters.floods.get() > 0
    };
    let mut last = Vec::new();
    while !stopped(&venue) {
        last = maker.packet(maker.next, &[&sell(urn, 1_000_000)]);
        maker.send_raw(&last);
        maker.next += 1;
        urn += 1;
        venue.cycle();
        venue.clock.advance(MS / 10);
        venue.preparer.duty_cycle(venue.now());
        assert!(urn < 100_000, "never full");
    }
    assert_eq!(percent(&venue), 100);
    assert!(venue.inbound.counters().log_full.get() + venue.engine.counters().waits.get() > 0);
    // A minute later it still stands, and whoever shows that he lives is not dropped.
    for _ in 0..600 {
        maker.heartbeat();
        venue.clock.advance(100 * MS);
        venue.cycle();
    }
    assert_eq!(venue.timer.counters().sessions_down.get(), 0);
    venue.copying = true;
    venue.run(2_000 * MS);
    assert_eq!(venue.status.mode(), Mode::Normal);
    // The client repeats what was not settled.
    maker.send_raw(&last);
    venue.run(MS);
    reports.extend(maker.reports());
    let answered = |r: &Outbound| matches!(r, Outbound::Accepted(_) | Outbound::Rejected(_));
    let answers = reports.iter().filter(|(_, report)| answered(report)).count();
    assert_eq!(answers, urn as usize - 1, "each order has one answer");
    maker.send(&[&sell(urn, 1_000_000)]);
    venue.run(MS);
    assert_eq!(maker.letters(), "A");
    let (before, hash) = (venue.events(), venue.engine.exchange().state_hash());
    let venue = venue.restart(MS);
    assert_eq!(venue.events(), before);
    assert_eq!(venue.engine.exchange().state_hash(), hash);
}

#[test]
fn what_waited_for_the_end_of_a_halt_is_canceled_before_anybody_trades() {
    let mut venue = Venue::with(options());
    let (mut maker, mut taker) = (venue.client(0), venue.client(1));
    maker.flags = 1; // cancel on disconnect
    maker.login(&mut venue);
    taker.login(&mut venue);
    let mut urn = 1;
    venue.copying = false;
    flood(&mut venue, &mut maker, &mut urn, Mode::Halt);
    let resting = venue.engine.exchange().open_orders();
    assert!(resting > 300, "more than one step: {resting}");
    maker.logoff();
    venue.run(MS);
    assert_eq!(venue.engine.exchange().open_orders(), resting, "nothing is canceled in a halt");
    venue.copying = true;
    let mut canceled_at = None;
    for _ in 0..5_000 {
        venue.run(MS / 10);
        if venue.engine.exchange().open_orders() == 0 {
            canceled_at.get_or_insert(venue.status.mode());
        }
        if venue.status.mode() == Mode::Normal {
            break;
        }
    }
    assert_eq!(canceled_at, Some(Mode::CancelOnly));
    taker.send(&[&buy(1, 1_000_000)]);
    venue.run(MS);
    assert_eq!(taker.letters(), "A", "nothing is left to trade with");
}
