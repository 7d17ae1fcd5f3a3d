//! The oracle CSV: the best quotes that a flow should lead to, one distinct state per line.
//!
//! Consumes a file, plain or gzipped, as a stream; produces [`Bbo`]s. Specified in
//! docs/command-csv.md.

use std::io::BufRead;
use std::path::Path;

use super::lines::{self, FlowFileError, Lines, fields, number};
use crate::types::Price;

/// First line of every file.
pub const HEADER: &str = "ask_e4,ask_qty,bid_e4,bid_qty";

/// Best quotes of both sides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bbo {
    /// Lowest offer.
    pub ask: Price,
    /// Shares at it.
    pub ask_quantity: u64,
    /// Highest bid.
    pub bid: Price,
    /// Shares at it.
    pub bid_quantity: u64,
}

/// Reads quotes; an iterator that ends after the first error.
pub struct BboReader {
    lines: Lines,
    ended: bool,
}

impl BboReader {
    /// Opens a file, plain or gzipped (known by its content), and checks its header.
    pub fn open(path: &Path) -> Result<BboReader, FlowFileError> {
        let lines = Lines::new(lines::open(path)?, path.display().to_string(), HEADER)?;
        Ok(BboReader { lines, ended: false })
    }

    /// Reads plain text from `source`; `name` stands for the file in errors.
    pub fn new(
        name: &str,
        source: impl BufRead + Send + 'static,
    ) -> Result<BboReader, FlowFileError> {
        let lines = Lines::new(Box::new(source), name.to_owned(), HEADER)?;
        Ok(BboReader { lines, ended: false })
    }

    fn read(&mut self) -> Result<Option<Bbo>, FlowFileError> {
        let Some(line) = self.lines.next_line()? else { return Ok(None) };
        let parsed = parse(line);
        parsed.map(Some).map_err(|what| self.lines.fault(what))
    }
}

impl Iterator for BboReader {
    type Item = Result<Bbo, FlowFileError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let item = self.read().transpose();
        self.ended = !matches!(item, Some(Ok(_)));
        item
    }
}

fn parse(line: &str) -> Result<Bbo, String> {
    let [ask, ask_quantity, bid, bid_quantity] = fields::<4>(line)?;
    let price = |name, text| {
        // At most Price::MAX, so the cast holds.
        number(name, text, 1, u64::from(Price::MAX.0)).map(|value| Price(value as u32))
    };
    Ok(Bbo {
        ask: price("ask_e4", ask)?,
        ask_quantity: number("ask_qty", ask_quantity, 1, u64::MAX)?,
        bid: price("bid_e4", bid)?,
        bid_quantity: number("bid_qty", bid_quantity, 1, u64::MAX)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn quotes_are_read() {
        let text = "ask_e4,ask_qty,bid_e4,bid_qty\n5859400,200,5853300,18\n1,x,1,1\n1,1,1,1\n";
        let mut reader = BboReader::new("bbo.csv", Cursor::new(text)).unwrap();
        assert_eq!(
            reader.next().unwrap().unwrap(),
            Bbo {
                ask: Price(5_859_400),
                ask_quantity: 200,
                bid: Price(5_853_300),
                bid_quantity: 18
            }
        );
        let error = reader.next().unwrap().unwrap_err().to_string();
        assert!(error.starts_with("bbo.csv line 3: ask_qty is \"x\""), "{error}");
        assert!(reader.next().is_none());
        assert!(BboReader::new("b", Cursor::new("ask\n")).is_err());
    }
}
