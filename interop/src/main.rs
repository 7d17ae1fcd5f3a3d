//! `rialto-interop`: the witnesses from the command line. `run.sh` puts them around an exchange.

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use rialto::types::{Symbol, User};
use rialto::wire::mold;
use rialto_interop::{day, feed, fields, itch, itchfeed, ouch, pcap, sample, trade, tshark};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Third-party witnesses of rialto's wire formats.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Follow a live feed with moldudp, packets withheld on purpose, repaired by the exchange.
    Feed {
        /// The feed's group, as 239.1.1.1:30001.
        #[arg(long)]
        group: SocketAddrV4,
        /// Address of the interface to join on.
        #[arg(long, default_value = "127.0.0.1")]
        interface: Ipv4Addr,
        /// Address of the retransmitter.
        #[arg(long)]
        request: SocketAddrV4,
        /// Session name of the feed, 10 characters.
        #[arg(long)]
        session: String,
        /// Where to write the messages (u16 length + message).
        #[arg(long)]
        out: PathBuf,
        /// Group and free port of the relay between feed and moldudp.
        #[arg(long, default_value = "239.255.77.1:47001")]
        relay: SocketAddrV4,
        /// Withhold every n-th packet of messages; 0 = none.
        #[arg(long, default_value_t = 10)]
        drop_every: u64,
        /// Ask again after so many ms.
        #[arg(long, default_value_t = 50)]
        ask_again_ms: u64,
        /// Stop after so many messages (default: at the end of session).
        #[arg(long)]
        messages: Option<u64>,
        /// Stop when nothing is missing and no message came for so many seconds.
        #[arg(long)]
        idle_s: Option<u64>,
        /// Stop after so many seconds of silence.
        #[arg(long, default_value_t = 10)]
        silence_s: u64,
        /// Stop after so many seconds in any case.
        #[arg(long, default_value_t = 600)]
        limit_s: u64,
    },
    /// Trade at a live gateway in slouch's words, from two sessions that differ in their user.
    Trade {
        /// The gateway.
        #[arg(long)]
        gateway: SocketAddrV4,
        /// Buyer, as USER:KEY with 64 hex digits.
        #[arg(long)]
        buyer: String,
        /// Seller, as USER:KEY.
        #[arg(long)]
        seller: String,
        /// Symbol.
        #[arg(long)]
        symbol: String,
        /// Price about which to trade, in 1/10,000; on the tick, the tick divides 0.0100.
        #[arg(long, default_value_t = 100_000)]
        price: u64,
        /// Round lot.
        #[arg(long, default_value_t = 1)]
        lot: u32,
        /// Rounds of 10 messages.
        #[arg(long, default_value_t = 200)]
        rounds: usize,
    },
    /// Read recorded days with itch5 and itchy and compare every value with our decoder.
    Compare {
        /// Recorded days.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Compare recordings of the same day byte by byte.
    Same {
        /// First recording.
        first: PathBuf,
        /// The others.
        #[arg(required = true)]
        others: Vec<PathBuf>,
        /// One may end earlier than another.
        #[arg(long)]
        prefix: bool,
    },
    /// Print what a recorded day holds; with --json each message as a line.
    Day {
        /// Recorded day.
        file: PathBuf,
        /// Each message as a line of JSON.
        #[arg(long)]
        json: bool,
    },
    /// Compare a dump of python/itchfeed_dump.py with the recorded day it was made from.
    Itchfeed {
        /// Recorded day.
        file: PathBuf,
        /// The dump.
        dump: PathBuf,
    },
    /// Compare tshark's dissection of a capture with our own, every block byte by byte.
    Tshark {
        /// Capture (classic pcap).
        pcap: PathBuf,
        /// UDP ports that carry MoldUDP64.
        #[arg(long = "port", required = true)]
        ports: Vec<u16>,
    },
    /// Compare all OUCH bodies of a capture with slouch.
    Ouch {
        /// Capture (classic pcap).
        pcap: PathBuf,
        /// UDP ports of the gateways.
        #[arg(long = "port", required = true)]
        ports: Vec<u16>,
    },
    /// Write a day of our own making.
    SampleDay {
        /// Where to.
        out: PathBuf,
        /// Messages about orders.
        #[arg(long, default_value_t = 10_000)]
        messages: usize,
        /// Seed.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Write a capture of our own making: gateway 9001, feed 30001, repair 9002.
    SamplePcap {
        /// Where to.
        out: PathBuf,
        /// Seed.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Feed {
            group,
            interface,
            request,
            session,
            out,
            relay,
            drop_every,
            ask_again_ms,
            messages,
            idle_s,
            silence_s,
            limit_s,
        } => follow(
            &feed::Options {
                group,
                interface,
                request,
                session: format!("{session:<10}"),
                relay,
                drop_every,
                ask_again: Duration::from_millis(ask_again_ms),
                messages,
                idle: idle_s.map(Duration::from_secs),
                silence: Duration::from_secs(silence_s),
                limit: Duration::from_secs(limit_s),
            },
            &out,
        ),
        Command::Trade { gateway, buyer, seller, symbol, price, lot, rounds } => {
            let mut buyer = login(gateway, &buyer)?;
            let mut seller = login(gateway, &seller)?;
            let symbol = Symbol::new(&symbol).context("a symbol has up to 8 characters")?;
            for i in 0..rounds {
                trade::round(&mut buyer, &mut seller, symbol, price, lot)
                    .with_context(|| format!("round {}", i + 1))?;
            }
            for (name, trader) in [("buyer", &buyer), ("seller", &seller)] {
                println!(
                    "slouch, {name}: {} messages sent, {} datagrams repeated, reports {:?}: {}",
                    trader.sent, trader.repeated, trader.reports, trader.tally
                );
                trader.logoff()?;
            }
            Ok(())
        }
        Command::Compare { files } => files.iter().try_for_each(|file| compare(file)),
        Command::Same { first, others, prefix } => same(&first, &others, prefix),
        Command::Day { file, json } => show(&file, json),
        Command::Itchfeed { file, dump } => {
            let dump = std::fs::read_to_string(&dump)
                .with_context(|| format!("reading {}", dump.display()))?;
            let (messages, values) = itchfeed::compare(&day::read(&file)?, &dump)?;
            println!("itchfeed: {messages} messages, {values} values equal");
            Ok(())
        }
        Command::Tshark { pcap: file, ports } => {
            let datagrams = pcap::read(&day::read(&file)?)?;
            let report = tshark::compare(&datagrams, &ports, &tshark::run(&file, &ports)?)?;
            if report.packets.is_empty() {
                bail!("no packet on these ports");
            }
            println!("tshark: the same packets, heads and blocks\n{report}");
            Ok(())
        }
        Command::Ouch { pcap: file, ports } => bodies(&file, &ports),
        Command::SampleDay { out, messages, seed } => {
            write(&out, &sample::day_file(&sample::itch_day(seed, messages)))
        }
        Command::SamplePcap { out, seed } => {
            write(&out, &pcap::write(&sample::capture(seed, 9001, 30001, 9002)))
        }
    }
}

/// A session from USER:KEY.
fn login(gateway: SocketAddrV4, text: &str) -> Result<trade::Trader> {
    let (user, key) = text.split_once(':').context("USER:KEY")?;
    let user = User::new(user).context("a user has up to 6 characters")?;
    let mut bytes = [0; 32];
    if key.len() != 64 || !key.is_ascii() {
        bail!("a key has 64 hex digits");
    }
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&key[2 * i..2 * i + 2], 16).context("a key has hex digits")?;
    }
    trade::Trader::login(gateway, user, &bytes)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}

fn follow(options: &feed::Options, out: &Path) -> Result<()> {
    let report = feed::follow(options)?;
    let mut file = Vec::new();
    report.messages.iter().for_each(|message| day::push(&mut file, message));
    write(out, &file)?;
    println!(
        "moldudp: {} messages in order, {} packets heard, {} relayed, {} withheld, {} filled a \
         hole, {} asked again{}",
        report.messages.len(),
        report.packets,
        report.relayed,
        report.withheld,
        report.repaired,
        report.asked_again,
        if report.ended { ", end of session" } else { "" },
    );
    if report.disagreements > 0 || report.missing > 0 {
        bail!("{} packets or messages disagree, {} missing", report.disagreements, report.missing);
    }
    if options.messages.is_some_and(|wanted| (report.messages.len() as u64) < wanted) {
        bail!("fewer messages than wanted");
    }
    Ok(())
}

fn compare(file: &Path) -> Result<()> {
    let bytes = day::read(file)?;
    let counts = day::count_by_type(&day::messages(&bytes)?);
    println!("{}: {counts:?}", file.display());
    for (witness, theirs) in
        [("itch5", itch::by_itch5(&bytes)?), ("itchy", itch::by_itchy(&bytes)?)]
    {
        let (messages, values) = itch::compare(&bytes, witness, &theirs)?;
        println!("{witness}: {messages} messages, {values} values equal");
    }
    Ok(())
}

fn same(first: &Path, others: &[PathBuf], prefix: bool) -> Result<()> {
    let a = day::read(first)?;
    let a = day::messages(&a)?;
    for other in others {
        let b = day::read(other)?;
        let b = day::messages(&b)?;
        if let Some(difference) = day::difference(&a, &b, prefix) {
            bail!("{} and {}: {difference}", first.display(), other.display());
        }
        let (n, m) = (a.len(), b.len());
        println!("{} ({n}) and {} ({m}): the same", first.display(), other.display());
    }
    Ok(())
}

fn show(file: &Path, json: bool) -> Result<()> {
    let bytes = day::read(file)?;
    let messages = day::messages(&bytes)?;
    let decoded = day::decode(&messages)?;
    if json {
        for message in &decoded {
            let map: serde_json::Map<String, serde_json::Value> = fields::of_itch(message)
                .into_iter()
                .map(|(name, value)| (name.to_string(), value.into()))
                .collect();
            println!("{}", serde_json::Value::from(map));
        }
    } else {
        println!("{} messages: {:?}", messages.len(), day::count_by_type(&messages));
    }
    Ok(())
}

fn bodies(file: &Path, ports: &[u16]) -> Result<()> {
    let (mut orders, mut reports) = (ouch::Tally::default(), ouch::Tally::default());
    for datagram in pcap::read(&day::read(file)?)? {
        let to = ports.contains(&datagram.to.port());
        if !to && !ports.contains(&datagram.from.port()) {
            continue;
        }
        let (header, packet) = mold::parse(&datagram.payload)
            .map_err(|error| anyhow::anyhow!("frame {}: {error:?}", datagram.frame))?;
        let mold::Packet::Messages(blocks) = packet else { continue };
        if header.sequence == 0 {
            continue;
        }
        for block in blocks {
            let one = if to && rialto::wire::ouch::decode_inbound(block).is_err() {
                // Malformed on purpose by the traffic: no other implementation to ask.
                orders.skipped += 1;
                Ok(())
            } else if to {
                ouch::compare_order(block, &mut orders)
            } else {
                ouch::compare_report(block, &mut reports)
            };
            one.with_context(|| format!("frame {}", datagram.frame))?;
        }
    }
    if orders.messages == 0 || reports.messages == 0 {
        bail!("no order or no report on these ports");
    }
    println!("slouch, orders: {orders}\nslouch, reports: {reports}");
    Ok(())
}
