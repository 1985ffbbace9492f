//! Which boot this is, and since when by the wall clock: a reservation of an earlier boot belongs to a sandbox that is gone.
use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// What the plugin reads of the machine it runs on. Tests put files of their own in place, to boot it anew.
#[derive(Debug, Clone)]
pub struct Host {
    /// The kernel's identifier of this boot (random(4)).
    pub boot_id: PathBuf,
    /// The file with a `btime` line: when this boot began, by today's wall clock (proc(5)).
    pub stat: PathBuf,
    /// A file that the kernel made as it started and that nobody modifies: it shows what the wall clock said then.
    pub witness: PathBuf,
    /// How long to wait for the holder of a network's lock.
    pub patience: Duration,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            boot_id: PathBuf::from("/proc/sys/kernel/random/boot_id"),
            stat: PathBuf::from("/proc/stat"),
            // A devtmpfs node; writing to the null device does not touch its modification time.
            witness: PathBuf::from("/dev/null"),
            // The reference needs half a second under the lock at 50,000 reservations: this is a queue of sixty such.
            patience: Duration::from_secs(30),
        }
    }
}

/// How far two statements about one moment may differ and still agree; also the least age that is beyond doubt.
const MARGIN: Duration = Duration::from_mins(1);

impl Host {
    /// The identifier of this boot; `None` where the kernel does not show it.
    #[must_use]
    pub fn boot_id(&self) -> Option<String> {
        let mut text = [0; 64];
        let length = File::open(&self.boot_id).and_then(|mut file| file.read(&mut text)).ok()?;
        let id = str::from_utf8(text.get(..length)?).ok()?.trim();
        let is_plain = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        is_plain.then(|| id.to_owned())
    }

    /// A moment of the wall clock such that whatever was written before it was written in an earlier boot.
    ///
    /// `None` when that cannot be told: `btime` is today's clock minus the uptime, so that a clock which was set after
    /// the boot (no battery, a restored machine snapshot) moves it over files that are of this boot. The witness shows
    /// the clock as it was at the start; only when both agree has the clock not been set in between.
    #[must_use]
    pub fn nothing_of_this_boot_before(&self) -> Option<SystemTime> {
        let stat = fs::read_to_string(&self.stat).ok()?;
        let seconds = stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())?;
        let began = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
        let clock_then = fs::metadata(&self.witness).and_then(|found| found.modified()).ok()?;
        let apart = began.duration_since(clock_then).unwrap_or_else(|reversed| reversed.duration());
        if apart > MARGIN { None } else { began.checked_sub(MARGIN) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(btime: u64, witness: u64) -> (tempfile::TempDir, Host) {
        let dir = tempfile::tempdir().unwrap();
        let host = Host {
            boot_id: dir.path().join("boot_id"),
            stat: dir.path().join("stat"),
            witness: dir.path().join("witness"),
            ..Host::default()
        };
        fs::write(&host.stat, format!("cpu  1 2 3\nbtime {btime}\nprocesses 7\n")).unwrap();
        let started = SystemTime::UNIX_EPOCH + Duration::from_secs(witness);
        File::create(&host.witness).unwrap().set_modified(started).unwrap();
        (dir, host)
    }

    #[test]
    fn a_clock_that_was_set_after_the_boot_says_nothing() {
        let (_dir, host_in_step) = host(1_700_000_000, 1_700_000_002);
        let moment = host_in_step.nothing_of_this_boot_before().unwrap();
        assert_eq!(moment, SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 - 60));
        let (_dir, set_forward) = host(1_700_000_000, 1_600_000_000);
        assert_eq!(set_forward.nothing_of_this_boot_before(), None);
        let (_dir, set_back) = host(1_600_000_000, 1_700_000_000);
        assert_eq!(set_back.nothing_of_this_boot_before(), None);
        fs::remove_file(&host_in_step.witness).unwrap();
        assert_eq!(host_in_step.nothing_of_this_boot_before(), None, "no witness");
    }

    #[test]
    fn the_running_kernel_has_a_boot_id() {
        assert_eq!(Host::default().boot_id().map(|id| id.len()), Some(36));
        assert_eq!(host(1, 1).1.boot_id(), None);
    }
}
