//! Clusters: what is stored of them, how they come to be, how they are reached, how they end.
//!
//! Owns the records and their state machine, the making and removing of machines through `clouds`, and the
//! connections to the agents. Knows no requests and no verbs: `ops` calls in here.
//! The one invariant: what is wanted is stored before the cloud is called, and a record goes only when the cloud has
//! said that the machines are gone (or the user purges it).

mod agents;
mod blocks;
mod failover;
mod job_hub;
mod job_log;
mod logs;
mod names;
mod places;
mod provision;
mod reconcile;
mod record;
mod refresh;
mod refusals;
mod state;
mod store;
mod sync;
mod teardown;
#[cfg(test)]
mod tests;
mod watch;
mod wire;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::agent::AutostopSetting;
use crate::base::clock::Moment;
use crate::base::ids::ClusterName;
use crate::base::{Error, Kind, Result};
use crate::clouds::Clouds;
use crate::store::Db;

pub(crate) use provision::{Choice, Patience, Placed};
pub(crate) use record::{Buried, Cluster, Owner};
pub(crate) use refresh::Looked;
pub(crate) use refusals::may_change;
pub(crate) use state::{Event, State};
pub(crate) use sync::{Haul, Shipment, Shipped, Spot};
pub(crate) use wire::{buried_cost, cluster_cost, handle, job_record, record};

/// What clusters ask of whoever runs requests.
pub(crate) trait Desk: Send + Sync {
    /// Asks for the cluster to be stopped or removed, as the owner's request: it was idle for as long as set.
    fn idle(&self, cluster: Cluster, setting: AutostopSetting) -> BoxFuture<'_, ()>;

    /// Whether a request works on a cluster, or will.
    fn is_busy(&self, name: ClusterName) -> BoxFuture<'_, bool>;

    /// Hears that a cluster is gone though nobody asked for that: what ran on it must be run elsewhere.
    fn lost(&self, cluster: Cluster, reason: String) -> BoxFuture<'_, ()>;
}

/// All clusters of this server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Clusters {
    /// Shared parts.
    inner: Arc<Inner>,
}

/// What all clones share.
struct Inner {
    /// The records.
    db: Db,
    /// The infra.
    clouds: Clouds,
    /// Connections to agents.
    agents: agents::Pool,
    /// Logs of jobs that are followed.
    logs: job_log::Hubs,
    /// Who watches the nodes of UP clusters.
    watchers: watch::Watchers,
    /// Whoever runs requests.
    desk: OnceLock<Arc<dyn Desk>>,
    /// Fires when a cluster has changed.
    changed: Notify,
    /// Fires when the server stops.
    stop: CancellationToken,
    /// The tasks of this part.
    tasks: TaskTracker,
}

impl Clusters {
    /// Opens the records.
    pub(crate) fn new(db: Db, clouds: Clouds, stop: CancellationToken) -> Self {
        Self {
            inner: Arc::new(Inner {
                db,
                clouds,
                agents: agents::Pool::default(),
                logs: job_log::Hubs::default(),
                watchers: watch::Watchers::default(),
                desk: OnceLock::new(),
                changed: Notify::new(),
                stop,
                tasks: TaskTracker::new(),
            }),
        }
    }

    /// Begins to watch the clusters that are up, and to look after the others so often (never, if `every` is absent). Call
    /// once, when requests can be taken.
    pub(crate) async fn start(&self, desk: Arc<dyn Desk>, every: Option<Duration>) -> Result<()> {
        drop(self.inner.desk.set(desk));
        for cluster in self.list().await? {
            self.watch(&cluster);
        }
        if let Some(every) = every {
            self.inner.tasks.spawn(self.clone().reconcile(every));
        }
        Ok(())
    }

    /// Waits for the tasks of this part to end, after the token has fired.
    pub(crate) async fn stopped(&self) {
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// Returns the infra.
    pub(crate) fn clouds(&self) -> &Clouds {
        &self.inner.clouds
    }

    /// Returns a cluster, if it exists.
    pub(crate) async fn find(&self, name: &ClusterName) -> Result<Option<Cluster>> {
        let name = name.clone();
        self.inner.db.read(move |tx| store::get(tx, &name)).await
    }

    /// Returns a cluster; an error that names similar ones when it does not exist.
    pub(crate) async fn get(&self, name: &ClusterName) -> Result<Cluster> {
        match self.find(name).await? {
            Some(cluster) => Ok(cluster),
            None => Err(self.not_found(name).await),
        }
    }

    /// Makes the error for a cluster that does not exist.
    async fn not_found(&self, name: &ClusterName) -> Error {
        let error = Error::new(
            Kind::ClusterNotFound,
            format!("cluster `{name}` does not exist"),
        );
        let wanted = name.clone();
        let last = self
            .inner
            .db
            .read(move |tx| store::last_buried(tx, &wanted));
        if let Ok(Some(Buried {
            removed_at,
            reason: Some(reason),
            ..
        })) = last.await
        {
            let at = removed_at.timestamp().strftime("%Y-%m-%d %H:%M:%S UTC");
            return error
                .caused_by(&Error::new(
                    Kind::ClusterNotFound,
                    format!("since {at}: {reason}"),
                ))
                .hint("see what there is: sky status");
        }
        let similar = self
            .list()
            .await
            .unwrap_or_default()
            .into_iter()
            .find(|cluster| strsim::jaro_winkler(cluster.name.as_str(), name.as_str()) > 0.85);
        match similar {
            Some(cluster) => {
                error.hint(format!("did you mean `{}`? See: sky status", cluster.name))
            }
            None => error.hint("see what there is: sky status"),
        }
    }

    /// Returns all clusters, newest launch first.
    pub(crate) async fn list(&self) -> Result<Vec<Cluster>> {
        let mut all = self.inner.db.read(store::list).await?;
        all.sort_by_key(|c| std::cmp::Reverse(c.launched_at));
        Ok(all)
    }

    /// Returns the clusters that are no more, newest first.
    pub(crate) async fn buried(&self) -> Result<Vec<Buried>> {
        self.inner.db.read(store::buried).await
    }

    /// Applies an event to a cluster and stores the outcome; `change` adjusts other fields in the same commit.
    ///
    /// Fails with `Conflict` when the cluster is another one by now, or its state does not take the event.
    pub(crate) async fn transition(
        &self,
        cluster: &Cluster,
        event: Event,
        change: impl FnOnce(&mut Cluster) + Send + 'static,
    ) -> Result<Cluster> {
        let (name, hash) = (cluster.name.clone(), cluster.hash.clone());
        let changed = self
            .inner
            .db
            .write(move |tx| {
                let mut cluster = store::get_same(tx, &name, &hash)?;
                cluster.apply(event, Moment::now()).map_err(|e| {
                    Error::new(
                        Kind::Conflict,
                        format!("the state of cluster `{name}` forbids this"),
                    )
                    .caused_by(&e)
                })?;
                change(&mut cluster);
                store::put(tx, &cluster)?;
                Ok(cluster)
            })
            .await?;
        self.watch(&changed);
        self.inner.changed.notify_one();
        Ok(changed)
    }

    /// Adjusts fields that are not the state.
    pub(crate) async fn adjust(
        &self,
        cluster: &Cluster,
        change: impl FnOnce(&mut Cluster) + Send + 'static,
    ) -> Result<Cluster> {
        let (name, hash) = (cluster.name.clone(), cluster.hash.clone());
        self.inner
            .db
            .write(move |tx| {
                let mut cluster = store::get_same(tx, &name, &hash)?;
                change(&mut cluster);
                store::put(tx, &cluster)?;
                Ok(cluster)
            })
            .await
    }
}
