//! Reports in words, for people: one line each.
//!
//! Consumes decoded reports; produces text. Cold: nothing here belongs on an order path.

use std::fmt;

use crate::types::*;
use crate::wire::ouch::Outbound;

/// Shows a report as one line, such as `accepted: order 7 buys 100 ALPH at 10.05`.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a>(pub &'a Outbound);

/// Shows a price or an amount of cash with its decimals, such as `10.05`.
#[derive(Clone, Copy, Debug)]
pub struct Decimal(pub u64);

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 10_000, self.0 % 10_000);
        if part.is_multiple_of(100) {
            write!(f, "{whole}.{:02}", part / 100)
        } else {
            write!(f, "{whole}.{part:04}")
        }
    }
}

/// A limit price, or the word for market.
struct Limit(Price);

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Price::MARKET => f.write_str("market"),
            Price(price) => Decimal(price as u64).fmt(f),
        }
    }
}

fn verb(side: Side) -> &'static str {
    match side {
        Side::Buy => "buys",
        Side::Sell => "sells",
    }
}

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Outbound::SystemEvent(m) if m.code == b'S' => f.write_str("the day begins"),
            Outbound::SystemEvent(m) if m.code == b'E' => f.write_str("the day is over"),
            Outbound::SystemEvent(m) => write!(f, "system event {:?}", m.code as char),
            Outbound::Accepted(m) => {
                write!(
                    f,
                    "accepted: order {} {} {} {} at {}",
                    m.urn.0,
                    verb(m.side),
                    m.quantity.0,
                    m.symbol,
                    Limit(m.price)
                )?;
                match m.tif {
                    b'3' => f.write_str(", immediate or cancel"),
                    _ => write!(f, ", exchange's reference {}", m.order_ref.0),
                }
            }
            Outbound::Replaced(m) => write!(
                f,
                "replaced: order {} takes the place of {} and {} {} {} at {}",
                m.urn.0,
                m.old_urn.0,
                verb(m.side),
                m.quantity.0,
                m.symbol,
                Limit(m.price)
            ),
            Outbound::Canceled(m) => write!(
                f,
                "canceled: order {} loses {} shares: {}",
                m.urn.0,
                m.decrement.0,
                cancel_text(m.reason)
            ),
            Outbound::Executed(m) => write!(
                f,
                "executed: order {} trades {} at {}, match {}{}",
                m.urn.0,
                m.quantity.0,
                Limit(m.price),
                m.match_number.0,
                if m.liquidity == b'A' { " (it was resting)" } else { "" }
            ),
            Outbound::Rejected(m) => {
                let why = reject_text(m.reason);
                write!(f, "rejected: order {}: {:#06X}, {why}", m.urn.0, m.reason)
            }
            Outbound::CancelRefused(m) => {
                write!(f, "cancel refused: order {} stays: the venue is halted", m.urn.0)
            }
            Outbound::QueryResponse(m) => write!(f, "next reference: {}", m.next_urn),
            Outbound::NotApplied(m) if m.count == 1 => {
                write!(f, "not applied: message {} was lost or not understood", m.from)
            }
            Outbound::NotApplied(m) => write!(
                f,
                "not applied: messages {} to {} were lost",
                m.from,
                m.from.saturating_add(m.count as u64).saturating_sub(1)
            ),
        }
    }
}

/// Why an order lost open shares.
pub fn cancel_text(reason: u8) -> &'static str {
    match reason {
        b'U' => "as asked for",
        b'I' => "nothing more to trade with at once",
        b'K' => "nothing more within the market order's protection price",
        b'Z' => "by the exchange (session ended, or replace above the rate)",
        b'E' => "the day is over",
        _ => "for a reason this program does not know",
    }
}

const REASONS: [(RejectReason, &str); 19] = [
    (RejectReason::DestinationClosed, "the market is closed, or entry is closed just now"),
    (RejectReason::Display, "display must be Y or N"),
    (RejectReason::Halted, "the symbol or the venue is halted"),
    (RejectReason::Side, "side must be B or S"),
    (RejectReason::ProcessingError, "a table of the exchange is full; try later"),
    (RejectReason::FirmNotAuthorised, "the account is unknown or not this firm's"),
    (RejectReason::Other, "the message is not one that is offered here"),
    (RejectReason::Quantity, "quantity must be 1 to 999,999 and a multiple of the lot"),
    (RejectReason::ReplaceNotAllowed, "not replaceable now: market closed or symbol halted"),
    (RejectReason::Symbol, "unknown symbol"),
    (RejectReason::Price, "price is zero, off the tick, or market without immediate"),
    (RejectReason::SharesThreshold, "more shares than the account may order at once"),
    (RejectReason::MaxNotional, "more money than the account may order at once"),
    (RejectReason::AggregateExposure, "not enough free cash or shares on the account"),
    (RejectReason::CancelsOnly, "the venue takes cancels only just now"),
    (RejectReason::OrderType, "this order type is not offered"),
    (RejectReason::VolumeLimit, "the account's shares for today are used up"),
    (RejectReason::FatFinger, "price is outside the symbol's band"),
    (RejectReason::PortRate, "too many messages per second; slow down"),
];

/// Why an order was refused, and what mends it. Source: `ouch.md`, reject reasons.
pub fn reject_text(reason: u16) -> &'static str {
    REASONS
        .iter()
        .find(|(known, _)| *known as u16 == reason)
        .map_or("for a reason this program does not know", |(_, text)| text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ouch;

    #[test]
    fn a_report_is_one_plain_line() {
        let report = Outbound::Executed(ouch::Executed {
            timestamp: 0,
            urn: Urn(7),
            quantity: Quantity(40),
            price: Price(10_0500),
            liquidity: b'R',
            match_number: MatchNumber(3),
        });
        assert_eq!(Words(&report).to_string(), "executed: order 7 trades 40 at 10.05, match 3");
        let report = Outbound::Rejected(ouch::Rejected {
            timestamp: 0,
            urn: Urn(8),
            reason: RejectReason::Symbol as u16,
            cl_ord_id: ClOrdId::BLANK,
        });
        assert_eq!(Words(&report).to_string(), "rejected: order 8: 0x0017, unknown symbol");
        assert_eq!(Decimal(12_3456).to_string(), "12.3456");
    }

    #[test]
    fn the_client_without_the_library_has_the_same_words() {
        let client = include_str!("../../examples/client.py");
        for (reason, words) in REASONS {
            let line = format!("    0x{:04X}: {words:?},\n", reason as u16);
            assert!(client.contains(&line), "{line}");
        }
        for reason in *b"UIKZE" {
            let line =
                format!("    {:?}: {:?},\n", char::from(reason).to_string(), cancel_text(reason));
            assert!(client.contains(&line), "{line}");
        }
    }
}
