//! Row c, the floor: AF_XDP and nothing else. What comes in is answered by frames of the sizes that
//! the venue would send, and no order is looked at further than that takes.
//!
//! Per poll, as the venue does: one feed packet for all orders, on both lines; reports of a session
//! in one datagram as long as they fit; one kick. Headers are written from templates with full
//! checksums, as the venue's. Must not know books, sessions beyond their number, or the log.

use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use af_xdp::packet::{Address, Datagram, Parser, Template, UdpChecksum};
use af_xdp::{Config, Filter, MacAddress, Mode, Tx, open};
use rialto::wire::mold::{self, PAYLOAD_BYTES_MAX, PacketBuilder};

use super::client::{name, session_of};
use super::flow::IMMEDIATE;

/// Bytes of the messages that the venue answers with; a test holds them against its codecs.
pub const ACCEPTED_BYTES: usize = 64;
/// Canceled.
pub const CANCELED_BYTES: usize = 18;
/// Executed, to both sides.
pub const EXECUTED_BYTES: usize = 36;
/// ITCH A.
pub const FEED_ADD_BYTES: usize = 36;
/// ITCH D.
pub const FEED_DELETE_BYTES: usize = 19;
/// ITCH E.
pub const FEED_EXECUTED_BYTES: usize = 31;

/// Frames of a poll, as the venue's NIC duties take them.
const BURST: usize = 64;

/// What the server needs to know.
#[derive(Clone, Debug)]
pub struct Floor {
    /// Its interface.
    pub interface: String,
    /// Rungs that it may take.
    pub modes: Vec<Mode>,
    /// Where orders come in.
    pub at: SocketAddrV4,
    /// Lines A and B.
    pub groups: [SocketAddrV4; 2],
    /// Sessions that may come.
    pub sessions: u32,
}

type Packet = PacketBuilder<[u8; PAYLOAD_BYTES_MAX]>;

/// Everything that answers; the receiving half is apart.
struct Answers {
    tx: Tx,
    lines: [Template; 2],
    client: Option<(SocketAddrV4, Template)>,
    feed: Packet,
    /// By session: its reports of this poll.
    reports: Vec<Packet>,
    dirty: Vec<usize>,
}

/// Serves until `stop`; tells the mode that works before the first frame.
pub fn serve(floor: &Floor, stop: &AtomicBool, ready: impl FnOnce(Mode)) -> Result<(), String> {
    let filter = Filter::new(&[floor.at], None).map_err(|e| e.to_string())?;
    let opened = open(&Config {
        modes: floor.modes.clone(),
        receive_frames: 4_096,
        transmit_frames: 4_096,
        probe: Some(Duration::from_secs(1)),
        ..Config::new(&floor.interface, filter)
    });
    let mut opened = opened.map_err(|e| e.to_string())?;
    let own_mac = opened.interface.mac;
    let line = |group: SocketAddrV4| {
        let mac = MacAddress::of_group(*group.ip()).ok_or("a line is no group")?;
        Ok::<_, String>(template(own_mac, mac, floor.at, group, 1))
    };
    let (mut rx, tx) = opened.sockets.remove(0).split();
    let empty = |session| PacketBuilder::new([0; PAYLOAD_BYTES_MAX], name(session), 1);
    let mut answers = Answers {
        tx,
        lines: [line(floor.groups[0])?, line(floor.groups[1])?],
        client: None,
        feed: PacketBuilder::new([0; PAYLOAD_BYTES_MAX], name(0), 1),
        reports: (0..floor.sessions).map(empty).collect(),
        dirty: Vec::with_capacity(floor.sessions as usize),
    };
    ready(opened.mode);
    let parser = Parser::default();
    while !stop.load(Ordering::Relaxed) {
        let received = rx.receive(BURST, |frame| {
            if let Ok(datagram) = parser.parse(frame)
                && datagram.destination == floor.at
            {
                answers.take(&datagram, own_mac);
            }
        });
        if received > 0 {
            answers.leave();
        }
        answers.tx.kick();
    }
    Ok(())
}

fn template(
    source_mac: MacAddress,
    destination_mac: MacAddress,
    source: SocketAddrV4,
    destination: SocketAddrV4,
    ttl: u8,
) -> Template {
    let (vlan, traffic_class) = (None, 0);
    let address =
        Address { source_mac, destination_mac, source, destination, vlan, ttl, traffic_class };
    Template::new(&address, UdpChecksum::Full)
}

impl Answers {
    #[inline]
    fn take(&mut self, datagram: &Datagram<'_>, own_mac: MacAddress) {
        if !matches!(&self.client, Some((known, _)) if *known == datagram.source) {
            let Datagram { source_mac, source, destination, .. } = *datagram;
            let way_back = template(own_mac, source_mac, destination, source, 64);
            self.client = Some((source, way_back));
        }
        let Ok((header, mold::Packet::Messages(blocks))) = mold::parse(datagram.payload) else {
            return;
        };
        let session = session_of(&header.session);
        // Sessions come in pairs: the twin is there too.
        if session >= self.reports.len() & !1 {
            return;
        }
        for block in blocks {
            match block {
                [b'O', urn0, urn1, urn2, urn3, rest @ ..] => {
                    let urn = [*urn0, *urn1, *urn2, *urn3];
                    self.report(session, b'A', urn, ACCEPTED_BYTES);
                    if rest.get(21) == Some(&IMMEDIATE) {
                        self.report(session, b'E', urn, EXECUTED_BYTES);
                        self.report(session ^ 1, b'E', urn, EXECUTED_BYTES);
                        self.feed(b'E', FEED_EXECUTED_BYTES);
                    } else {
                        self.feed(b'A', FEED_ADD_BYTES);
                    }
                }
                [b'X', urn0, urn1, urn2, urn3, ..] => {
                    let urn = [*urn0, *urn1, *urn2, *urn3];
                    self.report(session, b'C', urn, CANCELED_BYTES);
                    self.feed(b'D', FEED_DELETE_BYTES);
                }
                _ => {}
            }
        }
    }

    #[inline]
    fn report(&mut self, session: usize, letter: u8, urn: [u8; 4], bytes: usize) {
        if !self.reports[session].fits(bytes) {
            self.leave_reports(session);
        }
        let packet = &mut self.reports[session];
        if packet.is_empty() {
            self.dirty.push(session);
        }
        packet.push(bytes, |block| {
            block[0] = letter;
            block[9..13].copy_from_slice(&urn);
        });
    }

    #[inline]
    fn feed(&mut self, letter: u8, bytes: usize) {
        if !self.feed.fits(bytes) {
            self.leave_feed();
        }
        self.feed.push(bytes, |block| block[0] = letter);
    }

    /// Everything of this poll: the feed first.
    #[inline]
    fn leave(&mut self) {
        if !self.feed.is_empty() {
            self.leave_feed();
        }
        while let Some(session) = self.dirty.pop() {
            if !self.reports[session].is_empty() {
                self.leave_reports(session);
            }
        }
    }

    #[inline]
    fn leave_feed(&mut self) {
        let next = self.feed.next_sequence();
        for line in &self.lines {
            send(&mut self.tx, line, self.feed.packet());
        }
        self.feed.restart(name(0), next);
    }

    #[inline]
    fn leave_reports(&mut self, session: usize) {
        let Some((_, way_back)) = &self.client else { return };
        let reports = &mut self.reports[session];
        send(&mut self.tx, way_back, reports.packet());
        let next = reports.next_sequence();
        reports.restart(name(session as u32), next);
    }
}

#[inline]
fn send(tx: &mut Tx, template: &Template, payload: &[u8]) {
    // No free frame: the datagram is lost, and the client tells.
    tx.send(|buffer| {
        let at = template.payload_at();
        buffer[at..at + payload.len()].copy_from_slice(payload);
        template.finish(buffer, payload.len()).unwrap_or(0)
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use rialto::wire::itch::{ItchError, Message};
    use rialto::wire::ouch::{Outbound, OutboundError};

    /// The venue's own codecs take each message at its length, and at no other.
    #[test]
    fn messages_have_the_venues_sizes() {
        let message = |letter: u8, bytes: usize, side: usize| {
            let mut block = vec![0; bytes];
            block[0] = letter;
            if side > 0 {
                block[side] = b'B';
            }
            block
        };
        let feed = [
            (b'A', FEED_ADD_BYTES, 19),
            (b'D', FEED_DELETE_BYTES, 0),
            (b'E', FEED_EXECUTED_BYTES, 0),
        ];
        for (letter, bytes, side) in feed {
            let read = |bytes| Message::decode(&message(letter, bytes, side)).map(|m| m.size());
            assert_eq!(read(bytes), Ok(bytes));
            assert_eq!(read(bytes + 1), Err(ItchError::Length));
        }
        let reports =
            [(b'A', ACCEPTED_BYTES, 13), (b'C', CANCELED_BYTES, 0), (b'E', EXECUTED_BYTES, 0)];
        for (letter, bytes, side) in reports {
            let read = |bytes| Outbound::decode(&message(letter, bytes, side)).map(|m| m.size());
            assert_eq!(read(bytes), Ok(bytes));
            assert_eq!(read(bytes - 1), Err(OutboundError::Length));
        }
    }
}
