//! Readers of a log: follow it up to the commit mark, or walk what is there.
//!
//! Consumes mapped segments, hot ones first, archived ones when the hot file is gone; hands out
//! records in order. A reader owns nothing that a writer waits for: stopped or killed, it changes
//! nothing for anyone.

use super::pool::Lookup;
use super::record::{Header, KIND_PAD};
use super::segment::{SEGMENT_HEADER_BYTES, Segment, file_name};
use super::{Damage, Log, ReadError, Record, StoreError};
use crate::types::{Nanos, Seq};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Where a reader stops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bound {
    /// At the committed mark.
    Committed,
    /// At the first record that is not whole.
    Whole,
}

/// Follows a log. Any number per log, in any process.
pub struct Reader {
    log: Log,
    bound: Bound,
    check: bool,
    segment: Option<Arc<Segment>>,
    index: u64,
    offset: usize,
    /// Number that the next record must have, 0 = not known.
    expected: u64,
    /// Below this position records are known to be readable: spares a load of the shared mark.
    limit: u64,
    stopped: Option<Damage>,
    maps: u64,
}

#[allow(clippy::should_implement_trait)] // `next` lends from the reader: no Iterator
impl Reader {
    /// See [`Log::reader`].
    pub fn open(log: &Log) -> Result<Reader, StoreError> {
        let bound = if log.control().is_some() { Bound::Committed } else { Bound::Whole };
        Ok(Reader::new(log, bound))
    }

    /// See [`Log::reader_unbounded`].
    pub fn open_unbounded(log: &Log) -> Result<Reader, StoreError> {
        Ok(Reader::new(log, Bound::Whole))
    }

    fn new(log: &Log, bound: Bound) -> Reader {
        Reader {
            log: log.clone(),
            bound,
            check: true,
            segment: None,
            index: 0,
            offset: SEGMENT_HEADER_BYTES,
            expected: 1,
            limit: 0,
            stopped: None,
            maps: 0,
        }
    }

    /// Skips checksums: for readers in the writing process, whose memory it is.
    pub fn trusted(mut self) -> Reader {
        self.trust();
        self
    }

    /// From here on as [`Reader::trusted`].
    pub fn trust(&mut self) {
        self.check = false;
    }

    /// The next record, `None` when the reader has caught up with its bound (ask again later).
    /// After an error the reader stays where it is. O(1), no system call or allocation but at a
    /// segment's end.
    #[inline]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, ReadError> {
        let header = loop {
            let position = self.position();
            if position >= self.limit {
                self.limit = self.bound();
                if position >= self.limit {
                    return Ok(None);
                }
            }
            let here = matches!(&self.segment, Some(s) if s.index() == self.index);
            if !here && !self.enter()? {
                return Ok(None);
            }
            let Some(segment) = &self.segment else { unreachable!("entered just above") };
            let found = segment.header(self.offset, self.check);
            match found.and_then(|header| self.check_sequence(header)) {
                Ok(header) if header.kind != KIND_PAD => break header,
                Ok(_pad) => self.enter_next(),
                // Exactly full: the writer left no pad.
                Err(Damage::Absent) if self.offset as u64 == self.log.options.segment_bytes => {
                    self.enter_next();
                }
                Err(why) => return self.stop(position, why).map(|()| None),
            }
        };
        let position = self.position();
        let offset = self.offset;
        self.offset += header.stride();
        self.expected = header.seq + 1;
        let Some(segment) = &self.segment else { unreachable!("the header was read from it") };
        Ok(Some(Record {
            seq: Seq(header.seq),
            time: Nanos(header.time),
            term: header.term,
            kind: header.kind,
            flags: header.flags,
            payload: segment.payload(offset, &header),
            position,
        }))
    }

    #[inline]
    fn check_sequence(&self, header: Header) -> Result<Header, Damage> {
        let ok = self.expected == 0 || header.seq == self.expected;
        if ok && header.seq != 0 { Ok(header) } else { Err(Damage::Sequence) }
    }

    /// End of what may be read now.
    #[inline]
    fn bound(&self) -> u64 {
        match (self.bound, &self.log.control) {
            (Bound::Committed, Some(control)) => control.committed_position(self.log.options.log),
            _ => u64::MAX,
        }
    }

    fn enter_next(&mut self) {
        self.index += 1;
        self.offset = SEGMENT_HEADER_BYTES;
    }

    /// Gets hold of the segment that the reader stands in; false = not now, or the end.
    #[cold]
    fn enter(&mut self) -> Result<bool, ReadError> {
        let lookup = match &self.log.pool {
            Some(pool) => pool.try_get(self.index),
            None => Lookup::Absent,
        };
        let segment = match lookup {
            Lookup::Found(segment) => segment,
            Lookup::Busy => return Ok(false),
            Lookup::Absent => {
                let options = &self.log.options;
                match open_file(&self.log, self.index).map_err(Box::new)? {
                    Some(segment) => {
                        self.maps += 1;
                        Arc::new(segment)
                    }
                    None if self.must_exist() => {
                        let dir = options.archive.as_ref().or(options.hot.as_ref());
                        let name = file_name(options.log, self.index);
                        let path = dir.map(|d| d.join(&name)).unwrap_or_else(|| name.into());
                        return Err(Box::new(StoreError::Missing { path }).into());
                    }
                    None => {
                        self.stopped = None;
                        return Ok(false);
                    }
                }
            }
        };
        self.segment = Some(segment);
        Ok(true)
    }

    /// True when something at the reader's position was promised.
    fn must_exist(&self) -> bool {
        let promised = match self.bound {
            Bound::Committed => self.limit,
            Bound::Whole => self.log.confirmed.load(Ordering::Acquire),
        };
        self.position() < self.log.options.normal(promised)
    }

    /// A record that is not whole: an error where it was promised, else the end.
    #[cold]
    fn stop(&mut self, position: u64, why: Damage) -> Result<(), ReadError> {
        if self.must_exist() {
            return Err(ReadError::Damaged { position, why });
        }
        self.stopped = Some(why);
        Ok(())
    }

    /// Log position of the next record to read.
    #[inline]
    pub fn position(&self) -> u64 {
        self.index * self.log.options.segment_bytes + self.offset as u64
    }

    /// Goes to `position`, the start of a record (`Record::position`, `Appended::position`), or the
    /// end of the log (`Mark::position`); 0 = first record. Any other place is found out by
    /// [`Reader::next`] as damage.
    pub fn seek(&mut self, position: u64) {
        let (index, offset) = self.log.options.split(self.log.options.normal(position));
        self.index = index;
        self.offset = offset;
        self.expected = if index == 0 && offset == SEGMENT_HEADER_BYTES { 1 } else { 0 };
        self.stopped = None;
    }

    /// Goes to `position`, where record `seq` starts: should another one start there,
    /// [`Reader::next`] calls that damage.
    pub fn seek_record(&mut self, position: u64, seq: Seq) {
        self.seek(position);
        self.expected = seq.0;
    }

    /// Goes to record `seq` (at least 1), or to the end when `seq` is the one after the last; false,
    /// and back where it was, when the log has not got there yet. Cold: maps segments to search
    /// them, then walks one.
    pub fn seek_seq(&mut self, seq: Seq) -> Result<bool, ReadError> {
        let origin = (self.index, self.offset, self.expected);
        let found = self.find(seq.0);
        if !matches!(found, Ok(true)) {
            (self.index, self.offset, self.expected) = origin;
        }
        found
    }

    fn find(&mut self, seq: u64) -> Result<bool, ReadError> {
        // Segment `low` begins at or before `seq`; `high` does not, or does not exist.
        let (mut low, mut high) = (0, self.segments().map_err(Box::new)?);
        while low + 1 < high {
            let middle = low + (high - low) / 2;
            self.seek(middle * self.log.options.segment_bytes);
            match self.next()? {
                Some(record) if record.seq.0 <= seq => low = middle,
                _ => high = middle,
            }
        }
        self.seek(low * self.log.options.segment_bytes);
        loop {
            let (index, offset, expected) = (self.index, self.offset, self.expected);
            match self.next()? {
                Some(record) if record.seq.0 == seq => {
                    (self.index, self.offset, self.expected) = (index, offset, expected.max(seq));
                    return Ok(true);
                }
                Some(record) if record.seq.0 > seq => return Ok(false),
                Some(_) => {}
                None => return Ok(self.expected == seq),
            }
        }
    }

    /// Number behind the last segment that may hold records.
    fn segments(&self) -> Result<u64, StoreError> {
        let options = &self.log.options;
        if self.bound == Bound::Committed {
            return Ok(options.split(self.bound()).0 + 1);
        }
        let mut last = 0;
        for dir in [&options.hot, &options.archive].into_iter().flatten() {
            last = last.max(
                super::segment::list(&*options.storage, dir, options.log)?
                    .last()
                    .map_or(0, |i| i + 1),
            );
        }
        Ok(last)
    }

    /// Segments that this reader mapped for itself, instead of sharing the writer's.
    pub fn maps(&self) -> u64 {
        self.maps
    }

    /// Why the last `None` of an unbounded reader: `None` = no further segment.
    pub(super) fn stopped(&self) -> Option<Damage> {
        self.stopped
    }
}

/// Maps segment `index` for reading: the hot file, or the archived one.
pub(super) fn open_file(log: &Log, index: u64) -> Result<Option<Segment>, StoreError> {
    for dir in [&log.options.hot, &log.options.archive].into_iter().flatten() {
        if let Some(segment) = Segment::open(dir, &log.options, index, false)? {
            return Ok(Some(segment));
        }
    }
    Ok(None)
}
