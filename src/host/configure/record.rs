//! The record: every old value of the host, in a file that is whole at any moment.

use crate::host::cpus;
use crate::host::surface::{Key, chosen};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How two texts of a value are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A whole number.
    Number,
    /// CPUs as a mask, `f` or `0000000f`.
    Mask,
    /// CPUs as a list, `0-3`.
    List,
    /// One word of several, `always [madvise] never`.
    Choice,
}

impl Kind {
    /// The value without the words around it, as it is written back.
    pub fn plain(self, text: &str) -> String {
        match self {
            Kind::Choice => chosen(text).to_string(),
            _ => text.trim().to_string(),
        }
    }

    /// Whether two texts say the same.
    pub fn same(self, a: &str, b: &str) -> bool {
        let (a, b) = (self.plain(a), self.plain(b));
        match self {
            Kind::Number => a == b || a.parse::<i64>().is_ok_and(|a| b.parse() == Ok(a)),
            Kind::Mask => {
                a == b || cpus::parse_mask(&a).is_some_and(|a| cpus::parse_mask(&b) == Some(a))
            }
            Kind::List => {
                a == b || cpus::parse_list(&a).is_some_and(|a| cpus::parse_list(&b) == Some(a))
            }
            Kind::Choice => a == b,
        }
    }
}

/// One value that configure changes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Stage that it belongs to.
    pub stage: String,
    /// What.
    pub key: Key,
    /// How its texts are compared.
    pub kind: Kind,
    /// Value before the first init.
    pub old: String,
    /// Value that the last init gave it.
    pub new: String,
}

/// Everything that was there before.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// 1.
    pub version: u32,
    /// Boot in which it was made: a later boot has values of its own.
    pub boot: String,
    /// In the order in which they are changed.
    pub entries: Vec<Entry>,
}

impl Record {
    /// Without entries.
    pub fn new(boot: String) -> Record {
        Record { version: 1, boot, entries: Vec::new() }
    }
}

/// The record cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file system says no.
    #[error("record {}: {what}: {cause}; --state FILE names another place", path.display())]
    File {
        /// File.
        path: PathBuf,
        /// What was done with it.
        what: &'static str,
        /// The system's word.
        cause: io::Error,
    },
    /// It is not one of ours.
    #[error("record {} cannot be understood ({why}): the old values are not known; look at it, set them by hand or boot, then remove it", path.display())]
    Damaged {
        /// File.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Somebody else is at it.
    #[error("another rialto configure is at work with {}: wait for it", path.display())]
    Busy {
        /// File.
        path: PathBuf,
    },
}

/// Where the record is kept. Each verb leaves it whole: the old one or the new one.
pub trait Keeper {
    /// The record, `None` when there is none.
    fn load(&self) -> Result<Option<Record>, RecordError>;
    /// Replaces it, durably.
    fn save(&self, record: &Record) -> Result<(), RecordError>;
    /// Removes it, durably.
    fn remove(&self) -> Result<(), RecordError>;
}

/// A file. Holds a lock on its directory, so that two processes do not undo each other's work.
#[derive(Debug)]
pub struct FileKeeper {
    path: PathBuf,
    dir: File,
}

impl FileKeeper {
    /// Makes the directory when it is missing, and locks it. The lock ends with this value.
    pub fn open(path: &Path) -> Result<FileKeeper, RecordError> {
        let fail = |what, cause| RecordError::File { path: path.to_path_buf(), what, cause };
        let place = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        std::fs::create_dir_all(place).map_err(|e| fail("make its directory", e))?;
        let dir = File::open(place).map_err(|e| fail("open its directory", e))?;
        // SAFETY: a descriptor that lives through the call; no pointers.
        if unsafe { libc::flock(dir.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
            return Ok(FileKeeper { path: path.to_path_buf(), dir });
        }
        let cause = io::Error::last_os_error();
        match cause.kind() {
            io::ErrorKind::WouldBlock => Err(RecordError::Busy { path: path.to_path_buf() }),
            _ => Err(fail("lock its directory", cause)),
        }
    }

    fn fail(&self, what: &'static str) -> impl Fn(io::Error) -> RecordError + '_ {
        move |cause| RecordError::File { path: self.path.clone(), what, cause }
    }
}

impl Keeper for FileKeeper {
    fn load(&self) -> Result<Option<Record>, RecordError> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.fail("read it")(error)),
        };
        let damaged = |why: String| RecordError::Damaged { path: self.path.clone(), why };
        let meta = std::fs::metadata(&self.path).map_err(self.fail("read it"))?;
        // What root writes back comes from here: nobody else may have had his hands in it.
        // SAFETY: no arguments, no failure.
        let user = unsafe { libc::geteuid() };
        if meta.uid() != user || meta.mode() & 0o022 != 0 {
            let (owner, mode) = (meta.uid(), meta.mode() & 0o777);
            return Err(damaged(format!(
                "it belongs to user {owner} with mode {mode:03o}, not to user {user} alone"
            )));
        }
        let record: Record = serde_json::from_str(&text).map_err(|e| damaged(e.to_string()))?;
        if record.version != 1 {
            return Err(damaged(format!("its version is {}, not 1", record.version)));
        }
        match record.entries.iter().find(|entry| !entry.key.is_setting()) {
            Some(entry) => Err(damaged(format!("{} is no setting of a host", entry.key))),
            None => Ok(Some(record)),
        }
    }

    fn save(&self, record: &Record) -> Result<(), RecordError> {
        use std::os::unix::fs::OpenOptionsExt;
        let mut new = self.path.clone().into_os_string();
        new.push(".new");
        let text = serde_json::to_string_pretty(record)
            .map_err(|e| self.fail("write it")(io::Error::other(e)))?;
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o644)
            .open(&new)
            .map_err(self.fail("write it"))?;
        file.write_all(text.as_bytes()).map_err(self.fail("write it"))?;
        file.sync_all().map_err(self.fail("write it"))?;
        std::fs::rename(&new, &self.path).map_err(self.fail("put it in place"))?;
        self.dir.sync_all().map_err(self.fail("put it in place"))
    }

    fn remove(&self) -> Result<(), RecordError> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.fail("remove it")(error))
            }
            _ => self.dir.sync_all().map_err(self.fail("remove it")),
        }
    }
}
