//! What the server does by itself: removes old uploads, stops idle clusters, hears of lost ones. Nothing here wakes an idle server.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio_util::task::TaskTracker;

use super::admission::profile;
use super::app::App;
use crate::api::agent::AutostopSetting;
use crate::base::Result;
use crate::base::clock::Moment;
use crate::base::cx::{Caller, Role};
use crate::base::ids::ClusterName;
use crate::clusters::{Cluster, Desk};
use crate::ops::idle_order;
use crate::requests::{Admission, ListQuery, Requests};

/// After a failure the next try is not sooner.
const PAUSE: Duration = Duration::from_secs(300);
/// Blobs that become due together are removed together.
const SHORTEST: Duration = Duration::from_secs(60);

/// Starts what runs until the server stops.
pub(crate) fn start(app: &App, tasks: &TaskTracker) {
    let app = Arc::clone(app);
    tasks.spawn(async move {
        let stopping = app.stopping.clone();
        stopping.run_until_cancelled(keep_uploads_small(&app)).await;
    });
}

/// Removes uploads when they are due; sleeps until the next one is, for ever when there is none.
async fn keep_uploads_small(app: &App) {
    loop {
        let pause = match collect(app).await {
            Ok(due) => due.map(|due| due.since(Moment::now()).max(SHORTEST)),
            Err(error) => {
                tracing::warn!(error = error.one_line(), "old uploads cannot be removed");
                Some(PAUSE)
            }
        };
        match pause {
            Some(pause) => tokio::time::sleep(pause).await,
            None => app.blobs.changed().await,
        }
    }
}

/// Removes what is due and returns when something will be.
async fn collect(app: &App) -> Result<Option<Moment>> {
    let unfinished = app.requests.list(ListQuery::default()).await?;
    let in_use: BTreeSet<_> = unfinished
        .iter()
        .filter_map(|request| request.profile.blob.clone())
        .collect();
    let app = Arc::clone(app);
    tokio::task::spawn_blocking(move || app.blobs.collect(&in_use))
        .await
        .map_err(|e| crate::base::Error::internal("remove old uploads", &e))
}

/// Asks for idle clusters to be stopped, as requests of their owners.
pub(crate) struct Idle {
    /// The queue.
    pub(crate) requests: Requests,
}

impl Idle {
    /// Submits the stop, unless one is under way already.
    async fn submit(&self, cluster: &Cluster, setting: &AutostopSetting) -> Result<()> {
        let order = idle_order(cluster, setting);
        let unfinished = ListQuery {
            cluster: Some(cluster.name.clone()),
            ..ListQuery::default()
        };
        let name = order.op.name();
        let under_way = self.requests.list(unfinished).await?;
        if under_way.iter().any(|request| request.name == name) {
            return Ok(());
        }
        let admission = Admission {
            name: name.to_owned(),
            profile: profile(order.op.facts()?),
            body: order.to_value()?,
            caller: Caller {
                id: cluster.owner.id.clone(),
                name: cluster.owner.name.clone(),
                role: Role::User,
            },
            key: None,
        };
        let admitted = self.requests.submit(admission).await?;
        tracing::info!(cluster = %cluster.name, request_id = %admitted.id, verb = name, "the cluster is idle");
        Ok(())
    }
}

impl Desk for Idle {
    fn idle(&self, cluster: Cluster, setting: AutostopSetting) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Err(error) = self.submit(&cluster, &setting).await {
                // The agent says it again at its next connection.
                tracing::warn!(cluster = %cluster.name, error = error.one_line(), "an idle cluster cannot be stopped");
            }
        })
    }

    fn is_busy(&self, name: ClusterName) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let unfinished = ListQuery {
                cluster: Some(name),
                ..ListQuery::default()
            };
            // Where nobody can tell, somebody may be at work.
            let found = self.requests.list(unfinished).await;
            found.map_or(true, |all| all.iter().any(|r| r.profile.exclusive))
        })
    }

    fn lost(&self, cluster: Cluster, reason: String) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            tracing::warn!(cluster = %cluster.name, reason, "a cluster was lost");
        })
    }
}
