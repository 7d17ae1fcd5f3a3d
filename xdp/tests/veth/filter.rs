//! The program's verdicts, frame by frame, without an interface (`BPF_PROG_TEST_RUN`).

use std::net::{Ipv4Addr, SocketAddrV4};

use af_xdp::packet::{Address, Parser, Template, UdpChecksum};
use af_xdp::{Filter, MacAddress, Program, Verdict};

use crate::network::Random;

const PORT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 2), 7000);
/// High bits set in every byte: a signed comparison would show.
const HIGH: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(203, 255, 254, 253), 65535);
const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 1, 2, 3), 5001);

/// A frame to `destination` with 18 bytes of payload.
pub fn frame(destination: SocketAddrV4, vlan: Option<u16>) -> Vec<u8> {
    let address = Address {
        source_mac: MacAddress([2, 0, 0, 0, 0, 1]),
        destination_mac: MacAddress([2, 0, 0, 0, 0, 2]),
        source: "10.0.0.1:4000".parse().unwrap(),
        destination,
        vlan,
        ttl: 64,
        traffic_class: 0,
    };
    let mut bytes = [0; 128];
    let length = Template::new(&address, UdpChecksum::Full).finish(&mut bytes, 18).unwrap();
    bytes[..length].to_vec()
}

/// Changes some bytes of a frame.
fn changed(mut bytes: Vec<u8>, at: usize, new: &[u8]) -> Vec<u8> {
    bytes[at..at + new.len()].copy_from_slice(new);
    bytes
}

pub fn each_branch() {
    let filter = Filter::new(&[PORT, HIGH, GROUP], None).unwrap();
    let tagged = Filter::new(&[PORT, HIGH, GROUP], Some(0x123)).unwrap();
    let other = |ip: [u8; 4], port| SocketAddrV4::new(ip.into(), port);
    use Verdict::{Pass, Redirect};
    let arp = changed(frame(PORT, None), 12, &[0x08, 0x06]);
    let in_tag = |id| frame(PORT, Some(id));
    // (what, frame, verdict without VLAN, verdict with VLAN 0x123)
    let cases: Vec<(&str, Vec<u8>, Verdict, Verdict)> = vec![
        ("ours", frame(PORT, None), Redirect, Redirect),
        ("ours, high bits", frame(HIGH, None), Redirect, Redirect),
        ("ours, group", frame(GROUP, None), Redirect, Redirect),
        ("another port", frame(other([10, 0, 0, 2], 7001), None), Pass, Pass),
        ("port of another destination", frame(other([10, 0, 0, 2], 65535), None), Pass, Pass),
        ("another address", frame(other([10, 0, 0, 3], 7000), None), Pass, Pass),
        ("another high address", frame(other([202, 255, 254, 253], 65535), None), Pass, Pass),
        ("another group", frame(other([239, 1, 2, 4], 5001), None), Pass, Pass),
        ("ARP", arp, Pass, Pass),
        ("IPv6", changed(frame(PORT, None), 12, &[0x86, 0xdd]), Pass, Pass),
        ("IP options", changed(frame(PORT, None), 14, &[0x46]), Pass, Pass),
        ("IP version 6 in a frame of 4", changed(frame(PORT, None), 14, &[0x65]), Pass, Pass),
        ("TCP", changed(frame(PORT, None), 23, &[6]), Pass, Pass),
        ("ICMP", changed(frame(PORT, None), 23, &[1]), Pass, Pass),
        ("first fragment", changed(frame(PORT, None), 20, &[0x20, 0]), Pass, Pass),
        ("middle fragment", changed(frame(PORT, None), 20, &[0x20, 1]), Pass, Pass),
        ("last fragment", changed(frame(PORT, None), 20, &[0x1f, 0xff]), Pass, Pass),
        ("may be fragmented, is not", changed(frame(PORT, None), 20, &[0, 0]), Redirect, Redirect),
        ("our tag", in_tag(0x123), Pass, Redirect),
        ("our tag, priority 7", changed(in_tag(0x123), 14, &[0xf1, 0x23]), Pass, Redirect),
        ("another tag", in_tag(0x122), Pass, Pass),
        ("tag 0", in_tag(0), Pass, Pass),
        ("two tags", changed(in_tag(0x123), 16, &[0x81, 0x00]), Pass, Pass),
        ("802.1ad", changed(in_tag(0x123), 12, &[0x88, 0xa8]), Pass, Pass),
        ("our tag, TCP", changed(in_tag(0x123), 27, &[6]), Pass, Pass),
        ("our tag, another port", frame(other([10, 0, 0, 2], 7001), Some(0x123)), Pass, Pass),
        ("our tag, fragment", changed(in_tag(0x123), 24, &[0x20, 0]), Pass, Pass),
    ];
    for (filter, tag) in [(filter, false), (tagged, true)] {
        let program = Program::load(&filter, 4).unwrap();
        let with_no_socket = program.test(&frame(PORT, None)).unwrap();
        assert_eq!(with_no_socket, Pass, "an empty place in the map must pass");
        let socket = program.insert_for_test().unwrap();
        for (what, bytes, untagged, with_tag) in &cases {
            let expected = if tag { with_tag } else { untagged };
            assert_eq!(program.test(bytes).unwrap(), *expected, "{what}, VLAN {tag}");
        }
        drop(socket);
    }
    // The last of sixteen is compared too.
    let many: Vec<_> = (0..16).map(|i| SocketAddrV4::new(*PORT.ip(), 8000 + i)).collect();
    let program = Program::load(&Filter::new(&many, Some(1)).unwrap(), 1).unwrap();
    let _socket = program.insert_for_test().unwrap();
    for to in &many {
        assert_eq!(program.test(&frame(*to, None)).unwrap(), Redirect);
    }
    assert_eq!(program.test(&frame(PORT, None)).unwrap(), Pass);
}

pub fn truncated_at_each_byte() {
    let filter = Filter::new(&[PORT], Some(9)).unwrap();
    let program = Program::load(&filter, 1).unwrap();
    let _socket = program.insert_for_test().unwrap();
    // The kernel runs frames of 14 bytes and more.
    for (vlan, headers) in [(None, 42), (Some(9), 46)] {
        let whole = frame(PORT, vlan);
        for length in 14..=whole.len() {
            let expected = if length >= headers { Verdict::Redirect } else { Verdict::Pass };
            assert_eq!(program.test(&whole[..length]).unwrap(), expected, "{vlan:?} {length}");
        }
    }
}

/// What the parser accepts for our destinations, the program redirects; and what the program
/// redirects, the parser takes or refuses without a panic.
pub fn agrees_with_the_parser() {
    let filter = Filter::new(&[PORT, HIGH, GROUP], Some(0x123)).unwrap();
    let program = Program::load(&filter, 1).unwrap();
    let _socket = program.insert_for_test().unwrap();
    let parser = Parser { vlan: filter.vlan(), verify_udp_checksum: false };
    let seeds = [
        frame(PORT, None),
        frame(HIGH, None),
        frame(GROUP, Some(0x123)),
        frame(PORT, Some(0x124)),
        frame("10.0.0.2:7001".parse().unwrap(), None),
    ];
    let mut random = Random(7);
    let (mut accepted, mut redirected, mut only_redirected) = (0, 0, 0);
    for _ in 0..30_000 {
        let mut bytes = seeds[random.below(seeds.len())].clone();
        for _ in 0..random.below(4) {
            // Mostly headers; values that mean something as often as any.
            let at = random.below(46).min(bytes.len() - 1);
            bytes[at] = match random.below(3) {
                0 => random.below(256) as u8,
                1 => [0, 1, 0x45, 0x08, 0x81, 0xff, 17, 20, 0x40][random.below(9)],
                _ => bytes[at] ^ 1 << random.below(8),
            };
        }
        if random.below(4) == 0 {
            let length = 14 + random.below(bytes.len() - 13);
            bytes.resize(length, 0);
        }
        let taken = match parser.parse(&bytes) {
            Ok(datagram) => filter.accepts(datagram.destination, datagram.vlan),
            Err(_) => false,
        };
        let verdict = program.test(&bytes).unwrap();
        assert!(matches!(verdict, Verdict::Pass | Verdict::Redirect), "{bytes:02x?}");
        if taken {
            assert_eq!(verdict, Verdict::Redirect, "{bytes:02x?}");
        }
        accepted += usize::from(taken);
        redirected += usize::from(verdict == Verdict::Redirect);
        only_redirected += usize::from(verdict == Verdict::Redirect && !taken);
    }
    // All three kinds occur often, or the mutations test nothing.
    let counts = [accepted, only_redirected, 30_000 - redirected];
    assert!(counts.iter().all(|&count| count > 1000), "{counts:?}");
}
