//! UDP over the kernel's sockets, in batches: recvmmsg and sendmmsg with preallocated buffers.
//!
//! Consumes and produces datagrams; no allocation after construction. Whatever the kernel refuses
//! is counted and never an error: a venue does not stop because one client's port is closed. Must
//! not know what datagrams mean.

mod messages;
mod open;
mod transmit;

use std::io::Result;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, RawFd};

use socket2::Socket;

use super::port::{BURST, Port};
use messages::Messages;
pub use transmit::QUEUED_MAX;
use transmit::TransmitQueue;

/// System calls per receive at most: a pending error of the socket is fetched by the first call,
/// the datagrams by the next.
const RECEIVE_TRIES: usize = 4;

/// A UDP socket, or one of several handles on it.
pub struct UdpPort {
    socket: Socket,
    local: SocketAddrV4,
    incoming: Messages<BURST>,
    outgoing: TransmitQueue,
    truncated: u64,
    receive_errors: u64,
    drained: bool,
}

impl UdpPort {
    /// A non-blocking socket at `address` (port 0: any free one, see [`Port::local`]).
    ///
    /// The error names the address and what the host said, e.g. "in use".
    pub fn bind(address: SocketAddrV4) -> Result<UdpPort> {
        UdpPort::over(open::unicast(address)?)
    }

    /// A socket that sends to groups through the interface that has address `interface`, at most
    /// `ttl` routers far (1 = own network). Receivers on this host hear it too.
    pub fn multicast_sender(interface: Ipv4Addr, ttl: u32) -> Result<UdpPort> {
        UdpPort::over(open::multicast_sender(interface, ttl)?)
    }

    /// A socket that receives `group` on the interface that has address `interface`; any number
    /// per host. Err `InvalidInput` when `group` is not a multicast address.
    pub fn join(group: SocketAddrV4, interface: Ipv4Addr) -> Result<UdpPort> {
        UdpPort::over(open::join(group, interface)?)
    }

    fn over(socket: Socket) -> Result<UdpPort> {
        let local = open::local_address(&socket)?;
        Ok(UdpPort {
            socket,
            local,
            incoming: Messages::new(),
            outgoing: TransmitQueue::new(),
            truncated: 0,
            receive_errors: 0,
            drained: false,
        })
    }

    /// A second handle on the same socket with buffers and counters of its own, for another
    /// thread: ingress receives on one, egress sends on the other.
    pub fn try_clone(&self) -> Result<UdpPort> {
        UdpPort::over(self.socket.try_clone()?)
    }

    /// Receive buffer as the kernel accounts it, bytes: what it granted, doubled for its own
    /// overhead (socket(7)); 0 when it does not say.
    pub fn receive_buffer_bytes(&self) -> usize {
        self.socket.recv_buffer_size().unwrap_or(0)
    }

    /// Send buffer as the kernel accounts it, bytes.
    pub fn send_buffer_bytes(&self) -> usize {
        self.socket.send_buffer_size().unwrap_or(0)
    }

    /// Datagrams longer than [`super::DATAGRAM_BYTES_MAX`]: cut by the kernel and not delivered.
    pub fn truncated(&self) -> u64 {
        self.truncated
    }

    /// Errors met when receiving, other than "nothing there".
    pub fn receive_errors(&self) -> u64 {
        self.receive_errors
    }

    /// The last receive found nothing. Else something may wait that no edge-triggered poll tells again.
    pub fn is_drained(&self) -> bool {
        self.drained
    }

    /// Datagrams that the kernel threw away before we could receive them (buffer full), over all
    /// handles. Costs a system call: for housekeeping.
    pub fn kernel_receive_drops(&self) -> u64 {
        open::kernel_receive_drops(&self.socket)
    }

    /// Datagrams that wait for a flush, or for room in the kernel; at most [`QUEUED_MAX`].
    pub fn queued(&self) -> usize {
        self.outgoing.queued()
    }
}

impl Port for UdpPort {
    #[inline]
    fn receive(&mut self, mut on_datagram: impl FnMut(&[u8], SocketAddrV4)) -> usize {
        let mut count = 0;
        self.drained = false;
        for _ in 0..RECEIVE_TRIES {
            match self.incoming.receive(self.socket.as_fd()) {
                Ok(received) => {
                    count = received;
                    break;
                }
                // EWOULDBLOCK is the same number on Linux.
                Err(libc::EAGAIN) => {
                    self.drained = true;
                    return 0;
                }
                Err(libc::EINTR) => {}
                // A pending error such as ECONNREFUSED, from an ICMP message: told once.
                Err(_) => self.receive_errors += 1,
            }
        }
        let mut delivered = 0;
        for i in 0..count {
            let received = self.incoming.received(i);
            if received.truncated {
                self.truncated += 1;
                continue;
            }
            delivered += 1;
            on_datagram(&self.incoming.buffer(i)[..received.length], received.from);
        }
        delivered
    }

    #[inline]
    fn send(&mut self, to: SocketAddrV4, fill: impl FnOnce(&mut [u8]) -> usize) {
        if self.outgoing.push(to, fill) {
            self.flush();
        }
    }

    #[inline]
    fn flush(&mut self) {
        let UdpPort { socket, outgoing, .. } = self;
        outgoing.flush(|messages, first, count| messages.send(socket.as_fd(), first, count));
    }

    #[inline]
    fn local(&self) -> SocketAddrV4 {
        self.local
    }

    fn poll_fd(&self) -> Option<RawFd> {
        Some(self.socket.as_raw_fd())
    }

    fn dropped(&self) -> u64 {
        self.outgoing.dropped()
    }
}

#[cfg(test)]
mod tests;
