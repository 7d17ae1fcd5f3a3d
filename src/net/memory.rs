//! A network in memory for tests and simulation: addresses, multicast groups, seeded faults.
//!
//! Consumes what [`MemoryPort`]s flush. A plain network delivers it at once, in order, to the ports
//! that it is for; loss and cuts are asked for. A simulated one ([`MemoryNetwork::simulated`]) has a
//! time of its own, in which datagrams are delayed, lost, doubled, overtaken and damaged. Buffers come
//! from a pool, so that a steady flow does not allocate. Must not know what datagrams mean.

mod flight;

pub use flight::{LinkFaults, NetworkCounts, Taps, Way};

use flight::Flight;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{Error, ErrorKind, Result};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::lossy::Random;
use super::port::{BURST, DATAGRAM_BYTES_MAX, Port};

/// Datagrams that wait at one port at most; the rest is lost, as at a socket.
pub const WAITING_MAX: usize = 65_536;

/// First port that is given out for port 0 (IANA: dynamic ports).
const FIRST_FREE_PORT: u16 = 49_152;

struct Datagram {
    from: SocketAddrV4,
    to: SocketAddrV4,
    length: usize,
    bytes: Box<[u8; DATAGRAM_BYTES_MAX]>,
}

impl Datagram {
    fn blank() -> Datagram {
        let nobody = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
        Datagram { from: nobody, to: nobody, length: 0, bytes: Box::new([0; DATAGRAM_BYTES_MAX]) }
    }

    fn copy(&self, pool: &mut Vec<Datagram>) -> Datagram {
        let mut copy = pool.pop().unwrap_or_else(Datagram::blank);
        (copy.from, copy.to, copy.length) = (self.from, self.to, self.length);
        copy.bytes[..self.length].copy_from_slice(&self.bytes[..self.length]);
        copy
    }
}

struct Endpoint {
    address: SocketAddrV4,
    /// Where it is: of a group's member the interface.
    host: Ipv4Addr,
    waiting: VecDeque<Datagram>,
    /// Something waits: an empty port is looked at without the lock.
    ready: Arc<AtomicBool>,
}

impl Endpoint {
    fn put(&mut self, datagram: Datagram) {
        self.waiting.push_back(datagram);
        self.ready.store(true, Ordering::Release);
    }
}

struct State {
    /// By number of the endpoint: delivery to a group is in order of joining.
    endpoints: BTreeMap<u64, Endpoint>,
    next_endpoint: u64,
    cut: BTreeSet<SocketAddrV4>,
    random: Random,
    drop_per_million: u32,
    lost: u64,
    waiting_max: usize,
    pool: Vec<Datagram>,
    flight: Option<Box<Flight>>,
}

/// A network in memory. Clones are the same network.
#[derive(Clone)]
pub struct MemoryNetwork {
    state: Arc<Mutex<State>>,
    /// Something passed the watched ports since [`MemoryNetwork::swap_taps`].
    passed: Arc<AtomicBool>,
}

impl Default for MemoryNetwork {
    fn default() -> Self {
        MemoryNetwork::new()
    }
}

impl MemoryNetwork {
    /// A network that loses nothing.
    pub fn new() -> MemoryNetwork {
        MemoryNetwork::with_loss(0, 0)
    }

    /// A network that loses `drop_per_million` of a million deliveries (of a datagram to a group
    /// each member's copy is drawn by itself), chosen by a generator started from `seed`.
    pub fn with_loss(seed: u64, drop_per_million: u32) -> MemoryNetwork {
        MemoryNetwork {
            state: Arc::new(Mutex::new(State {
                endpoints: BTreeMap::new(),
                next_endpoint: 0,
                cut: BTreeSet::new(),
                random: Random::new(seed),
                drop_per_million,
                lost: 0,
                waiting_max: WAITING_MAX,
                pool: Vec::new(),
                flight: None,
            })),
            passed: Arc::default(),
        }
    }

    /// A network with a time of its own: nothing arrives before [`MemoryNetwork::advance`], and what
    /// happens on the way is drawn from `seed` by the faults of its link.
    pub fn simulated(seed: u64) -> MemoryNetwork {
        let network = MemoryNetwork::new();
        network.lock().flight = Some(Box::new(Flight::new(seed, Arc::clone(&network.passed))));
        network
    }

    /// Moves a simulated network to `now` (ns) and delivers what has arrived by then. Returns when the
    /// next datagram arrives, of those under way.
    pub fn advance(&self, now: u64) -> Option<u64> {
        let mut state = self.lock();
        if let Some(flight) = state.flight.as_deref_mut() {
            flight.set_now(now);
        }
        state.arrive();
        state.flight.as_deref().and_then(Flight::next_at)
    }

    /// Faults by direction of a simulated network, from now on; the first that matches counts.
    pub fn set_links(&self, links: Vec<(Way, LinkFaults)>) {
        if let Some(flight) = self.lock().flight.as_deref_mut() {
            flight.set_links(links);
        }
    }

    /// Cuts off what a host of a simulated network sends, what is sent to it, or mends it.
    pub fn set_host_cut(&self, host: Ipv4Addr, from: bool, to: bool) {
        if let Some(flight) = self.lock().flight.as_deref_mut() {
            flight.set_cut(host, from, to);
        }
    }

    /// Datagrams that wait at one port at most, from now on.
    pub fn set_waiting_max(&self, datagrams: usize) {
        self.lock().waiting_max = datagrams;
    }

    /// A datagram from anybody's address: what a hostile peer on the same network can send.
    pub fn inject(&self, from: SocketAddrV4, to: SocketAddrV4, bytes: &[u8]) {
        let mut state = self.lock();
        let mut datagram = state.pool.pop().unwrap_or_else(Datagram::blank);
        let length = bytes.len().min(DATAGRAM_BYTES_MAX);
        (datagram.from, datagram.to, datagram.length) = (from, to, length);
        datagram.bytes[..length].copy_from_slice(&bytes[..length]);
        state.deliver(&datagram, true);
        state.pool.push(datagram);
    }

    /// One of the last datagrams that a simulated network delivered, chosen by `choice`: from, to,
    /// bytes. Kept from the first call on.
    pub fn overheard(&self, choice: u64) -> Option<(SocketAddrV4, SocketAddrV4, Vec<u8>)> {
        self.lock().flight.as_deref_mut().and_then(|f| f.overheard(choice))
    }

    /// What happened so far on a simulated network.
    pub fn counts(&self) -> NetworkCounts {
        self.lock().flight.as_deref().map_or_else(NetworkCounts::default, |f| f.counts)
    }

    /// Watches the ports of one host of a simulated network: what leaves them, whatever becomes of it,
    /// and what its processes take from them.
    pub fn tap(&self, host: Ipv4Addr) {
        if let Some(flight) = self.lock().flight.as_deref_mut() {
            flight.tap(host);
        }
    }

    /// True when something waits at this address to be received.
    pub fn waits(&self, address: SocketAddrV4) -> bool {
        let state = self.lock();
        let mut full = state.endpoints.values().filter(|endpoint| !endpoint.waiting.is_empty());
        full.any(|endpoint| endpoint.address == address)
    }

    /// Gives what passed since the last call for an empty one.
    pub fn swap_taps(&self, taps: &mut Taps) {
        if !self.passed.load(Ordering::Acquire) {
            return taps.clear();
        }
        match self.lock().flight.as_deref_mut() {
            Some(flight) => flight.swap_taps(taps),
            None => taps.clear(),
        }
    }

    /// Hash over every delivery of a simulated network: time, addresses, bytes.
    pub fn trace(&self) -> u64 {
        self.lock().flight.as_deref().map_or(0, Flight::trace)
    }

    /// Changes the loss from now on.
    pub fn set_loss(&self, drop_per_million: u32) {
        self.lock().drop_per_million = drop_per_million;
    }

    /// Cuts `address` off (nothing to or from it is delivered; what waits there stays), or mends
    /// it.
    pub fn set_cut(&self, address: SocketAddrV4, cut: bool) {
        let mut state = self.lock();
        if cut {
            state.cut.insert(address);
        } else {
            state.cut.remove(&address);
        }
    }

    /// Deliveries lost so far: by chance, by a cut, at a full port, or for want of a receiver.
    pub fn lost(&self) -> u64 {
        self.lock().lost
    }

    /// A port at `address`; port 0 = any free one of that address.
    ///
    /// Err `AddrInUse` when a port is there already.
    pub fn bind(&self, address: SocketAddrV4) -> Result<MemoryPort> {
        let mut state = self.lock();
        let taken = |state: &State, address| state.endpoints.values().any(|e| e.address == address);
        let address = if address.port() == 0 {
            (FIRST_FREE_PORT..=u16::MAX)
                .map(|port| SocketAddrV4::new(*address.ip(), port))
                .find(|&candidate| !taken(&state, candidate))
                .ok_or_else(|| in_use(address))?
        } else {
            address
        };
        if taken(&state, address) {
            return Err(in_use(address));
        }
        Ok(self.open(&mut state, address, *address.ip()))
    }

    /// A port that sends to groups; bound to any free port of `interface`.
    pub fn multicast_sender(&self, interface: Ipv4Addr) -> Result<MemoryPort> {
        self.bind(SocketAddrV4::new(interface, 0))
    }

    /// A new member of `group`; there may be any number.
    ///
    /// Err `InvalidInput` when `group` is not a multicast address.
    pub fn join(&self, group: SocketAddrV4, interface: Ipv4Addr) -> Result<MemoryPort> {
        if !group.ip().is_multicast() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("join {group}: not a multicast address (224.0.0.0/4)"),
            ));
        }
        Ok(self.open(&mut self.lock(), group, interface))
    }

    fn open(&self, state: &mut State, address: SocketAddrV4, host: Ipv4Addr) -> MemoryPort {
        let number = state.next_endpoint;
        state.next_endpoint += 1;
        let ready = Arc::new(AtomicBool::new(false));
        let endpoint =
            Endpoint { address, host, waiting: VecDeque::new(), ready: Arc::clone(&ready) };
        state.endpoints.insert(number, endpoint);
        MemoryPort::new(Arc::new(Place { network: self.clone(), number, address, ready }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panics elsewhere must not hide its message behind a poisoned lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn in_use(address: SocketAddrV4) -> Error {
    Error::new(ErrorKind::AddrInUse, format!("bind {address}: in use on the memory network"))
}

impl State {
    fn deliver(&mut self, datagram: &Datagram, injected: bool) {
        if self.flight.is_some() {
            return self.set_out(datagram, injected);
        }
        let State { endpoints, cut, random, drop_per_million, lost, pool, waiting_max, .. } = self;
        let severed = cut.contains(&datagram.from) || cut.contains(&datagram.to);
        let mut receivers = 0;
        for endpoint in endpoints.values_mut().filter(|e| e.address == datagram.to) {
            receivers += 1;
            // The dice are thrown also for what is lost anyway: a cut changes nothing elsewhere.
            let unlucky = random.chance(*drop_per_million);
            if severed || unlucky || endpoint.waiting.len() >= *waiting_max {
                *lost += 1;
                continue;
            }
            endpoint.put(datagram.copy(pool));
        }
        if receivers == 0 {
            *lost += 1;
        }
    }

    /// On a simulated network: a copy for each receiver sets out.
    fn set_out(&mut self, datagram: &Datagram, injected: bool) {
        let State { endpoints, pool, flight, .. } = self;
        let Some(flight) = flight.as_deref_mut() else { return };
        if !injected {
            flight.leaves(datagram);
        }
        if datagram.to.ip().is_multicast() {
            for (number, endpoint) in endpoints.iter().filter(|(_, e)| e.address == datagram.to) {
                flight.send(datagram, Some(*number), endpoint.host, pool);
            }
        } else {
            // Who has the address is decided when it arrives: a process may come up meanwhile.
            flight.send(datagram, None, *datagram.to.ip(), pool);
        }
    }

    /// On a simulated network: what has arrived by now goes to its ports.
    fn arrive(&mut self) {
        let State { endpoints, pool, flight, waiting_max, .. } = self;
        let Some(flight) = flight.as_deref_mut() else { return };
        while let Some((endpoint, datagram)) = flight.arrived() {
            let found = match endpoint {
                Some(number) => endpoints.get_mut(&number),
                None => endpoints.values_mut().find(|e| e.address == datagram.to),
            };
            match found {
                Some(endpoint) if endpoint.waiting.len() < *waiting_max => {
                    flight.delivered(&datagram);
                    endpoint.put(datagram);
                }
                Some(_) => {
                    flight.counts.overflowed += 1;
                    pool.push(datagram);
                }
                None => {
                    flight.counts.nobody += 1;
                    pool.push(datagram);
                }
            }
        }
    }
}

/// An endpoint's place on the network; taken away with its last handle.
struct Place {
    network: MemoryNetwork,
    number: u64,
    address: SocketAddrV4,
    ready: Arc<AtomicBool>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.network.lock().endpoints.remove(&self.number);
    }
}

/// A port of a [`MemoryNetwork`].
pub struct MemoryPort {
    place: Arc<Place>,
    outgoing: Vec<Datagram>,
    queued: usize,
    incoming: Vec<Datagram>,
}

impl MemoryPort {
    fn new(place: Arc<Place>) -> MemoryPort {
        let outgoing = (0..BURST).map(|_| Datagram::blank()).collect();
        MemoryPort { place, outgoing, queued: 0, incoming: Vec::with_capacity(BURST) }
    }

    /// A second handle on the same endpoint: either may receive what waits there. Always Ok; a
    /// `Result` for likeness with sockets.
    pub fn try_clone(&self) -> Result<MemoryPort> {
        Ok(MemoryPort::new(self.place.clone()))
    }
}

impl Port for MemoryPort {
    fn receive(&mut self, mut on_datagram: impl FnMut(&[u8], SocketAddrV4)) -> usize {
        if !self.place.ready.load(Ordering::Acquire) {
            return 0;
        }
        {
            let state = &mut *self.place.network.lock();
            if let Some(endpoint) = state.endpoints.get_mut(&self.place.number) {
                let count = endpoint.waiting.len().min(BURST);
                self.incoming.extend(endpoint.waiting.drain(..count));
                self.place.ready.store(!endpoint.waiting.is_empty(), Ordering::Release);
                if let Some(flight) = state.flight.as_deref_mut() {
                    self.incoming.iter().for_each(|d| flight.taken(endpoint.address, d));
                }
            }
        }
        // The lock is free here: the callback may send.
        for datagram in &self.incoming {
            on_datagram(&datagram.bytes[..datagram.length], datagram.from);
        }
        let count = self.incoming.len();
        if count > 0 {
            self.place.network.lock().pool.append(&mut self.incoming);
        }
        count
    }

    fn send(&mut self, to: SocketAddrV4, fill: impl FnOnce(&mut [u8]) -> usize) {
        let datagram = &mut self.outgoing[self.queued];
        datagram.length = fill(&mut datagram.bytes[..]);
        assert!(datagram.length <= DATAGRAM_BYTES_MAX, "datagram longer than its buffer");
        if datagram.length == 0 {
            return;
        }
        datagram.from = self.place.address;
        datagram.to = to;
        self.queued += 1;
        if self.queued == BURST {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.queued == 0 {
            return;
        }
        let mut state = self.place.network.lock();
        for datagram in &self.outgoing[..self.queued] {
            state.deliver(datagram, false);
        }
        self.queued = 0;
    }

    fn local(&self) -> SocketAddrV4 {
        self.place.address
    }

    fn poll_fd(&self) -> Option<RawFd> {
        None
    }

    /// Always 0: the network takes everything and may lose it later, see [`MemoryNetwork::lost`].
    fn dropped(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, last), port)
    }

    fn send(port: &mut MemoryPort, to: SocketAddrV4, text: &str) {
        port.send(to, |bytes| {
            bytes[..text.len()].copy_from_slice(text.as_bytes());
            text.len()
        });
        port.flush();
    }

    fn received(port: &mut MemoryPort) -> Vec<(String, SocketAddrV4)> {
        let mut all = Vec::new();
        while port.receive(|payload, from| {
            all.push((String::from_utf8_lossy(payload).into_owned(), from));
        }) > 0
        {}
        all
    }

    #[test]
    fn unicast_is_delivered_in_order_to_the_address() {
        let network = MemoryNetwork::new();
        let mut a = network.bind(address(1, 100)).unwrap();
        let mut b = network.bind(address(2, 200)).unwrap();
        let mut c = network.bind(address(3, 0)).unwrap();
        assert_eq!(c.local(), address(3, FIRST_FREE_PORT));
        let sent: Vec<_> = (0..150).map(|i| (i.to_string(), address(1, 100))).collect();
        for (text, _) in &sent {
            send(&mut a, b.local(), text);
        }
        assert_eq!(received(&mut b), sent);
        assert!(received(&mut c).is_empty());
        assert_eq!(network.bind(address(1, 100)).err().unwrap().kind(), ErrorKind::AddrInUse);
        drop(a);
        assert!(network.bind(address(1, 100)).is_ok());
    }

    #[test]
    fn a_clone_shares_the_queue_and_keeps_the_place() {
        let network = MemoryNetwork::new();
        let first = network.bind(address(1, 100)).unwrap();
        let mut second = first.try_clone().unwrap();
        drop(first);
        let mut other = network.bind(address(2, 100)).unwrap();
        send(&mut other, address(1, 100), "x");
        assert_eq!(received(&mut second).len(), 1);
    }

    #[test]
    fn every_member_of_a_group_gets_a_copy() {
        let network = MemoryNetwork::new();
        let group = SocketAddrV4::new(Ipv4Addr::new(239, 1, 1, 1), 5000);
        let mut sender = network.multicast_sender(Ipv4Addr::new(10, 0, 0, 1)).unwrap();
        let mut members: Vec<_> =
            (0..3).map(|_| network.join(group, Ipv4Addr::LOCALHOST).unwrap()).collect();
        send(&mut sender, group, "hello");
        for member in &mut members {
            assert_eq!(received(member), [("hello".to_owned(), sender.local())]);
        }
        assert!(network.join(address(1, 1), Ipv4Addr::LOCALHOST).is_err());
    }

    #[test]
    fn loss_is_seeded_and_counted() {
        let run = |seed| {
            let network = MemoryNetwork::with_loss(seed, 250_000);
            let mut a = network.bind(address(1, 100)).unwrap();
            let mut b = network.bind(address(2, 100)).unwrap();
            for i in 0..1_000 {
                send(&mut a, b.local(), &i.to_string());
            }
            let got = received(&mut b);
            assert_eq!(got.len() as u64 + network.lost(), 1_000);
            got
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        assert!((650..850).contains(&run(3).len()));
    }

    #[test]
    fn a_cut_stops_both_directions_until_mended() {
        let network = MemoryNetwork::new();
        let mut a = network.bind(address(1, 100)).unwrap();
        let mut b = network.bind(address(2, 100)).unwrap();
        network.set_cut(b.local(), true);
        send(&mut a, b.local(), "lost");
        send(&mut b, a.local(), "lost");
        network.set_cut(b.local(), false);
        send(&mut a, b.local(), "kept");
        assert_eq!(received(&mut b).len(), 1);
        assert_eq!(received(&mut a).len(), 0);
        assert_eq!(network.lost(), 2);
    }

    fn link(faults: LinkFaults) -> MemoryNetwork {
        let network = MemoryNetwork::simulated(7);
        network.set_links(vec![(Way::To(address(2, 100)), faults)]);
        network
    }

    #[test]
    fn a_simulated_network_delivers_when_the_time_has_come() {
        let network = link(LinkFaults { delay_ns: 1_000, ..LinkFaults::default() });
        let mut a = network.bind(address(1, 100)).unwrap();
        let mut b = network.bind(address(2, 100)).unwrap();
        network.advance(50);
        send(&mut a, b.local(), "x");
        let at = network.advance(60).unwrap();
        assert!((550..=1_050).contains(&at), "{at}");
        assert!(received(&mut b).is_empty());
        network.advance(at);
        assert_eq!(received(&mut b).len(), 1);
        // Sent to a process that comes up before it arrives.
        drop(b);
        send(&mut a, address(2, 100), "y");
        let mut b = network.bind(address(2, 100)).unwrap();
        network.advance(10_000);
        assert_eq!(received(&mut b).len(), 1);
    }

    #[test]
    fn faults_are_drawn_from_the_seed_and_counted() {
        let run = || {
            let network = link(LinkFaults {
                lose: 100_000,
                duplicate: 100_000,
                corrupt: 100_000,
                truncate: 100_000,
                late: 200_000,
                late_ns: 50_000,
                delay_ns: 1_000,
                checked: false,
            });
            let mut a = network.bind(address(1, 100)).unwrap();
            let mut b = network.bind(address(2, 100)).unwrap();
            for i in 0..1_000 {
                send(&mut a, b.local(), &format!("number {i}"));
                network.advance(i * 100);
            }
            network.advance(1_000_000);
            (received(&mut b), network.counts(), network.trace())
        };
        let (got, counts, trace) = run();
        assert_eq!(run(), (got.clone(), counts, trace));
        assert_eq!(got.len() as u64, counts.delivered);
        assert_eq!(counts.delivered + counts.lost, 1_000 + counts.duplicated);
        for count in [counts.lost, counts.duplicated, counts.corrupted, counts.truncated] {
            assert!((50..200).contains(&count), "{counts:?}");
        }
        let whole = |text: &str| text.strip_prefix("number ").and_then(|n| n.parse::<u64>().ok());
        let order: Vec<u64> = got.iter().filter_map(|(text, _)| whole(text)).collect();
        assert!(order.windows(2).any(|w| w[0] > w[1]), "nothing was overtaken");
    }

    #[test]
    fn a_host_is_cut_one_way_at_a_time() {
        let network = link(LinkFaults::default());
        let mut a = network.bind(address(1, 100)).unwrap();
        let mut b = network.bind(address(2, 100)).unwrap();
        network.set_host_cut(*b.local().ip(), false, true);
        send(&mut a, b.local(), "lost");
        send(&mut b, a.local(), "kept");
        network.advance(1);
        assert_eq!((received(&mut a).len(), received(&mut b).len()), (1, 0));
        network.set_host_cut(*b.local().ip(), false, false);
        send(&mut a, b.local(), "kept");
        network.inject(address(9, 9), a.local(), b"spoofed");
        network.advance(2);
        assert_eq!((received(&mut a).len(), received(&mut b).len()), (1, 1));
        assert_eq!(network.counts().cut, 1);
    }

    #[test]
    fn nobody_there_is_no_error() {
        let network = MemoryNetwork::new();
        let mut a = network.bind(address(1, 100)).unwrap();
        send(&mut a, address(9, 9), "x");
        a.send(address(9, 9), |_| 0);
        a.flush();
        assert_eq!(network.lost(), 1);
    }
}
