//! What can go wrong in the store.

use std::io;
use std::path::{Path, PathBuf};

/// The host or the files say no. Start-up and housekeeping only.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A system call failed.
    #[error("cannot {operation} {path}: {cause}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// The system's answer.
        cause: io::Error,
    },
    /// Another process writes here.
    #[error("{path} is locked by process {pid}: another exchange writes there")]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Its holder as far as known, 0 = unknown.
        pid: u32,
    },
    /// The file is not what its name says.
    #[error("{path} is not usable: {why}")]
    NotALog {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The file belongs to another log or day.
    #[error("{path} belongs to another log: id {found:016x}, wanted {wanted:016x}")]
    ForeignLog {
        /// The file.
        path: PathBuf,
        /// The id in its header.
        found: u64,
        /// The id of this log.
        wanted: u64,
    },
    /// The hot directory is of another life of the day, and is all there is of its last records.
    #[error(
        "hot directory {hot} holds {records} records of the {log} log of {owner} that no archive has, and \
         {dir} is not the directory they were written for: mount the disk that it lies on, or remove \
         the hot directory by hand to give them up"
    )]
    OnlyCopy {
        /// The hot directory.
        hot: PathBuf,
        /// The day's directory that its control page names.
        owner: PathBuf,
        /// The day's directory that was found.
        dir: PathBuf,
        /// Records written and not archived.
        records: u64,
        /// Of which log.
        log: &'static str,
    },
    /// A record that was confirmed is damaged, or gone.
    #[error(
        "{path} is damaged at offset {offset} (log position {position}): {why}; \
         everything up to position {confirmed} was confirmed, so start is refused"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Offset of the record in the file, bytes.
        offset: u64,
        /// The same place as log position.
        position: u64,
        /// End of what was confirmed, log position.
        confirmed: u64,
        /// What is wrong.
        why: Damage,
    },
    /// A segment between the first and the last is gone.
    #[error("segment {path} is missing")]
    Missing {
        /// The file looked for.
        path: PathBuf,
    },
    /// A value of the options is out of range.
    #[error("store option {option} = {value}: {allowed}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// Value given.
        value: String,
        /// What is allowed.
        allowed: &'static str,
    },
}

impl StoreError {
    pub(crate) fn io(operation: &'static str, path: &Path, cause: io::Error) -> StoreError {
        StoreError::Io { operation, path: path.into(), cause }
    }

    /// The system's error number, when a system call failed.
    pub fn errno(&self) -> Option<i32> {
        match self {
            StoreError::Io { cause, .. } => cause.raw_os_error(),
            _ => None,
        }
    }

    /// True when a file system has no room: ENOSPC, or ENOMEM of a mapping on hugetlbfs, which reserves
    /// its pages.
    pub(super) fn is_no_room(&self) -> bool {
        matches!(self.errno(), Some(libc::ENOSPC | libc::ENOMEM))
    }
}

/// What is wrong with a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Damage {
    /// Length 0: nothing was published here.
    #[error("no record")]
    Absent,
    /// Length out of range.
    #[error("length out of range")]
    Length,
    /// Checksum differs.
    #[error("checksum differs")]
    Checksum,
    /// Sequence number is not the previous one plus 1.
    #[error("sequence broken")]
    Sequence,
    /// Term went back.
    #[error("term went back")]
    Term,
}

/// Why a reader cannot go on. Small: it travels through hot loops.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A committed or confirmed record is damaged.
    #[error("record at log position {position} is damaged: {why}")]
    Damaged {
        /// Where.
        position: u64,
        /// What is wrong.
        why: Damage,
    },
    /// The next segment cannot be opened.
    #[error(transparent)]
    Open(#[from] Box<StoreError>),
}

/// Why an append was refused. Nothing was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AppendError {
    /// The next segment is not ready (archiver late, or hot tier full): try again later.
    #[error("the next segment is not ready")]
    Full,
    /// The record is longer than any segment takes.
    #[error("the record is too long")]
    TooLong,
}
