//! Processes that die, and processes that may not.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use af_xdp::{
    BusyPoll, Error, Filter, HugePages, Mode, Program, Socket, SocketConfig, Umem, UmemConfig, open,
};

use crate::network::{INTERFACE, Network, config};
use crate::traffic::SERVER;

/// Argument that makes this program hold the interface until it is killed.
pub const HOLD: &str = "--hold";

/// Opens the interface, says so, and waits for the end of its input.
pub fn hold() {
    let _opened = open(&config(&[SERVER], Mode::NativeCopy)).unwrap();
    println!("held");
    let _end = std::io::stdin().read_line(&mut String::new());
}

/// Kills the child when the test fails on the way.
struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        let _may_be_dead = self.0.kill();
        let _reaped = self.0.wait();
    }
}

pub fn death_detaches() {
    let network = Network::new(1);
    let attached = || network.right.ip(&format!("link show {INTERFACE}")).contains("prog/xdp");
    let child = network.right.run(|| {
        Command::new(std::env::current_exe().unwrap())
            .arg(HOLD)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    });
    let mut holder = Holder(child);
    let mut line = String::new();
    BufReader::new(holder.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "held\n");
    assert!(attached());
    let ours = config(&[SERVER], Mode::NativeCopy);
    assert!(network.right.run(|| open(&ours)).is_err());
    holder.0.kill().unwrap(); // SIGKILL
    holder.0.wait().unwrap();
    crate::network::wait_for("detaching", || !attached());
    drop(network.right.open(&ours));
    crate::network::wait_for("detaching", || !attached());
}

/// Runs `job` on a thread without some effective capabilities (bit numbers).
fn without<R: Send>(network: &Network, bits: &[u32], job: impl FnOnce() -> R + Send) -> R {
    network.right.run(|| {
        // Version 3 of the interface, this thread; two words each of effective, permitted and
        // inheritable. Source: capget(2).
        let header = [0x2008_0522u32, 0];
        let mut data = [0u32; 6];
        // SAFETY: the kernel fills the six words.
        let got = unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), data.as_mut_ptr()) };
        assert_eq!(got, 0, "capget");
        for bit in bits {
            data[*bit as usize / 32 * 3] &= !(1 << (bit % 32));
        }
        // SAFETY: the kernel reads header and data.
        let set = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) };
        assert_eq!(set, 0, "capset");
        job()
    })
}

/// Sets the soft limit of locked memory and puts it back.
struct Memlock(libc::rlimit);

impl Memlock {
    fn limit(bytes: u64) -> Memlock {
        let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the kernel fills and reads structs of ours.
        unsafe {
            assert_eq!(libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut before), 0);
            let now = libc::rlimit { rlim_cur: bytes, rlim_max: before.rlim_max };
            assert_eq!(libc::setrlimit(libc::RLIMIT_MEMLOCK, &now), 0);
        }
        Memlock(before)
    }
}

impl Drop for Memlock {
    fn drop(&mut self) {
        // SAFETY: the kernel reads a struct of ours.
        unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &self.0) };
    }
}

pub fn capabilities() {
    const NET_ADMIN: u32 = 12;
    const NET_RAW: u32 = 13;
    const IPC_LOCK: u32 = 14;
    const SYS_ADMIN: u32 = 21;
    const BPF: u32 = 39;
    let network = Network::new(1);
    let good = config(&[SERVER], Mode::NativeCopy);
    let open_without = |bits: &[u32]| without(&network, bits, || open(&good));
    let missing = |bits: &[u32]| match open_without(bits) {
        Err(Error::MissingCapability { capability, .. }) => capability,
        other => panic!("without {bits:?}: {other:?}"),
    };
    assert_eq!(missing(&[NET_RAW]), "CAP_NET_RAW");
    assert_eq!(missing(&[BPF, SYS_ADMIN]), "CAP_BPF");
    assert_eq!(missing(&[NET_ADMIN, SYS_ADMIN]), "CAP_NET_ADMIN");

    // What the unit file gives is enough: everything else may be missing.
    let needed = [NET_ADMIN, NET_RAW, IPC_LOCK, BPF];
    let all_others: Vec<u32> = (0..41).filter(|bit| !needed.contains(bit)).collect();
    let opened = without(&network, &all_others, || {
        let mut busy = good.clone();
        busy.busy_poll = Some(BusyPoll::default());
        open(&busy)
    });
    drop(opened.unwrap());

    let interface = network.right.interface();
    let umem_config =
        UmemConfig { frame_size: 2048, frame_count: 1024, huge_pages: HugePages::Never };
    let bind = |busy_poll| {
        let umem = Umem::new(&umem_config)?;
        let config = SocketConfig {
            receive_frames: 512,
            transmit_frames: 512,
            busy_poll,
            ..SocketConfig::default()
        };
        Socket::bind(&interface, 0, &umem, &config)
    };
    let error = without(&network, &[NET_ADMIN], || bind(Some(BusyPoll::default()))).unwrap_err();
    let is_admin = matches!(error, Error::MissingCapability { capability: "CAP_NET_ADMIN", .. });
    assert!(is_admin, "{error:?}");

    let _limit = Memlock::limit(1 << 20);
    drop(without(&network, &[], || bind(None)).unwrap());
    let error = without(&network, &[IPC_LOCK], || bind(None)).unwrap_err();
    let told = matches!(error, Error::Memlock { bytes: 0x20_0000, limit: Some(0x10_0000) });
    assert!(told && error.to_string().contains("CAP_IPC_LOCK"), "{error:?}");
    let filter = Filter::new(&[SERVER], None).unwrap();
    assert!(without(&network, &[IPC_LOCK], || Program::load(&filter, 1)).is_ok());
}
