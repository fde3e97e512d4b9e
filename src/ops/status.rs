//! `sky status`: the clusters, as stored or as they really are.

use futures_util::future::try_join_all;
use globset::GlobMatcher;
use serde_json::Value;

use super::Ops;
use crate::api::bodies::{Refresh, StatusBody};
use crate::base::cx::{Cx, Role};
use crate::base::ids::clip;
use crate::base::{Error, Kind, Result};
use crate::clusters::{Cluster, State, record};

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
    let clusters = try_join_all(wanted.into_iter().map(|cluster| async move {
        let fresh = match body.refresh {
            Refresh::Force => may_refresh,
            // What stops by itself is heard of through its agent; only trouble needs another look.
            Refresh::Auto => may_refresh && matches!(cluster.state, State::Unhealthy { .. }),
            Refresh::None => false,
        };
        if fresh {
            ops.clusters.refresh(cluster).await
        } else {
            Ok(Some(cluster))
        }
    }))
    .await?;
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
    for (cloud, name) in ops.clusters.strays().await? {
        cx.line(format!(
            "Machines on {} that belong to no cluster: {name} (remove them: sky down --purge {name})",
            cloud.display_name()
        ));
    }
    Ok(())
}
