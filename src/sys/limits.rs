//! The limit on open files: a server holds a descriptor per connection, its children keep what the user had.

use std::process::Child;
use std::sync::OnceLock;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// The limit that this process was started with, once it was raised.
static INHERITED: OnceLock<Rlimit> = OnceLock::new();

/// Raises the soft limit of this process to the hard one.
pub(crate) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => drop(INHERITED.set(limit)),
        Err(error) => tracing::warn!(%error, "the limit on open files stays as it is"),
    }
}

/// Gives a child the limit that this process was started with: programs that use `select` break above 1024.
pub(super) fn restore_open_files(child: &Child) {
    let Some(limit) = INHERITED.get() else { return };
    let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else {
        return;
    };
    if let Err(error) = prlimit(Some(pid), Resource::Nofile, *limit) {
        tracing::debug!(%error, "a child keeps the raised limit on open files");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        raise_open_files();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
