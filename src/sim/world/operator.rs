//! The operator: what a person does while the venue runs, and the healing at the end.

use super::host::Host;
use super::{MS, OPERATOR, World};
use crate::config::{Config, DayEnd};
use crate::exchange::command::Mode;
use crate::sim::Happening;
use crate::sim::plan::{Incident, Plan, What, config_text};
use crate::store::LogIndex;
use crate::types::*;
use std::path::Path;

/// A day is closed so long after its end was told to all, and everybody tells it within as long.
const CLOSING_NS: u64 = 1_500 * MS;

/// Clocks further apart than this refuse logins (5 s), less what a round may take.
const CLOCK_OFF: u64 = 4_000 * MS;

/// Rounds of a millisecond in which egress and publisher say what was left to say.
const SETTLED_ROUNDS: u32 = 20;

/// A day that begins while everybody heals lasts longer than the healing may, seconds.
const HEALING_DAY_S: u64 = 3_600;

/// The configuration as the operator last wrote it.
///
/// Panics when the text has faults: the plan's tests hold every seed's against the reader.
pub(super) fn config(plan: &Plan, host: &Host, incarnation: u8) -> Config {
    let text = config_text(plan, incarnation);
    let mut config = Config::parse(Path::new("/sim/rialto.toml"), &text)
        .unwrap_or_else(|error| panic!("the world's configuration: {error}"));
    config.segment_bytes = plan.segment_bytes;
    config.reports_kept = Some(plan.reports_kept);
    config.data = host.data();
    config
}

impl World<'_> {
    /// Looks at the alarms.
    pub(super) fn operate(&mut self) {
        self.freeze_over_end();
        self.fail_when_over();
        self.end_day_when_served();
        self.check_closing();
        if self.shadow.is_some() && self.chance.percent(1) {
            self.note(|_| "the shadow dies".into());
            self.kill_shadow();
        }
        self.start_shadow();
        self.check_tiers();
        self.check_room();
        self.check_waits();
        self.check_snapshots();
        self.void_what_halts();
        let Some(exchange) = &self.exchange else { return };
        match exchange.status().mode() {
            Mode::Normal => {}
            Mode::CancelOnly => self.modes[0] = true,
            Mode::Halt => self.modes[1] = true,
        }
        // The archive stopped for good, as fdatasync failed: only a restart reads what is there.
        let failed = exchange.control().archive_failed().is_some() && !self.host.is_troubled();
        // It lives in another time than its brokers, and the machine's clock is right again.
        let off = exchange.offset_ns.abs_diff(self.wall_ns) > CLOCK_OFF && self.wall_ns == 0;
        if failed || off {
            self.note(|_| {
                format!("the operator restarts it: archive failed {failed}, clock off {off}")
            });
            self.stop_exchange(20 * MS, false);
        }
    }

    /// Before the next look the day ends: a thread stands still from here on.
    fn freeze_over_end(&mut self) {
        let Some(incident) = self.freeze_over_end else { return };
        let What::FreezeOverEnd { thread, ns } = incident.what else { return };
        let Some(exchange) = &self.exchange else { return };
        let own_now = Nanos(self.now.wrapping_add_signed(exchange.offset_ns));
        let near = |ends| own_now < ends && ends <= own_now.plus(OPERATOR);
        if exchange.facts.ends.is_some_and(near) {
            self.freeze_over_end = None;
            self.strike(Incident { what: What::FreezeThread { thread, ns }, ..incident });
        }
    }

    /// What was to happen when a day is over.
    fn fail_when_over(&mut self) {
        let Some(incident) = self.fail_when_over else { return };
        let What::FailWhenOver { disk, wait_ns, down_ns } = incident.what else { return };
        let Some(exchange) = &self.exchange else { return };
        let own_now = Nanos(self.now.wrapping_add_signed(exchange.offset_ns));
        let ended = exchange.status().day_over();
        if ended.is_none_or(|ended| own_now.since(ended) < wait_ns) {
            return;
        }
        self.fail_when_over = None;
        match disk {
            true => self.strike(Incident {
                what: What::DiskError { per_million: 1_000_000, ns: down_ns },
                ..incident
            }),
            false => self.strike(Incident { what: What::Crash { down_ns }, ..incident }),
        }
    }

    /// A day that is over is closed when everybody had time to tell so.
    fn check_closing(&mut self) {
        let Some(exchange) = &self.exchange else { return };
        if exchange.status().day_over().is_none() {
            self.over_looks = 0;
        } else if !exchange.is_frozen(self.now) && !self.host.is_troubled() {
            self.over_looks += 1;
        }
        let served_ns = self.over_looks * OPERATOR;
        if served_ns > self.config.day.linger_ns + CLOSING_NS {
            self.over_looks = 0;
            let what = format!("it was served for {} ms", served_ns / MS);
            self.violate("a day that is over is not closed", what);
        }
    }

    /// No more faults; whoever is down comes up.
    pub(super) fn heal(&mut self) {
        self.healing_since = Some(self.now);
        // Days of a few seconds would not let everybody in at once.
        if let DayEnd::After(seconds) = &mut self.config.day.end {
            *seconds = HEALING_DAY_S;
        }
        self.network.set_links(self.plan.network.healed());
        for (_, ending) in std::mem::take(&mut self.endings) {
            self.end(ending);
        }
        self.doom = None;
        self.crash_start = None;
        (self.poison, self.crash_stop, self.crash_closing) = (None, None, None);
        (self.fail_when_over, self.freeze_over_end) = (None, None);
        self.power_fails = false;
        self.put_off.clear();
        self.host.crash_at(None);
        self.host.crash_at_sync(None);
        self.exchange.iter_mut().for_each(|e| e.thaw());
        if self.exchange.is_none() {
            self.start_at = self.start_at.min(self.now + 50 * MS);
        }
        for life in &mut self.actors {
            life.restart_at = life.restart_at.min(self.now + 50 * MS);
            life.actor.quiesce();
        }
        self.tell(Happening::Healing);
    }

    /// Runs the exchange alone until the engine has told the hash of the last command in its log, and
    /// those who read its events have had time to say them; false when it does not get there.
    pub(super) fn quiet(&mut self) -> bool {
        let mut settled = 0;
        for _ in 0..500 {
            self.now += MS;
            self.network.advance(self.now);
            for thread in 0..self.exchange.as_ref().map_or(0, |e| e.threads()) {
                self.step_thread(thread);
            }
            let Some(exchange) = &self.exchange else { return false };
            let written = exchange.control().written(LogIndex::Command).seq;
            let told = exchange.state_hash().is_some_and(|(seq, _)| seq == written);
            settled = if told { settled + 1 } else { 0 };
            if settled == SETTLED_ROUNDS {
                return true;
            }
        }
        false
    }
}
