//! Books built from the feed, order by order.
//!
//! Consumes ITCH messages in order; produces, at any time, best prices, depth and the queue of
//! each level, a digest to compare with the exchange's own book, executions as they come, and the
//! new best prices at the end of each command. Strict: a correct feed never yields an error, and
//! after one the mirror must not be believed. Must not know packets or sockets.

use super::orders::{MirrorOrder, NONE, Orders};
use crate::types::*;
use crate::wire::itch::{self, ItchError, Message};
use std::collections::BTreeMap;

/// Why a message contradicts the feed so far. The state is as before the message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MirrorError {
    /// The bytes are no message of the venue.
    #[error("not a message of this feed: {0:?}")]
    Malformed(ItchError),
    /// A message about a symbol without a directory message.
    #[error("stock locate {} is not in the directory", .0.0)]
    UnknownLocate(Locate),
    /// A symbol's directory message contradicts an earlier one, or leaves its range.
    #[error("stock locate {} is given twice or out of range", .0.0)]
    BadDirectory(Locate),
    /// A message about an order that is not on the book.
    #[error("order {:#x} is not on the book", .0.0)]
    UnknownOrder(OrderRef),
    /// An order that is on the book already is added again.
    #[error("order {:#x} is on the book already", .0.0)]
    DoubleOrder(OrderRef),
    /// A message takes more shares off an order than it has, or none, or adds one without shares.
    #[error("order {:#x} has not that many shares", .0.0)]
    BadQuantity(OrderRef),
    /// The order belongs to another symbol than the message says.
    #[error("order {:#x} belongs to another symbol", .0.0)]
    WrongSymbol(OrderRef),
}

/// One price of one side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Top {
    /// Price.
    pub price: Price,
    /// Open shares of all its orders.
    pub quantity: u64,
    /// Orders.
    pub orders: u32,
}

/// Best bid and offer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bbo {
    /// Highest price bid.
    pub bid: Option<Top>,
    /// Lowest price offered.
    pub ask: Option<Top>,
}

/// A resting order traded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Execution {
    /// Stock locate.
    pub locate: Locate,
    /// The resting order.
    pub order_ref: OrderRef,
    /// Its side.
    pub side: Side,
    /// Its price, which is the price of the trade.
    pub price: Price,
    /// Shares.
    pub quantity: Quantity,
    /// Match number.
    pub match_number: MatchNumber,
    /// Ns since midnight.
    pub timestamp: u64,
}

/// What a user of the mirror may want to hear at once. Every method may be left out.
pub trait MirrorListener {
    /// A trade.
    fn on_execution(&mut self, _execution: &Execution) {}
    /// At the end of a command: the best prices of a symbol are other ones than before it.
    fn on_bbo(&mut self, _locate: Locate, _bbo: &Bbo, _timestamp: u64) {}
}

/// Listens to nothing.
impl MirrorListener for () {}

struct Level {
    quantity: u64,
    orders: u32,
    head: u32,
    tail: u32,
}

/// A symbol as the feed tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MirrorSymbol {
    /// Symbol.
    pub symbol: Symbol,
    /// Round lot, shares.
    pub round_lot: u32,
    /// Trading state letter: `T` trading, `H` halted, `P` cancels only; 0 before the first one.
    pub state: u8,
}

struct Book {
    symbol: MirrorSymbol,
    sides: [BTreeMap<Price, Level>; 2],
    /// Best prices as last reported; compared at the end of a command.
    reported: Bbo,
    touched: bool,
}

impl Book {
    fn best(&self, side: Side) -> Option<Top> {
        let levels = &self.sides[side.index()];
        let (&price, level) = match side {
            Side::Buy => levels.last_key_value(),
            Side::Sell => levels.first_key_value(),
        }?;
        Some(Top { price, quantity: level.quantity, orders: level.orders })
    }

    fn bbo(&self) -> Bbo {
        Bbo { bid: self.best(Side::Buy), ask: self.best(Side::Sell) }
    }
}

/// The books of all symbols of one feed session.
pub struct BookMirror {
    books: Vec<Option<Box<Book>>>,
    orders: Orders,
    touched: Vec<Locate>,
    /// Tracking number and time of the command that is being told.
    command: (u16, u64),
    system: u8,
    messages: u64,
}

/// Stock locates are dense from 1; the venue has at most 10,000 symbols.
const LOCATES_MAX: usize = 65_535;

impl Default for BookMirror {
    fn default() -> Self {
        BookMirror::new(0)
    }
}

impl BookMirror {
    /// Empty books, with room for `orders` open orders before anything grows.
    pub fn new(orders: usize) -> BookMirror {
        BookMirror {
            books: Vec::new(),
            orders: Orders::with_capacity(orders),
            touched: Vec::new(),
            command: (0, 0),
            system: 0,
            messages: 0,
        }
    }

    /// Forgets everything: another session begins.
    pub fn clear(&mut self) {
        self.books.clear();
        self.orders.clear();
        self.touched.clear();
        self.command = (0, 0);
        self.system = 0;
        self.messages = 0;
    }

    /// Applies one message. `end_of_packet` as the feed handler gives it: then a command is over
    /// and changes of the best prices are told; else with the first message of the next command.
    /// O(log levels); allocates when something grows.
    pub fn apply(
        &mut self,
        payload: &[u8],
        end_of_packet: bool,
        listener: &mut impl MirrorListener,
    ) -> Result<(), MirrorError> {
        let message = Message::decode(payload).map_err(MirrorError::Malformed)?;
        let prefix = *message.prefix();
        let command = (prefix.tracking, prefix.timestamp);
        if command != self.command {
            self.end_of_command(listener);
            self.command = command;
        }
        self.apply_message(&message, prefix, listener)?;
        self.messages += 1;
        if end_of_packet {
            self.end_of_command(listener);
        }
        Ok(())
    }

    /// Tells the best prices that changed since this was last called. `apply` calls it; call it
    /// when messages stop coming and the last one was not the end of a packet.
    pub fn end_of_command(&mut self, listener: &mut impl MirrorListener) {
        while let Some(locate) = self.touched.pop() {
            let Some(Some(book)) = self.books.get_mut(locate.0 as usize) else { continue };
            book.touched = false;
            let bbo = book.bbo();
            if bbo != book.reported {
                book.reported = bbo;
                listener.on_bbo(locate, &bbo, self.command.1);
            }
        }
    }

    fn apply_message(
        &mut self,
        message: &Message,
        prefix: itch::Prefix,
        listener: &mut impl MirrorListener,
    ) -> Result<(), MirrorError> {
        match message {
            Message::System(m) => self.system = m.code,
            Message::Directory(m) => self.on_directory(m)?,
            Message::TradingAction(m) => {
                self.book_mut(prefix.locate)?.symbol.state = m.state;
            }
            Message::Add(m) => {
                if self.orders.find(m.order_ref).is_some() {
                    return Err(MirrorError::DoubleOrder(m.order_ref));
                }
                if m.quantity.0 == 0 {
                    return Err(MirrorError::BadQuantity(m.order_ref));
                }
                if self.book_mut(prefix.locate)?.symbol.symbol != m.symbol {
                    return Err(MirrorError::WrongSymbol(m.order_ref));
                }
                self.add(m.order_ref, prefix.locate, m.side, m.price, m.quantity)?;
            }
            Message::Executed(m) => {
                let order = self.checked(m.order_ref, prefix.locate, m.quantity)?;
                self.reduce(m.order_ref, m.quantity);
                listener.on_execution(&Execution {
                    locate: order.locate,
                    order_ref: m.order_ref,
                    side: order.side,
                    price: order.price,
                    quantity: m.quantity,
                    match_number: m.match_number,
                    timestamp: prefix.timestamp,
                });
            }
            Message::ExecutedAt(m) => {
                let order = self.checked(m.order_ref, prefix.locate, m.quantity)?;
                self.reduce(m.order_ref, m.quantity);
                listener.on_execution(&Execution {
                    locate: order.locate,
                    order_ref: m.order_ref,
                    side: order.side,
                    price: m.price,
                    quantity: m.quantity,
                    match_number: m.match_number,
                    timestamp: prefix.timestamp,
                });
            }
            Message::Canceled(m) => {
                self.checked(m.order_ref, prefix.locate, m.quantity)?;
                self.reduce(m.order_ref, m.quantity);
            }
            Message::Deleted(m) => {
                let order = self.checked(m.order_ref, prefix.locate, Quantity(1))?;
                self.reduce(m.order_ref, order.quantity);
            }
            Message::Replaced(m) => {
                let old = self.checked(m.old_ref, prefix.locate, Quantity(1))?;
                if m.quantity.0 == 0 {
                    return Err(MirrorError::BadQuantity(m.order_ref));
                }
                if m.old_ref == m.order_ref || self.orders.find(m.order_ref).is_some() {
                    return Err(MirrorError::DoubleOrder(m.order_ref));
                }
                self.reduce(m.old_ref, old.quantity);
                self.add(m.order_ref, old.locate, old.side, m.price, m.quantity)?;
            }
        }
        Ok(())
    }

    fn on_directory(&mut self, m: &itch::Directory) -> Result<(), MirrorError> {
        let locate = m.prefix.locate;
        let index = locate.0 as usize;
        if index == 0 || index > LOCATES_MAX {
            return Err(MirrorError::BadDirectory(locate));
        }
        if self.books.len() <= index {
            self.books.resize_with(index + 1, || None);
        }
        if let Some(book) = &self.books[index] {
            // Some venues repeat the directory within the day; it must say the same.
            return if book.symbol.symbol == m.symbol {
                Ok(())
            } else {
                Err(MirrorError::BadDirectory(locate))
            };
        }
        self.books[index] = Some(Box::new(Book {
            symbol: MirrorSymbol { symbol: m.symbol, round_lot: m.round_lot, state: 0 },
            sides: [BTreeMap::new(), BTreeMap::new()],
            reported: Bbo::default(),
            touched: false,
        }));
        Ok(())
    }

    fn book(&self, locate: Locate) -> Option<&Book> {
        self.books.get(locate.0 as usize)?.as_deref()
    }

    fn book_mut(&mut self, locate: Locate) -> Result<&mut Book, MirrorError> {
        self.books
            .get_mut(locate.0 as usize)
            .and_then(|b| b.as_deref_mut())
            .ok_or(MirrorError::UnknownLocate(locate))
    }

    /// The order, when it is of that symbol and `quantity` (above 0) can be taken off.
    fn checked(
        &self,
        order_ref: OrderRef,
        locate: Locate,
        quantity: Quantity,
    ) -> Result<MirrorOrder, MirrorError> {
        let slot = self.orders.find(order_ref).ok_or(MirrorError::UnknownOrder(order_ref))?;
        let order = *self.orders.get(slot);
        if order.locate != locate {
            return Err(MirrorError::WrongSymbol(order_ref));
        }
        if quantity.0 == 0 || quantity > order.quantity {
            return Err(MirrorError::BadQuantity(order_ref));
        }
        Ok(order)
    }

    /// Puts an order at the back of its queue.
    fn add(
        &mut self,
        order_ref: OrderRef,
        locate: Locate,
        side: Side,
        price: Price,
        quantity: Quantity,
    ) -> Result<(), MirrorError> {
        self.touch(locate);
        let BookMirror { books, orders, .. } = self;
        let book = books
            .get_mut(locate.0 as usize)
            .and_then(|b| b.as_deref_mut())
            .ok_or(MirrorError::UnknownLocate(locate))?;
        let level = book.sides[side.index()].entry(price).or_insert(Level {
            quantity: 0,
            orders: 0,
            head: NONE,
            tail: NONE,
        });
        let slot = orders.insert(MirrorOrder {
            order_ref,
            price,
            quantity,
            locate,
            side,
            before: level.tail,
            after: NONE,
        });
        match level.tail {
            NONE => level.head = slot,
            tail => orders.get_mut(tail).after = slot,
        }
        level.tail = slot;
        level.quantity += u64::from(quantity.0);
        level.orders += 1;
        Ok(())
    }

    /// Takes shares off an order that `checked` admitted; removes it when none are left.
    fn reduce(&mut self, order_ref: OrderRef, quantity: Quantity) {
        let Some(slot) = self.orders.find(order_ref) else { return };
        let order = *self.orders.get(slot);
        self.touch(order.locate);
        let BookMirror { books, orders, .. } = self;
        let Some(Some(book)) = books.get_mut(order.locate.0 as usize) else { return };
        let levels = &mut book.sides[order.side.index()];
        let Some(level) = levels.get_mut(&order.price) else { return };
        level.quantity -= u64::from(quantity.0);
        if quantity < order.quantity {
            orders.get_mut(slot).quantity = Quantity(order.quantity.0 - quantity.0);
            return;
        }
        match order.before {
            NONE => level.head = order.after,
            before => orders.get_mut(before).after = order.after,
        }
        match order.after {
            NONE => level.tail = order.before,
            after => orders.get_mut(after).before = order.before,
        }
        level.orders -= 1;
        if level.orders == 0 {
            assert_eq!(level.quantity, 0, "an empty level has no shares");
            levels.remove(&order.price);
        }
        orders.remove(order_ref);
    }

    fn touch(&mut self, locate: Locate) {
        if let Some(Some(book)) = self.books.get_mut(locate.0 as usize)
            && !book.touched
        {
            book.touched = true;
            self.touched.push(locate);
        }
    }

    /// Best prices of a symbol now (also within a command); `None` for an unknown locate.
    pub fn bbo(&self, locate: Locate) -> Option<Bbo> {
        self.book(locate).map(Book::bbo)
    }

    /// Prices of a side, best first. Empty for an unknown locate.
    pub fn levels(&self, locate: Locate, side: Side) -> impl Iterator<Item = Top> + '_ {
        let levels = self.book(locate).map(|b| &b.sides[side.index()]);
        let (up, down) = match side {
            Side::Buy => (None, levels.map(|l| l.iter().rev())),
            Side::Sell => (levels.map(|l| l.iter()), None),
        };
        up.into_iter().flatten().chain(down.into_iter().flatten()).map(|(&price, level)| Top {
            price,
            quantity: level.quantity,
            orders: level.orders,
        })
    }

    /// Orders of one price, first in the queue first.
    pub fn queue(
        &self,
        locate: Locate,
        side: Side,
        price: Price,
    ) -> impl Iterator<Item = &MirrorOrder> + '_ {
        let level = self.book(locate).and_then(|b| b.sides[side.index()].get(&price));
        let mut at = level.map_or(NONE, |l| l.head);
        std::iter::from_fn(move || {
            if at == NONE {
                return None;
            }
            let order = self.orders.get(at);
            at = order.after;
            Some(order)
        })
    }

    /// An order by its reference.
    pub fn order(&self, order_ref: OrderRef) -> Option<&MirrorOrder> {
        self.orders.find(order_ref).map(|slot| self.orders.get(slot))
    }

    /// Open orders of all symbols.
    pub fn open_orders(&self) -> usize {
        self.orders.count()
    }

    /// Messages applied.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Last system event: `O S Q M E C`, 0 before the first.
    pub fn system(&self) -> u8 {
        self.system
    }

    /// Symbols in order of their locate.
    pub fn symbols(&self) -> impl Iterator<Item = (Locate, MirrorSymbol)> + '_ {
        self.books
            .iter()
            .enumerate()
            .filter_map(|(index, book)| Some((Locate(index as u16), book.as_ref()?.symbol)))
    }

    /// Locate of a symbol. Cost: walks the symbols.
    pub fn locate(&self, symbol: Symbol) -> Option<Locate> {
        self.symbols().find(|(_, s)| s.symbol == symbol).map(|(locate, _)| locate)
    }

    /// Digest of all books: equal for two mirrors, or a mirror and an exchange that tells its
    /// orders to a [`BookDigest`] in the same order, exactly when (but for collisions of 64 bits)
    /// every queue holds the same orders. Walks all orders.
    pub fn digest(&self) -> u64 {
        let mut digest = BookDigest::default();
        for (locate, _) in self.symbols() {
            for side in [Side::Buy, Side::Sell] {
                for level in self.levels(locate, side) {
                    for order in self.queue(locate, side, level.price) {
                        digest.order(locate, side, level.price, order.order_ref, order.quantity);
                    }
                }
            }
        }
        digest.finish()
    }
}

/// Digest of resting orders, told by locate, then buy before sell, then price best first, then
/// queue order.
#[derive(Clone, Copy, Debug, Default)]
pub struct BookDigest {
    state: u64,
}

impl BookDigest {
    /// The next order.
    #[inline]
    pub fn order(
        &mut self,
        locate: Locate,
        side: Side,
        price: Price,
        order_ref: OrderRef,
        quantity: Quantity,
    ) {
        self.word((u64::from(locate.0) << 8) | side.index() as u64);
        self.word(order_ref.0);
        self.word((u64::from(price.0) << 32) | u64::from(quantity.0));
    }

    #[inline]
    fn word(&mut self, word: u64) {
        let mixed = (self.state.rotate_left(23) ^ word).wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.state = mixed.wrapping_mul(0xD6E8_FEB8_6659_FD93) ^ (mixed >> 32);
    }

    /// The digest; 0 for no order at all.
    pub fn finish(self) -> u64 {
        self.state
    }
}

#[cfg(test)]
mod tests;
