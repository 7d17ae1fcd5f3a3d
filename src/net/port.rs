//! [`Port`]: where datagrams come in and go out. Its twins are sockets, memory and loss.
//!
//! Consumes and produces UDP payloads with IPv4 addresses. Must not know what they mean.

use std::net::SocketAddrV4;
use std::os::fd::RawFd;

/// Longest payload of a datagram: Ethernet's 1500 less the headers of IPv4 (20) and UDP (8).
pub const DATAGRAM_BYTES_MAX: usize = 1472;

/// Datagrams per receive, and per hand-over to the kernel: NAPI's default budget.
pub const BURST: usize = 64;

/// A UDP endpoint. Never blocks, never fails: what the host refuses is counted.
pub trait Port {
    /// Receives at most one burst ([`BURST`]): calls `on_datagram(payload, from)` for each and
    /// returns how many there were. No allocation.
    fn receive(&mut self, on_datagram: impl FnMut(&[u8], SocketAddrV4)) -> usize;

    /// Queues one datagram to `to`. `fill` gets [`DATAGRAM_BYTES_MAX`] bytes (old content),
    /// writes the payload at their start and returns its length; 0 means "nothing to send after
    /// all". Sent by [`Port::flush`], or at once when [`BURST`] datagrams are queued. Panics when
    /// `fill` claims more than it was given.
    fn send(&mut self, to: SocketAddrV4, fill: impl FnOnce(&mut [u8]) -> usize);

    /// Hands everything queued to the host. Call it at the end of every duty cycle, also when
    /// nothing was sent in it: what the host had no room for last time is tried again. Costs one
    /// comparison when nothing is queued.
    fn flush(&mut self);

    /// Own address. For a joined group: the group's.
    fn local(&self) -> SocketAddrV4;

    /// File descriptor that becomes readable when a datagram waits, for the runner to park on.
    fn poll_fd(&self) -> Option<RawFd>;

    /// Datagrams that were sent but not taken by the host (its queue and ours full, no route,
    /// refused by a filter ...). What happens after the host took them is not known.
    fn dropped(&self) -> u64;
}
