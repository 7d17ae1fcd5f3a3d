//! The store as a whole: writer, readers, archiver, recovery, on real files.

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

const AT_ONCE: ArchiverOptions = ArchiverOptions { group_wait_ns: 0 };
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

#[test]
fn round_trip_and_limits() {
    let dir = scratch();
    let mut store = Fixture::open(&small(dir.path(), 64 << 10)).unwrap();
    assert_eq!((store.writer.next_seq(), store.writer.position()), (Seq(1), 4096));
    let mut reader = store.day.log(LOG).reader().unwrap();
    let first = store.append(1).unwrap();
    assert_eq!((first.seq, first.position), (Seq(1), 4096));
    assert!(reader.next().unwrap().is_none(), "written is not committed");
    store.commit();
    assert_eq!(check_read(&mut reader, 1), 1);
    assert_eq!(reader.position(), store.writer.position());

    let longest = store.day.log(LOG).options().record_bytes_max() - HEADER_BYTES;
    assert_eq!(
        store.writer.append(1, 0, Nanos(0), 0, longest + 1, |_| ()),
        Err(AppendError::TooLong)
    );
    let long = store.writer.append(1, 0, Nanos(0), 2, longest, |to| to.fill(7)).unwrap();
    assert_eq!(long.position, (64 << 10) + 4096, "goes to the next segment");
    assert_eq!(store.writer.position(), 2 * (64 << 10) + 4096, "which is exactly full");
    store.commit();
    assert_eq!(reader.next().unwrap().unwrap().payload.len(), longest);
    assert!(reader.next().unwrap().is_none());
    assert_eq!(reader.maps(), 0, "in the writing process mappings are shared");
    assert_eq!(append(&mut store.writer, 3), Err(AppendError::Full));
    store.step();
    append(&mut store.writer, 3).unwrap();
    store.commit();
    assert_eq!(check_read(&mut reader, 3), 1);

    reader.seek(long.position);
    assert_eq!(reader.next().unwrap().unwrap().seq, Seq(2));
    assert!(reader.seek_seq(Seq(4)).unwrap(), "the end");
    assert!(reader.next().unwrap().is_none());
    assert!(!reader.seek_seq(Seq(5)).unwrap());
    assert!(reader.seek_seq(Seq(1)).unwrap());
    assert_eq!(reader.next().unwrap().unwrap().seq, Seq(1));
    reader.seek(4096 + 32);
    assert!(reader.next().is_err(), "not the start of a record");
}

#[test]
fn rollover_unlinks_only_what_is_archived_and_readers_fall_back() {
    let dir = scratch();
    let spec = small(dir.path(), 8192);
    let mut store = Fixture::open(&spec).unwrap();
    let mut positions = Vec::new();
    for seq in 1..=2_000 {
        match store.append(seq) {
            Ok(appended) => positions.push(appended.position),
            Err(_) => {
                store.step();
                positions.push(store.append(seq).unwrap().position);
            }
        }
        store.commit();
    }
    store.step();
    let hot = segment::list(&FileStorage, store.day.hot_dir(), LOG).unwrap();
    let archived = segment::list(&FileStorage, store.day.dir(), LOG).unwrap();
    assert!(hot.len() <= spec.hot_segments_max, "{hot:?}");
    assert_eq!(archived.first(), Some(&0));
    assert!(archived.len() > 40);
    let control = store.day.control();
    assert_eq!(control.written(LOG), control.archived(LOG));
    assert_eq!(control.confirmed(LOG), control.written(LOG).position);
    assert_eq!(control.backlog(LOG).percent(), 0);

    let mut late = store.day.log(LOG).reader().unwrap();
    assert_eq!(check_read(&mut late, 1), 2_000);
    assert!(late.maps() > 0, "from the archive");
    let view = DayView::open(store.day.dir()).unwrap();
    assert!(view.is_running());
    let mut other_process = view.log(LOG).reader().unwrap();
    assert_eq!(check_read(&mut other_process, 1), 2_000);
    for seq in [1, 2, 777, 1_999, 2_000] {
        assert!(other_process.seek_seq(Seq(seq)).unwrap());
        assert_eq!(other_process.position(), positions[seq as usize - 1]);
        assert_eq!(check_read(&mut other_process, seq), 2_001 - seq);
        other_process.seek(positions[seq as usize - 1]);
        assert_eq!(check_read(&mut other_process, seq), 2_001 - seq);
    }
}

#[test]
fn full_when_nothing_can_be_unlinked_and_room_never_lies() {
    let dir = scratch();
    let spec = DaySpec { archive: false, ..small(dir.path(), 8192) };
    let mut store = Fixture::open(&spec).unwrap();
    let mut seq = 0;
    let refused = loop {
        store.step();
        let mut room = store.writer.room();
        while room >= 192 {
            seq += 1;
            store.append(seq).expect("room said so");
            room -= record_bytes(payload(seq).len()) as u64;
        }
        if store.append(seq + 1).is_err() {
            break store.append(seq + 1);
        }
        seq += 1;
    };
    assert_eq!(refused, Err(AppendError::Full));
    assert_eq!(store.writer.next_seq(), Seq(seq + 1), "a refused record leaves no trace");
    assert_eq!(segment::list(&FileStorage, store.day.hot_dir(), LOG).unwrap(), [0, 1, 2, 3]);
    assert!(store.day.control().backlog(LOG).percent() >= Backlog::HALT_PERCENT);
    store.commit();
    let mut reader = store.day.log(LOG).reader().unwrap();
    assert_eq!(check_read(&mut reader, 1), seq);
}

#[test]
fn readers_in_threads_and_other_mappings_follow_the_writer() {
    let dir = scratch();
    let records = 60_000;
    let mut store = Fixture::open(&small(dir.path(), 64 << 10)).unwrap();
    let stop = AtomicBool::new(false);
    let view = DayView::open(store.day.dir()).unwrap();
    std::thread::scope(|scope| {
        for log in [store.day.log(LOG).clone(), view.log(LOG).clone()] {
            for trusted in [false, true] {
                let mut reader = log.reader().unwrap();
                if trusted {
                    reader = reader.trusted();
                }
                scope.spawn(move || {
                    let mut next = 1;
                    while next <= records {
                        match check_read(&mut reader, next) {
                            0 => std::thread::yield_now(),
                            read => next += read,
                        }
                    }
                });
            }
        }
        let (archiver, stop) = (&mut store.archiver, &stop);
        scope.spawn(move || {
            let mut now = 0;
            while !stop.load(Ordering::Relaxed) {
                now += 1_000_000;
                if archiver.duty_cycle(Nanos(now)) == 0 {
                    std::thread::yield_now();
                }
            }
        });
        let control = store.day.control();
        for seq in 1..=records {
            while append(&mut store.writer, seq).is_err() {
                std::thread::yield_now();
            }
            if seq % 3 == 0 || seq == records {
                CommitPolicy::Memory.advance(control, LOG);
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
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

#[test]
fn a_torn_tail_is_cut_at_every_byte_of_the_last_three_records() {
    let dir = scratch();
    let (spec, positions) = killed(dir.path(), 20, false);
    let whole = std::fs::read(hot_file(&spec)).unwrap();
    let end = positions[19] + record_bytes(payload(20).len()) as u64;
    for at in positions[17]..end {
        // Everything from `at` on never reached the file.
        let mut torn = whole.clone();
        torn[at as usize..].fill(0);
        std::fs::write(hot_file(&spec), &torn).unwrap();
        let last_whole = (1..=20)
            .filter(|&s| {
                let end = positions[s - 1] as usize + HEADER_BYTES + payload(s as u64).len();
                // Zeros that were zeros before make no difference.
                torn[..end] == whole[..end]
            })
            .max()
            .unwrap() as u64;
        let mut store = Fixture::open(&spec).unwrap();
        assert_eq!(store.recovered.next_seq, Seq(last_whole + 1), "cut at {at}");
        assert_eq!(store.recovered.records, last_whole);
        // A short record over the torn one: nothing stale may follow it.
        store.writer.append(1, 0, Nanos(0), 2, 0, |_| ()).unwrap();
        store.commit();
        let mut reader = store.day.log(LOG).reader_unbounded().unwrap();
        let mut read = 0;
        while reader.next().unwrap().is_some() {
            read += 1;
        }
        assert_eq!(read, last_whole + 1);
        store.kill();
        std::fs::remove_dir_all(dir.path().join("hot")).unwrap();
        std::fs::create_dir_all(hot_file(&spec).parent().unwrap()).unwrap();
    }
}

#[test]
fn every_flipped_bit_of_a_record_is_found() {
    let dir = scratch();
    let (spec, positions) = killed(dir.path(), 6, false);
    let path = hot_file(&spec);
    let whole = std::fs::read(&path).unwrap();
    let day = Day::open(&spec, Nanos(1)).unwrap();
    for victim in [3u64, 6] {
        let start = positions[victim as usize - 1];
        let len = (HEADER_BYTES + payload(victim).len()) as u64;
        for bit in 0..len * 8 {
            flip(&path, start + bit / 8, (bit % 8) as u8);
            let recovered = day.log(LOG).recover().unwrap();
            assert_eq!(recovered.next_seq, Seq(victim), "bit {bit} of record {victim}");
            assert_eq!(recovered.cut.unwrap().at, start);
            std::fs::write(&path, &whole).unwrap();
        }
    }
}

#[test]
fn damage_below_the_committed_mark_of_this_boot_is_refused() {
    let dir = scratch();
    let (spec, positions) = killed(dir.path(), 6, true);
    let path = hot_file(&spec);
    for victim in [1u64, 6] {
        flip(&path, positions[victim as usize - 1] + 16, 0);
        match Fixture::open(&spec).err().expect("refused") {
            StoreError::Damaged { path: named, offset, why, .. } => {
                assert_eq!(named, path.canonicalize().unwrap());
                assert_eq!((offset, why), (positions[victim as usize - 1], Damage::Checksum));
            }
            other => panic!("{other}"),
        }
        flip(&path, positions[victim as usize - 1] + 16, 0);
    }
    Fixture::open(&spec).unwrap();
}

#[test]
fn goes_on_from_the_archive_when_the_hot_tier_is_gone() {
    let dir = TempDir::new().unwrap(); // a real disk for once
    let spec = small(dir.path(), 8192);
    let mut written = 0;
    for round in 0..6u64 {
        let mut store = Fixture::open(&spec).unwrap();
        assert_eq!(store.recovered.next_seq, Seq(written + 1));
        assert_eq!(store.recovered.from_archive, round > 0);
        assert_eq!(store.recovered.cut, None);
        for _ in 0..70 + round * 13 {
            written += 1;
            if store.append(written).is_err() {
                store.step();
                store.append(written).unwrap();
            }
        }
        store.commit();
        store.step();
        let mut reader = store.day.log(LOG).reader().unwrap();
        assert_eq!(check_read(&mut reader, 1), written);
        store.kill();
        std::fs::remove_dir_all(&spec.hot).unwrap();
        let view = DayView::open(&spec.data.join(&spec.date)).unwrap();
        assert!(!view.is_running() && view.control().is_none());
        assert_eq!(check_read(&mut view.log(LOG).reader().unwrap(), 1), written);
    }
    // The archive copied elsewhere, segments only.
    let copy = dir.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    for entry in std::fs::read_dir(spec.data.join(&spec.date)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "seg") {
            std::fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
        }
    }
    let view = DayView::open(&copy).unwrap();
    assert_eq!(check_read(&mut view.log(LOG).reader().unwrap(), 1), written);
}

#[test]
fn the_archive_is_cut_above_and_refused_below_what_is_confirmed() {
    let dir = scratch();
    let spec = small(dir.path(), 64 << 10);
    let mut store = Fixture::open(&spec).unwrap();
    let mut positions = Vec::new();
    for seq in 1..=10 {
        positions.push(store.append(seq).unwrap().position);
    }
    assert!(store.archiver.duty_cycle(Nanos(10_000_000)) > 0);
    let confirmed = store.day.control().confirmed(LOG);
    assert_eq!(confirmed, store.writer.position());
    for seq in 11..=20 {
        positions.push(store.append(seq).unwrap().position);
    }
    // Synced, and not yet confirmed: the interval has not passed.
    assert!(store.archiver.duty_cycle(Nanos(11_000_000)) > 0);
    assert_eq!(store.day.control().confirmed(LOG), confirmed);
    assert_eq!(store.day.control().archived(LOG).seq, Seq(20));
    store.kill();
    std::fs::remove_dir_all(&spec.hot).unwrap();
    let path = spec.data.join(&spec.date).join("command-0000000000.seg");

    // Below: refused, and nothing changed.
    let before = std::fs::read(&path).unwrap();
    flip(&path, positions[9] + 40, 3);
    let refusal = Fixture::open(&spec).err().expect("refused");
    assert!(
        matches!(refusal, StoreError::Damaged { offset, confirmed: c, .. }
            if offset == positions[9] && c == confirmed),
        "{refusal}"
    );
    flip(&path, positions[9] + 40, 3);
    assert_eq!(std::fs::read(&path).unwrap(), before);
    // A view refuses it as well, at the record.
    // Above: cut, cleared on disk too, and the rest goes on.
    flip(&path, positions[14] + 40, 3);
    let mut store = Fixture::open(&spec).unwrap();
    let cut = store.recovered.cut.clone().unwrap();
    assert_eq!((cut.at, cut.why), (positions[14], Damage::Checksum));
    assert_eq!(store.recovered.next_seq, Seq(15));
    assert!(std::fs::read(&path).unwrap()[positions[14] as usize..].iter().all(|&b| b == 0));
    store.append(15).unwrap();
    store.archiver.drain().unwrap();
    drop(store);
    std::fs::remove_dir_all(&spec.hot).unwrap();
    let store = Fixture::open(&spec).unwrap();
    assert_eq!((store.recovered.next_seq, store.recovered.cut.clone()), (Seq(16), None));
}

#[test]
fn a_lost_segment_in_the_middle_is_refused() {
    let dir = scratch();
    let spec = small(dir.path(), 8192);
    let mut store = Fixture::open(&spec).unwrap();
    for seq in 1..=200 {
        if store.append(seq).is_err() {
            store.step();
            store.append(seq).unwrap();
        }
    }
    store.archiver.drain().unwrap();
    store.kill();
    std::fs::remove_dir_all(&spec.hot).unwrap();
    let path = spec.data.join(&spec.date).join("command-0000000001.seg");
    let away = dir.path().join("away");
    std::fs::rename(&path, &away).unwrap();
    match Fixture::open(&spec).err().expect("refused") {
        StoreError::Missing { path: named } => {
            assert_eq!(
                named,
                path.parent().unwrap().canonicalize().unwrap().join(path.file_name().unwrap())
            );
        }
        other => panic!("{other}"),
    }
    std::fs::rename(&away, &path).unwrap();
    assert_eq!(Fixture::open(&spec).unwrap().recovered.next_seq, Seq(201));
}

#[test]
fn disk_level_commits_what_is_archived() {
    let dir = scratch();
    let mut store = Fixture::open(&small(dir.path(), 64 << 10)).unwrap();
    let mut reader = store.day.log(LOG).reader().unwrap();
    for seq in 1..=5 {
        store.append(seq).unwrap();
    }
    assert_eq!(CommitPolicy::Disk.advance(store.day.control(), LOG).seq, Seq(0));
    assert!(reader.next().unwrap().is_none());
    assert!(store.archiver.duty_cycle(Nanos(1)) > 0);
    assert_eq!(CommitPolicy::Disk.advance(store.day.control(), LOG), store.writer.mark());
    assert_eq!(check_read(&mut reader, 1), 5);
}

#[test]
fn events_on_disk_never_outrun_their_commands() {
    let dir = scratch();
    let spec = small(dir.path(), 64 << 10);
    let day = Day::open(&spec, Nanos(1)).unwrap();
    let mut writers = LogIndex::ALL.map(|log| {
        let recovered = day.log(log).recover().unwrap();
        day.log(log).writer(&recovered).unwrap()
    });
    let mut archiver = day.archiver(AT_ONCE).unwrap();
    let mut now = 0;
    for seq in 1..=2_000u64 {
        for writer in &mut writers {
            while append(writer, seq).is_err() {
                now += 3_000_000;
                archiver.duty_cycle(Nanos(now));
            }
        }
        if seq.is_multiple_of(7) {
            now += 3_000_000;
            archiver.duty_cycle(Nanos(now));
        }
        let [commands, events] = LogIndex::ALL.map(|log| day.control().archived(log).seq);
        assert!(events <= commands, "{events:?} {commands:?}");
    }
    assert!(day.control().archived(LogIndex::Event).seq > Seq(1_000));
}

#[test]
fn the_event_log_is_cut_on_demand_even_below_what_is_confirmed() {
    let dir = scratch();
    let spec = small(dir.path(), 8192);
    let mut store = Fixture::open(&spec).unwrap();
    let mut positions = Vec::new();
    for seq in 1..=200 {
        if store.writer.room() < 1024 {
            store.step();
        }
        positions.push(store.append(seq).unwrap().position);
    }
    store.archiver.drain().unwrap();
    store.kill();
    for gone in [false, true] {
        if gone {
            std::fs::remove_dir_all(&spec.hot).unwrap();
        }
        let keep: u64 = if gone { 50 } else { 100 };
        let day = Day::open(&spec, Nanos(1)).unwrap();
        let log = day.log(LOG);
        let recovered = log.recover().unwrap();
        let cut = log.cut(recovered, positions[keep as usize], Seq(keep + 1)).unwrap();
        assert_eq!((cut.next_seq, cut.records), (Seq(keep + 1), keep));
        let mut reader = log.reader_unbounded().unwrap();
        assert_eq!(check_read(&mut reader, 1), keep);
        let mut writer = log.writer(&cut).unwrap();
        append(&mut writer, keep + 1).unwrap();
        let mut reader = log.reader_unbounded().unwrap();
        assert_eq!(check_read(&mut reader, 1), keep + 1);
        drop(writer);
    }
    let store = Fixture::open(&spec).unwrap();
    assert_eq!(store.recovered.next_seq, Seq(52));
}

#[test]
fn two_writers_are_refused_and_the_holder_named() {
    let dir = scratch();
    let spec = DaySpec::small(dir.path());
    let day = Day::open(&spec, Nanos(1)).unwrap();
    match Day::open(&spec, Nanos(1)).err().expect("refused") {
        StoreError::Locked { pid, path } => {
            assert_eq!(pid, std::process::id());
            assert!(path.ends_with("lock"));
        }
        other => panic!("{other}"),
    }
    // Another data directory, the same hot directory.
    let other = DaySpec { data: dir.path().join("data2"), ..spec.clone() };
    let refusal = Day::open(&other, Nanos(1)).err().expect("refused");
    assert!(matches!(refusal, StoreError::Locked { pid, .. } if pid == std::process::id()));
    drop(day);
    let refusal = Day::open(&other, Nanos(1)).err().expect("refused").to_string();
    assert!(refusal.contains("is the hot directory of"), "{refusal}");
    // Once the first day's directory is removed, its hot tier is of no use to anyone.
    std::fs::remove_dir_all(&spec.data).unwrap();
    Day::open(&other, Nanos(1)).unwrap();
}

#[test]
fn segments_of_another_log_or_day_are_refused() {
    let dir = scratch();
    let (spec, _) = killed(dir.path(), 3, true);
    let other_dir = scratch();
    let (other, _) = killed(other_dir.path(), 3, true);
    let whole = std::fs::read(hot_file(&spec)).unwrap();
    std::fs::copy(hot_file(&other), hot_file(&spec)).unwrap();
    let refusal = Fixture::open(&spec).err().expect("refused");
    assert!(matches!(refusal, StoreError::ForeignLog { .. }), "{refusal}");
    let event = hot_file(&spec).with_file_name("event-0000000000.seg");
    std::fs::copy(event, hot_file(&spec)).unwrap();
    let refusal = Fixture::open(&spec).err().expect("refused").to_string();
    assert!(refusal.contains("the other log"), "{refusal}");
    for bit in 0..48 * 8 {
        std::fs::write(hot_file(&spec), &whole).unwrap();
        flip(&hot_file(&spec), bit / 8, (bit % 8) as u8);
        assert!(Fixture::open(&spec).is_err(), "bit {bit} of the segment header");
    }
    std::fs::write(hot_file(&spec), &whole).unwrap();
    Fixture::open(&spec).unwrap();
}

#[test]
fn a_failed_fdatasync_is_final() {
    let dir = scratch();
    let mut store = Fixture::open(&small(dir.path(), 64 << 10)).unwrap();
    store.append(1).unwrap();
    store.step();
    assert_eq!(store.day.control().archived(LOG).seq, Seq(1));
    store.archiver.fail_syncs(|_| Err(std::io::Error::from_raw_os_error(libc::EIO)));
    store.append(2).unwrap();
    store.step();
    assert_eq!(store.day.control().archive_failed(), Some(libc::EIO));
    store.archiver.fail_syncs(|file| file.sync_data());
    store.append(3).unwrap();
    store.step();
    assert_eq!(store.day.control().archived(LOG).seq, Seq(1), "never retried as if ok");
    assert_eq!(store.day.control().archive_failed(), Some(libc::EIO));
}

#[test]
fn damaged_memory_does_not_reach_the_disk() {
    let dir = scratch();
    let spec = small(dir.path(), 64 << 10);
    let mut store = Fixture::open(&spec).unwrap();
    store.append(1).unwrap();
    let second = store.append(2).unwrap();
    flip(&hot_file(&spec), second.position + 24, 0);
    store.step();
    assert!(store.day.control().archive_failed().is_some());
    assert_eq!(store.day.control().archived(LOG).seq, Seq(0));
}

#[test]
fn a_day_is_retired_when_all_of_it_is_archived() {
    let dir = scratch();
    let spec = DaySpec::small(dir.path());
    let mut store = Fixture::open(&spec).unwrap();
    store.append(1).unwrap();
    store.commit();
    let Fixture { day, mut archiver, .. } = store;
    archiver.drain().unwrap();
    drop(archiver);
    let hot = day.hot_dir().to_path_buf();
    assert!(day.retire_hot().unwrap());
    assert!(!hot.exists());
    let view = DayView::open(&spec.data.join(&spec.date)).unwrap();
    assert_eq!(check_read(&mut view.log(LOG).reader().unwrap(), 1), 1);
}

#[test]
fn a_refused_start_does_not_hide_the_archive() {
    let dir = scratch();
    let spec = DaySpec::small(dir.path());
    let mut store = Fixture::open(&spec).unwrap();
    for seq in 1..=5 {
        store.append(seq).unwrap();
    }
    store.commit();
    let Fixture { day, writer, mut archiver, .. } = store;
    archiver.drain().unwrap();
    drop((writer, archiver));
    assert!(day.retire_hot().unwrap());
    // A start that finds no hot tier, makes a new control page, and goes no further.
    let day = Day::open(&spec, Nanos(2)).unwrap();
    assert!(day.log(LOG).recover().unwrap().from_archive);
    drop(day);
    let view = DayView::open(&spec.data.join(&spec.date)).unwrap();
    assert_eq!(check_read(&mut view.log(LOG).reader().unwrap(), 1), 5);
    // The day begun anew lies beside it.
    let again = DaySpec { date: format!("{}-B", spec.date), ..spec };
    let day = Day::open(&again, Nanos(3)).unwrap();
    assert_eq!(day.log(LOG).recover().unwrap().records, 0);
}

#[test]
fn an_ended_day_gives_its_hot_tier_back_when_the_next_begins() {
    let dir = scratch();
    let spec = DaySpec::small(dir.path());
    let tomorrow = DaySpec { date: "2025-01-03".into(), ..spec.clone() };
    let mut store = Fixture::open(&spec).unwrap();
    for seq in 1..=5 {
        store.append(seq).unwrap();
    }
    store.commit();
    let hot = store.day.hot_dir().to_path_buf();
    // It runs: nothing is taken from it.
    assert!(retire_ended_days(&tomorrow, Nanos(2)).is_empty());
    store.kill(); // nothing is archived
    // Its own day, and another incarnation of it, leave it alone.
    assert!(retire_ended_days(&spec, Nanos(2)).is_empty());
    let again = DaySpec { date: "2025-01-02-B".into(), ..spec.clone() };
    assert!(retire_ended_days(&again, Nanos(2)).is_empty());
    let retired = retire_ended_days(&tomorrow, Nanos(2));
    assert_eq!(retired.len(), 1);
    assert!(matches!(retired[0].outcome, Ok(true)), "{:?}", retired[0].outcome);
    assert!(!hot.exists());
    let view = DayView::open(&spec.data.join(&spec.date)).unwrap();
    assert_eq!(check_read(&mut view.log(LOG).reader().unwrap(), 1), 5);
    assert!(retire_ended_days(&tomorrow, Nanos(3)).is_empty(), "once");
}

#[test]
fn a_run_that_ended_well_lacks_nothing_without_its_hot_tier() {
    let dir = scratch();
    let spec = DaySpec::small(dir.path());
    let lacks = |store: &Fixture| store.day.may_lack_records(&store.recovered);
    let mut store = Fixture::open(&spec).unwrap();
    store.append(1).unwrap();
    store.commit();
    let Fixture { day, writer, archiver, .. } = store;
    drop((writer, archiver));
    assert!(day.seal().unwrap());
    drop(day);
    std::fs::remove_dir_all(&spec.hot).unwrap();
    let day = Day::open(&spec, Nanos(1)).unwrap();
    let found = day.log(LOG).recover().unwrap();
    assert!(found.from_archive && !day.may_lack_records(&found));
    drop(day); // a start that was refused later changes nothing
    let mut store = Fixture::open(&spec).unwrap();
    assert!(!lacks(&store));
    // From here on the archive may be behind: the seal is broken.
    store.append(2).unwrap();
    store.commit();
    store.step();
    store.kill();
    let store = Fixture::open(&spec).unwrap();
    assert!(!lacks(&store), "killed, and the hot tier is there");
    store.kill();
    std::fs::remove_dir_all(&spec.hot).unwrap();
    let day = Day::open(&spec, Nanos(1)).unwrap();
    assert!(day.may_lack_records(&day.log(LOG).recover().unwrap()));
}

#[test]
fn a_hot_directory_that_was_only_looked_at_binds_nobody() {
    let dir = scratch();
    let spec = DaySpec::small(dir.path());
    drop(Day::open(&spec, Nanos(1)).unwrap()); // refused: lies on a disk, say
    let elsewhere = DaySpec { hot: dir.path().join("elsewhere"), ..spec.clone() };
    let day = Day::open(&elsewhere, Nanos(1)).unwrap();
    assert!(day.hot_dir().starts_with(elsewhere.hot.canonicalize().unwrap()));
    drop(day);
    drop(Fixture::open(&elsewhere).unwrap());
    let day = Day::open(&spec, Nanos(1)).unwrap();
    assert!(day.hot_dir().starts_with(elsewhere.hot.canonicalize().unwrap()), "now it does");
}

#[test]
fn bad_options_are_named() {
    let dir = scratch();
    let good = DaySpec::small(dir.path());
    for (spec, option) in [
        (DaySpec { date: "2025-13-01".into(), ..good.clone() }, "date"),
        (DaySpec { date: "../../etc/x".into(), ..good.clone() }, "date"),
        (DaySpec { date: "2025-01-02-A".into(), ..good.clone() }, "date"),
        (DaySpec { date: "2025-01-02-BC".into(), ..good.clone() }, "date"),
        (DaySpec { name: "a/b".into(), ..good.clone() }, "name"),
        (DaySpec { segment_bytes: 4096, ..good.clone() }, "segment_bytes"),
        (DaySpec { segment_bytes: 10_000, ..good.clone() }, "segment_bytes"),
        (DaySpec { hot_segments_max: 2, ..good.clone() }, "hot_segments_max"),
    ] {
        match Day::open(&spec, Nanos(1)).err().expect("refused") {
            StoreError::Option { option: named, .. } => assert_eq!(named, option),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn a_reader_refuses_what_was_promised_and_is_damaged() {
    let dir = scratch();
    let spec = small(dir.path(), 64 << 10);
    let mut store = Fixture::open(&spec).unwrap();
    let positions: Vec<u64> = (1..=4).map(|s| store.append(s).unwrap().position).collect();
    store.commit();
    let mut reader = store.day.log(LOG).reader().unwrap();
    flip(&hot_file(&spec), positions[2] + Header::TIME as u64, 0);
    assert!(reader.next().unwrap().is_some());
    assert!(reader.next().unwrap().is_some());
    for _ in 0..2 {
        let refusal = reader.next().unwrap_err();
        assert!(
            matches!(refusal, ReadError::Damaged { position, why: Damage::Checksum }
                if position == positions[2]),
            "{refusal}"
        );
    }
    assert_eq!(positions[0], SEGMENT_HEADER_BYTES as u64);
}

/// Random lives of a day: appends, cycles, process deaths, losses of memory with a torn disk. After
/// each: nothing that the level promises is lost, nothing is invented.
#[test]
fn random_lives_keep_what_their_level_promises() {
    for seed in 1..=12u64 {
        let mut random = Random(seed);
        let dir = scratch();
        let mut spec = small(dir.path(), [8192, 16384, 64 << 10][random.below(3) as usize]);
        let mut promised = 0; // last record that must be there at the next start
        for _life in 0..8 {
            spec.hot_segments_max = 3 + random.below(3) as usize;
            let mut store = Fixture::open(&spec).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            let found = store.recovered.next_seq.0 - 1;
            assert!(found >= promised, "seed {seed}: {promised} promised, {found} found");
            let mut reader = store.day.log(LOG).reader_unbounded().unwrap();
            assert_eq!(check_read(&mut reader, 1), found, "seed {seed}");
            store.commit();
            let mut follower = store.day.log(LOG).reader().unwrap();
            assert!(follower.seek_seq(Seq(found + 1)).unwrap(), "seed {seed}");
            let mut followed = found;
            for _ in 0..random.below(300) {
                match random.below(20) {
                    0 => store.step(),
                    1 => {
                        store.now += random.below(6_000_000);
                        store.archiver.duty_cycle(Nanos(store.now));
                    }
                    2 => followed += check_read(&mut follower, followed + 1),
                    3 => {
                        store.commit();
                    }
                    _ => {
                        let seq = store.writer.next_seq().0;
                        let _full_is_an_answer = store.append(seq);
                    }
                }
            }
            let control = std::sync::Arc::clone(store.day.control());
            let (committed, archived) = (control.committed(LOG), control.archived(LOG));
            let day_dir = store.day.dir().to_path_buf();
            let end = store.writer.position();
            let orderly = random.below(4) == 0;
            if orderly {
                promised = store.writer.next_seq().0 - 1;
                store.archiver.drain().unwrap();
                drop(store);
            } else {
                store.kill();
                promised = committed.seq.0;
            }
            if random.below(2) == 0 {
                std::fs::remove_dir_all(&spec.hot).unwrap();
                if !orderly {
                    promised = archived.seq.0;
                    tear(&mut random, &spec, &day_dir, archived.position, end);
                }
            }
        }
    }
}

/// A crash of the machine: of what was not synced any bit may differ on disk.
fn tear(random: &mut Random, spec: &DaySpec, dir: &Path, from: u64, end: u64) {
    let (index, offset) = (from / spec.segment_bytes, from % spec.segment_bytes);
    let path = dir.join(file_name(LOG, index));
    let end = (end - from + offset).min(spec.segment_bytes);
    if !path.exists() || offset < 4096 || end <= offset {
        return;
    }
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    for _ in 0..random.below(6) {
        let at = offset + random.below(end - offset);
        let len = random.below(40).min(spec.segment_bytes - at);
        let bytes: Vec<u8> = (0..len).map(|_| random.below(256) as u8).collect();
        file.write_all_at(&bytes, at).unwrap();
    }
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

/// Not a test of its own: the process that `a_killed_process_loses_nothing_committed` kills.
#[test]
fn child_that_writes_until_killed() {
    let Some(dir) = std::env::var_os("RIALTO_TEST_STORE_CHILD") else { return };
    let spec = small(Path::new(&dir), 64 << 10);
    let Fixture { day, mut writer, mut archiver, .. } = Fixture::open(&spec).unwrap();
    CommitPolicy::Memory.advance(day.control(), LOG);
    let mut now = 0;
    loop {
        let seq = writer.next_seq().0;
        if seq % 50 == 0 || append(&mut writer, seq).is_err() {
            now += 1_000_000;
            archiver.duty_cycle(Nanos(now));
            if seq % 50 == 0 {
                while append(&mut writer, seq).is_err() {
                    now += 1_000_000;
                    archiver.duty_cycle(Nanos(now));
                }
            }
        }
        CommitPolicy::Memory.advance(day.control(), LOG);
    }
}

#[test]
fn a_killed_process_loses_nothing_committed() {
    let dir = scratch();
    let spec = small(dir.path(), 64 << 10);
    drop(Fixture::open(&spec).unwrap()); // so that there is a day to view
    let mut seen = 0;
    for _ in 0..4 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::tests::child_that_writes_until_killed"])
            .env("RIALTO_TEST_STORE_CHILD", dir.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // Follow it from here, as another process does, until it has done some work.
        let view = DayView::open(&spec.data.join(&spec.date)).unwrap();
        let mut reader = view.log(LOG).reader().unwrap();
        reader.seek_seq(Seq(seen + 1)).unwrap();
        let goal = seen + 5_000;
        while seen < goal {
            match check_read(&mut reader, seen + 1) {
                0 => {
                    assert!(child.try_wait().unwrap().is_none(), "the child ended by itself");
                    std::thread::yield_now();
                }
                read => seen += read,
            }
        }
        assert!(view.is_running());
        assert!(matches!(Day::open(&spec, Nanos(1)), Err(StoreError::Locked { pid, .. })
            if pid == child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        let committed = view.control().unwrap().committed(LOG).seq.0;
        assert!(!view.is_running());
        let store = Fixture::open(&spec).unwrap();
        let found = store.recovered.next_seq.0 - 1;
        assert!(found >= committed && committed >= seen);
        let mut reader = store.day.log(LOG).reader_unbounded().unwrap();
        assert_eq!(check_read(&mut reader, 1), found);
        store.commit();
        seen = found;
    }
}

#[test]
fn after_a_reboot_a_hot_tier_on_disk_is_not_trusted() {
    let dir = scratch();
    let spec = small(dir.path(), 64 << 10);
    let mut store = Fixture::open(&spec).unwrap();
    let mut positions = Vec::new();
    for seq in 1..=10 {
        positions.push(store.append(seq).unwrap().position);
    }
    store.commit();
    store.step();
    positions.push(store.append(11).unwrap().position);
    store.commit();
    store.day.control().pretend_reboot();
    store.kill();
    // The hot tier is longer and whole: kept. (Its control page vouches for nothing.)
    let mut store = Fixture::open(&spec).unwrap();
    assert_eq!(store.recovered.next_seq, Seq(12));
    store.append(12).unwrap();
    store.day.control().pretend_reboot();
    store.kill();
    // A start that dies before recovery vouches for nothing either.
    drop(Day::open(&spec, Nanos(1)).unwrap());
    // Pages of it never reached the disk: the archive is longer, and decides.
    flip(&hot_file(&spec), positions[4], 2);
    let store = Fixture::open(&spec).unwrap();
    assert_eq!(store.recovered.next_seq, Seq(11));
    assert!(store.recovered.from_archive);
    assert_eq!(store.day.control().committed(LOG).seq, Seq(10));
}

#[test]
fn the_lock_outlives_the_day_while_something_can_write() {
    let dir = scratch();
    let spec = DaySpec::small(dir.path());
    let Fixture { day, writer, archiver, .. } = Fixture::open(&spec).unwrap();
    drop((day, archiver));
    let view = DayView::open(&spec.data.join(&spec.date)).unwrap();
    assert!(view.is_running());
    assert!(matches!(Day::open(&spec, Nanos(1)), Err(StoreError::Locked { .. })));
    drop(writer);
    assert!(!view.is_running());
    Day::open(&spec, Nanos(1)).unwrap();
}

#[test]
fn a_moved_data_directory_keeps_its_hot_tier_and_a_copied_one_does_not_get_it() {
    let dir = scratch();
    let (spec, _) = killed(dir.path(), 5, true);
    let copy = DaySpec { data: dir.path().join("copy"), ..spec.clone() };
    std::fs::create_dir_all(copy.data.join(&spec.date)).unwrap();
    for entry in std::fs::read_dir(spec.data.join(&spec.date)).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, copy.data.join(&spec.date).join(path.file_name().unwrap())).unwrap();
    }
    let refusal = Fixture::open(&copy).err().expect("refused").to_string();
    assert!(refusal.contains("is the hot directory of"), "{refusal}");
    std::fs::remove_dir_all(&copy.data).unwrap();
    std::fs::rename(&spec.data, &copy.data).unwrap();
    assert_eq!(Fixture::open(&copy).unwrap().recovered.next_seq, Seq(6));
}

#[test]
fn what_threads_need_can_be_sent() {
    fn send<T: Send>() {}
    fn share<T: Send + Sync>() {}
    send::<Writer>();
    send::<Reader>();
    send::<Archiver>();
    send::<Preparer>();
    share::<Log>();
    share::<Control>();
    share::<Day>();
}

#[test]
fn the_medium_is_told() {
    let dir = scratch();
    let day = Day::open(&DaySpec::small(dir.path()), Nanos(7)).unwrap();
    let in_memory = dir.path().starts_with("/dev/shm");
    assert_eq!(day.medium() == Medium::Memory, in_memory);
    assert_eq!(day.control().started(), Nanos(7));
}

/// `store.md`, table by table: whoever changes a number changes both.
#[test]
fn format_is_as_the_page_says() {
    let dir = scratch();
    let spec = DaySpec { hot_segments_max: 5, ..small(dir.path(), 8192) };
    let mut store = Fixture::open(&spec).unwrap();
    let log_id = store.day.log(LOG).options().log_id;
    store.writer.append(0x1234, 0x5678, Nanos(0x0102_0304), 9, 5, |p| p.fill(0xAB)).unwrap();
    let long = 8192 - 4096 - HEADER_BYTES;
    store.writer.append(1, 0, Nanos(0), 9, long, |p| p.fill(1)).unwrap(); // pads segment 0
    store.commit();
    store.step();
    let word = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let half = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());

    let hot = std::fs::read(hot_file(&spec)).unwrap();
    let archived = std::fs::read(store.day.dir().join("command-0000000000.seg")).unwrap();
    assert_eq!(hot, archived);
    assert_eq!(&hot[0..8], b"RIALTOSG");
    assert_eq!((half(&hot, 8), half(&hot, 12)), (1, crc32c::crc32c(&hot[16..48])));
    assert_eq!((word(&hot, 16), word(&hot, 24), word(&hot, 32)), (log_id, 0, 8192));
    assert_eq!(&hot[40..48], b"command\0");
    assert!(hot[48..4096].iter().all(|&b| b == 0));

    let record = &hot[4096..4160];
    assert_eq!((half(record, 0), half(record, 4)), (37, crc32c::crc32c(&record[8..37])));
    assert_eq!((word(record, 8), word(record, 16), half(record, 24)), (1, 0x0102_0304, 9));
    assert_eq!(record[28..32], [0x34, 0x12, 0x78, 0x56]);
    assert_eq!(record[32..37], [0xAB; 5]);
    assert_eq!(record[37..], [0; 27]);
    let pad = &hot[4160..];
    assert_eq!((half(pad, 0), half(pad, 4)), (4032, crc32c::crc32c(&pad[8..32])));
    assert_eq!((word(pad, 8), word(pad, 16), half(pad, 24)), (2, 0, 0));
    assert_eq!(pad[28..32], [0xFF, 0xFF, 0, 0]);
    assert!(pad[32..].iter().all(|&b| b == 0));

    let page = std::fs::read(store.day.hot_dir().join("control")).unwrap();
    assert_eq!(&page[0..8], b"RIALTOCP");
    let pid = u64::from(std::process::id());
    assert_eq!((word(&page, 8), word(&page, 16), word(&page, 24)), (1, pid, 1));
    let end = 2 * 8192 + 4096;
    for at in [0, 128, 256] {
        assert_eq!((word(&page, 128 + at), word(&page, 128 + at + 8)), (2, end), "mark at {at}");
    }
    let constants = (word(&page, 512), word(&page, 520), word(&page, 528));
    assert_eq!(constants, (log_id, 8192, 5 * 8192));
    assert_eq!(word(&page, 536), end);
    store.day.control().counter(63).store(77, Ordering::Relaxed);
    let page = std::fs::read(store.day.hot_dir().join("control")).unwrap();
    assert_eq!(word(&page, 1152 + 63 * 8), 77);
    let owner = store.day.dir().as_os_str().as_encoded_bytes();
    assert_eq!(word(&page, 64), owner.len() as u64);
    assert_eq!(&page[1664..1664 + owner.len()], owner);

    let file = std::fs::read(store.day.dir().join("command.confirmed")).unwrap();
    let slots = [&file[..64], &file[4096..4160]];
    let newest = slots.iter().max_by_key(|s| word(s, 16)).unwrap();
    assert_eq!(&newest[0..8], b"RIALTOCF");
    assert_eq!((half(newest, 8), half(newest, 12)), (1, crc32c::crc32c(&newest[16..])));
    assert_eq!((word(newest, 24), word(newest, 32)), (log_id, 8192));
    assert_eq!((word(newest, 40), word(newest, 48), word(newest, 56)), (end, 2, 0));
    let note = std::fs::read_to_string(store.day.dir().join("hot")).unwrap();
    assert_eq!(Path::new(note.trim_end()), store.day.hot_dir());
}

/// A tmpfs of its own, unmounted at the end; `None`, loudly, where that is not permitted.
struct SmallDisk(std::ffi::CString);

impl SmallDisk {
    fn mount(at: &Path, size: &str) -> Option<SmallDisk> {
        std::fs::create_dir_all(at).unwrap();
        let disk = SmallDisk(std::ffi::CString::new(at.to_str().unwrap()).unwrap());
        let mounted = disk.call(size, 0);
        if !mounted {
            std::mem::forget(disk);
            // Past the harness's capture, which throws away what a passing test prints.
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "SKIPPED: mounting a tmpfs is not permitted here");
            return None;
        }
        Some(disk)
    }

    fn call(&self, size: &str, flags: libc::c_ulong) -> bool {
        let data = std::ffi::CString::new(format!("size={size}")).unwrap();
        let kind = c"tmpfs".as_ptr();
        // SAFETY: all pointers are to strings that end with 0 and outlive the call.
        unsafe { libc::mount(kind, self.0.as_ptr(), kind, flags, data.as_ptr().cast()) == 0 }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // SAFETY: the pointer is to a string that ends with 0 and outlives the call. Lazily: files
        // may be mapped still.
        unsafe { libc::umount2(self.0.as_ptr(), libc::MNT_DETACH) };
    }
}

#[test]
fn a_hot_tier_smaller_than_configured_still_works() {
    let dir = scratch();
    let spec = DaySpec { hot_segments_max: 40, ..small(dir.path(), 16 << 10) };
    let Some(_disk) = SmallDisk::mount(&spec.hot, "200k") else { return };
    let mut store = Fixture::open(&spec).unwrap();
    assert_eq!(store.day.hot_missing_bytes(), 80 * (16 << 10) - (200 << 10));
    assert!(store.day.control().backlog(LOG).hot_bytes <= 100 << 10);
    for seq in 1..=3_000 {
        while store.append(seq).is_err() {
            store.step();
        }
    }
    store.commit();
    let mut reader = store.day.log(LOG).reader().unwrap();
    assert_eq!(check_read(&mut reader, 1), 3_000);
}

#[test]
fn a_full_disk_stops_the_archive_and_nothing_else_until_it_has_room() {
    let dir = scratch();
    let spec = small(dir.path(), 16 << 10);
    let Some(disk) = SmallDisk::mount(&spec.data, "100k") else { return };
    let mut store = Fixture::open(&spec).unwrap();
    let mut seq = 0;
    loop {
        store.step();
        if store.append(seq + 1).is_err() {
            break; // the hot tier is full of what the disk does not take
        }
        seq += 1;
    }
    let control = std::sync::Arc::clone(store.day.control());
    assert_eq!(control.archive_waits(), Some(libc::ENOSPC));
    assert_eq!(control.archive_failed(), None);
    assert!(control.backlog(LOG).percent() >= Backlog::CANCEL_ONLY_PERCENT);
    assert!(disk.call("10m", libc::MS_REMOUNT));
    store.now += 200_000_000;
    store.step();
    assert_eq!(control.archive_waits(), None);
    assert_eq!(control.archived(LOG), store.writer.mark());
    store.append(seq + 1).unwrap();
    store.commit();
    let mut reader = store.day.log(LOG).reader().unwrap();
    assert_eq!(check_read(&mut reader, 1), seq + 1);
}
