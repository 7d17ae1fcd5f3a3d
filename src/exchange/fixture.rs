//! A small venue for the exchange's own tests: two symbols, two firms, three accounts, three sessions.

use super::genesis::*;
use crate::types::*;

/// An order with this id kills the exchange, in the library's own tests.
pub(crate) const POISON: ClOrdId = Alpha(*b"POISON        ");

/// AAPL: tick 0.01, lot 1, band 1.00 to 1,000.00, protection 1.00. LOTS: tick 0.05, lot 10, band 5.00
/// to 50.00, protection 0.12 (off the tick). Firm 0: accounts A1 (default of session 0 and 1), A2
/// (with limits); firm 1: account B1 (default of session 2).
pub(super) fn genesis() -> Genesis {
    let symbol = |name, tick, lot, min, max, protection| SymbolSpec {
        symbol: Symbol::new(name).unwrap(),
        tick,
        lot,
        price_min: Price(min),
        price_max: Price(max),
        protection,
    };
    let account = |name, firm, limits| AccountSpec {
        name: AccountName::new(name).unwrap(),
        firm,
        cash: Notional(10_000_000_000_000),
        limits,
        positions: vec![(Locate(1), 1_000_000), (Locate(2), 5_000)],
    };
    let session = |user, firm, account| SessionSpec {
        user: User::new(user).unwrap(),
        firm,
        default_account: AccountSlot(account),
    };
    let limits = Limits {
        order_quantity_max: 500,
        order_notional_max: Notional(1_000_000_000),
        day_shares_max: 1_000,
    };
    Genesis {
        core_version: CORE_VERSION,
        midnight: Nanos(0),
        day_of_year: 1,
        incarnation: b'A',
        feed_name: Alpha::new("RIALTO").unwrap(),
        hash_seed: 0x1234_5678_9ABC_DEF0,
        capacities: Capacities { orders_max: 1_000, price_pages_max: 64 },
        symbols: vec![
            symbol("AAPL", 100, 1, 10_000, 10_000_000, 10_000),
            symbol("LOTS", 500, 10, 50_000, 500_000, 1_200),
        ],
        firms: vec![Alpha::new("ALFA").unwrap(), Alpha::new("BETA").unwrap()],
        accounts: vec![
            account("A1", 0, Limits::default()),
            account("A2", 0, limits),
            account("B1", 1, Limits::default()),
        ],
        sessions: vec![session("ALFA01", 0, 0), session("ALFA02", 0, 0), session("BETA01", 1, 2)],
    }
}
