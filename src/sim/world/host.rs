//! The machine of the exchange: its storage, and what the world does to it.

use crate::store::{DayView, LogIndex, Storage, StoreError, files};
use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A byte below the confirmed mark that was damaged, and how to mend it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Damaged {
    path: PathBuf,
    offset: u64,
    mask: u8,
}

/// See the module's head.
pub(super) struct Host {
    root: PathBuf,
}

/// True for the panic by which a planned death inside storage unwinds.
pub(super) fn is_simulated_crash(_payload: &(dyn Any + Send)) -> bool {
    false
}

impl Host {
    pub(super) fn new(seed: u64) -> Host {
        let root = PathBuf::from(format!("/dev/shm/rialto-sim-{}-{seed:x}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        Host { root }
    }

    pub(super) fn data(&self) -> PathBuf {
        self.root.join("disk/data")
    }

    pub(super) fn hot(&self) -> PathBuf {
        self.root.join("memory/hot")
    }

    pub(super) fn storage(&self) -> Arc<dyn Storage> {
        files()
    }

    pub(super) fn begin(&mut self) {}
    pub(super) fn kill(&mut self) {}
    pub(super) fn exit(&mut self) {}
    pub(super) fn lose_power(&mut self) {}
    pub(super) fn crash_at(&mut self, _operation: Option<u64>) {}
    pub(super) fn take_stall_ns(&self) -> u64 {
        0
    }
    pub(super) fn set_disk_full(&mut self, _full: bool) {}
    pub(super) fn set_memory_full(&mut self, _full: bool) {}
    pub(super) fn set_sync_ns(&mut self, _ns: u64) {}
    pub(super) fn set_disk_errors(&mut self, _per_million: u32) {}
    pub(super) fn is_troubled(&self) -> bool {
        false
    }

    pub(super) fn damage(
        &mut self,
        _log: LogIndex,
        _dir: &Path,
        _hot: &Path,
        _confirmed: u64,
        _choice: u64,
    ) -> Option<Damaged> {
        None
    }

    pub(super) fn mend(&mut self, _damage: &Damaged) {}

    pub(super) fn view(&self, dir: &Path) -> Result<DayView, StoreError> {
        DayView::open(dir)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.root);
    }
}
