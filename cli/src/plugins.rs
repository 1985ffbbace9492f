//! The plugins that this binary is, by name.

use std::ffi::OsStr;

use cni::Plugin;

/// All of them; a delegate that is found here and lies in this very file is called without an exec.
pub const ALL: &[&dyn Plugin] = &[
    &bandwidth::Bandwidth,
    &bridge::Bridge,
    &firewall::Firewall,
    &flannel::Flannel,
    &host_local::HostLocal,
    &loopback::Loopback,
    &portmap::Portmap,
    &sbr::Sbr,
    &tuning::Tuning,
    &vrf::Vrf,
];

/// The plugin of a name.
pub fn named(name: &OsStr) -> Option<&'static dyn Plugin> {
    ALL.iter().copied().find(|plugin| name == plugin.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plugin_is_found_by_its_name_and_by_no_other() {
        for plugin in ALL {
            assert_eq!(named(OsStr::new(plugin.name())).map(Plugin::name), Some(plugin.name()));
        }
        for other in ["ironbridge", "", "Bridge", "bridge "] {
            assert!(named(OsStr::new(other)).is_none(), "{other}");
        }
    }
}
