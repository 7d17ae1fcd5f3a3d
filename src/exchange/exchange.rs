//! The exchange: one state, one verb.
//!
//! Consumes commands, hands each to the part that knows it, and keeps nothing of them. Here stand the
//! session's sequence rules (session.md 8 to 10, 18) and the commands about the day; orders are
//! `order_manager`'s, mass actions `mass`'s.

use super::command::*;
use super::event::*;
use super::genesis::{Genesis, GenesisError};
use super::market::{Day, Market, said_of};
use super::matching::Books;
use super::order_index::OrderIndex;
use super::output::{Numbers, Output};
use super::session::{CANCEL_ON_DISCONNECT, Sessions};
use super::state::State;
use super::state_hash;
use super::view::{AccountView, LevelView, OrderView, SessionView};
use super::wallet::Wallet;
use super::{mass, order_manager};
use crate::planted::{self, Bug};
use crate::types::*;

/// A block this far above the next is dropped without a word. Source: session.md 9.
const JUMP_MAX: u64 = 65_536;

/// The whole venue for one day.
pub struct Exchange {
    genesis: Genesis,
    pub(super) genesis_bytes: Vec<u8>,
    pub(super) state: State,
    pub(super) sessions: Sessions,
    pub(super) numbers: Numbers,
}

impl Exchange {
    /// Builds every table of the day and touches it, so that `apply` never allocates. Errors when
    /// the values of `genesis` contradict each other. Cost: memory and time of the capacities.
    pub fn new(genesis: &Genesis) -> Result<Exchange, GenesisError> {
        genesis.check()?;
        let capacities = genesis.capacities;
        let orders_max = capacities.orders_max;
        // One slot more: for the order that is being worked while the venue is full.
        let books = Books::new(&genesis.symbols, orders_max + 1, capacities.price_pages_max);
        let state = State {
            market: Market::new(genesis)?,
            books,
            wallet: Wallet::new(genesis)?,
            index: OrderIndex::new(genesis.sessions.len(), orders_max, genesis.hash_seed),
            orders_sum: 0,
            orders_max,
        };
        Ok(Exchange {
            genesis: genesis.clone(),
            genesis_bytes: genesis.encode(),
            state,
            sessions: Sessions::new(&genesis.sessions),
            numbers: Numbers::new(),
        })
    }

    /// Applies one command and puts its events into `sink`, in order. The first command of a day is
    /// `Command::Genesis` with the bytes of the Genesis that built this exchange; commands before it
    /// and a second one are ignored. O(1) plus O(1) per match; never allocates.
    ///
    /// # Panics
    /// When the first Genesis has other bytes (the exchange was built for another day), or when its
    /// own state contradicts itself; never because of what a client sent.
    #[inline]
    pub fn apply(
        &mut self,
        seq: Seq,
        time: Nanos,
        command: &Command<'_>,
        sink: &mut impl EventSink,
    ) {
        let Exchange { state, sessions, numbers, genesis_bytes, .. } = self;
        let mut out = Output { sessions, numbers, sink, command: seq, time, index: 0 };
        match (state.market.day, command) {
            (Day::Running, Command::Message(head, body)) => message(state, &mut out, head, body),
            (_, Command::Tick) => {}
            (Day::Before, Command::Genesis(bytes)) => {
                assert!(*bytes == genesis_bytes.as_slice(), "Genesis of another day");
                open_day(state, &mut out);
            }
            (Day::Running, Command::Login(m)) => login(&mut out, m),
            (Day::Running, Command::Logoff(m)) => logoff(state, &mut out, m),
            (Day::Running, Command::SessionDown(m)) => session_down(state, &mut out, m),
            (Day::Running, Command::Phase(phase)) => change_phase(state, &mut out, *phase),
            (Day::Running, Command::SymbolState(m)) => symbol_state(state, &mut out, m),
            (Day::Running, Command::Mode(mode)) => change_mode(state, &mut out, *mode),
            (Day::Running, Command::EndOfDay) => mass::end_day(state, &mut out),
            (Day::Running | Day::Ending(_), Command::Continue) => mass::go_on(state, &mut out),
            (Day::Before | Day::Ending(_) | Day::Over | Day::Running, _) => {}
        }
    }

    /// Applies one command as void: it killed the exchange, and the venue's operators have agreed that
    /// it is not to be applied. A block of a session takes its number and is told NotApplied; anything
    /// else does nothing.
    pub fn apply_void(
        &mut self,
        seq: Seq,
        time: Nanos,
        command: &Command<'_>,
        sink: &mut impl EventSink,
    ) {
        let Exchange { state, sessions, numbers, .. } = self;
        let mut out = Output { sessions, numbers, sink, command: seq, time, index: 0 };
        if let (Day::Running, Command::Message(head, _)) = (state.market.day, command) {
            void_message(&mut out, head);
        }
    }

    /// The state hash after the last command. O(sessions).
    pub fn state_hash(&self) -> u64 {
        let entities = self.state.wallet.sum().wrapping_add(self.state.orders_sum);
        let entities = entities.wrapping_add(state_hash::mode(self.state.market.mode));
        state_hash::finish(self.numbers.chain, entities.wrapping_add(self.sessions.hash()))
    }

    /// True while a mass action has work left that may go on: the timer issues
    /// `Command::Continue`.
    pub fn continue_wanted(&self) -> bool {
        let market = &self.state.market;
        matches!(market.day, Day::Ending(_))
            || (self.sessions.waiting().is_some() && market.mode != Mode::Halt)
    }

    /// What the whole exchange takes.
    pub fn mode(&self) -> Mode {
        self.state.market.mode
    }

    /// The market's phase.
    pub fn phase(&self) -> Phase {
        self.state.market.phase
    }

    /// True once EndOfDay was applied.
    pub fn day_ended(&self) -> bool {
        matches!(self.state.market.day, Day::Ending(_) | Day::Over)
    }

    /// True once the day's last event was said: no command does anything any more.
    pub fn day_over(&self) -> bool {
        self.state.market.day == Day::Over
    }

    /// Number of the last message on the feed, 0 = none.
    pub fn last_feed(&self) -> u64 {
        self.numbers.feed
    }

    /// The day's Genesis.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The books, for readers.
    pub fn books(&self) -> &Books {
        &self.state.books
    }

    /// Best price and its shares, buy side then sell side. O(1).
    pub fn best(&self, locate: Locate) -> [Option<(Price, u64)>; 2] {
        let book = self.state.books.book(locate);
        [Side::Buy, Side::Sell].map(|side| book.and_then(|book| book.best(side)))
    }

    /// Levels of one side, best first; none for an unknown symbol.
    pub fn levels(&self, locate: Locate, side: Side) -> impl Iterator<Item = LevelView> + '_ {
        self.state.books.levels(locate, side)
    }

    /// Orders of one side in price-time order; none for an unknown symbol.
    pub fn orders(&self, locate: Locate, side: Side) -> impl Iterator<Item = OrderView> + '_ {
        self.state.books.orders(locate, side)
    }

    /// An account; `None` when unknown. Allocates.
    pub fn account(&self, slot: AccountSlot) -> Option<AccountView> {
        self.state.wallet.view(slot)
    }

    /// A session; `None` when unknown.
    pub fn session(&self, slot: SessionSlot) -> Option<SessionView> {
        self.sessions.view(slot)
    }

    /// Resting orders of the whole venue.
    pub fn open_orders(&self) -> u32 {
        self.state.books.open_orders()
    }

    /// Panics with what is wrong when any invariant of the whole state does not hold: books, lists,
    /// index, holds, conservation of cash and shares, the entity sum. For tests; O(everything).
    pub fn check(&self) {
        super::check::check(&self.genesis, &self.state, &self.sessions);
    }
}

/// One block of a session: sequence, then verdict, then message.
#[inline(always)]
fn message<S: EventSink>(
    state: &mut State,
    out: &mut Output<'_, S>,
    head: &MessageHead,
    body: &MessageBody,
) {
    let slot = head.session;
    let Some(session) = out.sessions.bound(slot, head.generation) else { return };
    let (next, seq) = (session.next_client_seq, head.client_seq);
    if seq < next && planted::is(Bug::SkipDedupe) {
        return well_formed(state, out, slot, seq, body);
    }
    if seq < next || seq - next > JUMP_MAX {
        return;
    }
    if seq > next {
        session.next_client_seq = seq;
        let count = (seq - next) as u32 + planted::is(Bug::NotAppliedCount) as u32; // at most JUMP_MAX
        out.report(slot, false, NotApplied { from: next, count });
    }
    let session = out.sessions.row_mut(slot);
    // Cannot overflow: a command moves it by 65,537 at most, from 1.
    session.next_client_seq = seq + 1;
    let reports = session.next_report;
    if head.verdict == Verdict::Ok as u8 {
        well_formed(state, out, slot, seq, body);
    } else if head.verdict == Verdict::Throttled as u8 {
        throttled(state, out, slot, seq, body);
    } else {
        malformed(out, slot, seq, body);
    }
    let next_report = out.sessions.row(slot).next_report;
    if next_report == reports {
        out.notice(slot, Applied { next_report });
    }
}

/// A void block: its number is taken as by [`message`], and its sender learns that it was not applied.
fn void_message<S: EventSink>(out: &mut Output<'_, S>, head: &MessageHead) {
    let slot = head.session;
    let Some(session) = out.sessions.bound(slot, head.generation) else { return };
    let (next, seq) = (session.next_client_seq, head.client_seq);
    if seq < next || seq - next > JUMP_MAX {
        return;
    }
    if seq > next {
        session.next_client_seq = seq;
        out.report(slot, false, NotApplied { from: next, count: (seq - next) as u32 });
    }
    out.sessions.row_mut(slot).next_client_seq = seq + 1;
    out.report(slot, false, NotApplied { from: seq, count: 1 });
}

#[inline(always)]
fn well_formed<S: EventSink>(
    state: &mut State,
    out: &mut Output<'_, S>,
    slot: SessionSlot,
    seq: u64,
    body: &MessageBody,
) {
    match body {
        MessageBody::Enter(m) => {
            if consume(out, slot, m.urn) {
                order_manager::enter(state, out, slot, m);
            }
            // In the library's own tests alone: a command that dies half-way, its events said.
            #[cfg(test)]
            assert!(m.cl_ord_id != super::fixture::POISON, "poisoned order {}", m.urn.0);
        }
        MessageBody::Cancel(m) => order_manager::cancel(state, out, slot, m),
        MessageBody::Replace(m) => order_manager::replace(state, out, slot, m),
        MessageBody::Query => {
            let next_urn = out.sessions.row(slot).next_urn();
            out.report(slot, false, QueryResponse { next_urn });
        }
        MessageBody::Unparsed(_) => malformed(out, slot, seq, body),
    }
}

/// The session's rate is used up (session.md 18).
#[inline(never)]
fn throttled<S: EventSink>(
    state: &mut State,
    out: &mut Output<'_, S>,
    slot: SessionSlot,
    seq: u64,
    body: &MessageBody,
) {
    match body {
        MessageBody::Enter(m) => {
            if consume(out, slot, m.urn) {
                order_manager::reject(out, slot, m.urn, RejectReason::PortRate, m.cl_ord_id);
            }
        }
        MessageBody::Cancel(m) => order_manager::cancel(state, out, slot, m),
        MessageBody::Replace(m) => order_manager::cancel_replaced(state, out, slot, m),
        MessageBody::Query | MessageBody::Unparsed(_) => {
            out.report(slot, false, NotApplied { from: seq, count: 1 });
        }
    }
}

/// The block is no message (session.md 10).
#[inline(never)]
fn malformed<S: EventSink>(
    out: &mut Output<'_, S>,
    slot: SessionSlot,
    seq: u64,
    body: &MessageBody,
) {
    match body {
        MessageBody::Unparsed(m) if m.has_urn == 1 && matches!(m.letter, b'O' | b'U') => {
            if consume(out, slot, m.urn) {
                order_manager::reject(out, slot, m.urn, RejectReason::Other, m.cl_ord_id);
            }
        }
        _ => out.report(slot, false, NotApplied { from: seq, count: 1 }),
    }
}

/// Consumes a new reference; false when it is not above the last (a repetition: nothing happens).
#[inline(always)]
fn consume<S: EventSink>(out: &mut Output<'_, S>, slot: SessionSlot, urn: Urn) -> bool {
    let session = out.sessions.row_mut(slot);
    let new = urn > session.last_urn;
    if new {
        session.last_urn = urn;
    }
    new
}

/// Genesis is applied: the opening events.
fn open_day<S: EventSink>(state: &mut State, out: &mut Output<'_, S>) {
    state.market.day = Day::Running;
    out.public(System { code: b'O', zero: [0; 7] });
    for (locate, row) in state.market.symbols() {
        let (lot, symbol) = (row.spec.lot, row.spec.symbol);
        out.public(Directory { locate, zero: [0; 2], lot, symbol });
    }
    for (locate, row) in state.market.symbols() {
        let (reason, symbol) = (Alpha::BLANK, row.spec.symbol);
        out.public(TradingAction { locate, state: b'T', zero: 0, reason, symbol });
    }
    out.public(System { code: b'S', zero: [0; 7] });
    for slot in 0..out.sessions.count() {
        out.report(SessionSlot(slot), false, SessionMark { code: b'S', zero: [0; 7] });
    }
}

/// A valid login binds its session, and displaces who held it.
fn login<S: EventSink>(out: &mut Output<'_, S>, m: &Login) {
    if out.sessions.get(m.session).is_none() {
        return;
    }
    let session = out.sessions.row_mut(m.session);
    let first = session.generation == 0;
    if session.generation.checked_add(1) != Some(m.generation)
        || (!first && m.login_time <= session.login_time)
    {
        return;
    }
    session.bound = true;
    session.generation = m.generation;
    session.login_time = m.login_time;
    session.cancel_on_disconnect = m.flags & CANCEL_ON_DISCONNECT != 0;
    let logged_in = LoggedIn {
        generation: m.generation,
        flags: m.flags,
        version: m.version,
        dead_time_ms: m.dead_time_ms,
        token: m.token,
        port: m.port,
        ip: m.ip,
        client_nonce: m.client_nonce,
        server_nonce: m.server_nonce,
        next_report: session.next_report,
        login_time: m.login_time,
        next_urn: session.next_urn(),
        zero: [0; 4],
    };
    out.notice(m.session, logged_in);
}

/// A logoff that carries the exchange's next sequence ends the binding.
fn logoff<S: EventSink>(state: &mut State, out: &mut Output<'_, S>, m: &Logoff) {
    match out.sessions.bound(m.session, m.generation) {
        Some(session) if session.next_client_seq == m.client_next => {
            unbind(state, out, m.session, EndedBy::Logoff);
        }
        _ => {}
    }
}

/// The session was silent for its dead time.
fn session_down<S: EventSink>(state: &mut State, out: &mut Output<'_, S>, m: &SessionDown) {
    if out.sessions.bound(m.session, m.generation).is_some() {
        unbind(state, out, m.session, EndedBy::Silence);
    }
}

fn unbind<S: EventSink>(
    state: &mut State,
    out: &mut Output<'_, S>,
    slot: SessionSlot,
    by: EndedBy,
) {
    let session = out.sessions.row_mut(slot);
    session.bound = false;
    let (generation, mass_cancel) = (session.generation, session.cancel_on_disconnect);
    out.notice(slot, SessionEnded { generation, by: by as u8, zero: [0; 3] });
    if mass_cancel {
        mass::cancel_session(state, out, slot);
    }
}

fn change_phase<S: EventSink>(state: &mut State, out: &mut Output<'_, S>, phase: Phase) {
    state.market.phase = phase;
    match phase {
        Phase::PreOpen => {}
        Phase::Open => {
            if !state.market.opened {
                state.market.opened = true;
                out.public(System { code: b'Q', zero: [0; 7] });
            }
        }
        Phase::Closed => mass::say_closed(state, out),
    }
}

/// The exchange's mode: every symbol that is not halted itself says its new state on the feed.
fn change_mode<S: EventSink>(state: &mut State, out: &mut Output<'_, S>, mode: Mode) {
    if state.market.mode == mode {
        return;
    }
    state.market.mode = mode;
    let (letter, reason) = said_of(mode);
    for (locate, row) in state.market.symbols().filter(|(_, row)| !row.halted) {
        let symbol = row.spec.symbol;
        out.public(TradingAction { locate, state: letter, zero: 0, reason, symbol });
    }
}

fn symbol_state<S: EventSink>(state: &mut State, out: &mut Output<'_, S>, m: &SymbolState) {
    if !matches!(m.state, b'H' | b'T') {
        return;
    }
    let mode = state.market.mode;
    let Some(row) = state.market.symbol_mut(m.locate) else { return };
    row.halted = m.state == b'H';
    let symbol = row.spec.symbol;
    // A symbol that is let go trades as far as the exchange does.
    let (state, reason) =
        if row.halted || mode == Mode::Normal { (m.state, m.reason) } else { said_of(mode) };
    let locate = m.locate;
    out.public(TradingAction { locate, state, zero: 0, reason, symbol });
}
