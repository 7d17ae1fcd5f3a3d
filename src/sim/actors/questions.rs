//! Questions: what a member without a library asks for again while he does nothing else.
//!
//! Consumes how many reports he has and how many the exchange has in memory; produces requests, most of
//! them at the places where another part of the exchange answers, or where an answer is as long as it may
//! be. Must not know ports.

use crate::sim::Dice;

/// A request that has no end of its own.
pub const ALL: u16 = 0xFFFE;
/// Reports from one to the next whose place a replayer notes.
const STRIDE: u64 = 256;
/// Requests at once: more than can be paid.
const GREEDY: usize = 6;

/// A request for reports, sent so many times at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Question {
    /// First report.
    pub first: u64,
    /// How many.
    pub count: u16,
    /// How often.
    pub times: usize,
}

/// In any order, of somebody who has `last` reports.
pub fn draw(dice: &mut Dice, last: u64, kept: u64) -> Vec<Question> {
    let once = |first: u64, count| Question { first: first.max(1), count, times: 1 };
    let oldest = (last + 1).saturating_sub(kept).max(1);
    let mut all = vec![
        once(1, ALL),
        once(oldest, ALL),
        // The last one that is not in memory any more.
        once(oldest - 1, 3),
        once(dice.between(1, last.max(1)), 40),
        Question { first: 1, count: ALL, times: GREEDY },
        Question { first: oldest, count: ALL, times: GREEDY },
    ];
    // As far as a noted place, to the one before it and to the one behind it.
    let noted = STRIDE * dice.between(1, (last / STRIDE).max(1));
    all.extend([noted - 1, noted, noted + 1].map(|end| once(end - 2, 3)));
    dice.shuffle(&mut all);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edges_of_memory_and_of_the_noted_places_are_asked_for() {
        let all = draw(&mut Dice::new(1, "questions"), 700, 512);
        let once = |first, count| all.contains(&Question { first, count, times: 1 });
        assert!(once(1, ALL) && once(189, ALL) && once(188, 3));
        let around = |at: u64| once(at - 3, 3) && once(at - 2, 3) && once(at - 1, 3);
        assert!(around(256) || around(512));
        let few = draw(&mut Dice::new(1, "questions"), 0, 4_096);
        assert!(few.iter().all(|question| question.first > 0));
    }
}
