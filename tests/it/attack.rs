//! Attacks on sessions, each against a whole venue in which two others trade: what the attacker sends
//! is executed at most once, and the others are told the same, at the same times, as in a run
//! without the attacker.
//!
//! Every test plays the same plan twice: `prepare` in both runs, `attack` in the second one only.

use crate::venue::{GROUP_A, MS, Options, Venue, client::*};
use rialto::counters::CounterSet;
use rialto::exchange::view::LevelView;
use rialto::gateway::Rate;
use rialto::net::{MemoryPort, Port};
use rialto::types::*;
use rialto::wire::mold;
use rialto::wire::ouch::Outbound;
use rialto::wire::session::*;
use std::net::{Ipv4Addr, SocketAddrV4};

/// Milliseconds of each run.
const TICKS: u64 = 200;
/// The attacked session; 0 and 1 trade, 3 logs in half-way.
const VICTIM: usize = 2;

/// What the others saw, and what became of the market.
#[derive(PartialEq, Debug)]
struct Outcome {
    /// Reports of the traders by millisecond, with their numbers.
    heard: Vec<(u64, usize, u64, Outbound)>,
    /// Feed messages with their numbers.
    feed: Vec<(u64, Vec<u8>)>,
    commands: Seq,
    hash: u64,
    /// As above, of reports only, without references and match numbers: these count the orders of
    /// everyone, the attacker's valid ones too.
    reports: Vec<(u64, usize, Outbound)>,
    levels: Vec<LevelView>,
}

struct Stage {
    venue: Venue,
    traders: [RawClient; 2],
    victim: RawClient,
    feed: MemoryPort,
    late: RawClient,
}

fn options() -> Options {
    let rate = Rate { per_second: 1_000_000, burst: 100_000 };
    Options { rate, segment_bytes: 8 << 20, reports_kept: 512, ..Options::default() }
}

fn at(last: u8, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, last), port)
}

impl Stage {
    fn new(prepare: impl FnOnce(&mut Stage)) -> Stage {
        let mut venue = Venue::with(options());
        let feed = venue.network.join(GROUP_A, Ipv4Addr::new(10, 0, 9, 9)).unwrap();
        let mut traders = [venue.client(0), venue.client(1)];
        for trader in &mut traders {
            trader.login(&mut venue);
        }
        let (victim, late) = (venue.client(VICTIM), venue.client(3));
        let mut stage = Stage { venue, traders, victim, feed, late };
        prepare(&mut stage);
        stage.venue.run(10 * MS);
        stage
    }

    /// One sells and one buys in every millisecond; a third logs in half-way.
    fn play(&mut self, mut attack: impl FnMut(&mut Stage, u64)) -> Outcome {
        let (mut heard, mut reports) = (Vec::new(), Vec::new());
        for tick in 0..TICKS {
            attack(self, tick);
            let urn = 1 + tick as u32;
            let price = 1_000_000 + 100 * (tick as u32 % 7);
            self.traders[0].send(&[&sell(2 * urn, price), &sell(2 * urn + 1, 1_500_000)]);
            self.traders[1].send(&[&buy(urn, price)]);
            if tick == TICKS / 2 {
                self.late.login(&mut self.venue);
            }
            self.venue.run(MS);
            for (who, trader) in self.traders.iter_mut().enumerate() {
                for (number, report) in trader.reports() {
                    heard.push((tick, who, number, report));
                    reports.push((tick, who, masked(report)));
                }
            }
        }
        // Every order of theirs was answered and every cross traded.
        let letters = |who| reports.iter().filter(move |r| r.1 == who).map(|r| letter(&r.2));
        assert_eq!(letters(1).collect::<String>(), "AE".repeat(TICKS as usize));
        assert_eq!(letters(0).filter(|l| *l == 'E').count(), TICKS as usize);
        let exchange = self.venue.engine.exchange();
        exchange.check();
        let mut feed = Vec::new();
        // Packet boundaries may fall elsewhere: where a burst ended.
        let mut keep = |bytes: &[u8], _: SocketAddrV4| {
            let (header, packet) = mold::parse(bytes).expect("a packet of the feed");
            if let mold::Packet::Messages(blocks) = packet {
                feed.extend((header.sequence..).zip(blocks.map(|block| block.to_vec())));
            }
        };
        while self.feed.receive(&mut keep) > 0 {}
        Outcome {
            heard,
            feed,
            commands: self.venue.inbound.next_seq(),
            hash: exchange.state_hash(),
            reports,
            levels: exchange.levels(Locate(1), Side::Sell).collect(),
        }
    }

    fn counter(&self, name: &str) -> u64 {
        let (ingress, egress) = (self.venue.ingress.counters(), self.venue.egress.counters());
        let mut found = None;
        let sets: [&dyn CounterSet; 2] = [&*ingress, &*egress];
        for set in sets {
            set.visit(&mut |n, value| found = (n == name).then_some(value).or(found));
        }
        found.unwrap_or_else(|| panic!("no counter {name}"))
    }
}

fn masked(report: Outbound) -> Outbound {
    match report {
        Outbound::Accepted(mut a) => {
            a.order_ref = OrderRef(0);
            Outbound::Accepted(a)
        }
        Outbound::Executed(mut e) => {
            e.match_number = MatchNumber(0);
            Outbound::Executed(e)
        }
        other => other,
    }
}

/// Nothing of the attack is sequenced: all that happened is the same, to the nanosecond. Returns the
/// attacked stage.
fn refused(mut prepare: impl FnMut(&mut Stage), attack: impl FnMut(&mut Stage, u64)) -> Stage {
    let quiet = Stage::new(&mut prepare).play(|_, _| {});
    let mut stage = Stage::new(&mut prepare);
    let attacked = stage.play(attack);
    assert_eq!(attacked.commands, quiet.commands, "the attack is in the command log");
    assert!(attacked.heard == quiet.heard, "the traders heard something else");
    assert!(attacked.feed == quiet.feed, "the feed is another one");
    assert!(attacked == quiet, "another state");
    stage
}

/// The attacker's session is a valid one and may trade; the others are told the same all the same.
fn undisturbed(mut prepare: impl FnMut(&mut Stage), attack: impl FnMut(&mut Stage, u64)) -> Stage {
    let quiet = Stage::new(&mut prepare).play(|_, _| {});
    let mut stage = Stage::new(&mut prepare);
    let attacked = stage.play(attack);
    assert!(attacked.reports == quiet.reports, "the traders heard something else");
    let visible = |levels: &[LevelView]| -> Vec<LevelView> {
        levels.iter().filter(|l| l.price >= Price(1_500_000)).copied().collect()
    };
    assert_eq!(visible(&attacked.levels), visible(&quiet.levels));
    stage
}

fn victim_logs_in(stage: &mut Stage) {
    stage.victim.login(&mut stage.venue);
}

#[test]
fn a_replayed_login_logs_nobody_in() {
    let mut thief = None;
    let stage = refused(victim_logs_in, |stage, _| {
        let captured = captured_login(stage);
        let thief = thief.get_or_insert_with(|| stage.venue.client_at(VICTIM, at(77, 5_000)));
        for _ in 0..10 {
            thief.send_own(&captured);
            stage.victim.send_own(&captured);
        }
        thief.take();
    });
    let binding = stage.venue.board.binding(SessionSlot(VICTIM as u16)).1;
    assert!(binding.bound && binding.generation == 1 && binding.address == at(3, 5_000));
    // The thief's source needs a nonce of its own; from the victim's it is the login that stands.
    assert!(stage.counter("challenges") >= 10 * TICKS);
    assert!(stage.counter("accepted_sent") >= 10 * TICKS);
}

/// The signed L of the victim's live login, made again from what it is bound by.
fn captured_login(stage: &mut Stage) -> Vec<u8> {
    let binding = stage.venue.board.binding(SessionSlot(VICTIM as u16)).1;
    let login = stage.victim.login_block(binding.login_time, binding.server_nonce);
    stage.victim.signed(&login).to_vec()
}

#[test]
fn an_order_replayed_a_million_times_is_executed_once() {
    let prepare = |stage: &mut Stage| {
        victim_logs_in(stage);
        stage.victim.send(&[&buy(1, 900_000), &buy(2, 900_000)]);
        stage.venue.settle();
    };
    let stage = refused(prepare, |stage, _| {
        let packet = stage.victim.packet(1, &[&buy(1, 900_000), &buy(2, 900_000)]);
        for _ in 0..1_000_000 / TICKS {
            stage.victim.send_raw(&packet);
        }
    });
    assert_eq!(stage.counter("duplicates"), 2_000_000);
    let session = stage.venue.engine.exchange().session(SessionSlot(VICTIM as u16)).unwrap();
    assert_eq!((session.open_orders, session.next_client_seq), (2, 3));
    assert!(stage.counter("applied_sent") < 10 * TICKS, "K at most once a millisecond");
}

#[test]
fn a_stolen_downstream_name_yields_nothing() {
    let mut thieves = Vec::new();
    let stage = refused(victim_logs_in, |stage, _| {
        if thieves.is_empty() {
            thieves = vec![
                stage.venue.client_at(0, at(66, 5_000)),
                stage.venue.client_at(0, at(1, 5_001)),
            ];
        }
        let names: Vec<SessionName> =
            stage.traders.iter().map(|t| t.accepted.unwrap().downstream).collect();
        for name in names {
            for thief in &mut thieves {
                thief.send_head(name, 1, 1_000);
                assert_eq!(thief.take(), []);
            }
            // Another session, from its own bound address.
            stage.victim.send_head(name, 1, 1_000);
        }
    });
    assert_eq!(stage.counter("wrong_address"), 6 * TICKS);
    assert_eq!(stage.counter("replayed_reports"), 0);
}

#[test]
fn a_spoofed_source_needs_the_token_too() {
    let mut guess = 0u64;
    let stage = refused(victim_logs_in, |stage, _| {
        // As from the victim's address: tokens of its slot, guessed; and its own name.
        for _ in 0..500 {
            guess = guess.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
            let token = make_token(SessionSlot(VICTIM as u16), guess).unwrap();
            let mut bytes = stage.victim.packet(1, &[&buy(1, 1_000_000)]);
            bytes[..10].copy_from_slice(&token.0);
            stage.victim.send_raw(&bytes);
        }
        let name = stage.victim.accepted.unwrap().downstream;
        stage.victim.send_head(name, 1, 0xFFFF);
        // And the right token from elsewhere: another port of the same host.
        let mut elsewhere = stage.venue.client_at(VICTIM, at(3, 5_001));
        elsewhere.token = stage.victim.token;
        elsewhere.send(&[&buy(1, 1_000_000)]);
        elsewhere.logoff();
        stage.venue.settle();
        assert_eq!(elsewhere.take(), []);
    });
    assert_eq!(stage.counter("unknown_session"), 500 * TICKS);
    assert_eq!(stage.counter("wrong_address"), 2 * TICKS);
}

#[test]
fn wrong_keys_ten_thousand_a_second_lock_nobody_out() {
    let mut thieves: Vec<(RawClient, [u8; 16])> = Vec::new();
    let stage = refused(victim_logs_in, |stage, _| {
        if thieves.is_empty() {
            // Two hosts: one tries the victim's name, one nobody's.
            for host in [88, 89] {
                let mut thief = stage.venue.client_at(VICTIM, at(host, 5_000));
                thief.key = [0xEE; 32];
                let first = thief.login_block(stage.venue.now(), [0; 16]);
                thief.send_own(&first.bytes());
                stage.venue.settle();
                let nonce = match &thief.take()[..] {
                    [Received::Own(Block::Challenge(c))] => c.server_nonce,
                    other => panic!("{other:?}"),
                };
                thieves.push((thief, nonce));
            }
        }
        for (thief, nonce) in &mut thieves {
            for _ in 0..5 {
                thief.nonce = thief.nonce.wrapping_add(1);
                let login = thief.login_block(stage.venue.now(), *nonce);
                let block = thief.signed(&login);
                thief.send_own(&block);
            }
            thief.take();
        }
    });
    // Ten failures in 200 ms, then silence; the third session logged in half-way all the same.
    assert_eq!(stage.counter("refusals"), 20);
    assert_eq!(stage.counter("silences"), 2 * 5 * TICKS - 20);
    assert!(stage.venue.board.binding(SessionSlot(3)).1.bound);
}

#[test]
fn orders_of_an_old_generation_are_dead_after_a_takeover() {
    let prepare = |stage: &mut Stage| {
        victim_logs_in(stage);
        stage.victim.send(&[&buy(1, 900_000)]);
        stage.venue.settle();
        let mut new = stage.venue.client_at(VICTIM, at(99, 6_000));
        new.nonce = 50;
        assert_eq!(new.login(&mut stage.venue).generation, 2);
        stage.victim.take();
    };
    let stage = refused(prepare, |stage, tick| {
        let urn = 2 + tick as u32;
        for ahead in 0..20 {
            stage.victim.send_at(2 + ahead, &[&sell(urn, 900_000), &cancel(1)]);
        }
        stage.victim.heartbeat();
        stage.victim.logoff();
        stage.venue.settle();
        assert_eq!(stage.victim.take(), [], "dropped unanswered");
    });
    assert_eq!(stage.counter("unknown_session"), 22 * TICKS);
    let session = stage.venue.engine.exchange().session(SessionSlot(VICTIM as u16)).unwrap();
    assert_eq!((session.open_orders, session.last_urn), (1, Urn(1)));
}

#[test]
fn sequences_near_the_end_of_numbers_move_nothing() {
    let stage = refused(victim_logs_in, |stage, tick| {
        for sequence in [u64::MAX, u64::MAX - 1, u64::MAX - tick, 1 << 63, 65_538, 0] {
            let order = buy(1 + tick as u32, 1_000_000);
            stage.victim.send_at(sequence, &[&order, &order, b""]);
            stage.victim.send_head(stage.victim.token, sequence, 0);
            stage.victim.send_head(stage.victim.token, sequence, 0xFFFF);
            stage.victim.request(sequence.max(1_000), 0xFFFE);
        }
    });
    assert_eq!(stage.counter("jumps"), 5 * 3 * TICKS);
    assert_eq!(stage.counter("zero_sequence"), TICKS);
    let session = stage.venue.engine.exchange().session(SessionSlot(VICTIM as u16)).unwrap();
    assert_eq!((session.next_client_seq, session.open_orders), (1, 0));
}

#[test]
fn the_last_reference_is_used_once() {
    let stage = undisturbed(victim_logs_in, |stage, _| {
        // The highest reference there is, again and again, under new sequence numbers.
        let order = buy(u32::MAX, 500_000);
        stage.victim.send(&[&order, &buy(1, 500_000), &order]);
    });
    let session = stage.venue.engine.exchange().session(SessionSlot(VICTIM as u16)).unwrap();
    assert_eq!((session.open_orders, session.last_urn), (1, Urn(u32::MAX)));
    assert_eq!(session.next_report, 3, "one report: Accepted");
}

#[test]
fn reordered_and_half_duplicate_packets_execute_each_order_at_most_once() {
    let mut victims_reports = Vec::new();
    let stage = undisturbed(victim_logs_in, |stage, tick| {
        let first = 1 + 8 * tick;
        let orders: Vec<Vec<u8>> =
            (0..8).map(|i| buy((first + i) as u32, 500_000 + 100 * i as u32)).collect();
        let piece = |from: usize, to: usize| -> Vec<&[u8]> {
            orders[from..to].iter().map(|o| &o[..]).collect()
        };
        // In one burst: the last ones first, then overlapping pieces, twice.
        for _ in 0..2 {
            stage.victim.send_at(first + 5, &piece(5, 8));
            stage.victim.send_at(first + 2, &piece(2, 6));
            stage.victim.send_at(first, &piece(0, 3));
        }
        stage.venue.settle();
        // In the next poll all of it once more.
        stage.victim.send_at(first, &piece(0, 8));
        stage.venue.settle();
        victims_reports.extend(stage.victim.reports());
    });
    let accepted: Vec<u32> = victims_reports
        .iter()
        .map(|(_, report)| match report {
            Outbound::Accepted(a) => a.urn.0,
            other => panic!("{other:?}"),
        })
        .collect();
    let expected: Vec<u32> = (1..=8 * TICKS as u32).collect();
    assert_eq!(accepted, expected, "each once, in order");
    assert!(stage.counter("reordered") > 0 && stage.counter("duplicates") >= 8 * TICKS);
}

#[test]
fn a_session_that_falls_silent_takes_nobody_along() {
    let prepare = |stage: &mut Stage| {
        stage.victim.flags = FLAG_CANCEL_ON_DISCONNECT;
        stage.victim.dead_time_ms = 1_000;
        victim_logs_in(stage);
        let orders: Vec<Vec<u8>> = (1..=300).map(|urn| buy(urn, 500_000)).collect();
        for twenty in orders.chunks(20) {
            let blocks: Vec<&[u8]> = twenty.iter().map(|o| &o[..]).collect();
            stage.victim.send(&blocks);
            stage.venue.settle();
        }
        stage.venue.run(850 * MS);
        for trader in &mut stage.traders {
            trader.heartbeat();
            trader.take();
        }
    };
    // Without the attack it keeps sending heartbeats; with it, it is dead within the run.
    let speaks = |stage: &mut Stage, _| stage.victim.heartbeat();
    let quiet = Stage::new(prepare).play(speaks);
    let mut stage = Stage::new(prepare);
    let silent = stage.play(|_, _| {});
    assert!(silent.reports == quiet.reports, "the traders heard something else");
    assert!(!stage.venue.board.binding(SessionSlot(VICTIM as u16)).1.bound);
    let session = stage.venue.engine.exchange().session(SessionSlot(VICTIM as u16)).unwrap();
    assert_eq!(session.open_orders, 0, "cancelled, in more than one step");
}

#[test]
fn a_client_that_never_reads_holds_up_nobody() {
    let stage = undisturbed(victim_logs_in, |stage, tick| {
        let queries: Vec<&[u8]> = vec![b"Q"; 40];
        stage.victim.send(&queries);
        // And asks for all of it again, every millisecond.
        stage.victim.request(1, 0xFFFE);
        stage.victim.request(1 + 20 * tick, 0xFFFE);
    });
    let next = stage.venue.board.next_report(SessionSlot(VICTIM as u16));
    assert_eq!(next, 2 + 40 * TICKS);
    // What it is sent is bounded by its rate of bytes: 10 MB/s and what may come at once.
    let sent = stage.counter("replay_packets");
    assert!(sent < 2_500 && stage.counter("replay_refused") > 0, "{sent} packets again");
}
