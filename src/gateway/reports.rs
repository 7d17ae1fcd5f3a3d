//! ReportMemory: the most recent reports of every session, encoded, for live sending and replay.
//!
//! One allocation at construction; a report overwrites the one `kept` numbers before it. Bytes only.

use crate::types::*;
use crate::wire::ouch::OUTBOUND_BYTES_MAX;

/// Length and bytes of one report, rounded up to 8.
const STRIDE: usize = (1 + OUTBOUND_BYTES_MAX).next_multiple_of(8);
const _: () = assert!(OUTBOUND_BYTES_MAX <= u8::MAX as usize);

/// See the module's head.
pub(super) struct ReportMemory {
    bytes: Box<[u8]>,
    kept: usize,
}

impl ReportMemory {
    /// Memory of `kept` reports (rounded up to a power of two) for each of `sessions`; touched here.
    pub(super) fn new(sessions: usize, kept: usize) -> ReportMemory {
        let kept = kept.next_power_of_two();
        let mut bytes = vec![0; sessions * kept * STRIDE].into_boxed_slice();
        // A fresh mapping is zero without being there: write to each page, so that no report pays.
        for page in bytes.chunks_mut(4096) {
            page[0] = std::hint::black_box(0);
        }
        ReportMemory { bytes, kept }
    }

    /// Reports kept per session.
    pub(super) fn kept(&self) -> u64 {
        self.kept as u64
    }

    #[inline]
    fn start(&self, slot: SessionSlot, number: u64) -> usize {
        (slot.0 as usize * self.kept + (number as usize & (self.kept - 1))) * STRIDE
    }

    /// Stores report `number`; `fill` writes it and returns its length.
    #[inline]
    pub(super) fn put(
        &mut self,
        slot: SessionSlot,
        number: u64,
        fill: impl FnOnce(&mut [u8]) -> usize,
    ) {
        let start = self.start(slot, number);
        let place = &mut self.bytes[start..start + STRIDE];
        let len = fill(&mut place[1..]);
        debug_assert!(len < STRIDE);
        place[0] = len as u8;
    }

    /// Report `number`, one of the last `kept` that were stored (the caller knows).
    #[inline]
    pub(super) fn get(&self, slot: SessionSlot, number: u64) -> &[u8] {
        let start = self.start(slot, number);
        let len = self.bytes[start] as usize;
        &self.bytes[start + 1..start + 1 + len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_reports_replace_earlier_ones() {
        let mut memory = ReportMemory::new(2, 4);
        for number in 1..=6u64 {
            memory.put(SessionSlot(1), number, |out| {
                out[..number as usize].fill(number as u8);
                number as usize
            });
        }
        for number in 3..=6u64 {
            assert_eq!(memory.get(SessionSlot(1), number), vec![number as u8; number as usize]);
        }
        assert_eq!(memory.get(SessionSlot(0), 3), b"");
    }
}
