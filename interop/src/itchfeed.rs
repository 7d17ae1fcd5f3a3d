//! ITCH 5.0 as the Python package itchfeed reads it: JSON lines written by
//! `python/itchfeed_dump.py`, one message each, with our names and every value as text.

use crate::day;
use crate::fields;
use anyhow::{Context, Result, bail};

/// Compares a dump with the file it was made from; returns messages and values compared.
pub fn compare(bytes: &[u8], dump: &str) -> Result<(usize, usize)> {
    let ours = day::decode(&day::messages(bytes)?)?;
    let mut values = 0;
    let mut lines = dump.lines();
    for (i, ours) in ours.iter().enumerate() {
        let line = lines.next().with_context(|| format!("itchfeed stopped before {}", i + 1))?;
        let theirs: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(line).with_context(|| format!("line {}", i + 1))?;
        let ours = fields::of_itch(ours);
        for (name, value) in &ours {
            let their = theirs.get(*name).and_then(|their| their.as_str());
            if their != Some(value) {
                bail!("itchfeed, message {}: {name} = {value:?} here, {their:?} there", i + 1);
            }
            values += 1;
        }
        if theirs.len() != ours.len() {
            bail!("itchfeed, message {}: {} fields, we {}", i + 1, theirs.len(), ours.len());
        }
    }
    if lines.next().is_some() {
        bail!("itchfeed read more than {} messages", ours.len());
    }
    Ok((ours.len(), values))
}
