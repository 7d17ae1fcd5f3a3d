//! A recorded day: u16 length and ITCH message, one after the other, in feed order.

use anyhow::{Context, Result, bail};
use rialto::wire::itch::Message;
use std::collections::BTreeMap;
use std::path::Path;

/// The messages of a file's bytes, each without its length.
pub fn messages(bytes: &[u8]) -> Result<Vec<&[u8]>> {
    let mut messages = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let at = bytes.len() - rest.len();
        let Some((length, after)) = rest.split_first_chunk::<2>() else {
            bail!("byte {at}: half a length");
        };
        let Some((message, after)) =
            after.split_at_checked(usize::from(u16::from_be_bytes(*length)))
        else {
            bail!("byte {at}: message is cut short");
        };
        messages.push(message);
        rest = after;
    }
    Ok(messages)
}

/// Appends a message to a file's bytes.
pub fn push(out: &mut Vec<u8>, message: &[u8]) {
    let length = u16::try_from(message.len()).expect("messages are short");
    out.extend(length.to_be_bytes());
    out.extend(message);
}

/// Reads a file.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("reading {}", path.display()))
}

/// Reads each message with our own decoder.
pub fn decode(messages: &[&[u8]]) -> Result<Vec<Message>> {
    messages
        .iter()
        .enumerate()
        .map(|(i, bytes)| {
            Message::decode(bytes)
                .map_err(|error| anyhow::anyhow!("message {}: {error:?}: {bytes:02x?}", i + 1))
        })
        .collect()
}

/// Messages of each type, for a summary.
pub fn count_by_type(messages: &[&[u8]]) -> BTreeMap<char, usize> {
    let mut counts = BTreeMap::new();
    for message in messages {
        let letter = message.first().map_or('-', |&byte| char::from(byte));
        *counts.entry(letter).or_default() += 1;
    }
    counts
}

/// The first message in which two recordings differ; `None` when they are the same. One may hold
/// more than the other only when `prefix` allows it.
pub fn difference(a: &[&[u8]], b: &[&[u8]], prefix: bool) -> Option<String> {
    for (i, (x, y)) in a.iter().zip(b).enumerate() {
        if x != y {
            return Some(format!("message {}: {x:02x?} and {y:02x?}", i + 1));
        }
    }
    (a.len() != b.len() && !prefix).then(|| format!("{} and {} messages", a.len(), b.len()))
}
