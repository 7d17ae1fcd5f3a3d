//! Records in words that an operator reads: what `{:?}` gives, with letters as letters, prices with their
//! decimals, and without what is always zero.
//!
//! Consumes the debug text of a command's or an event's body; produces one line. Must not decode.

use super::text::money;

/// Bytes that are letters of OUCH or ITCH.
const LETTERS: [&str; 9] =
    ["code", "side", "tif", "display", "capacity", "iso", "cross", "state", "liquidity"];

/// `Accepted(Accepted { urn: Urn(7), side: 66, zero: [0] })` -> `Accepted urn 7 side B`. What has another
/// form stays as it is.
pub fn plain(debug: &str) -> String {
    let whole = || {
        let (outer, rest) = debug.split_once('(')?;
        let (inner, fields) = rest.strip_suffix(" })")?.split_once(" { ")?;
        (outer == inner).then_some((outer, fields))
    };
    let Some((name, fields)) = whole() else { return debug.to_string() };
    let mut line = name.to_string();
    for field in fields_of(fields) {
        match field.split_once(": ") {
            Some(("zero", _)) => {}
            Some((key, value)) => {
                line.push_str(&format!(" {key} {}", value_of(name, key, value)));
            }
            None => line.push_str(&format!(" {field}")),
        }
    }
    line
}

/// The texts between commas that stand in no quotes and no brackets.
fn fields_of(text: &str) -> Vec<&str> {
    let (mut all, mut from, mut depth, mut quoted, mut escaped) = (Vec::new(), 0, 0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' | ']' | '}' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                all.push(text[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    all.push(text[from..].trim());
    all
}

fn value_of(name: &str, key: &str, value: &str) -> String {
    // `Urn(7)` -> `7`.
    let value = value.split_once('(').and_then(|(_, v)| v.strip_suffix(')')).unwrap_or(value);
    let number: Option<u64> = value.parse().ok();
    let letter = number.and_then(|n| u8::try_from(n).ok()).filter(u8::is_ascii_graphic);
    match (key, number, letter) {
        ("price", Some(n), _) if n == u64::from(rialto::types::Price::MARKET.0) => "market".into(),
        ("price", Some(n), _) => money(n),
        ("reason", Some(n), _) if name == "Rejected" => format!("0x{n:04X}"),
        (key, _, Some(letter)) if key == "reason" || LETTERS.contains(&key) => {
            char::from(letter).to_string()
        }
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_prices_and_numbers_are_plain() {
        for (debug, line) in [
            (
                "Enter(Enter { urn: Urn(1), price: 100500, symbol: \"ALPH\", cl_ord_id: \"a, (\\\"\", \
                 side: 66, tif: 48, flags: 0, zero: [0, 0, 0] })",
                "Enter urn 1 price 10.05 symbol \"ALPH\" cl_ord_id \"a, (\\\"\" side B tif 0 flags 0",
            ),
            (
                "Executed(Executed { price: Price(2147483647), side: Buy, liquidity: 65 })",
                "Executed price market side Buy liquidity A",
            ),
            ("Rejected(Rejected { urn: Urn(2), reason: 23 })", "Rejected urn 2 reason 0x0017"),
            ("Canceled(Canceled { reason: 85, parts: [1, 2] })", "Canceled reason U parts [1, 2]"),
            ("System(System { code: 7, zero: [0] })", "System code 7"),
            ("Phase(Open)", "Phase(Open)"),
            ("Tick", "Tick"),
        ] {
            assert_eq!(plain(debug), line);
        }
    }
}
