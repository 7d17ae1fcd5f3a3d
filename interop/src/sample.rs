//! Bytes to try the witnesses on before any exchange runs: written by our encoders, from a seed.

use crate::day;
use crate::pcap::Datagram;
use rialto::types::*;
use rialto::wire::{itch, mold, ouch, session};
use std::net::{Ipv4Addr, SocketAddrV4};

/// xorshift64*: every choice comes from the seed.
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// 0 .. `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.bits() % limit
    }

    /// One of `letters`.
    pub fn letter(&mut self, letters: &[u8]) -> u8 {
        letters[self.below(letters.len() as u64) as usize]
    }

    fn side(&mut self) -> Side {
        if self.below(2) == 0 { Side::Buy } else { Side::Sell }
    }

    fn price(&mut self) -> u32 {
        1 + self.below(u64::from(Price::MAX.0)) as u32
    }

    fn quantity(&mut self) -> u32 {
        1 + self.below(u64::from(ouch::QUANTITY_LIMIT) - 1) as u32
    }

    fn cl_ord_id(&mut self) -> ClOrdId {
        let len = self.below(15) as usize;
        let text: String = (0..len)
            .map(|_| {
                let i = self.below(62) as usize;
                char::from(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[i])
            })
            .collect();
        ClOrdId::new(&text).expect("14 characters at most")
    }
}

const SYMBOLS: [&str; 6] = ["AAPL", "MSFT", "BRKA", "F", "ZVZZT", "LONGNAME"];

fn symbol(random: &mut Random) -> (Locate, Symbol) {
    let i = random.below(SYMBOLS.len() as u64) as usize;
    (Locate(i as u16 + 1), Symbol::new(SYMBOLS[i]).expect("fits"))
}

/// A day of the feed: opening messages, `count` messages about orders, closing messages.
pub fn itch_day(seed: u64, count: usize) -> Vec<itch::Message> {
    let mut random = Random::new(seed);
    let mut day = Vec::new();
    let mut timestamp = 34_200_000_000_000;
    let mut prefix = |random: &mut Random, locate| {
        timestamp = (timestamp + random.below(1_000_000)).min(86_399_999_999_999);
        itch::Prefix { locate, tracking: random.bits() as u16, timestamp }
    };
    let system = |prefix, code| itch::Message::System(itch::System { prefix, code });
    day.push(system(prefix(&mut random, Locate(0)), b'O'));
    for (i, name) in SYMBOLS.iter().enumerate() {
        let head = prefix(&mut random, Locate(i as u16 + 1));
        let symbol = Symbol::new(name).expect("fits");
        let lot = 1 + random.below(1_000) as u32;
        day.push(itch::Message::Directory(itch::Directory::common_stock(head, symbol, lot)));
    }
    for (i, name) in SYMBOLS.iter().enumerate() {
        day.push(itch::Message::TradingAction(itch::TradingAction {
            prefix: prefix(&mut random, Locate(i as u16 + 1)),
            symbol: Symbol::new(name).expect("fits"),
            state: if i == 0 { b'H' } else { b'T' },
            reason: Alpha::new(if i == 0 { "T1" } else { "" }).expect("fits"),
        }));
    }
    day.push(system(prefix(&mut random, Locate(0)), b'S'));
    day.push(system(prefix(&mut random, Locate(0)), b'Q'));
    for _ in 0..count {
        let (locate, symbol) = symbol(&mut random);
        let prefix = prefix(&mut random, locate);
        let order_ref = OrderRef(random.bits());
        let quantity = Quantity(random.quantity());
        let price = Price(random.price());
        day.push(match random.below(6) {
            0 => itch::Message::Add(itch::Add {
                prefix,
                order_ref,
                side: random.side(),
                quantity,
                symbol,
                price,
            }),
            1 => itch::Message::Executed(itch::Executed {
                prefix,
                order_ref,
                quantity,
                match_number: MatchNumber(random.bits()),
            }),
            5 => itch::Message::ExecutedAt(itch::ExecutedAt {
                prefix,
                order_ref,
                quantity,
                match_number: MatchNumber(random.bits()),
                printable: random.letter(b"YN"),
                price,
            }),
            2 => itch::Message::Canceled(itch::Canceled { prefix, order_ref, quantity }),
            3 => itch::Message::Deleted(itch::Deleted { prefix, order_ref }),
            _ => itch::Message::Replaced(itch::Replaced {
                prefix,
                old_ref: order_ref,
                order_ref: OrderRef(random.bits()),
                quantity,
                price,
            }),
        });
    }
    for code in *b"MEC" {
        day.push(system(prefix(&mut random, Locate(0)), code));
    }
    day
}

/// The bytes of one message.
pub fn encode(message: &itch::Message) -> Vec<u8> {
    let mut out = vec![0; message.size()];
    message.encode(&mut out);
    out
}

/// A recorded day's bytes.
pub fn day_file(messages: &[itch::Message]) -> Vec<u8> {
    let mut out = Vec::new();
    messages.iter().for_each(|message| day::push(&mut out, &encode(message)));
    out
}

/// Messages of a client, in letters and texts that slouch can say too.
pub fn orders(seed: u64, count: usize) -> Vec<ouch::Inbound> {
    let mut random = Random::new(seed);
    let price = |random: &mut Random| match random.below(8) {
        0 => u64::from(Price::MARKET.0),
        _ => u64::from(random.price()),
    };
    (0..count)
        .map(|_| match random.below(4) {
            0 => ouch::Inbound::Enter(ouch::Enter {
                urn: Urn(random.bits() as u32),
                side: random.letter(b"BSTE"),
                quantity: Quantity(random.quantity()),
                symbol: symbol(&mut random).1,
                price: price(&mut random),
                tif: random.letter(b"0356E"),
                display: random.letter(b"YNA"),
                capacity: random.letter(b"APRO"),
                iso: random.letter(b"YN"),
                cross: random.letter(b"NOCHSREA"),
                cl_ord_id: random.cl_ord_id(),
                appendage: ouch::Appendage {
                    account: (random.below(2) == 0)
                        .then(|| AccountName::new("FRMA").expect("fits")),
                    min_quantity: (random.below(2) == 0).then(|| random.quantity()),
                },
            }),
            1 => ouch::Inbound::Replace(ouch::Replace {
                old_urn: Urn(random.bits() as u32),
                urn: Urn(random.bits() as u32),
                quantity: Quantity(random.quantity()),
                price: price(&mut random),
                tif: random.letter(b"0356E"),
                display: random.letter(b"YNA"),
                iso: random.letter(b"YN"),
                cl_ord_id: random.cl_ord_id(),
            }),
            2 => ouch::Inbound::Cancel(ouch::Cancel {
                urn: Urn(random.bits() as u32),
                quantity: Quantity(random.quantity()),
            }),
            _ => ouch::Inbound::Query,
        })
        .collect()
}

/// Every reject reason that the venue uses.
pub const REASONS: [RejectReason; 19] = [
    RejectReason::DestinationClosed,
    RejectReason::Display,
    RejectReason::Halted,
    RejectReason::Side,
    RejectReason::ProcessingError,
    RejectReason::FirmNotAuthorised,
    RejectReason::Other,
    RejectReason::Quantity,
    RejectReason::ReplaceNotAllowed,
    RejectReason::Symbol,
    RejectReason::Price,
    RejectReason::SharesThreshold,
    RejectReason::MaxNotional,
    RejectReason::AggregateExposure,
    RejectReason::CancelsOnly,
    RejectReason::OrderType,
    RejectReason::VolumeLimit,
    RejectReason::FatFinger,
    RejectReason::PortRate,
];

/// Reports of the exchange.
pub fn reports(seed: u64, count: usize) -> Vec<ouch::Outbound> {
    let mut random = Random::new(seed);
    (0..count)
        .map(|i| {
            let timestamp = random.below(86_400_000_000_000);
            let urn = Urn(random.bits() as u32);
            let quantity = Quantity(random.quantity());
            let price = Price(random.price());
            match random.below(9) {
                0 => ouch::Outbound::SystemEvent(ouch::SystemEvent {
                    timestamp,
                    code: random.letter(b"SE"),
                }),
                1 => ouch::Outbound::Accepted(ouch::Accepted {
                    timestamp,
                    urn,
                    side: random.side(),
                    quantity,
                    symbol: symbol(&mut random).1,
                    price: if random.below(8) == 0 { Price::MARKET } else { price },
                    tif: random.letter(b"03"),
                    display: random.letter(b"YN"),
                    order_ref: OrderRef(random.bits()),
                    capacity: random.letter(b"APRO"),
                    iso: random.letter(b"YN"),
                    cross: random.letter(b"N"),
                    state: random.letter(b"LD"),
                    cl_ord_id: random.cl_ord_id(),
                    appendage: ouch::Appendage {
                        account: (random.below(2) == 0)
                            .then(|| AccountName::new("FRM").expect("fits")),
                        min_quantity: (random.below(2) == 0).then(|| random.quantity()),
                    },
                }),
                2 => ouch::Outbound::Replaced(ouch::Replaced {
                    timestamp,
                    old_urn: Urn(random.bits() as u32),
                    urn,
                    side: random.side(),
                    quantity,
                    symbol: symbol(&mut random).1,
                    price,
                    tif: random.letter(b"03"),
                    display: random.letter(b"YN"),
                    order_ref: OrderRef(random.bits()),
                    capacity: random.letter(b"APRO"),
                    iso: random.letter(b"YN"),
                    cross: random.letter(b"N"),
                    state: random.letter(b"LD"),
                    cl_ord_id: random.cl_ord_id(),
                }),
                3 => ouch::Outbound::Canceled(ouch::Canceled {
                    timestamp,
                    urn,
                    decrement: quantity,
                    reason: random.letter(b"UIKZE"),
                }),
                4 => ouch::Outbound::Executed(ouch::Executed {
                    timestamp,
                    urn,
                    quantity,
                    price,
                    liquidity: random.letter(b"AR"),
                    match_number: MatchNumber(random.bits()),
                }),
                5 => ouch::Outbound::Rejected(ouch::Rejected {
                    timestamp,
                    urn,
                    reason: REASONS[i % REASONS.len()] as u16,
                    cl_ord_id: random.cl_ord_id(),
                }),
                6 => ouch::Outbound::QueryResponse(ouch::QueryResponse {
                    timestamp,
                    next_urn: urn.0,
                }),
                7 => ouch::Outbound::CancelRefused(ouch::CancelRefused { timestamp, urn }),
                _ => ouch::Outbound::NotApplied(ouch::NotApplied {
                    timestamp,
                    from: random.bits(),
                    count: 1 + random.below(65_536) as u32,
                }),
            }
        })
        .collect()
}

/// Packs blocks into packets of at most 1,400 bytes, numbered from `sequence` on.
pub fn packets(session: SessionName, sequence: u64, blocks: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    let mut packet = mold::PacketBuilder::new([0; mold::PAYLOAD_BYTES_MAX], session, sequence);
    for block in blocks {
        if !packet.push_bytes(block) {
            packets.push(packet.packet().to_vec());
            packet.restart(session, packet.next_sequence());
            assert!(packet.push_bytes(block), "a block fits an empty packet");
        }
    }
    if !packet.is_empty() {
        packets.push(packet.packet().to_vec());
    }
    packets
}

/// A capture: a login, orders and reports both ways, replay, feed and repair, heartbeats, ends.
/// Order entry is on `gateway`, the feed's group on `feed`, repair on `request`.
pub fn capture(seed: u64, gateway: u16, feed: u16, request: u16) -> Vec<Datagram> {
    let server = |port| SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 10), port);
    let client = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 7), 40_000);
    let group = SocketAddrV4::new(Ipv4Addr::new(239, 1, 1, 1), feed);
    let mut out: Vec<Datagram> = Vec::new();
    let mut send = |from, to, payload: Vec<u8>| {
        let frame = out.len() as u64 + 1;
        out.push(Datagram { frame, from, to, payload });
    };
    let header = |session, sequence, count| {
        let mut bytes = vec![0; mold::HEADER_BYTES];
        mold::Header { session, sequence, count }.write(&mut bytes);
        bytes
    };
    let (up, down) = ((client, server(gateway)), (server(gateway), client));
    let user = User::new("BRKR01").expect("fits");
    let downstream = session::stream_name(&user, b'A', 61);
    let token = session::make_token(SessionSlot(3), Random::new(seed).bits()).expect("a slot");
    let login = session::Login {
        version: session::VERSION,
        flags: 0,
        user,
        wanted: SessionName::BLANK,
        next_report: 0,
        dead_time_ms: 0,
        time: Nanos(1_772_460_000_000_000_000),
        client_nonce: [0xC0; 16],
        server_nonce: [0; 16],
        hmac: [0; 32],
    };
    let challenge = session::Challenge { server_nonce: [0x5E; 16] };
    let accepted = session::Accepted {
        version: session::VERSION,
        flags: 0,
        token,
        downstream,
        next_report: 2,
        applied: 0,
        next_urn: 1,
        dead_time_ms: 5_000,
        epoch: 1,
        generation: 1,
        client_nonce: [0xC0; 16],
        hmac: [0; 32],
    };
    let own = |block: session::Block| {
        let mut bytes = vec![0; session::BLOCK_BYTES_MAX];
        let len = block.write(&mut bytes);
        bytes.truncate(len);
        let name = match block {
            session::Block::Accepted(_) | session::Block::Applied(_) => token,
            _ => SessionName::BLANK,
        };
        packets(name, 0, &[bytes]).remove(0)
    };
    send(up.0, up.1, own(session::Block::Login(login)));
    send(down.0, down.1, own(session::Block::Challenge(challenge)));
    send(up.0, up.1, own(session::Block::Login(login)));
    send(down.0, down.1, own(session::Block::Accepted(accepted)));
    let mut blocks: Vec<Vec<u8>> = orders(seed, 100).iter().map(order_bytes).collect();
    blocks.push(Vec::new());
    packets(token, 1, &blocks).into_iter().for_each(|packet| send(up.0, up.1, packet));
    let blocks: Vec<Vec<u8>> = reports(seed, 300).iter().map(report_bytes).collect();
    packets(downstream, 1, &blocks).into_iter().for_each(|packet| send(down.0, down.1, packet));
    let applied = session::Applied { applied: 101, next_report: 301, epoch: 1 };
    send(down.0, down.1, own(session::Block::Applied(applied)));
    send(down.0, down.1, header(downstream, 301, mold::HEARTBEAT));
    send(up.0, up.1, header(token, 102, mold::HEARTBEAT));
    send(up.0, up.1, header(downstream, 5, 20));
    send(down.0, down.1, packets(downstream, 5, &blocks[4..24]).remove(0));
    send(up.0, up.1, header(token, 102, mold::END_OF_SESSION));
    send(down.0, down.1, header(downstream, 301, mold::END_OF_SESSION));

    let name = session::stream_name(&Alpha::new("RIALTO").expect("fits"), b'A', 61);
    let blocks: Vec<Vec<u8>> = itch_day(seed, 500).iter().map(encode).collect();
    for packet in packets(name, 1, &blocks) {
        send(server(50_000), group, packet);
    }
    let next = blocks.len() as u64 + 1;
    send(server(50_000), group, header(name, next, mold::HEARTBEAT));
    send(client, server(request), header(name, 10, 30));
    send(server(request), client, packets(name, 10, &blocks[9..39]).remove(0));
    send(server(50_000), group, header(name, next, mold::END_OF_SESSION));
    out
}

/// The bytes of one order.
pub fn order_bytes(message: &ouch::Inbound) -> Vec<u8> {
    let mut out = vec![0; message.size()];
    message.encode(&mut out);
    out
}

/// The bytes of one report.
pub fn report_bytes(report: &ouch::Outbound) -> Vec<u8> {
    let mut out = vec![0; report.size()];
    report.encode(&mut out);
    out
}
