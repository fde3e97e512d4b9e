//! Makes the records agree with the world while nobody asks: what was left half done is finished, what was lost is seen.
//!
//! A cluster that is up costs nothing here: its watchers hear when an agent vanishes, and look at once. The others are
//! looked at when their state changes and every few minutes after that. Without such clusters this part sleeps.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::refresh::Work;
use super::{Cluster, Clusters, Event, State, store};
use crate::base::Result;
use crate::base::clock::Moment;
use crate::base::ids::ClusterName;

/// How many clusters are looked at together.
const AT_ONCE: usize = 4;
/// How long a new state may settle before it is looked at: mostly its request is at work.
const SETTLE: Duration = Duration::from_secs(10);

/// When a cluster is due: the state for which that holds began then.
type Due = (Moment, Instant);

/// What to do about a cluster that no request works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chore {
    /// Nothing: others watch it.
    None,
    /// See whether its machines are as the record says.
    Look,
    /// Go on removing it.
    Remove,
    /// Go on stopping it.
    Stop,
    /// Remove what is left at places that refused.
    Sweep,
}

/// Says what to do. Pure.
fn chore(cluster: &Cluster) -> Chore {
    match cluster.state {
        State::Terminating { .. } => Chore::Remove,
        State::Stopping { .. } => Chore::Stop,
        _ if !cluster.remnants.is_empty() => Chore::Sweep,
        State::Up { .. } => Chore::None,
        State::Launching { .. } if cluster.waits.is_some() => Chore::None,
        State::Launching { .. } | State::Unhealthy { .. } | State::Stopped { .. } => Chore::Look,
    }
}

impl Clusters {
    /// Looks after the clusters until the server stops.
    pub(super) async fn reconcile(self, every: Duration) {
        let stop: CancellationToken = self.inner.stop.clone();
        let mut due: HashMap<String, Due> = HashMap::new();
        loop {
            let changed = self.inner.changed.notified();
            // What is broken off here is gone on with after the next start, as after a crash.
            let next = match stop.run_until_cancelled(self.round(&mut due, every)).await {
                None => return,
                Some(Ok(next)) => next,
                Some(Err(error)) => {
                    tracing::warn!(error = %error.one_line(), "the clusters cannot be looked after");
                    Some(Instant::now() + every)
                }
            };
            let pause = next.map(|at| at.saturating_duration_since(Instant::now()));
            tokio::select! {
                () = stop.cancelled() => return,
                () = changed => {}
                () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
            }
        }
    }

    /// Looks at what is due; returns when something will be.
    async fn round(
        &self,
        due: &mut HashMap<String, Due>,
        every: Duration,
    ) -> Result<Option<Instant>> {
        let mut clusters = self.list().await?;
        clusters.retain(|cluster| chore(cluster) != Chore::None);
        let mut next: HashMap<String, Due> = HashMap::new();
        let now = Instant::now();
        let mut ready = Vec::new();
        for cluster in clusters {
            let since = cluster.state.since();
            let at = match due.get(&cluster.hash) {
                Some((then, at)) if *then == since => *at,
                Some(_) | None => now + SETTLE.min(every),
            };
            let is_due = at <= now;
            let at = if is_due { now + every } else { at };
            next.insert(cluster.hash.clone(), (since, at));
            if is_due {
                ready.push(cluster);
            }
        }
        *due = next;
        futures_util::stream::iter(ready)
            .for_each_concurrent(AT_ONCE, |cluster| async move {
                let name = cluster.name.clone();
                if let Err(error) = self.tend(cluster).await {
                    tracing::info!(cluster = %name, error = %error.one_line(), "it is looked at again later");
                }
            })
            .await;
        Ok(due.values().map(|(_, at)| *at).min())
    }

    /// Does what is to be done about a cluster, unless a request works on it.
    pub(super) async fn tend(&self, cluster: Cluster) -> Result<()> {
        if self.is_busy(&cluster.name).await {
            return Ok(());
        }
        // Others may have had their turn since it was listed.
        let (name, hash) = (&cluster.name, &cluster.hash);
        let now = self.find(name).await?;
        let Some(cluster) = now.filter(|now| now.hash == *hash) else {
            return Ok(());
        };
        match chore(&cluster) {
            Chore::None => Ok(()),
            Chore::Look => self.look(cluster, Work::None).await.map(drop),
            Chore::Remove => {
                let removed = self.terminate(&cluster, false, false).await;
                if let Err(error) = &removed {
                    self.note_left(&cluster, error.one_line()).await?;
                }
                removed
            }
            Chore::Stop => self.stop(&cluster, false).await.map(drop),
            Chore::Sweep => self.sweep(cluster).await.map(drop),
        }
    }

    /// Writes down why the machines of a cluster stay.
    async fn note_left(&self, cluster: &Cluster, why: String) -> Result<()> {
        if cluster.stuck.as_ref() == Some(&why) {
            return Ok(());
        }
        self.adjust(cluster, |c| c.stuck = Some(why))
            .await
            .map(drop)
    }

    /// Whether a request works on a cluster, or will; where nobody can tell, one does.
    async fn is_busy(&self, name: &ClusterName) -> bool {
        match self.inner.desk.get() {
            Some(desk) => desk.is_busy(name.clone()).await,
            None => true,
        }
    }

    /// Forgets a cluster whose machines are gone; does nothing, and says so, when its record has changed since.
    pub(super) async fn lost(&self, cluster: &Cluster, reason: String) -> Result<bool> {
        let (name, hash, seen) = (
            cluster.name.clone(),
            cluster.hash.clone(),
            cluster.state.clone(),
        );
        let why = reason.clone();
        let gone = self
            .inner
            .db
            .write(move |tx| {
                let mut cluster = store::get_same(tx, &name, &hash)?;
                if cluster.state != seen {
                    return Ok(false);
                }
                let now = Moment::now();
                if cluster.remnants.is_empty() {
                    store::retire(tx, cluster, now, Some(why))?;
                } else {
                    let event = Event::TerminateIntended { idle: false };
                    cluster
                        .apply(event, now)
                        .map_err(|e| crate::base::Error::internal("record a loss", &e))?;
                    store::put(tx, &cluster)?;
                }
                Ok(true)
            })
            .await?;
        if gone {
            self.unwatch(&cluster.hash);
            self.inner.agents.forget(&cluster.hash);
            self.inner.changed.notify_one();
            if let Some(desk) = self.inner.desk.get() {
                desk.lost(cluster.clone(), reason).await;
            }
        }
        Ok(gone)
    }
}

#[cfg(test)]
mod tests;
