//! `rialto audit` as a judge: it agrees with evidence as it was kept, and with nothing else.
//!
//! Real processes keep the evidence; then one file at a time is written anew with one thing changed, as a
//! witness would have written it (checksums right), and the audit must say no.

use crate::host::free_port;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

const HEAD: usize = 24;

/// Letter, time, body.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Record(u8, u64, Vec<u8>);

fn read(path: &Path) -> (Vec<u8>, Vec<Record>) {
    let bytes = std::fs::read(path).unwrap();
    let (head, mut rest) = bytes.split_at(HEAD);
    let mut records = Vec::new();
    while !rest.is_empty() {
        let len = u16::from_le_bytes([rest[0], rest[1]]) as usize;
        let record = &rest[2..2 + len];
        let time = u64::from_le_bytes(record[1..9].try_into().unwrap());
        records.push(Record(record[0], time, record[9..].to_vec()));
        rest = &rest[2 + len..];
    }
    (head.to_vec(), records)
}

fn write(path: &Path, head: &[u8], records: &[Record]) {
    let mut bytes = head.to_vec();
    for (i, Record(letter, time, body)) in records.iter().enumerate() {
        let mut body = body.clone();
        if *letter == b'E' {
            body[..8].copy_from_slice(&(i as u64).to_le_bytes());
            body[8..12].copy_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        }
        bytes.extend_from_slice(&((9 + body.len()) as u16).to_le_bytes());
        bytes.push(*letter);
        bytes.extend_from_slice(&time.to_le_bytes());
        bytes.extend_from_slice(&body);
    }
    std::fs::write(path, bytes).unwrap();
}

fn rialto(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rialto"));
    command.current_dir(dir).args(arguments);
    command
}

/// A child that does not outlive a test that fails.
struct Process(Child);

impl Process {
    fn terminate(mut self) {
        // SAFETY: plain integers; the child is ours and not waited for yet.
        assert_eq!(unsafe { libc::kill(self.0.id() as libc::pid_t, libc::SIGTERM) }, 0);
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill(); // ended already on the good path
        let _ = self.0.wait();
    }
}

fn configuration() -> String {
    let (gateway, repair) = (free_port(), free_port());
    let mut text = format!(
        "[venue]\nname = \"AUDIT\"\ndata = \"data\"\nhot = \"hot\"\ndegraded = true\ntest_keys = true\n\
         [capacity]\norders_max = 10000\nsegment_mib = 1\nhot_segments_max = 16\n\
         [gateway]\nlisten = \"127.0.0.1:{gateway}\"\n\
         [feed]\na = \"239.192.251.1:{repair}\"\nb = \"239.192.251.2:{repair}\"\n\
         repair = \"127.0.0.1:{repair}\"\n[[symbol]]\nname = \"ALPH\"\n[[symbol]]\nname = \"BETA\"\n"
    );
    for (i, name) in ["ALFA", "BRVO"].iter().enumerate() {
        text += &format!(
            "[[firm]]\nname = \"{name}\"\n[[account]]\nname = \"{name}\"\nfirm = \"{name}\"\n\
             cash = \"1000000000.00\"\nshares = 10000000\n\
             [[session]]\nuser = \"{name}01\"\nfirm = \"{name}\"\naccount = \"{name}\"\n\
             allow = [\"127.0.0.1\"]\nkey = \"{}\"\n",
            format!("{:02x}", i + 1).repeat(32)
        );
    }
    text
}

/// A short day with evidence: its directory, and the paths of the evidence.
fn day(dir: &Path) -> (PathBuf, Vec<PathBuf>) {
    std::fs::write(dir.join("rialto.toml"), configuration()).unwrap();
    let exchange = rialto(dir, &["run"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut exchange = Process(exchange);
    let mut lines = BufReader::new(exchange.0.stdout.take().unwrap()).lines();
    assert!(lines.any(|l| l.unwrap().starts_with("ready")), "the exchange does not start");
    let witness = |arguments: &[&str]| {
        let mut command = rialto(dir, &["witness"]);
        let command = command.args(arguments).args(["--out", "evidence"]).stdout(Stdio::piped());
        let mut child = Process(command.spawn().unwrap());
        let mut line = String::new();
        BufReader::new(child.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the witness does not start");
        child
    };
    let feed = witness(&["feed", "--name", "SUB1"]);
    let broker = witness(&["broker", "--rate", "2000"]);
    let entries = || std::fs::read_dir(dir.join("data")).unwrap().flatten().map(|e| e.path());
    let day = entries().find(|p| p.is_dir()).unwrap();
    // Until there is something to lie about: every kind of report.
    let applied = || {
        let text = std::fs::read_to_string(day.join("status.json")).unwrap_or_default();
        let status: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        status["commands_applied"].as_u64().unwrap_or(0)
    };
    while applied() < 3_000 {
        assert!(exchange.0.try_wait().unwrap().is_none(), "the exchange has ended");
        std::thread::sleep(Duration::from_millis(10));
    }
    broker.terminate();
    feed.terminate();
    drop(lines);
    exchange.terminate();
    let names = ["ALFA01", "BRVO01", "SUB1"];
    (day, names.iter().map(|n| dir.join("evidence").join(format!("{n}.evidence"))).collect())
}

#[test]
fn evidence_as_kept_agrees_and_every_change_of_it_does_not() {
    if !crate::host::loopback() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (day, files) = day(dir.path());
    let audit = |files: &[PathBuf]| -> Output {
        rialto(dir.path(), &["audit"]).arg(&day).args(files).output().unwrap()
    };
    let good = audit(&files);
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));

    // What each lie does to the records of a file, and a word of the fault that it must bring.
    type Lie = fn(&mut Vec<Record>);
    fn nth(records: &[Record], letter: u8, n: usize) -> usize {
        let mut places = records.iter().enumerate().filter(|(_, r)| r.0 == letter);
        places.nth(n).expect("the day is too short").0
    }
    let lies: [(usize, &str, Lie); 11] = [
        (0, "lacks report", |r| drop(r.remove(nth(r, b'R', 30)))),
        (0, "out of turn", |r| r.insert(nth(r, b'R', 30), r[nth(r, b'R', 30)].clone())),
        (0, "another report", |r| {
            let last = r[nth(r, b'R', 30)].2.len() - 1;
            let at = nth(r, b'R', 30);
            r[at].2[last] ^= 1;
        }),
        (1, "which the log does not have", |r| {
            let last = r.iter().rposition(|r| r.0 == b'R').unwrap();
            let mut more = r[last].clone();
            let number = u64::from_le_bytes(more.2[..8].try_into().unwrap()) + 1;
            more.2[..8].copy_from_slice(&number.to_le_bytes());
            r.insert(last + 1, more);
        }),
        (0, "who never sent it", |r| {
            let last = r.iter().rposition(|r| r.0 == b'M').unwrap();
            r.remove(last);
        }),
        // A message that its broker holds as applied and that the log does not have.
        (0, "is not in the log", |r| {
            let last = r.iter().rposition(|r| r.0 == b'M').unwrap();
            let settled = r.iter().rposition(|r| r.0 == b'K').unwrap();
            for (at, letter) in [(last, b'M'), (settled + 1, b'K')] {
                let mut more = r[at].clone();
                assert_eq!(more.0, letter);
                let sequence = u64::from_le_bytes(r[last].2[..8].try_into().unwrap());
                more.2[..8].copy_from_slice(&(sequence + 1).to_le_bytes());
                if letter == b'M' {
                    // A query: it brings no URN.
                    more.2.truncate(12);
                    more.2[8..].fill(0);
                    more.2.push(b'Q');
                }
                r.insert(at + 1, more);
            }
        }),
        (0, "sent Enter", |r| {
            let at = nth(r, b'M', 10);
            let side = 12 + 5;
            r[at].2[side] = if r[at].2[side] == b'B' { b'S' } else { b'B' };
        }),
        (1, "without a conclusion", |r| drop(r.remove(nth(r, b'K', 10)))),
        (1, "says N", |r| {
            let at = nth(r, b'K', 10);
            *r[at].2.last_mut().unwrap() = b'N';
        }),
        (2, "lacks message", |r| drop(r.remove(nth(r, b'F', 30)))),
        (2, "another message", |r| {
            let at = nth(r, b'F', 30);
            let last = r[at].2.len() - 1;
            r[at].2[last] ^= 1;
        }),
    ];
    for (file, word, lie) in lies {
        let (head, mut records) = read(&files[file]);
        lie(&mut records);
        let mut changed = files.clone();
        changed[file] = dir.path().join("changed.evidence");
        write(&changed[file], &head, &records);
        let output = audit(&changed);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{word}: {told}");
        assert!(told.contains(word), "{word}: {told}");
    }
    // A session that traded and kept nothing.
    let output = audit(&files[1..]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("no evidence"));
    // A witness that was killed has no evidence at all.
    let (head, records) = read(&files[0]);
    let cut = dir.path().join("cut.evidence");
    write(&cut, &head, &records[..records.len() - 1]);
    let output = audit(&[cut, files[1].clone(), files[2].clone()]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("was not finished"));
}
