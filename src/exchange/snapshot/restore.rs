//! Bytes -> exchange: every value is checked before it is used.

use super::super::Exchange;
use super::super::arena::Order;
use super::super::command::{Mode, Phase};
use super::super::genesis::Genesis;
use super::super::market::Day;
use super::super::state_hash;
use super::RestoreError::{Damaged, Inconsistent, Length};
use super::*;
use crate::planted::{self, Bug};
use crate::types::*;
use bytes::Buf;

/// Counters above this are damage: adding to them must never overflow.
const COUNT_MAX: u64 = 1 << 62;

/// The fixed first part.
struct Head {
    day: u8,
    phase: Phase,
    mode: Mode,
    opened: bool,
    closed: bool,
    chain: u64,
    feed: u64,
    matches: u64,
    references: u32,
    ending: u16,
    waiting: usize,
    positions: usize,
    orders: usize,
    listed: usize,
    fresh: u32,
}

impl Exchange {
    /// The exchange that [`Exchange::save`] wrote under the same Genesis. Any other bytes are an
    /// error. Cost: that of [`Exchange::new`], and O(state).
    pub fn restore(genesis: &Genesis, bytes: &[u8]) -> Result<Exchange, RestoreError> {
        let whole = bytes;
        let mut bytes = bytes;
        let version = bytes.try_get_u32_le()?;
        if version != VERSION {
            return Err(RestoreError::Version(version));
        }
        let sum_at = whole.len().checked_sub(8).ok_or(Length)?;
        if (&whole[sum_at..]).try_get_u64_le()? != fold(&whole[..sum_at]) {
            return Err(Damaged);
        }
        let mut exchange = Exchange::new(genesis)?;
        let head = read_head(&mut bytes, &exchange)?;
        let counts = [
            HEAD_BYTES,
            genesis.symbols.len(),
            genesis.sessions.len() * SESSION_BYTES,
            head.waiting * 2,
            genesis.accounts.len() * CASH_BYTES,
            head.positions * POSITION_BYTES,
            head.orders * ORDER_BYTES,
            head.listed * 4,
            TAIL_BYTES,
        ];
        if whole.len() != counts.iter().sum::<usize>() {
            return Err(Length);
        }
        read_market(&mut bytes, &head, &mut exchange)?;
        read_sessions(&mut bytes, &head, &mut exchange)?;
        let (cash, positions) = read_wallet(&mut bytes, &head, &exchange)?;
        exchange.state.wallet.set_balances(&cash, &positions);
        exchange.numbers.chain = head.chain;
        exchange.numbers.feed = bounded(head.feed)?;
        exchange.numbers.matches = bounded(head.matches)?;
        read_orders(&mut bytes, &head, &mut exchange)?;
        check_holds(&exchange, &cash, &positions)?;
        let (built, said) = (exchange.state_hash(), bytes.try_get_u64_le()?);
        if built != said {
            return Err(RestoreError::StateHash { built, said });
        }
        Ok(exchange)
    }
}

fn read_head(bytes: &mut &[u8], exchange: &Exchange) -> Result<Head, RestoreError> {
    let [day, phase] = [bytes.try_get_u8()?, bytes.try_get_u8()?];
    let [opened, closed] = [flag(bytes)?, flag(bytes)?];
    if bytes.try_get_u64_le()? != fold(&exchange.genesis_bytes) {
        return Err(RestoreError::OtherDay);
    }
    let [chain, feed, matches] =
        [bytes.try_get_u64_le()?, bytes.try_get_u64_le()?, bytes.try_get_u64_le()?];
    let references = bytes.try_get_u32_le()?;
    let [ending, waiting] = [bytes.try_get_u16_le()?, bytes.try_get_u16_le()?];
    let genesis = exchange.genesis();
    for count in [genesis.symbols.len(), genesis.sessions.len(), genesis.accounts.len()] {
        if bytes.try_get_u32_le()? as usize != count {
            return Err(Inconsistent("a count is not that of Genesis"));
        }
    }
    let mut count = || bytes.try_get_u32_le();
    let [positions, orders, listed, fresh] = [count()?, count()?, count()?, count()?];
    let mode = Mode::from_byte(bytes.try_get_u8()?).ok_or(Inconsistent("mode"))?;
    let zero = bytes.try_get_uint_le(3)?;
    let slots = exchange.state.books.arena.slots();
    let used = fresh.checked_sub(listed).filter(|_| fresh <= slots);
    if used != Some(orders) || orders > exchange.state.orders_max || zero != 0 {
        return Err(Inconsistent("orders and free slots do not fill the arena"));
    }
    let phase = match phase {
        0 => Phase::PreOpen,
        1 => Phase::Open,
        2 => Phase::Closed,
        _ => return Err(Inconsistent("phase")),
    };
    Ok(Head {
        day,
        phase,
        mode,
        opened,
        closed,
        chain,
        feed,
        matches,
        references,
        ending,
        waiting: waiting as usize,
        positions: positions as usize,
        orders: orders as usize,
        listed: listed as usize,
        fresh,
    })
}

fn flag(bytes: &mut &[u8]) -> Result<bool, RestoreError> {
    match bytes.try_get_u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Inconsistent("a flag is neither 0 nor 1")),
    }
}

fn bounded(count: u64) -> Result<u64, RestoreError> {
    if count <= COUNT_MAX { Ok(count) } else { Err(Inconsistent("a number above 2^62")) }
}

fn read_market(
    bytes: &mut &[u8],
    head: &Head,
    exchange: &mut Exchange,
) -> Result<(), RestoreError> {
    let sessions = exchange.sessions.count();
    let (day, idle) = match head.day {
        0 => (Day::Before, true),
        1 => (Day::Running, false),
        2 if head.ending < sessions => (Day::Ending(head.ending), false),
        3 => (Day::Over, true),
        _ => return Err(Inconsistent("state of the day")),
    };
    if (idle && head.orders > 0)
        || (day != Day::Running && head.waiting > 0)
        || (head.ending != 0 && head.day != 2)
    {
        return Err(Inconsistent("state of the day"));
    }
    let market = &mut exchange.state.market;
    market.day = day;
    market.phase = head.phase;
    market.mode = head.mode;
    market.opened = head.opened;
    market.closed = head.closed;
    for locate in 1..=exchange.genesis().symbols.len() as u16 {
        let halted = flag(bytes)?;
        let row = exchange.state.market.symbol_mut(Locate(locate));
        row.ok_or(Inconsistent("symbols"))?.halted = halted;
    }
    Ok(())
}

fn read_sessions(
    bytes: &mut &[u8],
    head: &Head,
    exchange: &mut Exchange,
) -> Result<(), RestoreError> {
    let sessions = &mut exchange.sessions;
    for slot in 0..sessions.count() {
        let row = sessions.row_mut(SessionSlot(slot));
        row.next_client_seq = bounded(bytes.try_get_u64_le()?)?;
        row.next_report = bounded(bytes.try_get_u64_le()?)?;
        row.login_time = Nanos(bytes.try_get_u64_le()?);
        row.generation = bytes.try_get_u32_le()?;
        row.last_urn = Urn(bytes.try_get_u32_le()?);
        row.bound = flag(bytes)?;
        row.cancel_on_disconnect = flag(bytes)? && !planted::is(Bug::SnapshotForgetsFlag);
        if row.next_client_seq == 0 || row.next_report == 0 || bytes.try_get_u16_le()? != 0 {
            return Err(Inconsistent("a session"));
        }
    }
    for _ in 0..head.waiting {
        let slot = SessionSlot(bytes.try_get_u16_le()?);
        if sessions.get(slot).is_none_or(|row| row.entry_closed) {
            return Err(Inconsistent("the list of mass cancels"));
        }
        sessions.wait(slot);
    }
    Ok(())
}

/// Free and held cash of each account; free, held and day shares of positions by index.
type Balances = (Vec<[u64; 2]>, Vec<(u32, [u64; 3])>);

/// Balances whose sums are those of Genesis.
fn read_wallet(
    bytes: &mut &[u8],
    head: &Head,
    exchange: &Exchange,
) -> Result<Balances, RestoreError> {
    let genesis = exchange.genesis();
    let symbols = genesis.symbols.len();
    let (mut cash, mut total, mut opening) = (Vec::new(), 0u128, 0u128);
    for account in &genesis.accounts {
        let row = [bytes.try_get_u64_le()?, bytes.try_get_u64_le()?];
        total += u128::from(row[0]) + u128::from(row[1]);
        opening += u128::from(account.cash.0);
        cash.push(row);
    }
    if total != opening {
        return Err(Inconsistent("cash is not that of Genesis"));
    }
    let mut rest = vec![0i128; symbols];
    for account in &genesis.accounts {
        for &(locate, shares) in &account.positions {
            rest[locate.0 as usize - 1] += i128::from(shares);
        }
    }
    let mut positions: Vec<(u32, [u64; 3])> = Vec::with_capacity(head.positions);
    for _ in 0..head.positions {
        let at = bytes.try_get_u32_le()?;
        let [free, held, day_shares] =
            [bytes.try_get_u64_le()?, bytes.try_get_u64_le()?, bytes.try_get_u64_le()?];
        let ascending = positions.last().is_none_or(|&(last, _)| last < at);
        if !ascending || at as usize >= genesis.accounts.len() * symbols {
            return Err(Inconsistent("positions"));
        }
        rest[at as usize % symbols] -= i128::from(free) + i128::from(held);
        positions.push((at, [free, held, bounded(day_shares)?]));
    }
    if rest.iter().any(|&shares| shares != 0) {
        return Err(Inconsistent("shares are not those of Genesis"));
    }
    Ok((cash, positions))
}

/// Orders in order of reference, then the free slots.
fn read_orders(
    bytes: &mut &[u8],
    head: &Head,
    exchange: &mut Exchange,
) -> Result<(), RestoreError> {
    let mut named = vec![false; head.fresh as usize];
    let mut name = |slot: u32| match named.get_mut(slot as usize) {
        Some(named) if !*named => {
            *named = true;
            Ok(())
        }
        _ => Err(Inconsistent("a slot is named twice, or does not exist")),
    };
    let mut last = 0;
    for _ in 0..head.orders {
        let slot = bytes.try_get_u32_le()?;
        name(slot)?;
        let order = read_order(bytes, exchange)?;
        if order.reference <= last || order.reference > head.references {
            return Err(Inconsistent("references are not in order"));
        }
        last = order.reference;
        place(exchange, slot, order)?;
    }
    let mut listed = Vec::with_capacity(head.listed);
    for _ in 0..head.listed {
        let slot = bytes.try_get_u32_le()?;
        name(slot)?;
        listed.push(slot);
    }
    let books = &mut exchange.state.books;
    books.arena.set_free(&listed, head.fresh);
    books.set_references(head.references);
    let crossed = (1..=exchange.genesis().symbols.len() as u16)
        .any(|locate| exchange.state.books.book(Locate(locate)).is_none_or(|b| b.is_crossed()));
    if crossed { Err(Inconsistent("a book is crossed")) } else { Ok(()) }
}

fn read_order(bytes: &mut &[u8], exchange: &Exchange) -> Result<Order, RestoreError> {
    let reference = bytes.try_get_u32_le()?;
    let price = Price(bytes.try_get_u32_le()?);
    let open = Quantity(bytes.try_get_u32_le()?);
    let executed = Quantity(bytes.try_get_u32_le()?);
    let urn = Urn(bytes.try_get_u32_le()?);
    let session = SessionSlot(bytes.try_get_u16_le()?);
    let account = AccountSlot(bytes.try_get_u16_le()?);
    let locate = Locate(bytes.try_get_u16_le()?);
    let side = Side::from_letter(bytes.try_get_u8()?).ok_or(Inconsistent("side"))?;
    let [capacity, cross] = [bytes.try_get_u8()?, bytes.try_get_u8()?];
    if bytes.try_get_u8()? != 0 || bytes.try_get_u16_le()? != 0 {
        return Err(Inconsistent("an order's last bytes"));
    }
    let genesis = exchange.genesis();
    let row = exchange.sessions.get(session).ok_or(Inconsistent("session of an order"))?;
    let firm = genesis.accounts.get(account.0 as usize).map(|a| a.firm);
    let book = exchange.state.books.book(locate).ok_or(Inconsistent("symbol of an order"))?;
    let level = book.level_of(price).ok_or(Inconsistent("price of an order"))?;
    // Twice OUCH's largest quantity: adding an execution cannot overflow.
    let shares_ok = open.0 > 0 && open.0.checked_add(executed.0).is_some_and(|s| s < 2_000_000);
    if firm != Some(row.firm) || !shares_ok || urn.0 == 0 || urn > row.last_urn {
        return Err(Inconsistent("an order"));
    }
    let mut order = Order::new(locate, side, price, open);
    (order.level, order.executed, order.reference) = (level, executed, reference);
    (order.urn, order.session, order.account) = (urn, session, account);
    (order.capacity, order.cross) = (capacity, cross);
    Ok(order)
}

/// Puts an order into its book, the index and its session's list.
fn place(exchange: &mut Exchange, slot: u32, order: Order) -> Result<(), RestoreError> {
    let Exchange { state, sessions, .. } = exchange;
    let Order { session, urn, locate, level, open, .. } = order;
    if state.index.get(&state.books.arena, session, urn).is_some() {
        return Err(Inconsistent("two orders of one reference"));
    }
    if !state.books.book(locate).is_some_and(|book| book.has_page(level)) {
        return Err(Inconsistent("more price pages than Genesis has"));
    }
    state.index.insert(session, urn, slot);
    let part = state_hash::order(order.order_ref(slot), open);
    state.orders_sum = state.orders_sum.wrapping_add(part);
    state.books.rest(slot, order);
    sessions.link(&mut state.books.arena, slot);
    Ok(())
}

/// What accounts hold is what their resting orders may cost.
fn check_holds(
    exchange: &Exchange,
    cash: &[[u64; 2]],
    positions: &[(u32, [u64; 3])],
) -> Result<(), RestoreError> {
    let arena = &exchange.state.books.arena;
    let symbols = exchange.genesis().symbols.len();
    let mut cash_held = vec![0u128; cash.len()];
    // Shares held and open, by position; only positions that are in the list may have any.
    let mut shares = vec![(0u64, 0u64); positions.len()];
    for order in (0..arena.slots()).filter_map(|slot| arena.get(slot)) {
        let account = order.account.0 as usize;
        let at = (account * symbols + order.locate.0 as usize - 1) as u32;
        let row = positions.binary_search_by_key(&at, |&(at, _)| at);
        let row = &mut shares[row.map_err(|_| Inconsistent("an order without a position"))?];
        row.1 += u64::from(order.open.0);
        match order.side {
            Side::Buy => cash_held[account] += u128::from(order.price.times(order.open).0),
            Side::Sell => row.0 += u64::from(order.open.0),
        }
    }
    let cash_fits = cash.iter().zip(cash_held).all(|(row, held)| u128::from(row[1]) == held);
    let shares_fit =
        positions.iter().zip(shares).all(|(&(_, [_, held, day_shares]), (of_orders, open))| {
            held == of_orders && day_shares >= open
        });
    if cash_fits && shares_fit {
        Ok(())
    } else {
        Err(Inconsistent("holds are not those of the orders"))
    }
}
