//! `rialto configure`: applies what can be applied while the host runs, and gives every value back.
//!
//! `init` first writes every old value into the record, durably, then applies stage by stage; a stage
//! whose value does not take is rolled back and told. `fini` restores what is recorded and removes
//! the record. Killed anywhere, a later `fini` still restores; a second `init` keeps the oldest
//! values. What this host does not have, or whose file the kernel makes read-only, is "not
//! available" and no error.

mod plan;
mod record;

pub use plan::{STAGES, Stage};
pub use record::{Entry, FileKeeper, Keeper, Kind, Record, RecordError};

use super::doctor::Host;
use super::surface::{Key, Surface, Unread};
use plan::Setting;

/// One value that was changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// What.
    pub key: Key,
    /// Value before.
    pub from: String,
    /// Value now.
    pub to: String,
}

/// A value that does not take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// What.
    pub key: Key,
    /// Value that it should have.
    pub wanted: String,
    /// Why it has not.
    pub why: String,
    /// What to do.
    pub mend: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} = {}: {}; {}", self.key, self.wanted, self.why, self.mend)
    }
}

/// What became of a stage.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// Its name.
    pub stage: String,
    /// Values changed; to be changed, by [`check`].
    pub changed: Vec<Change>,
    /// Values that were as wanted.
    pub kept: usize,
    /// What this host does not have, or does not let go, and why.
    pub unavailable: Vec<(String, String)>,
    /// Values that did not take: the stage was rolled back ([`init`]); left as they are ([`fini`]).
    pub faults: Vec<Fault>,
}

/// What `stages` would change. Changes nothing.
pub fn check(host: &Host, stages: &[Stage]) -> Vec<Outcome> {
    stages
        .iter()
        .map(|stage| {
            let plan = stage.plan(host);
            let change = |s: &Setting| Change {
                key: s.key.clone(),
                from: s.current.clone(),
                to: s.wanted.clone(),
            };
            Outcome {
                stage: stage.name.into(),
                changed: plan.settings.iter().map(change).collect(),
                kept: plan.kept,
                unavailable: plan.unavailable,
                faults: Vec::new(),
            }
        })
        .collect()
}

/// Records what is, then applies `stages`. Err: the record could not be read or written; then
/// nothing more is applied. A stage's own fault stands in its outcome, and the others go on.
pub fn init(
    host: &Host,
    keeper: &dyn Keeper,
    stages: &[Stage],
) -> Result<Vec<Outcome>, RecordError> {
    let boot = boot(host.surface);
    let mut record = match keeper.load()? {
        // Values of an earlier boot are gone with it: what is there now is what the host booted with.
        Some(record) if record.boot == boot => record,
        _ => Record::new(boot),
    };
    // Old values of all stages before the first change: one stage may change what another one reads.
    let mut planned = Vec::new();
    for stage in stages {
        planned.extend(remember(&mut record, stage, &stage.plan(host).settings));
    }
    if !planned.is_empty() {
        keeper.save(&record)?;
    }
    let mut outcomes = Vec::new();
    for stage in stages {
        outcomes.push(apply(host, keeper, &mut record, stage, &mut planned)?);
    }
    Ok(outcomes)
}

/// Adds what is not recorded yet; returns those keys.
fn remember(record: &mut Record, stage: &Stage, settings: &[Setting]) -> Vec<Key> {
    let mut new = Vec::new();
    for setting in settings {
        match record.entries.iter_mut().find(|entry| entry.key == setting.key) {
            Some(entry) => entry.new = setting.wanted.clone(),
            None => {
                new.push(setting.key.clone());
                record.entries.push(Entry {
                    stage: stage.name.into(),
                    key: setting.key.clone(),
                    kind: setting.kind,
                    old: setting.current.clone(),
                    new: setting.wanted.clone(),
                });
            }
        }
    }
    new
}

/// One stage, whole or not at all. `recorded`: keys that this run added to the record.
fn apply(
    host: &Host,
    keeper: &dyn Keeper,
    record: &mut Record,
    stage: &Stage,
    recorded: &mut Vec<Key>,
) -> Result<Outcome, RecordError> {
    let plan = stage.plan(host); // again: an earlier stage may have made interrupts, for instance
    let more = remember(record, stage, &plan.settings);
    if !more.is_empty() {
        keeper.save(record)?;
        recorded.extend(more);
    }
    let mut outcome = Outcome {
        stage: stage.name.into(),
        kept: plan.kept,
        unavailable: plan.unavailable,
        ..Outcome::default()
    };
    let mut unused = Vec::new();
    for setting in &plan.settings {
        match set(host.surface, &setting.key, setting.kind, &setting.wanted) {
            Ok(()) => outcome.changed.push(Change {
                key: setting.key.clone(),
                from: setting.current.clone(),
                to: setting.wanted.clone(),
            }),
            Err(Refusal::NotHere(why)) => {
                outcome.unavailable.push((setting.key.to_string(), why));
                unused.push(setting.key.clone());
            }
            Err(Refusal::Failed(why)) => {
                outcome.faults.push(fault(setting, why));
                break;
            }
        }
    }
    if !outcome.faults.is_empty() {
        // The one that failed may have taken another value than it had: it goes back, too.
        let tried = outcome.changed.len() + unused.len() + 1;
        for setting in plan.settings.iter().take(tried).rev() {
            if unused.contains(&setting.key) {
                continue;
            }
            let now = host.surface.read(&setting.key);
            if now.is_ok_and(|now| setting.kind.same(&now, &setting.current)) {
                unused.push(setting.key.clone());
                continue;
            }
            match set(host.surface, &setting.key, setting.kind, &setting.current) {
                Ok(()) => unused.push(setting.key.clone()),
                // It stays in the record: fini tries again.
                Err(refusal) => outcome.faults.push(Fault {
                    key: setting.key.clone(),
                    wanted: setting.current.clone(),
                    why: format!("could not be rolled back: {}", refusal.text()),
                    mend: "rialto configure fini tries again".into(),
                }),
            }
        }
        unused.extend(plan.settings.iter().skip(tried).map(|setting| setting.key.clone()));
        outcome.changed.clear();
    }
    // Only what this run recorded: an older entry holds a value that an earlier init replaced.
    let before = record.entries.len();
    record.entries.retain(|e| !(recorded.contains(&e.key) && unused.contains(&e.key)));
    if record.entries.len() != before {
        keep(keeper, record)?;
    }
    Ok(outcome)
}

/// Saves a record; one without entries is removed.
fn keep(keeper: &dyn Keeper, record: &Record) -> Result<(), RecordError> {
    if record.entries.is_empty() { keeper.remove() } else { keeper.save(record) }
}

/// Restores what is recorded, of the stages that `wanted` says, last changed first, and compares.
/// Values that do not go back stay recorded, as faults. Err: the record cannot be read or written.
pub fn fini(
    surface: &dyn Surface,
    keeper: &dyn Keeper,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<Outcome>, RecordError> {
    let Some(mut record) = keeper.load()? else { return Ok(Vec::new()) };
    if record.boot != boot(surface) {
        keeper.remove()?;
        return Ok(Vec::new());
    }
    let mut outcomes: Vec<Outcome> = Vec::new();
    let mut left = Vec::new();
    for entry in record.entries.iter().rev() {
        if !wanted(&entry.stage) {
            left.push(entry.key.clone());
            continue;
        }
        if outcomes.last().is_none_or(|outcome| outcome.stage != entry.stage) {
            outcomes.push(Outcome { stage: entry.stage.clone(), ..Outcome::default() });
        }
        let outcome = outcomes.last_mut().expect("pushed above");
        let now = match surface.read(&entry.key) {
            Ok(text) => entry.kind.plain(&text),
            Err(Unread::Absent(why)) => {
                // An interrupt or a card that went away took its setting along.
                outcome.unavailable.push((entry.key.to_string(), why));
                continue;
            }
            Err(Unread::Refused(error)) => error.to_string(),
        };
        if entry.kind.same(&now, &entry.old) {
            outcome.kept += 1;
            continue;
        }
        match set(surface, &entry.key, entry.kind, &entry.old) {
            Ok(()) => outcome.changed.push(Change {
                key: entry.key.clone(),
                from: now,
                to: entry.old.clone(),
            }),
            Err(refusal) => {
                left.push(entry.key.clone());
                outcome.faults.push(Fault {
                    key: entry.key.clone(),
                    wanted: entry.old.clone(),
                    why: refusal.text(),
                    mend: "set it by hand, or boot; it stays recorded".into(),
                });
            }
        }
    }
    record.entries.retain(|entry| left.contains(&entry.key));
    keep(keeper, &record)?;
    Ok(outcomes)
}

/// Why a value could not be set.
enum Refusal {
    NotHere(String),
    Failed(String),
}

impl Refusal {
    fn text(self) -> String {
        match self {
            Refusal::NotHere(why) | Refusal::Failed(why) => why,
        }
    }
}

/// Writes a value and reads it back.
fn set(surface: &dyn Surface, key: &Key, kind: Kind, value: &str) -> Result<(), Refusal> {
    if let Err(unread) = surface.write(key, value) {
        return Err(match unread {
            Unread::Absent(why) => Refusal::NotHere(why),
            Unread::Refused(error) if not_ours(key, &error) => {
                Refusal::NotHere(format!("the kernel does not let it go: {error}"))
            }
            Unread::Refused(error) => Refusal::Failed(error.to_string()),
        });
    }
    match surface.read(key) {
        Ok(text) if kind.same(&kind.plain(&text), value) => Ok(()),
        Ok(text) => Err(Refusal::Failed(format!("the kernel made {} of it", kind.plain(&text)))),
        Err(unread) => Err(Refusal::Failed(unread.to_string())),
    }
}

/// Errors with which the kernel says that nobody may change this here: read-only files, read-only
/// mounts, managed interrupts (EIO), drivers without the setting.
fn not_ours(key: &Key, error: &std::io::Error) -> bool {
    let interrupt = matches!(key, Key::File(path) if path.starts_with("/proc/irq"));
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES | libc::EROFS | libc::EOPNOTSUPP | libc::ENOSYS) => true,
        Some(libc::EIO) => interrupt,
        _ => false,
    }
}

fn fault(setting: &Setting, why: String) -> Fault {
    let mend = match &setting.key {
        Key::File(path) if path.ends_with("nr_hugepages") => {
            "memory is short or in pieces: hugepages= on the kernel command line, then reboot"
        }
        Key::File(path) if path.starts_with("/proc/irq") => {
            "give the CPUs of host.housekeeping room for it, or leave the stage out with --stage"
        }
        Key::Nic(..) => {
            "the driver does not take it: dmesg says why; or leave the stage out with --stage"
        }
        Key::File(_) => "dmesg may say why; or leave the stage out with --stage",
    };
    Fault { key: setting.key.clone(), wanted: setting.wanted.clone(), why, mend: mend.into() }
}

/// Tells boots apart; empty where the kernel does not.
fn boot(surface: &dyn Surface) -> String {
    surface.text("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

#[cfg(test)]
mod tests;
