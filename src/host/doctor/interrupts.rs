//! Who may interrupt the application's CPUs.

use super::Host;
use super::cpu::some_of;
use super::row::{Row, ask, stage};
use crate::host::cpus;

pub(super) fn rows(host: &Host) -> Vec<Row> {
    vec![by_default(host), routed(host), balancer(host), card(host)]
}

fn by_default(host: &Host) -> Row {
    let ask = ask(
        "new interrupts",
        "not on application CPUs",
        "an interrupt that is set up later lands on the order path",
        stage("irq-affinity"),
    );
    let seen = host
        .surface
        .text("/proc/irq/default_smp_affinity")
        .map_err(|reason| reason.to_string())
        .and_then(|mask| {
            let application = host.application()?;
            let cpus = cpus::parse_mask(&mask).ok_or_else(|| format!("{mask:?} is no mask"))?;
            Ok((cpus::common(&cpus, application).is_empty(), format!("CPU {}", cpus::list(&cpus))))
        });
    ask.warn_unless_read(seen)
}

fn routed(host: &Host) -> Row {
    let ask = ask(
        "interrupts",
        "none on application CPUs",
        "each takes the CPU for some microseconds",
        stage("irq-affinity"),
    );
    let application = match host.application() {
        Ok(cpus) => cpus,
        Err(reason) => return ask.none(reason),
    };
    let numbers = host.interrupts();
    if numbers.is_empty() {
        return ask.none("/proc/irq tells no interrupts");
    }
    let (mut read, mut on) = (0, Vec::new());
    for number in &numbers {
        let dir = format!("/proc/irq/{number}");
        let Ok(list) = host.surface.text(&format!("{dir}/effective_affinity_list")) else {
            continue;
        };
        read += 1;
        let cpus = cpus::parse_list(&list).unwrap_or_default();
        if !cpus::common(&cpus, application).is_empty() {
            // The name of the device is the one directory in there.
            let names = host.surface.names(dir.as_ref());
            let device = names.into_iter().find(|n| host.surface.is_dir(&format!("{dir}/{n}")));
            let device = device.map_or(String::new(), |name| format!(" {name}"));
            on.push(format!("{number}{device} on CPU {}", cpus::list(&cpus)));
        }
    }
    match (read, on.is_empty()) {
        (0, _) => ask.none("this kernel does not tell where interrupts go"),
        (_, true) => ask.ok(format!("none of {read}")),
        _ => ask.warn(some_of(&on)),
    }
}

fn balancer(host: &Host) -> Row {
    let ask = ask(
        "irqbalance",
        "not running, or banned from them",
        "it moves interrupts onto the application's CPUs every 10 s",
        "systemctl disable --now irqbalance (or IRQBALANCE_BANNED_CPULIST in its defaults file)",
    );
    let processes = host.surface.names("/proc".as_ref());
    let pid =
        processes.iter().filter(|name| name.bytes().all(|b| b.is_ascii_digit())).find(|pid| {
            host.surface.text(&format!("/proc/{pid}/comm")).is_ok_and(|c| c == "irqbalance")
        });
    let Some(pid) = pid else { return ask.ok("not running") };
    let banned = host.surface.text("/etc/default/irqbalance").unwrap_or_default();
    let banned = banned.lines().find_map(|l| l.strip_prefix("IRQBALANCE_BANNED_CPULIST="));
    let banned = banned.and_then(|list| cpus::parse_list(list.trim_matches('"')));
    match (banned, host.application()) {
        (Some(banned), Ok(cpus)) if cpus::without(cpus, &banned).is_empty() => {
            ask.ok(format!("running, banned from CPU {}", cpus::list(&banned)))
        }
        _ => ask.warn(format!("running, process {pid}")),
    }
}

fn card(host: &Host) -> Row {
    let ask = ask(
        "interrupts of the card",
        "CPUs of its memory node, not application",
        "its queues are served on the order path, or from far memory",
        stage("irq-affinity"),
    );
    let name = match &host.interface {
        Ok(name) => name,
        Err(reason) => return ask.none(reason),
    };
    let device = format!("/sys/class/net/{name}/device");
    // virtio: the interrupts belong to the PCI function above it.
    let numbers = [format!("{device}/msi_irqs"), format!("{device}/../msi_irqs")]
        .into_iter()
        .map(|dir| host.surface.names(dir.as_ref()))
        .find(|numbers| !numbers.is_empty());
    let Some(numbers) = numbers else {
        return ask.none(format!("{name} has no interrupts of its own (a virtual interface)"));
    };
    let application = match host.application() {
        Ok(cpus) => cpus,
        Err(reason) => return ask.none(reason),
    };
    let near = host
        .surface
        .text(&format!("{device}/local_cpulist"))
        .ok()
        .and_then(|list| cpus::parse_list(&list))
        .filter(|cpus| !cpus.is_empty());
    let mut bad = Vec::new();
    for number in &numbers {
        let path = format!("/proc/irq/{number}/effective_affinity_list");
        let Ok(list) = host.surface.text(&path) else { continue };
        let cpus = cpus::parse_list(&list).unwrap_or_default();
        if !cpus::common(&cpus, application).is_empty() {
            bad.push(format!("{number} on application CPU {}", cpus::list(&cpus)));
        } else if near.as_ref().is_some_and(|near| cpus::common(&cpus, near).is_empty()) {
            bad.push(format!("{number} on far CPU {}", cpus::list(&cpus)));
        }
    }
    let good = bad.is_empty();
    ask.warn_unless(good, if good { format!("{} of them", numbers.len()) } else { some_of(&bad) })
}
