//! Ethernet addresses of those we send to: read on the hot path, found out beside it.
//!
//! Hot side: [`NeighbourTable::find`], some loads. Who is not known is noted, and his datagrams go
//! through the kernel, which asks for him anyway. Cold side: [`NeighbourTable::refresh`] looks each
//! of them up in the kernel's tables by netlink, again and again, because hosts move. Must not know
//! what is sent. Fixed size: who has no answer, or is not sent to any more, is forgotten, and strangers
//! (whoever sends us something and gets an answer) have half of each row at most, so that nobody can
//! crowd out the venue's own clients with made-up addresses.

use af_xdp::{MacAddress, Neighbours, Resolution};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

const ROWS: usize = 128;
const WAYS: usize = 8;
/// Set in a known Ethernet address, so that none is 0.
const KNOWN: u64 = 1 << 48;
/// Rounds of refresh after which an address without an answer makes room.
const ROUNDS_MAX: u32 = 50;
/// Rounds after which one that nobody sends to makes room: a minute, at ten rounds a second.
const UNUSED_MAX: u32 = 600;
/// Places looked up in one round: each costs system calls. All of them have their turn in 1.6 s.
const LOOKED_UP: usize = 64;

/// Whose destinations a port's are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Peers {
    /// Of sessions, or of our own choice.
    Known,
    /// Of whoever asks.
    Strangers,
}

impl Peers {
    fn ways(self) -> usize {
        match self {
            Peers::Known => WAYS,
            Peers::Strangers => WAYS / 2,
        }
    }
}

#[derive(Default)]
struct Place {
    /// 0 = free.
    ip: AtomicU32,
    /// 0 = not known.
    mac: AtomicU64,
    /// Rounds without an answer.
    rounds: AtomicU32,
    /// Sent to since the last round.
    used: AtomicBool,
    /// Rounds without.
    unused: AtomicU32,
}

/// Up to 1,024 destinations. Shared by every port of a NIC.
pub(super) struct NeighbourTable {
    rows: Box<[[Place; WAYS]]>,
    /// Somebody new is to be looked up.
    wanted: AtomicBool,
    /// Where the next round begins. Cold side only.
    turn: AtomicU32,
}

impl NeighbourTable {
    pub(super) fn new() -> NeighbourTable {
        let rows = (0..ROWS).map(|_| Default::default()).collect();
        NeighbourTable { rows, wanted: AtomicBool::new(false), turn: AtomicU32::new(0) }
    }

    fn row(&self, ip: u32) -> &[Place; WAYS] {
        // Fibonacci hashing: neighbours in one network spread over the rows.
        &self.rows[(ip.wrapping_mul(0x9E37_79B9) >> 25) as usize]
    }

    /// Ethernet address of `ip`; `None`, and it is looked for, when it is not known.
    #[inline]
    pub(super) fn find(&self, ip: Ipv4Addr, peers: Peers) -> Option<MacAddress> {
        let key = u32::from(ip);
        for place in self.row(key) {
            if place.ip.load(Ordering::Acquire) == key {
                let mac = place.mac.load(Ordering::Acquire);
                // The place may have changed hands between the two looks.
                let same = place.ip.load(Ordering::Relaxed) == key;
                if !place.used.load(Ordering::Relaxed) {
                    place.used.store(true, Ordering::Relaxed);
                }
                return (mac != 0 && same).then(|| unpack(mac));
            }
        }
        self.want(key, peers);
        None
    }

    #[cold]
    fn want(&self, key: u32, peers: Peers) {
        for place in &self.row(key)[..peers.ways()] {
            let claimed = place.ip.load(Ordering::Relaxed) == 0
                && place.ip.compare_exchange(0, key, Ordering::AcqRel, Ordering::Relaxed).is_ok();
            if claimed {
                self.wanted.store(true, Ordering::Release);
            }
            if claimed || place.ip.load(Ordering::Relaxed) == key {
                return;
            }
        }
    }

    /// Whether somebody new is to be looked up.
    pub(super) fn has_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }

    /// A round: looks up at most 64, those after the ones of the round before. Some system calls each:
    /// for a cold thread, about ten times a second. `new_only`: those without an address, as soon as
    /// [`NeighbourTable::has_wanted`] says so.
    pub(super) fn refresh(&self, kernel: &mut Neighbours, new_only: bool) {
        self.wanted.store(false, Ordering::Release);
        let places = ROWS * WAYS;
        let begin = self.turn.load(Ordering::Relaxed) as usize;
        let mut looked_up = 0;
        for step in 0..places {
            let at = (begin + step) % places;
            let place = &self.rows[at / WAYS][at % WAYS];
            let key = place.ip.load(Ordering::Acquire);
            let known = place.mac.load(Ordering::Relaxed) != 0;
            if key == 0 || new_only && known || !new_only && self.forgets(place) {
                continue;
            }
            if looked_up == LOOKED_UP {
                self.turn.store(at as u32, Ordering::Relaxed);
                return;
            }
            looked_up += 1;
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

    /// Frees the place of whoever was not sent to for long.
    fn forgets(&self, place: &Place) -> bool {
        if place.used.swap(false, Ordering::Relaxed) {
            place.unused.store(0, Ordering::Relaxed);
            return false;
        }
        let unused = place.unused.load(Ordering::Relaxed) + 1;
        place.unused.store(unused, Ordering::Relaxed);
        let long = unused > UNUSED_MAX;
        if long {
            self.free(place);
        }
        long
    }

    fn free(&self, place: &Place) {
        place.rounds.store(0, Ordering::Relaxed);
        place.unused.store(0, Ordering::Relaxed);
        place.mac.store(0, Ordering::Release);
        place.ip.store(0, Ordering::Release);
    }

    fn without_answer(&self, place: &Place) {
        let rounds = place.rounds.load(Ordering::Relaxed) + 1;
        place.rounds.store(rounds, Ordering::Relaxed);
        if rounds > ROUNDS_MAX {
            self.free(place);
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
        let find = |ip| table.find(ip, Peers::Known);
        assert_eq!(find(ip), None);
        assert!(table.has_wanted());
        let wanted = |table: &NeighbourTable| {
            let places = table.rows.iter().flatten();
            places.filter(|p| p.ip.load(Ordering::Relaxed) != 0).count()
        };
        assert_eq!((find(ip), wanted(&table)), (None, 1));
        let mac = MacAddress([2, 0, 0, 0, 0, 7]);
        table.row(u32::from(ip))[0].mac.store(pack(mac), Ordering::Relaxed);
        assert_eq!(find(ip), Some(mac));
        for host in 0..100_000u32 {
            find(Ipv4Addr::from(0x0A01_0000 + host));
        }
        assert!(wanted(&table) <= ROWS * WAYS);
        assert_eq!(find(ip), Some(mac));
        for _ in 0..=ROUNDS_MAX {
            table.without_answer(&table.row(u32::from(ip))[0]);
        }
        assert_eq!(find(ip), None);
    }

    #[test]
    fn strangers_do_not_crowd_out_clients() {
        let table = NeighbourTable::new();
        for host in 0..100_000u32 {
            table.find(Ipv4Addr::from(0x0A01_0000 + host), Peers::Strangers);
        }
        let row_of = |ip: Ipv4Addr| table.row(u32::from(ip));
        for host in 0..64 {
            let client = Ipv4Addr::new(10, 9, host, 1);
            table.find(client, Peers::Known);
            let has_place = |p: &Place| p.ip.load(Ordering::Relaxed) == u32::from(client);
            assert!(row_of(client).iter().any(has_place), "no place for {client}");
        }
    }

    #[test]
    fn who_is_not_sent_to_is_forgotten() {
        let table = NeighbourTable::new();
        let ip = Ipv4Addr::new(10, 0, 0, 9);
        table.find(ip, Peers::Known);
        let place = &table.row(u32::from(ip))[0];
        place.mac.store(pack(MacAddress([2, 0, 0, 0, 0, 7])), Ordering::Relaxed);
        for round in 0..3 * UNUSED_MAX {
            if round % UNUSED_MAX == 0 {
                assert!(table.find(ip, Peers::Known).is_some());
            }
            assert!(!table.forgets(place), "round {round}");
        }
        assert!((0..=UNUSED_MAX).any(|_| table.forgets(place)));
        assert_eq!(place.ip.load(Ordering::Relaxed), 0);
    }
}
