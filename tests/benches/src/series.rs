//! Many measurements of one thing, and what is told of them.

/// One run of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sample {
    /// From before the spawn to after the wait, in milliseconds.
    pub wall: f64,
    /// User and system time of the process and the children it waited for, in milliseconds.
    pub cpu: f64,
}

/// Samples in the order they were taken.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    samples: Vec<Sample>,
}

impl Series {
    /// Adds one.
    pub fn push(&mut self, sample: Sample) {
        self.samples.push(sample);
    }

    /// A series of plain values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        Self { samples: values.into_iter().map(|wall| Sample { wall, cpu: 0.0 }).collect() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// The smallest.
    pub fn min(&self) -> f64 {
        self.quantile(0.0, |sample| sample.wall)
    }

    /// The largest.
    pub fn max(&self) -> f64 {
        self.quantile(1.0, |sample| sample.wall)
    }

    /// The middle one.
    pub fn median(&self) -> f64 {
        self.quantile(0.5, |sample| sample.wall)
    }

    /// The one that nine of ten do not exceed.
    pub fn p90(&self) -> f64 {
        self.quantile(0.9, |sample| sample.wall)
    }

    /// The one that 99 of a hundred do not exceed.
    pub fn p99(&self) -> f64 {
        self.quantile(0.99, |sample| sample.wall)
    }

    /// All values, in the order they were taken.
    pub fn values(&self) -> impl Iterator<Item = f64> {
        self.samples.iter().map(|sample| sample.wall)
    }

    /// The middle one of the CPU times.
    pub fn cpu(&self) -> f64 {
        self.quantile(0.5, |sample| sample.cpu)
    }

    /// By the nearest rank; not a number for an empty series.
    fn quantile(&self, part: f64, of: impl Fn(&Sample) -> f64) -> f64 {
        let mut values: Vec<f64> = self.samples.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rank lies between 0 and the number of samples"
        )]
        let rank = (part * values.len() as f64).ceil() as usize;
        values.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_by_nearest_rank() {
        let series = Series::of((1..=10).rev().map(f64::from));
        let told = [series.min(), series.median(), series.p90(), series.max()];
        assert_eq!(told.map(|value| format!("{value}")), ["1", "5", "9", "10"]);
        assert!(Series::default().median().is_nan());
    }
}
