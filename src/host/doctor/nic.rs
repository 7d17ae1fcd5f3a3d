//! The network card: one row per setting, "not applicable" where the card does not have it.

use super::Host;
use super::row::{Row, ask, stage};
use crate::host::netdev;
use crate::host::surface::NicItem;
use crate::net::xdp::PathWish;

/// Headers of Ethernet, IPv4 and UDP in front of a datagram of 1,472 bytes.
const ETHERNET_BYTES: u64 = 14;
/// Of a tag that a switch may add.
const VLAN_BYTES: u64 = 4;
const DATAGRAM_MTU: u64 = 1_472 + 28;

pub(super) fn rows(host: &Host) -> Vec<Row> {
    vec![
        link(host),
        mtu(host),
        xdp(host),
        channels(host),
        steering(host),
        rings(host),
        coalescing(host),
        deferred(host),
        offloads(host),
        checksum(host),
        pause(host),
        energy(host),
        timestamps(host),
    ]
}

fn value(host: &Host, which: NicItem) -> Result<u64, String> {
    let text = host.card(which)?;
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

fn file(host: &Host, name: &str) -> Result<String, String> {
    let interface = host.interface.clone()?;
    let path = format!("/sys/class/net/{interface}/{name}");
    host.surface.text(&path).map_err(|reason| reason.to_string())
}

fn link(host: &Host) -> Row {
    let ask = ask(
        "link",
        "the interface is there and up",
        "nothing is received or sent",
        "gateway.listen or --interface names the card (ip -br address lists them); ip link set dev NAME up",
    );
    let name = match &host.interface {
        Ok(name) => name,
        Err(reason) if !host.needs.path.allows_udp() => return ask.fail(reason),
        Err(reason) => return ask.none(reason),
    };
    if !host.surface.exists(&format!("/sys/class/net/{name}")) {
        return ask.fail(format!("there is no interface {name}"));
    }
    let driver = host.card(NicItem::Driver).map_or(String::new(), |d| format!(", driver {d}"));
    match file(host, "operstate") {
        Ok(state) if state == "up" || state == "unknown" => {
            ask.ok(format!("{name} {state}{driver}"))
        }
        Ok(state) => ask.fail(format!("{name} is {state}{driver}")),
        Err(reason) => ask.none(reason),
    }
}

fn mtu(host: &Host) -> Row {
    let largest = host.needs.frame_bytes - ETHERNET_BYTES - VLAN_BYTES;
    let ask = ask(
        "MTU",
        match host.needs.path {
            PathWish::Udp => format!("{DATAGRAM_MTU} or more"),
            _ => format!("{DATAGRAM_MTU} to {largest}"),
        },
        "smaller: our datagrams do not go out in one piece; larger: a frame holds no such packet",
        format!("ip link set dev INTERFACE mtu {DATAGRAM_MTU}"),
    );
    let mtu =
        match file(host, "mtu").and_then(|text| text.parse::<u64>().map_err(|e| e.to_string())) {
            Ok(mtu) => mtu,
            Err(reason) => return ask.none(reason),
        };
    let fits = mtu <= largest;
    match (host.needs.path, mtu >= DATAGRAM_MTU) {
        (PathWish::Udp, whole) => ask.warn_unless(whole, mtu.to_string()),
        (PathWish::Auto, whole) => ask.warn_unless(whole && fits, mtu.to_string()),
        (_, whole) => ask.fail_unless(whole && fits, mtu.to_string()),
    }
}

fn xdp(host: &Host) -> Row {
    let ask = ask(
        "XDP of the driver",
        "native, with zero copy",
        "copied frames cost about a microsecond each; without native XDP the generic hook is used",
        "a card whose driver has XDP (ice, i40e, mlx5, ...); a newer kernel",
    );
    let path = host.needs.path;
    match path {
        PathWish::Udp => return ask.none("the configured path is UDP sockets"),
        PathWish::Generic => return ask.none("the configured path is the generic hook"),
        _ => {}
    }
    let features = host.card(NicItem::XdpFeatures).and_then(|text| {
        let digits = text.trim_start_matches("0x");
        u64::from_str_radix(digits, 16).map_err(|_| format!("{text:?} is no number"))
    });
    let features = match features {
        Ok(features) => features,
        Err(reason) => return ask.none(reason),
    };
    let native = netdev::BASIC | netdev::REDIRECT;
    let (native, copies) = (features & native == native, features & netdev::XSK_ZEROCOPY == 0);
    match (native, copies) {
        (true, false) => {
            let segments = host.card(NicItem::XdpZeroCopySegments).unwrap_or_default();
            ask.ok(format!("native, zero copy, {segments} fragments at most"))
        }
        (true, true) if path == PathWish::NativeZeroCopy => ask.fail("native, without zero copy"),
        (true, true) => ask.warn("native, without zero copy"),
        (false, _) if path != PathWish::Auto && path != PathWish::AfXdp => {
            ask.fail("none: the generic hook only")
        }
        (false, _) => ask.warn("none: the generic hook only"),
    }
}

fn channels(host: &Host) -> Row {
    let queues = u64::from(host.needs.queues);
    let ask = ask(
        "channels",
        format!("{queues}, as the venue reads"),
        "a frame that arrives in a queue nobody reads goes through the kernel",
        stage("channels"),
    );
    if host.needs.path == PathWish::Udp {
        return ask.none("the configured path is UDP sockets: the kernel reads all queues");
    }
    let seen = value(host, NicItem::Channels).map(|n| {
        let ruled = !steered(host).unwrap_or_default().is_empty();
        (n == queues || n > queues && ruled, n.to_string())
    });
    ask.warn_unless_read(seen)
}

/// Ports with a rule, as `port:queue`.
fn steered(host: &Host) -> Result<Vec<String>, String> {
    let rules = host.card(NicItem::SteeringRules)?;
    let ours = |rule: &&str| {
        let port = rule.split(':').next().and_then(|port| port.parse().ok());
        port.is_some_and(|port| host.needs.ports.contains(&port))
    };
    Ok(rules.split_whitespace().filter(ours).map(str::to_string).collect())
}

fn steering(host: &Host) -> Row {
    let ports: Vec<String> = host.needs.ports.iter().map(u16::to_string).collect();
    let ask = ask(
        "steering rules",
        format!("ports {} to a queue", ports.join(", ")),
        "the card spreads orders over queues by their addresses",
        format!(
            "ethtool -N INTERFACE flow-type udp4 dst-port {} action 0, before the start",
            ports[0]
        ),
    );
    if host.needs.path == PathWish::Udp {
        return ask.none("the configured path is UDP sockets");
    }
    if value(host, NicItem::Channels).is_ok_and(|n| n <= u64::from(host.needs.queues)) {
        return ask.none("one queue: everything arrives there");
    }
    let seen = steered(host).map(|rules| {
        let seen = if rules.is_empty() { "none for our ports".into() } else { rules.join(" ") };
        (rules.len() >= ports.len(), seen)
    });
    ask.warn_unless_read(seen)
}

/// Entries that a ring should have: as many as the fill ring, or all that the card can.
pub(in crate::host) fn ring_wanted(fill: u32, most: u64) -> u64 {
    u64::from(fill).min(most)
}

fn rings(host: &Host) -> Row {
    let most = value(host, NicItem::RingRxMax).unwrap_or(u64::MAX);
    let wanted = ring_wanted(host.needs.fill_entries, most);
    let ask = ask(
        "receive ring",
        format!("{wanted} or more"),
        "a burst is longer than the ring: frames are dropped",
        stage("rings"),
    );
    let seen = value(host, NicItem::RingRx).map(|rx| {
        let tx = host.card(NicItem::RingTx).unwrap_or_else(|_| "unknown".into());
        (rx >= wanted, format!("{rx} (transmit {tx})"))
    });
    ask.warn_unless_read(seen)
}

fn coalescing(host: &Host) -> Row {
    let ask = ask(
        "coalescing",
        "adaptive off, receive 0 us",
        "the card waits for more frames before it tells of one",
        stage("coalescing"),
    );
    let seen = value(host, NicItem::RxUsecs).map(|usecs| {
        let adaptive = value(host, NicItem::AdaptiveRx).unwrap_or(0);
        let word = if adaptive == 0 { "fixed" } else { "adaptive" };
        (usecs == 0 && adaptive == 0, format!("{word}, {usecs} us"))
    });
    ask.warn_unless_read(seen)
}

/// Both settings go together, and only with somebody who polls: measured on a virtual pair, deferring
/// without that made 5 us into 230.
fn deferred(host: &Host) -> Row {
    let ask = ask(
        "deferred interrupts",
        "both 0, or both with busy polling",
        "half set, frames wait for a timer: 200 us instead of 5",
        stage("napi"),
    );
    let number = |name| {
        let text = file(host, name)?;
        text.parse::<u64>().map_err(|_| format!("{text:?} is no number"))
    };
    let (times, ns) = match (number("napi_defer_hard_irqs"), number("gro_flush_timeout")) {
        (Ok(times), Ok(ns)) => (times, ns),
        (Err(reason), _) | (_, Err(reason)) => return ask.none(reason),
    };
    let polled = host.needs.path != PathWish::Udp && host.needs.spins;
    let real = host
        .interface
        .as_ref()
        .is_ok_and(|name| host.surface.exists(&format!("/sys/class/net/{name}/device")));
    let good = match (times, ns) {
        (0, 0) => true,
        (0, _) | (_, 0) => false,
        _ => polled && real,
    };
    ask.warn_unless(good, format!("{times} times, {ns} ns"))
}

fn offloads(host: &Host) -> Row {
    let ask = ask(
        "merging of frames",
        "GRO, LRO and UDP forwarding off",
        "frames wait to be merged; LRO and XDP exclude each other on many cards",
        stage("offloads"),
    );
    let all = [
        ("GRO", NicItem::Gro),
        ("LRO", NicItem::Lro),
        ("UDP forwarding", NicItem::UdpGroForwarding),
    ];
    let read: Vec<(&str, Result<u64, String>)> =
        all.into_iter().map(|(name, which)| (name, value(host, which))).collect();
    if let Some(Err(reason)) = read.iter().map(|(_, v)| v).find(|v| v.is_err())
        && read.iter().all(|(_, v)| v.is_err())
    {
        return ask.none(reason);
    }
    let on: Vec<&str> = read.iter().filter(|(_, v)| v == &Ok(1)).map(|(name, _)| *name).collect();
    ask.warn_unless(
        on.is_empty(),
        match on.is_empty() {
            true => "off".into(),
            false => format!("{} on", on.join(", ")),
        },
    )
}

fn checksum(host: &Host) -> Row {
    let seen = value(host, NicItem::RxChecksum)
        .map(|on| (on == 1, if on == 1 { "on".to_string() } else { "off".to_string() }));
    ask(
        "receive checksums",
        "on",
        "nobody checks datagrams on their way in: the card should",
        stage("offloads"),
    )
    .warn_unless_read(seen)
}

fn pause(host: &Host) -> Row {
    let ask = ask(
        "flow control",
        "off",
        "one slow receiver on the switch stops the whole card",
        stage("pause"),
    );
    let seen = value(host, NicItem::PauseRx).and_then(|rx| {
        let tx = value(host, NicItem::PauseTx)?;
        Ok((rx == 0 && tx == 0, if rx + tx == 0 { "off".into() } else { "on".to_string() }))
    });
    ask.warn_unless_read(seen)
}

fn energy(host: &Host) -> Row {
    let seen = value(host, NicItem::Eee)
        .map(|on| (on == 0, if on == 0 { "off".to_string() } else { "on".to_string() }));
    ask(
        "energy-efficient Ethernet",
        "off",
        "the link sleeps between frames and takes microseconds to wake",
        stage("pause"),
    )
    .warn_unless_read(seen)
}

fn timestamps(host: &Host) -> Row {
    let ask = ask(
        "hardware time stamps",
        "of received frames, with a PTP clock",
        "times of receipt are read by a program, some microseconds late",
        "a card with a PTP clock; nothing else depends on it",
    );
    let seen = value(host, NicItem::HardwareTimestamps).map(|on| {
        let clock = host.card(NicItem::PtpClock).unwrap_or_default();
        match (on, clock.as_str()) {
            (0, _) => (false, "none".to_string()),
            (_, "-1" | "") => (false, "without a clock".into()),
            (_, number) => (true, format!("/dev/ptp{number}")),
        }
    });
    ask.warn_unless_read(seen)
}
