//! Voids: two operators agree that a command is not to be applied.
//!
//! Each signs a void file of his own with his key. A start that finds two good ones of different
//! operators writes the `voided` file; that one alone is what everything obeys that applies commands
//! (engine, replay, shadow), so that a day's directory goes on explaining itself without keys.

use super::{Crash, Place, lines, read_if_there};
use crate::store::Storage;
use crate::types::Seq;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::io;
use std::path::{Path, PathBuf};

const HEAD: &str = "rialto void 1";
const RESOLVED_HEAD: &str = "rialto voided 1";

/// Somebody who may void commands.
#[derive(Clone, PartialEq, Eq)]
pub struct Operator {
    /// Name, 1 to 16 of A-Z and 0-9.
    pub name: String,
    /// Key. Never printed, never logged.
    pub key: [u8; 32],
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Operator {}", self.name)
    }
}

/// True for what may be an operator's name: it becomes part of a file's name.
pub fn good_name(name: &str) -> bool {
    let good = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit();
    (1..=16).contains(&name.len()) && name.bytes().all(good)
}

/// One operator's void of one command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Void {
    /// The day's name.
    pub day: String,
    /// Random number of its command log.
    pub log_id: u64,
    /// The command.
    pub command: Seq,
    /// Its checksum.
    pub checksum: u32,
    /// Who voids it.
    pub operator: String,
    /// HMAC-SHA256 with the operator's key over all of the above.
    pub mac: [u8; 32],
}

impl Void {
    /// The void of the command that `crash` tells of, signed.
    pub fn sign(place: &Place, crash: &Crash, operator: &Operator) -> Void {
        let mut void = Void {
            day: place.day(),
            log_id: crash.log_id,
            command: crash.command,
            checksum: crash.checksum,
            operator: operator.name.clone(),
            mac: [0; 32],
        };
        void.mac = void.hmac(&operator.key).finalize().into_bytes().into();
        void
    }

    /// True when `operator` has signed it.
    pub fn is_signed_by(&self, operator: &Operator) -> bool {
        self.operator == operator.name && self.hmac(&operator.key).verify_slice(&self.mac).is_ok()
    }

    fn pairs(&self) -> [(&'static str, String); 5] {
        [
            ("day", self.day.clone()),
            ("log", format!("{:016x}", self.log_id)),
            ("command", self.command.0.to_string()),
            ("checksum", format!("{:08x}", self.checksum)),
            ("operator", self.operator.clone()),
        ]
    }

    fn hmac(&self, key: &[u8; 32]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length will do");
        mac.update(HEAD.as_bytes());
        for (key, value) in self.pairs() {
            mac.update(format!("\n{key} {value}").as_bytes());
        }
        mac
    }

    /// Where it lies.
    pub fn path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{}{}", prefix(self.command), self.operator))
    }

    /// Writes it durably. False when the operator's void of this command is there already.
    pub fn store(&self, place: &Place) -> io::Result<bool> {
        let path = self.path(&place.dir);
        if place.storage.exists(&path) {
            return Ok(false);
        }
        let mut pairs = self.pairs().to_vec();
        pairs.push(("hmac", hex(&self.mac)));
        place.storage.write_durably(&path, &lines::write(HEAD, &pairs))?;
        Ok(true)
    }

    fn load(path: &Path, bytes: &[u8]) -> io::Result<Void> {
        let pairs = lines::read(path, HEAD, bytes)?;
        Ok(Void {
            day: pairs.text("day")?,
            log_id: pairs.hex("log")?,
            command: Seq(pairs.number("command")?),
            checksum: pairs.hex("checksum")? as u32,
            operator: pairs.text("operator")?,
            mac: pairs.bytes("hmac")?,
        })
    }
}

fn prefix(command: Seq) -> String {
    format!("void-{:020}-", command.0)
}

/// The void files of a command, signed well or not.
pub fn found(place: &Place, command: Seq) -> io::Result<Vec<Void>> {
    let prefix = prefix(command);
    let mut voids = Vec::new();
    for name in place.storage.list(&place.dir)? {
        let name = name.to_string_lossy();
        if !name.strip_prefix(&prefix).is_some_and(good_name) {
            continue;
        }
        let path = place.dir.join(&*name);
        if let Some(bytes) = read_if_there(&*place.storage, &path)? {
            voids.push(Void::load(&path, &bytes)?);
        }
    }
    voids.sort_by(|a, b| a.operator.cmp(&b.operator));
    Ok(voids)
}

/// The good voids of the command that `crash` tells of, one per operator. A bad one is set aside, so
/// that its operator can sign anew, and told.
pub(super) fn signed(
    place: &Place,
    crash: &Crash,
    operators: &[Operator],
) -> io::Result<Vec<Void>> {
    let mut good = Vec::new();
    for void in found(place, crash.command)? {
        let about = void.day == place.day()
            && (void.log_id, void.command) == (crash.log_id, crash.command)
            && void.checksum == crash.checksum;
        if about && operators.iter().any(|operator| void.is_signed_by(operator)) {
            good.push(void);
            continue;
        }
        let path = void.path(&place.dir);
        place.storage.rename(&path, &path.with_extension("refused"))?;
        tracing::error!(
            "the void of command {} by {} is not signed with a key of the configuration: set aside",
            crash.command.0,
            void.operator
        );
    }
    good.dedup_by(|a, b| a.operator == b.operator);
    Ok(good)
}

/// Makes the command void for good.
pub(super) fn resolve(place: &Place, first: &Void, second: &Void) -> io::Result<()> {
    let mut pairs: Vec<(&str, String)> = first.pairs()[..4].to_vec();
    pairs.push(("operator1", first.operator.clone()));
    pairs.push(("hmac1", hex(&first.mac)));
    pairs.push(("operator2", second.operator.clone()));
    pairs.push(("hmac2", hex(&second.mac)));
    let path = place.dir.join(format!("voided-{:020}", first.command.0));
    place.storage.write_durably(&path, &lines::write(RESOLVED_HEAD, &pairs))
}

/// The commands of a day that are void. Whoever applies commands asks it about each.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Voids {
    /// Rising.
    commands: Vec<Seq>,
}

impl Voids {
    /// Nothing is void.
    pub fn none() -> Voids {
        Voids::default()
    }

    /// What a day's directory says of the command log `log_id`.
    pub fn load(storage: &dyn Storage, dir: &Path, log_id: u64) -> io::Result<Voids> {
        let mut voids = Voids::none();
        for name in storage.list(dir)? {
            let name = name.to_string_lossy();
            let Some(number) = name.strip_prefix("voided-") else { continue };
            if number.len() != 20 || !number.bytes().all(|b| b.is_ascii_digit()) {
                continue;
            }
            let path = dir.join(&*name);
            let pairs = lines::read(&path, RESOLVED_HEAD, &storage.read(&path)?)?;
            let command = pairs.number("command")?;
            if pairs.hex("log")? != log_id || number.parse() != Ok(command) {
                let why = format!("{}: of another log or command", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            voids.add(Seq(command));
        }
        Ok(voids)
    }

    /// True when this command is applied as void.
    #[inline]
    pub fn contains(&self, command: Seq) -> bool {
        !self.commands.is_empty() && self.commands.binary_search(&command).is_ok()
    }

    /// All of them, rising.
    pub fn commands(&self) -> &[Seq] {
        &self.commands
    }

    pub(super) fn add(&mut self, command: Seq) {
        if let Err(at) = self.commands.binary_search(&command) {
            self.commands.insert(at, command);
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `N` bytes from 2 N hex digits.
pub fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}
