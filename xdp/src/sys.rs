//! System calls as functions: maps, options, `bpf(2)`. Returns `io::Error`; what it means is said by
//! the caller, who knows what it asked for.

use std::ffi::c_void;
use std::io::{Error, Result};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::time::Duration;

/// Memory from `mmap`, unmapped when dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: a mapping is an address range without thread affinity; who may touch which bytes of it is
// the business of its owners (`Umem`, the rings).
unsafe impl Send for Mapping {}
// SAFETY: as above; `&Mapping` gives out nothing but address and length.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Private zeroed memory, every page present. `flags` adds to `MAP_PRIVATE | MAP_ANONYMOUS`.
    pub(crate) fn anonymous(length: usize, flags: libc::c_int) -> Result<Mapping> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE | flags;
        Mapping::new(length, flags, -1, 0)
    }

    /// A ring of socket `fd`; `offset` is one of the `XDP_*PGOFF*` numbers.
    pub(crate) fn ring(length: usize, fd: BorrowedFd<'_>, offset: libc::off_t) -> Result<Mapping> {
        Mapping::new(length, libc::MAP_SHARED | libc::MAP_POPULATE, fd.as_raw_fd(), offset)
    }

    fn new(length: usize, flags: libc::c_int, fd: RawFd, offset: libc::off_t) -> Result<Mapping> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: no address is asked for, so no mapping that exists is touched.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, fd, offset) };
        if start == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| Error::other("mmap gave page 0"))?;
        Ok(Mapping { start, length })
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Keeps the memory out of core dumps: it holds other people's data. Best effort.
    pub(crate) fn not_dumped(&self) {
        // SAFETY: the range is ours and stays mapped; the advice changes no content.
        unsafe { libc::madvise(self.start.as_ptr().cast(), self.length, libc::MADV_DONTDUMP) };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: start and length are what mmap returned; owners hand out no pointer that outlives
        // the mapping.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

/// -1 becomes `errno`.
fn checked(result: libc::c_int) -> Result<libc::c_int> {
    if result < 0 { Err(Error::last_os_error()) } else { Ok(result) }
}

/// A socket, closed on exec.
pub(crate) fn socket(
    domain: libc::c_int,
    kind: libc::c_int,
    protocol: libc::c_int,
) -> Result<OwnedFd> {
    // SAFETY: no pointers.
    let fd = checked(unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) })?;
    // SAFETY: a descriptor that was just opened and that nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `setsockopt` with a plain value.
pub(crate) fn set_option<T>(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    let value = std::ptr::from_ref(value).cast::<c_void>();
    // SAFETY: the kernel reads `length` bytes of a value that lives through the call.
    checked(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, value, length) }).map(drop)
}

/// `getsockopt` into a plain value that starts as `value`; an older kernel may fill only a part.
pub(crate) fn get_option<T>(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    mut value: T,
) -> Result<T> {
    let mut length = size_of::<T>() as libc::socklen_t;
    let target = std::ptr::from_mut(&mut value).cast::<c_void>();
    // SAFETY: the kernel writes at most `length` bytes into `value`, whose type (chosen by the
    // callers in this crate) consists of integers only.
    checked(unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, target, &mut length) })?;
    Ok(value)
}

/// `bpf(2)` with the member of `union bpf_attr` that belongs to `command`.
///
/// # Safety
/// Every address inside `attributes` must be valid for what the command does with it.
pub(crate) unsafe fn bpf<T>(command: libc::c_int, attributes: &mut T) -> Result<libc::c_int> {
    let size = size_of::<T>();
    let attributes = std::ptr::from_mut(attributes);
    // SAFETY: the kernel reads and writes within `size` bytes; addresses inside are the caller's
    // promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size) };
    if result < 0 { Err(Error::last_os_error()) } else { Ok(result as libc::c_int) }
}

/// [`bpf`] for commands that return a descriptor.
///
/// # Safety
/// See [`bpf`]; `command` must be one that opens a descriptor.
pub(crate) unsafe fn bpf_fd<T>(command: libc::c_int, attributes: &mut T) -> Result<OwnedFd> {
    // SAFETY: as this function demands.
    let fd = unsafe { bpf(command, attributes) }?;
    // SAFETY: the command opened it just now (close on exec is the rule for bpf descriptors).
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Asks an interface; the answer is in `request`.
pub(crate) fn interface_ioctl(
    fd: BorrowedFd<'_>,
    number: libc::c_ulong,
    request: &mut libc::ifreq,
) -> Result<()> {
    // SAFETY: every request of this crate takes a `struct ifreq`, and what its data pointer names
    // (ethtool structs) lives through the call.
    checked(unsafe { libc::ioctl(fd.as_raw_fd(), number as _, request) }).map(drop)
}

/// Wakes the kernel's transmit side; 0 or errno.
#[inline]
pub(crate) fn kick_transmit(fd: RawFd) -> i32 {
    // SAFETY: no buffer (length 0) and no address.
    let result =
        unsafe { libc::sendto(fd, std::ptr::null(), 0, libc::MSG_DONTWAIT, std::ptr::null(), 0) };
    if result >= 0 { 0 } else { last_errno() }
}

/// Wakes the kernel's receive side; 0 or errno.
#[inline]
pub(crate) fn kick_receive(fd: RawFd) -> i32 {
    let (none, no_length) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: no buffer (length 0) and no address.
    let result =
        unsafe { libc::recvfrom(fd, std::ptr::null_mut(), 0, libc::MSG_DONTWAIT, none, no_length) };
    if result >= 0 { 0 } else { last_errno() }
}

fn last_errno() -> i32 {
    Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Bytes of a base page.
pub(crate) fn page_size() -> usize {
    static SIZE: OnceLock<usize> = OnceLock::new();
    // SAFETY: no pointers.
    *SIZE.get_or_init(|| unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.try_into().unwrap_or(4096))
}

/// Most locked memory of this process, bytes; None: no limit.
pub(crate) fn memlock_limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel fills a struct of ours.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) };
    (result == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// Whether the calling thread has capability `bit` in effect. True when it cannot be read: then the
/// kernel's answer stands as it is.
pub(crate) fn has_capability(bit: u32) -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/thread-self/status") else { return true };
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    bits.is_none_or(|bits| bits & (1 << bit) != 0)
}

/// Tries of [`retry_busy`], 2 ms apart. The kernel finishes the closing of a socket or link after
/// `close` returned: 10 ms later on an idle machine (6.18), but two seconds were too few for a start right
/// behind the death of a process on two CPUs with a load of eleven.
const BUSY_TRIES: usize = 5_000;

/// Does `attempt` again while it fails with EBUSY, up to about ten seconds.
pub(crate) fn retry_busy<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    for _ in 0..BUSY_TRIES {
        match attempt() {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                std::thread::sleep(Duration::from_millis(2));
            }
            other => return other,
        }
    }
    attempt()
}
