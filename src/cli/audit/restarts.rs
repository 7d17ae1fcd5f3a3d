//! How long a killed exchange was away, as its brokers saw it.
//!
//! Consumes the times of kills (whoever killed wrote them down) and of acknowledged orders; produces,
//! per kill, the time to the first acknowledgement of an order that was sent after the kill.

use anyhow::Context;
use rialto::types::Nanos;
use std::path::Path;

/// See the module's head.
#[derive(Default)]
pub struct Restarts {
    /// When it was told to die, and when it was seen to be dead; ascending.
    kills: Vec<(Nanos, Nanos)>,
    /// Earliest acknowledgement of an order sent after this kill and before the next one.
    answered: Vec<Option<Nanos>>,
}

/// The result.
#[derive(Default, Debug, PartialEq, Eq)]
pub struct Times {
    pub p50_ms: u64,
    pub max_ms: u64,
    /// Which kill that was, from 1; 0 = none.
    pub slowest_kill: usize,
    pub samples: usize,
    /// Kills that came before the restart after the one before had answered anybody.
    pub interrupted: usize,
}

impl Restarts {
    /// Reads the file; without one there are no kills. Lines that start with another word are the
    /// killer's own notes.
    pub fn read(path: Option<&Path>) -> anyhow::Result<Restarts> {
        let Some(path) = path else { return Ok(Restarts::default()) };
        let text =
            std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let mut kills = Vec::new();
        for line in text.lines() {
            let Some(times) = line.strip_prefix("kill ") else { continue };
            let mut times = times.split(' ').map(|t| t.parse().ok().map(Nanos));
            let (told, dead) = (times.next().flatten(), times.next().flatten());
            let kill = told.zip(dead).filter(|(told, dead)| told <= dead);
            kills.push(kill.with_context(|| format!("{}: {line:?}", path.display()))?);
        }
        kills.sort();
        Ok(Restarts { answered: vec![None; kills.len()], kills })
    }

    pub fn kills(&self) -> u64 {
        self.kills.len() as u64
    }

    /// An order sent at `sent` was acknowledged at `at`. One sent while it died says nothing: the
    /// last breath may have answered it.
    pub fn acknowledged(&mut self, sent: Nanos, at: Nanos) {
        let before = self.kills.partition_point(|&(_, dead)| dead < sent);
        if let Some(answered) = before.checked_sub(1).and_then(|i| self.answered.get_mut(i)) {
            *answered = Some(answered.map_or(at, |earliest| earliest.min(at)));
        }
    }

    /// One time per kill, but for kills that were followed by another one before anybody was
    /// answered: those say how soon it was killed again.
    pub fn times(&self) -> Times {
        let mut times: Vec<(u64, usize)> = Vec::new();
        let mut interrupted = 0;
        let mut earliest: Option<Nanos> = None;
        for (i, &(told, _)) in self.kills.iter().enumerate().rev() {
            earliest = self.answered[i].into_iter().chain(earliest).min();
            let next = self.kills.get(i + 1);
            match earliest {
                Some(at) if next.is_none_or(|&(next, _)| at <= next) => {
                    times.push((at.since(told), i + 1))
                }
                _ => interrupted += usize::from(next.is_some()),
            }
        }
        times.sort_unstable();
        Times {
            p50_ms: times.get(times.len() / 2).map_or(0, |(ns, _)| ns / 1_000_000),
            max_ms: times.last().map_or(0, |(ns, _)| ns / 1_000_000),
            slowest_kill: times.last().map_or(0, |&(_, kill)| kill),
            samples: times.len(),
            interrupted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn restarts(kills: &[u64], acknowledged: &[(u64, u64)]) -> Times {
        let kills: Vec<_> = kills.iter().map(|ms| (Nanos(ms * MS), Nanos(ms * MS + 1))).collect();
        let mut restarts = Restarts { answered: vec![None; kills.len()], kills };
        for (sent, at) in acknowledged {
            restarts.acknowledged(Nanos(sent * MS), Nanos(at * MS));
        }
        restarts.times()
    }

    #[test]
    fn counts_to_the_first_answer_to_an_order_sent_after_the_kill() {
        // Sent before the kill and answered after it: says nothing of it.
        let times = restarts(&[100], &[(90, 120), (110, 350), (105, 300)]);
        let all = Times { p50_ms: 200, max_ms: 200, slowest_kill: 1, samples: 1, interrupted: 0 };
        assert_eq!(times, all);
    }

    #[test]
    fn a_kill_before_the_answer_makes_no_sample_of_the_one_before() {
        // The order sent after the first kill is answered only after the second.
        let times = restarts(&[100, 150], &[(110, 300), (160, 310)]);
        let all = Times { p50_ms: 160, max_ms: 160, slowest_kill: 2, samples: 1, interrupted: 1 };
        assert_eq!(times, all);
        // Never answered at all: no sample, and the suite counts samples.
        assert_eq!(restarts(&[100], &[]), Times::default());
    }
}
