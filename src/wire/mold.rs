//! MoldUDP64 1.00: the 20-byte head and length-prefixed blocks of every datagram.
//!
//! Consumes and produces whole UDP payloads. Source: MoldUDP64 Protocol Specification 1.00; the
//! tables and our rules stand in `mold.md`. Must not know what the blocks say.

use crate::types::SessionName;
use zerocopy::big_endian::{U16, U64};

/// Bytes of the head of every packet.
pub const HEADER_BYTES: usize = HeaderBytes::SIZE;
/// Bytes of a block's length field.
pub const LENGTH_BYTES: usize = 2;
/// Message count of a heartbeat.
pub const HEARTBEAT: u16 = 0;
/// Message count of end of session (downstream) or logoff (upstream).
pub const END_OF_SESSION: u16 = 0xFFFF;
/// Longest UDP payload that the venue sends or takes, the packet MAC not counted: room for the
/// headers of IP, UDP and a tunnel in an Ethernet frame of 1,500. Nassau uses the same.
pub const PAYLOAD_BYTES_MAX: usize = 1400;
/// Longest block that fits a packet alone.
pub const BLOCK_BYTES_MAX: usize = PAYLOAD_BYTES_MAX - HEADER_BYTES - LENGTH_BYTES;

wire_bytes! {
    struct HeaderBytes: 20 {
        0 session: SessionName,
        10 sequence: U64,
        18 count: U16,
    }
}

/// Head of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Session of the stream.
    pub session: SessionName,
    /// Number of the first block; of the next one when there is none.
    pub sequence: u64,
    /// Blocks that follow, or [`HEARTBEAT`], or [`END_OF_SESSION`].
    pub count: u16,
}

impl Header {
    /// Reads the head of a datagram; `None` when it is shorter than [`HEADER_BYTES`].
    #[inline]
    pub fn read(datagram: &[u8]) -> Option<Header> {
        let (bytes, _) = HeaderBytes::get(datagram)?;
        Some(Header {
            session: bytes.session,
            sequence: bytes.sequence.get(),
            count: bytes.count.get(),
        })
    }

    /// Writes the head at the start of `out` and returns [`HEADER_BYTES`], which is also the whole
    /// length of a heartbeat, an end of session and a request. Panics when `out` is shorter.
    #[inline]
    pub fn write(&self, out: &mut [u8]) -> usize {
        HeaderBytes {
            session: self.session,
            sequence: self.sequence.into(),
            count: self.count.into(),
        }
        .put(out)
    }
}

/// Why a datagram is dropped whole; no number of it is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadPacket {
    /// Shorter than the head.
    Short,
    /// Longer than [`PAYLOAD_BYTES_MAX`].
    Long,
    /// The blocks do not fill the datagram exactly, or are not as many as the count.
    Blocks,
}

/// What a well-formed datagram is.
#[derive(Clone, Copy, Debug)]
pub enum Packet<'a> {
    /// Count 0: the head carries the next number.
    Heartbeat,
    /// Count 0xFFFF: end of session downstream, logoff upstream.
    EndOfSession,
    /// Head alone with another count: asks for that many blocks from that number on.
    Request,
    /// One block or more.
    Messages(Blocks<'a>),
}

/// Reads a whole datagram and checks it: at most 1,400 bytes, blocks fill it exactly and are as
/// many as the count. O(blocks).
#[inline]
pub fn parse(datagram: &[u8]) -> Result<(Header, Packet<'_>), BadPacket> {
    let header = Header::read(datagram).ok_or(BadPacket::Short)?;
    if datagram.len() > PAYLOAD_BYTES_MAX {
        return Err(BadPacket::Long);
    }
    let rest = datagram.get(HEADER_BYTES..).unwrap_or_default();
    let packet = match (header.count, rest.is_empty()) {
        (HEARTBEAT, true) => Packet::Heartbeat,
        (END_OF_SESSION, true) => Packet::EndOfSession,
        (HEARTBEAT | END_OF_SESSION, false) => return Err(BadPacket::Blocks),
        (_, true) => Packet::Request,
        (count, false) => Packet::Messages(Blocks::checked(rest, count)?),
    };
    Ok((header, packet))
}

/// The blocks of a datagram of the downstream or upstream: none for a heartbeat and an end of
/// session. A head alone that counts blocks (a request) is [`BadPacket::Blocks`] here.
#[inline]
pub fn blocks(datagram: &[u8]) -> Result<Blocks<'_>, BadPacket> {
    match parse(datagram)?.1 {
        Packet::Messages(blocks) => Ok(blocks),
        Packet::Heartbeat | Packet::EndOfSession => Ok(Blocks { rest: &[], left: 0 }),
        Packet::Request => Err(BadPacket::Blocks),
    }
}

/// Blocks of a checked datagram, in order; the n-th has number `header.sequence + n`.
#[derive(Clone, Copy, Debug)]
pub struct Blocks<'a> {
    rest: &'a [u8],
    left: u16,
}

impl<'a> Blocks<'a> {
    #[inline]
    fn checked(bytes: &'a [u8], count: u16) -> Result<Blocks<'a>, BadPacket> {
        let mut walk = bytes;
        for _ in 0..count {
            walk = split_block(walk).ok_or(BadPacket::Blocks)?.1;
        }
        if walk.is_empty() {
            Ok(Blocks { rest: bytes, left: count })
        } else {
            Err(BadPacket::Blocks)
        }
    }
}

/// The first block of `bytes` and what follows it; `None` when it does not fit.
#[inline]
fn split_block(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

impl<'a> Iterator for Blocks<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.left == 0 {
            return None;
        }
        let (block, rest) = split_block(self.rest)?;
        self.rest = rest;
        self.left -= 1;
        Some(block)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(self.left), Some(usize::from(self.left)))
    }
}

impl ExactSizeIterator for Blocks<'_> {}

/// Puts blocks into one packet, in place: over a borrowed slice (a port's buffer) or owning
/// `[u8; PAYLOAD_BYTES_MAX]` (a packet that stays open over several cycles).
#[derive(Debug)]
pub struct PacketBuilder<B> {
    buffer: B,
    session: SessionName,
    sequence: u64,
    count: u16,
    len: usize,
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> PacketBuilder<B> {
    /// Starts a packet whose first block will have number `sequence`. Panics when `buffer` holds
    /// no head.
    #[inline]
    pub fn new(buffer: B, session: SessionName, sequence: u64) -> PacketBuilder<B> {
        assert!(buffer.as_ref().len() >= HEADER_BYTES, "room for the head");
        PacketBuilder { buffer, session, sequence, count: 0, len: HEADER_BYTES }
    }

    /// Starts the next packet in the same buffer.
    #[inline]
    pub fn restart(&mut self, session: SessionName, sequence: u64) {
        self.session = session;
        self.sequence = sequence;
        self.count = 0;
        self.len = HEADER_BYTES;
    }

    /// True when a block of `len` bytes still fits.
    #[inline]
    pub fn fits(&self, len: usize) -> bool {
        let limit = self.buffer.as_ref().len().min(PAYLOAD_BYTES_MAX);
        self.count < END_OF_SESSION - 1 && self.len + LENGTH_BYTES + len <= limit
    }

    /// Appends a block of exactly `len` bytes that `fill` writes (it sees just these). False, and
    /// `fill` not called, when it does not fit.
    #[inline]
    pub fn push(&mut self, len: usize, fill: impl FnOnce(&mut [u8])) -> bool {
        if !self.fits(len) {
            return false;
        }
        let start = self.len + LENGTH_BYTES;
        let out = self.buffer.as_mut();
        // `fits` holds len below 1,400.
        out[self.len..start].copy_from_slice(&(len as u16).to_be_bytes());
        fill(&mut out[start..start + len]);
        self.len = start + len;
        self.count += 1;
        true
    }

    /// Appends a block that is there already.
    #[inline]
    pub fn push_bytes(&mut self, block: &[u8]) -> bool {
        self.push(block.len(), |out| out.copy_from_slice(block))
    }

    /// Blocks so far.
    #[inline]
    pub fn count(&self) -> u16 {
        self.count
    }

    /// True when no block was pushed.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Number of the first block.
    #[inline]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Number that the next block will have.
    #[inline]
    pub fn next_sequence(&self) -> u64 {
        self.sequence + u64::from(self.count)
    }

    /// Bytes so far.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Writes the head and returns the packet's length. Without a block it is a heartbeat. More
    /// blocks may follow, then `finish` again.
    #[inline]
    pub fn finish(&mut self) -> usize {
        let header = Header { session: self.session, sequence: self.sequence, count: self.count };
        header.write(self.buffer.as_mut());
        self.len
    }

    /// Writes the head and returns the packet's bytes.
    #[inline]
    pub fn packet(&mut self) -> &[u8] {
        let len = self.finish();
        &self.buffer.as_ref()[..len]
    }
}
