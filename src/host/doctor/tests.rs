//! Every row against a tuned host, an untuned one, and one that tells nothing.

use super::*;
use crate::config::Config;
use crate::host::machine::{Capability, ClockState, Room};
use crate::host::{HostOptions, Live};
use crate::net::xdp::PathWish;
use std::path::{Path, PathBuf};

/// Four CPUs, 2 and 3 for the application, a card eth1 with one queue.
pub(in crate::host) const TUNED: &[(&str, &str)] = &[
    ("/sys/devices/system/cpu/online", "0-3"),
    ("/sys/devices/system/cpu/isolated", "2-3"),
    ("/sys/devices/system/cpu/nohz_full", "2-3"),
    ("/sys/devices/system/cpu/smt/active", "1"),
    ("/sys/devices/system/cpu/cpu2/cpuidle/state1/latency", "10"),
    ("/sys/devices/system/cpu/cpu2/cpuidle/state1/name", "C1E"),
    ("/sys/devices/system/cpu/cpu2/cpuidle/state1/disable", "1"),
    ("/sys/devices/system/cpu/cpu2/cpufreq/scaling_governor", "performance"),
    ("/sys/devices/system/cpu/cpu3/cpufreq/scaling_governor", "performance"),
    ("/sys/devices/system/cpu/cpu2/topology/thread_siblings_list", "2"),
    ("/sys/devices/system/cpu/cpu3/topology/thread_siblings_list", "3"),
    ("/sys/devices/system/cpu/cpu2/node1/cpulist", "2-3"),
    ("/sys/devices/system/cpu/cpu3/node1/cpulist", "2-3"),
    ("/sys/devices/system/cpu/intel_pstate/no_turbo", "1"),
    ("/sys/devices/system/cpu/vulnerabilities/meltdown", "Not affected"),
    ("/sys/devices/virtual/workqueue/cpumask", "3"),
    ("/sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc"),
    ("/sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]"),
    ("/sys/kernel/mm/transparent_hugepage/defrag", "always defer [madvise] never"),
    ("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "64"),
    ("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "48"),
    ("/sys/kernel/mm/ksm/run", "0"),
    ("/sys/class/ptp/ptp0/clock_name", "card"),
    ("/sys/class/net/eth1/type", "1"),
    ("/sys/class/net/eth1/operstate", "up"),
    ("/sys/class/net/eth1/mtu", "1500"),
    ("/sys/class/net/eth1/flags", "0x1003"),
    ("/sys/class/net/eth1/napi_defer_hard_irqs", "2"),
    ("/sys/class/net/eth1/gro_flush_timeout", "200000"),
    ("/sys/class/net/eth1/device/numa_node", "1"),
    ("/sys/class/net/eth1/device/local_cpulist", "0-3"),
    ("/sys/class/net/eth1/device/msi_irqs/41", "msix"),
    ("/ethtool/eth1/driver", "ice"),
    ("/ethtool/eth1/channels", "1"),
    ("/ethtool/eth1/channels-max", "16"),
    ("/ethtool/eth1/ring-rx", "4096"),
    ("/ethtool/eth1/ring-rx-max", "8160"),
    ("/ethtool/eth1/ring-tx", "4096"),
    ("/ethtool/eth1/ring-tx-max", "8160"),
    ("/ethtool/eth1/adaptive-rx", "0"),
    ("/ethtool/eth1/adaptive-tx", "0"),
    ("/ethtool/eth1/rx-usecs", "0"),
    ("/ethtool/eth1/tx-usecs", "0"),
    ("/ethtool/eth1/gro", "0"),
    ("/ethtool/eth1/lro", "0"),
    ("/ethtool/eth1/udp-gro-forwarding", "0"),
    ("/ethtool/eth1/rx-checksum", "1"),
    ("/ethtool/eth1/pause-auto", "0"),
    ("/ethtool/eth1/pause-rx", "0"),
    ("/ethtool/eth1/pause-tx", "0"),
    ("/ethtool/eth1/eee", "0"),
    ("/ethtool/eth1/hardware-timestamps", "1"),
    ("/ethtool/eth1/ptp-clock", "0"),
    ("/ethtool/eth1/xdp-features", "0x6b"),
    ("/ethtool/eth1/xdp-zero-copy-segments", "8"),
    ("/proc/cmdline", "isolcpus=managed_irq,domain,2-3 nohz_full=2-3 rcu_nocbs=2-3 skew_tick=1"),
    ("/proc/cpuinfo", "processor : 0\nflags\t\t: fpu constant_tsc nonstop_tsc"),
    // No process starts out on isolated CPUs.
    ("/proc/self/status", "Name: x\nCpus_allowed_list:\t0-1"),
    ("/proc/meminfo", "MemTotal:  33554432 kB\nMemFree: 1 kB\nMemAvailable:  30000000 kB"),
    ("/proc/swaps", "Filename Type Size Used Priority"),
    ("/proc/interrupts", "      CPU0 CPU1 CPU2 CPU3\n 41:  5 0 0 0  PCI-MSIX eth1"),
    ("/proc/stat", "cpu  1 2 3 4 5 6 7 0 0 0\ncpu0 1 2 3 4 5 6 7 0 0 0"),
    ("/proc/pressure/cpu", "some avg10=0.10 avg60=0.76 avg300=1.46 total=1"),
    ("/proc/irq/default_smp_affinity", "3"),
    ("/proc/irq/41/effective_affinity_list", "1"),
    ("/proc/irq/41/smp_affinity_list", "0-1"),
    ("/proc/irq/41/eth1-rx-0/keep", ""),
    ("/proc/77/comm", "chronyd"),
    ("/proc/sys/kernel/nmi_watchdog", "0"),
    ("/proc/sys/kernel/soft_watchdog", "0"),
    ("/proc/sys/kernel/timer_migration", "0"),
    ("/proc/sys/kernel/numa_balancing", "0"),
    ("/proc/sys/kernel/sched_rt_runtime_us", "950000"),
    ("/proc/sys/vm/stat_interval", "120"),
    ("/proc/sys/vm/compaction_proactiveness", "0"),
    ("/proc/sys/net/core/bpf_jit_enable", "1"),
    ("/proc/sys/net/core/rmem_max", "16777216"),
    ("/proc/sys/net/core/wmem_max", "33554432"),
    ("/proc/sys/net/core/netdev_max_backlog", "10000"),
    ("/proc/sys/net/core/netdev_budget", "600"),
    ("/proc/sys/net/core/busy_poll", "50"),
    ("/proc/sys/net/core/busy_read", "50"),
    ("/proc/sys/net/ipv4/conf/all/rp_filter", "0"),
    ("/proc/sys/net/ipv4/conf/eth1/rp_filter", "2"),
];

/// The same host as it comes: what differs.
pub(in crate::host) const UNTUNED: &[(&str, &str)] = &[
    ("/sys/devices/system/cpu/isolated", ""),
    ("/proc/self/status", "Name: x\nCpus_allowed_list:\t0-3"),
    ("/sys/devices/system/cpu/nohz_full", " (null)"),
    ("/sys/devices/system/cpu/cpu2/cpuidle/state1/disable", "0"),
    ("/sys/devices/system/cpu/cpu2/cpufreq/scaling_governor", "powersave"),
    ("/sys/devices/system/cpu/cpu3/topology/thread_siblings_list", "1,3"),
    ("/sys/devices/system/cpu/cpu3/node0/cpulist", "0-3"),
    ("/sys/devices/system/cpu/vulnerabilities/meltdown", "Mitigation: PTI"),
    ("/sys/devices/virtual/workqueue/cpumask", "f"),
    ("/sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet"),
    ("/sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never"),
    ("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "0"),
    ("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "0"),
    ("/sys/kernel/mm/ksm/run", "1"),
    ("/sys/class/net/eth1/operstate", "down"),
    ("/sys/class/net/eth1/mtu", "9000"),
    ("/sys/class/net/eth1/flags", "0x3"),
    ("/sys/class/net/eth1/napi_defer_hard_irqs", "0"),
    ("/ethtool/eth1/channels", "16"),
    ("/ethtool/eth1/steering-rules", "53:0"),
    ("/ethtool/eth1/ring-rx", "512"),
    ("/ethtool/eth1/adaptive-rx", "1"),
    ("/ethtool/eth1/rx-usecs", "50"),
    ("/ethtool/eth1/gro", "1"),
    ("/ethtool/eth1/lro", "1"),
    ("/ethtool/eth1/rx-checksum", "0"),
    ("/ethtool/eth1/pause-rx", "1"),
    ("/ethtool/eth1/eee", "1"),
    ("/ethtool/eth1/hardware-timestamps", "0"),
    ("/ethtool/eth1/xdp-features", "0x3"),
    ("/proc/cmdline", "quiet"),
    ("/proc/cpuinfo", "flags : fpu constant_tsc"),
    ("/proc/meminfo", "MemTotal: 33554432 kB\nMemAvailable: 100000 kB"),
    ("/proc/swaps", "Filename Type Size Used Priority\n/swap file 1 0 -2"),
    ("/proc/pressure/cpu", "some avg10=91.00 avg60=0.76 avg300=1.46 total=1"),
    ("/proc/irq/default_smp_affinity", "f"),
    ("/proc/irq/41/effective_affinity_list", "2"),
    ("/proc/irq/41/smp_affinity_list", "0-3"),
    ("/proc/88/comm", "irqbalance"),
    ("/proc/sys/kernel/nmi_watchdog", "1"),
    ("/proc/sys/kernel/soft_watchdog", "1"),
    ("/proc/sys/kernel/timer_migration", "1"),
    ("/proc/sys/kernel/numa_balancing", "1"),
    ("/proc/sys/vm/stat_interval", "1"),
    ("/proc/sys/vm/compaction_proactiveness", "20"),
    ("/proc/sys/net/core/bpf_jit_enable", "0"),
    ("/proc/sys/net/core/rmem_max", "212992"),
    ("/proc/sys/net/core/wmem_max", "212992"),
    ("/proc/sys/net/core/netdev_max_backlog", "1000"),
    ("/proc/sys/net/core/netdev_budget", "300"),
    ("/proc/sys/net/core/busy_poll", "0"),
    ("/proc/sys/net/core/busy_read", "0"),
    ("/proc/sys/net/ipv4/conf/eth1/rp_filter", "1"),
];

pub(in crate::host) fn plant(root: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = root.join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("{text}\n")).unwrap();
    }
}

pub(in crate::host) fn needs(path: PathWish) -> Needs {
    let text = format!(
        "{}\n[[thread]]\nagents = [\"ingress\", \"sequencer\", \"engine\", \"publisher\", \"egress\", \
         \"timer\"]\ncpu = 2\nidle = \"spin\"\n[[thread]]\nagents = [\"replayer\", \
         \"retransmitter\"]\ncpu = 3\n[[thread]]\nagents = [\"archiver\"]\n",
        include_str!("../../../rialto.toml")
    );
    let config = Config::parse(Path::new("rialto.toml"), &text).unwrap();
    let options = HostOptions { interface: Some("eth1".into()), path: Some(path) };
    Needs::of(&config, PathBuf::from("/dev/shm/rialto"), &options)
}

fn good_machine() -> Machine {
    Machine {
        kernel: "6.12".into(),
        user: 0,
        memlock: u64::MAX,
        capabilities: Ok(u64::MAX),
        xdp_socket: Ok(()),
        receive_buffer: Ok(16 << 20),
        clock: Ok(ClockState { synchronised: true, error_us_max: 20, offset_ns: 300 }),
        hot: Ok(Room { total: 8 << 30, free: 8 << 30, memory: true }),
        hot_used: 0,
        data: Ok(Room { total: 1 << 40, free: 1 << 40, memory: false }),
        interfaces: vec![("lo".into(), [127, 0, 0, 1].into())],
    }
}

fn bad_machine() -> Machine {
    Machine {
        memlock: 8 << 20,
        capabilities: Ok(0),
        xdp_socket: Err("no".into()),
        receive_buffer: Ok(212_992),
        clock: Ok(ClockState { synchronised: false, error_us_max: 16_000_000, offset_ns: 0 }),
        hot: Ok(Room { total: 64 << 20, free: 64 << 20, memory: true }),
        data: Ok(Room { total: 1 << 30, free: 1 << 30, memory: false }),
        ..good_machine()
    }
}

fn states(report: &Report) -> Vec<(&str, State)> {
    report.rows.iter().map(|row| (row.name.as_str(), row.state)).collect()
}

fn row<'a>(report: &'a Report, name: &str) -> &'a Row {
    report.rows.iter().find(|row| row.name == name).unwrap_or_else(|| panic!("no row {name}"))
}

#[test]
fn a_tuned_host_has_nothing_to_mend() {
    let dir = tempfile::tempdir().unwrap();
    plant(dir.path(), TUNED);
    let needs = needs(PathWish::AfXdp);
    let report = examine(&Live::under(dir.path()), &good_machine(), &needs, 0);
    let left: Vec<_> = states(&report).into_iter().filter(|(_, s)| *s != State::Ok).collect();
    let none = State::NotApplicable;
    // Nothing was measured, and one queue needs no rule.
    let measured = [("gaps", none), ("interrupts per second", none), ("stolen time", none)];
    assert_eq!(left, [&[("steering rules", none)], &measured[..]].concat());
    assert_eq!(report.rows.len(), 63, "a row was lost, or is new: then count it here");
}

#[test]
fn an_untuned_host_is_told_row_by_row() {
    let dir = tempfile::tempdir().unwrap();
    plant(dir.path(), TUNED);
    plant(dir.path(), UNTUNED);
    let needs = needs(PathWish::AfXdp);
    let report = examine(&Live::under(dir.path()), &bad_machine(), &needs, 0);
    let fails: Vec<&str> =
        states(&report).into_iter().filter(|(_, s)| *s == State::Fail).map(|(n, _)| n).collect();
    let failed = [
        "AF_XDP",
        "hot tier (/dev/shm)",
        "locked memory",
        "capabilities",
        "multicast",
        "link",
        "MTU",
    ];
    assert_eq!(fails, failed);
    let fine: Vec<&str> =
        states(&report).into_iter().filter(|(_, s)| *s == State::Ok).map(|(n, _)| n).collect();
    // What is there or only told; everything else is warned of.
    assert_eq!(
        fine,
        ["CPUs of [[thread]]", "turbo", "real-time throttling", "mitigations", "PTP clocks"]
    );
    for row in report.rows.iter().filter(|row| row.state >= State::Warn) {
        assert!(!row.why.is_empty() && !row.mend.is_empty() && !row.seen.is_empty(), "{row:?}");
    }
    assert_eq!(row(&report, "interrupts").seen, "41 eth1-rx-0 on CPU 2");
    assert_eq!(row(&report, "hyper-threads").seen, "CPU 3 with 1");
    assert_eq!(row(&report, "deferred interrupts").seen, "0 times, 200000 ns");
}

#[test]
fn a_host_that_tells_nothing_is_not_guessed_at() {
    let dir = tempfile::tempdir().unwrap();
    let machine = Machine {
        capabilities: Err("no /proc".into()),
        receive_buffer: Err("no socket".into()),
        clock: Err("no clock".into()),
        ..good_machine()
    };
    let report = examine(&Live::under(dir.path()), &machine, &needs(PathWish::Auto), 0);
    let judged: Vec<_> =
        states(&report).into_iter().filter(|(_, s)| *s != State::NotApplicable).collect();
    let ok = State::Ok;
    // Facts of this process, and what absence means: no such process, no such interface.
    assert_eq!(
        judged,
        [
            ("AF_XDP", ok),
            ("irqbalance", ok),
            ("hot tier (/dev/shm)", ok),
            ("disk of the data directory", ok),
            ("locked memory", ok),
            ("link", State::Fail),
        ]
    );
    assert!(report.rows.iter().all(|row| !row.seen.is_empty()), "{report:?}");
}

#[test]
fn what_only_costs_speed_on_udp_fails_where_af_xdp_is_required() {
    let dir = tempfile::tempdir().unwrap();
    plant(dir.path(), TUNED);
    plant(dir.path(), &[("/sys/class/net/eth1/mtu", "9000")]);
    let check = |path, row_name: &str, state| {
        let report = examine(&Live::under(dir.path()), &bad_machine(), &needs(path), 0);
        assert_eq!(row(&report, row_name).state, state, "{row_name} {path:?}");
    };
    for name in ["AF_XDP", "capabilities", "locked memory"] {
        for (_, path) in PathWish::ALL.into_iter().filter(|(_, path)| !path.allows_udp()) {
            check(path, name, State::Fail);
        }
        check(PathWish::Auto, name, State::Warn);
    }
    check(PathWish::Udp, "AF_XDP", State::NotApplicable);
    check(PathWish::Udp, "capabilities", State::NotApplicable);
    // A thread spins: its memory is locked whatever the path.
    check(PathWish::Udp, "locked memory", State::Warn);
    check(PathWish::AfXdp, "MTU", State::Fail);
    check(PathWish::Auto, "MTU", State::Warn);
    check(PathWish::Udp, "MTU", State::Ok);
    check(PathWish::Udp, "deferred interrupts", State::Warn);
}

#[test]
fn a_driver_without_the_rung_that_is_insisted_on_fails() {
    let dir = tempfile::tempdir().unwrap();
    plant(dir.path(), TUNED);
    let all = "0x6b";
    let [copies, none] = ["0x3", "0x0"];
    for (features, path, state) in [
        (all, PathWish::NativeZeroCopy, State::Ok),
        (copies, PathWish::NativeZeroCopy, State::Fail),
        (copies, PathWish::NativeCopy, State::Warn),
        (none, PathWish::Native, State::Fail),
        (none, PathWish::AfXdp, State::Warn),
        (none, PathWish::Generic, State::NotApplicable),
    ] {
        plant(dir.path(), &[("/ethtool/eth1/xdp-features", features)]);
        let report = examine(&Live::under(dir.path()), &good_machine(), &needs(path), 0);
        assert_eq!(row(&report, "XDP of the driver").state, state, "{features} {path}");
    }
}

#[test]
fn over_sockets_locks_and_priorities_are_looked_at_where_they_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    plant(dir.path(), TUNED);
    let none = Needs { locks_memory: false, ..needs(PathWish::Udp) };
    let must = Needs { must_lock_memory: true, ..needs(PathWish::Udp) };
    let urgent = Needs { has_priority: true, ..needs(PathWish::Udp) };
    for (needs, row_name, state) in [
        (&none, "locked memory", State::NotApplicable),
        (&must, "locked memory", State::Fail),
        (&none, "capabilities", State::NotApplicable),
        (&urgent, "capabilities", State::Warn),
    ] {
        let report = examine(&Live::under(dir.path()), &bad_machine(), needs, 0);
        assert_eq!(row(&report, row_name).state, state, "{row_name}");
        let report = examine(&Live::under(dir.path()), &good_machine(), needs, 0);
        assert!(matches!(row(&report, row_name).state, State::Ok | State::NotApplicable));
    }
}

#[test]
fn a_priority_without_cap_sys_nice_warns_on_every_path() {
    let dir = tempfile::tempdir().unwrap();
    plant(dir.path(), TUNED);
    let all = good_machine().capabilities.unwrap();
    let machine =
        Machine { capabilities: Ok(all & !(1 << Capability::SysNice as u64)), ..good_machine() };
    for path in [PathWish::Udp, PathWish::AfXdp] {
        for (has_priority, warns) in [(true, true), (false, false)] {
            let needs = Needs { has_priority, ..needs(path) };
            let report = examine(&Live::under(dir.path()), &machine, &needs, 0);
            let row = row(&report, "capabilities");
            assert_eq!(row.state == State::Warn, warns, "{path} {}", row.seen);
            assert_eq!(row.seen.contains("without CAP_SYS_NICE"), warns, "{path} {}", row.seen);
        }
    }
}

#[test]
fn a_cpu_that_is_not_there_fails() {
    let dir = tempfile::tempdir().unwrap();
    plant(dir.path(), TUNED);
    plant(dir.path(), &[("/sys/devices/system/cpu/online", "0-2")]);
    let report = examine(&Live::under(dir.path()), &good_machine(), &needs(PathWish::Udp), 0);
    let row = row(&report, "CPUs of [[thread]]");
    assert_eq!((row.state, row.seen.as_str()), (State::Fail, "no CPU 3; online are 0-2"));
}

#[test]
fn memory_that_the_hot_tier_has_already_counts() {
    let dir = tempfile::tempdir().unwrap();
    plant(dir.path(), TUNED);
    let needs = needs(PathWish::Udp);
    let room = |free, memory| Ok(Room { total: 1 << 40, free, memory });
    let check = |machine: Machine, degraded, state| {
        let needs = Needs { degraded, ..needs.clone() };
        let report = examine(&Live::under(dir.path()), &machine, &needs, 0);
        assert_eq!(row(&report, "hot tier (/dev/shm)").state, state, "{machine:?}");
    };
    let machine = |free, memory| Machine { hot: room(free, memory), ..good_machine() };
    let (min, all) = (needs.hot_bytes_min, needs.hot_bytes);
    assert!(min < all);
    check(machine(min - 1, true), false, State::Fail);
    check(machine(min, true), false, State::Warn);
    check(machine(all, true), false, State::Ok);
    check(Machine { hot_used: all - min, ..machine(min, true) }, false, State::Ok);
    check(machine(all, false), false, State::Fail);
    check(machine(all, false), true, State::Warn);
}

#[test]
fn sizes_are_rounded_not_cut() {
    for (bytes, text) in [
        (0, "0.0 B"),
        (1_023, "1023.0 B"),
        (1_024, "1.0 KiB"),
        (1_280_000_000, "1.2 GiB"),
        ((1 << 20) - 1, "1.0 MiB"),
        (u64::MAX, "16384.0 PiB"),
    ] {
        assert_eq!(size(bytes), text);
    }
}
