//! `sky cancel`: stops jobs with everything that descends from them.

use serde_json::{Value, json};

use super::{Ops, queue};
use crate::api::agent::CancelJobs;
use crate::api::bodies::CancelBody;
use crate::base::Result;
use crate::base::cx::Cx;
use crate::base::ids::JobId;

/// Runs the verb; returns when the processes are gone.
pub(super) async fn run(ops: &Ops, cx: &Cx, body: CancelBody) -> Result<Value> {
    let cluster = queue::reachable(ops, &body.cluster_name).await?;
    let user = cx.caller().id.clone();
    let which = match &body.job_ids {
        Some(ids) if !ids.is_empty() => CancelJobs::Ids {
            ids: ids.iter().copied().map(JobId).collect(),
        },
        _ if body.all_users => CancelJobs::All,
        _ if body.all => CancelJobs::OfUser { user },
        _ => CancelJobs::Latest { user },
    };
    cx.spinner(format!(
        "[bold cyan]Cancelling jobs on cluster {}[/]",
        cluster.name
    ));
    let cancelled = ops
        .clusters
        .on_head(&cluster, |agent| {
            let which = which.clone();
            async move { agent.cancel(&which).await }
        })
        .await?;
    cx.end_spinner();
    if cancelled.ids.is_empty() {
        cx.line(format!("No jobs to cancel on cluster '{}'.", cluster.name));
    } else {
        let ids: Vec<String> = cancelled.ids.iter().map(ToString::to_string).collect();
        cx.line(format!("Cancelled job ID(s): {}", ids.join(", ")));
    }
    Ok(json!({ "cancelled": cancelled.ids }))
}
