//! The stages: which values, and what they should be on this host.

use super::record::Kind;
use crate::host::cpus;
use crate::host::doctor::{Host, IDLE_EXIT_US_MAX, ring_wanted};
use crate::host::surface::{Key, NicItem};
use crate::net::xdp::PathWish;

/// A group of values that are applied together.
#[derive(Clone, Copy)]
pub struct Stage {
    /// Name on the command line.
    pub name: &'static str,
    /// What it does, for the help.
    pub what: &'static str,
    plan: fn(&mut Plan, &Host),
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// All, in the order in which they are applied. The card comes first: its queues bring interrupts,
/// which `irq-affinity` then moves.
pub const STAGES: [Stage; 14] = [
    Stage { name: "channels", what: "as many queues as the venue reads", plan: channels },
    Stage { name: "rings", what: "rings long enough for a burst", plan: rings },
    Stage { name: "coalescing", what: "the card tells of each frame at once", plan: coalescing },
    Stage { name: "offloads", what: "frames are not merged; the card checks sums", plan: offloads },
    Stage { name: "pause", what: "no flow control, no sleeping link", plan: pause },
    Stage { name: "napi", what: "deferred interrupts with busy polling, else none", plan: napi },
    Stage { name: "irq-affinity", what: "interrupts on housekeeping CPUs", plan: interrupts },
    Stage {
        name: "work-queues",
        what: "the kernel's work on housekeeping CPUs",
        plan: work_queues,
    },
    Stage { name: "governor", what: "application CPUs at full clock", plan: governor },
    Stage { name: "idle-states", what: "application CPUs do not sleep deep", plan: idle_states },
    Stage { name: "huge-pages", what: "pages of 2 MiB kept ready", plan: huge_pages },
    Stage {
        name: "huge-pages-transparent",
        what: "huge pages only for who asks",
        plan: transparent,
    },
    Stage { name: "page-merging", what: "no search for equal pages", plan: merging },
    Stage { name: "sysctl", what: "timers, watchdogs, statistics, socket buffers", plan: sysctl },
];

/// What the stage `sysctl` sets, under /proc/sys. The same values stand in sysconfig/sysctl.d.
pub(super) const SYSCTLS: &[(&str, u64, Rule)] = &[
    ("kernel/timer_migration", 0, Rule::Exact),
    ("kernel/numa_balancing", 0, Rule::Exact),
    ("kernel/nmi_watchdog", 0, Rule::Exact),
    ("kernel/soft_watchdog", 0, Rule::Exact),
    ("vm/stat_interval", 120, Rule::Exact),
    ("vm/compaction_proactiveness", 0, Rule::Exact),
    ("net/core/bpf_jit_enable", 1, Rule::Exact),
    ("net/core/rmem_max", 16 << 20, Rule::AtLeast),
    ("net/core/wmem_max", 16 << 20, Rule::AtLeast),
    ("net/core/netdev_max_backlog", 10_000, Rule::AtLeast),
    ("net/core/netdev_budget", 600, Rule::AtLeast),
    ("net/core/busy_poll", 50, Rule::AtLeast),
    ("net/core/busy_read", 50, Rule::AtLeast),
];

/// When a number is as wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rule {
    Exact,
    AtLeast,
}

/// A value to change.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) key: Key,
    pub(super) kind: Kind,
    pub(super) current: String,
    pub(super) wanted: String,
}

/// What a stage has to do.
#[derive(Default, Debug)]
pub(super) struct Plan {
    pub(super) settings: Vec<Setting>,
    pub(super) kept: usize,
    pub(super) unavailable: Vec<(String, String)>,
}

impl Stage {
    pub(super) fn plan(&self, host: &Host) -> Plan {
        let mut plan = Plan::default();
        (self.plan)(&mut plan, host);
        plan
    }
}

impl Plan {
    fn unavailable(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.unavailable.push((what.into(), why.into()));
    }

    /// A value that should be `wanted`, unless `fine` says that what is there will do.
    fn value(
        &mut self,
        host: &Host,
        key: Key,
        kind: Kind,
        wanted: impl Into<String>,
        fine: impl Fn(&str) -> bool,
    ) {
        let wanted = wanted.into();
        match host.surface.read(&key) {
            Err(reason) => self.unavailable(key.to_string(), reason.to_string()),
            Ok(text) => {
                let current = kind.plain(&text);
                if kind.same(&current, &wanted) || fine(&current) {
                    self.kept += 1;
                } else {
                    self.settings.push(Setting { key, kind, current, wanted });
                }
            }
        }
    }

    fn number(&mut self, host: &Host, key: Key, wanted: u64, rule: Rule) {
        let fine = |current: &str| {
            rule == Rule::AtLeast && current.parse::<u64>().is_ok_and(|n| n >= wanted)
        };
        self.value(host, key, Kind::Number, wanted.to_string(), fine);
    }

    /// A number of the card.
    fn card(&mut self, host: &Host, item: NicItem, wanted: u64, rule: Rule) {
        match &host.interface {
            Ok(name) => self.number(host, Key::Nic(name.clone(), item), wanted, rule),
            Err(reason) => self.unavailable(item.text(), reason),
        }
    }

    /// Application and housekeeping CPUs, where there are both.
    fn cpus<'a>(&mut self, host: &'a Host) -> Option<(&'a [usize], Vec<usize>)> {
        let application = match host.application() {
            Ok(cpus) => cpus,
            Err(reason) => {
                self.unavailable("CPUs", reason);
                return None;
            }
        };
        let rest = host.needs.housekeeping_of(&host.online);
        if rest.is_empty() {
            self.unavailable("CPUs", "no CPU is left for housekeeping: [[thread]] names them all");
            return None;
        }
        Some((application, rest))
    }
}

fn channels(plan: &mut Plan, host: &Host) {
    if host.needs.path == PathWish::Udp {
        return plan.unavailable("channels", "the configured path is UDP sockets");
    }
    let most = host.card(NicItem::ChannelsMax).ok().and_then(|text| text.parse::<u64>().ok());
    let wanted = u64::from(host.needs.queues).min(most.unwrap_or(u64::MAX));
    plan.card(host, NicItem::Channels, wanted, Rule::Exact);
}

fn rings(plan: &mut Plan, host: &Host) {
    for (item, most) in
        [(NicItem::RingRx, NicItem::RingRxMax), (NicItem::RingTx, NicItem::RingTxMax)]
    {
        let most = host.card(most).ok().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX);
        plan.card(host, item, ring_wanted(host.needs.fill_entries, most), Rule::AtLeast);
    }
}

fn coalescing(plan: &mut Plan, host: &Host) {
    for item in [NicItem::AdaptiveRx, NicItem::AdaptiveTx, NicItem::RxUsecs] {
        plan.card(host, item, 0, Rule::Exact);
    }
}

fn offloads(plan: &mut Plan, host: &Host) {
    for item in [NicItem::Gro, NicItem::Lro, NicItem::UdpGroForwarding] {
        plan.card(host, item, 0, Rule::Exact);
    }
    plan.card(host, NicItem::RxChecksum, 1, Rule::Exact);
}

fn pause(plan: &mut Plan, host: &Host) {
    for item in [NicItem::PauseRx, NicItem::PauseTx, NicItem::Eee] {
        plan.card(host, item, 0, Rule::Exact);
    }
}

/// Only with a real card and somebody who polls; everywhere else both are 0. 2 and 200 us: the values
/// that the kernel's own text on busy polling gives (Documentation/networking/napi.rst).
fn napi(plan: &mut Plan, host: &Host) {
    let name = match &host.interface {
        Ok(name) => name,
        Err(reason) => return plan.unavailable("napi", reason),
    };
    let dir = format!("/sys/class/net/{name}");
    let polled = host.needs.path != PathWish::Udp
        && host.needs.spins
        && host.surface.exists(&format!("{dir}/device"));
    let (times, ns) = if polled { (2, 200_000) } else { (0, 0) };
    let key = |name: &str| Key::file(format!("{dir}/{name}"));
    plan.number(host, key("napi_defer_hard_irqs"), times, Rule::Exact);
    plan.number(host, key("gro_flush_timeout"), ns, Rule::Exact);
}

fn interrupts(plan: &mut Plan, host: &Host) {
    let Some((application, rest)) = plan.cpus(host) else { return };
    let key = Key::file("/proc/irq/default_smp_affinity");
    plan.value(host, key, Kind::Mask, cpus::mask(&rest), |mask| {
        cpus::parse_mask(mask).is_some_and(|set| cpus::common(&set, application).is_empty())
    });
    for number in host.interrupts() {
        let key = Key::file(format!("/proc/irq/{number}/smp_affinity_list"));
        let allowed = host.surface.read(&key).ok().and_then(|list| cpus::parse_list(&list));
        let near = cpus::common(&rest, &allowed.unwrap_or_default());
        let wanted = if near.is_empty() { &rest } else { &near };
        plan.value(host, key, Kind::List, cpus::list(wanted), |list| {
            cpus::parse_list(list).is_some_and(|set| cpus::common(&set, application).is_empty())
        });
    }
}

fn work_queues(plan: &mut Plan, host: &Host) {
    let Some((application, rest)) = plan.cpus(host) else { return };
    let key = Key::file("/sys/devices/virtual/workqueue/cpumask");
    plan.value(host, key, Kind::Mask, cpus::mask(&rest), |mask| {
        cpus::parse_mask(mask).is_some_and(|set| cpus::common(&set, application).is_empty())
    });
}

fn governor(plan: &mut Plan, host: &Host) {
    let Some((application, _)) = plan.cpus(host) else { return };
    for cpu in application {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor");
        plan.value(host, Key::file(path), Kind::Choice, "performance", |_| false);
    }
}

fn idle_states(plan: &mut Plan, host: &Host) {
    let Some((application, _)) = plan.cpus(host) else { return };
    for cpu in application {
        let dir = format!("/sys/devices/system/cpu/cpu{cpu}/cpuidle");
        let states = host.surface.names(dir.as_ref());
        if states.is_empty() {
            plan.unavailable(dir, "this CPU tells no idle states");
            continue;
        }
        for state in states {
            let latency = host.surface.text(&format!("{dir}/{state}/latency"));
            let us = latency.ok().and_then(|us| us.parse::<u64>().ok());
            if us.is_some_and(|us| us > IDLE_EXIT_US_MAX) {
                plan.number(host, Key::file(format!("{dir}/{state}/disable")), 1, Rule::Exact);
            }
        }
    }
}

fn huge_pages(plan: &mut Plan, host: &Host) {
    let key = Key::file("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages");
    match host.needs.huge_pages {
        0 => plan.unavailable(key.to_string(), "the configuration asks for none"),
        pages => plan.number(host, key, pages, Rule::AtLeast),
    }
}

fn transparent(plan: &mut Plan, host: &Host) {
    for name in ["enabled", "defrag"] {
        let key = Key::file(format!("/sys/kernel/mm/transparent_hugepage/{name}"));
        plan.value(host, key, Kind::Choice, "madvise", |word| word != "always");
    }
}

fn merging(plan: &mut Plan, host: &Host) {
    let key = Key::file("/sys/kernel/mm/ksm/run");
    plan.value(host, key, Kind::Number, "0", |run| run != "1");
}

fn sysctl(plan: &mut Plan, host: &Host) {
    for (name, wanted, rule) in SYSCTLS {
        plan.number(host, Key::file(format!("/proc/sys/{name}")), *wanted, *rule);
    }
}
