//! Observers: what must hold, checked from outside.

use super::{Evidence, Happening, Observer, Violation, When};
use crate::types::Nanos;

/// All observers.
#[derive(Default)]
pub struct Observers {}

impl Observer for Observers {
    fn on(&mut self, _happening: &Happening, _now: Nanos) {}

    fn check(&mut self, _when: When, _evidence: &Evidence<'_>, _now: Nanos) -> Vec<Violation> {
        Vec::new()
    }
}
