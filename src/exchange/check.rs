//! Whole-state invariants, for tests and the simulator: everything that is kept twice agrees, cash
//! and shares are conserved, held = what resting orders may cost, the entity sum equals the sum over
//! the entities. Panics with what is wrong. Walks everything and allocates.

use super::genesis::Genesis;
use super::session::Sessions;
use super::state::State;
use super::state_hash;
use crate::types::*;

pub(super) fn check(genesis: &Genesis, state: &State, sessions: &Sessions) {
    state.books.check();
    let symbols = genesis.symbols.len();
    let accounts = genesis.accounts.len();
    let mut cash_held = vec![0u64; accounts];
    let mut shares_held = vec![0u64; accounts * symbols];
    let mut sum = 0u64;
    let resting = state.books.resting();
    assert!(resting.len() as u64 <= state.orders_max as u64, "more orders than orders_max");
    for order in &resting {
        let slot = state.index.get(&state.books.arena, order.session, order.urn);
        assert_eq!(slot, Some(order.order_ref.0 as u32), "index of a resting order");
        let account = order.account.0 as usize;
        match order.side {
            Side::Buy => cash_held[account] += order.price.times(order.open).0,
            Side::Sell => {
                shares_held[account * symbols + order.locate.0 as usize - 1] += order.open.0 as u64;
            }
        }
        sum = sum.wrapping_add(state_hash::order(order.order_ref, order.open));
    }
    assert_eq!(sum, state.orders_sum, "entity sum of the orders");
    assert_eq!(state.index.count() as usize, resting.len(), "live orders in the index");
    assert_eq!(sessions.check(&state.books.arena) as usize, resting.len(), "orders of sessions");
    check_wallet(genesis, state, &cash_held, &shares_held);
}

fn check_wallet(genesis: &Genesis, state: &State, cash_held: &[u64], shares_held: &[u64]) {
    let symbols = genesis.symbols.len();
    let (mut sum, mut cash, mut opening_cash) = (0u64, 0u64, 0u64);
    let mut shares = vec![0i128; symbols];
    for (slot, spec) in (0u16..).zip(&genesis.accounts) {
        let account = AccountSlot(slot);
        let view = state.wallet.view(account).expect("account of the day");
        assert_eq!(view.cash_held.0, cash_held[slot as usize], "cash held of account {slot}");
        cash += view.cash_free.0 + view.cash_held.0;
        opening_cash += spec.cash.0;
        sum = sum.wrapping_add(state_hash::account(account, view.cash_free, view.cash_held));
        let mut held = vec![0u64; symbols];
        for position in &view.positions {
            let at = position.locate.0 as usize - 1;
            held[at] = position.held;
            shares[at] += position.free as i128 + position.held as i128;
            sum = sum.wrapping_add(state_hash::position(
                account,
                position.locate,
                position.free,
                position.held,
            ));
        }
        let wanted = &shares_held[slot as usize * symbols..][..symbols];
        assert_eq!(held, wanted, "shares held of account {slot}");
        for &(locate, opening) in &spec.positions {
            shares[locate.0 as usize - 1] -= opening as i128;
        }
    }
    assert_eq!(cash, opening_cash, "cash is not conserved");
    assert!(shares.iter().all(|&rest| rest == 0), "shares are not conserved: {shares:?}");
    assert_eq!(sum, state.wallet.sum(), "entity sum of accounts and positions");
}
