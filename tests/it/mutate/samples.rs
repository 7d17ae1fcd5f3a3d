//! Valid messages of every type, drawn at random: what mutants start from.

use super::Random;
use rialto::types::*;
use rialto::wire::itch;
use rialto::wire::mold::{self, Header, PacketBuilder};
use rialto::wire::ouch::{self, Appendage, Inbound, Outbound};
use rialto::wire::session::*;

pub const SYMBOLS: [&str; 4] = ["AAPL", "TSLA", "ZVZZT", ""];

/// A price around 100.00, mostly on the tick of 0.01 and inside the band.
pub fn price(random: &mut Random) -> u64 {
    match random.below(24) {
        0 => 0x7FFF_FFFF,
        1 => *random.pick(&[0, 1, 99, 150, 1_999_999_900, 2_000_000_000, u64::MAX, 1 << 32]),
        2 => 100 * (1 + random.below(200_000) as u64),
        3 => 1_000_000 + random.below(10_000) as u64,
        _ => 1_000_000 - 2_000 + 100 * random.below(40) as u64,
    }
}

fn quantity(random: &mut Random) -> Quantity {
    Quantity(match random.below(16) {
        0 => *random.pick(&[0, 1, 999_999, 1_000_000, u32::MAX]),
        1 => 1 + random.below(100_000) as u32,
        _ => 10 * (1 + random.below(20) as u32),
    })
}

/// A letter that is mostly the good one.
fn letter(random: &mut Random, good: &[u8], bad: u8) -> u8 {
    if random.one_in(40) { bad } else { *random.pick(good) }
}

pub fn enter(random: &mut Random, urn: u32) -> ouch::Enter {
    let symbol = if random.one_in(30) { *random.pick(&SYMBOLS) } else { "AAPL" };
    let symbol = if random.one_in(6) { "TSLA" } else { symbol };
    let tif = letter(random, b"0003", b'9');
    let quantity = quantity(random);
    let fill_or_kill = tif == b'3' && random.one_in(3);
    let account = match random.below(30) {
        0 => AccountName::new("NONE"),
        1 => AccountName::new("A01"),
        2 => AccountName::new("LIM"),
        _ => None,
    };
    let min_quantity = if fill_or_kill { Some(quantity.0) } else { None };
    ouch::Enter {
        urn: Urn(urn),
        side: letter(random, b"BS", b'T'),
        quantity,
        symbol: Symbol::new(symbol).unwrap_or_default(),
        price: price(random),
        tif,
        display: letter(random, b"YN", b'A'),
        capacity: letter(random, b"APRO", b'Z'),
        iso: letter(random, b"N", b'Y'),
        cross: letter(random, b"N", b'O'),
        cl_ord_id: ClOrdId::new("MUTANT").unwrap_or_default(),
        appendage: Appendage {
            account,
            min_quantity: if random.one_in(60) { Some(7) } else { min_quantity },
        },
    }
}

/// O, U, X or Q under the new reference `urn`; U and X mostly of an order in `live`.
pub fn inbound(random: &mut Random, urn: u32, live: &[u32]) -> Inbound {
    let old = |random: &mut Random| {
        let near = live.is_empty() || random.one_in(4);
        let near = near.then(|| urn.saturating_sub(random.below(40) as u32));
        Urn(near.unwrap_or_else(|| *random.pick(live)))
    };
    match random.below(10) {
        0..=5 => Inbound::Enter(enter(random, urn)),
        6 | 7 => Inbound::Replace(ouch::Replace {
            old_urn: old(random),
            urn: Urn(urn),
            quantity: quantity(random),
            price: price(random),
            tif: letter(random, b"03", b'9'),
            display: letter(random, b"YN", b'A'),
            iso: letter(random, b"N", b'Y'),
            cl_ord_id: ClOrdId::BLANK,
        }),
        8 => Inbound::Cancel(ouch::Cancel {
            urn: old(random),
            quantity: if random.one_in(2) { Quantity(0) } else { quantity(random) },
        }),
        _ => Inbound::Query,
    }
}

pub fn inbound_bytes(random: &mut Random, urn: u32, live: &[u32]) -> Vec<u8> {
    let mut bytes = [0; ouch::INBOUND_BYTES_MAX];
    let len = inbound(random, urn, live).encode(&mut bytes);
    let mut bytes = bytes[..len].to_vec();
    // An appendage by hand: one tag of the standard, its length right or not.
    if random.one_in(12) && bytes.len() > 2 {
        let fixed = match bytes[0] {
            b'O' => 45,
            b'U' => 38,
            b'X' => 9,
            _ => 1,
        };
        let tags = *random.pick(&[
            &[5u8, 2, b'A', b'0', b'1', b' '][..],
            &[5, 3, 0, 0, 0, 1],
            &[5, 3, 0, 0, 0, 1, 5, 3, 0, 0, 0, 1],
            &[2, 12, b'P'],
            &[2, 99, b'P'],
            &[4, 2, b'A', b'0', b'1'],
            &[9, 1, 0, 0, 0, 0, 0, 0, 0, 1],
            &[0],
            &[200, 2],
        ]);
        bytes.truncate(fixed);
        bytes.extend_from_slice(&(tags.len() as u16).to_be_bytes());
        bytes.extend_from_slice(tags);
    }
    bytes
}

/// Report number `kind` of nine.
pub fn outbound(random: &mut Random, kind: usize) -> Outbound {
    let timestamp = random.draw() >> 17;
    let urn = Urn(random.draw() as u32);
    let order = enter(random, urn.0);
    let side = if order.side == b'S' { Side::Sell } else { Side::Buy };
    let price = Price(order.price as u32);
    let order_ref = OrderRef(random.draw());
    match kind {
        0 => Outbound::SystemEvent(ouch::SystemEvent { timestamp, code: b'S' }),
        1 => Outbound::Accepted(ouch::Accepted {
            timestamp,
            urn,
            side,
            quantity: order.quantity,
            symbol: order.symbol,
            price,
            tif: order.tif,
            display: order.display,
            order_ref,
            capacity: order.capacity,
            iso: order.iso,
            cross: order.cross,
            state: b'L',
            cl_ord_id: order.cl_ord_id,
            appendage: order.appendage,
        }),
        2 => Outbound::Replaced(ouch::Replaced {
            timestamp,
            old_urn: Urn(1),
            urn,
            side,
            quantity: order.quantity,
            symbol: order.symbol,
            price,
            tif: order.tif,
            display: order.display,
            order_ref,
            capacity: order.capacity,
            iso: order.iso,
            cross: order.cross,
            state: b'L',
            cl_ord_id: order.cl_ord_id,
        }),
        3 => Outbound::Canceled(ouch::Canceled {
            timestamp,
            urn,
            decrement: order.quantity,
            reason: b'U',
        }),
        4 => Outbound::Executed(ouch::Executed {
            timestamp,
            urn,
            quantity: order.quantity,
            price,
            liquidity: b'A',
            match_number: MatchNumber(random.draw()),
        }),
        5 => Outbound::Rejected(ouch::Rejected {
            timestamp,
            urn,
            reason: 0x0F,
            cl_ord_id: order.cl_ord_id,
        }),
        6 => Outbound::QueryResponse(ouch::QueryResponse { timestamp, next_urn: urn.0 }),
        7 => Outbound::CancelRefused(ouch::CancelRefused { timestamp, urn }),
        _ => Outbound::NotApplied(ouch::NotApplied { timestamp, from: random.draw(), count: 3 }),
    }
}

/// A feed message of each kind in turn.
pub fn itch(random: &mut Random) -> itch::Message {
    let prefix = itch::Prefix {
        locate: Locate(1 + random.below(3) as u16),
        tracking: random.draw() as u16,
        timestamp: random.draw() % itch::TIMESTAMP_LIMIT,
    };
    let order_ref = OrderRef(random.draw());
    let quantity = quantity(random);
    let price = Price(price(random) as u32);
    let symbol = Symbol::new("AAPL").unwrap_or_default();
    match random.below(9) {
        0 => itch::Message::System(itch::System { prefix, code: b'O' }),
        1 => itch::Message::Directory(itch::Directory::common_stock(prefix, symbol, 100)),
        2 => itch::Message::TradingAction(itch::TradingAction {
            prefix,
            symbol,
            state: b'T',
            reason: Alpha::BLANK,
        }),
        3 => itch::Message::Add(itch::Add {
            prefix,
            order_ref,
            side: Side::Buy,
            quantity,
            symbol,
            price,
        }),
        4 => itch::Message::Executed(itch::Executed {
            prefix,
            order_ref,
            quantity,
            match_number: MatchNumber(1),
        }),
        5 => itch::Message::ExecutedAt(itch::ExecutedAt {
            prefix,
            order_ref,
            quantity,
            match_number: MatchNumber(1),
            printable: b'Y',
            price,
        }),
        6 => itch::Message::Canceled(itch::Canceled { prefix, order_ref, quantity }),
        7 => itch::Message::Deleted(itch::Deleted { prefix, order_ref }),
        _ => itch::Message::Replaced(itch::Replaced {
            prefix,
            old_ref: OrderRef(1),
            order_ref,
            quantity,
            price,
        }),
    }
}

pub fn itch_bytes(random: &mut Random) -> Vec<u8> {
    let message = itch(random);
    let mut bytes = vec![0; message.size()];
    message.encode(&mut bytes);
    bytes
}

/// Own block number `kind` of five; L is not signed.
pub fn own_block(random: &mut Random, kind: usize) -> Block {
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&random.draw().to_le_bytes());
    let user = User::new("FIRM02").unwrap_or_default();
    let name = SessionName::new("FIRM02A002").unwrap_or_default();
    match kind {
        0 => Block::Login(Login {
            version: VERSION,
            flags: random.below(4) as u8,
            user,
            wanted: SessionName::BLANK,
            next_report: 0,
            dead_time_ms: 15_000,
            time: Nanos(random.draw()),
            client_nonce: nonce,
            server_nonce: [0; 16],
            hmac: [0; 32],
        }),
        1 => Block::Challenge(Challenge { server_nonce: nonce }),
        2 => Block::Accepted(Accepted {
            version: VERSION,
            flags: 0,
            token: Token::new("0012345678").unwrap_or_default(),
            downstream: name,
            next_report: random.draw(),
            applied: random.draw(),
            next_urn: random.draw() as u32,
            dead_time_ms: 5_000,
            epoch: 1,
            generation: random.draw() as u32,
            client_nonce: nonce,
            hmac: [0; 32],
        }),
        3 => Block::Refused(Refused {
            code: RefusedCode::NotAuthorised,
            epoch: 1,
            client_nonce: nonce,
        }),
        _ => Block::Applied(Applied { applied: random.draw(), next_report: 1, epoch: 1 }),
    }
}

pub fn own_bytes(random: &mut Random, kind: usize) -> Vec<u8> {
    let mut bytes = [0; BLOCK_BYTES_MAX];
    let len = own_block(random, kind).write(&mut bytes);
    bytes[..len].to_vec()
}

/// A datagram of `blocks` from `sequence` on; those that do not fit are left out.
pub fn packet(session: SessionName, sequence: u64, blocks: &[Vec<u8>]) -> Vec<u8> {
    let mut buffer = [0; mold::PAYLOAD_BYTES_MAX];
    let mut packet = PacketBuilder::new(&mut buffer[..], session, sequence);
    for block in blocks {
        packet.push_bytes(block);
    }
    packet.packet().to_vec()
}

/// A head alone.
pub fn head(session: SessionName, sequence: u64, count: u16) -> Vec<u8> {
    let mut bytes = vec![0; mold::HEADER_BYTES];
    Header { session, sequence, count }.write(&mut bytes);
    bytes
}
