//! UDP past the kernel's network stack: [`XdpPort`], the twin of [`super::UdpPort`] over AF_XDP.
//!
//! Same datagrams, same [`Port`]: agents cannot tell. Consumes frames of the interface's queues that
//! are for one of the NIC's addresses; produces whole frames, headers written from a template. What
//! the queues cannot carry goes through an ordinary socket on the same address: fragments, other
//! queues, destinations whose Ethernet address is not known yet, or that are this host itself. Knows
//! no orders. Set-up allocates; receive, send and flush do not. They make no system call but the kick,
//! unless something came through the kernel's socket, or must leave through it, or the thread of
//! another port is to be woken, or the errand has no CPU.

mod bell;
mod neighbours;
mod nic;
mod path;

pub use nic::{
    Duties, Errand, Nic, NicConfig, NicCounters, RECEIVE_FRAMES, Receive, TRANSMIT_FRAMES, Transmit,
};
pub use path::{Path, PathWish};

use super::capture::CapturedPort;
use super::port::{BURST, DATAGRAM_BYTES_MAX, Port};
use super::udp::UdpPort;
use af_xdp::packet::{Address, Template, UdpChecksum};
use af_xdp::{Frame, MacAddress, Umem};
use neighbours::{NeighbourTable, Peers};
use nic::{Beside, Lanes, NicShared};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Templates kept per port: one for each destination that it talks to at a time.
const TEMPLATES: usize = 256;

/// Why there is no AF_XDP path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum XdpError {
    /// The host or the interface cannot do it.
    #[error(transparent)]
    Host(#[from] af_xdp::Error),
    /// The ordinary socket beside it cannot be had.
    #[error(transparent)]
    Socket(#[from] std::io::Error),
    /// A port for an address that the program does not take from the kernel.
    #[error("{0} is not among the addresses that the NIC was opened for")]
    NotADestination(SocketAddrV4),
    /// `network.interface` names none.
    #[error(
        "this host has no interface {0}, which network.interface names: `ip -br link` lists them"
    )]
    NoInterface(String),
    /// Nobody has the address.
    #[error("no interface of this host has {0}: `ip -br address` lists them")]
    NoAddress(Ipv4Addr),
    /// A venue has one NIC for orders, reports, feed and repair.
    #[error(
        "gateway.listen is on {listen}, feed.repair on {repair}, feed.interface is {interface}: AF_XDP \
         needs one address of a NIC for all three, and not on loopback"
    )]
    NotOneAddress {
        /// Of `gateway.listen`.
        listen: Ipv4Addr,
        /// Of `feed.repair`.
        repair: Ipv4Addr,
        /// `feed.interface`.
        interface: Ipv4Addr,
    },
    /// All frames are given away, or the duties have started.
    #[error("a NIC has room for 8 ports, all made before it starts")]
    TooManyPorts,
}

/// Headers by destination: a small cache, where one takes the place of another.
struct Templates {
    places: Box<[Option<(SocketAddrV4, MacAddress, Template)>]>,
    own_mac: MacAddress,
    own: SocketAddrV4,
    ttl: u8,
}

impl Templates {
    /// Headers for `to`; `None` when its Ethernet address is not known.
    #[inline]
    fn find(
        &mut self,
        to: SocketAddrV4,
        neighbours: &NeighbourTable,
        peers: Peers,
    ) -> Option<&Template> {
        let mac = match to.ip().is_multicast() {
            true => MacAddress::of_group(*to.ip())?,
            false => neighbours.find(*to.ip(), peers)?,
        };
        let key = u32::from(*to.ip()) ^ u32::from(to.port()) << 16;
        let at = (key.wrapping_mul(0x9E37_79B9) >> 24) as usize % TEMPLATES;
        let place = &mut self.places[at];
        if !matches!(place, Some((known, its_mac, _)) if *known == to && *its_mac == mac) {
            let address = Address {
                source_mac: self.own_mac,
                destination_mac: mac,
                source: self.own,
                destination: to,
                vlan: None,
                ttl: self.ttl,
                traffic_class: 0,
            };
            *place = Some((to, mac, Template::new(&address, UdpChecksum::Full)));
        }
        place.as_ref().map(|(_, _, template)| template)
    }
}

/// A UDP endpoint on a NIC, or one of several handles on it.
pub struct XdpPort {
    shared: Arc<NicShared>,
    umem: Umem,
    lanes: Lanes,
    lane: usize,
    /// Reserved, and then there was nothing to send.
    kept: Option<Frame>,
    templates: Templates,
    peers: Peers,
    kernel: CapturedPort<UdpPort>,
    kernel_waits: Arc<AtomicBool>,
    /// The last look found frames.
    had_frames: bool,
    poll_fd: Option<Arc<OwnedFd>>,
    dropped: u64,
    /// Takes what cannot be sent, so that whoever fills in sees no difference.
    scratch: Box<[u8; DATAGRAM_BYTES_MAX]>,
    /// The duties, when this port is the thread's own.
    duties: Option<Box<(Receive, Transmit)>>,
}

impl XdpPort {
    fn new(
        shared: Arc<NicShared>,
        local: SocketAddrV4,
        kernel: CapturedPort<UdpPort>,
        receives: bool,
        ttl: u8,
    ) -> Result<XdpPort, XdpError> {
        let kernel_waits = Arc::new(AtomicBool::new(false));
        let mut plan = shared.plan();
        let (lanes, lane) = plan.lanes(receives.then_some(local), 1)?;
        let mut poll_fd = None;
        if let (Some(fd), Some(bell)) = (kernel.poll_fd(), &lanes.bell) {
            // Any frame wakes the thread of the first port alone: the receiving duty stands there. The
            // others would wake with every order; they have the bell. Nobody sleeps on the kernel's
            // socket itself: awake before its flag is set, he would find nothing and not sleep again.
            let frames = plan.kernel.is_empty().then(|| shared.poll_fd.as_raw_fd());
            let fds = [bell.fd()].into_iter().chain(frames).map(|fd| (fd, 0));
            poll_fd = Some(Arc::new(nic::epoll(fds, libc::EPOLLIN)?));
            let (waits, bell) = (kernel_waits.clone(), bell.clone());
            plan.kernel.push(Beside { fd, waits, bell });
        }
        drop(plan);
        let places = vec![None; TEMPLATES].into_boxed_slice();
        let own_mac = shared.interface.mac;
        Ok(XdpPort {
            umem: shared.umem.clone(),
            shared,
            lanes,
            lane,
            kept: None,
            templates: Templates { places, own_mac, own: local, ttl },
            peers: Peers::Known,
            kernel,
            kernel_waits,
            had_frames: false,
            poll_fd,
            dropped: 0,
            scratch: Box::new([0; DATAGRAM_BYTES_MAX]),
            duties: None,
        })
    }

    /// Answers whoever asks: their made-up addresses may take no place from those of clients. Handles
    /// made from it are for clients again.
    pub fn for_strangers(mut self) -> XdpPort {
        self.peers = Peers::Strangers;
        self
    }

    /// A handle for another thread: sends from the same address, receives nothing. Before the NIC
    /// starts only.
    pub fn try_clone(&self) -> std::io::Result<XdpPort> {
        let kernel = self.kernel.try_clone()?;
        let Templates { own, ttl, .. } = self.templates;
        XdpPort::new(self.shared.clone(), own, kernel, false, ttl).map_err(std::io::Error::other)
    }

    /// 0 leaves before 1, 1 before 2, whatever was written first in a cycle.
    fn urgency(&mut self, urgency: u8) {
        self.shared.plan().set_urgency(self.lane, urgency);
    }

    /// The port receives and transmits for itself: [`Port::receive`] and [`Port::flush`] do the duties.
    /// For a thread with this port alone, or with further ports that another receives for.
    pub fn alone(mut self, receive: Receive, transmit: Transmit) -> XdpPort {
        self.duties = Some(Box::new((receive, transmit)));
        self
    }

    #[inline]
    fn receive_frames(&mut self, mut on_datagram: impl FnMut(&[u8], SocketAddrV4)) -> usize {
        let (Some(received), Some(emptied)) = (&mut self.lanes.received, &mut self.lanes.emptied)
        else {
            return 0;
        };
        let mut count = 0;
        while count < BURST {
            let Some(datagram) = received.pop() else { break };
            count += 1;
            let at = usize::from(datagram.payload_at);
            let bytes = self.umem.data(&datagram.frame);
            let payload = &bytes[at..at + usize::from(datagram.payload_bytes)];
            if payload.len() <= DATAGRAM_BYTES_MAX {
                on_datagram(payload, datagram.from);
            }
            // Twice as many places as frames: never full.
            let _ = emptied.push((datagram.frame, datagram.queue));
        }
        count
    }

    /// What waits in the kernel's socket; seldom anything.
    #[cold]
    fn receive_through_kernel(&mut self, on_datagram: impl FnMut(&[u8], SocketAddrV4)) -> usize {
        // Before the look: what comes behind it is told anew.
        self.kernel_waits.swap(false, Ordering::AcqRel);
        let received = self.kernel.receive(on_datagram);
        if !self.kernel.is_drained() {
            // Of what stays there nobody tells a second time.
            self.kernel_waits.store(true, Ordering::Release);
        }
        received
    }
}

impl Port for XdpPort {
    #[inline]
    fn receive(&mut self, mut on_datagram: impl FnMut(&[u8], SocketAddrV4)) -> usize {
        use crate::agent::Agent;
        if let Some(duties) = &mut self.duties {
            duties.0.duty_cycle(crate::types::Nanos(0));
        }
        if let Some(bell) = &self.lanes.bell {
            bell.answer();
        }
        // One burst at most: where frames never end, the kernel has every other look.
        let kernel_waits = self.kernel_waits.load(Ordering::Acquire);
        if kernel_waits && std::mem::take(&mut self.had_frames) {
            let count = self.receive_through_kernel(&mut on_datagram);
            if count > 0 {
                return count;
            }
        }
        let count = self.receive_frames(&mut on_datagram);
        self.had_frames = count > 0;
        if kernel_waits && count == 0 {
            return self.receive_through_kernel(on_datagram);
        }
        count
    }

    #[inline]
    fn send(&mut self, to: SocketAddrV4, fill: impl FnOnce(&mut [u8]) -> usize) {
        let XdpPort {
            shared, umem, lanes, kept, templates, peers, kernel, dropped, scratch, ..
        } = self;
        let Some(template) = templates.find(to, &shared.table, *peers) else {
            return kernel.send(to, fill);
        };
        let Some(mut frame) = kept.take().or_else(|| lanes.empty.pop()) else {
            if fill(&mut scratch[..]) > 0 {
                *dropped += 1;
            }
            return;
        };
        let buffer = umem.buffer(&mut frame);
        let at = template.payload_at();
        let length = fill(&mut buffer[at..at + DATAGRAM_BYTES_MAX]);
        assert!(length <= DATAGRAM_BYTES_MAX, "{length} bytes claimed");
        // A chunk is longer than any datagram with its headers.
        match template.finish(buffer, length).filter(|_| length > 0) {
            None => *kept = Some(frame),
            // As many places as frames.
            Some(bytes) => {
                *dropped += u64::from(lanes.written.push((frame, bytes as u16)).is_err())
            }
        }
    }

    #[inline]
    fn flush(&mut self) {
        use crate::agent::Agent;
        self.kernel.flush();
        if let Some(duties) = &mut self.duties {
            duties.1.duty_cycle(crate::types::Nanos(0));
        }
    }

    #[inline]
    fn local(&self) -> SocketAddrV4 {
        self.templates.own
    }

    fn poll_fd(&self) -> Option<RawFd> {
        self.poll_fd.as_ref().map(|fd| fd.as_raw_fd())
    }

    fn dropped(&self) -> u64 {
        self.dropped + self.kernel.dropped()
    }
}
