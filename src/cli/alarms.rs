//! Alarms of a running venue: what an operator must hear once, when it begins.
//!
//! Consumes counters, marks and the clock of a venue, looked at every 200 ms; produces log lines. Must not
//! change anything of the venue.

use super::text::grouped;
use rialto::clock::{Clock, SystemClock};
use rialto::counters::CounterSet;
use rialto::exchange::command::Mode;
use rialto::gateway::Refusals;
use rialto::net::capture::CaptureCounters;
use rialto::store::LogIndex;
use rialto::topology::Venue;
use rialto::types::Nanos;
use std::sync::Arc;

/// What an operator must hear once, when it begins.
#[derive(Default)]
pub(super) struct Alarms {
    wall_step: bool,
    archive: bool,
    backlog: bool,
    mode: Mode,
    /// Agents told of that cannot read a log.
    unreadable: Vec<&'static str>,
    status: bool,
    capture_error: bool,
    /// Kicks, and those refused, until the last look.
    kicks: (u64, u64),
    nic: bool,
    link: bool,
    capture_lacks: bool,
    /// Refused logins told of, and when.
    refusals: (u64, Option<Nanos>),
}

impl Alarms {
    /// A status file that cannot be written (disk full) is no reason to stop trading.
    pub(super) fn status(&mut self, written: anyhow::Result<()>) {
        if begins(&mut self.status, written.is_err())
            && let Err(error) = written
        {
            tracing::error!("the status file stands still: {error:#}; trying on");
        }
    }

    /// A NIC that takes nothing (its queue is stuck, or the interface gone), or has no link, which an
    /// idle venue would not notice.
    fn nic(&mut self, counters: &[Arc<dyn CounterSet>]) {
        let (before, mut down) = (self.kicks, false);
        for set in counters.iter().filter(|set| set.agent() == "nic") {
            set.visit(&mut |name, value| match name {
                "kicks" => self.kicks.0 = value,
                "kick_refusals" => self.kicks.1 = value,
                "link_down" => down = value > 0,
                _ => {}
            });
        }
        if begins(&mut self.link, down) {
            tracing::error!(
                "the NIC has no link: its interface is down, gone or without a carrier, and nobody hears \
                 this venue; look at the cable, the switch and `ip link`"
            );
        }
        // Another day's counters begin anew.
        let kicks = self.kicks.0.saturating_sub(before.0);
        let refused = self.kicks.1.saturating_sub(before.1);
        // Some are nothing: a queue that is full for a moment, at high rates.
        if begins(&mut self.nic, refused >= KICK_REFUSALS && 2 * refused >= kicks) {
            tracing::error!(
                "the NIC takes no frames, {} kicks refused so far: nobody hears this venue while its \
                 interface is down or gone; once it is back, restart the venue",
                grouped(self.kicks.1)
            );
        }
    }

    /// Refused logins, the latest by name: at most a line in [`REFUSALS_NS`], however many there are.
    fn refusals(&mut self, refusals: &Refusals, now: Nanos) -> Option<String> {
        let (count, latest) = refusals.latest()?;
        // Another day's count begins anew.
        let told = if count < self.refusals.0 { 0 } else { self.refusals.0 };
        let early = self.refusals.1.is_some_and(|at| now.since(at) < REFUSALS_NS);
        if count == told || early {
            return None;
        }
        self.refusals = (count, Some(now));
        let more = match count - told {
            1 => String::new(),
            n => format!("; {} more since the last such line", grouped(n - 1)),
        };
        Some(format!(
            "login refused: user {:?} from {}: {}{more}",
            latest.user,
            latest.from,
            latest.why.text()
        ))
    }

    /// A capture that lacks frames is no matter of trading, but whoever reads it must know.
    fn capture(&mut self, capture: &CaptureCounters) {
        if begins(&mut self.capture_error, capture.error().is_some()) {
            let why = std::io::Error::from_raw_os_error(capture.error().unwrap_or(0));
            tracing::error!("the capture cannot write: {why}; trying on, frames are lacking");
        }
        if begins(&mut self.capture_lacks, capture.lacking() > 0) {
            tracing::warn!(
                "the capture lacks frames, {} so far: its writer is slower than what passes; \
                 frames_dropped and frames_unwritten in status.json go on counting",
                grouped(capture.lacking())
            );
        }
    }

    pub(super) fn look(&mut self, venue: &Venue, clock: &SystemClock) {
        let step_ms = clock.wall_step_ns() / 1_000_000;
        if begins(&mut self.wall_step, step_ms.abs() > WALL_STEP_MS) {
            tracing::error!("the wall clock stepped by {step_ms} ms; the venue does not follow it");
        }
        let control = venue.control();
        if begins(&mut self.archive, control.archive_failed().is_some()) {
            let code = control.archive_failed().unwrap_or(0);
            let why = std::io::Error::from_raw_os_error(code);
            tracing::error!("the archive has failed and is not tried again: {why}");
        }
        let percent = LogIndex::ALL.map(|log| control.backlog(log).percent()).into_iter().max();
        if begins(&mut self.backlog, percent > Some(BACKLOG_PERCENT)) {
            let percent = percent.unwrap_or(0);
            tracing::error!("the archiver is behind: {percent} percent of the hot tier");
        }
        let mode = venue.status.mode();
        if mode != std::mem::replace(&mut self.mode, mode) {
            let percent = percent.unwrap_or(0);
            match mode {
                Mode::Normal => tracing::warn!("the venue takes orders again"),
                Mode::CancelOnly => tracing::error!(
                    "the venue takes cancels only: {percent} percent of the hot tier are not archived"
                ),
                Mode::Halt => tracing::error!(
                    "the venue is halted: {percent} percent of the hot tier are not archived"
                ),
            }
        }
        if let Some(capture) = venue.capture() {
            self.capture(&capture);
        }
        if let Some(line) = self.refusals(&venue.refusals, clock.now()) {
            tracing::warn!("{line}");
        }
        self.nic(&venue.counters);
        for agent in unreadable(&venue.counters) {
            if !self.unreadable.contains(&agent) {
                self.unreadable.push(agent);
                tracing::error!(
                    "{agent} could not read a log and goes on trying; if its count in status.json \
                     rises, what it serves stands still: look at the disk, then restart the venue"
                );
            }
        }
    }
}

/// Agents that could not read a log at least once.
fn unreadable(counters: &[Arc<dyn CounterSet>]) -> Vec<&'static str> {
    let mut agents = Vec::new();
    for set in counters {
        set.visit(&mut |name, value| {
            if value > 0 && matches!(name, "read_errors" | "unreadable") {
                agents.push(set.agent());
            }
        });
    }
    agents
}

/// Refused kicks between two looks (200 ms) that raise an alarm.
const KICK_REFUSALS: u64 = 20;
/// Between two lines about refused logins.
const REFUSALS_NS: u64 = 10_000_000_000;
/// A wall-clock step beyond this raises an alarm.
const WALL_STEP_MS: i64 = 100;
/// The alarm comes before the ladder of an archiver that is behind begins at 50%.
const BACKLOG_PERCENT: u64 = 25;

/// True when `now` has just become true.
pub(super) fn begins(before: &mut bool, now: bool) -> bool {
    let begun = now && !*before;
    *before = now;
    begun
}

#[cfg(test)]
mod tests {
    use super::*;
    use rialto::gateway::{IngressCounters, Refusal, ReplayerCounters, Why};
    use rialto::retransmitter::RetransmitterCounters;

    #[test]
    fn a_nic_that_refuses_most_is_told_and_one_that_is_full_now_and_then_is_not() {
        let nic = Arc::new(rialto::net::xdp::NicCounters::default());
        let sets: [Arc<dyn CounterSet>; 1] = [nic.clone()];
        let mut alarms = Alarms::default();
        for (kicks, refused, told) in
            [(10_000, 30, false), (10_100, 50, false), (10_500, 400, true), (20_000, 430, false)]
        {
            nic.kicks.set(kicks);
            nic.kick_refusals.set(refused);
            alarms.nic(&sets);
            assert_eq!(alarms.nic, told, "{kicks} kicks, {refused} refused");
        }
        nic.kicks.set(0);
        nic.kick_refusals.set(0);
        alarms.nic(&sets);
        assert!(!alarms.nic);
        for down in [0, 1, 0] {
            nic.link_down.set(down);
            alarms.nic(&sets);
            assert_eq!(alarms.link, down > 0);
        }
    }

    #[test]
    fn refused_logins_are_told_with_their_source_and_now_and_then() {
        let refusals = Refusals::new();
        let mut alarms = Alarms::default();
        let at = |seconds: u64| Nanos(seconds * 1_000_000_000);
        assert_eq!(alarms.refusals(&refusals, at(1)), None);
        let from = "10.0.0.9:4000".parse().unwrap();
        // What is no text must not get into a log.
        let user = rialto::types::Alpha(*b"A\n\x1b[2J");
        refusals.note(Refusal { user, from, why: Why::User });
        let line = alarms.refusals(&refusals, at(2)).unwrap();
        assert_eq!(
            line,
            "login refused: user \"A??[2J\" from 10.0.0.9:4000: no [[session]] has this user"
        );
        let user = rialto::types::User::new("ALFA01").unwrap();
        (0..3).for_each(|_| refusals.note(Refusal { user, from, why: Why::Key }));
        assert_eq!(alarms.refusals(&refusals, at(11)), None);
        let line = alarms.refusals(&refusals, at(12)).unwrap();
        assert!(line.contains("\"ALFA01\"") && line.contains("another key"), "{line}");
        assert!(line.ends_with("; 2 more since the last such line"), "{line}");
        assert_eq!(alarms.refusals(&refusals, at(30)), None);
        let another_day = Refusals::new();
        another_day.note(Refusal { user, from, why: Why::Source });
        assert!(alarms.refusals(&another_day, at(40)).unwrap().ends_with("this address"));
    }

    #[test]
    fn an_agent_that_cannot_read_its_log_is_named() {
        let repair = Arc::new(RetransmitterCounters::default());
        let replayer = Arc::new(ReplayerCounters::default());
        let sets: [Arc<dyn CounterSet>; 3] =
            [Arc::<IngressCounters>::default(), replayer.clone(), repair.clone()];
        assert_eq!(unreadable(&sets), [""; 0]);
        replayer.read_errors.add(3);
        assert_eq!(unreadable(&sets), ["gateway_replayer"]);
        repair.unreadable.add(1);
        assert_eq!(unreadable(&sets), ["gateway_replayer", "retransmitter"]);
    }
}
