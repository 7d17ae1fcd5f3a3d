//! The program as an operator runs it: killed, without its hot tier, on the next day, twice.

use crate::host::{free_port, noon};
use rialto::guard::{command_checksum, crash};
use rialto::store::{DayView, LogIndex};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A configuration in a directory of its own, hot tier and all.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new(durability: &str) -> Place {
        let shm = Path::new("/dev/shm");
        let dir = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() };
        let place = Place { dir: dir.unwrap() };
        let (gateway, repair) = (free_port(), free_port());
        let text = format!(
            "[venue]\nname = \"LIVES\"\nincarnation = \"A\"\ndata = \"data\"\nhot = \"hot\"\ndegraded = true\n\
             durability = \"{durability}\"\ntest_keys = true\n{}\
             [capacity]\norders_max = 1000\nsegment_mib = 1\nhot_segments_max = 4\n\
             [gateway]\nlisten = \"127.0.0.1:{gateway}\"\n\
             [feed]\ninterface = \"127.0.0.1\"\na = \"239.192.250.1:{repair}\"\n\
             b = \"239.192.250.2:{repair}\"\nrepair = \"127.0.0.1:{repair}\"\n\
             [[symbol]]\nname = \"ALPH\"\n[[firm]]\nname = \"ALFA\"\n\
             [[account]]\nname = \"A001\"\nfirm = \"ALFA\"\ncash = \"1000.00\"\n\
             [[session]]\nuser = \"ALFA01\"\nfirm = \"ALFA\"\naccount = \"A001\"\n\
             allow = [\"127.0.0.1\"]\nkey = \"{}\"\n\
             [[operator]]\nname = \"ANNA\"\nkey = \"{}\"\n\
             [[operator]]\nname = \"BERT\"\nkey = \"{}\"\n",
            noon(),
            "01".repeat(32),
            "0a".repeat(32),
            "0b".repeat(32)
        );
        std::fs::write(place.path("rialto.toml"), text).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn set(&self, from: &str, to: &str) {
        let file = self.path("rialto.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(from));
        std::fs::write(&file, text.replace(from, to)).unwrap();
    }

    fn run(&self) -> Child {
        Command::new(env!("CARGO_BIN_EXE_rialto"))
            .args(["run", "--config"])
            .arg(self.path("rialto.toml"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Starts it, and returns when it serves: the process and the line that says so.
    fn start(&self) -> (Child, String) {
        let mut child = self.run();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines.map_while(Result::ok).find(|l| l.starts_with("ready"));
        let Some(ready) = ready else {
            let output = child.wait_with_output().unwrap();
            panic!("no start: {}", String::from_utf8_lossy(&output.stderr));
        };
        (child, ready)
    }

    /// A start that must be refused: what it says.
    fn refused(&self) -> String {
        let output = self.run().wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    }

    /// `rialto void` by an operator: whether it was taken, and what it says.
    fn void(&self, seq: u64, operator: &str, key: &str) -> (bool, String) {
        use std::os::unix::fs::OpenOptionsExt;
        let file = self.path("operator.key");
        let _ = std::fs::remove_file(&file);
        let mut options = std::fs::OpenOptions::new();
        let mut out = options.write(true).create_new(true).mode(0o600).open(&file).unwrap();
        std::io::Write::write_all(&mut out, key.repeat(32).as_bytes()).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_rialto"))
            .arg("void")
            .arg(self.today())
            .args(["--seq", &seq.to_string(), "--operator", operator, "--key-file"])
            .arg(&file)
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    /// `halted_before` of status.json, once this process has written it.
    fn halted_before(&self, pid: u32) -> Option<u64> {
        loop {
            let text =
                std::fs::read_to_string(self.today().join("status.json")).unwrap_or_default();
            let status: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            if status["pid"] == pid {
                return status["halted_before"].as_u64();
            }
            std::thread::yield_now();
        }
    }

    /// The only day there is.
    fn today(&self) -> PathBuf {
        let mut entries = std::fs::read_dir(self.path("data")).unwrap().flatten();
        entries.find(|e| e.path().is_dir()).unwrap().path()
    }
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn terminate(mut child: Child) {
    // SAFETY: plain integers; the child is ours and not waited for yet.
    assert_eq!(unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGTERM) }, 0);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn killed_in_the_middle_of_starting_it_starts_again() {
    if !crate::host::loopback() {
        return;
    }
    let place = Place::new("memory");
    for ms in [1, 4, 8, 12, 16, 20, 30, 50] {
        let child = place.run();
        std::thread::sleep(std::time::Duration::from_millis(ms));
        kill(child);
    }
    let (child, _) = place.start();
    terminate(child);
}

#[test]
fn without_its_hot_tier_the_day_goes_on_or_says_how() {
    if !crate::host::loopback() {
        return;
    }
    let place = Place::new("memory");
    let (child, _) = place.start();
    terminate(child);
    std::fs::remove_dir_all(place.path("hot")).unwrap();
    // It ended well: the archive has everything.
    let (child, ready) = place.start();
    assert!(!ready.contains(" 0 commands recovered"), "{ready}");
    // From here on the archive may be behind.
    let segment = place.today().join("command-0000000000.seg");
    while !segment.exists() {
        std::thread::yield_now();
    }
    kill(child);
    std::fs::remove_dir_all(place.path("hot")).unwrap();
    for _ in 0..2 {
        let why = place.refused();
        assert!(why.contains("set `incarnation = \"B\"` in [venue]"), "{why}");
    }
    place.set("incarnation = \"A\"", "incarnation = \"B\"");
    let (child, ready) = place.start();
    assert!(ready.contains(" 0 commands recovered"), "{ready}");
    terminate(child);

    let place = Place::new("disk");
    let (child, _) = place.start();
    kill(child);
    std::fs::remove_dir_all(place.path("hot")).unwrap();
    let (child, ready) = place.start();
    assert!(!ready.contains(" 0 commands recovered"), "{ready}");
    terminate(child);
}

#[test]
fn a_second_venue_on_the_same_data_is_refused() {
    if !crate::host::loopback() {
        return;
    }
    let place = Place::new("memory");
    let (child, _) = place.start();
    place.set("[gateway]\nlisten = \"127.0.0.1:", "[gateway]\nlisten = \"127.0.0.2:");
    place.set("repair = \"127.0.0.1:", "repair = \"127.0.0.2:");
    let why = place.refused();
    assert!(why.contains(&format!("locked by process {}", child.id())), "{why}");
    terminate(child);
}

#[test]
fn two_operators_void_the_command_before_which_it_stands() {
    if !crate::host::loopback() {
        return;
    }
    let place = Place::new("memory");
    let (child, _) = place.start();
    let (dir, storage) = (place.today(), rialto::store::files());
    // The day's beginning is a command, the market's opening the next: it may take a while.
    let view = DayView::open(&dir).unwrap();
    let mut reader = view.log(LogIndex::Command).reader().unwrap();
    reader.next().unwrap();
    while reader.next().unwrap().is_none() {
        std::thread::yield_now();
    }
    kill(child);
    let refused = place.void(2, "ANNA", "0a");
    assert!(!refused.0 && refused.1.contains("has not killed the exchange"), "{}", refused.1);
    // Noted by hand as what two runs died of: a real command of the log.
    let view = DayView::open(&dir).unwrap();
    let log = view.log(LogIndex::Command);
    let mut reader = log.reader().unwrap();
    reader.next().unwrap();
    let record = reader.next().unwrap().expect("a second command");
    let command = record.seq;
    let mut crash = crash::Crash {
        log_id: log.options().log_id,
        command,
        checksum: command_checksum(command, record.kind, record.payload),
        deaths: 1,
        why: "made up".into(),
    };
    crash::write(&*storage, &dir, &crash).unwrap();
    let refused = place.void(command.0, "ANNA", "0a");
    assert!(!refused.0 && refused.1.contains("once"), "{}", refused.1);
    crash.deaths = 2;
    crash::write(&*storage, &dir, &crash).unwrap();

    for (operator, key, taken) in
        [("ANNA", "0a", true), ("ANNA", "0a", false), ("BERT", "0b", true)]
    {
        let (child, _) = place.start();
        assert_eq!(place.halted_before(child.id()), Some(command.0), "before {operator}");
        let (voided, said) = place.void(command.0, operator, key);
        assert_eq!(voided, taken, "{operator}: {said}");
        terminate(child);
    }
    let (child, _) = place.start();
    assert_eq!(place.halted_before(child.id()), None);
    terminate(child);
    assert!(crash::read(&*storage, &dir).unwrap().is_none());
    let mut verify = Command::new(env!("CARGO_BIN_EXE_rialto"));
    let output = verify.arg("replay").arg(&dir).arg("--verify").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = place.void(command.0, "BERT", "0b").1;
    assert!(said.contains("void already"), "{said}");
}
