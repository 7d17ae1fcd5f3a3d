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
        | EventBody::QueryResponse(_)
        | EventBody::CancelRefused(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::event::*;
    use crate::types::*;

    fn said(body: impl Into<EventBody>) -> Option<String> {
        let head = EventHead {
            command: Seq(0x12345),
            session: NO_SESSION,
            zero: [0; 2],
            index: 0,
            report: 0,
            feed: 1,
            applied: 0,
            previous: 0,
        };
        let event = Event { head, body: body.into() };
        let message = message(&event, Nanos(1_000_000_000_777), Nanos(1_000_000_000_000))?;
        let mut bytes = [0; 64];
        let len = message.encode(&mut bytes);
        Some(bytes[..len].iter().map(|b| format!("{b:02x}")).collect())
    }

    fn executed(liquidity: u8) -> Executed {
        Executed {
            order_ref: OrderRef(0x0102030405060708),
            match_number: MatchNumber(0x99),
            urn: Urn(5),
            quantity: Quantity(0x64),
            price: Price(100),
            leaves: Quantity(0),
            locate: Locate(0x0A0B),
            account: AccountSlot(0),
            side: Side::Buy,
            liquidity,
            zero: [0; 2],
        }
    }

    fn canceled(leaves: u32, was_resting: u8) -> Canceled {
        Canceled {
            order_ref: OrderRef(7),
            urn: Urn(5),
            decrement: Quantity(3),
            leaves: Quantity(leaves),
            locate: Locate(1),
            account: AccountSlot(0),
            side: Side::Buy,
            reason: b'U',
            was_resting,
            zero: 0,
        }
    }

    fn replaced(on_book: u8) -> Replaced {
        Replaced {
            old_ref: OrderRef(7),
            order_ref: OrderRef(8),
            old_urn: Urn(1),
            urn: Urn(2),
            quantity: Quantity(9),
            price: Price(0x0A),
            locate: Locate(1),
            account: AccountSlot(0),
            symbol: Alpha(*b"AAPL    "),
            cl_ord_id: ClOrdId::BLANK,
            side: Side::Sell,
            tif: b'0',
            display: b'Y',
            capacity: b'A',
            iso: b'N',
            cross: b'N',
            state: b'L',
            on_book,
            zero: [0; 2],
        }
    }

    fn accepted(on_book: u8) -> Accepted {
        Accepted {
            order_ref: OrderRef(7),
            urn: Urn(1),
            quantity: Quantity(9),
            price: Price(0x0A),
            locate: Locate(1),
            account: AccountSlot(0),
            symbol: Alpha(*b"AAPL    "),
            cl_ord_id: ClOrdId::BLANK,
            side: Side::Sell,
            tif: b'0',
            display: b'Y',
            capacity: b'A',
            iso: b'N',
            cross: b'N',
            state: b'L',
            on_book,
            flags: 0,
            zero: 0,
            account_name: AccountName::BLANK,
            min_quantity: Quantity(0),
        }
    }

    /// Bytes by hand from ITCH 5.0: letter, locate, tracking 0x2345, 777 ns, body.
    #[test]
    fn every_event_says_what_the_table_says() {
        let bytes = |letter: &str, locate: &str, body: &str| {
            Some(format!("{letter}{locate}2345000000000309{body}"))
        };
        let symbol = "4141504c20202020";
        let system = System { code: b'Q', zero: [0; 7] };
        assert_eq!(said(system), bytes("53", "0000", "51"));
        let aapl = Alpha(*b"AAPL    ");
        let directory = Directory { locate: Locate(1), zero: [0; 2], lot: 100, symbol: aapl };
        let rest = "204e0000006459435a20504e4e204e000000004e";
        assert_eq!(said(directory), bytes("52", "0001", &format!("{symbol}{rest}")));
        let halt = TradingAction {
            locate: Locate(1),
            state: b'H',
            zero: 0,
            reason: Alpha(*b"T1  "),
            symbol: aapl,
        };
        assert_eq!(said(halt), bytes("48", "0001", &format!("{symbol}482054312020")));
        let add = format!("00000000000000075300000009{symbol}0000000a");
        assert_eq!(said(accepted(1)), bytes("41", "0001", &add));
        assert_eq!(said(accepted(0)), None);
        let rested = Rested {
            order_ref: OrderRef(7),
            price: Price(0x0A),
            quantity: Quantity(9),
            symbol: aapl,
            locate: Locate(1),
            side: Side::Sell,
            zero: 0,
        };
        assert_eq!(said(rested), bytes("41", "0001", &add));
        let trade = "0102030405060708000000640000000000000099";
        assert_eq!(said(executed(b'A')), bytes("45", "0a0b", trade));
        assert_eq!(said(executed(b'R')), None);
        let cancel = "000000000000000700000003";
        assert_eq!(said(canceled(1, 1)), bytes("58", "0001", cancel));
        assert_eq!(said(canceled(0, 1)), bytes("44", "0001", "0000000000000007"));
        assert_eq!(said(canceled(0, 0)), None);
        let replace = "00000000000000070000000000000008000000090000000a";
        assert_eq!(said(replaced(1)), bytes("55", "0001", replace));
        assert_eq!(said(replaced(0)), bytes("44", "0001", "0000000000000007"));
        assert_eq!(said(SessionMark { code: b'S', zero: [0; 7] }), None);
        assert_eq!(said(Applied { next_report: 1 }), None);
        assert_eq!(said(QueryResponse { next_urn: 1 }), None);
        assert_eq!(said(NotApplied { from: 1, count: 1 }), None);
    }
}
