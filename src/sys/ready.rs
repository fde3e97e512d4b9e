//! Starting a program of ours in the background, and hearing from it when it is ready.
//!
//! The child's standard output is a pipe to its starter. The child writes one line to it: `ok` and what
//! the starter should know, or `error` and the reason. Then it lets go of the pipe and lives on in a session of
//! its own. Nobody polls, and a child that dies before it is ready is noticed at once.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::base::clock::monotonic;
use crate::base::ids::clip;
use crate::base::{Error, Kind, Result};
use crate::sys::fs::open_append;
use crate::sys::limits::restore_open_files;
use crate::sys::lock::FileLock;
use crate::sys::process::own_file;

/// The number by which a child is told where to report: its standard output.
pub(crate) const READY_FD: &str = "1";

/// The longest report that is read.
const MAX_REPORT: usize = 64 * 1024;

/// What to start, and how.
pub(crate) struct Start<'a> {
    /// Arguments after the program's name. The program is this executable.
    pub(crate) args: &'a [OsString],
    /// Where standard error goes: the log of the child.
    pub(crate) log: &'a Path,
    /// Variables to set.
    pub(crate) envs: &'a [(OsString, OsString)],
    /// Prefixes of variables that the child must not inherit.
    pub(crate) without: &'a [&'a str],
    /// A lock that the child holds too until it is ready, or dead: nobody starts a second one because its starter died.
    pub(crate) lock: &'a FileLock,
    /// How long the child may take to be ready.
    pub(crate) deadline: Duration,
}

/// A program that is ready.
pub(crate) struct Started {
    /// The text behind `ok`.
    pub(crate) report: String,
    /// The process. A starter that lives on has to reap it.
    pub(crate) child: Child,
}

/// Starts this executable again as another program and waits for its report.
///
/// Blocks: call it from a thread that may.
pub(crate) fn start(what: &Start<'_>) -> Result<Started> {
    let name = what
        .args
        .first()
        .map_or_else(String::new, |a| a.to_string_lossy().into_owned());
    let mut child = spawn(what, &name)?;
    // Before it is ready, so before it starts anything itself.
    restore_open_files(&child);
    let Some(mut pipe) = child.stdout.take() else {
        return Err(Error::new(
            Kind::Internal,
            format!("`sky {name}` has no report pipe"),
        ));
    };
    let report = read_report(&mut pipe, what.deadline);
    let log_hint = format!("see `{}`", what.log.display());
    let failed = |why: String| {
        Err(Error::new(
            Kind::Unreachable,
            format!("`sky {name}` did not start: {why}"),
        )
        .hint(log_hint))
    };
    match report {
        Ok(line) if line.is_empty() => {
            let status = child
                .wait()
                .map_or_else(|e| e.to_string(), |s| s.to_string());
            failed(format!("it ended without a word ({status})"))
        }
        Ok(line) => match line.split_once(' ').unwrap_or((line.as_str(), "")) {
            ("ok", rest) => Ok(Started {
                report: rest.to_owned(),
                child,
            }),
            ("error", reason) => {
                drop(child.wait());
                Err(serde_json::from_str(reason)
                    .unwrap_or_else(|_| Error::new(Kind::Unreachable, reason.to_owned())))
            }
            _ => failed(format!("it reported `{}`", clip(&line))),
        },
        Err(why) => {
            // It holds the lock; alive and mute it would keep everybody out.
            drop(child.kill());
            drop(child.wait());
            failed(why)
        }
    }
}

/// Starts the child.
fn spawn(what: &Start<'_>, name: &str) -> Result<Child> {
    #[expect(
        clippy::disallowed_methods,
        reason = "sys is where processes are started"
    )]
    let mut command = Command::new(own_file());
    command
        .arg0("sky")
        .args(what.args)
        .stdin(what.lock.share()?)
        .stdout(Stdio::piped())
        .stderr(open_append(what.log)?);
    for (key, _) in std::env::vars_os() {
        let name = key.to_string_lossy();
        if what.without.iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(&key);
        }
    }
    command.envs(
        what.envs
            .iter()
            .map(|(k, v)| (k.as_os_str(), v.as_os_str())),
    );
    command
        .spawn()
        .map_err(|e| Error::io(format!("start `sky {name}` in the background"), &e))
}

/// Reads one line, or to the end of the pipe, within the deadline.
fn read_report(pipe: &mut (impl Read + AsFd), deadline: Duration) -> Result<String, String> {
    let end = monotonic() + deadline;
    let mut text = Vec::new();
    loop {
        let left = end.saturating_duration_since(monotonic());
        if left.is_zero() {
            return Err(format!("it was not ready after {} s", deadline.as_secs()));
        }
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        let ready = {
            let mut fds = [PollFd::new(&*pipe, PollFlags::IN)];
            match poll(&mut fds, Some(&timeout)) {
                Ok(n) => n,
                Err(rustix::io::Errno::INTR) => continue,
                Err(e) => return Err(e.to_string()),
            }
        };
        if ready == 0 {
            continue;
        }
        let mut buffer = [0; 4096];
        let n = pipe.read(&mut buffer).map_err(|e| e.to_string())?;
        text.extend_from_slice(&buffer[..n]);
        if n == 0 || text.contains(&b'\n') || text.len() > MAX_REPORT {
            let line = text.split(|b| *b == b'\n').next().unwrap_or_default();
            return Ok(String::from_utf8_lossy(line).into_owned());
        }
    }
}

/// The child's side: tells the starter once, then lets go of it.
#[derive(Debug)]
pub(crate) struct Reporter {
    /// Whether somebody listens (the program was started by [`start`]).
    listened: bool,
}

impl Reporter {
    /// Becomes a background program when `ready_fd` says that a starter listens: own session, no terminal.
    pub(crate) fn new(ready_fd: Option<u32>) -> Self {
        let listened = ready_fd.is_some();
        if listened {
            // Fails only for a process-group leader, which a freshly started child is not.
            if let Err(e) = rustix::process::setsid() {
                tracing::debug!(error = %e, "this process keeps its session");
            }
        }
        Self { listened }
    }

    /// Returns whether a starter listens.
    pub(crate) const fn is_listened(&self) -> bool {
        self.listened
    }

    /// Reports readiness with what the starter should know.
    pub(crate) fn ready(self, what: &str) {
        self.say(&format!("ok {}\n", what.replace('\n', " ")));
    }

    /// Reports why the program cannot run.
    pub(crate) fn failed(self, error: &Error) {
        let text = serde_json::to_string(error).unwrap_or_else(|_| error.one_line());
        self.say(&format!("error {text}\n"));
    }

    /// Writes the line and replaces the pipe by `/dev/null`. A starter that is gone is nobody's loss.
    fn say(self, line: &str) {
        if !self.listened {
            return;
        }
        if let Err(e) = rustix::io::write(rustix::stdio::stdout(), line.as_bytes()) {
            tracing::debug!(error = %e, "the starter is gone");
        }
        // Standard input is the lock, standard output the report pipe.
        let null = File::options().read(true).write(true).open("/dev/null");
        let released = null.and_then(|null| {
            rustix::stdio::dup2_stdin(&null)?;
            Ok(rustix::stdio::dup2_stdout(&null)?)
        });
        if let Err(e) = released {
            tracing::warn!(error = %e, "cannot let go of the start lock and the report pipe");
        }
    }
}
