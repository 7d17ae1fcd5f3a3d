//! The session's own blocks.

use super::*;

/// A nonce whose bytes count up from `first`.
fn count_up<const N: usize>(first: u8) -> [u8; N] {
    std::array::from_fn(|i| first + i as u8)
}

const CLIENT: ([u8; 4], u16) = ([198, 51, 100, 7], 40000);
const GATEWAY: ([u8; 4], u16) = ([192, 0, 2, 10], 9001);
const TIME: u64 = 1_772_460_000_000_000_000;

fn login() -> session::Login {
    session::Login {
        version: session::VERSION,
        flags: session::FLAG_CANCEL_ON_DISCONNECT,
        user: alpha("BRKR01"),
        wanted: SessionName::BLANK,
        next_report: 0,
        dead_time_ms: 5_000,
        time: Nanos(TIME),
        client_nonce: count_up(0xC0),
        server_nonce: [0; 16],
        hmac: [0; 32],
    }
}

#[test]
fn session_login() {
    let fields: Fields = &[
        (0, "type", "4c"),
        (1, "version", "01"),
        (2, "flags", "01"),
        (3, "zero", "00"),
        (4, "user", "42524b523031"),
        (10, "zero", "0000"),
        (12, "wanted", "20202020202020202020"),
        (22, "next report", "0000000000000000"),
        (30, "dead time", "1388"),
        (32, "time", "18990afaa696c000"),
        (40, "client nonce", "c0c1c2c3c4c5c6c7c8c9cacbcccdcecf"),
        (56, "server nonce", "00000000000000000000000000000000"),
        (72, "hmac", "0000000000000000000000000000000000000000000000000000000000000000"),
    ];
    check_page(SESSION_PAGE, "### L: login", fields);
    let bytes = join(fields);
    assert_eq!(text_hex(&login().bytes()), text_hex(&bytes));
    assert_eq!(session::Login::read(&bytes), Some(login()));
    assert_eq!(session::Block::read(&bytes), Some(session::Block::Login(login())));
    assert_eq!(session::Login::read(&bytes[..103]), None);
}

#[test]
fn session_challenge() {
    let fields: Fields =
        &[(0, "type", "48"), (1, "server nonce", "000102030405060708090a0b0c0d0e0f")];
    check_page(SESSION_PAGE, "### H: challenge", fields);
    let block = session::Block::Challenge(session::Challenge { server_nonce: count_up(0) });
    check_block(block, &join(fields));
}

fn accepted() -> session::Accepted {
    session::Accepted {
        version: session::VERSION,
        flags: session::FLAG_CANCEL_ON_DISCONNECT,
        token: alpha("03UfDVRKBz"),
        downstream: alpha("BRKR01A061"),
        next_report: 2,
        applied: 0,
        next_urn: 1,
        dead_time_ms: 5_000,
        epoch: 1,
        generation: 1,
        client_nonce: count_up(0xC0),
        hmac: [0; 32],
    }
}

#[test]
fn session_accepted() {
    let fields: Fields = &[
        (0, "type", "41"),
        (1, "version", "01"),
        (2, "flags", "01"),
        (3, "zero", "00"),
        (4, "token", "303355664456524b427a"),
        (14, "downstream", "42524b52303141303631"),
        (24, "next report", "0000000000000002"),
        (32, "applied", "0000000000000000"),
        (40, "next urn", "00000001"),
        (44, "dead time", "1388"),
        (46, "zero", "0000"),
        (48, "epoch", "00000001"),
        (52, "generation", "00000001"),
        (56, "client nonce", "c0c1c2c3c4c5c6c7c8c9cacbcccdcecf"),
        (72, "hmac", "0000000000000000000000000000000000000000000000000000000000000000"),
    ];
    check_page(SESSION_PAGE, "### A: accepted", fields);
    check_block(session::Block::Accepted(accepted()), &join(fields));
}

#[test]
fn session_refused_and_applied() {
    let fields: Fields = &[
        (0, "type", "4a"),
        (1, "code", "42"),
        (2, "zero", "0000"),
        (4, "epoch", "00000005"),
        (8, "client nonce", "c0c1c2c3c4c5c6c7c8c9cacbcccdcecf"),
    ];
    check_page(SESSION_PAGE, "### J: refused", fields);
    let refused = session::Refused {
        code: session::RefusedCode::BoundElsewhere,
        epoch: 5,
        client_nonce: count_up(0xC0),
    };
    check_block(session::Block::Refused(refused), &join(fields));
    let mut unknown = join(fields);
    unknown[1] = b'Z';
    assert_eq!(session::Block::read(&unknown), None);

    let fields: Fields = &[
        (0, "type", "4b"),
        (1, "applied", "0000000100000002"),
        (9, "next report", "0000000300000004"),
        (17, "epoch", "00000005"),
    ];
    check_page(SESSION_PAGE, "### K: applied", fields);
    let applied = session::Applied { applied: 0x1_0000_0002, next_report: 0x3_0000_0004, epoch: 5 };
    check_block(session::Block::Applied(applied), &join(fields));
}

#[track_caller]
fn check_block(block: session::Block, bytes: &[u8]) {
    let mut out = [0; session::BLOCK_BYTES_MAX];
    let len = block.write(&mut out);
    assert_eq!(text_hex(&out[..len]), text_hex(bytes));
    assert_eq!(session::Block::read(bytes), Some(block));
    assert_eq!(session::Block::read(&bytes[..bytes.len() - 1]), None);
    assert_eq!(session::Block::read(&[bytes, &[0]].concat()), None);
}

/// The page shows these bytes, blanks and line ends apart.
#[track_caller]
fn page_shows(bytes: &[u8]) {
    let page: String = SESSION_PAGE.chars().filter(|c| !c.is_whitespace()).collect();
    assert!(page.contains(&text_hex(bytes)), "session.md lacks {}", text_hex(bytes));
}

fn datagram(session: SessionName, sequence: u64, block: &[u8]) -> Vec<u8> {
    let mut packet = mold::PacketBuilder::new([0; 1400], session, sequence);
    assert!(packet.push_bytes(block));
    packet.packet().to_vec()
}

#[test]
fn session_worked_login() {
    let key: session::Key = count_up(0x00);
    let gateway_key: session::Key = count_up(0x80);
    let minute = (TIME / 60_000_000_000) as u32;
    assert_eq!(minute, 29_541_000);

    // 1. First L.
    page_shows(&datagram(SessionName::BLANK, 0, &login().bytes()));

    // 2. H.
    let user = login().user;
    let nonce = session::challenge_nonce(&gateway_key, CLIENT.0, CLIENT.1, &user, minute);
    assert_eq!(text_hex(&nonce), "d1ee05bd79bb0338c41d176f491526fc");
    let mut h = [0; session::CHALLENGE_BYTES];
    session::Challenge { server_nonce: nonce }.write(&mut h);
    page_shows(&datagram(SessionName::BLANK, 0, &h));
    let verify =
        |minute| session::verify_challenge(&gateway_key, CLIENT.0, CLIENT.1, &user, minute, &nonce);
    assert!(verify(minute) && verify(minute + 1));
    assert!(!verify(minute + 2) && !verify(minute - 1));

    // 3. Second L.
    let second = session::Login { server_nonce: nonce, ..login() };
    let l = second.signed(&key, GATEWAY.0, GATEWAY.1);
    let hmac = "b3203604d294503db1939fc4d05faa25b04436fbbabb569535adedb06c510263";
    assert_eq!(text_hex(&l[72..]), hmac);
    page_shows(&datagram(SessionName::BLANK, 0, &l));
    assert!(session::verify_login(&key, &l, GATEWAY.0, GATEWAY.1));
    assert!(!session::verify_login(&key, &l, GATEWAY.0, GATEWAY.1 + 1), "another port");
    assert!(!session::verify_login(&key, &l, CLIENT.0, GATEWAY.1), "another address");
    assert!(!session::verify_login(&gateway_key, &l, GATEWAY.0, GATEWAY.1), "another key");
    for at in 0..l.len() {
        let mut bad = l;
        bad[at] ^= 1;
        assert!(!session::verify_login(&key, &bad, GATEWAY.0, GATEWAY.1), "byte {at}");
    }

    // 4. A.
    let token = session::make_token(SessionSlot(3), 0x0123_4567_89AB_CDEF).unwrap();
    assert_eq!(token, accepted().token);
    let a = accepted().signed(&key);
    let hmac = "3338180a00bd23c4be08dafc971df98f53a7c8ab393ddbc1d67260920a8f90cf";
    assert_eq!(text_hex(&a[72..]), hmac);
    page_shows(&datagram(token, 0, &a));
    assert!(session::verify_accepted(&key, &a));
    for at in 0..a.len() {
        let mut bad = a;
        bad[at] ^= 0x80;
        assert!(!session::verify_accepted(&key, &bad), "byte {at}");
    }

    // 5. First order.
    let order = ouch::Inbound::Enter(ouch::Enter {
        urn: Urn(1),
        side: b'B',
        quantity: Quantity(100),
        symbol: alpha("AAPL"),
        price: 1_502_500,
        tif: b'0',
        display: b'Y',
        capacity: b'P',
        iso: b'N',
        cross: b'N',
        cl_ord_id: alpha("first-order"),
        appendage: ouch::Appendage::default(),
    });
    let mut out = [0; ouch::INBOUND_BYTES_MAX];
    let len = order.encode(&mut out);
    let order = datagram(token, 1, &out[..len]);
    assert_eq!(order.len(), 69);
    page_shows(&order);

    // 6. K, and 7. a heartbeat of the downstream.
    let mut k = [0; session::APPLIED_BYTES];
    session::Applied { applied: 1, next_report: 3, epoch: 1 }.write(&mut k);
    page_shows(&datagram(token, 0, &k));
    let mut heartbeat = mold::PacketBuilder::new([0; 20], session::stream_name(&user, b'A', 61), 2);
    page_shows(heartbeat.packet());

    // The packet MAC, had it been granted.
    let keys = session::packet_keys(&key, &login().client_nonce, &nonce);
    page_shows(&keys.client);
    page_shows(&keys.server);
    let check_tag = |key: &[u8; 16], bytes: &[u8], tag: u64| {
        assert_eq!(session::packet_tag(key, bytes), tag);
        page_shows(&tag.to_be_bytes());
        let mut sealed = [0; 1408];
        sealed[..bytes.len()].copy_from_slice(bytes);
        let len = session::seal_packet(key, &mut sealed, bytes.len());
        assert_eq!(sealed[bytes.len()..len], tag.to_be_bytes());
        assert_eq!(session::open_packet(key, &sealed[..len]), Some(bytes));
        assert_eq!(session::open_packet(key, bytes), None, "tag missing");
        for at in 0..len {
            let mut bad = sealed;
            bad[at] ^= 1;
            assert_eq!(session::open_packet(key, &bad[..len]), None, "byte {at}");
        }
    };
    check_tag(&keys.client, &order, 0xdd65_6fc0_1289_7717);
    check_tag(&keys.server, heartbeat.packet(), 0xa677_6ed0_8dec_e3a0);
}

#[test]
fn siphash_is_the_reference() {
    // Vector of the SipHash paper, appendix A.
    assert_eq!(session::packet_tag(&count_up(0), &count_up::<15>(0)), 0xa129_ca61_49be_45e5);
}

#[test]
fn tokens_name_their_slot() {
    for slot in [0, 1, 61, 62, 100, session::SLOTS_MAX - 1] {
        let token = session::make_token(SessionSlot(slot), u64::MAX / 3).unwrap();
        assert!(token.0.iter().all(u8::is_ascii_alphanumeric));
        assert_eq!(session::token_slot(&token), Some(SessionSlot(slot)));
        assert!(session::same_token(&token, &token));
    }
    assert_eq!(session::make_token(SessionSlot(session::SLOTS_MAX), 0), None);
    assert_eq!(session::make_token(SessionSlot(3843), u64::MAX), Some(alpha("zzHa16AHYF")));
    assert_eq!(session::token_slot(&SessionName::BLANK), None);
    assert_eq!(session::token_slot(&alpha("0-12345678")), None);
    let other = session::make_token(SessionSlot(0), 1).unwrap();
    assert!(!session::same_token(&session::make_token(SessionSlot(0), 2).unwrap(), &other));
    assert_eq!(session::stream_name(&alpha("AB"), b'C', 366), alpha("AB    C366"));
    assert_eq!(session::stream_name(&alpha("AB"), b'A', 7), alpha("AB    A007"));
}
