//! How the kernel schedules a thread: ordinary, or first in first out (sched(7)).
//!
//! Consumes a wish; produces what the kernel made of it. Must not know which thread deserves what:
//! topology decides, as a thread that never sleeps and is scheduled first keeps everybody else off
//! its CPU.

use std::fmt;
use std::io;

/// Scheduling class of a thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Scheduling {
    /// As whoever made it.
    #[default]
    Inherited,
    /// SCHED_OTHER: shares its CPU fairly.
    Ordinary,
    /// SCHED_FIFO at this priority, 1 to 99: runs until it sleeps, unless a higher one wants to. The
    /// kernel leaves others 5% of a CPU (kernel.sched_rt_runtime_us) where somebody waits.
    Fifo(u8),
    /// Whatever somebody else chose for the process (SCHED_RR, SCHED_BATCH ...): policy with its flags,
    /// priority.
    Other(i32, i32),
}

impl fmt::Display for Scheduling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scheduling::Inherited => f.write_str("inherited"),
            Scheduling::Ordinary => f.write_str("ordinary"),
            Scheduling::Fifo(priority) => write!(f, "fifo {priority}"),
            Scheduling::Other(policy, priority) => {
                write!(f, "policy {policy}, priority {priority}")
            }
        }
    }
}

/// Schedules the calling thread so. Threads that it makes afterwards are scheduled the same way.
/// Upwards takes CAP_SYS_NICE or RLIMIT_RTPRIO; downwards is free.
pub fn schedule(wish: Scheduling) -> io::Result<()> {
    let (policy, priority) = match wish {
        Scheduling::Inherited => return Ok(()),
        Scheduling::Ordinary => (libc::SCHED_OTHER, 0),
        Scheduling::Fifo(priority) => (libc::SCHED_FIFO, libc::c_int::from(priority)),
        Scheduling::Other(policy, priority) => (policy, priority),
    };
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: 0 is the calling thread, and the parameters live through the call.
    match unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// How the calling thread is scheduled.
pub fn scheduled() -> Scheduling {
    let mut parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: 0 is the calling thread; the kernel writes one sched_param.
    let (policy, told) =
        unsafe { (libc::sched_getscheduler(0), libc::sched_getparam(0, &raw mut parameters) == 0) };
    match (policy, u8::try_from(parameters.sched_priority)) {
        (libc::SCHED_FIFO, Ok(priority)) if told => Scheduling::Fifo(priority),
        (libc::SCHED_OTHER, _) => Scheduling::Ordinary,
        (policy, _) if policy >= 0 && told => Scheduling::Other(policy, parameters.sched_priority),
        _ => Scheduling::Inherited,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_what_it_could_become() {
        std::thread::spawn(|| {
            match schedule(Scheduling::Fifo(3)) {
                Ok(()) => assert_eq!(scheduled(), Scheduling::Fifo(3)),
                // An ordinary user.
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
                    assert_eq!(scheduled(), Scheduling::Ordinary);
                }
            }
            let inherited = scheduled();
            let child = std::thread::spawn(scheduled);
            assert_eq!(child.join().ok(), Some(inherited));
            schedule(Scheduling::Inherited).unwrap();
            assert_eq!(scheduled(), inherited);
            schedule(Scheduling::Ordinary).unwrap();
            assert_eq!(scheduled(), Scheduling::Ordinary);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_class_that_is_not_ours_comes_back_as_it_was() {
        std::thread::spawn(|| {
            schedule(Scheduling::Other(libc::SCHED_BATCH, 0)).unwrap();
            let before = scheduled();
            assert_eq!(before, Scheduling::Other(libc::SCHED_BATCH, 0));
            schedule(Scheduling::Ordinary).unwrap();
            schedule(before).unwrap();
            assert_eq!(scheduled(), before);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn names() {
        assert_eq!(Scheduling::Fifo(50).to_string(), "fifo 50");
        assert_eq!(Scheduling::Ordinary.to_string(), "ordinary");
    }
}
