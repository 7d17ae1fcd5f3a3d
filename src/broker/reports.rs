//! Reports in order, exactly once: what to deliver now, what to keep, what to ask for again.
//!
//! Consumes numbered blocks in any order and evidence of the exchange's next number: firm (A, and
//! whatever came under a MAC), or merely said (heartbeats, K and reports that anybody could have sent).
//! Produces blocks in order and replay requests. Must not know what a report says, nor sockets.

use crate::types::*;

/// Reports kept that came too early, at most. Beyond it they are dropped and asked for again.
const EARLY_SLOTS: usize = 1_024;
/// Longest report kept out of order; a longer one is dropped and asked for when its turn comes.
const EARLY_BYTES_MAX: usize = 124;
/// Reports per replay request: 64 packets (session.md 15) of 16 of the longest reports.
const REQUEST_COUNT_MAX: u64 = 1_024;
/// First wait for an answer to a request; doubled until the longest.
const RETRY_NS: u64 = 5_000_000;
/// Longest wait between requests for the same report.
const RETRY_NS_MAX: u64 = 160_000_000;
/// Requests without progress after which what was merely said is doubted and dropped: a real tail
/// is announced again by the next heartbeat, within a second.
const TRIES_MAX: u32 = 12;
/// What was said counts for one to two of these and is then dropped, unless nothing was said since: the
/// exchange never says less than before. Twice the longest pause between its heartbeats, so that each
/// holds one, and far longer than datagrams overtake each other.
const SAID_NS: u64 = 2_000_000_000;

/// What to do with a numbered block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// Delivered before.
    Old,
    /// Its turn: deliver, then [`Reports::advance`].
    Now,
    /// Before its turn; kept if there was room.
    Early,
}

#[derive(Clone, Copy, Debug)]
struct Early {
    number: u64,
    len: u8,
    bytes: [u8; EARLY_BYTES_MAX],
}

/// Order of one downstream.
#[derive(Debug)]
pub(super) struct Reports {
    next: u64,
    /// The exchange's next number as far as it is certain, never below `next`: never doubted.
    firm: u64,
    /// Highest next number that anybody said in this span of [`SAID_NS`], 0 = none.
    said: u64,
    /// The same of the span before.
    said_before: u64,
    /// Begin of this span.
    said_from: Nanos,
    /// The exchange's next number was said in this span, other than by a report, which may be old.
    heard: bool,
    early: Box<[Early]>,
    early_count: usize,
    /// End (exclusive) of the range last asked for.
    asked: u64,
    /// Time of the last request, or of the last progress seen since.
    asked_at: Nanos,
    moved: bool,
    tries: u32,
}

impl Reports {
    /// Allocates once; the next report wanted is 1.
    pub fn new() -> Reports {
        let empty = Early { number: 0, len: 0, bytes: [0; EARLY_BYTES_MAX] };
        Reports {
            next: 1,
            firm: 1,
            said: 0,
            said_before: 0,
            said_from: Nanos(0),
            heard: false,
            early: vec![empty; EARLY_SLOTS].into_boxed_slice(),
            early_count: 0,
            asked: 0,
            asked_at: Nanos(0),
            moved: false,
            tries: 0,
        }
    }

    /// Next report to be delivered.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Reports known to exist and not delivered.
    pub fn missing(&self) -> u64 {
        self.known() - self.next
    }

    /// The exchange's next number as far as it is believed.
    fn known(&self) -> u64 {
        self.firm.max(self.said).max(self.said_before)
    }

    /// Starts anew at `next`; everything kept is forgotten.
    pub fn restart(&mut self, next: u64) {
        self.next = next.max(1);
        self.early.iter_mut().for_each(|slot| slot.number = 0);
        self.early_count = 0;
        self.rebind();
    }

    /// A new binding: an earlier request is void, and its A says what the exchange's next number is.
    pub fn rebind(&mut self) {
        self.firm = self.next;
        self.forget_said();
        self.asked = 0;
        self.tries = 0;
    }

    /// The exchange's next report number is `next`: signed, or under a MAC.
    pub fn confirm(&mut self, next: u64) {
        self.firm = self.firm.max(next);
    }

    /// Somebody says that the exchange's next report number is `next`.
    pub fn announce(&mut self, next: u64) {
        self.said = self.said.max(next);
        self.heard = true;
    }

    /// One or the other, as it came.
    pub fn learn(&mut self, next: u64, sealed: bool) {
        match sealed {
            true => self.confirm(next),
            false => self.announce(next),
        }
    }

    fn forget_said(&mut self) {
        (self.said, self.said_before) = (0, 0);
    }

    /// Drops what was said long ago and not since. A session that is never idle makes progress all the
    /// time, so that tries without any do not show that a number was forged.
    fn age_said(&mut self, now: Nanos) {
        if self.heard && now.since(self.said_from) >= SAID_NS {
            self.said_before = std::mem::take(&mut self.said);
            self.said_from = now;
            self.heard = false;
        }
    }

    fn slot(&mut self, number: u64) -> &mut Early {
        &mut self.early[(number as usize) & (EARLY_SLOTS - 1)]
    }

    /// Decides about block `number`; keeps an early one when there is room. O(1).
    pub fn place(&mut self, number: u64, block: &[u8]) -> Place {
        self.said = self.said.max(number.saturating_add(1));
        if number < self.next {
            return Place::Old;
        }
        if number == self.next {
            return Place::Now;
        }
        if number - self.next < EARLY_SLOTS as u64 && block.len() <= EARLY_BYTES_MAX {
            let slot = self.slot(number);
            if slot.number == number {
                return Place::Old;
            }
            slot.number = number;
            slot.len = block.len() as u8;
            slot.bytes[..block.len()].copy_from_slice(block);
            self.early_count += 1;
        }
        Place::Early
    }

    /// The block of number [`Reports::next`] was delivered.
    pub fn advance(&mut self) {
        let number = self.next;
        if self.early_count > 0 {
            let slot = self.slot(number);
            if slot.number == number {
                slot.number = 0;
                self.early_count -= 1;
            }
        }
        self.next += 1;
        self.firm = self.firm.max(self.next);
        self.moved = true;
        self.tries = 0;
    }

    /// Copies the kept block whose turn it is into `out`; `None` when it is not here.
    pub fn early(&mut self, out: &mut [u8; EARLY_BYTES_MAX]) -> Option<usize> {
        if self.early_count == 0 {
            return None;
        }
        let number = self.next;
        let slot = self.slot(number);
        if slot.number != number {
            return None;
        }
        let len = slot.len as usize;
        out[..len].copy_from_slice(&slot.bytes[..len]);
        Some(len)
    }

    /// The request to send now, if one is due: first number and count. Asks at once for a new gap
    /// and for the next part of a long one, repeats with growing waits otherwise.
    pub fn request(&mut self, now: Nanos) -> Option<(u64, u16)> {
        self.age_said(now);
        if self.next >= self.known() {
            return None;
        }
        let open = self.next < self.asked;
        if std::mem::take(&mut self.moved) && open {
            self.asked_at = now;
            return None;
        }
        let wait = (RETRY_NS << self.tries.saturating_sub(1).min(5)).min(RETRY_NS_MAX);
        if open && now.since(self.asked_at) < wait {
            return None;
        }
        if self.tries >= TRIES_MAX && self.firm < self.known() {
            self.forget_said();
            self.said = self.highest_kept().unwrap_or(0);
            self.tries = 0;
            self.asked = 0;
            return None;
        }
        let count = (self.first_kept().unwrap_or(self.known()) - self.next).min(REQUEST_COUNT_MAX);
        self.asked = self.next + count;
        self.asked_at = now;
        self.tries += 1;
        Some((self.next, count as u16))
    }

    /// Requests repeated without an answer so far.
    pub fn tries(&self) -> u32 {
        self.tries
    }

    fn first_kept(&mut self) -> Option<u64> {
        if self.early_count == 0 {
            return None;
        }
        let end = self.next.saturating_add(EARLY_SLOTS as u64);
        (self.next + 1..end).find(|&number| self.slot(number).number == number)
    }

    /// One above the highest number kept.
    fn highest_kept(&mut self) -> Option<u64> {
        self.early.iter().map(|slot| slot.number).max().filter(|&n| n > self.next).map(|n| n + 1)
    }
}

/// Room for one kept report.
pub(super) type EarlyBytes = [u8; EARLY_BYTES_MAX];
/// An empty [`EarlyBytes`].
pub(super) const EARLY_BYTES: EarlyBytes = [0; EARLY_BYTES_MAX];

#[cfg(test)]
mod tests {
    use super::*;

    /// Offers `number` and returns everything delivered because of it.
    fn offer(reports: &mut Reports, number: u64) -> Vec<u64> {
        let mut out = Vec::new();
        if reports.place(number, &number.to_be_bytes()) != Place::Now {
            return out;
        }
        out.push(number);
        reports.advance();
        let mut bytes = EARLY_BYTES;
        while let Some(len) = reports.early(&mut bytes) {
            assert_eq!(len, 8);
            out.push(u64::from_be_bytes(bytes[..8].try_into().unwrap()));
            reports.advance();
        }
        out
    }

    #[test]
    fn any_order_becomes_the_order() {
        let mut reports = Reports::new();
        assert_eq!(offer(&mut reports, 3), [0u64; 0]);
        assert_eq!(offer(&mut reports, 2), [0u64; 0]);
        assert_eq!(offer(&mut reports, 3), [0u64; 0]);
        assert_eq!(offer(&mut reports, 1), [1, 2, 3]);
        assert_eq!(offer(&mut reports, 2), [0u64; 0]);
        assert_eq!(offer(&mut reports, 4), [4]);
        assert_eq!(reports.missing(), 0);
    }

    #[test]
    fn a_gap_is_asked_for_at_once_then_with_growing_waits() {
        let mut reports = Reports::new();
        offer(&mut reports, 4);
        assert_eq!(reports.request(Nanos(0)), Some((1, 3)), "only up to what is here");
        assert_eq!(reports.request(Nanos(RETRY_NS - 1)), None);
        assert_eq!(reports.request(Nanos(RETRY_NS)), Some((1, 3)));
        assert_eq!(reports.request(Nanos(2 * RETRY_NS)), None, "doubled");
        assert_eq!(reports.request(Nanos(3 * RETRY_NS)), Some((1, 3)));
        assert_eq!(offer(&mut reports, 1), [1]);
        assert_eq!(reports.request(Nanos(3 * RETRY_NS)), None, "the rest is under way");
        assert_eq!(reports.request(Nanos(4 * RETRY_NS)), Some((2, 2)));
    }

    #[test]
    fn a_long_replay_goes_in_chunks() {
        let mut reports = Reports::new();
        reports.announce(3_001);
        let mut asked = Vec::new();
        while let Some((first, count)) = reports.request(Nanos(0)) {
            asked.push((first, count));
            for number in first..first + count as u64 {
                offer(&mut reports, number);
            }
        }
        assert_eq!(asked, [(1, 1_024), (1_025, 1_024), (2_049, 952)]);
    }

    #[test]
    fn a_number_nobody_can_deliver_is_forgotten() {
        let mut reports = Reports::new();
        reports.announce(u64::MAX);
        let mut now = 0;
        while reports.missing() > 0 {
            reports.request(Nanos(now));
            now += 1_000_000;
        }
        assert!(now < 5_000_000_000);
        assert_eq!(offer(&mut reports, 1), [1]);
    }

    #[test]
    fn what_is_firm_is_asked_for_until_it_is_here() {
        let mut reports = Reports::new();
        reports.confirm(4);
        reports.announce(9);
        for ms in 0..10_000 {
            reports.request(Nanos(ms * 1_000_000));
            assert!(reports.missing() >= 3);
        }
        assert_eq!(reports.missing(), 3, "the rest was only said, once");
        for number in 1..=3 {
            offer(&mut reports, number);
        }
        assert_eq!(reports.missing(), 0);
    }

    #[test]
    fn a_forged_number_is_forgotten_while_reports_and_heartbeats_go_on() {
        let mut reports = Reports::new();
        reports.announce(u64::MAX);
        let mut number = 0;
        for ms in 0..5_000u64 {
            reports.request(Nanos(ms * 1_000_000));
            if ms % 3 == 0 {
                number += 1;
                offer(&mut reports, number);
            }
            if ms % 1_000 == 500 {
                reports.announce(number + 1);
            }
        }
        assert_eq!(reports.missing(), 0);
    }

    #[test]
    fn a_real_tail_is_not_forgotten_however_long_it_takes() {
        let mut reports = Reports::new();
        reports.announce(1_000);
        for ms in 0..20_000u64 {
            reports.request(Nanos(ms * 1_000_000));
            if ms % 100 == 0 {
                offer(&mut reports, 1 + ms / 100); // slowly, and nothing else is heard
            }
            assert!(reports.missing() > 700);
        }
        for ms in 20_000..60_000u64 {
            reports.request(Nanos(ms * 1_000_000));
            if ms % 100 == 0 {
                offer(&mut reports, 1 + ms / 100);
            }
            if ms % 1_000 == 0 {
                reports.announce(1_000);
            }
            assert!(reports.missing() >= 399);
        }
    }

    #[test]
    fn a_report_far_ahead_is_dropped_not_misplaced() {
        let mut reports = Reports::new();
        assert_eq!(offer(&mut reports, 2 + EARLY_SLOTS as u64), [0u64; 0]);
        assert_eq!(offer(&mut reports, u64::MAX), [0u64; 0]);
        assert_eq!(offer(&mut reports, 2), [0u64; 0]);
        assert_eq!(offer(&mut reports, 1), [1, 2]);
    }
}
