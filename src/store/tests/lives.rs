//! Many lives of one day: processes that die, machines that lose their memory.

use super::*;

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
            .args(["--exact", "store::tests::lives::child_that_writes_until_killed"])
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

/// Killed at any operation of the first group, also between the rename of its file and the sync of the
/// directory: what the next run acknowledges at level disk lies in a file that a power cut leaves.
#[test]
fn nothing_is_acknowledged_in_a_file_whose_name_is_not_on_the_disk() {
    let mut unsynced = 0;
    for seed in 1..4 {
        for operation in 1.. {
            let (storage, spec) = simulated(seed, 64 << 10);
            let mut store = Fixture::open(&spec).unwrap();
            (1..=5).for_each(|seq| _ = store.append(seq).unwrap());
            let path = store.day.dir().join("command-0000000000.seg");
            storage.crash_at(operation);
            let first_group = std::panic::AssertUnwindSafe(|| store.step());
            let lived = std::panic::catch_unwind(first_group).is_ok();
            unsynced += u32::from(storage.look(&path).is_some() && !storage.has_durably(&path));
            storage.crash();
            store.kill();
            if lived {
                break;
            }
            let mut store = Fixture::open(&spec).unwrap();
            assert_eq!(store.recovered.next_seq, Seq(6));
            (6..=10).for_each(|seq| _ = store.append(seq).unwrap());
            while CommitPolicy::Disk.advance(store.day.control(), LOG).seq < Seq(10) {
                store.now += 10_000_000;
                assert!(store.archiver.duty_cycle(Nanos(store.now)) > 0);
            }
            storage.lose_power();
            store.kill();
            let store = Fixture::open(&spec).unwrap_or_else(|e| panic!("{operation}: {e}"));
            assert_eq!(store.recovered.next_seq, Seq(11), "seed {seed}, operation {operation}");
        }
    }
    assert!(unsynced > 0, "never killed where it matters");
}

/// The same on a simulated host, where the process dies at any operation (also in a start, also in a
/// cut) and the power goes: both levels, both logs, disks that are slow to nobody and honest in nothing
/// they did not promise.
#[test]
fn random_lives_on_a_simulated_host() {
    random_lives("/memory/hot");
}

/// The same with the hot tier on a disk: after a power cut it has what the kernel had written back.
#[test]
fn random_lives_with_a_hot_tier_on_a_disk() {
    random_lives("/disk/hot-tier");
}

fn random_lives(hot: &str) {
    let mut deaths = [0u32; 3];
    for seed in 1..=60u64 {
        let mut random = Random(seed);
        let segment_bytes = [8192, 16384, 64 << 10][random.below(3) as usize];
        let (storage, spec) = simulated(seed, segment_bytes);
        let spec = DaySpec { hot: hot.into(), ..spec };
        let policy = [CommitPolicy::Memory, CommitPolicy::Disk][random.below(2) as usize];
        // Last command that must be there if only the process dies, and if the power goes.
        let (mut promised, mut durable) = (0, 0);
        let mut events_kept = u64::MAX;
        for life in 0..10 {
            storage.crash_at(if random.below(3) == 0 { 1 + random.below(400) } else { 0 });
            let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let day = Day::open(&spec, Nanos(1)).unwrap();
                let recovered = day.log(LOG).recover().unwrap_or_else(|e| panic!("{e}"));
                let found = recovered.next_seq.0 - 1;
                assert!(found >= promised, "{promised} promised, {found} found");
                let mut reader = day.log(LOG).reader_unbounded().unwrap();
                assert_eq!(check_read(&mut reader, 1), found);
                let mut events = day.log(LogIndex::Event).recover().unwrap();
                let mut reader = day.log(LogIndex::Event).reader_unbounded().unwrap();
                let there = check_read(&mut reader, 1);
                // The engine takes back what the commands do not explain.
                let keep = there.min(found).min(events_kept);
                if keep < there {
                    assert!(reader.seek_seq(Seq(keep + 1)).unwrap());
                    let place = reader.position();
                    events = day.log(LogIndex::Event).cut(events, place, Seq(keep + 1)).unwrap();
                }
                let mut writer = day.log(LOG).writer(&recovered).unwrap();
                let mut event_writer = day.log(LogIndex::Event).writer(&events).unwrap();
                let mut archiver = day.archiver(AT_ONCE).unwrap();
                // What was found counts: it is committed before anything new.
                let control = std::sync::Arc::clone(day.control());
                let mut now = 0;
                for _ in 0..10_000 {
                    if policy.advance(&control, LOG).seq.0 == found {
                        break;
                    }
                    now += 1_000_000;
                    archiver.duty_cycle(Nanos(now));
                }
                for _ in 0..random.below(400) {
                    if random.below(10) == 0 {
                        now += random.below(4_000_000);
                        archiver.duty_cycle(Nanos(now));
                    } else {
                        // Full is an answer.
                        let seq = writer.next_seq().0;
                        let _ = append(&mut writer, seq);
                        if event_writer.next_seq() < writer.next_seq() {
                            let seq = event_writer.next_seq().0;
                            let _ = append(&mut event_writer, seq);
                        }
                    }
                    promised = promised.max(policy.advance(&control, LOG).seq.0);
                    durable = durable.max(control.archived(LOG).seq.0);
                }
                let ends_well = random.below(4) == 0;
                if ends_well {
                    promised = writer.next_seq().0 - 1;
                    drop((writer, event_writer, archiver));
                    assert!(day.seal().unwrap());
                    durable = promised;
                    return None;
                }
                // Still alive when it is killed.
                Some((day, writer, event_writer, archiver))
            }));
            // The archive itself may know more than was seen of it before it died.
            if let Err(panic) = &lived {
                assert!(
                    panic.is::<SimulatedCrash>(),
                    "seed {seed}, life {life}: {:?}",
                    panic.downcast_ref::<String>()
                );
                deaths[2] += 1;
            }
            events_kept = if random.below(5) == 0 { random.below(200) } else { u64::MAX };
            if random.below(2) == 0 {
                storage.lose_power();
                deaths[1] += 1;
                if policy == CommitPolicy::Memory {
                    promised = promised.min(durable);
                }
            } else {
                storage.crash();
                deaths[0] += 1;
            }
            drop(lived);
        }
    }
    assert!(deaths.iter().all(|&n| n > 50), "{deaths:?}");
}
