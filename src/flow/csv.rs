//! The command CSV: recorded order flow of one symbol as text. Specified in docs/command-csv.md.
//!
//! Consumes a file, plain or gzipped, as a stream; produces [`FlowCommand`]s, and the other way
//! round. Errors name file, line, field and what is allowed.

use std::io::{BufRead, Write};
use std::path::Path;

use super::lines::{self, FlowFileError, Lines, fields, number};
use super::{FlowCommand, FlowOp};
use crate::types::{Price, Quantity, Side};

/// First line of every file.
pub const HEADER: &str = "time_ns,op,order_id,side,price_e4,qty,expect_resting_order_id";

/// Reads commands; an iterator that ends after the first error.
pub struct CommandReader {
    lines: Lines,
    last_ns: u64,
    ended: bool,
}

impl CommandReader {
    /// Opens a file, plain or gzipped (known by its content), and checks its header.
    pub fn open(path: &Path) -> Result<CommandReader, FlowFileError> {
        CommandReader::over(Lines::new(lines::open(path)?, path.display().to_string(), HEADER)?)
    }

    /// Reads plain text from `source`; `name` stands for the file in errors.
    pub fn new(
        name: &str,
        source: impl BufRead + Send + 'static,
    ) -> Result<CommandReader, FlowFileError> {
        CommandReader::over(Lines::new(Box::new(source), name.to_owned(), HEADER)?)
    }

    fn over(lines: Lines) -> Result<CommandReader, FlowFileError> {
        Ok(CommandReader { lines, last_ns: 0, ended: false })
    }

    fn read(&mut self) -> Result<Option<FlowCommand>, FlowFileError> {
        let Some(line) = self.lines.next_line()? else { return Ok(None) };
        let parsed = parse(line).and_then(|command| {
            if command.at_ns < self.last_ns {
                return Err(format!(
                    "time_ns {} is before the line above ({}), must not go back",
                    command.at_ns, self.last_ns
                ));
            }
            Ok(command)
        });
        match parsed {
            Ok(command) => {
                self.last_ns = command.at_ns;
                Ok(Some(command))
            }
            Err(what) => Err(self.lines.fault(what)),
        }
    }
}

impl Iterator for CommandReader {
    type Item = Result<FlowCommand, FlowFileError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let item = self.read().transpose();
        self.ended = !matches!(item, Some(Ok(_)));
        item
    }
}

fn parse(line: &str) -> Result<FlowCommand, String> {
    let [time, op, order_id, side, price, quantity, expected] = fields::<7>(line)?;
    let at_ns = number("time_ns", time, 0, u64::MAX)?;
    let op = letter(op)
        .and_then(FlowOp::from_letter)
        .ok_or_else(|| format!("op is {op:?}, must be N, C, R or I"))?;
    let order_id = number("order_id", order_id, 0, u64::MAX)?;
    let side = letter(side)
        .and_then(Side::from_letter)
        .ok_or_else(|| format!("side is {side:?}, must be B or S"))?;
    let price = number("price_e4", price, 1, u64::from(Price::MAX.0))?;
    let quantity = number("qty", quantity, 1, u64::from(u32::MAX))?;
    let expect_resting = match (expected, op) {
        ("", _) => None,
        (text, FlowOp::Immediate) => Some(number("expect_resting_order_id", text, 0, u64::MAX)?),
        (text, _) => {
            return Err(format!(
                "expect_resting_order_id is {text:?}, must be empty unless op is I"
            ));
        }
    };
    Ok(FlowCommand {
        at_ns,
        symbol: 0,
        op,
        order_id,
        side,
        price: Price(price as u32),          // at most Price::MAX
        quantity: Quantity(quantity as u32), // at most u32::MAX
        expect_resting,
    })
}

fn letter(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [one] => Some(*one),
        _ => None,
    }
}

/// Writes commands. The symbol is not written: one file, one symbol.
pub struct CommandWriter<W: Write> {
    out: W,
}

impl<W: Write> CommandWriter<W> {
    /// Writes the header. Give it something buffered.
    pub fn new(mut out: W) -> std::io::Result<CommandWriter<W>> {
        writeln!(out, "{HEADER}")?;
        Ok(CommandWriter { out })
    }

    /// Writes one line.
    pub fn write(&mut self, command: &FlowCommand) -> std::io::Result<()> {
        write!(
            self.out,
            "{},{},{},{},{},{},",
            command.at_ns,
            char::from(command.op.letter()),
            command.order_id,
            char::from(command.side.letter()),
            command.price.0,
            command.quantity.0,
        )?;
        match command.expect_resting {
            Some(order_id) => writeln!(self.out, "{order_id}"),
            None => writeln!(self.out),
        }
    }

    /// Flushes and gives the output back.
    pub fn finish(mut self) -> std::io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn read(rows: &str) -> Result<Vec<FlowCommand>, String> {
        let text = format!("{HEADER}\n{rows}");
        CommandReader::new("flow.csv", Cursor::new(text))
            .and_then(Iterator::collect)
            .map_err(|error: FlowFileError| error.to_string())
    }

    const ROWS: &str = "\
34200004241176,N,16113575,B,5853300,18,
34200004241176,C,16113575,B,5853300,18,
34200275016159,R,7,S,5857600,1,
34200275016160,I,9000000001,B,5857400,40,5740544
34200275016160,I,18446744073709551615,S,1999999900,4294967295,
";

    #[test]
    fn rows_are_read_and_written_back() {
        let commands = read(ROWS).unwrap();
        assert_eq!(commands.len(), 5);
        assert_eq!(
            commands[3],
            FlowCommand {
                at_ns: 34_200_275_016_160,
                symbol: 0,
                op: FlowOp::Immediate,
                order_id: 9_000_000_001,
                side: Side::Buy,
                price: Price(5_857_400),
                quantity: Quantity(40),
                expect_resting: Some(5_740_544),
            }
        );
        let mut writer = CommandWriter::new(Vec::new()).unwrap();
        for command in &commands {
            writer.write(command).unwrap();
        }
        let text = String::from_utf8(writer.finish().unwrap()).unwrap();
        assert_eq!(text, format!("{HEADER}\n{ROWS}"));
        // Line ends of other systems, and a last line without one.
        assert_eq!(read(&ROWS.replace('\n', "\r\n")).unwrap(), commands);
        assert_eq!(read(ROWS.trim_end()).unwrap(), commands);
    }

    #[test]
    fn errors_name_line_field_and_what_is_allowed() {
        let cases = [
            ("1,N,1,B,100,1", "6 fields, must be 7"),
            ("", "1 fields, must be 7"),
            ("x,N,1,B,100,1,", "time_ns is \"x\", must be a whole number 0 to"),
            ("1,X,1,B,100,1,", "op is \"X\", must be N, C, R or I"),
            ("1,NN,1,B,100,1,", "op is \"NN\""),
            ("1,N,-1,B,100,1,", "order_id is \"-1\""),
            ("1,N,18446744073709551616,B,100,1,", "order_id is \"18446744073709551616\""),
            ("1,N,1,T,100,1,", "side is \"T\", must be B or S"),
            ("1,N,1,B,0,1,", "price_e4 is \"0\", must be a whole number 1 to 1999999900"),
            ("1,N,1,B,1999999901,1,", "price_e4 is \"1999999901\""),
            ("1,N,1,B,100,0,", "qty is \"0\", must be a whole number 1 to 4294967295"),
            ("1,N,1,B,100,+1,", "qty is \"+1\""),
            ("1,N,1,B,100,1,5", "expect_resting_order_id is \"5\", must be empty unless op is I"),
            ("1,I,1,B,100,1,x", "expect_resting_order_id is \"x\""),
            ("0,N,1,B,100,1,", "time_ns 0 is before the line above (1)"),
        ];
        for (row, expected) in cases {
            let error = read(&format!("1,N,5,B,100,1,\n{row}\n")).unwrap_err();
            assert!(error.starts_with("flow.csv line 3: "), "{row}: {error}");
            assert!(error.contains(expected), "{row}: {error}");
        }
        let error = read(&"9".repeat(5_000)).unwrap_err();
        assert!(error.contains("line 2: longer than 1024 bytes"), "{error}");
    }

    #[test]
    fn header_and_host_are_checked() {
        let open = |text: &'static str| {
            CommandReader::new("f", Cursor::new(text)).err().unwrap().to_string()
        };
        assert!(
            open("time,op\n").starts_with("f line 1: header is \"time,op\", must be \"time_ns")
        );
        assert!(open("").starts_with("f line 1: file is empty"));
        let missing = CommandReader::open(Path::new("no/such/file.csv")).err().unwrap();
        assert!(missing.to_string().starts_with("no/such/file.csv: "), "{missing}");
        let binary = CommandReader::new("f", Cursor::new([0xff, 0xfe, b'\n'])).err().unwrap();
        assert_eq!(binary.to_string(), "f line 1: not UTF-8 text");
    }

    #[test]
    fn an_error_ends_the_iterator() {
        let text = format!("{HEADER}\nbad\n1,N,1,B,100,1,\n");
        let mut reader = CommandReader::new("f", Cursor::new(text)).unwrap();
        assert!(reader.next().unwrap().is_err());
        assert!(reader.next().is_none());
    }

    #[test]
    fn gzipped_files_are_known_by_their_content() {
        let directory = tempfile::tempdir().unwrap();
        let plain = directory.path().join("plain.gz"); // a lie
        let gzipped = directory.path().join("zipped.csv"); // another
        let text = format!("{HEADER}\n{ROWS}");
        std::fs::write(&plain, &text).unwrap();
        let file = std::fs::File::create(&gzipped).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap();
        let all = |path: &Path| -> Vec<FlowCommand> {
            CommandReader::open(path).unwrap().map(Result::unwrap).collect()
        };
        assert_eq!(all(&plain), all(&gzipped));

        // Cut in the middle: an error that names the file, not a short flow.
        let whole = std::fs::read(&gzipped).unwrap();
        std::fs::write(&gzipped, &whole[..whole.len() - 12]).unwrap();
        let outcome: Result<Vec<_>, _> = CommandReader::open(&gzipped).and_then(Iterator::collect);
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains("zipped.csv: "), "{error}");
    }
}
