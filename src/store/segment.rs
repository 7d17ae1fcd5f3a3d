//! A segment: one file of a log, mapped whole.
//!
//! Consumes a directory and a number; hands out published records and, to the one writer, the
//! unpublished rest. A segment becomes visible under its name only when complete (header, every
//! page allocated); from then on it is never truncated or overwritten, only unlinked, because a
//! process that maps it would die of SIGBUS or read other bytes than it was promised.

use super::record::{HEADER_BYTES, Header, KIND_PAD, RECORD_ALIGN, checksum};
use super::{
    Damage, LogIndex, LogOptions, Mapping, OpenMode, Storage, StorageFile, StoreError, publish,
};
use crate::planted::{self, Bug};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

/// Bytes before the first record.
pub(super) const SEGMENT_HEADER_BYTES: usize = 4096;
const MAGIC: [u8; 8] = *b"RIALTOSG";
const VERSION: u32 = 1;
/// Bytes of the segment header that carry something; the rest is zero.
const HEADER_USED: usize = 48;
/// Smallest page: touching each of these touches each page.
const PAGE_BYTES: u64 = 4096;

/// File name of segment `index`.
pub(super) fn file_name(log: LogIndex, index: u64) -> String {
    format!("{}-{index:010}.seg", log.name())
}

/// Indices of the segments of `log` in `dir`, ascending; none when the directory does not exist.
pub(super) fn list(
    storage: &dyn Storage,
    dir: &Path,
    log: LogIndex,
) -> Result<Vec<u64>, StoreError> {
    let names = match storage.list(dir) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("list", dir, error)),
    };
    let mut found = Vec::new();
    for name in names {
        let index = name
            .to_str()
            .and_then(|n| n.strip_prefix(log.name()))
            .and_then(|n| n.strip_prefix('-'))
            .and_then(|n| n.strip_suffix(".seg"))
            .and_then(|n| n.parse::<u64>().ok());
        if let Some(index) = index {
            found.push(index);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The segment header of segment `index`, whole.
pub(super) fn header_bytes(options: &LogOptions, index: u64) -> [u8; SEGMENT_HEADER_BYTES] {
    let mut out = [0; SEGMENT_HEADER_BYTES];
    let name = options.log.name().as_bytes();
    out[0..8].copy_from_slice(&MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    out[16..24].copy_from_slice(&options.log_id.to_le_bytes());
    out[24..32].copy_from_slice(&index.to_le_bytes());
    out[32..40].copy_from_slice(&options.segment_bytes.to_le_bytes());
    out[40..40 + name.len()].copy_from_slice(name);
    let crc = checksum(&out[16..HEADER_USED]);
    out[12..16].copy_from_slice(&crc.to_le_bytes());
    out
}

/// What a segment header says: log id, index, segment size.
pub(super) fn read_header(
    bytes: &[u8],
    log: LogIndex,
    path: &Path,
) -> Result<(u64, u64, u64), StoreError> {
    let bad = |why: &str| StoreError::NotALog { path: path.into(), why: why.into() };
    let bytes: &[u8; HEADER_USED] = bytes
        .get(..HEADER_USED)
        .and_then(|b| b.try_into().ok())
        .ok_or_else(|| bad("shorter than a segment header"))?;
    let word = |at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[at..at + 8]);
        u64::from_le_bytes(word)
    };
    if bytes[0..8] != MAGIC {
        return Err(bad("no segment of a log"));
    }
    if bytes[8..12] != VERSION.to_le_bytes() {
        return Err(bad("segment of another version"));
    }
    if bytes[12..16] != checksum(&bytes[16..]).to_le_bytes() {
        return Err(bad("segment header is damaged"));
    }
    let mut name = [0; 8];
    name[..log.name().len()].copy_from_slice(log.name().as_bytes());
    if bytes[40..48] != name {
        return Err(bad("segment of the other log"));
    }
    Ok((word(16), word(24), word(32)))
}

/// Refuses a header that is not that of segment `index` of this very log.
pub(super) fn check_header(
    bytes: &[u8],
    options: &LogOptions,
    index: u64,
    path: &Path,
) -> Result<(), StoreError> {
    let (log_id, found_index, segment_bytes) = read_header(bytes, options.log, path)?;
    if log_id != options.log_id {
        return Err(StoreError::ForeignLog {
            path: path.into(),
            found: log_id,
            wanted: options.log_id,
        });
    }
    if found_index != index || segment_bytes != options.segment_bytes {
        let why = format!(
            "header says segment {found_index} of {segment_bytes} bytes, \
             wanted {index} of {}",
            options.segment_bytes
        );
        return Err(StoreError::NotALog { path: path.into(), why });
    }
    Ok(())
}

/// A mapped segment.
pub(super) struct Segment {
    map: Mapping,
    /// Bytes used, a multiple of 32; less than `segment_bytes` only for a file cut short.
    bytes: usize,
    index: u64,
    path: PathBuf,
    writable: bool,
}

impl Segment {
    /// Maps segment `index` in `dir`; `None` when there is no such file.
    pub(super) fn open(
        dir: &Path,
        options: &LogOptions,
        index: u64,
        writable: bool,
    ) -> Result<Option<Segment>, StoreError> {
        let path = dir.join(file_name(options.log, index));
        let mode = if writable { OpenMode::Write } else { OpenMode::Read };
        let file = match options.storage.open(&path, mode) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("open", &path, error)),
        };
        let len = file.len().map_err(|e| StoreError::io("stat", &path, e))?;
        if len < SEGMENT_HEADER_BYTES as u64 {
            let why = "shorter than a segment header".into();
            return Err(StoreError::NotALog { path, why });
        }
        if writable && len < options.segment_bytes {
            let why = format!("{len} bytes long, wanted {}", options.segment_bytes);
            return Err(StoreError::NotALog { path, why });
        }
        let bytes = len.min(options.segment_bytes) as usize / RECORD_ALIGN * RECORD_ALIGN;
        let map = file.map(bytes, writable).map_err(|e| StoreError::io("map", &path, e))?;
        let segment = Segment { map, bytes, index, path, writable };
        check_header(segment.published(0, HEADER_USED), options, index, &segment.path)?;
        Ok(Some(segment))
    }

    /// Number of the segment in its log, from 0.
    pub(super) fn index(&self) -> u64 {
        self.index
    }

    /// Its file, as opened.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Header of the record published at `offset`. `check` = checksum too. A bad offset is `Length`.
    #[inline]
    pub(super) fn header(&self, offset: usize, check: bool) -> Result<Header, Damage> {
        if offset < SEGMENT_HEADER_BYTES
            || !offset.is_multiple_of(RECORD_ALIGN)
            || offset > self.bytes
        {
            return Err(Damage::Length);
        }
        if offset == self.bytes {
            return Err(Damage::Absent);
        }
        let base = self.map.base();
        // SAFETY: offset is a multiple of 32 below `bytes`, itself a multiple of 32, so the header's
        // 32 bytes lie inside the mapping and each field is aligned. `len` is only ever accessed
        // as an atomic; `publish::length` pairs with `publish::record` in `Segment::publish`, so all other
        // bytes of the record were written before and are never written again.
        let header = unsafe {
            let at = base.add(offset);
            let len = publish::length(AtomicU32::from_ptr(at.cast::<u32>()));
            let len = u32::from_le(len);
            if len == 0 {
                return Err(Damage::Absent);
            }
            Header {
                len,
                checksum: u32::from_le(at.add(Header::CHECKSUM).cast::<u32>().read()),
                seq: u64::from_le(at.add(Header::SEQ).cast::<u64>().read()),
                time: u64::from_le(at.add(Header::TIME).cast::<u64>().read()),
                term: u32::from_le(at.add(Header::TERM).cast::<u32>().read()),
                kind: u16::from_le(at.add(Header::KIND).cast::<u16>().read()),
                flags: u16::from_le(at.add(Header::FLAGS).cast::<u16>().read()),
            }
        };
        header.check_length(self.bytes - offset)?;
        if check && !planted::is(Bug::NoChecksum) {
            let covered = self.published(offset + Header::SEQ, header.checked_bytes());
            if checksum(covered) != header.checksum {
                return Err(Damage::Checksum);
            }
        }
        Ok(header)
    }

    /// Payload of the record at `offset`, whose header this is.
    #[inline]
    pub(super) fn payload(&self, offset: usize, header: &Header) -> &[u8] {
        self.published(offset + HEADER_BYTES, header.len as usize - HEADER_BYTES)
    }

    /// `len` bytes that were published, or that nobody writes now. Panics outside the mapping.
    #[inline]
    pub(super) fn published(&self, offset: usize, len: usize) -> &[u8] {
        assert!(offset <= self.bytes && len <= self.bytes - offset);
        // SAFETY: inside the mapping, which lives as long as `self`. Callers ask only for the
        // segment header, for records whose length they read with Acquire, or at recovery, when
        // there is no writer: bytes that nobody writes any more.
        unsafe { std::slice::from_raw_parts(self.map.base().add(offset), len) }
    }

    /// Writes a record at `offset` and publishes it.
    ///
    /// # Safety
    /// The caller is the only writer of this log; nothing was published at or behind `offset`, and
    /// the bytes there are zero.
    #[inline]
    pub(super) unsafe fn publish(
        &self,
        offset: usize,
        header: &mut Header,
        fill: impl FnOnce(&mut [u8]),
    ) {
        let len = header.len as usize;
        assert!(self.writable && offset >= SEGMENT_HEADER_BYTES);
        assert!(offset.is_multiple_of(RECORD_ALIGN) && offset <= self.bytes);
        assert!(len >= HEADER_BYTES && len <= self.bytes - offset);
        let base = self.map.base();
        // SAFETY: asserted to lie inside a writable mapping, fields aligned as in `header`. By the
        // caller's promise nobody reads these bytes before the length is stored (`publish::record`),
        // and nobody else writes them.
        unsafe {
            let at = base.add(offset);
            let length = AtomicU32::from_ptr(at.add(Header::LEN).cast::<u32>());
            publish::record(length, header.len.to_le(), || {
                at.add(Header::SEQ).cast::<u64>().write(header.seq.to_le());
                at.add(Header::TIME).cast::<u64>().write(header.time.to_le());
                at.add(Header::TERM).cast::<u32>().write(header.term.to_le());
                at.add(Header::KIND).cast::<u16>().write(header.kind.to_le());
                at.add(Header::FLAGS).cast::<u16>().write(header.flags.to_le());
                if header.kind != KIND_PAD {
                    fill(std::slice::from_raw_parts_mut(at.add(HEADER_BYTES), len - HEADER_BYTES));
                }
                let covered =
                    std::slice::from_raw_parts(at.add(Header::SEQ), header.checked_bytes());
                header.checksum = checksum(covered);
                at.add(Header::CHECKSUM).cast::<u32>().write(header.checksum.to_le());
            });
        }
    }

    /// Zeroes everything from `offset` on; true when something was not zero. Recovery only.
    ///
    /// # Safety
    /// No writer is open, and no reader reads behind `offset`.
    pub(super) unsafe fn clear_from(&self, offset: usize) -> bool {
        assert!(self.writable && offset >= SEGMENT_HEADER_BYTES);
        if self.published(offset, self.bytes - offset).iter().all(|&b| b == 0) {
            return false;
        }
        // SAFETY: inside the writable mapping; by the caller's promise nobody else touches it.
        unsafe { self.map.base().add(offset).write_bytes(0, self.bytes - offset) };
        true
    }

    /// Copies `bytes` to `offset` of a segment that is not visible yet.
    ///
    /// # Safety
    /// Nobody else uses the segment.
    unsafe fn copy_in(&self, offset: usize, bytes: &[u8]) {
        assert!(self.writable && offset <= self.bytes && bytes.len() <= self.bytes - offset);
        // SAFETY: inside the writable mapping, and disjoint: `bytes` is memory of its own.
        unsafe {
            let to = self.map.base().add(offset);
            to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
    }
}

/// A segment in the making, under another name until it is complete.
pub(super) struct Draft {
    segment: Segment,
    file: Box<dyn StorageFile>,
    storage: Arc<dyn Storage>,
    final_path: PathBuf,
    done: u64,
}

impl Draft {
    /// Begins segment `index` in `dir`. Allocates nothing yet.
    pub(super) fn begin(dir: &Path, options: &LogOptions, index: u64) -> Result<Draft, StoreError> {
        let final_path = dir.join(file_name(options.log, index));
        let path = final_path.with_extension("tmp");
        let io = |operation| {
            let path = path.clone();
            move |error| StoreError::io(operation, &path, error)
        };
        let storage = Arc::clone(&options.storage);
        let file = storage.open(&path, OpenMode::Create).map_err(io("create"))?;
        file.set_len(options.segment_bytes).map_err(io("extend"))?;
        let bytes = options.segment_bytes as usize;
        let map = file.map(bytes, true).map_err(io("map"))?;
        let segment = Segment { map, bytes, index, path, writable: true };
        Ok(Draft { segment, file, storage, final_path, done: 0 })
    }

    /// Allocates and touches the next `bytes`, so that the writer meets no page fault; true when the
    /// whole segment is ready. An error (no space) leaves the draft as it was.
    pub(super) fn advance(&mut self, bytes: u64) -> Result<bool, StoreError> {
        let total = self.segment.bytes as u64;
        let chunk = bytes.min(total - self.done);
        if chunk > 0 {
            self.file
                .allocate(self.done, chunk)
                .map_err(|e| StoreError::io("allocate", &self.segment.path, e))?;
            let base = self.segment.map.base();
            for at in (self.done..self.done + chunk).step_by(PAGE_BYTES as usize) {
                // SAFETY: inside the writable mapping of a file that nobody else knows; the page is
                // allocated and zero. Volatile: the store is wanted for its page fault.
                unsafe { base.add(at as usize).write_volatile(0) };
            }
            self.done += chunk;
        }
        Ok(self.done == total)
    }

    /// Gives it up, and its space.
    pub(super) fn discard(self) {
        // A file that stays is truncated by the next attempt, or removed by the next start.
        let _ = self.storage.unlink(&self.segment.path);
    }

    /// Completes the segment with records from `prefix` (bytes from offset 4096 on) and makes it
    /// visible.
    pub(super) fn finish(
        mut self,
        options: &LogOptions,
        prefix: &[u8],
    ) -> Result<Segment, StoreError> {
        while !self.advance(u64::MAX)? {}
        // SAFETY: the file still has its temporary name; nobody else maps it.
        unsafe {
            self.segment.copy_in(0, &header_bytes(options, self.segment.index));
            self.segment.copy_in(SEGMENT_HEADER_BYTES, prefix);
        }
        // On a disk a power cut would leave its name without its header. In memory it costs nothing.
        self.file.sync_all().map_err(|e| StoreError::io("sync", &self.segment.path, e))?;
        self.storage
            .rename(&self.segment.path, &self.final_path)
            .map_err(|e| StoreError::io("rename", &self.segment.path, e))?;
        if let Some(dir) = self.final_path.parent() {
            sync_dir(&*self.storage, dir)?;
        }
        self.segment.path = self.final_path;
        Ok(self.segment)
    }
}

/// Makes a creation, rename or unlink in `dir` durable.
pub(super) fn sync_dir(storage: &dyn Storage, dir: &Path) -> Result<(), StoreError> {
    storage.sync_dir(dir).map_err(|e| StoreError::io("sync", dir, e))
}
