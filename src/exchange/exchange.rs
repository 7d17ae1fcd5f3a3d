//! The exchange: one state, one verb.

use super::command::Command;
use super::event::EventSink;
use super::genesis::{Genesis, GenesisError};
use super::view::{AccountView, LevelView, OrderView, SessionView};
use crate::types::*;

/// The whole venue for one day.
pub struct Exchange {
    genesis: Genesis,
}

impl Exchange {
    /// Builds every table of the day and touches it, so that `apply` never allocates. Errors when
    /// the values of `genesis` contradict each other. Cost: memory and time of the capacities.
    pub fn new(genesis: &Genesis) -> Result<Exchange, GenesisError> {
        genesis.check()?;
        Ok(Exchange { genesis: genesis.clone() })
    }

    /// Applies one command and puts its events into `sink`, in order. The first command of a day is
    /// `Command::Genesis` with the same bytes that built this exchange. O(1) plus O(1) per match;
    /// never allocates; input never makes it panic.
    pub fn apply(
        &mut self,
        _seq: Seq,
        _time: Nanos,
        _command: &Command<'_>,
        _sink: &mut impl EventSink,
    ) {
        panic!("not yet");
    }

    /// The state hash after the last command. O(sessions).
    pub fn state_hash(&self) -> u64 {
        panic!("not yet");
    }

    /// True while a mass action has work left: the sequencer issues `Command::Continue`.
    pub fn continue_wanted(&self) -> bool {
        panic!("not yet");
    }

    /// Checks every invariant of the whole state and panics with what is wrong. For tests.
    pub fn check(&self) {
        panic!("not yet");
    }

    /// The day's Genesis.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// Best price and its shares, buy side then sell side. O(1).
    pub fn best(&self, _locate: Locate) -> [Option<(Price, u64)>; 2] {
        panic!("not yet");
    }

    /// Levels of one side, best first; none for an unknown symbol.
    pub fn levels(&self, _locate: Locate, _side: Side) -> impl Iterator<Item = LevelView> + '_ {
        std::iter::empty()
    }

    /// Orders of one side in price-time order; none for an unknown symbol.
    pub fn orders(&self, _locate: Locate, _side: Side) -> impl Iterator<Item = OrderView> + '_ {
        std::iter::empty()
    }

    /// An account; `None` when unknown. Allocates.
    pub fn account(&self, _slot: AccountSlot) -> Option<AccountView> {
        panic!("not yet");
    }

    /// A session; `None` when unknown.
    pub fn session(&self, _slot: SessionSlot) -> Option<SessionView> {
        panic!("not yet");
    }

    /// Resting orders of the whole venue.
    pub fn open_orders(&self) -> u32 {
        panic!("not yet");
    }
}
