//! Reading the naive exchange: the same views as the fast one, its state hash, and `check`.

use super::{Day, Naive, Order};
use crate::exchange::genesis::Genesis;
use crate::exchange::state_hash;
use crate::exchange::view::*;
use crate::types::*;

impl Naive {
    /// The day as it was at its start.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// Best price and its shares, bid then offer; none for an unknown symbol.
    pub fn best(&self, locate: Locate) -> [Option<(Price, u64)>; 2] {
        [Side::Buy, Side::Sell].map(|side| {
            self.levels(locate, side).first().map(|level| (level.price, level.quantity))
        })
    }

    /// Levels of a side, best first; none for an unknown symbol.
    pub fn levels(&self, locate: Locate, side: Side) -> Vec<LevelView> {
        let mut levels: Vec<LevelView> = Vec::new();
        for order in self.orders(locate, side) {
            if levels.last().is_none_or(|level| level.price != order.price) {
                levels.push(LevelView { price: order.price, quantity: 0, count: 0 });
            }
            if let Some(level) = levels.last_mut() {
                level.quantity += u64::from(order.open.0);
                level.count += 1;
            }
        }
        levels
    }

    /// Resting orders of a side in the order in which they would trade; none for an unknown symbol.
    pub fn orders(&self, locate: Locate, side: Side) -> Vec<OrderView> {
        if locate.0 == 0 || locate.0 as usize > self.books.len() {
            return Vec::new();
        }
        let levels = self.levels_of(locate, side);
        let refs: Vec<OrderRef> = match side {
            Side::Buy => levels.values().rev().flatten().copied().collect(),
            Side::Sell => levels.values().flatten().copied().collect(),
        };
        refs.into_iter().map(|order_ref| view_of(order_ref, &self.orders[&order_ref])).collect()
    }

    /// An account, `None` when unknown; positions without shares are left out.
    pub fn account(&self, slot: AccountSlot) -> Option<AccountView> {
        let total = self.accounts.get(slot.0 as usize)?.cash;
        let free = self.cash_free(slot, None);
        let locates = (1..=self.books.len() as u16).map(Locate);
        let positions = locates.map(|locate| {
            let total = self.accounts[slot.0 as usize].shares[locate.0 as usize - 1];
            let free = self.shares_free(slot, locate, None);
            let counted = self.day_shares(slot, locate, None);
            PositionView { locate, free, held: total - free, counted }
        });
        Some(AccountView {
            cash_free: Notional(free),
            cash_held: Notional(total - free),
            positions: positions.filter(|p| p.free + p.held > 0).collect(),
        })
    }

    /// A session, `None` when unknown.
    pub fn session(&self, slot: SessionSlot) -> Option<SessionView> {
        let s = self.sessions.get(slot.0 as usize)?;
        Some(SessionView {
            bound: s.bound,
            generation: s.generation,
            next_client_seq: s.next,
            next_report: s.next_report,
            last_urn: Urn(s.last_urn),
            entry_closed: self.is_entry_closed(slot),
            open_orders: self.orders.values().filter(|o| o.session == slot).count() as u32,
        })
    }

    /// Resting orders of the whole venue.
    pub fn open_orders(&self) -> u32 {
        self.orders.len() as u32
    }

    /// Cash that no open order holds, were the order `without` not there.
    pub(super) fn cash_free(&self, slot: AccountSlot, without: Option<OrderRef>) -> u64 {
        let buys = self
            .orders
            .iter()
            .filter(|(r, o)| o.account == slot && o.side == Side::Buy && Some(**r) != without);
        let held: u64 = buys.map(|(_, o)| o.price.times(Quantity(o.open)).0).sum();
        self.accounts[slot.0 as usize].cash - held
    }

    /// Shares that no open order holds, were the order `without` not there.
    pub(super) fn shares_free(
        &self,
        slot: AccountSlot,
        locate: Locate,
        without: Option<OrderRef>,
    ) -> u64 {
        let sells = self.orders.iter().filter(|(r, o)| {
            o.account == slot && o.locate == locate && o.side == Side::Sell && Some(**r) != without
        });
        let held: u64 = sells.map(|(_, o)| u64::from(o.open)).sum();
        self.accounts[slot.0 as usize].shares[locate.0 as usize - 1] - held
    }

    /// The same number as the fast exchange's after the same commands.
    pub fn state_hash(&self) -> u64 {
        let mut sum = 0u64;
        let mut count = |what: u64| sum = sum.wrapping_add(what);
        count(state_hash::mode(self.mode));
        for (&order_ref, order) in &self.orders {
            count(state_hash::order(order_ref, Quantity(order.open)));
        }
        for slot in (0..self.accounts.len() as u16).map(AccountSlot) {
            let Some(account) = self.account(slot) else { continue };
            count(state_hash::account(slot, account.cash_free, account.cash_held));
            for p in account.positions {
                count(state_hash::position(slot, p.locate, p.free, p.held));
            }
        }
        for slot in self.slots() {
            let s = self.state_of(slot);
            let state = state_hash::SessionState {
                bound: s.bound,
                generation: s.generation,
                next_client_seq: s.next,
                next_report: s.next_report,
                last_urn: Urn(s.last_urn),
            };
            count(state_hash::session(slot, &state));
        }
        state_hash::finish(self.chain, sum)
    }

    /// Checks what must hold after every command; panics with what does not. Tests only.
    pub fn check(&self) {
        let capacities = self.genesis.capacities;
        assert!(self.orders.len() <= capacities.orders_max as usize, "too many open orders");
        let in_use = self.slots_used as usize - self.free_slots.len();
        assert_eq!(in_use, self.orders.len(), "a slot leaked");

        let queued: usize =
            self.books.iter().flatten().flat_map(|l| l.values()).map(|q| q.len()).sum();
        assert_eq!(queued, self.orders.len(), "orders outside the books");
        for (i, book) in self.books.iter().enumerate() {
            let locate = Locate(i as u16 + 1);
            for side in [Side::Buy, Side::Sell] {
                for (&price, queue) in &book[side.index()] {
                    assert!(!queue.is_empty(), "an empty level");
                    let spec = &self.genesis.symbols[i];
                    assert!(price.is_multiple_of(spec.tick), "a level off the tick");
                    assert!((spec.price_min.0..=spec.price_max.0).contains(&price), "out of band");
                    for order_ref in queue {
                        let o = &self.orders[order_ref];
                        assert_eq!((o.locate, o.side, o.price.0), (locate, side, price));
                        assert!(o.open > 0, "an order without shares");
                    }
                }
            }
            if let [Some((bid, _)), Some((offer, _))] = self.best(locate) {
                assert!(bid < offer, "a crossed book");
            }
        }
        self.check_conserved();
        if self.day == Day::Over {
            assert!(self.orders.is_empty(), "orders after the end of the day");
            assert!(self.sessions.iter().all(|s| !s.bound), "a session after the end of the day");
        }
    }

    /// Cash and shares only change hands. (That held is at most owned, the subtractions in
    /// `cash_free` and `shares_free` check: overflow panics.)
    fn check_conserved(&self) {
        let opening: u64 = self.genesis.accounts.iter().map(|a| a.cash.0).sum();
        assert_eq!(self.accounts.iter().map(|a| a.cash).sum::<u64>(), opening, "cash");
        for i in 0..self.books.len() {
            let locate = Locate(i as u16 + 1);
            let accounts = self.genesis.accounts.iter();
            let positions = accounts.flat_map(|a| a.positions.iter()).filter(|p| p.0 == locate);
            let opening: u64 = positions.map(|p| p.1).sum();
            let now: u64 = self.accounts.iter().map(|a| a.shares[i]).sum();
            assert_eq!(now, opening, "shares");
        }
    }
}

fn view_of(order_ref: OrderRef, o: &Order) -> OrderView {
    OrderView {
        order_ref,
        session: o.session,
        urn: o.urn,
        account: o.account,
        locate: o.locate,
        side: o.side,
        price: o.price,
        open: Quantity(o.open),
        executed: Quantity(o.executed),
    }
}
