//! rialto: a stock exchange as one appliance. Modules stand in the order in which an order flows.

#[macro_use]
mod layout;
pub mod types;
pub mod random;
pub mod planted;
pub mod clock;
pub mod agent;
pub mod lane;
pub mod ring;
mod sync;
pub mod counters;
pub mod net;
pub mod wire;
pub mod exchange;
pub mod store;
pub mod guard;
pub mod board;
pub mod gateway;
pub mod sequencer;
pub mod engine;
pub mod publisher;
pub mod retransmitter;
pub mod timer;
pub mod replay;
pub mod snapshot;
pub mod shadow;
#[cfg(feature = "cli")]
pub mod config;
#[cfg(feature = "cli")]
pub mod host;
#[cfg(feature = "cli")]
pub mod topology;
pub mod broker;
pub mod subscriber;
#[cfg(feature = "cli")]
pub mod flow;
#[cfg(feature = "cli")]
pub mod sim;
