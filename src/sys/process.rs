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
pub(crate) use power::power_off;
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

#[cfg(test)]
mod tests;
