//! The XDP program: which datagrams leave the kernel's path for our sockets.
//!
//! Everything that is not exactly an IPv4/UDP datagram for one of a few destinations goes on to the
//! kernel as if we were not there: ARP, ping, TCP, IP options, fragments. So do ours while a queue
//! has no socket. The program is assembled at run time (`assemble`), needs no compiler on the
//! host, and is attached with a BPF link: when the process ends, however it ends, it is gone.

mod assemble;
mod link;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use crate::abi;
use crate::error::{Error, Result};
use crate::socket::Socket;
use crate::sys;

pub use link::{Attach, Link};

/// Most destinations of a [`Filter`]: the program compares them one after the other.
pub const DESTINATIONS_MAX: usize = 16;

/// What leaves the kernel's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    destinations: Vec<SocketAddrV4>,
    vlan: Option<u16>,
}

impl Filter {
    /// UDP datagrams to any of `destinations` (addresses of this host, or multicast groups), 1 to
    /// [`DESTINATIONS_MAX`] of them. With `vlan` (0..=4094) also those that carry one 802.1Q tag
    /// with this id, whatever its priority.
    ///
    /// A tag is seen only when it is in the frame: `ethtool -K IF rxvlan off`, or the NIC strips it
    /// and frames of all VLANs look untagged.
    pub fn new(destinations: &[SocketAddrV4], vlan: Option<u16>) -> Result<Filter> {
        if destinations.is_empty() || destinations.len() > DESTINATIONS_MAX {
            let problem = format!("{} is not 1..={DESTINATIONS_MAX}", destinations.len());
            return Err(Error::config("destinations", problem));
        }
        for (i, to) in destinations.iter().enumerate() {
            let broadcast = *to.ip() == Ipv4Addr::BROADCAST;
            if to.port() == 0 || to.ip().is_unspecified() || broadcast {
                return Err(Error::config("destinations", format!("{to}: needs address and port")));
            }
            if destinations[..i].contains(to) {
                return Err(Error::config("destinations", format!("{to} stands there twice")));
            }
        }
        if let Some(id) = vlan
            && id > 4094
        {
            return Err(Error::config("vlan", format!("{id} is not 0..=4094")));
        }
        Ok(Filter { destinations: destinations.to_vec(), vlan })
    }

    /// The destinations.
    pub fn destinations(&self) -> &[SocketAddrV4] {
        &self.destinations
    }

    /// Id of the VLAN whose tagged frames are taken too.
    pub fn vlan(&self) -> Option<u16> {
        self.vlan
    }

    /// Whether a datagram to `destination` under `vlan` (None: no tag) is taken.
    #[inline]
    pub fn accepts(&self, destination: SocketAddrV4, vlan: Option<u16>) -> bool {
        (vlan.is_none() || vlan == self.vlan) && self.destinations.contains(&destination)
    }
}

/// What a program said about a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// On to the kernel's stack.
    Pass,
    /// To the socket of its queue.
    Redirect,
    /// Any other number (`enum xdp_action`): this crate's program never says so.
    Other(u32),
}

/// The program in the kernel with its map from queues to sockets. Sockets leave the map by
/// themselves when they are closed.
#[derive(Debug)]
pub struct Program {
    program: OwnedFd,
    map: OwnedFd,
    queues: u32,
}

impl Program {
    /// Loads the program for `filter` with a map of `queues` places. Needs `CAP_BPF` and
    /// `CAP_NET_ADMIN`.
    pub fn load(filter: &Filter, queues: u32) -> Result<Program> {
        if queues == 0 || queues > 4096 {
            return Err(Error::config("queues", format!("{queues} is not 1..=4096")));
        }
        let mut attributes = abi::MapCreate {
            map_type: abi::BPF_MAP_TYPE_XSKMAP,
            key_size: 4,
            value_size: 4,
            max_entries: queues,
            map_name: *b"af_xdp_sockets\0\0",
            ..Default::default()
        };
        // SAFETY: no addresses in these attributes.
        let map = unsafe { sys::bpf_fd(abi::BPF_MAP_CREATE, &mut attributes) }
            .map_err(|error| denied(error, "making a map of sockets"))?;
        let instructions = assemble::program(filter, map.as_raw_fd());
        let program = load(&instructions)?;
        Ok(Program { program, map, queues })
    }

    /// Lets frames that match and arrive on the socket's queue go to `socket`.
    pub fn insert(&self, socket: &Socket) -> Result<()> {
        self.insert_fd(socket.queue(), socket.as_fd().as_raw_fd())
    }

    fn insert_fd(&self, queue: u32, fd: libc::c_int) -> Result<()> {
        if queue >= self.queues {
            return Err(Error::config("queue", format!("{queue} is not below {}", self.queues)));
        }
        let mut attributes = abi::MapUpdate {
            map_fd: self.map.as_raw_fd() as u32,
            key: std::ptr::from_ref(&queue) as u64,
            value: std::ptr::from_ref(&fd) as u64,
            ..Default::default()
        };
        // SAFETY: key and value are 4 bytes each, as the map was made, and live through the call.
        unsafe { sys::bpf(abi::BPF_MAP_UPDATE_ELEM, &mut attributes) }
            .map_err(|error| Error::os("entering a socket for", format!("queue {queue}"), error))?;
        Ok(())
    }

    /// Runs the program on `frame` (14 bytes or more) as if it had arrived on queue 0, without any
    /// interface (`BPF_PROG_TEST_RUN`): for tests of filters.
    pub fn test(&self, frame: &[u8]) -> Result<Verdict> {
        let mut attributes = abi::TestRun {
            prog_fd: self.program.as_raw_fd() as u32,
            data_size_in: frame.len() as u32,
            data_in: frame.as_ptr() as u64,
            repeat: 1,
            ..Default::default()
        };
        // SAFETY: the kernel reads `data_size_in` bytes of the frame and writes only attributes.
        unsafe { sys::bpf(abi::BPF_PROG_TEST_RUN, &mut attributes) }
            .map_err(|error| Error::os("running", "the XDP program on a frame", error))?;
        Ok(match attributes.retval {
            abi::XDP_PASS => Verdict::Pass,
            abi::XDP_REDIRECT => Verdict::Redirect,
            other => Verdict::Other(other),
        })
    }

    /// Puts an unbound socket in place 0, so that [`Program::test`] says `Redirect` for frames that
    /// match: with an empty map, they pass. Holds as long as the value lives. Needs `CAP_NET_RAW`.
    pub fn insert_for_test(&self) -> Result<TestSocket> {
        let socket = sys::socket(libc::AF_XDP, libc::SOCK_RAW, 0)
            .map_err(|error| Error::os("opening a socket for", "a test of the program", error))?;
        self.insert_fd(0, socket.as_raw_fd())?;
        Ok(TestSocket { _socket: socket })
    }
}

/// See [`Program::insert_for_test`].
#[derive(Debug)]
pub struct TestSocket {
    _socket: OwnedFd,
}

/// Loads instructions; on refusal once more, to get the verifier's words.
fn load(instructions: &[u64]) -> Result<OwnedFd> {
    let first = match try_load(instructions, &mut []) {
        Ok(program) => return Ok(program),
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            return Err(denied(error, "loading an XDP program"));
        }
        Err(error) => error,
    };
    let mut log = vec![0; 64 << 10];
    match try_load(instructions, &mut log) {
        Ok(program) => Ok(program), // an interrupted first attempt
        Err(_) => {
            let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
            let text = String::from_utf8_lossy(&log[..end]);
            Err(Error::Verifier { log: format!("{first}\n{text}") })
        }
    }
}

fn try_load(instructions: &[u64], log: &mut [u8]) -> std::io::Result<OwnedFd> {
    let mut attributes = abi::ProgLoad {
        prog_type: abi::BPF_PROG_TYPE_XDP,
        insn_cnt: instructions.len() as u32,
        insns: instructions.as_ptr() as u64,
        license: c"Dual MIT/GPL".as_ptr() as u64,
        log_level: u32::from(!log.is_empty()),
        log_size: log.len() as u32,
        log_buf: if log.is_empty() { 0 } else { log.as_mut_ptr() as u64 },
        prog_name: *b"af_xdp_filter\0\0\0",
        expected_attach_type: abi::BPF_ATTACH_TYPE_XDP,
        ..Default::default()
    };
    // SAFETY: instructions, licence and log live through the call, and their sizes are theirs.
    unsafe { sys::bpf_fd(abi::BPF_PROG_LOAD, &mut attributes) }
}

/// EPERM as the capability that is missing.
fn denied(error: std::io::Error, operation: &'static str) -> Error {
    if error.raw_os_error() != Some(libc::EPERM) {
        return Error::os(operation, "", error);
    }
    let bpf = sys::has_capability(abi::CAP_BPF) || sys::has_capability(abi::CAP_SYS_ADMIN);
    let capability = match bpf {
        false => "CAP_BPF",
        true if !sys::has_capability(abi::CAP_NET_ADMIN) => "CAP_NET_ADMIN",
        true => "CAP_BPF and CAP_NET_ADMIN of the host's own user namespace",
    };
    Error::MissingCapability { capability, operation }
}

#[cfg(test)]
mod tests;
