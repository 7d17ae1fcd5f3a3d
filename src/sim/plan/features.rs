//! Features: what a seed may switch on or off as a whole.

use crate::sim::Dice;
use std::str::FromStr;

macro_rules! features {
    ($($(#[$doc:meta])* $name:ident $text:literal $percent:literal,)*) => {
        /// One kind of fault, or one kind of order flow.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Feature { $($(#[$doc])* $name,)* }

        impl Feature {
            /// All of them.
            pub const ALL: [Feature; [$($percent),*].len()] = [$(Feature::$name),*];

            /// Its name on the command line.
            pub fn text(self) -> &'static str {
                match self { $(Feature::$name => $text,)* }
            }

            /// Share of the seeds that have it.
            fn percent(self) -> u64 {
                match self { $(Feature::$name => $percent,)* }
            }
        }
    };
}

features! {
    // The network.
    /// Datagrams are lost.
    Loss "loss" 70,
    /// Datagrams come twice.
    Duplicate "duplicate" 60,
    /// Datagrams are held back, so that others overtake them.
    Reorder "reorder" 60,
    /// Bits flip, datagrams are cut short.
    Corrupt "corrupt" 50,
    /// Links are cut for a while, one way or both.
    Cut "cut" 40,
    // Processes.
    /// The exchange dies inside a storage operation.
    CrashInStorage "crash-in-storage" 60,
    /// The exchange dies while it recovers.
    CrashInRecovery "crash-in-recovery" 50,
    /// The exchange is stopped in good order and started again.
    Stop "stop" 30,
    /// The machine loses its power.
    PowerLoss "power-loss" 40,
    /// The exchange stands still for a while.
    Freeze "freeze" 50,
    /// One of its threads stands still while others run.
    FreezeThread "freeze-thread" 60,
    /// Brokers die and come back.
    BrokerCrash "broker-crash" 50,
    /// Subscribers die and come back.
    SubscriberCrash "subscriber-crash" 50,
    /// The wall clock is stepped; who starts afterwards reads the new time.
    ClockStep "clock-step" 40,
    // Storage.
    /// The disk is full for a while.
    DiskFull "disk-full" 30,
    /// The hot tier's file system is full for a while.
    MemoryFull "memory-full" 20,
    /// fdatasync takes long.
    SlowDisk "slow-disk" 40,
    /// A write or fdatasync fails.
    DiskError "disk-error" 20,
    /// A confirmed record is damaged while the exchange is down: the start must refuse.
    Damage "damage" 30,
    /// Durability level `disk` instead of `memory`.
    Disk "disk" 50,
    /// Segments so small that they change all the time.
    SmallSegments "small-segments" 50,
    /// Tables so small that they fill.
    SmallTables "small-tables" 30,
    /// Agents on threads of their own instead of the default placement.
    SpreadThreads "spread-threads" 50,
    /// A shadow process writes snapshots.
    Snapshots "snapshots" 50,
    /// The day ends, and the next one begins.
    Roll "roll" 30,
    /// The market opens by the clock.
    Schedule "schedule" 30,
    // Order flow.
    /// Replaces.
    Replace "replace" 70,
    /// Cancels.
    Cancel "cancel" 80,
    /// Market orders.
    Market "market" 60,
    /// Immediate or cancel.
    Ioc "ioc" 60,
    /// Minimum quantity, with it fill or kill.
    MinQuantity "min-quantity" 50,
    /// Account queries.
    Query "query" 40,
    /// Orders that must be refused: unknown symbol, bad price, foreign account ...
    BadOrders "bad-orders" 50,
    /// Orders beyond cash, shares or limits.
    Overdraft "overdraft" 50,
    /// Bursts beyond the session's rate.
    Burst "burst" 40,
    /// Sessions with cancel on disconnect.
    CancelOnDisconnect "cancel-on-disconnect" 40,
    /// Sessions with a MAC on every packet.
    PacketMac "packet-mac" 40,
    /// A second process logs in as the same user.
    Takeover "takeover" 30,
    /// Brokers log off and on again.
    Logoff "logoff" 40,
    /// Datagrams carry earlier unsettled messages again.
    RepeatPrevious "repeat-previous" 30,
    /// Brokers take unsettled messages back at a reconnect.
    Withdraw "withdraw" 30,
    /// Brokers restart from a stored report number instead of the whole day.
    StoredReport "stored-report" 40,
    /// Hostile peers send what they overheard, altered, and noise.
    Hostile "hostile" 40,
    /// Somebody asks for more to be repaired than he may have, and for what has not left yet.
    RepairFlood "repair-flood" 30,
    /// The archiver alone stands still for long.
    FreezeArchiver "freeze-archiver" 40,
    /// The last of several members has no library, and sends what he likes.
    NoLibrary "no-library" 60,
    /// A member's message kills the exchange, once or until two operators void it.
    Poison "poison" 15,
    // Last, so that the others are drawn as without it.
    /// The hot tier lies on the disk, as `degraded = true` allows: a power cut leaves pages of it.
    HotOnDisk "hot-on-disk" 12,
}

/// A set of features.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Features(u64);

const _: () = assert!(Feature::ALL.len() <= 64);

impl Features {
    pub(super) fn draw(dice: &mut Dice) -> Features {
        let mut set = Features(0);
        for feature in Feature::ALL {
            if dice.percent(feature.percent()) {
                set.0 |= 1 << feature as u64;
            }
        }
        set
    }

    /// True when `feature` is on.
    pub fn has(self, feature: Feature) -> bool {
        self.0 & (1 << feature as u64) != 0
    }

    pub(super) fn remove(&mut self, feature: Feature) {
        self.0 &= !(1 << feature as u64);
    }

    /// Those that are on.
    pub fn list(self) -> impl Iterator<Item = Feature> {
        Feature::ALL.into_iter().filter(move |f| self.has(*f))
    }
}

impl FromStr for Feature {
    type Err = String;

    fn from_str(text: &str) -> Result<Feature, String> {
        let names = || Feature::ALL.map(Feature::text).join(", ");
        Feature::ALL
            .into_iter()
            .find(|f| f.text() == text)
            .ok_or_else(|| format!("{text:?} is no feature; there are {}", names()))
    }
}
