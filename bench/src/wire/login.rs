//! Sessions of the venue, logged in by hand over the client's port.
//!
//! The library's `Broker` repeats what is not answered and keeps what it sent; here both would hide
//! what is to be seen. Consumes a port, produces [`Seat`]s. Source: session.md, Login.

use rialto::clock::{Clock, SystemClock};
use rialto::net::Port;
use rialto::types::{SessionName, User};
use rialto::wire::mold::{HEADER_BYTES, Header, LENGTH_BYTES, PacketBuilder};
use rialto::wire::session::{Accepted, Block, Login, VERSION};
use std::net::SocketAddrV4;

use super::client::Seat;
use super::flow::Flow;

/// Repeat an L after this long.
const REPEAT_NS: u64 = 20_000_000;
/// Repeats until it is given up.
const REPEATS: usize = 1_000;
/// Dead time asked for: the longest.
const DEAD_TIME_MS: u16 = 15_000;

/// User name of a session.
pub fn user(session: u32) -> String {
    format!("W{session:05}")
}

/// Key of a session: nothing secret between two namespaces.
pub fn key(session: u32) -> [u8; 32] {
    [session as u8 + 1; 32]
}

/// Logs `sessions` in. `errand` is called while it waits.
pub fn seats<P: Port>(
    port: &mut P,
    gateway: SocketAddrV4,
    clock: &SystemClock,
    sessions: u32,
    mut errand: impl FnMut(),
) -> Result<Vec<Seat>, String> {
    let mut seats = Vec::new();
    for session in 0..sessions {
        let accepted = log_in(port, gateway, clock, session, &mut errand)?;
        let flow = Flow::new(session, accepted.next_urn);
        seats.push(Seat::new(accepted.token, accepted.applied + 1, flow));
    }
    Ok(seats)
}

fn log_in<P: Port>(
    port: &mut P,
    gateway: SocketAddrV4,
    clock: &SystemClock,
    session: u32,
    errand: &mut impl FnMut(),
) -> Result<Accepted, String> {
    let user = user(session);
    let mut client_nonce = [0; 16];
    client_nonce[..8].copy_from_slice(&clock.now().0.to_le_bytes());
    client_nonce[8..12].copy_from_slice(&session.to_le_bytes());
    let mut login = Login {
        version: VERSION,
        flags: 0,
        user: User::new(&user).unwrap_or_default(),
        wanted: SessionName::BLANK,
        next_report: 0,
        dead_time_ms: DEAD_TIME_MS,
        time: clock.now(),
        client_nonce,
        server_nonce: [0; 16],
        hmac: [0; 32],
    };
    for _ in 0..REPEATS {
        let block = login.signed(&key(session), gateway.ip().octets(), gateway.port());
        port.send(gateway, |out| {
            let mut packet = PacketBuilder::new(out, SessionName::BLANK, 0);
            packet.push_bytes(&block);
            packet.finish()
        });
        port.flush();
        let sent = clock.now();
        let mut accepted = None;
        let mut challenged = false;
        while clock.now().since(sent) < REPEAT_NS && accepted.is_none() && !challenged {
            errand();
            port.receive(|datagram, _| {
                let own = Header::read(datagram).is_some_and(|head| head.sequence == 0);
                let block = datagram.get(HEADER_BYTES + LENGTH_BYTES..).filter(|_| own);
                match block.and_then(Block::read) {
                    Some(Block::Challenge(challenge)) => {
                        challenged |= login.server_nonce != challenge.server_nonce;
                        login.server_nonce = challenge.server_nonce;
                    }
                    Some(Block::Accepted(a)) if a.client_nonce == client_nonce => {
                        accepted = Some(a);
                    }
                    _ => {}
                }
            });
            port.flush();
        }
        if let Some(accepted) = accepted {
            return Ok(accepted);
        }
    }
    Err(format!("session {user} cannot log in at {gateway}"))
}
