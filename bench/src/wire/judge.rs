//! Targets, and whether they were held. Times are judged with one order in flight; what rates do to
//! them is told and shown.

use super::results::{BEFORE_KICK, Quantile, Results};
use super::rows::Row;

/// One target.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// It was held; `None` = not judged, of too few samples.
    pub held: Option<bool>,
    /// Target and figure.
    pub text: String,
}

/// Most that the venue may take of a floor's p50 and p99.
const TO_FLOOR: [f64; 2] = [1.3, 1.6];
/// Least that the kernel's sockets take of AF_XDP's p50.
const KERNEL_TO_XDP: f64 = 1.5;
/// Longest residence inside until the kick begins, p50 and p99, ns.
const RESIDENCE_NS: [f64; 2] = [1_500.0, 4_000.0];

fn at_most(what: &str, value: f64, limit: f64, unit: &str) -> Verdict {
    let text = format!("{what} {} of at most {}{unit}", short(value), short(limit));
    Verdict { held: Some(value <= limit), text }
}

fn short(value: f64) -> String {
    let digits = if value.abs() < 100.0 { 2 } else { 0 };
    format!("{value:.digits$}")
}

/// All of them. A figure that is missing is a target that was missed.
pub fn verdicts(results: &Results) -> Vec<Verdict> {
    let ratio = |row, to, quantile| results.ratio(row, to, 0, quantile);
    let mut all = Vec::new();
    for (quantile, limit) in [Quantile::P50, Quantile::P99].into_iter().zip(TO_FLOOR) {
        let value = ratio(Row::VenueXdp, Row::Floor, quantile);
        all.push(at_most(&format!("{} of f / c:", quantile.name()), value, limit, ""));
    }
    let value = ratio(Row::VenueKernel, Row::VenueXdp, Quantile::P50);
    let limit = KERNEL_TO_XDP;
    let text = format!("p50 of d / f: {} of at least {}", short(value), short(limit));
    all.push(Verdict { held: Some(value >= limit), text });
    for (quantile, limit) in [Quantile::P50, Quantile::P99].into_iter().zip(RESIDENCE_NS) {
        let name = quantile.name();
        let residence = results.stage(BEFORE_KICK, name).unwrap_or(f64::NAN);
        all.push(at_most(&format!("{name} inside, before the kick:"), residence, limit, " ns"));
    }
    let parts = 0..results.parts.len();
    let lossy: Vec<String> = parts
        .filter(|part| !results.is_whole(Row::VenueXdp, *part))
        .map(|part| results.parts[part].name())
        .collect();
    let text = match lossy.is_empty() {
        true => "f answers every order at every rate".into(),
        false => format!("f answers every order; not so at {}", lossy.join(", ")),
    };
    all.push(Verdict { held: Some(lossy.is_empty()), text });
    all
}

impl Verdict {
    /// The same figure, of a run whose few samples judge nothing.
    pub fn unjudged(self) -> Verdict {
        Verdict { held: None, ..self }
    }

    /// In a word.
    pub fn word(&self) -> &'static str {
        match self.held {
            Some(true) => "held",
            Some(false) => "MISSED",
            None => "not judged",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_that_is_missing_holds_no_target() {
        let results = Results::new(&[super::super::rows::Part { rate: 0, packed: 1, ms: 1 }]);
        assert!(verdicts(&results).iter().all(|verdict| verdict.held == Some(false)));
        assert_eq!(at_most("x", 1.31, 1.3, "").word(), "MISSED");
        assert_eq!(at_most("x", 1.3, 1.3, "").word(), "held");
        assert_eq!(at_most("x", 1.31, 1.3, "").unjudged().word(), "not judged");
    }
}
