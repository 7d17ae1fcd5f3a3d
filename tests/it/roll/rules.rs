//! What a changed configuration does to the next day, and when days begin and end.

use super::world::*;
use super::{moved, trade};
use rialto::store::files;
use rialto::topology::{Next, next_day, rehearse};
use rialto::types::*;

/// Evening of a day with [`trade`] in it.
fn evening() -> World {
    let mut world = World::open(TEXT);
    trade(&mut world);
    world.firms.clear();
    world.skip_to(MIDNIGHT.plus(17 * HOUR));
    world.roll_off();
    world.clock.set(MIDNIGHT.plus(33 * HOUR));
    world
}

#[test]
fn carried_holdings_win_and_limits_are_the_configurations() {
    let mut world = evening();
    world.configure(|text| {
        text.replace("order_quantity_max = 5000", "order_quantity_max = 7000")
            // Configured cash and shares of an account that exists: the carried ones win.
            .replace("cash = \"1000000.00\"\nshares = 100000", "cash = \"5.00\"\nshares = 5")
            // The symbols change places, and one is new.
            .replace("name = \"AAPL\"\nprice_max", "name = \"NEWS\"\nprice_max")
            .replace(
                "name = \"MSFT\"\nprice_max = \"1000.00\"",
                "name = \"MSFT\"\n[[symbol]]\nname = \"AAPL\"\nprice_max = \"1000.00\"",
            )
            // An account without anything goes, another one is new.
            .replace(
                "name = \"A02\"\nfirm = \"F01\"",
                "name = \"A03\"\nfirm = \"F01\"\ncash = \"77.00\"\nshares = 3",
            )
    });
    rehearse(&world.config, &files(), world.now()).unwrap();
    world.start().unwrap();
    let genesis = world.venue().genesis.clone();
    let mut expected = moved(1);
    expected.remove("A02");
    let news = |holdings: &mut Holdings, account: &str, shares| {
        holdings.get_mut(account).unwrap().1.insert("NEWS".into(), shares);
    };
    news(&mut expected, "A00", 5);
    news(&mut expected, "A01", 200_000);
    let all = ["AAPL", "MSFT", "NEWS"].map(|s| (s.to_string(), 3));
    expected.insert("A03".into(), (77_0000, all.into_iter().collect()));
    assert_eq!(opening(&genesis), expected);
    assert_eq!(genesis.accounts[0].limits.order_quantity_max, 7_000);
    // A limit changed during a day is told, and counts from the next.
    world.run(SECOND);
    world.crash();
    let changed =
        |text: &str| text.replace("order_quantity_max = 5000", "order_quantity_max = 9000");
    world.configure(changed);
    world.start().unwrap();
    assert!(world.venue().facts.configuration_differs);
    assert_eq!(world.venue().genesis.accounts[0].limits.order_quantity_max, 7_000);
}

#[test]
fn what_holds_something_cannot_be_taken_out_of_the_configuration() {
    let mut world = evening();
    let without = |text: &str| {
        let (head, rest) = text.split_once("[[account]]\nname = \"A01\"").unwrap();
        let (_, rest) = rest.split_once("[[account]]").unwrap();
        let (rest, _) = rest.split_once("[[session]]\nuser = \"FIRM01\"").unwrap();
        format!("{head}[[account]]{rest}")
            .replace("[[symbol]]\nname = \"MSFT\"\nprice_max = \"1000.00\"\n", "")
    };
    world.configure(without);
    let told = world.start().unwrap_err().to_string();
    for part in [
        "cannot be carried from",
        "account A01 is not in the configuration, but holds 1992900.0000 in cash, 200150 AAPL",
        "symbol MSFT is not in the configuration, but account A00 holds 100020 shares",
    ] {
        assert!(told.contains(part), "{told}");
    }
    assert_eq!(told, rehearse(&world.config, &files(), world.now()).unwrap_err().to_string());
    // Nothing was begun: with the account back the day begins, and with what was carried.
    world.configure(str::to_string);
    world.start().unwrap();
    assert_eq!(opening(&world.venue().genesis), moved(1));
}

#[test]
fn a_day_begins_and_ends_at_its_hours() {
    let next = |text: &str, at: u64| {
        let home = tempfile::tempdir().unwrap();
        match next_day(&config(home.path(), text), &*files(), MIDNIGHT.plus(at)).unwrap() {
            Next::Open(plan) => (plan.name(), None),
            Next::Wait { until, plan } => (plan.name(), Some(until.since(MIDNIGHT) / HOUR)),
        }
    };
    let name = |text: &str| text.to_string();
    assert_eq!(next(TEXT, 7 * HOUR), (name("2025-01-02"), Some(8)));
    assert_eq!(next(TEXT, 8 * HOUR), (name("2025-01-02"), None));
    assert_eq!(next(TEXT, 17 * HOUR - 1), (name("2025-01-02"), None));
    assert_eq!(next(TEXT, 17 * HOUR), (name("2025-01-03"), Some(32)));
    // Two hours ahead of UTC, 8 o'clock is 6.
    let zone = TEXT.replace("begin =", "zone_offset_minutes = 120\nbegin =");
    assert_eq!(next(&zone, 6 * HOUR), (name("2025-01-02"), None));
    assert_eq!(next(&zone, 15 * HOUR), (name("2025-01-03"), Some(30)));
    let always =
        TEXT.replace("begin = \"08:00\"\nopen = \"09:00\"\nclose = \"16:30\"\nend = \"17:00\"", "");
    assert_eq!(next(&always, 23 * HOUR), (name("2025-01-02"), None));
}

#[test]
fn trial_days_follow_each_other_under_the_next_dates() {
    let trial = TEXT.replace(
        "begin = \"08:00\"\nopen = \"09:00\"\nclose = \"16:30\"\nend = \"17:00\"\nlinger_seconds = 10",
        "open = \"immediate\"\ntrial_day_seconds = 2\nlinger_seconds = 1",
    );
    let mut world = World::new(&trial, MIDNIGHT.plus(12 * HOUR));
    for day in 2..6 {
        world.firms.clear();
        world.start().unwrap();
        world.firms = vec![Firm::new(&world, 0, |_| {}), Firm::new(&world, 1, |_| {})];
        world.until(|w| w.firms.iter().all(|f| f.broker.is_caught_up()));
        world.run(100 * MS);
        trade(&mut world);
        let report = world.firms[0].reports().nth(1).unwrap().1;
        let rialto::wire::ouch::Outbound::Accepted(accepted) = report else { panic!("{report:?}") };
        assert!(accepted.timestamp / HOUR == 12, "times are the clock's, not the date's");
        let dir = world.roll_off();
        assert!(dir.ends_with(format!("2025-01-0{day}")), "{}", dir.display());
        assert_eq!(holdings(&replayed(&dir).0), moved(day - 1));
        let genesis =
            rialto::replay::genesis(&rialto::store::DayView::open(&dir).unwrap()).unwrap();
        assert_eq!(genesis.day_of_year as u64, day);
    }
    assert_eq!(world.now().since(MIDNIGHT) / HOUR, 12);
    let names: Vec<String> = world.heard.sessions.iter().map(|s| s.0.text()).collect();
    assert_eq!(names, ["RIALTOA002", "RIALTOA003", "RIALTOA004", "RIALTOA005"]);
    assert_eq!(SessionName::new("RIALTOA002"), Some(world.heard.sessions[0].0));
}
