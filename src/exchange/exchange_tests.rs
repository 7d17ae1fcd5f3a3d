use super::super::fixture;
use super::*;

#[test]
fn genesis_says_the_opening_events() {
    let genesis = fixture::genesis();
    let mut exchange = Exchange::new(&genesis).unwrap();
    let mut events: Vec<Event> = Vec::new();
    exchange.apply(Seq(1), Nanos(5), &Command::Genesis(&genesis.encode()), &mut events);
    exchange.check();
    let kinds: Vec<u16> = events.iter().map(|event| event.body.kind()).collect();
    assert_eq!(kinds, [1, 2, 2, 3, 3, 1, 4, 4, 4]);
}
