//! Inbound sequencer: many rings in, one command log out.
//!
//! Consumes commands from gateways' and the timer's rings, round-robin in bounded batches; stamps
//! number and time (never earlier than the last one), appends, and moves the commit mark as the
//! durability level says. When the log is full (archiver behind) it stops taking from the rings:
//! they fill, and the gateways stop reading from the network. Must not know what a command says.

use crate::agent::Agent;
use crate::counters::{ReceiptBoard, counters};
use crate::exchange::command::{COMMAND_BYTES_MAX, Command, MessageHead, kind};
use crate::ring::{Consumer, Full, Producer};
use crate::store::{AppendError, CommitPolicy, Control, LogIndex, Writer};
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
    let mut bytes = [0; COMMAND_BYTES_MAX];
    let (kind, len) = command.encode(&mut bytes);
    ring.try_push(kind, len, |out: &mut [u8]| out.copy_from_slice(&bytes[..len]))
}

/// The inbound sequencer. See the module's head.
pub struct Inbound {
    log: CommandLog,
    control: Arc<Control>,
    policy: CommitPolicy,
    rings: Vec<Consumer>,
    /// Ring whose turn is next.
    turn: usize,
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
    #[inline]
    fn append(&mut self, kind: u16, payload: &[u8], now: Nanos) -> Result<Seq, AppendError> {
        // Time never goes back, whatever the clock does: the exchange may rely on it.
        let time = now.max(self.last);
        let appended =
            self.writer.append(kind, 0, time, self.term, payload.len(), |out: &mut [u8]| {
                out.copy_from_slice(payload)
            })?;
        self.last = time;
        if kind == kind::MESSAGE
            && let Some(head) = MessageHead::get(payload)
        {
            if head.received > now {
                self.counters.late_receipts.add(1);
            }
            self.receipts.note(appended.seq, head.received);
        }
        self.counters.commands.add(1);
        Ok(appended.seq)
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
        Inbound { log, control, policy, rings, turn: 0 }
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
        let seq = self.log.append(kind, payload, now)?;
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
            match self.rings[index].try_pop(|kind, payload| log.append(kind, payload, now)) {
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
