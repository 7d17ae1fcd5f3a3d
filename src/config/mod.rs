//! Configuration: one TOML text -> a checked [`Config`], or every fault in it at once.
//!
//! Consumes the text of a file; produces plain values that topology, tools and Genesis use. Must
//! not open sockets, logs or anything else: a bad configuration starts nothing. Every fault names
//! file, key, value and what is allowed.

mod placement;
mod read;
mod sizing;
mod table;

pub use read::HOST_STATE;
pub use sizing::Sizing;
pub use table::{Fault, parse_money};

use crate::exchange::genesis::{
    AccountSpec, CORE_VERSION, Capacities, Genesis, SessionSpec, SymbolSpec,
};
use crate::guard::Operator;
use crate::net::xdp::PathWish;
use crate::types::*;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

/// When a command counts as committed, on one node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// In shared memory: survives the death of the process.
    Memory,
    /// On disk (group commit): survives the loss of the machine's memory.
    Disk,
}

/// Where the hot tier of the logs lives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HotTier {
    /// `/dev/shm` when it is a tmpfs with room, else inside the data directory, where the configuration allows `degraded`.
    Auto,
    /// This directory.
    Directory(PathBuf),
}

/// When the market opens and closes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Schedule {
    /// Open as soon as the venue runs; no close.
    Immediate,
    /// Seconds after midnight in the venue's zone.
    Daily {
        /// Opening.
        open: u32,
        /// Close.
        close: u32,
    },
}

/// When a day ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DayEnd {
    /// Never by itself; a later date ends it at the next start of the process.
    Never,
    /// Seconds after midnight in the venue's zone.
    At(u32),
    /// Seconds after it began, and the next day follows at once under the next date: trials.
    After(u64),
}

/// The trading day around the market's hours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DayHours {
    /// A day begins at this time, seconds after midnight in the venue's zone: logins are possible.
    pub begin: u32,
    /// It ends.
    pub end: DayEnd,
    /// An ended day is served so much longer, ns: replay, repair, 0xFFFF again.
    pub linger_ns: u64,
}

/// How a thread spends cycles without work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Idle {
    /// Spins: isolated CPUs only.
    Spin,
    /// Yields to the scheduler.
    Yield,
    /// Spins 50 us, then waits in poll().
    Park,
}

/// The agents that can be placed on threads, in flow order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum AgentName {
    /// Gateway, receiving side.
    Ingress,
    /// Sequencer, inbound.
    Sequencer,
    /// Matching engine and outbound sequencer.
    Engine,
    /// Market data, lines A and B.
    Publisher,
    /// Gateway, sending side.
    Egress,
    /// Source of time commands.
    Timer,
    /// Replay of old reports.
    Replayer,
    /// Repair of the feed.
    Retransmitter,
    /// Copies the logs to disk and prepares segments; may block.
    Archiver,
}

impl AgentName {
    /// All, in flow order.
    pub const ALL: [AgentName; 9] = [
        AgentName::Ingress,
        AgentName::Sequencer,
        AgentName::Engine,
        AgentName::Publisher,
        AgentName::Egress,
        AgentName::Timer,
        AgentName::Replayer,
        AgentName::Retransmitter,
        AgentName::Archiver,
    ];

    /// Name in the configuration.
    pub fn text(self) -> &'static str {
        match self {
            AgentName::Ingress => "ingress",
            AgentName::Sequencer => "sequencer",
            AgentName::Engine => "engine",
            AgentName::Publisher => "publisher",
            AgentName::Egress => "egress",
            AgentName::Timer => "timer",
            AgentName::Replayer => "replayer",
            AgentName::Retransmitter => "retransmitter",
            AgentName::Archiver => "archiver",
        }
    }
}

/// One thread: what runs on it, in which order, where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ThreadConfig {
    /// Agents in the order of a cycle.
    pub agents: Vec<AgentName>,
    /// CPU to pin to; `None` = the scheduler decides.
    pub cpu: Option<usize>,
    /// Idle strategy.
    pub idle: Idle,
    /// SCHED_FIFO at this priority, 1 to 98, where [`HostConfig::realtime`] lets it; `None` = ordinary.
    pub priority: Option<u8>,
    /// A busy cycle longer than this counts as an overrun, ns.
    pub cycle_budget_ns: u64,
}

/// Where a thread that never sleeps may be scheduled before everybody else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Realtime {
    /// On isolated CPUs: nobody else is there to be starved. A thread that sleeps may everywhere.
    Isolated,
    /// Wherever `[[thread]] priority` says so.
    Anywhere,
    /// Nowhere.
    Off,
}

impl Realtime {
    const ALL: [(&str, Realtime); 3] = [
        ("isolated", Realtime::Isolated),
        ("anywhere", Realtime::Anywhere),
        ("off", Realtime::Off),
    ];
}

/// Whether the process keeps all its memory in memory, touched before the first order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockMemory {
    /// Where a thread spins and the host lets it.
    Auto,
    /// Or no start.
    On,
    /// Not at all.
    Off,
}

impl LockMemory {
    const ALL: [(&str, LockMemory); 3] =
        [("auto", LockMemory::Auto), ("on", LockMemory::On), ("off", LockMemory::Off)];
}

/// What is measured while the venue runs, beyond the counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ObserveConfig {
    /// Time of each agent in each busy cycle: some 40 ns an agent.
    pub stages: bool,
}

/// Order-entry gateway.
#[derive(Clone, PartialEq, Eq)]
pub struct GatewayConfig {
    /// Address it receives on.
    pub listen: SocketAddrV4,
    /// Address clients send to, where it differs (NAT): part of the login's HMAC.
    pub public: SocketAddrV4,
    /// Key of the login challenge; shared by all gateways. `None` = drawn at each start.
    pub key: Option<[u8; 32]>,
}

/// Market-data feed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FeedConfig {
    /// Interface that multicast leaves by.
    pub interface: Ipv4Addr,
    /// Line A.
    pub a: SocketAddrV4,
    /// Line B.
    pub b: SocketAddrV4,
    /// Address of the repair service.
    pub repair: SocketAddrV4,
    /// Repair bytes per second and client.
    pub repair_bytes_per_second: u64,
    /// Time to live of multicast datagrams.
    pub ttl: u8,
}

/// One order-entry session.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionConfig {
    /// What Genesis needs.
    pub spec: SessionSpec,
    /// Login key. Never printed, never logged.
    pub key: [u8; 32],
    /// Networks that may log in: address and prefix length.
    pub allow: Vec<(Ipv4Addr, u8)>,
    /// Messages per second.
    pub rate: u32,
    /// Burst, messages.
    pub burst: u32,
}

/// The way that datagrams take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetworkConfig {
    /// Which ways are allowed.
    pub path: PathWish,
    /// NIC; `None` = the one that has `gateway.listen`'s address.
    pub interface: Option<String>,
    /// Its receive queues; the first one transmits.
    pub queues: Vec<u32>,
    /// Preferred busy polling: for a thread that never parks, on a real NIC.
    pub busy_poll: bool,
}

/// Capture of what is received and sent (`net::capture`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CaptureConfig {
    /// Directory of the files.
    pub directory: PathBuf,
    /// Bytes of a file at most.
    pub file_bytes_max: u64,
    /// Files kept; the oldest goes first.
    pub files_max: usize,
    /// Memory of each tap, bytes.
    pub ring_bytes: usize,
    /// Switched on from the start.
    pub on: bool,
}

impl CaptureConfig {
    /// Into `directory`, with the default bounds: 16 files of 64 MiB. Switched off.
    pub fn new(directory: PathBuf) -> CaptureConfig {
        let (file_bytes_max, ring_bytes) = (64 << 20, 4 << 20);
        CaptureConfig { directory, file_bytes_max, files_max: 16, ring_bytes, on: false }
    }
}

/// Whether the running venue gives its privileges away (`host::sandbox`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SandboxWish {
    /// As far as the kernel can, where the process has no further day to open.
    Auto,
    /// Every layer or no start; the process ends with the day.
    On,
    /// Not at all.
    Off,
}

/// The host under the venue: what `rialto configure` may change, and what the venue leaves it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostConfig {
    /// File in which `rialto configure` keeps the values that were there before.
    pub state: PathBuf,
    /// CPUs for everything that is not the order path; `None` = all that no `[[thread]]` names.
    pub housekeeping: Option<Vec<usize>>,
    /// Privileges of the running venue.
    pub sandbox: SandboxWish,
    /// Where threads may be scheduled first in, first out.
    pub realtime: Realtime,
    /// Memory that stays.
    pub lock_memory: LockMemory,
    /// Huge pages of 2 MiB to keep ready; 0 = what the data path needs by itself.
    pub huge_pages: u64,
}

/// A checked configuration.
#[derive(Clone)]
pub struct Config {
    /// File it was read from.
    pub path: PathBuf,
    /// Six characters of the feed's session name.
    pub name: Alpha<6>,
    /// Incarnation of the session names: `A`, or a later letter after memory was lost.
    pub incarnation: u8,
    /// Directory of the day directories.
    pub data: PathBuf,
    /// Hot tier.
    pub hot: HotTier,
    /// Whether the hot tier may be an ordinary directory.
    pub degraded_allowed: bool,
    /// Durability level.
    pub durability: Durability,
    /// Minutes that the venue's zone is ahead of UTC.
    pub zone_offset_minutes: i32,
    /// Market hours.
    pub schedule: Schedule,
    /// Hours of the trading day.
    pub day: DayHours,
    /// Sizes of the exchange's tables.
    pub capacities: Capacities,
    /// Bytes of a log segment.
    pub segment_bytes: u64,
    /// Segments of each log kept in the hot tier.
    pub hot_segments_max: usize,
    /// Recent reports of each session that egress keeps in memory; the file does not say it. `None` = as
    /// many as the gateway finds right.
    pub reports_kept: Option<usize>,
    /// Orders per day that `config check` sizes for.
    pub orders_per_day: u64,
    /// Gateway.
    pub gateway: GatewayConfig,
    /// Feed.
    pub feed: FeedConfig,
    /// Seconds from one snapshot of the day to the next; 0 = none are made.
    pub snapshot_every_seconds: u64,
    /// Threads.
    pub threads: Vec<ThreadConfig>,
    /// What is measured.
    pub observe: ObserveConfig,
    /// Host.
    pub host: HostConfig,
    /// The way that datagrams take.
    pub network: NetworkConfig,
    /// Capture; `None` = there is none, and it cannot be switched on.
    pub capture: Option<CaptureConfig>,
    /// Symbols; locate = index + 1.
    pub symbols: Vec<SymbolSpec>,
    /// Firms.
    pub firms: Vec<Alpha<4>>,
    /// Accounts.
    pub accounts: Vec<AccountSpec>,
    /// Sessions; slot = index.
    pub sessions: Vec<SessionConfig>,
    /// Who may void a command that kills the exchange.
    pub operators: Vec<Operator>,
    /// Share of received datagrams to drop, in 1/1,000,000 (test aid).
    pub loss_ppm: u32,
}

/// A configuration that cannot be used.
#[derive(Debug)]
pub struct ConfigError {
    /// File.
    pub path: PathBuf,
    /// Every fault found.
    pub faults: Vec<Fault>,
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, fault) in self.faults.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{}: {fault}", self.path.display())?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let fail = |why: String| ConfigError {
            path: path.to_path_buf(),
            faults: vec![Fault { key: "file".into(), value: None, allowed: why }],
        };
        let text = std::fs::read_to_string(path)
            .map_err(|e| fail(format!("must be readable: {e}; --config names the file")))?;
        let config = Config::parse(path, &text)?;
        config.check_mode(&text).map_err(fail)?;
        Ok(config)
    }

    /// Checks a text; `path` is only named in faults and anchors relative paths.
    pub fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
        read::read(path, text)
    }

    /// Keys are secrets: the file must not be readable by others (session.md, Words), except that
    /// a venue of test keys says so itself.
    fn check_mode(&self, text: &str) -> Result<(), String> {
        use std::os::unix::fs::MetadataExt;
        let test_keys = text.lines().any(|l| {
            let l: String = l.chars().filter(|c| !c.is_whitespace()).collect();
            l.starts_with("test_keys=true")
        });
        if test_keys {
            return Ok(());
        }
        match std::fs::metadata(&self.path) {
            Ok(meta) if meta.mode() & 0o077 != 0 => Err(format!(
                "must not be readable by others, as it holds keys (mode is {:03o}); run: chmod 600 {}",
                meta.mode() & 0o777,
                self.path.display()
            )),
            _ => Ok(()),
        }
    }

    /// Trading date that `now` falls into: (days since 1970, midnight in the venue's zone).
    pub fn trading_day(&self, now: Nanos) -> (u64, Nanos) {
        const DAY: i64 = 86_400_000_000_000;
        let offset = self.zone_offset_minutes as i64 * 60_000_000_000;
        let local = now.0 as i64 + offset;
        let day = local.div_euclid(DAY);
        (day as u64, Nanos((day * DAY - offset) as u64))
    }

    /// Midnight of a date in the venue's zone.
    pub fn midnight(&self, days: u64) -> Nanos {
        let local = days as i64 * 86_400_000_000_000;
        Nanos((local - self.zone_offset_minutes as i64 * 60_000_000_000).max(0) as u64)
    }

    /// First record of a day that starts at `now`.
    pub fn genesis(&self, now: Nanos, incarnation: u8, hash_seed: u64) -> Genesis {
        self.genesis_of(self.trading_day(now).0, now, incarnation, hash_seed)
    }

    /// First record of the day of date `days` that starts at `now`, which is on another date only in
    /// trials: times count from the midnight before `now` all the same.
    pub fn genesis_of(&self, days: u64, now: Nanos, incarnation: u8, hash_seed: u64) -> Genesis {
        let (_, midnight) = self.trading_day(now);
        let (_, _, _, day_of_year) = civil_date(days);
        Genesis {
            core_version: CORE_VERSION,
            midnight,
            day_of_year,
            incarnation,
            feed_name: self.name,
            hash_seed,
            capacities: self.capacities,
            symbols: self.symbols.clone(),
            firms: self.firms.clone(),
            accounts: self.accounts.clone(),
            sessions: self.sessions.iter().map(|s| s.spec).collect(),
        }
    }

    /// Memory and disk that a day takes.
    pub fn sizing(&self) -> Sizing {
        Sizing::of(self)
    }
}

/// Days since 1970-01-01 -> (year, month, day of month, day of year), Gregorian.
/// Source: the usual era arithmetic (400 years = 146,097 days), with March as first month.
pub fn civil_date(days: u64) -> (u32, u32, u32, u16) {
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_from_march = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_from_march + 2) / 153;
    let day = day_from_march - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let leap = (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
    let before = [0u64, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334][month as usize - 1];
    let of_year = before + day + u64::from(leap && month > 2);
    (year as u32, month as u32, day as u32, of_year as u16)
}

/// `2026-01-31` of days since 1970-01-01: the name of a day's directory.
pub fn date_text(days: u64) -> String {
    let (year, month, day, _) = civil_date(days);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Days since 1970-01-01 of a `2026-01-31`; `None` when it is no date.
pub fn date_days(text: &str) -> Option<u64> {
    let mut parts = text.split('-').map(|p| p.parse::<u64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() || !(1970..=9999).contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_era = (y % 400) * 365 + (y % 400) / 4 - (y % 400) / 100 + (153 * m + 2) / 5 + day;
    let days = (y / 400 * 146_097 + of_era).checked_sub(719_469)?;
    (date_text(days) == text).then_some(days)
}

#[cfg(test)]
mod tests;
