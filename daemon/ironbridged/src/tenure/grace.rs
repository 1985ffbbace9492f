//! Whether a store that lacks leases is believed.

use std::time::{Duration, Instant};

use crate::settle::Removals;
use crate::store::{ConfigKey, StoreError};

/// How long peers get to put their leases back after the store lost data, before their routes may go.
const GRACE: Duration = Duration::from_secs(15);

/// Decides whether a store that lacks leases is believed.
#[derive(Debug, Default)]
pub struct Grace {
    until: Option<Instant>,
    config_was_gone: bool,
}

impl Grace {
    /// A store without its network configuration, or without this node's own lease, lost more than one node's lease by
    /// that node's leaving. The others put theirs back as this node does; their routes wait for it.
    pub fn judge(&mut self, config: ConfigKey, own: Own, now: Instant) -> Removals {
        if config == ConfigKey::Absent {
            self.config_was_gone = true;
            return Removals::Held;
        }
        if own == Own::Missing || std::mem::take(&mut self.config_was_gone) {
            self.until = Some(now + GRACE);
        }
        self.until.filter(|until| *until > now).map_or(Removals::Allowed, Removals::HeldUntil)
    }
}

/// Whether a snapshot has this node's lease, whoever it names as its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    Present,
    Missing,
}

impl From<&Result<(), StoreError>> for Own {
    fn from(checked: &Result<(), StoreError>) -> Self {
        if matches!(checked, Err(StoreError::Gone { .. })) { Own::Missing } else { Own::Present }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_outlive_a_store_that_lost_its_data_until_the_nodes_are_back() {
        let start = Instant::now();
        let mut grace = Grace::default();
        assert_eq!(grace.judge(ConfigKey::Present, Own::Present, start), Removals::Allowed);
        assert_eq!(grace.judge(ConfigKey::Absent, Own::Missing, start), Removals::Held);
        assert_eq!(grace.judge(ConfigKey::Absent, Own::Present, start + GRACE * 9), Removals::Held);
        let back = start + GRACE * 10;
        let until = Removals::HeldUntil(back + GRACE);
        assert_eq!(grace.judge(ConfigKey::Present, Own::Present, back), until);
        assert_eq!(grace.judge(ConfigKey::Present, Own::Present, back + GRACE / 2), until);
        assert_eq!(grace.judge(ConfigKey::Present, Own::Present, back + GRACE), Removals::Allowed);
    }

    #[test]
    fn leases_deleted_together_with_ours_get_time_to_come_back() {
        let start = Instant::now();
        let mut grace = Grace::default();
        let held = Removals::HeldUntil(start + GRACE);
        assert_eq!(grace.judge(ConfigKey::Present, Own::Missing, start), held);
        assert_eq!(grace.judge(ConfigKey::Present, Own::Present, start + GRACE / 2), held);
    }
}
