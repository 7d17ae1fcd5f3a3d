//! Why a venue cannot start: what is missing, and what mends it.

use super::CarryError;
use crate::engine::EngineError;
use crate::exchange::genesis::GenesisError;
use crate::replay::ReplayError;
use crate::store::{ReadError, StoreError};
use std::net::SocketAddrV4;
use std::path::PathBuf;

/// Why a venue cannot start. Each names what is missing and what mends it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be bound, a group not be sent to.
    #[error("{what} {address}: {cause}; {}", address_hint(cause))]
    Address {
        /// Which key of the configuration.
        what: &'static str,
        /// Its value.
        address: SocketAddrV4,
        /// The host's answer.
        cause: std::io::Error,
    },
    /// The way that datagrams shall take is not to be had.
    #[error("network.path is {path:?}: {cause}")]
    Path {
        /// Value of the key.
        path: &'static str,
        /// What the host lacks, and what mends it.
        cause: crate::net::xdp::XdpError,
    },
    /// Privileges cannot be given away as the configuration demands.
    #[error(transparent)]
    Sandbox(#[from] crate::host::sandbox::SandboxError),
    /// The logs cannot be opened or recovered.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The day's Genesis, in the log or from the configuration, is not usable.
    #[error("the day's first record: {0}")]
    Genesis(#[from] GenesisError),
    /// No day is open at this hour.
    #[error("no trading day now: {date} begins at its hour")]
    BetweenDays {
        /// When the next one begins.
        until: crate::types::Nanos,
        /// Its date.
        date: String,
    },
    /// The end of the open day lies long before its last command.
    #[error(
        "the last command of {day} came {minutes} minutes after the end that the configuration now gives \
         it: were the hours changed? It would end at once, with all that rests. Put the old end back, or a \
         later one; the new hours can stand there when this day is over"
    )]
    EndPassed {
        /// The day's directory.
        day: PathBuf,
        /// How long after its end.
        minutes: u64,
    },
    /// The last ended day cannot be read.
    #[error("cash and shares cannot be carried from {day}: {cause}")]
    EndedDay {
        /// The ended day's directory.
        day: PathBuf,
        /// Why.
        cause: ReplayError,
    },
    /// The last ended day left what the configuration has no place for.
    #[error("cash and shares cannot be carried from {day}: {cause}")]
    Carry {
        /// The ended day's directory.
        day: PathBuf,
        /// Why.
        cause: CarryError,
    },
    /// Replay of the ended day does not end where the exchange stood.
    #[error(
        "cash and shares are not carried from {day}: its log replays to state {replayed:016x}, the \
         exchange ended at {noted:016x} (file `ended`); `rialto replay {day}` looks closer"
    )]
    EndedElsewhere {
        /// The ended day's directory.
        day: PathBuf,
        /// State hash of the replay.
        replayed: u64,
        /// State hash noted at the end.
        noted: u64,
    },
    /// Replaying the day failed.
    #[error("recovery: {0}")]
    Engine(#[from] EngineError),
    /// The hot tier is not memory, and the configuration does not allow that.
    #[error(
        "the hot tier {path} lies on a disk: orders would wait for it. Put venue.hot on a tmpfs \
         such as /dev/shm, or set venue.degraded = true"
    )]
    Degraded {
        /// Directory.
        path: PathBuf,
    },
    /// `venue.hot` is "auto", and there is no memory for it.
    #[error(
        "venue.hot is \"auto\", but /dev/shm is no tmpfs with {mib} MiB free, four segments of each log: \
         make it larger, or capacity.segment_mib smaller, or set venue.degraded = true and let orders \
         wait for a disk"
    )]
    NoRoom {
        /// What must be free.
        mib: u64,
    },
    /// The hot tier of a day that was served at level `memory` is gone or came back from a power cut, and the
    /// run before did not end well.
    #[error(
        "{day} was served with durability \"memory\", and what its hot tier held is not there any more or \
         in doubt (reboot?): what left last cannot be proven. `rialto replay {day}` shows what the disk \
         has. To trade on, begin the day anew under new session names: set `incarnation = \"{wanted}\"` \
         in [venue]"
    )]
    MemoryLost {
        /// The day's directory.
        day: PathBuf,
        /// The letter that agrees to it, or a later one.
        wanted: char,
    },
    /// At level `disk`, commands of the run before cannot be committed.
    #[error(
        "the archive does not take what the last run wrote: {0}; make room on its disk and start again"
    )]
    Archive(std::io::Error),
    /// A file about a command that killed the exchange cannot be read or written.
    #[error("a command killed an earlier run, and what is noted of it cannot be used: {0}")]
    Guard(#[source] std::io::Error),
    /// The log could not take the first record.
    #[error("the command log does not take Genesis: {0}")]
    FirstRecord(crate::store::AppendError),
    /// A day to be filled has commands already.
    #[error("{day} has begun; give another data directory")]
    NotNew {
        /// The day's directory.
        day: PathBuf,
    },
    /// The host gives no thread, or no random numbers.
    #[error("{what}: {cause}")]
    Host {
        /// What was asked for.
        what: &'static str,
        /// The host's answer.
        cause: std::io::Error,
    },
}

/// What mends an address that cannot be had.
fn address_hint(cause: &std::io::Error) -> &'static str {
    match cause.kind() {
        std::io::ErrorKind::AddrInUse => {
            "another process has it: is another venue running? `ss -ulpn` lists them"
        }
        std::io::ErrorKind::AddrNotAvailable => {
            "no interface of this host has it: `ip -br address` lists them"
        }
        std::io::ErrorKind::PermissionDenied => "a port below 1024 is root's",
        _ => "is another venue running, is the address this host's?",
    }
}
