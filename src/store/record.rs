//! A record as it lies in a segment: 32-byte header, payload, zeros up to the next multiple of 32.

use crate::types::{Nanos, Seq};

/// Bytes of a record's header.
pub const HEADER_BYTES: usize = 32;
/// Records start at multiples of this.
pub const RECORD_ALIGN: usize = 32;
/// Kind of the record that fills the rest of a segment; never seen by readers.
pub const KIND_PAD: u16 = 0xFFFF;

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
