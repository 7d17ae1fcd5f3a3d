//! Actors: brokers, subscribers and hostile peers of a simulation.
//!
//! Built on the libraries that brokers and subscribers link against, over ports of the simulated
//! network. Everything is drawn from the seed; what they see they write down for the observers.

mod asker;
mod broker;
mod flow;
mod hostile;
mod questions;
mod raw;
mod subscriber;

use super::observe::{Observers, Shared};
use super::{Actor, Cast, Stage};
use crate::sim::Feature;
use asker::Asker;
use broker::BrokerActor;
use hostile::HostilePeer;
use raw::RawClient;
use subscriber::SubscriberActor;

/// Everybody that the plan asks for.
pub fn cast(stage: &Stage<'_>) -> Cast {
    let seen = Shared::default();
    let Stage { plan, config, network } = *stage;
    let mut actors: Vec<Box<dyn Actor>> = Vec::new();
    for slot in 0..plan.brokers {
        let raw = plan.has(Feature::NoLibrary) && slot > 1 && slot + 1 == plan.brokers;
        actors.push(match raw {
            true => Box::new(RawClient::new(plan, config, network, slot)),
            false => Box::new(BrokerActor::new(plan, config, network, slot, seen.clone())),
        });
    }
    for index in 0..plan.subscribers {
        actors.push(Box::new(SubscriberActor::new(plan, network, index, seen.clone())));
    }
    for index in 0..plan.hostile {
        actors.push(Box::new(HostilePeer::new(plan, network, index)));
    }
    if plan.has(Feature::RepairFlood) {
        actors.push(Box::new(Asker::new(plan, network)));
    }
    let observer = Box::new(Observers::new(plan, config, seen));
    Cast { actors, observer }
}
