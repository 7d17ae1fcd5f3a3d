//! Opening UDP sockets: buffers, binding, multicast. Cold; errors name the address.

use std::io::{Error, Result};
use std::mem::size_of;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;

use socket2::{Domain, Protocol, Socket, Type};

/// Socket buffers asked for: 8 MiB hold about 4,000 datagrams of 1,472 bytes (the kernel charges
/// about 2 KiB each), a burst of 20 ms at 200,000/s.
pub(super) const BUFFER_BYTES_WANTED: usize = 8 << 20;

/// Unicast socket at `address`. The port must be free: no SO_REUSEADDR, so that a second server
/// on the same port is refused instead of stealing datagrams.
pub(super) fn unicast(address: SocketAddrV4) -> Result<Socket> {
    let at = |error| named(error, format_args!("UDP bind to {address}"));
    let socket = new_socket().map_err(at)?;
    socket.bind(&address.into()).map_err(at)?;
    Ok(socket)
}

/// Socket that sends to groups through the interface that has address `interface`; local
/// receivers hear it too (IP_MULTICAST_LOOP).
pub(super) fn multicast_sender(interface: Ipv4Addr, ttl: u32) -> Result<Socket> {
    let at = |error| named(error, format_args!("multicast sender on interface {interface}"));
    let socket = new_socket().map_err(at)?;
    socket.set_multicast_if_v4(&interface).map_err(at)?;
    socket.set_multicast_loop_v4(true).map_err(at)?;
    socket.set_multicast_ttl_v4(ttl).map_err(at)?;
    socket.bind(&SocketAddrV4::new(interface, 0).into()).map_err(at)?;
    Ok(socket)
}

/// Socket that receives what is sent to `group` and arrives on the interface that has address
/// `interface`. Bound to the group's address, so that nothing else on the same port is heard;
/// SO_REUSEADDR, so that several receivers of one host can join.
pub(super) fn join(group: SocketAddrV4, interface: Ipv4Addr) -> Result<Socket> {
    let at = |error| named(error, format_args!("join of {group} on interface {interface}"));
    if !group.ip().is_multicast() {
        return Err(Error::new(
            std::io::ErrorKind::InvalidInput,
            format!("join of {group}: not a multicast address (224.0.0.0/4)"),
        ));
    }
    let socket = new_socket().map_err(at)?;
    socket.set_reuse_address(true).map_err(at)?;
    socket.bind(&group.into()).map_err(at)?;
    socket.join_multicast_v4(group.ip(), &interface).map_err(at)?;
    Ok(socket)
}

/// The socket's own address; an error when it is not IPv4 cannot happen for sockets of this file.
pub(super) fn local_address(socket: &Socket) -> Result<SocketAddrV4> {
    socket
        .local_addr()?
        .as_socket_ipv4()
        .ok_or_else(|| Error::other("local address of a UDP socket is not IPv4"))
}

fn new_socket() -> Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    grow_buffer(&socket, libc::SO_RCVBUFFORCE);
    grow_buffer(&socket, libc::SO_SNDBUFFORCE);
    // Without the privilege: what net.core.rmem_max and wmem_max allow. The kernel cuts the wish
    // silently; a refusal leaves its default, and the owner can read what was granted.
    if socket.recv_buffer_size()? < BUFFER_BYTES_WANTED {
        let _ = socket.set_recv_buffer_size(BUFFER_BYTES_WANTED);
    }
    if socket.send_buffer_size()? < BUFFER_BYTES_WANTED {
        let _ = socket.set_send_buffer_size(BUFFER_BYTES_WANTED);
    }
    Ok(socket)
}

/// SO_RCVBUFFORCE or SO_SNDBUFFORCE (socket(7)): beyond the limits, with CAP_NET_ADMIN; without
/// it a refusal that does no harm.
fn grow_buffer(socket: &Socket, option: libc::c_int) {
    let wanted = BUFFER_BYTES_WANTED as libc::c_int;
    // SAFETY: the option takes one int, which lives through the call.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const wanted).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        );
    }
}

/// Datagrams that the kernel threw away at this socket since it was opened (receive buffer full,
/// bad checksum); 0 when it does not say. Source: linux/sock_diag.h, SO_MEMINFO.
pub(super) fn kernel_receive_drops(socket: &Socket) -> u64 {
    /// SK_MEMINFO_VARS of linux/sock_diag.h.
    const VALUES: usize = 9;
    /// SK_MEMINFO_DROPS.
    const DROPS: usize = 8;
    let mut values = [0u32; VALUES];
    let mut bytes = size_of::<[u32; VALUES]>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `bytes` bytes to `values` and the written length to
    // `bytes`; both live through the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            values.as_mut_ptr().cast(),
            &mut bytes,
        )
    };
    if result == 0 { u64::from(values[DROPS]) } else { 0 }
}

fn named(error: Error, what: std::fmt::Arguments<'_>) -> Error {
    Error::new(error.kind(), format!("{what}: {error}"))
}
