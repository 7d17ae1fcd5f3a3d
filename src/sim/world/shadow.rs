//! The shadow's process: it follows the day, writes snapshots, dies with the exchange and by itself.

use super::World;
use super::snapshots::Follows;
use crate::agent::Agent;
use crate::shadow::{Shadow, ShadowError};
use crate::sim::Dice;
use crate::sim::plan::{Feature, MS};
use crate::types::Nanos;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Longer than any run.
const NEVER_NS: u64 = 3_600_000 * MS;

impl World<'_> {
    /// Starts it when the plan has one, the exchange serves and it does not run.
    pub(super) fn start_shadow(&mut self) {
        let (true, None, Some(exchange)) =
            (self.plan.has(Feature::Snapshots), &self.shadow, &self.exchange)
        else {
            return;
        };
        let every_ns = self.chance.magnitude(100 * MS, 3_000 * MS);
        let (every_ns, every_commands) = self.cadence(every_ns);
        match Shadow::open(self.host.shadow_storage(), &exchange.facts.day, every_ns) {
            Ok((mut shadow, _)) => {
                every_commands.into_iter().for_each(|every| shadow.set_every_commands(every));
                self.follows = Follows::new(every_commands, shadow.written());
                self.shadow = Some(shadow);
            }
            // No Genesis is committed yet, or the disk fails: the parent starts it again.
            Err(ShadowError::NoGenesis) => {}
            Err(_) if self.host.is_troubled() => {}
            Err(error) => self.violate("a shadow cannot start", error.to_string()),
        }
    }

    /// After how long a snapshot is due, of what was drawn for it, and after how many commands where not
    /// after a million. In half of the seeds few are enough, in half of those nothing else is.
    fn cadence(&self, every_ns: u64) -> (u64, Option<u64>) {
        let mut dice = Dice::new(self.plan.seed, "cadence");
        let commands = dice.magnitude(200, 2_000);
        let (few, alone) = (dice.percent(50), dice.percent(50));
        (if few && alone { NEVER_NS } else { every_ns }, few.then_some(commands))
    }

    /// It is dead.
    pub(super) fn kill_shadow(&mut self) {
        if self.shadow.is_some() {
            self.host.kill_shadow();
            self.shadow = None;
        }
    }

    /// One cycle of it; now and then it dies instead.
    pub(super) fn step_shadow(&mut self) -> u64 {
        let Some(shadow) = &mut self.shadow else { return 0 };
        let (now, before) = (Nanos(self.now), shadow.written());
        let result = catch_unwind(AssertUnwindSafe(|| shadow.duty_cycle(now)));
        let written = Some(shadow.written()).filter(|written| *written > before);
        let fault =
            shadow.fault().map(|f| (matches!(f, ShadowError::Diverged { .. }), f.to_string()));
        match (result, fault) {
            (Err(payload), _) => {
                let text = super::exchange::panic_text(payload);
                self.violate("an agent panicked", format!("shadow: {text}"));
            }
            (Ok(_), Some((true, text))) => self.violate("the shadow came to another state", text),
            (Ok(_), Some((false, text))) if !self.host.is_troubled() => {
                self.violate("a shadow gave up", text);
            }
            (Ok(_), Some((false, text))) => {
                self.note(|_| format!("the shadow gives up: {text}"));
                self.kill_shadow();
            }
            (Ok(done), None) => {
                if let Some(written) = written {
                    self.check_snapshot_archived(written);
                }
                self.check_snapshot_due();
                return done as u64;
            }
        }
        0
    }
}
