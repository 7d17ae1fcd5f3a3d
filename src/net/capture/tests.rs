//! The capture as a whole: taps, writer, files, and what a reader of the format finds in them.

use super::*;
use crate::agent::Agent;
use crate::counters::CounterSet;
use crate::net::{MemoryNetwork, Port};
use crate::types::Nanos;
use std::net::SocketAddrV4;
use std::path::Path;

const MS: u64 = 1_000_000;

fn files(directory: &Path) -> FilesConfig {
    FilesConfig {
        directory: directory.into(),
        file_bytes_max: 1 << 20,
        files_max: 100,
        time_text: |now| format!("t{}", now.0),
    }
}

fn address(text: &str) -> SocketAddrV4 {
    text.parse().unwrap()
}

/// A packet of a file.
#[derive(Debug, PartialEq, Eq)]
struct Packet {
    interface: usize,
    time: u64,
    outbound: bool,
    lacking: u64,
    frame: Vec<u8>,
}

/// What a file says.
#[derive(Debug, Default)]
struct Content {
    interfaces: Vec<String>,
    packets: Vec<Packet>,
    /// Seen and lacking of each interface, when the file was ended.
    statistics: Vec<(u64, u64)>,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// Value of an option.
fn option_of(mut options: &[u8], code: u16) -> Option<&[u8]> {
    while options.len() >= 4 {
        let kind = u16::from_le_bytes([options[0], options[1]]);
        let length = usize::from(u16::from_le_bytes([options[2], options[3]]));
        if kind == code {
            return Some(&options[4..4 + length]);
        }
        options = &options[4 + length.next_multiple_of(4)..];
    }
    None
}

fn u64_of(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().unwrap())
}

/// Reads a file, strictly: what does not fit is a panic.
fn read(path: &Path) -> Content {
    let bytes = std::fs::read(path).unwrap();
    let mut content = Content::default();
    let mut rest = &bytes[..];
    assert_eq!(u32_at(rest, 0), 0x0A0D_0D0A, "{}", path.display());
    while !rest.is_empty() {
        let length = u32_at(rest, 4) as usize;
        assert_eq!(u32_at(rest, length - 4) as usize, length);
        let body = &rest[8..length - 4];
        match u32_at(rest, 0) {
            0x0A0D_0D0A => {}
            1 => {
                let name = option_of(&body[8..], 2).unwrap();
                content.interfaces.push(String::from_utf8(name.into()).unwrap());
            }
            5 => {
                assert_eq!(u32_at(body, 0) as usize, content.statistics.len());
                let count = |code| u64_of(option_of(&body[12..], code).unwrap());
                content.statistics.push((count(4), count(5)));
            }
            6 => {
                let captured = u32_at(body, 12) as usize;
                let options = &body[20 + captured.next_multiple_of(4)..];
                content.packets.push(Packet {
                    interface: u32_at(body, 0) as usize,
                    time: u64::from(u32_at(body, 4)) << 32 | u64::from(u32_at(body, 8)),
                    outbound: u32_at(option_of(options, 2).unwrap(), 0) == 2,
                    lacking: option_of(options, 4).map_or(0, u64_of),
                    frame: body[20..20 + captured].into(),
                });
            }
            other => panic!("block {other:#x}"),
        }
        rest = &rest[length..];
    }
    content
}

/// All files of a directory, oldest first.
fn read_all(directory: &Path) -> Vec<Content> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn send(port: &mut impl Port, to: SocketAddrV4, payload: &[u8]) {
    port.send(to, |buffer| {
        buffer[..payload.len()].copy_from_slice(payload);
        payload.len()
    });
    port.flush();
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
fn frames_of_all_taps_come_in_order_of_time_with_way_and_interface() {
    let home = tempfile::tempdir().unwrap();
    let capture = Capture::new(true, 1 << 16);
    let mut received = capture.tap("eth1", "queues");
    let mut sent = received.another();
    let mut beside = capture.tap("eth1-kernel", "sockets");
    let mut writer = capture.writer(files(home.path()), None).unwrap();
    let far = Nanos(1 << 60);
    received.frame(Direction::Received, &[1; 60], Nanos(10));
    received.frame(Direction::Received, &[2; 61], Nanos(30));
    sent.frame(Direction::Sent, &[3; 1_514], Nanos(10));
    sent.frame(Direction::Sent, &[4; 14], far);
    cycle_starts(Nanos(20));
    beside.datagram(Direction::Received, address("10.0.0.1:1"), address("10.0.0.2:2"), b"hello");
    while writer.duty_cycle(Nanos(40)) > 0 {}
    let counters = writer.counters();
    drop(writer);
    let [content] = &read_all(home.path())[..] else { panic!("one file") };
    assert_eq!(content.interfaces, ["eth1", "eth1-kernel"]);
    let order: Vec<_> =
        content.packets.iter().map(|p| (p.interface, p.time, p.outbound, p.frame[0])).collect();
    let made_up = content.packets[2].frame[0];
    let wanted = [
        (0, 10, false, 1),
        (0, 10, true, 3),
        (1, 20, false, made_up),
        (0, 30, false, 2),
        (0, far.0, true, 4),
    ];
    assert_eq!(order, wanted);
    assert_eq!(content.packets[1].frame, [3; 1_514]);
    let parser = af_xdp::packet::Parser { verify_udp_checksum: true, ..Default::default() };
    let datagram = parser.parse(&content.packets[2].frame).unwrap();
    assert_eq!((datagram.source, datagram.payload), (address("10.0.0.1:1"), &b"hello"[..]));
    assert_eq!(content.statistics, [(4, 0), (1, 0)]);
    assert_eq!((counters.written(), counters.lacking(), counters.error()), (5, 0, None));
}

#[test]
fn a_full_ring_drops_counts_and_says_where() {
    let home = tempfile::tempdir().unwrap();
    let capture = Capture::new(true, 1 << 12);
    let mut tap = capture.tap("eth1", "queues");
    let mut writer = capture.writer(files(home.path()), None).unwrap();
    let counters = writer.counters();
    for i in 0..100u8 {
        tap.frame(Direction::Sent, &[i; 112], Nanos(u64::from(i)));
    }
    // 16 bytes before each: 32 of them fill 4 KiB. Nobody has waited, and it can be told already.
    assert_eq!((value(&counters, "frames_captured"), counters.lacking()), (32, 68));
    writer.duty_cycle(Nanos(0));
    tap.frame(Direction::Sent, &[100; 112], Nanos(100));
    tap.frame(Direction::Sent, &[101; 112], Nanos(101));
    drop(writer);
    let [content] = &read_all(home.path())[..] else { panic!("one file") };
    let lacking: Vec<u64> = content.packets.iter().map(|p| p.lacking).collect();
    assert_eq!(lacking.iter().position(|&n| n > 0), Some(32));
    assert_eq!((lacking[32], lacking[33]), (68, 0));
    assert_eq!(content.packets[32].frame, [100; 112]);
    assert_eq!(content.statistics, [(102, 68)]);
}

#[test]
fn off_nothing_is_copied_and_the_switch_works_both_ways() {
    let (home, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let switch = Switch::new(data.path().into());
    switch.ask(true).unwrap();
    let capture = Capture::new(false, 1 << 12);
    let mut tap = capture.tap("eth1", "queues");
    let mut writer = capture.writer(files(home.path()), Some(data.path().into())).unwrap();
    assert!(!switch.waits(), "what was asked of an earlier venue is old");
    let counters = writer.counters();
    let mut now = Nanos(0);
    let mut look = |writer: &mut Writer| {
        now = now.plus(100 * MS);
        writer.duty_cycle(now);
    };
    for round in 1..=2u8 {
        tap.frame(Direction::Sent, &[0xFF; 60], Nanos(1));
        look(&mut writer);
        switch.ask(true).unwrap();
        look(&mut writer);
        assert!(counters.is_on() && !switch.waits());
        tap.frame(Direction::Sent, &[round; 60], Nanos(2));
        look(&mut writer);
        switch.ask(false).unwrap();
        look(&mut writer);
        assert!(!counters.is_on());
        look(&mut writer);
        // The file is whole while the venue goes on.
        let all = read_all(home.path());
        assert_eq!(all.len(), usize::from(round));
        let last = &all[usize::from(round) - 1];
        assert_eq!((last.packets.len(), &last.statistics[..]), (1, &[(1, 0)][..]));
        assert_eq!(last.packets[0].frame, [round; 60]);
    }
    assert_eq!(value(&counters, "frames_captured"), 2);
}

#[test]
fn files_are_bounded_and_lose_nothing_between_them() {
    let home = tempfile::tempdir().unwrap();
    let capture = Capture::new(true, 1 << 20);
    let mut tap = capture.tap("eth1", "queues");
    let bounds = FilesConfig { file_bytes_max: 10_000, ..files(home.path()) };
    let mut writer = capture.writer(bounds, None).unwrap();
    for i in 0..1_000u64 {
        tap.frame(Direction::Received, &i.to_le_bytes().repeat(10), Nanos(i));
        writer.duty_cycle(Nanos(i * MS));
    }
    drop(writer);
    let all = read_all(home.path());
    assert!(all.len() > 10, "{} files", all.len());
    let times: Vec<u64> = all.iter().flat_map(|c| c.packets.iter().map(|p| p.time)).collect();
    assert_eq!(times, (0..1_000).collect::<Vec<_>>());
    for (content, entry) in all.iter().zip(std::fs::read_dir(home.path()).unwrap()) {
        assert!(entry.unwrap().metadata().unwrap().len() <= 10_000);
        assert_eq!(content.statistics, [(content.packets.len() as u64, 0)]);
    }
}

#[test]
fn what_the_disk_refuses_is_counted_and_it_goes_on_when_it_can() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("pcap");
    let capture = Capture::new(true, 1 << 16);
    let mut tap = capture.tap("eth1", "queues");
    let mut writer = capture.writer(files(&dir), None).unwrap();
    let counters = writer.counters();
    std::fs::remove_dir(&dir).unwrap();
    for i in 0..5 {
        tap.frame(Direction::Sent, &[i; 60], Nanos(1));
    }
    writer.duty_cycle(Nanos(0));
    assert_eq!((counters.lacking(), counters.error()), (5, Some(libc::ENOENT)));
    assert_eq!(value(&counters, "write_errors"), 1, "it is not tried again at once");
    std::fs::create_dir(&dir).unwrap();
    for i in 5..8 {
        tap.frame(Direction::Sent, &[i; 60], Nanos(2));
    }
    writer.duty_cycle(Nanos(2_000 * MS));
    drop(writer);
    assert_eq!((counters.written(), counters.lacking(), counters.error()), (3, 5, None));
    let [content] = &read_all(&dir)[..] else { panic!("one file") };
    let lacking: Vec<u64> = content.packets.iter().map(|p| p.lacking).collect();
    assert_eq!((lacking, &content.statistics[..]), (vec![5, 0, 0], &[(8, 5)][..]));
}

#[test]
fn a_captured_port_delivers_the_same_and_its_twin_has_a_tap_of_its_own() {
    let home = tempfile::tempdir().unwrap();
    let network = MemoryNetwork::new();
    let capture = Capture::new(true, 1 << 16);
    let (here, there) = (address("10.0.0.1:1"), address("10.0.0.2:2"));
    let tap = capture.tap("gateway", "sockets");
    let mut port = CapturedPort::new(network.bind(here).unwrap(), Some(tap));
    let mut twin = port.try_clone().unwrap();
    let mut peer = network.bind(there).unwrap();
    let writer = capture.writer(files(home.path()), None).unwrap();
    send(&mut peer, here, b"ask");
    let mut got = Vec::new();
    assert_eq!(port.receive(|payload, from| got.push((payload.to_vec(), from))), 1);
    assert_eq!(got, [(b"ask".to_vec(), there)]);
    send(&mut twin, there, b"answer");
    send(&mut twin, there, b""); // nothing after all
    assert_eq!(peer.receive(|payload, _| assert_eq!(payload, b"answer")), 1);
    drop(writer);
    let [content] = &read_all(home.path())[..] else { panic!("one file") };
    assert_eq!(content.interfaces, ["gateway"]);
    let parser = af_xdp::packet::Parser { verify_udp_checksum: true, ..Default::default() };
    let seen: Vec<_> = content
        .packets
        .iter()
        .map(|p| {
            let d = parser.parse(&p.frame).unwrap();
            (p.outbound, d.source, d.destination, d.payload)
        })
        .collect();
    assert_eq!(seen, [(false, there, here, &b"ask"[..]), (true, here, there, &b"answer"[..])]);
}
