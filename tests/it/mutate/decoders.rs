//! Every decoder against its encoder: no mutant makes it panic; what it takes, it writes again as it
//! was read; what it refuses has a reason of the list, and every reason comes up.

use super::samples;
use super::{MUTATIONS, Random, Tally, mutate_some};
use rialto::exchange::command::{COMMAND_BYTES_MAX, Command};
use rialto::exchange::event::{EVENT_BYTES_MAX, Event};
use rialto::exchange::genesis::{Genesis, GenesisError};
use rialto::types::*;
use rialto::wire::itch::{self, ItchError};
use rialto::wire::mold::{self, BadPacket, Header, Packet};
use rialto::wire::ouch::{self, Inbound, InboundError, Outbound, OutboundError};
use rialto::wire::session::{self, Block};
use std::collections::BTreeMap;

/// A decoder, its samples, and what it may answer.
struct Target {
    name: &'static str,
    sample: fn(&mut Random) -> Vec<u8>,
    /// Decodes and checks; the row of the table.
    decode: fn(&[u8]) -> &'static str,
    answers: &'static [&'static str],
}

/// A function from a value to its row, and the list of all rows: a variant that is added and not
/// named here does not compile.
macro_rules! rows {
    ($list:ident $function:ident($type:ty) { $($pattern:pat => $row:literal,)* }) => {
        const $list: &[&str] = &["ok", $($row),*];
        fn $function(value: &$type) -> &'static str {
            match value { $($pattern => $row,)* }
        }
    };
}

rows!(MOLD mold_row(BadPacket) {
    BadPacket::Short => "short",
    BadPacket::Long => "long",
    BadPacket::Blocks => "blocks",
});

rows!(INBOUND inbound_row(InboundError) {
    InboundError::Empty => "empty",
    InboundError::UnknownType(_) => "unknown type",
    InboundError::Length => "length",
    InboundError::Appendage => "appendage",
    InboundError::UnknownTag(_) => "unknown tag",
    InboundError::UnsupportedTag(_) => "unsupported tag",
    InboundError::DoubledTag(_) => "doubled tag",
    InboundError::TagLength(_) => "tag length",
});

rows!(OUTBOUND outbound_row(OutboundError) {
    OutboundError::Empty => "empty",
    OutboundError::UnknownType(_) => "unknown type",
    OutboundError::Length => "length",
    OutboundError::Value => "value",
});

rows!(ITCH itch_row(ItchError) {
    ItchError::Empty => "empty",
    ItchError::UnknownType(_) => "unknown type",
    ItchError::Length => "length",
    ItchError::Value => "value",
});

rows!(GENESIS genesis_row(GenesisError) {
    GenesisError::Length => "length",
    GenesisError::Version(_) => "version",
    GenesisError::Inconsistent(_) => "inconsistent",
});

const PLAIN: &[&str] = &["ok", "refused"];

fn targets() -> Vec<Target> {
    let mut targets = vec![
        Target {
            name: "mold packet",
            sample: |random| {
                let count = random.below(8);
                let blocks: Vec<Vec<u8>> =
                    (0..count).map(|_| samples::inbound_bytes(random, 7, &[])).collect();
                samples::packet(SessionName::BLANK, 7, &blocks)
            },
            decode: decode_mold,
            answers: MOLD,
        },
        Target {
            name: "mold head (heartbeat, logoff, request)",
            sample: |random| {
                let count = *random.pick(&[0, 1, 10, 0xFFFE, 0xFFFF]);
                samples::head(SessionName::BLANK, random.draw(), count)
            },
            decode: decode_mold,
            answers: MOLD,
        },
        Target {
            name: "packet MAC",
            sample: |random| {
                let mut bytes = samples::head(SessionName::BLANK, random.draw(), 0);
                let len = bytes.len();
                bytes.resize(len + session::PACKET_TAG_BYTES, 0);
                session::seal_packet(&MAC_KEY, &mut bytes, len);
                bytes
            },
            decode: decode_mac,
            answers: PLAIN,
        },
        Target {
            name: "login and its HMAC",
            sample: |random| {
                let Block::Login(login) = samples::own_block(random, 0) else { unreachable!() };
                login.signed(&KEY, IP, PORT).to_vec()
            },
            decode: decode_login,
            answers: &["ok", "not signed", "no login"],
        },
        Target {
            name: "ITCH messages",
            sample: samples::itch_bytes,
            decode: decode_itch,
            answers: ITCH,
        },
        Target {
            name: "log command",
            sample: |random| {
                let kind = *random.pick(&[1, 2, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
                let payload = command_payload(random);
                [&[kind][..], &payload].concat()
            },
            decode: decode_command,
            answers: PLAIN,
        },
        Target {
            name: "log event",
            sample: |random| {
                let mut bytes = vec![0; 1 + EVENT_BYTES_MAX];
                bytes.iter_mut().for_each(|byte| *byte = random.draw() as u8);
                bytes[0] = random.below(17) as u8;
                bytes
            },
            decode: decode_event,
            answers: PLAIN,
        },
        Target {
            name: "genesis record",
            sample: |_| crate::venue::genesis(3).encode(),
            decode: decode_genesis,
            answers: GENESIS,
        },
    ];
    const INBOUND_NAMES: [&str; 4] = ["OUCH in O", "OUCH in U", "OUCH in X", "OUCH in Q"];
    const INBOUND_SAMPLES: [fn(&mut Random) -> Vec<u8>; 4] =
        [|r| ouch_in(r, b'O'), |r| ouch_in(r, b'U'), |r| ouch_in(r, b'X'), |r| ouch_in(r, b'Q')];
    for (name, sample) in INBOUND_NAMES.into_iter().zip(INBOUND_SAMPLES) {
        targets.push(Target { name, sample, decode: decode_inbound, answers: INBOUND });
    }
    const OUTBOUND_NAMES: [&str; 9] = [
        "OUCH out S",
        "OUCH out A",
        "OUCH out U",
        "OUCH out C",
        "OUCH out E",
        "OUCH out J",
        "OUCH out Q",
        "OUCH out I",
        "OUCH out N",
    ];
    const OUTBOUND_SAMPLES: [fn(&mut Random) -> Vec<u8>; 9] = [
        |r| ouch_out(r, 0),
        |r| ouch_out(r, 1),
        |r| ouch_out(r, 2),
        |r| ouch_out(r, 3),
        |r| ouch_out(r, 4),
        |r| ouch_out(r, 5),
        |r| ouch_out(r, 6),
        |r| ouch_out(r, 7),
        |r| ouch_out(r, 8),
    ];
    for (name, sample) in OUTBOUND_NAMES.into_iter().zip(OUTBOUND_SAMPLES) {
        targets.push(Target { name, sample, decode: decode_outbound, answers: OUTBOUND });
    }
    const OWN_NAMES: [&str; 5] = ["own L", "own H", "own A", "own J", "own K"];
    const OWN_SAMPLES: [fn(&mut Random) -> Vec<u8>; 5] = [
        |r| samples::own_bytes(r, 0),
        |r| samples::own_bytes(r, 1),
        |r| samples::own_bytes(r, 2),
        |r| samples::own_bytes(r, 3),
        |r| samples::own_bytes(r, 4),
    ];
    for (name, sample) in OWN_NAMES.into_iter().zip(OWN_SAMPLES) {
        targets.push(Target { name, sample, decode: decode_own, answers: PLAIN });
    }
    targets
}

/// Runs `count` mutants through every decoder whose name contains `only`; returns the answers that
/// no mutant got. Panics at the first violation.
pub fn run(seed: u64, count: u64, only: &str, mut told: impl FnMut(&str, &Tally)) -> Vec<String> {
    // What must come up, by list of answers: a short report has no field that another one has.
    let mut families: BTreeMap<&'static str, Tally> = BTreeMap::new();
    for (index, target) in targets().into_iter().enumerate() {
        if !target.name.contains(only) {
            continue;
        }
        let mut tally = Tally { mutants: count, ..Tally::default() };
        for answer in target.answers {
            tally.expect(*answer);
        }
        let mut random = Random::new(seed ^ (index as u64) << 32);
        let mut made = [0; MUTATIONS.len()];
        let mut other = (target.sample)(&mut random);
        let mut bytes = Vec::with_capacity(2_048);
        let mut counts: Vec<(&'static str, u64)> = Vec::new();
        for mutant in 0..count {
            // A new sample now and then; the last one is what is spliced in.
            if mutant % 4 == 0 {
                other = (target.sample)(&mut random);
            }
            bytes.clear();
            bytes.extend_from_slice(&other);
            let splice = if random.one_in(8) { (target.sample)(&mut random) } else { Vec::new() };
            mutate_some(&mut random, &mut bytes, &splice, &mut made);
            // A panic inside tells the place; this tells the bytes.
            let scene = Scene { target: target.name, seed, mutant, bytes: &bytes };
            let row = (target.decode)(&bytes);
            std::mem::forget(scene);
            match counts.iter_mut().find(|(name, _)| *name == row) {
                Some((_, n)) => *n += 1,
                None => counts.push((row, 1)),
            }
        }
        for (row, n) in counts {
            tally.add(row, n);
        }
        for (name, n) in MUTATIONS.iter().zip(made) {
            tally.add(&format!("  made: {name}"), n);
        }
        told(target.name, &tally);
        let family = target.name.rsplit_once(' ').map_or(target.name, |(family, _)| family);
        families.entry(family).or_default().merge(&tally);
    }
    let rows = |(family, tally): (&&str, &Tally)| {
        tally.never().iter().map(|row| format!("{family}: {row}")).collect::<Vec<_>>()
    };
    families.iter().flat_map(rows).collect()
}

/// Says what was being decoded when a panic unwinds.
struct Scene<'a> {
    target: &'static str,
    seed: u64,
    mutant: u64,
    bytes: &'a [u8],
}

impl Drop for Scene<'_> {
    fn drop(&mut self) {
        let Scene { target, seed, mutant, bytes } = self;
        eprintln!("decoder {target}, seed {seed}, mutant {mutant}: {bytes:02x?}");
    }
}

const KEY: [u8; 32] = [7; 32];
const MAC_KEY: [u8; 16] = [9; 16];
const IP: [u8; 4] = [10, 0, 0, 1];
const PORT: u16 = 9_000;

fn ouch_in(random: &mut Random, letter: u8) -> Vec<u8> {
    loop {
        let urn = random.draw() as u32;
        let bytes = samples::inbound_bytes(random, urn, &[]);
        if bytes.first() == Some(&letter) {
            return bytes;
        }
    }
}

fn ouch_out(random: &mut Random, kind: usize) -> Vec<u8> {
    let report = samples::outbound(random, kind);
    let mut bytes = vec![0; ouch::OUTBOUND_BYTES_MAX];
    let len = report.encode(&mut bytes);
    bytes.truncate(len);
    bytes
}

fn decode_mold(bytes: &[u8]) -> &'static str {
    assert_eq!(Header::read(bytes).is_some(), bytes.len() >= mold::HEADER_BYTES);
    let (header, packet) = match mold::parse(bytes) {
        Ok(parsed) => parsed,
        Err(why) => {
            assert!(mold::blocks(bytes).is_err());
            return mold_row(&why);
        }
    };
    let mut again = vec![0; mold::HEADER_BYTES];
    header.write(&mut again);
    match packet {
        Packet::Heartbeat => assert_eq!(header.count, 0),
        Packet::EndOfSession => assert_eq!(header.count, 0xFFFF),
        Packet::Request => assert!(mold::blocks(bytes).is_err()),
        Packet::Messages(blocks) => {
            assert_eq!(blocks.len(), usize::from(header.count));
            let mut count = 0;
            for block in blocks {
                again.extend_from_slice(&(block.len() as u16).to_be_bytes());
                again.extend_from_slice(block);
                count += 1;
            }
            assert_eq!(count, header.count);
        }
    }
    assert_eq!(again, bytes, "a datagram is its head and its blocks");
    "ok"
}

fn decode_mac(bytes: &[u8]) -> &'static str {
    let Some(opened) = session::open_packet(&MAC_KEY, bytes) else { return "refused" };
    let mut again = opened.to_vec();
    again.resize(opened.len() + session::PACKET_TAG_BYTES, 0);
    session::seal_packet(&MAC_KEY, &mut again, opened.len());
    assert_eq!(again, bytes, "opened without its MAC");
    "ok"
}

fn decode_login(bytes: &[u8]) -> &'static str {
    let Ok(block) = <&[u8; session::LOGIN_BYTES]>::try_from(bytes) else { return "no login" };
    let Some(login) = session::Login::read(block) else { return "no login" };
    if !session::verify_login(&KEY, block, IP, PORT) {
        return "not signed";
    }
    let signature = session::login_hmac(&KEY, block, IP, PORT);
    assert_eq!(login.hmac, signature);
    "ok"
}

fn decode_itch(bytes: &[u8]) -> &'static str {
    match itch::Message::decode(bytes) {
        Err(why) => itch_row(&why),
        Ok(message) => {
            let mut again = vec![0; message.size()];
            assert_eq!(message.encode(&mut again), bytes.len(), "a message has one length");
            assert_eq!(itch::Message::decode(&again), Ok(message));
            "ok"
        }
    }
}

fn decode_inbound(bytes: &[u8]) -> &'static str {
    match ouch::decode_inbound(bytes) {
        Err(why) => {
            let fields = ouch::malformed_fields(bytes);
            assert_eq!(fields.letter, bytes.first().copied().unwrap_or(0));
            let enough = match fields.letter {
                b'O' => bytes.len() >= 5,
                b'U' => bytes.len() >= 9,
                _ => false,
            };
            assert_eq!(fields.urn.is_some(), enough);
            let _text = why.to_string();
            inbound_row(&why)
        }
        Ok(message) => {
            let mut again = [0; ouch::INBOUND_BYTES_MAX];
            let len = message.encode(&mut again);
            let read: Inbound = ouch::decode_inbound(&again[..len]).expect("what is encoded");
            assert_eq!(read, message);
            "ok"
        }
    }
}

fn decode_outbound(bytes: &[u8]) -> &'static str {
    match Outbound::decode(bytes) {
        Err(why) => outbound_row(&why),
        Ok(report) => {
            let mut again = [0; ouch::OUTBOUND_BYTES_MAX];
            let len = report.encode(&mut again);
            assert_eq!(Outbound::decode(&again[..len]), Ok(report));
            "ok"
        }
    }
}

fn decode_own(bytes: &[u8]) -> &'static str {
    let Some(block) = Block::read(bytes) else { return "refused" };
    let mut again = [0; session::BLOCK_BYTES_MAX];
    let len = block.write(&mut again);
    assert_eq!(len, bytes.len(), "own blocks have one length");
    assert_eq!(Block::read(&again[..len]), Some(block));
    "ok"
}

/// Payload of some command, of the right length for kind Message mostly.
fn command_payload(random: &mut Random) -> Vec<u8> {
    let mut payload = vec![0; COMMAND_BYTES_MAX];
    payload.iter_mut().for_each(|byte| *byte = random.draw() as u8);
    // Body letter of a message, phase of a phase change: mostly one that there is.
    for byte in &mut payload[..8] {
        if random.one_in(4) {
            *byte = *random.pick(b"OUXQ?\x00\x01\x02");
        }
    }
    payload
}

/// First byte: the record's kind.
fn decode_command(bytes: &[u8]) -> &'static str {
    let Some((&kind, payload)) = bytes.split_first() else { return "refused" };
    let Some(command) = Command::decode(u16::from(kind), payload) else { return "refused" };
    let mut again = vec![0; COMMAND_BYTES_MAX.max(payload.len())];
    let (written, len) = command.encode(&mut again);
    assert_eq!(written, u16::from(kind));
    let read = Command::decode(written, &again[..len]).expect("what is encoded");
    assert_eq!(read, command);
    "ok"
}

fn decode_event(bytes: &[u8]) -> &'static str {
    let Some((&kind, payload)) = bytes.split_first() else { return "refused" };
    let Some(event) = Event::decode(u16::from(kind), payload) else { return "refused" };
    assert_eq!(event.body.kind(), u16::from(kind));
    let mut again = vec![0; event.size()];
    event.encode(&mut again);
    assert_eq!(Event::decode(u16::from(kind), &again), Some(event));
    "ok"
}

fn decode_genesis(bytes: &[u8]) -> &'static str {
    match Genesis::decode(bytes) {
        Err(why) => {
            let _text = why.to_string();
            genesis_row(&why)
        }
        Ok(genesis) => {
            assert_eq!(genesis.encode(), bytes);
            "ok"
        }
    }
}
