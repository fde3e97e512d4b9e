//! From what was typed to a task that is ready for the server: YAML or command, options over it, absolute paths.

use std::path::{Path, PathBuf};

use super::App;
use super::entry::{self, Entry};
use super::overrides::TaskArgs;
use crate::base::secret::Secret;
use crate::base::{Error, Kind, Result};
use crate::client::exit::Outcome;
use crate::client::ui::OnEnter;
use crate::sys::env;
use crate::task::{
    AutostopSpec, Dag, GIT_SSH_KEY, GIT_TOKEN, MountSource, Overrides, Secretive, Setting, Task,
    Workdir,
};

/// The variable that names the file of a private key for repositories.
const GIT_SSH_KEY_PATH: &str = "GIT_SSH_KEY_PATH";

/// A task on its way.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The task, alone in its dag.
    pub(crate) dag: Dag,
    /// What to say about it: "YAML to run: a.yaml".
    pub(crate) headline: Option<String>,
}

/// Reads what was typed.
pub(crate) async fn read(app: &App, words: &[String]) -> Outcome<Prepared> {
    let entry = match entry::decide(words) {
        entry::Decision::Entry(entry) => entry,
        entry::Decision::Ask { command, reason } => {
            let question = format!(
                "`{command}` looks like a YAML file, but {reason}. Run it as a command on the cluster?"
            );
            app.ui.confirm(&question, OnEnter::No).await?;
            Entry::Command(command)
        }
    };
    Ok(match entry {
        Entry::Empty => Prepared {
            dag: Dag::single(Task::empty()),
            headline: None,
        },
        Entry::Command(text) => Prepared {
            headline: Some(format!("Command to run: {text}")),
            dag: Dag::single(Task::from_command(&text)),
        },
        Entry::Yaml { path, text } => {
            let mut dag = crate::task::parse(&text, &path)?;
            for task in &mut dag.tasks {
                task.keep_source(&text);
            }
            Prepared {
                headline: Some(format!("YAML to run: {path}")),
                dag,
            }
        }
    })
}

impl Prepared {
    /// Refuses pipelines and job groups.
    pub(crate) fn demand_one_task(&self, command: &str) -> Result<()> {
        if self.dag.tasks.len() == 1 {
            return Ok(());
        }
        let what = format!(
            "`sky {command}` runs one task, and this YAML has {}",
            self.dag.tasks.len()
        );
        Err(Error::new(Kind::Usage, what)
            .hint("pipelines and job groups run with `sky jobs launch`"))
    }

    /// Lays the options over the task and makes its paths absolute.
    pub(crate) fn finish(&mut self, app: &App, overrides: &Overrides) -> Result<()> {
        for task in &mut self.dag.tasks {
            overrides.apply(task)?;
            task.substitute();
            absolute_paths(app.paths.home(), task)?;
            git_secrets(app.paths.home(), task)?;
        }
        if overrides.name.is_some() {
            self.dag.name.clone_from(&overrides.name);
        }
        crate::task::validate(&self.dag)
    }
}

impl TaskArgs {
    /// Returns what the options say, with files and the environment read.
    pub(crate) fn overrides(&self, autostop: Option<AutostopSpec>) -> Result<Overrides> {
        let secret = |(name, value)| (name, Secret::new(value));
        let secrets = |settings: Vec<Setting>| -> Vec<Secretive> {
            settings.into_iter().map(secret).collect()
        };
        Ok(Overrides {
            name: self.name.clone(),
            workdir: self.workdir.clone(),
            git_url: self.git_url.clone(),
            git_ref: self.git_ref.clone(),
            infra: self.infra.clone(),
            cloud: self.cloud.clone(),
            region: self.region.clone(),
            zone: self.zone.clone(),
            num_nodes: self.num_nodes,
            cpus: self.cpus.clone(),
            memory: self.memory.clone(),
            gpus: self.gpus.clone(),
            instance_type: self.instance_type.clone(),
            use_spot: match (self.use_spot, self.no_use_spot) {
                (true, _) => Some(true),
                (false, true) => Some(false),
                (false, false) => None,
            },
            image_id: self.image_id.clone(),
            disk_size: self.disk_size.clone(),
            disk_tier: self.disk_tier.clone(),
            network_tier: self.network_tier.clone(),
            local_disk: self.local_disk.clone(),
            ports: self.ports.clone(),
            priority: None,
            job_recovery: None,
            env: settings("--env", &self.env)?,
            env_file: settings_file("--env-file", self.env_file.as_deref())?,
            secret: secrets(settings("--secret", &self.secret)?),
            secret_file: secrets(settings_file("--secret-file", self.secret_file.as_deref())?),
            autostop,
        })
    }

    /// Names the options that have no meaning on a cluster that exists.
    pub(crate) fn ignored_by_exec(&self) -> Vec<&'static str> {
        let given = [
            ("--cpus", self.cpus.is_some()),
            ("--memory", self.memory.is_some()),
            ("--disk-size", self.disk_size.is_some()),
            ("--disk-tier", self.disk_tier.is_some()),
            ("--local-disk", self.local_disk.is_some()),
            ("--ports", !self.ports.is_empty()),
        ];
        given
            .into_iter()
            .filter_map(|(option, given)| given.then_some(option))
            .collect()
    }
}

/// Reads `K=V` and `K`.
fn settings(option: &str, given: &[String]) -> Result<Vec<Setting>> {
    let read = |text: &String| match text.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => match env::exact(text) {
            Some(value) => Ok((text.clone(), value)),
            None => Err(Error::new(
                Kind::Usage,
                format!("`{option} {text}`: the variable is not set in this shell"),
            )
            .hint(format!("{option} {text}=VALUE"))),
        },
    };
    given.iter().map(read).collect()
}

/// Reads a file of `K=V` lines.
fn settings_file(option: &str, path: Option<&str>) -> Result<Vec<Setting>> {
    let Some(path) = path else {
        return Ok(Vec::new());
    };
    let bad = |e: &dyn std::error::Error| {
        Error::new(Kind::Usage, format!("`{option} {path}` cannot be read")).caused_by(e)
    };
    dotenvy::from_path_iter(path)
        .map_err(|e| bad(&e))?
        .map(|item| item.map_err(|e| bad(&e)))
        .collect()
}

/// Makes the paths of this machine absolute, and sees that they exist.
fn absolute_paths(home: &Path, task: &mut Task) -> Result<()> {
    if let Some(Workdir::Local(path)) = &mut task.workdir {
        *path = existing(home, path, "workdir")?;
        if !Path::new(path).is_dir() {
            let what = format!("workdir `{path}` is not a directory");
            return Err(Error::new(Kind::InvalidTask, what));
        }
    }
    for (target, source) in &mut task.file_mounts {
        match source {
            MountSource::Local(path) => {
                *path = existing(home, path, &format!("file_mounts: {target}"))?;
            }
            MountSource::Uri(_) | MountSource::Storage(_) => {}
        }
    }
    Ok(())
}

/// Takes along what opens the task's repository, where the shell names it.
fn git_secrets(home: &Path, task: &mut Task) -> Result<()> {
    if !matches!(task.workdir, Some(Workdir::Git { .. })) {
        return Ok(());
    }
    let mut add = |name: &str, text: String| {
        task.secrets
            .entry(name.to_owned())
            .or_insert_with(|| Secret::new(text));
    };
    if let Some(token) = env::var(GIT_TOKEN) {
        add(GIT_TOKEN, token);
    }
    if let Some(path) = env::var(GIT_SSH_KEY_PATH) {
        let path = existing(home, &path, GIT_SSH_KEY_PATH)?;
        let bad = |what: &str| {
            Error::new(
                Kind::InvalidTask,
                format!("{GIT_SSH_KEY_PATH}: `{path}` {what}"),
            )
        };
        let key =
            std::fs::read_to_string(&path).map_err(|e| bad("cannot be read").caused_by(&e))?;
        if !(key.starts_with("-----BEGIN") && key.contains("PRIVATE KEY")) {
            return Err(bad("is no private key").hint("name the key itself, not its `.pub`"));
        }
        add(GIT_SSH_KEY, key);
    }
    Ok(())
}

/// Returns the absolute form of a path that exists.
fn existing(home: &Path, path: &str, what: &str) -> Result<String> {
    let expanded = match path.strip_prefix('~') {
        Some("") => home.to_path_buf(),
        Some(rest) if rest.starts_with('/') => home.join(&rest[1..]),
        Some(_) | None => PathBuf::from(path),
    };
    let absolute =
        std::path::absolute(&expanded).map_err(|e| Error::io(format!("find `{path}`"), &e))?;
    if let Err(e) = std::fs::symlink_metadata(&absolute) {
        let message = format!("{what}: `{path}` cannot be found on this machine");
        return Err(Error::new(Kind::InvalidTask, message).caused_by(&e));
    }
    Ok(absolute.to_string_lossy().into_owned())
}
