//! Consent: whether an operator agreed that a day which lost memory is given up.
//!
//! Consumes a day's directory and `venue.incarnation`; keeps in `<day>/incarnation` the latest letter that
//! stood in the configuration while the day was opened and lacked nothing. A letter behind that one was
//! written by somebody who knew of the loss; that one, or an earlier, is left over from another loss, and
//! agrees to nothing.

use super::StartError;
use super::calendar::DayPlan;
use crate::config::Config;
use crate::store::{Storage, StoreError};
use std::io::ErrorKind;
use std::path::Path;

const FILE: &str = "incarnation";

/// The letter that agrees to giving up the day of this plan, in `dir`: the one behind all that agree to
/// nothing.
pub(super) fn wanted(
    storage: &dyn Storage,
    dir: &Path,
    plan: &DayPlan,
) -> Result<char, StartError> {
    let seen = read(storage, dir)?.unwrap_or(b'A').max(plan.incarnation);
    Ok(char::from(seen + 1))
}

/// The day of this plan, in `dir`, lacks nothing: a later letter in the configuration is not about it.
/// Returns that letter, for a warning. What is noted is on the disk.
pub(super) fn note_left_over(
    storage: &dyn Storage,
    dir: &Path,
    plan: &DayPlan,
    config: &Config,
) -> Result<Option<char>, StartError> {
    let letter = config.incarnation;
    if letter <= plan.incarnation {
        return Ok(None);
    }
    if read(storage, dir)?.is_none_or(|seen| seen < letter) {
        let path = dir.join(FILE);
        storage
            .write_durably(&path, &[letter, b'\n'])
            .map_err(|error| StoreError::io("write", &path, error))?;
    }
    Ok(Some(char::from(letter)))
}

fn read(storage: &dyn Storage, dir: &Path) -> Result<Option<u8>, StoreError> {
    let path = dir.join(FILE);
    match storage.read(&path) {
        Ok(bytes) => match bytes[..] {
            [letter @ b'A'..=b'Z', b'\n'] => Ok(Some(letter)),
            _ => Err(StoreError::NotALog { path, why: "it should hold one letter".into() }),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("read", &path, error)),
    }
}
