//! What interferes now, measured: it catches every item above at once.

use super::Host;
use super::cpu::some_of;
use super::row::{Row, ask};
use crate::host::hiccup::{self, Hiccups};

/// A gap that a broker notices beside an answer in some microseconds, ns.
const GAP_NS_MAX: u64 = 100_000;
/// Interrupts per CPU and second that are left on a tuned host: one tick.
const INTERRUPTS_PER_SECOND_MAX: u64 = 2;
/// Share of time in which somebody waited for a CPU, 1/100 percent.
const PRESSURE_MAX: u64 = 100;

pub(super) fn rows(host: &Host, ns: u64) -> (Vec<Row>, Vec<Hiccups>) {
    let measured = match host.application() {
        Ok(_) if ns == 0 => Err("it was not asked for (--seconds 0)".to_string()),
        Ok(cpus) => Ok(crate::host::cpus::common(cpus, &host.online)),
        Err(reason) => Err(reason),
    };
    let before = Seen::now(host);
    let hiccups = measured.as_ref().map_or_else(|_| Vec::new(), |cpus| hiccup::measure(cpus, ns));
    let after = Seen::now(host);
    let mut rows = gaps(&measured, &hiccups);
    rows.push(interrupts(host, &measured, &before, &after, ns));
    rows.push(stolen(&measured, &before, &after));
    rows.push(pressure(host));
    (rows, hiccups)
}

/// Counters of the host at one moment.
struct Seen {
    interrupts: String,
    stat: String,
}

impl Seen {
    fn now(host: &Host) -> Seen {
        let text = |path| host.surface.text(path).unwrap_or_default();
        Seen { interrupts: text("/proc/interrupts"), stat: text("/proc/stat") }
    }

    /// Interrupts so far on one CPU.
    fn on(&self, cpu: usize) -> Option<u64> {
        let column = self
            .interrupts
            .lines()
            .next()?
            .split_whitespace()
            .position(|name| name.strip_prefix("CPU") == Some(cpu.to_string().as_str()))?;
        let mut sum = 0;
        for line in self.interrupts.lines().skip(1) {
            let count = line.split_whitespace().nth(column + 1).and_then(|n| n.parse::<u64>().ok());
            sum += count.unwrap_or(0);
        }
        Some(sum)
    }

    /// Ticks that the hypervisor took from all CPUs (proc(5), /proc/stat, the eighth number).
    fn stolen(&self) -> Option<u64> {
        let line = self.stat.lines().find(|line| line.starts_with("cpu "))?;
        line.split_whitespace().nth(8)?.parse().ok()
    }
}

fn gaps(measured: &Result<Vec<usize>, String>, hiccups: &[Hiccups]) -> Vec<Row> {
    let ask = |name: String| {
        ask(
            name,
            format!("longest gap below {} us", GAP_NS_MAX / 1_000),
            "for so long nobody reads orders: whatever it is, it took the CPU",
            "the rows above; what is left belongs to the firmware or to a hypervisor",
        )
    };
    if let Err(reason) = measured {
        return vec![ask("gaps".into()).none(reason)];
    }
    let row = |h: &Hiccups| {
        let ask = ask(format!("gaps of CPU {}", h.cpu));
        if !h.pinned {
            return ask.none("this process may not run there");
        }
        let max = h.max_ns as u128 * 10 / 1_000;
        let seen = format!("{}.{} us, {} switches", max / 10, max % 10, h.switches);
        ask.warn_unless(h.max_ns < GAP_NS_MAX, seen)
    };
    hiccups.iter().map(row).collect()
}

fn interrupts(
    host: &Host,
    measured: &Result<Vec<usize>, String>,
    before: &Seen,
    after: &Seen,
    ns: u64,
) -> Row {
    let ask = ask(
        "interrupts per second",
        format!("{INTERRUPTS_PER_SECOND_MAX} at most on application CPUs"),
        "ticks and devices take the CPU some microseconds each",
        "nohz_full and irqaffinity on the kernel command line; rialto configure init",
    );
    let cpus = match measured {
        Ok(cpus) => cpus,
        Err(reason) => return ask.none(reason),
    };
    let mut rates = Vec::new();
    let mut good = true;
    for &cpu in cpus {
        let (Some(a), Some(b)) = (before.on(cpu), after.on(cpu)) else { continue };
        let rate = u128::from(b.saturating_sub(a)) * 1_000_000_000 / u128::from(ns.max(1));
        good &= rate <= u128::from(INTERRUPTS_PER_SECOND_MAX);
        rates.push(format!("CPU {cpu}: {rate}"));
    }
    match rates.is_empty() {
        true if host.surface.exists("/proc/interrupts") => ask.none("it has no such CPU"),
        true => ask.none("/proc/interrupts cannot be read"),
        false => ask.warn_unless(good, some_of(&rates)),
    }
}

fn stolen(measured: &Result<Vec<usize>, String>, before: &Seen, after: &Seen) -> Row {
    let ask = ask(
        "stolen time",
        "0 ticks",
        "a hypervisor runs somebody else on our CPUs",
        "a host of its own, or pinned virtual CPUs",
    );
    match (measured, before.stolen(), after.stolen()) {
        (Err(reason), ..) => ask.none(reason),
        (_, Some(a), Some(b)) => {
            let ticks = b.saturating_sub(a);
            ask.warn_unless(ticks == 0, format!("{ticks} ticks"))
        }
        _ => ask.none("/proc/stat does not tell it"),
    }
}

fn pressure(host: &Host) -> Row {
    let ask = ask(
        "waiting for a CPU",
        "below 1% of the last 10 s",
        "more runs here than there are CPUs",
        "move other programs off this host",
    );
    let text = match host.surface.text("/proc/pressure/cpu") {
        Ok(text) => text,
        Err(reason) => return ask.none(reason.to_string()),
    };
    let share = text.split_whitespace().find_map(|word| word.strip_prefix("avg10="));
    let hundredths = share.and_then(|share| share.replace('.', "").parse::<u64>().ok());
    match (share, hundredths) {
        (Some(share), Some(n)) => ask.warn_unless(n < PRESSURE_MAX, format!("{share}%")),
        _ => ask.none("/proc/pressure/cpu does not tell it"),
    }
}
