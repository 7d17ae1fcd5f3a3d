//! Packets: the datagrams that egress and replayer send to a bound client.
//!
//! Each function queues one datagram on a port. Must not decide when, or to whom.

use super::client::Client;
use super::reports::ReportMemory;
use crate::net::Port;
use crate::planted::{self, Bug};
use crate::types::*;
use crate::wire::mold::{self, Header, PacketBuilder};
use crate::wire::ouch::OUTBOUND_BYTES_MAX;
use crate::wire::session::{
    ACCEPTED_BYTES, APPLIED_BYTES, Applied, REFUSED_BYTES, Refused, RefusedCode, seal_packet,
};
use std::net::SocketAddrV4;

/// Adds the packet MAC where it was granted.
#[inline]
pub(super) fn seal(key: &Option<[u8; 16]>, out: &mut [u8], len: usize) -> usize {
    match key {
        Some(key) => seal_packet(key, out, len),
        None => len,
    }
}

/// One datagram of reports `from ..` out of memory, as many as fit and are before `end`; returns
/// the next number. `from < end`, and both within what the memory keeps.
#[inline]
pub(super) fn send_reports(
    port: &mut impl Port,
    client: &Client,
    memory: &ReportMemory,
    slot: SessionSlot,
    from: u64,
    end: u64,
) -> u64 {
    let mut next = from;
    port.send(client.address, |out| {
        let mut packet = PacketBuilder::new(&mut *out, client.name, from);
        while next < end && packet.push_bytes(memory.get(slot, next)) {
            next += 1;
        }
        let len = packet.finish();
        seal(&client.seal, out, len)
    });
    next
}

/// A head alone: heartbeat or end of session, with the next report's number.
pub(super) fn send_head(port: &mut impl Port, client: &Client, sequence: u64, count: u16) {
    port.send(client.address, |out| {
        let len = Header { session: client.name, sequence, count }.write(out);
        seal(&client.seal, out, len)
    });
}

/// K.
pub(super) fn send_applied(port: &mut impl Port, client: &Client, epoch: u32) {
    port.send(client.address, |out| {
        let mut packet = PacketBuilder::new(&mut *out, client.token, 0);
        packet.push(APPLIED_BYTES, |block| {
            let applied = client.applied + planted::is(Bug::AppliedTooFar) as u64;
            let next_report = client.next_report;
            Applied { applied, next_report, epoch }.write(block);
        });
        let len = packet.finish();
        seal(&client.seal, out, len)
    });
}

/// The stored A; never with a packet MAC.
pub(super) fn send_accepted(port: &mut impl Port, client: &Client) {
    port.send(client.address, |out| {
        let mut packet = PacketBuilder::new(out, client.token, 0);
        packet.push(ACCEPTED_BYTES, |block| block.copy_from_slice(&client.accepted));
        packet.finish()
    });
}

/// J; never with a packet MAC.
pub(super) fn send_refused(
    port: &mut impl Port,
    to: SocketAddrV4,
    code: RefusedCode,
    epoch: u32,
    client_nonce: [u8; 16],
) {
    port.send(to, |out| {
        let mut packet = PacketBuilder::new(out, SessionName::BLANK, 0);
        packet.push(REFUSED_BYTES, |block| {
            Refused { code, epoch, client_nonce }.write(block);
        });
        packet.finish()
    });
}

/// Longest datagram without packet MAC: what a replay's budget counts per datagram.
pub(super) const DATAGRAM_BYTES: u64 = mold::PAYLOAD_BYTES_MAX as u64;
/// Reports that fit every datagram, however long they are.
pub(super) const REPORTS_PER_DATAGRAM: u64 = ((mold::PAYLOAD_BYTES_MAX - mold::HEADER_BYTES)
    / (mold::LENGTH_BYTES + OUTBOUND_BYTES_MAX))
    as u64;
