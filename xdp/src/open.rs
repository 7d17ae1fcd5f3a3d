//! Everything at once: program, sockets on several queues, and the ladder of modes.

use std::fmt;
use std::time::Duration;

use crate::device::Interface;
use crate::error::{Error, Result};
use crate::packet;
use crate::program::{Attach, Filter, Link, Program};
use crate::socket::{BusyPoll, Copying, Socket, SocketConfig};
use crate::umem::{HugePages, Pages, Umem, UmemConfig};

/// A rung of the ladder, fastest first on a real NIC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Mode {
    /// Driver's hook, and the NIC writes into our memory.
    NativeZeroCopy,
    /// Driver's hook, the kernel copies.
    NativeCopy,
    /// Generic hook, the kernel copies: every interface.
    Generic,
}

impl Mode {
    /// All of them, in the order in which they are tried.
    pub const LADDER: [Mode; 3] = [Mode::NativeZeroCopy, Mode::NativeCopy, Mode::Generic];

    fn attach(self) -> Attach {
        match self {
            Mode::NativeZeroCopy | Mode::NativeCopy => Attach::Native,
            Mode::Generic => Attach::Generic,
        }
    }

    fn copying(self) -> Copying {
        match self {
            Mode::NativeZeroCopy => Copying::ZeroCopy,
            Mode::NativeCopy | Mode::Generic => Copying::Copy,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::NativeZeroCopy => "native-zero-copy",
            Mode::NativeCopy => "native-copy",
            Mode::Generic => "generic",
        })
    }
}

/// A rung that was tried and not taken.
#[derive(Debug)]
pub struct Refusal {
    /// The rung.
    pub mode: Mode,
    /// Why not.
    pub reason: Error,
}

/// What [`open`] opens.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the interface.
    pub interface: String,
    /// Queues to put a socket on. A datagram that arrives on another queue stays with the kernel,
    /// so name every queue that may get one (or steer: `ethtool -N`).
    pub queues: Vec<u32>,
    /// What is taken from the kernel's path.
    pub filter: Filter,
    /// Rungs that may be used, tried in this order. A real NIC: [`Mode::LADDER`].
    pub modes: Vec<Mode>,
    /// Bytes of a chunk, 2048 or 4096.
    pub frame_size: u32,
    /// Frames that each socket receives with.
    pub receive_frames: u32,
    /// Frames that each socket transmits with.
    pub transmit_frames: u32,
    /// Pages of the UMEM.
    pub huge_pages: HugePages,
    /// One UMEM for all sockets: a frame received on one queue may be transmitted on another.
    pub share_umem: bool,
    /// See [`SocketConfig::need_wakeup`].
    pub need_wakeup: bool,
    /// Preferred busy polling.
    pub busy_poll: Option<BusyPoll>,
    /// How long each queue may take to transmit a probe frame ([`crate::packet::probe`]) before the
    /// mode counts as refused. None: no probe. Some drivers need 30 s after a zero-copy bind,
    /// because they reset the link.
    pub probe: Option<Duration>,
}

impl Config {
    /// Queue 0 of `interface`, the whole ladder, 2048 frames of 2048 bytes each way, huge pages if
    /// there are any, need_wakeup.
    pub fn new(interface: &str, filter: Filter) -> Config {
        Config {
            interface: interface.to_owned(),
            queues: vec![0],
            filter,
            modes: Mode::LADDER.to_vec(),
            frame_size: 2048,
            receive_frames: 2048,
            transmit_frames: 2048,
            huge_pages: HugePages::Prefer,
            share_umem: false,
            need_wakeup: true,
            busy_poll: None,
            probe: None,
        }
    }
}

/// Sockets that receive. Dropping `link` stops that (frames go to the kernel again).
#[derive(Debug)]
pub struct Opened {
    /// The rung that works.
    pub mode: Mode,
    /// Rungs above it, and why each was refused.
    pub refused: Vec<Refusal>,
    /// The interface as it was found.
    pub interface: Interface,
    /// Pages of the UMEM.
    pub pages: Pages,
    /// One socket per queue, in the order of [`Config::queues`].
    pub sockets: Vec<Socket>,
    /// The program and its map.
    pub program: Program,
    /// Holds the program on the interface.
    pub link: Link,
}

/// Tries the allowed modes in their order and opens sockets and program in the first that works.
///
/// `Err` at once when no mode can help (no such interface or queue, a capability missing, memory);
/// [`Error::NoMode`] when each was refused: the last rung, an ordinary UDP socket, is the caller's.
pub fn open(config: &Config) -> Result<Opened> {
    let last = config.queues.iter().max();
    let Some(&last) = last else {
        return Err(Error::config("queues", "names no queue"));
    };
    if (1..config.queues.len()).any(|i| config.queues[..i].contains(&config.queues[i])) {
        return Err(Error::config("queues", "names a queue twice"));
    }
    if config.modes.is_empty() {
        return Err(Error::config("modes", "allows none"));
    }
    let program = Program::load(&config.filter, last.saturating_add(1))?;
    let mut refused = Vec::new();
    for &mode in &config.modes {
        // Asked anew on each rung: a driver may change its queues with the program.
        let interface = Interface::named(&config.interface)?;
        match open_mode(config, mode, &interface, &program) {
            Ok((sockets, link, pages)) => {
                return Ok(Opened { mode, refused, interface, pages, sockets, program, link });
            }
            Err(reason) if reason.another_mode_may_help() => refused.push(Refusal { mode, reason }),
            Err(reason) => return Err(reason),
        }
    }
    Err(Error::NoMode { refused })
}

/// Program first, sockets then, map last: drivers set up their queues for XDP when the program
/// comes, and until a socket is in the map its frames go to the kernel.
fn open_mode(
    config: &Config,
    mode: Mode,
    interface: &Interface,
    program: &Program,
) -> Result<(Vec<Socket>, Link, Pages)> {
    let link = program.attach(interface, mode.attach())?;
    let sockets_per_umem = if config.share_umem { config.queues.len() as u32 } else { 1 };
    let frames = config.receive_frames.saturating_add(config.transmit_frames);
    let umem_config = UmemConfig {
        frame_size: config.frame_size,
        frame_count: frames.saturating_mul(sockets_per_umem),
        huge_pages: config.huge_pages,
    };
    let socket_config = SocketConfig {
        receive_frames: config.receive_frames,
        transmit_frames: config.transmit_frames,
        copying: mode.copying(),
        need_wakeup: config.need_wakeup,
        busy_poll: config.busy_poll,
    };
    let mut sockets: Vec<Socket> = Vec::with_capacity(config.queues.len());
    for &queue in &config.queues {
        let umem = match sockets.first() {
            Some(first) if config.share_umem => first.rx.umem().clone(),
            _ => Umem::new(&umem_config)?,
        };
        sockets.push(Socket::bind(interface, queue, &umem, &socket_config)?);
    }
    for socket in &sockets {
        program.insert(socket)?;
    }
    if let Some(deadline) = config.probe {
        for socket in &mut sockets {
            socket.tx.probe(&packet::probe(interface.mac), deadline)?;
        }
    }
    let pages = sockets.iter().map(|socket| socket.rx.umem().pages());
    // The worse kind counts: a part on small pages is what the operator should hear of.
    let pages =
        if pages.clone().any(|pages| pages == Pages::Base) { Pages::Base } else { Pages::Huge };
    Ok((sockets, link, pages))
}
