//! Tables and ages for people.

use std::time::Duration;

/// Lines of cells as text, each column as wide as its widest cell.
pub fn aligned<const COLUMNS: usize>(lines: &[[String; COLUMNS]]) -> String {
    let width =
        |column: usize| lines.iter().filter_map(|l| l.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..COLUMNS).map(|column| width(column).unwrap_or(0)).collect();
    let row = |line: &[String; COLUMNS]| {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, w)| format!("{cell:<w$}")).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    lines.iter().map(row).collect()
}

/// A time in its largest whole unit.
pub fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        let at = |seconds| age(Duration::from_secs(seconds));
        assert_eq!([at(59), at(60), at(7200), at(86400 * 3)], ["59 s", "1 min", "2 h", "3 d"]);
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let line = |cells: [&str; 2]| cells.map(str::to_owned);
        assert_eq!(aligned(&[line(["A", "B"]), line(["long", ""])]), "A     B\nlong\n");
    }
}
