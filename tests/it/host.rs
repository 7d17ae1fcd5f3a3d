//! What a host may not give: a test that cannot run says so past the harness's capture.

use std::io::Write;
use std::net::UdpSocket;

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
