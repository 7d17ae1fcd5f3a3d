//! Start from a snapshot: the same to brokers and subscribers as a start from Genesis; and whatever
//! is wrong with snapshots, a start finds an older one or does the whole day again.

mod world;

use rialto::agent::Agent;
use rialto::exchange::event::Event;
use rialto::replay::{Until, replay};
use rialto::snapshot;
use rialto::store::{DayView, Faults, HEADER_BYTES, LogIndex, Storage, Tier};
use rialto::types::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use world::{MS, World};

/// What two brokers and a subscriber are told again after a restart: reports by session, messages.
fn told(world: &mut World, reports: [u64; 2], messages: u64) -> Vec<(u64, String)> {
    let mut told = Vec::new();
    for (slot, last) in reports.into_iter().enumerate() {
        let near = last.saturating_sub(30);
        for from in [1, 200, 255, 256, 257, last / 3, last / 2, last / 2 + 1, near] {
            let answer = world.reports(slot, from, 30);
            assert!(answer.len() >= 25, "session {slot}: {} reports from {from}", answer.len());
            assert_eq!(answer[0].0, from, "session {slot}");
            told.extend(answer.into_iter().map(|(n, r)| (n, format!("{r:?}"))));
        }
    }
    for from in [1, 64, 65, 66, messages / 3, messages / 2, messages / 2 + 1, messages - 40] {
        let (first, bytes) = world.repair(from, 20).expect("an answer");
        assert_eq!(first, from);
        told.push((first, format!("{bytes:02x?}")));
    }
    told
}

#[test]
fn a_start_from_a_snapshot_tells_the_same_as_one_from_genesis() {
    let mut world = World::new(1, "memory");
    world.login(0);
    world.login(1);
    world.trade(1_400);
    let covered = world.snapshot();
    // Behind it: trades, a login that displaces, a logoff, and orders that rest.
    world.trade(700);
    world.login(1);
    world.trade(500);
    let numbers = [world.last_report(0), world.last_report(1)];
    assert!(numbers.iter().all(|&n| n > 4_096 + 512), "beyond egress' memory: {numbers:?}");
    let messages = world.venue().released.get();
    let applied = world.venue().status.applied();
    world.kill();
    world.start();
    let facts = world.venue().facts.clone();
    assert_eq!(facts.snapshot, covered);
    assert_eq!(facts.commands, applied.0);
    assert_eq!(world.venue().status.state_hash().0, applied);
    let hash = world.venue().status.state_hash().1;
    let phase = world.venue().status.phase();
    world.run(5 * MS);
    let first = told(&mut world, numbers, messages);
    // New orders go on with the next numbers.
    world.trade(3);
    world.check_logs();
    world.kill();
    world.remove_snapshots();
    world.start();
    assert_eq!(world.venue().facts.snapshot, Seq(0));
    assert_eq!(world.venue().status.phase(), phase);
    world.run(5 * MS);
    assert_eq!(told(&mut world, numbers, messages), first);
    let view = world.view();
    let replayed = replay(&view, Until::Seq(applied), true, |_, _| {}, |_| {}).unwrap();
    assert_eq!(replayed.exchange.state_hash(), hash);
}

#[test]
fn lives_from_snapshot_to_snapshot() {
    let mut world = World::new(2, "memory");
    world.login(0);
    world.login(1);
    let mut last = Seq(0);
    for life in 0..6u64 {
        world.trade(30 + life as u32 * 11);
        if life % 3 != 2 {
            last = world.snapshot();
        }
        world.trade(7);
        let before = [world.last_report(0), world.last_report(1)];
        world.kill();
        world.start();
        assert_eq!(world.venue().facts.snapshot, last, "life {life}");
        world.run(5 * MS);
        for (slot, last) in before.into_iter().enumerate() {
            let answer = world.reports(slot, last - 9, 10);
            let numbers: Vec<u64> = answer.iter().map(|(n, _)| *n).collect();
            assert_eq!(numbers, (last - 9..=last).collect::<Vec<_>>(), "life {life}");
        }
        world.check_logs();
    }
    // A client that comes back is told where the session stands.
    let applied = world.clients[0].next - 1;
    assert_eq!(world.login(0).applied, applied);
}

#[test]
fn a_damaged_snapshot_gives_way_to_an_older_one_and_at_last_to_genesis() {
    let mut world = World::new(3, "memory");
    world.login(0);
    world.login(1);
    let mut taken = Vec::new();
    for _ in 0..4 {
        world.trade(20);
        taken.push(world.snapshot());
    }
    let dir = world.day_dir();
    let kept = snapshot::list(&*world.storage, &dir).unwrap();
    assert_eq!(kept, [taken[3], taken[2], taken[1]], "the last three");
    let files: Vec<_> = kept.iter().map(|&seq| dir.join(snapshot::name_of(seq))).collect();
    let whole: Vec<Vec<u8>> = files.iter().map(|f| world.storage.look(f).unwrap()).collect();
    let put_back = |world: &World| {
        for (file, bytes) in files.iter().zip(&whole) {
            world.storage.put(file, bytes).unwrap();
        }
    };
    let header = 160;
    let len = whole[0].len() as u64;
    let places =
        [0, 9, 13, 17, 25, 60, 70, 90, 150, header, header + 20, len / 2, len - 20, len - 1];
    for at in places {
        world.kill();
        put_back(&world);
        assert!(world.storage.damage(&files[0], at, 0x10));
        world.start();
        assert_eq!(world.venue().facts.snapshot, taken[2], "damage at {at}");
        assert!(!world.storage.exists(&files[0]), "it is put aside");
        world.run(3 * MS);
    }
    world.kill();
    put_back(&world);
    for (file, at) in files.iter().zip([3, 170, 400]) {
        assert!(world.storage.damage(file, at, 0xFF));
    }
    world.start();
    assert_eq!(world.venue().facts.snapshot, Seq(0), "from Genesis");
    world.trade(5);
    world.check_logs();
}

#[test]
fn damage_before_a_snapshot_that_the_feed_would_say_again_is_named() {
    let mut world = World::new(12, "memory");
    world.login(0);
    world.login(1);
    world.trade(60);
    let covered = world.snapshot();
    world.trade(2);
    // An event that the feed told some commands before the snapshot.
    let view = world.view();
    let mut reader = view.log(LogIndex::Event).reader().unwrap();
    let mut place = None;
    while let Some(record) = reader.next().unwrap() {
        let event = Event::decode(record.kind, record.payload).unwrap();
        if event.head.feed > 0 && event.head.command.0 + 20 <= covered.0 {
            place = Some(record.position);
        }
    }
    drop((reader, view));
    let place = place.expect("the feed told something");
    world.kill();
    let file = Path::new("/memory/hot/RIALTO-2025-01-02/event-0000000000.seg");
    // In its payload: lengths and numbers stay right, only the checksum tells.
    assert!(world.storage.damage(file, place + HEADER_BYTES as u64, 0x01));
    let refused = catch_unwind(AssertUnwindSafe(|| world.start())).unwrap_err();
    let text = refused.downcast_ref::<String>().expect("a text");
    assert!(text.contains(&format!("log position {place} is damaged")), "{text}");
    // With the good byte back it starts from the snapshot as ever.
    assert!(world.storage.damage(file, place + HEADER_BYTES as u64, 0x01));
    world.start();
    assert_eq!(world.venue().facts.snapshot, covered);
}

#[test]
fn what_is_wrong_with_a_log_leaves_the_snapshots_where_they_are() {
    let mut world = World::new(13, "disk");
    world.login(0);
    world.login(1);
    let taken = [40, 40].map(|rounds| {
        world.trade(rounds);
        world.snapshot()
    });
    let dir = world.day_dir();
    let there = |world: &World| snapshot::list(&*world.storage, &dir).unwrap();
    let path = dir.join(snapshot::name_of(taken[1]));
    let last = snapshot::read(&*world.storage, &path).unwrap().reach;
    world.trade(20);
    world.kill();

    // The record that the newest ends with, and one behind it: neither file is at fault.
    let file = Path::new("/memory/hot/RIALTO-2025-01-02/command-0000000000.seg");
    let end = last[LogIndex::Command as usize].end;
    for at in [last[LogIndex::Command as usize].start, end] {
        assert!(world.storage.damage(file, at + HEADER_BYTES as u64, 0x01));
        catch_unwind(AssertUnwindSafe(|| world.start())).expect_err("damaged");
        assert_eq!(there(&world), [taken[1], taken[0]]);
        assert!(world.storage.damage(file, at + HEADER_BYTES as u64, 0x01));
    }
    // A disk that does not take the rest of the logs.
    let well = world.storage.faults(Tier::Disk);
    world.storage.set_faults(Tier::Disk, Faults { sync_eio_ppm: 1_000_000, ..well });
    let refused = catch_unwind(AssertUnwindSafe(|| world.start())).unwrap_err();
    let text = refused.downcast_ref::<String>().expect("a text");
    assert!(text.contains("Input/output error"), "{text}");
    assert_eq!(there(&world), [taken[1], taken[0]]);
    world.storage.set_faults(Tier::Disk, well);
    world.start();
    assert_eq!(world.venue().facts.snapshot, taken[1]);
    world.check_logs();
}

#[test]
fn a_snapshot_of_another_day_or_ahead_of_the_log_is_refused() {
    let mut other = World::new(4, "memory");
    other.login(0);
    other.login(1);
    other.trade(60);
    let foreign = other.snapshot();
    let file = other.day_dir().join(snapshot::name_of(foreign));
    let bytes = other.storage.look(&file).unwrap();

    let mut world = World::new(5, "memory");
    world.login(0);
    world.login(1);
    world.trade(60);
    let own = world.snapshot();
    // The run ends well; what comes later is lost, all but a snapshot of it.
    world.stop_well();
    let backup = world.copy_disk();
    world.start();
    world.trade(40);
    let ahead = world.snapshot();
    let ahead_bytes = world.storage.look(&world.day_dir().join(snapshot::name_of(ahead))).unwrap();
    let dir = world.day_dir();
    world.lose_power();
    world.put_disk(&backup);
    world.storage.put(&dir.join(snapshot::name_of(ahead)), &ahead_bytes).unwrap();
    world.storage.put(&dir.join(snapshot::name_of(Seq(ahead.0 + 1))), &bytes).unwrap();
    world.start();
    assert_eq!(world.venue().facts.snapshot, own);
    assert!(world.venue().facts.commands < ahead.0);
    for seq in [ahead, Seq(ahead.0 + 1)] {
        assert!(!world.storage.exists(&dir.join(snapshot::name_of(seq))));
    }
    // Other commands get the numbers of the lost ones; the lost snapshot, were it back, is not theirs.
    world.login(0);
    world.login(1);
    world.trade(80);
    assert!(world.venue().status.applied() > ahead);
    world.kill();
    world.storage.put(&dir.join(snapshot::name_of(ahead)), &ahead_bytes).unwrap();
    world.start();
    assert_eq!(world.venue().facts.snapshot, own);
    world.check_logs();
}

#[test]
fn a_shadow_that_dies_in_the_midst_of_a_snapshot_leaves_the_older_one() {
    for operation in 1..14 {
        let mut world = World::new(10 + operation, "memory");
        world.login(0);
        world.login(1);
        world.trade(20);
        let first = world.snapshot();
        world.trade(20);
        let storage = Arc::new(world.storage.process());
        let (mut shadow, refused) = world.shadow(storage.clone());
        assert!(refused.is_empty());
        assert_eq!(shadow.applied(), first, "it begins with its own snapshot");
        world.follow(&mut shadow);
        shadow.want_snapshot();
        storage.crash_at(operation);
        let died = catch_unwind(AssertUnwindSafe(|| {
            world.follow(&mut shadow);
        }));
        storage.crash();
        drop(shadow);
        world.lose_or_kill(operation);
        world.start();
        let used = world.venue().facts.snapshot;
        match died {
            Err(_) => assert!(used >= first, "operation {operation}: {used:?}"),
            Ok(()) => assert!(used > first, "operation {operation}: {used:?}"),
        }
        world.check_logs();
    }
}

/// Level disk, power lost again and again: no snapshot is ever ahead of the log beside it, and none is
/// missing when one was written.
#[test]
fn power_is_lost() {
    for seed in 30..36 {
        let mut world = World::new(seed, "disk");
        world.login(0);
        world.login(1);
        let mut last = Seq(0);
        for cut in 0..4u32 {
            world.trade(25 + cut);
            if cut != 2 {
                last = world.snapshot();
            }
            world.trade(11);
            let acknowledged = [world.last_report(0), world.last_report(1)];
            world.lose_power();
            world.start();
            assert_eq!(world.venue().facts.snapshot, last, "seed {seed}, cut {cut}");
            world.run(5 * MS);
            for (slot, last) in acknowledged.into_iter().enumerate() {
                assert_eq!(world.reports(slot, last, 1).len(), 1, "seed {seed}, cut {cut}");
            }
            world.check_logs();
        }
    }
}

#[test]
fn a_full_disk_stops_snapshots_and_nothing_else() {
    let mut world = World::new(50, "memory");
    world.login(0);
    world.login(1);
    world.trade(20);
    let first = world.snapshot();
    world.trade(20);
    let (mut shadow, _) = world.shadow(Arc::new(world.storage.process()));
    world.follow(&mut shadow);
    world.disk_is_full(true);
    shadow.want_snapshot();
    world.trade(2);
    world.follow(&mut shadow);
    assert_eq!(shadow.written(), first);
    world.trade(10);
    world.disk_is_full(false);
    world.run(500 * MS);
    shadow.want_snapshot();
    world.follow(&mut shadow);
    assert!(shadow.written() > first);
    let counters = shadow.counters();
    assert!(counters.failed.get() + counters.waits.get() > 0);
    assert!(shadow.fault().is_none());
}

/// A shadow far behind leaves a snapshot on its way, so that the one after it has less to do.
#[test]
fn catching_up_leaves_snapshots_on_the_way() {
    let mut world = World::new(56, "memory");
    world.login(0);
    world.login(1);
    world.trade(300);
    world.run(500 * MS);
    let (mut shadow, _) = world.shadow(Arc::new(world.storage.process()));
    shadow.set_every_commands(5_000);
    assert!(shadow.is_far_behind());
    shadow.duty_cycle(world.now());
    let first = shadow.written();
    assert!(first > Seq(0) && first < world.venue().status.applied(), "{first:?}");
    drop(shadow);
    let (mut shadow, _) = world.shadow(Arc::new(world.storage.process()));
    assert_eq!(shadow.applied(), first);
    shadow.set_every_commands(5_000);
    world.follow(&mut shadow);
    assert!(shadow.written() > first && !shadow.is_far_behind());
}

/// At a peak it is the count that bounds what a start does again; a disk that takes none is asked
/// once per count, not without end.
#[test]
fn many_commands_bring_a_snapshot_before_its_time() {
    let mut world = World::new(55, "memory");
    world.login(0);
    world.login(1);
    let (mut shadow, _) = world.shadow(Arc::new(world.storage.process()));
    world.follow(&mut shadow);
    world.trade(20);
    world.follow(&mut shadow);
    assert_eq!(shadow.written(), Seq(0), "its time has not come");
    shadow.set_every_commands(shadow.applied().0 + 10);
    world.follow(&mut shadow);
    assert_eq!(shadow.written(), Seq(0));
    world.trade(20);
    world.follow(&mut shadow);
    let first = shadow.written();
    assert!(first > Seq(0), "too many to wait");

    shadow.set_every_commands(20);
    world.disk_is_full(true);
    world.trade(20);
    for _ in 0..10 {
        world.follow(&mut shadow);
    }
    assert_eq!(shadow.written(), first);
    world.disk_is_full(false);
    world.run(500 * MS);
    world.trade(20);
    world.follow(&mut shadow);
    assert!(shadow.written() > first);
}

/// The event log says what no command made: an alarm, and no snapshot of it.
#[test]
fn a_divergence_is_an_alarm_and_ends_the_snapshots() {
    let mut world = World::new(60, "memory");
    world.login(0);
    world.login(1);
    world.trade(20);
    let (mut shadow, _) = world.shadow(Arc::new(world.storage.process()));
    world.follow(&mut shadow);
    assert!(shadow.fault().is_none());
    world.kill();
    world.forge_an_event();
    shadow.want_snapshot();
    for _ in 0..10 {
        shadow.duty_cycle(Nanos(u64::MAX / 2));
    }
    let fault = shadow.fault().expect("a difference").to_string();
    assert!(fault.contains("differs at event"), "{fault}");
    assert_eq!(shadow.counters().diverged.get(), 1);
    assert_eq!(shadow.written(), Seq(0));
}

/// Snapshots while orders come: each is one that a start takes, and the shadow holds nobody up.
#[test]
fn snapshots_under_load() {
    let mut world = World::new(70, "memory");
    world.login(0);
    world.login(1);
    let (mut shadow, _) = world.shadow(Arc::new(world.storage.process()));
    let mut seen = Vec::new();
    for step in 0..60 {
        world.trade(30); // ms: a snapshot waits for its events to be archived
        shadow.want_snapshot();
        for _ in 0..1 + step % 3 {
            shadow.duty_cycle(world.now());
        }
        if seen.last() != Some(&shadow.written()) && shadow.written() > Seq(0) {
            seen.push(shadow.written());
        }
    }
    assert!(seen.len() > 10, "{seen:?}");
    let applied = world.venue().status.applied();
    world.kill();
    world.start();
    assert_eq!(world.venue().facts.snapshot, *seen.last().unwrap());
    assert_eq!(world.venue().facts.commands, applied.0);
    world.check_logs();
    let view: DayView = world.view();
    assert!(view.control().unwrap().committed(LogIndex::Event).seq > Seq(0));
}
