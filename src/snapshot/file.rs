//! The file: header with checksums, payload; written whole or not at all, the last few kept.

use super::{Reach, SessionTrail, Trail};
use crate::store::{LogIndex, OpenMode, Storage};
use crate::types::*;
use bytes::{Buf, BufMut, TryGetError};
use std::io;
use std::path::{Path, PathBuf};

const MAGIC: [u8; 8] = *b"RIALTOSN";
/// Version of the layout.
const VERSION: u32 = 1;
/// Snapshots kept: two to fall back on.
pub const KEPT: usize = 3;
/// Bytes of the header.
pub(super) const HEADER_BYTES: usize = 160;
/// Written and synced in pieces: the archiver's own fdatasync must not wait for a large one.
const PIECE_BYTES: usize = 1 << 20;
const PREFIX: &str = "snapshot-";

/// What a snapshot file says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// Version of the rules of `apply` that made it.
    pub core_version: u16,
    /// Commands and events covered, by [`LogIndex`].
    pub reach: [Reach; 2],
    /// State hash of the exchange.
    pub state_hash: u64,
    /// Where things stand in the event log.
    pub trail: Trail,
    /// `Exchange::save`.
    pub exchange: Vec<u8>,
}

/// Why a file is no snapshot of this day.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The host does not give it.
    #[error("it cannot be read: {0}")]
    Read(io::Error),
    /// Not one, or cut short, or longer.
    #[error("it is no snapshot, or not a whole one")]
    Length,
    /// Other layout.
    #[error("it has layout {0}; this program reads layout {VERSION}")]
    Version(u32),
    /// A checksum is wrong.
    #[error("it is damaged: the checksum of its {0} is wrong")]
    Damaged(&'static str),
    /// The parts contradict each other.
    #[error("its {0} contradict each other")]
    Inconsistent(&'static str),
    /// Of other logs.
    #[error("it is of another day: its {} log has number {found:016x}, this one {wanted:016x}", .log.name())]
    OtherLog {
        /// Which log.
        log: LogIndex,
        /// Number in the snapshot.
        found: u64,
        /// Number of the log.
        wanted: u64,
    },
    /// The log does not reach as far, or holds something else there.
    #[error("the {} log does not have record {seq} that it ends with: {why}", .log.name())]
    NotInLog {
        /// Which log.
        log: LogIndex,
        /// Last record covered.
        seq: u64,
        /// What is there.
        why: String,
    },
    /// Made by other rules.
    #[error("it was made by core version {0}")]
    CoreVersion(u16),
    /// The exchange cannot be built from it.
    #[error(transparent)]
    Restore(#[from] crate::exchange::snapshot::RestoreError),
    /// The exchange that was built is not the one of its header.
    #[error("its exchange has another state hash than its header says")]
    StateHash,
    /// The log that it is held against does not open.
    #[error("it cannot be held against the log: {0}")]
    Log(#[from] crate::store::StoreError),
}

impl From<TryGetError> for SnapshotError {
    fn from(_: TryGetError) -> SnapshotError {
        SnapshotError::Length
    }
}

/// File name of the snapshot after command `seq`.
pub fn name_of(seq: Seq) -> String {
    format!("{PREFIX}{:020}", seq.0)
}

/// Numbers of the snapshots in `dir`, newest first.
pub fn list(storage: &dyn Storage, dir: &Path) -> io::Result<Vec<Seq>> {
    let mut found: Vec<Seq> = storage
        .list(dir)?
        .iter()
        .filter_map(|name| {
            let digits = name.to_str()?.strip_prefix(PREFIX)?;
            (digits.len() == 20).then(|| digits.parse().ok().map(Seq)).flatten()
        })
        .collect();
    found.sort_unstable();
    found.reverse();
    Ok(found)
}

/// Unlinks all but the newest [`KEPT`].
pub fn prune(storage: &dyn Storage, dir: &Path) -> io::Result<()> {
    for seq in list(storage, dir)?.into_iter().skip(KEPT) {
        storage.unlink(&dir.join(name_of(seq)))?;
    }
    Ok(())
}

/// Writes `snapshot` into `dir`, durably: a crash leaves the whole file or none of that name. Returns
/// its path and bytes.
pub fn write(
    storage: &dyn Storage,
    dir: &Path,
    snapshot: &Snapshot,
) -> io::Result<(PathBuf, usize)> {
    let bytes = snapshot.encode();
    let path = dir.join(name_of(snapshot.reach[LogIndex::Command as usize].seq));
    let mut draft = path.clone().into_os_string();
    draft.push(".tmp");
    let draft = PathBuf::from(draft);
    let file = storage.open(&draft, OpenMode::Create)?;
    for (at, piece) in (0u64..).step_by(PIECE_BYTES).zip(bytes.chunks(PIECE_BYTES)) {
        file.write_all_at(piece, at)?;
        file.sync_data()?;
    }
    file.sync_all()?;
    storage.rename(&draft, &path)?;
    storage.sync_dir(dir)?;
    Ok((path, bytes.len()))
}

/// Reads a file and checks all that can be checked without the logs.
pub fn read(storage: &dyn Storage, path: &Path) -> Result<Snapshot, SnapshotError> {
    Snapshot::decode(&storage.read(path).map_err(SnapshotError::Read)?)
}

impl Snapshot {
    /// The bytes of the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut trail = Vec::new();
        put_trail(&mut trail, &self.trail);
        let mut out = Vec::with_capacity(HEADER_BYTES + trail.len() + self.exchange.len());
        out.put_slice(&MAGIC);
        out.put_u32_le(VERSION);
        out.put_u32_le(0); // checksum of the header, below
        out.put_u16_le(self.core_version);
        out.put_slice(&[0; 6]);
        out.put_u64_le(self.state_hash);
        out.put_u64_le(trail.len() as u64);
        out.put_u64_le(self.exchange.len() as u64);
        out.put_u32_le(crc32c::crc32c(&trail));
        out.put_u32_le(crc32c::crc32c(&self.exchange));
        for reach in &self.reach {
            out.put_u64_le(reach.log_id);
            out.put_u64_le(reach.seq.0);
            out.put_u64_le(reach.start);
            out.put_u64_le(reach.end);
            out.put_u64_le(reach.time.0);
            out.put_u32_le(reach.checksum);
            out.put_u32_le(0);
        }
        out.put_slice(&[0; HEADER_BYTES - 152]);
        debug_assert_eq!(out.len(), HEADER_BYTES);
        let sum = crc32c::crc32c(&out[16..HEADER_BYTES]);
        out[12..16].copy_from_slice(&sum.to_le_bytes());
        out.put_slice(&trail);
        out.put_slice(&self.exchange);
        out
    }

    /// The other way round; any other bytes are an error.
    pub fn decode(bytes: &[u8]) -> Result<Snapshot, SnapshotError> {
        use SnapshotError::{Damaged, Inconsistent, Length};
        let mut header = bytes.get(..HEADER_BYTES).ok_or(Length)?;
        let sum = crc32c::crc32c(&header[16..]);
        let mut magic = [0; 8];
        header.try_copy_to_slice(&mut magic)?;
        if magic != MAGIC {
            return Err(Length);
        }
        let version = header.try_get_u32_le()?;
        if version != VERSION {
            return Err(SnapshotError::Version(version));
        }
        if header.try_get_u32_le()? != sum {
            return Err(Damaged("header"));
        }
        let core_version = header.try_get_u16_le()?;
        header.advance(6);
        let state_hash = header.try_get_u64_le()?;
        let [trail_bytes, exchange_bytes] = [header.try_get_u64_le()?, header.try_get_u64_le()?];
        let sums = [header.try_get_u32_le()?, header.try_get_u32_le()?];
        let mut reach = || -> Result<Reach, SnapshotError> {
            let found = Reach {
                log_id: header.try_get_u64_le()?,
                seq: Seq(header.try_get_u64_le()?),
                start: header.try_get_u64_le()?,
                end: header.try_get_u64_le()?,
                time: Nanos(header.try_get_u64_le()?),
                checksum: header.try_get_u32_le()?,
            };
            header.try_get_u32_le()?;
            Ok(found)
        };
        let reach = [reach()?, reach()?];
        let body = &bytes[HEADER_BYTES..];
        let wanted = trail_bytes.checked_add(exchange_bytes);
        if wanted != Some(body.len() as u64) {
            return Err(Length);
        }
        let (trail, exchange) = body.split_at(trail_bytes as usize); // at most body.len()
        if crc32c::crc32c(trail) != sums[0] {
            return Err(Damaged("trail"));
        }
        if crc32c::crc32c(exchange) != sums[1] {
            return Err(Damaged("exchange"));
        }
        let trail = get_trail(trail)?;
        if reach.iter().any(|r| r.seq.0 == 0 || r.start == 0 || r.start >= r.end) {
            return Err(Inconsistent("positions"));
        }
        if !trail.fits(reach[LogIndex::Event as usize].end) {
            return Err(Inconsistent("numbers and positions"));
        }
        Ok(Snapshot { core_version, reach, state_hash, trail, exchange: exchange.to_vec() })
    }
}

fn put_trail(out: &mut Vec<u8>, trail: &Trail) {
    out.put_u64_le(trail.feed);
    out.put_u32_le(trail.sessions.len() as u32);
    out.put_u32_le(trail.day_ended as u32);
    put_noted(out, &trail.noted);
    for session in &trail.sessions {
        for word in
            [session.applied, session.report, session.position, session.login, session.ended]
        {
            out.put_u64_le(word);
        }
        put_noted(out, &session.noted);
    }
}

fn put_noted(out: &mut Vec<u8>, noted: &[u64]) {
    out.put_u64_le(noted.len() as u64);
    noted.iter().for_each(|&position| out.put_u64_le(position));
}

fn get_trail(mut bytes: &[u8]) -> Result<Trail, SnapshotError> {
    let bytes = &mut bytes;
    let feed = bytes.try_get_u64_le()?;
    let [sessions, day_ended] = [bytes.try_get_u32_le()?, bytes.try_get_u32_le()?];
    if day_ended > 1 {
        return Err(SnapshotError::Inconsistent("flags"));
    }
    let noted = get_noted(bytes)?;
    let mut trail = Trail { sessions: Vec::new(), feed, noted, day_ended: day_ended == 1 };
    for _ in 0..sessions {
        let mut word = || bytes.try_get_u64_le();
        let [applied, report, position, login, ended] =
            [word()?, word()?, word()?, word()?, word()?];
        let noted = get_noted(bytes)?;
        trail.sessions.push(SessionTrail { applied, report, position, login, ended, noted });
    }
    if bytes.is_empty() { Ok(trail) } else { Err(SnapshotError::Length) }
}

fn get_noted(bytes: &mut &[u8]) -> Result<Vec<u64>, SnapshotError> {
    let count = bytes.try_get_u64_le()?;
    if count > bytes.len() as u64 / 8 {
        return Err(SnapshotError::Length);
    }
    (0..count).map(|_| Ok(bytes.try_get_u64_le()?)).collect()
}
