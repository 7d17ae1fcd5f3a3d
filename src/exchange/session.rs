//! What the exchange remembers of sessions: numbers, binding, and each one's orders in order of
//! entry.
//!
//! Consumes logins and message heads; produces the numbers that stand in event heads. Must not know
//! addresses' meaning, keys or time-outs: the gateway and the timer decide those.

use super::arena::{Arena, NONE};
use super::genesis::SessionSpec;
use super::state_hash::{self, SessionState};
use super::view::SessionView;
use crate::planted::{self, Bug};
use crate::types::*;

/// Flag of a login: cancel on disconnect.
pub(super) const CANCEL_ON_DISCONNECT: u8 = 1;

/// No session: end of the waiting list.
const NOBODY: u16 = u16::MAX;

/// One session.
#[repr(C, align(64))]
pub(super) struct Session {
    /// Next client sequence, from 1.
    pub(super) next_client_seq: u64,
    /// Next report number, from 1.
    pub(super) next_report: u64,
    /// The client's time in its last login.
    pub(super) login_time: Nanos,
    /// Login generation, 0 before the first.
    pub(super) generation: u32,
    /// Highest reference consumed, 0 = none.
    pub(super) last_urn: Urn,
    /// Its oldest resting order, [`NONE`] without.
    pub(super) oldest: u32,
    youngest: u32,
    pub(super) open_orders: u32,
    pub(super) firm: u16,
    pub(super) default_account: AccountSlot,
    next_waiting: u16,
    pub(super) bound: bool,
    pub(super) cancel_on_disconnect: bool,
    /// A mass cancel goes on: Enter and Replace are refused.
    pub(super) entry_closed: bool,
}

const _: () = assert!(size_of::<Session>() == 64);

impl Session {
    /// Next reference above the last; 0 = used up.
    pub(super) fn next_urn(&self) -> u32 {
        self.last_urn.0.checked_add(1).unwrap_or(0)
    }

    /// Client sequence applied through.
    #[inline(always)]
    pub(super) fn applied(&self) -> u64 {
        self.next_client_seq - 1
    }

    fn state(&self) -> SessionState {
        SessionState {
            bound: self.bound,
            generation: self.generation,
            next_client_seq: self.next_client_seq,
            next_report: self.next_report,
            last_urn: self.last_urn,
        }
    }
}

/// All sessions of the day, and those whose mass cancel waits for a Continue.
pub(super) struct Sessions {
    rows: Vec<Session>,
    waiting_first: u16,
    waiting_last: u16,
}

impl Sessions {
    /// Unbound sessions at the start of the day. Allocates.
    pub(super) fn new(specs: &[SessionSpec]) -> Sessions {
        let rows = specs
            .iter()
            .map(|spec| Session {
                next_client_seq: 1,
                next_report: 1,
                login_time: Nanos(0),
                generation: 0,
                last_urn: Urn(0),
                oldest: NONE,
                youngest: NONE,
                open_orders: 0,
                firm: spec.firm,
                default_account: spec.default_account,
                next_waiting: NOBODY,
                bound: false,
                cancel_on_disconnect: false,
                entry_closed: false,
            })
            .collect();
        Sessions { rows, waiting_first: NOBODY, waiting_last: NOBODY }
    }

    pub(super) fn count(&self) -> u16 {
        self.rows.len() as u16
    }

    /// A session that a command named.
    #[inline(always)]
    pub(super) fn get(&self, slot: SessionSlot) -> Option<&Session> {
        self.rows.get(slot.0 as usize)
    }

    /// A session that a command named, if it is bound under this generation.
    #[inline(always)]
    pub(super) fn bound(&mut self, slot: SessionSlot, generation: u32) -> Option<&mut Session> {
        let session = self.rows.get_mut(slot.0 as usize)?;
        let current = session.generation == generation || planted::is(Bug::StaleGeneration);
        (session.bound && current).then_some(session)
    }

    /// A session of ours.
    #[inline(always)]
    pub(super) fn row(&self, slot: SessionSlot) -> &Session {
        &self.rows[slot.0 as usize]
    }

    /// A session of ours, to change it.
    #[inline(always)]
    pub(super) fn row_mut(&mut self, slot: SessionSlot) -> &mut Session {
        &mut self.rows[slot.0 as usize]
    }

    /// Adds a resting order as the youngest of its session. O(1).
    #[inline(always)]
    pub(super) fn link(&mut self, arena: &mut Arena, slot: u32) {
        let session = &mut self.rows[arena.order(slot).session.0 as usize];
        let youngest = session.youngest;
        session.youngest = slot;
        session.open_orders += 1;
        let order = arena.order_mut(slot);
        order.session_previous = youngest;
        order.session_next = NONE;
        if youngest == NONE {
            session.oldest = slot;
        } else {
            arena.order_mut(youngest).session_next = slot;
        }
    }

    /// Takes an order out of its session's list. O(1).
    #[inline(always)]
    pub(super) fn unlink(&mut self, arena: &mut Arena, slot: u32) {
        let order = arena.order(slot);
        let (previous, next) = (order.session_previous, order.session_next);
        let session = &mut self.rows[order.session.0 as usize];
        session.open_orders -= 1;
        if previous == NONE {
            session.oldest = next;
        } else {
            arena.order_mut(previous).session_next = next;
        }
        if next == NONE {
            session.youngest = previous;
        } else {
            arena.order_mut(next).session_previous = previous;
        }
    }

    /// Closes a session's entry until its mass cancel is done; it waits behind those before it.
    pub(super) fn wait(&mut self, slot: SessionSlot) {
        let session = self.row_mut(slot);
        assert!(!session.entry_closed, "session waits already");
        session.entry_closed = true;
        session.next_waiting = NOBODY;
        if self.waiting_first == NOBODY {
            self.waiting_first = slot.0;
        } else {
            let last = SessionSlot(self.waiting_last);
            self.row_mut(last).next_waiting = slot.0;
        }
        self.waiting_last = slot.0;
    }

    /// The session whose mass cancel is next.
    pub(super) fn waiting(&self) -> Option<SessionSlot> {
        (self.waiting_first != NOBODY).then_some(SessionSlot(self.waiting_first))
    }

    /// Opens the entry of the first waiting session again.
    pub(super) fn waited(&mut self) {
        if let Some(slot) = self.waiting() {
            let session = self.row_mut(slot);
            session.entry_closed = false;
            self.waiting_first = session.next_waiting;
        }
    }

    /// Sessions whose mass cancel waits, the next first. For snapshots.
    pub(super) fn all_waiting(&self) -> impl Iterator<Item = SessionSlot> + '_ {
        let some = |slot: u16| (slot != NOBODY).then_some(SessionSlot(slot));
        std::iter::successors(some(self.waiting_first), move |&slot| {
            some(self.row(slot).next_waiting)
        })
    }

    /// Wrapping sum of all sessions for the state hash. O(sessions).
    pub(super) fn hash(&self) -> u64 {
        (0u16..)
            .zip(&self.rows)
            .map(|(slot, session)| state_hash::session(SessionSlot(slot), &session.state()))
            .fold(0, u64::wrapping_add)
    }

    pub(super) fn view(&self, slot: SessionSlot) -> Option<SessionView> {
        self.get(slot).map(|session| SessionView {
            bound: session.bound,
            generation: session.generation,
            next_client_seq: session.next_client_seq,
            next_report: session.next_report,
            last_urn: session.last_urn,
            entry_closed: session.entry_closed,
            open_orders: session.open_orders,
        })
    }

    /// Panics when a list is broken; returns the orders in all lists. For tests.
    pub(super) fn check(&self, arena: &Arena) -> u32 {
        let mut all = 0;
        for (slot, session) in (0u16..).zip(&self.rows) {
            let mut count = 0;
            let mut previous = NONE;
            let mut at = session.oldest;
            while at != NONE {
                let order = arena.get(at).expect("a listed order rests");
                assert_eq!(order.session.0, slot, "order in another session's list");
                assert_eq!(order.session_previous, previous, "session list link");
                assert!(order.urn <= session.last_urn, "resting order above the last reference");
                if previous != NONE {
                    assert!(arena.order(previous).reference < order.reference, "order of entry");
                }
                count += 1;
                assert!(count <= session.open_orders, "session list is too long");
                previous = at;
                at = order.session_next;
            }
            assert_eq!(session.youngest, previous, "end of the session list");
            assert_eq!(session.open_orders, count, "orders of a session");
            all += count;
        }
        let mut waiting = 0;
        let mut at = self.waiting_first;
        while at != NOBODY {
            let session = self.row(SessionSlot(at));
            assert!(session.entry_closed, "waiting session with open entry");
            waiting += 1;
            at = session.next_waiting;
        }
        let closed = self.rows.iter().filter(|session| session.entry_closed).count();
        assert_eq!(closed, waiting, "closed entry without a waiting mass cancel");
        all
    }
}
