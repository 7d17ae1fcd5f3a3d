//! One simulated file: the bytes that everybody sees, and what of them the disk would still have.
//!
//! Consumes writes, syncs and power cuts; decides by the world's random numbers what a cut leaves.
//! What `fdatasync` promised is kept whatever happens; anything else may be there or not, in pieces
//! of 512 bytes. Must not know names and directories.

use super::Tier;
use super::region::{PAGE_BYTES, Region};
use crate::random::SplitMix64;
use std::io;
use std::sync::{Arc, Weak};

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// A file without its name.
pub(super) struct Inode {
    pub(super) tier: Tier,
    pub(super) len: u64,
    /// Bytes that blocks stand behind: the end of what was allocated or written.
    pub(super) allocated: u64,
    /// Handle that has it locked.
    pub(super) locked: Option<u64>,
    /// Shared with handles and mappings: a file lives on without its name.
    pub(super) token: Arc<()>,
    region: Region,
    mappings: Vec<Weak<Region>>,
    /// What everybody who only reads maps: mapping anew costs three system calls.
    view: Option<Arc<Region>>,
    /// What the disk has for sure; zeros behind it, up to `durable_len`.
    durable: Vec<u8>,
    durable_len: u64,
    /// Emptied since the last sync.
    truncated: bool,
    /// Writes since the last sync, in order.
    unsynced: Vec<(u64, Vec<u8>)>,
    /// A mapping may have changed anything since the last sync.
    stored_into: bool,
}

impl Inode {
    pub(super) fn new(tier: Tier) -> io::Result<Inode> {
        Ok(Inode {
            tier,
            len: 0,
            allocated: 0,
            locked: None,
            token: Arc::new(()),
            region: Region::new(PAGE_BYTES)?,
            mappings: Vec::new(),
            view: None,
            durable: Vec::new(),
            durable_len: 0,
            truncated: false,
            unsynced: Vec::new(),
            stored_into: false,
        })
    }

    /// Room for `bytes`. A mapped file cannot be moved to more pages: the store never grows one.
    fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
        if bytes <= self.region.len() {
            return Ok(());
        }
        let viewed = self.view.take().is_some_and(|view| Arc::strong_count(&view) > 1);
        assert!(
            !viewed && self.mappings.iter().all(|m| m.strong_count() == 0),
            "not simulated: a mapped file grows"
        );
        let region = Region::new(bytes.max(2 * self.region.len()))?;
        let used = (self.len as usize).min(self.region.len());
        for (at, page) in self.region.bytes()[..used].chunks(PAGE_BYTES).enumerate() {
            if page.iter().any(|&b| b != 0) {
                region.write(at * PAGE_BYTES, page);
            }
        }
        self.region = region;
        Ok(())
    }

    pub(super) fn read(&self, into: &mut [u8], offset: u64) -> usize {
        let rest = self.len.saturating_sub(offset);
        let len = rest.min(into.len() as u64) as usize;
        if len > 0 {
            let at = offset as usize;
            into[..len].copy_from_slice(&self.region.bytes()[at..at + len]);
        }
        len
    }

    /// What the disk has of it whatever happens; shorter than the file where the rest was never synced.
    pub(super) fn durable(&self) -> &[u8] {
        &self.durable
    }

    /// All its bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.region.bytes()[..self.len as usize]
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        self.reserve(end)?;
        self.region.write(offset as usize, bytes);
        self.len = self.len.max(end);
        self.allocated = self.allocated.max(end);
        if self.tier == Tier::Disk {
            self.unsynced.push((offset, bytes.to_vec()));
        }
        Ok(())
    }

    pub(super) fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        self.reserve(bytes)?;
        if bytes < self.len {
            self.region.clear_from(bytes as usize);
            self.allocated = self.allocated.min(bytes);
        }
        if bytes == 0 && self.len > 0 {
            self.truncated = true;
            self.unsynced.clear();
        }
        self.len = bytes;
        Ok(())
    }

    pub(super) fn allocate(&mut self, end: u64) -> io::Result<()> {
        self.reserve(end)?;
        self.len = self.len.max(end);
        self.allocated = self.allocated.max(end);
        Ok(())
    }

    /// A mapping of at least `bytes`, to read; stores into it are a fault.
    pub(super) fn view(&mut self, bytes: usize) -> io::Result<Arc<Region>> {
        self.reserve(bytes as u64)?;
        if let Some(view) = &self.view {
            return Ok(Arc::clone(view));
        }
        let view = Arc::new(self.region.alias()?);
        view.protect()?;
        self.view = Some(Arc::clone(&view));
        Ok(view)
    }

    /// A mapping of at least `bytes` that may be stored into, of its own.
    pub(super) fn map(&mut self, bytes: usize) -> io::Result<Arc<Region>> {
        self.reserve(bytes as u64)?;
        self.stored_into = true;
        let region = Arc::new(self.region.alias()?);
        self.mappings.retain(|m| m.strong_count() > 0);
        self.mappings.push(Arc::downgrade(&region));
        Ok(region)
    }

    /// True when a mapping may have changed it.
    pub(super) fn is_stored_into(&self) -> bool {
        self.stored_into
    }

    /// The disk has it.
    pub(super) fn sync(&mut self) {
        if std::mem::take(&mut self.truncated) {
            self.durable.clear();
        }
        for (offset, bytes) in std::mem::take(&mut self.unsynced) {
            put(&mut self.durable, offset, &bytes);
        }
        if self.stored_into {
            self.durable = self.bytes().to_vec();
        }
        self.durable.truncate(self.len as usize);
        self.durable_len = self.len;
    }

    /// The disk could not take it. As the kernel does: what was to be written counts as clean, some of
    /// it may have got there, and the next sync says nothing about it.
    pub(super) fn fail_sync(&mut self, random: &mut SplitMix64) {
        for (offset, bytes) in std::mem::take(&mut self.unsynced) {
            put_by_luck(&mut self.durable, offset, &bytes, random);
        }
        self.durable_len = self.durable_len.max(self.durable.len() as u64);
    }

    /// The power is gone: from here on the file is what the disk has.
    pub(super) fn lose_power(&mut self, random: &mut SplitMix64) -> io::Result<()> {
        let mut bytes = std::mem::take(&mut self.durable);
        let mut len = self.durable_len;
        if self.truncated && random.draw() & 1 == 0 {
            bytes.clear();
            len = 0;
        }
        // The length since the last sync: the old one, the new one, or on the way.
        if self.len > len {
            len = match random.draw() % 3 {
                0 => len,
                1 => self.len,
                _ => len + random.draw() % (self.len - len),
            };
        }
        for (offset, written) in std::mem::take(&mut self.unsynced) {
            put_by_luck(&mut bytes, offset, &written, random);
        }
        if self.stored_into {
            self.write_back_by_luck(&mut bytes, random);
        }
        bytes.truncate(len as usize);
        self.region = Region::new(len as usize)?;
        self.region.write(0, &bytes);
        (self.len, self.durable_len, self.allocated) = (len, len, len);
        self.durable = bytes;
        (self.truncated, self.stored_into, self.locked) = (false, false, None);
        self.mappings.clear();
        self.view = None;
        Ok(())
    }

    /// What was stored through mappings reaches the disk page by page, whenever the kernel likes.
    fn write_back_by_luck(&self, durable: &mut Vec<u8>, random: &mut SplitMix64) {
        for (at, page) in self.bytes().chunks(PAGE_BYTES).enumerate() {
            let at = at * PAGE_BYTES;
            let same = durable.get(at..at + page.len()).is_some_and(|d| d == page)
                || (durable.len() <= at && page.iter().all(|&b| b == 0));
            if !same {
                put_by_luck(durable, at as u64, page, random);
            }
        }
    }

    /// Flips bits of a byte, for everybody and on the disk.
    pub(super) fn damage(&mut self, offset: u64, mask: u8) {
        let at = offset as usize;
        self.region.write(at, &[self.region.bytes()[at] ^ mask]);
        if let Some(byte) = self.durable.get_mut(at) {
            *byte ^= mask;
        }
        for (start, bytes) in &mut self.unsynced {
            if let Some(byte) = offset.checked_sub(*start).and_then(|i| bytes.get_mut(i as usize)) {
                *byte ^= mask;
            }
        }
    }
}

fn put(into: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let (start, end) = (offset as usize, offset as usize + bytes.len());
    if into.len() < end {
        into.resize(end, 0);
    }
    into[start..end].copy_from_slice(bytes);
}

/// A write of which the disk has all, nothing, the beginning, or any of its sectors.
fn put_by_luck(into: &mut Vec<u8>, offset: u64, bytes: &[u8], random: &mut SplitMix64) {
    let luck = random.draw() % 4;
    let keep_below = random.draw() % (bytes.len() as u64 + 1);
    let mut at = 0;
    while at < bytes.len() {
        // Sectors are the disk's, not the write's.
        let sector_end = (offset as usize + at) / SECTOR_BYTES * SECTOR_BYTES + SECTOR_BYTES;
        let end = (sector_end - offset as usize).min(bytes.len());
        let keep = match luck {
            0 => false,
            1 => true,
            2 => (at as u64) < keep_below,
            _ => random.draw() & 1 == 0,
        };
        if keep {
            put(into, offset + at as u64, &bytes[at..end]);
        }
        at = end;
    }
}
