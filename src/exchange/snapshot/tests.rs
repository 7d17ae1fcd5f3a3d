//! Damage: whatever is done to the bytes of a snapshot, it is an error and never another exchange.

use super::super::command::*;
use super::super::event::Event;
use super::super::fixture;
use super::*;
use crate::types::*;

fn login(session: u16) -> Command<'static> {
    Command::Login(Login {
        session: SessionSlot(session),
        flags: 1,
        version: 1,
        generation: 1,
        token: Alpha::BLANK,
        dead_time_ms: 5_000,
        client_nonce: [0; 16],
        server_nonce: [0; 16],
        ip: [0; 4],
        port: 0,
        zero: [0; 6],
        login_time: Nanos(1),
        received: Nanos(0),
    })
}

fn enter(session: u16, urn: u32, side: u8, price: u64, quantity: u32) -> Command<'static> {
    let head = MessageHead {
        session: SessionSlot(session),
        verdict: 0,
        body: 0,
        generation: 1,
        client_seq: u64::from(urn),
        received: Nanos(0),
    };
    let order = Enter {
        urn: Urn(urn),
        quantity: Quantity(quantity),
        price,
        symbol: Symbol::new("AAPL").unwrap(),
        account: Alpha::BLANK,
        min_quantity: Quantity(0),
        cl_ord_id: Alpha::BLANK,
        side,
        tif: b'0',
        display: b'Y',
        capacity: b'A',
        iso: b'N',
        cross: b'N',
        flags: 0,
        zero: [0; 3],
    };
    Command::Message(head, MessageBody::Enter(order))
}

/// Orders of three sessions, some traded, slots freed out of order.
fn exchange() -> Exchange {
    let genesis = fixture::genesis();
    let mut exchange = Exchange::new(&genesis).unwrap();
    let bytes = genesis.encode();
    let mut commands = vec![Command::Genesis(&bytes), Command::Phase(Phase::Open)];
    for session in 0..3 {
        commands.push(login(session));
    }
    for urn in 1..=6 {
        commands.push(enter(0, urn, b'B', 1_000_000 - u64::from(urn) * 100, 100));
        commands.push(enter(2, urn, b'S', 1_010_000 + u64::from(urn) * 100, 100));
    }
    commands.push(enter(1, 1, b'S', 999_800, 150));
    commands.push(enter(1, 2, b'B', 1_010_100, 50));
    let mut events: Vec<Event> = Vec::new();
    for (seq, command) in (1u64..).zip(&commands) {
        exchange.apply(Seq(seq), Nanos(seq), command, &mut events);
    }
    exchange.check();
    exchange
}

fn saved(exchange: &Exchange) -> Vec<u8> {
    let mut out = Vec::new();
    exchange.save(&mut out);
    out
}

/// Corrects the sum at the end: what a forger, or a wrong program, would write.
fn seal(bytes: &mut [u8]) {
    let at = bytes.len() - 8;
    let sum = fold(&bytes[..at]);
    bytes[at..].copy_from_slice(&sum.to_le_bytes());
}

#[test]
fn what_is_restored_is_saved_as_the_same_bytes() {
    let exchange = exchange();
    let bytes = saved(&exchange);
    let again = Exchange::restore(exchange.genesis(), &bytes).unwrap();
    again.check();
    assert_eq!(again.state_hash(), exchange.state_hash());
    assert_eq!(saved(&again), bytes);
    let counts = (2, 3 * SESSION_BYTES, 3 * CASH_BYTES, 6 * POSITION_BYTES);
    let orders = exchange.open_orders() as usize * ORDER_BYTES;
    let listed = bytes.len()
        - (HEAD_BYTES + counts.0 + counts.1 + counts.2 + counts.3 + orders + TAIL_BYTES);
    assert!(listed.is_multiple_of(4) && listed > 0, "{listed} bytes of freed slots");
}

#[test]
fn every_flipped_byte_and_every_cut_is_an_error() {
    let exchange = exchange();
    let bytes = saved(&exchange);
    for at in 0..bytes.len() {
        for mask in [0x01, 0x80, 0xFF] {
            let mut damaged = bytes.clone();
            damaged[at] ^= mask;
            assert!(Exchange::restore(exchange.genesis(), &damaged).is_err(), "byte {at}");
        }
        assert!(Exchange::restore(exchange.genesis(), &bytes[..at]).is_err(), "cut at {at}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(Exchange::restore(exchange.genesis(), &longer).is_err());
}

/// With the sum made right again: no panic, and what is accepted after all is a sound exchange.
#[test]
fn forged_bytes_give_an_error_or_a_sound_exchange() {
    let exchange = exchange();
    let bytes = saved(&exchange);
    let mut accepted = 0;
    for at in 0..bytes.len() - 8 {
        for mask in [0x01, 0x02, 0x40, 0x80, 0xFF] {
            let mut forged = bytes.clone();
            forged[at] ^= mask;
            seal(&mut forged);
            if let Ok(built) = Exchange::restore(exchange.genesis(), &forged) {
                built.check();
                assert_eq!(saved(&built), forged, "byte {at}");
                accepted += 1;
            }
        }
    }
    // Times of login, flags, capacity letters and the like contradict nothing.
    assert!(accepted > 0 && accepted < bytes.len(), "{accepted} of {}", bytes.len());
}

#[test]
fn another_day_is_refused() {
    let exchange = exchange();
    let mut other = exchange.genesis().clone();
    other.day_of_year += 1;
    let result = Exchange::restore(&other, &saved(&exchange));
    assert_eq!(result.err(), Some(RestoreError::OtherDay));
}

#[test]
fn the_free_list_is_cut_where_order_begins() {
    assert_eq!(split_free(&[2, 0, 3, 4], 5), (&[2, 0][..], 3));
    assert_eq!(split_free(&[0, 1, 2], 3), (&[][..], 0));
    assert_eq!(split_free(&[1, 0], 2), (&[1, 0][..], 2));
    assert_eq!(split_free(&[], 4), (&[][..], 4));
}
