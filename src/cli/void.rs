//! `rialto void`: one operator's word that a command is not to be applied.

use super::text::{grouped, say};
use anyhow::{Context, bail};
use clap::Args;
use rialto::guard::void::{found, good_name, parse_hex};
use rialto::guard::{DEATHS_MAX, Operator, Place, Void, crash};
use rialto::replay::voids;
use rialto::store::{DayView, LogIndex};
use rialto::types::Seq;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Voids a command that has killed the exchange twice
///
/// Two operators must do it, each with his own key; the next start of the venue then goes on without the
/// command. Its sender is told that it was not applied.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  rialto void data/2026-01-31 --seq 120345 --operator ANNA --key-file /root/anna.key
  rialto log data/2026-01-31 --from 120345 --count 1        what the command is")]
pub struct Arguments {
    /// The day's directory
    dir: PathBuf,
    /// The command's number, as status.json says: halted_before
    #[arg(long, value_name = "N")]
    seq: u64,
    /// Name of an [[operator]] in the venue's configuration
    #[arg(long, value_name = "NAME")]
    operator: String,
    /// File with the operator's key, 64 hex digits; readable by its owner alone
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
}

pub fn run(a: Arguments) -> anyhow::Result<ExitCode> {
    if !good_name(&a.operator) {
        bail!("--operator {}: a name is 1 to 16 of A-Z and 0-9", a.operator);
    }
    let key = read_key(&a.key_file)?;
    let view = DayView::open(&a.dir).with_context(|| {
        format!("{} cannot be read as a day's directory, such as data/2026-01-31", a.dir.display())
    })?;
    let options = view.log(LogIndex::Command).options();
    let dir = a.dir.canonicalize()?;
    let place = Place { storage: options.storage.clone(), dir, log_id: options.log_id };
    let command = Seq(a.seq);
    if voids(&view)?.contains(command) {
        bail!("command {} is void already", grouped(a.seq));
    }
    let crash = crash::read(&*place.storage, &place.dir)?;
    let Some(crash) = crash.filter(|c| c.command == command && c.log_id == place.log_id) else {
        bail!(
            "command {} has not killed the exchange: only such a one may be void",
            grouped(a.seq)
        );
    };
    if crash.deaths < DEATHS_MAX {
        bail!(
            "command {} has killed the exchange once: start the venue; if it dies again, it may be void",
            grouped(a.seq)
        );
    }
    let others = found(&place, command)?;
    let operator = Operator { name: a.operator, key };
    if !Void::sign(&place, &crash, &operator).store(&place)? {
        bail!("{} has voided command {} already: it takes another person", operator.name, a.seq);
    }
    match &others[..] {
        [] => say!(
            "command {}: voided by {}; it takes one more person",
            grouped(a.seq),
            operator.name
        ),
        [other, ..] => say!(
            "command {}: voided by {} and {}; stop and start the venue, which checks both keys",
            grouped(a.seq),
            other.operator,
            operator.name
        ),
    }
    Ok(ExitCode::SUCCESS)
}

fn read_key(path: &Path) -> anyhow::Result<[u8; 32]> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("--key-file {} cannot be read", path.display()))?;
    if std::fs::metadata(path)?.mode() & 0o077 != 0 {
        bail!("{} must not be readable by others: chmod 600 {0}", path.display());
    }
    parse_hex(text.trim())
        .with_context(|| format!("{} does not hold 64 hex digits", path.display()))
}
