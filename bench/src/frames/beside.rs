//! What else lives on the interface and must not notice: a TCP connection and ping, each looked at all
//! the time, from the attacker's own host.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::mem::size_of;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// One message of the connection may take so long: what TCP needs to send again several times.
const DEADLINE: Duration = Duration::from_secs(5);
/// Time between two messages, and between two pings.
const PAUSE: Duration = Duration::from_millis(5);

/// What was seen.
#[derive(Clone, Copy, Default, Debug)]
pub struct Seen {
    pub sent: u64,
    pub answered: u64,
    pub worst: Duration,
}

/// Answers every connection with what it says, for ever. Prints its port.
#[allow(clippy::disallowed_methods)] // a tool that tells its caller where it listens
pub fn serve(ip: Ipv4Addr) -> Result<()> {
    let listener = TcpListener::bind((ip, 0))?;
    println!("{}", listener.local_addr()?.port());
    for connection in listener.incoming() {
        let mut connection = connection?;
        std::thread::spawn(move || -> Result<()> {
            connection.set_nodelay(true)?;
            let mut bytes = [0; 4_096];
            loop {
                match connection.read(&mut bytes)? {
                    0 => return Ok(()),
                    length => connection.write_all(&bytes[..length])?,
                }
            }
        });
    }
    Ok(())
}

/// One connection from beginning to end: each message comes back as it was before the next one leaves.
/// Err: it broke, or was silent for too long.
#[allow(clippy::disallowed_methods)] // times are told, and a deadline is what is asked for
pub fn converse(to: SocketAddrV4, stop: &AtomicBool) -> Result<Seen> {
    let mut connection = TcpStream::connect(to)?;
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(DEADLINE))?;
    let mut seen = Seen::default();
    while !stop.load(Ordering::Relaxed) {
        let number = seen.sent.to_le_bytes();
        let begun = Instant::now();
        connection.write_all(&number)?;
        seen.sent += 1;
        let mut back = [0; 8];
        connection.read_exact(&mut back).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => Error::other(format!("message {} in vain", seen.sent)),
            _ => error,
        })?;
        if back != number {
            return Err(Error::other(format!("message {} came back as another", seen.sent)));
        }
        seen.answered += 1;
        seen.worst = seen.worst.max(begun.elapsed());
        std::thread::sleep(PAUSE);
    }
    Ok(seen)
}

/// ICMP echo, one at a time. Needs root.
#[allow(clippy::disallowed_methods)] // as above
pub fn ping(to: Ipv4Addr, stop: &AtomicBool) -> Result<Seen> {
    // SAFETY: plain integers.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP) };
    if fd < 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else owns.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(to.octets()) },
        sin_zero: [0; 8],
    };
    let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes of an address that lives through the call.
    let bound = unsafe { libc::connect(fd, std::ptr::from_ref(&address).cast(), length) };
    if bound != 0 {
        return Err(Error::last_os_error());
    }
    let mut seen = Seen::default();
    while !stop.load(Ordering::Relaxed) {
        let id = [b'r', b'x'];
        let mut request = [8, 0, 0, 0, id[0], id[1], 0, 0];
        request[6..].copy_from_slice(&(seen.sent as u16).to_be_bytes());
        let sum: u32 = request.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
        let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
        request[2..4].copy_from_slice(&checksum.to_be_bytes());
        let begun = Instant::now();
        // SAFETY: the kernel reads as many bytes as the request has.
        unsafe { libc::send(socket.as_raw_fd(), request.as_ptr().cast(), request.len(), 0) };
        seen.sent += 1;
        while begun.elapsed() < DEADLINE {
            let mut poll =
                libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            let mut answer = [0u8; 1_600];
            // SAFETY: one entry that lives through the call; a buffer with its length.
            let got = unsafe {
                libc::poll(&raw mut poll, 1, 100);
                let (to, room) = (answer.as_mut_ptr().cast(), answer.len());
                libc::recv(socket.as_raw_fd(), to, room, libc::MSG_DONTWAIT)
            };
            // Behind the IPv4 header: echo reply, our id, this number.
            if got >= 28 && answer[20] == 0 && answer[24..28] == request[4..8] {
                seen.answered += 1;
                seen.worst = seen.worst.max(begun.elapsed());
                break;
            }
        }
        std::thread::sleep(PAUSE);
    }
    Ok(seen)
}
