//! The kernel's network: fallback path, clients on this host, multicast.

use super::Host;
use super::kernel::number;
use super::memory::size;
use super::row::{Row, ask, stage};
use crate::host::machine::RECEIVE_BUFFER_WANTED;

pub(super) fn rows(host: &Host) -> Vec<Row> {
    let bulk = "a burst of datagrams finds no room and is dropped: brokers repeat, feeds repair";
    let poll = "receivers on kernel UDP sleep and are woken: 80 us a round trip instead of 12";
    let bytes = RECEIVE_BUFFER_WANTED as u64;
    vec![
        number(
            host,
            "net.core.bpf_jit_enable",
            "1",
            "the program that picks our frames is interpreted, tens of nanoseconds a frame more",
        ),
        at_least(host, "net.core.rmem_max", bytes, bulk),
        at_least(host, "net.core.wmem_max", bytes, bulk),
        granted(host),
        at_least(host, "net.core.netdev_max_backlog", 10_000, bulk),
        at_least(host, "net.core.netdev_budget", 600, bulk),
        at_least(host, "net.core.busy_poll", 50, poll),
        at_least(host, "net.core.busy_read", 50, poll),
        reverse_path(host),
        multicast(host),
    ]
}

fn at_least(host: &Host, name: &str, wanted: u64, why: &str) -> Row {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    let seen = host.surface.text(&path).map_err(|reason| reason.to_string()).and_then(|text| {
        let value: u64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
        Ok((value >= wanted, value.to_string()))
    });
    ask(name, format!("{wanted} or more"), why, stage("sysctl")).warn_unless_read(seen)
}

/// By doing it: a limit may be another one in this network namespace.
fn granted(host: &Host) -> Row {
    let seen = host.machine.receive_buffer.as_ref().map(|&bytes| {
        let good = bytes >= RECEIVE_BUFFER_WANTED as u64;
        (good, size(bytes))
    });
    ask(
        "receive buffer granted",
        size(RECEIVE_BUFFER_WANTED as u64),
        "what a socket of this process really gets",
        stage("sysctl"),
    )
    .warn_unless_read(seen)
}

fn reverse_path(host: &Host) -> Row {
    let ask = ask(
        "rp_filter",
        "0 or 2",
        "multicast from a source that is routed elsewhere is dropped without a word",
        "sysctl -w net.ipv4.conf.INTERFACE.rp_filter=2",
    );
    let name = match &host.interface {
        Ok(name) => name,
        Err(reason) => return ask.none(reason),
    };
    let read = |name: &str| -> Result<u64, String> {
        let path = format!("/proc/sys/net/ipv4/conf/{name}/rp_filter");
        let text = host.surface.text(&path).map_err(|reason| reason.to_string())?;
        text.parse().map_err(|_| format!("{text:?} is no number"))
    };
    // The kernel takes the larger of both: Documentation/networking/ip-sysctl.rst.
    let seen = read("all").and_then(|all| Ok(all.max(read(name)?)));
    ask.warn_unless_read(seen.map(|value| (value != 1, value.to_string())))
}

fn multicast(host: &Host) -> Row {
    let ask = ask(
        "multicast",
        "the interface can",
        "the feed goes out by this interface",
        "ip link set dev INTERFACE multicast on",
    );
    const IFF_MULTICAST: u64 = 0x1000; // linux/if.h
    let name = match &host.interface {
        Ok(name) => name,
        Err(reason) => return ask.none(reason),
    };
    match host.surface.text(&format!("/sys/class/net/{name}/flags")) {
        Ok(text) => match u64::from_str_radix(text.trim_start_matches("0x"), 16) {
            Ok(flags) => {
                let on = flags & IFF_MULTICAST != 0;
                ask.fail_unless(on, if on { "on" } else { "off" })
            }
            Err(_) => ask.none(format!("{text:?} is no number")),
        },
        Err(reason) => ask.none(reason.to_string()),
    }
}
