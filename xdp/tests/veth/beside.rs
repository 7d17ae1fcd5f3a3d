//! What goes on beside the sockets: the kernel's own traffic, its tables, and interfaces that go.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use af_xdp::packet::UdpChecksum;
use af_xdp::{
    Error, HugePages, InterfaceAddress, MacAddress, Mode, Neighbours, Pages, Resolution, Umem,
    UmemConfig, packet,
};

use crate::echo::answer;
use crate::network::{
    INTERFACE, LEFT_IP, LEFT_MAC, Namespace, Network, RIGHT_IP, RIGHT_MAC, config, wait_for,
};
use crate::traffic::{CLIENT, SERVER, send, to_server};

/// Sends an ICMP echo request and says whether it was answered within a second.
fn ping(from: &Namespace, to: Ipv4Addr) -> bool {
    let fd = from.run(|| {
        // SAFETY: no pointers.
        let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP) };
        assert!(fd >= 0, "raw socket");
        // SAFETY: a descriptor that was just opened.
        unsafe { OwnedFd::from_raw_fd(fd) }
    });
    // An ordinary UDP socket's methods do for datagrams of any kind.
    let socket = std::net::UdpSocket::from(fd);
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut request = [8, 0, 0, 0, 0x12, 0x34, 0, 1];
    let sum = !(0x0800u16 + 0x1234 + 1);
    request[2..4].copy_from_slice(&sum.to_be_bytes());
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(to.octets()) },
        sin_zero: [0; 8],
    };
    // SAFETY: buffer and address live through the call, their lengths are theirs.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            request.as_ptr().cast(),
            request.len(),
            0,
            std::ptr::from_ref(&address).cast(),
            size_of_val(&address) as u32,
        )
    };
    assert_eq!(sent, 8);
    let mut reply = [0; 256];
    // 20 bytes of IP header; type 0 is an answer.
    (0..10).any(|_| {
        socket
            .recv(&mut reply)
            .is_ok_and(|n| n >= 28 && reply[20] == 0 && reply[24..26] == [0x12, 0x34])
    })
}

pub fn kernel_keeps_the_rest() {
    for mode in [Mode::NativeCopy, Mode::Generic] {
        let network = Network::new(1);
        let mut opened = network.right.open(&config(&[SERVER], mode));
        let client = network.left.udp(LEFT_IP, CLIENT.port());
        client.connect(SERVER).unwrap();
        let listener = network.right.run(|| TcpListener::bind((RIGHT_IP, SERVER.port()))).unwrap();
        let other = network.right.udp(RIGHT_IP, 7001);
        let mut buffer = vec![0; 4096];
        for round in 0..3 {
            client.send(b"ours").unwrap();
            wait_for("ours", || answer(&mut opened, 0, UdpChecksum::Zero) == 1);
            assert_eq!(client.recv(&mut buffer).unwrap(), 4);

            assert!(ping(&network.left, RIGHT_IP), "ping in, {mode} {round}");
            assert!(ping(&network.right, LEFT_IP), "ping out, {mode} {round}");

            let mut stream = network.left.run(|| TcpStream::connect(SERVER)).unwrap();
            let (mut accepted, _) = listener.accept().unwrap();
            stream.write_all(&[7; 100_000]).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut all = Vec::new();
            accepted.read_to_end(&mut all).unwrap();
            assert_eq!(all.len(), 100_000);

            let from = network.left.udp(LEFT_IP, 0);
            from.send_to(b"another port", (RIGHT_IP, 7001)).unwrap();
            assert_eq!(other.recv(&mut buffer).unwrap(), 12);
            // Longer than the MTU: fragments, which stay with the kernel whatever their port.
            from.send_to(&[1; 3000], (RIGHT_IP, 7001)).unwrap();
            assert_eq!(other.recv(&mut buffer).unwrap(), 3000);
            from.send_to(&[1; 3000], SERVER).unwrap();
        }
        assert_eq!(opened.sockets[0].rx.counters().frames, 3);
        // Without the link everything is the kernel's again.
        let ordinary = network.right.udp(RIGHT_IP, SERVER.port());
        drop(opened.link);
        client.send(b"yours").unwrap();
        assert_eq!(ordinary.recv(&mut buffer).unwrap(), 5);
    }
}

pub fn neighbours() {
    let network = Network::new(1);
    let opened = network.right.open(&config(&[SERVER], Mode::NativeCopy));
    let mut neighbours = network.right.run(|| Neighbours::open(&opened.interface, 8)).unwrap();
    network.right.ip(&format!("neighbour delete {LEFT_IP} dev {INTERFACE}"));
    assert_eq!(neighbours.cached(LEFT_IP), None);
    // Never heard of: the kernel solicits it, through the interface that has our program.
    assert_eq!(neighbours.resolve(LEFT_IP).unwrap(), Resolution::Asked);
    wait_for("ARP", || neighbours.resolve(LEFT_IP).unwrap() == Resolution::Known(LEFT_MAC));
    assert_eq!(neighbours.cached(LEFT_IP), Some(LEFT_MAC));
    // Not heard of lately: usable, and solicited again.
    let stale = format!("neighbour replace {LEFT_IP} lladdr {LEFT_MAC} nud stale dev {INTERFACE}");
    network.right.ip(&stale);
    let state = || network.right.ip(&format!("neighbour show to {LEFT_IP} dev {INTERFACE}"));
    assert!(state().contains("STALE"));
    assert_eq!(neighbours.resolve(LEFT_IP).unwrap(), Resolution::Known(LEFT_MAC));
    assert!(!state().contains("STALE"), "{}", state());
    // A host that is not there.
    let absent = Ipv4Addr::new(10, 77, 0, 99);
    assert_eq!(neighbours.resolve(absent).unwrap(), Resolution::Asked);
    assert_eq!(neighbours.resolve(absent).unwrap(), Resolution::Asked);
    // Behind a router, through another interface, nowhere, ourselves.
    let far = Ipv4Addr::new(198, 51, 100, 7);
    assert_eq!(neighbours.resolve(far).unwrap(), Resolution::NoRoute);
    network.right.ip(&format!("route add 198.51.100.0/24 via {LEFT_IP}"));
    assert_eq!(neighbours.resolve(far).unwrap(), Resolution::Known(LEFT_MAC));
    let route = neighbours.route(far).unwrap().unwrap();
    assert_eq!((route.next_hop, route.source), (LEFT_IP, Some(RIGHT_IP)));
    assert_eq!(route.interface, opened.interface.index);
    network.right.ip("link add other0 type veth peer name other1");
    network.right.ip("address add 10.88.0.1/24 dev other0");
    network.right.ip("link set other0 up");
    let elsewhere = neighbours.resolve(Ipv4Addr::new(10, 88, 0, 2)).unwrap();
    assert!(matches!(elsewhere, Resolution::OtherInterface(_)), "{elsewhere:?}");
    network.right.ip("route add blackhole 203.0.113.0/24");
    let nowhere = Ipv4Addr::new(203, 0, 113, 1);
    assert_eq!(neighbours.resolve(nowhere).unwrap(), Resolution::NoRoute);
    assert_eq!(neighbours.resolve(RIGHT_IP).unwrap(), Resolution::NoRoute);
    // The host gets another Ethernet address, the cache follows.
    let new = MacAddress([2, 0, 0, 0, 0, 9]);
    network.right.ip(&format!("neighbour replace {LEFT_IP} lladdr {new} dev {INTERFACE}"));
    assert_eq!(neighbours.resolve(LEFT_IP).unwrap(), Resolution::Known(new));
    assert_eq!(neighbours.cached(LEFT_IP), Some(new));
}

pub fn interface() {
    let network = Network::new(2);
    network.right.ip(&format!("address add 10.99.1.1/30 dev {INTERFACE} label {INTERFACE}:b"));
    let right = network.right.interface();
    assert_eq!((right.mac, right.mtu, right.up), (RIGHT_MAC, 1500, true));
    assert_eq!((right.receive_queues, right.transmit_queues), (2, 2));
    assert_eq!(right.driver, "veth");
    let addresses = [(RIGHT_IP, 24), (Ipv4Addr::new(10, 99, 1, 1), 30)];
    assert_eq!(right.addresses, addresses.map(|(ip, prefix)| InterfaceAddress { ip, prefix }));
    let found = network.right.run(|| af_xdp::Interface::with_address(RIGHT_IP)).unwrap();
    assert_eq!(found.index, right.index);
    let there = network.left.run(|| af_xdp::Interface::with_address(RIGHT_IP));
    assert!(matches!(there, Err(Error::NoSuchInterface { .. })), "of another namespace");
}

/// The interface goes down, comes back, and disappears under an open socket.
pub fn interface_goes() {
    for mode in [Mode::NativeCopy, Mode::Generic] {
        let network = Network::new(1);
        let mut right = network.right.open(&config(&[SERVER], mode));
        let client = network.left.udp(LEFT_IP, CLIENT.port());
        client.connect(SERVER).unwrap();
        let mut buffer = [0; 16];
        let mut exchange = |right: &mut af_xdp::Opened| {
            wait_for("an answer", || {
                let _not_while_it_comes_up = client.send(b"again");
                std::thread::sleep(Duration::from_millis(1));
                answer(right, 0, UdpChecksum::Zero) > 0
            });
            assert_eq!(client.recv(&mut buffer).unwrap(), 5);
        };
        exchange(&mut right);
        network.right.ip(&format!("link set {INTERFACE} down"));
        let tx = &mut right.sockets[0].tx;
        assert!(send(tx, &to_server(None), b"into the dark"));
        tx.kick();
        let counters = tx.counters();
        assert_eq!((counters.errors, counters.last_errno), (1, libc::ENETDOWN), "{counters:?}");
        network.right.ip(&format!("link set {INTERFACE} up"));
        exchange(&mut right);
        network.left.ip(&format!("link delete {INTERFACE}"));
        let socket = &mut right.sockets[0];
        for _ in 0..200 {
            send(&mut socket.tx, &to_server(None), b"nowhere");
            socket.tx.kick();
            socket.tx.complete();
            socket.rx.receive(64, |_| {});
            socket.rx.wake();
        }
        assert_eq!(socket.tx.counters().last_errno, libc::ENXIO);
        assert_eq!(socket.rx.counters().last_errno, libc::ENXIO);
        assert!(socket.statistics().is_ok());
    }
}

pub fn probe() {
    for mode in [Mode::NativeCopy, Mode::Generic] {
        let network = Network::new(1);
        let mut probing = config(&[SERVER], mode);
        probing.probe = Some(Duration::from_secs(5));
        let mut opened = network.right.open(&probing);
        assert_eq!(opened.sockets[0].tx.free_frames(), 64);
        // Without carrier the device takes frames and drops them.
        network.left.ip(&format!("link set {INTERFACE} down"));
        let frame = packet::probe(RIGHT_MAC);
        let error = opened.sockets[0].tx.probe(&frame, Duration::from_millis(20)).unwrap_err();
        assert!(matches!(error, Error::ProbeFailed { queue: 0, waited_ms: 20, .. }), "{error:?}");
        drop(opened);
        probing.probe = Some(Duration::from_millis(20));
        let error = network.right.run(|| af_xdp::open(&probing)).unwrap_err();
        let told = matches!(&error, Error::NoMode { refused }
            if matches!(refused[0].reason, Error::ProbeFailed { .. }));
        assert!(told, "{error:?}");
    }
}

/// Every frame is given up, and a single kick gets through all of them.
pub fn no_carrier() {
    let network = Network::new(1);
    let mut opened = network.right.open(&config(&[SERVER], Mode::NativeCopy));
    network.left.ip(&format!("link set {INTERFACE} down"));
    let tx = &mut opened.sockets[0].tx;
    for round in 1..=10 {
        for _ in 0..10 {
            assert!(send(tx, &to_server(None), b"lost"));
        }
        assert_eq!(tx.kick(), 0);
        assert_eq!((tx.complete(), tx.in_flight()), (10, 0));
        assert_eq!(tx.counters().dropped, 10 * round);
    }
    assert_eq!(tx.kick(), 0);
    assert_eq!(tx.counters().kicks, 10 * 11, "one per frame, and one that finds none");
}

/// Gives the machine some huge pages for as long as it lives.
struct Pool {
    before: String,
}

const POOL: &str = "/proc/sys/vm/nr_hugepages";

impl Pool {
    fn more() -> Pool {
        let before = std::fs::read_to_string(POOL).unwrap();
        let pages: u64 = before.trim().parse().unwrap();
        std::fs::write(POOL, (pages + 4).to_string()).unwrap();
        Pool { before }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let _best_effort = std::fs::write(POOL, self.before.trim());
    }
}

pub fn huge_pages() {
    let _pool = Pool::more();
    let network = Network::new(1);
    let mut huge = config(&[SERVER], Mode::NativeCopy);
    huge.huge_pages = HugePages::Require;
    let mut opened = network.right.open(&huge);
    assert_eq!(opened.pages, Pages::Huge);
    let client = network.left.udp(LEFT_IP, CLIENT.port());
    client.connect(SERVER).unwrap();
    client.send(b"huge").unwrap();
    wait_for("arrival", || answer(&mut opened, 0, UdpChecksum::Zero) == 1);
    assert_eq!(client.recv(&mut [0; 16]).unwrap(), 4);
    // More than there are: told, not hidden, and ordinary ones when they are allowed.
    let config = |huge_pages| UmemConfig { frame_size: 4096, frame_count: 1 << 18, huge_pages };
    let error = Umem::new(&config(HugePages::Require)).unwrap_err();
    assert!(matches!(error, Error::HugePages { bytes: 0x4000_0000 }), "{error:?}");
    let few = UmemConfig { frame_count: 8, ..config(HugePages::Never) };
    assert_eq!(Umem::new(&few).unwrap().pages(), Pages::Base);
}
