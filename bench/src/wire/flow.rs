//! The orders: what each session says, message by message, the same in every row.
//!
//! Sessions come in pairs, and a pair has a symbol of its own. Of seven messages of a session three
//! are limit orders that rest, three take the last one back, and the seventh meets its twin of the
//! other session: the first one's rests at the touch, the second one's, immediate or cancel, trades
//! with it. Sides change from round to round, so that neither runs out of cash or shares, and nothing
//! is left in the book but what was put there before. Must not know sockets or time.

use rialto::types::{ClOrdId, Price, Quantity, Symbol, Urn};
use rialto::wire::ouch::{Appendage, Cancel, Enter, Inbound};

/// Messages until a session's script begins anew.
pub const PERIOD: u32 = 7;
/// Middle of the market: pairs trade one tick above or below.
const MIDDLE: u32 = 100_000;
/// Distance between two prices.
const TICK: u32 = 100;
/// Prices on each side of the touch at which orders rest.
const LEVELS: u32 = 16;
/// Further prices behind those, for the orders that are put there before.
const DEEP_LEVELS: u32 = 64;
const QUANTITY: Quantity = Quantity(100);
/// Immediate or cancel; also what tells a server without a book that this order trades.
pub const IMMEDIATE: u8 = b'3';
const DAY: u8 = b'0';

/// One message and how its answer is found.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    /// As it is encoded.
    pub inbound: Inbound,
    /// Reference of the order that the answer names.
    pub urn: u32,
    /// The answer is a Canceled, else an Accepted.
    pub cancels: bool,
}

/// One session's place in the script.
#[derive(Clone, Debug)]
pub struct Flow {
    session: u32,
    symbol: Symbol,
    next_urn: u32,
    step: u32,
    resting: u32,
}

/// Symbol of the pair that `session` is one of.
pub fn symbol(session: u32) -> String {
    format!("W{:03}", session / 2)
}

impl Flow {
    /// A session at the beginning of its script; `next_urn` from 1.
    pub fn new(session: u32, next_urn: u32) -> Flow {
        let symbol = Symbol::new(&symbol(session)).unwrap_or_default();
        Flow { session, symbol, next_urn, step: 0, resting: 0 }
    }

    /// The next message of the script.
    #[inline]
    pub fn next(&mut self) -> Message {
        let (step, round) = (self.step % PERIOD, self.step / PERIOD);
        self.step += 1;
        match step {
            6 => {
                let tif = if self.session.is_multiple_of(2) { DAY } else { IMMEDIATE };
                // Whole rounds of both may stand in one datagram each: odd and even must not meet.
                let (maker, taker, price) = match round % 2 {
                    0 => (b'S', b'B', MIDDLE + TICK),
                    _ => (b'B', b'S', MIDDLE - TICK),
                };
                self.enter(if tif == DAY { maker } else { taker }, price, tif)
            }
            1 | 3 | 5 => {
                let urn = self.resting;
                let cancel = Cancel { urn: Urn(urn), quantity: Quantity(0) };
                Message { inbound: Inbound::Cancel(cancel), urn, cancels: true }
            }
            _ => {
                let away = TICK * (2 + self.next_urn % LEVELS);
                let message = match step {
                    2 => self.enter(b'S', MIDDLE + away, DAY),
                    _ => self.enter(b'B', MIDDLE - away, DAY),
                };
                self.resting = message.urn;
                message
            }
        }
    }

    /// An order that is put into the book before and stays: half of them among the script's prices.
    pub fn deep(&mut self) -> Message {
        let away = TICK * (2 + self.next_urn * 7 % (LEVELS + DEEP_LEVELS));
        match self.next_urn % 2 {
            0 => self.enter(b'B', MIDDLE - away, DAY),
            _ => self.enter(b'S', MIDDLE + away, DAY),
        }
    }

    #[inline]
    fn enter(&mut self, side: u8, price: u32, tif: u8) -> Message {
        let urn = self.next_urn;
        self.next_urn += 1;
        let enter = Enter {
            urn: Urn(urn),
            side,
            quantity: QUANTITY,
            symbol: self.symbol,
            price: u64::from(Price(price).0),
            tif,
            display: b'Y',
            capacity: b'P',
            iso: b'N',
            cross: b'N',
            cl_ord_id: ClOrdId::BLANK,
            appendage: Appendage::default(),
        };
        Message { inbound: Inbound::Enter(enter), urn, cancels: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// A book of prices and quantities is enough to see that nothing stays and everything answers.
    fn trade(packed: usize) {
        let mut flows = [Flow::new(4, 1), Flow::new(5, 1)];
        let mut open: BTreeMap<(usize, u32), (u8, u64)> = BTreeMap::new();
        let mut bought = [0u32; 2];
        for i in 0..2 * PERIOD as usize * packed * 2 {
            let who = i / packed % 2;
            let message = flows[who].next();
            match message.inbound {
                Inbound::Enter(e) if e.tif == IMMEDIATE => {
                    let maker = open.iter().find(|(_, o)| o.0 != e.side && o.1 == e.price);
                    let (&key, _) = maker.expect("its twin rests");
                    assert_eq!((who, key.0), (1, 0));
                    open.remove(&key);
                    bought[usize::from(e.side == b'B')] += 1;
                }
                Inbound::Enter(e) => {
                    let meets = |o: &(u8, u64)| match e.side {
                        b'B' => o.0 == b'S' && o.1 <= e.price,
                        _ => o.0 == b'B' && o.1 >= e.price,
                    };
                    assert!(!open.values().any(meets), "what rests does not trade");
                    open.insert((who, message.urn), (e.side, e.price));
                }
                Inbound::Cancel(_) => {
                    open.remove(&(who, message.urn)).expect("it is open");
                }
                _ => unreachable!("the script has no other message"),
            }
        }
        assert_eq!(bought[0], bought[1]);
        assert!(bought[0] > 0 && open.is_empty());
    }

    #[test]
    fn pairs_leave_nothing_behind_and_trade_both_ways() {
        trade(1);
        trade(25);
    }

    #[test]
    fn orders_put_there_before_do_not_trade() {
        let mut flow = Flow::new(0, 1);
        for _ in 0..1_000 {
            let Inbound::Enter(e) = flow.deep().inbound else { unreachable!("an order") };
            let touch = u64::from(MIDDLE);
            assert!(if e.side == b'B' { e.price < touch - 100 } else { e.price > touch + 100 });
        }
    }
}
