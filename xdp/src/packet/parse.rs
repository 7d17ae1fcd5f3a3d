//! A received frame as a datagram, or the reason why it is none.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::checksum::{fold, pseudo_header, sum};
use super::{
    ETHERNET_HEADER_BYTES, ETHERTYPE_IPV4, ETHERTYPE_VLAN, IPV4_HEADER_BYTES, UDP_HEADER_BYTES,
    VLAN_TAG_BYTES,
};
use crate::device::MacAddress;

/// A well-formed UDP datagram over IPv4 and Ethernet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Datagram<'a> {
    /// Sender's Ethernet address, or its router's.
    pub source_mac: MacAddress,
    /// Ours, or a group's.
    pub destination_mac: MacAddress,
    /// Id of the 802.1Q tag, if there was one.
    pub vlan: Option<u16>,
    /// Sender. Unicast, not 0.0.0.0, not loopback.
    pub source: SocketAddrV4,
    /// Receiver. Whether that is us says [`crate::Filter::accepts`].
    pub destination: SocketAddrV4,
    /// Routers that it might still have passed.
    pub ttl: u8,
    /// What UDP carries; may be empty.
    pub payload: &'a [u8],
}

/// Why a frame is not taken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Refused {
    /// Shorter than its headers.
    Short,
    /// Not IPv4: another ethertype, or a second tag.
    NotIpv4,
    /// A tag with another VLAN's id.
    Vlan,
    /// Another version of IP, or options.
    IpHeader,
    /// Part of a fragmented datagram.
    Fragment,
    /// Not UDP.
    NotUdp,
    /// Lengths of IP, UDP and frame that do not agree.
    Length,
    /// Sum of the IPv4 header is wrong.
    IpChecksum,
    /// Sum of the UDP datagram is wrong (only when asked for).
    UdpChecksum,
    /// A sender to whom no answer can go: a group, broadcast, 0.0.0.0/8, loopback.
    Source,
}

impl Refused {
    /// Number of reasons; `reason as usize` is below it, for an array of counters.
    pub const COUNT: usize = Refused::Source as usize + 1;
}

/// What is expected of frames.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Parser {
    /// Id of the VLAN whose tagged frames are taken beside untagged ones.
    pub vlan: Option<u16>,
    /// Check the UDP checksum where the sender has given one, as the kernel does for its sockets:
    /// few NICs drop what is wrong, and none says so to a program. An unfinished one passes: over veth
    /// the sending kernel writes the sum of the pseudo header alone and leaves the rest to a NIC
    /// that does not exist. Off by default: it reads the whole payload.
    pub verify_udp_checksum: bool,
}

impl Parser {
    /// Takes a frame apart. `Ok` only when it is exactly one IPv4/UDP datagram, perhaps with
    /// padding behind it. Reads headers only (and the payload, when its checksum is verified);
    /// never panics.
    #[inline]
    pub fn parse<'a>(&self, frame: &'a [u8]) -> Result<Datagram<'a>, Refused> {
        let (ethernet, rest) =
            frame.split_first_chunk::<ETHERNET_HEADER_BYTES>().ok_or(Refused::Short)?;
        let mut ethertype = [ethernet[12], ethernet[13]];
        let (mut vlan, mut rest) = (None, rest);
        if ethertype == ETHERTYPE_VLAN && self.vlan.is_some() {
            let (tag, behind) = rest.split_first_chunk::<VLAN_TAG_BYTES>().ok_or(Refused::Short)?;
            vlan = Some(u16::from_be_bytes([tag[0], tag[1]]) & 0x0fff); // without priority
            if vlan != self.vlan {
                return Err(Refused::Vlan);
            }
            ethertype = [tag[2], tag[3]];
            rest = behind;
        }
        if ethertype != ETHERTYPE_IPV4 {
            return Err(Refused::NotIpv4);
        }
        let (ip, behind) = rest.split_first_chunk::<IPV4_HEADER_BYTES>().ok_or(Refused::Short)?;
        if ip[0] != 0x45 {
            return Err(Refused::IpHeader);
        }
        if u16::from_be_bytes([ip[6], ip[7]]) & 0x3fff != 0 {
            return Err(Refused::Fragment);
        }
        if ip[9] != 17 {
            return Err(Refused::NotUdp);
        }
        let (udp, behind) = behind.split_first_chunk::<UDP_HEADER_BYTES>().ok_or(Refused::Short)?;
        let total = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
        let udp_bytes = u16::from_be_bytes([udp[4], udp[5]]);
        let payload = usize::from(udp_bytes).checked_sub(UDP_HEADER_BYTES);
        let payload = payload.and_then(|bytes| behind.get(..bytes)).ok_or(Refused::Length)?;
        if total != IPV4_HEADER_BYTES + usize::from(udp_bytes) {
            return Err(Refused::Length);
        }
        if fold(sum(ip, 0)) != 0xffff {
            return Err(Refused::IpChecksum);
        }
        let source_mac = MacAddress([6, 7, 8, 9, 10, 11].map(|i| ethernet[i]));
        let source = Ipv4Addr::new(ip[12], ip[13], ip[14], ip[15]);
        if source_mac.is_multicast() || !may_send(source) {
            return Err(Refused::Source);
        }
        if self.verify_udp_checksum && [udp[6], udp[7]] != [0, 0] {
            let pseudo = pseudo_header(&ip[12..20], udp_bytes);
            let unfinished = fold(pseudo) == u16::from_be_bytes([udp[6], udp[7]]);
            if !unfinished && fold(sum(payload, sum(udp, pseudo))) != 0xffff {
                return Err(Refused::UdpChecksum);
            }
        }
        let destination = Ipv4Addr::new(ip[16], ip[17], ip[18], ip[19]);
        Ok(Datagram {
            source_mac,
            destination_mac: MacAddress([0, 1, 2, 3, 4, 5].map(|i| ethernet[i])),
            vlan,
            source: SocketAddrV4::new(source, u16::from_be_bytes([udp[0], udp[1]])),
            destination: SocketAddrV4::new(destination, u16::from_be_bytes([udp[2], udp[3]])),
            ttl: ip[8],
            payload,
        })
    }
}

/// Whether an address can be a sender's on a wire; the kernel drops the others as martians.
#[inline]
fn may_send(source: Ipv4Addr) -> bool {
    let [first, ..] = source.octets();
    first != 0 && first != 127 && first < 224
}
