//! Command streams: a deterministic order flow that any engine can be fed, and its file format.
//!
//! Consumes and produces files of 64 + 32 x n bytes, little-endian:
//!
//! | header offset | field | record offset | field |
//! |---|---|---|---|
//! | 0 | `XCWLOAD1` | 0 | u8: 1 new, 2 cancel, 3 replace |
//! | 8 | u64 seed | 1 | u8: 0 buy, 1 sell |
//! | 16 | u64 prefill records | 2 | u8, of a new: 0 limit, 1 IOC, 2 fill or kill, 3 market |
//! | 24 | u64 timed records | 3 | u8: bit 0 = prefill |
//! | 32 | u32 symbols | 4 | u16 symbol, from 0 |
//! | 36 | u32 owners | 8 | u64 order id, counting up from 1 over the file |
//! | 40, 44 | u32 lowest, highest price | 16 | u32 price in ticks; 0 = market |
//! | 48 | u64 highest order id | 20 | u32 quantity; of a replace: new open quantity |
//! | 56 | zero | 24 | u32 owner; 6 and 28 zero |
//!
//! Must not know any engine.

pub mod digest;
pub mod generate;
pub mod preset;
mod random;
pub mod reference;

use std::io::{self, Write};

/// First bytes of a stream file.
const MAGIC: &[u8; 8] = b"XCWLOAD1";
/// Bytes of the header.
const HEADER_BYTES: usize = 64;
/// Bytes of one record.
const STEP_BYTES: usize = 32;

/// How a new order behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Trades what crosses, rests the remainder.
    Limit,
    /// Trades what crosses, drops the remainder.
    Immediate,
    /// Trades all of it at once, or nothing.
    FillOrKill,
    /// Trades at any price, drops the remainder.
    Market,
}

/// What a step asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// A new order.
    New(Kind),
    /// Takes an order off the book; a finished one is refused.
    Cancel,
    /// New price and open quantity; keeps its queue place only at the same price with no more.
    Replace,
}

/// One command of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// What it asks for.
    pub action: Action,
    /// True for an offer.
    pub sell: bool,
    /// True in the untimed first part.
    pub prefill: bool,
    /// Symbol, from 0.
    pub symbol: u16,
    /// Order id, from 1.
    pub id: u32,
    /// Price in ticks; 0 for a market order and for a cancel that comes too late.
    pub price: u32,
    /// Shares; 0 for a cancel.
    pub quantity: u32,
    /// Owner; buyers have even numbers, sellers odd ones.
    pub owner: u32,
}

/// A whole stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stream {
    /// Seed it was drawn from.
    pub seed: u64,
    /// Symbols.
    pub symbols: u32,
    /// Owners.
    pub owners: u32,
    /// Lowest price of any step, market orders not counted.
    pub price_min: u32,
    /// Highest price of any step.
    pub price_max: u32,
    /// Highest order id.
    pub id_max: u32,
    /// Steps of the untimed first part.
    pub prefill: usize,
    /// All steps.
    pub steps: Vec<Step>,
}

impl Stream {
    /// Reads a stream file. The error says which record is wrong and why.
    pub fn parse(bytes: &[u8]) -> Result<Stream, String> {
        if bytes.len() < HEADER_BYTES || &bytes[..8] != MAGIC {
            return Err("not a command stream (no XCWLOAD1 header)".into());
        }
        let (header, body) = bytes.split_at(HEADER_BYTES);
        let count = u64_at(header, 16).checked_add(u64_at(header, 24));
        let wanted = count.and_then(|n| n.checked_mul(STEP_BYTES as u64));
        if wanted != Some(body.len() as u64) {
            return Err(format!("{} bytes of records do not fit the header", body.len()));
        }
        let stream = Stream {
            seed: u64_at(header, 8),
            symbols: u32_at(header, 32),
            owners: u32_at(header, 36),
            price_min: u32_at(header, 40),
            price_max: u32_at(header, 44),
            id_max: u32::try_from(u64_at(header, 48)).map_err(|_| "ids beyond 2^32")?,
            prefill: u64_at(header, 16) as usize,
            steps: body
                .chunks_exact(STEP_BYTES)
                .enumerate()
                .map(|(i, record)| Step::parse(record).map_err(|e| format!("record {i}: {e}")))
                .collect::<Result<_, _>>()?,
        };
        for (i, step) in stream.steps.iter().enumerate() {
            let id_known = (1..=stream.id_max).contains(&step.id);
            if u32::from(step.symbol) >= stream.symbols || !id_known || step.owner >= stream.owners
            {
                return Err(format!("record {i}: symbol, id or owner beyond the header's"));
            }
        }
        Ok(stream)
    }

    /// Writes the stream as a file.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(MAGIC);
        let timed = self.steps.len() - self.prefill;
        for word in [self.seed, self.prefill as u64, timed as u64] {
            header.extend_from_slice(&word.to_le_bytes());
        }
        for word in [self.symbols, self.owners, self.price_min, self.price_max] {
            header.extend_from_slice(&word.to_le_bytes());
        }
        header.extend_from_slice(&u64::from(self.id_max).to_le_bytes());
        header.resize(HEADER_BYTES, 0);
        out.write_all(&header)?;
        for step in &self.steps {
            out.write_all(&step.bytes())?;
        }
        Ok(())
    }
}

impl Step {
    fn parse(record: &[u8]) -> Result<Step, String> {
        let kind = match record[2] {
            0 => Kind::Limit,
            1 => Kind::Immediate,
            2 => Kind::FillOrKill,
            3 => Kind::Market,
            other => return Err(format!("kind {other}")),
        };
        Ok(Step {
            action: match record[0] {
                1 => Action::New(kind),
                2 => Action::Cancel,
                3 => Action::Replace,
                other => return Err(format!("operation {other}")),
            },
            sell: match record[1] {
                0 => false,
                1 => true,
                other => return Err(format!("side {other}")),
            },
            prefill: record[3] & 1 == 1,
            symbol: u16::from_le_bytes([record[4], record[5]]),
            id: u32::try_from(u64_at(record, 8)).map_err(|_| "id beyond 2^32")?,
            price: u32_at(record, 16),
            quantity: u32_at(record, 20),
            owner: u32_at(record, 24),
        })
    }

    fn bytes(&self) -> [u8; STEP_BYTES] {
        let (operation, kind) = match self.action {
            Action::New(kind) => (1, kind as u8),
            Action::Cancel => (2, 0),
            Action::Replace => (3, 0),
        };
        let mut out = [0; STEP_BYTES];
        out[..4].copy_from_slice(&[operation, self.sell as u8, kind, self.prefill as u8]);
        out[4..6].copy_from_slice(&self.symbol.to_le_bytes());
        out[8..16].copy_from_slice(&u64::from(self.id).to_le_bytes());
        out[16..20].copy_from_slice(&self.price.to_le_bytes());
        out[20..24].copy_from_slice(&self.quantity.to_le_bytes());
        out[24..28].copy_from_slice(&self.owner.to_le_bytes());
        out
    }
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::generate::{Recipe, generate};
    use super::*;

    #[test]
    fn a_stream_survives_its_file() {
        let stream = generate(&Recipe { timed: 500, resting: 60, fok: 50, ..Recipe::default() });
        let mut bytes = Vec::new();
        stream.write(&mut bytes).unwrap();
        assert_eq!(Stream::parse(&bytes).unwrap(), stream);

        assert!(Stream::parse(&bytes[..bytes.len() - 1]).is_err());
        assert!(Stream::parse(b"XCWLOAD0").is_err());
        bytes[HEADER_BYTES] = 9;
        assert_eq!(Stream::parse(&bytes).unwrap_err(), "record 0: operation 9");
    }
}
