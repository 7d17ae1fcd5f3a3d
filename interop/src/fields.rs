//! The common form in which decoders are compared: names and values as text, in wire order.

use rialto::types::Alpha;
use rialto::wire::itch::{Message, Prefix};

/// Names and values of one message, in the order of the wire.
pub type Fields = Vec<(&'static str, String)>;

/// A letter as text.
pub fn letter(byte: u8) -> String {
    char::from(byte).to_string()
}

/// A text field with its blanks.
pub fn text<const N: usize>(value: &Alpha<N>) -> String {
    value.0.iter().map(|&byte| char::from(byte)).collect()
}

/// Type letter and prefix of an ITCH message.
pub fn prefix(kind: char, locate: u16, tracking: u16, timestamp: u64) -> Fields {
    vec![
        ("type", kind.to_string()),
        ("locate", locate.to_string()),
        ("tracking", tracking.to_string()),
        ("timestamp", timestamp.to_string()),
    ]
}

/// An ITCH message as our own decoder reads it.
pub fn of_itch(message: &Message) -> Fields {
    let head = |kind, p: &Prefix| prefix(kind, p.locate.0, p.tracking, p.timestamp);
    match message {
        Message::System(m) => {
            let mut fields = head('S', &m.prefix);
            fields.push(("code", letter(m.code)));
            fields
        }
        Message::Directory(m) => {
            let mut fields = head('R', &m.prefix);
            fields.extend([
                ("symbol", text(&m.symbol)),
                ("market_category", letter(m.market_category)),
                ("financial_status", letter(m.financial_status)),
                ("round_lot", m.round_lot.to_string()),
                ("round_lots_only", letter(m.round_lots_only)),
                ("issue_class", letter(m.issue_class)),
                ("issue_sub_type", text(&m.issue_sub_type)),
                ("authenticity", letter(m.authenticity)),
                ("short_sale_threshold", letter(m.short_sale_threshold)),
                ("ipo", letter(m.ipo)),
                ("luld_tier", letter(m.luld_tier)),
                ("etp", letter(m.etp)),
                ("etp_leverage", m.etp_leverage.to_string()),
                ("inverse", letter(m.inverse)),
            ]);
            fields
        }
        Message::TradingAction(m) => {
            let mut fields = head('H', &m.prefix);
            fields.extend([
                ("symbol", text(&m.symbol)),
                ("state", letter(m.state)),
                ("reason", text(&m.reason)),
            ]);
            fields
        }
        Message::Add(m) => {
            let mut fields = head('A', &m.prefix);
            fields.extend([
                ("order_ref", m.order_ref.0.to_string()),
                ("side", letter(m.side.letter())),
                ("quantity", m.quantity.0.to_string()),
                ("symbol", text(&m.symbol)),
                ("price", m.price.0.to_string()),
            ]);
            fields
        }
        Message::Executed(m) => {
            let mut fields = head('E', &m.prefix);
            fields.extend([
                ("order_ref", m.order_ref.0.to_string()),
                ("quantity", m.quantity.0.to_string()),
                ("match_number", m.match_number.0.to_string()),
            ]);
            fields
        }
        Message::ExecutedAt(m) => {
            let mut fields = head('C', &m.prefix);
            fields.extend([
                ("order_ref", m.order_ref.0.to_string()),
                ("quantity", m.quantity.0.to_string()),
                ("match_number", m.match_number.0.to_string()),
                ("printable", letter(m.printable)),
                ("price", m.price.0.to_string()),
            ]);
            fields
        }
        Message::Canceled(m) => {
            let mut fields = head('X', &m.prefix);
            fields.extend([
                ("order_ref", m.order_ref.0.to_string()),
                ("quantity", m.quantity.0.to_string()),
            ]);
            fields
        }
        Message::Deleted(m) => {
            let mut fields = head('D', &m.prefix);
            fields.push(("order_ref", m.order_ref.0.to_string()));
            fields
        }
        Message::Replaced(m) => {
            let mut fields = head('U', &m.prefix);
            fields.extend([
                ("old_ref", m.old_ref.0.to_string()),
                ("order_ref", m.order_ref.0.to_string()),
                ("quantity", m.quantity.0.to_string()),
                ("price", m.price.0.to_string()),
            ]);
            fields
        }
    }
}

/// The first field in which two decoders differ, as text.
pub fn difference(ours: &Fields, theirs: &Fields) -> Option<String> {
    if ours == theirs {
        return None;
    }
    for (a, b) in ours.iter().zip(theirs) {
        if a != b {
            return Some(format!("{} = {:?} here, {} = {:?} there", a.0, a.1, b.0, b.1));
        }
    }
    Some(format!("{} fields here, {} there", ours.len(), theirs.len()))
}
