//! A client that does what it is told: every datagram by hand, everything received kept.

use super::{GATEWAY, Venue, key, user};
use rialto::net::{MemoryPort, Port};
use rialto::types::*;
use rialto::wire::mold::{self, END_OF_SESSION, Header, PacketBuilder};
use rialto::wire::ouch::{self, Appendage, Inbound, Outbound};
use rialto::wire::session::*;
use std::net::SocketAddrV4;

/// One datagram from the exchange.
#[derive(Clone, PartialEq, Debug)]
pub enum Received {
    Own(Block),
    Reports(u64, Vec<Outbound>),
    Heartbeat(u64),
    End(u64),
}

pub struct RawClient {
    pub port: MemoryPort,
    pub slot: usize,
    pub key: [u8; 32],
    pub gateway: SocketAddrV4,
    /// Drawn anew by each login.
    pub nonce: u8,
    pub flags: u8,
    pub dead_time_ms: u16,
    pub accepted: Option<Accepted>,
    pub token: Token,
    pub keys: Option<PacketKeys>,
    /// Next client sequence, kept by [`RawClient::send`].
    pub next: u64,
    /// Every datagram sent, and every one received.
    pub sent: Vec<Vec<u8>>,
    pub heard: Vec<Vec<u8>>,
    /// Everything received and not taken yet.
    pub inbox: Vec<Received>,
    /// Whole datagrams of what is in `inbox`, tag included.
    pub raw: Vec<Vec<u8>>,
}

impl RawClient {
    pub fn new(port: MemoryPort, slot: usize) -> RawClient {
        RawClient {
            port,
            slot,
            key: key(slot),
            gateway: GATEWAY,
            nonce: 0,
            flags: 0,
            dead_time_ms: 0,
            accepted: None,
            token: Token::BLANK,
            keys: None,
            next: 1,
            sent: Vec::new(),
            heard: Vec::new(),
            inbox: Vec::new(),
            raw: Vec::new(),
        }
    }

    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.sent.push(bytes.to_vec());
        self.port.send(self.gateway, |out| {
            out[..bytes.len()].copy_from_slice(bytes);
            bytes.len()
        });
        self.port.flush();
    }

    /// The L of the next login, unsigned; `time` in ns.
    pub fn login_block(&mut self, time: Nanos, server_nonce: [u8; 16]) -> Login {
        Login {
            version: VERSION,
            flags: self.flags,
            user: user(self.slot),
            wanted: SessionName::BLANK,
            next_report: 0,
            dead_time_ms: self.dead_time_ms,
            time,
            client_nonce: [self.nonce; 16],
            server_nonce,
            hmac: [0; 32],
        }
    }

    pub fn signed(&self, login: &Login) -> [u8; LOGIN_BYTES] {
        login.signed(&self.key, self.gateway.ip().octets(), self.gateway.port())
    }

    pub fn send_own(&mut self, block: &[u8]) {
        let mut buffer = [0; mold::PAYLOAD_BYTES_MAX];
        let mut packet = PacketBuilder::new(&mut buffer[..], SessionName::BLANK, 0);
        assert!(packet.push_bytes(block));
        let bytes = packet.packet().to_vec();
        self.send_raw(&bytes);
    }

    /// The whole login; panics unless A comes. Time moves by 1 us, so that logins are told apart.
    pub fn login(&mut self, venue: &mut Venue) -> Accepted {
        match self.try_login(venue) {
            Some(Block::Accepted(accepted)) => accepted,
            other => panic!("login answered by {other:?}"),
        }
    }

    /// The whole login; the last own block that answered.
    pub fn try_login(&mut self, venue: &mut Venue) -> Option<Block> {
        venue.clock.advance(1_000);
        self.nonce += 1;
        let time = venue.now();
        let first = self.login_block(time, [0; 16]);
        self.send_own(&first.bytes());
        venue.settle();
        self.receive();
        let challenge = self.inbox.drain(..).find_map(|r| match r {
            Received::Own(Block::Challenge(c)) => Some(c.server_nonce),
            _ => None,
        });
        self.raw.clear();
        let second = self.login_block(time, challenge?);
        let block = self.signed(&second);
        self.send_own(&block);
        venue.settle();
        self.receive_login(challenge?)
    }

    /// Takes A or J out of the inbox and adopts an A.
    pub fn receive_login(&mut self, server_nonce: [u8; 16]) -> Option<Block> {
        self.receive();
        let at = self
            .inbox
            .iter()
            .position(|r| matches!(r, Received::Own(Block::Accepted(_) | Block::Refused(_))))?;
        self.raw.remove(at);
        let Received::Own(block) = self.inbox.remove(at) else { unreachable!() };
        if let Block::Accepted(accepted) = block {
            assert!(verify_accepted(&self.key, &accepted_bytes(&accepted)));
            assert_eq!(accepted.client_nonce, [self.nonce; 16]);
            self.token = accepted.token;
            self.next = accepted.applied + 1;
            self.keys = (accepted.flags & FLAG_PACKET_MAC != 0)
                .then(|| packet_keys(&self.key, &accepted.client_nonce, &server_nonce));
            self.accepted = Some(accepted);
        }
        Some(block)
    }

    /// The datagram of `blocks` from `sequence` on, with the MAC where granted.
    pub fn packet(&self, sequence: u64, blocks: &[&[u8]]) -> Vec<u8> {
        let mut buffer = [0; mold::PAYLOAD_BYTES_MAX];
        let mut packet = PacketBuilder::new(&mut buffer[..], self.token, sequence);
        for block in blocks {
            assert!(packet.push_bytes(block));
        }
        let bytes = packet.packet().to_vec();
        self.sealed(bytes)
    }

    pub fn sealed(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        if let Some(keys) = &self.keys {
            let len = bytes.len();
            bytes.resize(len + PACKET_TAG_BYTES, 0);
            seal_packet(&keys.client, &mut bytes, len);
        }
        bytes
    }

    pub fn send_at(&mut self, sequence: u64, blocks: &[&[u8]]) {
        let bytes = self.packet(sequence, blocks);
        self.send_raw(&bytes);
    }

    /// Sends `blocks` under the next numbers.
    pub fn send(&mut self, blocks: &[&[u8]]) {
        self.send_at(self.next, blocks);
        self.next += blocks.len() as u64;
    }

    pub fn send_head(&mut self, session: SessionName, sequence: u64, count: u16) {
        let mut bytes = vec![0; mold::HEADER_BYTES];
        Header { session, sequence, count }.write(&mut bytes);
        let bytes = self.sealed(bytes);
        self.send_raw(&bytes);
    }

    pub fn heartbeat(&mut self) {
        self.send_head(self.token, self.next, 0);
    }

    pub fn logoff(&mut self) {
        self.send_head(self.token, self.next, END_OF_SESSION);
    }

    pub fn request(&mut self, from: u64, count: u16) {
        let name = self.accepted.expect("logged in").downstream;
        self.send_head(name, from, count);
    }

    /// Takes what has arrived into the inbox.
    pub fn receive(&mut self) {
        let (keys, inbox, raw) = (self.keys, &mut self.inbox, &mut self.raw);
        let heard = &mut self.heard;
        loop {
            let count = self.port.receive(|datagram, from| {
                assert_eq!(from, GATEWAY);
                heard.push(datagram.to_vec());
                raw.push(datagram.to_vec());
                inbox.push(read(datagram, &keys));
            });
            if count == 0 {
                return;
            }
        }
    }

    /// Everything that has arrived.
    pub fn take(&mut self) -> Vec<Received> {
        self.receive();
        self.raw.clear();
        std::mem::take(&mut self.inbox)
    }

    /// The reports that have arrived, numbers checked to be without holes within each datagram.
    pub fn reports(&mut self) -> Vec<(u64, Outbound)> {
        let mut reports = Vec::new();
        for received in self.take() {
            if let Received::Reports(first, blocks) = received {
                reports.extend(blocks.into_iter().zip(first..).map(|(b, n)| (n, b)));
            }
        }
        reports
    }

    /// Letters of the reports that have arrived, in order.
    pub fn letters(&mut self) -> String {
        self.reports().iter().map(|(_, report)| letter(report)).collect()
    }
}

pub fn accepted_bytes(accepted: &Accepted) -> [u8; ACCEPTED_BYTES] {
    let mut bytes = [0; ACCEPTED_BYTES];
    accepted.write(&mut bytes);
    bytes
}

pub fn letter(report: &Outbound) -> char {
    match report {
        Outbound::SystemEvent(_) => 'S',
        Outbound::Accepted(_) => 'A',
        Outbound::Replaced(_) => 'U',
        Outbound::Canceled(_) => 'C',
        Outbound::Executed(_) => 'E',
        Outbound::Rejected(_) => 'J',
        Outbound::CancelRefused(_) => 'I',
        Outbound::QueryResponse(_) => 'Q',
        Outbound::NotApplied(_) => 'N',
    }
}

/// Reads a datagram of the exchange: own blocks never carry a MAC but K, all else does.
fn read(datagram: &[u8], keys: &Option<PacketKeys>) -> Received {
    let plain = |bytes: &[u8]| {
        let (header, packet) = mold::parse(bytes).ok()?;
        let mold::Packet::Messages(mut blocks) = packet else { return None };
        (header.sequence == 0).then(|| Block::read(blocks.next().unwrap()).unwrap())
    };
    if let Some(own) = plain(datagram) {
        let sealed = matches!(own, Block::Applied(_)) && keys.is_some();
        assert!(!sealed, "K without the MAC that was granted");
        return Received::Own(own);
    }
    let bytes = match keys {
        Some(keys) => open_packet(&keys.server, datagram).expect("a right MAC"),
        None => datagram,
    };
    let (header, packet) = mold::parse(bytes).expect("a well-formed datagram");
    match packet {
        mold::Packet::Heartbeat => Received::Heartbeat(header.sequence),
        mold::Packet::EndOfSession => Received::End(header.sequence),
        mold::Packet::Messages(blocks) if header.sequence == 0 => {
            Received::Own(Block::read(blocks.into_iter().next().unwrap()).unwrap())
        }
        mold::Packet::Messages(blocks) => Received::Reports(
            header.sequence,
            blocks.map(|b| Outbound::decode(b).expect("a report")).collect(),
        ),
        mold::Packet::Request => panic!("the exchange asked for a replay"),
    }
}

/// A day order of 100 AAPL at `price`, changed by `change`.
pub fn enter(urn: u32, side: u8, price: u32, change: impl FnOnce(&mut ouch::Enter)) -> Vec<u8> {
    let mut order = ouch::Enter {
        urn: Urn(urn),
        side,
        quantity: Quantity(100),
        symbol: Symbol::new("AAPL").unwrap(),
        price: price as u64,
        tif: b'0',
        display: b'Y',
        capacity: b'A',
        iso: b'N',
        cross: b'N',
        cl_ord_id: ClOrdId::new(&format!("ORDER{urn}")).unwrap_or_default(),
        appendage: Appendage::default(),
    };
    change(&mut order);
    encode(&Inbound::Enter(order))
}

pub fn buy(urn: u32, price: u32) -> Vec<u8> {
    enter(urn, b'B', price, |_| {})
}

pub fn sell(urn: u32, price: u32) -> Vec<u8> {
    enter(urn, b'S', price, |_| {})
}

pub fn cancel(urn: u32) -> Vec<u8> {
    encode(&Inbound::Cancel(ouch::Cancel { urn: Urn(urn), quantity: Quantity(0) }))
}

pub fn replace(old_urn: u32, urn: u32, price: u32) -> Vec<u8> {
    encode(&Inbound::Replace(ouch::Replace {
        old_urn: Urn(old_urn),
        urn: Urn(urn),
        quantity: Quantity(100),
        price: price as u64,
        tif: b'0',
        display: b'Y',
        iso: b'N',
        cl_ord_id: ClOrdId::BLANK,
    }))
}

pub fn encode(message: &Inbound) -> Vec<u8> {
    let mut bytes = [0; ouch::INBOUND_BYTES_MAX];
    let len = message.encode(&mut bytes);
    bytes[..len].to_vec()
}
