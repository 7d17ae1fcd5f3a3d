//! Ethernet frames past the kernel's network stack: AF_XDP sockets, and the XDP program that brings
//! chosen UDP datagrams to them. `libc` is the only dependency; no compiler, ELF file or library of
//! the host is needed. Linux 5.11 or newer.
//!
//! What it consumes: an interface, its queues, a [`Filter`] of up to 16 UDP destinations. What it
//! produces: received frames in place, and frames to write into. Everything else on the interface
//! (ARP, ping, TCP, other ports, fragments) stays with the kernel. It knows Ethernet, IPv4 and UDP
//! headers ([`packet`]), and nothing of what payloads mean.
//!
//! ```no_run
//! use std::net::Ipv4Addr;
//! use af_xdp::packet::{Address, Parser, Template, UdpChecksum};
//! use af_xdp::{Config, Filter, open};
//!
//! # fn main() -> Result<(), af_xdp::Error> {
//! let filter = Filter::new(&["10.77.0.2:7000".parse().unwrap()], None)?;
//! let mut opened = open(&Config::new("eth1", filter.clone()))?;
//! println!("{} on {} pages", opened.mode, if opened.pages == af_xdp::Pages::Huge { 2 << 20 } else { 4096 });
//! for refusal in &opened.refused {
//!     println!("not {}: {}", refusal.mode, refusal.reason);
//! }
//! // Two halves that may go to two threads.
//! let (mut rx, mut tx) = opened.sockets.remove(0).split();
//! let parser = Parser::default();
//! loop {
//!     rx.receive(64, |frame| {
//!         let Ok(datagram) = parser.parse(frame) else { return };
//!         if !filter.accepts(datagram.destination, datagram.vlan) {
//!             return;
//!         }
//!         let answer = Address {
//!             source_mac: datagram.destination_mac,
//!             destination_mac: datagram.source_mac,
//!             source: datagram.destination,
//!             destination: datagram.source,
//!             vlan: datagram.vlan,
//!             ttl: 64,
//!             traffic_class: 0,
//!         };
//!         let headers = Template::new(&answer, UdpChecksum::Zero);
//!         tx.send(|buffer| {
//!             let at = headers.payload_at();
//!             buffer[at..at + datagram.payload.len()].copy_from_slice(datagram.payload);
//!             headers.finish(buffer, datagram.payload.len()).unwrap_or(0)
//!         });
//!     });
//!     tx.kick();
//! }
//! # }
//! ```
//!
//! # Modules in the order of a start
//!
//! [`Interface`]: what there is. [`Umem`] and [`Frame`]: memory, and the right to one chunk of it.
//! [`Socket`] with its halves [`Rx`] and [`Tx`]. [`Program`] and [`Link`]: what is taken from the
//! kernel's path. [`open`] does all of it and walks down the ladder of [`Mode`]s. [`packet`]: headers.
//! [`Neighbours`]: Ethernet addresses for datagrams that answer nothing.
//!
//! # Rules of the hot calls
//!
//! [`Rx::receive`], [`Rx::take`], [`Rx::release`], [`Rx::publish`], [`Tx::reserve`], [`Tx::commit`],
//! [`Tx::complete`] and [`Tx::kick`] allocate nothing, take no lock, read no clock and return no
//! errors to handle: they count ([`RxCounters`], [`TxCounters`], and the kernel's [`Statistics`]).
//! The only system calls are `Tx::kick`'s, and `Rx::publish`'s when the kernel asks for one or
//! preferred busy polling is on. Addresses and indices that the kernel writes are checked; nothing
//! that arrives can cause a panic.
//!
//! # Traps
//!
//! * Program, socket and UMEM belong to the network namespace of the thread that made them. Set the
//!   namespace first, then open.
//! * A program sees only frames of the queue they arrive on, and a socket only its queue. A datagram
//!   on a queue without a socket goes to the kernel, where an ordinary socket may get it.
//! * Closing is asynchronous: for some milliseconds a new bind says EBUSY. [`Socket::bind`] and
//!   [`Program::attach`] try again for ten seconds.
//! * `tcpdump` does not see frames that were redirected to a socket.
//! * Two interfaces of a veth pair leave UDP checksums unfinished, and no NIC is bound to drop wrong
//!   ones: see [`packet::Parser::verify_udp_checksum`].
//! * A NIC that strips VLAN tags hides them from the program: `ethtool -K IF rxvlan off`.
//! * Multicast: the program takes a group's datagrams, but joining (IGMP, and the NIC's filter) is
//!   the kernel's: keep an ordinary socket that joined the group open.
//!
//! # Absent
//!
//! Frames of several buffers (jumbo), unaligned chunks, TX and RX metadata (hardware checksums and
//! timestamps), two sockets on one queue, IPv6.

#![warn(missing_debug_implementations)]

mod abi;
mod device;
mod error;
mod neighbour;
mod netlink;
mod open;
pub mod packet;
mod program;
mod ring;
mod socket;
mod sys;
mod umem;

pub use device::{Interface, InterfaceAddress, MacAddress};
pub use error::{Error, Result};
pub use neighbour::{Neighbours, Resolution, Route};
pub use open::{Config, Mode, Opened, Refusal, open};
pub use program::{Attach, DESTINATIONS_MAX, Filter, Link, Program, TestSocket, Verdict};
pub use socket::{
    BusyPoll, Copying, Rx, RxCounters, Socket, SocketConfig, Statistics, TooLong, Tx, TxCounters,
};
pub use umem::{Frame, HUGE_PAGE_BYTES, HugePages, Pages, Umem, UmemConfig};
