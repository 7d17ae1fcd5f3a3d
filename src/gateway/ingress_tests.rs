//! Room that is lacking at one moment and there at the next.

use super::*;
use crate::gateway::Rate;
use crate::gateway::SessionConfig;
use crate::net::{MemoryNetwork, MemoryPort};
use crate::ring::{Consumer, ring};
use crate::wire::session::make_token;
use std::cell::Cell;
use std::net::Ipv4Addr;

const GATEWAY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 9_000);
const NOW: Nanos = Nanos(1_735_810_200_000_000_000);
const SESSIONS: u16 = 2;

/// Takes commands as the test says.
struct Room {
    left: usize,
    /// So many questions are answered before the one to which the answer is no.
    until_no: Cell<Option<usize>>,
    /// Session and client sequence of each message.
    put: Vec<(u16, u64)>,
}

impl Commands for Room {
    const NAME: &'static str = "room";

    fn has_room(&self) -> bool {
        let until = self.until_no.get();
        self.until_no.set(until.and_then(|n| n.checked_sub(1)));
        self.left > 0 && until != Some(0)
    }

    fn put(&mut self, command: &Command<'_>, _now: Nanos) -> bool {
        let Command::Message(head, _) = command else { panic!("{command:?}") };
        self.put.push((head.session.0, head.client_seq));
        self.left -= 1;
        true
    }
}

/// An ingress with two bound sessions, and their clients.
struct Gate {
    ingress: Ingress<MemoryPort, Room>,
    clients: Vec<MemoryPort>,
    asks: Consumer,
}

impl Gate {
    fn new(left: usize) -> Gate {
        Gate::with_rate(left, Rate { per_second: 1_000_000, burst: 100_000 })
    }

    fn with_rate(left: usize, rate: Rate) -> Gate {
        let network = MemoryNetwork::new();
        let board = SessionBoard::new(usize::from(SESSIONS));
        let mut config = GatewayConfig::new(GATEWAY, [0x55; 32], Nanos(0));
        let mut clients = Vec::new();
        for slot in 0..SESSIONS {
            let address = SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, 1), 5_000 + slot);
            let token = token(slot);
            let bound = Binding { bound: true, generation: 1, token, address, ..Binding::NONE };
            board.bind(SessionSlot(slot), &bound);
            clients.push(network.bind(address).unwrap());
            config.sessions.push(SessionConfig {
                user: User::new(&format!("FIRM{slot}")).unwrap(),
                name: SessionName::new(&format!("DOWN{slot}")).unwrap(),
                key: [1; 32],
                allow: Vec::new(),
                rate,
                open: true,
            });
        }
        let room = Room { left, until_no: Cell::new(None), put: Vec::new() };
        let (asks, taken) = ring(1_024);
        let port = network.bind(GATEWAY).unwrap();
        let ingress = Ingress::new(&config, port, room, asks, board, Entropy::seeded(1));
        Gate { ingress, clients, asks: taken }
    }

    /// One datagram of session `slot` with the messages `first` and following.
    fn send(&mut self, slot: u16, first: u64, count: usize) {
        let port = &mut self.clients[usize::from(slot)];
        port.send(GATEWAY, |out| {
            let mut packet = PacketBuilder::new(out, token(slot), first);
            for _ in 0..count {
                assert!(packet.push(1, |block| block[0] = b'Q'));
            }
            packet.finish()
        });
        port.flush();
    }

    fn cycle(&mut self) -> &[(u16, u64)] {
        self.ingress.duty_cycle(NOW);
        &self.ingress.desk.commands.put
    }
}

fn token(slot: u16) -> Token {
    make_token(SessionSlot(slot), 7).unwrap()
}

#[test]
fn nobody_overtakes_whoever_waits_for_room() {
    let mut gate = Gate::new(100);
    gate.send(0, 1, 2);
    gate.send(1, 1, 1);
    // Asked before the datagram, before its first and before its second block; then there is room
    // again, as when another thread empties the ring.
    gate.ingress.desk.commands.until_no.set(Some(2));
    assert_eq!(gate.cycle(), [(0, 1), (0, 2), (1, 1)]);
}

#[test]
fn repeats_of_what_is_under_way_take_neither_room_nor_tokens() {
    // A datagram takes tokens of the second bucket: 8.
    let mut gate = Gate::with_rate(100, Rate { per_second: 1, burst: 4 });
    for _ in 0..5 {
        gate.send(0, 1, 4);
    }
    gate.send(0, 3, 4);
    gate.send(0, 7, 2);
    assert_eq!(gate.cycle(), (1..=8).map(|sequence| (0, sequence)).collect::<Vec<_>>());
    // Their answer comes with the commit: nobody asks for K.
    assert!(gate.asks.pop(|_, _| ()).is_none());
}

#[test]
fn what_waits_for_room_counts_as_under_way() {
    let mut gate = Gate::new(512);
    gate.send(0, 1, 300);
    assert_eq!(gate.cycle().len(), 300);
    // The second finds room for a part; the first comes once more, before anything is applied.
    gate.send(0, 301, 450);
    gate.send(0, 1, 300);
    assert_eq!(gate.cycle().len(), 512);
    gate.ingress.desk.commands.left = 10_000;
    let put = gate.cycle();
    assert!(put.len() <= UNCOMMITTED_MAX, "{}", put.len());
    assert_eq!(put, (1..=750).map(|sequence| (0, sequence)).collect::<Vec<_>>());
}
