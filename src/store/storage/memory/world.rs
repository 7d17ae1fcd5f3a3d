//! The simulated host: directories, processes, and what a power cut leaves of both.
//!
//! Consumes operations of processes; keeps for every directory what everybody sees and what the disk
//! has. A name is on the disk when its directory was synced; of later changes a power cut keeps some
//! first ones, in order, as a journal does. Nothing follows from the sync of a file about its name.

use super::inode::Inode;
use super::region::Region;
use super::{Counts, Faults, Tier};
use crate::random::SplitMix64;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Weak};

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Entry {
    File(u64),
    Directory,
}

/// A change of a directory that is not on the disk yet.
enum Change {
    Link(OsString, Entry),
    Unlink(OsString),
    Rename(OsString, OsString),
}

/// Changes of a directory that wait for the disk; a journal does not wait longer, whoever asks.
const CHANGES_MAX: usize = 64;

/// So many files that were stored into last may not be written back when others are.
const YOUNG_MAX: u64 = 12;

#[derive(Default)]
pub(super) struct Directory {
    pub(super) entries: BTreeMap<OsString, Entry>,
    durable: BTreeMap<OsString, Entry>,
    changes: Vec<Change>,
    /// In memory: nothing of it is ever on the disk.
    volatile: bool,
    /// Removed, but its removal may not be on the disk.
    gone: bool,
    pub(super) locked: Option<u64>,
}

impl Directory {
    fn change(&mut self, change: Change) {
        apply(&mut self.entries, &change);
        if self.volatile {
            return;
        }
        self.changes.push(change);
        if self.changes.len() > CHANGES_MAX {
            apply(&mut self.durable, &self.changes.remove(0));
        }
    }
}

fn apply(entries: &mut BTreeMap<OsString, Entry>, change: &Change) {
    match change {
        Change::Link(name, entry) => _ = entries.insert(name.clone(), *entry),
        Change::Unlink(name) => _ = entries.remove(name),
        Change::Rename(from, to) => {
            if let Some(entry) = entries.remove(from) {
                entries.insert(to.clone(), entry);
            }
        }
    }
}

#[derive(Default)]
pub(super) struct Process {
    mappings: Vec<Weak<Region>>,
    /// Operations until it dies.
    pub(super) crash_in: Option<u64>,
    /// Syncs of files on the disk until it dies.
    pub(super) crash_in_sync: Option<u64>,
    pub(super) stall_ns: u64,
}

pub(super) struct World {
    pub(super) random: SplitMix64,
    memory_root: PathBuf,
    pub(super) boot: u64,
    last_pid: u32,
    pub(super) processes: BTreeMap<u32, Process>,
    pub(super) directories: BTreeMap<PathBuf, Directory>,
    pub(super) inodes: BTreeMap<u64, Inode>,
    last_number: u64,
    pub(super) faults: [Faults; 2],
    pub(super) counts: Counts,
}

impl World {
    pub(super) fn new(seed: u64, memory_root: &Path) -> World {
        let mut world = World {
            random: SplitMix64::new(seed),
            memory_root: plain(memory_root),
            boot: 1,
            last_pid: 100,
            processes: BTreeMap::new(),
            directories: BTreeMap::new(),
            inodes: BTreeMap::new(),
            last_number: 0,
            faults: [Faults::default(); 2],
            counts: Counts::default(),
        };
        world.mount();
        world
    }

    /// The directories that are there from the beginning.
    fn mount(&mut self) {
        let mut path = self.memory_root.clone();
        self.directories.entry(path.clone()).or_default().volatile = true;
        while let (Some(above), Some(name)) = (path.parent(), path.file_name()) {
            let name = name.to_owned();
            path = above.into();
            let directory = self.directories.entry(path.clone()).or_default();
            directory.entries.insert(name.clone(), Entry::Directory);
            directory.durable.insert(name, Entry::Directory);
        }
    }

    pub(super) fn new_process(&mut self) -> u32 {
        self.last_pid += 1;
        self.processes.insert(self.last_pid, Process::default());
        self.last_pid
    }

    pub(super) fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    pub(super) fn tier(&self, path: &Path) -> Tier {
        if path.starts_with(&self.memory_root) { Tier::Memory } else { Tier::Disk }
    }

    /// Ends a process: what it did stays, what it still does reaches nobody.
    pub(super) fn kill(&mut self, pid: u32) {
        let Some(process) = self.processes.remove(&pid) else { return };
        for mapping in process.mappings {
            if let Some(region) = mapping.upgrade() {
                region.detach();
            }
        }
        let held = |lock: &Option<u64>| lock.is_some_and(|l| l >> 32 == u64::from(pid));
        for inode in self.inodes.values_mut().filter(|i| held(&i.locked)) {
            inode.locked = None;
        }
        for directory in self.directories.values_mut().filter(|d| held(&d.locked)) {
            directory.locked = None;
        }
        self.collect();
    }

    /// Ends the machine. Every process is dead, memory is gone, and the disk has what it has.
    pub(super) fn lose_power(&mut self) -> io::Result<()> {
        let pids: Vec<u32> = self.processes.keys().copied().collect();
        pids.into_iter().for_each(|pid| self.kill(pid));
        self.boot += 1;
        self.directories.retain(|path, _| !path.starts_with(&self.memory_root));
        let random = &mut self.random;
        for directory in self.directories.values_mut() {
            let changes = std::mem::take(&mut directory.changes);
            let kept = random.draw() % (changes.len() as u64 + 1);
            for change in &changes[..kept as usize] {
                apply(&mut directory.durable, change);
            }
            directory.entries = directory.durable.clone();
            directory.locked = None;
        }
        self.mount();
        // A directory is there when all those above say so.
        let mut found = vec![PathBuf::from("/")];
        let mut at = 0;
        while at < found.len() {
            let entries = self.directories.entry(found[at].clone()).or_default();
            entries.gone = false;
            let below = entries.entries.iter().filter(|(_, e)| **e == Entry::Directory);
            let below: Vec<PathBuf> = below.map(|(name, _)| found[at].join(name)).collect();
            found.extend(below);
            at += 1;
        }
        self.directories.retain(|path, _| found.contains(path));
        let names = self.directories.values().flat_map(|d| d.entries.values());
        let linked: Vec<Entry> = names.copied().collect();
        self.inodes.retain(|number, _| linked.contains(&Entry::File(*number)));
        self.write_back_what_is_old();
        for inode in self.inodes.values_mut() {
            inode.lose_power(&mut self.random)?;
        }
        Ok(())
    }

    /// The kernel writes back what was stored through mappings, in time: of several files half of the
    /// time only the newest are left to luck.
    fn write_back_what_is_old(&mut self) {
        let stored =
            self.inodes.values_mut().filter(|i| i.tier == Tier::Disk && i.is_stored_into());
        let mut stored: Vec<&mut Inode> = stored.collect();
        if stored.len() < 2 || self.random.draw() & 1 == 0 {
            return;
        }
        let young = (self.random.draw() % YOUNG_MAX).min(stored.len() as u64);
        let old = stored.len() - young as usize;
        stored[..old].iter_mut().for_each(|inode| inode.sync());
    }

    /// Forgets files that no name and nobody holds any more.
    pub(super) fn collect(&mut self) {
        let mut named: Vec<u64> = Vec::new();
        for directory in self.directories.values() {
            let changes = directory.changes.iter().filter_map(|c| match c {
                Change::Link(_, entry) => Some(entry),
                _ => None,
            });
            let entries = directory.entries.values().chain(directory.durable.values());
            named.extend(entries.chain(changes).filter_map(|e| match e {
                Entry::File(number) => Some(*number),
                Entry::Directory => None,
            }));
        }
        named.sort_unstable();
        self.inodes.retain(|number, inode| {
            named.binary_search(number).is_ok() || Arc::strong_count(&inode.token) > 1
        });
    }

    /// Bytes taken in a tier: by files that have a name, or that someone holds.
    pub(super) fn used(&self, tier: Tier) -> u64 {
        let mut named: Vec<u64> = Vec::new();
        for directory in self.directories.values() {
            named.extend(directory.entries.values().filter_map(|e| match e {
                Entry::File(number) => Some(*number),
                Entry::Directory => None,
            }));
        }
        named.sort_unstable();
        let counts = |(number, inode): &(&u64, &Inode)| {
            let held = Arc::strong_count(&inode.token) > 1;
            inode.tier == tier && (held || named.binary_search(number).is_ok())
        };
        self.inodes.iter().filter(counts).map(|(_, i)| i.allocated.next_multiple_of(4096)).sum()
    }

    /// Bytes of `wanted` more that fit into the tier.
    pub(super) fn fits(&self, tier: Tier, wanted: u64) -> u64 {
        match self.faults[tier as usize].limit_bytes {
            u64::MAX => wanted,
            limit => wanted.min(limit.saturating_sub(self.used(tier))),
        }
    }

    fn directory(&self, path: &Path) -> io::Result<&Directory> {
        match self.directories.get(path) {
            Some(directory) if !directory.gone => Ok(directory),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn directory_mut(&mut self, path: &Path) -> io::Result<&mut Directory> {
        match self.directories.get_mut(path) {
            Some(directory) if !directory.gone => Ok(directory),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn entry(&self, path: &Path) -> io::Result<Entry> {
        let Some((dir, name)) = parts(path) else { return Ok(Entry::Directory) };
        let found = self.directory(dir)?.entries.get(name);
        found.copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn inode(&mut self, number: u64) -> io::Result<&mut Inode> {
        self.inodes.get_mut(&number).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// True when a power cut leaves this name in its directory.
    pub(super) fn has_durably(&self, path: &Path) -> bool {
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return false };
        self.directories.get(dir).is_some_and(|directory| directory.durable.contains_key(name))
    }

    pub(super) fn names(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        let mut names: Vec<_> = self.directory(dir)?.entries.keys().cloned().collect();
        // As readdir: in no order.
        names.sort_by_key(|name| crc32c::crc32c(name.as_encoded_bytes()).rotate_left(16));
        Ok(names)
    }

    /// Makes an empty file.
    pub(super) fn create(&mut self, path: &Path) -> io::Result<u64> {
        let (dir, name) = parts(path).ok_or(io::ErrorKind::IsADirectory)?;
        self.directory(dir)?;
        if self.fits(self.tier(path), 4096) == 0 {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        let inode = Inode::new(self.tier(path))?;
        let number = self.number();
        self.inodes.insert(number, inode);
        let link = Change::Link(name.into(), Entry::File(number));
        self.directory_mut(dir)?.change(link);
        Ok(number)
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        match self.entry(path) {
            Ok(Entry::Directory) => return Ok(()),
            Ok(Entry::File(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => {}
        }
        let (dir, name) = parts(path).ok_or(io::ErrorKind::AlreadyExists)?;
        let link = Change::Link(name.into(), Entry::Directory);
        self.directory_mut(dir)?.change(link);
        let volatile = self.tier(path) == Tier::Memory;
        let directory = self.directories.entry(path.into()).or_default();
        (directory.gone, directory.volatile) = (false, volatile);
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        if !self.directory(path)?.entries.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let (dir, name) = parts(path).ok_or(io::ErrorKind::ResourceBusy)?;
        self.directory_mut(dir)?.change(Change::Unlink(name.into()));
        self.directory_mut(path)?.gone = true;
        Ok(())
    }

    pub(super) fn unlink(&mut self, path: &Path) -> io::Result<()> {
        let Entry::File(_) = self.entry(path)? else {
            return Err(io::ErrorKind::IsADirectory.into());
        };
        let (dir, name) = parts(path).ok_or(io::ErrorKind::IsADirectory)?;
        self.directory_mut(dir)?.change(Change::Unlink(name.into()));
        self.collect();
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (Entry::File(_), Some((dir, from)), Some((to_dir, to))) =
            (self.entry(from)?, parts(from), parts(to))
        else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        if dir != to_dir {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.directory_mut(dir)?.change(Change::Rename(from.into(), to.into()));
        self.collect();
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let directory = self.directory_mut(path)?;
        for change in std::mem::take(&mut directory.changes) {
            apply(&mut directory.durable, &change);
        }
        self.collect();
        Ok(())
    }

    /// The disk could not take the names: some first changes may have got there, the others count as
    /// written and are forgotten.
    pub(super) fn fail_sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let luck = self.random.draw();
        let directory = self.directory_mut(path)?;
        let mut changes = std::mem::take(&mut directory.changes);
        changes.truncate((luck % (changes.len() as u64 + 1)) as usize);
        for change in changes {
            apply(&mut directory.durable, &change);
        }
        self.collect();
        Ok(())
    }

    pub(super) fn keep_mapping(&mut self, pid: u32, region: &Arc<Region>) {
        if let Some(process) = self.processes.get_mut(&pid) {
            process.mappings.retain(|m| m.strong_count() > 0);
            process.mappings.push(Arc::downgrade(region));
        }
    }
}

/// Directory and name; `None` for the root.
fn parts(path: &Path) -> Option<(&Path, &OsStr)> {
    Some((path.parent()?, path.file_name()?))
}

/// The one way to write a path: absolute, without `.` and `..`.
pub(super) fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => _ = out.pop(),
            _ => {}
        }
    }
    out
}
