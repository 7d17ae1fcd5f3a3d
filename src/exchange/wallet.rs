//! The wallet: cash and shares of accounts, free and held.
//!
//! A resting buy order holds price x open in cash, a resting sell order its open shares. An incoming
//! order holds nothing while it is worked: nobody sees the state between two commands, so only what
//! it paid and what rests of it is booked. Consumes checked amounts; keeps the entity sum of the state
//! hash. Must not know orders, books or sessions. Every operation is O(1).

use super::genesis::{AccountSpec, Genesis, GenesisError, Limits};
use super::state_hash::{self, account_keys, position_keys};
use super::view::{AccountView, PositionView};
use crate::planted::{self, Bug};
use crate::types::*;

/// Accounts x symbols at most: 32 bytes each, 1 GiB.
const POSITIONS_MAX: usize = 1 << 25;
/// Cash of all accounts, shares of one symbol over all accounts, at most: sums never overflow.
const TOTAL_MAX: u64 = 1 << 62;

/// Cash and limits of an account: one cache line.
#[repr(C, align(64))]
struct Account {
    free: u64,
    held: u64,
    /// Keys of `free` and `held` in the state hash.
    keys: [u64; 2],
    limits: Limits,
    firm: u16,
}

const _: () = assert!(size_of::<Account>() == 64);

/// Shares of one symbol in one account.
#[derive(Clone, Copy)]
struct Position {
    free: u64,
    held: u64,
    /// Executed today plus open, both sides.
    day_shares: u64,
}

/// All accounts.
pub(super) struct Wallet {
    accounts: Vec<Account>,
    positions: Vec<Position>,
    symbols: usize,
    sum: u64,
}

impl Wallet {
    /// Opening balances. Allocates and touches.
    pub(super) fn new(genesis: &Genesis) -> Result<Wallet, GenesisError> {
        let symbols = genesis.symbols.len();
        let count = genesis.accounts.len() * symbols;
        if count > POSITIONS_MAX {
            return Err(GenesisError::Inconsistent("accounts x symbols above 2^25"));
        }
        let cash = genesis.accounts.iter().try_fold(0u64, |sum, a| sum.checked_add(a.cash.0));
        if cash.is_none_or(|cash| cash > TOTAL_MAX) {
            return Err(GenesisError::Inconsistent("opening cash of all accounts above 2^62"));
        }
        let mut positions = Vec::with_capacity(count);
        let empty = Position { free: 0, held: 0, day_shares: 0 };
        std::hint::black_box(&mut positions).resize(count, empty);
        let mut wallet = Wallet { accounts: Vec::new(), positions, symbols, sum: 0 };
        let mut totals = vec![0u64; symbols];
        for (slot, spec) in (0u16..).zip(&genesis.accounts) {
            wallet.open(AccountSlot(slot), spec, &mut totals)?;
        }
        Ok(wallet)
    }

    fn open(
        &mut self,
        slot: AccountSlot,
        spec: &AccountSpec,
        totals: &mut [u64],
    ) -> Result<(), GenesisError> {
        let keys = account_keys(slot);
        let AccountSpec { cash, limits, firm, .. } = *spec;
        self.accounts.push(Account { free: cash.0, held: 0, keys, limits, firm });
        self.sum = self.sum.wrapping_add(keys[0].wrapping_mul(cash.0));
        for &(locate, shares) in &spec.positions {
            let total = &mut totals[locate.0 as usize - 1];
            *total = total
                .checked_add(shares)
                .filter(|&total| total <= TOTAL_MAX)
                .ok_or(GenesisError::Inconsistent("opening shares of a symbol above 2^62"))?;
            let at = self.at(slot, locate);
            if self.positions[at].free != 0 {
                return Err(GenesisError::Inconsistent(
                    "two positions of an account in one symbol",
                ));
            }
            self.positions[at].free = shares;
            let key = position_keys(slot, locate)[0];
            self.sum = self.sum.wrapping_add(key.wrapping_mul(shares));
        }
        Ok(())
    }

    /// Firm of an account of ours.
    #[inline(always)]
    pub(super) fn firm(&self, account: AccountSlot) -> u16 {
        self.accounts[account.0 as usize].firm
    }

    /// Limits of an account of ours.
    #[inline(always)]
    pub(super) fn limits(&self, account: AccountSlot) -> &Limits {
        &self.accounts[account.0 as usize].limits
    }

    /// Cash that a new order may use.
    #[inline(always)]
    pub(super) fn free_cash(&self, account: AccountSlot) -> u64 {
        self.accounts[account.0 as usize].free
    }

    /// Shares that a new order may use.
    #[inline(always)]
    pub(super) fn free_shares(&self, account: AccountSlot, locate: Locate) -> u64 {
        self.positions[self.at(account, locate)].free
    }

    /// Executed today plus open.
    #[inline(always)]
    pub(super) fn day_shares(&self, account: AccountSlot, locate: Locate) -> u64 {
        self.positions[self.at(account, locate)].day_shares
    }

    /// An order of `quantity` was accepted: it counts against the day.
    #[inline(always)]
    pub(super) fn accept(&mut self, account: AccountSlot, locate: Locate, quantity: Quantity) {
        let at = self.at(account, locate);
        self.positions[at].day_shares += quantity.0 as u64;
    }

    /// Shares of an accepted order that will not trade: they no longer count against the day.
    #[inline(always)]
    pub(super) fn drop_open(&mut self, account: AccountSlot, locate: Locate, quantity: Quantity) {
        let at = self.at(account, locate);
        self.positions[at].day_shares -= quantity.0 as u64;
    }

    /// Holds what an order that rests may cost.
    #[inline(always)]
    pub(super) fn hold(
        &mut self,
        account: AccountSlot,
        locate: Locate,
        side: Side,
        price: Price,
        quantity: Quantity,
    ) {
        match side {
            Side::Buy => {
                let cash = price.times(quantity).0;
                let a = &mut self.accounts[account.0 as usize];
                a.free -= cash;
                a.held += cash;
                self.sum =
                    self.sum.wrapping_add(a.keys[1].wrapping_sub(a.keys[0]).wrapping_mul(cash));
            }
            Side::Sell => {
                let shares = quantity.0 as u64;
                let at = self.at(account, locate);
                let p = &mut self.positions[at];
                p.free -= shares;
                p.held += shares;
                let [free, held] = position_keys(account, locate);
                self.sum = self.sum.wrapping_add(held.wrapping_sub(free).wrapping_mul(shares));
            }
        }
    }

    /// Frees what `quantity` of a resting order held; it no longer counts against the day.
    #[inline(always)]
    pub(super) fn release(
        &mut self,
        account: AccountSlot,
        locate: Locate,
        side: Side,
        price: Price,
        quantity: Quantity,
    ) {
        let shares = quantity.0 as u64;
        let at = self.at(account, locate);
        let p = &mut self.positions[at];
        p.day_shares -= shares;
        match side {
            Side::Buy => {
                let cash = price.times(quantity).0;
                let a = &mut self.accounts[account.0 as usize];
                a.held -= cash;
                a.free += cash;
                self.sum =
                    self.sum.wrapping_add(a.keys[0].wrapping_sub(a.keys[1]).wrapping_mul(cash));
            }
            Side::Sell => {
                p.held -= shares;
                p.free += shares;
                let [free, held] = position_keys(account, locate);
                self.sum = self.sum.wrapping_add(free.wrapping_sub(held).wrapping_mul(shares));
            }
        }
    }

    /// A resting order of `side` traded: pays or delivers out of what it held.
    #[inline(always)]
    pub(super) fn settle_maker(
        &mut self,
        account: AccountSlot,
        locate: Locate,
        side: Side,
        quantity: Quantity,
        cash: Notional,
    ) {
        let shares = quantity.0 as u64;
        let at = self.at(account, locate);
        let p = &mut self.positions[at];
        let a = &mut self.accounts[account.0 as usize];
        let [free, held] = position_keys(account, locate);
        let (in_cash, in_shares) = match side {
            Side::Buy => {
                a.held -= cash.0;
                p.free += shares;
                (a.keys[1].wrapping_mul(cash.0).wrapping_neg(), free.wrapping_mul(shares))
            }
            Side::Sell => {
                a.free += cash.0;
                p.held -= shares;
                (a.keys[0].wrapping_mul(cash.0), held.wrapping_mul(shares).wrapping_neg())
            }
        };
        self.sum = self.sum.wrapping_add(in_cash).wrapping_add(in_shares);
    }

    /// An incoming order of `side` traded, in all its matches together: pays or delivers out of what
    /// is free.
    #[inline(always)]
    pub(super) fn settle_taker(
        &mut self,
        account: AccountSlot,
        locate: Locate,
        side: Side,
        quantity: Quantity,
        cash: Notional,
    ) {
        let shares = quantity.0 as u64;
        let at = self.at(account, locate);
        let p = &mut self.positions[at];
        let a = &mut self.accounts[account.0 as usize];
        let in_cash = a.keys[0].wrapping_mul(cash.0);
        let in_shares = position_keys(account, locate)[0].wrapping_mul(shares);
        match side {
            Side::Buy => {
                a.free -= cash.0;
                p.free += shares;
                self.sum = self.sum.wrapping_sub(in_cash).wrapping_add(in_shares);
            }
            Side::Sell => {
                a.free += cash.0;
                p.free -= shares;
                self.sum = self.sum.wrapping_add(in_cash).wrapping_sub(in_shares);
            }
        }
    }

    /// Free and held cash of every account. For snapshots.
    pub(super) fn cash(&self) -> impl Iterator<Item = [u64; 2]> + '_ {
        self.accounts.iter().map(|account| [account.free, account.held])
    }

    /// Free, held and day shares of every position that has any, with its index (account x symbols
    /// + locate - 1), ascending. For snapshots.
    pub(super) fn positions(&self) -> impl Iterator<Item = (u32, [u64; 3])> + '_ {
        (0u32..)
            .zip(&self.positions)
            .map(|(at, p)| (at, [p.free, p.held, p.day_shares]))
            .filter(|(_, shares)| *shares != [0; 3])
    }

    /// Sets all balances, and the entity sum with them. `cash` has a row per account, `positions`
    /// indexes of this wallet; the caller has checked both. For restoring.
    pub(super) fn set_balances(&mut self, cash: &[[u64; 2]], positions: &[(u32, [u64; 3])]) {
        self.sum = 0;
        for (account, &[free, held]) in self.accounts.iter_mut().zip(cash) {
            let lost = if planted::is(Bug::ForgetHold) { held } else { 0 };
            (account.free, account.held) = (free + lost, held - lost);
            let [of_free, of_held] = account.keys;
            let part = of_free.wrapping_mul(free).wrapping_add(of_held.wrapping_mul(held));
            self.sum = self.sum.wrapping_add(part);
        }
        self.positions.fill(Position { free: 0, held: 0, day_shares: 0 });
        for &(at, [free, held, day_shares]) in positions {
            self.positions[at as usize] = Position { free, held, day_shares };
            let account = AccountSlot((at as usize / self.symbols) as u16);
            let locate = Locate((at as usize % self.symbols) as u16 + 1);
            self.sum = self.sum.wrapping_add(state_hash::position(account, locate, free, held));
        }
    }

    /// Entity sum of accounts and positions.
    pub(super) fn sum(&self) -> u64 {
        self.sum
    }

    pub(super) fn view(&self, account: AccountSlot) -> Option<AccountView> {
        let row = self.accounts.get(account.0 as usize)?;
        let positions = (1..=self.symbols as u16)
            .map(|locate| {
                let p = &self.positions[self.at(account, Locate(locate))];
                let counted = p.day_shares;
                PositionView { locate: Locate(locate), free: p.free, held: p.held, counted }
            })
            .filter(|p| p.free + p.held > 0)
            .collect();
        Some(AccountView {
            cash_free: Notional(row.free),
            cash_held: Notional(row.held),
            positions,
        })
    }

    /// Index of a position; account and locate are ours.
    #[inline(always)]
    fn at(&self, account: AccountSlot, locate: Locate) -> usize {
        account.0 as usize * self.symbols + locate.0 as usize - 1
    }
}

#[cfg(test)]
#[path = "wallet_tests.rs"]
mod tests;
