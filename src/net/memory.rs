//! A network in memory for tests: addresses, multicast groups, FIFO delivery, seeded loss.
//!
//! Consumes what [`MemoryPort`]s flush and delivers it at once, in order, to the ports that it is
//! for. Nothing is reordered or delayed; loss and cuts are asked for. Buffers come from a pool, so
//! that a steady flow does not allocate. Must not know what datagrams mean.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{Error, ErrorKind, Result};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::RawFd;
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
}

struct Endpoint {
    address: SocketAddrV4,
    waiting: VecDeque<Datagram>,
}

struct State {
    /// By number of the endpoint: delivery to a group is in order of joining.
    endpoints: BTreeMap<u64, Endpoint>,
    next_endpoint: u64,
    cut: BTreeSet<SocketAddrV4>,
    random: Random,
    drop_per_million: u32,
    lost: u64,
    pool: Vec<Datagram>,
}

/// A network in memory. Clones are the same network.
#[derive(Clone)]
pub struct MemoryNetwork {
    state: Arc<Mutex<State>>,
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
                pool: Vec::new(),
            })),
        }
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
        Ok(self.open(&mut state, address))
    }

    /// A port that sends to groups; bound to any free port of `interface`.
    pub fn multicast_sender(&self, interface: Ipv4Addr) -> Result<MemoryPort> {
        self.bind(SocketAddrV4::new(interface, 0))
    }

    /// A new member of `group`; there may be any number.
    ///
    /// Err `InvalidInput` when `group` is not a multicast address.
    pub fn join(&self, group: SocketAddrV4, _interface: Ipv4Addr) -> Result<MemoryPort> {
        if !group.ip().is_multicast() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("join {group}: not a multicast address (224.0.0.0/4)"),
            ));
        }
        Ok(self.open(&mut self.lock(), group))
    }

    fn open(&self, state: &mut State, address: SocketAddrV4) -> MemoryPort {
        let number = state.next_endpoint;
        state.next_endpoint += 1;
        state.endpoints.insert(number, Endpoint { address, waiting: VecDeque::new() });
        MemoryPort::new(Arc::new(Place { network: self.clone(), number, address }))
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
    fn deliver(&mut self, datagram: &Datagram) {
        let State { endpoints, cut, random, drop_per_million, lost, pool, .. } = self;
        let severed = cut.contains(&datagram.from) || cut.contains(&datagram.to);
        let mut receivers = 0;
        for endpoint in endpoints.values_mut().filter(|e| e.address == datagram.to) {
            receivers += 1;
            // The dice are thrown also for what is lost anyway: a cut changes nothing elsewhere.
            let unlucky = random.chance(*drop_per_million);
            if severed || unlucky || endpoint.waiting.len() >= WAITING_MAX {
                *lost += 1;
                continue;
            }
            let mut copy = pool.pop().unwrap_or_else(Datagram::blank);
            copy.from = datagram.from;
            copy.to = datagram.to;
            copy.length = datagram.length;
            copy.bytes[..datagram.length].copy_from_slice(&datagram.bytes[..datagram.length]);
            endpoint.waiting.push_back(copy);
        }
        if receivers == 0 {
            *lost += 1;
        }
    }
}

/// An endpoint's place on the network; taken away with its last handle.
struct Place {
    network: MemoryNetwork,
    number: u64,
    address: SocketAddrV4,
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
        {
            let mut state = self.place.network.lock();
            if let Some(endpoint) = state.endpoints.get_mut(&self.place.number) {
                let count = endpoint.waiting.len().min(BURST);
                self.incoming.extend(endpoint.waiting.drain(..count));
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
            state.deliver(datagram);
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
