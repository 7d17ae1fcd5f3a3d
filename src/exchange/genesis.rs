//! Genesis: the first record of a day, everything `apply` depends on that is no later command.
//!
//! Consumes a checked configuration (topology builds it) or the bytes of a log record; produces
//! the same bytes again. `replay DIR` needs nothing else. Must not know files or keys: session keys
//! stay with the gateway and never reach a log.

use crate::types::*;
use bytes::{Buf, BufMut, TryGetError};

/// Version of the rules of `apply`. A change of behaviour raises it.
pub const CORE_VERSION: u16 = 1;

/// One symbol of the day; its stock locate is its index + 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SymbolSpec {
    /// Name.
    pub symbol: Symbol,
    /// Smallest price step, in price units (100 = 0.01).
    pub tick: u32,
    /// Order quantities are multiples of this.
    pub lot: u32,
    /// Lowest limit price admitted (band), a multiple of the tick, above 0.
    pub price_min: Price,
    /// Highest limit price admitted (band), a multiple of the tick.
    pub price_max: Price,
    /// Market orders trade at most this far from the best opposite price, in price units.
    pub protection: u32,
}

/// Limits of an account. 0 = no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// Shares per order.
    pub order_quantity_max: u32,
    /// Notional per order (limit price x quantity).
    pub order_notional_max: Notional,
    /// Shares per symbol and day: executed today plus open plus new.
    pub day_shares_max: u64,
}

/// One account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccountSpec {
    /// Name, as in OUCH tag 2.
    pub name: AccountName,
    /// Index of the firm it belongs to.
    pub firm: u16,
    /// Opening cash.
    pub cash: Notional,
    /// Limits.
    pub limits: Limits,
    /// Opening shares, by locate; absent = 0.
    pub positions: Vec<(Locate, u64)>,
}

/// One order-entry session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionSpec {
    /// User name.
    pub user: User,
    /// Index of the firm.
    pub firm: u16,
    /// Account of orders without tag 2.
    pub default_account: AccountSlot,
}

/// Sizes of the exchange's tables, fixed for the day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capacities {
    /// Open orders of the whole venue.
    pub orders_max: u32,
    /// Price pages (512 ticks each) of one symbol.
    pub price_pages_max: u32,
}

/// The day.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Genesis {
    /// [`CORE_VERSION`] that wrote it.
    pub core_version: u16,
    /// Midnight of the trading date in the venue's zone.
    pub midnight: Nanos,
    /// Day of the year, 1 ..= 366: part of session names.
    pub day_of_year: u16,
    /// `A` first; changes only when what left cannot be proven after a loss.
    pub incarnation: u8,
    /// Six characters of the feed's session name.
    pub feed_name: Alpha<6>,
    /// Drawn at random: keys the tables whose keys clients choose.
    pub hash_seed: u64,
    /// Table sizes.
    pub capacities: Capacities,
    /// Symbols, locate = index + 1.
    pub symbols: Vec<SymbolSpec>,
    /// Firms by name.
    pub firms: Vec<Alpha<4>>,
    /// Accounts.
    pub accounts: Vec<AccountSpec>,
    /// Sessions; the slot is the index.
    pub sessions: Vec<SessionSpec>,
}

/// Why bytes are no Genesis, or why its values cannot be a day.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GenesisError {
    /// The bytes end too early, or go on too long.
    #[error("genesis record has the wrong length")]
    Length,
    /// Written by rules this program does not have.
    #[error("genesis was written by core version {0}; this program has version {CORE_VERSION}")]
    Version(u16),
    /// A value contradicts another.
    #[error("genesis is inconsistent: {0}")]
    Inconsistent(&'static str),
}

impl Genesis {
    /// Downstream session name of a slot: user, incarnation, day of year (session.md, Frames).
    pub fn downstream_name(&self, slot: SessionSlot) -> Option<SessionName> {
        let session = self.sessions.get(slot.0 as usize)?;
        Some(self.name(session.user))
    }

    /// Feed session name, the same on A, B and repair.
    pub fn feed_session(&self) -> SessionName {
        self.name(self.feed_name)
    }

    fn name(&self, prefix: Alpha<6>) -> SessionName {
        let mut name = [b' '; 10];
        name[..6].copy_from_slice(&prefix.0);
        name[6] = self.incarnation;
        let day = self.day_of_year;
        name[7] = b'0' + (day / 100 % 10) as u8;
        name[8] = b'0' + (day / 10 % 10) as u8;
        name[9] = b'0' + (day % 10) as u8;
        Alpha(name)
    }

    /// Bytes for the log record.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Vec::new();
        w.put_u16_le(self.core_version);
        w.put_u16_le(self.day_of_year);
        w.put_u64_le(self.midnight.0);
        w.put_u64_le(self.hash_seed);
        w.put_slice(&[self.incarnation]);
        w.put_slice(&self.feed_name.0);
        w.put_u32_le(self.capacities.orders_max);
        w.put_u32_le(self.capacities.price_pages_max);
        w.put_u16_le(self.symbols.len() as u16);
        for s in &self.symbols {
            w.put_slice(&s.symbol.0);
            w.put_u32_le(s.tick);
            w.put_u32_le(s.lot);
            w.put_u32_le(s.price_min.0);
            w.put_u32_le(s.price_max.0);
            w.put_u32_le(s.protection);
        }
        w.put_u16_le(self.firms.len() as u16);
        for f in &self.firms {
            w.put_slice(&f.0);
        }
        w.put_u16_le(self.accounts.len() as u16);
        for a in &self.accounts {
            w.put_slice(&a.name.0);
            w.put_u16_le(a.firm);
            w.put_u64_le(a.cash.0);
            w.put_u32_le(a.limits.order_quantity_max);
            w.put_u64_le(a.limits.order_notional_max.0);
            w.put_u64_le(a.limits.day_shares_max);
            w.put_u16_le(a.positions.len() as u16);
            for &(locate, shares) in &a.positions {
                w.put_u16_le(locate.0);
                w.put_u64_le(shares);
            }
        }
        w.put_u16_le(self.sessions.len() as u16);
        for s in &self.sessions {
            w.put_slice(&s.user.0);
            w.put_u16_le(s.firm);
            w.put_u16_le(s.default_account.0);
        }
        w
    }

    /// Reads the bytes and checks that the values fit each other.
    pub fn decode(bytes: &[u8]) -> Result<Genesis, GenesisError> {
        let mut r = Reader(bytes);
        let core_version = r.u16()?;
        if core_version != CORE_VERSION {
            return Err(GenesisError::Version(core_version));
        }
        let day_of_year = r.u16()?;
        let midnight = Nanos(r.u64()?);
        let hash_seed = r.u64()?;
        let incarnation = r.take::<1>()?[0];
        let feed_name = Alpha(r.take()?);
        let capacities = Capacities { orders_max: r.u32()?, price_pages_max: r.u32()? };
        let mut symbols = Vec::new();
        for _ in 0..r.u16()? {
            symbols.push(SymbolSpec {
                symbol: Alpha(r.take()?),
                tick: r.u32()?,
                lot: r.u32()?,
                price_min: Price(r.u32()?),
                price_max: Price(r.u32()?),
                protection: r.u32()?,
            });
        }
        let mut firms = Vec::new();
        for _ in 0..r.u16()? {
            firms.push(Alpha(r.take()?));
        }
        let mut accounts = Vec::new();
        for _ in 0..r.u16()? {
            let name = Alpha(r.take()?);
            let firm = r.u16()?;
            let cash = Notional(r.u64()?);
            let limits = Limits {
                order_quantity_max: r.u32()?,
                order_notional_max: Notional(r.u64()?),
                day_shares_max: r.u64()?,
            };
            let mut positions = Vec::new();
            for _ in 0..r.u16()? {
                positions.push((Locate(r.u16()?), r.u64()?));
            }
            accounts.push(AccountSpec { name, firm, cash, limits, positions });
        }
        let mut sessions = Vec::new();
        for _ in 0..r.u16()? {
            sessions.push(SessionSpec {
                user: Alpha(r.take()?),
                firm: r.u16()?,
                default_account: AccountSlot(r.u16()?),
            });
        }
        if r.0.has_remaining() {
            return Err(GenesisError::Length);
        }
        let genesis = Genesis {
            core_version,
            midnight,
            day_of_year,
            incarnation,
            feed_name,
            hash_seed,
            capacities,
            symbols,
            firms,
            accounts,
            sessions,
        };
        genesis.check()?;
        Ok(genesis)
    }

    /// Checks that the values fit each other. The configuration reports the same faults earlier and
    /// with file and key; this is the last line.
    pub fn check(&self) -> Result<(), GenesisError> {
        let bad = |what| Err(GenesisError::Inconsistent(what));
        if !(1..=366).contains(&self.day_of_year) {
            return bad("day of year outside 1..=366");
        }
        if self.capacities.orders_max == 0 || self.capacities.orders_max > 1 << 28 {
            return bad("orders_max outside 1..=2^28");
        }
        if self.capacities.price_pages_max == 0 || self.capacities.price_pages_max > 60_000 {
            return bad("price_pages_max outside 1..=60000");
        }
        if self.symbols.is_empty() || self.symbols.len() > 10_000 {
            return bad("symbols outside 1..=10000");
        }
        for s in &self.symbols {
            if s.tick == 0 || s.lot == 0 || s.price_min.0 == 0 {
                return bad("tick, lot or lowest price is 0");
            }
            if s.price_min > s.price_max || s.price_max > Price::MAX {
                return bad("price band is empty or above the maximum");
            }
            if s.price_min.0 % s.tick != 0 || s.price_max.0 % s.tick != 0 {
                return bad("price band is off the tick");
            }
            if s.price_max.0 / s.tick > 1 << 25 {
                return bad("price band has more than 2^25 ticks");
            }
        }
        let firms = self.firms.len();
        if self.accounts.is_empty() || self.accounts.len() > 60_000 {
            return bad("accounts outside 1..=60000");
        }
        for a in &self.accounts {
            if a.firm as usize >= firms {
                return bad("account of an unknown firm");
            }
            if a.positions.iter().any(|p| p.0.0 == 0 || p.0.0 as usize > self.symbols.len()) {
                return bad("position in an unknown symbol");
            }
        }
        if self.sessions.len() > 3_844 {
            return bad("more than 3844 sessions");
        }
        for s in &self.sessions {
            let Some(account) = self.accounts.get(s.default_account.0 as usize) else {
                return bad("session with an unknown default account");
            };
            if s.firm as usize >= firms || account.firm != s.firm {
                return bad("session and its default account are of different firms");
            }
        }
        Ok(())
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], GenesisError> {
        let mut bytes = [0; N];
        self.0.try_copy_to_slice(&mut bytes)?;
        Ok(bytes)
    }
    fn u16(&mut self) -> Result<u16, GenesisError> {
        Ok(self.0.try_get_u16_le()?)
    }
    fn u32(&mut self) -> Result<u32, GenesisError> {
        Ok(self.0.try_get_u32_le()?)
    }
    fn u64(&mut self) -> Result<u64, GenesisError> {
        Ok(self.0.try_get_u64_le()?)
    }
}

impl From<TryGetError> for GenesisError {
    fn from(_: TryGetError) -> GenesisError {
        GenesisError::Length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Genesis {
        Genesis {
            core_version: CORE_VERSION,
            midnight: Nanos(1_700_000_000_000_000_000),
            day_of_year: 7,
            incarnation: b'A',
            feed_name: Alpha::new("RIALTO").unwrap(),
            hash_seed: 42,
            capacities: Capacities { orders_max: 1000, price_pages_max: 16 },
            symbols: vec![SymbolSpec {
                symbol: Symbol::new("AAPL").unwrap(),
                tick: 100,
                lot: 1,
                price_min: Price(100),
                price_max: Price(10_000_000),
                protection: 50_000,
            }],
            firms: vec![Alpha::new("ALFA").unwrap()],
            accounts: vec![AccountSpec {
                name: Alpha::new("A1").unwrap(),
                firm: 0,
                cash: Notional(1_000_000),
                limits: Limits::default(),
                positions: vec![(Locate(1), 500)],
            }],
            sessions: vec![SessionSpec {
                user: Alpha::new("ALFA01").unwrap(),
                firm: 0,
                default_account: AccountSlot(0),
            }],
        }
    }

    #[test]
    fn round_trip_and_names() {
        let g = sample();
        let bytes = g.encode();
        assert_eq!(Genesis::decode(&bytes).unwrap(), g);
        assert_eq!(g.feed_session().0, *b"RIALTOA007");
        assert_eq!(g.downstream_name(SessionSlot(0)).unwrap().0, *b"ALFA01A007");
        for cut in 0..bytes.len() {
            assert!(Genesis::decode(&bytes[..cut]).is_err());
        }
    }
}
