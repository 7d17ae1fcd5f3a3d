//! The session of order entry over UDP: own blocks (L H A J K), their HMACs, the packet MAC, and
//! the names that stand in a packet's head.
//!
//! Consumes and produces one block's bytes; N, the only own message in the sequenced stream, is
//! `ouch::NotApplied`. Tables, HMAC inputs and a worked login stand in `session.md`. All tags are
//! compared in constant time. Must not know sockets, users' configuration or who is bound.

use crate::types::{Alpha, Nanos, SessionName, SessionSlot, Token, User};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use siphasher::sip::SipHasher24;
use subtle::ConstantTimeEq;
use zerocopy::IntoBytes;
use zerocopy::big_endian::{U16, U32, U64};

/// Version of these blocks.
pub const VERSION: u8 = 1;
/// Bytes of L.
pub const LOGIN_BYTES: usize = LoginBytes::SIZE;
/// Bytes of H.
pub const CHALLENGE_BYTES: usize = ChallengeBytes::SIZE;
/// Bytes of A.
pub const ACCEPTED_BYTES: usize = AcceptedBytes::SIZE;
/// Bytes of J.
pub const REFUSED_BYTES: usize = RefusedBytes::SIZE;
/// Bytes of K.
pub const APPLIED_BYTES: usize = AppliedBytes::SIZE;
/// Longest own block.
pub const BLOCK_BYTES_MAX: usize = LOGIN_BYTES;
/// Bytes of L and A that their HMAC covers: all before it.
pub const SIGNED_BYTES: usize = 72;
/// Bytes of the packet MAC.
pub const PACKET_TAG_BYTES: usize = 8;
/// Flag in L and A: cancel this session's orders when it dies or logs off.
pub const FLAG_CANCEL_ON_DISCONNECT: u8 = 1;
/// Flag in L and A: packet MAC on every datagram after A.
pub const FLAG_PACKET_MAC: u8 = 2;
/// Slots that two base62 characters can name.
pub const SLOTS_MAX: u16 = 62 * 62;

/// Key of a user, shared by client and gateways.
pub type Key = [u8; 32];
/// Nonce of client or gateway.
pub type Nonce = [u8; 16];

wire_bytes! {
    struct LoginBytes: 104 {
        0 letter: u8,
        1 version: u8,
        2 flags: u8,
        3 zero: u8,
        4 user: User,
        10 zero_too: [u8; 2],
        12 wanted: SessionName,
        22 next_report: U64,
        30 dead_time_ms: U16,
        32 time: U64,
        40 client_nonce: [u8; 16],
        56 server_nonce: [u8; 16],
        72 hmac: [u8; 32],
    }
}
const _: () = assert!(core::mem::offset_of!(LoginBytes, hmac) == SIGNED_BYTES);

wire_bytes! {
    struct ChallengeBytes: 17 {
        0 letter: u8,
        1 server_nonce: [u8; 16],
    }
}

wire_bytes! {
    struct AcceptedBytes: 104 {
        0 letter: u8,
        1 version: u8,
        2 flags: u8,
        3 zero: u8,
        4 token: Token,
        14 downstream: SessionName,
        24 next_report: U64,
        32 applied: U64,
        40 next_urn: U32,
        44 dead_time_ms: U16,
        46 zero_too: [u8; 2],
        48 epoch: U32,
        52 generation: U32,
        56 client_nonce: [u8; 16],
        72 hmac: [u8; 32],
    }
}
const _: () = assert!(core::mem::offset_of!(AcceptedBytes, hmac) == SIGNED_BYTES);

wire_bytes! {
    struct RefusedBytes: 24 {
        0 letter: u8,
        1 code: u8,
        2 zero: [u8; 2],
        4 epoch: U32,
        8 client_nonce: [u8; 16],
    }
}

wire_bytes! {
    struct AppliedBytes: 21 {
        0 letter: u8,
        1 applied: U64,
        9 next_report: U64,
        17 epoch: U32,
    }
}

/// Login (L), client to exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Login {
    /// [`VERSION`]; others are refused.
    pub version: u8,
    /// [`FLAG_CANCEL_ON_DISCONNECT`] | [`FLAG_PACKET_MAC`]; others are refused.
    pub flags: u8,
    /// User name.
    pub user: User,
    /// Downstream name wanted; blank = the current one.
    pub wanted: SessionName,
    /// Next report the client wants; informative, 0 = unknown.
    pub next_report: u64,
    /// Dead time wanted, ms; 0 = the default.
    pub dead_time_ms: u16,
    /// The client's time, ns since 1970 UTC.
    pub time: Nanos,
    /// Drawn by the client for this login.
    pub client_nonce: Nonce,
    /// As in H; zero in the first L.
    pub server_nonce: Nonce,
    /// [`login_hmac`]; zero in the first L.
    pub hmac: [u8; 32],
}

/// Challenge (H), exchange to client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Challenge {
    /// [`challenge_nonce`].
    pub server_nonce: Nonce,
}

/// Login accepted (A), exchange to client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// [`VERSION`].
    pub version: u8,
    /// Flags granted.
    pub flags: u8,
    /// Session name of everything the client sends from now on.
    pub token: Token,
    /// Session name of the reports.
    pub downstream: SessionName,
    /// Number of the next report: the first that comes live.
    pub next_report: u64,
    /// Client sequence applied through.
    pub applied: u64,
    /// Next reference above the last; 0 = used up.
    pub next_urn: u32,
    /// Dead time granted, ms.
    pub dead_time_ms: u16,
    /// Raft term modulo 2^32; 1 on one node.
    pub epoch: u32,
    /// Login generation.
    pub generation: u32,
    /// As in L.
    pub client_nonce: Nonce,
    /// [`accepted_hmac`].
    pub hmac: [u8; 32],
}

/// Why a login is refused, or a token is dead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum RefusedCode {
    /// Not authorised: version, flags, user, source, HMAC.
    NotAuthorised = b'A',
    /// No session: day over, user closed, token dead.
    NoSession = b'S',
    /// Time outside 5 s, or not later than the user's last.
    Time = b'T',
    /// Bound elsewhere.
    BoundElsewhere = b'B',
    /// This node does not lead.
    NotLeader = b'E',
}

impl RefusedCode {
    /// From the wire's letter.
    pub fn from_letter(letter: u8) -> Option<RefusedCode> {
        Some(match letter {
            b'A' => RefusedCode::NotAuthorised,
            b'S' => RefusedCode::NoSession,
            b'T' => RefusedCode::Time,
            b'B' => RefusedCode::BoundElsewhere,
            b'E' => RefusedCode::NotLeader,
            _ => return None,
        })
    }
}

/// Refused (J), exchange to client. Not authenticated: a hint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused {
    /// Why.
    pub code: RefusedCode,
    /// Raft term modulo 2^32; 1 on one node.
    pub epoch: u32,
    /// As in L; zero when there was none.
    pub client_nonce: Nonce,
}

/// Applied through (K), exchange to client. Committed values only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Applied {
    /// Client sequence applied through.
    pub applied: u64,
    /// Number of the next report.
    pub next_report: u64,
    /// Raft term modulo 2^32; 1 on one node.
    pub epoch: u32,
}

impl Login {
    /// Reads a block; `None` unless it begins with `L` and has exactly [`LOGIN_BYTES`] bytes. The
    /// zero fields are not looked at (the HMAC covers them as sent).
    pub fn read(block: &[u8]) -> Option<Login> {
        let m = LoginBytes::get_exact(block).filter(|m| m.letter == b'L')?;
        Some(Login {
            version: m.version,
            flags: m.flags,
            user: m.user,
            wanted: m.wanted,
            next_report: m.next_report.get(),
            dead_time_ms: m.dead_time_ms.get(),
            time: Nanos(m.time.get()),
            client_nonce: m.client_nonce,
            server_nonce: m.server_nonce,
            hmac: m.hmac,
        })
    }

    /// Writes the block at the start of `out` (else panics); returns [`LOGIN_BYTES`].
    pub fn write(&self, out: &mut [u8]) -> usize {
        LoginBytes {
            letter: b'L',
            version: self.version,
            flags: self.flags,
            zero: 0,
            user: self.user,
            zero_too: [0; 2],
            wanted: self.wanted,
            next_report: self.next_report.into(),
            dead_time_ms: self.dead_time_ms.into(),
            time: self.time.0.into(),
            client_nonce: self.client_nonce,
            server_nonce: self.server_nonce,
            hmac: self.hmac,
        }
        .put(out)
    }

    /// The block's bytes as they are, `hmac` included.
    pub fn bytes(&self) -> [u8; LOGIN_BYTES] {
        let mut block = [0; LOGIN_BYTES];
        self.write(&mut block);
        block
    }

    /// The block's bytes with the HMAC of a login sent to the gateway at `ip` and `port`.
    pub fn signed(&self, key: &Key, ip: [u8; 4], port: u16) -> [u8; LOGIN_BYTES] {
        let mut block = self.bytes();
        let hmac = login_hmac(key, &block, ip, port);
        block[SIGNED_BYTES..].copy_from_slice(&hmac);
        block
    }
}

impl Challenge {
    /// Reads a block; `None` unless it begins with `H` and has exactly [`CHALLENGE_BYTES`] bytes.
    pub fn read(block: &[u8]) -> Option<Challenge> {
        let m = ChallengeBytes::get_exact(block).filter(|m| m.letter == b'H')?;
        Some(Challenge { server_nonce: m.server_nonce })
    }

    /// Writes the block at the start of `out` (else panics); returns [`CHALLENGE_BYTES`].
    pub fn write(&self, out: &mut [u8]) -> usize {
        ChallengeBytes { letter: b'H', server_nonce: self.server_nonce }.put(out)
    }
}

impl Accepted {
    /// Reads a block; `None` unless it begins with `A` and has exactly [`ACCEPTED_BYTES`] bytes.
    pub fn read(block: &[u8]) -> Option<Accepted> {
        let m = AcceptedBytes::get_exact(block).filter(|m| m.letter == b'A')?;
        Some(Accepted {
            version: m.version,
            flags: m.flags,
            token: m.token,
            downstream: m.downstream,
            next_report: m.next_report.get(),
            applied: m.applied.get(),
            next_urn: m.next_urn.get(),
            dead_time_ms: m.dead_time_ms.get(),
            epoch: m.epoch.get(),
            generation: m.generation.get(),
            client_nonce: m.client_nonce,
            hmac: m.hmac,
        })
    }

    /// Writes the block at the start of `out` (else panics); returns [`ACCEPTED_BYTES`].
    pub fn write(&self, out: &mut [u8]) -> usize {
        AcceptedBytes {
            letter: b'A',
            version: self.version,
            flags: self.flags,
            zero: 0,
            token: self.token,
            downstream: self.downstream,
            next_report: self.next_report.into(),
            applied: self.applied.into(),
            next_urn: self.next_urn.into(),
            dead_time_ms: self.dead_time_ms.into(),
            zero_too: [0; 2],
            epoch: self.epoch.into(),
            generation: self.generation.into(),
            client_nonce: self.client_nonce,
            hmac: self.hmac,
        }
        .put(out)
    }

    /// The block's bytes with the HMAC.
    pub fn signed(&self, key: &Key) -> [u8; ACCEPTED_BYTES] {
        let mut block = [0; ACCEPTED_BYTES];
        self.write(&mut block);
        let hmac = accepted_hmac(key, &block);
        block[SIGNED_BYTES..].copy_from_slice(&hmac);
        block
    }
}

impl Refused {
    /// Reads a block; `None` unless it begins with `J`, has exactly [`REFUSED_BYTES`] bytes and a
    /// code that we know.
    pub fn read(block: &[u8]) -> Option<Refused> {
        let m = RefusedBytes::get_exact(block).filter(|m| m.letter == b'J')?;
        Some(Refused {
            code: RefusedCode::from_letter(m.code)?,
            epoch: m.epoch.get(),
            client_nonce: m.client_nonce,
        })
    }

    /// Writes the block at the start of `out` (else panics); returns [`REFUSED_BYTES`].
    pub fn write(&self, out: &mut [u8]) -> usize {
        RefusedBytes {
            letter: b'J',
            code: self.code as u8,
            zero: [0; 2],
            epoch: self.epoch.into(),
            client_nonce: self.client_nonce,
        }
        .put(out)
    }
}

impl Applied {
    /// Reads a block; `None` unless it begins with `K` and has exactly [`APPLIED_BYTES`] bytes.
    pub fn read(block: &[u8]) -> Option<Applied> {
        let m = AppliedBytes::get_exact(block).filter(|m| m.letter == b'K')?;
        Some(Applied {
            applied: m.applied.get(),
            next_report: m.next_report.get(),
            epoch: m.epoch.get(),
        })
    }

    /// Writes the block at the start of `out` (else panics); returns [`APPLIED_BYTES`].
    pub fn write(&self, out: &mut [u8]) -> usize {
        AppliedBytes {
            letter: b'K',
            applied: self.applied.into(),
            next_report: self.next_report.into(),
            epoch: self.epoch.into(),
        }
        .put(out)
    }
}

/// An own block: the only block of a datagram with sequence 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Block {
    /// L.
    Login(Login),
    /// H.
    Challenge(Challenge),
    /// A.
    Accepted(Accepted),
    /// J.
    Refused(Refused),
    /// K.
    Applied(Applied),
}

impl Block {
    /// Reads an own block by its letter; `None` for any other letter or length.
    pub fn read(block: &[u8]) -> Option<Block> {
        match block.first()? {
            b'L' => Login::read(block).map(Block::Login),
            b'H' => Challenge::read(block).map(Block::Challenge),
            b'A' => Accepted::read(block).map(Block::Accepted),
            b'J' => Refused::read(block).map(Block::Refused),
            b'K' => Applied::read(block).map(Block::Applied),
            _ => None,
        }
    }

    /// Writes the block at the start of `out` (at least [`BLOCK_BYTES_MAX`], else panics); returns
    /// its length.
    pub fn write(&self, out: &mut [u8]) -> usize {
        match self {
            Block::Login(m) => m.write(out),
            Block::Challenge(m) => m.write(out),
            Block::Accepted(m) => m.write(out),
            Block::Refused(m) => m.write(out),
            Block::Applied(m) => m.write(out),
        }
    }
}

/// HMAC-SHA256 over the parts, one after the other.
fn hmac_sha256(key: &Key, parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// The bytes of an L or A that its HMAC covers.
fn signed(block: &[u8; 104]) -> &[u8] {
    &block[..SIGNED_BYTES]
}

/// HMAC of an L: over its bytes 0..71 as sent, then IPv4 and port (big-endian) that the client
/// sent it to, which behind NAT are the gateway's `public` address.
pub fn login_hmac(key: &Key, block: &[u8; LOGIN_BYTES], ip: [u8; 4], port: u16) -> [u8; 32] {
    hmac_sha256(key, &[signed(block), &ip, &port.to_be_bytes()])
}

/// True when the L carries the right HMAC. Constant time.
pub fn verify_login(key: &Key, block: &[u8; LOGIN_BYTES], ip: [u8; 4], port: u16) -> bool {
    login_hmac(key, block, ip, port)[..].ct_eq(&block[SIGNED_BYTES..]).into()
}

/// HMAC of an A: over its bytes 0..71.
pub fn accepted_hmac(key: &Key, block: &[u8; ACCEPTED_BYTES]) -> [u8; 32] {
    hmac_sha256(key, &[signed(block)])
}

/// True when the A carries the right HMAC. Constant time.
pub fn verify_accepted(key: &Key, block: &[u8; ACCEPTED_BYTES]) -> bool {
    accepted_hmac(key, block)[..].ct_eq(&block[SIGNED_BYTES..]).into()
}

/// Server nonce of H for a client at `ip` and `port`: the first 16 bytes of HMAC-SHA256 with the
/// gateways' common key over IPv4, port, user and minute since 1970, 16 bytes in all.
pub fn challenge_nonce(
    gateway_key: &Key,
    ip: [u8; 4],
    port: u16,
    user: &User,
    minute: u32,
) -> Nonce {
    let parts: [&[u8]; 4] = [&ip, &port.to_be_bytes(), user.as_bytes(), &minute.to_be_bytes()];
    first_16(hmac_sha256(gateway_key, &parts))
}

/// True when `nonce` is the one of this minute or the previous. Constant time.
pub fn verify_challenge(
    gateway_key: &Key,
    ip: [u8; 4],
    port: u16,
    user: &User,
    minute: u32,
    nonce: &Nonce,
) -> bool {
    let now = challenge_nonce(gateway_key, ip, port, user, minute);
    let before = challenge_nonce(gateway_key, ip, port, user, minute.wrapping_sub(1));
    (now.ct_eq(nonce) | before.ct_eq(nonce)).into()
}

fn first_16(bytes: [u8; 32]) -> [u8; 16] {
    let mut out = [0; 16];
    out.copy_from_slice(&bytes[..16]);
    out
}

/// Keys of the packet MAC, one per direction.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PacketKeys {
    /// For what the client sends.
    pub client: [u8; 16],
    /// For what the exchange sends.
    pub server: [u8; 16],
}

impl std::fmt::Debug for PacketKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PacketKeys")
    }
}

/// Keys of the packet MAC: the first 16 bytes of HMAC-SHA256 with the user's key over "packet",
/// then `C` (client's direction) or `S`, then the nonces of the login.
pub fn packet_keys(key: &Key, client_nonce: &Nonce, server_nonce: &Nonce) -> PacketKeys {
    let derive = |direction: &[u8]| {
        first_16(hmac_sha256(key, &[b"packet", direction, client_nonce, server_nonce]))
    };
    PacketKeys { client: derive(b"C"), server: derive(b"S") }
}

/// Tag of the packet MAC: SipHash-2-4 of all bytes of the datagram before it.
#[inline]
pub fn packet_tag(key: &[u8; 16], bytes: &[u8]) -> u64 {
    SipHasher24::new_with_key(key).hash(bytes)
}

/// Appends the tag behind the first `len` bytes of `out`, big-endian; returns the new length.
/// Panics when there is no room.
#[inline]
pub fn seal_packet(key: &[u8; 16], out: &mut [u8], len: usize) -> usize {
    let tag = packet_tag(key, &out[..len]);
    out[len..len + PACKET_TAG_BYTES].copy_from_slice(&tag.to_be_bytes());
    len + PACKET_TAG_BYTES
}

/// The datagram without its tag; `None` when the tag is missing or wrong. Constant time in the tag.
#[inline]
pub fn open_packet<'a>(key: &[u8; 16], datagram: &'a [u8]) -> Option<&'a [u8]> {
    let (bytes, tag) = datagram.split_last_chunk::<PACKET_TAG_BYTES>()?;
    bool::from(packet_tag(key, bytes).to_be_bytes().ct_eq(tag)).then_some(bytes)
}

/// Digits of base62, least first.
const BASE62: [u8; 62] = *b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

#[inline]
fn digit(letter: u8) -> Option<u16> {
    Some(match letter {
        b'0'..=b'9' => u16::from(letter - b'0'),
        b'A'..=b'Z' => u16::from(letter - b'A') + 10,
        b'a'..=b'z' => u16::from(letter - b'a') + 36,
        _ => return None,
    })
}

/// Slot that a token names in its first two characters (high digit first); `None` when these are
/// not base62. The caller still compares the whole token ([`same_token`]).
#[inline]
pub fn token_slot(token: &Token) -> Option<SessionSlot> {
    let [high, low, ..] = token.0;
    Some(SessionSlot(digit(high)? * 62 + digit(low)?))
}

/// Token of `slot` with 8 characters drawn from `random` (uniform but for 2^-16: 62^8 is 2^47.6);
/// `None` when the slot is [`SLOTS_MAX`] or more.
pub fn make_token(slot: SessionSlot, random: u64) -> Option<Token> {
    if slot.0 >= SLOTS_MAX {
        return None;
    }
    let mut token = [0; 10];
    token[0] = BASE62[usize::from(slot.0 / 62)];
    token[1] = BASE62[usize::from(slot.0 % 62)];
    let mut rest = random;
    for letter in token[2..].iter_mut().rev() {
        *letter = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    Some(Alpha(token))
}

/// Compares two tokens in constant time.
#[inline]
pub fn same_token(a: &Token, b: &Token) -> bool {
    a.0.ct_eq(&b.0).into()
}

/// Name of a session's downstream, and of a feed: 6 characters (blanks kept), incarnation (`A`
/// first), day of year in 3 digits (1 ..= 366; higher ones are cut to 3 digits).
pub fn stream_name(name: &Alpha<6>, incarnation: u8, day_of_year: u16) -> SessionName {
    let mut out = [0; 10];
    out[..6].copy_from_slice(&name.0);
    out[6] = incarnation;
    let digit = |unit: u16| b'0' + (day_of_year / unit % 10) as u8;
    out[7..].copy_from_slice(&[digit(100), digit(10), digit(1)]);
    Alpha(out)
}
