//! What the kernel counts per socket. `ss --xdp` needs a kernel option that is often absent, so
//! show these yourself.

use std::os::fd::BorrowedFd;

use crate::sys;

/// `XDP_STATISTICS` of one socket, since it was bound. Source: `struct xdp_statistics`, if_xdp.h.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Statistics {
    /// Received frames dropped for another reason than a full ring, e.g. too long for a chunk.
    pub rx_dropped: u64,
    /// Bad addresses in the fill ring.
    pub rx_invalid_descs: u64,
    /// Bad descriptors in the TX ring.
    pub tx_invalid_descs: u64,
    /// Received frames dropped because the RX ring was full: we were too slow. 0 before Linux 5.9,
    /// which also lacks the two below.
    pub rx_ring_full: u64,
    /// Times the kernel wanted a frame and the fill ring was empty.
    pub rx_fill_ring_empty_descs: u64,
    /// Times the kernel looked for a frame to send and found none. Grows while idle: no fault.
    pub tx_ring_empty_descs: u64,
}

impl Statistics {
    /// Of the socket `fd`, or a duplicate of its descriptor: for a thread that has time. Costs a
    /// system call.
    pub fn read(fd: BorrowedFd<'_>) -> std::io::Result<Statistics> {
        // SAFETY: integers only: all zeros is a value.
        let zero: libc::xdp_statistics = unsafe { std::mem::zeroed() };
        let raw = sys::get_option(fd, libc::SOL_XDP, libc::XDP_STATISTICS, zero)?;
        Ok(Statistics {
            rx_dropped: raw.rx_dropped,
            rx_invalid_descs: raw.rx_invalid_descs,
            tx_invalid_descs: raw.tx_invalid_descs,
            rx_ring_full: raw.rx_ring_full,
            rx_fill_ring_empty_descs: raw.rx_fill_ring_empty_descs,
            tx_ring_empty_descs: raw.tx_ring_empty_descs,
        })
    }
}
