//! Actors: brokers, subscribers and hostile peers of a simulation.
//!
//! Built on the libraries that brokers and subscribers link against, over ports of the simulated
//! network. Everything is drawn from the seed; what they see they write down for the observers.

mod broker;
mod flow;
mod subscriber;

use super::observe::{Observers, Shared};
use super::{Actor, Cast, Stage};
use broker::BrokerActor;
use subscriber::SubscriberActor;

/// Everybody that the plan asks for.
pub fn cast(stage: &Stage<'_>) -> Cast {
    let seen = Shared::default();
    let Stage { plan, config, network } = *stage;
    let mut actors: Vec<Box<dyn Actor>> = Vec::new();
    for slot in 0..plan.brokers {
        actors.push(Box::new(BrokerActor::new(plan, config, network, slot, seen.clone())));
    }
    for index in 0..plan.subscribers {
        actors.push(Box::new(SubscriberActor::new(plan, network, index, seen.clone())));
    }
    let observer = Box::new(Observers::new(plan, config, seen));
    Cast { actors, observer }
}
