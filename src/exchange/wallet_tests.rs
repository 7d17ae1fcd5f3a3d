use super::super::fixture;
use super::*;

const A1: AccountSlot = AccountSlot(0);
const B1: AccountSlot = AccountSlot(2);
const AAPL: Locate = Locate(1);

fn amounts(wallet: &Wallet, account: AccountSlot) -> [u64; 4] {
    let view = wallet.view(account).unwrap();
    [view.cash_free.0, view.cash_held.0, view.positions[0].free, view.positions[0].held]
}

#[test]
fn a_buy_holds_cash_and_pays_out_of_it() {
    let mut wallet = Wallet::new(&fixture::genesis()).unwrap();
    let start = amounts(&wallet, A1);
    wallet.accept(A1, AAPL, Quantity(10));
    wallet.hold(A1, AAPL, Side::Buy, Price(500), Quantity(10));
    assert_eq!(amounts(&wallet, A1), [start[0] - 5_000, 5_000, start[2], 0]);
    wallet.settle_maker(A1, AAPL, Side::Buy, Quantity(4), Notional(2_000));
    wallet.settle_taker(B1, AAPL, Side::Sell, Quantity(4), Notional(2_000));
    assert_eq!(amounts(&wallet, A1), [start[0] - 5_000, 3_000, start[2] + 4, 0]);
    wallet.release(A1, AAPL, Side::Buy, Price(500), Quantity(6));
    assert_eq!(amounts(&wallet, A1), [start[0] - 2_000, 0, start[2] + 4, 0]);
    assert_eq!(wallet.day_shares(A1, AAPL), 4, "only what was executed still counts");
}

#[test]
fn a_sell_holds_shares_and_the_sum_follows() {
    let mut wallet = Wallet::new(&fixture::genesis()).unwrap();
    let (start, sum) = (amounts(&wallet, A1), wallet.sum());
    wallet.accept(A1, AAPL, Quantity(10));
    wallet.hold(A1, AAPL, Side::Sell, Price(500), Quantity(10));
    assert_eq!(amounts(&wallet, A1), [start[0], 0, start[2] - 10, 10]);
    assert_ne!(wallet.sum(), sum);
    wallet.release(A1, AAPL, Side::Sell, Price(500), Quantity(10));
    assert_eq!((amounts(&wallet, A1), wallet.sum()), (start, sum));
}

#[test]
fn openings_that_could_overflow_are_refused() {
    let mut genesis = fixture::genesis();
    genesis.accounts[0].cash = Notional(u64::MAX);
    assert!(Wallet::new(&genesis).is_err());
    let mut genesis = fixture::genesis();
    genesis.accounts[0].positions[0].1 = 1 << 62;
    assert!(Wallet::new(&genesis).is_err());
    let mut genesis = fixture::genesis();
    let doubled = genesis.accounts[0].positions[0];
    genesis.accounts[0].positions.push(doubled);
    assert!(Wallet::new(&genesis).is_err());
}
