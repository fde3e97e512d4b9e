//! The agent's side: starts the helper and waits for its answer.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use super::help::{ANSWER, ASKED, Asked};
use crate::agent::files::{Turn, guard, remove};
use crate::api::agent::{GitState, GitWorkdir};
use crate::base::{Error, Kind, Result};
use crate::sys::process::{self, Exit, Identity, Launch};
use crate::sys::{env, fs};

/// How long a helper that must end may take before it is killed.
const GRACE: Duration = Duration::from_secs(2);

/// Brings a repository to `dest`; stops when a later caller takes over.
pub(crate) async fn bring(
    turn: &Turn,
    home: &Path,
    dest: &Path,
    asked: GitWorkdir,
) -> Result<GitState> {
    guard(home, dest)?;
    let directory = turn.for_git()?;
    let asked = Asked {
        dest: dest.to_path_buf(),
        workdir: asked,
    };
    let text = serde_json::to_vec(&asked).map_err(|e| Error::internal("ask for a clone", &e))?;
    fs::write_atomic(&directory.join(ASKED), &text, 0o600)?;
    let answered = run(turn, &directory).await;
    remove(&directory)?;
    answered
}

/// Runs the helper to its end.
async fn run(turn: &Turn, directory: &Path) -> Result<GitState> {
    let failed = |e: &std::io::Error| Error::io("run the helper for git", e);
    let log = directory.join("log");
    let launch = Launch {
        arguments: ["__agent", "git", "--dir"]
            .into_iter()
            .map(Into::into)
            .chain([directory.into()])
            .collect(),
        environment: env::all().collect(),
        directory: directory.to_path_buf(),
    };
    let helper = process::spawn_self(&launch, File::create(&log).map_err(|e| failed(&e))?)?;
    if let Some(helper) = helper
        && let Some(exit) = Exit::of(helper).map_err(|e| failed(&e))?
    {
        tokio::select! {
            ended = exit.wait() => ended.map_err(|e| failed(&e))?,
            () = turn.stop.cancelled() => stop(helper).await,
        }
    }
    turn.check()?;
    let Ok(answer) = std::fs::read(directory.join(ANSWER)) else {
        let said = std::fs::read_to_string(log).unwrap_or_default();
        let said = said.lines().last().unwrap_or("it said nothing");
        return Err(Error::new(
            Kind::Internal,
            format!("the helper for git gave no answer: {said}"),
        ));
    };
    serde_json::from_slice::<Result<GitState>>(&answer)
        .map_err(|e| Error::internal("read the answer of the helper for git", &e))?
}

/// Ends the helper and what it has started.
async fn stop(helper: Identity) {
    let find = || {
        let mut tree = process::descendants(helper.pid);
        tree.push(helper);
        tree
    };
    for one in find() {
        process::signal(one, Signal::TERM);
    }
    drop(tokio::time::timeout(GRACE, gone(helper)).await);
    for one in find() {
        process::signal(one, Signal::KILL);
    }
}

/// Waits for the end of a process.
async fn gone(process: Identity) {
    if let Ok(Some(exit)) = Exit::of(process) {
        drop(exit.wait().await);
    }
}
