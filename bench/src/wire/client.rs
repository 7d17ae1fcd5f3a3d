//! The client of every row: encodes orders, finds the answers, notes the times.
//!
//! Consumes a [`Port`] (kernel or AF_XDP) and a server's address; produces latencies and what became
//! of every order. One thread, no allocation while it measures, nothing is sent twice: an order
//! without an answer stays one. Must not know what serves.

use hdrhistogram::Histogram;
use rialto::clock::{Clock, SystemClock};
use rialto::net::Port;
use rialto::types::{Nanos, SessionName};
use rialto::wire::mold::{self, Header, PacketBuilder};
use std::net::SocketAddrV4;

use super::flow::{Flow, Message};
use super::place::check_interrupt;

/// Orders of a session that may be without an answer before the oldest is given up.
const REFERENCES: usize = 8_192;
/// Given up after this where every order must be answered: a stalled host is no loss.
pub const PATIENCE_NS: u64 = 10_000_000_000;
/// Given up after this where a row may lose orders.
pub const SILENCE_NS: u64 = 100_000_000;
/// Datagrams that leave in one go when several are due.
const BURST_MAX: usize = 32;
/// Largest latency that is told apart, ns.
const LATENCY_MAX: u64 = 60_000_000_000;

/// A histogram of ns, three digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX, 3).expect("constant bounds")
}

/// What became of the orders of one part.
pub struct Outcome {
    /// From the time an order was due until its answer was found, ns. What was never answered is in
    /// it with the time that was waited.
    pub latency: Histogram<u64>,
    /// From the time a datagram was due until it was handed over, ns: the generator's own part.
    pub lateness: Histogram<u64>,
    /// Orders sent.
    pub sent: u64,
    /// Of these, never answered.
    pub unanswered: u64,
    /// Answered by a Rejected.
    pub rejected: u64,
    /// Executions reported.
    pub executed: u64,
    /// Messages that a NotApplied covered.
    pub not_applied: u64,
    /// From the first order's due time to the last answer.
    pub elapsed_ns: u64,
}

impl Outcome {
    /// Nothing yet.
    pub fn new() -> Outcome {
        Outcome {
            latency: histogram(),
            lateness: histogram(),
            sent: 0,
            unanswered: 0,
            rejected: 0,
            executed: 0,
            not_applied: 0,
            elapsed_ns: 0,
        }
    }

    /// Orders answered a second.
    pub fn rate(&self) -> f64 {
        (self.sent - self.unanswered) as f64 * 1e9 / self.elapsed_ns.max(1) as f64
    }

    /// Adds another round of the same part.
    pub fn add(&mut self, other: &Outcome) {
        // Same bounds: cannot fail.
        let _ = self.latency.add(&other.latency);
        let _ = self.lateness.add(&other.lateness);
        self.sent += other.sent;
        self.unanswered += other.unanswered;
        self.rejected += other.rejected;
        self.executed += other.executed;
        self.not_applied += other.not_applied;
        self.elapsed_ns += other.elapsed_ns;
    }
}

/// One session: names, numbers, script, and the times at which its open orders were due.
pub struct Seat {
    /// Session name of what it sends.
    pub token: SessionName,
    /// Number of its next message.
    pub sequence: u64,
    /// Its script.
    pub flow: Flow,
    /// By reference and kind of answer; 0 = none waits.
    due: Box<[[Nanos; 2]]>,
}

impl Seat {
    /// A session that goes on at `sequence`.
    pub fn new(token: SessionName, sequence: u64, flow: Flow) -> Seat {
        Seat { token, sequence, flow, due: vec![[Nanos(0); 2]; REFERENCES].into() }
    }
}

/// Session name of `session` where nobody logs in; also how reports name it.
pub fn name(session: u32) -> SessionName {
    SessionName::new(&format!("W{session:05}")).unwrap_or_default()
}

/// Session that a name belongs to: five digits behind a letter.
#[inline]
pub fn session_of(name: &SessionName) -> usize {
    name.0[1..6].iter().fold(0, |n, digit| n * 10 + usize::from(digit.wrapping_sub(b'0')))
}

/// See the module's head.
pub struct Client<P> {
    port: P,
    server: SocketAddrV4,
    clock: SystemClock,
    seats: Vec<Seat>,
    turn: usize,
    waiting: u64,
    out: Outcome,
    last_answer: Nanos,
}

/// Letter, and where the reference stands, of what answers an order: our own order when the server
/// is an echo, else a report.
#[inline]
fn answer(block: &[u8]) -> Option<(u32, usize)> {
    let (at, cancels) = match block.first()? {
        b'A' | b'J' => (9, 0),
        b'C' => (9, 1),
        b'O' => (1, 0),
        b'X' => (1, 1),
        _ => return None,
    };
    let urn = block.get(at..at + 4)?.first_chunk()?;
    Some((u32::from_be_bytes(*urn), cancels))
}

impl<P: Port> Client<P> {
    /// A client whose sessions are ready.
    pub fn new(port: P, server: SocketAddrV4, clock: SystemClock, seats: Vec<Seat>) -> Client<P> {
        let (turn, waiting, last_answer) = (0, 0, Nanos(0));
        Client { port, server, clock, seats, turn, waiting, out: Outcome::new(), last_answer }
    }

    /// What came about since the last call.
    fn take_outcome(&mut self) -> Outcome {
        std::mem::replace(&mut self.out, Outcome::new())
    }

    /// Sends the next `count` messages of the session whose turn it is, as one datagram.
    #[inline]
    fn send(&mut self, count: usize, due: Nanos, next: impl Fn(&mut Flow) -> Message) {
        let Client { port, server, seats, turn, waiting, out, .. } = self;
        let count_of_seats = seats.len();
        let seat = &mut seats[*turn];
        *turn = if *turn + 1 == count_of_seats { 0 } else { *turn + 1 };
        port.send(*server, |buffer| {
            let mut packet = PacketBuilder::new(buffer, seat.token, seat.sequence);
            for _ in 0..count {
                let message = next(&mut seat.flow);
                let size = message.inbound.size();
                // Whoever asks for a count has seen that as many fit.
                packet.push(size, |block| {
                    message.inbound.encode(block);
                });
                let place = message.urn as usize % REFERENCES;
                let slot = &mut seat.due[place][usize::from(message.cancels)];
                if slot.0 != 0 {
                    // Thousands were answered or sent behind it: it will not be answered.
                    out.unanswered += 1;
                    out.latency.saturating_record(due.since(*slot));
                    *waiting -= 1;
                }
                *slot = due;
            }
            seat.sequence += u64::from(packet.count());
            *waiting += u64::from(packet.count());
            out.sent += u64::from(packet.count());
            packet.finish()
        });
    }

    /// Takes what has come.
    #[inline]
    fn receive(&mut self) -> usize {
        let Client { port, seats, clock, waiting, out, last_answer, .. } = self;
        port.receive(|bytes, _| {
            let Ok((Header { session, sequence, .. }, mold::Packet::Messages(blocks))) =
                mold::parse(bytes)
            else {
                return;
            };
            if sequence == 0 {
                return;
            }
            let Some(seat) = seats.get_mut(session_of(&session)) else { return };
            let now = clock.now();
            for block in blocks {
                let Some((urn, cancels)) = answer(block) else {
                    match block.first() {
                        Some(b'E') => out.executed += 1,
                        Some(b'N') => out.not_applied += 1,
                        _ => {}
                    }
                    continue;
                };
                let slot = &mut seat.due[urn as usize % REFERENCES][cancels];
                if slot.0 == 0 {
                    continue;
                }
                out.latency.saturating_record(now.since(*slot).max(1));
                out.rejected += u64::from(block.first() == Some(&b'J'));
                *slot = Nanos(0);
                *waiting -= 1;
                *last_answer = now;
            }
        })
    }

    /// Gives up what has no answer.
    fn give_up(&mut self) {
        let now = self.clock.now();
        for slot in self.seats.iter_mut().flat_map(|s| s.due.iter_mut().flatten()) {
            if slot.0 != 0 {
                self.out.unanswered += 1;
                self.out.latency.saturating_record(now.since(*slot));
                *slot = Nanos(0);
            }
        }
        self.waiting = 0;
    }

    /// One order in flight for `for_ns`: the next leaves when the last is answered, or given up after
    /// `patience_ns`.
    pub fn one_in_flight(&mut self, for_ns: u64, patience_ns: u64) -> Outcome {
        let start = self.clock.now();
        self.last_answer = start;
        loop {
            let due = self.clock.now();
            if due.since(start) >= for_ns {
                break;
            }
            self.send(1, due, Flow::next);
            self.port.flush();
            while self.waiting > 0 {
                let received = self.receive();
                self.port.flush();
                if received == 0 && self.clock.now().since(due) > patience_ns {
                    self.give_up();
                }
            }
        }
        self.out.elapsed_ns = self.last_answer.since(start);
        self.take_outcome()
    }

    /// `orders` on a schedule of `rate` a second, `packed` in each datagram and due together,
    /// whatever the answers do. Given up when nothing has come for `patience_ns` after the last left.
    pub fn open_loop(
        &mut self,
        rate: u64,
        packed: usize,
        orders: u64,
        patience_ns: u64,
    ) -> Result<Outcome, String> {
        let datagrams = orders.div_ceil(packed as u64);
        let step = u128::from(packed as u64) * 1_000_000_000;
        let start = self.clock.now().plus(1_000_000);
        let due = |i: u64| start.plus((u128::from(i) * step / u128::from(rate)) as u64);
        self.last_answer = start;
        let (mut sent, mut next) = (0, due(0));
        loop {
            check_interrupt()?;
            let now = self.clock.now();
            let mut burst = 0;
            while next <= now && sent < datagrams && burst < BURST_MAX {
                self.send(packed, next, Flow::next);
                self.out.lateness.saturating_record(now.since(next).max(1));
                sent += 1;
                burst += 1;
                next = due(sent);
            }
            // Also without anything new: what the host had no room for leaves later.
            self.port.flush();
            let received = self.receive();
            if sent == datagrams && received == 0 {
                let since = self.last_answer.max(next);
                if self.waiting == 0 || now.since(since) > patience_ns {
                    break;
                }
            }
        }
        self.give_up();
        self.out.elapsed_ns = self.last_answer.since(start);
        Ok(self.take_outcome())
    }

    /// Puts `orders` into the book that stay there, a few datagrams in flight. Err: some were not
    /// accepted.
    pub fn fill_book(&mut self, orders: u64, packed: usize) -> Result<(), String> {
        for _ in 0..orders.div_ceil(packed as u64) {
            let due = self.clock.now();
            self.send(packed, due, Flow::deep);
            self.port.flush();
            while self.waiting > 8 * packed as u64 {
                self.receive();
                self.port.flush();
                if self.clock.now().since(due) > PATIENCE_NS {
                    break;
                }
            }
        }
        let last = self.clock.now();
        while self.waiting > 0 && self.clock.now().since(last) < PATIENCE_NS {
            self.receive();
            self.port.flush();
        }
        self.give_up();
        let out = self.take_outcome();
        match (out.unanswered, out.rejected) {
            (0, 0) => Ok(()),
            (lost, rejected) => Err(format!(
                "of {} orders for the book {lost} have no answer and {rejected} were rejected",
                out.sent
            )),
        }
    }
}
