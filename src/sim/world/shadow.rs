//! The shadow's process: it follows the day, writes snapshots, dies with the exchange and by itself.

use super::World;
use crate::agent::Agent;
use crate::shadow::{Shadow, ShadowError};
use crate::sim::plan::{Feature, MS};
use crate::types::Nanos;
use std::panic::{AssertUnwindSafe, catch_unwind};

impl World<'_> {
    /// Starts it when the plan has one, the exchange serves and it does not run.
    pub(super) fn start_shadow(&mut self) {
        let (true, None, Some(exchange)) =
            (self.plan.has(Feature::Snapshots), &self.shadow, &self.exchange)
        else {
            return;
        };
        let every_ns = self.chance.magnitude(100 * MS, 3_000 * MS);
        match Shadow::open(self.host.shadow_storage(), &exchange.facts.day, every_ns) {
            Ok((shadow, _)) => self.shadow = Some(shadow),
            // No Genesis is committed yet, or the disk fails: the parent starts it again.
            Err(ShadowError::NoGenesis) => {}
            Err(_) if self.host.is_troubled() => {}
            Err(error) => self.violate("a shadow cannot start", error.to_string()),
        }
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
                return done as u64;
            }
        }
        0
    }
}
