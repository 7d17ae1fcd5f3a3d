//! Memory: is there enough of the right kind, and does the kernel leave it alone?

use super::Host;
use super::kernel::number;
use super::row::{Row, ask, stage};
use crate::host::machine::{Capability, anchor};
use crate::host::surface::chosen;
use crate::net::xdp::PathWish;

pub(super) fn rows(host: &Host) -> Vec<Row> {
    vec![
        hot_tier(host),
        memory(host),
        disk(host),
        locked(host),
        capabilities(host),
        huge_pages(host),
        transparent(host),
        swap(host),
        number(
            host,
            "vm.stat_interval",
            "120",
            "counters of every CPU are collected every second, by a task on that CPU",
        ),
        number(
            host,
            "vm.compaction_proactiveness",
            "0",
            "pages are moved about in the background; whoever touches one meanwhile waits",
        ),
        merging(host),
    ]
}

/// Bytes in the largest binary unit that leaves a whole part, one decimal.
pub fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let tenths = |unit: usize| (u128::from(bytes) * 10 + (1 << (10 * unit) >> 1)) >> (10 * unit);
    let unit = (0..units.len() - 1).find(|&u| tenths(u) < 10_240).unwrap_or(units.len() - 1);
    format!("{}.{} {}", tenths(unit) / 10, tenths(unit) % 10, units[unit])
}

fn hot_tier(host: &Host) -> Row {
    let needs = host.needs;
    let place = anchor(&needs.hot);
    let ask = ask(
        "hot tier (/dev/shm)",
        format!("{} in memory", size(needs.hot_bytes)),
        "full, the venue takes cancels only, then nothing; without memory the start is refused",
        format!(
            "mount -o remount,size={}M {}; or lower capacity.hot_segments_max or segment_mib",
            (needs.hot_bytes + (needs.hot_bytes >> 2)).div_ceil(1 << 20),
            place.display()
        ),
    );
    let room = match &host.machine.hot {
        Ok(room) => room,
        Err(reason) => return ask.fail(format!("{} cannot be read: {reason}", place.display())),
    };
    let free = room.free + host.machine.hot_used;
    let seen = format!("{} for it at {}", size(free), place.display());
    match (room.memory, needs.degraded) {
        (false, false) => ask.fail(format!("{} is on a disk", place.display())),
        (false, true) => ask.warn(format!("{} is on a disk: degraded", place.display())),
        (true, false) if free < needs.hot_bytes_min => ask.fail(seen),
        (true, _) => ask.warn_unless(free >= needs.hot_bytes, seen),
    }
}

fn memory(host: &Host) -> Row {
    // What the hot tier has already is not available any more.
    let left = host.needs.hot_bytes.saturating_sub(host.machine.hot_used);
    let needed = left + host.needs.table_bytes + (host.needs.huge_pages << 21);
    let ask = ask(
        "memory",
        format!("{} available", size(needed)),
        "hot tier, tables of venue and shadow, huge pages; short of it the kernel kills a process",
        "a larger host, or smaller capacity.* (rialto config check)",
    );
    let text = match host.surface.text("/proc/meminfo") {
        Ok(text) => text,
        Err(reason) => return ask.none(reason.to_string()),
    };
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse::<u64>().ok()
    };
    match (field("MemTotal"), field("MemAvailable")) {
        (Some(total), Some(free)) => {
            let seen = format!("{} of {}", size(free << 10), size(total << 10));
            match total << 10 < needed {
                true => ask.fail(seen),
                false => ask.warn_unless(free << 10 >= needed, seen),
            }
        }
        _ => ask.none("/proc/meminfo does not tell MemTotal and MemAvailable"),
    }
}

fn disk(host: &Host) -> Row {
    let place = anchor(&host.needs.data);
    let ask = ask(
        "disk of the data directory",
        format!("{} free: a day of both logs", size(host.needs.day_bytes)),
        "full, level memory trades on until the hot tier is full, level disk answers nobody",
        "a larger disk, fewer days on it, or capacity.orders_per_day as it is in truth",
    );
    match &host.machine.data {
        Ok(room) => {
            let seen = format!("{} at {}", size(room.free), place.display());
            ask.warn_unless(room.free >= host.needs.day_bytes, seen)
        }
        Err(reason) => ask.none(format!("{} cannot be read: {reason}", place.display())),
    }
}

fn locked(host: &Host) -> Row {
    let needs = host.needs;
    let ask = ask(
        "locked memory",
        match needs.umem_bytes {
            0 if needs.locks_memory => "no limit, or CAP_IPC_LOCK".into(),
            0 => "enough for packet memory".into(),
            bytes => format!("{} or CAP_IPC_LOCK", size(bytes)),
        },
        "packet memory is locked: beyond the limit its registration fails with ENOBUFS; a venue that \
         spins locks all of its memory, or meets page faults",
        "LimitMEMLOCK=infinity in the unit, ulimit -l unlimited, or CAP_IPC_LOCK",
    );
    let seen = match host.machine.memlock {
        u64::MAX => "no limit".to_string(),
        bytes => size(bytes),
    };
    let unlimited = host.machine.memlock == u64::MAX;
    match needs.path {
        PathWish::Udp if !needs.locks_memory => {
            ask.none("UDP sockets and no thread that spins: nothing is locked")
        }
        _ if host.machine.has(Capability::IpcLock) == Some(true) => {
            ask.ok(format!("{seen}, with CAP_IPC_LOCK"))
        }
        _ if needs.must_lock_memory => ask.fail_unless(unlimited, seen),
        PathWish::Udp => ask.warn_unless(unlimited, seen),
        PathWish::Auto => ask.warn_unless(host.machine.memlock >= needs.umem_bytes, seen),
        _ => ask.fail_unless(host.machine.memlock >= needs.umem_bytes, seen),
    }
}

fn capabilities(host: &Host) -> Row {
    let ask = ask(
        "capabilities",
        "of this process: those of the unit",
        "AF_XDP cannot be opened, its program not loaded, memory not locked",
        "run it by rialto.service, or grant what AmbientCapabilities= there grants",
    );
    let (path, priority) = (host.needs.path, host.needs.has_priority);
    if path == PathWish::Udp && !priority {
        return ask.none("UDP sockets and no [[thread]] priority: none is needed");
    }
    if let Err(reason) = &host.machine.capabilities {
        return ask.none(reason);
    }
    let needed = |which| match which {
        Capability::SysNice => priority,
        _ => path != PathWish::Udp,
    };
    let lacks: Vec<&str> = Capability::ALL
        .iter()
        .filter(|(which, _)| needed(*which) && host.machine.has(*which) != Some(true))
        .map(|(_, name)| *name)
        .collect();
    // LimitRTPRIO does as well as CAP_SYS_NICE, which the lack of that does not tell.
    let bearable = path.allows_udp() || lacks == ["CAP_SYS_NICE"];
    match (lacks.is_empty(), bearable) {
        (true, _) => ask.ok("all of them"),
        (false, true) => ask.warn(format!("without {}", lacks.join(", "))),
        (false, false) => ask.fail(format!("without {}", lacks.join(", "))),
    }
}

fn huge_pages(host: &Host) -> Row {
    let needs = host.needs;
    let ask = ask(
        "huge pages of 2 MiB",
        format!("{} free or in use", needs.huge_pages),
        "random access to tables and frames is 30% slower with small pages",
        stage("huge-pages"),
    );
    if needs.huge_pages == 0 {
        return ask.none("the configuration asks for none (host.huge_pages, AF_XDP)");
    }
    let dir = "/sys/kernel/mm/hugepages/hugepages-2048kB";
    let count = |name: &str| {
        let text = host.surface.text(&format!("{dir}/{name}")).map_err(|e| e.to_string())?;
        text.parse::<u64>().map_err(|_| format!("{text:?} is no number"))
    };
    let mut nodes = Vec::new();
    for node in host.surface.names("/sys/devices/system/node".as_ref()) {
        let pages = format!("/sys/devices/system/node/{node}/hugepages/hugepages-2048kB");
        nodes.extend(host.surface.text(&format!("{pages}/nr_hugepages")).map(|n| (node, n)).ok());
    }
    let spread = match nodes.len() {
        0 | 1 => String::new(),
        _ => {
            let each: Vec<String> = nodes.iter().map(|(node, n)| format!("{node} {n}")).collect();
            format!("; {}", each.join(", "))
        }
    };
    match (count("nr_hugepages"), count("free_hugepages")) {
        (Ok(all), Ok(free)) => {
            let seen = format!("{all}, {free} free{spread}");
            ask.warn_unless(all >= needs.huge_pages, seen)
        }
        (Err(reason), _) | (_, Err(reason)) => ask.none(reason),
    }
}

fn transparent(host: &Host) -> Row {
    let ask = ask(
        "transparent huge pages",
        "never or madvise",
        "the kernel stops a thread to put a huge page together: milliseconds",
        stage("huge-pages-transparent"),
    );
    let dir = "/sys/kernel/mm/transparent_hugepage";
    let read = |name: &str| host.surface.text(&format!("{dir}/{name}"));
    let seen = read("enabled").map(|enabled| {
        let defrag = read("defrag").unwrap_or_default();
        let (enabled, defrag) = (chosen(&enabled), chosen(&defrag));
        let good = enabled == "never" || enabled == "madvise" && defrag != "always";
        (good, format!("{enabled}, defrag {defrag}"))
    });
    ask.warn_unless_read(seen)
}

fn swap(host: &Host) -> Row {
    let ask = ask(
        "swap",
        "off",
        "pages of the logs and tables go to a disk; each comes back in a millisecond",
        "swapoff -a, and take it out of /etc/fstab",
    );
    let seen = host.surface.text("/proc/swaps").map(|text| {
        let places: Vec<String> = text
            .lines()
            .skip(1)
            .filter_map(|l| Some(l.split_whitespace().next()?.into()))
            .collect();
        match places.is_empty() {
            true => (true, "off".into()),
            false => (false, super::cpu::some_of(&places)),
        }
    });
    ask.warn_unless_read(seen)
}

fn merging(host: &Host) -> Row {
    let seen = host.surface.text("/sys/kernel/mm/ksm/run").map(|run| (run != "1", run));
    ask(
        "page merging (KSM)",
        "0",
        "a kernel thread reads all memory, and writing a merged page faults",
        stage("page-merging"),
    )
    .warn_unless_read(seen)
}
