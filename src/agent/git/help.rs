//! The helper: a program of its own that runs `git` and writes down how it went.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::command::Git;
use super::repository;
use crate::api::agent::{GitState, GitWorkdir};
use crate::base::{Error, Result};
use crate::sys::fs;

/// What is asked for.
pub(super) const ASKED: &str = "asked";
/// The answer: a result as JSON.
pub(super) const ANSWER: &str = "answer";

/// What the agent asks for.
#[derive(Serialize, Deserialize)]
pub(super) struct Asked {
    /// Where the repository goes.
    pub(super) dest: PathBuf,
    /// What goes there.
    pub(super) workdir: GitWorkdir,
}

/// Runs `sky __agent git --dir DIR` to its end. A repository that cannot be brought is an answer, too.
pub(crate) fn help(directory: &Path) -> Result<()> {
    let asked = directory.join(ASKED);
    let text = std::fs::read(&asked).map_err(|e| Error::io("read what is asked for", &e))?;
    std::fs::remove_file(&asked).map_err(|e| Error::io("remove what is asked for", &e))?;
    let asked: Asked = serde_json::from_slice(&text)
        .map_err(|e| Error::internal("understand what is asked for", &e))?;
    let answer = bring(directory, &asked);
    let text = serde_json::to_vec(&answer).map_err(|e| Error::internal("answer", &e))?;
    fs::write_atomic(&directory.join(ANSWER), &text, 0o600)
}

/// Brings the repository.
fn bring(directory: &Path, asked: &Asked) -> Result<GitState> {
    let git = Git::prepare(directory, &asked.dest, &asked.workdir)?;
    repository::bring(&git, &asked.dest, asked.workdir.git_ref.as_deref())
}
