//! An AF_XDP socket on one queue: rings, frames, and its two halves [`Rx`] and [`Tx`].
//!
//! ```text
//!            fill ring                      TX ring
//!   Rx  ---- free frames ---->  kernel  <---- frames to send ----  Tx
//!       <--- received frames -          ----- sent frames ------>
//!            RX ring                        completion ring
//! ```
//!
//! Each half owns its two rings and its share of the frames, so two threads may use them without
//! any lock. Order of opening follows what drivers expect: memory, rings, frames into the fill ring,
//! then bind. Source: Documentation/networking/af_xdp.rst.

mod rx;
mod statistics;
mod tx;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::abi;
use crate::device::{ETHERNET_BYTES, Interface, VLAN_BYTES};
use crate::error::{Error, Result};
use crate::ring::{Consumer, Producer};
use crate::sys;
use crate::umem::Umem;

pub use rx::{Rx, RxCounters};
pub use statistics::Statistics;
pub use tx::{TooLong, Tx, TxCounters};

/// Preferred busy polling (Linux 5.11): the thread that polls drives the driver's receive work, and
/// interrupts stay off. Needs `CAP_NET_ADMIN`, and on a real NIC `napi_defer_hard_irqs` and
/// `gro_flush_timeout` of the interface. Set these two only when a thread really polls all the
/// time: without one, every packet waits for the timeout (measured on veth: 5 us became 230 us).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BusyPoll {
    /// How long one call may poll, microseconds (`SO_BUSY_POLL`).
    pub micros: u32,
    /// Packets per call (`SO_BUSY_POLL_BUDGET`).
    pub budget: u16,
}

impl Default for BusyPoll {
    /// 20 us and 64 packets: NAPI's own budget, and what the kernel's documentation starts from.
    fn default() -> BusyPoll {
        BusyPoll { micros: 20, budget: 64 }
    }
}

/// Whether the kernel copies frames or the NIC writes into the UMEM itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Copying {
    /// The kernel copies: every driver.
    Copy,
    /// The NIC reads and writes the UMEM: a driver that can, in native mode.
    ZeroCopy,
}

/// How a [`Socket`] is opened.
#[derive(Clone, Copy, Debug)]
pub struct SocketConfig {
    /// Frames that circulate through fill ring and RX ring, 1..=2^20. The rings get the next power
    /// of two.
    pub receive_frames: u32,
    /// Frames to transmit with, 1..=2^20.
    pub transmit_frames: u32,
    /// Copy or not. A socket that shares its UMEM with an earlier one gets what that one has.
    pub copying: Copying,
    /// Let the kernel sleep and say when it wants a system call. Without it, a driver in zero-copy
    /// mode spins.
    pub need_wakeup: bool,
    /// Preferred busy polling.
    pub busy_poll: Option<BusyPoll>,
}

impl Default for SocketConfig {
    /// 2048 frames each way, copy mode, need_wakeup.
    fn default() -> SocketConfig {
        SocketConfig {
            receive_frames: 2048,
            transmit_frames: 2048,
            copying: Copying::Copy,
            need_wakeup: true,
            busy_poll: None,
        }
    }
}

/// A bound socket. Use its halves in place, or [`Socket::split`] them over two threads; the queue
/// is free again when both are dropped (and some milliseconds more).
#[derive(Debug)]
pub struct Socket {
    /// Receiving half.
    pub rx: Rx,
    /// Transmitting half.
    pub tx: Tx,
}

/// What both halves share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) fd: Arc<OwnedFd>,
    pub(crate) umem: Umem,
    pub(crate) queue: u32,
    pub(crate) interface: String,
    pub(crate) copying: Copying,
    pub(crate) need_wakeup: bool,
    pub(crate) busy_poll: bool,
}

impl Socket {
    /// Opens a socket on `queue` of `interface` with frames of `umem`.
    ///
    /// The first socket of a UMEM registers the memory; a further one, on another queue or
    /// interface, shares that registration, its mode included. Both belong to the network
    /// namespace of the calling thread. A queue that is being closed elsewhere is tried again for
    /// ten seconds. Frames arrive when the socket is in a program's map: [`crate::Program::insert`].
    pub fn bind(
        interface: &Interface,
        queue: u32,
        umem: &Umem,
        config: &SocketConfig,
    ) -> Result<Socket> {
        check(interface, queue, umem, config)?;
        let fd = sys::socket(libc::AF_XDP, libc::SOCK_RAW, 0).map_err(|error| {
            match error.raw_os_error() {
                Some(libc::EPERM) => Error::MissingCapability {
                    capability: "CAP_NET_RAW",
                    operation: "opening an AF_XDP socket",
                },
                _ => Error::os("opening an AF_XDP socket for", &interface.name, error),
            }
        })?;
        let fd = Arc::new(fd);
        let earlier = umem.registered();
        if earlier.is_none() {
            umem.register(&fd)?;
        }
        let rings = Rings::new(fd.as_fd(), config)
            .map_err(|error| Error::os("making rings for", &interface.name, error))?;
        if let Some(busy_poll) = config.busy_poll {
            set_busy_poll(fd.as_fd(), busy_poll, &interface.name)?;
        }
        set_transmit_limits(fd.as_fd(), umem, config);

        let mut frames = umem.take(config.receive_frames + config.transmit_frames)?;
        let transmit = frames.split_off(config.receive_frames as usize);
        let Rings { mut fill, completion, rx, tx } = rings;
        // Before bind: several drivers start with what is in the fill ring at that moment, and
        // never ask again.
        for frame in &frames {
            fill.push(umem.address(frame));
        }
        fill.publish();
        if let Err(error) = bind(interface, queue, fd.as_fd(), earlier.as_deref(), config) {
            // Nobody has read the fill ring of a socket that was never bound.
            frames.extend(transmit);
            umem.put_back(frames);
            return Err(error);
        }
        umem.bound(&fd);

        let zero_copy = sys::get_option(
            fd.as_fd(),
            libc::SOL_XDP,
            libc::XDP_OPTIONS,
            libc::xdp_options { flags: 0 },
        )
        .map_err(|error| Error::os("asking for the mode of a socket on", &interface.name, error))?
        .flags
            & libc::XDP_OPTIONS_ZEROCOPY
            != 0;
        let shared = Arc::new(Shared {
            fd,
            umem: umem.clone(),
            queue,
            interface: interface.name.clone(),
            copying: if zero_copy { Copying::ZeroCopy } else { Copying::Copy },
            need_wakeup: config.need_wakeup,
            busy_poll: config.busy_poll.is_some(),
        });
        let frame_max = interface.frame_max();
        Ok(Socket {
            rx: Rx::new(Arc::clone(&shared), rx, fill),
            tx: Tx::new(shared, tx, completion, transmit, frame_max),
        })
    }

    /// The halves, for two threads. The socket stays in its program's map as long as one of them
    /// lives: while only [`Tx`] does, frames that match are lost. Drop the [`crate::Link`] first.
    pub fn split(self) -> (Rx, Tx) {
        (self.rx, self.tx)
    }

    /// The queue.
    pub fn queue(&self) -> u32 {
        self.rx.queue()
    }

    /// Whether the kernel copies: what it says, not what was asked for.
    pub fn copying(&self) -> Copying {
        self.rx.copying()
    }

    /// The kernel's counters. Costs a system call.
    pub fn statistics(&self) -> std::io::Result<Statistics> {
        self.rx.statistics()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.rx.as_fd()
    }
}

fn check(interface: &Interface, queue: u32, umem: &Umem, config: &SocketConfig) -> Result<()> {
    for (field, frames) in
        [("receive_frames", config.receive_frames), ("transmit_frames", config.transmit_frames)]
    {
        if frames == 0 || frames > 1 << 20 {
            return Err(Error::config(field, format!("{frames} is not 1..=2^20")));
        }
    }
    if queue >= interface.queues() {
        return Err(Error::WrongQueue {
            interface: interface.name.clone(),
            queue,
            count: interface.queues(),
        });
    }
    if !interface.up {
        return Err(Error::InterfaceDown { interface: interface.name.clone() });
    }
    if interface.frame_max() + VLAN_BYTES > umem.receive_max() {
        return Err(Error::MtuTooLarge {
            interface: interface.name.clone(),
            mtu: interface.mtu,
            max: Some(umem.receive_max() - ETHERNET_BYTES - VLAN_BYTES),
        });
    }
    Ok(())
}

/// The four rings, mapped.
struct Rings {
    fill: Producer<u64>,
    completion: Consumer<u64>,
    rx: Consumer<libc::xdp_desc>,
    tx: Producer<libc::xdp_desc>,
}

impl Rings {
    /// Each ring holds all frames of its half, so returning a frame never finds it full.
    fn new(fd: BorrowedFd<'_>, config: &SocketConfig) -> std::io::Result<Rings> {
        let receive = config.receive_frames.next_power_of_two();
        let transmit = config.transmit_frames.next_power_of_two();
        for (name, size) in [
            (libc::XDP_UMEM_FILL_RING, receive),
            (libc::XDP_UMEM_COMPLETION_RING, transmit),
            (libc::XDP_RX_RING, receive),
            (libc::XDP_TX_RING, transmit),
        ] {
            sys::set_option(fd, libc::SOL_XDP, name, &size)?;
        }
        // SAFETY: integers only: all zeros is a value.
        let zero: libc::xdp_mmap_offsets = unsafe { std::mem::zeroed() };
        let offsets = sys::get_option(fd, libc::SOL_XDP, libc::XDP_MMAP_OFFSETS, zero)?;
        let fill = libc::XDP_UMEM_PGOFF_FILL_RING as libc::off_t;
        let completion = libc::XDP_UMEM_PGOFF_COMPLETION_RING as libc::off_t;
        Ok(Rings {
            fill: Producer::map(fd, fill, &offsets.fr, receive)?,
            completion: Consumer::map(fd, completion, &offsets.cr, transmit)?,
            rx: Consumer::map(fd, libc::XDP_PGOFF_RX_RING, &offsets.rx, receive)?,
            tx: Producer::map(fd, libc::XDP_PGOFF_TX_RING, &offsets.tx, transmit)?,
        })
    }
}

fn set_busy_poll(fd: BorrowedFd<'_>, busy_poll: BusyPoll, interface: &str) -> Result<()> {
    let set = |name, value: u32| sys::set_option(fd, libc::SOL_SOCKET, name, &value);
    set(abi::SO_PREFER_BUSY_POLL, 1)
        .and_then(|()| set(libc::SO_BUSY_POLL, busy_poll.micros))
        .and_then(|()| set(abi::SO_BUSY_POLL_BUDGET, u32::from(busy_poll.budget)))
        .map_err(|error| match error.raw_os_error() {
            Some(libc::EPERM) => Error::MissingCapability {
                capability: "CAP_NET_ADMIN",
                operation: "preferred busy polling",
            },
            _ => Error::os("setting preferred busy polling on", interface, error),
        })
}

/// In copy mode the kernel makes an skb of each frame. Let it make as many as we have frames: its
/// send buffer would stop at about 90, and one `sendto` at 32. Best effort: without the permission
/// or the option (Linux 6.18) the kick goes on in smaller steps.
fn set_transmit_limits(fd: BorrowedFd<'_>, umem: &Umem, config: &SocketConfig) {
    // A frame and what the kernel accounts for it.
    let bytes = u64::from(config.transmit_frames) * u64::from(umem.frame_size() + 1024);
    let bytes = bytes.min(i32::MAX as u64 / 2) as libc::c_int;
    let force = sys::set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &bytes);
    if force.is_err() {
        let _without_permission = sys::set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, &bytes);
    }
    let budget = config.transmit_frames.next_power_of_two();
    let _older_kernel = sys::set_option(fd, libc::SOL_XDP, abi::XDP_MAX_TX_SKB_BUDGET, &budget);
}

fn bind(
    interface: &Interface,
    queue: u32,
    fd: BorrowedFd<'_>,
    earlier: Option<&OwnedFd>,
    config: &SocketConfig,
) -> Result<()> {
    let mut flags = match config.copying {
        Copying::Copy => libc::XDP_COPY,
        Copying::ZeroCopy => libc::XDP_ZEROCOPY,
    };
    if config.need_wakeup {
        flags |= libc::XDP_USE_NEED_WAKEUP;
    }
    if earlier.is_some() {
        flags = libc::XDP_SHARED_UMEM; // the rest is inherited, and refused if said again
    }
    let address = libc::sockaddr_xdp {
        sxdp_family: libc::AF_XDP as u16,
        sxdp_flags: flags,
        sxdp_ifindex: interface.index,
        sxdp_queue_id: queue,
        sxdp_shared_umem_fd: earlier.map_or(0, |socket| socket.as_raw_fd() as u32),
    };
    let length = size_of::<libc::sockaddr_xdp>() as libc::socklen_t;
    let result = sys::retry_busy(|| {
        // SAFETY: the kernel reads `length` bytes of an address that lives through the call.
        let result =
            unsafe { libc::bind(fd.as_raw_fd(), std::ptr::from_ref(&address).cast(), length) };
        if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    });
    result.map_err(|error| {
        let name = interface.name.clone();
        match error.raw_os_error() {
            Some(libc::EBUSY) => Error::QueueBusy { interface: name, queue },
            Some(libc::ENODEV) => Error::NoSuchInterface { interface: name },
            Some(libc::ENETDOWN) => Error::InterfaceDown { interface: name },
            Some(libc::EOPNOTSUPP | libc::EINVAL) if config.copying == Copying::ZeroCopy => {
                Error::ZeroCopyUnsupported { interface: name, queue }
            }
            // The queues may have changed since the interface was asked.
            Some(libc::EINVAL) => match Interface::named(&interface.name) {
                Ok(now) if queue >= now.queues() => {
                    Error::WrongQueue { interface: name, queue, count: now.queues() }
                }
                _ => Error::os("binding", format!("queue {queue} of {name}"), error),
            },
            _ => Error::os("binding", format!("queue {queue} of {name}"), error),
        }
    })
}
