//! The deterministic exchange: commands in, events out.
//!
//! Consumes [`command::Command`]s with their sequence and time, produces [`event::Event`]s in an
//! [`event::EventSink`]. No I/O, no clock, no randomness, no floating point, no recursion: the same
//! commands give the same events and the same state hash on any machine. The rules, check by check,
//! stand in `exchange.md`. Must not know sockets, bytes of OUCH or ITCH, files or configuration.
#![forbid(unsafe_code)]

pub mod command;
pub mod event;
#[allow(clippy::module_inception)] // the file is named after the thing, as the others are
pub mod exchange;
pub mod genesis;
pub mod naive;
pub mod state_hash;
pub mod view;

pub use exchange::Exchange;
pub use naive::Naive;
