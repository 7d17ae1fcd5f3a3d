//! What a start does with snapshots: the newest that fits the logs, and what is done with the others.

use super::{Reach, Snapshot, SnapshotError, list, name_of, read};
use crate::exchange::Exchange;
use crate::exchange::event::{Event, EventBody, EventHead};
use crate::exchange::genesis::{CORE_VERSION, Genesis};
use crate::store::{Log, LogIndex, Place, Recovered, Storage, StoreError};
use crate::types::*;
use std::path::{Path, PathBuf};

/// A snapshot that fits the logs, and its exchange.
pub struct Loaded {
    /// Its file.
    pub path: PathBuf,
    /// What it says; the exchange's bytes are used up.
    pub snapshot: Snapshot,
    /// The exchange after its last command.
    pub exchange: Exchange,
}

impl Loaded {
    /// Commands covered.
    pub fn commands(&self) -> &Reach {
        &self.snapshot.reach[LogIndex::Command as usize]
    }

    /// Events covered.
    pub fn events(&self) -> &Reach {
        &self.snapshot.reach[LogIndex::Event as usize]
    }

    /// Recovers a log of its day from where the snapshot ends: nothing before that is read.
    pub fn recover(&self, log: &Log, index: LogIndex) -> Result<Recovered, StoreError> {
        let reach = &self.snapshot.reach[index as usize];
        log.recover_from(Place { seq: reach.seq, position: reach.start })
    }
}

/// A file that was passed over.
#[derive(Debug)]
pub struct Refusal {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub why: SnapshotError,
}

/// The newest snapshot of a day that fits its logs; `None` = begin with Genesis. With those that were
/// passed over, newest first; whoever starts the day puts them aside when he has ([`set_aside`]).
pub fn load(logs: [&Log; 2], genesis: &Genesis) -> (Option<Loaded>, Vec<Refusal>) {
    let Some(dir) = &logs[0].options().archive else { return (None, Vec::new()) };
    let storage = &*logs[0].options().storage;
    let mut refused = Vec::new();
    for seq in list(storage, dir).unwrap_or_default() {
        let path = dir.join(name_of(seq));
        match fit(storage, &path, logs, genesis) {
            Ok(loaded) => return (Some(loaded), refused),
            Err(why) => refused.push(Refusal { path, why }),
        }
    }
    (None, refused)
}

/// Renames what [`load`] refused to `.refused`: it would stand before good ones for ever. For the
/// process that writes the day, once both logs are recovered: only then is it known that the file is
/// at fault and not the log that it was held against. What the host did not give stays.
pub fn set_aside(storage: &dyn Storage, refused: &[Refusal]) {
    let at_fault = |r: &&Refusal| !matches!(r.why, SnapshotError::Read(_) | SnapshotError::Log(_));
    for refusal in refused.iter().filter(at_fault) {
        let mut aside = refusal.path.clone().into_os_string();
        aside.push(".refused");
        // Told by the caller; should it stay, the next start refuses it again.
        let _ = storage.rename(&refusal.path, Path::new(&aside));
    }
}

/// Reads one file and holds it against the logs.
fn fit(
    storage: &dyn Storage,
    path: &Path,
    logs: [&Log; 2],
    genesis: &Genesis,
) -> Result<Loaded, SnapshotError> {
    let mut snapshot = read(storage, path)?;
    if snapshot.core_version != CORE_VERSION {
        return Err(SnapshotError::CoreVersion(snapshot.core_version));
    }
    for log in LogIndex::ALL {
        let (found, wanted) =
            (snapshot.reach[log as usize].log_id, logs[log as usize].options().log_id);
        if found != wanted {
            return Err(SnapshotError::OtherLog { log, found, wanted });
        }
        check_reach(logs[log as usize], log, &snapshot.reach[log as usize])?;
    }
    check_trail(logs[LogIndex::Event as usize], &snapshot)?;
    let exchange = Exchange::restore(genesis, &std::mem::take(&mut snapshot.exchange))?;
    if exchange.state_hash() != snapshot.state_hash {
        return Err(SnapshotError::StateHash);
    }
    let reports_fit = (0u16..).zip(&snapshot.trail.sessions).all(|(slot, session)| {
        let view = exchange.session(SessionSlot(slot));
        view.is_some_and(|view| view.next_report == session.report + 1)
    });
    let count = exchange.genesis().sessions.len();
    let numbers_fit = exchange.last_feed() == snapshot.trail.feed;
    if !reports_fit || !numbers_fit || count != snapshot.trail.sessions.len() {
        return Err(SnapshotError::Inconsistent("exchange and trail"));
    }
    Ok(Loaded { path: path.to_path_buf(), snapshot, exchange })
}

/// The log has the very record that the snapshot ends with.
fn check_reach(log: &Log, index: LogIndex, reach: &Reach) -> Result<(), SnapshotError> {
    let not_there = |why: String| SnapshotError::NotInLog { log: index, seq: reach.seq.0, why };
    let mut reader = log.reader_unbounded()?;
    reader.seek_record(reach.start, reach.seq);
    let found = match reader.next() {
        Ok(Some(record)) => (record.time, crc32c::crc32c(record.payload)),
        Ok(None) => return Err(not_there("it ends before".into())),
        Err(error) => return Err(not_there(error.to_string())),
    };
    if found != (reach.time, reach.checksum) || reader.position() != reach.end {
        return Err(not_there("another record has its number".into()));
    }
    Ok(())
}

/// What the trail points at is there: the places that a start reads, and the ends of each list.
fn check_trail(events: &Log, snapshot: &Snapshot) -> Result<(), SnapshotError> {
    let mut reader = events.reader_unbounded()?;
    let mut at = |position: u64| -> Option<Event> {
        reader.seek(position);
        let record = reader.next().ok()??;
        Event::decode(record.kind, record.payload)
    };
    let trail = &snapshot.trail;
    let mut fits = match trail.noted.last() {
        Some(&position) => at(position).is_some_and(|event| {
            event.head.feed == (trail.noted.len() as u64 - 1) * super::FEED_STRIDE + 1
        }),
        None => true,
    };
    for (slot, session) in (0u16..).map(SessionSlot).zip(&trail.sessions) {
        let is = |head: &EventHead, report| head.session == slot && head.report == report;
        let mut check = |position: u64, test: &dyn Fn(&Event) -> bool| {
            fits &= position == 0 || at(position).is_some_and(|event| test(&event));
        };
        check(session.position, &|e| is(&e.head, session.report));
        let noted = session.noted.len() as u64 * super::REPORT_STRIDE;
        check(session.noted.last().copied().unwrap_or(0), &|e| is(&e.head, noted));
        let login = |e: &Event| matches!(e.body, EventBody::LoggedIn(_));
        check(session.login, &|e| is(&e.head, 0) && login(e));
        let ended = |e: &Event| matches!(e.body, EventBody::SessionEnded(_));
        check(session.ended, &|e| is(&e.head, 0) && ended(e));
    }
    if fits { Ok(()) } else { Err(SnapshotError::Inconsistent("event log and trail")) }
}
