//! The host's file systems.
//!
//! Consumes and produces what [`Storage`] says, by plain system calls. Keeps nothing.

use super::{FileSystem, Mapping, OpenMode, Storage, StorageFile};
use crate::store::Medium;
use memmap2::MmapOptions;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

/// Kinds of file system as statfs(2) tells them. Source: linux/magic.h.
const HUGETLBFS_MAGIC: libc::__fsword_t = 0x9584_58F6;
const TMPFS_MAGIC: libc::__fsword_t = 0x0102_1994;

/// The host's files.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FileStorage;

impl Storage for FileStorage {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn StorageFile>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::Write => _ = options.write(true),
            OpenMode::Create => _ = options.write(true).create(true).truncate(true),
            OpenMode::Keep => _ = options.write(true).create(true).truncate(false),
        }
        Ok(Box::new(HostFile(options.open(path)?)))
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }

    fn owner(&self, path: &Path) -> io::Result<u32> {
        Ok(fs::metadata(path)?.uid())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn create_private_dir(&self, dir: &Path) -> io::Result<()> {
        match fs::DirBuilder::new().mode(0o750).create(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir(dir)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        path.canonicalize()
    }

    fn file_system(&self, dir: &Path) -> io::Result<FileSystem> {
        let file = File::open(dir)?;
        let mut stat = std::mem::MaybeUninit::<libc::statfs>::zeroed();
        // SAFETY: the kernel fills the structure that we own; zeroes are a valid value of it.
        let stat = unsafe {
            if libc::fstatfs(file.as_raw_fd(), stat.as_mut_ptr()) != 0 {
                return Err(io::Error::last_os_error());
            }
            stat.assume_init()
        };
        let medium = match stat.f_type {
            HUGETLBFS_MAGIC => Medium::HugePages,
            TMPFS_MAGIC => Medium::Memory,
            _ => Medium::Degraded,
        };
        let block_bytes = u64::try_from(stat.f_bsize).unwrap_or(4096).max(4096);
        let free_bytes = free_bytes(block_bytes, stat.f_blocks, stat.f_bavail);
        Ok(FileSystem { medium, block_bytes, free_bytes })
    }

    fn boot(&self) -> u64 {
        match fs::read("/proc/sys/kernel/random/boot_id") {
            Ok(id) => {
                let (low, high) = id.split_at(id.len() / 2);
                u64::from(crc32c::crc32c(low)) << 32 | u64::from(crc32c::crc32c(high))
            }
            Err(_) => 0, // no /proc: then nothing tells boots apart
        }
    }

    fn random(&self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(|e| io::Error::other(e.to_string()))?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn user(&self) -> u32 {
        // SAFETY: no arguments, no failure.
        unsafe { libc::geteuid() }
    }

    fn pid(&self) -> u32 {
        std::process::id()
    }

    fn is_alive(&self, pid: u32) -> bool {
        let Ok(pid) = libc::pid_t::try_from(pid) else { return false };
        if pid == 0 {
            return false;
        }
        // SAFETY: signal 0 is not sent, only checked.
        let answer = unsafe { libc::kill(pid, 0) };
        answer == 0 || io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
    }
}

/// Free bytes of a file system of `blocks` of which `available` may be taken; `None` when it tells no
/// size. tmpfs with `size=0` says 0 of 0, hugetlbfs without `size=` 0 of 0 or -1 of -1. Source:
/// fs/hugetlbfs/inode.c, hugetlbfs_statfs; mm/shmem.c, shmem_statfs.
fn free_bytes(block_bytes: u64, blocks: u64, available: u64) -> Option<u64> {
    let told = blocks > 0 && available <= blocks && blocks.checked_mul(block_bytes).is_some();
    told.then(|| available * block_bytes)
}

/// What fallocate does, where there is none: writes zeros behind the file's end, and over what reads as
/// zeros before it, which may be a hole. Never over anything else: the file may be somebody's records.
/// Nobody else may write the file meanwhile.
fn allocate_by_writing(file: &dyn StorageFile, offset: u64, bytes: u64) -> io::Result<()> {
    const BLOCK_BYTES: usize = 4096;
    let zeros = [0u8; BLOCK_BYTES];
    let mut found = [0u8; BLOCK_BYTES];
    let (mut at, end, file_bytes) = (offset, offset + bytes, file.len()?);
    while at < end {
        // To the end of a block of the file system: a hole has whole ones.
        let len = (BLOCK_BYTES - at as usize % BLOCK_BYTES).min((end - at) as usize);
        let there = file_bytes.saturating_sub(at).min(len as u64) as usize;
        file.read_exact_at(&mut found[..there], at)?;
        if found[..there].iter().all(|&b| b == 0) {
            file.write_all_at(&zeros[..len], at)?;
        } else if there < len {
            file.write_all_at(&zeros[there..len], at + there as u64)?;
        }
        at += len as u64;
    }
    Ok(())
}

/// A file of the host, or a directory to lock.
struct HostFile(File);

impl StorageFile for HostFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn allocate(&self, offset: u64, bytes: u64) -> io::Result<()> {
        let (Ok(start), Ok(len)) = (libc::off_t::try_from(offset), libc::off_t::try_from(bytes))
        else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        loop {
            // SAFETY: plain system call on a descriptor that `self` keeps open.
            if unsafe { libc::fallocate(self.0.as_raw_fd(), 0, start, len) } == 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR) => continue,
                // A file system without fallocate.
                Some(libc::EOPNOTSUPP) => return allocate_by_writing(self, offset, bytes),
                _ => return Err(error),
            }
        }
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.0.read_at(into, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                answer => return answer,
            }
        }
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn map(&self, bytes: usize, writable: bool) -> io::Result<Mapping> {
        let mut options = MmapOptions::new();
        options.len(bytes);
        let map =
            if writable { options.map_raw(&self.0) } else { options.map_raw_read_only(&self.0) }?;
        let base = NonNull::new(map.as_mut_ptr()).ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: memmap2 maps whole pages of `bytes` and unmaps them when `map` is dropped, which
        // the mapping owns.
        Ok(unsafe { Mapping::new(base, map.len(), Box::new(map)) })
    }

    fn try_lock(&self) -> io::Result<bool> {
        // SAFETY: plain system call on a descriptor that `self` keeps open.
        if unsafe { libc::flock(self.0.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
            return Ok(true);
        }
        match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::EWOULDBLOCK) => Ok(false),
            error => Err(error),
        }
    }

    fn unlock(&self) {
        // Closing is not enough: a child process between fork and exec still has the descriptor, and
        // the lock with it.
        // SAFETY: plain system call on a descriptor that is still open. Its failure would leave what
        // closing does.
        unsafe { libc::flock(self.0.as_raw_fd(), libc::LOCK_UN) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_without_a_size_is_neither_full_nor_endless() {
        for (blocks, available, free) in [
            (10, 3, Some(3 * 4096)),
            (10, 0, Some(0)),
            (0, 0, None),
            (u64::MAX, u64::MAX, None),
            (u64::MAX, u64::MAX - 5, None),
            (10, u64::MAX, None),
            (0, 1, None),
        ] {
            assert_eq!(free_bytes(4096, blocks, available), free, "{available} of {blocks}");
        }
    }

    /// Bytes, holes and the end of a file: what is there stays, what is not is allocated.
    #[test]
    fn without_fallocate_no_byte_that_is_there_is_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        for (offset, bytes) in
            [(0, 64 << 10), (100, 9_000), (8_000, 30_000), (20_000, 1), (30_000, 50_000), (0, 0)]
        {
            let file = FileStorage.open(&path, OpenMode::Create).unwrap();
            let mut wanted = vec![0; 30_001];
            for (at, byte) in [(0, 1), (5_000, 2), (8_191, 3), (20_000, 4), (30_000, 5)] {
                file.write_all_at(&[byte], at).unwrap();
                wanted[at as usize] = byte;
            }
            wanted.resize(wanted.len().max((offset + bytes) as usize), 0);
            allocate_by_writing(&*file, offset, bytes).unwrap();
            assert_eq!(fs::read(&path).unwrap(), wanted, "{bytes} from {offset}");
            let allocated = fs::metadata(&path).unwrap().blocks() * 512;
            assert!(allocated >= bytes, "{bytes} from {offset}: a hole is left");
        }
    }
}
