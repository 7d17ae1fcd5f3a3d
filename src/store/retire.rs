//! Days that are over: their hot tier's memory is given back.
//!
//! Consumes the data directory at the start of a day; for each earlier day that still has a hot
//! directory archives what is left of it and removes it. Must not fail a start: what cannot be
//! retired stays as it is, and is told.

use super::day::{is_date, read_hot_note};
use super::{
    ArchiverOptions, Control, Day, DaySpec, LogIndex, Mark, Storage, StoreError, confirmed,
};
use crate::types::{Nanos, Seq};
use std::path::{Path, PathBuf};

/// What became of the hot directory of a day that is over.
#[derive(Debug)]
pub struct Retired {
    /// The day's directory.
    pub day: PathBuf,
    /// The hot directory.
    pub hot: PathBuf,
    /// True = it is gone, and the archive has everything; false = the archive lacks something.
    pub outcome: Result<bool, StoreError>,
}

/// Retires the hot directories of all days of `spec.data` before `spec.date`. Before
/// [`Day::open`]: the lock of the data directory is taken for each. Cost: reads the logs of a day that
/// did not end in good order.
pub fn retire_ended_days(spec: &DaySpec, now: Nanos) -> Vec<Retired> {
    let mut retired = Vec::new();
    let storage = &*spec.storage;
    let Ok(names) = storage.list(&spec.data) else { return retired };
    let mut dates: Vec<String> = names.into_iter().filter_map(|n| n.into_string().ok()).collect();
    dates.retain(|date| is_date(date) && date[..10] < spec.date[..10.min(spec.date.len())]);
    dates.sort();
    for date in dates {
        let day = spec.data.join(&date);
        let Ok(Some(hot)) = read_hot_note(storage, &day) else { continue };
        if !belongs(storage, &day, &hot) {
            continue;
        }
        let outcome = retire(&DaySpec { date, archive: true, ..spec.clone() }, &hot, now);
        if matches!(outcome, Err(StoreError::Locked { .. })) {
            break; // whoever opens the day of today tells it
        }
        retired.push(Retired { day, hot, outcome });
    }
    retired
}

/// True when `hot` is there and holds the logs of `day`: a note may be older than what it points to.
fn belongs(storage: &dyn Storage, day: &Path, hot: &Path) -> bool {
    let page = Control::open(storage, hot, false).ok().flatten();
    let log = LogIndex::Command;
    let known = confirmed::read(storage, day, log).ok().flatten();
    page.is_some_and(|page| known.is_some_and(|known| known.log_id == page.log_id(log)))
}

fn retire(spec: &DaySpec, hot: &Path, now: Nanos) -> Result<bool, StoreError> {
    let day = Day::open(spec, now)?;
    if day.hot_dir() != hot {
        // Nothing but a control page was in it; the day's configured one is as empty.
        return day.retire_hot();
    }
    for log in LogIndex::ALL {
        let found = day.log(log).recover()?;
        let mark = Mark { seq: Seq(found.next_seq.0 - 1), position: found.position };
        day.control().set_written(log, mark);
    }
    day.archiver(ArchiverOptions::AT_ONCE)?.drain()?;
    if !day.seal()? {
        return Ok(false);
    }
    day.retire_hot()
}
