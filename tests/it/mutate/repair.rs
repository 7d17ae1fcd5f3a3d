//! Mutated repair requests through the retransmitter, over the feed of a venue that has traded:
//! what is answered is a contiguous piece of the feed, byte for byte; everything else is counted.

use super::samples;
use super::{MUTATIONS, Random, Tally, mutate_some};
use crate::venue::{MIDNIGHT, MS, Venue, client::*};
use rialto::agent::Agent;
use rialto::counters::CounterSet;
use rialto::net::{MemoryPort, Port};
use rialto::publisher::Released;
use rialto::retransmitter::{AllowedNetwork, Rate, Retransmitter, RetransmitterConfig};
use rialto::store::{DayView, LogIndex};
use rialto::types::*;
use rialto::wire::{itch, mold};
use std::net::{Ipv4Addr, SocketAddrV4};

const REPAIR: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 9_100);
/// Orders before the requests: each a message of the feed.
const ORDERS: u32 = 400;

/// Runs `count` mutants. Panics at the first violation.
pub fn run(seed: u64, count: u64) -> Tally {
    let mut venue = Venue::new();
    let mut client = venue.client(0);
    client.login(&mut venue);
    for urn in 1..=ORDERS {
        client.send(&[&buy(urn, 1_000)]);
        venue.run(MS);
    }
    let view = DayView::open(&venue.day_dir()).unwrap();
    let feed = venue.genesis.feed_session();
    let config = RetransmitterConfig {
        per_client: Rate { bytes_per_second: 300_000, burst_bytes: 12_000 },
        all: Rate { bytes_per_second: 600_000, burst_bytes: 30_000 },
        clients_max: 4,
        allowed: vec![AllowedNetwork { address: Ipv4Addr::new(10, 0, 0, 0), prefix: 8 }],
        ..RetransmitterConfig::new(feed, MIDNIGHT)
    };
    let port = venue.network.bind(REPAIR).unwrap();
    let log = view.log(LogIndex::Event);
    // All but the last message have left: what has not is not repaired.
    const COUNTER: usize = 60;
    let left = u64::from(ORDERS) - 5;
    venue.control().counter(COUNTER).store(left, std::sync::atomic::Ordering::Release);
    let released = Released::in_page(venue.control(), COUNTER);
    let mut server = Retransmitter::new(config, port, log, released).unwrap();
    while server.duty_cycle(venue.now()) > 0 {}
    let sources = [(10, 1), (10, 2), (10, 3), (10, 4), (10, 5), (10, 6), (192, 1)];
    let mut ports: Vec<MemoryPort> = sources
        .iter()
        .map(|&(net, host)| {
            venue.network.bind(SocketAddrV4::new(Ipv4Addr::new(net, 1, 1, host), 700)).unwrap()
        })
        .collect();

    let mut random = Random::new(seed);
    let mut made = [0; MUTATIONS.len()];
    let mut tally = Tally { mutants: count, ..Tally::default() };
    for mutant in 0..count {
        let sequence = match random.below(8) {
            0 => *random.pick(&super::EXTREMES),
            1 => u64::from(ORDERS) - 10 + random.below(20) as u64,
            _ => 1 + random.below(300) as u64,
        };
        let any = random.draw() as u16;
        let wanted = *random.pick(&[1, 2, 10, 100, 0xFFFE, any]);
        let mut bytes = samples::head(feed, sequence, wanted);
        let other = samples::packet(feed, 1, &[samples::itch_bytes(&mut random)]);
        if random.one_in(2) {
            mutate_some(&mut random, &mut bytes, &other, &mut made);
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
        bytes.truncate(rialto::net::DATAGRAM_BYTES_MAX);
        let from = if random.one_in(4) { random.below(ports.len()) } else { random.below(2) };
        ports[from].send(REPAIR, |out| {
            out[..bytes.len()].copy_from_slice(&bytes);
            bytes.len()
        });
        ports[from].flush();
        if random.one_in(8) || mutant + 1 == count {
            venue.clock.advance(random.below(40) as u64 * MS / 10);
            if random.one_in(4_000) {
                venue.clock.advance(2_000 * MS);
            }
            let before = server.counters().answered.get();
            while server.duty_cycle(venue.now()) > 0 {}
            let answers: u64 = ports.iter_mut().map(|port| check(port, feed)).sum();
            assert_eq!(answers, server.counters().answered.get() - before);
        }
    }
    server.housekeeping(venue.now());
    let counters = server.counters();
    counters.visit(&mut |name, value| {
        let row = format!("retransmitter {name}");
        tally.expect(row.clone());
        tally.add(&row, value);
    });
    tally.excuse("retransmitter unreadable", "our own memory would have to be damaged");
    tally.excuse("retransmitter datagrams_dropped", "the network in memory takes everything");
    for (name, made) in MUTATIONS.iter().zip(made) {
        tally.add(&format!("made: {name}"), made);
    }
    tally
}

/// Reads the answers of one client; how many.
fn check(port: &mut MemoryPort, feed: SessionName) -> u64 {
    let mut answers = 0;
    loop {
        let received = port.receive(|datagram, from| {
            assert_eq!(from, REPAIR);
            answers += 1;
            let (header, packet) = mold::parse(datagram).expect("an answer is well-formed");
            assert_eq!(header.session, feed);
            let mold::Packet::Messages(blocks) = packet else { panic!("an answer has messages") };
            let last = header.sequence + u64::from(header.count) - 1;
            assert!(last <= u64::from(ORDERS) - 5, "told what has not left");
            for block in blocks {
                itch::Message::decode(block).expect("a feed message");
            }
        });
        if received == 0 {
            return answers;
        }
    }
}
