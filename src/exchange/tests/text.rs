//! Commands and events as short text, so that a case is a table of lines.
//!
//! Commands: `S O urn side quantity symbol price`, `S U old new quantity price`, `S X urn quantity`,
//! `S Q`, `S ? letter urn` (`-` = none), all with `key=value` behind; `login S`, `logoff S next`,
//! `down S`, `phase NAME`, `mode NAME`, `state SYMBOL LETTER`, `tick`, `continue`, `end`. S is the session. Prices
//! are in 1/10,000; `market` is 0x7FFFFFFF.
//!
//! Events: `s` session, `r` report, `f` feed, `a` applied, then the body.

use super::super::command::*;
use super::super::event::*;
use crate::types::*;

struct Words<'a>(Vec<&'a str>);

impl Words<'_> {
    fn at(&self, index: usize) -> &str {
        self.0.iter().filter(|word| !word.contains('=')).nth(index).expect("a word is missing")
    }

    fn number(&self, index: usize) -> u64 {
        match self.at(index) {
            "market" => Price::MARKET.0 as u64,
            word => word.parse().expect("a number"),
        }
    }

    fn key(&self, key: &str) -> Option<&str> {
        self.0.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    fn letter(&self, key: &str, default: u8) -> u8 {
        self.key(key).map_or(default, |value| value.as_bytes()[0])
    }

    fn value(&self, key: &str, default: u64) -> u64 {
        self.key(key).map_or(default, |value| value.parse().expect("a number"))
    }

    fn cl_ord_id(&self) -> ClOrdId {
        ClOrdId::new(self.key("id").unwrap_or("")).expect("a client order id")
    }
}

/// A command from its text; `clients` counts client sequences and generations.
pub(super) fn parse(line: &str, clients: &mut [(u64, u32)]) -> Command<'static> {
    let words = Words(line.split_whitespace().collect());
    let session = |index| SessionSlot(words.number(index) as u16);
    let client = |index| clients.get(session(index).0 as usize).copied().unwrap_or((1, 1));
    let generation = |index| words.value("gen", client(index).1 as u64) as u32;
    match words.at(0) {
        "tick" => Command::Tick,
        "continue" => Command::Continue,
        "end" => Command::EndOfDay,
        "phase" => Command::Phase(match words.at(1) {
            "open" => Phase::Open,
            "closed" => Phase::Closed,
            _ => Phase::PreOpen,
        }),
        "mode" => Command::Mode(match words.at(1) {
            "cancels" => Mode::CancelOnly,
            "halt" => Mode::Halt,
            _ => Mode::Normal,
        }),
        "state" => Command::SymbolState(SymbolState {
            locate: Locate(words.number(1) as u16),
            state: words.at(2).as_bytes()[0],
            zero: 0,
            reason: Alpha::BLANK,
        }),
        "login" => {
            let login = Login {
                session: session(1),
                flags: words.value("flags", 0) as u8,
                version: 1,
                generation: generation(1),
                token: Alpha::BLANK,
                dead_time_ms: 5_000,
                client_nonce: [1; 16],
                server_nonce: [2; 16],
                ip: [127, 0, 0, 1],
                port: 9,
                zero: [0; 6],
                login_time: Nanos(words.value("time", 0)),
                received: Nanos(0),
            };
            if let Some(client) = clients.get_mut(login.session.0 as usize) {
                client.1 = login.generation;
            }
            Command::Login(login)
        }
        "logoff" => Command::Logoff(Logoff {
            session: session(1),
            zero: [0; 2],
            generation: generation(1),
            client_next: words.number(2),
            received: Nanos(0),
        }),
        "down" => Command::SessionDown(SessionDown {
            session: session(1),
            zero: [0; 2],
            generation: generation(1),
        }),
        _ => {
            let head = MessageHead {
                session: session(0),
                verdict: words.value("verdict", 0) as u8,
                body: 0,
                generation: generation(0),
                client_seq: words.value("seq", client(0).0),
                received: Nanos(0),
            };
            if let Some(client) = clients.get_mut(head.session.0 as usize) {
                client.0 = client.0.max(head.client_seq.saturating_add(1));
            }
            Command::Message(head, parse_body(&words))
        }
    }
}

fn parse_body(words: &Words<'_>) -> MessageBody {
    match words.at(1) {
        "O" => MessageBody::Enter(Enter {
            urn: Urn(words.number(2) as u32),
            side: words.at(3).as_bytes()[0],
            quantity: Quantity(words.number(4) as u32),
            symbol: Symbol::new(words.at(5)).expect("a symbol"),
            price: words.number(6),
            account: AccountName::new(words.key("account").unwrap_or("")).expect("an account"),
            min_quantity: Quantity(words.value("min", 0) as u32),
            cl_ord_id: words.cl_ord_id(),
            tif: words.letter("tif", b'0'),
            display: words.letter("display", b'Y'),
            capacity: words.letter("capacity", b'A'),
            iso: words.letter("iso", b'N'),
            cross: words.letter("cross", b'N'),
            flags: words.key("account").map_or(0, |_| FLAG_ACCOUNT)
                | words.key("min").map_or(0, |_| FLAG_MIN_QUANTITY),
            zero: [0; 3],
        }),
        "U" => MessageBody::Replace(Replace {
            old_urn: Urn(words.number(2) as u32),
            urn: Urn(words.number(3) as u32),
            quantity: Quantity(words.number(4) as u32),
            price: words.number(5),
            tif: words.letter("tif", b'0'),
            display: words.letter("display", b'Y'),
            iso: words.letter("iso", b'N'),
            zero: 0,
            cl_ord_id: words.cl_ord_id(),
            zero_tail: [0; 2],
        }),
        "X" => MessageBody::Cancel(Cancel {
            urn: Urn(words.number(2) as u32),
            quantity: Quantity(words.number(3) as u32),
        }),
        "Q" => MessageBody::Query,
        _ => MessageBody::Unparsed(Unparsed {
            letter: words.at(2).as_bytes()[0],
            has_urn: (words.at(3) != "-") as u8,
            urn: Urn(words.at(3).parse().unwrap_or(0)),
            cl_ord_id: words.cl_ord_id(),
        }),
    }
}

/// `count of references.slot`.
fn order(order_ref: OrderRef) -> String {
    format!("{}.{}", order_ref.0 >> 32, order_ref.0 as u32)
}

/// An event as text.
pub(super) fn show(event: &Event) -> String {
    let head = &event.head;
    let mut out = String::new();
    if head.session != NO_SESSION {
        out += &format!("s{} ", head.session.0);
    }
    if head.report != 0 {
        out += &format!("r{} ", head.report);
    }
    if head.feed != 0 {
        out += &format!("f{} ", head.feed);
    }
    if head.session != NO_SESSION {
        out += &format!("a{} ", head.applied);
    }
    out + &show_body(&event.body)
}

fn show_body(body: &EventBody) -> String {
    match body {
        EventBody::System(b) => format!("System {}", b.code as char),
        EventBody::Directory(b) => format!("Directory {} {} lot {}", b.locate.0, b.symbol, b.lot),
        EventBody::TradingAction(b) => format!("Trading {} {}", b.symbol, b.state as char),
        EventBody::SessionMark(b) => format!("Mark {}", b.code as char),
        EventBody::LoggedIn(b) => format!(
            "LoggedIn {} flags {} report {} urn {}",
            b.generation, b.flags, b.next_report, b.next_urn
        ),
        EventBody::SessionEnded(b) => format!("Ended {} by {}", b.generation, b.by),
        EventBody::Applied(b) => format!("Applied {}", b.next_report),
        EventBody::Accepted(b) => format!(
            "Accepted {} urn {} {} {} {} @{} account {} {}",
            order(b.order_ref),
            b.urn.0,
            b.side.letter() as char,
            b.quantity.0,
            b.symbol,
            b.price.0,
            b.account.0,
            if b.on_book == 1 { "book" } else { "-" },
        ),
        EventBody::Executed(b) => format!(
            "Executed {} urn {} {} {} @{} leaves {} match {} {}",
            order(b.order_ref),
            b.urn.0,
            b.side.letter() as char,
            b.quantity.0,
            b.price.0,
            b.leaves.0,
            b.match_number.0,
            b.liquidity as char,
        ),
        EventBody::Rested(b) => {
            format!(
                "Rested {} {} {} @{}",
                order(b.order_ref),
                b.side.letter() as char,
                b.quantity.0,
                b.price.0
            )
        }
        EventBody::Canceled(b) => format!(
            "Canceled {} urn {} -{} leaves {} {}{}",
            order(b.order_ref),
            b.urn.0,
            b.decrement.0,
            b.leaves.0,
            b.reason as char,
            if b.was_resting == 1 { " book" } else { "" },
        ),
        EventBody::Replaced(b) => format!(
            "Replaced {} urn {} by {} urn {} {} {} @{} {}",
            order(b.old_ref),
            b.old_urn.0,
            order(b.order_ref),
            b.urn.0,
            b.side.letter() as char,
            b.quantity.0,
            b.price.0,
            if b.on_book == 1 { "book" } else { "-" },
        ),
        EventBody::Rejected(b) => {
            format!("Rejected {} {:04x} {:?}", b.urn.0, b.reason, b.cl_ord_id)
        }
        EventBody::NotApplied(b) => format!("NotApplied {} {}", b.from, b.count),
        EventBody::QueryResponse(b) => format!("Query {}", b.next_urn),
        EventBody::CancelRefused(b) => format!("CancelRefused {}", b.urn.0),
    }
}
