//! The crash file: the command at which the exchange died, and how often in a row.

use super::{lines, read_if_there};
use crate::store::Storage;
use crate::types::Seq;
use std::io;
use std::path::{Path, PathBuf};

const HEAD: &str = "rialto crash 1";
/// Bytes of a panic's message that are kept.
const WHY_BYTES_MAX: usize = 400;

/// What the crash file says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Crash {
    /// Random number of the command log.
    pub log_id: u64,
    /// The command that was being applied.
    pub command: Seq,
    /// Its checksum.
    pub checksum: u32,
    /// Runs that died at it, one after the other.
    pub deaths: u32,
    /// What the panic said.
    pub why: String,
}

/// The crash file of a day.
pub fn path(dir: &Path) -> PathBuf {
    dir.join("crash")
}

/// Reads it; `None` when no run has died, or when a later one got past the command.
pub fn read(storage: &dyn Storage, dir: &Path) -> io::Result<Option<Crash>> {
    let path = path(dir);
    let Some(bytes) = read_if_there(storage, &path)? else { return Ok(None) };
    let pairs = lines::read(&path, HEAD, &bytes)?;
    Ok(Some(Crash {
        log_id: pairs.hex("log")?,
        command: Seq(pairs.number("command")?),
        checksum: pairs.hex("checksum")? as u32,
        deaths: pairs.number("deaths")? as u32,
        why: pairs.text("why")?,
    }))
}

/// Writes it durably.
pub fn write(storage: &dyn Storage, dir: &Path, crash: &Crash) -> io::Result<()> {
    let why: String = crash.why.chars().take(WHY_BYTES_MAX).collect();
    let bytes = lines::write(
        HEAD,
        &[
            ("log", format!("{:016x}", crash.log_id)),
            ("command", crash.command.0.to_string()),
            ("checksum", format!("{:08x}", crash.checksum)),
            ("deaths", crash.deaths.to_string()),
            ("why", why),
        ],
    );
    storage.write_durably(&path(dir), &bytes)
}

/// Removes it durably.
pub(super) fn remove(storage: &dyn Storage, dir: &Path) -> io::Result<()> {
    match storage.unlink(&path(dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => storage.sync_dir(dir),
    }
}
