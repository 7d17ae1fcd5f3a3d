//! rialto: a stock exchange as one appliance. Modules stand in the order in which an order flows.

#[macro_use]
mod layout;
pub mod agent;
pub mod board;
pub mod clock;
#[cfg(feature = "cli")]
pub mod config;
pub mod counters;
pub mod engine;
pub mod exchange;
#[cfg(feature = "cli")]
pub mod flow;
pub mod gateway;
pub mod net;
pub mod ring;
pub mod sequencer;
pub mod store;
pub mod timer;
pub mod types;
pub mod wire;
pub mod publisher;
pub mod retransmitter;
pub mod broker;
pub mod subscriber;
pub mod replay;
