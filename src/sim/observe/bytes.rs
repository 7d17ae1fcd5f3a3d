//! The wire as an outsider reads it: MoldUDP64 packets, OUCH reports and ITCH messages written from
//! the spec pages, field by field at their offsets.
//!
//! Consumes datagrams and events of the log; produces blocks and the bytes that must stand in them.
//! Shares no code with `wire`, egress or publisher: what these do wrong must show here.

use crate::exchange::event::{Event, EventBody};
use crate::types::*;

/// Bytes of a packet's head.
const HEAD: usize = 20;

/// A packet's head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// Name of the stream, or a token.
    pub session: [u8; 10],
    /// Number of the first block, or of the next one.
    pub sequence: u64,
    /// Blocks; 0 heartbeat, 0xFFFF end.
    pub count: u16,
}

/// Head and blocks; `None` when the datagram is no packet. A request has a count and no blocks.
pub fn packet(datagram: &[u8]) -> Option<(Head, Vec<&[u8]>)> {
    if datagram.len() < HEAD || datagram.len() > 1_400 {
        return None;
    }
    let head = Head {
        session: datagram[..10].try_into().ok()?,
        sequence: u64::from_be_bytes(datagram[10..18].try_into().ok()?),
        count: u16::from_be_bytes(datagram[18..20].try_into().ok()?),
    };
    let mut blocks = Vec::new();
    let mut rest = &datagram[HEAD..];
    while !rest.is_empty() {
        let len = u16::from_be_bytes(rest.get(..2)?.try_into().ok()?) as usize;
        blocks.push(rest.get(2..2 + len)?);
        rest = &rest[2 + len..];
    }
    let whole = blocks.is_empty() || blocks.len() == head.count as usize && head.count != 0xFFFF;
    whole.then_some((head, blocks))
}

/// Writes fields one behind the other.
#[derive(Default)]
pub struct Bytes(pub Vec<u8>);

impl Bytes {
    fn letter(letter: u8) -> Bytes {
        Bytes(vec![letter])
    }
    fn u8(mut self, value: u8) -> Bytes {
        self.0.push(value);
        self
    }
    fn u16(mut self, value: u16) -> Bytes {
        self.0.extend(value.to_be_bytes());
        self
    }
    fn u32(mut self, value: u32) -> Bytes {
        self.0.extend(value.to_be_bytes());
        self
    }
    fn u48(mut self, value: u64) -> Bytes {
        self.0.extend(&value.to_be_bytes()[2..]);
        self
    }
    fn u64(mut self, value: u64) -> Bytes {
        self.0.extend(value.to_be_bytes());
        self
    }
    fn text<const N: usize>(mut self, value: Alpha<N>) -> Bytes {
        self.0.extend(value.0);
        self
    }
}

/// The report that an event is to its session (ouch.md); `None` when it is none. `since` = ns since
/// midnight.
pub fn report(event: &Event, since: u64) -> Option<Vec<u8>> {
    let start = |letter| Bytes::letter(letter).u64(since);
    let bytes = match &event.body {
        EventBody::SessionMark(m) => start(b'S').u8(m.code),
        EventBody::Accepted(m) => {
            let mut tags = Bytes::default();
            if m.flags & 1 != 0 {
                tags = tags.u8(5).u8(2).text(m.account_name);
            }
            if m.flags & 2 != 0 {
                tags = tags.u8(5).u8(3).u32(m.min_quantity.0);
            }
            let mut out = start(b'A')
                .u32(m.urn.0)
                .u8(m.side as u8)
                .u32(m.quantity.0)
                .text(m.symbol)
                .u64(m.price.0 as u64)
                .u8(m.tif)
                .u8(m.display)
                .u64(m.order_ref.0)
                .u8(m.capacity)
                .u8(m.iso)
                .u8(m.cross)
                .u8(b'L')
                .text(m.cl_ord_id)
                .u16(tags.0.len() as u16);
            out.0.extend(tags.0);
            out
        }
        EventBody::Replaced(m) => start(b'U')
            .u32(m.old_urn.0)
            .u32(m.urn.0)
            .u8(m.side as u8)
            .u32(m.quantity.0)
            .text(m.symbol)
            .u64(m.price.0 as u64)
            .u8(m.tif)
            .u8(m.display)
            .u64(m.order_ref.0)
            .u8(m.capacity)
            .u8(m.iso)
            .u8(m.cross)
            .u8(b'L')
            .text(m.cl_ord_id)
            .u16(0),
        EventBody::Canceled(m) => start(b'C').u32(m.urn.0).u32(m.decrement.0).u8(m.reason),
        EventBody::Executed(m) => start(b'E')
            .u32(m.urn.0)
            .u32(m.quantity.0)
            .u64(m.price.0 as u64)
            .u8(m.liquidity)
            .u64(m.match_number.0)
            .u16(0),
        EventBody::Rejected(m) => start(b'J').u32(m.urn.0).u16(m.reason).text(m.cl_ord_id),
        EventBody::QueryResponse(m) => start(b'Q').u32(m.next_urn),
        EventBody::CancelRefused(m) => start(b'I').u32(m.urn.0),
        EventBody::NotApplied(m) => start(b'N').u64(m.from).u32(m.count),
        EventBody::System(_)
        | EventBody::Directory(_)
        | EventBody::TradingAction(_)
        | EventBody::LoggedIn(_)
        | EventBody::SessionEnded(_)
        | EventBody::Applied(_)
        | EventBody::Rested(_) => return None,
    };
    Some(bytes.0)
}

/// What an event says on the feed (itch.md); `None` when it says nothing. `since` as above.
pub fn message(event: &Event, since: u64) -> Option<Vec<u8>> {
    let tracking = (event.head.command.0 & 0xFFFF) as u16;
    let start = |letter, locate: Locate| {
        Bytes::letter(letter).u16(locate.0).u16(tracking).u48(since & 0xFFFF_FFFF_FFFF)
    };
    let bytes = match &event.body {
        EventBody::System(m) => start(b'S', Locate(0)).u8(m.code),
        EventBody::Directory(m) => {
            let mut out = start(b'R', m.locate).text(m.symbol).u8(b' ').u8(b'N').u32(m.lot);
            out.0.extend(b"YCZ PNN N");
            out.u32(0).u8(b'N')
        }
        EventBody::TradingAction(m) => {
            start(b'H', m.locate).text(m.symbol).u8(m.state).u8(b' ').text(m.reason)
        }
        EventBody::Accepted(m) if m.on_book == 1 => start(b'A', m.locate)
            .u64(m.order_ref.0)
            .u8(m.side as u8)
            .u32(m.quantity.0)
            .text(m.symbol)
            .u32(m.price.0),
        EventBody::Rested(m) => start(b'A', m.locate)
            .u64(m.order_ref.0)
            .u8(m.side as u8)
            .u32(m.quantity.0)
            .text(m.symbol)
            .u32(m.price.0),
        EventBody::Executed(m) if m.liquidity == b'A' => {
            start(b'E', m.locate).u64(m.order_ref.0).u32(m.quantity.0).u64(m.match_number.0)
        }
        EventBody::Canceled(m) if m.was_resting == 1 && m.leaves.0 > 0 => {
            start(b'X', m.locate).u64(m.order_ref.0).u32(m.decrement.0)
        }
        EventBody::Canceled(m) if m.was_resting == 1 => start(b'D', m.locate).u64(m.order_ref.0),
        EventBody::Replaced(m) if m.on_book == 1 => start(b'U', m.locate)
            .u64(m.old_ref.0)
            .u64(m.order_ref.0)
            .u32(m.quantity.0)
            .u32(m.price.0),
        EventBody::Replaced(m) => start(b'D', m.locate).u64(m.old_ref.0),
        _ => return None,
    };
    Some(bytes.0)
}
