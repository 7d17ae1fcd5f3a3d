//! Classic pcap files (not pcapng): UDP datagrams over IPv4, read and written.
//!
//! Source: the file format of libpcap (pcap-savefile(5)) and its link types.

use anyhow::{Context, Result, bail};
use std::net::{Ipv4Addr, SocketAddrV4};

/// One UDP datagram of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Number of the frame in the file, from 1, as tshark counts.
    pub frame: u64,
    /// Source.
    pub from: SocketAddrV4,
    /// Destination.
    pub to: SocketAddrV4,
    /// UDP payload.
    pub payload: Vec<u8>,
}

/// Link type "raw IP".
const LINK_RAW: u32 = 101;

/// Reads all UDP datagrams of a file; frames of anything else are passed over, and so are IP
/// fragments and frames that were captured short.
pub fn read(bytes: &[u8]) -> Result<Vec<Datagram>> {
    let magic: [u8; 4] = *bytes.first_chunk().context("no pcap head")?;
    let little = match magic {
        [0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1] => true,
        [0xa1, 0xb2, 0xc3, 0xd4] | [0xa1, 0xb2, 0x3c, 0x4d] => false,
        [0x0a, 0x0d, 0x0d, 0x0a] => bail!("this is pcapng; capture with -F pcap"),
        _ => bail!("no pcap magic number"),
    };
    let u32_at = |at: usize| -> Result<u32> {
        let bytes = bytes.get(at..at + 4).context("cut short")?.try_into()?;
        Ok(if little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    };
    let link = u32_at(20)? & 0x0FFF_FFFF;
    let mut datagrams = Vec::new();
    let mut at = 24;
    let mut frame = 0;
    while at < bytes.len() {
        frame += 1;
        let captured = usize::try_from(u32_at(at + 8)?)?;
        // The last frame of a capture that was killed may be cut.
        let Some(packet) = bytes.get(at + 16..at + 16 + captured) else { break };
        at += 16 + captured;
        if let Some((from, to, payload)) = ip_of(link, packet)?.and_then(udp_of) {
            datagrams.push(Datagram { frame, from, to, payload: payload.to_vec() });
        }
    }
    Ok(datagrams)
}

/// The IPv4 packet in a frame.
fn ip_of(link: u32, frame: &[u8]) -> Result<Option<&[u8]>> {
    const IPV4: [u8; 2] = [0x08, 0x00];
    let behind = |type_at: usize, head: usize| {
        (frame.get(type_at..type_at + 2) == Some(&IPV4)).then(|| frame.get(head..)).flatten()
    };
    Ok(match link {
        0 => frame.get(4..),
        1 => behind(12, 14),
        LINK_RAW => Some(frame),
        113 => behind(14, 16),
        276 => behind(0, 20),
        other => bail!("link type {other} is not known here"),
    })
}

fn udp_of(ip: &[u8]) -> Option<(SocketAddrV4, SocketAddrV4, &[u8])> {
    let head = usize::from(ip.first()? & 0x0F) * 4;
    let total = usize::from(u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]));
    let fragment = u16::from_be_bytes([*ip.get(6)?, *ip.get(7)?]) & 0x3FFF != 0;
    if ip[0] >> 4 != 4 || *ip.get(9)? != 17 || fragment || head < 20 {
        return None;
    }
    let address = |at: usize| Some(Ipv4Addr::from(*ip.get(at..at + 4)?.first_chunk::<4>()?));
    let (from, to) = (address(12)?, address(16)?);
    let udp = ip.get(head..total)?;
    let word = |at: usize| Some(u16::from_be_bytes([*udp.get(at)?, *udp.get(at + 1)?]));
    let payload = udp.get(8..usize::from(word(4)?))?;
    Some((SocketAddrV4::new(from, word(0)?), SocketAddrV4::new(to, word(2)?), payload))
}

/// Writes datagrams as raw IPv4 packets (checksums zero: not given).
pub fn write(datagrams: &[Datagram]) -> Vec<u8> {
    let mut out = Vec::new();
    for word in [0xa1b2_c3d4u32, 0x0002_0004, 0, 0, 65_535, LINK_RAW] {
        out.extend(word.to_be_bytes());
    }
    for (i, datagram) in datagrams.iter().enumerate() {
        let udp = u16::try_from(8 + datagram.payload.len()).expect("a datagram");
        let total = 20 + udp;
        let time = u32::try_from(i).expect("few datagrams");
        for word in [1_772_460_000, time, u32::from(total), u32::from(total)] {
            out.extend(word.to_be_bytes());
        }
        out.extend([0x45, 0]);
        out.extend(total.to_be_bytes());
        out.extend([0, 0, 0x40, 0, 1, 17, 0, 0]);
        out.extend(datagram.from.ip().octets());
        out.extend(datagram.to.ip().octets());
        out.extend(datagram.from.port().to_be_bytes());
        out.extend(datagram.to.port().to_be_bytes());
        out.extend(udp.to_be_bytes());
        out.extend([0, 0]);
        out.extend(&datagram.payload);
    }
    out
}
