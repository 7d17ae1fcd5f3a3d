//! Incidents: what happens at which time.
//!
//! Each has a number that stays the same however many others are taken away.

use super::{Feature, MS, Plan};
use crate::guard::DEATHS_MAX;
use crate::sim::Dice;

/// One thing that happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Incident {
    /// Its number in the seed's whole plan.
    pub number: usize,
    /// When, ns after the start.
    pub at_ns: u64,
    /// What.
    pub what: What,
}

/// What happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// The exchange dies between two duty cycles.
    Crash {
        /// It is down for so long.
        down_ns: u64,
    },
    /// The exchange dies inside a storage operation.
    CrashInStorage {
        /// Which, counted from now.
        operation: u64,
        /// It is down for so long.
        down_ns: u64,
    },
    /// The exchange dies, and its next start dies inside a storage operation, too.
    CrashInRecovery {
        /// Which operation of the start.
        operation: u64,
        /// The power goes with it.
        power: bool,
        /// It is down for so long, each time.
        down_ns: u64,
    },
    /// SIGTERM, then a start.
    Stop {
        /// It dies inside this storage operation of the stop; 0 = it does not.
        operation: u64,
        /// The power goes with it.
        power: bool,
        /// It is down for so long.
        down_ns: u64,
    },
    /// The exchange's machine loses its power.
    PowerLoss {
        /// Inside this storage operation, counted from now; 0 = at once.
        operation: u64,
        /// Inside this sync instead, counted from now; 0 = not in one.
        sync: u64,
        /// It is down for so long.
        down_ns: u64,
    },
    /// The exchange dies, and a confirmed byte of its logs is damaged.
    Damage {
        /// Chooses log, place and bit.
        choice: u64,
    },
    /// The exchange stands still.
    Freeze {
        /// For so long.
        ns: u64,
    },
    /// One of its threads stands still.
    FreezeThread {
        /// Which, modulo their number.
        thread: usize,
        /// For so long.
        ns: u64,
    },
    /// The archiver's thread stands still, however many there are.
    FreezeArchiver {
        /// For so long.
        ns: u64,
    },
    /// The thread that hears members stands still, where it is not that of the timer, which ends who is
    /// not heard.
    FreezeIngress {
        /// For so long.
        ns: u64,
    },
    /// One thread stands still over a day's end.
    FreezeOverEnd {
        /// Number of the thread, modulo their count.
        thread: usize,
        /// For so long, from shortly before the end.
        ns: u64,
    },
    /// A day is over, and while it is served still the exchange dies, or its disk fails.
    FailWhenOver {
        /// The disk.
        disk: bool,
        /// So long after the day's end.
        wait_ns: u64,
        /// It is down, or fails, for so long.
        down_ns: u64,
    },
    /// The exchange dies while it closes a day that is over.
    CrashInClosing {
        /// Inside this storage operation of it.
        operation: u64,
        /// The power goes with it.
        power: bool,
        /// It is down for so long.
        down_ns: u64,
    },
    /// The feed's thread stands still, where it has one of its own, and then the exchange dies: far behind
    /// what the log says.
    FeedBehind {
        /// It stands still for so long.
        ns: u64,
        /// The exchange is down for so long.
        down_ns: u64,
    },
    /// The exchange dies as it applies a member's message, and so do the next starts.
    Poison {
        /// How often in all.
        deaths: u32,
        /// The operators see to it only when a start stands before the message.
        halts: bool,
        /// It dies behind the message's events, and not before them; some are archived.
        behind: bool,
        /// It is down for so long.
        down_ns: u64,
    },
    /// A broker or a subscriber dies.
    CrashActor {
        /// Which, in the order of the cast.
        actor: usize,
        /// It is down for so long.
        down_ns: u64,
    },
    /// Nothing gets from or to an actor's host.
    Cut {
        /// Which actor.
        actor: usize,
        /// What it sends is lost.
        from: bool,
        /// What is sent to it is lost.
        to: bool,
        /// For so long.
        ns: u64,
    },
    /// The wall clock of the exchange's machine is stepped and mended later. Who starts meanwhile
    /// lives in that time.
    ClockStep {
        /// By so much, ms.
        ms: i64,
        /// For so long.
        ns: u64,
    },
    /// The disk takes nothing more.
    DiskFull {
        /// For so long.
        ns: u64,
    },
    /// The hot tier's file system takes nothing more.
    MemoryFull {
        /// For so long.
        ns: u64,
    },
    /// The hot tier's file system takes so many segments more.
    MemorySmall {
        /// So many.
        segments: u64,
        /// For so long.
        ns: u64,
    },
    /// Each fdatasync takes long.
    SlowDisk {
        /// So long.
        stall_ns: u64,
        /// While this lasts.
        ns: u64,
    },
    /// The disk fails: each write or sync with this chance.
    DiskError {
        /// In 1/1,000,000.
        per_million: u32,
        /// While this lasts.
        ns: u64,
    },
}

impl What {
    /// For how long lateness is nobody's fault, ns.
    pub fn stalls_ns(self) -> Option<u64> {
        match self {
            What::Freeze { ns } | What::FreezeThread { ns, .. } => Some(ns),
            What::FreezeArchiver { ns } => Some(ns),
            What::DiskFull { ns } | What::MemoryFull { ns } | What::MemorySmall { ns, .. } => {
                Some(ns)
            }
            What::SlowDisk { stall_ns, ns } => Some(ns + 2 * stall_ns),
            What::DiskError { ns, .. } => Some(ns),
            _ => None,
        }
    }

    /// True when the exchange's process ends without warning.
    pub fn is_crash(self) -> bool {
        matches!(
            self,
            What::Crash { .. }
                | What::CrashInStorage { .. }
                | What::CrashInRecovery { .. }
                | What::PowerLoss { .. }
                | What::Damage { .. }
        )
    }
}

pub(super) fn draw(seed: u64, plan: &Plan) -> Vec<Incident> {
    let mut dice = Dice::new(seed, "incidents");
    let mut list = Vec::new();
    let mut number = 0;
    let actors = (plan.brokers + plan.subscribers) as u64;
    let has = |feature| plan.has(feature);
    let mut add = |dice: &mut Dice, on: bool, what: What| {
        // The last tenth is left to what has begun. Numbers are given to those left out, too.
        let at_ns = dice.between(plan.run_ns / 20, plan.run_ns * 9 / 10);
        if on {
            list.push(Incident { number, at_ns, what });
        }
        number += 1;
    };
    for _ in 0..dice.between(2, 4) {
        let down_ns = dice.magnitude(MS, 3_000 * MS);
        add(&mut dice, true, What::Crash { down_ns });
    }
    for _ in 0..dice.between(1, 3) {
        let (operation, down_ns) = (dice.magnitude(1, 2_000), dice.magnitude(MS, 2_000 * MS));
        let on = has(Feature::CrashInStorage);
        add(&mut dice, on, What::CrashInStorage { operation, down_ns });
    }
    for _ in 0..dice.between(1, 2) {
        let (operation, down_ns) = (dice.magnitude(1, 500), dice.magnitude(MS, 1_000 * MS));
        let power = dice.percent(30) && has(Feature::PowerLoss);
        let on = has(Feature::CrashInRecovery);
        add(&mut dice, on, What::CrashInRecovery { operation, down_ns, power });
    }
    let down_ns = dice.magnitude(MS, 1_000 * MS);
    let mut own = Dice::new(seed, "stop");
    let operation = if own.percent(50) { own.between(1, 20) } else { 0 };
    let power = own.percent(50) && has(Feature::PowerLoss);
    add(&mut dice, has(Feature::Stop), What::Stop { operation, power, down_ns });
    for _ in 0..dice.between(1, 2) {
        let (operation, down_ns) = (dice.magnitude(1, 500), dice.magnitude(MS, 2_000 * MS));
        let operation = if dice.percent(30) { 0 } else { operation };
        // What a group leaves that was written and not synced is what tears.
        let sync = if dice.percent(60) { dice.between(1, 40) } else { 0 };
        add(&mut dice, has(Feature::PowerLoss), What::PowerLoss { operation, sync, down_ns });
    }
    let choice = dice.draw();
    add(&mut dice, has(Feature::Damage), What::Damage { choice });
    for _ in 0..dice.between(1, 3) {
        let ns = dice.magnitude(MS, 8_000 * MS);
        add(&mut dice, has(Feature::Freeze), What::Freeze { ns });
    }
    for _ in 0..dice.between(2, 6) {
        let (thread, ns) = (dice.below(64) as usize, dice.magnitude(MS, 4_000 * MS));
        add(&mut dice, has(Feature::FreezeThread), What::FreezeThread { thread, ns });
    }
    for _ in 0..dice.between(2, 6) {
        let (actor, down_ns) = (dice.below(actors) as usize, dice.magnitude(MS, 3_000 * MS));
        let broker = actor < plan.brokers;
        let on = has(if broker { Feature::BrokerCrash } else { Feature::SubscriberCrash });
        add(&mut dice, on, What::CrashActor { actor, down_ns });
    }
    for _ in 0..dice.between(1, 4) {
        let (actor, way) = (dice.below(actors) as usize, dice.between(1, 3));
        let ns = dice.magnitude(10 * MS, 6_000 * MS);
        let cut = What::Cut { actor, from: way & 1 != 0, to: way & 2 != 0, ns };
        add(&mut dice, has(Feature::Cut), cut);
    }
    for _ in 0..dice.between(1, 3) {
        let size = dice.magnitude(1, 3_600_000) as i64;
        let (back, ns) = (dice.percent(50), dice.magnitude(100 * MS, 5_000 * MS));
        let ms = if back { -size } else { size };
        add(&mut dice, has(Feature::ClockStep), What::ClockStep { ms, ns });
    }
    let ns = dice.magnitude(10 * MS, 3_000 * MS);
    add(&mut dice, has(Feature::DiskFull), What::DiskFull { ns });
    let ns = dice.magnitude(10 * MS, 3_000 * MS);
    add(&mut dice, has(Feature::MemoryFull), What::MemoryFull { ns });
    for _ in 0..dice.between(1, 3) {
        let stall_ns = dice.magnitude(MS / 10, 1_000 * MS);
        let ns = dice.magnitude(100 * MS, 4_000 * MS);
        add(&mut dice, has(Feature::SlowDisk), What::SlowDisk { stall_ns, ns });
    }
    let per_million = dice.magnitude(1_000, 500_000) as u32;
    let ns = dice.magnitude(10 * MS, 1_000 * MS);
    add(&mut dice, has(Feature::DiskError), What::DiskError { per_million, ns });
    let ns = dice.magnitude(100 * MS, 6_000 * MS);
    add(&mut dice, has(Feature::FreezeArchiver), What::FreezeArchiver { ns });
    let (kind, down_ns) = (dice.below(3), dice.magnitude(MS, 1_000 * MS));
    let deaths = if kind == 0 { 1 } else { DEATHS_MAX };
    let (halts, behind) = (kind == 2, dice.percent(50));
    add(&mut dice, has(Feature::Poison), What::Poison { deaths, halts, behind, down_ns });
    let (wait_ns, down_ns) = (dice.magnitude(MS, 900 * MS), dice.magnitude(MS, 500 * MS));
    let disk = dice.percent(30) && has(Feature::DiskError);
    add(&mut dice, has(Feature::Roll), What::FailWhenOver { disk, wait_ns, down_ns });
    let (thread, ns) = (dice.below(64) as usize, dice.magnitude(100 * MS, 5_000 * MS));
    let on = has(Feature::Roll) && has(Feature::FreezeThread);
    add(&mut dice, on, What::FreezeOverEnd { thread, ns });
    let mut own = Dice::new(seed, "closing");
    let (operation, down_ns) = (own.between(1, 40), own.magnitude(MS, 500 * MS));
    let power = own.percent(50) && has(Feature::PowerLoss);
    let on = has(Feature::Roll) && has(Feature::CrashInStorage);
    add(&mut own, on, What::CrashInClosing { operation, power, down_ns });
    let (ns, down_ns) = (own.between(2_000, 6_000) * MS, own.magnitude(MS, 500 * MS));
    let on = own.percent(70) && has(Feature::SpreadThreads);
    add(&mut own, on, What::FeedBehind { ns, down_ns });
    let ns = own.between(1_000, 3_000) * MS;
    let on = own.percent(50) && has(Feature::SpreadThreads);
    add(&mut own, on, What::FreezeIngress { ns });
    // While a broker is silent the exchange stands still, perhaps over the end of his dead time.
    let mut own = Dice::new(seed, "silence");
    let at_ns = own.between(plan.run_ns / 20, plan.run_ns * 7 / 10);
    let actor = own.below(plan.brokers as u64) as usize;
    let most = own.pick(&[450, 850]);
    let ns = own.between(250 * MS, most * MS);
    let silent_ns = own.between(900 * MS - ns, 980 * MS) + own.pick(&[0, 0, 0, 1_000]) * MS;
    if has(Feature::BrokerCrash) && has(Feature::Freeze) {
        let what = What::CrashActor { actor, down_ns: silent_ns + ns + 500 * MS };
        list.push(Incident { number, at_ns, what });
        let at_ns = at_ns + silent_ns;
        list.push(Incident { number: number + 1, at_ns, what: What::Freeze { ns } });
    }
    number += 2;
    let mut own = Dice::new(seed, "small memory");
    let at_ns = own.between(plan.run_ns / 20, plan.run_ns * 7 / 10);
    let (segments, ns) = (own.between(0, 2), own.between(2_000, 8_000) * MS);
    if has(Feature::MemoryFull) && !has(Feature::HotOnDisk) && own.percent(60) {
        list.push(Incident { number, at_ns, what: What::MemorySmall { segments, ns } });
    }
    number += 1;
    // What a hot tier on a disk has, and the archive not yet, is more than a segment.
    let mut own = Dice::new(seed, "hot on disk");
    let at_ns = own.between(plan.run_ns / 20, plan.run_ns * 7 / 10);
    let (ns, down_ns) = (own.between(300, 3_000) * MS, own.magnitude(MS, 500 * MS));
    if has(Feature::HotOnDisk) && has(Feature::PowerLoss) && has(Feature::FreezeArchiver) {
        list.push(Incident { number, at_ns, what: What::FreezeArchiver { ns } });
        let what = What::PowerLoss { operation: 0, sync: 0, down_ns };
        list.push(Incident { number: number + 1, at_ns: at_ns + ns, what });
    }
    list.sort_by_key(|i| (i.at_ns, i.number));
    list
}
