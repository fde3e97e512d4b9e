//! Locks on files: held by an open descriptor, gone with the process, however it ends.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::base::{Error, Result};

/// An exclusive lock, held until it is dropped.
#[derive(Debug)]
pub(crate) struct FileLock {
    /// The open file that holds it.
    _file: File,
}

impl FileLock {
    /// Waits for the lock.
    pub(crate) fn acquire(path: &Path) -> Result<Self> {
        let file = open(path)?;
        loop {
            match flock(&file, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Self { _file: file }),
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(Error::io(format!("lock `{}`", path.display()), &e.into())),
            }
        }
    }

    /// Takes the lock, or returns `None` when somebody holds it.
    pub(crate) fn try_acquire(path: &Path) -> Result<Option<Self>> {
        let file = open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { _file: file })),
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
