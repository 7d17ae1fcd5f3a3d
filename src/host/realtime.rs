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
    /// Everything; what is mapped later, page by page as it is touched.
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

/// Stack that the calling thread may grow to after its process has given CAP_IPC_LOCK away: the kernel
/// lets no locked stack grow beyond a limit, and kills for it.
const STACK_BYTES: usize = 1 << 20;

/// Keeps this process' memory in memory, all of it touched: no page fault later. Takes CAP_IPC_LOCK or
/// a limit as large as the process. What is mapped later is locked too where there is no limit (below
/// one, a log segment that did not fit would be refused long after the start), but only where it is
/// touched: else whoever looks at one record of an archived segment would read all of it from the
/// disk (64 MiB: 43 ms, measured).
pub fn lock_memory() -> io::Result<Locked> {
    grow_stack();
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one rlimit.
    let told = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) == 0 };
    let unlimited = told && limit.rlim_cur == libc::RLIM_INFINITY;
    lock(libc::MCL_CURRENT)?;
    if !unlimited {
        return Ok(Locked::Present);
    }
    // Without MCL_CURRENT: what is locked and touched already stays so (mm/mlock.c).
    lock(libc::MCL_FUTURE | libc::MCL_ONFAULT)?;
    Ok(Locked::All)
}

fn lock(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: touches and locks pages, and changes none of their bytes.
    match unsafe { libc::mlockall(flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[inline(never)]
fn grow_stack() {
    std::hint::black_box(&mut [0u8; STACK_BYTES]);
}
