//! The disk, seen from outside: whether a start left nothing behind a log's end, and whether the disk
//! has what is said to be confirmed (store.md, Recovery 5 and Confirmed file).
//!
//! Consumes the files of both tiers, and what of them survives any power cut; produces what contradicts.
//! Must not know how recovery and archiver work.

use super::World;
use super::exchange::Exchange;
use super::host::Host;
use crate::store::LogIndex;
use std::path::Path;

/// Bytes of a segment's header.
const HEADER_BYTES: u64 = 4_096;

/// Where a log's segments are.
struct Place<'a> {
    host: &'a Host,
    log: LogIndex,
    archive: &'a Path,
    hot: &'a Path,
    segment_bytes: u64,
}

impl Place<'_> {
    fn name(&self, segment: u64) -> String {
        format!("{}-{segment:010}.seg", self.log.name())
    }

    /// Bytes from `offset` on to the end of the segment, of which there may be fewer.
    fn tail<'b>(&self, bytes: &'b [u8], offset: u64) -> &'b [u8] {
        let end = bytes.len().min(self.segment_bytes as usize);
        bytes.get(offset as usize..end).unwrap_or_default()
    }

    /// What stands behind the log's end.
    fn left_behind(&self, end: u64) -> Result<(), String> {
        let segment = end / self.segment_bytes;
        let offset = (end % self.segment_bytes).max(HEADER_BYTES);
        let name = self.name(segment);
        let archived = self.archive.join(&name);
        let seen = [
            ("the hot tier", self.host.look(&self.hot.join(&name))),
            ("the archive", self.host.look(&archived)),
            ("the archive after a power cut", self.host.look_durable(&archived)),
        ];
        for (place, bytes) in seen {
            let tail = self.tail(bytes.as_deref().unwrap_or_default(), offset);
            if let Some(at) = tail.iter().position(|&b| b != 0) {
                let at = offset + at as u64;
                return Err(format!("{name} ends at {offset}; {place} has more at {at}"));
            }
        }
        Ok(())
    }

    /// The position in the confirmed file, as a power cut leaves it (store.md, Confirmed file).
    fn said(&self) -> u64 {
        let path = self.archive.join(format!("{}.confirmed", self.log.name()));
        let file = self.host.look_durable(&path).unwrap_or_default();
        let word = |slot: usize, at: usize| {
            let bytes = file.get(slot + at..slot + at + 8);
            bytes.map_or(0, |b| u64::from_le_bytes(b.try_into().expect("eight bytes")))
        };
        // Of two slots the one of the higher generation counts.
        let newest = [0, 4_096].into_iter().max_by_key(|&slot| word(slot, 16));
        newest.map_or(0, |slot| word(slot, 40))
    }

    /// The last bytes below the confirmed position are on the disk, and so is that position.
    /// `before`: what a start took up, perhaps from memory.
    fn is_on_disk(&self, confirmed: u64, before: u64) -> Result<(), String> {
        let said = self.said();
        if said < confirmed && confirmed > before {
            let log = self.log.name();
            return Err(format!("{log}: confirmed through {confirmed}, the disk says {said}"));
        }
        let last = confirmed.saturating_sub(1) / self.segment_bytes;
        for segment in last.saturating_sub(1)..=last {
            let path = self.archive.join(self.name(segment));
            let end = (confirmed - segment * self.segment_bytes).min(self.segment_bytes) as usize;
            if end <= HEADER_BYTES as usize {
                continue; // nothing of it yet
            }
            let seen = self.host.look(&path).unwrap_or_default();
            let durable = self.host.look_durable(&path).unwrap_or_default();
            if seen.len() >= end && durable.get(..end) == Some(&seen[..end]) {
                continue;
            }
            // What was never written there reads as zeros.
            let at = (0..end.min(seen.len()))
                .find(|&at| durable.get(at).copied().unwrap_or(0) != seen[at]);
            if let Some(at) = at.or((seen.len() < end).then_some(seen.len())) {
                let name = self.name(segment);
                return Err(format!("{name} is confirmed through {end}, synced below {at}"));
            }
        }
        Ok(())
    }
}

fn places<'a>(host: &'a Host, exchange: &'a Exchange, segment_bytes: u64) -> [Place<'a>; 2] {
    let (archive, hot) = (exchange.facts.day.as_path(), exchange.day.hot_dir());
    LogIndex::ALL.map(|log| Place { host, log, archive, hot, segment_bytes })
}

impl World<'_> {
    /// The exchange has just started: behind what it took up there is nothing.
    pub(super) fn check_tails(&mut self) {
        let Some(exchange) = &self.exchange else { return };
        self.confirmed_before = LogIndex::ALL.map(|log| exchange.control().confirmed(log));
        let places = places(&self.host, exchange, self.plan.segment_bytes);
        let end = |log| exchange.control().written(log).position;
        let found: Vec<_> = places.iter().map(|place| place.left_behind(end(place.log))).collect();
        for what in found.into_iter().filter_map(Result::err) {
            self.violate("a start left a torn tail", what);
        }
    }

    /// What is confirmed survives the power.
    pub(super) fn check_confirmed(&mut self) {
        let Some(exchange) = &self.exchange else { return };
        let places = places(&self.host, exchange, self.plan.segment_bytes);
        let confirmed = |log| exchange.control().confirmed(log);
        let before = self.confirmed_before.iter();
        let found: Vec<_> = (places.iter().zip(before))
            .map(|(place, &before)| place.is_on_disk(confirmed(place.log), before))
            .collect();
        for what in found.into_iter().filter_map(Result::err) {
            self.violate("the disk lacks what is confirmed", what);
        }
    }
}
