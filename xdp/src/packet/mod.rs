//! Ethernet, IPv4 and UDP headers: [`Template`] writes them before a payload, [`Parser`] takes
//! apart what was received. No sockets here.
//!
//! Sources: RFC 791 (IPv4), 768 (UDP), 1071 (checksum), 6864 (identification), IEEE 802.1Q.

mod checksum;
mod parse;
mod template;

pub use parse::{Datagram, Parser, Refused};
pub use template::{Address, Template, UdpChecksum};

use crate::device::MacAddress;

/// Ethernet header without a tag, bytes.
pub const ETHERNET_HEADER_BYTES: usize = 14;
/// 802.1Q tag, bytes.
pub const VLAN_TAG_BYTES: usize = 4;
/// IPv4 header without options, bytes.
pub const IPV4_HEADER_BYTES: usize = 20;
/// UDP header, bytes.
pub const UDP_HEADER_BYTES: usize = 8;
/// Shortest Ethernet frame without its check sequence, bytes: shorter ones are padded.
pub const FRAME_BYTES_MIN: usize = 60;

const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_VLAN: [u8; 2] = [0x81, 0x00];
/// "Local experimental", IEEE 802.
const ETHERTYPE_EXPERIMENTAL: [u8; 2] = [0x88, 0xb5];

/// A frame that harms nobody, for [`crate::Tx::probe`]: from `own` address to itself, of the
/// ethertype for local experiments. A switch does not send it on, a peer ignores it.
pub fn probe(own: MacAddress) -> [u8; FRAME_BYTES_MIN] {
    let mut frame = [0; FRAME_BYTES_MIN];
    frame[..6].copy_from_slice(&own.0);
    frame[6..12].copy_from_slice(&own.0);
    frame[12..14].copy_from_slice(&ETHERTYPE_EXPERIMENTAL);
    frame
}

#[cfg(test)]
mod tests;
