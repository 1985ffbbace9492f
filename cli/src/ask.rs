//! Asking the daemon of this node what it knows: one connection to its status socket, one document.

use std::io::{self, ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use overlay::Overview;

/// Where the daemon answers unless it was told otherwise.
pub const SOCKET: &str = "/run/flannel/ironbridged.sock";
/// A daemon that hangs is not waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Ten thousand leases are three megabytes.
const LONGEST: u64 = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody made the socket, or nobody answers at it.
    #[error(
        "no daemon answers at {}: is ironbridged running (`systemctl status ironbridged`), and with this --status-socket?",
        .0.display()
    )]
    NoDaemon(PathBuf),
    /// The socket is there and not for us.
    #[error("cannot ask the daemon at {}: {source}", .path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Whoever answers is no daemon of ours.
    #[error("what answers at {} is no ironbridged: {source}", .path.display())]
    Answer {
        /// The socket.
        path: PathBuf,
        /// What is wrong with the document.
        source: serde_json::Error,
    },
}

/// The daemon's document.
pub fn ask(path: &Path) -> Result<Overview, AskError> {
    let failed = |source: io::Error| {
        if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) {
            return AskError::NoDaemon(path.to_owned());
        }
        AskError::Socket { path: path.to_owned(), source }
    };
    let mut stream = UnixStream::connect(path).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    let mut text = Vec::new();
    stream.by_ref().take(LONGEST).read_to_end(&mut text).map_err(failed)?;
    serde_json::from_slice(&text).map_err(|source| AskError::Answer { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixListener;

    #[test]
    fn each_way_of_having_no_answer_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        assert!(matches!(ask(&path), Err(AskError::NoDaemon(_))));
        let listener = UnixListener::bind(&path).unwrap();
        let answering = std::thread::spawn(move || {
            for text in ["hello", r#"{"pid":7,"of the future":[]}"#] {
                listener.accept().unwrap().0.write_all(text.as_bytes()).unwrap();
            }
        });
        assert!(matches!(ask(&path), Err(AskError::Answer { .. })));
        assert_eq!(ask(&path).unwrap().pid, 7);
        answering.join().unwrap();
        assert!(matches!(ask(&path), Err(AskError::NoDaemon(_))), "a socket that was left behind");
        assert!(matches!(ask(Path::new("/proc/self/mem/x")), Err(AskError::Socket { .. })));
    }
}
