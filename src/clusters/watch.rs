//! One watcher for each node of a cluster that is up: hears when the idle time is over, and when an agent vanishes.
//!
//! A watcher holds the agent's event stream open: nobody polls. When the stream breaks it makes the agent run
//! again, with growing pauses, and says in the record how the cluster stands.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Cluster, Clusters, Event, State};
use crate::api::agent::AgentEvent;
use crate::base::ids::NodeRank;
use crate::base::{Kind, Result};

/// The first pause before an agent is started again.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// After so many failures in a row the cloud is asked.
const FAILURES_UNTIL_LOOK: u32 = 2;
/// After so many failures in a row the record says that the cluster is not healthy.
const FAILURES_UNTIL_UNHEALTHY: u32 = 3;

/// The watchers that run, by cluster life.
#[derive(Default)]
pub(super) struct Watchers {
    /// Each stops when its token fires.
    running: Mutex<HashMap<String, CancellationToken>>,
}

impl Clusters {
    /// Makes the watchers agree with the state of a cluster: they run while it is up or should be.
    pub(super) fn watch(&self, cluster: &Cluster) {
        match cluster.state {
            State::Up { .. } | State::Unhealthy { .. } => {}
            State::Launching { .. }
            | State::Stopping { .. }
            | State::Stopped { .. }
            | State::Terminating { .. } => {
                self.unwatch(&cluster.hash);
                return;
            }
        }
        // Before `start` nobody could be told of an idle cluster.
        if self.inner.desk.get().is_none() {
            return;
        }
        let token = {
            let mut running = self
                .inner
                .watchers
                .running
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if running.contains_key(&cluster.hash) {
                return;
            }
            let token = self.inner.stop.child_token();
            running.insert(cluster.hash.clone(), token.clone());
            token
        };
        for instance in &cluster.instances {
            let watcher = Watcher {
                clusters: self.clone(),
                cluster: cluster.clone(),
                rank: instance.rank,
            };
            let token = token.clone();
            self.inner.tasks.spawn(async move {
                tokio::select! {
                    () = token.cancelled() => {}
                    () = watcher.run() => {}
                }
            });
        }
    }

    /// Stops the watchers of a cluster.
    pub(super) fn unwatch(&self, hash: &str) {
        let mut running = self
            .inner
            .watchers
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = running.remove(hash) {
            token.cancel();
        }
    }
}

/// Watches one node.
struct Watcher {
    /// The clusters.
    clusters: Clusters,
    /// Its cluster, as it was when the watcher began.
    cluster: Cluster,
    /// Its node.
    rank: NodeRank,
}

impl Watcher {
    /// Watches until it is stopped from outside or the cluster is gone.
    async fn run(self) {
        let mut failures = 0;
        loop {
            let error = match self.listen(&mut failures).await {
                Ok(never) => match never {},
                Err(error)
                    if matches!(
                        error.kind(),
                        Kind::ClusterNotFound | Kind::Conflict | Kind::NotFound
                    ) =>
                {
                    return;
                }
                Err(error) => error,
            };
            failures += 1;
            tracing::info!(cluster = %self.cluster.name, node = %self.rank, failures, error = %error.one_line(), "lost the agent");
            if failures == FAILURES_UNTIL_LOOK {
                self.look().await;
            }
            if failures == FAILURES_UNTIL_UNHEALTHY {
                let reason = format!(
                    "the agent of node {} does not answer: {}",
                    self.rank,
                    error.one_line()
                );
                let said = self
                    .clusters
                    .transition(&self.cluster, Event::FoundUnhealthy { reason }, |_| {})
                    .await;
                if let Err(error) = said {
                    tracing::info!(cluster = %self.cluster.name, error = %error.one_line(), "no watch any more");
                    return;
                }
            }
            let pause = FIRST_PAUSE
                .saturating_mul(1 << failures.min(10))
                .min(LONGEST_PAUSE);
            tokio::time::sleep(pause).await;
        }
    }

    /// Asks the cloud whether the machine is there: nobody waits for the next round to hear that it is not.
    async fn look(&self) {
        let looked = match self.clusters.get(&self.cluster.name).await {
            Ok(cluster) if cluster.hash == self.cluster.hash => {
                self.clusters.refresh(cluster).await
            }
            Ok(_) | Err(_) => return,
        };
        if let Err(error) = looked {
            tracing::info!(cluster = %self.cluster.name, error = %error.one_line(), "the cloud does not say how the machines are");
        }
    }

    /// Makes the agent run and listens to it until the stream breaks.
    async fn listen(&self, failures: &mut u32) -> Result<Infallible> {
        let instance = self.cluster.instance(self.rank)?;
        let client = self.clusters.ensure_agent(&self.cluster, instance).await?;
        let mut events = client.events(None).await?;
        if *failures >= FAILURES_UNTIL_UNHEALTHY {
            self.clusters
                .transition(&self.cluster, Event::AllUp, |_| {})
                .await?;
        }
        *failures = 0;
        loop {
            match events.next().await? {
                AgentEvent::Hello { .. } | AgentEvent::Heartbeat | AgentEvent::Job { .. } => {}
                AgentEvent::Idle { setting } => {
                    if let Some(desk) = self.clusters.inner.desk.get() {
                        let cluster = self.clusters.get(&self.cluster.name).await?;
                        desk.idle(cluster, setting).await;
                    }
                }
            }
        }
    }
}
