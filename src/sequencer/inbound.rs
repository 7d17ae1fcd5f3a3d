//! Inbound sequencer: many rings in, one command log out.
//!
//! Consumes commands from gateways' and the timer's rings, round-robin in bounded batches; stamps
//! number and time (never earlier than the last one), appends, and moves the commit mark as the
//! durability level says. When the log is full (archiver behind) it stops taking from the rings:
//! they fill, and the gateways stop reading from the network. Must not know what a command says.
//!
//! A gateway on the same thread needs no ring: it owns the sequencer and writes the fields of its
//! commands into the log's record itself, through [`Commands`].

use crate::agent::Agent;
use crate::counters::{ReceiptBoard, counters};
use crate::exchange::command::{COMMAND_BYTES_MAX, Command, MessageHead, kind};
use crate::ring::{Consumer, Full, Producer};
use crate::store::{AppendError, CommitPolicy, Control, LogIndex, Writer, record_bytes};
use crate::types::*;
use std::sync::Arc;

counters! {
    /// What the inbound sequencer did.
    pub struct InboundCounters("sequencer_inbound") {
        commands: "commands appended to the command log",
        log_full: "times the command log had no room (archiver behind); tried again next cycle",
        late_receipts: "commands whose time of receipt was later than the cycle's time",
    }
}

/// Commands taken from one ring before the next ring's turn: a burst of datagrams of one message.
pub const BATCH: usize = 64;

/// Commands that a gateway of the same thread appends in one cycle. Half of what the engine applies and
/// egress reads in one: if more events came of them than egress takes, the sessions would have too
/// much under way after some cycles, and their datagrams would be dropped.
pub const OWN_BATCH: usize = 128;

/// Where a gateway puts its commands: a ring that leads to the sequencer, or the sequencer itself.
pub trait Commands {
    /// Name of the agent that a gateway and this are.
    const NAME: &'static str;

    /// True when the next [`Commands::put`] will not fail.
    fn has_room(&self) -> bool;

    /// Takes one command; false = no room, nothing was taken. O(1).
    fn put(&mut self, command: &Command<'_>, now: Nanos) -> bool;

    /// What there is to do behind the gateway's own work; returns how much was done.
    fn proceed(&mut self, _now: Nanos) -> usize {
        0
    }
}

impl Commands for Producer {
    const NAME: &'static str = "gateway_ingress";

    #[inline]
    fn has_room(&self) -> bool {
        Producer::has_room(self)
    }

    #[inline]
    fn put(&mut self, command: &Command<'_>, _now: Nanos) -> bool {
        let (kind, len) = command.size();
        self.try_push(kind, len, |out: &mut [u8]| command.write(out)).is_ok()
    }
}

/// What the inbound sequencer is told at construction.
pub struct InboundOptions {
    /// Writer of the command log.
    pub writer: Writer,
    /// Control page: the commit mark is moved there.
    pub control: Arc<Control>,
    /// When a command counts as committed.
    pub policy: CommitPolicy,
    /// Raft term, 1 on one node: in every record.
    pub term: u32,
    /// Time of the last record of the log (`Recovered::last_time`): stamps never go back behind it.
    pub last_time: Nanos,
    /// Where times of receipt are noted for egress.
    pub receipts: Arc<ReceiptBoard>,
    /// Gateways' rings and the timer's.
    pub rings: Vec<Consumer>,
}

/// Pushes a command into a ring of the inbound sequencer: for who is neither gateway nor timer
/// (end of day, halts; give them a ring of their own). `Genesis` is not for rings.
pub fn submit(ring: &mut Producer, command: &Command<'_>) -> Result<(), Full> {
    let (kind, len) = command.size();
    ring.try_push(kind, len, |out: &mut [u8]| command.write(out))
}

/// The inbound sequencer. See the module's head.
pub struct Inbound {
    log: CommandLog,
    control: Arc<Control>,
    policy: CommitPolicy,
    rings: Vec<Consumer>,
    /// Ring whose turn is next.
    turn: usize,
    /// Commands of a gateway of this thread since [`Commands::proceed`].
    own: usize,
}

/// The log's end, where number and time are given.
struct CommandLog {
    writer: Writer,
    term: u32,
    last: Nanos,
    receipts: Arc<ReceiptBoard>,
    counters: Arc<InboundCounters>,
}

impl CommandLog {
    /// Appends a payload of `len` bytes that `fill` writes; `received` = when a message was received.
    #[inline]
    fn append(
        &mut self,
        (kind, len): (u16, usize),
        received: Option<Nanos>,
        now: Nanos,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<Seq, AppendError> {
        // Time never goes back, whatever the clock does: the exchange may rely on it.
        let time = now.max(self.last);
        let appended = self.writer.append(kind, 0, time, self.term, len, fill)?;
        self.last = time;
        if let Some(received) = received {
            if received > now {
                self.counters.late_receipts.add(1);
            }
            self.receipts.note(appended.seq, received);
        }
        self.counters.commands.add(1);
        Ok(appended.seq)
    }

    /// Appends a payload that stands elsewhere.
    #[inline]
    fn copy(&mut self, kind: u16, payload: &[u8], now: Nanos) -> Result<Seq, AppendError> {
        let head = (kind == kind::MESSAGE).then(|| MessageHead::get(payload)).flatten();
        self.append((kind, payload.len()), head.map(|head| head.received), now, |out| {
            out.copy_from_slice(payload)
        })
    }
}

impl Inbound {
    /// A sequencer that continues the command log.
    pub fn new(options: InboundOptions) -> Inbound {
        let log = CommandLog {
            writer: options.writer,
            term: options.term,
            last: options.last_time,
            receipts: options.receipts,
            counters: Arc::default(),
        };
        let InboundOptions { control, policy, rings, .. } = options;
        Inbound { log, control, policy, rings, turn: 0, own: 0 }
    }

    /// Its counters.
    pub fn counters(&self) -> Arc<InboundCounters> {
        self.log.counters.clone()
    }

    /// Appends a command that comes from no ring: Genesis at the start of a day, EndOfDay. Start-up
    /// and tests; the command is committed as the policy says from the next cycle on.
    pub fn append_now(
        &mut self,
        kind: u16,
        payload: &[u8],
        now: Nanos,
    ) -> Result<Seq, AppendError> {
        let seq = self.log.copy(kind, payload, now)?;
        self.policy.advance(&self.control, LogIndex::Command);
        Ok(seq)
    }

    /// Number of the next command: 1 = the day has no Genesis yet.
    pub fn next_seq(&self) -> Seq {
        self.log.writer.next_seq()
    }

    /// Takes up to `BATCH` commands from ring `index`, out of the ring straight into the log; false =
    /// the log is full, and the command that found it so stays in its ring.
    #[inline]
    fn drain(&mut self, index: usize, now: Nanos, done: &mut usize) -> bool {
        for _ in 0..BATCH {
            let log = &mut self.log;
            match self.rings[index].try_pop(|kind, payload| log.copy(kind, payload, now)) {
                None => break,
                Some(Ok(_)) => *done += 1,
                Some(Err(AppendError::Full)) => {
                    self.log.counters.log_full.add(1);
                    return false;
                }
                // A ring slot is shorter than any segment: a wrong segment size is our own fault.
                Some(Err(AppendError::TooLong)) => panic!("command longer than a segment"),
            }
        }
        true
    }
}

impl Commands for Inbound {
    const NAME: &'static str = "gateway_sequencer";

    #[inline]
    fn has_room(&self) -> bool {
        self.own < OWN_BATCH && self.log.writer.room() >= record_bytes(COMMAND_BYTES_MAX) as u64
    }

    #[inline]
    fn put(&mut self, command: &Command<'_>, now: Nanos) -> bool {
        let received = match command {
            Command::Message(head, _) => Some(head.received),
            _ => None,
        };
        let appended = self.log.append(command.size(), received, now, |out| command.write(out));
        if appended.is_err() {
            // A login or logoff: nobody asks for room before those.
            self.log.counters.log_full.add(1);
            return false;
        }
        self.own += 1;
        true
    }

    fn proceed(&mut self, now: Nanos) -> usize {
        std::mem::take(&mut self.own) + self.duty_cycle(now)
    }
}

impl Agent for Inbound {
    fn name(&self) -> &'static str {
        "sequencer_inbound"
    }

    fn duty_cycle(&mut self, now: Nanos) -> usize {
        let mut done = 0;
        let rings = self.rings.len();
        for step in 0..rings {
            let index = (self.turn + step) % rings;
            if !self.drain(index, now, &mut done) {
                break;
            }
        }
        self.turn = if rings == 0 { 0 } else { (self.turn + 1) % rings };
        self.policy.advance(&self.control, LogIndex::Command);
        done
    }
}
