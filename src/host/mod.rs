//! The host under the venue: what it must give, what it gives, and how it is tuned.
//!
//! `doctor` reads and measures and changes nothing; `configure` applies what can be applied while
//! the host runs and gives every value back. Both see the host through a [`Surface`], so that tests
//! give them a directory instead. Must not know agents or logs.

pub mod configure;
pub mod cpus;
pub mod doctor;
mod ethtool;
pub mod hiccup;
pub mod machine;
pub mod needs;
pub mod realtime;
pub mod sandbox;
mod netdev;
pub mod surface;
pub mod wire;

pub use needs::{HostOptions, Needs};
pub use surface::{Key, Live, NicItem, Surface, Unread};
