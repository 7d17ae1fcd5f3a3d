//! Planted bugs: known faults that the simulator must find, behind the cargo feature `planted-bugs`.
//!
//! Each has one hook `if planted::is(Bug::X)` where the fault would be made. Without the feature `is`
//! is a constant `false` and nothing of this is in the binary; with it one bug is chosen per thread.
//! Names no other module.

macro_rules! bugs {
    ($($name:ident: $text:literal,)*) => {
        /// A fault that can be planted.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Bug {
            $(
                #[doc = $text]
                $name,
            )*
        }

        impl Bug {
            /// All of them.
            pub const ALL: &'static [Bug] = &[$(Bug::$name),*];

            /// What is wrong with it.
            #[cfg(feature = "planted-bugs")]
            pub fn text(self) -> &'static str {
                match self { $(Bug::$name => $text,)* }
            }
        }
    };
}

bugs! {
    SkipDedupe: "exchange: a client sequence below the next one is executed again",
    PriorityAfterPartialFill: "matching: an order goes to the back of its queue when it is filled in part",
    FillOrKillInPart: "matching: fill or kill trades what is there",
    CancelReleasesAll: "wallet: a partial cancel frees the hold of the whole order",
    StaleGeneration: "exchange: messages of a login that was displaced are accepted",
    NotAppliedCount: "exchange: N covers one message too many",
    ContinueForgets: "exchange: a mass cancel of more than 256 orders is not continued",
    ForgetHold: "restore: cash that resting orders hold is free again",
    SnapshotForgetsFlag: "snapshot: a session's cancel on disconnect is forgotten",
    ReplyBeforeCommit: "sequencer: level disk commits before fdatasync",
    LinkLostAtRestart: "sequencer: the link to a session's previous report is lost at a restart",
    NoSync: "archiver: the archived mark moves without fdatasync",
    NoChecksum: "store: recovery does not look at checksums",
    ShortWrite: "archiver: the last 32 bytes of a group are not written",
    TailNotCleared: "store: a start does not clear the archive behind the log's end",
    NoPad: "store: a full segment ends without a pad",
    ThrottleNeverTakes: "gateway: a block costs no token",
    SpoofedSource: "gateway: a token is accepted from any address",
    HeldBack: "egress: what a binding has still to get does not leave before it ends",
    AnsweredLater: "egress: K for a block without a report waits like any other",
    ReplaySkipsOne: "egress: a replay from memory leaves out its first report",
    AppliedTooFar: "egress: K says one message more than is applied",
    LoseTailHeartbeat: "publisher: no heartbeats at 1, 10 and 100 ms",
    DropFullPacket: "publisher: a packet that leaves because the next command does not fit is dropped",
    FeedChangesAtRestart: "publisher: messages sent again after a restart carry another time",
    NeighbourRepaired: "retransmitter: a request is answered with the message behind the one asked for",
    RepairCostsHalf: "retransmitter: an answer costs half its bytes",
    SessionDownEarly: "timer: a session is dead after half its dead time",
}

#[cfg(feature = "planted-bugs")]
mod chosen {
    use super::Bug;
    use std::cell::Cell;

    /// Stands in every binary with the feature, and in no other (checked in `.ci`).
    pub const MARKER: &str = "rialto-binary-with-planted-bugs";

    thread_local! {
        static CHOSEN: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Plants `bug` for this thread; `None` = none.
    pub fn plant(bug: Option<Bug>) {
        CHOSEN.with(|chosen| chosen.set(bug));
    }

    /// True when this bug is planted.
    #[inline]
    pub fn is(bug: Bug) -> bool {
        CHOSEN.with(|chosen| chosen.get() == Some(bug))
    }
}

#[cfg(feature = "planted-bugs")]
pub use chosen::{MARKER, is, plant};

/// False: this binary has no planted bugs.
#[cfg(not(feature = "planted-bugs"))]
#[inline(always)]
pub const fn is(_bug: Bug) -> bool {
    false
}
