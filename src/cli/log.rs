//! `rialto log`: the records of a day in readable form, secrets left out.

use super::record::plain;
use super::text::time_of_day;
use anyhow::Context;
use clap::{Args, ValueEnum};
use rialto::exchange::command::{Command, kind};
use rialto::exchange::event::{Event, EventBody};
use rialto::exchange::genesis::Genesis;
use rialto::replay::genesis;
use rialto::store::{DayView, LogIndex, Record};
use rialto::types::Nanos;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Which {
    /// What came in
    Command,
    /// What the exchange made of it
    Event,
    /// Each command followed by its events
    Both,
}

/// Prints a day's records; login tokens and nonces are left out
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  rialto log data/2026-01-31 --from 1000 --count 20
  rialto log data/2026-01-31 --log event --follow
  rialto log data/2026-01-31 --follow --no-ticks
  rialto log data/2026-01-31 | grep Executed")]
pub struct Arguments {
    /// The day's directory
    dir: PathBuf,
    /// Which log
    #[arg(long, value_enum, default_value = "both")]
    log: Which,
    /// First command (with --log event: first event)
    #[arg(long, default_value_t = 1, value_name = "SEQ")]
    from: u64,
    /// How many of them at most
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Leave out the clock's ticks, ten a second
    #[arg(long)]
    no_ticks: bool,
    /// Wait for more at the end
    #[arg(long)]
    follow: bool,
}

pub fn run(a: Arguments) -> anyhow::Result<ExitCode> {
    let view = DayView::open(&a.dir).with_context(|| {
        format!("{} cannot be read as a day's directory, such as data/2026-01-31", a.dir.display())
    })?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    match print(&a, &view, &mut out) {
        // `rialto log | head` closes the pipe: that is a way to end, not an error.
        Err(e) if is_broken_pipe(&e) => Ok(ExitCode::SUCCESS),
        other => other.map(|()| ExitCode::SUCCESS),
    }
}

fn is_broken_pipe(e: &anyhow::Error) -> bool {
    e.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

fn print(a: &Arguments, view: &DayView, out: &mut impl Write) -> anyhow::Result<()> {
    let mut commands = view.log(LogIndex::Command).reader()?;
    let mut events = view.log(LogIndex::Event).reader()?;
    let midnight = genesis(view)?.midnight;
    let mut printed = 0;
    let enough = |printed: u64| a.count.is_some_and(|n| printed >= n);
    loop {
        let mut idle = true;
        if a.log == Which::Event {
            while !enough(printed)
                && let Some(record) = events.next()?
            {
                idle = false;
                if record.seq.0 >= a.from {
                    print_event(out, midnight, &record)?;
                    printed += 1;
                }
            }
        } else {
            while !enough(printed)
                && let Some(record) = commands.next()?
            {
                idle = false;
                let seq = record.seq;
                if seq.0 < a.from || a.no_ticks && record.kind == kind::TICK {
                    continue;
                }
                print_command(out, midnight, &record)?;
                printed += 1;
                if a.log == Which::Both {
                    print_events_of(out, midnight, &mut events, seq.0)?;
                }
            }
        }
        if enough(printed) || (idle && !a.follow) {
            break;
        }
        if idle {
            out.flush()?;
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    out.flush()?;
    Ok(())
}

/// Prints the events of one command; those of earlier ones are passed over.
fn print_events_of(
    out: &mut impl Write,
    midnight: Nanos,
    events: &mut rialto::store::Reader,
    command: u64,
) -> anyhow::Result<()> {
    loop {
        let at = events.position();
        let Some(record) = events.next()? else { return Ok(()) };
        let of = Event::decode(record.kind, record.payload).map_or(0, |e| e.head.command.0);
        if of > command {
            events.seek(at);
            return Ok(());
        }
        if of == command {
            print_event(out, midnight, &record)?;
        }
    }
}

fn print_command(out: &mut impl Write, midnight: Nanos, r: &Record<'_>) -> anyhow::Result<()> {
    let at = time_of_day(r.time.since(midnight));
    write!(out, "{:>10}  {at}  ", r.seq.0)?;
    match Command::decode(r.kind, r.payload) {
        None => writeln!(out, "unreadable record of kind {}", r.kind)?,
        Some(Command::Genesis(bytes)) => match Genesis::decode(bytes) {
            Ok(g) => writeln!(
                out,
                "Genesis version {} day {} symbols {} accounts {} sessions {}",
                g.core_version,
                g.day_of_year,
                g.symbols.len(),
                g.accounts.len(),
                g.sessions.len()
            )?,
            Err(e) => writeln!(out, "Genesis: {e}")?,
        },
        Some(Command::Message(head, body)) => writeln!(
            out,
            "session {} generation {} client {} verdict {} {}",
            head.session.0,
            head.generation,
            head.client_seq,
            head.verdict,
            plain(&format!("{body:?}"))
        )?,
        // Token and nonces are secrets of a live session.
        Some(Command::Login(l)) => writeln!(
            out,
            "Login session {} generation {} flags {} dead time {} ms from {}.{}.{}.{}:{} token (redacted)",
            l.session.0,
            l.generation,
            l.flags,
            l.dead_time_ms,
            l.ip[0],
            l.ip[1],
            l.ip[2],
            l.ip[3],
            l.port
        )?,
        Some(other) => writeln!(out, "{}", plain(&format!("{other:?}")))?,
    }
    Ok(())
}

fn print_event(out: &mut impl Write, midnight: Nanos, r: &Record<'_>) -> anyhow::Result<()> {
    let Some(event) = Event::decode(r.kind, r.payload) else {
        writeln!(out, "            unreadable event of kind {}", r.kind)?;
        return Ok(());
    };
    let at = time_of_day(r.time.since(midnight));
    write!(out, "            {at}  event {} of command {}", r.seq.0, event.head.command.0)?;
    if event.head.report != 0 {
        write!(out, " report {}/{}", event.head.session.0, event.head.report)?;
    }
    if event.head.feed != 0 {
        write!(out, " feed {}", event.head.feed)?;
    }
    match event.body {
        EventBody::LoggedIn(l) => writeln!(
            out,
            " LoggedIn session {} generation {} next report {} token (redacted)",
            event.head.session.0, l.generation, l.next_report
        )?,
        body => writeln!(out, " {}", plain(&format!("{body:?}")))?,
    }
    Ok(())
}
