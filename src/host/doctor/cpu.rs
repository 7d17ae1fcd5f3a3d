//! The application's CPUs: are they there, and do they belong to it alone?

use super::Host;
use super::row::{Row, ask, stage};
use crate::host::cpus;

/// Idle states that take longer than this to leave cost jitter, us: a kernel wake-up costs as much.
pub(in crate::host) const IDLE_EXIT_US_MAX: u64 = 2;

pub(super) fn rows(host: &Host) -> Vec<Row> {
    vec![
        there(host),
        isolated(host),
        full_ticks(host),
        callbacks(host),
        idle_states(host),
        governor(host),
        turbo(host),
        siblings(host),
        memory_node(host),
    ]
}

fn there(host: &Host) -> Row {
    let ask = ask(
        "CPUs of [[thread]]",
        "online, usable by this process",
        "a thread whose CPU is not there runs where the scheduler likes, not as configured",
        "name CPUs of `cat /sys/devices/system/cpu/online` in [[thread]] cpu",
    );
    let application = match host.application() {
        Ok(cpus) => cpus,
        Err(reason) => return ask.none(reason),
    };
    if host.online.is_empty() {
        return ask.none("/sys/devices/system/cpu/online cannot be read");
    }
    let missing = cpus::without(application, &host.online);
    if !missing.is_empty() {
        let online = cpus::list(&host.online);
        return ask.fail(format!("no CPU {}; online are {online}", cpus::list(&missing)));
    }
    let status = host.surface.text("/proc/self/status").unwrap_or_default();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    if let Some(allowed) = allowed.and_then(cpus::parse_list) {
        // isolcpus= takes CPUs out of the list that every process starts with, and bars none from going
        // there.
        let isolated = host.surface.text("/sys/devices/system/cpu/isolated").unwrap_or_default();
        let isolated = cpus::parse_list(&isolated).unwrap_or_default();
        let barred = cpus::without(&cpus::without(application, &allowed), &isolated);
        if !barred.is_empty() {
            let barred = cpus::list(&barred);
            return Row {
                mend: "start it outside of that cpuset, or widen AllowedCPUs= of its unit".into(),
                ..ask.warn(format!("this process may not use CPU {barred}"))
            };
        }
    }
    ask.ok(format!("{} online", cpus::list(application)))
}

/// CPUs of a list of the kernel's, against the application's.
fn covers(host: &Host, list: &str) -> Result<(bool, String), String> {
    let application = host.application()?;
    let set = cpus::parse_list(list).ok_or_else(|| format!("{list:?} is no list of CPUs"))?;
    let seen = if set.is_empty() { "none".into() } else { cpus::list(&set) };
    Ok((cpus::without(application, &set).is_empty(), seen))
}

fn wanted(host: &Host) -> String {
    match host.needs.application.as_slice() {
        [] => "the application's CPUs".into(),
        cpus => format!("{} and more", cpus::list(cpus)),
    }
}

fn boot(option: &str, host: &Host) -> String {
    let cpus = match host.needs.application.as_slice() {
        [] => "CPUS".into(),
        cpus => cpus::list(cpus),
    };
    format!("kernel command line: {option}{cpus} (sysconfig/README.md), then reboot")
}

fn isolated(host: &Host) -> Row {
    let ask = ask(
        "isolated CPUs",
        wanted(host),
        "other programs run between two polls of the order path: milliseconds",
        boot("isolcpus=managed_irq,domain,", host),
    );
    let booted = host.surface.text("/sys/devices/system/cpu/isolated");
    let partition = host.surface.text("/sys/fs/cgroup/cpuset.cpus.isolated");
    let list = match (&booted, &partition) {
        (Err(reason), Err(_)) => return ask.none(reason.to_string()),
        (a, b) => [a, b].map(|l| l.as_ref().map_or("", |l| l.as_str())).join(","),
    };
    ask.warn_unless_read(covers(host, &list))
}

fn full_ticks(host: &Host) -> Row {
    let ask = ask(
        "CPUs without ticks",
        wanted(host),
        "the timer tick takes the CPU some microseconds, 100 to 1,000 times a second",
        boot("nohz_full=", host),
    );
    match host.surface.text("/sys/devices/system/cpu/nohz_full") {
        Ok(list) if list.contains("null") => ask.warn_unless_read(covers(host, "")),
        Ok(list) => ask.warn_unless_read(covers(host, &list)),
        Err(_) => ask.none("this kernel was built without it (CONFIG_NO_HZ_FULL)"),
    }
}

fn callbacks(host: &Host) -> Row {
    let ask = ask(
        "CPUs without RCU callbacks",
        wanted(host),
        "the kernel frees memory on the CPU that gave it up: tens of microseconds at a time",
        boot("rcu_nocbs=", host),
    );
    let boot = |name| host.boot_option(name).map(Option::unwrap_or_default);
    let list = boot("rcu_nocbs").and_then(|list| Ok(list + "," + &boot("nohz_full")?));
    ask.warn_unless_read(list.and_then(|list| match list.split(',').any(|word| word == "all") {
        true => Ok((true, "all".into())),
        false => covers(host, &list),
    }))
}

fn idle_states(host: &Host) -> Row {
    let ask = ask(
        "idle states",
        format!("none that takes over {IDLE_EXIT_US_MAX} us to leave"),
        "a CPU that sleeps answers late: up to hundreds of microseconds",
        stage("idle-states"),
    );
    let application = match host.application() {
        Ok(cpus) => cpus,
        Err(reason) => return ask.none(reason),
    };
    if host.boot_option("idle").is_ok_and(|value| value.as_deref() == Some("poll")) {
        return ask.ok("idle=poll");
    }
    let (mut states, mut deep) = (0, Vec::new());
    for cpu in application {
        let dir = format!("/sys/devices/system/cpu/cpu{cpu}/cpuidle");
        for state in host.surface.names(dir.as_ref()) {
            let value = |name| host.surface.text(&format!("{dir}/{state}/{name}"));
            let Ok(latency) = value("latency") else { continue };
            states += 1;
            let late = latency.parse::<u64>().is_ok_and(|us| us > IDLE_EXIT_US_MAX);
            if late && value("disable").is_ok_and(|disabled| disabled == "0") {
                let name = value("name").unwrap_or(state);
                deep.push(format!("CPU {cpu} {name} ({latency} us)"));
            }
        }
    }
    match (states, deep.is_empty()) {
        (0, _) => ask.none("these CPUs tell no idle states (a guest, or no cpuidle)"),
        (_, true) => ask.ok("none"),
        _ => ask.warn(some_of(&deep)),
    }
}

fn governor(host: &Host) -> Row {
    let ask = ask(
        "frequency governor",
        "performance",
        "a CPU that changes its clock stops for tens of microseconds and computes slower",
        stage("governor"),
    );
    ask.warn_unless_read(governors(host))
}

fn governors(host: &Host) -> Result<(bool, String), String> {
    let mut seen: Vec<String> = Vec::new();
    for cpu in host.application()? {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor");
        seen.extend(host.surface.text(&path).ok());
    }
    seen.dedup();
    match seen.is_empty() {
        true => Err("these CPUs tell no frequency (a guest, or no driver is loaded)".into()),
        false => Ok((seen == ["performance"], seen.join(", "))),
    }
}

fn turbo(host: &Host) -> Row {
    let ask = ask(
        "turbo",
        "report only",
        "a turbo clock is faster and less even; which is better is measured, not known",
        "echo 0 > /sys/devices/system/cpu/cpufreq/boost (or 1 > .../intel_pstate/no_turbo)",
    );
    let text = |path: &str| host.surface.text(path);
    match (
        text("/sys/devices/system/cpu/intel_pstate/no_turbo"),
        text("/sys/devices/system/cpu/cpufreq/boost"),
    ) {
        (Ok(off), _) => ask.ok(if off == "1" { "off" } else { "on" }),
        (_, Ok(on)) => ask.ok(if on == "1" { "on" } else { "off" }),
        _ => ask.none("no frequency driver tells it (a guest, or none is loaded)"),
    }
}

fn siblings(host: &Host) -> Row {
    let ask = ask(
        "hyper-threads",
        "off, or siblings offline",
        "two threads of one core share its units: the order path runs at half speed, unevenly",
        "echo off > /sys/devices/system/cpu/smt/control",
    );
    match host.surface.text("/sys/devices/system/cpu/smt/active") {
        Err(reason) => return ask.none(reason.to_string()),
        Ok(active) if active == "0" => return ask.ok("off"),
        Ok(_) => {}
    }
    let application = match host.application() {
        Ok(cpus) => cpus,
        Err(reason) => return ask.none(reason),
    };
    let mut shared = Vec::new();
    for cpu in application {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
        let list = host.surface.text(&path).ok().and_then(|list| cpus::parse_list(&list));
        let others = cpus::without(&list.unwrap_or_default(), &[*cpu]);
        if !others.is_empty() {
            shared.push(format!("CPU {cpu} with {}", cpus::list(&others)));
        }
    }
    ask.warn_unless(
        shared.is_empty(),
        match shared.is_empty() {
            true => "the application's CPUs have no sibling online".into(),
            false => some_of(&shared),
        },
    )
}

fn memory_node(host: &Host) -> Row {
    let ask = ask(
        "memory node",
        "one, the card's own",
        "memory of another node is 50 to 100 ns further away, for each access",
        "name CPUs of one node in [[thread]] cpu: lscpu shows the nodes",
    );
    let application = match host.application() {
        Ok(cpus) => cpus,
        Err(reason) => return ask.none(reason),
    };
    let mut nodes = Vec::new();
    for cpu in application {
        let dir = format!("/sys/devices/system/cpu/cpu{cpu}");
        let names = host.surface.names(dir.as_ref());
        nodes.extend(names.iter().filter_map(|n| n.strip_prefix("node")?.parse::<i64>().ok()));
    }
    nodes.sort_unstable();
    nodes.dedup();
    if nodes.is_empty() {
        return ask.none("this kernel tells no memory nodes");
    }
    let card = host.interface.as_ref().ok().and_then(|name| {
        let node = host.surface.text(&format!("/sys/class/net/{name}/device/numa_node")).ok()?;
        node.parse::<i64>().ok().filter(|&node| node >= 0)
    });
    let list = nodes.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
    let good = nodes.len() == 1 && card.is_none_or(|card| card == nodes[0]);
    let card = card.map_or(String::new(), |card| format!("; the card is on {card}"));
    ask.warn_unless(good, format!("node {list}{card}"))
}

/// The first three of a list, and how many more there are.
pub(super) fn some_of(list: &[String]) -> String {
    let first = list.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    match list.len() {
        0..=3 => first,
        more => format!("{first} and {} more", more - 3),
    }
}
