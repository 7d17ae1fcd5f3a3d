//! The files of a capture: bounded in size and number, the oldest removed.
//!
//! Consumes whole blocks; a file never ends within one, also when the disk refuses the rest of it.
//! Names are `rialto-<sequence>-<time>.pcapng`; the sequence goes on over restarts, and other files in
//! the directory are left alone. Must not know what blocks say.

use crate::types::Nanos;
use std::collections::VecDeque;
use std::fs::{DirBuilder, File, OpenOptions, remove_file};
use std::io::{Error, ErrorKind, Result, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Where, how long, how many.
#[derive(Clone, Debug)]
pub struct FilesConfig {
    /// Directory; made with mode 0700 when it is not there.
    pub directory: PathBuf,
    /// Bytes of a file at most (one frame's block more when that alone is longer).
    pub file_bytes_max: u64,
    /// Files kept, at least 1.
    pub files_max: usize,
    /// Time as it stands in names, of characters that sort and that file systems take.
    pub time_text: fn(Nanos) -> String,
}

const BEGINS: &str = "rialto-";
const ENDS: &str = ".pcapng";

pub(super) struct Files {
    config: FilesConfig,
    /// Closed ones and the open one, oldest first.
    kept: VecDeque<PathBuf>,
    next: u64,
    open: Option<Open>,
}

struct Open {
    file: File,
    bytes: u64,
}

impl Files {
    pub(super) fn open(config: FilesConfig) -> Result<Files> {
        let dir = &config.directory;
        let named = |error: Error| Error::new(error.kind(), format!("{}: {error}", dir.display()));
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(named)?;
        let mut found: Vec<(u64, PathBuf)> = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(named)? {
            let path = entry.map_err(named)?.path();
            if let Some(sequence) = sequence(&path) {
                found.push((sequence, path));
            }
        }
        found.sort();
        let next = found.last().map_or(1, |(sequence, _)| sequence + 1);
        let kept = found.into_iter().map(|(_, path)| path).collect();
        let probe = dir.join(format!(".rialto-writable-{}", std::process::id()));
        create(&probe).and_then(|_| remove_file(&probe)).map_err(named)?;
        Ok(Files { config, kept, next, open: None })
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether `further` bytes fit into the open file.
    pub(super) fn has_room(&self, further: usize) -> bool {
        self.open
            .as_ref()
            .is_some_and(|open| open.bytes + further as u64 <= self.config.file_bytes_max)
    }

    /// Begins a file, empty; first removes the oldest ones, so that there are never too many.
    pub(super) fn begin(&mut self, now: Nanos) -> Result<()> {
        self.open = None;
        while self.kept.len() >= self.config.files_max.max(1) {
            let Some(oldest) = self.kept.front() else { break };
            match remove_file(oldest) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => self.kept.pop_front(),
            };
        }
        loop {
            let time = (self.config.time_text)(now);
            let path = self.config.directory.join(format!("{BEGINS}{:06}-{time}{ENDS}", self.next));
            self.next += 1;
            match create(&path) {
                // Somebody else's.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
                Ok(file) => {
                    self.kept.push_back(path);
                    self.open = Some(Open { file, bytes: 0 });
                    return Ok(());
                }
            }
        }
    }

    /// Appends whole blocks to the open file. Err: nothing of them is in it, and it is closed.
    pub(super) fn append(&mut self, blocks: &[u8]) -> Result<()> {
        let Some(open) = &mut self.open else { return Err(ErrorKind::NotFound.into()) };
        match open.file.write_all(blocks) {
            Ok(()) => {
                open.bytes += blocks.len() as u64;
                Ok(())
            }
            Err(error) => {
                if open.bytes > 0 {
                    // If even that fails, readers find a last block that is cut, and say so.
                    let _ = open.file.set_len(open.bytes);
                } else if let Some(path) = self.kept.pop_back() {
                    // An empty one would take the place of one that says something.
                    let _ = remove_file(path);
                }
                self.open = None;
                Err(error)
            }
        }
    }

    pub(super) fn close(&mut self) {
        self.open = None;
    }
}

fn create(path: &Path) -> Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Sequence of a name that is ours.
fn sequence(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let (digits, _) = name.strip_prefix(BEGINS)?.strip_suffix(ENDS)?.split_once('-')?;
    (digits.len() >= 6 && digits.bytes().all(|b| b.is_ascii_digit())).then_some(())?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn config(directory: &Path) -> FilesConfig {
        FilesConfig {
            directory: directory.into(),
            file_bytes_max: 100,
            files_max: 3,
            time_text: |now| format!("t{}", now.0),
        }
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<String> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_oldest_go_and_the_sequence_goes_on() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("a/b");
        let mut files = Files::open(config(&dir)).unwrap();
        std::fs::write(dir.join("rialto-note.pcapng"), b"not ours").unwrap();
        for i in 0..5 {
            files.begin(Nanos(i)).unwrap();
            files.append(&[7; 60]).unwrap();
            assert!(files.has_room(40) && !files.has_room(41));
        }
        let kept =
            ["rialto-000003-t2.pcapng", "rialto-000004-t3.pcapng", "rialto-000005-t4.pcapng"];
        assert_eq!(names(&dir), [&kept[..], &["rialto-note.pcapng"]].concat());
        for (path, mode) in [(&dir, 0o700), (&dir.join(kept[0]), 0o600)] {
            assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, mode);
        }
        drop(files);
        let mut files = Files::open(config(&dir)).unwrap();
        assert!(!files.is_open());
        files.begin(Nanos(9)).unwrap();
        assert_eq!(names(&dir)[2], "rialto-000006-t9.pcapng");
        assert_eq!(names(&dir).len(), 4);
    }

    #[test]
    fn a_directory_that_cannot_be_had_is_named() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        std::fs::write(&file, b"").unwrap();
        let error = Files::open(config(&file)).err().unwrap();
        assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
    }

    #[test]
    fn without_an_open_file_nothing_is_written() {
        let home = tempfile::tempdir().unwrap();
        let mut files = Files::open(config(home.path())).unwrap();
        assert!(files.append(&[1]).is_err());
        files.begin(Nanos(0)).unwrap();
        files.close();
        assert!(files.append(&[1]).is_err() && !files.has_room(0));
    }
}
