//! The market: phase, symbols and their rules, names of symbols and accounts.
//!
//! Consumes Genesis, phase and symbol-state commands; produces lookups for the checks. Must not know
//! orders or money.

use super::command::{Mode, Phase};
use super::genesis::{Genesis, GenesisError, SymbolSpec};
use super::names::Names;
use crate::types::*;

/// Where the day stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Day {
    /// Built, Genesis not applied.
    Before,
    /// Commands are applied.
    Running,
    /// EndOfDay was applied; orders of sessions from this slot on may still rest.
    Ending(u16),
    /// Everything was said.
    Over,
}

/// One symbol: what the checks read, in one cache line.
#[repr(C, align(64))]
pub(super) struct SymbolRow {
    pub(super) spec: SymbolSpec,
    pub(super) halted: bool,
}

/// ITCH reason of a state that the whole exchange is in: operations halt.
const OPERATIONS: Alpha<4> = Alpha(*b"O1  ");

/// What the feed says of a symbol that is not halted itself: state and reason.
pub(super) fn said_of(mode: Mode) -> (u8, Alpha<4>) {
    match mode {
        Mode::Normal => (b'T', Alpha::BLANK),
        Mode::CancelOnly => (b'P', OPERATIONS),
        Mode::Halt => (b'H', OPERATIONS),
    }
}

/// State of the market.
pub(super) struct Market {
    pub(super) day: Day,
    pub(super) phase: Phase,
    pub(super) mode: Mode,
    /// System `Q` was said.
    pub(super) opened: bool,
    /// System `M` was said.
    pub(super) closed: bool,
    symbols: Vec<SymbolRow>,
    symbol_names: Names,
    account_names: Names,
}

fn symbol_key(symbol: Symbol) -> u64 {
    u64::from_le_bytes(symbol.0)
}

fn account_key(account: AccountName) -> u64 {
    u32::from_le_bytes(account.0) as u64
}

impl Market {
    /// The market before Genesis is applied. Errors on names that are there twice. Allocates.
    pub(super) fn new(genesis: &Genesis) -> Result<Market, GenesisError> {
        let seed = genesis.hash_seed;
        let mut symbol_names = Names::new(genesis.symbols.len(), seed);
        for (locate, spec) in (1u16..).zip(&genesis.symbols) {
            if !symbol_names.insert(symbol_key(spec.symbol), locate) {
                return Err(GenesisError::Inconsistent("two symbols of one name"));
            }
        }
        let mut account_names = Names::new(genesis.accounts.len(), seed);
        for (slot, spec) in (0u16..).zip(&genesis.accounts) {
            if !account_names.insert(account_key(spec.name), slot) {
                return Err(GenesisError::Inconsistent("two accounts of one name"));
            }
        }
        Ok(Market {
            day: Day::Before,
            phase: Phase::PreOpen,
            mode: Mode::Normal,
            opened: false,
            closed: false,
            symbols: genesis
                .symbols
                .iter()
                .map(|&spec| SymbolRow { spec, halted: false })
                .collect(),
            symbol_names,
            account_names,
        })
    }

    /// Locate of a symbol that a client named.
    #[inline(always)]
    pub(super) fn locate(&self, symbol: Symbol) -> Option<Locate> {
        self.symbol_names.get(symbol_key(symbol)).map(Locate)
    }

    /// Account that a client named.
    #[inline(always)]
    pub(super) fn account(&self, name: AccountName) -> Option<AccountSlot> {
        self.account_names.get(account_key(name)).map(AccountSlot)
    }

    /// A symbol of ours.
    #[inline(always)]
    pub(super) fn symbol(&self, locate: Locate) -> &SymbolRow {
        &self.symbols[locate.0 as usize - 1]
    }

    /// A symbol that a command named.
    pub(super) fn symbol_mut(&mut self, locate: Locate) -> Option<&mut SymbolRow> {
        self.symbols.get_mut((locate.0 as usize).wrapping_sub(1))
    }

    /// All symbols with their locates.
    pub(super) fn symbols(&self) -> impl Iterator<Item = (Locate, &SymbolRow)> {
        (1u16..).map(Locate).zip(&self.symbols)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn names_are_found_and_doubles_refused() {
        let genesis = fixture::genesis();
        let market = Market::new(&genesis).unwrap();
        for (i, spec) in genesis.symbols.iter().enumerate() {
            assert_eq!(market.locate(spec.symbol), Some(Locate(i as u16 + 1)));
        }
        assert_eq!(market.locate(Symbol::new("NOSUCH").unwrap()), None);
        assert_eq!(market.locate(Alpha([0; 8])), None);
        for (i, spec) in genesis.accounts.iter().enumerate() {
            assert_eq!(market.account(spec.name), Some(AccountSlot(i as u16)));
        }
        let mut doubled = genesis.clone();
        doubled.symbols[1].symbol = doubled.symbols[0].symbol;
        assert!(Market::new(&doubled).is_err());
        let mut doubled = genesis;
        doubled.accounts[1].name = doubled.accounts[0].name;
        assert!(Market::new(&doubled).is_err());
    }
}
