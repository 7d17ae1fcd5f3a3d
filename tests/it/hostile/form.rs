//! Blocks and datagrams of a wrong form, wrong MACs, and noise.

use super::*;

#[test]
fn malformed_blocks_by_the_table() {
    let (mut venue, mut client) = with_client(Options::default());
    let long_tag = [&buy(8, 1_000)[..45], &[0, 4, 3, 200, 0, 0]].concat();
    let blocks: [&[u8]; 9] = [
        b"",
        b"Z",
        b"O\0\0\0",
        b"O\0\0\0\x05",
        b"U\0\0\0\x01\0\0\0\x06",
        b"X\0\0",
        b"Qx",
        &long_tag,
        b"O\0\0\0\x05",
    ];
    client.send(&blocks);
    venue.settle();
    let reports = client.reports();
    let told: Vec<(char, u64)> = reports
        .iter()
        .map(|(_, r)| match r {
            Outbound::NotApplied(n) => ('N', n.from),
            Outbound::Rejected(j) => {
                assert_eq!(j.reason, RejectReason::Other as u16);
                ('J', j.urn.0 as u64)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    // `Qx`: a query with something behind it is no query; the last O names a used reference.
    let expected = [('N', 1), ('N', 2), ('N', 3), ('J', 5), ('J', 6), ('N', 6), ('N', 7), ('J', 8)];
    assert_eq!(told, expected);
    venue.run(2 * MS);
    assert_eq!(applied(&client.take()).last().map(|k| k.0), Some(9));
}

#[test]
fn malformed_datagrams_change_nothing() {
    let (mut venue, mut client) = with_client(Options::default());
    let next = venue.inbound.next_seq();
    let good = client.packet(1, &[&buy(1, 1_000)]);
    let mut wrong = Vec::new();
    for cut in 0..good.len() {
        wrong.push(good[..cut].to_vec());
    }
    wrong.push([&good[..], b"x"].concat());
    wrong.push(vec![0; 1_472]);
    wrong.push(vec![b' '; 1_472]);
    let mut count = good.clone();
    count[19] = 2;
    wrong.push(count);
    for bytes in &wrong {
        client.send_raw(bytes);
        venue.settle();
    }
    assert_eq!(venue.inbound.next_seq(), next);
    // An own block of the exchange, a login of another length, two blocks in one.
    client.send_own(b"K23456789012345678901");
    client.send_own(&[b'L'; 103]);
    client.send_own(b"");
    venue.settle();
    assert_eq!(client.take(), []);
    assert_eq!(venue.inbound.next_seq(), next);
    client.send_raw(&good);
    venue.settle();
    assert_eq!(client.letters(), "A");
}

#[test]
fn packet_mac_both_ways() {
    let mut venue = Venue::new();
    let mut client = venue.client(0);
    client.flags = FLAG_PACKET_MAC;
    assert_eq!(client.login(&mut venue).flags, FLAG_PACKET_MAC);
    // The inbox of a client with keys refuses whatever carries no right MAC.
    client.send(&[&buy(1, 1_000)]);
    venue.run(20 * MS);
    assert!(client.letters().starts_with('A'));
    client.request(1, 2);
    venue.settle();
    assert_eq!(client.letters(), "SA");
    let next = venue.inbound.next_seq();
    let good = client.packet(2, &[&buy(2, 1_000)]);
    for at in [0usize, 19, 40, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        client.send_raw(&bad);
    }
    client.send_raw(&good[..good.len() - 8]);
    venue.settle();
    assert_eq!(venue.inbound.next_seq(), next);
    assert!(counter(&venue, "bad_mac") >= 4);
    client.send_raw(&good);
    venue.settle();
    assert_eq!(client.letters(), "A");
    // A full datagram of 1,400 bytes and its tag is one datagram.
    let order = buy(3, 1_000);
    let blocks: Vec<&[u8]> = (0..28).map(|_| &order[..]).collect();
    assert!(client.packet(3, &blocks).len() > 1_380);
    client.send_at(3, &blocks);
    venue.settle();
    assert_eq!(client.letters(), "A");
}

#[test]
fn noise_from_everywhere_changes_nothing() {
    let (mut venue, mut client) = with_client(Options::default());
    let next = venue.inbound.next_seq();
    let mut noise = venue.network.bind(SocketAddrV4::new(Ipv4Addr::new(10, 9, 9, 9), 1)).unwrap();
    let good = client.packet(1, &[&buy(1, 1_000)]);
    let mut state = 1u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..2_000 {
        let len = random() as usize % 200;
        let from_good = round % 2 == 0;
        noise.send(client.gateway, |out| {
            for (i, byte) in out[..len].iter_mut().enumerate() {
                *byte = if from_good && i < good.len() { good[i] } else { random() as u8 };
            }
            len
        });
        if round % 64 == 0 {
            noise.flush();
            venue.settle();
        }
    }
    noise.flush();
    venue.settle();
    assert_eq!(venue.inbound.next_seq(), next);
    client.send_raw(&good);
    venue.settle();
    assert_eq!(client.letters(), "A");
}
