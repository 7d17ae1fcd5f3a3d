//! Engine: applies committed commands, in order, and nothing else.
//!
//! Consumes the command log up to its commit mark; produces events through the outbound sequencer
//! and a shared status. At start it does the whole log again from Genesis. A command that kills it is
//! noted by the guard before the panic goes on; a start may stand halted before it, or apply it as
//! void. The only agent that may name the exchange; it must not know sockets, sessions or files.

use crate::agent::Agent;
use crate::board::EngineStatus;
use crate::counters::counters;
use crate::exchange::Exchange;
use crate::exchange::command::{Command, kind};
use crate::exchange::genesis::{Genesis, GenesisError};
use crate::guard::{Guard, command_checksum};
use crate::sequencer::outbound::{Outbound, OutboundError};
use crate::store::{ReadError, Reader};
use crate::types::*;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

counters! {
    /// What the engine did.
    pub struct EngineCounters("engine") {
        commands: "commands applied since start",
        undecodable: "command records that are none of ours, passed over",
        waits: "cycles in which the event log had no room",
        apply_batch_max: "most commands applied in one cycle",
    }
}

/// Commands applied per duty cycle at most: bounds the cycle at about 100 us of ordinary orders.
pub const BATCH: usize = 256;

/// Why the engine cannot start.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The command log is empty: topology appends Genesis first.
    #[error("the command log has no Genesis")]
    NoGenesis,
    /// The first record is something else.
    #[error("the first record of the command log has kind {0}, not Genesis")]
    NotGenesis(u16),
    /// Genesis is not usable.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// A record is no command of this program.
    #[error("command {seq} (kind {kind}) is none of this program's")]
    Undecodable {
        /// Its number.
        seq: u64,
        /// Its kind.
        kind: u16,
    },
    /// The command log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The event log is not what the commands give.
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    /// The note of an earlier death cannot be taken away, and would be taken for a new one.
    #[error("the crash file cannot be removed: {0}")]
    Guard(#[source] std::io::Error),
    /// The event log has no room and recovery cannot go on.
    #[error(
        "the event log has no room for the events of command {seq}; hot_segments_max is too small"
    )]
    NoRoom {
        /// Command whose events did not fit.
        seq: u64,
    },
}

/// The engine. See the module's head.
pub struct Engine {
    exchange: Box<Exchange>,
    commands: Reader,
    outbound: Outbound,
    status: Arc<EngineStatus>,
    counters: Arc<EngineCounters>,
    guard: Guard,
    /// Command that is inside `apply`, 0 = none.
    applying: u64,
}

impl Engine {
    /// Reads Genesis and does the whole committed log again, comparing events with those that are
    /// there; live afterwards. `make_room` is called while the event log has no room (the archiver's
    /// duty cycle, or nothing when the archiver has a thread of its own); when it says that waiting
    /// longer is in vain the start fails. Cost: the whole day's commands.
    pub fn start(
        commands: Reader,
        outbound: Outbound,
        status: Arc<EngineStatus>,
        make_room: impl FnMut() -> bool,
    ) -> Result<Engine, EngineError> {
        Engine::start_guarded(commands, outbound, status, Guard::none(), make_room)
    }

    /// As [`Engine::start`], with what earlier runs have left of a command that killed them. When that
    /// command holds this run up, the engine has applied everything before it and applies no more.
    pub fn start_guarded(
        mut commands: Reader,
        outbound: Outbound,
        status: Arc<EngineStatus>,
        guard: Guard,
        mut make_room: impl FnMut() -> bool,
    ) -> Result<Engine, EngineError> {
        let (genesis_bytes, seq, time) = {
            let Some(record) = commands.next()? else { return Err(EngineError::NoGenesis) };
            if record.kind != kind::GENESIS {
                return Err(EngineError::NotGenesis(record.kind));
            }
            (record.payload.to_vec(), record.seq, record.time)
        };
        let genesis = Genesis::decode(&genesis_bytes)?;
        let exchange = Box::new(Exchange::new(&genesis)?);
        let counters = Arc::default();
        let mut engine =
            Engine { exchange, commands, outbound, status, counters, guard, applying: 0 };
        engine.apply(seq, time, &Command::Genesis(&genesis_bytes));
        engine.recover_or_die(seq, &mut make_room)?;
        Ok(engine)
    }

    fn recover_or_die(
        &mut self,
        last: Seq,
        make_room: &mut dyn FnMut() -> bool,
    ) -> Result<(), EngineError> {
        match catch_unwind(AssertUnwindSafe(|| self.recover(last, make_room))) {
            Ok(recovered) => recovered,
            Err(panic) => self.die(panic),
        }
    }

    /// The same from a snapshot: `exchange` is the one after command `last` of time `time`;
    /// `commands` reads on behind it, and `outbound` compares and goes on behind its last event.
    /// Cost: the commands behind it.
    pub fn resume(
        commands: Reader,
        outbound: Outbound,
        status: Arc<EngineStatus>,
        exchange: Exchange,
        (last, time): (Seq, Nanos),
        guard: Guard,
        mut make_room: impl FnMut() -> bool,
    ) -> Result<Engine, EngineError> {
        status.set_phase(exchange.phase());
        status.set_mode(exchange.mode());
        status.set_state_hash(last, exchange.state_hash(), exchange.open_orders() as u64);
        status.set_continue_wanted(exchange.continue_wanted());
        if exchange.day_ended() {
            status.set_day_ended(LONG_AGO);
        }
        status.set_applied(last, time);
        let exchange = Box::new(exchange);
        let counters = Arc::default();
        let mut engine =
            Engine { exchange, commands, outbound, status, counters, guard, applying: 0 };
        engine.recover_or_die(last, &mut make_room)?;
        Ok(engine)
    }

    /// The exchange panicked: what it was at is noted, then the panic goes on.
    #[cold]
    fn die(&mut self, panic: Box<dyn Any + Send>) -> ! {
        let command = Seq(std::mem::take(&mut self.applying));
        let found = command.0 != 0 && matches!(self.commands.seek_seq(command), Ok(true));
        if found && let Ok(Some(record)) = self.commands.next() {
            let checksum = command_checksum(record.seq, record.kind, record.payload);
            let why = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
                (Some(text), _) => text,
                (_, Some(text)) => text.as_str(),
                _ => "a panic without words",
            };
            self.guard.died(command, checksum, why);
        }
        resume_unwind(panic)
    }

    fn recover(
        &mut self,
        genesis: Seq,
        make_room: &mut dyn FnMut() -> bool,
    ) -> Result<(), EngineError> {
        let mut last = genesis;
        loop {
            if let Some(fault) = self.outbound.fault() {
                return Err(fault.into());
            }
            while !self.outbound.ready() {
                if !make_room() {
                    return Err(EngineError::NoRoom { seq: last.0 });
                }
                std::thread::yield_now();
            }
            let Some(record) = self.commands.next()? else { break };
            if self.guard.halted_before() == Some(record.seq) {
                self.status.set_halted_before(record.seq);
                break;
            }
            last = record.seq;
            let Some(command) = Command::decode(record.kind, record.payload) else {
                return Err(EngineError::Undecodable { seq: last.0, kind: record.kind });
            };
            // `command` borrows the reader only where it is Genesis, which is passed over below.
            let (seq, time) = (record.seq, record.time);
            if self.guard.voids().contains(seq) {
                self.exchange.apply_void(seq, time, &command, &mut self.outbound);
                self.outbound.end_of_command();
                self.status.set_applied(seq, time);
                continue;
            }
            let status = &self.status;
            self.applying = seq.0;
            apply(&mut self.exchange, &mut self.outbound, status, seq, time, &command, LONG_AGO);
            self.applying = 0;
        }
        self.outbound.go_live(last)?;
        if self.status.halted_before().is_none() {
            self.guard.passed().map_err(EngineError::Guard)?;
        }
        self.status.set_mode(self.exchange.mode());
        self.publish_hash();
        self.status.set_live();
        Ok(())
    }

    fn apply(&mut self, seq: Seq, time: Nanos, command: &Command) {
        apply(&mut self.exchange, &mut self.outbound, &self.status, seq, time, command, LONG_AGO);
    }

    /// Shows the state hash. O(sessions): not per command.
    fn publish_hash(&self) {
        let open_orders = self.exchange.open_orders() as u64;
        self.status.set_state_hash(self.status.applied(), self.exchange.state_hash(), open_orders);
    }

    /// What everybody may know.
    pub fn status(&self) -> Arc<EngineStatus> {
        self.status.clone()
    }

    /// Its counters.
    pub fn counters(&self) -> Arc<EngineCounters> {
        self.counters.clone()
    }

    /// The outbound sequencer's counters.
    pub fn outbound_counters(&self) -> Arc<crate::sequencer::OutboundCounters> {
        self.outbound.counters()
    }

    /// The exchange, to look at: tests and tools.
    pub fn exchange(&self) -> &Exchange {
        &self.exchange
    }
}

/// What an earlier run applied was applied before this one could look at its clock.
const LONG_AGO: Nanos = Nanos(1);

/// Applies one command and notes what the status shows of it. `now` by this run's clock: the stamps of
/// the log are ahead of it while it makes up for a clock that ran fast in an earlier run.
#[inline]
fn apply(
    exchange: &mut Exchange,
    outbound: &mut Outbound,
    status: &EngineStatus,
    seq: Seq,
    time: Nanos,
    command: &Command,
    now: Nanos,
) {
    exchange.apply(seq, time, command, outbound);
    outbound.end_of_command();
    if matches!(command, Command::EndOfDay | Command::Continue) && exchange.day_over() {
        // The last state of the day, before anybody can see that it is over.
        status.set_state_hash(seq, exchange.state_hash(), exchange.open_orders() as u64);
    }
    status.set_continue_wanted(exchange.continue_wanted());
    match command {
        Command::Phase(phase) => status.set_phase(*phase),
        Command::Mode(_) => {
            status.set_mode(exchange.mode());
            status.count_mode();
        }
        Command::EndOfDay => status.set_day_ended(time.min(now)),
        Command::Continue => status.count_continue(),
        _ => {}
    }
    status.set_applied(seq, time);
}

impl Agent for Engine {
    fn name(&self) -> &'static str {
        "engine"
    }

    fn duty_cycle(&mut self, now: Nanos) -> usize {
        match catch_unwind(AssertUnwindSafe(|| self.apply_committed(now))) {
            Ok(done) => done,
            Err(panic) => self.die(panic),
        }
    }

    fn housekeeping(&mut self, _now: Nanos) {
        if self.status.state_hash().0 != self.status.applied() {
            self.publish_hash();
        }
    }
}

impl Engine {
    /// Applies what is committed, at most [`BATCH`] commands.
    fn apply_committed(&mut self, now: Nanos) -> usize {
        if self.status.halted_before().is_some() {
            return 0;
        }
        let mut done = 0;
        while done < BATCH {
            if !self.outbound.ready() {
                self.counters.waits.add(1);
                break;
            }
            let record = match self.commands.next() {
                Ok(Some(record)) => record,
                Ok(None) => break,
                // Our own memory is damaged: a wrong book is worse than a venue that stops.
                Err(error) => panic!("engine cannot read the command log: {error}"),
            };
            match Command::decode(record.kind, record.payload) {
                Some(command) => {
                    let (seq, time) = (record.seq, record.time);
                    let status = &self.status;
                    self.applying = seq.0;
                    let (exchange, outbound) = (&mut self.exchange, &mut self.outbound);
                    apply(exchange, outbound, status, seq, time, &command, now);
                    self.applying = 0;
                }
                // The same on every node and in every replay, so passing over is deterministic.
                None => self.counters.undecodable.add(1),
            }
            done += 1;
        }
        if done > 0 {
            self.counters.commands.add(done as u64);
            self.counters.apply_batch_max.raise(done as u64);
        }
        done
    }
}
