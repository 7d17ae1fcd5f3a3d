//! The one writer of a log.
//!
//! Consumes payloads; produces published records and the written mark. Segments come prepared from
//! another thread; when the next one is not there, the answer is `Full`, never a wait.

use super::confirmed::ConfirmedFile;
use super::pool::Pool;
use super::publish::Receiver;
use super::record::{HEADER_BYTES, Header, KIND_PAD, RECORD_BYTES_MAX, record_bytes};
use super::segment::{Draft, SEGMENT_HEADER_BYTES, Segment, file_name, list};
use super::{AppendError, Control, Log, LogIndex, Mark, Recovered, StoreError};
use crate::planted::{self, Bug};
use crate::types::{Nanos, Seq};
use std::path::Path;
use std::sync::Arc;

/// Where an appended record lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    /// Its number.
    pub seq: Seq,
    /// Its start, log position.
    pub position: u64,
}

/// Appends records. One per log.
pub struct Writer {
    segment: Arc<Segment>,
    /// Where the next record goes.
    offset: usize,
    /// Log position of the segment's first byte.
    base: u64,
    segment_bytes: usize,
    record_bytes_max: usize,
    next_seq: u64,
    log: LogIndex,
    control: Arc<Control>,
    pool: Arc<Pool>,
    next_segments: Receiver<Arc<Segment>>,
}

impl Writer {
    /// Continues the log where recovery ended: maps its last segment (copied back from the archive
    /// when the hot tier is gone, made when the log is new), prepares the next one, sets the written
    /// mark. Panics on a second writer of the same log, or on a log opened for reading.
    pub fn open(log: &Log, recovered: &Recovered) -> Result<Writer, StoreError> {
        let control = Arc::clone(log.control().expect("a log opened for writing"));
        let pool = Arc::clone(log.pool.as_ref().expect("a log opened for writing"));
        let next_segments = pool.take_writer_end().expect("one writer per log");
        let options = log.options();
        let hot = options.hot.as_deref().expect("a log opened for writing");
        let position = options.normal(recovered.position);
        let (index, offset) = options.split(position);

        let segment = match Segment::open(hot, options, index, true)? {
            Some(segment) => segment,
            None => {
                let archived = match &options.archive {
                    Some(dir) if offset > SEGMENT_HEADER_BYTES => {
                        Segment::open(dir, options, index, false)?
                    }
                    _ => None,
                };
                let prefix = match &archived {
                    Some(segment) => {
                        segment.published(SEGMENT_HEADER_BYTES, offset - SEGMENT_HEADER_BYTES)
                    }
                    None => &[],
                };
                make_segment(log, hot, index, prefix)?
            }
        };
        assert_eq!(
            segment.header(offset, true),
            Err(super::Damage::Absent),
            "recovery ends where nothing is published"
        );
        let segment = pool.start(segment);
        pool.add(make_segment(log, hot, index + 1, &[])?);

        control.set_written(
            options.log,
            Mark { seq: Seq(recovered.next_seq.0.saturating_sub(1)), position },
        );
        Ok(Writer {
            segment,
            offset,
            base: index * options.segment_bytes,
            segment_bytes: options.segment_bytes as usize,
            record_bytes_max: options.record_bytes_max(),
            next_seq: recovered.next_seq.0,
            log: options.log,
            control,
            pool,
            next_segments,
        })
    }

    /// Appends one record of `payload_len` bytes, which `fill` writes (all of them; they start as
    /// zeros), and publishes it as written (not as committed). `kind` is any but
    /// [`KIND_PAD`](super::KIND_PAD) (else panics). O(1), no system call, no allocation.
    #[inline]
    pub fn append(
        &mut self,
        kind: u16,
        flags: u16,
        time: Nanos,
        term: u32,
        payload_len: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<Appended, AppendError> {
        assert!(kind != KIND_PAD, "kind 0xFFFF is the pad's");
        if payload_len > self.record_bytes_max - HEADER_BYTES {
            return Err(AppendError::TooLong);
        }
        let stride = record_bytes(payload_len);
        if stride > self.segment_bytes - self.offset {
            self.roll()?;
        }
        let mut header = Header {
            len: (HEADER_BYTES + payload_len) as u32,
            checksum: 0,
            seq: self.next_seq,
            time: time.0,
            term,
            kind,
            flags,
        };
        // SAFETY: `take_writer_end` gives out one writer per log, the data directory's lock one
        // process; records up to `offset` are published and nothing behind it: prepared segments
        // and cleared tails are zero, and every append moves `offset` behind what it wrote.
        unsafe { self.segment.publish(self.offset, &mut header, fill) };
        let appended =
            Appended { seq: Seq(self.next_seq), position: self.base + self.offset as u64 };
        self.offset += stride;
        self.next_seq += 1;
        self.control.set_written(self.log, Mark { seq: appended.seq, position: self.position() });
        Ok(appended)
    }

    /// Fills the segment up and goes to the next one, if it is there.
    #[cold]
    fn roll(&mut self) -> Result<(), AppendError> {
        let next = self.next_segments.try_recv().map_err(|_| AppendError::Full)?;
        assert_eq!(next.index(), self.segment.index() + 1, "segments come in order");
        let rest = self.segment_bytes - self.offset;
        if rest > 0 && !planted::is(Bug::NoPad) {
            let mut pad = Header {
                len: rest as u32,
                checksum: 0,
                seq: self.next_seq,
                time: 0,
                term: 0,
                kind: KIND_PAD,
                flags: 0,
            };
            // SAFETY: as in `append`.
            unsafe { self.segment.publish(self.offset, &mut pad, |_| {}) };
        }
        // The pool keeps the old mapping: no munmap here.
        self.segment = next;
        self.base += self.segment_bytes as u64;
        self.offset = SEGMENT_HEADER_BYTES;
        Ok(())
    }

    /// Number of the next record.
    #[inline]
    pub fn next_seq(&self) -> Seq {
        Seq(self.next_seq)
    }

    /// Log position behind the last record (behind the next segment's header, when a segment is
    /// exactly full).
    #[inline]
    pub fn position(&self) -> u64 {
        let position = self.base + self.offset as u64;
        if self.offset == self.segment_bytes {
            position + SEGMENT_HEADER_BYTES as u64
        } else {
            position
        }
    }

    /// The written mark: what a committer at once commits.
    #[inline]
    pub fn mark(&self) -> Mark {
        Mark { seq: Seq(self.next_seq - 1), position: self.position() }
    }

    /// Bytes (as counted by `record_bytes`) that can be appended now without [`AppendError::Full`].
    /// Ask before work whose appends must not fail. O(1), one load.
    #[inline]
    pub fn room(&self) -> u64 {
        let ahead = self.pool.prepared().saturating_sub(self.segment.index() + 1);
        let here = (self.segment_bytes - self.offset) as u64;
        if ahead == 0 {
            return here;
        }
        // The rest of this segment is not counted: it may be too short for the next record. Neither
        // is what a longest record may waste at the end of each segment but the last.
        let whole = (self.segment_bytes - SEGMENT_HEADER_BYTES) as u64;
        whole + (ahead - 1) * (whole - self.record_bytes_max as u64)
    }
}

/// Makes hot segment `index`; in a tier without room instead of archived ones, as the preparer does.
fn make_segment(log: &Log, hot: &Path, index: u64, prefix: &[u8]) -> Result<Segment, StoreError> {
    let options = log.options();
    loop {
        let made = Draft::begin(hot, options, index).and_then(|d| d.finish(options, prefix));
        match made {
            Err(error) if error.is_no_room() && make_room(log, hot)? => {}
            made => return made,
        }
    }
}

/// Unlinks the oldest hot segment of this log, or else of the other, of which the archive says durably
/// that it has all: then it also lies below the one that is written. False = there is none.
fn make_room(log: &Log, hot: &Path) -> Result<bool, StoreError> {
    let options = log.options();
    let Some(dir) = &options.archive else { return Ok(false) };
    let storage = &*options.storage;
    let other = LogIndex::ALL[1 - options.log as usize];
    for which in [options.log, other] {
        let file = ConfirmedFile::open(storage, dir, which)?;
        // The other log may not be recovered yet.
        file.sync()?;
        let Some(&oldest) = list(storage, hot, which)?.first() else { continue };
        if (oldest + 1) * file.state().segment_bytes > file.state().position {
            continue;
        }
        let path = hot.join(file_name(which, oldest));
        storage.unlink(&path).map_err(|e| StoreError::io("unlink", &path, e))?;
        if let Some(control) = log.control() {
            control.count_unlinked(which);
        }
        return Ok(true);
    }
    Ok(false)
}

const _: () = assert!(RECORD_BYTES_MAX <= u32::MAX as usize);
