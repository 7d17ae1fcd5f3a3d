//! The shape of real order flow, as constants.
//!
//! Origin of every number here: one hour of Nasdaq flow in AAPL, 2012-06-21 09:30-10:30 (LOBSTER
//! academic sample, rebuilt as 89,876 commands: 44,336 new, 41,004 cancels, 500 reductions, 4,036
//! executions), measured with a plain price-time book. Prices in ticks of one cent, so that the
//! shape fits any price.

use super::random::Quantiles;

/// Commands per second of the hour: 89,876 / 3,600.
pub(super) const RATE_PER_S: u64 = 25;

/// Executions (here: immediate-or-cancel orders) per 100,000 commands: 4,036 / 89,876.
pub(super) const IMMEDIATE_RANK: u64 = 4_490;
/// Reductions per 100,000 commands: 500 / 89,876.
pub(super) const REDUCE_RANK: u64 = 556;

/// Orders resting in the book, median over the hour 326, at its end 380.
pub(super) const RESTING: u64 = 340;

/// Commands per second, in 1/1,000 of the mean, over the 3,600 seconds.
pub(super) const RATE_PERMILLE: Quantiles = &[
    (0, 0),
    (5_000, 40),
    (10_000, 80),
    (25_000, 241),
    (50_000, 561),
    (75_000, 1_243),
    (90_000, 2_486),
    (95_000, 3_488),
    (99_000, 6_174),
    (99_900, 12_949),
    (100_000, 14_753),
];

/// Commands in a burst: a run of commands with gaps below 1 ms (36,004 bursts, mean 2.49).
pub(super) const BURST: Quantiles = &[
    (0, 1),
    (44_000, 1),
    (50_000, 2),
    (70_000, 2),
    (80_000, 3),
    (85_000, 4),
    (90_000, 5),
    (95_000, 7),
    (97_000, 9),
    (99_000, 14),
    (99_500, 19),
    (99_900, 32),
    (100_000, 69),
];

/// Gaps inside a burst, ns (53,791 gaps).
pub(super) const GAP_NS: Quantiles = &[
    (0, 0),
    (8_000, 0),
    (10_000, 507),
    (15_000, 2_453),
    (20_000, 6_919),
    (25_000, 15_996),
    (30_000, 25_722),
    (40_000, 41_173),
    (50_000, 76_729),
    (60_000, 107_013),
    (70_000, 172_506),
    (75_000, 249_079),
    (80_000, 380_318),
    (85_000, 545_283),
    (90_000, 652_530),
    (95_000, 710_405),
    (99_000, 952_947),
    (100_000, 999_714),
];

/// New orders that improve the best price of their side, per 100,000 (8,918 of 44,256).
pub(super) const IMPROVE_RANK: u64 = 20_150;
/// New orders at the best price of their side, per 100,000.
pub(super) const JOIN_RANK: u64 = 7_930;

/// By how much the improving ones improve, in 1/1,000 of the spread.
pub(super) const IMPROVE_PERMILLE: Quantiles = &[
    (0, 12),
    (5_000, 29),
    (10_000, 36),
    (20_000, 48),
    (30_000, 63),
    (40_000, 83),
    (50_000, 111),
    (60_000, 140),
    (70_000, 188),
    (75_000, 233),
    (80_000, 289),
    (85_000, 368),
    (90_000, 462),
    (95_000, 571),
    (97_000, 682),
    (99_000, 833),
    (100_000, 968),
];

/// How far behind the best price of their side the others are, ticks (31,828 orders). The last
/// 0.5% reach to 11,304 ticks (stub quotes) in the hour; cut at 2,000 here.
pub(super) const BEHIND_TICKS: Quantiles = &[
    (0, 1),
    (7_000, 1),
    (10_000, 2),
    (15_000, 3),
    (20_000, 4),
    (25_000, 6),
    (30_000, 8),
    (40_000, 11),
    (50_000, 13),
    (60_000, 19),
    (70_000, 29),
    (75_000, 39),
    (80_000, 52),
    (85_000, 69),
    (90_000, 92),
    (95_000, 135),
    (97_000, 157),
    (99_000, 182),
    (99_500, 232),
    (100_000, 2_000),
];

/// Spread, ticks: median over the hour (10th percentile 10, 90th 31).
pub(super) const SPREAD_TICKS: u64 = 19;

/// Shares of new orders: (orders per 100,000, shares). What is left over is drawn from
/// [`OTHER_SHARES`].
pub(super) const SHARES: &[(u64, u64)] = &[
    (52_750, 100),
    (11_130, 18),
    (7_270, 200),
    (3_545, 22),
    (2_935, 1_000),
    (2_490, 19),
    (1_844, 20),
    (1_839, 1),
    (1_625, 23),
    (1_392, 10),
    (1_387, 8),
    (1_286, 17),
    (750, 25),
];

/// Shares of the new orders whose size is none of [`SHARES`] (4,315 orders). The largest, 15,000,
/// stays out: one of 44,256.
pub(super) const OTHER_SHARES: Quantiles = &[
    (0, 2),
    (5_000, 3),
    (10_000, 4),
    (15_000, 6),
    (20_000, 7),
    (25_000, 12),
    (30_000, 13),
    (40_000, 16),
    (50_000, 28),
    (60_000, 37),
    (70_000, 50),
    (75_000, 75),
    (80_000, 99),
    (85_000, 156),
    (90_000, 300),
    (95_000, 500),
    (97_000, 900),
    (99_000, 1_162),
    (100_000, 1_500),
];

/// Age of an order at its cancel, in commands of its symbol (41,004 cancels).
pub(super) const CANCEL_AGE: Quantiles = &[
    (0, 1),
    (7_000, 1),
    (10_000, 2),
    (15_000, 3),
    (20_000, 4),
    (25_000, 5),
    (30_000, 7),
    (40_000, 11),
    (50_000, 18),
    (60_000, 29),
    (70_000, 49),
    (75_000, 67),
    (80_000, 95),
    (85_000, 142),
    (90_000, 245),
    (95_000, 522),
    (97_000, 880),
    (99_000, 3_157),
    (99_500, 7_244),
    (100_000, 88_199),
];

/// Orders that one aggressive order meets: (orders per 100,000, resting orders met). The hour
/// tells executions one by one and not who swept; a mean of 1.3 brings executions to 5.8% of all
/// commands while cancels and fills still balance the new orders at 0.92 cancels each.
pub(super) const SWEEP: &[(u64, u64)] =
    &[(81_000, 1), (11_500, 2), (4_500, 3), (2_000, 4), (1_000, 6)];

/// Aggressive orders that leave a part of the last order they meet, per 100,000. In the hour 27%
/// of the executions (2,952 of 4,036 resting orders ended by one); 50% here, for the balance told
/// at [`SWEEP`].
pub(super) const PARTIAL_RANK: u64 = 50_000;
