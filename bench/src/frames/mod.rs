//! `frames`: hostile Ethernet frames at a venue over AF_XDP, from the other end of its wire.
//!
//! Consumes a running venue (tests/frames.sh starts it, honest brokers, and afterwards holds what they
//! wrote down against the logs); hears their frames, sends mutants of them, and asks of each frame what
//! the XDP program says of it (`BPF_PROG_TEST_RUN`) and what a plain model says. Produces tables. Fails
//! when the two differ, when a frame is not accounted for, when a reason to refuse was never met, or when
//! TCP or ping noticed.

mod beside;
mod model;
mod mutants;
pub mod wire;

use crate::mutate::mutants::Random;
use crate::status;
use af_xdp::{Filter, Program, TestSocket, Verdict};
use beside::Seen;
use clap::Args;
use model::{Model, frame_max};
use mutants::{Attacker, KINDS, Seed};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use wire::{BATCH, Driver, Listener, Received, Sender, interface_number};

#[derive(Args)]
pub struct FramesArgs {
    /// Interface towards the venue
    #[arg(long)]
    interface: String,
    /// Own address there: that of all honest brokers
    #[arg(long)]
    client: Ipv4Addr,
    /// Order entry
    #[arg(long)]
    gateway: SocketAddrV4,
    /// Repair
    #[arg(long)]
    repair: SocketAddrV4,
    /// Where `frames-echo` listens on the venue's host
    #[arg(long)]
    echo: SocketAddrV4,
    /// The venue's network namespace
    #[arg(long)]
    inside: String,
    /// Its interface
    #[arg(long)]
    inside_interface: String,
    /// Its MTU
    #[arg(long)]
    mtu: usize,
    /// status.json of the venue's day
    #[arg(long)]
    status: PathBuf,
    /// Sessions that must have been heard before it begins
    #[arg(long, default_value_t = 4)]
    sessions: usize,
    /// File that appears when the honest brokers have ended
    #[arg(long)]
    quiet: PathBuf,
    /// Frames
    #[arg(long, default_value_t = 10_000_000)]
    count: u64,
    /// Seed of every choice
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Args)]
pub struct EchoArgs {
    /// Address to listen on
    #[arg(long)]
    ip: Ipv4Addr,
}

/// The other end of the TCP connection.
pub fn echo(args: &EchoArgs) -> Result<(), String> {
    beside::serve(args.ip).map_err(|e| e.to_string())
}

/// Frames kept to start from, the newest.
const SEEDS_MAX: usize = 2_048;
/// Frames kept of those that are few.
const RARE_MAX: usize = 256;
/// Frames heard of each session before the attack begins.
const HEARD_MIN: u64 = 50;
/// New seeds are taken over every so many frames.
const RENEW: u64 = 50_000;
/// Longest wait for brokers to begin or to end.
const PATIENCE: Duration = Duration::from_secs(300);
/// Frames that may be on the wire when the next batch follows.
const OPEN: u64 = BATCH as u64;
/// VLAN of the second program, which no interface here has.
const VLAN: u16 = 5;

/// What came to be of frames, most of it why they were not taken: counters of status.json that must have moved. The others need a host or a
/// day in another state (ring full, halted), a session's own behaviour (logins, rates: the suites of
/// `cargo test`), or cannot be reached behind the program.
const REFUSALS: [(&str, &str); 17] = [
    ("nic", "refused_length"),
    ("nic", "refused_ip_checksum"),
    ("nic", "refused_udp_checksum"),
    ("nic", "refused_source"),
    ("nic", "frames_for_other_hosts"),
    ("nic", "kernel_lost"),
    ("gateway_ingress", "malformed_datagrams"),
    ("gateway_ingress", "unknown_session"),
    ("gateway_ingress", "wrong_address"),
    ("gateway_ingress", "bad_mac"),
    ("gateway_ingress", "zero_sequence"),
    ("gateway_ingress", "duplicates"),
    ("gateway_ingress", "jumps"),
    ("gateway_ingress", "challenges"),
    ("gateway_ingress", "replay_requests"),
    ("gateway_ingress", "refusals"),
    ("retransmitter", "malformed"),
];

/// What others on this host sent, by the model's verdict.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Honest {
    passed: u64,
    redirected: u64,
}

impl Honest {
    fn all(self) -> u64 {
        self.passed + self.redirected
    }
}

/// What is heard on the wire.
#[derive(Default)]
struct Heard {
    honest: Honest,
    seeds: Vec<Seed>,
    next: usize,
    /// Those that are few: logins and requests, mostly. The first of them are kept.
    rare: Vec<Seed>,
    /// Frames of each session, by source port; and how many have no MAC.
    sessions: BTreeMap<u16, (u64, bool)>,
}

impl Heard {
    fn note(&mut self, frame: &[u8], model: &Model) {
        match model.verdict(frame) {
            Verdict::Redirect => self.honest.redirected += 1,
            _ => self.honest.passed += 1,
        }
        let Some(seed) = Seed::heard(frame, &model.destinations) else { return };
        let port = u16::from_be_bytes([frame[34], frame[35]]);
        let (count, open) = self.sessions.entry(port).or_default();
        *count += 1;
        *open |= seed.open;
        if seed.is_rare(model.destinations[1]) {
            if self.rare.len() < RARE_MAX {
                self.rare.push(seed);
            }
            return;
        }
        if self.seeds.len() < SEEDS_MAX {
            self.seeds.push(seed);
        } else {
            self.seeds[self.next % SEEDS_MAX] = seed;
        }
        self.next += 1;
    }

    /// Enough of every session, with and without MAC.
    fn is_enough(&self, sessions: usize) -> bool {
        let known = self.sessions.values().filter(|(count, _)| *count >= HEARD_MIN);
        let open = known.clone().filter(|(_, open)| *open).count();
        let all = known.count();
        all >= sessions && open > 0 && open < all
    }
}

fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Program and model of one filter.
struct Judge {
    program: Program,
    _socket: TestSocket,
    model: Model,
}

impl Judge {
    fn new(destinations: &[SocketAddrV4], vlan: Option<u16>) -> Result<Judge, af_xdp::Error> {
        let program = Program::load(&Filter::new(destinations, vlan)?, 1)?;
        let socket = program.insert_for_test()?;
        let model = Model { destinations: destinations.to_vec(), vlan };
        Ok(Judge { program, _socket: socket, model })
    }

    /// What both say.
    fn verdict(&self, frame: &[u8]) -> Result<Verdict, String> {
        let says = self.program.test(frame).map_err(|e| e.to_string())?;
        let should = self.model.verdict(frame);
        if says != should {
            let vlan = self.model.vlan;
            return Err(format!("program {says:?}, model {should:?}, VLAN {vlan:?}: {frame:02x?}"));
        }
        Ok(says)
    }
}

/// What the attacker sent.
#[derive(Default)]
struct Sent {
    frames: u64,
    passed: [u64; KINDS.len()],
    redirected: [u64; KINDS.len()],
    too_long: [u64; KINDS.len()],
    in_vlan: u64,
}

impl Sent {
    /// Frames that the wire takes.
    fn arriving(&self) -> u64 {
        self.passed.iter().chain(&self.redirected).sum()
    }
}

pub fn run(args: &FramesArgs) -> Result<(), String> {
    let (over, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let result = attack(args, scope, &over, &stop);
        // Also when it came to an end before its end.
        over.store(true, Ordering::Relaxed);
        stop.store(true, Ordering::Relaxed);
        result
    })
}

#[allow(clippy::disallowed_methods)] // progress of a tool, told to a person; times are told, not judged
fn attack<'scope, 'env>(
    args: &'env FramesArgs,
    scope: &'scope std::thread::Scope<'scope, 'env>,
    over: &'env AtomicBool,
    stop: &'env AtomicBool,
) -> Result<(), String> {
    let text = |what: &'static str| move |e: std::io::Error| format!("{what}: {e}");
    let venue = [args.gateway, args.repair];
    let judge = |vlan| Judge::new(&venue, vlan).map_err(|e| e.to_string());
    let (judge, in_vlan) = (judge(None)?, judge(Some(VLAN))?);
    let sender = Sender::open(&args.interface).map_err(text("the sending socket"))?;
    let driver = Driver::open(&args.inside, &args.inside_interface);
    let driver = driver.map_err(text("the receiving interface"))?;
    let received = || driver.read().map_err(text("statistics of the driver"));
    let lost_on_wire =
        || interface_number(&args.interface, "statistics/tx_dropped").map_err(text("statistics"));

    let counters = || status::anew(&args.status).map(|status| status["agents"].clone());

    // Nothing passes between the reading and the first frame that is heard: else both again.
    let (mut listener, before) = loop {
        let before = received()?;
        let listener = Listener::open(&args.interface).map_err(text("the listening socket"))?;
        std::thread::sleep(Duration::from_millis(50));
        if received()? == before {
            break (listener, before);
        }
    };
    let (lost_before, nic_before) = (lost_on_wire()?, counters()?);
    println!("listening");
    let heard = Arc::new(Mutex::new(Heard::default()));
    let (ear, model) = (heard.clone(), Model { destinations: venue.to_vec(), vlan: None });
    let listening = scope.spawn(move || {
        loop {
            let ending = stop.load(Ordering::Relaxed);
            let mut idle = true;
            while let Some(frame) = listener.next() {
                lock(&ear).note(frame, &model);
                idle = false;
            }
            if idle && ending {
                return listener.lost();
            }
            std::thread::sleep(Duration::from_micros(500));
        }
    });
    let tcp = scope.spawn(move || beside::converse(args.echo, over));
    let ping = scope.spawn(move || beside::ping(*args.echo.ip(), over));

    let begun = Instant::now();
    while !lock(&heard).is_enough(args.sessions) {
        if begun.elapsed() > PATIENCE {
            return Err("the brokers' frames are not heard".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let begun = Instant::now();
    let mut attacker = Attacker {
        random: Random::new(args.seed),
        seeds: Vec::new(),
        rare: Vec::new(),
        client: args.client,
        venue: venue.to_vec(),
        mtu: args.mtu,
        made: [0; KINDS.len()],
    };
    let mut sent = Sent::default();
    let (mut frames, mut renewed, mut told, mut missing) = (Vec::with_capacity(BATCH), 0, begun, 0);
    while sent.frames < args.count {
        if attacker.seeds.is_empty() || sent.frames >= renewed {
            let heard = lock(&heard);
            attacker.seeds.clone_from(&heard.seeds);
            attacker.rare.clone_from(&heard.rare);
            renewed = sent.frames + RENEW;
        }
        frames.clear();
        while frames.len() < BATCH - 1 {
            let (kinds, first) = (attacker.made, frames.len());
            attacker.attempt(&mut frames);
            let kind = (0..KINDS.len()).find(|k| attacker.made[*k] != kinds[*k]).unwrap_or(0);
            for frame in &frames[first..] {
                let verdict = judge.verdict(frame)?;
                let tagged = frame[12..14] == [0x81, 0];
                if tagged && in_vlan.verdict(frame)? == Verdict::Redirect {
                    sent.in_vlan += 1;
                }
                if frame.len() > frame_max(args.mtu) {
                    sent.too_long[kind] += 1;
                } else if verdict == Verdict::Redirect {
                    sent.redirected[kind] += 1;
                } else {
                    sent.passed[kind] += 1;
                }
            }
        }
        sender.send(&frames).map_err(text("sending"))?;
        sent.frames += frames.len() as u64;
        // The wire holds 256 frames, and what comes on top is lost: never more than two batches. Waits
        // no longer than a lost frame is worth: it will never be seen.
        let waiting = Instant::now();
        loop {
            let due = before.seen + sent.arriving() + lock(&heard).honest.all();
            let open = due.saturating_sub(received()?.seen + missing);
            if open <= OPEN {
                break;
            }
            if waiting.elapsed() > Duration::from_millis(20) {
                missing += open;
            }
            std::thread::yield_now();
        }
        if told.elapsed() > Duration::from_secs(20) {
            told = Instant::now();
            println!("{} frames so far", sent.frames);
        }
    }
    let took = begun.elapsed();
    over.store(true, Ordering::Relaxed);
    let tcp = tcp.join().map_err(|_| "TCP panicked")?.map_err(text("TCP beside it"))?;
    let ping = ping.join().map_err(|_| "ping panicked")?.map_err(text("ping beside it"))?;
    println!("the attack is over");
    let begun = Instant::now();
    while !args.quiet.exists() {
        if begun.elapsed() > PATIENCE {
            return Err("the brokers do not end".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    // Long enough for what is under way to arrive; nobody may have sent meanwhile.
    let (honest, after, nic, lost) = loop {
        let honest = lock(&heard).honest;
        let first = received()?;
        std::thread::sleep(Duration::from_millis(500));
        let (nic, lost) = (counters()?, lost_on_wire()?);
        if received()? == first && lock(&heard).honest == honest {
            break (honest, first, nic, lost);
        }
    };
    stop.store(true, Ordering::Relaxed);
    let unheard = listening.join().map_err(|_| "the listener panicked")?;
    let unheard = unheard.map_err(text("the listener"))?;
    let sessions = &lock(&heard).sessions;
    let open = sessions.values().filter(|(_, open)| *open).count();
    println!(
        "seed {}: {} frames in {:.1} s, from frames of {} senders, {open} of them sessions without packet MAC",
        args.seed,
        sent.frames,
        took.as_secs_f64(),
        sessions.len(),
    );
    let account = Account {
        sent,
        honest,
        before,
        after,
        wire_lost: lost - lost_before,
        unheard,
        nic_before,
        nic,
    };
    account.tell();
    for (what, seen) in [("TCP", &tcp), ("ping", &ping)] {
        let Seen { sent, answered, worst } = seen;
        println!("{what} beside it: {answered} of {sent} answered, the slowest after {worst:?}");
    }
    let mut faults = account.faults();
    if tcp.answered < 100 || ping.answered < 100 || ping.answered * 100 < ping.sent * 99 {
        faults.push("what is beside the venue on its interface noticed the attack".into());
    }
    match faults.is_empty() {
        true => Ok(()),
        false => Err(faults.join("\n  ")),
    }
}

/// Everything that was counted, at both ends.
struct Account {
    sent: Sent,
    honest: Honest,
    before: Received,
    after: Received,
    /// Frames that the receiving interface did not take off the wire.
    wire_lost: u64,
    /// Honest frames that the listener was too slow for.
    unheard: u64,
    nic_before: Value,
    nic: Value,
}

impl Account {
    fn moved(&self, agent: &str, counter: &str) -> u64 {
        let value = |v: &Value| v[agent][counter].as_u64().unwrap_or(0);
        value(&self.nic) - value(&self.nic_before)
    }

    #[allow(clippy::disallowed_methods)] // a tool's table
    fn tell(&self) {
        let Account { sent, honest, .. } = self;
        println!("\n  {:<22}{:>12}{:>12}{:>12}", "kind", "kernel", "redirected", "not taken");
        for (i, kind) in KINDS.iter().enumerate() {
            let (pass, redirect, long) = (sent.passed[i], sent.redirected[i], sent.too_long[i]);
            println!("  {kind:<22}{pass:>12}{redirect:>12}{long:>12}");
        }
        let sum = |counts: &[u64]| counts.iter().sum::<u64>();
        let (pass, redirect, long) =
            (sum(&sent.passed), sum(&sent.redirected), sum(&sent.too_long));
        println!("  {:<22}{pass:>12}{redirect:>12}{long:>12}", "all");
        println!("  {:<22}{:>12}{:>12}", "honest", honest.passed, honest.redirected);
        println!(
            "  of these: {} at the program, {} of them to the queues, {} for which there was no room; {} lost on the wire",
            self.after.seen - self.before.seen,
            self.after.redirected - self.before.redirected,
            self.after.dropped - self.before.dropped,
            self.wire_lost
        );
        println!(
            "  program and model said the same of each; of {} tagged ones also with a VLAN",
            sent.in_vlan
        );
        for (agent, values) in self.nic.as_object().into_iter().flatten() {
            for name in values.as_object().into_iter().flat_map(|o| o.keys()) {
                let moved = self.moved(agent, name);
                if moved > 0 && ["nic", "gateway_ingress", "retransmitter"].contains(&&**agent) {
                    println!("  {moved:>12}  {agent}.{name}");
                }
            }
        }
    }

    /// What does not come out as it must.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut equal = |what: &str, left: u64, right: u64| {
            if left != right {
                faults.push(format!("{what}: {left}, not {right}"));
            }
        };
        let sum = |counts: &[u64]| counts.iter().sum::<u64>();
        let (pass, redirect) = (sum(&self.sent.passed), sum(&self.sent.redirected));
        let seen = self.after.seen - self.before.seen;
        let redirected = self.after.redirected - self.before.redirected;
        let dropped = self.after.dropped - self.before.dropped;
        equal("honest frames that were not counted", self.unheard, 0);
        let honest = self.honest;
        let all = pass + redirect + honest.all();
        // Lost for want of room on the wire, beside those that are too long for it. Told, so allowed;
        // which they were is not.
        let crowded = self.wire_lost.saturating_sub(sum(&self.sent.too_long));
        equal("frames that reached the program or were lost on the wire", seen + crowded, all);
        equal(
            "too long frames lost on the wire",
            self.wire_lost - crowded,
            sum(&self.sent.too_long),
        );
        let (queued, most) = (redirected + dropped, redirect + honest.redirected);
        if queued > most || queued + crowded < most || crowded > self.sent.frames / 100 {
            faults.push(format!(
                "{queued} frames for the queues of {most}, {crowded} lost on the wire"
            ));
        }
        let mut equal = |what: &str, left: u64, right: u64| {
            if left != right {
                faults.push(format!("{what}: {left}, not {right}"));
            }
        };
        equal("frames received by the venue", self.moved("nic", "frames_received"), redirected);
        equal("frames that the program should have left", self.moved("nic", "refused_shape"), 0);
        let reasons =
            ["refused_length", "refused_ip_checksum", "refused_udp_checksum", "refused_source"];
        let refused: u64 = reasons.iter().map(|name| self.moved("nic", name)).sum();
        equal("frames refused", self.moved("nic", "frames_refused"), refused);
        // A frame that found the fill ring empty is told twice.
        let lost = self.moved("nic", "kernel_lost");
        if lost < dropped || lost > 2 * dropped {
            faults.push(format!("the kernel tells of {lost} lost frames, the driver of {dropped}"));
        }
        for (agent, counter) in REFUSALS {
            if self.moved(agent, counter) == 0 {
                faults.push(format!("no frame came to {agent}.{counter}"));
            }
        }
        for (kind, made) in KINDS.iter().enumerate().map(|(i, kind)| {
            (kind, self.sent.passed[i] + self.sent.redirected[i] + self.sent.too_long[i])
        }) {
            if made == 0 {
                faults.push(format!("no frame of the kind {kind}"));
            }
        }
        faults
    }
}
