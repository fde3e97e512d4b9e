//! Rules about whole tasks, once overrides are applied. Needs no file system.

use std::collections::HashSet;

use super::model::{Dag, Execution, Task, check_name};
use super::resources::Shape;
use super::sections::check_destination;
use crate::base::{Error, Kind, Result};

/// Variables for private container images: all or none.
const DOCKER_LOGIN: [&str; 3] = [
    "SKYPILOT_DOCKER_USERNAME",
    "SKYPILOT_DOCKER_PASSWORD",
    "SKYPILOT_DOCKER_SERVER",
];

/// Checks what parsing one field cannot see.
pub(crate) fn validate(dag: &Dag) -> Result<()> {
    let several = dag.tasks.len() > 1;
    if dag.tasks.is_empty() {
        return Err(Error::new(Kind::InvalidTask, "there is no task"));
    }
    for (index, task) in dag.tasks.iter().enumerate() {
        validate_task(task).map_err(|error| match (&task.name, several) {
            (_, false) => error,
            (Some(name), true) => error.context(format!("task `{name}` is not valid")),
            (None, true) => error.context(format!("task {} is not valid", index + 1)),
        })?;
    }
    match &dag.execution {
        Execution::Single | Execution::Serial => Ok(()),
        Execution::Parallel(group) => {
            let mut names = HashSet::new();
            for task in &dag.tasks {
                let Some(name) = &task.name else {
                    return Err(wrong("every task of a job group needs a name"));
                };
                if name.contains('.') {
                    return Err(wrong(format!(
                        "in a job group the name `{name}` must not hold `.`"
                    )));
                }
                if !names.insert(name.as_str()) {
                    return Err(wrong(format!(
                        "the job group has several tasks named `{name}`"
                    )));
                }
            }
            match group
                .primary_tasks
                .iter()
                .find(|name| !names.contains(name.as_str()))
            {
                Some(name) => Err(wrong(format!(
                    "primary_tasks: there is no task `{name}` in the group"
                ))),
                None => Ok(()),
            }
        }
    }
}

/// Makes an error about a task.
fn wrong(what: impl Into<String>) -> Error {
    Error::new(Kind::InvalidTask, what)
}

/// Checks one task.
fn validate_task(task: &Task) -> Result<()> {
    if let Some(name) = &task.name {
        check_name(name).map_err(wrong)?;
    }
    if task.num_nodes == 0 {
        return Err(wrong("num_nodes must be at least 1"));
    }
    if let Some(name) = task.missing_envs.iter().next() {
        return Err(wrong(format!("envs: `{name}` has no value"))
            .hint(format!("pass it with --env {name}=VALUE")));
    }
    if let Some(name) = task.missing_secrets.iter().next() {
        return Err(wrong(format!("secrets: `{name}` has no value"))
            .hint(format!("pass it with --secret {name}=VALUE")));
    }
    if let Some(name) = task
        .secrets
        .keys()
        .find(|name| task.envs.contains_key(*name))
    {
        return Err(wrong(format!("`{name}` is both in envs and in secrets")));
    }
    let has = |name: &&str| task.envs.contains_key(*name) || task.secrets.contains_key(*name);
    let given = DOCKER_LOGIN.iter().filter(|name| has(name)).count();
    if given != 0 && given != DOCKER_LOGIN.len() {
        return Err(wrong(format!(
            "a private registry needs all of {}",
            DOCKER_LOGIN.join(", ")
        )));
    }
    for path in task.file_mounts.keys() {
        check_destination(path).map_err(|what| wrong(format!("file_mounts: `{path}`: {what}")))?;
    }
    if task.service.is_some() && task.pool.is_some() {
        return Err(wrong("a task cannot have both `service` and `pool`"));
    }
    task.resources
        .alternatives
        .iter()
        .try_for_each(|shape| validate_shape(task, shape))
}

/// Checks one alternative.
fn validate_shape(task: &Task, shape: &Shape) -> Result<()> {
    if task.pool.is_some() && !shape.ports.is_empty() {
        return Err(wrong("a pool must not have ports"));
    }
    if task.service.is_some() && shape.ports.is_empty() {
        return Err(
            wrong("resources.ports: a service needs a port").hint("add `ports: 8080` to resources")
        );
    }
    if task.service.is_some() && shape.job_recovery.is_some() {
        return Err(wrong("resources.job_recovery is not for services"));
    }
    Ok(())
}
