//! `--keep` and `--cleanup`: a demo that outlives its command, in a place that is known.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kernel::Netns;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::error::{At, Doing, Error};
use super::interrupt::Interrupt;

/// Where a kept demo is: one at a time.
pub const DIRECTORY: &str = "/run/ironbridge-demo";
const NAMESPACES: &str = "netns";
const STATE: &str = "processes.json";
/// How long a process may take to end when it is asked to.
const ENDS_WITHIN: Duration = Duration::from_secs(3);

/// A process of a kept demo. Process IDs come round again; with its start it cannot be taken for another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    id: i32,
    /// Clock ticks since boot, field 22 of `/proc/<pid>/stat` (`proc_pid_stat(5)`).
    start: String,
}

/// Refuses a second kept demo.
pub fn refuse_second() -> Result<(), Error> {
    let path = PathBuf::from(DIRECTORY);
    if path.exists() { Err(Error::Kept { path }) } else { Ok(()) }
}

/// Writes down which processes there are, so that they can be ended whatever happens to this one.
pub fn record(directory: &Path, processes: impl Iterator<Item = u32>) -> Result<(), Error> {
    let kept: Vec<Kept> = processes
        .filter_map(|id| i32::try_from(id).ok())
        .filter_map(|id| Some(Kept { id, start: start_of(id)? }))
        .collect();
    let path = directory.join(STATE);
    let file = File::create(&path).at("write", &path)?;
    serde_json::to_writer(file, &kept).map_err(std::io::Error::from).at("write", &path)
}

/// Namespaces with a name, which live until [`clean_up`]; dropped before [`Names::keep`], they lose it again.
#[derive(Debug, Default)]
pub struct Names {
    mounted: Vec<PathBuf>,
    kept: bool,
}

impl Names {
    /// Binds a namespace to a file, as `ip netns` does.
    pub fn give(&mut self, directory: &Path, name: &str, netns: &Netns) -> Result<(), Error> {
        let parent = directory.join(NAMESPACES);
        fs::create_dir_all(&parent).at("create", &parent)?;
        let path = parent.join(name);
        File::create(&path).at("create", &path)?;
        mount(Some(&netns.path()), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .doing("name a network namespace")?;
        self.mounted.push(path);
        Ok(())
    }

    /// Lets them be.
    pub fn keep(&mut self) {
        self.kept = true;
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        for path in self.mounted.iter().filter(|_| !self.kept) {
            // What is left of it, `--cleanup` removes.
            umount2(path, MntFlags::MNT_DETACH).ok();
        }
    }
}

/// Path of a named namespace.
pub fn path_of(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(NAMESPACES).join(name)
}

/// Ends a kept demo. `false` where there is none.
pub fn clean_up(interrupt: &Interrupt) -> Result<bool, Error> {
    let directory = Path::new(DIRECTORY);
    if !directory.exists() {
        return Ok(false);
    }
    let text = fs::read(directory.join(STATE)).unwrap_or_default();
    let processes: Vec<Kept> = serde_json::from_slice(&text).unwrap_or_default();
    for kept in processes.iter().filter(|kept| start_of(kept.id).as_ref() == Some(&kept.start)) {
        end(kept, interrupt)?;
    }
    let namespaces = directory.join(NAMESPACES);
    for entry in fs::read_dir(&namespaces).into_iter().flatten().flatten() {
        // EINVAL: its file was made, and the mount was not.
        umount2(&entry.path(), MntFlags::MNT_DETACH).ok();
    }
    fs::remove_dir_all(directory).at("remove", directory)?;
    Ok(true)
}

/// Ends a process that is no child of ours, politely first.
fn end(kept: &Kept, interrupt: &Interrupt) -> Result<(), Error> {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        // ESRCH: it has ended, which is what is wanted.
        kill(Pid::from_raw(kept.id), signal).ok();
        let deadline = Instant::now() + ENDS_WITHIN;
        let is_over = || Ok((start_of(kept.id).as_ref() != Some(&kept.start)).then_some(()));
        if interrupt.until(deadline, is_over)?.is_some() {
            return Ok(());
        }
    }
    let source = std::io::Error::other("it did not end when it was killed");
    Err(Error::Io { doing: "end", path: PathBuf::from(format!("/proc/{}", kept.id)), source })
}

/// When a process was started; `None` if there is none of that number, or it has ended and nobody took notice.
fn start_of(id: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name, field 2, is in parentheses and may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let is_over = fields.next()? == "Z";
    fields.nth(18).filter(|_| !is_over).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start() {
        let own = i32::try_from(std::process::id()).unwrap();
        let start = start_of(own).unwrap();
        assert!(start.parse::<u64>().unwrap() > 0);
        let line = fs::read_to_string("/proc/self/stat").unwrap();
        assert_eq!(line.split(' ').nth(21), Some(start.as_str()));
        assert_eq!(start_of(4_194_305), None);
    }

    #[test]
    fn what_is_recorded_can_be_read_again() {
        let dir = tempfile::tempdir().unwrap();
        record(dir.path(), [std::process::id(), 4_194_305].into_iter()).unwrap();
        let kept: Vec<Kept> = serde_json::from_slice(&fs::read(dir.path().join(STATE)).unwrap()).unwrap();
        assert_eq!(kept.len(), 1, "one that has ended is not recorded");
    }
}
