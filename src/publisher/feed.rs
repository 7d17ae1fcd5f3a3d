//! Event -> ITCH message: what the feed says of what happened.
//!
//! Consumes one event with its record's time; produces one ITCH message or nothing. A pure function
//! of the event log, so publisher and repair say the same bytes under the same number, today and
//! after a failover. Must not know packets, sockets or clocks.

use crate::exchange::event::{Event, EventBody};
use crate::types::{Locate, Nanos};
use crate::wire::itch::{self, Message, Prefix};

/// Liquidity flag of the resting side: only that side is told on the feed.
const ADDED: u8 = b'A';

/// The message of an event that has a feed number; `None` for an event that says nothing on the
/// feed. `time` is the record's, `midnight` that of the trading date (Genesis). The table stands at
/// the head of `exchange::event`.
#[inline]
pub fn message(event: &Event, time: Nanos, midnight: Nanos) -> Option<Message> {
    let prefix = |locate: Locate| Prefix {
        locate,
        // Low 16 bits: readers tell one matching event from the next by it.
        tracking: event.head.command.0 as u16,
        timestamp: time.since(midnight),
    };
    Some(match &event.body {
        EventBody::System(e) => {
            Message::System(itch::System { prefix: prefix(Locate(0)), code: e.code })
        }
        EventBody::Directory(e) => {
            Message::Directory(itch::Directory::common_stock(prefix(e.locate), e.symbol, e.lot))
        }
        EventBody::TradingAction(e) => Message::TradingAction(itch::TradingAction {
            prefix: prefix(e.locate),
            symbol: e.symbol,
            state: e.state,
            reason: e.reason,
        }),
        EventBody::Accepted(e) if e.on_book == 1 => Message::Add(itch::Add {
            prefix: prefix(e.locate),
            order_ref: e.order_ref,
            side: e.side,
            quantity: e.quantity,
            symbol: e.symbol,
            price: e.price,
        }),
        EventBody::Executed(e) if e.liquidity == ADDED => Message::Executed(itch::Executed {
            prefix: prefix(e.locate),
            order_ref: e.order_ref,
            quantity: e.quantity,
            match_number: e.match_number,
        }),
        EventBody::Rested(e) => Message::Add(itch::Add {
            prefix: prefix(e.locate),
            order_ref: e.order_ref,
            side: e.side,
            quantity: e.quantity,
            symbol: e.symbol,
            price: e.price,
        }),
        EventBody::Canceled(e) if e.was_resting == 1 => {
            let prefix = prefix(e.locate);
            if e.leaves.0 > 0 {
                Message::Canceled(itch::Canceled {
                    prefix,
                    order_ref: e.order_ref,
                    quantity: e.decrement,
                })
            } else {
                Message::Deleted(itch::Deleted { prefix, order_ref: e.order_ref })
            }
        }
        EventBody::Replaced(e) if e.on_book == 1 => Message::Replaced(itch::Replaced {
            prefix: prefix(e.locate),
            old_ref: e.old_ref,
            order_ref: e.order_ref,
            quantity: e.quantity,
            price: e.price,
        }),
        EventBody::Replaced(e) => {
            Message::Deleted(itch::Deleted { prefix: prefix(e.locate), order_ref: e.old_ref })
        }
        EventBody::Accepted(_)
        | EventBody::Executed(_)
        | EventBody::Canceled(_)
        | EventBody::SessionMark(_)
        | EventBody::LoggedIn(_)
        | EventBody::SessionEnded(_)
        | EventBody::Applied(_)
        | EventBody::Rejected(_)
        | EventBody::NotApplied(_)
        | EventBody::QueryResponse(_) => return None,
    })
}
