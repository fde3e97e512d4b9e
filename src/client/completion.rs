//! Completion in the shell: installed by one option, answered by this program, with names from the server.
//!
//! A completion never starts a server, never takes longer than two seconds and never says a word.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory as _, ValueEnum};
use clap_complete::engine::CompletionCandidate;
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};

use super::calls::Calls;
use super::cli::Cli;
use super::config::Config;
use super::identity::Identity;
use super::target::Target;
use super::ui::Ui;
use crate::base::{Error, Kind, Result};
use crate::sys::env;
use crate::sys::fs::{private_dir, read_optional, write_atomic};
use crate::sys::paths::Paths;

/// The variable by which a shell asks for completions.
pub(crate) const VARIABLE: &str = "COMPLETE";
/// The time for an answer of the server.
const LIMIT: Duration = Duration::from_secs(2);
/// Marks our line in the files of shells.
const MARK: &str = "# sky: shell completion";

/// Shells that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// The one in `$SHELL`.
    Auto,
    /// bash.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
}

/// Names of clusters.
pub(crate) fn clusters() -> Vec<CompletionCandidate> {
    ask("cluster_name", "")
}

/// Ids of requests that begin with what is typed.
pub(crate) fn requests(typed: &OsStr) -> Vec<CompletionCandidate> {
    typed
        .to_str()
        .map_or_else(Vec::new, |typed| ask("api_request", typed))
}

/// Asks the server, silently.
fn ask(kind: &str, typed: &str) -> Vec<CompletionCandidate> {
    let answer = || -> Option<Vec<String>> {
        let paths = Paths::of_user(None);
        let config = Config::load(&paths, &[]).ok()?;
        let target = Target::resolve(&paths, &config).ok()?;
        let identity = Identity::of_user(&paths).ok()?;
        let runtime = super::runtime().ok()?;
        runtime.block_on(async {
            let calls = Calls::new(&target, &identity).ok()?;
            let answer = tokio::time::timeout(LIMIT, calls.completion(kind, typed)).await;
            answer.ok()?.ok()
        })
    };
    answer()
        .unwrap_or_default()
        .into_iter()
        .map(CompletionCandidate::new)
        .collect()
}

/// Answers a shell that asks for completions; false when this is an ordinary call.
pub(crate) fn answer_shell() -> Result<bool> {
    if env::var(VARIABLE).is_none() {
        return Ok(false);
    }
    let arguments: Vec<_> = std::env::args_os().collect();
    let current = std::env::current_dir().ok();
    clap_complete::CompleteEnv::with_factory(Cli::command)
        .var(VARIABLE)
        .bin("sky")
        .completer("sky")
        .try_complete(arguments, current.as_deref())
        .map_err(|e| Error::new(Kind::Internal, "completion failed").caused_by(&e))
}

impl Shell {
    /// Returns the shell itself for `auto`.
    fn resolve(self) -> Result<Self> {
        if self != Self::Auto {
            return Ok(self);
        }
        let shell = env::var("SHELL").unwrap_or_default();
        match shell.rsplit('/').next() {
            Some("bash") => Ok(Self::Bash),
            Some("zsh") => Ok(Self::Zsh),
            Some("fish") => Ok(Self::Fish),
            Some(_) | None => Err(Error::new(
                Kind::Usage,
                format!("the shell `{shell}` is none of bash, zsh and fish"),
            )
            .hint("sky --install-shell-completion bash")),
        }
    }

    /// Returns the script's file, and the shell's file that reads it where that is needed.
    fn files(self, paths: &Paths) -> (PathBuf, Option<PathBuf>) {
        let home = paths.home();
        match self {
            Self::Zsh => (
                paths.sky().join(".sky-complete.zsh"),
                Some(home.join(".zshrc")),
            ),
            Self::Fish => (home.join(".config/fish/completions/sky.fish"), None),
            Self::Auto | Self::Bash => (
                paths.sky().join(".sky-complete.bash"),
                Some(home.join(".bashrc")),
            ),
        }
    }

    /// Returns the script.
    fn script(self) -> Result<String> {
        let mut script = Vec::new();
        let completer: &dyn EnvCompleter = match self {
            Self::Zsh => &Zsh,
            Self::Fish => &Fish,
            Self::Auto | Self::Bash => &Bash,
        };
        completer
            .write_registration(VARIABLE, "sky", "sky", "sky", &mut script)
            .map_err(|e| Error::io("write the completion script", &e))?;
        Ok(String::from_utf8_lossy(&script).into_owned())
    }
}

/// Installs completion.
pub(crate) fn install(ui: &Ui, paths: &Paths, shell: Shell) -> Result<()> {
    let shell = shell.resolve()?;
    let (script, rc) = shell.files(paths);
    if let Some(parent) = script.parent() {
        private_dir(parent)?;
    }
    write_atomic(&script, shell.script()?.as_bytes(), 0o644)?;
    if let Some(rc) = &rc {
        let text = without_ours(&read_optional(rc)?.unwrap_or_default());
        let line = format!(". '{}' {MARK}\n", script.display());
        write_atomic(rc, (text + &line).as_bytes(), 0o644)?;
    }
    let restart = rc.map_or_else(String::new, |rc| {
        format!(" Restart the shell, or run: . {}", rc.display())
    });
    ui.out(&format!(
        "Shell completion installed: {}.{restart}",
        script.display()
    ));
    Ok(())
}

/// Takes completion out.
pub(crate) fn uninstall(ui: &Ui, paths: &Paths, shell: Shell) -> Result<()> {
    let (script, rc) = shell.resolve()?.files(paths);
    if let Err(e) = std::fs::remove_file(&script)
        && e.kind() != std::io::ErrorKind::NotFound
    {
        return Err(Error::io(format!("remove `{}`", script.display()), &e));
    }
    if let Some(rc) = &rc
        && let Some(text) = read_optional(rc)?
    {
        write_atomic(rc, without_ours(&text).as_bytes(), 0o644)?;
    }
    ui.out("Shell completion removed.");
    Ok(())
}

/// Returns the text of a shell's file without our line, ending in a line feed.
fn without_ours(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines().filter(|line| !line.ends_with(MARK)) {
        // Writing to a string cannot fail.
        writeln!(out, "{line}").unwrap_or_default();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_line_is_added_and_removed() {
        let text = "alias x=y\n. '/h/.sky/.sky-complete.bash' # sky: shell completion\n";
        assert_eq!(without_ours(text), "alias x=y\n");
        assert_eq!(without_ours("no line feed"), "no line feed\n");
    }

    #[test]
    fn scripts_call_this_program() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = shell.script().expect("a script");
            assert!(script.contains("COMPLETE"), "{script}");
            assert!(script.contains("sky"), "{script}");
        }
    }
}
