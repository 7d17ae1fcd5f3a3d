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
//! A write that fails is tried again (the same bytes at the same place), a failed fdatasync never:
//! the kernel may have dropped the pages it failed on and would call the next one a success.

use super::archived::{ArchivedLog, Failure};
use super::preparer::Preparer;
use super::{CommitPolicy, Control, Log, LogIndex, StoreError};
use crate::agent::Agent;
use crate::types::Nanos;
use std::sync::Arc;

/// The confirmed file follows the archived mark this often, or later when commands wait. Between, a
/// crash of the machine finds records on disk for which only the group marks vouch.
const CONFIRM_INTERVAL_NS: u64 = 5_000_000;
/// Command groups in a row while something else waits.
const COMMANDS_IN_A_ROW: u32 = 4;
/// After a failure that may pass (disk full) tried again this much later.
const RETRY_NS: u64 = 100_000_000;

/// How the archiver groups writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArchiverOptions {
    /// Time to wait for more bytes before a group is written; 0 = at once. Nanoseconds.
    pub group_wait_ns: u64,
}

impl ArchiverOptions {
    /// 1 ms under `Memory`, at once under `Disk`, where orders wait for it.
    pub fn for_policy(policy: CommitPolicy) -> ArchiverOptions {
        ArchiverOptions {
            group_wait_ns: match policy {
                CommitPolicy::Memory => 1_000_000,
                CommitPolicy::Disk => 0,
            },
        }
    }
}

/// The archiver of a day. May block: a thread of its own.
pub struct Archiver {
    control: Arc<Control>,
    /// Command log, event log; none without an archive.
    logs: Vec<ArchivedLog>,
    preparer: Option<Preparer>,
    /// What the event log may be archived to once the commands are archived to the second: events
    /// never outrun the commands that explain them.
    events_after: Option<(u64, u64)>,
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
            archived.extend(ArchivedLog::open(log, options.group_wait_ns)?);
        }
        let preparer = Some(Preparer::new(Arc::clone(&control), logs)?);
        Ok(Archiver {
            control,
            logs: archived,
            preparer,
            events_after: None,
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
        if self.events_after.is_none() {
            // Events first: the commands read afterwards include the ones that made them.
            let events = self.control.written(LogIndex::Event).position;
            let commands = self.control.written(LogIndex::Command).position;
            self.events_after = Some((events, commands));
        }
        let commands = self.control.written(LogIndex::Command).position;
        let waiting = self.logs[0].due(commands, now);
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
                Aside::LookAhead(log) => usize::from(self.logs[log].look_ahead(now, RETRY_NS)),
            };
            if done > 0 {
                self.turn = at + 1;
                return done;
            }
        }
        0
    }

    fn archive_events(&mut self, now: Nanos) -> usize {
        let Some((events, commands)) = self.events_after else { return 0 };
        if self.logs[0].position < commands {
            return 0;
        }
        let log = &mut self.logs[1];
        let due = log.due(events, now);
        if due && !log.has_file() && log.look_ahead(now, RETRY_NS) {
            return 1; // its syncs are turns of their own: commands may wait
        }
        let records = if due { self.archive(1, events, now) } else { 0 };
        if self.logs[1].position >= events {
            self.events_after = None;
        }
        records
    }

    fn confirm(&mut self, at: usize, now: Nanos) -> usize {
        let log = &mut self.logs[at];
        if !log.is_ahead() || now.since(log.confirmed_at) < CONFIRM_INTERVAL_NS {
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
