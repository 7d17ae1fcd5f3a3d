//! What a plan's incidents do to the world, and how they end.

use super::poison::Poison;
use super::{Ending, World};
use crate::config::Durability;
use crate::sim::plan::{Feature, Incident, What};
use crate::sim::{Happening, broker_host, subscriber_host};
use crate::store::{LogIndex, Tier};
use std::net::Ipv4Addr;

/// Rounds in which damage waits for a moment of its own, at most.
const DAMAGE_LOOKS: u32 = 400;

/// The log whose byte is damaged. Bits of its own: those below 3 say which one of a byte is flipped.
fn damaged_log(choice: u64) -> LogIndex {
    if choice >> 61 & 1 == 0 { LogIndex::Command } else { LogIndex::Event }
}

impl World<'_> {
    /// An incident's time has come.
    pub(super) fn strike(&mut self, incident: Incident) {
        let freezes = matches!(
            incident.what,
            What::Freeze { .. } | What::FreezeThread { .. } | What::FreezeArchiver { .. }
        );
        if freezes && self.exchange.is_none() {
            // What does not run cannot stand still.
            return;
        }
        if self.waits_for_marks(incident.what) {
            return self.put_off.push(incident);
        }
        self.note(|_| format!("incident {}: {:?}", incident.number, incident.what));
        if let Some(ns) = incident.what.stalls_ns() {
            self.tell(Happening::Stalled { ns });
        }
        match incident.what {
            What::Crash { down_ns } => {
                if self.exchange.is_some() {
                    // Somewhere within the next rounds, between two agents of a thread.
                    self.doom = Some(self.schedule.below(64));
                    self.doomed_by = Some(incident);
                    self.crash_down = down_ns;
                } else {
                    self.put_off.push(incident);
                }
            }
            What::CrashInStorage { operation, down_ns } => {
                if self.exchange.is_some() {
                    self.host.crash_at(Some(operation));
                    self.crash_down = down_ns;
                }
            }
            What::CrashInRecovery { operation, down_ns, power } => {
                self.crash_start = Some((operation, down_ns, power));
                if self.exchange.is_some() {
                    self.counts.crashes += 1;
                    self.die(down_ns, Happening::Crashed);
                }
            }
            What::Stop { operation, power, down_ns } => {
                self.crash_stop = (operation > 0).then_some((operation, power));
                self.stop_exchange(down_ns, false);
            }
            What::PowerLoss { operation, sync, down_ns } => {
                self.power_fails = true;
                if sync > 0 && self.exchange.is_some() {
                    self.host.crash_at_sync(Some(sync));
                    self.crash_down = down_ns;
                } else if operation > 0 && self.exchange.is_some() {
                    self.host.crash_at(Some(operation));
                    self.crash_down = down_ns;
                } else {
                    self.die(down_ns, Happening::PowerLost);
                }
            }
            What::Damage { choice } => self.damage(choice),
            What::Freeze { ns } => {
                self.counts.freezes += 1;
                let until = self.now + ns;
                self.exchange.iter_mut().for_each(|e| drop(e.freeze(None, until)));
                self.tell(Happening::Frozen { ns });
            }
            What::FreezeThread { thread, ns } => {
                self.counts.freezes += 1;
                let until = self.now + ns;
                if let Some(exchange) = &mut self.exchange {
                    let agents = exchange.freeze(Some(thread), until);
                    self.tell(Happening::ThreadFrozen { ns, agents });
                }
            }
            What::FreezeArchiver { ns } => {
                self.counts.freezes += 1;
                let (thread, until) = (self.archiver_thread(), self.now + ns);
                if let Some(exchange) = &mut self.exchange {
                    let agents = exchange.freeze(Some(thread), until);
                    self.tell(Happening::ThreadFrozen { ns, agents });
                }
            }
            What::FreezeIngress { ns } => {
                if let Some(thread) = self.thread_without("gateway_ingress", &["timer"]) {
                    self.strike(Incident { what: What::FreezeThread { thread, ns }, ..incident });
                }
            }
            What::Poison { deaths, halts, behind, down_ns } => {
                self.poison = Some(Poison { deaths, halts, behind, down_ns });
            }
            What::CrashInClosing { operation, power, down_ns } => {
                self.crash_closing = Some(((operation, power), down_ns));
            }
            What::FeedBehind { ns, down_ns } => {
                // Nobody on the way of an order stands still with it.
                let way = ["gateway_ingress", "sequencer_inbound", "engine"];
                if let Some(thread) = self.thread_without("publisher", &way) {
                    let what = What::FreezeThread { thread, ns };
                    self.strike(Incident { what, ..incident });
                    self.endings.push((self.now + ns, Ending::FeedBehind { down_ns }));
                }
            }
            What::FailWhenOver { .. } => self.fail_when_over = Some(incident),
            What::FreezeOverEnd { .. } => self.freeze_over_end = Some(incident),
            What::CrashActor { actor, down_ns } => {
                if let Some(life) = self.actors.get_mut(actor)
                    && life.up
                {
                    self.counts.actor_crashes += 1;
                    life.up = false;
                    life.restart_at = self.now + down_ns;
                    life.actor.crash();
                }
            }
            What::Cut { actor, from, to, ns } => {
                self.counts.cuts += 1;
                self.network.set_host_cut(self.actor_host(actor), from, to);
                self.endings.push((self.now + ns, Ending::Cut { actor }));
            }
            What::ClockStep { ms, ns } => {
                self.counts.clock_steps += 1;
                self.wall_ns = ms * 1_000_000;
                self.endings.push((self.now + ns, Ending::ClockStep));
            }
            What::DiskFull { ns } => {
                self.counts.disk_faults += 1;
                self.host.set_full(Tier::Disk, true);
                self.endings.push((self.now + ns, Ending::DiskFull));
            }
            What::MemoryFull { ns } => {
                self.counts.disk_faults += 1;
                self.host.set_full(self.plan.hot_tier(), true);
                self.endings.push((self.now + ns, Ending::MemoryFull));
            }
            What::MemorySmall { segments, ns } => {
                self.counts.disk_faults += 1;
                self.host.set_room(Tier::Memory, segments * self.plan.segment_bytes);
                self.endings.push((self.now + ns, Ending::MemoryFull));
            }
            What::SlowDisk { stall_ns, ns } => {
                self.counts.disk_faults += 1;
                self.host.set_sync_ns(stall_ns);
                self.endings.push((self.now + ns, Ending::SlowDisk));
            }
            What::DiskError { per_million, ns } => {
                self.counts.disk_faults += 1;
                self.host.set_disk_errors(per_million);
                self.endings.push((self.now + ns, Ending::DiskError));
            }
        }
    }

    /// What an incident began is over.
    pub(super) fn end(&mut self, ending: Ending) {
        if self.endings.iter().any(|later| later.1 == ending) {
            // Another one like it began meanwhile, and lasts longer or takes its place.
            return;
        }
        self.note(|_| format!("over: {ending:?}"));
        match ending {
            Ending::Cut { actor } => {
                self.network.set_host_cut(self.actor_host(actor), false, false)
            }
            Ending::ClockStep => self.wall_ns = 0,
            Ending::DiskFull => self.host.set_full(Tier::Disk, false),
            Ending::MemoryFull => self.host.set_full(self.plan.hot_tier(), false),
            Ending::SlowDisk => self.host.set_sync_ns(0),
            Ending::DiskError => self.host.set_disk_errors(0),
            Ending::FeedBehind { down_ns } => {
                if self.exchange.is_some() && self.healing_since.is_none() {
                    self.counts.crashes += 1;
                    self.die(down_ns, Happening::Crashed);
                }
            }
        }
    }

    fn actor_host(&self, actor: usize) -> Ipv4Addr {
        match actor.checked_sub(self.plan.brokers) {
            None => broker_host(actor),
            Some(subscriber) => subscriber_host(subscriber),
        }
    }

    /// True for damage that is put off: what vouches for the damaged record is best, after a power cut, a
    /// mark in the file before the newest, and else a segment behind it.
    fn waits_for_marks(&mut self, what: What) -> bool {
        let What::Damage { choice } = what else { return false };
        let (log, power) = (damaged_log(choice), self.cuts_power(choice));
        if !power && !self.is_behind(choice) || self.damage_looks == DAMAGE_LOOKS {
            return false;
        }
        self.damage_looks += 1;
        match &self.exchange {
            None => true,
            Some(_) if power => !self.is_marked_alone(log),
            Some(exchange) => {
                let control = exchange.control();
                let vouched = control.confirmed(log).max(control.committed(log).position);
                let segment = self.plan.segment_bytes;
                control.written(log).position.saturating_sub(1) / segment <= vouched / segment
            }
        }
    }

    /// What is damaged lies behind what is committed, before a segment with a record (store.md,
    /// Recovery 4).
    fn is_behind(&self, choice: u64) -> bool {
        self.plan.durability == Durability::Disk
            && !self.cuts_power(choice)
            && choice >> 41 & 1 == 1
    }

    /// Damage comes with a power cut.
    fn cuts_power(&self, choice: u64) -> bool {
        self.plan.has(Feature::PowerLoss)
            && self.plan.durability == Durability::Disk
            && choice >> 60 & 1 == 1
    }

    /// The process dies, or the machine, and a byte is damaged that recovery will read and has to miss:
    /// below the confirmed position, in memory that was not away below the committed one, on a disk
    /// after a power cut below what a group mark names, before a segment with a record (store.md,
    /// Recovery 2 and 4).
    fn damage(&mut self, choice: u64) {
        let Some(exchange) = &self.exchange else { return };
        let (log, power) = (damaged_log(choice), self.cuts_power(choice));
        let (confirmed, committed) =
            (exchange.control().confirmed(log), exchange.control().committed(log).position);
        let (dir, hot) = (exchange.facts.day.clone(), exchange.day.hot_dir().to_path_buf());
        let marked = self.marked(log);
        self.power_fails = power;
        self.die(20_000_000, Happening::Crashed);
        let end = confirmed.max(if power { marked } else { committed });
        // Mostly what the mark alone vouches for.
        let (above, end) = match self.is_behind(choice) {
            true => (end, None),
            false if power && choice >> 40 & 3 > 0 => (confirmed, Some(end)),
            false => (0, Some(end)),
        };
        // A quarter of the time a snapshot instead, where there is one.
        if choice >> 62 == 0 && self.host.damage_snapshot(&dir, choice) {
            self.snapshots.damaged = true;
            return self.note(|_| "a snapshot is damaged".into());
        }
        let (reach, segment_bytes) = ((above, end), self.plan.segment_bytes);
        let Some(damage) = self.host.damage(log, (&dir, &hot), power, reach, segment_bytes, choice)
        else {
            return;
        };
        self.counts.damages += 1;
        self.note(|_| format!("damaged: {damage:?}"));
        self.damage = Some(damage);
    }
}
