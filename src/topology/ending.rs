//! The end of a day, as its agents tell of it: who has still to say something, and how long the ended
//! day is served.
//!
//! Consumes the engine's status and what publisher, egress and repair note; produces whether the day
//! may be closed. Must not know clocks, threads or logs.

use crate::board::{EngineStatus, SessionBoard};
use crate::publisher::Released;
use crate::types::Nanos;
use std::sync::Arc;

/// A day whose end cannot be told is closed nevertheless so long after it: the next one waits.
const TOLD_NS_MAX: u64 = 60_000_000_000;

/// Where the end of the day stands.
#[derive(Clone)]
pub struct Ending {
    status: Arc<EngineStatus>,
    board: Arc<SessionBoard>,
    released: Released,
}

impl Ending {
    pub(super) fn new(
        status: Arc<EngineStatus>,
        board: Arc<SessionBoard>,
        released: Released,
    ) -> Ending {
        Ending { status, board, released }
    }

    /// Each of those who have to tell the end or to answer for it, and when this run had done so.
    fn words(&self) -> [(&'static str, Option<Nanos>); 3] {
        [
            ("the feed", self.released.end_said()),
            ("the sessions", self.board.end_told()),
            ("repair", self.released.end_repairable()),
        ]
    }

    /// Who has not told the end, or could not answer for it.
    pub fn untold(&self) -> Vec<&'static str> {
        let untold = |(who, at): (_, Option<Nanos>)| at.is_none().then_some(who);
        self.words().into_iter().filter_map(untold).collect()
    }

    /// False once the day is over and `linger_ns` have passed since its end was told to everybody, and
    /// since this run serves (`ready`): what the one before it could not say any more is said then. A
    /// thread that stands still at the end does not shorten the time to ask for what it says; one that
    /// never comes back holds the day up for a minute.
    pub fn is_served(&self, ready: Nanos, linger_ns: u64, now: Nanos) -> bool {
        let Some(ended) = self.status.day_over() else { return true };
        let ended = ended.max(ready);
        let told = self.words().into_iter().try_fold(ended, |last, (_, at)| Some(last.max(at?)));
        match told {
            Some(told) => now.since(told) < linger_ns,
            None => now.since(ended) < linger_ns.max(TOLD_NS_MAX),
        }
    }
}
