//! Over the loopback interface. Each test skips, loudly, where sockets are forbidden.

use super::*;
use crate::net::port::DATAGRAM_BYTES_MAX;

/// A port on the loopback, or a loud reason why the test says nothing here.
fn loopback() -> Option<UdpPort> {
    let port = opened(UdpPort::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)))?;
    let plain = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    match plain.send_to(b"?", plain.local_addr().ok()?) {
        Ok(_) => Some(port),
        Err(error) => {
            skipped(&format!("no UDP over the loopback interface here: {error}"));
            None
        }
    }
}

/// Past the harness's capture, which throws away what a passing test prints.
fn skipped(why: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

fn opened(result: Result<UdpPort>) -> Option<UdpPort> {
    match result {
        Ok(port) => Some(port),
        Err(error) => {
            skipped(&format!("this host gives no UDP socket: {error}"));
            None
        }
    }
}

fn send(port: &mut UdpPort, to: SocketAddrV4, payload: &[u8]) {
    port.send(to, |bytes| {
        bytes[..payload.len()].copy_from_slice(payload);
        payload.len()
    });
}

/// Receives until `count` datagrams are there; waits in poll, at most a minute for each.
fn receive(port: &mut UdpPort, count: usize) -> Vec<(Vec<u8>, SocketAddrV4)> {
    let mut all = Vec::new();
    while all.len() < count && readable(port, 60_000) {
        port.receive(|payload, from| all.push((payload.to_vec(), from)));
    }
    all
}

fn readable(port: &UdpPort, timeout_ms: i32) -> bool {
    let mut polled = libc::pollfd { fd: port.poll_fd().unwrap(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one pollfd, exclusively borrowed.
    unsafe { libc::poll(&mut polled, 1, timeout_ms) > 0 }
}

#[test]
fn more_than_a_burst_arrives_in_order() {
    let (Some(mut a), Some(mut b)) = (loopback(), loopback()) else { return };
    let sent: Vec<_> = (0u32..300).map(|i| (i.to_be_bytes().to_vec(), a.local())).collect();
    for (payload, _) in &sent {
        send(&mut a, b.local(), payload);
    }
    // 300 = 4 full bursts, sent already, and 44 that wait for the flush.
    assert_eq!(a.queued(), 300 % BURST);
    a.flush();
    assert_eq!(a.queued(), 0);
    assert_eq!(receive(&mut b, 300), sent);
    assert_eq!(b.receive(|_, _| panic!("nothing is left")), 0);
    assert_eq!((a.dropped(), b.truncated(), b.receive_errors()), (0, 0, 0));
}

#[test]
fn longest_passes_and_longer_is_counted_not_delivered() {
    let (Some(mut a), Some(mut b)) = (loopback(), loopback()) else { return };
    let std_socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    std_socket.send_to(&[1; DATAGRAM_BYTES_MAX + 1], b.local()).unwrap();
    std_socket.send_to(&[], b.local()).unwrap();
    send(&mut a, b.local(), &[2; DATAGRAM_BYTES_MAX]);
    a.flush();
    let got = receive(&mut b, 2);
    assert_eq!(got[0].0, [0u8; 0]);
    assert_eq!(got[1].0, [2; DATAGRAM_BYTES_MAX]);
    assert_eq!(b.truncated(), 1);
}

#[test]
fn closed_ports_and_impossible_destinations_do_not_stop_the_others() {
    let (Some(mut a), Some(mut b)) = (loopback(), loopback()) else { return };
    // No port that the kernel hands out: a test beside this one could get it.
    let nobody = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9);
    for round in 0u8..20 {
        send(&mut a, nobody, b"icmp port unreachable");
        // Port 0 is refused by the kernel at once (EINVAL).
        send(&mut a, SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), b"impossible");
        send(&mut a, b.local(), &[round]);
        a.flush();
    }
    let got = receive(&mut b, 20);
    assert_eq!(got.iter().map(|(p, _)| p[0]).collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
    assert_eq!(a.dropped(), 20);
    assert_eq!(a.receive(|_, _| panic!("nothing was sent to a")), 0);
}

#[test]
fn a_clone_sends_from_the_same_address_while_the_first_receives() {
    let (Some(mut a), Some(mut b)) = (loopback(), loopback()) else { return };
    let mut twin = a.try_clone().unwrap();
    assert_eq!(twin.local(), a.local());
    send(&mut twin, b.local(), b"from the twin");
    twin.flush();
    let got = receive(&mut b, 1);
    assert_eq!(got, [(b"from the twin".to_vec(), a.local())]);
    send(&mut b, got[0].1, b"answer");
    b.flush();
    assert_eq!(receive(&mut a, 1), [(b"answer".to_vec(), b.local())]);
}

#[test]
fn empty_fill_sends_nothing() {
    let (Some(mut a), Some(b)) = (loopback(), loopback()) else { return };
    a.send(b.local(), |_| 0);
    assert_eq!(a.queued(), 0);
    a.flush();
    assert!(!readable(&b, 0));
}

#[test]
fn the_address_in_use_is_named() {
    let Some(a) = loopback() else { return };
    let error = UdpPort::bind(a.local()).err().expect("the port is taken");
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&a.local().to_string()), "{error}");
}

#[test]
fn buffers_are_granted_and_readable() {
    let Some(a) = loopback() else { return };
    assert!(a.receive_buffer_bytes() > 0 && a.send_buffer_bytes() > 0);
    assert_eq!(a.kernel_receive_drops(), 0);
}

#[test]
fn a_full_receive_buffer_is_seen_in_the_kernels_count() {
    let (Some(mut a), Some(b)) = (loopback(), loopback()) else { return };
    b.socket.set_recv_buffer_size(1).unwrap();
    for _ in 0..1_000 {
        send(&mut a, b.local(), &[0; 1_000]);
    }
    a.flush();
    assert!(b.kernel_receive_drops() > 900, "{}", b.kernel_receive_drops());
}

#[test]
fn multicast_on_the_loopback_reaches_every_member() {
    let interface = Ipv4Addr::LOCALHOST;
    // A port of our own, so that parallel runs do not hear each other.
    let Some(probe) = loopback() else { return };
    let group = SocketAddrV4::new(Ipv4Addr::new(239, 193, 7, 1), probe.local().port());
    let other = SocketAddrV4::new(Ipv4Addr::new(239, 193, 7, 2), probe.local().port());
    let Some(mut one) = opened(UdpPort::join(group, interface)) else { return };
    let Some(mut two) = opened(UdpPort::join(group, interface)) else { return };
    let Some(mut stranger) = opened(UdpPort::join(other, interface)) else { return };
    let Some(mut sender) = opened(UdpPort::multicast_sender(interface, 1)) else { return };
    assert_eq!(one.local(), group);
    for i in 0u8..100 {
        send(&mut sender, group, &[i]);
    }
    send(&mut sender, other, b"other");
    sender.flush();
    let expected: Vec<_> = (0u8..100).map(|i| (vec![i], sender.local())).collect();
    assert_eq!(receive(&mut one, 100), expected);
    assert_eq!(receive(&mut two, 100), expected);
    assert_eq!(receive(&mut stranger, 1), [(b"other".to_vec(), sender.local())]);
    let error = UdpPort::join(probe.local(), interface).err().expect("not a group");
    assert!(error.to_string().contains("not a multicast address"), "{error}");
}

#[test]
fn loss_is_seeded_and_counted() {
    let (Some(mut a), Some(b)) = (loopback(), loopback()) else { return };
    let to = b.local();
    let mut lossy = crate::net::LossyPort::new(b, 7, 100_000);
    let mut received = 0;
    for _ in 0..10 {
        for _ in 0..100 {
            send(&mut a, to, b"x");
        }
        a.flush();
        loop {
            let before = (received, lossy.lost());
            received += lossy.receive(|payload, from| {
                assert_eq!((payload, from), (&b"x"[..], a.local()));
            });
            if (received, lossy.lost()) == before {
                break;
            }
        }
    }
    assert_eq!(received as u64 + lossy.lost(), 1_000);
    assert!((50..200).contains(&lossy.lost()), "{}", lossy.lost());
}
