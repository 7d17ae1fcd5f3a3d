//! A fenced time-stamp around one command, and what it costs.
//!
//! On x86-64 the processor's time-stamp counter, which runs at one rate on anything of this century;
//! elsewhere the system's monotonic clock, which costs more and says so. Neither leaves the process.

/// A reading before the measured code: what stands before has finished, what follows has not begun.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub fn start() -> u64 {
    use std::arch::x86_64::{_mm_lfence, _rdtsc};
    // SAFETY: lfence and rdtsc exist on every x86-64 processor and touch no memory.
    unsafe {
        _mm_lfence();
        let now = _rdtsc();
        _mm_lfence();
        now
    }
}

/// A reading after the measured code: it has finished, what follows has not begun.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub fn stop() -> u64 {
    use std::arch::x86_64::{__rdtscp, _mm_lfence};
    let mut core = 0;
    // SAFETY: rdtscp waits for all before it; it writes the core number into a local.
    unsafe {
        let now = __rdtscp(&mut core);
        _mm_lfence();
        now
    }
}

/// A reading before the measured code.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub fn start() -> u64 {
    use std::sync::OnceLock;
    static ORIGIN: OnceLock<std::time::Instant> = OnceLock::new();
    #[allow(clippy::disallowed_methods)] // a measuring tool: there is no agent to hand time down
    ORIGIN.get_or_init(std::time::Instant::now).elapsed().as_nanos() as u64
}

/// A reading after the measured code.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub fn stop() -> u64 {
    start()
}

/// How readings become nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Ticks of one nanosecond.
    pub per_ns: f64,
    /// Ticks between a start and a stop with nothing between them, median.
    pub overhead: u64,
}

impl Scale {
    /// Measures both against the system clock; takes about 60 ms.
    pub fn measure() -> Scale {
        #[allow(clippy::disallowed_methods)]
        // a measuring tool: there is no agent to hand time down
        let (wall, first) = (std::time::Instant::now(), start());
        while wall.elapsed().as_millis() < 50 {
            std::hint::spin_loop();
        }
        let per_ns = (start() - first) as f64 / wall.elapsed().as_nanos() as f64;
        let mut empty: Vec<u64> = (0..10_000)
            .map(|_| {
                let before = start();
                stop() - before
            })
            .collect();
        empty.sort_unstable();
        Scale { per_ns, overhead: empty[empty.len() / 2] }
    }

    /// Nanoseconds of a measured distance, without what measuring costs.
    pub fn ns(&self, ticks: u64) -> f64 {
        ticks.saturating_sub(self.overhead) as f64 / self.per_ns
    }
}
