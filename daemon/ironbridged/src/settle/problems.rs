//! Findings that stay until they are mended: each is logged once when it comes and once when it goes.

use std::collections::BTreeSet;

/// More lines than this for one pass help nobody: an uplink without its network makes a finding of each peer.
const LINES: usize = 20;

/// More findings than this are counted, not listed.
const LISTED: usize = 100;

/// The findings of the last pass.
#[derive(Debug, Default)]
pub struct Problems(BTreeSet<String>);

impl Problems {
    /// Takes the findings of a new pass; logs the difference.
    pub fn update(&mut self, found: impl IntoIterator<Item = String>) {
        let found: BTreeSet<String> = found.into_iter().collect();
        for new in found.difference(&self.0).take(LINES) {
            tracing::warn!("{new}");
        }
        for gone in self.0.difference(&found).take(LINES) {
            tracing::info!("no longer: {gone}");
        }
        let (came, went) = (found.difference(&self.0).count(), self.0.difference(&found).count());
        if came.max(went) > LINES {
            tracing::warn!(
                came,
                went,
                "only the first findings of each kind are in the log; /readyz has more"
            );
        }
        self.0 = found;
    }

    /// The present ones, and how many more there are.
    pub fn texts(&self) -> Vec<String> {
        let mut texts: Vec<String> = self.0.iter().take(LISTED).cloned().collect();
        if let more @ 1.. = self.0.len().saturating_sub(LISTED) {
            texts.push(format!("and {more} more"));
        }
        texts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_of_findings_are_counted_and_the_first_are_named() {
        let mut problems = Problems::default();
        problems.update((0..5000).map(|n| format!("peer {n:04}")));
        let texts = problems.texts();
        assert_eq!((texts.len(), texts[0].as_str()), (LISTED + 1, "peer 0000"));
        assert_eq!(texts[LISTED], "and 4900 more");
        problems.update(["one".to_owned()]);
        assert_eq!(problems.texts(), ["one"]);
    }
}
