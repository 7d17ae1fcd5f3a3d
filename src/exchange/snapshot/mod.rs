//! Snapshot of the exchange: the whole state as bytes, and back.
//!
//! [`Exchange::save`] writes what the commands so far have made, [`Exchange::restore`] builds an
//! exchange that goes on from there: the same events, the same state hash, the same bytes when saved
//! again. What can be computed (queues, levels, pages, index, sums) is not written but built again;
//! what is written is checked, each length, link and sum, so that damaged bytes are an error and
//! never another book. Layout: `exchange.md`, Snapshot. Must not know files.

mod restore;
#[cfg(test)]
mod tests;

use super::Exchange;
use super::arena::Order;
use super::genesis::GenesisError;
use super::market::Day;
use super::state_hash::mix;
use bytes::{BufMut, TryGetError};

/// Version of the layout.
pub const VERSION: u32 = 1;

/// Why bytes are no snapshot of this day. Nothing was built.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RestoreError {
    /// Written in another layout.
    #[error("the snapshot has layout {0}; this program reads layout {VERSION}")]
    Version(u32),
    /// The bytes end too early, or go on too long.
    #[error("the snapshot has the wrong length")]
    Length,
    /// The sum over the bytes is wrong.
    #[error("the snapshot is damaged: its checksum is wrong")]
    Damaged,
    /// Taken under another Genesis.
    #[error("the snapshot is of another day")]
    OtherDay,
    /// Genesis itself cannot be used.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// Values contradict each other or Genesis.
    #[error("the snapshot contradicts itself: {0}")]
    Inconsistent(&'static str),
    /// What was built has another state hash than what was saved.
    #[error("the snapshot gives state hash {built:016x} and says {said:016x}")]
    StateHash {
        /// Of the exchange that was built.
        built: u64,
        /// In the snapshot.
        said: u64,
    },
}

impl From<TryGetError> for RestoreError {
    fn from(_: TryGetError) -> RestoreError {
        RestoreError::Length
    }
}

/// Bytes of the fixed parts, for `exchange.md` and the checks of lengths.
const HEAD_BYTES: usize = 80;
const SESSION_BYTES: usize = 36;
const CASH_BYTES: usize = 16;
const POSITION_BYTES: usize = 28;
const ORDER_BYTES: usize = 36;
const TAIL_BYTES: usize = 16;

/// A sum over bytes that sees each of them and its place.
fn fold(bytes: &[u8]) -> u64 {
    let mut sum = bytes.len() as u64;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        sum = mix(
            sum.rotate_left(23) ^ u64::from_le_bytes(word) ^ 0x9E37_79B9_7F4A_7C15,
            0xD6E8_FEB8_6659_FD93,
        );
    }
    sum
}

impl Exchange {
    /// Appends the whole state to `out`. The same state gives the same bytes on any machine. O(state).
    pub fn save(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let (state, sessions) = (&self.state, &self.sessions);
        let positions: Vec<_> = state.wallet.positions().collect();
        let waiting: Vec<_> = sessions.all_waiting().collect();
        let free: Vec<u32> = state.books.arena.free().collect();
        let (listed, fresh) = split_free(&free, state.books.arena.slots());
        let orders = self.orders_by_reference();

        let market = &state.market;
        let (day, ending) = match market.day {
            Day::Before => (0, 0),
            Day::Running => (1, 0),
            Day::Ending(from) => (2, from),
            Day::Over => (3, 0),
        };
        let cash = state.wallet.cash().count();
        out.put_u32_le(VERSION);
        out.put_u8(day);
        out.put_u8(market.phase as u8);
        out.put_u8(market.opened as u8);
        out.put_u8(market.closed as u8);
        out.put_u64_le(fold(&self.genesis_bytes));
        out.put_u64_le(self.numbers.chain);
        out.put_u64_le(self.numbers.feed);
        out.put_u64_le(self.numbers.matches);
        out.put_u32_le(state.books.references());
        out.put_u16_le(ending);
        out.put_u16_le(waiting.len() as u16);
        out.put_u32_le(market.symbols().count() as u32);
        out.put_u32_le(sessions.count() as u32);
        out.put_u32_le(cash as u32);
        out.put_u32_le(positions.len() as u32);
        out.put_u32_le(orders.len() as u32);
        out.put_u32_le(listed.len() as u32);
        out.put_u32_le(fresh);
        out.put_u8(market.mode as u8);
        out.put_slice(&[0; 3]);
        debug_assert_eq!(out.len() - start, HEAD_BYTES);

        for (_, row) in market.symbols() {
            out.put_u8(row.halted as u8);
        }
        for slot in 0..sessions.count() {
            let row = sessions.row(crate::types::SessionSlot(slot));
            out.put_u64_le(row.next_client_seq);
            out.put_u64_le(row.next_report);
            out.put_u64_le(row.login_time.0);
            out.put_u32_le(row.generation);
            out.put_u32_le(row.last_urn.0);
            out.put_u8(row.bound as u8);
            out.put_u8(row.cancel_on_disconnect as u8);
            out.put_u16_le(0);
        }
        for slot in &waiting {
            out.put_u16_le(slot.0);
        }
        for [free, held] in state.wallet.cash() {
            out.put_u64_le(free);
            out.put_u64_le(held);
        }
        for (at, shares) in &positions {
            out.put_u32_le(*at);
            shares.iter().for_each(|&count| out.put_u64_le(count));
        }
        for &slot in &orders {
            put_order(out, slot, state.books.arena.order(slot));
        }
        for &slot in listed {
            out.put_u32_le(slot);
        }
        out.put_u64_le(self.state_hash());
        out.put_u64_le(fold(&out[start..]));
    }

    /// Slots of all resting orders in order of reference, which is the order of entry: every queue
    /// and every session's list has it too.
    fn orders_by_reference(&self) -> Vec<u32> {
        let arena = &self.state.books.arena;
        let mut orders: Vec<(u32, u32)> = (0..arena.slots())
            .filter_map(|slot| arena.get(slot).map(|order| (order.reference, slot)))
            .collect();
        orders.sort_unstable();
        orders.into_iter().map(|(_, slot)| slot).collect()
    }
}

/// The free list without its end, and the slot from which on the end is in order: slots never used
/// stand there, so it is long and need not be written.
fn split_free(free: &[u32], slots: u32) -> (&[u32], u32) {
    let mut fresh = slots;
    let mut listed = free.len();
    while listed > 0 && free[listed - 1] + 1 == fresh {
        listed -= 1;
        fresh -= 1;
    }
    (&free[..listed], fresh)
}

fn put_order(out: &mut Vec<u8>, slot: u32, order: &Order) {
    out.put_u32_le(slot);
    out.put_u32_le(order.reference);
    out.put_u32_le(order.price.0);
    out.put_u32_le(order.open.0);
    out.put_u32_le(order.executed.0);
    out.put_u32_le(order.urn.0);
    out.put_u16_le(order.session.0);
    out.put_u16_le(order.account.0);
    out.put_u16_le(order.locate.0);
    out.put_u8(order.side.letter());
    out.put_u8(order.capacity);
    out.put_u8(order.cross);
    out.put_slice(&[0; 3]);
}
