//! The recorded hour: what the subscriber rebuilt against what really happened.
//!
//! Fills: each aggressive row names the resting order that was really filled. Quotes: an independent
//! list of the hour's best-quote states must be found in ours, in order.

use std::collections::BTreeMap;

/// One execution as a subscriber saw it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fill {
    /// Resting order.
    pub order_ref: u64,
    /// Shares.
    pub quantity: u32,
    /// Price.
    pub price: u32,
    /// Match number.
    pub match_number: u64,
}

/// What an aggressive row should have done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExpectedFill {
    /// Row's order id of the resting order that was filled.
    pub resting: u64,
    /// Shares.
    pub quantity: u32,
    /// Match numbers that the broker's reports of this order carry.
    pub matches: Vec<u64>,
}

/// How many expected fills happened exactly: one match, of that resting order, of full size.
/// `reference` gives the exchange's reference of a row's order id.
pub fn exact_matches(
    expected: &[ExpectedFill],
    fills: &[Fill],
    reference: impl Fn(u64) -> Option<u64>,
) -> u64 {
    let seen: BTreeMap<u64, &Fill> = fills.iter().map(|f| (f.match_number, f)).collect();
    expected
        .iter()
        .filter(|e| {
            let [number] = e.matches[..] else { return false };
            seen.get(&number).is_some_and(|f| {
                Some(f.order_ref) == reference(e.resting) && f.quantity == e.quantity
            })
        })
        .count() as u64
}

/// A best-quote state: ask, ask quantity, bid, bid quantity.
pub type Quote = [u64; 4];

/// Within how many of our next states an oracle's state must be found (data's README).
const WINDOW: usize = 60;

/// How many of the oracle's states are found in ours, in order.
pub fn quotes_matched(oracle: &[Quote], ours: &[Quote]) -> u64 {
    let mut from = 0;
    let mut matched = 0;
    for state in oracle {
        let window = &ours[from..(from + WINDOW).min(ours.len())];
        if let Some(at) = window.iter().position(|q| q == state) {
            from += at + 1;
            matched += 1;
        }
    }
    matched
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fill_counts_only_when_order_and_size_are_the_recorded_ones() {
        let fill = |order_ref, quantity, match_number| Fill {
            order_ref,
            quantity,
            price: 1,
            match_number,
        };
        let row = |resting, quantity, matches: &[u64]| ExpectedFill {
            resting,
            quantity,
            matches: matches.to_vec(),
        };
        let fills =
            [fill(10, 5, 1), fill(11, 5, 2), fill(12, 4, 3), fill(13, 1, 4), fill(13, 1, 5)];
        let expected = [
            row(110, 5, &[1]),    // right
            row(110, 5, &[2]),    // another order
            row(112, 5, &[3]),    // another size
            row(113, 2, &[4, 5]), // two matches
            row(114, 2, &[]),     // none
            row(110, 5, &[9]),    // a match the feed does not have
        ];
        assert_eq!(exact_matches(&expected, &fills, |id| Some(id - 100)), 1);
    }

    #[test]
    fn quotes_are_found_in_order_and_within_the_window() {
        let q = |n: u64| [n, 1, n - 1, 1];
        let ours: Vec<Quote> = (1..200).map(q).collect();
        assert_eq!(quotes_matched(&[q(1), q(3), q(2), q(60)], &ours), 3);
        assert_eq!(quotes_matched(&[q(100)], &ours), 0);
    }
}
