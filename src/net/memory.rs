//! A network in memory for tests: addresses, multicast groups, FIFO delivery, seeded loss.
use super::port::Port;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::RawFd;
/// Network in memory.
#[derive(Clone)]
pub struct MemoryNetwork {}
/// Port of a [`MemoryNetwork`].
pub struct MemoryPort {}
impl MemoryNetwork {
    /// Loses nothing.
    pub fn new() -> MemoryNetwork {
        panic!("not yet")
    }
    /// Loses `drop_per_million` of a million deliveries.
    pub fn with_loss(_seed: u64, _drop_per_million: u32) -> MemoryNetwork {
        panic!("not yet")
    }
    /// Changes the loss from now on.
    pub fn set_loss(&self, _drop_per_million: u32) {
        panic!("not yet")
    }
    /// Cuts an address off (nothing to or from it is delivered), or mends it.
    pub fn set_cut(&self, _address: SocketAddrV4, _cut: bool) {
        panic!("not yet")
    }
    /// Port at `address`; port 0 = any free one. Error AddrInUse.
    pub fn bind(&self, _address: SocketAddrV4) -> std::io::Result<MemoryPort> {
        panic!("not yet")
    }
    /// Sender at any free port of `interface`.
    pub fn multicast_sender(&self, _interface: Ipv4Addr) -> std::io::Result<MemoryPort> {
        panic!("not yet")
    }
    /// Member of `group`.
    pub fn join(&self, _group: SocketAddrV4, _interface: Ipv4Addr) -> std::io::Result<MemoryPort> {
        panic!("not yet")
    }
}
impl MemoryPort {
    /// Second handle on the same queue.
    pub fn try_clone(&self) -> std::io::Result<MemoryPort> {
        panic!("not yet")
    }
}
impl Port for MemoryPort {
    fn receive(&mut self, _on_datagram: impl FnMut(&[u8], SocketAddrV4)) -> usize {
        panic!("not yet")
    }
    fn send(&mut self, _to: SocketAddrV4, _fill: impl FnOnce(&mut [u8]) -> usize) {
        panic!("not yet")
    }
    fn flush(&mut self) {
        panic!("not yet")
    }
    fn local(&self) -> SocketAddrV4 {
        panic!("not yet")
    }
    fn poll_fd(&self) -> Option<RawFd> {
        None
    }
    fn dropped(&self) -> u64 {
        panic!("not yet")
    }
}
