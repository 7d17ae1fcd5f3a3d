//! A NIC's queues and the ports on them: opening, and the two duties that move frames.
//!
//! ```text
//!             lane of frames                       lanes of frames, most urgent first
//!  Receive  -----------------> port (in place)     port (written in place) ---------> Transmit
//!     ^    <----------------- emptied frames             <--------- empty frames ----    |
//!  RX ring, fill ring                                              TX ring, completion ring, kick
//! ```
//!
//! Payloads are never copied: frames travel, and each has one owner. With everybody on one thread the
//! lanes cost some ns; the same ports work when agents have threads of their own.

use super::bell::Bell;
use super::neighbours::NeighbourTable;
use super::{Path, XdpError, XdpPort};
use crate::agent::Agent;
use crate::counters::{CounterSet, counters};
use crate::lane::{Receiver, Sender, lane};
use crate::net::UdpPort;
use crate::net::capture::{Capture, CapturedPort, Direction, Tap};
use crate::net::port::{BURST, Port};
use crate::types::Nanos;
use af_xdp::packet::{Parser, Refused};
use af_xdp::{
    Config, Filter, Frame, Interface, Link, MacAddress, Mode, Neighbours, Pages, Rx, Statistics,
    Tx, Umem,
};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Frames that one queue receives with: 20 ms at peak.
pub const RECEIVE_FRAMES: u32 = 4_096;
/// Frames that may wait for a port whose thread is not the receiving duty's.
const SHARE_FRAMES: u32 = RECEIVE_FRAMES / 8;
/// Frames that all lanes together transmit with.
pub const TRANSMIT_FRAMES: u32 = 4_096;
/// Frames that one port may have written and not yet sent. A port writes at most this much in one
/// duty cycle; beyond it counts what it drops, and repair makes up for it.
const PORT_FRAMES: usize = 512;
/// How long a queue may take to transmit a probe after it was opened.
const PROBE: Duration = Duration::from_secs(1);
/// The errand looks at the kernel's sockets when something comes, and each 5 ms. Later than this it has
/// no CPU, and the receiving duty looks in its place, each 10 ms. A host that is merely busy keeps it
/// waiting for some ms.
const ERRAND_LATE_NS: u64 = 200_000_000;
/// Time between two looks at the kernel's neighbour table.
const REFRESH_NS: u64 = 100_000_000;

/// What a NIC is opened for.
#[derive(Clone, Debug)]
pub struct NicConfig {
    /// Its interface.
    pub interface: String,
    /// Queues to receive on; the first one transmits. A datagram on another queue reaches us through
    /// the kernel.
    pub queues: Vec<u32>,
    /// Rungs of the ladder that may be taken, in this order.
    pub modes: Vec<Mode>,
    /// Datagrams to these addresses are taken from the kernel's path, at most 16.
    pub destinations: Vec<SocketAddrV4>,
    /// Preferred busy polling: only with a thread that never parks.
    pub busy_poll: bool,
}

/// A frame on its way to a port.
pub(super) struct Received {
    pub(super) frame: Frame,
    pub(super) from: SocketAddrV4,
    pub(super) payload_at: u16,
    pub(super) payload_bytes: u16,
    pub(super) queue: u8,
}

/// The kernel's socket beside a port, as seen by whoever looks for what waits in it.
#[derive(Clone)]
pub(super) struct Beside {
    pub(super) fd: RawFd,
    /// Something waits. Cleared by the port before it receives.
    pub(super) waits: Arc<AtomicBool>,
    pub(super) bell: Bell,
}

impl Beside {
    fn tell(&self) {
        self.waits.store(true, Ordering::Release);
        self.bell.ring();
    }
}

/// One port as the receiving duty sees it.
struct Endpoint {
    local: SocketAddrV4,
    frames: Sender<Received>,
    emptied: Receiver<(Frame, u8)>,
    /// Of a port whose thread is another one.
    bell: Option<Bell>,
    /// Frames of this cycle are in the lane.
    has_new: bool,
}

/// One port as the transmitting duty sees it.
struct TransmitLane {
    urgency: u8,
    written: Receiver<(Frame, u16)>,
    empty: Sender<Frame>,
    /// Empty frames that it has still to get.
    owed: usize,
}

/// What ports are made from until the duties start.
pub(super) struct Plan {
    endpoints: Vec<Endpoint>,
    lanes: Vec<TransmitLane>,
    /// Kernel's sockets beside the ports that receive.
    pub(super) kernel: Vec<Beside>,
    spare: Vec<Frame>,
    started: bool,
}

/// An interface with sockets on its queues. Make the ports, then [`Nic::start`].
pub struct Nic {
    pub(super) shared: Arc<NicShared>,
    rx: Vec<Rx>,
    tx: Tx,
    /// Transmitting halves of the other queues: their sockets must live.
    others: Vec<Tx>,
    /// Descriptors of all sockets once more, for who asks for statistics.
    sockets: Vec<OwnedFd>,
    link: Link,
    parser: Parser,
    neighbours: Neighbours,
    mode: Mode,
    capture: Option<Capture>,
    /// Rungs that were refused, and why.
    pub refused: Vec<String>,
}

/// What ports and duties know of the NIC.
pub(super) struct NicShared {
    pub(super) umem: Umem,
    pub(super) interface: Interface,
    pub(super) table: NeighbourTable,
    pub(super) plan: Mutex<Plan>,
    pub(super) poll_fd: Arc<OwnedFd>,
    pub(super) destinations: Vec<SocketAddrV4>,
    /// When the errand last looked at the kernel's sockets, ns of the runners' clock.
    looked: AtomicU64,
}

counters! {
    /// What passes the NIC.
    pub struct NicCounters("nic") {
        frames_received: "frames taken from the RX rings",
        frames_refused: "frames that are not exactly one IPv4 datagram of UDP: the sum of the next five",
        refused_length: "lengths of IP, UDP and frame that do not agree",
        refused_ip_checksum: "wrong sum of the IPv4 header",
        refused_udp_checksum: "wrong sum of the UDP datagram",
        refused_source: "senders to whom no answer can go: groups, broadcast, 0.0.0.0/8, loopback",
        refused_shape: "frames that the program should have left to the kernel",
        frames_for_other_hosts: "unicast datagrams to another Ethernet address than ours",
        frames_for_nobody: "frames to an address without a port",
        frames_crowded_out: "frames lost because their port does not read",
        frames_sent: "frames handed to the TX ring",
        frames_too_long: "frames longer than the interface takes",
        kicks: "system calls to send",
        kick_refusals: "kicks that the kernel refused or the device's queue could not take",
        wakeups: "system calls to have the driver take empty frames (copy mode asks for none)",
        wakeup_refusals: "of these, refused",
        link_down: "1 while the interface is down, gone or without a carrier",
        kernel_lost: "frames that the kernel lost because we had no room (five of XDP_STATISTICS)",
    }
}

impl NicCounters {
    #[cold]
    fn refused(&self, why: Refused) {
        self.frames_refused.add(1);
        let counter = match why {
            Refused::Length => &self.refused_length,
            Refused::IpChecksum => &self.refused_ip_checksum,
            Refused::UdpChecksum => &self.refused_udp_checksum,
            Refused::Source => &self.refused_source,
            Refused::Short
            | Refused::NotIpv4
            | Refused::Vlan
            | Refused::IpHeader
            | Refused::Fragment
            | Refused::NotUdp => &self.refused_shape,
        };
        counter.add(1);
    }
}

impl Nic {
    /// Opens the queues in the first mode that is allowed and works, loads and attaches the program,
    /// and proves that frames leave. Sockets and program belong to the calling thread's network
    /// namespace.
    pub fn open(config: &NicConfig) -> Result<Nic, XdpError> {
        let filter = Filter::new(&config.destinations, None)?;
        let opened = af_xdp::open(&Config {
            queues: config.queues.clone(),
            modes: config.modes.clone(),
            receive_frames: RECEIVE_FRAMES,
            transmit_frames: TRANSMIT_FRAMES,
            share_umem: config.queues.len() > 1,
            busy_poll: config.busy_poll.then(Default::default),
            probe: Some(PROBE),
            ..Config::new(&config.interface, filter)
        })?;
        let refused = opened.refused.iter().map(|r| format!("{}: {}", Path::of(r.mode), r.reason));
        let refused = refused.collect();
        let (mut rx, mut txs) = (Vec::new(), Vec::new());
        for socket in opened.sockets {
            let (receive, transmit) = socket.split();
            rx.push(receive);
            txs.push(transmit);
        }
        let mut tx = txs.remove(0);
        let spare = std::iter::from_fn(|| tx.reserve()).collect();
        let neighbours = Neighbours::open(&opened.interface, 1)?;
        let sockets = rx.iter().map(|rx| rx.as_fd().try_clone_to_owned());
        let sockets = sockets.collect::<std::io::Result<_>>()?;
        let poll_fd = epoll(rx.iter().map(|rx| (rx.as_fd().as_raw_fd(), 0)), libc::EPOLLIN)?;
        let plan = Plan {
            endpoints: Vec::new(),
            lanes: Vec::new(),
            kernel: Vec::new(),
            spare,
            started: false,
        };
        let shared = NicShared {
            umem: rx[0].umem().clone(),
            interface: opened.interface,
            table: NeighbourTable::new(),
            plan: Mutex::new(plan),
            poll_fd: Arc::new(poll_fd),
            destinations: config.destinations.clone(),
            looked: AtomicU64::new(0),
        };
        Ok(Nic {
            shared: Arc::new(shared),
            rx,
            tx,
            others: txs,
            sockets,
            link: opened.link,
            parser: Parser { verify_udp_checksum: true, ..Parser::default() },
            neighbours,
            mode: opened.mode,
            capture: None,
            refused,
        })
    }

    /// The path that datagrams take, as it is told.
    pub fn path(&self) -> Path {
        Path::of(self.mode)
    }

    /// Whether the frames lie on huge pages.
    pub fn on_huge_pages(&self) -> bool {
        self.shared.umem.pages() == Pages::Huge
    }

    /// Captures what passes the queues and the kernel's sockets beside them. Before the first port.
    pub fn set_capture(&mut self, capture: Capture) {
        self.capture = Some(capture);
    }

    /// A port at `address`, which must be one of the destinations. The first one that receives is the
    /// one whose thread has the receiving duty, and is woken by any frame; the others' threads are woken
    /// by frames of their own. Its address is bound in the kernel
    /// too: nobody else can take it, and what does not come by the queues comes through there.
    pub fn bind(&mut self, address: SocketAddrV4) -> Result<XdpPort, XdpError> {
        self.port(address, UdpPort::bind(address)?, true, 64)
    }

    /// A port that receives `group`, which must be one of the destinations. The kernel's socket
    /// beside it holds the membership.
    pub fn join(&mut self, group: SocketAddrV4, own: Ipv4Addr) -> Result<XdpPort, XdpError> {
        self.port(group, UdpPort::join(group, own)?, true, 1)
    }

    /// A port that sends to groups from `own` address, at most `ttl` routers far.
    pub fn multicast_sender(&mut self, own: Ipv4Addr, ttl: u8) -> Result<XdpPort, XdpError> {
        let socket = UdpPort::multicast_sender(own, u32::from(ttl))?;
        let local = socket.local();
        let mut port = self.port(local, socket, false, ttl)?;
        port.urgency(0);
        Ok(port)
    }

    fn port(
        &mut self,
        local: SocketAddrV4,
        socket: UdpPort,
        receives: bool,
        ttl: u8,
    ) -> Result<XdpPort, XdpError> {
        if receives && !self.shared.destinations.contains(&local) {
            return Err(XdpError::NotADestination(local));
        }
        let tap = self.capture.as_ref().map(|capture| {
            let name = format!("{}-kernel", self.shared.interface.name);
            capture.tap(&name, "kernel's sockets beside the queues; headers made up")
        });
        let socket = CapturedPort::new(socket, tap);
        XdpPort::new(self.shared.clone(), local, socket, receives, ttl)
    }

    /// The duties: receive before the agents that read, transmit behind those that write, and one for
    /// a thread that has time. No port can be made afterwards. Err: the host has no descriptor left.
    pub fn start(self) -> Result<Duties, XdpError> {
        let Nic { shared, rx, mut tx, others, sockets, link, parser, neighbours, capture, .. } =
            self;
        let counters = Arc::new(NicCounters::default());
        let mut plan = shared.plan();
        plan.started = true;
        let endpoints = std::mem::take(&mut plan.endpoints);
        let mut lanes = std::mem::take(&mut plan.lanes);
        let kernel = std::mem::take(&mut plan.kernel);
        plan.spare.drain(..).for_each(|frame| tx.cancel(frame));
        drop(plan);
        lanes.sort_by_key(|lane| lane.urgency);
        let readiness = |how| {
            let fds = kernel.iter().enumerate().map(|(at, beside)| (beside.fd, at as u64));
            epoll(fds, libc::EPOLLIN | how)
        };
        // The errand hears of each arrival once: it sleeps while a port does not read. The receiving
        // duty, which looks seldom, sees what is there.
        let (arrivals, present) = (readiness(libc::EPOLLET)?, readiness(0)?);
        // The two duties may stand on two threads: each has a tap of its own.
        let tap = || {
            let name = &shared.interface.name;
            capture.as_ref().map(|capture| capture.tap(name, "AF_XDP queues"))
        };
        let (received, sent) = (tap(), tap());
        let receive = Receive {
            rx,
            endpoints,
            parser,
            own_mac: shared.interface.mac,
            link,
            counters: counters.clone(),
            others,
            tap: received,
            shared: shared.clone(),
            kernel: kernel.clone(),
            present,
        };
        let transmit = Transmit { tx, lanes, counters: counters.clone(), tap: sent };
        let park_fds = vec![arrivals.as_raw_fd()];
        let next_refresh = Nanos(0);
        let told = counters.clone();
        let errand =
            Errand { shared, neighbours, kernel, arrivals, sockets, counters: told, next_refresh };
        Ok(Duties { receive, transmit, errand, park_fds, counters })
    }
}

/// What [`Nic::start`] gives.
pub struct Duties {
    /// First of its thread: the gateway's ingress behind it.
    pub receive: Receive,
    /// Last of its thread: publisher and egress before it.
    pub transmit: Transmit,
    /// On a thread without haste.
    pub errand: Errand,
    /// What that thread may park on.
    pub park_fds: Vec<RawFd>,
    /// Counters of all three.
    pub counters: Arc<NicCounters>,
}

impl NicShared {
    pub(super) fn plan(&self) -> std::sync::MutexGuard<'_, Plan> {
        // Only set-up holds it, and a panic there ends the start.
        self.plan.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Lanes of one port.
pub(super) struct Lanes {
    pub(super) received: Option<Receiver<Received>>,
    pub(super) emptied: Option<Sender<(Frame, u8)>>,
    pub(super) bell: Option<Bell>,
    pub(super) empty: Receiver<Frame>,
    pub(super) written: Sender<(Frame, u16)>,
}

impl Plan {
    /// Lanes for one more port; `urgency`: 0 leaves first.
    pub(super) fn lanes(
        &mut self,
        local: Option<SocketAddrV4>,
        urgency: u8,
    ) -> Result<(Lanes, usize), XdpError> {
        if self.started || self.spare.len() < PORT_FRAMES {
            return Err(XdpError::TooManyPorts);
        }
        let (written_by_port, written) = lane(PORT_FRAMES);
        let (mut empty, empty_to_port) = lane(PORT_FRAMES);
        for frame in self.spare.drain(..PORT_FRAMES) {
            // As many places as frames.
            let _ = empty.push(frame);
        }
        self.lanes.push(TransmitLane { urgency, written, empty, owed: 0 });
        let (mut received, mut emptied, mut bell) = (None, None, None);
        if let Some(local) = local {
            // The first port's thread has the receiving duty: it needs no bell for its frames, but for
            // what comes through the kernel.
            let own = Bell::new()?;
            let for_frames = (!self.endpoints.is_empty()).then(|| own.clone());
            bell = Some(own);
            // Who does not read may keep some frames of a queue, and never all: the others receive with
            // them.
            let share = if for_frames.is_none() { RECEIVE_FRAMES } else { SHARE_FRAMES };
            let (frames, to_port) = lane(share as usize);
            let (from_port, emptied_here) = lane(2 * RECEIVE_FRAMES as usize);
            self.endpoints.push(Endpoint {
                local,
                frames,
                emptied: emptied_here,
                bell: for_frames,
                has_new: false,
            });
            (received, emptied) = (Some(to_port), Some(from_port));
        }
        let lanes =
            Lanes { received, emptied, bell, empty: empty_to_port, written: written_by_port };
        Ok((lanes, self.lanes.len() - 1))
    }

    pub(super) fn set_urgency(&mut self, index: usize, urgency: u8) {
        self.lanes[index].urgency = urgency;
    }
}

/// Takes frames from the RX rings to their ports.
pub struct Receive {
    endpoints: Vec<Endpoint>,
    parser: Parser,
    own_mac: MacAddress,
    counters: Arc<NicCounters>,
    /// Dropped before the sockets: from then on frames go to the kernel again.
    #[expect(dead_code, reason = "holds the program on the interface")]
    link: Link,
    rx: Vec<Rx>,
    #[expect(dead_code, reason = "keeps the sockets of the other queues")]
    others: Vec<Tx>,
    tap: Option<Tap>,
    shared: Arc<NicShared>,
    kernel: Vec<Beside>,
    /// Readable while something waits in one of the kernel's sockets.
    present: OwnedFd,
}

impl Receive {
    fn deliver(&mut self, queue: usize, now: Nanos) -> usize {
        let Receive { endpoints, parser, own_mac, counters, rx, tap, .. } = self;
        let rx = &mut rx[queue];
        let mut taken = 0;
        while taken < BURST {
            let Some(frame) = rx.take() else { break };
            taken += 1;
            let bytes = rx.data(&frame);
            // Before it is judged: what is refused is what an operator looks for.
            if let Some(tap) = tap {
                tap.frame(Direction::Received, bytes, now);
            }
            let datagram = match parser.parse(bytes) {
                Ok(datagram) => datagram,
                Err(refused) => {
                    counters.refused(refused);
                    rx.release(frame);
                    continue;
                }
            };
            // As the kernel does for its sockets: a switch may flood, a NIC be promiscuous.
            if datagram.destination_mac != *own_mac && !datagram.destination.ip().is_multicast() {
                counters.frames_for_other_hosts.add(1);
                rx.release(frame);
                continue;
            }
            let Some(endpoint) = endpoints.iter_mut().find(|e| e.local == datagram.destination)
            else {
                counters.frames_for_nobody.add(1);
                rx.release(frame);
                continue;
            };
            let payload_at = datagram.payload.as_ptr().addr() - bytes.as_ptr().addr();
            let received = Received {
                from: datagram.source,
                payload_at: payload_at as u16, // within a frame, below 4096
                payload_bytes: datagram.payload.len() as u16,
                queue: queue as u8,
                frame,
            };
            match endpoint.frames.push(received) {
                Ok(()) => endpoint.has_new = true,
                Err(received) => {
                    counters.frames_crowded_out.add(1);
                    rx.release(received.frame);
                }
            }
        }
        counters.frames_received.add(taken as u64);
        taken
    }
}

impl Agent for Receive {
    fn name(&self) -> &'static str {
        "nic_receive"
    }

    fn duty_cycle(&mut self, now: Nanos) -> usize {
        for endpoint in &mut self.endpoints {
            while let Some((frame, queue)) = endpoint.emptied.pop() {
                self.rx[usize::from(queue)].release(frame);
            }
        }
        let mut taken = 0;
        for queue in 0..self.rx.len() {
            taken += self.deliver(queue, now);
            self.rx[queue].publish();
        }
        if taken > 0 {
            for endpoint in &mut self.endpoints {
                if let (true, Some(bell)) = (std::mem::take(&mut endpoint.has_new), &endpoint.bell)
                {
                    bell.ring();
                }
            }
        }
        taken
    }

    fn housekeeping(&mut self, now: Nanos) {
        let told = || self.rx.iter().map(Rx::counters);
        self.counters.wakeups.set(told().map(|rx| rx.wakeups).sum());
        self.counters.wakeup_refusals.set(told().map(|rx| rx.wakeup_errors).sum());
        // In the errand's place, when it has no CPU: where every CPU has a thread that spins before
        // everybody else, nobody would read what came through the kernel.
        if now.since(Nanos(self.shared.looked.load(Ordering::Relaxed))) > ERRAND_LATE_NS {
            tell_ready(self.present.as_fd(), &self.kernel);
        }
    }
}

/// Sends what ports have written: the feed, then reports, then everything else.
pub struct Transmit {
    lanes: Vec<TransmitLane>,
    tx: Tx,
    counters: Arc<NicCounters>,
    tap: Option<Tap>,
}

impl Agent for Transmit {
    fn name(&self) -> &'static str {
        "nic_transmit"
    }

    fn duty_cycle(&mut self, now: Nanos) -> usize {
        let Transmit { lanes, tx, counters, tap } = self;
        let mut sent = 0;
        for lane in lanes.iter_mut() {
            while let Some((mut frame, length)) = lane.written.pop() {
                sent += 1;
                lane.owed += 1;
                if let Some(tap) = tap {
                    tap.frame(Direction::Sent, &tx.buffer(&mut frame)[..usize::from(length)], now);
                }
                if tx.commit(frame, usize::from(length)).is_err() {
                    counters.frames_too_long.add(1);
                }
            }
        }
        tx.kick();
        if sent > 0 {
            counters.frames_sent.add(sent as u64);
        }
        if lanes.iter().any(|lane| lane.owed > 0) {
            tx.complete();
            for lane in lanes.iter_mut() {
                while lane.owed > 0 {
                    let Some(frame) = tx.reserve() else { break };
                    if let Err(frame) = lane.empty.push(frame) {
                        tx.cancel(frame);
                        break;
                    }
                    lane.owed -= 1;
                }
            }
        }
        sent
    }

    fn housekeeping(&mut self, _now: Nanos) {
        let told = self.tx.counters();
        self.counters.kicks.set(told.kicks);
        self.counters.kick_refusals.set(told.refused());
    }
}

/// What has time: who has which Ethernet address, whether something came through the kernel, whether
/// there is a link, and what the kernel lost. Each costs system calls, which the duties must not make.
pub struct Errand {
    shared: Arc<NicShared>,
    neighbours: Neighbours,
    kernel: Vec<Beside>,
    /// Readable when something has come to one of them that was not told yet.
    arrivals: OwnedFd,
    /// The queues' sockets once more, to be asked for statistics.
    sockets: Vec<OwnedFd>,
    counters: Arc<NicCounters>,
    next_refresh: Nanos,
}

impl Agent for Errand {
    fn name(&self) -> &'static str {
        "nic_errand"
    }

    fn duty_cycle(&mut self, now: Nanos) -> usize {
        if now >= self.next_refresh {
            self.next_refresh = now.plus(REFRESH_NS);
            self.shared.table.refresh(&mut self.neighbours, false);
            // Where the kernel does not say, it is not down.
            let up = self.neighbours.link_is_up().unwrap_or(true);
            self.counters.link_down.set(u64::from(!up));
        } else if self.shared.table.has_wanted() {
            self.shared.table.refresh(&mut self.neighbours, true);
        }
        tell_ready(self.arrivals.as_fd(), &self.kernel);
        self.shared.looked.store(now.0, Ordering::Relaxed);
        0
    }

    fn housekeeping(&mut self, _now: Nanos) {
        let told = self.sockets.iter().filter_map(|fd| Statistics::read(fd.as_fd()).ok());
        self.counters.kernel_lost.set(told.map(|s| lost_by(&s)).sum());
    }
}

/// Frames that the kernel could not give us, and descriptors that it did not take. Of the six numbers
/// only `tx_ring_empty_descs` is no fault: it grows while nothing is sent.
fn lost_by(told: &Statistics) -> u64 {
    told.rx_dropped
        + told.rx_ring_full
        + told.rx_fill_ring_empty_descs
        + told.rx_invalid_descs
        + told.tx_invalid_descs
}

/// Tells the ports whose sockets `epoll` calls ready. One system call, and one for each that sleeps.
fn tell_ready(epoll: BorrowedFd<'_>, kernel: &[Beside]) {
    // A NIC has eight ports.
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 8];
    // SAFETY: as many places as said, which live through the call; a timeout of 0 does not wait.
    let count = unsafe {
        libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), events.len() as libc::c_int, 0)
    };
    let count = usize::try_from(count).unwrap_or(0);
    for event in events.iter().take(count) {
        let at = event.u64 as usize;
        if let Some(beside) = kernel.get(at) {
            beside.tell();
        }
    }
}

#[cfg(test)]
pub(super) fn is_readable(fd: RawFd) -> bool {
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry, which lives through the call; a timeout of 0 does not wait.
    unsafe { libc::poll(&raw mut poll, 1, 0) == 1 && poll.revents & libc::POLLIN != 0 }
}

/// A descriptor that is readable when one of `fds` is ready for `how` (EPOLLIN ...); each comes with
/// the number by which epoll_wait(2) calls it.
pub(super) fn epoll(
    fds: impl Iterator<Item = (RawFd, u64)>,
    how: libc::c_int,
) -> std::io::Result<OwnedFd> {
    use std::os::fd::FromRawFd;
    // SAFETY: no memory is involved.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    if epoll < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else owns.
    let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
    for (fd, number) in fds {
        let mut event = libc::epoll_event { events: how as u32, u64: number };
        // SAFETY: both descriptors are open, and the event lives through the call.
        let added =
            unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) };
        if added != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(epoll)
}

impl Duties {
    /// Counters, for whoever prints them.
    pub fn counters(&self) -> Arc<dyn CounterSet> {
        self.counters.clone()
    }
}
