//! `flood`: what well-behaved brokers notice of an attack on the gateway, over real sockets.
//!
//! Consumes the address of a running venue with the test keys; trades at a modest rate, open loop: quiet,
//! beside one kind of attacker (a process of its own: `attacker`) that sends to a socket where nobody
//! reads, and attacked by it, in turn, over some rounds. The part in the middle tells what the attacker's
//! process itself takes from CPUs that it shares with the venue, which an attacker elsewhere does not.
//! Produces a table of order -> Accepted times and their ratios. Fails on what must not happen at all:
//! an order without an answer, a hole in the reports, a lost session. Times are told, not judged.

use clap::{Args, ValueEnum};
use hdrhistogram::Histogram;
use rialto::broker::{Broker, BrokerConfig, BrokerEvent, NewOrder};
use rialto::clock::{Clock, SystemClock};
use rialto::net::{DATAGRAM_BYTES_MAX, Port, UdpPort};
use rialto::random::SplitMix64;
use rialto::types::*;
use rialto::wire::mold::{self, Header, PacketBuilder};
use rialto::wire::ouch::Outbound;
use rialto::wire::session::{Block, Challenge, Login, VERSION, make_token};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Child, Command, Stdio};

#[derive(Args)]
pub struct FloodArgs {
    /// Gateway of a venue started from rialto.toml
    #[arg(long, default_value = "127.0.0.1:9001")]
    gateway: SocketAddrV4,
    /// Orders a second of each of the two brokers
    #[arg(long, default_value_t = 1_000)]
    rate: u64,
    /// Datagrams a second of the attacker
    #[arg(long, default_value_t = 10_000)]
    attack_rate: u64,
    /// Seconds of each of the three parts
    #[arg(long, default_value_t = 1)]
    seconds: u64,
    /// Times that every kind is measured
    #[arg(long, default_value_t = 15)]
    rounds: usize,
}

#[derive(Args)]
pub struct AttackerArgs {
    /// What it sends
    #[arg(long, value_enum)]
    kind: Kind,
    #[arg(long)]
    gateway: SocketAddrV4,
    /// Where it is sent; what it takes to send it comes from the gateway
    #[arg(long)]
    aim: SocketAddrV4,
    #[arg(long)]
    rate: u64,
}

/// What an attack may do to the p99 of others, as a factor.
const P99_RATIO_MAX: f64 = 2.0;
/// Longest wait for logins and for last answers: who is not there by then never will be.
const PATIENCE_NS: u64 = 60_000_000_000;
/// Times that an attacker asks for what he needs, 20 ms apart.
const ATTEMPTS: u32 = 3_000;

/// What an attacker sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Kind {
    /// Random bytes
    Junk,
    /// Well-formed orders under guessed tokens
    Tokens,
    /// First logins, each answered with a challenge
    Challenges,
    /// Second logins under a valid challenge, signed with a wrong key
    WrongKey,
    /// One order of a session of its own, again and again
    Replays,
}

const KINDS: [Kind; 5] =
    [Kind::Junk, Kind::Tokens, Kind::Challenges, Kind::WrongKey, Kind::Replays];

/// A broker that sends on a schedule and reads what it is told.
struct Trader {
    broker: Broker<UdpPort>,
    side: Side,
    sent: u64,
    answered: u64,
    next_report: Option<u64>,
    lost_sessions: u64,
    holes: u64,
    /// Times at which orders were due, by reference modulo the length.
    due: Vec<Nanos>,
}

fn any() -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)
}

impl Trader {
    fn connect(user: &str, key: u8, side: Side, gateway: SocketAddrV4) -> Result<Trader, String> {
        let user = User::new(user).ok_or("user name")?;
        let config = BrokerConfig::new(user, [key; 32], vec![gateway]);
        let port = UdpPort::bind(any()).map_err(|e| e.to_string())?;
        let broker = Broker::new(config, port).map_err(|e| e.to_string())?;
        let due = vec![Nanos(0); 1 << 16];
        let zero = (0, 0, None, 0, 0);
        let (sent, answered, next_report, lost_sessions, holes) = zero;
        Ok(Trader { broker, side, sent, answered, next_report, lost_sessions, holes, due })
    }

    fn poll(&mut self, clock: &SystemClock, times: &mut Histogram<u64>) -> usize {
        let Trader { broker, answered, next_report, lost_sessions, holes, due, .. } = self;
        broker.poll(clock.now(), |event| match event {
            BrokerEvent::Report { number, report } => {
                *holes += u64::from(next_report.is_some_and(|next| next != number));
                *next_report = Some(number + 1);
                let urn = match report {
                    Outbound::Accepted(a) => a.urn,
                    Outbound::Rejected(j) => j.urn,
                    _ => return,
                };
                let at = &mut due[urn.0 as usize & 0xFFFF];
                if at.0 != 0 {
                    *answered += 1;
                    times.saturating_record(clock.now().since(*at).max(1));
                    *at = Nanos(0);
                }
            }
            BrokerEvent::Disconnected(_) => *lost_sessions += 1,
            _ => {}
        })
    }

    fn send(&mut self, due: Nanos, now: Nanos) -> Result<(), String> {
        // Far from each other: every order is accepted and its rest cancelled, none trades.
        let price = Price(if self.side == Side::Buy { 10_000 } else { 10_000_000 });
        let symbol = Symbol::new("ALPH").ok_or("symbol")?;
        let order = NewOrder::immediate(self.side, symbol, Quantity(1), price);
        let sent = self.broker.enter(&order).map_err(|e| format!("order not sent: {e:?}"))?;
        let urn = sent.urn;
        self.due[urn.0 as usize & 0xFFFF] = due;
        self.sent += 1;
        self.broker.flush(now);
        Ok(())
    }
}

pub fn run(args: &FloodArgs) -> Result<(), String> {
    let clock = SystemClock::new();
    let mut traders = [
        Trader::connect("ALFA01", 1, Side::Buy, args.gateway)?,
        Trader::connect("BRVO01", 3, Side::Sell, args.gateway)?,
    ];
    let mut ignored = histogram();
    let until = clock.now().plus(PATIENCE_NS);
    while !traders.iter().all(|t| t.broker.is_bound() && t.broker.is_caught_up()) {
        for trader in &mut traders {
            trader.poll(&clock, &mut ignored);
        }
        if clock.now() > until {
            return Err(format!("no login at {} within a minute", args.gateway));
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    println!(
        "2 brokers x {} orders/s open loop, attacker {} datagrams/s; {} rounds of each kind, {} s quiet, \
         {} s beside (the attacker sends to a socket where nobody reads), {} s attacked; us of all rounds, \
         ratios: medians over rounds",
        args.rate, args.attack_rate, args.rounds, args.seconds, args.seconds, args.seconds
    );
    // Its queue is soon full: from then on the kernel drops what comes.
    let nobody = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|e| e.to_string())?;
    let elsewhere = match nobody.local_addr().map_err(|e| e.to_string())? {
        std::net::SocketAddr::V4(at) => at,
        at => return Err(format!("{at} is no IPv4 address")),
    };
    let mut rounds: [Vec<Round>; KINDS.len()] = Default::default();
    for _ in 0..args.rounds {
        for (kind, rounds) in KINDS.iter().zip(&mut rounds) {
            let quiet = part(&mut traders, &clock, args)?;
            let mut under = |aim| attacked(*kind, aim, &mut traders, &clock, args);
            let beside = under(elsewhere)?;
            rounds.push([quiet, beside, under(args.gateway)?]);
        }
    }
    table(&rounds);
    let mut faults = Vec::new();
    for (trader, user) in traders.iter().zip(["ALFA01", "BRVO01"]) {
        println!("{user}: {} orders, {} answered", trader.sent, trader.answered);
        if trader.sent != trader.answered || trader.holes > 0 || trader.lost_sessions > 0 {
            faults.push(format!(
                "{user}: {} of {} orders answered, {} holes in the reports, {} sessions lost",
                trader.answered, trader.sent, trader.holes, trader.lost_sessions
            ));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
}

/// One part while an attacker of that kind sends to `aim`.
fn attacked(
    kind: Kind,
    aim: SocketAddrV4,
    traders: &mut [Trader; 2],
    clock: &SystemClock,
    args: &FloodArgs,
) -> Result<Histogram<u64>, String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut attacker = Command::new(program)
        .args(["attacker", "--kind", &name(kind), "--gateway", &args.gateway.to_string()])
        .args(["--aim", &aim.to_string(), "--rate", &args.attack_rate.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .map(Ends)
        .map_err(|e| format!("attacker: {e}"))?;
    // It says when it is under way.
    let said = attacker.0.stdout.take().map(|out| BufReader::new(out).lines().next());
    if !matches!(said, Some(Some(Ok(_)))) {
        return Err(format!("attacker {} did not begin", name(kind)));
    }
    let times = part(traders, clock, args);
    match attacker.0.try_wait().map_err(|e| format!("attacker: {e}"))? {
        None => times,
        Some(status) => {
            Err(format!("attacker {} ended before it was told to: {status}", name(kind)))
        }
    }
}

/// A process that does not outlive this value.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Times of one kind in one round, by part.
type Round = [Histogram<u64>; 3];
/// The parts of a round.
const QUIET: usize = 0;
const BESIDE: usize = 1;
const ATTACKED: usize = 2;

/// A line a kind: times of all its rounds together, ratios as medians over the rounds.
fn table(rounds: &[Vec<Round>; KINDS.len()]) {
    println!(
        "{:<12}{:>20}{:>20}{:>20}{:>12}{:>12}{:>12}",
        "us p50 / p99", "quiet", "beside", "attacked", "/ quiet p50", "p99", "/ beside p99"
    );
    let us = |times: &Histogram<u64>, q| times.value_at_quantile(q) as f64 / 1_000.0;
    for (kind, rounds) in KINDS.iter().zip(rounds) {
        print!("{:<12}", name(*kind));
        for part in [QUIET, BESIDE, ATTACKED] {
            let mut all = histogram();
            rounds.iter().for_each(|round| all += &round[part]);
            print!("{:>10.1} /{:>8.1}", us(&all, 0.5), us(&all, 0.99));
        }
        let ratio = |base: usize, q| {
            let of = |round: &Round| us(&round[ATTACKED], q) / us(&round[base], q).max(0.001);
            let mut ratios: Vec<f64> = rounds.iter().map(of).collect();
            ratios.sort_by(f64::total_cmp);
            ratios.get(ratios.len() / 2).copied().unwrap_or(0.0)
        };
        let p99 = ratio(QUIET, 0.99);
        println!(
            "{:>12.2}{:>12.2}{:>12.2}  {}",
            ratio(QUIET, 0.5),
            p99,
            ratio(BESIDE, 0.99),
            if p99 <= P99_RATIO_MAX { "held" } else { "MISSED" }
        );
    }
    println!("(held: p99 attacked at most {P99_RATIO_MAX} x quiet)");
}

fn name(kind: Kind) -> String {
    kind.to_possible_value().map_or_else(String::new, |value| value.get_name().to_string())
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("constant bounds")
}

/// One part of the run: orders on the schedule, whatever the answers do; then all answers.
fn part(
    traders: &mut [Trader; 2],
    clock: &SystemClock,
    args: &FloodArgs,
) -> Result<Histogram<u64>, String> {
    let mut times = histogram();
    let step = 1_000_000_000 / args.rate.max(1);
    let start = clock.now().plus(1_000_000);
    let count = args.rate * args.seconds;
    let mut next = [0u64; 2];
    loop {
        let now = clock.now();
        let mut work = 0;
        for (trader, next) in traders.iter_mut().zip(&mut next) {
            let due = start.plus(*next * step);
            if *next < count && now >= due {
                trader.send(due, now)?;
                *next += 1;
                work += 1;
            }
            work += trader.poll(clock, &mut times);
        }
        let answered = traders.iter().all(|t| t.answered == t.sent);
        if next == [count; 2]
            && (answered || now > start.plus(args.seconds * 1_000_000_000 + PATIENCE_NS))
        {
            return Ok(times);
        }
        if work == 0 {
            std::thread::yield_now();
        }
    }
}

/// The attacker's process: says a line when it begins, goes on until it is killed.
pub fn attack(args: &AttackerArgs) -> Result<(), String> {
    let clock = SystemClock::new();
    let mut port = UdpPort::bind(any()).map_err(|e| e.to_string())?;
    let mut random = SplitMix64::new(7);
    // A session of its own, for replays; its first order.
    let mut own = match args.kind {
        Kind::Replays => Some(Replayed::new(args.gateway, &clock)?),
        _ => None,
    };
    let mut nonce = [0; 16];
    if args.kind == Kind::WrongKey {
        nonce = challenge(&mut port, args.gateway, &clock)?;
    }
    let start = clock.now();
    let step = 1_000_000_000 / args.rate.max(1);
    println!("{} begin", name(args.kind));
    for i in 0.. {
        while clock.now() < start.plus(i * step) {
            std::thread::sleep(std::time::Duration::from_micros(50));
        }
        let bytes = match args.kind {
            Kind::Junk => {
                let len = 1 + random.draw() as usize % 200;
                (0..len).map(|_| random.draw() as u8).collect()
            }
            Kind::Tokens => {
                let token = make_token(SessionSlot(0), random.draw()).ok_or("slot 0")?;
                packet(token, 1, &[b'O'; 47])
            }
            Kind::Challenges => login(random.draw(), [0; 16], [0; 32], &clock, args.gateway),
            Kind::WrongKey => login(random.draw(), nonce, [0xEE; 32], &clock, args.gateway),
            Kind::Replays => {
                if let Some(own) = &mut own {
                    own.again(args.aim);
                }
                continue;
            }
        };
        port.send(args.aim, |out| {
            let len = bytes.len().min(out.len()).min(DATAGRAM_BYTES_MAX);
            out[..len].copy_from_slice(&bytes[..len]);
            len
        });
        port.flush();
        // What is answered is thrown away.
        port.receive(|_, _| {});
    }
    Ok(())
}

fn packet(session: SessionName, sequence: u64, block: &[u8]) -> Vec<u8> {
    let mut buffer = [0; mold::PAYLOAD_BYTES_MAX];
    let mut packet = PacketBuilder::new(&mut buffer[..], session, sequence);
    packet.push_bytes(block);
    packet.packet().to_vec()
}

/// An L of ALFA02, which is nobody's in this run.
fn login(
    number: u64,
    server_nonce: [u8; 16],
    key: [u8; 32],
    clock: &SystemClock,
    gateway: SocketAddrV4,
) -> Vec<u8> {
    let mut client_nonce = [0; 16];
    client_nonce[..8].copy_from_slice(&number.to_le_bytes());
    let login = Login {
        version: VERSION,
        flags: 0,
        user: User::new("ALFA02").unwrap_or_default(),
        wanted: SessionName::BLANK,
        next_report: 0,
        dead_time_ms: 0,
        time: clock.now(),
        client_nonce,
        server_nonce,
        hmac: [0; 32],
    };
    let block = login.signed(&key, gateway.ip().octets(), gateway.port());
    packet(SessionName::BLANK, 0, &block)
}

/// A valid challenge for this socket and ALFA02.
fn challenge(
    port: &mut UdpPort,
    gateway: SocketAddrV4,
    clock: &SystemClock,
) -> Result<[u8; 16], String> {
    for _ in 0..ATTEMPTS {
        let bytes = login(1, [0; 16], [0; 32], clock, gateway);
        port.send(gateway, |out| {
            out[..bytes.len()].copy_from_slice(&bytes);
            bytes.len()
        });
        port.flush();
        std::thread::sleep(std::time::Duration::from_millis(20));
        let mut found = None;
        port.receive(|datagram, _| {
            let block =
                datagram.get(mold::HEADER_BYTES + mold::LENGTH_BYTES..).and_then(Block::read);
            if let Some(Block::Challenge(Challenge { server_nonce })) = block {
                found = Some(server_nonce);
            }
        });
        if let Some(nonce) = found {
            return Ok(nonce);
        }
    }
    Err("no challenge".into())
}

/// A session that says one thing for ever: its port is kept by the broker that logged it in.
struct Replayed {
    port: UdpPort,
    datagram: Vec<u8>,
}

impl Replayed {
    /// Logs BRVO02 in by hand and has one order accepted.
    fn new(gateway: SocketAddrV4, clock: &SystemClock) -> Result<Replayed, String> {
        let mut port = UdpPort::bind(any()).map_err(|e| e.to_string())?;
        let user = User::new("BRVO02").ok_or("user name")?;
        let mut login = Login {
            version: VERSION,
            flags: 0,
            user,
            wanted: SessionName::BLANK,
            next_report: 0,
            dead_time_ms: 15_000,
            time: clock.now(),
            client_nonce: clock.now().0.to_le_bytes().repeat(2).try_into().map_err(|_| "nonce")?,
            server_nonce: [0; 16],
            hmac: [0; 32],
        };
        for _ in 0..ATTEMPTS {
            let block = login.signed(&[4; 32], gateway.ip().octets(), gateway.port());
            let bytes = packet(SessionName::BLANK, 0, &block);
            port.send(gateway, |out| {
                out[..bytes.len()].copy_from_slice(&bytes);
                bytes.len()
            });
            port.flush();
            std::thread::sleep(std::time::Duration::from_millis(20));
            let mut accepted = None;
            port.receive(|datagram, _| {
                let at = mold::HEADER_BYTES + mold::LENGTH_BYTES;
                let own = Header::read(datagram).is_some_and(|h| h.sequence == 0);
                match datagram.get(at..).filter(|_| own).and_then(Block::read) {
                    Some(Block::Challenge(c)) => login.server_nonce = c.server_nonce,
                    Some(Block::Accepted(a)) => accepted = Some(a),
                    _ => {}
                }
            });
            if let Some(accepted) = accepted {
                // A query: applied once, then it is a duplicate for ever.
                let datagram = packet(accepted.token, accepted.applied + 1, b"Q");
                return Ok(Replayed { port, datagram });
            }
        }
        Err("BRVO02 cannot log in".into())
    }

    fn again(&mut self, aim: SocketAddrV4) {
        let bytes = &self.datagram;
        self.port.send(aim, |out| {
            out[..bytes.len()].copy_from_slice(bytes);
            bytes.len()
        });
        self.port.flush();
        self.port.receive(|_, _| {});
    }
}
