//! Frames, rings and halves under traffic.

use std::net::SocketAddrV4;
use std::sync::mpsc;

use af_xdp::packet::{Address, FRAME_BYTES_MIN, Parser, Template, UdpChecksum};
use af_xdp::{BusyPoll, Config, Filter, Mode, Opened, Tx};

use crate::allocation;
use crate::echo::answer;
use crate::network::{LEFT_IP, LEFT_MAC, Network, RIGHT_IP, RIGHT_MAC, config, wait_for};

pub const CLIENT: SocketAddrV4 = SocketAddrV4::new(LEFT_IP, 4000);
pub const SERVER: SocketAddrV4 = SocketAddrV4::new(RIGHT_IP, 7000);
const MODES: [Mode; 2] = [Mode::NativeCopy, Mode::Generic];

/// From left to right.
pub fn to_server(vlan: Option<u16>) -> Template {
    let address = Address {
        source_mac: LEFT_MAC,
        destination_mac: RIGHT_MAC,
        source: CLIENT,
        destination: SERVER,
        vlan,
        ttl: 64,
        traffic_class: 0,
    };
    Template::new(&address, UdpChecksum::Full)
}

/// Queues one datagram; false when no frame is free.
pub fn send(tx: &mut Tx, headers: &Template, payload: &[u8]) -> bool {
    tx.send(|buffer| {
        let at = headers.payload_at();
        buffer[at..at + payload.len()].copy_from_slice(payload);
        headers.finish(buffer, payload.len()).unwrap()
    })
}

/// Payloads that wait on a queue.
pub fn payloads(opened: &mut Opened, queue: usize, parser: Parser) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    opened.sockets[queue].rx.receive(64, |frame| {
        found.push(parser.parse(frame).expect("a datagram").payload.to_vec());
    });
    found
}

pub fn both_ends() {
    for mode in MODES {
        let network = Network::new(1);
        let mut right = network.right.open(&config(&[SERVER], mode));
        let mut left = network.left.open(&config(&[CLIENT], mode));
        let headers = to_server(None);
        // Between AF_XDP ends nothing is left to a NIC: the checksum can be verified.
        let strict = Parser { vlan: None, verify_udp_checksum: true };
        for i in 0..1000u32 {
            let payload = i.to_be_bytes();
            assert!(send(&mut left.sockets[0].tx, &headers, &payload));
            assert_eq!(left.sockets[0].tx.kick(), 0);
            wait_for("arrival", || answer(&mut right, 0, UdpChecksum::Full) == 1);
            let mut answers = Vec::new();
            wait_for("answer", || {
                answers.extend(payloads(&mut left, 0, strict));
                !answers.is_empty()
            });
            assert_eq!(answers, [payload]);
        }
    }
}

/// The received frame itself is changed and sent back, and comes home through the completion.
pub fn in_place() {
    for mode in MODES {
        let network = Network::new(1);
        let mut opened = network.right.open(&config(&[SERVER], mode));
        let client = network.left.udp(LEFT_IP, CLIENT.port());
        client.connect(SERVER).unwrap();
        let (mut rx, mut tx) = opened.sockets.remove(0).split();
        let umem = rx.umem().clone();
        let mut buffer = [0; 64];
        for i in 0..500u32 {
            client.send(&i.to_be_bytes()).unwrap();
            let mut frame = None;
            wait_for("arrival", || {
                frame = rx.take();
                rx.publish();
                frame.is_some()
            });
            let mut frame = frame.unwrap();
            assert!(!frame.is_empty() && frame.len() == rx.data(&frame).len());
            let bytes = umem.data_mut(&mut frame);
            let (to, from) = bytes.split_at_mut(6);
            to.swap_with_slice(&mut from[..6]);
            let (from, to) = bytes[26..34].split_at_mut(4);
            from.swap_with_slice(to);
            let (from, to) = bytes[34..38].split_at_mut(2);
            from.swap_with_slice(to);
            bytes[40..42].fill(0); // the client's kernel left the sum unfinished
            tx.submit(frame).unwrap();
            tx.kick();
            assert_eq!(client.recv(&mut buffer).unwrap(), 4);
            assert_eq!(buffer[..4], i.to_be_bytes());
            wait_for("completion", || tx.complete() == 1);
            rx.release(tx.take_free().unwrap());
            rx.publish();
        }
        assert_eq!((tx.free_frames(), tx.in_flight()), (64, 0));
        assert_eq!(rx.counters().invalid + tx.counters().invalid, 0);
    }
}

/// Each frame's handling makes the next one arrive, so that one call of `receive` sees many more than
/// there are frames: those it is done with must be the kernel's again before it returns.
pub fn one_long_batch() {
    const COUNT: usize = 500;
    for mode in MODES {
        let network = Network::new(1);
        let mut opened = network.right.open(&config(&[SERVER], mode));
        let client = network.left.udp(LEFT_IP, CLIENT.port());
        client.connect(SERVER).unwrap();
        let rx = &mut opened.sockets[0].rx;
        let mut longest = 0;
        // How long a batch gets is the scheduler's choice: until one was long enough.
        wait_for(&format!("{mode}: a batch longer than the pool"), || {
            client.send(&[0]).unwrap();
            let mut seen = 0;
            wait_for("all of them", || {
                let count = rx.receive(usize::MAX, |_| {
                    seen += 1;
                    if seen < COUNT {
                        client.send(&[0]).unwrap();
                    }
                });
                longest = longest.max(count);
                seen == COUNT
            });
            longest > 64
        });
        assert_eq!(rx.statistics().unwrap().rx_fill_ring_empty_descs, 0);
    }
}

/// Receiving half on one thread, transmitting half on another.
pub fn two_threads() {
    const COUNT: u32 = 2000;
    let network = Network::new(1);
    let mut opened = network.right.open(&config(&[SERVER], Mode::NativeCopy));
    let (mut rx, mut tx) = opened.sockets.remove(0).split();
    let (orders, work) = mpsc::channel::<Option<(Address, Vec<u8>)>>();
    let client = network.left.udp(LEFT_IP, CLIENT.port());
    client.connect(SERVER).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut seen = 0;
            wait_for("all arrivals", || {
                seen += rx.receive(64, |frame| {
                    let datagram = Parser::default().parse(frame).unwrap();
                    let answer = crate::echo::reply(&datagram);
                    orders.send(Some((answer, datagram.payload.to_vec()))).unwrap();
                });
                seen == COUNT as usize
            });
            orders.send(None).unwrap();
        });
        scope.spawn(move || {
            loop {
                let order = work.try_recv();
                if let Ok(Some((address, payload))) = &order {
                    let headers = Template::new(address, UdpChecksum::Zero);
                    assert!(send(&mut tx, &headers, payload));
                }
                // In every turn: what the kernel had no room for goes now.
                tx.kick();
                match order {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => std::thread::yield_now(),
                }
            }
        });
        let mut buffer = [0; 64];
        for i in 0..COUNT {
            client.send(&i.to_be_bytes()).unwrap();
            // A window of 16: both halves are at work at once.
            if i >= 16 {
                client.recv(&mut buffer).unwrap();
                assert_eq!(buffer[..4], (i - 16).to_be_bytes());
            }
        }
        for i in COUNT - 16..COUNT {
            client.recv(&mut buffer).unwrap();
            assert_eq!(buffer[..4], i.to_be_bytes());
        }
    });
}

/// As fast as it goes into a socket that nobody reads: frames are neither lost nor doubled.
pub fn flood() {
    for mode in MODES {
        let network = Network::new(1);
        let mut opened = network.left.open(&config(&[CLIENT], mode));
        let _bound = network.right.udp(RIGHT_IP, SERVER.port());
        let tx = &mut opened.sockets[0].tx;
        let headers = to_server(None);
        let mut sent = 0u64;
        while sent < 50_000 {
            if send(tx, &headers, b"flood") {
                sent += 1;
            } else {
                tx.kick();
                assert_eq!(tx.free_frames() + tx.in_flight() as usize, 64);
            }
        }
        wait_for("completion", || {
            tx.kick();
            tx.complete();
            tx.in_flight() == 0
        });
        let counters = tx.counters();
        assert_eq!((counters.frames, counters.completed), (sent, sent), "{counters:?}");
        assert_eq!((counters.errors, counters.invalid), (0, 0), "{counters:?}");
        assert_eq!(tx.free_frames(), 64);
        // Every frame is another: write into all, then look at all.
        let mut frames: Vec<_> = std::iter::from_fn(|| tx.take_free()).collect();
        for (i, frame) in frames.iter_mut().enumerate() {
            tx.buffer(frame).fill(i as u8);
        }
        for (i, frame) in frames.iter_mut().enumerate() {
            assert!(tx.buffer(frame).iter().all(|&byte| byte == i as u8), "frame {i} is shared");
        }
        assert_eq!(frames.len(), 64);
        frames.into_iter().for_each(|frame| tx.cancel(frame));
    }
}

/// More arrives than there are frames: the rest is dropped and counted, and traffic goes on.
pub fn overrun() {
    for mode in MODES {
        let network = Network::new(1);
        let mut opened = network.right.open(&config(&[SERVER], mode));
        let client = network.left.udp(LEFT_IP, CLIENT.port());
        client.connect(SERVER).unwrap();
        for round in 0..5 {
            for i in 0..300u32 {
                client.send(&i.to_be_bytes()).unwrap();
            }
            let mut got = Vec::new();
            wait_for("what fits", || {
                got.extend(payloads(&mut opened, 0, Parser::default()));
                got.len() >= 64
            });
            let sorted = got.is_sorted();
            assert!(sorted && got.len() <= 300, "{mode} round {round}: {got:?}");
            wait_for("quiet", || payloads(&mut opened, 0, Parser::default()).is_empty());
        }
        let statistics = opened.sockets[0].statistics().unwrap();
        let lost =
            statistics.rx_ring_full + statistics.rx_fill_ring_empty_descs + statistics.rx_dropped;
        assert!(lost > 0, "{mode}: {statistics:?}");
        assert_eq!(opened.sockets[0].rx.counters().invalid, 0);
    }
}

/// Frames with our tag arrive, others do not.
pub fn vlan() {
    for mode in MODES {
        let network = Network::new(1);
        let with_vlan = |to| {
            let filter = Filter::new(&[to], Some(5)).unwrap();
            Config { filter, ..config(&[to], mode) }
        };
        let mut right = network.right.open(&with_vlan(SERVER));
        let mut left = network.left.open(&with_vlan(CLIENT));
        let parser = Parser { vlan: Some(5), verify_udp_checksum: true };
        for (i, (tag, arrives)) in
            [(Some(5), true), (Some(6), false), (None, true), (Some(5), true)].iter().enumerate()
        {
            assert!(send(&mut left.sockets[0].tx, &to_server(*tag), &[i as u8]));
            left.sockets[0].tx.kick();
            if *arrives {
                let mut got = Vec::new();
                wait_for("the frame", || {
                    got.extend(payloads(&mut right, 0, parser));
                    !got.is_empty()
                });
                assert_eq!(got, [[i as u8]], "{mode} {tag:?}");
            }
        }
    }
}

/// The longest frame goes, one byte more does not; short ones are padded.
pub fn lengths() {
    let network = Network::new(1);
    let mut right = network.right.open(&config(&[SERVER], Mode::NativeCopy));
    let mut left = network.left.open(&config(&[CLIENT], Mode::NativeCopy));
    let headers = to_server(None);
    let tx = &mut left.sockets[0].tx;
    assert_eq!(tx.frame_max(), 1514);
    assert!(!send(tx, &headers, &[1; 1473]), "more than the MTU");
    assert!(send(tx, &headers, &[1; 1472]));
    assert!(!send(tx, &to_server(Some(5)), &[1; 1473]), "more than the MTU under a tag");
    assert!(send(tx, &to_server(Some(5)), &[1; 1472]), "a tag is not of the MTU");
    assert!(send(tx, &headers, &[]));
    let frame = tx.reserve().unwrap();
    assert_eq!(tx.commit(frame, 1515).unwrap_err().max, 1514);
    let frame = tx.reserve().unwrap();
    assert!(tx.commit(frame, usize::MAX).is_err());
    assert_eq!(tx.counters().too_long, 4);
    assert_eq!(tx.kick(), 0);
    let mut sizes = Vec::new();
    wait_for("both frames", || {
        right.sockets[0].rx.receive(64, |frame| {
            let payload = Parser::default().parse(frame).unwrap().payload.len();
            sizes.push((frame.len(), payload));
        });
        sizes.len() == 2
    });
    assert_eq!(sizes, [(1514, 1472), (FRAME_BYTES_MIN, 0)]);
    let tx = &mut left.sockets[0].tx;
    wait_for("completion", || {
        tx.complete();
        tx.free_frames() == 64
    });
    assert_eq!(tx.counters().dropped, 0);
}

/// Frames change sides: more to receive with than the fill ring holds, more to send than may be on
/// their way. None gets lost.
pub fn frames_move() {
    let network = Network::new(1);
    let mut opened = network.right.open(&config(&[SERVER], Mode::NativeCopy));
    let client = network.left.udp(LEFT_IP, CLIENT.port());
    client.connect(SERVER).unwrap();
    let (mut rx, mut tx) = opened.sockets.remove(0).split();
    // All to the receiving side, whose ring has 64 places.
    while let Some(frame) = tx.take_free() {
        rx.release(frame);
    }
    rx.publish();
    assert!(tx.reserve().is_none());
    assert_eq!((tx.free_frames(), tx.counters().exhausted), (0, 1));
    let mut taken = Vec::new();
    wait_for("128 frames at once", || {
        let _full_is_no_failure = client.send(b"to keep");
        taken.extend(rx.take());
        rx.publish();
        taken.len() == 128
    });
    let _one_more = client.send(b"to keep");
    assert!(rx.take().is_none(), "more frames than there are");
    // All to the sending side, which may have 64 on their way.
    for frame in taken {
        tx.submit(frame).unwrap();
    }
    assert_eq!((tx.in_flight(), tx.counters().dropped, tx.free_frames()), (64, 64, 64));
    wait_for("completion", || {
        tx.kick();
        tx.complete();
        tx.in_flight() == 0
    });
    assert_eq!(tx.free_frames(), 128);
}

/// Without the need_wakeup protocol every kick is a system call, and everything else is the same.
pub fn without_need_wakeup() {
    for mode in MODES {
        let network = Network::new(1);
        let mut plain = config(&[SERVER], mode);
        plain.need_wakeup = false;
        let mut opened = network.right.open(&plain);
        let client = network.left.udp(LEFT_IP, CLIENT.port());
        client.connect(SERVER).unwrap();
        for i in 0..300u32 {
            client.send(&i.to_be_bytes()).unwrap();
            wait_for("arrival", || answer(&mut opened, 0, UdpChecksum::Zero) == 1);
            let mut buffer = [0; 16];
            assert_eq!(client.recv(&mut buffer).unwrap(), 4);
            assert_eq!(buffer[..4], i.to_be_bytes());
        }
    }
}

pub fn busy_poll() {
    let network = Network::new(1);
    let mut busy = config(&[SERVER], Mode::NativeCopy);
    busy.busy_poll = Some(BusyPoll::default());
    let mut opened = network.right.open(&busy);
    let client = network.left.udp(LEFT_IP, CLIENT.port());
    client.connect(SERVER).unwrap();
    let mut buffer = [0; 64];
    for i in 0..500u32 {
        client.send(&i.to_be_bytes()).unwrap();
        wait_for("arrival", || answer(&mut opened, 0, UdpChecksum::Zero) == 1);
        assert_eq!(client.recv(&mut buffer).unwrap(), 4);
        assert_eq!(buffer[..4], i.to_be_bytes());
    }
    let counters = opened.sockets[0].rx.counters();
    assert!(counters.wakeups > 0 && counters.wakeup_errors == 0, "{counters:?}");
}

/// Neither receiving nor sending allocates; receiving makes no system call in copy mode.
pub fn no_allocation() {
    let network = Network::new(1);
    let mut right = network.right.open(&config(&[SERVER], Mode::NativeCopy));
    let mut left = network.left.open(&config(&[CLIENT], Mode::NativeCopy));
    let headers = to_server(None);
    let mut received = 0;
    let before = allocation::count();
    for _ in 0..2000 {
        assert!(send(&mut left.sockets[0].tx, &headers, b"0123456789"));
        left.sockets[0].tx.kick();
        left.sockets[0].tx.complete();
        let rx = &mut right.sockets[0].rx;
        received += rx.receive(64, |frame| assert!(Parser::default().parse(frame).is_ok()));
        if let Some(frame) = rx.take() {
            received += 1;
            rx.release(frame);
            rx.publish();
        }
    }
    assert_eq!(allocation::count() - before, 0);
    assert!(received > 100, "{received}");
    assert_eq!(right.sockets[0].rx.counters().wakeups, 0);
    let counters = left.sockets[0].tx.counters();
    assert!(counters.kicks <= 2000 + counters.again + counters.dropped, "{counters:?}");
}
