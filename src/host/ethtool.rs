//! A network card's settings by ioctl SIOCETHTOOL. Structures are arrays of 32-bit words here: every
//! field of those used is one word, as linux/ethtool.h lays them out.

use super::netdev;
use super::surface::{NicItem, Unread};
use std::io;
use std::mem::size_of;
use std::os::fd::AsRawFd;

// Source: linux/sockios.h and linux/ethtool.h.
const SIOCETHTOOL: libc::c_ulong = 0x8946;
const GDRVINFO: u32 = 0x03;
const GCOALESCE: u32 = 0x0e;
const GRINGPARAM: u32 = 0x10;
const GPAUSEPARAM: u32 = 0x12;
const GSTRINGS: u32 = 0x1b;
const GRXCLSRLCNT: u32 = 0x2e;
const GRXCLSRULE: u32 = 0x2f;
const GRXCLSRLALL: u32 = 0x30;
const GSSET_INFO: u32 = 0x37;
const GFEATURES: u32 = 0x3a;
const SFEATURES: u32 = 0x3b;
const GCHANNELS: u32 = 0x3c;
const GTSINFO: u32 = 0x41;
const GEEE: u32 = 0x44;

// Words of struct ethtool_channels.
const CHANNELS_RX_MAX: usize = 1;
const COMBINED_MAX: usize = 4;
const CHANNELS_RX: usize = 5;
const COMBINED: usize = 8;

/// Words of a structure, its command's number, and which word a setting is. The command that sets is
/// the next number.
struct Place {
    command: u32,
    words: usize,
    word: usize,
}

fn place(item: NicItem) -> Option<Place> {
    let at = |command, words, word| Some(Place { command, words, word });
    match item {
        NicItem::RingRxMax => at(GRINGPARAM, 9, 1),
        NicItem::RingTxMax => at(GRINGPARAM, 9, 4),
        NicItem::RingRx => at(GRINGPARAM, 9, 5),
        NicItem::RingTx => at(GRINGPARAM, 9, 8),
        NicItem::RxUsecs => at(GCOALESCE, 23, 1),
        NicItem::TxUsecs => at(GCOALESCE, 23, 5),
        NicItem::AdaptiveRx => at(GCOALESCE, 23, 10),
        NicItem::AdaptiveTx => at(GCOALESCE, 23, 11),
        NicItem::PauseAuto => at(GPAUSEPARAM, 4, 1),
        NicItem::PauseRx => at(GPAUSEPARAM, 4, 2),
        NicItem::PauseTx => at(GPAUSEPARAM, 4, 3),
        NicItem::Eee => at(GEEE, 10, 5),
        _ => None,
    }
}

fn feature(item: NicItem) -> Option<&'static str> {
    match item {
        NicItem::Gro => Some("rx-gro"),
        NicItem::Lro => Some("rx-lro"),
        NicItem::UdpGroForwarding => Some("rx-udp-gro-forwarding"),
        NicItem::RxChecksum => Some("rx-checksum"),
        _ => None,
    }
}

pub(super) fn read(interface: &str, item: NicItem) -> Result<String, Unread> {
    let card = Card::open(interface)?;
    if let Some(place) = place(item) {
        return Ok(card.get(&place)?[place.word].to_string());
    }
    if let Some(name) = feature(item) {
        return Ok(u32::from(card.feature(name)?.active).to_string());
    }
    match item {
        // Some drivers pair their queues (combined), others count receive queues apart.
        NicItem::Channels => card.channels().map(|c| (c[CHANNELS_RX] + c[COMBINED]).to_string()),
        NicItem::ChannelsMax => {
            card.channels().map(|c| c[CHANNELS_RX_MAX].max(c[COMBINED_MAX]).to_string())
        }
        NicItem::Driver => {
            // 196 bytes: command, driver[32], version[32], ...
            let mut words = [0; 49];
            words[0] = GDRVINFO;
            card.call(&mut words)?;
            let bytes: Vec<u8> = words[1..9].iter().flat_map(|w| w.to_ne_bytes()).collect();
            Ok(c_text(&bytes))
        }
        NicItem::HardwareTimestamps => {
            const RX_HARDWARE: u32 = 1 << 2; // SOF_TIMESTAMPING_RX_HARDWARE, linux/net_tstamp.h
            Ok(u32::from(card.timestamps()?[1] & RX_HARDWARE != 0).to_string())
        }
        NicItem::PtpClock => Ok((card.timestamps()?[2] as i32).to_string()),
        NicItem::SteeringRules => card.steering(),
        NicItem::XdpFeatures => Ok(format!("{:#x}", netdev::xdp(interface)?.features)),
        NicItem::XdpZeroCopySegments => Ok(netdev::xdp(interface)?.zero_copy_segments.to_string()),
        _ => Err(Unread::Absent(format!("{} has no such value", item.text()))),
    }
}

pub(super) fn write(interface: &str, item: NicItem, value: &str) -> Result<(), Unread> {
    let value: u32 = value
        .parse()
        .map_err(|_| Unread::Refused(io::Error::other(format!("{value} is no number"))))?;
    let card = Card::open(interface)?;
    if let Some(place) = place(item) {
        let mut words = card.get(&place)?;
        words[place.word] = value;
        words[0] = place.command + 1;
        return card.call(&mut words);
    }
    if item == NicItem::Channels {
        let mut words = card.channels()?;
        let which = if words[COMBINED_MAX] > 0 { COMBINED } else { CHANNELS_RX };
        words[which] = value;
        words[0] = GCHANNELS + 1;
        return card.call(&mut words);
    }
    match feature(item) {
        Some(name) => card.set_feature(name, value != 0),
        None => Err(Unread::Absent(format!("{} cannot be set", item.text()))),
    }
}

struct Feature {
    index: usize,
    active: bool,
}

/// A card and the socket that its ioctls go through.
struct Card {
    name: [libc::c_char; libc::IFNAMSIZ],
    socket: std::net::UdpSocket,
}

impl Card {
    fn open(interface: &str) -> Result<Card, Unread> {
        let mut name = [0; libc::IFNAMSIZ];
        if interface.is_empty() || interface.len() >= libc::IFNAMSIZ {
            return Err(Unread::Absent(format!("{interface:?} is no interface name")));
        }
        for (to, from) in name.iter_mut().zip(interface.bytes()) {
            *to = from as libc::c_char;
        }
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").map_err(Unread::Refused)?;
        Ok(Card { name, socket })
    }

    /// One ethtool command; `words` is its structure, the command first, and takes the answer.
    fn call(&self, words: &mut [u32]) -> Result<(), Unread> {
        // SAFETY: zeroes are a valid value of this plain C structure.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        request.ifr_name = self.name;
        request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
        // SAFETY: the request and the words behind it live through the call; callers give each
        // command as many words as its structure has, with the counts in it that bound what the
        // kernel writes.
        let result = unsafe { libc::ioctl(self.socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
        if result >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        Err(match error.raw_os_error() {
            Some(libc::EOPNOTSUPP) => Unread::Absent("the driver does not have it".into()),
            Some(libc::ENODEV) => Unread::Absent("there is no such interface".into()),
            _ => Unread::Refused(error),
        })
    }

    fn get(&self, place: &Place) -> Result<Vec<u32>, Unread> {
        let mut words = vec![0; place.words];
        words[0] = place.command;
        self.call(&mut words)?;
        Ok(words)
    }

    fn channels(&self) -> Result<[u32; 9], Unread> {
        let mut words = [0; 9];
        words[0] = GCHANNELS;
        self.call(&mut words)?;
        Ok(words)
    }

    fn timestamps(&self) -> Result<[u32; 11], Unread> {
        let mut words = [0; 11];
        words[0] = GTSINFO;
        self.call(&mut words)?;
        Ok(words)
    }

    /// Where a feature stands in the kernel's list, and whether it is on.
    fn feature(&self, name: &str) -> Result<Feature, Unread> {
        const FEATURES: u32 = 4; // ETH_SS_FEATURES
        // cmd, reserved, mask (64 bits), then one count.
        let mut sizes = [GSSET_INFO, 0, 1 << FEATURES, 0, 0];
        self.call(&mut sizes)?;
        let count = sizes[4] as usize;
        let mut names = vec![0u32; 3 + count * 8];
        names[..3].copy_from_slice(&[GSTRINGS, FEATURES, sizes[4]]);
        self.call(&mut names)?;
        let found = names[3..].chunks(8).position(|words| {
            let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_ne_bytes()).collect();
            c_text(&bytes) == name
        });
        let Some(index) = found else {
            return Err(Unread::Absent(format!("this kernel has no feature {name}")));
        };
        let blocks = count.div_ceil(32);
        let mut words = vec![0u32; 2 + blocks * 4];
        words[..2].copy_from_slice(&[GFEATURES, blocks as u32]);
        self.call(&mut words)?;
        // Each block: available, requested, active, never_changed.
        let active = words[2 + index / 32 * 4 + 2] >> (index % 32) & 1 == 1;
        Ok(Feature { index, active })
    }

    fn set_feature(&self, name: &str, on: bool) -> Result<(), Unread> {
        let feature = self.feature(name)?;
        let blocks = feature.index / 32 + 1;
        let mut all = [GSSET_INFO, 0, 1 << 4, 0, 0];
        self.call(&mut all)?;
        let blocks = blocks.max((all[4] as usize).div_ceil(32));
        let mut words = vec![0u32; 2 + blocks * 2];
        words[..2].copy_from_slice(&[SFEATURES, blocks as u32]);
        // Each block: valid, requested.
        words[2 + feature.index / 32 * 2] = 1 << (feature.index % 32);
        words[3 + feature.index / 32 * 2] = u32::from(on) << (feature.index % 32);
        self.call(&mut words)
    }

    /// Steering rules for UDP over IPv4: destination port and queue of each.
    fn steering(&self) -> Result<String, Unread> {
        // struct ethtool_rxnfc: cmd, flow_type, data (64 bits), rule (168 bytes), count, places.
        // The rule: flow type, header (52 bytes: addresses, source and destination port, ...),
        // extension, two masks, the queue (64 bits), its place.
        const WORDS: usize = size_of::<[u32; 48]>() / 4;
        const FLOW: usize = 4;
        const PORTS: usize = FLOW + 1 + 2;
        const QUEUE: usize = (16 + 152) / 4;
        const PLACE: usize = QUEUE + 2;
        const COUNT: usize = (16 + 168) / 4;
        const UDP_V4: u32 = 2;
        let mut words = [0u32; WORDS];
        words[0] = GRXCLSRLCNT;
        self.call(&mut words)?;
        let count = words[COUNT].min(4_096) as usize;
        let mut all = vec![0u32; WORDS + count];
        all[0] = GRXCLSRLALL;
        all[COUNT] = count as u32;
        self.call(&mut all)?;
        let mut rules = Vec::new();
        for place in all.iter().skip(COUNT + 1).take(count) {
            let mut rule = [0u32; WORDS];
            rule[0] = GRXCLSRULE;
            rule[PLACE] = *place;
            self.call(&mut rule)?;
            let bytes = rule[PORTS].to_ne_bytes();
            if rule[FLOW] & 0xff == UDP_V4 {
                let port = u16::from_be_bytes([bytes[2], bytes[3]]);
                rules.push(format!("{port}:{}", rule[QUEUE]));
            }
        }
        Ok(rules.join(" "))
    }
}

fn c_text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
