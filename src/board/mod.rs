//! What agents show each other beside the logs: small tables of atomics with one writer each.
//!
//! The logs carry everything that happened; these tables carry where things stand, so that an agent
//! need not follow a whole log for one number. Egress writes [`SessionBoard`], the engine writes
//! [`EngineStatus`]; ingress and timer read. Must not know the agents.

mod sessions;
mod status;

pub use sessions::{Binding, SessionBoard};
pub use status::EngineStatus;
