//! A live feed as the crate moldudp follows it, with packets withheld on purpose.
//!
//! moldudp joins the group itself, so a relay stands between: it listens to the real group and
//! sends on to another one, leaving out every n-th packet of messages. moldudp sees the gaps, asks
//! the real retransmitter and merges what comes back; the messages in order are the result. Each
//! packet's head and blocks are compared with our own decode on the way.

use anyhow::{Context, Result, bail};
use moldudp::{MoldUDP64, PacketKind, RetransmissionPacket, RetransmissionRequest};
use rialto::wire::mold;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What to follow and until when.
#[derive(Clone, Debug)]
pub struct Options {
    /// The feed's group.
    pub group: SocketAddrV4,
    /// Interface to join on and to send to the relay's group on.
    pub interface: Ipv4Addr,
    /// The retransmitter.
    pub request: SocketAddrV4,
    /// Session name of the feed.
    pub session: String,
    /// Group and port of the relay; the port must be free on this host.
    pub relay: SocketAddrV4,
    /// Every n-th packet of messages is withheld; 0 = none.
    pub drop_every: u64,
    /// Ask again for what is missing after this.
    pub ask_again: Duration,
    /// Stop after so many messages in order; `None` = at the end of session.
    pub messages: Option<u64>,
    /// Stop when nothing is missing and no message came for so long, heartbeats or not.
    pub idle: Option<Duration>,
    /// Stop when nothing at all was heard for so long.
    pub silence: Duration,
    /// Stop in any case after so long.
    pub limit: Duration,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Messages in order, from number 1.
    pub messages: Vec<Vec<u8>>,
    /// Packets heard by moldudp, live or repaired.
    pub packets: u64,
    /// Packets of messages that the relay sent on.
    pub relayed: u64,
    /// Packets of messages that the relay withheld.
    pub withheld: u64,
    /// Packets that filled an earlier hole.
    pub repaired: u64,
    /// Requests sent again by us, through moldudp.
    pub asked_again: u64,
    /// Messages that came twice with other bytes, or packets that we read otherwise.
    pub disagreements: u64,
    /// The feed said it was over.
    pub ended: bool,
    /// Messages known to be missing when we stopped.
    pub missing: u64,
}

fn group_socket(group: SocketAddrV4, interface: Ipv4Addr) -> Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(group)).with_context(|| format!("binding {group}"))?;
    socket
        .join_multicast_v4(group.ip(), &interface)
        .with_context(|| format!("joining {group} on {interface}"))?;
    // As much as the kernel grants: the relay must not be the one that loses packets.
    let _ = socket.set_recv_buffer_size(8 << 20);
    Ok(socket.into())
}

/// A socket that sends multicast out of `interface`, heard on this host too.
pub fn sender(interface: Ipv4Addr) -> Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.bind(&SockAddr::from(SocketAddrV4::new(interface, 0)))?;
    socket.set_multicast_if_v4(&interface)?;
    socket.set_multicast_loop_v4(true)?;
    socket.set_multicast_ttl_v4(0)?;
    Ok(socket.into())
}

struct Relay {
    stop: AtomicBool,
    relayed: AtomicU64,
    withheld: AtomicU64,
}

fn relay(from: &UdpSocket, to: &UdpSocket, options: &Options, relay: &Relay) {
    let mut buffer = [0; 2048];
    while !relay.stop.load(Ordering::Relaxed) {
        // The time-out of 10 ms comes back as an error.
        let Ok(len) = from.recv(&mut buffer) else { continue };
        let datagram = &buffer[..len];
        let carries =
            mold::Header::read(datagram).is_some_and(|h| h.count != 0 && h.count != 0xFFFF);
        if carries {
            let seen =
                relay.relayed.load(Ordering::Relaxed) + relay.withheld.load(Ordering::Relaxed) + 1;
            if options.drop_every != 0 && seen.is_multiple_of(options.drop_every) {
                relay.withheld.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            relay.relayed.fetch_add(1, Ordering::Relaxed);
        }
        // A full socket buffer is one more lost packet, which moldudp repairs.
        let _ = to.send_to(datagram, options.relay);
    }
}

/// Compares moldudp's view of a packet with ours; returns number and bytes of each message.
fn read(bytes: &[u8]) -> Result<(mold::Header, Vec<Vec<u8>>)> {
    let theirs = moldudp::Packet::new(bytes);
    let header = mold::Header::read(bytes).context("shorter than a head")?;
    let same = *theirs.session_ident_raw() == header.session.0
        && theirs.seq_num() == header.sequence
        && theirs.msg_count() == header.count;
    if !same {
        bail!("moldudp reads another head than {header:?}");
    }
    let blocks: Vec<Vec<u8>> = mold::blocks(bytes)
        .map_err(|error| anyhow::anyhow!("{error:?}"))?
        .map(<[u8]>::to_vec)
        .collect();
    let their_blocks: Vec<Vec<u8>> = theirs.iter().map(|m| m.data().to_vec()).collect();
    if blocks != their_blocks {
        bail!("moldudp reads other blocks than {blocks:02x?}");
    }
    Ok((header, blocks))
}

/// Follows the feed until one of the ends in `options`.
#[allow(clippy::disallowed_methods)] // a test tool: it may look at the clock
pub fn follow(options: &Options) -> Result<Report> {
    let from = group_socket(options.group, options.interface)?;
    from.set_read_timeout(Some(Duration::from_millis(10)))?;
    let to = sender(options.interface)?;
    let state = Arc::new(Relay {
        stop: AtomicBool::new(false),
        relayed: AtomicU64::new(0),
        withheld: AtomicU64::new(0),
    });

    let (packets, requests) = MoldUDP64::builder()
        .multicast_addr(options.relay)
        .interface_addr(options.interface)
        .rerequest_server_addrs(vec![SocketAddr::V4(options.request)])
        .expected_session_ident(options.session.clone())
        .expected_seq_num(1)
        .build()
        .start()
        .with_context(|| format!("moldudp on {}", options.relay))?;
    let thread = {
        let (state, options) = (Arc::clone(&state), options.clone());
        std::thread::spawn(move || relay(&from, &to, &options, &state))
    };

    let mut report = Report::default();
    let mut waiting: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    let (mut next, mut known) = (1u64, 1u64);
    let started = Instant::now();
    let (mut heard, mut asked, mut moved) = (started, started, started);
    let wanted = options.session.as_bytes();
    loop {
        let now = Instant::now();
        let enough = options.messages.is_some_and(|messages| next > messages);
        if enough || (report.ended && next == known) {
            break;
        }
        if next == known && next > 1 && options.idle.is_some_and(|idle| now - moved > idle) {
            break;
        }
        if now - heard > options.silence || now - started > options.limit {
            break;
        }
        if next < known && now - asked > options.ask_again {
            // moldudp asks once per gap, and one answer is one packet: ask on from what is missing.
            let end = waiting.keys().next().copied().unwrap_or(known);
            let count = (end - next).min(0xFFFE) as u16;
            let session = wanted.try_into().context("a session name has 10 characters")?;
            let packet = RetransmissionPacket::new(session, next, count);
            if requests.try_send(RetransmissionRequest::new(packet)).is_ok() {
                report.asked_again += 1;
            }
            asked = now;
        }
        let Ok(datagram) = packets.recv_timeout(Duration::from_millis(5)) else { continue };
        heard = Instant::now();
        report.packets += 1;
        let (header, blocks) = match read(datagram.bytes()) {
            Ok(packet) => packet,
            Err(error) => {
                eprintln!("{error:#}");
                report.disagreements += 1;
                continue;
            }
        };
        if header.session.0 != wanted {
            continue;
        }
        let kind = moldudp::Packet::new(datagram.bytes()).packet_kind();
        report.ended |= matches!(kind, PacketKind::EndOfSession);
        let before = next;
        let live_edge = known;
        for (i, block) in blocks.into_iter().enumerate() {
            let number = header.sequence + i as u64;
            known = known.max(number + 1);
            if number < next {
                let have = &report.messages[usize::try_from(number)? - 1];
                report.disagreements += u64::from(*have != block);
            } else if let Some(have) = waiting.get(&number) {
                report.disagreements += u64::from(*have != block);
            } else {
                waiting.insert(number, block);
            }
        }
        known = known.max(header.sequence);
        while let Some(block) = waiting.remove(&next) {
            report.messages.push(block);
            next += 1;
        }
        if next > before {
            (asked, moved) = (heard, heard);
            report.repaired += u64::from(header.sequence < live_edge);
        }
    }
    state.stop.store(true, Ordering::Relaxed);
    if thread.join().is_err() {
        bail!("the relay panicked");
    }
    report.relayed = state.relayed.load(Ordering::Relaxed);
    report.withheld = state.withheld.load(Ordering::Relaxed);
    report.missing = known - next - waiting.len() as u64;
    Ok(report)
}
