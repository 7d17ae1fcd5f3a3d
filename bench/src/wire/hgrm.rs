//! Distributions as HdrHistogram's percentile text, which its plotters read. Values in ns.

use hdrhistogram::Histogram;
use std::fmt::Write;

/// Steps per halving of what is left above: HdrHistogram's own default.
const TICKS: u32 = 5;

/// One distribution.
pub fn text(latency: &Histogram<u64>) -> String {
    let mut t = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    let mut through = 0;
    for step in latency.iter_quantiles(TICKS) {
        through += step.count_since_last_iteration();
        let quantile = step.quantile_iterated_to();
        let _ = write!(t, "{:>12} {quantile:>14.12} {through:>10}", step.value_iterated_to());
        match quantile < 1.0 {
            true => drop(writeln!(t, " {:>14.2}", 1.0 / (1.0 - quantile))),
            false => t.push('\n'),
        }
    }
    let _ = write!(
        t,
        "#[Mean    = {:>12.3}, StdDeviation   = {:>12.3}]\n\
         #[Max     = {:>12}, Total count    = {:>12}]\n\
         #[Buckets = {:>12}, SubBuckets     = {:>12}]\n",
        latency.mean(),
        latency.stdev(),
        latency.max(),
        latency.len(),
        latency.buckets(),
        // Three digits: HdrHistogram takes the next power of two of 2 x 10^3.
        2_048
    );
    t
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_values_is_the_maximum_and_counts_everything() {
        let mut latency = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).unwrap();
        (1..=1_000).for_each(|v| latency.record(v).unwrap());
        let text = text(&latency);
        let values: Vec<Vec<&str>> = text
            .lines()
            .skip(2)
            .take_while(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(values.last().unwrap()[..], ["1000", "1.000000000000", "1000"]);
        let median = values.iter().find(|line| line[1] == "0.500000000000").unwrap();
        assert_eq!((median[0], median[2], median[3]), ("500", "500", "2.00"));
        assert!(text.contains("Max     =         1000, Total count    =         1000"));
    }
}
