//! What is checked of a task before anything is stored.

use crate::base::{Error, Kind, Result};
use crate::task::{Dag, Task};

/// Reads a task text that must hold one task.
pub(super) fn single(text: &str) -> Result<Task> {
    let mut dag = parse(text)?;
    if dag.tasks.len() > 1 {
        return Err(Error::new(
            Kind::InvalidTask,
            format!(
                "the task has {} documents: a pipeline is not launched on one cluster",
                dag.tasks.len()
            ),
        )
        .hint("run it as a managed job: sky jobs launch"));
    }
    dag.tasks
        .pop()
        .ok_or_else(|| Error::new(Kind::InvalidTask, "the task text holds no task"))
}

/// Reads and checks a task text.
pub(super) fn parse(text: &str) -> Result<Dag> {
    // Variables in paths are the client's to replace: it knows which are its own.
    let dag = crate::task::parse(text, "task")?;
    crate::task::validate(&dag)?;
    Ok(dag)
}

/// Checks a task text; the error is what a submission of it would give.
pub(crate) fn validate(text: &str) -> Result<()> {
    parse(text).map(drop)
}
