//! Lines of a text file, plain or gzipped, with their numbers; errors that name file and line.
//!
//! Streams: holds one line of bounded length at a time. Must not know what the lines mean.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

/// Longest line, bytes: a row takes about 60. Bounds what a file without line ends costs.
const LINE_BYTES_MAX: usize = 1_024;

/// A file of flow is not what it should be.
#[derive(thiserror::Error, Debug)]
pub enum FlowFileError {
    /// The host does not give the file.
    #[error("{file}: {cause}")]
    Read {
        /// File as named by the caller.
        file: String,
        /// What the host said.
        cause: std::io::Error,
    },
    /// A line is not as the format says.
    #[error("{file} line {line}: {what}")]
    Line {
        /// File as named by the caller.
        file: String,
        /// Line, from 1 (the header).
        line: u64,
        /// What is there, and what is allowed.
        what: String,
    },
}

/// Where lines come from.
pub(super) type Source = Box<dyn BufRead + Send>;

/// Opens `path`; a gzipped file is known by its first two bytes, whatever its name.
pub(super) fn open(path: &Path) -> Result<Source, FlowFileError> {
    let failed = |cause| FlowFileError::Read { file: path.display().to_string(), cause };
    let mut plain = BufReader::with_capacity(1 << 16, File::open(path).map_err(failed)?);
    // RFC 1952, 2.3.1: ID1, ID2. The buffer holds both when the file is that long.
    let gzipped = plain.fill_buf().map_err(failed)?.starts_with(&[0x1f, 0x8b]);
    Ok(if gzipped {
        Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(plain)))
    } else {
        Box::new(plain)
    })
}

/// Reads lines and remembers where it is.
pub(super) struct Lines {
    source: Source,
    file: String,
    line: u64,
    buffer: Vec<u8>,
}

impl Lines {
    /// Checks that the first line is `header`.
    pub(super) fn new(source: Source, file: String, header: &str) -> Result<Lines, FlowFileError> {
        let mut lines = Lines { source, file, line: 0, buffer: Vec::new() };
        let first = lines.next_line()?.map(str::to_owned);
        match first {
            Some(text) if text == header => Ok(lines),
            Some(text) => Err(lines.fault(format!("header is {text:?}, must be {header:?}"))),
            None => {
                lines.line = 1;
                Err(lines.fault(format!("file is empty, must start with {header:?}")))
            }
        }
    }

    /// The next line without its end (LF or CR LF); `None` at the end of the file.
    pub(super) fn next_line(&mut self) -> Result<Option<&str>, FlowFileError> {
        self.buffer.clear();
        let mut limited = self.source.by_ref().take(LINE_BYTES_MAX as u64 + 1);
        if let Err(cause) = limited.read_until(b'\n', &mut self.buffer) {
            return Err(FlowFileError::Read { file: self.file.clone(), cause });
        }
        if self.buffer.is_empty() {
            return Ok(None);
        }
        self.line += 1;
        if self.buffer.last() == Some(&b'\n') {
            self.buffer.pop();
            if self.buffer.last() == Some(&b'\r') {
                self.buffer.pop();
            }
        } else if self.buffer.len() > LINE_BYTES_MAX {
            return Err(self.fault(format!("longer than {LINE_BYTES_MAX} bytes")));
        }
        match std::str::from_utf8(&self.buffer) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(self.fault("not UTF-8 text".to_owned())),
        }
    }

    /// An error at the line read last.
    pub(super) fn fault(&self, what: String) -> FlowFileError {
        FlowFileError::Line { file: self.file.clone(), line: self.line, what }
    }
}

/// Splits a line into exactly `N` fields.
pub(super) fn fields<const N: usize>(line: &str) -> Result<[&str; N], String> {
    let mut out = [""; N];
    let mut count = 0;
    for field in line.split(',') {
        if let Some(place) = out.get_mut(count) {
            *place = field;
        }
        count += 1;
    }
    if count == N { Ok(out) } else { Err(format!("{count} fields, must be {N}")) }
}

/// Reads a whole number `min..=max` (digits only) of field `name`.
pub(super) fn number(name: &str, text: &str, min: u64, max: u64) -> Result<u64, String> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits
        .then(|| text.parse::<u64>().ok())
        .flatten()
        .filter(|value| (min..=max).contains(value))
        .ok_or_else(|| format!("{name} is {text:?}, must be a whole number {min} to {max}"))
}
