//! What waits beside a NIC's queues: whoever does not read costs nobody else a CPU or a frame, and what
//! comes through the kernel is read even where the NIC's errand has no CPU.

use rialto::agent::Agent;
use rialto::clock::{Clock, SystemClock};
use rialto::host::wire::{INTERFACE, Wire};
use rialto::net::xdp::{Duties, Nic, NicConfig};
use rialto::net::{BURST, DATAGRAM_BYTES_MAX, Port, XdpPort};
use rialto::types::Nanos;
use std::io::Write;
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::RawFd;
use std::time::Duration;

/// Nothing takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two ports on one NIC. The first one's thread has the receiving duty.
struct Host {
    wire: Wire,
    first: XdpPort,
    second: XdpPort,
    duties: Duties,
}

fn host() -> Option<Host> {
    let wire = match Wire::new() {
        Ok(wire) => wire,
        Err(why) => {
            // Past the test harness, which shows only what failing tests print.
            let _ = writeln!(std::io::stderr(), "SKIPPED: needs root and ip (iproute2): {why}");
            return None;
        }
    };
    let at = |port| SocketAddrV4::new(wire.exchange.ip, port);
    let open = || {
        let mut nic = Nic::open(&NicConfig {
            interface: INTERFACE.into(),
            queues: vec![0],
            modes: af_xdp::Mode::LADDER.to_vec(),
            destinations: vec![at(9_001), at(9_103)],
            busy_poll: false,
        })
        .unwrap();
        (nic.bind(at(9_001)).unwrap(), nic.bind(at(9_103)).unwrap(), nic.start().unwrap())
    };
    let (first, second, duties) = wire.exchange.run(open).unwrap();
    Some(Host { wire, first, second, duties })
}

impl Host {
    /// A socket of the exchange's own host: what it sends there comes through the kernel.
    fn neighbour(&self) -> UdpSocket {
        let (side, ip) = (&self.wire.exchange, self.wire.exchange.ip);
        side.run(|| UdpSocket::bind((ip, 0))).unwrap().unwrap()
    }
}

fn is_readable(fd: RawFd, wait: Duration) -> bool {
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry, which lives through the call.
    unsafe { libc::poll(&raw mut poll, 1, wait.as_millis() as libc::c_int) == 1 }
}

fn received(port: &mut XdpPort) -> usize {
    port.receive(|_, _| ())
}

#[test]
fn nobody_stays_awake_for_a_port_that_does_not_read() {
    let Some(mut host) = host() else { return };
    let neighbour = host.neighbour();
    let parks_on = host.duties.park_fds.clone();
    let errand_is_woken = |wait| parks_on.iter().any(|fd| is_readable(*fd, wait));
    for round in 1..=2 {
        for port in [&mut host.first, &mut host.second] {
            neighbour.send_to(b"order", port.local()).unwrap();
            assert!(errand_is_woken(PATIENCE), "asleep in round {round}");
            let sleeps_on = port.poll_fd().unwrap();
            assert!(!is_readable(sleeps_on, Duration::ZERO), "awake before it may look");
            host.duties.errand.duty_cycle(Nanos(round));
            assert!(!errand_is_woken(Duration::ZERO), "awake until somebody reads");
            assert!(is_readable(sleeps_on, Duration::ZERO), "told, and asleep");
            assert_eq!((received(port), received(port)), (1, 0));
            assert!(!is_readable(sleeps_on, Duration::ZERO), "awake after all was read");
        }
    }
}

#[test]
fn what_is_told_once_is_read_to_its_end() {
    let Some(mut host) = host() else { return };
    let neighbour = host.neighbour();
    let (to, too_long) = (host.second.local(), [0; DATAGRAM_BYTES_MAX + 1]);
    // More than one look takes; those that no port delivers count for nothing there.
    for _ in 0..100 {
        neighbour.send_to(&too_long, to).unwrap();
    }
    for _ in 0..100 {
        neighbour.send_to(b"order", to).unwrap();
    }
    host.duties.errand.duty_cycle(Nanos(1));
    let looks: Vec<usize> = (0..10).map(|_| received(&mut host.second)).collect();
    assert_eq!(looks.iter().sum::<usize>(), 100, "{looks:?}");
}

#[test]
fn frames_and_what_comes_through_the_kernel_are_one_burst_a_look_together() {
    let Some(mut host) = host() else { return };
    let (side, ip) = (&host.wire.clients, host.wire.clients.ip);
    let client = side.run(|| UdpSocket::bind((ip, 0))).unwrap().unwrap();
    let (neighbour, to) = (host.neighbour(), host.first.local());
    for sender in [&client, &neighbour] {
        for _ in 0..100 {
            sender.send_to(b"order", to).unwrap();
        }
    }
    let clock = SystemClock::new();
    let until = clock.now().plus(PATIENCE.as_nanos() as u64);
    while host.duties.counters.frames_received.get() < 100 {
        host.duties.receive.duty_cycle(Nanos(1));
        assert!(clock.now() < until, "{}", host.duties.counters.frames_received.get());
    }
    host.duties.errand.duty_cycle(Nanos(1));
    let looks: Vec<usize> = (0..10).map(|_| received(&mut host.first)).collect();
    assert_eq!(looks.iter().sum::<usize>(), 200, "{looks:?}");
    assert!(looks.iter().all(|count| *count <= BURST), "{looks:?}");
}

#[test]
fn an_idle_nic_without_a_link_says_so() {
    let Some(mut host) = host() else { return };
    let set = |to: &str| {
        let words = ["link", "set", INTERFACE, to];
        let ip = || std::process::Command::new("ip").args(words).status();
        assert!(host.wire.clients.run(ip).unwrap().unwrap().success());
    };
    let (errand, down) = (&mut host.duties.errand, host.duties.counters.clone());
    let mut now = Nanos(1);
    for (to, expected) in [("up", 0), ("down", 1), ("up", 0)] {
        set(to);
        now = now.plus(1_000_000_000);
        errand.duty_cycle(now);
        assert_eq!(down.link_down.get(), expected, "{to}");
    }
}

#[test]
fn without_its_errand_a_nic_hears_the_kernel_too() {
    let Some(mut host) = host() else { return };
    let neighbour = host.neighbour();
    let mut now = Nanos(1_000_000_000);
    host.duties.errand.duty_cycle(now);
    for port in [&mut host.first, &mut host.second] {
        neighbour.send_to(b"order", port.local()).unwrap();
        // The errand was here just now.
        host.duties.receive.housekeeping(now.plus(1_000_000));
        assert_eq!(received(port), 0);
        now = now.plus(1_000_000_000);
        host.duties.receive.housekeeping(now);
        assert!(is_readable(port.poll_fd().unwrap(), Duration::ZERO), "told, and asleep");
        assert_eq!((received(port), received(port)), (1, 0));
        host.duties.errand.duty_cycle(now);
    }
}

#[test]
fn a_port_that_does_not_read_leaves_frames_to_the_others() {
    let Some(mut host) = host() else { return };
    let (side, ip) = (&host.wire.clients, host.wire.clients.ip);
    let client = side.run(|| UdpSocket::bind((ip, 0))).unwrap().unwrap();
    let (flooded, wanted) = (host.second.local(), host.first.local());
    let counters = host.duties.counters.clone();
    let clock = SystemClock::new();
    let until = clock.now().plus(PATIENCE.as_nanos() as u64);
    // As many as the queue has frames, and more.
    let goal = u64::from(rialto::net::xdp::RECEIVE_FRAMES) + 500;
    while counters.frames_received.get() < goal && counters.kernel_lost.get() < 100 {
        for _ in 0..16 {
            client.send_to(b"flood", flooded).unwrap();
        }
        host.duties.receive.duty_cycle(Nanos(1));
        host.duties.errand.housekeeping(Nanos(1));
        assert!(clock.now() < until, "{} of {goal}", counters.frames_received.get());
    }
    let mut heard = 0;
    for _ in 0..1_000 {
        client.send_to(b"order", wanted).unwrap();
        host.duties.receive.duty_cycle(Nanos(1));
        heard += received(&mut host.first);
        if heard > 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(heard > 0, "the flood of one port has taken all frames of the other");
    assert!(counters.frames_crowded_out.get() > 0);
}
