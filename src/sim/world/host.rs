//! The machine of the exchange: its storage, and what the world does to it.

use crate::guard::Place;
use crate::sim::plan::Plan;
use crate::store::{
    DayView, Faults, HEADER_BYTES, LogIndex, MemoryStorage, ReadError, SimulatedCrash, Storage,
    StoreError, Tier,
};
use crate::topology::StartError;
use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A byte below the confirmed mark that was damaged, and how to mend it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Damaged {
    path: PathBuf,
    /// Its hot file: where a start copies it to when the hot tier is gone.
    copy: PathBuf,
    /// The hot tier has come back from a power cut: pages of it may be missing anywhere.
    hot_is_torn: bool,
    offset: u64,
    mask: u8,
    /// Log position of the record that the byte belongs to, or of one in the segment whose header it is in.
    record: u64,
    /// The byte is in the segment's header.
    in_header: bool,
}

impl Damaged {
    /// True when what is damaged is the hot file.
    pub(super) fn is_hot(&self) -> bool {
        self.path == self.copy
    }

    /// True when that start names the damaged record: its file, and a place at or before the byte. Where
    /// neither archive nor a torn hot tier is whole, a start says what is wrong with the latter
    /// (store.md, Recovery 7): that may begin before it.
    pub(super) fn is_named(&self, error: &StartError) -> bool {
        match error {
            StartError::Store(StoreError::Damaged { path, offset, position, .. }) => {
                let named = *path == self.path || *path == self.copy;
                let torn_before = self.hot_is_torn
                    && path.parent() == self.copy.parent()
                    && *position <= self.record;
                named && *offset <= self.offset || torn_before
            }
            StartError::Read(ReadError::Damaged { position, .. }) => self.record == *position,
            StartError::Store(error) => self.is_header_of(error),
            StartError::Read(ReadError::Open(error)) => self.is_header_of(error),
            _ => false,
        }
    }

    /// True when `error` says that the file with the damaged header is none of this log.
    fn is_header_of(&self, error: &StoreError) -> bool {
        match error {
            StoreError::NotALog { path, .. } | StoreError::ForeignLog { path, .. } => {
                self.in_header && (*path == self.path || *path == self.copy)
            }
            _ => false,
        }
    }
}

/// See the module's head.
pub(super) struct Host {
    /// As the exchange's process sees it.
    exchange: Arc<MemoryStorage>,
    /// As the shadow's process sees it.
    shadow: Arc<MemoryStorage>,
    /// As observers see it: another process.
    outside: Arc<MemoryStorage>,
    /// The hot directory, and what it lies on.
    hot: PathBuf,
    hot_tier: Tier,
    /// The disk is slow: whoever waited for it is asked for.
    slow: bool,
}

/// True for the panic by which a planned death inside storage unwinds.
pub(super) fn is_simulated_crash(payload: &(dyn Any + Send)) -> bool {
    payload.is::<SimulatedCrash>()
}

impl Host {
    pub(super) fn new(seed: u64, plan: &Plan) -> Host {
        let exchange = Arc::new(MemoryStorage::new(seed, Path::new("/memory")));
        let shadow = Arc::new(exchange.process());
        let outside = Arc::new(exchange.process());
        let (hot, hot_tier) = (plan.hot_dir().into(), plan.hot_tier());
        Host { exchange, shadow, outside, hot, hot_tier, slow: false }
    }

    pub(super) fn data(&self) -> PathBuf {
        PathBuf::from("/data")
    }

    pub(super) fn hot(&self) -> PathBuf {
        self.hot.clone()
    }

    /// For the exchange's process.
    pub(super) fn storage(&self) -> Arc<dyn Storage> {
        self.exchange.clone()
    }

    /// The exchange's process is dead; what is left of it in memory may be dropped afterwards.
    pub(super) fn kill(&self) {
        self.exchange.crash();
    }

    /// For the shadow's process.
    pub(super) fn shadow_storage(&self) -> Arc<dyn Storage> {
        self.shadow.clone()
    }

    /// The shadow's process is dead.
    pub(super) fn kill_shadow(&self) {
        self.shadow.crash();
    }

    /// Damages a byte of the newest snapshot of a day: the next start takes an older one.
    pub(super) fn damage_snapshot(&self, dir: &Path, choice: u64) -> bool {
        let files = self.outside.look_at_all(dir);
        let mut snapshots: Vec<_> = files
            .iter()
            .filter(|(name, _)| name.as_encoded_bytes().starts_with(b"snapshot-"))
            .collect();
        snapshots.sort();
        let Some((name, bytes)) = snapshots.last() else { return false };
        let Some(at) = (choice >> 8).checked_rem(bytes.len() as u64) else { return false };
        self.outside.damage(&dir.join(name), at, 1 << (choice & 7))
    }

    /// The machine has no power.
    pub(super) fn lose_power(&self) {
        self.exchange.lose_power();
        self.shadow.crash();
        self.outside.crash();
    }

    /// The exchange's process dies inside this operation, counted from the next; `None` = it does not.
    pub(super) fn crash_at(&self, operation: Option<u64>) {
        self.exchange.crash_at(operation.unwrap_or(0));
    }

    /// How long the last caller waited for the disk.
    pub(super) fn take_stall_ns(&self) -> u64 {
        if self.slow { self.exchange.take_stall_ns() } else { 0 }
    }

    /// The exchange's process dies inside this sync of a file on the disk, counted from the next.
    pub(super) fn crash_at_sync(&self, sync: Option<u64>) {
        self.exchange.crash_at_sync(sync.unwrap_or(0));
    }

    /// The process was killed while it appended: behind `written`, the end of a log's last record, stand
    /// the first `bytes` bytes of one more, without its length, which is stored last. Call it when
    /// the process is dead.
    pub(super) fn tear(
        &self,
        log: LogIndex,
        hot: &Path,
        written: u64,
        segment_bytes: u64,
        bytes: &[u8],
    ) {
        const LENGTH_BYTES: u64 = 4;
        let path = hot.join(format!("{}-{:010}.seg", log.name(), written / segment_bytes));
        let start = written % segment_bytes + LENGTH_BYTES;
        for (at, &byte) in (start..segment_bytes).zip(bytes) {
            // Nothing was there: the rest of a segment is zero.
            self.outside.damage(&path, at, byte);
        }
    }

    fn change(&self, tier: Tier, change: impl FnOnce(&mut Faults)) {
        let mut faults = self.exchange.faults(tier);
        change(&mut faults);
        self.exchange.set_faults(tier, faults);
    }

    pub(super) fn set_full(&self, tier: Tier, full: bool) {
        self.change(tier, |f| f.limit_bytes = if full { 0 } else { u64::MAX });
    }

    /// The tier takes so many bytes more.
    pub(super) fn set_room(&self, tier: Tier, bytes: u64) {
        let used = self.exchange.used(tier);
        self.change(tier, |f| f.limit_bytes = used + bytes);
    }

    pub(super) fn set_sync_ns(&mut self, ns: u64) {
        self.slow = ns > 0;
        self.change(Tier::Disk, |f| f.sync_ns = (ns / 2, ns));
    }

    pub(super) fn set_disk_errors(&self, per_million: u32) {
        self.change(Tier::Disk, |f| {
            (f.write_eio_ppm, f.sync_eio_ppm) = (per_million, per_million);
        });
    }

    /// True while the hot tier's file system is full.
    pub(super) fn is_short_of_hot_room(&self) -> bool {
        self.exchange.faults(self.hot_tier).limit_bytes != u64::MAX
    }

    /// True while a tier refuses what a start may need.
    pub(super) fn is_troubled(&self) -> bool {
        [Tier::Memory, Tier::Disk].into_iter().any(|tier| {
            let f = self.exchange.faults(tier);
            f.limit_bytes != u64::MAX || f.write_eio_ppm > 0 || f.sync_eio_ppm > 0
        })
    }

    /// True while a tier has no room, or fails whatever it is asked to write.
    pub(super) fn takes_nothing(&self, tier: Tier) -> bool {
        let f = self.exchange.faults(tier);
        f.limit_bytes != u64::MAX || f.write_eio_ppm >= 1_000_000
    }

    /// Damages a byte of a record below `end`, of one from `above` on where there is such a one, in the
    /// file that recovery reads: the hot one where there is one, after a power cut (`power`) the archived
    /// one. No `end`: below the last segment that holds a record. Call it while the exchange is down.
    /// `None` when there is no record.
    pub(super) fn damage(
        &self,
        log: LogIndex,
        (dir, hot): (&Path, &Path),
        power: bool,
        (above, end): (u64, Option<u64>),
        segment_bytes: u64,
        choice: u64,
    ) -> Option<Damaged> {
        let mut reader = self.view(dir).ok()?.log(log).reader_unbounded().ok()?;
        let mut records = Vec::new();
        while let Ok(Some(record)) = reader.next() {
            records.push((record.position, HEADER_BYTES + record.payload.len()));
        }
        let end = end.unwrap_or(records.last()?.0 / segment_bytes * segment_bytes);
        records.retain(|record| record.0 < end);
        if records.last().is_some_and(|last| last.0 >= above) {
            records.retain(|record| record.0 >= above);
        }
        let count = records.len() as u64;
        // Half of the time one of the last, a quarter of the time its last bytes.
        let back = if choice >> 58 & 1 == 1 { count.min(16) } else { count };
        let index = count.checked_sub(1 + (choice >> 16).checked_rem(back)?)?;
        let (position, bytes) = *records.get(index as usize)?;
        let name = format!("{}-{:010}.seg", log.name(), position / segment_bytes);
        let within = (choice >> 8) % bytes as u64;
        let within = if choice >> 56 & 3 == 3 { bytes as u64 - 1 - within % 8 } else { within };
        // Now and then the header of its segment instead: name and version, or what the checksum covers.
        let in_header = choice >> 44 & 7 == 0;
        let at = (choice >> 32) % 44;
        let offset = match in_header {
            true => at + if at < 12 { 0 } else { 4 },
            false => position % segment_bytes + within,
        };
        let mask = 1 << (choice & 7);
        let dirs = if power { [dir, hot] } else { [hot, dir] };
        let path = dirs.map(|d| d.join(&name)).into_iter().find(|p| self.outside.exists(p))?;
        let copy = hot.join(&name);
        if !self.outside.damage(&path, offset, mask) {
            return None;
        }
        let mut damaged =
            Damaged { path, copy, hot_is_torn: false, offset, mask, record: position, in_header };
        if power {
            self.spoil_copy(&mut damaged);
        }
        Some(damaged)
    }

    /// Damages the hot file, too, where a power cut has left the good byte in it: else the record is
    /// whole on one side, and a start may find it there.
    pub(super) fn spoil_copy(&self, damage: &mut Damaged) {
        if damage.is_hot() || self.hot_tier == Tier::Memory {
            return;
        }
        damage.hot_is_torn = true;
        if self.differs_by_mask(damage) {
            self.outside.damage(&damage.copy, damage.offset, damage.mask);
        }
    }

    /// Of archived file and hot file one has the good byte and the other the damaged one.
    fn differs_by_mask(&self, damage: &Damaged) -> bool {
        let byte = |path| Some(*self.look(path)?.get(damage.offset as usize)?);
        let (own, copied) = (byte(&damage.path), byte(&damage.copy));
        own.zip(copied).is_some_and(|(own, copied)| own ^ copied == damage.mask)
    }

    /// The good byte is back.
    pub(super) fn mend(&self, damage: &Damaged) {
        let Damaged { path, copy, offset, mask, .. } = damage;
        self.outside.damage(path, *offset, *mask);
        // A start copies back what it has no need to read.
        if self.differs_by_mask(damage) {
            self.outside.damage(copy, *offset, *mask);
        }
    }

    /// The names in a directory; none when there is no such directory.
    pub(super) fn names(&self, dir: &Path) -> Vec<String> {
        let names = self.outside.list(dir).unwrap_or_default();
        names.into_iter().filter_map(|name| name.into_string().ok()).collect()
    }

    /// The bytes of a file.
    pub(super) fn look(&self, path: &Path) -> Option<Vec<u8>> {
        self.outside.look(path)
    }

    /// What the disk has of a file whatever happens.
    pub(super) fn look_durable(&self, path: &Path) -> Option<Vec<u8>> {
        self.outside.look_durable(path)
    }

    /// Where notes about a command lie that killed the exchange, and which log they speak of.
    pub(super) fn guard_place(&self, dir: &Path) -> Option<Place> {
        let log_id = self.view(dir).ok()?.log(LogIndex::Command).options().log_id;
        Some(Place { storage: self.outside.clone(), dir: dir.into(), log_id })
    }

    /// True when a power cut leaves the file's name.
    pub(super) fn has_durably(&self, path: &Path) -> bool {
        self.outside.has_durably(path)
    }

    /// A day's logs as another process sees them.
    pub(super) fn view(&self, dir: &Path) -> Result<DayView, StoreError> {
        DayView::open_in(self.outside.clone(), dir)
    }
}
