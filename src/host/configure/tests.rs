//! Never half: whatever refuses and wherever it is killed, fini restores what was there first.

use super::*;
use crate::host::doctor::tests::{TUNED, UNTUNED, needs, plant};
use crate::host::machine::Machine;
use crate::host::{Live, Needs};
use crate::net::xdp::PathWish;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

/// An untuned host in a directory, which counts steps, dies at one of them, and refuses values.
struct Fixture {
    dir: tempfile::TempDir,
    live: Live,
    keeper: FileKeeper,
    needs: Needs,
    machine: Machine,
    steps: Cell<usize>,
    die_at: Cell<usize>,
    /// Value refused with this error number; 0 = taken, but made 7 of it.
    refused: RefCell<BTreeMap<Key, i32>>,
}

impl Fixture {
    fn new() -> Fixture {
        // In memory where there is any: the record is synced a thousand times here.
        let shm = Path::new("/dev/shm");
        let dir = match shm.is_dir() {
            true => tempfile::tempdir_in(shm).unwrap(),
            false => tempfile::tempdir().unwrap(),
        };
        let root = dir.path().join("root");
        plant(&root, TUNED);
        plant(&root, UNTUNED);
        plant(&root, &[("/proc/sys/kernel/random/boot_id", "first")]);
        let needs = needs(PathWish::AfXdp);
        Fixture {
            live: Live::under(&root),
            keeper: FileKeeper::open(&dir.path().join("run/state.json")).unwrap(),
            machine: Machine::here(&needs.hot, &needs.data),
            needs,
            dir,
            steps: Cell::new(0),
            die_at: Cell::new(usize::MAX),
            refused: RefCell::default(),
        }
    }

    fn step(&self) {
        let step = self.steps.get();
        self.steps.set(step + 1);
        if step == self.die_at.get() {
            resume_unwind(Box::new("killed"));
        }
    }

    /// Runs `what` and dies before its step `die_at`; returns the steps done, `None` = it died.
    fn dying<T>(&self, die_at: usize, what: impl FnOnce() -> T) -> Option<T> {
        self.steps.set(0);
        self.die_at.set(die_at);
        let outcome = catch_unwind(AssertUnwindSafe(what));
        self.die_at.set(usize::MAX);
        outcome.ok()
    }

    fn init(&self) -> Vec<Outcome> {
        init(&Host::new(self, &self.machine, &self.needs), self, &STAGES).unwrap()
    }

    fn fini(&self) -> Vec<Outcome> {
        fini(self, self, |_| true).unwrap()
    }

    /// Every file of the host.
    fn values(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.dir.path().join("root")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => {
                        found.insert(path.clone(), std::fs::read_to_string(path).unwrap());
                    }
                }
            }
        }
        found
    }

    fn refuse(&self, key: &Key, error: i32) {
        self.refused.borrow_mut().insert(key.clone(), error);
    }

    fn text(&self, path: &str) -> String {
        self.live.text(path).unwrap()
    }
}

impl Surface for Fixture {
    fn read(&self, key: &Key) -> Result<String, Unread> {
        self.live.read(key)
    }

    fn write(&self, key: &Key, value: &str) -> Result<(), Unread> {
        self.step();
        let value = match self.refused.borrow().get(key) {
            Some(0) => "7",
            Some(error) => return Err(Unread::Refused(io::Error::from_raw_os_error(*error))),
            None => value,
        };
        // As the kernel shows a choice: all words, one in brackets.
        let before = self.live.read(key)?;
        if before.contains('[') {
            let words = before.replace(['[', ']'], "");
            let words: Vec<String> = words
                .split(' ')
                .map(|word| if word == value { format!("[{word}]") } else { word.to_string() })
                .collect();
            return self.live.write(key, &words.join(" "));
        }
        self.live.write(key, value)
    }

    fn names(&self, dir: &Path) -> Vec<String> {
        self.live.names(dir)
    }

    fn exists(&self, path: &str) -> bool {
        self.live.exists(path)
    }

    fn is_dir(&self, path: &str) -> bool {
        self.live.is_dir(path)
    }
}

impl Keeper for Fixture {
    fn load(&self) -> Result<Option<Record>, RecordError> {
        self.keeper.load()
    }

    fn save(&self, record: &Record) -> Result<(), RecordError> {
        self.step();
        self.keeper.save(record)
    }

    fn remove(&self) -> Result<(), RecordError> {
        self.step();
        self.keeper.remove()
    }
}

fn changes(outcomes: &[Outcome]) -> usize {
    outcomes.iter().map(|outcome| outcome.changed.len()).sum()
}

fn faults(outcomes: &[Outcome]) -> Vec<&Fault> {
    outcomes.iter().flat_map(|outcome| &outcome.faults).collect()
}

#[test]
fn init_applies_and_fini_restores_everything() {
    let f = Fixture::new();
    let before = f.values();
    let planned = changes(&check(&Host::new(&f, &f.machine, &f.needs), &STAGES));
    assert_eq!(f.values(), before, "check changes nothing");

    let outcomes = f.init();
    assert_eq!(faults(&outcomes), Vec::<&Fault>::new());
    assert_eq!(changes(&outcomes), planned);
    for (path, value) in [
        ("/proc/sys/vm/stat_interval", "120"),
        ("/proc/irq/default_smp_affinity", "3"),
        ("/proc/irq/41/smp_affinity_list", "0-1"),
        ("/sys/devices/virtual/workqueue/cpumask", "3"),
        ("/sys/devices/system/cpu/cpu2/cpufreq/scaling_governor", "performance"),
        ("/sys/devices/system/cpu/cpu2/cpuidle/state1/disable", "1"),
        ("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never"),
        ("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "8"),
        ("/sys/class/net/eth1/napi_defer_hard_irqs", "2"),
        ("/ethtool/eth1/channels", "1"),
        ("/ethtool/eth1/ring-rx", "4096"),
        ("/ethtool/eth1/rx-usecs", "0"),
        ("/ethtool/eth1/gro", "0"),
        ("/ethtool/eth1/rx-checksum", "1"),
        ("/ethtool/eth1/pause-rx", "0"),
    ] {
        assert_eq!(f.text(path), value, "{path}");
    }

    let record = f.keeper.load().unwrap().unwrap();
    assert_eq!(changes(&f.init()), 0, "the second time nothing is left to do");
    assert_eq!(f.keeper.load().unwrap().unwrap(), record);

    assert_eq!(changes(&f.fini()), planned);
    assert_eq!(f.values(), before);
    assert!(f.keeper.load().unwrap().is_none());
    assert_eq!(f.fini(), []);
}

#[test]
fn a_second_init_keeps_the_first_values() {
    let f = Fixture::new();
    let before = f.values();
    f.init();
    let key = Key::file("/proc/sys/vm/stat_interval");
    f.live.write(&key, "5").unwrap(); // by somebody else
    let outcomes = f.init();
    assert_eq!(changes(&outcomes), 1);
    f.fini();
    assert_eq!(f.values(), before);
}

#[test]
fn killed_anywhere_fini_restores() {
    let f = Fixture::new();
    let before = f.values();
    f.dying(usize::MAX, || f.init()).unwrap();
    let steps = f.steps.get();
    f.dying(usize::MAX, || f.fini()).unwrap();
    let back = f.steps.get();
    assert!(steps > 25 && back > 25, "{steps} {back}");
    assert_eq!(f.values(), before);

    for step in 0..steps {
        assert!(f.dying(step, || f.init()).is_none());
        f.fini();
        assert_eq!(f.values(), before, "init killed before step {step}");
        assert!(f.keeper.load().unwrap().is_none());

        assert!(f.dying(step, || f.init()).is_none());
        f.init();
        f.fini();
        assert_eq!(f.values(), before, "init killed before step {step}, then done");
    }
    for step in 0..back {
        f.init();
        assert!(f.dying(step, || f.fini()).is_none());
        f.fini();
        assert_eq!(f.values(), before, "fini killed before step {step}");
        assert!(f.keeper.load().unwrap().is_none());

        f.init();
        assert!(f.dying(step, || f.fini()).is_none());
        f.init();
        f.fini();
        assert_eq!(f.values(), before, "fini killed before step {step}, then init and fini");
    }
}

#[test]
fn a_value_that_does_not_take_rolls_its_stage_back() {
    let f = Fixture::new();
    let before = f.values();
    let all = check(&Host::new(&f, &f.machine, &f.needs), &STAGES);
    let planned = changes(&all);
    for outcome in &all {
        for change in &outcome.changed {
            f.refuse(&change.key, libc::EINVAL);
            let outcomes = f.init();
            let [fault] = faults(&outcomes).try_into().unwrap();
            assert_eq!((&fault.key, &fault.wanted), (&change.key, &change.to));
            assert!(fault.why.contains("Invalid argument") && !fault.mend.is_empty(), "{fault}");
            assert_eq!(changes(&outcomes), planned - outcome.changed.len(), "{}", outcome.stage);
            let record = f.keeper.load().unwrap().unwrap();
            assert!(record.entries.iter().all(|entry| entry.stage != outcome.stage));
            for other in &outcome.changed {
                let kind = Kind::Choice;
                let now = kind.plain(&f.read(&other.key).unwrap());
                assert_eq!(now, other.from, "rolled back: {}", other.key);
            }
            f.refused.borrow_mut().clear();
            f.fini();
            assert_eq!(f.values(), before, "{}", change.key);
        }
    }
}

#[test]
fn a_value_that_the_kernel_cuts_is_a_fault() {
    let f = Fixture::new();
    let key = Key::file("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages");
    f.refuse(&key, 0);
    let outcomes = f.init();
    let told: Vec<String> = faults(&outcomes).iter().map(|fault| fault.to_string()).collect();
    assert!(told[0].contains("= 8: the kernel made 7 of it; memory is short"), "{told:?}");
    // It cannot be rolled back either here; then it stays recorded.
    assert!(told[1].contains("could not be rolled back"), "{told:?}");
    f.refused.borrow_mut().clear();
    f.fini();
    assert_eq!(f.text("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"), "0");
}

#[test]
fn what_the_kernel_does_not_let_go_is_not_available() {
    let f = Fixture::new();
    let before = f.values();
    let (fixed, irq) =
        (Key::file("/proc/sys/vm/stat_interval"), Key::file("/proc/irq/41/smp_affinity_list"));
    f.refuse(&fixed, libc::EROFS);
    f.refuse(&irq, libc::EIO);
    let outcomes = f.init();
    assert_eq!(faults(&outcomes), Vec::<&Fault>::new());
    let here: Vec<&str> = outcomes
        .iter()
        .flat_map(|outcome| &outcome.unavailable)
        .map(|(what, _)| what.as_str())
        .collect();
    assert!(here.contains(&fixed.to_string().as_str()) && here.contains(&irq.to_string().as_str()));
    assert_eq!(f.text("/proc/sys/kernel/timer_migration"), "0", "the stage goes on");
    let record = f.keeper.load().unwrap().unwrap();
    assert!(record.entries.iter().all(|entry| entry.key != fixed && entry.key != irq));
    f.fini();
    assert_eq!(f.values(), before);
}

#[test]
fn one_stage_alone_and_one_stage_back() {
    let f = Fixture::new();
    let before = f.values();
    let sysctl: Vec<Stage> = STAGES.into_iter().filter(|stage| stage.name == "sysctl").collect();
    init(&Host::new(&f, &f.machine, &f.needs), &f, &sysctl).unwrap();
    assert_eq!(f.text("/ethtool/eth1/channels"), "16");
    f.init();
    fini(&f, &f, |stage| stage == "channels").unwrap();
    assert_eq!(f.text("/ethtool/eth1/channels"), "16");
    assert_eq!(f.text("/proc/sys/vm/stat_interval"), "120");
    f.fini();
    assert_eq!(f.values(), before);
}

#[test]
fn a_value_that_went_away_does_not_keep_the_others() {
    let f = Fixture::new();
    f.init();
    std::fs::remove_dir_all(f.dir.path().join("root/proc/irq/41")).unwrap();
    let outcomes = f.fini();
    assert_eq!(faults(&outcomes), Vec::<&Fault>::new());
    assert!(f.keeper.load().unwrap().is_none());
}

#[test]
fn a_value_that_does_not_go_back_stays_recorded() {
    let f = Fixture::new();
    let before = f.values();
    f.init();
    let key = Key::file("/proc/sys/vm/stat_interval");
    f.refuse(&key, libc::EINVAL);
    let outcomes = f.fini();
    assert_eq!(faults(&outcomes).len(), 1);
    assert_eq!(f.keeper.load().unwrap().unwrap().entries.len(), 1);
    f.refused.borrow_mut().clear();
    f.fini();
    assert_eq!(f.values(), before);
}

#[test]
fn values_of_an_earlier_boot_are_not_restored() {
    let f = Fixture::new();
    f.init();
    plant(&f.dir.path().join("root"), UNTUNED);
    plant(&f.dir.path().join("root"), &[("/proc/sys/kernel/random/boot_id", "second")]);
    plant(&f.dir.path().join("root"), &[("/proc/sys/vm/stat_interval", "3")]);
    let before = f.values();
    assert_eq!(f.fini(), []);
    assert_eq!(f.values(), before);
    assert!(f.keeper.load().unwrap().is_none());
    f.init();
    f.fini();
    assert_eq!(f.values(), before, "this boot's own values came back");
}

#[test]
fn the_record_is_whole_or_refused() {
    let f = Fixture::new();
    let path = f.dir.path().join("run/state.json");
    let before = f.values();
    f.init();
    // Killed while a new record was written beside the old one.
    std::fs::write(f.dir.path().join("run/state.json.new"), "{ \"version\"").unwrap();
    f.fini();
    assert_eq!(f.values(), before);
    std::fs::write(&path, "{ \"version\"").unwrap();
    let host = Host::new(&f, &f.machine, &f.needs);
    let error = init(&host, &f, &STAGES).unwrap_err().to_string();
    assert!(error.contains("state.json cannot be understood"), "{error}");
    assert!(fini(&f, &f, |_| true).is_err());
    assert_eq!(f.values(), before, "nothing was touched");
    assert!(matches!(FileKeeper::open(&path), Err(RecordError::Busy { .. })), "one at a time");
}

#[test]
fn a_record_that_others_could_write_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let f = Fixture::new();
    f.init();
    let path = f.dir.path().join("run/state.json");
    let good = std::fs::read_to_string(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    let error = fini(&f, &f, |_| true).unwrap_err().to_string();
    assert!(error.contains("with mode 666"), "{error}");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    for place in ["/etc/shadow", "/proc/sys/../../etc/shadow", "relative"] {
        std::fs::write(&path, good.replace("/proc/sys/vm/stat_interval", place)).unwrap();
        let error = fini(&f, &f, |_| true).unwrap_err().to_string();
        assert!(error.contains("is no setting of a host"), "{place}: {error}");
    }
    std::fs::write(&path, good).unwrap();
    f.fini();
}

#[test]
fn the_file_for_sysctl_d_says_the_same() {
    let file = include_str!("../../../sysconfig/sysctl.d-60-rialto.conf");
    let given: Vec<(String, u64)> = file
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, value) = line.split_once(" = ").unwrap();
            (name.replace('.', "/"), value.parse().unwrap())
        })
        .collect();
    let set: Vec<(String, u64)> =
        plan::SYSCTLS.iter().map(|(name, value, _)| (name.to_string(), *value)).collect();
    assert_eq!(given, set);
}

#[test]
fn texts_of_one_value_are_the_same() {
    for (kind, a, b, same) in [
        (Kind::Number, "0", "00", true),
        (Kind::Number, "1", "0", false),
        (Kind::Mask, "00000003", "3", true),
        (Kind::Mask, "f", "3", false),
        (Kind::List, "0,1", "0-1", true),
        (Kind::List, "0-1", "0-2", false),
        (Kind::Choice, "always [madvise] never", "madvise", true),
        (Kind::Choice, "[always] madvise never", "madvise", false),
    ] {
        assert_eq!(kind.same(a, b), same, "{a} {b}");
    }
}
