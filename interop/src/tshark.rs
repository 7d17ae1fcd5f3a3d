//! MoldUDP64 packets of a capture as tshark dissects them.
//!
//! tshark's `moldudp64` knows head and blocks and tells heartbeats, requests and ends of session
//! apart. Own blocks and OUCH bodies are bytes to it, which is what is compared here.

use crate::pcap::Datagram;
use anyhow::{Context, Result, bail};
use rialto::wire::mold::{self, Packet};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

/// Packets of each kind and direction that were compared.
#[derive(Default, Debug)]
pub struct Report {
    /// (port, `to` or `from` it, kind) -> packets.
    pub packets: BTreeMap<(u16, &'static str, &'static str), usize>,
    /// Blocks compared, byte by byte.
    pub blocks: usize,
    /// Bytes in these.
    pub bytes: usize,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for ((port, direction, kind), count) in &self.packets {
            writeln!(f, "  {direction} port {port}: {count} {kind}")?;
        }
        write!(f, "  {} blocks, {} bytes equal", self.blocks, self.bytes)
    }
}

/// The fields that tshark prints, one frame per line.
const FIELDS: [&str; 9] = [
    "frame.number",
    "moldudp64.session",
    "moldudp64.sequence",
    "moldudp64.count",
    "moldudp64.msglen",
    "moldudp64.msgseq",
    "moldudp64.msgdata",
    "moldudp64.request",
    "_ws.expert.message",
];

/// Runs tshark over a capture whose `ports` carry MoldUDP64; returns its lines.
pub fn run(pcap: &Path, ports: &[u16]) -> Result<String> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-T", "fields", "-E", "separator=/t", "-E", "occurrence=a"]);
    command.args(["-E", "aggregator=,", "-Y", "moldudp64"]).arg("-r").arg(pcap);
    for port in ports {
        command.arg("-d").arg(format!("udp.port=={port},moldudp64"));
    }
    for field in FIELDS {
        command.args(["-e", field]);
    }
    let output = command.output().context("starting tshark (apt-get install tshark)")?;
    if !output.status.success() {
        bail!("tshark: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// What tshark should print for a datagram, by our own decode; and its kind.
fn expected(datagram: &Datagram) -> Result<(String, &'static str, usize, usize)> {
    let (header, packet) = mold::parse(&datagram.payload)
        .map_err(|error| anyhow::anyhow!("frame {}: {error:?}", datagram.frame))?;
    let (mut lengths, mut numbers, mut data) = (Vec::new(), Vec::new(), Vec::new());
    let (mut blocks, mut bytes) = (0, 0);
    let kind = match packet {
        Packet::Heartbeat => "heartbeats",
        Packet::EndOfSession => "ends of session",
        Packet::Request => "requests",
        Packet::Messages(all) => {
            for (i, block) in all.enumerate() {
                lengths.push(block.len().to_string());
                numbers.push((header.sequence + i as u64).to_string());
                blocks += 1;
                bytes += block.len();
                // tshark's word for a field without bytes.
                let mut hex = if block.is_empty() { "<MISSING>".into() } else { String::new() };
                for byte in block {
                    write!(hex, "{byte:02x}")?;
                }
                data.push(hex);
            }
            if header.sequence == 0 { "own blocks" } else { "messages" }
        }
    };
    let line = format!(
        "{}\t{}\t{}\t{}\t{}\t{}\t{}",
        datagram.frame,
        header.session.text(),
        header.sequence,
        header.count,
        lengths.join(","),
        numbers.join(","),
        data.join(","),
    );
    Ok((line, kind, blocks, bytes))
}

/// Compares tshark's lines with our own decode of the same capture.
pub fn compare(datagrams: &[Datagram], ports: &[u16], lines: &str) -> Result<Report> {
    let mut report = Report::default();
    let mut lines = lines.lines();
    let ours = |d: &&Datagram| ports.contains(&d.to.port()) || ports.contains(&d.from.port());
    for datagram in datagrams.iter().filter(ours) {
        let (want, kind, blocks, bytes) = expected(datagram)?;
        let line = lines.next().with_context(|| format!("tshark has no line for {want:?}"))?;
        let mut columns: Vec<String> = line.split('\t').map(str::to_string).collect();
        columns.resize(FIELDS.len(), String::new());
        columns[1] = columns[1].trim_end().to_string();
        let got = columns[..7].join("\t");
        if got != want {
            bail!("tshark: {got:?}, we: {want:?}");
        }
        let complaint = columns[8].to_lowercase();
        if complaint.contains("invalid") || complaint.contains("malformed") {
            bail!("tshark complains about frame {}: {}", datagram.frame, columns[8]);
        }
        // 4.0 marks every bare head with a count as a request, an end of session too.
        let bare = matches!(kind, "requests" | "ends of session");
        if bare == columns[7].is_empty() {
            bail!("frame {}: {kind} here, request field {:?} there", datagram.frame, columns[7]);
        }
        let to = ports.contains(&datagram.to.port());
        let (port, direction) =
            if to { (datagram.to.port(), "to") } else { (datagram.from.port(), "from") };
        *report.packets.entry((port, direction, kind)).or_default() += 1;
        report.blocks += blocks;
        report.bytes += bytes;
    }
    if let Some(line) = lines.next() {
        bail!("tshark has one more: {line:?}");
    }
    Ok(report)
}
