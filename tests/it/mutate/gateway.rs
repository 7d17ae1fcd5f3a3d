//! Mutants through a whole venue: ingress, sequencer, engine, egress, publisher, with sessions that
//! keep trading meanwhile.
//!
//! Each round is a day of its own, from (seed, round). After every datagram the commands sequenced
//! are held against `oracle`: at most as many as the session's page lets it cause, and when that is
//! none, nothing at all changed (command log, bindings, state hash). What is let in may change
//! state: at the end of the round the naive exchange replays the command log, and every event must
//! be the same. Two sessions that nobody mutates trade all along; each of their orders is answered
//! once and their reports have no hole.

use super::oracle::{Facts, World};
use super::samples;
use super::{MUTATIONS, Random, Tally, mutate_some};
use crate::venue::{GATEWAY, GATEWAY_KEY, MS, Options, START, Venue, client::*, key, user};
use rialto::agent::Agent;
use rialto::counters::CounterSet;
use rialto::exchange::Naive;
use rialto::exchange::command::{Command, Mode, Phase, SymbolState, kind};
use rialto::exchange::event::{Event, EventBody};
use rialto::exchange::genesis::{AccountSpec, Capacities, Genesis, Limits};
use rialto::gateway::Rate;
use rialto::net::{MemoryPort, Port};
use rialto::store::{DayView, LogIndex};
use rialto::timer::Schedule;
use rialto::types::*;
use rialto::wire::ouch::{Accepted, Outbound, Rejected};
use rialto::wire::session::{
    Block, FLAG_CANCEL_ON_DISCONNECT, FLAG_PACKET_MAC, PACKET_TAG_BYTES, challenge_nonce,
    packet_keys, seal_packet,
};
use std::net::{Ipv4Addr, SocketAddrV4};

/// Sessions 0 and 1 trade and are left alone; the others are what mutants come from.
const SESSIONS: usize = 8;
const TRADERS: [usize; 2] = [0, 1];
/// Granted the packet MAC.
const SEALED: usize = 3;
/// Allowed 1,000 messages a second.
const SLOW: usize = 4;
/// Its orders are cancelled when it is gone, and once it falls silent.
const MORTAL: usize = 5;
/// Nobody may log in as this user.
const CLOSED: usize = 7;
/// Mutants of one round.
pub const ROUND: u64 = 40_000;

/// The day of a round: limits, little money, small tables.
fn genesis(sessions: usize) -> Genesis {
    let mut genesis = crate::venue::genesis(sessions);
    genesis.symbols[1].symbol = Symbol::new("TSLA").unwrap_or_default();
    genesis.symbols[1].lot = 10;
    let mut quiet = genesis.symbols[0];
    quiet.symbol = Symbol::new("MSFT").unwrap_or_default();
    genesis.symbols.push(quiet);
    for account in &mut genesis.accounts {
        account.positions.push((Locate(3), 1 << 40));
    }
    genesis.capacities = Capacities { orders_max: 24, price_pages_max: 12 };
    let limited = AccountName::new("LIM").unwrap_or_default();
    for firm in 0..genesis.firms.len() as u16 {
        genesis.accounts.push(AccountSpec {
            name: if firm == 2 { limited } else { Alpha::new(&format!("L{firm:02}")).unwrap() },
            firm,
            cash: Notional(5_000_000_000),
            limits: Limits {
                order_quantity_max: 150,
                order_notional_max: Notional(140_000_000),
                day_shares_max: 600,
            },
            positions: vec![(Locate(1), 500)],
        });
    }
    // Session 6 trades on the limited account of its firm.
    genesis.sessions[6].default_account = AccountSlot(sessions as u16 + 6);
    genesis
}

fn options() -> Options {
    let at = |ms: u64| START.plus(ms * MS);
    Options {
        replay_rate: 10_000_000,
        rate: Rate { per_second: 5_000_000, burst: 500_000 },
        sessions: SESSIONS,
        command_slots: 1_024,
        reports_kept: 512,
        schedule: Schedule::Times(vec![
            (at(0), Phase::Open),
            (at(300), Phase::Closed),
            (at(350), Phase::Open),
        ]),
        segment_bytes: 24 << 20,
        hot_segments_max: 3,
        genesis,
        capture: None,
        slow: Some((SLOW, Rate { per_second: 1_000, burst: 8 })),
        closed: Some(CLOSED),
    }
}

/// Runs `count` mutants in rounds of [`ROUND`]. Panics at the first violation; returns what came.
pub fn run(seed: u64, count: u64, mut told: impl FnMut(u64, &Tally)) -> Tally {
    let mut all = Tally::default();
    expect_everything(&mut all);
    let mut round = 0;
    while all.mutants < count {
        let wanted = ROUND.min(count - all.mutants).max(12_000);
        let scene = Scene { seed, round, wanted };
        let mut venue = Round::new(seed.wrapping_mul(1_000_003).wrapping_add(round));
        venue.play(wanted);
        all.merge(&venue.finish());
        std::mem::forget(scene);
        round += 1;
        told(round, &all);
    }
    all
}

/// Says which round a panic came from.
struct Scene {
    seed: u64,
    round: u64,
    wanted: u64,
}

impl Drop for Scene {
    fn drop(&mut self) {
        let Scene { seed, round, wanted } = self;
        eprintln!("gateway: seed {seed}, round {round} of {wanted} mutants");
    }
}

/// Every reason that there is must come up.
fn expect_everything(tally: &mut Tally) {
    let venue = Venue::new();
    counters(&venue, &mut |name, _| tally.expect(name));
    for reason in reasons() {
        tally.expect(format!("Rejected {reason}"));
    }
    for reason in [
        CancelReason::User,
        CancelReason::Immediate,
        CancelReason::Collar,
        CancelReason::System,
        CancelReason::Closed,
    ] {
        tally.expect(format!("Canceled {}", reason as u8 as char));
    }
    for code in b"ASTB" {
        tally.expect(format!("login refused {}", *code as char));
    }
    for row in ["refused", "let in", "burst"] {
        tally.expect(format!("datagrams {row}"));
    }
    tally.excuse("gateway_ingress no_entropy", "a seeded source never fails");
    let poison = "needs a command that the exchange died of twice: the guard's own tests";
    tally.excuse("gateway_ingress halted", poison);
    let damage = "our own memory would have to be damaged";
    tally.excuse("gateway_egress undecodable", damage);
    tally.excuse("gateway_replayer read_errors", damage);
    tally.excuse("gateway_replayer broken_links", damage);
}

/// Names of all OUCH reject reasons; a new one does not compile until it is named here.
fn reasons() -> Vec<&'static str> {
    use RejectReason::*;
    let all = [
        DestinationClosed,
        Display,
        Halted,
        Side,
        ProcessingError,
        FirmNotAuthorised,
        Other,
        Quantity,
        ReplaceNotAllowed,
        CancelsOnly,
        Symbol,
        Price,
        SharesThreshold,
        MaxNotional,
        AggregateExposure,
        OrderType,
        VolumeLimit,
        FatFinger,
        PortRate,
    ];
    all.iter().map(|reason| reason_name(*reason)).collect()
}

fn reason_name(reason: RejectReason) -> &'static str {
    use RejectReason::*;
    match reason {
        DestinationClosed => "0002 destination closed",
        Display => "0003 display",
        Halted => "0007 halted",
        Side => "0009 side",
        ProcessingError => "000A processing error",
        FirmNotAuthorised => "000C firm not authorised",
        Other => "000F other",
        Quantity => "0013 quantity",
        ReplaceNotAllowed => "0015 replace not allowed",
        CancelsOnly => "0022 cancels only",
        Symbol => "0017 symbol",
        Price => "001D price",
        SharesThreshold => "001E shares threshold",
        MaxNotional => "001F max notional",
        AggregateExposure => "0020 exposure",
        OrderType => "0024 order type",
        VolumeLimit => "0025 volume limit",
        FatFinger => "0026 fat finger",
        PortRate => "0029 port rate",
    }
}

fn counters(venue: &Venue, visit: &mut dyn FnMut(String, u64)) {
    let (ingress, egress) = (venue.ingress.counters(), venue.egress.counters());
    let replayer = venue.replayer.counters();
    let sets: [&dyn CounterSet; 3] = [&*ingress, &*egress, &*replayer];
    for set in sets {
        set.visit(&mut |name, value| visit(format!("{} {name}", set.agent()), value));
    }
}

/// State that a refused datagram may not change.
#[derive(PartialEq, Debug)]
struct Mark {
    next_seq: Seq,
    hash: u64,
    versions: [u64; SESSIONS],
    reports: [u64; SESSIONS],
}

struct Round {
    venue: Venue,
    random: Random,
    /// By slot; those of [`TRADERS`] are driven by hand below.
    clients: Vec<RawClient>,
    /// Next reference of each.
    urns: Vec<u32>,
    stranger: MemoryPort,
    facts: Vec<Facts>,
    /// Versions of the board that `facts` were taken from.
    versions: [u64; SESSIONS],
    made: [u64; MUTATIONS.len()],
    tally: Tally,
    /// Orders of the traders, and their reports so far.
    sent: [u32; 2],
    answered: [u32; 2],
    next_report: [u64; 2],
    /// References of resting orders by session, as of a moment ago.
    live: [Vec<u32>; SESSIONS],
    /// An old signed login and order, to be replayed.
    kept: Vec<(usize, Vec<u8>)>,
    bytes: Vec<u8>,
    day_over: bool,
}

impl Round {
    fn new(seed: u64) -> Round {
        let mut venue = Venue::with(options());
        venue.archiving = false;
        let mut clients: Vec<RawClient> = (0..SESSIONS).map(|slot| venue.client(slot)).collect();
        clients[SEALED].flags = FLAG_PACKET_MAC;
        clients[MORTAL].flags = FLAG_CANCEL_ON_DISCONNECT;
        for client in &mut clients {
            client.dead_time_ms = 15_000;
        }
        let stranger = SocketAddrV4::new(Ipv4Addr::new(10, 9, 9, 9), 4_000);
        let stranger = venue.network.bind(stranger).unwrap();
        let facts = (0..SESSIONS).map(|slot| Facts {
            user: user(slot),
            key: key(slot),
            binding: venue.board.binding(SessionSlot(slot as u16)).1,
            applied: 0,
        });
        let facts = facts.collect();
        let mut round = Round {
            venue,
            random: Random::new(seed),
            clients,
            urns: vec![1; SESSIONS],
            stranger,
            facts,
            versions: [u64::MAX; SESSIONS],
            made: [0; MUTATIONS.len()],
            tally: Tally::default(),
            sent: [0; 2],
            answered: [0; 2],
            next_report: [2; 2],
            live: Default::default(),
            kept: Vec::new(),
            bytes: Vec::with_capacity(2_048),
            day_over: false,
        };
        for slot in 0..SESSIONS {
            round.log_in(slot);
        }
        round
    }

    /// Logs a session in where nobody is bound, or a mutant of somebody else is. What it is answered
    /// is read from the board: the inbox of a mutated session is full of anything.
    fn log_in(&mut self, slot: usize) {
        let at = SessionSlot(slot as u16);
        let binding = self.venue.board.binding(at).1;
        if binding.bound && binding.token == self.clients[slot].token {
            return;
        }
        self.read_refusals(slot);
        self.venue.clock.advance(MS);
        let now = self.venue.now();
        let client = &mut self.clients[slot];
        client.nonce = client.nonce % 200 + 1;
        let from = client.port.local();
        let minute = (now.0 / 60_000_000_000) as u32;
        let (ip, port) = (from.ip().octets(), from.port());
        let nonce = challenge_nonce(&GATEWAY_KEY, ip, port, &user(slot), minute);
        let login = client.login_block(now, nonce);
        let block = client.signed(&login);
        client.send_own(&block);
        self.venue.settle();
        self.read_refusals(slot);
        let binding = self.venue.board.binding(at).1;
        if binding.bound && binding.address == from {
            let view = self.venue.engine.exchange().session(at).expect("one of the sessions");
            let client = &mut self.clients[slot];
            client.token = binding.token;
            client.next = view.next_client_seq;
            client.keys = (binding.flags & FLAG_PACKET_MAC != 0)
                .then(|| packet_keys(&key(slot), &binding.client_nonce, &binding.server_nonce));
            self.urns[slot] = view.last_urn.0.saturating_add(1);
        }
    }

    fn play(&mut self, mutants: u64) {
        self.tally.mutants = mutants;
        for mutant in 0..mutants {
            if mutant % 64 == 0 {
                self.venue.clock.advance(MS);
                self.venue.settle();
                self.look_at_the_books();
            }
            if mutant % 256 == 0 && !self.day_over {
                self.trade();
            }
            if mutant % 512 == 0 {
                for slot in TRADERS.len()..SESSIONS {
                    self.read_refusals(slot);
                    self.log_in(slot);
                }
            }
            // Things that happen once a round, spread over it.
            match mutant * 16 / mutants.max(1) {
                at if mutant != 0 && (mutant - 1) * 16 / mutants == at => {}
                1 => self.venue.command(&Command::Mode(Mode::CancelOnly)),
                2 => self.venue.command(&Command::Mode(Mode::Normal)),
                3 => self.halt(b'H'),
                4 => self.halt(b'T'),
                5 => self.fill_the_book(),
                6 => self.stall(),
                8 => self.takeover(),
                9 => self.replay_flood(),
                11 => self.fall_silent(),
                15 => self.end_day(),
                _ => {}
            }
            if self.random.one_in(64) {
                self.burst();
            } else {
                self.one();
            }
        }
    }

    fn look_at_the_books(&mut self) {
        self.live.iter_mut().for_each(Vec::clear);
        for locate in [Locate(1), Locate(2)] {
            for side in [Side::Buy, Side::Sell] {
                for order in self.venue.engine.exchange().orders(locate, side).take(100) {
                    self.live[order.session.0 as usize].push(order.urn.0);
                }
            }
        }
    }

    // ----- one mutant -----

    fn one(&mut self) {
        let (slot, strange) = self.draw();
        let from = if strange { self.stranger.local() } else { self.clients[slot].port.local() };
        let may = self.commands_max(from, true);
        let before = self.mark();
        let pushed = self.timer_pushed();
        self.send(slot, strange);
        self.venue.settle();
        let pushed = self.timer_pushed() - pushed;
        let after = self.mark();
        let sequenced = after.next_seq.0 - before.next_seq.0 - pushed;
        assert!(
            sequenced <= may,
            "{sequenced} commands of a datagram that may cause {may}, from {from}: {:02x?}",
            self.bytes
        );
        if may == 0 && pushed == 0 {
            assert_eq!(before, after, "refused, but changed: from {from}: {:02x?}", self.bytes);
            self.tally.add("datagrams refused", 1);
        } else if sequenced > 0 {
            self.tally.add("datagrams let in", 1);
        }
    }

    /// Several datagrams in one poll.
    fn burst(&mut self) {
        let before = self.mark();
        let pushed = self.timer_pushed();
        let mut may = 0;
        for _ in 0..2 + self.random.below(20) {
            let (slot, strange) = self.draw();
            let from =
                if strange { self.stranger.local() } else { self.clients[slot].port.local() };
            may += self.commands_max(from, false);
            self.send(slot, strange);
        }
        self.venue.settle();
        let after = self.mark();
        let sequenced = after.next_seq.0 - before.next_seq.0;
        let pushed = self.timer_pushed() - pushed;
        assert!(sequenced <= may + pushed, "{sequenced} commands of a burst that may cause {may}");
        self.tally.add("datagrams burst", 1);
    }

    fn mark(&self) -> Mark {
        let slots = std::array::from_fn(|slot| SessionSlot(slot as u16));
        Mark {
            next_seq: self.venue.inbound.next_seq(),
            hash: self.venue.engine.exchange().state_hash(),
            versions: slots.map(|slot| self.venue.board.version(slot)),
            reports: slots.map(|slot| self.venue.board.next_report(slot)),
        }
    }

    /// Commands that the timer has pushed so far: they may fall into any settling.
    fn timer_pushed(&self) -> u64 {
        let counters = self.venue.timer.counters();
        counters.ticks.get()
            + counters.phases.get()
            + counters.sessions_down.get()
            + counters.continues.get()
    }

    /// The oracle's word on `self.bytes`.
    fn commands_max(&mut self, from: SocketAddrV4, alone: bool) -> u64 {
        for slot in 0..SESSIONS {
            let at = SessionSlot(slot as u16);
            let version = self.venue.board.version(at);
            if version != self.versions[slot] {
                self.versions[slot] = version;
                self.facts[slot].binding = self.venue.board.binding(at).1;
            }
            let view = self.venue.engine.exchange().session(at).expect("one of the sessions");
            self.facts[slot].applied = view.next_client_seq - 1;
        }
        let world = World {
            sessions: &self.facts,
            gateway: GATEWAY,
            gateway_key: GATEWAY_KEY,
            now: self.venue.now(),
            day_over: self.day_over,
            alone,
        };
        world.commands_max(&self.bytes, from)
    }

    fn send(&mut self, slot: usize, strange: bool) {
        let port = if strange { &mut self.stranger } else { &mut self.clients[slot].port };
        let bytes = &self.bytes;
        port.send(GATEWAY, |out| {
            let len = bytes.len().min(out.len());
            out[..len].copy_from_slice(&bytes[..len]);
            len
        });
        port.flush();
        self.bytes.truncate(rialto::net::DATAGRAM_BYTES_MAX);
    }

    /// Puts a mutant into `self.bytes`; whose it is, and whether a stranger sends it.
    fn draw(&mut self) -> (usize, bool) {
        let slot = TRADERS.len() + self.random.below(SESSIONS - TRADERS.len());
        let strange = self.random.one_in(6);
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        let kind = self.random.below(20);
        match kind {
            0 => self.login_datagram(slot, strange, &mut bytes),
            1 if !self.kept.is_empty() => {
                let (slot, kept) = self.random.pick(&self.kept).clone();
                bytes.extend_from_slice(&kept);
                self.bytes = bytes;
                return (slot, strange);
            }
            _ => self.session_datagram(slot, kind, &mut bytes),
        }
        if bytes.is_empty() {
            // An empty datagram is none on this network.
            bytes.push(0);
        }
        bytes.truncate(rialto::net::DATAGRAM_BYTES_MAX);
        if self.kept.len() < 64 && self.random.one_in(16) {
            self.kept.push((slot, bytes.clone()));
        }
        self.bytes = bytes;
        (slot, strange)
    }

    /// A login of `slot` as from its address: mutated before it is signed, after it, or not at all.
    fn login_datagram(&mut self, slot: usize, strange: bool, bytes: &mut Vec<u8>) {
        let now = self.venue.now();
        let from = if strange { self.stranger.local() } else { self.clients[slot].port.local() };
        let minute = (now.0 / 60_000_000_000) as u32;
        let (ip, port) = (from.ip().octets(), from.port());
        let nonce = challenge_nonce(&GATEWAY_KEY, ip, port, &user(slot), minute);
        self.clients[slot].nonce = self.random.below(100) as u8;
        let client = &mut self.clients[slot];
        let server_nonce = if self.random.one_in(4) { [0; 16] } else { nonce };
        let mut login = client.login_block(now, server_nonce);
        let random = &mut self.random;
        match random.below(10) {
            0 => login.time = Nanos(*random.pick(&super::EXTREMES)),
            1 => login.flags = random.draw() as u8,
            2 => login.version = random.draw() as u8,
            3 => login.next_report = *random.pick(&super::EXTREMES),
            4 => login.dead_time_ms = random.draw() as u16,
            _ => {}
        }
        let mut block = login.signed(&key(slot), GATEWAY.ip().octets(), GATEWAY.port()).to_vec();
        if random.one_in(3) {
            let other = samples::own_bytes(random, 0);
            mutate_some(random, &mut block, &other, &mut self.made);
        }
        bytes.extend_from_slice(&samples::packet(SessionName::BLANK, 0, &[block]));
        if random.one_in(6) {
            let other = samples::own_bytes(random, 0);
            mutate_some(random, bytes, &other, &mut self.made);
        }
    }

    fn session_datagram(&mut self, slot: usize, kind: usize, bytes: &mut Vec<u8>) {
        let next = self.facts[slot].applied.saturating_add(1);
        let binding = self.facts[slot].binding;
        let token = binding.token;
        let random = &mut self.random;
        let sequence = match random.below(12) {
            0 => *random.pick(&[0, 1, next.saturating_sub(1), next + 1, next + 65_536]),
            1 => *random.pick(&[next + 65_537, next + 65_538, u64::MAX, u64::MAX - 1, 1 << 63]),
            2 => next.saturating_sub(random.below(5) as u64),
            _ => next,
        };
        let urn = self.urns[slot];
        let name = SessionName::new(&format!("FIRM{slot:02}A002")).unwrap_or_default();
        let feed = SessionName::new("RIALTOA002").unwrap_or_default();
        *bytes = match kind {
            2 => samples::head(token, sequence, 0),
            3 if random.one_in(8) => samples::head(token, sequence, 0xFFFF),
            4 => samples::head(name, 1 + random.below(600) as u64, 1 + random.below(300) as u16),
            5 => samples::packet(feed, 1, &[samples::itch_bytes(random)]),
            6 => samples::head(feed, 1 + random.below(100) as u64, 10),
            7 => {
                let block = random.below(5);
                let session = if random.one_in(2) { SessionName::BLANK } else { token };
                samples::packet(session, 0, &[samples::own_bytes(random, block)])
            }
            8 => {
                let kind = random.below(8);
                let mut report = vec![0; rialto::wire::ouch::OUTBOUND_BYTES_MAX];
                let len = samples::outbound(random, kind).encode(&mut report);
                report.truncate(len);
                samples::packet(name, sequence, &[report])
            }
            _ => {
                let most = if random.one_in(8) { 16 } else { 3 };
                let count = 1 + random.below(most);
                let mut blocks = Vec::with_capacity(count);
                for i in 0..count {
                    let urn = urn.saturating_add(i as u32);
                    let mut block = samples::inbound_bytes(random, urn, &self.live[slot]);
                    if random.one_in(3) {
                        let other = samples::inbound_bytes(random, urn, &[]);
                        mutate_some(random, &mut block, &other, &mut self.made);
                    }
                    blocks.push(block);
                }
                // References near the end of numbers would end the session's day at once.
                if urn < u32::MAX - 100_000 {
                    self.urns[slot] = urn + count as u32;
                }
                samples::packet(token, sequence, &blocks)
            }
        };
        // The head and lengths; half of the time everything under them stays right.
        let late = random.one_in(2);
        if !late && random.one_in(2) {
            let other = samples::head(name, next, 3);
            mutate_some(random, bytes, &other, &mut self.made);
        }
        if binding.flags & FLAG_PACKET_MAC != 0 && !random.one_in(8) {
            let facts = &self.facts[slot];
            let keys = packet_keys(&facts.key, &binding.client_nonce, &binding.server_nonce);
            let len = bytes.len();
            bytes.resize(len + PACKET_TAG_BYTES, 0);
            seal_packet(&keys.client, bytes, len);
        }
        if late && random.one_in(3) {
            let other = samples::head(name, next, 3);
            mutate_some(random, bytes, &other, &mut self.made);
        }
    }

    // ----- the sessions that nobody mutates -----

    /// One sells, one buys; both read what they were told.
    fn trade(&mut self) {
        let price = 500_000 + 100 * self.random.below(50) as u32;
        let quiet = |order: &mut rialto::wire::ouch::Enter| {
            order.symbol = Symbol::new("MSFT").unwrap_or_default();
            order.tif = b'3';
        };
        for (trader, side) in TRADERS.into_iter().zip(*b"SB") {
            self.log_in(trader);
            self.sent[trader] += 1;
            let order = enter(self.sent[trader], side, price, quiet);
            self.clients[trader].send(&[&order]);
            self.clients[trader].heartbeat();
        }
        self.venue.settle();
        for trader in TRADERS {
            for (number, report) in self.clients[trader].reports() {
                assert_eq!(number, self.next_report[trader], "reports of a trader have a hole");
                self.next_report[trader] += 1;
                match report {
                    Outbound::Accepted(Accepted { urn, .. })
                    | Outbound::Rejected(Rejected { urn, .. }) => {
                        self.answered[trader] += 1;
                        assert_eq!(urn.0, self.answered[trader], "answered once, in order");
                    }
                    Outbound::NotApplied(n) => panic!("a trader lost {n:?}"),
                    _ => {}
                }
            }
            assert_eq!(self.answered[trader], self.sent[trader], "an order without an answer");
        }
    }

    // ----- what happens once a round -----

    fn halt(&mut self, state: u8) {
        for locate in [1, 2] {
            self.venue.command(&Command::SymbolState(SymbolState {
                locate: Locate(locate),
                state,
                ..SymbolState::get(&[0; SymbolState::SIZE]).expect("zeros")
            }));
        }
    }

    /// More resting orders than the venue has room for.
    fn fill_the_book(&mut self) {
        for slot in [2, MORTAL] {
            self.log_in_for_sure(slot);
            for _ in 0..2 {
                let first = self.urns[slot];
                let orders: Vec<Vec<u8>> =
                    (0..20).map(|i| buy(first.saturating_add(i), 500_000)).collect();
                let blocks: Vec<&[u8]> = orders.iter().map(|order| &order[..]).collect();
                self.clients[slot].send(&blocks);
                self.urns[slot] = first.saturating_add(20);
                self.venue.settle();
            }
            drain(&mut self.clients[slot].port);
        }
    }

    /// The sequencer stands still: rings fill, messages pile up uncommitted, asks are lost.
    fn stall(&mut self) {
        for slot in [2, 6] {
            self.log_in_for_sure(slot);
        }
        // Replay requests one poll after the other while egress stands still.
        for _ in 0..1_200 {
            self.request(2, 1, 1);
            self.venue.ingress.duty_cycle(self.venue.now());
        }
        self.venue.settle();
        self.venue.sequencing = false;
        let empty: Vec<&[u8]> = vec![b""; 600];
        for slot in [2, 6] {
            for _ in 0..4 {
                self.clients[slot].send(&empty);
            }
        }
        self.venue.settle();
        self.venue.sequencing = true;
        self.venue.settle();
        // And what a session says twice before it is heard.
        for _ in 0..3 {
            self.log_in_for_sure(2);
            self.venue.sequencing = false;
            self.clients[2].next = self.venue.board.applied(SessionSlot(2)) + 1;
            for _ in 0..3 {
                self.clients[2].logoff();
                self.venue.ingress.duty_cycle(self.venue.now());
            }
            self.venue.sequencing = true;
            self.venue.settle();
        }
    }

    /// Logs in anew whatever stands; the bucket of logins may need a moment.
    fn log_in_for_sure(&mut self, slot: usize) {
        for _ in 0..50 {
            self.clients[slot].token = Token::BLANK;
            self.log_in(slot);
            let binding = self.venue.board.binding(SessionSlot(slot as u16)).1;
            if binding.bound && binding.token == self.clients[slot].token {
                return;
            }
            self.venue.clock.advance(150 * MS);
            self.venue.settle();
        }
        panic!("session {slot} cannot log in");
    }

    /// A replay request under the session's downstream name.
    fn request(&mut self, slot: usize, from: u64, count: u16) {
        let name = self.venue.genesis.downstream_name(SessionSlot(slot as u16));
        self.clients[slot].send_head(name.expect("one of the sessions"), from, count);
    }

    /// Another host logs in as session 2, with the right key: J 'B' to the old one.
    fn takeover(&mut self) {
        self.log_in_for_sure(2);
        drain(&mut self.clients[2].port);
        let address = SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, 99), 5_000);
        let mut other = self.venue.client_at(2, address);
        other.nonce = self.clients[2].nonce.wrapping_add(1);
        self.venue.clock.advance(200 * MS);
        assert!(matches!(other.try_login(&mut self.venue), Some(Block::Accepted(_))));
        self.read_refusals(2);
        // An old login again, with an old time; then a wrong key until it is silenced.
        self.clients[2].nonce = self.clients[2].nonce.wrapping_sub(9);
        let back = self.venue.now();
        let login = self.clients[2].login_block(Nanos(back.0 - 4_000_000_000), [0; 16]);
        self.clients[2].send_own(&login.bytes());
        self.venue.settle();
        for _ in 0..12 {
            let mut thief = self.venue.client_at(
                2,
                SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, 98), 5_000 + self.random.below(9) as u16),
            );
            thief.key = [0xEE; 32];
            if let Some(Block::Refused(refused)) = thief.try_login(&mut self.venue) {
                self.tally.add(&format!("login refused {}", refused.code as u8 as char), 1);
            }
        }
    }

    /// Requests for old reports by the hundred, the replayer standing still, and a login between.
    fn replay_flood(&mut self) {
        self.log_in_for_sure(2);
        // More reports than egress keeps.
        for _ in 0..3 {
            let queries: Vec<&[u8]> = vec![b"Q"; 300];
            self.clients[2].send(&queries);
            self.venue.settle();
        }
        drain(&mut self.clients[2].port);
        self.venue.clock.advance(100 * MS);
        for from in 0..70 {
            self.request(2, 1 + from, 1);
            self.venue.cycle();
        }
        self.log_in_for_sure(2);
        self.venue.settle();
        self.venue.clock.advance(100 * MS);
        for from in 0..40 {
            let next = self.venue.board.next_report(SessionSlot(2));
            self.request(2, next - 1 - from, 30);
        }
        self.venue.settle();
        drain(&mut self.clients[2].port);
    }

    /// Sixteen seconds in which session 5 says nothing.
    fn fall_silent(&mut self) {
        self.log_in_for_sure(MORTAL);
        for step in 0..330 {
            self.venue.clock.advance(50 * MS);
            self.venue.settle();
            if step % 20 == 0 {
                for slot in (0..SESSIONS).filter(|slot| *slot != MORTAL) {
                    self.clients[slot].heartbeat();
                    if !TRADERS.contains(&slot) {
                        drain(&mut self.clients[slot].port);
                    }
                }
            }
        }
        let binding = self.venue.board.binding(SessionSlot(MORTAL as u16)).1;
        assert!(!binding.bound, "silent for longer than its dead time");
        drain(&mut self.clients[MORTAL].port);
        self.clients[MORTAL].heartbeat();
        self.venue.settle();
        self.read_refusals(MORTAL);
    }

    fn end_day(&mut self) {
        self.trade();
        self.fill_the_book();
        self.venue.command(&Command::EndOfDay);
        self.venue.clock.advance(20 * MS);
        self.venue.settle();
        self.day_over = true;
        // From here on nobody is bound.
        self.sent = self.answered;
    }

    /// J in a client's inbox, counted; the rest is not read.
    fn read_refusals(&mut self, slot: usize) {
        let tally = &mut self.tally;
        loop {
            let count = self.clients[slot].port.receive(|datagram, _| {
                let j = datagram.get(22..).and_then(Block::read);
                let own = datagram.len() == 46 && datagram[..18] == *b"          \0\0\0\0\0\0\0\0";
                if let (true, Some(Block::Refused(refused))) = (own, j) {
                    tally.add(&format!("login refused {}", refused.code as u8 as char), 1);
                }
            });
            if count == 0 {
                return;
            }
        }
    }

    // ----- the end -----

    /// The model says the same, event for event; everything fits together.
    fn finish(mut self) -> Tally {
        self.venue.engine.exchange().check();
        let hash = self.venue.engine.exchange().state_hash();
        let view = DayView::open(&self.venue.day_dir()).unwrap();
        let mut commands = view.log(LogIndex::Command).reader().unwrap();
        let mut events = view.log(LogIndex::Event).reader().unwrap();
        let mut naive = Naive::new(&self.venue.genesis).expect("the genesis of the round");
        let (mut expected, mut count) = (Vec::<Event>::new(), 0u64);
        while let Some(record) = commands.next().unwrap() {
            let command = Command::decode(record.kind, record.payload).expect("a command");
            assert!(record.kind != kind::GENESIS || record.seq == Seq(1));
            expected.clear();
            naive.apply(record.seq, record.time, &command, &mut expected);
            for event in &expected {
                let logged = events.next().unwrap().expect("as many events as the model");
                let mut logged = Event::decode(logged.kind, logged.payload);
                // The link between a session's reports is the outbound sequencer's.
                if let Some(logged) = &mut logged {
                    logged.head.previous = 0;
                }
                assert_eq!(logged.as_ref(), Some(event), "command {:?}: {command:?}", record.seq);
                match &event.body {
                    EventBody::Rejected(e) => {
                        let name = reasons()
                            .into_iter()
                            .find(|name| name.starts_with(&format!("{:04X}", e.reason)));
                        self.tally.add(&format!("Rejected {}", name.expect("of the list")), 1);
                    }
                    EventBody::Canceled(e) => {
                        self.tally.add(&format!("Canceled {}", e.reason as char), 1);
                    }
                    _ => {}
                }
            }
            count += 1;
        }
        assert!(events.next().unwrap().is_none(), "more events than the model's");
        naive.check();
        assert_eq!(naive.state_hash(), hash, "state after {count} commands");
        let mut tally = self.tally;
        tally.add("commands, each held against the model", count);
        counters(&self.venue, &mut |name, value| tally.add(&name, value));
        for (name, made) in MUTATIONS.iter().zip(self.made) {
            tally.add(&format!("made: {name}"), made);
        }
        tally
    }
}

fn drain(port: &mut MemoryPort) {
    while port.receive(|_, _| {}) > 0 {}
}
