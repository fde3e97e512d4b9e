//! From a wish to machines whose agents answer: intent, machines (with failover over candidates), agents.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Cluster, Clusters, Event, Owner, State, names, store};
use crate::base::clock::Moment;
use crate::base::cx::Cx;
use crate::base::ids::ClusterName;
use crate::base::{Error, Kind, Result};
use crate::catalog::Offer;
use crate::clouds::{CloudError, CloudId, NodeSet};
use crate::task::Shape;

/// A place to try, and what is asked for there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Choice {
    /// The node.
    pub(crate) offer: Offer,
    /// The alternative of the task that it meets.
    pub(crate) wish: Arc<Shape>,
}

/// Where a launch found or put its cluster: the outcome of the intent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Placed {
    /// The cluster.
    pub(crate) name: ClusterName,
    /// This life of the name.
    pub(crate) hash: String,
    /// Whether this request made the record: then it may also remove it again.
    pub(crate) created: bool,
}

impl Clusters {
    /// Stores that machines are wanted: makes the record, or takes up the one that is there.
    ///
    /// Called again by the same request it gives the same answer.
    pub(crate) async fn intend(
        &self,
        cx: &Cx,
        name: &ClusterName,
        nodes: u32,
        choice: &Choice,
    ) -> Result<Placed> {
        let cloud: CloudId = choice.offer.cloud.parse()?;
        let owner = Owner::from(cx.caller());
        let (name, choice, by) = (name.clone(), choice.clone(), cx.request());
        self.inner
            .db
            .write(move |tx| {
                let now = Moment::now();
                let (mut cluster, created) = if let Some(cluster) = store::get(tx, &name)? {
                    let created = cluster.provisioned_by == by && !cluster.ever_up;
                    (cluster, created)
                } else {
                    let set = NodeSet {
                        name: names::on_cloud(&name, &owner.id),
                        count: nodes,
                        labels: labels(&name, &choice.wish),
                        offer: choice.offer,
                        wish: (*choice.wish).clone(),
                        token: uuid::Uuid::new_v4().to_string(),
                    };
                    (
                        Cluster::intended(name.clone(), owner, cloud, set, by, now),
                        true,
                    )
                };
                if !matches!(cluster.state, State::Up { .. }) {
                    cluster.apply(Event::LaunchIntended, now).map_err(|e| {
                        Error::new(
                            Kind::Conflict,
                            format!("cluster `{name}` cannot be launched now"),
                        )
                        .caused_by(&e)
                        .hint(format!("finish its removal first: sky down {name}"))
                    })?;
                    cluster.provisioned_by = by;
                    cluster.launched_at = now;
                }
                store::put(tx, &cluster)?;
                Ok(Placed {
                    name,
                    hash: cluster.hash,
                    created,
                })
            })
            .await
    }

    /// Makes the machines at the first candidate that gives them.
    pub(crate) async fn provision(
        &self,
        cx: &Cx,
        placed: &Placed,
        candidates: &[Choice],
    ) -> Result<Cluster> {
        let mut cluster = self.get(&placed.name).await?;
        if !placed.created {
            return self.provision_here(cx, cluster).await.map_err(Error::from);
        }
        let mut refusals: Vec<(String, Error)> = Vec::new();
        for (i, choice) in candidates.iter().enumerate() {
            cx.check()?;
            if i > 0 {
                cx.line("↺ Trying other potential resources.");
                let (cloud, choice) = (choice.offer.cloud.parse()?, choice.clone());
                cluster = self
                    .adjust(&cluster, move |c| {
                        c.cloud = cloud;
                        c.set.labels = labels(&c.name, &choice.wish);
                        c.set.offer = choice.offer;
                        c.set.wish = (*choice.wish).clone();
                        c.set.token = uuid::Uuid::new_v4().to_string();
                    })
                    .await?;
            }
            match self.provision_here(cx, cluster.clone()).await {
                Ok(cluster) => return Ok(cluster),
                Err(refusal) => {
                    let place = place(&cluster);
                    cx.line(format!("⨯ {place}: {}", refusal.error.one_line()));
                    self.clouds()
                        .get(cluster.cloud)
                        .terminate(&cluster.set)
                        .await?;
                    let bound_to_place = refusal.is_place_bound();
                    refusals.push((place, *refusal.error));
                    if !bound_to_place {
                        break;
                    }
                }
            }
        }
        self.forget(&cluster).await?;
        Err(all_refused(&placed.name, &refusals))
    }

    /// Makes the machines where the record says.
    async fn provision_here(&self, cx: &Cx, cluster: Cluster) -> Result<Cluster, CloudError> {
        cx.line(format!("⚙︎ Launching on {}.", place(&cluster)));
        cx.spinner("[bold cyan]Launching[/]");
        let instances = self
            .clouds()
            .get(cluster.cloud)
            .provision(&cluster.set)
            .await?;
        let cluster = self
            .adjust(&cluster, move |c| c.instances = instances)
            .await?;
        cx.line(if cluster.set.count == 1 {
            "└── Instance is up."
        } else {
            "└── Instances are up."
        });
        Ok(cluster)
    }

    /// Makes all agents run and says so in the record.
    pub(crate) async fn bring_up(&self, cx: &Cx, name: &ClusterName) -> Result<Cluster> {
        let cluster = self.get(name).await?;
        cx.spinner("[bold cyan]Preparing SkyPilot runtime[/]");
        self.ensure_agents(&cluster).await?;
        if let Some(setting) = &cluster.autostop {
            self.head(&cluster)?.set_autostop(Some(setting)).await?;
        }
        self.transition(&cluster, Event::AllUp, |_| {}).await
    }
}

/// Labels of the machines of a cluster: the user's, and its name.
fn labels(name: &ClusterName, wish: &Shape) -> BTreeMap<String, String> {
    let mut labels = wish.labels.clone();
    labels.insert("sky-cluster".to_owned(), name.to_string());
    labels
}

/// Names where a cluster's machines are: `AWS us-east-1 (us-east-1b)`, `Local`.
fn place(cluster: &Cluster) -> String {
    let offer = &cluster.set.offer;
    let mut text = cluster.cloud.display_name().to_owned();
    if let Some(region) = &offer.region {
        text = format!("{text} {region}");
    }
    if let Some(zone) = &offer.zone {
        text = format!("{text} ({zone})");
    }
    text
}

/// Makes the error of a launch that every candidate refused: the real causes last, one per place.
fn all_refused(name: &ClusterName, refusals: &[(String, Error)]) -> Error {
    let mut error = Error::new(
        Kind::ResourcesUnavailable,
        format!(
            "failed to provision cluster `{name}` (tried {} infra)",
            refusals.len()
        ),
    );
    let history: Vec<String> = refusals
        .iter()
        .map(|(place, e)| format!("{place}: {}", e.one_line()))
        .collect();
    for (place, cause) in refusals {
        error = error.caused_by(&Error::new(
            cause.kind(),
            format!("{place}: {}", cause.one_line()),
        ));
    }
    error
        .hint("relax the task's resources, or try until there is room: sky launch --retry-until-up")
        .attribute("failover_history", history)
        .attribute("no_failover", false)
}
