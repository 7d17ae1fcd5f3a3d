//! The retransmitter: repair of the feed, one packet per request (MoldUDP64 1.00, request server).
//!
//! Consumes requests of 20 bytes on a port of its own and the event log through readers of its own;
//! produces one unicast packet per request with as many whole messages as were asked for and fit,
//! the same bytes under the same numbers as on the lines, from number 1 on, all day. Runs on a
//! thread of its own, so that whoever asks cannot slow the publisher. Silent on everything else:
//! the standard has no refusal. Must not know gateways or what messages mean.
//!
//! Limits, each counted when reached: bytes per second of a client and of all; clients at a time;
//! sources allowed; nothing beyond the last message that left on the lines.

#![forbid(unsafe_code)]

mod budget;
mod index;

pub use budget::{Admission, Budget, Rate};
pub use index::{FeedIndex, STRIDE};

use crate::agent::Agent;
use crate::counters::counters;
use crate::exchange::event::{Event, EventHead};
use crate::net::{BURST, Port};
use crate::planted::{self, Bug};
use crate::publisher::{Released, feed};
use crate::store::{Log, ReadError, Reader, StoreError};
use crate::types::{Nanos, Seq, SessionName};
use crate::wire::mold::{self, Header, PAYLOAD_BYTES_MAX, Packet, PacketBuilder};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

/// Records followed in one duty cycle, so that requests are also served while the index is built.
const RECORDS_PER_CYCLE: usize = 1_024;

/// Sources that may ask: a network and the bits of it that count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AllowedNetwork {
    /// Network.
    pub address: Ipv4Addr,
    /// Leading bits that must be equal, 0 ..= 32.
    pub prefix: u8,
}

impl AllowedNetwork {
    fn contains(&self, address: Ipv4Addr) -> bool {
        let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32))).unwrap_or(0);
        u32::from(address) & mask == u32::from(self.address) & mask
    }
}

/// What a retransmitter needs to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RetransmitterConfig {
    /// Session that requests must name: `Genesis::feed_session`.
    pub session: SessionName,
    /// Midnight of the trading date: `Genesis::midnight`.
    pub midnight: Nanos,
    /// Bytes per second of one client (by IPv4 address).
    pub per_client: Rate,
    /// Bytes per second of all clients.
    pub all: Rate,
    /// Clients that can be repaired at a time.
    pub clients_max: usize,
    /// Sources that may ask. Empty: any.
    pub allowed: Vec<AllowedNetwork>,
}

impl RetransmitterConfig {
    /// The stated limits. The peak is 215,000 orders a second, 1.3 messages each, about 40 bytes
    /// with their length: 11.2 MB a second. 4 MB/s make a second lost at peak whole within 2.8 s
    /// (the promise is 5 s); ten such clients at a time fill a third of a gigabit line.
    pub fn new(session: SessionName, midnight: Nanos) -> RetransmitterConfig {
        RetransmitterConfig {
            session,
            midnight,
            per_client: Rate { bytes_per_second: 4_000_000, burst_bytes: 512 * 1024 },
            all: Rate { bytes_per_second: 40_000_000, burst_bytes: 4 * 1024 * 1024 },
            clients_max: 256,
            allowed: Vec::new(),
        }
    }
}

counters! {
    /// What repair counts.
    pub struct RetransmitterCounters("retransmitter") {
        answered: "requests answered",
        messages: "messages in the answers",
        bytes: "bytes of the answers",
        malformed: "datagrams that are no request of this session, or cannot be answered",
        beyond: "requests for messages that have not left yet, or cannot be read just now",
        not_allowed: "requests of sources that are not allowed",
        over_rate: "requests dropped: the client is over its rate",
        over_total: "requests dropped: all clients together are over the rate",
        table_full: "requests dropped: too many clients are being repaired",
        unreadable: "times the event log could not be read: repair is down, the exchange is not",
        last_message: "number of the last feed message that could be repaired",
        datagrams_dropped: "answers that the host did not take",
    }
}

#[derive(Clone, Copy)]
struct Request {
    from: SocketAddrV4,
    sequence: u64,
    count: u16,
}

/// The agent.
pub struct Retransmitter<P: Port> {
    config: RetransmitterConfig,
    port: P,
    follower: Reader,
    server: Reader,
    index: FeedIndex,
    released: Released,
    budget: Budget,
    requests: Vec<Request>,
    /// Number and log position of the message after the last answer: a client asks on from there.
    cursor: (u64, u64),
    packet: [u8; PAYLOAD_BYTES_MAX],
    counters: Arc<RetransmitterCounters>,
}

impl<P: Port> Retransmitter<P> {
    /// Answers on `port`. The index is built by following `log` from the start; until it is as far,
    /// requests for what it has not seen go unanswered and are asked again.
    pub fn new(
        config: RetransmitterConfig,
        port: P,
        log: &Log,
        released: Released,
    ) -> Result<Retransmitter<P>, StoreError> {
        let budget = Budget::new(config.per_client, config.all, config.clients_max);
        Ok(Retransmitter {
            config,
            port,
            follower: log.reader()?.trusted(),
            server: log.reader()?,
            index: FeedIndex::default(),
            released,
            budget,
            requests: Vec::with_capacity(BURST),
            cursor: (0, 0),
            packet: [0; PAYLOAD_BYTES_MAX],
            counters: Arc::default(),
        })
    }

    /// From a snapshot: messages 1 to `last` are known by the positions `noted` of 1, 65, 129 and so
    /// on; what comes behind the event `(seq, position)` is followed. False, and the whole log is
    /// followed, when that does not fit.
    pub fn resume(&mut self, last: u64, noted: &[u64], (seq, position): (Seq, u64)) -> bool {
        let fits = self.index.restore(last, noted);
        if fits {
            self.follower.seek_record(position, Seq(seq.0 + 1));
        }
        fits
    }

    /// Its counters.
    pub fn counters(&self) -> Arc<RetransmitterCounters> {
        self.counters.clone()
    }

    /// Messages that could be repaired now: those indexed that have also left on the lines.
    pub fn available(&self) -> u64 {
        self.index.last().min(self.released.get())
    }

    /// The port: to park on, and for what it counts.
    pub fn port(&self) -> &P {
        &self.port
    }

    /// Notes where the next messages stand.
    fn follow(&mut self) -> usize {
        for read in 0..RECORDS_PER_CYCLE {
            match self.follower.next() {
                Ok(Some(record)) => {
                    if let Some(head) = EventHead::get(record.payload)
                        && head.feed > 0
                    {
                        self.index.push(head.feed, record.position);
                    }
                }
                Ok(None) => return read,
                // Repair ends here; the exchange goes on. Counted again each cycle: an alarm.
                Err(_) => {
                    self.counters.unreadable.add(1);
                    return read;
                }
            }
        }
        RECORDS_PER_CYCLE
    }

    /// Takes a burst of requests; answers follow once the port is free again.
    fn receive(&mut self) -> usize {
        let Retransmitter { port, requests, config, counters, .. } = self;
        let own = port.local();
        requests.clear();
        port.receive(|datagram, from| {
            let request = match mold::parse(datagram) {
                Ok((header, Packet::Request)) if header.session == config.session => header,
                _ => {
                    counters.malformed.add(1);
                    return;
                }
            };
            let ip = *from.ip();
            let answerable = !(ip.is_multicast()
                || ip.is_broadcast()
                || ip.is_unspecified()
                || from.port() == 0);
            if !answerable || from == own || request.sequence == 0 {
                counters.malformed.add(1);
            } else if !config.allowed.is_empty() && !config.allowed.iter().any(|n| n.contains(ip)) {
                counters.not_allowed.add(1);
            } else if requests.len() < BURST {
                let Header { sequence, count, .. } = request;
                requests.push(Request { from, sequence, count });
            }
        })
    }

    fn answer(&mut self, request: Request, now: Nanos) {
        let limit = self.available();
        if request.sequence > limit {
            self.counters.beyond.add(1);
            return;
        }
        let admission = self.budget.admit(*request.from.ip(), PAYLOAD_BYTES_MAX as u64, now);
        let client = match admission {
            Admission::Granted(client) => client,
            Admission::Exhausted => {
                self.counters.over_rate.add(1);
                return;
            }
            Admission::AllExhausted => {
                self.counters.over_total.add(1);
                return;
            }
            Admission::TableFull => {
                self.counters.table_full.add(1);
                return;
            }
        };
        let last = limit.min(request.sequence.saturating_add(u64::from(request.count) - 1));
        let (len, count) = match self.fill(request.sequence, last) {
            Ok(Some(filled)) => filled,
            Ok(None) => {
                self.counters.beyond.add(1);
                return;
            }
            Err(_) => {
                self.counters.unreadable.add(1);
                return;
            }
        };
        let packet = &self.packet[..len];
        self.port.send(request.from, |out| {
            out[..len].copy_from_slice(packet);
            len
        });
        let cost = len as u64 >> planted::is(Bug::RepairCostsHalf) as u32;
        self.budget.charge(client, cost);
        self.counters.answered.add(1);
        self.counters.messages.add(u64::from(count));
        self.counters.bytes.add(len as u64);
    }

    /// Writes messages `first ..= last`, or as many as fit, into the packet; returns its length and
    /// how many. `None` when the log does not show them just now (a segment is being replaced).
    fn fill(&mut self, first: u64, last: u64) -> Result<Option<(usize, u16)>, ReadError> {
        let Retransmitter { server, index, config, cursor, packet, .. } = self;
        let Some(noted) = index.at_or_below(first) else { return Ok(None) };
        // Where the last answer ended is often where this one starts.
        let near = cursor.0 >= noted.0 && cursor.0 <= first;
        server.seek(if near { cursor.1 } else { noted.1 });
        let mut packet = PacketBuilder::new(&mut packet[..], config.session, first);
        loop {
            let Some(record) = server.next()? else { return Ok(None) };
            let Some(event) = Event::decode(record.kind, record.payload) else { return Ok(None) };
            let number = event.head.feed;
            let neighbour = planted::is(Bug::NeighbourRepaired);
            if number < first + neighbour as u64 {
                continue;
            }
            let Some(message) = feed::message(&event, record.time, config.midnight) else {
                return Ok(None);
            };
            if number != packet.next_sequence() + neighbour as u64 {
                return Ok(None);
            }
            let pushed = packet.push(message.size(), |out| {
                message.encode(out);
            });
            if !pushed {
                *cursor = (number, record.position);
                break;
            }
            if number >= last {
                *cursor = (number + 1, server.position());
                break;
            }
        }
        let count = packet.count();
        Ok(Some((packet.finish(), count)))
    }
}

impl<P: Port> Agent for Retransmitter<P> {
    fn name(&self) -> &'static str {
        "retransmitter"
    }

    fn duty_cycle(&mut self, now: Nanos) -> usize {
        let followed = self.follow();
        if self.released.end_said().is_some() && self.index.last() >= self.released.get() {
            self.released.can_repair_end(now);
        }
        let received = self.receive();
        for index in 0..self.requests.len() {
            self.answer(self.requests[index], now);
        }
        self.port.flush();
        followed + received
    }

    fn housekeeping(&mut self, _now: Nanos) {
        self.counters.last_message.set(self.available());
        self.counters.datagrams_dropped.set(self.port.dropped());
    }
}
