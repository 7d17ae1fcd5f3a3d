//! Recovery from a record on that a snapshot covers.

use super::*;
use std::sync::Arc;

/// A day of 303 commands in small segments, the last three in a group that nothing confirms yet; and
/// the place of each.
fn day() -> (Arc<MemoryStorage>, DaySpec, Vec<Place>) {
    let (storage, spec) = simulated(3, 8192);
    let mut store = Fixture::open(&spec).unwrap();
    let mut places = Vec::new();
    for seq in 1..=303 {
        if seq == 301 {
            store.step();
            store.step();
        }
        let appended = match store.append(seq) {
            Ok(appended) => appended,
            Err(_) => {
                store.step();
                store.append(seq).unwrap()
            }
        };
        store.commit();
        places.push(Place { seq: appended.seq, position: appended.position });
    }
    store.archiver.group_now(LOG);
    storage.crash();
    (storage, spec, places)
}

fn recover(spec: &DaySpec, from: Place) -> Result<Recovered, StoreError> {
    Day::open(spec, Nanos(2))?.log(LOG).recover_from(from)
}

fn damage(storage: &MemoryStorage, spec: &DaySpec, place: Place) -> (std::path::PathBuf, u64) {
    let (index, offset) = (place.position / 8192, place.position % 8192);
    let path = spec.data.join(&spec.date).join(file_name(LOG, index));
    assert!(storage.damage(&path, offset + 16, 1));
    (path, offset)
}

#[test]
fn only_what_follows_is_read_and_everything_is_found() {
    let (storage, spec, places) = day();
    let whole = recover(&spec, Place::START).unwrap();
    assert_eq!((whole.next_seq, whole.read_from), (Seq(304), 0));
    for lost in [false, true] {
        if lost {
            storage.lose_power();
        }
        for from in [0, 1, 30, 100, 298, 299].map(|at| places[at]) {
            let found = recover(&spec, from).unwrap();
            assert_eq!(found.read_from, from.position);
            assert_eq!((found.next_seq, found.records, &found.cut), (Seq(304), 303, &None));
            assert_eq!((found.last_time, found.last_term), (Nanos(1_303), 2));
            assert_eq!(found.position, whole.position);
        }
    }
    // And it goes on from there.
    let day = Day::open(&spec, Nanos(2)).unwrap();
    let found = day.log(LOG).recover_from(places[250]).unwrap();
    let mut writer = day.log(LOG).writer(&found).unwrap();
    append(&mut writer, 304).unwrap();
    let mut reader = day.log(LOG).reader_unbounded().unwrap();
    assert_eq!(check_read(&mut reader, 1), 304);
}

#[test]
fn damage_before_it_is_found_by_who_reads_it_and_damage_behind_it_refuses() {
    let (storage, spec, places) = day();
    storage.lose_power();
    damage(&storage, &spec, places[50]);
    assert!(recover(&spec, Place::START).is_err(), "whoever reads everything");
    let day = Day::open(&spec, Nanos(2)).unwrap();
    assert_eq!(day.log(LOG).recover_from(places[200]).unwrap().next_seq, Seq(304));
    let mut reader = day.log(LOG).reader_unbounded().unwrap();
    let stopped = loop {
        match reader.next() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the end, without a word"),
            Err(error) => break error,
        }
    };
    assert!(matches!(stopped, ReadError::Damaged { position, .. }
        if position == places[50].position));
    let bad = damage(&storage, &spec, places[250]);
    match day.log(LOG).recover_from(places[200]).expect_err("it was confirmed") {
        StoreError::Damaged { path, offset, .. } => assert_eq!((path, offset), bad),
        other => panic!("{other}"),
    }
}

#[test]
fn a_segment_that_is_gone_before_it_refuses() {
    let (storage, spec, places) = day();
    storage.lose_power();
    let path = spec.data.join(&spec.date).join(file_name(LOG, 1));
    storage.unlink(&path).unwrap();
    match recover(&spec, places[250]).expect_err("refused") {
        StoreError::Missing { path: named } => assert_eq!(named, path),
        other => panic!("{other}"),
    }
}

/// The last group may be torn before a record that is whole: everything is read.
#[test]
fn above_what_is_confirmed_a_record_that_is_there_is_not_enough() {
    let (storage, spec, places) = day();
    assert_eq!(recover(&spec, places[301]).unwrap().read_from, places[301].position, "committed");
    storage.lose_power();
    let found = recover(&spec, places[301]).unwrap();
    assert_eq!((found.read_from, found.next_seq), (0, Seq(304)));
    // That confirmed it: back to where nothing did.
    let (storage, spec, places) = day();
    storage.lose_power();
    damage(&storage, &spec, places[300]);
    let dir = spec.data.join(&spec.date);
    let before = storage.look_at_all(&dir);
    assert!(matches!(recover(&spec, places[301]), Err(StoreError::Damaged { .. })));
    assert!(before == storage.look_at_all(&dir), "nothing is cut for it");
    assert_eq!(recover(&spec, places[299]).unwrap().next_seq, Seq(301), "the snapshot before");
}

#[test]
fn a_wrong_place_is_found_out() {
    let (_storage, spec, places) = day();
    for (position, seq) in [
        (places[100].position + 32, Seq(101)),
        (places[100].position, Seq(102)),
        (places[100].position + 4, Seq(101)),
    ] {
        assert!(matches!(recover(&spec, Place { position, seq }), Err(StoreError::Damaged { .. })));
    }
}
