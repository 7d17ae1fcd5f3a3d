//! Cases worked by hand from the rules: each command with the whole list of its events.

use super::Naive;
use crate::exchange::command::*;
use crate::exchange::event::*;
use crate::exchange::genesis::*;
use crate::types::*;

/// Two firms of one account and session each; symbol AAA, tick 10, lot 1.
fn genesis() -> Genesis {
    let account = |name: &str, firm| AccountSpec {
        name: Alpha::new(name).unwrap(),
        firm,
        cash: Notional(1_000_000),
        limits: Limits::default(),
        positions: vec![(Locate(1), 1_000)],
    };
    let session = |user: &str, firm| SessionSpec {
        user: Alpha::new(user).unwrap(),
        firm,
        default_account: AccountSlot(firm),
    };
    Genesis {
        core_version: CORE_VERSION,
        midnight: Nanos(0),
        day_of_year: 1,
        incarnation: b'A',
        feed_name: Alpha::new("RIALTO").unwrap(),
        hash_seed: 1,
        capacities: Capacities { orders_max: 8, price_pages_max: 4 },
        symbols: vec![SymbolSpec {
            symbol: Alpha::new("AAA").unwrap(),
            tick: 10,
            lot: 1,
            price_min: Price(10),
            price_max: Price(100_000),
            protection: 25,
        }],
        firms: vec![Alpha::new("ONE").unwrap(), Alpha::new("TWO").unwrap()],
        accounts: vec![account("A1", 0), account("B1", 1)],
        sessions: vec![session("ONE", 0), session("TWO", 1)],
    }
}

/// An exchange on which both sessions are logged in and the market is open.
struct Case {
    exchange: Naive,
    seq: u64,
    client: [u64; 2],
}

impl Case {
    fn new() -> Case {
        let genesis = genesis();
        let exchange = Naive::new(&genesis).unwrap();
        let mut case = Case { exchange, seq: 0, client: [1; 2] };
        let opening = case.apply(&Command::Genesis(&genesis.encode()));
        assert_eq!(
            opening,
            [
                "- f1 System O",
                "- f2 Directory 1",
                "- f3 TradingAction 1 T",
                "- f4 System S",
                "s0 r1 a0 Mark S",
                "s1 r1 a0 Mark S",
            ]
        );
        for slot in 0..2 {
            assert_eq!(case.login(slot, 1), [format!("s{slot} a0 LoggedIn 1")]);
        }
        assert_eq!(case.apply(&Command::Phase(Phase::Open)), ["- f5 System Q"]);
        case
    }

    fn apply(&mut self, command: &Command<'_>) -> Vec<String> {
        self.seq += 1;
        let mut events: Vec<Event> = Vec::new();
        self.exchange.apply(Seq(self.seq), Nanos(self.seq), command, &mut events);
        self.exchange.check();
        for (i, event) in events.iter().enumerate() {
            assert_eq!((event.head.command.0, event.head.index), (self.seq, i as u32));
        }
        events.iter().map(brief).collect()
    }

    fn login(&mut self, slot: u16, generation: u32) -> Vec<String> {
        self.apply(&Command::Login(Login {
            session: SessionSlot(slot),
            flags: 1,
            version: 1,
            generation,
            token: Alpha::BLANK,
            dead_time_ms: 5_000,
            client_nonce: [0; 16],
            server_nonce: [0; 16],
            ip: [0; 4],
            port: 0,
            zero: [0; 6],
            login_time: Nanos(u64::from(generation)),
            received: Nanos(0),
        }))
    }

    fn send(&mut self, slot: u16, body: MessageBody) -> Vec<String> {
        self.send_as(slot, self.client[slot as usize], Verdict::Ok, body)
    }

    fn send_as(&mut self, slot: u16, seq: u64, v: Verdict, body: MessageBody) -> Vec<String> {
        let next = &mut self.client[slot as usize];
        *next = (*next).max(seq + 1);
        let head = MessageHead {
            session: SessionSlot(slot),
            verdict: v as u8,
            body: 0,
            generation: 1,
            client_seq: seq,
            received: Nanos(0),
        };
        self.apply(&Command::Message(head, body))
    }

    fn enter(&mut self, slot: u16, urn: u32, side: u8, quantity: u32, price: u64) -> Vec<String> {
        self.send(slot, enter(urn, side, quantity, price))
    }
}

fn enter(urn: u32, side: u8, quantity: u32, price: u64) -> MessageBody {
    MessageBody::Enter(Enter {
        urn: Urn(urn),
        quantity: Quantity(quantity),
        price,
        symbol: Alpha::new("AAA").unwrap(),
        account: Alpha::BLANK,
        min_quantity: Quantity(0),
        cl_ord_id: Alpha::BLANK,
        side,
        tif: b'0',
        display: b'Y',
        capacity: b'A',
        iso: b'N',
        cross: b'N',
        flags: 0,
        zero: [0; 3],
    })
}

fn immediate(body: MessageBody, minimum: u32) -> MessageBody {
    let MessageBody::Enter(m) = body else { return body };
    MessageBody::Enter(Enter {
        tif: b'3',
        flags: FLAG_MIN_QUANTITY,
        min_quantity: Quantity(minimum),
        ..m
    })
}

fn replace(old_urn: u32, urn: u32, quantity: u32, price: u64) -> MessageBody {
    MessageBody::Replace(Replace {
        old_urn: Urn(old_urn),
        urn: Urn(urn),
        quantity: Quantity(quantity),
        tif: b'0',
        display: b'Y',
        iso: b'N',
        zero: 0,
        price,
        cl_ord_id: Alpha::BLANK,
        zero_tail: [0; 2],
    })
}

fn cancel(urn: u32, quantity: u32) -> MessageBody {
    MessageBody::Cancel(Cancel { urn: Urn(urn), quantity: Quantity(quantity) })
}

/// `issue.slot` of a reference.
fn r(order_ref: OrderRef) -> String {
    format!("{}.{}", order_ref.0 >> 32, order_ref.0 as u32)
}

/// An event in one line: session, report, feed and applied numbers, then what it says.
fn brief(event: &Event) -> String {
    let head = &event.head;
    let mut out = match head.session {
        NO_SESSION => "-".to_string(),
        slot => format!("s{}", slot.0),
    };
    for (letter, number) in [('r', head.report), ('f', head.feed)] {
        if number > 0 {
            out += &format!(" {letter}{number}");
        }
    }
    if head.session != NO_SESSION {
        out += &format!(" a{}", head.applied);
    }
    let what = match &event.body {
        EventBody::System(e) => format!("System {}", e.code as char),
        EventBody::Directory(e) => format!("Directory {}", e.locate.0),
        EventBody::TradingAction(e) => {
            format!("TradingAction {} {}", e.locate.0, e.state as char)
        }
        EventBody::SessionMark(e) => format!("Mark {}", e.code as char),
        EventBody::LoggedIn(e) => format!("LoggedIn {}", e.next_urn),
        EventBody::SessionEnded(e) => format!("Ended {}", e.by),
        EventBody::Applied(e) => format!("Applied {}", e.next_report),
        EventBody::Accepted(e) => format!("Accepted {} urn {}", r(e.order_ref), e.urn.0),
        EventBody::Executed(e) => format!(
            "Executed {} {} x {} @ {} leaves {} match {}",
            e.liquidity as char,
            r(e.order_ref),
            e.quantity.0,
            e.price.0,
            e.leaves.0,
            e.match_number.0
        ),
        EventBody::Rested(e) => {
            format!("Rested {} {} @ {}", r(e.order_ref), e.quantity.0, e.price.0)
        }
        EventBody::Canceled(e) => format!(
            "Canceled {} -{} leaves {} {}",
            r(e.order_ref),
            e.decrement.0,
            e.leaves.0,
            e.reason as char
        ),
        EventBody::Replaced(e) => format!(
            "Replaced {} by {} {} @ {}",
            r(e.old_ref),
            r(e.order_ref),
            e.quantity.0,
            e.price.0
        ),
        EventBody::Rejected(e) => format!("Rejected {} {:04x}", e.urn.0, e.reason),
        EventBody::NotApplied(e) => format!("NotApplied {} {}", e.from, e.count),
        EventBody::QueryResponse(e) => format!("Query {}", e.next_urn),
        EventBody::CancelRefused(e) => format!("CancelRefused {}", e.urn.0),
    };
    out + " " + &what
}

#[test]
fn price_then_time_and_both_sides_are_told() {
    let mut c = Case::new();
    assert_eq!(c.enter(0, 1, b'S', 50, 1_010), ["s0 r2 f6 a1 Accepted 1.0 urn 1"]);
    assert_eq!(c.enter(0, 2, b'S', 50, 1_000), ["s0 r3 f7 a2 Accepted 2.1 urn 2"]);
    assert_eq!(c.enter(0, 3, b'S', 50, 1_000), ["s0 r4 f8 a3 Accepted 3.2 urn 3"]);
    assert_eq!(
        c.enter(1, 1, b'B', 120, 1_000),
        [
            "s1 r2 a1 Accepted 4.3 urn 1",
            "s0 r5 f9 a3 Executed A 2.1 x 50 @ 1000 leaves 0 match 1",
            "s1 r3 a1 Executed R 4.3 x 50 @ 1000 leaves 70 match 1",
            "s0 r6 f10 a3 Executed A 3.2 x 50 @ 1000 leaves 0 match 2",
            "s1 r4 a1 Executed R 4.3 x 50 @ 1000 leaves 20 match 2",
            "- f11 Rested 4.3 20 @ 1000",
        ]
    );
    // The slot that came free last goes out first.
    assert_eq!(c.enter(0, 4, b'S', 1, 1_020), ["s0 r7 f12 a4 Accepted 5.2 urn 4"]);

    let buyer = c.exchange.account(AccountSlot(1)).unwrap();
    assert_eq!((buyer.cash_free.0, buyer.cash_held.0), (880_000, 20_000));
    assert_eq!(buyer.positions[0].free, 1_100);
    let seller = c.exchange.account(AccountSlot(0)).unwrap();
    assert_eq!((seller.cash_free.0, seller.cash_held.0), (1_100_000, 0));
    assert_eq!((seller.positions[0].free, seller.positions[0].held), (849, 51));
}

#[test]
fn immediate_orders_do_not_rest() {
    let mut c = Case::new();
    c.enter(0, 1, b'S', 50, 1_000);
    c.enter(0, 2, b'S', 50, 1_020);
    c.enter(0, 3, b'S', 50, 1_030);
    // Fill or kill: 100 within reach, 101 are not.
    assert_eq!(
        c.send(1, immediate(enter(1, b'B', 101, 1_020), 101)),
        ["s1 r2 a1 Accepted 4.3 urn 1", "s1 r3 a1 Canceled 4.3 -101 leaves 0 I"]
    );
    // A market order goes 25 beyond the best price and no further.
    assert_eq!(
        c.send(1, immediate(enter(2, b'B', 120, 0x7FFF_FFFF), 0)),
        [
            "s1 r4 a2 Accepted 5.3 urn 2",
            "s0 r5 f9 a3 Executed A 1.0 x 50 @ 1000 leaves 0 match 1",
            "s1 r5 a2 Executed R 5.3 x 50 @ 1000 leaves 70 match 1",
            "s0 r6 f10 a3 Executed A 2.1 x 50 @ 1020 leaves 0 match 2",
            "s1 r6 a2 Executed R 5.3 x 50 @ 1020 leaves 20 match 2",
            "s1 r7 a2 Canceled 5.3 -20 leaves 0 K",
        ]
    );
    assert_eq!(
        c.send(1, immediate(enter(3, b'S', 5, 0x7FFF_FFFF), 0)),
        ["s1 r8 a3 Accepted 6.3 urn 3", "s1 r9 a3 Canceled 6.3 -5 leaves 0 K"]
    );
    assert_eq!(c.send(1, immediate(enter(4, b'B', 5, 1_030), 4)), ["s1 r10 a4 Rejected 4 0024"]);
    assert_eq!(c.enter(1, 5, b'B', 5, 0x7FFF_FFFF), ["s1 r11 a5 Rejected 5 001d"]);
}

#[test]
fn checks_in_their_order() {
    let mut c = Case::new();
    let rows: [(u8, u32, u64, u16); 8] = [
        (b'T', 0, 0, 0x0009),
        (b'B', 0, 0, 0x0013),
        (b'B', 1_000_000, 0, 0x0013),
        (b'B', 1, 0, 0x001D),
        (b'B', 1, 1_005, 0x001D),
        (b'B', 1, 200_000, 0x0026),
        (b'B', 11, 100_000, 0x0020),
        (b'S', 1_001, 100_000, 0x0020),
    ];
    for (i, (side, quantity, price, reason)) in rows.into_iter().enumerate() {
        let urn = i as u32 + 1;
        let want = format!("s0 r{} a{urn} Rejected {urn} {reason:04x}", urn + 1);
        assert_eq!(c.enter(0, urn, side, quantity, price), [want]);
    }
    // A reference that is not above the last is settled without a report.
    assert_eq!(c.enter(0, 8, b'B', 1, 1_000), ["s0 a9 Applied 10"]);
}

#[test]
fn a_replace_has_four_outcomes() {
    let mut c = Case::new();
    c.enter(0, 1, b'B', 50, 1_000);
    c.enter(1, 1, b'S', 20, 1_000);
    // 1: nothing, for a dead order or a used reference.
    assert_eq!(c.send(0, replace(9, 10, 60, 1_000)), ["s0 a2 Applied 4"]);
    assert_eq!(c.send(0, replace(1, 1, 60, 1_000)), ["s0 a3 Applied 4"]);
    // 3: not now.
    let halt = |state| {
        let reason = Alpha::BLANK;
        Command::SymbolState(SymbolState { locate: Locate(1), state, zero: 0, reason })
    };
    assert_eq!(c.apply(&halt(b'H')), ["- f8 TradingAction 1 H"]);
    assert_eq!(c.send(0, replace(1, 2, 60, 1_000)), ["s0 r4 a4 Rejected 2 0015"]);
    assert_eq!(c.apply(&halt(b'T')), ["- f9 TradingAction 1 T"]);
    // 4: total 60 of which 20 are executed.
    assert_eq!(c.send(0, replace(1, 3, 60, 1_010)), ["s0 r5 f10 a5 Replaced 1.0 by 3.0 40 @ 1010"]);
    assert_eq!(c.send(0, cancel(3, 30)), ["s0 r6 f11 a6 Canceled 3.0 -30 leaves 10 U"]);
    assert_eq!(c.send(0, cancel(3, 30)), ["s0 a7 Applied 7"]);
    // 2: invalid, not above what is executed.
    assert_eq!(c.send(0, replace(3, 4, 20, 1_010)), ["s0 r7 f12 a8 Canceled 3.0 -10 leaves 0 U"]);
    assert_eq!(c.send(0, MessageBody::Query), ["s0 r8 a9 Query 4"]);
}

#[test]
fn gaps_duplicates_and_verdicts() {
    let mut c = Case::new();
    let query = MessageBody::Query;
    assert_eq!(
        c.send_as(0, 3, Verdict::Ok, query),
        ["s0 r2 a2 NotApplied 1 2", "s0 r3 a3 Query 1"]
    );
    assert_eq!(c.send_as(0, 3, Verdict::Ok, query), [""; 0]);
    assert_eq!(c.send_as(0, 4 + 65_537, Verdict::Ok, query), [""; 0]);
    assert_eq!(
        c.send_as(0, 5, Verdict::Ok, cancel(7, 0)),
        ["s0 r4 a4 NotApplied 4 1", "s0 a5 Applied 5"]
    );
    let unparsed = |letter, has_urn| {
        let cl_ord_id = Alpha::BLANK;
        MessageBody::Unparsed(Unparsed { letter, has_urn, urn: Urn(5), cl_ord_id })
    };
    let rows = [(b'O', 0, "s0 r5 a6 NotApplied 6 1"), (b'U', 1, "s0 r6 a7 Rejected 5 000f")];
    for (i, (letter, has_urn, want)) in rows.into_iter().enumerate() {
        let seq = 6 + i as u64;
        assert_eq!(c.send_as(0, seq, Verdict::Malformed, unparsed(letter, has_urn)), [want]);
    }
    assert_eq!(
        c.send_as(0, 8, Verdict::Throttled, enter(6, b'B', 1, 1_000)),
        ["s0 r7 a8 Rejected 6 0029"]
    );
    assert_eq!(c.send_as(0, 9, Verdict::Throttled, query), ["s0 r8 a9 NotApplied 9 1"]);
}

#[test]
fn a_lost_session_takes_its_orders_along() {
    let mut c = Case::new();
    c.enter(0, 1, b'B', 5, 1_000);
    c.enter(1, 1, b'S', 5, 1_010);
    let down = SessionDown { session: SessionSlot(0), zero: [0; 2], generation: 1 };
    assert_eq!(
        c.apply(&Command::SessionDown(down)),
        ["s0 a1 Ended 2", "s0 r3 f8 a1 Canceled 1.0 -5 leaves 0 Z"]
    );
    assert_eq!(c.apply(&Command::SessionDown(down)), [""; 0]);
    assert_eq!(c.enter(0, 2, b'B', 5, 1_000), [""; 0]);
    assert_eq!(
        c.apply(&Command::EndOfDay),
        [
            "s1 r3 f9 a1 Canceled 2.1 -5 leaves 0 E",
            "- f10 System M",
            "- f11 System E",
            "- f12 System C",
            "s0 r4 a1 Mark E",
            "s1 r4 a1 Mark E",
            "s1 a1 Ended 3",
        ]
    );
}

#[test]
fn full_tables_refuse() {
    let mut c = Case::new();
    // Four pages of 512 ticks of 10 each.
    for (i, price) in [10, 5_120, 10_240, 15_360].into_iter().enumerate() {
        assert_eq!(c.enter(0, i as u32 + 1, b'B', 1, price).len(), 1);
    }
    assert_eq!(c.enter(0, 5, b'B', 1, 20_480), ["s0 r6 a5 Rejected 5 000a"]);
    assert_eq!(c.enter(0, 6, b'B', 1, 15_350), ["s0 r7 f10 a6 Accepted 5.4 urn 6"]);
    for urn in 7..10 {
        assert_eq!(c.enter(0, urn, b'B', 1, 15_350).len(), 1);
    }
    assert_eq!(c.exchange.open_orders(), 8);
    assert_eq!(c.enter(0, 10, b'B', 1, 15_350), ["s0 r11 a10 Rejected 10 000a"]);
    // An immediate order takes a slot only while it is handled.
    assert_eq!(
        c.send(0, immediate(enter(11, b'B', 1, 15_350), 0)),
        ["s0 r12 a11 Accepted 9.8 urn 11", "s0 r13 a11 Canceled 9.8 -1 leaves 0 I"]
    );
}
