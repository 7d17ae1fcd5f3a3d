//! Where a feed number stands in the event log: the position of every 64th message.
//!
//! Consumes feed numbers with positions in order; produces the position from which to read on.
//! 8 bytes per 64 messages: 12.5 MB for 100 million. Grows by chunks, so no growth copies the
//! whole; only the repair thread allocates. Must not know events or packets.

/// Messages between two noted positions: at most 63 messages (and the events between them that say
/// nothing on the feed) are read past, some 5 us.
pub const STRIDE: u64 = 64;

const CHUNK: usize = 8_192;

/// The index.
#[derive(Default)]
pub struct FeedIndex {
    chunks: Vec<Vec<u64>>,
    last: u64,
}

impl FeedIndex {
    /// Last message noted, 0 = none.
    #[inline]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Message `feed` stands at `position`. Called for every message, in order, from 1.
    #[inline]
    pub fn push(&mut self, feed: u64, position: u64) {
        assert_eq!(feed, self.last + 1, "feed numbers leave no gap");
        self.last = feed;
        if !(feed - 1).is_multiple_of(STRIDE) {
            return;
        }
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK => chunk.push(position),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(position);
                self.chunks.push(chunk);
            }
        }
    }

    /// Messages 1 to `last` at once: `noted` has the positions of 1, 65, 129 and so on. False, and
    /// nothing noted, when it has not as many as that.
    pub fn restore(&mut self, last: u64, noted: &[u64]) -> bool {
        let fits = noted.len() as u64 == last.div_ceil(STRIDE) && self.last == 0;
        if fits {
            self.chunks = noted.chunks(CHUNK).map(chunk_of).collect();
            self.last = last;
        }
        fits
    }

    /// Number and position of the last noted message at or below `feed`; `None` for 0 and for what
    /// was not seen yet. O(1).
    #[inline]
    pub fn at_or_below(&self, feed: u64) -> Option<(u64, u64)> {
        if feed == 0 || feed > self.last {
            return None;
        }
        let entry = (feed - 1) / STRIDE;
        let chunk = self.chunks.get((entry / CHUNK as u64) as usize)?;
        Some((entry * STRIDE + 1, *chunk.get((entry % CHUNK as u64) as usize)?))
    }
}

/// A chunk that will not be copied when it grows.
fn chunk_of(noted: &[u64]) -> Vec<u64> {
    let mut chunk = Vec::with_capacity(CHUNK);
    chunk.extend_from_slice(noted);
    chunk
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_message() {
        let mut index = FeedIndex::default();
        let last = STRIDE * CHUNK as u64 * 2 + 5;
        for feed in 1..=last {
            index.push(feed, feed * 100);
        }
        for feed in [1, 2, 64, 65, 66, 129, STRIDE * CHUNK as u64 + 1, last] {
            let (noted, position) = index.at_or_below(feed).expect("was seen");
            assert!(noted <= feed && feed - noted < STRIDE);
            assert_eq!(position, noted * 100);
        }
        assert_eq!(index.at_or_below(0), None);
        assert_eq!(index.at_or_below(last + 1), None);
        assert_eq!(index.at_or_below(u64::MAX), None);
        // The same from noted positions, and on from there.
        for last in [1, STRIDE, STRIDE * CHUNK as u64, STRIDE * CHUNK as u64 + 1, last] {
            let noted: Vec<u64> = (1..=last).step_by(STRIDE as usize).map(|f| f * 100).collect();
            let mut restored = FeedIndex::default();
            assert!(!restored.restore(last + STRIDE, &noted));
            assert!(restored.restore(last, &noted));
            for feed in last + 1..=last + 200 {
                restored.push(feed, feed * 100);
            }
            for feed in [1, last.div_ceil(2), last, last + 1, last + 200] {
                let (found, position) = restored.at_or_below(feed).expect("was noted");
                assert!(found <= feed && feed - found < STRIDE && position == found * 100);
            }
        }
    }
}
