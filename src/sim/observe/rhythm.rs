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
/// An end of a day is said again after so long at most, and that for so long at least.
const END_NS: u64 = 1_000 * MS;
const ENDS_NS: u64 = 30_000 * MS;
const END_SLACK_NS: u64 = 60 * MS;
/// So much later is not late: a few of the longest steps of an idle venue.
const SLACK_NS: u64 = 8 * MS;

/// The heartbeats of one stream, each not before its time. Those that were missed are not made up for.
#[derive(Default)]
pub struct Beats {
    /// Last message, heartbeats since, the last of them; `None` = not known.
    last: Option<(Nanos, usize, Nanos)>,
}

impl Beats {
    /// The stream begins anew: its next heartbeat may leave at once.
    pub fn restart(&mut self) {
        self.last = None;
    }

    /// A message left.
    pub fn message(&mut self, at: Nanos) {
        self.last = Some((at, 0, at));
    }

    /// A heartbeat left; returns by how much it was too early, ns. `idle_ns` is from one to the next.
    pub fn heartbeat(&mut self, at: Nanos, idle_ns: u64) -> Option<u64> {
        let (message, count, before) = self.last.unwrap_or((Nanos(0), WAITS_NS.len(), Nanos(0)));
        let due = match WAITS_NS.get(..=count) {
            Some(waits) => message.plus(waits.iter().sum()),
            None => before.plus(idle_ns),
        };
        let early = (before.0 > 0 && at < due).then(|| due.since(at));
        self.last = Some((message, count + 1, at));
        early
    }
}

/// The ends of a day, said again and again: at least every second (feed.md, session.md 17).
#[derive(Default)]
pub struct Ends {
    /// The first and the last of this life of the exchange.
    said: Option<(Nanos, Nanos)>,
}

impl Ends {
    /// The stream begins anew.
    pub fn restart(&mut self) {
        self.said = None;
    }

    /// An end left.
    pub fn on(&mut self, at: Nanos, who: &str, faults: &mut Faults) {
        self.until(at, who, faults);
        self.said = Some((self.said.map_or(at, |said| said.0), at));
    }

    /// No more left before `now`. For so long as the shorter of the two is said again.
    pub fn until(&mut self, now: Nanos, who: &str, faults: &mut Faults) {
        let Some((first, last)) = self.said else { return };
        let due = last.plus(END_NS + END_SLACK_NS);
        if now <= due || due > first.plus(ENDS_NS) {
            return;
        }
        if !faults.stalled(last, due) {
            let what = format!("{who}: since {}", last.0);
            faults.at("the end of a day was not said again", what, now);
        }
        self.said = None;
    }
}

/// One stream.
#[derive(Default)]
pub struct Rhythm {
    running: bool,
    /// Whom it waits for; `None` = for many.
    agent: Option<&'static str>,
    idle_ns: u64,
    /// Heartbeats said since the last message.
    stage: usize,
    last: Nanos,
}

impl Rhythm {
    /// A stream that one agent keeps up, whatever else stands still.
    pub fn of(agent: &'static str) -> Rhythm {
        Rhythm { agent: Some(agent), ..Rhythm::default() }
    }

    /// The stream runs since `from`; later calls change nothing while it runs.
    pub fn start(&mut self, from: Nanos, idle_ns: u64, fresh: bool) {
        self.idle_ns = idle_ns;
        if !self.running || self.last < from {
            let stage = if fresh { WAITS_NS.len() } else { 0 };
            *self = Rhythm { running: true, agent: self.agent, idle_ns, stage, last: from };
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
        let excused = match self.agent {
            Some(agent) => faults.stood_still(agent, due, now),
            None => faults.excused(due, now),
        };
        if !excused {
            let (late, stage) = (now.since(due) / 1_000, self.stage);
            let what =
                format!("{who}: deadline {stage} passed {late} us ago, last {}", self.last.0);
            faults.at("a heartbeat is missing", what, now);
        }
        self.excuse(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_is_not_said_again_shows() {
        let (mut ends, mut faults) = (Ends::default(), Faults::default());
        for ms in [5, 15, 105, 1_105, 2_160] {
            ends.on(Nanos(ms * MS), "a line", &mut faults);
        }
        ends.until(Nanos(3_200 * MS), "a line", &mut faults);
        assert!(faults.found.is_empty());
        ends.until(Nanos(3_300 * MS), "a line", &mut faults);
        ends.until(Nanos(9_300 * MS), "a line", &mut faults);
        assert_eq!(faults.found.len(), 1, "once");
    }

    #[test]
    fn a_heartbeat_before_its_time_shows() {
        let mut beats = Beats::default();
        let mut beat = |ms: u64| beats.heartbeat(Nanos(ms * MS), 1_000 * MS);
        assert_eq!(beat(5), None, "the first of a stream");
        assert_eq!(beat(1_004), Some(MS));
        assert_eq!(beat(2_004), None);
        beats.message(Nanos(3_000 * MS));
        let mut beat = |ms: u64| beats.heartbeat(Nanos(ms * MS), 1_000 * MS);
        // The second waits for 10 ms after the message, however late the first was.
        assert_eq!([3_003, 3_010, 3_100, 4_100].map(&mut beat), [None; 4]);
        assert_eq!(beat(4_101), Some(999 * MS));
    }
}
