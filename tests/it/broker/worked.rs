//! The worked exchange of docs/connect.md, made by the client itself: the page cannot drift.
//!
//! `UPDATE_DOCS=1 cargo test --test it worked` writes it anew.

use super::fake::*;
use rialto::broker::*;
use rialto::net::{MemoryNetwork, MemoryPort, Port};
use rialto::types::*;
use std::fmt::Write;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/connect.md");
const BEGIN: &str = "<!-- worked exchange: begin -->\n";
const END: &str = "<!-- worked exchange: end -->\n";

/// Groups of four bytes, eight to a line.
fn hex(bytes: &[u8]) -> String {
    let mut out = String::new();
    for line in bytes.chunks(32) {
        let groups: Vec<String> = line
            .chunks(4)
            .map(|group| group.iter().map(|byte| format!("{byte:02x}")).collect())
            .collect();
        writeln!(out, "{}", groups.join(" ")).unwrap();
    }
    out
}

struct Worked {
    fake: Fake<MemoryPort>,
    broker: Broker<MemoryPort>,
    now: Nanos,
    number: usize,
    text: String,
}

impl Worked {
    fn poll(&mut self) {
        self.now = self.now.plus(50_000);
        self.broker.poll(self.now, |_| {});
    }

    /// Prints the datagrams of one direction that came since the last call, one title each.
    fn show(&mut self, from_client: bool, titles: &[&str]) {
        let datagrams: Vec<Vec<u8>> = if from_client {
            self.fake.received.drain(..).map(|(_, bytes)| bytes).collect()
        } else {
            self.fake.sent.drain(..).collect()
        };
        assert_eq!(datagrams.len(), titles.len(), "{titles:?}");
        for (bytes, title) in datagrams.iter().zip(titles) {
            self.number += 1;
            let who = if from_client { "Client" } else { "Exchange" };
            let (n, len) = (self.number, bytes.len());
            writeln!(self.text, "{n}. {who}, {len} bytes: {title}\n```\n{}```", hex(bytes))
                .unwrap();
        }
    }

    /// The client's turn, then the exchange's.
    fn turn(&mut self, client: &[&str], exchange: &[&str]) {
        self.poll();
        self.now = self.now.plus(50_000);
        self.fake.pump(self.now);
        self.show(true, client);
        self.show(false, exchange);
    }
}

fn worked_exchange() -> String {
    let network = MemoryNetwork::new();
    let gateway = address("127.0.0.1:9001");
    let client = address("127.0.0.1:40000");
    let fake = Fake::new(vec![network.bind(gateway).unwrap()]);
    let config = BrokerConfig { seed: Some(1), ..BrokerConfig::new(user(), KEY, vec![gateway]) };
    let broker = Broker::new(config, network.bind(client).unwrap()).unwrap();
    assert_eq!(broker.port().local(), client);
    let mut w = Worked { fake, broker, now: START, number: 0, text: String::new() };

    w.turn(&["L, nonce and HMAC still zero"], &["H with the nonce to sign"]);
    w.turn(
        &["L again, signed: the HMAC covers the block's bytes 0 to 71, then 7f000001 2329"],
        &["A: token, downstream name, next report 2, applied 0, next URN 1, dead time 5,000 ms"],
    );
    w.turn(&["asks for report 1, which came before the login"], &["report 1: S, the day begins"]);
    let order = NewOrder { cl_ord_id: ClOrdId::new("first").unwrap(), ..order() };
    let first = w.broker.enter(&order).unwrap();
    w.turn(
        &["message 1: O, URN 1, buy 100 ALPH at 10.0000, day"],
        &["report 2: A, URN 1, order reference 4294967296", "K: applied 1, next report 3"],
    );
    w.fake.executed(first.urn, 40, 1);
    w.poll();
    w.fake.pump(w.now);
    w.show(true, &[]);
    w.show(false, &["report 3: E, URN 1 trades 40 at 10.0000, it was resting, match 1"]);
    w.broker.cancel(first.urn, Quantity(0)).unwrap();
    w.turn(
        &["message 2: X, URN 1, nothing stays open"],
        &["report 4: C, URN 1 loses 60 shares, as asked for", "K: applied 2, next report 5"],
    );
    w.broker.cancel(first.urn, Quantity(0)).unwrap();
    w.turn(&["message 3: X of an order that is gone"], &["K alone: applied 3, no report"]);
    w.poll();
    w.now = w.now.plus(1_000 * MS);
    w.turn(&["heartbeat: next message 4"], &["heartbeat: next report 5"]);
    w.broker.logoff();
    w.turn(
        &["logoff: next message 4"],
        &[
            "K: applied 3, next report 5",
            "end of session, first of three",
            "end of session",
            "end of session",
        ],
    );
    w.text
}

#[test]
fn the_worked_exchange_of_the_connect_page_is_what_the_client_does() {
    let worked = worked_exchange();
    let page = std::fs::read_to_string(PAGE).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the page's marker");
    let (shown, after) = rest.split_once(END).expect("the page's second marker");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(PAGE, format!("{before}{BEGIN}{worked}{END}{after}")).unwrap();
    } else {
        assert_eq!(shown, worked, "UPDATE_DOCS=1 cargo test --test it worked");
    }
}
