//! Unix sockets at paths of any length.
//!
//! A socket address holds 107 bytes. A longer path is reached through `/proc/self/fd/<directory>/<name>`.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use tokio::net::{UnixListener, UnixStream};

use crate::base::{Error, Kind, Result};

/// The longest path that fits in a socket address with its final zero.
const MAX_PATH: usize = 107;

/// A path that fits in a socket address, with the directory it may go through.
struct Reachable {
    /// The path to use.
    path: PathBuf,
    /// Keeps `/proc/self/fd/N` alive while the path is in use.
    _directory: Option<OwnedFd>,
}

/// Makes a path fit.
fn reachable(path: &Path) -> io::Result<Reachable> {
    if path.as_os_str().len() <= MAX_PATH {
        return Ok(Reachable {
            path: path.to_path_buf(),
            _directory: None,
        });
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(parent, flags, Mode::empty())?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
    Ok(Reachable {
        path,
        _directory: Some(directory),
    })
}

/// Connects to the socket at `path`.
pub(crate) async fn connect(path: &Path) -> io::Result<UnixStream> {
    let reachable = reachable(path)?;
    UnixStream::connect(&reachable.path).await
}

/// Listens at `path`, where only the owner can connect (mode 0600; the directory should be private too).
///
/// A socket that a dead process left behind is replaced. One that still answers is a `Conflict`: the caller's
/// lock file should have said so earlier.
pub(crate) async fn bind(path: &Path) -> Result<UnixListener> {
    let fail = |e: &io::Error| Error::io(format!("listen at `{}`", path.display()), e);
    match connect(path).await {
        Ok(_) => {
            return Err(Error::new(
                Kind::Conflict,
                format!("another process listens at `{}`", path.display()),
            ));
        }
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|e| fail(&e))?;
        }
        // Nothing there, or nothing that we may touch: then the bind says what is wrong.
        Err(_) => {}
    }
    let bound = || -> io::Result<UnixListener> {
        let reachable = reachable(path)?;
        let listener = UnixListener::bind(&reachable.path)?;
        rustix::fs::chmod(&reachable.path, Mode::RUSR | Mode::WUSR)?;
        Ok(listener)
    };
    bound().map_err(|e| fail(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn long_paths_work_and_stale_sockets_are_replaced() {
        let home = tempfile::tempdir().expect("a directory");
        let deep = home.path().join("d".repeat(100)).join("e".repeat(100));
        std::fs::create_dir_all(&deep).expect("made");
        let path = deep.join("api.sock");
        let first = bind(&path).await.expect("free");
        connect(&path).await.expect("it listens");
        let busy = bind(&path).await.expect_err("taken");
        assert_eq!(busy.kind(), Kind::Conflict);
        drop(first);
        bind(&path).await.expect("the stale socket is replaced");
        let mode = rustix::fs::stat(&path).expect("there").st_mode & 0o777;
        assert_eq!(mode, 0o600);
    }
}
