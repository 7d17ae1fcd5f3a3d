//! What the simulated host promises, and what it takes.

use super::*;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

const MEMORY: &str = "/mem";

fn host(seed: u64) -> MemoryStorage {
    let storage = MemoryStorage::new(seed, Path::new(MEMORY));
    storage.create_dir_all(Path::new("/disk/day")).unwrap();
    storage.create_dir_all(Path::new("/mem/hot")).unwrap();
    for dir in ["/disk/day", "/disk", "/"] {
        storage.sync_dir(Path::new(dir)).unwrap();
    }
    storage
}

fn file(storage: &MemoryStorage, path: &str) -> Box<dyn StorageFile> {
    storage.open(Path::new(path), OpenMode::Keep).unwrap()
}

fn look(storage: &MemoryStorage, path: &str) -> Option<Vec<u8>> {
    storage.look(Path::new(path))
}

/// What a power cut after `work` leaves of `path`, for many seeds.
fn outcomes(path: &str, work: impl Fn(&MemoryStorage)) -> BTreeSet<Option<Vec<u8>>> {
    (0..300)
        .map(|seed| {
            let storage = host(seed);
            work(&storage);
            storage.lose_power();
            look(&storage, path)
        })
        .collect()
}

#[test]
fn what_was_synced_stays_whatever_happens() {
    let found = outcomes("/disk/day/a", |storage| {
        let a = file(storage, "/disk/day/a");
        a.write_all_at(&[1; 2_000], 0).unwrap();
        a.sync_data().unwrap();
        storage.sync_dir(Path::new("/disk/day")).unwrap();
        a.write_all_at(&[2; 10], 5_000).unwrap();
    });
    assert!(found.len() > 1, "what came later may be there or not");
    for bytes in found {
        let bytes = bytes.expect("its name was synced");
        assert_eq!(bytes[..2_000], [1; 2_000]);
        assert!(bytes[2_000..].iter().all(|&b| b == 0 || b == 2), "and nothing else");
    }
}

#[test]
fn a_name_is_durable_by_its_directory_only_and_bytes_by_their_file_only() {
    let nameless = outcomes("/disk/day/a", |storage| {
        let a = file(storage, "/disk/day/a");
        a.write_all_at(b"x", 0).unwrap();
        a.sync_all().unwrap();
    });
    assert_eq!(nameless, BTreeSet::from([None, Some(b"x".to_vec())]));
    let empty = outcomes("/disk/day/a", |storage| {
        file(storage, "/disk/day/a").write_all_at(b"x", 0).unwrap();
        storage.sync_dir(Path::new("/disk/day")).unwrap();
    });
    assert!(empty.contains(&Some(Vec::new())) && empty.contains(&Some(b"x".to_vec())));
    assert!(!empty.contains(&None));
}

#[test]
fn a_rename_shows_the_old_file_or_the_new_one() {
    let replace = |storage: &MemoryStorage, sync: bool| {
        let path = Path::new("/disk/day/a");
        storage.write_durably(path, b"old").unwrap();
        let draft = storage.open(Path::new("/disk/day/a.tmp"), OpenMode::Create).unwrap();
        draft.write_all_at(b"new", 0).unwrap();
        draft.sync_all().unwrap();
        storage.rename(Path::new("/disk/day/a.tmp"), path).unwrap();
        if sync {
            storage.sync_dir(Path::new("/disk/day")).unwrap();
        }
    };
    let both = BTreeSet::from([Some(b"old".to_vec()), Some(b"new".to_vec())]);
    assert_eq!(outcomes("/disk/day/a", |s| replace(s, false)), both);
    let new = BTreeSet::from([Some(b"new".to_vec())]);
    assert_eq!(outcomes("/disk/day/a", |s| replace(s, true)), new);
}

#[test]
fn an_unlink_may_be_undone_until_its_directory_is_synced() {
    let remove = |storage: &MemoryStorage, sync: bool| {
        storage.write_durably(Path::new("/disk/day/a"), b"x").unwrap();
        storage.unlink(Path::new("/disk/day/a")).unwrap();
        assert!(!storage.exists(Path::new("/disk/day/a")));
        if sync {
            storage.sync_dir(Path::new("/disk/day")).unwrap();
        }
    };
    let both = BTreeSet::from([None, Some(b"x".to_vec())]);
    assert_eq!(outcomes("/disk/day/a", |s| remove(s, false)), both);
    assert_eq!(outcomes("/disk/day/a", |s| remove(s, true)), BTreeSet::from([None]));
}

#[test]
fn an_unsynced_write_is_whole_torn_by_sectors_or_not_at_all() {
    let found = outcomes("/disk/day/a", |storage| {
        let a = file(storage, "/disk/day/a");
        a.allocate(0, 8_192).unwrap();
        a.sync_data().unwrap();
        storage.sync_dir(Path::new("/disk/day")).unwrap();
        a.write_all_at(&[7; 1_400], 700).unwrap();
    });
    assert!(found.len() >= 5, "{}", found.len());
    let (mut whole, mut none) = (false, false);
    for bytes in found {
        let bytes = bytes.expect("its name was synced");
        assert_eq!(bytes.len(), 8_192, "the length was synced");
        let written: Vec<bool> = bytes.iter().map(|&b| b == 7).collect();
        assert!(!written[..700].contains(&true) && !written[2_100..].contains(&true));
        for at in 700..2_100 {
            let first = (at / 512 * 512).max(700);
            assert_eq!(written[at], written[first], "byte {at} goes with its sector");
        }
        whole |= written[700..2_100].iter().all(|&w| w);
        none |= !written.contains(&true);
    }
    assert!(whole && none);
}

#[test]
fn memory_lives_with_the_power_and_not_with_the_process() {
    let storage = host(1);
    let hot = file(&storage, "/mem/hot/a");
    hot.set_len(8_192).unwrap();
    let map = hot.map(8_192, true).unwrap();
    // SAFETY: inside the mapping, which nobody else uses.
    unsafe { map.base().write(9) };
    let boot = storage.boot();
    storage.crash();
    assert_eq!(look(&storage, "/mem/hot/a").unwrap()[0], 9);
    assert_eq!(storage.boot(), boot);
    storage.lose_power();
    assert_eq!(look(&storage, "/mem/hot/a"), None);
    assert!(storage.is_dir(Path::new(MEMORY)) && !storage.is_dir(Path::new("/mem/hot")));
    assert_ne!(storage.boot(), boot);
}

#[test]
fn the_dead_reach_nobody() {
    let storage = host(1);
    let other = storage.process();
    let path = Path::new("/mem/hot/a");
    let dead = file(&storage, "/mem/hot/a");
    dead.set_len(4_096).unwrap();
    let dead_map = dead.map(4_096, true).unwrap();
    let reader = other.open(path, OpenMode::Read).unwrap();
    let seen = reader.map(4_096, false).unwrap();
    let lock = storage.open(Path::new("/mem/hot"), OpenMode::Read).unwrap();
    assert!(dead.try_lock().unwrap() && lock.try_lock().unwrap());
    assert!(!reader.try_lock().unwrap());
    let pid = storage.pid();
    assert!(other.is_alive(pid));
    storage.crash();
    assert!(!other.is_alive(pid) && other.is_alive(storage.pid()));

    // SAFETY: inside the mappings; nobody else uses them meanwhile.
    unsafe { dead_map.base().write(1) };
    assert_eq!(look(&storage, "/mem/hot/a").unwrap()[0], 0);
    assert!(dead.write_all_at(b"x", 0).is_err() && dead.sync_data().is_err());
    assert!(reader.try_lock().unwrap(), "its locks are gone");
    drop((dead, lock));
    let next = file(&storage, "/mem/hot/a");
    assert!(!next.try_lock().unwrap(), "and its handles do not take others' with them");
    let next_map = next.map(4_096, true).unwrap();
    // SAFETY: inside the mappings; nobody else uses them meanwhile.
    let through = unsafe {
        next_map.base().write(2);
        seen.base().read()
    };
    assert_eq!(through, 2, "the living share their pages as before");
}

#[test]
fn a_process_dies_in_a_sync_with_everything_written_and_nothing_sure() {
    let mut left = BTreeSet::new();
    for seed in 0..40 {
        let storage = host(seed);
        let a = file(&storage, "/disk/day/a");
        a.write_all_at(&[1; 2_048], 0).unwrap();
        storage.sync_dir(Path::new("/disk/day")).unwrap();
        storage.crash_at_sync(2);
        a.sync_data().unwrap();
        a.write_all_at(&[2; 2_048], 0).unwrap();
        let died = catch_unwind(AssertUnwindSafe(|| a.sync_data()));
        assert!(died.unwrap_err().is::<SimulatedCrash>());
        storage.lose_power();
        let bytes = look(&storage, "/disk/day/a").unwrap();
        left.insert(bytes.iter().filter(|&&b| b == 2).count());
        assert!(bytes.iter().all(|b| [1, 2].contains(b)));
    }
    assert!(left.contains(&0) && left.contains(&2_048) && left.len() > 2, "{left:?}");
}

#[test]
fn a_process_dies_at_the_operation_it_is_told_to() {
    let mut written = BTreeSet::new();
    for seed in 0..40 {
        let storage = host(seed);
        let a = file(&storage, "/disk/day/a");
        storage.crash_at(2);
        let died = catch_unwind(AssertUnwindSafe(|| {
            assert_eq!(a.len().unwrap(), 0);
            a.write_all_at(&[1; 20_000], 0).unwrap();
            unreachable!("it died");
        }));
        assert!(died.unwrap_err().is::<SimulatedCrash>());
        assert!(a.len().is_err() && !storage.exists(Path::new("/disk")), "dead, not yet reborn");
        storage.crash();
        written.insert(look(&storage, "/disk/day/a").unwrap().len());
        assert!(storage.exists(Path::new("/disk")));
    }
    assert!(written.contains(&0) && written.contains(&20_000) && written.len() > 2, "{written:?}");
}

#[test]
fn a_full_tier_says_so_at_allocation_and_at_write() {
    let storage = host(1);
    let a = file(&storage, "/disk/day/a");
    let full = |result: io::Result<()>| {
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::ENOSPC));
    };
    storage.set_faults(Tier::Disk, Faults { limit_bytes: 16_384, ..Faults::default() });
    a.allocate(0, 8_192).unwrap();
    full(a.allocate(0, 20_000));
    assert_eq!(a.len().unwrap(), 8_192, "nothing of it");
    full(a.write_all_at(&[1; 20_000], 0));
    assert_eq!(a.len().unwrap(), 16_384, "what fitted");
    full(storage.open(Path::new("/disk/day/b"), OpenMode::Create).map(|_| ()));
    a.write_all_at(&[2; 16_384], 0).unwrap();
    assert_eq!(storage.file_system(Path::new("/disk")).unwrap().free_bytes, Some(0));
    assert_eq!(storage.file_system(Path::new("/mem")).unwrap().free_bytes, None);
    // The other tier has room; and the file's space comes back with its last handle.
    file(&storage, "/mem/hot/a").allocate(0, 1 << 20).unwrap();
    storage.unlink(Path::new("/disk/day/a")).unwrap();
    full(storage.open(Path::new("/disk/day/b"), OpenMode::Create).map(|_| ()));
    drop(a);
    file(&storage, "/disk/day/b").allocate(0, 16_384).unwrap();
}

#[test]
fn a_failed_sync_is_not_mended_by_the_next() {
    let found = outcomes("/disk/day/a", |storage| {
        let a = file(storage, "/disk/day/a");
        storage.sync_dir(Path::new("/disk/day")).unwrap();
        a.write_all_at(b"x", 0).unwrap();
        storage.set_faults(Tier::Disk, Faults { sync_eio_ppm: 1_000_000, ..Faults::default() });
        assert_eq!(a.sync_data().unwrap_err().raw_os_error(), Some(libc::EIO));
        storage.set_faults(Tier::Disk, Faults::default());
        a.sync_data().unwrap();
        assert_eq!(look(storage, "/disk/day/a").unwrap(), b"x", "the page cache has it");
    });
    assert!(found.contains(&Some(b"x".to_vec())) && found.contains(&Some(vec![0])), "{found:?}");
}

#[test]
fn a_failed_sync_of_a_directory_is_not_mended_by_the_next() {
    let found = outcomes("/disk/day/a", |storage| {
        let a = file(storage, "/disk/day/a");
        a.write_all_at(b"x", 0).unwrap();
        a.sync_data().unwrap();
        let fails = Faults { dir_sync_eio_ppm: 1_000_000, ..Faults::default() };
        storage.set_faults(Tier::Disk, fails);
        let error = storage.sync_dir(Path::new("/disk/day")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EIO));
        storage.set_faults(Tier::Disk, Faults::default());
        storage.sync_dir(Path::new("/disk/day")).unwrap();
        assert_eq!(look(storage, "/disk/day/a").unwrap(), b"x", "everybody sees it");
    });
    assert_eq!(found, BTreeSet::from([None, Some(b"x".to_vec())]));
}

#[test]
fn syncs_take_the_time_they_are_told() {
    let storage = host(1);
    let a = file(&storage, "/disk/day/a");
    storage.set_faults(Tier::Disk, Faults { sync_ns: (5, 9), ..Faults::default() });
    a.sync_data().unwrap();
    a.sync_data().unwrap();
    let stalled = storage.take_stall_ns();
    assert!((10..=18).contains(&stalled), "{stalled}");
    assert_eq!(storage.take_stall_ns(), 0);
    file(&storage, "/mem/hot/a").sync_data().unwrap();
    assert_eq!(storage.take_stall_ns(), 0, "memory is not written anywhere");
}

#[test]
fn damage_lasts() {
    let storage = host(1);
    let path = Path::new("/disk/day/a");
    storage.write_durably(path, &[0x0F; 10]).unwrap();
    assert!(storage.damage(path, 3, 0x81) && !storage.damage(path, 10, 1));
    assert_eq!(look(&storage, "/disk/day/a").unwrap()[2..5], [0x0F, 0x8E, 0x0F]);
    storage.lose_power();
    assert_eq!(look(&storage, "/disk/day/a").unwrap()[2..5], [0x0F, 0x8E, 0x0F]);
}

#[test]
fn a_directory_may_be_gone_with_everything_in_it() {
    let found = outcomes("/disk/new/a", |storage| {
        storage.create_dir_all(Path::new("/disk/new")).unwrap();
        storage.write_durably(Path::new("/disk/new/a"), b"x").unwrap();
    });
    assert_eq!(found, BTreeSet::from([None, Some(b"x".to_vec())]));
}

#[test]
fn stores_through_a_mapping_of_a_disk_file_reach_the_disk_by_luck() {
    let found = outcomes("/disk/day/a", |storage| {
        let a = file(storage, "/disk/day/a");
        a.allocate(0, 8_192).unwrap();
        a.sync_data().unwrap();
        storage.sync_dir(Path::new("/disk/day")).unwrap();
        let map = a.map(8_192, true).unwrap();
        // SAFETY: inside the mapping, which nobody else uses.
        unsafe { map.base().write_bytes(3, 8_192) };
    });
    assert!(found.len() > 4, "{}", found.len());
    assert!(found.contains(&Some(vec![0; 8_192])));
}

#[test]
fn one_seed_one_story() {
    let story = |seed| {
        let storage = host(seed);
        for round in 0..20u8 {
            let a = file(&storage, "/disk/day/a");
            a.write_all_at(&vec![round; 100 + 700 * round as usize], 300).unwrap();
            if round % 3 == 0 {
                a.sync_data().unwrap();
                storage.sync_dir(Path::new("/disk/day")).unwrap();
            }
            if round % 4 == 3 {
                storage.lose_power();
            }
        }
        (look(&storage, "/disk/day/a"), storage.random().unwrap(), storage.counts())
    };
    assert_eq!(story(5), story(5));
    assert_ne!(story(5).0, story(6).0);
}
