//! The two streams that everybody measures, and what they must come to.

use super::digest::Outcome;
use super::generate::Recipe;

/// A standard stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Preset {
    /// One symbol, about 1,000 resting orders: everything fits the nearest caches.
    Single,
    /// 100 symbols, about 1,000,000 resting orders: memory decides.
    Multi,
}

impl Preset {
    /// Name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Preset::Single => "single",
            Preset::Multi => "multi",
        }
    }

    /// How it is drawn.
    pub fn recipe(self) -> Recipe {
        let standard = Recipe { seed: 23, timed: 3_000_000, ..Recipe::default() };
        match self {
            Preset::Single => Recipe { symbols: 1, resting: 1_000, ..standard },
            Preset::Multi => Recipe { symbols: 100, resting: 1_000_000, ..standard },
        }
    }

    /// True when an outcome is the known one. Fills, volume, notional, digest; live, levels, digest.
    pub fn is_known(self, outcome: &Outcome) -> bool {
        let known = match self {
            Preset::Single => [
                559_356,
                16_981_395,
                342_669_870_148,
                0xbe8c_d302_edca_a382,
                989,
                548,
                0x4124_68bf_ca0f_48f7,
            ],
            Preset::Multi => [
                652_621,
                19_121_678,
                382_447_977_982,
                0xe3c3_708b_a0f6_b0eb,
                983_127,
                149_870,
                0xb518_5c21_1e25_80e5,
            ],
        };
        let (fills, book) = (&outcome.fills, &outcome.book);
        let got = [
            fills.fills,
            fills.volume,
            fills.notional,
            fills.digest,
            book.live,
            book.levels,
            book.digest,
        ];
        got == known
    }
}
