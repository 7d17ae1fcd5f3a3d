//! The process dies at any step between EndOfDay and the first command of the new day, and again: what
//! comes up carries exactly once, loses nothing, and knows one Genesis a day.

use super::world::*;
use super::{moved, trade};
use rialto::broker::SendError;
use rialto::exchange::command::kind;
use rialto::exchange::event::EventBody;
use rialto::store::{Day, DayView, LogIndex};
use rialto::topology::{Assembly, close_day};
use rialto::types::*;

/// Orders that rest at the end: four steps of expiry.
const ORDERS: u32 = 900;

fn world() -> World {
    let text = TEXT.replace("linger_seconds = 10", "linger_seconds = 1");
    let mut world = World::open(&text);
    trade(&mut world);
    for i in 0..ORDERS {
        let order = order(Side::Sell, "AAPL", 1, 80_0000 + i * 100);
        while world.firms[1].broker.enter(&order) == Err(SendError::WindowFull) {
            world.run(MS);
        }
    }
    world.until(|w| w.firms[1].broker.unsettled() == 0);
    world.skip_to(Nanos(MIDNIGHT.plus(17 * HOUR).0 - MS));
    world.clock.advance(MS);
    world
}

/// The ended day as it must be, whatever happened on the way.
fn check_ended(world: &World) {
    let (exchange, events) = replayed(&world.day("2025-01-02"));
    assert!(exchange.day_over());
    assert_eq!(holdings(&exchange), moved(1));
    let expired = |e: &&rialto::exchange::event::Event| matches!(e.body, EventBody::Canceled(_));
    // Three of `trade` rest besides; one of them was traded against in part.
    assert_eq!(events.iter().filter(expired).count() as u32, ORDERS + 3);
    let ends = |code| {
        let is = |e: &&rialto::exchange::event::Event| matches!(&e.body, EventBody::System(s) if s.code == code);
        events.iter().filter(is).count()
    };
    assert_eq!((ends(b'E'), ends(b'C')), (1, 1), "the feed ends once");
}

/// The next day as it must begin.
fn check_begun(world: &mut World) {
    assert_eq!(opening(&world.venue().genesis), moved(1));
    assert!(world.venue().facts.day.ends_with("2025-01-03"));
    world.run(200 * MS);
    world.crash();
    let (exchange, _) = replayed(&world.day("2025-01-03"));
    assert_eq!(holdings(&exchange), moved(1));
}

fn finish(mut world: World) {
    world.firms.clear();
    world.roll_off();
    check_ended(&world);
    world.clock.set(MIDNIGHT.plus(33 * HOUR));
    world.start().unwrap();
    check_begun(&mut world);
}

#[test]
fn at_every_step_of_the_end() {
    let mut world = world();
    let mut turn = 0;
    let mut lives = 0;
    // Each life gets one step more than the one before, until one of them sees the day over.
    while !world.over() {
        for _ in 0..lives {
            world.step_agent(turn);
            turn += 1;
            if turn.is_multiple_of(10) {
                world.clock.advance(MS);
            }
        }
        lives += 1;
        if !world.over() {
            world.crash();
            world.start().unwrap();
        }
    }
    assert!(lives > 10, "{lives} lives");
    world.crash();
    world.start().unwrap();
    finish(world);
}

#[test]
fn at_every_step_of_the_end_in_one_life_each() {
    // The same with one crash, after n steps of agents; every third n, as a world takes its time.
    for steps in (0..60).step_by(3) {
        let mut world = world();
        for turn in 0..steps {
            world.step_agent(turn);
            if turn % 10 == 9 {
                world.clock.advance(21 * MS);
            }
        }
        world.crash();
        world.clock.advance(50 * MS);
        world.start().unwrap();
        finish(world);
    }
}

#[test]
fn at_every_step_of_closing_the_day_and_beginning_the_next() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Dies {
        BeforeSealing,
        BeforeNoting,
        BeforeRetiring,
        BeforeGenesis,
        AfterGenesis(usize),
    }
    let mut places =
        vec![Dies::BeforeSealing, Dies::BeforeNoting, Dies::BeforeRetiring, Dies::BeforeGenesis];
    places.extend((0..24).step_by(3).map(Dies::AfterGenesis));
    for dies in places {
        println!("{dies:?}");
        let mut world = world();
        world.firms.clear();
        world.until(World::over);
        world.run(SECOND);
        let Assembly { agents, preparer, day, status, .. } = world.venue.take().unwrap();
        drop((agents, preparer));
        let hash = status.state_hash().1;
        let half = |day: Day| {
            if dies == Dies::BeforeSealing {
                return;
            }
            assert!(day.seal().unwrap());
            if dies == Dies::BeforeNoting {
                return;
            }
            day.note_ended(hash).unwrap();
        };
        match dies {
            Dies::BeforeSealing | Dies::BeforeNoting | Dies::BeforeRetiring => half(day),
            _ => assert!(close_day(day, Some(hash)).unwrap()),
        }
        let noted = world.day("2025-01-02").join("ended").exists();
        world.clock.set(MIDNIGHT.plus(33 * HOUR));
        if !noted {
            // The day is opened once more, found over, served, and closed.
            world.start().unwrap();
            assert!(world.over() && !world.venue().facts.ended_late);
            world.roll_off();
        }
        check_ended(&world);
        world.start().unwrap();
        if let Dies::AfterGenesis(steps) = dies {
            let log_id = |w: &World| {
                let view = DayView::open(&w.day("2025-01-03")).unwrap();
                let mut log = view.log(LogIndex::Command).reader().unwrap();
                let first = log.next().unwrap().unwrap();
                assert_eq!(first.kind, kind::GENESIS);
                first.payload.to_vec()
            };
            for turn in 0..steps {
                world.step_agent(turn);
            }
            let before = log_id(&world);
            world.crash();
            world.start().unwrap();
            assert_eq!(log_id(&world), before, "the Genesis that was written counts");
        }
        check_begun(&mut world);
    }
}

#[test]
fn a_day_whose_memory_is_lost_is_not_begun_under_the_same_names_again() {
    let mut world = world();
    world.firms.clear();
    world.roll_off();
    world.clock.set(MIDNIGHT.plus(33 * HOUR));
    world.start().unwrap();
    // The machine's memory is gone before any agent took a step.
    world.crash();
    std::fs::remove_dir_all(world.home.path().join("hot")).unwrap();
    let error = world.start().unwrap_err().to_string();
    assert!(error.contains("set `incarnation = \"B\"` in [venue]"), "{error}");
    world.configure(|text| {
        text.replace("name = \"RIALTO\"", "name = \"RIALTO\"\nincarnation = \"B\"")
    });
    for _ in 0..2 {
        world.start().unwrap();
        assert!(world.venue().facts.day.ends_with("2025-01-03-B"));
        assert_eq!(opening(&world.venue().genesis), moved(1), "carried all the same");
        world.crash();
    }
    // The next day has its first letter again, whatever the configuration still says.
    world.start().unwrap();
    world.skip_to(MIDNIGHT.plus(41 * HOUR));
    assert_eq!(world.roll_off(), world.day("2025-01-03-B").canonicalize().unwrap());
    world.clock.set(MIDNIGHT.plus(57 * HOUR));
    world.start().unwrap();
    assert_eq!(world.venue().genesis.incarnation, b'A');
    assert!(world.venue().facts.day.ends_with("2025-01-04"));
    // Left over, it agrees to nothing that this day may lose.
    world.crash();
    std::fs::remove_dir_all(world.home.path().join("hot")).unwrap();
    for _ in 0..2 {
        let error = world.start().unwrap_err().to_string();
        assert!(error.contains("set `incarnation = \"C\"` in [venue]"), "{error}");
    }
    world.configure(|text| {
        text.replace("name = \"RIALTO\"", "name = \"RIALTO\"\nincarnation = \"C\"")
    });
    world.start().unwrap();
    assert!(world.venue().facts.day.ends_with("2025-01-04-C"));
}

#[test]
fn nothing_is_carried_from_a_day_that_replays_to_another_state() {
    let mut world = world();
    world.firms.clear();
    let dir = world.roll_off();
    std::fs::write(dir.join("ended"), "0123456789abcdef\n").unwrap();
    world.clock.set(MIDNIGHT.plus(33 * HOUR));
    let error = world.start().unwrap_err().to_string();
    assert!(error.contains("the exchange ended at 0123456789abcdef"), "{error}");
    assert!(world.start().is_err(), "and again");
}
