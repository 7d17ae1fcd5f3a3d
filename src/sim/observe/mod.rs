//! Observers: what must hold, checked from outside.
//!
//! Consume what passed the exchange's ports, its logs as another process reads them, the state hash
//! that it tells, and what actors wrote down; produce violations. They share no code with egress,
//! publisher, gateway and matching: `bytes` and `upstream` write and read the wire by the spec pages,
//! the naive exchange does the matching.
//!
//! | module | what it sees |
//! |---|---|
//! | `ledger` | records that change, vanish or leave gaps; events, holds and hashes against the naive model |
//! | `upstream` | commands that no client sent |
//! | `session` | reports, K, A: other bytes, other numbers, to strangers, before the commit; used references |
//! | `feed` | the same for the feed; messages that never left |
//! | `pace`, `rhythm`, `live` | what was told too late or never: K, A, J 'S', ends, heartbeats; reports, messages |
//! | `probe` | rules of the exchange that no command of the log meets, on copies |
//! | `formula` | another state hash |
//! | `refusals`, `replays`, `repairs` | H, J, reports and messages sent again: who asked, how often, how much, who got none |
//! | `window`, `intake` | more under way than the gateway may take; messages that it does not take |
//! | `day`, `rate` | verdicts against the rate, ticks, phases, dead times; brokers' and subscribers' own word |
//! | `stream`, `bytes`, `seen`, `scene` | contents under numbers; the wire; what actors wrote down; what was configured |

mod bytes;
mod day;
mod feed;
mod formula;
mod hours;
mod intake;
mod ledger;
mod live;
mod notes;
mod pace;
mod polls;
mod probe;
mod rate;
mod refusals;
mod repairs;
mod replays;
mod rhythm;
mod scene;
pub mod seen;
mod session;
mod stream;
mod upstream;
mod window;

pub use seen::{DIGEST_EVERY, LOST, Shared};

use super::{
    EXCHANGE, Evidence, Feature, GATEWAY, Happening, Observer, Plan, REPAIR, Tap, Violation, When,
};
use crate::config::{Config, DayEnd, Durability, Schedule};
use crate::types::*;
use day::DayWatch;
use scene::Scene;
use std::net::SocketAddrV4;
use std::panic::{AssertUnwindSafe, catch_unwind};
use upstream::Challenges;

/// A datagram that the exchange sent.
pub struct Sent {
    /// When.
    pub at: Nanos,
    /// From which of its ports.
    pub local: SocketAddrV4,
    /// To whom.
    pub peer: SocketAddrV4,
    /// What.
    pub bytes: Vec<u8>,
    /// Archived mark of the command log at that moment.
    pub archived: u64,
}

/// Violations found, and times for which lateness is excused.
#[derive(Default)]
pub struct Faults {
    found: Vec<Violation>,
    now: Nanos,
    /// The venue, or a part of it, stood still on purpose: from, until.
    excuses: Vec<(Nanos, Nanos)>,
    /// The same without the time behind a start.
    stalls: Vec<(Nanos, Nanos)>,
    /// Nobody read what clients sent.
    deaf: Vec<Deaf>,
    /// The exchange was down, or these agents of it stood still, `None` = all: from, until.
    still: Vec<(Nanos, Nanos, Option<Vec<&'static str>>)>,
    /// These agents of the exchange stood still, `None` = all, without the time to work off what waited.
    asleep: Vec<(Nanos, Nanos, Option<Vec<&'static str>>)>,
    /// The exchange is down.
    down_since: Option<Nanos>,
}

/// Nobody read what clients sent.
pub struct Deaf {
    /// Since then.
    pub from: Nanos,
    /// Until then.
    pub until: Nanos,
    /// Others of the exchange went on.
    pub others: bool,
}

/// More of one check say nothing more.
const FAULTS_MAX: usize = 20;

impl Faults {
    /// Something does not hold.
    pub fn add(&mut self, rule: &'static str, what: String) {
        self.at(rule, what, self.now);
    }

    /// Something did not hold at `at`.
    pub fn at(&mut self, rule: &'static str, what: String, at: Nanos) {
        if self.found.len() < FAULTS_MAX {
            self.found.push(Violation { rule, what, at });
        }
    }

    /// True when being late between `from` and `until` is nobody's fault.
    pub fn excused(&self, from: Nanos, until: Nanos) -> bool {
        self.down_since.is_some_and(|since| since <= until)
            || self.excuses.iter().any(|&(begin, end)| begin <= until && from <= end)
    }

    /// True when this agent did not run, or had to work off what waited, at a time between `from` and
    /// `until`. For what it does by itself: who waits for others too asks [`Faults::excused`].
    pub fn stood_still(&self, agent: &str, from: Nanos, until: Nanos) -> bool {
        let its = |agents: &Option<Vec<_>>| agents.as_ref().is_none_or(|all| all.contains(&agent));
        let meets = |&(begin, end, _): &(Nanos, Nanos, _)| begin <= until && from <= end;
        self.down_since.is_some_and(|since| since <= until)
            || self.still.iter().any(|still| meets(still) && its(&still.2))
    }

    /// When nobody could be heard for long, begun before `time`; the last first.
    pub fn deaf_before(&self, time: Nanos) -> impl Iterator<Item = &Deaf> {
        let away = move |deaf: &&Deaf| deaf.from <= time && deaf.until.since(deaf.from) >= AWAY_NS;
        self.deaf.iter().rev().filter(away)
    }

    /// Whoever stands still goes on.
    fn thaw(&mut self, now: Nanos) {
        self.asleep.iter_mut().for_each(|(_, until, _)| *until = now.min(*until));
    }

    /// When this agent, who stood still at `time` and since a time after `up`, went on; else `time`.
    pub fn awake_after(&self, agent: &str, time: Nanos, up: Nanos) -> Nanos {
        let its = |agents: &Option<Vec<_>>| agents.as_ref().is_none_or(|all| all.contains(&agent));
        let meets = |&&(from, until, ref agents): &&(Nanos, Nanos, Option<Vec<_>>)| {
            up <= from && from <= time && time < until && its(agents)
        };
        self.asleep.iter().filter(meets).map(|asleep| asleep.1).max().unwrap_or(time)
    }

    /// True when the exchange was down, or something of it stood still, at a time between `from` and
    /// `until`; what is due at a start is due at once.
    pub fn stalled(&self, from: Nanos, until: Nanos) -> bool {
        self.down_since.is_some_and(|since| since <= until)
            || self.stalls.iter().any(|&(begin, end)| begin <= until && from <= end)
    }
}

/// All observers of one simulation.
pub struct Observers {
    scene: Scene,
    days: Vec<DayWatch>,
    current: Option<usize>,
    seen: Shared,
    faults: Faults,
    /// Datagrams that came before the first day was named.
    early: Vec<(Option<SocketAddrV4>, Sent)>,
    challenges: Challenges,
    /// Where each subscriber was last, once everybody healed: session, message.
    heard: Vec<(SessionName, u64)>,
    /// When healing began.
    healed: Nanos,
}

/// Who reads what clients send, alone or with the sequencer.
const INGRESS: [&str; 2] = ["gateway_ingress", "gateway_sequencer"];

/// Standing still for so long is being away.
const AWAY_NS: u64 = 250_000_000;

/// Being late is excused for so long after a stall: what waited is worked off.
const AFTER_STALL_NS: u64 = 1_500_000_000;

/// Feed and repair work off what waited for them within so long.
const AFTER_FREEZE_NS: u64 = 250_000_000;

/// A subscriber says so much after a message that it is lost: what is repaired in vain is a day's last.
const LOST_AFTER_NS: u64 = 5_000_000_000;

impl Observers {
    /// For a plan; `seen` is shared with the actors.
    pub fn new(plan: &Plan, config: &Config, seen: Shared) -> Observers {
        let [open_at, close_at] = match config.schedule {
            Schedule::Immediate => [0; 2],
            Schedule::Daily { open, close } => [open, close].map(u64::from),
        };
        let scene = Scene {
            disk: plan.durability == Durability::Disk,
            keys: config.sessions.iter().map(|s| s.key).collect(),
            rate: plan.rate,
            clocks_agree: !plan.has(Feature::ClockStep),
            // Seconds of the day, until the day is known.
            open_at: Nanos(open_at),
            close_at: Nanos(close_at),
            length_ns: match config.day.end {
                DayEnd::After(seconds) => Some(seconds * 1_000_000_000),
                _ => None,
            },
            repair_rate: config.feed.repair_bytes_per_second,
            reports_kept: plan.reports_in_memory(),
        };
        Observers {
            scene,
            days: Vec::new(),
            current: None,
            seen,
            faults: Faults::default(),
            early: Vec::new(),
            challenges: Challenges::default(),
            heard: vec![(SessionName::BLANK, 0); plan.subscribers],
            healed: Nanos(0),
        }
    }

    fn day(&mut self) -> Option<&mut DayWatch> {
        self.days.get_mut(self.current?)
    }

    fn begin(&mut self, dir: &std::path::Path, now: Nanos) {
        let known = self.days.iter().position(|d| d.dir == dir);
        let at = known.unwrap_or_else(|| {
            let midnight = now.0 / 86_400_000_000_000 * 86_400_000_000_000;
            let at = |time: Nanos| match time.0 {
                0 => Nanos(0),
                seconds => Nanos(midnight + seconds * 1_000_000_000),
            };
            let (open_at, close_at) = (at(self.scene.open_at), at(self.scene.close_at));
            let scene = Scene { open_at, close_at, keys: self.scene.keys.clone(), ..self.scene };
            self.days.push(DayWatch::new(dir.to_path_buf(), &scene));
            self.days.len() - 1
        });
        self.current = Some(at);
        let down = self.faults.down_since.take().unwrap_or(now);
        self.faults.excuses.push((down, now.plus(AFTER_STALL_NS / 10)));
        self.faults.still.push((down, now.plus(AFTER_STALL_NS / 10), None));
        self.faults.stalls.push((down, Nanos(now.0.saturating_sub(1))));
        for (received, sent) in std::mem::take(&mut self.early) {
            match received {
                Some(from) => self.days[at].received(from, &sent.bytes, sent.at),
                None => self.days[at].sent(sent),
            }
        }
    }
}

impl Observer for Observers {
    fn on(&mut self, happening: &Happening, now: Nanos) {
        match happening {
            Happening::Up { day, commands, begun } => {
                self.begin(day, now);
                if let Some(day) = self.day() {
                    day.starts(*commands, *begun);
                }
            }
            Happening::Crashed | Happening::Stopped | Happening::PowerLost => {
                self.faults.down_since.get_or_insert(now);
                if let Some(day) = self.day() {
                    day.stops(now, *happening == Happening::PowerLost);
                }
            }
            Happening::Closed { linger_ns } => {
                if let Some(day) = self.day() {
                    day.closes(now, *linger_ns);
                }
            }
            Happening::MemoryLost { day } => {
                self.faults.down_since.get_or_insert(now);
                self.days.retain(|d| d.dir != *day);
                self.current = None;
            }
            Happening::Stalled { ns } => {
                let stall = (now, now.plus(*ns).plus(AFTER_STALL_NS));
                self.faults.excuses.push(stall);
                self.faults.stalls.push(stall);
            }
            Happening::Frozen { ns } => {
                self.faults.deaf.push(Deaf { from: now, until: now.plus(*ns), others: false });
                self.faults.asleep.push((now, now.plus(*ns), None));
                self.faults.still.push((now, now.plus(*ns).plus(AFTER_FREEZE_NS), None));
            }
            Happening::ThreadFrozen { ns, agents } => {
                self.faults.asleep.push((now, now.plus(*ns), Some(agents.clone())));
                let until = now.plus(*ns).plus(AFTER_FREEZE_NS);
                self.faults.still.push((now, until, Some(agents.clone())));
                if agents.iter().any(|agent| INGRESS.contains(agent)) {
                    self.faults.deaf.push(Deaf { from: now, until: now.plus(*ns), others: true });
                }
            }
            Happening::Unread { since } => {
                if now.since(*since) >= AWAY_NS {
                    self.faults.deaf.push(Deaf { from: *since, until: now, others: true });
                }
            }
            Happening::Voided { command } => {
                if let Some(day) = self.day() {
                    day.ledger.void(*command);
                }
            }
            Happening::Healing => {
                self.healed = now;
                self.faults.thaw(now);
                self.days.iter_mut().for_each(DayWatch::heal);
            }
        }
    }

    fn on_datagram(&mut self, tap: &Tap<'_>, now: Nanos) {
        debug_assert_eq!(*tap.local.ip(), EXCHANGE);
        if !tap.sent {
            if tap.local == REPAIR
                && let Some(day) = self.day()
            {
                day.asked(tap.peer, tap.bytes, now);
            }
            if tap.local == GATEWAY {
                match self.day() {
                    Some(day) => day.received(tap.peer, tap.bytes, now),
                    None => {
                        let bytes = tap.bytes.to_vec();
                        let (local, peer, archived) = (tap.local, tap.peer, 0);
                        let sent = Sent { at: now, local, peer, bytes, archived };
                        self.early.push((Some(tap.peer), sent));
                    }
                }
            }
            return;
        }
        let (local, peer, archived) = (tap.local, tap.peer, tap.archived.0);
        if local == GATEWAY {
            self.challenges.sent(peer, tap.bytes);
        }
        let sent = Sent { at: now, local, peer, bytes: tap.bytes.to_vec(), archived };
        match self.day() {
            Some(day) => day.sent(sent),
            None => self.early.push((None, sent)),
        }
    }

    fn check(&mut self, when: When, evidence: &Evidence<'_>, now: Nanos) -> Vec<Violation> {
        self.faults.now = now;
        let Some(at) = self.current else { return Vec::new() };
        if self.faults.down_since.is_some() {
            // Its word is judged when it is back, or given up.
            return Vec::new();
        }
        let faults = &mut self.faults;
        {
            let mut seen = self.seen.borrow_mut();
            for (rule, what, at) in seen.faults.drain(..) {
                // Repair may have stood still until the day was over.
                let since = Nanos(at.0.saturating_sub(LOST_AFTER_NS));
                if rule != LOST || !faults.excused(since, at) {
                    faults.at(rule, what, at);
                }
            }
            let (delivered, concluded) =
                (std::mem::take(&mut seen.delivered), std::mem::take(&mut seen.concluded));
            let (mirrored, believed) =
                (std::mem::take(&mut seen.mirrored), std::mem::take(&mut seen.believed));
            for m in mirrored.iter().filter(|m| m.last) {
                self.heard[m.subscriber] = (m.session, m.feed);
            }
            for day in &mut self.days {
                day.notes.take(&delivered, &concluded, &mirrored, &believed);
            }
        }
        if let Some((seq, hash)) = evidence.state_hash
            && seq.0 > 0
        {
            self.days[at].ledger.told_hash(seq.0, hash, faults);
        }
        for (i, day) in self.days.iter_mut().enumerate() {
            // A day that is over is read once more at the end.
            if i != at && when != When::End {
                continue;
            }
            match (evidence.open)(&day.dir) {
                Ok(view) => {
                    // The models assert what must hold; so does whoever reads a damaged log.
                    let end = when == When::End;
                    let judged = catch_unwind(AssertUnwindSafe(|| {
                        day.check(&view, &self.challenges, end, now, faults);
                        if i != at {
                            day.close(faults);
                        }
                    }));
                    if let Err(payload) = judged {
                        let text = payload.downcast_ref::<&str>().map(|t| t.to_string());
                        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
                        faults.add("a model panicked", text.unwrap_or_default());
                    }
                }
                Err(error) => {
                    let what = format!("{}: {error}", day.dir.display());
                    faults.add("a day cannot be opened", what);
                }
            }
        }
        if when == When::End {
            // A day begins with what the one before left.
            for pair in self.days.windows(2) {
                if let (Some(closing), Some(opening)) = (pair[0].closing(), pair[1].opening())
                    && closing != opening
                {
                    let at = closing.iter().zip(&opening).position(|(a, b)| a != b).unwrap_or(0);
                    let (left, found) = (closing.get(at), opening.get(at));
                    let what = format!("{}: {left:?}, then {found:?}", pair[1].dir.display());
                    faults.add("a day does not begin with what was left", what);
                }
            }
        }
        if when == When::End {
            formula::judge(faults);
            self.days[at].judge_heard(&self.heard, self.healed, now, faults);
        }
        if when == When::AfterStart {
            self.days[at].up(now);
        } else {
            self.days[at].judge_silence(now, faults);
        }
        std::mem::take(&mut self.faults.found)
    }
}
