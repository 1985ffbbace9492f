//! The status socket: whoever connects gets the whole document as JSON, and the connection ends.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::Sight;

/// Root and root's group. An administrator may give the file to another group.
const MODE: u32 = 0o660;
/// How many are answered at once; the others wait.
const READERS: usize = 4;
/// Who does not read is not waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error("another daemon answers at {}: give this one a --status-socket of its own", .0.display())]
    InUse(PathBuf),
    #[error("cannot {doing} {}: {source}", path.display())]
    File { doing: &'static str, path: PathBuf, source: io::Error },
}

/// Makes the socket and answers as long as the runtime lives.
pub fn serve(path: &Path, sight: Sight) -> Result<(), SocketError> {
    let listener = listen(path)?;
    let born = Instant::now();
    let readers = Arc::new(Semaphore::new(READERS));
    tokio::spawn(async move {
        loop {
            let Ok(turn) = readers.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let sight = sight.clone();
                    tokio::spawn(async move {
                        answer(stream, sight, born).await;
                        drop(turn);
                    });
                }
                // Out of descriptors, most likely: not for ever.
                Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        }
    });
    Ok(())
}

async fn answer(mut stream: UnixStream, sight: Sight, born: Instant) {
    let ends = sight.ends().await;
    let document = spawn_blocking(move || serde_json::to_vec(&sight.overview(born, &ends)));
    let Ok(Ok(mut text)) = document.await else { return };
    text.push(b'\n');
    // Whoever left without reading has nothing to be told.
    timeout(PATIENCE, async { stream.write_all(&text).await }).await.ok();
}

/// A socket that an earlier life left behind is replaced in one step; one that answers is not ours to take.
fn listen(path: &Path) -> Result<UnixListener, SocketError> {
    let failed = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| SocketError::File { doing, path, source }
    };
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(SocketError::InUse(path.to_owned()));
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(failed("create", folder))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // The same name in each life: one that was killed here leaves nothing that the next does not put right.
    let staged = folder.join(format!(".{name}.new"));
    fs::remove_file(&staged).ok();
    let listener = UnixListener::bind(&staged).map_err(failed("make", &staged))?;
    let put =
        fs::set_permissions(&staged, Permissions::from_mode(MODE)).and_then(|()| fs::rename(&staged, path));
    if put.is_err() {
        fs::remove_file(&staged).ok();
    }
    put.map_err(failed("put", path)).map(|()| listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_living_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/status.sock");
        let first = listen(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, MODE);
        assert!(matches!(listen(&path), Err(SocketError::InUse(_))));
        drop(first);
        let second = listen(&path);
        assert!(second.is_ok(), "{second:?}");
        let left: Vec<_> = fs::read_dir(folder.path().join("run")).unwrap().collect();
        assert_eq!(left.len(), 1);
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let error = listen(&folder.path().join("file/status.sock")).unwrap_err().to_string();
        assert!(error.contains("/file"), "{error}");
    }
}
