//! Guard: what becomes of a command that kills the exchange.
//!
//! A panic inside `apply` is noted, with the command's number, in the day's `crash` file before the
//! process stops. Dying twice at the same command, the next start stands halted before it: reports,
//! replay and repair are served, nothing new is taken. Two operators void the command; from then on
//! everything that applies commands applies it as void. Layouts and rules: `guard.md`. Consumes the
//! day's directory; must not know what a command says, nor who asks.

pub mod crash;
mod lines;
pub mod void;

pub use crash::Crash;
pub use void::{Operator, Void, Voids};

use crate::store::Storage;
use crate::types::Seq;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Deaths at one command after which the next start stands halted before it.
pub const DEATHS_MAX: u32 = 2;

/// Checksum of a command, by which its number is not mistaken after a log lost its tail.
pub fn command_checksum(seq: Seq, kind: u16, payload: &[u8]) -> u32 {
    let mut head = [0; 10];
    head[..8].copy_from_slice(&seq.0.to_le_bytes());
    head[8..].copy_from_slice(&kind.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&head), payload)
}

/// A day's place: where its crash and void files lie, and which command log they speak of.
#[derive(Clone, Debug)]
pub struct Place {
    /// Files.
    pub storage: Arc<dyn Storage>,
    /// The day's directory.
    pub dir: PathBuf,
    /// Random number of its command log.
    pub log_id: u64,
}

impl Place {
    /// The day's name, as it stands in void files.
    pub fn day(&self) -> String {
        self.dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

/// What a start knows of the command that killed runs before, and what it does about it.
#[derive(Clone, Debug)]
pub struct Guard {
    place: Option<Place>,
    /// The command that killed the last run; it is in the log, and no run has got past it.
    crash: Option<Crash>,
    voids: Voids,
    halted: bool,
}

impl Guard {
    /// Notes nothing, knows nothing: for engines without a directory.
    pub fn none() -> Guard {
        Guard { place: None, crash: None, voids: Voids::none(), halted: false }
    }

    /// Reads what runs before have left. `checksum_of` tells a command's checksum, `None` when the log
    /// has no such command. A command that two of `operators` have voided is void from here on.
    pub fn look(
        place: Place,
        operators: &[Operator],
        checksum_of: impl FnOnce(Seq) -> io::Result<Option<u32>>,
    ) -> io::Result<Guard> {
        let mut voids = Voids::load(&*place.storage, &place.dir, place.log_id)?;
        let mut crash = crash::read(&*place.storage, &place.dir)?;
        if let Some(found) = &crash
            && (found.log_id != place.log_id || checksum_of(found.command)? != Some(found.checksum))
        {
            // Of a command that the log lost with the machine's memory.
            crash::remove(&*place.storage, &place.dir)?;
            crash = None;
        }
        let mut halted = false;
        if let Some(crash) = &crash
            && crash.deaths >= DEATHS_MAX
            && !voids.contains(crash.command)
        {
            let signed = void::signed(&place, crash, operators)?;
            if let [first, second, ..] = &signed[..] {
                void::resolve(&place, first, second)?;
                voids.add(crash.command);
            } else {
                halted = true;
            }
        }
        Ok(Guard { place: Some(place), crash, voids, halted })
    }

    /// The command that killed the last run and that no run has got past.
    pub fn crash(&self) -> Option<&Crash> {
        self.crash.as_ref()
    }

    /// The command before which this run stands.
    pub fn halted_before(&self) -> Option<Seq> {
        self.crash.as_ref().filter(|_| self.halted).map(|crash| crash.command)
    }

    /// Commands that are applied as void.
    pub fn voids(&self) -> &Voids {
        &self.voids
    }

    /// `command` killed the exchange: notes it durably. The process is about to stop, so a note that
    /// cannot be written is told and no more.
    pub fn died(&self, command: Seq, checksum: u32, why: &str) {
        let Some(place) = &self.place else { return };
        let before = self.crash.as_ref().filter(|crash| crash.command == command);
        let crash = Crash {
            log_id: place.log_id,
            command,
            checksum,
            deaths: before.map_or(0, |crash| crash.deaths) + 1,
            why: why.into(),
        };
        if let Err(error) = crash::write(&*place.storage, &place.dir, &crash) {
            tracing::error!("command {} killed the exchange: {why}; not noted: {error}", command.0);
        }
    }

    /// Recovery is past the command that killed the last run: it does no more.
    pub fn passed(&mut self) -> io::Result<()> {
        match (&self.place, self.crash.take()) {
            (Some(place), Some(_)) => crash::remove(&*place.storage, &place.dir),
            _ => Ok(()),
        }
    }
}

/// Reads a small file; `None` when there is none.
fn read_if_there(storage: &dyn Storage, path: &Path) -> io::Result<Option<Vec<u8>>> {
    match storage.read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
