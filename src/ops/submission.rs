//! The last step of launch and exec: the job, handed to the head's agent under the request's key.

use super::Ops;
use crate::api::agent::{CancelJobs, JobSpec, SubmitJob};
use crate::base::clock::Moment;
use crate::base::cx::Cx;
use crate::base::ids::{ClusterName, JobId};
use crate::base::{Error, Kind, Result};
use crate::clusters::{Cluster, State};
use crate::task::Task;

/// The CPUs that a job occupies in the queue: a token, as users know it; jobs are limited by accelerators.
const CPU_TOKEN: f64 = 0.5;

/// Whether `setup` runs before `run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setup {
    /// It does.
    Run,
    /// It is skipped.
    Skip,
}

/// Submits the task's job; `None` when there is nothing to run. Submitting twice gives the same job.
pub(super) async fn submit(
    ops: &Ops,
    cx: &Cx,
    cluster: &Cluster,
    task: &Task,
    setup: Setup,
) -> Result<Option<JobId>> {
    let setup = task.setup.clone().filter(|_| setup == Setup::Run);
    if setup.is_none() && task.run.is_none() {
        return Ok(None);
    }
    cx.spinner("[bold cyan]Submitting job[/]");
    if setup.is_some() {
        cx.line("✓ Setup detached.");
    }
    let submission = SubmitJob {
        key: cx.request().to_string(),
        spec: spec(cx, cluster, task, setup),
    };
    let submitted = ops
        .clusters
        .on_head(cluster, |agent| {
            let submission = submission.clone();
            async move { agent.submit(&submission).await }
        })
        .await
        .map_err(|error| match error.kind() {
            Kind::Unreachable | Kind::Timeout => {
                let name = &cluster.name;
                error
                    .context(format!("cannot submit the job to cluster `{name}`"))
                    .hint(format!(
                        "see whether it has the job all the same: sky queue {name}"
                    ))
            }
            _ => error,
        })?;
    cx.line(format!("⚙︎ Job submitted, ID: {}", submitted.job_id));
    Ok(Some(submitted.job_id))
}

/// Says what the job is.
fn spec(cx: &Cx, cluster: &Cluster, task: &Task, setup: Option<String>) -> JobSpec {
    let mut envs = task.envs.clone();
    envs.extend(
        task.secrets
            .iter()
            .map(|(name, value)| (name.clone(), value.reveal().to_owned())),
    );
    let shape = task.resources.alternatives.first();
    let accelerator = shape.and_then(|s| s.accelerators.clone());
    let demand = match (&accelerator, shape.and_then(|s| s.cpus)) {
        (Some(a), _) => format!("{}:{}", a.name, a.count),
        (None, Some(cpus)) => format!("CPU:{}{}", cpus.value, if cpus.at_least { "+" } else { "" }),
        (None, None) => "CPU:1+".to_owned(),
    };
    JobSpec {
        name: task.name.clone(),
        user: cx.caller().id.clone(),
        user_name: cx.caller().name.clone(),
        setup,
        run: task.run.clone(),
        num_nodes: task.num_nodes,
        envs,
        secret_names: task.secrets.keys().cloned().collect(),
        cpus: CPU_TOKEN,
        accelerators: accelerator.map(|a| (a.name, a.count)).into_iter().collect(),
        resources_text: format!("{}x[{demand}]", task.num_nodes),
        task_id_prefix: format!("sky-{}_{}_", time_stamp(Moment::now()), cluster.name),
    }
}

/// Writes a moment as task ids have it: `2026-11-23-19-51-33-095533`.
fn time_stamp(moment: Moment) -> String {
    let micros = moment.micros().rem_euclid(1_000_000);
    format!(
        "{}-{micros:06}",
        moment.timestamp().strftime("%Y-%m-%d-%H-%M-%S")
    )
}

/// Makes sure that the job of a cancelled request does not run, whether it was submitted or not; says what was done.
pub(super) async fn revoke(ops: &Ops, cx: &Cx, name: &str) -> Option<String> {
    let name: ClusterName = name.parse().ok()?;
    let cluster = ops.clusters.find(&name).await.ok()??;
    if !matches!(cluster.state, State::Up { .. } | State::Unhealthy { .. }) {
        return None;
    }
    let key = CancelJobs::Key {
        key: cx.request().to_string(),
    };
    let revoked = ops
        .clusters
        .on_head(&cluster, |agent| {
            let key = key.clone();
            async move { agent.cancel(&key).await }
        })
        .await;
    match revoked {
        Ok(cancelled) if cancelled.ids.is_empty() => {
            Some(format!("cluster `{name}` is up; no job was started"))
        }
        Ok(cancelled) => {
            let ids: Vec<String> = cancelled.ids.iter().map(ToString::to_string).collect();
            Some(format!(
                "cluster `{name}` is up; job {} was cancelled",
                ids.join(", ")
            ))
        }
        Err(error) => Some(format!(
            "cluster `{name}` is up, but its agent could not be told to cancel the job ({}); see: sky queue {name}",
            error.one_line()
        )),
    }
}

/// Checks that a task fits on a cluster that exists.
pub(super) fn require_fit(cluster: &Cluster, task: &Task) -> Result<()> {
    crate::optimizer::fits(&cluster.set.offer, cluster.set.count, task).map_err(|e| {
        let name = &cluster.name;
        Error::new(
            Kind::ResourcesMismatch,
            format!("the task does not fit on cluster `{name}`"),
        )
        .caused_by(&e)
        .hint("use another cluster name: -c NAME")
        .hint(format!("or remove this one first: sky down {name}"))
    })
}
