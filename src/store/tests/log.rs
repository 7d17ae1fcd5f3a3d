//! Writer and readers: what is published is read, by whom it may be, and nothing else.

use super::*;

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
