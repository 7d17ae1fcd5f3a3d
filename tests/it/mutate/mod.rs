//! The mutator: valid datagrams, and noise, changed in ways that break readers; and what must hold
//! whatever comes.
//!
//! Consumes a seed and a count; produces a table of what every decoder and the whole gateway
//! answered, and panics with seed and bytes at the first violation. `decoders` holds each decoder
//! against its encoder, `gateway` a venue against an oracle of its own, `repair` the retransmitter.
//! A row of the table that stays at 0 is a fault too: a reason that no input reaches is not tested.
//!
//! `cargo test` runs a few thousand; `rialto-bench mutate` (which includes this folder) runs 10
//! million of each.

pub mod decoders;
pub mod gateway;
mod oracle;
pub mod repair;
mod samples;

use rialto::random::SplitMix64;
use std::collections::BTreeMap;

/// Numbers from a seed, in the shapes that are needed here.
pub struct Random(SplitMix64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(SplitMix64::new(seed))
    }

    pub fn draw(&mut self) -> u64 {
        self.0.draw()
    }

    /// 0 .. n; n is not 0 and far below 2^64, so the bias is nothing.
    pub fn below(&mut self, n: usize) -> usize {
        (self.draw() % n as u64) as usize
    }

    /// One time in n.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Values at the ends of fields.
const EXTREMES: [u64; 14] = [
    0,
    1,
    2,
    0x7F,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x1_0000,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
];

/// Ways to change bytes.
pub const MUTATIONS: [&str; 11] = [
    "bit",
    "byte",
    "truncate",
    "extend",
    "length or count",
    "extreme",
    "splice",
    "double",
    "remove",
    "swap",
    "noise",
];

/// Changes `bytes` once; `other` is another valid sample to splice with. Returns the index into
/// [`MUTATIONS`]. Never grows beyond 2,000 bytes.
pub fn mutate(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) -> usize {
    let kind = random.below(MUTATIONS.len());
    let len = bytes.len();
    match kind {
        0 if len > 0 => bytes[random.below(len)] ^= 1 << random.below(8),
        1 if len > 0 => bytes[random.below(len)] = random.draw() as u8,
        2 if len > 0 => bytes.truncate(random.below(len)),
        3 => {
            let any = random.draw() as u8;
            let value = *random.pick(&[0, b' ', 0xFF, any]);
            bytes.resize(len + 1 + random.below(40), value);
        }
        // A big-endian u16 that lies: by a little, or by much.
        4 if len >= 2 => {
            let at = *random.pick(&[0, 18, 20, 22, 47, len - 2]);
            let at = if random.one_in(2) { at } else { random.below(len) }.min(len - 2);
            let was = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
            let lies = [was.wrapping_add(1), was.wrapping_sub(1), was << 1, !was, 0, 0xFFFF];
            let lie = *random.pick(&lies);
            bytes[at..at + 2].copy_from_slice(&lie.to_be_bytes());
        }
        5 if len > 0 => {
            let width = 1 << random.below(4);
            let value = random.pick(&EXTREMES).to_be_bytes();
            let at = random.below(len);
            let end = (at + width).min(len);
            let little = random.one_in(2);
            for (i, byte) in bytes[at..end].iter_mut().enumerate() {
                *byte = if little { value[7 - i] } else { value[8 - width + i] };
            }
        }
        6 if len > 0 && !other.is_empty() => {
            bytes.truncate(random.below(len));
            bytes.extend_from_slice(&other[random.below(other.len())..]);
        }
        7 if len > 0 => {
            let (from, to) = range(random, len);
            let piece = bytes[from..to].to_vec();
            bytes.splice(to..to, piece);
        }
        8 if len > 0 => {
            let (from, to) = range(random, len);
            bytes.drain(from..to);
        }
        9 if len > 1 => {
            let (from, to) = range(random, len);
            bytes[from..to].reverse();
        }
        _ => {
            let len = if random.one_in(8) { random.below(1_500) } else { random.below(128) };
            bytes.clear();
            while bytes.len() < len {
                bytes.extend_from_slice(&random.draw().to_le_bytes());
            }
            bytes.truncate(len);
        }
    }
    bytes.truncate(2_000);
    kind
}

/// 0 to 4 changes, mostly one. How many times each was made goes into `made`.
pub fn mutate_some(
    random: &mut Random,
    bytes: &mut Vec<u8>,
    other: &[u8],
    made: &mut [u64; MUTATIONS.len()],
) {
    let times = *random.pick(&[0, 1, 1, 1, 1, 1, 1, 2, 2, 4]);
    for _ in 0..times {
        made[mutate(random, bytes, other)] += 1;
    }
}

fn range(random: &mut Random, len: usize) -> (usize, usize) {
    let from = random.below(len);
    (from, from + 1 + random.below((len - from).min(64)))
}

/// What was answered, and how often. Rows that must come up are put in at 0.
#[derive(Default, Clone)]
pub struct Tally {
    rows: BTreeMap<String, u64>,
    /// Rows that may stay at 0, with the reason.
    excused: BTreeMap<String, &'static str>,
    pub mutants: u64,
}

impl Tally {
    /// A row that must come up.
    pub fn expect(&mut self, row: impl Into<String>) {
        self.rows.entry(row.into()).or_default();
    }

    /// A row that cannot come up here, and why.
    pub fn excuse(&mut self, row: impl Into<String>, why: &'static str) {
        self.excused.insert(row.into(), why);
    }

    pub fn add(&mut self, row: &str, count: u64) {
        match self.rows.get_mut(row) {
            Some(so_far) => *so_far += count,
            None => {
                self.rows.insert(row.to_string(), count);
            }
        }
    }

    pub fn merge(&mut self, other: &Tally) {
        for (row, count) in &other.rows {
            self.add(row, *count);
        }
        self.excused.extend(other.excused.iter().map(|(row, why)| (row.clone(), *why)));
        self.mutants += other.mutants;
    }

    /// Rows at 0 that are not excused.
    pub fn never(&self) -> Vec<&str> {
        let zero = self.rows.iter().filter(|(row, n)| **n == 0 && !self.excused.contains_key(*row));
        zero.map(|(row, _)| row.as_str()).collect()
    }

    /// The table as text.
    pub fn table(&self) -> String {
        let mut text = String::new();
        for (row, count) in &self.rows {
            let why = self.excused.get(row).filter(|_| *count == 0);
            let why = why.map(|why| format!("   ({why})")).unwrap_or_default();
            text.push_str(&format!("  {count:>12}  {row}{why}\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_came(what: &str, never: &[impl std::fmt::Display]) {
        let never: Vec<String> = never.iter().map(|row| row.to_string()).collect();
        assert!(never.is_empty(), "{what}: never came: {never:#?}");
    }

    #[test]
    fn decoders_survive_mutants() {
        all_came("decoders", &decoders::run(1, 20_000, "", |_, _| {}));
    }

    #[test]
    fn the_gateway_survives_mutants() {
        let tally = gateway::run(1, 2 * gateway::ROUND, |_, _| {});
        println!("{}", tally.table());
        all_came("gateway", &tally.never());
    }

    #[test]
    fn the_retransmitter_survives_mutants() {
        all_came("repair", &repair::run(1, 20_000).never());
    }
}
