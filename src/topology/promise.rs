//! Promise: whether a day was served at level `memory`, where what left last may be on no disk.
//!
//! Keeps the file `<day>/memory` from before the first record of a run at that level until a run at level
//! `disk` has everything on the disk. A start goes by it and not by its own configuration: that says what
//! is promised from now on, and nothing of what was acknowledged before.

use crate::store::{Storage, StoreError};
use std::io::ErrorKind;
use std::path::Path;

const FILE: &str = "memory";

/// Records of this day may have been acknowledged that no disk has.
pub(super) fn was_memory(storage: &dyn Storage, dir: &Path) -> bool {
    storage.exists(&dir.join(FILE))
}

/// From here on this day is served at level `memory`. On return that is on the disk.
pub(super) fn note_memory(storage: &dyn Storage, dir: &Path) -> Result<(), StoreError> {
    if was_memory(storage, dir) {
        return Ok(());
    }
    let path = dir.join(FILE);
    storage
        .write_durably(&path, b"served at level memory\n")
        .map_err(|error| StoreError::io("write", &path, error))
}

/// The disk has every record of this day, and none is acknowledged before it has it. On return that is on
/// the disk.
pub(super) fn note_disk(storage: &dyn Storage, dir: &Path) -> Result<(), StoreError> {
    let path = dir.join(FILE);
    match storage.unlink(&path).and_then(|()| storage.sync_dir(dir)) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(StoreError::io("remove", &path, error))
        }
        _ => Ok(()),
    }
}
