//! A record as it lies in a segment: 32-byte header, payload, zeros up to the next multiple of 32.
//!
//! Offsets and meaning: `store.md`, Record. Must not know segments, files or marks.

use super::Damage;
use crate::types::{Nanos, Seq};

/// Bytes of a record's header.
pub const HEADER_BYTES: usize = 32;
/// Records start at multiples of this, so that a header never straddles a cache line.
pub const RECORD_ALIGN: usize = 32;
/// Kind of the record that fills the rest of a segment; never seen by readers.
pub const KIND_PAD: u16 = 0xFFFF;
/// Longest record, header included: bounds what one append may waste at a segment's end.
pub const RECORD_BYTES_MAX: usize = 16 << 20;

/// Bytes that a record with `payload_len` bytes of payload takes in a segment.
#[inline]
pub const fn record_bytes(payload_len: usize) -> usize {
    (HEADER_BYTES + payload_len).next_multiple_of(RECORD_ALIGN)
}

/// A record read from a log; the payload lies in the mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// Number in its log, from 1.
    pub seq: Seq,
    /// Time stamped by the writer.
    pub time: Nanos,
    /// Term of the leader that wrote it.
    pub term: u32,
    /// What it is; the owner of the log knows.
    pub kind: u16,
    /// Free for the owner of the log.
    pub flags: u16,
    /// The bytes.
    pub payload: &'a [u8],
    /// Where it starts: segment index x segment_bytes + offset; never 0.
    pub position: u64,
}

/// Header of a published record, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    /// Bytes of header and payload; 0 while nothing is published.
    pub(super) len: u32,
    pub(super) checksum: u32,
    pub(super) seq: u64,
    pub(super) time: u64,
    pub(super) term: u32,
    pub(super) kind: u16,
    pub(super) flags: u16,
}

impl Header {
    pub(super) const LEN: usize = 0;
    pub(super) const CHECKSUM: usize = 4;
    pub(super) const SEQ: usize = 8;
    pub(super) const TIME: usize = 16;
    pub(super) const TERM: usize = 24;
    pub(super) const KIND: usize = 28;
    pub(super) const FLAGS: usize = 30;

    /// Bytes up to the next record.
    #[inline]
    pub(super) fn stride(&self) -> usize {
        (self.len as usize).next_multiple_of(RECORD_ALIGN)
    }

    /// Length check against the `room` bytes that are left in the segment.
    #[inline]
    pub(super) fn check_length(&self, room: usize) -> Result<(), Damage> {
        let len = self.len as usize;
        if len == 0 {
            return Err(Damage::Absent);
        }
        let fits = len >= HEADER_BYTES && len <= room;
        // A pad ends exactly where its segment does.
        if !fits || (self.kind == KIND_PAD && len != room) {
            return Err(Damage::Length);
        }
        Ok(())
    }

    /// Bytes that the checksum covers, from byte 8 on: a pad's zeros are not worth reading.
    #[inline]
    pub(super) fn checked_bytes(&self) -> usize {
        if self.kind == KIND_PAD {
            HEADER_BYTES - Header::SEQ
        } else {
            self.len as usize - Header::SEQ
        }
    }
}

const _: () = assert!(Header::FLAGS + 2 == HEADER_BYTES && HEADER_BYTES <= RECORD_ALIGN);

/// CRC32C. Records of up to 256 bytes go through the processor's instruction word by word: 5 to 18 ns
/// where the general routine, made for pages, takes 17 to 44.
#[inline]
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if bytes.len() <= 256 && std::arch::is_x86_feature_detected!("sse4.2") {
        // SAFETY: the processor has SSE 4.2, checked on the line above.
        return unsafe { checksum_short(bytes) };
    }
    crc32c::crc32c(bytes)
}

/// CRC32C word by word.
///
/// # Safety
/// The processor has SSE 4.2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2")]
unsafe fn checksum_short(bytes: &[u8]) -> u32 {
    use std::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u64};
    let (words, rest) = bytes.as_chunks::<8>();
    let mut crc = u64::from(u32::MAX);
    for word in words {
        crc = _mm_crc32_u64(crc, u64::from_le_bytes(*word));
    }
    let mut crc = crc as u32;
    for &byte in rest {
        crc = _mm_crc32_u8(crc, byte);
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_is_crc32c_at_every_length() {
        // Check value of CRC-32C, RFC 3720 appendix B.4.
        assert_eq!(checksum(b"123456789"), 0xE306_9283);
        let bytes: Vec<u8> = (0..600u32).map(|i| (i * 7 + 3) as u8).collect();
        for len in 0..bytes.len() {
            assert_eq!(checksum(&bytes[..len]), crc32c::crc32c(&bytes[..len]), "length {len}");
        }
    }

    #[test]
    fn strides() {
        assert_eq!(record_bytes(0), 32);
        assert_eq!(record_bytes(1), 64);
        assert_eq!(record_bytes(32), 64);
        assert_eq!(record_bytes(33), 96);
    }
}
