//! The chart: distributions by percentile, one panel per part, and where the venue's time goes.
//!
//! Consumes results, verdicts and conditions; produces SVG. Latency on a logarithmic axis; the share
//! of orders on one that gives every nine the same room.

use super::judge::Verdict;
use super::results::{Quantile, RESIDENCE, Results, STAGES};
use super::rows::{Part, Row};
use super::svg::{Anchor, Svg};

const WIDTH: f64 = 1_480.0;
const MARGIN: f64 = 56.0;
const INK: &str = "#1b1f24";
const GREY: &str = "#6b7280";
const GRID: &str = "#e7e9ec";
const GOOD: &str = "#1a7f37";
const BAD: &str = "#b42318";

/// Colour, width and dashes of a row's line.
fn style(row: Row) -> (&'static str, f64, &'static str) {
    match row {
        Row::BlockingEcho => ("#b9bec6", 1.6, ""),
        Row::SpinningEcho => ("#858c97", 1.6, ""),
        Row::Floor => ("#1b1f24", 2.0, "6 4"),
        Row::VenueKernel => ("#d97706", 2.0, ""),
        Row::VenueKernelClient => ("#5ab4e5", 2.0, ""),
        Row::VenueXdp => ("#0b5cad", 3.0, ""),
    }
}

/// A rectangle of the drawing.
#[derive(Clone, Copy)]
struct Area {
    x: f64,
    y: f64,
    w: f64,
    h: f64,
}

/// Axes of one panel.
#[derive(Clone, Copy)]
struct Axes {
    area: Area,
    /// Nines on the right edge.
    nines: f64,
    /// Logarithms of the lowest and the highest latency, ns.
    low: f64,
    high: f64,
}

impl Axes {
    fn x(&self, nines: f64) -> f64 {
        self.area.x + self.area.w * (nines / self.nines).min(1.0)
    }

    fn y(&self, ns: f64) -> f64 {
        let part = (ns.max(1.0).log10() - self.low) / (self.high - self.low);
        self.area.y + self.area.h * (1.0 - part.clamp(0.0, 1.0))
    }
}

/// "850 ns", "7.32 µs", "12 ms": three digits, none of them a trailing zero behind the point.
pub fn time(ns: f64) -> String {
    let (value, unit) = match ns {
        ns if ns < 999.5 => (ns, "ns"),
        ns if ns < 999.5e3 => (ns / 1e3, "µs"),
        ns if ns < 999.5e6 => (ns / 1e6, "ms"),
        ns => (ns / 1e9, "s"),
    };
    let digits = match value {
        _ if unit == "ns" => 0,
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    let text = format!("{value:.digits$}");
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{text} {unit}")
}

/// Everything on one page. `conditions`: lines of text.
pub fn draw(results: &Results, verdicts: &[Verdict], conditions: &[String]) -> String {
    let columns = 4;
    let scheduled = results.parts.len() - 1;
    let small_rows = scheduled.div_ceil(columns);
    let top = 132.0;
    let big = Area { x: MARGIN + 16.0, y: top + 30.0, w: 780.0, h: 400.0 };
    let small_top = big.y + big.h + 96.0;
    let (small_w, small_h, step_y) = (298.0, 180.0, 262.0);
    let height = small_top + small_rows as f64 * step_y + 40.0 + 18.0 * conditions.len() as f64;
    let mut svg = Svg::new(WIDTH, height);
    svg.text((MARGIN - 16.0, 52.0), "An order, there and back", (30.0, 700), INK, Anchor::Start);
    let what = "Time from when an order was due until its answer was found by the client, over veth. \
                Same orders in every row; lower is better.";
    svg.text((MARGIN - 16.0, 78.0), what, (14.0, 400), GREY, Anchor::Start);
    legend(&mut svg, 108.0);

    panel(&mut svg, results, 0, big, true);
    let right =
        Area { x: big.x + big.w + 60.0, y: big.y, w: WIDTH - big.x - big.w - 100.0, h: big.h };
    breakdown(&mut svg, results, verdicts, right);
    for index in 0..scheduled {
        let (column, line) = (index % columns, index / columns);
        let area = Area {
            x: MARGIN + 16.0 + column as f64 * (small_w + 52.0),
            y: small_top + line as f64 * step_y,
            w: small_w,
            h: small_h,
        };
        panel(&mut svg, results, index + 1, area, false);
    }
    let foot = small_top + small_rows as f64 * step_y + 16.0;
    for (i, line) in conditions.iter().enumerate() {
        let at = (MARGIN - 16.0, foot + 18.0 * i as f64);
        svg.text(at, line, (12.0, 400), GREY, Anchor::Start);
    }
    svg.finish()
}

fn legend(svg: &mut Svg, y: f64) {
    let mut x = MARGIN - 16.0;
    for row in Row::ALL {
        let (colour, width, dash) = style(row);
        svg.path(&[(x, y - 4.0), (x + 26.0, y - 4.0)], colour, width, dash);
        let text = format!("{}  {}", row.letter(), row.title());
        svg.text((x + 33.0, y), &text, (12.5, 400), INK, Anchor::Start);
        x += 44.0 + 6.45 * text.len() as f64;
    }
}

/// Decades that hold every latency of `parts`: panels side by side have one scale.
fn range(results: &Results, parts: std::ops::Range<usize>) -> (f64, f64) {
    let (mut least, mut most) = (1e4f64, 1e5f64);
    for cell in parts.flat_map(|part| Row::ALL.map(|row| results.cell(row, part))).flatten() {
        least = least.min(cell.all.latency.min() as f64);
        most = most.max(cell.all.latency.max() as f64);
    }
    (least.max(100.0).log10().floor(), most.log10().ceil())
}

/// Distributions of one part.
fn panel(svg: &mut Svg, results: &Results, part: usize, area: Area, labels: bool) {
    let cells = || Row::ALL.into_iter().filter_map(|row| Some((row, results.cell(row, part)?)));
    let samples = cells().map(|(_, c)| c.all.latency.len()).max().unwrap_or(1).max(10);
    let (low, high) = range(results, if labels { 0..1 } else { 1..results.parts.len() });
    // A thousand samples say little of the last of them: half a nine of room is not worth a label.
    let nines = (samples as f64).log10().clamp(2.0, 6.0);
    let axes = Axes { area, nines, low, high };
    title(svg, results, part, area);
    grid(svg, &axes);
    for (row, cell) in cells() {
        let latency = &cell.all.latency;
        if latency.is_empty() {
            continue;
        }
        let last = (latency.len() as f64).log10().min(axes.nines);
        let steps = (last * 60.0) as usize;
        let value = |nines: f64| latency.value_at_quantile(1.0 - 10f64.powf(-nines)) as f64;
        let mut points: Vec<(f64, f64)> = (0..=steps)
            .map(|i| i as f64 / 60.0)
            .map(|nines| (axes.x(nines), axes.y(value(nines))))
            .collect();
        points.push((axes.x(last), axes.y(latency.max() as f64)));
        let (colour, width, dash) = style(row);
        let thin = if labels { 1.0 } else { 0.75 };
        svg.path(&points, colour, width * thin, dash);
    }
    if labels {
        table(svg, results, part, area);
    }
}

fn title(svg: &mut Svg, results: &Results, part: usize, area: Area) {
    let one = results.parts[part].rate == 0;
    let head = match one {
        true => "One order in flight".to_string(),
        false => {
            let Part { rate, packed, .. } = results.parts[part];
            let how = match packed {
                1 => "one per datagram".to_string(),
                packed => format!("{packed} per datagram"),
            };
            format!("{},000 orders/s, {how}", rate / 1_000)
        }
    };
    let size = if one { 17.0 } else { 13.5 };
    svg.text((area.x, area.y - 12.0), &head, (size, 600), INK, Anchor::Start);
    // What was not held, in the order of the rows.
    let mut faults = Vec::new();
    for row in Row::ALL {
        let Some(cell) = results.cell(row, part) else { continue };
        let (letter, lost) = (row.letter(), cell.all.unanswered);
        if lost > 0 {
            let percent = lost as f64 * 100.0 / cell.all.sent.max(1) as f64;
            faults.push(format!("{letter} {percent:.2}% lost"));
        } else if !one && !results.is_reached(row, part) {
            faults.push(format!("{letter} {:.0}k/s", cell.all.rate() / 1_000.0));
        }
    }
    if !faults.is_empty() {
        let text = format!("not held: {}", faults.join(", "));
        svg.text((area.x, area.y + area.h + 36.0), &text, (11.5, 600), BAD, Anchor::Start);
    }
}

fn grid(svg: &mut Svg, axes: &Axes) {
    let Axes { area, nines, low, high } = *axes;
    for decade in low as i32..=high as i32 {
        let value = 10f64.powi(decade);
        let y = axes.y(value);
        svg.line((area.x, y), (area.x + area.w, y), GRID, 1.0);
        svg.text((area.x - 7.0, y + 4.0), &time(value), (11.0, 400), GREY, Anchor::End);
        if decade < high as i32 {
            for minor in 2..10 {
                let y = axes.y(value * f64::from(minor));
                svg.line((area.x, y), (area.x + area.w, y), "#f4f5f6", 1.0);
            }
        }
    }
    let names = ["0", "90%", "99%", "99.9%", "99.99%", "99.999%", "99.9999%"];
    let wide = area.w > 400.0;
    for (i, name) in names.iter().enumerate().take(nines as usize + 1) {
        let x = axes.x(i as f64);
        svg.line((x, area.y), (x, area.y + area.h), GRID, 1.0);
        let size = if wide { 11.0 } else { 10.0 };
        svg.text((x, area.y + area.h + 17.0), name, (size, 400), GREY, Anchor::Middle);
    }
    let half = axes.x(2f64.log10());
    if wide {
        svg.line((half, area.y), (half, area.y + area.h), GRID, 1.0);
        svg.text((half, area.y + area.h + 17.0), "50%", (11.0, 400), GREY, Anchor::Middle);
    }
}

/// Figures in the upper left corner, where no line goes.
fn table(svg: &mut Svg, results: &Results, part: usize, area: Area) {
    let columns = [area.x + 78.0, area.x + 146.0, area.x + 214.0, area.x + 282.0, area.x + 350.0];
    let mut y = area.y + 24.0;
    svg.rect(
        (area.x + 10.0, area.y + 6.0),
        (352.0, 24.0 + 18.0 * Row::ALL.len() as f64),
        "#ffffff",
    );
    let heads = ["p50", "p99", "p99.9", "p50 × c", "p99 × c"];
    for (x, head) in columns.iter().zip(heads) {
        svg.text((*x, y), head, (11.5, 400), GREY, Anchor::End);
    }
    for row in Row::ALL {
        let Some(cell) = results.cell(row, part) else { continue };
        y += 18.0;
        let at = |q| time(cell.all.latency.value_at_quantile(q) as f64);
        let ratio = |q| format!("{:.2}", results.ratio(row, Row::Floor, part, q));
        let ratios = [Quantile::P50, Quantile::P99].map(ratio);
        let [p50, p99] = if row == Row::Floor { ["1", "1"].map(String::from) } else { ratios };
        let colour = style(row).0;
        svg.text((area.x + 16.0, y), &row.letter().to_string(), (12.5, 700), colour, Anchor::Start);
        for (x, text) in columns.iter().zip([at(0.5), at(0.99), at(0.999), p50, p99]) {
            svg.text((*x, y), &text, (12.0, 400), INK, Anchor::End);
        }
    }
}

/// One order's p50 by place: in the venue, its kick, and everything outside.
pub fn whereabouts(results: &Results) -> Option<String> {
    let median = |row| Some(results.cell(row, 0)?.all.latency.value_at_quantile(0.5) as f64);
    let (whole, floor) = (median(Row::VenueXdp)?, median(Row::Floor)?);
    let inside = results.stage(RESIDENCE, "p50")?;
    let kick = results.stage(STAGES[STAGES.len() - 1], "p50")?;
    Some(format!(
        "p50 of f {}: kick {}, the rest inside {}, client and wire {}; c takes {}",
        time(whole),
        time(kick),
        time((inside - kick).max(0.0)),
        time((whole - inside).max(0.0)),
        time(floor)
    ))
}

/// Stages of the venue as bars, then the targets.
fn breakdown(svg: &mut Svg, results: &Results, verdicts: &[Verdict], area: Area) {
    let Area { x, y, w, .. } = area;
    svg.text((x, y - 12.0), "Inside rialto, one order in flight", (17.0, 600), INK, Anchor::Start);
    let bars: Vec<(&str, f64, f64)> = STAGES
        .iter()
        .chain([&RESIDENCE])
        .filter_map(|s| Some((*s, results.stage(s, "p50")?, results.stage(s, "p99")?)))
        .collect();
    let mut line = y + 12.0;
    if bars.is_empty() {
        let text = "this venue says nothing of its stages";
        svg.text((x, line), text, (13.0, 400), BAD, Anchor::Start);
    }
    let most = bars.iter().map(|b| b.2).fold(1.0, f64::max);
    let (from, room) = (x + 132.0, w - 132.0 - 118.0);
    for (stage, p50, p99) in &bars {
        let colour = if *stage == RESIDENCE { INK } else { "#0b5cad" };
        let weight = if *stage == RESIDENCE { 600 } else { 400 };
        svg.text((x, line + 4.0), &stage.replace('_', " "), (12.5, weight), INK, Anchor::Start);
        svg.rect((from, line - 6.0), (room * p99 / most, 12.0), "#cfe0f1");
        svg.rect((from, line - 6.0), (room * p50 / most, 12.0), colour);
        let text = format!("{}  ·  {}", time(*p50), time(*p99));
        let end = (from + room * p99 / most + 7.0, line + 4.0);
        svg.text(end, &text, (11.5, weight), GREY, Anchor::Start);
        line += 22.0;
    }
    if !bars.is_empty() {
        let text = "dark: p50, light: p99 of the cycles in which an order was done";
        svg.text((x, line + 6.0), text, (11.5, 400), GREY, Anchor::Start);
        line += 20.0;
    }
    if let Some(text) = whereabouts(results) {
        svg.text((x, line + 6.0), &text, (11.5, 400), GREY, Anchor::Start);
    }
    line += 40.0;
    svg.text((x, line), "Targets", (17.0, 600), INK, Anchor::Start);
    for verdict in verdicts {
        line += 22.0;
        let colour = match verdict.held {
            Some(true) => GOOD,
            Some(false) => BAD,
            None => GREY,
        };
        svg.text((x, line), &verdict.word().to_lowercase(), (12.5, 700), colour, Anchor::Start);
        svg.text((x + 74.0, line), &verdict.text, (12.5, 400), INK, Anchor::Start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_at_most() {
        let texts = [7.0, 999.6, 1e3, 7_322.0, 12_340.0, 1e5, 4.5e7, 2e9].map(time);
        assert_eq!(texts, ["7 ns", "1 µs", "1 µs", "7.32 µs", "12.3 µs", "100 µs", "45 ms", "2 s"]);
    }
}
