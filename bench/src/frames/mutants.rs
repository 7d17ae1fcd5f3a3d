//! Frames that should not reach anybody's session: valid ones of live sessions, heard on the wire, each
//! changed in one of many ways, and noise.
//!
//! An attacker who hears a session without packet MAC and writes its address under his own datagrams *is*
//! that session as far as anybody can tell. So a mutant that starts from such a session's frame never
//! keeps the client's address, but for exact repetitions and datagrams that must be dropped for their
//! form. Sessions with a packet MAC need no such care: their mutants keep everything, address and all.
//! Knows headers and no orders; shares no code with the parser that they go through.

use crate::mutate::mutants::{Random, mutate};
use std::net::{Ipv4Addr, SocketAddrV4};

/// Ways to make a frame. Each must be sent at least once, or the run fails.
pub const KINDS: [&str; 24] = [
    "repetition",
    "spoofed source",
    "source MAC",
    "destination MAC",
    "fragment",
    "both fragments",
    "IP options",
    "802.1Q",
    "QinQ",
    "long",
    "longer than the MTU",
    "runt",
    "IP checksum",
    "UDP checksum",
    "IP or UDP length",
    "ethertype",
    "ARP",
    "protocol",
    "port or address",
    "bits",
    "cut",
    "noise",
    "payload",
    "form",
];

/// A frame that somebody sent to the venue.
#[derive(Clone)]
pub struct Seed {
    pub bytes: Vec<u8>,
    /// Its session has no packet MAC.
    pub open: bool,
}

impl Seed {
    /// Of a frame that was heard on its way to `venue`; `None` when it goes elsewhere.
    pub fn heard(bytes: &[u8], venue: &[SocketAddrV4]) -> Option<Seed> {
        let to = Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(30..34)?).ok()?);
        let to = SocketAddrV4::new(to, u16::from_be_bytes([*bytes.get(36)?, *bytes.get(37)?]));
        let udp = bytes[12..15] == [8, 0, 0x45] && bytes[23] == 17 && venue.contains(&to);
        let end = 34 + usize::from(u16::from_be_bytes([bytes[38], bytes[39]]));
        if !udp || end < 62 || end > bytes.len() {
            return None;
        }
        let mut bytes = bytes[..end].to_vec();
        let open = is_whole(&bytes[42..]);
        finish(&mut bytes);
        Some(Seed { bytes, open })
    }

    /// No datagram with messages: login, heartbeat, request.
    pub fn is_rare(&self, repair: SocketAddrV4) -> bool {
        let to_repair = self.bytes[36..38] == repair.port().to_be_bytes();
        to_repair || self.payload().len() < 30 || self.payload()[..10] == [b' '; 10]
    }

    fn payload(&self) -> &[u8] {
        &self.bytes[42..]
    }
}

/// Blocks that fill a MoldUDP64 datagram to its end, as many as it says: no MAC behind them. What belongs
/// to no session (login) counts as with a MAC: it is signed as a whole.
fn is_whole(payload: &[u8]) -> bool {
    let signed = payload[..10] == [b' '; 10];
    let count = u16::from_be_bytes([payload[18], payload[19]]);
    let (mut rest, mut blocks) = (&payload[20..], 0);
    while let [high, low, behind @ ..] = rest {
        let Some(next) = behind.get(usize::from(u16::from_be_bytes([*high, *low]))..) else {
            return false;
        };
        (rest, blocks) = (next, blocks + 1);
    }
    !signed && rest.is_empty() && (count == blocks || count == 0xffff && blocks == 0)
}

/// The Internet checksum's sum over `bytes` (RFC 1071).
fn sum(bytes: &[u8]) -> u64 {
    let words =
        bytes.chunks(2).map(|w| u64::from(w[0]) << 8 | w.get(1).map_or(0, |b| u64::from(*b)));
    words.sum()
}

fn complement(mut sum: u64) -> [u8; 2] {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

/// Makes the sum of a header without options right.
fn finish_ip(frame: &mut [u8]) {
    if let Some(ip) = frame.get_mut(14..34) {
        ip[10..12].fill(0);
        let checksum = complement(sum(ip));
        ip[10..12].copy_from_slice(&checksum);
    }
}

/// Makes both lengths and both sums right for all that stands in the frame.
fn finish(frame: &mut [u8]) {
    if frame.len() < 42 {
        return;
    }
    let total = (frame.len() - 14) as u16;
    frame[16..18].copy_from_slice(&total.to_be_bytes());
    frame[38..40].copy_from_slice(&(total - 20).to_be_bytes());
    finish_sums(frame);
}

fn finish_sums(frame: &mut [u8]) {
    finish_ip(frame);
    frame[40..42].fill(0);
    let udp = (frame.len() - 34) as u64;
    let checksum = complement(sum(&frame[26..34]) + 17 + udp + sum(&frame[34..]));
    frame[40..42].copy_from_slice(if checksum == [0, 0] { &[0xff, 0xff] } else { &checksum });
}

/// What the attacker knows, and how he chooses.
pub struct Attacker {
    pub random: Random,
    pub seeds: Vec<Seed>,
    /// Those that are few beside the others; he takes one of them one time in eight.
    pub rare: Vec<Seed>,
    /// Address of all honest clients.
    pub client: Ipv4Addr,
    pub venue: Vec<SocketAddrV4>,
    /// Largest MTU at the receiver's end.
    pub mtu: usize,
    /// Frames made so far, per kind.
    pub made: [u64; KINDS.len()],
}

impl Attacker {
    /// One more attempt: a frame, or two that belong together, into `out`.
    pub fn attempt(&mut self, out: &mut Vec<Vec<u8>>) {
        loop {
            let kind = self.random.below(KINDS.len());
            let rare = !self.rare.is_empty() && self.random.one_in(8);
            let from = if rare { &self.rare } else { &self.seeds };
            let seed = from[self.random.below(from.len())].clone();
            let begun = out.len();
            self.make(kind, &seed, out);
            let may_keep_address = !seed.open || matches!(KINDS[kind], "repetition" | "form");
            let lawful = out[begun..]
                .iter()
                .all(|frame| frame.len() >= 14 && (may_keep_address || !self.names_client(frame)));
            if lawful && out.len() > begun {
                self.made[kind] += (out.len() - begun) as u64;
                return;
            }
            out.truncate(begun);
        }
    }

    /// The client's address stands anywhere in the headers.
    fn names_client(&self, frame: &[u8]) -> bool {
        let headers = &frame[14..frame.len().min(110)];
        headers.windows(4).any(|window| window == self.client.octets())
    }

    /// Another payload to splice with, of the same kind of session.
    fn other(&mut self, open: bool) -> Vec<u8> {
        for _ in 0..16 {
            let other = &self.seeds[self.random.below(self.seeds.len())];
            if other.open == open {
                return other.payload().to_vec();
            }
        }
        Vec::new()
    }

    /// A source that is nobody's: of this network, of another, or a martian.
    fn stranger(&mut self) -> [u8; 4] {
        let [a, b, c, own] = self.client.octets();
        let r = self.random.draw().to_le_bytes();
        match self.random.below(8) {
            0..=4 => [a, b, c, if r[0] % 250 + 2 == own { 252 } else { r[0] % 250 + 2 }],
            5 => [203, 0, 113, r[0]],
            6 => [r[0], r[1], r[2], r[3]],
            _ => *self.random.pick(&[
                [127, 0, 0, 1],
                [0, 0, 0, 0],
                [224, 0, 0, 1],
                [255, 255, 255, 255],
                [239, 192, 0, 1],
            ]),
        }
    }

    /// Writes another sender, unless the frame's own one may stay and does.
    fn disguise(&mut self, frame: &mut [u8], open: bool) {
        if open || self.random.one_in(3) {
            let from = self.stranger();
            frame[26..30].copy_from_slice(&from);
            if self.random.one_in(2) {
                let port = self.random.draw() as u16;
                frame[34..36].copy_from_slice(&port.to_be_bytes());
            }
            finish(frame);
        }
    }

    fn make(&mut self, kind: usize, seed: &Seed, out: &mut Vec<Vec<u8>>) {
        let mut frame = seed.bytes.clone();
        match KINDS[kind] {
            "repetition" => return out.push(frame),
            "form" => return self.form(seed, out),
            "noise" => return self.noise(frame, out),
            "payload" => {
                let mut payload = seed.payload().to_vec();
                let other = self.other(seed.open);
                for _ in 0..1 + self.random.below(3) {
                    mutate(&mut self.random, &mut payload, &other);
                }
                frame.truncate(42);
                frame.extend_from_slice(&payload[..payload.len().min(1_476)]);
                finish(&mut frame);
                self.disguise(&mut frame, seed.open);
                return out.push(frame);
            }
            "spoofed source" => {
                let from = self.stranger();
                frame[26..30].copy_from_slice(&from);
                finish(&mut frame);
                return out.push(frame);
            }
            _ => {}
        }
        self.disguise(&mut frame, seed.open);
        let r = self.random.draw().to_le_bytes();
        match KINDS[kind] {
            "source MAC" => {
                let own = [2, 0, 0, r[0], r[1], r[2]];
                let mac = [own, [0xff; 6], [1, 0, 0x5e, 0, 0, 1], [0; 6]][self.random.below(4)];
                frame[6..12].copy_from_slice(&mac);
            }
            "destination MAC" => {
                let own = [2, 0, 0, r[0], r[1], r[2]];
                let mac = [own, [0xff; 6], [1, 0, 0x5e, 0, 0, 1], [0; 6]][self.random.below(4)];
                frame[..6].copy_from_slice(&mac);
            }
            "fragment" => {
                let words = [0x2000, 0x2000 | u16::from(r[0]), u16::from(r[0]), 0x1fff, 1];
                frame[20..22].copy_from_slice(&self.random.pick(&words).to_be_bytes());
                finish_ip(&mut frame);
            }
            "both fragments" => return self.fragments(frame, out),
            "IP options" => {
                // NOP, end, record route, loose and strict source route, router alert, nonsense.
                let options = [
                    [1, 1, 1, 1],
                    [0, 0, 0, 0],
                    [7, 4, 4, 0],
                    [131, 4, 4, 0],
                    [137, 4, 4, 0],
                    [148, 4, 0, 0],
                    [r[0], r[1], r[2], r[3]],
                ];
                let count = 1 + self.random.below(10);
                for _ in 0..count {
                    let option = *self.random.pick(&options);
                    frame.splice(34..34, option);
                }
                frame[14] = 0x45 + count as u8;
                let total = (frame.len() - 14) as u16;
                frame[16..18].copy_from_slice(&total.to_be_bytes());
                frame[24..26].fill(0);
                let checksum = complement(sum(&frame[14..34 + 4 * count]));
                frame[24..26].copy_from_slice(&checksum);
            }
            "802.1Q" => {
                let id = *self.random.pick(&[0, 1, 5, 4_095, u16::from(r[0])]);
                let tag = (id | u16::from(r[1] & 0xf0) << 8).to_be_bytes();
                frame.splice(12..12, [0x81, 0, tag[0], tag[1]]);
            }
            "QinQ" => {
                let outer = *self.random.pick(&[[0x88, 0xa8], [0x91, 0], [0x81, 0]]);
                frame.splice(12..12, [outer[0], outer[1], 0, r[0], 0x81, 0, 0, r[1]]);
            }
            // 1,400 bytes is what a session takes, 2,048 less headroom what a frame of the UMEM does.
            "long" => {
                let length = *self.random.pick(&[1_443, 1_514, 1_600, 1_780, 1_800, 2_048, 2_900]);
                frame.resize(length.min(14 + self.mtu), r[0]);
                finish(&mut frame);
            }
            "longer than the MTU" => {
                frame.resize(14 + self.mtu + 1 + self.random.below(300), r[0]);
                finish(&mut frame);
            }
            "runt" => frame.truncate(14 + self.random.below(46)),
            "IP checksum" => frame[24] ^= r[0].max(1),
            "UDP checksum" => {
                let wrong = [[r[0], r[1]], [0xff, 0xff], [frame[40] ^ 1, frame[41]]];
                let wrong = *self.random.pick(&wrong);
                // Neither "none" nor unfinished: those are not wrong.
                frame[40..42].copy_from_slice(if wrong == [0, 0] { &[0, 1] } else { &wrong });
            }
            "IP or UDP length" => {
                let at = *self.random.pick(&[16, 38]);
                let was = u16::from_be_bytes([frame[at], frame[at + 1]]);
                let lies =
                    [0, 7, 8, 19, 20, 28, was - 1, was + 1, was / 2, 0xffff, u16::from(r[0])];
                frame[at..at + 2].copy_from_slice(&self.random.pick(&lies).to_be_bytes());
                finish_sums(&mut frame);
            }
            "ethertype" => {
                let types = [0x86dd, 0x88cc, 0x8863, 0x8847, 0x0806, 0x0805, 0x05dc, 46];
                let ethertype = if r[0] == 0 { u16::from(r[1]) } else { *self.random.pick(&types) };
                frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
            }
            "ARP" => {
                // Request, reply or nonsense, about a stranger.
                let about = self.stranger();
                let to = self.venue[0].ip().octets();
                frame.truncate(14);
                frame[12..14].copy_from_slice(&[8, 6]);
                frame.extend_from_slice(&[
                    0,
                    1,
                    8,
                    0,
                    6,
                    4,
                    0,
                    r[0] % 4,
                    2,
                    0,
                    0,
                    r[1],
                    r[2],
                    r[3],
                ]);
                frame.extend_from_slice(&about);
                frame.extend_from_slice(&[0; 6]);
                frame.extend_from_slice(&to);
                frame.resize(60, 0);
            }
            "protocol" => {
                frame[23] = *self.random.pick(&[1, 2, 6, 41, 47, 132, 136, r[0] & 0xef]);
                finish_ip(&mut frame);
            }
            "port or address" => {
                match self.random.below(3) {
                    0 => frame[36..38].copy_from_slice(&[r[0], r[1]]),
                    1 => frame[33] ^= 1 << (r[0] & 7),
                    _ => frame[30..34].copy_from_slice(&[239, 192, 0, 1]),
                }
                finish(&mut frame);
            }
            "bits" => {
                for _ in 0..1 + self.random.below(4) {
                    let at = self.random.below(frame.len());
                    frame[at] ^= 1 << self.random.below(8);
                }
                if self.random.one_in(2) {
                    finish_ip(&mut frame);
                }
            }
            _ => {
                // cut: the headers keep what they say.
                frame.truncate(14 + self.random.below(frame.len() - 14));
            }
        }
        out.push(frame);
    }

    /// A datagram in two pieces, the second one first now and then; the kernel puts them together.
    fn fragments(&mut self, mut frame: Vec<u8>, out: &mut Vec<Vec<u8>>) {
        let cut = 34 + 8 * (1 + self.random.below((frame.len() - 34) / 8 - 1));
        let id = self.random.draw() as u16;
        frame[18..20].copy_from_slice(&id.to_be_bytes());
        let mut second = frame[..34].to_vec();
        second.extend_from_slice(&frame[cut..]);
        frame.truncate(cut);
        for (piece, offset) in [(&mut frame, 0x2000), (&mut second, ((cut - 34) / 8) as u16)] {
            let total = (piece.len() - 14) as u16;
            piece[16..18].copy_from_slice(&total.to_be_bytes());
            piece[20..22].copy_from_slice(&offset.to_be_bytes());
            finish_ip(piece);
        }
        let swapped = self.random.one_in(4);
        out.extend(if swapped { [second, frame] } else { [frame, second] });
    }

    /// Random bytes: all of the frame, behind its Ethernet header, or behind its UDP header.
    fn noise(&mut self, mut frame: Vec<u8>, out: &mut Vec<Vec<u8>>) {
        let keep = *self.random.pick(&[0, 14, 42, 42]);
        let length =
            if self.random.one_in(8) { self.random.below(1_472) } else { self.random.below(160) };
        frame.truncate(keep);
        while frame.len() < keep + length.max(14) {
            frame.extend_from_slice(&self.random.draw().to_le_bytes());
        }
        if keep == 42 {
            let from = self.stranger();
            frame[26..30].copy_from_slice(&from);
            finish(&mut frame);
        }
        out.push(frame);
    }

    /// Under the token and from the address of a session without MAC, what must be dropped whole:
    /// numbers that are none, numbers far ahead, blocks that do not fill the datagram.
    fn form(&mut self, seed: &Seed, out: &mut Vec<Vec<u8>>) {
        // With a MAC it would say only that the MAC is wrong.
        if !seed.open || seed.bytes.len() < 42 + 23 {
            return;
        }
        let mut frame = seed.bytes.clone();
        match self.random.below(3) {
            0 => frame[52..60].fill(0),
            1 => {
                let number = (1 << 40) + self.random.draw() % (1 << 40);
                frame[52..60].copy_from_slice(&number.to_be_bytes());
            }
            _ => frame.push(b'x'),
        }
        finish(&mut frame);
        out.push(frame);
    }
}
