//! The ladder of an archiver that is behind: how full the hot tier is -> what the venue takes.
//!
//! A pure function with two rungs and slack between going up and coming down, so that a backlog that
//! swings around a rung does not make the venue swing. Must not know where the numbers come from.

use crate::exchange::command::Mode;
use crate::store::Backlog;

/// A rung is left when the backlog has fallen this far below it, percent.
pub const SLACK_PERCENT: u64 = 15;

/// The mode that follows `mode` when so many percent of the hot tier are not archived. A halt ends in
/// CancelOnly, never in Normal: the mass cancels that waited for its end come before any trade.
pub fn rung(mode: Mode, percent: u64) -> Mode {
    let at = |slack| {
        if percent + slack >= Backlog::HALT_PERCENT {
            Mode::Halt
        } else if percent + slack >= Backlog::CANCEL_ONLY_PERCENT {
            Mode::CancelOnly
        } else {
            Mode::Normal
        }
    };
    let due = mode.clamp(at(0), at(SLACK_PERCENT));
    if mode == Mode::Halt { due.max(Mode::CancelOnly) } else { due }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Mode::*;

    #[test]
    fn each_rung_begins_at_its_share_and_ends_below_it() {
        let rows = [
            (Normal, 49, Normal),
            (Normal, 50, CancelOnly),
            (Normal, 89, CancelOnly),
            (Normal, 90, Halt),
            (Normal, 100, Halt),
            (CancelOnly, 89, CancelOnly),
            (CancelOnly, 90, Halt),
            (CancelOnly, 49, CancelOnly),
            (CancelOnly, 35, CancelOnly),
            (CancelOnly, 34, Normal),
            (Halt, 89, Halt),
            (Halt, 75, Halt),
            (Halt, 74, CancelOnly),
            (Halt, 0, CancelOnly),
        ];
        for (mode, percent, due) in rows {
            assert_eq!(rung(mode, percent), due, "{mode:?} at {percent}");
        }
    }
}
