//! An asker: a subscriber that wants everything repaired, whether it left yet or not.
//!
//! Consumes both lines, for their numbers alone; produces requests, many at once: for any number that
//! left, beyond his bytes per second, or for the next one over and over, before anybody was told. In some
//! seeds also under 300 other addresses, first one by one, then under many at once; now and then under one
//! that cannot be answered.

use crate::net::{MemoryNetwork, MemoryPort, Port};
use crate::sim::plan::Plan;
use crate::sim::{ASKER, Actor, Dice, GROUP_A, GROUP_B, REPAIR, Tally};
use crate::types::*;
use crate::wire::mold::{HEADER_BYTES, Header};
use std::net::{Ipv4Addr, SocketAddrV4};

const MS: u64 = 1_000_000;
/// More than the 256 that are repaired at a time (feed.md, Rules for a subscriber 7).
const STRANGERS: u64 = 300;
/// Answers of the longest kind: more than all clients together have at once, 4 MiB.
const STAMPEDE: u64 = 6_000;
/// Of whom so many do, for whom there is room.
const AT_A_TIME: u64 = 200;

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
    /// Strangers who have asked once, and when the next one does.
    strangers: u64,
    stranger_at: Nanos,
    /// Requests that all of them send at once when the last one has asked.
    stampede: u64,
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
            strangers: 0,
            stranger_at: Nanos(u64::MAX),
            stampede: 0,
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

    /// Somebody else asks, one after the other: more of them than are served at a time. Then all do.
    fn ask_as_others(&mut self) {
        let requests = if self.strangers < STRANGERS { 1 } else { self.stampede.min(60) };
        for _ in 0..requests {
            let number = match self.strangers < STRANGERS {
                true => self.strangers,
                false => self.dice.below(AT_A_TIME),
            };
            let octets = [10, 4, (number / 200) as u8, (number % 200) as u8 + 1];
            self.request_from(SocketAddrV4::new(octets.into(), 6_000), 0xFFFE);
        }
        match self.strangers < STRANGERS {
            true => self.strangers += 1,
            false => self.stampede -= requests,
        }
    }

    /// A datagram whose sender is none: the answer would go to the repair service itself, to everybody,
    /// or to nobody.
    fn spoof(&mut self) {
        let any = |ip: Ipv4Addr| SocketAddrV4::new(ip, 9);
        let nobody = SocketAddrV4::new(ASKER, 0);
        let all = [any(Ipv4Addr::BROADCAST), any(Ipv4Addr::UNSPECIFIED), nobody];
        let from = self.dice.pick(&[REPAIR, REPAIR, GROUP_A, GROUP_B, all[0], all[1], all[2]]);
        self.request_from(from, 1);
    }

    fn request_from(&mut self, from: SocketAddrV4, count: u16) {
        let sequence = self.dice.between(1, self.next.max(2) - 1);
        let mut out = [0; HEADER_BYTES];
        Header { session: self.session, sequence, count }.write(&mut out);
        self.network.inject(from, REPAIR, &out);
    }

    fn ask(&mut self) {
        let requests = if self.ahead { 1 } else { self.dice.between(10, 60) };
        for _ in 0..requests {
            let sequence = match self.ahead {
                // It, or the one before with what follows.
                true => self.next - self.dice.below(2).min(self.next - 1),
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
        if now >= self.stranger_at {
            self.ask_as_others();
            self.stranger_at = match (self.strangers < STRANGERS, self.stampede) {
                // Long enough for most of them to have all their bytes again: they give way.
                (true, _) => now.plus(2 * MS),
                (false, 0) => Nanos(u64::MAX),
                (false, _) => now,
            };
        }
        if now >= self.again {
            self.spoof();
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
        if self.quiet { Nanos(u64::MAX) } else { self.again.min(self.stranger_at) }
    }

    fn crash(&mut self) {
        self.ports.clear();
    }

    fn restart(&mut self, now: Nanos) {
        self.crash();
        if self.dice.percent(50) {
            self.stranger_at = now.plus(self.dice.between(1_000, 6_000) * MS);
            self.stampede = if self.dice.percent(40) { STAMPEDE } else { 0 };
        }
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
