//! Upstream: what clients really sent, and whether a command of the log is one of it.
//!
//! Consumes datagrams that reached the gateway and logins that the log shows; produces, for each
//! command of a client, what is wrong with it: nobody sent it, or it says something else. Reads
//! blocks by its own tables (ouch.md, session.md), not with the gateway's decoder.

use super::bytes::{Head, packet};
use super::stream::hex;
use crate::exchange::command::{self, Login, Logoff, MessageBody, MessageHead};
use crate::sim::GATEWAY_KEY;
use crate::types::*;
use crate::wire::session::{self, PacketKeys};
use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};

/// Datagrams of tokens that no login has shown yet are kept up to so many: what a client chats from one
/// look at the logs to the next, and all the noise of a run.
const WAITING_MAX: usize = 65_536;
/// L that are kept.
const LOGINS_MAX: usize = 4_096;
/// First octets of the hosts that may log in.
const ALLOWED: [u8; 2] = [10, 1];
/// A nonce is made of the minute.
const MINUTE_NS: u64 = 60_000_000_000;
/// Whoever sends little sends little within this time.
const RECENT_NS: u64 = 2_000_000_000;

/// A datagram that was taken from the port under a login's token: address and MAC are right, and it is
/// whole.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// When.
    pub at: Nanos,
    /// Session.
    pub slot: SessionSlot,
    /// Login.
    pub generation: u32,
    /// Its head.
    pub head: Head,
}

/// A message that came and was passed over.
#[derive(Clone, Copy, Debug)]
pub struct PassedOver {
    /// Its client sequence.
    pub number: u64,
    /// When it came first.
    pub at: Nanos,
    /// Blocks of the datagram that it came in.
    pub blocks: u64,
}

/// What came under one client sequence.
struct Received {
    /// First time.
    at: Nanos,
    /// Blocks of the datagram that it came in then.
    blocks: u64,
    contents: Vec<Box<[u8]>>,
}

/// One login, as the log shows it.
struct Binding {
    slot: SessionSlot,
    generation: u32,
    address: SocketAddrV4,
    keys: Option<PacketKeys>,
    /// Blocks received under each client sequence.
    blocks: BTreeMap<u64, Received>,
    /// Blocks received through each time, doubled ones too.
    arrivals: Vec<(Nanos, u64)>,
    /// Client's next of each logoff received.
    logoffs: Vec<u64>,
    /// When something valid was received, in order.
    heard: Vec<Nanos>,
}

struct Datagram {
    from: SocketAddrV4,
    at: Nanos,
    bytes: Box<[u8]>,
}

/// What reached the gateway.
#[derive(Default)]
pub struct Upstream {
    bindings: BTreeMap<[u8; 10], Binding>,
    tokens: BTreeMap<(u16, u32), [u8; 10]>,
    /// Not yet known tokens.
    waiting: BTreeMap<[u8; 10], Vec<Datagram>>,
    waiting_count: usize,
    /// Recent datagrams with an L: source and block.
    logins: VecDeque<(SocketAddrV4, Vec<u8>)>,
    taken: Vec<Taken>,
}

/// Server nonces handed out, with the address, in the whole run: they are a function of the venue's
/// key and the minute, so one from before a death or a day's roll stays valid.
#[derive(Default)]
pub struct Challenges(VecDeque<(SocketAddrV4, [u8; 16])>);

impl Challenges {
    /// The exchange sent a datagram; an H is noted.
    pub fn sent(&mut self, to: SocketAddrV4, bytes: &[u8]) {
        if let Some((head, blocks)) = packet(bytes)
            && head.session == *b"          "
            && let [block] = blocks[..]
            && let Some((b'H', nonce)) = block.split_first()
            && let Ok(nonce) = <[u8; 16]>::try_from(nonce)
            && self.0.back() != Some(&(to, nonce))
        {
            self.0.push_back((to, nonce));
        }
    }
}

impl Upstream {
    /// The gateway received a datagram.
    pub fn received(&mut self, from: SocketAddrV4, bytes: &[u8], at: Nanos) {
        let Some(token) = bytes.get(..10) else { return };
        if is_request(bytes) {
            return;
        }
        if token == b"          " {
            if let Some((_, blocks)) = packet(bytes)
                && let [block] = blocks[..]
            {
                if self.logins.len() == LOGINS_MAX {
                    self.logins.pop_front();
                }
                self.logins.push_back((from, block.to_vec()));
            }
            return;
        }
        let token: [u8; 10] = token.try_into().expect("ten bytes");
        if let Some(binding) = self.bindings.get_mut(&token) {
            self.taken.extend(binding.take(from, bytes, at));
        } else if self.waiting_count < WAITING_MAX {
            self.waiting_count += 1;
            let datagram = Datagram { from, at, bytes: bytes.into() };
            self.waiting.entry(token).or_default().push(datagram);
        }
    }

    /// A login took effect.
    pub fn bind(&mut self, login: &Login, key: &[u8; 32]) {
        let token = login.token.0;
        let address = SocketAddrV4::new(Ipv4Addr::from(login.ip), login.port);
        let keys = (login.flags & 2 != 0)
            .then(|| session::packet_keys(key, &login.client_nonce, &login.server_nonce));
        let (slot, generation) = (login.session, login.generation);
        let (blocks, arrivals, logoffs, heard) = Default::default();
        let mut binding =
            Binding { slot, generation, address, keys, blocks, arrivals, logoffs, heard };
        for datagram in self.waiting.remove(&token).unwrap_or_default() {
            self.waiting_count -= 1;
            self.taken.extend(binding.take(datagram.from, &datagram.bytes, datagram.at));
        }
        self.bindings.insert(token, binding);
        self.tokens.insert((login.session.0, login.generation), token);
    }

    fn binding(&self, slot: SessionSlot, generation: u32) -> Option<&Binding> {
        self.bindings.get(self.tokens.get(&(slot.0, generation))?)
    }

    /// What was taken since the last call, in order of time.
    pub fn take_taken(&mut self) -> Vec<Taken> {
        let mut taken = std::mem::take(&mut self.taken);
        taken.sort_by_key(|t| t.at);
        taken
    }

    /// The first of these numbers that had come by `until`.
    pub fn passed_over(
        &self,
        (slot, generation): (SessionSlot, u32),
        numbers: std::ops::Range<u64>,
        until: Nanos,
    ) -> Option<PassedOver> {
        let binding = self.binding(slot, generation)?;
        let mut came = binding.blocks.range(numbers).filter(|(_, received)| received.at <= until);
        let (&number, &Received { at, blocks, .. }) = came.next()?;
        Some(PassedOver { number, at, blocks })
    }

    /// Whether the client had sent few enough by then that nothing of it may be dropped: at most `few`
    /// blocks within two seconds, under any login.
    pub fn sends_few(&self, slot: SessionSlot, by: Nanos, few: u64) -> bool {
        let through = |at: Nanos| {
            let logins = self.bindings.values().filter(|b| b.slot == slot);
            let of = |b: &Binding| {
                let count = b.arrivals.partition_point(|arrival| arrival.0 <= at);
                count.checked_sub(1).map_or(0, |last| b.arrivals[last].1)
            };
            logins.map(of).sum::<u64>()
        };
        let since = Nanos(by.0.saturating_sub(RECENT_NS));
        through(by) - through(since) <= few
    }

    /// When this login was last heard of, not later than `until`.
    pub fn heard(&self, slot: SessionSlot, generation: u32, until: Nanos) -> Option<Nanos> {
        let heard = &self.binding(slot, generation)?.heard;
        heard.iter().rev().find(|at| **at <= until).copied()
    }

    /// Whether somebody sent this L.
    pub fn check_login(
        &self,
        login: &Login,
        user: User,
        key: &[u8; 32],
        gateway: SocketAddrV4,
        challenges: &Challenges,
    ) -> Result<(), String> {
        let from = SocketAddrV4::new(Ipv4Addr::from(login.ip), login.port);
        if login.ip[..2] != ALLOWED {
            return Err(format!("{from} may not log in: {login:?}"));
        }
        let sent = self.logins.iter().rev().any(|(source, block)| {
            let Ok(block) = <&[u8; 104]>::try_from(&block[..]) else { return false };
            *source == from
                && block[0] == b'L'
                && block[1] == 1
                && block[2] & !3 == 0
                && block[2] == login.flags
                && block[4..10] == user.0
                && granted(block[30..32].try_into().expect("two bytes")) == login.dead_time_ms
                && block[32..40] == login.login_time.0.to_be_bytes()
                && block[40..56] == login.client_nonce
                && block[56..72] == login.server_nonce
                && block[72..]
                    == session::login_hmac(key, block, gateway.ip().octets(), gateway.port())
        });
        if !sent {
            return Err(format!("no L with a right HMAC came from {from}: {login:?}"));
        }
        if !challenges.0.iter().any(|c| *c == (from, login.server_nonce)) {
            return Err(format!("{from} never got the nonce of its login: {login:?}"));
        }
        if !is_valid_nonce(from, &user, login.received, &login.server_nonce) {
            return Err(format!("a nonce for another user, or too old: {login:?}"));
        }
        Ok(())
    }

    /// Whether somebody sent this logoff.
    pub fn check_logoff(&self, m: &Logoff) -> Result<(), String> {
        match self.binding(m.session, m.generation) {
            Some(binding) if binding.logoffs.contains(&m.client_next) => Ok(()),
            _ => Err(format!("no such logoff came from the bound address: {m:?}")),
        }
    }

    /// Whether a client sent this message; Ok(true) when the block is well-formed.
    pub fn check_message(&self, head: &MessageHead, body: &MessageBody) -> Result<bool, String> {
        let Some(binding) = self.binding(head.session, head.generation) else {
            return Err(format!("no login has this generation: {head:?}"));
        };
        let sent = binding.blocks.get(&head.client_seq).map_or(&[][..], |came| &came.contents);
        for block in sent {
            let (well_formed, read) = read(block);
            if read == *body {
                return Ok(well_formed);
            }
        }
        let sent: Vec<String> = sent.iter().map(|b| hex(b)).collect();
        Err(format!("{head:?} {body:?}; blocks that came under this number: {sent:?}"))
    }
}

impl Binding {
    /// Returns what is worth an answer.
    fn take(&mut self, from: SocketAddrV4, bytes: &[u8], at: Nanos) -> Option<Taken> {
        if from != self.address {
            return None;
        }
        let bytes = match &self.keys {
            None => bytes,
            Some(keys) => {
                let (body, tag) = bytes.split_last_chunk::<8>()?;
                if u64::from_be_bytes(*tag) != session::packet_tag(&keys.client, body) {
                    return None;
                }
                body
            }
        };
        self.heard.push(at);
        let (head, blocks) = packet(bytes)?;
        let Head { sequence, count, .. } = head;
        if count == 0xFFFF && blocks.is_empty() {
            self.logoffs.push(sequence);
        }
        let empty = blocks.is_empty();
        if empty != matches!(count, 0 | 0xFFFF) || !empty && sequence == 0 {
            return None;
        }
        if !empty {
            let before = self.arrivals.last().map_or(0, |last| last.1);
            self.arrivals.push((at, before + blocks.len() as u64));
        }
        for (i, block) in blocks.iter().enumerate() {
            let Some(number) = sequence.checked_add(i as u64) else { break };
            let came = Received { at, blocks: blocks.len() as u64, contents: Vec::new() };
            let known = self.blocks.entry(number).or_insert(came);
            if !known.contents.iter().any(|k| **k == **block) {
                known.contents.push((*block).into());
            }
        }
        let (slot, generation) = (self.slot, self.generation);
        Some(Taken { at, slot, generation, head })
    }
}

/// The server nonce for who logs in as `user` from `from` at `at`, or a minute or more `ago`.
pub fn nonce_for(from: SocketAddrV4, user: &User, at: Nanos, ago: u32) -> [u8; 16] {
    let minute = (at.0 / MINUTE_NS) as u32;
    session::challenge_nonce(&GATEWAY_KEY, from.ip().octets(), from.port(), user, minute - ago)
}

/// True for the nonce of this minute and the one before, for this address and user.
pub fn is_valid_nonce(from: SocketAddrV4, user: &User, at: Nanos, nonce: &[u8]) -> bool {
    [0, 1].iter().any(|&ago| nonce_for(from, user, at, ago)[..] == *nonce)
}

/// A head alone, perhaps with a MAC, that asks for something again.
fn is_request(bytes: &[u8]) -> bool {
    let asks = bytes.get(18..20).is_some_and(|count| !matches!(count, [0, 0] | [255, 255]));
    asks && (bytes.len() == 20 || bytes.len() == 28 && packet(bytes).is_none())
}

/// Dead time granted for the one wanted, ms (session.md 17).
fn granted(wanted: [u8; 2]) -> u16 {
    match u16::from_be_bytes(wanted) {
        0 => 5_000,
        wanted => wanted.clamp(1_000, 15_000),
    }
}

/// Fields of a block at their offsets.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn u32(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.0[at..at + 4].try_into().expect("four bytes"))
    }
    fn u64(&self, at: usize) -> u64 {
        u64::from_be_bytes(self.0[at..at + 8].try_into().expect("eight bytes"))
    }
    fn text<const N: usize>(&self, at: usize) -> Alpha<N> {
        Alpha(self.0[at..at + N].try_into().expect("as many bytes"))
    }
}

/// What a block says by ouch.md: well-formed or not, and the body of its command.
pub fn read(block: &[u8]) -> (bool, MessageBody) {
    let fixed = match block.first() {
        Some(b'O') => 45,
        Some(b'U') => 38,
        Some(b'X') => 9,
        Some(b'Q') => 1,
        _ => return (false, unparsed(block)),
    };
    let Some(rest) = block.get(fixed..) else { return (false, unparsed(block)) };
    let Some(tags) = tags(rest, block[0] == b'O') else { return (false, unparsed(block)) };
    let f = Fields(block);
    let body = match block[0] {
        b'O' => MessageBody::Enter(command::Enter {
            urn: Urn(f.u32(1)),
            side: block[5],
            quantity: Quantity(f.u32(6)),
            symbol: f.text(10),
            price: f.u64(18),
            tif: block[26],
            display: block[27],
            capacity: block[28],
            iso: block[29],
            cross: block[30],
            cl_ord_id: f.text(31),
            account: tags.0.unwrap_or(Alpha::BLANK),
            min_quantity: Quantity(tags.1.unwrap_or(0)),
            flags: tags.0.is_some() as u8 | (tags.1.is_some() as u8) << 1,
            zero: [0; 3],
        }),
        b'U' => MessageBody::Replace(command::Replace {
            old_urn: Urn(f.u32(1)),
            urn: Urn(f.u32(5)),
            quantity: Quantity(f.u32(9)),
            price: f.u64(13),
            tif: block[21],
            display: block[22],
            iso: block[23],
            zero: 0,
            cl_ord_id: f.text(24),
            zero_tail: [0; 2],
        }),
        b'X' => MessageBody::Cancel(command::Cancel {
            urn: Urn(f.u32(1)),
            quantity: Quantity(f.u32(5)),
        }),
        _ => MessageBody::Query,
    };
    (true, body)
}

/// Account and minimum quantity of an appendage; `None` when it is not one that this message takes.
fn tags(rest: &[u8], takes: bool) -> Option<(Option<AccountName>, Option<u32>)> {
    let (mut account, mut minimum) = (None, None);
    if rest.is_empty() {
        return Some((account, minimum));
    }
    let (len, mut rest) = rest.split_first_chunk::<2>()?;
    if u16::from_be_bytes(*len) as usize != rest.len() {
        return None;
    }
    while let [len, tail @ ..] = rest {
        let (tag, after) = tail.split_at_checked(*len as usize)?;
        rest = after;
        match tag {
            [2, name @ ..] if takes && account.is_none() => {
                account = Some(Alpha(name.try_into().ok()?));
            }
            [3, value @ ..] if takes && minimum.is_none() => {
                minimum = Some(u32::from_be_bytes(value.try_into().ok()?));
            }
            _ => return None,
        }
    }
    Some((account, minimum))
}

fn unparsed(block: &[u8]) -> MessageBody {
    let letter = block.first().copied().unwrap_or(0);
    let (urn, id) = match letter {
        b'O' => (block.get(1..5), block.get(31..45)),
        b'U' => (block.get(5..9), block.get(24..38)),
        _ => (None, None),
    };
    MessageBody::Unparsed(command::Unparsed {
        letter,
        has_urn: urn.is_some() as u8,
        urn: Urn(urn.map_or(0, |b| u32::from_be_bytes(b.try_into().expect("four bytes")))),
        cl_ord_id: id.map_or(Alpha::BLANK, |b| Alpha(b.try_into().expect("14 bytes"))),
    })
}
