//! What a start makes of torn, damaged and missing logs, on real files.

use super::*;

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
    store.step();
    let confirmed = store.day.control().confirmed(LOG);
    assert_eq!(confirmed, store.writer.position());
    for seq in 11..=20 {
        positions.push(store.append(seq).unwrap().position);
    }
    // Synced, and not yet confirmed.
    store.archiver.group_now(LOG);
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
    // A view refuses it as well, at the record: what the start made of the hot tier hides nothing.
    let view = DayView::open(path.parent().unwrap()).unwrap();
    let mut reader = view.log(LOG).reader().unwrap();
    for seq in 1..10 {
        assert_eq!(reader.next().unwrap().unwrap().seq, Seq(seq));
    }
    let error = reader.next().expect_err("damaged");
    assert!(
        matches!(error, ReadError::Damaged { position, .. } if position == positions[9]),
        "{error}"
    );
    drop((reader, view));
    flip(&path, positions[9] + 40, 3);
    assert_eq!(std::fs::read(&path).unwrap(), before);
    // Above: cut, cleared on disk too, and the rest goes on.
    flip(&path, positions[14] + 40, 3);
    let mut store = Fixture::open(&spec).unwrap();
    let cut = store.recovered.cut.clone().unwrap();
    assert_eq!((cut.at, cut.why), (positions[14], Damage::Checksum));
    assert_eq!(store.recovered.next_seq, Seq(15));
    let tail = &std::fs::read(&path).unwrap()[positions[14] as usize..64 << 10];
    assert!(tail.iter().all(|&b| b == 0));
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
    // A snapshot is held against the archive, which has the page.
    let day = Day::open(&spec, Nanos(1)).unwrap();
    let records = |log: &Log| {
        let mut reader = log.reader_unbounded().unwrap();
        std::iter::from_fn(|| reader.next().ok().flatten().map(|record| record.seq)).count()
    };
    assert_eq!((records(day.log(LOG)), records(&day.log(LOG).for_snapshots())), (4, 10));
    drop(day);
    let store = Fixture::open(&spec).unwrap();
    assert_eq!(store.recovered.next_seq, Seq(11));
    assert!(store.recovered.from_archive);
    assert_eq!(store.day.control().committed(LOG).seq, Seq(10));
}
