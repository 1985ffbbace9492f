//! One line of the table: what was measured on each side, and the limits it is held against.

use crate::series::Series;

/// What the numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Milliseconds; fewer are better.
    Milliseconds,
    /// Microseconds; fewer are better.
    Microseconds,
    /// Runs a second; more are better.
    PerSecond,
    /// Things that are counted; fewer are better.
    Count,
}

/// A limit on the ratio of ours to another side.
#[derive(Debug, Clone, PartialEq)]
pub struct Beside {
    /// What it is compared with, where that is not the reference or the floor.
    pub what: &'static str,
    /// Its measurements.
    pub series: Series,
    /// At most that many times as much; for runs a second at least.
    pub limit: Option<f64>,
}

/// How a ratio stands to its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The medians keep it.
    Pass,
    /// Only the minima do, which other work on the machine disturbs least.
    PassByMinimum,
    /// Neither does.
    Over,
    /// There is none.
    Unlimited,
}

/// A line.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// The work.
    pub work: String,
    /// What the numbers are.
    pub measure: Measure,
    /// Ours.
    pub ours: Series,
    /// The reference plugins.
    pub reference: Option<Beside>,
    /// The floor, or what else is the least.
    pub floor: Option<Beside>,
    /// A limit on our own numbers.
    pub limit: Option<f64>,
}

impl Figure {
    /// A line of ours alone.
    pub fn new(work: impl Into<String>, measure: Measure, ours: &Series) -> Self {
        Self { work: work.into(), measure, ours: ours.clone(), reference: None, floor: None, limit: None }
    }

    /// Beside the reference, at most `limit` times as much.
    pub fn reference(self, series: &Series, limit: Option<f64>) -> Self {
        Self { reference: Some(Beside { what: "reference", series: series.clone(), limit }), ..self }
    }

    /// Beside the floor, at most `limit` times as much.
    pub fn floor(self, series: &Series, limit: f64) -> Self {
        self.least("floor", series, limit)
    }

    /// Beside something else that stands where the floor stands elsewhere.
    pub fn least(self, what: &'static str, series: &Series, limit: f64) -> Self {
        Self { floor: Some(Beside { what, series: series.clone(), limit: Some(limit) }), ..self }
    }

    /// At most that much.
    pub fn at_most(self, limit: f64) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// Ratios of the medians and of the best values, and what they say about the limit.
    pub fn ratio(&self, beside: &Beside) -> (f64, f64, Verdict) {
        let best = |series: &Series| match self.measure {
            Measure::PerSecond => series.max(),
            Measure::Milliseconds | Measure::Microseconds | Measure::Count => series.min(),
        };
        let median = self.ours.median() / beside.series.median();
        let minimum = best(&self.ours) / best(&beside.series);
        let verdict = match beside.limit {
            None => Verdict::Unlimited,
            Some(limit) if self.keeps(median, limit) => Verdict::Pass,
            Some(limit) if self.keeps(minimum, limit) => Verdict::PassByMinimum,
            Some(_) => Verdict::Over,
        };
        (median, minimum, verdict)
    }

    /// How our own numbers stand to their limit.
    pub fn own_verdict(&self) -> Verdict {
        match self.limit {
            None => Verdict::Unlimited,
            Some(limit) if self.keeps(self.ours.median(), limit) => Verdict::Pass,
            Some(_) => Verdict::Over,
        }
    }

    fn keeps(&self, value: f64, limit: f64) -> bool {
        match self.measure {
            Measure::PerSecond => value >= limit,
            Measure::Milliseconds | Measure::Microseconds | Measure::Count => value <= limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(measure: Measure, ours: [f64; 3], limit: f64) -> Verdict {
        let figure = Figure::new("", measure, &Series::of(ours)).floor(&Series::of([2.0, 2.0, 2.0]), limit);
        figure.floor.as_ref().map_or(Verdict::Unlimited, |floor| figure.ratio(floor).2)
    }

    #[test]
    fn a_limit_is_held_by_medians_or_else_by_minima() {
        assert_eq!(verdict(Measure::Milliseconds, [2.0, 3.0, 9.0], 1.5), Verdict::Pass);
        assert_eq!(verdict(Measure::Milliseconds, [2.0, 4.0, 9.0], 1.5), Verdict::PassByMinimum);
        assert_eq!(verdict(Measure::Milliseconds, [4.0, 4.0, 9.0], 1.5), Verdict::Over);
    }

    #[test]
    fn of_rates_more_is_better() {
        assert_eq!(verdict(Measure::PerSecond, [1.0, 2.0, 2.0], 0.7), Verdict::Pass);
        assert_eq!(verdict(Measure::PerSecond, [1.0, 1.0, 1.0], 0.7), Verdict::Over);
    }
}
