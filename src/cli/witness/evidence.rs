//! Evidence files: what a broker or a subscriber saw, in the order in which it saw it.
//!
//! Consumes and produces the bytes of `evidence.md`. Must not know the exchange, nor what messages
//! mean. Writes are buffered: who keeps evidence is never killed, only told to end.

use anyhow::{Context, bail, ensure};
use rialto::types::Nanos;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"RIALTOEV";
const VERSION: u32 = 1;
const HEAD: usize = 24;
/// Letter and time.
const RECORD_HEAD: usize = 9;
const BUFFER: usize = 1 << 20;

/// Whose evidence it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Witness {
    Broker = b'B',
    Subscriber = b'S',
}

/// Writes one file.
pub struct EvidenceWriter {
    out: BufWriter<File>,
    records: u64,
    checksum: u32,
    record: Vec<u8>,
}

impl EvidenceWriter {
    /// Creates the file; one that is there already is evidence and is not touched.
    pub fn create(path: &Path, witness: Witness, name: &str) -> anyhow::Result<EvidenceWriter> {
        let file = File::create_new(path).with_context(|| format!("create {}", path.display()))?;
        let mut writer = EvidenceWriter {
            out: BufWriter::with_capacity(BUFFER, file),
            records: 0,
            checksum: 0,
            record: Vec::with_capacity(256),
        };
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(MAGIC);
        head[8..12].copy_from_slice(&VERSION.to_le_bytes());
        head[12] = witness as u8;
        head[16..].copy_from_slice(&blank_padded(name));
        writer.put(&head)?;
        Ok(writer)
    }

    fn put(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.checksum = crc32c::crc32c_append(self.checksum, bytes);
        self.out.write_all(bytes)
    }

    /// Appends one record; `parts` are its body.
    pub fn append(&mut self, letter: u8, time: Nanos, parts: &[&[u8]]) -> std::io::Result<()> {
        let len = RECORD_HEAD + parts.iter().map(|p| p.len()).sum::<usize>();
        let mut record = std::mem::take(&mut self.record);
        record.clear();
        record.extend_from_slice(&(len as u16).to_le_bytes());
        record.push(letter);
        record.extend_from_slice(&time.0.to_le_bytes());
        parts.iter().for_each(|part| record.extend_from_slice(part));
        let done = self.put(&record);
        self.record = record;
        self.records += 1;
        done
    }

    /// Writes the end record and everything that is still in memory.
    pub fn finish(mut self, time: Nanos, figures: &[u64]) -> std::io::Result<()> {
        let (records, checksum) = (self.records, self.checksum);
        let figures: Vec<u8> = figures.iter().flat_map(|f| f.to_le_bytes()).collect();
        self.append(b'E', time, &[&records.to_le_bytes(), &checksum.to_le_bytes(), &figures])?;
        self.out.flush()
    }
}

fn blank_padded(name: &str) -> [u8; 8] {
    let mut field = [b' '; 8];
    field.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
    field
}

/// One record, borrowed from the reader.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub letter: u8,
    pub time: Nanos,
    body: &'a [u8],
}

impl<'a> Record<'a> {
    /// The u64 at an offset of the body; 0 where the body is too short (the checksum was right, so
    /// the writer wrote it so).
    pub fn number(&self, offset: usize) -> u64 {
        self.body.get(offset..).and_then(|b| b.first_chunk()).map_or(0, |b| u64::from_le_bytes(*b))
    }

    /// What stands from an offset on.
    pub fn rest(&self, offset: usize) -> &'a [u8] {
        self.body.get(offset..).unwrap_or(&[])
    }
}

/// Reads one file from its start.
pub struct EvidenceReader {
    path: PathBuf,
    input: BufReader<File>,
    checksum: u32,
    records: u64,
    body: Vec<u8>,
    ended: bool,
    /// Whose evidence it is.
    pub witness: Witness,
    /// Name in the head, without blanks.
    pub name: String,
}

impl EvidenceReader {
    pub fn open(path: &Path) -> anyhow::Result<EvidenceReader> {
        let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
        let mut input = BufReader::with_capacity(BUFFER, file);
        let mut head = [0; HEAD];
        input.read_exact(&mut head).with_context(|| format!("read {}", path.display()))?;
        ensure!(
            head[..8] == *MAGIC && head[8..12] == VERSION.to_le_bytes(),
            "{} is no evidence file of this version",
            path.display()
        );
        let witness = match head[12] {
            b'B' => Witness::Broker,
            b'S' => Witness::Subscriber,
            other => bail!("{}: unknown kind of witness {other}", path.display()),
        };
        Ok(EvidenceReader {
            path: path.to_path_buf(),
            input,
            checksum: crc32c::crc32c(&head),
            records: 0,
            body: Vec::new(),
            ended: false,
            witness,
            name: String::from_utf8_lossy(&head[16..]).trim_end().to_string(),
        })
    }

    /// The next record, the end record included; `None` after it. A file that is cut, changed or
    /// was never finished is an error.
    pub fn next(&mut self) -> anyhow::Result<Option<Record<'_>>> {
        let path = &self.path;
        if self.ended {
            ensure!(self.input.read(&mut [0])? == 0, "{} goes on behind its end", path.display());
            return Ok(None);
        }
        let mut len = [0; 2];
        self.input.read_exact(&mut len).with_context(|| {
            format!("{} was not finished: its writer did not end well", path.display())
        })?;
        self.body.resize(u16::from_le_bytes(len) as usize, 0);
        self.input
            .read_exact(&mut self.body)
            .with_context(|| format!("{} is cut in the middle of a record", path.display()))?;
        let [letter, body @ ..] = self.body.as_slice() else {
            bail!("{}: empty record", path.display())
        };
        let (time, body) = body
            .split_first_chunk()
            .with_context(|| format!("{}: short record", path.display()))?;
        let record = Record { letter: *letter, time: Nanos(u64::from_le_bytes(*time)), body };
        if *letter == b'E' {
            self.ended = true;
            ensure!(
                record.number(0) == self.records
                    && record.rest(8).starts_with(&self.checksum.to_le_bytes()),
                "{} is not as it was written: its checksum differs",
                path.display()
            );
        } else {
            self.records += 1;
            self.checksum = crc32c::crc32c_append(self.checksum, &len);
            self.checksum = crc32c::crc32c_append(self.checksum, &self.body);
        }
        Ok(Some(record))
    }
}

/// Where the figures of an end record begin.
pub const FIGURES: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    fn written(dir: &Path) -> PathBuf {
        let path = dir.join("a.evidence");
        let mut writer = EvidenceWriter::create(&path, Witness::Broker, "ALFA01").unwrap();
        writer.append(b'M', Nanos(7), &[&5u64.to_le_bytes(), b"abc"]).unwrap();
        writer.append(b'G', Nanos(8), &[b"S"]).unwrap();
        writer.finish(Nanos(9), &[1, 2]).unwrap();
        path
    }

    fn read(path: &Path) -> anyhow::Result<Vec<(u8, u64, Vec<u8>)>> {
        let mut reader = EvidenceReader::open(path)?;
        let mut records = Vec::new();
        while let Some(r) = reader.next()? {
            records.push((r.letter, r.time.0, r.rest(0).to_vec()));
        }
        Ok(records)
    }

    #[test]
    fn what_was_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path());
        let records = read(&path).unwrap();
        assert_eq!(records.len(), 3);
        assert_eq!(records[0], (b'M', 7, [&5u64.to_le_bytes()[..], b"abc"].concat()));
        assert_eq!(records[1], (b'G', 8, b"S".to_vec()));
        assert_eq!(records[2].2[FIGURES..], [1u64.to_le_bytes(), 2u64.to_le_bytes()].concat());
        let reader = EvidenceReader::open(&path).unwrap();
        assert_eq!((reader.witness, reader.name.as_str()), (Witness::Broker, "ALFA01"));
        assert!(EvidenceWriter::create(&path, Witness::Broker, "X").is_err(), "evidence stays");
    }

    #[test]
    fn no_cut_and_no_flipped_bit_goes_unnoticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path());
        let good = std::fs::read(&path).unwrap();
        let damaged = dir.path().join("damaged");
        for len in 0..good.len() {
            std::fs::write(&damaged, &good[..len]).unwrap();
            assert!(read(&damaged).is_err(), "cut to {len}");
        }
        // The end record's own time and figures are not covered: they are no evidence of messages.
        let covered = good.len() - (2 + RECORD_HEAD + FIGURES + 16) + 3;
        for at in 0..covered {
            for bit in 0..8 {
                let mut bytes = good.clone();
                bytes[at] ^= 1 << bit;
                std::fs::write(&damaged, &bytes).unwrap();
                assert!(read(&damaged).is_err(), "byte {at} bit {bit}");
            }
        }
    }
}
