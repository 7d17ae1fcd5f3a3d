//! Actors: brokers, subscribers and hostile peers of a simulation.

use super::observe::Observers;
use super::{Cast, Stage};

/// Everybody that the plan asks for.
pub fn cast(_stage: &Stage<'_>) -> Cast {
    Cast { actors: Vec::new(), observer: Box::new(Observers::default()) }
}
