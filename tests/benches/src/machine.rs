//! What the figures were measured on.

use std::fs;

/// Processor, kernel, and how busy the machine was.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Seconds since 1970.
    date: u64,
    processors: usize,
    model: String,
    kernel: String,
    load: String,
}

impl Machine {
    /// As it is.
    pub fn now() -> Self {
        let date = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let cpuinfo = read("/proc/cpuinfo");
        let models = || cpuinfo.lines().filter_map(|line| line.strip_prefix("model name"));
        let model = models().next().unwrap_or_default().trim_start_matches(['\t', ' ', ':']);
        Self {
            date: date.map_or(0, |since| since.as_secs()),
            processors: models().count(),
            model: model.to_owned(),
            kernel: read("/proc/sys/kernel/osrelease"),
            load: load(),
        }
    }

    /// One sentence; the load is told as it was at the start and is now.
    pub fn sentence(&self) -> String {
        let Self { processors, model, kernel, load: before, .. } = self;
        let (date, after) = (date(self.date), load());
        format!(
            "Measured on {date} on {processors} × {model}, Linux {kernel}; load average {before} before, {after} after."
        )
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn load() -> String {
    read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned()
}

/// The day in UTC, by Howard Hinnant's `civil_from_days`.
fn date(seconds: u64) -> String {
    let days = seconds / 86_400 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        let told = [0, 951_782_400, 1_795_301_365].map(date);
        assert_eq!(told, ["1970-01-01", "2000-02-29", "2026-11-21"]);
    }
}
