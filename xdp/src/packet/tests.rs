use std::net::{Ipv4Addr, SocketAddrV4};

use super::checksum::{fold, pseudo_header};
use super::*;

const OWN: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
const PEER: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);

fn address(vlan: Option<u16>) -> Address {
    Address {
        source_mac: OWN,
        destination_mac: PEER,
        source: SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 7001),
        destination: SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 2), 9001),
        vlan,
        ttl: 64,
        traffic_class: 0,
    }
}

fn frame(vlan: Option<u16>, checksum: UdpChecksum, payload: &[u8]) -> Vec<u8> {
    let template = Template::new(&address(vlan), checksum);
    let mut frame = vec![0xee; 2048];
    let at = template.payload_at();
    frame[at..at + payload.len()].copy_from_slice(payload);
    let length = template.finish(&mut frame, payload.len()).unwrap();
    frame.truncate(length);
    frame
}

const STRICT: Parser = Parser { vlan: Some(5), verify_udp_checksum: true };

#[test]
fn a_frame_is_these_bytes() {
    let golden = "020000000002 020000000001 0800 \
                  4500 001f 0000 4000 4011 26cc 0a000001 0a000002 \
                  1b59 2329 000b 0000 616263 000000000000000000000000000000";
    let hex: String = golden.split_whitespace().collect();
    let bytes: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
        .collect();
    assert_eq!(frame(None, UdpChecksum::Zero, b"abc"), bytes);
    // With the sum: the same but for its two bytes. 0x0a00*2 + 1 + 2 + 0x11 + 2*0xb + ports + data.
    let mut sum: u32 = 0x0a00 * 2 + 1 + 2 + 0x11 + 2 * 0xb + 0x1b59 + 0x2329 + 0x6162 + 0x6300;
    sum = (sum & 0xffff) + (sum >> 16);
    let mut summed = bytes;
    summed[40..42].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    assert_eq!(frame(None, UdpChecksum::Full, b"abc"), summed);
}

#[test]
fn what_is_built_is_parsed_back() {
    for vlan in [None, Some(5)] {
        for checksum in [UdpChecksum::Zero, UdpChecksum::Full] {
            for size in [0, 1, 2, 3, 17, 18, 19, 64, 1471, 1472] {
                let payload: Vec<u8> = (0..size).map(|i| (i * 7 + size) as u8).collect();
                let bytes = frame(vlan, checksum, &payload);
                let tag = if vlan.is_some() { 4 } else { 0 };
                assert_eq!(bytes.len(), (42 + tag + size).max(60));
                let datagram = STRICT.parse(&bytes).unwrap();
                assert_eq!(datagram.payload, payload);
                assert_eq!(datagram.vlan, vlan);
                assert_eq!((datagram.source_mac, datagram.destination_mac), (OWN, PEER));
                assert_eq!(datagram.source, address(None).source);
                assert_eq!(datagram.destination, address(None).destination);
                assert_eq!(datagram.ttl, 64);
            }
        }
    }
}

#[test]
fn a_sum_of_zero_is_written_as_ffff() {
    // Two bytes that bring the sum to ffff.
    let zero = (0..=u16::MAX).find(|word| {
        let bytes = frame(None, UdpChecksum::Full, &word.to_be_bytes());
        bytes[40..42] == [0xff, 0xff]
    });
    let bytes = frame(None, UdpChecksum::Full, &zero.expect("one of them").to_be_bytes());
    assert!(STRICT.parse(&bytes).is_ok());
}

/// As a kernel leaves it on veth (CHECKSUM_PARTIAL): the pseudo header's sum, not complemented.
#[test]
fn an_unfinished_sum_passes_and_any_other_wrong_one_does_not() {
    let mut bytes = frame(None, UdpChecksum::Full, b"payload");
    let pseudo = fold(pseudo_header(&bytes[26..34], 15));
    let finished = u16::from_be_bytes([bytes[40], bytes[41]]);
    let mut accepted = Vec::new();
    for given in 0..=u16::MAX {
        bytes[40..42].copy_from_slice(&given.to_be_bytes());
        if STRICT.parse(&bytes).is_ok() {
            accepted.push(given);
        }
    }
    let mut expected = vec![0, pseudo, finished];
    expected.sort_unstable();
    assert_eq!(accepted, expected);
}

#[test]
fn templates_refuse_what_does_not_fit() {
    let template = Template::new(&address(None), UdpChecksum::Full);
    let mut small = [0; 59];
    assert_eq!(template.finish(&mut small, 0), None);
    let mut large = vec![0; 70_000];
    assert_eq!(template.finish(&mut large, 65_507), Some(65_549));
    assert_eq!(template.finish(&mut large, 65_508), None);
    assert_eq!(template.finish(&mut large, usize::MAX), None);
    assert!(template.finish(&mut large, 28).is_some());
    assert_eq!(template.finish(&mut large[..69], 28), None);
}

#[test]
fn each_fault_has_its_reason() {
    type Fault = fn(&mut Vec<u8>);
    let cases: &[(Fault, Refused)] = &[
        (|f| f.truncate(13), Refused::Short),
        (|f| f.truncate(33), Refused::Short),
        (|f| f.truncate(41), Refused::Short),
        (|f| f.truncate(44), Refused::Length),
        (|f| f[12..14].copy_from_slice(&[0x86, 0xdd]), Refused::NotIpv4),
        (|f| f[12..14].copy_from_slice(&[0x08, 0x06]), Refused::NotIpv4),
        (|f| f[12..16].copy_from_slice(&[0x81, 0x00, 0, 6]), Refused::Vlan),
        (|f| f[12..18].copy_from_slice(&[0x81, 0x00, 0, 5, 0x81, 0x00]), Refused::NotIpv4),
        (|f| f[14] = 0x46, Refused::IpHeader),
        (|f| f[14] = 0x65, Refused::IpHeader),
        (|f| f[20] = 0x20, Refused::Fragment),
        (|f| f[21] = 1, Refused::Fragment),
        (|f| f[23] = 6, Refused::NotUdp),
        (|f| f[17] += 1, Refused::Length),
        (|f| f[39] += 1, Refused::Length),
        (|f| f[38..40].copy_from_slice(&[0, 7]), Refused::Length),
        (|f| (f[16], f[38]) = (0xff, 0xff), Refused::Length),
        (|f| f[22] -= 1, Refused::IpChecksum),
        (|f| f[24] ^= 1, Refused::IpChecksum),
        (|f| f[42] ^= 1, Refused::UdpChecksum),
        (|f| f[34] ^= 1, Refused::UdpChecksum),
        (|f| f[6] |= 1, Refused::Source),
    ];
    let good = frame(None, UdpChecksum::Full, b"payload");
    assert!(STRICT.parse(&good).is_ok());
    for (i, (fault, reason)) in cases.iter().enumerate() {
        let mut bytes = good.clone();
        fault(&mut bytes);
        assert_eq!(STRICT.parse(&bytes), Err(*reason), "case {i}");
        assert!((*reason as usize) < Refused::COUNT);
    }
    // Every length below the datagram's end is refused, every length behind it taken.
    for length in 0..good.len() {
        assert_eq!(STRICT.parse(&good[..length]).is_ok(), length >= 49, "{length}");
    }
    let lenient = Parser { vlan: None, verify_udp_checksum: false };
    let tagged = frame(Some(5), UdpChecksum::Zero, b"payload");
    assert_eq!(lenient.parse(&tagged), Err(Refused::NotIpv4), "no VLAN was expected");
}

#[test]
fn senders_without_an_address_are_refused() {
    for (ip, accepted) in [
        ([10, 0, 0, 1], true),
        ([223, 255, 255, 255], true),
        ([224, 0, 0, 1], false),
        ([255, 255, 255, 255], false),
        ([0, 0, 0, 0], false),
        ([127, 0, 0, 1], false),
    ] {
        let from = SocketAddrV4::new(Ipv4Addr::from(ip), 7001);
        let template = Template::new(&Address { source: from, ..address(None) }, UdpChecksum::Zero);
        let mut bytes = [0; 64];
        template.finish(&mut bytes, 4).unwrap();
        assert_eq!(STRICT.parse(&bytes).is_ok(), accepted, "{from}");
    }
}

/// Numbers from a seed (splitmix64).
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// A million damaged frames: no panic, and what is accepted holds what `Datagram` promises.
#[test]
fn damaged_frames_never_panic_and_what_is_accepted_is_whole() {
    let payload: Vec<u8> = (0..100).collect();
    let seeds = [
        frame(None, UdpChecksum::Zero, &payload),
        frame(Some(5), UdpChecksum::Full, &payload),
        frame(None, UdpChecksum::Full, b""),
    ];
    let (mut accepted, mut refused) = (0, [0u32; Refused::COUNT]);
    let mut state = 1;
    let mut bytes = [0; 160];
    for i in 0..1_000_000u32 {
        let seed = &seeds[i as usize % seeds.len()];
        bytes[..seed.len()].copy_from_slice(seed);
        let mut length = seed.len();
        let r = random(&mut state);
        for k in 0..r % 4 {
            let at = (r >> (8 + 8 * k)) as usize % 50;
            bytes[at] ^= 1 << (r >> (40 + 3 * k) & 7);
        }
        if r >> 62 == 0 {
            length = (r >> 50) as usize % bytes.len();
        }
        let parser = Parser { vlan: Some(5), verify_udp_checksum: r >> 61 & 1 == 0 };
        match parser.parse(&bytes[..length]) {
            Ok(datagram) => {
                accepted += 1;
                let tag = if datagram.vlan.is_some() { 4 } else { 0 };
                assert!(42 + tag + datagram.payload.len() <= length);
                assert!(datagram.vlan.is_none_or(|id| id == 5));
                assert!(
                    !datagram.source.ip().is_multicast() && !datagram.source.ip().is_loopback()
                );
            }
            Err(reason) => refused[reason as usize] += 1,
        }
    }
    assert!(accepted > 100_000, "{accepted}");
    assert!(refused.iter().all(|&count| count > 50), "{refused:?}");
}
