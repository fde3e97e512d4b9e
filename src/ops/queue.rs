//! `sky queue` and `sky logs --status`: the jobs of a cluster.

use serde_json::{Map, Value};

use super::Ops;
use crate::api::bodies::{JobStatusBody, QueueBody};
use crate::base::cx::Cx;
use crate::base::ids::{ClusterName, JobId};
use crate::base::{Error, Result};
use crate::clusters::{Cluster, job_record};

/// The most jobs that one listing shows.
const MAX_JOBS: u64 = 10_000;

/// Finds a cluster whose agents can be asked.
pub(super) async fn reachable(ops: &Ops, name: &str) -> Result<Cluster> {
    let name: ClusterName = name.parse()?;
    let cluster = ops.clusters.get(&name).await?;
    cluster.require_up()?;
    Ok(cluster)
}

/// Lists jobs, newest first.
pub(super) async fn run(ops: &Ops, cx: &Cx, body: QueueBody) -> Result<Value> {
    let cluster = reachable(ops, &body.cluster_name).await?;
    let jobs = ops
        .clusters
        .on_head(&cluster, |agent| async move {
            agent.jobs(body.skip_finished, Some(MAX_JOBS)).await
        })
        .await?;
    let records: Vec<_> = jobs
        .iter()
        .filter(|job| body.all_users || job.user == cx.caller().id)
        .map(job_record)
        .collect();
    serde_json::to_value(records).map_err(|e| Error::internal("write job records", &e))
}

/// Says how jobs stand: a map from number to state, null for those that do not exist.
pub(super) async fn job_status(ops: &Ops, _cx: &Cx, body: JobStatusBody) -> Result<Value> {
    let cluster = reachable(ops, &body.cluster_name).await?;
    let wanted: Vec<Option<JobId>> = match &body.job_ids {
        Some(ids) => ids.iter().map(|id| Some(JobId(*id))).collect(),
        None => vec![None],
    };
    let mut states = Map::new();
    for id in wanted {
        let found = ops
            .clusters
            .on_head(&cluster, |agent| async move { agent.job(id).await })
            .await?;
        match found {
            Some(job) => states.insert(job.job_id.to_string(), job.status.as_str().into()),
            None => states.insert(
                id.map_or_else(|| "None".to_owned(), |id| id.to_string()),
                Value::Null,
            ),
        };
    }
    Ok(Value::Object(states))
}
