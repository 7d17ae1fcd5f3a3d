//! What observers of a day must know beforehand: the configuration, as far as it says what must hold.

use crate::types::*;

/// What a day's watch must know beforehand.
pub struct Scene {
    /// Level disk.
    pub disk: bool,
    /// Login keys by slot.
    pub keys: Vec<[u8; 32]>,
    /// Messages per second and burst.
    pub rate: (u32, u32),
    /// No clock is ever stepped.
    pub clocks_agree: bool,
    /// The market opens then; 0 = at once.
    pub open_at: Nanos,
    /// It closes then; 0 = with the day.
    pub close_at: Nanos,
    /// A day ends by itself so long after its first command, ns.
    pub length_ns: Option<u64>,
    /// Bytes per second that a client may have repaired.
    pub repair_rate: u64,
    /// Reports of a session that the gateway has in memory.
    pub reports_kept: u64,
}
