//! Repair requests: which missing numbers to ask for now, how many at a time, when to ask again.
//!
//! Consumes the set of missing numbers and the time; produces MoldUDP64 requests. A request of 32
//! messages is answered whole, as 32 of the longest messages of our feed (40 bytes and 2 of
//! length) fit a packet. Several are under way at once; how many follows the answers: one more for
//! each answer, half as many when one did not come, because a server that is over its budget for
//! this client says nothing. Must not know sockets or messages.

use super::holes::Holes;
use crate::types::Nanos;

/// Messages per request.
pub const REQUEST_MESSAGES: u64 = 32;

/// Requests under way at once, at most: 64 packets of 1,400 bytes are what a receive buffer of the
/// kernel's default size (208 KiB) takes in one go.
pub const REQUESTS_MAX: usize = 64;

/// Longest wait for an answer. Below the time in which a server's default burst refills.
const TIMEOUT_MAX_NS: u64 = 64_000_000;

/// How a subscriber asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RepairOptions {
    /// A missing number is asked for when it has been missing for this long: the other line may
    /// still bring it.
    pub gap_wait_ns: u64,
    /// First wait for an answer; doubled with every silence, up to 64 ms.
    pub timeout_ns: u64,
}

impl Default for RepairOptions {
    fn default() -> Self {
        // Lines differ by far less than 100 us in one data centre; an answer takes some 100 us.
        RepairOptions { gap_wait_ns: 100_000, timeout_ns: 2_000_000 }
    }
}

#[derive(Clone, Copy)]
struct Request {
    from: u64,
    to: u64,
    deadline: Nanos,
}

/// Requests under way.
pub struct Requests {
    options: RepairOptions,
    under_way: Vec<Request>,
    window: usize,
    timeout_ns: u64,
    backed_off: Nanos,
    progressed: bool,
    server: usize,
    /// Requests sent.
    pub sent: u64,
    /// Requests that were not answered in time.
    pub timeouts: u64,
}

/// One request to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ask {
    /// Counts up each time a server was silent: take the address at this number modulo addresses.
    pub server: usize,
    /// First number wanted.
    pub from: u64,
    /// How many.
    pub count: u16,
}

impl Requests {
    /// Nothing under way.
    pub fn new(options: RepairOptions) -> Requests {
        Requests {
            options,
            under_way: Vec::with_capacity(REQUESTS_MAX),
            window: REQUESTS_MAX / 4,
            timeout_ns: options.timeout_ns,
            backed_off: Nanos(0),
            progressed: false,
            server: 0,
            sent: 0,
            timeouts: 0,
        }
    }

    /// Forgets what is under way (another session).
    pub fn clear(&mut self) {
        self.under_way.clear();
    }

    /// Requests not answered yet.
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// An answer brought something that was missing.
    pub fn on_progress(&mut self) {
        self.progressed = true;
        self.timeout_ns = self.options.timeout_ns;
    }

    /// Sends what is due: again what was not answered, then the lowest missing numbers below
    /// `limit` that nobody asked for. Returns how many holes are asked for the first time.
    pub fn plan(
        &mut self,
        now: Nanos,
        holes: &mut Holes,
        limit: u64,
        mut send: impl FnMut(Ask),
    ) -> u64 {
        self.settle(now, holes, &mut send);
        if holes.is_empty() {
            return 0;
        }
        let mut first_time = 0;
        for hole in holes.iter_mut() {
            // Holes are in order, and later ones are younger.
            if hole.from >= limit || now.since(hole.since) < self.options.gap_wait_ns {
                break;
            }
            let to = hole.to.min(limit);
            let mut from = hole.from;
            while from < to {
                if self.under_way.len() >= self.window {
                    return first_time;
                }
                if let Some(other) = self.under_way.iter().find(|r| r.from <= from && from < r.to) {
                    from = other.to;
                    continue;
                }
                let above = self.under_way.iter().map(|r| r.from).filter(|&f| f > from).min();
                let chunk_to = to.min(from + REQUEST_MESSAGES).min(above.unwrap_or(u64::MAX));
                self.ask(now, from, chunk_to, &mut send);
                if !hole.asked {
                    hole.asked = true;
                    first_time += 1;
                }
                from = chunk_to;
            }
        }
        first_time
    }

    /// Forgets what was answered, goes on with what was answered in part, repeats what was not.
    fn settle(&mut self, now: Nanos, holes: &Holes, send: &mut impl FnMut(Ask)) {
        if self.under_way.is_empty() {
            return;
        }
        let mut silent = false;
        let mut kept = 0;
        for index in 0..self.under_way.len() {
            let request = self.under_way[index];
            let Some(from) = holes.lowest_in(request.from, request.to) else {
                self.window = (self.window + 1).min(REQUESTS_MAX);
                continue;
            };
            let late = now >= request.deadline;
            silent |= late;
            self.timeouts += u64::from(late);
            // Late ones beyond the (halved) window are left to be planned again.
            if late && kept >= self.window.div_ceil(2) {
                continue;
            }
            let again = late || from > request.from;
            let deadline = if again { now.plus(self.timeout_ns) } else { request.deadline };
            self.under_way[kept] = Request { from, to: request.to, deadline };
            kept += 1;
            if again {
                self.sent += 1;
                send(Ask { server: self.server, from, count: (request.to - from) as u16 });
            }
        }
        self.under_way.truncate(kept);
        if silent && now.since(self.backed_off) >= self.timeout_ns {
            self.backed_off = now;
            self.window = self.window.div_ceil(2);
            self.timeout_ns = (self.timeout_ns * 2).min(TIMEOUT_MAX_NS);
            if !self.progressed {
                self.server = self.server.wrapping_add(1);
            }
            self.progressed = false;
        }
    }

    fn ask(&mut self, now: Nanos, from: u64, to: u64, send: &mut impl FnMut(Ask)) {
        debug_assert!(from < to && to - from <= REQUEST_MESSAGES);
        self.under_way.push(Request { from, to, deadline: now.plus(self.timeout_ns) });
        self.sent += 1;
        send(Ask { server: self.server, from, count: (to - from) as u16 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(requests: &mut Requests, now: u64, holes: &mut Holes) -> Vec<(u64, u16)> {
        let mut asked = Vec::new();
        requests.plan(Nanos(now), holes, 10_000, |ask| asked.push((ask.from, ask.count)));
        asked
    }

    #[test]
    fn waits_for_the_other_line_then_asks_in_chunks() {
        let mut holes = Holes::default();
        holes.push(5, 75, Nanos(0), 0);
        let mut requests = Requests::new(RepairOptions::default());
        assert_eq!(plan(&mut requests, 99_999, &mut holes), []);
        assert_eq!(plan(&mut requests, 100_000, &mut holes), [(5, 32), (37, 32), (69, 6)]);
        assert_eq!(plan(&mut requests, 100_001, &mut holes), []);
        // Answered in part: goes on at once with the rest.
        holes.fill(5, 30);
        holes.fill(69, 75);
        assert_eq!(plan(&mut requests, 100_002, &mut holes), [(30, 7)]);
        holes.fill(30, 69);
        assert_eq!(plan(&mut requests, 100_003, &mut holes), []);
        assert_eq!(requests.under_way(), 0);
    }

    #[test]
    fn asks_again_later_and_later_and_elsewhere() {
        let mut holes = Holes::default();
        holes.push(1, 2, Nanos(0), 0);
        let mut requests = Requests::new(RepairOptions::default());
        let mut times = Vec::new();
        let mut servers = Vec::new();
        for us in 0..400_000u64 {
            requests.plan(Nanos(us * 1000), &mut holes, 100, |ask| {
                times.push(us);
                servers.push(ask.server);
            });
        }
        let waits: Vec<u64> = times.windows(2).map(|w| w[1] - w[0]).collect();
        assert_eq!(waits[..2], [2_000, 2_000], "the doubled wait begins after the first silence");
        assert!(waits.iter().all(|&w| w <= 64_000));
        assert!(servers.last() > servers.first());
        assert_eq!(requests.timeouts as usize + 1, times.len());
    }

    #[test]
    fn never_more_under_way_than_allowed() {
        let mut holes = Holes::default();
        holes.push(1, 9_000, Nanos(0), 0);
        let mut requests = Requests::new(RepairOptions::default());
        for step in 1..2_000u64 {
            plan(&mut requests, step * 1_000_000, &mut holes);
            assert!(requests.under_way() <= REQUESTS_MAX);
            if step % 3 != 0 {
                let first = holes.first().map_or(0, |h| h.from);
                holes.fill(first, first + 100);
            }
        }
        assert!(holes.is_empty() && requests.under_way() == 0 || !holes.is_empty());
    }
}
