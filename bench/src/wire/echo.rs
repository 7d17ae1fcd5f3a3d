//! Rows a and b: the kernel's sockets, and a server that sends each datagram back.

use std::net::{SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rialto::net::{Port, UdpPort};

use crate::frames::wire::set;

/// What the kernel may keep for the blocking server, as for the ports of the venue.
const BUFFER_BYTES: libc::c_int = 8 << 20;
/// How long a blocked server does not see that it shall stop.
const LOOK: Duration = Duration::from_millis(20);

/// Row a: waits in the kernel for each datagram.
pub fn blocking(at: SocketAddrV4, stop: &AtomicBool, ready: impl FnOnce()) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("echo at {at}: {e}");
    let socket = UdpSocket::bind(at).map_err(failed)?;
    socket.set_read_timeout(Some(LOOK)).map_err(failed)?;
    // As row b has: without a CPU for 30 ms it would lose orders of the lowest rate.
    set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &BUFFER_BYTES).map_err(failed)?;
    ready();
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            // The client finds out what is missing.
            let _ = socket.send_to(&buffer[..length], from);
        }
    }
    Ok(())
}

/// Row b: asks again and again, never waits; the venue's own way through the kernel.
pub fn spinning(at: SocketAddrV4, stop: &AtomicBool, ready: impl FnOnce()) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("echo at {at}: {e}");
    let mut from_clients = UdpPort::bind(at).map_err(failed)?;
    let mut to_clients = from_clients.try_clone().map_err(failed)?;
    ready();
    while !stop.load(Ordering::Relaxed) {
        from_clients.receive(|bytes, from| {
            to_clients.send(from, |out| {
                out[..bytes.len()].copy_from_slice(bytes);
                bytes.len()
            });
        });
        to_clients.flush();
    }
    Ok(())
}
