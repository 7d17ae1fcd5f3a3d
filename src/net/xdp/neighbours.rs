//! Ethernet addresses of those we send to: read on the hot path, found out beside it.
//!
//! Hot side: [`NeighbourTable::find`], some loads. Who is not known is noted, and his datagrams go
//! through the kernel, which asks for him anyway. Cold side: [`NeighbourTable::refresh`] looks each
//! of them up in the kernel's tables by netlink, again and again, because hosts move. Must not know
//! what is sent. Fixed size; a full row forgets who has no answer.

use af_xdp::{MacAddress, Neighbours, Resolution};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

const ROWS: usize = 128;
const WAYS: usize = 8;
/// Set in a known Ethernet address, so that none is 0.
const KNOWN: u64 = 1 << 48;
/// Rounds of refresh after which an address without an answer makes room.
const ROUNDS_MAX: u32 = 50;

#[derive(Default)]
struct Place {
    /// 0 = free.
    ip: AtomicU32,
    /// 0 = not known.
    mac: AtomicU64,
    /// Rounds without an answer.
    rounds: AtomicU32,
}

/// Up to 1,024 destinations. Shared by every port of a NIC.
pub(super) struct NeighbourTable {
    rows: Box<[[Place; WAYS]]>,
}

impl NeighbourTable {
    pub(super) fn new() -> NeighbourTable {
        NeighbourTable { rows: (0..ROWS).map(|_| Default::default()).collect() }
    }

    fn row(&self, ip: u32) -> &[Place; WAYS] {
        // Fibonacci hashing: neighbours in one network spread over the rows.
        &self.rows[(ip.wrapping_mul(0x9E37_79B9) >> 25) as usize]
    }

    /// Ethernet address of `ip`; `None`, and it is looked for, when it is not known.
    #[inline]
    pub(super) fn find(&self, ip: Ipv4Addr) -> Option<MacAddress> {
        let key = u32::from(ip);
        for place in self.row(key) {
            if place.ip.load(Ordering::Acquire) == key {
                let mac = place.mac.load(Ordering::Acquire);
                // The place may have changed hands between the two looks.
                let same = place.ip.load(Ordering::Relaxed) == key;
                return (mac != 0 && same).then(|| unpack(mac));
            }
        }
        self.want(key);
        None
    }

    #[cold]
    fn want(&self, key: u32) {
        for place in self.row(key) {
            let claimed =
                place.ip.compare_exchange(0, key, Ordering::AcqRel, Ordering::Relaxed).is_ok();
            if claimed || place.ip.load(Ordering::Relaxed) == key {
                return;
            }
        }
    }

    /// Looks everybody up once. Some system calls per destination: for a cold thread, about ten
    /// times a second.
    pub(super) fn refresh(&self, kernel: &mut Neighbours) {
        for place in self.rows.iter().flatten() {
            let key = place.ip.load(Ordering::Acquire);
            if key == 0 {
                continue;
            }
            match kernel.resolve(Ipv4Addr::from(key)) {
                Ok(Resolution::Known(mac)) => {
                    place.rounds.store(0, Ordering::Relaxed);
                    place.mac.store(pack(mac), Ordering::Release);
                }
                // Being asked for again: what was known stays good until the kernel says otherwise.
                Ok(Resolution::Asked) if place.mac.load(Ordering::Relaxed) != 0 => {
                    self.without_answer(place);
                }
                Ok(_) | Err(_) => {
                    place.mac.store(0, Ordering::Release);
                    self.without_answer(place);
                }
            }
        }
    }

    fn without_answer(&self, place: &Place) {
        let rounds = place.rounds.load(Ordering::Relaxed) + 1;
        place.rounds.store(rounds, Ordering::Relaxed);
        if rounds > ROUNDS_MAX {
            place.rounds.store(0, Ordering::Relaxed);
            place.mac.store(0, Ordering::Release);
            place.ip.store(0, Ordering::Release);
        }
    }
}

fn pack(mac: MacAddress) -> u64 {
    mac.0.iter().fold(0, |packed, byte| packed << 8 | u64::from(*byte)) | KNOWN
}

fn unpack(packed: u64) -> MacAddress {
    let bytes = packed.to_be_bytes();
    MacAddress([bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_asked_for_is_wanted_and_a_full_row_takes_no_more() {
        let table = NeighbourTable::new();
        let ip = Ipv4Addr::new(10, 0, 0, 9);
        assert_eq!(table.find(ip), None);
        let wanted = |table: &NeighbourTable| {
            let places = table.rows.iter().flatten();
            places.filter(|p| p.ip.load(Ordering::Relaxed) != 0).count()
        };
        assert_eq!((table.find(ip), wanted(&table)), (None, 1));
        let mac = MacAddress([2, 0, 0, 0, 0, 7]);
        table.row(u32::from(ip))[0].mac.store(pack(mac), Ordering::Relaxed);
        assert_eq!(table.find(ip), Some(mac));
        for host in 0..100_000u32 {
            table.find(Ipv4Addr::from(0x0A01_0000 + host));
        }
        assert!(wanted(&table) <= ROWS * WAYS);
        assert_eq!(table.find(ip), Some(mac));
        for _ in 0..=ROUNDS_MAX {
            table.without_answer(&table.row(u32::from(ip))[0]);
        }
        assert_eq!(table.find(ip), None);
    }
}
