//! `rialto run`: the venue, until SIGTERM.

use super::alarms::{Alarms, begins};
use super::keeper::Shadows;
use super::status::{scheduling, status, write_status};
use super::text::{grouped, say, size};
use anyhow::Context;
use clap::Args;
use rialto::clock::{Clock, SystemClock};
use rialto::config::{CaptureConfig, Config, ConfigError, DayEnd, SandboxWish};
use rialto::host::sandbox::{Layer, Sandbox, attempts};
use rialto::store::{FileStorage, Medium, files};
use rialto::topology::{Next, StartError, Venue, next_day, rehearse};
use rialto::types::Nanos;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Runs the venue until SIGTERM or SIGINT
///
/// Stopping is silent: no session is logged off, no feed is ended. The next start of the same day
/// resumes both. At the end of a trading day (venue.end) it waits for the next one and carries cash
/// and shares into it.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  rialto run --config rialto.toml
  rialto run --config /etc/rialto/rialto.toml &
  rialto run --pcap /var/tmp/capture         and all that it receives and sends is there to look at
  cat data/*/status.json                     where it stands, rewritten every 200 ms")]
pub struct Arguments {
    /// Configuration file
    #[arg(long, default_value = "rialto.toml")]
    config: PathBuf,
    /// Drop this share of received datagrams, parts per million (to test clients)
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=900_000))]
    loss_ppm: u32,
    /// Capture what is received and sent, from the start, as pcapng files in this directory
    #[arg(long, value_name = "DIR")]
    pcap: Option<PathBuf>,
    /// End with the day, by exit code 10, for a service manager that starts the next one: the venue
    /// can then give its privileges away although the configuration has further days
    #[arg(long)]
    one_day: bool,
    /// Give the privileges away as the venue would, try what must fail then, and end
    #[arg(long, hide = true)]
    probe_sandbox: bool,
}

/// The day is over, and the next one is for another process. The unit file knows this number.
const NEXT_DAY: u8 = 10;

/// How often the status file is rewritten.
const STATUS_INTERVAL: Duration = Duration::from_millis(200);

pub fn run(a: Arguments) -> anyhow::Result<ExitCode> {
    let mut config = load(&a)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, stop.clone()).context("handle signals")?;
    }
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    if a.probe_sandbox {
        return probe(&config);
    }
    let mut run = Run {
        alarms: Alarms::default(),
        // A process of its own, made before this one can make none any more.
        shadows: Shadows::start(config.snapshot_every_seconds > 0)?,
        sandbox: sandbox(&a, &config),
        cpus: std::thread::available_parallelism().map_or(0, |n| n.get()),
    };
    let one_day = a.one_day || run.sandbox.is_wanted();
    let mut first = true;
    loop {
        let Some(venue) = open(&a, &mut config, first, &mut run.sandbox, &stop)? else {
            return Ok(ExitCode::SUCCESS);
        };
        first = false;
        if !serve(&config, venue, &mut run, &stop)? {
            return Ok(ExitCode::SUCCESS);
        }
        if one_day {
            say!("the next day is for the next process");
            return Ok(ExitCode::from(NEXT_DAY));
        }
    }
}

/// The configuration, with what the command line says otherwise.
fn load(a: &Arguments) -> Result<Config, ConfigError> {
    let mut config = Config::load(&a.config)?;
    config.loss_ppm = a.loss_ppm;
    if let Some(dir) = &a.pcap {
        let known = config.capture.take().unwrap_or(CaptureConfig::new(PathBuf::new()));
        config.capture = Some(CaptureConfig { directory: dir.clone(), on: true, ..known });
    }
    Ok(config)
}

/// What lasts longer than a day.
struct Run {
    alarms: Alarms,
    shadows: Shadows,
    sandbox: Sandbox,
    cpus: usize,
}

/// The privileges that this process will keep. With a further day to open it needs them all.
fn sandbox(a: &Arguments, config: &Config) -> Sandbox {
    let last = a.one_day || config.day.end == DayEnd::Never;
    let wish = match config.host.sandbox {
        SandboxWish::Auto if !last => {
            tracing::warn!(
                "this process keeps its privileges, as it will open the next day: run it with \
                 --one-day below a service manager, or set [host] sandbox = \"on\""
            );
            SandboxWish::Off
        }
        wish => wish,
    };
    Sandbox::new(wish, Vec::new())
}

/// Tries from inside what a venue must not be able to do.
fn probe(config: &Config) -> anyhow::Result<ExitCode> {
    std::fs::create_dir_all(&config.data)
        .with_context(|| format!("create {}", config.data.display()))?;
    let mut sandbox = Sandbox::new(config.host.sandbox, Vec::new());
    sandbox.before_threads(&[&config.data])?;
    sandbox.after_threads()?;
    for (name, layer) in sandbox.layers() {
        say!("{name}: {}", layer.text());
    }
    let mut right = true;
    for attempt in attempts(&config.data) {
        let verdict = if attempt.is_right() { "as it must" } else { "WRONG" };
        right &= attempt.is_right();
        match &attempt.error {
            Some(error) => say!("{}: {error}: {verdict}", attempt.what),
            None => say!("{}: done: {verdict}", attempt.what),
        }
    }
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// How often the configuration is looked at again while the next day cannot begin.
const RETRY: Duration = Duration::from_secs(2);

/// Waits for the next trading day and starts it; `None` when told to stop. Each day after the first
/// has a clock of its own, anchored anew, and the configuration of its time. What is wrong with that
/// ends the process at its start; later it is told, and tried again until it is mended.
fn open(
    a: &Arguments,
    config: &mut Config,
    first: bool,
    sandbox: &mut Sandbox,
    stop: &AtomicBool,
) -> anyhow::Result<Option<(Venue, SystemClock)>> {
    let mut told = String::new();
    let mut tell = |text: String| {
        if told != text {
            tracing::error!("{text}");
            told = text;
        }
    };
    let mut waiting = false;
    while !stop.load(Ordering::Acquire) {
        let clock = SystemClock::new();
        if let Next::Wait { until, plan } = next_day(config, &FileStorage, clock.now())? {
            if !waiting {
                waiting = true;
                say!("waiting for day {}, which begins in {}", plan.name(), hours(until, &clock));
                let said = load(a).map_err(anyhow::Error::from);
                if let Err(error) = said.and_then(|c| Ok(rehearse(&c, &files(), clock.now())?)) {
                    tell(format!("as it is now, the day could not begin: {error:#}"));
                }
            }
            std::thread::sleep(STATUS_INTERVAL);
            continue;
        }
        let begun = match (first && !waiting, load(a)) {
            (true, _) => Venue::start_in(config, clock, sandbox).map_err(anyhow::Error::from),
            (false, Err(error)) => Err(error.into()),
            (false, Ok(read)) => {
                *config = read;
                match Venue::start_in(config, clock, sandbox) {
                    Ok(venue) => Ok(venue),
                    // What somebody can mend before members notice.
                    Err(error @ (StartError::Carry { .. } | StartError::Store(_))) => {
                        Err(error.into())
                    }
                    // The hours were changed: look again.
                    Err(StartError::BetweenDays { .. }) => continue,
                    Err(error) => return Err(error.into()),
                }
            }
        };
        match begun {
            Ok(venue) => return Ok(Some((venue, clock))),
            Err(error) if first && !waiting => return Err(error),
            Err(error) => {
                tell(format!("the day cannot begin: {error:#}; looking again"));
                std::thread::sleep(RETRY);
            }
        }
    }
    Ok(None)
}

/// "13 h 05 min".
fn hours(until: Nanos, clock: &SystemClock) -> String {
    let minutes = until.since(clock.now()).div_ceil(60_000_000_000);
    format!("{} h {:02} min", minutes / 60, minutes % 60)
}

/// Runs the day until it is over and served (true) or the process is told to stop (false).
fn serve(
    config: &Config,
    (venue, clock): (Venue, SystemClock),
    run: &mut Run,
    stop: &AtomicBool,
) -> anyhow::Result<bool> {
    let scheduling = scheduling(config, &venue, run.cpus);
    let file = venue.facts.day.join("status.json");
    run.shadows.keep(&venue.facts.day, config.snapshot_every_seconds);
    // Whoever waits for "ready" finds a status of this life.
    let first = status(config, &venue, &scheduling, (&run.sandbox, &run.shadows), "running");
    run.alarms.status(write_status(&file, &first));
    tell(config, &venue, &run.sandbox);
    let linger_ns = match venue.facts.ended_late {
        true => config.day.linger_ns.min(LATE_LINGER_NS),
        false => config.day.linger_ns,
    };
    let (mut over, mut ended) = (false, false);
    while !stop.load(Ordering::Acquire) && venue.is_running() && !ended {
        if begins(&mut over, venue.status.day_over().is_some()) {
            say!("over: {} is served for {} s more", day_name(&venue), linger_ns / SECOND);
        }
        let state = if over { "over" } else { "running" };
        let now = status(config, &venue, &scheduling, (&run.sandbox, &run.shadows), state);
        run.alarms.status(write_status(&file, &now));
        run.alarms.look(&venue, &clock);
        run.shadows.look();
        std::thread::sleep(STATUS_INTERVAL);
        // A day found over at the start is served for one interval at least.
        ended = over && !venue.is_served(linger_ns, clock.now());
    }
    let state = if ended { "ended" } else { "stopped" };
    let mut last = status(config, &venue, &scheduling, (&run.sandbox, &run.shadows), state);
    run.shadows.none();
    let (day, data) = (day_name(&venue), config.data.display());
    let untold = if ended { venue.ending.untold() } else { Vec::new() };
    if !untold.is_empty() {
        tracing::warn!("the end of day {day} could not be told, or answered for, by {untold:?}");
    }
    let capture = venue.capture();
    // A panic of an agent is told with its name; the exit code says so too.
    let archived = if ended { venue.end() } else { venue.stop() };
    if let (Some(counters), Some(wish)) = (capture, &config.capture) {
        say!(
            "capture: {} frames written to {}, {} lacking",
            grouped(counters.written()),
            wish.directory.display(),
            grouped(counters.lacking())
        );
    }
    if archived.is_err() {
        last["state"] = "died".into();
    }
    run.alarms.status(write_status(&file, &last));
    let archived = archived?;
    if ended && !archived {
        anyhow::bail!(
            "day {day} is over, but its archive lacks records, so the next one cannot begin: see \
             what is wrong with the disk of {data}, then start again"
        );
    }
    match ended {
        true => say!("ended: {day}"),
        false => say!("stopped: {day} goes on with the next start"),
    }
    Ok(ended)
}

/// A day that ended late is served no longer than this: it keeps the next one waiting.
const LATE_LINGER_NS: u64 = 5 * SECOND;

/// Name of the day's directory.
fn day_name(venue: &Venue) -> String {
    venue.facts.day.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

const SECOND: u64 = 1_000_000_000;

/// A recovery longer than this is told with its parts.
const TOLD_NS: u64 = 500_000_000;

/// What an operator wants to know of a start.
fn tell(config: &Config, venue: &Venue, sandbox: &Sandbox) {
    let facts = &venue.facts;
    say!("day {}", facts.day.display());
    for why in &venue.path_refusals {
        match venue.path {
            rialto::net::xdp::Path::Udp => {
                tracing::warn!("network.path {}: {why}", config.network.path)
            }
            _ => tracing::info!("network.path {}: {why}", config.network.path),
        }
    }
    if let Some(from) = &facts.carried_from {
        say!("carried: cash and shares of {}", from.display());
    }
    if facts.ended_late {
        tracing::warn!("the end of day {} passed while no venue ran: it ends now", day_name(venue));
    }
    if facts.medium == Medium::Degraded {
        tracing::warn!("degraded: the hot tier lies on a disk; expect stalls of milliseconds");
    }
    if facts.hot_missing_bytes > 0 {
        tracing::warn!(
            "the hot tier may grow by {} more than its file system has: lower \
             capacity.hot_segments_max or segment_mib, or make /dev/shm larger",
            size(facts.hot_missing_bytes)
        );
    }
    if let Some(cut) = &facts.cut {
        let file = cut.path.display();
        tracing::warn!("cut a torn tail off {file} at {}: {}", cut.at, cut.why);
    }
    if let Some(crash) = &facts.halted {
        let (command, dir) = (crash.command.0, facts.day.display());
        tracing::error!(
            "halted before command {command}, at which {} runs died: {}. Reports, replay and repair \
             are served; nothing new is taken. Two operators void it, each with his own key: rialto \
             void {dir} --seq {command} --operator NAME --key-file FILE; then stop and start the venue",
            crash.deaths,
            crash.why
        );
    }
    if facts.configuration_differs {
        tracing::warn!(
            "the configuration has changed since this day began; it counts from the next day on"
        );
    }
    say!(
        "ready: orders on {} ({}), feed {} and {}, repair {}, durability {:?}, hot tier {:?}, {} commands recovered in {} ms ({} of a snapshot)",
        config.gateway.listen,
        venue.path,
        config.feed.a,
        config.feed.b,
        config.feed.repair,
        config.durability,
        facts.medium,
        grouped(facts.commands),
        facts.recovery_ns / 1_000_000,
        grouped(facts.snapshot.0)
    );
    if facts.recovery_ns > TOLD_NS {
        let parts = facts.recovery_parts.iter();
        let parts: Vec<_> = parts.map(|(n, ns)| format!("{n} {} ms", ns / 1_000_000)).collect();
        tracing::info!("recovery took: {}", parts.join(", "));
    }
    for (name, layer) in sandbox.layers().into_iter().filter(|_| sandbox.is_wanted()) {
        if *layer != Layer::Full {
            tracing::warn!("privileges, {name}: {}", layer.text());
        }
    }
    for note in &venue.host_notes {
        tracing::warn!("{note}");
    }
}
