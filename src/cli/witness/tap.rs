//! A port that looks at every numbered block that arrives: one number must never have two contents.
//!
//! Wraps any [`Port`]; changes nothing. What libraries drop as a repetition is compared here, so
//! that a replayed report or a repaired message that differs from its first copy is noticed.

use rialto::net::Port;
use rialto::types::SessionName;
use rialto::wire::mold::{self, Packet};
use rialto::wire::session::PACKET_TAG_BYTES;
use std::cell::RefCell;
use std::net::SocketAddrV4;
use std::os::fd::RawFd;
use std::rc::Rc;

/// Numbers further ahead of the first one than this are not looked at: damaged or hostile.
const NUMBERS_MAX: u64 = 1 << 28;

/// Checksums of the blocks of one stream, whichever way they came. The first one heard, until told.
#[derive(Default)]
pub struct Copies {
    name: Option<SessionName>,
    /// Number of the first entry.
    first: u64,
    /// Each datagram with numbers ends with a packet MAC, which is none of its blocks.
    mac: bool,
    /// CRC-32C per number, 0 = not seen (a checksum of 0 counts as 1).
    seen: Vec<u32>,
    /// Copies beyond the first of a number.
    pub repeated: u64,
    /// Numbers that came with two contents, to be taken out by the owner.
    pub conflicts: Vec<u64>,
}

/// Shared by the ports of one stream.
pub type SharedCopies = Rc<RefCell<Copies>>;

fn checksum(block: &[u8]) -> u32 {
    crc32c::crc32c(block).max(1)
}

impl Copies {
    /// The stream of this name is followed from now on; another one than before numbers anew.
    pub fn follow(&mut self, name: SessionName) {
        if self.name != Some(name) {
            let Copies { repeated, mac, .. } = *self;
            *self = Copies { name: Some(name), repeated, mac, ..Copies::default() };
        }
    }

    /// Whether datagrams end with a packet MAC; its owner checks it.
    pub fn with_mac(&mut self, mac: bool) {
        self.mac = mac;
    }

    fn on_datagram(&mut self, bytes: &[u8]) {
        let tag = if self.mac { PACKET_TAG_BYTES } else { 0 };
        let Some(bytes) = bytes.get(..bytes.len().saturating_sub(tag)) else { return };
        let Ok((header, Packet::Messages(blocks))) = mold::parse(bytes) else { return };
        if header.sequence == 0 || *self.name.get_or_insert(header.session) != header.session {
            return;
        }
        for (number, block) in (header.sequence..).zip(blocks) {
            self.take(number, block);
        }
    }

    fn take(&mut self, number: u64, block: &[u8]) {
        if self.seen.is_empty() {
            self.first = number;
        }
        if number < self.first {
            // A stream joined in its middle and then asked for its beginning.
            let before = (self.first - number) as usize;
            if before as u64 > NUMBERS_MAX {
                return;
            }
            self.seen.splice(0..0, std::iter::repeat_n(0, before));
            self.first = number;
        }
        let index = number - self.first;
        if index >= NUMBERS_MAX {
            return;
        }
        let index = index as usize;
        if index >= self.seen.len() {
            self.seen.resize(index + 1, 0);
        }
        let sum = checksum(block);
        match self.seen[index] {
            0 => self.seen[index] = sum,
            old => {
                self.repeated += 1;
                if old != sum {
                    self.conflicts.push(number);
                }
            }
        }
    }

    /// True when a block of this number was seen with these bytes.
    pub fn holds(&self, number: u64, block: &[u8]) -> bool {
        let index = number.checked_sub(self.first).and_then(|i| usize::try_from(i).ok());
        index.and_then(|i| self.seen.get(i)).is_some_and(|&sum| sum == checksum(block))
    }
}

/// See the module's head.
pub struct TapPort<P> {
    inner: P,
    copies: SharedCopies,
}

impl<P: Port> TapPort<P> {
    pub fn new(inner: P, copies: SharedCopies) -> TapPort<P> {
        TapPort { inner, copies }
    }
}

impl<P: Port> Port for TapPort<P> {
    fn receive(&mut self, mut on_datagram: impl FnMut(&[u8], SocketAddrV4)) -> usize {
        let TapPort { inner, copies } = self;
        inner.receive(|bytes, from| {
            copies.borrow_mut().on_datagram(bytes);
            on_datagram(bytes, from);
        })
    }

    fn send(&mut self, to: SocketAddrV4, fill: impl FnOnce(&mut [u8]) -> usize) {
        self.inner.send(to, fill);
    }

    fn flush(&mut self) {
        self.inner.flush();
    }

    fn local(&self) -> SocketAddrV4 {
        self.inner.local()
    }

    fn poll_fd(&self) -> Option<RawFd> {
        self.inner.poll_fd()
    }

    fn dropped(&self) -> u64 {
        self.inner.dropped()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rialto::wire::mold::PacketBuilder;

    fn packet(name: SessionName, sequence: u64, blocks: &[&[u8]]) -> Vec<u8> {
        let mut bytes = [0; 1_472];
        let mut packet = PacketBuilder::new(&mut bytes[..], name, sequence);
        blocks.iter().for_each(|block| assert!(packet.push_bytes(block)));
        packet.packet().to_vec()
    }

    #[test]
    fn a_copy_that_differs_is_noticed_whichever_way_it_comes() {
        let name = SessionName::new("ALFA01A001").unwrap();
        let other = SessionName::new("ALFA01B001").unwrap();
        let mut copies = Copies::default();
        copies.follow(name);
        copies.on_datagram(&packet(name, 5, &[b"five", b"six"]));
        copies.on_datagram(&packet(name, 6, &[b"six", b"seven"]));
        copies.on_datagram(&packet(name, 4, &[b"four"]));
        assert_eq!((copies.repeated, copies.conflicts.len()), (1, 0));
        assert!(copies.holds(4, b"four") && copies.holds(7, b"seven"));
        assert!(!copies.holds(7, b"other") && !copies.holds(8, b"eight") && !copies.holds(3, b""));
        copies.on_datagram(&packet(other, 5, &[b"another stream"]));
        assert!(copies.conflicts.is_empty());
        copies.on_datagram(&packet(name, 5, &[b"FIVE"]));
        assert_eq!(copies.conflicts, [5]);
    }

    #[test]
    fn a_packet_mac_is_no_part_of_what_is_compared() {
        let name = SessionName::new("ALFA01A001").unwrap();
        let mut copies = Copies::default();
        copies.with_mac(true);
        copies.follow(name);
        let datagram = packet(name, 1, &[b"one"]);
        copies.on_datagram(&[&datagram[..], &[7; 8]].concat());
        copies.on_datagram(&[&datagram[..], &[9; 8]].concat());
        copies.on_datagram(&[1; 7]);
        assert!(copies.holds(1, b"one") && copies.conflicts.is_empty());
        assert_eq!(copies.repeated, 1);
    }
}
