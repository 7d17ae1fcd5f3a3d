//! Two hosts that are none, and a wire between them: network namespaces of this process with a veth
//! pair. For demo, benchmarks and tests; needs root and `ip` (iproute2).
//!
//! The namespaces have no names, only descriptors: they and the wire vanish with the last process
//! that is in them, however it ends.

use std::fs::File;
use std::io::{Error, Result};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::process::Command;
use std::time::Duration;

/// Name of the interface, on both sides.
pub const INTERFACE: &str = "wire0";

/// Tries of 2 ms each until the first datagram must have passed.
const TRIES: usize = 5_000;

/// One end.
pub struct Side {
    namespace: File,
    /// Its address, of a network of 24 bits.
    pub ip: Ipv4Addr,
}

/// Both ends.
pub struct Wire {
    /// Clients' side: 10.77.0.1.
    pub clients: Side,
    /// Exchange's side: 10.77.0.2.
    pub exchange: Side,
}

impl Wire {
    /// Makes both hosts and the wire. Err says what is missing.
    pub fn new() -> Result<Wire> {
        let side = |ip| Ok::<_, Error>(Side { namespace: namespace()?, ip });
        let clients = side(Ipv4Addr::new(10, 77, 0, 1))?;
        let exchange = side(Ipv4Addr::new(10, 77, 0, 2))?;
        let peer = format!("/proc/{}/fd/{}", std::process::id(), exchange.fd());
        let mac = |ip: Ipv4Addr| format!("02:00:0a:4d:00:{:02x}", ip.octets()[3]);
        clients.ip(&format!(
            "link add {INTERFACE} address {} type veth peer name {INTERFACE} address {} netns {peer}",
            mac(clients.ip),
            mac(exchange.ip)
        ))?;
        for (here, there) in [(&clients, &exchange), (&exchange, &clients)] {
            here.ip("link set lo up")?;
            here.ip(&format!("address add {}/24 dev {INTERFACE}", here.ip))?;
            here.ip(&format!("link set {INTERFACE} up"))?;
            here.ip(&format!("route add 224.0.0.0/4 dev {INTERFACE}"))?;
            let (ip, mac) = (there.ip, mac(there.ip));
            here.ip(&format!("neighbour replace {ip} lladdr {mac} dev {INTERFACE}"))?;
        }
        let wire = Wire { clients, exchange };
        wire.warm_up(&wire.clients, &wire.exchange)?;
        wire.warm_up(&wire.exchange, &wire.clients)?;
        Ok(wire)
    }

    /// Waits until datagrams pass: an interface that has just come up drops in silence for a while.
    fn warm_up(&self, from: &Side, to: &Side) -> Result<()> {
        let receiver = to.run(|| UdpSocket::bind((to.ip, 0)))??;
        let sender = from.run(|| UdpSocket::bind((from.ip, 0)))??;
        receiver.set_read_timeout(Some(Duration::from_millis(2)))?;
        let address = receiver.local_addr()?;
        for _ in 0..TRIES {
            let _not_yet = sender.send_to(b"up", address);
            if receiver.recv(&mut [0; 8]).is_ok() {
                return Ok(());
            }
        }
        Err(Error::other("no datagram passes the veth pair"))
    }
}

impl Side {
    /// Descriptor of its namespace, open as long as this lives.
    pub fn fd(&self) -> RawFd {
        self.namespace.as_raw_fd()
    }

    /// Moves the calling thread, and those that it will start, to this host for good.
    pub fn enter(&self) -> Result<()> {
        enter(self.fd())
    }

    /// Runs `job` on a thread of this host.
    pub fn run<R: Send>(&self, job: impl FnOnce() -> R + Send) -> Result<R> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| self.enter().map(|()| job()));
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn ip(&self, words: &str) -> Result<()> {
        let output = self.run(|| Command::new("ip").args(words.split_whitespace()).output())?;
        let output = output.map_err(|error| {
            Error::other(format!("cannot run `ip`: {error}; mend: apt-get install iproute2"))
        })?;
        if output.status.success() {
            return Ok(());
        }
        let why = String::from_utf8_lossy(&output.stderr).trim().to_string();
        Err(Error::other(format!("ip {words}: {why}")))
    }
}

/// Has `command` run on the host whose namespace `fd` is; the descriptor must be open when it starts.
pub fn place(command: &mut Command, fd: RawFd) {
    use std::os::unix::process::CommandExt;
    // SAFETY: between fork and exec it makes one system call and touches no memory of others.
    unsafe { command.pre_exec(move || enter(fd)) };
}

/// Moves the calling thread.
fn enter(fd: RawFd) -> Result<()> {
    // SAFETY: plain integers; changes this thread only.
    match unsafe { libc::setns(fd, libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(Error::last_os_error()),
    }
}

/// A new network namespace, held by its descriptor alone.
fn namespace() -> Result<File> {
    let made = std::thread::spawn(|| {
        // SAFETY: plain integers; changes this thread only, which ends at once.
        match unsafe { libc::unshare(libc::CLONE_NEWNET) } {
            0 => File::open("/proc/thread-self/ns/net"),
            _ => {
                let error = Error::last_os_error();
                Err(Error::new(error.kind(), format!("no network namespace: {error}; needs root")))
            }
        }
    });
    made.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
