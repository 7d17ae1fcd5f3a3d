//! [`CapturedPort`]: any [`Port`], with a tap on it.
//!
//! For ports that carry payloads: both addresses go along, and the writer makes up the headers. Sent is
//! what was handed to the port; what the host then refuses is in the capture all the same, and counted
//! by the port ([`Port::dropped`]). Received is what the port delivers. Must not know what datagrams
//! mean.

use super::super::port::Port;
use super::super::{MemoryPort, UdpPort};
use super::{Direction, Tap};
use std::net::SocketAddrV4;
use std::os::fd::RawFd;

/// A port whose datagrams are captured, when it has a tap.
pub struct CapturedPort<P> {
    port: P,
    tap: Option<Tap>,
}

impl<P: Port> CapturedPort<P> {
    /// `port`, captured by `tap`; without one, nothing is added but a branch.
    pub fn new(port: P, tap: Option<Tap>) -> CapturedPort<P> {
        CapturedPort { port, tap }
    }

    /// With `port`, a second handle on the same endpoint, for another thread.
    fn beside(&self, port: P) -> CapturedPort<P> {
        CapturedPort { port, tap: self.tap.as_ref().map(Tap::another) }
    }
}

impl CapturedPort<UdpPort> {
    /// A second handle on the same socket, with a tap of its own.
    pub fn try_clone(&self) -> std::io::Result<Self> {
        Ok(self.beside(self.port.try_clone()?))
    }

    /// As [`UdpPort::is_drained`].
    pub fn is_drained(&self) -> bool {
        self.port.is_drained()
    }
}

impl CapturedPort<MemoryPort> {
    /// A second handle on the same endpoint, with a tap of its own.
    pub fn try_clone(&self) -> std::io::Result<Self> {
        Ok(self.beside(self.port.try_clone()?))
    }
}

impl<P: Port> Port for CapturedPort<P> {
    #[inline]
    fn receive(&mut self, mut on_datagram: impl FnMut(&[u8], SocketAddrV4)) -> usize {
        let CapturedPort { port, tap } = self;
        let local = port.local();
        port.receive(|payload, from| {
            if let Some(tap) = tap {
                tap.datagram(Direction::Received, from, local, payload);
            }
            on_datagram(payload, from);
        })
    }

    #[inline]
    fn send(&mut self, to: SocketAddrV4, fill: impl FnOnce(&mut [u8]) -> usize) {
        let CapturedPort { port, tap } = self;
        let local = port.local();
        port.send(to, |buffer| {
            let length = fill(buffer);
            if let (Some(tap), Some(payload)) = (tap, buffer.get(..length))
                && length > 0
            {
                tap.datagram(Direction::Sent, local, to, payload);
            }
            length
        });
    }

    #[inline]
    fn flush(&mut self) {
        self.port.flush();
    }

    #[inline]
    fn local(&self) -> SocketAddrV4 {
        self.port.local()
    }

    fn poll_fd(&self) -> Option<RawFd> {
        self.port.poll_fd()
    }

    fn dropped(&self) -> u64 {
        self.port.dropped()
    }
}
