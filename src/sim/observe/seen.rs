//! Seen: what actors wrote down, for the observers to read.
//!
//! Actors and observers share one of these. Entries are only added; the observers take them away.

use crate::broker::SettledBy;
use crate::types::*;
use std::cell::RefCell;
use std::rc::Rc;

/// Rule: what was sent, reaches every subscriber, or is repaired.
pub const LOST: &str = "a subscriber lost messages";

/// A report that a broker's library delivered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivered {
    /// Session.
    pub slot: SessionSlot,
    /// Downstream name.
    pub name: SessionName,
    /// Its number.
    pub number: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A message that a broker's library concluded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Concluded {
    /// Session.
    pub slot: SessionSlot,
    /// Downstream name.
    pub name: SessionName,
    /// Client sequence.
    pub sequence: u64,
    /// How.
    pub by: SettledBy,
}

/// A subscriber's books after a feed message that ended a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mirrored {
    /// Subscriber.
    pub subscriber: usize,
    /// Feed session.
    pub session: SessionName,
    /// Last message.
    pub feed: u64,
    /// Digest of the books.
    pub digest: u64,
    /// The last one of all, wherever it falls.
    pub last: bool,
}

/// Live orders of one session, as its broker knows them: reference, open shares, price.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Believed {
    /// Session.
    pub slot: SessionSlot,
    /// Downstream name.
    pub name: SessionName,
    /// Next report: what was believed after the one before.
    pub next_report: u64,
    /// Orders.
    pub orders: Vec<(Urn, OrderRef, Quantity, Price)>,
}

/// What actors wrote down.
#[derive(Default)]
pub struct Seen {
    /// Reports delivered.
    pub delivered: Vec<Delivered>,
    /// Messages concluded.
    pub concluded: Vec<Concluded>,
    /// Digests of mirrors.
    pub mirrored: Vec<Mirrored>,
    /// Own orders of brokers that had caught up.
    pub believed: Vec<Believed>,
    /// What an actor itself found wrong.
    pub faults: Vec<(&'static str, String, Nanos)>,
}

impl Seen {
    /// An actor found something wrong.
    pub fn fault(&mut self, rule: &'static str, what: String, now: Nanos) {
        self.faults.push((rule, what, now));
    }
}

/// Shared by everybody of one simulation.
pub type Shared = Rc<RefCell<Seen>>;

/// Messages after which mirrors take a digest, at the end of the command.
pub const DIGEST_EVERY: u64 = 16;
