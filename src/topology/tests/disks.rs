//! Disks that fill up, slow down and fail, under a whole venue: what each durability level does, and
//! that nothing acknowledged is lost.

use super::*;
use crate::store::{Faults, Medium, Storage, Tier};

const DISK: &str = "durability = \"disk\"";
const NO_SPACE: Faults = Faults {
    limit_bytes: 0,
    mapping_reserves: false,
    write_eio_ppm: 0,
    sync_eio_ppm: 0,
    dir_sync_eio_ppm: 0,
    sync_ns: (0, 0),
};

fn sync_fails() -> Faults {
    Faults { sync_eio_ppm: 1_000_000, ..Faults::default() }
}

fn slow(ns: u64) -> Faults {
    Faults { sync_ns: (ns, ns), ..Faults::default() }
}

/// Sends resting orders until the mode stands.
fn until_mode(world: &mut World, mode: Mode) {
    let mut sent = 0;
    while world.mode() != mode {
        world.rest_orders(500);
        sent += 500;
        assert!(sent < 100_000, "never {mode:?}: {} percent", world.percent());
    }
}

/// Acceptances and refusals that the first firm was told of.
fn answers(world: &World) -> (usize, usize) {
    let reports = &world.firms[0].reports;
    let count = |what: fn(&Outbound) -> bool| reports.iter().filter(|(_, r)| what(r)).count();
    (
        count(|r| matches!(r, Outbound::Accepted(_))),
        count(|r| matches!(r, Outbound::Rejected(m) if matches!(m.reason, 0x07 | 0x22))),
    )
}

/// What left at level memory is not proven by a configuration that promises more from now on.
#[test]
fn a_day_that_lost_memory_is_refused_at_level_disk_too() {
    let mut world = World::started(config("", "/memory/hot"));
    world.rest_orders(10);
    world.run(S);
    world.archiving = false;
    world.rest_orders(10);
    world.run(10 * MS);
    world.storage.lose_power();
    world.venue = None;
    for durability in ["memory", "disk", "memory"] {
        world.config = config(&format!("durability = \"{durability}\""), "/memory/hot");
        let refused = world.start().expect_err("memory was lost");
        assert!(matches!(refused, StartError::MemoryLost { .. }), "{durability}: {refused}");
        world.storage.crash();
    }
}

#[test]
fn a_day_served_at_level_disk_needs_no_memory() {
    let mut world = World::started(config("durability = \"disk\"", "/memory/hot"));
    world.rest_orders(10);
    world.run(S);
    let before = world.events();
    world.storage.lose_power();
    world.venue = None;
    // A start at another level asks what was promised before.
    world.config = config("", "/memory/hot");
    world.start().unwrap();
    assert!(world.events().starts_with(&before));
    // From here on memory counts; a start at level disk has everything on the disk again.
    world.rest_orders(5);
    world.kill();
    world.config = config("durability = \"disk\"", "/memory/hot");
    world.start().unwrap();
    let before = world.events();
    world.storage.lose_power();
    world.venue = None;
    world.start().unwrap();
    assert!(world.events().starts_with(&before));
}

/// The disk knows that a day has begun before anybody is served, or it is not begun.
#[test]
fn a_day_does_not_begin_on_a_disk_that_does_not_take_its_first_record() {
    let mut world = World::new(config("", "/memory/hot"));
    let small_files_only = Faults { limit_bytes: 500 << 10, ..Faults::default() };
    world.storage.set_faults(Tier::Disk, small_files_only);
    for _ in 0..2 {
        // Again: the record is in memory by now.
        let refused = world.start().expect_err("the first record is on no disk");
        assert!(matches!(refused, StartError::Store(_)), "{refused}");
        world.storage.crash();
    }
    world.storage.set_faults(Tier::Disk, Faults::default());
    world.start().unwrap();
    let name = world.venue().genesis.feed_session();
    world.storage.lose_power();
    world.venue = None;
    let refused = world.start().expect_err("memory was lost");
    assert!(matches!(refused, StartError::MemoryLost { .. }), "{refused} ({name:?})");
}

#[test]
fn a_full_disk_at_level_memory_climbs_the_ladder_and_room_brings_everything_back() {
    let mut world = World::started(config("", "/memory/hot"));
    world.rest_orders(10);
    world.storage.set_faults(Tier::Disk, NO_SPACE);
    until_mode(&mut world, Mode::CancelOnly);
    let control = world.venue().day.control();
    assert_eq!(control.archive_waits(), Some(libc::ENOSPC), "told to the operator");
    assert_eq!(control.archive_failed(), None);
    until_mode(&mut world, Mode::Halt);
    world.storage.set_faults(Tier::Disk, Faults::default());
    world.run_until(10 * S, |world| world.mode() == Mode::Normal);
    let before = answers(&world).0;
    world.rest_orders(1);
    assert_eq!(answers(&world).0, before + 1);
    world.run(S);
    let control = world.venue().day.control();
    assert_eq!(control.archive_waits(), None);
    assert_eq!(control.archived(LogIndex::Command), control.written(LogIndex::Command));
    // Everything answered is in the archive alone, too.
    let (accepted, refused) = answers(&world);
    assert!(refused > 0);
    let events = world.events();
    world.storage.lose_power();
    world.venue = None;
    let made = world.events();
    let told = made.iter().filter(|e| e.head.session.0 == 0 && e.head.report > 0).count();
    assert!(made[..] == events[..made.len()]);
    assert!(told > accepted + refused, "{told} reports in the archive");
}

#[test]
fn a_failed_sync_is_final_for_the_run_and_the_ladder_follows() {
    let mut world = World::started(config("", "/memory/hot"));
    world.rest_orders(10);
    world.storage.set_faults(Tier::Disk, sync_fails());
    world.rest_orders(10);
    world.run(100 * MS);
    assert_eq!(world.venue().day.control().archive_failed(), Some(libc::EIO));
    // The disk is well again; what it lost of the failed sync nobody knows.
    world.storage.set_faults(Tier::Disk, Faults::default());
    world.run(S);
    assert_eq!(world.venue().day.control().archive_failed(), Some(libc::EIO));
    assert_eq!(world.mode(), Mode::Normal, "level memory trades on");
    until_mode(&mut world, Mode::CancelOnly);
    until_mode(&mut world, Mode::Halt);
    let (accepted, _) = answers(&world);
    // The next start reads what is really there, archives the rest, and everything goes on.
    world.kill();
    world.start().unwrap();
    world.run_until(10 * S, |world| world.mode() == Mode::Normal);
    world.rest_orders(1);
    assert_eq!(answers(&world).0, accepted + 1);
    world.firms[0].check();
}

#[test]
fn a_failed_sync_at_level_disk_commits_nothing_more_and_loses_nothing() {
    let mut world = World::started(config(DISK, "/memory/hot"));
    world.rest_orders(10);
    world.run(S);
    assert_eq!(answers(&world).0, 10);
    world.storage.set_faults(Tier::Disk, sync_fails());
    world.rest_orders(10);
    world.run(20 * S);
    assert_eq!(answers(&world).0, 10, "silence");
    assert_eq!(world.firms[0].broker.unsettled(), 10);
    assert!(
        world.firms[0].broker.is_bound() && world.firms[0].disconnects == 0,
        "heartbeats go on"
    );
    assert_eq!(world.venue().day.control().archive_failed(), Some(libc::EIO));
    world.kill();
    // A disk that goes on failing refuses the start.
    let refused = world.start().expect_err("nothing can be committed");
    assert!(matches!(refused, StartError::Archive(_) | StartError::Store(_)), "{refused}");
    world.storage.crash();
    world.storage.set_faults(Tier::Disk, Faults::default());
    world.start().unwrap();
    world.run(5 * S);
    assert_eq!(answers(&world).0, 20, "each once");
    assert_eq!(world.venue().status.open_orders(), 20);
    assert_eq!(world.firms[0].broker.unsettled(), 0);
    world.firms[0].check();
}

#[test]
fn a_full_disk_refuses_the_start_at_level_disk() {
    let mut world = World::started(config(DISK, "/memory/hot"));
    world.rest_orders(3_000);
    world.run(S);
    // The segment that is begun has its place; the next one gets none.
    world.storage.set_faults(Tier::Disk, NO_SPACE);
    let mut sent = 3_000;
    while world.firms[0].broker.unsettled() == 0 {
        world.rest_orders(200);
        sent += 200;
        world.run(S / 2);
        assert!(sent < 20_000, "the disk never fills up");
    }
    assert_eq!(world.venue().day.control().archive_waits(), Some(libc::ENOSPC));
    let before = answers(&world).0;
    world.run(5 * S);
    assert_eq!(answers(&world).0, before, "nothing is committed");
    assert!(world.firms[0].disconnects == 0);
    world.kill();
    let refused = world.start().expect_err("no room");
    assert!(matches!(refused, StartError::Archive(_)), "{refused}");
    world.storage.crash();
    world.storage.set_faults(Tier::Disk, Faults::default());
    world.start().unwrap();
    world.run(5 * S);
    assert_eq!(answers(&world).0, sent, "each once");
    world.firms[0].check();
}

#[test]
fn a_slow_disk_does_not_touch_the_order_path_at_level_memory() {
    let mut world = World::started(config("", "/memory/hot"));
    world.storage.set_faults(Tier::Disk, slow(S));
    let settled = world.firms[0].settled.len();
    let mut most = 0;
    for _ in 0..200 {
        world.rest_orders(20);
        world.run(20 * MS);
        let control = world.venue().day.control();
        let backlog = control.backlog(LogIndex::Command);
        let marks = control.written(LogIndex::Command).position
            - control.archived(LogIndex::Command).position;
        assert_eq!(backlog.bytes, marks, "the gauge is the distance of the marks");
        most = most.max(backlog.bytes);
    }
    assert!(most > 100 * 128, "it lags while the disk is slow: {most}");
    let worst = world.firms[0].settled[settled..].iter().map(|s| s.at.since(s.first_sent)).max();
    assert!(worst <= Some(2 * MS), "{worst:?}");
    world.storage.set_faults(Tier::Disk, Faults::default());
    world.run(5 * S);
    let left = world.venue().day.control().backlog(LogIndex::Command).bytes;
    assert!(left < 1_000, "caught up: {left}");
}

#[test]
fn a_slow_disk_at_level_disk_slows_answers_and_ends_no_session() {
    let mut world = World::new(config(DISK, "/memory/hot"));
    world.storage.set_faults(Tier::Disk, slow(S));
    world.start().unwrap();
    world.run_until(20 * S, |world| world.firms.iter().all(|f| f.broker.is_bound()));
    for _ in 0..60 {
        world.rest_orders(5);
        world.run(S);
    }
    world.run_until(20 * S, |world| world.firms[0].broker.unsettled() == 0);
    assert_eq!(answers(&world).0, 300);
    assert_eq!(world.firms[0].not_applied(), 0, "nothing was pushed out by repeats");
    assert!(world.firms.iter().all(|f| f.disconnects == 0), "sessions live");
    // One that comes late gets in as well, and a restart of the venue changes nothing.
    world.kill();
    world.start().unwrap();
    world.rest_orders(1);
    world.run_until(20 * S, |world| world.firms[0].broker.unsettled() == 0);
    assert_eq!(answers(&world).0, 301);
    world.firms[0].check();
}

#[test]
fn a_hot_tier_on_a_disk_only_where_the_configuration_says_so() {
    let mut world = World::new(config("degraded = false", "/disk/hot"));
    assert!(matches!(world.start(), Err(StartError::Degraded { .. })));
    let mut world = World::new(config("", "/disk/hot"));
    assert!(matches!(world.start(), Err(StartError::Degraded { .. })), "not by default");
    let mut world = World::started(config("degraded = true", "/disk/hot"));
    assert_eq!(world.venue().facts.medium, Medium::Degraded, "what `run` warns of");
    world.rest_orders(50);
    let hash = world.venue().status.state_hash();
    world.kill();
    world.start().unwrap();
    assert_eq!(world.venue().status.state_hash().1, hash.1);
    world.rest_orders(50);
    assert_eq!(answers(&world).0, 100);
    let _ = world.storage.boot();
}
