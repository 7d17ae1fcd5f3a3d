//! Sessions: sequence numbers of blocks, logins, and the two actions that run over many orders.

use super::{Day, MASS_CANCEL_MAX, Naive};
use crate::exchange::command::*;
use crate::exchange::event;
use crate::types::*;

/// Blocks further above the expected one than this are dropped (session.md 9).
const JUMP_MAX: u64 = 65_536;

/// Flag of a login: cancel on disconnect.
const CANCEL_ON_DISCONNECT: u8 = 1;

impl Naive {
    pub(super) fn on_message(&mut self, head: &MessageHead, body: &MessageBody) {
        let slot = head.session;
        if !self.is_current(slot, head.generation) {
            return;
        }
        let next = self.state_of(slot).next;
        let seq = head.client_seq;
        if seq < next || seq - next > JUMP_MAX {
            return;
        }
        if seq > next {
            // Said before the block counts: this event's applied-through is seq - 1.
            self.session_mut(slot).next = seq;
            self.not_applied(slot, next, seq - next);
        }
        self.session_mut(slot).next = seq + 1;

        let said_before = self.out.len();
        self.on_block(slot, head, body);
        if self.out[said_before..].iter().all(|e| e.head.session != slot) {
            let next_report = self.state_of(slot).next_report;
            self.report(slot, event::Applied { next_report });
        }
    }

    pub(super) fn on_void(&mut self, head: &MessageHead) {
        let (slot, seq) = (head.session, head.client_seq);
        if !self.is_current(slot, head.generation) {
            return;
        }
        let next = self.state_of(slot).next;
        if seq < next || seq - next > JUMP_MAX {
            return;
        }
        if seq > next {
            self.session_mut(slot).next = seq;
            self.not_applied(slot, next, seq - next);
        }
        self.session_mut(slot).next = seq + 1;
        self.not_applied(slot, seq, 1);
    }

    fn on_block(&mut self, slot: SessionSlot, head: &MessageHead, body: &MessageBody) {
        let ok = head.verdict == Verdict::Ok as u8;
        let throttled = head.verdict == Verdict::Throttled as u8;
        match body {
            MessageBody::Enter(m) if ok => self.on_enter(slot, m),
            MessageBody::Replace(m) if ok => self.on_replace(slot, m),
            MessageBody::Cancel(m) if ok || throttled => self.on_cancel(slot, m),
            MessageBody::Query if ok => {
                let next_urn = self.next_urn(slot);
                self.report(slot, event::QueryResponse { next_urn });
            }
            MessageBody::Enter(m) if throttled => {
                if self.consume(slot, m.urn) {
                    self.reject(slot, m.urn, m.cl_ord_id, RejectReason::PortRate);
                }
            }
            MessageBody::Replace(m) if throttled => {
                if let Some(old) = self.find(slot, m.old_urn) {
                    if self.mode == Mode::Halt {
                        self.report(slot, event::CancelRefused { urn: m.old_urn });
                    } else {
                        self.cancel_resting(old, CancelReason::System);
                    }
                }
            }
            MessageBody::Unparsed(m)
                if !throttled && matches!(m.letter, b'O' | b'U') && m.has_urn == 1 =>
            {
                if self.consume(slot, m.urn) {
                    self.reject(slot, m.urn, m.cl_ord_id, RejectReason::Other);
                }
            }
            _ => self.not_applied(slot, head.client_seq, 1),
        }
    }

    /// Uses a client reference up; false when it is not above the last.
    pub(super) fn consume(&mut self, slot: SessionSlot, urn: Urn) -> bool {
        let s = self.session_mut(slot);
        let above = urn.0 > s.last_urn;
        if above {
            s.last_urn = urn.0;
        }
        above
    }

    /// Lowest reference that is still free, 0 when they are used up.
    fn next_urn(&self, slot: SessionSlot) -> u32 {
        self.state_of(slot).last_urn.checked_add(1).unwrap_or(0)
    }

    fn not_applied(&mut self, slot: SessionSlot, from: u64, count: u64) {
        self.report(slot, event::NotApplied { from, count: count as u32 });
    }

    pub(super) fn reject(&mut self, slot: SessionSlot, urn: Urn, id: ClOrdId, why: RejectReason) {
        self.report(slot, event::Rejected { urn, reason: why as u16, cl_ord_id: id });
    }

    /// True when the session exists and is bound under this generation.
    fn is_current(&self, slot: SessionSlot, generation: u32) -> bool {
        self.sessions.get(slot.0 as usize).is_some_and(|s| s.bound && s.generation == generation)
    }

    pub(super) fn on_login(&mut self, m: &Login) {
        let Some(s) = self.sessions.get_mut(m.session.0 as usize) else { return };
        let next_generation = s.generation.checked_add(1) == Some(m.generation);
        let later = s.login_time.is_none_or(|last| m.login_time > last);
        if !next_generation || !later {
            return;
        }
        s.bound = true;
        s.cancel_on_disconnect = m.flags & CANCEL_ON_DISCONNECT != 0;
        s.generation = m.generation;
        s.login_time = Some(m.login_time);
        let next_report = s.next_report;
        let next_urn = self.next_urn(m.session);
        self.report(
            m.session,
            event::LoggedIn {
                generation: m.generation,
                flags: m.flags,
                version: m.version,
                dead_time_ms: m.dead_time_ms,
                token: m.token,
                port: m.port,
                ip: m.ip,
                client_nonce: m.client_nonce,
                server_nonce: m.server_nonce,
                next_report,
                login_time: m.login_time,
                next_urn,
                zero: [0; 4],
            },
        );
    }

    pub(super) fn on_logoff(&mut self, m: &Logoff) {
        let current = self.is_current(m.session, m.generation);
        if current && self.state_of(m.session).next == m.client_next {
            self.unbind(m.session, event::EndedBy::Logoff);
        }
    }

    pub(super) fn on_session_down(&mut self, m: &SessionDown) {
        if self.is_current(m.session, m.generation) {
            self.unbind(m.session, event::EndedBy::Silence);
        }
    }

    fn unbind(&mut self, slot: SessionSlot, by: event::EndedBy) {
        self.end_binding(slot, by);
        if self.state_of(slot).cancel_on_disconnect && !self.closing.contains(&slot) {
            self.closing.push_back(slot);
            self.cancel_some(Some(slot));
        }
    }

    fn end_binding(&mut self, slot: SessionSlot, by: event::EndedBy) {
        let s = self.session_mut(slot);
        s.bound = false;
        let generation = s.generation;
        self.report(slot, event::SessionEnded { generation, by: by as u8, zero: [0; 3] });
    }

    /// Cancels up to [`MASS_CANCEL_MAX`] orders, of `only` that session or else of those that wait,
    /// first come first; a session without orders waits no longer.
    /// In a halt nothing is canceled.
    fn cancel_some(&mut self, only: Option<SessionSlot>) {
        if self.mode == Mode::Halt {
            if let Some(slot) = only
                && self.orders_of(slot).is_empty()
            {
                self.closing.retain(|&s| s != slot);
            }
            return;
        }
        let waiting: Vec<SessionSlot> = match only {
            Some(slot) => vec![slot],
            None => self.closing.iter().copied().collect(),
        };
        let mut left = MASS_CANCEL_MAX;
        for slot in waiting {
            for order in self.orders_of(slot).into_iter().take(left) {
                self.cancel_resting(order, CancelReason::System);
                left -= 1;
            }
            if !self.orders_of(slot).is_empty() {
                return;
            }
            self.closing.retain(|&s| s != slot);
        }
    }

    /// True while the session's mass cancel is not done.
    pub(super) fn is_entry_closed(&self, slot: SessionSlot) -> bool {
        self.closing.contains(&slot)
    }

    /// True when the engine has to issue Continue.
    pub fn continue_wanted(&self) -> bool {
        self.day == Day::Ending || (!self.closing.is_empty() && self.mode != Mode::Halt)
    }

    pub(super) fn on_continue(&mut self) {
        if self.day == Day::Ending {
            self.expire_some();
        } else {
            self.cancel_some(None);
        }
    }

    pub(super) fn on_end_of_day(&mut self) {
        self.day = Day::Ending;
        // What a disconnected session still had open expires with all the rest.
        self.closing.clear();
        self.expire_some();
    }

    /// Expires up to [`MASS_CANCEL_MAX`] orders, by session and age; with none left, ends the day.
    fn expire_some(&mut self) {
        let all: Vec<OrderRef> = self.slots().flat_map(|slot| self.orders_of(slot)).collect();
        for &order in all.iter().take(MASS_CANCEL_MAX) {
            self.cancel_resting(order, CancelReason::Closed);
        }
        if all.len() > MASS_CANCEL_MAX {
            return;
        }
        self.day = Day::Over;
        self.say_close();
        self.say(event::System { code: b'E', zero: [0; 7] });
        self.say(event::System { code: b'C', zero: [0; 7] });
        for slot in self.slots() {
            self.report(slot, event::SessionMark { code: b'E', zero: [0; 7] });
        }
        for slot in self.slots() {
            if self.state_of(slot).bound {
                self.end_binding(slot, event::EndedBy::EndOfDay);
            }
        }
    }

    /// Open orders of a session, oldest first.
    fn orders_of(&self, slot: SessionSlot) -> Vec<OrderRef> {
        self.orders.iter().filter(|(_, o)| o.session == slot).map(|(r, _)| *r).collect()
    }
}
