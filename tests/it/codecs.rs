//! Properties of the codecs: decode(encode(x)) == x; arbitrary bytes, and valid ones with a few
//! bytes changed, cut or added, never panic, and what is accepted encodes to what was read.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use rialto::types::*;
use rialto::wire::{itch, mold, ouch, session};

fn alpha<const N: usize>() -> impl Strategy<Value = Alpha<N>> {
    any::<[u8; N]>().prop_map(Alpha)
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Buy), Just(Side::Sell)]
}

fn appendage() -> impl Strategy<Value = ouch::Appendage> {
    (option::of(alpha()), option::of(any::<u32>()))
        .prop_map(|(account, min_quantity)| ouch::Appendage { account, min_quantity })
}

fn inbound() -> impl Strategy<Value = ouch::Inbound> {
    let enter = (any::<(u32, u32, u64)>(), any::<[u8; 6]>(), alpha(), alpha(), appendage())
        .prop_map(|((urn, quantity, price), letters, symbol, cl_ord_id, appendage)| {
            let [side, tif, display, capacity, iso, cross] = letters;
            ouch::Inbound::Enter(ouch::Enter {
                urn: Urn(urn),
                side,
                quantity: Quantity(quantity),
                symbol,
                price,
                tif,
                display,
                capacity,
                iso,
                cross,
                cl_ord_id,
                appendage,
            })
        });
    let replace = (any::<(u32, u32, u32, u64)>(), any::<[u8; 3]>(), alpha()).prop_map(
        |((old_urn, urn, quantity, price), [tif, display, iso], cl_ord_id)| {
            ouch::Inbound::Replace(ouch::Replace {
                old_urn: Urn(old_urn),
                urn: Urn(urn),
                quantity: Quantity(quantity),
                price,
                tif,
                display,
                iso,
                cl_ord_id,
            })
        },
    );
    let cancel = any::<(u32, u32)>().prop_map(|(urn, quantity)| {
        ouch::Inbound::Cancel(ouch::Cancel { urn: Urn(urn), quantity: Quantity(quantity) })
    });
    prop_oneof![enter, replace, cancel, Just(ouch::Inbound::Query)]
}

fn outbound() -> impl Strategy<Value = ouch::Outbound> {
    use ouch::Outbound;
    let order = || {
        (
            any::<(u64, u32, u32, u32, u32, u64)>(),
            any::<[u8; 6]>(),
            side(),
            alpha(),
            alpha(),
            appendage(),
        )
    };
    prop_oneof![
        any::<(u64, u8)>().prop_map(|(timestamp, code)| {
            Outbound::SystemEvent(ouch::SystemEvent { timestamp, code })
        }),
        order().prop_map(|(numbers, letters, side, symbol, cl_ord_id, appendage)| {
            let (timestamp, urn, _, quantity, price, order_ref) = numbers;
            let [tif, display, capacity, iso, cross, state] = letters;
            Outbound::Accepted(ouch::Accepted {
                timestamp,
                urn: Urn(urn),
                side,
                quantity: Quantity(quantity),
                symbol,
                price: Price(price),
                tif,
                display,
                order_ref: OrderRef(order_ref),
                capacity,
                iso,
                cross,
                state,
                cl_ord_id,
                appendage,
            })
        }),
        order().prop_map(|(numbers, letters, side, symbol, cl_ord_id, _)| {
            let (timestamp, old_urn, urn, quantity, price, order_ref) = numbers;
            let [tif, display, capacity, iso, cross, state] = letters;
            Outbound::Replaced(ouch::Replaced {
                timestamp,
                old_urn: Urn(old_urn),
                urn: Urn(urn),
                side,
                quantity: Quantity(quantity),
                symbol,
                price: Price(price),
                tif,
                display,
                order_ref: OrderRef(order_ref),
                capacity,
                iso,
                cross,
                state,
                cl_ord_id,
            })
        }),
        any::<(u64, u32, u32, u8)>().prop_map(|(timestamp, urn, decrement, reason)| {
            let (urn, decrement) = (Urn(urn), Quantity(decrement));
            Outbound::Canceled(ouch::Canceled { timestamp, urn, decrement, reason })
        }),
        any::<(u64, u32, u32, u32, u8, u64)>().prop_map(
            |(timestamp, urn, quantity, price, liquidity, match_number)| {
                Outbound::Executed(ouch::Executed {
                    timestamp,
                    urn: Urn(urn),
                    quantity: Quantity(quantity),
                    price: Price(price),
                    liquidity,
                    match_number: MatchNumber(match_number),
                })
            }
        ),
        (any::<(u64, u32, u16)>(), alpha()).prop_map(|((timestamp, urn, reason), cl_ord_id)| {
            Outbound::Rejected(ouch::Rejected { timestamp, urn: Urn(urn), reason, cl_ord_id })
        }),
        any::<(u64, u32)>().prop_map(|(timestamp, urn)| {
            Outbound::CancelRefused(ouch::CancelRefused { timestamp, urn: Urn(urn) })
        }),
        any::<(u64, u32)>().prop_map(|(timestamp, next_urn)| {
            Outbound::QueryResponse(ouch::QueryResponse { timestamp, next_urn })
        }),
        any::<(u64, u64, u32)>().prop_map(|(timestamp, from, count)| {
            Outbound::NotApplied(ouch::NotApplied { timestamp, from, count })
        }),
    ]
}

fn prefix() -> impl Strategy<Value = itch::Prefix> {
    (any::<(u16, u16)>(), 0..itch::TIMESTAMP_LIMIT).prop_map(|((locate, tracking), timestamp)| {
        itch::Prefix { locate: Locate(locate), tracking, timestamp }
    })
}

fn itch_message() -> impl Strategy<Value = itch::Message> {
    use itch::Message;
    prop_oneof![
        (prefix(), any::<u8>())
            .prop_map(|(prefix, code)| Message::System(itch::System { prefix, code })),
        (prefix(), alpha(), any::<[u8; 10]>(), any::<(u32, u32)>(), alpha()).prop_map(
            |(prefix, symbol, letters, (round_lot, etp_leverage), issue_sub_type)| {
                let [
                    market_category,
                    financial_status,
                    round_lots_only,
                    issue_class,
                    authenticity,
                    short_sale_threshold,
                    ipo,
                    luld_tier,
                    etp,
                    inverse,
                ] = letters;
                Message::Directory(itch::Directory {
                    prefix,
                    symbol,
                    market_category,
                    financial_status,
                    round_lot,
                    round_lots_only,
                    issue_class,
                    issue_sub_type,
                    authenticity,
                    short_sale_threshold,
                    ipo,
                    luld_tier,
                    etp,
                    etp_leverage,
                    inverse,
                })
            }
        ),
        (prefix(), alpha(), any::<u8>(), alpha()).prop_map(|(prefix, symbol, state, reason)| {
            Message::TradingAction(itch::TradingAction { prefix, symbol, state, reason })
        }),
        (prefix(), any::<(u64, u32, u32)>(), side(), alpha()).prop_map(
            |(prefix, (order_ref, quantity, price), side, symbol)| {
                Message::Add(itch::Add {
                    prefix,
                    order_ref: OrderRef(order_ref),
                    side,
                    quantity: Quantity(quantity),
                    symbol,
                    price: Price(price),
                })
            }
        ),
        (prefix(), any::<(u64, u32, u64)>()).prop_map(
            |(prefix, (order_ref, quantity, match_number))| {
                Message::Executed(itch::Executed {
                    prefix,
                    order_ref: OrderRef(order_ref),
                    quantity: Quantity(quantity),
                    match_number: MatchNumber(match_number),
                })
            }
        ),
        (prefix(), any::<(u64, u32, u64, u8, u32)>()).prop_map(
            |(prefix, (order_ref, quantity, match_number, printable, price))| {
                Message::ExecutedAt(itch::ExecutedAt {
                    prefix,
                    order_ref: OrderRef(order_ref),
                    quantity: Quantity(quantity),
                    match_number: MatchNumber(match_number),
                    printable,
                    price: Price(price),
                })
            }
        ),
        (prefix(), any::<(u64, u32)>()).prop_map(|(prefix, (order_ref, quantity))| {
            let (order_ref, quantity) = (OrderRef(order_ref), Quantity(quantity));
            Message::Canceled(itch::Canceled { prefix, order_ref, quantity })
        }),
        (prefix(), any::<u64>()).prop_map(|(prefix, order_ref)| {
            Message::Deleted(itch::Deleted { prefix, order_ref: OrderRef(order_ref) })
        }),
        (prefix(), any::<(u64, u64, u32, u32)>()).prop_map(
            |(prefix, (old_ref, order_ref, quantity, price))| {
                Message::Replaced(itch::Replaced {
                    prefix,
                    old_ref: OrderRef(old_ref),
                    order_ref: OrderRef(order_ref),
                    quantity: Quantity(quantity),
                    price: Price(price),
                })
            }
        ),
    ]
}

fn session_block() -> impl Strategy<Value = session::Block> {
    use session::Block;
    let code = (0..5usize).prop_map(|i| session::RefusedCode::from_letter(b"ASTBE"[i]).unwrap());
    prop_oneof![
        (
            any::<(u8, u8, u64, u16, u64)>(),
            alpha(),
            alpha(),
            any::<([u8; 16], [u8; 16], [u8; 32])>()
        )
            .prop_map(|(numbers, user, wanted, (client_nonce, server_nonce, hmac))| {
                let (version, flags, next_report, dead_time_ms, time) = numbers;
                Block::Login(session::Login {
                    version,
                    flags,
                    user,
                    wanted,
                    next_report,
                    dead_time_ms,
                    time: Nanos(time),
                    client_nonce,
                    server_nonce,
                    hmac,
                })
            }),
        any::<[u8; 16]>()
            .prop_map(|server_nonce| Block::Challenge(session::Challenge { server_nonce })),
        (
            any::<(u8, u8, u64, u64, u32)>(),
            any::<(u16, u32, u32)>(),
            alpha(),
            alpha(),
            any::<([u8; 16], [u8; 32])>()
        )
            .prop_map(|(a, b, token, downstream, (client_nonce, hmac))| {
                let (version, flags, next_report, applied, next_urn) = a;
                let (dead_time_ms, epoch, generation) = b;
                Block::Accepted(session::Accepted {
                    version,
                    flags,
                    token,
                    downstream,
                    next_report,
                    applied,
                    next_urn,
                    dead_time_ms,
                    epoch,
                    generation,
                    client_nonce,
                    hmac,
                })
            }),
        (code, any::<(u32, [u8; 16])>()).prop_map(|(code, (epoch, client_nonce))| {
            Block::Refused(session::Refused { code, epoch, client_nonce })
        }),
        any::<(u64, u64, u32)>().prop_map(|(applied, next_report, epoch)| {
            Block::Applied(session::Applied { applied, next_report, epoch })
        }),
    ]
}

/// A change of valid bytes: some set, then cut or grown.
fn changes() -> impl Strategy<Value = (Vec<(prop::sample::Index, u8)>, Change)> {
    let change = prop_oneof![
        Just(Change::None),
        any::<prop::sample::Index>().prop_map(Change::Cut),
        vec(any::<u8>(), 1..40).prop_map(Change::Grow),
    ];
    (vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), change)
}

#[derive(Clone, Debug)]
enum Change {
    None,
    Cut(prop::sample::Index),
    Grow(Vec<u8>),
}

fn change(bytes: &mut Vec<u8>, (sets, change): &(Vec<(prop::sample::Index, u8)>, Change)) {
    for (at, value) in sets {
        let at = at.index(bytes.len());
        bytes[at] = *value;
    }
    match change {
        Change::None => {}
        Change::Cut(at) => bytes.truncate(at.index(bytes.len() + 1)),
        Change::Grow(more) => bytes.extend(more),
    }
}

fn bytes_of(len: usize, encode: impl FnOnce(&mut [u8]) -> usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    assert_eq!(encode(&mut bytes), len, "size() and encode() agree");
    bytes
}

/// Whatever the bytes: no decoder panics, and what one accepts encodes to what it reads again.
fn survive(bytes: &[u8]) {
    let _ = ouch::malformed_fields(bytes);
    if let Ok(message) = ouch::decode_inbound(bytes) {
        let again = bytes_of(message.size(), |out| message.encode(out));
        assert_eq!(ouch::decode_inbound(&again), Ok(message));
    }
    if let Ok(message) = ouch::Outbound::decode(bytes) {
        let again = bytes_of(message.size(), |out| message.encode(out));
        assert_eq!(ouch::Outbound::decode(&again), Ok(message));
    }
    if let Ok(message) = itch::Message::decode(bytes) {
        let again = bytes_of(message.size(), |out| message.encode(out));
        assert_eq!(again.len(), bytes.len());
        assert_eq!(itch::Message::decode(&again), Ok(message));
    }
    if let Some(block) = session::Block::read(bytes) {
        let again = bytes_of(bytes.len(), |out| block.write(out));
        assert_eq!(session::Block::read(&again), Some(block));
    }
    if let Ok((header, packet)) = mold::parse(bytes) {
        let mut again = mold::PacketBuilder::new([0; 1400], header.session, header.sequence);
        if let mold::Packet::Messages(blocks) = packet {
            assert_eq!(blocks.len(), usize::from(header.count));
            assert!(blocks.clone().all(|block| again.push_bytes(block)));
            assert_eq!(blocks.count(), usize::from(header.count));
            assert_eq!(again.packet(), bytes);
        }
    }
    assert_eq!(mold::blocks(bytes).is_err() as usize, {
        let request = matches!(mold::parse(bytes), Ok((_, mold::Packet::Request)));
        (request || mold::parse(bytes).is_err()) as usize
    });
    let _ = session::open_packet(&[7; 16], bytes);
    if let Some(token) = bytes.first_chunk::<10>() {
        let _ = session::token_slot(&Alpha(*token));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn inbound_round_trip(message in inbound()) {
        let bytes = bytes_of(message.size(), |out| message.encode(out));
        prop_assert!(bytes.len() <= ouch::INBOUND_BYTES_MAX);
        prop_assert_eq!(ouch::decode_inbound(&bytes), Ok(message));
    }

    #[test]
    fn outbound_round_trip(message in outbound()) {
        let bytes = bytes_of(message.size(), |out| message.encode(out));
        prop_assert!(bytes.len() <= ouch::OUTBOUND_BYTES_MAX);
        prop_assert_eq!(ouch::Outbound::decode(&bytes), Ok(message));
    }

    #[test]
    fn itch_round_trip(message in itch_message()) {
        let bytes = bytes_of(message.size(), |out| message.encode(out));
        prop_assert!(bytes.len() <= itch::MESSAGE_BYTES_MAX);
        prop_assert_eq!(itch::Message::decode(&bytes), Ok(message));
    }

    #[test]
    fn session_round_trip(block in session_block()) {
        let mut bytes = [0; session::BLOCK_BYTES_MAX];
        let len = block.write(&mut bytes);
        prop_assert_eq!(session::Block::read(&bytes[..len]), Some(block));
    }

    #[test]
    fn packets_round_trip(blocks in vec(vec(any::<u8>(), 0..60), 0..40), sequence in any::<u32>()) {
        let mut packet =
            mold::PacketBuilder::new([0; 1400], SessionName::BLANK, u64::from(sequence));
        let taken = blocks.iter().take_while(|block| packet.push_bytes(block)).count();
        let datagram = packet.packet().to_vec();
        prop_assert!(datagram.len() <= mold::PAYLOAD_BYTES_MAX);
        let read: Vec<Vec<u8>> = mold::blocks(&datagram).unwrap().map(<[u8]>::to_vec).collect();
        prop_assert_eq!(&read[..], &blocks[..taken]);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..1500)) {
        survive(&bytes);
    }

    #[test]
    fn arbitrary_bodies_never_panic(
        letter in prop::sample::select(b"OUXQSACEJNRHDLK".to_vec()),
        rest in vec(any::<u8>(), 0..120),
    ) {
        survive(&[&[letter][..], &rest].concat());
    }

    #[test]
    fn changed_inbound_never_panics(message in inbound(), how in changes()) {
        let mut bytes = bytes_of(message.size(), |out| message.encode(out));
        change(&mut bytes, &how);
        survive(&bytes);
    }

    #[test]
    fn changed_outbound_never_panics(message in outbound(), how in changes()) {
        let mut bytes = bytes_of(message.size(), |out| message.encode(out));
        change(&mut bytes, &how);
        survive(&bytes);
    }

    #[test]
    fn changed_itch_never_panics(message in itch_message(), how in changes()) {
        let mut bytes = bytes_of(message.size(), |out| message.encode(out));
        change(&mut bytes, &how);
        survive(&bytes);
    }

    #[test]
    fn changed_session_blocks_never_panic(block in session_block(), how in changes()) {
        let mut bytes = vec![0; session::BLOCK_BYTES_MAX];
        let len = block.write(&mut bytes);
        bytes.truncate(len);
        change(&mut bytes, &how);
        survive(&bytes);
    }

    #[test]
    fn changed_packets_never_panic(
        blocks in vec(vec(any::<u8>(), 0..30), 1..6), how in changes()
    ) {
        let mut packet = mold::PacketBuilder::new([0; 1400], SessionName::BLANK, 1);
        blocks.iter().for_each(|block| assert!(packet.push_bytes(block)));
        let mut bytes = packet.packet().to_vec();
        change(&mut bytes, &how);
        survive(&bytes);
    }
}
