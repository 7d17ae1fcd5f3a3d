//! Shadow: follows the logs of a day in a process of its own, does every command again, and writes
//! snapshots.
//!
//! Maps both logs read-only; applies what is committed to an exchange of its own; holds each event
//! against the event log, byte for byte. A difference is an alarm, and from then on there are no
//! snapshots: what would be in them is not what the venue did. Nobody waits for it: behind, stopped
//! or dead, it changes nothing. A snapshot is written only when the archive has both logs as far, so
//! that no snapshot on a disk is ahead of the logs beside it. Must not know sockets or agents.

use crate::agent::Agent;
use crate::counters::counters;
use crate::exchange::Exchange;
use crate::exchange::command::{Command, kind};
use crate::exchange::event::{EVENT_BYTES_MAX, Event, EventSink};
use crate::exchange::genesis::{CORE_VERSION, Genesis, GenesisError};
use crate::guard::{Voids, crash};
use crate::snapshot::{self, Reach, Refusal, Snapshot, Trail};
use crate::store::{Control, DayView, LogIndex, ReadError, Reader, Storage, StoreError};
use crate::types::*;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

counters! {
    /// What the shadow did.
    pub struct ShadowCounters("shadow") {
        commands: "commands done again",
        events: "events compared with the event log",
        snapshots: "snapshots written",
        snapshot_seq: "last command of the newest snapshot",
        snapshot_bytes: "its size, bytes",
        waits: "times that a snapshot waited for the archive",
        failed: "snapshots that the disk did not take",
        diverged: "1 = the event log says something else: no snapshots any more",
    }
}

/// Commands done per duty cycle at most.
const BATCH: usize = 1_024;
/// Commands after which a snapshot is written before its time: what a start does again is bounded at
/// peak rates, too.
const EVERY_COMMANDS: u64 = 1_000_000;
/// A tenth of those behind the newest snapshot is worth another one at once.
const FAR: u64 = 10;
/// While it is catching up, no sooner than this after the one before.
const CATCHING_UP_NS: u64 = 1_000_000_000;

/// Why a day cannot be shadowed, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum ShadowError {
    /// The directory is no day, or a file of it cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The command log has no Genesis yet.
    #[error("the command log does not start with a Genesis record")]
    NoGenesis,
    /// Genesis is not usable.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// A file about a command that killed the engine cannot be read.
    #[error("crash and void files: {0}")]
    Guard(#[source] std::io::Error),
    /// The event log is not what the commands give.
    #[error(
        "the event log differs at event {event} (command {command}) from what the shadow makes: the \
         venue's memory or program is at fault; no snapshot is written any more"
    )]
    Diverged {
        /// Number of the event.
        event: u64,
        /// Command that gave it.
        command: u64,
    },
}

/// The shadow of one day. See the module's head.
pub struct Shadow {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    control: Option<Arc<Control>>,
    exchange: Box<Exchange>,
    commands: Reader,
    events: Reader,
    follow: Follow,
    reach: [Reach; 2],
    every_ns: u64,
    every_commands: u64,
    /// When the next snapshot is due; `None` until the first cycle.
    due: Option<Nanos>,
    /// Not level with the log yet since it was started.
    catching_up: bool,
    /// When a snapshot was last written, or should have been.
    saved_at: Nanos,
    /// Command of the newest snapshot.
    written: Seq,
    /// Command of the last one that was tried: a disk that takes none is asked by time only.
    tried: Seq,
    /// The last one that was tried was not taken.
    failed: bool,
    /// Written out, but the archive is not as far.
    waiting: Option<Snapshot>,
    fault: Option<ShadowError>,
    counters: Arc<ShadowCounters>,
    /// Commands that are void.
    voids: Voids,
    /// A command that killed the engine and is not void: the shadow does not try it.
    stands_before: Option<Seq>,
}

/// Events made and not yet found in the log, and where those found stand.
struct Follow {
    made: VecDeque<(Nanos, Event)>,
    trail: Trail,
}

impl EventSink for Follow {
    fn emit(&mut self, time: Nanos, event: &Event) {
        self.made.push_back((time, *event));
    }
}

impl Shadow {
    /// A shadow of the day in `dir`, which begins with the newest snapshot that fits, or with
    /// Genesis; it writes a snapshot every `every_ns` when something was done, and after a million
    /// commands. Returns it and the snapshots that it refused.
    pub fn open(
        storage: Arc<dyn Storage>,
        dir: &Path,
        every_ns: u64,
    ) -> Result<(Shadow, Vec<Refusal>), ShadowError> {
        let view = DayView::open_in(storage.clone(), dir)?;
        let logs = LogIndex::ALL.map(|log| view.log(log));
        let mut commands = logs[0].reader()?;
        let first = commands.next()?.filter(|r| r.kind == kind::GENESIS);
        let genesis = Genesis::decode(first.ok_or(ShadowError::NoGenesis)?.payload)?;
        let mut events = logs[1].reader()?;
        let (found, refused) = snapshot::load(logs, &genesis);
        let (exchange, trail, reach, written) = match found {
            Some(loaded) => {
                let reach = loaded.snapshot.reach;
                commands.seek_record(reach[0].end, Seq(reach[0].seq.0 + 1));
                events.seek_record(reach[1].end, Seq(reach[1].seq.0 + 1));
                (loaded.exchange, loaded.snapshot.trail, reach, reach[0].seq)
            }
            None => {
                commands.seek(0);
                let trail = Trail::new(genesis.sessions.len());
                let nothing = |log_id| Reach {
                    log_id,
                    seq: Seq(0),
                    start: 0,
                    end: 0,
                    time: Nanos(0),
                    checksum: 0,
                };
                let reach = logs.map(|log| nothing(log.options().log_id));
                (Exchange::new(&genesis)?, trail, reach, Seq(0))
            }
        };
        let voids = Voids::load(&*storage, dir, logs[0].options().log_id);
        let voids = voids.map_err(ShadowError::Guard)?;
        let crash = crash::read(&*storage, dir).map_err(ShadowError::Guard)?;
        let stands_before =
            crash.map(|crash| crash.command).filter(|command| !voids.contains(*command));
        let counters: Arc<ShadowCounters> = Arc::default();
        counters.snapshot_seq.set(written.0);
        let shadow = Shadow {
            storage,
            dir: dir.to_path_buf(),
            control: view.control().cloned(),
            exchange: Box::new(exchange),
            commands,
            events,
            follow: Follow { made: VecDeque::with_capacity(4_096), trail },
            reach,
            every_ns,
            every_commands: EVERY_COMMANDS,
            due: None,
            catching_up: true,
            saved_at: Nanos(0),
            written,
            tried: written,
            failed: false,
            waiting: None,
            fault: None,
            counters,
            voids,
            stands_before,
        };
        Ok((shadow, refused))
    }

    /// Its counters.
    pub fn counters(&self) -> Arc<ShadowCounters> {
        self.counters.clone()
    }

    /// Why it does nothing any more; `None` = it works.
    pub fn fault(&self) -> Option<&ShadowError> {
        self.fault.as_ref()
    }

    /// Command of the newest snapshot, 0 = none.
    pub fn written(&self) -> Seq {
        self.written
    }

    /// Last command done.
    pub fn applied(&self) -> Seq {
        self.reach[0].seq
    }

    /// The exchange, to look at.
    pub fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// True when the day is over and its last snapshot is written.
    pub fn is_done(&self) -> bool {
        self.exchange.day_over() && self.written == self.applied()
    }

    /// The next snapshot is due at once, if something was done since the last.
    pub fn want_snapshot(&mut self) {
        self.due = Some(Nanos(0));
    }

    /// A snapshot is due before its time after this many commands, instead of a million.
    pub fn set_every_commands(&mut self, commands: u64) {
        self.every_commands = commands;
    }

    /// True when so much is committed behind its newest snapshot that a start would feel it.
    pub fn is_far_behind(&self) -> bool {
        let Some(control) = &self.control else { return false };
        self.is_far(control.committed(LogIndex::Command).seq)
    }

    fn is_far(&self, seq: Seq) -> bool {
        seq.0.saturating_sub(self.tried.0) >= self.every_commands / FAR
    }

    /// Far from where it began: a snapshot at once when it is level with the log for the first time,
    /// and some on the way there. A venue that dies again and again before its shadow is level would
    /// otherwise have more to do at each start.
    fn catch_up(&mut self, done: usize, now: Nanos) {
        if !self.catching_up {
            return;
        }
        self.catching_up = done == BATCH;
        let rested = now.since(self.saved_at) >= CATCHING_UP_NS;
        if self.is_far(self.applied()) && (rested || !self.catching_up) {
            self.want_snapshot();
        }
    }

    /// Compares what was made with what the log has; true when nothing is left to compare.
    fn compare(&mut self) -> Result<bool, ShadowError> {
        while let Some((time, event)) = self.follow.made.front() {
            let Some(record) = self.events.next()? else { return Ok(false) };
            let mut event = *event;
            if event.head.report != 0 {
                let slot = event.head.session.0 as usize;
                event.head.previous =
                    self.follow.trail.sessions.get(slot).map_or(0, |s| s.position);
            }
            let mut bytes = [0; EVENT_BYTES_MAX];
            let size = event.size();
            event.encode(&mut bytes[..size]);
            let same = record.kind == event.body.kind()
                && record.time == *time
                && record.payload == &bytes[..size];
            if !same {
                let (event, command) = (record.seq.0, event.head.command.0);
                return Err(ShadowError::Diverged { event, command });
            }
            let (seq, start, time) = (record.seq, record.position, record.time);
            let checksum = crc32c::crc32c(record.payload);
            let end = self.events.position();
            self.reach[1] = Reach { seq, start, end, time, checksum, ..self.reach[1] };
            self.follow.trail.note(&event, start);
            self.follow.made.pop_front();
            self.counters.events.add(1);
        }
        Ok(true)
    }

    /// Does what is committed; the commands done.
    fn work(&mut self) -> Result<usize, ShadowError> {
        let mut done = 0;
        while self.compare()? && done < BATCH {
            let Some(record) = self.commands.next()? else { break };
            let (seq, start, time) = (record.seq, record.position, record.time);
            if self.stands_before == Some(seq) {
                self.commands.seek(start);
                break;
            }
            let checksum = crc32c::crc32c(record.payload);
            // The engine passes over a record that is no command; so does its shadow.
            if let Some(command) = Command::decode(record.kind, record.payload) {
                match self.voids.contains(seq) {
                    false => self.exchange.apply(seq, time, &command, &mut self.follow),
                    true => self.exchange.apply_void(seq, time, &command, &mut self.follow),
                }
            }
            let end = self.commands.position();
            self.reach[0] = Reach { seq, start, end, time, checksum, ..self.reach[0] };
            done += 1;
        }
        self.counters.commands.add(done as u64);
        Ok(done)
    }

    /// The state as a snapshot; only between commands whose events were all found.
    fn take(&self) -> Snapshot {
        let mut exchange = Vec::new();
        self.exchange.save(&mut exchange);
        Snapshot {
            core_version: CORE_VERSION,
            reach: self.reach,
            state_hash: self.exchange.state_hash(),
            trail: self.follow.trail.clone(),
            exchange,
        }
    }

    /// True when the archive has both logs as far as `snapshot`, or nobody writes them.
    fn is_archived(&self, snapshot: &Snapshot) -> bool {
        let Some(control) = &self.control else { return true };
        LogIndex::ALL
            .into_iter()
            .all(|log| control.archived(log).seq >= snapshot.reach[log as usize].seq)
    }

    /// Writes what is due, when it may.
    fn save(&mut self, now: Nanos) -> usize {
        let over = self.exchange.day_over();
        let due = *self.due.get_or_insert(now.plus(self.every_ns));
        let changed = self.applied() > self.written && self.reach[1].seq.0 > 0;
        let many = self.applied().0 - self.tried.0 >= self.every_commands;
        // The last one of the day does not wait for its time, but it does for a disk that took none.
        let last = over && !self.failed;
        let ready = self.follow.made.is_empty() && changed && (now >= due || many || last);
        if self.waiting.is_none() && ready {
            self.waiting = Some(self.take());
            self.tried = self.applied();
        }
        let Some(snapshot) = &self.waiting else { return 0 };
        if !self.is_archived(snapshot) {
            self.counters.waits.add(1);
            return 0;
        }
        match snapshot::write(&*self.storage, &self.dir, snapshot) {
            Ok((_, bytes)) => {
                self.written = snapshot.reach[0].seq;
                self.failed = false;
                self.counters.snapshots.add(1);
                self.counters.snapshot_seq.set(self.written.0);
                self.counters.snapshot_bytes.set(bytes as u64);
                // One too many does no harm.
                let _ = snapshot::prune(&*self.storage, &self.dir);
            }
            Err(error) => {
                self.failed = true;
                self.counters.failed.add(1);
                tracing::warn!("no snapshot could be written: {error}; the next one is tried");
            }
        }
        self.waiting = None;
        self.saved_at = now;
        self.due = Some(now.plus(self.every_ns));
        1
    }
}

impl Agent for Shadow {
    fn name(&self) -> &'static str {
        "shadow"
    }

    fn duty_cycle(&mut self, now: Nanos) -> usize {
        if self.fault.is_some() {
            return 0;
        }
        match self.work() {
            Ok(done) => {
                self.catch_up(done, now);
                done + self.save(now)
            }
            Err(error) => {
                self.counters.diverged.set(matches!(error, ShadowError::Diverged { .. }) as u64);
                self.fault = Some(error);
                self.waiting = None;
                0
            }
        }
    }
}
