//! The bytes shown in `docs/feed.md` are what the codecs read and write.

use rialto::types::*;
use rialto::wire::itch::Message;
use rialto::wire::mold::{self, Header, Packet, PacketBuilder};

/// The blocks of the page between "```hex" and "```", comments after two blanks and a word removed.
fn blocks() -> Vec<Vec<u8>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/feed.md");
    let page = std::fs::read_to_string(path).unwrap();
    page.split("```hex\n")
        .skip(1)
        .map(|rest| {
            let block = rest.split("```").next().unwrap();
            let hex: String = block
                .lines()
                .filter_map(|line| line.split("  ").next())
                .flat_map(str::split_whitespace)
                .collect();
            (0..hex.len() / 2)
                .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
                .collect()
        })
        .collect()
}

#[test]
fn the_page_shows_real_bytes() {
    let [packet, heartbeat, request]: [Vec<u8>; 3] = blocks().try_into().unwrap();
    let session = SessionName::new("RIALTOA326").unwrap();

    let (header, Packet::Messages(messages)) = mold::parse(&packet).unwrap() else {
        panic!("messages");
    };
    assert_eq!(header, Header { session, sequence: 17, count: 3 });
    let mut again = PacketBuilder::new([0u8; 1400], session, 17);
    let mut shown = Vec::new();
    for block in messages {
        let message = Message::decode(block).unwrap();
        let mut bytes = [0; 64];
        let len = message.encode(&mut bytes);
        assert!(again.push_bytes(&bytes[..len]));
        shown.push(message);
    }
    assert_eq!(again.packet(), packet);
    let [Message::Executed(first), Message::Executed(second), Message::Add(rest)] = shown[..]
    else {
        panic!("{shown:?}");
    };
    assert_eq!((first.quantity, first.match_number), (Quantity(300), MatchNumber(1)));
    assert_eq!((second.quantity, second.match_number), (Quantity(50), MatchNumber(2)));
    assert_eq!((rest.quantity, rest.price, rest.side), (Quantity(25), Price(100_200), Side::Sell));
    assert!(shown.iter().all(|m| m.prefix() == &first.prefix), "one command");

    let head = |bytes: &[u8], sequence, count| {
        assert_eq!(bytes.len(), 20);
        assert_eq!(Header::read(bytes).unwrap(), Header { session, sequence, count });
    };
    head(&heartbeat, 20, mold::HEARTBEAT);
    head(&request, 17, 3);
}
