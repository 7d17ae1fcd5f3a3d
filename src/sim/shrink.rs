//! Shrink: a failing plan -> the smallest one found that still breaks the same rule.
//!
//! Consumes a seed's failing plan; produces a [`Reduction`] and the outcome under it, with its history.
//! Time first (healing begins right after the violation), then incidents by halves, then each feature.

use super::plan::{MS, Plan, Reduction};
use super::world::run;
use super::{Feature, Outcome};

/// Runs spent on one failure.
const RUNS_MAX: usize = 150;

struct Shrinker {
    seed: u64,
    start: u64,
    rule: &'static str,
    best: Reduction,
    runs: usize,
}

impl Shrinker {
    /// True when the plan still breaks the rule under `reduction`: then it is the best so far.
    fn try_it(&mut self, reduction: Reduction) -> Option<Outcome> {
        if self.runs == RUNS_MAX {
            return None;
        }
        self.runs += 1;
        let outcome = run(&Plan::draw(self.seed, reduction.clone()), false);
        let same = outcome.violations.first().is_some_and(|v| v.rule == self.rule);
        same.then(|| {
            self.best = reduction;
            outcome
        })
    }

    fn time(&mut self, failed_at: u64) {
        let mut failed_ms = failed_at / MS + 1;
        while let Some(outcome) =
            self.try_it(Reduction { run_ms: Some(failed_ms), ..self.best.clone() })
        {
            let at = outcome.violations[0].at.0.saturating_sub(self.start) / MS + 1;
            if at >= failed_ms {
                break;
            }
            failed_ms = at;
        }
    }

    fn incidents(&mut self, all: Vec<usize>) {
        let mut kept = all;
        let mut chunk = kept.len().max(1);
        loop {
            let mut from = 0;
            while from < kept.len() {
                let mut fewer = kept.clone();
                fewer.drain(from..(from + chunk).min(kept.len()));
                let reduction = Reduction { incidents: Some(fewer.clone()), ..self.best.clone() };
                match self.try_it(reduction) {
                    Some(_) => kept = fewer,
                    None => from += chunk,
                }
            }
            if chunk == 1 {
                return;
            }
            chunk = chunk.div_ceil(2);
        }
    }

    fn features(&mut self, on: Vec<Feature>) {
        for feature in on {
            let mut off = self.best.off.clone();
            off.push(feature);
            self.try_it(Reduction { off, ..self.best.clone() });
        }
    }
}

/// Makes `plan`, which ended in `outcome`, as small as it finds.
pub fn shrink(plan: &Plan, outcome: &Outcome) -> (Reduction, Outcome) {
    if let Some(violation) = outcome.violations.first() {
        let best = plan.reduction.clone();
        let mut shrinker =
            Shrinker { seed: plan.seed, start: plan.start, rule: violation.rule, best, runs: 0 };
        shrinker.time(violation.at.0.saturating_sub(plan.start));
        shrinker.incidents(plan.incidents.iter().map(|i| i.number).collect());
        shrinker.features(plan.features.list().collect());
        // Fewer faults may fail earlier.
        let outcome = run(&Plan::draw(plan.seed, shrinker.best.clone()), true);
        return (shrinker.best, outcome);
    }
    (plan.reduction.clone(), run(plan, true))
}
