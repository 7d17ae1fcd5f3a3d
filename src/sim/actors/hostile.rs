//! A hostile peer: on the same network, without a key.
//!
//! Consumes what it overhears; produces the same datagrams again, under their own source and under
//! its own, altered ones, logins with a wrong key, requests under stolen names, and noise.

use crate::net::MemoryNetwork;
use crate::sim::plan::Plan;
use crate::sim::{Actor, Dice, EXCHANGE, GATEWAY, REPAIR, Tally, hostile_host, user};
use crate::types::*;
use crate::wire::mold::{Header, PacketBuilder};
use crate::wire::session::{Login, VERSION};
use std::net::SocketAddrV4;

/// See the module's head.
pub struct HostilePeer {
    index: usize,
    network: MemoryNetwork,
    brokers: usize,
    dice: Dice,
    next_send: Nanos,
    quiet: bool,
    sent: u64,
}

impl HostilePeer {
    /// Hostile peer `index`.
    pub fn new(plan: &Plan, network: &MemoryNetwork, index: usize) -> HostilePeer {
        HostilePeer {
            index,
            network: network.clone(),
            brokers: plan.brokers,
            dice: Dice::new(plan.seed, &format!("hostile {index}")),
            next_send: Nanos(0),
            quiet: false,
            sent: 0,
        }
    }

    fn own(&self) -> SocketAddrV4 {
        SocketAddrV4::new(hostile_host(self.index), 666)
    }

    fn send(&mut self, from: SocketAddrV4, to: SocketAddrV4, bytes: &[u8]) {
        self.network.inject(from, to, bytes);
        self.sent += 1;
    }

    fn attack(&mut self, now: Nanos) {
        let Some((from, to, mut bytes)) = self.network.overheard(self.dice.draw()) else { return };
        let own = self.own();
        let to_exchange = *to.ip() == EXCHANGE;
        match self.dice.below(8) {
            // Recorded and sent again, as it was.
            0 | 1 => {
                for _ in 0..self.dice.between(1, 20) {
                    self.send(from, to, &bytes);
                }
            }
            // A stolen token or name, from another address.
            2 if to_exchange => self.send(own, to, &bytes),
            3 if to_exchange && bytes.len() > 22 => {
                // The next number, another order.
                let next = bytes[10..18].iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
                let next = next.wrapping_add(self.dice.below(3));
                bytes[10..18].copy_from_slice(&next.to_be_bytes());
                let at = 22 + self.dice.below(bytes.len() as u64 - 22) as usize;
                bytes[at] ^= 1 << self.dice.below(8);
                self.send(own, to, &bytes);
            }
            4 => {
                let wrong = Login {
                    version: VERSION,
                    flags: 0,
                    user: user(self.dice.below(self.brokers as u64) as usize),
                    wanted: SessionName::BLANK,
                    next_report: 0,
                    dead_time_ms: 0,
                    time: now,
                    client_nonce: [self.dice.draw() as u8; 16],
                    server_nonce: [0; 16],
                    hmac: [0; 32],
                };
                let (ip, port) = (GATEWAY.ip().octets(), GATEWAY.port());
                let signed = wrong.signed(&[0xEE; 32], ip, port);
                let mut out = [0; 1_400];
                let mut packet = PacketBuilder::new(&mut out[..], SessionName::BLANK, 0);
                packet.push_bytes(&signed);
                let len = packet.finish();
                self.send(own, GATEWAY, &out[..len]);
            }
            5 => {
                let session = bytes[..10.min(bytes.len())].try_into().map_or(Alpha::BLANK, Alpha);
                let mut out = [0; 20];
                // What comes next is asked for before it left: the number of a packet overheard, and on.
                let here = bytes
                    .get(10..18)
                    .map_or(1, |b| b.iter().fold(0, |n, b| n << 8 | u64::from(*b)));
                let ahead = here.saturating_add(self.dice.below(40));
                let sequence = self.dice.pick(&[0, 1, 5, ahead, ahead, ahead, 1 << 40, u64::MAX]);
                let count = self.dice.between(1, 0xFFFE) as u16;
                Header { session, sequence, count }.write(&mut out);
                let to = self.dice.pick(&[GATEWAY, REPAIR]);
                self.send(own, to, &out);
            }
            _ => {
                let len = self.dice.below(200) as usize;
                let noise: Vec<u8> = (0..len).map(|_| self.dice.draw() as u8).collect();
                let to = self.dice.pick(&[GATEWAY, REPAIR]);
                self.send(own, to, &noise);
            }
        }
    }
}

impl Actor for HostilePeer {
    fn name(&self) -> String {
        format!("hostile peer {}", self.index)
    }

    fn step(&mut self, now: Nanos) -> usize {
        if self.quiet || now < self.next_send {
            return 0;
        }
        self.attack(now);
        self.next_send = now.plus(self.dice.between(500_000, 30_000_000));
        1
    }

    fn wake(&self) -> Nanos {
        if self.quiet { Nanos(u64::MAX) } else { self.next_send }
    }

    fn crash(&mut self) {}

    fn restart(&mut self, now: Nanos) {
        self.next_send = now;
    }

    fn quiesce(&mut self) {
        self.quiet = true;
    }

    fn unfinished(&self) -> Option<String> {
        None
    }

    fn tally(&self, tally: &mut Tally) {
        tally.hostile += self.sent;
    }
}
