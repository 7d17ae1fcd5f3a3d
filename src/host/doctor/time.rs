//! Clocks: where time is read, and who keeps it right.

use super::Host;
use super::row::{Row, ask};

pub(super) fn rows(host: &Host) -> Vec<Row> {
    vec![source(host), steady(host), kept(host), precise(host)]
}

fn source(host: &Host) -> Row {
    let seen = host
        .surface
        .text("/sys/devices/system/clocksource/clocksource0/current_clocksource")
        .map(|name| (name == "tsc", name));
    ask(
        "clock source",
        "tsc",
        "reading the time is a system call: 250 ns and more instead of 30",
        "kernel command line: tsc=reliable clocksource=tsc, then reboot",
    )
    .warn_unless_read(seen)
}

fn steady(host: &Host) -> Row {
    let ask = ask(
        "time-stamp counter",
        "constant_tsc, nonstop_tsc",
        "time runs at the CPU's changing clock, or stops while it sleeps",
        "another CPU; nothing mends it",
    );
    let text = match host.surface.text("/proc/cpuinfo") {
        Ok(text) => text,
        Err(reason) => return ask.none(reason.to_string()),
    };
    let Some(flags) = text.lines().find(|line| line.starts_with("flags")) else {
        return ask.none("/proc/cpuinfo has no flags (not an x86 CPU)");
    };
    let lacks: Vec<&str> = ["constant_tsc", "nonstop_tsc"]
        .into_iter()
        .filter(|flag| !flags.split_whitespace().any(|word| word == *flag))
        .collect();
    ask.warn_unless(
        lacks.is_empty(),
        match lacks.is_empty() {
            true => "both".into(),
            false => format!("without {}", lacks.join(", ")),
        },
    )
}

/// Times in the log may be this far from the truth: a venue's clock, RTS 25 of MiFID II.
const ERROR_US_MAX: i64 = 100;

fn kept(host: &Host) -> Row {
    let ask = ask(
        "wall clock",
        format!("synchronised, error below {ERROR_US_MAX} us"),
        "times in logs and feed are not the world's",
        "chronyd or ptp4l with phc2sys; systemctl enable --now chrony",
    );
    match &host.machine.clock {
        Ok(clock) => {
            let good = clock.synchronised && clock.error_us_max < ERROR_US_MAX;
            let word = if clock.synchronised { "synchronised" } else { "not synchronised" };
            let seen =
                format!("{word}, offset {} ns, error {} us", clock.offset_ns, clock.error_us_max);
            ask.warn_unless(good, seen)
        }
        Err(reason) => ask.none(reason),
    }
}

fn precise(host: &Host) -> Row {
    let names = host.surface.names("/sys/class/ptp".as_ref());
    let clocks: Vec<String> = names
        .iter()
        .map(|name| {
            let what = host.surface.text(&format!("/sys/class/ptp/{name}/clock_name"));
            format!("{name} {}", what.unwrap_or_default())
        })
        .collect();
    let ask = ask(
        "PTP clocks",
        "one or more",
        "a clock over the network is right to some tens of microseconds, PTP to less than one",
        "a card with a PTP clock, or the hypervisor's (modprobe ptp_kvm)",
    );
    match clocks.is_empty() {
        true => ask.none("this host has none"),
        false => ask.ok(super::cpu::some_of(&clocks)),
    }
}
