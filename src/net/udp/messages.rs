//! Message headers and buffers for recvmmsg and sendmmsg, allocated and linked once.
//!
//! Each header points at its own buffer and address for ever, so that a call costs no set-up.
//! Must not know what a port is.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

use crate::net::port::DATAGRAM_BYTES_MAX;

const ADDRESS_BYTES: libc::socklen_t = size_of::<libc::sockaddr_in>() as libc::socklen_t;
const PAGE_BYTES: usize = 4096;

/// Everything the kernel is shown, in one piece of memory that never moves.
#[repr(C)]
struct Memory<const N: usize> {
    headers: [libc::mmsghdr; N],
    vectors: [libc::iovec; N],
    addresses: [libc::sockaddr_in; N],
    buffers: [[u8; DATAGRAM_BYTES_MAX]; N],
}

/// `N` messages.
///
/// The memory is owned through a raw pointer, not a Box: the headers point into it, and moving a
/// Box would claim that nobody else does.
pub(super) struct Messages<const N: usize> {
    memory: NonNull<Memory<N>>,
}

// SAFETY: the memory is owned by this value alone and tied to no thread; the pointers in it point
// into itself.
unsafe impl<const N: usize> Send for Messages<N> {}

impl<const N: usize> Messages<N> {
    const LAYOUT: Layout = Layout::new::<Memory<N>>();

    /// Allocates, touches and links everything.
    pub(super) fn new() -> Messages<N> {
        const { assert!(N > 0) };
        // SAFETY: the layout is not of size 0.
        let raw = unsafe { alloc_zeroed(Self::LAYOUT) };
        let Some(memory) = NonNull::new(raw.cast::<Memory<N>>()) else {
            handle_alloc_error(Self::LAYOUT)
        };
        for offset in (0..Self::LAYOUT.size()).step_by(PAGE_BYTES) {
            // SAFETY: inside the allocation, exclusively ours; volatile so that the store, which
            // changes nothing but makes the kernel give us the page now, is not left out.
            unsafe { raw.add(offset).write_volatile(0) };
        }
        let start = memory.as_ptr();
        for i in 0..N {
            // SAFETY: `i < N`; all places are inside the allocation, which is zeroed, and zero is
            // a valid value of each of these C structures. No references are made.
            unsafe {
                let vector = &raw mut (*start).vectors[i];
                (*vector).iov_base = (&raw mut (*start).buffers[i]).cast();
                (*vector).iov_len = DATAGRAM_BYTES_MAX;
                let header = &raw mut (*start).headers[i].msg_hdr;
                (*header).msg_name = (&raw mut (*start).addresses[i]).cast();
                (*header).msg_namelen = ADDRESS_BYTES;
                (*header).msg_iov = vector;
                (*header).msg_iovlen = 1;
            }
        }
        Messages { memory }
    }

    /// Buffer of message `i`. Panics when `i >= N`.
    #[inline]
    pub(super) fn buffer(&mut self, i: usize) -> &mut [u8; DATAGRAM_BYTES_MAX] {
        assert!(i < N);
        // SAFETY: in bounds, initialised (zeroed at least), and borrowed through `&mut self`, so
        // neither another reference nor a system call uses it meanwhile.
        unsafe { &mut (*self.memory.as_ptr()).buffers[i] }
    }

    /// Makes message `i` one of `length` bytes to `to`. Panics when out of bounds.
    #[inline]
    pub(super) fn address_to(&mut self, i: usize, to: SocketAddrV4, length: usize) {
        assert!(i < N && length <= DATAGRAM_BYTES_MAX);
        let start = self.memory.as_ptr();
        // SAFETY: in bounds, exclusively borrowed; only plain fields are written.
        unsafe {
            (*start).addresses[i] = to_kernel(to);
            (*start).vectors[i].iov_len = length;
        }
    }

    /// Length, sender and truncation of received message `i`.
    #[inline]
    pub(super) fn received(&self, i: usize) -> Received {
        assert!(i < N);
        let start = self.memory.as_ptr();
        // SAFETY: in bounds; plain values that the kernel wrote before the call returned, or zero.
        let (header, address) = unsafe { ((*start).headers[i], (*start).addresses[i]) };
        Received {
            // The kernel never writes beyond the vector; trusted no further than that.
            length: (header.msg_len as usize).min(DATAGRAM_BYTES_MAX),
            from: from_kernel(&address),
            truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
        }
    }

    /// Receives up to `N` waiting datagrams into messages 0.., without waiting.
    #[inline]
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>) -> Result<usize, i32> {
        let start = self.memory.as_ptr();
        // SAFETY: N linked headers whose buffers have the lengths that the vectors say; the memory
        // is exclusively borrowed for the call; a null timeout is allowed (recvmmsg(2)).
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                (&raw mut (*start).headers).cast(),
                N as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        usize::try_from(count).map_err(|_| errno())
    }

    /// Sends messages `first .. first + count` without waiting; returns how many the kernel took,
    /// or the error of the first. Panics when out of bounds.
    #[inline]
    pub(super) fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        first: usize,
        count: usize,
    ) -> Result<usize, i32> {
        assert!(first < N && count <= N - first);
        let start = self.memory.as_ptr();
        // SAFETY: `count` linked headers from `first` on, in bounds; the memory is exclusively
        // borrowed for the call.
        let taken = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                &raw mut (*start).headers[first],
                count as libc::c_uint,
                (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
            )
        };
        usize::try_from(taken).map_err(|_| errno())
    }
}

impl<const N: usize> Drop for Messages<N> {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, dropped once; the structures need no drop.
        unsafe { dealloc(self.memory.as_ptr().cast(), Self::LAYOUT) };
    }
}

/// What the kernel says of one received datagram.
pub(super) struct Received {
    pub(super) length: usize,
    pub(super) from: SocketAddrV4,
    pub(super) truncated: bool,
}

fn errno() -> i32 {
    // Reads errno only; allocates nothing.
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

#[inline]
fn to_kernel(address: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
        sin_zero: [0; 8],
    }
}

#[inline]
fn from_kernel(address: &libc::sockaddr_in) -> SocketAddrV4 {
    SocketAddrV4::new(
        Ipv4Addr::from(address.sin_addr.s_addr.to_ne_bytes()),
        u16::from_be(address.sin_port),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_kernel_shape() {
        for text in ["127.0.0.1:1", "239.1.2.3:65535", "0.0.0.0:0"] {
            let address: SocketAddrV4 = text.parse().unwrap();
            assert_eq!(from_kernel(&to_kernel(address)), address);
        }
        // Network byte order in memory (ip(7)).
        assert_eq!(to_kernel("1.2.3.4:258".parse().unwrap()).sin_port.to_ne_bytes(), [1, 2]);
    }
}
