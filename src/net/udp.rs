//! UDP sockets.
use super::port::Port;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::RawFd;
/// UDP socket.
pub struct UdpPort {}
impl UdpPort {
    /// Non-blocking socket at `address`; the error names it.
    pub fn bind(_address: SocketAddrV4) -> std::io::Result<UdpPort> {
        panic!("not yet")
    }
    /// Socket that sends to groups through `interface`.
    pub fn multicast_sender(_interface: Ipv4Addr, _ttl: u32) -> std::io::Result<UdpPort> {
        panic!("not yet")
    }
    /// Socket that receives `group` on `interface`.
    pub fn join(_group: SocketAddrV4, _interface: Ipv4Addr) -> std::io::Result<UdpPort> {
        panic!("not yet")
    }
    /// Second handle on the same socket with buffers of its own.
    pub fn try_clone(&self) -> std::io::Result<UdpPort> {
        panic!("not yet")
    }
    /// Receive buffer that the kernel granted, bytes.
    pub fn receive_buffer_bytes(&self) -> usize {
        panic!("not yet")
    }
    /// Send buffer that the kernel granted, bytes.
    pub fn send_buffer_bytes(&self) -> usize {
        panic!("not yet")
    }
    /// Datagrams longer than DATAGRAM_BYTES_MAX, not delivered.
    pub fn truncated(&self) -> u64 {
        panic!("not yet")
    }
    /// Datagrams the kernel threw away as the receive buffer was full (cold: a system call).
    pub fn kernel_receive_drops(&self) -> u64 {
        panic!("not yet")
    }
}
impl Port for UdpPort {
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
