//! Rhythm: whether a stream speaks when it has to (session.md 16): 1, 10 and 100 ms after its last
//! message, then every so often.
//!
//! Consumes the times of what left; produces what came too late. Times in which the exchange was down
//! or stood still are excused from outside.

use super::Faults;
use crate::types::Nanos;

const MS: u64 = 1_000_000;
/// Waits after the last message, and from one heartbeat to the next.
const WAITS_NS: [u64; 3] = [MS, 9 * MS, 90 * MS];
/// So much later is not late: a few of the longest steps of an idle venue.
const SLACK_NS: u64 = 8 * MS;

/// One stream.
#[derive(Default)]
pub struct Rhythm {
    running: bool,
    idle_ns: u64,
    /// Heartbeats said since the last message.
    stage: usize,
    last: Nanos,
}

impl Rhythm {
    /// The stream runs since `from`; later calls change nothing while it runs.
    pub fn start(&mut self, from: Nanos, idle_ns: u64, fresh: bool) {
        self.idle_ns = idle_ns;
        if !self.running || self.last < from {
            let stage = if fresh { WAITS_NS.len() } else { 0 };
            *self = Rhythm { running: true, idle_ns, stage, last: from };
        }
    }

    /// Nobody has to be told anything.
    pub fn stop(&mut self) {
        self.running = false;
    }

    /// Silence up to `now` does not count, and the three early deadlines are taken for said.
    pub fn excuse(&mut self, now: Nanos) {
        if self.last < now {
            self.last = now;
            self.stage = WAITS_NS.len();
        }
    }

    fn due(&self) -> Nanos {
        let wait = WAITS_NS.get(self.stage).copied().unwrap_or(self.idle_ns);
        self.last.plus(wait.min(self.idle_ns))
    }

    /// Something left at `at`: a message, or a heartbeat.
    pub fn on(&mut self, at: Nanos, message: bool, who: &str, faults: &mut Faults) {
        self.until(at, who, faults);
        self.last = self.last.max(at);
        self.stage = if message { 0 } else { (self.stage + 1).min(WAITS_NS.len()) };
    }

    /// Nothing more left before `now`.
    pub fn until(&mut self, now: Nanos, who: &str, faults: &mut Faults) {
        if !self.running || now <= self.due().plus(SLACK_NS) {
            return;
        }
        let due = self.due();
        if !faults.excused(due, now) {
            let (late, stage) = (now.since(due) / 1_000, self.stage);
            let what =
                format!("{who}: deadline {stage} passed {late} us ago, last {}", self.last.0);
            faults.at("a heartbeat is missing", what, now);
        }
        self.excuse(now);
    }
}
