//! The one rule about the sandbox that holds for every plugin: it is not the plugin's own namespace.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::refusal::Refusal;

/// Refuses a sandbox that is the namespace of this thread. The reference asks this after it has acted
/// (contract §7); a sandbox that cannot be looked at is left to the plugin, so that DEL may find it gone.
pub(crate) fn refuse_own(sandbox: &str) -> Result<(), Refusal> {
    let Some(theirs) = identity(Path::new(sandbox)).ok() else { return Ok(()) };
    let own =
        identity(Path::new("/proc/thread-self/ns/net")).map_err(|cause| Refusal::NoOwnNetns { cause })?;
    if theirs == own { Err(Refusal::OwnNetns { path: sandbox.to_owned() }) } else { Ok(()) }
}

/// Device and inode: what makes two paths the same file.
pub(crate) fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_namespace_is_refused_under_any_path() {
        for path in ["/proc/self/ns/net", "/proc/thread-self/ns/net"] {
            assert!(matches!(refuse_own(path), Err(Refusal::OwnNetns { .. })), "{path}");
        }
    }

    #[test]
    fn what_is_not_there_or_not_a_namespace_is_left_to_the_plugin() {
        for path in ["", "/var/run/netns/gone", "/proc/self/ns/uts", "/dev/null", "dummy"] {
            assert!(refuse_own(path).is_ok(), "{path}");
        }
    }
}
