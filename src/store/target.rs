//! An archived segment, open for the archiver: its bytes, and behind them how far the archive is whole.
//!
//! Consumes groups of records; produces a file of the segment's bytes and two group marks behind
//! those, in blocks of their own, written in turn. Each group's mark names where the group begins: all
//! before was synced when the mark was written. One fdatasync makes group and mark durable, so
//! every acknowledged group but the last is vouched for without a sync more. Layout: `store.md`,
//! Group marks.

use super::record::checksum;
use super::segment::{SEGMENT_HEADER_BYTES, check_header, file_name, header_bytes, sync_dir};
use super::{LogOptions, OpenMode, StorageFile, StoreError};
use std::io;
use std::path::{Path, PathBuf};

const MAGIC: [u8; 8] = *b"RIALTOGM";
const VERSION: u32 = 1;
const MARK_BYTES: usize = 64;
/// Each mark in a block of its own: a torn write of one cannot touch the other.
const MARK_STRIDE: u64 = 4096;
/// Behind the segment's bytes.
const MARKS_BYTES: u64 = 2 * MARK_STRIDE;

/// Why something did not get to disk.
#[derive(Debug)]
pub(super) enum Failure {
    /// May pass: nothing was called durable, nothing is lost.
    Later(StoreError),
    /// For good.
    Final(StoreError),
}

/// The file of one archived segment.
pub(super) struct Target {
    pub(super) index: u64,
    pub(super) file: Box<dyn StorageFile>,
    path: PathBuf,
    /// Positions that the two marks name, 0 = none.
    marks: [u64; 2],
}

impl Target {
    /// Opens the archived segment `index` of `dir`, or makes it.
    pub(super) fn open(dir: &Path, options: &LogOptions, index: u64) -> Result<Target, Failure> {
        match Target::existing(dir, options, index).map_err(Failure::Later)? {
            Some(target) => Ok(target),
            None => {
                let target = Target::draft(dir, options, index).map_err(Failure::Later)?;
                target.publish(dir, options)?;
                Ok(target)
            }
        }
    }

    /// The file that is there. Its name is on the disk: the start of this run has synced the directory,
    /// and in this run nothing goes on after a [`Target::publish`] whose sync failed.
    pub(super) fn existing(
        dir: &Path,
        options: &LogOptions,
        index: u64,
    ) -> Result<Option<Target>, StoreError> {
        let path = dir.join(file_name(options.log, index));
        let file = match options.storage.open(&path, OpenMode::Write) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("open", &path, error)),
        };
        let read = |error| StoreError::io("read", &path, error);
        let mut header = [0; SEGMENT_HEADER_BYTES];
        file.read_exact_at(&mut header, 0).map_err(read)?;
        check_header(&header, options, index, &path)?;
        // Shorter when it was copied here by hand, or written before there were marks. One that is long
        // enough is left alone: it holds records.
        let wanted = options.segment_bytes + MARKS_BYTES;
        if file.len().map_err(read)? < wanted {
            file.allocate(0, wanted).map_err(|e| StoreError::io("allocate", &path, e))?;
        }
        let marks = read_marks(&*file, options, index).map_err(read)?;
        Ok(Some(Target { index, file, path, marks }))
    }

    /// Makes the file under another name, allocated, headed and synced, so that whoever finds it by
    /// its name finds it complete.
    pub(super) fn draft(
        dir: &Path,
        options: &LogOptions,
        index: u64,
    ) -> Result<Target, StoreError> {
        let path = dir.join(file_name(options.log, index));
        let draft = path.with_extension("tmp");
        let io = |operation| {
            let draft = draft.clone();
            move |error| StoreError::io(operation, &draft, error)
        };
        let file = options.storage.open(&draft, OpenMode::Create).map_err(io("create"))?;
        file.allocate(0, options.segment_bytes + MARKS_BYTES).map_err(io("allocate"))?;
        file.write_all_at(&header_bytes(options, index), 0).map_err(io("write"))?;
        file.sync_all().map_err(io("sync"))?;
        Ok(Target { index, file, path, marks: [0; 2] })
    }

    /// Gives a draft its name, durably. A failed sync of the directory is final, as that of a file is:
    /// the file is found by its name from here on, and no later sync would tell that the disk lacks it.
    pub(super) fn publish(&self, dir: &Path, options: &LogOptions) -> Result<(), Failure> {
        let draft = self.path.with_extension("tmp");
        options
            .storage
            .rename(&draft, &self.path)
            .map_err(|e| Failure::Later(StoreError::io("rename", &draft, e)))?;
        sync_dir(&*options.storage, dir).map_err(Failure::Final)
    }

    /// Its name when published.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Notes that everything up to `position` is synced. Durable with the group that follows.
    pub(super) fn mark(
        &mut self,
        options: &LogOptions,
        position: u64,
        seq: u64,
    ) -> Result<(), StoreError> {
        let newest = self.marks[0].max(self.marks[1]);
        if position <= newest {
            return Ok(()); // a restart goes over what was archived and not confirmed once more
        }
        let at = usize::from(self.marks[0] == newest && newest > 0);
        self.file
            .write_all_at(
                &encode(options, self.index, position, seq),
                options.segment_bytes + at as u64 * MARK_STRIDE,
            )
            .map_err(|e| StoreError::io("write", &self.path, e))?;
        self.marks[at] = position;
        Ok(())
    }
}

/// Log position up to which the archived segments in `dir` say that they are whole; 0 = they do not.
/// `indices` are those that exist, ascending.
pub(super) fn vouched(
    dir: &Path,
    options: &LogOptions,
    indices: &[u64],
) -> Result<u64, StoreError> {
    let mut newest = 0;
    // A segment just begun has none yet.
    for &index in indices.iter().rev().take(2) {
        let path = dir.join(file_name(options.log, index));
        let marks = options
            .storage
            .open(&path, OpenMode::Read)
            .and_then(|file| read_marks(&*file, options, index))
            .map_err(|e| StoreError::io("read", &path, e))?;
        newest = newest.max(marks[0]).max(marks[1]);
    }
    Ok(newest)
}

/// Takes back what the marks of a segment say, durably: its tail is about to be cut.
pub(super) fn clear_marks(file: &dyn StorageFile, options: &LogOptions) -> io::Result<()> {
    if file.len()? <= options.segment_bytes {
        return Ok(());
    }
    file.write_all_at(&[0; MARKS_BYTES as usize], options.segment_bytes)?;
    file.sync_data()
}

fn read_marks(file: &dyn StorageFile, options: &LogOptions, index: u64) -> io::Result<[u64; 2]> {
    let mut marks = [0; 2];
    for (at, mark) in marks.iter_mut().enumerate() {
        let mut bytes = [0; MARK_BYTES];
        match file.read_exact_at(&mut bytes, options.segment_bytes + at as u64 * MARK_STRIDE) {
            Ok(()) => *mark = decode(&bytes, options, index).unwrap_or(0),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(error),
        }
    }
    Ok(marks)
}

fn encode(options: &LogOptions, index: u64, position: u64, seq: u64) -> [u8; MARK_BYTES] {
    let mut out = [0; MARK_BYTES];
    out[0..8].copy_from_slice(&MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    for (at, word) in (16..).step_by(8).zip([options.log_id, index, position, seq]) {
        out[at..at + 8].copy_from_slice(&word.to_le_bytes());
    }
    let crc = checksum(&out[16..]);
    out[12..16].copy_from_slice(&crc.to_le_bytes());
    out
}

/// The position that a whole mark of this very segment names.
fn decode(bytes: &[u8; MARK_BYTES], options: &LogOptions, index: u64) -> Option<u64> {
    let word = |at: usize| {
        let mut le = [0; 8];
        le.copy_from_slice(&bytes[at..at + 8]);
        u64::from_le_bytes(le)
    };
    let whole = bytes[0..8] == MAGIC
        && bytes[8..12] == VERSION.to_le_bytes()
        && bytes[12..16] == checksum(&bytes[16..]).to_le_bytes()
        && (word(16), word(24)) == (options.log_id, index);
    whole.then(|| word(32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Faults, LogIndex, MemoryStorage, Storage, Tier, file_name};
    use std::sync::Arc;

    #[test]
    fn of_two_marks_the_whole_and_higher_one_counts() {
        let storage = Arc::new(MemoryStorage::new(1, Path::new("/mem")));
        let dir = Path::new("/day");
        storage.create_dir_all(dir).unwrap();
        let options = LogOptions {
            storage: storage.clone(),
            log: LogIndex::Command,
            hot: None,
            archive: Some(dir.into()),
            segment_bytes: 8192,
            log_id: 9,
            hot_segments_max: 0,
        };
        let said = || vouched(dir, &options, &[0]).unwrap();
        let path = dir.join(file_name(LogIndex::Command, 0));
        let mut target = Target::open(dir, &options, 0).unwrap();
        assert_eq!(said(), 0);
        for position in [4096, 4128, 4160, 4224] {
            target.mark(&options, position, 1).unwrap();
            assert_eq!(said(), position);
        }
        target.mark(&options, 4160, 1).unwrap();
        assert_eq!(said(), 4224, "never back");
        let mut target = Target::open(dir, &options, 0).unwrap();
        target.mark(&options, 4256, 1).unwrap();
        let whole = storage.look(&path).unwrap();
        let newest =
            [8192, 8192 + 4096].into_iter().find(|at| whole[at + 32..][..2] == [0xA0, 0x10]);
        let newest = newest.expect("one of them says 4256") as u64;
        for bit in 0..MARK_BYTES as u64 * 8 {
            assert!(storage.damage(&path, newest + bit / 8, 1 << (bit % 8)));
            assert_eq!(said(), 4224, "bit {bit}");
            storage.put(&path, &whole).unwrap();
        }
        clear_marks(&*storage.open(&path, OpenMode::Write).unwrap(), &options).unwrap();
        assert_eq!(said(), 0);
        // A file that is long enough is opened as it is, on a disk that takes nothing more.
        let nothing = Faults { write_eio_ppm: 1_000_000, ..Faults::default() };
        storage.set_faults(Tier::Disk, nothing);
        Target::open(dir, &options, 0).unwrap();
        storage.set_faults(Tier::Disk, Faults::default());
        // An archive from before there were marks.
        storage.put(&path, &whole[..8192]).unwrap();
        assert_eq!(said(), 0);
        let mut target = Target::open(dir, &options, 0).unwrap();
        target.mark(&options, 4096, 1).unwrap();
        assert_eq!(said(), 4096);
    }
}
