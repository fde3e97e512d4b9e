//! What the record says of the places that a launch tries: the intent before each call, and what is left where it was refused.

use std::time::Duration;

use super::provision::labels;
use super::record::Waits;
use super::refusals::Refusals;
use super::{Choice, Cluster, Clusters, Event, State, names, store};
use crate::base::clock::Moment;
use crate::base::{Error, Kind, Result};
use crate::catalog::Block;
use crate::clouds::{Category, CloudId, CloudResult, NodeSet};

/// How often a removal is tried at once before it is left to the reconciler.
const TRIES: u32 = 3;
/// The pause between.
const PAUSE: Duration = Duration::from_secs(1);

impl Clusters {
    /// Stores that machines are about to be made at a place: from here on they may exist.
    pub(super) async fn try_at(&self, cluster: &Cluster, choice: &Choice) -> Result<Cluster> {
        if cluster.tried && cluster.set.offer == choice.offer && cluster.set.wish == *choice.wish {
            return Ok(cluster.clone());
        }
        let cloud: CloudId = choice.offer.cloud.parse()?;
        let choice = choice.clone();
        self.adjust(cluster, move |c| {
            c.leave_place();
            c.cloud = cloud;
            c.tried = true;
            c.tries += 1;
            let name = names::on_cloud(&c.name, &c.owner.id);
            c.set = NodeSet {
                // Whoever removes what is left elsewhere must not meet what is made here.
                name: if c.remnants.is_empty() {
                    name
                } else {
                    format!("{name}-r{}", c.tries)
                },
                count: c.set.count,
                labels: labels(&c.name, &choice.wish),
                offer: choice.offer,
                wish: (*choice.wish).clone(),
                token: uuid::Uuid::new_v4().to_string(),
            };
        })
        .await
    }

    /// Stores that a place refused: what it refused is left out for a while, and what it may have made is to be removed.
    pub(super) async fn leave_place(
        &self,
        cluster: &Cluster,
        blocks: Vec<Block>,
        refusals: &Refusals,
    ) -> Result<Cluster> {
        let (name, hash) = (cluster.name.clone(), cluster.hash.clone());
        let last = refusals.last();
        self.inner
            .db
            .write(move |tx| {
                let now = Moment::now();
                for block in &blocks {
                    store::put_block(tx, block, now)?;
                }
                let mut cluster = store::get_same(tx, &name, &hash)?;
                cluster.leave_place();
                if let Some((place, reason)) = last {
                    let event = Event::PlaceRefused { place, reason };
                    cluster
                        .apply(event, now)
                        .map_err(|e| Error::internal("note a refusal", &e))?;
                }
                store::put(tx, &cluster)?;
                Ok(cluster)
            })
            .await
    }

    /// Removes what is left at places that refused. What cannot be removed stays in the record, with the reason.
    pub(super) async fn sweep(&self, mut cluster: Cluster) -> Result<Cluster> {
        for remnant in cluster.remnants.clone() {
            let removed = self.remove_machines(remnant.cloud, &remnant.set).await;
            let why = removed.as_ref().err().map(|e| e.error.one_line());
            if let Some(why) = &why {
                tracing::warn!(cluster = %cluster.name, set = remnant.set.name, error = why, "machines of a place that refused stay for now");
                if remnant.why.as_ref() == Some(why) {
                    continue;
                }
            }
            cluster = self
                .adjust(&cluster, move |c| {
                    let is_it = |other: &super::record::Remnant| other.set == remnant.set;
                    if why.is_none() {
                        c.remnants.retain(|other| !is_it(other));
                    } else if let Some(other) = c.remnants.iter_mut().find(|other| is_it(other)) {
                        other.why = why;
                    }
                })
                .await?;
        }
        Ok(cluster)
    }

    /// Removes machines; tries a few times where the cloud asks for patience.
    pub(super) async fn remove_machines(&self, cloud: CloudId, set: &NodeSet) -> CloudResult<()> {
        let cloud = self.clouds().get(cloud);
        let mut tries = 1;
        loop {
            match cloud.terminate(set).await {
                Err(error)
                    if tries < TRIES
                        && matches!(error.category, Category::Throttled | Category::Transient) =>
                {
                    tokio::time::sleep(PAUSE * tries).await;
                    tries += 1;
                }
                other => return other,
            }
        }
    }

    /// Ends a launch that nobody serves: its record goes, unless machines may be left; then it says so until they are gone.
    pub(super) async fn give_up(&self, cluster: &Cluster, error: Error) -> Error {
        let ended = if cluster.remnants.is_empty() {
            self.forget(cluster).await
        } else {
            let event = Event::TerminateIntended { idle: false };
            self.transition(cluster, event, |_| {}).await.map(drop)
        };
        let name = &cluster.name;
        match ended {
            Ok(()) if cluster.remnants.is_empty() => error,
            Ok(()) => error.hint(format!(
                "machines of it may be left, and are removed as soon as that is possible: sky status {name}"
            )),
            Err(e) if matches!(e.kind(), Kind::ClusterNotFound | Kind::Conflict) => error,
            Err(e) => error.hint(format!(
                "its record could not be removed ({}): sky down {name}",
                e.one_line()
            )),
        }
    }

    /// Notes that a launch waits, and for what: a new one costs nothing meanwhile.
    pub(crate) async fn wait_until(
        &self,
        cluster: &Cluster,
        until: Moment,
        reason: String,
    ) -> Result<Cluster> {
        self.adjust(cluster, move |c| {
            // What is being repaired may have machines that run.
            if matches!(c.state, State::Launching { .. }) {
                c.close_usage(Moment::now());
            }
            c.waits = Some(Waits { until, reason });
        })
        .await
    }
}
