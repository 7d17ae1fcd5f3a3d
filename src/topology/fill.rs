//! A long day in a short time, for measurements: the flow of `flow::synthetic` through ring, inbound
//! sequencer, engine and archiver, the very agents of a venue, without a network.
//!
//! Consumes a configuration and a number of commands; leaves a day begun, as a venue leaves it that
//! was killed. Accounts get more than they can spend and no limits: what is measured is a day on which
//! orders rest and trade. Not for days that anybody needs.

use super::day::{commit_what_is_written, open_day};
use super::recover;
use super::{StartError, host};
use crate::agent::{Agent, AgentPanic, Runner, RunnerOptions, join_all};
use crate::board::EngineStatus;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::counters::ReceiptBoard;
use crate::engine::Engine;
use crate::exchange::command::*;
use crate::exchange::genesis::{Genesis, Limits, SymbolSpec};
use crate::flow::{FlowCommand, FlowOp, SymbolFlow, Synthetic, SyntheticOptions};
use crate::ring::{Producer, ring};
use crate::sequencer::inbound::{Inbound, InboundOptions};
use crate::store::{ArchiverOptions, Day, LogIndex, Storage, files};
use crate::types::*;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const RING_SLOTS: usize = 4_096;
/// The measured hour's busiest second. Only the flow's own clock goes by it.
const FLOW_RATE: u64 = 215_000;
/// Opening cash and shares of an account: any hundred accounts stay below 2^62.
const PLENTY: u64 = 1 << 50;

/// A day that is being filled.
pub struct Filler {
    day: Day,
    inbound: Inbound,
    engine: Engine,
    status: Arc<EngineStatus>,
    ring: Producer,
    traders: Traders,
    clock: SystemClock,
    stop: Arc<AtomicBool>,
    runners: Vec<crate::agent::RunnerHandle>,
}

impl Filler {
    /// Opens the day, which must be new; every session logs in and the market opens.
    pub fn open(config: &Config, clock: SystemClock, seed: u64) -> Result<Filler, StartError> {
        Filler::open_in(files(), &host::hot_tier(config), config, clock, seed)
    }

    fn open_in(
        storage: Arc<dyn Storage>,
        hot: &Path,
        config: &Config,
        clock: SystemClock,
        seed: u64,
    ) -> Result<Filler, StartError> {
        let mut config = config.clone();
        for account in &mut config.accounts {
            account.cash = Notional(PLENTY);
            account.limits = Limits::default();
            account.positions =
                (1..=config.symbols.len() as u16).map(|l| (Locate(l), PLENTY)).collect();
        }
        let now = clock.now();
        let mut day = open_day(&config, storage, hot, now)?;
        let (genesis, _) = day.genesis(&config, now, seed)?;
        let (command_log, event_log) =
            (day.day.log(LogIndex::Command).clone(), day.day.log(LogIndex::Event).clone());
        let existing = event_log.reader_unbounded()?;
        let control = day.day.control().clone();
        let (producer, consumer) = ring(RING_SLOTS);
        let mut inbound = Inbound::new(InboundOptions {
            writer: command_log.writer(&day.commands)?,
            control: control.clone(),
            policy: day.policy,
            term: 1,
            last_time: day.commands.last_time,
            receipts: ReceiptBoard::new(65_536),
            rings: vec![consumer],
        });
        let writer = event_log.writer(&day.events)?;
        let mut archiver = day.day.archiver(ArchiverOptions::for_policy(day.policy))?;
        if inbound.next_seq() != Seq(1) {
            return Err(StartError::NotNew { day: day.day.dir().to_path_buf() });
        }
        inbound
            .append_now(kind::GENESIS, &genesis.encode(), now)
            .map_err(StartError::FirstRecord)?;
        commit_what_is_written(day.policy, &control, &mut archiver, &clock)?;
        let status = EngineStatus::new();
        let sessions = genesis.sessions.len();
        let outbound = recover::outbound(None, writer, existing, control, (1, sessions));
        let (engine, _) = recover::engine(
            None,
            &command_log,
            outbound,
            status.clone(),
            day.guard.clone(),
            || true,
        )?;

        let stop = Arc::new(AtomicBool::new(false));
        let mut agents: Vec<(&str, Box<dyn Agent + Send>)> = Vec::new();
        if let Some(preparer) = archiver.take_preparer() {
            agents.push(("fill-preparer", Box::new(preparer)));
        }
        agents.push(("fill-archiver", Box::new(archiver)));
        let mut runners = Vec::new();
        for (name, agent) in agents {
            let options = RunnerOptions::new(clock, stop.clone());
            let handle = Runner::spawn(name, vec![agent], options)
                .map_err(|cause| StartError::Host { what: "start a thread", cause })?;
            runners.push(handle);
        }
        let day = day.day;
        let traders = Traders::new(&genesis, seed);
        let mut filler =
            Filler { day, inbound, engine, status, ring: producer, traders, clock, stop, runners };
        for slot in 0..sessions as u16 {
            filler.put(&login(SessionSlot(slot), now));
        }
        filler.put(&Command::Phase(Phase::Open));
        Ok(filler)
    }

    /// Where the day lies.
    pub fn dir(&self) -> &Path {
        self.day.dir()
    }

    /// Commands applied, and resting orders.
    pub fn progress(&self) -> (u64, u32) {
        (self.status.applied().0, self.engine.exchange().open_orders())
    }

    /// State hash after the last command.
    pub fn state_hash(&self) -> u64 {
        self.engine.exchange().state_hash()
    }

    /// Goes on until the command log has `commands` commands and all are applied; false when a thread
    /// ended. An error when the archive cannot be written and nothing goes on without it.
    pub fn fill_to(&mut self, commands: u64) -> Result<bool, StartError> {
        let mut pushed = self.inbound.next_seq().0 - 1;
        while self.status.applied().0 < commands {
            while pushed < commands && self.ring.free() > 0 {
                let command = self.traders.next();
                if !self.push(&command) {
                    break;
                }
                pushed += 1;
            }
            if self.turn() == 0 {
                if self.runners.iter().any(|runner| runner.is_finished()) {
                    return Ok(false);
                }
                let control = self.day.control();
                if let Some(code) = control.archive_failed().or(control.archive_waits()) {
                    return Err(StartError::Archive(io::Error::from_raw_os_error(code)));
                }
                // Both logs wait for the archiver's disk.
                std::thread::yield_now();
            }
        }
        Ok(true)
    }

    /// Ends the threads. The day is left as it is: not sealed, like one that was killed.
    pub fn end(self) -> Result<(), AgentPanic> {
        self.stop.store(true, Ordering::Release);
        join_all(self.runners)
    }

    fn turn(&mut self) -> usize {
        let now = self.clock.now();
        self.inbound.duty_cycle(now) + self.engine.duty_cycle(now)
    }

    fn push(&mut self, command: &Command<'_>) -> bool {
        let mut bytes = [0; 256];
        let (kind, len) = command.encode(&mut bytes);
        let fill = |out: &mut [u8]| out[..len].copy_from_slice(&bytes[..len]);
        self.ring.try_push(kind, len, fill).is_ok()
    }

    fn put(&mut self, command: &Command<'_>) {
        while !self.push(command) {
            self.turn();
        }
        while self.turn() > 0 {}
    }
}

fn login(session: SessionSlot, now: Nanos) -> Command<'static> {
    Command::Login(Login {
        session,
        flags: 0,
        version: 1,
        generation: 1,
        token: Token::BLANK,
        dead_time_ms: 15_000,
        client_nonce: [0; 16],
        server_nonce: [0; 16],
        ip: [127, 0, 0, 1],
        port: 9,
        zero: [0; 6],
        login_time: now,
        received: now,
    })
}

/// Turns the flow into messages of sessions.
struct Traders {
    flow: Synthetic,
    options: SyntheticOptions,
    symbols: Vec<SymbolSpec>,
    /// Next client sequence and reference, by session.
    next: Vec<(u64, u32)>,
    /// Session, reference and total of orders that may rest.
    orders: BTreeMap<u64, (u16, Urn, u32)>,
}

impl Traders {
    fn new(genesis: &Genesis, seed: u64) -> Traders {
        let symbols = genesis.symbols.clone();
        let resting = genesis.capacities.orders_max as u64 / 2 / symbols.len() as u64;
        let options = SyntheticOptions {
            seed,
            rate: FLOW_RATE,
            seconds: 86_400,
            symbols: symbols.iter().map(flow_of).collect(),
            resting: Some(resting.clamp(10, 100_000)),
        };
        let flow = Synthetic::new(&options).expect("made for these symbols");
        let next = vec![(1, 1); genesis.sessions.len()];
        Traders { flow, options, symbols, next, orders: BTreeMap::new() }
    }

    fn next(&mut self) -> Command<'static> {
        loop {
            let Some(command) = self.flow.next() else {
                self.options.seed += 1;
                self.flow = Synthetic::new(&self.options).expect("as before");
                continue;
            };
            if let Some((session, body)) = self.translate(&command) {
                let row = &mut self.next[session as usize];
                let client_seq = row.0;
                row.0 += 1;
                let head = MessageHead {
                    session: SessionSlot(session),
                    verdict: Verdict::Ok as u8,
                    body: 0,
                    generation: 1,
                    client_seq,
                    received: Nanos(0),
                };
                return Command::Message(head, body);
            }
        }
    }

    fn translate(&mut self, c: &FlowCommand) -> Option<(u16, MessageBody)> {
        match c.op {
            FlowOp::New | FlowOp::Immediate => {
                let session = (c.order_id % self.next.len() as u64) as u16;
                let row = &mut self.next[session as usize];
                let urn = Urn(row.1);
                row.1 += 1;
                let rests = c.op == FlowOp::New;
                if rests {
                    self.orders.insert(c.order_id, (session, urn, c.quantity.0));
                }
                let enter = Enter {
                    urn,
                    quantity: c.quantity,
                    price: u64::from(c.price.0),
                    symbol: self.symbols[c.symbol as usize].symbol,
                    account: Alpha::BLANK,
                    min_quantity: Quantity(0),
                    cl_ord_id: Alpha::BLANK,
                    side: c.side.letter(),
                    tif: if rests { b'0' } else { b'3' },
                    display: b'Y',
                    capacity: b'A',
                    iso: b'N',
                    cross: b'N',
                    flags: 0,
                    zero: [0; 3],
                };
                Some((session, MessageBody::Enter(enter)))
            }
            FlowOp::Cancel => {
                let (session, urn, _) = self.orders.remove(&c.order_id)?;
                Some((session, MessageBody::Cancel(Cancel { urn, quantity: Quantity(0) })))
            }
            FlowOp::Reduce => {
                let (session, urn, total) = self.orders.get_mut(&c.order_id)?;
                *total = total.saturating_sub(c.quantity.0);
                let quantity = Quantity(*total);
                Some((*session, MessageBody::Cancel(Cancel { urn: *urn, quantity })))
            }
        }
    }
}

/// A market about 100.00, or in the middle of a band that is elsewhere.
fn flow_of(spec: &SymbolSpec) -> SymbolFlow {
    let cut = |price: u32| Price(price / spec.tick * spec.tick);
    let (min, max) = (spec.price_min.0, spec.price_max.0);
    let start = if (min * 2..max / 2).contains(&1_000_000) { 1_000_000 } else { min / 2 + max / 2 };
    SymbolFlow {
        start: cut(start),
        tick: Price(spec.tick),
        lowest: cut((start - start / 5).max(min)),
        highest: cut(start.saturating_add(start / 5).min(max)),
        lot: Quantity(spec.lot),
        weight: 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Faults, MemoryStorage, Tier};

    fn config(durability: &str) -> Config {
        let text = format!(
            "[venue]\nname = \"FILL\"\ndata = \"/disk/data\"\nhot = \"/memory/hot\"\ntest_keys = true\n\
             durability = \"{durability}\"\n\
             [capacity]\norders_max = 1000\nprice_pages_max = 16\nsegment_mib = 1\nhot_segments_max = 3\n\
             [gateway]\nlisten = \"10.0.0.1:9001\"\n\
             [feed]\ninterface = \"10.0.0.1\"\na = \"239.192.0.1:9101\"\nb = \"239.192.0.2:9102\"\n\
             repair = \"10.0.0.1:9103\"\n[[symbol]]\nname = \"ALPH\"\n\
             [[firm]]\nname = \"ALFA\"\n[[account]]\nname = \"A001\"\nfirm = \"ALFA\"\n\
             [[session]]\nuser = \"ALFA01\"\nfirm = \"ALFA\"\naccount = \"A001\"\n\
             allow = [\"10.0.0.0/8\"]\nkey = \"{}\"\n",
            "01".repeat(32)
        );
        Config::parse(Path::new("/disk/rialto.toml"), &text).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn an_archive_that_cannot_be_written_ends_it() {
        for durability in ["disk", "memory"] {
            let storage = Arc::new(MemoryStorage::new(1, Path::new("/memory")));
            // Room for small files only.
            let full = Faults { limit_bytes: 500 << 10, ..Faults::default() };
            storage.set_faults(Tier::Disk, full);
            let clock = SystemClock::new();
            let hot = Path::new("/memory/hot");
            let opened = Filler::open_in(storage, hot, &config(durability), clock, 1);
            let error = match opened {
                Err(error) => error,
                Ok(mut filler) => {
                    assert_eq!(durability, "memory", "no first record");
                    let error = filler.fill_to(u64::MAX).expect_err("the log fills up");
                    filler.end().unwrap();
                    error
                }
            };
            let full = matches!(&error, StartError::Archive(e)
                if e.raw_os_error() == Some(libc::ENOSPC));
            assert!(full, "{durability}: {error}");
        }
    }
}
