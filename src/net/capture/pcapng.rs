//! Blocks of a pcapng file, and the headers made up for a payload.
//!
//! Consumes frames and counts; appends bytes to a buffer. Must not know files.
//!
//! Source: draft-ietf-opsawg-pcapng; block types and option codes as there. Little-endian, times in
//! nanoseconds (if_tsresol 9).

use super::{Direction, Interface};
use crate::types::Nanos;
use af_xdp::MacAddress;
use af_xdp::packet::{Address, Template, UdpChecksum};
use std::net::{Ipv4Addr, SocketAddrV4};

const SECTION_HEADER: u32 = 0x0A0D_0D0A;
const INTERFACE_DESCRIPTION: u32 = 1;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;

const ETHERNET: u16 = 1;

const OPTION_END: u16 = 0;
const SHB_USERAPPL: u16 = 4;
const IF_NAME: u16 = 2;
const IF_DESCRIPTION: u16 = 3;
const IF_TSRESOL: u16 = 9;
const EPB_FLAGS: u16 = 2;
const EPB_DROPCOUNT: u16 = 4;
const ISB_IFRECV: u16 = 4;
const ISB_IFDROP: u16 = 5;

/// Directions in epb_flags.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// Bytes of [`statistics`]' block.
pub(super) const STATISTICS_BYTES: usize = 20 + 2 * 12 + 4 + 4;
/// Bytes of a packet's block beside its bytes, at most: with padding, direction and drops.
pub(super) const PACKET_BYTES_MORE: usize = 28 + 3 + 8 + 12 + 4 + 4;

/// What a file begins with: the section, and each interface, which packets name by its place.
pub(super) fn head(out: &mut Vec<u8>, interfaces: &[Interface]) {
    block(out, SECTION_HEADER, |out| {
        out.extend(0x1A2B_3C4D_u32.to_le_bytes());
        out.extend([1, 0, 0, 0]); // version 1.0
        out.extend(u64::MAX.to_le_bytes()); // length of the section not said
        option(out, SHB_USERAPPL, concat!("rialto ", env!("CARGO_PKG_VERSION")).as_bytes());
        option(out, OPTION_END, &[]);
    });
    for interface in interfaces {
        block(out, INTERFACE_DESCRIPTION, |out| {
            out.extend(ETHERNET.to_le_bytes());
            out.extend([0; 2]);
            out.extend(0u32.to_le_bytes()); // frames are never cut
            option(out, IF_NAME, interface.name.as_bytes());
            option(out, IF_DESCRIPTION, interface.description.as_bytes());
            option(out, IF_TSRESOL, &[9]);
            option(out, OPTION_END, &[]);
        });
    }
}

/// One frame; `lacking`: how many of its interface are missing before it.
pub(super) fn packet(
    out: &mut Vec<u8>,
    (interface, direction): (usize, Direction),
    time: Nanos,
    lacking: u64,
    frame: &[u8],
) {
    block(out, ENHANCED_PACKET, |out| {
        out.extend((interface as u32).to_le_bytes());
        out.extend(time_words(time));
        out.extend((frame.len() as u32).to_le_bytes());
        out.extend((frame.len() as u32).to_le_bytes());
        out.extend(frame);
        pad(out, frame.len());
        let direction = match direction {
            Direction::Received => INBOUND,
            Direction::Sent => OUTBOUND,
        };
        option(out, EPB_FLAGS, &direction.to_le_bytes());
        if lacking > 0 {
            option(out, EPB_DROPCOUNT, &lacking.to_le_bytes());
        }
        option(out, OPTION_END, &[]);
    });
}

/// What a file ends with, for each interface: how many frames there were, and how many of them it lacks.
pub(super) fn statistics(
    out: &mut Vec<u8>,
    interface: usize,
    time: Nanos,
    seen: u64,
    lacking: u64,
) {
    block(out, INTERFACE_STATISTICS, |out| {
        out.extend((interface as u32).to_le_bytes());
        out.extend(time_words(time));
        option(out, ISB_IFRECV, &seen.to_le_bytes());
        option(out, ISB_IFDROP, &lacking.to_le_bytes());
        option(out, OPTION_END, &[]);
    });
}

/// A frame around `payload`, in place of what is in `out`: IPv4 and UDP with good checksums, Ethernet
/// addresses that say `02:00` and the IPv4 address, or the group's.
pub(super) fn made_up(out: &mut Vec<u8>, from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) {
    let address = Address {
        source_mac: station(*from.ip()),
        destination_mac: MacAddress::of_group(*to.ip()).unwrap_or(station(*to.ip())),
        source: from,
        destination: to,
        vlan: None,
        ttl: 64,
        traffic_class: 0,
    };
    let template = Template::new(&address, UdpChecksum::Full);
    let at = template.payload_at();
    out.clear();
    out.resize(at + payload.len().max(64), 0);
    out[at..at + payload.len()].copy_from_slice(payload);
    // Longer than IPv4 can say is no datagram.
    let length = template.finish(out, payload.len()).unwrap_or(0);
    out.truncate(length);
}

/// Locally administered.
fn station(ip: Ipv4Addr) -> MacAddress {
    let [a, b, c, d] = ip.octets();
    MacAddress([0x02, 0, a, b, c, d])
}

/// High word first.
fn time_words(time: Nanos) -> [u8; 8] {
    let mut words = [0; 8];
    words[..4].copy_from_slice(&((time.0 >> 32) as u32).to_le_bytes());
    words[4..].copy_from_slice(&(time.0 as u32).to_le_bytes());
    words
}

fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend(kind.to_le_bytes());
    out.extend([0; 4]);
    body(out);
    let length = (out.len() - start + 4) as u32;
    out[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
    out.extend(length.to_le_bytes());
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    out.extend(code.to_le_bytes());
    out.extend((value.len() as u16).to_le_bytes());
    out.extend(value);
    pad(out, value.len());
}

fn pad(out: &mut Vec<u8>, length: usize) {
    out.extend(&[0; 3][..length.next_multiple_of(4) - length]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_begins_with_these_bytes() {
        let mut out = Vec::new();
        let interface = Interface { name: "eth1".into(), description: "AF_XDP" };
        head(&mut out, &[interface]);
        #[rustfmt::skip]
        let golden: &[u8] = &[
            0x0A, 0x0D, 0x0D, 0x0A, 48, 0, 0, 0,            // section header of 48 bytes
            0x4D, 0x3C, 0x2B, 0x1A, 1, 0, 0, 0,             // little-endian, version 1.0
            0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, // length not said
            4, 0, 12, 0, b'r', b'i', b'a', b'l', b't', b'o', b' ', b'0', b'.', b'1', b'.', b'0',
            0, 0, 0, 0, 48, 0, 0, 0,
            1, 0, 0, 0, 52, 0, 0, 0,                        // interface description
            1, 0, 0, 0, 0, 0, 0, 0,                         // Ethernet, frames whole
            2, 0, 4, 0, b'e', b't', b'h', b'1',
            3, 0, 6, 0, b'A', b'F', b'_', b'X', b'D', b'P', 0, 0,
            9, 0, 1, 0, 9, 0, 0, 0,                         // nanoseconds
            0, 0, 0, 0, 52, 0, 0, 0,
        ];
        assert_eq!(out, golden);
    }

    #[test]
    fn packets_and_statistics_are_these_bytes() {
        let mut out = Vec::new();
        packet(&mut out, (1, Direction::Received), Nanos(0x0102_0304_0506_0708), 0, &[0xAA; 5]);
        #[rustfmt::skip]
        let golden: &[u8] = &[
            6, 0, 0, 0, 52, 0, 0, 0, 1, 0, 0, 0,
            4, 3, 2, 1, 8, 7, 6, 5,                         // time: high word, low word
            5, 0, 0, 0, 5, 0, 0, 0, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0, 0, 0,
            2, 0, 4, 0, 1, 0, 0, 0,                         // inbound
            0, 0, 0, 0, 52, 0, 0, 0,
        ];
        assert_eq!(out, golden);
        out.clear();
        packet(&mut out, (0, Direction::Sent), Nanos(1), 7, &[0xBB; 4]);
        #[rustfmt::skip]
        let golden: &[u8] = &[
            6, 0, 0, 0, 60, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 0xBB, 0xBB, 0xBB, 0xBB,
            2, 0, 4, 0, 2, 0, 0, 0,                         // outbound
            4, 0, 8, 0, 7, 0, 0, 0, 0, 0, 0, 0,             // seven are missing before it
            0, 0, 0, 0, 60, 0, 0, 0,
        ];
        assert_eq!(out, golden);
        assert_eq!(out.len(), 4 - 3 + PACKET_BYTES_MORE);
        out.clear();
        statistics(&mut out, 2, Nanos(9), 5, 3);
        #[rustfmt::skip]
        let golden: &[u8] = &[
            5, 0, 0, 0, 52, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0,
            4, 0, 8, 0, 5, 0, 0, 0, 0, 0, 0, 0,
            5, 0, 8, 0, 3, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 52, 0, 0, 0,
        ];
        assert_eq!(out, golden);
        assert_eq!(out.len(), STATISTICS_BYTES);
    }

    #[test]
    fn made_up_headers_are_good_ones() {
        let parser = af_xdp::packet::Parser { verify_udp_checksum: true, ..Default::default() };
        let from = "10.0.0.1:5000".parse().unwrap();
        for to in ["10.0.0.2:9001", "239.192.0.1:9101"] {
            let to = to.parse().unwrap();
            for length in [0, 1, 18, 64, 1_472] {
                let payload: Vec<u8> = (0..length).map(|i| i as u8).collect();
                let mut frame = vec![0xEE; 3];
                made_up(&mut frame, from, to, &payload);
                let datagram = parser.parse(&frame).expect("a good datagram");
                assert_eq!((datagram.source, datagram.destination), (from, to));
                assert_eq!(datagram.payload, payload);
                assert_eq!(frame.len(), (42 + length).max(60));
            }
        }
    }
}
