//! A session's rate, modelled: what it may send, and beyond what it is dropped (session.md 18).
//!
//! Consumes when each message of the log was received; produces whether there was a token for it. Must not
//! know messages.

use crate::types::*;

/// A token, in the unit that buckets count in: a billion nanoseconds at one a second.
const TOKEN: u128 = 1_000_000_000;

/// Both buckets of a session.
#[derive(Clone, Copy)]
pub struct Tokens {
    per_second: u128,
    burst: u128,
    level: u128,
    last: Nanos,
    /// The second bucket, of twice the rate and burst.
    flood: u128,
    /// Messages received at `last`: a datagram takes no more than a full second bucket holds.
    at_once: u128,
}

/// What a message found.
pub struct Taken {
    /// A token of the first bucket: its verdict is not `Throttled`.
    pub there: bool,
    /// None of the second: it should not be in the log.
    pub flood: bool,
}

impl Tokens {
    /// Full buckets; `rate`: messages per second and burst.
    pub fn full((per_second, burst): (u32, u32)) -> Tokens {
        let (per_second, burst) = (per_second.max(1) as u128, burst.max(1) as u128);
        let level = burst * TOKEN;
        Tokens { per_second, burst, level, last: Nanos(0), flood: 2 * level, at_once: 0 }
    }

    /// A message of the log that was received at `at` takes its tokens.
    pub fn take(&mut self, at: Nanos) -> Taken {
        let gained = at.since(self.last) as u128 * self.per_second;
        self.level = (self.level + gained).min(self.burst * TOKEN);
        self.flood = (self.flood + 2 * gained).min(2 * self.burst * TOKEN);
        self.at_once = if at > self.last { 1 } else { self.at_once + 1 };
        self.last = self.last.max(at);
        let mut flood = false;
        if self.at_once <= 2 * self.burst {
            flood = self.flood < TOKEN;
            self.flood = self.flood.saturating_sub(TOKEN);
        }
        let there = self.level >= TOKEN;
        if there {
            self.level -= TOKEN;
        }
        Taken { there, flood }
    }

    /// Whether the second bucket had room for a datagram of `blocks` messages at `at`, a time not before
    /// the last message taken; false before it, where that is not known any more.
    pub fn had_room(&self, at: Nanos, blocks: u64) -> bool {
        let full = 2 * self.burst;
        let gained = 2 * self.per_second * at.since(self.last) as u128;
        let flood = (self.flood + gained).min(full * TOKEN);
        at >= self.last && self.at_once <= full && flood >= full.min(blocks as u128) * TOKEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_there_twice_as_much_gets_through_and_time_brings_more() {
        const S: u64 = 1_000_000_000;
        let mut tokens = Tokens::full((10, 4));
        let found = |tokens: &mut Tokens, from: u64, count: u64| {
            let all: Vec<_> = (0..count).map(|i| tokens.take(Nanos(from + i))).collect();
            let count = |what: fn(&Taken) -> bool| all.iter().filter(|t| what(t)).count();
            [count(|taken| taken.there), count(|taken| taken.flood)]
        };
        assert!(tokens.had_room(Nanos(S), 8));
        assert_eq!(found(&mut tokens, S, 10), [4, 2]);
        assert!(!tokens.had_room(Nanos(S + 10), 1) && tokens.had_room(Nanos(S + S / 10), 1));
        assert!(!tokens.had_room(Nanos(S), 0), "that is not known any more");
        assert_eq!(found(&mut tokens, S + S / 2, 5), [4, 0]);
    }
}
