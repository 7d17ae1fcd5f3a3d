//! MoldUDP64.

use super::*;

#[test]
fn mold_packet() {
    let fields: Fields = &[
        (0, "session", "525354303031 41 303631"),
        (10, "sequence", "0000000100000002"),
        (18, "count", "0003"),
    ];
    check_page(MOLD_PAGE, "### Header", fields);
    check_page(MOLD_PAGE, "### Block", &[(0, "length", "0002")]);
    let session = session::stream_name(&alpha("RST001"), b'A', 61);
    let mut packet = mold::PacketBuilder::new([0; 64], session, 0x1_0000_0002);
    assert!(packet.push_bytes(b"ab"));
    assert!(packet.push_bytes(b""));
    assert!(packet.push_bytes(b"cde"));
    assert_eq!(packet.next_sequence(), 0x1_0000_0005);
    let bytes = [join(fields), hex("0002 6162 0000 0003 636465")].concat();
    assert_eq!(text_hex(packet.packet()), text_hex(&bytes));
    let blocks: Vec<&[u8]> = mold::blocks(&bytes).unwrap().collect();
    assert_eq!(blocks, [b"ab".as_slice(), b"", b"cde"]);
    let header = mold::Header { session, sequence: 0x1_0000_0002, count: 3 };
    assert_eq!(mold::Header::read(&bytes), Some(header));
}

#[test]
fn mold_kinds_and_bad_packets() {
    use mold::{BadPacket::*, Packet};
    let head = "202020202020202020200000000000000001";
    let parse = |rest: &str| {
        let bytes = [hex(head), hex(rest)].concat();
        mold::parse(&bytes).map(|(_, packet)| match packet {
            Packet::Heartbeat => "heartbeat".to_string(),
            Packet::EndOfSession => "end".to_string(),
            Packet::Request => "request".to_string(),
            Packet::Messages(blocks) => format!("{} blocks", blocks.len()),
        })
    };
    assert_eq!(parse("0000"), Ok("heartbeat".into()));
    assert_eq!(parse("ffff"), Ok("end".into()));
    assert_eq!(parse("0005"), Ok("request".into()));
    assert_eq!(parse("0001 0000"), Ok("1 blocks".into()));
    assert_eq!(parse("0002 0001 61 0000"), Ok("2 blocks".into()));
    let bad: &[(&str, mold::BadPacket)] = &[
        ("00", Short),
        ("0000 00", Blocks),
        ("0000 0000", Blocks),
        ("ffff 0000", Blocks),
        ("0001 00", Blocks),
        ("0001 0001", Blocks),
        ("0001 0002 61", Blocks),
        ("0001 0001 61 00", Blocks),
        ("0001 0000 0000", Blocks),
        ("0002 0000", Blocks),
        ("fffe 0000", Blocks),
    ];
    for (rest, error) in bad {
        assert_eq!(parse(rest), Err(*error), "{rest}");
    }
    assert_eq!(parse(&format!("0001 0564 {}", "61".repeat(1380))), Err(Long));
    assert_eq!(parse(&format!("0001 0562 {}", "61".repeat(1378))), Ok("1 blocks".into()));
    assert!(mold::blocks(&hex(&format!("{head} 0005"))).is_err(), "a request has no blocks");
}

#[test]
fn mold_packets_hold_1400_bytes() {
    let mut buffer = [0; 1472];
    let mut packet = mold::PacketBuilder::new(&mut buffer[..], SessionName::BLANK, 1);
    let mut adds = 0;
    while packet.push(36, |out| out.fill(b'A')) {
        adds += 1;
    }
    // 20 + 36 x 38 = 1,388.
    assert_eq!((adds, packet.len()), (36, 1388));
    assert!(!packet.push_bytes(&[0; 11]) && packet.push_bytes(&[0; 10]));
    assert_eq!((packet.finish(), packet.count()), (mold::PAYLOAD_BYTES_MAX, 37));
    packet.restart(SessionName::BLANK, 38);
    assert!(packet.is_empty() && packet.fits(mold::BLOCK_BYTES_MAX));
    assert!(!packet.fits(mold::BLOCK_BYTES_MAX + 1));
}
