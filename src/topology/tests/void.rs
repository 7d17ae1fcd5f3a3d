//! A command that kills the exchange: the drill from the first death to the second operator's word.

use super::*;
use crate::exchange::Naive;
use crate::exchange::command::Command;
use crate::exchange::fixture::POISON;
use crate::guard::{Guard, Operator, Place, Void, crash};
use crate::replay::{Until, replay, voids};

fn poison() -> NewOrder {
    NewOrder { cl_ord_id: POISON, ..order(Side::Sell, 10_0000) }
}

fn operator(name: &str) -> Operator {
    let key = match name {
        "ANNA" => [0x0a; 32],
        "BERT" => [0x0b; 32],
        "CARL" => [0x0c; 32],
        _ => [0xff; 32],
    };
    Operator { name: name.into(), key }
}

impl World {
    fn place(&self) -> Place {
        let log_id = self.view().log(LogIndex::Command).options().log_id;
        Place { storage: self.storage.clone(), dir: DAY.into(), log_id }
    }

    fn crash(&self) -> Option<crash::Crash> {
        crash::read(&*self.storage, Path::new(DAY)).unwrap()
    }

    /// One operator voids what the crash file names; false = he has already.
    fn void(&self, operator: &Operator) -> bool {
        let crash = self.crash().expect("a crash file");
        Void::sign(&self.place(), &crash, operator).store(&self.place()).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let files = self.storage.look_at_all(Path::new(DAY));
        let mut names: Vec<String> =
            files.into_iter().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
        names.retain(|name| name.starts_with("void") || name == "crash");
        names.sort();
        names
    }
}

/// A venue that was killed twice by the same order, with orders resting before and sent behind it.
fn dead_twice() -> (World, Seq) {
    let mut world = World::started(config("", "/memory/hot"));
    world.rest_orders(5);
    world.firms[0].broker.enter(&poison()).unwrap();
    world.firms[0].broker.enter(&order(Side::Sell, 10_0000)).unwrap();
    world.run(5 * MS);
    assert!(world.venue.is_none(), "the order has killed it");
    assert_eq!(world.died.take().as_deref(), Some("poisoned order 6"));
    let crash = world.crash().expect("noted");
    assert_eq!((crash.deaths, crash.why.as_str()), (1, "poisoned order 6"));
    // The next start applies it again, and dies while it recovers.
    world.start().unwrap();
    assert!(world.venue.is_none());
    assert_eq!(world.died.take().as_deref(), Some("poisoned order 6"));
    assert_eq!(world.crash().expect("noted").deaths, 2);
    (world, crash.command)
}

#[test]
fn twice_dead_it_stands_halted_until_two_people_void_the_command() {
    let (mut world, command) = dead_twice();
    let seen = world.firms[0].reports.len();
    world.start().unwrap();
    assert_eq!(world.venue().status.halted_before(), Some(command));
    // Whoever replays the day stands before it, too, and asked for less meets nothing of it.
    let replayed = replay(&world.view(), Until::End, true, |_, _| {}, |_| {}).unwrap();
    assert_eq!((replayed.seq, replayed.halted_before), (Seq(command.0 - 1), Some(command)));
    assert_eq!(replayed.exchange.state_hash(), world.venue().status.state_hash().1);
    let until = Until::Seq(Seq(command.0 - 1));
    let before = replay(&world.view(), until, true, |_, _| {}, |_| {}).unwrap();
    assert_eq!((before.seq, before.halted_before), (Seq(command.0 - 1), None));
    assert_eq!(world.venue().facts.halted.as_ref().map(|crash| crash.deaths), Some(2));
    assert_eq!(world.venue().status.applied(), Seq(command.0 - 1));
    // Reports and repair are served, heartbeats keep the sessions, nothing new is taken.
    let written = world.venue().day.control().written(LogIndex::Command);
    world.firms[1].broker.enter(&order(Side::Buy, 10_0000)).unwrap();
    world.run(10 * S);
    assert_eq!(world.venue().day.control().written(LogIndex::Command), written);
    for firm in &world.firms {
        assert!(firm.broker.is_bound() && firm.disconnects == 0, "heartbeats go on");
    }
    assert_eq!(world.firms[0].reports.len(), seen);
    assert_eq!((world.firms[0].broker.unsettled(), world.firms[1].broker.unsettled()), (2, 1));
    // Who comes back gets no new binding, but no wrong answer either.
    let late = Firm::new(&world.network, "ALFA", 9);
    world.firms.push(late);
    world.run(2 * S);
    assert!(!world.firms.pop().unwrap().broker.is_bound());

    // A start with one void, and with two of one person, stands halted too.
    assert!(world.void(&operator("ANNA")));
    assert!(!world.void(&operator("ANNA")), "it takes another person");
    world.kill();
    world.start().unwrap();
    assert_eq!(world.venue().status.halted_before(), Some(command));
    // A key that is nobody's counts for nothing, and is set aside.
    let mut forged = operator("BERT");
    forged.key = [9; 32];
    assert!(world.void(&forged));
    world.kill();
    world.start().unwrap();
    assert_eq!(world.venue().status.halted_before(), Some(command));
    let name = |rest: &str| format!("void-{:020}-{rest}", command.0);
    assert_eq!(world.names(), ["crash".into(), name("ANNA"), name("BERT.refused")]);

    assert!(world.void(&operator("BERT")));
    world.kill();
    world.start().unwrap();
    assert_eq!(world.venue().status.halted_before(), None);
    assert!(world.crash().is_none(), "got past it");
    world.run(2 * S);
    // The poisoned order did not happen, and its sender knows; what stood behind it in the log did.
    assert_eq!(world.firms[0].not_applied(), 1);
    assert_eq!(world.firms[0].own.live().len(), 5, "and the sixth has traded");
    assert_eq!(world.firms[0].broker.unsettled() + world.firms[1].broker.unsettled(), 0);
    // The one that was sent into the halt was taken afterwards, and traded.
    assert!(world.firms[1].reports.iter().any(|(_, r)| matches!(r, Outbound::Executed(_))));
    world.firms.iter().for_each(Firm::check);
    obeyed_everywhere(&mut world, command);
}

/// Replay, the naive model and further lives agree about a day with a void command.
fn obeyed_everywhere(world: &mut World, command: Seq) {
    let events = world.events();
    for (event, wanted) in events.iter().filter(|e| e.head.feed > 0).zip(1..) {
        assert_eq!(event.head.feed, wanted, "the feed has no gap");
    }
    let applied = world.venue().status.applied();
    let view = world.view();
    assert_eq!(voids(&view).unwrap().commands(), [command]);
    let replayed = replay(&view, Until::Seq(applied), true, |_, _| {}, |_| {}).unwrap();
    assert_eq!(replayed.verified, replayed.events);
    let mut naive = Naive::new(replayed.exchange.genesis()).unwrap();
    let mut commands = view.log(LogIndex::Command).reader().unwrap();
    let mut made: Vec<Event> = Vec::new();
    while let Some(record) = commands.next().unwrap()
        && record.seq <= applied
    {
        let decoded = Command::decode(record.kind, record.payload).unwrap();
        match record.seq == command {
            true => naive.apply_void(record.seq, record.time, &decoded, &mut made),
            false => naive.apply(record.seq, record.time, &decoded, &mut made),
        }
    }
    assert_eq!(naive.state_hash(), replayed.exchange.state_hash());
    world.kill();
    world.start().unwrap();
    assert_eq!(world.events()[..events.len()], events[..]);
    world.rest_orders(1);
    assert!(world.venue.is_some());
}

#[test]
fn a_crash_file_of_another_command_is_nobodys() {
    let (mut world, command) = dead_twice();
    // The log lost its tail with the machine's memory: the number is another command's now.
    let mut crash = world.crash().unwrap();
    crash.checksum ^= 1;
    let place = world.place();
    let guard = Guard::look(place.clone(), &[], |_| Ok(Some(crash.checksum))).unwrap();
    assert!(guard.crash().is_none() && guard.halted_before().is_none());
    assert!(world.crash().is_none(), "removed");
    // Without it the command kills again, once: the count begins anew.
    world.start().unwrap();
    assert_eq!(world.crash().map(|crash| (crash.command, crash.deaths)), Some((command, 1)));
}

#[test]
fn a_void_of_what_never_killed_is_ignored_and_a_damaged_file_is_named() {
    let mut world = World::started(config("", "/memory/hot"));
    world.rest_orders(3);
    let command = world.venue().status.applied();
    let crash = crash::Crash {
        log_id: world.place().log_id,
        command,
        checksum: 1,
        deaths: 2,
        why: "made up".into(),
    };
    for name in ["ANNA", "BERT"] {
        assert!(Void::sign(&world.place(), &crash, &operator(name)).store(&world.place()).unwrap());
    }
    let hash = world.venue().status.state_hash();
    world.kill();
    world.start().unwrap();
    assert!(voids(&world.view()).unwrap().commands().is_empty());
    assert_eq!(world.venue().status.state_hash().1, hash.1);
    world.kill();
    world
        .storage
        .put(&crash::path(Path::new(DAY)), b"rialto crash 1\nlog 0\ncrc 00000000\n")
        .unwrap();
    let refused = world.start().expect_err("a file that does not check");
    assert!(refused.to_string().contains("crash: wrong checksum"), "{refused}");
}
