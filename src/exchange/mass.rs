//! Mass actions in bounded steps: cancel on disconnect, and the end of the day.
//!
//! One command cancels at most [`STEP_ORDERS`] orders; what remains goes on with each Continue, which
//! the sequencer issues while `continue_wanted`. Meanwhile the owner's entry is closed, so the work
//! only shrinks.

use super::command::{Mode, Phase};
use super::event::*;
use super::market::Day;
use super::order_manager::cancel_all;
use super::output::Output;
use super::state::State;
use crate::planted::{self, Bug};
use crate::types::*;

/// Orders that one command cancels at most: at 100 ns each, 26 us in which nobody else is served.
pub const STEP_ORDERS: u32 = 256;

/// Starts the mass cancel of a session.
pub(super) fn cancel_session<S: EventSink>(
    state: &mut State,
    out: &mut Output<'_, S>,
    session: SessionSlot,
) {
    if out.sessions.row(session).entry_closed {
        return; // one goes on already
    }
    if state.market.mode == Mode::Halt {
        if out.sessions.row(session).open_orders > 0 {
            out.sessions.wait(session); // for the end of the halt
        }
        return;
    }
    let mut budget = STEP_ORDERS;
    if !cancel_some(state, out, session, CancelReason::System, &mut budget)
        && !planted::is(Bug::ContinueForgets)
    {
        out.sessions.wait(session);
    }
}

/// EndOfDay: from now on only Continue does anything.
pub(super) fn end_day<S: EventSink>(state: &mut State, out: &mut Output<'_, S>) {
    while out.sessions.waiting().is_some() {
        out.sessions.waited();
    }
    state.market.phase = Phase::Closed;
    state.market.day = Day::Ending(0);
    expire(state, out, 0);
}

/// Goes on with what waits.
pub(super) fn go_on<S: EventSink>(state: &mut State, out: &mut Output<'_, S>) {
    if let Day::Ending(from) = state.market.day {
        return expire(state, out, from);
    }
    if state.market.mode == Mode::Halt {
        return;
    }
    let mut budget = STEP_ORDERS;
    while let Some(session) = out.sessions.waiting() {
        if !cancel_some(state, out, session, CancelReason::System, &mut budget) {
            return;
        }
        out.sessions.waited();
    }
}

/// Cancels the oldest orders of a session while the budget lasts; true when it has none left.
fn cancel_some<S: EventSink>(
    state: &mut State,
    out: &mut Output<'_, S>,
    session: SessionSlot,
    reason: CancelReason,
    budget: &mut u32,
) -> bool {
    while out.sessions.row(session).open_orders > 0 {
        if *budget == 0 {
            return false;
        }
        *budget -= 1;
        let oldest = out.sessions.row(session).oldest;
        cancel_all(state, out, oldest, reason);
    }
    true
}

/// Expires the orders of sessions from slot `from` on; after the last order, closes the day.
fn expire<S: EventSink>(state: &mut State, out: &mut Output<'_, S>, from: u16) {
    let mut budget = STEP_ORDERS;
    for slot in from..out.sessions.count() {
        if !cancel_some(state, out, SessionSlot(slot), CancelReason::Closed, &mut budget) {
            state.market.day = Day::Ending(slot);
            return;
        }
    }
    state.market.day = Day::Over;
    say_closed(state, out);
    for code in [b'E', b'C'] {
        out.public(System { code, zero: [0; 7] });
    }
    for slot in 0..out.sessions.count() {
        out.report(SessionSlot(slot), false, SessionMark { code: b'E', zero: [0; 7] });
    }
    for slot in 0..out.sessions.count() {
        let session = out.sessions.row_mut(SessionSlot(slot));
        if session.bound {
            session.bound = false;
            let generation = session.generation;
            let by = EndedBy::EndOfDay as u8;
            out.notice(SessionSlot(slot), SessionEnded { generation, by, zero: [0; 3] });
        }
    }
}

/// System `M`, once a day.
pub(super) fn say_closed<S: EventSink>(state: &mut State, out: &mut Output<'_, S>) {
    if !state.market.closed {
        state.market.closed = true;
        out.public(System { code: b'M', zero: [0; 7] });
    }
}
