//! The demo's picture and its tables, as text. Pure.

use std::fmt::Write;

use super::traffic::Row;
use super::view::View;

/// Boxes side by side.
const COLUMNS: usize = 3;
const GAP: &str = "  ";
/// Routes that a box shows; a cluster has one for each other node.
const ROUTES: usize = 4;

/// The nodes on their underlay.
pub fn picture(views: &[View], underlay: &str, outside: &str) -> String {
    let contents: Vec<Vec<String>> = views.iter().map(content).collect();
    let widest = contents.iter().flatten().map(|line| width(line)).max().unwrap_or(0);
    let line = "═".repeat(
        (widest + 4) * COLUMNS.min(views.len()) + GAP.len() * (COLUMNS.min(views.len()).saturating_sub(1)),
    );
    let mut text = format!("  outside {outside} (knows no pod)\n     ║\n{line}  underlay {underlay}\n");
    for row in contents.chunks(COLUMNS) {
        let boxes: Vec<Vec<String>> = row.iter().map(|lines| boxed(lines, (widest, tallest(row)))).collect();
        for i in 0..boxes.iter().map(Vec::len).max().unwrap_or(0) {
            let cells: Vec<&str> = boxes.iter().filter_map(|b| b.get(i)).map(String::as_str).collect();
            text.push_str(cells.join(GAP).trim_end());
            text.push('\n');
        }
    }
    text
}

fn tallest(row: &[Vec<String>]) -> usize {
    row.iter().map(Vec::len).max().unwrap_or(0)
}

fn content(view: &View) -> Vec<String> {
    let mut lines = vec![
        format!("{}  {}", view.name, view.address),
        format!("subnet {}", view.subnet),
        format!("bridge cni0 {}", view.gateway),
    ];
    let last = view.pods.len().saturating_sub(1);
    for (i, (name, address)) in view.pods.iter().enumerate() {
        lines.push(format!("{} {name}  {address}", if i == last { "└─" } else { "├─" }));
    }
    lines
        .extend(view.routes.iter().take(ROUTES).map(|(destination, hop)| format!("{destination} via {hop}")));
    let more = view.routes.len().saturating_sub(ROUTES);
    if more > 0 {
        lines.push(format!("and {more} more routes"));
    }
    lines
}

/// A box that hangs on the underlay.
fn boxed(lines: &[String], (width_of, height): (usize, usize)) -> Vec<String> {
    let edge = "─".repeat(width_of + 2);
    let top: String = edge.chars().enumerate().map(|(i, c)| if i == 3 { '╨' } else { c }).collect();
    let mut all = vec![format!("┌{top}┐")];
    for i in 0..height {
        let line = lines.get(i).map_or("", String::as_str);
        all.push(format!("│ {line}{} │", " ".repeat(width_of.saturating_sub(width(line)))));
    }
    all.push(format!("└{edge}┘"));
    all
}

/// The traffic, a line a row.
pub fn traffic(rows: &[Row]) -> String {
    let mut lines = vec![["", "from", "to", "path"].map(str::to_owned).to_vec()];
    for row in rows {
        let mark = if row.passed() { "✔" } else { "✘" };
        let mut cells = [mark, &row.from, &row.to, row.path.name()].map(str::to_owned).to_vec();
        cells.extend(row.outcomes.iter().map(|(protocol, outcome)| match outcome {
            Ok(remark) => format!("{protocol} {remark}"),
            Err(reason) => format!("{protocol} FAILED: {reason}"),
        }));
        lines.push(cells);
    }
    table(&lines)
}

fn table(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|c| lines.iter().filter_map(|line| line.get(c)).map(|cell| width(cell)).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for line in lines {
        let padded: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(cell, w)| format!("{cell}{}", " ".repeat(w.saturating_sub(width(cell)))))
            .collect();
        // Writing to a string cannot fail.
        writeln!(text, "{}", padded.join(GAP).trim_end()).ok();
    }
    text
}

/// Every character that is drawn here takes one column.
fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::super::traffic::Path;
    use super::*;

    fn view(name: &str, pods: usize) -> View {
        View {
            name: name.into(),
            address: "192.0.2.11".into(),
            subnet: "10.42.7.0/24".into(),
            gateway: "10.42.7.1".into(),
            pods: (2..2 + pods).map(|i| (format!("p{i}"), format!("10.42.7.{i}"))).collect(),
            routes: vec![("10.42.9.0/24".into(), "192.0.2.12".into())],
        }
    }

    #[test]
    fn a_node_hangs_on_the_underlay() {
        let text = picture(&[view("node1", 2), view("node2", 1)], "192.0.2.0/24", "198.51.100.1");
        let expected = "  outside 198.51.100.1 (knows no pod)
     ║
════════════════════════════════════════════════════════════════  underlay 192.0.2.0/24
┌───╨─────────────────────────┐  ┌───╨─────────────────────────┐
│ node1  192.0.2.11           │  │ node2  192.0.2.11           │
│ subnet 10.42.7.0/24         │  │ subnet 10.42.7.0/24         │
│ bridge cni0 10.42.7.1       │  │ bridge cni0 10.42.7.1       │
│ ├─ p2  10.42.7.2            │  │ └─ p2  10.42.7.2            │
│ └─ p3  10.42.7.3            │  │ 10.42.9.0/24 via 192.0.2.12 │
│ 10.42.9.0/24 via 192.0.2.12 │  │                             │
└─────────────────────────────┘  └─────────────────────────────┘
";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_big_clusters_boxes_stay_small() {
        let mut big = view("node1", 1);
        big.routes = vec![("10.42.9.0/24".into(), "192.0.2.12".into()); 31];
        let text = picture(&[big], "192.0.2.0/24", "198.51.100.1");
        assert_eq!(text.matches(" via ").count(), ROUTES);
        assert!(text.contains("and 27 more routes"));
    }

    #[test]
    fn a_failure_is_marked_and_says_why() {
        let row = |outcome| Row {
            from: "a".into(),
            to: "b".into(),
            path: Path::OtherNode,
            outcomes: vec![("TCP", outcome)],
        };
        let text = traffic(&[row(Ok("from 10.0.0.1".into())), row(Err("no answer".into()))]);
        assert_eq!(
            text,
            "   from  to  path\n✔  a     b   other node  TCP from 10.0.0.1\n✘  a     b   other node  TCP FAILED: no answer\n"
        );
    }
}
