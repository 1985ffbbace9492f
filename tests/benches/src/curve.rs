//! docs/scale.svg and docs/repairs.svg: how a cold start grows with the number of nodes, and how long repairs take.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::error::Error;
use crate::figure::Figure;
use crate::rows::{COLD, REPAIR, TUNNEL};
use crate::series::Series;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 360.0;
/// The plot's edges.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 840.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 310.0;
/// Grey that can be read on white and on black.
const TEXT: &str = "#808890";
const OURS: &str = "#2f81f7";
const FLOOR: &str = "#3fb06b";
const OURS_TUNNEL: &str = "#8957e5";
const FLOOR_TUNNEL: &str = "#d29922";
/// Where the histogram's bins end, in milliseconds; the last one is open.
const BINS: [f64; 9] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1000.0, f64::INFINITY];

/// Writes both into a folder, as far as their rows were measured.
pub fn write(folder: &Path, figures: &[Figure]) -> Result<(), Error> {
    let (routes, tunnel) = points(figures);
    if !routes.is_empty() {
        let path = folder.join("scale.svg");
        fs::write(&path, growth(&routes, &tunnel)).map_err(Error::file(&path))?;
    }
    let repairs: Vec<f64> = figures
        .iter()
        .filter(|figure| figure.work.starts_with(REPAIR))
        .flat_map(|figure| figure.ours.values())
        .collect();
    if !repairs.is_empty() {
        let path = folder.join("repairs.svg");
        fs::write(&path, histogram(&repairs)).map_err(Error::file(&path))?;
    }
    Ok(())
}

/// A number of nodes, our time and the floor's.
type Point = [f64; 3];

/// With routes alone and with a tunnel, best values: the machine's other work is not part of the growth.
fn points(figures: &[Figure]) -> (Vec<Point>, Vec<Point>) {
    let point = |figure: &&Figure| {
        let nodes = figure.work.strip_prefix(COLD)?.split(' ').next()?.parse().ok()?;
        Some([nodes, figure.ours.min(), figure.floor.as_ref().map(|floor| floor.series.min())?])
    };
    let (tunnel, routes): (Vec<&Figure>, Vec<&Figure>) =
        figures.iter().partition(|figure| figure.work.ends_with(TUNNEL));
    (routes.iter().filter_map(point).collect(), tunnel.iter().filter_map(point).collect())
}

/// Both axes logarithmic: a straight line of slope one is a cost for each node that stays the same.
fn growth(routes: &[Point], tunnel: &[Point]) -> String {
    let x = |nodes: f64| LEFT + (nodes.log10() - 2.0) / 2.0 * (RIGHT - LEFT);
    let y = |ms: f64| BOTTOM - (ms.max(0.1).log10() + 1.0) / 4.0 * (BOTTOM - TOP);
    let mut text =
        head("A cold start, by the number of nodes: from exec to the last object (best of several)");
    for (value, name) in [(0.1, "0.1"), (1.0, "1"), (10.0, "10"), (100.0, "100"), (1000.0, "1000 ms")] {
        let at = y(value);
        line(&mut text, [LEFT, at, RIGHT, at], TEXT);
        label(&mut text, (4.0, at + 4.0), name);
    }
    for nodes in [100.0, 300.0, 1_000.0, 3_000.0, 10_000.0] {
        label(&mut text, (x(nodes) - 14.0, BOTTOM + 20.0), &format!("{nodes:.0}"));
    }
    let curves = [(routes, 1, OURS), (routes, 2, FLOOR), (tunnel, 1, OURS_TUNNEL), (tunnel, 2, FLOOR_TUNNEL)];
    for (points, index, colour) in curves.into_iter().filter(|(points, ..)| !points.is_empty()) {
        let at =
            |point: &Point| point.get(index).map(|ms| (x(point.first().copied().unwrap_or(100.0)), y(*ms)));
        let path: Vec<String> = points.iter().filter_map(at).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        writeln!(
            text,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join(" ")
        )
        .ok();
    }
    legend(
        &mut text,
        &[
            ("host-gw, from etcd", OURS),
            ("a bare netlink loop", FLOOR),
            ("vxlan, from etcd", OURS_TUNNEL),
            ("a bare netlink loop", FLOOR_TUNNEL),
        ],
    );
    text + "</svg>\n"
}

fn histogram(repairs: &[f64]) -> String {
    let mut counts = [0u32; BINS.len()];
    for time in repairs {
        if let Some(count) = BINS.iter().position(|end| time <= end).and_then(|bin| counts.get_mut(bin)) {
            *count += 1;
        }
    }
    let most = f64::from(counts.iter().copied().max().unwrap_or(1).max(1));
    let series = Series::of(repairs.iter().copied());
    let mut text = head(&format!(
        "Repair times of {} injuries: median {:.1} ms, p99 {:.1} ms, longest {:.1} ms",
        repairs.len(),
        series.median(),
        series.p99(),
        series.max()
    ));
    let pitch = (RIGHT - LEFT) / 9.0;
    let mut x = LEFT;
    for (end, count) in BINS.iter().zip(counts) {
        let height = (BOTTOM - TOP) * f64::from(count) / most;
        let (top, width) = (BOTTOM - height, pitch - 8.0);
        writeln!(text, "<rect x=\"{x:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"2\" fill=\"{OURS}\"/>").ok();
        label(&mut text, (x + 4.0, top - 5.0), &count.to_string());
        let name = if end.is_finite() { format!("≤ {end:.0} ms") } else { "more".to_owned() };
        label(&mut text, (x + 4.0, BOTTOM + 20.0), &name);
        x += pitch;
    }
    text + "</svg>\n"
}

fn head(title: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {HEIGHT:.0}\" width=\"{WIDTH:.0}\" \
         height=\"{HEIGHT:.0}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"{TEXT}\">\n<title>{title}</title>\n\
         <text x=\"{LEFT:.0}\" y=\"20\">{title}</text>\n"
    )
}

fn line(text: &mut String, [x1, y1, x2, y2]: [f64; 4], colour: &str) {
    writeln!(text, "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\" stroke-opacity=\"0.3\"/>").ok();
}

fn label(text: &mut String, (x, y): (f64, f64), words: &str) {
    writeln!(text, "<text x=\"{x:.1}\" y=\"{y:.1}\">{words}</text>").ok();
}

fn legend(text: &mut String, names: &[(&str, &str)]) {
    let mut x = LEFT;
    for (name, colour) in names {
        writeln!(
            text,
            "<rect x=\"{x:.0}\" y=\"340\" width=\"12\" height=\"12\" rx=\"2\" fill=\"{colour}\"/>"
        )
        .ok();
        label(text, (x + 17.0, 350.0), name);
        x += 190.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Measure;

    #[test]
    fn a_cost_in_proportion_to_the_nodes_is_a_straight_line() {
        let figure = |nodes: u32, end: &str| {
            Figure::new(
                format!("{COLD}{nodes} leases{end}"),
                Measure::Milliseconds,
                &Series::of([f64::from(nodes) / 100.0]),
            )
            .floor(&Series::of([f64::from(nodes) / 200.0]), 2.0)
        };
        let tunnel = figure(1_000, TUNNEL);
        let (routes, tunnel) = points(&[figure(100, ""), figure(1_000, ""), figure(10_000, ""), tunnel]);
        assert_eq!(tunnel, [[1_000.0, 10.0, 5.0]]);
        let text = growth(&routes, &tunnel);
        assert!(text.contains("points=\"70.0,242.5 455.0,175.0 840.0,107.5\""), "{text}");
    }

    #[test]
    fn each_repair_is_in_one_bin() {
        let text = histogram(&[0.5, 1.0, 7.0, 7.5, 8.0, 1e6]);
        for count in [">2</text>", ">3</text>", ">1</text>"] {
            assert!(text.contains(count), "{text}");
        }
    }
}
