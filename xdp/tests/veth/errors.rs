//! What the host refuses, as the error that says so.

use std::net::SocketAddrV4;

use af_xdp::{Attach, Config, Error, Filter, HugePages, Mode, Program, open};

use crate::network::{INTERFACE, Network, RIGHT_IP, config};

const SERVER: SocketAddrV4 = SocketAddrV4::new(RIGHT_IP, 7000);

pub fn ladder() {
    let network = Network::new(1);
    let mut whole = config(&[SERVER], Mode::Generic);
    whole.modes = Mode::LADDER.to_vec();
    let opened = network.right.open(&whole);
    assert_eq!(opened.mode, Mode::NativeCopy);
    let refused = &opened.refused[0];
    assert!(opened.refused.len() == 1 && refused.mode == Mode::NativeZeroCopy);
    assert!(matches!(refused.reason, Error::ZeroCopyUnsupported { .. }), "{refused:?}");
    drop(opened);

    whole.modes = vec![Mode::NativeZeroCopy];
    let error = network.right.run(|| open(&whole)).unwrap_err();
    assert!(matches!(&error, Error::NoMode { refused } if refused.len() == 1), "{error:?}");
    assert!(error.to_string().contains("allow copies"), "{error}");
    // What failed left nothing behind.
    drop(network.right.open(&config(&[SERVER], Mode::NativeCopy)));

    // Loopback has no driver's hook, but the generic one.
    let mut loopback = Config::new("lo", Filter::new(&[SERVER], None).unwrap());
    loopback.frame_size = 4096;
    network.right.ip("link set lo mtu 1500");
    let opened = network.right.open(&loopback);
    assert_eq!(opened.mode, Mode::Generic);
    for refusal in &opened.refused {
        assert!(matches!(refusal.reason, Error::NativeUnsupported { .. }), "{refusal:?}");
    }
}

pub fn each_variant() {
    let network = Network::new(1);
    let good = config(&[SERVER], Mode::NativeCopy);
    type Change = fn(&mut Config);
    type Check = fn(&Error) -> bool;
    let cases: &[(&str, Change, Check)] = &[
        (
            "no such interface",
            |c| c.interface = "absent0".into(),
            |e| matches!(e, Error::NoSuchInterface { interface } if interface == "absent0"),
        ),
        (
            "wrong queue",
            |c| c.queues = vec![0, 1],
            |e| matches!(e, Error::WrongQueue { queue: 1, count: 1, .. }),
        ),
        (
            "queue twice",
            |c| c.queues = vec![0, 0],
            |e| matches!(e, Error::Config { field: "queues", .. }),
        ),
        (
            "no frames",
            |c| c.receive_frames = 0,
            |e| matches!(e, Error::Config { field: "receive_frames", .. }),
        ),
        (
            "frame size",
            |c| c.frame_size = 1024,
            |e| matches!(e, Error::Config { field: "frame_size", .. }),
        ),
        ("no mode", |c| c.modes.clear(), |e| matches!(e, Error::Config { field: "modes", .. })),
        (
            "more huge pages than any machine has",
            |c| {
                c.huge_pages = HugePages::Require;
                (c.receive_frames, c.transmit_frames) = (1 << 19, 1 << 19);
                c.frame_size = 4096;
            },
            |e| matches!(e, Error::HugePages { .. }) && e.to_string().contains("vm.nr_hugepages"),
        ),
    ];
    for (what, change, check) in cases {
        let mut bad = good.clone();
        change(&mut bad);
        let error = network.right.run(|| open(&bad)).unwrap_err();
        assert!(check(&error), "{what}: {error:?}: {error}");
    }

    let opened = network.right.open(&good);
    let error = network.right.run(|| open(&good)).unwrap_err();
    let busy = matches!(&error, Error::NoMode { refused }
        if matches!(refused[0].reason, Error::ProgramBusy { .. }));
    assert!(busy, "{error:?}");
    let interface = network.right.interface();
    let umem = af_xdp::Umem::new(&af_xdp::UmemConfig {
        frame_size: 2048,
        frame_count: 8,
        huge_pages: HugePages::Never,
    })
    .unwrap();
    let few = af_xdp::SocketConfig {
        receive_frames: 4,
        transmit_frames: 4,
        ..af_xdp::SocketConfig::default()
    };
    let bind = || network.right.run(|| af_xdp::Socket::bind(&interface, 0, &umem, &few));
    let error = bind().unwrap_err();
    assert!(matches!(error, Error::QueueBusy { queue: 0, .. }), "{error:?}");
    assert_eq!(umem.free_frames(), 8, "frames of a bind that failed came back");
    // Closing is asynchronous: the retries bridge it.
    drop(opened);
    drop(bind().unwrap());
    drop(network.right.open(&good));

    network.right.ip(&format!("link set {INTERFACE} down"));
    let error = network.right.run(|| open(&good)).unwrap_err();
    assert!(matches!(error, Error::InterfaceDown { .. }), "{error:?}");
    network.right.ip(&format!("link set {INTERFACE} up"));

    network.right.ip(&format!("link set {INTERFACE} mtu 1800"));
    let error = network.right.run(|| open(&good)).unwrap_err();
    assert!(matches!(error, Error::MtuTooLarge { max: Some(1774), .. }), "{error:?}");
    // veth's own limit is what a page takes, and counts for the peer's MTU.
    network.left.ip(&format!("link set {INTERFACE} mtu 9000"));
    let filter = Filter::new(&[SERVER], None).unwrap();
    let program = Program::load(&filter, 1).unwrap();
    let interface = network.right.interface();
    let error = network.right.run(|| program.attach(&interface, Attach::Native)).unwrap_err();
    assert!(matches!(error, Error::MtuTooLarge { max: None, .. }), "{error:?}");
}
