//! The deterministic exchange: commands in, events out.
pub mod command;
pub mod event;
pub mod genesis;
