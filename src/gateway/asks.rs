//! Asks: what ingress asks egress to send, and egress the replayer, over rings of their own.
//!
//! Small fixed messages. Losing one (ring full) costs a repeat by the client, never state.

use crate::ring::{Consumer, Producer};
use crate::types::*;

/// One ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ask {
    /// K to the bound client (session.md 11).
    Applied(SessionSlot),
    /// The A of the live login again (session.md 5).
    Accepted(SessionSlot),
    /// Reports again (session.md 15).
    Replay(ReplayAsk),
}

/// Reports wanted by the client bound under `generation`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ReplayAsk {
    /// Session.
    pub session: SessionSlot,
    /// Login generation: another one by then, and nothing is sent.
    pub generation: u32,
    /// First report.
    pub from: u64,
    /// How many at most.
    pub count: u16,
    /// Bytes of datagrams that may be sent.
    pub bytes_max: u32,
}

const APPLIED: u16 = 1;
const ACCEPTED: u16 = 2;
const REPLAY: u16 = 3;
const BYTES: usize = 20;

/// Pushes `ask`; false when the ring is full.
#[inline]
pub(super) fn push(ring: &mut Producer, ask: Ask) -> bool {
    let (kind, session, rest) = match ask {
        Ask::Applied(session) => (APPLIED, session, None),
        Ask::Accepted(session) => (ACCEPTED, session, None),
        Ask::Replay(replay) => (REPLAY, replay.session, Some(replay)),
    };
    ring.try_push(kind, BYTES, |out: &mut [u8]| {
        out[..2].copy_from_slice(&session.0.to_le_bytes());
        if let Some(replay) = rest {
            out[2..4].copy_from_slice(&replay.count.to_le_bytes());
            out[4..8].copy_from_slice(&replay.generation.to_le_bytes());
            out[8..16].copy_from_slice(&replay.from.to_le_bytes());
            out[16..20].copy_from_slice(&replay.bytes_max.to_le_bytes());
        }
    })
    .is_ok()
}

/// Takes the next ask; `None` when there is none.
#[inline]
pub(super) fn pop(ring: &mut Consumer) -> Option<Ask> {
    ring.pop(|kind, bytes| {
        let bytes: &[u8; BYTES] = bytes.try_into().expect("both ends are in this module");
        let session = SessionSlot(u16::from_le_bytes([bytes[0], bytes[1]]));
        match kind {
            APPLIED => Ask::Applied(session),
            ACCEPTED => Ask::Accepted(session),
            _ => Ask::Replay(ReplayAsk {
                session,
                count: u16::from_le_bytes([bytes[2], bytes[3]]),
                generation: u32::from_le_bytes(bytes[4..8].try_into().expect("4 bytes")),
                from: u64::from_le_bytes(bytes[8..16].try_into().expect("8 bytes")),
                bytes_max: u32::from_le_bytes(bytes[16..20].try_into().expect("4 bytes")),
            }),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::ring;

    #[test]
    fn asks_round_trip() {
        let (mut producer, mut consumer) = ring(4);
        let asks = [
            Ask::Applied(SessionSlot(7)),
            Ask::Accepted(SessionSlot(u16::MAX)),
            Ask::Replay(ReplayAsk {
                session: SessionSlot(3),
                generation: u32::MAX,
                from: 1 << 60,
                count: 0xFFFE,
                bytes_max: 90_000,
            }),
        ];
        for ask in asks {
            assert!(push(&mut producer, ask));
        }
        for ask in asks {
            assert_eq!(pop(&mut consumer), Some(ask));
        }
        assert_eq!(pop(&mut consumer), None);
    }
}
