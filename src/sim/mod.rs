//! Simulation: the venue's real agents on one thread, with simulated network, storage and time.
//!
//! Consumes a seed; produces a [`Summary`]: what happened, the trace hash, and every violation that
//! the observers found. One seed decides everything: configuration, order flow, faults, the order
//! in which agents run. What is simulated and how to read a failure stands in `sim.md`.
//!
//! | module | job |
//! |---|---|
//! | `dice` | choices from a seed |
//! | `plan` | what a seed draws: features, faults, incidents, configuration |
//! | `world` | processes, threads, time, crashes: runs a plan |
//! | `shrink` | a failing plan -> a smaller one |
//! | `actors` | brokers, subscribers, hostile peers |
//! | `observe` | what must hold, checked from outside |

pub mod actors;
mod dice;
pub mod observe;
mod outcome;
mod panics;
pub mod plan;
mod shrink;
mod world;

pub use dice::Dice;
pub use outcome::{Counts, Outcome, Summary};
pub use panics::capture_panics;
pub use plan::{CRASHES_MIN, Feature, ORDERS_MIN, Plan, Reduction};
pub use shrink::shrink;
pub use world::run;

use crate::config::Config;
use crate::net::MemoryNetwork;
use crate::store::{DayView, StoreError};
use crate::types::*;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

/// Where the simulated exchange is.
pub const EXCHANGE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// Where orders go.
pub const GATEWAY: SocketAddrV4 = SocketAddrV4::new(EXCHANGE, 9_001);
/// Where repair is asked for.
pub const REPAIR: SocketAddrV4 = SocketAddrV4::new(EXCHANGE, 9_103);
/// Line A of the feed.
pub const GROUP_A: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 192, 0, 1), 9_101);
/// Line B of the feed.
pub const GROUP_B: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 192, 0, 2), 9_102);

/// Host of broker `index`; the whole network 10.1.0.0/16 may log in.
pub fn broker_host(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 1, 0, index as u8 + 1)
}

/// Host of subscriber `index`.
pub fn subscriber_host(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 2, 0, index as u8 + 1)
}

/// Host of who asks for repair alone.
pub const ASKER: Ipv4Addr = Ipv4Addr::new(10, 3, 0, 1);

/// Host of hostile peer `index`: may not log in.
pub fn hostile_host(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, 0, index as u8 + 1)
}

/// Key of the nonces that the gateway hands out.
pub const GATEWAY_KEY: [u8; 32] = [0x5A; 32];

/// Login key of session `slot`.
pub fn key(slot: usize) -> [u8; 32] {
    [slot as u8 + 1; 32]
}

/// User of session `slot`, as in the configuration.
pub fn user(slot: usize) -> User {
    User::new(&format!("FIRM{slot:02}")).unwrap_or_default()
}

/// A process outside the exchange: broker, subscriber, hostile peer. Built stopped; the world starts
/// it with [`Actor::restart`].
pub trait Actor {
    /// For the history.
    fn name(&self) -> String;

    /// Does what is due at `now` (this process' own clock: never runs back between a restart and the
    /// next crash). Returns datagrams received and sent, 0 = nothing to do. Not called while down.
    fn step(&mut self, now: Nanos) -> usize;

    /// When it wants to be stepped though nothing arrives; at the latest 1 ms later it is anyway.
    fn wake(&self) -> Nanos {
        Nanos(u64::MAX)
    }

    /// The process dies: ports are dropped, what was only in its memory is gone.
    fn crash(&mut self);

    /// The process comes up and binds its ports again.
    fn restart(&mut self, now: Nanos);

    /// The healing phase begins: no new orders; what is under way is brought to its end.
    fn quiesce(&mut self);

    /// In the healing phase: what is still to be done, `None` = everything it wants is there.
    fn unfinished(&self) -> Option<String>;

    /// Adds what it did so far to `tally`.
    fn tally(&self, tally: &mut Tally);
}

/// Counts of actors, over all their lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// New orders entered.
    pub orders: u64,
    /// Replaces and cancels entered.
    pub changes: u64,
    /// Reports that reached a broker, each once.
    pub reports: u64,
    /// Executions among them.
    pub executions: u64,
    /// Refusals among them.
    pub rejects: u64,
    /// Logins that brokers had accepted.
    pub logins: u64,
    /// Feed messages that subscribers delivered.
    pub feed_messages: u64,
    /// Of those, repaired.
    pub repaired: u64,
    /// Datagrams that hostile peers sent.
    pub hostile: u64,
}

/// What the world does to the exchange, told to the observer when it happens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Happening {
    /// The exchange serves, on this day.
    Up {
        /// Directory of its logs.
        day: PathBuf,
        /// Commands found in the log.
        commands: u64,
        /// When its start began.
        begun: Nanos,
    },
    /// The process died (between two cycles, or inside a storage operation).
    Crashed,
    /// It was stopped in good order.
    Stopped,
    /// A day that is over is closed now, as it was served for so long: this is told before `Stopped`.
    Closed {
        /// ns, behind the last word of its end.
        linger_ns: u64,
    },
    /// The machine lost its power: what no disk had is gone. Level `disk` promises everything
    /// acknowledged nevertheless.
    PowerLost,
    /// The start was refused because acknowledged records may be missing (level `memory`); the
    /// operator begins the day anew under the next incarnation: `day` is closed for ever.
    MemoryLost {
        /// Directory of the day given up.
        day: PathBuf,
    },
    /// The exchange, a thread of it or its disk stands still or fails on purpose, for so long.
    Stalled {
        /// ns.
        ns: u64,
    },
    /// All of the exchange stands still for so long: this is told behind `Stalled`.
    Frozen {
        /// ns.
        ns: u64,
    },
    /// One thread of it stands still for so long, and these agents with it: this too.
    ThreadFrozen {
        /// ns.
        ns: u64,
        /// Names of its agents.
        agents: Vec<&'static str>,
    },
    /// Until now datagrams waited at the gateway, and nobody took one.
    Unread {
        /// From then on.
        since: Nanos,
    },
    /// Two operators void this command, which killed the exchange: it is never applied.
    Voided {
        /// Its number.
        command: u64,
    },
    /// No more faults from here on.
    Healing,
}

/// What must hold did not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// The rule, a few words that stay the same from seed to seed: `acknowledged order missing`.
    pub rule: &'static str,
    /// What exactly.
    pub what: String,
    /// Simulated time.
    pub at: Nanos,
}

/// When the observer is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// The exchange has just come up.
    AfterStart,
    /// Now and then while it runs: only what is cheap.
    Checkpoint,
    /// Healing is over: everything must agree.
    End,
}

/// The exchange as seen from outside: its files, and the state that it tells.
pub struct Evidence<'a> {
    /// Days in the order in which they began; a day begun anew has an entry of its own.
    pub days: &'a [PathBuf],
    /// The last command whose state hash was told, and that hash; `None` while down.
    pub state_hash: Option<(Seq, u64)>,
    /// Opens a day's logs for reading, as another process would.
    pub open: &'a dyn Fn(&Path) -> Result<DayView, StoreError>,
}

/// A datagram that passed a port of the exchange.
#[derive(Clone, Copy, Debug)]
pub struct Tap<'a> {
    /// True: the exchange sent it, whatever the network did to it then. False: the exchange took it
    /// from its port.
    pub sent: bool,
    /// The exchange's port.
    pub local: SocketAddrV4,
    /// To whom, of the feed the group; from whom.
    pub peer: SocketAddrV4,
    /// What.
    pub bytes: &'a [u8],
    /// Archived mark of the command log at that moment.
    pub archived: Seq,
}

/// Judges what actors saw by what the logs say.
pub trait Observer {
    /// A datagram passed a port of the exchange, in order.
    fn on_datagram(&mut self, _tap: &Tap<'_>, _now: Nanos) {}

    /// Something happened at `now`.
    fn on(&mut self, happening: &Happening, now: Nanos);

    /// What does not hold.
    fn check(&mut self, when: When, evidence: &Evidence<'_>, now: Nanos) -> Vec<Violation>;
}

/// What actors are made from.
pub struct Stage<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The exchange's configuration: symbols, accounts, sessions.
    pub config: &'a Config,
    /// The network; bind ports at the hosts named above.
    pub network: &'a MemoryNetwork,
}

/// Everybody outside the exchange, and who watches.
pub struct Cast {
    /// Brokers first, then subscribers, then hostile peers: incidents name them by index.
    pub actors: Vec<Box<dyn Actor>>,
    /// The observer; shares evidence with the actors.
    pub observer: Box<dyn Observer>,
}
