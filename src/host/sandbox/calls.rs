//! The system calls of a running venue. Everything else is answered with EPERM, on every thread.
//!
//! EPERM and not a signal: a call that was forgotten here costs one operation, told by whoever made
//! it, and not the market. The list was taken from `strace -f -c` of a day over both paths with
//! snapshots, segments, the day's end and a stop; what is behind each group stands beside it.

use libc::{c_long, *};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Is, SeccompCondition,
    SeccompFilter, SeccompRule, apply_filter_all_threads,
};
use std::collections::BTreeMap;

/// Allowed whatever the arguments.
#[rustfmt::skip]
const ALLOWED: &[c_long] = &[
    // Datagrams: AF_XDP kicks and receives, sockets, netlink about neighbours.
    SYS_sendto, SYS_recvfrom, SYS_sendmsg, SYS_recvmsg, SYS_sendmmsg, SYS_recvmmsg,
    // Counters of the AF_XDP queues.
    SYS_getsockopt,
    // Waiting.
    SYS_ppoll, SYS_epoll_pwait, SYS_nanosleep, SYS_clock_nanosleep, SYS_futex, SYS_sched_yield,
    SYS_restart_syscall,
    // Time, where the vDSO does not give it, and random numbers.
    SYS_clock_gettime, SYS_clock_getres, SYS_gettimeofday, SYS_getrandom,
    // Files of the logs: which ones, Landlock says.
    SYS_openat, SYS_close, SYS_read, SYS_pread64, SYS_readv, SYS_preadv, SYS_write, SYS_pwrite64,
    SYS_writev, SYS_pwritev, SYS_lseek, SYS_fsync, SYS_fdatasync, SYS_sync_file_range, SYS_ftruncate,
    SYS_fallocate, SYS_flock, SYS_fcntl, SYS_unlinkat, SYS_renameat, SYS_renameat2, SYS_mkdirat,
    SYS_getdents64, SYS_statx, SYS_fstat, SYS_newfstatat, SYS_fstatfs, SYS_statfs, SYS_faccessat,
    SYS_readlinkat, SYS_copy_file_range, SYS_getcwd, SYS_fchmod,
    // Memory. mmap and mprotect have a rule of their own.
    SYS_munmap, SYS_mremap, SYS_madvise, SYS_msync, SYS_brk, SYS_mlock, SYS_munlock,
    // Signals and ends.
    SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_sigaltstack, SYS_exit, SYS_exit_group,
    SYS_wait4, SYS_waitid, SYS_getpid, SYS_getppid, SYS_gettid, SYS_geteuid, SYS_set_robust_list, SYS_rseq,
    SYS_sched_getaffinity, SYS_membarrier, SYS_uname,
    // The shadow gives way; without capabilities nobody takes that back.
    SYS_setpriority,
];

/// Older forms that x86 still has.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const OLDER: &[c_long] = &[
    SYS_open, SYS_stat, SYS_lstat, SYS_poll, SYS_epoll_wait, SYS_unlink, SYS_rmdir, SYS_rename,
    SYS_mkdir, SYS_readlink, SYS_access, SYS_time, SYS_getdents,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[c_long] = &[];

/// Loads the filter on all threads of the process. Err says what the kernel said.
pub(super) fn apply() -> Result<(), String> {
    let program = program().map_err(|error| error.to_string())?;
    apply_filter_all_threads(&program).map_err(|error| error.to_string())
}

fn program() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for call in ALLOWED.iter().chain(OLDER) {
        rules.insert(*call, Vec::new());
    }
    // No memory becomes code any more.
    let no_code = SeccompCondition::new(2, Length::Dword, Is::MaskedEq(PROT_EXEC as u64), 0)?;
    for call in [SYS_mmap, SYS_mprotect] {
        rules.insert(call, vec![SeccompRule::new(vec![no_code.clone()])?]);
    }
    // abort() signals its own process; nobody else is signalled.
    let own = SeccompCondition::new(0, Length::Dword, Is::Eq, u64::from(std::process::id()))?;
    rules.insert(SYS_tgkill, vec![SeccompRule::new(vec![own])?]);
    let arch = std::env::consts::ARCH.try_into()?;
    let refuse = SeccompAction::Errno(EPERM as u32);
    SeccompFilter::new(rules, refuse, SeccompAction::Allow, arch)?.try_into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_compiles_and_none_of_the_dangerous_is_on_the_list() {
        assert!(program().is_ok_and(|filter| filter.len() < 4_096));
        let dangerous = [
            SYS_execve,
            SYS_execveat,
            SYS_socket,
            SYS_clone,
            SYS_clone3,
            SYS_ptrace,
            SYS_bpf,
            SYS_mount,
            SYS_setns,
            SYS_unshare,
            SYS_kill,
            SYS_init_module,
            SYS_ioctl,
            SYS_setuid,
            SYS_process_vm_writev,
            SYS_memfd_create,
            SYS_io_uring_setup,
            SYS_perf_event_open,
        ];
        for call in dangerous {
            assert!(!ALLOWED.contains(&call) && !OLDER.contains(&call), "{call}");
        }
    }
}
