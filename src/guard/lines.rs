//! Small files that people may read: a head line, `key value` lines, and a checksum of all before it.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

const CHECKSUM: &str = "crc";

/// The file's bytes. A value is one line: line breaks in it become blanks.
pub(super) fn write(head: &str, pairs: &[(&str, String)]) -> Vec<u8> {
    let mut text = format!("{head}\n");
    for (key, value) in pairs {
        text += &format!("{key} {}\n", value.replace(['\n', '\r'], " "));
    }
    let crc = crc32c::crc32c(text.as_bytes());
    text += &format!("{CHECKSUM} {crc:08x}\n");
    text.into_bytes()
}

/// The pairs of a file that [`write`] made with this head; an error names the file otherwise.
pub(super) fn read(path: &Path, head: &str, bytes: &[u8]) -> io::Result<Pairs> {
    let bad = |what: &str| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", path.display()))
    };
    let text = std::str::from_utf8(bytes).map_err(|_| bad("not text"))?;
    let at = text.rfind(&format!("\n{CHECKSUM} ")).ok_or_else(|| bad("no checksum"))? + 1;
    let wanted = format!("{CHECKSUM} {:08x}\n", crc32c::crc32c(&bytes[..at]));
    if text[at..] != wanted {
        return Err(bad("wrong checksum"));
    }
    let mut lines = text[..at].lines();
    if lines.next() != Some(head) {
        return Err(bad(&format!("does not begin with {head:?}")));
    }
    let pairs = lines.filter_map(|line| line.split_once(' '));
    let pairs = pairs.map(|(key, value)| (key.to_string(), value.to_string())).collect();
    Ok(Pairs { path: path.display().to_string(), pairs })
}

/// What a file says.
pub(super) struct Pairs {
    path: String,
    pairs: BTreeMap<String, String>,
}

impl Pairs {
    fn bad(&self, key: &str) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}: no good {key}", self.path))
    }

    pub(super) fn text(&self, key: &str) -> io::Result<String> {
        self.pairs.get(key).cloned().ok_or_else(|| self.bad(key))
    }

    pub(super) fn number(&self, key: &str) -> io::Result<u64> {
        self.text(key)?.parse().map_err(|_| self.bad(key))
    }

    pub(super) fn hex(&self, key: &str) -> io::Result<u64> {
        u64::from_str_radix(&self.text(key)?, 16).map_err(|_| self.bad(key))
    }

    pub(super) fn bytes<const N: usize>(&self, key: &str) -> io::Result<[u8; N]> {
        let text = self.text(key)?;
        super::void::parse_hex(&text).ok_or_else(|| self.bad(key))
    }
}
