//! The table, for a terminal and for a page.

use std::fmt::Write;

use crate::figure::{Beside, Figure, Measure, Verdict};
use crate::series::Series;

const HEAD: [&str; 8] =
    ["work", "n", "reference", "ours", "p90, cpu", "floor", "of the reference", "of the floor"];

/// Columns padded with spaces.
pub fn plain(figures: &[Figure]) -> String {
    let lines = lines(figures);
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|column| lines.iter().filter_map(|l| Some(l.get(column)?.chars().count())).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end()).ok();
    }
    text
}

/// As Markdown.
pub fn markdown(figures: &[Figure]) -> String {
    let mut text = String::new();
    for (number, line) in lines(figures).iter().enumerate() {
        writeln!(text, "| {} |", line.join(" | ")).ok();
        if number == 0 {
            writeln!(text, "|{}", "---|".repeat(HEAD.len())).ok();
        }
    }
    text
}

fn lines(figures: &[Figure]) -> Vec<[String; 8]> {
    std::iter::once(HEAD.map(str::to_owned)).chain(figures.iter().map(line)).collect()
}

fn line(figure: &Figure) -> [String; 8] {
    let Figure { work, measure, ours, reference, floor, .. } = figure;
    let value = |beside: &Option<Beside>| match beside {
        Some(beside) if beside.what == "floor" || beside.what == "reference" => {
            middle(*measure, &beside.series)
        }
        Some(beside) => format!("{} ({})", middle(*measure, &beside.series), beside.what),
        None => String::new(),
    };
    let spread = match measure {
        Measure::Milliseconds if ours.cpu() > 0.0 => format!("{:.2}, {:.2}", ours.p90(), ours.cpu()),
        Measure::Milliseconds | Measure::Microseconds => format!("{:.2}", ours.p90()),
        Measure::PerSecond | Measure::Count => String::new(),
    };
    let own = match (figure.limit, figure.own_verdict()) {
        (Some(limit), verdict) => format!("≤ {limit} {}", word(verdict)),
        (None, _) => ratio(figure, floor.as_ref()),
    };
    let ours_text = middle(*measure, ours);
    [
        work.clone(),
        ours.len().to_string(),
        value(reference),
        ours_text,
        spread,
        value(floor),
        ratio(figure, reference.as_ref()),
        own,
    ]
}

/// Median, and the best in brackets.
fn middle(measure: Measure, series: &Series) -> String {
    match measure {
        Measure::Milliseconds => format!("{:.2} ({:.2}) ms", series.median(), series.min()),
        Measure::Microseconds => format!("{:.1} ({:.1}) µs", series.median(), series.min()),
        Measure::PerSecond => format!("{:.0} ({:.0}) /s", series.median(), series.max()),
        Measure::Count => format!("{:.0}", series.median()),
    }
}

fn ratio(figure: &Figure, beside: Option<&Beside>) -> String {
    let Some(beside) = beside else { return String::new() };
    let (median, minimum, verdict) = figure.ratio(beside);
    let digits = if median < 0.095 { 3 } else { 2 };
    match (figure.measure, beside.limit) {
        (Measure::Count, _) => format!("{median:.digits$}"),
        (Measure::PerSecond, Some(limit)) => {
            format!("{median:.2} ({minimum:.2}) ≥ {limit} {}", word(verdict))
        }
        (Measure::Milliseconds | Measure::Microseconds, Some(limit)) => {
            format!("{median:.digits$} ({minimum:.digits$}) ≤ {limit} {}", word(verdict))
        }
        (_, None) => format!("{median:.digits$} ({minimum:.digits$})"),
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::PassByMinimum => "pass by minimum",
        Verdict::Over => "OVER",
        Verdict::Unlimited => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_values_ratios_limits_and_verdicts() {
        let figure = Figure::new("work", Measure::Milliseconds, &Series::of([2.0, 4.0, 6.0]))
            .reference(&Series::of([20.0, 40.0, 60.0]), Some(0.05))
            .floor(&Series::of([2.0, 3.0, 3.0]), 1.5);
        let text = markdown(&[figure]);
        let last = text.lines().last().unwrap();
        assert!(last.contains("| 4.00 (2.00) ms |"), "{last}");
        assert!(last.contains("0.10 (0.10) ≤ 0.05 OVER"), "{last}");
        assert!(last.contains("1.33 (1.00) ≤ 1.5 pass"), "{last}");
    }
}
