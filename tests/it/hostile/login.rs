//! Logins that are not valid, replayed, spoofed; takeovers, death and logoff.

use super::*;

#[test]
fn logins_that_are_not_valid() {
    let mut venue = Venue::new();
    let mut client = venue.client(0);
    client.key = [0xEE; 32];
    let Some(Block::Refused(j)) = client.try_login(&mut venue) else { panic!("not refused") };
    assert_eq!((j.code, j.client_nonce), (RefusedCode::NotAuthorised, [client.nonce; 16]));
    let mut stranger = venue.client_at(0, SocketAddrV4::new(Ipv4Addr::new(192, 168, 0, 1), 5_000));
    let Some(Block::Refused(j)) = stranger.try_login(&mut venue) else { panic!("not refused") };
    assert_eq!(j.code, RefusedCode::NotAuthorised);
    // Ten failures: silence, even for the right key, for a second; H still comes.
    for _ in 1..10 {
        client.try_login(&mut venue);
    }
    client.key = crate::venue::key(0);
    assert_eq!(client.try_login(&mut venue), None);
    assert!(counter(&venue, "silences") > 0);
    venue.run(1_001 * MS);
    client.login(&mut venue);
    // A bound session is never silenced.
    client.send(&[&buy(1, 1_000)]);
    venue.settle();
    assert_eq!(client.letters(), "A");
}

#[test]
fn a_stale_challenge_gets_a_new_one_whatever_else_is_wrong() {
    let mut venue = Venue::new();
    let mut client = venue.client(0);
    client.nonce = 1;
    let first = client.login_block(venue.now(), [0; 16]);
    client.send_own(&first.bytes());
    venue.settle();
    let challenges = |client: &mut RawClient| -> Vec<[u8; 16]> {
        let own = |r: &Received| match r {
            Received::Own(Block::Challenge(c)) => Some(c.server_nonce),
            _ => None,
        };
        client.take().iter().filter_map(own).collect()
    };
    let stale = challenges(&mut client)[0];
    venue.clock.advance(120_000 * MS);
    // A right login under it, and twenty with a wrong key: none is a failure.
    let login = client.login_block(venue.now(), stale);
    let signed = client.signed(&login);
    client.send_own(&signed);
    client.key = [0xEE; 32];
    let forged = client.signed(&login);
    for _ in 0..20 {
        client.send_own(&forged);
    }
    venue.settle();
    let fresh = challenges(&mut client);
    assert_eq!(fresh.len(), 21);
    assert!(fresh.iter().all(|nonce| *nonce == fresh[0] && *nonce != stale));
    // The new one is good for the rest of its minute and the next.
    venue.clock.advance(60_000 * MS);
    client.key = crate::venue::key(0);
    let login = client.login_block(venue.now(), fresh[0]);
    let signed = client.signed(&login);
    client.send_own(&signed);
    venue.settle();
    assert!(matches!(client.receive_login(fresh[0]), Some(Block::Accepted(_))));
}

#[test]
fn replayed_login_gets_the_stored_answer_then_nothing_of_use() {
    let mut venue = Venue::new();
    let mut client = venue.client(0);
    venue.clock.advance(1_000);
    client.nonce = 1;
    let first = client.login_block(venue.now(), [0; 16]);
    client.send_own(&first.bytes());
    venue.settle();
    let nonce = match &client.take()[..] {
        [Received::Own(Block::Challenge(c))] => c.server_nonce,
        other => panic!("{other:?}"),
    };
    let login = client.login_block(venue.now(), nonce);
    let signed = client.signed(&login);
    client.send_own(&signed);
    client.send_own(&signed); // repeated before the first was committed
    venue.settle();
    client.receive();
    let stored = client.raw[0].clone();
    let Some(Block::Accepted(accepted)) = client.receive_login(nonce) else { panic!("no A") };
    client.send(&[&buy(1, 1_000)]);
    venue.settle();
    client.take();
    // The same bytes from the same source: the same A, byte for byte, and no new generation.
    client.send_own(&signed);
    venue.settle();
    client.receive();
    assert_eq!(client.raw, [stored]);
    client.take();
    assert_eq!(venue.board.binding(SessionSlot(0)).1.generation, accepted.generation);
    // From another source they get H: the nonce is not that source's.
    let mut thief = venue.client_at(0, SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, 77), 5_000));
    thief.send_own(&signed);
    venue.settle();
    assert!(matches!(&thief.take()[..], [Received::Own(Block::Challenge(_))]));
    // After another login the old bytes have an old time.
    client.login(&mut venue);
    client.send_own(&signed);
    venue.settle();
    assert_eq!(refused(&client.take()), [RefusedCode::Time]);
}

#[test]
fn spoofed_sources_and_foreign_tokens() {
    let (mut venue, mut client) = with_client(Options::default());
    let next = venue.inbound.next_seq();
    let mut spoofer = venue.client_at(0, SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, 1), 5_001));
    let order = client.packet(1, &[&buy(1, 1_000)]);
    spoofer.send_raw(&order);
    spoofer.accepted = client.accepted;
    spoofer.request(1, 1);
    // A token of another slot, of no slot, and one guessed.
    let mut foreign = client.token;
    foreign.0[1] = b'1';
    let mut none = client.token;
    none.0[..2].copy_from_slice(b"zz");
    let mut guessed = client.token;
    guessed.0[9] = if guessed.0[9] == b'A' { b'B' } else { b'A' };
    for token in [foreign, none, guessed, Alpha([0xFF; 10])] {
        let mut bytes = order.clone();
        bytes[..10].copy_from_slice(&token.0);
        client.send_raw(&bytes);
    }
    venue.settle();
    assert_eq!(spoofer.take(), []);
    assert_eq!(client.take(), []);
    assert_eq!(venue.inbound.next_seq(), next);
    assert_eq!(counter(&venue, "wrong_address"), 2);
    assert_eq!(counter(&venue, "unknown_session"), 4);
}

#[test]
fn takeover_tells_the_displaced_once_and_ends_its_token() {
    let (mut venue, mut old) = with_client(Options::default());
    old.send(&[&buy(1, 1_000)]);
    venue.settle();
    assert_eq!(old.letters(), "A");
    let mut new = venue.client_at(0, SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, 99), 6_000));
    new.nonce = 50;
    let accepted = new.login(&mut venue);
    assert_eq!((accepted.applied, accepted.next_report, accepted.generation), (1, 3, 2));
    let told = old.take();
    assert_eq!(refused(&told), [RefusedCode::BoundElsewhere]);
    old.send(&[&buy(2, 1_000)]);
    old.heartbeat();
    venue.run(5 * MS);
    assert_eq!(old.take(), [], "without a login it is dropped unanswered");
    // The order of the old binding goes on reporting, to the new one.
    new.send(&[&cancel(1)]);
    venue.settle();
    assert_eq!(new.letters(), "C");
}

#[test]
fn an_old_token_says_nothing_after_a_new_login() {
    let (mut venue, mut client) = with_client(Options::default());
    let stale = client.packet(1, &[&buy(1, 1_000)]);
    client.login(&mut venue);
    client.send_raw(&stale);
    client.send(&[&buy(7, 1_000)]);
    venue.settle();
    let reports = client.reports();
    let [(2, Outbound::Accepted(a))] = &reports[..] else { panic!("{reports:?}") };
    assert_eq!(a.urn, Urn(7));
}

#[test]
fn dead_session_cancels_its_orders_and_its_token_is_refused() {
    let mut venue = Venue::new();
    let mut client = venue.client(0);
    client.flags = FLAG_CANCEL_ON_DISCONNECT;
    client.dead_time_ms = 10;
    assert_eq!(client.login(&mut venue).dead_time_ms, 1_000);
    // More than one bounded step's worth.
    for urn in 1..=300 {
        client.send(&[&buy(urn, 1_000)]);
        venue.run(MS / 5);
    }
    assert_eq!(venue.engine.exchange().open_orders(), 300);
    venue.run(900 * MS);
    client.heartbeat();
    venue.run(900 * MS);
    assert!(venue.board.binding(SessionSlot(0)).1.bound, "a heartbeat is a sign of life");
    venue.run(200 * MS);
    assert!(!venue.board.binding(SessionSlot(0)).1.bound);
    assert_eq!(venue.engine.exchange().open_orders(), 0);
    client.take();
    for _ in 0..5 {
        client.heartbeat();
        client.send(&[&buy(1_000, 1_000)]);
        venue.run(100 * MS);
    }
    assert_eq!(refused(&client.take()), [RefusedCode::NoSession]);
    venue.run(600 * MS);
    client.heartbeat();
    venue.settle();
    assert_eq!(refused(&client.take()), [RefusedCode::NoSession], "at most one a second");
    // The cancels were numbered while nobody was bound, and can be had.
    let accepted = client.login(&mut venue);
    assert_eq!(accepted.next_report, 602);
    client.request(302, 300);
    venue.settle();
    assert_eq!(client.letters(), "C".repeat(300));
    venue.engine.exchange().check();
}

#[test]
fn logoff_must_carry_the_next_number() {
    let mut venue = Venue::new();
    let mut client = venue.client(0);
    client.flags = FLAG_CANCEL_ON_DISCONNECT;
    client.login(&mut venue);
    client.send(&[&buy(1, 1_000)]);
    venue.settle();
    client.next += 1;
    client.logoff();
    venue.run(2 * MS);
    let received = client.take();
    assert!(!applied(&received).is_empty());
    assert!(!received.iter().any(|r| matches!(r, Received::End(_))));
    client.next -= 1;
    client.logoff();
    venue.run(20 * MS);
    let received = client.take();
    let end = received.iter().position(|r| matches!(r, Received::End(3))).unwrap();
    assert!(matches!(received[end - 1], Received::Own(Block::Applied(_))), "{received:?}");
    assert_eq!(received.iter().filter(|r| matches!(r, Received::End(3))).count(), 3);
    assert_eq!(venue.engine.exchange().open_orders(), 0);
    client.logoff();
    venue.settle();
    assert_eq!(refused(&client.take()), [RefusedCode::NoSession]);
}

#[test]
fn logoffs_repeated_before_the_commit_fill_no_log() {
    let (mut venue, mut client) = with_client(Options::default());
    venue.sequencing = false;
    for _ in 0..1_000 {
        client.logoff();
        venue.ingress.duty_cycle(venue.now());
    }
    venue.sequencing = true;
    venue.run(20 * MS);
    assert_eq!(counter(&venue, "logoffs"), 1);
    assert_eq!(counter(&venue, "logoffs_under_way"), 999);
    let received = client.take();
    assert_eq!(received.iter().filter(|r| matches!(r, Received::End(2))).count(), 3);
    client.login(&mut venue);
    client.logoff();
    venue.run(20 * MS);
    assert_eq!(counter(&venue, "logoffs"), 2, "of another login");
}

#[test]
fn silence_while_the_exchange_does_not_read_ends_no_session() {
    let rate = Rate { per_second: 1_000_000, burst: 100_000 };
    let options = Options { rate, command_slots: 1_024, ..Options::default() };
    let (mut venue, mut client) = with_client(options);
    client.dead_time_ms = 1_000;
    client.login(&mut venue);
    let mut other = venue.client(1);
    other.login(&mut venue);
    // The sequencer stands still, the command ring fills, the network is not read for two seconds.
    venue.sequencing = false;
    for urn in 1..=1_100 {
        other.send(&[&buy(urn, 1_000)]);
        venue.ingress.duty_cycle(venue.now());
    }
    for _ in 0..20 {
        client.heartbeat();
        venue.clock.advance(100 * MS);
        venue.timer.duty_cycle(venue.now());
        venue.ingress.duty_cycle(venue.now());
    }
    venue.sequencing = true;
    venue.run(100 * MS);
    assert!(venue.board.binding(SessionSlot(0)).1.bound, "it spoke all the time");
    venue.run(1_300 * MS);
    assert!(!venue.board.binding(SessionSlot(0)).1.bound, "from then on silence counts");
}

#[test]
fn closed_market_and_the_end_of_the_day() {
    let (mut venue, mut client) = with_client(Options::default());
    client.send(&[&buy(1, 1_000)]);
    venue.settle();
    client.take();
    venue.command(&Command::Phase(Phase::Closed));
    client.send(&[&buy(2, 1_000)]);
    venue.settle();
    let closed = RejectReason::DestinationClosed as u16;
    assert_eq!(rejects(&mut client), [(2, closed)]);
    venue.command(&Command::EndOfDay);
    venue.run(20 * MS);
    let received = client.take();
    let reports: String = received
        .iter()
        .filter_map(|r| match r {
            Received::Reports(_, blocks) => Some(blocks.iter().map(letter).collect::<String>()),
            _ => None,
        })
        .collect();
    assert_eq!(reports, "CS");
    assert_eq!(received.iter().filter(|r| matches!(r, Received::End(6))).count(), 3);
    // The ended day is still served: an order says nothing, and no J may come before 0xFFFF.
    let next = venue.inbound.next_seq();
    client.send(&[&buy(3, 1_000)]);
    venue.settle();
    assert_eq!((refused(&client.take()), venue.inbound.next_seq()), (vec![], next));
    let Some(Block::Refused(j)) = client.try_login(&mut venue) else { panic!("not refused") };
    assert_eq!(j.code, RefusedCode::NoSession);
}
