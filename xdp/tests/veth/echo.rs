//! Datagrams between an ordinary socket and AF_XDP, in both directions.

use std::net::{Ipv4Addr, SocketAddrV4};

use af_xdp::packet::{Address, Parser, Template, UdpChecksum};
use af_xdp::{Copying, MacAddress, Mode, Opened, Pages};

use crate::network::{LEFT_IP, Network, RIGHT_IP, RIGHT_MAC, config, wait_for};

const SERVER: SocketAddrV4 = SocketAddrV4::new(RIGHT_IP, 7000);

/// Answers every datagram that waits with its own payload; returns how many.
pub fn answer(opened: &mut Opened, queue: usize, checksum: UdpChecksum) -> usize {
    let socket = &mut opened.sockets[queue];
    let (rx, tx) = (&mut socket.rx, &mut socket.tx);
    let count = rx.receive(64, |frame| {
        let datagram = Parser::default().parse(frame).expect("the program took it");
        let headers = Template::new(&reply(&datagram), checksum);
        assert!(tx.send(|buffer| {
            let at = headers.payload_at();
            buffer[at..at + datagram.payload.len()].copy_from_slice(datagram.payload);
            headers.finish(buffer, datagram.payload.len()).unwrap()
        }));
    });
    tx.kick();
    count
}

pub fn reply(datagram: &af_xdp::packet::Datagram<'_>) -> Address {
    Address {
        source_mac: datagram.destination_mac,
        destination_mac: datagram.source_mac,
        source: datagram.destination,
        destination: datagram.source,
        vlan: datagram.vlan,
        ttl: 64,
        traffic_class: 0,
    }
}

fn kernel_client(mode: Mode) {
    let network = Network::new(1);
    let mut opened = network.right.open(&config(&[SERVER], mode));
    assert_eq!((opened.mode, opened.sockets[0].copying()), (mode, Copying::Copy));
    assert!(opened.pages == Pages::Base || opened.pages == Pages::Huge);
    let client = network.left.udp(LEFT_IP, 4000);
    client.connect(SERVER).unwrap();
    let mut buffer = [0; 2048];
    // Far more than there are frames: rings and frames go round.
    for i in 0..2000usize {
        let payload: Vec<u8> = (0..i % 1473).map(|byte| (byte + i) as u8).collect();
        let checksum = if i % 2 == 0 { UdpChecksum::Zero } else { UdpChecksum::Full };
        client.send(&payload).unwrap();
        wait_for("the datagram's arrival", || answer(&mut opened, 0, checksum) == 1);
        let length = client.recv(&mut buffer).unwrap_or_else(|error| panic!("echo {i}: {error}"));
        assert_eq!(buffer[..length], payload, "echo {i}");
    }
    let socket = &mut opened.sockets[0];
    wait_for("completion", || {
        socket.tx.complete();
        socket.tx.in_flight() == 0
    });
    assert_eq!(socket.tx.free_frames(), 64);
    let (rx, tx) = (socket.rx.counters(), socket.tx.counters());
    assert_eq!((rx.frames, rx.invalid), (2000, 0), "{rx:?}");
    assert_eq!((tx.frames, tx.completed, tx.dropped, tx.invalid), (2000, 2000, 0, 0), "{tx:?}");
    let statistics = socket.statistics().unwrap();
    let bad = statistics.rx_dropped + statistics.rx_invalid_descs + statistics.tx_invalid_descs;
    assert_eq!(bad + statistics.rx_ring_full, 0, "{statistics:?}");
}

pub fn native_copy() {
    kernel_client(Mode::NativeCopy);
}

pub fn generic() {
    kernel_client(Mode::Generic);
}

/// AF_XDP sends to a group, an ordinary socket that joined it receives; and the other way round.
pub fn multicast() {
    let group = SocketAddrV4::new(Ipv4Addr::new(239, 10, 0, 1), 5000);
    for mode in [Mode::NativeCopy, Mode::Generic] {
        let network = Network::new(1);
        let mut opened = network.right.open(&config(&[group], mode));
        let member = network.left.udp(Ipv4Addr::UNSPECIFIED, group.port());
        member.join_multicast_v4(group.ip(), &LEFT_IP).unwrap();
        let address = Address {
            source_mac: RIGHT_MAC,
            destination_mac: MacAddress::of_group(*group.ip()).unwrap(),
            source: SocketAddrV4::new(RIGHT_IP, 5001),
            destination: group,
            vlan: None,
            ttl: 1,
            traffic_class: 0,
        };
        let headers = Template::new(&address, UdpChecksum::Zero);
        let mut buffer = [0; 64];
        for i in 0..200u8 {
            let tx = &mut opened.sockets[0].tx;
            assert!(tx.send(|frame| {
                frame[headers.payload_at()] = i;
                headers.finish(frame, 1).unwrap()
            }));
            assert_eq!(tx.kick(), 0);
            assert_eq!(member.recv_from(&mut buffer).unwrap(), (1, address.source.into()));
            assert_eq!(buffer[0], i);
        }
        let sender = network.left.udp(LEFT_IP, 0);
        let mut heard = Vec::new();
        for i in 0..20u8 {
            sender.send_to(&[i], group).unwrap();
            let rx = &mut opened.sockets[0].rx;
            wait_for("the group's datagram", || {
                rx.receive(1, |frame| {
                    let datagram = Parser::default().parse(frame).unwrap();
                    assert_eq!(datagram.destination, group);
                    heard.extend_from_slice(datagram.payload);
                }) == 1
            });
        }
        assert_eq!(heard, (0..20).collect::<Vec<u8>>());
    }
}
