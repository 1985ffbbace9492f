//! Findings that stay until they are mended: each is logged once when it comes and once when it goes.

use std::collections::BTreeSet;

/// The findings of the last pass.
#[derive(Debug, Default)]
pub struct Problems(BTreeSet<String>);

impl Problems {
    /// Takes the findings of a new pass; logs the difference.
    pub fn update(&mut self, found: impl IntoIterator<Item = String>) {
        let found: BTreeSet<String> = found.into_iter().collect();
        for new in found.difference(&self.0) {
            tracing::warn!("{new}");
        }
        for gone in self.0.difference(&found) {
            tracing::info!("no longer: {gone}");
        }
        self.0 = found;
    }

    /// The present ones.
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().cloned().collect()
    }
}
