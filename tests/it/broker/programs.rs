//! Programs as their users run them, against the scripted exchange on loopback sockets: the
//! command `rialto order` and the client in another language.

use super::fake::*;
use rialto::clock::{Clock, SystemClock};
use rialto::net::{Port, UdpPort};
use rialto::types::*;
use std::net::SocketAddrV4;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs `program` with the scripted exchange behind `gateway`, until it ends.
fn run_against(fake: &mut Fake<UdpPort>, program: &mut Command) -> Output {
    let clock = SystemClock::new();
    let started = clock.now();
    let mut child = program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while child.try_wait().unwrap().is_none() {
        fake.pump(clock.now());
        if clock.now().since(started) > 300_000 * MS {
            child.kill().unwrap();
            panic!("{program:?} does not end");
        }
        std::thread::yield_now();
    }
    child.wait_with_output().unwrap()
}

fn exchange() -> Fake<UdpPort> {
    Fake::new(vec![UdpPort::bind(address("127.0.0.1:0")).unwrap()])
}

fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(both).unwrap()
}

fn rialto(gateway: SocketAddrV4, key_file: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rialto"));
    command.arg("order").args(arguments.split(' '));
    command.args(["--gateway", &gateway.to_string(), "--user", "ALFA01"]);
    command.arg("--key-file").arg(key_file);
    command
}

#[test]
fn rialto_order_by_hand() {
    if !crate::host::loopback() {
        return;
    }
    let mut fake = exchange();
    let gateway = fake.ports[0].local();
    let directory = tempfile::tempdir().unwrap();
    let key_file = directory.path().join("key");
    std::fs::write(&key_file, "01".repeat(32) + "\n").unwrap();
    let steps = [
        ("buy ALPH 100 10.05 --id mine", 0, "accepted: order 1 buys 100 ALPH at 10.05"),
        ("buy ALPH 0 10.05", 3, "rejected: order 2: 0x0013, quantity must be"),
        ("list", 0, "order 1: buys 100 ALPH at 10.05, 0 executed"),
        ("replace 1 50 10.06", 0, "replaced: order 3 takes the place of 1"),
        ("cancel 7", 3, "order 7 is not open; open are 3"),
        ("buy ALPH 5 10.x", 2, "'10.x' for '<PRICE>': must be such as 10.05"),
        ("list", 0, "order 3: buys 50 ALPH at 10.06"),
    ];
    for (arguments, code, expected) in steps {
        let output = run_against(&mut fake, &mut rialto(gateway, &key_file, arguments));
        let text = text(&output);
        assert!(text.contains(expected), "{arguments}: {text}");
        assert_eq!(output.status.code(), Some(code), "{arguments}: {text}");
        assert!(!fake.is_bound(), "logged off after {arguments}");
    }
}

#[test]
fn rialto_order_says_what_mends_it() {
    if !crate::host::loopback() {
        return;
    }
    let mut fake = exchange();
    let gateway = fake.ports[0].local();
    let directory = tempfile::tempdir().unwrap();
    let key_file = directory.path().join("key");
    std::fs::write(&key_file, "0102").unwrap();
    let output = run_against(&mut fake, &mut rialto(gateway, &key_file, "list"));
    assert!(text(&output).contains("must hold 64 hex digits"), "{}", text(&output));
    assert_eq!(output.status.code(), Some(2), "wrong arguments");

    std::fs::write(&key_file, "02".repeat(32)).unwrap();
    let output = run_against(&mut fake, &mut rialto(gateway, &key_file, "list"));
    assert!(text(&output).contains("check user name, key"), "{}", text(&output));
    assert_eq!(output.status.code(), Some(3), "refused");

    fake.answers_login = false;
    let list = "list --timeout-ms 200";
    let output = run_against(&mut fake, &mut rialto(gateway, &key_file, list));
    assert!(text(&output).contains("is the exchange running there"), "{}", text(&output));
    assert_eq!(output.status.code(), Some(1));

    let mut command = Command::new(env!("CARGO_BIN_EXE_rialto"));
    command.args(["order", "list", "--config", "/nowhere/rialto.toml"]);
    let output = run_against(&mut fake, &mut command);
    assert!(text(&output).contains("--config"), "{}", text(&output));
    assert_eq!(output.status.code(), Some(2), "no configuration");
}

#[test]
fn the_python_client_trades() {
    if !crate::host::loopback() {
        return;
    }
    if Command::new("python3").arg("--version").output().is_err() {
        crate::host::skipped("python3 is not installed");
        return;
    }
    let mut fake = exchange();
    fake.report(super::accepted_report(1));
    fake.next = 2;
    fake.last_urn = 1;
    let client = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/client.py");
    let run = |fake: &mut Fake<UdpPort>, arguments: &str| {
        let mut command = Command::new("python3");
        command.arg("-B").arg(client).args(arguments.split(' '));
        command.args(["--gateway", &fake.ports[0].local().to_string(), "--seconds", "0.1"]);
        let output = run_against(fake, &mut command);
        (output.status.code(), text(&output))
    };
    let (code, said) = run(&mut fake, "buy ALPH 100 10.05");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("     1  the day begins"), "the whole day: {said}");
    assert!(said.contains("     3  accepted: order 2 buys 100 ALPH at 10.0500"), "{said}");
    assert!(!fake.is_bound(), "logged off");
    assert_eq!(fake.live, [Urn(2)]);

    let (code, said) = run(&mut fake, "sell ALPH 0 10.05");
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("rejected: order 3: 0x0013, quantity must be"), "{said}");

    let wrong = format!("buy ALPH 1 1.00 --key {}", "02".repeat(32));
    let (code, said) = run(&mut fake, &wrong);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("login refused: A: not authorised"), "{said}");
}
