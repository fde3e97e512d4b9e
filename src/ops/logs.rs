//! Logs of jobs: followed live, or collected on the server for download.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{Ops, queue};
use crate::api::bodies::DownloadLogsBody;
use crate::base::cx::{Caller, Cx};
use crate::base::ids::{ClusterName, JobId, RequestId};
use crate::base::{Error, Kind, Result};
use crate::http::stream::Source;

impl Ops {
    /// Returns the log of a job (the latest, when none is named) and its number; `None` when there is no such job.
    pub(crate) async fn job_log(
        &self,
        cluster: &str,
        job: Option<JobId>,
    ) -> Result<Option<(JobId, Box<dyn Source>)>> {
        let cluster = queue::reachable(self, cluster).await?;
        if let Some(id) = job
            && let Some(log) = self.clusters.followed_log(&cluster, id)
        {
            return Ok(Some((id, log)));
        }
        let found = self
            .clusters
            .on_head(&cluster, |agent| async move { agent.job(job).await })
            .await?;
        Ok(found.map(|job| (job.job_id, self.clusters.job_log(&cluster, &job))))
    }

    /// Returns the request that provisioned a cluster last: its log is the provision log, of all workers.
    pub(crate) async fn provision_request(
        &self,
        cluster: &str,
        worker: Option<u32>,
    ) -> Result<RequestId> {
        let name: ClusterName = cluster.parse()?;
        let cluster = self.clusters.get(&name).await?;
        let workers = cluster.set.count.saturating_sub(1);
        match worker {
            Some(worker) if worker > workers => Err(Error::new(
                Kind::NotFound,
                format!("cluster `{name}` has no worker {worker}, it has {workers}"),
            )),
            Some(_) | None => Ok(cluster.provisioned_by),
        }
    }

    /// Returns the names of clusters that begin with a text, for completion.
    pub(crate) async fn cluster_names(&self, beginning: &str) -> Result<Vec<String>> {
        let all = self.clusters.list().await?;
        Ok(all
            .iter()
            .map(|c| c.name.to_string())
            .filter(|n| n.starts_with(beginning))
            .collect())
    }

    /// Returns where the downloads of a user are made.
    pub(crate) fn downloads(&self, caller: &Caller) -> PathBuf {
        self.clients.join(caller.id.as_str()).join("sky_logs")
    }
}

/// Collects the log directories of jobs; returns a map from number to directory on the server.
pub(super) async fn download(ops: &Ops, cx: &Cx, body: DownloadLogsBody) -> Result<Value> {
    let cluster = queue::reachable(ops, &body.cluster_name).await?;
    let ids: Vec<Option<JobId>> = match &body.job_ids {
        Some(ids) if !ids.is_empty() => ids
            .iter()
            .map(|id| parse_id(id).map(Some))
            .collect::<Result<_>>()?,
        _ => vec![None],
    };
    let root = ops.downloads(cx.caller()).join(cluster.name.as_str());
    let mut collected = Map::new();
    for id in ids {
        let found = ops
            .clusters
            .on_head(&cluster, |agent| async move { agent.job(id).await })
            .await?;
        let Some(job) = found else {
            let name = &cluster.name;
            let which = id.map_or_else(|| "no job".to_owned(), |id| format!("no job {id}"));
            return Err(
                Error::new(Kind::NotFound, format!("cluster `{name}` has {which}"))
                    .hint(format!("see its jobs: sky queue {name}")),
            );
        };
        let leaf = Path::new(&job.log_dir).file_name().unwrap_or_default();
        let dir = root.join(leaf);
        cx.unless_cancelled(ops.clusters.fetch_logs(&cluster, job.job_id, &dir))
            .await?;
        collected.insert(
            job.job_id.to_string(),
            Value::String(dir.to_string_lossy().into_owned()),
        );
    }
    Ok(Value::Object(collected))
}

/// Reads a job's number.
fn parse_id(text: &str) -> Result<JobId> {
    text.parse().map(JobId).map_err(|_| {
        Error::new(
            Kind::Invalid,
            format!("`{}` is not a job ID", crate::base::ids::clip(text)),
        )
        .hint("job IDs are numbers; see: sky queue CLUSTER")
    })
}
