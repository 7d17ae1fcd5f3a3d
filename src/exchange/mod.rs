//! The deterministic exchange: commands in, events out.
//!
//! Consumes [`command::Command`]s with their sequence and time, produces [`event::Event`]s in an
//! [`event::EventSink`]. No I/O, no clock, no randomness, no floating point, no recursion: the same
//! commands give the same events and the same state hash on any machine. The rules, check by check,
//! stand in `exchange.md`. Must not know sockets, bytes of OUCH or ITCH, files or configuration.
//!
//! In flow order: [`exchange`] (sequence, verdict) -> `order_manager` -> `risk` (checks; `market`,
//! `names`) -> `wallet` -> [`matching`] (`order_book`, `price_level`, `page_map`, [`arena`]) ->
//! `output` (numbers, [`state_hash`]) -> sink. `session` and `order_index` find sessions and orders,
//! `mass` does what takes more than one command, `check` proves in tests that all of it fits;
//! [`snapshot`] is the way out and back in as bytes.
#![forbid(unsafe_code)]

pub mod arena;
mod check;
pub mod command;
pub mod event;
#[allow(clippy::module_inception)] // the file is named after the thing, as the others are
pub mod exchange;
#[cfg(test)]
pub(crate) mod fixture;
pub mod genesis;
mod market;
pub mod mass;
pub mod matching;
pub mod naive;
mod names;
pub mod order_book;
mod order_index;
mod order_manager;
mod output;
mod page_map;
mod price_level;
mod risk;
mod session;
mod state;
pub mod snapshot;
pub mod state_hash;
#[cfg(test)]
mod tests;
pub mod view;
mod wallet;

pub use exchange::Exchange;
pub use naive::Naive;
