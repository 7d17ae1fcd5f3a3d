//! Replayer: reports that are too old for egress' memory, out of the event log, on a thread of its
//! own (session.md 15).
//!
//! Follows the event log and notes the position of every 256th report of each session; a request is
//! answered by going back from the next noted report along the links that each report has to the
//! previous one of its session. Same bytes and numbers as were sent live. May read segments from the
//! archive, so it may block; must not share a thread with agents of the order path.

use super::GatewayConfig;
use super::asks::{self, Ask, ReplayAsk};
use super::packets::{DATAGRAM_BYTES, seal};
use super::translate::report_of;
use crate::agent::Agent;
use crate::board::SessionBoard;
use crate::counters::counters;
use crate::exchange::event::{Event, EventHead, NO_SESSION};
use crate::net::Port;
use crate::ring::Consumer;
use crate::store::{ReadError, Reader};
use crate::types::*;
use crate::wire::mold::PacketBuilder;
use crate::wire::ouch::OUTBOUND_BYTES_MAX;
use crate::wire::session::{FLAG_PACKET_MAC, packet_keys};
use std::sync::Arc;

counters! {
    /// What the replayer did.
    pub struct ReplayerCounters("gateway_replayer") {
        indexed: "reports indexed",
        requests: "requests taken",
        reports: "reports sent again from the event log",
        packets: "datagrams sent",
        stale: "requests dropped: another login by then, or not indexed yet",
        read_errors: "requests or cycles given up because the event log could not be read",
        broken_links: "requests given up because a link did not lead to the previous report",
    }
}

/// Every so many reports of a session have their position noted.
pub const STRIDE: u64 = 256;
/// Records followed per duty cycle.
const BATCH: usize = 4_096;

/// The replayer of one gateway. See the module's head.
pub struct Replayer<P: Port> {
    port: P,
    follower: Reader,
    fetcher: Reader,
    requests: Consumer,
    board: Arc<SessionBoard>,
    sessions: Vec<Index>,
    packets_max: usize,
    midnight: Nanos,
    /// Positions of the reports wanted, last first: reused by every request.
    found: Vec<u64>,
    counters: Arc<ReplayerCounters>,
}

struct Index {
    name: SessionName,
    key: [u8; 32],
    /// Position of report (i + 1) * STRIDE.
    noted: Vec<u64>,
    /// Latest report and its position.
    last: (u64, u64),
}

impl<P: Port> Replayer<P> {
    /// A replayer that sends from `port` (another handle on the gateway's socket). `follower` and
    /// `fetcher` are two readers of the event log, both at its first record.
    pub fn new(
        config: &GatewayConfig,
        port: P,
        follower: Reader,
        fetcher: Reader,
        requests: Consumer,
        board: Arc<SessionBoard>,
    ) -> Replayer<P> {
        let sessions = config.sessions.iter().map(|s| Index {
            name: s.name,
            key: s.key,
            noted: Vec::new(),
            last: (0, 0),
        });
        Replayer {
            port,
            follower,
            fetcher,
            requests,
            board,
            sessions: sessions.collect(),
            packets_max: config.replay_packets_max,
            midnight: config.midnight,
            found: Vec::new(),
            counters: Arc::default(),
        }
    }

    /// From a snapshot: of session `slot`, `last` is the latest report and its position, `noted` has
    /// the positions of reports 256, 512 and so on.
    pub fn resume(&mut self, slot: SessionSlot, last: (u64, u64), noted: &[u64]) {
        if let Some(session) = self.sessions.get_mut(slot.0 as usize)
            && noted.len() as u64 == last.0 / STRIDE
        {
            session.noted = noted.to_vec();
            session.last = last;
        }
    }

    /// From a snapshot, after every session's [`Replayer::resume`]: follows the log behind event `seq`
    /// only, which ends at `position`.
    pub fn resume_behind(&mut self, seq: Seq, position: u64) {
        self.follower.seek_record(position, Seq(seq.0 + 1));
    }

    /// Its counters.
    pub fn counters(&self) -> Arc<ReplayerCounters> {
        self.counters.clone()
    }

    fn follow(&mut self) -> Result<usize, ReadError> {
        let mut done = 0;
        while done < BATCH {
            let Some(record) = self.follower.next()? else { break };
            done += 1;
            let Some(head) = EventHead::get(record.payload) else { continue };
            if head.report == 0 || head.session == NO_SESSION {
                continue;
            }
            let Some(session) = self.sessions.get_mut(head.session.0 as usize) else { continue };
            session.last = (head.report, record.position);
            if head.report % STRIDE == 0 {
                session.noted.push(record.position);
            }
            self.counters.indexed.add(1);
        }
        Ok(done)
    }

    fn answer(&mut self, ask: &ReplayAsk) -> Result<(), ReadError> {
        let slot = ask.session.0 as usize;
        let (_, binding) = self.board.binding(ask.session);
        let Some(session) = self.sessions.get(slot) else { return Ok(()) };
        let packets = self.packets_max.min((ask.bytes_max as u64 / DATAGRAM_BYTES) as usize);
        // A report takes at least 12 bytes and its length field: more cannot be sent anyway.
        let fit = packets as u64 * (DATAGRAM_BYTES / 14);
        let last = session.last.0;
        let end = last.min(ask.from.saturating_add(fit.min(ask.count as u64)).saturating_sub(1));
        let open = binding.bound || binding.served;
        if !open || binding.generation != ask.generation || ask.from == 0 || end < ask.from {
            self.counters.stale.add(1);
            return Ok(());
        }
        let noted = (end.div_ceil(STRIDE) as usize).checked_sub(1);
        let start = noted
            .and_then(|i| session.noted.get(i).map(|&p| ((i as u64 + 1) * STRIDE, p)))
            .unwrap_or(session.last);
        if !self.collect(ask.session, start, ask.from, end)? {
            self.counters.broken_links.add(1);
            return Ok(());
        }
        let session = &self.sessions[slot];
        let seal_key = (binding.flags & FLAG_PACKET_MAC != 0).then(|| {
            packet_keys(&session.key, &binding.client_nonce, &binding.server_nonce).server
        });
        let mut number = ask.from;
        let mut buffer = [0; DATAGRAM_BYTES as usize];
        let mut packet = PacketBuilder::new(&mut buffer[..], session.name, number);
        for _ in 0..packets {
            while let Some(&position) = self.found.last() {
                self.fetcher.seek(position);
                let Some(record) = self.fetcher.next()? else { break };
                let timestamp = record.time.since(self.midnight);
                let event = Event::decode(record.kind, record.payload);
                let Some(report) = event.and_then(|e| report_of(&e, timestamp)) else { break };
                let mut bytes = [0; OUTBOUND_BYTES_MAX];
                let len = report.encode(&mut bytes);
                if !packet.push_bytes(&bytes[..len]) {
                    break;
                }
                number += 1;
                self.found.pop();
            }
            if packet.is_empty() {
                break;
            }
            let datagram = packet.packet();
            self.port.send(binding.address, |out| {
                out[..datagram.len()].copy_from_slice(datagram);
                seal(&seal_key, out, datagram.len())
            });
            self.counters.reports.add(packet.count() as u64);
            self.counters.packets.add(1);
            packet.restart(session.name, number);
        }
        self.port.flush();
        Ok(())
    }

    /// Goes back from `start` (number and position of a report at or above `end`) to `from`, and
    /// leaves the positions of `from ..= end` in `found`, last first. False: a link is broken.
    fn collect(
        &mut self,
        slot: SessionSlot,
        start: (u64, u64),
        from: u64,
        end: u64,
    ) -> Result<bool, ReadError> {
        self.found.clear();
        let (mut number, mut position) = start;
        loop {
            if number <= end {
                self.found.push(position);
            }
            if number == from {
                return Ok(true);
            }
            self.fetcher.seek(position);
            let Some(record) = self.fetcher.next()? else { return Ok(false) };
            let Some(head) = EventHead::get(record.payload) else { return Ok(false) };
            if head.session != slot || head.report != number || head.previous == 0 {
                return Ok(false);
            }
            number -= 1;
            position = head.previous;
        }
    }
}

impl<P: Port> Agent for Replayer<P> {
    fn name(&self) -> &'static str {
        "gateway_replayer"
    }

    fn duty_cycle(&mut self, _now: Nanos) -> usize {
        let mut done = match self.follow() {
            Ok(done) => done,
            Err(_) => {
                self.counters.read_errors.add(1);
                0
            }
        };
        // One request per cycle, after the index has caught up as far as it can in one cycle.
        if let Some(Ask::Replay(ask)) = asks::pop(&mut self.requests) {
            self.counters.requests.add(1);
            if self.answer(&ask).is_err() {
                self.counters.read_errors.add(1);
            }
            done += 1;
        }
        done
    }
}
