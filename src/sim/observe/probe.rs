//! Probe: what both exchanges make of commands that the log does not have, tried on copies.
//!
//! Consumes copies of the naive and of the fast exchange and the last messages of the log; produces
//! the first difference. Behind the gateway many rules of the exchange are a second line (a logoff
//! with a wrong number, a message of another login, a number too far ahead), and nobody in the
//! simulation halts a symbol: here each is met with the books that the day has made.

use crate::exchange::command::*;
use crate::exchange::event::Event;
use crate::exchange::view::OrderView;
use crate::exchange::{Exchange, Naive};
use crate::sim::Dice;
use crate::types::*;

/// Commands of one probe.
const COMMANDS: u64 = 24;

/// Applies commands of its own choice, the same from the same state, to both; they must agree after
/// each. `recent`: bodies that clients sent lately, not empty. Panics as the models' own checks do.
pub fn probe(
    mut naive: Naive,
    mut fast: Exchange,
    recent: &[MessageBody],
    (seq, time): (u64, Nanos),
) -> Result<(), String> {
    let mut dice = Dice::new(naive.state_hash(), "probe");
    let mut orders = Vec::new();
    for locate in 1..=naive.genesis().symbols.len() as u16 {
        for side in [Side::Buy, Side::Sell] {
            orders.extend(naive.orders(Locate(locate), side));
        }
    }
    let (mut made, mut got): (Vec<Event>, Vec<Event>) = Default::default();
    for number in seq + 1..=seq + COMMANDS {
        let command = command(&mut dice, &naive, &orders, recent, time);
        made.clear();
        got.clear();
        naive.apply(Seq(number), time, &command, &mut made);
        fast.apply(Seq(number), time, &command, &mut got);
        let hashes = (naive.state_hash(), fast.state_hash());
        if made != got || hashes.0 != hashes.1 {
            let at = made.iter().zip(&got).position(|(a, b)| a != b);
            let at = at.unwrap_or(made.len().min(got.len()));
            let (expected, got) = (made.get(at), got.get(at));
            return Err(format!(
                "{command:?} tried after command {}: event {at}: expected {expected:?}, got {got:?}, \
                 hashes {hashes:x?}",
                number - 1
            ));
        }
    }
    naive.check();
    fast.check();
    Ok(())
}

fn command(
    dice: &mut Dice,
    naive: &Naive,
    orders: &[OrderView],
    recent: &[MessageBody],
    time: Nanos,
) -> Command<'static> {
    let genesis = naive.genesis();
    let symbols = genesis.symbols.len() as u64;
    let session = SessionSlot(dice.below(genesis.sessions.len() as u64) as u16);
    let s = naive.session(session).expect("a session of Genesis");
    // One login off in a share of the cases.
    let generation = s.generation.wrapping_add(dice.pick(&[0, 0, 0, 0, 0, 0, 0, u32::MAX, 1]));
    match dice.below(48) {
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
        10..13 => Command::Login(Login {
            session,
            flags: dice.below(4) as u8,
            version: 1,
            generation: s.generation.wrapping_add(dice.pick(&[1, 1, 1, 0, 2])),
            token: Token::BLANK,
            dead_time_ms: 1_000,
            client_nonce: [1; 16],
            server_nonce: [2; 16],
            ip: [10, 1, 0, 1],
            port: 5,
            zero: [0; 6],
            // Later than any login of the day, or earlier.
            login_time: Nanos(time.0.wrapping_add(dice.pick(&[10_000_000_000, 0]))),
            received: time,
        }),
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
            Command::Message(head, at_the_edge(dice, naive, session, body))
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

/// Some new orders are for just what the account has or may, or for one share or lot more.
fn at_the_edge(
    dice: &mut Dice,
    naive: &Naive,
    session: SessionSlot,
    body: MessageBody,
) -> MessageBody {
    let MessageBody::Enter(m) = body else { return body };
    let genesis = naive.genesis();
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
