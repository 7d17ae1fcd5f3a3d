//! Switches of the kernel that make it wander off.

use super::Host;
use super::row::{Row, ask, stage};
use crate::host::cpus;
use crate::net::xdp::PathWish;

pub(super) fn rows(host: &Host) -> Vec<Row> {
    vec![
        bypass(host),
        watchdogs(host),
        number(
            host,
            "kernel.timer_migration",
            "0",
            "timers of idle CPUs are moved onto busy ones, the order path's among them",
        ),
        number(
            host,
            "kernel.numa_balancing",
            "0",
            "pages are unmapped to see who uses them: a page fault on the order path",
        ),
        real_time(host),
        work_queues(host),
        skew(host),
        mitigations(host),
    ]
}

/// A sysctl that must have exactly this value.
pub(super) fn number(host: &Host, name: &str, wanted: &str, why: &str) -> Row {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    let seen = host.surface.text(&path).map(|value| (value == wanted, value));
    ask(name, wanted, why, stage("sysctl")).warn_unless_read(seen)
}

fn bypass(host: &Host) -> Row {
    let ask = ask(
        "AF_XDP",
        "a socket that may be busy polled",
        "without it frames go through the kernel's UDP: 12 us a round trip instead of 4 to 7",
        "a kernel from 5.11 on with CONFIG_XDP_SOCKETS; CAP_NET_RAW and CAP_NET_ADMIN",
    );
    match (&host.machine.xdp_socket, host.needs.path) {
        (_, PathWish::Udp) => ask.none("the configured path is UDP sockets"),
        (Ok(()), _) => ask.ok(format!("Linux {}: works", host.machine.kernel)),
        (Err(why), PathWish::Auto) => ask.warn(why),
        (Err(why), _) => ask.fail(why),
    }
}

fn watchdogs(host: &Host) -> Row {
    let ask = ask(
        "watchdogs",
        "off, or not on application CPUs",
        "a timer and a thread of highest priority run on every CPU, every 4 s",
        stage("sysctl"),
    );
    let read = |name: &str| host.surface.text(&format!("/proc/sys/kernel/{name}"));
    let on: Vec<&str> = ["nmi_watchdog", "soft_watchdog"]
        .into_iter()
        .filter(|name| read(name).is_ok_and(|value| value != "0"))
        .collect();
    if read("nmi_watchdog").is_err() && read("soft_watchdog").is_err() {
        return ask.none("this kernel was built without them");
    }
    let spared = read("watchdog_cpumask")
        .ok()
        .and_then(|list| cpus::parse_list(&list))
        .is_some_and(|watched| {
            !host.needs.application.is_empty()
                && cpus::common(&watched, &host.needs.application).is_empty()
        });
    match (on.is_empty(), spared) {
        (true, _) => ask.ok("off"),
        (_, true) => ask.ok("on other CPUs only"),
        _ => ask.warn(format!("{} on", on.join(" and "))),
    }
}

/// Matters to threads that never sleep and have a priority: where somebody else wants their CPU, they
/// stand still for the rest of each second. Without one it is told and not judged.
fn real_time(host: &Host) -> Row {
    let used = host.needs.spins_with_priority;
    let wanted = match used {
        true => "-1: a spinning thread of [[thread]] has a priority",
        false => "report only: no spinning thread has a priority",
    };
    let seen = host.surface.text("/proc/sys/kernel/sched_rt_runtime_us");
    let seen = seen.map(|us| (!used || us == "-1", format!("{us} us of 1,000,000")));
    ask(
        "real-time throttling",
        wanted,
        "a thread that never sleeps is stopped for the rest of each second",
        "sysctl -w kernel.sched_rt_runtime_us=-1, once its CPU is isolated",
    )
    .warn_unless_read(seen)
}

fn work_queues(host: &Host) -> Row {
    let ask = ask(
        "work queues",
        "not on application CPUs",
        "the kernel does deferred work (disks, cards, virtual memory) on that CPU",
        stage("work-queues"),
    );
    let seen = host
        .surface
        .text("/sys/devices/virtual/workqueue/cpumask")
        .map_err(|reason| reason.to_string())
        .and_then(|mask| {
            let application = host.application()?;
            let cpus = cpus::parse_mask(&mask).ok_or_else(|| format!("{mask:?} is no mask"))?;
            let good = cpus::common(&cpus, application).is_empty();
            Ok((good, format!("on CPU {}", cpus::list(&cpus))))
        });
    ask.warn_unless_read(seen)
}

fn skew(host: &Host) -> Row {
    let ask = ask(
        "skew_tick",
        "1 on the kernel command line",
        "all CPUs take their tick at the same moment and wait for each other's locks",
        "kernel command line: skew_tick=1 (sysconfig/README.md), then reboot",
    );
    let seen = host.boot_option("skew_tick").map(|value| match value {
        Some(value) => (value == "1", value),
        None => (false, "not given".into()),
    });
    ask.warn_unless_read(seen)
}

fn mitigations(host: &Host) -> Row {
    let ask = ask(
        "mitigations",
        "report only",
        "they make each system call slower; whether the host may do without is for you to say",
        "kernel command line: mitigations=off, if every program on the host is trusted",
    );
    let dir = "/sys/devices/system/cpu/vulnerabilities";
    let names = host.surface.names(dir.as_ref());
    let active: Vec<String> = names
        .into_iter()
        .filter(|name| {
            let text = host.surface.text(&format!("{dir}/{name}"));
            text.is_ok_and(|text| text.contains("Mitigation"))
        })
        .collect();
    match host.surface.exists(dir) {
        false => ask.none("this kernel does not tell them"),
        true if active.is_empty() => ask.ok("none active"),
        true => ask.ok(format!("active: {}", super::cpu::some_of(&active))),
    }
}
