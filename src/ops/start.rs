//! `sky start`: runs stopped machines again, repairs unhealthy clusters.

use serde_json::Value;

use super::retry::{or_wait, patience};
use super::{Ops, Outcome};
use crate::api::bodies::StartBody;
use crate::base::cx::Cx;
use crate::base::ids::ClusterName;
use crate::base::{Error, Kind, Result};
use crate::clusters::{Choice, State, handle};

/// Runs the verb.
pub(super) async fn run(ops: &Ops, cx: &Cx, body: StartBody) -> Result<Outcome> {
    let (name, patience) = (body.cluster_name.clone(), patience(body.retry_until_up));
    or_wait(ops, cx, &name, patience, attempt(ops, cx, body).await).await
}

/// One attempt.
async fn attempt(ops: &Ops, cx: &Cx, body: StartBody) -> Result<Value> {
    let patience = patience(body.retry_until_up);
    let name: ClusterName = body.cluster_name.parse()?;
    if body.down && body.idle_minutes_to_autostop.is_none() {
        return Err(Error::new(
            Kind::Invalid,
            "`down` needs idle minutes after which the cluster is torn down",
        )
        .hint(format!("sky start {name} --down -i MINUTES")));
    }
    let mut cluster = ops.clusters.get(&name).await?;
    let is_up = matches!(cluster.state, State::Up { .. });
    if is_up && !body.force {
        cx.line(format!("Cluster {name} already has status UP."));
    } else if is_up {
        ops.clusters.ensure_agents(&cluster).await?;
    } else {
        let choice = Choice::of(&cluster);
        let nodes = cluster.set.count;
        let placed = cx
            .step("intend", || ops.clusters.intend(cx, &name, nodes, &choice))
            .await?;
        cluster = super::launch::machines(ops, cx, &placed, vec![choice], patience).await?;
    }
    if let Some(minutes) = body.idle_minutes_to_autostop {
        let setting = super::autostop::setting(minutes, body.down, body.wait_for);
        cluster = super::autostop::set(ops, &cluster, setting).await?;
    }
    cx.end_spinner();
    Ok(handle(&cluster))
}
