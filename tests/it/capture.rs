//! The capture of a whole venue: what is in the files is what was received and sent, and a capture
//! that nobody writes changes nothing but its own count.

use crate::venue::{GATEWAY, GROUP_A, GROUP_B, MS, Options, Venue, client::*};
use rialto::counters::CounterSet;
use rialto::exchange::event::Event;
use rialto::net::capture::{Capture, CaptureCounters, FilesConfig};
use rialto::net::{MemoryPort, Port};
use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::path::Path;

pub fn files(directory: &Path) -> FilesConfig {
    FilesConfig {
        directory: directory.into(),
        file_bytes_max: 256 << 10,
        files_max: 100,
        time_text: |now| format!("t{}", now.0),
    }
}

/// Source, destination and payload of a datagram; times it was seen.
type Datagrams = BTreeMap<(SocketAddrV4, SocketAddrV4, Vec<u8>), u32>;

fn note(all: &mut Datagrams, from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) {
    *all.entry((from, to, payload.to_vec())).or_default() += 1;
}

/// Datagrams of all files, received and sent; times must not run back.
fn captured(directory: &Path) -> (Datagrams, Datagrams) {
    let parser = af_xdp::packet::Parser { verify_udp_checksum: true, ..Default::default() };
    let (mut received, mut sent) = Default::default();
    let mut last = 0;
    let mut paths: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let bytes = std::fs::read(path).unwrap();
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let mut at = 0;
        while at < bytes.len() {
            // An enhanced packet block: interface, time, lengths, frame, options.
            if word(at) == 6 {
                let time = u64::from(word(at + 12)) << 32 | u64::from(word(at + 16));
                assert!(time >= last, "{time} behind {last}");
                last = time;
                let length = word(at + 20) as usize;
                let d = parser.parse(&bytes[at + 28..at + 28 + length]).unwrap();
                let options = at + 28 + length.next_multiple_of(4);
                assert_eq!(bytes[options..options + 4], [2, 0, 4, 0], "epb_flags");
                let all = match word(options + 4) {
                    1 => &mut received,
                    2 => &mut sent,
                    other => panic!("direction {other}"),
                };
                note(all, d.source, d.destination, d.payload);
            }
            at += word(at + 4) as usize;
        }
    }
    (received, sent)
}

/// Packets of the feed that left before anybody could join.
const UNHEARD: u32 = 2;

/// What everybody outside sent and heard.
struct Outside {
    sent: Datagrams,
    heard: Datagrams,
    events: Vec<(u64, Event)>,
}

fn hear(port: &mut MemoryPort, heard: &mut Datagrams) {
    let local = port.local();
    while port.receive(|payload, from| note(heard, from, local, payload)) > 0 {}
}

/// The same market whatever is captured: logins, orders that rest and trade, refusals, nonsense.
fn market(capture: Option<Capture>) -> Outside {
    let mut venue = Venue::with(Options { capture, ..Options::default() });
    let mut lines = [GROUP_A, GROUP_B]
        .map(|group| venue.network.join(group, "10.0.9.9".parse().unwrap()).unwrap());
    let (mut sent, mut heard) = (Datagrams::new(), Datagrams::new());
    let mut clients = [venue.client(0), venue.client(1)];
    for client in &mut clients {
        client.login(&mut venue);
    }
    for round in 0..200u32 {
        let [maker, taker] = &mut clients;
        let urn = round * 3;
        maker.send(&[&sell(urn + 1, 1_000_000), b"nonsense", &sell(urn + 2, 2_000_000)]);
        taker.send(&[&buy(urn + 1, 1_000_000)]);
        taker.send_raw(b"no datagram of ours");
        venue.run(MS);
        for client in &mut clients {
            client.take();
        }
        lines.iter_mut().for_each(|line| hear(line, &mut heard));
    }
    for client in &clients {
        let local = client.port.local();
        client.sent.iter().for_each(|bytes| note(&mut sent, local, GATEWAY, bytes));
        client.heard.iter().for_each(|bytes| note(&mut heard, GATEWAY, local, bytes));
    }
    Outside { sent, heard, events: venue.events() }
}

fn value(counters: &CaptureCounters, name: &str) -> u64 {
    let mut found = None;
    counters.visit(&mut |known, value| {
        if known == name {
            found = Some(value);
        }
    });
    found.unwrap()
}

#[test]
fn the_files_hold_what_was_received_and_sent() {
    let home = tempfile::tempdir().unwrap();
    let capture = Capture::new(true, 16 << 20);
    let outside = market(Some(capture.clone()));
    let writer = capture.writer(files(home.path()), None).unwrap();
    let counters = writer.counters();
    drop(writer);
    assert_eq!(counters.lacking(), 0);
    let (received, mut sent) = captured(home.path());
    let all: u32 = received.values().chain(sent.values()).sum();
    // The feed's beginning, on both lines.
    let unheard: Vec<_> =
        sent.keys().filter(|key| !outside.heard.contains_key(*key)).cloned().collect();
    assert_eq!([unheard[0].1, unheard[1].1], [GROUP_A, GROUP_B]);
    unheard.iter().for_each(|key| assert_eq!(sent.remove(key), Some(1)));
    assert_eq!(unheard.len() as u32, UNHEARD);
    assert!(received == outside.sent, "{} and {}", received.len(), outside.sent.len());
    assert!(sent == outside.heard, "{} and {}", sent.len(), outside.heard.len());
    assert_eq!(u64::from(all), counters.written());
    assert!(all > 1_000 && std::fs::read_dir(home.path()).unwrap().count() > 1, "{all}");
}

#[test]
fn a_writer_that_stands_still_changes_nothing_but_the_count() {
    let home = tempfile::tempdir().unwrap();
    let without = market(None);
    let capture = Capture::new(true, 16 << 10);
    let with = market(Some(capture.clone()));
    assert!(with.events == without.events, "the exchange did something else");
    assert!(with.sent == without.sent && with.heard == without.heard);
    let writer = capture.writer(files(home.path()), None).unwrap();
    let counters = writer.counters();
    let all = UNHEARD + with.sent.values().chain(with.heard.values()).sum::<u32>();
    let (fits, dropped) = (value(&counters, "frames_captured"), value(&counters, "frames_dropped"));
    assert_eq!(fits + dropped, u64::from(all));
    assert!(fits > 0 && dropped > fits, "{fits} and {dropped}");
}

#[test]
fn switched_off_it_captures_nothing() {
    let home = tempfile::tempdir().unwrap();
    let capture = Capture::new(false, 1 << 20);
    market(Some(capture.clone()));
    let writer = capture.writer(files(home.path()), None).unwrap();
    let counters = writer.counters();
    drop(writer);
    assert_eq!((value(&counters, "frames_captured"), counters.lacking()), (0, 0));
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}
