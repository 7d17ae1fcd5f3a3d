//! What the witnesses read in bytes of our encoders, without an exchange.

use rialto::types::*;
use rialto::wire::mold;
use rialto_interop::{day, feed, itch, ouch, pcap, sample, tshark};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

#[test]
fn itch5_reads_every_value() {
    let file = sample::day_file(&sample::itch_day(1, 5_000));
    let theirs = itch::by_itch5(&file).unwrap();
    let (messages, values) = itch::compare(&file, "itch5", &theirs).unwrap();
    assert!(messages > 5_000 && values > 5 * messages);
}

#[test]
fn itchy_reads_every_value() {
    let file = sample::day_file(&sample::itch_day(2, 5_000));
    let theirs = itch::by_itchy(&file).unwrap();
    let (messages, values) = itch::compare(&file, "itchy", &theirs).unwrap();
    assert!(messages > 5_000 && values > 5 * messages);
}

#[test]
fn the_sample_has_every_type_of_the_codec() {
    let file = sample::day_file(&sample::itch_day(3, 100));
    let counts = day::count_by_type(&day::messages(&file).unwrap());
    assert_eq!(counts.keys().collect::<String>(), "ACDEHRSUX");
}

#[test]
fn a_witness_that_reads_another_value_is_noticed() {
    let messages = sample::itch_day(4, 100);
    let file = sample::day_file(&messages);
    let mut other = file.clone();
    // The last byte of a price, a reference or a quantity of the 50th message.
    let upto: usize = messages[..50].iter().map(|m| 2 + m.size()).sum();
    other[upto - 1] ^= 1;
    for theirs in [itch::by_itch5(&other).unwrap(), itch::by_itchy(&other).unwrap()] {
        let error = itch::compare(&file, "witness", &theirs).unwrap_err().to_string();
        assert!(error.contains("message 50:"), "{error}");
    }
    let short = itch::by_itch5(&file[..file.len() - 14]).unwrap();
    assert!(itch::compare(&file, "witness", &short).is_err());
}

#[test]
fn slouch_reads_every_report() {
    let mut tally = ouch::Tally::default();
    for report in sample::reports(5, 5_000) {
        ouch::compare_report(&sample::report_bytes(&report), &mut tally).unwrap();
    }
    // An eighth is our own N, which no standard knows.
    assert!(tally.messages > 4_000 && tally.skipped < 1_000, "{tally}");
}

#[test]
fn slouch_knows_every_reason() {
    let mut tally = ouch::Tally::default();
    for reason in sample::REASONS {
        let report = rialto::wire::ouch::Outbound::Rejected(rialto::wire::ouch::Rejected {
            timestamp: 1,
            urn: Urn(1),
            reason: reason as u16,
            cl_ord_id: ClOrdId::BLANK,
        });
        ouch::compare_report(&sample::report_bytes(&report), &mut tally).unwrap();
    }
    assert_eq!(tally.messages, sample::REASONS.len());
}

#[test]
fn slouch_writes_every_order_as_we_do() {
    let mut tally = ouch::Tally::default();
    for order in sample::orders(6, 5_000) {
        ouch::compare_order(&sample::order_bytes(&order), &mut tally).unwrap();
    }
    assert_eq!((tally.messages, tally.skipped), (5_000, 0), "{tally}");
}

#[test]
fn captures_are_read_as_written() {
    let datagrams = sample::capture(7, 9001, 30001, 9002);
    assert_eq!(pcap::read(&pcap::write(&datagrams)).unwrap(), datagrams);
}

#[test]
fn tshark_dissects_both_directions() {
    if std::process::Command::new("tshark").arg("--version").output().is_err() {
        eprintln!("SKIPPED: no tshark here (apt-get install --no-install-recommends tshark)");
        return;
    }
    let datagrams = sample::capture(8, 9001, 30001, 9002);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pcap::write(&datagrams)).unwrap();
    let ports = [9001, 30001, 9002];
    let lines = tshark::run(file.path(), &ports).unwrap();
    let report = tshark::compare(&datagrams, &ports, &lines).unwrap();
    for kind in [
        (9001, "to", "own blocks"),
        (9001, "from", "own blocks"),
        (9001, "to", "messages"),
        (9001, "from", "messages"),
        (9001, "to", "heartbeats"),
        (9001, "from", "heartbeats"),
        (9001, "to", "requests"),
        (9001, "to", "ends of session"),
        (9001, "from", "ends of session"),
        (30001, "to", "messages"),
        (30001, "to", "heartbeats"),
        (30001, "to", "ends of session"),
        (9002, "to", "requests"),
        (9002, "from", "messages"),
    ] {
        assert!(report.packets.contains_key(&kind), "{kind:?} in {report}");
    }
    let mut other = datagrams.clone();
    *other[5].payload.last_mut().unwrap() ^= 1;
    assert!(tshark::compare(&other, &ports, &lines).is_err(), "another byte is noticed");
}

#[test]
fn moldudp_repairs_what_is_withheld() {
    let interface = Ipv4Addr::LOCALHOST;
    let group = SocketAddrV4::new(Ipv4Addr::new(239, 255, 77, 9), 27_109);
    let session = Alpha(*b"RIALTOA061");
    let messages = sample::itch_day(9, 2_000);
    let blocks: Vec<Vec<u8>> = messages.iter().map(sample::encode).collect();
    let packets = sample::packets(session, 1, &blocks);

    // A request server of the plainest kind.
    let server = UdpSocket::bind((interface, 0)).unwrap();
    let std::net::SocketAddr::V4(request) = server.local_addr().unwrap() else { unreachable!() };
    let answers = blocks.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((len, from)) = server.recv_from(&mut buffer) {
            let Some(header) = mold::Header::read(&buffer[..len]) else { continue };
            let first = header.sequence as usize - 1;
            let last = (first + usize::from(header.count)).min(answers.len());
            let answer = &sample::packets(session, header.sequence, &answers[first..last])[0];
            server.send_to(answer, from).unwrap();
        }
    });

    let options = feed::Options {
        group,
        interface,
        request,
        session: "RIALTOA061".into(),
        relay: SocketAddrV4::new(Ipv4Addr::new(239, 255, 77, 10), 27_110),
        drop_every: 5,
        ask_again: Duration::from_millis(50),
        messages: None,
        idle: None,
        silence: Duration::from_secs(60),
        limit: Duration::from_secs(300),
    };
    let follower = std::thread::spawn(move || feed::follow(&options));
    let sender = feed::sender(interface).unwrap();
    let sequence = blocks.len() as u64 + 1;
    let mut end_bytes = [0; mold::HEADER_BYTES];
    mold::Header { session, sequence, count: mold::END_OF_SESSION }.write(&mut end_bytes);
    for packet in &packets {
        sender.send_to(packet, group).unwrap();
        // A publisher's pace, not a burst that a small socket buffer would cut.
        std::thread::sleep(Duration::from_millis(1));
    }
    // What was sent before the follower listened is repaired too; it hears of the end last.
    while !follower.is_finished() {
        sender.send_to(&end_bytes, group).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    let report = follower.join().unwrap().unwrap();
    assert_eq!(report.messages, blocks);
    assert_eq!((report.missing, report.disagreements, report.ended), (0, 0, true));
    assert!(report.withheld > 0 && report.repaired > 0, "{} withheld", report.withheld);
}
