//! `sky status`: the clusters, as stored or as they really are.

use futures_util::future::join_all;
use globset::GlobMatcher;
use serde_json::Value;

use super::Ops;
use crate::api::bodies::{Refresh, StatusBody};
use crate::base::cx::{Cx, Role};
use crate::base::ids::clip;
use crate::base::{Error, Kind, Result};
use crate::clusters::{Cluster, Looked, State, record};

/// Runs the verb.
pub(super) async fn run(ops: &Ops, cx: &Cx, body: StatusBody) -> Result<Value> {
    let patterns = body.cluster_names.as_deref().map(matchers).transpose()?;
    let wanted: Vec<Cluster> = ops
        .clusters
        .list()
        .await?
        .into_iter()
        .filter(|c| body.all_users || c.owner.id == cx.caller().id)
        .filter(|c| {
            patterns
                .as_ref()
                .is_none_or(|all| all.iter().any(|p| p.is_match(c.name.as_str())))
        })
        .collect();
    let may_refresh = cx.caller().role != Role::Viewer;
    let clusters = join_all(wanted.into_iter().map(|cluster| async move {
        let fresh = match body.refresh {
            Refresh::Force => may_refresh,
            // What stops by itself is heard of through its agent; only trouble needs another look.
            Refresh::Auto => may_refresh && matches!(cluster.state, State::Unhealthy { .. }),
            Refresh::None => false,
        };
        if fresh {
            look(ops, cx, cluster).await
        } else {
            Some(cluster)
        }
    }))
    .await;
    if body.refresh == Refresh::Force && may_refresh {
        show_strays(ops, cx).await?;
    }
    let records: Vec<_> = clusters
        .iter()
        .flatten()
        .map(|c| record(c, body.include_handle))
        .collect();
    serde_json::to_value(records).map_err(|e| Error::internal("write cluster records", &e))
}

/// Looks at a cluster as it really is. What is gone is said; what cannot be looked at is shown as it is stored.
async fn look(ops: &Ops, cx: &Cx, cluster: Cluster) -> Option<Cluster> {
    let name = cluster.name.clone();
    match ops.clusters.refresh(cluster.clone()).await {
        Ok(Looked::There(cluster)) => {
            if let State::Unhealthy { reason, .. } = &cluster.state {
                cx.line(format!(
                    "Cluster {name} is not whole: {reason} (to repair it: sky start {name})"
                ));
            }
            Some(*cluster)
        }
        Ok(Looked::Gone { reason }) => {
            cx.line(format!("Cluster {name} is gone: {reason}"));
            None
        }
        // Somebody removed it meanwhile.
        Err(error) if error.kind() == Kind::ClusterNotFound => None,
        Err(error) => {
            cx.line(format!(
                "Cluster {name} cannot be looked at: {}",
                error.one_line()
            ));
            Some(cluster)
        }
    }
}

/// Compiles names and shell patterns.
fn matchers(names: &[String]) -> Result<Vec<GlobMatcher>> {
    names
        .iter()
        .map(|name| {
            let glob = globset::Glob::new(name).map_err(|e| {
                Error::new(
                    Kind::Invalid,
                    format!("`{}` is not a name or pattern", clip(name)),
                )
                .caused_by(&e)
            })?;
            Ok(glob.compile_matcher())
        })
        .collect()
}

/// Names machines that no cluster owns: leftovers that nobody would find otherwise.
async fn show_strays(ops: &Ops, cx: &Cx) -> Result<()> {
    let (strays, failed) = ops.clusters.strays().await?;
    for error in failed {
        cx.line(format!("Warning: {}", error.one_line()));
    }
    for (cloud, name) in strays {
        cx.line(format!(
            "Machines on {} that belong to no cluster: {name} (remove them: sky down --purge {name})",
            cloud.display_name()
        ));
    }
    Ok(())
}
