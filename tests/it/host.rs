//! What a host may not give: a test that cannot run says so past the harness's capture.

use rialto::clock::{Clock, SystemClock};
use std::io::Write;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicU32, Ordering};

/// Says on the terminal, whatever the harness captures, that a test proved nothing.
pub fn skipped(why: &str) {
    // Not eprintln!: that is captured and thrown away when the test passes.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

/// True when datagrams reach this host over the loopback interface; else says that it was skipped.
pub fn loopback() -> bool {
    let works = || {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.send_to(b"?", socket.local_addr()?)
    };
    match works() {
        Ok(_) => true,
        Err(e) => {
            skipped(&format!("no UDP over the loopback interface here: {e}"));
            false
        }
    }
}

/// A port of 127.0.0.1 that is free, and stays so while nobody listens there: below those that the
/// kernel hands out. Another one for each process and call.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let next = std::process::id() * 64 + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 20_000 + (next % 12_000) as u16;
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A line of `[venue]`: it is noon there, so that no restart finds that its day is over.
pub fn noon() -> String {
    let second = (SystemClock::new().now().0 / 1_000_000_000 % 86_400) as i64;
    format!("zone_offset_minutes = {}\n", (43_200 - second) / 60)
}
