//! Datagrams in and out: one trait, sockets and their simulated twins. Knows no orders.

pub mod capture;
pub mod lossy;
pub mod memory;
pub mod port;
pub mod udp;
pub mod xdp;

use std::net::SocketAddrV4;
use std::os::fd::RawFd;

pub use capture::CapturedPort;
pub use lossy::LossyPort;
pub use memory::{LinkFaults, MemoryNetwork, MemoryPort, NetworkCounts, Taps, Way};
pub use port::{BURST, DATAGRAM_BYTES_MAX, Port};
pub use udp::UdpPort;
pub use xdp::XdpPort;

/// A port chosen at run time.
pub enum AnyPort {
    /// Socket.
    Udp(UdpPort),
    /// Socket that loses a share of what it receives.
    Lossy(LossyPort<UdpPort>),
    /// Socket that is captured.
    Captured(Box<CapturedPort<UdpPort>>),
    /// Socket that is captured, and loses a share of what it receives behind that.
    LossyCaptured(Box<LossyPort<CapturedPort<UdpPort>>>),
    /// AF_XDP.
    Xdp(Box<XdpPort>),
    /// AF_XDP that loses a share of what it receives.
    LossyXdp(Box<LossyPort<XdpPort>>),
    /// Port of a [`MemoryNetwork`].
    Memory(MemoryPort),
}

macro_rules! each {
    ($any:expr, $port:ident => $do:expr) => {
        match $any {
            AnyPort::Udp($port) => $do,
            AnyPort::Lossy($port) => $do,
            AnyPort::Captured($port) => $do,
            AnyPort::LossyCaptured($port) => $do,
            AnyPort::Xdp($port) => $do,
            AnyPort::LossyXdp($port) => $do,
            AnyPort::Memory($port) => $do,
        }
    };
}

impl AnyPort {
    /// A second handle on the same endpoint with buffers of its own.
    pub fn try_clone(&self) -> std::io::Result<AnyPort> {
        Ok(match self {
            AnyPort::Udp(port) => AnyPort::Udp(port.try_clone()?),
            AnyPort::Lossy(port) => AnyPort::Lossy(port.try_clone()?),
            AnyPort::Captured(port) => AnyPort::Captured(Box::new(port.try_clone()?)),
            AnyPort::LossyCaptured(port) => AnyPort::LossyCaptured(Box::new(port.try_clone()?)),
            AnyPort::Xdp(port) => AnyPort::Xdp(Box::new(port.try_clone()?)),
            AnyPort::LossyXdp(port) => AnyPort::LossyXdp(Box::new(port.try_clone()?)),
            AnyPort::Memory(port) => AnyPort::Memory(port.try_clone()?),
        })
    }
}

impl Port for AnyPort {
    #[inline]
    fn receive(&mut self, on_datagram: impl FnMut(&[u8], SocketAddrV4)) -> usize {
        each!(self, port => port.receive(on_datagram))
    }
    #[inline]
    fn send(&mut self, to: SocketAddrV4, fill: impl FnOnce(&mut [u8]) -> usize) {
        each!(self, port => port.send(to, fill))
    }
    #[inline]
    fn flush(&mut self) {
        each!(self, port => port.flush())
    }
    #[inline]
    fn local(&self) -> SocketAddrV4 {
        each!(self, port => port.local())
    }
    fn poll_fd(&self) -> Option<RawFd> {
        each!(self, port => port.poll_fd())
    }
    fn dropped(&self) -> u64 {
        each!(self, port => port.dropped())
    }
}
