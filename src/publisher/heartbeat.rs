//! When a silent line says that it is alive (session.md 16): 1, 10 and 100 ms after the last
//! message, then every second, so that a lost tail is noticed in milliseconds.
//!
//! Consumes the time; produces "now". Must not know what is sent.

use crate::planted::{self, Bug};
use crate::types::Nanos;

/// Waits after the last message, ns.
const AFTER_NS: [u64; 3] = [1_000_000, 10_000_000, 100_000_000];
/// Then this often, ns.
pub const EVERY_NS: u64 = 1_000_000_000;

/// Heartbeat timer of one stream.
#[derive(Clone, Copy, Debug)]
pub struct Heartbeat {
    last_message: Nanos,
    stage: usize,
    due: Nanos,
}

impl Heartbeat {
    /// First heartbeat at once.
    pub fn new() -> Heartbeat {
        Heartbeat { last_message: Nanos(0), stage: AFTER_NS.len(), due: Nanos(0) }
    }

    /// A message left.
    #[inline]
    pub fn on_message(&mut self, now: Nanos) {
        self.last_message = now;
        self.stage = 0;
        let lost = planted::is(Bug::LoseTailHeartbeat);
        self.due = now.plus(if lost { EVERY_NS } else { AFTER_NS[0] });
    }

    /// True when a heartbeat is to be sent now; counts it as sent. Times missed by a late caller
    /// are not made up for.
    #[inline]
    pub fn is_due(&mut self, now: Nanos) -> bool {
        if now < self.due {
            return false;
        }
        while self.stage < AFTER_NS.len() {
            self.stage += 1;
            match AFTER_NS.get(self.stage) {
                Some(&after) if self.last_message.plus(after) > now => {
                    self.due = self.last_message.plus(after);
                    return true;
                }
                _ => {}
            }
        }
        self.due = now.plus(EVERY_NS);
        true
    }
}

impl Default for Heartbeat {
    fn default() -> Self {
        Heartbeat::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times_ms(heartbeat: &mut Heartbeat, from_ms: u64, to_ms: u64) -> Vec<u64> {
        (from_ms..to_ms).filter(|&ms| heartbeat.is_due(Nanos(ms * 1_000_000))).collect()
    }

    #[test]
    fn at_1_10_100_ms_then_every_second() {
        let mut heartbeat = Heartbeat::new();
        assert_eq!(times_ms(&mut heartbeat, 5, 2_500), [5, 1_005, 2_005]);
        heartbeat.on_message(Nanos(2_600_000_000));
        assert_eq!(times_ms(&mut heartbeat, 2_600, 5_000), [2_601, 2_610, 2_700, 3_700, 4_700]);
        heartbeat.on_message(Nanos(5_000_000_000));
        assert_eq!(times_ms(&mut heartbeat, 5_050, 6_200), [5_050, 5_100, 6_100]);
    }
}
