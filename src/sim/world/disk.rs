//! The disk, seen from outside: whether a start left nothing behind a log's end, whether the disk has
//! what is said to be confirmed, whether group marks and confirmed file are written in turn and say what
//! they may, which segments are in the hot tier, and whether events are explained (store.md, Recovery 5,
//! Confirmed file, Group marks, Writing).
//!
//! Consumes the files of both tiers, and what of them survives any power cut; produces what contradicts.
//! Must not know how recovery and archiver work.

use super::World;
use super::exchange::Exchange;
use super::host::Host;
use crate::exchange::event::Event;
use crate::store::{LogIndex, Tier};
use std::path::Path;

/// Bytes of a segment's header.
const HEADER_BYTES: u64 = 4_096;
/// The second of two group marks, or of two slots of the confirmed file, is so far behind the first.
const SLOT_STRIDE: usize = 4_096;
/// Room that archived segments can make is made within so long.
const ROOM_NS: u64 = 300 * super::MS;
/// So many segments are kept ready behind the one that is written.
const AHEAD: u64 = 2;
/// Time between two looks at what the events are explained by, ns.
const EXPLAINED_LOOK_NS: u64 = 250 * super::MS;

/// What the disk's observer remembers of one life, by log.
#[derive(Clone, Copy, Default)]
pub(super) struct DiskSeen {
    /// Confirmed position when the exchange started.
    confirmed_before: u64,
    /// Archived position when it started, and at the last look at the marks.
    archived_before: u64,
    archived: u64,
    /// Highest group mark at the last look, and its segment.
    marked: u64,
    marked_in: u64,
    /// Highest group mark when the exchange started, wherever it stands.
    marked_before: u64,
    /// Hot segments when the exchange started.
    hot_before: usize,
}

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

    /// The positions in the two group marks behind an archived segment, as `look` sees it (now, or as a
    /// power cut leaves it); 0 = it is not whole (store.md, Group marks).
    fn marks(&self, segment: u64, look: impl Fn(&Host, &Path) -> Option<Vec<u8>>) -> [u64; 2] {
        let path = self.archive.join(self.name(segment));
        let file = look(self.host, &path).unwrap_or_default();
        [0, 1].map(|at| {
            let start = self.segment_bytes as usize + at * SLOT_STRIDE;
            let Some(mark) = file.get(start..start + 64) else { return 0 };
            let word = |at: usize| u64::from_le_bytes(mark[at..at + 8].try_into().expect("eight"));
            let sum = u32::from_le_bytes(mark[12..16].try_into().expect("four bytes"));
            let whole = &mark[..8] == b"RIALTOGM" && sum == crc32c::crc32c(&mark[16..]);
            if whole && word(24) == segment { word(32) } else { 0 }
        })
    }

    /// The highest group mark of the segment that a position stands in and the one before, and where.
    fn marked(&self, position: u64) -> (u64, u64) {
        let last = position / self.segment_bytes;
        let marks =
            |segment| self.marks(segment, Host::look_durable).into_iter().max().unwrap_or(0);
        let found = (last.saturating_sub(1)..=last).map(|segment| (marks(segment), segment));
        found.max().unwrap_or((0, 0))
    }

    /// Each group writes a mark that names where it begins, in turn into one of two places.
    /// `written`: the log's end; a group that is under way may have its mark before it is archived.
    fn marks_follow(
        &self,
        archived: u64,
        written: u64,
        before: &DiskSeen,
    ) -> Result<(u64, u64), String> {
        let (marked, segment) = self.marked(archived);
        let log = self.log.name();
        if archived > before.archived && marked < before.archived {
            let from = before.archived;
            return Err(format!("{log}: archived from {from} to {archived}, marked {marked}"));
        }
        let ahead = marked > archived || marked == archived && written == archived;
        let new = marked > before.marked.max(before.marked_before);
        if archived > before.archived && new && ahead {
            return Err(format!("{log}: archived through {archived}, marked {marked} before that"));
        }
        let again = segment == before.marked_in && before.marked > 0 && marked > before.marked;
        // As the store saw them: one whose sync failed may stay away from the disk until its next turn.
        let both = self.marks(segment, Host::look);
        if again && both.contains(&0) {
            return Err(format!("{log}: marks {both:?} after {}", before.marked));
        }
        Ok((marked, segment))
    }

    /// The slots of the confirmed file are written in turn, the first one first.
    fn slots_in_turn(&self) -> Result<(), String> {
        let path = self.archive.join(format!("{}.confirmed", self.log.name()));
        let file = self.host.look(&path).unwrap_or_default();
        for slot in 0..2 {
            let start = slot * SLOT_STRIDE;
            let Some(bytes) = file.get(start..start + 64) else { continue };
            let generation = u64::from_le_bytes(bytes[16..24].try_into().expect("eight bytes"));
            let sum = u32::from_le_bytes(bytes[12..16].try_into().expect("four bytes"));
            let whole = &bytes[..8] == b"RIALTOCF" && sum == crc32c::crc32c(&bytes[16..]);
            if whole && generation % 2 == slot as u64 {
                let log = self.log.name();
                return Err(format!("{log}: generation {generation} in slot {slot}"));
            }
        }
        Ok(())
    }

    /// Numbers of the segments in a directory, ascending.
    fn segments(&self, dir: &Path) -> Vec<u64> {
        let log = self.log.name();
        let number = |name: &str| {
            name.strip_prefix(log)?.strip_prefix('-')?.strip_suffix(".seg")?.parse().ok()
        };
        let names = self.host.names(dir);
        let mut found: Vec<u64> = names.iter().filter_map(|name| number(name)).collect();
        found.sort_unstable();
        found
    }

    /// What left the hot tier is confirmed, and there are no more segments than may be.
    fn hot_tier_is_right(&self, segments_max: usize, before: usize) -> Result<(), String> {
        let hot = self.segments(self.hot);
        let log = self.log.name();
        if hot.len() > segments_max.max(before) {
            return Err(format!("{log}: {} segments of {segments_max}", hot.len()));
        }
        let Some(first) = hot.first() else { return Ok(()) };
        let (begin, said) = (first * self.segment_bytes, self.said());
        if said < begin {
            return Err(format!("{log}: begins at {begin}, confirmed through {said}"));
        }
        Ok(())
    }

    /// The last bytes below the confirmed position are on the disk, and so is that position.
    /// `before`: what a start took up, perhaps from memory.
    fn is_on_disk(&self, confirmed: u64, before: u64) -> Result<(), String> {
        let said = self.said();
        if said < confirmed && confirmed > before {
            let log = self.log.name();
            return Err(format!("{log}: confirmed through {confirmed}, the disk says {said}"));
        }
        self.is_synced(confirmed, "confirmed")
    }

    /// The last bytes below a position survive a power cut.
    fn is_synced(&self, position: u64, said: &str) -> Result<(), String> {
        let last = position.saturating_sub(1) / self.segment_bytes;
        for segment in last.saturating_sub(1)..=last {
            let path = self.archive.join(self.name(segment));
            let end = (position - segment * self.segment_bytes).min(self.segment_bytes) as usize;
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
                return Err(format!("{name} is {said} through {end}, synced below {at}"));
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
        let places = places(&self.host, exchange, self.plan.segment_bytes);
        let end = |log| exchange.control().written(log).position;
        let seen = places.each_ref().map(|place| {
            let archived = exchange.control().archived(place.log).position;
            let (marked, marked_in) = place.marked(archived);
            let ends_in = end(place.log) / self.plan.segment_bytes;
            let marks =
                (marked_in..=ends_in).flat_map(|segment| place.marks(segment, Host::look_durable));
            DiskSeen {
                marked_before: marks.max().unwrap_or(0),
                confirmed_before: exchange.control().confirmed(place.log),
                archived_before: archived,
                archived,
                marked,
                marked_in,
                hot_before: place.segments(place.hot).len(),
            }
        });
        let found: Vec<_> = places.iter().map(|place| place.left_behind(end(place.log))).collect();
        self.disk_seen = seen;
        // From here on records may be written that the archive lacks.
        let sealed = self.host.has_durably(&exchange.facts.day.join("sealed"));
        for what in found.into_iter().filter_map(Result::err) {
            self.violate("a start left a torn tail", what);
        }
        if sealed {
            self.violate("a day that is served is sealed", "after a power cut".into());
        }
    }

    /// The highest group mark on the disk of a log.
    pub(super) fn marked(&self, log: LogIndex) -> u64 {
        let Some(exchange) = &self.exchange else { return 0 };
        let place = &places(&self.host, exchange, self.plan.segment_bytes)[log as usize];
        place.marked(exchange.control().archived(log).position).0
    }

    /// True when a group mark says more than the confirmed file, and a newer file has no mark yet: then
    /// recovery has to look further back for what vouches.
    pub(super) fn is_marked_alone(&self, log: LogIndex) -> bool {
        let Some(exchange) = &self.exchange else { return false };
        let place = &places(&self.host, exchange, self.plan.segment_bytes)[log as usize];
        let (marked, segment) = place.marked(exchange.control().archived(log).position);
        let newest = place.segments(place.archive).last().copied();
        marked > place.said() && newest.is_some_and(|newest| newest > segment)
    }

    /// The memory of a day that is over was given back, by its end or by the start of another.
    pub(super) fn check_given_back(&mut self) {
        let Some(exchange) = &self.exchange else { return };
        let (own, data) = (exchange.day.hot_dir(), exchange.facts.day.parent());
        let (Some(root), Some(data)) = (own.parent(), data) else { return };
        let is_held = |name: &String| {
            let date = name.split_once('-').map_or("", |(_, date)| date);
            let over = self.host.look(&data.join(date).join("ended")).is_some();
            let dir = root.join(name);
            over && dir != own && self.host.names(&dir).iter().any(|file| file.ends_with(".seg"))
        };
        let held = self.host.names(root).into_iter().find(is_held);
        if let Some(name) = held.filter(|_| !self.host.is_troubled()) {
            self.violate("the memory of an ended day is not given back", name);
        }
    }

    /// A day is noted as over when its archive has everything, and not before.
    pub(super) fn check_ended(&mut self, dir: &Path) {
        let has = |name: &str| self.host.has_durably(&dir.join(name));
        if has("ended") && !has("sealed") {
            self.violate("a day is noted as over that is not sealed", dir.display().to_string());
        }
    }

    /// What is confirmed survives the power.
    pub(super) fn check_confirmed(&mut self) {
        let Some(exchange) = &self.exchange else { return };
        let places = places(&self.host, exchange, self.plan.segment_bytes);
        let confirmed = |log| exchange.control().confirmed(log);
        let before = self.disk_seen.iter();
        let found: Vec<_> = (places.iter().zip(before))
            .map(|(place, before)| place.is_on_disk(confirmed(place.log), before.confirmed_before))
            .collect();
        let turns: Vec<_> = places.iter().map(Place::slots_in_turn).collect();
        let archived = |log| exchange.control().archived(log).position;
        let synced: Vec<_> =
            places.iter().map(|place| place.is_synced(archived(place.log), "archived")).collect();
        // A sync that failed may have left anything.
        let works = exchange.control().archive_failed().is_none();
        let mut seen = self.disk_seen;
        let mut marks = Vec::new();
        for (place, seen) in places.iter().zip(&mut seen).filter(|_| works) {
            let archived = exchange.control().archived(place.log).position;
            let written = exchange.control().written(place.log).position;
            match place.marks_follow(archived, written, seen) {
                Ok((marked, segment)) => {
                    (seen.archived, seen.marked, seen.marked_in) = (archived, marked, segment);
                }
                Err(what) => marks.push(what),
            }
        }
        self.disk_seen = seen;
        for what in found.into_iter().chain(synced).filter_map(Result::err) {
            self.violate("the disk lacks what is confirmed", what);
        }
        for what in turns.into_iter().filter_map(Result::err) {
            self.violate("the confirmed file is not written in turn", what);
        }
        for what in marks {
            self.violate("group marks do not follow the archive", what);
        }
    }

    /// What is in the hot tier, and what the archived events are explained by.
    pub(super) fn check_tiers(&mut self) {
        let Some(exchange) = &self.exchange else { return };
        let places = places(&self.host, exchange, self.plan.segment_bytes);
        let segments_max = self.plan.hot_segments_max;
        let found: Vec<_> = (places.iter().zip(&self.disk_seen))
            .map(|(place, seen)| place.hot_tier_is_right(segments_max, seen.hot_before))
            .collect();
        let explained =
            if self.now >= self.explained_at { self.is_explained(exchange) } else { Ok(()) };
        if self.now >= self.explained_at {
            self.explained_at = self.now + EXPLAINED_LOOK_NS;
        }
        for what in found.into_iter().filter_map(Result::err) {
            self.violate("the hot tier is not as it may be", what);
        }
        if let Err(what) = explained {
            self.violate("an archived event is not explained", what);
        }
    }

    /// While memory is short what is archived makes room, whichever log it is of.
    pub(super) fn check_room(&mut self) {
        // Where the archive lies on the same disk it takes what is freed.
        let cramped = self.plan.hot_tier() == Tier::Memory && self.host.is_short_of_hot_room();
        let cramped = self.exchange.as_ref().filter(|_| cramped);
        let cramped = cramped.and_then(|exchange| self.cramped(exchange));
        let Some(what) = cramped else {
            self.cramped_since = None;
            return;
        };
        let since = *self.cramped_since.get_or_insert(self.now);
        if self.now - since > ROOM_NS {
            self.violate("archived segments make no room", what);
        }
    }

    /// A log that lacks a segment behind the one it writes, while one is held in vain.
    fn cramped(&self, exchange: &Exchange) -> Option<String> {
        let control = exchange.control();
        if exchange.is_frozen_anywhere(self.now) || control.archive_failed().is_some() {
            return None;
        }
        let places = places(&self.host, exchange, self.plan.segment_bytes);
        let segments = places.each_ref().map(|place| place.segments(place.hot));
        let writing = |log| control.written(log).position / self.plan.segment_bytes;
        let lacks = LogIndex::ALL.into_iter().find(|&log| {
            let own = &segments[log as usize];
            let may = own.len() < self.plan.hot_segments_max;
            may && !own.contains(&(writing(log) + AHEAD))
        })?;
        let held = LogIndex::ALL.into_iter().find_map(|log| {
            let first = *segments[log as usize].first()?;
            let confirmed = control.confirmed(log) / self.plan.segment_bytes;
            (first < writing(log).min(confirmed)).then(|| places[log as usize].name(first))
        })?;
        let (log, last) = (lacks.name(), writing(lacks) + AHEAD);
        Some(format!("{log} lacks one of the segments through {last}, {held} is held"))
    }

    /// The last archived event is of an archived command.
    fn is_explained(&self, exchange: &Exchange) -> Result<(), String> {
        let [commands, events] = LogIndex::ALL.map(|log| exchange.control().archived(log));
        if events.position <= self.disk_seen[LogIndex::Event as usize].archived_before {
            return Ok(()); // what a start took up may be more than is confirmed of the commands
        }
        let Ok(view) = self.host.view(&exchange.facts.day) else { return Ok(()) };
        let Ok(mut reader) = view.log(LogIndex::Event).reader() else { return Ok(()) };
        if !matches!(reader.seek_seq(events.seq), Ok(true)) {
            return Ok(()); // not committed yet
        }
        let Ok(Some(record)) = reader.next() else { return Ok(()) };
        let event = Event::decode(record.kind, record.payload);
        match event {
            Some(event) if event.head.command > commands.seq => Err(format!(
                "event {} of command {}, commands are archived through {}",
                events.seq.0, event.head.command.0, commands.seq.0
            )),
            _ => Ok(()),
        }
    }
}
