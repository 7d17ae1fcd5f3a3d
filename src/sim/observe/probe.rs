//! Probe: what both exchanges make of commands that the log does not have, tried on copies.
//!
//! Consumes copies of the naive and of the fast exchange and the last messages of the log; produces
//! the first difference. Behind the gateway many rules of the exchange are a second line (a logoff
//! with a wrong number, a message of another login, a number too far ahead), nobody in the simulation
//! halts a symbol or voids a command, and few sessions have more orders than one command cancels: here
//! each is met with the books that the day has made.

use crate::exchange::command::*;
use crate::exchange::event::Event;
use crate::exchange::genesis::SymbolSpec;
use crate::exchange::view::OrderView;
use crate::exchange::{Exchange, Naive};
use crate::sim::Dice;
use crate::types::*;

/// Commands of one probe.
const COMMANDS: u64 = 24;
/// Orders that a crowd enters at most: more than two steps of a mass action cancel.
const CROWD_MAX: u64 = 600;
/// An hour.
const HOUR_NS: u64 = 3_600_000_000_000;
/// Continues that follow an end of day at most.
const CONTINUES: usize = 6;

/// Applies commands of its own choice, the same from the same state, to both; they must agree after
/// each. `recent`: bodies that clients sent lately, not empty. Panics as the models' own checks do.
pub fn probe(
    naive: Naive,
    fast: Exchange,
    recent: &[MessageBody],
    (seq, time): (u64, Nanos),
) -> Result<(), String> {
    let mut dice = Dice::new(naive.state_hash(), "probe");
    let login_at = time.plus(5_000_000_000);
    let (made, got) = Default::default();
    let mut pair = Pair { naive, fast, number: seq, time, login_at, made, got };
    // A share of the probes is about sessions and halts more than about orders, and of one session.
    let sessions = pair.naive.genesis().sessions.len() as u64;
    let mut focus = dice.percent(35).then(|| SessionSlot(dice.below(sessions) as u16));
    // Far prices are rare: a venue that has them is asked for more.
    let wide = dice.percent(10) && pair.wide_symbols().next().is_some();
    if dice.percent(5) || wide {
        let mut slots = pair.some_sessions(&mut dice);
        pair.crowd(&mut dice, &slots)?;
        // Again, the same in another order or others: what the one before has left behind.
        while dice.percent(50) {
            match dice.percent(70) {
                true => dice.shuffle(&mut slots),
                false => slots = pair.some_sessions(&mut dice),
            }
            pair.crowd(&mut dice, &slots)?;
        }
        focus = Some(dice.pick(&slots));
    }
    let mut orders = Vec::new();
    for locate in 1..=pair.naive.genesis().symbols.len() as u16 {
        for side in [Side::Buy, Side::Sell] {
            orders.extend(pair.naive.orders(Locate(locate), side));
        }
    }
    let snapshot_at = dice.below(2 * COMMANDS);
    for at in 0..COMMANDS {
        if at == snapshot_at {
            pair.go_through_a_snapshot()?;
        }
        let command = command(&mut dice, &pair.naive, &orders, recent, time, focus);
        pair.apply(&command, dice.percent(3))?;
    }
    if dice.percent(30) {
        pair.apply(&Command::EndOfDay, false)?;
        for _ in 0..CONTINUES {
            pair.apply(&Command::Continue, false)?;
        }
    }
    pair.same_views()?;
    pair.naive.check();
    pair.fast.check();
    Ok(())
}

/// Both exchanges, and what they made of the last command.
struct Pair {
    naive: Naive,
    fast: Exchange,
    number: u64,
    time: Nanos,
    /// Last login of a crowd.
    login_at: Nanos,
    made: Vec<Event>,
    got: Vec<Event>,
}

impl Pair {
    /// Both do the next command, perhaps as one that was voided.
    fn apply(&mut self, command: &Command<'_>, void: bool) -> Result<(), String> {
        self.number += 1;
        let (seq, time) = (Seq(self.number), self.time);
        self.made.clear();
        self.got.clear();
        if void {
            self.naive.apply_void(seq, time, command, &mut self.made);
            self.fast.apply_void(seq, time, command, &mut self.got);
        } else {
            self.naive.apply(seq, time, command, &mut self.made);
            self.fast.apply(seq, time, command, &mut self.got);
        }
        let hashes = (self.naive.state_hash(), self.fast.state_hash());
        let wanted = (self.naive.continue_wanted(), self.fast.continue_wanted());
        if self.made == self.got && hashes.0 == hashes.1 && wanted.0 == wanted.1 {
            return Ok(());
        }
        let at = self.made.iter().zip(&self.got).position(|(a, b)| a != b);
        let at = at.unwrap_or(self.made.len().min(self.got.len()));
        let (expected, got) = (self.made.get(at), self.got.get(at));
        Err(format!(
            "{command:?} (void {void}) tried after command {}: event {at}: expected {expected:?}, \
             got {got:?}, hashes {hashes:x?}, continue wanted {wanted:?}",
            self.number - 1
        ))
    }

    /// The fast exchange goes on from its snapshot: what was halted, closed or waits stays so.
    fn go_through_a_snapshot(&mut self) -> Result<(), String> {
        let mut bytes = Vec::new();
        self.fast.save(&mut bytes);
        let restored = Exchange::restore(self.naive.genesis(), &bytes);
        self.fast = restored.map_err(|error| format!("after {}: {error}", self.number))?;
        Ok(())
    }

    /// What the state hash does not cover is the same in both.
    fn same_views(&self) -> Result<(), String> {
        let genesis = self.naive.genesis();
        for slot in (0..genesis.sessions.len() as u16).map(SessionSlot) {
            let (expected, got) = (self.naive.session(slot), self.fast.session(slot));
            if expected != got {
                return Err(format!("after {}: {expected:?}, got {got:?}", self.number));
            }
        }
        for slot in (0..genesis.accounts.len() as u16).map(AccountSlot) {
            let (expected, got) = (self.naive.account(slot), self.fast.account(slot));
            if expected != got {
                return Err(format!("after {}: {expected:?}, got {got:?}", self.number));
            }
        }
        Ok(())
    }

    /// The session's next login, later than any before.
    fn log_in(&mut self, session: SessionSlot, flags: u8) -> Result<(), String> {
        self.login_at = self.login_at.plus(1);
        let generation = self.naive.session(session).map_or(0, |s| s.generation) + 1;
        let login = login(session, generation, flags, self.login_at, self.time);
        self.apply(&Command::Login(login), false)
    }

    /// One to four sessions.
    fn some_sessions(&self, dice: &mut Dice) -> Vec<SessionSlot> {
        let sessions = self.naive.genesis().sessions.len() as u16;
        let mut slots: Vec<SessionSlot> = (0..sessions).map(SessionSlot).collect();
        dice.shuffle(&mut slots);
        slots.truncate(dice.between(1, 4) as usize);
        slots
    }

    /// The session's next message: an order with a reference so much above its last.
    fn enter(&mut self, session: SessionSlot, urn_step: u32, order: Enter) -> Result<(), String> {
        let s = self.naive.session(session).expect("a session of Genesis");
        let urn = Urn(s.last_urn.0.saturating_add(urn_step));
        self.message(session, MessageBody::Enter(Enter { urn, ..order }))
    }

    /// The session's next message.
    fn message(&mut self, session: SessionSlot, body: MessageBody) -> Result<(), String> {
        let s = self.naive.session(session).expect("a session of Genesis");
        let head = MessageHead {
            session,
            verdict: Verdict::Ok as u8,
            body: 0,
            generation: s.generation,
            client_seq: s.next_client_seq,
            received: self.time,
        };
        self.apply(&Command::Message(head, body), false)
    }

    /// Symbols whose band needs more than one block of pages.
    fn wide_symbols(&self) -> impl Iterator<Item = usize> + use<> {
        let bands = self.naive.genesis().symbols.iter().map(|spec| levels(spec) > BLOCK_LEVELS);
        let wide: Vec<bool> = bands.collect();
        wide.into_iter().enumerate().filter_map(|(at, wide)| wide.then_some(at))
    }

    /// Orders of one session stand blocks of pages apart, the best of them is cancelled, and somebody
    /// wants what there is down to one of them, or a lot more, at once.
    fn trade_across_blocks(
        &mut self,
        dice: &mut Dice,
        session: SessionSlot,
        symbol: usize,
    ) -> Result<(), String> {
        let spec = self.naive.genesis().symbols[symbol];
        // Offers anywhere stay, bids only where nobody offers less.
        let (side, resting) =
            dice.pick(&[(b'S', Side::Sell), (b'S', Side::Sell), (b'B', Side::Buy)]);
        let blocks = u64::from(levels(&spec).div_ceil(BLOCK_LEVELS));
        for _ in 0..dice.between(2, APART_MAX) {
            let within = dice.pick(&[0, 0, 1, 64 * 512, BLOCK_LEVELS - 1]);
            let level = dice.below(blocks) as u32 * BLOCK_LEVELS + within;
            let price = spec.price_min.0 + level.min(levels(&spec) - 1) * spec.tick;
            self.enter(session, 1, limit(&spec, side, price))?;
        }
        let locate = Locate(symbol as u16 + 1);
        let sessions = self.naive.genesis().sessions.len() as u16;
        let taker = SessionSlot((session.0 + 1) % sessions);
        self.log_in(taker, 0)?;
        for _ in 0..dice.between(1, 3) {
            let best = self.naive.orders(locate, resting).into_iter().next();
            if let Some(best) = best.filter(|best| best.session == session && dice.percent(50)) {
                let cancel = Cancel { urn: best.urn, quantity: Quantity(0) };
                self.message(session, MessageBody::Cancel(cancel))?;
            }
            let order = limit(&spec, b' ', 0);
            let order = all_or_nothing(dice, &self.naive, (symbol, resting), order);
            self.enter(taker, 1, order)?;
        }
        Ok(())
    }

    /// These sessions enter more than one command may cancel, and end, perhaps in a halt; some are back
    /// while their orders still wait to be cancelled.
    fn crowd(&mut self, dice: &mut Dice, slots: &[SessionSlot]) -> Result<(), String> {
        self.apply(&Command::Mode(Mode::Normal), false)?;
        self.apply(&Command::Phase(Phase::Open), false)?;
        while self.naive.continue_wanted() {
            self.apply(&Command::Continue, false)?;
        }
        let genesis = self.naive.genesis().clone();
        let count = slots.len() as u64;
        // A share of them is one order each: the least that can wait.
        let each = dice.between(100, CROWD_MAX) / count;
        let each = if dice.percent(20) { 1 } else { each };
        // Far apart, references and prices fall out of the windows and pages that most stand in.
        let urn_step = dice.pick(&[1, 64, 256, 8_192u32]);
        let level_step = dice.pick(&[0, 0, 1, 64, 512, 1_024, 1_536u32]);
        // A share of them trades, and stands anywhere: near prices may take pages that far ones may not.
        let mixed = dice.percent(30);
        for &session in slots {
            self.log_in(session, CANCEL_ON_DISCONNECT)?;
            for at in 0..each {
                let spec = &genesis.symbols[at as usize % genesis.symbols.len()];
                let band = levels(spec);
                let level = (at as u32).wrapping_mul(level_step);
                let anywhere = mixed && dice.percent(30);
                let level = if anywhere { dice.below(u64::from(band)) as u32 } else { level };
                let side = if mixed && dice.percent(30) { b'S' } else { b'B' };
                let price = spec.price_min.0 + level % band * spec.tick;
                self.enter(session, urn_step, limit(spec, side, price))?;
            }
        }
        let wide: Vec<usize> = self.wide_symbols().collect();
        for symbol in wide {
            self.trade_across_blocks(dice, slots[0], symbol)?;
        }
        // Else one command cancels most of them.
        if dice.percent(75) {
            self.apply(&Command::Mode(Mode::Halt), false)?;
        }
        for &session in slots {
            let generation = self.naive.session(session).map_or(0, |s| s.generation);
            let down = SessionDown { session, zero: [0; 2], generation };
            self.apply(&Command::SessionDown(down), false)?;
        }
        if dice.percent(50) {
            self.go_through_a_snapshot()?;
        }
        if dice.percent(60) {
            self.apply(&Command::Mode(Mode::Normal), false)?;
            for _ in 0..CONTINUES {
                self.apply(&Command::Continue, false)?;
            }
        } else {
            for &session in slots {
                self.log_in(session, 0)?;
            }
            if dice.percent(30) {
                self.apply(&Command::Phase(Phase::Closed), false)?;
            }
        }
        Ok(())
    }
}

/// Orders that stand in different blocks of a band, at most.
const APART_MAX: u64 = 8;

/// Levels that one word of the topmost map of pages stands for: 4,096 pages of 512.
const BLOCK_LEVELS: u32 = 4_096 * 512;

/// A limit order for one lot that rests.
fn limit(spec: &SymbolSpec, side: u8, price: u32) -> Enter {
    Enter {
        urn: Urn(0),
        quantity: Quantity(spec.lot),
        price: u64::from(price),
        symbol: spec.symbol,
        account: Alpha::BLANK,
        min_quantity: Quantity(0),
        cl_ord_id: Alpha::BLANK,
        side,
        tif: b'0',
        display: b'Y',
        capacity: b'P',
        iso: b'N',
        cross: b'N',
        flags: 0,
        zero: [0; 3],
    }
}

/// Flag of a login (session.md): cancel on disconnect.
const CANCEL_ON_DISCONNECT: u8 = 1;

fn login(
    session: SessionSlot,
    generation: u32,
    flags: u8,
    login_time: Nanos,
    received: Nanos,
) -> Login {
    Login {
        session,
        flags,
        version: 1,
        generation,
        token: Token::BLANK,
        dead_time_ms: 1_000,
        client_nonce: [1; 16],
        server_nonce: [2; 16],
        ip: [10, 1, 0, 1],
        port: 5,
        zero: [0; 6],
        login_time,
        received,
    }
}

fn command(
    dice: &mut Dice,
    naive: &Naive,
    orders: &[OrderView],
    recent: &[MessageBody],
    time: Nanos,
    focus: Option<SessionSlot>,
) -> Command<'static> {
    let genesis = naive.genesis();
    let symbols = genesis.symbols.len() as u64;
    let session = SessionSlot(dice.below(genesis.sessions.len() as u64) as u16);
    let session = focus.filter(|_| dice.percent(75)).unwrap_or(session);
    let s = naive.session(session).expect("a session of Genesis");
    // One login off in a share of the cases.
    let generation = s.generation.wrapping_add(dice.pick(&[0, 0, 0, 0, 0, 0, 0, u32::MAX, 1]));
    match dice.below(if focus.is_some() { 24 } else { 48 }) {
        0..4 => Command::SymbolState(SymbolState {
            locate: Locate(dice.between(1, symbols + 1) as u16),
            state: dice.pick(b"HHT"),
            zero: 0,
            reason: Alpha(*b"T1  "),
        }),
        4 => Command::Mode(dice.pick(&[Mode::Normal, Mode::CancelOnly, Mode::Halt])),
        5 => Command::Mode(Mode::Normal),
        6 => Command::Phase(dice.pick(&[Phase::Open, Phase::Open, Phase::Closed])),
        7 | 8 => Command::Logoff(Logoff {
            session,
            zero: [0; 2],
            generation,
            client_next: s.next_client_seq.wrapping_add(dice.pick(&[0, 1, u64::MAX])),
            received: time,
        }),
        9 => Command::SessionDown(SessionDown { session, zero: [0; 2], generation }),
        10..13 => Command::Login(login(
            session,
            s.generation.wrapping_add(dice.pick(&[1, 1, 1, 0, 2])),
            dice.below(4) as u8,
            // Later than any login of the day, or earlier.
            Nanos(
                time.0.wrapping_add(dice.pick(&[10_000_000_000, 0])) - dice.pick(&[0, 0, HOUR_NS]),
            ),
            time,
        )),
        13 => Command::Continue,
        14 if dice.percent(20) => Command::EndOfDay,
        _ => {
            let head = MessageHead {
                session,
                verdict: dice.pick(&[Verdict::Ok, Verdict::Ok, Verdict::Ok, Verdict::Throttled])
                    as u8,
                body: 0,
                generation,
                client_seq: s.next_client_seq.wrapping_add(dice.pick(&[
                    0,
                    0,
                    0,
                    0,
                    0,
                    0,
                    0,
                    0,
                    1,
                    2,
                    65_536,
                    65_537,
                    u64::MAX,
                ])),
                received: time,
            };
            let body = body(dice, session, s.last_urn, orders, recent);
            let body = at_the_edge(dice, naive, session, body);
            Command::Message(head, if dice.percent(10) { spoil(dice, body) } else { body })
        }
    }
}

/// A body as clients sent it lately, made to mean something now.
fn body(
    dice: &mut Dice,
    session: SessionSlot,
    last: Urn,
    orders: &[OrderView],
    recent: &[MessageBody],
) -> MessageBody {
    let fresh = Urn(last.0.saturating_add(dice.pick(&[1, 1, 1, 1, 2, 0])));
    let own: Vec<&OrderView> = orders.iter().filter(|o| o.session == session).collect();
    let order = (!own.is_empty()).then(|| dice.pick(&own));
    match (dice.pick(recent), order) {
        (MessageBody::Enter(m), _) => MessageBody::Enter(Enter { urn: fresh, ..m }),
        (MessageBody::Replace(m), Some(order)) => {
            MessageBody::Replace(Replace { old_urn: order.urn, urn: fresh, ..m })
        }
        (MessageBody::Cancel(m), Some(order)) => {
            let quantity = dice.pick(&[m.quantity.0, 0, order.open.0 / 2, order.open.0]);
            MessageBody::Cancel(Cancel { urn: order.urn, quantity: Quantity(quantity) })
        }
        (other, _) => other,
    }
}

/// Another letter in one field, which clients' libraries do not send.
fn spoil(dice: &mut Dice, body: MessageBody) -> MessageBody {
    let letter = dice.pick(b"YNAPRO0359BSTX");
    match body {
        MessageBody::Enter(mut m) => {
            match dice.below(7) {
                0 => m.side = letter,
                1 => m.tif = letter,
                2 => m.display = letter,
                3 => m.capacity = letter,
                4 => m.iso = letter,
                5 => m.cross = letter,
                _ => m.flags ^= FLAG_MIN_QUANTITY,
            }
            MessageBody::Enter(m)
        }
        MessageBody::Replace(mut m) => {
            match dice.below(4) {
                0 => m.tif = letter,
                1 => m.display = letter,
                2 => m.iso = letter,
                _ => m.price = m.price.wrapping_add(1),
            }
            MessageBody::Replace(m)
        }
        other => other,
    }
}

/// Some new orders are for just what the account has or may, or for one share or lot more.
fn at_the_edge(
    dice: &mut Dice,
    naive: &Naive,
    session: SessionSlot,
    body: MessageBody,
) -> MessageBody {
    let genesis = naive.genesis();
    if let MessageBody::Replace(m) = body {
        // Of a chain as many shares as an order may have, or one more; no more than were executed.
        let quantity = dice.pick(&[m.quantity.0, m.quantity.0, 999_999, 1_000_000, 0]);
        return MessageBody::Replace(Replace { quantity: Quantity(quantity), ..m });
    }
    let MessageBody::Enter(m) = body else { return body };
    if dice.percent(8) {
        return MessageBody::Enter(fill_or_kill(dice, naive, m));
    }
    if dice.percent(3) {
        let most = u64::from(Price::MAX.0);
        let price = dice.pick(&[most, most + 1, u64::from(Price::MARKET.0) - 1]);
        return MessageBody::Enter(Enter { price, ..m });
    }
    let slot = genesis.sessions[session.0 as usize].default_account;
    let symbol = genesis.symbols.iter().position(|s| s.symbol == m.symbol);
    let (Some(symbol), Some(account)) = (symbol, naive.account(slot)) else { return body };
    if dice.percent(60) {
        return body;
    }
    let limits = &genesis.accounts[slot.0 as usize].limits;
    let spec = &genesis.symbols[symbol];
    let locate = Locate(symbol as u16 + 1);
    let position = account.positions.iter().find(|p| p.locate == locate);
    let (shares, counted) = position.map_or((0, 0), |p| (p.free, p.counted));
    // A market order is reckoned with the price that its protection lets it reach (exchange.md).
    let reach = match (m.side, naive.best(locate)) {
        (b'B', [_, Some((best, _))]) => (best.0 + spec.protection).min(spec.price_max.0),
        (_, [Some((best, _)), _]) => best.0.saturating_sub(spec.protection).max(spec.price_min.0),
        _ => spec.price_min.0,
    };
    let market = m.price == u64::from(Price::MARKET.0);
    // The notional limit to the last unit of a price.
    let notional = limits.order_notional_max.0;
    if notional > 0 && !market && dice.percent(20) {
        let quantity = dice.pick(&[1_000, 2_000, 2_500, 4_000, 5_000u32]);
        let price = notional / u64::from(quantity);
        return MessageBody::Enter(Enter { quantity: Quantity(quantity), price, ..m });
    }
    let price = if market { u64::from(reach) } else { m.price };
    let afford = |cash: u64| cash / price.max(1);
    let edge = match dice.below(5) {
        0 => limits.order_quantity_max as u64,
        1 => afford(limits.order_notional_max.0),
        2 => afford(account.cash_free.0),
        3 => limits.day_shares_max.saturating_sub(counted),
        _ => shares,
    };
    let lots = edge / spec.lot as u64 + dice.below(2);
    let quantity = (lots * spec.lot as u64).clamp(1, 1_000_000) as u32;
    MessageBody::Enter(Enter { quantity: Quantity(quantity), ..m })
}

/// Levels of a symbol's band.
fn levels(spec: &SymbolSpec) -> u32 {
    (spec.price_max.0 - spec.price_min.0) / spec.tick + 1
}

/// All or nothing of some shares that rest on one side of one book.
fn fill_or_kill(dice: &mut Dice, naive: &Naive, m: Enter) -> Enter {
    let at = dice.below(naive.genesis().symbols.len() as u64) as usize;
    let resting = dice.pick(&[Side::Sell, Side::Buy]);
    all_or_nothing(dice, naive, (at, resting), m)
}

/// All or nothing of some shares that rest there, or of a lot more, as far as the last of them or anywhere.
fn all_or_nothing(
    dice: &mut Dice,
    naive: &Naive,
    (symbol, resting): (usize, Side),
    m: Enter,
) -> Enter {
    let spec = &naive.genesis().symbols[symbol];
    let orders = naive.orders(Locate(symbol as u16 + 1), resting);
    if orders.is_empty() {
        return m;
    }
    let last = dice.below(orders.len() as u64) as usize;
    let shares: u64 = orders[..=last].iter().map(|order| u64::from(order.open.0)).sum();
    let quantity = shares + u64::from(spec.lot) * dice.below(2);
    let anywhere = spec.price_min.0 + dice.below(u64::from(levels(spec))) as u32 * spec.tick;
    let price = if dice.percent(30) { anywhere } else { orders[last].price.0 };
    let quantity = Quantity(quantity.min(999_999) as u32);
    Enter {
        symbol: spec.symbol,
        side: if resting == Side::Sell { b'B' } else { b'S' },
        quantity,
        min_quantity: quantity,
        flags: m.flags | FLAG_MIN_QUANTITY,
        price: u64::from(price),
        tif: b'3',
        ..m
    }
}
