//! `rialto doctor`: is this host fit for the venue?

use super::text::{grouped, say};
use clap::Args;
use rialto::config::Config;
use rialto::host::doctor::{Report, Row, State, examine};
use rialto::host::hiccup::Hiccups;
use rialto::host::machine::Machine;
use rialto::host::{HostOptions, Live, Needs};
use rialto::net::xdp::PathWish;
use rialto::topology::hot_place;
use std::path::PathBuf;
use std::process::ExitCode;

/// Looks at the host that the venue is to run on: what is as it should be, what is not, how to mend it
///
/// Changes nothing. Watches the CPUs that [[thread]] tables name for some seconds and tells for how long
/// something took them away. Exit code 1 when a row fails: the venue would not start, or not keep what
/// its configuration promises. A warning means slower or less even.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  rialto doctor --config /etc/rialto/rialto.toml
  rialto doctor --interface eth1 --path af_xdp
  rialto doctor --json | jq '.rows[] | select(.state == \"fail\")'
  rialto configure init                      mends what can be mended while the host runs")]
pub struct Arguments {
    #[command(flatten)]
    host: HostArguments,
    /// Everything as JSON
    #[arg(long)]
    json: bool,
    /// How long to watch the application's CPUs; they are busy meanwhile. 0 = not at all
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=600))]
    seconds: u64,
}

/// What doctor and configure are told of the host.
#[derive(Args, Debug)]
pub struct HostArguments {
    /// Configuration file
    #[arg(long, default_value = "rialto.toml")]
    pub config: PathBuf,
    /// Network interface of orders and feed; without it, the one that has the address of gateway.listen
    #[arg(long, value_name = "NAME")]
    pub interface: Option<String>,
    /// Way of the datagrams instead of the configuration's [network] path: udp, auto (AF_XDP where the
    /// host can, else sockets), af_xdp, af_xdp:native, af_xdp:native:zero-copy, af_xdp:native:copy,
    /// af_xdp:generic
    #[arg(long)]
    pub path: Option<PathWish>,
}

impl HostArguments {
    /// Configuration and demands.
    pub fn needs(&self) -> anyhow::Result<(Config, Needs)> {
        let config = Config::load(&self.config)?;
        let options = HostOptions { interface: self.interface.clone(), path: self.path };
        let needs = Needs::of(&config, hot_place(&config), &options);
        Ok((config, needs))
    }
}

pub fn run(a: Arguments) -> anyhow::Result<ExitCode> {
    let (_, needs) = a.host.needs()?;
    let machine = Machine::here(&needs.hot, &needs.data);
    let report = examine(&Live::host(), &machine, &needs, a.seconds * 1_000_000_000);
    match a.json {
        true => say!("{}", serde_json::to_string_pretty(&report)?),
        false => print(&report),
    }
    Ok(ExitCode::from(u8::from(report.count(State::Fail) > 0)))
}

/// Columns of a page of 100: state, name, seen, wanted.
const NAME: usize = 27;
const SEEN: usize = 32;
const WANTED: usize = 34;

fn print(report: &Report) {
    let mut group = "";
    for row in &report.rows {
        if row.group != group {
            group = row.group;
            say!("\n{group}");
        }
        print_row(row);
    }
    if !report.hiccups.is_empty() {
        say!("\ngaps between two readings of the clock, us");
        say!(
            "  cpu    readings     p50     p99   p99.9        max     >10us  >100us  >1ms  switches"
        );
        for h in &report.hiccups {
            say!("{}", gap_line(h));
        }
    }
    say!(
        "\n{} as wanted, {} warn, {} fail, {} not applicable here",
        report.count(State::Ok),
        report.count(State::Warn),
        report.count(State::Fail),
        report.count(State::NotApplicable)
    );
}

fn print_row(row: &Row) {
    let word = match row.state {
        State::Ok => "ok",
        State::NotApplicable => "n/a",
        State::Warn => "WARN",
        State::Fail => "FAIL",
    };
    if row.state == State::NotApplicable {
        let reason = wrapped(&row.seen, SEEN + WANTED + 1);
        say!("{word:5}{:NAME$} {}", row.name, reason[0]);
        reason[1..].iter().for_each(|line| say!("{:5}{:NAME$} {line}", "", ""));
        return;
    }
    let (seen, wanted) = (wrapped(&row.seen, SEEN), wrapped(&row.wanted, WANTED));
    for i in 0..seen.len().max(wanted.len()) {
        let part = |lines: &[String]| lines.get(i).cloned().unwrap_or_default();
        let (word, name) = if i == 0 { (word, row.name.as_str()) } else { ("", "") };
        let line = format!("{word:5}{name:NAME$} {:SEEN$} {}", part(&seen), part(&wanted));
        say!("{}", line.trim_end());
    }
    if row.state != State::Ok {
        for (word, text) in [("why", &row.why), ("mend", &row.mend)] {
            for (i, line) in wrapped(text, 88).iter().enumerate() {
                say!("     {:5} {line}", if i == 0 { word } else { "" });
            }
        }
    }
}

fn gap_line(h: &Hiccups) -> String {
    if !h.pinned {
        return format!("  {:>3}  this process may not run there", h.cpu);
    }
    let us = |ns: u64| format!("{}.{:02}", ns / 1_000, ns % 1_000 / 10);
    format!(
        "  {:>3} {:>11} {:>7} {:>7} {:>7} {:>10} {:>9} {:>7} {:>5} {:>9}",
        h.cpu,
        grouped(h.readings),
        us(h.p50_ns),
        us(h.p99_ns),
        us(h.p999_ns),
        us(h.max_ns),
        h.above_10us,
        h.above_100us,
        h.above_1ms,
        h.switches
    )
}

/// Lines of at most `width` characters, broken between words; a longer word stands alone.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always a line");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_string());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_the_configuration_is_one_of_the_command_line() {
        use clap::Parser;
        for (text, path) in PathWish::ALL {
            let line = ["rialto", "doctor", "--path", text];
            let arguments = crate::cli::Arguments::try_parse_from(line).unwrap();
            let crate::cli::Command::Doctor(doctor) = arguments.command else { panic!("{text}") };
            assert_eq!(doctor.host.path, Some(path));
        }
        let wrong = ["rialto", "configure", "check", "--path", "xdp"];
        let error = crate::cli::Arguments::try_parse_from(wrong).unwrap_err().to_string();
        assert!(error.contains("af_xdp:native:zero-copy"), "{error}");
    }

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrapped("", 5), [""]);
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("extraordinary x", 4), ["extraordinary", "x"]);
    }
}
