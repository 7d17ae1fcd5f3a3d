//! The program as an operator runs it: killed, without its hot tier, on the next day, twice.

use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
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
            "[venue]\nname = \"LIVES\"\nincarnation = \"A\"\ndata = \"data\"\nhot = \"hot\"\n\
             durability = \"{durability}\"\ntest_keys = true\n\
             [capacity]\norders_max = 1000\nsegment_mib = 1\nhot_segments_max = 4\n\
             [gateway]\nlisten = \"127.0.0.1:{gateway}\"\n\
             [feed]\ninterface = \"127.0.0.1\"\na = \"239.192.250.1:{repair}\"\n\
             b = \"239.192.250.2:{repair}\"\nrepair = \"127.0.0.1:{repair}\"\n\
             [[symbol]]\nname = \"ALPH\"\n[[firm]]\nname = \"ALFA\"\n\
             [[account]]\nname = \"A001\"\nfirm = \"ALFA\"\ncash = \"1000.00\"\n\
             [[session]]\nuser = \"ALFA01\"\nfirm = \"ALFA\"\naccount = \"A001\"\n\
             allow = [\"127.0.0.1\"]\nkey = \"{}\"\n",
            "01".repeat(32)
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

    /// The only day there is.
    fn today(&self) -> PathBuf {
        let mut entries = std::fs::read_dir(self.path("data")).unwrap().flatten();
        entries.find(|e| e.path().is_dir()).unwrap().path()
    }
}

fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
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
        assert!(why.contains("set venue.incarnation to the next letter"), "{why}");
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
