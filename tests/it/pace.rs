//! What is owed to many sessions at one time leaves a little at a time, and to everybody.

use crate::venue::{MS, Options, Venue, client::*};
use rialto::wire::session::Block;

const SESSIONS: usize = 64;

#[test]
fn sessions_that_are_due_together_are_told_one_after_the_other() {
    let mut venue = Venue::with(Options { sessions: SESSIONS, ..Options::default() });
    let mut clients: Vec<RawClient> = (0..SESSIONS).map(|slot| venue.client(slot)).collect();
    for client in &mut clients {
        client.login(&mut venue);
    }
    venue.run(50 * MS);
    clients.iter_mut().for_each(|client| drop(client.take()));
    for client in &mut clients {
        client.send(&[&buy(1, 990_000)]);
    }
    while venue.cycle() > 0 {}
    let told = |venue: &Venue| venue.egress.counters().applied_sent.get();
    let mut before = told(&venue);
    let begin = before;
    // K within its millisecond; from then on time stands still, so only cycles pass.
    venue.clock.advance(MS);
    let mut cycles = 0;
    while told(&venue) - begin < SESSIONS as u64 {
        venue.cycle();
        let now = told(&venue);
        assert!(now - before <= 4, "{} in one cycle", now - before);
        before = now;
        cycles += 1;
        assert!(cycles <= 200, "{} of {SESSIONS} told after {cycles} cycles", now - begin);
    }
    for client in &mut clients {
        let own = client
            .take()
            .into_iter()
            .filter(|r| matches!(r, Received::Own(Block::Applied(k)) if k.applied == 1));
        assert_eq!(own.count(), 1, "session {} was passed over", client.slot);
    }
}
