//! Signals to exactly the process that is meant, and the end of whole trees: TERM, grace, KILL.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

use super::table::{self, Identity};

/// How long the kernel may take to end a killed process (it may be inside a system call).
const AFTER_KILL: Duration = Duration::from_secs(10);

/// The end of a process, to be waited for. Works for any process of this user, child or not.
#[derive(Debug)]
pub(crate) struct Exit(AsyncFd<OwnedFd>);

impl Exit {
    /// Watches a process; `None` when it has ended already.
    ///
    /// Must be called inside a runtime.
    pub(crate) fn of(process: Identity) -> std::io::Result<Option<Self>> {
        let Some(descriptor) = open(process)? else {
            return Ok(None);
        };
        #[expect(
            deprecated,
            reason = "its successor is an unsafe function; an `OwnedFd` is open as long as it lives"
        )]
        let watched = AsyncFd::with_interest(descriptor, Interest::READABLE);
        watched.map(|fd| Some(Self(fd)))
    }

    /// Returns when the process has ended. Cancel safe.
    pub(crate) async fn wait(&self) -> std::io::Result<()> {
        self.0.readable().await.map(drop)
    }
}

/// Opens a descriptor of exactly this process; `None` when it is gone.
fn open(process: Identity) -> std::io::Result<Option<OwnedFd>> {
    let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else {
        return Ok(None);
    };
    match pidfd_open(pid, PidfdFlags::NONBLOCK) {
        // From here on the descriptor cannot come to mean somebody else, so looking once is enough.
        Ok(descriptor) => Ok((table::identity(process.pid) == Some(process)).then_some(descriptor)),
        Err(rustix::io::Errno::SRCH) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Sends a signal; returns false when the process is gone (or not ours).
pub(crate) fn signal(process: Identity, signal: Signal) -> bool {
    matches!(open(process), Ok(Some(descriptor)) if pidfd_send_signal(&descriptor, signal).is_ok())
}

/// Ends all that `find` finds: asks with TERM, waits for `grace`, then kills; looks again until nothing is left.
///
/// Returns false when something survives KILL (it hangs in the kernel).
pub(crate) async fn kill_all(find: impl Fn() -> Vec<Identity>, grace: Duration) -> bool {
    let deadline = Instant::now() + grace;
    loop {
        let found = find();
        if found.is_empty() {
            return true;
        }
        for process in &found {
            signal(*process, Signal::TERM);
            // A stopped process takes TERM only when it goes on.
            signal(*process, Signal::CONT);
        }
        if !all_gone(&found, deadline).await {
            break;
        }
    }
    let deadline = Instant::now() + AFTER_KILL;
    loop {
        let found = find();
        if found.is_empty() {
            return true;
        }
        for process in &found {
            signal(*process, Signal::KILL);
        }
        if !all_gone(&found, deadline).await {
            return false;
        }
    }
}

/// Waits until all of these have ended. One descriptor at a time: a tree may be larger than our limit.
async fn all_gone(processes: &[Identity], deadline: Instant) -> bool {
    for process in processes {
        match Exit::of(*process) {
            Ok(None) => {}
            Ok(Some(exit)) => match tokio::time::timeout_at(deadline, exit.wait()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return false,
            },
            Err(e) => {
                tracing::warn!(pid = process.pid, error = %e, "cannot watch a process");
                return false;
            }
        }
    }
    true
}
