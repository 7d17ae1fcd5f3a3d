//! Draws the Genesis of a day: few symbols, accounts and sessions, so that everything collides.

use rialto::exchange::genesis::*;
use rialto::types::*;

use super::source::Source;

/// What a day puts to the test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Nothing runs out.
    Ample,
    /// Everything runs out.
    Scarce,
    /// A wide band over few price pages.
    Wide,
    /// Many resting orders of few sessions.
    Crowded,
}

impl Kind {
    /// Name of the test that runs such days.
    pub fn test(self) -> &'static str {
        match self {
            Kind::Ample => "ample_days",
            Kind::Scarce => "scarce_days",
            Kind::Wide => "wide_days",
            Kind::Crowded => "crowded_days",
        }
    }
}

fn name<const N: usize>(prefix: &str, number: usize) -> Alpha<N> {
    Alpha::new(&format!("{prefix}{number}")).expect("a short name")
}

/// Symbols, firms, accounts, sessions and table sizes of one day.
pub fn draw(kind: Kind, source: &mut impl Source) -> Genesis {
    let symbols: Vec<SymbolSpec> = (0..1 + source.below(3) as usize)
        .map(|i| {
            let tick = source.pick(&[1, 10, 25, 100]);
            let lot = source.pick(&[1, 1, 1, 10]);
            let (low, high) = match kind {
                Kind::Wide => (1 + source.below(600) as u32, 20_000),
                _ => (source.pick(&[1, 500]), 600),
            };
            SymbolSpec {
                symbol: name("S", i),
                tick,
                lot,
                price_min: Price(low * tick),
                price_max: Price(high * tick),
                protection: source.pick(&[3 * tick, 0, tick + 1, 600 * tick, u32::MAX]),
            }
        })
        .collect();

    let firms: Vec<Alpha<4>> = (0..1 + source.below(3) as usize).map(|i| name("F", i)).collect();
    let scarce_funds = kind == Kind::Scarce && source.below(2) == 0;
    let scarce_limits = kind == Kind::Scarce && source.below(2) == 0;
    const PLENTY: u64 = 1_000_000_000_000;
    let mut accounts = Vec::new();
    for firm in 0..firms.len() {
        for _ in 0..1 + source.below(2) {
            let poor = scarce_funds && source.below(4) > 0;
            let cash = if poor { source.below(12) * 30_000 + source.below(256) } else { PLENTY };
            let mut positions = Vec::new();
            for i in 0..symbols.len() {
                let poor = scarce_funds && source.below(4) > 0;
                let shares = if poor { source.below(12) * 25 } else { PLENTY };
                if shares > 0 {
                    positions.push((Locate(i as u16 + 1), shares));
                }
            }
            let mut limits = Limits::default();
            if scarce_limits {
                limits.order_quantity_max = source.pick(&[0, 0, 15, 100]);
                limits.order_notional_max = Notional(source.pick(&[0, 0, 30_000, 800_000]));
                limits.day_shares_max = source.pick(&[0, 0, 500, 3_000]);
            }
            let name = name("A", accounts.len());
            accounts.push(AccountSpec {
                name,
                firm: firm as u16,
                cash: Notional(cash),
                limits,
                positions,
            });
        }
    }

    let session_count = match kind {
        Kind::Crowded => 1 + source.below(3) as usize,
        _ => 1 + source.below(5) as usize,
    };
    let sessions = (0..session_count)
        .map(|i| {
            let slot = source.below(accounts.len() as u64) as u16;
            let firm = accounts[slot as usize].firm;
            SessionSpec { user: name("USER", i), firm, default_account: AccountSlot(slot) }
        })
        .collect();

    let (orders_max, price_pages_max) = match kind {
        Kind::Ample => (1_000, 64),
        Kind::Scarce => (source.pick(&[20, 1, 3, 8, 60]), source.pick(&[1, 2, 3, 40])),
        Kind::Wide => (300, source.pick(&[1, 5, 15, 16, 17, 18, 20, 24])),
        Kind::Crowded => (source.pick(&[600, 1_500]), 8),
    };
    let genesis = Genesis {
        core_version: CORE_VERSION,
        midnight: Nanos(1_700_000_000_000_000_000),
        day_of_year: 42,
        incarnation: b'A',
        feed_name: name("FEED", 0),
        hash_seed: source.below(u64::MAX),
        capacities: Capacities { orders_max, price_pages_max },
        symbols,
        firms,
        accounts,
        sessions,
    };
    genesis.check().expect("a drawn genesis is consistent");
    genesis
}
