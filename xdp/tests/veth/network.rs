//! Two network namespaces with a veth pair between them, gone when dropped or when the process ends:
//! they have no name, only descriptors of this process.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Duration;

use af_xdp::{Config, Filter, Interface, MacAddress, Mode, Opened, open};

pub const LEFT_IP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
pub const RIGHT_IP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
pub const LEFT_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
pub const RIGHT_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);
/// The interface has this name on both sides.
pub const INTERFACE: &str = "xdp0";

/// How long a test waits for something before it fails, in polls of one millisecond.
pub const PATIENCE: usize = 60_000;

pub struct Namespace {
    handle: File,
}

impl Namespace {
    pub fn new() -> Namespace {
        let handle = std::thread::spawn(|| {
            // SAFETY: no pointers; changes this thread only.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "unshare");
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        let namespace = Namespace { handle: handle.join().unwrap() };
        namespace.ip("link set lo up");
        namespace
    }

    /// Runs `job` on a thread inside the namespace.
    pub fn run<R: Send>(&self, job: impl FnOnce() -> R + Send) -> R {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                // SAFETY: no pointers; changes this thread only.
                let result = unsafe { libc::setns(self.handle.as_raw_fd(), libc::CLONE_NEWNET) };
                assert_eq!(result, 0, "setns");
                job()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// `ip` with these words, inside; returns what it printed.
    pub fn ip(&self, words: &str) -> String {
        self.run(|| {
            let output = Command::new("ip").args(words.split_whitespace()).output().expect("ip");
            let problem = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "ip {words}: {problem}");
            String::from_utf8_lossy(&output.stdout).into_owned()
        })
    }

    pub fn interface(&self) -> Interface {
        self.run(|| Interface::named(INTERFACE)).unwrap()
    }

    /// An ordinary UDP socket that gives up after a minute.
    pub fn udp(&self, ip: Ipv4Addr, port: u16) -> UdpSocket {
        let socket = self.run(|| UdpSocket::bind((ip, port))).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        socket
    }

    pub fn open(&self, config: &Config) -> Opened {
        self.run(|| open(config)).unwrap()
    }
}

/// The pair: kernel or AF_XDP on either side.
pub struct Network {
    pub left: Namespace,
    pub right: Namespace,
}

impl Network {
    /// A pair with `queues` queues each way on both sides.
    pub fn new(queues: u32) -> Network {
        let network = Network { left: Namespace::new(), right: Namespace::new() };
        let path = format!("/proc/{}/fd/{}", std::process::id(), network.right.handle.as_raw_fd());
        let count = format!("numrxqueues {queues} numtxqueues {queues}");
        network.left.ip(&format!(
            "link add {INTERFACE} address {LEFT_MAC} {count} type veth \
             peer name {INTERFACE} address {RIGHT_MAC} {count} netns {path}"
        ));
        for (namespace, ip, peer_ip, peer_mac) in [
            (&network.left, LEFT_IP, RIGHT_IP, RIGHT_MAC),
            (&network.right, RIGHT_IP, LEFT_IP, LEFT_MAC),
        ] {
            namespace.ip(&format!("address add {ip}/24 dev {INTERFACE}"));
            namespace.ip(&format!("link set {INTERFACE} up"));
            namespace.ip(&format!("route add 224.0.0.0/4 dev {INTERFACE}"));
            // While ARP is under way the kernel holds datagrams back and may send later ones first.
            namespace.ip(&format!("neighbour add {peer_ip} lladdr {peer_mac} dev {INTERFACE}"));
        }
        network.warm_up();
        network
    }

    /// Waits until datagrams pass both ways: the kernel opens the queues of an interface that has
    /// just come up a little later, and drops in silence until then.
    fn warm_up(&self) {
        let sockets = [self.left.udp(LEFT_IP, 9), self.right.udp(RIGHT_IP, 9)];
        sockets.iter().for_each(|socket| socket.set_nonblocking(true).unwrap());
        let ways = [(&sockets[0], &sockets[1], RIGHT_IP), (&sockets[1], &sockets[0], LEFT_IP)];
        for (from, to, ip) in ways {
            wait_for("the first datagram", || {
                let _not_yet = from.send_to(b"up", (ip, 9));
                to.recv(&mut [0; 16]).is_ok()
            });
        }
    }
}

/// Numbers from a seed (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % limit as u64) as usize
    }
}

/// A configuration for `destinations` with few frames, so that rings go round often.
pub fn config(destinations: &[SocketAddrV4], mode: Mode) -> Config {
    let filter = Filter::new(destinations, None).unwrap();
    let mut config = Config::new(INTERFACE, filter);
    config.modes = vec![mode];
    config.receive_frames = 64;
    config.transmit_frames = 64;
    config
}

/// Calls `poll` until it says true; a millisecond between, so that a busy machine is no failure.
pub fn wait_for(what: &str, mut poll: impl FnMut() -> bool) {
    for _ in 0..PATIENCE {
        if poll() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("{what} did not happen");
}
