//! A subscriber that writes down every message of the feed.

use super::evidence::{EvidenceWriter, Witness};
use super::tap::{SharedCopies, TapPort};
use super::{PATIENCE_NS, QUIET_NS, Stop};
use crate::cli::text::say;
use clap::Args;
use rialto::clock::{Clock, SystemClock};
use rialto::config::Config;
use rialto::net::{AnyPort, LossyPort, UdpPort};
use rialto::subscriber::{FeedHandler, FeedListener, FeedOptions};
use rialto::types::*;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Args, Debug)]
pub struct Arguments {
    /// Configuration that names the feed
    #[arg(long, default_value = "rialto.toml", value_name = "FILE")]
    config: PathBuf,
    /// Directory of the evidence
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Name of the file, at most 8 characters
    #[arg(long)]
    name: String,
    /// Share of datagrams to drop, parts per million
    #[arg(long, default_value_t = 0)]
    loss_ppm: u32,
    /// First message wanted, 0 = from now on
    #[arg(long, default_value_t = 1)]
    from: u64,
}

struct Keeper {
    file: EvidenceWriter,
    copies: SharedCopies,
    now: Nanos,
    fault: Option<std::io::Error>,
}

impl Keeper {
    fn keep(&mut self, letter: u8, parts: &[&[u8]]) {
        if let Err(e) = self.file.append(letter, self.now, parts) {
            self.fault.get_or_insert(e);
        }
    }
}

impl FeedListener for Keeper {
    fn on_message(&mut self, sequence: u64, payload: &[u8], _end_of_packet: bool) {
        self.keep(b'F', &[&sequence.to_le_bytes(), payload]);
    }

    fn on_session(&mut self, session: SessionName) {
        self.copies.borrow_mut().follow(session);
        self.keep(b'V', &[session.text().as_bytes()]);
    }

    fn on_lost(&mut self, from: u64, count: u64) {
        self.keep(b'Y', &[&from.to_le_bytes(), &count.to_le_bytes()]);
    }
}

pub fn run(a: Arguments, stop: Stop) -> anyhow::Result<ExitCode> {
    let config = Config::load(&a.config)?;
    std::fs::create_dir_all(&a.out)?;
    let path = a.out.join(format!("{}.evidence", a.name));
    let clock = SystemClock::new();
    let copies = SharedCopies::default();
    let mut keeper = Keeper {
        file: EvidenceWriter::create(&path, Witness::Subscriber, &a.name)?,
        copies: copies.clone(),
        now: clock.now(),
        fault: None,
    };
    let port = |port: UdpPort, salt: u64| {
        let port = match a.loss_ppm {
            0 => AnyPort::Udp(port),
            ppm => AnyPort::Lossy(LossyPort::new(port, salt, ppm)),
        };
        TapPort::new(port, copies.clone())
    };
    let interface = config.feed.interface;
    let mut feed = FeedHandler::new(
        port(UdpPort::join(config.feed.a, interface)?, 1),
        port(UdpPort::join(config.feed.b, interface)?, 2),
        port(UdpPort::bind(SocketAddrV4::new(interface, 0))?, 3),
        vec![config.feed.repair],
        // An exchange that recovers is silent: nothing is given up meanwhile.
        FeedOptions { from: a.from, give_up_ns: PATIENCE_NS, ..FeedOptions::default() },
    );
    say!("listening");

    let (mut next, mut moved, mut stopping) = (0, clock.now(), None);
    loop {
        keeper.now = clock.now();
        let work = feed.poll(keeper.now, &mut keeper);
        if let Some(error) = keeper.fault.take() {
            return Err(error.into());
        }
        for number in std::mem::take(&mut copies.borrow_mut().conflicts) {
            keeper.keep(b'X', &[&number.to_le_bytes()]);
        }
        if feed.next() != next {
            (next, moved) = (feed.next(), keeper.now);
        }
        if stop.came() {
            let since = *stopping.get_or_insert(keeper.now);
            let quiet = feed.missing() == 0 && keeper.now.since(moved) > QUIET_NS;
            if (quiet && keeper.now.since(since) > QUIET_NS)
                || keeper.now.since(since) > PATIENCE_NS
            {
                break;
            }
        }
        if work == 0 {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    let c = feed.counters();
    let repeated = copies.borrow().repeated;
    let figures = [feed.next(), feed.missing(), c.gaps, c.repaired, c.lost, repeated];
    keeper.file.finish(clock.now(), &figures)?;
    say!(
        "{}: {} messages, {} gaps, {} repaired, {} lost, {} missing",
        a.name,
        c.messages,
        c.gaps,
        c.repaired,
        c.lost,
        feed.missing()
    );
    Ok(if feed.missing() == 0 && c.lost == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
