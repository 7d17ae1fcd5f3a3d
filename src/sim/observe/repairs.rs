//! Repairs: what the repair service answers (feed.md, Rules for a subscriber 4 to 7): one packet for a
//! request, with as many messages as were asked for, exist and fit, within the bytes per second of each
//! client and of all; and an answer to each request that these rules allow.
//!
//! Consumes requests as they were taken from the port and answers as they left, in order of time;
//! produces what contradicts.

use super::bytes::Head;
use super::{Faults, Sent};
use crate::sim::REPAIR;
use crate::types::Nanos;
use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};

/// Who answers, and waits for nobody.
const AGENT: &str = "retransmitter";
/// Longest packet.
const PACKET_BYTES: u64 = 1_400;
/// All clients together, bytes per second and at once.
const ALL: (u64, u64) = (40_000_000, 4 << 20);
/// A request is answered within so long.
const SLACK_NS: u64 = 60_000_000;
/// So long after a start it may not have found all messages yet (`Retransmitter::new`).
const START_NS: u64 = 20_000_000;
/// Requests for one number whose counts are remembered.
const COUNTS_MAX: usize = 256;
const SECOND: u128 = 1_000_000_000;

/// Bytes that may be had, exactly: times 10^9.
#[derive(Clone, Copy)]
struct Bucket {
    per_second: u64,
    full: u128,
    level: u128,
    at: Nanos,
}

impl Bucket {
    fn new((per_second, at_once): (u64, u64), at: Nanos) -> Bucket {
        let full = u128::from(at_once) * SECOND;
        Bucket { per_second, full, level: full, at }
    }

    /// Whole bytes at `at`.
    fn bytes(&mut self, at: Nanos) -> u64 {
        let gained = u128::from(at.since(self.at)) * u128::from(self.per_second);
        self.level = (self.level + gained).min(self.full);
        self.at = self.at.max(at);
        (self.level / SECOND) as u64
    }

    fn take(&mut self, bytes: u64) {
        self.level = self.level.saturating_sub(u128::from(bytes) * SECOND);
    }
}

/// A request that must be answered.
struct Owed {
    from: SocketAddrV4,
    first: u64,
    /// Messages asked for.
    count: u16,
    /// Last message that had left on both lines.
    exists: u64,
    since: Nanos,
}

/// The repair service of a day.
pub struct Repairs {
    /// Bytes per second of a client.
    per_second: u64,
    clients: BTreeMap<Ipv4Addr, Bucket>,
    all: Bucket,
    /// How many messages anybody asked for from a number on, the last few times and at most.
    asked: BTreeMap<(SocketAddrV4, u64), (VecDeque<u16>, u16)>,
    owed: VecDeque<Owed>,
    up_since: Nanos,
}

impl Repairs {
    /// Nobody asked yet.
    pub fn new(per_second: u64) -> Repairs {
        Repairs {
            per_second,
            clients: BTreeMap::new(),
            all: Bucket::new(ALL, Nanos(0)),
            asked: BTreeMap::new(),
            owed: VecDeque::new(),
            up_since: Nanos(0),
        }
    }

    /// The exchange comes up again with full buckets.
    pub fn up(&mut self, now: Nanos) {
        self.up_since = now;
        self.clients.clear();
        self.owed.clear();
        self.all = Bucket::new(ALL, Nanos(0));
    }

    fn client(&mut self, ip: Ipv4Addr, at: Nanos) -> &mut Bucket {
        let rate = (self.per_second, self.per_second / 8);
        self.clients.entry(ip).or_insert_with(|| Bucket::new(rate, at))
    }

    /// A request of this feed was taken from the port. `exists`: last message that had left on both
    /// lines.
    pub fn asked(&mut self, from: SocketAddrV4, head: &Head, exists: u64, at: Nanos) {
        let (first, count) = (head.sequence, head.count);
        let (counts, most) = self.asked.entry((from, first)).or_default();
        if counts.len() == COUNTS_MAX {
            counts.pop_front();
        }
        counts.push_back(count);
        *most = count.max(*most);
        // To itself, a group or nobody it says nothing, whoever wrote that into the sender's place.
        let ip = from.ip();
        let nobody = ip.is_multicast() || ip.is_broadcast() || ip.is_unspecified();
        if nobody || from.port() == 0 || from == REPAIR {
            self.asked.remove(&(from, first));
            return;
        }
        // What was granted and has not left yet.
        let under_way = |one: &Owed| one.from.ip() == from.ip();
        let granted = self.owed.iter().filter(|owed| under_way(owed)).count() as u64 + 2;
        let enough = self.client(*from.ip(), at).bytes(at) >= granted * PACKET_BYTES;
        let asks = (1..0xFFFF).contains(&count) && at >= self.up_since.plus(START_NS);
        if asks && (1..=exists).contains(&first) && enough && self.all.bytes(at) >= ALL.1 / 2 {
            self.owed.push_back(Owed { from, first, count, exists, since: at });
        }
    }

    /// An answer left: `blocks` messages from `head.sequence` on. `next`: bytes of the message behind
    /// them.
    pub fn answered(
        &mut self,
        sent: &Sent,
        head: &Head,
        blocks: usize,
        next: Option<usize>,
        faults: &mut Faults,
    ) {
        let (to, first, bytes) = (sent.peer, head.sequence, sent.bytes.len());
        let asked = self.asked.get(&(to, first));
        if asked.is_none_or(|asked| blocks > asked.1 as usize) {
            let what = format!("{to} got {blocks} from {first}");
            faults.at("more was repaired than was asked for", what, sent.at);
        }
        let wanted = |o: &Owed| o.from == to && o.first == first;
        let exactly = self.owed.iter().position(|o| wanted(o) && o.count as usize == blocks);
        let place = exactly.or_else(|| self.owed.iter().position(wanted));
        let few = asked.is_some_and(|asked| asked.0.iter().all(|&count| blocks < count as usize));
        if let Some(owed) = place.and_then(|place| self.owed.remove(place))
            && few
            && !faults.stood_still(AGENT, sent.at, sent.at)
            && first + blocks as u64 <= owed.exists
            && next.is_some_and(|next| bytes + 2 + next <= PACKET_BYTES as usize)
        {
            let what = format!("{to} got {blocks} of {} from {first}, {bytes} bytes", owed.count);
            faults.at("less was repaired than fits", what, sent.at);
        }
        let (client, all) =
            (self.client(*to.ip(), sent.at).bytes(sent.at), self.all.bytes(sent.at));
        // Whoever has less than a longest packet is not answered.
        if client < PACKET_BYTES || all < PACKET_BYTES {
            let what = format!("{to} had {client} bytes, all together {all}");
            faults.at("repaired beyond the rate", what, sent.at);
        }
        self.client(*to.ip(), sent.at).take(bytes as u64);
        self.all.take(bytes as u64);
    }

    /// Judges up to `now` what was never answered.
    pub fn until(&mut self, now: Nanos, faults: &mut Faults) {
        while let Some(owed) = self.owed.front()
            && now > owed.since.plus(SLACK_NS)
        {
            let (since, due) = (owed.since, owed.since.plus(SLACK_NS));
            if !faults.stood_still(AGENT, since, due) {
                let what = format!("{}: {} from {}", owed.from, owed.count, owed.first);
                faults.at("a request for repair was not answered", what, now);
            }
            self.owed.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_an_eighth_at_once_and_the_rate_then() {
        let (mut repairs, mut faults) = (Repairs::new(112_000), Faults::default());
        let peer = SocketAddrV4::new(Ipv4Addr::new(10, 2, 0, 1), 7);
        let local = peer;
        let mut answer = |first: u64, at: u64, faults: &mut Faults| {
            let (at, head) =
                (at + START_NS, Head { session: [b' '; 10], sequence: first, count: 1 });
            repairs.asked(peer, &head, 100, Nanos(at));
            let sent = Sent { at: Nanos(at), local, peer, bytes: vec![0; 1_400], archived: 0 };
            repairs.answered(&sent, &head, 1, None, faults);
            faults.found.len()
        };
        for first in 1..=10 {
            assert_eq!(answer(first, 5, &mut faults), 0);
        }
        assert_eq!(answer(11, 5, &mut faults), 1, "14,000 bytes are gone");
        assert_eq!(answer(12, 5 + 12_500_000, &mut faults), 1, "1,400 bytes came back");
        assert_eq!(answer(13, 5 + 12_500_001, &mut faults), 2);
    }

    #[test]
    fn silence_and_half_an_answer_show() {
        let (mut repairs, mut faults) = (Repairs::new(1_000_000), Faults::default());
        let peer = SocketAddrV4::new(Ipv4Addr::new(10, 2, 0, 1), 7);
        let head = |sequence, count| Head { session: [b' '; 10], sequence, count };
        let ms = |ms: u64| Nanos(ms * 1_000_000);
        // While it starts nothing is owed yet.
        repairs.up(Nanos(0));
        repairs.asked(peer, &head(5, 2), 9, ms(19));
        repairs.asked(peer, &head(3, 2), 9, ms(20));
        repairs.asked(peer, &head(10, 2), 9, ms(20));
        let sent = |len| Sent {
            at: Nanos(20_000_001),
            local: peer,
            peer,
            bytes: vec![0; len],
            archived: 0,
        };
        repairs.answered(&sent(1_380), &head(3, 1), 1, Some(36), &mut faults);
        assert!(faults.found.is_empty(), "the second would not fit");
        repairs.asked(peer, &head(3, 2), 9, ms(21));
        repairs.answered(&sent(56), &head(3, 1), 1, Some(36), &mut faults);
        assert_eq!(faults.found[0].rule, "less was repaired than fits");
        repairs.asked(peer, &head(4, 1), 9, ms(22));
        repairs.until(ms(23).plus(SLACK_NS), &mut faults);
        assert_eq!(faults.found[1].rule, "a request for repair was not answered");
        assert_eq!(faults.found.len(), 2, "10 does not exist");
    }
}
