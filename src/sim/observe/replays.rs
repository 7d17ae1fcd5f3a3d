//! Replays: whether what is sent again was asked for, how much of it, and whether it is sent at all
//! (session.md 15).
//!
//! Consumes the requests that reached the gateway under a session's name and the datagrams with
//! reports that left before; produces those beyond the requests, 64 packets a request, or 10 MB/s, and
//! requests well within these limits that got no answer, or not all of it.

use super::Faults;
use super::bytes::Head;
use crate::types::Nanos;
use std::collections::VecDeque;
use std::net::SocketAddrV4;

/// Packets that answer one request at most.
const PACKETS_MAX: u32 = 64;
/// Bytes per second; each packet counts as the longest.
const BYTES_PER_SECOND: u64 = 10_000_000;
const PACKET_BYTES: u64 = 1_400;
/// What may be had at once: 10 ms of it.
const AT_ONCE_BYTES: u64 = BYTES_PER_SECOND / 100;
/// As much leaves at once, and half of it again for what waited for its turn.
const BURST_BYTES: u64 = AT_ONCE_BYTES * 3 / 2;
/// An answer is whole within so long.
const SLACK_NS: u64 = 60_000_000;
/// So many requests within [`RECENT_NS`], whoever sent them, are never too many.
const RECENT_MAX: usize = 4;
const RECENT_NS: u64 = 100_000_000;
/// Reports that a packet holds at least.
const REPORTS_PER_PACKET: u64 = 16;
/// An answer ends within so long.
const ALIVE_NS: u64 = 500_000_000;
/// Requests remembered; none is answered later than the next few hundred.
const REQUESTS_MAX: usize = 512;

struct Request {
    at: Nanos,
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
    /// Times of the last requests, and the bytes that each may have cost.
    recent: VecDeque<(Nanos, u64)>,
    owed: VecDeque<Owed>,
    /// Reports that the gateway has in memory.
    kept: u64,
}

/// A request that must be answered.
struct Owed {
    to: SocketAddrV4,
    /// Its first report, and the one behind the last that must come.
    first: u64,
    end: u64,
    /// Next report to come.
    next: u64,
    packets: u32,
    since: Nanos,
    /// Its first report was in memory.
    from_memory: bool,
}

const FULL: u128 = BURST_BYTES as u128 * 1_000_000_000;

impl Replays {
    /// Nothing asked; the gateway keeps the last `kept` reports in memory.
    pub fn new(kept: u64) -> Replays {
        let (requests, recent, owed) = Default::default();
        Replays { requests, level: FULL, at: Nanos(0), recent, owed, kept }
    }

    /// The gateway received a request. `last`: it is the bound client's, and
    /// that is the last report that left.
    pub fn asked(&mut self, from: SocketAddrV4, head: &Head, at: Nanos, last: Option<u64>) {
        while self.recent.front().is_some_and(|first| at.since(first.0) > RECENT_NS) {
            self.recent.pop_front();
        }
        let reports = last.map_or(u64::MAX, |last| (last + 1).saturating_sub(head.sequence));
        let packets = reports.min(head.count as u64).div_ceil(REPORTS_PER_PACKET);
        let cost = packets.min(PACKETS_MAX as u64) * PACKET_BYTES;
        // Half of what may be had at once is there after that time.
        let spent: u64 = self.recent.iter().map(|recent| recent.1).sum();
        let alone = self.recent.is_empty();
        let few = self.recent.len() < RECENT_MAX && spent + PACKET_BYTES <= AT_ONCE_BYTES / 2;
        self.recent.push_back((at, cost));
        let there = last.is_some_and(|last| (1..=last).contains(&head.sequence));
        if there && few && (1..0xFFFF).contains(&head.count) {
            // All of it comes when it can be paid at once, else the first packet.
            let all = spent + cost <= AT_ONCE_BYTES;
            let packets = if all { packets.min(PACKETS_MAX as u64) } else { 1 };
            let asked = reports.min(head.count as u64);
            // Nothing else comes between: as many packets as may be, or all that was asked for.
            let count = if all && alone { asked } else { asked.min(packets * REPORTS_PER_PACKET) };
            let first = head.sequence;
            let end = first + count;
            let from_memory = reports <= self.kept;
            self.owed.push_back(Owed {
                to: from,
                first,
                end,
                next: first,
                packets: 0,
                since: at,
                from_memory,
            });
        }
        if self.requests.len() == REQUESTS_MAX {
            self.requests.remove(0);
        }
        let end = head.sequence.saturating_add(head.count as u64);
        self.requests.push(Request { at, from, first: head.sequence, end, packets: 0 });
    }

    /// True when somebody may have been answered with these reports: they do not say how far live
    /// reports are.
    pub fn may_answer(&self, first: u64, count: u16, at: Nanos) -> bool {
        let end = first + u64::from(count);
        let mut recent = self.requests.iter().rev().take_while(|r| at.since(r.at) <= ALIVE_NS);
        recent.any(|r| r.first <= first && end <= r.end)
    }

    /// Reports `head` went to `to` at `at`: again, or for the first time, as those that were in the log when
    /// the exchange died. What comes late answers another request for the same.
    pub fn left(&mut self, to: SocketAddrV4, head: &Head, at: Nanos) {
        let end = head.sequence + head.count as u64;
        let brings = |o: &Owed| {
            let in_time = at <= o.since.plus(SLACK_NS);
            o.to == to && in_time && (head.sequence..end).contains(&o.next)
        };
        // Packets of an answer follow each other; one of another answer may cover its next report, too.
        let goes_on = |o: &Owed| brings(o) && o.next == head.sequence;
        let place =
            self.owed.iter().position(goes_on).or_else(|| self.owed.iter().position(brings));
        if let Some(place) = place {
            let owed = &mut self.owed[place];
            (owed.next, owed.packets) = (end, owed.packets + 1);
            if end >= owed.end || owed.packets == PACKETS_MAX {
                self.owed.remove(place);
            }
        }
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
            let alive = at.since(r.at) <= ALIVE_NS || faults.excused(r.at, at);
            let covers = r.from == to && r.first <= head.sequence && end <= r.end;
            covers && r.packets < PACKETS_MAX && alive
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

    /// The binding is another one, or none: what was asked for before is not answered any more.
    pub fn unbound(&mut self) {
        self.owed.clear();
    }

    /// Judges up to `now` what was never answered; there are reports through `last`. What falls out of
    /// memory while it waits for its turn is silence: who asks again has it from the log.
    pub fn until(&mut self, now: Nanos, last: u64, who: u16, faults: &mut Faults) {
        while let Some(&Owed { to, first, end, next, since, from_memory, .. }) = self.owed.front()
            && now > since.plus(SLACK_NS)
        {
            self.owed.pop_front();
            let fell_out = from_memory && last + 1 > next + self.kept;
            if !fell_out && !faults.excused(since, since.plus(SLACK_NS)) {
                let (last, at) = (end - 1, since.0);
                let what =
                    format!("session {who}: {first} to {last}, to {to}: no {next} since {at}");
                let rule = match next == first {
                    true => "a request for reports was not answered",
                    false => "a request for reports was answered in part",
                };
                faults.at(rule, what, now);
            }
        }
    }

    /// The exchange comes up again with full buckets; requests of before were lost.
    pub fn up(&mut self) {
        *self = Replays::new(self.kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn an_answer_that_ends_early_shows() {
        let peer = SocketAddrV4::new(Ipv4Addr::new(10, 1, 0, 1), 7);
        let head = |sequence, count| Head { session: [b' '; 10], sequence, count };
        let (mut replays, mut faults) = (Replays::new(512), Faults::default());
        let mut answer = |at: u64, packets: &[(u64, u16)]| {
            replays.asked(peer, &head(5, 90), Nanos(at), Some(60));
            for &(first, count) in packets {
                replays.left(peer, &head(first, count), Nanos(at + 1));
                replays.sent(peer, &head(first, count), Nanos(at + 1), 0, &mut faults);
            }
            replays.until(Nanos(at + 2 * SLACK_NS), 60, 0, &mut faults);
            std::mem::take(&mut faults.found).iter().map(|fault| fault.rule).collect::<Vec<_>>()
        };
        let in_part = "a request for reports was answered in part";
        assert_eq!(answer(0, &[(5, 30), (35, 26)]), [""; 0], "60 is the last there is");
        assert_eq!(answer(1_000_000_000, &[(5, 30), (35, 25)]), [in_part]);
        assert_eq!(answer(2_000_000_000, &[(5, 30)]), [in_part]);
        assert_eq!(answer(3_000_000_000, &[]), ["a request for reports was not answered"]);
    }

    #[test]
    fn as_many_packets_come_as_may() {
        let peer = SocketAddrV4::new(Ipv4Addr::new(10, 1, 0, 1), 7);
        let head = |sequence, count| Head { session: [b' '; 10], sequence, count };
        for (packets, faults_expected) in [(32, 1), (63, 1), (64, 0)] {
            let (mut replays, mut faults) = (Replays::new(4_096), Faults::default());
            replays.asked(peer, &head(1, 0xFFFE), Nanos(0), Some(4_000));
            for packet in 0..packets {
                replays.left(peer, &head(1 + 32 * packet, 32), Nanos(packet));
            }
            // Much later the same is asked for again.
            let late = Nanos(SLACK_NS + 1);
            (0..64).for_each(|packet| replays.left(peer, &head(1 + 32 * packet, 32), late));
            replays.until(Nanos(2 * SLACK_NS), 4_000, 0, &mut faults);
            assert_eq!(faults.found.len(), faults_expected, "{packets} packets");
        }
    }
}
