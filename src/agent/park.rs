//! Waiting in the kernel: ppoll(2) on the sockets that could bring work.
//!
//! Consumes file descriptors and a timeout. Must not know what the descriptors are.

use super::runner::PARK_NS_MAX;
use std::os::fd::RawFd;

/// Descriptors to wait for, in the kernel's shape; built once.
pub(super) struct Parking {
    polled: Box<[libc::pollfd]>,
}

impl Parking {
    pub(super) fn new(fds: &[RawFd]) -> Parking {
        let polled =
            fds.iter().map(|&fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }).collect();
        Parking { polled }
    }

    /// Returns when a descriptor is readable, at the latest after `timeout_ns`, or at once when
    /// the kernel refuses (a closed descriptor counts as readable): the caller then just spins.
    pub(super) fn wait(&mut self, timeout_ns: u64) {
        let timeout = libc::timespec {
            tv_sec: (timeout_ns / 1_000_000_000) as libc::time_t,
            tv_nsec: (timeout_ns % 1_000_000_000) as libc::c_long,
        };
        // SAFETY: `polled` is an exclusively borrowed array of exactly that many pollfd, `timeout`
        // lives through the call, and a null signal mask is allowed (ppoll(2)).
        // The result does not matter: the next duty cycle finds out what there is.
        unsafe {
            libc::ppoll(
                self.polled.as_mut_ptr(),
                self.polled.len() as libc::nfds_t,
                &timeout,
                std::ptr::null(),
            );
        }
    }
}

/// Lets the kernel end the calling thread's parks of up to `park_ns_max` later than asked (its timer
/// slack). Who parks for a millisecond at most is woken to the microsecond, instead of the default 50.
/// Who parks longer is not waited for: it wakes up along with whatever else wakes the CPU, within
/// three quarters of its park, and most often costs the CPU's owner no interruption of its own. A refusal
/// only costs those microseconds, so it is not reported.
pub(super) fn set_timer_slack(park_ns_max: u64) {
    let slack_ns = if park_ns_max <= PARK_NS_MAX { 1_000 } else { park_ns_max / 4 * 3 };
    // SAFETY: PR_SET_TIMERSLACK takes one integer and touches no memory of ours (prctl(2)).
    unsafe {
        libc::prctl(libc::PR_SET_TIMERSLACK, slack_ns as libc::c_ulong, 0, 0, 0);
    }
}
