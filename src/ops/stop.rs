//! `sky stop`: ends the machines, keeps their disks.

use serde_json::Value;

use super::Ops;
use crate::api::bodies::StopBody;
use crate::base::cx::Cx;
use crate::base::ids::ClusterName;
use crate::base::{Error, Kind, Result};

/// Runs the verb.
pub(super) async fn run(ops: &Ops, cx: &Cx, body: StopBody) -> Result<Value> {
    let name: ClusterName = body.cluster_name.parse()?;
    let cluster = ops.clusters.get(&name).await?;
    let cloud = ops.clusters.clouds().get(cluster.cloud);
    if !cloud.capabilities(&cluster.set.offer).stop {
        return Err(Error::new(
            Kind::NotSupported,
            format!(
                "{} cannot stop the machines of cluster `{name}`",
                cluster.cloud.display_name()
            ),
        )
        .hint(format!("remove it instead: sky down {name}")));
    }
    cx.spinner(format!("[bold cyan]Stopping cluster {name}[/]"));
    super::down::let_jobs_end(ops, cx, &cluster, body.graceful, body.graceful_timeout).await?;
    ops.clusters.stop(&cluster, false).await?;
    cx.end_spinner();
    Ok(Value::Null)
}
