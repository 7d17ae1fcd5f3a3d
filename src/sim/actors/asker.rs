//! An asker: a subscriber that wants everything repaired, whether it left yet or not.
//!
//! Consumes both lines, for their numbers alone; produces requests, many at once: for any number that
//! left, beyond his bytes per second, or for the next one over and over, before anybody was told.

use crate::net::{MemoryNetwork, MemoryPort, Port};
use crate::sim::plan::Plan;
use crate::sim::{ASKER, Actor, Dice, GROUP_A, GROUP_B, REPAIR, Tally};
use crate::types::*;
use crate::wire::mold::{HEADER_BYTES, Header};
use std::net::SocketAddrV4;

const MS: u64 = 1_000_000;

/// See the module's head.
pub struct Asker {
    network: MemoryNetwork,
    dice: Dice,
    ports: Vec<MemoryPort>,
    lives: u64,
    /// Name of the feed, and its next number.
    session: SessionName,
    next: u64,
    /// Asks until then; begins again then.
    until: Nanos,
    again: Nanos,
    ahead: bool,
    quiet: bool,
}

impl Asker {
    /// Asks from one address.
    pub fn new(plan: &Plan, network: &MemoryNetwork) -> Asker {
        Asker {
            network: network.clone(),
            dice: Dice::new(plan.seed, "asker"),
            ports: Vec::new(),
            lives: 0,
            session: SessionName::BLANK,
            next: 1,
            until: Nanos(0),
            again: Nanos(0),
            ahead: false,
            quiet: false,
        }
    }

    fn listen(&mut self) -> usize {
        let mut heads = Vec::new();
        for port in &mut self.ports {
            port.receive(|bytes, _| heads.extend(Header::read(bytes)));
        }
        for Header { session, sequence, count } in &heads {
            if *session != self.session {
                (self.session, self.next) = (*session, 1);
            }
            let count = if *count == u16::MAX { 0 } else { u64::from(*count) };
            self.next = self.next.max(sequence + count);
        }
        heads.len()
    }

    fn ask(&mut self) {
        let requests = if self.ahead { 1 } else { self.dice.between(10, 60) };
        for _ in 0..requests {
            let sequence = match self.ahead {
                true => self.next,
                false => self.dice.between(1, self.next.max(2) - 1),
            };
            let count = self.dice.magnitude(1, 0xFFFE) as u16;
            let head = Header { session: self.session, sequence, count };
            if let Some(port) = self.ports.last_mut() {
                port.send(REPAIR, |out| {
                    head.write(out);
                    HEADER_BYTES
                });
            }
        }
        if let Some(port) = self.ports.last_mut() {
            port.flush();
        }
    }
}

impl Actor for Asker {
    fn name(&self) -> String {
        "asker".into()
    }

    fn step(&mut self, now: Nanos) -> usize {
        let done = self.listen();
        if self.quiet || self.session.is_blank() {
            return done;
        }
        if now >= self.again {
            self.ahead = self.dice.percent(60);
            let ms = if self.ahead { self.dice.between(20, 200) } else { self.dice.between(1, 4) };
            self.until = now.plus(ms * MS);
            self.again = self.until.plus(self.dice.between(100, 1_500) * MS);
        }
        if now >= self.until {
            return done;
        }
        self.ask();
        done + 1
    }

    fn wake(&self) -> Nanos {
        if self.quiet { Nanos(u64::MAX) } else { self.again }
    }

    fn crash(&mut self) {
        self.ports.clear();
    }

    fn restart(&mut self, _now: Nanos) {
        self.crash();
        self.lives += 1;
        let line = |group| self.network.join(group, ASKER).expect("groups are multicast addresses");
        self.ports.extend([GROUP_A, GROUP_B].map(line));
        let address = SocketAddrV4::new(ASKER, 6_000 + (self.lives % 10_000) as u16);
        self.ports.push(self.network.bind(address).expect("each life has a port of its own"));
    }

    fn quiesce(&mut self) {
        self.quiet = true;
    }

    fn unfinished(&self) -> Option<String> {
        None
    }

    fn tally(&self, _tally: &mut Tally) {}
}
