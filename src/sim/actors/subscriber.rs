//! A subscriber: the real feed handler and mirror.
//!
//! Consumes the feed; writes down digests of its books for the observers, and what it was given that
//! contradicts what it had. Joins late at times; after a crash it begins with message 1.

use crate::net::{MemoryNetwork, MemoryPort, Port};
use crate::sim::observe::seen::Mirrored;
use crate::sim::observe::{DIGEST_EVERY, LOST, Shared};
use crate::sim::plan::Plan;
use crate::sim::{Actor, Dice, GROUP_A, GROUP_B, REPAIR, Tally, subscriber_host};
use crate::subscriber::{BookMirror, FeedHandler, FeedListener, FeedOptions};
use crate::types::*;
use std::net::SocketAddrV4;

/// The books, and how far they are.
struct Books {
    index: usize,
    name: String,
    session: SessionName,
    mirror: BookMirror,
    last: u64,
    /// Tracking number and time of the last message: one command.
    command: Option<[u8; 8]>,
    digest_at: u64,
    messages: u64,
    now: Nanos,
    broken: bool,
    ended: bool,
    /// Messages given up, until it is known why: first, count.
    lost: Option<(u64, u64)>,
    seen: Shared,
}

impl Books {
    /// What was given up can be had no more only where the day began anew after memory was lost: the
    /// same day under a later incarnation. Source: session.md 7, 24.
    fn judge_lost(&mut self, next: Option<SessionName>) {
        let Some((from, count)) = self.lost.take() else { return };
        let [old, new] = [self.session, next.unwrap_or(self.session)].map(|s| s.0);
        if old[7..] != new[7..] || new[6] <= old[6] {
            let what = format!("{}: {count} from {from}", self.name);
            self.seen.borrow_mut().fault(LOST, what, self.now);
        }
    }

    fn fault(&mut self, rule: &'static str, what: String) {
        if !std::mem::replace(&mut self.broken, true) {
            let what = format!("{}: {what}", self.name);
            self.seen.borrow_mut().fault(rule, what, self.now);
        }
    }

    fn digest(&mut self, last: bool) {
        let (session, feed) = (self.session, self.last);
        let (subscriber, digest) = (self.index, self.mirror.digest());
        let mirrored = Mirrored { subscriber, session, feed, digest, last };
        self.seen.borrow_mut().mirrored.push(mirrored);
    }
}

impl FeedListener for Books {
    fn on_message(&mut self, sequence: u64, payload: &[u8], end_of_packet: bool) {
        if self.broken || self.lost.is_some() {
            return;
        }
        if sequence != self.last + 1 {
            let what = format!("expected {}, got {sequence}", self.last + 1);
            return self.fault("a subscriber's messages leave a gap", what);
        }
        let command = payload.get(3..11).and_then(|b| b.try_into().ok());
        if command != self.command && self.last / DIGEST_EVERY != self.digest_at {
            self.digest_at = self.last / DIGEST_EVERY;
            self.digest(false);
        }
        self.command = command;
        if let Err(error) = self.mirror.apply(payload, end_of_packet, &mut ()) {
            return self.fault("a mirror cannot follow", format!("message {sequence}: {error}"));
        }
        self.last = sequence;
        self.messages += 1;
    }

    fn on_session(&mut self, session: SessionName) {
        self.judge_lost(Some(session));
        self.mirror.clear();
        (self.session, self.last, self.command, self.digest_at) = (session, 0, None, 0);
        self.ended = false;
    }

    fn on_lost(&mut self, from: u64, count: u64) {
        self.lost.get_or_insert((from, count));
    }

    fn on_end(&mut self, next: u64) {
        self.ended = true;
        if next != self.last + 1 {
            self.fault("the feed's end is not its end", format!("{next} after {}", self.last));
        }
    }
}

/// See the module's head.
pub struct SubscriberActor {
    index: usize,
    network: MemoryNetwork,
    dice: Dice,
    seen: Shared,
    up: Option<(FeedHandler<MemoryPort>, Books)>,
    join_at: Nanos,
    lives: u64,
    quiet: bool,
    /// Session and message of the last digest while everybody healed.
    told: (SessionName, u64),
    messages: u64,
    repaired: u64,
}

impl SubscriberActor {
    /// Subscriber `index`.
    pub fn new(plan: &Plan, network: &MemoryNetwork, index: usize, seen: Shared) -> Self {
        SubscriberActor {
            index,
            network: network.clone(),
            dice: Dice::new(plan.seed, &format!("subscriber {index}")),
            seen,
            up: None,
            join_at: Nanos(0),
            lives: 0,
            quiet: false,
            told: (SessionName::BLANK, 0),
            messages: 0,
            repaired: 0,
        }
    }

    fn join(&mut self) {
        let host = subscriber_host(self.index);
        let line = |group| self.network.join(group, host).expect("groups are multicast addresses");
        let (line_a, line_b) = (line(GROUP_A), line(GROUP_B));
        let port = 6_000 + (self.lives % 10_000) as u16;
        let request = self.network.bind(SocketAddrV4::new(host, port));
        let request = request.expect("each life has a port of its own");
        let options = FeedOptions {
            // Some keep so little that they have to ask again for what came too early.
            window_messages: self.dice.pick(&[1 << 11, 1 << 14]),
            // The venue may be away for long: nothing is ever given up.
            give_up_ns: 3_600_000_000_000,
            ..FeedOptions::default()
        };
        debug_assert_ne!(request.local().port(), 0);
        let handler = FeedHandler::new(line_a, line_b, request, vec![REPAIR], options);
        let books = Books {
            index: self.index,
            name: self.name(),
            session: SessionName::BLANK,
            mirror: BookMirror::new(0),
            last: 0,
            command: None,
            digest_at: 0,
            messages: 0,
            now: Nanos(0),
            broken: false,
            ended: false,
            lost: None,
            seen: self.seen.clone(),
        };
        self.up = Some((handler, books));
    }
}

impl Actor for SubscriberActor {
    fn name(&self) -> String {
        format!("subscriber {}", self.index)
    }

    fn step(&mut self, now: Nanos) -> usize {
        if self.up.is_none() {
            if now < self.join_at && !self.quiet {
                return 0;
            }
            self.join();
        }
        let quiet = self.quiet;
        let Some((handler, books)) = &mut self.up else { return 0 };
        books.now = now;
        let done = handler.poll(now, books);
        books.judge_lost(None);
        let here = (books.session, books.last);
        if quiet && handler.missing() == 0 && here != self.told {
            self.told = here;
            books.digest(true);
        }
        done
    }

    fn wake(&self) -> Nanos {
        if self.up.is_none() { self.join_at } else { Nanos(u64::MAX) }
    }

    fn crash(&mut self) {
        if let Some((handler, books)) = self.up.take() {
            self.messages += books.messages;
            self.repaired += handler.counters().repaired;
        }
    }

    fn restart(&mut self, now: Nanos) {
        self.crash();
        self.lives += 1;
        let late = self.dice.percent(30);
        let wait = self.dice.between(100, 3_000) * 1_000_000;
        self.join_at = if late { now.plus(wait) } else { now };
        self.told = (SessionName::BLANK, 0);
    }

    fn quiesce(&mut self) {
        self.quiet = true;
    }

    fn unfinished(&self) -> Option<String> {
        let Some((handler, books)) = &self.up else { return Some("has not joined".into()) };
        if books.broken {
            return None; // told already
        }
        if books.last == 0 {
            return Some("has heard nothing".into());
        }
        (handler.missing() > 0).then(|| format!("misses {} messages", handler.missing()))
    }

    fn tally(&self, tally: &mut Tally) {
        tally.feed_messages += self.messages;
        tally.repaired += self.repaired;
        if let Some((handler, books)) = &self.up {
            tally.feed_messages += books.messages;
            tally.repaired += handler.counters().repaired;
        }
    }
}
