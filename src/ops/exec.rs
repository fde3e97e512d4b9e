//! `sky exec`: sync the work directory and submit, on a cluster that is up.

use serde_json::{Value, json};

use super::submission::{self, Setup};
use super::sync::{self, Sources};
use super::{Ops, Origin, validate};
use crate::api::bodies::ExecBody;
use crate::base::cx::Cx;
use crate::base::ids::ClusterName;
use crate::base::{Error, Kind, Result};
use crate::clusters::handle;

/// Runs the verb.
pub(super) async fn run(ops: &Ops, cx: &Cx, body: ExecBody, origin: Origin) -> Result<Value> {
    let name: ClusterName = body.cluster_name.parse()?;
    let task = validate::single(&body.task)?;
    let sources = Sources::new(ops, cx, &body.common, origin, &task)?;
    let cluster = ops.clusters.get(&name).await?;
    cluster.require_up()?;
    submission::require_fit(&cluster, &task)?;
    if body.dryrun {
        cx.line("Dryrun finished.");
        return Ok(Value::Null);
    }
    if task.run.is_none() {
        return Err(Error::new(
            Kind::InvalidTask,
            "the task has no `run`: there is nothing to execute",
        ));
    }
    cx.step("workdir", || sync::workdir(ops, cx, &cluster, &sources))
        .await?;
    let job = cx
        .step("submit", || {
            submission::submit(ops, cx, &cluster, &task, Setup::Skip)
        })
        .await?;
    cx.end_spinner();
    Ok(json!({ "job_id": job, "handle": handle(&cluster) }))
}

/// After a cancelled run: its job does not run.
pub(super) async fn on_cancelled(ops: &Ops, cx: &Cx, name: &str) -> Option<String> {
    submission::revoke(ops, cx, name).await
}
