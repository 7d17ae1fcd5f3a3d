//! `rialto feed` as a user starts it, over the kernel's multicast, losing a fifth of everything.

use super::*;
use std::fs::{File, read_to_string};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Output goes to a file: a pipe that nobody reads would stop the command.
fn feed(venue: &KernelVenue, output: &Path, arguments: &[&str]) -> Child {
    let at = &venue.addresses;
    Command::new(env!("CARGO_BIN_EXE_rialto"))
        .arg("feed")
        .args(["--group-a", &at.group_a.to_string(), "--group-b", &at.group_b.to_string()])
        .args(["--request", &at.repair[0].to_string(), "--interface", &at.interface.to_string()])
        .args(arguments)
        .stdout(File::create(output).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn the_command_records_a_day_and_shows_a_book() {
    if !crate::host::loopback() {
        return;
    }
    let mut venue = KernelVenue::new(18);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("day.itch");
    let path = file.to_str().unwrap();
    let recorded = ["--from", "1", "--quiet", "--json", "--loss", "0.2", "--record", path];
    let outputs = ["summary", "book", "lines"].map(|name| dir.path().join(name));
    let mut children = [
        feed(&venue, &outputs[0], &recorded),
        feed(&venue, &outputs[1], &["--book", "SYM1"]),
        feed(&venue, &outputs[2], &["--from", "1"]),
    ];
    venue.rig.open(3);
    let clock = SystemClock::new();
    let began = clock.now();
    let mut cycles = 0;
    // They end by themselves at the end of the session.
    while children.iter_mut().any(|c| c.try_wait().unwrap().is_none()) {
        cycles += 1;
        match cycles {
            0..1_000 => venue.rig.trade(),
            1_000 => venue.rig.close(),
            _ => std::thread::yield_now(),
        }
        venue.step(clock.now());
        assert!(clock.now().since(began) < 300_000 * MS, "the commands did not end");
    }
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let [recorded, book, lines] = outputs.map(|output| read_to_string(output).unwrap());
    let said = &venue.rig.said;
    let mut day = Vec::new();
    for message in said {
        day.extend((message.len() as u16).to_be_bytes());
        day.extend(message);
    }
    assert!(std::fs::read(&file).unwrap() == day, "the day file holds every message");

    let books = books_of(said);
    let digest = format!("{:016x}", books.digest());
    let summary: serde_json::Value = serde_json::from_str(recorded.trim()).unwrap();
    assert_eq!(summary["messages"], said.len());
    assert_eq!((&summary["lost"], &summary["ended"]), (&0.into(), &true.into()));
    assert_eq!(summary["digest"], digest);
    assert!(summary["repaired"].as_u64().unwrap() > 0);

    assert!(book.contains("SYM1  trading"), "{book}");
    assert!(book.contains(&digest), "{book}");
    let best = books.bbo(Locate(1)).unwrap().bid.unwrap();
    let price = format!("{}.{:02}", best.price.0 / 10_000, best.price.0 / 100 % 100);
    assert!(book.contains(&price), "{book}");

    assert!(lines.lines().count() >= said.len() + 2);
    assert!(lines.contains("S system O") && lines.contains("end of session"), "{lines}");
}

#[test]
fn the_command_says_when_nothing_was_heard() {
    if !crate::host::loopback() {
        return;
    }
    let venue = KernelVenue::new(19);
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("output");
    let silent = |arguments: &[&str]| {
        let ended = feed(&venue, &output, arguments).wait().unwrap();
        (ended.code(), read_to_string(&output).unwrap())
    };
    let (code, text) = silent(&["--seconds", "1"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("nothing was heard"), "{text}");
    let (code, text) = silent(&["--seconds", "1", "--quiet", "--json"]);
    assert_eq!(code, Some(1));
    let summary: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
    assert_eq!(summary["session"], serde_json::Value::Null);
}

#[test]
fn the_command_ends_when_nobody_reads_on() {
    if !crate::host::loopback() {
        return;
    }
    let venue = KernelVenue::new(20);
    let at = &venue.addresses;
    let mut child = Command::new(env!("CARGO_BIN_EXE_rialto"))
        .arg("feed")
        .args(["--group-a", &at.group_a.to_string(), "--group-b", &at.group_b.to_string()])
        .args(["--interface", &at.interface.to_string(), "--seconds", "60"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let clock = SystemClock::new();
    let began = clock.now();
    drop(child.stdout.take());
    // No message comes: the line is silent.
    assert!(child.wait().unwrap().success());
    assert!(clock.now().since(began) < 30_000 * MS);
}
