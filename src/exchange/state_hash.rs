//! The state hash: one number that two exchanges share exactly when they did the same.
//!
//! Consumes events as they are emitted and the values of orders, accounts, positions and sessions;
//! produces `u64`s. Pure functions: the exchange adds differences as it goes, the naive model and
//! `check()` compute the same from nothing. Must not know how either stores its state.
//!
//! Two parts. The *chain* runs over every event in order, so it sees history. The *entity sum* is a
//! wrapping sum over what exists now, so it sees a state that drifted from its history. Orders,
//! accounts and positions are linear in their values (value x key of the entity): a change costs one
//! multiplication of the difference, and what is empty counts nothing. Sessions are few and are
//! hashed when asked for.
//!
//! Not a cryptographic hash: it finds faults, not forgers.

use super::command::Mode;
use super::event::{Event, EventBody};
use crate::types::*;

/// Where the chain starts.
pub const CHAIN_START: u64 = 0x5249_414C_544F_0001;

/// Odd numbers without pattern: outputs of splitmix64, lowest bit set.
const KEYS: [u64; 16] = keys();

const fn keys() -> [u64; 16] {
    let mut out = [0; 16];
    let mut state = CHAIN_START;
    let mut i = 0;
    while i < out.len() {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        out[i] = (z ^ (z >> 31)) | 1;
        i += 1;
    }
    out
}

/// 64 x 64 -> 128 bit product, halves xored: one multiplication mixes both words.
#[inline(always)]
pub fn mix(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

/// The chain after `event`. Covers kind, every field of the head but `previous` (which the exchange
/// leaves 0) and every byte of the body.
#[inline(always)]
pub fn chain_event(chain: u64, event: &Event) -> u64 {
    let head = &event.head;
    let address =
        head.session.0 as u64 | (event.body.kind() as u64) << 16 | (head.index as u64) << 32;
    let a = mix(head.command.0 ^ KEYS[0], address ^ KEYS[1]);
    let b = mix(head.report ^ KEYS[2], head.feed ^ KEYS[3]);
    let c = mix(head.applied ^ KEYS[4], fold_body(&event.body) ^ KEYS[5]);
    // The products do not wait for each other; only this line waits for the chain.
    mix(chain.rotate_left(23) ^ a ^ b.rotate_left(21) ^ c.rotate_left(42), KEYS[6])
}

/// One word from a body's bytes, taken as little-endian words, the last padded with zeros.
macro_rules! fold {
    ($body:expr, $ty:ident) => {{
        let mut bytes = [0u8; super::event::$ty::SIZE.next_multiple_of(16)];
        $body.put(&mut bytes);
        let mut sum = 0u64;
        let mut i = 0;
        while i < bytes.len() / 16 {
            let at = i * 16;
            let low = word(&bytes, at);
            let high = word(&bytes, at + 8);
            sum =
                sum.rotate_left(9).wrapping_add(mix(low ^ KEYS[6 + 2 * i], high ^ KEYS[7 + 2 * i]));
            i += 1;
        }
        sum
    }};
}

#[inline(always)]
fn word<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    let mut out = [0; 8];
    out.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(out)
}

#[inline(always)]
fn fold_body(body: &EventBody) -> u64 {
    match body {
        EventBody::System(b) => fold!(b, System),
        EventBody::Directory(b) => fold!(b, Directory),
        EventBody::TradingAction(b) => fold!(b, TradingAction),
        EventBody::SessionMark(b) => fold!(b, SessionMark),
        EventBody::LoggedIn(b) => fold!(b, LoggedIn),
        EventBody::SessionEnded(b) => fold!(b, SessionEnded),
        EventBody::Applied(b) => fold!(b, Applied),
        EventBody::Accepted(b) => fold!(b, Accepted),
        EventBody::Executed(b) => fold!(b, Executed),
        EventBody::Rested(b) => fold!(b, Rested),
        EventBody::Canceled(b) => fold!(b, Canceled),
        EventBody::Replaced(b) => fold!(b, Replaced),
        EventBody::Rejected(b) => fold!(b, Rejected),
        EventBody::NotApplied(b) => fold!(b, NotApplied),
        EventBody::QueryResponse(b) => fold!(b, QueryResponse),
        EventBody::CancelRefused(b) => fold!(b, CancelRefused),
    }
}

/// Key of an order: a resting order counts `open x order_key(ref)`.
#[inline(always)]
pub fn order_key(order_ref: OrderRef) -> u64 {
    mix(order_ref.0 ^ KEYS[0], KEYS[8]) | 1
}

/// Keys of an account's free and held cash.
#[inline(always)]
pub fn account_keys(account: AccountSlot) -> [u64; 2] {
    let id = account.0 as u64;
    [mix(id ^ KEYS[1], KEYS[9]) | 1, mix(id ^ KEYS[2], KEYS[10]) | 1]
}

/// Keys of a position's free and held shares.
#[inline(always)]
pub fn position_keys(account: AccountSlot, locate: Locate) -> [u64; 2] {
    let id = (account.0 as u64) << 16 | locate.0 as u64;
    [mix(id ^ KEYS[3], KEYS[11]) | 1, mix(id ^ KEYS[4], KEYS[12]) | 1]
}

/// What a resting order counts in the entity sum.
#[inline(always)]
pub fn order(order_ref: OrderRef, open: Quantity) -> u64 {
    order_key(order_ref).wrapping_mul(open.0 as u64)
}

/// What an account's cash counts in the entity sum.
#[inline(always)]
pub fn account(account: AccountSlot, cash_free: Notional, cash_held: Notional) -> u64 {
    let [free, held] = account_keys(account);
    free.wrapping_mul(cash_free.0).wrapping_add(held.wrapping_mul(cash_held.0))
}

/// What a position counts in the entity sum; nothing when it is empty.
#[inline(always)]
pub fn position(account: AccountSlot, locate: Locate, shares_free: u64, shares_held: u64) -> u64 {
    let [free, held] = position_keys(account, locate);
    free.wrapping_mul(shares_free).wrapping_add(held.wrapping_mul(shares_held))
}

/// What the exchange remembers of a session, as far as it is hashed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionState {
    /// Bound by a login.
    pub bound: bool,
    /// Login generation, 0 before the first.
    pub generation: u32,
    /// Next client sequence, from 1.
    pub next_client_seq: u64,
    /// Next report number, from 1 (2 after Genesis).
    pub next_report: u64,
    /// Highest reference consumed, 0 = none.
    pub last_urn: Urn,
}

/// What a session counts in the entity sum.
pub fn session(slot: SessionSlot, state: &SessionState) -> u64 {
    let id = slot.0 as u64 | (state.bound as u64) << 16 | (state.generation as u64) << 32;
    let a = mix(id ^ KEYS[5], state.next_client_seq ^ KEYS[13]);
    let b = mix(state.next_report ^ KEYS[6], state.last_urn.0 as u64 ^ KEYS[14]);
    mix(a ^ b.rotate_left(31), KEYS[15])
}

/// What the exchange's mode counts in the entity sum: nothing when it is Normal.
pub fn mode(mode: Mode) -> u64 {
    KEYS[15].wrapping_mul(mode as u64)
}

/// The state hash of a chain and an entity sum (orders, accounts, positions and every session).
pub fn finish(chain: u64, entities: u64) -> u64 {
    mix(chain ^ KEYS[7], entities ^ KEYS[8])
}

#[cfg(test)]
mod tests {
    use super::super::event::*;
    use super::*;

    fn event() -> Event {
        Event {
            head: EventHead {
                command: Seq(7),
                session: SessionSlot(1),
                zero: [0; 2],
                index: 0,
                report: 3,
                feed: 4,
                applied: 9,
                previous: 0,
            },
            body: NotApplied { from: 1, count: 2 }.into(),
        }
    }

    #[test]
    fn the_chain_sees_every_field_but_previous() {
        let base = chain_event(CHAIN_START, &event());
        let rows: [fn(&mut Event); 8] = [
            |e| e.head.command.0 += 1,
            |e| e.head.session.0 += 1,
            |e| e.head.index += 1,
            |e| e.head.report += 1,
            |e| e.head.feed += 1,
            |e| e.head.applied += 1,
            |e| e.body = NotApplied { from: 1, count: 3 }.into(),
            |e| e.body = QueryResponse { next_urn: 1 }.into(),
        ];
        for (i, change) in rows.iter().enumerate() {
            let mut other = event();
            change(&mut other);
            assert_ne!(chain_event(CHAIN_START, &other), base, "row {i}");
        }
        let mut filled = event();
        filled.head.previous = 5;
        assert_eq!(chain_event(CHAIN_START, &filled), base);
    }

    #[test]
    fn entities_are_linear_and_empty_ones_count_nothing() {
        let (account_slot, locate) = (AccountSlot(3), Locate(9));
        assert_eq!(position(account_slot, locate, 0, 0), 0);
        let [free, held] = position_keys(account_slot, locate);
        assert_eq!(
            position(account_slot, locate, 10, 2).wrapping_add(held).wrapping_sub(free),
            position(account_slot, locate, 9, 3)
        );
        assert_eq!(
            order(OrderRef(5), Quantity(8)).wrapping_sub(order_key(OrderRef(5))),
            order(OrderRef(5), Quantity(7))
        );
        assert_ne!(
            account(account_slot, Notional(1), Notional(0)),
            account(account_slot, Notional(0), Notional(1))
        );
    }
}
