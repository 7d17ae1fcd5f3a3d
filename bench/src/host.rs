//! Under which conditions the numbers came about. Without them no number is worth anything.

use rialto::clock::{Clock, SystemClock};
use serde_json::{Value, json};

fn line(path: &str) -> Option<String> {
    Some(std::fs::read_to_string(path).ok()?.trim().to_string())
}

/// Value of the first line of `text` that starts with `key`.
fn field(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

/// Pins the calling thread to `core`, or to the last one there is (interrupts prefer the first). Returns
/// the core, `None` when the host does not let us.
pub fn pin(core: Option<usize>) -> Option<usize> {
    let cores = core_affinity::get_core_ids()?;
    let chosen = match core {
        Some(wanted) => *cores.iter().find(|id| id.id == wanted)?,
        None => *cores.last()?,
    };
    core_affinity::set_for_current(chosen).then_some(chosen.id)
}

/// Scheduling class of the calling thread.
fn scheduling() -> &'static str {
    // SAFETY: 0 is the calling thread; the call only returns a number.
    match unsafe { libc::sched_getscheduler(0) } {
        libc::SCHED_OTHER => "SCHED_OTHER",
        libc::SCHED_FIFO => "SCHED_FIFO",
        libc::SCHED_RR => "SCHED_RR",
        libc::SCHED_BATCH => "SCHED_BATCH",
        _ => "other",
    }
}

/// What the calling thread has used so far.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Time it had a core.
    pub cpu_ns: u64,
    /// Times it lost its core to somebody else.
    pub preempted: u64,
}

impl Usage {
    /// As of now; zeros where the host does not say.
    pub fn now() -> Usage {
        let mut cpu = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: an all-zero rusage is a valid value of the plain C structure.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both calls write one structure each, which outlives them.
        unsafe {
            libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut cpu);
            libc::getrusage(libc::RUSAGE_THREAD, &mut usage);
        }
        Usage {
            cpu_ns: cpu.tv_sec as u64 * 1_000_000_000 + cpu.tv_nsec as u64,
            preempted: usage.ru_nivcsw as u64,
        }
    }
}

/// Cores that are on line, whatever this process is pinned to.
fn cores() -> i64 {
    // SAFETY: the call takes a constant and returns a number.
    unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) }
}

/// What the host is and how it is set, for the report.
pub fn conditions(pinned: Option<usize>, reps: usize) -> Value {
    let cpuinfo = line("/proc/cpuinfo").unwrap_or_default();
    let core = pinned.unwrap_or(0);
    let governor = format!("/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor");
    let isolated = line("/sys/devices/system/cpu/isolated").filter(|list| !list.is_empty());
    let flags = field(&cpuinfo, "flags").unwrap_or_default();
    json!({
        "cpu": field(&cpuinfo, "model name"),
        "cores": cores(),
        "virtual_machine": flags.split(' ').any(|flag| flag == "hypervisor"),
        "governor": line(&governor),
        "isolated_cores": isolated,
        "transparent_huge_pages": line("/sys/kernel/mm/transparent_hugepage/enabled"),
        "kernel": line("/proc/sys/kernel/osrelease"),
        "load": line("/proc/loadavg"),
        "pinned_core": pinned,
        "scheduling": scheduling(),
        "reps": reps,
        "target": format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        "date": date(SystemClock::new().now().0 / 1_000_000_000),
    })
}

/// Seconds since 1970 as `YYYY-MM-DDThh:mm:ssZ`.
fn date(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days since 0000-03-01 in eras of 400 years: leap days then come last in a year.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(date(0), "1970-01-01T00:00:00Z");
        assert_eq!(date(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(date(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(date(1_735_689_599), "2024-12-31T23:59:59Z");
    }
}
