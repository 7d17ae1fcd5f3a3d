//! The archiver: copies both logs from the hot tier to disk.
//!
//! Consumes what the writers have published (committed or not: under `Disk` the commit waits for
//! this); produces segment files of the same bytes, the archived mark after fdatasync, and the
//! confirmed file. May block, so it runs on a thread of its own; nobody on the order path waits for
//! it but the commit under `Disk`.
//!
//! A cycle waits for the disk once: then commands that came meanwhile go first, and everything nobody
//! waits for (events, confirmed files, files made ahead) gets what is left, and one turn in five when
//! nothing is. So a commit waits for what is under way, for its own group, and now and then for one
//! thing more, however slow the disk.
//!
//! A write that fails is tried again (the same bytes at the same place), a failed fdatasync never, nor
//! that of the directory behind a new file: the kernel may have dropped what it failed on and would call
//! the next one a success.

use super::archived::ArchivedLog;
use super::preparer::Preparer;
use super::target::Failure;
use super::{CommitPolicy, Control, Log, LogIndex, StoreError};
use crate::agent::Agent;
use crate::types::Nanos;
use std::sync::Arc;

/// Command groups in a row while something else waits.
const COMMANDS_IN_A_ROW: u32 = 4;
/// After a failure that may pass (disk full) tried again this much later.
const RETRY_NS: u64 = 100_000_000;

/// How the archiver groups writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArchiverOptions {
    /// Longest wait of a command for more commands, before its group is written. Nanoseconds.
    pub command_wait_ns: u64,
    /// The same of an event. Nobody waits for events on disk: they are made again from the commands.
    pub event_wait_ns: u64,
    /// The confirmed file follows the archived mark this often, or later when commands wait. Between, a
    /// crash of the machine finds records on disk for which only the group marks vouch. Nanoseconds.
    pub confirm_wait_ns: u64,
}

impl ArchiverOptions {
    /// Waits for nothing: everything written is archived as fast as the disk takes it.
    pub const AT_ONCE: ArchiverOptions = ArchiverOptions {
        command_wait_ns: 0,
        event_wait_ns: 2_000_000,
        confirm_wait_ns: 5_000_000,
    };

    /// `AT_ONCE` under `Disk`, where orders wait for it. Under `Memory` as few syncs as the promise
    /// allows: each costs interrupts and wake-ups of threads, on CPUs that a small host shares with the
    /// order path. A group that has grown large goes before its time, so that the hot tier never waits.
    pub fn for_policy(policy: CommitPolicy) -> ArchiverOptions {
        match policy {
            CommitPolicy::Memory => ArchiverOptions {
                command_wait_ns: 20_000_000,
                event_wait_ns: 50_000_000,
                confirm_wait_ns: 100_000_000,
            },
            CommitPolicy::Disk => ArchiverOptions::AT_ONCE,
        }
    }
}

/// The archiver of a day. May block: a thread of its own.
pub struct Archiver {
    control: Arc<Control>,
    /// Command log, event log; none without an archive.
    logs: Vec<ArchivedLog>,
    preparer: Option<Preparer>,
    confirm_wait_ns: u64,
    /// Where the event log may be archived to: events never outrun the commands that explain them.
    explained: u64,
    /// Where it may be archived to once the commands are archived to the second.
    explained_next: Option<(u64, u64)>,
    commands_in_a_row: u32,
    /// Which of the things nobody waits for is looked at first.
    turn: usize,
    #[cfg(test)]
    abandoned: bool,
}

/// What nobody waits for.
#[derive(Clone, Copy)]
enum Aside {
    Events,
    Confirm(usize),
    LookAhead(usize),
}

const ASIDES: [Aside; 5] =
    [Aside::Events, Aside::Confirm(0), Aside::LookAhead(0), Aside::Confirm(1), Aside::LookAhead(1)];

impl Archiver {
    pub(super) fn new(
        control: Arc<Control>,
        logs: [&Log; 2],
        options: ArchiverOptions,
    ) -> Result<Archiver, StoreError> {
        let mut archived = Vec::new();
        for log in logs {
            archived.extend(ArchivedLog::open(log, &control, &options)?);
        }
        let preparer = Some(Preparer::new(Arc::clone(&control), logs)?);
        Ok(Archiver {
            control,
            logs: archived,
            preparer,
            confirm_wait_ns: options.confirm_wait_ns,
            explained: 0,
            explained_next: None,
            commands_in_a_row: 0,
            turn: 0,
            #[cfg(test)]
            abandoned: false,
        })
    }

    /// Takes the preparing of hot segments out, for a thread of its own: then a disk that takes
    /// seconds for an fdatasync cannot delay it.
    pub fn take_preparer(&mut self) -> Option<Preparer> {
        self.preparer.take()
    }

    /// Archives and confirms everything written so far, waiting as long as it takes. For an orderly
    /// end, after the writers have stopped.
    pub fn drain(&mut self) -> Result<(), StoreError> {
        for at in 0..self.logs.len() {
            let log = &mut self.logs[at];
            let target = self.control.written(log.log.options.log).position;
            if self.control.archive_failed().is_some() {
                break; // its error was reported when it happened
            }
            while log.position < target {
                match log.group(&self.control, target) {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(Failure::Later(error)) => return Err(error),
                    Err(Failure::Final(error)) => {
                        self.control.set_archive_failed(error.errno().unwrap_or(libc::EIO));
                        return Err(error);
                    }
                }
            }
            log.confirm(&self.control)?;
        }
        Ok(())
    }

    /// Ends as a killed process does: without draining.
    #[cfg(test)]
    pub(super) fn abandon(mut self) {
        self.abandoned = true;
    }

    /// One group of what is written, and nothing else.
    #[cfg(test)]
    pub(super) fn group_now(&mut self, log: LogIndex) {
        let target = self.control.written(log).position;
        assert!(self.archive(log as usize, target, Nanos(0)) > 0);
    }

    /// What fdatasync answers from now on.
    #[cfg(test)]
    pub(super) fn fail_syncs(&mut self, sync: super::archived::SyncCall) {
        for log in &mut self.logs {
            log.sync = sync;
        }
    }

    /// Writes one group of log `at`; returns its records.
    fn archive(&mut self, at: usize, target: u64, now: Nanos) -> usize {
        let log = &mut self.logs[at];
        match log.group(&self.control, target) {
            Ok(records) => {
                if log.waits {
                    log.waits = false;
                    tracing::info!("the archive of the {} log goes on", log.log.options.log.name());
                    if !self.logs.iter().any(|l| l.waits) {
                        self.control.set_archive_waits(0);
                    }
                }
                records
            }
            Err(Failure::Later(error)) => {
                log.retry_at = now.plus(RETRY_NS);
                if !log.waits {
                    log.waits = true;
                    tracing::error!(%error, "the archive waits; trying on");
                }
                self.control.set_archive_waits(error.errno().unwrap_or(libc::EIO));
                0
            }
            Err(Failure::Final(error)) => {
                self.fail(&error);
                0
            }
        }
    }

    fn fail(&self, error: &StoreError) {
        tracing::error!(%error, "the archive has failed for good");
        self.control.set_archive_failed(error.errno().unwrap_or(libc::EIO));
    }

    /// One thing that waits for the disk.
    fn step(&mut self, now: Nanos) -> usize {
        if self.logs.len() < 2 || self.control.archive_failed().is_some() {
            return 0;
        }
        self.explain();
        let hurried = self.is_hurried();
        let commands = self.control.written(LogIndex::Command).position;
        let events = self.control.written(LogIndex::Event).position;
        let [command_log, event_log] = &mut self.logs[..] else { return 0 };
        // Events that have grown to a group wait for the commands that explain them.
        let wanted = event_log.is_group(events) && !event_log.is_group(self.explained);
        let waiting = command_log.due(commands, wanted || hurried, now);
        if !waiting || self.commands_in_a_row >= COMMANDS_IN_A_ROW {
            self.commands_in_a_row = 0;
            let done = self.step_aside(now);
            if done > 0 {
                return done;
            }
        }
        if waiting {
            self.commands_in_a_row += 1;
            return self.archive(0, commands, now);
        }
        0
    }

    /// One of the things nobody waits for, in turn.
    fn step_aside(&mut self, now: Nanos) -> usize {
        for tried in 0..ASIDES.len() {
            let at = (self.turn + tried) % ASIDES.len();
            let done = match ASIDES[at] {
                Aside::Events => self.archive_events(now),
                Aside::Confirm(log) => self.confirm(log, now),
                Aside::LookAhead(log) => usize::from(self.look_ahead(log, now)),
            };
            if done > 0 {
                self.turn = at + 1;
                return done;
            }
        }
        0
    }

    fn archive_events(&mut self, now: Nanos) -> usize {
        let hurried = self.is_hurried();
        let log = &mut self.logs[1];
        let due = log.due(self.explained, hurried, now);
        if due && !log.has_file() && self.look_ahead(1, now) {
            return 1; // its syncs are turns of their own: commands may wait
        }
        if due { self.archive(1, self.explained, now) } else { 0 }
    }

    /// A file made ahead; true when something was done.
    fn look_ahead(&mut self, at: usize, now: Nanos) -> bool {
        self.logs[at].look_ahead(now, RETRY_NS).unwrap_or_else(|error| {
            self.fail(&error);
            true
        })
    }

    /// True while the hot tier has no room for the next segment: what is archived and confirmed frees some.
    fn is_hurried(&self) -> bool {
        self.control.prepare_failed().is_some()
    }

    /// Moves on how far events are explained.
    fn explain(&mut self) {
        let (events, commands) = *self.explained_next.get_or_insert_with(|| {
            // Events first: the commands read afterwards include the ones that made them.
            let events = self.control.written(LogIndex::Event).position;
            (events, self.control.written(LogIndex::Command).position)
        });
        if self.logs[0].position >= commands {
            self.explained = events;
            self.explained_next = None;
        }
    }

    fn confirm(&mut self, at: usize, now: Nanos) -> usize {
        let hurried = self.is_hurried();
        let log = &mut self.logs[at];
        let waited = now.since(log.confirmed_at) >= self.confirm_wait_ns;
        if !log.is_ahead() || !(waited || hurried || log.would_free_segment()) {
            return 0;
        }
        log.confirmed_at = now;
        if let Err(error) = log.confirm(&self.control) {
            self.fail(&error);
        }
        1
    }
}

impl Agent for Archiver {
    fn name(&self) -> &'static str {
        "archiver"
    }

    fn duty_cycle(&mut self, now: Nanos) -> usize {
        let prepared = self.preparer.as_mut().map_or(0, |p| p.step(now));
        prepared + self.step(now)
    }
}

impl Drop for Archiver {
    /// Leaves as little unarchived as possible, whoever forgot to drain.
    fn drop(&mut self) {
        #[cfg(test)]
        if self.abandoned {
            return;
        }
        if !std::thread::panicking() && self.drain().is_err() {
            // Nobody is left to tell, and the hot tier still holds what is missing.
        }
    }
}
