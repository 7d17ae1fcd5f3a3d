//! CPUs and memory that belong to the venue alone.
//!
//! Consumes what the kernel says of itself; produces the CPUs that are isolated, and locks memory.
//! Must not know threads: `topology` places them.

use super::cpus;
use super::surface::Surface;
use std::io;

/// CPUs that the scheduler puts nobody on by itself: by the kernel's command line or by a cpuset
/// partition, ascending.
pub fn isolated(surface: &dyn Surface) -> Vec<usize> {
    let files = ["/sys/devices/system/cpu/isolated", "/sys/fs/cgroup/cpuset.cpus.isolated"];
    let mut all: Vec<usize> = files
        .iter()
        .filter_map(|file| surface.text(file).ok())
        .filter_map(|text| cpus::parse_list(&text))
        .flatten()
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// How much of the process' memory stays in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Locked {
    /// Nothing was locked.
    Nothing,
    /// What there was when the venue started: the limit forbids more (`LimitMEMLOCK`).
    Present,
    /// Everything, also what comes later.
    All,
}

impl Locked {
    /// For status.json.
    pub fn text(self) -> &'static str {
        match self {
            Locked::Nothing => "nothing",
            Locked::Present => "present",
            Locked::All => "all",
        }
    }
}

/// Keeps this process' memory in memory, all of it touched: no page fault later. Takes CAP_IPC_LOCK or
/// a limit as large as the process. What is mapped later is locked too where there is no limit:
/// below one, a log segment that did not fit would be refused long after the start.
pub fn lock_memory() -> io::Result<Locked> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one rlimit.
    let told = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) == 0 };
    let unlimited = told && limit.rlim_cur == libc::RLIM_INFINITY;
    let (flags, locked) = match unlimited {
        true => (libc::MCL_CURRENT | libc::MCL_FUTURE, Locked::All),
        false => (libc::MCL_CURRENT, Locked::Present),
    };
    // SAFETY: touches and locks pages, and changes none of their bytes.
    match unsafe { libc::mlockall(flags) } {
        0 => Ok(locked),
        _ => Err(io::Error::last_os_error()),
    }
}
