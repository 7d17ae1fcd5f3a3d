//! `sustain`: rates that must hold for many seconds, AF_XDP at both ends; and the highest that does.
//!
//! Produces latencies from the time an order was due, what became of every order, and how idle the
//! exchange was meanwhile: whether it or the generator is the limit.

use clap::Args;
use rialto::clock::SystemClock;
use rialto::types::Nanos;
use serde_json::{Map, Value, json};

use super::args::CommonArgs;
use super::client::{Client, Outcome, SILENCE_NS};
use super::place::{Place, check_interrupt, take_cpu};
use super::rows::{Either, Plan, Row, enter, gateway, setting, with_port};
use super::venue::Venue;
use super::{chart, login, write_json};

#[derive(Args)]
pub struct SustainArgs {
    /// Orders a second [default: 215000 in single datagrams for 30 s, then 1000000 packed for 10 s]
    #[arg(long, value_name = "N")]
    rate: Option<u64>,
    /// Orders in a datagram, with --rate
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=28))]
    packed: u64,
    /// Seconds, with --rate
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Look for the highest rate that holds, single and packed, --seconds for each try
    #[arg(long, conflicts_with = "rate")]
    search: bool,
    #[command(flatten)]
    common: CommonArgs,
}

/// A rate, and for how long.
#[derive(Clone, Copy, Debug)]
struct Goal {
    rate: u64,
    packed: usize,
    seconds: u64,
}

/// The exchange's thread, between two looks.
#[derive(Clone, Copy, Debug)]
struct Share {
    /// Part of the time that went into cycles without work.
    idle: f64,
    /// Duty cycles with work.
    busy_cycles: u64,
    /// Longest of them since the start, ns.
    longest_cycle_ns: u64,
}

/// What came of a goal.
struct Held {
    goal: Goal,
    out: Outcome,
    share: Share,
    path: String,
    /// CPU time of each thread of the exchange, ms.
    cpu_ms: Vec<(String, u64)>,
    /// What the exchange counted as lost or refused.
    faults: Vec<(String, u64)>,
}

/// A goal that is told counts as held when this share of the rate was answered in time.
const REACHED: f64 = 0.99;
/// Packing of the search.
const PACKED: usize = 25;

impl Held {
    fn is_whole(&self) -> bool {
        let Outcome { sent, unanswered, rejected, not_applied, .. } = self.out;
        let sent_all = sent >= self.goal.rate * self.goal.seconds;
        sent_all && unanswered == 0 && rejected == 0 && not_applied == 0
    }

    fn is_held(&self) -> bool {
        self.is_whole() && self.out.rate() >= REACHED * self.goal.rate as f64
    }
}

pub fn run(args: &SustainArgs) -> Result<(), String> {
    let plan = args.common.plan(Vec::new())?;
    let place = Place::make()?;
    let mut all = Vec::new();
    if args.search {
        for packed in [1, PACKED] {
            all.extend(search(&place, &plan, packed, args.seconds)?);
        }
    } else {
        let goals = match args.rate {
            Some(rate) => {
                vec![Goal { rate, packed: args.packed as usize, seconds: args.seconds }]
            }
            None => vec![
                Goal { rate: 215_000, packed: 1, seconds: 30 },
                Goal { rate: 1_000_000, packed: PACKED, seconds: 10 },
            ],
        };
        for goal in goals {
            let held = try_goal(&place, &plan, goal)?;
            tell(&held);
            all.push(held);
        }
    }
    let goals: Vec<Value> = all.iter().map(as_json).collect();
    let conditions = crate::host::conditions(Some(plan.cpus.client), 1);
    write_json(args.common.json.as_deref(), &json!({ "goals": goals, "conditions": conditions }))?;
    let missed = all.iter().filter(|held| !held.is_held()).count();
    match args.search || missed == 0 {
        true => Ok(()),
        false => Err(format!("{missed} of {} rates did not hold", all.len())),
    }
}

/// Goes up by a quarter until a rate does not hold, then halves the distance four times. The highest
/// that held comes last.
fn search(place: &Place, plan: &Plan, packed: usize, seconds: u64) -> Result<Vec<Held>, String> {
    let mut tried = Vec::new();
    let (mut low, mut high) = (0, None);
    let mut rate = 100_000 * if packed == 1 { 1 } else { 5 };
    for _ in 0..24 {
        let held = try_goal(place, plan, Goal { rate, packed, seconds })?;
        tell(&held);
        if held.is_held() {
            low = rate
        } else {
            high = Some(rate)
        }
        tried.push(held);
        rate = match high {
            None => rate * 5 / 4,
            Some(high) if high - low > high / 20 => (low + high) / 2,
            Some(_) => break,
        };
    }
    println!("highest that held, {packed} per datagram: {low} orders/s");
    Ok(tried)
}

/// One goal on a fresh venue.
fn try_goal(place: &Place, plan: &Plan, goal: Goal) -> Result<Held, String> {
    check_interrupt()?;
    let mut venue = Venue::start(place, &setting(place, plan, plan.path))?;
    let venue_ref = &mut venue;
    let mut held = std::thread::scope(|scope| {
        let client = scope.spawn(move || {
            enter(&place.wire.clients)?;
            take_cpu(plan.cpus.client, plan.cpus.fifo)?;
            with_port(place, plan, Row::VenueXdp, |port, errand| match port {
                Either::Xdp(port) => load(place, plan, goal, port, errand, venue_ref),
                Either::Kernel(_) => Err("row f has an AF_XDP client".into()),
            })
        });
        client.join().unwrap_or_else(|_| Err("the client panicked".into()))
    })?;
    held.path = venue.path.clone();
    venue.stop()?;
    Ok(held)
}

fn load(
    place: &Place,
    plan: &Plan,
    goal: Goal,
    mut port: rialto::net::XdpPort,
    errand: &mut dyn FnMut(),
    venue: &mut Venue,
) -> Result<Held, String> {
    let clock = SystemClock::new();
    let server = gateway(place);
    let seats = login::seats(&mut port, server, &clock, plan.sessions, &mut *errand)?;
    let mut client = Client::new(port, server, clock, seats);
    for _ in 0..10 {
        errand();
        client.one_in_flight(15_000_000, SILENCE_NS);
    }
    // How long a cycle without work takes: nothing happens between these two looks.
    let quiet = [venue.status()?, venue.status()?];
    let before = venue.cpu_ms();
    let out = client.open_loop(goal.rate, goal.packed, goal.rate * goal.seconds, SILENCE_NS)?;
    let after = venue.cpu_ms();
    let last = venue.status()?;
    let cpu_ms = after
        .into_iter()
        .map(|(name, ms)| {
            let was = before.iter().find(|(known, _)| *known == name).map_or(0, |(_, ms)| *ms);
            (name, ms - was)
        })
        .collect();
    let (share, faults) = (Share::between(&quiet, &last), faults(&last.1));
    Ok(Held { goal, out, share, path: String::new(), cpu_ms, faults })
}

/// The thread that orders pass.
const THREAD: &str = "rialto-ingress";

impl Share {
    /// From the end of `quiet`, in which nothing was asked for, to `last`.
    fn between(quiet: &[(Nanos, Value); 2], last: &(Nanos, Value)) -> Share {
        let get =
            |status: &Value, name: &str| status["threads"][THREAD][name].as_u64().unwrap_or(0);
        let idle = |status: &Value| get(status, "cycles") - get(status, "busy_cycles");
        let [(begun, first), (from, second)] = quiet;
        let cycle_ns = from.since(*begun) as f64 / (idle(second) - idle(first)).max(1) as f64;
        let idle_ns = (idle(&last.1) - idle(second)) as f64 * cycle_ns;
        Share {
            idle: idle_ns / last.0.since(*from).max(1) as f64,
            busy_cycles: get(&last.1, "busy_cycles") - get(second, "busy_cycles"),
            longest_cycle_ns: get(&last.1, "longest_cycle_ns"),
        }
    }
}

/// Counters of the exchange that tell of something lost, refused or dropped, where they are not 0.
fn faults(status: &Value) -> Vec<(String, u64)> {
    const NAMES: [(&str, &[&str]); 4] = [
        ("nic", &["frames_crowded_out", "kick_refusals", "kernel_lost", "frames_refused"]),
        ("gateway_ingress", &["floods", "no_room", "throttled_messages", "jumps"]),
        ("publisher", &["datagrams_dropped"]),
        ("gateway_egress", &["undecodable"]),
    ];
    let mut all = Vec::new();
    for (agent, names) in NAMES {
        for name in names {
            let count = status["agents"][agent][*name].as_u64().unwrap_or(0);
            if count > 0 {
                all.push((format!("{agent}.{name}"), count));
            }
        }
    }
    all
}

fn tell(held: &Held) {
    let Held { goal, out, share, .. } = held;
    let at = |q| chart::time(out.latency.value_at_quantile(q) as f64);
    let late = |q| chart::time(out.lateness.value_at_quantile(q) as f64);
    let how = match goal.packed {
        1 => "one per datagram".to_string(),
        packed => format!("{packed} per datagram"),
    };
    println!(
        "{} orders/s, {how}, {} s over {}: {}",
        goal.rate,
        goal.seconds,
        held.path,
        if held.is_held() { "held" } else { "NOT held" }
    );
    println!(
        "  {} sent, {} unanswered, {} rejected, {} not applied, {} executions; answered {:.0}/s",
        out.sent,
        out.unanswered,
        out.rejected,
        out.not_applied,
        out.executed,
        out.rate()
    );
    println!(
        "  from due to answer: p50 {} p90 {} p99 {} p99.9 {} p99.99 {} max {}",
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        at(0.9999),
        chart::time(out.latency.max() as f64)
    );
    println!(
        "  generator: sent late by p50 {} p99 {} max {}",
        late(0.5),
        late(0.99),
        chart::time(out.lateness.max() as f64)
    );
    let per_cycle = out.sent as f64 / share.busy_cycles.max(1) as f64;
    println!(
        "  exchange: idle {:.0}% of the time, {per_cycle:.1} orders per busy cycle, longest {}",
        share.idle * 100.0,
        chart::time(share.longest_cycle_ns as f64)
    );
    let cpu: Vec<String> = held.cpu_ms.iter().map(|(name, ms)| format!("{name} {ms}")).collect();
    println!("  its threads' CPU time, ms: {}", cpu.join(", "));
    for (name, count) in &held.faults {
        println!("  it counted {name} = {count}");
    }
}

fn as_json(held: &Held) -> Value {
    let Held { goal, out, share, .. } = held;
    let pairs = |list: &[(String, u64)]| -> Map<String, Value> {
        list.iter().map(|(name, value)| (name.clone(), (*value).into())).collect()
    };
    json!({
        "name": format!("sustain {}/s, {} per datagram", goal.rate, goal.packed),
        "rate": goal.rate,
        "packed": goal.packed,
        "seconds": goal.seconds,
        "held": held.is_held(),
        "path": held.path,
        "p50": out.latency.value_at_quantile(0.5),
        "p90": out.latency.value_at_quantile(0.9),
        "p99": out.latency.value_at_quantile(0.99),
        "p999": out.latency.value_at_quantile(0.999),
        "p9999": out.latency.value_at_quantile(0.9999),
        "max": out.latency.max(),
        "samples": out.latency.len(),
        "orders": out.sent,
        "unanswered": out.unanswered,
        "rejected": out.rejected,
        "not_applied": out.not_applied,
        "executions": out.executed,
        "answered_per_second": out.rate().round(),
        "sent_late_p99": out.lateness.value_at_quantile(0.99),
        "exchange_idle": (share.idle * 1_000.0).round() / 1_000.0,
        "exchange_busy_cycles": share.busy_cycles,
        "exchange_longest_cycle_ns": share.longest_cycle_ns,
        "exchange_cpu_ms": pairs(&held.cpu_ms),
        "exchange_counted": pairs(&held.faults),
    })
}
