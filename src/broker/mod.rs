//! The broker's side of order entry over UDP: what a firm's trading engine links against.
//!
//! Consumes orders, replaces, cancels and queries; produces every report of the session in order,
//! exactly once, whatever the network does to datagrams, and tells of each message what became of
//! it. Polled by its owner; no thread, no clock, no allocation per message. Must not know
//! anything of the exchange's inside: it sees [`crate::wire`] and [`crate::net`] only. The session
//! is specified in `docs/connect.md`.
//!
//! ```no_run
//! use rialto::broker::*;
//! use rialto::clock::{Clock, SystemClock};
//! use rialto::net::UdpPort;
//! use rialto::types::*;
//!
//! let clock = SystemClock::new();
//! let config = BrokerConfig::new(
//!     User::new("ALFA01").unwrap(),
//!     [0x01; 32],
//!     vec!["127.0.0.1:9001".parse().unwrap()],
//! );
//! let port = UdpPort::bind("127.0.0.1:0".parse().unwrap()).unwrap();
//! let mut broker = Broker::new(config, port).unwrap();
//! let mut ordered = false;
//! loop {
//!     broker.poll(clock.now(), |event| println!("{event:?}"));
//!     if broker.is_bound() && !ordered {
//!         let symbol = Symbol::new("ALPH").unwrap();
//!         let order = NewOrder::limit(Side::Buy, symbol, Quantity(100), Price(10_0000));
//!         broker.enter(&order).unwrap();
//!         ordered = true;
//!     }
//! }
//! ```

mod client;
mod config;
mod event;
mod login;
mod order;
mod orders;
mod receive;
mod reports;
mod round_trip;
mod timers;
mod window;
mod words;

pub use client::{Broker, BrokerCounters, State};
pub use config::{
    BrokerConfig, ConfigError, ConfigErrors, DEAD_TIME_MS_DEFAULT, RESEND_AFTER_NS, StartAt,
    WINDOW, WINDOW_MAX,
};
pub use event::{BrokerEvent, Gone, LoggedIn, Settled, SettledBy, refusal_text};
pub use order::{NewOrder, ReplaceOrder, SendError, Sent, TimeInForce};
pub use orders::{Change, OrderState, OwnOrder, OwnOrders, Position};
pub use words::{Decimal, Words, cancel_text, reject_text};
