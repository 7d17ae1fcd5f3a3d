//! UDP echo over AF_XDP: `echo INTERFACE ADDRESS:PORT`, as root. Says which mode works, and every
//! second what it has done. Stop it with Ctrl-C; program and sockets vanish with it.

use std::net::SocketAddrV4;
use std::process::ExitCode;
use std::time::Duration;

use af_xdp::packet::{Address, Datagram, Parser, Template, UdpChecksum};
use af_xdp::{Config, Filter, Interface, Opened, Socket, open};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [interface, address] = &words[..] else {
        eprintln!("usage: echo INTERFACE ADDRESS:PORT");
        return ExitCode::FAILURE;
    };
    let Ok(address) = address.parse() else {
        eprintln!("{address}: not an IPv4 address with a port");
        return ExitCode::FAILURE;
    };
    match start(interface, address) {
        Ok(opened) => serve(opened),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn start(interface: &str, address: SocketAddrV4) -> af_xdp::Result<Opened> {
    let mut config = Config::new(interface, Filter::new(&[address], None)?);
    config.queues = (0..Interface::named(interface)?.queues()).collect();
    config.probe = Some(Duration::from_secs(5));
    let opened = open(&config)?;
    for refusal in &opened.refused {
        eprintln!("not {}: {}", refusal.mode, refusal.reason);
    }
    eprintln!("{address} on {interface}: {}, pages {:?}", opened.mode, opened.pages);
    Ok(opened)
}

/// Runs until the process is stopped. Program and link live in `opened`.
fn serve(mut opened: Opened) -> ExitCode {
    let mut slept = Duration::ZERO;
    loop {
        let mut echoed = 0;
        for socket in &mut opened.sockets {
            echoed += echo(socket);
        }
        if echoed != 0 {
            continue;
        }
        // A server that has a core to itself would spin here.
        std::thread::sleep(Duration::from_micros(50));
        slept += Duration::from_micros(100); // about: sleeping takes longer than asked
        if slept.as_secs() >= 1 {
            slept = Duration::ZERO;
            for socket in &opened.sockets {
                eprintln!(
                    "queue {}: {:?} {:?}",
                    socket.queue(),
                    socket.rx.counters(),
                    socket.tx.counters()
                );
                eprintln!("queue {}: {:?}", socket.queue(), socket.statistics());
            }
        }
    }
}

/// Answers what waits; returns how many frames there were.
fn echo(socket: &mut Socket) -> usize {
    let tx = &mut socket.tx;
    let count = socket.rx.receive(64, |frame| {
        let Ok(datagram) = Parser::default().parse(frame) else { return };
        let headers = Template::new(&answer(&datagram), UdpChecksum::Zero);
        tx.send(|buffer| {
            let at = headers.payload_at();
            buffer[at..at + datagram.payload.len()].copy_from_slice(datagram.payload);
            headers.finish(buffer, datagram.payload.len()).unwrap_or(0)
        });
    });
    tx.kick();
    count
}

/// The way back: both ends of everything swapped.
fn answer(datagram: &Datagram<'_>) -> Address {
    Address {
        source_mac: datagram.destination_mac,
        destination_mac: datagram.source_mac,
        source: datagram.destination,
        destination: datagram.source,
        vlan: datagram.vlan,
        ttl: 64,
        traffic_class: 0,
    }
}
