//! A repository on every node: each brings it itself, and all must have the same commit in the end.

use std::time::Duration;

use futures_util::future::try_join_all;

use super::ship::named;
use crate::api::agent::{GitState, GitWorkdir};
use crate::base::{Error, Kind, Result};
use crate::clusters::{Cluster, Clusters};

/// How long a clone may take.
const DEADLINE: Duration = Duration::from_hours(2);
/// How often nodes are asked when the branch moves between them.
const ROUNDS: u32 = 3;

impl Clusters {
    /// Brings a repository to every node; returns how it stands on the head.
    pub(crate) async fn bring(&self, cluster: &Cluster, workdir: &GitWorkdir) -> Result<GitState> {
        for _ in 0..ROUNDS {
            let nodes = cluster.instances.iter().map(|instance| async move {
                self.on_node(cluster, instance, |client| async move {
                    client.git(workdir, DEADLINE).await
                })
                .await
                .map_err(|e| named(cluster, instance, e))
            });
            let states = try_join_all(nodes).await?;
            let Some(head) = states.first() else {
                break;
            };
            if states.iter().all(|state| state.commit == head.commit) {
                return Ok(head.clone());
            }
        }
        Err(Error::new(
            Kind::Conflict,
            format!(
                "`{}` changes so fast that the nodes never have the same commit",
                workdir.shown()
            ),
        )
        .hint("name a commit or tag: `ref` in the task, or --git-ref"))
    }
}
