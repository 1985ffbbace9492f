//! Network namespaces: opened by path, entered by a closure that cannot help coming back.

use crate::{Error, error::During};
use nix::{
    errno::Errno,
    libc,
    sched::{CloneFlags, setns, unshare},
    sys::{
        stat::fstat,
        statfs::{FsType, NSFS_MAGIC, PROC_SUPER_MAGIC, fstatfs},
    },
};
use std::{
    fs::{File, TryLockError},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::fs::OpenOptionsExt,
    },
    panic,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

/// The namespace of the calling thread.
const OWN: &str = "/proc/thread-self/ns/net";
/// Threads here make a few system calls and run short closures.
const STACK: usize = 512 * 1024;

/// An open network namespace. It lives at least as long as this value.
#[derive(Debug)]
pub struct Netns {
    file: File,
    name: PathBuf,
}

impl Netns {
    /// Opens the namespace at a path (a bind mount, or a `/proc/<pid>/ns/net`).
    ///
    /// # Errors
    /// [`Error::NamespaceMissing`] if nothing is there, [`Error::NotANamespace`] if the file lies on another file
    /// system than nsfs or proc.
    pub fn open(path: &Path) -> Result<Self, Error> {
        // Non-blocking, for the path may lead to a pipe.
        let open = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path);
        let file = open.or_else(|e| match e.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) => Err(Error::NamespaceMissing { path: path.to_owned() }),
            _ => Err(e).during(|| format!("opening network namespace {}", path.display())),
        })?;
        let kind: FsType =
            fstatfs(&file).during(|| format!("examining {}", path.display()))?.filesystem_type();
        if kind != NSFS_MAGIC && kind != PROC_SUPER_MAGIC {
            return Err(Error::NotANamespace { path: path.to_owned() });
        }
        Ok(Self { file, name: path.to_owned() })
    }

    /// The namespace of the calling thread.
    pub fn current() -> Result<Self, Error> {
        let name = Path::new(OWN);
        let file = File::open(name).during(|| format!("opening network namespace {OWN}"))?;
        Ok(Self { file, name: name.to_owned() })
    }

    /// A new namespace that has no name anywhere: it ends with the last thing that holds it.
    pub fn new_nameless() -> Result<Self, Error> {
        on_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).during(|| "making a network namespace".into())?;
            Self::current()
        })?
    }

    /// Whether both are one and the same namespace.
    pub fn is_same(&self, other: &Self) -> Result<bool, Error> {
        Ok(self.identity()? == other.identity()?)
    }

    /// Runs `f` inside the namespace, on a thread that ends with it; the calling thread never leaves its own.
    /// A panic of `f` goes on in the caller.
    ///
    /// # Errors
    /// If no thread can be started, or the namespace cannot be entered (no rights; not a *network* namespace).
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T, Error> {
        on_thread(|| {
            self.enter()?;
            Ok(f())
        })?
    }

    /// Runs `f` inside the namespace on the calling thread, and comes back. For a short visit of a program with one
    /// thread: a thread of its own ([`Netns::run`]) costs some 0.15 ms, mostly page faults. The way back is opened
    /// before the visit begins and is taken however `f` ends.
    ///
    /// # Errors
    /// If the namespace cannot be entered. A way back that fails ends the process: nothing that it would do from
    /// then on would happen where it is meant to.
    pub fn visit<T>(&self, f: impl FnOnce() -> T) -> Result<T, Error> {
        self.visit_from(&Self::current()?, f)
    }

    /// As [`Netns::visit`], from a `home` that the caller has open: the namespace of the calling thread.
    pub fn visit_from<T>(&self, home: &Self, f: impl FnOnce() -> T) -> Result<T, Error> {
        let _home = Home(home);
        self.enter()?;
        Ok(f())
    }

    /// Keeps out all others who ask the same way, for what looks first and acts then: flock(2) on the namespace's own
    /// file, which is one file whatever path led to it. It ends with the value, and with the process.
    ///
    /// # Errors
    /// `EBUSY` if somebody else still holds it after `patience`.
    pub fn hold(&self, patience: Duration) -> Result<Hold, Error> {
        let doing = || format!("waiting for those who work in network namespace {}", self.name.display());
        // The lock is that of an opening, and this one's is nobody else's.
        let file = File::open(self.path()).during(doing)?;
        match file.try_lock() {
            Ok(()) => Ok(Hold(file)),
            Err(TryLockError::Error(error)) => Err(error).during(doing),
            Err(TryLockError::WouldBlock) => {
                let held = wait_for_lock(file).during(doing)?;
                held.recv_timeout(patience).unwrap_or_else(|_| Err(Errno::EBUSY.into())).during(doing)
            }
        }
    }

    /// Moves the calling thread inside. Only here does it come out what kind of namespace the file is.
    fn enter(&self) -> Result<(), Error> {
        match setns(&self.file, CloneFlags::CLONE_NEWNET) {
            Err(Errno::EINVAL) => Err(Error::NotANamespace { path: self.name.clone() }),
            outcome => outcome.during(|| format!("entering network namespace {}", self.name.display())),
        }
    }

    /// A path that leads to it while this value and this process live; other processes may open it too.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()))
    }

    /// Device and inode, which no two living namespaces share.
    fn identity(&self) -> Result<(u64, u64), Error> {
        let stat = fstat(&self.file).during(|| format!("examining {}", self.name.display()))?;
        Ok((stat.st_dev, stat.st_ino))
    }
}

/// A namespace that one holds: others wait in [`Netns::hold`] until this is dropped.
#[derive(Debug)]
pub struct Hold(File);

impl Drop for Hold {
    fn drop(&mut self) {
        // Closing it would not do: a child may have it open. What cannot be let go ends with the process.
        self.0.unlock().ok();
    }
}

/// Waits in flock(2) on a thread of its own, since the call has no deadline. Who gives up first leaves a thread that gets the
/// lock some day, finds nobody listening and drops it.
fn wait_for_lock(file: File) -> io::Result<mpsc::Receiver<io::Result<Hold>>> {
    let (sender, receiver) = mpsc::channel();
    let wait = move || {
        let outcome = loop {
            match file.lock() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => break outcome,
            }
        };
        // An error here means that nobody listens any more.
        sender.send(outcome.map(|()| Hold(file))).ok();
    };
    thread::Builder::new().stack_size(STACK).spawn(wait)?;
    Ok(receiver)
}

/// Where a visit came from, and returns to when this is dropped.
struct Home<'a>(&'a Netns);

impl Drop for Home<'_> {
    fn drop(&mut self) {
        if setns(&self.0.file, CloneFlags::CLONE_NEWNET).is_err() {
            std::process::abort();
        }
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Runs `f` on a thread of its own and waits for it.
fn on_thread<T: Send>(f: impl FnOnce() -> T + Send) -> Result<T, Error> {
    thread::scope(|scope| {
        let worker = thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, f)
            .during(|| "starting a thread for a network namespace".into())?;
        worker.join().map_err(|payload| panic::resume_unwind(payload))
    })
}
