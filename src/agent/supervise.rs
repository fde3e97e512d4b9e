//! `sky __run --dir DIR`: the supervisor of one process of a job.
//!
//! It outlives the agent. It claims the script, runs it in a process group of its own with its output going straight
//! to a file, is the parent of everything that the script leaves behind, ends all of that when the script has ended
//! or TERM arrives, and writes the exit code as its last act.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::options;
use super::place::{Ended, Place, Spec};
use crate::base::{Error, Kind, Result};
use crate::sys::{fs, process};

/// The shell that scripts are written for.
const SHELL: &str = "bash";
/// Exit code when the shell cannot be started, as shells themselves have it.
const NOT_STARTED: i32 = 127;
/// Exit code of a shell that survived KILL.
const KILLED: i32 = 137;
/// Pause before the end is written again on a disk that is full beyond what was reserved.
const RETRY: Duration = Duration::from_secs(1);

/// Runs the supervisor to its end.
pub(crate) fn supervise(arguments: &[OsString]) -> ExitCode {
    process::new_session();
    super::run::log_to_stderr();
    let work = options::value_of(arguments, "--dir").and_then(|dir| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Error::io("start the runtime", &e))?;
        runtime.block_on(run(&Place::new(PathBuf::from(dir))))
    });
    match work {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %error.one_line(), "a supervisor failed");
            ExitCode::FAILURE
        }
    }
}

/// The life of a script. Ends at once when another supervisor has it or it was started before.
async fn run(place: &Place) -> Result<()> {
    let Some(lock) = place.try_lock()? else {
        return Ok(());
    };
    let Some(spec) = place.spec()? else {
        return Err(Error::new(Kind::Internal, "there is nothing to supervise"));
    };
    process::adopt_orphans()?;
    // Before the script starts: no signal is missed.
    let listen = |kind| signal(kind).map_err(|e| Error::io("listen for signals", &e));
    let mut children = listen(SignalKind::child())?;
    let mut stop = listen(SignalKind::terminate())?;
    let _ignored = listen(SignalKind::hangup())?;
    place.reserve_exit()?;
    if !place.claim(process::identity(process::own_id()))? {
        return Ok(());
    }
    let code = live(place, &spec, &mut children, &mut stop).await;
    while let Err(error) = place.write_exit(Ended { code }) {
        tracing::error!(error = %error.one_line(), "cannot record the end of a process");
        tokio::time::sleep(RETRY).await;
    }
    // Held until the end is written: a free lock without an end means that this process was killed.
    drop(lock);
    Ok(())
}

/// Starts the script, waits for it or for TERM, and ends what is left. Returns the exit code.
async fn live(place: &Place, spec: &Spec, children: &mut Signal, stop: &mut Signal) -> i32 {
    let shell = match start(place, spec) {
        Ok(pid) => pid,
        Err(error) => {
            complain(spec, &error);
            return NOT_STARTED;
        }
    };
    if let Err(error) = place.write_pid(shell) {
        tracing::warn!(error = %error.one_line(), "cannot record a process id");
    }
    let mut code = None;
    tokio::select! {
        () = shell_end(children, shell, &mut code) => {}
        _ = stop.recv() => {}
    }
    let me = process::own_id();
    let grace = Duration::try_from_secs_f64(spec.grace_secs).unwrap_or(Duration::from_secs(30));
    if !process::kill_all(|| process::descendants(me), grace).await {
        complain(
            spec,
            &Error::new(Kind::Internal, "some processes of the job cannot be killed"),
        );
    }
    take_note(shell, &mut code);
    code.unwrap_or(KILLED)
}

/// Waits for the end of the shell; takes note of orphans meanwhile.
async fn shell_end(children: &mut Signal, shell: u32, code: &mut Option<i32>) {
    loop {
        take_note(shell, code);
        if code.is_some() {
            return;
        }
        children.recv().await;
    }
}

/// Takes note of ended children; keeps the exit code of the shell.
fn take_note(shell: u32, code: &mut Option<i32>) {
    process::reap_children(|pid, its_code| {
        if pid == shell {
            *code = Some(its_code);
        }
    });
}

/// Starts the shell on the script.
fn start(place: &Place, spec: &Spec) -> Result<u32> {
    let output = fs::open_append(&spec.log)?;
    let workdir = spec.home.join("sky_workdir");
    let mut environment: Vec<_> = crate::sys::env::all().collect();
    environment.push(("BASH_ENV".into(), place.prologue().into()));
    let launch = process::Launch {
        arguments: vec![place.script().into()],
        environment,
        directory: if workdir.is_dir() {
            workdir
        } else {
            spec.home.clone()
        },
    };
    process::spawn(SHELL, &launch, &output).map_err(|e| Error::io(format!("start {SHELL}"), &e))
}

/// Tells the job's owner in the log what the job itself cannot tell.
fn complain(spec: &Spec, error: &Error) {
    use std::io::Write;
    let line = format!("sky: {}\n", error.one_line());
    if let Ok(mut log) = fs::open_append(&spec.log)
        && let Err(e) = log.write_all(line.as_bytes())
    {
        tracing::warn!(error = %e, "cannot write to a job's log");
    }
}
