//! Orders whose bodies slouch wrote, at a live gateway; reports that slouch reads.
//!
//! A client of the plainest kind over the UDP session: one datagram at a time, repeated until K
//! says that it is applied, missing reports asked for. Each round makes every message and every
//! report that the venue has, but S and N.

use crate::ouch::{self, Tally};
use anyhow::{Context, Result, bail};
use rialto::types::*;
use rialto::wire::ouch as codec;
use rialto::wire::{mold, session};
use std::collections::BTreeMap;
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One login.
pub struct Trader {
    socket: UdpSocket,
    gateway: SocketAddrV4,
    token: Token,
    downstream: SessionName,
    next_sequence: u64,
    next_urn: u32,
    applied: u64,
    next_report: u64,
    known_reports: u64,
    waiting: BTreeMap<u64, Vec<u8>>,
    /// Reports in order, by letter.
    pub reports: BTreeMap<char, usize>,
    /// Reports compared with slouch.
    pub tally: Tally,
    /// Messages sent, all written by slouch.
    pub sent: usize,
    /// Datagrams sent again.
    pub repeated: usize,
}

/// What one datagram says, as far as this client cares.
enum Heard {
    Own(session::Block),
    Other,
}

fn datagram(name: SessionName, sequence: u64, blocks: &[Vec<u8>]) -> Vec<u8> {
    crate::sample::packets(name, sequence, blocks).remove(0)
}

#[allow(clippy::disallowed_methods)] // a test tool: it may look at the clock
fn since_1970() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}

#[allow(clippy::disallowed_methods)]
fn now() -> Instant {
    Instant::now()
}

impl Trader {
    /// Logs in; reports from number 1 on are asked for.
    pub fn login(gateway: SocketAddrV4, user: User, key: &session::Key) -> Result<Trader> {
        let socket = UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0))?;
        socket.set_read_timeout(Some(Duration::from_millis(5)))?;
        let time = since_1970();
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&time.to_be_bytes());
        nonce[8..].copy_from_slice(&socket.local_addr()?.port().to_be_bytes().repeat(4));
        let first = session::Login {
            version: session::VERSION,
            flags: 0,
            user,
            wanted: SessionName::BLANK,
            next_report: 1,
            dead_time_ms: 0,
            time: Nanos(time),
            client_nonce: nonce,
            server_nonce: [0; 16],
            hmac: [0; 32],
        };
        let mut trader = Trader {
            socket,
            gateway,
            token: Token::BLANK,
            downstream: SessionName::BLANK,
            next_sequence: 1,
            next_urn: 1,
            applied: 0,
            next_report: 1,
            known_reports: 1,
            waiting: BTreeMap::new(),
            reports: BTreeMap::new(),
            tally: Tally::default(),
            sent: 0,
            repeated: 0,
        };
        let mut block = first.bytes().to_vec();
        let started = now();
        let mut asked = None;
        while now() - started < Duration::from_secs(60) {
            if asked.is_none_or(|at| now() - at > Duration::from_millis(200)) {
                trader.send(&datagram(SessionName::BLANK, 0, std::slice::from_ref(&block)))?;
                asked = Some(now());
            }
            match trader.hear()? {
                Some(Heard::Own(session::Block::Challenge(challenge))) => {
                    let second = session::Login { server_nonce: challenge.server_nonce, ..first };
                    block = second.signed(key, gateway.ip().octets(), gateway.port()).to_vec();
                    asked = None;
                }
                Some(Heard::Own(session::Block::Accepted(accepted)))
                    if accepted.client_nonce == nonce =>
                {
                    let bytes = accepted.signed(key);
                    if bytes[session::SIGNED_BYTES..] != accepted.hmac {
                        bail!("{user}: the HMAC of A is wrong");
                    }
                    trader.token = accepted.token;
                    trader.downstream = accepted.downstream;
                    trader.next_sequence = accepted.applied + 1;
                    trader.applied = accepted.applied;
                    trader.next_urn = accepted.next_urn;
                    trader.known_reports = accepted.next_report;
                    return Ok(trader);
                }
                Some(Heard::Own(session::Block::Refused(refused))) => {
                    bail!("{user}: refused, {:?}", refused.code);
                }
                _ => {}
            }
        }
        bail!("{user}: no answer from {gateway}")
    }

    fn send(&self, bytes: &[u8]) -> Result<()> {
        // A closed port shows as an error of the next call; the venue may be restarting.
        let _ = self.socket.send_to(bytes, self.gateway);
        Ok(())
    }

    /// Hears at most one datagram.
    fn hear(&mut self) -> Result<Option<Heard>> {
        let mut buffer = [0; 2048];
        let Ok((len, from)) = self.socket.recv_from(&mut buffer) else { return Ok(None) };
        if from != SocketAddr::V4(self.gateway) {
            return Ok(None);
        }
        let (header, packet) = mold::parse(&buffer[..len])
            .map_err(|error| anyhow::anyhow!("bad packet from the gateway: {error:?}"))?;
        if header.sequence == 0 {
            let mold::Packet::Messages(mut blocks) = packet else { return Ok(None) };
            let own = blocks.next().and_then(session::Block::read);
            if let Some(session::Block::Applied(applied)) = own
                && header.session == self.token
            {
                self.applied = self.applied.max(applied.applied);
                self.known_reports = self.known_reports.max(applied.next_report);
            }
            return Ok(own.map(Heard::Own));
        }
        if self.downstream.is_blank() || header.session == self.downstream {
            self.known_reports = self.known_reports.max(header.sequence);
            if let mold::Packet::Messages(blocks) = packet {
                for (i, block) in blocks.enumerate() {
                    let number = header.sequence + i as u64;
                    self.known_reports = self.known_reports.max(number + 1);
                    if number >= self.next_report {
                        self.waiting.entry(number).or_insert_with(|| block.to_vec());
                    }
                }
            }
            while let Some(block) = self.waiting.remove(&self.next_report) {
                self.next_report += 1;
                let letter = block.first().map_or('-', |&byte| char::from(byte));
                *self.reports.entry(letter).or_default() += 1;
                ouch::compare_report(&block, &mut self.tally)
                    .with_context(|| format!("report {}", self.next_report - 1))?;
            }
        }
        Ok(Some(Heard::Other))
    }

    /// A fresh reference.
    fn urn(&mut self) -> Urn {
        self.next_urn += 1;
        Urn(self.next_urn - 1)
    }

    /// Sends messages in slouch's words, in one datagram, until they are applied and all reports
    /// are there.
    pub fn settle(&mut self, messages: &[codec::Inbound]) -> Result<()> {
        let mut blocks = Vec::new();
        for message in messages {
            let block = ouch::encoded_by_slouch(message)
                .with_context(|| format!("slouch cannot say {message:?}"))?;
            if codec::decode_inbound(&block) != Ok(*message) {
                bail!("slouch's bytes {block:02x?} are not read as {message:?}");
            }
            blocks.push(block);
        }
        let bytes = datagram(self.token, self.next_sequence, &blocks);
        self.next_sequence += blocks.len() as u64;
        self.sent += blocks.len();
        self.send(&bytes)?;
        let (started, mut asked) = (now(), now());
        while self.applied + 1 < self.next_sequence || self.next_report < self.known_reports {
            if now() - started > Duration::from_secs(60) {
                bail!("the gateway is silent");
            }
            if now() - asked > Duration::from_millis(50) {
                self.repeated += 1;
                if self.applied + 1 < self.next_sequence {
                    self.send(&bytes)?;
                }
                if self.next_report < self.known_reports {
                    let end = self.waiting.keys().next().copied().unwrap_or(self.known_reports);
                    let count = (end - self.next_report).min(1_000) as u16;
                    let mut request = [0; mold::HEADER_BYTES];
                    mold::Header { session: self.downstream, sequence: self.next_report, count }
                        .write(&mut request);
                    self.send(&request)?;
                }
                asked = now();
            }
            self.hear()?;
        }
        Ok(())
    }

    /// Asks for a heartbeat's worth of reports that others caused.
    pub fn catch_up(&mut self) -> Result<()> {
        self.settle(&[codec::Inbound::Query])
    }

    /// Logs off; the answer is not waited for.
    pub fn logoff(&self) -> Result<()> {
        let mut bytes = [0; mold::HEADER_BYTES];
        let header = mold::Header {
            session: self.token,
            sequence: self.next_sequence,
            count: mold::END_OF_SESSION,
        };
        header.write(&mut bytes);
        self.send(&bytes)
    }
}

/// A day order in words that the venue takes.
fn order(urn: Urn, side: u8, quantity: u32, symbol: Symbol, price: u64) -> codec::Enter {
    codec::Enter {
        urn,
        side,
        quantity: Quantity(quantity),
        symbol,
        price,
        tif: b'0',
        display: b'Y',
        capacity: b'P',
        iso: b'N',
        cross: b'N',
        cl_ord_id: ClOrdId::new(&format!("order {}", urn.0)).unwrap_or_default(),
        appendage: codec::Appendage::default(),
    }
}

/// One round: on the feed A U X E D and A D, to the sessions A U C E J Q.
pub fn round(
    buyer: &mut Trader,
    seller: &mut Trader,
    symbol: Symbol,
    price: u64,
    lot: u32,
) -> Result<()> {
    use codec::Inbound::*;
    let (bid, replaced) = (buyer.urn(), buyer.urn());
    buyer.settle(&[
        Enter(order(bid, b'B', 10 * lot, symbol, price)),
        Replace(codec::Replace {
            old_urn: bid,
            urn: replaced,
            quantity: Quantity(20 * lot),
            price: price + 100,
            tif: b'0',
            display: b'Y',
            iso: b'N',
            cl_ord_id: ClOrdId::new("replaced").unwrap_or_default(),
        }),
        Cancel(codec::Cancel { urn: replaced, quantity: Quantity(15 * lot) }),
    ])?;
    let (hit, unknown, all, ask) = (seller.urn(), seller.urn(), seller.urn(), seller.urn());
    let nowhere = Symbol::new("NOSUCH").unwrap_or_default();
    let kill = codec::Enter {
        tif: b'3',
        appendage: codec::Appendage { min_quantity: Some(900 * lot), ..Default::default() },
        ..order(all, b'S', 900 * lot, symbol, price + 100)
    };
    seller.settle(&[
        Enter(order(hit, b'S', 6 * lot, symbol, price + 100)),
        Enter(order(unknown, b'S', lot, nowhere, price)),
        Enter(kill),
        Enter(order(ask, b'S', lot, symbol, price + 1_000)),
        Query,
    ])?;
    buyer.settle(&[Cancel(codec::Cancel { urn: replaced, quantity: Quantity(0) }), Query])?;
    seller.settle(&[Cancel(codec::Cancel { urn: ask, quantity: Quantity(0) })])?;
    buyer.catch_up()
}
