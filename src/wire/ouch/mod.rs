//! OUCH 5.0: the messages of order entry, inbound (client to exchange) and outbound.
//!
//! Consumes and produces one block's bytes. Source: Nasdaq OUCH 5.0, April 2023; tables, order of
//! checks and what malformed input gets stand in `ouch.md`. Fields that only the exchange judges
//! (letters, prices, quantities) pass through unchecked, so that each gets its own reason there.
//! Must not know sessions, sequence numbers or the book.

mod appendage;
mod inbound;
mod outbound;

pub use appendage::{Appendage, TAGS, Tag, tag_name};
pub use inbound::{
    Cancel, Enter, INBOUND_BYTES_MAX, Inbound, InboundError, Malformed, Replace, decode_inbound,
    malformed_fields,
};
pub use outbound::{
    Accepted, CancelRefused, Canceled, Executed, NotApplied, OUTBOUND_BYTES_MAX, Outbound,
    OutboundError, QueryResponse, Rejected, Replaced, SystemEvent,
};

/// Quantities stay below this (OUCH 5.0, Enter Order).
pub const QUANTITY_LIMIT: u32 = 1_000_000;
