//! Flight: datagrams that are under way on a simulated network, and what happens to them there.
//!
//! Consumes datagrams, faults by direction and the time; produces deliveries in order of time, a count
//! of every fault, and a hash over everything delivered. Every choice comes from one seed. Must not
//! know what datagrams mean.

use super::Datagram;
use crate::random::SplitMix64;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Datagrams remembered for [`super::MemoryNetwork::overheard`].
const OVERHEARD_MAX: usize = 128;

/// Faults of one direction; shares in 1/1,000,000.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LinkFaults {
    /// Lost.
    pub lose: u32,
    /// Delivered twice.
    pub duplicate: u32,
    /// One to three bits flipped.
    pub corrupt: u32,
    /// Cut short.
    pub truncate: u32,
    /// Held back by up to `late_ns` beyond the ordinary delay, so that others overtake it.
    pub late: u32,
    /// Longest extra delay, ns.
    pub late_ns: u64,
    /// Ordinary delay, ns.
    pub delay_ns: u64,
    /// The checksum of UDP finds what is damaged: it is lost. Else it gets through.
    pub checked: bool,
}

/// A direction of traffic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// Everything sent to this address or group.
    To(SocketAddrV4),
    /// Everything sent from this address.
    From(SocketAddrV4),
}

/// What happened on a simulated network.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NetworkCounts {
    /// Copies sent: one per receiver.
    pub sent: u64,
    /// Copies that reached a port.
    pub delivered: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Lost on a cut link.
    pub cut: u64,
    /// Lost because nobody was there.
    pub nobody: u64,
    /// Lost because the receiver's queue was full.
    pub overflowed: u64,
    /// Sent twice.
    pub duplicated: u64,
    /// Held back.
    pub late: u64,
    /// Bits flipped.
    pub corrupted: u64,
    /// Cut short.
    pub truncated: u64,
}

impl NetworkCounts {
    /// Adds another network's counts.
    pub fn add(&mut self, other: &NetworkCounts) {
        self.sent += other.sent;
        self.delivered += other.delivered;
        self.lost += other.lost;
        self.cut += other.cut;
        self.nobody += other.nobody;
        self.overflowed += other.overflowed;
        self.duplicated += other.duplicated;
        self.late += other.late;
        self.corrupted += other.corrupted;
        self.truncated += other.truncated;
    }

    /// Copies that never reached anybody.
    pub fn dropped(&self) -> u64 {
        self.lost + self.cut + self.nobody + self.overflowed
    }
}

/// Datagrams that passed the ports of one host, in order.
#[derive(Default)]
pub struct Taps {
    entries: Vec<(bool, SocketAddrV4, SocketAddrV4, usize)>,
    bytes: Vec<u8>,
}

impl Taps {
    fn push(&mut self, sent: bool, local: SocketAddrV4, peer: SocketAddrV4, bytes: &[u8]) {
        self.entries.push((sent, local, peer, bytes.len()));
        self.bytes.extend_from_slice(bytes);
    }

    /// Nothing passed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
    }

    /// Each: was it sent, the host's address, the other one, what.
    pub fn each(&self, mut on: impl FnMut(bool, SocketAddrV4, SocketAddrV4, &[u8])) {
        let mut at = 0;
        for &(sent, local, peer, len) in &self.entries {
            on(sent, local, peer, &self.bytes[at..at + len]);
            at += len;
        }
    }
}

/// One datagram under way.
struct UnderWay {
    at: u64,
    number: u64,
    /// Member of a group that it is for; `None` = whoever has the address when it arrives.
    endpoint: Option<u64>,
    datagram: Datagram,
}

impl PartialEq for UnderWay {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}
impl Eq for UnderWay {}
impl PartialOrd for UnderWay {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for UnderWay {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// The simulated part of a network.
pub(super) struct Flight {
    now: u64,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    next_number: u64,
    links: Vec<(Way, LinkFaults)>,
    /// Hosts whose sending, or whose receiving, is cut.
    cut_from: BTreeSet<Ipv4Addr>,
    cut_to: BTreeSet<Ipv4Addr>,
    random: SplitMix64,
    trace: u64,
    pub counts: NetworkCounts,
    overheard: VecDeque<(SocketAddrV4, SocketAddrV4, Vec<u8>)>,
    listening: bool,
    /// Host whose ports are watched.
    tapped: Option<Ipv4Addr>,
    taps: Taps,
    /// Something passed there: shared with the network, which looks without its lock.
    passed: Arc<AtomicBool>,
}

impl Flight {
    pub(super) fn new(seed: u64, passed: Arc<AtomicBool>) -> Flight {
        Flight {
            now: 0,
            under_way: BinaryHeap::new(),
            next_number: 0,
            links: Vec::new(),
            cut_from: BTreeSet::new(),
            cut_to: BTreeSet::new(),
            random: SplitMix64::new(seed),
            trace: 0,
            counts: NetworkCounts::default(),
            overheard: VecDeque::new(),
            listening: false,
            tapped: None,
            taps: Taps::default(),
            passed,
        }
    }

    pub(super) fn set_links(&mut self, links: Vec<(Way, LinkFaults)>) {
        self.links = links;
    }

    pub(super) fn set_cut(&mut self, host: Ipv4Addr, from: bool, to: bool) {
        let set = |hosts: &mut BTreeSet<Ipv4Addr>, cut| match cut {
            true => hosts.insert(host),
            false => hosts.remove(&host),
        };
        set(&mut self.cut_from, from);
        set(&mut self.cut_to, to);
    }

    pub(super) fn tap(&mut self, host: Ipv4Addr) {
        self.tapped = Some(host);
    }

    pub(super) fn swap_taps(&mut self, taps: &mut Taps) {
        taps.clear();
        std::mem::swap(&mut self.taps, taps);
        self.passed.store(false, Ordering::Release);
    }

    fn tap_into(&mut self, sent: bool, local: SocketAddrV4, peer: SocketAddrV4, bytes: &[u8]) {
        if self.tapped == Some(*local.ip()) {
            self.taps.push(sent, local, peer, bytes);
            self.passed.store(true, Ordering::Release);
        }
    }

    /// A datagram leaves a port, before anything happens to it.
    pub(super) fn leaves(&mut self, datagram: &Datagram) {
        let bytes = &datagram.bytes[..datagram.length];
        self.tap_into(true, datagram.from, datagram.to, bytes);
    }

    /// A process takes a datagram from its port.
    pub(super) fn taken(&mut self, local: SocketAddrV4, datagram: &Datagram) {
        self.tap_into(false, local, datagram.from, &datagram.bytes[..datagram.length]);
    }

    pub(super) fn trace(&self) -> u64 {
        self.trace
    }

    fn faults(&self, from: SocketAddrV4, to: SocketAddrV4) -> LinkFaults {
        let matches = |way: &Way| match way {
            Way::To(address) => *address == to,
            Way::From(address) => *address == from,
        };
        self.links.iter().find(|(way, _)| matches(way)).map_or_else(LinkFaults::default, |l| l.1)
    }

    fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.random.draw()) * u128::from(n)) >> 64) as u64
    }

    fn chance(&mut self, per_million: u32) -> bool {
        per_million != 0 && self.below(1_000_000) < u64::from(per_million)
    }

    /// One copy sets out for a member of a group, or for whoever will have the address. `host` is
    /// the receiver's.
    pub(super) fn send(
        &mut self,
        datagram: &Datagram,
        endpoint: Option<u64>,
        host: Ipv4Addr,
        pool: &mut Vec<Datagram>,
    ) {
        self.counts.sent += 1;
        let faults = self.faults(datagram.from, datagram.to);
        let copies = 1 + usize::from(self.chance(faults.duplicate));
        self.counts.duplicated += copies as u64 - 1;
        for _ in 0..copies {
            // Decided for what is cut, too: a cut changes nothing elsewhere.
            let lost = self.chance(faults.lose);
            let mut delay = faults.delay_ns / 2 + self.below(faults.delay_ns / 2 + 1);
            if self.chance(faults.late) {
                self.counts.late += 1;
                delay += self.below(faults.late_ns + 1);
            }
            let corrupt = self.chance(faults.corrupt);
            let truncate = self.chance(faults.truncate);
            if self.cut_from.contains(datagram.from.ip()) || self.cut_to.contains(&host) {
                self.counts.cut += 1;
                continue;
            }
            if lost || (faults.checked && (corrupt || truncate)) {
                self.counts.lost += 1;
                continue;
            }
            let mut copy = datagram.copy(pool);
            if corrupt {
                self.counts.corrupted += 1;
                for _ in 0..1 + self.below(3) {
                    let bit = self.below(copy.length as u64 * 8) as usize;
                    copy.bytes[bit / 8] ^= 1 << (bit % 8);
                }
            }
            if truncate {
                self.counts.truncated += 1;
                copy.length = self.below(copy.length as u64) as usize;
            }
            self.put(self.now + delay, endpoint, copy);
        }
    }

    pub(super) fn put(&mut self, at: u64, endpoint: Option<u64>, datagram: Datagram) {
        let number = self.next_number;
        self.next_number += 1;
        self.under_way.push(Reverse(UnderWay { at, number, endpoint, datagram }));
    }

    /// Moves to `now`; the caller takes what has arrived with [`Flight::arrived`].
    pub(super) fn set_now(&mut self, now: u64) {
        self.now = self.now.max(now);
    }

    /// When the next one arrives.
    pub(super) fn next_at(&self) -> Option<u64> {
        self.under_way.peek().map(|u| u.0.at)
    }

    /// The next one that has arrived by now.
    pub(super) fn arrived(&mut self) -> Option<(Option<u64>, Datagram)> {
        if self.next_at()? > self.now {
            return None;
        }
        let Reverse(u) = self.under_way.pop()?;
        Some((u.endpoint, u.datagram))
    }

    /// Notes a delivery in the trace.
    pub(super) fn delivered(&mut self, datagram: &Datagram) {
        self.counts.delivered += 1;
        let sum = crc32c::crc32c(&datagram.bytes[..datagram.length]);
        let ports = u64::from(datagram.from.port()) << 16 | u64::from(datagram.to.port());
        for word in [self.now, ports << 32 | u64::from(sum)] {
            self.trace = (self.trace.rotate_left(5) ^ word).wrapping_mul(0x517C_C1B7_2722_0A95);
        }
        if self.listening {
            if self.overheard.len() == OVERHEARD_MAX {
                self.overheard.pop_front();
            }
            let bytes = datagram.bytes[..datagram.length].to_vec();
            self.overheard.push_back((datagram.from, datagram.to, bytes));
        }
    }

    /// One of the last datagrams delivered, chosen by `choice`. From the first call on they are kept.
    pub(super) fn overheard(
        &mut self,
        choice: u64,
    ) -> Option<(SocketAddrV4, SocketAddrV4, Vec<u8>)> {
        self.listening = true;
        let count = self.overheard.len() as u64;
        (count > 0).then(|| self.overheard[(choice % count) as usize].clone())
    }
}
