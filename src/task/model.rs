//! The task and the dag of tasks.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::resources::ResourcesSpec;
use crate::base::ids::clip;
use crate::base::secret::Secret;

/// Name of tasks that were given as a command.
pub(super) const COMMAND_NAME: &str = "sky-cmd";

/// Tasks that belong together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Dag {
    /// Name of the whole; of a single task its name, if nothing else is said.
    pub(crate) name: Option<String>,
    /// Never empty.
    pub(crate) tasks: Vec<Task>,
    /// How they run together.
    pub(crate) execution: Execution,
}

impl Dag {
    /// Makes a dag of one task.
    pub(crate) fn single(task: Task) -> Self {
        Self {
            name: task.name.clone(),
            tasks: vec![task],
            execution: Execution::Single,
        }
    }

    /// Returns the only task, or none when there are several.
    #[cfg(test)]
    pub(crate) fn only_task(&self) -> Option<&Task> {
        match self.tasks.as_slice() {
            [task] => Some(task),
            _ => None,
        }
    }
}

/// How the tasks of a dag run together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Execution {
    /// One task.
    Single,
    /// A pipeline: one after the other.
    Serial,
    /// A job group: at the same time.
    Parallel(Group),
}

/// Settings of a job group.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Group {
    /// Tasks whose end ends the group; empty = all.
    pub(crate) primary_tasks: Vec<String>,
    /// How long the others live on, as written: a duration or a mapping task → duration.
    pub(crate) termination_delay: Option<Value>,
    /// Whether tasks know each other's host names.
    pub(crate) inter_connection: Option<bool>,
}

/// What to run and where.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Task {
    /// Name in queues and logs.
    pub(crate) name: Option<String>,
    /// Directory that is copied to `~/sky_workdir`.
    pub(crate) workdir: Option<Workdir>,
    /// Size of the gang, at least 1.
    pub(crate) num_nodes: u32,
    /// What each node must offer.
    pub(crate) resources: ResourcesSpec,
    /// Environment of setup and run.
    pub(crate) envs: BTreeMap<String, String>,
    /// Declared with null: must be supplied with `--env`.
    pub(crate) missing_envs: BTreeSet<String>,
    /// As `envs`, never shown.
    pub(crate) secrets: BTreeMap<String, Secret>,
    /// Declared with null: must be supplied with `--secret`.
    pub(crate) missing_secrets: BTreeSet<String>,
    /// Names of secrets that the server keeps.
    pub(crate) secret_refs: Vec<String>,
    /// Path on the node → what to put there.
    pub(crate) file_mounts: BTreeMap<String, MountSource>,
    /// Path on the client → path in the upload.
    pub(crate) file_mounts_mapping: BTreeMap<String, String>,
    /// Path on the node → volume, as written.
    pub(crate) volumes: Map<String, Value>,
    /// Script before the first run on a node.
    pub(crate) setup: Option<String>,
    /// Script of the job.
    pub(crate) run: Option<String>,
    /// Configuration for this task.
    pub(crate) config: Map<String, Value>,
    /// Section of `sky serve`, as written.
    pub(crate) service: Option<Value>,
    /// Section of pools, as written.
    pub(crate) pool: Option<Value>,
    /// Where inputs lie and how large they are (GB).
    pub(crate) inputs: Map<String, Value>,
    /// Where outputs go and how large they are (GB).
    pub(crate) outputs: Map<String, Value>,
    /// Script on changes of a managed job's status.
    pub(crate) event_callback: Option<String>,
    /// Whether managed jobs may call the server.
    pub(crate) api_server_access: Option<bool>,
    /// Notes between `SkyPilot`'s programs (`managed_secrets`, `volume_mounts`, keys that begin with `_`): passed on.
    pub(crate) internal: Map<String, Value>,
    /// What the user wrote, without secrets.
    pub(crate) user_yaml: Option<String>,
}

impl Default for Task {
    fn default() -> Self {
        Self {
            name: None,
            workdir: None,
            num_nodes: 1,
            resources: ResourcesSpec::default(),
            envs: BTreeMap::new(),
            missing_envs: BTreeSet::new(),
            secrets: BTreeMap::new(),
            missing_secrets: BTreeSet::new(),
            secret_refs: Vec::new(),
            file_mounts: BTreeMap::new(),
            file_mounts_mapping: BTreeMap::new(),
            volumes: Map::new(),
            setup: None,
            run: None,
            config: Map::new(),
            service: None,
            pool: None,
            inputs: Map::new(),
            outputs: Map::new(),
            event_callback: None,
            api_server_access: None,
            internal: Map::new(),
            user_yaml: None,
        }
    }
}

impl Task {
    /// Makes a task that only provisions.
    pub(crate) fn empty() -> Self {
        Self::default()
    }

    /// Makes a task of a command line.
    pub(crate) fn from_command(text: &str) -> Self {
        Self {
            name: Some(COMMAND_NAME.to_owned()),
            run: Some(text.to_owned()),
            ..Self::default()
        }
    }

    /// Returns a destination of the file mounts that is not under the home of the node.
    pub(crate) fn mount_outside_home(&self) -> Option<&str> {
        let mut dests = self.file_mounts.keys();
        dests.find(|dest| dest.starts_with('/')).map(String::as_str)
    }

    /// Remembers what the user wrote; where it holds secrets, a redacted rendering of it.
    ///
    /// To be called right after [`super::parse`], before overrides.
    pub(crate) fn keep_source(&mut self, text: &str) {
        let has_secrets = !self.secrets.is_empty();
        self.user_yaml = Some(if has_secrets {
            super::to_display(self)
        } else {
            text.to_owned()
        });
    }
}

/// The secret of a task that is the password of its repository (https).
pub(crate) const GIT_TOKEN: &str = "GIT_TOKEN";
/// The secret of a task that is the private key of its repository (ssh).
pub(crate) const GIT_SSH_KEY: &str = "GIT_SSH_KEY";

/// What is copied to `~/sky_workdir`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Workdir {
    /// A directory of the client.
    Local(String),
    /// A repository.
    Git {
        /// Where it is cloned from.
        url: String,
        /// Branch, tag or commit.
        git_ref: Option<String>,
    },
}

/// What is put at a path of the node.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum MountSource {
    /// A file or directory of the client.
    Local(String),
    /// A bucket or an object in one.
    Uri(String),
    /// A storage mapping, as written.
    Storage(Map<String, Value>),
}

impl MountSource {
    /// Sorts a source text: with a scheme it is a URI.
    pub(super) fn from_text(text: String) -> Self {
        match text.split_once("://") {
            Some((scheme, _))
                if !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric()) =>
            {
                Self::Uri(text)
            }
            Some(_) | None => Self::Local(text),
        }
    }
}

/// Checks the name of a task; the error says what is wrong.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let bytes = name.as_bytes();
    let is_separator = |b: &u8| b"._-".contains(b);
    let wrong = |why: &str| Err(format!("the name `{}` is not valid: {why}", clip(name)));
    if bytes.is_empty() {
        return wrong("it is empty");
    }
    if bytes.len() > 120 {
        return wrong("it is longer than 120 characters");
    }
    if !bytes
        .iter()
        .all(|b| b.is_ascii_alphanumeric() || is_separator(b))
    {
        return wrong("it may hold only letters, digits, `.`, `_` and `-`");
    }
    if is_separator(&bytes[0]) || is_separator(&bytes[bytes.len() - 1]) {
        return wrong("it must begin and end with a letter or a digit");
    }
    if bytes.windows(3).any(|three| three.iter().all(is_separator)) {
        return wrong("it has more than two separators in a row");
    }
    Ok(())
}
