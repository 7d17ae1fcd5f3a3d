//! How long a CPU is away from the thread that owns it: a thread per CPU reads the clock over and
//! over and counts the gaps. It finds whatever interrupts, whatever its name.

use crate::agent::pin;
use crate::clock::{Clock, SystemClock};
use crate::counters::Distribution;
use serde::Serialize;

/// Gaps of one CPU. Nanoseconds, to 3% above the true value; `max_ns` is exact.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Hiccups {
    /// CPU.
    pub cpu: usize,
    /// It could be pinned there; else nothing was measured.
    pub pinned: bool,
    /// Readings of the clock.
    pub readings: u64,
    /// Half of the gaps are not longer.
    pub p50_ns: u64,
    /// 99% are not longer.
    pub p99_ns: u64,
    /// 99.9% are not longer.
    pub p999_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// Gaps above 10 us.
    pub above_10us: u64,
    /// Gaps above 100 us.
    pub above_100us: u64,
    /// Gaps above 1 ms.
    pub above_1ms: u64,
    /// Times that the scheduler took the CPU away (getrusage, ru_nivcsw).
    pub switches: u64,
}

/// Measures `cpus` at the same time, for `ns` nanoseconds. Costs that much time, and those CPUs.
pub fn measure(cpus: &[usize], ns: u64) -> Vec<Hiccups> {
    let clock = SystemClock::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            cpus.iter().map(|&cpu| (cpu, scope.spawn(move || watch(cpu, ns, clock)))).collect();
        threads
            .into_iter()
            .map(|(cpu, thread)| thread.join().unwrap_or_else(|_| nothing(cpu)))
            .collect()
    })
}

fn watch(cpu: usize, ns: u64, clock: SystemClock) -> Hiccups {
    if !pin(cpu) {
        return nothing(cpu);
    }
    let gaps = Distribution::new();
    let (mut above_10us, mut above_100us, mut above_1ms) = (0, 0, 0);
    let before = switches();
    let start = clock.now();
    let mut last = start;
    while last.since(start) < ns {
        let now = clock.now();
        let gap = now.since(last);
        gaps.record(gap);
        above_10us += u64::from(gap > 10_000);
        above_100us += u64::from(gap > 100_000);
        above_1ms += u64::from(gap > 1_000_000);
        last = now;
    }
    Hiccups {
        cpu,
        pinned: true,
        readings: gaps.count(),
        p50_ns: gaps.at_per_million(500_000),
        p99_ns: gaps.at_per_million(990_000),
        p999_ns: gaps.at_per_million(999_000),
        max_ns: gaps.max(),
        above_10us,
        above_100us,
        above_1ms,
        switches: switches() - before,
    }
}

fn nothing(cpu: usize) -> Hiccups {
    Hiccups {
        cpu,
        pinned: false,
        readings: 0,
        p50_ns: 0,
        p99_ns: 0,
        p999_ns: 0,
        max_ns: 0,
        above_10us: 0,
        above_100us: 0,
        above_1ms: 0,
        switches: 0,
    }
}

/// Involuntary context switches of this thread so far.
fn switches() -> u64 {
    // SAFETY: zeroes are a valid value of this plain C structure.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel fills the structure that we own; a failure leaves zeroes.
    unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
    u64::try_from(usage.ru_nivcsw).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_is_measured_and_one_that_does_not_exist_is_told() {
        let cpu = crate::agent::available_cores()[0];
        let [here, nowhere] = measure(&[cpu, 1_000], 200_000_000).try_into().unwrap();
        assert!(here.pinned && here.readings > 100, "{here:?}");
        assert!(here.p50_ns <= here.p99_ns && here.p999_ns <= here.max_ns, "{here:?}");
        assert!(here.above_1ms <= here.above_100us && here.above_100us <= here.above_10us);
        assert!(!nowhere.pinned && nowhere.readings == 0, "{nowhere:?}");
    }
}
