use super::*;
use crate::wire::mold::{END_OF_SESSION, HEARTBEAT, Header, PacketBuilder};

const DAY_1: SessionName = SessionName { 0: *b"RIALTOA001" };
const DAY_2: SessionName = SessionName { 0: *b"RIALTOA002" };

#[derive(Default)]
struct Heard {
    messages: Vec<(u64, Vec<u8>, bool)>,
    sessions: Vec<SessionName>,
    lost: Vec<(u64, u64)>,
    ends: Vec<u64>,
}

impl FeedListener for Heard {
    fn on_message(&mut self, sequence: u64, payload: &[u8], end_of_packet: bool) {
        self.messages.push((sequence, payload.to_vec(), end_of_packet));
    }
    fn on_session(&mut self, session: SessionName) {
        self.sessions.push(session);
        self.messages.clear();
    }
    fn on_lost(&mut self, from: u64, count: u64) {
        self.lost.push((from, count));
    }
    fn on_end(&mut self, next: u64) {
        self.ends.push(next);
    }
}

impl Heard {
    fn sequences(&self) -> Vec<u64> {
        self.messages.iter().map(|m| m.0).collect()
    }

    /// Every message came once, in order, with its own bytes.
    fn check(&self, from: u64, to: u64) {
        assert_eq!(self.sequences(), (from..to).collect::<Vec<_>>());
        for (sequence, payload, _) in &self.messages {
            assert_eq!(*payload, content(*sequence));
        }
    }
}

fn content(sequence: u64) -> Vec<u8> {
    vec![sequence as u8; 5 + (sequence % 40) as usize]
}

fn packet(session: SessionName, from: u64, to: u64) -> Vec<u8> {
    let mut builder = PacketBuilder::new([0u8; 1400], session, from);
    for sequence in from..to {
        assert!(builder.push_bytes(&content(sequence)));
    }
    builder.packet().to_vec()
}

fn head(session: SessionName, sequence: u64, count: u16) -> Vec<u8> {
    let mut out = vec![0; 20];
    Header { session, sequence, count }.write(&mut out);
    out
}

fn asks(arbiter: &mut Arbiter, now: u64, heard: &mut Heard) -> Vec<(u64, u16)> {
    let mut asked = Vec::new();
    arbiter.tick(Nanos(now), heard, |ask| asked.push((ask.from, ask.count)));
    asked
}

#[test]
fn two_lines_make_one_stream() {
    let (mut arbiter, mut heard) = (Arbiter::new(FeedOptions::default()), Heard::default());
    let mut on = |line, from, to| {
        arbiter.on_packet(line, Nanos(1), &packet(DAY_1, from, to), &mut heard);
    };
    on(Line::A, 1, 4);
    on(Line::B, 1, 4);
    on(Line::B, 4, 9); // A loses this one
    on(Line::A, 9, 12);
    on(Line::B, 12, 14); // out of order, and differently cut
    on(Line::A, 11, 13);
    on(Line::A, 16, 18); // early
    on(Line::B, 14, 16);
    heard.check(1, 18);
    let ends: Vec<u64> = heard.messages.iter().filter(|m| m.2).map(|m| m.0).collect();
    assert_eq!(ends, [3, 8, 11, 13, 15, 17]);
    assert_eq!(asks(&mut arbiter, 1_000_000, &mut heard), []);
    let counters = arbiter.counters();
    assert_eq!((counters.packets_a, counters.packets_b), (4, 4));
    assert_eq!((counters.messages, counters.gaps, counters.lost), (17, 0, 0));
    assert_eq!(counters.duplicates, 3 + 2);
}

#[test]
fn what_both_lines_lost_is_asked_for_and_delivered_in_order() {
    let (mut arbiter, mut heard) = (Arbiter::new(FeedOptions::default()), Heard::default());
    arbiter.on_packet(Line::A, Nanos(0), &packet(DAY_1, 1, 4), &mut heard);
    arbiter.on_packet(Line::A, Nanos(0), &packet(DAY_1, 6, 9), &mut heard);
    arbiter.on_packet(Line::B, Nanos(0), &head(DAY_1, 12, HEARTBEAT), &mut heard);
    heard.check(1, 4);
    assert_eq!(arbiter.missing(), 2 + 3);
    assert_eq!(asks(&mut arbiter, 50_000, &mut heard), []);
    assert_eq!(asks(&mut arbiter, 100_000, &mut heard), [(4, 2), (9, 3)]);
    arbiter.on_packet(Line::Repair, Nanos(0), &packet(DAY_1, 9, 12), &mut heard);
    heard.check(1, 4);
    arbiter.on_packet(Line::Repair, Nanos(0), &packet(DAY_1, 4, 6), &mut heard);
    heard.check(1, 12);
    assert!(heard.messages[10].2, "the last one known is told as an end");
    assert!(!heard.messages[4].2, "the end of a repair packet says nothing");
    let counters = arbiter.counters();
    assert_eq!((counters.gaps, counters.repaired, counters.requests), (2, 5, 2));
    assert_eq!(asks(&mut arbiter, 200_000, &mut heard), []);
}

#[test]
fn a_late_joiner_gets_the_day_from_the_start_and_a_live_one_does_not() {
    let (mut arbiter, mut heard) = (Arbiter::new(FeedOptions::default()), Heard::default());
    arbiter.on_packet(Line::A, Nanos(0), &packet(DAY_1, 100, 110), &mut heard);
    let asked = asks(&mut arbiter, 100_000, &mut heard);
    assert_eq!(asked, [(1, 32), (33, 32), (65, 32), (97, 3)]);
    for (from, count) in asked {
        let answer = packet(DAY_1, from, from + u64::from(count));
        arbiter.on_packet(Line::Repair, Nanos(0), &answer, &mut heard);
    }
    heard.check(1, 110);

    let live = FeedOptions { from: 0, ..FeedOptions::default() };
    let (mut arbiter, mut heard) = (Arbiter::new(live), Heard::default());
    arbiter.on_packet(Line::A, Nanos(0), &head(DAY_1, 100, HEARTBEAT), &mut heard);
    arbiter.on_packet(Line::A, Nanos(0), &packet(DAY_1, 100, 110), &mut heard);
    heard.check(100, 110);
    assert_eq!(asks(&mut arbiter, 100_000, &mut heard), []);

    let later = FeedOptions { from: 105, ..FeedOptions::default() };
    let (mut arbiter, mut heard) = (Arbiter::new(later), Heard::default());
    arbiter.on_packet(Line::A, Nanos(0), &packet(DAY_1, 100, 110), &mut heard);
    heard.check(105, 110);
}

#[test]
fn messages_beyond_the_window_come_again() {
    let small = FeedOptions { window_messages: 2048, ..FeedOptions::default() };
    let (mut arbiter, mut heard) = (Arbiter::new(small), Heard::default());
    let mut now = 0;
    let last = 10_001;
    for from in (2..last).step_by(20) {
        let to = (from + 20).min(last);
        arbiter.on_packet(Line::A, Nanos(now), &packet(DAY_1, from, to), &mut heard);
    }
    assert!(arbiter.counters().refused > 0);
    while arbiter.next() < last {
        now += 100_000;
        for (from, count) in asks(&mut arbiter, now, &mut heard) {
            let to = from + u64::from(count);
            arbiter.on_packet(Line::Repair, Nanos(now), &packet(DAY_1, from, to), &mut heard);
        }
        assert!(now < 1_000_000_000, "makes progress");
    }
    heard.check(1, last);
    assert_eq!(arbiter.counters().lost, 0);
}

#[test]
fn what_comes_beyond_the_window_is_one_hole_however_long_that_lasts() {
    let options = FeedOptions { window_messages: 64, ..FeedOptions::default() };
    let (mut arbiter, mut heard) = (Arbiter::new(options), Heard::default());
    // Seldom enough that none is noticed with the one before.
    for at in 0..2_000 {
        let one = packet(DAY_1, 3_000 + at, 3_001 + at);
        arbiter.on_packet(Line::A, Nanos(at * 150_000), &one, &mut heard);
    }
    assert_eq!(arbiter.missing(), 4_999);
    assert!(arbiter.holes.iter().count() <= 2, "{:?}", arbiter.holes.iter().collect::<Vec<_>>());
}

#[test]
fn given_up_only_after_silence_of_the_stated_time() {
    let (mut arbiter, mut heard) = (Arbiter::new(FeedOptions::default()), Heard::default());
    let second = 1_000_000_000;
    asks(&mut arbiter, second, &mut heard);
    arbiter.on_packet(Line::A, Nanos(second), &packet(DAY_1, 5, 9), &mut heard);
    arbiter.on_packet(Line::A, Nanos(second), &packet(DAY_1, 11, 13), &mut heard);
    for tenth in 10..110 {
        asks(&mut arbiter, tenth * second / 10, &mut heard);
        assert!(heard.lost.is_empty() && heard.messages.is_empty());
    }
    // Still missing, but an answer came: another ten seconds.
    arbiter.on_packet(Line::Repair, Nanos(11 * second - 1), &packet(DAY_1, 2, 4), &mut heard);
    asks(&mut arbiter, 11 * second, &mut heard);
    assert!(heard.lost.is_empty());
    asks(&mut arbiter, 21 * second, &mut heard);
    assert_eq!(heard.lost, [(1, 1), (4, 1), (9, 2)]);
    assert_eq!(heard.sequences(), [2, 3, 5, 6, 7, 8, 11, 12]);
    assert_eq!(arbiter.counters().lost, 4);
}

#[test]
fn the_end_comes_after_the_last_message_and_the_next_day_follows() {
    let (mut arbiter, mut heard) = (Arbiter::new(FeedOptions::default()), Heard::default());
    let on = |arbiter: &mut Arbiter, heard: &mut Heard, line, bytes: &[u8]| {
        arbiter.on_packet(line, Nanos(5), bytes, heard);
    };
    on(&mut arbiter, &mut heard, Line::A, &packet(DAY_1, 1, 4));
    on(&mut arbiter, &mut heard, Line::B, &head(DAY_1, 6, END_OF_SESSION));
    assert!(heard.ends.is_empty(), "two messages are missing");
    on(&mut arbiter, &mut heard, Line::A, &packet(DAY_2, 1, 2));
    assert_eq!(arbiter.counters().foreign, 1, "the day is not over yet");
    assert_eq!(asks(&mut arbiter, 200_000, &mut heard), [(4, 2)]);
    on(&mut arbiter, &mut heard, Line::Repair, &packet(DAY_1, 4, 6));
    on(&mut arbiter, &mut heard, Line::A, &head(DAY_1, 6, END_OF_SESSION));
    heard.check(1, 6);
    assert_eq!(heard.ends, [6]);
    assert!(arbiter.finished());
    on(&mut arbiter, &mut heard, Line::A, &packet(DAY_2, 1, 3));
    on(&mut arbiter, &mut heard, Line::B, &head(DAY_1, 6, END_OF_SESSION));
    heard.check(1, 3);
    assert_eq!(heard.sessions, [DAY_1, DAY_2]);
    assert!(!arbiter.finished());
}

#[test]
fn a_session_that_died_gives_way_and_what_was_missing_is_lost() {
    let (mut arbiter, mut heard) = (Arbiter::new(FeedOptions::default()), Heard::default());
    arbiter.on_packet(Line::A, Nanos(0), &packet(DAY_1, 3, 5), &mut heard);
    arbiter.on_packet(Line::A, Nanos(2_999_999_999), &packet(DAY_2, 1, 2), &mut heard);
    assert!(heard.lost.is_empty());
    arbiter.on_packet(Line::A, Nanos(3_000_000_000), &packet(DAY_2, 1, 2), &mut heard);
    assert_eq!(heard.lost, [(1, 2)]);
    heard.check(1, 2);
    // Nobody is led back.
    arbiter.on_packet(Line::A, Nanos(9_000_000_000), &packet(DAY_1, 5, 9), &mut heard);
    heard.check(1, 2);

    let pinned = FeedOptions { session: Some(DAY_1), ..FeedOptions::default() };
    let (mut arbiter, mut heard) = (Arbiter::new(pinned), Heard::default());
    arbiter.on_packet(Line::A, Nanos(9_000_000_000), &packet(DAY_2, 1, 5), &mut heard);
    assert!(heard.messages.is_empty() && heard.sessions.is_empty());
}

#[test]
fn hostile_packets_change_nothing_they_should_not() {
    let (mut arbiter, mut heard) = (Arbiter::new(FeedOptions::default()), Heard::default());
    arbiter.on_packet(Line::A, Nanos(0), &packet(DAY_1, 1, 4), &mut heard);
    let mut far = packet(DAY_1, 4, 6);
    far[10..18].copy_from_slice(&u64::MAX.to_be_bytes());
    let mut zero = packet(DAY_1, 4, 6);
    zero[10..18].copy_from_slice(&0u64.to_be_bytes());
    let mut cut = packet(DAY_1, 4, 6);
    cut.pop();
    for bytes in [
        far,
        zero,
        cut,
        vec![],
        vec![0; 19],
        head(DAY_1, u64::MAX, HEARTBEAT),
        head(DAY_1, 5_000_000_000_000, END_OF_SESSION),
        head(DAY_1, 4, 7),
    ] {
        for line in [Line::A, Line::B, Line::Repair] {
            arbiter.on_packet(line, Nanos(0), &bytes, &mut heard);
        }
    }
    assert_eq!(arbiter.counters().malformed, 8 * 3);
    assert_eq!(arbiter.missing(), 0);
    arbiter.on_packet(Line::Repair, Nanos(0), &packet(DAY_2, 4, 6), &mut heard);
    // An empty and a very long message are messages too.
    let mut builder = PacketBuilder::new([0u8; 1400], DAY_1, 4);
    builder.push_bytes(b"");
    builder.push_bytes(&[7; 1000]);
    arbiter.on_packet(Line::A, Nanos(0), builder.packet(), &mut heard);
    heard.messages.truncate(3);
    heard.check(1, 4);
    assert_eq!(arbiter.next(), 6);
}

#[test]
fn random_bytes_and_random_damage_never_panic() {
    let mut state = 99u64;
    let mut random = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let options =
        FeedOptions { window_messages: 2048, give_up_ns: 50_000_000, ..FeedOptions::default() };
    let mut arbiter = Arbiter::new(options);
    let mut last = (0, 0);
    let mut listener = |sequence: u64, _: &[u8], _: bool| last = (sequence, last.1 + 1);
    for step in 0..200_000u64 {
        let from = 1 + random() % 6_000;
        let session = if random() % 50 == 0 { DAY_2 } else { DAY_1 };
        let mut bytes = match random() % 4 {
            0 => head(session, from, [HEARTBEAT, END_OF_SESSION, 3][(random() % 3) as usize]),
            _ => packet(session, from, from + 1 + random() % 20),
        };
        if random() % 3 == 0 {
            for _ in 0..1 + random() % 3 {
                let at = random() as usize % bytes.len();
                bytes[at] = random() as u8;
            }
        }
        if random() % 10 == 0 {
            bytes.truncate(random() as usize % (bytes.len() + 1));
        }
        let line = [Line::A, Line::B, Line::Repair][(random() % 3) as usize];
        arbiter.on_packet(line, Nanos(step * 20_000), &bytes, &mut listener);
        arbiter.tick(Nanos(step * 20_000), &mut listener, |_| {});
    }
    assert!(last.1 > 1_000, "something was delivered: {}", last.1);
}
