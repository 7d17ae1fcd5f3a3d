//! The packet that is being filled: whole commands, at most 1,400 bytes.
//!
//! Consumes messages with the command that caused them; produces MoldUDP64 packets such that no
//! command is split over two packets unless it is larger than one. When a message does not fit,
//! what was there before its command leaves, and the command's own messages move to the front of
//! the next packet: no second buffer, at most 1,380 bytes moved. Must not know sockets or ITCH.

use crate::planted::{self, Bug};
use crate::types::{Seq, SessionName};
use crate::wire::mold::{HEADER_BYTES, Header, LENGTH_BYTES, PAYLOAD_BYTES_MAX};

/// A packet under construction.
pub struct FeedPacket {
    buffer: [u8; PAYLOAD_BYTES_MAX],
    session: SessionName,
    /// Number of the first message.
    first: u64,
    count: u16,
    len: usize,
    /// Command whose messages are being added.
    command: Seq,
    /// Messages and bytes before that command's.
    before_count: u16,
    before_len: usize,
}

impl FeedPacket {
    /// Empty; the next message has number `next`.
    pub fn new(session: SessionName, next: u64) -> FeedPacket {
        FeedPacket {
            buffer: [0; PAYLOAD_BYTES_MAX],
            session,
            first: next,
            count: 0,
            len: HEADER_BYTES,
            command: Seq(0),
            before_count: 0,
            before_len: HEADER_BYTES,
        }
    }

    /// Number that the next message will have.
    #[inline]
    pub fn next(&self) -> u64 {
        self.first + u64::from(self.count)
    }

    /// Number of the first message in it, or of the next one when it is empty.
    #[inline]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// True without a message.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Starts over, empty, at number `next`.
    pub fn restart(&mut self, next: u64) {
        self.first = next;
        self.count = 0;
        self.len = HEADER_BYTES;
        self.before_count = 0;
        self.before_len = HEADER_BYTES;
    }

    /// Adds the next message, `len` bytes (at most 1,378) that `fill` writes. Calls `send` with
    /// whole packets that must leave first.
    #[inline]
    pub fn push(
        &mut self,
        command: Seq,
        len: usize,
        fill: impl FnOnce(&mut [u8]),
        mut send: impl FnMut(&[u8]),
    ) {
        let block = LENGTH_BYTES + len;
        assert!(HEADER_BYTES + block <= PAYLOAD_BYTES_MAX, "a message fits a packet");
        if command != self.command {
            self.command = command;
            self.before_count = self.count;
            self.before_len = self.len;
        }
        while self.len + block > PAYLOAD_BYTES_MAX {
            self.make_room(&mut send);
        }
        let start = self.len + LENGTH_BYTES;
        // Below 1,400 by the assertion.
        self.buffer[self.len..start].copy_from_slice(&(len as u16).to_be_bytes());
        fill(&mut self.buffer[start..start + len]);
        self.len = start + len;
        self.count += 1;
    }

    /// Sends what is there, if anything.
    #[inline]
    pub fn flush(&mut self, mut send: impl FnMut(&[u8])) {
        if self.count > 0 {
            self.send_part(self.count, self.len, &mut send);
            self.restart(self.next());
        }
    }

    /// A heartbeat or an end of session: the head alone with the next number.
    pub fn head_only(&self, count: u16) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        Header { session: self.session, sequence: self.next(), count }.write(&mut out);
        out
    }

    /// Sends the commands before the current one, or, when it fills the packet alone, all of it.
    fn make_room(&mut self, send: &mut impl FnMut(&[u8])) {
        if self.before_count == 0 {
            self.send_part(self.count, self.len, send);
            self.restart(self.next());
            return;
        }
        // The head overwrites nothing of the tail, which stays where it is until the send is done.
        self.send_part(self.before_count, self.before_len, send);
        self.buffer.copy_within(self.before_len..self.len, HEADER_BYTES);
        self.first += u64::from(self.before_count);
        self.count -= self.before_count;
        self.len = HEADER_BYTES + (self.len - self.before_len);
        self.before_count = 0;
        self.before_len = HEADER_BYTES;
    }

    fn send_part(&mut self, count: u16, len: usize, send: &mut impl FnMut(&[u8])) {
        Header { session: self.session, sequence: self.first, count }.write(&mut self.buffer);
        if planted::is(Bug::DropFullPacket) && self.len > len {
            return;
        }
        send(&self.buffer[..len]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Alpha;
    use crate::wire::mold;

    /// Packs commands of so many messages of 30 bytes each and returns the messages per packet, as
    /// command numbers.
    fn pack(commands: &[usize]) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        let mut next = 1;
        let mut packet = FeedPacket::new(Alpha(*b"RIALTOA007"), 1);
        let mut take = |bytes: &[u8]| {
            let (header, _) = mold::parse(bytes).expect("well-formed");
            assert!(bytes.len() <= PAYLOAD_BYTES_MAX);
            assert_eq!(header.sequence, next);
            next += u64::from(header.count);
            packets.push(mold::blocks(bytes).unwrap().map(|b| b[29]).collect());
        };
        for (index, &messages) in commands.iter().enumerate() {
            for _ in 0..messages {
                let number = index as u8;
                packet.push(Seq(index as u64 + 1), 30, |out| out.fill(number), &mut take);
            }
        }
        packet.flush(&mut take);
        assert!(packet.is_empty());
        assert_eq!(packet.next(), 1 + commands.iter().sum::<usize>() as u64);
        packets
    }

    #[test]
    fn commands_are_not_split() {
        // 43 messages of 32 bytes fit a packet.
        assert_eq!(pack(&[40, 3]).len(), 1);
        let packets = pack(&[40, 4, 38]);
        assert_eq!(packets.iter().map(Vec::len).collect::<Vec<_>>(), [40, 42]);
        let packets = pack(&[40, 4, 40]);
        assert_eq!(packets.iter().map(Vec::len).collect::<Vec<_>>(), [40, 4, 40]);
        for packets in [pack(&[7; 50]), pack(&[43, 1, 43, 42, 1, 2, 40, 3])] {
            let mut last = None;
            for packet in packets {
                assert_ne!(last, packet.first().copied(), "no command in two packets");
                last = packet.last().copied();
            }
        }
    }

    #[test]
    fn a_command_larger_than_a_packet_starts_its_own() {
        let packets = pack(&[5, 100, 5]);
        assert_eq!(packets.iter().map(Vec::len).collect::<Vec<_>>(), [5, 43, 43, 14 + 5]);
    }
}
