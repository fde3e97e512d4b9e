//! Processes: who exists, how to stop a whole tree, how to start what outlives us.
//!
//! A process is named by its id *and* its start time ([`Identity`]): an id alone may have been given to
//! somebody else by the time a signal is sent. Waiting is done on process descriptors, never by looking again.

mod daemon;
mod kill;
mod output;
mod power;
mod table;

pub(crate) use daemon::{Launch, reap_children, run_program, spawn, spawn_self};
pub(crate) use kill::{Exit, kill_all, signal};
pub(crate) use output::output;
pub(crate) use power::{as_root, power_off};
pub(crate) use table::{Identity, boot_id, descendants, identity, marked, of_session};

use crate::base::{Error, Result};

/// Leaves the session (and terminal) of whoever started this process.
///
/// A group leader cannot do so; it was started by hand in a shell and keeps its group.
pub(crate) fn new_session() {
    if let Err(e) = rustix::process::setsid() {
        tracing::debug!(error = %e, "this process stays in its session");
    }
}

/// Makes orphaned descendants children of this process instead of the system's first one.
pub(crate) fn adopt_orphans() -> Result<()> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|e| Error::io("become the parent of orphaned processes", &e.into()))
}

/// Returns the id of this process.
pub(crate) fn own_id() -> u32 {
    std::process::id()
}

/// Returns the file of the program that runs in this process, even when it has been replaced on disk meanwhile.
#[cfg(not(test))]
pub(crate) fn own_file() -> std::path::PathBuf {
    "/proc/self/exe".into()
}

/// Unit tests are another program: theirs is the one that is built beside them.
#[cfg(test)]
pub(crate) fn own_file() -> std::path::PathBuf {
    let this = std::env::current_exe().expect("this program has a file");
    let built = this
        .ancestors()
        .nth(2)
        .expect("a build directory")
        .join("sky");
    assert!(
        built.is_file(),
        "{built:?} is missing: cargo test builds it"
    );
    built
}

#[cfg(test)]
mod tests;
