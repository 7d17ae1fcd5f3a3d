//! Replays: whether what is sent again was asked for, and how much of it (session.md 15).
//!
//! Consumes the requests that reached the gateway under a session's name and the datagrams with
//! reports that left before; produces those beyond the requests, 64 packets a request, or 10 MB/s.

use super::Faults;
use super::bytes::Head;
use crate::types::Nanos;
use std::net::SocketAddrV4;

/// Packets that answer one request at most.
const PACKETS_MAX: u32 = 64;
/// Bytes per second; each packet counts as the longest.
const BYTES_PER_SECOND: u64 = 10_000_000;
const PACKET_BYTES: u64 = 1_400;
/// What may be had at once: 10 ms of it, and as much again for what waited for its turn.
const BURST_BYTES: u64 = BYTES_PER_SECOND / 50;
/// Requests remembered; none is answered later than the next few hundred.
const REQUESTS_MAX: usize = 512;

struct Request {
    from: SocketAddrV4,
    first: u64,
    end: u64,
    packets: u32,
}

/// One session.
pub struct Replays {
    requests: Vec<Request>,
    /// Bytes that may be had, times 10^9.
    level: u128,
    at: Nanos,
}

impl Default for Replays {
    fn default() -> Replays {
        Replays { requests: Vec::new(), level: FULL, at: Nanos(0) }
    }
}

const FULL: u128 = BURST_BYTES as u128 * 1_000_000_000;

impl Replays {
    /// The gateway received a request.
    pub fn asked(&mut self, from: SocketAddrV4, head: &Head) {
        if self.requests.len() == REQUESTS_MAX {
            self.requests.remove(0);
        }
        let end = head.sequence.saturating_add(head.count as u64);
        self.requests.push(Request { from, first: head.sequence, end, packets: 0 });
    }

    /// Reports `head` went to `to` at `at`, all of which had left before.
    pub fn sent(
        &mut self,
        to: SocketAddrV4,
        head: &Head,
        at: Nanos,
        who: u16,
        faults: &mut Faults,
    ) {
        let end = head.sequence + head.count as u64;
        let fits = |r: &&mut Request| {
            r.from == to && r.first <= head.sequence && end <= r.end && r.packets < PACKETS_MAX
        };
        match self.requests.iter_mut().find(fits) {
            Some(request) => request.packets += 1,
            None => {
                let what = format!("session {who}: {} from {} to {to}", head.count, head.sequence);
                faults.at("more was replayed than was asked for", what, at);
            }
        }
        self.level += at.since(self.at) as u128 * BYTES_PER_SECOND as u128;
        self.level = self.level.min(FULL);
        self.at = self.at.max(at);
        let cost = PACKET_BYTES as u128 * 1_000_000_000;
        // What waited while the replayer stood still was counted when it was asked for.
        if self.level < cost && !faults.excused(at, at) {
            faults.at("replayed beyond the rate", format!("session {who}"), at);
        }
        self.level = self.level.saturating_sub(cost);
    }

    /// The exchange comes up again with full buckets; requests of before were lost.
    pub fn up(&mut self) {
        *self = Replays::default();
    }
}
