//! One call of `git`, with credentials that stand in no command line and stay in no file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::url::{self, Remote};
use crate::api::agent::GitWorkdir;
use crate::base::{Error, Kind, Result};
use crate::sys::process::run_program;
use crate::sys::{env, fs};

/// The user of a token, where the URL names none: any name does for GitHub and GitLab.
const TOKEN_USER: &str = "x-access-token";
/// Hands out the credentials of one file; `git` gives its question by the first argument.
const HELPER: &str = r#"!f() { test "$1" = get && cat "$SKY_GIT_CREDENTIALS"; }; f"#;

/// How `git` is called.
pub(super) struct Git {
    /// The repository's directory.
    dest: PathBuf,
    /// Where it comes from.
    pub(super) remote: Remote,
    /// Options before the verb.
    options: Vec<OsString>,
    /// Variables.
    variables: Vec<(&'static str, Option<OsString>)>,
    /// What must not be shown.
    secret: Option<String>,
}

/// What `git` said.
pub(super) struct Said {
    /// Whether it succeeded.
    pub(super) ok: bool,
    /// Standard output.
    pub(super) out: String,
    /// Standard error, without secrets.
    pub(super) complaint: String,
}

/// How ssh is called: without questions; a host that was never seen is taken at first contact, one that falls silent is
/// not waited for.
const SSH_OPTIONS: &str = "-o BatchMode=yes -o StrictHostKeyChecking=accept-new \
    -o ConnectTimeout=30 -o ServerAliveInterval=15 -o ServerAliveCountMax=4";

impl Git {
    /// Writes the credentials into `directory`, which is private and will be gone.
    pub(super) fn prepare(directory: &Path, dest: &Path, asked: &GitWorkdir) -> Result<Self> {
        let remote = url::read(&asked.url);
        let token = asked.token.clone().or_else(|| remote.password.clone());
        let mut git = Self {
            dest: dest.to_path_buf(),
            options: Vec::new(),
            variables: fixed_variables(),
            secret: token.clone(),
            remote,
        };
        // Hooks come from whoever wrote into the directory, and this process knows secrets.
        git.option("core.hooksPath=/dev/null");
        // Who sends nothing for a minute is not waited for.
        git.option("http.lowSpeedLimit=1");
        git.option("http.lowSpeedTime=60");
        if let Some(token) = token {
            git.use_token(directory, &token)?;
        }
        if let Some(key) = &asked.ssh_key {
            git.use_key(directory, key)?;
        } else {
            git.ssh_command("");
        }
        Ok(git)
    }

    /// Adds a setting that holds for this call only.
    fn option(&mut self, setting: &str) {
        self.options.extend(["-c".into(), setting.into()]);
    }

    /// Makes the token known to the host of the URL, and to no other.
    fn use_token(&mut self, directory: &Path, token: &str) -> Result<()> {
        let Some(realm) = self.remote.realm.clone() else {
            if self.remote.url.starts_with("http://") {
                return Err(Error::new(
                    Kind::InvalidTask,
                    format!("a token is not sent over http: `{}`", self.remote.url),
                )
                .hint("use the https URL of the repository"));
            }
            return Ok(());
        };
        let user = match &self.remote.user {
            Some(user) => user,
            None if realm.ends_with("bitbucket.org") => "x-token-auth",
            None => TOKEN_USER,
        };
        if [user, token].iter().any(|text| text.contains(['\n', '\0'])) {
            return Err(Error::new(
                Kind::InvalidTask,
                "the token of the repository holds a line break",
            ));
        }
        let file = directory.join("credentials");
        let text = format!("username={user}\npassword={token}\n");
        fs::write_atomic(&file, text.as_bytes(), 0o600)?;
        self.variables
            .push(("SKY_GIT_CREDENTIALS", Some(file.into_os_string())));
        // No other helper hears of it, so none keeps it.
        self.option("credential.helper=");
        self.option(&format!("credential.{realm}.helper={HELPER}"));
        Ok(())
    }

    /// Makes the key known to ssh.
    fn use_key(&mut self, directory: &Path, key: &str) -> Result<()> {
        let file = directory.join("key");
        // ssh insists on a line break at the end.
        let key = format!("{}\n", key.trim_end());
        fs::write_atomic(&file, key.as_bytes(), 0o600)?;
        let file = file.to_string_lossy();
        let quoted = shell_words::quote(&file).into_owned();
        self.ssh_command(&format!(" -i {quoted} -o IdentitiesOnly=yes"));
        Ok(())
    }

    /// Says how ssh is called.
    fn ssh_command(&mut self, options: &str) {
        let mut text = format!("ssh{options} {SSH_OPTIONS}");
        if let Some(home) = env::moved_home() {
            let known = home.join(".ssh/known_hosts");
            let option = format!("UserKnownHostsFile={}", known.display());
            text.push_str(" -o ");
            text.push_str(&shell_words::quote(&option));
        }
        self.variables.push(("GIT_SSH_COMMAND", Some(text.into())));
    }

    /// Calls `git` in the repository.
    pub(super) fn say(&self, arguments: &[&str]) -> Result<Said> {
        let mut all: Vec<OsString> = vec!["-C".into(), self.dest.clone().into()];
        all.extend(self.options.iter().cloned());
        all.extend(arguments.iter().map(OsString::from));
        let output = run_program("git", &all, &self.variables).map_err(|e| not_started(&e))?;
        let mut complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if let Some(secret) = self.secret.as_deref().filter(|secret| !secret.is_empty()) {
            complaint = complaint.replace(secret, "<redacted>");
        }
        Ok(Said {
            ok: output.status.success(),
            out: String::from_utf8_lossy(&output.stdout)
                .trim_end()
                .to_owned(),
            complaint,
        })
    }

    /// Calls `git` where a failure is an error.
    pub(super) fn must(&self, arguments: &[&str]) -> Result<String> {
        let said = self.say(arguments)?;
        if said.ok {
            return Ok(said.out);
        }
        Err(self.refused(&said.complaint))
    }

    /// Says why `git` failed.
    pub(super) fn refused(&self, complaint: &str) -> Error {
        let has = |texts: &[&str]| texts.iter().any(|text| complaint.contains(text));
        let url = &self.remote.url;
        let last = complaint
            .lines()
            .find(|line| line.starts_with("fatal:") || line.contains("Permission denied"))
            .or_else(|| complaint.lines().last())
            .unwrap_or("git ended without a word");
        let error = Error::new(Kind::CommandFailed, format!("cannot get `{url}`: {last}"));
        let private = has(&[
            "Authentication failed",
            "could not read Username",
            "could not read Password",
            "terminal prompts disabled",
            "Permission denied",
            "Repository not found",
            "returned error: 403",
            "returned error: 401",
        ]);
        if !private {
            return error;
        }
        error.hint(if self.remote.realm.is_some() {
            "is it private? Set GIT_TOKEN to a token that may read it, in the shell that launches"
        } else {
            "is it private? Set GIT_SSH_KEY_PATH to a key that may read it, in the shell that launches"
        })
    }
}

/// Variables that do not depend on the repository.
fn fixed_variables() -> Vec<(&'static str, Option<OsString>)> {
    vec![
        ("GIT_TERMINAL_PROMPT", Some("0".into())),
        // Its words are searched.
        ("LC_ALL", Some("C".into())),
        ("GIT_ASKPASS", None),
        ("SSH_ASKPASS", None),
        ("GIT_DIR", None),
        ("GIT_WORK_TREE", None),
        ("GIT_INDEX_FILE", None),
    ]
}

/// Says why there is no `git` to start.
fn not_started(e: &std::io::Error) -> Error {
    if e.kind() == std::io::ErrorKind::NotFound {
        return Error::new(Kind::NotSupported, "git is not installed on the node").hint(
            "install it there, in `sky exec <cluster>` or in the image: apt-get install git",
        );
    }
    Error::io("start git on the node", e)
}
