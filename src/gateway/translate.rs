//! Translation: OUCH blocks into command bodies, events into OUCH reports.
//!
//! Pure functions; field by field, nothing is checked that the exchange checks.

use crate::exchange::command::{self, MessageBody, Unparsed, Verdict};
use crate::exchange::event::{Event, EventBody};
use crate::types::*;
use crate::wire::ouch::{self, Appendage, Inbound, Outbound};

/// What a block says, and whether it is well-formed (session.md 8, 10).
#[inline]
pub(super) fn body_of(block: &[u8]) -> (Verdict, MessageBody) {
    match ouch::decode_inbound(block) {
        Ok(Inbound::Enter(m)) => (Verdict::Ok, MessageBody::Enter(enter(&m))),
        Ok(Inbound::Replace(m)) => (
            Verdict::Ok,
            MessageBody::Replace(command::Replace {
                old_urn: m.old_urn,
                urn: m.urn,
                quantity: m.quantity,
                tif: m.tif,
                display: m.display,
                iso: m.iso,
                zero: 0,
                price: m.price,
                cl_ord_id: m.cl_ord_id,
                zero_tail: [0; 2],
            }),
        ),
        Ok(Inbound::Cancel(m)) => {
            (Verdict::Ok, MessageBody::Cancel(command::Cancel { urn: m.urn, quantity: m.quantity }))
        }
        Ok(Inbound::Query) => (Verdict::Ok, MessageBody::Query),
        Err(_) => {
            let fields = ouch::malformed_fields(block);
            let unparsed = Unparsed {
                letter: fields.letter,
                has_urn: fields.urn.is_some() as u8,
                urn: fields.urn.unwrap_or_default(),
                cl_ord_id: fields.cl_ord_id,
            };
            (Verdict::Malformed, MessageBody::Unparsed(unparsed))
        }
    }
}

#[inline]
fn enter(m: &ouch::Enter) -> command::Enter {
    let Appendage { account, min_quantity } = m.appendage;
    let flag = |present: bool, flag: u8| if present { flag } else { 0 };
    command::Enter {
        urn: m.urn,
        quantity: m.quantity,
        price: m.price,
        symbol: m.symbol,
        account: account.unwrap_or_default(),
        min_quantity: Quantity(min_quantity.unwrap_or(0)),
        cl_ord_id: m.cl_ord_id,
        side: m.side,
        tif: m.tif,
        display: m.display,
        capacity: m.capacity,
        iso: m.iso,
        cross: m.cross,
        flags: flag(account.is_some(), command::FLAG_ACCOUNT)
            | flag(min_quantity.is_some(), command::FLAG_MIN_QUANTITY),
        zero: [0; 3],
    }
}

/// The report that an event is to its session; `timestamp` in ns since midnight. `None` for events
/// that are no report (the table in `event.rs`).
#[inline]
pub fn report_of(event: &Event, timestamp: u64) -> Option<Outbound> {
    Some(match &event.body {
        EventBody::SessionMark(m) => {
            Outbound::SystemEvent(ouch::SystemEvent { timestamp, code: m.code })
        }
        EventBody::Accepted(m) => Outbound::Accepted(ouch::Accepted {
            timestamp,
            urn: m.urn,
            side: m.side,
            quantity: m.quantity,
            symbol: m.symbol,
            price: m.price,
            tif: m.tif,
            display: m.display,
            order_ref: m.order_ref,
            capacity: m.capacity,
            iso: m.iso,
            cross: m.cross,
            state: m.state,
            cl_ord_id: m.cl_ord_id,
            appendage: Appendage {
                account: (m.flags & command::FLAG_ACCOUNT != 0).then_some(m.account_name),
                min_quantity: (m.flags & command::FLAG_MIN_QUANTITY != 0)
                    .then_some(m.min_quantity.0),
            },
        }),
        EventBody::Executed(m) => Outbound::Executed(ouch::Executed {
            timestamp,
            urn: m.urn,
            quantity: m.quantity,
            price: m.price,
            liquidity: m.liquidity,
            match_number: m.match_number,
        }),
        EventBody::Canceled(m) => Outbound::Canceled(ouch::Canceled {
            timestamp,
            urn: m.urn,
            decrement: m.decrement,
            reason: m.reason,
        }),
        EventBody::Replaced(m) => Outbound::Replaced(ouch::Replaced {
            timestamp,
            old_urn: m.old_urn,
            urn: m.urn,
            side: m.side,
            quantity: m.quantity,
            symbol: m.symbol,
            price: m.price,
            tif: m.tif,
            display: m.display,
            order_ref: m.order_ref,
            capacity: m.capacity,
            iso: m.iso,
            cross: m.cross,
            state: m.state,
            cl_ord_id: m.cl_ord_id,
        }),
        EventBody::Rejected(m) => Outbound::Rejected(ouch::Rejected {
            timestamp,
            urn: m.urn,
            reason: m.reason,
            cl_ord_id: m.cl_ord_id,
        }),
        EventBody::NotApplied(m) => {
            Outbound::NotApplied(ouch::NotApplied { timestamp, from: m.from, count: m.count })
        }
        EventBody::CancelRefused(m) => {
            Outbound::CancelRefused(ouch::CancelRefused { timestamp, urn: m.urn })
        }
        EventBody::QueryResponse(m) => {
            Outbound::QueryResponse(ouch::QueryResponse { timestamp, next_urn: m.next_urn })
        }
        EventBody::System(_)
        | EventBody::Directory(_)
        | EventBody::TradingAction(_)
        | EventBody::LoggedIn(_)
        | EventBody::SessionEnded(_)
        | EventBody::Applied(_)
        | EventBody::Rested(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enter_keeps_every_field_and_notes_the_tags() {
        let sent = ouch::Enter {
            urn: Urn(7),
            side: b'B',
            quantity: Quantity(100),
            symbol: Symbol::new("AAPL").unwrap(),
            price: 0x1_0000_0001,
            tif: b'3',
            display: b'N',
            capacity: b'P',
            iso: b'Y',
            cross: b'O',
            cl_ord_id: ClOrdId::new("ID-1").unwrap(),
            appendage: Appendage { account: AccountName::new("ACC1"), min_quantity: Some(5) },
        };
        let mut block = [0; ouch::INBOUND_BYTES_MAX];
        let len = Inbound::Enter(sent).encode(&mut block);
        let (verdict, body) = body_of(&block[..len]);
        assert_eq!(verdict, Verdict::Ok);
        let MessageBody::Enter(got) = body else { panic!("{body:?}") };
        assert_eq!((got.urn, got.price, got.quantity), (Urn(7), 0x1_0000_0001, Quantity(100)));
        assert_eq!((got.side, got.tif, got.display), (b'B', b'3', b'N'));
        assert_eq!((got.capacity, got.iso, got.cross), (b'P', b'Y', b'O'));
        assert_eq!(got.flags, command::FLAG_ACCOUNT | command::FLAG_MIN_QUANTITY);
        assert_eq!((got.account.text().as_str(), got.min_quantity.0), ("ACC1", 5));
    }

    #[test]
    fn malformed_blocks_keep_what_can_be_read() {
        let cases: [(&[u8], u8, Option<u32>); 5] = [
            (b"", 0, None),
            (b"Z123", b'Z', None),
            (b"O\0\0\0", b'O', None),
            (b"O\0\0\0\x09", b'O', Some(9)),
            (b"U\0\0\0\x01\0\0\0\x02", b'U', Some(2)),
        ];
        for (block, letter, urn) in cases {
            let (verdict, body) = body_of(block);
            assert_eq!(verdict, Verdict::Malformed);
            let MessageBody::Unparsed(unparsed) = body else { panic!("{body:?}") };
            assert_eq!(unparsed.letter, letter, "{block:?}");
            assert_eq!((unparsed.has_urn == 1).then_some(unparsed.urn.0), urn, "{block:?}");
        }
    }
}
