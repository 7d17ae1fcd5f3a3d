//! The naive exchange: the rules of `apply` written down as plainly as they can be.
//!
//! Consumes the same commands and produces the same events and the same state hash as
//! [`Exchange`](crate::exchange::Exchange); the model tests compare them after every command. Nothing here
//! is stored that can be worked out from something else: what an account holds, how much of its
//! day limit is taken and which price pages are in use are summed over the open orders each time
//! they are asked for. It is slow on purpose, and it stays: when both disagree, the rules decide.
//!
//! Shares types, command, event, genesis, views and hash functions with the fast exchange, and no
//! code; it must not know how the fast one works, except for the two things that show in its answers:
//! which arena slot an order gets (it is part of the reference) and when the price pages run out.

mod book;
mod order;
mod session;
#[cfg(test)]
mod tests;
mod view;

use std::collections::{BTreeMap, VecDeque};

use crate::exchange::command::{Command, Mode, Phase, SymbolState};
use crate::exchange::event::*;
use crate::exchange::genesis::{Genesis, GenesisError};
use crate::exchange::state_hash;
use crate::types::*;

/// Orders that one command may cancel; the rest goes on in Continue commands.
const MASS_CANCEL_MAX: usize = 256;

/// How far the day has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Day {
    /// Genesis has not been applied.
    New,
    /// Business.
    Running,
    /// EndOfDay was applied, orders are still expiring.
    Ending,
    /// Everything has been said.
    Over,
}

/// One open order. It rests in its book, at the price and in the queue that its reference tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Order {
    session: SessionSlot,
    urn: Urn,
    account: AccountSlot,
    locate: Locate,
    side: Side,
    price: Price,
    open: u32,
    /// Executed so far, in this order and in those that it replaced.
    executed: u32,
    capacity: u8,
    cross: u8,
}

/// What an account owns; how much of it is held follows from its open orders.
#[derive(Clone, Debug)]
struct Account {
    cash: u64,
    /// By locate - 1.
    shares: Vec<u64>,
    /// Shares executed today, bought and sold, by locate - 1.
    executed: Vec<u64>,
}

/// One session's day.
#[derive(Clone, Debug)]
struct Session {
    bound: bool,
    cancel_on_disconnect: bool,
    generation: u32,
    login_time: Option<Nanos>,
    /// Next client sequence.
    next: u64,
    /// Next report number.
    next_report: u64,
    last_urn: u32,
}

/// Resting orders of a side by price, oldest first.
type Levels = BTreeMap<u32, VecDeque<OrderRef>>;

/// The naive exchange.
#[derive(Clone)]
pub struct Naive {
    genesis: Genesis,
    day: Day,
    phase: Phase,
    mode: Mode,
    said_open: bool,
    said_close: bool,
    /// By locate - 1.
    halted: Vec<bool>,
    /// By locate - 1, then by side.
    books: Vec<[Levels; 2]>,
    accounts: Vec<Account>,
    sessions: Vec<Session>,
    /// Every open order, oldest first: references count up.
    orders: BTreeMap<OrderRef, Order>,
    /// Slots given back, the last one on top; below them stand those never used.
    free_slots: Vec<u32>,
    slots_used: u32,
    refs_issued: u32,
    matches: u64,
    feed: u64,
    /// Sessions whose mass cancel is not done yet, first come first.
    closing: VecDeque<SessionSlot>,
    /// Events of the command being applied.
    out: Vec<Event>,
    seq: Seq,
    chain: u64,
}

impl Naive {
    /// An exchange before its first command. Fails as [`Genesis::check`] does.
    pub fn new(genesis: &Genesis) -> Result<Naive, GenesisError> {
        genesis.check()?;
        let symbols = genesis.symbols.len();
        let accounts = genesis.accounts.iter().map(|spec| {
            let mut shares = vec![0; symbols];
            for &(locate, count) in &spec.positions {
                shares[locate.0 as usize - 1] += count;
            }
            Account { cash: spec.cash.0, shares, executed: vec![0; symbols] }
        });
        let sessions = genesis.sessions.iter().map(|_| Session {
            bound: false,
            cancel_on_disconnect: false,
            generation: 0,
            login_time: None,
            next: 1,
            next_report: 1,
            last_urn: 0,
        });
        Ok(Naive {
            day: Day::New,
            phase: Phase::PreOpen,
            mode: Mode::Normal,
            said_open: false,
            said_close: false,
            halted: vec![false; symbols],
            books: vec![Default::default(); symbols],
            accounts: accounts.collect(),
            sessions: sessions.collect(),
            orders: BTreeMap::new(),
            free_slots: Vec::new(),
            slots_used: 0,
            refs_issued: 0,
            matches: 0,
            feed: 0,
            closing: VecDeque::new(),
            out: Vec::new(),
            seq: Seq(0),
            chain: state_hash::CHAIN_START,
            genesis: genesis.clone(),
        })
    }

    /// Applies one command; its events go to `sink` in order. The first command is Genesis.
    pub fn apply(
        &mut self,
        seq: Seq,
        time: Nanos,
        command: &Command<'_>,
        sink: &mut impl EventSink,
    ) {
        self.seq = seq;
        match (self.day, command) {
            (Day::New, Command::Genesis(_)) => self.on_genesis(),
            (Day::Running, Command::Message(head, body)) => self.on_message(head, body),
            (Day::Running, Command::Login(login)) => self.on_login(login),
            (Day::Running, Command::Logoff(logoff)) => self.on_logoff(logoff),
            (Day::Running, Command::SessionDown(down)) => self.on_session_down(down),
            (Day::Running, Command::Phase(phase)) => self.on_phase(*phase),
            (Day::Running, Command::SymbolState(state)) => self.on_symbol_state(state),
            (Day::Running, Command::Mode(mode)) => self.on_mode(*mode),
            (Day::Running | Day::Ending, Command::Continue) => self.on_continue(),
            (Day::Running, Command::EndOfDay) => self.on_end_of_day(),
            // Time alone changes nothing, and after EndOfDay nothing but Continue does.
            _ => {}
        }
        self.hand_out(time, sink);
    }

    /// Applies one command as void: a block only takes its number.
    pub fn apply_void(
        &mut self,
        seq: Seq,
        time: Nanos,
        command: &Command<'_>,
        sink: &mut impl EventSink,
    ) {
        self.seq = seq;
        if let (Day::Running, Command::Message(head, _)) = (self.day, command) {
            self.on_void(head);
        }
        self.hand_out(time, sink);
    }

    fn hand_out(&mut self, time: Nanos, sink: &mut impl EventSink) {
        for event in std::mem::take(&mut self.out) {
            self.chain = state_hash::chain_event(self.chain, &event);
            sink.emit(time, &event);
        }
    }

    /// Opening events of the day.
    fn on_genesis(&mut self) {
        self.day = Day::Running;
        self.say(System { code: b'O', zero: [0; 7] });
        for (i, spec) in self.genesis.symbols.clone().iter().enumerate() {
            let locate = Locate(i as u16 + 1);
            self.say(Directory { locate, zero: [0; 2], lot: spec.lot, symbol: spec.symbol });
        }
        for (i, spec) in self.genesis.symbols.clone().iter().enumerate() {
            let (locate, symbol) = (Locate(i as u16 + 1), spec.symbol);
            self.say(TradingAction { locate, state: b'T', zero: 0, reason: Alpha::BLANK, symbol });
        }
        self.say(System { code: b'S', zero: [0; 7] });
        for slot in self.slots() {
            self.report(slot, SessionMark { code: b'S', zero: [0; 7] });
        }
    }

    fn on_phase(&mut self, phase: Phase) {
        self.phase = phase;
        if phase == Phase::Open && !self.said_open {
            self.said_open = true;
            self.say(System { code: b'Q', zero: [0; 7] });
        }
        if phase == Phase::Closed {
            self.say_close();
        }
    }

    fn say_close(&mut self) {
        if !self.said_close {
            self.said_close = true;
            self.say(System { code: b'M', zero: [0; 7] });
        }
    }

    fn on_symbol_state(&mut self, m: &SymbolState) {
        let known = m.locate.0 >= 1 && m.locate.0 as usize <= self.books.len();
        if !known || !matches!(m.state, b'H' | b'T') {
            return;
        }
        self.halted[m.locate.0 as usize - 1] = m.state == b'H';
        if m.state == b'T' && self.mode != Mode::Normal {
            self.say_mode(m.locate);
        } else {
            let symbol = self.genesis.symbols[m.locate.0 as usize - 1].symbol;
            let (locate, state, reason) = (m.locate, m.state, m.reason);
            self.say(TradingAction { locate, state, zero: 0, reason, symbol });
        }
    }

    fn on_mode(&mut self, mode: Mode) {
        if mode == self.mode {
            return;
        }
        self.mode = mode;
        for i in 0..self.halted.len() {
            if !self.halted[i] {
                self.say_mode(Locate(i as u16 + 1));
            }
        }
    }

    /// The state of a symbol that only the exchange's mode keeps from trading, if anything does.
    fn say_mode(&mut self, locate: Locate) {
        let (state, reason) = match self.mode {
            Mode::Normal => (b'T', "    "),
            Mode::CancelOnly => (b'P', "O1  "),
            Mode::Halt => (b'H', "O1  "),
        };
        let symbol = self.genesis.symbols[locate.0 as usize - 1].symbol;
        let reason = Alpha::new(reason).expect("four letters");
        self.say(TradingAction { locate, state, zero: 0, reason, symbol });
    }

    fn slots(&self) -> impl Iterator<Item = SessionSlot> + use<> {
        (0..self.sessions.len() as u16).map(SessionSlot)
    }

    fn state_of(&self, slot: SessionSlot) -> &Session {
        &self.sessions[slot.0 as usize]
    }

    fn session_mut(&mut self, slot: SessionSlot) -> &mut Session {
        &mut self.sessions[slot.0 as usize]
    }

    /// An event addressed to nobody.
    fn say(&mut self, body: impl Into<EventBody>) {
        self.emit(NO_SESSION, body.into());
    }

    /// An event addressed to a session.
    fn report(&mut self, slot: SessionSlot, body: impl Into<EventBody>) {
        self.emit(slot, body.into());
    }

    /// Numbers an event by the table in event.rs.
    fn emit(&mut self, session: SessionSlot, body: EventBody) {
        let (is_report, on_feed) = match &body {
            EventBody::System(_) | EventBody::Directory(_) | EventBody::TradingAction(_) => {
                (false, true)
            }
            EventBody::SessionMark(_) => (true, false),
            EventBody::LoggedIn(_) | EventBody::SessionEnded(_) | EventBody::Applied(_) => {
                (false, false)
            }
            EventBody::Accepted(e) => (true, e.on_book == 1),
            EventBody::Executed(e) => (true, e.liquidity == b'A'),
            EventBody::Rested(_) => (false, true),
            EventBody::Canceled(e) => (true, e.was_resting == 1),
            EventBody::Replaced(_) => (true, true),
            EventBody::Rejected(_)
            | EventBody::NotApplied(_)
            | EventBody::QueryResponse(_)
            | EventBody::CancelRefused(_) => (true, false),
        };
        let mut head = EventHead {
            command: self.seq,
            session,
            zero: [0; 2],
            index: self.out.len() as u32,
            report: 0,
            feed: 0,
            applied: 0,
            previous: 0,
        };
        if session != NO_SESSION {
            let s = self.session_mut(session);
            head.applied = s.next - 1;
            if is_report {
                head.report = s.next_report;
                s.next_report += 1;
            }
        }
        if on_feed {
            self.feed += 1;
            head.feed = self.feed;
        }
        self.out.push(Event { head, body });
    }
}
