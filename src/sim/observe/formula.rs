//! The formula of the state hash: snapshots hold hashes, and the model of the exchange computes its own
//! by the same functions, so that neither would see another formula (snapshot.md, state_hash.rs).
//!
//! Consumes nothing; produces one number over every event and entity. Must not know a venue.

use super::Faults;
use crate::exchange::command::Mode;
use crate::exchange::event::{EVENT_BYTES_MAX, Event};
use crate::exchange::state_hash::{self, CHAIN_START, SessionState};
use crate::types::*;

/// What the formula makes of `sample`. It changes only with the format of snapshots and event logs: those
/// of before are then none of this program's.
const SAMPLE: u64 = 0xb18c_32d1_470e_5960;

/// The formula is the one that this format has.
pub fn judge(faults: &mut Faults) {
    let found = sample();
    if found != SAMPLE {
        faults
            .add("the state hash has another formula", format!("{found:016x}, not {SAMPLE:016x}"));
    }
}

/// One of every kind, no two bytes of it alike; what a side may be decides where they begin.
fn events() -> impl Iterator<Item = Event> {
    let bytes =
        |first| -> Vec<u8> { (0..EVENT_BYTES_MAX).map(|at| (at * 37 + first) as u8).collect() };
    let decode = move |kind, first| {
        let bytes = bytes(first);
        (0..=bytes.len()).find_map(|len| Event::decode(kind, &bytes[..len]))
    };
    (0..=u8::MAX as u16).filter_map(move |kind| (0..256).find_map(|first| decode(kind, first)))
}

/// A chain over an event of every kind, and one entity of each.
fn sample() -> u64 {
    let chain = events().fold(CHAIN_START, |chain, event| state_hash::chain_event(chain, &event));
    let account = AccountSlot(5);
    let session = SessionState {
        bound: true,
        generation: 7,
        next_client_seq: 1_001,
        next_report: 2_003,
        last_urn: Urn(3_007),
    };
    let entities = [
        state_hash::order(OrderRef(0x1_0000_0011), Quantity(400)),
        state_hash::account(account, Notional(90_001), Notional(70_003)),
        state_hash::position(account, Locate(3), 601, 607),
        state_hash::session(SessionSlot(2), &session),
        state_hash::mode(Mode::CancelOnly),
    ];
    state_hash::finish(chain, entities.into_iter().fold(0, u64::wrapping_add))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_event_is_in_the_sample() {
        let kinds: Vec<u16> = events().map(|event| event.body.kind()).collect();
        assert_eq!(kinds, (1..=16).collect::<Vec<u16>>());
    }
}
