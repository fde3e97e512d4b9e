//! Stopping and removing clusters.

use super::{Cluster, Clusters, Event, State, store};
use crate::base::clock::Moment;
use crate::base::{Kind, Result};
use crate::clouds::CloudResult;

impl Clusters {
    /// Stops the machines of a cluster; their disks are kept. Does nothing to a stopped one.
    pub(crate) async fn stop(&self, cluster: &Cluster, idle: bool) -> Result<Cluster> {
        let cluster = self
            .transition(cluster, Event::StopIntended { idle }, |_| {})
            .await?;
        if let State::Stopped { .. } = cluster.state {
            return Ok(cluster);
        }
        self.clouds().get(cluster.cloud).stop(&cluster.set).await?;
        self.inner.agents.forget(&cluster.hash);
        // A stopped node comes back without its idle timer, as the machines users know do.
        self.transition(&cluster, Event::AllStopped, |c| c.autostop = None)
            .await
    }

    /// Removes the machines of a cluster, then its record. With `purge` the record goes also when they do not.
    pub(crate) async fn terminate(&self, cluster: &Cluster, idle: bool, purge: bool) -> Result<()> {
        let cluster = self
            .transition(cluster, Event::TerminateIntended { idle }, |c| {
                c.waits = None;
            })
            .await?;
        match self.remove_all(&cluster).await {
            Err(error) if purge => {
                tracing::warn!(cluster = %cluster.name, error = %error.error.one_line(), "purging a cluster whose machines stay");
            }
            Err(error) => {
                let name = &cluster.name;
                return Err(error
                    .error
                    .context(format!("failed to remove the machines of cluster `{name}`"))
                    .hint(format!("try again: sky down {name}"))
                    .hint(format!(
                        "or forget the cluster, machines or not: sky down --purge {name}"
                    )));
            }
            Ok(()) => {}
        }
        self.forget(&cluster).await
    }

    /// Removes the machines of a cluster, and what is left of it at places that refused.
    pub(super) async fn remove_all(&self, cluster: &Cluster) -> CloudResult<()> {
        let here = (cluster.cloud, &cluster.set);
        let elsewhere = cluster.remnants.iter().map(|r| (r.cloud, &r.set));
        let mut all = Ok(());
        for (cloud, set) in elsewhere.chain(std::iter::once(here)) {
            let removed = self.remove_machines(cloud, set).await;
            all = all.and(removed);
        }
        all
    }

    /// Forgets the record of a cluster whose machines are gone; it stays in the cost report if it was ever up.
    pub(super) async fn forget(&self, cluster: &Cluster) -> Result<()> {
        let (name, hash) = (cluster.name.clone(), cluster.hash.clone());
        let forgotten = self
            .inner
            .db
            .write(move |tx| {
                let cluster = store::get_same(tx, &name, &hash)?;
                store::retire(tx, cluster, Moment::now(), None)
            })
            .await;
        self.unwatch(&cluster.hash);
        self.inner.agents.forget(&cluster.hash);
        match forgotten {
            // Forgotten by somebody else in the meantime: that is what was wanted.
            Err(e) if matches!(e.kind(), Kind::ClusterNotFound | Kind::Conflict) => Ok(()),
            result => result,
        }
    }
}
