//! What a day leaves to the next: cash and shares of every account.
//!
//! Consumes the last state of a day that is over and the Genesis that the configuration makes;
//! produces the next day's Genesis, or every reason why the two do not fit. What the ended day knew
//! is carried: cash of an account, shares of an account in a symbol. What it did not know (a new
//! account, a new symbol) starts with the configured values. Everything else, limits too, is the
//! configuration's. Must not know where a day lies.

use crate::exchange::Exchange;
use crate::exchange::genesis::Genesis;
use crate::types::*;
use std::collections::{BTreeMap, BTreeSet};

/// What a day that is over left.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Carried {
    /// State hash of the exchange, last of all.
    pub state_hash: u64,
    symbols: BTreeSet<Symbol>,
    accounts: BTreeMap<AccountName, Holdings>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Holdings {
    cash: Notional,
    shares: BTreeMap<Symbol, u64>,
}

/// Why nothing can be carried.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CarryError {
    /// The day has not ended, or not to its end.
    #[error("it is not over")]
    NotOver,
    /// It ended, but something is still held by orders that no longer are.
    #[error("account {0} still holds something for orders, and no order rests")]
    Held(String),
    /// The configuration has no place for what is to be carried.
    #[error("{}", .0.join("\n"))]
    NoPlace(Vec<String>),
}

impl Carried {
    /// Takes the holdings of a day that is over. Cost: all accounts, all positions.
    pub fn of(exchange: &Exchange) -> Result<Carried, CarryError> {
        if !exchange.day_over() || exchange.open_orders() > 0 {
            return Err(CarryError::NotOver);
        }
        let genesis = exchange.genesis();
        let mut accounts = BTreeMap::new();
        for (slot, spec) in (0u16..).zip(&genesis.accounts) {
            let Some(view) = exchange.account(AccountSlot(slot)) else { continue };
            if view.cash_held.0 > 0 || view.positions.iter().any(|p| p.held > 0) {
                return Err(CarryError::Held(spec.name.text()));
            }
            let symbol = |locate: Locate| genesis.symbols[locate.0 as usize - 1].symbol;
            let shares = view.positions.iter().map(|p| (symbol(p.locate), p.free));
            let shares = shares.filter(|&(_, shares)| shares > 0).collect();
            accounts.insert(spec.name, Holdings { cash: view.cash_free, shares });
        }
        let symbols = genesis.symbols.iter().map(|s| s.symbol).collect();
        Ok(Carried { state_hash: exchange.state_hash(), symbols, accounts })
    }

    /// Puts what is carried in the place of the opening values of `genesis`. Err: all that has no
    /// place there.
    pub fn put_into(&self, mut genesis: Genesis) -> Result<Genesis, CarryError> {
        let known: BTreeSet<AccountName> = genesis.accounts.iter().map(|a| a.name).collect();
        let listed: BTreeSet<Symbol> = genesis.symbols.iter().map(|s| s.symbol).collect();
        let mut faults = Vec::new();
        for (name, holdings) in &self.accounts {
            if !known.contains(name) && !holdings.is_empty() {
                faults.push(format!(
                    "account {} is not in the configuration, but holds {holdings}: put it back, or \
                     have it sell and pay out first",
                    name.text()
                ));
                continue;
            }
            for (symbol, shares) in holdings.shares.iter().filter(|(s, _)| !listed.contains(*s)) {
                faults.push(format!(
                    "symbol {} is not in the configuration, but account {} holds {shares} shares of \
                     it: put it back",
                    symbol.text(),
                    name.text()
                ));
            }
        }
        if !faults.is_empty() {
            return Err(CarryError::NoPlace(faults));
        }
        let symbols: Vec<Symbol> = genesis.symbols.iter().map(|s| s.symbol).collect();
        for account in &mut genesis.accounts {
            let Some(holdings) = self.accounts.get(&account.name) else { continue };
            account.cash = holdings.cash;
            account.positions.retain(|(l, _)| !self.symbols.contains(&symbols[l.0 as usize - 1]));
            for (locate, symbol) in (1u16..).map(Locate).zip(&symbols) {
                if let Some(&shares) = holdings.shares.get(symbol) {
                    account.positions.push((locate, shares));
                }
            }
            account.positions.sort();
        }
        Ok(genesis)
    }
}

impl Holdings {
    fn is_empty(&self) -> bool {
        self.cash.0 == 0 && self.shares.is_empty()
    }
}

impl std::fmt::Display for Holdings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let units = self.cash.0;
        write!(f, "{}.{:04} in cash", units / 10_000, units % 10_000)?;
        for (symbol, shares) in &self.shares {
            write!(f, ", {shares} {}", symbol.text())?;
        }
        Ok(())
    }
}
