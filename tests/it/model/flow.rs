//! Draws commands: mostly sensible ones, relative to what the model holds now, and every way of
//! being wrong often enough to matter.

use rialto::exchange::command::*;
use rialto::exchange::view::{OrderView, SessionView};
use rialto::types::*;

use super::day::Kind;
use super::pair::Pair;
use super::source::Source;

/// How often each thing happens; drawn per day, some are left out altogether.
pub struct Flow {
    weights: [u64; WHAT.len()],
    kind: Kind,
    /// By session: time of the last login that was sent.
    login_times: Vec<u64>,
    /// Commands since views were last compared.
    since_views: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum What {
    Enter,
    Replace,
    Cancel,
    Query,
    Unparsed,
    Login,
    Logoff,
    Down,
    Tick,
    Phase,
    Symbol,
    Mode,
    Continue,
    EndOfDay,
}

/// Weight of each on an ordinary day. Enter stands first: it is what exhausted bytes choose.
const WHAT: [(What, u64); 14] = [
    (What::Enter, 480),
    (What::Replace, 160),
    (What::Cancel, 140),
    (What::Query, 10),
    (What::Unparsed, 20),
    (What::Login, 30),
    (What::Logoff, 6),
    (What::Down, 6),
    (What::Tick, 4),
    (What::Phase, 4),
    (What::Symbol, 10),
    (What::Mode, 12),
    (What::Continue, 10),
    (What::EndOfDay, 0),
];

impl Flow {
    /// Draws the habits of a day.
    pub fn draw(kind: Kind, source: &mut impl Source) -> Flow {
        let mut weights = WHAT.map(|(_, weight)| weight);
        for weight in weights.iter_mut().skip(1) {
            let habit = source.pick(&[10, 10, 30, 0]);
            *weight = *weight * habit / 10;
            // On crowded days orders pile up until, at last, a session goes.
            if kind == Kind::Crowded {
                *weight = weight.div_ceil(10);
            }
        }
        // Some days end early, and what comes after is to be ignored.
        weights[WHAT.len() - 1] = if source.once_in(8) { 2 } else { 0 };
        Flow { weights, kind, login_times: vec![0; 16], since_views: 0 }
    }

    /// Draws one command and applies it.
    pub fn step(&mut self, pair: &mut Pair, source: &mut impl Source) {
        self.since_views += 1;
        if self.since_views == 50 {
            self.since_views = 0;
            pair.compare_views();
        }
        let sessions = pair.naive.genesis().sessions.len() as u64;
        let mut session = SessionSlot(source.below(sessions) as u16);
        let mut view = pair.naive.session(session).expect("a session of genesis");
        if pair.naive.continue_wanted() {
            // While a mass cancel goes on: its session comes back, trades, and is lost again.
            let closing = (0..sessions as u16)
                .map(SessionSlot)
                .find(|&slot| pair.naive.session(slot).is_some_and(|session| session.entry_closed));
            if let Some(slot) = closing
                && source.below(2) == 1
            {
                session = slot;
                view = pair.naive.session(slot).expect("a session of genesis");
            }
            match source.below(16) {
                1..4 => return pair.apply(&Command::Continue),
                4 | 5 if view.bound => {
                    let generation = view.generation;
                    let zero = [0; 2];
                    let down = SessionDown { session, zero, generation };
                    return pair.apply(&Command::SessionDown(down));
                }
                6 if source.once_in(4) => return pair.apply(&Command::EndOfDay),
                _ => {}
            }
        }
        // What is shut comes back soon: little else is seen while it is.
        if !view.bound && source.below(3) < 2 {
            return self.login(pair, source, session, &view);
        }
        match source.below(60) {
            1 => return pair.apply(&Command::Phase(Phase::Open)),
            4 | 5 => return pair.apply(&Command::Mode(Mode::Normal)),
            2 | 3 => {
                let locate = Locate(1 + source.below(3) as u16);
                let (state, reason) = (b'T', Alpha::BLANK);
                return pair.apply(&Command::SymbolState(SymbolState {
                    locate,
                    state,
                    zero: 0,
                    reason,
                }));
            }
            _ => {}
        }
        let mut at = source.below(self.weights.iter().sum());
        let mut what = What::Enter;
        for (i, &weight) in self.weights.iter().enumerate() {
            if at < weight {
                what = WHAT[i].0;
                break;
            }
            at -= weight;
        }
        match what {
            What::Login => self.login(pair, source, session, &view),
            What::Logoff => {
                let generation = near(source, u64::from(view.generation)) as u32;
                let client_next = near(source, view.next_client_seq);
                let zero = [0; 2];
                let received = Nanos(pair.time);
                pair.apply(&Command::Logoff(Logoff {
                    session,
                    zero,
                    generation,
                    client_next,
                    received,
                }));
            }
            What::Down => {
                let generation = near(source, u64::from(view.generation)) as u32;
                let session = maybe_unknown(source, session);
                pair.apply(&Command::SessionDown(SessionDown {
                    session,
                    zero: [0; 2],
                    generation,
                }));
            }
            What::Tick => pair.apply(&Command::Tick),
            What::Phase => {
                let phases = [Phase::Open, Phase::PreOpen, Phase::Closed];
                pair.apply(&Command::Phase(source.pick(&phases)));
            }
            What::Symbol => {
                let locate = Locate(source.below(5) as u16);
                let state = source.pick(b"TTHHx");
                let reason = Alpha(*b"HALT");
                pair.apply(&Command::SymbolState(SymbolState { locate, state, zero: 0, reason }));
            }
            What::Mode => {
                let modes = [Mode::CancelOnly, Mode::Halt, Mode::Normal];
                pair.apply(&Command::Mode(source.pick(&modes)));
            }
            What::Continue => pair.apply(&Command::Continue),
            What::EndOfDay => pair.apply(&Command::EndOfDay),
            message => {
                let body = match message {
                    What::Replace => replace(pair, source, session, &view),
                    What::Cancel => cancel(pair, source, session),
                    What::Query => MessageBody::Query,
                    What::Unparsed => unparsed(source, &view),
                    _ => self.enter(pair, source, &view),
                };
                send(pair, source, session, &view, body);
            }
        }
    }

    fn login(
        &mut self,
        pair: &mut Pair,
        source: &mut impl Source,
        session: SessionSlot,
        view: &SessionView,
    ) {
        let good = source.below(8) < 7;
        let generation = if good { view.generation + 1 } else { near(source, 7) as u32 };
        // A time that is not later than the last one is refused.
        let last = &mut self.login_times[session.0 as usize];
        let login_time = match source.below(20) {
            18 => *last,
            19 => last.saturating_sub(1_500),
            _ => pair.time,
        };
        *last = login_time.max(*last);
        let login_time = Nanos(login_time);
        pair.apply(&Command::Login(Login {
            session: maybe_unknown(source, session),
            flags: source.pick(&[1, 0, 1, 3]),
            version: 1,
            generation,
            token: Alpha::BLANK,
            dead_time_ms: 5_000,
            client_nonce: [generation as u8; 16],
            server_nonce: [1; 16],
            ip: [10, 0, 0, 1],
            port: 5_000,
            zero: [0; 6],
            login_time,
            received: Nanos(pair.time),
        }));
    }

    fn enter(&self, pair: &Pair, source: &mut impl Source, view: &SessionView) -> MessageBody {
        let genesis = pair.naive.genesis();
        let index = source.below(genesis.symbols.len() as u64) as usize;
        let locate = Locate(index as u16 + 1);
        let side = source.pick(b"BS");
        let mut price = price(pair, source, locate);
        let spec = genesis.symbols[index];
        let tick = u64::from(spec.tick);
        let middle = u64::from((spec.price_min.0 + spec.price_max.0) / 2 / spec.tick) * tick;
        // Prices that rest: close by on crowded days, whole pages away on wide ones.
        let away = match self.kind {
            Kind::Crowded if source.below(12) > 0 => 1 + source.below(12),
            Kind::Wide if source.below(2) > 0 => 256 * source.below(38),
            _ => 0,
        } * tick;
        if away > 0 {
            let far = if side == b'B' { middle.saturating_sub(away) } else { middle + away };
            price = far.clamp(u64::from(spec.price_min.0), u64::from(spec.price_max.0));
        }
        let quantity = quantity(pair, source, locate);
        let immediate =
            source.below(6) == 5 || (price == u64::from(Price::MARKET.0) && source.below(4) > 0);
        let urn = new_urn(source, view);
        let mut flags = 0;
        let mut min_quantity = 0;
        if immediate && source.below(2) == 1 || source.once_in(100) {
            flags |= FLAG_MIN_QUANTITY;
            min_quantity = source.pick(&[quantity, quantity, quantity, 0, 1]);
        }
        let mut account = AccountName::BLANK;
        if source.below(5) == 4 {
            flags |= FLAG_ACCOUNT;
            let at = source.below(genesis.accounts.len() as u64 + 1) as usize;
            account = genesis.accounts.get(at).map_or(Alpha(*b"NONE"), |a| a.name);
        }
        let mut symbol = genesis.symbols[index].symbol;
        if source.once_in(150) {
            symbol = Alpha(*b"UNKNOWN ");
        }
        MessageBody::Enter(Enter {
            urn,
            quantity: Quantity(quantity),
            price,
            symbol,
            account,
            min_quantity: Quantity(min_quantity),
            cl_ord_id: Alpha([b'a' + (urn.0 % 26) as u8; 14]),
            side: letter(source, &[side, b'T', b'E', 0]),
            tif: letter(source, &[if immediate { b'3' } else { b'0' }, b'5', 0, b'3']),
            display: letter(source, b"YNAZ"),
            capacity: letter(source, b"APROX"),
            iso: letter(source, b"NY?"),
            cross: letter(source, b"NOC"),
            flags,
            zero: [0; 3],
        })
    }

    /// Ends the day, if that has not happened, and compares what is left.
    pub fn finish(&mut self, pair: &mut Pair) {
        pair.compare_views();
        // The day may end in the middle of mass cancels.
        if self.kind == Kind::Crowded {
            for session in (0..pair.naive.genesis().sessions.len() as u16).map(SessionSlot) {
                let generation = pair.naive.session(session).map_or(0, |view| view.generation);
                let zero = [0; 2];
                pair.apply(&Command::SessionDown(SessionDown { session, zero, generation }));
            }
            pair.compare_views();
        }
        pair.apply(&Command::EndOfDay);
        pair.compare_views();
        let mut steps = 0;
        while pair.naive.continue_wanted() {
            pair.apply(&Command::Continue);
            steps += 1;
            assert!(steps < 10_000, "a mass action that does not end");
        }
        pair.apply(&Command::EndOfDay);
        pair.apply(&Command::Continue);
        assert_eq!(pair.naive.open_orders(), 0);
        pair.compare_views();
    }
}

/// Mostly `value`, sometimes one beside it or far off.
fn near(source: &mut impl Source, value: u64) -> u64 {
    match source.below(8) {
        5 => value.saturating_sub(1),
        6 => value + 1,
        7 => value + 1_000,
        _ => value,
    }
}

fn maybe_unknown(source: &mut impl Source, session: SessionSlot) -> SessionSlot {
    if source.once_in(100) { SessionSlot(source.pick(&[9, 4_000, u16::MAX])) } else { session }
}

/// Sends a block, mostly as the next one, under the right generation and with the right verdict.
fn send(
    pair: &mut Pair,
    source: &mut impl Source,
    session: SessionSlot,
    view: &SessionView,
    body: MessageBody,
) {
    let next = view.next_client_seq;
    let client_seq = match source.below(150) {
        145 => next.saturating_sub(1),
        146 => next - source.below(next),
        147 => next + 1 + source.below(5),
        148 => next + 65_535 + source.below(4),
        149 => source.pick(&[0, u64::MAX, next + 3]),
        _ => next,
    };
    let generation = if source.once_in(80) { near(source, 3) as u32 } else { view.generation };
    let verdict = match (body, source.below(30)) {
        (MessageBody::Unparsed(_), 28) => Verdict::Ok as u8,
        (MessageBody::Unparsed(_), 29) => Verdict::Throttled as u8,
        (MessageBody::Unparsed(_), _) => Verdict::Malformed as u8,
        (_, 27) => Verdict::Malformed as u8,
        (_, 28) => source.pick(&[Verdict::Throttled as u8, 3, 255]),
        (_, 29) => Verdict::Throttled as u8,
        _ => Verdict::Ok as u8,
    };
    let session = maybe_unknown(source, session);
    let received = Nanos(pair.time);
    let head = MessageHead { session, verdict, body: 0, generation, client_seq, received };
    let command = Command::Message(head, body);
    if source.once_in(200) {
        return pair.apply_void(&command);
    }
    pair.apply(&command);
}

/// Mostly the next client reference, sometimes a gap, a used one, or the last there is.
fn new_urn(source: &mut impl Source, view: &SessionView) -> Urn {
    let last = view.last_urn.0;
    Urn(match source.below(40) {
        36 => last.saturating_add(1 + source.below(200) as u32),
        37 => last,
        38 => source.below(u64::from(last) + 1) as u32,
        // A reference of another size altogether, and very rarely the last one there is.
        39 if source.once_in(200) => u32::MAX,
        39 if last < 1 << 28 => last + (1 << 20),
        _ => last.saturating_add(1),
    })
}

/// A price of the symbol: near the market, anywhere in its band, or no price at all.
fn price(pair: &Pair, source: &mut impl Source, locate: Locate) -> u64 {
    let spec = pair.naive.genesis().symbols[locate.0 as usize - 1];
    let ticks = u64::from((spec.price_max.0 - spec.price_min.0) / spec.tick + 1);
    let tick = u64::from(spec.tick);
    let low = u64::from(spec.price_min.0);
    let middle = low + ticks / 2 * tick;
    match source.below(40) {
        30 => u64::from(Price::MARKET.0),
        31 | 32 => low + source.below(ticks) * tick,
        33 => low + source.pick(&[0, ticks - 1]) * tick,
        34 => source.pick(&[
            0,
            low - tick,
            u64::from(spec.price_max.0) + tick,
            middle + 1,
            u64::from(Price::MAX.0),
            u64::from(Price::MAX.0) + 4,
            u64::from(u32::MAX) + 1 + middle,
            u64::MAX,
        ]),
        // Whole pages away.
        35..38 => {
            let pages = ticks / 512 + 1;
            (low + source.below(pages) * 512 * tick).min(u64::from(spec.price_max.0))
        }
        _ => (middle + source.below(13) * tick).saturating_sub(6 * tick).max(tick),
    }
}

fn quantity(pair: &Pair, source: &mut impl Source, locate: Locate) -> u32 {
    let lot = pair.naive.genesis().symbols[locate.0 as usize - 1].lot;
    match source.below(40) {
        36 => 200 * lot,
        37 => source.pick(&[0, 999_999, 1_000_000, u32::MAX, 999_990]),
        38 => source.below(40) as u32,
        _ => (1 + source.below(20) as u32) * lot,
    }
}

/// Mostly the first letter, sometimes one of the others.
fn letter(source: &mut impl Source, letters: &[u8]) -> u8 {
    if source.once_in(150) { source.pick(letters) } else { letters[0] }
}

/// A live order of the session, or one that is long gone.
fn old_order(
    pair: &Pair,
    source: &mut impl Source,
    session: SessionSlot,
) -> (Urn, Option<OrderView>) {
    let locates = (1..=pair.naive.genesis().symbols.len() as u16).map(Locate);
    let mine: Vec<OrderView> = locates
        .flat_map(|locate| [(locate, Side::Buy), (locate, Side::Sell)])
        .flat_map(|(locate, side)| pair.naive.orders(locate, side))
        .filter(|o| o.session == session)
        .collect();
    if mine.is_empty() || source.below(10) == 9 {
        return (Urn(source.below(50) as u32), None);
    }
    let order = mine[source.below(mine.len() as u64) as usize];
    (order.urn, Some(order))
}

fn replace(
    pair: &Pair,
    source: &mut impl Source,
    session: SessionSlot,
    view: &SessionView,
) -> MessageBody {
    let (old_urn, order) = old_order(pair, source, session);
    let locate = order.map_or(Locate(1), |o| o.locate);
    let executed = order.map_or(0, |o| o.executed.0);
    let urn = new_urn(source, view);
    let total = match source.below(12) {
        10 => executed,
        11 => source.below(30) as u32,
        _ => executed.saturating_add(quantity(pair, source, locate)),
    };
    let price = match order {
        Some(o) if source.below(4) == 3 => u64::from(o.price.0),
        _ => price(pair, source, locate),
    };
    MessageBody::Replace(Replace {
        old_urn,
        urn,
        quantity: Quantity(total),
        tif: source.pick(b"00000003"),
        display: letter(source, b"YNA"),
        iso: letter(source, b"NY"),
        zero: 0,
        price,
        cl_ord_id: Alpha([b'A' + (urn.0 % 26) as u8; 14]),
        zero_tail: [0; 2],
    })
}

fn cancel(pair: &Pair, source: &mut impl Source, session: SessionSlot) -> MessageBody {
    let (urn, order) = old_order(pair, source, session);
    let executed = order.map_or(0, |o| o.executed.0);
    let open = order.map_or(5, |o| o.open.0);
    let quantity = match source.below(6) {
        3 => executed + source.below(u64::from(open) + 2) as u32,
        4 => executed,
        5 => source.below(30) as u32,
        _ => 0,
    };
    MessageBody::Cancel(Cancel { urn, quantity: Quantity(quantity) })
}

fn unparsed(source: &mut impl Source, view: &SessionView) -> MessageBody {
    MessageBody::Unparsed(Unparsed {
        letter: source.pick(b"OUXQ\0z"),
        has_urn: source.pick(&[1, 1, 0]),
        urn: new_urn(source, view),
        cl_ord_id: Alpha([b'z'; 14]),
    })
}
