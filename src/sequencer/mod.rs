//! Sequencers: the only two places that append to the logs.
//!
//! [`inbound`] gives commands their number and time and puts them into the command log; [`outbound`]
//! does the same for the events that the exchange makes of them. Everything downstream follows the
//! logs. Must not know orders: a payload is copied, not understood.

pub mod inbound;
pub mod outbound;

pub use inbound::{Commands, Inbound, InboundCounters, InboundOptions, submit};
pub use outbound::{Outbound, OutboundCounters, OutboundError};
