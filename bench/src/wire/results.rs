//! What came about: distributions by row and part, ratios by round, stages of the venue.
//!
//! Consumes the runs of every round; produces medians and JSON. Must not know how a run is made.

use serde_json::{Map, Value, json};

use super::client::Outcome;
use super::rows::{Part, Row, Run};

/// Stages of the venue in the order of an order, as `status.json` names them. Gateway and sequencer are
/// one: checks, decoding, number and append write the log's record together.
pub const STAGES: [&str; 6] =
    ["nic_receive", "gateway_sequencer", "engine", "publisher", "gateway_egress", "nic_transmit"];
/// From the first of them to the end of the last, of one cycle.
pub const RESIDENCE: &str = "residence";
/// Of the same cycles, the part before the kick.
pub const BEFORE_KICK: &str = "residence_before_last";

/// A rate counts as reached when this share of it was answered in time.
const REACHED: f64 = 0.99;

/// One row in one part, over all rounds.
pub struct Cell {
    /// All rounds together.
    pub all: Outcome,
    /// By round.
    rounds: Vec<[f64; 2]>,
}

/// Everything that was measured.
pub struct Results {
    /// Parts in their order.
    pub parts: Vec<Part>,
    /// By row and part.
    cells: Vec<Vec<Option<Cell>>>,
    /// By row: the way that the server's datagrams took.
    pub paths: Vec<String>,
    /// By round: what the venue of row f said behind the part with one order in flight.
    statuses: Vec<Value>,
}

/// p50 or p99.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quantile {
    /// Half are shorter.
    P50,
    /// 99 of 100 are shorter.
    P99,
}

impl Quantile {
    /// As it is called.
    pub fn name(self) -> &'static str {
        ["p50", "p99"][self as usize]
    }
}

/// Median; NaN of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

impl Results {
    /// Nothing yet.
    pub fn new(parts: &[Part]) -> Results {
        let row = || parts.iter().map(|_| None).collect();
        Results {
            parts: parts.to_vec(),
            cells: Row::ALL.iter().map(|_| row()).collect(),
            paths: vec![String::new(); Row::ALL.len()],
            statuses: Vec::new(),
        }
    }

    /// Takes one run in; rounds must come in their order.
    pub fn take(&mut self, run: Run) {
        self.paths[run.row.index()] = run.path;
        if let Some([first, _]) = run.status.filter(|_| run.row == Row::VenueXdp) {
            self.statuses.push(first);
        }
        for (cell, outcome) in self.cells[run.row.index()].iter_mut().zip(run.outcomes) {
            let at = |q| outcome.latency.value_at_quantile(q) as f64;
            let cell = cell.get_or_insert_with(|| Cell { all: Outcome::new(), rounds: Vec::new() });
            cell.rounds.push([at(0.5), at(0.99)]);
            cell.all.add(&outcome);
        }
    }

    /// One row in one part.
    pub fn cell(&self, row: Row, part: usize) -> Option<&Cell> {
        self.cells[row.index()][part].as_ref()
    }

    /// Median over the rounds of the quotient of both rows' quantiles in the same round.
    pub fn ratio(&self, row: Row, to: Row, part: usize, quantile: Quantile) -> f64 {
        let (Some(above), Some(below)) = (self.cell(row, part), self.cell(to, part)) else {
            return f64::NAN;
        };
        let rounds = above.rounds.iter().zip(&below.rounds);
        let at = quantile as usize;
        median(rounds.map(|(above, below)| above[at] / below[at].max(1.0)).collect())
    }

    /// Median over the rounds of a stage's figure with one order in flight, ns; `None` when the venue
    /// says nothing of it.
    pub fn stage(&self, stage: &str, figure: &str) -> Option<f64> {
        self.told(|status| status["stages_ns"][stage][figure].as_f64())
    }

    /// As [`Results::stage`] for what the venue calls inside: datagram received to report written.
    pub fn inside(&self, figure: &str) -> Option<f64> {
        self.told(|status| status["inside_ns"][figure].as_f64())
    }

    fn told(&self, figure: impl Fn(&Value) -> Option<f64>) -> Option<f64> {
        let values: Vec<f64> = self.statuses.iter().filter_map(figure).collect();
        (!values.is_empty()).then(|| median(values))
    }

    /// Whether every order of a row's part was answered as it had to be.
    pub fn is_whole(&self, row: Row, part: usize) -> bool {
        self.cell(row, part).is_some_and(|c| c.all.unanswered == 0 && c.all.rejected == 0)
    }

    /// Whether the rate of a part was held.
    pub fn is_reached(&self, row: Row, part: usize) -> bool {
        let rate = self.parts[part].rate as f64;
        self.cell(row, part).is_some_and(|c| c.all.rate() >= REACHED * rate)
    }

    /// `"rows"` of the JSON.
    pub fn rows_json(&self) -> Value {
        let mut rows = Vec::new();
        for (index, part) in self.parts.iter().enumerate() {
            for row in Row::ALL {
                let Some(cell) = self.cell(row, index) else { continue };
                let (all, latency) = (&cell.all, &cell.all.latency);
                rows.push(json!({
                    "name": format!("{} {}, {}", row.letter(), row.title(), part.name()),
                    "row": row.letter().to_string(),
                    "part": part.name(),
                    "rate": part.rate,
                    "packed": part.packed,
                    "path": self.paths[row.index()],
                    "p50": latency.value_at_quantile(0.5),
                    "p90": latency.value_at_quantile(0.9),
                    "p99": latency.value_at_quantile(0.99),
                    "p999": latency.value_at_quantile(0.999),
                    "max": latency.max(),
                    "samples": latency.len(),
                    "rounds": cell.rounds.len(),
                    "orders": all.sent,
                    "unanswered": all.unanswered,
                    "rejected": all.rejected,
                    "executions": all.executed,
                    "answered_per_second": all.rate().round(),
                    "reached": self.is_reached(row, index),
                    "sent_late_p99": all.lateness.value_at_quantile(0.99),
                }));
            }
        }
        rows.into()
    }

    /// `"ratios"` of the JSON: each row to the floor, and d to f.
    pub fn ratios_json(&self) -> Value {
        let mut ratios = Vec::new();
        let round = |x: f64| (x * 1_000.0).round() / 1_000.0;
        for (index, part) in self.parts.iter().enumerate() {
            let to_floor = Row::ALL.iter().map(|row| (*row, Row::Floor));
            for (row, to) in to_floor.chain([(Row::VenueKernel, Row::VenueXdp)]) {
                if row == to || self.cell(row, index).is_none() {
                    continue;
                }
                ratios.push(json!({
                    "row": row.letter().to_string(),
                    "to": to.letter().to_string(),
                    "part": part.name(),
                    "p50": round(self.ratio(row, to, index, Quantile::P50)),
                    "p99": round(self.ratio(row, to, index, Quantile::P99)),
                }));
            }
        }
        ratios.into()
    }

    /// `"stages_ns"` of the JSON: medians over the rounds, row f, one order in flight.
    pub fn stages_json(&self) -> Value {
        let mut stages = Map::new();
        for stage in STAGES.iter().chain([&RESIDENCE, &BEFORE_KICK]) {
            let mut figures = Map::new();
            for figure in ["p50", "p90", "p99", "p999", "max", "samples"] {
                if let Some(value) = self.stage(stage, figure) {
                    figures.insert(figure.into(), value.round().into());
                }
            }
            if !figures.is_empty() {
                stages.insert((*stage).into(), figures.into());
            }
        }
        match stages.is_empty() {
            true => "this venue says nothing of its stages: status.json has no stages_ns".into(),
            false => stages.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(row: Row, latencies: &[u64]) -> Run {
        let mut outcome = Outcome::new();
        for ns in latencies {
            outcome.latency.record(*ns).unwrap();
            outcome.sent += 1;
        }
        outcome.elapsed_ns = 1_000_000_000;
        Run { row, outcomes: vec![outcome], path: "udp".into(), status: None }
    }

    #[test]
    fn a_ratio_is_the_median_of_quotients_within_rounds() {
        let mut results = Results::new(&[Part { rate: 0, packed: 1, ms: 1 }]);
        // The whole host is three times slower in one round: no ratio moves.
        for (floor, venue) in [(100, 120), (300, 360), (100, 500)] {
            results.take(run(Row::Floor, &[floor]));
            results.take(run(Row::VenueXdp, &[venue]));
        }
        let ratio = results.ratio(Row::VenueXdp, Row::Floor, 0, Quantile::P50);
        assert!((ratio - 1.2).abs() < 0.01, "{ratio}");
        assert!(results.ratio(Row::VenueKernel, Row::VenueXdp, 0, Quantile::P50).is_nan());
    }

    #[test]
    fn a_rate_that_is_not_held_and_orders_without_answer_are_told() {
        let mut results = Results::new(&[Part { rate: 4, packed: 1, ms: 1_000 }]);
        let mut lossy = run(Row::Floor, &[1, 2, 3, 4]);
        lossy.outcomes[0].unanswered = 1;
        results.take(lossy);
        assert!(!results.is_whole(Row::Floor, 0) && !results.is_reached(Row::Floor, 0));
        results.take(run(Row::VenueXdp, &[1, 2, 3, 4]));
        assert!(results.is_whole(Row::VenueXdp, 0) && results.is_reached(Row::VenueXdp, 0));
    }
}
