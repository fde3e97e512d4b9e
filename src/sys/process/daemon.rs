//! Starting helpers that outlive us, and taking note of their end. (Daemons that report readiness: `sys::ready`.)
#![expect(
    clippy::disallowed_methods,
    reason = "this file is a seam through which processes are started"
)]

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;

use super::table::{self, Identity};
use crate::base::{Error, Result};

/// What to start. The environment is given whole: nothing of ours is inherited.
#[derive(Debug)]
pub(crate) struct Launch {
    /// Arguments after the program's name.
    pub(crate) arguments: Vec<OsString>,
    /// The whole environment.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// Working directory.
    pub(crate) directory: PathBuf,
}

/// Starts a program of the system as a child, with `output` for everything it says.
pub(crate) fn spawn(program: &str, launch: &Launch, output: &File) -> std::io::Result<u32> {
    std::process::Command::new(program)
        .args(&launch.arguments)
        .env_clear()
        .envs(launch.environment.iter().map(|(k, v)| (k, v)))
        .current_dir(&launch.directory)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?)
        .spawn()
        .map(|child| child.id())
}

/// Runs a program of the system to its end, with these variables over ours. Not where all children are reaped. Blocks.
pub(crate) fn run_program(
    program: &str,
    arguments: &[OsString],
    variables: &[(&str, Option<OsString>)],
) -> std::io::Result<std::process::Output> {
    let mut command = std::process::Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    for (name, value) in variables {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.output()
}

/// Starts our own binary as a child with nothing but `/dev/null` open (its messages go to `log`).
pub(crate) fn spawn_self(launch: &Launch, log: File) -> Result<Option<Identity>> {
    let child = std::process::Command::new(super::own_file())
        .arg0("sky")
        .args(&launch.arguments)
        .env_clear()
        .envs(launch.environment.iter().map(|(k, v)| (k, v)))
        .current_dir(&launch.directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(|e| Error::io("start a helper process", &e))?;
    // Not waited for here: `reap_children` takes note of its end.
    Ok(table::identity(child.id()))
}

/// Takes note of ended children (those of ours and adopted orphans) that nobody else waits for, without blocking.
///
/// Calls `seen` with the id and the exit code (128 + signal when killed); returns whether living children remain.
pub(crate) fn reap_children(mut seen: impl FnMut(u32, i32)) -> bool {
    loop {
        match rustix::process::wait(rustix::process::WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                let code = status
                    .exit_status()
                    .or_else(|| status.terminating_signal().map(|signal| 128 + signal));
                if let Some(code) = code {
                    seen(pid.as_raw_nonzero().get().unsigned_abs(), code);
                }
            }
            Ok(None) => return true,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}
