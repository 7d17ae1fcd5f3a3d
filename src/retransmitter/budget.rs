//! Bytes per second: of each client, and of all together.
//!
//! Consumes the address that asks and the time; produces yes or no. A bounded table; an entry whose
//! bucket is full again says no more than no entry, and is what gives way. Must not know requests.

use crate::types::Nanos;
use std::net::Ipv4Addr;

/// A rate of bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// Bytes per second, 1 ..= 10^10.
    pub bytes_per_second: u64,
    /// Bytes that may be had at once; at least one packet.
    pub burst_bytes: u64,
}

/// A token bucket, counted in bytes.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    bytes: u64,
    at: Nanos,
}

impl Bucket {
    fn refill(&mut self, rate: &Rate, now: Nanos) {
        // Ten seconds at the highest rate stay far below 2^64.
        let gained = now.since(self.at).min(10_000_000_000) * rate.bytes_per_second.min(1 << 30)
            / 1_000_000_000;
        // Time that made no whole byte is not lost.
        if gained > 0 {
            self.bytes = (self.bytes + gained).min(rate.burst_bytes);
            self.at = now;
        }
    }
}

#[derive(Clone, Copy)]
struct Client {
    address: Ipv4Addr,
    bucket: Bucket,
}

/// Answer of [`Budget::admit`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// Go on; charge the client at this place afterwards.
    Granted(usize),
    /// The client is over its rate.
    Exhausted,
    /// All clients together are over the rate.
    AllExhausted,
    /// No room in the table: as many other clients are being repaired just now.
    TableFull,
}

/// The buckets.
pub struct Budget {
    per_client: Rate,
    all: Rate,
    clients: Vec<Client>,
    clients_max: usize,
    total: Bucket,
}

impl Budget {
    /// Nobody has asked yet. `clients_max` addresses at a time.
    pub fn new(per_client: Rate, all: Rate, clients_max: usize) -> Budget {
        let clients = Vec::with_capacity(clients_max);
        let total = Bucket { bytes: all.burst_bytes, at: Nanos(0) };
        Budget { per_client, all, clients, clients_max, total }
    }

    /// May `address` have another packet of at most `bytes` now? O(clients); no allocation.
    pub fn admit(&mut self, address: Ipv4Addr, bytes: u64, now: Nanos) -> Admission {
        let Budget { per_client, all, clients, clients_max, total } = self;
        let known = clients.iter().position(|c| c.address == address);
        let fresh = Client { address, bucket: Bucket { bytes: per_client.burst_bytes, at: now } };
        let index = match known {
            Some(index) => index,
            None if clients.len() < *clients_max => {
                clients.push(fresh);
                clients.len() - 1
            }
            None => {
                let idle = clients.iter_mut().position(|c| {
                    c.bucket.refill(per_client, now);
                    c.bucket.bytes >= per_client.burst_bytes
                });
                let Some(index) = idle else { return Admission::TableFull };
                clients[index] = fresh;
                index
            }
        };
        let bucket = &mut clients[index].bucket;
        bucket.refill(per_client, now);
        if bucket.bytes < bytes {
            return Admission::Exhausted;
        }
        total.refill(all, now);
        if total.bytes < bytes {
            return Admission::AllExhausted;
        }
        Admission::Granted(index)
    }

    /// A packet of `bytes` went to the client just admitted.
    pub fn charge(&mut self, index: usize, bytes: u64) {
        if let Some(client) = self.clients.get_mut(index) {
            client.bucket.bytes = client.bucket.bytes.saturating_sub(bytes);
        }
        self.total.bytes = self.total.bytes.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { bytes_per_second: 100_000, burst_bytes: 5_000 };
    const PLENTY: Rate = Rate { bytes_per_second: 1 << 30, burst_bytes: 1 << 30 };

    fn address(n: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, n)
    }

    fn had(budget: &mut Budget, client: u8, from_ms: u64, to_ms: u64) -> u64 {
        let mut packets = 0;
        for step in from_ms * 10..to_ms * 10 {
            let now = Nanos(step * 100_000);
            if let Admission::Granted(index) = budget.admit(address(client), 1_000, now) {
                budget.charge(index, 1_000);
                packets += 1;
            }
        }
        packets
    }

    #[test]
    fn the_burst_then_the_rate() {
        let mut budget = Budget::new(RATE, PLENTY, 4);
        assert_eq!(had(&mut budget, 1, 0, 1), 5);
        assert_eq!(had(&mut budget, 1, 1, 1_001), 100);
        assert_eq!(had(&mut budget, 2, 1_001, 1_002), 5, "clients do not share");
        assert_eq!(had(&mut budget, 1, 9_000, 9_001), 5);
    }

    #[test]
    fn all_together_are_bounded() {
        let mut budget = Budget::new(RATE, Rate { bytes_per_second: 1, burst_bytes: 7_000 }, 4);
        assert_eq!(had(&mut budget, 1, 0, 1), 5);
        assert_eq!(had(&mut budget, 2, 0, 1), 2);
        assert_eq!(budget.admit(address(3), 1_000, Nanos(1)), Admission::AllExhausted);
    }

    #[test]
    fn the_table_is_bounded_and_idle_clients_give_way() {
        let mut budget = Budget::new(RATE, PLENTY, 3);
        for client in 1..=3 {
            assert_eq!(had(&mut budget, client, 0, 1), 5);
        }
        assert_eq!(budget.admit(address(4), 1_000, Nanos(1_000_000)), Admission::TableFull);
        assert_eq!(had(&mut budget, 4, 100, 101), 5);
        assert_eq!(budget.clients.len(), 3);
    }
}
