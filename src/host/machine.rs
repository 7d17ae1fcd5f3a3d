//! What only this process can find out: limits, capabilities, the clock, sockets, file systems.
//!
//! Plain facts, so that tests write them down instead of having the host.

use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// A file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Room {
    /// Bytes in all.
    pub total: u64,
    /// Bytes free for this user.
    pub free: u64,
    /// In memory: tmpfs or hugetlbfs.
    pub memory: bool,
}

/// How well the wall clock is kept. Source: adjtimex(2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClockState {
    /// Something disciplines it.
    pub synchronised: bool,
    /// Bound of its error, us.
    pub error_us_max: i64,
    /// What is still to be slewed, ns.
    pub offset_ns: i64,
}

/// Facts of this process and host. An `Err` is the reason it could not be found out.
#[derive(Clone, Debug)]
pub struct Machine {
    /// `uname -r`.
    pub kernel: String,
    /// Effective user.
    pub user: u32,
    /// RLIMIT_MEMLOCK, bytes; `u64::MAX` = no limit.
    pub memlock: u64,
    /// Effective capabilities, one bit each (linux/capability.h); see [`Capability`].
    pub capabilities: Result<u64, String>,
    /// An AF_XDP socket can be made and asked to be polled: by doing it.
    pub xdp_socket: Result<(), String>,
    /// SO_RCVBUF that a socket of this process gets when it asks for 16 MiB, bytes.
    pub receive_buffer: Result<u64, String>,
    /// The wall clock.
    pub clock: Result<ClockState, String>,
    /// File system of the hot tier.
    pub hot: Result<Room, String>,
    /// Bytes that the hot tier's directory has already.
    pub hot_used: u64,
    /// File system of the data directory.
    pub data: Result<Room, String>,
    /// Address of each IPv4 interface.
    pub interfaces: Vec<(String, std::net::Ipv4Addr)>,
}

/// A capability that the venue can use. The number is its bit. Source: linux/capability.h.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Capability {
    /// Attach an XDP program, prefer busy polling, large socket buffers.
    NetAdmin = 12,
    /// Open a raw socket: AF_XDP.
    NetRaw = 13,
    /// Lock memory beyond the limit.
    IpcLock = 14,
    /// Real-time scheduling.
    SysNice = 23,
    /// Load an XDP program.
    Bpf = 39,
}

impl Capability {
    /// All, as the unit file grants them.
    pub const ALL: [(Capability, &'static str); 5] = [
        (Capability::NetRaw, "CAP_NET_RAW"),
        (Capability::NetAdmin, "CAP_NET_ADMIN"),
        (Capability::Bpf, "CAP_BPF"),
        (Capability::IpcLock, "CAP_IPC_LOCK"),
        (Capability::SysNice, "CAP_SYS_NICE"),
    ];
}

impl Machine {
    /// Of this process on this host. `hot` and `data` need not exist: the nearest directory above
    /// them is asked.
    pub fn here(hot: &Path, data: &Path) -> Machine {
        Machine {
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|e| format!("unknown ({e})"), |t| t.trim().to_string()),
            // SAFETY: no arguments, no failure.
            user: unsafe { libc::geteuid() },
            memlock: memlock(),
            capabilities: capabilities(),
            xdp_socket: xdp_socket(),
            receive_buffer: receive_buffer().map_err(|e| e.to_string()),
            clock: clock().map_err(|e| e.to_string()),
            hot: room(hot).map_err(|e| e.to_string()),
            hot_used: used(hot, 0),
            data: room(data).map_err(|e| e.to_string()),
            interfaces: interfaces(),
        }
    }

    /// Whether this process has it; `None` when that is unknown.
    pub fn has(&self, capability: Capability) -> Option<bool> {
        self.capabilities.as_ref().ok().map(|bits| bits >> capability as u32 & 1 == 1)
    }

    /// Interface that has an address; a wildcard address has none.
    pub fn interface_of(&self, address: std::net::Ipv4Addr) -> Option<&str> {
        self.interfaces.iter().find(|(_, a)| *a == address).map(|(name, _)| name.as_str())
    }
}

fn memlock() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel fills the structure that we own.
    match unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) } {
        0 => limit.rlim_cur,
        _ => 0,
    }
}

fn capabilities() -> Result<u64, String> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(|e| e.to_string())?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .ok_or_else(|| "/proc/self/status has no CapEff".to_string())
}

fn xdp_socket() -> Result<(), String> {
    use std::os::fd::{FromRawFd, OwnedFd};
    // SAFETY: no pointers; the result is checked.
    let fd = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        let error = io::Error::last_os_error();
        return Err(match error.raw_os_error() {
            Some(libc::EAFNOSUPPORT) => "this kernel has no AF_XDP (CONFIG_XDP_SOCKETS)".into(),
            Some(libc::EPERM) => "this process may not open raw sockets (CAP_NET_RAW)".into(),
            _ => error.to_string(),
        });
    }
    // SAFETY: a descriptor just made, owned by nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let on: libc::c_int = 1;
    // SAFETY: the option takes one int, which lives through the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PREFER_BUSY_POLL,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(format!("SO_PREFER_BUSY_POLL: {}", io::Error::last_os_error())),
    }
}

/// Receive buffer that is asked for: [`super::doctor`]'s row of rmem_max wants as much.
pub const RECEIVE_BUFFER_WANTED: usize = 16 << 20;

fn receive_buffer() -> io::Result<u64> {
    let kind = socket2::Type::DGRAM;
    let socket = socket2::Socket::new(socket2::Domain::IPV4, kind, None)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER_WANTED)?;
    // The kernel tells twice what it grants: socket(7), SO_RCVBUF.
    Ok(socket.recv_buffer_size()? as u64 / 2)
}

fn clock() -> io::Result<ClockState> {
    // SAFETY: zeroes are a valid value of this plain C structure; modes 0 changes nothing.
    let mut time: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel fills the structure that we own.
    let state = unsafe { libc::adjtimex(&raw mut time) };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    let nano = time.status & libc::STA_NANO != 0;
    Ok(ClockState {
        synchronised: state != libc::TIME_ERROR && time.status & libc::STA_UNSYNC == 0,
        error_us_max: time.maxerror,
        offset_ns: time.offset * if nano { 1 } else { 1_000 },
    })
}

/// The file system of `path`, or of the nearest directory above it that exists.
fn room(path: &Path) -> io::Result<Room> {
    const TMPFS: i64 = 0x0102_1994; // linux/magic.h
    const HUGETLBFS: i64 = 0x9584_58f6;
    let mut place = std::path::absolute(path)?;
    while !place.exists() && place.pop() {}
    let file = std::fs::File::open(&place)?;
    // SAFETY: zeroes are a valid value; the kernel fills the structure that we own.
    let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the same structure, and a descriptor that lives through the call.
    if unsafe { libc::fstatfs(file.as_raw_fd(), &raw mut stat) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let block = u64::try_from(stat.f_bsize).unwrap_or(4_096);
    let kind = stat.f_type as i64;
    Ok(Room {
        total: block.saturating_mul(stat.f_blocks),
        free: block.saturating_mul(stat.f_bavail),
        memory: kind == TMPFS || kind == HUGETLBFS,
    })
}

/// Bytes allocated below a directory, at most eight levels down.
fn used(dir: &Path, depth: u32) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let mut bytes = 0;
    for entry in entries.flatten() {
        match entry.metadata() {
            Ok(meta) if meta.is_dir() && depth < 8 => bytes += used(&entry.path(), depth + 1),
            Ok(meta) => bytes += meta.blocks() * 512,
            Err(_) => {} // removed meanwhile
        }
    }
    bytes
}

fn interfaces() -> Vec<(String, std::net::Ipv4Addr)> {
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: getifaddrs gives a list that is ours until freeifaddrs, below.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut next = list;
    while !next.is_null() {
        // SAFETY: a node of the list, which lives until freeifaddrs; names end with a zero; an
        // address of family AF_INET is a sockaddr_in.
        unsafe {
            let node = &*next;
            if !node.ifa_addr.is_null() && (*node.ifa_addr).sa_family == libc::AF_INET as u16 {
                let name = std::ffi::CStr::from_ptr(node.ifa_name).to_string_lossy().into_owned();
                let address = &*node.ifa_addr.cast::<libc::sockaddr_in>();
                found.push((name, u32::from_be(address.sin_addr.s_addr).into()));
            }
            next = node.ifa_next;
        }
    }
    // SAFETY: the list of getifaddrs above, freed once; nothing of it is kept.
    unsafe { libc::freeifaddrs(list) };
    found
}

/// What the nearest existing directory of a path is: for messages.
pub fn anchor(path: &Path) -> PathBuf {
    let mut place = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    while !place.exists() && place.pop() {}
    place
}
