//! The reorder buffer: messages that came before their turn, by sequence number, bounded.
//!
//! Consumes messages above the next one to deliver; produces them again once their turn comes.
//! Memory is taken in chunks only while something is missing and is kept for the next time; the
//! most it can take is fixed. Must not know sockets, packets or what the messages say.

use std::collections::VecDeque;

/// Longest message that is kept: the longest ITCH 5.0 message has 50 bytes. A longer one is not
/// kept and comes again with repair, when it is its turn.
pub const KEPT_BYTES_MAX: usize = 62;

const CHUNK_SLOTS: u64 = 1024;
const ABSENT: u8 = u8::MAX;
const END_OF_PACKET: u8 = 1;

#[derive(Clone, Copy)]
struct Slot {
    len: u8,
    flags: u8,
    bytes: [u8; KEPT_BYTES_MAX],
}

const _: () = assert!(size_of::<Slot>() == 64, "one cache line per kept message");

const EMPTY: Slot = Slot { len: ABSENT, flags: 0, bytes: [0; KEPT_BYTES_MAX] };

struct Chunk {
    slots: Vec<Slot>,
    kept: u32,
}

/// What [`Window::store`] did with a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stored {
    /// It is kept now.
    Kept,
    /// It was there already.
    Duplicate,
    /// It is too far ahead, or too long: it must be asked for later.
    Refused,
}

/// Messages above `next`, at most `messages_max` ahead of it.
pub struct Window {
    /// Number of the chunk in front: sequences `front * CHUNK_SLOTS ..`.
    front: u64,
    chunks: VecDeque<Option<Chunk>>,
    spare: Vec<Chunk>,
    chunks_max: usize,
    kept: u64,
}

impl Window {
    /// A window over about `messages_max` numbers (rounded up to whole chunks of 1,024, at least
    /// two), 64 bytes each when full. Allocates nothing yet but the table of chunks.
    pub fn new(messages_max: u64) -> Window {
        let chunks_max = messages_max.div_ceil(CHUNK_SLOTS).clamp(2, 1 << 20) as usize;
        Window { front: 0, chunks: VecDeque::new(), spare: Vec::new(), chunks_max, kept: 0 }
    }

    /// First number that is too far ahead when `next` is the next to deliver.
    pub fn limit(&self, next: u64) -> u64 {
        (next / CHUNK_SLOTS).saturating_add(self.chunks_max as u64).saturating_mul(CHUNK_SLOTS)
    }

    #[cfg(test)]
    /// Messages kept.
    pub fn kept(&self) -> u64 {
        self.kept
    }

    /// Forgets everything (another session).
    pub fn clear(&mut self) {
        while let Some(chunk) = self.chunks.pop_front() {
            self.recycle(chunk);
        }
        self.front = 0;
        self.kept = 0;
    }

    /// Keeps a message; `next` is the next number to deliver and at most `sequence`.
    /// O(1); may allocate a chunk.
    pub fn store(&mut self, next: u64, sequence: u64, message: &[u8], end: bool) -> Stored {
        let keepable = sequence < self.limit(next) && message.len() <= KEPT_BYTES_MAX;
        if sequence < next || !keepable {
            return Stored::Refused;
        }
        self.advance(next);
        // Below chunks_max, so it fits a usize.
        let index = (sequence / CHUNK_SLOTS - self.front) as usize;
        while self.chunks.len() <= index {
            self.chunks.push_back(None);
        }
        let spare = &mut self.spare;
        let chunk = self.chunks[index].get_or_insert_with(|| {
            spare
                .pop()
                .unwrap_or_else(|| Chunk { slots: vec![EMPTY; CHUNK_SLOTS as usize], kept: 0 })
        });
        let slot = &mut chunk.slots[(sequence % CHUNK_SLOTS) as usize];
        if slot.len != ABSENT {
            return Stored::Duplicate;
        }
        slot.len = message.len() as u8;
        slot.flags = if end { END_OF_PACKET } else { 0 };
        slot.bytes[..message.len()].copy_from_slice(message);
        chunk.kept += 1;
        self.kept += 1;
        Stored::Kept
    }

    /// Takes message `next` out of the window when it is there: the bytes and whether it was the
    /// last of its packet. O(1).
    pub fn take(&mut self, next: u64) -> Option<(&[u8], bool)> {
        if self.kept == 0 {
            return None;
        }
        self.advance(next);
        let index = usize::try_from((next / CHUNK_SLOTS).checked_sub(self.front)?).ok()?;
        let chunk = self.chunks.get_mut(index)?.as_mut()?;
        let slot = &mut chunk.slots[(next % CHUNK_SLOTS) as usize];
        if slot.len == ABSENT {
            return None;
        }
        let len = slot.len as usize;
        slot.len = ABSENT;
        chunk.kept -= 1;
        self.kept -= 1;
        Some((&slot.bytes[..len], slot.flags & END_OF_PACKET != 0))
    }

    /// Lets go of the chunks that lie wholly below `next`.
    fn advance(&mut self, next: u64) {
        let front = next / CHUNK_SLOTS;
        while self.front < front {
            match self.chunks.pop_front() {
                Some(chunk) => {
                    self.front += 1;
                    self.recycle(chunk);
                }
                None => self.front = front,
            }
        }
    }

    fn recycle(&mut self, chunk: Option<Chunk>) {
        let Some(mut chunk) = chunk else { return };
        if chunk.kept > 0 {
            self.kept = self.kept.saturating_sub(u64::from(chunk.kept));
            chunk.slots.fill(EMPTY);
            chunk.kept = 0;
        }
        if self.spare.len() < self.chunks_max {
            self.spare.push(chunk);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_and_gives_back_in_any_order() {
        let mut window = Window::new(4096);
        for sequence in (2..=3000u64).rev() {
            let stored = window.store(1, sequence, &sequence.to_be_bytes(), sequence % 7 == 0);
            assert_eq!(stored, Stored::Kept);
        }
        assert_eq!(window.store(1, 17, b"again", false), Stored::Duplicate);
        assert!(window.take(1).is_none());
        for sequence in 2..=3000u64 {
            let (bytes, end) = window.take(sequence).expect("kept");
            assert_eq!(bytes, sequence.to_be_bytes());
            assert_eq!(end, sequence % 7 == 0);
        }
        assert_eq!(window.kept(), 0);
        assert!(window.take(3001).is_none());
    }

    #[test]
    fn refuses_far_and_long_messages() {
        let mut window = Window::new(2048);
        let limit = window.limit(1);
        assert_eq!(window.store(1, limit, b"x", false), Stored::Refused);
        assert_eq!(window.store(1, u64::MAX, b"x", false), Stored::Refused);
        assert_eq!(window.store(1, limit - 1, b"x", false), Stored::Kept);
        assert_eq!(window.store(1, 5, &[0; KEPT_BYTES_MAX + 1], false), Stored::Refused);
        assert_eq!(window.store(9, 5, b"old", false), Stored::Refused);
        assert!(window.chunks.len() <= 2);
    }

    #[test]
    fn skipping_ahead_forgets_what_was_below() {
        let mut window = Window::new(4096);
        window.store(1, 5, b"five", false);
        window.store(1, 2050, b"far", true);
        assert_eq!(window.take(2050), Some((&b"far"[..], true)));
        assert_eq!(window.kept(), 0);
        // A recycled chunk shows nothing of its former content.
        window.store(2051, 4096 + 100, b"n", false);
        assert!(window.take(2051).is_none());
        window.clear();
        assert_eq!(window.kept(), 0);
        // Numbers start again.
        assert_eq!(window.store(1, 2, b"two", false), Stored::Kept);
        assert_eq!(window.take(2), Some((&b"two"[..], false)));
    }
}
