//! YAML text to [`Dag`].

use std::collections::{BTreeMap, BTreeSet};

use super::fields::{Fields, Place};
use super::model::{Dag, Execution, Group, MountSource, Task, Workdir, check_name};
use super::yaml::{self, Data, Node};
use super::{read_resources, sections, service};
use crate::base::secret::Secret;
use crate::base::{Error, Kind, Result};

/// The most tasks of a text.
const MAX_TASKS: usize = 200;
/// The most nodes of a task.
const MAX_NUM_NODES: i64 = 100_000;

/// Fields of a task.
const TASK_FIELDS: [&str; 21] = [
    "name",
    "workdir",
    "num_nodes",
    "resources",
    "envs",
    "secrets",
    "file_mounts",
    "volumes",
    "setup",
    "run",
    "config",
    "service",
    "pool",
    "inputs",
    "outputs",
    "event_callback",
    "api_server_access",
    "managed_secrets",
    "volume_mounts",
    "file_mounts_mapping",
    "_user_specified_yaml",
];
/// Fields of the first document of several.
const HEADER_FIELDS: [&str; 5] = [
    "name",
    "execution",
    "primary_tasks",
    "termination_delay",
    "inter_connection",
];

/// What a text is, for the rule that decides between YAML and command.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Entry {
    /// A mapping, or several documents.
    Task,
    /// A single plain text: a command.
    Command(String),
    /// Not YAML; the error says why.
    Invalid(Error),
}

/// Decides what a text is; does not check the fields of a task.
pub(crate) fn classify(text: &str) -> Entry {
    match yaml::documents(text, "text") {
        Err(error) => Entry::Invalid(error),
        Ok(documents) => match documents.as_slice() {
            [
                Node {
                    data: Data::Scalar { text, .. },
                    ..
                },
            ] => Entry::Command(text.clone()),
            [
                Node {
                    data: Data::List(_),
                    ..
                },
            ] => Entry::Invalid(Error::new(Kind::InvalidTask, "a list is not a task")),
            [] => Entry::Invalid(Error::new(Kind::InvalidTask, "there is nothing in it")),
            [..] => Entry::Task,
        },
    }
}

/// Reads tasks from YAML of a user or from the text of a request; `origin` names the text in errors.
///
/// Checks each field; what only makes sense once overrides are applied is left to `validate`.
pub(crate) fn parse(text: &str, origin: &str) -> Result<Dag> {
    let documents = yaml::documents(text, origin)?;
    let Some(first) = documents.first() else {
        return Err(Error::new(
            Kind::InvalidTask,
            format!("{origin}: there is no task in it: the text is empty"),
        ));
    };
    let header = is_header(first, documents.len());
    let tasks = &documents[usize::from(header)..];
    if tasks.len() > MAX_TASKS {
        let what = format!(
            "{origin}: {} tasks, more than the {MAX_TASKS} that are possible",
            tasks.len()
        );
        return Err(Error::new(Kind::InvalidTask, what));
    }
    let tasks: Vec<Task> = tasks
        .iter()
        .map(|node| read_task(&Place::top(origin, node)))
        .collect::<Result<_>>()?;
    let place = Place::top(origin, first);
    let Some(only) = tasks.first() else {
        return Err(place.error("there is no task after the header"));
    };
    let several = tasks.len() > 1;
    let by_count = if several {
        Execution::Serial
    } else {
        Execution::Single
    };
    let (name, execution) = if header {
        let fields = place.fields(&HEADER_FIELDS)?;
        (
            fields.read("name", name_text)?,
            read_execution(&fields)?.unwrap_or(by_count),
        )
    } else {
        (None, by_count)
    };
    let name = name.or_else(|| if several { None } else { only.name.clone() });
    Ok(Dag {
        name,
        tasks,
        execution,
    })
}

/// Returns whether the first document is about the whole.
fn is_header(node: &Node, documents: usize) -> bool {
    let Data::Map(entries) = &node.data else {
        return false;
    };
    let has = |name: &str| entries.iter().any(|(key, _)| key.text == name);
    let only_header = entries
        .iter()
        .all(|(key, _)| HEADER_FIELDS.contains(&key.text.as_str()));
    has("execution")
        || has("primary_tasks")
        || (documents > 1 && only_header && !entries.is_empty())
}

/// Reads how tasks run together.
fn read_execution(fields: &Fields<'_>) -> Result<Option<Execution>> {
    let group = Group {
        primary_tasks: fields
            .read("primary_tasks", |place| {
                place.items().iter().map(Place::filled_text).collect()
            })?
            .unwrap_or_default(),
        termination_delay: fields.read("termination_delay", sections::delay)?,
        inter_connection: fields.read("inter_connection", Place::truth)?,
    };
    let word = fields.read("execution", |place| place.word(&["serial", "parallel"]))?;
    match word.as_deref() {
        Some("parallel") => Ok(Some(Execution::Parallel(group))),
        other if group == Group::default() => Ok(other.map(|_| Execution::Serial)),
        Some(_) | None => Err(fields.place.error(
            "`primary_tasks`, `termination_delay` and `inter_connection` need `execution: parallel`",
        )),
    }
}

/// Reads the name of a task.
fn name_text(place: &Place<'_>) -> Result<String> {
    let name = place.text()?;
    check_name(&name).map_err(|what| place.error(what))?;
    Ok(name)
}

/// Reads one task.
fn read_task(place: &Place<'_>) -> Result<Task> {
    if !place.is_map() {
        return Err(place.error("a task is a mapping such as `run: echo hello`"));
    }
    if let Some((_, inner)) = place
        .entries()?
        .iter()
        .find(|(key, _)| is_misplaced(&key.text))
    {
        return Err(inner.error("unknown field; it belongs under `resources`"));
    }
    let fields = place.fields(&TASK_FIELDS)?;
    fields.exclude("service", "pool")?;
    let (envs, missing_envs) = fields.read("envs", read_envs)?.unwrap_or_default();
    let mut task = Task {
        name: fields.read("name", name_text)?,
        workdir: fields.read("workdir", read_workdir)?,
        num_nodes: read_num_nodes(&fields)?,
        resources: fields
            .read("resources", read_resources::resources)?
            .unwrap_or_default(),
        envs,
        missing_envs,
        file_mounts: fields
            .read("file_mounts", sections::file_mounts)?
            .unwrap_or_default(),
        file_mounts_mapping: fields
            .read("file_mounts_mapping", text_map)?
            .unwrap_or_default(),
        volumes: fields
            .read("volumes", sections::volumes)?
            .unwrap_or_default(),
        setup: fields.read("setup", Place::text)?,
        run: fields.read("run", Place::text)?,
        config: fields.read("config", sections::config)?.unwrap_or_default(),
        pool: fields.read("pool", service::pool)?,
        inputs: fields
            .read("inputs", sections::estimate)?
            .unwrap_or_default(),
        outputs: fields
            .read("outputs", sections::estimate)?
            .unwrap_or_default(),
        event_callback: fields.read("event_callback", Place::text)?,
        api_server_access: fields.read("api_server_access", Place::truth)?,
        internal: fields.internal()?,
        user_yaml: fields.read("_user_specified_yaml", Place::text)?,
        ..Task::default()
    };
    task.internal.remove("_user_specified_yaml");
    for name in ["managed_secrets", "volume_mounts"] {
        if let Some(value) = fields.read(name, Place::value)? {
            task.internal.insert(name.to_owned(), value);
        }
    }
    if let Some(place) = fields.get("secrets") {
        read_secrets(place, &mut task)?;
    }
    if let Some(place) = fields.get("service") {
        service::service(place, &mut task)?;
    }
    if let Some(hook) = fields
        .read("resources", read_resources::deprecated_hook)?
        .flatten()
    {
        sections::add_hook(&mut task.config, &hook);
    }
    Ok(task)
}

/// Returns whether a field of `resources` stands among those of the task.
fn is_misplaced(name: &str) -> bool {
    read_resources::FIELDS.contains(&name) && !TASK_FIELDS.contains(&name)
}

/// Reads the size of the gang.
fn read_num_nodes(fields: &Fields<'_>) -> Result<u32> {
    let nodes = fields
        .read("num_nodes", |place| place.integer(1, MAX_NUM_NODES))?
        .unwrap_or(1);
    Ok(u32::try_from(nodes).unwrap_or(1))
}

/// Reads what is copied to the work directory.
fn read_workdir(place: &Place<'_>) -> Result<Workdir> {
    if !place.is_map() {
        return Ok(Workdir::Local(place.filled_text()?));
    }
    let fields = place.fields(&["url", "ref"])?;
    let Some(url) = fields.read("url", Place::filled_text)? else {
        return Err(place.error("a repository needs `url`"));
    };
    check_git_url(&url).map_err(|what| place.error(what))?;
    Ok(Workdir::Git {
        url,
        git_ref: fields.read("ref", Place::filled_text)?,
    })
}

/// Checks the URL of a repository.
pub(super) fn check_git_url(url: &str) -> Result<(), String> {
    let scheme = ["https://", "http://", "ssh://"]
        .iter()
        .any(|scheme| url.starts_with(scheme));
    let scp_like = url
        .split_once(':')
        .is_some_and(|(host, path)| host.contains('@') && !path.is_empty());
    let odd = url.starts_with('-') || url.contains(|c: char| c.is_whitespace() || c.is_control());
    if (scheme || scp_like) && !odd {
        return Ok(());
    }
    Err(format!(
        "`{}` is not an https or ssh URL of a repository",
        crate::base::ids::clip(url)
    ))
}

/// Variables with a value, and names of those without.
type Variables = (BTreeMap<String, String>, BTreeSet<String>);

/// Reads environment variables.
fn read_envs(place: &Place<'_>) -> Result<Variables> {
    let mut variables = Variables::default();
    for (key, place) in place.entries()? {
        check_variable(&key.text).map_err(|what| place.error(what))?;
        if place.is_null() {
            variables.1.insert(key.text.clone());
        } else {
            let value = place.env_text()?;
            variables.0.insert(key.text.clone(), value);
        }
    }
    Ok(variables)
}

/// Checks the name of an environment variable.
pub(super) fn check_variable(name: &str) -> Result<(), String> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let goes_on_well = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if starts_well && goes_on_well && name.len() <= 500 {
        return Ok(());
    }
    Err(format!(
        "`{}` is not a name for an environment variable: letters, digits and `_`, not beginning with a digit",
        crate::base::ids::clip(name)
    ))
}

/// Reads secrets: a mapping, or a list of `secrets:NAME` and mappings.
fn read_secrets(place: &Place<'_>, task: &mut Task) -> Result<()> {
    for part in place.items() {
        if part.is_map() {
            let (values, missing) = read_envs(&part)?;
            let declared =
                |name: &&String| task.envs.contains_key(*name) || task.missing_envs.contains(*name);
            if let Some(both) = values.keys().chain(&missing).find(declared) {
                return Err(part.error(format!("`{both}` stands in `envs` as well")));
            }
            task.secrets.extend(
                values
                    .into_iter()
                    .map(|(name, value)| (name, Secret::new(value))),
            );
            task.missing_secrets.extend(missing);
        } else {
            let text = part.text()?;
            match text.strip_prefix("secrets:").map(str::trim) {
                Some(name) if !name.is_empty() => task.secret_refs.push(name.to_owned()),
                Some(_) | None => {
                    return Err(part.error("expected `secrets:NAME`, or a mapping name → value"));
                }
            }
        }
    }
    Ok(())
}

/// Reads a mapping of text to text.
pub(super) fn text_map(place: &Place<'_>) -> Result<BTreeMap<String, String>> {
    place
        .entries()?
        .into_iter()
        .map(|(key, place)| Ok((key.text.clone(), place.text()?)))
        .collect()
}

/// Turns the text of a source into what it is.
pub(super) fn source(place: &Place<'_>) -> Result<MountSource> {
    Ok(MountSource::from_text(place.filled_text()?))
}
