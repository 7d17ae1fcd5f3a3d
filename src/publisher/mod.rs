//! The publisher: committed events -> ITCH over MoldUDP64 multicast, the same bytes on A and B.
//!
//! Consumes the event log up to its commit mark; produces packets of at most 1,400 bytes to two
//! groups, heartbeats and the end of session. A packet leaves when the log is drained or the next
//! command would not fit; there is no timer that holds messages back. The commit mark moves only
//! by whole commands, so a drained log means whole commands. What is said is a pure function of the
//! log; only heartbeats look at a clock. Must not know gateways, sessions of brokers, or repair.
//!
//! | module | job |
//! |---|---|
//! | [`feed`] | event -> ITCH message |
//! | `packet` | messages -> packets of whole commands |
//! | `heartbeat` | when a silent line speaks |
//! | `released` | how far the feed has left |

#![forbid(unsafe_code)]

pub mod feed;
mod heartbeat;
mod packet;
mod released;

pub use heartbeat::Heartbeat;
pub use packet::FeedPacket;
pub use released::Released;

use crate::agent::Agent;
use crate::counters::counters;
use crate::exchange::event::{Event, EventBody, EventHead};
use crate::net::Port;
use crate::planted::{self, Bug};
use crate::store::{Log, LogIndex, ReadError, Reader, StoreError};
use crate::types::{Nanos, Seq, SessionName};
use crate::wire::mold::{END_OF_SESSION, HEARTBEAT};
use std::net::SocketAddrV4;
use std::sync::Arc;

/// Messages sent again after a restart: more than can be under way between the last number that
/// was noted and the wire. About 40 kB.
pub const RESENT_MESSAGES: u64 = 1_024;

/// Records read in one duty cycle: bounds a cycle at some tens of microseconds.
const RECORDS_PER_CYCLE: usize = 256;

/// The end of session is repeated every second for this long. Source: MoldUDP64 1.00, End of
/// Session; 30 s is what Nasdaq's sample configuration repeats.
const END_REPEATED_NS: u64 = 30_000_000_000;

/// ITCH system event that ends the messages of a day.
const END_OF_MESSAGES: u8 = b'C';

/// What a publisher needs to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublisherConfig {
    /// Group and port of line A.
    pub group_a: SocketAddrV4,
    /// Group and port of line B.
    pub group_b: SocketAddrV4,
    /// Session name on every packet: `Genesis::feed_session`.
    pub session: SessionName,
    /// Midnight of the trading date: `Genesis::midnight`.
    pub midnight: Nanos,
}

counters! {
    /// What the publisher counts.
    pub struct PublisherCounters("publisher") {
        messages: "feed messages sent, those sent again after a restart included",
        packets: "packets with messages, counted once for both lines",
        bytes: "bytes of packets with messages, counted once for both lines",
        heartbeats: "heartbeats and ends of session, counted once for both lines",
        last_message: "number of the last feed message sent",
        datagrams_dropped: "datagrams of either line that the host did not take",
    }
}

/// Both lines.
struct Lines<P> {
    port_a: P,
    /// `None`: both lines leave by the same port.
    port_b: Option<P>,
    group_a: SocketAddrV4,
    group_b: SocketAddrV4,
    b_first: bool,
}

impl<P: Port> Lines<P> {
    /// Queues the same bytes on both lines; which goes first alternates, so that neither line is
    /// systematically faster. With two ports each is flushed per packet to keep that order on the
    /// wire; with one the kernel gets the whole cycle in one call.
    #[inline]
    fn send(&mut self, bytes: &[u8]) {
        let fill = |out: &mut [u8]| {
            out[..bytes.len()].copy_from_slice(bytes);
            bytes.len()
        };
        let b_first = self.b_first;
        self.b_first = !b_first;
        match &mut self.port_b {
            None if b_first => {
                self.port_a.send(self.group_b, fill);
                self.port_a.send(self.group_a, fill);
            }
            None => {
                self.port_a.send(self.group_a, fill);
                self.port_a.send(self.group_b, fill);
            }
            Some(port_b) => {
                let mut send_b = || {
                    port_b.send(self.group_b, fill);
                    port_b.flush();
                };
                if b_first {
                    send_b();
                }
                self.port_a.send(self.group_a, fill);
                self.port_a.flush();
                if !b_first {
                    send_b();
                }
            }
        }
    }

    #[inline]
    fn flush(&mut self) {
        self.port_a.flush();
        if let Some(port_b) = &mut self.port_b {
            port_b.flush();
        }
    }
}

/// The agent.
pub struct Publisher<P: Port> {
    config: PublisherConfig,
    lines: Lines<P>,
    log: Log,
    reader: Reader,
    packet: FeedPacket,
    released: Released,
    /// Last message that this process sent.
    left: u64,
    heartbeat: Heartbeat,
    /// The last message of the day has been read.
    ended: bool,
    /// When the end of session was said first.
    end_said: Option<Nanos>,
    /// Packets sent; the counter is for others to read.
    packets: u64,
    counters: Arc<PublisherCounters>,
}

impl<P: Port> Publisher<P> {
    /// Sends on `port_a` and `port_b`, or both lines on `port_a` when there is no `port_b` (both
    /// groups behind the same interface: half the system calls). Publishes from the first event
    /// on; after a restart call [`Publisher::resume`] first.
    pub fn new(
        config: PublisherConfig,
        port_a: P,
        port_b: Option<P>,
        log: &Log,
        released: Released,
    ) -> Result<Publisher<P>, StoreError> {
        let PublisherConfig { group_a, group_b, .. } = config;
        Ok(Publisher {
            config,
            lines: Lines { port_a, port_b, group_a, group_b, b_first: false },
            log: log.clone(),
            reader: log.reader()?,
            packet: FeedPacket::new(config.session, 1),
            released,
            left: 0,
            heartbeat: Heartbeat::new(),
            ended: false,
            end_said: None,
            packets: 0,
            counters: Arc::default(),
        })
    }

    /// After a restart, once the event log is recovered and its committed mark stands where it did:
    /// goes on with the first message that may not have left, but at least [`RESENT_MESSAGES`]
    /// before the last. The event log says the same bytes under the same number again, and readers
    /// drop what they have. Returns that number. Cold: reads the log's tail, further back only when
    /// the last messages are far apart or the publisher was far behind. Checks what it reads: behind a
    /// snapshot nobody has. Err: a record of it is damaged.
    pub fn resume(&mut self) -> Result<u64, ReadError> {
        let control = self.log.control();
        let last = control.map_or(Seq(0), |c| c.committed(LogIndex::Event).seq);
        let noted = self.released.get();
        let mut back = 4 * RESENT_MESSAGES;
        let (wanted, known) = loop {
            let start = Seq(last.0.saturating_sub(back).max(1));
            let (lowest, highest) = self.feed_numbers(start, last)?;
            // A number above all there are is of another day, or damaged.
            let known = if noted <= highest { noted } else { 0 };
            let resent = (highest + 1).saturating_sub(RESENT_MESSAGES).max(1);
            let wanted = if known > 0 { resent.min(known + 1) } else { resent };
            if start.0 == 1 || (highest > 0 && lowest <= wanted) {
                self.reader.seek_seq(start)?;
                break (wanted, known);
            }
            back = back.saturating_mul(4);
        };
        // Read just now, or written by this process.
        self.reader.trust();
        self.packet.restart(wanted);
        self.config.midnight.0 += planted::is(Bug::FeedChangesAtRestart) as u64;
        self.left = wanted - 1;
        self.released.set(known.max(self.left));
        Ok(wanted)
    }

    /// First and last feed number among the records `from ..= to`, 0 and 0 when there is none.
    fn feed_numbers(&mut self, from: Seq, to: Seq) -> Result<(u64, u64), ReadError> {
        let (mut lowest, mut highest) = (0, 0);
        self.reader.seek_seq(from)?;
        while let Some(record) = self.reader.next()? {
            if let Some(head) = EventHead::get(record.payload)
                && head.feed > 0
            {
                lowest = if lowest == 0 { head.feed } else { lowest };
                highest = head.feed;
            }
            if record.seq >= to {
                break;
            }
        }
        Ok((lowest, highest))
    }

    /// Its counters.
    pub fn counters(&self) -> Arc<PublisherCounters> {
        self.counters.clone()
    }

    /// Number of the next message.
    pub fn next(&self) -> u64 {
        self.packet.next()
    }

    /// Reads what is committed; returns the records read and whether the log is drained.
    fn follow(&mut self) -> (usize, bool) {
        let Publisher { config, lines, reader, packet, ended, packets, counters, .. } = self;
        let mut send = |bytes: &[u8]| {
            *packets += 1;
            counters.bytes.add(bytes.len() as u64);
            lines.send(bytes);
        };
        for read in 0..RECORDS_PER_CYCLE {
            let record = match reader.next() {
                Ok(Some(record)) => record,
                Ok(None) => {
                    packet.flush(&mut send);
                    return (read, true);
                }
                // Our own memory is damaged: a wrong feed is worse than none.
                Err(error) => panic!("publisher cannot read the event log: {error}"),
            };
            let head = EventHead::get(record.payload).expect("an event has a head");
            // Below: sent before a restart, or says nothing (0).
            if head.feed < packet.next() {
                continue;
            }
            assert_eq!(head.feed, packet.next(), "feed numbers leave no gap");
            let event = Event::decode(record.kind, record.payload).expect("an event of ours");
            let message = feed::message(&event, record.time, config.midnight)
                .expect("an event with a feed number says something");
            packet.push(
                head.command,
                message.size(),
                |out| {
                    message.encode(out);
                },
                &mut send,
            );
            *ended |= matches!(event.body, EventBody::System(s) if s.code == END_OF_MESSAGES);
        }
        (RECORDS_PER_CYCLE, false)
    }

    /// Heartbeats while the day lasts, then the end of session for 30 s, then silence.
    fn speak_when_silent(&mut self, now: Nanos) {
        let over = self.end_said.is_some_and(|said| now.since(said) > END_REPEATED_NS);
        let first_end = self.ended && self.end_said.is_none();
        if over || !(self.heartbeat.is_due(now) || first_end) {
            return;
        }
        if self.ended {
            self.end_said.get_or_insert(now);
        }
        let count = if self.ended { END_OF_SESSION } else { HEARTBEAT };
        self.lines.send(&self.packet.head_only(count));
        self.counters.heartbeats.add(1);
    }
}

impl<P: Port> Agent for Publisher<P> {
    fn name(&self) -> &'static str {
        "publisher"
    }

    fn duty_cycle(&mut self, now: Nanos) -> usize {
        let packets = self.packets;
        let (read, drained) = self.follow();
        if self.packets > packets {
            self.heartbeat.on_message(now);
        }
        if drained {
            self.speak_when_silent(now);
        }
        self.lines.flush();
        if self.packets > packets {
            // Messages still in the open packet have not left.
            let left = self.packet.first() - 1;
            self.counters.packets.add(self.packets - packets);
            self.counters.messages.add(left - self.left);
            self.counters.last_message.set(left);
            self.left = left;
            self.released.advance(left);
        }
        // Behind the flush: what the lines have not taken was not said.
        if let Some(said) = self.end_said {
            self.released.say_end(said);
        }
        read
    }

    fn housekeeping(&mut self, _now: Nanos) {
        let Lines { port_a, port_b, .. } = &self.lines;
        let dropped = port_a.dropped() + port_b.as_ref().map_or(0, |port| port.dropped());
        self.counters.datagrams_dropped.set(dropped);
    }
}
