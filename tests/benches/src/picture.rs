//! docs/bench.svg: a bar for each side of each row, in the rows' own scale.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::error::Error;
use crate::figure::{Figure, Measure};
use crate::series::Series;

const WIDTH: f64 = 860.0;
const LEFT: f64 = 300.0;
/// The longest bar.
const LONGEST: f64 = 420.0;
const BAR: f64 = 12.0;
const PITCH: f64 = 15.0;
const GAP: f64 = 12.0;
const TOP: f64 = 44.0;
/// Grey that can be read on white and on black.
const TEXT: &str = "#808890";
const COLOURS: [(&str, &str); 3] = [("reference", "#9aa4ae"), ("ours", "#2f81f7"), ("floor", "#3fb06b")];

/// Writes it into a folder. Counts have no place in it.
pub fn write(folder: &Path, figures: &[Figure]) -> Result<(), Error> {
    let path = folder.join("bench.svg");
    fs::write(&path, draw(figures)).map_err(Error::file(&path))
}

fn draw(figures: &[Figure]) -> String {
    let mut body = String::new();
    let mut y = TOP;
    for figure in figures.iter().filter(|figure| figure.measure != Measure::Count) {
        y = group(&mut body, figure, y) + GAP;
    }
    let (height, width) = (y + 4.0, WIDTH);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"{TEXT}\">\n\
         <title>Ironbridge beside the reference plugins and a floor in C</title>\n"
    );
    text.push_str(&legend());
    text.push_str(&body);
    text.push_str("</svg>\n");
    text
}

fn legend() -> String {
    let mut text = String::new();
    let mut x = LEFT;
    for (name, colour) in COLOURS {
        writeln!(text, "<rect x=\"{x:.0}\" y=\"12\" width=\"12\" height=\"12\" rx=\"2\" fill=\"{colour}\"/>")
            .ok();
        writeln!(text, "<text x=\"{:.0}\" y=\"22\">{name}</text>", x + 17.0).ok();
        x += 100.0;
    }
    writeln!(text, "<text x=\"{x:.0}\" y=\"22\">median; each row has its own scale</text>").ok();
    text
}

/// One row's bars; returns where the next may begin.
fn group(body: &mut String, figure: &Figure, top: f64) -> f64 {
    let other = |beside: &Option<crate::figure::Beside>| beside.as_ref().map(|beside| beside.series.clone());
    let sides = [other(&figure.reference), Some(figure.ours.clone()), other(&figure.floor)];
    let longest = sides.iter().flatten().map(Series::median).fold(0.0, f64::max);
    let mut y = top;
    for (series, (name, colour)) in sides.iter().zip(COLOURS) {
        let Some(series) = series else { continue };
        let value = series.median();
        let width = (LONGEST * value / longest).max(1.0);
        writeln!(
            body,
            "<rect x=\"{LEFT:.0}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR:.0}\" rx=\"2\" fill=\"{colour}\"/>"
        )
        .ok();
        let label = match (name, &figure.floor) {
            ("floor", Some(floor)) if floor.what != "floor" => format!(" {}", floor.what),
            _ => String::new(),
        };
        let (x, baseline) = (LEFT + width + 6.0, y + 10.0);
        writeln!(
            body,
            "<text x=\"{x:.1}\" y=\"{baseline:.1}\">{}{label}</text>",
            told(figure.measure, value)
        )
        .ok();
        y += PITCH;
    }
    let middle = f64::midpoint(top, y) + 3.0;
    let (x, work) = (LEFT - 12.0, &figure.work);
    writeln!(body, "<text x=\"{x:.0}\" y=\"{middle:.1}\" text-anchor=\"end\">{work}</text>").ok();
    y
}

fn told(measure: Measure, value: f64) -> String {
    match measure {
        Measure::Milliseconds if value < 10.0 => format!("{value:.2} ms"),
        Measure::Milliseconds => format!("{value:.1} ms"),
        Measure::Microseconds => format!("{value:.1} µs"),
        Measure::PerSecond => format!("{value:.0} /s"),
        Measure::Count => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_is_the_reference_and_counts_are_left_out() {
        let figures = [
            Figure::new("speed", Measure::Milliseconds, &Series::of([1.0]))
                .reference(&Series::of([4.0]), None),
            Figure::new("number", Measure::Count, &Series::of([1.0])),
        ];
        let text = draw(&figures);
        assert!(text.contains("width=\"420.0\"") && text.contains("width=\"105.0\""), "{text}");
        assert!(text.contains("speed") && !text.contains("number"), "{text}");
    }
}
