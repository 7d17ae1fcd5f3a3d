//! The end of a day while a thread stands still: nobody's last message is given up.

use super::*;
use crate::shadow::Shadow;
use crate::store::{Faults, Tier};

/// A venue whose day is over while the thread of `agent` stands still.
fn over_without(agent: AgentName) -> World {
    let mut world =
        World::started(config("trial_day_seconds = 3\nlinger_seconds = 1", "/memory/hot"));
    world.still = Some(agent);
    world.rest_orders(10);
    world.run_until(4 * S, |w| w.venue().status.day_over().is_some());
    world
}

fn served_at(world: &World, now: Nanos) -> bool {
    let venue = world.venue();
    venue.ending.is_served(venue.facts.ready, world.config.day.linger_ns, now)
}

/// Tomorrow's hours, written today: the day would end at once, and all orders with it.
#[test]
fn an_end_that_the_day_has_long_passed_is_refused() {
    let hours = |end: &str| config(&format!("begin = \"09:00\"\nend = \"{end}\""), "/memory/hot");
    let mut world = World::started(hours("17:00"));
    world.rest_orders(10);
    world.run(S);
    world.kill();
    world.config = hours("09:20");
    let refused = world.start().expect_err("it ended before it did");
    assert!(matches!(refused, StartError::EndPassed { minutes: 10, .. }), "{refused}");
    world.storage.crash();
    // An end that has passed since the last command is one that the venue was not there for.
    world.config = hours("09:31");
    world.clock.advance(10 * 60 * S);
    world.start().unwrap();
    assert!(world.venue().facts.ended_late);
}

#[test]
fn a_day_is_served_from_when_its_end_was_told_by_all() {
    let cases: [(_, &[&str]); 3] = [
        (AgentName::Publisher, &["the feed", "repair"]),
        (AgentName::Egress, &["the sessions"]),
        (AgentName::Retransmitter, &["repair"]),
    ];
    for (agent, untold) in cases {
        let mut world = over_without(agent);
        // Longer than an ended day is served.
        world.run(3 * S);
        assert!(served_at(&world, world.clock.now()), "{agent:?}");
        assert_eq!(world.venue().ending.untold(), untold);
        world.still = None;
        world.run(20 * MS);
        assert_eq!(world.venue().ending.untold(), [""; 0], "{agent:?}");
        let last = world.events().iter().map(|event| event.head.feed).max();
        assert_eq!(Some(world.venue().released.get()), last);
        // Who missed something of it has as long as ever to ask.
        world.run(960 * MS);
        assert!(served_at(&world, world.clock.now()), "{agent:?}");
        world.run(60 * MS);
        assert!(!served_at(&world, world.clock.now()), "{agent:?}");
    }
}

#[test]
fn an_end_that_cannot_be_told_holds_the_day_up_for_a_minute() {
    let world = over_without(AgentName::Publisher);
    let over = world.venue().status.day_over().expect("the day is over");
    assert!(served_at(&world, over.plus(60 * S - 1)));
    assert!(!served_at(&world, over.plus(60 * S)));
}

/// The last snapshot of the day does not wait for its time, but it does for a disk that takes none: the
/// shadow does not try without end.
#[test]
fn a_full_disk_at_the_end_of_the_day_is_asked_by_time_only() {
    let mut world =
        World::started(config("trial_day_seconds = 3\nlinger_seconds = 1", "/memory/hot"));
    world.rest_orders(10);
    world.run_until(4 * S, |w| w.venue().status.day_over().is_some());
    world.run(S + 50 * MS);
    let shadow = Shadow::open(Arc::new(world.storage.process()), Path::new(DAY), 15 * S);
    let (mut shadow, _) = shadow.unwrap();
    world.storage.set_faults(Tier::Disk, Faults { limit_bytes: 0, ..Faults::default() });
    let now = world.clock.now();
    let cycles = |shadow: &mut Shadow, now| {
        for _ in 0..100 {
            shadow.duty_cycle(now);
        }
        shadow.counters().failed.get()
    };
    assert_eq!(cycles(&mut shadow, now), 1);
    assert_eq!(cycles(&mut shadow, now.plus(15 * S - 1)), 1);
    assert_eq!(cycles(&mut shadow, now.plus(15 * S)), 2);
    world.storage.set_faults(Tier::Disk, Faults::default());
    assert_eq!(cycles(&mut shadow, now.plus(30 * S)), 2);
    assert!(shadow.is_done() && shadow.counters().snapshots.get() == 1);
}
