//! The attacker's end of the wire, and what its kernel and the other end's count: a socket that sends
//! whole frames, one that listens to what others on this host send, the interfaces' statistics.

use std::fs::File;
use std::io::{Error, Result};
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Frames of one system call.
pub const BATCH: usize = 64;
/// Mark of the attacker's frames in this host's kernel, so that the listener knows them.
const MARK: u32 = 0x52;

fn failed(result: i32) -> Result<i32> {
    if result < 0 { Err(Error::last_os_error()) } else { Ok(result) }
}

/// setsockopt(2).
pub fn set<T>(socket: &impl AsRawFd, level: i32, name: i32, value: &T) -> Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes of a value that lives through the call.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), length)
    };
    failed(result).map(drop)
}

/// A packet socket on `interface`; `protocol` 0 receives nothing.
fn packet_socket(interface: &str, protocol: i32) -> Result<OwnedFd> {
    let name = std::ffi::CString::new(interface)?;
    // SAFETY: a string that ends with 0.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: plain integers.
    let fd = failed(unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0) })?;
    // SAFETY: a new descriptor that nobody else owns.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    if protocol != 0 {
        // Before it is bound: nothing may come in unfiltered.
        filter_others(&socket)?;
    }
    // SAFETY: integers only: all zeros is a value.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (protocol as u16).to_be();
    address.sll_ifindex = index as i32;
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes of an address that lives through the call.
    failed(unsafe { libc::bind(socket.as_raw_fd(), std::ptr::from_ref(&address).cast(), length) })?;
    Ok(socket)
}

/// Lets through what this host sends and the attacker did not. Classic BPF, linux/filter.h.
fn filter_others(socket: &OwnedFd) -> Result<()> {
    const LOAD: u16 = 0x20;
    const JUMP_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    /// `SKF_AD_OFF`: what is not in the frame is found from here.
    const BESIDE: u32 = -0x1000_i32 as u32;
    const PACKET_TYPE: u32 = BESIDE + 4;
    const PACKET_MARK: u32 = BESIDE + 20;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut steps = [
        step(LOAD, 0, 0, PACKET_MARK),
        step(JUMP_EQUAL, 3, 0, MARK),
        step(LOAD, 0, 0, PACKET_TYPE),
        step(JUMP_EQUAL, 0, 1, u32::from(libc::PACKET_OUTGOING)),
        step(RETURN, 0, 0, 4_096),
        step(RETURN, 0, 0, 0),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    set(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// Sends frames as they are.
pub struct Sender {
    socket: OwnedFd,
}

impl Sender {
    pub fn open(interface: &str) -> Result<Sender> {
        let socket = packet_socket(interface, 0)?;
        set(&socket, libc::SOL_SOCKET, libc::SO_MARK, &MARK)?;
        Ok(Sender { socket })
    }

    /// Sends every frame, at most [`BATCH`]. What the wire does not take is not sent again.
    pub fn send(&self, frames: &[Vec<u8>]) -> Result<()> {
        // SAFETY: integers and null pointers: all zeros is a value.
        let mut parts: [libc::iovec; BATCH] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
        for (i, frame) in frames.iter().enumerate() {
            parts[i] =
                libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() };
            messages[i].msg_hdr.msg_iov = &raw mut parts[i];
            messages[i].msg_hdr.msg_iovlen = 1;
        }
        let mut done = 0;
        while done < frames.len() {
            let left = (frames.len() - done) as u32;
            // SAFETY: `left` messages from there on, whose parts are frames that live through the call;
            // the kernel only reads them.
            let sent = failed(unsafe {
                libc::sendmmsg(self.socket.as_raw_fd(), &raw mut messages[done], left, 0)
            });
            match sent {
                // A shorter count means that the next one failed: the wire did not take it, and counted
                // it (`tx_dropped`). Sent again it would be counted twice.
                Ok(count) => done += count as usize + usize::from((count as u32) < left),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => done += 1,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let length = frames[done].len();
                    return Err(Error::other(format!("a frame of {length} bytes: {error}")));
                }
            }
        }
        Ok(())
    }
}

/// Hears what everybody else on this host sends.
pub struct Listener {
    socket: OwnedFd,
    buffer: Box<[u8; 4_096]>,
}

impl Listener {
    pub fn open(interface: &str) -> Result<Listener> {
        let socket = packet_socket(interface, libc::ETH_P_ALL)?;
        set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &(64 << 20))?;
        Ok(Listener { socket, buffer: Box::new([0; 4_096]) })
    }

    /// The next frame, if one waits.
    pub fn next(&mut self) -> Option<&[u8]> {
        let (buffer, length) = (self.buffer.as_mut_ptr(), self.buffer.len());
        // SAFETY: the kernel writes at most `length` bytes into a buffer of that length.
        let got = unsafe {
            libc::recv(self.socket.as_raw_fd(), buffer.cast(), length, libc::MSG_DONTWAIT)
        };
        usize::try_from(got).ok().map(|got| &self.buffer[..got])
    }

    /// Frames that it was too slow for, since the last call.
    pub fn lost(&self) -> Result<u64> {
        let mut told = [0u32; 2]; // struct tpacket_stats: packets, drops
        let mut length = size_of::<[u32; 2]>() as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` bytes into a buffer of that length.
        failed(unsafe {
            let (fd, to) = (self.socket.as_raw_fd(), told.as_mut_ptr().cast());
            libc::getsockopt(fd, libc::SOL_PACKET, libc::PACKET_STATISTICS, to, &raw mut length)
        })?;
        Ok(u64::from(told[1]))
    }
}

/// What the receiving interface's driver (veth) counts over all queues, since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Received {
    /// Frames that the program saw.
    pub seen: u64,
    /// Frames that went to a socket of AF_XDP.
    pub redirected: u64,
    /// Frames that could not: the socket had no room, or they were too long for it.
    pub dropped: u64,
}

/// The statistics of an interface in another network namespace.
pub struct Driver {
    socket: OwnedFd,
    interface: String,
    names: Vec<String>,
}

impl Driver {
    /// Of `interface` in the named namespace.
    pub fn open(namespace: &str, interface: &str) -> Result<Driver> {
        let socket = std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let place = File::open(format!("/run/netns/{namespace}"))?;
                // SAFETY: plain integers; changes this thread only, which ends below.
                failed(unsafe { libc::setns(place.as_raw_fd(), libc::CLONE_NEWNET) })?;
                // SAFETY: plain integers.
                let fd = failed(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0) })?;
                // SAFETY: a new descriptor that nobody else owns.
                Ok::<_, Error>(unsafe { OwnedFd::from_raw_fd(fd) })
            });
            inside.join().map_err(|_| Error::other("opening a socket panicked"))
        })??;
        let mut driver = Driver { socket, interface: interface.into(), names: Vec::new() };
        driver.names = driver.names()?;
        Ok(driver)
    }

    /// What it counts now. One system call.
    pub fn read(&self) -> Result<Received> {
        const VALUES: u32 = 0x1d; // ETHTOOL_GSTATS: command, count, then the values
        let count = self.names.len();
        let mut values = vec![0u64; 1 + count];
        values[0] = u64::from(VALUES) | (count as u64) << 32;
        self.ethtool(&mut values)?;
        let sum = |word: &str| {
            let all = self.names.iter().zip(&values[1..]);
            let of_queues = all.filter(|(name, _)| {
                let rest = name.strip_prefix("rx_queue_");
                rest.is_some_and(|r| r.trim_start_matches(|c: char| c.is_ascii_digit()) == word)
            });
            of_queues.map(|(_, value)| value).sum()
        };
        Ok(Received {
            seen: sum("_xdp_packets"),
            redirected: sum("_xdp_redirect"),
            dropped: sum("_drops") + sum("_xdp_drops"),
        })
    }

    /// Names of the statistics, in the order of their values.
    fn names(&self) -> Result<Vec<String>> {
        const COUNT: u32 = 0x37; // ETHTOOL_GSSET_INFO: command, reserved, mask u64, a u32 per set
        const STRINGS: u32 = 0x1b; // ETHTOOL_GSTRINGS: command, set, count, then the names
        const SET: u32 = 1; // ETH_SS_STATS
        const NAME: usize = 32;
        let mut count = vec![u64::from(COUNT), 1 << SET, 0];
        self.ethtool(&mut count)?;
        let count = count[2] as u32 as usize;
        let mut names = vec![0u64; 2 + count * NAME / 8];
        names[0] = u64::from(STRINGS) | u64::from(SET) << 32;
        names[1] = count as u64;
        self.ethtool(&mut names)?;
        let bytes: Vec<u8> = names.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let names = bytes[12..].chunks_exact(NAME).take(count);
        Ok(names
            .map(|name| {
                let end = name.iter().position(|byte| *byte == 0).unwrap_or(NAME);
                String::from_utf8_lossy(&name[..end]).into_owned()
            })
            .collect())
    }

    /// Source: linux/ethtool.h.
    fn ethtool(&self, words: &mut [u64]) -> Result<()> {
        const SIOCETHTOOL: libc::c_ulong = 0x8946;
        // SAFETY: integers, characters, a null pointer: all zeros is a value.
        let mut request: libc::ifreq = unsafe { zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(self.interface.bytes().take(15)) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
        // SAFETY: the kernel writes as much as the command's own count says, for which there is room.
        let result = unsafe { libc::ioctl(self.socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
        failed(result).map(drop)
    }
}

/// A number of /sys/class/net of this host.
pub fn interface_number(interface: &str, what: &str) -> Result<u64> {
    let path = format!("/sys/class/net/{interface}/{what}");
    let text = std::fs::read_to_string(&path)?;
    text.trim().parse().map_err(|_| Error::other(format!("{path}: {text:?}")))
}
