//! Locks on files: held by an open descriptor, gone with the process, however it ends.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use crate::base::clock::monotonic;
use crate::base::{Error, Kind, Result};

/// An exclusive lock, held until it is dropped.
#[derive(Debug)]
pub(crate) struct FileLock {
    /// The open file that holds it.
    file: File,
}

impl FileLock {
    /// Waits for the lock, but no longer than `most`.
    pub(crate) fn acquire_within(path: &Path, most: Duration) -> Result<Self> {
        within(most, || Self::try_acquire(path))?.ok_or_else(|| {
            let seconds = most.as_secs();
            let text = format!("somebody has held `{}` for {seconds} s", path.display());
            Error::new(Kind::Timeout, text)
        })
    }

    /// Returns the lock for a child process: it is held until both have let go of it.
    pub(crate) fn share(&self) -> Result<File> {
        self.file
            .try_clone()
            .map_err(|e| Error::io("share a lock with a child process", &e))
    }

    /// Takes the lock, or returns `None` when somebody holds it.
    pub(crate) fn try_acquire(path: &Path) -> Result<Option<Self>> {
        let file = open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(Error::io(format!("lock `{}`", path.display()), &e.into())),
        }
    }
}

/// Opens (or makes) the lock's file.
fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|e| Error::io(format!("open lock file `{}`", path.display()), &e))
}

/// Tries until something comes of it, at most so long. Blocks.
///
/// For what others hold briefly: the kernel gives no notice of a lock's end that could be waited for with a limit.
#[expect(
    clippy::disallowed_methods,
    reason = "the pauses between looks; see above"
)]
pub(crate) fn within<T>(
    most: Duration,
    mut attempt: impl FnMut() -> Result<Option<T>>,
) -> Result<Option<T>> {
    let end = monotonic() + most;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(value) = attempt()? {
            return Ok(Some(value));
        }
        if monotonic() > end {
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}
