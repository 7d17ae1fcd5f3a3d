//! What a day takes: memory of the tables and the hot tier, disk of the logs.

use super::Config;
use crate::exchange::command::{Enter, MessageHead};
use crate::exchange::event::{Accepted, Canceled, EventHead, Executed};

/// Record header of the logs, bytes (store.md).
const RECORD_HEADER: u64 = 32;
/// Bytes of one order in the arena and of its entries in the tables beside it.
const ORDER_BYTES: u64 = 64 + 2 * 16 + 16;
/// Bytes of one price page: 512 levels of 24 bytes and its bitmap.
const PAGE_BYTES: u64 = 512 * 24 + 128;
/// Executions, cancels and book events per order in the real hour of test data: 89,876 commands
/// made 4,036 matches (two executions each) and 41,504 cancels of 44,336 new orders.
const EXECUTIONS_PER_1000: u64 = 90;
const CANCELS_PER_1000: u64 = 460;
const NEW_PER_1000: u64 = 540;

/// Figures in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizing {
    /// Commands of the day.
    pub orders_per_day: u64,
    /// Command log of the day, on disk.
    pub command_log: u64,
    /// Event log of the day, on disk.
    pub event_log: u64,
    /// Hot tier, in shared memory: both logs' segments.
    pub hot_tier: u64,
    /// Tables of the exchange.
    pub tables: u64,
}

impl Sizing {
    pub(super) fn of(config: &Config) -> Sizing {
        let record = |payload: usize| (RECORD_HEADER + payload as u64).next_multiple_of(32);
        let n = config.orders_per_day;
        let command = record(MessageHead::SIZE + Enter::SIZE);
        let per_1000 = NEW_PER_1000 * record(EventHead::SIZE + Accepted::SIZE)
            + EXECUTIONS_PER_1000 * record(EventHead::SIZE + Executed::SIZE)
            + CANCELS_PER_1000 * record(EventHead::SIZE + Canceled::SIZE);
        let pages = config.symbols.len() as u64 * config.capacities.price_pages_max as u64;
        Sizing {
            orders_per_day: n,
            command_log: n * command,
            event_log: (n as u128 * per_1000 as u128 / 1_000) as u64,
            hot_tier: 2 * config.hot_segments_max as u64 * config.segment_bytes,
            tables: config.capacities.orders_max as u64 * ORDER_BYTES + pages * PAGE_BYTES,
        }
    }
}
