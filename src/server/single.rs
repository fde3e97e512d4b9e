//! One server on one state: the lock that says so, and the patience with a predecessor that is on its way out.
//!
//! The lock on the store would be guard enough. This one adds the difference between a server that lives (say who it is)
//! and one that stops (wait for it: a restart in place must not fail by a second).

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use crate::base::{Error, Kind, Result};
use crate::sys::fs::{read_optional, write_atomic};
use crate::sys::lock::FileLock;

/// How long a predecessor that was killed may hold its lock: the kernel closes descriptors one by one.
const LAST_BREATH: Duration = Duration::from_millis(500);
/// How long a predecessor may take to stop.
const STOP_TIME: Duration = Duration::from_secs(60);
/// What the mark of a stopping server holds.
const STOPPING: &str = "stopping";

/// Held until the process is gone, which is later than everything that uses the state.
static HELD: OnceLock<FileLock> = OnceLock::new();

/// Becomes the only server on `state`, unless one lives there: then opening the store says who. Blocks while a
/// predecessor stops, which is bounded by its own deadlines.
pub(crate) fn become_the_only_one(state: &Path) -> Result<()> {
    let path = state.join("server.lock");
    let lock = match FileLock::acquire_within(&path, LAST_BREATH) {
        Ok(lock) => lock,
        Err(error) if error.kind() != Kind::Timeout => return Err(error),
        Err(_) if is_stopping(state)? => FileLock::acquire_within(&path, STOP_TIME)?,
        Err(_) => return Ok(()),
    };
    // Nobody else holds the lock, so nobody else's mark is removed.
    if let Err(e) = std::fs::remove_file(mark(state))
        && e.kind() != std::io::ErrorKind::NotFound
    {
        return Err(Error::io("remove the mark of a stopped server", &e));
    }
    drop(HELD.set(lock));
    Ok(())
}

/// Says that this server is on its way out.
pub(crate) fn mark_stopping(state: &Path) -> Result<()> {
    write_atomic(&mark(state), STOPPING.as_bytes(), 0o600)
}

/// Whether whoever holds the lock is on its way out.
fn is_stopping(state: &Path) -> Result<bool> {
    Ok(read_optional(&mark(state))?.is_some())
}

/// The place of the mark.
fn mark(state: &Path) -> std::path::PathBuf {
    state.join("server.stopping")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_waits_for_one_that_stops_and_for_no_other() {
        let dir = tempfile::tempdir().expect("a directory");
        let state = dir.path();
        let lock = FileLock::try_acquire(&state.join("server.lock")).expect("it is ours");
        assert!(!is_stopping(state).expect("readable"));
        become_the_only_one(state).expect("the store will say who is there");
        mark_stopping(state).expect("it is ours");
        assert!(is_stopping(state).expect("readable"));
        std::thread::scope(|scope| {
            let successor = scope.spawn(|| become_the_only_one(state));
            drop(lock);
            successor.join().expect("no panic").expect("it takes over");
        });
        assert!(!is_stopping(state).expect("readable"));
    }
}
