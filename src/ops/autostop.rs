//! `sky autostop`: sets or removes the idle timer, which lives on the head node.

use serde_json::Value;

use super::Ops;
use crate::api::agent::AutostopSetting;
use crate::api::bodies::{AutostopBody, WaitFor};
use crate::base::cx::Cx;
use crate::base::ids::ClusterName;
use crate::base::{Error, Kind, Result};
use crate::clusters::Cluster;

/// Runs the verb.
pub(super) async fn run(ops: &Ops, cx: &Cx, body: AutostopBody) -> Result<Value> {
    let name: ClusterName = body.cluster_name.parse()?;
    let cluster = ops.clusters.get(&name).await?;
    cluster.require_up()?;
    let cloud = ops.clusters.clouds().get(cluster.cloud);
    if !body.down && !cloud.capabilities(&cluster.set.offer).stop {
        return Err(Error::new(
            Kind::NotSupported,
            format!(
                "{} cannot stop the machines of cluster `{name}`",
                cluster.cloud.display_name()
            ),
        )
        .hint(format!("tear it down instead: sky autostop {name} --down")));
    }
    set(
        ops,
        &cluster,
        setting(body.idle_minutes, body.down, body.wait_for),
    )
    .await?;
    cx.end_spinner();
    Ok(Value::Null)
}

/// Returns the setting that a wish means; none when it switches the timer off.
pub(super) fn setting(
    idle_minutes: i64,
    down: bool,
    wait_for: Option<WaitFor>,
) -> Option<AutostopSetting> {
    let idle_minutes = u64::try_from(idle_minutes).ok()?;
    Some(AutostopSetting {
        idle_minutes,
        down,
        wait_for: wait_for.unwrap_or_default(),
    })
}

/// Stores the setting and hands it to the head.
pub(super) async fn set(
    ops: &Ops,
    cluster: &Cluster,
    setting: Option<AutostopSetting>,
) -> Result<Cluster> {
    hand_over(ops, cluster, setting.as_ref()).await?;
    ops.clusters
        .adjust(cluster, move |c| c.autostop = setting)
        .await
}

/// Hands the setting to the head.
pub(super) async fn hand_over(
    ops: &Ops,
    cluster: &Cluster,
    setting: Option<&AutostopSetting>,
) -> Result<()> {
    if let Some(setting) = setting {
        // First: the head may act on the setting without this server.
        let cloud = ops.clusters.clouds().get(cluster.cloud);
        cloud.at_power_off(&cluster.set, setting.down).await?;
    }
    ops.clusters
        .on_head(cluster, |agent| {
            let setting = setting.cloned();
            async move { agent.set_autostop(setting.as_ref()).await }
        })
        .await
}
