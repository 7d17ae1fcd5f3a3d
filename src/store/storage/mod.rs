//! Where the files of the event store lie: the only door to a file system.
//!
//! Consumes paths and bytes; produces open files, mappings, locks, and what the host knows about
//! itself (boot, process, free space). Two of them: [`FileStorage`], the host's file systems, and
//! [`MemoryStorage`], a simulated host with crashes, power cuts and faults from a seed. Must not know
//! what a file holds. Nothing here is on the order path: a segment, once mapped, is a [`Mapping`], and
//! from there on it is pointer arithmetic.

mod files;
mod memory;

pub use files::FileStorage;
pub use memory::{Counts, Faults, MemoryStorage, SimulatedCrash, Tier};

use super::Medium;
use std::any::Any;
use std::ffi::OsString;
use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Arc;

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenMode {
    /// To read; it exists. Also a directory, to lock it.
    Read,
    /// To read and write; it exists.
    Write,
    /// To read and write; made empty, whatever was there.
    Create,
    /// To read and write; made when it is not there, kept as it is when it is.
    Keep,
}

/// What a directory lies on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileSystem {
    /// Memory or disk.
    pub medium: Medium,
    /// Block, on hugetlbfs page, bytes; at least 4096.
    pub block_bytes: u64,
    /// Bytes that this process may still take; `None` = the file system tells no size.
    pub free_bytes: Option<u64>,
}

/// A host's file systems, as one process sees them. Errors are the system's: `NotFound`,
/// `AlreadyExists`, ENOSPC, EIO and so on. Every call may block.
pub trait Storage: Send + Sync + Debug {
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn StorageFile>>;
    /// True when there is a file or directory of that name.
    fn exists(&self, path: &Path) -> bool;
    /// True when there is a directory of that name.
    fn is_dir(&self, path: &Path) -> bool;
    /// Bytes of a file.
    fn len(&self, path: &Path) -> io::Result<u64>;
    /// Number of the user that a file or directory belongs to.
    fn owner(&self, path: &Path) -> io::Result<u32>;
    /// Names in a directory, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>>;
    /// Makes a directory and those above it; fine when it is there.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Makes a directory for owner and group only; fine when it is there.
    fn create_private_dir(&self, dir: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;
    /// Removes a file's name; its bytes stay with those who have it open or mapped.
    fn unlink(&self, path: &Path) -> io::Result<()>;
    /// Gives a file another name in the same directory, over a file that has it. At once: nobody sees
    /// neither or both.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes what was created, renamed and unlinked in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// The one absolute name of what exists.
    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf>;
    /// What `dir` lies on.
    fn file_system(&self, dir: &Path) -> io::Result<FileSystem>;

    /// A number of this boot of the machine, 0 = unknown: then nothing tells boots apart.
    fn boot(&self) -> u64;
    /// A number that nobody can guess.
    fn random(&self) -> io::Result<u64>;
    /// Number of the user that this process runs as.
    fn user(&self) -> u32;
    /// Number of this process.
    fn pid(&self) -> u32;
    /// True while there is a process of that number.
    fn is_alive(&self, pid: u32) -> bool;

    /// The whole of a small file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path, OpenMode::Read)?;
        let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
        let mut at = 0;
        while at < bytes.len() {
            match file.read_at(&mut bytes[at..], at as u64)? {
                0 => break,
                len => at += len,
            }
        }
        bytes.truncate(at);
        Ok(bytes)
    }

    /// Makes `path` a file of these bytes, at once and durably: whoever finds it, before or after any
    /// crash, finds the old one or the new one whole. By way of `path` + `.tmp`, which a crash may leave.
    fn write_durably(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut draft = path.as_os_str().to_owned();
        draft.push(".tmp");
        let draft = PathBuf::from(draft);
        let file = self.open(&draft, OpenMode::Create)?;
        file.write_all_at(bytes, 0)?;
        file.sync_all()?;
        self.rename(&draft, path)?;
        self.sync_dir(path.parent().unwrap_or(Path::new("/")))
    }
}

/// The host's files: what everything but tests and simulation uses.
pub fn files() -> Arc<dyn Storage> {
    Arc::new(FileStorage)
}

/// An open file.
#[allow(clippy::len_without_is_empty)] // a length of bytes, not a collection
pub trait StorageFile: Send + Sync {
    /// Its bytes.
    fn len(&self) -> io::Result<u64>;
    /// Cuts it, or extends it by a hole.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// Allocates blocks and extends the file over them, never sparse: a hole would be filled by a
    /// write that can fail when the disk is full, and through a mapping that failure is a SIGBUS.
    fn allocate(&self, offset: u64, bytes: u64) -> io::Result<()>;
    /// Reads what is there, up to all of `into`; 0 = the end.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of it. An error may leave a part written.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes bytes and length durable. After an error nobody knows what is, and a second call would
    /// not tell.
    fn sync_data(&self) -> io::Result<()>;
    /// The same, and what else is known about the file.
    fn sync_all(&self) -> io::Result<()>;
    /// Maps its first `bytes`, shared with everyone who maps them.
    fn map(&self, bytes: usize, writable: bool) -> io::Result<Mapping>;
    /// Locks it for this handle alone; false = another has it. Never waits.
    fn try_lock(&self) -> io::Result<bool>;
    /// Gives the lock back, at once, whoever else still has the descriptor. Closing does it too.
    fn unlock(&self);

    /// Reads all of `into`, or fails with `UnexpectedEof`.
    fn read_exact_at(&self, mut into: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !into.is_empty() {
            match self.read_at(into, offset)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                len => {
                    into = &mut into[len..];
                    offset += len as u64;
                }
            }
        }
        Ok(())
    }
}

/// Bytes of a file as memory: shared with every other mapping of it, in any process.
pub struct Mapping {
    base: NonNull<u8>,
    len: usize,
    _owner: Box<dyn Any + Send + Sync>,
}

// SAFETY: the owner may be sent and shared, and a base and a length are plain numbers; whoever goes
// through the pointer answers for what he does there.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// `len` bytes from `base` on that stay mapped as long as `owner` lives.
    ///
    /// # Safety
    /// They are readable, and writable when the file was mapped so, until `owner` is dropped; `base`
    /// is aligned to 4096.
    pub unsafe fn new(base: NonNull<u8>, len: usize, owner: Box<dyn Any + Send + Sync>) -> Mapping {
        assert!(base.addr().get().is_multiple_of(4096));
        Mapping { base, len, _owner: owner }
    }

    /// First byte.
    #[inline]
    pub fn base(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// Bytes.
    #[inline]
    #[allow(clippy::len_without_is_empty)] // never empty
    pub fn len(&self) -> usize {
        self.len
    }
}
