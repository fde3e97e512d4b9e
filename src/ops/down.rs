//! `sky down`: removes the machines and the record.

use std::time::Duration;

use serde_json::Value;

use super::Ops;
use crate::api::agent::CancelJobs;
use crate::api::bodies::StopBody;
use crate::base::cx::{Cx, Role};
use crate::base::ids::ClusterName;
use crate::base::{Error, Kind, Result};
use crate::clusters::{Cluster, State};

/// How long a graceful stop waits for jobs when nobody says.
const GRACE: Duration = Duration::from_mins(10);

/// Runs the verb.
pub(super) async fn run(ops: &Ops, cx: &Cx, body: StopBody) -> Result<Value> {
    let name: ClusterName = body.cluster_name.parse()?;
    let Some(cluster) = ops.clusters.find(&name).await? else {
        // A launch that this very request cancelled may have taken its cluster with it.
        if removed_meanwhile(ops, cx, &name).await? {
            return Ok(Value::Null);
        }
        if body.purge && removed_stray(ops, cx, &name).await? {
            return Ok(Value::Null);
        }
        return Err(never_made(ops, &name).await);
    };
    cx.spinner(format!("[bold cyan]Terminating cluster {name}[/]"));
    if !body.purge {
        let_jobs_end(ops, cx, &cluster, body.graceful, body.graceful_timeout).await?;
    }
    ops.clusters.terminate(&cluster, false, body.purge).await?;
    cx.end_spinner();
    Ok(Value::Null)
}

/// The error for a cluster that does not exist. Whatever was asked of it was cancelled when this request came in.
async fn never_made(ops: &Ops, name: &ClusterName) -> Error {
    match ops.clusters.get(name).await {
        Err(error) => error.hint(format!(
            "launches of it that had not finished are cancelled: sky api status -a --cluster {name}"
        )),
        // Nobody makes it while this request has its turn.
        Ok(_) => Error::new(
            Kind::Conflict,
            format!("cluster `{name}` was made just now"),
        )
        .hint(format!("try again: sky down {name}")),
    }
}

/// Whether a cluster of this name was removed after this request was made.
async fn removed_meanwhile(ops: &Ops, cx: &Cx, name: &ClusterName) -> Result<bool> {
    let asked = cx.request().created();
    Ok(ops
        .clusters
        .buried()
        .await?
        .iter()
        .any(|b| b.cluster.name == *name && b.removed_at >= asked))
}

/// Whether machines of this name that no cluster owned were there, and are gone now.
async fn removed_stray(ops: &Ops, cx: &Cx, name: &ClusterName) -> Result<bool> {
    // Nobody knows whose they were.
    if cx.caller().role != Role::Admin {
        return Ok(false);
    }
    let Some(cloud) = ops.clusters.remove_stray(name.as_str()).await? else {
        return Ok(false);
    };
    cx.line(format!(
        "Removed machines on {} that belonged to no cluster: {name}",
        cloud.display_name()
    ));
    Ok(true)
}

/// With `graceful`: cancels the jobs and waits until their processes have ended by themselves.
pub(super) async fn let_jobs_end(
    ops: &Ops,
    cx: &Cx,
    cluster: &Cluster,
    graceful: bool,
    timeout: Option<u64>,
) -> Result<()> {
    if !graceful || !matches!(cluster.state, State::Up { .. }) {
        return Ok(());
    }
    cx.spinner(format!(
        "[bold cyan]Waiting for the jobs of cluster {} to end[/]",
        cluster.name
    ));
    let deadline = timeout.map_or(GRACE, Duration::from_secs);
    let cancel = ops.clusters.on_head(cluster, |agent| async move {
        agent.cancel(&CancelJobs::All).await
    });
    match tokio::time::timeout(deadline, cancel).await {
        Ok(result) => result.map(drop),
        Err(_) => Err(Error::new(
            Kind::Timeout,
            format!(
                "the jobs of cluster `{}` did not end in {} s",
                cluster.name,
                deadline.as_secs()
            ),
        )
        .hint("leave out --graceful to end them with the machines")),
    }
}
