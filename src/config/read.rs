//! Text -> [`Config`]: the keys of `rialto.toml`, one function per table.

use super::placement::{Layout, read_threads};
use super::table::{Fault, Section, name};
use super::*;
use crate::exchange::genesis::Limits;
use crate::guard::void::good_name;
use toml::{Table, Value};

/// Default messages per second of a session and its burst (session.md 18).
const RATE_DEFAULT: u64 = 5_000;
const BURST_DEFAULT: u64 = 500;
/// One second of the peak (215,000 orders/s, about 1.4 feed messages of 38 bytes each) repaired
/// within 5 s: 215,000 x 1.4 x 38 / 5 = 2.3 MB/s, doubled for headers and retries.
const REPAIR_RATE_DEFAULT: u64 = 5_000_000;

type Faults = Vec<Fault>;

pub(super) fn read(path: &Path, text: &str) -> Result<Config, ConfigError> {
    let error = |faults| ConfigError { path: path.to_path_buf(), faults };
    let table: Table = text.parse().map_err(|e: toml::de::Error| {
        error(vec![Fault { key: "text".into(), value: None, allowed: format!("is not TOML: {e}") }])
    })?;
    let mut faults = Vec::new();
    match read_root(path, table, &mut faults) {
        Some(config) if faults.is_empty() => Ok(config),
        _ => Err(error(faults)),
    }
}

fn read_root(path: &Path, table: Table, faults: &mut Faults) -> Option<Config> {
    let mut root = Section::new("", table);
    let venue = root.table("venue");
    let capacity = root.table("capacity");
    let gateway = root.table("gateway");
    let feed = root.table("feed");
    let network = root.table("network");
    let capture = root.table("capture");
    let snapshot = root.table("snapshot");
    let threads = root.tables("thread");
    let host = root.table("host");
    let symbols = root.tables("symbol");
    let firms = root.tables("firm");
    let accounts = root.tables("account");
    let sessions = root.tables("session");
    let operators = root.tables("operator");
    let observe = root.table("observe");
    root.finish(faults);

    let base = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let venue = read_venue(base, venue, faults);
    let capacity = read_capacity(capacity, faults);
    let gateway = read_gateway(gateway, faults);
    let feed = read_feed(feed, faults);
    if let (Some(gateway), Some(feed)) = (&gateway, &feed)
        && gateway.listen == feed.repair
    {
        faults.push(Fault {
            key: "feed.repair".into(),
            value: Some(feed.repair.to_string()),
            allowed: "must differ from gateway.listen".into(),
        });
    }
    let network = read_network(network, gateway.as_ref().zip(feed.as_ref()), faults);
    let capture = read_capture(base, capture, faults);
    let snapshot_every_seconds = read_snapshot(snapshot, faults);
    let observe = read_observe(observe, faults);
    // First: what else is wrong with the tables may come of it.
    let layout = Layout::chosen(&host).filter(|_| !threads.is_empty());
    if let Some(layout) = layout {
        faults.push(Fault {
            key: "host.layout".into(),
            value: Some(format!("{layout:?}")),
            allowed: "does not go with [[thread]] tables: take out the one or the others".into(),
        });
    }
    let threads = read_threads(threads, layout.is_none(), faults);
    let (threads, host) = read_host(base, host, threads, faults);
    let receives = |t: &&ThreadConfig| t.agents.contains(&AgentName::Ingress);
    if network.as_ref().is_some_and(|n| n.busy_poll)
        && threads.iter().find(receives).is_some_and(|t| t.idle != Idle::Spin)
    {
        faults.push(Fault {
            key: "network.busy_poll".into(),
            value: Some("true".into()),
            allowed: "goes with a thread of ingress that spins: nobody else polls, and each frame \
                      would wait for the kernel's timer"
                .into(),
        });
    }
    let symbols = read_symbols(symbols, faults);
    let firms = read_firms(firms, faults);
    let accounts = read_accounts(accounts, &symbols, &firms, faults);
    let sessions = read_sessions(sessions, &firms, &accounts, faults);
    let operators = read_operators(operators, faults);
    let (venue, capacity) = (venue?, capacity?);
    Some(Config {
        path: path.to_path_buf(),
        name: venue.name,
        incarnation: venue.incarnation,
        data: venue.data,
        hot: venue.hot,
        degraded_allowed: venue.degraded_allowed,
        durability: venue.durability,
        zone_offset_minutes: venue.zone_offset_minutes,
        schedule: venue.schedule,
        day: venue.day,
        capacities: capacity.tables,
        segment_bytes: capacity.segment_bytes,
        hot_segments_max: capacity.hot_segments_max,
        reports_kept: None,
        orders_per_day: capacity.orders_per_day,
        gateway: gateway?,
        feed: feed?,
        network: network?,
        snapshot_every_seconds: snapshot_every_seconds?,
        threads,
        observe,
        host: host?,
        capture,
        symbols,
        firms,
        accounts,
        sessions,
        operators,
        loss_ppm: 0,
    })
}

struct Venue {
    name: Alpha<6>,
    incarnation: u8,
    data: PathBuf,
    hot: HotTier,
    degraded_allowed: bool,
    durability: Durability,
    zone_offset_minutes: i32,
    schedule: Schedule,
    day: DayHours,
}

fn read_venue(base: &Path, table: Table, faults: &mut Faults) -> Option<Venue> {
    let mut s = Section::new("venue", table);
    let path = |t: &str| (!t.is_empty()).then(|| base.join(t));
    let name = s.alpha("name", Some(Alpha(*b"RIALTO")), "the feed's session name");
    let incarnation = s.text_with("incarnation", Some(b'A'), "must be a letter A to Z", |t| {
        t.bytes().next().filter(|b| t.len() == 1 && b.is_ascii_uppercase())
    });
    let data = s.text_with("data", Some(base.join("data")), "must name a directory", path);
    let hot = s.text_with("hot", Some(HotTier::Auto), "must be \"auto\" or a directory", |t| {
        if t == "auto" { Some(HotTier::Auto) } else { path(t).map(HotTier::Directory) }
    });
    let durability = s.text_with(
        "durability",
        Some(Durability::Memory),
        "must be \"memory\" (survives the death of the process) or \"disk\" (survives the loss \
         of the machine's memory)",
        |t| match t {
            "memory" => Some(Durability::Memory),
            "disk" => Some(Durability::Disk),
            _ => None,
        },
    );
    let degraded_allowed = s.flag("degraded", false);
    s.flag("test_keys", false);
    let zone = s.signed("zone_offset_minutes", 0, -840..=840, "minutes ahead of UTC");
    let clock = "must be a time of day such as \"09:30:00\"";
    let open = s.text_with(
        "open",
        Some(None),
        "must be \"immediate\" or a time of day such as \"09:30\"",
        |t| {
            if t == "immediate" { Some(None) } else { time_of_day(t).map(Some) }
        },
    );
    let close = s.text_with("close", Some(None), clock, |t| time_of_day(t).map(Some));
    let schedule = match (open, close) {
        (None, _) | (_, None) => None, // told already
        (Some(None), Some(None)) => Some(Schedule::Immediate),
        (Some(Some(open)), Some(Some(close))) if open < close => {
            Some(Schedule::Daily { open, close })
        }
        (Some(None), Some(Some(_))) => {
            s.fault("close", None, "goes with a time in venue.open, not with \"immediate\"");
            None
        }
        (Some(Some(_)), Some(None)) => {
            s.fault("close", None, format!("is missing, as venue.open is a time; it {clock}"));
            None
        }
        _ => {
            s.fault("close", None, "must be later than venue.open");
            None
        }
    };
    let day = read_hours(&mut s, schedule);
    s.finish(faults);
    Some(Venue {
        name: name?,
        incarnation: incarnation?,
        data: data?,
        hot: hot?,
        degraded_allowed,
        durability: durability?,
        zone_offset_minutes: zone? as i32,
        schedule: schedule?,
        day: day?,
    })
}

/// A day ends so long after the close when nothing else is said, seconds.
const END_AFTER_CLOSE: u32 = 3_600;

/// Begin and end of the trading day around the market's hours. Without `end`: an hour after the
/// close; with a market that is always open, never.
fn read_hours(s: &mut Section, schedule: Option<Schedule>) -> Option<DayHours> {
    let time = |text: &str| time_of_day(text).map(Some);
    let clock = "must be a time of day such as \"17:00\"";
    let begin = s.text_with("begin", Some(None), clock, time);
    let end = s.text_with("end", Some(None), clock, time);
    let trial = s.number("trial_day_seconds", Some(0), 0..=86_400, "seconds; 0 = real days");
    let linger = s.number("linger_seconds", Some(60), 1..=86_400, "seconds");
    let (schedule, begin, end, trial) = (schedule?, begin?, end?, trial?);
    if trial > 0 && (begin.is_some() || end.is_some() || schedule != Schedule::Immediate) {
        s.fault(
            "trial_day_seconds",
            Some(trial.to_string()),
            "goes with open = \"immediate\" and without begin and end",
        );
        return None;
    }
    let first = begin.unwrap_or(0);
    let (open, close) = match schedule {
        Schedule::Immediate => (first, first),
        Schedule::Daily { open, close } => (open, close),
    };
    if first > open {
        s.fault("begin", None, "must not be later than venue.open");
    }
    if end.is_some_and(|end| end < close || end <= first) {
        s.fault("end", None, "must not be earlier than venue.close, and later than venue.begin");
    }
    let end = match (end, schedule) {
        _ if trial > 0 => DayEnd::After(trial),
        (Some(end), _) => DayEnd::At(end),
        (None, Schedule::Immediate) => DayEnd::Never,
        (None, Schedule::Daily { close, .. }) => {
            DayEnd::At((close + END_AFTER_CLOSE).min(24 * 3_600 - 1))
        }
    };
    Some(DayHours { begin: first, end, linger_ns: linger? * 1_000_000_000 })
}

/// "09:30" or "09:30:00" -> seconds after midnight.
fn time_of_day(text: &str) -> Option<u32> {
    let mut parts = text.split(':').map(|p| p.parse::<u32>().ok().filter(|_| p.len() == 2));
    let (h, m) = (parts.next()??, parts.next()??);
    let s = parts.next().unwrap_or(Some(0))?;
    (parts.next().is_none() && h < 24 && m < 60 && s < 60).then_some(h * 3_600 + m * 60 + s)
}

struct Capacity {
    tables: Capacities,
    segment_bytes: u64,
    hot_segments_max: usize,
    orders_per_day: u64,
}

fn read_capacity(table: Table, faults: &mut Faults) -> Option<Capacity> {
    let mut s = Section::new("capacity", table);
    let orders = s.number("orders_max", Some(1_000_000), 1..=1 << 28, "open orders");
    let pages = s.number("price_pages_max", Some(64), 4..=60_000, "pages of 512 ticks per symbol");
    let segment = s.number("segment_mib", Some(64), 1..=4_096, "MiB per log segment");
    let hot = s.number("hot_segments_max", Some(16), 3..=4_096, "segments per log");
    let day = s.number("orders_per_day", Some(10_000_000), 1..=1 << 40, "messages");
    s.finish(faults);
    Some(Capacity {
        tables: Capacities { orders_max: orders? as u32, price_pages_max: pages? as u32 },
        segment_bytes: segment? << 20,
        hot_segments_max: hot? as usize,
        orders_per_day: day?,
    })
}

fn read_gateway(table: Table, faults: &mut Faults) -> Option<GatewayConfig> {
    let mut s = Section::new("gateway", table);
    let listen = s.address("listen", None);
    // Without a good `listen` there is one fault to tell, not two.
    let public = s.address("public", Some(listen.unwrap_or(SocketAddrV4::new([0; 4].into(), 0))));
    let key = s.secret("key", false);
    s.finish(faults);
    Some(GatewayConfig { listen: listen?, public: public?, key })
}

fn read_feed(table: Table, faults: &mut Faults) -> Option<FeedConfig> {
    let mut s = Section::new("feed", table);
    let interface = s.parse(
        "interface",
        Some(Ipv4Addr::LOCALHOST),
        "must be the IPv4 address of the interface that multicast leaves by",
    );
    let a = s.group("a");
    let b = s.group("b");
    let repair = s.address("repair", None);
    let rate = s.number(
        "repair_bytes_per_second",
        Some(REPAIR_RATE_DEFAULT),
        1_400..=10_000_000_000,
        "bytes per second and client",
    );
    let ttl = s.number("ttl", Some(1), 0..=255, "hops");
    if a.is_some() && a == b {
        s.fault("b", a.map(|a| a.to_string()), "must differ from feed.a");
    }
    s.finish(faults);
    Some(FeedConfig {
        interface: interface?,
        a: a?,
        b: b?,
        repair: repair?,
        repair_bytes_per_second: rate?,
        ttl: ttl? as u8,
    })
}

/// Without the table there is no capture; with it, `directory` is required.
fn read_capture(base: &Path, table: Table, faults: &mut Faults) -> Option<CaptureConfig> {
    if table.is_empty() {
        return None;
    }
    let mut s = Section::new("capture", table);
    let directory = s.text_with("directory", None, "must name a directory", |t| {
        (!t.is_empty()).then(|| base.join(t))
    });
    let default = CaptureConfig::new(PathBuf::new());
    let mib = |bytes: u64| Some(bytes >> 20);
    let file = s.number("file_mib", mib(default.file_bytes_max), 1..=65_536, "MiB per file");
    let files = s.number("files_max", Some(default.files_max as u64), 1..=10_000, "files");
    let ring = s.number("ring_mib", mib(default.ring_bytes as u64), 1..=1_024, "MiB per tap");
    s.finish(faults);
    Some(CaptureConfig {
        file_bytes_max: file? << 20,
        files_max: files? as usize,
        ring_bytes: (ring? as usize) << 20,
        ..CaptureConfig::new(directory?)
    })
}

fn read_snapshot(table: Table, faults: &mut Faults) -> Option<u64> {
    let mut s = Section::new("snapshot", table);
    let every = s.number("every_seconds", Some(15), 0..=86_400, "seconds, 0 = no snapshots");
    s.finish(faults);
    every
}

/// Where the old values of the host are kept when nothing else is said: gone after a boot, as the
/// values that it undoes are.
pub const HOST_STATE: &str = "/run/rialto/configure.json";

fn read_network(
    table: Table,
    addresses: Option<(&GatewayConfig, &FeedConfig)>,
    faults: &mut Faults,
) -> Option<NetworkConfig> {
    let mut s = Section::new("network", table);
    let names = PathWish::ALL.map(|(name, _)| name).join(", ");
    let allowed = format!("must be one of {names}");
    let path = s.text_with("path", Some(PathWish::Udp), &allowed, |t| t.parse().ok());
    let allowed = "must name a network interface";
    let interface = s.text_with("interface", Some(None), allowed, |t| {
        (!t.is_empty() && t.len() < 16).then(|| Some(t.to_string()))
    });
    let allowed = "must be a list of receive queues such as \"0-1\"";
    let queues = s.text_with("queues", Some(vec![0]), allowed, |t| {
        let queues = cpu_list(t)?;
        (!queues.is_empty() && queues.len() <= 64)
            .then(|| queues.into_iter().map(|q| q as u32).collect())
    });
    let busy_poll = s.flag("busy_poll", false);
    let wish = path.unwrap_or_default();
    if let Some((gateway, feed)) = addresses
        && !wish.allows_udp()
    {
        let [listen, repair] = [*gateway.listen.ip(), *feed.repair.ip()];
        if listen.is_loopback() || listen != repair || listen != feed.interface {
            let what = "needs gateway.listen, feed.repair and feed.interface on one address of \
                        the NIC, not on loopback";
            s.fault("path", Some(wish.text().into()), what);
        }
    }
    s.finish(faults);
    let (interface, queues) = (interface?, queues?);
    Some(NetworkConfig { path: path?, interface, queues, busy_poll })
}

fn read_observe(table: Table, faults: &mut Faults) -> ObserveConfig {
    let mut s = Section::new("observe", table);
    let stages = s.flag("stages", false);
    s.finish(faults);
    ObserveConfig { stages }
}

/// The host, and the threads: `tables`, or those of the layout.
fn read_host(
    base: &Path,
    table: Table,
    tables: Option<Vec<ThreadConfig>>,
    faults: &mut Faults,
) -> (Vec<ThreadConfig>, Option<HostConfig>) {
    let mut s = Section::new("host", table);
    let layout = read_one_of(&mut s, "layout", Layout::Shared, &Layout::ALL);
    let threads = tables.unwrap_or_else(|| layout.unwrap_or(Layout::Shared).threads());
    let host = read_host_values(base, &mut s, &threads);
    s.finish(faults);
    (threads, host)
}

fn read_one_of<T: Copy>(
    s: &mut Section,
    key: &'static str,
    default: T,
    all: &[(&str, T)],
) -> Option<T> {
    let names: Vec<String> = all.iter().map(|(name, _)| format!("{name:?}")).collect();
    let allowed = format!("must be one of {}", names.join(", "));
    s.text_with(key, Some(default), &allowed, |t| {
        all.iter().find(|(name, _)| *name == t).map(|(_, value)| *value)
    })
}

fn read_host_values(base: &Path, s: &mut Section, threads: &[ThreadConfig]) -> Option<HostConfig> {
    let state = s.text_with("state", Some(PathBuf::from(HOST_STATE)), "must name a file", |t| {
        (!t.is_empty() && !t.ends_with('/')).then(|| base.join(t))
    });
    let allowed = "must be a list of CPUs such as \"0-1,8\"";
    let housekeeping = s.text_with("housekeeping", Some(None), allowed, |t| {
        cpu_list(t).filter(|cpus| !cpus.is_empty()).map(Some)
    });
    let huge_pages = s.number("huge_pages", Some(0), 0..=1 << 20, "pages of 2 MiB");
    let sandbox = s.text_with(
        "sandbox",
        Some(SandboxWish::Auto),
        "must be \"auto\", \"on\" (every layer, and one day per process) or \"off\"",
        |t| match t {
            "auto" => Some(SandboxWish::Auto),
            "on" => Some(SandboxWish::On),
            "off" => Some(SandboxWish::Off),
            _ => None,
        },
    );
    let realtime = read_one_of(s, "realtime", Realtime::Isolated, &Realtime::ALL);
    let lock_memory = read_one_of(s, "lock_memory", LockMemory::Auto, &LockMemory::ALL);
    if let Some(Some(cpus)) = &housekeeping
        && let Some(cpu) = threads.iter().filter_map(|t| t.cpu).find(|cpu| cpus.contains(cpu))
    {
        s.fault("housekeeping", None, format!("must not name CPU {cpu}, which a [[thread]] has"));
    }
    Some(HostConfig {
        state: state?,
        housekeeping: housekeeping?,
        sandbox: sandbox?,
        realtime: realtime?,
        lock_memory: lock_memory?,
        huge_pages: huge_pages?,
    })
}

/// CPUs of "0-1,8", ascending, without doubles; at most 1,024, as in [[thread]].
fn cpu_list(text: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last > 1_023 {
            return None;
        }
        cpus.extend(first..=last);
    }
    cpus.sort_unstable();
    cpus.dedup();
    Some(cpus)
}

fn duplicate<T: PartialEq>(list: &[T], item: &T) -> bool {
    list.contains(item)
}

fn read_symbols(tables: Vec<Table>, faults: &mut Faults) -> Vec<SymbolSpec> {
    let mut symbols: Vec<SymbolSpec> = Vec::new();
    if tables.is_empty() {
        faults.push(Fault {
            key: "symbol".into(),
            value: None,
            allowed: "is missing: at least one table [[symbol]]".into(),
        });
    }
    for (i, table) in tables.into_iter().enumerate() {
        let mut s = Section::new(format!("symbol[{i}]"), table);
        let max = u64::from(Price::MAX.0);
        let symbol = s.alpha("name", None, "the symbol");
        let tick = s.money("tick", Some(100), 1..=max);
        let lot = s.number("lot", Some(1), 1..=100_000, "shares");
        let tick_or_one = tick.unwrap_or(100);
        let min = s.money("price_min", Some(tick_or_one), 1..=max);
        let top = s.money("price_max", Some(20_000_000 / tick_or_one * tick_or_one), 1..=max);
        let protection = s.money("protection", Some(50_000), 0..=max);
        let read = || {
            Some(SymbolSpec {
                symbol: symbol?,
                tick: tick? as u32,
                lot: lot? as u32,
                price_min: Price(min? as u32),
                price_max: Price(top? as u32),
                protection: protection? as u32,
            })
        };
        if let Some(spec) = read() {
            if duplicate(&symbols.iter().map(|o| o.symbol).collect::<Vec<_>>(), &spec.symbol) {
                s.fault("name", Some(spec.symbol.text()), "is taken by an earlier symbol");
            }
            if spec.price_min.0 % spec.tick != 0 || spec.price_max.0 % spec.tick != 0 {
                s.fault("price_min", None, "and price_max must be multiples of the tick");
            }
            if spec.price_min > spec.price_max {
                s.fault("price_max", None, "must not be below price_min");
            }
            if spec.price_max.0 / spec.tick > 1 << 25 {
                s.fault("price_max", None, "must be at most 2^25 ticks");
            }
            symbols.push(spec);
        }
        s.finish(faults);
    }
    symbols
}

fn read_firms(tables: Vec<Table>, faults: &mut Faults) -> Vec<Alpha<4>> {
    let mut firms = Vec::new();
    for (i, table) in tables.into_iter().enumerate() {
        let mut s = Section::new(format!("firm[{i}]"), table);
        if let Some(firm) = s.alpha("name", None, "the firm") {
            if duplicate(&firms, &firm) {
                s.fault("name", Some(firm.text()), "is taken by an earlier firm");
            }
            firms.push(firm);
        }
        s.finish(faults);
    }
    firms
}

fn read_accounts(
    tables: Vec<Table>,
    symbols: &[SymbolSpec],
    firms: &[Alpha<4>],
    faults: &mut Faults,
) -> Vec<AccountSpec> {
    let mut accounts: Vec<AccountSpec> = Vec::new();
    for (i, table) in tables.into_iter().enumerate() {
        let mut s = Section::new(format!("account[{i}]"), table);
        let account: Option<AccountName> = s.alpha("name", None, "the account");
        let firm = read_firm(&mut s, firms);
        let cash = s.money("cash", Some(0), 0..=1 << 62);
        let every = s.number("shares", Some(0), 0..=1 << 40, "shares of every symbol");
        let quantity = s.number("order_quantity_max", Some(0), 0..=999_999, "shares per order");
        let notional = s.money("order_notional_max", Some(0), 0..=1 << 62);
        let day = s.number("day_shares_max", Some(0), 0..=1 << 40, "shares per symbol and day");
        let mut positions: Vec<(Locate, u64)> = match every {
            Some(n) if n > 0 => (0..symbols.len()).map(|i| (Locate(i as u16 + 1), n)).collect(),
            _ => Vec::new(),
        };
        for (text, value) in s.pairs("positions") {
            let index = symbols.iter().position(|o| Some(o.symbol) == name(&text));
            let shares = match value {
                Value::Integer(n) => u64::try_from(n).ok(),
                _ => None,
            };
            match (index, shares) {
                (Some(index), Some(shares)) => {
                    let locate = Locate(index as u16 + 1);
                    positions.retain(|p| p.0 != locate);
                    positions.push((locate, shares));
                }
                _ => s.fault(
                    "positions",
                    Some(format!("{text} = {value}")),
                    "must be { SYMBOL = shares } with symbols of this file",
                ),
            }
        }
        positions.sort();
        let read = || {
            Some(AccountSpec {
                name: account?,
                firm: firm?,
                cash: Notional(cash?),
                limits: Limits {
                    order_quantity_max: quantity? as u32,
                    order_notional_max: Notional(notional?),
                    day_shares_max: day?,
                },
                positions,
            })
        };
        if let Some(spec) = read() {
            if accounts.iter().any(|a| a.name == spec.name) {
                s.fault("name", Some(spec.name.text()), "is taken by an earlier account");
            }
            accounts.push(spec);
        }
        s.finish(faults);
    }
    accounts
}

/// Names, or that there are none.
fn listed(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    if names.is_empty() { "there is none".into() } else { names.join(", ") }
}

fn read_firm(s: &mut Section, firms: &[Alpha<4>]) -> Option<u16> {
    let known = listed(firms.iter().map(|f| f.text()));
    s.text_with("firm", None, &format!("must be one of the firms: {known}"), |t| {
        firms.iter().position(|f| Some(*f) == name(t)).map(|i| i as u16)
    })
}

fn read_sessions(
    tables: Vec<Table>,
    firms: &[Alpha<4>],
    accounts: &[AccountSpec],
    faults: &mut Faults,
) -> Vec<SessionConfig> {
    let mut sessions: Vec<SessionConfig> = Vec::new();
    if tables.len() > 3_844 {
        let value = Some(tables.len().to_string());
        let allowed = "must be at most 3,844 sessions (two base62 characters)".to_string();
        faults.push(Fault { key: "session".into(), value, allowed });
        return sessions;
    }
    for (i, table) in tables.into_iter().enumerate() {
        let mut s = Section::new(format!("session[{i}]"), table);
        let user: Option<User> = s.alpha("user", None, "the user name");
        let firm = read_firm(&mut s, firms);
        let own = accounts.iter().filter(|a| Some(a.firm) == firm).map(|a| a.name.text());
        let allowed = format!("must be an account of the firm: {}", listed(own));
        let account = s.text_with("account", None, &allowed, |t| {
            accounts
                .iter()
                .position(|a| Some(a.name) == name(t) && Some(a.firm) == firm)
                .map(|i| AccountSlot(i as u16))
        });
        let key = s.secret("key", true);
        let allow = s.networks("allow");
        let rate = s.number("rate", Some(RATE_DEFAULT), 1..=10_000_000, "messages per second");
        let burst = s.number("burst", Some(BURST_DEFAULT), 1..=10_000_000, "messages");
        let read = || {
            Some(SessionConfig {
                spec: SessionSpec { user: user?, firm: firm?, default_account: account? },
                key: key?,
                allow,
                rate: rate? as u32,
                burst: burst? as u32,
            })
        };
        if let Some(session) = read() {
            if sessions.iter().any(|o| o.spec.user == session.spec.user) {
                s.fault("user", Some(session.spec.user.text()), "is taken by an earlier session");
            }
            sessions.push(session);
        }
        s.finish(faults);
    }
    sessions
}

fn read_operators(tables: Vec<Table>, faults: &mut Faults) -> Vec<Operator> {
    let mut operators: Vec<Operator> = Vec::new();
    for (i, table) in tables.into_iter().enumerate() {
        let mut s = Section::new(format!("operator[{i}]"), table);
        let allowed = "must be 1 to 16 of A-Z and 0-9";
        let name = s.text_with("name", None, allowed, |t| good_name(t).then(|| t.to_string()));
        let key = s.secret("key", true);
        if let (Some(name), Some(key)) = (name, key) {
            if operators.iter().any(|o| o.name == name) {
                s.fault("name", Some(name.clone()), "is taken by an earlier operator");
            }
            if operators.iter().any(|o| o.key == key) {
                s.fault("key", None, "is an earlier operator's: two people have two keys");
            }
            operators.push(Operator { name, key });
        }
        s.finish(faults);
    }
    operators
}
