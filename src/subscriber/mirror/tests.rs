use super::*;
use crate::wire::itch::{
    Add, Canceled, Deleted, Directory, Executed, Prefix, Replaced, System, TradingAction,
};

fn prefix(locate: u16, command: u16) -> Prefix {
    Prefix { locate: Locate(locate), tracking: command, timestamp: 1_000 + u64::from(command) }
}

fn symbol(locate: u16) -> Symbol {
    Symbol::new(&format!("SYM{locate}")).unwrap()
}

fn add(command: u16, order_ref: u64, side: Side, quantity: u32, price: u32) -> Message {
    Message::Add(Add {
        prefix: prefix(1, command),
        order_ref: OrderRef(order_ref),
        side,
        quantity: Quantity(quantity),
        symbol: symbol(1),
        price: Price(price),
    })
}

fn executed(command: u16, order_ref: u64, quantity: u32) -> Message {
    Message::Executed(Executed {
        prefix: prefix(1, command),
        order_ref: OrderRef(order_ref),
        quantity: Quantity(quantity),
        match_number: MatchNumber(77),
    })
}

fn canceled(command: u16, order_ref: u64, quantity: u32) -> Message {
    let (order_ref, quantity) = (OrderRef(order_ref), Quantity(quantity));
    Message::Canceled(Canceled { prefix: prefix(1, command), order_ref, quantity })
}

fn deleted(command: u16, order_ref: u64) -> Message {
    Message::Deleted(Deleted { prefix: prefix(1, command), order_ref: OrderRef(order_ref) })
}

fn replaced(command: u16, old: u64, new: u64, quantity: u32, price: u32) -> Message {
    Message::Replaced(Replaced {
        prefix: prefix(1, command),
        old_ref: OrderRef(old),
        order_ref: OrderRef(new),
        quantity: Quantity(quantity),
        price: Price(price),
    })
}

/// Price and shares.
type Pair = Option<(u32, u64)>;

#[derive(Default)]
struct Heard {
    executions: Vec<(u64, u32, u32)>,
    bbos: Vec<(Pair, Pair)>,
}

impl MirrorListener for Heard {
    fn on_execution(&mut self, e: &Execution) {
        self.executions.push((e.order_ref.0, e.price.0, e.quantity.0));
    }
    fn on_bbo(&mut self, _: Locate, bbo: &Bbo, _: u64) {
        let pair = |top: Option<Top>| top.map(|t| (t.price.0, t.quantity));
        self.bbos.push((pair(bbo.bid), pair(bbo.ask)));
    }
}

fn mirror_of(heard: &mut Heard, messages: &[Message]) -> BookMirror {
    let mut mirror = BookMirror::default();
    for locate in 1..=2 {
        let directory = Directory::common_stock(prefix(locate, 0), symbol(locate), 100);
        tell(&mut mirror, heard, &Message::Directory(directory)).unwrap();
    }
    for message in messages {
        tell(&mut mirror, heard, message).unwrap();
    }
    mirror
}

fn tell(mirror: &mut BookMirror, heard: &mut Heard, m: &Message) -> Result<(), MirrorError> {
    let mut bytes = [0; 64];
    let len = m.encode(&mut bytes);
    mirror.apply(&bytes[..len], false, heard)
}

fn ladder(mirror: &BookMirror, side: Side) -> Vec<(u32, u64, u32)> {
    mirror.levels(Locate(1), side).map(|t| (t.price.0, t.quantity, t.orders)).collect()
}

fn queue(mirror: &BookMirror, side: Side, price: u32) -> Vec<(u64, u32)> {
    let orders = mirror.queue(Locate(1), side, Price(price));
    orders.map(|o| (o.order_ref.0, o.quantity.0)).collect()
}

#[test]
fn a_book_follows_every_message() {
    let mut heard = Heard::default();
    let mut mirror = mirror_of(
        &mut heard,
        &[
            add(1, 11, Side::Buy, 100, 500),
            add(2, 12, Side::Buy, 200, 500),
            add(3, 13, Side::Buy, 300, 490),
            add(4, 21, Side::Sell, 400, 510),
            add(5, 22, Side::Sell, 500, 520),
            canceled(6, 12, 50),
            replaced(7, 11, 14, 110, 500),
            executed(8, 21, 400),
            executed(8, 22, 100),
            deleted(9, 13),
        ],
    );
    assert_eq!(ladder(&mirror, Side::Buy), [(500, 260, 2)]);
    assert_eq!(ladder(&mirror, Side::Sell), [(520, 400, 1)]);
    assert_eq!(queue(&mirror, Side::Buy, 500), [(12, 150), (14, 110)], "replaced goes to the back");
    assert_eq!(heard.executions, [(21, 510, 400), (22, 520, 100)]);
    assert_eq!(mirror.open_orders(), 3);
    assert_eq!(mirror.order(OrderRef(14)).unwrap().price, Price(500));
    assert_eq!(mirror.order(OrderRef(13)), None);
    assert_eq!(mirror.locate(symbol(2)), Some(Locate(2)));

    // Best prices are told once per command and only when they changed: not for 490 and 520, and
    // not between the two executions of command 8.
    assert_eq!(
        heard.bbos,
        [
            (Some((500, 100)), None),
            (Some((500, 300)), None),
            (Some((500, 300)), Some((510, 400))),
            (Some((500, 250)), Some((510, 400))),
            (Some((500, 260)), Some((510, 400))),
            (Some((500, 260)), Some((520, 400))),
        ]
    );
    heard.bbos.clear();
    tell(&mut mirror, &mut heard, &deleted(10, 12)).unwrap();
    assert!(heard.bbos.is_empty());
    mirror.end_of_command(&mut heard);
    assert_eq!(heard.bbos, [(Some((500, 110)), Some((520, 400)))]);
}

#[test]
fn contradictions_are_errors_and_change_nothing() {
    let mut heard = Heard::default();
    let orders = [add(1, 11, Side::Buy, 100, 500), add(2, 12, Side::Buy, 100, 500)];
    let mut mirror = mirror_of(&mut heard, &orders);
    let digest = mirror.digest();
    let other = |m: Message| match m {
        Message::Deleted(m) => Message::Deleted(Deleted { prefix: prefix(2, 9), ..m }),
        m => m,
    };
    let cases = [
        (deleted(9, 99), MirrorError::UnknownOrder(OrderRef(99))),
        (executed(9, 99, 1), MirrorError::UnknownOrder(OrderRef(99))),
        (replaced(9, 99, 100, 1, 1), MirrorError::UnknownOrder(OrderRef(99))),
        (add(9, 11, Side::Sell, 1, 600), MirrorError::DoubleOrder(OrderRef(11))),
        (replaced(9, 11, 12, 1, 1), MirrorError::DoubleOrder(OrderRef(12))),
        (replaced(9, 11, 11, 1, 1), MirrorError::DoubleOrder(OrderRef(11))),
        (executed(9, 11, 101), MirrorError::BadQuantity(OrderRef(11))),
        (canceled(9, 11, 0), MirrorError::BadQuantity(OrderRef(11))),
        (add(9, 13, Side::Sell, 0, 600), MirrorError::BadQuantity(OrderRef(13))),
        (other(deleted(9, 11)), MirrorError::WrongSymbol(OrderRef(11))),
        (
            Message::Directory(Directory::common_stock(prefix(1, 9), symbol(3), 1)),
            MirrorError::BadDirectory(Locate(1)),
        ),
        (
            Message::TradingAction(TradingAction {
                prefix: prefix(7, 9),
                symbol: symbol(7),
                state: b'T',
                reason: Alpha::BLANK,
            }),
            MirrorError::UnknownLocate(Locate(7)),
        ),
    ];
    for (message, error) in cases {
        assert_eq!(tell(&mut mirror, &mut heard, &message), Err(error));
        assert_eq!(mirror.digest(), digest);
    }
    assert!(mirror.apply(b"", true, &mut ()).is_err());
    assert!(mirror.apply(&[b'A'; 35], true, &mut ()).is_err());
}

#[test]
fn the_digest_sees_order_price_quantity_and_queue() {
    let first = [add(1, 11, Side::Buy, 100, 500), add(2, 12, Side::Buy, 100, 500)];
    let swapped = [first[1], first[0]];
    let digest = |messages: &[Message]| mirror_of(&mut Heard::default(), messages).digest();
    assert_ne!(digest(&first), digest(&swapped));
    assert_eq!(digest(&[]), BookDigest::default().finish());
    assert_eq!(digest(&first), digest(&[first[0], deleted(2, 11), first[0], first[1]]));
    assert_ne!(digest(&first), digest(&[first[0], first[1], canceled(3, 12, 1)]));
    let mut own = BookDigest::default();
    own.order(Locate(1), Side::Buy, Price(500), OrderRef(11), Quantity(100));
    own.order(Locate(1), Side::Buy, Price(500), OrderRef(12), Quantity(100));
    assert_eq!(own.finish(), digest(&first));
}

#[test]
fn symbols_states_and_system_events_are_kept() {
    let mut heard = Heard::default();
    let halt = TradingAction {
        prefix: prefix(2, 3),
        symbol: symbol(2),
        state: b'H',
        reason: Alpha::BLANK,
    };
    let system = System { prefix: prefix(0, 4), code: b'Q' };
    let mut mirror =
        mirror_of(&mut heard, &[Message::TradingAction(halt), Message::System(system)]);
    let symbols: Vec<_> = mirror.symbols().collect();
    assert_eq!(symbols[1].1, MirrorSymbol { symbol: symbol(2), round_lot: 100, state: b'H' });
    assert_eq!(mirror.system(), b'Q');
    mirror.clear();
    assert_eq!(mirror.symbols().count(), 0);
}
