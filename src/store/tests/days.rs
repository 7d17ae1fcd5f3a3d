//! Days and their directories: who may write them, what ends, what is given back.

use super::*;

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
    for _ in 0..2 {
        let day = Day::open(&spec, Nanos(1)).unwrap();
        let found = day.log(LOG).recover().unwrap();
        assert!(day.may_lack_records(&found), "a start that was refused proves nothing");
    }
}

#[test]
fn marks_of_this_boot_prove_that_nothing_is_lacking_without_hot_segments() {
    let dir = scratch();
    let spec = DaySpec::small(dir.path());
    // As the preparer leaves it that found no room: the last segment full to the byte, and unlinked.
    let unlink = |hot: &Path| {
        for file in std::fs::read_dir(hot).unwrap().map(Result::unwrap) {
            if file.file_name().to_string_lossy().starts_with("command-") {
                std::fs::remove_file(file.path()).unwrap();
            }
        }
    };
    let mut store = Fixture::open(&spec).unwrap();
    store.append(1).unwrap();
    store.commit();
    store.step();
    let hot = store.day.hot_dir().to_path_buf();
    store.kill();
    unlink(&hot);
    let day = Day::open(&spec, Nanos(1)).unwrap();
    let found = day.log(LOG).recover().unwrap();
    assert!(found.from_archive && !day.may_lack_records(&found));
    drop(day);
    // The marks say what there was: without it there is no start.
    let mut store = Fixture::open(&spec).unwrap();
    store.append(2).unwrap();
    store.commit();
    store.kill();
    unlink(&hot);
    let day = Day::open(&spec, Nanos(1)).unwrap();
    assert!(matches!(day.log(LOG).recover(), Err(StoreError::Damaged { .. })));
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

/// The disk of the data directory is not mounted: a start finds the empty mount point, and a hot tier
/// that holds the only copy.
#[test]
fn a_hot_tier_with_records_that_no_archive_has_is_never_cleared() {
    let dir = scratch();
    let (spec, _) = killed(dir.path(), 5, true);
    let away = dir.path().join("away");
    std::fs::rename(&spec.data, &away).unwrap();
    let hot = hot_file(&spec).parent().unwrap().canonicalize().unwrap();
    for _ in 0..2 {
        std::fs::create_dir_all(&spec.data).unwrap();
        let refusal = Day::open(&spec, Nanos(1)).err().expect("refused");
        assert!(matches!(refusal, StoreError::OnlyCopy { records: 5, .. }), "{refusal}");
        let day = spec.data.canonicalize().unwrap().join(&spec.date);
        for named in [&hot, &day] {
            assert!(refusal.to_string().contains(named.to_str().unwrap()), "{refusal}");
        }
    }
    std::fs::remove_dir_all(&spec.data).unwrap();
    std::fs::rename(&away, &spec.data).unwrap();
    let mut store = Fixture::open(&spec).unwrap();
    assert_eq!(store.recovered.next_seq, Seq(6));
    // What the archive has needs no hot tier: a day whose directory was removed begins anew.
    store.step();
    assert_eq!(store.day.control().archived(LOG).seq, Seq(5));
    store.kill();
    std::fs::remove_dir_all(&spec.data).unwrap();
    assert_eq!(Fixture::open(&spec).unwrap().recovered.next_seq, Seq(1));
    // So does one whose hot directory was given up by hand.
    let (spec, _) = killed(dir.path(), 5, true);
    std::fs::remove_dir_all(&spec.data).unwrap();
    std::fs::remove_dir_all(&hot).unwrap();
    assert_eq!(Fixture::open(&spec).unwrap().recovered.next_seq, Seq(1));
}

#[test]
fn the_medium_is_told() {
    let dir = scratch();
    let day = Day::open(&DaySpec::small(dir.path()), Nanos(7)).unwrap();
    let in_memory = dir.path().starts_with("/dev/shm");
    assert_eq!(day.medium() == Medium::Memory, in_memory);
    assert_eq!(day.control().started(), Nanos(7));
}
