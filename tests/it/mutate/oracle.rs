//! What a datagram may do at most, worked out from the session's page alone: how many commands may
//! be sequenced because of it. Plain and slow on purpose; shares no code with the gateway's own
//! parsing. Must not know what the gateway did.

use rialto::board::Binding;
use rialto::types::*;
use rialto::wire::session::{
    FLAG_PACKET_MAC, LOGIN_BYTES, challenge_nonce, login_hmac, packet_keys, packet_tag,
};
use std::net::SocketAddrV4;

/// What the oracle knows of one session: public facts of the venue, its key, the committed state.
pub struct Facts {
    pub user: User,
    pub key: [u8; 32],
    pub binding: Binding,
    /// Client sequence applied through.
    pub applied: u64,
}

/// The venue as the oracle knows it.
pub struct World<'a> {
    pub sessions: &'a [Facts],
    pub gateway: SocketAddrV4,
    pub gateway_key: [u8; 32],
    pub now: Nanos,
    pub day_over: bool,
    /// Nobody moved a session since the facts were taken: the datagram stands alone.
    pub alone: bool,
}

impl World<'_> {
    /// Commands that `datagram` from `from` may cause at most; 0 = it must change nothing.
    pub fn commands_max(&self, datagram: &[u8], from: SocketAddrV4) -> u64 {
        let Some(head) = datagram.get(..20) else { return 0 };
        let session = &head[..10];
        let sequence = u64::from_be_bytes(head[10..18].try_into().expect("8 bytes"));
        let owner = self.sessions.iter().find(|s| {
            s.binding.generation != 0 && s.binding.token.0 == *session && s.binding.address == from
        });
        if let Some(owner) = owner {
            return self.session_datagram(owner, datagram);
        }
        if *session == [b' '; 10] && sequence == 0 {
            return self.login(datagram, from);
        }
        0
    }

    /// Under a token of the right address.
    fn session_datagram(&self, owner: &Facts, datagram: &[u8]) -> u64 {
        let binding = &owner.binding;
        if !binding.bound {
            return 0;
        }
        let mut bytes = datagram;
        if binding.flags & FLAG_PACKET_MAC != 0 {
            let keys = packet_keys(&owner.key, &binding.client_nonce, &binding.server_nonce);
            let Some(cut) = bytes.len().checked_sub(8) else { return 0 };
            if packet_tag(&keys.client, &bytes[..cut]).to_be_bytes() != bytes[cut..] {
                return 0;
            }
            bytes = &bytes[..cut];
        }
        if bytes.len() < 20 || bytes.len() > 1_400 {
            return 0;
        }
        let sequence = u64::from_be_bytes(bytes[10..18].try_into().expect("8 bytes"));
        let count = u64::from(u16::from_be_bytes([bytes[18], bytes[19]]));
        let rest = &bytes[20..];
        match (count, rest.is_empty()) {
            (0xFFFF, true) => {
                let next = owner.applied.saturating_add(1);
                u64::from(!self.alone || sequence == next)
            }
            (_, true) | (0 | 0xFFFF, false) => 0,
            _ if sequence == 0 || blocks(rest) != Some(count) => 0,
            _ => {
                let after = sequence.saturating_add(count);
                let first_fresh = sequence.max(owner.applied.saturating_add(1));
                let fresh = after.saturating_sub(first_fresh);
                let next = owner.applied.saturating_add(1);
                let jump = self.alone && first_fresh > next.saturating_add(65_536);
                if jump { 0 } else { fresh.min(count) }
            }
        }
    }

    /// A datagram without a session: a login that everything is right with, or nothing.
    fn login(&self, datagram: &[u8], from: SocketAddrV4) -> u64 {
        let well_formed = datagram.len() == 20 + 2 + LOGIN_BYTES
            && datagram[18..22] == [0, 1, 0, LOGIN_BYTES as u8]
            && datagram[22] == b'L';
        if !well_formed || self.day_over {
            return 0;
        }
        let block: &[u8; LOGIN_BYTES] = datagram[22..].try_into().expect("its length");
        let Some(owner) = self.sessions.iter().find(|s| s.user.0 == block[4..10]) else { return 0 };
        let (version, flags) = (block[1], block[2]);
        let time = u64::from_be_bytes(block[32..40].try_into().expect("8 bytes"));
        let nonce = &block[56..72];
        let minute = (self.now.0 / 60_000_000_000) as u32;
        let (ip, port) = (from.ip().octets(), from.port());
        let fresh_nonce = [minute, minute.wrapping_sub(1)].iter().any(|minute| {
            challenge_nonce(&self.gateway_key, ip, port, &owner.user, *minute) == *nonce
        });
        let (to_ip, to_port) = (self.gateway.ip().octets(), self.gateway.port());
        let signed = login_hmac(&owner.key, block, to_ip, to_port) == block[72..];
        let in_time = time.abs_diff(self.now.0) <= 5_000_000_000
            && (owner.binding.generation == 0 || time > owner.binding.login_time.0);
        let allowed = from.ip().octets()[0] == 10;
        let right = version == 1 && flags & !3 == 0 && allowed && fresh_nonce && signed && in_time;
        u64::from(right)
    }
}

/// Blocks that fill `bytes` exactly.
fn blocks(mut bytes: &[u8]) -> Option<u64> {
    let mut count = 0;
    while !bytes.is_empty() {
        let len = usize::from(u16::from_be_bytes([*bytes.first()?, *bytes.get(1)?]));
        bytes = bytes.get(2 + len..)?;
        count += 1;
    }
    Some(count)
}
