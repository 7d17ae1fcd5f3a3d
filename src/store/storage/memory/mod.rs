//! A simulated host's file systems: crashes, power cuts and faults, everything from one seed.
//!
//! Consumes what [`Storage`] asks for, and faults that the simulation or a test sets. Below one path,
//! the memory root, it is a tmpfs; everywhere else a disk behind a page cache. It promises what ext4
//! and xfs promise and not more:
//!
//! - what a process wrote or stored through a mapping stays when the process dies;
//! - `sync_data` makes bytes and length of a file durable, not its name;
//! - `sync_dir` makes the names in a directory durable, not what the files hold;
//! - of anything else a power cut keeps all, nothing or a part: writes by 512 bytes and in any choice,
//!   changes of one directory in their order;
//! - a sync that failed, of a file or a directory, forgets what it could not write: a second one is no
//!   proof.
//!
//! Must not know what files hold. Not simulated: two names for one file, growth of a mapped file,
//! permissions, moving between directories.

mod inode;
mod region;
#[cfg(test)]
mod tests;
mod world;

use super::{FileSystem, Mapping, OpenMode, Storage, StorageFile};
use crate::store::Medium;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use world::{Entry, World, plain};

/// What a simulated file lies on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tier {
    /// Gone when the power is.
    Memory = 0,
    /// Keeps what was synced.
    Disk = 1,
}

/// What goes wrong in a tier from now on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Faults {
    /// Bytes that fit; `u64::MAX` = no limit. More is ENOSPC.
    pub limit_bytes: u64,
    /// A mapping to write takes the room of what it maps at once, as on hugetlbfs: none left is ENOMEM.
    pub mapping_reserves: bool,
    /// Of a million writes and allocations, how many fail with EIO.
    pub write_eio_ppm: u32,
    /// Of a million syncs of a file, how many fail with EIO.
    pub sync_eio_ppm: u32,
    /// Of a million syncs of a directory, how many fail with EIO.
    pub dir_sync_eio_ppm: u32,
    /// Shortest and longest time that a sync takes, ns: see [`MemoryStorage::take_stall_ns`].
    pub sync_ns: (u64, u64),
}

impl Default for Faults {
    fn default() -> Faults {
        Faults {
            limit_bytes: u64::MAX,
            mapping_reserves: false,
            write_eio_ppm: 0,
            sync_eio_ppm: 0,
            dir_sync_eio_ppm: 0,
            sync_ns: (0, 0),
        }
    }
}

/// What was asked of the host so far, by all processes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Operations on files and directories: what [`MemoryStorage::crash_at`] counts, too.
    pub operations: u64,
    /// Writes to files.
    pub writes: u64,
    /// Syncs of files on the disk.
    pub syncs: u64,
    /// Syncs of directories.
    pub dir_syncs: u64,
}

/// What unwinds a process that [`MemoryStorage::crash_at`] ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SimulatedCrash;

/// One process's view of a simulated host. See the module's head.
pub struct MemoryStorage {
    world: Arc<Mutex<World>>,
    pid: AtomicU32,
}

impl fmt::Debug for MemoryStorage {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("MemoryStorage").field("pid", &self.pid).finish_non_exhaustive()
    }
}

impl MemoryStorage {
    /// A new host: `memory_root` is a tmpfs, all other paths are on a disk. One process runs on it.
    pub fn new(seed: u64, memory_root: &Path) -> MemoryStorage {
        let mut world = World::new(seed, memory_root);
        let pid = AtomicU32::new(world.new_process());
        MemoryStorage { world: Arc::new(Mutex::new(world)), pid }
    }

    /// Another process on the same host, which lives and dies on its own.
    pub fn process(&self) -> MemoryStorage {
        let pid = AtomicU32::new(self.lock().new_process());
        MemoryStorage { world: Arc::clone(&self.world), pid }
    }

    /// The process is dead, as by SIGKILL, and the next one begins. What it wrote stays, also through
    /// mappings. Its files, mappings and locks are of no effect any more, so what it left in memory may
    /// be dropped in peace. No other thread of it may run meanwhile.
    pub fn crash(&self) {
        let mut world = self.lock();
        world.kill(self.pid());
        self.pid.store(world.new_process(), Ordering::Release);
    }

    /// The host has no power: every process of it is dead, the memory tier is empty, and the disk has
    /// what it has. This process begins anew; the others when [`MemoryStorage::crash`] says so.
    pub fn lose_power(&self) {
        let mut world = self.lock();
        world.lose_power().expect("memory for the pages of simulated files");
        self.pid.store(world.new_process(), Ordering::Release);
    }

    /// The `n`th operation of this process from now on (1 = the next) does not happen, or half if it
    /// is a write: the process dies there and unwinds with [`SimulatedCrash`]. 0 = not at all. Whoever
    /// catches that calls [`MemoryStorage::crash`] or [`MemoryStorage::lose_power`] for the next life.
    pub fn crash_at(&self, n: u64) {
        let pid = self.pid();
        if let Some(process) = self.lock().processes.get_mut(&pid) {
            process.crash_in = (n > 0).then_some(n);
        }
    }

    /// As [`MemoryStorage::crash_at`], counting syncs of files on the disk alone: what was written
    /// before the `n`th is all there, and nothing of it sure.
    pub fn crash_at_sync(&self, n: u64) {
        let pid = self.pid();
        if let Some(process) = self.lock().processes.get_mut(&pid) {
            process.crash_in_sync = (n > 0).then_some(n);
        }
    }

    /// What goes wrong in `tier` from now on.
    pub fn set_faults(&self, tier: Tier, faults: Faults) {
        self.lock().faults[tier as usize] = faults;
    }

    /// Bytes taken in `tier`: by files that have a name, or that someone holds.
    pub fn used(&self, tier: Tier) -> u64 {
        self.lock().used(tier)
    }

    /// What goes wrong in `tier` now.
    pub fn faults(&self, tier: Tier) -> Faults {
        self.lock().faults[tier as usize]
    }

    /// Time that this process's syncs have taken since the last call, ns: so long the thread that
    /// called them stands still.
    pub fn take_stall_ns(&self) -> u64 {
        let pid = self.pid();
        self.lock().processes.get_mut(&pid).map_or(0, |p| std::mem::take(&mut p.stall_ns))
    }

    /// Flips the bits `mask` of one byte of a file, for everybody and on the disk; false when there is
    /// no such byte.
    pub fn damage(&self, path: &Path, offset: u64, mask: u8) -> bool {
        let mut world = self.lock();
        let Ok(Entry::File(number)) = world.entry(&plain(path)) else { return false };
        match world.inode(number) {
            Ok(inode) if offset < inode.len => inode.damage(offset, mask),
            _ => return false,
        }
        true
    }

    /// The bytes of a file, looked at from outside: no operation of any process.
    pub fn look(&self, path: &Path) -> Option<Vec<u8>> {
        let mut world = self.lock();
        let Ok(Entry::File(number)) = world.entry(&plain(path)) else { return None };
        world.inode(number).ok().map(|inode| inode.bytes().to_vec())
    }

    /// What the disk has of a file whatever happens, from outside: a power cut keeps at least that.
    pub fn look_durable(&self, path: &Path) -> Option<Vec<u8>> {
        let mut world = self.lock();
        let Ok(Entry::File(number)) = world.entry(&plain(path)) else { return None };
        world.inode(number).ok().map(|inode| inode.durable().to_vec())
    }

    /// True when the file's name is there whatever happens, perhaps as another file's.
    pub fn has_durably(&self, path: &Path) -> bool {
        self.lock().has_durably(&plain(path))
    }

    /// Everything in a directory as it is, from outside: names and bytes, without directories.
    pub fn look_at_all(&self, dir: &Path) -> Vec<(OsString, Vec<u8>)> {
        let names = self.lock().names(&plain(dir)).unwrap_or_default();
        names.into_iter().filter_map(|n| Some((n.clone(), self.look(&dir.join(&n))?))).collect()
    }

    /// Puts these bytes into a file from outside, made when it is not there, durable at once.
    pub fn put(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let (mut world, path) = (self.lock(), plain(path));
        let number = match world.entry(&path) {
            Ok(Entry::File(number)) => number,
            _ => world.create(&path)?,
        };
        let inode = world.inode(number)?;
        if inode.len != bytes.len() as u64 {
            inode.set_len(bytes.len() as u64)?;
        }
        inode.write(bytes, 0)?;
        inode.sync();
        world.sync_dir(path.parent().unwrap_or(Path::new("/")))
    }

    /// Removes a directory with all that is in it, from outside, durably.
    pub fn remove_all(&self, dir: &Path) -> io::Result<()> {
        let (mut world, dir) = (self.lock(), plain(dir));
        let below: Vec<PathBuf> =
            world.directories.keys().filter(|p| p.starts_with(&dir)).cloned().collect();
        for path in below.into_iter().rev() {
            for name in world.names(&path).unwrap_or_default() {
                if let Ok(Entry::File(_)) = world.entry(&path.join(&name)) {
                    world.unlink(&path.join(&name))?;
                }
            }
            world.sync_dir(&path)?;
            world.remove_dir(&path)?;
        }
        world.sync_dir(dir.parent().unwrap_or(Path::new("/")))
    }

    /// What was asked of the host so far.
    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }

    /// Begins an operation of this process.
    fn enter(&self) -> io::Result<MutexGuard<'_, World>> {
        enter(&self.world, self.pid(), |_| {})
    }
}

fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins an operation of a process, or ends the process: then `last` is what still happens.
fn enter(
    world: &Mutex<World>,
    pid: u32,
    last: impl FnOnce(&mut World),
) -> io::Result<MutexGuard<'_, World>> {
    let mut world = lock(world);
    let Some(process) = world.processes.get_mut(&pid) else {
        return Err(io::Error::other("the process is dead"));
    };
    if let Some(left) = &mut process.crash_in {
        *left -= 1;
        if *left == 0 {
            last(&mut world);
            return Err(die(world, pid));
        }
    }
    world.counts.operations += 1;
    Ok(world)
}

/// The process dies here and unwinds; returns only to one that unwinds already.
fn die(mut world: MutexGuard<'_, World>, pid: u32) -> io::Error {
    world.kill(pid);
    drop(world);
    if std::thread::panicking() {
        return io::Error::other("the process is dead");
    }
    // Not a panic that anybody should be told of.
    std::panic::resume_unwind(Box::new(SimulatedCrash));
}

impl Storage for MemoryStorage {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn StorageFile>> {
        let (mut world, path) = (self.enter()?, plain(path));
        let what = match (world.entry(&path), mode) {
            (Ok(Entry::Directory), OpenMode::Read) => What::Directory(path.clone()),
            (Ok(Entry::Directory), _) => return Err(io::ErrorKind::IsADirectory.into()),
            (Ok(Entry::File(number)), _) => What::File(number),
            (Err(_), OpenMode::Create | OpenMode::Keep) => What::File(world.create(&path)?),
            (Err(error), _) => return Err(error),
        };
        let mut token = None;
        if let What::File(number) = what {
            let inode = world.inode(number)?;
            if mode == OpenMode::Create {
                inode.set_len(0)?;
            }
            token = Some(Arc::clone(&inode.token));
        }
        let handle = u64::from(self.pid()) << 32 | (world.number() & 0xFFFF_FFFF);
        let world = Arc::clone(&self.world);
        let writable = mode != OpenMode::Read;
        Ok(Box::new(MemoryFile { world, pid: self.pid(), handle, what, writable, _token: token }))
    }

    fn exists(&self, path: &Path) -> bool {
        self.enter().is_ok_and(|world| world.entry(&plain(path)).is_ok())
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.enter().is_ok_and(|world| world.entry(&plain(path)).ok() == Some(Entry::Directory))
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        let mut world = self.enter()?;
        match world.entry(&plain(path))? {
            Entry::File(number) => Ok(world.inode(number)?.len),
            Entry::Directory => Ok(0),
        }
    }

    fn owner(&self, path: &Path) -> io::Result<u32> {
        self.enter()?.entry(&plain(path)).map(|_| self.user())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        self.enter()?.names(&plain(dir))
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.enter()?;
        let dir = plain(dir);
        let mut above: Vec<&Path> = dir.ancestors().collect();
        above.reverse();
        above.into_iter().try_for_each(|path| world.create_dir(path))
    }

    fn create_private_dir(&self, dir: &Path) -> io::Result<()> {
        self.enter()?.create_dir(&plain(dir))
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.enter()?.remove_dir(&plain(dir))
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.enter()?.unlink(&plain(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.enter()?.rename(&plain(from), &plain(to))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let (mut world, dir) = (self.enter()?, plain(dir));
        // In memory there is nothing to wait for, as with files.
        let tier = world.tier(&dir);
        world.counts.dir_syncs += u64::from(tier == Tier::Disk);
        stall_in(&mut world, self.pid(), tier);
        let ppm = world.faults[tier as usize].dir_sync_eio_ppm;
        if ppm > 0 && world.random.draw() % 1_000_000 < u64::from(ppm) {
            world.fail_sync_dir(&dir)?;
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        world.sync_dir(&dir)
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        let path = plain(path);
        self.enter()?.entry(&path)?;
        Ok(path)
    }

    fn file_system(&self, dir: &Path) -> io::Result<FileSystem> {
        let (world, dir) = (self.enter()?, plain(dir));
        world.entry(&dir)?;
        let tier = world.tier(&dir);
        let medium = match tier {
            Tier::Memory => Medium::Memory,
            Tier::Disk => Medium::Degraded,
        };
        // Without a limit there is no size to tell, as on hugetlbfs without `size=`.
        let limited = world.faults[tier as usize].limit_bytes != u64::MAX;
        let free_bytes = limited.then(|| world.fits(tier, u64::MAX));
        Ok(FileSystem { medium, block_bytes: 4096, free_bytes })
    }

    fn boot(&self) -> u64 {
        self.lock().boot
    }

    fn random(&self) -> io::Result<u64> {
        Ok(self.enter()?.random.draw())
    }

    fn user(&self) -> u32 {
        1_000
    }

    fn pid(&self) -> u32 {
        self.pid.load(Ordering::Acquire)
    }

    fn is_alive(&self, pid: u32) -> bool {
        self.lock().processes.contains_key(&pid)
    }
}

/// What a handle is of.
enum What {
    File(u64),
    Directory(PathBuf),
}

/// A handle of one process.
struct MemoryFile {
    world: Arc<Mutex<World>>,
    pid: u32,
    /// Process and a number of its own.
    handle: u64,
    what: What,
    writable: bool,
    /// Keeps the file while it is open.
    _token: Option<Arc<()>>,
}

impl MemoryFile {
    fn enter(&self) -> io::Result<MutexGuard<'_, World>> {
        enter(&self.world, self.pid, |_| {})
    }

    fn number(&self) -> io::Result<u64> {
        match self.what {
            What::File(number) => Ok(number),
            What::Directory(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    /// For a change of the file.
    fn enter_to_write(&self) -> io::Result<(MutexGuard<'_, World>, u64)> {
        if !self.writable {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        }
        Ok((self.enter()?, self.number()?))
    }

    /// Refuses what the tier has no room for, up to `end` of the file; how far it goes otherwise.
    fn room(world: &mut World, number: u64, end: u64) -> io::Result<u64> {
        let inode = world.inode(number)?;
        let (tier, has) = (inode.tier, inode.allocated.next_multiple_of(4096));
        let ppm = world.faults[tier as usize].write_eio_ppm;
        if ppm > 0 && world.random.draw() % 1_000_000 < u64::from(ppm) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let wanted = end.next_multiple_of(4096).saturating_sub(has);
        Ok(end.min(has + world.fits(tier, wanted)))
    }
}

/// The caller's thread stands still for a sync on a disk.
fn stall_in(world: &mut World, pid: u32, tier: Tier) {
    let (shortest, longest) = world.faults[tier as usize].sync_ns;
    let span = longest.saturating_sub(shortest);
    let more = if span > 0 { world.random.draw() % (span + 1) } else { 0 };
    if let Some(process) = world.processes.get_mut(&pid) {
        process.stall_ns += shortest + more;
    }
}

impl StorageFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        let (mut world, number) = (self.enter()?, self.number()?);
        Ok(world.inode(number)?.len)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let (mut world, number) = self.enter_to_write()?;
        world.inode(number)?.set_len(bytes)
    }

    fn allocate(&self, offset: u64, bytes: u64) -> io::Result<()> {
        let (mut world, number) = self.enter_to_write()?;
        let end = offset + bytes;
        if MemoryFile::room(&mut world, number, end)? < end {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        world.inode(number)?.allocate(end)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let (mut world, number) = (self.enter()?, self.number()?);
        Ok(world.inode(number)?.read(into, offset))
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if !self.writable {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        }
        let number = self.number()?;
        let mut world = enter(&self.world, self.pid, |world| {
            // Killed on the way: the kernel had copied so many pages.
            let pages = world.random.draw() % (bytes.len() as u64 / 4096 + 2);
            let len = (pages as usize * 4096).min(bytes.len());
            if let Ok(inode) = world.inode(number) {
                // The process is not there any more to hear of an error.
                let _ = inode.write(&bytes[..len], offset);
            }
        })?;
        world.counts.writes += 1;
        let end = offset + bytes.len() as u64;
        let room = MemoryFile::room(&mut world, number, end)?;
        let fits = room.saturating_sub(offset).min(bytes.len() as u64) as usize;
        world.inode(number)?.write(&bytes[..fits], offset)?;
        if fits < bytes.len() {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let (mut guard, number) = (self.enter()?, self.number()?);
        let world = &mut *guard;
        let tier = world.inode(number)?.tier;
        stall_in(world, self.pid, tier);
        if tier == Tier::Memory {
            return Ok(());
        }
        if let Some(left) =
            world.processes.get_mut(&self.pid).and_then(|p| p.crash_in_sync.as_mut())
        {
            *left -= 1;
            if *left == 0 {
                return Err(die(guard, self.pid));
            }
        }
        world.counts.syncs += 1;
        let ppm = world.faults[tier as usize].sync_eio_ppm;
        let fails = ppm > 0 && world.random.draw() % 1_000_000 < u64::from(ppm);
        let inode = world.inodes.get_mut(&number).ok_or(io::ErrorKind::NotFound)?;
        if fails {
            inode.fail_sync(&mut world.random);
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        inode.sync();
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn map(&self, bytes: usize, writable: bool) -> io::Result<Mapping> {
        if writable && !self.writable {
            return Err(io::Error::from_raw_os_error(libc::EACCES));
        }
        let (mut world, number) = (self.enter()?, self.number()?);
        let inode = world.inode(number)?;
        let (tier, has) = (inode.tier, inode.allocated.next_multiple_of(4096));
        let wanted = (bytes as u64).saturating_sub(has);
        if writable
            && world.faults[tier as usize].mapping_reserves
            && world.fits(tier, wanted) < wanted
        {
            return Err(io::Error::from_raw_os_error(libc::ENOMEM));
        }
        let inode = world.inode(number)?;
        let token = Arc::clone(&inode.token);
        let region = match writable {
            true => inode.map(bytes)?,
            false => inode.view(bytes)?,
        };
        if writable {
            world.keep_mapping(self.pid, &region);
        }
        let base = region.base();
        // SAFETY: whole pages, at least `bytes` of them, that stay mapped as long as the region, which
        // the mapping owns; a detached region keeps its address.
        Ok(unsafe { Mapping::new(base, bytes, Box::new((region, token))) })
    }

    fn try_lock(&self) -> io::Result<bool> {
        let mut world = self.enter()?;
        let lock = match &self.what {
            What::File(number) => &mut world.inode(*number)?.locked,
            What::Directory(path) => &mut world.directory_mut(path)?.locked,
        };
        if lock.is_some_and(|holder| holder != self.handle) {
            return Ok(false);
        }
        *lock = Some(self.handle);
        Ok(true)
    }

    fn unlock(&self) {
        let mut world = lock(&self.world);
        let lock = match &self.what {
            What::File(number) => world.inode(*number).ok().map(|i| &mut i.locked),
            What::Directory(path) => world.directory_mut(path).ok().map(|d| &mut d.locked),
        };
        if let Some(lock) = lock
            && *lock == Some(self.handle)
        {
            *lock = None;
        }
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        self.unlock();
    }
}
