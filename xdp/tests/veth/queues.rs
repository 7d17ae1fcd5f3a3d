//! Several queues: a socket on each, on one of them, and one memory for both.
//!
//! A veth frame arrives on the queue of the number that it left on; under the generic hook on one
//! less (0 stays 0), because the kernel reads the number as a recorded receive queue, which counts
//! from 1. So three queues there make two that are used.

use std::net::UdpSocket;

use af_xdp::Mode;
use af_xdp::packet::{Parser, UdpChecksum};

use crate::echo::answer;
use crate::network::{LEFT_IP, Namespace, Network, RIGHT_IP, config, wait_for};
use crate::traffic::{CLIENT, SERVER, payloads, send, to_server};

/// Sockets on many ports, so that the kernel's hash spreads them over the queues.
fn clients(namespace: &Namespace) -> Vec<UdpSocket> {
    (0..32)
        .map(|i| {
            let socket = namespace.udp(LEFT_IP, 4100 + i);
            socket.connect(SERVER).unwrap();
            socket
        })
        .collect()
}

const MODES: [(Mode, u32); 2] = [(Mode::NativeCopy, 2), (Mode::Generic, 3)];

pub fn two() {
    for (mode, queues) in MODES {
        let network = Network::new(queues);
        assert_eq!(network.right.interface().queues(), queues);
        let mut both = config(&[SERVER], mode);
        both.queues = vec![0, 1];
        let mut opened = network.right.open(&both);
        assert_eq!(opened.sockets.iter().map(|s| s.queue()).collect::<Vec<_>>(), [0, 1]);
        let mut counts = [0, 0];
        let mut buffer = [0; 16];
        for client in clients(&network.left) {
            client.send(b"hello").unwrap();
            wait_for("arrival on either queue", || {
                let answered = [0, 1].map(|queue| answer(&mut opened, queue, UdpChecksum::Zero));
                counts[0] += answered[0];
                counts[1] += answered[1];
                answered[0] + answered[1] == 1
            });
            assert_eq!(client.recv(&mut buffer).unwrap(), 5);
        }
        assert!(counts[0] > 0 && counts[1] > 0 && counts[0] + counts[1] == 32, "{mode} {counts:?}");
    }
}

/// What arrives on a queue without a socket goes to the kernel, to an ordinary socket.
pub fn one_of_two() {
    for (mode, queues) in MODES {
        let network = Network::new(queues);
        let mut opened = network.right.open(&config(&[SERVER], mode));
        let ordinary = network.right.udp(RIGHT_IP, SERVER.port());
        ordinary.set_nonblocking(true).unwrap();
        let (mut ours, mut kernels) = (0, 0);
        for client in clients(&network.left) {
            client.send(b"hello").unwrap();
        }
        let mut buffer = [0; 16];
        wait_for("all 32 on one way or the other", || {
            ours += payloads(&mut opened, 0, Parser::default()).len();
            while ordinary.recv(&mut buffer).is_ok() {
                kernels += 1;
            }
            ours + kernels == 32
        });
        assert!(ours > 0 && kernels > 0, "{mode} {ours} {kernels}");
    }
}

/// A frame received on queue 0 leaves on queue 1, without a copy of ours.
pub fn shared_umem() {
    for mode in [Mode::NativeCopy, Mode::Generic] {
        let network = Network::new(2);
        let mut shared = config(&[SERVER], mode);
        shared.queues = vec![0, 1];
        shared.share_umem = true;
        let mut right = network.right.open(&shared);
        let mut peer = config(&[CLIENT], mode);
        peer.queues = vec![0, 1];
        let mut left = network.left.open(&peer);
        let headers = to_server(None);
        let arrives_on = if mode == Mode::Generic { 0 } else { 1 };
        let umem = right.sockets[0].rx.umem().clone();
        assert_eq!((umem.frame_count(), umem.free_frames()), (256, 0));
        for i in 0..300u32 {
            assert!(send(&mut left.sockets[0].tx, &headers, &i.to_be_bytes()));
            left.sockets[0].tx.kick();
            let mut frame = None;
            wait_for(&format!("{mode}: arrival on queue 0"), || {
                frame = right.sockets[0].rx.take();
                right.sockets[0].rx.publish();
                frame.is_some()
            });
            let mut frame = frame.unwrap();
            let bytes = umem.data_mut(&mut frame);
            let (to, from) = bytes.split_at_mut(6);
            to.swap_with_slice(&mut from[..6]);
            let (from, to) = bytes[26..34].split_at_mut(4);
            from.swap_with_slice(to);
            let (from, to) = bytes[34..38].split_at_mut(2);
            from.swap_with_slice(to);
            let tx = &mut right.sockets[1].tx;
            tx.submit(frame).unwrap();
            assert_eq!(tx.kick(), 0);
            let mut got = Vec::new();
            wait_for(&format!("{mode}: answer"), || {
                let parser = Parser { vlan: None, verify_udp_checksum: true };
                got.extend(payloads(&mut left, arrives_on, parser));
                !got.is_empty()
            });
            assert_eq!(got, [i.to_be_bytes()]);
            wait_for("completion", || right.sockets[1].tx.complete() == 1);
            let home = right.sockets[1].tx.take_free().unwrap();
            right.sockets[0].rx.release(home);
            right.sockets[0].rx.publish();
        }
        assert_eq!(right.sockets[1].tx.free_frames(), 64);
    }
}
