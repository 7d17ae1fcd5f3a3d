//! The trail: where in the event log things stand that readers want again.
//!
//! Consumes events in order with their positions; keeps, per session, its numbers, its last login and
//! end, its last report and every 256th, and of the feed every 64th message. What it knows is what a
//! reader of the whole log would know. Must not know files.

use crate::exchange::event::{Event, EventBody, NO_SESSION};

/// Every so many reports of a session have their position noted; the replayer goes back from there.
pub const REPORT_STRIDE: u64 = 256;
/// Every so many feed messages have their position noted; repair reads on from there.
pub const FEED_STRIDE: u64 = 64;

/// One session.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SessionTrail {
    /// Client sequence applied through.
    pub applied: u64,
    /// Last report, 0 = none.
    pub report: u64,
    /// Position of the last report.
    pub position: u64,
    /// Position of the last LoggedIn, 0 = none.
    pub login: u64,
    /// Position of the SessionEnded behind it, 0 = none.
    pub ended: u64,
    /// Positions of reports 256, 512, ...
    pub noted: Vec<u64>,
}

/// All sessions, and the feed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Trail {
    /// By slot.
    pub sessions: Vec<SessionTrail>,
    /// Last feed message, 0 = none.
    pub feed: u64,
    /// Positions of messages 1, 65, 129, ...
    pub noted: Vec<u64>,
    /// The day's last words were said to the sessions.
    pub day_ended: bool,
}

impl Trail {
    /// Of an empty log.
    pub fn new(sessions: usize) -> Trail {
        Trail { sessions: vec![SessionTrail::default(); sessions], ..Trail::default() }
    }

    /// Takes the next event, which stands at `position`.
    pub fn note(&mut self, event: &Event, position: u64) {
        let head = &event.head;
        if head.feed > 0 {
            self.feed = head.feed;
            if (head.feed - 1).is_multiple_of(FEED_STRIDE) {
                self.noted.push(position);
            }
        }
        if head.session == NO_SESSION {
            return;
        }
        let Some(session) = self.sessions.get_mut(head.session.0 as usize) else { return };
        session.applied = session.applied.max(head.applied);
        if head.report > 0 {
            (session.report, session.position) = (head.report, position);
            if head.report.is_multiple_of(REPORT_STRIDE) {
                session.noted.push(position);
            }
        }
        match &event.body {
            EventBody::LoggedIn(_) => (session.login, session.ended) = (position, 0),
            EventBody::SessionEnded(_) => session.ended = position,
            EventBody::SessionMark(mark) => self.day_ended |= mark.code == b'E',
            _ => {}
        }
    }

    /// True when counts fit numbers and positions ascend below `end`: what the file's checks can see
    /// without the log.
    pub(super) fn fits(&self, end: u64) -> bool {
        let ascending =
            |noted: &[u64]| noted.windows(2).all(|w| w[0] < w[1]) && noted.iter().all(|&p| p < end);
        let sessions = self.sessions.iter().all(|s| {
            let last = s.noted.last().copied().unwrap_or(0);
            s.noted.len() as u64 == s.report / REPORT_STRIDE
                && ascending(&s.noted)
                && (s.report > 0) == (s.position > 0)
                && s.position < end
                && last <= s.position
                && s.login < end
                && s.ended < end
                && (s.ended == 0 || s.login < s.ended)
        });
        sessions
            && self.noted.len() as u64 == self.feed.div_ceil(FEED_STRIDE)
            && ascending(&self.noted)
    }
}
