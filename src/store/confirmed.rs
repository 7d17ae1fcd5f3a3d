//! The confirmed file: up to where the archive of one log is whole, said durably.
//!
//! Consumes the archiver's marks after their fdatasync; recovery reads it to tell damage (refuse)
//! from a torn tail (cut). It is also where a day keeps the identity of its logs. Two slots in
//! blocks of their own, written in turn and each synced before the other is touched, so one is
//! always whole. Layout: `store.md`, Confirmed file.

use super::record::checksum;
use super::{LogIndex, OpenMode, Storage, StorageFile, StoreError};
use std::io;
use std::path::{Path, PathBuf};

const MAGIC: [u8; 8] = *b"RIALTOCF";
const VERSION: u32 = 1;
const SLOT_BYTES: usize = 64;
/// Each slot in a block of its own: a torn write of one cannot touch the other.
const SLOT_STRIDE: u64 = 4096;

/// What the newer slot says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Confirmed {
    generation: u64,
    pub(super) log_id: u64,
    pub(super) segment_bytes: u64,
    /// Log position up to which the archive is whole; 0 = nothing yet.
    pub(super) position: u64,
    /// Last record before it.
    pub(super) seq: u64,
}

/// The file, open for writing.
pub(super) struct ConfirmedFile {
    file: Box<dyn StorageFile>,
    path: PathBuf,
    state: Confirmed,
}

fn path_in(dir: &Path, log: LogIndex) -> PathBuf {
    dir.join(format!("{}.confirmed", log.name()))
}

/// Reads the file of `log` in the day's directory `dir`; `None` when there is none.
pub(super) fn read(
    storage: &dyn Storage,
    dir: &Path,
    log: LogIndex,
) -> Result<Option<Confirmed>, StoreError> {
    let path = path_in(dir, log);
    match storage.read(&path) {
        Ok(bytes) => newest(&bytes, log, &path).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("read", &path, error)),
    }
}

fn newest(bytes: &[u8], log: LogIndex, path: &Path) -> Result<Confirmed, StoreError> {
    [0, SLOT_STRIDE as usize]
        .iter()
        .filter_map(|&at| decode(bytes.get(at..at + SLOT_BYTES)?.try_into().ok()?, log))
        .max_by_key(|c| c.generation)
        .ok_or_else(|| StoreError::NotALog {
            path: path.into(),
            why: "neither slot of the confirmed file is whole".into(),
        })
}

fn encode(state: &Confirmed, log: LogIndex) -> [u8; SLOT_BYTES] {
    let mut out = [0; SLOT_BYTES];
    out[0..8].copy_from_slice(&MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    let words = [
        state.generation,
        state.log_id,
        state.segment_bytes,
        state.position,
        state.seq,
        log as u64,
    ];
    for (at, word) in (16..).step_by(8).zip(words) {
        out[at..at + 8].copy_from_slice(&word.to_le_bytes());
    }
    let crc = checksum(&out[16..]);
    out[12..16].copy_from_slice(&crc.to_le_bytes());
    out
}

fn decode(bytes: &[u8; SLOT_BYTES], log: LogIndex) -> Option<Confirmed> {
    let word = |at: usize| {
        let mut le = [0; 8];
        le.copy_from_slice(&bytes[at..at + 8]);
        u64::from_le_bytes(le)
    };
    let whole = bytes[0..8] == MAGIC
        && bytes[8..12] == VERSION.to_le_bytes()
        && bytes[12..16] == checksum(&bytes[16..]).to_le_bytes()
        && word(56) == log as u64;
    whole.then(|| Confirmed {
        generation: word(16),
        log_id: word(24),
        segment_bytes: word(32),
        position: word(40),
        seq: word(48),
    })
}

impl ConfirmedFile {
    /// Begins the file of `log` in `dir`: nothing confirmed. Durable when it returns.
    pub(super) fn create(
        storage: &dyn Storage,
        dir: &Path,
        log: LogIndex,
        log_id: u64,
        segment_bytes: u64,
    ) -> Result<Confirmed, StoreError> {
        let path = path_in(dir, log);
        let state = Confirmed { generation: 1, log_id, segment_bytes, position: 0, seq: 0 };
        let mut bytes = [0; 2 * SLOT_STRIDE as usize];
        bytes[..SLOT_BYTES].copy_from_slice(&encode(&state, log));
        storage.write_durably(&path, &bytes).map_err(|e| StoreError::io("create", &path, e))?;
        Ok(state)
    }

    /// Opens the file of `log` in `dir`, which exists.
    pub(super) fn open(
        storage: &dyn Storage,
        dir: &Path,
        log: LogIndex,
    ) -> Result<ConfirmedFile, StoreError> {
        let path = path_in(dir, log);
        let state = read(storage, dir, log)?;
        let state = state.ok_or_else(|| StoreError::Missing { path: path.clone() })?;
        let file =
            storage.open(&path, OpenMode::Write).map_err(|e| StoreError::io("open", &path, e))?;
        Ok(ConfirmedFile { file, path, state })
    }

    /// What it says.
    pub(super) fn state(&self) -> &Confirmed {
        &self.state
    }

    /// What it says is on the disk: a process may have died between its write and its sync.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(|e| StoreError::io("sync", &self.path, e))
    }

    /// Says `position`, `seq` from now on; durable when it returns.
    pub(super) fn store(
        &mut self,
        log: LogIndex,
        position: u64,
        seq: u64,
    ) -> Result<(), StoreError> {
        let state =
            Confirmed { generation: self.state.generation + 1, position, seq, ..self.state };
        let at = state.generation.wrapping_sub(1) % 2 * SLOT_STRIDE;
        self.file
            .write_all_at(&encode(&state, log), at)
            .and_then(|()| self.file.sync_data())
            .map_err(|e| StoreError::io("write", &self.path, e))?;
        self.state = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::FileStorage;
    use super::*;

    #[test]
    fn a_torn_slot_leaves_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let log = LogIndex::Event;
        ConfirmedFile::create(&FileStorage, dir.path(), log, 7, 8192).unwrap();
        let mut file = ConfirmedFile::open(&FileStorage, dir.path(), log).unwrap();
        for step in 1..=5u64 {
            file.store(log, step * 32, step).unwrap();
            let found = read(&FileStorage, dir.path(), log).unwrap().unwrap();
            assert_eq!((found.position, found.seq, found.log_id), (step * 32, step, 7));
        }
        let path = path_in(dir.path(), log);
        let whole = std::fs::read(&path).unwrap();
        // Generation 6 lies in slot 1, generation 5 in slot 0.
        for bit in 0..SLOT_BYTES * 8 {
            let mut torn = whole.clone();
            torn[SLOT_STRIDE as usize + bit / 8] ^= 1 << (bit % 8);
            let found = newest(&torn, log, &path).unwrap();
            assert_eq!((found.position, found.seq), (4 * 32, 4), "bit {bit}");
        }
        let mut torn = whole;
        torn[20] ^= 1;
        torn[SLOT_STRIDE as usize + 20] ^= 1;
        assert!(newest(&torn, log, &path).is_err());
        assert!(read(&FileStorage, dir.path(), LogIndex::Command).unwrap().is_none());
    }
}
