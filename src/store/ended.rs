//! Days that are over: which a data directory has, and the note that says so.
//!
//! Consumes the data directory; produces the days in it that were begun, and writes a day's file
//! `ended` once its archive has everything. Without the note a day is opened again, and then tells by
//! its log whether it is over: the note only saves that. Must not know what a record means.

use super::day::{is_date, read_hot_note};
use super::segment::list;
use super::storage::Storage;
use super::{Control, Day, LogIndex, StoreError};
use std::io;
use std::path::{Path, PathBuf};

const FILE: &str = "ended";

/// A day's directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FoundDay {
    /// Its name: YYYY-MM-DD, with the letter of its incarnation behind it when that is not A.
    pub date: String,
    /// Where it is.
    pub dir: PathBuf,
    /// What [`Day::note_ended`] left.
    pub ended: Option<u64>,
}

/// The newest day that was begun (a record was written), and the newest one that is over.
pub fn newest_days(
    storage: &dyn Storage,
    data: &Path,
) -> Result<(Option<FoundDay>, Option<FoundDay>), StoreError> {
    let entries = match storage.list(data) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((None, None)),
        Err(error) => return Err(StoreError::io("list", data, error)),
    };
    let mut dates: Vec<String> =
        entries.into_iter().filter_map(|name| name.into_string().ok()).collect();
    dates.retain(|date| is_date(date));
    dates.sort();
    let mut newest = None;
    for date in dates.into_iter().rev() {
        let dir = data.join(&date);
        let ended = read_ended(storage, &dir)?;
        if newest.is_none() && (ended.is_some() || is_begun(storage, &dir)?) {
            newest = Some(FoundDay { date: date.clone(), dir: dir.clone(), ended });
        }
        if ended.is_some() {
            return Ok((newest, Some(FoundDay { date, dir, ended })));
        }
    }
    Ok((newest, None))
}

/// True when a command was ever written: the archive has a segment, or the hot tier's marks say so. A
/// start that was refused, or died early, leaves a directory without.
fn is_begun(storage: &dyn Storage, dir: &Path) -> Result<bool, StoreError> {
    let log = LogIndex::Command;
    if !list(storage, dir, log)?.is_empty() {
        return Ok(true);
    }
    let Some(hot) = read_hot_note(storage, dir)? else { return Ok(false) };
    let Some(page) = Control::open(storage, &hot, false)? else { return Ok(false) };
    let dir = storage.canonicalize(dir).map_err(|e| StoreError::io("find", dir, e))?;
    Ok(page.owner() == dir && page.written(log).seq.0 > 0)
}

impl Day {
    /// Notes that the day is over and its archive has everything: after [`Day::seal`] said so.
    /// `state_hash`: the exchange's, last of all. On return it is on disk.
    pub fn note_ended(&self, state_hash: u64) -> Result<(), StoreError> {
        let path = self.dir().join(FILE);
        self.storage()
            .write_durably(&path, format!("{state_hash:016x}\n").as_bytes())
            .map_err(|e| StoreError::io("write", &path, e))
    }
}

fn read_ended(storage: &dyn Storage, dir: &Path) -> Result<Option<u64>, StoreError> {
    let path = dir.join(FILE);
    let bytes = match storage.read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io("read", &path, error)),
    };
    match std::str::from_utf8(&bytes).map(|text| u64::from_str_radix(text.trim(), 16)) {
        Ok(Ok(hash)) => Ok(Some(hash)),
        _ => Err(StoreError::NotALog { path, why: "it should hold a state hash".into() }),
    }
}
