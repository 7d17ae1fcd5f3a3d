//! The store as a whole, on real files and on the simulated host: what they share.

mod archiver;
mod damage;
mod days;
mod format;
mod lives;
mod log;
mod positions;
mod recovery;

use super::record::Header;
use super::segment::SEGMENT_HEADER_BYTES;
use super::*;
use crate::agent::Agent;
use crate::types::{Nanos, Seq};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

const AT_ONCE: ArchiverOptions = ArchiverOptions::AT_ONCE;
const LOG: LogIndex = LogIndex::Command;

/// In memory where there is such a place: hundreds of fdatasync of a busy disk take minutes.
fn scratch() -> TempDir {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() { TempDir::new_in(shm) } else { TempDir::new() }.unwrap()
}

/// A day with one writer on the command log, stepped by hand.
struct Fixture {
    day: Day,
    writer: Writer,
    recovered: Recovered,
    archiver: Archiver,
    now: u64,
}

impl Fixture {
    fn open(spec: &DaySpec) -> Result<Fixture, StoreError> {
        let day = Day::open(spec, Nanos(1))?;
        let recovered = day.log(LOG).recover()?;
        let writer = day.log(LOG).writer(&recovered)?;
        let event = day.log(LogIndex::Event).recover()?;
        day.log(LogIndex::Event).writer(&event)?;
        let archiver = day.archiver(AT_ONCE)?;
        Ok(Fixture { day, writer, recovered, archiver, now: 1 })
    }

    fn append(&mut self, seed: u64) -> Result<Appended, AppendError> {
        append(&mut self.writer, seed)
    }

    fn commit(&self) -> Mark {
        CommitPolicy::Memory.advance(self.day.control(), LOG)
    }

    /// Cycles of the archiver, 10 ms apart, until one does nothing.
    fn step(&mut self) {
        for _ in 0..10_000 {
            self.now += 10_000_000;
            if self.archiver.duty_cycle(Nanos(self.now)) == 0 {
                return;
            }
        }
        panic!("the archiver never rests");
    }

    /// The process is gone without a word; the archiver is not drained.
    fn kill(self) {
        let Fixture { day, writer, archiver, .. } = self;
        archiver.abandon();
        drop(writer);
        drop(day);
    }
}

fn payload(seed: u64) -> Vec<u8> {
    let len = (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as usize % 150;
    (0..len).map(|i| (seed as usize * 31 + i * 7 + 1) as u8).collect()
}

fn append(writer: &mut Writer, seed: u64) -> Result<Appended, AppendError> {
    let bytes = payload(seed);
    writer.append((seed % 9) as u16, 5, Nanos(1_000 + seed), 2, bytes.len(), |to| {
        assert!(to.iter().all(|&b| b == 0));
        to.copy_from_slice(&bytes);
    })
}

/// Reads what is there and checks that it is records `from`.. as `append` wrote them.
fn check_read(reader: &mut Reader, from: u64) -> u64 {
    let mut seq = from;
    while let Some(record) = reader.next().unwrap() {
        assert_eq!(record.seq, Seq(seq));
        assert_eq!(record.payload, payload(seq), "record {seq}");
        assert_eq!((record.kind, record.flags), ((seq % 9) as u16, 5));
        assert_eq!((record.time, record.term), (Nanos(1_000 + seq), 2));
        seq += 1;
    }
    seq - from
}

fn small(dir: &Path, segment_bytes: u64) -> DaySpec {
    DaySpec { segment_bytes, ..DaySpec::small(dir) }
}

fn flip(path: &Path, offset: u64, bit: u8) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ (1 << bit)], offset).unwrap();
}

/// A day whose hot tier is killed after `records` records, and the position of each.
fn killed(dir: &Path, records: u64, commit: bool) -> (DaySpec, Vec<u64>) {
    let spec = small(dir, 64 << 10);
    let mut store = Fixture::open(&spec).unwrap();
    let positions = (1..=records).map(|seq| store.append(seq).unwrap().position).collect();
    if commit {
        store.commit();
    }
    store.kill();
    (spec, positions)
}

fn hot_file(spec: &DaySpec) -> std::path::PathBuf {
    spec.hot.join(format!("{}-{}", spec.name, spec.date)).join("command-0000000000.seg")
}

/// The same day on a simulated host: hot tier in memory, data on a disk.
fn simulated(seed: u64, segment_bytes: u64) -> (std::sync::Arc<MemoryStorage>, DaySpec) {
    let storage = std::sync::Arc::new(MemoryStorage::new(seed, Path::new("/memory")));
    let spec = DaySpec {
        storage: storage.clone(),
        hot: "/memory/hot".into(),
        segment_bytes,
        ..DaySpec::small(Path::new("/disk"))
    };
    (storage, spec)
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % end
    }
}
