//! The archiver: what reaches the disk, in which order, and what happens when the disk says no.

use super::*;

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

/// Level memory, both logs; `cycles` at one time, so that only what does not wait happens.
struct Waiting {
    day: Day,
    writers: [Writer; 2],
    archiver: Archiver,
}

impl Waiting {
    fn open(dir: &Path) -> Waiting {
        let day = Day::open(&small(dir, 64 << 10), Nanos(1)).unwrap();
        let writers = LogIndex::ALL.map(|log| {
            let recovered = day.log(log).recover().unwrap();
            day.log(log).writer(&recovered).unwrap()
        });
        let archiver = day.archiver(ArchiverOptions::for_policy(CommitPolicy::Memory)).unwrap();
        Waiting { day, writers, archiver }
    }

    fn cycles(&mut self, now_ms: u64) -> [u64; 2] {
        for _ in 0..50 {
            self.archiver.duty_cycle(Nanos(now_ms * 1_000_000));
        }
        LogIndex::ALL.map(|log| self.day.control().archived(log).seq.0)
    }
}

#[test]
fn level_memory_waits_for_more_but_not_with_a_full_group() {
    let dir = scratch();
    let mut store = Waiting::open(dir.path());
    for writer in &mut store.writers {
        append(writer, 1).unwrap();
    }
    assert_eq!(store.cycles(1), [0, 0]);
    assert_eq!(store.cycles(20), [0, 0]);
    assert_eq!(store.cycles(21), [1, 0], "a command has waited 20 ms");
    assert_eq!(store.cycles(70), [1, 0]);
    assert_eq!(store.cycles(71), [1, 1], "an event, 50 ms from when it was explained");
    append(&mut store.writers[0], 2).unwrap();
    assert_eq!(store.cycles(72), [1, 1]);
    // An eighth of the three segments that the tier holds for sure.
    let begun = store.writers[1].mark().position;
    let mut last = 1;
    while store.writers[1].mark().position - begun < 3 * (64 << 10) / 8 {
        last += 1;
        append(&mut store.writers[1], last).unwrap();
    }
    assert_eq!(store.cycles(72), [2, last], "events that fill a group, and what explains them");
}

#[test]
fn a_segment_that_is_archived_is_let_go_at_once() {
    let dir = scratch();
    let mut store = Waiting::open(dir.path());
    let mut seq = 0;
    while store.writers[0].mark().position < 80 << 10 {
        seq += 1;
        append(&mut store.writers[0], seq).unwrap();
        store.cycles(1);
    }
    assert!(store.day.control().confirmed(LOG) >= 64 << 10, "{seq}");
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

/// The file is there for everybody, and no later sync would tell that the disk lacks its name.
#[test]
fn a_failed_sync_of_the_directory_is_final_too() {
    for at_the_end in [false, true] {
        let (storage, spec) = simulated(1, 64 << 10);
        let mut store = Fixture::open(&spec).unwrap();
        store.append(1).unwrap();
        let fails = Faults { dir_sync_eio_ppm: 1_000_000, ..Faults::default() };
        storage.set_faults(Tier::Disk, fails);
        match at_the_end {
            false => store.step(),
            true => assert!(store.archiver.drain().is_err()),
        }
        assert_eq!(store.day.control().archive_failed(), Some(libc::EIO));
        storage.set_faults(Tier::Disk, Faults::default());
        store.append(2).unwrap();
        store.step();
        assert_eq!(store.day.control().archived(LOG).seq, Seq(0), "never retried as if ok");
    }
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

/// On hugetlbfs it is the mapping that finds no room.
#[test]
fn a_hot_tier_whose_mappings_find_no_room_works_with_what_it_has() {
    let (storage, spec) = simulated(1, 16 << 10);
    let spec = DaySpec { hot_segments_max: 40, ..spec };
    let full = Faults { limit_bytes: 200 << 10, mapping_reserves: true, ..Faults::default() };
    storage.set_faults(Tier::Memory, full);
    let mut store = Fixture::open(&spec).unwrap();
    for seq in 1..=3_000 {
        while store.append(seq).is_err() {
            store.step();
        }
    }
    assert_eq!(store.day.control().prepare_failed(), None);
    store.commit();
    let mut reader = store.day.log(LOG).reader().unwrap();
    assert_eq!(check_read(&mut reader, 1), 3_000);
}

/// Somebody else has taken what was free, and what recovery gives back: a start makes room as the
/// preparer does.
#[test]
fn a_start_on_a_hot_tier_full_of_archived_segments_makes_room() {
    for mapping_reserves in [false, true] {
        let (storage, spec) = simulated(3, 64 << 10);
        let spec = DaySpec { hot_segments_max: 20, ..spec };
        let mut store = Fixture::open(&spec).unwrap();
        for seq in 1..=5_000 {
            while store.append(seq).is_err() {
                store.step();
            }
        }
        store.commit();
        store.step();
        let before = segment::list(&*storage, store.day.hot_dir(), LOG).unwrap();
        store.kill();
        storage.crash();
        let used = storage.used(Tier::Memory);
        let limit_bytes = used - 4 * (64 << 10);
        let full = Faults { limit_bytes, mapping_reserves, ..Faults::default() };
        storage.set_faults(Tier::Memory, full);
        let mut store = Fixture::open(&spec).unwrap();
        let after = segment::list(&*storage, store.day.hot_dir(), LOG).unwrap();
        assert!(after.len() > 2 && after[0] > before[0], "{before:?} {after:?}");
        for seq in 5_001..=6_000 {
            while store.append(seq).is_err() {
                store.step();
            }
        }
        store.commit();
        assert_eq!(check_read(&mut store.day.log(LOG).reader().unwrap(), 1), 6_000);
    }
}

/// Nothing is archived, and the hot tier's file system tells no size: the ladder goes by what is
/// configured.
#[test]
fn a_hot_tier_without_a_size_fills_up_as_configured() {
    let (storage, spec) = simulated(1, 64 << 10);
    assert_eq!(storage.file_system(Path::new("/memory")).unwrap().free_bytes, None);
    let mut store = Fixture::open(&spec).unwrap();
    let mut preparer = store.archiver.take_preparer().unwrap();
    let mut seq = 1;
    while store.append(seq).is_ok() {
        seq += 1;
        preparer.duty_cycle(Nanos(1));
    }
    assert_eq!(store.day.hot_missing_bytes(), 0);
    let backlog = store.day.control().backlog(LOG);
    assert_eq!(backlog.hot_bytes, 3 * (64 << 10));
    assert!(backlog.percent() >= Backlog::HALT_PERCENT, "{backlog:?}");
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

/// The disk is slow, both logs grow all the time, segments end: however many things want the disk, a
/// cycle waits for it once, and a command waits for what is under way, its own group, and now and
/// then one thing more.
#[test]
fn a_commit_waits_for_what_is_under_way_and_for_its_own_sync() {
    let (storage, spec) = simulated(1, 64 << 10);
    let spec = DaySpec { hot_segments_max: 8, ..spec };
    let day = Day::open(&spec, Nanos(1)).unwrap();
    let mut writers = LogIndex::ALL.map(|log| {
        let recovered = day.log(log).recover().unwrap();
        day.log(log).writer(&recovered).unwrap()
    });
    let mut archiver = day.archiver(AT_ONCE).unwrap();
    let slow = Faults { sync_ns: (400_000_000, 400_000_000), ..Faults::default() };
    storage.set_faults(Tier::Disk, slow);
    let control = day.control();
    while archiver.duty_cycle(Nanos(1)) > 0 {} // files for the first group are made ahead
    let (mut now, mut seq) = (1, 0u64);
    let mut waited = [0u64; 4];
    let mut oldest: Option<(u64, u64)> = None; // a command that waits, and the cycle it came in
    for cycle in 0..4_000u64 {
        // What came while the last cycle stood still: a burst now and then, else a little.
        for _ in 0..if cycle.is_multiple_of(50) { 40 } else { cycle % 3 } {
            if writers[0].room() < 1_024 || writers[1].room() < 4_096 {
                break;
            }
            seq += 1;
            append(&mut writers[0], seq).unwrap();
            oldest.get_or_insert((seq, cycle));
            for _ in 0..3 {
                let event = writers[1].next_seq().0;
                append(&mut writers[1], event).unwrap();
            }
        }
        let before = storage.counts();
        archiver.duty_cycle(Nanos(now));
        let after = storage.counts();
        let syncs = after.syncs - before.syncs + after.dir_syncs - before.dir_syncs;
        assert!(syncs <= 1, "cycle {cycle}: {syncs}");
        now += 1_000_000 + storage.take_stall_ns();
        if let Some((first, came)) = oldest
            && control.archived(LOG).seq.0 >= first
        {
            waited[(cycle + 1 - came) as usize] += 1;
            oldest = None;
        }
    }
    // Own group only, or one thing before it. What was under way when it came is not in this count.
    assert_eq!(waited[3], 0, "{waited:?}");
    assert!(waited[1] > 3 * waited[2], "{waited:?}");
    assert!(control.archived(LOG).seq.0 + 50 > seq && seq > 3_000);
    assert!(control.archived(LogIndex::Event).seq.0 > seq * 2, "events are not starved");
    assert!(control.archive_counts(LogIndex::Event)[2] > 0, "nor the confirmed files");
    println!("cycles from append to archived: {waited:?}");
}
